"""Tensor behaves like a NumPy array, keeps its dtype, and says clearly what it does not do."""

import collections
import copy
import math
import operator
import pickle
import re

import numpy as np
import pytest

import tinynet as tn
from tinynet import messages


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
        lambda a, b: a % b, lambda a, b: b % a, lambda a, b: (-a) % b, lambda a, b: 7 % a, lambda a, b: 7 - a, lambda a, b: 7 / a, lambda a, b: (-b) % a, lambda a, b: +a,
        lambda a, b: -a, lambda a, b: abs(a), lambda a, b: 2**a, lambda a, b: a[1:, ::2], lambda a, b: a.mean(axis=0),
        lambda a, b: a.T, lambda a, b: a.swapaxes(0, 1), lambda a, b: a.reshape(-1), lambda a, b: a.var(ddof=1),
    ):  # fmt: skip
        assert np.array_equal(f(t, y).data, f(x, y))
    for f in (
        lambda a, b: a // b, lambda a, b: b // a, lambda a, b: 7 // a, lambda a, b: a == b, lambda a, b: a != b, lambda a, b: a < b,
        lambda a, b: a <= b, lambda a, b: a > b, lambda a, b: a >= b, lambda a, b: b >= a, lambda a, b: b < a,
    ):  # fmt: skip
        for other in (y, x, x[::-1]):
            assert type(f(t, other)) is np.ndarray
            assert np.array_equal(f(t, other), f(x, other))
            assert np.array_equal(f(t, tn.Tensor(other)), f(x, other))


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
        (
            lambda t: np.cumprod(t),
            TypeError,
            r"^np.cumprod has no derivative rule.*Close to it: np.prod.*pass t.data. All .* docs/rules.md$",
        ),
        (lambda t: np.sinc(t), TypeError, r"Close to it: np.s"),
        (lambda t: np.add.reduce(t), TypeError, r"np.add.reduce has no derivative rule: use np.sum"),
        (lambda t: np.sum(t, dtype=np.float32), TypeError, r"np.sum on a Tensor does not take \['dtype'\]"),
        (
            lambda t: np.power(tn.Tensor([2]), np.array([-1])),
            ValueError,
            r"np.power of shape \(1,\) and \(1,\): Integers to negative integer powers",
        ),
        (lambda t: t[:0].max(), ValueError, r"np.max of shape \(0, 3\): zero-size array"),
        (lambda t: t.reshape(4), tn.ShapeError, r"np.reshape: operands of shape \(2, 3\) do not fit: cannot reshape"),
        (lambda t: np.exp(t, out=np.zeros((2, 3))), TypeError, r"np.exp cannot write a Tensor into an array"),
        (
            lambda t: np.clip(np.ones(3), t[0], 1.0),
            TypeError,
            r"clip has no derivative with respect to operand 1: pass it as an array",
        ),
        (lambda t: t.__setitem__(0, 1.0), TypeError, r"not written in place.*np.where.*no_grad\(\): w.data\[0\] = 5"),
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
    with pytest.raises(error, match=text) as caught:
        f(recorded(2, 3))
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("f", "text"),
    [
        (lambda t: np.sum(t, dtype=float), r"np.sum on a Tensor does not take \['dtype'\]"),
        (lambda t: np.max(t, initial=5), r"np.max on a Tensor does not take \['initial'\]"),
        (lambda t: np.exp(t, where=t > 1), r"np.exp on a Tensor does not take \['where'\]"),
        (lambda t: np.sum(t, 0, None), r"np.sum on a Tensor does not take 3 positional arguments"),
    ],
)
def test_a_call_without_a_rule_fails_without_a_gradient_too(f, text):
    for t in (recorded(2, 3), tn.Tensor([1.0])):  # what runs in eval() must run in train()
        with pytest.raises(TypeError, match=text):
            f(t)
        with tn.no_grad(), pytest.raises(TypeError, match=text):
            f(t)


# In place ---------------------------------------------------------------------------------------------------------------

IN_PLACE = {
    "+=": (operator.iadd, 3.0),
    "-=": (operator.isub, -1.0),
    "*=": (operator.imul, 2.0),
    "/=": (operator.itruediv, 0.5),
    "//=": (operator.ifloordiv, 0.0),
    "%=": (operator.imod, 1.0),
    "**=": (operator.ipow, 1.0),
}


@pytest.mark.parametrize(("operate", "value"), IN_PLACE.values(), ids=IN_PLACE)
@pytest.mark.parametrize(
    "make", [tn.Parameter, lambda x: tn.Tensor(x, requires_grad=True), lambda x: tn.Parameter(x, False)]
)
def test_inside_no_grad_a_parameter_moves_in_place(operate, value, make):
    array = np.ones(2, np.float32)
    w = make(array)
    with tn.no_grad():
        assert operate(w, tn.Tensor(np.float64([2.0, 2.0]))) is w
    assert array.tolist() == [value, value]
    assert w.dtype == np.float32
    assert w.node is None


def test_a_matrix_is_multiplied_in_place_or_not_at_all():
    w = tn.Parameter([[1.0, 2.0], [3.0, 4.0]])
    same = w
    with tn.no_grad():
        w @= np.float32([[0.0, 1.0], [1.0, 0.0]])
        assert w is same
        assert w.tolist() == [[2.0, 1.0], [4.0, 3.0]]
        with pytest.raises(ValueError, match=r"matmul.* of shape \(2, 2\) and \(2, 1\)"):
            w @= np.ones((2, 1), np.float32)
    assert w.tolist() == [[2.0, 1.0], [4.0, 3.0]]


@pytest.mark.parametrize("operate", [operator.ipow, operator.imod, operator.ifloordiv, operator.imatmul])
def test_in_place_by_hand_can_be_captured(operate):
    def values(wrap):
        w = tn.Parameter([[5.5, -2.0], [0.25, 9.0]])

        def step(x):
            with tn.no_grad():
                operate(w, x)
            return w * 1

        step = wrap(step)
        return [step(np.float32([[0.5, 1.0], [2.0, k]])).tolist() for k in (1, 2, 1, 0.5, 1)]

    assert str(values(tn.capture)) == str(values(lambda step: step))


def test_gradient_descent_by_hand_is_that_of_sgd():
    x, y = tn.datasets.moons(64, seed=0)
    by_hand, other = tn.MLP([2, 8, 2], seed=0), tn.MLP([2, 8, 2], seed=0)
    optimizer = tn.optimizers.SGD(other.parameters(), lr=0.25)
    for _ in range(5):
        loss = tn.cross_entropy(by_hand(x), y)
        loss.backward()
        with tn.no_grad():
            for p in by_hand.parameters():
                p -= 0.25 * p.grad
        by_hand.zero_grad()
        optimizer.zero_grad()
        tn.cross_entropy(other(x), y).backward()
        optimizer.step()
    for a, b in zip(by_hand.parameters(), other.parameters(), strict=True):
        assert np.array_equal(a.data, b.data)


def test_gradient_descent_by_hand_can_be_captured():
    x, y = tn.datasets.sine(32)

    def losses(wrap):
        model = tn.MLP([1, 4, 1], "tanh", seed=0)
        halved = collections.deque([tn.Parameter([1.0])])  # in which capture does not look for parameters
        calls = collections.deque()

        def step(x, y):
            model.zero_grad()
            loss = tn.mse_loss(model(x), y)
            loss.backward()
            with tn.no_grad():
                for p in model.parameters():
                    p -= 0.1 * p.grad
                for p in halved:
                    p *= 0.5
            calls.append(None)
            return loss

        step = wrap(step)
        found = [step(x, y).item() for _ in range(8)]
        assert halved[0].tolist() == [0.5**8]
        return found, len(calls)

    by_hand, every = losses(lambda step: step)
    captured, few = losses(tn.capture)
    assert captured == by_hand
    assert by_hand[-1] < by_hand[0]
    assert (few, every) == (2, 8)


def test_outside_no_grad_a_leaf_is_not_changed_in_place():
    for w in (tn.Parameter([1.0]), recorded(1)):
        with pytest.raises(TypeError, match=r"\(with no_grad\(\): w -= ...\)\. \(w = w - ... is no way round"):
            w -= 1.0
        assert w.tolist() == [1.0]


def test_nothing_is_written_that_a_graph_needs():
    w = tn.Parameter([2.0], name="w")
    loss = (w * w).sum()
    with tn.no_grad(), pytest.raises(ValueError, match="w of shape .1,. is needed as it is by a graph.*backward"):
        w -= 1.0
    loss.backward()
    assert w.grad.tolist() == [4.0]
    with tn.no_grad():
        w -= 1.0
    assert w.tolist() == [1.0]
    with tn.no_grad(), pytest.raises(tn.ShapeError, match=r"np.add: operands of shape \(1,\) and \(3,\) do not fit"):
        w += np.ones(3)
    assert w.shape == (1,)


def test_sums_grow_as_before():
    x = recorded(2)
    total = tn.Tensor(np.zeros(2))
    start = total
    for _ in range(2):
        total += 3 * x
    total.sum().backward()
    assert start.tolist() == [0.0, 0.0]
    assert x.grad.tolist() == [6.0, 6.0]
    plain = tn.Tensor([1.0])
    alias = plain
    with tn.no_grad():
        plain += 1.0
    assert (plain.tolist(), alias.tolist()) == ([2.0], [1.0])


# Names that are not there -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("exp", "'Parameter' object has no attribute 'exp': write np.exp(t)"),
        ("any", "'Parameter' object has no attribute 'any': write np.any(t)"),
        ("sort", "'Parameter' object has no attribute 'sort': write np.sort(t)"),
        ("view", "'Parameter' object has no attribute 'view': write t.reshape(...)"),
        ("softmax", "'Parameter' object has no attribute 'softmax': write tinynet.softmax(t)"),
        ("sub_", "'Parameter' object has no attribute 'sub_': write with no_grad(): t -= ..."),
        ("requires_grad_", "'Parameter' object has no attribute 'requires_grad_': write t.requires_grad = True, or False"),
    ],
)
def test_a_name_of_pytorch_is_answered_with_what_to_write(name, text):
    with pytest.raises(AttributeError) as caught:
        getattr(tn.Parameter([1.0]), name)
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize("name", ["shpe", "cumprod", "pi", "exp_"])
def test_any_other_name_is_just_not_there(name):
    t = tn.Tensor([1.0])
    assert not hasattr(t, name)
    with pytest.raises(AttributeError, match=f"^'Tensor' object has no attribute '{name}'$"):
        getattr(t, name)


def test_copies_and_pickles_go_on_without_the_names():
    w = tn.Parameter([1.0, 2.0], name="w")
    for other in (copy.copy(w), copy.deepcopy(w), pickle.loads(pickle.dumps(w))):
        assert type(other) is tn.Parameter
        assert (other.name, other.tolist(), other.requires_grad) == ("w", [1.0, 2.0], True)
    with pytest.raises(AttributeError, match="no attribute 'data'"):  # not yet filled in
        tn.Tensor.__new__(tn.Tensor).data  # noqa: B018


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nn", "write tinynet.Linear, tinynet.Module ... (layers), tinynet.functional (functions)"),
        (
            "binary_cross_entropy",
            "write tinynet.binary_cross_entropy_with_logits(outputs, targets), of outputs before",
        ),
        ("Adam", "write tinynet.optimizers.Adam"),
        ("gelu", "write tinynet.functional.gelu"),
        ("zeros", "write np.zeros(...)"),
        ("save", "write np.savez('model.npz', **model.state_dict())"),  # not np.save
    ],
)
def test_a_name_that_tinynet_has_elsewhere(name, text):
    assert not hasattr(tn, name)
    with pytest.raises(AttributeError) as caught:
        getattr(tn, name)
    assert str(caught.value).startswith(f"module 'tinynet' has no attribute {name!r}: {text}")


@pytest.mark.parametrize("name", ["np", "pi", "lineer", "__path_of__", "_add"])
def test_a_name_that_is_nowhere(name):
    with pytest.raises(AttributeError, match=f"^module 'tinynet' has no attribute '{name}'$"):
        getattr(tn, name)


# What is advised is there --------------------------------------------------------------------------------------------------


def test_no_advice_is_for_what_is_there():
    t = tn.Tensor([[1.0]])
    there = {name for name in messages.OF_A_TENSOR if hasattr(t, name)}
    assert all(messages.OF_A_TENSOR[name] == f"np.{name}(t)" for name in there)  # t.sum() is np.sum(t)
    assert there >= {"sum", "reshape"}
    assert not any(hasattr(tn, name) for name in messages.OF_TINYNET)
    advice = " ".join([*messages.OF_A_TENSOR.values(), *messages.OF_TINYNET.values()])
    for home, name in re.findall(r"\b(tinynet|t|np)\.(linalg\.\w+|\w+)", advice):
        assert operator.attrgetter(name)({"tinynet": tn, "t": t, "np": np}[home]) is not None or name == "node"


def test_what_is_not_there_is_not_listed_and_the_rest_is():
    names = dir(tn.Parameter([1.0]))
    assert not {"exp", "view", "sub_"} & {*names}
    assert {"sum", "data", "alone", "backward", "__add__"} <= {*names}
    assert names == sorted(names)


def test_attributes_that_are_there_are_looked_up_without_a_detour():
    assert not any(hasattr(kind, "__getattr__") or "__getattribute__" in vars(kind) for kind in (tn.Tensor, tn.Parameter))


# Subclasses of NumPy's array ---------------------------------------------------------------------------------------------


def test_masked_arrays_are_refused():
    masked = np.ma.masked_array([1.0, 2.0, 9.0], [False, False, True])
    for use in (tn.Tensor, lambda m: recorded(3) * m, lambda m: tn.mse_loss(recorded(3), m)):
        with pytest.raises(TypeError, match=r"a mask would be ignored: .*filled"):
            use(masked)


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_other_subclasses_are_plain_arrays(tmp_path):
    matrix = np.asmatrix([[1.0, 2.0], [3.0, 4.0]]).copy()  # it owns its memory
    assert type(tn.Tensor(matrix).data) is np.ndarray
    t = recorded(2, 2)
    (t * matrix).sum().backward()
    assert t.grad.tolist() == matrix.tolist()
    x = tn.Tensor(matrix, requires_grad=True)
    loss, kept = (x * x).sum(), (recorded(2, 2) * matrix).sum()
    loss.backward()
    del kept
    x.data[0] = 5.0  # that the whole was locked a little longer has not locked this view for ever
    mapped = np.memmap(tmp_path / "numbers", np.float64, "w+", shape=3)
    mapped[:] = [1.0, 2.0, 3.0]
    x = tn.Tensor(mapped, requires_grad=True)
    for make in (lambda: (x * x).sum(), lambda: (recorded(3) * mapped).sum(), lambda: (x * mapped).sum()):
        loss = make()
        with pytest.raises(ValueError, match="read-only"):
            mapped[0] = 5.0
        loss.backward()
        mapped[0] = 1.0
    assert x.grad.tolist() == [3.0, 6.0, 9.0]


def test_cuda_without_cupy_is_an_error_not_a_fallback(monkeypatch):
    import sys

    from tinynet import backend

    monkeypatch.setitem(sys.modules, "cupy", None)  # as if it were not installed
    backend.cupy.cache_clear()
    with pytest.raises(tn.DeviceError, match=r"device 'cuda' needs CuPy: pip install 'cupy-cuda13x\[ctk\]'"):
        recorded(2).to("cuda")
    with pytest.raises(tn.DeviceError, match="needs CuPy"):
        tn.MLP([2, 2]).to("cuda")
