"""The still pictures: what they show without scripts, of exploding runs too, and what they say is not in them."""

import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor import Recorder
from monitor.page.content import columns
from monitor.page.scales import axis, texts, ticks
from monitor.page.still import BOTTOM, LEFT, RIGHT, TOP, still

NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


def run_of(name="run", **series):
    recorder = Recorder(None, name=name)
    for part, values in series.items():
        for step, value in enumerate(values):
            recorder.log(step, **{part.replace("__", "/"): value})
    recorder.finish()
    return recorder.run


def panels(*runs):
    """{title: (remarks, svg)} of each panel."""
    page = still(runs, [columns(run) for run in runs], [[]] * len(runs))
    figures = ElementTree.fromstring(re.search(r'<div class="stills">.*</div>', page, re.DOTALL)[0])
    return {figure[0][0].text: (figure[0][0].tail.strip(), figure[1]) for figure in figures}


def places(svg, kind):
    """Where lines go, and where marks stand, of a class: [n, 2]."""
    paths = [path.get("d") for path in svg.iter("path") if kind in path.get("class").split()]
    return np.array(re.findall(r"[ML]([\d.e+-]+) ([\d.e+-]+)", "".join(paths)), float).reshape(-1, 2)


def tick_texts(svg, anchor):
    return [text.text for text in svg.iter("text") if text.get("text-anchor") == anchor]


FINDING = {
    "id": "over_fit",
    "verdict": "detected",
    "severity": "warning",
    "steps": [1200, 2000],
    "message": "val/loss <rose>.",
    "advice": ["stop earlier", "a smaller net"],
}
CLEAR = {**FINDING, "id": "lr_too_high", "verdict": "not_checked", "message": "lr was not recorded"}


def findings_of(runs, findings):
    page = still(runs, [columns(run) for run in runs], findings)
    section = ElementTree.fromstring(re.search("<section.*?</section>", page, re.DOTALL)[0])
    return [" ".join("".join(p.itertext()).split()) for p in section.iter("p")], section


def test_what_was_found_is_said_the_gravest_first():
    grave = {**FINDING, "id": "nonfinite", "severity": "critical", "steps": None, "message": "", "advice": []}
    said, section = findings_of([run_of(loss=[1.0])], [[CLEAR, FINDING, grave]])
    assert said == [
        "critical nonfinite",
        "warning over fit steps 1,200 to 2,000",
        "val/loss <rose>.",
        "stop earlier",
        "a smaller net",
        "lr too high: not checked. lr was not recorded",
    ]
    assert [details[0].text for details in section.iter("details")] == ["1 other checks"]
    runs = [run_of("a", loss=[1.0]), run_of("b", loss=[1.0])]
    assert findings_of(runs, [[], [FINDING]])[0][0] == "warning over fit steps 1,200 to 2,000 · b"


def test_where_nothing_was_found_or_looked_for_it_is_said_or_nothing():
    run = run_of(loss=[1.0])
    assert findings_of([run], [[CLEAR]])[0][0] == "Nothing was detected."
    assert "<section" not in still([run], [columns(run)], [[]])


def test_all_panels_have_the_same_steps():
    found = panels(run_of(train__loss=np.ones(201).tolist(), rho=[1.0] * 50), run_of(rho=[1.0] * 20))
    assert [tick_texts(svg, "middle")[:-1] for _, svg in found.values()] == [["0", "50", "100", "150", "200"]] * 2
    assert places(found["rho"][1], "run-0")[:, 0].max() < LEFT + 0.25 * (RIGHT - LEFT)


@pytest.mark.parametrize("often", [60, 2000])  # of many points, extremes and means are drawn
def test_no_line_joins_what_lies_far_apart_and_a_lone_point_is_a_dot(often):
    recorder = Recorder(None)
    rarely = [20 * often * (i + 1) for i in range(4)]
    for step in (*range(10, 10 * often + 1, 10), *rarely):
        recorder.log(step, rho=1.0 + 0.1 * (step % 3))
    _, svg = panels(recorder.run)["rho"]
    begin, last = 10, rarely[-1]
    across = [LEFT + (step - begin) / (last - begin) * (RIGHT - LEFT) for step in rarely]
    for path in svg.iter("path"):
        if path.get("class").startswith("line"):
            line, *dots = path.get("d").split("M")[1:]
            assert line.count("L") > 20
            assert [float(x) for x in re.findall(r"M([\d.]+) [\d.]+h0", "M" + "M".join(dots))] == pytest.approx(
                across, abs=0.06
            )
    assert sorted(set(places(svg, "dot")[:, 0])) == pytest.approx(across, abs=0.06)


def test_more_metrics_than_panels_are_counted():
    run = run_of(**{f"m{i}": [1.0] for i in range(12)})
    assert len(panels(run)) == 9
    assert "Not drawn: 3 more" in still([run], [columns(run)], [[]])


def test_the_largest_numbers_have_an_axis():
    _, svg = panels(run_of(train__loss=[1.7e308, 1e-290]))["loss"]
    assert len(places(svg, "line")) == 2
    assert tick_texts(svg, "end") == ["1e-200", "1", "1e200"]


@pytest.mark.parametrize("log", [False, True])
def test_a_run_that_explodes_does_not_flatten_the_others(log):
    tail = 0.01 if log else 0.5
    a, b = run_of(train__loss=[1.0, 0.6, tail]), run_of(train__loss=[1.1, 0.5, tail])
    wild = run_of(train__loss=[1.0, 1e12, 1e30])
    said, svg = panels(a, b, wild)["loss"]
    assert said == "log scale · " * log + "1 of 3 curves leaves the axis (arrows), as far as 1e30"
    heights = places(svg, "run-0")[:, 1]
    assert max(heights) - min(heights) > 0.7 * (BOTTOM - TOP)
    arrows = places(svg, "mark")
    assert arrows[:, 1].tolist() == [TOP, TOP]
    assert sorted(arrows[:, 0]) == pytest.approx([(LEFT + RIGHT) / 2, RIGHT])
    said, svg = panels(wild)["loss"]
    assert (said, len(places(svg, "mark"))) == ("log scale", 0)  # on its own, all of it is shown


def test_a_curve_ends_where_it_leaves_the_axis():
    steady = [run_of(train__loss=[1.0, 0.5, 0.9]) for _ in range(2)]
    said, svg = panels(*steady, run_of(train__loss=[50.0, -1000.0, 0.75]))["loss"]
    assert said == "1 of 3 curves leaves the axis (arrows), as far as -1000"
    line = places(svg, "run-2")
    line = line[line[:, 0] != (LEFT + RIGHT) / 2]  # without the arrow at its lowest point
    assert line[:, 1].max() == BOTTOM
    assert np.ptp(line[line[:, 1] == BOTTOM][:, 0]) > 250  # steeply down, and up at the other end


def test_what_is_no_number_is_marked_and_counted():
    values = [1.0, math.nan, 0.8, math.inf, 0.7, -math.inf, 0.6]
    said, svg = panels(run_of(train__loss=values))["loss"]
    assert said == "3 × not finite"
    marks = places(svg, "gap")
    step = (RIGHT - LEFT) / 6
    assert marks[:, 0] == pytest.approx([LEFT + step, LEFT + 3 * step, LEFT + 5 * step], abs=0.06)
    assert marks[:, 1].tolist() == [BOTTOM - 7, TOP + 7, BOTTOM - 7]
    said, svg = panels(run_of(train__loss=[math.nan] * 3))["loss"]
    assert said == "3 × not finite"
    assert len(places(svg, "gap")) == 3


def test_a_run_of_one_step_is_a_dot_over_its_step():
    said, svg = panels(run_of(train__loss=[0.5]))["loss"]
    assert said == ""
    assert places(svg, "dot").tolist() == [[(LEFT + RIGHT) / 2, (TOP + BOTTOM) / 2]]
    assert tick_texts(svg, "middle") == ["0", "step"]


def test_axes_have_round_ticks_and_a_name():
    _, svg = panels(run_of(train__loss=np.linspace(1, 0.5, 200).tolist(), grad_norm=np.geomspace(1e-3, 1e2, 200).tolist()))[
        "loss"
    ]
    assert tick_texts(svg, "middle") == ["0", "50", "100", "150", "step"]
    assert tick_texts(svg, "end") == ["0.6", "0.8", "1"]
    _, svg = panels(run_of(train__loss=[1.0] * 10_001))["loss"]
    last = next(text for text in svg.iter("text") if text.text == "10,000")
    assert float(last.get("x")) <= 320 - 6 * 6.5 / 2  # not cut off
    assert len(places(svg, "dot")) == 0


def test_what_spans_decades_is_logarithmic_but_a_learning_rate():
    long = np.geomspace(1e-3, 1e2, 20).tolist()
    found = panels(run_of(grad_norm=long, lr=long, zero=[0.0, *long]))
    assert {title: said for title, (said, _) in found.items()} == {
        "grad norm": "log scale",
        "learning rate": "",
        "zero": "",
    }
    assert tick_texts(found["grad norm"][1], "end") == ["0.01", "1", "100"]


def test_the_legend_says_what_is_there_and_the_table_has_no_empty_column():
    run = run_of(train__loss=[1.0, 0.5], val__loss=[1.0, 0.6])
    page = still([run], [columns(run)], [[]])
    assert re.findall(r"</svg>([a-z ]+)</span>", page) == ["training", "validation"]
    assert "<th>test" not in page
    run.meta["test"] = {"accuracy": 0.5}
    assert "<th>test<" in still([run], [columns(run)], [[]])


@given(
    st.lists(st.lists(NUMBERS, min_size=1, max_size=4), min_size=1, max_size=4), st.sampled_from(["loss", "rho", "other"])
)
def test_no_numbers_break_a_picture_or_leave_it(runs, metric):
    said, svg = panels(*[run_of(**{f"train__{metric}": values}) for values in runs])[metric]
    drawn = places(svg, "line")
    assert np.all((drawn >= [LEFT, TOP]) & (drawn <= [RIGHT, BOTTOM]))
    gaps = sum(not math.isfinite(value) for values in runs for value in values)
    assert (f"{gaps} × not finite" in said) == (gaps > 0)
    assert 1 <= len(tick_texts(svg, "end")) <= 10


@given(st.floats(-1e300, 1e300), st.floats(1e-12, 1e6))
def test_ticks_are_few_within_the_axis_and_told_apart(low, size):
    high = low + max(abs(low) * 1e-9, size)
    found = ticks(low, high)
    slack = 1e-6 * (high - low)
    assert 1 <= len(found) <= 6
    assert all(low - slack <= tick <= high + slack for tick in found)
    assert len(set(texts(found))) == len(found)


def test_of_two_runs_the_lower_counts_as_usual_and_no_learning_rate_is_left_out():
    one, other = np.array([0.5, 1.0]), np.array([0.5, 1e6])
    assert axis("accuracy", [one, other]) == (0.5, 1.0, False)
    assert axis("lr", [one, other]) == (0.5, 1e6, False)


def test_bounds_of_what_is_worth_seeing():
    assert axis("rho", [np.array([0.9, 50.0, -20.0])]) == (-1.5, 1.5, False)
    assert axis("r2_score", [np.array([-5000.0, 0.9])]) == (-1.0, 0.9, False)
    assert axis("r2_score", [np.array([-5000.0, -4000.0])]) == (-5000.0, -4000.0, False)
    assert axis("loss", [np.array([0.5, 0.5]), np.array([0.5])]) == (0.25, 0.75, False)
    assert axis("loss", [np.array([3.0, 2.0]), np.array([3.0, -1e9]), np.array([3.0, 2.5])]) == (2.0, 3.0, False)
