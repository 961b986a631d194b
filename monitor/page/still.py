"""The page without scripts: the runs as a table, what was found, the learning curves as SVG pictures, written here.

It is what a mail program or a browser with scripts off shows. Every text goes through `escape`. Axes are as in the drawn
page (scales.py): what lies beyond them, and what is no number, is marked at their edge and said above it.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from monitor.page.content import Numbers, labels, metrics, place, scores_on_test
from monitor.page.packing import thin
from monitor.page.scales import HUGE, axis, interrupted, line_ends, lone, number, texts, ticks
from monitor.run import Run

WIDE, HIGH, LEFT, RIGHT, TOP, BOTTOM = 320, 180, 52, 314, 8, 146  # of a panel, and of its axes, in pixels
MOST, COLOURS = 9, 10  # panels, colours of page.css
POINTS, TOGETHER, LEAST = 150, 800, 80  # points: of a line, of those of a panel together, of a line in any case
FEW = 25  # points, each of which gets a dot
APART, LETTER = 12, 6.5  # pixels: between two marks of a line; of a digit across
SEVERITIES = ("critical", "error", "warning", "info")
PARTS = {"train": "training", "val": "validation", "test": "test", "running": "running mean"}


class Trace(NamedTuple):
    """One series of one run: all of it, for axes and remarks, and what is drawn of it."""

    run: int
    part: str
    kind: str  # class: its colour
    values: np.ndarray
    lines: list[tuple[str, np.ndarray, np.ndarray, np.ndarray]]  # class, steps, values, after which points it ends


class Frame(NamedTuple):
    """A panel's axes: the steps and values at their ends; of a logarithmic one exponents."""

    x: tuple[float, float]
    y: tuple[float, float]
    log: bool

    def across(self, steps: np.ndarray) -> np.ndarray:
        return LEFT + (steps - self.x[0]) / (self.x[1] - self.x[0]) * (RIGHT - LEFT)

    def up(self, values: np.ndarray) -> np.ndarray:
        """Pixels from the top, at most a thousand panels away; nan for what is not finite."""
        values = np.where(np.isfinite(values), np.clip(values, -HUGE, HUGE), np.nan)
        with np.errstate(over="ignore"):
            share = ((np.log10(values) if self.log else values) - self.y[0]) / (self.y[1] - self.y[0])
        return BOTTOM - np.clip(share, -1000, 1000) * (BOTTOM - TOP)


def still(runs: Sequence[Run], numbers: Sequence[Numbers], findings: Sequence[Sequence[dict[str, Any]]]) -> str:
    """HTML of the table, the findings and the pictures; `numbers` are the `columns` of the runs, `findings` those of each
    run, both as content.py has them.
    """
    names = metrics(name for series in numbers for name in series)
    shown = {metric: _traces(numbers, metric) for metric in names[:MOST]}
    more = f'<p class="muted">Not drawn: {len(names) - MOST:,} more</p>' if len(names) > MOST else ""
    ends = [float(steps[end]) for series in numbers for steps, _ in series.values() for end in (0, -1)]
    x = (min(ends, default=0.0), max(ends, default=1.0))  # the same for all panels
    panels = "".join(_panel(metric, traces, x) for metric, traces in shown.items())
    return (
        f'<div class="scroll"><table>{_table(runs, numbers)}</table></div>\n'
        f"{_found(labels(runs), findings)}"
        f'<p class="legend">{_legend(shown.values(), len(numbers))}</p>\n<div class="stills">{panels}</div>{more}'
    )


def escape(value: Any, most: int = 60) -> str:
    """Text that is harmless in HTML and SVG: no tags, no quotes, no control characters, not too long.

    >>> escape("<b>\\x00'x'")
    '&lt;b&gt; &#x27;x&#x27;'
    """
    text = "".join(c if c.isprintable() else " " for c in str(value))
    return html.escape(text if len(text) <= most else text[: most - 1] + "…")


def _table(runs: Sequence[Run], numbers: Sequence[Numbers]) -> str:
    columns: dict[str, list[str]] = {name: [] for name in ("run", "status", "started", "last step", "last values", "test")}
    for i, (run, label, series) in enumerate(zip(runs, labels(runs), numbers, strict=True)):
        shown = [(name, values) for name, (_, values) in series.items() if "/" in name][:4]
        swatch = f'<svg class="swatch" width="14" height="10"><path class="line run-{i % COLOURS}" d="M0 5h14"/></svg> '
        cells = (
            (swatch if len(runs) > 1 else "") + escape(label),
            escape(run.status, 20),
            escape(str(run.meta.get("started") or "").replace("T", " ").replace("+00:00", " UTC"), 40),
            f"{max((int(steps[-1]) for steps, _ in series.values()), default=0):,}",
            ", ".join(f"{escape(name, 40)} {values[-1]:.4g}" for name, values in shown),
            ", ".join(f"{name} {value:.4g}" for name, value in scores_on_test(run).items()),
        )
        for column, cell in zip(columns.values(), cells, strict=True):
            column.append(cell)
    used = {name: cells for name, cells in columns.items() if any(cells)}
    head = "<tr>" + "".join(f"<th>{name}" for name in used) + "</tr>"
    return head + "".join(
        "<tr>" + "".join(f"<td>{cell}" for cell in row) + "</tr>" for row in zip(*used.values(), strict=True)
    )


def _legend(panels: Any, runs: int) -> str:
    """What solid, dashed and dotted mean, as far as they are there."""
    there = {trace.part for traces in panels for trace in traces}
    sample = '<svg class="swatch" width="22" height="10"><path class="line {} {}" d="M1 5h20"/></svg>'
    drawn = [
        f'<span class="item">{sample.format(f"one-{part}" if runs == 1 else "any", part)}{name}</span>'
        for part, name in PARTS.items()
        if part in there
    ]
    return "".join(drawn)


def _found(names: Sequence[str], findings: Sequence[Sequence[dict[str, Any]]]) -> str:
    """What was detected, the gravest first, and the other checks folded: what js/tables.js shows."""
    every = [(name if len(names) > 1 else "", found) for name, own in zip(names, findings, strict=True) for found in own]
    rank = {severity: i for i, severity in enumerate(SEVERITIES)}
    detected = [(name, found) for name, found in every if found["verdict"] == "detected"]
    detected.sort(key=lambda item: rank.get(item[1]["severity"], rank["warning"]))
    rest = [found for _, found in every if found["verdict"] != "detected"]
    parts = [_finding(name, found) for name, found in detected] or ['<p class="muted">Nothing was detected.</p>']
    if rest:
        parts.append(f"<details><summary>{len(rest)} other checks</summary>{''.join(map(_check, rest))}</details>")
    return f'<section class="card"><h2>Findings</h2><div>{"".join(parts)}</div></section>\n' if every else ""


def _finding(run: str, found: dict[str, Any]) -> str:
    severity = found["severity"] if found["severity"] in SEVERITIES else ""
    first, last = found["steps"] or (0, 0)
    where = [f"steps {first:,} to {last:,}" if found["steps"] else "", escape(run)]
    said = [f'<p class="name">{escape(found["message"], 1000)}</p>'] if found["message"] else []
    said += [f'<p class="advice name">{escape(advice, 1000)}</p>' for advice in found["advice"]]
    return (
        f'<div class="finding"><p><span class="severity {severity}">{severity or "found"}</span> '
        f'<b class="name">{escape(found["id"].replace("_", " "))}</b> '
        f'<span class="muted name">{" · ".join(filter(None, where))}</span></p>{"".join(said)}</div>'
    )


def _check(found: dict[str, Any]) -> str:
    message = f". {escape(found['message'], 1000)}" if found["message"] else ""
    said = f"{found['id']}: {found['verdict']}".replace("_", " ")
    return f'<p class="name">{escape(said, 260)}{message}</p>'


def _traces(numbers: Sequence[Numbers], metric: str) -> list[Trace]:
    placed = [(i, name, *place(name)) for i, series in enumerate(numbers) for name in series]
    placed = [(i, name, drawn_in, part) for i, name, drawn_in, part in placed if drawn_in == metric]
    most = max(LEAST, min(POINTS, TOGETHER // max(len(placed), 1)))
    found = []
    for i, name, _, part in placed:
        steps, values = numbers[i][name]
        kept = thin(steps, values, most)
        kind = f"one-{part or 'other'}" if len(numbers) == 1 else f"run-{i % COLOURS}"
        curves = {f"line {kind} {part}": (kept.steps, kept.values)}
        if kept.columns is not None:  # the extremes faintly, and a line through the means of the columns
            curves = {f"line {kind} faint": (kept.steps, kept.values), f"line {kind} {part}": kept.columns[:2]}
        lines = [(look, x.astype(float), y, line_ends(steps, x)) for look, (x, y) in curves.items()]
        found.append(Trace(i, part, kind, values, lines))
    return found


# A panel ------------------------------------------------------------------------------------------------------------------


def _panel(metric: str, traces: list[Trace], x: tuple[float, float]) -> str:
    finite: dict[int, list[np.ndarray]] = {}
    for trace in traces:
        finite.setdefault(trace.run, []).append(trace.values[np.isfinite(trace.values)])
    low, high, log = axis(metric, [np.concatenate(values) for values in finite.values()])
    margin = 0.05 * (high - low)
    y = low - margin, min(high + margin, 308.0) if log else high + margin  # a float has no larger exponent
    frame = Frame(x if x[0] < x[1] else (x[0] - 0.5, x[1] + 0.5), y, log)
    title = escape("learning rate" if metric == "lr" else metric.replace("_", " "), 40)
    said = " · ".join((["log scale"] if log else []) + _remarks(traces, frame))
    return (
        f"<figure><figcaption><b>{title}</b> {said}</figcaption>"
        f'<svg class="still" role="img" aria-label="{title}" viewBox="0 0 {WIDE} {HIGH}">'
        f"{_axes(frame)}{''.join(_drawn(trace, frame) for trace in traces)}</svg></figure>"
    )


def _remarks(traces: list[Trace], frame: Frame) -> list[str]:
    """What lies beyond the axis, and what is no number."""
    low, high = (10.0**end if frame.log else end for end in frame.y)
    beyond = [v[np.isfinite(v) & ((v < low) | (v > high))] for v in (trace.values for trace in traces)]
    away = np.concatenate(beyond)
    said = []
    if len(away):
        curves = sum(len(values) > 0 for values in beyond)
        farthest = number(float(away[np.argmax(np.abs(away))]), 3)
        leave = f"leave{'s' if curves == 1 else ''} the axis (arrows), as far as {farthest}"
        said.append(f"{curves} of {len(traces)} curves {leave}")
    gaps = sum(int(np.sum(~np.isfinite(trace.values))) for trace in traces)
    return [*said, f"{gaps:,} × not finite"] if gaps else said


def _axes(frame: Frame) -> str:
    heights = ticks(*frame.y, frame.log)
    values = [10.0**tick for tick in heights] if frame.log else heights
    across = [tick for tick in ticks(*frame.x) if tick.is_integer()]
    drawn = []
    for y, text in zip(frame.up(np.array(values)), texts(values), strict=True):
        drawn.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{RIGHT}"/>')
        drawn.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    for x, tick in zip(frame.across(np.array(across)), across, strict=True):
        text = f"{tick:,.6g}"
        within = min(x, WIDE - LETTER * len(text) / 2)  # the last one is not cut off
        drawn.append(f'<text x="{within:.1f}" y="{BOTTOM + 15}" text-anchor="middle">{text}</text>')
    drawn.append(f'<text x="{(LEFT + RIGHT) / 2}" y="{HIGH - 4}" text-anchor="middle">step</text>')
    return "".join(drawn) + f'<path class="axis" d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}"/>'


def _drawn(trace: Trace, frame: Frame) -> str:
    """The lines, a dot for each of few points and for what no line joins, an arrow where the axis is left, a cross where
    there is no number.
    """
    parts = []
    for kind, steps, values, ends in trace.lines:
        x, y = interrupted(ends, frame.across(steps), frame.up(values))
        parts.append(f'<path class="{kind}" d="{_path(*_cut(x, y))}"/>')
        dots = np.arange(len(y)) if len(trace.values) <= FEW else lone(y)
        dots = dots[(y[dots] >= TOP) & (y[dots] <= BOTTOM)]
        parts.append(_marks(f"dot {trace.kind}", x[dots], y[dots], "h0", 0))
    _, steps, values, _ = trace.lines[0]  # of more points than are drawn, the extremes
    x, y = frame.across(steps), frame.up(values)
    parts.append(_marks(f"mark {trace.kind}", x[y < TOP], TOP, "m-4 5l4 -5l4 5", 2 * APART))
    parts.append(_marks(f"mark {trace.kind}", x[y > BOTTOM], BOTTOM, "m-4 -5l4 5l4 -5", 2 * APART))
    parts.append(_marks("gap", x[np.isnan(values)], BOTTOM - 7, "m-3 -3l6 6m-6 0l6 -6"))
    parts.append(_marks("gap", x[values == np.inf], TOP + 7, "m-4 5l4 -5l4 5"))
    parts.append(_marks("gap", x[values == -np.inf], BOTTOM - 7, "m-4 -5l4 5l4 -5"))
    return "".join(parts)


def _marks(kind: str, x: np.ndarray, y: Any, shape: str, apart: float = APART) -> str:
    """One path of marks at some places, which are thinned out."""
    places, last = [], -np.inf
    for a, b in zip(x, np.broadcast_to(y, x.shape), strict=True):
        if a - last >= apart:
            places.append(f"M{a:.1f} {b:.1f}{shape}")
            last = a
    return f'<path class="{kind}" d="{"".join(places)}"/>' if places else ""


def _cut(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The line with points where it crosses the edges of the panel, and without those beyond them."""
    for edge in (TOP, BOTTOM):
        over = y - edge
        crosses = np.flatnonzero(np.sign(over[:-1]) * np.sign(over[1:]) < 0)
        share = over[crosses] / (over[crosses] - over[crosses + 1])
        x = np.insert(x, crosses + 1, x[crosses] + share * (x[crosses + 1] - x[crosses]))
        y = np.insert(y, crosses + 1, edge)
    return x, np.where((y < TOP) | (y > BOTTOM), np.nan, y)


def _path(x: np.ndarray, y: np.ndarray) -> str:
    """Lines between neighbours; a number that is not finite interrupts them, and a lone point is a dot."""
    commands, pen = [], "M"
    for a, b, there in zip(x, y, np.isfinite(y), strict=True):
        if there:
            commands.append(f"{pen}{a:.1f} {b:.1f}" + ("h0" if pen == "M" else ""))
        pen = "L" if there else "M"
    return "".join(commands)
