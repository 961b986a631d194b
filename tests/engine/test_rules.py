"""Every rule of the table is right: checked against differences, to second order, on arrays and on Tensors.

`SAMPLES` has for every function of the table one or more calls with inputs away from kinks. A function without a sample
fails the suite, so no rule can enter the table unchecked.
"""

import ast
import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinynet as tn
from tinynet import kernels, rules
from tinynet.backend import to_device
from tinynet.compositions import COMPOSED
from tinynet.graph import ancestors
from tinynet.messages import name_of
from tinynet.rules import RULES
from tinynet.samples import SAMPLES, some

RAW = {f if f in RULES or f in COMPOSED else getattr(f, "__wrapped__", f): samples for f, samples in SAMPLES.items()}
CASES = [
    pytest.param(f, inputs, id=f"{name_of(function)}-{i}")
    for function, samples in RAW.items()
    for i, (f, *inputs) in enumerate(samples)
]


def test_every_rule_has_a_sample():
    missing = [name_of(function) for function in (*RULES, *COMPOSED) if function not in RAW]
    assert not missing, f"rules without a sample in SAMPLES: {missing}"


@pytest.mark.parametrize(("f", "inputs"), CASES)
def test_gradient_to_second_order(f, inputs):
    assert tn.gradcheck(f, *inputs, order=2)


@pytest.mark.parametrize(("f", "inputs"), CASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradient_keeps_shape_and_dtype_and_touches_nothing(f, inputs, dtype):
    tensors = [tn.Tensor(x.astype(dtype), requires_grad=True) for x in inputs]
    before = [t.data.copy() for t in tensors]
    y = f(*tensors)
    seed = np.ones_like(y.data)
    y.backward(seed)
    for t, was in zip(tensors, before, strict=True):
        assert t.grad.shape == t.shape
        assert t.grad.dtype == dtype
        assert np.array_equal(t.data, was)
        assert not np.shares_memory(t.grad, t.data)
        assert not np.shares_memory(t.grad, seed)
    assert np.array_equal(seed, np.ones_like(seed))
    for i, t in enumerate(tensors):
        assert not any(np.shares_memory(t.grad, other.grad) for other in tensors[i + 1 :])


@pytest.mark.parametrize(("f", "inputs"), CASES)
def test_gradient_is_linear_in_the_upstream_gradient(f, inputs):
    x = tn.Tensor(inputs[0], requires_grad=True)
    y = f(x, *inputs[1:])
    g, h = some(*y.shape), some(*y.shape)
    of = lambda upstream: tn.gradients(y, x, upstream)
    assert np.allclose(of(g + 3 * h), of(g) + 3 * of(h), rtol=1e-12, atol=1e-12)
    assert not of(0 * g).any()


KINKS = [
    (abs, [0.0], [0.0]),
    (kernels.relu, [0.0], [0.0]),
    (lambda x: np.maximum(x, 0), [0.0], [0.5]),
    (lambda x: np.maximum(x, x), [1.0], [1.0]),
    (lambda x: np.minimum(x, x), [1.0], [1.0]),
    (lambda x: np.clip(x, 0.0, 1.0), [0.0, 1.0, -1.0], [1.0, 1.0, 0.0]),
    (np.max, [2.0, 2.0, 1.0], [0.5, 0.5, 0.0]),
    (np.min, [2.0, 1.0, 1.0], [0.0, 0.5, 0.5]),
    (np.std, [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]),
    (lambda x: x**0, [0.0, 1e30], [0.0, 0.0]),
    (lambda x: x ** np.zeros(2, np.float32), [0.0, 1e30], [0.0, 0.0]),
    (lambda x: x**1, [0.0], [1.0]),
    (lambda x: x**2, [0.0], [0.0]),
    (lambda n: 0.0 * n + 0.0**n, [2.0], [0.0]),
]


@pytest.mark.parametrize(("f", "x", "slope"), KINKS)
def test_convention_at_kinks_and_ties(f, x, slope):
    x = tn.Tensor(x, requires_grad=True)
    f(x).sum().backward()
    assert x.grad.tolist() == slope


@pytest.mark.parametrize("f", [np.exp, np.sqrt, np.cbrt, np.reciprocal, kernels.relu])
def test_a_rule_that_reads_the_answer_alone_leaves_its_operand_writable(f):
    x = tn.Tensor(np.ones(2), requires_grad=True)
    slope = tn.gradients(f(x), x, np.ones(2))
    y = f(x)
    x.data[:] = -7.0
    assert np.array_equal(tn.gradients(y, x, np.ones(2)), slope)


class Adding(np.ndarray):
    """An array that notes whether elements are added to it one by one, which takes a hundred times as long."""

    one_by_one = 0

    def __array_ufunc__(self, ufunc, method, *inputs, **params):
        Adding.one_by_one += method == "at"
        return getattr(ufunc, method)(*(x.view(np.ndarray) if isinstance(x, Adding) else x for x in inputs), **params)


@pytest.mark.parametrize(
    ("index", "slow"),
    [
        (1, 0), (np.int64(-1), 0), (slice(None, None, -2), 0), ((..., 0), 0), ((None, slice(1, 3), None, 2), 0), ((), 0),
        ([0, 0], 1), ((slice(None), [1, 1]), 1), (np.array([True, False, True]), 1), (True, 1), (False, 1), ((1, np.array(2)), 1),
    ],
)  # fmt: skip
def test_the_gradient_of_a_slice_is_written_in_one_piece(index, slow):
    whole, part = np.zeros((3, 4)), np.arange(12.0).reshape(3, 4)[index]
    np.add.at(whole, index, part)
    Adding.one_by_one = 0
    put = kernels.put_back.__wrapped__(np.array(part).view(Adding), index, (3, 4))
    assert Adding.one_by_one == slow
    assert np.array_equal(put, whole)


@pytest.mark.parametrize(
    "f",
    [
        np.flip, np.fliplr, np.flipud, lambda x: np.flip(x, (0, -1)), lambda x: np.roll(x, 5), lambda x: np.roll(x, -1, 0),
        lambda x: np.roll(x, (1, 2), 1), lambda x: np.roll(x, 3, (0, 1)), lambda x: np.roll(x, (1, -7), (0, 1)),
        lambda x: np.roll(x, (1, 2)), lambda x: np.roll(x, (1, 2), (0, 0)),
        lambda x: np.roll(x, 0), lambda x: np.roll(x, np.uint8(1), 0), lambda x: np.roll(x[:0], 1, 0), lambda x: np.flip(x[0, 0]), lambda x: np.roll(x[0, 0], 3), lambda x: np.roll(x, (), ())[0],
        lambda x: np.flip(x, ()),
    ],
)  # fmt: skip
def test_what_is_turned_round_is_made_of_slices(f):
    x = tn.Tensor(some(3, 4), requires_grad=True)
    y = f(x)
    assert np.array_equal(y.data, f(x.data))
    indices = [node.values[1] for node in ancestors(y.node) if node.function is kernels.getitem.__wrapped__]
    assert indices
    assert all(map(kernels.is_slice, indices))
    assert tn.gradcheck(f, x.data, order=2)


@pytest.mark.parametrize(
    ("f", "error", "text"),
    [
        (lambda x: np.flip(x, 2), np.exceptions.AxisError, "axis 2 is out of bounds"),
        (lambda x: np.flip(x, (0, 0)), ValueError, "repeated axis"),
        (lambda x: np.fliplr(x[0]), ValueError, "must be >= 2-d|axis 1 is out of bounds"),
        (lambda x: np.flipud(x[0, 0]), ValueError, "must be >= 1-d|axis 0 is out of bounds"),
        (lambda x: np.roll(x, 1, 2), np.exceptions.AxisError, "axis 2 is out of bounds"),
        (lambda x: np.roll(x, (1, 2, 3), (0, 1)), ValueError, "broadcast"),
        (lambda x: np.roll(x, [[1], [2]], (0, 1)), ValueError, "scalars or 1D"),
    ],
)
def test_what_numpy_refuses_to_turn_round_is_refused(f, error, text):
    for x in (np.ones((2, 3)), tn.Tensor(np.ones((2, 3)), requires_grad=True)):
        with pytest.raises(error, match=text):
            f(x)


@pytest.mark.parametrize(("f", "shape"), [(np.diag, 3), (lambda x: x[kernels.minors(x)], (3, 3))], ids=["diag", "minors"])
def test_positions_made_on_the_host_are_carried_once(f, shape, standin):
    x = tn.Tensor(to_device(np.ones(shape), "cuda"))
    before = standin.count.uploads
    f(x)
    assert standin.count.uploads == before + 1  # not once for each axis that they index


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_broadcasting_is_undone_for_any_shapes(data):
    shapes = data.draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3, min_side=0))
    x, y = (some(*shape) for shape in shapes.input_shapes)
    f = data.draw(st.sampled_from([np.add, np.subtract, np.multiply, np.divide, np.maximum]))
    tx, ty = tn.Tensor(x, requires_grad=True), tn.Tensor(y, requires_grad=True)
    out = f(tx, ty)
    upstream = some(*out.shape)
    gx, gy = tn.gradients(out, [tx, ty], upstream)
    # The same without broadcasting: repeat both by hand, then add up the copies of each element.
    wide = [np.broadcast_to(v, out.shape).copy() for v in (x, y)]
    wx, wy = (tn.Tensor(w, requires_grad=True) for w in wide)
    for g, w, v in zip((gx, gy), tn.gradients(f(wx, wy), [wx, wy], upstream), (x, y), strict=True):
        index = np.broadcast_to(np.arange(v.size).reshape(v.shape), out.shape)
        total = np.bincount(index.ravel(), w.ravel(), minlength=v.size).reshape(v.shape)
        assert g.shape == v.shape
        assert np.allclose(g, total, rtol=1e-12, atol=1e-12)


FORBIDDEN = "a rule reads no .data, changes nothing in place and names no array module but np"


@pytest.mark.parametrize("module", [rules, kernels])
def test_rules_are_written_so_that_every_kind_of_value_can_flow_through(module):
    tree = ast.parse(inspect.getsource(module))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            assert node.attr not in ("data", "grad"), FORBIDDEN
            assert not (isinstance(node.value, ast.Name) and node.value.id in ("cp", "cupy", "torch")), FORBIDDEN
    lambdas = [n for n in ast.walk(tree) if isinstance(n, ast.Lambda) and [a.arg for a in n.args.args[:2]] == ["g", "y"]]
    assert len(lambdas) >= 20
    for node in (part for rule in lambdas for part in ast.walk(rule)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("float", "int", "bool"), FORBIDDEN
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in ("asarray", "array", "item", "tolist"), FORBIDDEN
        assert not (isinstance(node, ast.keyword) and node.arg == "out"), FORBIDDEN
