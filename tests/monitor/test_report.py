"""The report as a file: what is in it, that nothing in it is more than text, and that few points say what many did.

What a browser makes of it is in tests/browser/.
"""

import base64
import hashlib
import html.parser
import json
import re
import zlib
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import monitor
from monitor import Recorder, RecorderError, Run
from monitor.histograms import Histogram
from monitor.page.content import clip, metrics, place, script_json
from monitor.page.packing import Pack, digits_of_shades, fair_share, rounded, thin
from monitor.page.scales import line_ends
from monitor.page.still import escape
from monitor.report import SCRIPTS, write_report

PAGE = Path(monitor.__file__).parent / "page"
HOSTILE = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{script}}\x00\u2028\ud800]]>"


def run_of(n=10, name="demo", config=None, **series):
    recorder = Recorder(None, name=name, config=config)
    for step in range(n):
        recorder.log(step, **({key: values[step] for key, values in series.items()} or {"train/loss": 1 / (1 + step)}))
    recorder.finish()
    return recorder.run


def content_of(path):
    """The data in the page, found as a browser finds it."""
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="content">(.*?)</script>', text, re.S)[1])


def block_of(content):
    """The numbers in the page: what decode.js does, in Python."""
    planes = np.frombuffer(zlib.decompress(base64.b64decode(content["block"])), np.uint8)
    return np.ascontiguousarray(planes.reshape(8, -1).T).view("<f8").ravel()


def points_of(content, run, name):
    block, series = block_of(content), content["runs"][run]["series"][name]
    (x, n), (y, m) = series["x"], series["y"]
    return np.cumsum(block[x : x + n]), block[y : y + m]


@pytest.fixture
def report(tmp_path):
    def write(runs, **options):
        return content_of(write_report(runs, tmp_path / "report.html", **options))

    return write


# What is in it ----------------------------------------------------------------------------------------------------------


def test_a_run_its_folder_or_several_give_a_page_with_every_number(tmp_path):
    with Recorder(tmp_path, name="on disk") as recorder:
        for step in (1, 2, 5):
            recorder.log(step, **{"train/loss": 0.1 * step, "lr": 1 / 3})
    for runs in (recorder.run, recorder.path, str(recorder.path), [recorder.path, recorder.run], (recorder.run,)):
        path = write_report(runs, tmp_path / "report.html")
        assert path == tmp_path / "report.html"
        steps, values = points_of(content_of(path), -1, "train/loss")
        assert steps.tolist() == [1, 2, 5]
        assert values.tolist() == [0.1, 0.2, 0.5]
    assert write_report(recorder.path, str(tmp_path / "other.html")).is_file()


def test_numbers_are_exact_on_a_small_page_and_right_to_six_digits_on_a_large_one(report):
    values = np.random.default_rng(0).lognormal(0, 50, 30_000)
    events = [
        {"v": 1, "k": "step", "s": s, "e": None, "t": 0, "g": 0, "d": {"a": v}} for s, v in enumerate(values.tolist())
    ]
    steps, shown = points_of(report(Run({"name": "large"}, events)), 0, "a")
    assert steps.tolist() == list(range(30_000))
    assert 0 < np.abs(shown / values - 1).max() < 1e-6
    assert (points_of(report(Run({"name": "small"}, events[:500])), 0, "a")[1] == values[:500]).all()


def test_not_finite_numbers_arrive_as_they_are(report):
    content = report(run_of(4, loss=[np.nan, np.inf, -np.inf, 1.0]))
    assert repr(points_of(content, 0, "loss")[1].tolist()) == "[nan, inf, -inf, 1.0]"
    assert content["runs"][0]["series"]["loss"]["gaps"] == 3


def test_findings_are_on_the_page_with_scripts_and_without(report, tmp_path):
    found = {"id": "plateau", "verdict": "detected", "severity": "info", "step_range": [2, 5], "message": "It stood still."}
    content = report(run_of(), findings=[found])
    assert content["runs"][0]["findings"][0]["message"] == "It stood still."
    still = (tmp_path / "report.html").read_text("utf-8").split('<div id="page"')[0]
    assert '<p class="name">It stood still.</p>' in still
    assert "steps 2 to 5" in still


def test_where_a_run_was_resumed_the_last_segment_counts(report):
    def event(step, value, segment, kind="step"):
        return {
            "v": 1,
            "k": kind,
            "s": step,
            "e": None,
            "t": 0,
            "g": segment,
            "d": {"loss": value} if kind == "step" else {},
        }

    events = [event(s, 1.0, 0) for s in (1, 2, 3)] + [event(1, None, 1, "start")] + [event(s, 2.0, 1) for s in (2,)]
    run = Run({"name": "resumed"}, events)
    steps, values = points_of(report(run), 0, "loss")
    assert (steps.tolist(), values.tolist()) == tuple(part.tolist() for part in run.series("loss")) == ([1, 2], [1.0, 2.0])


def noisy_run(seed, steps=10_000):
    """Six series of noise, seven quantities of six layers at every tenth step, a histogram at every hundredth."""
    rng = np.random.default_rng(seed)
    series = dict(zip("abcdef", rng.lognormal(size=(6, steps)), strict=True))
    layers = dict(zip("tuvwxyz", rng.lognormal(size=(7, steps // 10, 6)).tolist(), strict=True))
    histograms = [Histogram.of(rng.normal(size=500)).data() for _ in range(steps // 100)]
    found = [("step", i + 1, dict(zip(series, row, strict=True))) for i, row in enumerate(np.transpose([*series.values()]))]
    for i in range(steps // 10):
        quantities = {name: rows[i] for name, rows in layers.items()}
        found.append(("layer", 10 * (i + 1), {"names": list("012345"), **quantities}))
    found += [("histogram", 100 * (i + 1), {"w": data}) for i, data in enumerate(histograms)]
    events = [{"v": 1, "k": k, "s": s, "e": None, "t": s, "g": 0, "d": d} for k, s, d in found]
    return Run({"name": "run", "config": {"seed": seed}}, events), series, layers


def test_ten_runs_of_ten_thousand_noisy_steps_stay_below_a_megabyte(tmp_path):
    made = [noisy_run(seed) for seed in range(10)]
    path = write_report([run for run, *_ in made], tmp_path / "report.html")
    assert path.stat().st_size <= 1_000_000
    content = content_of(path)
    _, series, layers = made[9]
    shown = content["runs"][9]["series"]["d"]
    assert 1_200 < shown["x"][1] < shown["total"] == 10_000
    steps, values = points_of(content, 9, "d")
    np.testing.assert_allclose(values, series["d"][steps.astype(int) - 1], rtol=2.0**-21)
    layer, block = content["runs"][9]["layers"]["z"], block_of(content)
    (first, columns), (begin, count) = layer["steps"], layer["values"]
    assert (columns, count, layer["total"]) == (142, 142 * 6, 1000)
    starts = np.cumsum(block[first : first + columns]).astype(int) // 10 - 1
    means = [np.mean(layers["z"][a:b], axis=0) for a, b in zip(starts, [*starts[1:], 1000], strict=True)]
    np.testing.assert_allclose(block[begin : begin + count].reshape(-1, 6), means, rtol=2.0**-13)


def test_a_page_of_one_series_of_ten_thousand_points_in_ten_runs_has_them_all(report):
    events = [{"v": 1, "k": "step", "s": s, "e": None, "t": 0, "g": 0, "d": {"a": 1 / (1 + s)}} for s in range(10_000)]
    content = report([Run({"name": "run"}, events)] * 10)
    assert all(run["series"]["a"]["x"][1] == 10_000 for run in content["runs"])


def test_what_differs_between_configurations(report):
    configs = [{"lr": 0.1, "net": {"hidden": [4], "act": "relu"}}, {"lr": 0.2, "net": {"hidden": [4]}, "extra": None}]
    rows = {row["key"]: row for row in report([run_of(config=c) for c in configs])["config"]}
    assert rows["lr"] == {"key": "lr", "values": ["0.1", "0.2"], "differs": True, "derived": False}
    assert rows["net.act"] == {"key": "net.act", "values": ["relu", None], "differs": True, "derived": False}
    assert rows["extra"]["values"] == [None, "null"]
    assert not rows["net.hidden"]["differs"]


def test_what_follows_from_other_settings_is_marked(report):
    recorder = Recorder(None, config={"lr": 0.1, "data": "moons", "optimizer_full": "Adam(lr=0.1)", "watch": {"every": 3}})
    recorder.describe(seed=3, layers=["relu"], data={"name": "moons", "shape": [4, 2]}, command=["train"])
    derived = {row["key"]: row["derived"] for row in report(recorder.run)["config"]}
    assert {key for key in derived if not derived[key]} == {"lr", "data", "seed"}
    assert {"optimizer_full", "watch.every", "data.name", "layers"} <= set(derived)


def test_runs_of_one_name_are_told_apart_by_what_differs(report):
    def names(*configs, name="moons"):
        runs = [run_of(2, name, {"optimizer_full": f"O({c})", "n": 9, **c}) for c in configs]
        return [run["name"] for run in report([*runs, run_of(2, "other", {"lr": 7})])["runs"]]

    assert names({"lr": 1}) == ["moons", "other"]
    assert names({"lr": 0.1}, {"lr": 3.0}) == ["moons lr=0.1", "moons lr=3.0", "other"]
    pairs = [{"lr": lr, "seed": seed} for lr in (1, 2) for seed in (0, 1)]
    assert names(*pairs)[:4] == [f"moons lr={c['lr']} seed={c['seed']}" for c in pairs]
    assert names({"batch": None}, {"batch": 5})[:2] == ["moons", "moons batch=5"]  # not "batch=null"
    assert names({"lr": 1}, {"lr": 2}, {"lr": 2}) == [
        "moons lr=1",
        "run 2",
        "run 3",
        "other",
    ]  # the folder, where there is one
    assert len(set(names(*(dict(zip("abcdef", f"{i:06b}", strict=True)) for i in range(64))))) == 65
    long = names({"x" * 900: "y" * 900}, {"x" * 900: "z" * 900})
    assert max(map(len, long)) < 100


def test_the_score_on_the_test_set_is_there(report, tmp_path):
    def scores(test):
        recorder = Recorder(None, name="scored")
        recorder.log(1, loss=1.0)
        recorder.describe(test=test)
        return report(recorder.run)["runs"][0]["test"]

    assert scores({"loss": 0.25, "examples": 40, "accuracy": 0.875, "macro_f1": 0.5}) == [
        ["accuracy", 0.875],
        ["loss", 0.25],
    ]
    assert "accuracy 0.875, loss 0.25" in (tmp_path / "report.html").read_text("utf-8")  # also without scripts
    assert scores({"r2_score": 1}) == [["r2_score", 1.0]]
    for broken in (None, 3, [], {"loss": "nan"}, {"loss": None}, {"accuracy": True}, {"loss": 10**400}):
        assert scores(broken) == []


def test_settings_are_short_unless_that_would_hide_a_difference(report):
    configs = [{"a": 0.123456789, "b": 0.123456789}, {"a": 0.2, "b": 0.123456788}]
    rows = {row["key"]: row["values"] for row in report([run_of(config=c) for c in configs])["config"]}
    assert rows["a"] == ["0.123457", "0.2"]
    assert rows["b"] == ["0.123456789", "0.123456788"]


FINDING = {
    "id": "overfit",
    "verdict": "detected",
    "severity": "warning",
    "step_range": [9, 3],
    "evidence": {"n": 4, "p": 0.012345},
    "advice": "stop",
}


def test_findings_of_a_run_are_its_own_or_those_given(report):
    recorder = Recorder(None)
    recorder.log(1, loss=1.0)
    recorder.event("finding", 1, {**FINDING, "advice": "wait"})
    recorder.event("finding", 1, FINDING)  # updated
    (own,) = report(recorder.run)["runs"][0]["findings"]
    assert (own["id"], own["steps"], own["advice"], own["evidence"]) == (
        "overfit",
        [3, 9],
        ["stop"],
        [["n", "4"], ["p", "0.01235"]],
    )
    given = {**FINDING, "id": "given"}
    for findings in ([given], SimpleNamespace(findings=[given]), [SimpleNamespace(findings=[given])]):
        assert [f["id"] for f in report(recorder.run, findings=findings)["runs"][0]["findings"]] == ["given"]
    runs = report([recorder.run, recorder.run], findings=[[given], None])["runs"]
    assert [[f["id"] for f in run["findings"]] for run in runs] == [["given"], ["overfit"]]


def test_findings_that_are_none_get_an_error():
    with pytest.raises(TypeError, match="a finding is a Finding or a mapping with id, verdict, severity .*, got 3"):
        write_report(run_of(), "never.html", findings=[3])
    with pytest.raises(ValueError, match="one entry for each of the 2 runs, got 1"):
        write_report([run_of(), run_of()], "never.html", findings=[[]])


def test_layers_where_a_quantity_does_not_apply_are_left_out(report):
    recorder = Recorder(None)
    for step in (1, 2):
        recorder.event("layer", step, {"names": ["a", "b"], "grad_norm": [None, step], "dead": [None, None]})
    content = report(recorder.run)
    layers = content["runs"][0]["layers"]
    assert list(layers) == ["grad_norm"]
    assert (layers["grad_norm"]["names"], layers["grad_norm"]["total"]) == (["b"], 2)
    first, count = layers["grad_norm"]["values"]
    assert block_of(content)[first : first + count].tolist() == [1.0, 2.0]


def test_many_recorded_layers_become_means_of_neighbours(report):
    recorder = Recorder(None)
    for step in range(1000):
        recorder.event("layer", step, {"names": ["a"], "grad_norm": ["nan" if step == 0 else float(step)]})
    content = report(recorder.run)
    first, count = content["runs"][0]["layers"]["grad_norm"]["values"]
    values = block_of(content)[first : first + count]
    assert values[:2].tolist() == [2.0, 5.5]  # of 1, 2, 3 and of 4 .. 7
    assert (count, values[-1]) == (250, 997.5)


def test_histograms_arrive_with_their_bins(report):
    recorder = Recorder(None)
    recorder.log_histogram("w", [0.5, 0.5, -2.0, np.nan], 3)
    content = report(recorder.run)
    histogram = content["runs"][0]["histograms"]["w"]
    first, count = histogram["counts"]
    counts = np.cumsum(block_of(content)[first : first + count])
    assert histogram["first"] == -50
    assert {histogram["first"] + i: int(n) for i, n in enumerate(counts) if n} == {-50: 1, 47: 2}
    assert content["limits"][46] <= 0.5 < content["limits"][47]


@pytest.mark.parametrize(
    "confusion",
    [{"labels": ["a"], "counts": [[1, 2]]}, {"labels": [], "counts": []}, {"labels": ["a"], "counts": [[-1]]}, {"labels": 3}, 7, "x",
     {"labels": ["a"], "counts": [["inf"]]}, {"labels": ["a"], "counts": [[2**60]]}],
)  # fmt: skip
def test_a_confusion_matrix_that_is_none_is_not_shown(report, confusion):
    recorder = Recorder(None)
    recorder.describe(confusion=confusion)
    assert report(recorder.run)["runs"][0]["confusion"] is None


def test_a_confusion_matrix_is_shown_from_either_place(report):
    matrix = {"labels": [0, 1], "counts": [[3, 1], [0, 2]]}
    for fields in ({"confusion": matrix}, {"test": {"confusion": matrix}}):
        recorder = Recorder(None)
        recorder.describe(**fields)
        assert report(recorder.run)["runs"][0]["confusion"] == {"labels": ["0", "1"], "counts": [[3, 1], [0, 2]]}


def test_pictures_are_inside_if_they_are_pictures(report, tmp_path):
    from matplotlib.figure import Figure

    with Recorder(tmp_path, name="pictured") as recorder:
        recorder.log(1, loss=1.0)
        recorder.log_figure("good", Figure(figsize=(1, 1)), caption="empty")
        recorder.log_figure("bad", Figure(figsize=(1, 1)))
    files = sorted((recorder.path / "figures").iterdir())
    next(file for file in files if "bad" in file.name).write_bytes(b"<script>alert(1)</script>")
    good, bad = report(recorder.path)["runs"][0]["figures"]
    assert (good["name"], good["caption"]) == ("good", "empty")
    assert base64.b64decode(good["source"].removeprefix("data:image/png;base64,")).startswith(b"\x89PNG")
    assert (bad["source"], bad["why"]) == ("", "it is not a PNG")


def test_pictures_that_are_too_large_are_named_only(report, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    monkeypatch.setattr("monitor.page.content.PICTURE", 100)
    with Recorder(tmp_path, name="pictured") as recorder:
        recorder.log_figure("large", Figure())
    (figure,) = report(recorder.path)["runs"][0]["figures"]
    assert (figure["source"], figure["name"]) == ("", "large")
    assert figure["why"].endswith(" MB")


def test_more_series_than_a_page_can_hold_are_counted(report):
    recorder = Recorder(None)
    recorder.log(1, **{f"s{i}": i for i in range(250)})
    run = report(recorder.run)["runs"][0]
    assert (len(run["series"]), run["left_out"]) == (200, 50)


# Where it is written ----------------------------------------------------------------------------------------------------


def test_errors_say_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="there is no run to show; pass at least one"):
        write_report([], tmp_path / "r.html")
    with pytest.raises(TypeError, match="runs should be a Run, a run's folder, or several of them, got 3"):
        write_report(3, tmp_path / "r.html")
    with pytest.raises(TypeError, match="a run is a Run or a run's folder, got 1.5"):
        write_report([run_of(), 1.5], tmp_path / "r.html")
    with pytest.raises(RecorderError, match=r"there is no run in .*: run.json is missing"):
        write_report(tmp_path, tmp_path / "r.html")
    with pytest.raises(RecorderError, match="it is a folder; name a file such as report.html in it"):
        write_report(run_of(), tmp_path)
    with pytest.raises(RecorderError, match=r"there is no folder '.*nowhere'"):
        write_report(run_of(), tmp_path / "nowhere" / "r.html")
    assert list(tmp_path.iterdir()) == []


# Nothing in it is more than text ----------------------------------------------------------------------------------------


class Tags(html.parser.HTMLParser):
    """Every element that an HTML parser finds, with its attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def hostile_run(name):
    recorder = Recorder(None, name=name, config={name: name})
    recorder.log(1, **{name: 1.0, f"train/{name}": 2.0, "__proto__": 3.0})
    recorder.note(name)
    recorder.event("finding", 1, dict.fromkeys(FINDING, name))
    recorder.event("layer", 1, {"names": [name], name: [1.0]})
    recorder.describe(confusion={"labels": [name], "counts": [[1]]})
    recorder.finish("failed", name)
    return recorder.run


@given(st.text(alphabet=st.characters(codec=None), max_size=40) | st.just(HOSTILE))
def test_no_name_adds_an_element_to_the_page(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("page")
    harmless = Tags(write_report(hostile_run("name"), folder / "a.html").read_text("utf-8")).found
    found = Tags(write_report(hostile_run(name), folder / "b.html").read_text("utf-8")).found
    shapes = ("span", "figure", "figcaption", "b", "svg", "path", "text")  # of the still pictures: one for each metric
    assert [tag for tag, _ in found if tag not in shapes] == [tag for tag, _ in harmless if tag not in shapes]
    assert not any(key.startswith("on") for _, attributes in found for key in attributes)
    if name:
        assert content_of(folder / "b.html")["runs"][0]["notes"][0]["text"] == clip(name, 2000)


@given(
    st.recursive(
        st.text(alphabet=st.characters(codec=None)) | st.integers() | st.none(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_json_in_a_script_is_harmless_and_the_same(value):
    text = script_json(value)
    assert not set(text) & set("<>&\u2028\u2029")
    assert text.isascii()
    assert json.loads(text) == value


def test_the_still_picture_is_well_formed_whatever_the_names(tmp_path):
    text = write_report([hostile_run(HOSTILE), run_of(30)], tmp_path / "r.html").read_text("utf-8")
    pictures = ElementTree.fromstring(re.search(r'<div class="stills">.*?</div>', text, re.S)[0])
    assert {element.tag for element in pictures.iter()} == {"div", "figure", "figcaption", "b", "svg", "path", "text"}
    assert len(pictures) == 3
    assert escape("<\x00'&\n") == "&lt; &#x27;&amp; "


def test_the_policy_allows_these_scripts_and_no_others(tmp_path):
    text = write_report(run_of(), tmp_path / "r.html").read_text("utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[1]
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        inside = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.S)[1]
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "connect-src 'none'" in policy
    assert "unsafe" not in policy


def test_the_page_names_no_other_address(tmp_path):
    text = write_report(run_of(), tmp_path / "r.html").read_text("utf-8")
    assert set(re.findall(r"https?://[^\s\"'<)]+", text)) == {"http://www.w3.org/2000/svg"}  # a name, not a place
    assert not re.search(r"\b(?:src|href)=\"(?!data:)", text)
    assert '<link rel="icon" href="data:,">' in text  # else a browser asks the server of a live page for /favicon.ico


def test_scripts_insert_text_and_never_html():
    assert sorted(path.stem for path in (PAGE / "js").glob("*.js")) == sorted(SCRIPTS)
    for path in (PAGE / "js").glob("*.js"):
        source = path.read_text("utf-8")
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|setAttribute\(\"on|localStorage",
            source,
        ), path
        assert source.startswith("// "), f"{path.name} does not say what it is for"
        assert max(map(len, source.splitlines())) <= 124
        assert len(source.splitlines()) <= 500


# Where lines end ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from([1, 2, 10, 11, 20, 21, 400]), min_size=3, max_size=40))
def test_a_line_ends_where_the_next_point_is_more_than_ten_times_as_far_as_usual(distances):
    steps = np.cumsum([1, *distances])
    usual = sorted(distances)[(len(distances) - 1) // 4]
    assert line_ends(steps).tolist() == [i for i, distance in enumerate(distances) if distance > 10 * usual]


@given(st.lists(st.sampled_from([1, 2, 10, 11, 20, 21, 400]), min_size=3, max_size=40), st.data())
def test_of_the_points_drawn_a_line_ends_before_each_gap(distances, data):
    steps = np.cumsum([1, *distances])
    at = np.array(sorted(data.draw(st.sets(st.floats(1, float(steps[-1])) | st.sampled_from(steps.tolist())))))
    gaps = [(steps[i], steps[i + 1]) for i in line_ends(steps)]
    over = [i for i in range(len(at) - 1) if any(a < at[i + 1] and at[i] < b for a, b in gaps)]
    assert line_ends(steps, at).tolist() == over


def test_of_three_points_nobody_knows_what_is_usual():
    for steps in ([], [1], [1, 2], [1, 2, 1000]):
        assert line_ends(np.array(steps)).tolist() == []


def test_the_page_is_told_where_lines_end(report, monkeypatch):
    steps = [*range(1, 61), *range(560, 3000, 500)]
    series = report(Run({"name": "run"}, events_of(steps)))["runs"][0]["series"]["a"]
    assert series["ends"][1] == 5
    monkeypatch.setattr("monitor.page.content.POINTS", 10_000)
    long = [*range(30_000), *range(60_000, 60_000 + 400 * 500, 500)]
    content = report(Run({"name": "run"}, events_of(long)))
    block, series = block_of(content), content["runs"][0]["series"]["a"]
    for (x, points), (first, count) in ((series["x"], series["ends"]), (series["means"][0], series["means"][3])):
        ends, at = np.cumsum(block[first : first + count]).astype(int), np.cumsum(block[x : x + points])
        assert 300 < count <= 400  # as many columns as there is room for end at a gap
        assert at[ends[0]] < 30_000
        assert at[ends[0] + 1] == 60_000
    short = [*range(15_000), *range(15_015, 30_000)]  # a gap no wider than a column, but between two of them
    series = report(Run({"name": "run"}, events_of(short)))["runs"][0]["series"]["a"]
    assert (series["ends"][1], series["means"][3][1]) == (1, 1)


def events_of(steps):
    return [{"v": 1, "k": "step", "s": s, "e": None, "t": s, "g": 0, "d": {"a": s % 7}} for s in steps]


# Few points that say what many did ----------------------------------------------------------------------------------------


SERIES = arrays(
    float, st.integers(1, 400), elements=st.floats(-1e300, 1e300) | st.sampled_from([0.0, np.nan, np.inf, -np.inf])
)


@given(SERIES, st.integers(8, 120), st.integers(1, 9))
def test_thinning_keeps_extremes_ends_and_gaps(values, most, gaps):
    steps = np.cumsum(np.arange(len(values)) % 3 + 1 + 1000 * (np.arange(len(values)) % gaps == 1))
    kept = thin(steps, values, most)
    assert len(kept.steps) <= most
    assert (np.diff(kept.steps) > 0).all()
    where = np.searchsorted(steps, kept.steps)
    np.testing.assert_array_equal(values[where], kept.values)
    assert {0, len(values) - 1} <= set(where.tolist())
    finite, shown = values[np.isfinite(values)], kept.values[np.isfinite(kept.values)]
    if len(finite):
        assert (shown.min(), shown.max()) == (finite.min(), finite.max())
    assert (len(finite) < len(values)) == (len(shown) < len(kept.values))
    if kept.columns is None:
        assert len(kept.steps) == len(values)
    else:
        x, y, n = kept.columns
        assert n.sum() == len(finite)
        with np.errstate(all="ignore"):
            np.testing.assert_allclose((y * n).sum() / 1e300, finite.sum() / 1e300, atol=1e-9 * len(values))
        assert (np.diff(x) > 0).all()


def test_thinning_keeps_the_extremes_of_every_column_beside_gaps():
    values = 2 + np.sin(np.arange(3000) * 2.0)
    values[::3] = np.nan
    kept = thin(np.arange(3000), values, 300)
    for start in range(2000, 2900, 100):  # evenly spaced columns are 60 wide here, others reach no further
        shown = kept.values[(kept.steps >= start) & (kept.steps < start + 100)]
        assert np.isnan(shown).any()
        assert np.nanmin(shown) < 1.01
        assert np.nanmax(shown) > 2.99


@pytest.mark.parametrize("most", [60, 80, 333, 1666])
def test_columns_grow_wider_and_are_then_even(most):
    """A narrow one among wide ones would have a mean of few points, and a line through the means a spike."""
    counts = thin(np.arange(10_000), np.sin(np.arange(10_000)), most).columns[2]
    assert counts[0] < counts[-1] / 4
    growing = counts[: len(counts) // 4]
    assert (np.diff(np.maximum.accumulate(growing) - growing) <= 2).all()
    half = counts[len(counts) // 2 :]
    assert half.max() - half.min() <= 1


def test_thinning_serves_logarithmic_axes_too():
    steps = np.arange(1_000_000)
    kept = thin(steps, np.sin(steps), 2_000)
    for decade in range(5):
        assert np.sum((kept.steps >= 10**decade) & (kept.steps < 10 ** (decade + 1))) >= min(9 * 10**decade, 50)
    assert np.diff(kept.steps).max() < 6_000


@given(st.lists(st.integers(0, 1000)), st.integers(0, 3000))
def test_fair_share_is_the_largest_that_fits(sizes, budget):
    share = fair_share(sizes, budget)
    assert sum(min(size, share) for size in sizes) <= budget
    if share < max(sizes, default=0):
        assert sum(min(size, share + 1) for size in sizes) > budget


@given(arrays("<f8", st.integers(0, 50), elements=st.floats(allow_subnormal=False)))
def test_rounding_is_right_to_six_digits(values):
    near = rounded(values)
    finite = np.isfinite(values)
    np.testing.assert_array_equal(near[~finite], values[~finite])
    assert (np.abs(near[finite] / 2 - values[finite] / 2) <= np.abs(values[finite]) * 2.0**-22 + 5e-324).all()


@given(arrays("<f8", st.integers(1, 20), elements=st.floats(-1e6, 1e6)) | st.just(np.array([1.7e308, -1.7e308])))
def test_shades_are_right_to_four_thousandths_of_their_range(values):
    near, spread = rounded(values, digits_of_shades(values)), float(np.ptp(values / 4))
    if np.abs(values / 4).max() < 200 * spread:  # else 20 digits are all there are
        assert (np.abs(near / 4 - values / 4) <= spread / 4096).all()
    assert digits_of_shades(np.array([np.nan, np.inf])) == digits_of_shades(np.zeros(0)) == 12


@given(st.lists(arrays("<f8", st.integers(0, 9))), st.booleans())
def test_a_pack_gives_back_what_it_was_given(parts, whole):
    pack = Pack(rounded=False)
    parts = [np.trunc(np.nan_to_num(part) % 1e6) for part in parts] if whole else parts
    places = [pack.add(part, whole=whole) for part in parts]
    block = block_of({"block": pack.text()})
    for part, (first, count) in zip(parts, places, strict=True):
        found = block[first : first + count]
        np.testing.assert_array_equal(np.cumsum(found) if whole else found, part)


def test_places_of_series():
    assert [place(n) for n in ("val/loss", "train/running_loss", "train/running_", "a/b", "train/", "rho", "val/a/b")] == [
        ("loss", "val"), ("loss", "running"), ("running_", "train"), ("a/b", ""), ("train/", ""), ("rho", ""), ("a/b", "val")
    ]  # fmt: skip
    assert metrics(["lr", "grad_norm", "val/accuracy", "train/loss", "val/loss"]) == ["loss", "accuracy", "grad_norm", "lr"]


# Colours ------------------------------------------------------------------------------------------------------------------


def palettes():
    """The ten colours of runs, in the light and in the dark, and the card that they are drawn on."""
    css = (PAGE / "page.css").read_text("utf-8")
    blocks = re.findall(r"\{[^{}]*--run-0: [^{}]*\}", css)
    assert len(blocks) == 3
    return [
        [re.search(rf"--{name}: (#\w+)", block)[1] for name in ("card", *(f"run-{i}" for i in range(10)))]
        for block in blocks
    ]


def linear(colour):
    rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def test_colours_of_runs_stand_out_from_the_card():
    for card, *colours in palettes():
        ground = linear(card) @ [0.2126, 0.7152, 0.0722]
        for colour in colours:
            light, dark = sorted([linear(colour) @ [0.2126, 0.7152, 0.0722], ground], reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 2.8, colour  # WCAG 2.2 asks 3 of lines


def test_light_and_dark_are_the_same_whether_chosen_or_the_system_s():
    _, system, chosen = palettes()
    assert system == chosen


# Machado, Oliveira & Fernandes (2009), severity 1: what people without red, green or blue cones see.
SIGHTS = {
    "all cones": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def lab(rgb):
    """CIE L*a*b* of linear sRGB."""
    xyz = np.clip(rgb, 0, 1) @ np.array([[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]])
    f = np.cbrt(xyz / [0.9505, 1.0, 1.089])
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("sight", SIGHTS)
def test_the_first_colours_differ_whatever_cones_one_has(sight):
    for _, *colours in palettes():
        seen = [lab(np.array(SIGHTS[sight]) @ linear(colour)) for colour in colours]
        for count, least in ((4, 14), (10, 6)):  # beyond four runs shapes help: lines.js
            distances = [np.linalg.norm(a - b) for i, a in enumerate(seen[:count]) for b in seen[:i]]
            assert min(distances) >= least, (count, np.round(min(distances), 1))
