"""Muon: momentum whose every singular value is made equal, for weight matrices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from optimizers.base import Optimizer
from optimizers.slab import one_net


class Muon(Optimizer):
    """Jordan et al. 2024 (kellerjordan.github.io/posts/muon), for weights [..., in, out]:

        b <- momentum b + (1 - momentum) g          d = (1 - momentum) g + momentum b with `nesterov`, else b
        p <- p - lr ratio U V^T                     where d = U S V^T

    U V^T is approached by `ns_steps` of a Newton-Schulz iteration with `ns_coefficients`, which brings all singular values
    to somewhere between 0.7 and 1.2. The ratio is sqrt(max(1, out / in)), or with `match_rms_adamw`
    0.2 sqrt(max(in, out)), so that rates found for AdamW can be kept (Liu et al. 2025). weight_decay is decoupled.

    Vectors have no singular values: give biases, scales and, as its authors advise, the first and last layer to AdamW.

    Differs from PyTorch: the iteration runs in the dtype of the weights, not in bfloat16.
    """

    state = ("momentum_buffer",)
    decay = "decoupled"
    weight_decay = 0.1
    whole = True  # matrices, in their own shape
    metric = False

    def state_for(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        for name, p in zip(group["names"], group["params"], strict=True):
            shape = one_net(p, self.replicas).shape
            if len(shape) < 2:
                raise ValueError(
                    f"Muon moves matrices, and {name!r} has shape {shape}: give the parameters with fewer than two "
                    "axes to an optimizer of their own, such as AdamW"
                )
        return self.state

    def rule(  # type: ignore[override]
        self,
        p: Any,
        g: Any,
        b: Any,
        *,
        t: int,
        lr: float = 1e-3,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        ns_steps: int = 5,
        eps: float = 1e-7,
        match_rms_adamw: bool = False,
    ) -> tuple[Any, Any]:
        b *= momentum
        b += (1 - momentum) * g
        d = (1 - momentum) * g + momentum * b if nesterov else b
        fan_in, fan_out = p.shape[-2:]
        ratio = 0.2 * math.sqrt(max(fan_in, fan_out)) if match_rms_adamw else math.sqrt(max(1.0, fan_out / fan_in))
        return orthogonalized(d, ns_coefficients, int(ns_steps), eps), lr * ratio


def orthogonalized(d: Any, coefficients: tuple[float, ...], steps: int, eps: float) -> Any:
    """Nearly U V^T of d = U S V^T: x <- a x + (b G + c G^2) x with G = x x^T, which moves every singular value alone."""
    a, b, c = coefficients
    tall = d.shape[-2] > d.shape[-1]
    x = d.swapaxes(-1, -2) if tall else d  # G is then the smaller of the two squares
    x = x / np.maximum(np.sqrt(np.sum(x * x, axis=(-1, -2), keepdims=True)), eps)
    for _ in range(steps):
        gram = x @ x.swapaxes(-1, -2)
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.swapaxes(-1, -2) if tall else x
