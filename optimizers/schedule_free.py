"""Schedule-free SGD and AdamW: an average of the weights takes the place of a decaying learning rate.

Defazio et al. 2024 (The Road Less Scheduled). Three points belong to every weight:

    y = (1 - b) z + b x         where the gradient is taken: what the parameters hold during training
    z <- z - lr g(y)            what moves
    x <- (1 - c) x + c z        the average, c = lr^2 / (sum of all lr^2 so far): what is to be evaluated

`optimizer.eval()` puts x into the parameters and `optimizer.train()` brings y back (`fit` does both); a step in between, or
an evaluation of y by `model.eval()`, is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from optimizers.averaging import TwoPoints, keep_away
from optimizers.base import Optimizer


class ScheduleFree(TwoPoints, Optimizer):
    """What the two have in common: they move y and z by a direction that may be the gradient or Adam's."""

    metric = False

    def __new__(cls, *args: Any, **hyper: Any) -> Any:
        optimizer = super().__new__(cls)  # copies (deepcopy, pickle) are made here too, and not in __init__
        keep_away(optimizer)
        return optimizer

    def state_for(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        kind, b = type(self).__name__, self.interpolation(group)
        if callable(b) or not b > 0:
            name = "momentum" if "momentum" in group else "betas[0]"
            raise ValueError(f"{kind} needs {name} above 0, and no schedule of it, to find x again from y and z; got {b!r}")
        if group["penalty"] is not None and group["penalty"].mode == "decoupled":
            raise ValueError(f'{kind}: a decoupled penalty would move y alone, and not z and x: pass mode="coupled"')
        if group["projection"] is not None:
            raise ValueError(f"{kind}: a projection would move y alone, and not z and x: it takes none")
        return self.state

    def moved(self, y: Any, z: Any, sum_of_squares: Any, direction: Any, t: int, lr: float, b: float) -> tuple[Any, float]:
        """Move z, and answer what y is to lose."""
        if t == 1:
            z[...] = y
        sum_of_squares += lr * lr
        c = lr * lr / np.maximum(sum_of_squares, float(np.finfo(y.dtype).tiny))  # 0 while lr has been 0
        loss_of_y = c * (y - z) + lr * (1 - b * (1 - c)) * direction
        z -= lr * direction
        return loss_of_y, 1.0

    def evaluated(self) -> list[Any]:
        return [self._average(slab) for slab in self._slabs]

    def start_at(self, i: int, slab: Any) -> None:
        slab.state["z"][...] = slab.data

    def _average(self, slab: Any) -> Any:
        b = self.interpolation(slab.group)
        begun = slab.state["sum_of_squares"] > 0  # before the first step z is not there yet
        return np.where(begun, slab.data + (1 - 1 / b) * (slab.state["z"] - slab.data), slab.data)

    def interpolation(self, group: Mapping[str, Any]) -> Any:
        """b, which share of x is in y."""
        raise NotImplementedError


class ScheduleFreeSGD(ScheduleFree):
    """SGD with the average of this file's docstring; `momentum` is b. weight_decay is added to the gradient at y."""

    state = ("z", "sum_of_squares")
    whole = False

    def rule(  # type: ignore[override]
        self, p: Any, g: Any, z: Any, s: Any, *, t: int, lr: float = 1.0, momentum: float = 0.9
    ) -> tuple[Any, Any]:
        return self.moved(p, z, s, g, t, lr, momentum)

    def interpolation(self, group: Mapping[str, Any]) -> Any:
        return group["momentum"]


class ScheduleFreeAdamW(ScheduleFree):
    """AdamW with the average of this file's docstring in place of momentum: betas[0] is b.

    v <- b2 v + (1 - b2) g^2,   direction = g / (sqrt(v / (1 - b2^t)) + eps) + weight_decay y

    Its authors advise to warm lr up: `lr=Warmup(100) >> Constant(2.5e-3)`.
    """

    state = ("z", "sum_of_squares", "exp_avg_sq")
    whole = False
    decay = "rule"

    def rule(  # type: ignore[override]
        self,
        p: Any,
        g: Any,
        z: Any,
        s: Any,
        v: Any,
        *,
        t: int,
        lr: float = 2.5e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> tuple[Any, Any]:
        b, b2 = betas
        v *= b2
        v += (1 - b2) * (g * g)
        direction = g / (np.sqrt(v / (1 - b2**t)) + eps) + weight_decay * p
        return self.moved(p, z, s, direction, t, lr, b)

    def interpolation(self, group: Mapping[str, Any]) -> Any:
        return group["betas"][0]
