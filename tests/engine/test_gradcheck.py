"""The checker is itself checked: right rules pass, and each of a list of wrong ones is refused."""

import numpy as np
import pytest

import tinynet as tn
from tinynet.kernels import kernel
from tinynet.rules import RULES

x0, w0 = np.array([[0.5, -1.2], [0.9, 0.4], [-0.3, 1.5]]), np.array([[0.7, -0.6, 1.1], [0.2, 0.8, -0.9]])


@pytest.fixture
def wrong():
    """Makes kernels with wrong rules, and takes them out of the table afterwards."""
    before = dict(RULES)

    def make(forward, *rules):
        return kernel(*rules)(lambda *args: forward(*args))

    yield make
    RULES.clear()
    RULES.update(before)


WRONG = {
    "scaled by 1.0009": (np.sin, lambda g, y, x: 1.0009 * g * np.cos(x)),
    "zero": (np.sin, lambda g, y, x: 0 * g),
    "zero for a true slope of 1e-7": (lambda x: 1e-7 * x * x, lambda g, y, x: 0 * g),
    "sign": (np.sin, lambda g, y, x: -g * np.cos(x)),
    "twice": (np.sin, lambda g, y, x: 2 * g * np.cos(x)),
    "ignores g": (np.sin, lambda g, y, x: np.cos(x)),
    "mean instead of g": (np.sin, lambda g, y, x: np.cos(x) * np.mean(g)),
    "shifted by 1e-5": (np.sin, lambda g, y, x: g * np.cos(x) + 1e-5),
    "softmax without its cross term": (lambda x: np.exp(x) / np.exp(x).sum(), lambda g, y, x: g * y * (1 - y)),
    "softmax with nothing": (lambda x: np.exp(x) / np.exp(x).sum(), lambda g, y, x: g * 0),
    "flipped": (lambda x: x * 1.0, lambda g, y, x: g[::-1]),
    "reads y for x": (np.square, lambda g, y, x: g * 2 * y),
    "one element": (np.sin, lambda g, y, x: g * np.cos(x) * np.where(x == 1.5, 1.001, 1)),
    "nan": (np.sin, lambda g, y, x: g * np.nan),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_rule_is_refused(name, wrong):
    by_slope = r"the gradient .* is wrong at \d of 6 elements of input 0; worst:\n  element \(\d, \d\): gradient"
    with pytest.raises(tn.GradcheckError, match=rf"{by_slope}|forward and reverse mode disagree"):
        tn.gradcheck(wrong(*WRONG[name]), x0)


def test_a_transposed_product_is_refused(wrong):
    bad = wrong(np.matmul, lambda g, y, a, b: g @ b.swapaxes(-1, -2), lambda g, y, a, b: (g.swapaxes(-1, -2) @ a) * 1.0)
    square = np.array([[1.0, 2.0], [3.0, 5.0]])
    with pytest.raises(tn.GradcheckError, match="input 1"):
        tn.gradcheck(bad, square, square + 0.5)


def test_a_rule_that_differs_between_arrays_and_tensors_is_refused(wrong):
    bad = wrong(np.sin, lambda g, y, x: g * np.cos(x) * (1 if type(x) is np.ndarray else 1.01))
    with pytest.raises(tn.GradcheckError, match=r"(?s)on arrays and.* on Tensors"):
        tn.gradcheck(bad, x0)


def test_a_wrong_second_derivative_is_refused(wrong):
    bad = wrong(np.sin, lambda g, y, x: g * np.cos(getattr(x, "data", x)))  # the right slope, but as a constant
    assert tn.gradcheck(bad, x0)
    with pytest.raises(tn.GradcheckError):
        tn.gradcheck(bad, x0, order=2)


def test_right_rules_pass_to_third_order():
    assert tn.gradcheck(lambda x, w: np.tanh(x @ w) ** 2, x0, w0, order=3)
    assert tn.gradcheck(lambda x: 1e-7 * x * x, x0)
    assert tn.gradcheck(lambda x: 1e7 * x * x, x0)
    assert tn.gradcheck(lambda x: x * 0.0 + 3.0, x0)


def test_forward_mode_is_held_against_reverse_mode(wrong):
    bad = wrong(np.sin, lambda g, y, x: g * np.cos(x) + 1e-9 * np.mean(g) ** 2)
    with pytest.raises(tn.GradcheckError, match="forward and reverse mode disagree"):
        tn.gradcheck(bad, np.array([0.5, 1.0]), rtol=1e-3)


def test_an_analytic_function_is_checked_to_eleven_digits(wrong):
    bad = wrong(np.sin, lambda g, y, x: g * np.cos(x) * (1 + 1e-9))
    with pytest.raises(tn.GradcheckError, match="complex step"):
        tn.gradcheck(bad, np.array([0.5, 1.0]))


def test_float32_inputs_are_checked_in_float32_too(wrong):
    bad = wrong(np.sin, lambda g, y, x: g * np.cos(x) * (1.01 if x.dtype == np.float32 else 1))
    assert tn.gradcheck(bad, np.array([0.5, 1.0]))
    with pytest.raises(tn.GradcheckError, match="in float32 the gradient is off by"):
        tn.gradcheck(bad, np.array([0.5, 1.0], np.float32))


def test_labels_are_passed_on():
    assert tn.gradcheck(tn.cross_entropy, w0, np.array([2, 0]))


@pytest.mark.parametrize("f", [abs, tn.relu, lambda x: np.maximum(x, 0), lambda x: np.where(x > 0, 1.0, 0.0) + 0 * x])
def test_a_kink_is_refused(f):
    with pytest.raises(tn.GradcheckError, match=r"input 0, element \(1,\) is at a kink or a jump.*choose another point"):
        tn.gradcheck(f, [1.0, 0.0])


def test_a_function_that_answers_differently_each_time_is_refused():
    model = tn.Sequential(tn.Linear(2, 8, seed=0), tn.Dropout(0.5, seed=0))
    with pytest.raises(tn.GradcheckError, match=r"f answers something else .*for the same inputs.*dropout: model.eval\(\)"):
        tn.gradcheck(model, x0)
    assert tn.gradcheck(model.eval(), x0)


def test_the_slope_of_a_scalar_function_is_told_as_it_is(wrong):
    bad = wrong(lambda x: 3 * x, lambda g, y, x: 4 * g)
    with pytest.raises(tn.GradcheckError, match=r"element \(0,\): gradient 4, complex step 3, error 1, allowed"):
        tn.gradcheck(bad, np.array([0.5]))
    with pytest.raises(tn.GradcheckError, match=r"\(of the sum of C \* f, for random weights C\)"):
        tn.gradcheck(bad, np.array([0.5, 0.25]))


def test_bad_arguments():
    with pytest.raises(TypeError, match="the function must answer a Tensor computed from its arguments, got ndarray"):
        tn.gradcheck(lambda x: x.numpy() * 2, [1.0])
    with pytest.raises(TypeError, match=r"got tuple: answer one Tensor"):
        tn.gradcheck(lambda x: (x, x), [1.0])
    with pytest.raises(ValueError, match="at least one input of floating-point"):
        tn.gradcheck(lambda x: x, [1, 2])
    with pytest.raises(ValueError, match="nan or infinity"):
        tn.gradcheck(lambda x: x, [np.nan])
    with pytest.raises(ValueError, match="order must be 1 or more"):
        tn.gradcheck(np.sin, [1.0], order=0)
