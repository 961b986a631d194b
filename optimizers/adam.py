"""Adam and AdamW: steps scaled by running estimates of the gradient's mean and size."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from optimizers.base import Optimizer
from optimizers.schedules import Schedule


class Adam(Optimizer):
    """Kingma & Ba 2015, algorithm 1:

        m <- b1 m + (1 - b1) g          m^ = m / (1 - b1^t)
        v <- b2 v + (1 - b2) g^2        v^ = v / (1 - b2^t)
        p <- p - lr m^ / (sqrt(v^) + eps)

    `weight_decay` is added to the gradient, as in PyTorch (and is rescaled with it; AdamW does otherwise).
    """

    state = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Iterable,
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float | Schedule = 0.0,
        **common: Any,
    ):
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise TypeError(f"betas must be a pair such as (0.9, 0.999), got {betas!r}")
        super().__init__(params, lr=lr, betas=tuple(betas), eps=eps, weight_decay=weight_decay, **common)

    def rule(  # type: ignore[override]
        self, p: Any, g: Any, m: Any, v: Any, *, t: int, lr: float, betas: tuple[float, float], eps: float
    ) -> tuple[Any, Any]:
        b1, b2 = betas
        m *= b1
        m += (1 - b1) * g
        v *= b2
        v += (1 - b2) * (g * g)
        return m / (1 - b1**t), lr / (np.sqrt(v / (1 - b2**t)) + eps)


class AdamW(Adam):
    """Adam with weight decay beside the step, not in the gradient: p <- (1 - lr * weight_decay) p first.

    Loshchilov & Hutter 2019, with the decay scaled by lr as in PyTorch, Keras and optax.
    """

    decay = "decoupled"

    def __init__(
        self,
        params: Iterable,
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float | Schedule = 1e-2,
        **common: Any,
    ):
        super().__init__(params, lr, betas, eps, weight_decay, **common)
