"""NumPy functions that need no rule of their own, because they are made of others that have one.

The largest family only moves elements about: repeat, tile, take ... Applied to the positions 0, 1, 2 ... instead of the
values, such a function says where every element of the answer comes from, so it is one indexing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from tinynet import kernels
from tinynet.backend import beside, device_of, same_device


def axes_of(x: Any, axis: Any) -> tuple[int, ...]:
    """The axes meant by None, a number or several, counted from the front; NumPy's error for one that is not there."""
    if axis is None:
        return tuple(range(x.ndim))
    return normalize_axis_tuple(axis, x.ndim)


def operands(*values: Any) -> tuple[Any, ...]:
    """Lists as arrays, on the device of the others; all else as it is."""
    like = next((v for v in values if hasattr(v, "__array_function__")), None)
    return tuple(beside(v, like) if isinstance(v, list) else v for v in values)


# Rearrangements -------------------------------------------------------------------------------------------------------


def rearranged(function: Callable) -> Callable:
    """`function(x, ...)`, which only picks elements of x, as one indexing of x."""

    def pick(x: Any, *args: Any, **params: Any) -> Any:
        positions: Any = np.arange(math.prod(x.shape)).reshape(x.shape)
        if any(device_of(arg) != "cpu" for arg in args):  # the order of a sort, say
            positions = same_device(positions, x)
        return np.ravel(x)[same_device(function(positions, *args, **params), x)]

    return pick


REARRANGEMENTS = np.rot90, np.repeat, np.tile, np.take, np.take_along_axis, np.diagonal, np.delete


def flip(x: Any, axis: Any = None) -> Any:
    """Backwards along the axes (None: all)."""
    turned = axes_of(x, axis)
    return x[tuple(slice(None, None, -1) if i in turned else slice(None) for i in range(x.ndim))]


def fliplr(x: Any) -> Any:
    """Backwards along the second axis."""
    return flip(x, 1)


def flipud(x: Any) -> Any:
    """Backwards along the first axis."""
    return flip(x, 0)


def roll(x: Any, shift: Any, axis: Any = None) -> Any:
    """Shifted along axes; what leaves at one end comes in at the other."""
    if axis is None:
        return np.reshape(roll(np.ravel(x), shift, 0), x.shape)
    np.roll(np.empty((0,) * x.ndim), shift, axis)  # raises NumPy's error for shifts and axes that do not fit
    for by, i in np.broadcast(shift, normalize_axis_tuple(axis, x.ndim, allow_duplicate=True)):
        start, before = -int(by) % max(x.shape[i], 1), (slice(None),) * i
        x = concatenate([x[(*before, slice(start, None))], x[(*before, slice(None, start))]], i)
    return x


def resize(x: Any, new_shape: Any) -> Any:
    """The elements over and over until they fill the new shape; zeros if there are none."""
    return rearranged(np.resize)(x, new_shape) if x.size else np.broadcast_to(np.sum(x), new_shape)


def sort(x: Any, axis: int | None = -1, kind: Any = None) -> Any:
    """In ascending order; equal elements keep theirs, and each its own gradient."""
    if axis is None:
        return sort(np.ravel(x), 0)
    return np.take_along_axis(x, np.argsort(x, axis=axis, kind="stable"), axis)


def pad(x: Any, pad_width: Any, mode: str = "constant", **how: Any) -> Any:
    """Zeros or `constant_values` around x; or, in the other modes, elements of x (edge, reflect, symmetric, wrap)."""
    if how.get("reflect_type", "even") != "even":
        raise TypeError("np.pad on a Tensor does not take reflect_type='odd': it makes new values")
    if mode in ("edge", "reflect", "symmetric", "wrap"):
        return rearranged(np.pad)(x, pad_width, mode=mode, **how)
    if mode != "constant":
        raise TypeError(f"np.pad on a Tensor knows the modes constant, edge, reflect, symmetric and wrap, got {mode!r}")
    frame = np.pad(np.zeros(x.shape, x.dtype), pad_width, **how)
    widths = np.broadcast_to(pad_width, (x.ndim, 2))
    inside = tuple(slice(before, before + n) for (before, _), n in zip(widths.tolist(), x.shape, strict=True))
    return kernels.put_back(x, inside, frame.shape) + same_device(frame, x)


def moveaxis(x: Any, source: Any, destination: Any) -> Any:
    """Axes moved to new places, as the transpose that does it."""
    lengths = tuple(range(x.ndim))  # an array whose axis i has the length i shows where its axes went
    return np.transpose(x, np.moveaxis(np.empty(lengths), source, destination).shape)


# Joining and splitting ------------------------------------------------------------------------------------------------


def concatenate(arrays: Sequence[Any], axis: int | None = 0) -> Any:
    """Arrays one after the other along an axis (None: all flattened)."""
    arrays = [np.ravel(a) for a in arrays] if axis is None else list(arrays)
    return kernels.join(*arrays, axis=axis or 0)


def stack(arrays: Sequence[Any], axis: int = 0) -> Any:
    """Arrays of one shape along a new axis."""
    return concatenate([np.expand_dims(a, axis) for a in arrays], axis)


def vstack(arrays: Sequence[Any]) -> Any:
    """Rows on top of each other."""
    return concatenate([atleast_2d(a) for a in arrays])


def hstack(arrays: Sequence[Any]) -> Any:
    """Side by side: along the second axis, or the only one."""
    arrays = [atleast_1d(a) for a in arrays]
    return concatenate(arrays, 1 if arrays[0].ndim > 1 else 0)


def column_stack(arrays: Sequence[Any]) -> Any:
    """Vectors as the columns of a matrix."""
    return concatenate([np.transpose(atleast_2d(a)) if np.ndim(a) < 2 else a for a in arrays], 1)


def array_split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """Pieces along an axis, of nearly equal size or cut at the given positions."""
    pieces = np.array_split(np.arange(x.shape[axis]), indices_or_sections)
    before = (slice(None),) * axes_of(x, axis)[0]
    return [x[(*before, slice(p[0], p[-1] + 1) if len(p) else slice(0, 0))] for p in pieces]


def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """array_split that insists on equal pieces."""
    np.split(np.arange(x.shape[axis]), indices_or_sections)  # raises NumPy's error where they are not equal
    return array_split(x, indices_or_sections, axis)


def atleast_1d(*arrays: Any) -> Any:
    """Numbers as vectors."""
    done = tuple(np.reshape(x, (1,)) if np.ndim(x) == 0 else x for x in arrays)
    return done[0] if len(done) == 1 else done


def atleast_2d(*arrays: Any) -> Any:
    """Vectors as rows."""
    done = tuple(np.expand_dims(atleast_1d(x), 0) if np.ndim(x) < 2 else x for x in arrays)
    return done[0] if len(done) == 1 else done


# Products -------------------------------------------------------------------------------------------------------------


def matmul(a: Any, b: Any) -> Any:
    """a @ b; a vector is a row on the left and a column on the right."""
    a, b = operands(a, b)
    if np.ndim(a) == 1:
        return matmul(np.expand_dims(a, 0), b)[..., 0, :] if np.ndim(b) > 1 else np.sum(a * b)
    if np.ndim(b) == 1:
        return matmul(a, np.expand_dims(b, -1))[..., 0]
    return kernels.matmul(a, b)


def dot(a: Any, b: Any) -> Any:
    """Numbers: their product; otherwise the sum over the last axis of a and the second-last of b."""
    if not (np.ndim(a) and np.ndim(b)):
        return a * b
    if np.ndim(b) > 2:
        return tensordot(a, b, ([-1], [-2]))
    return matmul(a, b)


def outer(a: Any, b: Any) -> Any:
    """All products of an element of a and one of b."""
    return np.expand_dims(np.ravel(a), -1) * np.ravel(b)


def inner(a: Any, b: Any) -> Any:
    """The sum over the last axes."""
    return tensordot(a, b, ([-1], [-1])) if np.ndim(a) and np.ndim(b) else a * b


def vdot(a: Any, b: Any) -> Any:
    """The sum of all products, as if both were vectors."""
    return np.sum(np.ravel(a) * np.ravel(b))


def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """The sum over pairs of axes, written as an einsum."""
    a, b = operands(a, b)
    if isinstance(axes, int):
        axes = (list(range(a.ndim - axes, a.ndim)), list(range(axes)))
    of_a, of_b = axes_of(a, axes[0]), axes_of(b, axes[1])
    left = LETTERS[: a.ndim]
    right = "".join(left[of_a[of_b.index(i)]] if i in of_b else LETTERS[a.ndim + i] for i in range(b.ndim))
    kept = "".join(c for c in left + right if (left + right).count(c) == 1)
    return np.einsum(f"{left},{right}->{kept}", a, b)


LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def einsum(subscripts: str, *operands: Any) -> Any:
    """Einstein's summation. First every operand is made plain (repeated labels: its diagonal; labels that nobody else
    has: summed), so that every label of an operand is in the answer or in another operand, which the rule relies on.
    """
    if not isinstance(subscripts, str):
        raise TypeError("np.einsum on a Tensor does not take lists of axes: write subscripts, such as 'ij,jk->ik'")
    inputs, output = explicit(subscripts, operands)
    plain = [_diagonal_of(x, labels) for x, labels in zip(operands, inputs, strict=True)]
    lengths: dict[str, int] = {}
    for x, labels in plain:
        lengths.update((c, n) for c, n in zip(labels, x.shape, strict=True) if n != 1)
    # An axis of length 1 among others of its label is the same all along them: it can be left out.
    plain = [_without(x, s, [c for c, n in zip(s, x.shape, strict=True) if n != lengths.get(c, 1)]) for x, s in plain]
    names = [labels for _, labels in plain]
    for i, (x, labels) in enumerate(plain):
        elsewhere = output + "".join(names[:i] + names[i + 1 :])
        plain[i] = _without(x, labels, [c for c in labels if c not in elsewhere])
    ready, names = [x for x, _ in plain], [labels for _, labels in plain]
    return kernels.contract(*ready, subscripts=f"{','.join(names)}->{output}")


def explicit(subscripts: str, operands: Sequence[Any]) -> tuple[list[str], str]:
    """The labels of every operand and of the answer, with "..." and a missing "->" written out."""
    left, arrow, output = subscripts.replace(" ", "").partition("->")
    inputs = left.split(",")
    if len(inputs) != len(operands):
        raise ValueError(f"np.einsum: {subscripts!r} names {len(inputs)} operands, got {len(operands)}")
    spare = [c for c in reversed(LETTERS) if c not in subscripts]
    named = [len(labels.replace("...", "")) for labels in inputs]
    dots = [np.ndim(x) - n if "..." in labels else 0 for x, labels, n in zip(operands, inputs, named, strict=True)]
    batch = "".join(spare[: max(dots, default=0)])
    inputs = [labels.replace("...", batch[len(batch) - n :]) for labels, n in zip(inputs, dots, strict=True)]
    if arrow:
        return inputs, output.replace("...", batch)
    letters = "".join(inputs)
    return inputs, batch + "".join(sorted(c for c in set(letters) - set(batch) if letters.count(c) == 1))


def _without(x: Any, labels: str, gone: list[str]) -> tuple[Any, str]:
    """x summed over the axes with these labels."""
    axes = tuple(k for k, c in enumerate(labels) if c in gone)
    return (np.sum(x, axis=axes), "".join(c for c in labels if c not in gone)) if axes else (x, labels)


def _diagonal_of(x: Any, labels: str) -> tuple[Any, str]:
    """x with each repeated label reduced to its diagonal."""
    for c in dict.fromkeys(labels):
        while labels.count(c) > 1:
            i, j = (k for k, other in enumerate(labels) if other == c and (labels[:k].count(c) < 2))
            x = np.diagonal(x, axis1=i, axis2=j)  # the diagonal becomes the last axis
            labels = "".join(other for k, other in enumerate(labels) if k not in (i, j)) + c
    return x, labels


def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The sum of a diagonal."""
    return np.sum(np.diagonal(x, offset, axis1, axis2), axis=-1)


def diag(x: Any, k: int = 0) -> Any:
    """The diagonal of a matrix, or the matrix with that diagonal."""
    if x.ndim == 2:
        return np.diagonal(x, k)
    rows = same_device(np.arange(x.shape[0]) + max(-k, 0), x)
    side = x.shape[0] + abs(k)
    return kernels.put_back(x, (rows, rows + k), (side, side))


def tril(x: Any, k: int = 0) -> Any:
    """The part on and below diagonal k; zeros above."""
    return np.where(_below(x, k), x, 0)


def triu(x: Any, k: int = 0) -> Any:
    """The part on and above diagonal k; zeros below."""
    return np.where(_below(x, k - 1), 0, x)


def _below(x: Any, k: int) -> Any:
    """True on and below diagonal k."""
    return same_device(np.tri(x.shape[-2], x.shape[-1], k=k, dtype=bool), x)


def solve(a: Any, b: Any) -> Any:
    """The x of a @ x = b, for a vector or a matrix b."""
    return kernels.solve(a, np.expand_dims(b, -1))[..., 0] if np.ndim(b) == 1 else kernels.solve(a, b)


# Reductions -----------------------------------------------------------------------------------------------------------


def prod(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The product, by multiplying halves: exact gradients even where elements are zero, and of any order."""
    if not x.ndim:
        return +x
    axes = axes_of(x, axis)
    for a in axes:
        x = _multiplied(x, a)
    return x if keepdims else np.squeeze(x, axis=axes)


def _multiplied(x: Any, axis: int) -> Any:
    before = (slice(None),) * axis
    if x.shape[axis] == 0:
        return np.sum(x, axis=axis, keepdims=True) + 1  # nothing multiplied is 1
    while (n := x.shape[axis]) > 1:
        half = n // 2
        pairs = x[(*before, slice(0, half))] * x[(*before, slice(half, 2 * half))]
        x = pairs if n % 2 == 0 else concatenate([pairs, x[(*before, slice(2 * half, n))]], axis)
    return x


def ptp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The largest minus the smallest."""
    return np.max(x, axis=axis, keepdims=keepdims) - np.min(x, axis=axis, keepdims=keepdims)


def average(x: Any, axis: Any = None, weights: Any = None) -> Any:
    """The mean, weighted if weights are given (of the shape of x, or of its axes in the order named)."""
    x, weights = operands(x, weights)
    if weights is None:
        return np.mean(x, axis=axis)
    np.average(np.ones(x.shape), axis, np.ones(np.shape(weights)))  # raises NumPy's error for weights that do not fit
    if np.shape(weights) != x.shape:
        own = axes_of(x, axis)
        weights = np.transpose(weights, np.argsort(own).tolist())
        weights = np.reshape(weights, [n if i in own else 1 for i, n in enumerate(x.shape)])
    return np.sum(x * weights, axis=axis) / np.sum(weights, axis=axis)


def diff(x: Any, n: int = 1, axis: int = -1) -> Any:
    """Each element minus the one before it, n times."""
    before = (slice(None),) * axes_of(x, axis)[0]
    for _ in range(n):
        x = x[(*before, slice(1, None))] - x[(*before, slice(None, -1))]
    return x


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The length of vectors (2-norm; ord=1, inf, -inf, 0 or any p), or the Frobenius norm of matrices."""
    if len(axes_of(x, axis)) == 2 and ord not in (None, "fro", "f"):
        raise TypeError(f"np.linalg.norm on a Tensor has no matrix norm ord={ord!r}: only the Frobenius norm, or vectors")
    if not (axis is None and ord is None):
        np.linalg.norm(np.ones(x.shape), ord, axis)  # raises NumPy's error for an order or axes that make no sense
    if not x.size:
        return np.sum(x, axis=axis, keepdims=keepdims)
    if ord in (None, 2, "fro", "f"):
        return kernels.length(x, axis, keepdims=keepdims)
    if ord in (math.inf, -math.inf):
        return (np.max if ord > 0 else np.min)(np.absolute(x), axis=axis, keepdims=keepdims)
    if ord == 0:
        return np.sum(np.where(x == 0, 0 * x, 1), axis=axis, keepdims=keepdims)
    return _p_norm(x, ord, axis, keepdims)


def _p_norm(x: Any, p: float, axis: Any, keepdims: bool) -> Any:
    """sum(|x|^p)^(1/p); elements that are zero, and vectors of nothing else, have slope 0."""
    size = np.where(x == 0, 0.0 if p > 0 else math.inf, np.absolute(np.where(x == 0, 1, x)) ** p)
    total = np.sum(size, axis=axis, keepdims=keepdims)
    return np.where(total == 0, 0, np.where(total == 0, 1, total) ** (1 / p))


def clip(x: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    """x between bounds, by NumPy's old names for them or its new ones."""
    return kernels.clip(x, min if a_min is None else a_min, max if a_max is None else a_max)


COMPOSED: dict[Callable, Callable] = {
    **{function: rearranged(function) for function in REARRANGEMENTS},
    np.flip: flip, np.fliplr: fliplr, np.flipud: flipud, np.roll: roll, np.resize: resize,
    np.sort: sort, np.pad: pad, np.moveaxis: moveaxis,
    np.concatenate: concatenate, np.stack: stack, np.vstack: vstack, np.hstack: hstack, np.column_stack: column_stack,
    np.array_split: array_split, np.split: split, np.atleast_1d: atleast_1d, np.atleast_2d: atleast_2d,
    np.matmul: matmul, np.dot: dot, np.outer: outer, np.inner: inner, np.vdot: vdot, np.tensordot: tensordot,
    np.einsum: einsum, np.trace: trace, np.diag: diag, np.tril: tril, np.triu: triu,
    np.clip: clip, np.prod: prod, np.ptp: ptp, np.average: average, np.diff: diff,
    np.linalg.norm: norm, np.linalg.solve: solve,
}  # fmt: skip
