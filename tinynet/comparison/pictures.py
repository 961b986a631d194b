"""The pictures of a comparison. An optimizer has the same colour, line style and marker in all of them.

    plot_bands          the metric over steps: median and middle half of the fresh runs
    plot_sensitivity    the metric against the learning rate: how much depends on a good one
    plot_profile        over several problems: how often an optimizer is nearly as fast as the fastest
    plot_walks          on a function of two variables: the way down

Figures are made without pyplot, in the styles of monitor/pictures/style.py. The colour-blind can tell the colours apart
(Okabe & Ito 2008), and line styles and markers do in black and white. Later optimizers have thinner lines on top, so that
those below stay in sight. What is too good or too bad for an axis is drawn at its edge; infinity is marked as diverged.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from monitor.pictures.style import canvas, shown
from optimizers.landscapes import Landscape
from optimizers.trajectories import COLOURS, MARKERS, MINIMUM, START, STYLES, descend, plot_trajectories
from tinynet.comparison.contenders import CONTENDERS
from tinynet.comparison.judgement import Suite, finals, judge_suite
from tinynet.comparison.problems import PROBLEMS, LandscapeProblem
from tinynet.comparison.results import Comparison
from tinynet.comparison.sentences import short
from tinynet.comparison.statistics import profile, quantile, scores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DECADES = 12  # that an axis spans at most
TAU = 4.0  # of the performance profile, as AlgoPerf has it
LONG = 100  # steps; of longer walks, only the end is marked
MOST_BANDS = 5  # with more optimizers, bands would hide each other: medians only


def look(comparison: Comparison, optimizer: str) -> dict[str, Any]:
    """How this optimizer is drawn: by its place in comparison.optimizers, so that it is the same in every picture."""
    i, n = comparison.optimizers.index(optimizer), len(comparison.optimizers)
    return {
        "color": COLOURS[i % len(COLOURS)],
        "linestyle": STYLES[i % len(STYLES)],
        "marker": MARKERS[i % len(MARKERS)],
        "linewidth": 2.4 - 1.2 * i / n,
        "markersize": 5.5,
        "markeredgecolor": "white",
        "markeredgewidth": 0.6,
        "zorder": 2 + i / n,
    }


def pictures(comparison: Comparison, style: str = "paper") -> Iterator[tuple[str, str, Figure]]:
    """(name of the file, what it shows, Figure) of every picture there is, one after the other."""
    for facts in comparison.problems:
        if comparison.on(facts.name):
            name = shown(facts.name)
            runs = f"the metric over {facts.unit}s on {name}, median and middle half of the fresh runs"
            yield f"{facts.name}-curves", runs, plot_bands(comparison, facts.name, style)
        if comparison.grid and comparison.on(facts.name):
            yield f"{facts.name}-rates", f"how the rate matters on {name}", plot_sensitivity(comparison, facts.name, style)
        if _walkable(comparison, facts.name) is not None:
            walks = f"one walk down {name} from its customary start, at the chosen rates; the table is about many starts"
            yield f"{facts.name}-walks", walks, plot_walks(comparison, facts.name, style)
    suite = judge_suite(comparison)
    if suite is not None and suite.arrived:
        yield "profile", "how often each optimizer is nearly as fast as the fastest", plot_profile(comparison, suite, style)


# Curves -------------------------------------------------------------------------------------------------------------------


def plot_bands(comparison: Comparison, problem: str, style: str = "paper") -> Figure:
    """The metric over steps: a line for the median over seeds, a band from the 25 % to the 75 % quantile; log y.

    A line ends with a cross where half of the runs have diverged. The dotted line is the target. With more than five
    optimizers bands are left out.
    """
    from matplotlib.lines import Line2D

    facts, results = comparison.problem(problem), comparison.on(problem)
    figure, axes = canvas(1, 1, (6.5, 4.2), style)
    ax, steps = axes[0, 0], np.array(facts.measured_at)
    found = {name: _quartiles(results[name].tuned.curves) for name in finals(comparison, problem)}
    low, high = _limits(ax, list(found.values()), facts.target)
    more = []
    for i, (name, quartiles) in enumerate(found.items()):
        how, there = look(comparison, name), np.isfinite(quartiles[1])
        marks = range(len(steps) // 8 * i // len(found), there.sum(), max(1, len(steps) // 8))  # they take turns
        band = np.clip(quartiles, low, high)
        ax.plot(steps[there], band[1][there], markevery=list(marks), label=_label(results[name]), **how)
        if len(found) <= MOST_BANDS:
            ax.fill_between(steps, band[0], band[2], color=how["color"], alpha=0.16, linewidth=0)
        if not there.all() and there.any():
            cross: dict[str, Any] = {"marker": "x", "markersize": 8, "markeredgewidth": 2, "linestyle": "", "zorder": 5}
            ax.plot(steps[there][-1], band[1][there][-1], color=how["color"], **cross)
            more = [Line2D([], [], color="0.3", label="half of the runs diverged", **cross)]
    _draw_target(ax, facts.target)
    ax.set(xlabel=facts.unit, ylabel=shown(facts.metric))
    ax.margins(x=0.02)
    ax.set_title(f"{shown(problem)}, {len(comparison.seeds)} seeds", fontsize=10)
    _legend(figure, ax, more)
    return figure


def _quartiles(curves: np.ndarray) -> np.ndarray:
    """The 25 %, 50 % and 75 % quantiles [3, E] over seeds of curves [seeds, E]."""
    values = np.where(np.isnan(curves), np.inf, curves).T
    return np.array([quantile(values, q) for q in (0.25, 0.5, 0.75)])


def _label(result: Any) -> str:
    return f"{shown(result.optimizer, 24)}, lr {short(result.best_lr)}"


def _limits(ax: Any, curves: list[np.ndarray], target: float) -> tuple[float, float]:
    """A logarithmic axis for what is positive and finite: from the best to ten times the largest start."""
    values = np.concatenate([np.ravel(c) for c in curves] + [[target]])
    values = values[np.isfinite(values) & (values > 0)]
    starts = [c.flat[0] for c in curves if np.isfinite(c.flat[0]) and c.flat[0] > 0]
    high = min(values.max(), 10 * max(starts, default=values.max())) if values.size else 1.0
    low = max(values.min(), high * 10.0**-DECADES) if values.size else high / 10
    margin = (high / low) ** 0.07 if high > low else 2.0
    ax.set_yscale("log")
    ax.tick_params(axis="y", which="minor", labelsize=8)
    ax.set_ylim(low / margin, high * margin)
    return low, high * margin


def _draw_target(ax: Any, target: float) -> None:
    if ax.get_ylim()[0] <= target <= ax.get_ylim()[1]:
        ax.axhline(target, color="0.35", linestyle=(0, (1, 2)), linewidth=1.2, zorder=1)
        ax.annotate("target", (0, target), xycoords=("axes fraction", "data"), xytext=(3, 2), textcoords="offset points",
                    ha="left", va="bottom", fontsize=8, color="0.35")  # fmt: skip


def _legend(figure: Figure, ax: Any, more: Any = ()) -> None:
    """Below the picture, where it hides nothing; as many columns as fit."""
    handles, labels = ax.get_legend_handles_labels()
    handles, labels = [*handles, *more], [*labels, *(handle.get_label() for handle in more)]
    room = 15.5 * figure.get_figwidth()  # characters of 8 points
    columns = max(1, min(4, int(room / (max(map(len, labels), default=1) + 8))))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=8, frameon=False, handlelength=3.2)


# Learning rates -----------------------------------------------------------------------------------------------------------


def plot_sensitivity(comparison: Comparison, problem: str, style: str = "paper") -> Figure:
    """The median at the end of the tuning runs against the learning rate, both logarithmic.

    The chosen rate is ringed; a diamond is the result at the optimizer's default rate (of the fresh runs, since the default
    need not be on the grid). Rates at which half of the runs diverged lie on the line at the top.
    """
    from matplotlib.lines import Line2D

    results, facts = comparison.on(problem), comparison.problem(problem)
    figure, axes = canvas(1, 1, (6.5, 4.2), style)
    ax = axes[0, 0]
    defaults = {n: quantile(scores(r.default.final), 0.5) for n, r in results.items() if r.default is not None}
    curves = [r.sensitivity for r in results.values()] + [np.array([v]) for v in defaults.values()]
    bottom, top = _limits(ax, curves, math.nan)
    ceiling = top * (top / bottom) ** 0.12
    for i, (name, result) in enumerate(results.items()):
        how = look(comparison, name)
        lost = ceiling * (top / bottom) ** (0.012 * (i - len(results) / 2))  # side by side, not on top of each other
        values = np.where(np.isfinite(result.sensitivity), np.clip(result.sensitivity, bottom, top), lost)
        ax.plot(result.rates, values, label=shown(name, 24), **how)
        ring = values[np.searchsorted(result.rates, result.best_lr)]
        ax.plot(result.best_lr, ring, "o", markersize=11, markerfacecolor="none", markeredgecolor=how["color"], zorder=4)
        if result.default is not None:
            there = min(max(defaults[name], bottom), top) if math.isfinite(defaults[name]) else lost
            ax.plot(result.default.hyper["lr"], there, "D", markersize=7, markerfacecolor="white",
                    markeredgecolor=how["color"], markeredgewidth=1.5, zorder=5)  # fmt: skip
    ax.set_xscale("log")
    ax.set_ylim(top=ceiling * (top / bottom) ** 0.14)
    ax.axhspan(top * (top / bottom) ** 0.04, ax.get_ylim()[1], color="0.93", linewidth=0, zorder=0)
    middle: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": 8, "color": "0.35"}
    ax.annotate("diverged", (0.5, 1), (0, -3), "axes fraction", "offset points", **middle)
    ax.set(xlabel="learning rate", ylabel=shown(facts.metric))
    ax.set_title(f"{shown(problem)}, median of {len(comparison.tuning_seeds)} tuning seeds", fontsize=10)
    marks: dict[str, dict[str, Any]] = {
        "chosen": {"marker": "o", "markersize": 10},
        "at the default rate": {"marker": "D", "markersize": 7},
    }
    more = [Line2D([], [], linestyle="", color="0.3", markerfacecolor="white", label=k, **v) for k, v in marks.items()]
    _legend(figure, ax, more)
    return figure


# Many problems ------------------------------------------------------------------------------------------------------------


def plot_profile(comparison: Comparison, suite: Suite | None = None, style: str = "paper") -> Figure:
    """Performance profiles (Dolan & More 2002), with their areas; higher is better.

    Over tau: the share of problems on which an optimizer reaches the target in at most tau times the steps of the fastest.
    """
    suite = judge_suite(comparison) if suite is None else suite
    if suite is None:
        raise ValueError("a performance profile needs at least two problems that all of at least two optimizers finished")
    figure, axes = canvas(1, 1, (6.5, 4.0), style)
    ax = axes[0, 0]
    for i in np.argsort(-suite.areas, kind="stable").tolist():
        name = suite.optimizers[i]
        finite = suite.ratios[:, i][suite.ratios[:, i] <= TAU]
        taus = np.unique(np.concatenate([[1.0], finite, [TAU]]))
        heights = [profile(suite.ratios, tau)[i] for tau in taus]
        label = f"{shown(name, 24)}, area {suite.areas[i]:.2f}"
        ax.plot(taus, heights, drawstyle="steps-post", label=label, clip_on=False, **look(comparison, name))
    ax.set(xlabel="times the steps of the fastest", ylabel="share of problems", xlim=(1, TAU), ylim=(0, 1.02))
    ax.set_title(f"{len(suite.problems)} problems", fontsize=10)
    _legend(figure, ax)
    return figure


# Walks --------------------------------------------------------------------------------------------------------------------


def plot_walks(comparison: Comparison, problem: str, style: str = "paper") -> Figure:
    """The way of each optimizer down a landscape, from the landscape's customary start, with the settings that were chosen.

    These are new walks of the same optimizers, one each; the longest ways lie below the others.
    """
    from matplotlib.lines import Line2D

    landscape = _walkable(comparison, problem)
    if landscape is None:
        raise ValueError(f"walks are drawn on landscapes of this package that all optimizers finished, not on {problem!r}")
    results, steps = comparison.on(problem), comparison.problem(problem).steps
    makers = {name: partial(CONTENDERS[name], **result.tuned.hyper) for name, result in results.items()}
    walks = {name: descend(landscape, make, steps) for name, make in makers.items()}
    figure, axes = canvas(1, 1, (6.5, 5.6), style)
    ax = axes[0, 0]
    plot_trajectories(landscape, walks, ax=ax)
    for contours in ax.collections:  # as pixels; their outlines would fill a megabyte
        contours.set_rasterized(True)
    for name, line in zip(walks, ax.lines[-len(walks) :], strict=True):
        line.set_label(_label(results[name]))
        _calm(line, ax)
    start = ", ".join(short(x) for x in next(iter(walks.values())).positions[0])
    ax.set_title(f"{shown(problem)}, one walk each from ({start})", fontsize=10)
    ax.get_legend().remove()
    marks = {"start": START, "minimum": MINIMUM}
    _legend(figure, ax, [Line2D([], [], linestyle="", label=label, **how) for label, how in marks.items()])
    return figure


def _calm(line: Any, ax: Any) -> None:
    """A long walk may cover all others: thinner, without marks on the way, and the lower, the longer its way."""
    frame = np.array([ax.get_xlim(), ax.get_ylim()])
    places = np.clip(np.transpose(line.get_data()), *frame.T)
    way = np.nansum(np.hypot(*(np.diff(places, axis=0) / np.ptp(frame, axis=1)).T))  # in widths of the picture
    line.set_zorder(3 - min(way / 1000, 0.9))
    if len(places) > LONG:
        line.set(linewidth=0.6 * line.get_linewidth(), alpha=0.8, markevery=[len(places) - 1])


def _walkable(comparison: Comparison, problem: str) -> Landscape | None:
    """The landscape, if it is one of ours and all optimizers are ours and finished (or else their looks would shift)."""
    found = PROBLEMS.get(problem)
    ours = set(comparison.optimizers) <= CONTENDERS.keys() and len(comparison.on(problem)) == len(comparison.optimizers)
    return found.landscape if isinstance(found, LandscapeProblem) and ours else None
