"""Which of NumPy's functions can be replayed, and those that are written down in other words.

A ufunc (np.add, np.exp ...) always can; the others are named here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np


def reduced(ufunc: np.ufunc) -> Callable:
    """np.sum, np.max ... as the reduction that it is, which can write into an array that is there."""
    return lambda x, axis=None, dtype=None, keepdims=False: x.tape.call(
        ufunc.reduce, (x,), {"axis": axis, "dtype": dtype, "keepdims": bool(keepdims)}
    )


def mean(x: Any, axis: Any = None, keepdims: Any = False) -> Any:
    """np.mean as its two steps; NumPy adds half precision up in another dtype, and counts in float64."""
    if x.dtype.kind != "f" or x.dtype.itemsize < 4 or not 0 < x.size < 2**24:
        return x.tape.call(np.mean, (x,), {"axis": axis, "keepdims": keepdims})
    total = np.sum(x, axis, keepdims=keepdims)
    return np.true_divide(total, x.size // max(total.size, 1))


def converted(x: np.ndarray) -> np.ndarray:
    """Stands for copy and astype on the tape; the dtype and the layout are those of the answer."""
    raise AssertionError("source.py makes a copyto of it")


def scalar_pow(x: np.ndarray, n: Any) -> Any:
    """The power of a scalar, whose last digit may differ from that of an array."""
    return x[()] ** n


VIEWS = {
    operator.getitem, np.reshape, np.swapaxes, np.transpose, np.squeeze, np.expand_dims, np.broadcast_to, np.moveaxis,
    np.atleast_1d, np.atleast_2d, np.diagonal, np.ravel,
}  # fmt: skip

OF_SHAPES = {np.shape, np.ndim, np.size, np.iscomplexobj, np.isrealobj, np.result_type}  # what they answer needs no values

IN_OTHER_WORDS: dict[Callable, tuple[Callable, set[str]]] = {  # and the parameters that are known there
    np.sum: (reduced(np.add), {"axis", "dtype", "keepdims"}),
    np.max: (reduced(np.maximum), {"axis", "keepdims"}),
    np.min: (reduced(np.minimum), {"axis", "keepdims"}),
    np.mean: (mean, {"axis", "keepdims"}),
}

# Those of NumPy's other functions that answer one array, whose shape does not depend on values.
KNOWN = VIEWS | IN_OTHER_WORDS.keys() | {
    np.all, np.any, np.arange, np.argmax, np.argmin, np.argsort, np.average, np.clip, np.column_stack, np.concatenate,
    np.copy, np.cross, np.cumprod, np.cumsum, np.diag, np.diff, np.dot, np.einsum, np.empty_like, np.full_like, np.hstack,
    np.inner, np.interp, np.isclose, np.kron, np.linalg.cholesky, np.linalg.det, np.linalg.inv, np.linalg.norm,
    np.linalg.solve, np.mean, np.median, np.nan_to_num, np.ones_like, np.outer, np.pad, np.prod, np.ptp, np.quantile,
    np.roll, np.round, np.searchsorted, np.sort, np.stack, np.std, np.take, np.take_along_axis, np.tensordot, np.tile,
    np.trace, np.tril, np.triu, np.var, np.vdot, np.vstack, np.where, np.zeros_like,
}  # fmt: skip
