"""How good predictions are: scikit-learn's names, arguments and conventions.

All take (y_true, y_pred), class numbers or targets as arrays of one length. In a confusion matrix, rows are the true
classes and columns the predicted ones. Where a score would divide by zero (a class that was never predicted has no
precision) it is `zero_division`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

HIGHER_IS_BETTER = {"accuracy", "precision", "recall", "f1", "f1_score", "r2", "r2_score"}
LOWER_IS_BETTER = {"loss", "running_loss", "mean_absolute_error", "mean_squared_error"}


def direction(name: str) -> str:
    """ "min" or "max": which way is better for a metric called such as "val/loss" or "val/accuracy"."""
    last = name.rsplit("/", 1)[-1]
    if last in HIGHER_IS_BETTER:
        return "max"
    if last in LOWER_IS_BETTER or last.endswith(("loss", "error")):
        return "min"
    raise ValueError(f"is more or less of {name!r} better? Pass mode='max' or mode='min'")


def _labels(y_true: Any, y_pred: Any) -> tuple[np.ndarray, np.ndarray]:
    true, pred = np.asarray(y_true), np.asarray(y_pred)
    if true.shape != pred.shape or true.ndim != 1:
        hint = " (for outputs of a network, pass outputs.argmax(axis=-1))" if pred.ndim == 2 else ""
        raise ValueError(f"y_true and y_pred must be 1-D and of one length, got {true.shape} and {pred.shape}{hint}")
    if not true.size:
        raise ValueError("there are no examples to score")
    return true, pred


# Classification -------------------------------------------------------------------------------------------------------


def accuracy(y_true: Any, y_pred: Any) -> float:
    """The share of right predictions.

    >>> accuracy([0, 1, 2, 2], [0, 1, 1, 2])
    0.75
    """
    true, pred = _labels(y_true, y_pred)
    return float(np.mean(true == pred))


def confusion_matrix(y_true: Any, y_pred: Any, labels: Any = None) -> np.ndarray:
    """counts[i, j]: how often true class i was predicted as class j; `labels` orders or selects the classes.

    >>> confusion_matrix([0, 1, 1], [0, 0, 1])
    array([[1, 0],
           [1, 1]])
    """
    true, pred = _labels(y_true, y_pred)
    classes = np.unique(np.concatenate([true, pred])) if labels is None else np.asarray(labels)
    return np.array([[np.sum((true == i) & (pred == j)) for j in classes] for i in classes])


def precision_recall_f1(
    y_true: Any, y_pred: Any, labels: Any = None, zero_division: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Per class: precision, recall, F1 (their harmonic mean), and support (the number of true examples)."""
    true, pred = _labels(y_true, y_pred)
    classes = np.unique(np.concatenate([true, pred])) if labels is None else np.asarray(labels)
    hits = np.array([np.sum((true == c) & (pred == c)) for c in classes], float)
    predicted = np.array([np.sum(pred == c) for c in classes], float)
    support = np.array([np.sum(true == c) for c in classes])
    precision = _ratio(hits, predicted, zero_division)
    recall = _ratio(hits, support.astype(float), zero_division)
    f1 = _ratio(2 * hits, predicted + support, zero_division)
    return precision, recall, f1, support


def precision(y_true: Any, y_pred: Any, **how: Any) -> Any:
    """Of those predicted as a class, the share that is. Arguments as for f1_score."""
    return _averaged(0, y_true, y_pred, **how)


def recall(y_true: Any, y_pred: Any, **how: Any) -> Any:
    """Of those that are of a class, the share predicted as it. Arguments as for f1_score."""
    return _averaged(1, y_true, y_pred, **how)


def f1_score(y_true: Any, y_pred: Any, **how: Any) -> Any:
    """The harmonic mean of precision and recall.

    average="binary" (of the class `pos_label`=1), "macro" (the plain mean over classes), "weighted" (by support),
    "micro" (of all counts), or None (one per class); labels=None; zero_division=0.0.

    >>> f1_score([0, 1, 1], [0, 0, 1], average="macro")
    0.6666666666666666
    """
    return _averaged(2, y_true, y_pred, **how)


def _averaged(
    which: int,
    y_true: Any,
    y_pred: Any,
    *,
    average: str | None = "binary",
    labels: Any = None,
    pos_label: Any = 1,
    zero_division: float = 0.0,
) -> Any:
    true, pred = _labels(y_true, y_pred)
    if average not in ("binary", "macro", "weighted", "micro", None):
        raise ValueError(f"average must be 'binary', 'macro', 'weighted', 'micro' or None, got {average!r}")
    if average == "binary":
        found = np.unique(np.concatenate([true, pred]))
        if found.size > 2:
            raise ValueError(
                f"average='binary' needs two classes, found {found.size}: choose 'macro', 'weighted' or 'micro'"
            )
        if found.size == 2 and pos_label not in found:
            raise ValueError(f"pos_label={pos_label!r} is none of the classes, {found.tolist()}")
        return float(precision_recall_f1(true, pred, [pos_label], zero_division)[which][0])
    if average == "micro":
        chosen = np.unique(np.concatenate([true, pred])) if labels is None else np.asarray(labels)
        hits = float(np.sum((true == pred) & np.isin(true, chosen)))
        predicted, actual = float(np.isin(pred, chosen).sum()), float(np.isin(true, chosen).sum())
        total = (predicted, actual, (predicted + actual) / 2)[which]
        return hits / total if total else zero_division
    scores = precision_recall_f1(true, pred, labels, zero_division)
    if average is None:
        return scores[which]
    return _mean(scores[which], scores[3] if average == "weighted" else None)


def _mean(scores: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The mean over the classes that have a score (not nan, by zero_division=nan); plain where all weights are 0."""
    known = ~np.isnan(scores)
    if not known.any():
        return float("nan")
    if weights is None or not weights[known].any():
        return float(scores[known].mean())
    return float(np.average(scores[known], weights=weights[known]))


def _ratio(a: np.ndarray, b: np.ndarray, otherwise: float) -> np.ndarray:
    return np.divide(a, b, out=np.full(a.shape, float(otherwise)), where=b != 0)


def classification_report(y_true: Any, y_pred: Any, labels: Any = None, target_names: Any = None) -> str:
    """A table of precision, recall and F1 per class, with their averages, as text."""
    true, pred = _labels(y_true, y_pred)
    classes = np.unique(np.concatenate([true, pred])) if labels is None else np.asarray(labels)
    names = [str(name) for name in (classes if target_names is None else target_names)]
    if len(names) != len(classes):
        raise ValueError(f"there are {len(classes)} classes, {classes.tolist()}, but {len(names)} target_names")
    p, r, f, support = precision_recall_f1(true, pred, classes)
    rows = [(name, p[i], r[i], f[i], support[i]) for i, name in enumerate(names)]
    rows += [
        ("macro avg", *(_mean(score) for score in (p, r, f)), support.sum()),
        ("weighted avg", *(_mean(score, support) for score in (p, r, f)), support.sum()),
    ]
    width = max(len(row[0]) for row in rows)
    lines = [f"{'':>{width}}  precision    recall  f1-score   support"]
    lines += [f"{name:>{width}}  {a:9.4f} {b:9.4f} {c:9.4f} {n:9d}" for name, a, b, c, n in rows]
    lines.insert(len(names) + 1, f"{'accuracy':>{width}}  {'':9} {'':9} {accuracy(true, pred):9.4f} {support.sum():9d}")
    return "\n".join(lines)


# Regression -----------------------------------------------------------------------------------------------------------


def _targets(y_true: Any, y_pred: Any) -> tuple[np.ndarray, np.ndarray]:
    true, pred = np.asarray(y_true, float), np.asarray(y_pred, float)
    if true.shape != pred.shape:
        raise ValueError(f"y_true and y_pred must have one shape, got {true.shape} and {pred.shape}")
    if not true.size:
        raise ValueError("there are no examples to score")
    return true, pred


def mean_absolute_error(y_true: Any, y_pred: Any) -> float:
    """mean |y_true - y_pred|."""
    true, pred = _targets(y_true, y_pred)
    return float(np.abs(true - pred).mean())


def mean_squared_error(y_true: Any, y_pred: Any) -> float:
    """mean (y_true - y_pred)^2."""
    true, pred = _targets(y_true, y_pred)
    return float(np.square(true - pred).mean())


def r2_score(y_true: Any, y_pred: Any) -> float:
    """1 - (squared error) / (squared error of always answering the mean), averaged over the columns of the targets.

    1 is perfect, 0 no better than the mean. A constant target scores 1 if it is met exactly, else 0.
    """
    true, pred = (a.reshape(len(a), -1) for a in _targets(y_true, y_pred))
    error = np.square(true - pred).sum(axis=0)
    spread = np.square(true - true.mean(axis=0)).sum(axis=0)
    return float(np.where(spread > 0, 1 - _ratio(error, spread, 0.0), error == 0).mean())


METRICS = {
    "accuracy": accuracy,
    "precision": lambda t, p: precision(t, p, average="macro"),
    "recall": lambda t, p: recall(t, p, average="macro"),
    "f1_score": lambda t, p: f1_score(t, p, average="macro"),
    "mean_absolute_error": mean_absolute_error,
    "mean_squared_error": mean_squared_error,
    "r2_score": r2_score,
}
