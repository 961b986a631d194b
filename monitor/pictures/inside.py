"""Pictures of what goes on inside a net while it learns: every layer over the steps, and the histograms of its weights.

A quantity of all layers is a heat map (`plot_layers`), the histograms of one array are ridges, one below the other
(`plot_histograms`). Both take a run in which these were recorded, or the plain arrays. See style.py for `style`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from monitor.page.scales import HUGE
from monitor.pictures.style import canvas, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUANTITIES = {  # of a layer event: what to call it, and how to shade it
    "grad_norm": ("norm of the gradient", "log"),
    "weight_norm": ("norm of the weights", "log"),
    "update_ratio": ("norm of update / of weights", "log"),
    "act_mean": ("mean activation", "linear"),
    "act_std": ("spread of activations", "log"),
    "dead": ("share of dead units", "share"),
    "saturated": ("share of saturated units", "share"),
}
MOST_STEPS = 1500  # more would be finer than the picture
DECADES = 10  # as many as a logarithmic scale of shades shows
NONFINITE = "#D55E00"


# Layers over steps ----------------------------------------------------------------------------------------------------


def plot_layers(source: Any, quantity: str = "grad_norm", ax: Any = None, *, style: str = "paper") -> Figure:
    """One quantity of every layer over the steps of training: a heat map, the first layer on top.

    `source` is a run with `layers(quantity)`, or what that answers: (steps, layer names, matrix [steps, layers], nan where
    missing). A layer that never has the quantity is left out: a ReLU has no gradient norm. Norms and ratios are shaded by
    their logarithm, over ten powers of ten at most; zeros and what is smaller are black, infinite values orange and missing
    ones hatched. Of more than 1,500 steps neighbours share a column, which shows their largest value. With `ax` it is drawn
    there.
    """
    steps, names, matrix = _layers(source, quantity)
    if ax is None:
        height = np.clip(1.2 + 0.26 * len(names), 2.0, 7.0) if style == "paper" else 3.6
        _, axes = canvas(1, 1, (6.4, float(height)), style)
        ax = axes[0, 0]
    label, scale = QUANTITIES.get(quantity, (shown(quantity), "log" if _spread(matrix) > 30 else "linear"))
    steps, matrix = _thinned(steps, matrix)
    cells, colours = _shaded(matrix, scale)
    ax.grid(False)
    ax.patch.set(facecolor="white", edgecolor="#999999", hatch="/////", linewidth=0)  # seen where a cell is missing
    mesh = ax.pcolormesh(_edges(steps), np.arange(len(names) + 1) - 0.5, cells.T, rasterized=True, **colours)
    ax.set_ylim(len(names) - 0.5, -0.5)
    every = -(-len(names) // 40)
    ax.set_yticks(range(0, len(names), every), [shown(name, 24) for name in names[::every]], fontsize=8)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("step", fontsize=9)
    ax.xaxis.get_major_locator().set_params(integer=True)
    bar = ax.figure.colorbar(mesh, ax=ax, pad=0.02, aspect=25)
    if scale == "log":
        ticks = _ticks(mesh.norm.vmin, mesh.norm.vmax)
        bar.set_ticks(ticks, labels=[f"{t:g}" for t in ticks], minor=False)
        bar.minorticks_off()
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=8)
    _explain_odd_cells(ax, cells, mesh.norm, clipped=bool((matrix[matrix > 0] < mesh.norm.vmin).any()))
    return ax.figure


def _ticks(low: float, high: float) -> list[float]:
    """Up to six round numbers: powers of ten, or 1, 2 and 5 times them where those are few.

    >>> _ticks(0.15, 3), _ticks(1e-6, 1)
    ([0.2, 0.5, 1.0, 2.0], [1e-06, 0.0001, 0.01, 1.0])
    """
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    factors = (1, 2, 5) if last - first <= 2 else (1,)
    every = max(1, -(-(last - first) // 5))
    ticks = [float(f"{f}e{e}") for e in range(first, last + 1, every) for f in factors]
    return [t for t in ticks if low * 0.999 <= t <= high * 1.001] or [float(f"{low:.2g}"), float(f"{high:.2g}")]


def _explain_odd_cells(ax: Any, cells: np.ma.MaskedArray, norm: Any, clipped: bool) -> None:
    """A legend of what has no shade, if any: missing, too small, infinite."""
    from matplotlib.patches import Patch

    odd: list[tuple[Any, str, dict[str, Any]]] = [
        (np.ma.getmaskarray(cells).any(), "missing", {"facecolor": "white", "edgecolor": "#999999", "hatch": "/////"}),
        (cells.min() < norm.vmin, f"0, or below {norm.vmin:.1g}" if clipped else "0", {"facecolor": "black"}),
        (cells.max() > norm.vmax, "infinite", {"facecolor": NONFINITE}),
    ]
    handles = [Patch(label=label, **look) for there, label, look in odd if there is not np.ma.masked and there]
    if handles:
        ax.legend(handles=handles, loc="lower right", bbox_to_anchor=(1, 1), ncols=3, fontsize=7, frameon=False)


def _layers(source: Any, quantity: str) -> tuple[np.ndarray, list[Any], np.ndarray]:
    steps, names, matrix = source.layers(quantity) if hasattr(source, "layers") else source
    steps, names, matrix = np.asarray(steps), list(names), np.asarray(matrix, float)
    if matrix.shape != (len(steps), len(names)) or not matrix.size:
        raise ValueError(
            f"plot_layers needs a matrix [steps, layers] with one row at least, got the shape {matrix.shape} for "
            f"{len(steps)} steps and {len(names)} layers"
        )
    applies = ~np.isnan(matrix).all(axis=0)
    if applies.any():
        names, matrix = [name for name, there in zip(names, applies, strict=True) if there], matrix[:, applies]
    return steps, names, np.where(np.isfinite(matrix), np.clip(matrix, -HUGE, HUGE), matrix)


def _spread(matrix: np.ndarray) -> float:
    """The largest over the smallest value, or 1 where some are not positive."""
    known = matrix[np.isfinite(matrix)]
    with np.errstate(over="ignore"):
        return float(known.max() / known.min()) if known.size and known.min() > 0 else 1.0


def _thinned(steps: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most MOST_STEPS rows: neighbours joined, their largest value kept."""
    width = -(-len(steps) // MOST_STEPS)
    starts = np.arange(0, len(steps), width)
    return steps[starts], np.fmax.reduceat(matrix, starts, axis=0)


def _shaded(matrix: np.ndarray, scale: str) -> tuple[np.ma.MaskedArray, dict[str, Any]]:
    """The cells, nan masked and what is off the scale moved just beyond its ends; their colours."""
    from matplotlib import colormaps, colors

    viridis = colors.ListedColormap(colormaps["viridis"](np.linspace(0.12, 1, 256)))
    shades = viridis.with_extremes(under="black", over=NONFINITE, bad=(0, 0, 0, 0))
    known = matrix[np.isfinite(matrix) & ((matrix > 0) | (scale != "log"))]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.1, 1.0)
    if scale == "log":
        high = float(np.clip(high, 1e-280, 1e280))  # what a logarithmic scale can hold
        low = max(low, high / 10.0**DECADES)
        low, high = (low / 2, high * 2) if low == high else (low, high)
        norm: colors.Normalize = colors.LogNorm(low, high)
        under, over = low / 2, high * 2
    else:
        low, high = (0.0, 1.0) if scale == "share" else (low - 0.5, high + 0.5) if low == high else (low, high)
        norm, under, over = colors.Normalize(low, high), 2 * low - high, 2 * high - low
    cells = np.where(matrix == np.inf, over, np.where(matrix < low, under, matrix))
    return np.ma.masked_invalid(cells), {"cmap": shades, "norm": norm}


def _edges(steps: np.ndarray) -> np.ndarray:
    """Where the columns of these steps begin and end: half-way between neighbours.

    >>> _edges(np.array([0, 10, 30])).tolist()
    [-5.0, 5.0, 20.0, 40.0]
    """
    if len(steps) == 1:
        return steps[0] + np.array([-0.5, 0.5])
    between = (steps[1:] + steps[:-1]) / 2
    return np.concatenate([[2 * steps[0] - between[0]], between, [2 * steps[-1] - between[-1]]])


# Histograms over steps ------------------------------------------------------------------------------------------------


def plot_histograms(source: Any, name: str | None = None, *, most: int = 20, style: str = "paper") -> Figure:
    """How the values of one array are spread, at step after step: ridges, the first step on top.

    `source` is a run with `histogram(name)`, or a list of (step, histogram) with `edges()` and `counts()`, or of
    (step, edges [bins + 1], counts [bins]) as np.histogram gives them. Of a run that has one histogram, no `name` is
    needed. Bins of unequal width get an axis that is
    logarithmic to both sides of zero, and what is too small for it is one block around zero. The area of a ridge is the
    share of the values. Of more than `most` steps as many are drawn, the first and the last among them.
    """
    name = _name(source) if name is None else name
    every = _histograms(source, name)
    drawn = [every[i] for i in np.unique(np.linspace(0, len(every) - 1, min(most, len(every))).round().astype(int))]
    bounds = _symmetric_log(drawn)
    ridges = [_density(edges, counts, bounds) for _, edges, counts, _ in drawn]
    tallest = max((float(height.max()) for _, height in ridges), default=0) or 1.0
    figure, axes = canvas(1, 1, (5.2, float(np.clip(1.6 + 0.16 * len(drawn), 2.4, 6))), style)
    ax = axes[0, 0]
    ax.grid(axis="y", visible=False)
    ax.spines["left"].set_visible(False)
    shades = _from_light_to_dark(len(drawn))
    for i, (edges, height) in enumerate(ridges):
        top = i - (0.9 if len(ridges) == 1 else 2.2) * height / tallest  # a ridge may cover the two above it
        ax.stairs(top, edges, baseline=i, fill=True, facecolor=shades[i], edgecolor="black", linewidth=0.5, zorder=2 + i)
        if drawn[i][3]:
            ax.annotate(f"{drawn[i][3]:,} nan or inf", (1, i), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                        fontsize=7, color=NONFINITE, zorder=99)  # fmt: skip
    _dress_values(ax, bounds, ridges, room=0.11 if style == "paper" else 0.17)
    ax.set_ylim(len(drawn) - 0.7, -1.2 if len(ridges) == 1 else -2.4)
    label_every = -(-len(drawn) // 14)
    ax.set_yticks(range(0, len(drawn), label_every), [f"{step:,}" for step, *_ in drawn[::label_every]], fontsize=8)
    ax.tick_params(axis="y", length=0)
    ax.set_ylabel("step" if len(drawn) == len(every) else f"step ({len(drawn)} of {len(every):,} drawn)", fontsize=9)
    ax.set_xlabel("value", fontsize=9)
    ax.set_title(shown(name, 50), fontsize=10)
    return figure


def _name(source: Any) -> str:
    """What the only histogram of a run is called; of arrays, nothing."""
    if not hasattr(source, "histogram_names"):
        return ""
    names = source.histogram_names()
    if len(names) == 1:
        return str(names[0])
    if not names:
        raise ValueError(
            "plot_histograms: this run has no histogram; watch(model, histograms=n) or log_histogram records some"
        )
    some = ", ".join(map(repr, names[:10])) + (f" and {len(names) - 10:,} more" if len(names) > 10 else "")
    raise ValueError(f"plot_histograms: pass the name of the histogram to draw, one of {some}")


def _histograms(source: Any, name: str) -> list[tuple[int, np.ndarray, np.ndarray, int]]:
    """[(step, edges, counts, how many values were not finite)], or an error."""
    items = list(source.histogram(name) if hasattr(source, "histogram") else source)
    if not items:
        raise ValueError(f"there is no histogram of {name!r} to draw")
    found = []
    for item in items:
        step, *rest = item
        bins = rest if len(rest) == 2 else (rest[0].edges(), rest[0].counts())
        edges, counts = (np.asarray(values, float) for values in bins)
        shaped = edges.ndim == 1 and counts.shape == (len(edges) - 1,)
        if not shaped or (edges[1:] <= edges[:-1]).any() or (counts < 0).any() or np.abs(edges).max(initial=0) > HUGE:
            raise ValueError(
                f"the histogram at step {step} needs rising edges [bins + 1] within {HUGE:g} of 0, and counts [bins], got "
                f"the shapes {edges.shape} and {counts.shape}"
            )
        found.append((int(step), edges, counts, int(getattr(rest[0], "nonfinite", 0))))
    return found


def _symmetric_log(drawn: Sequence[tuple]) -> float | None:
    """The size below which values are drawn as zero, a power of ten; None for bins of equal width: a linear axis."""
    if all(np.allclose(np.diff(edges), edges[1] - edges[0]) for _, edges, _, _ in drawn):
        return None
    middle = np.concatenate([np.abs(edges[1:] + edges[:-1]) / 2 for _, edges, _, _ in drawn])
    zero = np.concatenate([(edges[1:] > 0) & (edges[:-1] < 0) for _, edges, _, _ in drawn])
    counts = np.concatenate([counts for _, _, counts, _ in drawn])
    there = (counts > 0) & ~zero
    if not there.any():
        return 1.0
    order = np.argsort(middle[there])
    size, share = middle[there][order], np.cumsum(counts[there][order]) / counts[there].sum()
    small = size[np.searchsorted(share, 0.01)]  # one value in a hundred may be smaller
    return float(10.0 ** max(np.floor(np.log10(small)), np.ceil(np.log10(size[-1])) - DECADES))


def _density(edges: np.ndarray, counts: np.ndarray, bound: float | None) -> tuple[np.ndarray, np.ndarray]:
    """(edges, height): the share of the values per unit of the axis; bins within the bound become one."""
    if bound is not None:
        inside = np.abs(edges) < bound * (1 - 1e-9)
        at = np.searchsorted(edges[~inside], edges[:-1], "right") - 1
        kept = edges[~inside]
        if len(kept) > 1 and at.min() >= 0:
            counts, edges = np.bincount(at, counts, minlength=len(kept) - 1), kept
    there = np.flatnonzero(counts)
    if not there.size:
        return edges, np.zeros(len(counts))
    low, high = int(there[0]), int(there[-1]) + 1
    edges, counts = edges[low : high + 1], counts[low:high]
    position = edges if bound is None else _position(edges, bound)
    return edges, counts / counts.sum() / np.diff(position)


def _position(values: np.ndarray, bound: float) -> np.ndarray:
    """Where values are on the axis: linear up to the bound, from there on one unit per power of ten.

    >>> _position(np.array([-10.0, 0.05, 0.1, 100.0]), 0.1).tolist()
    [-3.0, 0.5, 1.0, 4.0]
    """
    size = np.abs(values) / bound
    return np.sign(values) * np.where(size <= 1, size, 1 + np.log10(np.maximum(size, 1)))


def _from_light_to_dark(n: int) -> Any:
    from matplotlib import colormaps

    return colormaps["viridis_r"](np.linspace(0.08, 0.75, n))


def _dress_values(ax: Any, bound: float | None, ridges: Sequence[tuple[np.ndarray, np.ndarray]], room: float) -> None:
    """The axis of the values: its scale, its limits, powers of ten as ticks, `room` of its width apart."""
    low, high = min(edges[0] for edges, _ in ridges), max(edges[-1] for edges, _ in ridges)
    if bound is None:
        return
    ax.set_xscale("symlog", linthresh=bound, linscale=0.9)  # 0.9 makes the linear half as wide as one power of ten
    low, high = min(low, -bound), max(high, bound)
    ax.set_xlim(low, high)
    reach = _position(np.array([low, high]), bound)
    apart = max(1, int(np.ceil(room * (reach[1] - reach[0]))))  # powers of ten from one mark to the next
    last = int(np.floor(np.log10(max(-low, high)) + 1e-9))
    powers = [e for e in range(last, -400, -apart) if e - np.log10(bound) + 1 >= apart - 1e-9]
    marks = [(0.0, "0")] + [(sign * 10.0**e, f"${word}10^{{{e}}}$") for e in powers for sign, word in ((1, ""), (-1, "-"))]
    marks = [(value, text) for value, text in marks if low * 1.001 <= value <= high * 1.001]
    ax.set_xticks([value for value, _ in marks], [text for _, text in marks], fontsize=8)
    ax.set_xticks([], minor=True)
