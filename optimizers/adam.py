"""Adam and its family: steps scaled by running estimates of the gradient's mean and size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from optimizers.base import Optimizer

Betas = tuple[float, float]


class Adam(Optimizer):
    """Kingma & Ba 2015, algorithm 1:

        m <- b1 m + (1 - b1) g          m^ = m / (1 - b1^t)
        v <- b2 v + (1 - b2) g^2        v^ = v / (1 - b2^t)
        p <- p - lr m^ / (sqrt(v^) + eps)

    `amsgrad` divides by the largest v so far (Reddi et al. 2018); as in PyTorch the largest is taken before the bias is
    corrected, with `debias_max` after it, as in optax. `eps_hat` adds eps to sqrt(v) before the correction, as in Keras and
    the paper's last formula. `weight_decay` is added to the gradient, as in PyTorch (and is rescaled with it; AdamW does
    otherwise).
    """

    state = ("exp_avg", "exp_avg_sq")
    whole = False

    def state_for(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        return (*self.state, "max_exp_avg_sq") if group.get("amsgrad") else self.state

    def rule(  # type: ignore[override]
        self,
        p: Any,
        g: Any,
        m: Any,
        v: Any,
        v_max: Any = None,
        *,
        t: int,
        lr: float = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        amsgrad: bool = False,
        debias_max: bool = False,
        eps_hat: bool = False,
    ) -> tuple[Any, Any]:
        b1, b2 = betas
        m *= b1
        m += (1 - b1) * g
        v *= b2
        v += (1 - b2) * (g * g)
        m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)
        if amsgrad:
            np.maximum(v_max, v_hat if debias_max else v, out=v_max)
            v_hat = v_max if debias_max else v_max / (1 - b2**t)
        if eps_hat:
            eps /= (1 - b2**t) ** 0.5
        return m_hat, lr / (np.sqrt(v_hat) + eps)


class AdamW(Adam):
    """Adam with weight decay beside the step, not in the gradient: p <- (1 - lr * weight_decay) p first.

    Loshchilov & Hutter 2019, with the decay scaled by lr as in PyTorch, Keras and optax.
    """

    decay = "decoupled"
    weight_decay = 1e-2


class Adamax(Optimizer):
    """Adam with the largest gradient in place of the root of the mean square (Kingma & Ba 2015, algorithm 2):

    m <- b1 m + (1 - b1) g
    u <- max(b2 u, |g| + eps)
    p <- p - lr / (1 - b1^t) m / u
    """

    state = ("exp_avg", "exp_inf")
    whole = False

    def rule(  # type: ignore[override]
        self, p: Any, g: Any, m: Any, u: Any, *, t: int, lr: float = 2e-3, betas: Betas = (0.9, 0.999), eps: float = 1e-8
    ) -> tuple[Any, Any]:
        b1, b2 = betas
        m *= b1
        m += (1 - b1) * g
        u *= b2
        np.maximum(u, np.abs(g) + eps, out=u)
        m_hat = m / (1 - b1**t)
        return m_hat, lr / u


class NAdam(Optimizer):
    """Adam with Nesterov's look ahead, and a momentum that grows with t (Dozat 2016), as in PyTorch:

        mu_t = b1 (1 - 0.96^(t momentum_decay) / 2)         M_t = mu_1 mu_2 ... mu_t
        p <- p - lr ((1 - mu_t) / (1 - M_t) g + mu_t+1 / (1 - M_t+1) m) / (sqrt(v^) + eps)

    with m, v and v^ as in Adam.
    """

    state = ("exp_avg", "exp_avg_sq", "mu_product")
    whole = False

    def rule(  # type: ignore[override]
        self,
        p: Any,
        g: Any,
        m: Any,
        v: Any,
        mu_product: Any,
        *,
        t: int,
        lr: float = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        momentum_decay: float = 4e-3,
    ) -> tuple[Any, Any]:
        b1, b2 = betas
        mu, mu_next = self.momentum(t, b1, momentum_decay), self.momentum(t + 1, b1, momentum_decay)
        mu_product[...] = mu if t == 1 else mu_product * mu
        m *= b1
        m += (1 - b1) * g
        v *= b2
        v += (1 - b2) * (g * g)
        ahead = (1 - mu) / (1 - mu_product) * g + mu_next / (1 - mu_product * mu_next) * m
        v_hat = v / (1 - b2**t)
        return ahead, lr / (np.sqrt(v_hat) + eps)

    @staticmethod
    def momentum(t: int, b1: float, momentum_decay: float) -> float:
        """mu_t of the formula."""
        return b1 * (1 - 0.96 ** (t * momentum_decay) / 2)

    def gain(self, *, t: int, betas: Betas, momentum_decay: float, **hyper: Any) -> float:  # type: ignore[override]
        # of a steady gradient, 1 - mu_t directly and mu_t+1 through m, which do not quite add up to 1 while mu still grows
        return 1 - self.momentum(t, betas[0], momentum_decay) + self.momentum(t + 1, betas[0], momentum_decay)


class RAdam(Optimizer):
    """Adam that waits with dividing by sqrt(v^) until v^ has seen enough to be trusted (Liu et al. 2020, algorithm 2):

        rho_inf = 2 / (1 - b2) - 1          rho = rho_inf - 2 t b2^t / (1 - b2^t)
        p <- p - lr m^                                      while rho <= 5 (the first few steps)
        p <- p - lr r m^ / (sqrt(v^) + eps)                 afterwards, with
        r = sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho))

    As in PyTorch, it waits until rho is above 5 (in the paper 4), and eps is added to sqrt(v) before its bias is corrected.
    """

    state = ("exp_avg", "exp_avg_sq")
    whole = False

    def rule(  # type: ignore[override]
        self, p: Any, g: Any, m: Any, v: Any, *, t: int, lr: float = 1e-3, betas: Betas = (0.9, 0.999), eps: float = 1e-8
    ) -> tuple[Any, Any]:
        b1, b2 = betas
        m *= b1
        m += (1 - b1) * g
        v *= b2
        v += (1 - b2) * (g * g)
        m_hat = m / (1 - b1**t)
        rho_inf = 2 / (1 - b2) - 1
        rho = rho_inf - 2 * t * b2**t / (1 - b2**t)
        if rho <= 5:
            return m_hat, lr
        r = ((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)) ** 0.5
        return m_hat, lr * r * (1 - b2**t) ** 0.5 / (np.sqrt(v) + eps)


class AdaBelief(Optimizer):
    """Adam that divides by how far gradients lie from their mean, not by their size (Zhuang et al. 2020, algorithm 2):

        m <- b1 m + (1 - b1) g                          m^ = m / (1 - b1^t)
        s <- b2 s + (1 - b2) (g - m)^2 + eps            s^ = s / (1 - b2^t)
        p <- p - lr m^ / (sqrt(s^) + eps)

    Its weight decay is decoupled, as in AdamW.
    """

    state = ("exp_avg", "exp_avg_var")
    whole = False
    decay = "decoupled"

    def rule(  # type: ignore[override]
        self, p: Any, g: Any, m: Any, s: Any, *, t: int, lr: float = 1e-3, betas: Betas = (0.9, 0.999), eps: float = 1e-16
    ) -> tuple[Any, Any]:
        b1, b2 = betas
        m *= b1
        m += (1 - b1) * g
        surprise = g - m
        s *= b2
        s += (1 - b2) * (surprise * surprise) + eps
        m_hat, s_hat = m / (1 - b1**t), s / (1 - b2**t)
        return m_hat, lr / (np.sqrt(s_hat) + eps)
