"""Hyperparameters of many nets at once: one number for each replica, in the place of one for all.

With `lr=np.array([0.1, 0.01, 0.001])` the first axis of every parameter counts three nets (replicas) that are trained side
by side, each with its own rate. A rule is written for one net and sees numbers: a `PerReplica` behaves like one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin


class PerReplica(NDArrayOperatorsMixin):
    """One number for each of R replicas.

    Beside a number it is float64, and beside an array it takes that array's dtype and lies along its first axis: as a
    Python float would, it neither widens float32 nor loses digits before it meets it, and each replica has the bits that it
    would have alone.

    >>> lr = PerReplica(np.array([1.0, 10.0]))
    >>> lr / 4 * np.ones((2, 3), np.float32)
    array([[0.25, 0.25, 0.25],
           [2.5 , 2.5 , 2.5 ]], dtype=float32)
    """

    __slots__ = ("values",)

    def __init__(self, values: np.ndarray):
        self.values = values  # [R], float64; bool if it is the answer of a comparison

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: tuple = (), **params: Any) -> Any:
        beside = [x for x in (*inputs, *out) if not isinstance(x, PerReplica) and hasattr(x, "ndim") and x.ndim]
        if method != "__call__" or (out and not beside):
            return NotImplemented
        if not beside:
            return PerReplica(ufunc(*(x.values if isinstance(x, PerReplica) else x for x in inputs), **params))
        shown = [x.along(beside[0].ndim, beside[0].dtype) if isinstance(x, PerReplica) else x for x in inputs]
        return ufunc(*shown, **{**params, **({"out": out} if out else {})})

    def along(self, ndim: int, dtype: Any = None) -> np.ndarray:
        """The numbers along the first of `ndim` axes: [R, 1, ...]."""
        return self.values.reshape(-1, *(1,) * (ndim - 1)).astype(dtype or self.values.dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.along(2, dtype)  # beside the slices [R, ...] of a slab

    def __bool__(self) -> bool:
        if self.values.dtype != bool:
            return bool(self.values.any())  # `if weight_decay:` asks whether there is something to do
        if self.values.any() != self.values.all():
            raise ValueError(
                "the replicas differ in a hyperparameter on which it depends how the rule goes on, such as a momentum that "
                "is 0 for some of them: train these apart"
            )
        return bool(self.values.all())

    def __repr__(self) -> str:
        low, high = self.values.min(), self.values.max()
        return f"<{len(self.values)} numbers from {low:g} to {high:g}>" if low < high else f"<{len(self.values)} x {low:g}>"


def replicas_of(groups: Iterable[Mapping[str, Any]]) -> int | None:
    """How many replicas there are: the length of the hyperparameters that are arrays; None if there are none."""
    found: dict[int, str] = {}
    for group in groups:
        for key, value in group.items():
            if key not in ("params", "penalty", "projection"):
                found.update((n, key) for n in lengths(value))
    if len(found) > 1:
        said = " and ".join(f"{key} has {n}" for n, key in found.items())
        raise ValueError(f"every array of hyperparameters must have one number for each replica, but {said}")
    return next(iter(found), None)


def lengths(value: Any) -> list[int]:
    """The number of replicas in a hyperparameter, in each member of a pair, or in what a schedule says at its start."""
    if isinstance(value, tuple | list):
        return [n for member in value for n in lengths(member)]
    if callable(value):
        value = value(0)
    if isinstance(value, PerReplica):
        return [len(value.values)]
    return [len(value)] if isinstance(value, np.ndarray) and value.size and value.ndim else []


def kept_apart(key: str, given: Any, number: Any, replicas: int | None) -> Any:
    """The hyperparameter as given, with PerReplica in the place of arrays: what is done to these later does not reach us.

    number: what it is for the next step. ValueError if it is not one for each of our replicas.
    """
    for one in number if isinstance(number, tuple) else (number,):
        if isinstance(one, PerReplica) and len(one.values) != replicas:
            held = "one net" if replicas is None else f"{replicas} replicas"
            raise ValueError(f"{key} has {len(one.values)} numbers, and the optimizer was made for {held}")
    if isinstance(given, tuple | list) and any(isinstance(member, np.ndarray) for member in given):
        return tuple(PerReplica(m.astype(float)) if isinstance(m, np.ndarray) else m for m in given)
    return number if isinstance(given, np.ndarray) else given


def as_plain(value: Any) -> Any:
    """The inverse: arrays in the place of PerReplica."""
    if isinstance(value, tuple):
        return tuple(map(as_plain, value))
    return value.values.copy() if isinstance(value, PerReplica) else value


def from_plain(value: Any, like: Any) -> Any:
    """What `as_plain` answered, also from a file, where an array has become a list; `like`: is it a tuple of numbers?"""
    if isinstance(like, tuple | list):
        return tuple(from_plain(member, 0.0) for member in value)
    return np.array(value, float) if isinstance(value, list) else value
