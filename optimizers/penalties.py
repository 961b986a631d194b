"""Penalties on the size of the weights, and three ways to apply them.

    L1(s)             s * sum |w|                       drives weights to exactly zero (with mode="proximal")
    L2(s)             s/2 * sum w^2                     shrinks weights; `weight_decay=s` is the same thing
    ElasticNet(a, b)  a * sum |w| + b/2 * sum w^2       both (Zou & Hastie 2005)

Modes: "coupled" adds the penalty's gradient to the loss's gradient, so that the optimizer rescales it too;
"decoupled" moves the weights by lr * gradient of the penalty beside the optimizer's step (Loshchilov & Hutter 2019);
"proximal" solves for the penalty exactly after the step, in the optimizer's own metric (Parikh & Boyd 2014): the only
way in which L1 gives exact zeros.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

MODES = ("coupled", "decoupled", "proximal")


@dataclass(frozen=True)
class ElasticNet:
    """l1 * sum |w| + l2/2 * sum w^2."""

    l1: float
    l2: float
    mode: str = "proximal"

    def __post_init__(self) -> None:
        for name in ("l1", "l2"):
            strength = getattr(self, name)
            what = f"{type(self).__name__}: the strength {name}"
            if isinstance(strength, bool) or not isinstance(strength, Real):
                raise TypeError(f"{what} must be a number, got {strength!r}")
            if not 0 <= float(strength) < math.inf:
                raise ValueError(f"{what} must be non-negative and finite, got {strength!r}")
            object.__setattr__(self, name, float(strength))  # a NumPy float64 would turn float32 weights into float64
        if self.mode not in MODES:
            raise ValueError(f"{type(self).__name__}: mode must be one of {', '.join(MODES)}, got {self.mode!r}")

    def value(self, p: Any) -> Any:
        """The penalty of the weights p, to be added to the loss in logs."""
        return self.l1 * np.abs(p).sum() + self.l2 / 2 * np.square(p).sum()

    def gradient(self, p: Any) -> Any:
        """Its (sub)gradient: l1 * sign(w) + l2 * w."""
        smooth = self.l2 * p
        return smooth + self.l1 * np.sign(p) if self.l1 else smooth

    def prox(self, p: Any, step: Any) -> Any:
        """argmin over w of penalty(w) + |w - p|^2 / (2 step): soft thresholding by step * l1, then shrinking."""
        if self.l1:
            p = p - np.clip(p, -step * self.l1, step * self.l1)  # exactly +0 within the threshold
        return p / (1 + step * self.l2)


class L1(ElasticNet):
    """strength * sum |w|, proximal unless said otherwise: weights that are not worth their price become exactly 0."""

    def __init__(self, strength: float, mode: str = "proximal"):
        super().__init__(strength, 0.0, mode)


class L2(ElasticNet):
    """strength/2 * sum w^2, coupled unless said otherwise: then it is what other libraries call weight_decay."""

    def __init__(self, strength: float, mode: str = "coupled"):
        super().__init__(0.0, strength, mode)
