"""The metrics: scikit-learn's answers from tests/goldens/metrics.json, hand examples, zero divisions, error texts.

Where scikit-learn is installed, a property test compares with it on drawn labels and targets, too.
"""

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
    accuracy,
    classification_report,
    confusion_matrix,
    direction,
    f1_score,
    mean_absolute_error,
    mean_squared_error,
    precision,
    precision_recall_f1,
    r2_score,
    recall,
)

GOLDENS = json.loads((Path(__file__).parent.parent / "goldens" / "metrics.json").read_text())
CLOSE = {"rtol": 1e-12, "atol": 1e-15}

# Against scikit-learn ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", GOLDENS["classification"], ids=lambda case: case["name"])
def test_classification_scores_are_scikit_learns(case):
    true, pred = np.array(case["y_true"]), np.array(case["y_pred"])
    for key, expected in case["answers"].items():
        name, *how = key.split("/")
        if name == "support":
            answer = precision_recall_f1(true, pred)[3]
        elif how:
            average = None if how[0] == "None" else how[0]
            answer = getattr(metrics, name)(true, pred, average=average, zero_division=float(how[1]))
        else:
            answer = getattr(metrics, name)(true, pred)
        np.testing.assert_allclose(answer, np.array(expected, float), err_msg=key, **CLOSE)


@pytest.mark.parametrize("case", GOLDENS["regression"], ids=lambda case: case["name"])
def test_regression_scores_are_scikit_learns(case):
    for name, expected in case["answers"].items():
        answer = getattr(metrics, name)(case["y_true"], case["y_pred"])
        np.testing.assert_allclose(
            answer, expected, rtol=1e-9 if "far" in case["name"] else 1e-12, atol=1e-15, err_msg=name
        )


def test_the_goldens_say_where_they_are_from_and_ask_something():
    assert GOLDENS["versions"].keys() == {"scikit-learn", "numpy"}
    assert sum(len(case["answers"]) for case in GOLDENS["classification"]) >= 300
    assert len(GOLDENS["regression"]) >= 8


LABELS = st.integers(1, 5).flatmap(
    lambda classes: st.lists(st.tuples(st.integers(0, classes), st.integers(0, classes)), min_size=1, max_size=30)
)


@settings(max_examples=60, deadline=None)
@given(
    pairs=LABELS,
    average=st.sampled_from(["macro", "weighted", "micro", None]),
    zero=st.sampled_from([0.0, 1.0, math.nan]),
    labels=st.none() | st.lists(st.integers(0, 7), min_size=1, max_size=6, unique=True),
)
def test_any_labels_score_as_in_scikit_learn(pairs, average, zero, labels):
    sk = pytest.importorskip("sklearn.metrics")
    true, pred = np.array(pairs).T
    how = {"average": average, "zero_division": zero, "labels": labels}
    names = {"precision": sk.precision_score, "recall": sk.recall_score, "f1_score": sk.f1_score}
    for name, score in names.items():
        np.testing.assert_allclose(
            getattr(metrics, name)(true, pred, **how), score(true, pred, **how), err_msg=name, **CLOSE
        )
    assert accuracy(true, pred) == sk.accuracy_score(true, pred)
    if labels is None or set(labels) & set(true.tolist()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # scikit-learn's, about a single class
            np.testing.assert_array_equal(
                confusion_matrix(true, pred, labels), sk.confusion_matrix(true, pred, labels=labels)
            )


NUMBERS = st.floats(-100, 100, width=32)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3).flatmap(lambda n: st.lists(st.tuples(*[NUMBERS] * (2 * n)), min_size=2, max_size=12)))
def test_any_targets_score_as_in_scikit_learn(rows):
    sk = pytest.importorskip("sklearn.metrics")
    true, pred = np.split(np.array(rows), 2, axis=1)
    for name in ("mean_absolute_error", "mean_squared_error", "r2_score"):
        expected = getattr(sk, name)(true, pred)
        np.testing.assert_allclose(getattr(metrics, name)(true, pred), expected, rtol=1e-9, atol=1e-12, err_msg=name)


# By hand ----------------------------------------------------------------------------------------------------------------

TRUE = [0, 0, 0, 1, 1, 2]
PRED = [0, 0, 1, 1, 2, 2]


def test_a_small_example_by_hand():
    assert accuracy(TRUE, PRED) == 4 / 6
    assert confusion_matrix(TRUE, PRED).tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]  # rows are true
    p, r, f, support = precision_recall_f1(TRUE, PRED)
    assert p.tolist() == [1, 1 / 2, 1 / 2]
    assert r.tolist() == [2 / 3, 1 / 2, 1]
    np.testing.assert_allclose(f, [4 / 5, 1 / 2, 2 / 3], **CLOSE)
    assert support.tolist() == [3, 2, 1]
    assert precision(TRUE, PRED, average="macro") == pytest.approx((1 + 1 / 2 + 1 / 2) / 3, abs=1e-15)
    assert precision(TRUE, PRED, average="weighted") == pytest.approx((3 * 1 + 2 / 2 + 1 / 2) / 6, abs=1e-15)
    assert recall(TRUE, PRED, average="micro") == 4 / 6


def test_binary_scores_are_of_the_positive_class():
    true, pred = [1, 1, 1, 0], [1, 0, 0, 0]
    assert (precision(true, pred), recall(true, pred), f1_score(true, pred)) == (1, 1 / 3, 1 / 2)
    assert (precision(true, pred, pos_label=0), recall(true, pred, pos_label=0)) == (1 / 3, 1)
    assert recall(["no", "yes", "yes"], ["no", "no", "yes"], pos_label="yes") == 1 / 2


def test_labels_order_and_select():
    assert confusion_matrix(TRUE, PRED, labels=[2, 0]).tolist() == [[1, 0], [0, 2]]
    assert confusion_matrix([0, 1], [0, 1], labels=[0, 1, 2]).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert recall(TRUE, PRED, average=None, labels=[2, 0]).tolist() == [1, 2 / 3]


def test_regression_by_hand():
    assert mean_absolute_error([1, 2, 3], [2, 2, 5]) == 1
    assert mean_squared_error([1, 2, 3], [2, 2, 5]) == 5 / 3
    assert r2_score([1, 2, 3], [1, 2, 3]) == 1
    assert r2_score([1, 2, 3], [2, 2, 2]) == 0  # as good as the mean
    assert r2_score([1, 2, 3], [3, 2, 1]) == -3
    assert r2_score([[1, 0], [3, 2]], [[1, 1], [3, 1]]) == 0.5  # the mean over columns
    assert r2_score([2, 2], [2, 2]) == 1
    assert r2_score([2, 2], [2, 3]) == 0


@pytest.mark.parametrize("score", [accuracy, mean_absolute_error, mean_squared_error, r2_score])
def test_scores_are_python_floats(score):
    assert type(score([0, 1], [0, 1])) is float


# Zero divisions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zero", [0.0, 1.0, 0.5])
def test_a_class_that_was_never_predicted_has_no_precision(zero):
    true, pred = [0, 1, 1], [0, 0, 0]
    assert precision(true, pred, average=None, zero_division=zero).tolist() == [1 / 3, zero]
    assert recall(true, pred, average=None, zero_division=zero).tolist() == [1, 0]  # it is there, so it has a recall
    assert f1_score(true, pred, average=None, zero_division=zero).tolist() == [1 / 2, 0]


def test_a_class_that_is_nowhere_has_no_score_at_all():
    for score in (precision, recall, f1_score):
        assert score([0, 1], [0, 1], average=None, labels=[5], zero_division=0.5).tolist() == [0.5]
        assert score([0, 1], [0, 1], average="weighted", labels=[5], zero_division=0.5) == 0.5
        assert score([0, 1], [0, 1], average="micro", labels=[5], zero_division=0.5) == 0.5
        assert score([0, 0], [0, 0], zero_division=0.5) == 0.5  # of the positive class, 1


def test_zero_division_nan_leaves_classes_out_of_the_mean():
    assert precision([0, 1, 1], [0, 0, 0], average="macro", zero_division=math.nan) == 1 / 3
    assert math.isnan(precision([0], [0], average="macro", labels=[5], zero_division=math.nan))


# Errors -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("score", [accuracy, confusion_matrix, precision_recall_f1, precision, recall, f1_score])
def test_label_shapes_are_checked(score):
    with pytest.raises(ValueError, match=r"1-D and of one length, got \(2,\) and \(3,\)$"):
        score([0, 1], [0, 1, 1])
    with pytest.raises(ValueError, match=r"got \(2,\) and \(2, 3\) \(for outputs of a network, pass outputs.argmax"):
        score([0, 1], np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"got \(2, 1\) and \(2, 1\)"):
        score([[0], [1]], [[0], [1]])
    with pytest.raises(ValueError, match="there are no examples to score"):
        score([], [])


@pytest.mark.parametrize("score", [mean_absolute_error, mean_squared_error, r2_score])
def test_target_shapes_are_checked(score):
    with pytest.raises(ValueError, match=r"one shape, got \(3, 1\) and \(3,\)"):  # would broadcast to (3, 3)
        score(np.zeros((3, 1)), np.zeros(3))
    with pytest.raises(ValueError, match="there are no examples to score"):
        score([], [])


def test_averages_are_checked():
    with pytest.raises(ValueError, match="average must be 'binary', 'macro', 'weighted', 'micro' or None, got 'mean'"):
        f1_score([0, 1], [0, 1], average="mean")
    with pytest.raises(
        ValueError, match="average='binary' needs two classes, found 3: choose 'macro', 'weighted' or 'micro'"
    ):
        f1_score([0, 1, 2], [0, 1, 1])
    with pytest.raises(ValueError, match=r"pos_label=1 is none of the classes, \['no', 'yes'\]"):
        f1_score(["no", "yes"], ["no", "no"])


# The rest ---------------------------------------------------------------------------------------------------------------


def test_the_report_is_a_table():
    assert classification_report(TRUE, PRED, target_names=["ant", "bee", "cicada"]).splitlines() == [
        "              precision    recall  f1-score   support",
        "         ant     1.0000    0.6667    0.8000         3",
        "         bee     0.5000    0.5000    0.5000         2",
        "      cicada     0.5000    1.0000    0.6667         1",
        "    accuracy                         0.6667         6",
        "   macro avg     0.6667    0.7222    0.6556         6",
        "weighted avg     0.7500    0.6667    0.6778         6",
    ]


def test_the_report_counts_the_names():
    with pytest.raises(ValueError, match=r"there are 3 classes, \[0, 1, 2\], but 2 target_names"):
        classification_report(TRUE, PRED, target_names=["ant", "bee"])
    assert "nan" not in classification_report([0, 1], [0, 1], labels=[5])


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("val/loss", "min"),
        ("loss", "min"),
        ("val/hinge_loss", "min"),
        ("train/mean_squared_error", "min"),
        ("val/accuracy", "max"),
        ("val/f1_score", "max"),
        ("r2_score", "max"),
        ("a/b/recall", "max"),
    ],
)
def test_which_way_is_better_follows_from_the_name(name, better):
    assert direction(name) == better


def test_a_name_that_says_nothing_is_an_error():
    with pytest.raises(ValueError, match="is more or less of 'val/kindness' better"):
        direction("val/kindness")


def test_every_named_metric_takes_labels_or_targets_and_has_a_direction():
    for name, function in metrics.METRICS.items():
        assert function(np.array([0, 1, 2]), np.array([0, 1, 2])) == (0 if direction(name) == "min" else 1)
