"""Learning curves: the picture that says whether training worked.

Every function returns a Matplotlib Figure made without pyplot, so nothing pops up and nothing leaks; save it with
`figure.savefig(...)`, or let a notebook show it. Training is solid and validation dashed, in colours that colour-blind
people can tell apart (Okabe & Ito 2008) and that survive a black-and-white printer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from monitor.metrics import direction
from monitor.recorder import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = {"train": "-", "val": "--"}


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


def plot_learning_curves(runs: Run | Sequence[Run], title: str | None = None) -> Figure:
    """Loss over epochs, training against validation, with the best epoch marked; other metrics and lr beside it.

    Several runs are drawn over each other, one colour each. A loss that falls by more than a factor of 30 gets a
    logarithmic axis.
    """
    runs = [runs] if isinstance(runs, Run) else list(runs)
    panels = _panels(runs)
    if not panels:
        raise ValueError("there is nothing to draw: no series was recorded (log some, or pass validation to fit)")
    figure, axes = new_figure(1, len(panels), (0.8 + 4.0 * len(panels), 3.4))
    for ax, metric in zip(axes.flat, panels, strict=True):
        for i, run in enumerate(runs):
            _draw(ax, run, metric, i, len(runs))
        ax.set_xlabel("epoch" if all(_by_epoch(run) for run in runs) else "step")
        ax.set_title("learning rate" if metric == "lr" else metric.replace("_", " "), fontsize=10)
        if metric.endswith("loss") and _is_wide(ax):
            ax.set_yscale("log")
        if metric == "lr" or any(np.isfinite(line.get_ydata()).any() for line in ax.lines):
            ax.margins(x=0.02)
    handles = axes.flat[0].get_legend_handles_labels()[0]
    if handles:
        axes.flat[0].legend(fontsize=8, frameon=False)
    figure.suptitle(title if title is not None else ", ".join(dict.fromkeys(run.name for run in runs)), fontsize=11)
    return figure


def _panels(runs: list[Run]) -> list[str]:
    """What to draw, one panel each: loss first, then the other metrics, then the learning rate."""
    names = list(dict.fromkeys(name for run in runs for name in run.names()))
    metrics = list(dict.fromkeys(n.split("/", 1)[1] for n in names if n.startswith(("train/", "val/"))))
    metrics = [m for m in metrics if m != "running_loss" or "loss" not in metrics]
    metrics.sort(key=lambda m: m != "loss")
    return metrics + [n for n in names if "/" not in n]


def _draw(ax: Any, run: Run, metric: str, i: int, total: int) -> None:
    for part in ("train", "val") if metric != "lr" and f"/{metric}" in "".join(run.names()) else ("",):
        name = f"{part}/{metric}" if part else metric
        if name not in run.names():
            continue
        steps, epochs, values = run.points(name)
        x = epochs if _by_epoch(run) else steps
        colour = COLOURS[(i if total > 1 else 0 if part != "val" else 1) % len(COLOURS)]
        label: str | None = {"train": "training", "val": "validation"}.get(part, metric)
        if total > 1:
            label = f"{run.name} {label}" if metric == "loss" else None
        ax.plot(x, values, STYLES.get(part, "-"), color=colour, linewidth=1.6, label=label)
        if part == "val" and np.isfinite(values).any():
            _mark_best(ax, x, values, name, colour)


def _mark_best(ax: Any, x: np.ndarray, values: np.ndarray, name: str, colour: str) -> None:
    try:
        best = np.nanargmin(values) if direction(name) == "min" else np.nanargmax(values)
    except ValueError:  # a metric of which nobody said which way is better
        return
    ax.plot(x[best], values[best], "o", color=colour, markersize=5, markerfacecolor="white", zorder=5)
    ax.annotate(
        f"{values[best]:.3g}",
        (x[best], values[best]),
        xytext=(0, 7),
        textcoords="offset points",
        ha="center",
        fontsize=8,
    )


def _by_epoch(run: Run) -> bool:
    """Whether every number was recorded with its epoch."""
    return all(event.get("e") is not None for event in run.events if event["k"] in ("step", "eval"))


def _is_wide(ax: Any) -> bool:
    values = np.concatenate([np.asarray(line.get_ydata(), float) for line in ax.lines] or [np.ones(1)])
    values = values[np.isfinite(values)]
    return bool(values.size and values.min() > 0 and values.max() / values.min() > 30)
