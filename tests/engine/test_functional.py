"""Losses and activations: equal to their definitions, stable where the definitions are not, strict about arguments."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinynet as tn
from tinynet import functional as F
from tinynet.backend import device_of, to_device

logits = st.integers(1, 4).flatmap(
    lambda n: hnp.arrays(np.float64, st.tuples(st.just(n), st.integers(2, 5)), elements=st.floats(-30, 30))
)


def naive_cross_entropy(z, y):
    p = np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)
    return -np.log(p[np.arange(len(z)), y])


@settings(max_examples=40, deadline=None)
@given(logits, st.data())
def test_cross_entropy_is_its_definition(z, data):
    y = np.array(data.draw(st.lists(st.integers(0, z.shape[1] - 1), min_size=len(z), max_size=len(z))))
    each = naive_cross_entropy(z, y)
    assert np.allclose(tn.cross_entropy(tn.Tensor(z), y, reduction="none").data, each, rtol=1e-9, atol=1e-12)
    assert tn.cross_entropy(tn.Tensor(z), y).item() == pytest.approx(each.mean(), rel=1e-9, abs=1e-12)
    rows = np.eye(z.shape[1])[y]
    assert np.allclose(tn.cross_entropy(tn.Tensor(z), rows, reduction="none").data, each, rtol=1e-9, atol=1e-12)
    weight = np.linspace(0.5, 2, z.shape[1])
    mean = (each * weight[y]).sum() / weight[y].sum()
    assert tn.cross_entropy(tn.Tensor(z), y, weight=weight).item() == pytest.approx(mean, rel=1e-9, abs=1e-12)
    plain_mean = (each * weight[y]).mean()  # with probability rows, PyTorch divides by their number
    assert tn.cross_entropy(tn.Tensor(z), rows, weight=weight).item() == pytest.approx(plain_mean, rel=1e-9, abs=1e-12)
    smooth = rows * 0.9 + 0.1 / z.shape[1]
    target = -(smooth * np.log(np.exp(z) / np.exp(z).sum(-1, keepdims=True))).sum(-1).mean()
    assert tn.cross_entropy(tn.Tensor(z), y, label_smoothing=0.1).item() == pytest.approx(target, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_losses_are_exact_where_exp_overflows(dtype):
    z = tn.Tensor(np.array([[1e4, -1e4]], dtype), requires_grad=True)
    loss = tn.cross_entropy(z, [1])
    assert loss.item() == 2e4
    loss.backward()
    assert z.grad.tolist() == [[1.0, -1.0]]
    x = tn.Tensor(np.array([1e4, -1e4], dtype), requires_grad=True)
    loss = tn.binary_cross_entropy_with_logits(x, [0.0, 1.0])
    assert loss.item() == 1e4
    loss.backward()
    assert x.grad.tolist() == [0.5, -0.5]


@pytest.mark.parametrize(
    ("f", "x", "y", "slope"),
    [
        (F.sigmoid, [1e4, -1e4, 0.0], [1.0, 0.0, 0.5], [0.0, 0.0, 0.25]),
        (F.softplus, [1e4, -1e4], [1e4, 0.0], [1.0, 0.0]),
        (F.softmax, [1e4, 0.0, -1e4], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
        (F.log_softmax, [1e4, 0.0, -1e4], [0.0, -1e4, -2e4], [-2.0, 1.0, 1.0]),
        (F.logsumexp, [1e4, 1e4], 10000.6931471805599453, [0.5, 0.5]),
        (F.logsumexp, [-np.inf, 0.0], 0.0, [0.0, 1.0]),
        (F.silu, [1e4, -1e4], [1e4, 0.0], [1.0, 0.0]),
        (F.elu, [1e4, -1e4], [1e4, -1.0], [1.0, 0.0]),
        (F.relu, [-np.inf, np.inf], [0.0, np.inf], [0.0, 1.0]),
    ],
)
def test_extremes_without_warning_or_nan(f, x, y, slope):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        t = tn.Tensor(np.array(x), requires_grad=True)
        value = f(t)
        value.backward(np.ones(value.shape))
    assert np.allclose(value.data, y, rtol=1e-15, atol=0)
    assert np.allclose(t.grad, slope, rtol=1e-15, atol=0)


@pytest.mark.parametrize(("shape", "value"), [((0, 3), []), ((3, 0), [-np.inf] * 3)])
def test_the_logarithm_of_a_sum_of_nothing(shape, value):
    x = tn.Tensor(np.zeros(shape), requires_grad=True)
    y = F.logsumexp(x)
    y.sum().backward()
    assert y.tolist() == value
    assert x.grad.shape == shape


def test_the_tail_of_the_sigmoid_keeps_its_digits():
    t = tn.Tensor(np.array([40.0, -40.0]), requires_grad=True)
    F.sigmoid(t).sum().backward()
    assert np.allclose(t.grad, np.exp(-40.0), rtol=1e-15, atol=0)  # y * (1 - y) gives 0 at 40


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(np.float64, (3, 2), elements=st.floats(-10, 10)), hnp.arrays(np.float64, (3, 2), elements=st.floats(-10, 10))
)
def test_regression_losses_are_their_definitions(p, t):
    e = np.abs(p - t)
    huber = np.where(e <= 2, e**2 / 2, 2 * (e - 1))
    for loss, each in ((tn.mse_loss, e**2), (tn.l1_loss, e), (lambda *a, **k: tn.huber_loss(*a, delta=2.0, **k), huber)):
        for reduction, value in (("mean", each.mean()), ("sum", each.sum()), ("none", each)):
            assert np.allclose(loss(tn.Tensor(p), t, reduction=reduction).data, value, rtol=1e-12, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.float64, 4, elements=st.floats(-15, 15)), hnp.arrays(np.float64, 4, elements=st.floats(0, 1)))
def test_binary_cross_entropy_is_its_definition(z, t):
    s = 1 / (1 + np.exp(-z))
    each = -t * np.log(s) - (1 - t) * np.log1p(-s)
    assert np.allclose(
        tn.binary_cross_entropy_with_logits(tn.Tensor(z), t, reduction="none").data, each, rtol=1e-6, atol=1e-9
    )


def test_gradients_of_composed_functions():
    z, rows = np.array([[0.3, -0.8, 1.2], [0.1, 0.5, -0.4]]), np.array([[0.2, 0.5, 0.3], [0.0, 0.9, 0.1]])
    assert tn.gradcheck(lambda x: tn.cross_entropy(x, rows), z, order=2)
    assert tn.gradcheck(lambda x: tn.cross_entropy(x, [0, 2], weight=[1.0, 2.0, 3.0], label_smoothing=0.2), z, order=2)
    assert tn.gradcheck(F.gelu, z, order=2)
    assert tn.gradcheck(lambda x: tn.huber_loss(x, rows), z)
    assert tn.gradcheck(lambda x: tn.l1_loss(x, rows), z)


def test_gelu_equals_its_definition_nearly():
    x = np.linspace(-4, 4, 41)
    exact = [v * 0.5 * (1 + np.vectorize(__import__("math").erf)(v / np.sqrt(2))) for v in x]
    assert np.abs(F.gelu(x) - exact).max() < 1e-3


def test_dropout_keeps_the_mean_and_scales():
    x = np.ones((200, 200), np.float32)
    y = F.dropout(x, 0.25, np.random.default_rng(0))
    assert set(np.unique(y).tolist()) == {0.0, float(np.float32(1 / 0.75))}
    assert y.mean() == pytest.approx(1.0, abs=0.01)
    assert y.dtype == np.float32


def test_one_hot():
    assert F.one_hot([1, 0], 3).tolist() == [[0, 1, 0], [1, 0, 0]]
    assert F.one_hot(np.array([1]), 2).dtype == np.float32


BAD = [
    (lambda z: tn.cross_entropy(z, [0, 1, 2, 3]), ValueError, "labels must be in 0 to 2 for 3 classes, found 3"),
    (lambda z: tn.cross_entropy(z, [0, -1, 2, 1]), ValueError, "labels must be in 0 to 2 for 3 classes, found -1"),
    (
        lambda z: tn.cross_entropy(z, [0.0, 1.0, 2.0, 1.0]),
        tn.ShapeError,
        r"need integer labels of shape \(4,\).*astype\(int\)",
    ),
    (
        lambda z: tn.cross_entropy(z, [0, 1, 2]),
        tn.ShapeError,
        r"logits of shape \(4, 3\) need integer labels of shape \(4,\)",
    ),
    (lambda z: tn.cross_entropy(z, [[0], [1], [2], [0]]), tn.ShapeError, r"drop the last axis: labels\[..., 0\]"),
    (lambda z: tn.cross_entropy(z, [True, False, True, True]), TypeError, r"labels must be integers .*got dtype bool"),
    (
        lambda z: tn.cross_entropy(z, [0, 1, 2, 0], weight=[1.0]),
        tn.ShapeError,
        r"one number per class, shape \(3,\), got \(1,\)",
    ),
    (
        lambda z: tn.cross_entropy(z, [0, 1, 2, 0], label_smoothing=1.0),
        ValueError,
        r"label_smoothing must be in \[0, 1\), got 1",
    ),
    (lambda z: tn.cross_entropy(z, [0, 1, 2, 0], reduction="avg"), ValueError, "'mean', 'sum' or 'none', got 'avg'"),
    (lambda z: tn.mse_loss(z, np.ones((3, 4))), tn.ShapeError, r"prediction of shape \(4, 3\), target of shape \(3, 4\)"),
    (lambda z: tn.mse_loss(z, np.ones(5)), tn.ShapeError, r"prediction of shape \(4, 3\), target of shape \(5,\)$"),
    (lambda z: tn.mse_loss(z[:, :1], np.ones(4)), tn.ShapeError, r"reshape the target: target.reshape\(\(4, 1\)\)"),
    (
        lambda z: tn.binary_cross_entropy_with_logits(z, 2 * np.ones((4, 3))),
        ValueError,
        r"must lie in \[0, 1\], got 2.0 to 2.0",
    ),
    (lambda z: tn.huber_loss(z, np.ones((4, 3)), delta=0), ValueError, "delta must be positive, got 0"),
    (lambda z: F.one_hot([3], 3), ValueError, "one_hot: labels must be in 0 to 2"),
    # a target of one axis is no row that all examples share: class numbers, or a column that has lost its axis
    (
        lambda z: tn.cross_entropy(z[:3], [0.0, 1.0, 2.0]),
        tn.ShapeError,
        r"got float32 labels of shape \(3,\).*astype\(int\)",
    ),
    (lambda z: tn.mse_loss(z[:3], np.arange(3.0)), tn.ShapeError, r"prediction of shape \(3, 3\), target of shape \(3,\)"),
    (lambda z: tn.l1_loss(z, 1.0), tn.ShapeError, r"l1_loss: prediction of shape \(4, 3\), target of shape \(\)"),
    (
        lambda z: tn.binary_cross_entropy_with_logits(z[:3], np.ones(3)),
        tn.ShapeError,
        r"prediction of shape \(3, 3\), target of shape \(3,\)",
    ),
    (
        lambda z: tn.cross_entropy(z, np.full((4, 3), 0.5)),
        ValueError,
        r"cross_entropy: each row of probabilities must be 0 or more and add up to 1, found a row that adds up to 1.5",
    ),
    (
        lambda z: tn.cross_entropy(z, np.array([[2.0, -1.0, 0.0]] * 4)),
        ValueError,
        r"must be 0 or more and add up to 1, found -1.0",
    ),
    (lambda z: tn.cross_entropy(z, np.array([[0.5, 0.5, 0.0]] * 3 + [[0.5, 0.3, 0.21]])), ValueError, "adds up to 1.01$"),
    (lambda z: tn.cross_entropy(z, np.full((4, 3), np.nan)), ValueError, r"add up to 1, found nan"),
    (lambda z: F.dropout(z, 1, np.random.default_rng(0)), ValueError, r"dropout: p must be in \[0, 1\), got 1"),
    (lambda z: F.dropout(z, "a", np.random.default_rng(0)), TypeError, r"dropout: p must be a number .*got 'a'"),
]

WHOLE = r"{}: {} must be floating-point numbers, got int64: cast them by .astype\(float\)"


@pytest.mark.parametrize(
    ("f", "name", "argument"),
    [
        (lambda z: tn.mse_loss(z, [[1.5, 2.5]]), "mse_loss", "prediction"),
        (lambda z: tn.l1_loss(z, [[1.5, 2.5]]), "l1_loss", "prediction"),
        (lambda z: tn.huber_loss(z, [[1.5, 2.5]]), "huber_loss", "prediction"),
        (lambda z: tn.cross_entropy(z, [1]), "cross_entropy", "logits"),
        (lambda z: tn.binary_cross_entropy_with_logits(z, [[0.5, 1]]), "binary_cross_entropy_with_logits", "logits"),
        (lambda z: F.dropout(z, 0.3, np.random.default_rng(0)), "dropout", "x"),
        (lambda z: tn.Dropout(0.3)(z), "dropout", "x"),
    ],
)
def test_whole_numbers_are_no_predictions(f, name, argument):
    for z in (np.array([[1, 2]]), tn.Tensor([[1, 2]])):
        with pytest.raises(TypeError, match=WHOLE.format(name, argument)):
            f(z)


def test_predictions_may_be_a_list():
    assert tn.mse_loss([1.0, 3.0], [1.0, 1.0]).item() == 2.0
    assert tn.cross_entropy([[0.0, 0.0]], [1]).item() == pytest.approx(np.log(2))
    assert tn.binary_cross_entropy_with_logits([0.0], [1.0]).item() == pytest.approx(np.log(2))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_of_a_small_dtype_add_up_to_1_up_to_their_rounding(dtype):
    z = np.random.default_rng(0).normal(0, 3, (64, 1000))
    rows = F.softmax(z).astype(dtype)
    assert np.isfinite(tn.cross_entropy(tn.Tensor(z), rows).item())


def test_the_logarithm_of_a_sum_over_all_axes():
    z = np.array([[0.3, -0.8], [1.2, 0.1]])
    assert tn.gradcheck(lambda x: F.logsumexp(x, None), z, order=2)
    assert tn.gradcheck(lambda x: F.logsumexp(x, (0, 1)), z)
    assert tn.gradcheck(lambda x: F.softmax(x, None), z)
    assert F.logsumexp(tn.Tensor(z), None).item() == pytest.approx(np.log(np.exp(z).sum()), rel=1e-12)


@pytest.mark.parametrize(("f", "error", "text"), BAD)
def test_bad_arguments(f, error, text):
    with pytest.raises(error, match=text):
        f(tn.Tensor(np.zeros((4, 3)), requires_grad=True))


@pytest.mark.parametrize("weight", [None, [1.0, 2.0, 3.0]])
def test_probability_rows_of_another_dtype_do_not_promote(weight):
    logits = tn.Tensor(np.zeros((2, 3), np.float32), requires_grad=True)
    assert tn.cross_entropy(logits, np.full((2, 3), 1 / 3), weight=weight).dtype == np.float32


def test_the_weighted_mean_of_an_empty_batch_is_refused_too():
    with pytest.raises(ValueError, match="no mean loss of an empty batch"):
        tn.cross_entropy(tn.Tensor(np.zeros((0, 3))), np.zeros(0, int), weight=[1.0, 2.0, 3.0])


def test_the_mean_of_no_replicas_is_refused_too():
    with pytest.raises(ValueError, match="no mean loss of an empty batch"):
        tn.mse_loss(tn.Tensor(np.zeros((0, 4, 3))), np.zeros((4, 3)))


# What targets may be ------------------------------------------------------------------------------------------------------

ROWS = np.array([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0], [0.1, 0.1, 0.8], [0.4, 0.6, 0.0]])
CLASSES = np.array([2, 0, 1, 1])
LOSSES = {
    "mse": (tn.mse_loss, ROWS),
    "l1": (tn.l1_loss, ROWS),
    "huber": (tn.huber_loss, ROWS),
    "binary": (tn.binary_cross_entropy_with_logits, ROWS),
    "rows": (tn.cross_entropy, ROWS),
    "weighted rows": (lambda z, t: tn.cross_entropy(z, t, weight=[1.0, 2.0, 5.0]), ROWS),
    "classes": (tn.cross_entropy, CLASSES),
    "weighted classes": (lambda z, t: tn.cross_entropy(z, t, weight=[1.0, 2.0, 5.0]), CLASSES),
    "smoothed classes": (lambda z, t: tn.cross_entropy(z, t, label_smoothing=0.3), CLASSES),
}
Z = np.random.default_rng(3).normal(0, 2, (2, 4, 3)).astype(np.float32)
every_loss = pytest.mark.parametrize(("loss", "target"), LOSSES.values(), ids=LOSSES)


@every_loss
def test_replicas_share_a_target(loss, target):
    together = loss(tn.Tensor(Z), target).item()
    assert together == pytest.approx(np.mean([loss(tn.Tensor(z), target).item() for z in Z]), rel=1e-6)


@every_loss
def test_a_target_may_be_a_tensor_of_any_dtype(loss, target):
    expected = loss(tn.Tensor(Z[0]), target.astype(np.float32) if target is ROWS else target)
    for other in (target, tn.Tensor(target), target.tolist()):
        value = loss(tn.Tensor(Z[0]), other)
        assert value.dtype == np.float32
        assert value.item() == expected.item()


@pytest.mark.parametrize(
    ("loss", "slope"),
    [
        (tn.mse_loss, lambda z, t: 2 * (t - z) / z.size),
        (tn.cross_entropy, lambda z, t: (np.log(np.exp(z).sum(-1, keepdims=True)) - z) / len(z)),
    ],
    ids=["mse", "cross entropy"],
)
def test_a_target_that_requires_a_gradient_gets_one(loss, slope):
    z, target = Z[0].astype(float), tn.Tensor(ROWS, requires_grad=True)
    assert np.allclose(tn.gradients(loss(tn.Tensor(z), target), target), slope(z, ROWS), rtol=1e-12, atol=1e-12)


@every_loss
def test_a_list_goes_to_the_device_of_the_prediction(loss, target, cuda):
    assert device_of(loss(tn.Tensor(to_device(Z[0], cuda)), target.tolist())) == "cuda"


@pytest.mark.parametrize(
    ("loss", "target", "text"),
    [
        (tn.mse_loss, ROWS, "mse_loss: target on {}, prediction on {}: move one of them with .to"),
        (tn.huber_loss, ROWS, "huber_loss: target on {}, prediction on {}: move one of them with .to"),
        (tn.cross_entropy, CLASSES, "cross_entropy: labels on {}, logits on {}: move one of them with .to"),
    ],
    ids=["mse", "huber", "cross entropy"],
)
def test_a_target_on_another_device_is_refused(loss, target, text, cuda):
    with pytest.raises(TypeError, match=text.format("cpu", "cuda")):
        loss(tn.Tensor(to_device(Z[0], cuda)), target)
    with pytest.raises(TypeError, match=text.format("cuda", "cpu")):
        loss(tn.Tensor(Z[0]), to_device(target, cuda))
