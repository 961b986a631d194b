"""The pictures: the right lines with the right data, read back from the Figure; odd runs and hostile names; no pyplot.

Every picture is also rendered, since Matplotlib finds some faults only then, and a warning is an error.
"""

import io
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

import monitor
from monitor import Recorder, plot_confusion_matrix, plot_decision_boundary, plot_fit, plot_learning_curves
from monitor.pictures.curves import COLOURS, shown


def render(figure):
    """Lay it out and draw it, as saving it does."""
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()


def pixels(figure):
    file = io.BytesIO()
    figure.savefig(file, format="rgba", dpi=60)
    return np.frombuffer(file.getvalue(), np.uint8)


def run_of(name="moons", epochs=True, **series):
    """A run with one evaluation per value; underscores in the keywords stand for slashes, once."""
    recorder = Recorder(None, name=name)
    for i in range(max(map(len, series.values()))):
        numbers = {key.replace("_", "/", 1): values[i] for key, values in series.items() if i < len(values)}
        recorder.event("eval", 10 * i, numbers, i if epochs else None)
    recorder.finish()
    return recorder.run


LOSS = {"train_loss": [2.0, 1.0, 0.5, 0.25], "val_loss": [2.5, 1.5, 1.25, 1.375]}


def curves(ax):
    """The lines of a panel without the marks: {(colour, style): (x, y)}."""
    return {
        (line.get_color(), line.get_linestyle()): (list(line.get_xdata()), list(line.get_ydata()))
        for line in ax.lines
        if line.get_marker() != "o" and line.get_linestyle() != ":"
    }


def marks(ax):
    """Where the best epochs are marked."""
    return [(*map(float, line.get_xdata()), *map(float, line.get_ydata())) for line in ax.lines if line.get_marker() == "o"]


def panel(figure, title):
    """The panel with this title."""
    return next(ax for ax in figure.axes if ax.get_title() == title)


def titles(figure):
    return [ax.get_title() for ax in figure.axes]


# One run ----------------------------------------------------------------------------------------------------------------


def test_one_run_has_training_solid_and_validation_dashed():
    figure = plot_learning_curves(run_of(**LOSS, val_accuracy=[0.5, 0.75, 0.625, 0.5], lr=[0.1, 0.05, 0.025, 0.0]))
    assert titles(figure) == ["loss", "accuracy", "learning rate"]
    loss, accuracy, rate = figure.axes
    assert curves(loss) == {
        (COLOURS[0], "-"): ([0, 1, 2, 3], LOSS["train_loss"]),
        (COLOURS[1], "--"): ([0, 1, 2, 3], LOSS["val_loss"]),
    }
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training", "validation"]
    assert curves(accuracy) == {(COLOURS[1], "--"): ([0, 1, 2, 3], [0.5, 0.75, 0.625, 0.5])}
    assert curves(rate) == {(COLOURS[0], "-"): ([0, 1, 2, 3], [0.1, 0.05, 0.025, 0.0])}
    assert [ax.get_xlabel() for ax in figure.axes] == ["", "epoch", "epoch"]  # below the lowest of each column
    assert figure.get_suptitle() == "moons"
    assert figure.get_figwidth() == 6.5  # of a page
    render(figure)


def test_the_best_epoch_is_marked_with_its_value():
    figure = plot_learning_curves(run_of(**LOSS, val_accuracy=[0.5, 0.75, 0.625, math.nan]))
    assert marks(panel(figure, "loss")) == [(2, 1.25)]  # the lowest
    assert marks(panel(figure, "accuracy")) == [(1, 0.75)]  # the highest
    assert [text.get_text() for text in panel(figure, "loss").texts] == ["1.25"]
    assert [text.get_text() for text in panel(figure, "accuracy").texts] == ["0.75"]


def test_a_metric_without_a_known_direction_is_drawn_without_a_mark():
    ax = plot_learning_curves(run_of(val_kindness=[1.0, 2.0])).axes[0]
    assert curves(ax) == {(COLOURS[1], "--"): ([0, 1], [1.0, 2.0])}
    assert marks(ax) == []


@pytest.mark.parametrize("best", [0, 1, 9])
def test_the_number_at_the_best_epoch_is_inside_the_picture(best):
    values = [1.0] * 10
    values[best] = 0.5125
    figure = plot_learning_curves(run_of(train_loss=values, val_loss=values))
    render(figure)
    box = figure.axes[0].texts[0].get_window_extent()
    inside = figure.axes[0].get_window_extent()
    assert inside.x0 <= box.x0 < box.x1 <= inside.x1
    assert inside.y0 <= box.y0 < box.y1 <= inside.y1


def test_a_loss_that_falls_far_gets_a_logarithmic_axis():
    far, near = [1.0, 0.1, 0.01], [1.0, 0.5, 0.25]
    for values, scale in [(far, "log"), (near, "linear"), ([1.0, 0.0, -1.0], "linear"), ([math.nan] * 3, "linear")]:
        assert plot_learning_curves(run_of(train_loss=values)).axes[0].get_yscale() == scale
    assert plot_learning_curves(run_of(train_accuracy=far)).axes[0].get_yscale() == "linear"


def test_a_run_without_epochs_is_drawn_over_steps():
    recorder = Recorder(None, name="own loop")
    for step in range(1, 4):
        recorder.log(loss=1 / step, lr=0.1, **{"grad_norm/layer 1": 2.0})
    figure = plot_learning_curves(recorder.run)
    assert titles(figure) == ["loss", "learning rate", "grad norm/layer 1"]
    assert [ax.get_xlabel() for ax in figure.axes] == ["", "", "step"]
    assert curves(figure.axes[0]) == {(COLOURS[0], "-"): ([1, 2, 3], [1, 1 / 2, 1 / 3])}
    render(figure)


def test_one_name_with_and_without_a_prefix_is_one_panel():
    figure = plot_learning_curves(run_of(val_loss=[1.0, 0.5], loss=[3.0, 2.0]))
    assert titles(figure) == ["loss"]
    assert curves(figure.axes[0]) == {(COLOURS[1], "--"): ([0, 1], [1.0, 0.5]), (COLOURS[0], "-"): ([0, 1], [3.0, 2.0])}


def test_a_name_that_is_the_end_of_another_is_drawn():
    figure = plot_learning_curves(run_of(train_accuracy=[0.5, 1.0], acc=[3.0, 2.0]))
    assert curves(panel(figure, "acc")) == {(COLOURS[0], "-"): ([0, 1], [3.0, 2.0])}


def test_the_running_loss_is_left_out_beside_the_evaluated_one():
    assert titles(plot_learning_curves(run_of(train_loss=[1.0], train_running_loss=[2.0]))) == ["loss"]
    assert titles(plot_learning_curves(run_of(train_running_loss=[2.0, 1.0]))) == ["running loss"]


def test_all_panels_have_the_same_epochs():
    run = run_of(train_loss=[1.0] * 9, val_loss=[math.nan, 1.0, 1.0], lr=[0.1] * 5, rho=[1.0] * 3)
    for figure in (plot_learning_curves(run), plot_learning_curves([run, run_of(val_accuracy=[0.5] * 12, lr=[1.0])])):
        last = 8 if len(figure.axes) == 3 else 11
        for ax in figure.axes:
            assert ax.get_xlim() == pytest.approx((-0.02 * last, 1.02 * last))


def rare(n_often=60, n_rarely=4, times=50):
    """A run with a loss at every step, and rho at every tenth and later at every 500th."""
    recorder = Recorder(None, name="rare")
    steps = [*range(10, 10 * n_often + 1, 10), *(10 * times * (i + 2) for i in range(n_rarely))]
    for step in range(1, steps[-1] + 1):
        recorder.log(step, loss=1.0)
    for step in steps:
        recorder.log(step, rho=step / 10_000)
    return recorder.run


def test_no_line_joins_what_lies_far_apart_and_a_lone_point_is_a_dot():
    figure = plot_learning_curves(rare(), metrics=["rho"])
    (line,) = figure.axes[0].lines
    x, y = line.get_data()
    assert np.flatnonzero(np.isnan(x)).tolist() == [60, 62, 64, 66]
    np.testing.assert_array_equal(np.isnan(x), np.isnan(y))
    assert x[~np.isnan(x)].tolist() == [*range(10, 601, 10), 1000, 1500, 2000, 2500]
    assert (line.get_marker(), line.get_markevery()) == (".", [61, 63, 65, 67])
    render(figure)
    (even,) = plot_learning_curves(rare(), metrics="loss").axes[0].lines
    assert (even.get_marker(), np.isnan(even.get_xdata()).any()) == ("", False)


def test_among_several_runs_lone_points_have_the_mark_of_their_run():
    lines = plot_learning_curves([rare(), rare()], metrics=["rho"]).axes[0].lines
    for line in lines:
        assert {61, 63, 65, 67} < set(line.get_markevery())
        assert np.isnan(line.get_xdata()[60])
    assert len({line.get_marker() for line in lines}) == 2


def test_a_band_is_not_drawn_over_a_gap():
    runs = [rare() for _ in range(3)]
    for seed, run in enumerate(runs):
        run.meta["config"] = {"seed": seed}
    (band,) = plot_learning_curves(runs, metrics=["rho"]).axes[0].collections
    (first, *_) = band.get_paths()
    assert first.vertices[:, 0].max() == 600


def test_many_series_are_put_in_rows():
    figure = plot_learning_curves(run_of(**{f"val_metric{i}": [1.0, 2.0] for i in range(9)}))
    assert titles(figure) == [f"metric{i}" for i in range(9)]
    assert figure.get_figwidth() < 20
    render(figure)


def many(n=10_000, prefix=""):
    recorder = Recorder(None, name="many")
    recorder.log(1, **{f"{prefix}m{i}": float(i) for i in range(n)}, lr=0.1)
    return recorder.run


@pytest.mark.parametrize(("runs", "style"), [(1, "paper"), (3, "slides")])
def test_of_very_many_metrics_some_are_drawn_and_it_is_said(runs, style):
    figure = plot_learning_curves([many()] * runs, style=style)
    assert titles(figure) == ["learning rate", *(f"m{i}" for i in range(23))]
    (legend,) = figure.legends
    said = legend.get_title().get_text().replace("\n", " ")
    assert said == ("24 of 10,001 metrics are drawn, which metrics=[...] chooses. Not drawn: m23, m24, m25 and 9,974 more")
    render(figure)
    box = legend.get_window_extent()
    assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
    assert box.y1 <= min(ax.get_window_extent().y0 for ax in figure.axes)
    assert figure.get_figheight() < 22


def test_the_learning_rate_is_always_among_the_metrics_drawn():
    figure = plot_learning_curves(many(30, "val/"))
    assert titles(figure) == [*(f"m{i}" for i in range(23)), "learning rate"]
    assert len(plot_learning_curves(many(23)).axes) == 24
    assert not plot_learning_curves(many(23)).legends


def test_metrics_can_be_chosen():
    run = many()
    assert titles(plot_learning_curves(run, metrics=["m9999", "lr"])) == ["learning rate", "m9999"]
    assert titles(plot_learning_curves(run, metrics="m7")) == ["m7"]
    assert len(plot_learning_curves(run, metrics=[f"m{i}" for i in range(30)]).axes) == 30
    assert not plot_learning_curves(run, metrics=["m7"]).legends
    both = plot_learning_curves(run_of(**LOSS, lr=[0.1]), metrics=["loss"])
    assert len(curves(both.axes[0])) == 2  # training and validation
    for metrics, unknown in ((["m7", "val/m7"], ["val/m7"]), ([], [])):
        text = f"metrics should be some of those that were recorded, got {unknown}; there are lr, m0, m1"
        with pytest.raises(ValueError, match=re.escape(text) + ".* and 9,981 more"):
            plot_learning_curves(run, metrics=metrics)


def test_a_series_that_a_resumed_run_measured_no_more_has_no_panel(tmp_path):
    with Recorder(tmp_path, name="resumed") as recorder:
        for step in range(1, 6):
            recorder.log(step, **{"train/loss": 1.0} | ({"val/loss": 2.0, "rho": 1.0} if step > 3 else {}))
    with Recorder.resume(recorder.path, step=3) as recorder:
        recorder.log(4, **{"train/loss": 0.5})
    assert titles(plot_learning_curves(recorder.path)) == ["loss"]
    assert len(plot_learning_curves(recorder.path).axes[0].lines) == 1


# Odd numbers ------------------------------------------------------------------------------------------------------------


def test_what_is_not_finite_is_a_gap():
    figure = plot_learning_curves(
        run_of(train_loss=[1.0, math.nan, math.inf, 0.5], val_loss=[-math.inf, 2.0, math.nan, 3.0])
    )
    np.testing.assert_array_equal(curves(figure.axes[0])[COLOURS[0], "-"][1], [1.0, math.nan, math.inf, 0.5])
    assert marks(figure.axes[0]) == [(1, 2.0)]
    render(figure)


def test_a_run_of_nothing_but_nan_is_an_empty_panel():
    figure = plot_learning_curves(run_of(train_loss=[math.nan] * 3, val_loss=[math.nan, math.inf, -math.inf]))
    assert marks(figure.axes[0]) == []
    render(figure)


def test_one_point_can_be_seen():
    one = plot_learning_curves(run_of(train_loss=[2.0], lr=[0.1]))
    assert [line.get_marker() for line in one.axes[0].lines] == ["."]
    assert one.axes[0].get_xlim() == (-1, 1)
    blank = plot_learning_curves(run_of(train_loss=[math.nan], lr=[0.1]))
    assert (pixels(one) != pixels(blank)).any()


def test_constant_and_extreme_values_are_drawn():
    for values in (
        [0.0] * 3,
        [1e-300, 1e300, 1.0],
        [1.0, 1e300, math.inf],
        [1e-40, 1.0, 1e38],
        [-1e-9, 0.0, 1e-9],
        [1e6, 1e6 + 1, 1e6],
    ):
        render(plot_learning_curves(run_of(train_loss=values, val_loss=values, lr=values)))


LARGEST = 1.7e308


@pytest.mark.parametrize("values", [[LARGEST, 1.0, -LARGEST], [LARGEST] * 3, [5e-324, LARGEST, 1e-323]])
def test_no_difference_of_the_largest_numbers_overflows(values):
    series = {"train_loss": values, "val_loss": values, "lr": values, "rho": values}
    render(plot_learning_curves(run_of(**series)))
    render(plot_learning_curves([run_of(**series), run_of(**LOSS, lr=[0.1, 0.2]), run_of(**LOSS, lr=[1.0])]))
    alike = [run_of(train_loss=values), run_of(train_loss=[-v for v in values]), run_of(train_loss=[1.0] * 3)]
    for seed, run in enumerate(alike):
        run.meta["config"] = {"seed": seed}
    render(plot_learning_curves(alike))


def test_nothing_to_draw_is_an_error():
    for runs in ([], Recorder(None).run, [Recorder(None).run] * 2):
        with pytest.raises(ValueError, match="there is nothing to draw: no series was recorded"):
            plot_learning_curves(runs)


# Several runs -----------------------------------------------------------------------------------------------------------


def test_several_runs_have_a_colour_each_and_keep_the_styles():
    runs = [run_of("a", **LOSS), run_of("b", train_loss=[3.0, 2.0, 1.5, 1.25], val_loss=[3.0, 2.5, 2.0, 1.75])]
    figure = plot_learning_curves(runs)
    assert curves(figure.axes[0]) == {
        (COLOURS[0], "-"): ([0, 1, 2, 3], LOSS["train_loss"]),
        (COLOURS[0], "--"): ([0, 1, 2, 3], LOSS["val_loss"]),
        (COLOURS[1], "-"): ([0, 1, 2, 3], [3.0, 2.0, 1.5, 1.25]),
        (COLOURS[1], "--"): ([0, 1, 2, 3], [3.0, 2.5, 2.0, 1.75]),
    }
    assert marks(figure.axes[0]) == [(2, 1.25), (3, 1.75)]
    assert legend_of(figure) == [
        ("a", to_rgb(COLOURS[0]), "-"),
        ("b", to_rgb(COLOURS[1]), "-"),
        ("training", to_rgb("gray"), "-"),
        ("validation", to_rgb("gray"), "--"),
    ]
    assert figure.get_suptitle() == "a, b"
    render(figure)


def legend_of(figure):
    """(label, colour, style) of the entries of the picture's legend."""
    legend = figure.legends[0]
    texts = [text.get_text() for text in legend.get_texts()]
    lines = [(to_rgb(line.get_color()), line.get_linestyle()) for line in legend.get_lines()]
    return [(text, *line) for text, line in zip(texts, lines, strict=True)]


@pytest.mark.parametrize("count", [2, 8, 40])
@pytest.mark.parametrize("style", ["paper", "slides"])
def test_the_legend_of_many_runs_hides_no_panel_and_is_inside_the_picture(count, style):
    figure = plot_learning_curves([run_of(f"run {i} with quite a long name", **LOSS) for i in range(count)], style=style)
    render(figure)
    box = figure.legends[0].get_window_extent()
    assert box.y1 <= min(ax.get_window_extent().y0 for ax in figure.axes)
    assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
    assert box.y0 >= 0
    assert all(ax.get_window_extent().height > 150 for ax in figure.axes)


# What lies outside --------------------------------------------------------------------------------------------------------


def outside(ax):
    """{(colour, height): x} of the arrows and crosses of a panel."""
    found = {}
    for dots in ax.collections:
        at = np.asarray(dots.get_offsets())
        found[to_hex(dots.get_facecolor()[0]).upper(), at[0, 1]] = at[:, 0].tolist()
    return found


@pytest.mark.parametrize("log", [False, True])
def test_a_run_that_explodes_does_not_flatten_the_others(log):
    tail = 0.01 if log else 0.5
    steady = [run_of(name, train_loss=[1.0, 0.6, tail]) for name in "ab"]
    figure = plot_learning_curves([*steady, run_of("wild", train_loss=[1.0, 1e12, 1e30], lr=[0.1] * 3)])
    render(figure)
    ax = figure.axes[0]
    assert ax.get_yscale() == ("log" if log else "linear")
    low, high = ax.get_ylim()
    assert 0.2 * tail < low < tail < 1 < high < 3
    assert outside(ax) == {(COLOURS[2], 1.0): [1.0, 2.0]}
    assert ax.get_title(loc="right") == "arrows: to 1e30"
    assert (ax.get_title(), figure.axes[1].get_title(loc="right")) == ("loss", "")
    assert ax.title.get_position()[0] == 0  # which leaves room for that
    alone = plot_learning_curves(run_of("wild", train_loss=[1.0, 1e12, 1e30])).axes[0]
    assert alone.get_ylim()[1] > 1e30
    assert outside(alone) == {}


def test_a_run_far_below_the_others_is_marked_below():
    runs = [
        run_of(name, val_accuracy=values) for name, values in {"a": [0.9, 0.8], "b": [0.9, -1e9], "c": [0.7, 0.9]}.items()
    ]
    ax = plot_learning_curves(runs).axes[0]
    assert outside(ax) == {(COLOURS[1], 0.0): [1.0]}
    assert ax.get_title(loc="right") == "arrows: to -1e9"


def test_numbers_that_are_not_finite_are_crosses():
    figure = plot_learning_curves(run_of(train_loss=[1.0, math.nan, math.inf, 0.5], val_loss=[1.0, 1.0, 1.0, 1.0]))
    assert outside(figure.axes[0]) == {(COLOURS[0], 0.05): [1.0, 2.0]}
    assert figure.axes[0].get_title(loc="right") == "crosses: not finite"
    render(figure)
    ax = plot_learning_curves(run_of(train_loss=[101.0, 100.0, math.nan, math.nan])).axes[0]
    assert ax.get_xlim()[1] > 3  # the crosses are inside
    assert ax.get_ylim() == pytest.approx((99.87, 101.13))


def test_learning_rates_decades_apart_are_all_shown():
    def rates(*tops, last=0.5):
        runs = [run_of(str(lr), train_loss=[1.0, 0.5], lr=[lr, lr * last]) for lr in tops]
        return panel(plot_learning_curves(runs), "learning rate")

    assert rates(1.0, 0.001).get_yscale() == "log"
    low, high = rates(1.0, 0.001, 0.01).get_ylim()
    assert low < 0.0005 < 1 < high
    assert rates(1.0, 0.1).get_yscale() == rates(1.0).get_yscale() == "linear"
    assert rates(1.0, 1e-3, last=1e-9).get_ylim()[0] > 1e-8  # a schedule that ends in nearly nothing
    zero = rates(1.0, 1e-3, last=0.0)
    render(zero.figure)
    assert outside(zero) == {}  # the lines go down to the floor


def test_runs_that_recorded_different_things_are_drawn_together():
    runs = [run_of("a", train_loss=[1.0, 0.5]), run_of("b", val_accuracy=[0.5, 1.0])]
    figure = plot_learning_curves(runs)
    assert curves(panel(figure, "loss")) == {(COLOURS[0], "-"): ([0, 1], [1.0, 0.5])}
    assert curves(panel(figure, "accuracy")) == {(COLOURS[1], "--"): ([0, 1], [0.5, 1.0])}
    assert [label for label, *_ in legend_of(figure)] == ["a", "b", "training", "validation"]


def test_where_one_run_has_no_epochs_all_are_drawn_over_steps():
    figure = plot_learning_curves([run_of("a", train_loss=[1.0, 0.5]), run_of("b", epochs=False, train_loss=[2.0, 1.0])])
    assert figure.axes[0].get_xlabel() == "step"
    assert [x for x, _ in curves(figure.axes[0]).values()] == [[0, 10], [0, 10]]


def seeds(n, name="net", epochs=4, **config):
    """Runs that differ in their seed."""
    found = []
    for seed in range(n):
        values = [2.0 + seed, 1.0 + seed, 0.5 * seed, 0.25][:epochs]
        run = run_of(name, train_loss=values, val_loss=[2 * v for v in values])
        run.meta["config"] = {"lr": 0.1, "seed": seed, **config}
        found.append(run)
    return found


def bands(ax):
    return [collection.get_paths()[0].vertices for collection in ax.collections]


def test_runs_that_differ_only_in_their_seed_are_a_median_and_a_band():
    figure = plot_learning_curves(seeds(5))
    median, quartiles = [4.0, 3.0, 1.0, 0.25], [[3.0, 2.0, 0.5, 0.25], [5.0, 4.0, 1.5, 0.25]]
    assert curves(figure.axes[0]) == {
        (COLOURS[0], "-"): ([0, 1, 2, 3], median),  # alone in the picture: training and validation have a colour each
        (COLOURS[1], "--"): ([0, 1, 2, 3], [2 * v for v in median]),
    }
    training, validation = bands(figure.axes[0])
    for x in range(4):
        around = training[training[:, 0] == x]
        assert (around[:, 1].min(), around[:, 1].max()) == (quartiles[0][x], quartiles[1][x])
    assert validation[:, 1].max() == 10
    assert marks(figure.axes[0]) == [(3, 0.5)]
    assert figure.get_suptitle() == "net (5 seeds)"
    render(figure)


def test_which_runs_are_drawn_as_one():
    def labels(runs, **options):
        figure = plot_learning_curves(runs, **options)
        return [label for label, *_ in legend_of(figure)][:-2] if figure.legends else figure.get_suptitle()

    mixed = [*seeds(3), *seeds(3, lr=0.2), *seeds(3, name="other")]
    assert labels(mixed) == ["net (3 seeds)", "net (3 seeds)", "other (3 seeds)"]
    assert labels(mixed, band=False) == ["net"] * 6 + ["other"] * 3
    assert labels(seeds(2)) == ["net", "net"]
    assert labels(seeds(2), band=True) == "net (2 seeds)"
    assert labels([*seeds(3), seeds(1)[0]]) == ["net"] * 4  # the same seed twice: something else must differ
    without = seeds(3)
    for run in without:
        del run.meta["config"]["seed"]
    assert labels(without) == ["net"] * 3
    with pytest.raises(ValueError, match='band must be True, False or "auto", got 3'):
        plot_learning_curves(without, band=3)


def test_a_band_ends_where_most_runs_have_ended():
    runs = [*seeds(2, epochs=2), *seeds(4, epochs=4)[2:3], *seeds(5, epochs=3)[3:4]]
    figure = plot_learning_curves(runs, band="auto")
    x, y = curves(figure.axes[0])[COLOURS[0], "-"]
    assert x == [0, 1, 2, 3]
    np.testing.assert_array_equal(y, [3.5, 2.5, 1.25, math.nan])  # two of four; then one
    render(figure)


def test_runs_evaluated_at_other_times_meet_between():
    runs = seeds(3)
    for event in runs[2].events:
        event["e"], event["s"] = (0.5 * event["e"], event["s"]) if event["e"] is not None else (None, event["s"])
    x, _ = curves(plot_learning_curves(runs).axes[0])[COLOURS[0], "-"]
    assert x == [0, 0.5, 1, 1.5, 2, 3]


def test_several_runs_can_be_told_apart_without_colours():
    figure = plot_learning_curves([run_of(name, **LOSS) for name in "abc"])
    lines = [line for line in figure.axes[0].lines if line.get_marker() != "o"]
    looks = {(line.get_marker(), line.get_linestyle()) for line in lines}
    assert len(looks) == len(lines) == 6
    assert [handle.get_marker() for handle in figure.legends[0].get_lines()][:3] == [
        line.get_marker() for line in lines[::2]
    ]


def test_what_is_recorded_between_evaluations_is_placed_by_epoch_and_below():
    run = run_of(**LOSS, lr=[0.1] * 4)
    recorder = Recorder(None)
    for step, rho in ((1, 1.0), (15, 0.9), (40, 50.0)):
        recorder.log(step, rho=rho, grad_norm=1.0)
    run.events.extend(recorder.run.events)
    figure = plot_learning_curves(run)
    assert titles(figure) == ["loss", "learning rate", "rho", "grad norm"]
    ((x, y),) = curves(panel(figure, "rho")).values()
    assert (x, y) == ([pytest.approx(0.1), 1.5, 4.0], [1.0, 0.9, 50.0])  # the last is after the last evaluation
    assert panel(figure, "rho").get_ylim() == (-0.1, 1.5)  # 50 would hide the others
    render(figure)
    heights = [ax.get_window_extent().height for ax in figure.axes]
    assert heights[0] > 1.5 * max(heights[1:])
    tops = [ax.get_window_extent().y1 for ax in figure.axes]
    assert tops == sorted(tops, reverse=True)


# Findings ---------------------------------------------------------------------------------------------------------------


class Found:
    id, step_range, severity, verdict = "lr_too_high", (0, 15), "error", "detected"


def windows(ax):
    """{(first, last)} of what is shaded."""
    return {tuple(np.round([p.get_x(), p.get_x() + p.get_width()], 6)) for p in ax.patches}


def test_findings_are_shaded_with_their_name():
    run = run_of(**LOSS, lr=[0.1] * 4)
    mapping = {"id": "over_fit$", "step_range": [20, 30], "severity": "warning"}
    clear = {"id": "plateau", "step_range": [0, 30], "severity": "info", "verdict": "clear"}
    nowhere = {"id": "bad_inputs", "step_range": None, "severity": "info", "verdict": "detected"}
    before = plot_learning_curves(run).axes[0].get_xlim()
    for given in ([Found(), mapping, clear, nowhere], type("Report", (), {"findings": [Found(), mapping, clear]})()):
        figure = plot_learning_curves(run, findings=given)
        for ax in figure.axes:
            assert windows(ax) == {(0, 1.5), (2, 3)}
            assert ax.get_xlim() == before
        assert [text.get_text() for text in figure.axes[0].texts] == ["1.25", "lr_too_high", r"over_fit\$"]
        assert not figure.axes[1].texts
        render(figure)
        limits = figure.axes[0].get_window_extent()
        for text in figure.axes[0].texts:
            assert limits.x0 <= text.get_window_extent().x0 < text.get_window_extent().x1 <= limits.x1
    error, warning = figure.axes[0].patches
    assert (error.get_hatch(), warning.get_hatch()) == ("////", None)  # in black and white, too


def test_a_window_may_go_beyond_the_run_and_its_name_stays_inside():
    run = run_of(**LOSS)
    plain = plot_learning_curves(run)
    late = {"id": "exploding_gradients", "step_range": [28, 90_000], "severity": "critical"}
    figure = plot_learning_curves(run, findings=[late])
    render(figure)
    assert figure.axes[0].get_xlim() == plain.axes[0].get_xlim()
    box, inside = figure.axes[0].texts[-1].get_window_extent(), figure.axes[0].get_window_extent()
    assert inside.x0 <= box.x0 < box.x1 <= inside.x1


def test_findings_of_the_run_are_shaded_unless_others_are_given():
    recorder = Recorder(None)
    for i, loss in enumerate([1.0, 0.5, 0.4]):
        recorder.event("eval", 10 * i, {"train/loss": loss}, None)
    recorder.event("finding", 20, {"id": "overfit", "verdict": "detected", "severity": "warning", "step_range": [5, 10]})
    recorder.event("finding", 20, {"id": "overfit", "verdict": "detected", "severity": "warning", "step_range": [10, 20]})
    recorder.event("finding", 20, {"id": "unstable", "verdict": "detected", "severity": "error", "step_range": [0, 7]})
    recorder.event("finding", 20, {"id": "unstable", "verdict": "clear", "severity": "info", "step_range": [0, 7]})
    assert windows(plot_learning_curves(recorder.run).axes[0]) == {(10, 20)}  # over steps; the last word on each counts
    assert windows(plot_learning_curves(recorder.run, findings=[]).axes[0]) == set()
    assert windows(plot_learning_curves([recorder.run] * 2).axes[0]) == set()  # of which of them?


def test_slides_are_the_same_picture_on_a_smaller_sheet():
    run = run_of(**LOSS, lr=[0.1] * 4)
    paper, slides = plot_learning_curves(run), plot_learning_curves(run, style="slides")
    assert slides.get_figwidth() == pytest.approx(paper.get_figwidth() / 1.5)
    assert curves(slides.axes[0]) == curves(paper.axes[0])
    render(slides)
    with pytest.raises(ValueError, match="style must be 'paper' or 'slides', got 'poster'"):
        plot_learning_curves(run, style="poster")


# Names ------------------------------------------------------------------------------------------------------------------

HOSTILE = [
    "$x$",
    "$\\frac{$",
    "$",
    "\\$5",
    "_hidden",
    "a\nb\x1b[2J",
    "<script>alert(1)</script>",
    "x" * 3000,
    "",
    "{0}%s",
    "\u202etxt",
]


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name[:20]))
def test_hostile_names_are_drawn_as_text(name):
    recorder = Recorder(None, name=name)
    for i in range(2):
        recorder.event("eval", i, {f"val/{name}": 1.0 + i, name: 2.0, "train/loss": 1.0}, i)
    figure = plot_learning_curves([recorder.run, recorder.run], title=name)
    assert len(legend_of(figure)) == 4
    render(figure)
    render(plot_learning_curves(recorder.run))
    render(plot_confusion_matrix([0, 1], [1, 1], [name, "other"]))
    render(plot_fit(np.sin, np.ones((3, 1)) * [[1.0], [2.0], [3.0]], np.ones(3), title=name))


def test_a_shown_name_is_one_short_line():
    assert shown("a\tb\nc") == "a b c"
    assert shown("x" * 100) == "x" * 31 + "…"
    assert shown("x" * 32) == "x" * 32
    assert shown("_a$b$") == r" _a\$b\$"
    assert shown(3) == "3"


# Confusions, boundaries, fits -------------------------------------------------------------------------------------------


def test_the_confusion_matrix_shows_shares_as_shades_and_counts_as_numbers():
    figure = plot_confusion_matrix([0, 0, 0, 1, 2], [0, 0, 1, 1, 2], ["ant", "bee", "cat"])
    ax = figure.axes[0]
    np.testing.assert_allclose(ax.images[0].get_array(), [[2 / 3, 1 / 3, 0], [0, 1, 0], [0, 0, 1]])
    numbers = {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in ax.texts}
    assert numbers == {(0, 0): "2", (0, 1): "1", (1, 1): "1", (2, 2): "1"}  # (row, column): true, predicted
    assert [label.get_text() for label in ax.get_xticklabels()] == ["ant", "bee", "cat"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["ant", "bee", "cat"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted", "true")
    render(figure)


@pytest.mark.parametrize(
    ("true", "pred", "names", "labels", "diagonal"),
    [
        ([-1, 1, 1], [-1, 1, -1], None, ["-1", "1"], [1, 0.5]),
        (["b", "a"], ["b", "b"], None, ["a", "b"], [0, 1]),
        (["b", "a"], ["b", "b"], ["b", "a"], ["b", "a"], [1, 0]),
        ([1, 2], [1, 2], [1, 2], ["1", "2"], [1, 1]),
        ([0, 1], [0, 1], ["x", "y", "z"], ["x", "y", "z"], [1, 1, 0]),  # no example of the third
        ([5], [5], None, ["5"], [1]),
    ],
)
def test_classes_and_their_names(true, pred, names, labels, diagonal):
    ax = plot_confusion_matrix(true, pred, names).axes[0]
    assert [label.get_text() for label in ax.get_xticklabels()] == labels
    assert np.diag(ax.images[0].get_array()).tolist() == diagonal


def test_names_that_do_not_cover_the_classes_are_an_error():
    for true, pred in [([0, 2], [0, 0]), ([0, 0], [0, 2]), ([-1, 0], [0, 0]), (["c"], ["a"])]:
        with pytest.raises(ValueError, match=r"the classes are \[.*\], which names=\['a', 'b'\] does not cover"):
            plot_confusion_matrix(true, pred, ["a", "b"])
    with pytest.raises(ValueError, match="1-D and of one length"):
        plot_confusion_matrix([0, 1], [0])


def test_long_class_names_do_not_overlap():
    figure = plot_confusion_matrix([0, 1, 2], [0, 1, 2], ["Iris setosa", "Iris versicolor", "Iris virginica"])
    render(figure)
    assert {label.get_rotation() for label in figure.axes[0].get_xticklabels()} == {45}


def halves(points):
    """Sure of class 0 on the left, of class 1 on the right."""
    right = 1 / (1 + np.exp(-20 * points[:, :1]))
    return np.hstack([1 - right, right])


def test_the_decision_boundary_shades_the_plane_by_class_and_draws_the_data():
    x = np.array([[-1.0, 0], [-2, 3], [2, 1], [1, -1]], np.float32)
    seen = []
    figure = plot_decision_boundary(
        lambda grid: seen.append(grid) or halves(grid), x, [0, 0, 1, 1], "two halves", resolution=50
    )
    ax = figure.axes[0]
    (grid,) = seen
    assert grid.shape == (2500, 2)
    assert grid.dtype == np.float32
    assert (grid.min(axis=0) < x.min(axis=0)).all()
    assert (grid.max(axis=0) > x.max(axis=0)).all()
    image = np.asarray(ax.images[0].get_array())
    assert image.shape == (50, 50, 3)
    for corner, colour in [((0, 0), COLOURS[0]), ((-1, -1), COLOURS[1])]:
        np.testing.assert_allclose(image[corner], 1 - 0.5 * (1 - np.array(to_rgb(colour))), atol=1e-3)
    middle = image[25, 24:26].mean(axis=0)
    assert (1 - middle).sum() < (1 - image[0, 0]).sum() * 0.7  # fainter where it is unsure
    assert [np.array(line.get_xydata()).tolist() for line in ax.lines] == [x[:2].tolist(), x[2:].tolist()]
    assert ax.get_title() == "two halves"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["0", "1"]
    render(figure)


def test_a_boundary_of_whole_numbers_or_without_spread_is_drawn_on_a_fine_grid():
    for x in ([[0, 0], [1, 1]], [[2.0, 5.0], [2.0, 6.0]]):
        seen = []
        render(plot_decision_boundary(lambda grid, seen=seen: seen.append(grid) or halves(grid), x, [0, 1], resolution=20))
        assert len(np.unique(seen[0][:, 0])) == 20


def test_axes_of_models_have_names():
    fit = plot_fit(np.sin, np.linspace(0, 1, 5)[:, None], np.ones(5)).axes[0]
    assert (fit.get_xlabel(), fit.get_ylabel()) == ("input", "output")
    plane = plot_decision_boundary(lambda x: np.stack([x[:, 0], -x[:, 0]], axis=1), np.eye(2), np.array([0, 1])).axes[0]
    assert (plane.get_xlabel(), plane.get_ylabel()) == ("first input", "second input")


def test_a_fit_has_the_data_and_the_curve():
    x, y = np.array([[0.0], [2.0], [1.0]], np.float32), np.array([[1.0], [3.0], [2.0]])
    ax = plot_fit(lambda points: 2 * points, x, y, "line").axes[0]
    data, model = ax.lines
    np.testing.assert_array_equal(data.get_xydata(), np.hstack([x, y]))
    assert model.get_xdata().min() == 0
    assert model.get_xdata().max() == 2
    assert len(model.get_xdata()) == 400
    np.testing.assert_array_equal(model.get_ydata(), 2 * model.get_xdata())
    assert ax.get_title() == "line"
    render(ax.figure)
    whole = plot_fit(lambda points: points, [[0], [3]], [0, 3]).axes[0].lines[1]
    assert len(np.unique(whole.get_xdata())) == 400


@pytest.mark.parametrize("draw", [plot_decision_boundary, plot_fit])
def test_shapes_are_checked(draw):
    features = 2 if draw is plot_decision_boundary else 1
    for x in (np.zeros(3), np.zeros((3, 3)), np.zeros((0, features))):
        text = f"this picture needs inputs of shape [n, {features}], got {x.shape}"
        with pytest.raises(ValueError, match=re.escape(text)):
            draw(halves, x, np.zeros(len(x)))
    with pytest.raises(ValueError, match="x has 3 rows, y has 2"):
        draw(halves, np.zeros((3, features)), [0, 1])


def test_a_boundary_needs_probabilities_of_two_classes():
    for answer in (np.zeros(2500), np.zeros((2500, 1))):
        with pytest.raises(ValueError, match=r"predict should return probabilities \[n, classes\].*got \(2500,"):
            plot_decision_boundary(lambda grid, answer=answer: answer, np.eye(2), [0, 1], resolution=50)


# Matplotlib is a guest --------------------------------------------------------------------------------------------------


def test_pyplot_is_never_imported(tmp_path):
    code = """
import sys
import monitor
assert not any(name.split(".")[0] in ("matplotlib", "rich", "safetensors") for name in sys.modules)
recorder = monitor.Recorder(None)
recorder.log(loss=1.0)
monitor.plot_learning_curves(recorder.run).savefig(sys.argv[1])
monitor.plot_confusion_matrix([0, 1], [0, 1])
monitor.plot_fit(lambda x: x, [[0.0], [1.0]], [0.0, 1.0])
assert "matplotlib.figure" in sys.modules
assert "matplotlib.pyplot" not in sys.modules
"""
    picture = tmp_path / "curves.png"
    root = Path(monitor.__file__).parent.parent
    subprocess.run([sys.executable, "-W", "error", "-c", code, str(picture)], check=True, cwd=root)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="pictures need Matplotlib: pip install matplotlib"):
        plot_learning_curves(run_of(train_loss=[1.0]))
