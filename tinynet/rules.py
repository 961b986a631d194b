"""The table of derivatives: one line per operand, as in a calculus book.

A rule answers: if `y = f(a, b, ...)` and `g` is the gradient of the loss with respect to `y`, what is the gradient with
respect to this operand? It is called as `rule(g, y, a, b, ..., axis=...)` with the arguments of the forward call.

What a rule need not say, because the engine (graph.py) says it once for all: which operands need a gradient, undoing
broadcasting, restoring the dtype, adding up over several uses.

What a rule must not do: read `.data`, change anything in place, or name another array module than NumPy. The same line
then serves NumPy and CuPy arrays (first order) and Tensors (derivatives of derivatives). Masks such as `a > b` are plain
arrays in every case; Python numbers keep float32 in float32.

At kinks and ties: |x| has slope 0 at 0, ties in maximum, max and their like share the gradient evenly, and at the edge of
`clip` the slope is 1.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

RULES: dict[Callable, Rule] = {}
Plan = tuple[tuple[tuple[int, Callable], ...], tuple[int, ...]]  # ((operand, its rule), ...), (operands read, ...)


class Rule:
    """The rules of one function, and which arguments of its call they understand.

    `operands[i]` gives the gradient of operand i; None says that it has none (a mask, say). A function of any number of
    operands has one rule for `each`, which is told first which operand it is asked about.
    """

    __slots__ = ("each", "most", "operands", "params", "plans")

    def __init__(self, operands: tuple[Callable | None, ...], each: Callable | None):
        self.operands = operands
        self.each = each
        one = each or next(r for r in operands if r is not None)
        arguments = list(inspect.signature(one).parameters.values())[3 if each else 2 :]  # after (i,) g and y
        self.most = math.inf if each else sum(a.kind is a.POSITIONAL_OR_KEYWORD for a in arguments)
        options = arguments if each else arguments[len(operands) :]
        self.params = {a.name for a in options if a.kind is not a.VAR_POSITIONAL}
        self.plans: dict[tuple[int, int], Plan] = {}  # by (mask, n), once the call is known to be one of the table

    def plan(self, mask: int, n: int) -> Plan:
        """For a call of n arguments of which those in the bit mask require a gradient: their positions and rules, and the
        positions of the arguments that these rules look at. Worked out once for each kind of call.
        """
        need = tuple((i, self.of(i)) for i in range(n) if mask >> i & 1)
        reads = set(range(n)) if self.each else {k for i, _ in need for k in read_by(self.operands[i])}
        plan = self.plans[mask, n] = need, tuple(sorted(k for k in reads if k < n))
        return plan

    def of(self, i: int) -> Any:
        """The rule of operand i, to be called as rule(g, y, *operands, **params)."""
        return self.operands[i] if self.each is None else functools.partial(self.each, i)


def read_by(rule: Callable | None) -> tuple[int, ...]:
    """The positions of the operands that a rule looks at, from the names in its code."""
    if rule is None:
        return ()
    import dis

    code = rule.__code__
    found = [i.argval for i in dis.get_instructions(code) if "LOAD_" in i.opname]
    names = {name for value in found for name in (value if isinstance(value, tuple) else (value,))}
    return tuple(i for i, name in enumerate(code.co_varnames[2 : code.co_argcount]) if name in names)


def rule(function: Callable, *operands: Callable | None, each: Callable | None = None) -> None:
    """Enter `function` into the table."""
    RULES[function] = Rule(operands, each)


# Arithmetic -----------------------------------------------------------------------------------------------------------

rule(np.add, lambda g, y, a, b: g, lambda g, y, a, b: g)
rule(np.subtract, lambda g, y, a, b: g, lambda g, y, a, b: -g)
rule(np.multiply, lambda g, y, a, b: g * b, lambda g, y, a, b: g * a)
rule(np.divide, lambda g, y, a, b: g / b, lambda g, y, a, b: -g * y / b)
rule(np.negative, lambda g, y, x: -g)
rule(np.positive, lambda g, y, x: g)
rule(np.square, lambda g, y, x: g * (2 * x))
rule(np.sqrt, lambda g, y, x: g / (2 * y))
rule(np.cbrt, lambda g, y, x: g / (3 * y * y))
rule(np.reciprocal, lambda g, y, x: -g * y * y)
rule(np.remainder, lambda g, y, a, b: g, lambda g, y, a, b: -g * np.rint((a - y) / b))
rule(np.fmod, lambda g, y, a, b: g, lambda g, y, a, b: -g * np.rint((a - y) / b))
rule(np.deg2rad, lambda g, y, x: g * (math.pi / 180))
rule(np.rad2deg, lambda g, y, x: g * (180 / math.pi))
rule(np.hypot, lambda g, y, a, b: g * over(a, y), lambda g, y, a, b: g * over(b, y))


def one_less(n: Any) -> Any:
    """n - 1, but 1 where n is 0, so that x**0 has slope 0 at x = 0 too (0 * 0**-1 would be nan)."""
    return (n - 1 if n else 1) if isinstance(n, int | float) else np.where(n == 0, 1, n - 1)


rule(
    np.power,
    lambda g, y, x, n: g * (n * x ** one_less(n)),
    lambda g, y, x, n: g * (y * np.log(np.where(x == 0, 1, x))),
)

# Exponentials and logarithms ------------------------------------------------------------------------------------------

rule(np.exp2, lambda g, y, x: g * (y * math.log(2)))
rule(np.exp, lambda g, y, x: g * y)
rule(np.expm1, lambda g, y, x: g * np.exp(x))
rule(np.log, lambda g, y, x: g / x)
rule(np.log1p, lambda g, y, x: g / (1 + x))
rule(np.log2, lambda g, y, x: g / (x * math.log(2)))
rule(np.log10, lambda g, y, x: g / (x * math.log(10)))


# Trigonometric and hyperbolic -----------------------------------------------------------------------------------------

rule(np.sin, lambda g, y, x: g * np.cos(x))
rule(np.cos, lambda g, y, x: -g * np.sin(x))
rule(np.tan, lambda g, y, x: g * (1 + y * y))
rule(np.arcsin, lambda g, y, x: g / np.sqrt((1 - x) * (1 + x)))
rule(np.arccos, lambda g, y, x: -g / np.sqrt((1 - x) * (1 + x)))
rule(np.arctan, lambda g, y, x: g / (1 + x * x))
rule(np.arctan2, lambda g, y, a, b: g * over(b, a * a + b * b), lambda g, y, a, b: -g * over(a, a * a + b * b))
rule(np.sinh, lambda g, y, x: g * np.cosh(x))
rule(np.cosh, lambda g, y, x: g * np.sinh(x))
rule(np.arcsinh, lambda g, y, x: g / np.hypot(1, x))
rule(np.arccosh, lambda g, y, x: g / np.sqrt((x - 1) * (x + 1)))
rule(np.arctanh, lambda g, y, x: g / ((1 - x) * (1 + x)))

# Kinks ----------------------------------------------------------------------------------------------------------------


def winner(g: Any, a: Any, b: Any) -> Any:
    """g where `a` won (the mask is True), half of it where a and b tie."""
    return np.where(a, g, np.where(b, g * 0.5, 0))


rule(np.absolute, lambda g, y, x: g * np.sign(x))
rule(np.maximum, lambda g, y, a, b: winner(g, a > b, a == b), lambda g, y, a, b: winner(g, b > a, a == b))
rule(
    np.fmax,  # a nan loses, and gets no gradient
    lambda g, y, a, b: winner(g, (a > b) | (b != b), a == b),
    lambda g, y, a, b: winner(g, (b > a) | (a != a), a == b),
)
rule(
    np.fmin,
    lambda g, y, a, b: winner(g, (a < b) | (b != b), a == b),
    lambda g, y, a, b: winner(g, (b < a) | (a != a), a == b),
)
rule(np.minimum, lambda g, y, a, b: winner(g, a < b, a == b), lambda g, y, a, b: winner(g, b < a, a == b))
rule(np.where, None, lambda g, y, mask, a, b: np.where(mask, g, 0), lambda g, y, mask, a, b: np.where(mask, 0, g))

# Reductions -----------------------------------------------------------------------------------------------------------


def spread(g: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """Put back the axes that a reduction of `x` took away, and repeat `g` along them: the transpose of a sum."""
    as_it_was = keepdims or axis is None or not x.ndim
    return np.broadcast_to(g if as_it_was else np.expand_dims(g, axis), x.shape)


def ties(x: Any, y: Any, axis: Any, keepdims: bool) -> Any:
    """Each element's share of being the extreme value `y` of `x`: 1 for a single one, 1/n for n equal ones."""
    mask = x == spread(y, x, axis, keepdims)
    return mask / mask.sum(axis=axis, keepdims=True)


def count(x: Any, y: Any) -> int:
    """How many elements of `x` each element of its reduction `y` stands for."""
    return max(x.size // max(y.size, 1), 1)


def one_over(n: float) -> float:
    """1 / n, and nan where there are no degrees of freedom."""
    return 1 / n if n > 0 else math.nan


def centred(x: Any, axis: Any) -> Any:
    """x minus its mean along the axis."""
    return x - np.mean(x, axis=axis, keepdims=True)


def over(a: Any, b: Any) -> Any:
    """a / b, and 0 where b is 0: the slope of a length at 0, of `std` for a constant."""
    return np.where(b == 0, 0, a) / np.where(b == 0, 1, b)


rule(np.sum, lambda g, y, x, axis=None, *, keepdims=False: spread(g, x, axis, keepdims))
rule(np.mean, lambda g, y, x, axis=None, *, keepdims=False: spread(g * (1 / count(x, y)), x, axis, keepdims))
rule(
    np.var,
    lambda g, y, x, axis=None, *, ddof=0, keepdims=False: (
        spread(g, x, axis, keepdims) * centred(x, axis) * (2 * one_over(count(x, y) - ddof))
    ),
)
rule(
    np.std,
    lambda g, y, x, axis=None, *, ddof=0, keepdims=False: (
        spread(over(g, y), x, axis, keepdims) * centred(x, axis) * one_over(count(x, y) - ddof)
    ),
)
rule(
    np.max,
    lambda g, y, x, axis=None, *, keepdims=False: spread(g, x, axis, keepdims) * ties(x, y, axis, keepdims),
)
rule(
    np.min,
    lambda g, y, x, axis=None, *, keepdims=False: spread(g, x, axis, keepdims) * ties(x, y, axis, keepdims),
)


def summed_from_the_end(g: Any, axis: Any) -> Any:
    """At each place the sum of g from there to the end of the axis."""
    return np.flip(np.cumsum(np.flip(g, axis), axis), axis)


rule(np.cumsum, lambda g, y, x, axis=None: summed_from_the_end(g, 0 if axis is None else axis).reshape(x.shape))

# Matrices -------------------------------------------------------------------------------------------------------------


def mT(x: Any) -> Any:
    """The matrix transpose: the last two axes swapped; axes before them are a batch."""
    return x.swapaxes(-1, -2)


rule(np.linalg.inv, lambda g, y, x: -(mT(y) @ g @ mT(y)))

# Shapes ---------------------------------------------------------------------------------------------------------------


def inverse_of(axes: Any) -> Any:
    """The permutation that undoes `axes` (None reverses, and undoes itself)."""
    return None if axes is None else sorted(range(len(axes)), key=lambda i: axes[i] % len(axes))


rule(np.reshape, lambda g, y, x, shape: g.reshape(x.shape))
rule(np.ravel, lambda g, y, x: g.reshape(x.shape))
rule(np.squeeze, lambda g, y, x, axis=None: g.reshape(x.shape))
rule(np.expand_dims, lambda g, y, x, axis: g.reshape(x.shape))
rule(np.transpose, lambda g, y, x, axes=None: np.transpose(g, inverse_of(axes)))
rule(np.swapaxes, lambda g, y, x, axis1, axis2: np.swapaxes(g, axis1, axis2))
rule(np.broadcast_to, lambda g, y, x, shape: g)  # the engine undoes broadcasting

# NumPy functions without a derivative: on Tensors they answer with plain arrays, numbers or shapes ---------------------

PLAIN: set[Callable] = {
    np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal,
    np.isfinite, np.isnan, np.isinf, np.signbit, np.logical_and, np.logical_or, np.logical_not,
    np.sign, np.floor, np.floor_divide, np.ceil, np.rint, np.round, np.trunc,
    np.argmax, np.argmin, np.argsort, np.all, np.any, np.count_nonzero, np.nonzero,
    np.shape, np.ndim, np.size, np.zeros_like, np.ones_like, np.empty_like, np.full_like,
    np.allclose, np.isclose, np.array_equal, np.result_type, np.array_repr, np.array_str, np.array2string,
}  # fmt: skip
