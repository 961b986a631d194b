"""How all pictures look: their sizes, their colours, and how a name is shown in one.

Every picture is a Matplotlib Figure made without pyplot, so nothing pops up and nothing leaks, in one of two styles:

    "paper"    for a page that is 6.5 inches wide: text of 8 to 10 points at the figure's own size
    "slides"   the same picture on a smaller sheet, to be enlarged: text, lines and marks are half as large again.
               For one column of a two-column page, too: at 3.3 inches its text has about 6 points

`figure.savefig("name.pdf")` is sharp at any size. Hues are those that colour-blind people can tell apart (Okabe & Ito
2008); shades grow steadily lighter or darker, so they survive a black-and-white printer (viridis: Smith & van der Walt
2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = {"paper": 1.0, "slides": 1.5}  # how many times larger everything is on its sheet
DPI = 150  # of a sheet of 6.5 inches
MARKERS = "osD^vPX*"


def canvas(
    rows: int,
    columns: int,
    size: tuple[float, float],
    style: str = "paper",
    heights: Sequence[float] | None = None,
) -> tuple[Figure, Any]:
    """A Figure in a style, and its axes [rows, columns]; `size` is in inches on paper, `heights` those of the rows."""
    if style not in STYLES:
        raise ValueError(f"style must be {' or '.join(map(repr, STYLES))}, got {style!r}")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("pictures need Matplotlib: pip install matplotlib") from None
    zoom = STYLES[style]
    figure = Figure(figsize=(size[0] / zoom, size[1] / zoom), layout="constrained", dpi=DPI * zoom)
    axes = figure.subplots(rows, columns, squeeze=False, height_ratios=heights)
    for ax in axes.flat:
        quiet(ax)
    return figure, axes


def quiet(ax: Any) -> None:
    """Axes without a frame, with a faint grid and small numbers."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25, linewidth=0.6)
    ax.tick_params(labelsize=8)


def shown(text: Any, width: int = 32) -> str:
    """A name as a picture can show it: on one line, not too long, no dollar sign taken for mathematics.

    >>> shown("a\\nb"), shown("$x$"), shown("abcdef", 4)
    ('a b', '\\\\$x\\\\$', 'abc…')
    """
    line = "".join(c if c.isprintable() else " " for c in str(text))
    line = line if len(line) <= width else line[: width - 1] + "…"
    return (" " + line if line.startswith("_") else line).replace("$", r"\$")  # a legend leaves out _names
