"""Penalties on the size of the weights, three ways to apply them, and which parameters they are for.

    L1(s)             s * sum |w|                       drives weights to exactly zero (with mode="proximal")
    L2(s)             s/2 * sum w^2                     shrinks weights; `weight_decay=s` is the same thing
    ElasticNet(a, b)  a * sum |w| + b/2 * sum w^2       both (Zou & Hastie 2005)

Modes: "coupled" adds the penalty's gradient to the loss's gradient, so that the optimizer rescales it too;
"decoupled" moves the weights by lr * gradient of the penalty beside the optimizer's step (Loshchilov & Hutter 2019, who
scale it by the schedule's factor only; scaled by the whole lr, as here and in PyTorch, a step shrinks the weights by lr *
strength: by 1 % in 1000 steps of lr 1e-3 and strength 1e-2);
"proximal" solves for the penalty exactly after the step, in the optimizer's own metric (Parikh & Boyd 2014): the only
way in which L1 gives exact zeros.

A strength may be a schedule: `L1(Warmup(1000) * 1e-4)`. A filter says which parameters are meant: biases and the scales of
normalisation layers are few, and to shrink them only harms the fit (He et al. 2019, "Bag of tricks", section 3.1). It is
a function of the parameter's name and data, such as `L2(1e-4, only=weights_only)`. For `weight_decay`, which has no filter,
`no_decay_bias` makes two groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from optimizers.kinds import checked

MODES = ("coupled", "decoupled", "proximal")

Filter = Callable[[str, Any], bool]  # (name, data) -> is this parameter meant?
Strength = float | Callable[[int], float]  # a number, or a schedule: a function of the steps taken


def weights_only(name: str, data: Any) -> bool:
    """A filter: matrices, and whatever has more axes, but no biases and no scales of normalisation layers."""
    return data.ndim >= 2


class Selective:
    """What acts on the parameters that its `only` picks, or on all if that is None."""

    only: Filter | None

    def __post_init__(self) -> None:
        if self.only is not None and not callable(self.only):
            raise TypeError(
                f"{type(self).__name__}: only must be a function of (name, data) that answers True or False, "
                f"such as weights_only, got {self.only!r}"
            )

    def applies(self, name: str, data: Any) -> bool:
        """Whether the parameter of this name and data is meant."""
        if self.only is None:
            return True
        answer = self.only(name, data)
        if not isinstance(answer, bool | np.bool_):
            raise TypeError(f"{type(self).__name__}: only({name!r}, data) must answer True or False, got {answer!r}")
        return bool(answer)


@dataclass(frozen=True)
class ElasticNet(Selective):
    """l1 * sum |w| + l2/2 * sum w^2.

    l1, l2: numbers from 0, or schedules; these are called with the number of steps taken.
    mode: "coupled", "decoupled" or "proximal".
    only: a function (name, data) -> bool that says which parameters are meant; None is all.

    >>> ElasticNet(1.0, 0.5).prox(np.array([-3.0, 0.5, 2.0]), 1.0)
    array([-1.33333333,  0.        ,  0.66666667])
    """

    l1: Strength
    l2: Strength
    mode: str = "proximal"
    only: Filter | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("l1", "l2"):
            strength = getattr(self, name)
            if callable(strength):
                self._checked(name, strength(0), " after 0 steps")  # what never could work is refused now
            else:
                object.__setattr__(self, name, self._checked(name, strength))
        if self.mode not in MODES:
            raise ValueError(f"{type(self).__name__}: mode must be one of {', '.join(MODES)}, got {self.mode!r}")

    def _checked(self, name: str, strength: Any, when: str = "") -> float:
        # a plain float: a NumPy float64 would turn float32 weights into float64
        return float(checked(f"{type(self).__name__}: the strength {name}{when}", strength, "NonNegative"))

    def at(self, k: int) -> Self:
        """The penalty after k steps, with numbers where it has schedules; itself if it has none.

        >>> L1(lambda k: 0.5**k).at(2).l1
        0.25
        """
        if not (callable(self.l1) or callable(self.l2)):
            return self
        numbers = {
            name: self._checked(name, value(k), f" after {k} steps") if callable(value) else value
            for name, value in (("l1", self.l1), ("l2", self.l2))
        }
        penalty = object.__new__(type(self))  # L1 and L2 are not made from (l1, l2)
        penalty.__dict__.update(self.__dict__, **numbers)
        return penalty

    def _numbers(self) -> tuple[float, float]:
        if callable(self.l1) or callable(self.l2):
            raise TypeError(f"{type(self).__name__}: a strength is a schedule: ask .at(k) for the penalty after k steps")
        return self.l1, self.l2

    def value(self, p: Any) -> Any:
        """The penalty of the weights p, to be added to the loss in logs."""
        l1, l2 = self._numbers()
        absolute = l1 * np.abs(p).sum() if l1 else 0.0
        return absolute + l2 / 2 * np.square(p).sum() if l2 else absolute  # 0 times an overflow would be nan

    def gradient(self, p: Any) -> Any:
        """Its (sub)gradient: l1 * sign(w) + l2 * w."""
        l1, l2 = self._numbers()
        if not l2:
            return l1 * np.sign(p)
        return l2 * p + l1 * np.sign(p) if l1 else l2 * p

    def prox(self, p: Any, step: Any) -> Any:
        """argmin over w of penalty(w) + |w - p|^2 / (2 step): soft thresholding by step * l1, then shrinking.

        step: a positive number, or one for every element of p.
        """
        l1, l2 = self._numbers()
        if l1:
            p = p - np.clip(p, -step * l1, step * l1)  # exactly +0 within the threshold
        return p / (1 + step * l2)


class L1(ElasticNet):
    """strength * sum |w|, proximal unless said otherwise: weights that are not worth their price become exactly 0."""

    def __init__(self, strength: Strength, mode: str = "proximal", only: Filter | None = None):
        super().__init__(strength, 0.0, mode, only)


class L2(ElasticNet):
    """strength/2 * sum w^2, coupled unless said otherwise: then it is what other libraries call weight_decay."""

    def __init__(self, strength: Strength, mode: str = "coupled", only: Filter | None = None):
        super().__init__(0.0, strength, mode, only)


def no_decay_bias(named_parameters: Iterable, weight_decay: Any = None) -> list[dict[str, Any]]:
    """Groups for an optimizer: the weights, and without weight decay whatever has fewer than two axes.

        AdamW(no_decay_bias(model.named_parameters()), weight_decay=0.05)

    named_parameters: (name, parameter) pairs.
    weight_decay: that of the weights, a number or a schedule; None is the optimizer's own.
    A group without parameters is left out, since no optimizer takes one.
    """
    if hasattr(named_parameters, "named_parameters") or not isinstance(named_parameters, Iterable):
        raise TypeError(_PAIRS + f"got {type(named_parameters).__name__}")
    weights: list[tuple[str, Any]] = []
    others: list[tuple[str, Any]] = []
    for item in named_parameters:
        if not (isinstance(item, tuple) and len(item) == 2 and hasattr(item[1], "grad")):
            raise TypeError(_PAIRS + f"got {type(item).__name__} among them")
        name, p = item
        of_one_net = getattr(p, "alone", None)  # the shape of a bias, where it counts replicas (slab.one_net)
        data = p.data if of_one_net is None else p.data[0].reshape(of_one_net)
        (weights if weights_only(name, data) else others).append(item)
    if not (weights or others):
        raise ValueError("no_decay_bias: there are no parameters (was a generator used up, or does the model have none?)")
    decay = {} if weight_decay is None else {"weight_decay": weight_decay}
    groups = [{"params": weights, **decay}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


_PAIRS = "no_decay_bias needs (name, parameter) pairs: pass model.named_parameters(), "
