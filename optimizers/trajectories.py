"""Walks over a landscape: let optimizers go, keep the paths, print them as a picture or as a film.

>>> from functools import partial
>>> from optimizers.landscapes import rosenbrock
>>> from optimizers.sgd import SGD
>>> walk = descend(rosenbrock, partial(SGD, lr=1e-3, momentum=0.9), steps=500)
>>> walk.positions.shape, walk.values.shape, float(walk.steps_to(1e-2))
((501, 2), (501,), 318.0)

The colours are those that colour-blind people can tell apart (Okabe & Ito 2008), and each walk has a line style and a
marker of its own, so that a black-and-white printer will do. Figures are made without pyplot: nothing pops up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from optimizers.landscapes import Landscape
from optimizers.nonfinite import NonfiniteGradientError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Numbers of entries without a common factor: colour, style and marker together repeat only after 280 walks.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", (0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (1, 1)), (0, (9, 2)))
MARKERS = "osD^vPX*"
START: dict[str, Any] = {
    "marker": "o",
    "markersize": 9,
    "color": "black",
    "markerfacecolor": "none",
    "markeredgewidth": 1.5,
}
MINIMUM: dict[str, Any] = {"marker": "*", "markersize": 15, "color": "black", "markerfacecolor": "none"}
LEVELS = 12  # contours
DECADES = 12  # of the curves; a walk that far below its start has arrived
RATE = 10  # pictures a second, at most
FAR = 100  # picture widths; what is farther away is drawn from here, since pixels cannot be counted to infinity


class Point:
    """A place on a landscape (or a batch of them, [..., 2]) as optimizers want their parameters: `.data` and `.grad`."""

    def __init__(self, data: Any):
        data = np.array(data, float) if isinstance(data, list | tuple) else data
        self.data = data * 1.0  # a copy, and of floats
        self.grad: Any = None


@dataclass(frozen=True, eq=False, repr=False)
class Trajectory:
    """Where an optimizer went: `positions` [steps + 1, ..., 2] from the start on, and the `values` [steps + 1, ...] there.

    A walk has diverged when its position, value or gradient is no longer finite. It stops there: from then on its
    positions are nan and its values inf, so that it is worse than any other. A walk that grows without having overflowed
    yet has not diverged. `name` is the optimizer's class, `landscape` the landscape's name.
    """

    name: str
    landscape: str
    positions: Any
    values: Any

    @property
    def diverged(self) -> Any:
        """Whether the walk diverged: one bool, or one for each start [...]."""
        return ~np.isfinite(self.values[-1])

    def steps_to(self, target: float) -> Any:
        """The number of steps after which the value was first at most `target`; inf if it never was. [...]"""
        hit = self.values <= target
        return np.where(hit.any(axis=0), hit.argmax(axis=0), np.inf)[()]

    def __repr__(self) -> str:
        return f"Trajectory({self.name!r} on {self.landscape!r}, positions {self.positions.shape})"


def descend(landscape: Landscape, optimizer: Callable, steps: int = 200, start: Any = None) -> Trajectory:
    """Let an optimizer take some steps from `start` [..., 2] (by default the landscape's own) and note every position.

    `optimizer` makes one from a list of parameters: `partial(SGD, lr=1e-3)`, or `lambda params: Adam(params, lr=0.1)`.
    If it says `needs_closure = True` (a line search must ask for values), it is called as `step(closure)`, where
    closure() sets the gradient and returns the value, and every start of a batch gets an optimizer of its own; one such
    step may cost many gradients, so steps of different kinds of optimizer are not the same work. All other optimizers
    move a batch at once, which is the same as one by one if they treat every number for itself, as most do.

    Noise begins at the landscape's seed in every call. A walk that diverges ends (see Trajectory), without an error.
    """
    if isinstance(steps, bool) or not isinstance(steps, Integral) or steps < 0:
        raise ValueError(f"steps must be a whole number from 0, got {steps!r}")
    if not callable(optimizer):
        raise TypeError(f"optimizer must make one from parameters, as partial(SGD, lr=1e-3) does; got {optimizer!r}")
    landscape = landscape.fresh()
    point = Point(landscape.start if start is None else start)
    with np.errstate(all="ignore"):  # overflow is what a walk that diverges ends with
        if not np.isfinite(landscape.value(point.data)).all():
            raise ValueError(f"start must have a finite value on {landscape.name}, got {point.data}")
        walker = optimizer([point])
        if getattr(walker, "needs_closure", False) and point.data.ndim > 1:
            walks = [descend(landscape, optimizer, steps, one) for one in point.data.reshape(-1, 2)]
            positions = np.stack([walk.positions for walk in walks], axis=1).reshape(steps + 1, *point.data.shape)
            values = np.stack([walk.values for walk in walks], axis=1).reshape(positions.shape[:-1])
        else:
            positions, values = _walk(landscape, point, walker, steps)
    return Trajectory(type(walker).__name__, landscape.name, positions, values)


def _walk(landscape: Landscape, point: Point, optimizer: Any, steps: int) -> tuple[Any, Any]:
    """Positions and values; those that are not reached are nan and inf."""

    def closure() -> Any:
        point.grad = landscape.gradient(point.data)
        return landscape.value(point.data)

    positions = np.full_like(point.data, np.nan, shape=(steps + 1, *point.data.shape))
    values = np.full_like(positions[..., 0], np.inf)
    alive = np.isfinite(point.data).all(axis=-1)
    for k in range(steps + 1):
        value = landscape.value(point.data)
        alive = alive & np.isfinite(value) & np.isfinite(point.data).all(axis=-1)
        positions[k] = np.where(alive[..., None], point.data, np.nan)
        values[k] = np.where(alive, value, np.inf)
        if k == steps or not alive.any():
            break
        try:
            if getattr(optimizer, "needs_closure", False):
                optimizer.step(closure)
            else:
                gradient = landscape.gradient(point.data)
                alive = alive & np.isfinite(gradient).all(axis=-1)
                point.grad = np.where(alive[..., None], gradient, 0)  # where one diverged, the others walk on
                optimizer.step()
        except NonfiniteGradientError:
            break
    return positions, values


# Pictures -------------------------------------------------------------------------------------------------------------


def plot_trajectories(
    landscape: Landscape,
    optimizers: Mapping[str, Callable | Trajectory],
    steps: int = 200,
    start: Any = None,
    ax: Any = None,
    title: str | None = None,
) -> Figure:
    """The walks of some optimizers on the landscape's contour map, and beside it how far above the minimum they are.

    `optimizers` maps the names in the legend to what `descend` takes, or to Trajectories that it returned. The legend
    says the value at the end (the median, if there are many starts). Contours are spaced evenly in the logarithm of the
    height above the minimum, the darker the higher; markers are equally many steps apart, so where they crowd, the walk
    is slow. The curves are cut off 12 decades below the highest start and 3 above it. With `ax`, only the map is drawn,
    into this Matplotlib axes; its Figure is returned.

    >>> from optimizers import SGD, Adam
    >>> from optimizers.landscapes import quadratic
    >>> walks = {"SGD": lambda ps: SGD(ps, lr=0.015), "Adam": lambda ps: Adam(ps, lr=0.1)}
    >>> figure = plot_trajectories(quadratic(100, angle=30), walks)  # figure.savefig("walks.png")
    """
    walks = _walks(landscape, optimizers, steps, start)
    if ax is None:
        figure, (ax, curves) = _new_figure()
        _draw_curves(curves, walks, landscape.minimum)
    else:
        figure, curves = ax.figure, None
    _draw_map(ax, landscape, walks)
    lines = _draw_paths(ax, walks)
    ax.set_title(_shown(landscape.name if title is None else title), fontsize=10)
    _add_legend(ax if curves is None else figure, ax, lines, [f"{name}: {_ending(w)}" for name, w in walks.items()])
    return figure


def animate_trajectories(
    landscape: Landscape,
    optimizers: Mapping[str, Callable | Trajectory],
    path: str | Path,
    steps: int = 200,
    seconds: float = 6.0,
    start: Any = None,
) -> Path:
    """The picture of `plot_trajectories` as a film of the walks, written to `path`, which is returned.

    A .gif needs nothing else; an .mp4 needs the program ffmpeg. The walk takes `seconds` in at most 10 pictures a second
    (with many steps, each picture is several steps on), and its end stays for another second.
    """
    path = Path(path)
    if not 0 < seconds < 3600:
        raise ValueError(f"seconds must lie between 0 and 3600, got {seconds!r}")
    film = _film_writer(path)
    walks = _walks(landscape, optimizers, steps, start)
    figure, (ax, curves) = _new_figure()
    _draw_map(ax, landscape, walks)
    paths = _draw_paths(ax, walks)
    heights = _draw_curves(curves, walks, landscape.minimum)
    _add_legend(figure, ax, paths, list(walks))
    ax.set_title(_shown(landscape.name), fontsize=10)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # or the axes would tremble
    whole = [(line, *line.get_data()) for walk in paths + heights for line in walk]
    last = max(len(walk.positions) for walk in walks.values()) - 1
    count = min(last + 1, max(1, int(RATE * seconds)))
    writer = film(fps=count / seconds)
    with writer.saving(figure, str(path), dpi=100):
        for k in _frames(last, count, count / seconds):
            for line, x, y in whole:
                line.set_data(x[: k + 1], y[: k + 1])
                line.set_markevery([min(k, len(x) - 1)])
            ax.set_title(f"{_shown(landscape.name)}, step {k}", fontsize=10)
            writer.grab_frame()
    return path


def _walks(landscape: Landscape, optimizers: Any, steps: int, start: Any) -> dict[str, Trajectory]:
    """What is to be drawn, by name; whatever has not walked yet does so now."""
    if not isinstance(optimizers, Mapping) or not optimizers:
        raise ValueError(f'optimizers must be named, as in {{"SGD": partial(SGD, lr=1e-3)}}, got {optimizers!r}')
    walks = {}
    for name, one in optimizers.items():
        walk = one if isinstance(one, Trajectory) else descend(landscape, one, steps, start)
        if walk.landscape != landscape.name:
            raise ValueError(f"the walk {name!r} is on {walk.landscape}, the landscape to draw is {landscape.name}")
        walks[name] = replace(walk, positions=_host(walk.positions), values=_host(walk.values))
    return walks


def _host(array: Any) -> np.ndarray:
    """float64 in the machine's own memory (arrays of a graphics card have a `get` that brings them there)."""
    return np.asarray(array.get() if hasattr(array, "get") else array, float)


def _new_figure() -> tuple[Figure, Any]:
    """A Figure with room for the map and for the curves."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("pictures need Matplotlib: pip install matplotlib") from None
    figure = Figure(figsize=(9.6, 4.8), layout="constrained", dpi=120)
    return figure, figure.subplots(1, 2)


def _bounds(landscape: Landscape, walks: Iterable[Trajectory]) -> list[tuple[float, float]]:
    """What to draw of each axis: the landscape's bounds, and every start."""
    starts = np.concatenate([walk.positions[0].reshape(-1, 2) for walk in walks])
    return [
        (min(low, float(of.min())), max(high, float(of.max())))
        for (low, high), of in zip(landscape.bounds, starts.T, strict=True)
    ]


def _draw_map(ax: Any, landscape: Landscape, walks: Mapping[str, Trajectory]) -> None:
    """Contours, minima and starts."""
    bounds = _bounds(landscape, walks.values())
    across, up = (np.linspace(low, high, 401) for low, high in bounds)
    height = landscape.value(np.stack(np.meshgrid(across, up), axis=-1)) - landscape.minimum
    levels = np.geomspace(max(np.quantile(height, 0.005), 1e-6 * height.max()), height.max(), LEVELS)
    greys = [str(grey) for grey in np.linspace(1, 0.72, LEVELS)]
    ax.contourf(across, up, height, levels, colors=greys, extend="min", zorder=0)
    ax.contour(across, up, height, levels, colors="0.55", linewidths=0.4, zorder=1)
    ax.plot(*landscape.minima.T, linestyle="", **MINIMUM, zorder=4)
    for start in {tuple(p) for walk in walks.values() for p in walk.positions[0].reshape(-1, 2).tolist()}:
        ax.plot(*start, linestyle="", **START, zorder=4)
    ax.set(xlim=bounds[0], ylim=bounds[1], aspect="equal", xlabel="x", ylabel="y")
    ax.locator_params(nbins=6)


def _draw_paths(ax: Any, walks: Mapping[str, Trajectory]) -> list[list[Any]]:
    """The lines of each walk, one for each start."""
    centre = np.mean([ax.get_xlim(), ax.get_ylim()], axis=1)
    far = FAR * max(np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim()))
    lines = []
    for i, walk in enumerate(walks.values()):
        path = walk.positions.reshape(len(walk.positions), -1, 2)
        away = path - centre
        distance = np.hypot(away[..., 0], away[..., 1])[..., None]
        path = np.where(distance > far, centre + away * (far / np.maximum(distance, far)), path)
        lines.append(ax.plot(path[..., 0], path[..., 1], **_look(i, len(walks), path.shape)))
    return lines


def _draw_curves(ax: Any, walks: Mapping[str, Trajectory], minimum: float) -> list[list[Any]]:
    """How far each walk is above the minimum, over steps: the lines of each walk, one for each start."""
    heights = [walk.values.reshape(len(walk.values), -1) - minimum for walk in walks.values()]
    first = max(h[0].max() for h in heights) or 1.0
    seen = np.concatenate([[first / 100, first]] + [h[(h > 0) & np.isfinite(h)] for h in heights])
    low, high = max(seen.min(), first * 10.0**-DECADES), min(seen.max(), first * 1e3)
    ax.set_yscale("log")
    ax.set_ylim(low / 2, high * 2)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25, linewidth=0.6)
    ax.set(xlabel="step", ylabel="value above the minimum")
    return [ax.plot(h, **_look(i, len(walks), h.shape)) for i, h in enumerate(heights)]


def _look(i: int, n: int, shape: tuple[int, ...]) -> dict[str, Any]:
    """The look of walk i of n, which is drawn as lines [points, starts]; with many starts it is thin and quiet.

    Later walks are thinner, so that those below them stay in sight where they coincide.
    """
    points, starts = shape[:2]
    every = max(1, points // 8)
    taking_turns = [] if starts > 1 else range(every * i // n, points - every // 2, every)
    return {
        "color": COLOURS[i % len(COLOURS)],
        "linestyle": STYLES[i % len(STYLES)],
        "linewidth": 0.9 if starts > 1 else 2.4 - 1.2 * i / n,
        "marker": MARKERS[i % len(MARKERS)],
        "markersize": 6,
        "markeredgecolor": "white",
        "markeredgewidth": 0.7,
        "markevery": [*taking_turns, points - 1],  # the end always
        "zorder": 3,
    }


def _add_legend(where: Any, ax: Any, lines: list[list[Any]], labels: list[str]) -> None:
    """Below the picture, where it hides nothing."""
    from matplotlib.lines import Line2D

    handles = [of[0] for of in lines] + [Line2D([], [], linestyle="", **look) for look in (START, MINIMUM)]
    labels = [*map(_shown, labels), "start", "minimum"]
    widths = [len(label) + 9 for label in labels]  # in letters; 150 of them fit below both axes
    place: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.18), "ncols": 2}
    if where is not ax:
        columns = len(labels) if sum(widths) < 150 else max(1, 150 // max(widths))
        place = {"loc": "outside lower center", "ncols": columns}
    where.legend(handles, labels, fontsize=8, frameon=False, handlelength=3.5, **place)


def _ending(walk: Trajectory) -> str:
    """How it ended, in words."""
    if walk.values.ndim == 1:
        return f"diverged in step {np.isfinite(walk.values).sum()}" if walk.diverged else f"{walk.values[-1]:.3g}"
    lost = f", {walk.diverged.sum()} of {walk.diverged.size} diverged" if walk.diverged.any() else ""
    return f"median {np.median(walk.values[-1]):.3g}{lost}"


def _shown(text: Any) -> str:
    """A name as Matplotlib shows it: no dollar sign is mathematics, and a legend leaves out _names."""
    text = str(text).replace("$", r"\$")
    return " " + text if text.startswith("_") else text


def _film_writer(path: Path) -> Any:
    """The class that writes such a file; or an error, before anything has been drawn."""
    from matplotlib import animation

    if path.suffix.lower() == ".gif":
        return animation.PillowWriter
    if path.suffix.lower() != ".mp4":
        raise ValueError(f"a film is a .gif or an .mp4, got {path.name!r}")
    if not animation.FFMpegWriter.isAvailable():
        raise RuntimeError(f"{path.name} needs the program ffmpeg, which was not found: install it, or save a .gif")
    return animation.FFMpegWriter


def _frames(last: int, count: int, rate: float) -> list[int]:
    """The steps to show, from 0 to the last; that one for a second more."""
    return [*np.linspace(0, last, count).round().astype(int).tolist(), *[last] * round(rate)]
