"""The pictures of an error analysis: the mistakes themselves, what was confused, whether confidence can be trusted.

`errors.py` has the numbers; this file only draws them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from monitor.arrays import on_host
from monitor.pictures.style import COLOURS, canvas, quiet, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAIRS = 10  # confused pairs that are drawn
COLUMNS = 8  # examples in a row


def of_classes(analysis: Any, images: Any, style: str) -> Figure:
    """Above the surest mistakes; below the confusions as bars, and the calibration."""
    titles = [_arrow(analysis, m, 5 if style == "paper" else 3) + f"\n{m.confidence:.1%}" for m in analysis.mistakes]
    inputs = _inputs(analysis.x, images, analysis.n)
    figure, below = _page(inputs, [m.example for m in analysis.mistakes], titles, style)
    figure.suptitle(
        f"{analysis.mistakes_in_all:,} mistakes in {analysis.n:,} examples: accuracy {analysis.accuracy:.2%}", fontsize=11
    )
    _confusions(below[0], analysis)
    _reliability(below[1], analysis.calibration)
    return figure


def of_targets(analysis: Any, images: Any, style: str) -> Figure:
    """Above the inputs of the worst predictions; below the residuals over the predictions, and their histogram."""
    many = analysis.residual.shape[1] > 1
    titles = [f"{r.true:.3g}\nnot {r.predicted:.3g}" + (f"\ncolumn {r.column}" if many else "") for r in analysis.worst]
    inputs = _inputs(analysis.x, images, analysis.n)
    figure, below = _page(inputs, [r.example for r in analysis.worst], titles, style)
    error = float(np.sqrt(np.square(analysis.residual).mean()))
    figure.suptitle(f"{analysis.n:,} examples, root mean square error {error:.4g}", fontsize=11)
    _residuals(below[0], analysis)
    _spread(below[1], analysis)
    return figure


# Examples -------------------------------------------------------------------------------------------------------------


def _inputs(x: Any, images: Any, n: int) -> np.ndarray | None:
    """What to draw of every example: [n, height, width (, colours)] or [n, features]; None for nothing."""
    if images is None:
        return as_images(x)
    images = on_host(images)
    if images.ndim < 2 or len(images) != n:
        raise ValueError(f"images must be [n, height, width] with n={n}, got the shape {images.shape}")
    return as_images(images)


def as_images(x: np.ndarray | None) -> np.ndarray | None:
    """Inputs as they can be drawn; rows of a square number of values, from 16 on, become squares.

    >>> as_images(np.zeros((3, 64))).shape, as_images(np.zeros((3, 10))).shape, as_images(np.zeros((3, 1, 28, 28))).shape
    ((3, 8, 8), (3, 10), (3, 28, 28))
    """
    if x is None or x.dtype.kind not in "biuf" or x.ndim < 2:
        return None
    if x.ndim == 4 and x.shape[1] in (1, 3, 4) and x.shape[3] not in (3, 4):  # colours first, as in PyTorch
        x = np.moveaxis(x, 1, -1)
    if x.ndim == 4:
        return x[..., 0] if x.shape[3] == 1 else x if x.shape[3] in (3, 4) else x.reshape(len(x), -1)
    side = math.isqrt(x.shape[1])
    if x.ndim == 2 and side >= 4 and side * side == x.shape[1]:
        return x.reshape(-1, side, side)
    return x if x.ndim in (2, 3) else x.reshape(len(x), -1)


def _page(inputs: np.ndarray | None, chosen: list[int], titles: list[str], style: str) -> tuple[Figure, Any]:
    """A figure with the chosen examples above, and the two axes below them."""
    examples = chosen if inputs is not None else []
    columns = COLUMNS if style == "paper" else COLUMNS - 2
    rows = -(-len(examples) // columns)
    above, below = 1.2 * rows, 2.6 if style == "paper" else 3.4
    figure, axes = canvas(1, 1, (6.5, 0.3 + above + below), style)
    axes[0, 0].remove()
    if rows:
        top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=[above, below])[:, 0]
        for ax in top.subplots(rows, columns, squeeze=False).flat[rows * columns - 1 : len(examples) - 1 : -1]:
            ax.remove()
        for ax, index, title in zip(top.axes, examples, titles, strict=True):
            _draw_input(ax, inputs, index)
            ax.set_title(title, fontsize=6.5, pad=2)
            ax.set_xlabel(f"{index:,}", fontsize=6, labelpad=1, color="#666666")
            ax.set_xticks([])
            ax.set_yticks([])
    else:
        bottom = figure.subfigures(1, 1, squeeze=False)[0, 0]
    panels = bottom.subplots(1, 2)
    for ax in panels:
        quiet(ax)
    return figure, panels


def _draw_input(ax: Any, inputs: Any, index: int) -> None:
    """One example: an image as such, dark where its values are high; a row of features as bars."""
    values = np.asarray(inputs[index], float)
    if values.ndim == 1:
        ax.bar(range(len(values)), np.nan_to_num(values), width=0.9, color=COLOURS[0])
        ax.axhline(0, color="black", linewidth=0.5)
        ax.spines[["top", "right", "left", "bottom"]].set_visible(False)
    elif values.ndim == 3:
        top = 255 if inputs.max() > 1 else 1
        ax.imshow(np.clip(values / top, 0, 1))
    else:
        ax.imshow(values, cmap="Greys", vmin=float(inputs.min()), vmax=float(inputs.max()))
        ax.spines[["top", "right"]].set_visible(True)


# Confusions and calibration -------------------------------------------------------------------------------------------


def _arrow(analysis: Any, pair: Any, short: int) -> str:
    """true → predicted; long names one below the other."""
    true, predicted = (shown(analysis.names[c], 13) for c in (pair.true, pair.predicted))
    return f"{true} → {predicted}" if max(len(true), len(predicted)) <= short else f"{true}\n→ {predicted}"


def _confusions(ax: Any, analysis: Any) -> None:
    pairs = analysis.confused[:PAIRS]
    names = [_arrow(analysis, c, 13) for c in pairs]
    bars = ax.barh(range(len(pairs)), [c.times for c in pairs], color=COLOURS[1], height=0.7)
    ax.bar_label(bars, [f"{c.times:,}  ({c.share:.0%})" for c in pairs], fontsize=7, padding=2)
    ax.set_yticks(range(len(pairs)), names, fontsize=7)
    ax.set_ylim(max(len(pairs), 4) - 0.5, -0.5)
    ax.set_xlim(0, 1.35 * max([c.times for c in pairs], default=1))
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("times (share of the true class)", fontsize=8)
    which = "" if len(pairs) == len(analysis.confused) else f"\n{len(pairs)} of {len(analysis.confused):,} pairs"
    ax.set_title(f"taken for another{which}", fontsize=9)
    if not pairs:
        ax.text(0.5, 0.5, "no mistakes", transform=ax.transAxes, ha="center", fontsize=9)


def _reliability(ax: Any, calibration: Any) -> None:
    """How often the model was right, over how sure it was; on the diagonal it can be trusted."""
    filled = calibration.counts > 0
    confidence, right, counts = (
        values[filled] for values in (calibration.confidence, calibration.accuracy, calibration.counts)
    )
    deviation = np.sqrt(confidence * (1 - confidence) / counts)  # of the share of right ones, were it calibrated
    ax.plot([0, 1], [0, 1], "--", color="gray", linewidth=1, zorder=1)
    ax.vlines(confidence, np.maximum(confidence - 2 * deviation, 0), np.minimum(confidence + 2 * deviation, 1),
              color="#BBBBBB", linewidth=4, zorder=2)  # fmt: skip
    sizes = 12 + 60 * counts / counts.max()
    ax.scatter(confidence, right, s=sizes, color=COLOURS[0], edgecolors="white", linewidths=0.6, zorder=3)
    low = min(1.0, float(confidence.min()), float(right.min()))
    ax.set_xlim(min(low, 0.9) - 0.04, 1.04)
    ax.set_ylim(min(low, 0.9) - 0.04, 1.06)
    for set_ticks in (ax.set_xticks, ax.set_yticks):
        ticks = [t / 10 for t in range(0, 11, 2 if low < 0.6 else 1) if t / 10 >= low - 0.05]
        set_ticks(ticks, [f"{t:.0%}" for t in ticks])
    ax.set_xlabel("confidence (grey: by chance)", fontsize=8)
    ax.set_ylabel("right", fontsize=8)
    ax.set_title(f"calibration error {calibration.error:.1%}\n(by chance {calibration.noise:.1%})", fontsize=9)


# Residuals ------------------------------------------------------------------------------------------------------------


def _residuals(ax: Any, analysis: Any) -> None:
    for c, (predicted, residual) in enumerate(zip(analysis.predicted.T, analysis.residual.T, strict=True)):
        if c == len(COLOURS):
            break
        ax.plot(predicted, residual, "o", color=COLOURS[c], markersize=3, alpha=0.5, markeredgewidth=0, label=f"column {c}")
    ax.axhline(0, color="black", linewidth=0.8)
    for r in analysis.worst[:5]:
        ax.annotate(f"{r.example:,}", (r.predicted, r.residual), xytext=(3, 0), textcoords="offset points", fontsize=6)
    if analysis.residual.shape[1] > 1:
        ax.legend(fontsize=7, frameon=False)
    ax.set_xlabel("predicted", fontsize=8)
    ax.set_ylabel("true - predicted", fontsize=8)
    ax.set_title(f"trend {analysis.trend[0]:.2f}, fan {analysis.fan[0]:.2f}", fontsize=9)


def _spread(ax: Any, analysis: Any) -> None:
    """How the residuals are spread, beside a normal distribution of the same mean and deviation."""
    values = analysis.residual.ravel()
    bins = int(np.clip(math.sqrt(len(values)), 5, 40))
    ax.hist(values, bins=bins, color=COLOURS[0], alpha=0.7)
    middle, deviation = float(values.mean()), float(values.std())
    if deviation > 0:
        at = np.linspace(values.min(), values.max(), 200)
        normal = np.exp(-(((at - middle) / deviation) ** 2) / 2) / (deviation * math.sqrt(2 * math.pi))
        ax.plot(at, normal * len(values) * np.ptp(values) / bins, "-", color=COLOURS[1], linewidth=1.2, label="normal")
        ax.legend(fontsize=7, frameon=False)
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set_xlabel("true - predicted", fontsize=8)
    ax.set_ylabel("examples", fontsize=8)
    ax.set_title("residuals", fontsize=9)
