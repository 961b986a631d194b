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
from matplotlib.colors import to_rgb
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
        if line.get_marker() != "o"
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
    assert {ax.get_xlabel() for ax in figure.axes} == {"epoch"}
    assert figure.get_suptitle() == "moons"
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
    assert {ax.get_xlabel() for ax in figure.axes} == {"step"}
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


def test_many_series_are_put_in_rows():
    figure = plot_learning_curves(run_of(**{f"val_metric{i}": [1.0, 2.0] for i in range(9)}))
    assert titles(figure) == [f"metric{i}" for i in range(9)]
    assert figure.get_figwidth() < 20
    render(figure)


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
def test_the_legend_of_many_runs_hides_no_panel_and_is_inside_the_picture(count):
    figure = plot_learning_curves([run_of(f"run {i} with quite a long name", **LOSS) for i in range(count)])
    render(figure)
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= max(ax.get_window_extent().x1 for ax in figure.axes)
    assert box.x1 <= figure.bbox.x1
    assert box.y0 >= 0
    assert all(ax.get_window_extent().width > 100 for ax in figure.axes)


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
