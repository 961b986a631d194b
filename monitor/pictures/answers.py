"""Pictures of what a model does: its confusions, its decision boundary, its fit to a curve.

The model is any function from inputs [n, features] to outputs; like everything here it may come from any library. The
`style` is "paper" or "slides" (style.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from monitor.arrays import on_host
from monitor.metrics import confusion_matrix
from monitor.outputs import answers, probabilities
from monitor.pictures.style import COLOURS, MARKERS, STYLES, canvas, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Classes --------------------------------------------------------------------------------------------------------------


def plot_confusion_matrix(
    y_true: Any, y_pred: Any, names: Sequence[Any] | None = None, normalize: str | None = None, *, style: str = "paper"
) -> Figure:
    """Rows are true classes, columns predicted ones; the shade is the share of the row, the number the count.

    `names` are the classes themselves, or what to call classes 0, 1, 2 ... With normalize="true" the numbers are percent of
    the row as well, with "pred" shade and number are of the column, with "all" of all examples. With more than 30 classes
    the shades stand alone.
    """
    found = np.unique(np.concatenate([np.ravel(y_true), np.ravel(y_pred)])).tolist()
    names = found if names is None else list(names)
    labels = names if set(found) <= set(names) else list(range(len(names)))
    if not set(found) <= set(labels):
        raise ValueError(f"the classes are {found}, which names={names} does not cover")
    counts = confusion_matrix(y_true, y_pred, labels=labels)
    shares = confusion_matrix(y_true, y_pred, labels=labels, normalize=normalize or "true")
    n, zoom = len(names), STYLES.get(style, 1.0)
    cell = min(4.6 / n, 0.42) / zoom**0.5  # inches on the sheet
    figure, axes = canvas(1, 1, (zoom * (1.6 + cell * n), zoom * (1.4 + cell * n)), style)
    ax = axes[0, 0]
    ax.grid(False)
    image = ax.imshow(shares, cmap="Blues", norm=_by_root(shares.max() if normalize == "all" else 1.0))
    if n <= 30:
        texts = {(i, j): _percent(shares[i, j]) if normalize else str(counts[i, j]) for i, j in np.argwhere(counts)}
        size = min(8.0, 72 * cell / (0.65 * max(map(len, texts.values()))))
        for (i, j), text in texts.items():
            dark = image.norm(shares[i, j]) > 0.6
            ax.text(j, i, text, ha="center", va="center", fontsize=size, color="white" if dark else "black")
    _name_classes(ax, [shown(name, 20) for name in names])
    whole = {"pred": "column", "all": "all examples"}.get(str(normalize), "row")
    if n > 30 or normalize:
        bar = figure.colorbar(image, ax=ax, shrink=0.8, aspect=30, ticks=_ticks_of_share(image.norm.vmax))
        bar.ax.tick_params(labelsize=8)
        bar.set_label(f"share of the {whole}" if whole != "all examples" else "share of all examples", fontsize=9)
    return figure


def _by_root(top: float) -> Any:
    """Shades by the square root of a share, so that one percent can be seen."""
    from matplotlib.colors import PowerNorm

    return PowerNorm(0.5, 0, top or 1.0)


def _ticks_of_share(top: float) -> list[float]:
    return [t for t in (0, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1) if t <= top and (t == 0 or t > top / 200)]


def _percent(share: float) -> str:
    """
    >>> _percent(1.0), _percent(0.254), _percent(0.004)
    ('100', '25', '.4')
    """
    return f"{100 * share:.0f}" if share >= 0.0095 else f"{100 * share:.1f}".lstrip("0")


def _name_classes(ax: Any, names: list[str]) -> None:
    """Every class by its name where there is room, else every few."""
    n = len(names)
    every = 1 if n <= 40 else next(step for step in (2, 5, 10, 20, 50, 100, n) if n / step <= 40)
    at = range(0, n, every)
    turned = 45 if max(map(len, names)) > 3 else 90 if n > 20 and max(map(len, names)) > 1 else 0
    slanted = {"rotation": turned, "ha": "right", "rotation_mode": "anchor"} if turned else {}
    if turned == 90:
        slanted["va"] = "center"
    size = 8 if n <= 20 else 6
    ax.set_xticks(at, [names[i] for i in at], fontsize=size, **slanted)
    ax.set_yticks(at, [names[i] for i in at], fontsize=size)
    ax.set_xlabel("predicted", fontsize=9)
    ax.set_ylabel("true", fontsize=9)


def plot_decision_boundary(
    predict: Callable, x: Any, y: Any, title: str = "", resolution: int = 200, *, style: str = "paper"
) -> Figure:
    """The class that `predict` gives to every point of the plane, faint where it is unsure, with the data on top.

    `predict` maps points [n, 2] to class probabilities or logits [n, classes]; a line is drawn where the class changes.
    """
    x, y = _points(x, y, 2)
    figure, axes = canvas(1, 1, (4.6, 4.2), style)
    marks = _plane(axes[0, 0], predict, x, y, resolution)
    _legend_of_classes(figure, marks)
    axes[0, 0].set_xlabel("first input", fontsize=9)
    axes[0, 0].set_ylabel("second input", fontsize=9)
    axes[0, 0].set_title(shown(title, 60), fontsize=10)
    return figure


def plot_decision_film(
    predictors: Sequence[Callable],
    x: Any,
    y: Any,
    titles: Sequence[Any] | None = None,
    *,
    columns: int = 5,
    resolution: int = 120,
    style: str = "paper",
) -> Figure:
    """The decision boundary of several models, or of one model at several times, side by side.

    Each is a function as plot_decision_boundary takes it: a model, or `lambda x, w=weights: ...`. All panels show the same
    data on the same scale; `titles` is one text each, such as the epoch.
    """
    x, y = _points(x, y, 2)
    predictors = [predictors] if callable(predictors) else list(predictors)
    titles = [""] * len(predictors) if titles is None else list(titles)
    if not predictors or len(titles) != len(predictors):
        raise ValueError(f"plot_decision_film needs models and one title for each, got {len(predictors)} and {len(titles)}")
    rows = -(-len(predictors) // columns)
    columns = -(-len(predictors) // rows)  # as few as will do, so that rows are alike
    side = min(1.7, 5.8 / columns)
    figure, axes = canvas(rows, columns, (0.7 + side * columns, (side + 0.2) * rows), style)
    for ax in axes.flat[len(predictors) :]:
        ax.remove()
    for ax, predict, title in zip(axes.flat, predictors, titles, strict=False):
        marks = _plane(ax, predict, x, y, resolution, size=2.2)
        ax.set_title(shown(title, 24), fontsize=9)
        ax.set_xticks([])
        ax.set_yticks([])
    _legend_of_classes(figure, marks)
    return figure


def _plane(ax: Any, predict: Callable, x: np.ndarray, y: np.ndarray, resolution: int, size: float = 4) -> list[Any]:
    """One decision boundary; answers the marks of the classes, for a legend."""
    low, high = x.min(axis=0), x.max(axis=0)
    pad = 0.12 * np.where(high > low, high - low, 1)
    across, up = (np.linspace(a, b, resolution) for a, b in zip(low - pad, high + pad, strict=True))
    grid = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2).astype(x.dtype)
    answer = answers(predict, grid)
    if answer.ndim != 2 or answer.shape[1] < 2:
        raise ValueError(f"predict should return probabilities [n, classes], two classes or more, got {answer.shape}")
    probability = probabilities(answer)
    winner, sure = probability.argmax(axis=1), probability.max(axis=1)
    classes = probability.shape[1]
    palette = np.array([_rgb(COLOURS[i % len(COLOURS)]) for i in range(classes)])
    weight = 0.12 + 0.38 * (sure - 1 / classes) / (1 - 1 / classes)
    image = 1 - weight[:, None] * (1 - palette[winner])
    ax.grid(False)
    extent = (across[0], across[-1], up[0], up[-1])
    ax.imshow(image.reshape(resolution, resolution, 3), origin="lower", extent=extent, aspect="auto")
    for c in np.unique(winner)[1:]:  # the lowest class is bounded by the others
        lead = (probability[:, c] - np.delete(probability, c, axis=1).max(axis=1)).reshape(resolution, resolution)
        ax.contour(across, up, lead, levels=[0.0], colors="#444444", linewidths=0.8)
    marks = []
    for c, marker in zip(range(classes), MARKERS * (classes // len(MARKERS) + 1), strict=False):
        edge = {"markeredgecolor": "white", "markeredgewidth": size / 8}
        marks += ax.plot(*x[y == c].T, marker, color=palette[c], markersize=size, label=c, **edge)
    return marks


def _legend_of_classes(figure: Figure, marks: list[Any]) -> None:
    many = 1 + len(marks) // 20
    figure.legend(handles=marks, title="class", fontsize=8, title_fontsize=8, loc="outside right upper", frameon=False,
                  ncols=many)  # fmt: skip


def plot_fit(predict: Callable, x: Any, y: Any, title: str = "", *, style: str = "paper") -> Figure:
    """A one-dimensional regression: the data as points, the model's answer as a curve."""
    x, y = _points(x, y, 1)
    line = np.linspace(x.min(), x.max(), 400, dtype=x.dtype)[:, None]
    figure, axes = canvas(1, 1, (5.4, 3.6), style)
    ax = axes[0, 0]
    ax.plot(x[:, 0], y.reshape(len(x), -1)[:, 0], "o", color=COLOURS[0], markersize=3, alpha=0.5, label="data")
    ax.plot(line[:, 0], answers(predict, line).reshape(400, -1)[:, 0], "-", color=COLOURS[1], label="model")
    ax.legend(fontsize=8, frameon=False)
    ax.set_xlabel("input", fontsize=9)
    ax.set_ylabel("output", fontsize=9)
    ax.set_title(shown(title, 60), fontsize=10)
    return figure


def _points(x: Any, y: Any, features: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y as arrays, x of floats, since a grid of whole numbers would be too coarse; or an error."""
    x, y = on_host(x), on_host(y)
    if x.ndim != 2 or x.shape[1] != features or not len(x):
        raise ValueError(f"this picture needs inputs of shape [n, {features}], got {x.shape}")
    if len(x) != len(y):
        raise ValueError(f"x has {len(x)} rows, y has {len(y)}")
    return x if x.dtype.kind == "f" else x.astype(float), y


def _rgb(colour: str) -> list[float]:
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
