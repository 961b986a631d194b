"""Metrics of scores: how well they rank the classes (ROC, precision-recall, top k) and how true probabilities are.

y_score is [n, classes], or [n] for two classes: the score of the second, of which only the order counts in roc_curve,
roc_auc, precision_recall_curve and average_precision (probabilities and logits will both do). The columns belong to the
classes in y_true, sorted; where some may be missing there, say which there are: labels=range(10). Import from
monitor.metrics.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from monitor.metrics.inputs import chosen, classes_of, finite, mean_of_known, metric, positions, ratio, weights_of

INF = float("inf")


# Curves ---------------------------------------------------------------------------------------------------------------


def roc_curve(
    y_true: Any, y_score: Any, *, pos_label: Any = None, sample_weight: Any = None, drop_intermediate: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(false positive rate, true positive rate, thresholds): what calling every score >= threshold positive would give.

    Thresholds fall from infinity (nothing is positive). `pos_label` is 1 if the classes are 0 and 1, or -1 and 1. With
    drop_intermediate only the corners of the curve are answered. A rate that has no examples is nan.

    >>> roc_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    (array([0. , 0. , 0.5, 0.5, 1. ]), array([0. , 0.5, 0.5, 1. , 1. ]), array([ inf, 0.8 , 0.4 , 0.35, 0.1 ]))
    """
    false, true, thresholds = _counts_at_thresholds(*_binary(y_true, y_score, pos_label, sample_weight))
    if drop_intermediate and len(false) > 2:
        corner = (np.diff(false, 2) != 0) | (np.diff(true, 2) != 0)
        kept = np.concatenate([[True], corner, [True]])
        false, true, thresholds = false[kept], true[kept], thresholds[kept]
    false, true = (np.concatenate([[0.0], counts]) for counts in (false, true))
    rates = [ratio(counts, np.full_like(counts, counts[-1]), np.nan) for counts in (false, true)]
    return rates[0], rates[1], np.concatenate([[INF], thresholds])


def precision_recall_curve(
    y_true: Any, y_score: Any, *, pos_label: Any = None, sample_weight: Any = None, drop_intermediate: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(precision, recall, thresholds) of calling every score >= threshold positive; thresholds rise.

    The curve ends in precision 1, recall 0, which has no threshold. Without positive examples every recall is 1.

    >>> precision_recall_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])[:2]
    (array([0.5       , 0.66666667, 0.5       , 1.        , 1.        ]), array([1. , 1. , 0.5, 0.5, 0. ]))
    """
    false, true, thresholds = _counts_at_thresholds(*_binary(y_true, y_score, pos_label, sample_weight))
    if drop_intermediate and len(true) > 2:  # on a vertical line only its ends count
        moves = np.diff(true) != 0
        kept = np.concatenate([[True], moves[:-1] | moves[1:], [True]])
        false, true, thresholds = false[kept], true[kept], thresholds[kept]
    precisions = ratio(true, true + false, 0.0)
    recalls = true / true[-1] if true[-1] else np.ones_like(true)
    return np.append(precisions[::-1], 1.0), np.append(recalls[::-1], 0.0), thresholds[::-1]


def _binary(y_true: Any, y_score: Any, pos_label: Any, sample_weight: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(is it positive?, its score, its weight) of every example."""
    true = classes_of("y_true", y_true)
    score = finite("y_score", y_score)
    if score.ndim == 2:
        score = _second_column(score)
    if score.shape != true.shape:
        raise ValueError(f"y_score must have one score per example, shape {true.shape}, got {score.shape}")
    found = np.unique(true)
    if len(found) > 2:
        raise ValueError(f"this curve is of two classes, y_true has {len(found)}: draw one per class, y_true == c")
    if pos_label is None:
        if found.dtype.kind in "US" or not (set(found.tolist()) <= {0, 1} or set(found.tolist()) <= {-1, 1}):
            raise ValueError(
                f"the classes are {found.tolist()}: say which is the positive one, pos_label={found[-1].item()!r}"
            )
        pos_label = 1
    return true == pos_label, score, weights_of(sample_weight, len(true))


def _second_column(score: np.ndarray) -> np.ndarray:
    """The scores of the second of two classes: one column, or the second of two that are probabilities."""
    if score.shape[1] == 2 and not np.allclose(score.sum(axis=1), 1):
        raise ValueError(
            "the two columns of y_score are no probabilities: pass the difference, y_score[:, 1] - y_score[:, 0]"
        )
    return score[:, -1] if score.shape[1] <= 2 else score


def _counts_at_thresholds(
    positive: np.ndarray, score: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(false positives, true positives, thresholds) at every distinct score, falling; tied scores are one point."""
    positive, score, weight = (array[weight > 0] for array in (positive, score, weight))
    thresholds, at = np.unique(-score, return_inverse=True)
    true, false = (np.cumsum(np.bincount(at, weight * which)) for which in (positive, ~positive))
    return false, true, -thresholds


# Ranking --------------------------------------------------------------------------------------------------------------


@metric("max", 0, 1, needs="scores")
def roc_auc(
    y_true: Any,
    y_score: Any,
    *,
    average: str | None = "macro",
    sample_weight: Any = None,
    max_fpr: float | None = None,
    multi_class: str = "raise",
    labels: Any = None,
) -> Any:
    """The chance that a random positive example has a higher score than a random negative one; ties count half.

    That is the area under the ROC curve, computed by ranks (Mann & Whitney 1947); 0.5 is guessing. `max_fpr` scores the
    curve up to that false positive rate, scaled so that guessing is still 0.5 (McClish 1989). More than two classes need
    probabilities and multi_class="ovr" (each class against the rest) or "ovo" (each pair; Hand & Till 2001), and average
    "macro", "weighted" (by the number of examples), for "ovr" also "micro" or None. Where a class has no examples, or all
    of them, the answer is nan.

    >>> roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    true, score, classes = _columns(y_true, y_score, labels)
    weight = weights_of(sample_weight, len(true))
    if score.ndim == 1 or len(classes) <= 2:
        return _area(true == classes[-1], score if score.ndim == 1 else _second_column(score), weight, max_fpr)
    if max_fpr not in (None, 1.0):
        raise ValueError("max_fpr is for two classes")
    if multi_class not in ("ovr", "ovo"):
        raise ValueError(f"there are {len(classes)} classes: multi_class must be 'ovr' or 'ovo', got {multi_class!r}")
    if not np.allclose(score.sum(axis=1), 1):
        raise ValueError("with several classes y_score must hold probabilities, rows that sum to 1: softmax the logits")
    if multi_class == "ovr":
        return _one_against_rest(_area, true, score, classes, weight, average)
    if sample_weight is not None or average not in ("macro", "weighted"):
        raise ValueError("multi_class='ovo' has average 'macro' or 'weighted', and no sample_weight")
    return _one_against_one(true, score, classes, average)


def _area(positive: np.ndarray, score: np.ndarray, weight: np.ndarray, max_fpr: float | None = None) -> float:
    """P(score of a positive > score of a negative) + P(they are equal) / 2."""
    if max_fpr is not None and not 0 < max_fpr <= 1:
        raise ValueError(f"max_fpr must be in (0, 1], got {max_fpr}")
    false, true, _ = _counts_at_thresholds(positive, score, weight)
    if not (false[-1] and true[-1]):
        return float("nan")
    if max_fpr is not None and max_fpr < 1:
        return _partial_area(false / false[-1], true / true[-1], max_fpr)
    negatives = np.diff(false, prepend=0.0)  # at every threshold; above it are all positives counted before
    above = true - np.diff(true, prepend=0.0) / 2
    return float(negatives @ above / (false[-1] * true[-1]))


def _partial_area(fpr: np.ndarray, tpr: np.ndarray, limit: float) -> float:
    fpr, tpr = np.concatenate([[0.0], fpr]), np.concatenate([[0.0], tpr])
    end = np.interp(limit, fpr, tpr) if limit not in fpr else tpr[fpr == limit].max()
    inside = fpr <= limit
    x, y = np.append(fpr[inside], limit), np.append(tpr[inside], end)
    area = np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2)
    guessing = limit**2 / 2
    return float((1 + (area - guessing) / (limit - guessing)) / 2)


@metric("max", 0, 1, needs="scores")
def average_precision(
    y_true: Any,
    y_score: Any,
    *,
    average: str | None = "macro",
    pos_label: Any = None,
    sample_weight: Any = None,
    labels: Any = None,
) -> Any:
    """The area under the precision-recall curve, by steps: sum of (R_n - R_(n-1)) P_n.

    Guessing gives the share of positive examples. With more than two classes, every class against the rest, averaged as
    `average` says ("macro", "weighted", "micro" or None). Without positive examples 0. `pos_label` is the second class.

    >>> round(average_precision([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
    0.8333
    """
    true, score, classes = _columns(y_true, y_score, labels)
    weight = weights_of(sample_weight, len(true))
    if score.ndim == 2 and len(classes) > 2:
        return _one_against_rest(_step_area, true, score, classes, weight, average)
    positive = true == (classes[-1] if pos_label is None else pos_label)
    return _step_area(positive, score if score.ndim == 1 else _second_column(score), weight)


def _step_area(positive: np.ndarray, score: np.ndarray, weight: np.ndarray) -> float:
    precisions, recalls, _ = precision_recall_curve(positive, score, sample_weight=weight)
    return float(-np.diff(recalls) @ precisions[:-1])


@metric("max", 0, 1, needs="scores")
def top_k_accuracy(
    y_true: Any, y_score: Any, *, k: int = 2, normalize: bool = True, sample_weight: Any = None, labels: Any = None
) -> float:
    """The share of examples whose class is among the k with the highest scores; of tied classes the later ones win.

    One column is two classes: for k=1 the second is predicted above 0.5 if all scores are in [0, 1], else above 0.

    >>> top_k_accuracy([0, 1, 2], [[0.5, 0.2, 0.3], [0.3, 0.4, 0.3], [0.7, 0.2, 0.1]], k=2)
    0.6666666666666666
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ValueError(f"k must be a whole number, 1 or more, got {k!r}")
    true, score, classes = _columns(y_true, y_score, labels)
    weight = weights_of(sample_weight, len(true))
    at = positions(classes, true)
    if score.ndim == 1:
        threshold = 0.5 if score.min() >= 0 and score.max() <= 1 else 0.0
        hit = ((score > threshold) == (at == len(classes) - 1)) | (k > 1)
    else:
        best = np.argsort(score, axis=1, kind="stable")[:, ::-1][:, :k]
        hit = (best == at[:, None]).any(axis=1)
    return float(weight @ hit / (weight.sum() if normalize else 1))


# Probabilities --------------------------------------------------------------------------------------------------------


@metric("min", 0, INF, needs="scores")
def log_loss(y_true: Any, y_proba: Any, *, normalize: bool = True, sample_weight: Any = None, labels: Any = None) -> float:
    """The mean of -log(probability of the true class), in nats; with normalize=False the sum.

    Probabilities are cut off at the precision of their dtype, so that a class that was held impossible costs much (36 in
    float64) and not infinitely much. Guessing among c classes costs log(c).

    >>> round(log_loss([0, 1], [[0.5, 0.5], [0.25, 0.75]]), 4)
    0.4904
    """
    true, proba, classes = _probabilities(y_true, y_proba, labels)
    eps = np.finfo(proba.dtype).eps
    of_true = np.take_along_axis(proba, positions(classes, true)[:, None], axis=1)[:, 0].clip(eps, 1 - eps)
    weight = weights_of(sample_weight, len(true))
    total = float(weight @ -np.log(of_true))
    return total / float(weight.sum()) if normalize else total


@metric("min", 0, 2, needs="scores")
def brier_score(
    y_true: Any,
    y_proba: Any,
    *,
    sample_weight: Any = None,
    pos_label: Any = None,
    labels: Any = None,
    scale_by_half: bool | str = "auto",
) -> float:
    """The mean squared distance of the probabilities from 1 for the true class and 0 for the others (Brier 1950).

    It is halved with scale_by_half=True, and by default for two classes, where it then is the mean of (p - y)^2 and at
    most 1. `pos_label` is the class whose probabilities a single column holds.

    >>> brier_score([0, 1], [0.5, 0.75])
    0.15625
    """
    if pos_label is not None and labels is None:
        found = chosen(None, classes_of("y_true", y_true))
        labels = [*found[found != pos_label], pos_label]
        labels = labels if len(labels) == 2 else None
    true, proba, classes = _probabilities(y_true, y_proba, labels)
    hits = positions(classes, true)[:, None] == np.arange(len(classes))
    distance = np.square(proba - hits).sum(axis=1)
    halve = len(classes) == 2 if scale_by_half == "auto" else bool(scale_by_half)
    return float(np.average(distance, weights=weights_of(sample_weight, len(true)))) / (2 if halve else 1)


def _probabilities(y_true: Any, y_proba: Any, labels: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(classes of the examples, probabilities [n, classes], the classes), or an error."""
    true, proba, classes = _columns(y_true, y_proba, labels)
    if proba.min() < 0 or proba.max() > 1:
        raise ValueError(
            f"y_proba must hold probabilities, it has {proba.min():.4g} to {proba.max():.4g}: softmax or sigmoid the logits"
        )
    if proba.ndim == 1:
        proba = np.stack([1 - proba, proba], axis=1)
        if len(classes) == 1:
            raise ValueError(f"y_true has the one class {classes.tolist()}: pass both as labels=[...]")
    elif not np.allclose(proba.sum(axis=1), 1, rtol=np.sqrt(np.finfo(proba.dtype).eps)):
        raise ValueError("the rows of y_proba must sum to 1: softmax the logits")
    return true, proba, classes


# Several classes ------------------------------------------------------------------------------------------------------


def _columns(y_true: Any, y_score: Any, labels: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(true classes, scores [n] or [n, two or more], the classes in the order of the columns), or an error."""
    true, score = classes_of("y_true", y_true), finite("y_score", y_score)
    if score.ndim not in (1, 2) or len(score) != len(true):
        raise ValueError(f"y_score must be [n] or [n, classes] with n={len(true)}, got the shape {score.shape}")
    score = score[:, 0] if score.ndim == 2 and score.shape[1] == 1 else score
    classes = chosen(labels, true)
    if (positions(classes, true) < 0).any():
        raise ValueError(f"y_true has classes that labels={classes.tolist()} lacks")
    if score.ndim == 1 and len(classes) == 1 and set(classes.tolist()) < {0, 1}:
        classes = np.array([0, 1])
    if score.ndim == 1 and len(classes) > 2:
        raise ValueError(f"there are {len(classes)} classes, but y_score has one column: pass one column per class")
    if score.ndim == 2 and score.shape[1] != len(classes):
        raise ValueError(
            f"y_score has {score.shape[1]} columns, but y_true {len(classes)} classes: name them all as labels, such as "
            f"labels=range({score.shape[1]})"
        )
    return true, score, classes


def _one_against_rest(
    score_of: Any, true: np.ndarray, score: np.ndarray, classes: np.ndarray, weight: np.ndarray, average: str | None
) -> Any:
    """score_of(is it this class?, its score, weight) for every class, averaged."""
    if average not in ("macro", "weighted", "micro", None):
        raise ValueError(f"average must be 'macro', 'weighted', 'micro' or None, got {average!r}")
    hits = true[:, None] == classes
    if average == "micro":
        return score_of(hits.ravel(), score.ravel(), np.repeat(weight, len(classes)))
    scores = np.array([score_of(hits[:, c], score[:, c], weight) for c in range(len(classes))])
    if average is None:
        return scores
    if average == "macro":
        return float(scores.mean())
    support = weight @ hits
    return float(np.average(np.where(support > 0, scores, 0.0), weights=support))


def _one_against_one(true: np.ndarray, score: np.ndarray, classes: np.ndarray, average: str) -> float:
    """The mean over all pairs of classes that there are, each class once as the positive one."""
    present = [c for c in range(len(classes)) if (true == classes[c]).any()]
    areas, share = [], []
    for a, b in combinations(present, 2):
        inside = (true == classes[a]) | (true == classes[b])
        ones = np.ones(inside.sum())
        is_a = true[inside] == classes[a]
        areas.append((_area(is_a, score[inside, a], ones) + _area(~is_a, score[inside, b], ones)) / 2)
        share.append(inside.mean())
    return mean_of_known(np.array(areas), np.array(share) if average == "weighted" else None)
