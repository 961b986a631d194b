"""Rprop and Lion: only the signs of the gradients count, never their sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from optimizers.base import Optimizer
from optimizers.hyper import resolved


class Rprop(Optimizer):
    """Riedmiller & Braun 1993, for gradients of the whole data set (the signs of mini-batches flip by chance):

        step <- 1.2 step where the gradient keeps its sign, 0.5 step where it flips (and there p stays)
        p <- p - step sign(g)

    Each element has a step of its own, `lr` at first and within `step_sizes` always; `etas` are the two factors. As in
    PyTorch (the variant called iRprop-, Igel & Huesken 2000).
    """

    state = ("prev", "step_size")
    whole = False
    metric = False

    def state_for(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        less, more = etas = resolved("etas", group["etas"], self.steps)
        least, most = step_sizes = resolved("step_sizes", group["step_sizes"], self.steps)
        if not less < 1 < more:
            raise ValueError(f"etas must be one factor below 1 and one above, such as (0.5, 1.2), got {etas}")
        if not least < most:
            raise ValueError(f"step_sizes must be the smallest and the largest, got {step_sizes}")
        return self.state

    def rule(  # type: ignore[override]
        self,
        p: Any,
        g: Any,
        before: Any,
        step: Any,
        *,
        t: int,
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50.0),
    ) -> tuple[Any, Any]:
        if t == 1:
            step[...] = lr
        same = np.sign(g * before)
        step *= np.where(same > 0, etas[1], np.where(same < 0, etas[0], 1)).astype(step.dtype)
        np.clip(step, *step_sizes, out=step)
        before[...] = np.where(same < 0, 0, g)
        return np.sign(before), step


class Lion(Optimizer):
    """Chen et al. 2023, algorithm 2: found by a search among programs.

        p <- p - lr sign(b1 m + (1 - b1) g)
        m <- b2 m + (1 - b2) g

    Every element moves by lr, so lr is 3 to 10 times smaller than Adam's and weight_decay (decoupled) as much larger.
    """

    state = ("exp_avg",)
    whole = False
    decay = "decoupled"
    metric = False

    def rule(  # type: ignore[override]
        self, p: Any, g: Any, m: Any, *, t: int, lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99)
    ) -> tuple[Any, Any]:
        b1, b2 = betas
        direction = np.sign(b1 * m + (1 - b1) * g)
        m *= b2
        m += (1 - b2) * g
        return direction, lr
