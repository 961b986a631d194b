"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optimizers.base import Optimizer


class SGD(Optimizer):
    """p <- p - lr g, or with momentum:

        v <- momentum v + (1 - dampening) g
        p <- p - lr v

    Polyak 1964; with `nesterov` the direction is g + momentum v (Nesterov 1983, in the form of Sutskever et al. 2013).
    As in PyTorch the learning rate is outside the velocity and the first velocity is g, undampened. With `lr_in_buffer` it
    is inside, v <- momentum v + lr g, as in Keras and scikit-learn: the same until lr changes.

    Differs from PyTorch: lr is 1e-2 where none is given, not 1e-3.
    """

    whole = False

    def state_for(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        momentum, dampening = group["momentum"], group.get("dampening", 0)
        if group.get("nesterov") and (momentum == 0 or dampening != 0):
            raise ValueError(f"nesterov needs momentum > 0 and dampening = 0, got momentum={momentum}, {dampening=}")
        return ("momentum_buffer",) if momentum != 0 else ()

    def rule(  # type: ignore[override]
        self,
        p: Any,
        g: Any,
        v: Any = None,
        *,
        t: int,
        lr: float = 1e-2,
        momentum: float = 0.0,
        dampening: float = 0.0,
        nesterov: bool = False,
        lr_in_buffer: bool = False,
    ) -> tuple[Any, Any]:
        if lr_in_buffer:
            g, lr = lr * g, 1.0
        if v is None:
            return g, lr
        if t == 1 or momentum == 0:  # which a schedule may say for a while
            v[...] = g
        else:
            v *= momentum
            v += (1 - dampening) * g
        return (g + momentum * v if nesterov else v), lr

    def gain(  # type: ignore[override]
        self, *, lr: float, momentum: float, dampening: float = 0.0, lr_in_buffer: bool = False, **hyper: Any
    ) -> float:
        rate = lr if lr_in_buffer else 1.0
        return rate * (1 - dampening) / (1 - momentum) if momentum else rate
