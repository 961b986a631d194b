"""Draws the Move of an Explanation: bars for a few numbers, heat maps for many, and arrows for a point in the plane.

Blue is positive and orange negative; the colours are those that colour-blind people can tell apart (Okabe & Ito 2008).
Figures are made without pyplot: nothing pops up.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from optimizers.explanation.move import FEW, Move, Quantity, on_host, short, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEVELS = 10  # contours
BARS = 40  # so many numbers are drawn as bars
PLUS, MINUS = "#0072B2", "#D55E00"
FORMULA: dict[str, Any] = {"size": 6.5, "family": "monospace", "color": "0.3"}
GRADIENT, DIRECTION, MOVED = "#E69F00", "#56B4E9", "#000000"


def plot_move(move: Move, landscape: Callable | None = None) -> Figure:
    """The picture of a Move; see Explanation.plot."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("pictures need Matplotlib: pip install matplotlib") from None
    size = on_host(move["p"]).size
    if landscape is not None and size != 2:
        raise ValueError(f"a landscape has two coordinates, and {move.name!r} has {size} numbers: plot it without")
    rows = [q for q in move.quantities if on_host(q.value).size == size]
    figure = Figure(dpi=120)
    beside = 5.0 if size == 2 and np.isfinite([on_host(move["p"]), on_host(move["afterwards"])]).all() else 0.0
    if size > BARS:
        _draw_maps(figure, rows)
    else:
        _draw_bars(figure, rows, beside)
    if beside:
        _draw_plane(figure, move, landscape)
    _add_titles(figure, move, [q for q in move.quantities if on_host(q.value).size != size])
    return figure


def _add_titles(figure: Any, move: Move, left_out: list[Quantity]) -> None:
    """What moves, and the numbers of the rule. In inches, since figures have many heights."""
    width, height = figure.get_size_inches()
    numbers = {**move.numbers, **{q.name: on_host(q.value)[()] for q in left_out if on_host(q.value).size == 1}}
    shown = [f"{name} = {short(value)}" for name, value in numbers.items() if value is not False]
    left, text = 0.1 / width, {"va": "top", "ha": "left", "parse_math": False}
    figure.text(left, 1 - 0.12 / height, f"{move.optimizer} moves {move.name!r}, update {move['t']}", size=12, **text)
    figure.text(left, 1 - 0.38 / height, wrapped(shown, int(width * 15)), size=7.5, color="0.3", **text)


# Bars -----------------------------------------------------------------------------------------------------------------


def _draw_bars(figure: Any, rows: list[Quantity], beside: float) -> None:
    """One row of bars for each quantity, each with a scale of its own; left of it its name and its formula.

    `beside`: so many inches are left free beside them, for the plane.
    """
    width, height = 8.0 + beside, max(0.9 + 0.56 * len(rows), 5.8 if beside else 0.0)
    figure.set_size_inches(width, height)
    axes = figure.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
    figure.subplots_adjust(
        left=(3.4 + 1.3 * beside) / width, right=1 - 0.9 / width, top=1 - 0.75 / height, bottom=0.3 / height
    )
    for ax, row in zip(axes, rows, strict=True):
        values = on_host(row.value).reshape(-1)
        _bars(ax, values)
        names = -3.3 / (width * ax.get_position().width)
        formula = textwrap.shorten(row.formula, 54, placeholder=" ...")
        for string, up, style in ((row.label, 6, {"size": 9, "weight": "bold"}), (formula, -6, FORMULA)):
            place = {"xycoords": "axes fraction", "xytext": (0, up), "textcoords": "offset points", "va": "center"}
            ax.annotate(string, (names, 0.5), annotation_clip=False, parse_math=False, **place, **style)
        if values.size > FEW:
            ax.text(1.02, 0.5, f"max {short(np.abs(values).max())}", transform=ax.transAxes, va="center", **FORMULA)
    axes[-1].set_xticks(range(values.size) if values.size <= 12 else range(0, values.size, 5))
    axes[-1].tick_params(bottom=False, labelbottom=True, labelsize=7, length=0)


def _bars(ax: Any, values: np.ndarray) -> None:
    heights = np.where(np.isfinite(values), values, 0)
    ax.bar(range(values.size), heights, width=0.7, color=[PLUS if height >= 0 else MINUS for height in heights])
    ax.axhline(0, color="0.4", linewidth=0.6)
    signs = [(heights > 0).any() or not heights.any(), (heights < 0).any()]
    room = (np.abs(heights).max() or 1.0) * (1.6 if values.size <= FEW else 1.1)
    ax.set(ylim=(-room * signs[1], room * signs[0]), xlim=(-0.6, values.size - 0.4), yticks=[])
    ax.spines[:].set_visible(False)
    ax.tick_params(bottom=False, labelbottom=False)
    if values.size <= FEW:
        for i, height in enumerate(heights):
            up = 1 if height >= 0 else -1
            place = {"xytext": (0, 1.5 * up), "textcoords": "offset points", "ha": "center"}
            ax.annotate(short(values[i]), (i, height), va="bottom" if up > 0 else "top", size=7, **place)


# Heat maps ------------------------------------------------------------------------------------------------------------


def _draw_maps(figure: Any, rows: list[Quantity]) -> None:
    """A heat map for each quantity, each with a scale of its own, around 0 if it has both signs."""
    from matplotlib.colors import Normalize

    columns = 4
    lines = math.ceil(len(rows) / columns)
    width, height = 11.0, 0.8 + 2.7 * lines
    figure.set_size_inches(width, height)
    figure.set_layout_engine("constrained", rect=(0, 0, 1, 1 - 0.7 / height), h_pad=0.08, w_pad=0.08)
    axes = figure.subplots(lines, columns, squeeze=False).reshape(-1)
    for ax, row in zip(axes, rows, strict=False):
        values = on_host(row.value)
        largest = float(np.abs(values[np.isfinite(values)]).max(initial=0)) or 1.0
        signed = bool((values < 0).any())
        image = ax.imshow(
            _as_matrix(values),
            norm=Normalize(-largest if signed else 0, largest),
            cmap="PuOr" if signed else "Purples",
            aspect="auto",
            interpolation="nearest",
        )
        ax.set_title(row.label, size=9, weight="bold", loc="left", pad=16, parse_math=False)
        formula = textwrap.shorten(row.formula, 46, placeholder=" ...")
        ax.text(0, 1.03, formula, transform=ax.transAxes, parse_math=False, **FORMULA)
        ax.set(xticks=[], yticks=[])
        bar = figure.colorbar(image, ax=ax, shrink=0.9, pad=0.02)
        bar.ax.tick_params(labelsize=6.5, length=2)
        bar.ax.yaxis.get_offset_text().set_size(6.5)
        bar.outline.set_visible(False)
    for ax in axes[len(rows) :]:
        ax.remove()


def _as_matrix(values: np.ndarray) -> np.ndarray:
    """The last axis across, all others down; a vector in lines of about its square root, filled up with nan."""
    if values.ndim > 1:
        return values.reshape(-1, values.shape[-1])
    across = math.ceil(math.sqrt(values.size))
    filled = np.full(across * math.ceil(values.size / across), np.nan)
    filled[: values.size] = values
    return filled.reshape(-1, across)


# Arrows ---------------------------------------------------------------------------------------------------------------


def _draw_plane(figure: Any, move: Move, landscape: Callable | None) -> None:
    """Where the gradient leads, where the rule's direction leads, and where the parameter goes.

    Only the last arrow is drawn to scale. The others are as long, since what counts is where they point. The landscape is
    the darker the higher.
    """
    width, height = figure.get_size_inches()
    tall = height - 2.1
    ax = figure.add_axes((0.75 / width, 1.3 / height, 5.2 / width, tall / height))
    p, gradient, direction, after = (
        on_host(move[name]).reshape(2) for name in ("p", "gradient", "direction", "afterwards")
    )
    length = float(np.hypot(*(after - p))) or 1.0
    arrows = (
        (-gradient, GRADIENT, 0.06, f"down the gradient, which is {short(np.hypot(*gradient))} long"),
        (-direction, DIRECTION, 0.03, f"against the direction, which is {short(np.hypot(*direction))} long"),
        (after - p, MOVED, 0.01, f"the step, {short(np.hypot(*(after - p)))} long"),
    )
    tips = [p]
    for arrow, colour, thickness, label in arrows:
        norm = np.hypot(*arrow)
        tip = p + arrow * (length / norm) if 0 < norm < math.inf else p
        tips.append(tip)
        head = {"head_width": (thickness + 0.05) * length, "head_length": 0.12 * length, "length_includes_head": True}
        ax.arrow(*p, *(tip - p), width=thickness * length, color=colour, linewidth=0, zorder=3, **head)
        ax.plot([], [], color=colour, linewidth=1 + 100 * thickness, label=label)
    ax.plot(*p, "o", color="black", markerfacecolor="white", markersize=9, zorder=4)
    middle = (np.max(tips, axis=0) + np.min(tips, axis=0)) / 2
    half = 0.5 * float(np.ptp(tips, axis=0).max()) + 0.3 * length
    ax.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half), aspect="equal")
    if landscape is not None:
        _draw_contours(ax, landscape)
    ax.tick_params(labelsize=7)
    ax.locator_params(nbins=5)
    ax.set_xlabel("first number", size=8)
    ax.set_ylabel("second number", size=8)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.5 / tall), frameon=False, fontsize=8, handlelength=3)


def _draw_contours(ax: Any, landscape: Callable) -> None:
    across, up = (np.linspace(low, high, 201) for low, high in (ax.get_xlim(), ax.get_ylim()))
    with np.errstate(all="ignore"):
        height = on_host(landscape(np.stack(np.meshgrid(across, up), axis=-1)))
    if np.isfinite(height).all() and np.ptp(height):
        ax.contourf(across, up, height, LEVELS, cmap="Greys", vmax=np.max(height) + 2 * np.ptp(height), zorder=0)
        ax.contour(across, up, height, LEVELS, colors="0.6", linewidths=0.5, zorder=1)
