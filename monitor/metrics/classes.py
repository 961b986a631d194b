"""Metrics of predicted classes: accuracy, precision, recall, F1, confusions, agreement beyond chance, the report.

Classes are whole numbers, booleans or text, one per example. In a confusion matrix rows are the true classes and columns
the predicted ones; almost everything here is a line of arithmetic on it. Import from monitor.metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from monitor.metrics.inputs import chosen, class_pair, mean_of_known, metric, positions, ratio, weights_of

AVERAGES = ("binary", "macro", "weighted", "micro", None)


@metric("max", 0, 1, needs="classes")
def accuracy(y_true: Any, y_pred: Any, *, normalize: bool = True, sample_weight: Any = None) -> float:
    """The share of right predictions; with normalize=False their number (or weight).

    >>> accuracy([0, 1, 2, 2], [0, 1, 1, 2])
    0.75
    """
    true, pred = class_pair(y_true, y_pred)
    weight = weights_of(sample_weight, len(true))
    right = float(np.sum(weight * (true == pred)))
    return right / float(weight.sum()) if normalize else right


@metric("max", 0, 1, needs="classes")
def balanced_accuracy(y_true: Any, y_pred: Any, *, sample_weight: Any = None, adjusted: bool = False) -> float:
    """The mean recall of the classes that there are in y_true, so that a rare class counts as much as a common one.

    `adjusted` moves a guesser's 1 / classes to 0 and leaves 1 at 1; of a single class that is nan.

    >>> balanced_accuracy([0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 1])
    0.75
    """
    true, pred = class_pair(y_true, y_pred)
    how = {"labels": np.unique(true), "sample_weight": sample_weight, "zero_division": np.nan}
    recalls = precision_recall_fscore_support(true, pred, **how)[1]
    score, chance = mean_of_known(recalls), 1 / np.sum(~np.isnan(recalls))
    if not adjusted:
        return score
    return float((score - chance) / (1 - chance)) if chance < 1 else float("nan")


def confusion_matrix(
    y_true: Any, y_pred: Any, labels: Any = None, *, sample_weight: Any = None, normalize: str | None = None
) -> np.ndarray:
    """counts[i, j]: how often true class i was predicted as class j; `labels` orders or selects the classes.

    Examples of other classes are left out. normalize="true" divides every row by its sum, "pred" every column, "all"
    everything; what has nothing to divide by is 0.

    >>> confusion_matrix([0, 1, 1], [0, 0, 1])
    array([[1, 0],
           [1, 1]])
    """
    if normalize not in (None, "true", "pred", "all"):
        raise ValueError(f"normalize must be 'true', 'pred', 'all' or None, got {normalize!r}")
    true, pred = class_pair(y_true, y_pred)
    classes = chosen(labels, true, pred)
    rows, columns = positions(classes, true), positions(classes, pred)
    inside = (rows >= 0) & (columns >= 0)
    size = len(classes)
    weight = None if sample_weight is None else weights_of(sample_weight, len(true))[inside]
    cells = np.bincount(rows[inside] * size + columns[inside], weight, minlength=size * size)
    counts = cells.reshape(size, size)
    if normalize is None:
        return counts
    axes = {"true": 1, "pred": 0, "all": None}
    return ratio(counts, np.broadcast_to(counts.sum(axis=axes[normalize], keepdims=True), counts.shape), 0.0)


# Precision, recall, F -------------------------------------------------------------------------------------------------


def precision_recall_fscore_support(
    y_true: Any,
    y_pred: Any,
    *,
    beta: float = 1.0,
    labels: Any = None,
    pos_label: Any = 1,
    average: str | None = None,
    sample_weight: Any = None,
    zero_division: float = 0.0,
) -> tuple[Any, Any, Any, Any]:
    """Precision, recall, F-beta and support (the number of true examples), one of each per class.

    With an average (see f1_score) one number each, and None for the support. F-beta is their harmonic mean in which
    recall counts beta times as much as precision: (1 + b^2) P R / (b^2 P + R) (van Rijsbergen 1979).
    """
    true, pred = class_pair(y_true, y_pred)
    if not 0 <= beta < np.inf:
        raise ValueError(f"beta must be 0 or more, and finite, got {beta}")
    classes = [pos_label] if _is_binary(true, pred, average, pos_label) else labels
    hits, predicted, support = _counts(true, pred, chosen(classes, true, pred), sample_weight)
    if average == "micro":
        hits, predicted, support = (np.sum(count, keepdims=True) for count in (hits, predicted, support))
    precisions, recalls = ratio(hits, predicted, zero_division), ratio(hits, support, zero_division)
    fscores = ratio((1 + beta**2) * hits, predicted + beta**2 * support, zero_division)
    if average is None:
        return precisions, recalls, fscores, support
    weights = support if average == "weighted" else None
    return mean_of_known(precisions, weights), mean_of_known(recalls, weights), mean_of_known(fscores, weights), None


def _counts(true: np.ndarray, pred: np.ndarray, classes: np.ndarray, sample_weight: Any) -> tuple[np.ndarray, ...]:
    """Per class: examples that are right, that were predicted as it, that are of it."""
    weight = None if sample_weight is None else weights_of(sample_weight, len(true))

    def count(values: np.ndarray, which: Any) -> np.ndarray:
        at = positions(classes, values)
        which = which & (at >= 0)
        return np.bincount(at[which], None if weight is None else weight[which], minlength=len(classes))

    return count(true, true == pred), count(pred, True), count(true, True)


def _is_binary(true: np.ndarray, pred: np.ndarray, average: str | None, pos_label: Any) -> bool:
    """Whether to score the positive class alone; errors for averages that there are not or that do not fit."""
    if average not in AVERAGES:
        raise ValueError(f"average must be 'binary', 'macro', 'weighted', 'micro' or None, got {average!r}")
    if average != "binary":
        return False
    found = np.unique(np.concatenate([true, pred]))
    if found.size > 2:
        raise ValueError(f"average='binary' needs two classes, found {found.size}: choose 'macro', 'weighted' or 'micro'")
    if pos_label not in found and (found.size == 2 or found.dtype.kind in "US"):
        raise ValueError(f"pos_label={pos_label!r} is none of the classes, {found.tolist()}")
    return True


@metric("max", 0, 1, needs="classes")
def precision(y_true: Any, y_pred: Any, *, average: str | None = "binary", **how: Any) -> Any:
    """Of those predicted as a class, the share that is. Arguments as for f1_score."""
    return precision_recall_fscore_support(y_true, y_pred, average=average, **how)[0]


@metric("max", 0, 1, needs="classes")
def recall(y_true: Any, y_pred: Any, *, average: str | None = "binary", **how: Any) -> Any:
    """Of those that are of a class, the share predicted as it. Arguments as for f1_score."""
    return precision_recall_fscore_support(y_true, y_pred, average=average, **how)[1]


@metric("max", 0, 1, needs="classes")
def f1_score(y_true: Any, y_pred: Any, *, average: str | None = "binary", **how: Any) -> Any:
    """The harmonic mean of precision and recall.

    average="binary" (of the class `pos_label`=1), "macro" (the plain mean over classes), "weighted" (by support),
    "micro" (of all counts), or None (one per class); labels=None; sample_weight=None. A class without examples or
    predictions, whose score would be 0 / 0, scores zero_division=0.0; with nan it is left out of the mean.

    >>> f1_score([0, 1, 1], [0, 0, 1], average="macro")
    0.6666666666666666
    """
    return precision_recall_fscore_support(y_true, y_pred, average=average, **how)[2]


@metric("max", 0, 1, needs="classes")
def fbeta_score(y_true: Any, y_pred: Any, *, beta: float, average: str | None = "binary", **how: Any) -> Any:
    """F1 with recall counting beta times as much as precision. Other arguments as for f1_score."""
    return precision_recall_fscore_support(y_true, y_pred, beta=beta, average=average, **how)[2]


# Agreement ------------------------------------------------------------------------------------------------------------


@metric("max", -1, 1, needs="classes")
def matthews_corrcoef(y_true: Any, y_pred: Any, *, sample_weight: Any = None) -> float:
    """The correlation of true and predicted classes (Matthews 1975; for several classes Gorodkin 2004).

    1 is perfect, 0 chance; also 0 where all examples are of one class or predicted as one.

    >>> matthews_corrcoef([1, 1, 1, 0], [1, 0, 1, 1])
    -0.3333333333333333
    """
    counts = confusion_matrix(y_true, y_pred, sample_weight=sample_weight).astype(float)
    of_true, of_pred, total = counts.sum(axis=1), counts.sum(axis=0), counts.sum()
    covariance = np.trace(counts) * total - of_true @ of_pred
    spread = (total**2 - of_true @ of_true) * (total**2 - of_pred @ of_pred)
    return float(covariance / np.sqrt(spread)) if spread > 0 else 0.0


@metric("max", -1, 1, needs="classes")
def cohen_kappa(y1: Any, y2: Any, *, labels: Any = None, weights: str | None = None, sample_weight: Any = None) -> float:
    """How far two labellings agree beyond chance: 1 - disagreement / disagreement expected by chance (Cohen 1960).

    For ordered classes `weights` "linear" or "quadratic" counts a disagreement by the distance. Where chance leaves no
    room for disagreement, as with a single class, the answer is nan.

    >>> cohen_kappa([0, 0, 1, 1], [0, 0, 1, 0])
    0.5
    """
    if weights not in (None, "linear", "quadratic"):
        raise ValueError(f"weights must be 'linear', 'quadratic' or None, got {weights!r}")
    counts = confusion_matrix(y1, y2, labels, sample_weight=sample_weight).astype(float)
    by_chance = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / max(counts.sum(), 1e-300)
    apart = np.abs(np.subtract.outer(np.arange(len(counts)), np.arange(len(counts))))
    cost = {None: apart > 0, "linear": apart, "quadratic": apart**2}[weights]
    expected = np.sum(cost * by_chance)
    return float(1 - np.sum(cost * counts) / expected) if expected else float("nan")


# The report -----------------------------------------------------------------------------------------------------------


def classification_report(
    y_true: Any,
    y_pred: Any,
    labels: Any = None,
    target_names: Sequence[Any] | None = None,
    *,
    sample_weight: Any = None,
    digits: int = 2,
    output_dict: bool = False,
    zero_division: float = 0.0,
) -> Any:
    """Precision, recall, F1 and support per class and averaged: a table as text, or with output_dict a dict of dicts.

    The dict: {class name: {"precision", "recall", "f1-score", "support"}, "accuracy": number, "macro avg": {...},
    "weighted avg": {...}}. Where `labels` leaves out classes that there are, "micro avg" takes the place of accuracy.
    """
    true, pred = class_pair(y_true, y_pred)
    classes = chosen(labels, true, pred)
    names = [str(name) for name in (classes if target_names is None else target_names)]
    if len(names) != len(classes):
        raise ValueError(f"there are {len(classes)} classes, {classes.tolist()}, but {len(names)} target_names")
    how = {"labels": classes, "sample_weight": sample_weight, "zero_division": zero_division}
    *scores, support = precision_recall_fscore_support(true, pred, **how)
    rows: list[tuple[str, list]] = [(name, row) for name, *row in zip(names, *scores, support, strict=True)]
    covers_all = np.isin(np.concatenate([true, pred]), classes).all()
    for average in ("micro", "macro", "weighted"):
        averages = precision_recall_fscore_support(true, pred, average=average, **how)[:3]
        title = "accuracy" if average == "micro" and covers_all else f"{average} avg"
        rows.append((title, [*averages, support.sum()]))
    return _as_dict(rows) if output_dict else _as_text(rows, len(names), digits)


def _as_dict(rows: list[tuple[str, list]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for name, row in rows:
        if name in table:
            raise ValueError(f"two rows of the report would be called {name!r}: choose other target_names")
        numbers = [number.item() if hasattr(number, "item") else number for number in row]
        table[name] = dict(zip(("precision", "recall", "f1-score", "support"), numbers, strict=True))
    if rows[-3][0] == "accuracy":
        table["accuracy"] = table["accuracy"]["f1-score"]
    return table


def _as_text(rows: list[tuple[str, list]], classes: int, digits: int) -> str:
    """Right-aligned columns, the averages after an empty line."""
    width = max(len("weighted avg"), digits, *(len(name) for name, _ in rows))
    lines = [f"{'':>{width}}  precision    recall  f1-score   support", ""]
    for i, (name, (p, r, f, support)) in enumerate(rows):
        shown = ["" if name == "accuracy" and i >= classes else f"{score:.{digits}f}" for score in (p, r)]
        lines.append(f"{name:>{width}}  {shown[0]:>9} {shown[1]:>9} {f:>9.{digits}f} {support:>9}")
    lines.insert(2 + classes, "")
    return "\n".join(lines)
