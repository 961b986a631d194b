"""Error analysis: the right mistakes in the right order, calibration against its definition and a simulation, the page, the
pictures, and what models it may be given."""

import io
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import monitor
from monitor.errors import calibration, error_analysis
from monitor.outputs import answers, probabilities, sigmoid, softmax
from monitor.pictures.errors import as_images

SCORES = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.3, 0.6, 0.1], [0.05, 0.9, 0.05], [0.4, 0.2, 0.4], [0.1, 0.3, 0.6]])
TRUE = np.array([0, 1, 0, 0, 2, 1])  # wrong: 2 and 3 (0 as 1), 4 (2 as 0, a tie), 5 (1 as 2)


def drawn(figure):
    """Rendered as saving does, which is when Matplotlib finds some faults."""
    figure.savefig(io.BytesIO(), format="png", dpi=50)
    return figure


# Mistakes ---------------------------------------------------------------------------------------------------------------


def test_the_surest_mistakes_come_first():
    analysis = error_analysis(SCORES, None, TRUE)
    assert [m[:3] for m in analysis.mistakes] == [(3, 0, 1), (2, 0, 1), (5, 1, 2), (4, 2, 0)]
    assert [m.confidence for m in analysis.mistakes] == [0.9, 0.6, 0.6, 0.4]
    assert (analysis.n, analysis.mistakes_in_all, analysis.accuracy) == (6, 4, 2 / 6)
    few = error_analysis(SCORES, None, TRUE, k=2)
    assert few.mistakes == analysis.mistakes[:2]
    assert few.mistakes_in_all == 4


def test_the_most_frequent_confusions_come_first():
    confused = error_analysis(SCORES, None, TRUE).confused
    assert confused == [(0, 1, 2, 2 / 3), (1, 2, 1, 1 / 2), (2, 0, 1, 1.0)]


def test_the_report_has_every_class():
    analysis = error_analysis(SCORES, None, [0, 1, 0, 0, 0, 1], ["a", "b", "c"])
    assert analysis.report[0] == {"precision": 1.0, "recall": 0.5, "f1-score": 2 / 3, "support": 4}
    assert analysis.report[2]["support"] == 0


def test_probabilities_logits_and_a_model_are_the_same():
    logits = np.log(SCORES + 1e-12)
    expected = error_analysis(SCORES, None, TRUE)
    asked = []
    for outputs in (logits, lambda x: asked.append(x) or logits, SCORES.tolist()):
        analysis = error_analysis(outputs, np.zeros((6, 2)), TRUE)
        assert [m[:3] for m in analysis.mistakes] == [m[:3] for m in expected.mistakes]
        np.testing.assert_allclose([m.confidence for m in analysis.mistakes], [m.confidence for m in expected.mistakes])
    assert len(asked) == 1
    odd = error_analysis(SCORES, None, TRUE, outputs_are="logits").mistakes[0]  # taken at its word
    assert odd.confidence == pytest.approx(softmax(SCORES)[3, 1])


def test_one_column_is_the_second_of_two_classes():
    for outputs in ([-2.0, 1.0, 3.0], [[-2.0], [1.0], [3.0]]):
        (mistake,) = error_analysis(outputs, None, [0, 0, 1], ["no", "yes"]).mistakes
        assert mistake[:3] == (1, 0, 1)
        assert mistake.confidence == pytest.approx(1 / (1 + math.exp(-1)))
    (mistake,) = error_analysis([0.2, 0.9, 0.7], None, [0.0, 0.0, 1.0]).mistakes
    assert mistake == (1, 0, 1, 0.9)


def test_text_classes_are_looked_up_among_the_names():
    by_name = error_analysis(SCORES, None, np.array(["a", "b", "c"])[TRUE], ["a", "b", "c"])
    assert by_name.mistakes == error_analysis(SCORES, None, TRUE).mistakes
    with pytest.raises(ValueError, match="y has the class 'x', which is none of the class_names"):
        error_analysis(SCORES, None, ["a"] * 5 + ["x"], ["a", "b", "c"], task="classification")


def test_no_mistakes():
    analysis = error_analysis(np.eye(3), None, [0, 1, 2])
    assert (analysis.mistakes, analysis.confused, analysis.calibration.error) == ([], [], 0)
    assert str(analysis).startswith("3 examples, 0 mistakes: accuracy 100.00%\n\nClasses")
    figure = drawn(analysis.plot())
    assert "no mistakes" in [text.get_text() for text in figure.axes[0].texts]


# Models -----------------------------------------------------------------------------------------------------------------


class Layer:
    def __init__(self):
        self.training = True


class Model:
    """As those of PyTorch and of tinynet are: with a mode, and answers that are no arrays."""

    def __init__(self):
        self.layers = [Layer(), Layer()]
        self.layers[1].training = False

    def named_modules(self):
        return [(str(i), layer) for i, layer in enumerate(self.layers)]

    def eval(self):
        for layer in self.layers:
            layer.training = False

    def __call__(self, x):
        assert not any(layer.training for layer in self.layers)

        class Tensor:
            def numpy(self):
                return SCORES

        return Tensor()


def test_a_model_answers_in_evaluation_mode_and_gets_its_modes_back():
    model = Model()
    assert len(error_analysis(model, np.zeros((6, 2)), TRUE).mistakes) == 4
    assert [layer.training for layer in model.layers] == [True, False]

    def fails(x):
        raise RuntimeError

    model.__class__ = type("Bad", (Model,), {"__call__": lambda self, x: fails(x)})
    with pytest.raises(RuntimeError):
        answers(model, np.zeros((6, 2)))
    assert [layer.training for layer in model.layers] == [True, False]


def test_sigmoid_and_softmax_do_not_overflow():
    assert sigmoid(np.array([-1e4, 0, 1e4])).tolist() == [0, 0.5, 1]
    assert sigmoid(np.array([-40.0]))[0] == pytest.approx(math.exp(-40))
    np.testing.assert_array_equal(softmax(np.array([[1e4, 0], [-1e4, 1e4]])), [[1, 0], [0, 1]])
    np.testing.assert_allclose(probabilities([2.0, -1.0]).sum(axis=1), 1)
    with pytest.raises(ValueError, match="outputs_are must be 'auto', 'logits' or 'probabilities', got 'targets'"):
        probabilities([1.0], "targets")


# Calibration ------------------------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(0, 1000), st.booleans()), min_size=1, max_size=40), bins=st.integers(1, 20))
def test_the_calibration_error_is_its_definition(rows, bins):
    confidence, correct = np.array([c / 1000 for c, _ in rows]), np.array([r for _, r in rows])
    error, largest = 0.0, 0.0
    for b in range(1, bins + 1):
        inside = [(c / 1000, r) for c, r in rows if (b - 1) * 1000 < c * bins <= b * 1000 or (c == 0 and b == 1)]
        if inside:
            gap = abs(np.mean([c for c, _ in inside]) - np.mean([r for _, r in inside]))
            error, largest = error + len(inside) / len(rows) * gap, max(largest, gap)
    found = calibration(confidence, correct, bins)
    assert found.error == pytest.approx(error, abs=1e-12)
    assert found.largest_error == pytest.approx(largest, abs=1e-12)
    assert found.counts.sum() == len(rows)
    assert np.isnan(found.accuracy).tolist() == (found.counts == 0).tolist()


def test_a_confidence_between_two_bins_is_in_the_lower_one():
    assert calibration([0.5, 0.5, 0.51, 0.0, 1.0], [1, 0, 1, 0, 1], bins=2).counts.tolist() == [3, 2]
    assert calibration([0.6], [1], bins=15).counts.argmax() == 8  # 0.6 * 15 = 9, however it is rounded


def test_the_noise_is_what_a_calibrated_model_shows():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1.0, 300)
    errors = [calibration(confidence, rng.random(300) < confidence).error for _ in range(400)]
    found = calibration(confidence, rng.random(300) < confidence)
    assert np.mean(errors) == pytest.approx(found.noise, rel=0.1)
    assert 0.005 < np.mean(np.array(errors) > found.limit) < 0.06
    assert found.noise < found.limit


def test_the_verdict_tells_too_sure_from_not_sure_enough():
    sure = np.full(400, 0.9)
    half = np.arange(400) % 2 == 0
    assert calibration(sure, half).verdict == "it is too sure of itself"
    assert calibration(np.full(400, 0.6), np.ones(400)).verdict == "it could be surer of itself"
    assert calibration(sure, np.arange(400) % 10 > 0).verdict == "no more than chance would do"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (([0.5], [1, 0]), r"confidence and correct must be \[n\] alike, got \(1,\) and \(2,\)"),
        (([], []), "must be"),
        (([1.5], [1]), r"confidence must be in \[0, 1\], got 1.5 to 1.5"),
        (([0.5], [1], 0), "bins must be at least 1, got 0"),
    ],
)
def test_calibration_says_what_it_needs(arguments, text):
    with pytest.raises(ValueError, match=text):
        calibration(*arguments)


# Numbers ----------------------------------------------------------------------------------------------------------------


def test_the_largest_residuals_come_first():
    analysis = error_analysis([1.0, 2.0, 3.0, 4.0], None, [1.5, 2.0, 0.0, 4.5])
    assert analysis.worst[:2] == [(2, 0, 0.0, 3.0, -3.0), (0, 0, 1.5, 1.0, 0.5)]
    assert analysis.residual.ravel().tolist() == [0.5, 0, -3, 0.5]
    assert analysis.bias.tolist() == [-0.5]
    assert analysis.mean_absolute_error.tolist() == [1]
    assert analysis.root_mean_squared_error[0] == pytest.approx(math.sqrt(9.5 / 4))


def test_columns_are_compared_in_their_own_units():
    true = np.array([[0.0, 0], [0, 0], [0, 0]])
    analysis = error_analysis(np.array([[0.1, 500], [0.1, 400], [0.9, 450]]), None, true, k=1)
    assert analysis.worst == [(2, 1 - 1, 0.0, 0.9, -0.9)]


def test_trend_and_fan():
    predicted = np.linspace(1, 2, 101)
    sign = np.where(np.arange(101) % 2, 1, -1)
    assert error_analysis(predicted, None, 1.5 * predicted).trend[0] == pytest.approx(1)
    assert error_analysis(predicted, None, 0.5 * predicted).trend[0] == pytest.approx(-1)
    wide = error_analysis(predicted, None, predicted + sign * predicted)
    assert wide.fan[0] == pytest.approx(1)
    assert abs(wide.trend[0]) < 0.05
    assert math.isnan(error_analysis(np.ones(5), None, np.arange(5.0) + 0.5).trend[0])


def test_a_task_can_be_asked_for():
    whole = np.arange(12)
    assert error_analysis(whole + 0.5, None, whole).n == 12  # whole numbers beside one column are targets
    assert hasattr(error_analysis([0.1, 0.9], None, [0, 1]), "mistakes")
    assert hasattr(error_analysis([0.1, 0.9], None, [0, 1], task="regression"), "worst")


# The page ---------------------------------------------------------------------------------------------------------------


def test_the_page():
    text = str(error_analysis(SCORES, None, TRUE, ["ant", "bee", "cicada"], k=2))
    assert text.splitlines()[:13] == [
        "6 examples, 4 mistakes: accuracy 33.33%",
        "",
        "The surest mistakes, 2 of 4",
        "  example  true  predicted  confidence",
        "        3  ant   bee             90.0%",
        "        2  ant   bee             60.0%",
        "",
        "Most often confused",
        "  true    taken for  times  of its examples",
        "  ant     bee            2            66.7%",
        "  bee     cicada         1            50.0%",
        "  cicada  ant            1           100.0%",
        "",
    ]
    assert (
        "\nClasses\n          precision  recall  f1-score  support\n  ant        0.5000  0.3333    0.4000        3" in text
    )
    assert "\nCalibration: confidence and accuracy are " in text


def test_the_page_of_numbers():
    text = str(error_analysis([1.0, 2.0, 3.0], None, [1.5, 2.0, 0.0], k=1))
    assert text.startswith("3 examples, residual = true - predicted\n\nErrors\n  column")
    assert (
        "The largest residuals\n  example  column  true  predicted  residual\n        2       0     0          3        -3"
        in text
    )


def test_a_page_of_many_classes_stays_a_page():
    rng = np.random.default_rng(0)
    analysis = error_analysis(rng.random((3000, 200)), None, rng.integers(0, 200, 3000))
    assert len(str(analysis).splitlines()) < 100
    assert ", the 30 of 200 with the lowest F1" in str(analysis)


HOSTILE = ["a\nb\x1b[31m", "<script>$x^{", "_" + "long " * 100, ""]


def test_hostile_names_are_harmless():
    rng = np.random.default_rng(0)
    analysis = error_analysis(rng.random((40, 4)), rng.random((40, 9)), rng.integers(0, 4, 40), HOSTILE)
    text = str(analysis)
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) < 140
    drawn(analysis.plot())


# The pictures -----------------------------------------------------------------------------------------------------------


def digits(n=40, features=64, classes=10):
    rng = np.random.default_rng(0)
    return error_analysis(rng.random((n, classes)), rng.random((n, features)), rng.integers(0, classes, n))


@pytest.mark.parametrize("style", ["paper", "slides"])
def test_the_mistakes_are_drawn_as_images_with_what_they_were_taken_for(style):
    analysis = digits()
    figure = drawn(analysis.plot(style=style))
    assert figure.get_suptitle() == f"{analysis.mistakes_in_all} mistakes in 40 examples: accuracy {analysis.accuracy:.2%}"
    examples, (bars, reliability) = figure.axes[:-2], figure.axes[-2:]
    assert len(examples) == 16
    for ax, mistake in zip(examples, analysis.mistakes, strict=True):
        assert ax.get_title() == f"{mistake.true} → {mistake.predicted}\n{mistake.confidence:.1%}"
        assert ax.get_xlabel() == str(mistake.example)
        np.testing.assert_array_equal(ax.images[0].get_array(), analysis.x[mistake.example].reshape(8, 8))
    assert [bar.get_width() for bar in bars.patches] == [c.times for c in analysis.confused[:10]]
    assert [label.get_text() for label in bars.get_yticklabels()] == [
        f"{c.true} → {c.predicted}" for c in analysis.confused[:10]
    ]
    filled = analysis.calibration.counts > 0
    np.testing.assert_allclose(
        reliability.collections[1].get_offsets(),
        np.stack([analysis.calibration.confidence, analysis.calibration.accuracy], 1)[filled],
    )
    assert reliability.get_title().startswith(f"calibration error {analysis.calibration.error:.1%}\n")


def test_other_inputs_are_drawn_as_profiles():
    analysis = digits(features=5)
    ax = drawn(analysis.plot()).axes[0]
    assert not ax.images
    assert [bar.get_height() for bar in ax.patches] == analysis.x[analysis.mistakes[0].example].tolist()


def test_images_can_be_given_and_inputs_left_out():
    analysis = error_analysis(SCORES, None, TRUE)
    assert len(drawn(analysis.plot()).axes) == 2
    images = np.random.default_rng(0).random((6, 4, 7, 3))
    figure = drawn(analysis.plot(images))
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), images[3])
    with pytest.raises(ValueError, match=r"images must be \[n, height, width\] with n=6, got the shape \(5, 8, 8\)"):
        analysis.plot(np.zeros((5, 8, 8)))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((5, 64), (5, 8, 8)),
        ((5, 784), (5, 28, 28)),
        ((5, 4), (5, 4)),  # four features are more likely than an image of 2 by 2
        ((5, 63), (5, 63)),
        ((5, 8, 6), (5, 8, 6)),
        ((5, 1, 8, 6), (5, 8, 6)),
        ((5, 3, 8, 6), (5, 8, 6, 3)),
        ((5, 8, 6, 1), (5, 8, 6)),
        ((5, 8, 6, 3), (5, 8, 6, 3)),
        ((5, 8, 6, 7), (5, 336)),
    ],
)
def test_what_is_an_image(shape, expected):
    assert as_images(np.zeros(shape)).shape == expected


def test_text_is_not_drawn():
    assert as_images(np.array([["a", "b"]])) is None
    assert as_images(np.zeros(5)) is None


def test_the_picture_of_residuals():
    rng = np.random.default_rng(0)
    x, true = rng.random((30, 5)), rng.random((30, 2))
    analysis = error_analysis(true + rng.normal(size=(30, 2)), x, true, k=3)
    figure = drawn(analysis.plot())
    assert len(figure.axes) == 5
    residuals = figure.axes[3]
    np.testing.assert_allclose(
        residuals.lines[1].get_xydata(), np.stack([analysis.predicted[:, 1], analysis.residual[:, 1]], 1)
    )
    assert figure.axes[0].get_title().endswith(f"column {analysis.worst[0].column}")
    assert sum(bar.get_height() for bar in figure.axes[4].patches) == 60
    drawn(error_analysis([1.0, 2.0], None, [1.0, 2.0]).plot())  # nothing is off


def test_pyplot_and_the_random_numbers_are_left_alone():
    code = """
import sys, numpy as np
state = np.random.get_state()[1].copy()
from monitor.errors import error_analysis
assert "matplotlib" not in sys.modules
scores = np.eye(3)[[0, 1, 1]]
import io
error_analysis(scores, np.ones((3, 16)), [0, 1, 2]).plot().savefig(io.BytesIO())
assert "matplotlib.pyplot" not in sys.modules
assert (np.random.get_state()[1] == state).all()
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=Path(monitor.__file__).parent.parent)


# Errors -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "how", "text"),
    [
        ((SCORES, None, TRUE), {"k": 0}, "k must be a whole number of mistakes to keep, 1 or more, got 0"),
        ((SCORES, None, TRUE), {"task": "both"}, "task must be 'auto', 'classification' or 'regression', got 'both'"),
        ((lambda x: SCORES, None, TRUE), {}, "x is needed to ask the model"),
        ((SCORES, None, TRUE[:5]), {}, "outputs has 6 rows, y has 5"),
        ((SCORES, np.zeros((4, 2)), TRUE), {}, "x has 4 rows, y has 6"),
        (([], None, []), {}, "there are no examples: y is empty"),
        ((SCORES, None, TRUE, ["a", "b"]), {}, "there are 3 classes, but 2 class_names"),
        ((SCORES, None, TRUE + 1), {}, "y has classes 1 to 3, but the outputs are of classes 0 to 2"),
        ((SCORES * math.nan, None, TRUE), {}, "outputs has nan or infinite values, which are no prediction"),
        (
            (SCORES, None, TRUE + 0.5),
            {"task": "regression"},
            r"y has the shape \(6,\), the outputs \(6, 3\): targets must be",
        ),
    ],
)
def test_errors_say_what_to_do(arguments, how, text):
    with pytest.raises(ValueError, match=text):
        error_analysis(*arguments, **how)
