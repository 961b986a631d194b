"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from optimizers.base import Optimizer
from optimizers.schedules import Schedule


class SGD(Optimizer):
    """p <- p - lr * g, or with momentum p <- p - lr * v where v <- momentum * v + (1 - dampening) * g.

    Polyak 1964; with `nesterov`, the direction is g + momentum * v (Nesterov 1983, in the form of Sutskever et al.
    2013). As in PyTorch the learning rate is outside the velocity, and the first velocity is g, undampened.
    `weight_decay` is added to the gradient (an L2 penalty).
    """

    def __init__(
        self,
        params: Iterable,
        lr: float | Schedule = 1e-2,
        momentum: float | Schedule = 0.0,
        dampening: float = 0.0,
        weight_decay: float | Schedule = 0.0,
        nesterov: bool = False,
        **common: Any,
    ):
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
            **common,
        )

    def state_for(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        momentum, dampening = group["momentum"], group["dampening"]
        if group["nesterov"] and (momentum == 0 or dampening != 0):
            raise ValueError(f"nesterov needs momentum > 0 and dampening = 0, got momentum={momentum}, {dampening=}")
        return ("momentum_buffer",) if momentum != 0 else ()

    def gain(self, *, momentum: float, dampening: float, **hyper: Any) -> float:  # type: ignore[override]
        return (1 - dampening) / (1 - momentum) if momentum else 1.0

    def rule(  # type: ignore[override]
        self, p: Any, g: Any, v: Any = None, *, t: int, lr: float, momentum: float, dampening: float, nesterov: bool
    ) -> tuple[Any, Any]:
        if v is None:
            return g, lr
        if t == 1:
            v[...] = g
        else:
            v *= momentum
            v += (1 - dampening) * g
        return (g + momentum * v if nesterov else v), lr
