"""Mistakes that were found in other engines, kept as one-line tests; and what happens at the edges of the numbers.

Each of the first list is silently wrong, or crashes, in at least one well-known engine (named in the id).
"""

import numpy as np
import pytest

import tinynet as tn
from tinynet import functional as F

INF, NAN = np.inf, np.nan


def slope(f, x, upstream=None, dtype=np.float64):
    """The gradient of f at x, as nested lists."""
    t = tn.Tensor(np.array(x, dtype), requires_grad=True)
    y = f(t)
    y.backward(np.ones(y.shape, dtype) if upstream is None else np.array(upstream, dtype))
    assert t.grad.dtype == dtype
    return t.grad.tolist()


CASES = [
    (
        "autograd: repeat along the last axis",
        lambda t: np.repeat(t, 2, axis=-1),
        [1.0, 2.0],
        [1, 10, 100, 1000],
        [11.0, 1100.0],
    ),
    ("autograd: repeat with counts", lambda t: np.repeat(t, [2, 0, 1]), [1.0, 2.0, 3.0], [1, 10, 100], [11.0, 0.0, 100.0]),
    ("autograd: prod with a zero", np.prod, [0.0, 2.0, 3.0], None, [6.0, 0.0, 0.0]),
    ("prod with two zeros", np.prod, [0.0, 0.0, 3.0], None, [0.0, 0.0, 0.0]),
    ("autograd: norm of zero", np.linalg.norm, [0.0, 0.0], None, [0.0, 0.0]),
    ("autograd: std of a constant", np.std, [1.0, 1.0, 1.0], None, [0.0, 0.0, 0.0]),
    ("autograd: einsum ii->", lambda t: np.einsum("ii->", t), [[1.0, 2.0], [3.0, 4.0]], None, [[1.0, 0.0], [0.0, 1.0]]),
    ("autograd: broadcast_to with new axes", lambda t: np.broadcast_to(t, (3, 2)), [1.0, 2.0], None, [3.0, 3.0]),
    ("MyGrad: maximum(x, x)", lambda t: np.maximum(t, t), [1.0], None, [1.0]),
    ("MyGrad: arccos at 1", np.arccos, [1.0], None, [-INF]),
    ("MyGrad: relu of -inf", F.relu, [-INF], None, [0.0]),
    ("DeZero: ties in max share the gradient", np.max, [2.0, 2.0, 1.0], None, [0.5, 0.5, 0.0]),
    ("smolgrad: mean over a tuple of axes", lambda t: t.mean(axis=(0, 1)), [[1.0, 2.0]], None, [[0.5, 0.5]]),
    (
        "smolgrad: transpose with three axes",
        lambda t: t.transpose(1, 2, 0),
        [[[1.0, 2.0]]],
        [[[3.0], [4.0]]],
        [[[3.0, 4.0]]],
    ),
    ("torch: logsumexp of large numbers", F.logsumexp, [1e4, 1e4], None, [0.5, 0.5]),
    ("composed sigmoid at -800", F.sigmoid, [-800.0, 800.0], None, [0.0, 0.0]),
    ("jax: slope of |x| at 0", np.abs, [0.0], None, [0.0]),
    ("jax: norm of huge and tiny vectors", np.linalg.norm, [1e200, 1e200], None, [0.5**0.5, 0.5**0.5]),
    ("norm of tiny vectors", np.linalg.norm, [1e-200, 1e-200], None, [0.5**0.5, 0.5**0.5]),
    ("arctan2(0, 0)", lambda t: np.arctan2(t, 0.0), [0.0], None, [0.0]),
    ("torch: tail of tanh'", np.tanh, [20.0], None, [4 * np.exp(-40.0)]),
    ("x**0, x**1 and x**2 at 0", lambda t: t**0 + t**1 + t**2, [0.0], None, [1.0]),
    ("0**.5", lambda t: t**0.5, [0.0], None, [INF]),
    ("sqrt at 0", np.sqrt, [0.0], None, [INF]),
    ("log_sigmoid far left", F.log_sigmoid, [-800.0], None, [1.0]),
    ("softplus far out", F.softplus, [1e4, -1e4], None, [1.0, 0.0]),
    ("one sample", lambda t: t.mean(axis=0), [[1.0, 2.0]], None, [[1.0, 1.0]]),
    ("nothing at all", lambda t: t.sum(), [], None, []),
    ("a zero-size batch", lambda t: t @ np.ones((2, 3)), np.zeros((0, 2)), None, []),
]


@pytest.mark.parametrize(("f", "x", "upstream", "expected"), [pytest.param(*c[1:], id=c[0]) for c in CASES])
def test_gradient(f, x, upstream, expected):
    with np.errstate(divide="ignore"):
        assert np.allclose(slope(f, x, upstream), expected, rtol=1e-14, atol=0)


FLOAT32 = [np.sum, np.mean, np.std, np.var, np.max, np.prod, np.linalg.norm, np.ptp, lambda t: np.where(t > 1, t, 0.0)]


@pytest.mark.parametrize("f", FLOAT32)
def test_autograd_float32_gradients_do_not_become_float64(f):
    slope(f, [1.0, 2.0, 4.0], dtype=np.float32)


@pytest.mark.parametrize(
    "f", [lambda t: t * 2.0, lambda t: t + 1.0, lambda t: t / 3, lambda t: np.maximum(t, 0.0), F.leaky_relu]
)
def test_mygrad_python_numbers_do_not_promote(f):
    assert f(tn.Tensor(np.float32([1.0]), requires_grad=True)).dtype == np.float32


def test_mygrad_accepts_a_label_of_minus_one():
    with pytest.raises(ValueError, match="found -1"):
        tn.cross_entropy(tn.Tensor(np.zeros((1, 2))), [-1])


def test_dezero_hands_one_gradient_object_to_both():
    a, b = tn.Tensor([1.0], requires_grad=True), tn.Tensor([1.0], requires_grad=True)
    (a + b).sum().backward()
    a.grad *= 5
    assert b.grad.tolist() == [1.0]


def test_mygrad_and_micrograd_hit_the_recursion_limit():
    y = x = tn.Tensor([1.0], requires_grad=True)
    for _ in range(5000):
        y = y * 1.0
    y.sum().backward()
    assert x.grad.tolist() == [1.0]


def test_autograd_finds_a_missing_rule_only_in_backward():
    with pytest.raises(TypeError, match="no derivative rule"):
        np.nanmedian(tn.Tensor([1.0], requires_grad=True))


def test_exponents_negative_bases_and_their_slopes():
    with np.errstate(invalid="ignore"):
        assert np.isnan(slope(lambda n: np.power(-2.0, n), [3.0])).all()  # d/dn (-2)^n is not real
        assert slope(lambda x: x**3, [-2.0]) == [12.0]


EDGES = [
    (F.softmax, [1e4, 0.0, -1e4], [1.0, 0.0, 0.0]),
    (F.log_softmax, [1e4, 0.0, -1e4], [0.0, -1e4, -2e4]),
    (F.logsumexp, [-INF, 0.0], 0.0),
    (F.logsumexp, [1e4, 1e4], 1e4 + np.log(2)),
    (F.sigmoid, [INF, -INF], [1.0, 0.0]),
    (F.softplus, [INF, -INF], [INF, 0.0]),
    (np.var, [1e8, 1e8 + 1, 1e8 + 2], 2 / 3),
    (np.linalg.norm, [1e200, 1e200], np.sqrt(2) * 1e200),
    (np.linalg.norm, [5e-324, 0.0], 5e-324),
    (np.prod, [], 1.0),
    (np.sum, [], 0.0),
    (lambda t: np.expm1(t) - np.log1p(t), [1e-10], [1e-20]),
]


@pytest.mark.parametrize(("f", "x", "expected"), EDGES)
@pytest.mark.parametrize("recorded", [False, True])
def test_value_at_the_edges(f, x, expected, recorded):
    y = f(tn.Tensor(np.array(x, float), requires_grad=recorded))
    assert np.allclose(y.data, expected, rtol=1e-6, atol=0)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("f", [np.exp, np.tanh, F.sigmoid, F.softplus, F.silu, np.sqrt, np.abs, np.sin, F.softmax, np.max])
def test_nan_stays_nan(f):
    assert np.isnan(f(tn.Tensor([NAN], requires_grad=True)).data).all()


def test_the_empty_batch_and_the_double_where():
    with pytest.raises(ValueError, match="no mean loss of an empty batch"):
        tn.cross_entropy(tn.Tensor(np.zeros((0, 3))), np.zeros(0, int))
    assert tn.cross_entropy(tn.Tensor(np.zeros((0, 3))), np.zeros(0, int), reduction="sum").item() == 0
    with np.errstate(all="ignore"):  # where() cannot save a branch that was computed: guard its input as well
        assert np.isnan(slope(lambda x: np.where(x > 0, np.log(x), 0.0), [0.0])).all()
    safe = lambda x: np.where(x > 0, np.log(np.where(x > 0, x, 1.0)), 0.0)
    assert slope(safe, [0.0, 2.0]) == [0.0, 0.5]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("view", [lambda a: a, lambda a: a[::2, ::-1], lambda a: a.T])
def test_any_memory_layout_gives_the_same_gradient(order, view):
    array = np.array(np.random.default_rng(0).uniform(0.5, 1.5, (4, 6)), order=order)
    array.setflags(write=False)
    x, plain = tn.Tensor(view(array), requires_grad=True), tn.Tensor(view(array).copy(), requires_grad=True)
    f = lambda t: (np.log(t) @ np.ones((t.shape[1], 2))).max(axis=0)
    for t in (x, plain):
        f(t).sum().backward()
    assert np.allclose(x.grad, plain.grad, rtol=1e-14)
