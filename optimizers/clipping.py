"""Clipping: gradients that are too long are made shorter before the optimizer sees them.

    ClipNorm(c)         g <- g * min(1, c / |all gradients|)       one factor for all: the direction stays
    ClipPerTensor(c)    g <- g * min(1, c / |g|)                   a factor for each parameter
    AdaptiveClip(r)     g <- g * min(1, r max(|w|, eps) / |g|)     a factor for each unit, after the size of its weights
    ClipValue(c)        g <- max(-c, min(g, c))                    each number by itself: the direction changes

Pass one to an optimizer, `Adam(params, clip=ClipNorm(1.0))`, or call `clip_grad_norm_` between backward() and step() in
a loop of your own. `suggest_max_norm` finds a limit in the norms of an earlier run.

A clip is called with a list of (data, gradient) arrays, one pair per parameter, and changes the gradients in place. What
is short enough keeps every bit. No array is asked for its value, so a GPU is not made to wait. A norm that is nan or
infinite clips nothing, since no factor could repair such a gradient: whoever calls has to look for these.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from optimizers.kinds import Length, check_fields, checked

Pairs = list[tuple[Any, Any]]  # (data, gradient) of each parameter


def sum_of_squares(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """In float64: the square of a float32 overflows from 2e19 on, and vanishes below 1e-23."""
    return np.sum(np.square(x, dtype=np.float64), axis=axis, keepdims=keepdims)


def shorten(g: Any, norm: Any, limit: Any) -> None:
    """Multiply g in place by limit / norm if the norm is above the limit, and finite."""
    too_long = (norm > limit) & np.isfinite(norm)
    # Times 1.0 is no change, and cheaper than to wait for the answer to `if too_long`. The factor stays in float64: in
    # float32 it would be rounded away for the longest gradients.
    g *= np.where(too_long, limit / norm, 1.0)


# Objects for an optimizer ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClipNorm:
    """Scale all gradients by min(1, max_norm / norm), where norm is the L2 norm of all of them as one vector.

    Pascanu, Mikolov & Bengio 2013. Calling it returns the norm before clipping, a float64 without axes: log it.

    max_norm: above 0; infinity only measures.
    replicas: True if the first axis of every parameter counts nets that are trained side by side: each has a norm and
    a factor of its own, and the answer has one norm per net.

    Differs from PyTorch: the norm becomes max_norm, not 0.99999982 max_norm. The squares of float64 gradients beyond
    1e154 overflow: their norm is infinite.

    >>> g = np.array([3.0, 4.0])
    >>> print(ClipNorm(1.0)([(np.zeros(2), g)]), g)
    5.0 [0.6 0.8]
    """

    max_norm: Length
    replicas: bool = False

    def __post_init__(self) -> None:
        check_fields(self)

    @np.errstate(all="ignore")
    def __call__(self, pairs: Pairs) -> Any:
        grads = [g for _, g in pairs]
        if self.replicas and len({g.shape[:1] for g in grads}) > 1:
            shapes = ", ".join(str(g.shape) for g in grads)
            raise ValueError(f"replicas=True: the first axis of every parameter must count the same nets, got {shapes}")
        norm = np.sqrt(sum(sum_of_squares(g, axis=_own_axes(g, self.replicas)) for g in grads))
        for g in grads:
            shorten(g, norm.reshape(norm.shape + (1,) * (g.ndim - norm.ndim)), self.max_norm)
        return norm


@dataclass(frozen=True)
class ClipPerTensor:
    """Scale each parameter's gradient by min(1, max_norm / its own L2 norm). Returns None.

    One large layer then does not slow the others, but the direction of the whole step changes. `max_norm` and
    `replicas` are as in ClipNorm.
    """

    max_norm: Length
    replicas: bool = False

    def __post_init__(self) -> None:
        check_fields(self)

    @np.errstate(all="ignore")
    def __call__(self, pairs: Pairs) -> None:
        for _, g in pairs:
            norm = np.sqrt(sum_of_squares(g, axis=_own_axes(g, self.replicas), keepdims=True))
            shorten(g, norm, self.max_norm)


@dataclass(frozen=True)
class ClipValue:
    """Move each number of the gradient into [-limit, limit]; infinities too, nan stays. Returns None."""

    limit: Length

    def __post_init__(self) -> None:
        check_fields(self)

    @np.errstate(over="ignore")  # a limit beyond the dtype's range is infinite
    def __call__(self, pairs: Pairs) -> None:
        for _, g in pairs:
            np.clip(g, -self.limit, self.limit, out=g)


@dataclass(frozen=True)
class AdaptiveClip:
    """Scale each unit's gradient so that its norm is at most ratio * max(|w|, eps), w being the unit's weights.

    Brock, De, Smith & Simonyan 2021, section 4: what matters is how far a step moves a weight vector against its own
    length. `eps` lets units move whose weights start at 0. Returns None.

    A unit is a column of a weight matrix [..., in, out]. As in the authors' code, a vector (or a matrix of one row) is
    one unit: so is a bias. The paper leaves the last layer unclipped. `replicas` is as in ClipNorm.

    >>> w, g = np.array([[3.0, 0.0], [4.0, 0.0]]), np.ones((2, 2))
    >>> AdaptiveClip(ratio=0.1)([(w, g)])
    >>> np.linalg.norm(g, axis=0)  # 0.1 * 5, and 0.1 * eps
    array([5.e-01, 1.e-04])
    """

    ratio: Length = 0.01
    eps: Length = 1e-3
    replicas: bool = False

    def __post_init__(self) -> None:
        check_fields(self)

    @np.errstate(all="ignore")
    def __call__(self, pairs: Pairs) -> None:
        for w, g in pairs:
            matrix = g.ndim - self.replicas >= 2
            axis: Any = (-2 if g.shape[-2] != 1 else (-2, -1)) if matrix else _own_axes(g, self.replicas)
            size, norm = (np.sqrt(sum_of_squares(x, axis=axis, keepdims=True)) for x in (w, g))
            shorten(g, norm, self.ratio * np.maximum(size, self.eps))


def _own_axes(g: Any, replicas: bool) -> tuple[int, ...] | None:
    """The axes of one net's gradient: all, or all but the first."""
    if replicas and not g.ndim:
        raise ValueError("replicas=True: the first axis of every parameter counts the nets, got a gradient of shape ()")
    return tuple(range(1, g.ndim)) if replicas else None


# Functions for a loop of one's own ------------------------------------------------------------------------------------


@np.errstate(all="ignore")
def clip_grad_norm_(
    parameters: Iterable, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = True
) -> float:
    """ClipNorm for a loop of your own: scale the gradients in place, return their norm before that.

        loss.backward()
        norm = clip_grad_norm_(model.named_parameters(), 1.0)
        optimizer.step()

    The norm is a Python float, which a GPU is waited for and a captured step (tn.capture) cannot know: in these pass
    clip=ClipNorm(max_norm) to the optimizer instead.

    parameters: objects with .data and .grad, or (name, parameter) pairs; those without a gradient are left out.
    max_norm: above 0; infinity only measures.
    norm_type: p of the p-norm (sum |g|^p)^(1/p), above 0; `math.inf` takes the largest |g|.
    error_if_nonfinite: a gradient with nan or an infinity is a ValueError that names the parameter, and nothing is
    changed. If False nothing is changed either, and the norm returned (nan or inf) is all that tells.

    Differs from PyTorch: see ClipNorm; and PyTorch by default multiplies by nan or 0 if a gradient is not finite.
    """
    named = _gradients(parameters)
    limit = checked("max_norm", max_norm, "Length")
    norm = _total_norm([g for _, g in named], checked("norm_type", norm_type, "Length"))
    for _, g in named:
        shorten(g, norm, limit)
    if error_if_nonfinite and not math.isfinite(norm):
        raise ValueError(
            f"{_what_is_wrong(named)}, so there is no norm to clip; nothing was changed. Lower the learning rate, look for "
            "inf or nan in the data, or pass error_if_nonfinite=False to leave such gradients as they are"
        )
    return float(norm)


def clip_grad_value_(parameters: Iterable, clip_value: float) -> None:
    """ClipValue for a loop of your own: move each number of the gradients into [-clip_value, clip_value], in place."""
    limit = checked("clip_value", clip_value, "Length")
    ClipValue(limit)([(None, g) for _, g in _gradients(parameters)])


def _total_norm(grads: list[Any], p: float) -> Any:
    """The p-norm of all gradients as one vector, in float64."""
    if p == 2:
        return np.sqrt(sum(map(sum_of_squares, grads)))
    largest = functools.reduce(np.maximum, [np.max(np.abs(g)) for g in grads if g.size], np.float64(0))
    if math.isinf(p):
        return largest
    # the powers of float64 overflow too, but not those of numbers up to 1
    powers = sum(np.sum((np.abs(g) / (largest + (largest == 0))) ** p) for g in grads)
    return np.where(np.isfinite(largest), largest * powers ** (1 / p), largest)


def _what_is_wrong(named: list[tuple[str, Any]]) -> str:
    for name, g in named:
        if not np.isfinite(g).all():
            return f"the gradient of {name!r} has {'a nan' if np.isnan(g).any() else 'an infinity'}"
    return "the gradients are too large for the range of float64"


def _gradients(parameters: Any) -> list[tuple[str, Any]]:
    """(name, gradient) of the parameters that have one; unnamed ones are called by their position."""
    parameters = [parameters] if hasattr(parameters, "grad") else list(parameters)
    if not parameters:
        raise ValueError("there are no parameters to clip (was a generator used up?)")
    grads, seen = [], set()
    for i, item in enumerate(parameters):
        name, p = item if isinstance(item, tuple) else (getattr(item, "name", None) or f"parameter {i}", item)
        if not hasattr(p, "grad"):
            raise TypeError(f"{name}: a parameter needs .data and .grad, got {type(p).__name__}")
        if id(p) in seen:
            raise ValueError(f"{name} is given twice and would be clipped twice")
        seen.add(id(p))
        if isinstance(p.grad, np.generic):
            p.grad = np.array(p.grad)  # NumPy answers 0-d arithmetic with scalars, which nothing can change in place
        if p.grad is not None:
            grads.append((name, p.grad))
    return grads


class SuggestedNorm(NamedTuple):
    """A limit for ClipNorm, and how many of the norms that it was found from it would have clipped."""

    max_norm: float
    clipped: int
    steps: int

    def __str__(self) -> str:
        share = self.clipped / self.steps
        text = f"max_norm={self.max_norm:.3g} would have clipped {self.clipped} of {self.steps} steps ({share:.0%})"
        return text + (": lower the learning rate instead" if share > 0.5 else "")


def suggest_max_norm(norms: Iterable, percentile: float = 90) -> SuggestedNorm:
    """A limit from the gradient norms logged in a run without clipping: their 90th percentile.

    The rule of the Deep Learning Tuning Playbook (Godbole et al. 2023), which also says that to clip more than half of
    all steps is only a hidden way to lower the learning rate.

    >>> print(suggest_max_norm([1.0] * 18 + [30.0, 50.0]))
    max_norm=3.9 would have clipped 2 of 20 steps (10%)
    """
    values = [float(norm) for norm in norms]
    if not values:
        raise ValueError("norms is empty: log the norm of the gradient for some steps first (clip_grad_norm_ returns it)")
    if checked("percentile", percentile, "NonNegative") > 100:
        raise ValueError(f"percentile must be at most 100, got {percentile!r}")
    wrong = [value for value in values if not 0 <= value < math.inf]
    if wrong:
        raise ValueError(f"norms must be finite and not negative, got {wrong[0]}: leave out the steps that went wrong")
    limit = float(np.percentile(values, float(percentile)))
    if limit == 0:
        raise ValueError(
            f"percentile {percentile} of the norms is 0, and nothing can be clipped to that: take a higher one"
        )
    return SuggestedNorm(limit, sum(value > limit for value in values), len(values))
