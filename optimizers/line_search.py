"""How far to go along a direction: a line search for the strong Wolfe conditions.

Nocedal & Wright, Numerical Optimization, 2nd edition 2006, section 3.5; numbers in brackets are those of its equations and
algorithms. Along x + t d the value is phi(t); lbfgs.py is who asks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

C1, C2 = 1e-4, 0.9  # of the Wolfe conditions, 0 < C1 < C2 < 1; these are usual for quasi-Newton methods
SEARCH = 25  # evaluations that one line search may take


class Trial(NamedTuple):
    """A place on the line x + t d, along which the value is phi(t)."""

    t: float
    value: float  # phi(t)
    slope: float  # phi'(t) = gradient . d
    error: float  # how far rounding may have moved the value
    place: Any


def unit(a: Any) -> float:
    """The distance from 1 to the next number, in the dtype of an array."""
    return float(np.finfo(a.dtype).eps)


def too_high(now: Trial, start: Trial) -> bool:
    """Whether the first Wolfe condition fails, a sufficient decrease: phi(t) <= phi(0) + c1 t phi'(0) (3.7a)."""
    return now.value > start.value + C1 * now.t * start.slope + start.error


def is_above(a: Trial, b: Trial) -> bool:
    """Whether a's value is higher, by more than rounding: close to a minimum, only the slopes can be trusted."""
    return a.value > b.value + b.error


def flat_enough(now: Trial, start: Trial) -> bool:
    """The second of the strong Wolfe conditions: |phi'(t)| <= c2 |phi'(0)| (3.7b)."""
    return abs(now.slope) <= C2 * abs(start.slope)


def strong_wolfe(phi: Callable[[float], Trial], start: Trial, t: float, calls: int) -> Trial:
    """A trial for which both Wolfe conditions hold (algorithm 3.5): go on until a minimum must lie behind, then zoom in.

    phi: answers the trial at a length. start: the one at 0, with a negative slope. t: the length to try first.
    calls: how often phi may be asked. If that does not do, the best trial with a sufficient decrease, or `start`.
    """
    before = start
    for left in reversed(range(calls)):
        now = phi(t)
        if too_high(now, start) or is_above(now, before):
            return zoom(phi, start, before, now, left)
        if flat_enough(now, start):
            return now
        if now.slope >= 0:
            return zoom(phi, start, now, before, left)
        t = min(max(2 * t, cubic_minimum(before, now)), 10 * t)  # max(2 t, nan) is 2 t
        before = now
    return before


def zoom(phi: Callable[[float], Trial], start: Trial, low: Trial, high: Trial, calls: int) -> Trial:
    """The same, from an interval that has such trials inside (algorithm 3.6).

    low: the best trial so far. high: the other end, on either side, where phi falls on leaving low.
    """
    halve = False
    for _ in range(calls):
        width = abs(high.t - low.t)
        if are_neighbours(low.place.x, high.place.x):
            break
        now = phi(between(low, high, halve))
        if too_high(now, start) or is_above(now, low):
            high = now
        elif flat_enough(now, start):
            return now
        else:
            if now.slope * (high.t - low.t) >= 0:
                high = low
            low = now
        halve = abs(high.t - low.t) > 0.66 * width  # if the cubic is of little help
    return low


def between(low: Trial, high: Trial, halve: bool) -> float:
    """The length to try next: the cubic's minimum, but off the ends by a tenth of the interval; or the middle."""
    t = low.t if math.isinf(high.value) else cubic_minimum(low, high)
    if halve or math.isnan(t):
        return (low.t + high.t) / 2
    left, right = sorted((low.t, high.t))
    margin = (right - left) / 10
    return min(max(t, left + margin), right - margin)


def cubic_minimum(a: Trial, b: Trial) -> float:
    """Where the cubic that has the values and slopes of two trials has its minimum (3.59); nan if it has none.

    >>> def cubic(t):
    ...     return Trial(t, value=t**3 - 3 * t, slope=3 * t**2 - 3, error=0, place=None)
    >>> cubic_minimum(cubic(0.0), cubic(3.0))
    1.0
    """
    if a.t == b.t:
        return math.nan
    d1 = a.slope + b.slope - 3 * (a.value - b.value) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if square < 0:
        return math.nan
    d2 = math.copysign(math.sqrt(square), b.t - a.t)
    below = b.slope - a.slope + 2 * d2
    return b.t - (b.t - a.t) * (b.slope + d2 - d1) / below if below else math.nan


def are_neighbours(a: Any, b: Any) -> bool:
    """Whether two points are so near that there are no others between them."""
    return bool((np.abs(a - b) <= unit(a) * np.abs(a)).all())
