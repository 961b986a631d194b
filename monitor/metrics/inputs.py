"""What the metrics are given: checked once, in words that say what to do, and turned into arrays.

Also what a metric says of itself (`metric`), and the two ways of dividing and averaging that all of them share.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np

F = TypeVar("F", bound=Callable)
MULTIOUTPUT = ("raw_values", "uniform_average", "variance_weighted")


def metric(direction: str, low: float, high: float, needs: str) -> Callable[[F], F]:
    """Marks a function (y_true, y_pred) as a metric: its attributes `direction`, `range` and `needs`.

    direction is "max" where more is better, else "min"; range is (low, high), the least and the greatest answer; needs is
    what stands beside y_true: "classes" (predicted class numbers), "scores" (class probabilities, [n, classes], or one
    column for the second of two classes) or "targets" (predicted numbers).
    """

    def mark(function: F) -> F:
        function.__dict__.update(direction=direction, range=(low, high), needs=needs)
        return function

    return mark


def attribute_of(function: Any, name: str) -> Any:
    """An attribute of a metric, or of the function in it whose arguments functools.partial has filled in; else None."""
    while isinstance(function, partial) and not hasattr(function, name):
        function = function.func
    return getattr(function, name, None)


# Classes --------------------------------------------------------------------------------------------------------------


def class_pair(y_true: Any, y_pred: Any) -> tuple[np.ndarray, np.ndarray]:
    """Two 1-D arrays of classes of one length, or an error."""
    true, pred = np.asarray(y_true), np.asarray(y_pred)
    if true.shape != pred.shape or true.ndim != 1:
        hint = ""
        if pred.ndim == 2:
            hint = " (for outputs of a network, pass outputs.argmax(axis=-1); for one column, y_pred.ravel())"
        raise ValueError(f"y_true and y_pred must be 1-D and of one length, got {true.shape} and {pred.shape}{hint}")
    true, pred = classes_of("y_true", true), classes_of("y_pred", pred)
    same_kind("y_true", true, "y_pred", pred)
    return true, pred


def classes_of(name: str, values: Any) -> np.ndarray:
    """A 1-D array of classes: whole numbers, booleans or text; what is none is an error, not a class that never matches."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name} must be 1-D, one class per example, got the shape {array.shape}")
    if not array.size:
        raise ValueError("there are no examples to score")
    if array.dtype.kind == "O" and all(isinstance(item, str) for item in array):
        array = array.astype(str)
    if array.dtype.kind == "f":
        odd = array[~np.isfinite(array) | (array != np.round(array))]
        if odd.size:
            raise ValueError(
                f"{name} has values such as {odd[0]:.4g}, which are no classes: turn probabilities into classes "
                "(y_pred > 0.5), logits too (y_pred > 0), or use a metric of scores (roc_auc, log_loss) or of numbers "
                "(mean_squared_error, r2_score)"
            )
    elif array.dtype.kind not in "biuUS":
        raise TypeError(f"{name} must hold classes (whole numbers, booleans or text), got {array.dtype}")
    return array


def same_kind(name: str, a: np.ndarray, other: str, b: np.ndarray) -> None:
    """An error where text is compared with numbers: nothing would ever match."""
    if (a.dtype.kind in "US") != (b.dtype.kind in "US"):
        text, numbers = (name, other) if a.dtype.kind in "US" else (other, name)
        raise TypeError(f"{text} holds text and {numbers} numbers: name the classes alike in both")


def chosen(labels: Any, *found: np.ndarray) -> np.ndarray:
    """The classes to score: those in `labels`, in its order, or all that are found, sorted."""
    if labels is None:
        return np.unique(np.concatenate(found))
    classes = np.asarray(list(labels) if isinstance(labels, range) else labels)
    if classes.ndim != 1 or not classes.size:
        raise ValueError(f"labels must be a list of classes, one or more, got {labels!r}")
    if len(np.unique(classes)) < len(classes):
        raise ValueError(f"labels has a class twice: {classes.tolist()}")
    same_kind("labels", classes, "y_true", found[0])
    return classes


def positions(classes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The index in `classes` of every value; -1 where it is none of them.

    >>> positions(np.array([5, 2]), np.array([2, 2, 5, 7])).tolist()
    [1, 1, 0, -1]
    """
    order = np.argsort(classes)
    at = np.searchsorted(classes[order], values).clip(max=len(classes) - 1)
    return np.where(classes[order][at] == values, order[at], -1)


# Weights, targets, averages -------------------------------------------------------------------------------------------


def weights_of(sample_weight: Any, n: int) -> np.ndarray:
    """One weight per example, all 1 if None is given."""
    if sample_weight is None:
        return np.ones(n)
    weight = np.asarray(sample_weight, float)
    if weight.shape != (n,):
        raise ValueError(f"sample_weight must have one weight per example, shape ({n},), got {weight.shape}")
    if not np.isfinite(weight).all() or (weight < 0).any() or not weight.any():
        raise ValueError("sample_weight must be finite and not negative, and not all of it zero")
    return weight


def finite(name: str, values: Any) -> np.ndarray:
    """An array of floats without nan or infinity, in its own precision; whole numbers become float64."""
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold numbers, got {array.dtype}")
    array = array if array.dtype.kind == "f" else array.astype(float)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} has nan or infinite values, of which there is no score: has the training diverged?")
    return array


def target_pair(y_true: Any, y_pred: Any, sample_weight: Any = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Targets and predictions as float64 [n, columns], and the weights [n]."""
    true, pred = np.asarray(y_true, float), np.asarray(y_pred, float)
    if true.shape != pred.shape:
        raise ValueError(f"y_true and y_pred must have one shape, got {true.shape} and {pred.shape}")
    if not true.size:
        raise ValueError("there are no examples to score")
    if not true.ndim:
        raise ValueError("y_true and y_pred must be arrays, one row per example, got a number each")
    n = len(true)
    return finite("y_true", true).reshape(n, -1), finite("y_pred", pred).reshape(n, -1), weights_of(sample_weight, n)


def over_columns(scores: np.ndarray, multioutput: Any, variance: np.ndarray | None = None) -> Any:
    """One number of the scores of the columns: their mean, a weighted mean, or (raw_values) all of them."""
    if isinstance(multioutput, str):
        if multioutput == "raw_values":
            return scores
        if multioutput == "uniform_average":
            return float(scores.mean())
        if multioutput == "variance_weighted" and variance is not None:
            return float(np.average(scores, weights=variance if variance.any() else None))
        allowed = [repr(name) for name in MULTIOUTPUT if variance is not None or name != "variance_weighted"]
        raise ValueError(f"multioutput must be {', '.join(allowed)} or one weight per column, got {multioutput!r}")
    weights = np.asarray(multioutput, float)
    if weights.shape != scores.shape:
        raise ValueError(f"multioutput must have one weight per column, {len(scores)}, got the shape {weights.shape}")
    return float(np.average(scores, weights=weights))


def ratio(a: np.ndarray, b: np.ndarray, otherwise: float) -> np.ndarray:
    """a / b, and `otherwise` where b is 0."""
    return np.divide(a, b, out=np.full(np.shape(a), float(otherwise)), where=np.asarray(b) != 0)


def mean_of_known(scores: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The mean of the scores that are not nan; plain where all weights are 0."""
    known = ~np.isnan(scores)
    if not known.any():
        return float("nan")
    if weights is None or not weights[known].any():
        return float(scores[known].mean())
    return float(np.average(scores[known], weights=weights[known]))
