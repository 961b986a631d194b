"""Functions of our own that are one mathematical idea, each with its rule beside it.

They are written in plain NumPy and could be composed from the table in rules.py, but as one step they are faster (one
entry in the graph, not five) and exact where a composition overflows or cancels. A kernel is called with arrays or with
Tensors: a Tensor among the operands records the call, and its rule is again in differentiable words.

Speak of the last axes only: every kernel also serves a leading axis of replicas (many nets trained at once).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinynet.backend import same_device
from tinynet.rules import mT, over, rule, spread


def kernel(*operands: Callable | None, each: Callable | None = None) -> Callable[[Callable], Callable]:
    """Enter the decorated function into the table of rules, and let it answer Tensors by recording itself."""

    def decorate(function: Callable) -> Callable:
        rule(function, *operands, each=each)
        return recording(function)

    return decorate


def recording(function: Callable) -> Callable:
    """`function`, handed over to the first argument that can remember the call (a Tensor), if there is one."""

    @functools.wraps(function)
    def call(*args: Any, **params: Any) -> Any:
        for arg in args:
            if hasattr(arg, "__record__"):
                return arg.__record__(function, args, params)
        if any(hasattr(value, "__record__") for value in params.values()):
            raise TypeError(f"{function.__name__}: give the Tensors by position, not by keyword ({', '.join(params)})")
        return function(*args, **params)

    return call


# Layers ---------------------------------------------------------------------------------------------------------------


@kernel(
    lambda g, y, x, weight, bias: g @ mT(weight),
    lambda g, y, x, weight, bias: mT(x) @ g,
    lambda g, y, x, weight, bias: g,
)
def linear(x: Any, weight: Any, bias: Any) -> Any:
    """x @ weight + bias, for x of shape [..., batch, in], weight [..., in, out] and bias [..., out]."""
    y = np.matmul(x, weight)
    y += bias  # y is ours: adding in place saves a pass over memory
    return y


@kernel(lambda g, y, a, b: g @ mT(b), lambda g, y, a, b: mT(a) @ g)
def matmul(a: Any, b: Any) -> Any:
    """a @ b for matrices; axes before the last two are a batch, and broadcast. (compositions.py: vectors.)"""
    return np.matmul(a, b)


def contract_rule(i: int, g: Any, y: Any, *operands: Any, subscripts: str) -> Any:
    """The gradient of operand i of an einsum: an einsum of g and all others, with the labels changed places."""
    inputs, _, output = subscripts.partition("->")
    names = inputs.split(",")
    others = [x for j, x in enumerate(operands) if j != i]
    labels = [output, *(name for j, name in enumerate(names) if j != i)]
    return np.einsum(f"{','.join(labels)}->{names[i]}", g, *others)


@kernel(each=contract_rule)
def contract(*operands: Any, subscripts: str) -> Any:
    """np.einsum in which every label of an operand is in the answer or in another operand."""
    return np.einsum(subscripts, *operands)


@kernel(lambda g, y, a, b: -(solve(mT(a), g) @ mT(y)), lambda g, y, a, b: solve(mT(a), g))
def solve(a: Any, b: Any) -> Any:
    """The x of a @ x = b, for matrices b [..., n, k]."""
    return np.linalg.solve(a, b)


def minors(x: Any) -> tuple:
    """The index of all minors of a matrix: x[minors(x)][..., i, j, :, :] is x without row i and column j."""
    n = x.shape[-1]
    k = np.arange(n - 1)
    others = same_device(k + (k >= np.arange(n)[:, None]), x)  # row i: all numbers below n but i
    return (..., others[:, None, :, None], others[:, None, :])


def checkered(g: Any) -> Any:
    """g, with the other sign where row plus column is odd."""
    k = np.arange(g.shape[-1])
    return np.where(same_device((k + k[:, None]) % 2 == 1, g), -g, g)


@kernel(lambda g, y, x: put_back(np.expand_dims(checkered(g), (-1, -2)) * cofactors(x[minors(x)]), minors(x), x.shape))
def cofactors(x: Any) -> Any:
    """The slope of det(x): the determinants of its minors, with checkered signs (the adjugate transposed).

    They are det(x) inv(x)', except where x is singular: there, with x = U diag(s) V, they are det(U V) U diag(t) V, where
    t[i] is the product of all s but s[i] (Stewart 1998). Their own slopes are the cofactors of all minors, of any rank;
    there are n^2 of those, so a second derivative takes n^2 times as long.
    """
    det = np.linalg.det(x)
    singular, one = det == 0, same_device(np.eye(x.shape[-1], dtype=x.dtype), x)
    y = det[..., None, None] * mT(np.linalg.inv(np.where(singular[..., None, None], one, x)))
    u, s, v = np.linalg.svd(x[singular])
    t = np.prod(np.where(one == 1, 1, s[:, None, :]), axis=-1)
    y[singular] = np.linalg.det(u @ v)[:, None, None] * (u * t[:, None, :] @ v)
    return y


rule(np.linalg.det, lambda g, y, x: np.expand_dims(g, (-1, -2)) * cofactors(x))


@kernel(lambda g, y, x, axis=None, *, keepdims=False: spread(g, x, axis, keepdims) * over(x, spread(y, x, axis, keepdims)))
def length(x: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """The square root of the sum of squares, without overflow or underflow; slope 0 at 0."""
    m = finite_max(np.absolute(x), axis)
    m = np.where(m == 0, 1, m)
    y = m * np.sqrt(np.sum(np.square(x / m), axis=axis, keepdims=True))
    return y if keepdims else np.squeeze(y, axis)


# Activations ----------------------------------------------------------------------------------------------------------


@kernel(lambda g, y, x: g * (-2 * y * np.tanh(x)))
def sech_squared(x: Any) -> Any:
    """1 - tanh(x)^2, the slope of tanh, as 4 e / (1 + e)^2 with e = exp(-2|x|).

    From x, since tanh(x) rounds to 1 and loses every digit there.
    """
    e = np.exp(np.absolute(x) * -2)
    d = e + 1
    d *= d
    e *= 4
    e /= d
    return e


rule(np.tanh, lambda g, y, x: g * sech_squared(x))


@kernel(lambda g, y, x: g * (y > 0))  # y is positive where x is, and x need not be kept
def relu(x: Any) -> Any:
    """max(x, 0); slope 0 at 0 (Glorot, Bordes & Bengio 2011)."""
    return np.maximum(x, 0)


@kernel(lambda g, y, x, negative_slope=0.01: np.where(x > 0, g, g * negative_slope))
def leaky_relu(x: Any, negative_slope: float = 0.01) -> Any:
    """x where positive, negative_slope * x elsewhere (Maas, Hannun & Ng 2013)."""
    return np.where(x > 0, x, negative_slope * x)


@kernel(lambda g, y, x, alpha=1.0: np.where(x > 0, g, g * (alpha * np.exp(np.minimum(x, 0)))))
def elu(x: Any, alpha: float = 1.0) -> Any:
    """x where positive, alpha * (exp(x) - 1) elsewhere (Clevert, Unterthiner & Hochreiter 2016)."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


@kernel(lambda g, y, x: g * (y * sigmoid(-x)))  # not y * (1 - y), which loses every digit of a saturated tail
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), without overflow on either side."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


rule(np.logaddexp, lambda g, y, a, b: g * sigmoid(a - b), lambda g, y, a, b: g * sigmoid(b - a))
rule(
    np.logaddexp2,
    lambda g, y, a, b: g * sigmoid((a - b) * math.log(2)),
    lambda g, y, a, b: g * sigmoid((b - a) * math.log(2)),
)


@kernel(lambda g, y, x: g * (sigmoid(x) + y * sigmoid(-x)))
def silu(x: Any) -> Any:
    """x * sigmoid(x), also called swish (Ramachandran, Zoph & Le 2017)."""
    return x * sigmoid(x)


@kernel(lambda g, y, x: g * sigmoid(-x))
def log_sigmoid(x: Any) -> Any:
    """log(sigmoid(x)), without underflow."""
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))


@kernel(lambda g, y, x: g * sigmoid(x))
def softplus(x: Any) -> Any:
    """log(1 + exp(x)), without overflow."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def gelu(x: Any) -> Any:
    """x times the normal distribution's share below x, in the tanh form (Hendrycks & Gimpel 2016, equation 2).

    This is what PyTorch computes with `approximate="tanh"`.
    """
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def outside(x: Any, low: Any, high: Any) -> Any:
    """True where x lies strictly outside [low, high]; None is no bound."""
    return (False if low is None else x < low) | (False if high is None else x > high)


@kernel(lambda g, y, x, low=None, high=None: np.where(outside(x, low, high), 0, g))
def clip(x: Any, low: Any = None, high: Any = None) -> Any:
    """x, but not below low nor above high; slope 1 at the edges."""
    return np.clip(x, low, high)


# Softmax and its logarithm --------------------------------------------------------------------------------------------


def largest(x: Any, axis: Any) -> Any:
    """The largest entry along the axis; 0 where there is none."""
    return x.max(axis=axis, keepdims=True) if x.size else x.sum(axis=axis, keepdims=True)


def finite_max(x: Any, axis: Any) -> Any:
    """The largest entry along the axis, or 0 where that is infinite: what to subtract before exp."""
    m = largest(x, axis)
    return np.where(np.isfinite(m), m, 0)


def log_of_sum(x: Any, axis: Any) -> tuple[Any, Any]:
    """(m, log(sum(exp(x - m)))) for the largest entry m, as log(1 + the others): exact where the others are tiny."""
    m = finite_max(x, axis)
    top = x == m
    others = np.sum(np.where(top, 0, np.exp(x - m)), axis=axis, keepdims=True)
    others += np.sum(top, axis=axis, keepdims=True, dtype=x.dtype) - 1  # entries as large as the largest
    with np.errstate(divide="ignore"):  # of nothing but -inf, the logarithm is -inf
        return m, np.log1p(others)


@kernel(lambda g, y, x, axis=-1: y * (g - np.sum(g * y, axis=axis, keepdims=True)))
def softmax(x: Any, axis: int = -1) -> Any:
    """exp(x) / sum(exp(x)) along the axis."""
    e = np.exp(x - largest(x, axis))
    return e / np.sum(e, axis=axis, keepdims=True)


@kernel(lambda g, y, x, axis=-1: g - softmax(x, axis) * np.sum(g, axis=axis, keepdims=True))
def log_softmax(x: Any, axis: int = -1) -> Any:
    """x - logsumexp(x) along the axis."""
    m, log_sum = log_of_sum(x, axis)
    return (x - m) - log_sum


@kernel(lambda g, y, x, axis=-1, *, keepdims=False: spread(g, x, axis, keepdims) * softmax(x, axis))
def logsumexp(x: Any, axis: int = -1, *, keepdims: bool = False) -> Any:
    """log(sum(exp(x))) along the axis, without overflow."""
    m, log_sum = log_of_sum(x, axis)
    y = m + log_sum
    return y if keepdims else np.squeeze(y, axis)


# Losses, one number per example ---------------------------------------------------------------------------------------


@kernel(lambda g, y, a, b: g * (2 * (a - b)), lambda g, y, a, b: g * (2 * (b - a)))
def squared_error(a: Any, b: Any) -> Any:
    """(a - b)**2."""
    d = a - b
    return d * d


def slope_of_mean_square(g: Any, d: Any) -> Any:
    """The gradient of g * mean(d**2)."""
    return d * (g * (2 / d.size))


@kernel(lambda g, y, a, b: slope_of_mean_square(g, a - b), lambda g, y, a, b: slope_of_mean_square(g, b - a))
def mean_squared_error(a: Any, b: Any) -> Any:
    """The mean of (a - b)**2 over all elements."""
    d = a - b
    return (d * d).mean()


def is_class(labels: Any, classes: int) -> Any:
    """The one-hot mask of integer labels: [..., n] -> [..., n, classes]."""
    return labels[..., None] == np.arange(classes, like=labels)


@kernel(lambda g, y, logits, labels: (p := softmax(logits)) * (g - np.sum(g * p, axis=-1, keepdims=True)))
def softmax_error(logits: Any, labels: Any) -> Any:
    """softmax(logits) - one_hot(labels); for the own class as minus the sum of the others, which loses no digits."""
    e = np.exp(logits - finite_max(logits, -1))  # as in the forward pass, so that capture computes it once
    own = is_class(labels, logits.shape[-1])
    others = np.where(own, 0, e).sum(axis=-1, keepdims=True)
    return np.where(own, -others, e) / e.sum(axis=-1, keepdims=True)


@kernel(lambda g, y, logits, labels: np.expand_dims(g, -1) * softmax_error(logits, labels))
def softmax_cross_entropy(logits: Any, labels: Any) -> Any:
    """-log softmax(logits)[label] per row: logits [..., n, classes], integer labels [..., n] -> [..., n].

    Gradient: softmax(logits) - one_hot(label) (Bishop 2006, section 4.3.4).
    """
    z = logits - finite_max(logits, -1)
    own = is_class(labels, logits.shape[-1])
    others = np.where(own, 0, np.exp(z)).sum(axis=-1, keepdims=True)
    z = np.where(own, z, 0).sum(axis=-1, keepdims=True)
    return (np.log1p(others + np.expm1(z)) - z)[..., 0]  # log(sum(exp(z))) - z, exact where the others are tiny


@kernel(  # the slope is sigmoid(z) - t, written so that it keeps its digits where the two are nearly equal
    lambda g, y, logits, targets: g * ((1 - targets) * sigmoid(logits) - targets * sigmoid(-logits)),
    lambda g, y, logits, targets: -g * logits,
)
def sigmoid_cross_entropy(logits: Any, targets: Any) -> Any:
    """-t log(sigmoid(z)) - (1 - t) log(1 - sigmoid(z)) per element, as max(z, 0) - t z + log(1 + exp(-|z|))."""
    return np.maximum(logits, 0) - logits * targets + np.log1p(np.exp(-np.abs(logits)))


# Indexing and joining -------------------------------------------------------------------------------------------------


@kernel(lambda g, y, x, index: put_back(g, index, x.shape))
def getitem(x: Any, index: Any) -> Any:
    """x[index], with NumPy's basic and advanced indexing."""
    return x[index]


@kernel(lambda g, y, x, index, shape: getitem(g, index))
def put_back(x: Any, index: Any, shape: tuple[int, ...]) -> Any:
    """Zeros of `shape` with x added at `index`; entries named twice add up: the transpose of getitem."""
    y = np.zeros_like(x, shape=shape)
    if is_slice(index):
        y[index] = x
    else:
        np.add.at(y, index, x)
    return y


def is_slice(index: Any) -> bool:
    """Whether it is made of numbers, slices, None and ... alone, which name no entry twice: writing them takes a hundredth
    of the time that adding one by one does.
    """
    return all(type(i) in SLICES for i in (index if isinstance(index, tuple) else (index,)))


SLICES = {int, np.int64, slice, type(None), type(...)}


def piece(i: int, g: Any, y: Any, *arrays: Any, axis: int = 0) -> Any:
    """The slice of g that belongs to array i of a concatenation."""
    sizes = [a.shape[axis] for a in arrays]
    start = sum(sizes[:i])
    return getitem(g, (slice(None),) * (axis % g.ndim) + (slice(start, start + sizes[i]),))


@kernel(each=piece)
def join(*arrays: Any, axis: int = 0) -> Any:
    """np.concatenate, with the arrays as operands of their own."""
    return np.concatenate(arrays, axis=axis)


@kernel(lambda g, y, x, dtype: g)  # the engine restores the dtype
def astype(x: Any, dtype: Any) -> Any:
    """x in another floating-point dtype."""
    return x.astype(dtype)
