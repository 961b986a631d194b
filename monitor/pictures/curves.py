"""Learning curves: the picture that says whether training worked.

Every function returns a Matplotlib Figure made without pyplot, so nothing pops up and nothing leaks; save it with
`figure.savefig(...)`, or let a notebook show it. Training is solid and validation dashed, in colours that colour-blind
people can tell apart (Okabe & Ito 2008) and that survive a black-and-white printer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from monitor.metrics import direction
from monitor.pictures.style import COLOURS, shown
from monitor.recorder import Run
from monitor.store import SCALARS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTS: tuple[tuple[str, str, Any], ...] = (
    ("train", "training", "-"),
    ("val", "validation", "--"),
    ("", "", "-"),
)  # prefix, its name, line style


def new_figure(rows: int = 1, columns: int = 1, size: tuple[float, float] = (6.4, 4.0)) -> tuple[Figure, Any]:
    """A Figure with a quiet style, and its array of axes [rows, columns]."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("pictures need Matplotlib: pip install matplotlib") from None
    figure = Figure(figsize=size, layout="constrained", dpi=120)
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.25, linewidth=0.6)
    return figure, axes


def plot_learning_curves(runs: Run | str | Path | Sequence[Run], title: str | None = None) -> Figure:
    """Loss over epochs, training against validation, with the best epoch marked; other metrics and lr beside it.

    `runs` is a Run, a run's folder, or several Runs, which are drawn over each other, one colour each. A loss that falls
    by more than a factor of 30 gets a logarithmic axis. Where a number was recorded without its epoch, all are drawn over
    steps.
    """
    if isinstance(runs, str | Path):
        runs = Run.open(runs)
    runs = [runs] if isinstance(runs, Run) else list(runs)
    panels = _panels(runs)
    if not panels:
        raise ValueError("there is nothing to draw: no series was recorded (log some, or pass validation to fit)")
    by_epoch = all(event.get("e") is not None for run in runs for event in run.events if event["k"] in SCALARS)
    columns = min(len(panels), 4)
    rows = -(-len(panels) // columns)
    figure, axes = new_figure(rows, columns, (0.8 + 4.0 * columns, 0.2 + 3.2 * rows))
    for ax in axes.flat[len(panels) :]:
        ax.remove()
    for ax, metric in zip(axes.flat, panels, strict=False):
        for i, run in enumerate(runs):
            _draw(ax, run, metric, by_epoch, COLOURS[i % len(COLOURS)] if len(runs) > 1 else None)
        _dress(ax, metric, by_epoch)
    if len(runs) > 1:
        _legend_of_runs(figure, runs)
    elif axes.flat[0].lines:
        axes.flat[0].legend(fontsize=8, frameon=False)
    names = ", ".join(dict.fromkeys(run.name for run in runs)) if len(runs) < 4 else f"{len(runs)} runs"
    figure.suptitle(shown(names if title is None else title, 24 * columns), fontsize=11)
    return figure


def _panels(runs: list[Run]) -> list[str]:
    """What to draw, one panel each: loss first, then the other metrics, then whatever else was recorded."""
    names = list(dict.fromkeys(name for run in runs for name in run.names()))
    metrics = [n.split("/", 1)[1] for n in names if n.startswith(("train/", "val/"))]
    metrics = [m for m in metrics if m != "running_loss" or "loss" not in metrics]
    metrics.sort(key=lambda m: m != "loss")
    return list(dict.fromkeys(metrics + [n for n in names if not n.startswith(("train/", "val/"))]))


def _draw(ax: Any, run: Run, metric: str, by_epoch: bool, colour: str | None) -> None:
    """The lines of one run in one panel; a lone run has a colour for training and one for validation."""
    for prefix, label, style in PARTS:
        name = f"{prefix}/{metric}" if prefix else metric
        if name not in run.names():
            continue
        steps, epochs, values = run.points(name)
        x = epochs if by_epoch else steps
        paint = colour or COLOURS[1 if prefix == "val" else 0]
        dot = "." if np.isfinite(values).sum() == 1 else ""  # a line through one point would not be seen
        ax.plot(x, values, style, marker=dot, color=paint, linewidth=1.6, label=label or shown(metric))
        if prefix == "val" and np.isfinite(values).any():
            _mark_best(ax, x, values, name, paint, in_words=colour is None)


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


def _dress(ax: Any, metric: str, by_epoch: bool) -> None:
    """Scales, ticks and titles of one panel."""
    ax.set_xlabel("epoch" if by_epoch else "step")
    ax.set_title("learning rate" if metric == "lr" else shown(metric.replace("_", " ")), fontsize=10)
    ax.margins(x=0.02, y=0.13)  # room below for the number at the best epoch
    ax.xaxis.get_major_locator().set_params(integer=True)
    first, last = ax.dataLim.intervalx
    if first == last:
        ax.set_xlim(first - 1, last + 1)
    if metric.endswith("loss") and _is_wide(ax):
        ax.set_yscale("log")
    else:
        if metric == "lr":
            ax.set_ylim(bottom=0)
        ax.ticklabel_format(axis="y", scilimits=(-3, 4), useOffset=False)  # 3e-4 rather than 0.00030


def _legend_of_runs(figure: Figure, runs: list[Run]) -> None:
    """Beside the panels, where it hides nothing: colours are runs, styles are training and validation."""
    from matplotlib.lines import Line2D

    entries: list[tuple[str, str, Any]] = [(shown(run.name), COLOURS[i % len(COLOURS)], "-") for i, run in enumerate(runs)]
    entries += [(label, "gray", style) for _, label, style in PARTS if label]
    handles = [Line2D([], [], color=colour, linestyle=style, label=label) for label, colour, style in entries]
    rows = int(5 * figure.get_figheight())
    columns = -(-len(handles) // rows)
    figure.legend(handles=handles, loc="outside right upper", fontsize=8, frameon=False, ncols=columns)
    figure.set_figwidth(figure.get_figwidth() + 2.4 * columns)


def _is_wide(ax: Any) -> bool:
    values = np.concatenate([np.asarray(line.get_ydata(), float) for line in ax.lines] or [np.ones(1)])
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    return 1e-200 < 30 * low < high < 1e200  # beyond that, the margins of a logarithmic axis overflow
