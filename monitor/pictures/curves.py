"""Learning curves: the picture that says whether training worked.

Training is solid and validation dashed; several runs have a colour and a mark each, so that the picture can be read in
black and white, too. See style.py for `style`.
"""

from __future__ import annotations

import contextlib
import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from monitor.metrics import direction
from monitor.page.scales import HUGE, WIDE, interrupted, line_ends, lone, number, typical
from monitor.pictures.style import COLOURS, MARKERS, STYLES, canvas, shown
from monitor.run import Run
from monitor.store import SCALARS, encode

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTS = (("train", "training", "-"), ("val", "validation", "--"), ("", "", "-"))  # prefix, its name, line style
MOST = 24  # panels
BAND = 3  # runs, from which on quartiles are drawn of themselves
RUN_MARKS = MARKERS.replace("o", "")  # a circle is the best epoch
SEVERITY = {
    "critical": "#D55E00",
    "error": "#D55E00",
    "warning": "#E69F00",
}  # what a finding's window is shaded with; others in grey


class Shown(NamedTuple):
    """What is drawn as one: a run, or several that differ only in their seed."""

    label: str
    runs: list[Run]
    colour: str | None  # None: alone in the picture, so that training and validation have a colour each
    mark: str


Line = tuple[np.ndarray, np.ndarray, str]  # x, values and colour of what was drawn


def plot_learning_curves(
    runs: Run | str | Path | Sequence[Run | str | Path],
    title: str | None = None,
    *,
    metrics: Sequence[str] | None = None,
    findings: Any = None,
    band: bool | str = "auto",
    style: str = "paper",
) -> Figure:
    """Loss over epochs, training against validation, with the best epoch marked; below it the learning rate and the rest.

    A loss that falls by more than a factor of 30 gets a logarithmic axis, and so do learning rates that begin so far apart.
    A run that explodes does not flatten the others: where it leaves the axis there are arrows, and crosses where a number
    is not finite; above the panel stands what they are. Where an evaluation was recorded without its
    epoch, all is drawn over steps. All panels have the same epochs, the first to the last that anything drawn has. A line
    joins what was measured one after the other, and not over gaps ten times as long as usual in the series: a point that
    stands alone is a dot.

    runs: a Run, a run's folder, or several, drawn over each other in one colour each.
    metrics: what to draw, such as ["loss", "lr"]: a series' name without "train/" or "val/". None for all; of more than
        24, the learning rate and those that come first, and below the picture stands what is left out.
    findings: windows of steps to shade: Findings, or mappings with "id", "step_range" and "severity", or a report that has
        them as `.findings`; what is not "detected" is left out. None for those recorded in the run, if it is one.
    band: runs with the same configuration but for "seed" are drawn as one: their median, and a band from the lower to the
        upper quartile. "auto" from three runs on, True from two, False never. Where fewer than half went on, it ends.

    ValueError if nothing was recorded, or a metric was not.
    """
    runs = [runs] if isinstance(runs, Run | str | Path) else list(runs)
    opened = [run if isinstance(run, Run) else Run.open(run) for run in runs]
    tall, low, left_out = _chosen(*_panels(opened), metrics)
    groups = _groups(opened, band)
    by_epoch = all(map(_has_epochs, opened))
    columns = _legend_columns(groups, len(tall), style)
    note = _left_out(left_out, len(tall) + len(low), _fit(len(tall), style)) if left_out else ""
    rows_below = len(note.splitlines()) + (-(-(len(groups) + 2) // columns) if len(groups) > 1 else 0)
    figure, axes = _sheet(len(tall), len(low), style, rows_below)
    for ax, metric in zip(axes, tall + low, strict=True):
        drawn = [_draw(ax, shown_as, metric, by_epoch) for shown_as in groups]
        _dress(ax, metric, drawn)
        _mark_outside(ax, [line for lines in drawn for line in lines])
    _share_epochs(axes, "epoch" if by_epoch else "step")
    if findings is not None or len(opened) == 1:
        _shade(axes, _detected(findings, opened[0]), opened[0] if by_epoch else None)
    if len(groups) > 1 or note:
        _legend_below(figure, groups if len(groups) > 1 else [], columns, note)
    if len(groups) == 1 and axes[0].lines:
        axes[0].legend(fontsize=8, frameon=False)
    names = ", ".join(dict.fromkeys(group.label for group in groups)) if len(groups) < 4 else f"{len(opened)} runs"
    figure.suptitle(shown(names if title is None else title, 24 if len(tall) == 1 else 60), fontsize=11)
    return figure


# What is drawn --------------------------------------------------------------------------------------------------------


def _panels(runs: list[Run]) -> tuple[list[str], list[str]]:
    """What to draw, one panel each: tall ones for the loss and other metrics, low ones for the rest, lr first."""
    names = list(dict.fromkeys(name for run in runs for event in run.select(*SCALARS) for name in event["d"]))
    metrics = [n.split("/", 1)[1] for n in names if n.startswith(("train/", "val/"))]
    metrics = [m for m in metrics if m != "running_loss" or "loss" not in metrics]
    bare = [n for n in names if not n.startswith(("train/", "val/"))]
    tall = sorted(dict.fromkeys([*metrics, *(n for n in bare if n == "loss" or n in metrics)]), key=lambda m: m != "loss")
    low = sorted([n for n in bare if n not in tall], key=lambda n: n != "lr")
    return (tall, low) if tall else (low, [])


def _chosen(tall: list[str], low: list[str], metrics: Sequence[str] | None) -> tuple[list[str], list[str], list[str]]:
    """The tall and the low panels to draw, and what is left out because there would be too many; or an error."""
    every = tall + low
    if not every:
        raise ValueError("there is nothing to draw: no series was recorded (log some, or pass validation to fit)")
    if metrics is None:
        first = sorted(every, key=lambda metric: metric != "lr")[:MOST]
    else:
        first = [metrics] if isinstance(metrics, str) else list(metrics)
        unknown = [metric for metric in first if metric not in every]
        if unknown or not first:
            there = ", ".join(every[:20]) + (f" and {len(every) - 20:,} more" if len(every) > 20 else "")
            raise ValueError(
                f"metrics should be some of those that were recorded, got {unknown or first}; there are {there}"
            )
    drawn = set(first)
    kept = [[metric for metric in part if metric in drawn] for part in (tall, low)]
    left_out = [metric for metric in every if metric not in drawn] if metrics is None else []
    return (*kept, left_out) if kept[0] else (kept[1], [], left_out)  # type: ignore[return-value]


def _left_out(names: list[str], drawn: int, width: int) -> str:
    """What is not drawn, and how to choose it; in lines of so many characters."""
    some = ", ".join(shown(name, 24) for name in names[:3])
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    said = f"{drawn} of {drawn + len(names):,} metrics are drawn, which metrics=[...] chooses. Not drawn: {some}{more}"
    return "\n".join(textwrap.wrap(said, width))


def _groups(runs: list[Run], band: bool | str) -> list[Shown]:
    """The runs, those together that differ only in their seed."""
    if band not in (True, False, "auto"):
        raise ValueError(f'band must be True, False or "auto", got {band!r}')
    alike: dict[Any, list[Run]] = {}
    for i, run in enumerate(runs):
        config = {key: value for key, value in run.config.items() if key != "seed"}
        seeded = band is not False and "seed" in run.config
        alike.setdefault((run.name, json.dumps(encode(config), sort_keys=True)) if seeded else i, []).append(run)
    least = BAND if band == "auto" else 2
    found: list[list[Run]] = []
    for together in alike.values():
        seeds = {json.dumps(encode(run.config.get("seed"))) for run in together}
        found += [together] if len(together) >= least and len(seeds) == len(together) else [[run] for run in together]
    labels = [group[0].name if len(group) == 1 else f"{group[0].name} ({len(group)} seeds)" for group in found]
    looks = [
        (COLOURS[i % len(COLOURS)] if len(found) > 1 else None, RUN_MARKS[i % len(RUN_MARKS)]) for i in range(len(found))
    ]
    return [Shown(label, group, *look) for label, group, look in zip(labels, found, looks, strict=True)]


def _has_epochs(run: Run) -> bool:
    """Whether the evaluations of a run say their epoch, so that what was recorded between them can be placed."""
    events = [e for e in run.events if e["k"] in SCALARS]
    evaluated = [e for e in events if e["k"] == "eval" or any(name.startswith(("train/", "val/")) for name in e["d"])]
    return any(e["e"] is not None for e in events) and all(e["e"] is not None for e in evaluated)


def _epochs_of(run: Run, steps: np.ndarray) -> np.ndarray:
    """The epochs of steps, by those of the evaluations; what is after the last is as fast as before it."""
    known = {e["s"]: float(e["e"]) for e in run.select(*SCALARS) if e["e"] is not None}
    at = np.array(sorted(known))
    epochs = np.array([known[step] for step in at])
    found = np.interp(steps, at, epochs)
    if len(at) > 1:
        speed = (epochs[-1] - epochs[-2]) / (at[-1] - at[-2])
        found = np.where(steps > at[-1], epochs[-1] + speed * (steps - at[-1]), found)
    return found


def _curve(runs: list[Run], name: str, by_epoch: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray | None] | None:
    """(x, values, quartiles [2, points] or None) of a series: the run's own, or the median of several; None without it."""
    curves = []
    for run in runs:
        with contextlib.suppress(KeyError):  # this one did not record it
            x, epochs, values = run.points(name)
            values = np.where(np.isfinite(values), np.clip(values, -HUGE, HUGE), values)
            if by_epoch:
                x = _epochs_of(run, x) if np.isnan(epochs).any() else epochs
            curves.append((x, values))
    if not curves:
        return None
    if len(runs) == 1:
        return *curves[0], None
    x = np.unique(np.concatenate([at for at, _ in curves]))
    with np.errstate(invalid="ignore"):
        rows = np.array([np.interp(x, at, values, left=np.nan, right=np.nan) for at, values in curves])
        enough = np.sum(~np.isnan(rows), axis=0) * 2 >= len(runs)
        found = np.full((3, len(x)), np.nan)
        if enough.any():
            found[:, enough] = np.nanquantile(rows[:, enough], [0.25, 0.5, 0.75], axis=0)
    return x, found[1], found[[0, 2]]


# Drawing --------------------------------------------------------------------------------------------------------------


def _sheet(tall: int, low: int, style: str, rows_of_legend: int) -> tuple[Figure, list[Any]]:
    """A figure with so many tall panels, below them so many low ones, and below these room for a legend of several runs."""
    columns = 1 if tall == 1 else 2 if tall <= 6 else 3
    rows, low_rows = -(-tall // columns), -(-low // columns)
    heights = [2.5 if tall > 1 else 3.0] * rows + [1.15] * low_rows
    room = 0.5 + 0.2 * STYLES.get(style, 1.0) * rows_of_legend
    figure, axes = canvas(rows + low_rows, columns, (_wide(tall), sum(heights) + room), style, heights)
    upper, lower = axes[:rows].flatten(), axes[rows:].flatten()
    for ax in (*upper[tall:], *lower[low:]):
        ax.remove()
    return figure, [*upper[:tall], *lower[:low]]


def _wide(tall: int) -> float:
    """Inches."""
    return 4.8 if tall == 1 else 6.5


def _legend_columns(groups: list[Shown], tall: int, style: str) -> int:
    """As many columns as the names of the runs leave room for."""
    longest = max(len(shown(group.label)) for group in groups)
    return max(1, min(2 if tall == 1 else 3, _fit(tall, style) // (longest + 8)))


def _fit(tall: int, style: str) -> int:
    """Characters of 8 points on a line."""
    return int(15.5 * _wide(tall) / STYLES.get(style, 1.0))


def _draw(ax: Any, drawn: Shown, metric: str, by_epoch: bool) -> list[Line]:
    """The lines of one run, or of one group of seeds, in one panel; answers them."""
    lines = []
    for prefix, label, line in PARTS:
        name = f"{prefix}/{metric}" if prefix else metric
        curve = _curve(drawn.runs, name, by_epoch)
        if curve is None:
            continue
        x, values, quartiles = curve
        paint = drawn.colour or COLOURS[1 if prefix == "val" else 0]
        ends = line_ends(x)
        at, heights = interrupted(ends, x, values)
        marked = lone(heights).tolist()
        if drawn.colour:
            every = max(1, len(x) // 4)
            marked += range(COLOURS.index(paint) * every // len(COLOURS), len(at), every)
        mark = drawn.mark if drawn.colour else "." if marked else ""
        look = {"color": paint, "linewidth": 1.4, "marker": mark, "markevery": marked or None}
        ax.plot(at, heights, line, label=label or shown(metric), markersize=3.5 if drawn.colour else 6, **look)
        ax.update_datalim(np.column_stack([x, np.zeros(len(x))]), updatey=False)  # also where a number is not finite
        lines.append((x, values, paint))
        if quartiles is not None:
            ax.fill_between(at, *interrupted(ends, quartiles)[0], color=paint, alpha=0.2, linewidth=0)
        if prefix == "val" and np.isfinite(values).any():
            _mark_best(ax, x, values, name, paint, in_words=drawn.colour is None)
    return lines


def _mark_best(ax: Any, x: np.ndarray, values: np.ndarray, name: str, colour: str, in_words: bool) -> None:
    try:
        lower = direction(name) == "min"
    except ValueError:  # a metric of which nobody said which way is better
        return
    finite = np.where(np.isfinite(values), values, np.nan)
    best = int(np.nanargmin(finite) if lower else np.nanargmax(finite))
    ax.plot(x[best], values[best], "o", color=colour, markersize=5, markerfacecolor="white", zorder=5)
    if in_words:
        across = (x[best] - x[0]) / ((x[-1] - x[0]) or 1)
        ax.annotate(
            f"{values[best]:.3g}",
            (x[best], values[best]),
            xytext=(0, -6),  # below: of an accuracy, the training curve is above
            textcoords="offset points",
            ha="left" if across < 0.1 else "right" if across > 0.9 else "center",
            va="top",
            fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
        )


def _dress(ax: Any, metric: str, drawn: list[list[Line]]) -> None:
    """Scales, ticks and title of one panel, of the lines of each run."""
    ax.set_title("learning rate" if metric == "lr" else shown(metric.replace("_", " ")), fontsize=10)
    ax.margins(x=0.02, y=0.13)  # room below for the number at the best epoch
    ax.xaxis.get_major_locator().set_params(integer=True)
    finite = [np.concatenate([values[np.isfinite(values)] for _, values, _ in lines]) for lines in drawn if lines]
    finite = [values for values in finite if values.size]
    if _is_log(metric, finite):
        ax.set_yscale("log")
        _limit(ax, metric, [np.log10(values[values > 0]) for values in finite], log=True)
        return
    _limit(ax, metric, finite, log=False)
    if metric == "lr":
        ax.set_ylim(bottom=0)
    low, high = ax.dataLim.intervaly
    if metric == "rho" and low < 1.5 and high > -1.5:  # a few steps that promised next to nothing would hide the others
        ax.set_ylim(max(min(low, 0) - 0.1, -1.5), min(max(high, 1) + 0.1, 1.5))
    ax.ticklabel_format(axis="y", scilimits=(-3, 4), useOffset=False)  # 3e-4 rather than 0.00030
    ax.yaxis.get_offset_text().set_fontsize(7)


def _is_log(metric: str, finite: list[np.ndarray]) -> bool:
    """Whether a panel has a logarithmic axis: losses and norms by their usual range, rates of runs by their largest."""
    if metric == "lr":
        tops = [float(values.max()) for values in finite]
        return len(tops) > 1 and 1e200 > max(tops) > WIDE * min(tops) > 1e-200
    if not finite or not metric.endswith(("loss", "grad_norm")) or min(values.min() for values in finite) <= 1e-200:
        return False
    low, high = typical([np.log10(values) for values in finite], log=True)
    return high < 200 and high - low > np.log10(WIDE)  # beyond that, the margins of the axis overflow


def _limit(ax: Any, metric: str, runs: list[np.ndarray], log: bool) -> None:
    """Limits of y where single runs lie far beyond the usual, or rates end in nearly nothing; of exponents, if log."""
    if not runs:
        return
    low, high = float(min(map(np.min, runs))), float(max(map(np.max, runs)))
    shown_low, shown_high = (low, high) if metric == "lr" else typical(runs, log)
    if metric == "lr" and log:
        shown_low = max(low, high - 6)
    if (shown_low, shown_high) != (low, high):
        margin = 0.13 * ((shown_high - shown_low) or abs(shown_high) or 1)
        limits = shown_low - margin, shown_high + margin
        ax.set_ylim(*(10.0**limit for limit in limits) if log else limits)


def _mark_outside(ax: Any, lines: list[Line]) -> None:
    """Arrows where lines leave the axis, crosses where a number is not finite, and above the panel what they are."""
    low, high = ax.get_ylim()
    said, farthest = [], 0.0
    for x, values, colour in lines:
        with np.errstate(invalid="ignore"):
            above, below = np.isfinite(values) & (values > high), np.isfinite(values) & (values < low)
        if ax.get_yscale() == "log":
            below &= values > 0
        for there, height, mark in ((above, 1, "^"), (below, 0, "v"), (~np.isfinite(values), 0.05, "x")):
            at = x[there][:: max(1, there.sum() // 12)]
            look = {"c": colour, "s": 14, "linewidths": 1.2 if mark == "x" else 0, "clip_on": False, "zorder": 5}
            if len(at):
                ax.scatter(at, np.full(len(at), height), marker=mark, transform=ax.get_xaxis_transform(), **look)
        farthest = max([farthest, *values[above | below]], key=abs)
        if not np.isfinite(values).all() and "crosses: not finite" not in said:
            said.append("crosses: not finite")
    if farthest:
        said.insert(0, f"arrows: to {number(farthest, 2)}")
    if said:
        ax.title.set(x=0, ha="left")  # to make room
        ax.set_title("\n".join(said), loc="right", fontsize=7)


def _share_epochs(axes: list[Any], text: str) -> None:
    """The same for all panels, so that what is one above the other happened at one time; named below the lowest."""
    first, last = min(ax.dataLim.x0 for ax in axes), max(ax.dataLim.x1 for ax in axes)
    margin = 0.02 * (last - first) or 1
    for ax in axes:
        ax.set_xlim(first - margin, last + margin)
    lowest = {ax.get_subplotspec().colspan.start: ax for ax in axes}
    for ax in lowest.values():
        ax.set_xlabel(text, fontsize=9)


def _legend_below(figure: Figure, groups: list[Shown], columns: int, note: str) -> None:
    """Below the panels, where it hides nothing: a note, then of several runs colours and marks, and that styles are
    training and validation.
    """
    from matplotlib.lines import Line2D

    look: list[dict[str, Any]] = [{"label": shown(g.label), "color": g.colour, "marker": g.mark} for g in groups]
    look += [{"label": label, "color": "gray", "linestyle": line} for _, label, line in PARTS if label and groups]
    handles = [Line2D([], [], markersize=3.5, **item) for item in look]
    text: dict[str, Any] = {"title": note or None, "fontsize": 8, "title_fontsize": 8}
    figure.legend(handles=handles, loc="outside lower center", frameon=False, ncols=columns, **text)


# Findings -------------------------------------------------------------------------------------------------------------


def _detected(findings: Any, run: Run) -> list[tuple[str, tuple[int, int], str]]:
    """(id, steps, severity) of what was found; the run's own findings if none are given, the last of each id."""
    own = [event["d"] for event in run.select("finding")]
    given = own if findings is None else list(getattr(findings, "findings", findings))
    found: dict[str, tuple[Any, str, bool]] = {}
    for item in given:
        get = item.get if isinstance(item, Mapping) else lambda key, item=item: getattr(item, key, None)
        steps: Any = get("step_range")
        pair = isinstance(steps, list | tuple) and len(steps) == 2
        whole = pair and all(type(step) is int and abs(step) < 2**53 for step in steps)
        found[str(get("id"))] = (steps if whole else None, str(get("severity")), get("verdict") in (None, "detected"))
    return [(name, (min(s), max(s)), severity) for name, (s, severity, there) in found.items() if there and s is not None]


def _shade(axes: list[Any], found: list[tuple[str, tuple[int, int], str]], run: Run | None) -> None:
    """The windows of findings in all panels, and their names in the first, one below the other."""
    for i, (name, steps, severity) in enumerate(found):
        first, last = (float(s) for s in (_epochs_of(run, np.array(steps)) if run is not None else steps))
        colour = SEVERITY.get(severity, "#777777")
        for ax in axes:
            limits = ax.get_xlim()
            hatch = "////" if severity in ("critical", "error") else None
            ax.axvspan(first, last, facecolor=colour, alpha=0.13, edgecolor=colour, hatch=hatch, linewidth=0, zorder=0)
            for edge in {first, last}:
                ax.axvline(edge, color=colour, linewidth=0.7, linestyle=":", zorder=0)
            ax.set_xlim(limits)
        low, high = axes[0].get_xlim()
        right = first - low > 0.55 * (high - low)
        axes[0].annotate(
            shown(name),
            (min(last, high) if right else max(first, low), 1),
            xycoords=axes[0].get_xaxis_transform(),
            xytext=(-2 if right else 2, -2 - 9 * i),
            textcoords="offset points",
            ha="right" if right else "left",
            va="top",
            fontsize=7,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
            annotation_clip=False,
        )
