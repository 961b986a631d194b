"""Metrics of predicted numbers: absolute and squared errors, and the share of the variance that is explained.

Targets and predictions are arrays of one shape, [n] or [n, columns]. For several columns `multioutput` says what to answer:
"uniform_average" (their mean), "raw_values" (one number each) or one weight per column. Import from monitor.metrics.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from monitor.metrics.inputs import metric, over_columns, target_pair

INF = float("inf")


@metric("min", 0, INF, needs="targets")
def mean_absolute_error(
    y_true: Any, y_pred: Any, *, sample_weight: Any = None, multioutput: Any = "uniform_average"
) -> Any:
    """mean |y_true - y_pred|, in the units of the target.

    >>> mean_absolute_error([1, 2, 3], [2, 2, 5])
    1.0
    """
    true, pred, weight = target_pair(y_true, y_pred, sample_weight)
    return over_columns(np.average(np.abs(true - pred), axis=0, weights=weight), multioutput)


@metric("min", 0, INF, needs="targets")
def mean_squared_error(y_true: Any, y_pred: Any, *, sample_weight: Any = None, multioutput: Any = "uniform_average") -> Any:
    """mean (y_true - y_pred)^2."""
    return over_columns(_squared(y_true, y_pred, sample_weight), multioutput)


@metric("min", 0, INF, needs="targets")
def root_mean_squared_error(
    y_true: Any, y_pred: Any, *, sample_weight: Any = None, multioutput: Any = "uniform_average"
) -> Any:
    """sqrt(mean (y_true - y_pred)^2), in the units of the target; of several columns the mean of their roots."""
    return over_columns(np.sqrt(_squared(y_true, y_pred, sample_weight)), multioutput)


@metric("min", 0, INF, needs="targets")
def median_absolute_error(
    y_true: Any, y_pred: Any, *, sample_weight: Any = None, multioutput: Any = "uniform_average"
) -> Any:
    """median |y_true - y_pred|: half of the examples err by less, whatever the others do."""
    true, pred, weight = target_pair(y_true, y_pred, sample_weight)
    medians = [_median(column, weight) for column in np.abs(true - pred).T]
    return over_columns(np.array(medians), multioutput)


@metric("min", 0, INF, needs="targets")
def max_error(y_true: Any, y_pred: Any) -> float:
    """The largest |y_true - y_pred| of all."""
    true, pred, _ = target_pair(y_true, y_pred)
    return float(np.abs(true - pred).max())


@metric("max", -INF, 1, needs="targets")
def r2_score(
    y_true: Any,
    y_pred: Any,
    *,
    sample_weight: Any = None,
    multioutput: Any = "uniform_average",
    force_finite: bool = True,
) -> Any:
    """1 - (squared error) / (squared error of always answering the mean).

    1 is perfect, 0 no better than the mean. A constant target scores 1 if it is met exactly, else 0 (with
    force_finite=False: nan and -inf); a single example nan. multioutput="variance_weighted" weights the columns by their
    spread.

    >>> r2_score([1, 2, 3], [1, 2, 4])
    0.5
    """
    true, pred, weight = target_pair(y_true, y_pred, sample_weight)
    if len(true) < 2:
        return over_columns(np.full(true.shape[1], np.nan), multioutput, np.zeros(true.shape[1]))
    return _explained(weight @ np.square(true - pred), true, weight, multioutput, force_finite)


@metric("max", -INF, 1, needs="targets")
def explained_variance(
    y_true: Any,
    y_pred: Any,
    *,
    sample_weight: Any = None,
    multioutput: Any = "uniform_average",
    force_finite: bool = True,
) -> Any:
    """1 - Var(y_true - y_pred) / Var(y_true): as r2_score, but a constant shift of all predictions costs nothing.

    >>> explained_variance([1, 2, 3], [11, 12, 13])
    1.0
    """
    true, pred, weight = target_pair(y_true, y_pred, sample_weight)
    error = true - pred
    error = error - np.average(error, axis=0, weights=weight)
    return _explained(weight @ np.square(error), true, weight, multioutput, force_finite)


def _explained(error: np.ndarray, true: np.ndarray, weight: np.ndarray, multioutput: Any, force_finite: bool) -> Any:
    """1 - error / spread per column, and the conventions where the spread is 0."""
    spread = weight @ np.square(true - np.average(true, axis=0, weights=weight))
    constant = np.where(error == 0, 1.0, 0.0) if force_finite else np.where(error == 0, np.nan, -np.inf)
    scores = np.where(spread > 0, 1 - error / np.where(spread > 0, spread, 1), constant)
    return over_columns(scores, multioutput, spread)


def _squared(y_true: Any, y_pred: Any, sample_weight: Any) -> np.ndarray:
    true, pred, weight = target_pair(y_true, y_pred, sample_weight)
    return np.average(np.square(true - pred), axis=0, weights=weight)


def _median(values: np.ndarray, weight: np.ndarray) -> float:
    """The value with half of the weight below it; between two such values, their mean."""
    values, weight = values[weight > 0], weight[weight > 0]
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weight[order])
    half = below[-1] / 2
    low, high = (int(np.searchsorted(below, half, side)) for side in ("left", "right"))
    return float((values[order][low] + values[order][min(high, len(order) - 1)]) / 2)
