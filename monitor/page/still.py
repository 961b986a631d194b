"""The page without scripts: the learning curves as one SVG picture and the runs as a table, written here.

It is what a mail program, a printer or a browser with scripts off shows. Every text goes through `escape`.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from monitor.page.content import Numbers, labels, metrics, place, scores_on_test
from monitor.page.packing import thin
from monitor.run import Run

WIDE, HIGH, LEFT, TOP, GAP = 300, 170, 46, 26, 22  # of one panel, in pixels
ACROSS, MOST, POINTS, COLOURS = 3, 9, 150, 10  # panels in a row, panels, points of a line, colours of page.css
Line = tuple[str, np.ndarray, np.ndarray]  # class, steps, values


def still(runs: Sequence[Run], numbers: Sequence[Numbers]) -> str:
    """HTML of the table and the picture; `numbers` are the `columns` of the runs (content.py)."""
    return f'<div class="scroll"><table>{_table(runs, numbers)}</table></div>\n{_picture(numbers)}'


def escape(value: Any, most: int = 60) -> str:
    """Text that is harmless in HTML and SVG: no tags, no quotes, no control characters, not too long.

    >>> escape("<b>\\x00'x'")
    '&lt;b&gt; &#x27;x&#x27;'
    """
    text = "".join(c if c.isprintable() else " " for c in str(value))
    return html.escape(text if len(text) <= most else text[: most - 1] + "…")


def _table(runs: Sequence[Run], numbers: Sequence[Numbers]) -> str:
    head = "<tr><th>run<th>status<th>started<th>last step<th>last values<th>test</tr>"
    rows = []
    for i, (run, label, series) in enumerate(zip(runs, labels(runs), numbers, strict=True)):
        shown = [(name, values) for name, (_, values) in series.items() if "/" in name][:4]
        last = ", ".join(f"{escape(name, 40)} {values[-1]:.4g}" for name, values in shown)
        test = ", ".join(f"{name} {value:.4g}" for name, value in scores_on_test(run).items())
        step = max((int(steps[-1]) for steps, _ in series.values()), default=0)
        cells = [escape(run.status, 20), escape(run.meta.get("started") or "", 40), f"{step:,}", last, test]
        swatch = f'<svg class="swatch" width="14" height="10"><path class="line run-{i % COLOURS}" d="M0 5h14"/></svg>'
        rows.append(f"<tr><td>{swatch} {escape(label)}" + "".join(f"<td>{cell}" for cell in cells) + "</tr>")
    return head + "".join(rows)


def _picture(numbers: Sequence[Numbers]) -> str:
    names = metrics(name for series in numbers for name in series)[: 2 * MOST]
    shown = [(metric, lines) for metric in names if (lines := _lines(numbers, metric))][:MOST]
    across = min(ACROSS, len(shown)) or 1
    down = -(-len(shown) // across)
    size = f'width="{across * (WIDE + GAP)}" height="{down * (HIGH + GAP)}"'
    drawn = []
    for i, (metric, lines) in enumerate(shown):
        x, y = (i % across) * (WIDE + GAP), (i // across) * (HIGH + GAP)
        drawn.append(f'<g transform="translate({x} {y})">{_panel(metric, lines)}</g>')
    return f'<svg class="still" role="img" aria-label="learning curves" {size}>{"".join(drawn)}</svg>'


def _lines(numbers: Sequence[Numbers], metric: str) -> list[Line]:
    found = []
    for i, series in enumerate(numbers):
        for name, (steps, values) in series.items():
            drawn_in, part = place(name)
            if drawn_in == metric and np.isfinite(values).any():
                kept = thin(steps, values, POINTS)
                kind = f"one-{part or 'other'}" if len(numbers) == 1 else f"run-{i % COLOURS}"
                if kept.columns is None:
                    found.append((f"line {kind} {part}", kept.steps.astype(float), kept.values))
                else:  # the extremes faintly, and a line through the means of the columns
                    found.append((f"line {kind} faint", kept.steps.astype(float), kept.values))
                    found.append((f"line {kind} {part}", *kept.columns[:2]))
    return found


def _panel(metric: str, lines: list[Line]) -> str:
    """Axes with their ends written, and the lines; a loss that falls far is drawn on a logarithmic scale."""
    x = _ends(np.concatenate([steps for _, steps, _ in lines]))
    finite = np.concatenate([values[np.isfinite(values)] for _, _, values in lines])
    log = metric.endswith("loss") and bool(1e-200 < finite.min() < finite.max() / 30 < 1e200)
    low, high = _ends(np.log10(finite) if log else finite)
    right, bottom = WIDE - LEFT, HIGH - TOP - GAP
    paths = []
    for kind, steps, values in lines:
        with np.errstate(all="ignore"):
            up = (np.log10(values) if log else values) / 4 - low / 4  # quarters: the largest floats do not overflow
        across = LEFT + (steps - x[0]) / (x[1] - x[0]) * right
        paths.append(f'<path class="{kind}" d="{_path(across, TOP + bottom * (1 - up / (high / 4 - low / 4)))}"/>')
    ends = [f"{10**v if log else v:.3g}" for v in (low, high)]
    title = escape("learning rate" if metric == "lr" else metric.replace("_", " "), 40)
    return (
        f'<text class="title" x="{LEFT}" y="14">{title}{" (log scale)" if log else ""}</text>'
        f'<path class="axis" d="M{LEFT} {TOP}V{TOP + bottom}H{WIDE}"/>'
        f'<text x="{LEFT - 5}" y="{TOP + 8}" text-anchor="end">{ends[1]}</text>'
        f'<text x="{LEFT - 5}" y="{TOP + bottom}" text-anchor="end">{ends[0]}</text>'
        f'<text x="{LEFT}" y="{TOP + bottom + 14}">{x[0]:.6g}</text>'
        f'<text x="{WIDE}" y="{TOP + bottom + 14}" text-anchor="end">step {x[1]:.6g}</text>' + "".join(paths)
    )


def _ends(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return (low, high) if low < high else (low - (abs(low) / 2 or 1), high + (abs(high) / 2 or 1))


def _path(x: np.ndarray, y: np.ndarray) -> str:
    """Lines between neighbours; a number that is not finite interrupts them, and a lone point is a dot."""
    commands, pen = [], "M"
    for a, b, there in zip(x, y, np.isfinite(y), strict=True):
        if there:
            commands.append(f"{pen}{a:.1f} {b:.1f}" + ("h0" if pen == "M" else ""))
        pen = "L" if there else "M"
    return "".join(commands)
