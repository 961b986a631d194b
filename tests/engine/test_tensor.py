"""Tensor behaves like a NumPy array, keeps its dtype, and says clearly what it does not do."""

import math

import numpy as np
import pytest

import tinynet as tn


def recorded(*shape, dtype=np.float64):
    return tn.Tensor(np.arange(1.0, 1 + math.prod(shape), dtype=dtype).reshape(shape), requires_grad=True)


# Making -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        ([1.0, 2.0], np.float32),
        (1.5, np.float32),
        ([[1.0], [2.0]], np.float32),
        ([1, 2], np.int64),
        ([True], np.bool_),
        (np.array([1.0]), np.float64),
        (np.float64(1.0), np.float64),
        (np.float32(1.0), np.float32),
        ([np.float64(1.0)], np.float64),
        (np.array([1, 2], np.int8), np.int8),
    ],
)
def test_dtype_of_what_is_passed(data, dtype):
    assert tn.Tensor(data).dtype == dtype


def test_default_dtype_can_be_changed():
    tn.set_default_dtype(np.float64)
    try:
        assert tn.Tensor([1.0]).dtype == np.float64
        assert tn.MLP([1, 1]).layers[0].weight.dtype == np.float64
    finally:
        tn.set_default_dtype(np.float32)
    with pytest.raises(TypeError, match="floating-point dtype such as float32"):
        tn.set_default_dtype(int)


def test_arrays_are_kept_not_copied():
    array = np.ones(3)
    assert tn.Tensor(array).data is array


@pytest.mark.parametrize("data", [[1, 2], [True], np.array([1, 2])])
def test_whole_numbers_cannot_require_a_gradient(data):
    with pytest.raises(TypeError, match=r"only floating-point tensors.*write floats"):
        tn.Tensor(data, requires_grad=True)


@pytest.mark.parametrize(
    ("data", "error", "text"),
    [
        ([[1.0], [1.0, 2.0]], ValueError, "ragged list"),
        (["a"], TypeError, "text or mixed objects"),
        ([None], TypeError, "text or mixed objects"),
        ([1j], TypeError, "real numbers"),
    ],
)
def test_what_is_no_array_of_numbers(data, error, text):
    with pytest.raises(error, match=text):
        tn.Tensor(data)


# dtype ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    "f",
    [
        lambda t: t * 2.0, lambda t: 1 + t, lambda t: t / 3, lambda t: t**2, lambda t: 2.0 - t, lambda t: t.mean(),
        lambda t: np.maximum(t, 0), lambda t: np.where(t > 1, t, 0.0), lambda t: t.std(), lambda t: np.clip(t, 0, 2),
        lambda t: t.max(axis=0), tn.relu, tn.sigmoid, tn.softmax, tn.logsumexp, tn.functional.gelu, tn.functional.elu,
        tn.functional.leaky_relu, tn.functional.softplus, lambda t: t * np.arange(4) > 0 if False else t * True,
    ],
)  # fmt: skip
def test_python_numbers_never_promote(f, dtype):
    t = recorded(3, 4, dtype=dtype)
    y = f(t)
    y.sum().backward()
    assert y.dtype == dtype
    assert t.grad.dtype == dtype


# NumPy's manners --------------------------------------------------------------------------------------------------------


def test_operators_equal_numpy():
    x, y = recorded(2, 3).data, recorded(2, 3).data + 0.5
    t = tn.Tensor(x, requires_grad=True)
    for f in (
        lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, lambda a, b: a / b, lambda a, b: a**b,
        lambda a, b: a @ b.T, lambda a, b: b @ a.T, lambda a, b: b - a, lambda a, b: b / a, lambda a, b: b**a,
        lambda a, b: -a, lambda a, b: abs(a), lambda a, b: 2**a, lambda a, b: a[1:, ::2], lambda a, b: a.mean(axis=0),
        lambda a, b: a.T, lambda a, b: a.swapaxes(0, 1), lambda a, b: a.reshape(-1), lambda a, b: a.var(ddof=1),
    ):  # fmt: skip
        assert np.array_equal(f(t, y).data, f(x, y))


def test_numpy_functions_record_the_graph():
    t = recorded(2, 3)
    y = np.sum(np.where(t > 2, np.sin(t), 0 * t), axis=0)
    assert isinstance(y, tn.Tensor)
    y.sum().backward()
    assert np.allclose(t.grad, np.where(t.data > 2, np.cos(t.data), 0))


def test_comparisons_and_counts_are_plain_arrays():
    t = recorded(2, 2)
    for mask in (t > 2, t >= 2, t < 2, t <= 2, t == 2, t != 2, np.isfinite(t), np.greater(t, 1)):
        assert type(mask) is np.ndarray
    assert t.argmax() == np.argmax(t) == 3
    assert np.zeros_like(t).tolist() == [[0, 0], [0, 0]]
    assert np.shape(t) == t.shape == (2, 2)


def test_leaving_the_graph():
    t = recorded(1)
    assert float(t) == t.item() == 1.0
    assert int(t) == 1
    assert not t.detach().requires_grad
    assert np.asarray(t.detach()).tolist() == [1.0]
    assert bool(t > 0)
    assert len(recorded(3, 2)) == 3
    assert [row.shape for row in recorded(3, 2)] == [(2,)] * 3


def test_repr_shows_values_and_origin():
    assert repr(tn.Tensor([1.0, 2.0])) == "Tensor([1., 2.])"
    assert "requires_grad=True" in repr(recorded(2))
    assert "by=exp" in repr(np.exp(recorded(2)))
    assert "dtype=float64" in repr(recorded(2))


# Errors -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "error", "text"),
    [
        (lambda t: t @ recorded(5, 2), tn.ShapeError, r"matmul: operands of shape \(2, 3\) and \(5, 2\) do not fit"),
        (lambda t: t + recorded(2), tn.ShapeError, r"np.add: operands of shape \(2, 3\) and \(2,\) do not fit"),
        (lambda t: np.cumprod(t), TypeError, r"np.cumprod has no derivative rule.*There are rules for: .*np.exp"),
        (lambda t: np.sinc(t), TypeError, r"Close to it: np.s"),
        (lambda t: np.add.reduce(t), TypeError, r"np.add.reduce has no derivative rule: use np.sum"),
        (lambda t: np.sum(t, dtype=np.float32), TypeError, r"np.sum on a Tensor does not take \['dtype'\]"),
        (lambda t: np.exp(t, out=np.zeros((2, 3))), TypeError, r"np.exp cannot write a Tensor into an array"),
        (
            lambda t: np.clip(np.ones(3), t[0], 1.0),
            TypeError,
            r"clip has no derivative with respect to operand 1: pass it as an array",
        ),
        (lambda t: t.__setitem__(0, 1.0), TypeError, "not written in place.*np.where"),
        (lambda t: bool(t), ValueError, r"shape \(2, 3\) is ambiguous"),
        (lambda t: float(t), ValueError, r"one element has an item\(\), this one has shape \(2, 3\)"),
        (lambda t: np.asarray(t), TypeError, r"silently drop.*t.detach\(\)"),
        (lambda t: (t * 1).backward(), ValueError, r"needs a scalar, this tensor has shape \(2, 3\): reduce it"),
        (lambda t: (t * 1).backward([1.0]), tn.ShapeError, r"the tensor has shape \(2, 3\), the gradient \(1,\)"),
        (lambda t: list(t.sum()), TypeError, "cannot iterate over a 0-d tensor"),
        (lambda t: t.astype(int), TypeError, "stays floating-point"),
        (lambda t: t[5], IndexError, r"getitem of shape \(2, 3\): index 5 is out of bounds"),
        (lambda t: t.to("gpu"), tn.DeviceError, "unknown device 'gpu': expected 'cpu' or 'cuda'"),
    ],
)
def test_errors_say_what_is_wrong_and_what_to_do(f, error, text):
    with pytest.raises(error, match=text):
        f(recorded(2, 3))


def test_cuda_without_cupy_is_an_error_not_a_fallback(monkeypatch):
    import sys

    from tinynet import backend

    monkeypatch.setitem(sys.modules, "cupy", None)  # as if it were not installed
    backend.cupy.cache_clear()
    with pytest.raises(tn.DeviceError, match=r"device 'cuda' needs CuPy: pip install 'cupy-cuda13x\[ctk\]'"):
        recorded(2).to("cuda")
    with pytest.raises(tn.DeviceError, match="needs CuPy"):
        tn.MLP([2, 2]).to("cuda")
