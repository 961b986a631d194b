"""Projections: after every step, each parameter moves to the nearest point of a set that it must not leave.

    MaxNorm(c)        the weight vector of every unit is no longer than c
    NonNegative()     no number is below 0
    Box(low, high)    every number lies between low and high

Pass one to an optimizer, `SGD(params, projection=MaxNorm(3.0))`: projected gradient descent (Goldstein 1964; Bertsekas
1999, section 2.3). A penalty pulls weights towards small ones; a projection is a wall, and inside it changes no bit.

A projection is called with the data of one parameter and changes it in place. nan stays nan.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np

from optimizers.clipping import shorten, sum_of_squares
from optimizers.kinds import Length, check_fields
from optimizers.penalties import Filter, Selective


@dataclass(frozen=True)
class MaxNorm(Selective):
    """Shorten the incoming weight vector of each unit to an L2 norm of at most `limit`.

    Srebro & Shraibman 2005; with dropout, Hinton et al. 2012 (3 to 4 is usual, after Srivastava et al. 2014).

    limit: above 0.
    axis: the axis along which a unit's incoming weights lie, -2 for weights [..., in, out].
    only: which parameters, as in penalties.py. Those with fewer than two axes, biases, are never touched; nor are those of
    many nets side by side, [replicas, 1, out], if the optimizer has a rate for each.

    >>> w = np.array([[3.0, 0.6], [4.0, 0.8]])
    >>> MaxNorm(2.0)(w)
    >>> w
    array([[1.2, 0.6],
           [1.6, 0.8]])
    """

    limit: Length
    axis: int = -2
    only: Filter | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self)
        if isinstance(self.axis, bool) or not isinstance(self.axis, Integral):
            raise TypeError(f"MaxNorm: axis must be an integer such as -2, got {self.axis!r}")

    @np.errstate(all="ignore")
    def __call__(self, data: Any) -> None:
        if data.ndim < 2:
            return
        if not -data.ndim <= self.axis < data.ndim:
            raise ValueError(f"MaxNorm: axis={self.axis}, but a parameter has shape {data.shape}: choose others by `only`")
        shorten(data, np.sqrt(sum_of_squares(data, axis=self.axis, keepdims=True)), self.limit)


@dataclass(frozen=True)
class Box(Selective):
    """Move each number into [low, high]; a side may be infinite.

    >>> w = np.array([-2.0, 0.5, 7.0])
    >>> Box(-1, 1)(w)
    >>> w
    array([-1. ,  0.5,  1. ])
    """

    low: float
    high: float
    only: Filter | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for side in ("low", "high"):
            value = getattr(self, side)
            if isinstance(value, bool) or not isinstance(value, Real):
                raise TypeError(f"{type(self).__name__}: {side} must be a number, got {value!r}")
            object.__setattr__(self, side, float(value))  # a NumPy float64 would widen float32 data
        if not self.low <= self.high:
            raise ValueError(f"{type(self).__name__}: low must be at most high, got {self.low!r} and {self.high!r}")

    @np.errstate(over="ignore")  # an end beyond the dtype's range is infinite
    def __call__(self, data: Any) -> None:
        # np.maximum(data, 0) may turn -0.0 into 0.0, and what is inside keeps its bits
        data[...] = np.where(data < self.low, self.low, np.where(data > self.high, self.high, data))


class NonNegative(Box):
    """Move each number below 0 to 0: for weights that are amounts, rates, or mixtures."""

    def __init__(self, only: Filter | None = None):
        super().__init__(0.0, math.inf, only)

    def __repr__(self) -> str:
        return f"NonNegative(only={self.only!r})"
