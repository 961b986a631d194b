"""Walks: equal to a loop written by hand, divergence, closures; and the pictures and films, read back and rendered."""

import io
import subprocess
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from matplotlib import animation
from matplotlib.figure import Figure
from PIL import Image

from monitor.pictures.curves import COLOURS as COLOURS_OF_CURVES
from optimizers import SGD, Adam, NonfiniteGradientError
from optimizers.landscapes import Landscape, himmelblau, noisy_quadratic, quadratic, rastrigin, rosenbrock, saddle
from optimizers.trajectories import (
    COLOURS,
    MARKERS,
    STYLES,
    Point,
    Trajectory,
    _film_writer,
    animate_trajectories,
    descend,
    plot_trajectories,
)

MAKERS = {
    "sgd": partial(SGD, lr=1e-3),
    "momentum": lambda params: SGD(params, lr=1e-3, momentum=0.9),
    "adam": partial(Adam, lr=0.1),
}
every_maker = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
STARTS = np.array([[-1.2, 1.0], [0.5, 0.5], [1.1, 0.9]])


def by_hand(landscape, make, steps, start):
    """The loop that everybody writes."""
    landscape = landscape.fresh()
    point = Point(start)
    optimizer = make([point])
    positions, values = [point.data.copy()], [landscape.value(point.data)]
    for _ in range(steps):
        optimizer.zero_grad()
        point.grad = landscape.gradient(point.data)
        optimizer.step()
        positions.append(point.data.copy())
        values.append(landscape.value(point.data))
    return np.array(positions), np.array(values)


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


# Walking ----------------------------------------------------------------------------------------------------------------


@every_maker
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("landscape", [rosenbrock, noisy_quadratic(seed=2)], ids=lambda f: f.name)
@pytest.mark.parametrize("start", [STARTS[0], STARTS, STARTS.reshape(3, 1, 2)], ids=["one", "batch", "grid"])
def test_a_walk_is_the_loop_written_by_hand(make, dtype, landscape, start):
    start = start.astype(dtype)
    walk = descend(landscape, make, 30, start)
    positions, values = by_hand(landscape, make, 30, start)
    assert same(walk.positions, positions)
    assert same(walk.values, values)
    assert walk.landscape == landscape.name


def test_the_landscape_says_where_to_start():
    walk = descend(rosenbrock, MAKERS["adam"])
    assert walk.positions.shape == (201, 2)
    assert walk.values.shape == (201,)
    assert same(walk.positions[0], rosenbrock.start)
    assert walk.name == "Adam"
    assert repr(walk) == "Trajectory('Adam' on 'rosenbrock', positions (201, 2))"
    assert descend(rosenbrock, MAKERS["adam"], start=[0, 0]).positions[0].tolist() == [0.0, 0.0]


@every_maker
def test_a_batch_walks_as_its_starts_do_alone(make):
    batch = descend(rosenbrock, make, 50, STARTS)
    for i, start in enumerate(STARTS):
        alone = descend(rosenbrock, make, 50, start)
        # scalars and arrays may differ in the last bit, which this many steps do not blow up
        assert np.allclose(batch.positions[:, i], alone.positions, rtol=1e-9)
        assert np.allclose(batch.values[:, i], alone.values, rtol=1e-9)


def test_the_start_is_not_moved():
    start = STARTS.copy()
    walk = descend(rosenbrock, MAKERS["adam"], 5, start)
    assert same(start, STARTS)
    assert (walk.positions[1] != walk.positions[0]).all()  # each row is a copy of its own
    assert not np.shares_memory(Point(start).data, start)


def test_whole_numbers_become_floats():
    for start in ([-1, 1], np.array([-1, 1])):
        assert same(descend(rosenbrock, MAKERS["sgd"], 3, start).positions[0], np.array([-1.0, 1.0]))


def test_an_optimizer_makes_so_many_steps_and_no_more():
    made = []
    descend(rosenbrock, lambda params: made.append(SGD(params, lr=1e-3)) or made[0], 7)
    assert made[0].steps == 7


def test_noise_is_the_same_in_every_walk_whatever_was_drawn_before():
    landscape = noisy_quadratic(seed=7)
    first = descend(landscape, MAKERS["sgd"], 10)
    landscape.gradient(landscape.start)
    assert same(descend(landscape, MAKERS["sgd"], 10).positions, first.positions)
    untouched = noisy_quadratic(seed=7)
    untouched.gradient(untouched.start)
    assert same(landscape.gradient(landscape.start), untouched.gradient(untouched.start))  # walks drew nothing from it


def test_gradient_descent_does_not_see_a_rotation_and_adam_does():
    """The trap of axis-aligned test functions."""
    for make, blind in [(partial(SGD, lr=0.01, momentum=0.9), True), (partial(Adam, lr=0.05), False)]:
        straight, turned = (descend(quadratic(100, angle), make, 60) for angle in (0, 45))
        assert np.allclose(straight.values, turned.values, rtol=1e-6) == blind


def test_the_saddle_holds_who_starts_on_its_ridge():
    make = partial(SGD, lr=0.1)
    walks = descend(saddle, make, 200, [[1.5, 0.0], saddle.start.tolist()])
    assert np.allclose(walks.positions[-1], [[0, 0], [0, 1]], atol=1e-3)


def test_steps_to():
    walk = Trajectory("", "", None, np.array([4.0, 2.0, 3.0, 1.0]))
    assert [walk.steps_to(t) for t in (5, 4, 3.9, 2, 1.5, 1, 0.9)] == [0, 0, 1, 1, 3, 3, np.inf]
    batch = Trajectory("", "", None, np.array([[4.0, 1.0, np.nan], [2.0, 1.0, np.nan]]))
    assert batch.steps_to(2).tolist() == [1, 0, np.inf]


# Diverging --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [partial(SGD, lr=1.0), partial(SGD, lr=0.1, momentum=0.99)], ids=["sgd", "momentum"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_walk_that_diverges_ends_without_an_error_or_a_warning(make, dtype):
    walk = descend(rosenbrock, make, 40, rosenbrock.start.astype(dtype))
    assert walk.diverged
    end = int(np.isfinite(walk.values).sum())
    assert 2 <= end <= 12
    assert np.isnan(walk.positions[end:]).all()
    assert (walk.values[end:] == np.inf).all()
    positions, values = by_hand(rosenbrock, make, end - 1, rosenbrock.start.astype(dtype))
    assert same(walk.positions[:end], positions)
    assert same(walk.values[:end], values)
    assert walk.steps_to(-1) == np.inf


def test_in_a_batch_the_others_walk_on():
    make = partial(SGD, lr=0.02, momentum=0.5)
    starts = np.array([[1.0, 0.0], [40.0, 40.0], [3.2, 1.8]])
    batch = descend(himmelblau, make, 60, starts)
    assert batch.diverged.tolist() == [False, True, False]
    others = descend(himmelblau, make, 60, starts[[0, 2]])
    assert same(batch.positions[:, [0, 2]], others.positions)
    assert same(batch.values[:, [0, 2]], others.values)
    assert np.isnan(batch.positions[20:, 1]).all()
    assert (batch.values[20:, 1] == np.inf).all()
    assert np.isfinite(batch.steps_to(1e-3)).tolist() == [True, False, True]


def test_a_gradient_that_overflows_before_the_value_diverges_too():
    cliff = Landscape(
        "cliff",
        lambda x, y: np.sqrt(x) + y**2,
        lambda x, y: (0.5 / np.sqrt(x), 2 * y),
        minima=[(0, 0)],
        bounds=((-1, 1), (-1, 1)),
        start=(0, 1),
        source="",
    )
    for momentum in (0.0, 0.9):
        walk = descend(cliff, partial(SGD, lr=0.1, momentum=momentum), 3, [[0.0, 1.0], [4.0, 1.0]])
        assert np.isfinite(walk.values[0]).all()
        assert walk.diverged.tolist() == [True, False]
        assert np.isnan(walk.positions[1:, 0]).all()
    assert descend(cliff, partial(SGD, lr=0.1), 3).diverged


def test_growing_is_not_yet_diverging():
    walk = descend(quadratic(100), partial(SGD, lr=0.021), 100)
    assert walk.values[-1] > 1e5 * walk.values[0]
    assert not walk.diverged


# Closures ---------------------------------------------------------------------------------------------------------------


class LineSearch:
    """Steepest descent that halves its step until the value falls: it needs values, at places of its own choice."""

    needs_closure = True

    def __init__(self, params):
        (self.point,) = params

    def step(self, closure):
        value = closure()
        assert np.ndim(value) == 0, "one start, one value"
        here, gradient = self.point.data.copy(), self.point.grad.copy()
        lr = 1.0
        self.point.data = here - lr * gradient
        while closure() >= value and lr > 1e-12:
            lr /= 2
            self.point.data = here - lr * gradient
        return value


class Strict(LineSearch):
    """Refuses what is not finite, as our optimizers do."""

    def step(self, closure):
        super().step(closure)
        self.point.data = self.point.data * 1e200
        closure()
        if not np.isfinite(self.point.grad).all():
            raise NonfiniteGradientError("the gradient of 'x' has an infinity")


def test_an_optimizer_that_needs_a_closure_gets_one():
    walk = descend(rosenbrock, LineSearch, 100)
    assert walk.name == "LineSearch"
    assert (np.diff(walk.values) < 0).all()
    assert walk.values[-1] < 2
    assert np.array_equal(walk.values, rosenbrock.value(walk.positions))


def test_with_closures_every_start_has_an_optimizer_of_its_own():
    starts = np.array([[[-1.2, 1.0], [0.5, 0.5]], [[1.5, -0.5], [0.0, 2.0]]])
    batch = descend(rosenbrock, LineSearch, 20, starts)
    assert batch.positions.shape == (21, 2, 2, 2)
    assert batch.values.shape == (21, 2, 2)
    for i in np.ndindex(2, 2):
        alone = descend(rosenbrock, LineSearch, 20, starts[i])
        assert same(batch.positions[(slice(None), *i)].copy(), alone.positions)
        assert same(batch.values[(slice(None), *i)].copy(), alone.values)


def test_a_line_search_that_is_refused_has_diverged():
    walk = descend(rosenbrock, Strict, 5)
    assert walk.diverged
    assert np.isfinite(walk.values).tolist() == [True, False, False, False, False, False]


# Bad input --------------------------------------------------------------------------------------------------------------


def never(params):
    raise AssertionError("what is wrong should be said before anybody walks")


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        (lambda: descend(rosenbrock, SGD, -1), ValueError, "steps must be a whole number from 0, got -1"),
        (lambda: descend(rosenbrock, SGD, 1.5), ValueError, "steps must be a whole number from 0, got 1.5"),
        (lambda: descend(rosenbrock, SGD, True), ValueError, "steps must be a whole number from 0, got True"),
        (lambda: descend(rosenbrock, SGD([Point([0, 0])])), TypeError, r"as partial\(SGD, lr=1e-3\) does; got SGD\("),
        (lambda: descend(rosenbrock, SGD, start=[1, 2, 3]), ValueError, r"shape \[\.\.\., 2\], .*, got shape \(3,\)"),
        (
            lambda: descend(rosenbrock, SGD, start=[np.nan, 1]),
            ValueError,
            r"start must have a finite value on rosenbrock, got \[nan  1\.\]",
        ),
        (
            lambda: descend(rosenbrock, SGD, start=[1e200, 1]),
            ValueError,
            r"finite value on rosenbrock, got .*1\.e\+200",
        ),
        (
            lambda: plot_trajectories(rosenbrock, SGD),
            ValueError,
            r'named, as in \{"SGD": partial\(SGD, lr=1e-3\)\}, got <class',
        ),
        (lambda: plot_trajectories(rosenbrock, {}), ValueError, r"optimizers must be named, .*, got \{\}"),
        (
            lambda: plot_trajectories(rosenbrock, {"Adam": descend(saddle, Adam, 3)}),
            ValueError,
            "the walk 'Adam' is on saddle, the landscape to draw is rosenbrock",
        ),
        (
            lambda: animate_trajectories(rosenbrock, {"SGD": never}, "a.avi"),
            ValueError,
            "a film is a .gif or an .mp4, got 'a.avi'",
        ),
        (
            lambda: animate_trajectories(rosenbrock, {"SGD": SGD}, "a.gif", seconds=0),
            ValueError,
            "seconds must lie .*, got 0",
        ),
        (
            lambda: animate_trajectories(rosenbrock, {"SGD": SGD}, "a.gif", seconds=np.inf),
            ValueError,
            "seconds .*, got inf",
        ),
    ],
)
def test_errors_say_what_was_wrong(wrong, error, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=text):
        wrong()
    assert list(tmp_path.iterdir()) == []


# Pictures ---------------------------------------------------------------------------------------------------------------

WALKS = {name: descend(rosenbrock, make, 40) for name, make in MAKERS.items()}


def render(figure):
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    return figure


def paths(ax):
    """The walks' lines: those that are not the start or the minima."""
    return [line for line in ax.lines if line.get_linestyle() != "None"]


def marks(ax, marker):
    lines = [line for line in ax.lines if line.get_linestyle() == "None" and line.get_marker() == marker]
    return sorted((float(x), float(y)) for line in lines for x, y in zip(*line.get_data(), strict=True))


def legend(figure):
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def test_the_map_shows_every_walk_from_the_start_towards_the_minima():
    figure = render(plot_trajectories(rosenbrock, WALKS))
    world, curves = figure.axes
    assert [line.get_xydata().tolist() for line in paths(world)] == [walk.positions.tolist() for walk in WALKS.values()]
    assert marks(world, "o") == [(-1.2, 1)]
    assert marks(world, "*") == [(1, 1)]
    assert (world.get_xlim(), world.get_ylim()) == rosenbrock.bounds
    assert world.get_aspect() == 1  # so that gradients are at right angles to the contours
    assert (world.get_xlabel(), world.get_ylabel(), world.get_title()) == ("x", "y", "rosenbrock")
    for line, walk in zip(paths(curves), WALKS.values(), strict=True):
        assert line.get_xdata().tolist() == list(range(41))
        assert line.get_ydata().tolist() == walk.values.tolist()
    assert curves.get_yscale() == "log"
    assert (curves.get_xlabel(), curves.get_ylabel()) == ("step", "value above the minimum")


def test_the_legend_says_the_last_values():
    expected = [f"{name}: {walk.values[-1]:.3g}" for name, walk in WALKS.items()]
    assert legend(plot_trajectories(rosenbrock, WALKS)) == [*expected, "start", "minimum"]


def test_optimizers_are_let_go_as_descend_does_it():
    start = [[0.5, 0.5]]
    figure = plot_trajectories(rosenbrock, {"a": MAKERS["adam"], "b": descend(rosenbrock, SGD, 7, start)}, 5, start)
    first, second = paths(figure.axes[0])
    assert first.get_xydata().tolist() == descend(rosenbrock, MAKERS["adam"], 5, start).positions[:, 0].tolist()
    assert len(second.get_xydata()) == 8


def test_all_looks_differ_and_are_the_same_in_both_halves():
    many = {f"{i}": WALKS["adam"] for i in range(12)}
    figure = render(plot_trajectories(rosenbrock, many))
    looks = [
        [(x.get_color(), x._unscaled_dash_pattern, x.get_marker(), x.get_linewidth()) for x in paths(ax)]
        for ax in figure.axes
    ]
    assert looks[0] == looks[1]
    assert [look[0] for look in looks[0]] == [*COLOURS, *COLOURS[:5]]
    assert len({str(look[1]) for look in looks[0]}) == len(STYLES)
    assert [look[2] for look in looks[0]] == [*MARKERS, *MARKERS[:4]]
    handles = figure.legends[0].legend_handles[:12]
    assert [(h.get_color(), h.get_marker()) for h in handles] == [(look[0], look[2]) for look in looks[0]]
    widths = [look[3] for look in looks[0]]
    assert (np.diff(widths) < 0).all()  # the first are seen below the later ones
    assert np.lcm.reduce([len(COLOURS), len(STYLES), len(MARKERS)]) == 280


def test_the_colours_are_those_of_the_learning_curves():
    assert COLOURS == COLOURS_OF_CURVES


def test_markers_take_turns_and_mark_the_end():
    for line in paths(plot_trajectories(rosenbrock, WALKS).axes[1]):
        assert line.get_markevery()[-1] == 40
        assert np.ptp(np.diff(line.get_markevery()[:-1])) == 0
    firsts = [line.get_markevery()[0] for line in paths(plot_trajectories(rosenbrock, WALKS).axes[1])]
    assert len(set(firsts)) == 3


@pytest.mark.parametrize("landscape", [rosenbrock, himmelblau, saddle, rastrigin, quadratic(1000, 30), noisy_quadratic()])
def test_contours_are_spaced_by_their_height_above_the_minimum(landscape):
    world = render(plot_trajectories(landscape, {"SGD": partial(SGD, lr=1e-4)}, 3)).axes[0]
    filled, lines = world.collections
    ratios = np.diff(np.log(lines.levels))
    assert np.allclose(ratios, ratios[0])
    assert lines.levels[0] > 0
    assert filled.extend == "min"  # the bottom of the valley is filled too, lightest of all
    assert len(lines.levels) == 12
    high = max(landscape.value([x, y]) for x in landscape.bounds[0] for y in landscape.bounds[1]) - landscape.minimum
    assert lines.levels[-1] >= high * (1 - 1e-12)
    greys = filled.get_facecolor()[:, 0]
    assert (np.diff(greys) < 0).all()  # the higher, the darker
    assert greys[-1] > 0.6  # and never so dark that a black line is lost
    assert marks(world, "*") == sorted(map(tuple, landscape.minima.tolist()))


def test_nothing_covers_anything_else():
    for n in (1, 3, 9):
        figure = plot_trajectories(rosenbrock, {f"optimizer number {i}": WALKS["adam"] for i in range(n)})
        figure.draw_without_rendering()
        whole, box = figure.bbox, figure.legends[0].get_window_extent()
        assert whole.x0 <= box.x0
        assert box.x1 <= whole.x1
        for ax in figure.axes:
            assert not ax.get_tightbbox().overlaps(box)
        assert not figure.axes[0].get_tightbbox().overlaps(figure.axes[1].get_tightbbox())


def test_a_walk_that_diverged_says_so_and_leaves_the_picture_readable():
    wild = partial(SGD, lr=1.0)
    end = np.isfinite(descend(rosenbrock, wild, 30).values).sum()
    figure = render(plot_trajectories(rosenbrock, {"wild": wild, "adam": MAKERS["adam"]}, 30))
    assert legend(figure)[0] == f"wild: diverged in step {end}"
    world, curves = figure.axes
    assert (world.get_xlim(), world.get_ylim()) == rosenbrock.bounds
    assert np.nanmax(np.abs(paths(world)[0].get_xydata())) < 1e3  # Matplotlib cannot draw to 1e100
    assert curves.get_ylim()[1] == pytest.approx(24.2e3 * 2)


def test_what_leaves_the_picture_leaves_it_in_the_right_direction():
    far = Trajectory("", "rosenbrock", np.array([[0, 1], [3e9, 1 + 4e9], [-30, 1]]), np.ones(3))
    line = paths(render(plot_trajectories(rosenbrock, {"far": far})).axes[0])[0]
    assert line.get_xydata()[[0, 2]].tolist() == [[0, 1], [-30, 1]]
    x, y = line.get_xydata()[1]
    assert (y - 1) / x == pytest.approx(4 / 3)
    assert np.hypot(x, y - 1) == pytest.approx(400)


def test_curves_are_cut_off_where_a_walk_has_arrived():
    values = np.geomspace(10, 1e-30, 50)
    curves = plot_trajectories(rosenbrock, {"quick": Trajectory("", "rosenbrock", np.zeros((50, 2)), values)}).axes[1]
    assert curves.get_ylim() == pytest.approx((5e-12, 20))
    level = Trajectory("", "rosenbrock", np.zeros((50, 2)), np.full(50, 10.0))
    assert plot_trajectories(rosenbrock, {"level": level}).axes[1].get_ylim() == pytest.approx((0.05, 20))


def test_the_curves_are_heights_above_the_minimum_of_the_landscape():
    walk = descend(saddle, partial(SGD, lr=0.1), 10)
    line = paths(plot_trajectories(saddle, {"SGD": walk}).axes[1])[0]
    assert line.get_ydata().tolist() == (walk.values + 0.25).tolist()


def test_who_starts_at_the_minimum_can_be_drawn():
    render(plot_trajectories(rosenbrock, {"SGD": SGD}, 3, start=[1.0, 1.0]))
    render(plot_trajectories(rosenbrock, {"SGD": SGD}, 0))


def test_many_starts_are_one_entry_of_the_legend():
    starts = np.random.default_rng(0).uniform(-5, 5, (2, 3, 2))
    walks = {"SGD": partial(SGD, lr=0.01), "hasty": partial(SGD, lr=0.03)}
    figure = render(plot_trajectories(himmelblau, walks, 30, starts))
    calm, hasty = (descend(himmelblau, make, 30, starts) for make in walks.values())
    assert 0 < hasty.diverged.sum() < 6
    assert legend(figure) == [
        f"SGD: median {np.median(calm.values[-1]):.3g}",
        f"hasty: median {np.median(hasty.values[-1]):.3g}, {hasty.diverged.sum()} of 6 diverged",
        "start",
        "minimum",
    ]
    world, curves = figure.axes
    assert len(paths(world)) == len(paths(curves)) == 12
    assert paths(world)[4].get_xydata().tolist() == calm.positions.reshape(31, 6, 2)[:, 4].tolist()
    assert marks(world, "o") == sorted(map(tuple, starts.reshape(6, 2).tolist()))
    assert {line.get_linewidth() for line in paths(world)} == {0.9}
    assert all(line.get_markevery() == [30] for line in paths(world))


def test_a_start_outside_is_brought_into_the_picture():
    world = render(plot_trajectories(rosenbrock, {"SGD": partial(SGD, lr=1e-6)}, 2, start=[-3.0, 4.0])).axes[0]
    assert world.get_xlim() == (-3, 2)
    assert world.get_ylim() == (-1, 4)


def test_the_map_alone_in_an_axes_of_ones_own():
    figure = Figure(figsize=(8, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    assert plot_trajectories(rosenbrock, WALKS, ax=left, title="mine") is figure
    assert plot_trajectories(saddle, {"SGD": SGD}, 3, ax=right) is figure
    render(figure).draw_without_rendering()  # saving has laid it out for another resolution
    assert figure.axes == [left, right]
    assert figure.legends == []
    assert (left.get_title(), right.get_title()) == ("mine", "saddle")
    assert len(left.get_legend().get_texts()) == 5
    assert left.get_legend().get_window_extent().y1 < left.xaxis.label.get_window_extent().y0  # below the label
    assert len(paths(left)) == 3


def test_names_are_shown_as_they_are():
    figure = plot_trajectories(rosenbrock, {"_lr $10^": WALKS["sgd"], "$\\frac$": WALKS["adam"]}, title="$x$")
    render(figure)
    assert [name.split(":")[0] for name in legend(figure)[:2]] == [r" _lr \$10^", r"\$\frac\$"]
    assert figure.axes[0].get_title() == r"\$x\$"


def test_lower_precision_and_device_arrays_can_be_drawn():
    class Away:
        """An array of a graphics card: its numbers are fetched with get()."""

        def __init__(self, array):
            self.array, self.ndim = array, array.ndim

        def get(self):
            return self.array

    walk = descend(rosenbrock, MAKERS["adam"], 5, rosenbrock.start.astype("float32"))
    away = replace(walk, positions=Away(walk.positions), values=Away(walk.values))
    world = plot_trajectories(rosenbrock, {"near": walk, "away": away}).axes[0]
    near, far = (line.get_xydata().tolist() for line in paths(world))
    assert near == far == walk.positions.astype(float).tolist()


def test_nothing_is_drawn_with_pyplot_and_nothing_is_loaded_before_it_is_drawn():
    code = """
import io, sys
from functools import partial
from optimizers import SGD
from optimizers.landscapes import rosenbrock
from optimizers.trajectories import plot_trajectories
assert "matplotlib" not in sys.modules
plot_trajectories(rosenbrock, {"SGD": partial(SGD, lr=1e-3)}, 3).savefig(io.BytesIO())
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


# Films ------------------------------------------------------------------------------------------------------------------


WALKS_SHORT = {name: descend(rosenbrock, make, 4) for name, make in MAKERS.items()}


def film(path):
    """The length of each picture in ms, and their sizes."""
    with Image.open(path) as image:
        durations = []
        for i in range(image.n_frames):
            image.seek(i)
            durations.append(image.info["duration"])
        return durations, image.size, image.info.get("loop")


def test_a_film_has_a_picture_for_every_step_and_rests_at_the_end(tmp_path):
    path = animate_trajectories(rosenbrock, WALKS_SHORT, str(tmp_path / "walk.gif"), seconds=1)
    assert path == tmp_path / "walk.gif"
    durations, size, loop = film(path)
    assert durations == [200, 200, 200, 200, 1200]
    assert size == (960, 480)
    assert loop == 0  # for ever


@pytest.fixture
def shots(monkeypatch):
    """What a film's writer was shown, instead of a film: [(title, lengths of the lines, their marks)]."""
    taken = []

    class Camera(animation.PillowWriter):
        def grab_frame(self, **_):
            world, curves = self.fig.axes
            lines = paths(world) + paths(curves)
            taken.append((world.get_title(), [len(x.get_xdata()) for x in lines], [x.get_markevery() for x in lines]))
            taken_rates.append(self.fps)
            assert legend(self.fig) == [*shown_names, "start", "minimum"]

        def finish(self):
            pass

    taken_rates, shown_names = [], []
    monkeypatch.setattr(animation, "PillowWriter", Camera)
    return taken, taken_rates, shown_names


def test_pictures_go_from_the_start_to_the_end_with_a_mark_where_each_walk_is(shots, tmp_path):
    walks = {**WALKS_SHORT, "longer": descend(rosenbrock, SGD, 6)}
    taken, rates, names = shots
    names += walks
    animate_trajectories(rosenbrock, walks, tmp_path / "a.gif", seconds=1)
    assert [title for title, _, _ in taken[:7]] == [f"rosenbrock, step {k}" for k in range(7)]
    for k, (_, lengths, marked) in enumerate(taken[:7]):
        assert lengths == [min(k + 1, 5), min(k + 1, 5), min(k + 1, 5), k + 1] * 2
        assert marked == [[min(k, 4)], [min(k, 4)], [min(k, 4)], [k]] * 2
    assert taken[7:] == [taken[6]] * 7  # another second
    assert set(rates) == {7}


@pytest.mark.parametrize(
    ("steps", "seconds", "pictures"), [(1000, 0.5, 5), (1000, 2, 20), (10, 6, 11), (0, 6, 1), (9, 0.01, 1)]
)
def test_there_are_at_most_ten_pictures_a_second(shots, tmp_path, steps, seconds, pictures):
    taken, rates, names = shots
    names += ["SGD"]
    animate_trajectories(rosenbrock, {"SGD": MAKERS["sgd"]}, tmp_path / "a.gif", steps, seconds)
    assert rates[0] == pytest.approx(pictures / seconds)
    assert len(taken) == pictures + round(pictures / seconds)
    assert taken[-1][0] == f"rosenbrock, step {steps}"
    assert len({title for title, _, _ in taken}) == pictures or steps == 9


def test_an_mp4_needs_ffmpeg(monkeypatch, tmp_path):
    monkeypatch.setattr(animation.FFMpegWriter, "isAvailable", classmethod(lambda kind: False))
    with pytest.raises(RuntimeError, match=r"walk.mp4 needs the program ffmpeg, .*: install it, or save a .gif"):
        animate_trajectories(rosenbrock, {"SGD": SGD}, tmp_path / "walk.mp4")
    monkeypatch.setattr(animation.FFMpegWriter, "isAvailable", classmethod(lambda kind: True))
    assert _film_writer(tmp_path / "WALK.MP4") is animation.FFMpegWriter
    assert _film_writer(tmp_path / "WALK.GIF") is animation.PillowWriter
