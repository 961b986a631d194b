"""How good predictions are: scikit-learn's names, arguments and conventions, without its warnings.

The metrics are functions (y_true, y_pred), in three files by what they take: predicted classes (classes.py),
scores or probabilities (scores.py), numbers (targets.py). All are to be imported from here. Where a score
is not defined (the precision of a class that was never predicted, the ROC of a single class) each says what it answers.

Every metric knows which way is better, its least and greatest answer, and what it must be given:

>>> roc_auc.direction, roc_auc.range, roc_auc.needs
('max', (0, 1), 'scores')

So may a function of your own: set the attributes, or put it under a name into METRICS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial, update_wrapper
from typing import Any

import numpy as np

from monitor.arrays import on_host
from monitor.metrics.classes import (
    accuracy,
    balanced_accuracy,
    classification_report,
    cohen_kappa,
    confusion_matrix,
    f1_score,
    fbeta_score,
    matthews_corrcoef,
    precision,
    precision_recall_fscore_support,
    recall,
)
from monitor.metrics.inputs import attribute_of
from monitor.metrics.scores import (
    average_precision,
    brier_score,
    log_loss,
    precision_recall_curve,
    roc_auc,
    roc_curve,
    top_k_accuracy,
)
from monitor.metrics.targets import (
    explained_variance,
    max_error,
    mean_absolute_error,
    mean_squared_error,
    median_absolute_error,
    r2_score,
    root_mean_squared_error,
)
from monitor.outputs import KINDS, look_like_probabilities, probabilities

# scikit-learn's longer names for the same functions
accuracy_score, balanced_accuracy_score, cohen_kappa_score = accuracy, balanced_accuracy, cohen_kappa
precision_score, recall_score, explained_variance_score = precision, recall, explained_variance
roc_auc_score, average_precision_score, top_k_accuracy_score = roc_auc, average_precision, top_k_accuracy
brier_score_loss = brier_score

__all__ = [
    "METRICS", "accuracy", "accuracy_score", "average_precision", "average_precision_score", "balanced_accuracy",
    "balanced_accuracy_score", "brier_score", "brier_score_loss", "classification_report", "cohen_kappa",
    "cohen_kappa_score", "confusion_matrix", "direction", "explained_variance", "explained_variance_score", "f1_score",
    "fbeta_score", "log_loss", "matthews_corrcoef", "max_error", "mean_absolute_error", "mean_squared_error", "measure",
    "median_absolute_error", "precision", "precision_recall_curve", "precision_recall_fscore_support", "precision_score",
    "r2_score", "recall", "recall_score", "roc_auc", "roc_auc_score", "roc_curve", "root_mean_squared_error",
    "top_k_accuracy", "top_k_accuracy_score",
]  # fmt: skip


def _macro(function: Callable) -> Callable:
    return update_wrapper(partial(function, average="macro"), function)


def _numbered(function: Callable, **how: Any) -> Callable:
    """The metric of scores whose columns are classes 0, 1, 2 ..., whether or not y_true has them all."""

    def of_columns(y_true: Any, y_score: Any) -> Any:
        columns = y_score.shape[1] if np.ndim(y_score) == 2 else 1
        return function(y_true, y_score, labels=range(max(columns, 2)), **how)

    return update_wrapper(of_columns, function)


# By name, for training loops: functions (class numbers or targets, what their `needs` says) -> number.
METRICS: dict[str, Callable] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "precision": _macro(precision),
    "recall": _macro(recall),
    "f1_score": _macro(f1_score),
    "matthews_corrcoef": matthews_corrcoef,
    "cohen_kappa": cohen_kappa,
    "roc_auc": _numbered(roc_auc, multi_class="ovr"),
    "average_precision": _numbered(average_precision),
    "top_k_accuracy": _numbered(top_k_accuracy),
    "log_loss": _numbered(log_loss),
    "brier_score": _numbered(brier_score),
    "mean_absolute_error": mean_absolute_error,
    "mean_squared_error": mean_squared_error,
    "root_mean_squared_error": root_mean_squared_error,
    "median_absolute_error": median_absolute_error,
    "max_error": max_error,
    "r2_score": r2_score,
    "explained_variance": explained_variance,
}
SHORT = {"f1": "f1_score", "r2": "r2_score", "auc": "roc_auc"}


def direction(name: str) -> str:
    """ "min" or "max": which way is better for a metric called such as "val/loss" or "val/accuracy"."""
    last = name.rsplit("/", 1)[-1]
    function = METRICS.get(SHORT.get(last, last)) or globals().get(last)
    known = attribute_of(function, "direction")
    if known in ("min", "max"):
        return known
    if last.endswith(("loss", "error")):
        return "min"
    raise ValueError(f"is more or less of {name!r} better? Pass mode='max' or mode='min'")


def measure(metrics: Mapping[str, Callable], y_true: Any, outputs: Any, outputs_are: str = "auto") -> dict[str, float]:
    """{name: score} of a network's outputs, each metric given what it needs: classes, scores or targets.

    `outputs_are` says what the outputs are (outputs.py); with "auto", outputs [n, classes] beside class numbers [n] are a
    classification, others targets. y_true may also hold rows with a 1 for the class, or one column of 0 and 1. A function
    without `needs` is given what "classes" or "targets" are. Where outputs are nan or infinite, metrics that have it are
    nan, so that a training that diverges is recorded as such.

    >>> measure({"accuracy": accuracy, "auc": roc_auc}, [0, 0, 1], [-3.0, 0.5, 2.0], outputs_are="logits")
    {'accuracy': 0.6666666666666666, 'auc': 1.0}
    """
    if outputs_are not in KINDS:
        raise ValueError(f"outputs_are must be one of {', '.join(KINDS)}, got {outputs_are!r}")
    true, outputs = on_host(y_true), on_host(outputs)
    if outputs_are == "auto":
        classifies = true.dtype.kind in "biu" and outputs.ndim == true.ndim + 1
        outputs_are = ("probabilities" if look_like_probabilities(outputs) else "logits") if classifies else "targets"
    predicted = outputs
    if outputs_are != "targets":
        true, predicted = _as_classes(true, outputs, 0.5 if outputs_are == "probabilities" else 0.0)
    usable = bool(np.isfinite(outputs).all())
    scores: dict[str, float] = {}
    for name, function in metrics.items():
        needs = attribute_of(function, "needs")
        if needs is not None and not usable:
            scores[name] = float("nan")
        elif needs == "scores":
            scores[name] = float(function(true, _as_scores(name, outputs, outputs_are)))
        else:
            scores[name] = float(function(true, predicted))
    return scores


def _as_classes(true: np.ndarray, outputs: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """(true, predicted) class numbers [n]: the highest column, or whether the one column is above the threshold."""
    if outputs.ndim == 1 or outputs.shape[-1] == 1:
        return true.reshape(-1), (outputs.reshape(-1) > threshold).astype(int)
    if true.ndim < outputs.ndim:
        return true, outputs.argmax(axis=-1)
    if np.allclose(true.sum(axis=-1), 1):
        return true.argmax(axis=-1), outputs.argmax(axis=-1)
    return true, (outputs > threshold).astype(int)  # several labels per example, each yes or no


def _as_scores(name: str, outputs: np.ndarray, outputs_are: str) -> np.ndarray:
    if outputs_are == "targets":
        raise ValueError(f"{name} needs class scores, but the outputs are targets: it is for classification")
    both = probabilities(outputs, outputs_are)
    return both if outputs.ndim == 2 and outputs.shape[1] > 1 else both[:, 1]
