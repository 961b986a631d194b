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
from tinynet.rules import RULES
from tinynet.tensor import name_of

generator = np.random.default_rng(7)


def some(*shape, low=0.3, high=2.0):
    """Numbers of both signs, none near zero."""
    return generator.uniform(low, high, shape) * generator.choice([-1.0, 1.0], shape)


def positive(*shape):
    return generator.uniform(0.3, 2.0, shape)


def apart(*shape):
    """Numbers of which no two are near each other, so that maxima are unique."""
    n = int(np.prod(shape))
    return (generator.permutation(n) * 0.37 + 0.1).reshape(shape)


a, b, row, column = some(3, 4), some(3, 4), some(4), some(3, 1)
labels = np.array([2, 0, 3])

SAMPLES = {
    np.add: [(np.add, a, b), (np.add, a, row), (np.add, column, row)],
    np.subtract: [(np.subtract, a, b), (np.subtract, column, row)],
    np.multiply: [(np.multiply, a, b), (np.multiply, column, row), (lambda x: x * x, a)],
    np.divide: [(np.divide, a, b), (np.divide, column, row)],
    np.negative: [(np.negative, a)],
    np.positive: [(np.positive, a)],
    np.square: [(np.square, a)],
    np.sqrt: [(np.sqrt, positive(3, 4))],
    np.reciprocal: [(np.reciprocal, a)],
    np.power: [(np.power, positive(3, 4), row), (lambda x: x**3, a), (lambda x: x**0, a), (lambda n: 2.0**n, a)],
    np.exp: [(np.exp, a)],
    np.expm1: [(np.expm1, a)],
    np.log: [(np.log, positive(3, 4))],
    np.log1p: [(np.log1p, positive(3, 4))],
    np.log2: [(np.log2, positive(3, 4))],
    np.log10: [(np.log10, positive(3, 4))],
    np.logaddexp: [(np.logaddexp, a, row)],
    np.sin: [(np.sin, a)],
    np.cos: [(np.cos, a)],
    np.tan: [(np.tan, a / 2)],
    np.arctan: [(np.arctan, a)],
    np.sinh: [(np.sinh, a)],
    np.cosh: [(np.cosh, a)],
    np.tanh: [(np.tanh, a)],
    np.absolute: [(np.abs, a)],
    np.maximum: [(np.maximum, a, b), (np.maximum, column, row)],
    np.minimum: [(np.minimum, a, b), (np.minimum, column, row)],
    np.where: [(lambda x, y: np.where(a > 0, x, y), a, row)],
    np.clip: [(lambda x: np.clip(x, -0.9, 1.1), a), (lambda x: np.clip(x, None, 1.1), a), (lambda x: np.clip(x, 0.2, None), a)],
    np.sum: [(np.sum, a), (lambda x: np.sum(x, axis=0), a), (lambda x: x.sum(axis=(0, -1), keepdims=True), some(2, 3, 2))],
    np.mean: [(np.mean, a), (lambda x: np.mean(x, axis=-1), a), (lambda x: x.mean(axis=(0, 2)), some(2, 3, 2))],
    np.var: [(np.var, a), (lambda x: x.var(axis=0, ddof=1, keepdims=True), a)],
    np.std: [(np.std, a), (lambda x: x.std(axis=-1, ddof=1), a)],
    np.max: [(np.max, apart(3, 4)), (lambda x: x.max(axis=(0, 2), keepdims=True), apart(2, 3, 2))],
    np.min: [(np.min, apart(3, 4)), (lambda x: x.min(axis=0), apart(3, 4))],
    np.matmul: [
        (np.matmul, some(3, 4), some(4, 2)),
        (np.matmul, some(2, 3, 4), some(4, 2)),
        (np.matmul, some(3, 4), some(2, 4, 2)),
        (np.matmul, some(2, 1, 3, 4), some(5, 4, 2)),
        (np.matmul, some(4), some(4, 2)),
        (np.matmul, some(3, 4), some(4)),
        (np.matmul, some(4), some(4)),
        (np.matmul, some(4), some(2, 4, 3)),
        (np.dot, some(4), some(4, 3)),
    ],
    np.reshape: [(lambda x: np.reshape(x, (2, 6)), a), (lambda x: x.reshape(4, -1), a)],
    np.ravel: [(np.ravel, a)],
    np.squeeze: [(lambda x: np.squeeze(x, axis=1), column), (lambda x: x.squeeze(), column)],
    np.expand_dims: [(lambda x: np.expand_dims(x, (0, -1)), a)],
    np.transpose: [(np.transpose, a), (lambda x: x.transpose(2, 0, 1), some(2, 3, 4)), (lambda x: x.transpose(-1, 0, 1), some(2, 3, 4))],
    np.swapaxes: [(lambda x: np.swapaxes(x, 0, -1), some(2, 3, 4))],
    np.broadcast_to: [(lambda x: np.broadcast_to(x, (2, 3, 4)), a), (lambda x: np.broadcast_to(x, (3, 4)), column)],
    kernels.linear: [(kernels.linear, some(5, 3), some(3, 2), some(2)), (kernels.linear, some(2, 5, 3), some(2, 3, 4), some(2, 1, 4))],
    kernels.relu: [(kernels.relu, a)],
    kernels.leaky_relu: [(lambda x: kernels.leaky_relu(x, negative_slope=0.2), a)],
    kernels.elu: [(lambda x: kernels.elu(x, alpha=0.7), a)],
    kernels.sigmoid: [(kernels.sigmoid, a)],
    kernels.silu: [(kernels.silu, a)],
    kernels.softplus: [(kernels.softplus, a)],
    kernels.softmax: [(kernels.softmax, a), (lambda x: kernels.softmax(x, axis=0), a)],
    kernels.log_softmax: [(kernels.log_softmax, a), (lambda x: kernels.log_softmax(x, axis=0), a)],
    kernels.logsumexp: [(kernels.logsumexp, a), (lambda x: kernels.logsumexp(x, axis=0, keepdims=True), a)],
    kernels.squared_error: [(kernels.squared_error, a, b), (kernels.squared_error, column, row)],
    kernels.softmax_cross_entropy: [(lambda z: kernels.softmax_cross_entropy(z, labels), a), (lambda z: kernels.softmax_cross_entropy(z, labels), some(2, 3, 4))],
    kernels.sigmoid_cross_entropy: [(kernels.sigmoid_cross_entropy, a, positive(3, 4) / 2)],
    kernels.getitem: [
        (lambda x: x[1], a),
        (lambda x: x[::-2, 1:3], a),
        (lambda x: x[..., None, 0], a),
        (lambda x: x[[0, 0, 2], [1, 1, 3]], a),
        (lambda x: x[a > 0], a),
        (lambda x: x[:, [0, 0, 1]], a),
    ],
    kernels.put_back: [(lambda x: kernels.put_back(x, (slice(None), [0, 0, 2, 1]), (3, 5)), a)],
    kernels.join: [(lambda x, y: np.concatenate([x, y, x]), a, b), (lambda x, y: np.concatenate([x, y], axis=-1), a, column), (lambda x, y: np.stack([x, y], axis=1), a, b)],
    kernels.astype: [(lambda x: kernels.astype(x, np.float64), a)],
}  # fmt: skip
TABLE = {f if f in RULES else f.__wrapped__: samples for f, samples in SAMPLES.items()}
CASES = [
    pytest.param(f, inputs, id=f"{name_of(function)}-{i}")
    for function, samples in TABLE.items()
    for i, (f, *inputs) in enumerate(samples)
]


def test_every_rule_has_a_sample():
    missing = [name_of(function) for function in RULES if function not in TABLE]
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
    (lambda x: x**0, [0.0], [0.0]),
    (lambda x: x**1, [0.0], [1.0]),
    (lambda x: x**2, [0.0], [0.0]),
    (lambda n: 0.0 * n + 0.0**n, [2.0], [0.0]),
]


@pytest.mark.parametrize(("f", "x", "slope"), KINKS)
def test_convention_at_kinks_and_ties(f, x, slope):
    x = tn.Tensor(x, requires_grad=True)
    f(x).sum().backward()
    assert x.grad.tolist() == slope


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
