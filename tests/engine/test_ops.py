"""Every function of the table on drawn calls: value, shape, dtype and gradient, against NumPy and an independent oracle.

`OPS` has a row for every function of RULES and COMPOSED: how to draw a call of it, and, where the function is our own, its
definition in plain NumPy. Inputs are drawn with both signs, apart from each other and from kinks, with sides of 0 and 1,
in float32 and float64, C-ordered, Fortran-ordered, strided and reversed, and as Tensors or plain arrays in any mix.

The slope along one random direction, for one random upstream gradient, is compared with the complex step where the
function is analytic (1e-12), and with differences elsewhere (1e-8). test_graphs.py builds whole programs of these rows.
"""

import itertools
import math
import operator
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinynet as tn
from tinynet import functional as F
from tinynet import kernels
from tinynet.compositions import COMPOSED
from tinynet.rules import RULES

EPS32, H = float(np.finfo(np.float32).eps), 1e-3

# Drawing numbers and shapes ---------------------------------------------------------------------------------------------


class Domain(NamedTuple):
    """Where a function is smooth: sizes from low to high are drawn; `limit` bounds what a program may pass to it."""

    low: float = 0.3
    high: float = 2.0
    signed: bool = True
    limit: float = 8.0
    far: bool = False  # from zero

    def has(self, x):
        size = np.abs(x)
        return bool(
            np.all(size <= self.limit)
            and (not self.far or np.all(size >= self.low * 0.9))
            and (self.signed or np.all(x >= self.low * 0.9))
        )


ANY, NONZERO, POSITIVE = Domain(), Domain(far=True), Domain(signed=False)
UNIT, ABOVE_ONE, SMALL = Domain(0.1, 0.8, limit=0.85), Domain(1.3, 2.5, signed=False), Domain(0.1, 1.1, limit=1.2)


def numbers(draw, shape, domain=ANY):
    """Numbers of the domain, no two of equal or nearly equal size."""
    generator = np.random.default_rng(draw(st.integers(0, 2**16)))
    n = math.prod(shape)
    size = domain.low + (domain.high - domain.low) * (generator.permutation(n) + generator.uniform(0.2, 0.8, n)) / max(n, 1)
    return (size * (generator.choice([-1.0, 1.0], n) if domain.signed else 1.0)).reshape(shape)


def signed(generator, shape):
    """Random numbers of both signs, none of them near zero."""
    return np.asarray(generator.uniform(0.5, 1.5, shape) * generator.choice([-1.0, 1.0], shape))


side = st.sampled_from([2, 3, 1, 4, 3, 2, 1, 0])
full_side = st.sampled_from([2, 3, 1, 4])


def shapes(low=0, high=3, sides=side):
    return st.lists(sides, min_size=low, max_size=high).map(tuple)


def partner(draw, shape):
    """A shape that broadcasts with the given one."""
    kept = shape[draw(st.integers(0, len(shape))) :]
    kept = tuple(draw(st.sampled_from([n, n, 1])) if n != 1 else draw(full_side) for n in kept)
    grows = len(kept) == len(shape) < 3 and draw(st.booleans())
    return (draw(full_side), *kept) if grows else kept


def broadcast(*shapes):
    """Do these shapes broadcast?"""
    try:
        return np.broadcast_shapes(*shapes) is not None
    except ValueError:
        return False


def one_axis(draw, x):
    return draw(st.integers(-x.ndim, x.ndim - 1))


def some_axes(draw, x):
    """None, one axis from either end, or a tuple of axes."""
    if x.ndim == 0 or draw(st.integers(0, 3)) == 0:
        return None
    if draw(st.booleans()):
        return one_axis(draw, x)
    axes = draw(st.lists(st.integers(0, x.ndim - 1), unique=True, max_size=x.ndim))
    return tuple(a - x.ndim * draw(st.integers(0, 1)) for a in axes)


def how_many(x, axis):
    """How many elements a reduction over the axis takes together."""
    axes = range(x.ndim) if axis is None else [axis] if isinstance(axis, int) else axis
    return math.prod(x.shape[a] for a in axes)


# The table --------------------------------------------------------------------------------------------------------------


class Op(NamedTuple):
    """One way to call a function of the table."""

    function: Callable  # the function of the table that it is about
    case: Callable  # (draw, *first operands or none) -> (all operands, parameters), or None if they do not fit
    call: Callable  # (*operands, **parameters), for arrays and Tensors
    reference: Callable  # the same on arrays only, without our code
    arity: int  # how many operands a program may choose
    domains: tuple  # of the operands
    analytic: bool  # may the reference be evaluated at complex numbers?
    ties: Callable | None  # (*operands, **parameters) -> how near to a kink
    label: str = ""

    def __repr__(self):
        return self.label


OPS: list[Op] = []


def op(function, case, call=None, reference=None, arity=1, domains=(ANY,) * 4, analytic=True, ties=None):
    call = call or function
    reference = reference or (getattr(call, "__wrapped__", call) if call in RULES or call in COMPOSED else call)
    number = sum(o.function is function for o in OPS)
    OPS.append(Op(function, case, call, reference, arity, domains, analytic, ties, f"{function.__name__}-{number}"))


def unary(function, params=None, domain=ANY, shape=None, **more):
    def case(draw, x=None):
        x = numbers(draw, draw(shapes() if shape is None else shape), domain) if x is None else x
        kw = params(draw, x) if params else {}
        return None if kw is None else ([x], kw)

    op(function, case, domains=(domain,), **more)


def binary(function, left=ANY, right=ANY, params=None, **more):
    def case(draw, x=None, y=None):
        x = numbers(draw, draw(shapes()), left) if x is None else x
        y = numbers(draw, partner(draw, x.shape), right) if y is None else y
        kw = params(draw, x, y) if params else {}
        return None if kw is None else ([x, y], kw)

    op(function, case, arity=2, domains=(left, right), **more)


def sizes(x, **_):
    """The distance to a kink at 0."""
    return np.abs(x).min(initial=math.inf)


def gap(x, **_):
    """The smallest distance of two elements."""
    return np.diff(np.sort(x, axis=None)).min(initial=math.inf)


def gap_of_two(x, y, **_):
    return np.abs(x - y).min(initial=math.inf)


def gap_of_sizes(x, **_):
    return min(sizes(x), gap(np.abs(x)))


# Elementwise

for f in (np.negative, np.positive, np.square, np.sin, np.cos, np.exp, np.exp2, np.expm1, np.sinh, np.cosh, np.tanh):
    unary(f)
for f in (np.arctan, np.arcsinh):
    unary(f, domain=SMALL)
for f in (np.arcsin, np.arccos, np.arctanh):
    unary(f, domain=UNIT)
for f in (np.sqrt, np.log, np.log1p, np.log2, np.log10):
    unary(f, domain=POSITIVE)
unary(np.arccosh, domain=ABOVE_ONE)
unary(np.tan, domain=SMALL)
unary(np.reciprocal, domain=NONZERO)
unary(np.cbrt, domain=NONZERO, analytic=False)
unary(np.deg2rad, analytic=False)
unary(np.rad2deg, domain=UNIT, analytic=False)
unary(np.absolute, domain=NONZERO, analytic=False)
for f in (np.add, np.subtract, np.multiply):
    binary(f)
binary(np.divide, right=NONZERO)
binary(np.power, left=POSITIVE, right=SMALL)
for f in (np.hypot, np.arctan2):
    binary(f, left=NONZERO, right=NONZERO, analytic=False)
for f in (np.logaddexp, np.logaddexp2):
    binary(f, analytic=False)
for f in (np.maximum, np.minimum, np.fmax, np.fmin):
    binary(f, analytic=False, ties=gap_of_two)


def jump(x, y):
    """The distance of x / y to a whole number."""
    return np.abs(x / y - np.rint(x / y)).min(initial=math.inf) / 4


def quotients(draw, x=None, y=None):
    """(x, y) with x = (whole number + a fraction) * y, or of any two shapes, and between y and 2 y in size."""
    if draw(st.booleans()):
        whole = draw(shapes())
        of_x, of_y = draw(st.permutations([whole, partner(draw, whole)]))
        return [numbers(draw, of_x, Domain(1.65, 2.45)), numbers(draw, of_y, Domain(1.3, 1.5, signed=False))], {}
    y = numbers(draw, draw(shapes()), ABOVE_ONE)
    generator = np.random.default_rng(draw(st.integers(0, 2**16)))
    return [(generator.integers(-3, 4, y.shape) + generator.uniform(0.2, 0.8, y.shape)) * y, y], {}


for f in (np.remainder, np.fmod):
    op(f, quotients, analytic=False, arity=0)


def mask_for(draw, x, y):
    """A mask that broadcasts with both, and may be larger or smaller than they are."""
    shape = np.broadcast_shapes(x.shape, y.shape)
    shape = partner(draw, shape)
    return {"mask": np.random.default_rng(draw(st.integers(0, 2**16))).random(shape) < 0.5}


binary(np.where, params=mask_for, call=lambda x, y, mask: np.where(mask, x, y))


def bounds(draw, x):
    low, high = sorted(draw(st.permutations([-1.05, -0.4, 0.45, 1.3]))[:2])
    low, high = (max((b + 0.005 * k for k in range(20)), key=lambda c: sizes(x - c)) for b in (low, high))
    wide = np.full(draw(st.sampled_from([(2, *x.shape), partner(draw, x.shape)])), high)
    both = {"low": low, "high": high}
    return draw(
        st.sampled_from(
            [both, {**both, "high": None}, {**both, "low": None}, {**both, "high": wide}, {"low": None, "high": wide}]
        )
    )


def to_bounds(x, low, high):
    return min(sizes(x - np.max(b, initial=-9)) for b in (low, high) if b is not None)


unary(
    kernels.clip, bounds, call=lambda x, low, high: kernels.clip(x, low, high), analytic=False, ties=to_bounds,
    reference=lambda x, low, high: np.clip(x, low, high),
)  # fmt: skip
unary(np.clip, bounds, call=lambda x, low, high: np.clip(x, low, high), analytic=False, ties=to_bounds)


def number_beside(draw, x):
    return {"c": draw(st.sampled_from([2.0, -0.5, 3])), "left": draw(st.booleans())}


def beside(f):
    return lambda x, c, left: f(c, x) if left else f(x, c)


for f, of in (
    (np.add, operator.add),
    (np.subtract, operator.sub),
    (np.multiply, operator.mul),
    (np.divide, operator.truediv),
):
    unary(f, number_beside, NONZERO, call=beside(of))
unary(np.power, lambda draw, x: {"n": draw(st.sampled_from([2, 3, 2.0, -1, -2.0, 0, 1]))}, NONZERO, call=lambda x, n: x**n)
unary(np.power, lambda draw, x: {"c": draw(st.sampled_from([2.0, 3, 0.5]))}, SMALL, call=lambda x, c: c**x)
unary(np.power, lambda draw, x: {"n": draw(st.sampled_from([0.5, -1.5, 2.5]))}, POSITIVE, call=lambda x, n: x**n)

# Reductions


def given_or_not(draw, name, value, default):
    """The parameter; where it is the default, sometimes left out."""
    return {} if value == default and draw(st.booleans()) else {name: value}


def reduction(least=1):
    """An axis and keepdims, such that at least so many elements are taken together."""

    def params(draw, x):
        axis = some_axes(draw, x)
        axis = axis if how_many(x, axis) >= least else None
        if how_many(x, axis) < least:
            return None
        return {**given_or_not(draw, "axis", axis, None), **given_or_not(draw, "keepdims", draw(st.booleans()), False)}

    return params


def spread_out(draw, x):
    """As a reduction, with the degrees of freedom that are taken off."""
    kw = reduction(2)(draw, x)
    return None if kw is None else {**kw, **given_or_not(draw, "ddof", draw(st.sampled_from([0, 1, 0.5])), 0)}


def deviation(x, axis=None, **_):
    return np.std(x, axis=axis).min(initial=math.inf) / 8


unary(np.sum, reduction(0))
unary(np.mean, reduction())
unary(np.var, spread_out, analytic=False)
unary(np.std, spread_out, analytic=False, ties=deviation)
unary(np.max, reduction(), analytic=False, ties=gap)
unary(np.min, reduction(), analytic=False, ties=gap)
unary(np.prod, reduction(0))
unary(np.ptp, reduction(), analytic=False, ties=gap)
unary(np.cumsum, lambda draw, x: {"axis": one_axis(draw, x) if x.ndim and draw(st.booleans()) else None})


def root_of_squares(x, axis=None, keepdims=False):
    return np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims))


unary(kernels.length, reduction(), NONZERO, reference=root_of_squares)


def order_of_norm(draw, x):
    if not x.ndim or not x.size:
        return None
    if draw(st.integers(0, 3)) == 0:
        return {"ord": draw(st.sampled_from([None, "fro"] if x.ndim == 2 else [None])), "keepdims": draw(st.booleans())}
    ord = draw(st.sampled_from([None, 2, 1, 3, 2.5, math.inf, -math.inf]))
    axis = None if x.ndim == 1 and draw(st.booleans()) else one_axis(draw, x)
    return {"ord": ord, "axis": axis, "keepdims": draw(st.booleans())} if how_many(x, axis) else None


unary(np.linalg.norm, order_of_norm, NONZERO, shape=shapes(0, 3, full_side), analytic=False, ties=gap_of_sizes)


def weights(draw, x):
    axis = one_axis(draw, x) if x.ndim and draw(st.booleans()) else None
    if not x.size:
        return None
    kind = draw(st.sampled_from(["none", "whole", "vector"]))
    if kind == "none":
        return {"axis": axis}
    return {
        "axis": axis,
        "weights": numbers(draw, x.shape if axis is None or kind == "whole" else (x.shape[axis],), POSITIVE),
    }


unary(np.average, weights)


def weighted(draw, x=None):
    x = numbers(draw, draw(shapes(1, 3, full_side))) if x is None else x
    if not x.size or not x.ndim:
        return None
    axis = draw(st.sampled_from([None, one_axis(draw, x)]))
    return [x, numbers(draw, x.shape if axis is None else (x.shape[axis],), POSITIVE)], {"axis": axis}


op(np.average, weighted, call=lambda x, w, axis: np.average(x, axis=axis, weights=w))
unary(
    np.diff,
    lambda draw, x: (
        {**given_or_not(draw, "n", draw(st.integers(0, 2)), 1), **given_or_not(draw, "axis", one_axis(draw, x), -1)}
        if x.ndim
        else None
    ),
)


def axis_or_none(draw, x):
    return draw(st.sampled_from([{}, {"axis": None}, {"axis": one_axis(draw, x)}])) if x.ndim else None


unary(np.sort, axis_or_none, analytic=False, ties=gap)

# Shapes


def target_shape(draw, x):
    """A permutation of the factors of the size, perhaps with one side left to NumPy."""
    shape = draw(st.permutations([*x.shape, 1]))
    if x.ndim > 1 and draw(st.booleans()):
        shape = [shape[0] * shape[1], *shape[2:]]
    if x.size and draw(st.booleans()):
        shape[draw(st.integers(0, len(shape) - 1))] = -1
    return {"shape": tuple(shape)}


def axes_of_length_one(draw, x):
    ones = [i - x.ndim * draw(st.integers(0, 1)) for i, n in enumerate(x.shape) if n == 1]
    return {"axis": draw(st.sampled_from([None, tuple(ones), *ones[:1]]))}


def new_axes(draw, x):
    axis = draw(st.integers(-x.ndim - 1, x.ndim))
    return {"axis": draw(st.sampled_from([axis, (0, -1), (axis,)]))}


def permutation(draw, x):
    axes = draw(st.permutations(range(x.ndim)))
    return {"axes": draw(st.sampled_from([None, tuple(axes), tuple(a - x.ndim for a in axes)]))}


def two_axes(draw, x):
    return {"axis1": one_axis(draw, x), "axis2": one_axis(draw, x)} if x.ndim else None


def moves(draw, x):
    if not x.ndim:
        return None
    source, destination = draw(st.permutations(range(x.ndim))), draw(st.permutations(range(x.ndim)))
    k = draw(st.integers(1, x.ndim))
    back = x.ndim * draw(st.integers(0, 1))
    return {"source": [a - back for a in source[:k]], "destination": list(destination[:k])}


def wider(draw, x):
    return {"shape": (*draw(shapes(0, 1)), *(n if n != 1 else draw(side) for n in x.shape))}


unary(np.reshape, target_shape, call=lambda x, shape: np.reshape(x, shape))
unary(np.ravel)
unary(np.squeeze, axes_of_length_one)
unary(np.expand_dims, new_axes, call=lambda x, axis: np.expand_dims(x, axis))
unary(np.transpose, permutation)
unary(np.swapaxes, two_axes, call=lambda x, axis1, axis2: np.swapaxes(x, axis1, axis2))
unary(np.moveaxis, moves)
unary(np.broadcast_to, wider, call=lambda x, shape: np.broadcast_to(x, shape))
unary(np.atleast_1d)
unary(np.atleast_2d)

# Rearrangements


def rolls(draw, x):
    axis = some_axes(draw, x)
    return {
        "shift": draw(st.integers(-4, 4)) if not isinstance(axis, tuple) else tuple(range(1, 1 + len(axis))),
        "axis": axis,
    }


def counts(draw, x):
    axis = one_axis(draw, x) if x.ndim and draw(st.booleans()) else None
    n = how_many(x, axis)
    many = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    return {"repeats": draw(st.sampled_from([0, 1, 2, many])), "axis": axis}


def picks(draw, x):
    axis = one_axis(draw, x) if x.ndim and draw(st.booleans()) else None
    n = how_many(x, axis)
    if not n:
        return None
    return {"indices": draw(hnp.arrays(int, draw(shapes(0, 2)), elements=st.integers(-n, n - 1))), "axis": axis}


def picks_along(draw, x):
    if not x.ndim:
        return None
    axis = one_axis(draw, x)
    if not x.shape[axis]:
        return None
    shape = tuple(draw(side) if i == axis % x.ndim else n for i, n in enumerate(x.shape))
    return {"indices": draw(hnp.arrays(int, shape, elements=st.integers(0, x.shape[axis] - 1))), "axis": axis}


def cut_out(draw, x):
    axis = one_axis(draw, x) if x.ndim and draw(st.booleans()) else None
    n = how_many(x, axis)
    return {"obj": draw(st.lists(st.integers(-n, n - 1), max_size=2)), "axis": axis} if n else None


def diagonal(draw, x):
    if x.ndim < 2:
        return None
    one, two = draw(st.permutations(range(x.ndim)))[:2]
    if draw(st.integers(0, 3)) == 0:
        return {}
    return {"offset": draw(st.integers(-1, 2)), "axis1": one - x.ndim * draw(st.integers(0, 1)), "axis2": two}


def quarter_turns(draw, x):
    return {"k": draw(st.integers(-3, 3)), "axes": tuple(draw(st.permutations(range(x.ndim)))[:2])} if x.ndim > 1 else None


def frame(draw, x):
    mode = draw(st.sampled_from(["constant", "constant", "edge", "reflect", "symmetric", "wrap"]))
    if not x.ndim or (mode != "constant" and min(x.shape) < 2):
        return None
    most = 2 if mode == "constant" else min(x.shape) - 1
    width = st.integers(0, most)
    each = [(draw(width), draw(width)) for _ in x.shape]
    kw = {"pad_width": draw(st.sampled_from([draw(width), draw(st.tuples(width, width)), each])), "mode": mode}
    return {**kw, "constant_values": 3.5} if mode == "constant" and draw(st.booleans()) else kw


tall = shapes(1, 3)
flat = shapes(2, 3)
unary(np.flip, lambda draw, x: {"axis": some_axes(draw, x)})
unary(np.fliplr, shape=flat)
unary(np.flipud, shape=tall)
unary(np.rot90, quarter_turns, shape=flat)
unary(np.roll, rolls)
unary(np.repeat, counts)
unary(np.tile, lambda draw, x: {"reps": draw(shapes(0, 3, st.integers(0, 2)))})
unary(np.resize, lambda draw, x: {"new_shape": draw(shapes(0, 2))} if x.size else None)
unary(np.take, picks)
unary(np.take_along_axis, picks_along, shape=tall)
unary(np.diagonal, diagonal, shape=flat)
unary(np.delete, cut_out)
unary(np.pad, frame, shape=tall)
unary(np.trace, diagonal, shape=flat)
unary(
    np.diag,
    lambda draw, x: given_or_not(draw, "k", draw(st.integers(-2, 2)), 0) if x.ndim in (1, 2) else None,
    shape=shapes(1, 2),
)
unary(np.tril, lambda draw, x: given_or_not(draw, "k", draw(st.integers(-2, 2)), 0) if x.ndim > 1 else None, shape=flat)
unary(np.triu, lambda draw, x: given_or_not(draw, "k", draw(st.integers(-2, 2)), 0) if x.ndim > 1 else None, shape=flat)

# Indexing, joining, cutting


def index(draw, x):
    kinds = [hnp.basic_indices(x.shape, allow_newaxis=True, allow_ellipsis=True)]
    if x.ndim:
        kinds.append(st.just(np.random.default_rng(draw(st.integers(0, 2**16))).random(x.shape[:1]) < 0.6))
    if x.ndim and min(x.shape):
        kinds.append(hnp.integer_array_indices(x.shape, result_shape=hnp.array_shapes(min_dims=0, max_dims=2, max_side=3)))
        rows = st.lists(st.integers(-x.shape[-1], x.shape[-1] - 1), min_size=1, max_size=4)
        kinds.append(rows.map(lambda r: (Ellipsis, r)))
        kinds.append(rows.map(lambda r: (slice(None, None, -1),) * (x.ndim - 1) + (np.array(r),)))
    return {"index": draw(draw(st.sampled_from(kinds)))}


def put(x, index, shape):
    y = np.zeros(shape, x.dtype)
    np.add.at(y, index, x)
    return y


def places(draw, x=None):
    """x that would be the answer of indexing an array of some shape."""
    whole = draw(shapes(1, 3, full_side))
    kw = index(draw, np.zeros(whole))
    return [numbers(draw, np.zeros(whole)[kw["index"]].shape)], {**kw, "shape": whole}


unary(kernels.getitem, index, call=lambda x, index: x[index])
op(kernels.put_back, places, call=lambda x, index, shape: kernels.put_back(x, index, shape), reference=put, arity=0)


def joined(draw, x=None):
    """Two arrays that differ in one side at most."""
    x = numbers(draw, draw(tall)) if x is None else x
    if not x.ndim:
        return None
    axis = one_axis(draw, x)
    shape = tuple(draw(side) if i == axis % x.ndim else n for i, n in enumerate(x.shape))
    return [x, numbers(draw, shape)], {"axis": axis}


def flattened(draw, x=None):
    x = numbers(draw, draw(shapes())) if x is None else x
    return [x, numbers(draw, draw(shapes()))], {"axis": None}


def stacked(draw, x=None):
    x = numbers(draw, draw(shapes())) if x is None else x
    return [x, numbers(draw, x.shape)], {"axis": draw(st.integers(-x.ndim - 1, x.ndim))}


def of_shapes(pairs):
    """Operands of fixed numbers of axes: how to make the shape of the second from that of the first."""

    def case(draw, x=None):
        x = numbers(draw, draw(shapes())) if x is None else x
        shape = pairs(draw, x.shape)
        return None if shape is None else ([x, numbers(draw, shape)], {})

    return case


def below(draw, s):
    """To put below: rows of the same length."""
    if len(s) < 2:
        return s[:1] or draw(st.sampled_from([(), (1,)]))
    return (draw(side), *s[1:]) if len(s) > 2 or draw(st.booleans()) else s[1:]


def beside_shape(draw, s):
    return (draw(side),) if len(s) == 1 else (s[0], draw(side), *s[2:]) if s else None


def columns(draw, s):
    if len(s) == 1:
        return draw(st.sampled_from([s, (s[0], 2)]))
    return draw(st.sampled_from([s[:1], (s[0], 3)])) if len(s) == 2 else None


for f in (np.concatenate, kernels.join):
    call = (lambda x, y, axis: np.concatenate([x, y, x], axis=axis)) if f is np.concatenate else f
    op(f, joined, call=call, reference=(lambda x, y, axis: np.concatenate([x, y], axis)) if f is kernels.join else None)
op(np.concatenate, flattened, call=lambda x, y, axis: np.concatenate([x, y, x], axis=axis))
op(np.stack, stacked, call=lambda x, y, axis: np.stack([x, y, y], axis=axis))
op(np.vstack, of_shapes(below), call=lambda x, y: np.vstack([x, y]))
op(np.hstack, of_shapes(beside_shape), call=lambda x, y: np.hstack([x, y, x]))
op(np.column_stack, of_shapes(columns), call=lambda x, y: np.column_stack([x, y, x]))


def cuts(equal):
    def params(draw, x):
        if not x.ndim:
            return None
        axis = one_axis(draw, x)
        n = x.shape[axis]
        parts = [k for k in range(1, n + 2) if not equal or n % k == 0] or [1]
        places = sorted(draw(st.lists(st.integers(0, n), min_size=1, max_size=2)))
        return {"indices_or_sections": draw(st.sampled_from([places, draw(st.sampled_from(parts))])), "axis": axis}

    return params


unary(np.split, cuts(True), shape=tall, call=np.split)
unary(np.array_split, cuts(False), shape=tall, call=np.array_split)

# Products and matrices


def second_factor(draw, s):
    """A shape that fits on the right of a matrix product."""
    if not s:
        return None
    if draw(st.integers(0, 3)) == 0:
        return s[-1:]
    batch = partner(draw, s[:-2]) if len(s) > 2 else draw(shapes(0, 1))
    return (*batch, s[-1], draw(side))


def matrices(draw, s):
    return second_factor(draw, s) if len(s) > 1 else None


def right_matrices(draw, s):
    shape = matrices(draw, s)
    return shape if shape is None or len(shape) > 1 else (*shape, 2)


def dot_factor(draw, s):
    if not s or draw(st.integers(0, 4)) == 0:
        return () if s else draw(shapes(0, 2))
    return draw(st.sampled_from([s[-1:], (s[-1], 2), (2, s[-1], 3)]))


def inner_factor(draw, s):
    return (*draw(shapes(0, 2)), s[-1]) if s else draw(shapes(0, 2))


op(np.matmul, of_shapes(second_factor))
op(np.matmul, of_shapes(lambda draw, s: (draw(side), s[0]) if len(s) in (1, 2) else None), call=lambda x, y: y @ x)
op(kernels.matmul, of_shapes(right_matrices), reference=np.matmul)
op(np.dot, of_shapes(dot_factor))
op(np.outer, of_shapes(lambda draw, s: draw(shapes(0, 2))))
op(np.inner, of_shapes(inner_factor))
op(
    np.vdot,
    of_shapes(lambda draw, s: tuple(draw(st.permutations(s)))),
    reference=lambda x, y: np.sum(np.ravel(x) * np.ravel(y)),
)


def contraction(draw, x=None):
    """Two arrays, and the pairs of axes to sum over."""
    x = numbers(draw, draw(shapes())) if x is None else x
    k = draw(st.integers(0, min(2, x.ndim)))
    if draw(st.booleans()):
        return [x, numbers(draw, (*x.shape[x.ndim - k :], *draw(shapes(0, 1))))], {"axes": k}
    of_x = draw(st.permutations(range(x.ndim)))[:k]
    shape = (*(x.shape[a] for a in of_x), *draw(shapes(0, 1)))
    order = draw(st.permutations(range(len(shape))))
    of_y = [order.index(i) for i in range(k)]
    back = draw(st.integers(0, 1))
    axes = ([a - back * x.ndim for a in of_x], [a - back * len(shape) for a in of_y])
    if k == 1 and draw(st.booleans()):
        axes = (axes[0][0], axes[1][0])
    return [x, numbers(draw, tuple(shape[i] for i in order))], {"axes": axes}


op(np.tensordot, contraction)


def labels_for(draw, shape, sizes, repeated=True):
    """A letter for each axis; a letter stands for one size."""
    labels = ""
    for n in shape:
        fits = [c for c in "abcdef" if sizes.get(c, n) == n and (repeated or c not in labels)]
        labels += draw(st.sampled_from(fits[:4]))
        sizes[labels[-1]] = n
    return labels


def summation(draw, x=None):
    """An einsum of one to three operands: repeated labels, labels of one operand only, any order, with or without ->."""
    x = numbers(draw, draw(shapes(0, 3, st.sampled_from([2, 3, 2, 1, 0])))) if x is None else x
    label_sizes: dict = {}
    inputs, arrays = [labels_for(draw, x.shape, label_sizes)], [x]
    for _ in range(draw(st.integers(0, 2))):
        inputs.append("".join(draw(st.lists(st.sampled_from("abcd"), max_size=3))))
        for c in inputs[-1]:
            label_sizes.setdefault(c, draw(side))
        arrays.append(numbers(draw, tuple(label_sizes[c] for c in inputs[-1])))
    subscripts = ", ".join(inputs) if draw(st.booleans()) else ",".join(inputs)
    if draw(st.booleans()) or not any(inputs):
        present = sorted(set("".join(inputs)))
        subscripts += "->" + "".join(draw(st.permutations(present))[: draw(st.integers(0, len(present)))])
    return arrays, {"subscripts": subscripts}


def with_dots(draw, x=None):
    """An einsum with "..." in one or both operands."""
    x = numbers(draw, draw(flat)) if x is None else x
    if x.ndim < 2:
        return None
    y = numbers(draw, (*partner(draw, x.shape[:-2]), *draw(st.permutations(x.shape[-2:]))))
    if y.shape[-2:] != x.shape[-2:][::-1]:
        y = numbers(draw, (*x.shape[-1:], draw(side)))
    return [x, y], {
        "subscripts": draw(st.sampled_from(["...ij,...jk", "...ij,...jk->...ik", "i...j,...jk->k...", "...ij,...jk->i..."]))
    }


def einsum(*operands, subscripts):
    return np.einsum(subscripts, *operands)


def chain(draw, x=None):
    """An einsum in which every label is in the answer or in another operand."""
    x = numbers(draw, draw(shapes(2, 2))) if x is None else x
    if x.ndim != 2:
        return None
    arrays = [x, numbers(draw, (x.shape[1], draw(side)))]
    names = draw(st.sampled_from(["ij,jk->ik", "ij,jk->ki", "ij,jk->ijk", "ij,jk,k->i", "ij,jk,ik->j"]))
    if names.count(",") == 2:
        arrays.append(numbers(draw, arrays[1].shape[1:] if ",k->" in names else (x.shape[0], arrays[1].shape[1])))
    return arrays, {"subscripts": names}


op(np.einsum, summation, call=einsum)
op(np.einsum, with_dots, call=einsum)
op(kernels.contract, chain, reference=einsum)


def well_conditioned(draw, batch=0):
    n = draw(st.integers(1, 3))
    shape = (*draw(shapes(0, batch)), n, n)
    return numbers(draw, shape, Domain(0.1, 0.9)) + 3 * np.eye(n)


def square(draw, x=None):
    return [well_conditioned(draw, 1)], {}


def square_of_any_kind(draw, x=None):
    """As above, sometimes singular: with a column of zeros (singular in floating point too) or twice another."""
    x = well_conditioned(draw, 1)
    kind = draw(st.sampled_from(["regular", "regular", "zeros", "twice"]))
    if kind != "regular":
        x[..., -1] = 2 * x[..., 0] if kind == "twice" and x.shape[-1] > 1 else 0
    return [x], {}


def system(vectors):
    def case(draw, x=None):
        a = well_conditioned(draw, 0 if vectors else 1)
        if vectors:
            return [a, numbers(draw, (a.shape[-1],))], {}
        batch = partner(draw, a.shape[:-2]) if draw(st.booleans()) else draw(st.sampled_from([a.shape[:-2], ()]))
        return [a, numbers(draw, (*batch, a.shape[-1], draw(full_side)))], {}

    return case


def determinants_of_minors(x):
    n = x.shape[-1]
    minor = lambda i, j: np.delete(np.delete(x, i, axis=-2), j, axis=-1)
    rows = [[(-1.0) ** (i + j) * np.linalg.det(minor(i, j)) for j in range(n)] for i in range(n)]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1)).astype(x.dtype)


op(np.linalg.inv, square, arity=0)
op(np.linalg.det, square_of_any_kind, arity=0)
op(kernels.cofactors, square_of_any_kind, reference=determinants_of_minors, arity=0)
op(np.linalg.solve, system(True), arity=0)
op(np.linalg.solve, system(False), arity=0)
op(kernels.solve, system(False), reference=np.linalg.solve, arity=0)


def layer(draw, x=None):
    """Rows, weights and a bias, with replicas before any of them."""
    replicas = [((), ()), ((3,), ()), ((), (3,)), ((3,), (3,)), ((1,), (3,)), ((3,), (1,)), ((2, 1), (3,))]
    of_x, of_w = draw(st.sampled_from(replicas))
    x = numbers(draw, (*of_x, draw(full_side), draw(side))) if x is None else x
    if x.ndim < 2:
        return None
    w = numbers(draw, (*of_w, x.shape[-1], draw(full_side)))
    if not broadcast(x.shape[:-2], of_w):
        return None
    whole = np.broadcast_shapes(x.shape[:-2], of_w)
    bias = draw(st.sampled_from([(), (1,), (*whole, 1)]))
    return [x, w, numbers(draw, (*bias, w.shape[-1]))], {}


op(kernels.linear, layer, reference=lambda x, w, b: x @ w + b)

# Activations and losses, by their definitions


def logistic(x):
    return 1 / (1 + np.exp(-x))


def gelu_by_definition(x):
    return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


unary(kernels.relu, domain=NONZERO, reference=lambda x: np.where(x.real > 0, x, 0))
unary(
    kernels.leaky_relu,
    lambda draw, x: draw(st.sampled_from([{}, {"negative_slope": 0.3}])),
    domain=NONZERO,
    reference=lambda x, negative_slope=0.01: np.where(x.real > 0, x, x * negative_slope),
)
unary(
    kernels.elu,
    lambda draw, x: draw(st.sampled_from([{}, {"alpha": 0.6}])),
    domain=NONZERO,
    reference=lambda x, alpha=1.0: np.where(x.real > 0, x, alpha * (np.exp(x) - 1)),
)
unary(kernels.sigmoid, reference=logistic)
unary(kernels.silu, reference=lambda x: x * logistic(x))
unary(kernels.log_sigmoid, reference=lambda x: -np.log(1 + np.exp(-x)))
unary(kernels.softplus, reference=lambda x: np.log(1 + np.exp(x)))
unary(kernels.sech_squared, reference=lambda x: 1 / np.cosh(x) ** 2)
unary(np.tanh, call=F.gelu, reference=gelu_by_definition)  # the composed activation, through the rule of tanh


def softmax(x, axis=-1):
    return np.exp(x) / np.sum(np.exp(x), axis=axis, keepdims=True)


def softmax_axis(draw, x):
    if not x.ndim:
        return None
    axis = one_axis(draw, x)
    return (draw(st.sampled_from([{}, {"axis": -1}])) if axis == -1 else {"axis": axis}) if x.shape[axis] else None


def softmax_axes(draw, x):
    kw = softmax_axis(draw, x)
    return kw if kw is None else {**kw, "keepdims": draw(st.booleans())}


unary(kernels.softmax, softmax_axis, reference=softmax, shape=tall)
unary(kernels.log_softmax, softmax_axis, reference=lambda x, axis=-1: np.log(softmax(x, axis)), shape=tall)
unary(
    kernels.logsumexp, softmax_axes, shape=tall,
    reference=lambda x, axis=-1, keepdims=False: np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims)),
)  # fmt: skip
binary(kernels.squared_error, reference=lambda x, y: (x - y) ** 2)
binary(
    kernels.mean_squared_error,
    params=lambda draw, x, y: {} if (x - y).size else None,  # there is no mean of nothing
    reference=lambda x, y: np.mean((x - y) ** 2),
)
binary(
    kernels.sigmoid_cross_entropy, right=Domain(0.1, 0.9, signed=False, limit=1.0),
    reference=lambda z, t: -t * np.log(logistic(z)) - (1 - t) * np.log(1 - logistic(z)),
)  # fmt: skip


def labels(draw, x):
    if not x.ndim or not x.shape[-1]:
        return None
    return {"labels": draw(hnp.arrays(int, x.shape[:-1], elements=st.integers(0, x.shape[-1] - 1)))}


def one_hot(labels, x):
    return np.eye(x.shape[-1])[labels].astype(x.real.dtype)


def cross_entropy(x, labels):
    return -np.sum(np.log(softmax(x)) * one_hot(labels, x), axis=-1)


unary(
    kernels.softmax_error,
    labels,
    call=lambda x, labels: kernels.softmax_error(x, labels),
    shape=tall,
    reference=lambda x, labels: softmax(x) - one_hot(labels, x),
)
unary(
    kernels.softmax_cross_entropy,
    labels,
    call=lambda x, labels: kernels.softmax_cross_entropy(x, labels),
    shape=tall,
    reference=cross_entropy,
)
unary(
    kernels.astype,
    call=lambda x, dtype: x.astype(dtype),
    params=lambda draw, x: {"dtype": np.float64},
    reference=lambda x, dtype: x.astype(np.result_type(x, dtype)),
)

# Functions of the table that no row above is about, each with its reason (none at present).
WITHOUT: dict[Callable, str] = {}


def test_every_function_of_the_table_has_a_row_or_a_reason():
    rows = {o.function for o in OPS} | {getattr(o.function, "__wrapped__", o.function) for o in OPS} | set(WITHOUT)
    missing = [f.__name__ for f in (*RULES, *COMPOSED) if f not in rows]
    assert not missing, f"functions without a row in OPS: {missing}"
    assert all(len(reason) > 20 for reason in WITHOUT.values())


# Checking one call ------------------------------------------------------------------------------------------------------


def laid_out(x, how):
    """The same numbers, elsewhere in memory."""
    if how == "strided" and x.ndim:
        return np.repeat(x, 2, axis=-1)[..., ::2]
    if how == "reversed" and x.ndim:
        return np.flip(np.flip(x).copy())
    return x.copy(order="F" if how == "fortran" else "C")


class Case(NamedTuple):
    """A drawn call, the operands that are Tensors, and a seed for directions and upstream gradients."""

    op: Op
    arrays: list
    params: dict
    need: list
    layouts: list
    seed: int


@st.composite
def cases(draw, op):
    arrays, params = op.case(draw) or op.case(draw) or op.case(draw, numbers(draw, (3, 2), op.domains[0]))
    need = [i for i in range(len(arrays)) if draw(st.integers(0, 3))] or [draw(st.integers(0, len(arrays) - 1))]
    layouts = [draw(st.sampled_from(["c", "fortran", "strided", "reversed"])) for _ in arrays]
    return Case(op, arrays, params, need, layouts, draw(st.integers(0, 2**16)))


def listed(y):
    return list(y) if isinstance(y, list | tuple) else [y]


def call(case, dtype):
    """The operands as given to the call (Tensors where needed), and its answers."""
    arrays = [laid_out(x.astype(dtype), how) for x, how in zip(case.arrays, case.layouts, strict=True)]
    operands = [tn.Tensor(x, requires_grad=True) if i in case.need else x for i, x in enumerate(arrays)]
    return operands, listed(case.op.call(*operands, **case.params))


def answers_are_right(case, outs, dtype):
    arrays = [laid_out(x.astype(dtype), how) for x, how in zip(case.arrays, case.layouts, strict=True)]
    expected = [np.asarray(e) for e in listed(case.op.reference(*arrays, **case.params))]
    assert len(outs) == len(expected)
    for y, e in zip(outs, expected, strict=True):
        assert (y.shape, y.dtype) == (e.shape, e.dtype)
        unit = 2e-15 if dtype == np.float64 else EPS32
        assert np.allclose(y.data, e, rtol=64 * unit, atol=64 * unit * np.abs(e).max(initial=0))


def total(ys, upstream):
    return math.fsum(float(np.sum(y * c)) for y, c in zip(ys, upstream, strict=True))


def slope_by_complex_step(case, directions, upstream):
    moved = [x + 1e-20j * u if i in case.need else x for i, (x, u) in enumerate(zip(case.arrays, directions, strict=True))]
    with warnings.catch_warnings():  # NumPy's own remarks about complex numbers
        warnings.simplefilter("ignore")
        answers = [np.asarray(a) for a in listed(case.op.reference(*moved, **case.params))]
    return total([np.imag(a) / 1e-20 for a in answers], upstream)


def slope_by_differences(f, h=H):
    """f'(0) from steps h, h/2 and h/4 (Richardson 1911), and how far the last two estimates are apart."""
    central = [(f(step) - f(-step)) / (2 * step) for step in (h, h / 2, h / 4)]
    first, second = ((4 * fine - coarse) / 3 for coarse, fine in itertools.pairwise(central))
    return (16 * second - first) / 15, abs(second - first)


def slope_along(case, directions, upstream):
    def f(t):
        moved = [x + t * u if i in case.need else x for i, (x, u) in enumerate(zip(case.arrays, directions, strict=True))]
        return total([np.asarray(a) for a in listed(case.op.reference(*moved, **case.params))], upstream)

    return slope_by_differences(f)


def gradients(outs, inputs, upstream, create_graph=False):
    loss = sum((y * c.astype(y.dtype)).sum() for y, c in zip(outs, upstream, strict=True))
    found = tn.gradients(loss, inputs, create_graph=create_graph, allow_unused=True)
    return [
        np.zeros(x.shape, x.dtype) if g is None else g.data if create_graph else g
        for g, x in zip(found, inputs, strict=True)
    ]


def gradients_are_right(case, operands, outs):
    """Along one direction, in float64, on arrays and on Tensors; answers the gradients."""
    generator = np.random.default_rng(case.seed)
    directions = [signed(generator, x.shape) for x in case.arrays]
    upstream = [signed(generator, y.shape) for y in outs]
    inputs = [operands[i] for i in case.need]
    found = gradients(outs, inputs, upstream)
    again = gradients(outs, inputs, upstream, create_graph=True)
    terms = [g * directions[i] for g, i in zip(found, case.need, strict=True)]
    slope, size = math.fsum(float(t.sum()) for t in terms), sum(float(np.abs(t).sum()) for t in terms)
    noise = sum(float(np.abs(y.data * c).sum()) for y, c in zip(outs, upstream, strict=True))
    if case.op.analytic:
        assert abs(slope - slope_by_complex_step(case, directions, upstream)) <= 1e-12 * size + 1e-15 * noise
    else:
        numeric, apart = slope_along(case, directions, upstream)
        assert abs(slope - numeric) <= 1e-8 * size + 1e-11 * noise + 0.1 * apart
    for g, h, x in zip(found, again, inputs, strict=True):
        assert g.shape == h.shape == x.shape
        assert g.dtype == h.dtype == x.dtype
        assert np.allclose(g, h, rtol=1e-13, atol=1e-13 * np.abs(g).max(initial=0))
    return upstream, found


@pytest.mark.parametrize("op", OPS, ids=repr)
@settings(max_examples=settings.default.max_examples // 4)
@given(st.data())
def test_value_and_gradient(op, data):
    case = data.draw(cases(op))
    operands, outs = call(case, np.float64)
    answers_are_right(case, outs, np.float64)
    upstream, found = gradients_are_right(case, operands, outs)
    operands, outs = call(case, np.float32)
    answers_are_right(case, outs, np.float32)
    halves = gradients(outs, [operands[i] for i in case.need], upstream)
    scale = 64 * EPS32 * sum(float(np.abs(part).sum()) for part in (*found, *upstream))
    for g, h in zip(found, halves, strict=True):
        assert (h.shape, h.dtype) == (g.shape, np.float32)
        assert np.allclose(g, h, rtol=0, atol=scale)


# Fixed calls ------------------------------------------------------------------------------------------------------------


def ramp(*shape):
    """Numbers of both signs, apart from each other and from 0."""
    n = math.prod(shape)
    return (np.linspace(0.4, 2.0, n) * (-1.0) ** np.arange(n)).reshape(shape)


EDGES = {  # defaults left out, rare shapes and both sides of every case: (call, inputs)
    "norm 1": (lambda x: np.linalg.norm(x, 1), ramp(4)),
    "norm 3": (lambda x: np.linalg.norm(x, 3), ramp(4)),
    "norm 2.5 of rows": (lambda x: np.linalg.norm(x, 2.5, axis=-1), ramp(3, 4)),
    "norm 1/2 of columns": (lambda x: np.linalg.norm(x, 0.5, axis=0), ramp(3, 4)),
    "norm inf": (lambda x: np.linalg.norm(x, math.inf), ramp(4)),
    "norm -inf": (lambda x: np.linalg.norm(x, -math.inf), ramp(4)),
    "norm -1": (lambda x: np.linalg.norm(x, -1), ramp(4)),
    "norm 2 of rows": (lambda x: np.linalg.norm(x, 2, axis=1), ramp(3, 4)),
    "norm of a cube": (lambda x: np.linalg.norm(x, axis=0), ramp(2, 3, 2)),
    "dot with a cube": (np.dot, ramp(3, 4), ramp(2, 4, 5)),
    "inner with a number": (np.inner, ramp(4), ramp()),
    "inner of matrices": (np.inner, ramp(2, 4), ramp(3, 4)),
    "diag above": (lambda x: np.diag(x, 2), ramp(3)),
    "diag below": (lambda x: np.diag(x, -1), ramp(3)),
    "tensordot over two": (np.tensordot, ramp(2, 3, 4), ramp(3, 4, 2)),
    "diff": (np.diff, ramp(2, 3, 4)),
    "diff of a vector": (np.diff, ramp(5)),
    "prod of nothing": (lambda x: np.prod(x, axis=0), ramp(0, 3)),
    "mean to nothing": (lambda x: np.mean(x, axis=1), ramp(0, 3)),
    "var of rows": (lambda x: np.var(x, axis=1), ramp(3, 4)),
    "std of rows": (lambda x: np.std(x, axis=1), ramp(3, 4)),
    "max of rows": (lambda x: np.max(x, axis=1), ramp(3, 4)),
    "min of rows": (lambda x: np.min(x, axis=1), ramp(3, 4)),
    "prod of rows": (lambda x: np.prod(x, axis=1), ramp(3, 4)),
    "ptp of rows": (lambda x: np.ptp(x, axis=1), ramp(3, 4)),
    "split": (lambda x: np.split(x, 2)[1], ramp(4, 3)),
    "array_split": (lambda x: np.array_split(x, 2)[0], ramp(5, 3)),
    "norm 0 of rows": (lambda x: np.linalg.norm(x, 0, axis=1), ramp(3, 4) * (ramp(3, 4) > 0)),
    "norm 0": (lambda x: np.linalg.norm(x, 0, keepdims=True), ramp(4)),
    "norm fro": (lambda x: np.linalg.norm(x, "fro"), ramp(3, 4)),
    "norm of matrices": (lambda x: np.linalg.norm(x, axis=(0, 2), keepdims=True), ramp(3, 4, 2)),
    "norm of nothing": (lambda x: np.linalg.norm(x, 2, axis=1, keepdims=True), ramp(3, 0)),
    "norm of no rows": (lambda x: np.linalg.norm(x, axis=1), ramp(0, 3)),
    "join": (kernels.join, ramp(2, 3), ramp(1, 3)),
    "hstack of one": (lambda x: np.hstack([x]), ramp(2, 3)),
    "hstack of numbers": (lambda x, y: np.hstack([x, y]), ramp(), ramp()),
    "clip by new names": (lambda x: np.clip(x, min=-1.0, max=1.1), ramp(3, 4)),
    "clip by old names": (lambda x: np.clip(x, a_min=-1.0, a_max=1.1), ramp(3, 4)),
    "logsumexp of far rows": (kernels.logsumexp, ramp(2, 3) + np.array([[0.0], [2000.0]])),
    "average of rows": (lambda x, w: np.average(x, axis=1, weights=w), ramp(3, 4), np.abs(ramp(4))),
    "average of slabs": (lambda x, w: np.average(x, axis=(1, 0), weights=w), ramp(3, 2, 3), np.abs(ramp(2, 3))),
    "average of cubic slabs": (lambda x, w: np.average(x, axis=(0, 1), weights=w), ramp(3, 3, 3), np.abs(ramp(3, 3))),
}


@pytest.mark.parametrize("name", EDGES)
def test_fixed_calls(name):
    f, *arrays = EDGES[name]
    tensors = [tn.Tensor(x, requires_grad=True) for x in arrays]
    y, expected = f(*tensors), f(*arrays)
    assert y.shape == np.shape(expected)
    assert np.allclose(y.data, expected, rtol=1e-14, atol=0)
    generator = np.random.default_rng(1)
    directions, upstream = [signed(generator, x.shape) for x in arrays], signed(generator, y.shape)
    along = lambda t: (
        0.0
        if name == "norm 0 of rows"
        else total([f(*(x + t * u for x, u in zip(arrays, directions, strict=True)))], [upstream])
    )
    numeric, apart = slope_by_differences(along)
    slope = total(tn.gradients(y, tensors, upstream), directions)
    assert abs(slope - numeric) <= 1e-9 * max(1, abs(numeric)) + 0.1 * apart


def slopes(f, *values, upstream=1.0):
    """The value and the gradients, as lists."""
    tensors = [tn.Tensor(np.array(v, float), requires_grad=True) for v in values]
    y = f(*tensors)
    return y.data.tolist(), [g.tolist() for g in tn.gradients(y, tensors, upstream * np.ones(y.shape))]


CORNERS = [  # (call, inputs, value, gradients)
    (np.hypot, [0.0], [0.0], [0.0], [[0.0], [0.0]]),
    (np.hypot, [0.0], [1.0], [1.0], [[0.0], [1.0]]),
    (np.arctan2, [0.0], [0.0], [0.0], [[0.0], [0.0]]),
    (np.maximum, [1.0], [1.0], [1.0], [[0.5], [0.5]]),
    (np.minimum, [1.0], [1.0], [1.0], [[0.5], [0.5]]),
    (np.fmax, [1.0], [1.0], [1.0], [[0.5], [0.5]]),
    (np.fmin, [1.0], [1.0], [1.0], [[0.5], [0.5]]),
    (np.power, [0.0], [0.0], [1.0], [[0.0], [0.0]]),
    (np.linalg.norm, [0.0, 0.0], 0.0, [[0.0, 0.0]]),
    (np.linalg.norm, [3 * 2.0**600, 2.0**602], 5 * 2.0**600, [[0.6, 0.8]]),
    (lambda x: np.linalg.norm(x, 3), [0.0, 0.0], 0.0, [[0.0, 0.0]]),
    (lambda x: np.linalg.norm(x, 3), [0.0, 2.0], 2.0, [[0.0, 1.0]]),
    (lambda x: np.linalg.norm(x, 1), [0.0, -2.0], 2.0, [[0.0, -1.0]]),
    (lambda x: np.linalg.norm(x, 0.5), [0.0, 1.0, 1.0], 4.0, [[0.0, 2.0, 2.0]]),
    (lambda x: np.linalg.norm(x, -1), [0.0, 2.0], 0.0, [[0.0, 0.0]]),
    (F.leaky_relu, [0.0], [0.0], [[0.01]]),
    (lambda x: F.elu(x, 0.5), [0.0], [0.0], [[0.5]]),
    (np.sum, [], 0.0, [[]]),
]


@pytest.mark.parametrize(("f", "case"), [(f, case) for f, *case in CORNERS])
def test_conventions_and_extremes(f, case):
    *values, value, gradients = case
    y, found = slopes(f, *values)
    assert np.allclose(y, value, rtol=1e-15, atol=0)
    assert all(np.allclose(g, e, rtol=1e-15, atol=0) for g, e in zip(found, gradients, strict=True))


@pytest.mark.parametrize("rank", range(5))
def test_the_derivatives_of_det_are_right_at_any_rank(rank):
    """det(x + t v) is a polynomial in t: its coefficients are the derivatives along v."""
    whole = lambda *shape: np.random.default_rng(rank).integers(-2, 3, shape).astype(float)
    x, v, t = whole(4, rank) @ whole(rank, 4), whole(4, 4), np.arange(5.0)
    coefficients = np.linalg.solve(np.vander(t, increasing=True), np.linalg.det(x + t[:, None, None] * v))
    leaf = tn.Tensor(x, requires_grad=True)
    y = np.linalg.det(leaf)
    for order in (1, 2, 3):
        y = (tn.gradients(y, leaf, create_graph=True) * v).sum()
        assert y.item() == pytest.approx(math.factorial(order) * coefficients[order], rel=1e-10, abs=1e-10)


def test_a_singular_matrix_leaves_the_rest_of_a_batch_alone():
    x = np.array([[[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, 5.0]], [[0.0, 0.0], [0.0, 0.0]]])
    leaf = tn.Tensor(x, requires_grad=True)
    slope = tn.gradients(np.linalg.det(leaf), leaf, np.ones(3))
    assert np.allclose(slope, [[[4, -3], [-2, 1]], [[5, 0], [0, 0]], [[0, 0], [0, 0]]], rtol=1e-15, atol=0)


def test_no_degrees_of_freedom_give_nan_and_no_entry_gives_minus_infinity():
    x = tn.Tensor(np.ones(1), requires_grad=True)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.isnan(tn.gradients(np.var(x, ddof=1), x)).all()
    assert F.logsumexp(tn.Tensor(np.full(2, -np.inf))).item() == -np.inf


def test_equal_elements_keep_their_places_in_a_long_sort():
    x = tn.Tensor(np.arange(60.0) % 3, requires_grad=True)
    upstream = np.arange(60.0)
    order = np.argsort(x.data, kind="stable")
    assert tn.gradients(np.sort(x), x, upstream)[order].tolist() == upstream.tolist()


def test_kernels_on_arrays_take_their_parameters():
    x = ramp(3, 4)
    assert np.allclose(kernels.softmax(x, axis=0), softmax(x, 0), rtol=1e-14)
    assert kernels.join(x, x).shape == (6, 4)
    assert kernels.join(x, x, axis=1).shape == (3, 8)


def test_dot_of_matrices_is_one_matmul():
    x = tn.Tensor(ramp(3, 4), requires_grad=True)
    assert "by=matmul" in repr(np.dot(x, ramp(4, 2)))


def test_calls_that_numpy_refuses_or_that_have_no_rule_are_refused():
    x = tn.Tensor(ramp(3, 4), requires_grad=True)
    with pytest.raises(ValueError, match="equal"):
        np.split(x, 2)
    with pytest.raises(TypeError, match="only the Frobenius norm"):
        np.linalg.norm(x, 1)
    with pytest.raises(TypeError, match="only the Frobenius norm"):
        np.linalg.norm(x[None], 1, axis=(0, 2))
    with pytest.raises(TypeError, match=r"np\.sum"):
        np.sum(x, 0, None)
    with pytest.raises(TypeError, match="einsum"):
        np.einsum(x, [0, 1])
    for order, axis in (("fro", 0), ("nuc", None), (2, (0, 1, 2)), (3, 5)):
        with pytest.raises((ValueError, TypeError)):
            np.linalg.norm(x, order, axis)
    with pytest.raises(ValueError, match="norm order"):
        np.linalg.norm(x[0], "fro")
    with pytest.raises(ValueError, match="unsupported keyword"):
        np.pad(x, 1, mode="edge", constant_values=2.0)
    for axis, weights in ((None, np.ones(4)), (0, np.ones(4)), (None, np.ones(()))):
        with pytest.raises((ValueError, TypeError), match=r"weights|Axis"):
            np.average(x, axis, weights)


def test_what_a_rule_reads_is_held_every_time():
    x = tn.Tensor(ramp(3), requires_grad=True)
    for _ in range(2):
        read, unread = ramp(3), ramp(3)
        kept = np.fmod(x, unread), np.arctan2(x, read)
        assert not read.flags.writeable
        assert unread.flags.writeable
        del kept
