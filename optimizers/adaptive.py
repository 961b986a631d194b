"""Adagrad, RMSprop and Adadelta: each element's step is divided by the size of the gradients that it has seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from optimizers.base import Optimizer


class Adagrad(Optimizer):
    """Duchi, Hazan & Singer 2011:

        s <- s + g^2
        p <- p - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)

    s begins with `initial_accumulator_value`. `eps_inside` divides by sqrt(s + eps), as Keras and optax do (which begin
    with 0.1 and take eps = 1e-7).
    """

    state = ("sum",)
    whole = False

    def rule(  # type: ignore[override]
        self,
        p: Any,
        g: Any,
        s: Any,
        *,
        t: int,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        eps_inside: bool = False,
    ) -> tuple[Any, Any]:
        if t == 1:
            s[...] = initial_accumulator_value
        s += g * g
        size = np.sqrt(s + eps) if eps_inside else np.sqrt(s) + eps
        return g, lr / (1 + (t - 1) * lr_decay) / size


class RMSprop(Optimizer):
    """Tieleman & Hinton 2012 (lecture 6.5 of the course on neural networks):

        s <- alpha s + (1 - alpha) g^2
        p <- p - lr g / (sqrt(s) + eps)

    `centered` divides by the root of the variance s - a^2, with a the running mean of g (Graves 2013); rounding can bring
    that below 0, and then 0 is taken for it. A gradient that stays has no variance, and eps alone then limits the step:
    Graves took 1e-4, inside the root. `momentum` sums the steps up: b <- momentum b + g / (sqrt(s) + eps). `eps_inside`
    divides by sqrt(s + eps), and `lr_in_buffer` keeps lr in b: so do Keras and optax.

    Differs from PyTorch: its centered variance may fall below 0, and then the parameter is nan for ever.
    """

    whole = False

    def state_for(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        return (
            "square_avg",
            *(("grad_avg",) if group["centered"] else ()),
            *(("momentum_buffer",) if group["momentum"] != 0 else ()),
        )

    def rule(  # type: ignore[override]
        self,
        p: Any,
        g: Any,
        s: Any,
        *more: Any,
        t: int,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        momentum: float = 0.0,
        centered: bool = False,
        eps_inside: bool = False,
        lr_in_buffer: bool = False,
    ) -> tuple[Any, Any]:
        s *= alpha
        s += (1 - alpha) * (g * g)
        variance = s
        if centered:
            mean = more[0]
            mean *= alpha
            mean += (1 - alpha) * g
            variance = np.maximum(s - mean * mean, 0)
        size = np.sqrt(variance + eps) if eps_inside else np.sqrt(variance) + eps
        if lr_in_buffer:
            g, lr = lr * g, 1.0
        if len(more) == centered:  # there is no buffer
            return g, lr / size
        buffer = more[-1]
        buffer *= momentum
        buffer += g / size
        return buffer * size, lr / size

    def gain(self, *, lr: float, momentum: float, lr_in_buffer: bool, **hyper: Any) -> float:  # type: ignore[override]
        return (lr if lr_in_buffer else 1.0) / (1 - momentum)


class Adadelta(Optimizer):
    """Zeiler 2012, algorithm 1, with a learning rate as in PyTorch:

    s <- rho s + (1 - rho) g^2
    step = sqrt(d + eps) / sqrt(s + eps)        in the units of p, whatever those of the loss
    d <- rho d + (1 - rho) (step g)^2
    p <- p - lr step g
    """

    state = ("square_avg", "acc_delta")
    whole = False

    def rule(  # type: ignore[override]
        self, p: Any, g: Any, s: Any, d: Any, *, t: int, lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6
    ) -> tuple[Any, Any]:
        s *= rho
        s += (1 - rho) * (g * g)
        step = np.sqrt(d + eps) / np.sqrt(s + eps)
        delta = step * g
        d *= rho
        d += (1 - rho) * (delta * delta)
        return g, lr * step
