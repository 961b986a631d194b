"""Pictures of what a model does: its confusions, its decision boundary, its fit to a curve.

The model is any function from inputs [n, features] to outputs; like everything here it may come from any library.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from monitor.curves import COLOURS, new_figure, shown
from monitor.metrics import confusion_matrix

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_confusion_matrix(y_true: Any, y_pred: Any, names: Sequence[Any] | None = None) -> Figure:
    """Rows are true classes, columns predicted ones; the shade is the share of the row, the number the count.

    `names` are the classes themselves, or what to call classes 0, 1, 2 ...
    """
    found = np.unique(np.concatenate([np.ravel(y_true), np.ravel(y_pred)])).tolist()
    names = found if names is None else list(names)
    labels = names if set(found) <= set(names) else list(range(len(names)))
    if not set(found) <= set(labels):
        raise ValueError(f"the classes are {found}, which names={names} does not cover")
    counts = confusion_matrix(y_true, y_pred, labels=labels)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [shown(name, 20) for name in names]
    side = 2.2 + 0.36 * len(names)
    figure, axes = new_figure(size=(side, side))
    ax = axes[0, 0]
    ax.grid(False)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.argwhere(counts):
        ax.text(j, i, counts[i, j], ha="center", va="center", fontsize=8, color="white" if shares[i, j] > 0.5 else "black")
    slanted = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if max(map(len, names)) > 8 else {}
    ax.set_xticks(range(len(names)), names, **slanted)
    ax.set_yticks(range(len(names)), names)
    ax.set_xlabel("predicted")
    ax.set_ylabel("true")
    return figure


def plot_decision_boundary(predict: Callable, x: Any, y: Any, title: str = "", resolution: int = 200) -> Figure:
    """The class that `predict` gives to every point of the plane, faint where it is unsure, with the data on top.

    `predict` maps points [n, 2] to class probabilities [n, classes].
    """
    x, y = _points(x, y, 2)
    low, high = x.min(axis=0), x.max(axis=0)
    pad = 0.12 * np.where(high > low, high - low, 1)
    across, up = (np.linspace(a, b, resolution) for a, b in zip(low - pad, high + pad, strict=True))
    grid = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2).astype(x.dtype)
    probability = np.asarray(predict(grid))
    if probability.ndim != 2 or probability.shape[1] < 2:
        raise ValueError(f"predict should return probabilities [n, classes], two classes or more, got {probability.shape}")
    winner, sure = probability.argmax(axis=1), probability.max(axis=1)
    classes = probability.shape[1]
    palette = np.array([_rgb(COLOURS[i % len(COLOURS)]) for i in range(classes)])
    weight = 0.12 + 0.38 * (sure - 1 / classes) / (1 - 1 / classes)
    image = 1 - weight[:, None] * (1 - palette[winner])
    figure, axes = new_figure(size=(4.6, 4.2))
    ax = axes[0, 0]
    ax.grid(False)
    extent = (across[0], across[-1], up[0], up[-1])
    ax.imshow(image.reshape(resolution, resolution, 3), origin="lower", extent=extent, aspect="auto")
    for c, marker in zip(range(classes), "osD^vPX*" * (classes // 8 + 1), strict=False):
        points = x[y == c]
        ax.plot(*points.T, marker, color=palette[c], markersize=4, markeredgecolor="white", markeredgewidth=0.5, label=c)
    figure.legend(title="class", fontsize=8, title_fontsize=8, loc="outside right upper", frameon=False)
    ax.set_title(shown(title, 60), fontsize=10)
    return figure


def plot_fit(predict: Callable, x: Any, y: Any, title: str = "") -> Figure:
    """A one-dimensional regression: the data as points, the model's answer as a curve."""
    x, y = _points(x, y, 1)
    line = np.linspace(x.min(), x.max(), 400, dtype=x.dtype)[:, None]
    figure, axes = new_figure(size=(5.4, 3.6))
    ax = axes[0, 0]
    ax.plot(x[:, 0], y.reshape(len(x), -1)[:, 0], "o", color=COLOURS[0], markersize=3, alpha=0.5, label="data")
    ax.plot(line[:, 0], np.asarray(predict(line)).reshape(400, -1)[:, 0], "-", color=COLOURS[1], label="model")
    ax.legend(fontsize=8, frameon=False)
    ax.set_title(shown(title, 60), fontsize=10)
    return figure


def _points(x: Any, y: Any, features: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y as arrays, x of floats, since a grid of whole numbers would be too coarse; or an error."""
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim != 2 or x.shape[1] != features or not len(x):
        raise ValueError(f"this picture needs inputs of shape [n, {features}], got {x.shape}")
    if len(x) != len(y):
        raise ValueError(f"x has {len(x)} rows, y has {len(y)}")
    return x if x.dtype.kind == "f" else x.astype(float), y


def _rgb(colour: str) -> list[float]:
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
