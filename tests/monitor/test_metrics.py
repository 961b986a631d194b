"""The metrics: scikit-learn's answers from tests/goldens/metrics.json, hand examples, zero divisions, error texts.

Where scikit-learn is installed, a property test compares with it on drawn labels and targets, too.
"""

import json
import math
import warnings
from functools import partial
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
    precision_recall_fscore_support,
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
        if name == "report":
            assert classification_report(true, pred) == expected.rstrip("\n")
            continue
        if name == "support":
            answer = precision_recall_fscore_support(true, pred)[3]
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


@settings(max_examples=80, deadline=None)
@given(pairs=LABELS, seed=st.none() | st.integers(0, 99))
def test_any_labels_agree_as_in_scikit_learn(pairs, seed):
    sk = pytest.importorskip("sklearn.metrics")
    true, pred = np.array(pairs).T
    weight = None if seed is None else np.random.default_rng(seed).integers(1, 5, len(true)) / 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's, about what is not defined
        for name in ("accuracy_score", "balanced_accuracy_score", "matthews_corrcoef", "cohen_kappa_score"):
            expected = getattr(sk, name)(true, pred, sample_weight=weight)
            np.testing.assert_allclose(getattr(metrics, name)(true, pred, sample_weight=weight), expected, rtol=1e-9, atol=1e-9,
                                       err_msg=name)  # fmt: skip
        for kind in ("linear", "quadratic"):
            expected = sk.cohen_kappa_score(true, pred, weights=kind)
            np.testing.assert_allclose(metrics.cohen_kappa(true, pred, weights=kind), expected, rtol=1e-9, atol=1e-9)
        for normalize in (None, "true", "pred", "all"):
            how = {"normalize": normalize, "sample_weight": weight}
            np.testing.assert_allclose(confusion_matrix(true, pred, **how), sk.confusion_matrix(true, pred, **how), **CLOSE)
        for average in ("macro", "micro", "weighted", None):
            how = {"beta": 0.5, "average": average, "sample_weight": weight}
            expected = sk.fbeta_score(true, pred, **how, zero_division=0)
            np.testing.assert_allclose(metrics.fbeta_score(true, pred, **how), expected, **CLOSE)


NUMBERS = st.floats(-100, 100, width=32)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3).flatmap(lambda n: st.lists(st.tuples(*[NUMBERS] * (2 * n)), min_size=2, max_size=12)))
def test_any_targets_score_as_in_scikit_learn(rows):
    sk = pytest.importorskip("sklearn.metrics")
    true, pred = np.split(np.array(rows), 2, axis=1)
    weight = 1 + np.arange(len(true)) % 3
    names = ("mean_absolute_error", "mean_squared_error", "root_mean_squared_error", "median_absolute_error", "r2_score",
             "explained_variance_score")  # fmt: skip
    for name in names:
        for multioutput in ("uniform_average", "raw_values"):
            for how in ({"multioutput": multioutput}, {"multioutput": multioutput, "sample_weight": weight}):
                expected = getattr(sk, name)(true, pred, **how)
                answer = getattr(metrics, name)(true, pred, **how)
                np.testing.assert_allclose(answer, expected, rtol=1e-7, atol=1e-9, err_msg=name)
    for name in ("r2_score", "explained_variance_score"):
        expected = getattr(sk, name)(true, pred, multioutput="variance_weighted")
        answer = getattr(metrics, name)(true, pred, multioutput="variance_weighted")
        np.testing.assert_allclose(answer, expected, rtol=1e-7, atol=1e-9, err_msg=name)


# By hand ----------------------------------------------------------------------------------------------------------------

TRUE = [0, 0, 0, 1, 1, 2]
PRED = [0, 0, 1, 1, 2, 2]


def test_a_small_example_by_hand():
    assert accuracy(TRUE, PRED) == 4 / 6
    assert confusion_matrix(TRUE, PRED).tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]  # rows are true
    p, r, f, support = precision_recall_fscore_support(TRUE, PRED)
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


@pytest.mark.parametrize(
    "score", [accuracy, confusion_matrix, precision_recall_fscore_support, precision, recall, f1_score]
)
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


REPORT = """\
              precision    recall  f1-score   support

         ant       1.00      0.67      0.80         3
         bee       0.50      0.50      0.50         2
      cicada       0.50      1.00      0.67         1

    accuracy                           0.67         6
   macro avg       0.67      0.72      0.66         6
weighted avg       0.75      0.67      0.68         6"""
INSECTS = ["ant", "bee", "cicada"]


def test_the_report_is_a_table():
    assert classification_report(TRUE, PRED, target_names=INSECTS) == REPORT
    assert "0.6667" in classification_report(TRUE, PRED, digits=4)


def test_the_report_as_a_dict():
    report = classification_report(TRUE, PRED, target_names=INSECTS, output_dict=True)
    assert list(report) == [*INSECTS, "accuracy", "macro avg", "weighted avg"]
    assert report["bee"] == {"precision": 0.5, "recall": 0.5, "f1-score": 0.5, "support": 2}
    assert report["accuracy"] == 4 / 6
    assert report["weighted avg"]["support"] == 6
    json.dumps(report)
    part = classification_report(TRUE, PRED, labels=[0, 1], output_dict=True)
    assert part["micro avg"]["recall"] == 3 / 5
    assert "accuracy" not in part


def test_the_report_counts_the_names():
    with pytest.raises(ValueError, match=r"there are 3 classes, \[0, 1, 2\], but 2 target_names"):
        classification_report(TRUE, PRED, target_names=["ant", "bee"])
    assert "nan" not in classification_report([0, 1], [0, 1], labels=[5])
    with pytest.raises(ValueError, match="two rows of the report would be called 'macro avg'"):
        classification_report(TRUE, PRED, target_names=["ant", "bee", "macro avg"], output_dict=True)


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


def test_a_metric_with_arguments_filled_in_is_still_that_metric(monkeypatch):
    of_three = partial(partial(metrics.METRICS["f1_score"], labels=[0, 1, 2]), zero_division=1.0)
    monkeypatch.setitem(metrics.METRICS, "f1_of_three", of_three)
    assert direction("val/f1_of_three") == "max"
    ranked = partial(metrics.top_k_accuracy, k=2, labels=[0, 1, 2])
    outputs = np.array([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]])
    assert metrics.measure({"ranked": ranked}, [1, 0], outputs) == {"ranked": 0.5}  # class 1 comes second, class 0 third
    assert math.isnan(metrics.measure({"ranked": ranked}, [1, 0], outputs * np.inf)["ranked"])


def test_a_name_that_says_nothing_is_an_error():
    with pytest.raises(ValueError, match="is more or less of 'val/kindness' better"):
        direction("val/kindness")


def test_every_named_metric_says_which_way_is_better_and_how_far_it_goes():
    for name, function in metrics.METRICS.items():
        low, high = function.range
        assert direction(f"val/{name}") == function.direction in ("min", "max")
        assert low < high
        best = low if function.direction == "min" else high
        perfect = np.eye(3) if function.needs == "scores" else np.arange(3)
        assert function(np.arange(3), perfect) == pytest.approx(best, abs=1e-12), name
        assert function.__name__ == name.removesuffix("_score") or function.__name__ == name


def test_scikit_learns_names_are_the_same_functions():
    for name in ("accuracy", "precision", "recall", "roc_auc", "average_precision", "balanced_accuracy", "cohen_kappa",
                 "top_k_accuracy", "explained_variance"):  # fmt: skip
        assert getattr(metrics, f"{name}_score") is getattr(metrics, name)
    assert metrics.brier_score_loss is metrics.brier_score
    assert set(metrics.__all__) <= set(dir(metrics))


# What is no class -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("score", [accuracy, confusion_matrix, f1_score, metrics.cohen_kappa, metrics.balanced_accuracy])
def test_probabilities_are_no_classes(score):
    with pytest.raises(ValueError, match=r"y_pred has values such as 0.3, which are no classes: turn probabilities into"):
        score([0, 1], [0.3, 0.8])
    with pytest.raises(ValueError, match=r"y_true has values such as 0.5.*mean_squared_error"):
        score([0.5, 1], [0, 1])
    with pytest.raises(ValueError, match="y_pred has values such as nan"):
        score([0, 1], [0, math.nan])
    with pytest.raises(TypeError, match="y_true holds text and y_pred numbers: name the classes alike"):
        score(["0", "1"], [0, 1])
    with pytest.raises(TypeError, match=r"y_true must hold classes .* got complex128"):
        score([0j, 1j], [0, 1])


def test_whole_floats_booleans_and_lists_of_text_are_classes():
    assert accuracy([0.0, 1.0], [0, 1]) == accuracy([True, False], [1, 0]) == 1
    assert accuracy(np.array(["a", "b"], object), ["a", "c"]) == 0.5


def test_labels_are_checked():
    for labels, text in [([], "labels must be a list of classes"), ([1, 1], r"labels has a class twice: \[1, 1\]")]:
        with pytest.raises(ValueError, match=text):
            confusion_matrix([0, 1], [0, 1], labels=labels)
    with pytest.raises(TypeError, match="labels holds text and y_true numbers"):
        confusion_matrix([0, 1], [0, 1], labels=["a"])
    with pytest.raises(ValueError, match="normalize must be 'true', 'pred', 'all' or None, got True"):
        confusion_matrix([0, 1], [0, 1], normalize=True)
    with pytest.raises(ValueError, match="beta must be 0 or more, and finite, got -1"):
        metrics.fbeta_score([0, 1], [0, 1], beta=-1)
    with pytest.raises(ValueError, match="weights must be 'linear', 'quadratic' or None, got 'cubic'"):
        metrics.cohen_kappa([0, 1], [0, 1], weights="cubic")


@pytest.mark.parametrize("weight", [[1, 2, 3], [[1], [1]], [1, -1], [0, 0], [1, math.inf]])
@pytest.mark.parametrize("score", [accuracy, confusion_matrix, f1_score, mean_squared_error, r2_score, metrics.log_loss])
def test_weights_are_checked(score, weight):
    with pytest.raises(ValueError, match="sample_weight must"):
        score([0, 1], [0, 1], sample_weight=weight)


# By hand, the newer ones ------------------------------------------------------------------------------------------------


def test_agreement_by_hand():
    assert metrics.balanced_accuracy([0, 0, 0, 1], [0, 0, 1, 1]) == (2 / 3 + 1) / 2
    assert metrics.balanced_accuracy([0, 0, 0, 1], [0, 0, 1, 1], adjusted=True) == pytest.approx(2 * (5 / 6) - 1)
    assert math.isnan(metrics.balanced_accuracy([1, 1], [1, 1], adjusted=True))
    assert metrics.matthews_corrcoef([1, 1, 1], [1, 1, 1]) == 0  # one class: nothing to correlate
    assert math.isnan(metrics.cohen_kappa([1, 1], [1, 1]))
    assert metrics.cohen_kappa([0, 2], [1, 2], weights="linear") > metrics.cohen_kappa([0, 2], [1, 2])
    assert confusion_matrix([0, 1, 1], [0, 0, 1], normalize="true").tolist() == [[1, 0], [0.5, 0.5]]
    assert confusion_matrix([0, 1, 1], [0, 0, 1], normalize="pred").tolist() == [[0.5, 0], [0.5, 1]]
    assert confusion_matrix([0, 0], [0, 1], labels=[0, 1], normalize="true").tolist() == [[0.5, 0.5], [0, 0]]
    assert accuracy([0, 1, 1], [0, 0, 1], normalize=False) == 2
    assert accuracy([0, 1], [0, 0], sample_weight=[3, 1]) == 0.75


def test_numbers_by_hand():
    true, pred = np.array([[1.0, 10], [2, 20], [4, 40]]), np.array([[1.0, 11], [3, 20], [4, 38]])
    assert mean_absolute_error(true, pred, multioutput="raw_values").tolist() == [1 / 3, 1]
    assert mean_absolute_error(true, pred, multioutput=[3, 1]) == pytest.approx((3 * 1 / 3 + 1) / 4)
    assert metrics.root_mean_squared_error([0, 0], [3, 4]) == math.sqrt(12.5)
    assert metrics.max_error(true, pred) == 2
    assert metrics.median_absolute_error([0, 0, 0, 0], [1, 2, 3, 100]) == 2.5
    assert metrics.median_absolute_error([0, 0, 0], [1, 2, 100], sample_weight=[5, 1, 1]) == 1
    assert metrics.explained_variance([1, 2, 3], [2, 3, 4]) == 1
    assert r2_score([1, 2, 3], [2, 3, 4]) == -0.5
    assert math.isnan(r2_score([1], [1]))
    assert r2_score([2, 2], [2, 3], force_finite=False) == -math.inf
    for how in ("mean", [1, 2, 3]):
        with pytest.raises(ValueError, match="multioutput must"):
            mean_squared_error(true, pred, multioutput=how)
    with pytest.raises(ValueError, match="y_pred has nan or infinite values.*has the training diverged"):
        mean_squared_error([1.0], [math.nan])
    with pytest.raises(ValueError, match="must be arrays, one row per example"):
        mean_squared_error(1.0, 2.0)


# measure: what a training loop asks -------------------------------------------------------------------------------------

LOGITS = np.array([[2.0, 0, -1], [0, 3, 0], [1, 0, 0.5]])


def test_each_metric_is_given_what_it_needs():
    seen = {}

    def spy(name, needs=None):
        def function(y_true, y_pred):
            seen[name] = (y_true.tolist(), np.round(y_pred, 3).tolist())
            return 0

        if needs:
            function.needs = needs
        return function

    metrics.measure({n: spy(n, n) for n in ("classes", "scores")} | {"mine": spy("mine")}, [0, 1, 2], LOGITS, "logits")
    assert seen["classes"] == seen["mine"] == ([0, 1, 2], [0, 1, 0])
    np.testing.assert_allclose(np.sum(seen["scores"][1], axis=1), 1, atol=2e-3)
    metrics.measure({"classes": spy("classes", "classes"), "scores": spy("scores", "scores")}, [[0.0], [1]], [[-2.0], [0.1]],
                    "logits")  # fmt: skip
    assert seen["classes"] == ([0, 1], [0, 1])  # a logit above 0
    assert seen["scores"] == ([0, 1], [0.119, 0.525])
    metrics.measure({"classes": spy("classes", "classes")}, [[0], [1]], [[0.3], [0.6]], "probabilities")
    assert seen["classes"] == ([0, 1], [0, 1])  # a probability above 1/2
    metrics.measure({"classes": spy("classes")}, np.eye(3)[[2, 0, 1]], LOGITS, "logits")
    assert seen["classes"] == ([2, 0, 1], [0, 1, 0])  # rows with a 1 for the class
    metrics.measure({"targets": spy("targets", "targets")}, [[1.0], [2]], [[1.5], [2]])
    assert seen["targets"] == ([[1], [2]], [[1.5], [2]])
    metrics.measure({"mine": spy("mine")}, [[1, 1], [0, 1]], [[2.0, -1], [-1, 1]], "logits")
    assert seen["mine"] == ([[1, 1], [0, 1]], [[1, 0], [0, 1]])  # several labels each


def test_all_metrics_by_name_in_one_go():
    by_need = {
        need: {n: f for n, f in metrics.METRICS.items() if f.needs == need} for need in ("classes", "scores", "targets")
    }
    found = metrics.measure(by_need["classes"] | by_need["scores"], [0, 1, 2], LOGITS)
    assert found["accuracy"] == 2 / 3
    assert all(np.isfinite(value) for value in found.values())
    assert metrics.measure(by_need["targets"], [1.0, 2, 3], [1.0, 2, 3])["r2_score"] == 1


def test_columns_are_classes_even_where_an_epoch_lacks_one():
    found = metrics.measure({n: metrics.METRICS[n] for n in ("log_loss", "top_k_accuracy", "roc_auc")}, [0, 1, 1], LOGITS)
    assert math.isfinite(found["log_loss"])
    assert math.isnan(found["roc_auc"])  # class 2 has no examples


def test_a_training_that_diverged_scores_nan():
    outputs = np.array([[np.nan, 0], [1, 2]])
    mine = lambda t, p: 7
    assert metrics.measure({"accuracy": accuracy, "mine": mine}, [0, 1], outputs) == pytest.approx(
        {"accuracy": math.nan, "mine": 7}, nan_ok=True
    )


def test_measure_says_what_does_not_fit():
    with pytest.raises(ValueError, match="roc_auc needs class scores, but the outputs are targets"):
        metrics.measure({"roc_auc": metrics.METRICS["roc_auc"]}, [1.0, 0.5], [1.0, 2.0])
    with pytest.raises(ValueError, match="outputs_are must be one of auto, logits, probabilities, targets, got 'odds'"):
        metrics.measure({}, [0], [1.0], "odds")
