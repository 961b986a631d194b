"""The report in a browser: what is drawn is what was recorded; every control does what it says; strange runs are harmless."""

import base64
import math
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from chromium import driver, page

from monitor import Recorder, Run
from monitor.report import write_report

HOSTILE = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>\u202e\x00\x1b[31m\ud800{{script}}"


def run_of(n=40, name="demo", config=None, finish=True, root=None, **series):
    """A run with a training loss at every step and evaluations at every tenth, or with the given series."""
    recorder = Recorder(root, name=name, config=config)
    for step in range(n) if not series else range(max(map(len, series.values()))):
        if series:
            numbers = {key.replace("__", "/"): values[step] for key, values in series.items() if step < len(values)}
        else:
            numbers = {"train/loss": 2.0 / (1 + step), "lr": 0.1}
        recorder.log(step, **numbers)
        if not series and step % 10 == 0:
            recorder.event("eval", step, {"val/loss": 2.5 / (1 + step), "val/accuracy": 1 - 1 / (2 + step)}, step // 10)
    if finish:
        recorder.finish()
    return recorder.run


def run_with_everything(root):
    recorder = Recorder(root, name="everything", config={"lr": 0.1, "hidden": [4, 3]})
    rng = np.random.default_rng(0)
    names = ["0 Linear", "1 ReLU", "2 Linear"]
    for step in range(1, 31):
        recorder.log(step, **{"train/loss": 1 / step})
        data = {"names": names, "grad_norm": [1.0 / step, None, 10.0 / step], "dead": [None, 0.25, None]}
        recorder.event("layer", step, data)
        recorder.log_histogram("weights/0", rng.normal(0, 0.1 * step, 200), step)
        recorder.log_histogram("weights/2", rng.normal(0, 1.0, 50), step)
    recorder.log_figure("picture", figure(), caption="what it looks like")
    recorder.note("the rate was halved")
    recorder.describe(confusion={"labels": ["cat", "dog"], "counts": [[8, 2], [1, 9]]})
    recorder.event("finding", 30, FINDING)
    recorder.event("finding", 30, {**FINDING, "id": "lr_too_high", "verdict": "clear", "step_range": None})
    recorder.finish()
    return recorder.run


FINDING = {
    "id": "overfit",
    "verdict": "detected",
    "severity": "warning",
    "step_range": [12, 20],
    "evidence": {"statistic": "paired t", "estimate": 0.25, "n": 400},
    "causes": ["too many parameters"],
    "advice": ["stop at step 12"],
    "track_record": "right 31/32",
}


def figure():
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(2, 1))
    drawn.subplots().plot([1, 2])
    return drawn


def killed_run(tmp_path):
    """A run whose process was killed in the middle of a line."""
    code = "import os, signal; from monitor import Recorder; r = Recorder('.', name='killed')\n"
    code += "for i in range(9): r.log(**{'train/loss': 1 / (i + 1)})\n"
    code += 'os.write(r._descriptor, b\'{"v":1,"k":"step"\'); os.kill(os.getpid(), signal.SIGKILL)'
    paths = [str(p) for p in sys.path if p]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *paths])}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return Run.open(next(tmp_path.glob("*killed*")))


def million():
    n = 1_000_000
    values = np.exp(-np.arange(n) / 300_000) + 0.5
    values[777_777], values[555_555] = 9.0, math.nan
    numbers = enumerate(values.tolist())
    events = [{"v": 1, "k": "step", "s": s, "e": None, "t": s, "g": 0, "d": {"train/loss": x}} for s, x in numbers]
    return Run({"name": "million", "status": "finished"}, events)


def hostile():
    recorder = Recorder(None, name=HOSTILE, config={HOSTILE: HOSTILE, "nested": {"__proto__": {"polluted": 1}}})
    for step in range(5):
        recorder.log(step, **{f"train/{HOSTILE}": step, "__proto__": step, "constructor": step, "": step, "x" * 10_000: 1})
        layers = {"names": [HOSTILE, "__proto__"], HOSTILE: [1.0, 2.0], "__proto__": [3.0, 4.0]}
        recorder.event("layer", step, layers)
        recorder.log_histogram(HOSTILE, np.arange(10.0), step)
    recorder.note(HOSTILE)
    recorder.event("finding", 4, dict.fromkeys(FINDING, HOSTILE) | {"verdict": "detected", "step_range": [1, 3]})
    recorder.describe(confusion={"labels": [HOSTILE, "b"], "counts": [[1, 2], [3, 4]]})
    recorder.finish("failed", HOSTILE)
    return recorder.run


@pytest.fixture
def opened(page, tmp_path):
    """A function that writes a report and opens it."""

    def show(runs, **options):
        return page.open(write_report(runs, tmp_path / "report.html", **options))

    return show


def chart(page, metric):
    return next(chart for chart in page.state()["charts"] if chart["metric"] == metric)


def traces(page, metric):
    return {(trace["run"], trace["part"]): trace for trace in chart(page, metric)["traces"]}


# Every run makes a page without complaints --------------------------------------------------------------------------------

RUNS = {
    "ordinary": lambda _: run_of(),
    "empty": lambda _: run_of(0),
    "one step": lambda _: run_of(1),
    "killed": killed_run,
    "everything": run_with_everything,
    "nothing finite": lambda _: run_of(train__loss=[math.nan] * 5, lr=[math.inf, -math.inf, 1.0, 0.0, -1.0]),
    "extremes": lambda _: run_of(train__loss=[1e308, -1e308, 5e-324, 0.0], lr=[2**52, 1, 2, 3]),
    "hostile": lambda _: hostile(),
}


@pytest.mark.parametrize("kind", RUNS)
def test_no_complaints_and_no_requests_whatever_is_pressed(kind, opened, tmp_path):
    page = opened(RUNS[kind](tmp_path))
    for selector in ("#log-x", "#log-y", "#theme"):
        page.click(selector)
    page.js("const s = document.querySelector('#smoothing'); s.value = 0.9; s.dispatchEvent(new Event('input'))")
    for plot in page.all(".plot"):
        page.js("arguments[0].focus()", plot)
        page.press("\ue014", "\ue014", "+", "l", "-", "0")  # right, right
    page.settle()
    assert page.complaints() == []
    assert (
        page.js("return window.hacked === undefined && ({}).polluted === undefined && Object.keys(window.tinynet).join()")
        == "state"
    )


def test_the_page_may_ask_for_nothing(opened):
    """Should a script ever slip in, the policy of the page stops it."""
    page = opened(run_of())
    page.js("const s = document.createElement('script'); s.textContent = 'window.hacked = 1'; document.body.append(s)")
    assert page.js("return window.hacked") is None
    failed = page.driver.execute_async_script(
        "const done = arguments[0]; fetch('http://127.0.0.1:9/').then(() => done(false), () => done(true))"
    )
    assert failed
    assert any("Content Security Policy" in line for line in page.complaints())


# What is drawn is what was recorded -----------------------------------------------------------------------------------------


def test_every_point_is_drawn(opened):
    page = opened(run_of(40))
    loss = traces(page, "loss")
    assert {part: (t["total"], t["kept"], t["drawn"]) for (_, part), t in loss.items()} == {
        "train": (40,) * 3,
        "val": (4,) * 3,
    }
    assert [c["metric"] for c in page.state()["charts"]] == ["loss", "accuracy", "lr"]
    assert page.text("#charts figure .note") == ""


def test_of_a_million_points_the_extremes_are_kept_and_the_page_says_so(opened):
    page = opened(million())
    (trace,) = traces(page, "loss").values()
    assert trace["total"] == 1_000_000
    assert trace["kept"] == trace["drawn"] < 100_000
    assert trace["gaps"] == [{"step": 555_555, "value": "nan"}]
    assert page.text("#charts figure .note") == f"{trace['kept']:,} of 1,000,000 points, extremes kept · 1 × not finite"
    assert chart(page, "loss")["y"][1] >= 9  # the spike of a single step


def test_ten_runs_of_ten_thousand_points_are_drawn_and_told_apart(opened):
    rng = np.random.default_rng(0)
    runs = []
    for k in range(10):
        loss, norm = np.exp(rng.normal(0, 0.3, (2, 10_000)) - np.arange(10_000) / (1000 * (k + 1)))
        numbers = zip(range(1, 10_001), loss.tolist(), norm.tolist(), strict=True)
        events = [
            {"v": 1, "k": "step", "s": s, "e": None, "t": s, "g": 0, "d": {"train/loss": a, "grad_norm": b, "lr": 1 / s}}
            for s, a, b in numbers
        ]
        runs.append(Run({"name": f"run {k}", "status": "finished", "config": {"k": k}}, events))
    page = opened(runs)
    assert all(trace["total"] == 10_000 for trace in traces(page, "loss").values())
    shown = page.state()["runs"]
    assert len({run["shape"] for run in shown}) == len({run["colour"] for run in shown}) == 10


# The colours on the canvas, in a column of pixels at a step.
COLOURS_AT = """
const [chart, step] = arguments;
const state = window.tinynet.state();
const at = state.charts.findIndex((c) => c.metric === chart);
const box = state.charts[at].box;
const [low, high] = state.x.domain;
const x = Math.round(box.left + (step - low) / (high - low) * (box.right - box.left));
const canvas = document.querySelectorAll("#charts .plot canvas:not(.overlay)")[at];
const data = canvas.getContext("2d").getImageData(x, 0, 1, canvas.height).data;
const found = {};
for (let i = 0; i < data.length; i += 4) if (data[i + 3]) found[`${data[i]},${data[i + 1]},${data[i + 2]}`] = 1;
return Object.keys(found);
"""
BLUE, GAP = (0, 114, 178), (194, 24, 91)  # --one-train and --gap of page.css


def there(colour, found):
    """Whether a colour is among those found, up to what smoothing of edges does to it."""
    return any(max(abs(a - int(b)) for a, b in zip(colour, text.split(","), strict=True)) <= 6 for text in found)


def test_nan_is_a_marked_gap(opened):
    values = [1.0] * 5 + [math.nan] + [1.0] * 5
    page = opened(run_of(train__loss=values))
    assert traces(page, "loss")[("run 1", "train")]["gaps"] == [{"step": 5, "value": "nan"}]
    assert there(BLUE, page.js(COLOURS_AT, "loss", 3.5))
    at_the_gap = page.js(COLOURS_AT, "loss", 5)
    assert there(GAP, at_the_gap)
    assert not there(BLUE, at_the_gap)
    for beside in (4.5, 5.5):  # the line does not bridge it
        assert not there(BLUE, page.js(COLOURS_AT, "loss", beside))


def test_no_line_joins_what_lies_far_apart_and_a_lone_point_is_a_dot(opened):
    recorder = Recorder(None)
    for step in (*range(1, 61), 300, 500, 700):
        recorder.log(step, rho=1.0)
    page = opened(recorder.run)
    (trace,) = chart(page, "rho")["traces"]
    assert (trace["drawn"], trace["pieces"]) == (63, 4)
    assert there(BLUE, page.js(COLOURS_AT, "rho", 20))
    for step in (100, 400, 600):
        assert not there(BLUE, page.js(COLOURS_AT, "rho", step))
    box = chart(page, "rho")["box"]
    pixel = 699 / (box["right"] - box["left"])
    for step in (300, 500):
        wide = sum(there(BLUE, page.js(COLOURS_AT, "rho", step + i * pixel)) for i in range(-4, 5))
        assert 3 <= wide <= 6  # a dot: wider than a line


def test_the_means_of_many_points_end_at_a_gap_too(opened):
    steps = [*range(30_000), *range(60_000, 90_000, 500)]
    events = [{"v": 1, "k": "step", "s": s, "e": None, "t": s, "g": 0, "d": {"a": 1.0 + s % 2}} for s in steps]
    page = opened([Run({"name": "run"}, events)] * 10)
    (trace, *_) = chart(page, "a")["traces"]
    assert trace["dense"]
    assert trace["pieces"] == 61
    assert page.js(COLOURS_AT, "a", 20_000) != page.js(COLOURS_AT, "a", 45_000)


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_an_infinity_is_a_marked_gap(opened, value):
    page = opened(run_of(train__loss=[1.0, 1.0, value, 1.0, 1.0]))
    assert traces(page, "loss")[("run 1", "train")]["gaps"] == [{"step": 2, "value": str(value)}]
    assert there(GAP, page.js(COLOURS_AT, "loss", 2))


@pytest.mark.parametrize("gap", [None, 6])
def test_smoothing_is_the_debiased_moving_average_and_leaves_the_trace(opened, gap):
    values = np.random.default_rng(0).normal(1, 0.3, 30)
    if gap is not None:
        values[gap] = math.nan  # passed over
    page = opened(run_of(train__loss=values.tolist()))
    page.js("const s = document.querySelector('#smoothing'); s.value = 0.8; s.dispatchEvent(new Event('input'))")
    weights = 0.8 ** np.arange(12)[::-1]
    there = np.isfinite(values[:12])
    expected = (weights * values[:12])[there].sum() / weights[there].sum()
    page.js("arguments[0].focus()", page.plot("loss"))
    page.press("\ue011", *["\ue014"] * 11)  # home, and eleven to the right
    assert page.state()["cross"] == 11
    raw, smooth = re.match(r"(\S+) \((\S+)\)", page.text("#charts .readout .value")).groups()
    assert float(raw) == pytest.approx(values[11], rel=2e-3)
    assert float(smooth) == pytest.approx(expected, rel=2e-3)
    assert traces(page, "loss")[("run 1", "train")]["drawn"] == 30
    assert page.text("#half-life") == "half-life 3.1 steps"


# Zoom, cross-hair, keyboard -------------------------------------------------------------------------------------------------


def test_dragging_zooms_all_charts_and_a_double_click_shows_everything(opened):
    from selenium.webdriver.common.action_chains import ActionChains

    page = opened(run_of(101))
    page.drag("loss", 0.2, 0.6)
    low, high = page.state()["x"]["domain"]
    assert (low, high) == pytest.approx((20, 60), abs=0.5)
    assert page.text("#range") == f"steps {math.ceil(low)} to {math.floor(high)}"
    assert page.state()["x"]["zoomed"]
    assert all(38 <= trace["drawn"] <= 44 for trace in traces(page, "lr").values())  # and a neighbour on either side
    ActionChains(page.driver).double_click(page.plot("accuracy")).perform()
    assert page.state()["x"] == {"domain": [0, 100], "zoomed": False, "log": False}


def test_dragging_backwards_is_the_same_and_a_click_is_no_zoom(opened):
    page = opened(run_of(101))
    page.plot("loss").click()
    assert not page.state()["x"]["zoomed"]
    page.drag("loss", 0.75, 0.25)
    assert page.state()["x"]["domain"] == pytest.approx([25, 75], abs=0.5)
    page.click("#reset")
    assert page.state()["x"]["domain"] == [0, 100]


def test_the_cross_hair_stands_at_the_same_step_in_all_charts_with_values(opened):
    page = opened(run_of(41))
    page.drag("loss", 0.25, 0.25)
    assert page.state()["cross"] == 10
    readouts = [element.text.split("\n") for element in page.all("#charts .readout")]
    assert [lines[0] for lines in readouts] == ["step 10 · epoch 1"] * 3
    assert readouts[0][1:] == ["validation", "0.2273", "training", "0.1818"]  # 2.5 / 11 and 2 / 11
    assert readouts[2][1:] == ["learning rate", "0.1"]


def test_keys_move_the_cross_hair_from_point_to_point_and_zoom(opened):
    page = opened(run_of(101))
    page.js("arguments[0].focus()", page.plot("accuracy"))
    right, left, home, end, page_down = "\ue014", "\ue012", "\ue011", "\ue010", "\ue00f"
    for keys, step in (
        ([right], 0),
        ([right], 10),
        ([right, right], 30),
        ([left], 20),
        ([end], 100),
        ([right], 100),
        ([home], 0),
    ):
        page.press(*keys)
        assert page.state()["cross"] == step
    assert "step 0" in page.text("#spoken")
    assert "validation 0.5" in page.text("#spoken")
    page.press(page_down)
    assert page.state()["cross"] == 10
    page.press("+")
    assert page.state()["x"]["domain"] == [5, 55]
    page.press("-")
    assert not page.state()["x"]["zoomed"]
    page.press("l")
    assert chart(page, "accuracy")["log"]
    page.press("+", "\ue00c")  # escape
    state = page.state()
    assert (state["cross"], state["x"]["zoomed"]) == (None, False)


def test_tab_reaches_every_control(opened, tmp_path):
    page = opened([run_with_everything(tmp_path), run_of(20)])
    every = "button:not([disabled]), input, select, summary, .plot"
    count = page.js("return [...document.querySelectorAll(arguments[0])].filter((e) => e.checkVisibility()).length", every)
    page.js("document.activeElement.blur(); window.reached = new Set()")
    for _ in range(count + 8):
        page.press("\ue004")
        page.js("if (document.activeElement.matches(arguments[0])) window.reached.add(document.activeElement)", every)
    assert page.js("return window.reached.size") == count > 20


# Toggles --------------------------------------------------------------------------------------------------------------------


def test_runs_and_parts_can_be_hidden(opened):
    page = opened([run_of(20, "first"), run_of(30, "second")])
    assert set(traces(page, "loss")) == {("run 1", "train"), ("run 1", "val"), ("run 2", "train"), ("run 2", "val")}
    assert page.state()["x"]["domain"] == [0, 29]
    page.click("#runs .run:nth-child(2) input")
    assert set(traces(page, "loss")) == {("run 1", "train"), ("run 1", "val")}
    assert page.state()["x"]["domain"] == [0, 19]
    page.click("#parts button[data-part=val]")
    assert set(traces(page, "loss")) == {("run 1", "train")}
    assert page.find("#parts button[data-part=val]").get_attribute("aria-pressed") == "false"


def test_logarithmic_axes(opened):
    page = opened(run_of(101))
    assert chart(page, "loss")["log"]  # a loss that falls far starts so
    assert not chart(page, "accuracy")["log"]
    page.click("#log-x")
    assert page.state()["x"]["log"]
    page.drag("loss", 0.0, 0.5)
    high = page.state()["x"]["domain"][1]
    assert math.log10(1 + high) == pytest.approx(math.log10(101) / 2, abs=0.02)
    page.click("#log-y")
    assert all(c["log"] for c in page.state()["charts"])
    page.click("#log-y")
    assert not any(c["log"] for c in page.state()["charts"])


def test_what_a_log_axis_cannot_show_is_said(opened):
    page = opened(run_of(rho=[1.0, -1.0, 0.5, 0.0, 0.25]))
    page.click("#log-y")
    page.settle()
    assert page.text("#charts figure .note") == "2 at or below 0 cannot be shown on a log axis"


def test_dark_as_the_system_or_as_chosen(opened):
    page = opened(run_of())
    ground = "return getComputedStyle(document.body).backgroundColor"
    light = page.js(ground)
    page.driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    page.until(lambda: page.state()["dark"])
    dark = page.js(ground)
    assert sum(map(int, re.findall(r"\d+", light))) > 600 > 150 > sum(map(int, re.findall(r"\d+", dark)))
    assert page.js(COLOURS_AT, "loss", 3.5) != []
    assert not there(BLUE, page.js(COLOURS_AT, "loss", 3.5))  # drawn again, in the colours of the dark
    page.click("#theme")
    assert (page.state()["theme"], page.state()["dark"], page.js(ground)) == ("light", False, light)
    page.click("#theme")
    assert (page.state()["theme"], page.js(ground)) == ("dark", dark)


def test_a_few_wild_values_of_rho_do_not_hide_the_others(opened):
    def domain(values):
        recorder = Recorder(None)
        for step, value in enumerate(values, 1):
            recorder.log(step, rho=value)
        (chart,) = opened(recorder.run).state()["charts"]
        return chart["y"]

    low, high = domain([0.9, 0.8, 50.0, -20.0, 1.0])
    assert (low, high) == pytest.approx((-1.68, 1.68))
    assert domain([0.9, 0.8])[0] < 0 < 1 < domain([0.9, 0.8])[1] < 1.2
    assert domain([5.0, 6.0])[0] > 4


def sweep(*losses, names="abcdefgh"):
    """Runs whose losses are given; their steps are 0, 1, ..."""
    return [run_of(name=name, train__loss=values) for name, values in zip(names, losses, strict=False)]


@pytest.mark.parametrize("log", [True, False])
def test_a_run_that_explodes_does_not_flatten_the_others(opened, log):
    tail = 0.01 if log else 0.5
    page = opened(sweep([1.0, 0.5, tail], [1.0, 1e12, 1e30], [1.2, 0.6, 1.1 * tail]))
    loss = chart(page, "loss")
    assert loss["log"] == log  # the wild run does not decide how the others are drawn
    assert 1.2 < loss["y"][1] < 2
    assert [trace["beyond"] for trace in loss["traces"]] == [None, 1e30, None]
    assert page.text("#charts figure .note") == "1 of 3 curves leaves the axis (arrows), as far as 1e30"
    for run in (1, 3):
        page.click(f"#runs .run:nth-child({run}) input")
    loss = chart(page, "loss")
    assert loss["y"][1] > 1e30  # on its own, all of it is shown
    assert [trace["beyond"] for trace in loss["traces"]] == [None]


def test_curves_that_merely_differ_stay_whole(opened):
    for losses in ([[0.5, 0.5], [0.6, 0.6], [0.5, 0.5]], [[1.0, 1e-5], [1.0, 0.5], [30.0, 20.0]], [[0.0, 0.0], [5.0, 5.0]]):
        loss = chart(opened(sweep(*losses)), "loss")
        values = [value for own in losses for value in own]
        assert loss["y"][0] <= min(values) < max(values) <= loss["y"][1]
        assert all(trace["beyond"] is None for trace in loss["traces"])


def test_one_run_far_below_the_others_and_r2_below_minus_one(opened):
    low, high = chart(opened(sweep([3.0, 2.0], [3.0, -1e9], [3.0, 2.5])), "loss")["y"]
    assert 1 < low < 2 < 3 < high < 4
    page = opened(run_of(r2_score=[-5000.0, -0.5, 0.9]))
    assert page.state()["charts"][0]["y"] == pytest.approx((-1.114, 1.014))
    assert page.text("#charts figure .note") == "1 of 1 curves leaves the axis (arrows), as far as -5000"
    assert opened(run_of(r2_score=[-5000.0, -4000.0])).state()["charts"][0]["y"][0] < -5000


def test_learning_rates_decades_apart_are_all_shown(opened):
    def rates(*rates):
        return chart(opened([run_of(name=str(lr), lr=[lr, lr / 2, lr / 1e9]) for lr in rates]), "lr")

    lr = rates(1.0, 1e-3, 1e-2)
    assert lr["log"]
    assert all(trace["beyond"] is None or trace["beyond"] < 1e-6 for trace in lr["traces"])
    assert lr["y"] == pytest.approx([1e-6 / 10**0.36, 10**0.36])
    lr = rates(1.0, 0.04, 0.04)
    assert not lr["log"]
    assert lr["y"][1] > 1


def texts_drawn(page, action):
    """What is written on canvases when everything is drawn anew."""
    spy = """window.texts = []; const write = CanvasRenderingContext2D.prototype.fillText;
    CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
      window.texts.push(text); return write.call(this, text, ...rest); };"""
    page.js(spy)
    action()
    page.settle()
    return page.js("return window.texts")


def test_steps_are_whole_numbers_on_the_axis_of_a_run_of_one(opened):
    page = opened(run_of(train__loss=[50.0]))
    texts = texts_drawn(page, lambda: page.click("#log-x"))
    assert texts[:2] == ["step", "0"]
    assert not {"-0.4", "-0.2", "0.2", "0.4", "1"} & set(texts)


# On paper ---------------------------------------------------------------------------------------------------------------------


def test_on_paper_everything_is_light_sharp_and_as_wide_as_a_sheet(opened, page, tmp_path):
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    page = opened([run_with_everything(tmp_path), run_of(20)])

    def drawn():
        return page.js(
            """const plot = document.querySelector("#charts .plot"), canvas = plot.querySelector("canvas");
            return [document.body.offsetWidth, plot.offsetWidth, canvas.width / plot.offsetWidth,
              document.documentElement.dataset.theme, !!document.querySelector("#toolbar").offsetWidth];"""
        )

    before = drawn()
    page.js("dispatchEvent(new Event('beforeprint'))")
    body, width, sharpness, theme, controls = drawn()
    assert (body, sharpness, theme, controls) == (700, 3, "light", False)
    assert 250 < width < 350  # two charts beside each other
    assert page.js("return document.documentElement.scrollWidth") <= 1300
    visible = (
        "return [...document.querySelectorAll('button, .overlay')].filter((b) => b.offsetWidth).map((b) => b.className)"
    )
    assert "overlay" not in page.js(visible)
    page.js("dispatchEvent(new Event('afterprint'))")
    assert drawn() == before


def test_a_printed_report_has_few_pages_and_comes_back_as_it_was(opened, tmp_path):
    page = opened(run_with_everything(tmp_path))
    before = page.state()
    paper = base64.b64decode(page.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})["data"])
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", paper)) <= 3
    after = page.state()
    assert (after["charts"], after["theme"]) == (before["charts"], "auto")


# Findings, notes, settings, matrices ----------------------------------------------------------------------------------------


def test_a_finding_shows_its_window_and_its_evidence(opened, tmp_path):
    page = opened(run_with_everything(tmp_path))
    assert len(page.all("#findings .finding")) == 1
    page.click("#findings .finding > button")
    state = page.state()
    assert state["x"]["domain"] == [12, 20]
    assert (state["finding"]["id"], state["finding"]["steps"]) == ("overfit", [12, 20])
    page.click("#findings .finding summary")
    shown = page.text("#findings .finding")
    for words in ("stop at step 12", "too many parameters", "paired t", "0.25", "right 31/32", "steps 12 to 20"):
        assert words in shown
    page.click("#findings > div > details > summary")
    assert page.text("#findings .check") == "lr too high: clear"
    before = page.js(COLOURS_AT, "loss", 16)
    page.click("#reset")
    page.settle()
    inside, outside = page.js(COLOURS_AT, "loss", 16.3), page.js(COLOURS_AT, "loss", 5.3)
    assert set(inside) - set(outside)  # shaded
    assert before


def test_findings_say_what_they_found_and_what_is_not_known_is_left_out(opened):
    found = {
        "id": "overfit",
        "verdict": "detected",
        "severity": "warning",
        "step_range": [12, 20],
        "advice": ["stop earlier"],
    }
    recorder = Recorder(None)
    for step in range(31):
        recorder.log(step, **{"train/loss": 1 / (1 + step)})
    recorder.event("finding", 20, {**found, "message": "val/loss rose by 12%."})
    page = opened(recorder.run)
    assert "val/loss rose by 12%." in page.text("#findings .finding")
    assert "stop earlier" in page.text("#findings .finding")
    page.click("#findings .finding > button")
    assert page.state()["x"]["domain"] == [12, 20]
    evidence = {"sentence": "It rose by half.", "statistic": "paired t", "estimate": 0.5, "interval": None}
    other = {
        "id": "plateau",
        "verdict": "clear",
        "severity": "info",
        "step_range": None,
        "evidence": {"sentence": "It falls."},
    }
    page = opened(recorder.run, findings=[{**found, "evidence": evidence}, other])
    page.click("#findings .finding summary")
    assert "It rose by half." in page.text("#findings .finding")
    assert "interval" not in page.text("#findings .finding")
    assert page.text("#findings .finding").count("rose") == 1
    page.click("#findings > div > details > summary")
    assert page.text("#findings .check") == "plateau: clear. It falls."


def test_findings_can_be_given_and_a_single_step_is_shown_with_its_neighbours(opened):
    page = opened(run_of(), findings=[{**FINDING, "step_range": [7, 7]}])
    page.click("#findings .finding > button")
    assert page.state()["x"]["domain"] == [6, 8]


def test_layers_histograms_confusions_pictures_and_notes(opened, tmp_path):
    page = opened(run_with_everything(tmp_path))
    state = page.state()
    assert {k: state["layers"][k] for k in ("quantity", "cells", "rows", "total")} == {
        "quantity": "grad_norm",
        "cells": 60,
        "rows": 2,
        "total": 30,
    }
    page.click("#layers button[data-choice=dead]")
    assert {k: page.state()["layers"][k] for k in ("quantity", "rows")} == {"quantity": "dead", "rows": 1}
    assert page.js("return document.activeElement.dataset.choice") == "dead"
    assert (state["histograms"]["name"], state["histograms"]["columns"]) == ("weights/0", 30)
    page.click("#histograms button[data-choice=ridges]")
    assert page.state()["histograms"]["ridges"] == 14
    assert page.text("#confusion table") == "catdogcat82dog19"
    assert page.js("return document.querySelector('#figures img').naturalWidth") > 100
    page.click("#notes button")
    assert page.state()["cross"] == 30
    assert "the rate was halved" in page.text("#notes")


def test_settings_that_differ_are_shown_and_all_on_demand(opened):
    page = opened([run_of(5, config={"lr": 0.1, "seed": 0}), run_of(5, config={"lr": 0.2, "seed": 0})])

    def rows():
        return page.js(
            "return [...document.querySelectorAll('.config tr')].slice(1).map((r) => [...r.children].map((c) => c.textContent))"
        )

    assert rows() == [["lr", "0.1", "0.2"]]
    page.click("#config details button")
    assert ["seed", "0", "0"] in rows()


def test_runs_that_differ_in_nothing_have_no_empty_table(opened):
    page = opened([run_of(5), run_of(5)])
    assert page.text("#config summary") == "nothing"
    assert page.text("#config .config") == ""


def test_derived_settings_and_long_lists_are_folded(opened):
    def text():
        return page.text("#config .config")

    page = opened([run_of(5, config={"lr": lr, "optimizer_full": f"Adam({lr})" * 9}) for lr in (0.1, 0.2)])
    assert page.find("#config details").get_attribute("open")
    assert "Adam" not in text()
    page.click("#config details button")
    assert "Adam(0.1)Adam" in text()
    cell = next(cell for cell in page.all(".config td") if cell.text.startswith("Adam(0.1)"))
    assert cell.size["height"] < 30
    assert cell.get_attribute("title") == "Adam(0.1)" * 9
    page = opened([run_of(5, config={f"k{i}": i * lr for i in range(1, 14)}) for lr in (1, 2)])
    assert page.find("#config details").get_attribute("open") is None


def test_a_table_of_many_runs_scrolls_sideways_and_keeps_the_names_in_sight(opened):
    page = opened([run_of(5, config={"lr": k, "note": f"a word about run {k}"}) for k in range(11)])
    scroll = page.find("#config .scroll")
    assert page.js("return arguments[0].scrollWidth > arguments[0].clientWidth", scroll)
    left = "return document.querySelector('.config tr:last-child td').getBoundingClientRect().left"
    before = page.js(left)
    page.js("arguments[0].scrollLeft = 300", scroll)
    assert page.js(left) == before


def test_the_test_score_is_in_the_card_of_the_run(opened):
    recorder = Recorder(None)
    recorder.log(1, loss=1.0)
    recorder.describe(test={"accuracy": 0.875, "loss": 0.25})
    assert "test accuracy 0.875" in opened(recorder.run).text("#runs .facts")


def test_a_tail_of_tiny_numbers_does_not_fill_the_histogram(opened):
    recorder = Recorder(None)
    rng = np.random.default_rng(0)
    values = np.concatenate([np.zeros(400), rng.normal(0, 0.1, 600), 10.0 ** rng.uniform(-11, -3, 20)])
    for step in (1, 2):
        recorder.log_histogram("gradients", values, step)
    assert 10 < opened(recorder.run).state()["histograms"]["rows"] < 25


def test_hostile_names_are_only_text(opened):
    page = opened(hostile())
    assert page.js("return document.querySelectorAll('img, script:not([type])').length") == 1  # our script
    name = page.text("#runs .name")
    assert name.startswith("</script><script>window.hacked=1</script><img")
    assert page.text("#notes .name").startswith("</script><script>")
    assert page.js("return document.title").startswith("</script>")


# Without scripts, on a telephone -----------------------------------------------------------------------------------------


def test_without_scripts_there_is_a_picture(page, tmp_path):
    runs = [run_of(30, "first"), run_of(30, "<b>second</b>")]
    path = write_report(runs, tmp_path / "report.html", findings=[[FINDING], []])
    page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    page.driver.get(path.as_uri())
    document = page.driver.execute_cdp_cmd("DOM.getDocument", {"depth": -1})["root"]["nodeId"]

    def box(selector):
        node = page.driver.execute_cdp_cmd("DOM.querySelector", {"nodeId": document, "selector": selector})["nodeId"]
        return page.driver.execute_cdp_cmd("DOM.getBoxModel", {"nodeId": node})["model"]

    picture = box("svg.still")
    assert picture["width"] > 250
    assert picture["height"] > 100
    lines = page.driver.execute_cdp_cmd("DOM.querySelectorAll", {"nodeId": document, "selector": "svg.still path.line"})
    assert len(lines["nodeIds"]) == 8  # of both runs: training and validation loss, accuracy, rate
    assert box("#still table")["height"] > 20
    assert box("#still .finding")["height"] > 50
    sheet = {"width": 718, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", sheet)
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert box("#still table")["width"] <= 718  # nothing is cut off on paper
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    telephone = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", telephone)
    assert 250 < box("svg.still")["width"] < box(".stills")["width"] < 390
    assert page.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]["width"] <= 390
    from selenium.common.exceptions import WebDriverException

    with pytest.raises(WebDriverException):
        box("#page")  # hidden: it has no box
    page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize("width", [320, 375, 390])
def test_a_telephone_shows_all_of_it_without_scrolling_sideways(opened, page, tmp_path, width):
    page.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    )
    page = opened(
        [run_with_everything(tmp_path), run_of(20, "another with a name that is rather long for a telephone" * 3)]
    )
    page.settle()
    assert page.js("return document.documentElement.scrollWidth") <= width
    assert page.js("return document.querySelector('#charts .plot canvas').width") > 1.3 * width  # sharp
    assert traces(page, "loss")
