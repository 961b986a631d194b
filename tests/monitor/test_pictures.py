"""The pictures of what a model does and of what goes on inside it: the right marks from the right numbers, read back.

Pictures that test_curves.py tests already are tested here only for what it leaves out. Everything is rendered, too.
"""

import io
import itertools
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

import monitor
from monitor import Recorder
from monitor.histograms import Histogram
from monitor.pictures import plot_confusion_matrix, plot_decision_boundary, plot_decision_film, plot_fit
from monitor.pictures.inside import MOST_STEPS, plot_histograms, plot_layers
from monitor.pictures.style import STYLES


def drawn(figure):
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    return figure


def texts(labels):
    return [label.get_text() for label in labels]


def halves(points):
    right = 1 / (1 + np.exp(-3 * points[:, :1]))
    return np.hstack([1 - right, right])


X = np.array([[-1.0, 0], [-2, 3], [2, 1], [1, -1]])
Y = np.array([0, 0, 1, 1])
LAYERS = (np.arange(0, 40, 10), ["first", "second"], np.array([[1.0, 0.1], [np.nan, 0.0], [2.0, 0.2], [np.inf, 0.4]]))
RIDGES = [(step, Histogram.of(np.random.default_rng(step).normal(size=500) * (1 + step))) for step in range(6)]


def every_picture(style):
    yield plot_confusion_matrix([0, 1, 2], [0, 2, 2], ["ant", "bee", "cicada"], style=style)
    yield plot_decision_boundary(halves, X, Y, style=style)
    yield plot_decision_film([halves] * 3, X, Y, ["a", "b", "c"], style=style)
    yield plot_fit(np.sin, X[:, :1], Y, style=style)
    yield plot_layers(LAYERS, style=style)
    yield plot_histograms(RIDGES, "w", style=style)


# Style ------------------------------------------------------------------------------------------------------------------


def test_slides_have_larger_text_than_paper():
    for paper, slides in zip(every_picture("paper"), every_picture("slides"), strict=True):
        assert isinstance(drawn(paper), Figure)
        assert isinstance(drawn(slides), Figure)
        assert paper.get_figwidth() <= 6.7
        assert slides.get_figwidth() < paper.get_figwidth() / (1.05 if len(paper.axes[0].texts) else 1.45)
        assert slides.dpi == 1.5 * paper.dpi


def test_a_style_that_there_is_not():
    for draw in (lambda **s: plot_layers(LAYERS, **s), lambda **s: plot_confusion_matrix([0], [0], **s)):
        with pytest.raises(ValueError, match="style must be 'paper' or 'slides', got 'poster'"):
            draw(style="poster")
    assert set(STYLES) == {"paper", "slides"}


# Confusion matrix -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("normalize", "shares", "numbers", "label"),
    [
        ("true", [[0.75, 0.25], [0, 1]], {"75", "25", "100"}, "share of the row"),
        ("pred", [[1, 0.5], [0, 0.5]], {"100", "50"}, "share of the column"),
        ("all", [[0.6, 0.2], [0, 0.2]], {"60", "20"}, "share of all examples"),
        (None, [[0.75, 0.25], [0, 1]], {"3", "1"}, None),
    ],
)
def test_the_numbers_are_counts_or_percent(normalize, shares, numbers, label):
    figure = drawn(plot_confusion_matrix([0, 0, 0, 0, 1], [0, 0, 0, 1, 1], normalize=normalize))
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), shares)
    assert set(texts(figure.axes[0].texts)) == numbers
    assert [ax.get_ylabel() for ax in figure.axes[1:]] == ([label] if label else [])


def test_many_classes_are_shades_with_some_names():
    many = np.arange(100)
    figure = drawn(plot_confusion_matrix(many, many))
    ax = figure.axes[0]
    assert not ax.texts
    assert texts(ax.get_xticklabels()) == [str(i) for i in range(0, 100, 5)]
    assert len(figure.axes) == 2  # a scale in the numbers' place
    assert max(figure.get_size_inches()) < 7
    assert len(plot_confusion_matrix(many[:30], many[:30]).axes[0].texts) == 30
    ax = drawn(plot_confusion_matrix(many[:40], many[:40])).axes[0]
    boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))


def test_numbers_can_be_read_on_their_shade():
    figure = plot_confusion_matrix([0] * 10 + [1], [0] * 9 + [1, 1])
    colour = {(text.get_position()[1], text.get_position()[0]): text.get_color() for text in figure.axes[0].texts}
    assert colour == {(0, 0): "white", (0, 1): "black", (1, 1): "white"}


@pytest.mark.parametrize("n", [2, 10, 20, 30])
@pytest.mark.parametrize("style", ["paper", "slides"])
def test_numbers_stay_in_their_cells(n, style):
    true = np.repeat(np.arange(n), 100)
    figure = drawn(plot_confusion_matrix(true, true, style=style))
    ax = figure.axes[0]
    figure.draw_without_rendering()
    cell = ax.get_window_extent().width / n
    assert max(text.get_window_extent().width for text in ax.texts) <= cell
    names = [label.get_window_extent() for label in ax.get_yticklabels()]
    assert all(upper.y0 >= lower.y1 - 1 for upper, lower in pairwise(names))


# Decision boundaries ----------------------------------------------------------------------------------------------------


def test_a_film_has_a_panel_per_model_with_the_same_data():
    turned = lambda points: halves(points)[:, ::-1]
    figure = drawn(plot_decision_film([halves, turned, halves], X, Y, ["epoch 0", "epoch 1", 2]))
    assert [ax.get_title() for ax in figure.axes] == ["epoch 0", "epoch 1", "2"]
    for ax in figure.axes:
        assert [line.get_xydata().tolist() for line in ax.lines] == [X[:2].tolist(), X[2:].tolist()]
    first, second, third = (np.asarray(ax.images[0].get_array()) for ax in figure.axes)
    np.testing.assert_array_equal(first, third)
    np.testing.assert_allclose(first[:, 0], second[:, -1], atol=0.2)
    assert texts(figure.legends[0].get_texts()) == ["0", "1"]


@pytest.mark.parametrize(("n", "rows"), [(1, [1]), (5, [5]), (6, [3, 3]), (7, [4, 3]), (11, [4, 4, 3])])
def test_a_film_is_laid_out_in_rows_alike(n, rows):
    figure = plot_decision_film([halves] * n, X, Y, resolution=10)
    tops = [ax.get_subplotspec().rowspan.start for ax in figure.axes]
    assert [tops.count(row) for row in sorted(set(tops))] == rows


def test_the_boundary_is_where_the_class_changes():
    figure = plot_decision_boundary(halves, X, Y)
    (line,) = figure.axes[0].collections
    np.testing.assert_allclose(np.concatenate([p.vertices for p in line.get_paths()])[:, 0], 0, atol=0.02)
    logits = plot_decision_boundary(lambda points: np.log(halves(points)) + 5, X, Y)  # logits are as good
    np.testing.assert_allclose(logits.axes[0].images[0].get_array(), figure.axes[0].images[0].get_array(), atol=1e-6)


def test_a_film_says_what_it_needs():
    with pytest.raises(ValueError, match="needs models and one title for each, got 2 and 1"):
        plot_decision_film([halves, halves], X, Y, ["a"])
    with pytest.raises(ValueError, match="needs models and one title for each, got 0 and 0"):
        plot_decision_film([], X, Y)
    assert len(plot_decision_film(halves, X, Y).axes) == 1


# Layers -----------------------------------------------------------------------------------------------------------------


def mesh(figure):
    return figure.axes[0].collections[0]


def test_layers_over_steps():
    figure = drawn(plot_layers(LAYERS, "grad_norm"))
    ax, bar = figure.axes
    assert texts(ax.get_yticklabels()) == ["first", "second"]
    assert ax.yaxis_inverted()  # the first layer on top
    assert (ax.get_xlabel(), bar.get_ylabel()) == ("step", "norm of the gradient")
    assert ax.get_xlim() == (-5, 35)
    cells = mesh(figure).get_array()
    assert np.ma.getmaskarray(cells).tolist() == [[False, True, False, False], [False] * 4]
    assert cells[0, 0] == 1
    assert cells[1, 3] == 0.4
    norm = mesh(figure).norm
    assert (norm.vmin, norm.vmax) == (0.1, 2)
    assert cells[1, 1] < norm.vmin  # zero, which has no logarithm
    assert cells[0, 3] > norm.vmax  # infinite
    assert texts(ax.get_legend().get_texts()) == ["missing", "0", "infinite"]
    assert ax.patch.get_hatch()


def test_what_is_missing_small_or_infinite_is_seen():
    figure = plot_layers(LAYERS, "grad_norm")
    colours = mesh(figure).to_rgba(mesh(figure).get_array())
    assert colours[0, 1].tolist() == [0, 0, 0, 0]  # nothing is drawn over the hatching
    assert colours[1, 1].tolist() == [0, 0, 0, 1]
    np.testing.assert_allclose(colours[0, 3], [0xD5 / 255, 0x5E / 255, 0, 1], atol=1e-6)
    grey = colours[[0, 1, 0, 1, 1], [2, 3, 0, 2, 0]] @ [0.299, 0.587, 0.114, 0]
    assert (np.diff(grey[np.argsort([2.0, 0.4, 1, 0.2, 0.1])]) > 0).all()  # lighter is more, without colours too


def test_shares_go_from_0_to_1_and_means_may_be_negative():
    dead = plot_layers(([0, 1], ["a"], [[0.2], [0.3]]), "dead")
    assert (mesh(dead).norm.vmin, mesh(dead).norm.vmax) == (0, 1)
    mean = plot_layers(([0, 1], ["a"], [[-3.0], [1.0]]), "act_mean")
    assert (mesh(mean).norm.vmin, mesh(mean).norm.vmax) == (-3, 1)
    assert mean.axes[0].get_legend() is None
    other = drawn(plot_layers(([0, 1], ["a"], [[1.0], [100.0]]), "my $quantity"))
    assert type(mesh(other).norm).__name__ == "LogNorm"
    assert other.axes[1].get_ylabel() == r"my \$quantity"


def test_a_scale_of_shades_has_ten_decades_at_most():
    figure = drawn(plot_layers(([0, 1, 2], ["a"], [[1e-30], [1.0], [1e-5]])))
    assert mesh(figure).norm.vmin == pytest.approx(1e-10)
    assert texts(figure.axes[0].get_legend().get_texts()) == ["0, or below 1e-10"]


def test_many_steps_keep_their_largest_values():
    n = 5 * MOST_STEPS
    matrix = np.ones((n, 1))
    matrix[1234], matrix[:5] = 50, np.nan
    figure = plot_layers((np.arange(n), ["a"], matrix))
    cells = mesh(figure).get_array()
    assert cells.shape == (1, MOST_STEPS)
    assert cells.max() == 50
    assert np.ma.getmaskarray(cells).sum() == 1


@pytest.mark.parametrize(
    "matrix",
    [[[np.nan]], [[0.0]], [[np.inf]], [[1.0]], [[-1.0]], [[1e-310]], [[1.7e308], [-1.7e308]], [[1.7e308], [5e-324]]],
)
@pytest.mark.parametrize("quantity", ["grad_norm", "dead", "act_mean", "other"])
def test_odd_matrices_are_drawn(matrix, quantity):
    drawn(plot_layers((range(len(matrix)), ["a"], matrix), quantity))


def test_layers_of_a_run_and_into_given_axes():
    class Run:
        def layers(self, quantity):
            assert quantity == "update_ratio"
            return LAYERS

    page = Figure()
    ax = page.subplots()
    assert plot_layers(Run(), "update_ratio", ax) is page
    assert len(ax.collections) == 1
    drawn(page)


def test_a_layer_that_never_has_the_quantity_is_left_out():
    matrix = np.array([[1.0, np.nan, np.nan], [2.0, np.nan, 0.5]])
    figure = drawn(plot_layers(([0, 10], ["linear", "relu", "late"], matrix)))
    assert texts(figure.axes[0].get_yticklabels()) == ["linear", "late"]
    assert mesh(figure).get_array().shape == (2, 2)
    assert texts(figure.axes[0].get_legend().get_texts()) == ["missing"]  # of the late one
    nothing = drawn(plot_layers(([0, 10], ["a", "b"], np.full((2, 2), np.nan))))
    assert texts(nothing.axes[0].get_yticklabels()) == ["a", "b"]


def test_hostile_and_many_layer_names():
    names = ["$x", "a\nb\x1b", "<script>" * 30, "_", *map(str, range(90))]
    figure = drawn(plot_layers(([0, 1], names, np.ones((2, 94)))))
    shown = texts(figure.axes[0].get_yticklabels())
    assert len(shown) == 32
    assert shown[0] == r"\$x"
    assert figure.get_figheight() < 9


def test_layers_say_what_they_need():
    for source in (([0, 1], ["a"], [[1.0]]), ([], [], np.zeros((0, 0))), ([0], ["a"], [[1.0, 2]])):
        with pytest.raises(ValueError, match=r"needs a matrix \[steps, layers\] with one row at least, got the shape"):
            plot_layers(source)


# Histograms -------------------------------------------------------------------------------------------------------------


def ridges(figure):
    return [patch.get_data() for patch in figure.axes[0].patches]


def test_a_ridge_per_step_the_first_on_top():
    figure = drawn(plot_histograms(RIDGES, "layers.0.weight"))
    ax = figure.axes[0]
    assert len(ridges(figure)) == 6
    assert ax.yaxis_inverted()
    assert texts(ax.get_yticklabels()) == ["0", "1", "2", "3", "4", "5"]
    assert (ax.get_title(), ax.get_ylabel()) == ("layers.0.weight", "step")
    assert [ridge.baseline for ridge in ridges(figure)] == list(range(6))
    assert ax.get_xscale() == "symlog"


def test_the_area_of_a_ridge_is_the_share_of_the_values():
    edges = np.array([-4.0, -2, 0, 2, 4])
    figure = drawn(plot_histograms([(0, edges, [0, 1, 3, 0]), (1, edges, [5, 5, 5, 5])]))
    assert figure.axes[0].get_xscale() == "linear"
    first, second = ridges(figure)
    heights = [ridge.baseline - ridge.values for ridge in (first, second)]
    assert first.edges.tolist() == [-2, 0, 2]  # empty bins beyond the values are left out
    assert (heights[0] / heights[0].max()).tolist() == pytest.approx([1 / 3, 1])
    areas = [np.sum(height * np.diff(ridge.edges)) for height, ridge in zip(heights, (first, second), strict=True)]
    assert areas[0] == pytest.approx(areas[1])


def test_what_is_tiny_is_one_block_around_zero():
    values = np.concatenate([np.zeros(100), np.full(50, 0.5), np.full(50, -0.5)])
    figure = drawn(plot_histograms([(0, Histogram.of(values))]))
    (ridge,) = ridges(figure)
    height = ridge.baseline - ridge.values
    middle = int(np.flatnonzero((ridge.edges[:-1] < 0) & (ridge.edges[1:] > 0))[0])
    bound = ridge.edges[middle + 1]
    assert bound == -ridge.edges[middle] <= 0.5
    width = np.diff(np.sign(ridge.edges) * np.where(np.abs(ridge.edges) <= bound, np.abs(ridge.edges) / bound,
                                                    1 + np.log10(np.maximum(np.abs(ridge.edges) / bound, 1))))  # fmt: skip
    area = height * width
    assert area[middle] / area.sum() == pytest.approx(0.5)
    assert np.count_nonzero(height) == 3


@pytest.mark.parametrize(("tiny", "low", "high"), [(5, 0.09, 0.5), (500, 1e-9, 1e-8)])
def test_the_block_around_zero_ends_where_one_value_in_a_hundred_is_smaller(tiny, low, high):
    values = np.concatenate([np.full(1000, 0.5), np.full(tiny, 1e-8)])
    (ridge,) = ridges(plot_histograms([(0, Histogram.of(values))]))
    assert low <= np.abs(ridge.edges).min() <= high


def test_of_many_histograms_some_are_drawn():
    many = [(step, RIDGES[0][1]) for step in range(0, 1000, 10)]
    figure = drawn(plot_histograms(many, most=12))
    assert len(ridges(figure)) == 12
    assert figure.axes[0].get_ylabel() == "step (12 of 100 drawn)"
    assert texts(figure.axes[0].get_yticklabels())[0] == "0"
    assert texts(figure.axes[0].get_yticklabels())[-1] == "990"


def test_values_that_are_not_finite_are_counted():
    figure = drawn(plot_histograms([(0, Histogram.of([1.0, np.nan, np.inf])), (1, Histogram.of([2.0]))]))
    assert texts(figure.axes[0].texts) == ["2 nan or inf"]


@pytest.mark.parametrize("values", [[], [0.0], [np.nan], [1e-12], [1e30], [-1.0], [1e-300, 1e300]])
def test_odd_histograms_are_drawn(values):
    drawn(plot_histograms([(0, Histogram.of(values)), (5, Histogram.of([0.5, -2.0]))], "odd"))
    drawn(plot_histograms([(0, Histogram.of(values))], "odd"))


def test_ticks_of_values_do_not_overlap():
    wide = np.concatenate([10.0 ** np.linspace(-9, 3, 200), -(10.0 ** np.linspace(-9, 3, 200))])
    for style in STYLES:
        for values in (wide, wide[:200], wide[200:], wide / 1e6):
            figure = plot_histograms([(0, Histogram.of(values))], style=style)
            figure.draw_without_rendering()
            boxes = sorted(
                (label.get_window_extent() for label in figure.axes[0].get_xticklabels()), key=lambda box: box.x0
            )
            assert len(boxes) >= 3
            assert all(a.x1 < b.x0 for a, b in pairwise(boxes))


def test_histograms_of_a_run():
    class Run:
        def histogram(self, name):
            assert name == "w"
            return RIDGES

    assert len(ridges(plot_histograms(Run(), "w"))) == 6


def test_of_a_run_with_one_histogram_no_name_is_needed():
    recorder = Recorder(None)
    with pytest.raises(ValueError, match="this run has no histogram; .* records some"):
        plot_histograms(recorder.run)
    recorder.log_histogram("weights/0", [1.0, 2.0], 3)
    assert plot_histograms(recorder.run).axes[0].get_title() == "weights/0"
    recorder.log_histogram("weights/1", [1.0, 2.0], 3)
    with pytest.raises(ValueError, match="pass the name of the histogram to draw, one of 'weights/0', 'weights/1'$"):
        plot_histograms(recorder.run)
    for i in range(20):
        recorder.log_histogram(str(i), [1.0], 4)
    with pytest.raises(ValueError, match="'6', '7' and 12 more$"):
        plot_histograms(recorder.run)


def test_histograms_say_what_they_need():
    with pytest.raises(ValueError, match="there is no histogram of 'w' to draw"):
        plot_histograms([], "w")
    for bad in ((0, [0, 1], [1, 2]), (0, [1, 0], [1]), (0, [0, 1], [-1]), (0, [-1.7e308, 0, 1.7e308], [1, 1])):
        with pytest.raises(ValueError, match="the histogram at step 0 needs rising edges"):
            plot_histograms([bad])


# Matplotlib is a guest --------------------------------------------------------------------------------------------------


def test_pyplot_is_never_imported():
    code = """
import io, sys
import numpy as np
import monitor.pictures, monitor.pictures.inside as inside
assert "matplotlib" not in sys.modules
inside.plot_layers(([0, 1], ["a"], [[1.0], [2.0]])).savefig(io.BytesIO())
inside.plot_histograms([(0, [0, 1, 3], [1, 2])]).savefig(io.BytesIO())
monitor.pictures.plot_decision_film([lambda p: p], [[0.0, 1.0], [1.0, 0.0]], [0, 1]).savefig(io.BytesIO())
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=Path(monitor.__file__).parent.parent)


def test_without_matplotlib_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="pictures need Matplotlib: pip install matplotlib"):
        plot_layers(LAYERS)
