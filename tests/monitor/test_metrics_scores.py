"""Metrics of scores: against scikit-learn (goldens, and drawn where it is installed), by definition, and their errors."""

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor import metrics
from monitor.metrics import (
    average_precision,
    brier_score,
    log_loss,
    precision_recall_curve,
    roc_auc,
    roc_curve,
    top_k_accuracy,
)

GOLDENS = json.loads((Path(__file__).parent.parent / "goldens" / "metrics.json").read_text())
CLOSE = {"rtol": 1e-10, "atol": 1e-12}


@pytest.mark.parametrize("case", GOLDENS["scores"], ids=lambda case: case["name"])
def test_scores_are_scikit_learns(case):
    for key, expected in case["answers"].items():
        name, *how = key.split("/")
        values = [float(v) if "." in v else int(v) if v.isdecimal() else v for v in how[1::2]]
        answer = getattr(metrics, name)(case["y_true"], case["y_score"], **dict(zip(how[::2], values, strict=True)))
        if isinstance(answer, tuple):
            for mine, theirs in zip(answer, expected, strict=True):
                np.testing.assert_allclose(np.where(np.isinf(mine), 1e9, mine), theirs, err_msg=key, **CLOSE)
        else:
            np.testing.assert_allclose(answer, expected, err_msg=key, **CLOSE)


def test_the_goldens_have_ties_and_several_classes():
    assert len(GOLDENS["scores"]) >= 6
    assert any(len(set(case["y_score"])) < 12 for case in GOLDENS["scores"] if not isinstance(case["y_score"][0], list))
    assert sum(len(case["answers"]) for case in GOLDENS["scores"]) >= 40


PAIRS = st.lists(st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 3)), min_size=1, max_size=25)


@settings(max_examples=150, deadline=None)
@given(rows=PAIRS)
def test_any_two_classes_score_as_in_scikit_learn(rows):
    sk = pytest.importorskip("sklearn.metrics")
    true, score, weight = np.array(rows, int).T
    score, weight = score / 6, weight.astype(float)
    weight[0] = 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's, about what is not defined
        for how in ({}, {"sample_weight": weight}):
            for mine, theirs in [(roc_auc, sk.roc_auc_score), (average_precision, sk.average_precision_score),
                                 (brier_score, sk.brier_score_loss)]:  # fmt: skip
                np.testing.assert_allclose(mine(true, score, **how), theirs(true, score, **how), err_msg=str(mine), **CLOSE)
            both = {"labels": [0, 1], **how}
            np.testing.assert_allclose(log_loss(true, score, **both), sk.log_loss(true, score, **both), **CLOSE)
            for keep in (True, False):
                for name in ("roc_curve", "precision_recall_curve"):
                    expected = getattr(sk, name)(true, score, drop_intermediate=keep, **how)
                    answer = getattr(metrics, name)(true, score, drop_intermediate=keep, **how)
                    for a, b in zip(answer, expected, strict=True):
                        np.testing.assert_allclose(a, b, err_msg=name, **CLOSE)
        for limit in (0.1, 0.5, 0.9, 1.0):
            np.testing.assert_allclose(
                roc_auc(true, score, max_fpr=limit), sk.roc_auc_score(true, score, max_fpr=limit), **CLOSE
            )


@settings(max_examples=100, deadline=None)
@given(classes=st.integers(3, 5), n=st.integers(2, 15), seed=st.integers(0, 10**6))
def test_any_classes_score_as_in_scikit_learn(classes, n, seed):
    sk = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    true, raw = rng.integers(0, classes, n), rng.random((n, classes)).round(1) + 0.05
    proba, labels = raw / raw.sum(axis=1, keepdims=True), list(range(classes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if len(set(true.tolist())) > 1:
            for how in ({"average": "macro"}, {"average": "weighted"}, {"multi_class": "ovr", "average": None}):
                for kind in ("ovr", "ovo") if "multi_class" not in how else ("ovr",):
                    how = {**how, "multi_class": kind, "labels": labels}
                    np.testing.assert_allclose(roc_auc(true, proba, **how), sk.roc_auc_score(true, proba, **how), **CLOSE)
        for k in range(1, classes):
            expected = sk.top_k_accuracy_score(true, raw, k=k, labels=labels)
            assert top_k_accuracy(true, raw, k=k, labels=labels) == pytest.approx(expected)
        for mine, theirs in [(log_loss, sk.log_loss), (brier_score, sk.brier_score_loss)]:
            np.testing.assert_allclose(mine(true, proba, labels=labels), theirs(true, proba, labels=labels), **CLOSE)
        if len(set(true.tolist())) == classes:
            for average in ("macro", "weighted", "micro", None):
                expected = sk.average_precision_score(true, raw, average=average)
                np.testing.assert_allclose(average_precision(true, raw, average=average), expected, **CLOSE)


# By definition ----------------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(rows=PAIRS)
def test_the_area_is_the_chance_of_a_right_order(rows):
    true, score, _ = np.array(rows, int).T
    pairs = [(a > b) + (a == b) / 2 for a in score[true == 1] for b in score[true == 0]]
    if pairs:
        assert roc_auc(true, score) == pytest.approx(np.mean(pairs))
        assert roc_auc(true, -score) == pytest.approx(1 - np.mean(pairs))
        assert roc_auc(1 - true, score) == pytest.approx(1 - np.mean(pairs))
        assert roc_auc(true, score**3 + 7) == roc_auc(true, score)  # only the order counts
        fpr, tpr, _ = roc_curve(true, score)
        assert roc_auc(true, score) == pytest.approx(np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1]) / 2))
    else:
        assert math.isnan(roc_auc(true, score))


def test_by_hand():
    assert roc_auc([0, 1], [0.5, 0.5]) == 0.5
    assert roc_auc(["no", "yes", "yes"], [0.1, 0.2, 0.0]) == 0.5  # the second class is the positive one
    assert log_loss([1], [0.25], labels=[0, 1]) == -math.log(0.25)
    assert log_loss([0, 1], [0.5, 0.25], normalize=False) == -math.log(0.5) - math.log(0.25)
    assert log_loss([0, 1], [1.0, 0.0]) == pytest.approx(36.04, abs=0.01)  # impossible, and so it was
    assert log_loss([0, 1], np.array([1.0, 0.0], np.float32)) == pytest.approx(15.94, abs=0.01)
    assert brier_score([0, 1], [0.5, 0.5]) == 0.25
    assert brier_score([0, 1], [0.5, 0.5], scale_by_half=False) == 0.5
    assert brier_score([0, 2, 1], np.eye(3)[[0, 2, 2]]) == 2 / 3
    assert brier_score(["a", "b"], [0.9, 0.2], pos_label="a") == pytest.approx((0.01 + 0.04) / 2)
    assert average_precision([0, 0], [0.3, 0.2]) == 0
    assert top_k_accuracy([0, 1, 2], np.ones((3, 3)), k=1) == 1 / 3  # of tied classes the last
    assert top_k_accuracy([0, 1, 2], np.ones((3, 3)), k=3) == 1
    assert top_k_accuracy([0, 1, 1], [-1.0, 0.1, -0.1], k=1) == 2 / 3
    assert top_k_accuracy([0, 1, 1], [0.4, 0.6, 0.4], k=1) == 2 / 3
    assert top_k_accuracy([0, 1], [0.5, 0.9], k=1) == 1  # 0.5 is not above 0.5
    assert top_k_accuracy([1, 1], [[0.2, 0.8], [0.9, 0.1]], k=1, labels=[0, 1]) == 0.5


def test_two_columns_are_the_second_class():
    true, p = [0, 1, 1, 0], np.array([0.2, 0.4, 0.9, 0.6])
    both = np.stack([1 - p, p], axis=1)
    for score in (roc_auc, average_precision, log_loss, brier_score):
        assert score(true, both) == pytest.approx(score(true, p))
    with pytest.raises(ValueError, match="two columns of y_score are no probabilities: pass the difference"):
        roc_auc(true, both * 3)


# Errors -----------------------------------------------------------------------------------------------------------------

THREE = np.full((3, 3), 1 / 3)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: roc_auc([0, 1, 2], THREE),
            ValueError,
            "there are 3 classes: multi_class must be 'ovr' or 'ovo', got 'raise'",
        ),
        (lambda: roc_auc([0, 1, 2], 3 * THREE, multi_class="ovr"), ValueError, "rows that sum to 1: softmax the logits"),
        (lambda: roc_auc([0, 1, 2], [0.1, 0.2, 0.3]), ValueError, "there are 3 classes, but y_score has one column"),
        (
            lambda: roc_auc([0, 1, 1], THREE, multi_class="ovr"),
            ValueError,
            r"3 columns, but y_true 2 classes.*labels=range\(3\)",
        ),
        (
            lambda: roc_auc([0, 1, 7], THREE, labels=range(3)),
            ValueError,
            r"y_true has classes that labels=\[0, 1, 2\] lacks",
        ),
        (lambda: roc_auc([0, 1, 2], THREE, multi_class="ovo", average=None), ValueError, "'ovo' has average 'macro' or"),
        (lambda: roc_auc([0, 1, 2], THREE, multi_class="ovr", average="mean"), ValueError, "average must be .* got 'mean'"),
        (lambda: roc_auc([0, 1, 2], THREE, multi_class="ovr", max_fpr=0.5), ValueError, "max_fpr is for two classes"),
        (lambda: roc_auc([0, 1], [0, 1], max_fpr=2), ValueError, r"max_fpr must be in \(0, 1\], got 2"),
        (lambda: roc_auc([0, 1], [0.1, math.nan]), ValueError, "y_score has nan or infinite values"),
        (lambda: roc_auc([0, 1], ["a", "b"]), TypeError, "y_score must hold numbers"),
        (lambda: roc_auc([], []), ValueError, "there are no examples to score"),
        (
            lambda: roc_auc([0, 1], [0.1]),
            ValueError,
            r"y_score must be \[n\] or \[n, classes\] with n=2, got the shape \(1,\)",
        ),
        (lambda: roc_auc([0.3, 1], [0, 1]), ValueError, "y_true has values such as 0.3, which are no classes"),
        (lambda: roc_curve([0, 1, 2], [0, 1, 2]), ValueError, "of two classes, y_true has 3: draw one per class"),
        (
            lambda: roc_curve([3, 4], [0, 1]),
            ValueError,
            r"the classes are \[3, 4\]: say which is the positive one, pos_label=4$",
        ),
        (lambda: precision_recall_curve([0, 1], [0, 1, 2]), ValueError, "one score per example"),
        (lambda: log_loss([0, 1], [-2.0, 3.0]), ValueError, "must hold probabilities, it has -2 to 3: softmax or sigmoid"),
        (lambda: log_loss([0, 1, 2], THREE / 2), ValueError, "the rows of y_proba must sum to 1"),
        (lambda: log_loss(["a"], [0.5]), ValueError, r"y_true has the one class \['a'\]: pass both as labels"),
        (lambda: top_k_accuracy([0, 1, 2], THREE, k=0), ValueError, "k must be a whole number, 1 or more, got 0"),
        (lambda: top_k_accuracy([0, 1, 2], THREE, k=1.5), ValueError, "k must be a whole number, 1 or more, got 1.5"),
    ],
)
def test_errors_say_what_to_do(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_what_is_given_is_not_changed():
    true, score = np.array([0, 1, 1, 0]), np.array([0.3, 0.2, 0.9, 0.9])
    before = true.copy(), score.copy()
    for function in (roc_auc, average_precision, log_loss, brier_score, roc_curve, precision_recall_curve):
        function(true, score)
    np.testing.assert_array_equal(true, before[0])
    np.testing.assert_array_equal(score, before[1])
