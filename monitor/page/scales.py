"""What pictures agree on: which points a line joins, which range of an axis is worth seeing, round ticks.

Axes are those of the still picture, as js/charts.js and js/scales.js have them. Where a line ends is said here alone:
for the page, the still picture and pictures/curves.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

HUGE = 1e300  # beyond, differences overflow; nobody reads an axis there
WIDE = 30.0  # a loss that falls by more than this factor is drawn on a logarithmic axis
WIDE_OTHERS = 1000.0  # any other quantity, since nobody can ask a still picture for one
FAR, FAR_DECADES = 20.0, 3.0  # how many times the usual range a run may go beyond it
BOUNDS = {"rho": (-1.5, 1.5), "r2_score": (-1.0, math.inf)}  # of what is worth seeing: reasons are in js/charts.js


FAR_APART = 10.0  # how many times their usual distance two neighbours may lie apart if a line is to join them


def line_ends(steps: np.ndarray, drawn: np.ndarray | None = None) -> np.ndarray:
    """After which of its points a line ends: a straight line over a long gap would pass for measurements.

    A gap is long if it is ten times as long as usual in the series; a quarter of its distances are shorter than usual.
    `drawn`: if only some points are drawn, or means of neighbours, where these are; the answer counts them.

    >>> line_ends(np.array([1, 2, 3, 4, 50, 60])).tolist(), line_ends(np.arange(9)).tolist()
    ([3], [])
    """
    with np.errstate(invalid="ignore"):
        distances = np.diff(steps)
        if len(distances) < 3:  # too few to say what is usual
            return np.zeros(0, int)
        long = distances > FAR_APART * np.quantile(distances, 0.25, method="lower")
    at = steps if drawn is None else drawn
    begin, end = steps[:-1][long], steps[1:][long]
    return np.flatnonzero(np.searchsorted(begin, at[1:]) > np.searchsorted(end, at[:-1], "right"))


def interrupted(ends: np.ndarray, *lines: Any) -> list[np.ndarray]:
    """Lines [..., points] with a nan after each of the points at which they end."""
    return [np.insert(np.asarray(line, float), ends + 1, np.nan, axis=-1) for line in lines]


def lone(values: np.ndarray) -> np.ndarray:
    """The points that no line joins to another, and that would not be seen without a dot.

    >>> lone(np.array([1.0, np.nan, 2.0, 3.0, np.nan, 4.0])).tolist()
    [0, 5]
    """
    there = np.concatenate([[False], np.isfinite(values), [False]])
    return np.flatnonzero(there[1:-1] & ~there[:-2] & ~there[2:])


def axis(metric: str, runs: Sequence[np.ndarray]) -> tuple[float, float, bool]:
    """(low, high, logarithmic) of the axis for the finite values of each run; those of a logarithmic one are exponents.

    >>> axis("loss", [np.array([1.0, 0.01])])
    (-2.0, 0.0, True)
    >>> axis("loss", [np.array([0.9, 0.5]), np.array([1.0, 0.6]), np.array([1.0, 1e30])])
    (0.5, 1.0, False)
    """
    runs = [np.clip(values, -HUGE, HUGE) for values in runs if len(values)]
    if not runs:
        return 0.0, 1.0, False
    if min(values.min() for values in runs) > 1 / HUGE and metric != "lr":
        low, high = typical([np.log10(values) for values in runs], log=True)
        if high - low > math.log10(WIDE if metric.endswith("loss") else WIDE_OTHERS):
            return low, high, True
    low, high = typical(runs if metric != "lr" else [np.concatenate(runs)], log=False)  # no learning rate explodes
    least, greatest = BOUNDS.get(metric, (-math.inf, math.inf))
    if low < greatest and high > least:
        low, high = max(low, least), min(high, greatest)
    return (low, high, False) if low < high else (low - (abs(low) / 2 or 1), high + (abs(high) / 2 or 1), False)


def typical(runs: Sequence[np.ndarray], log: bool) -> tuple[float, float]:
    """The least and greatest value, but for the ends of single runs that lie far beyond those of at least half of them.

    One run that explodes would flatten all others. Of one run, everything is typical; and on a logarithmic axis the low end
    stays, for there the best loss is.
    """
    lows, highs = (np.array([end(values) for values in runs], float) for end in (np.min, np.max))
    if len(runs) < 2:
        return float(lows[0]), float(highs[0])
    top, bottom, span = _middle(highs), -_middle(-lows), _middle(highs - lows)
    reach = max(FAR_DECADES, span) if log else FAR * max(span, abs(top), abs(bottom)) or math.inf
    near_low = lows if log else lows[lows >= bottom - reach]
    near_high = highs[highs <= top + reach]
    low, high = float(near_low.min(initial=math.inf)), float(near_high.max(initial=-math.inf))
    return (low, high) if low <= high else (float(lows.min()), float(highs.max()))


def _middle(values: np.ndarray) -> float:
    """The median; of an even number, the lower one."""
    return float(np.sort(values)[(len(values) - 1) // 2])


def ticks(low: float, high: float, log: bool = False, count: int = 4) -> list[float]:
    """Round places on an axis, `count` or so: multiples of 1, 2 or 5 times a power of ten; whole exponents, if log.

    >>> ticks(0, 199), ticks(-2.2, 0.3, log=True)
    ([0.0, 50.0, 100.0, 150.0], [-2.0, -1.0, 0.0])
    """
    if log and high - low < 0.9:
        return [math.log10(tick) for tick in ticks(10**low, 10**high, count=count) if tick > 0]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough)) if rough > 0 else 0.0
    if not power:
        return [low]
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= 0.999 * rough)
    step = max(1.0, math.ceil(step)) if log else step
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(i * step) for i in range(first, min(last, first + 20) + 1)]


def texts(values: Sequence[float]) -> list[str]:
    """What is written at ticks: as few digits as tell them apart.

    >>> texts([0.0, 0.5, 1.0]), texts([100.001, 100.002])
    (['0', '0.5', '1'], ['100.001', '100.002'])
    """
    for digits in range(3, 16):
        found = [number(value, digits) for value in values]
        if len(set(found)) == len(found):
            break
    return found


def number(value: float, digits: int = 4) -> str:
    """A number for people, short where it is very large or small.

    >>> number(0.25), number(1234567.0), number(2e-05), number(150.0)
    ('0.25', '1.235e6', '2e-5', '150')
    """
    if not math.isfinite(value) or 1e-3 <= abs(value) < 1e5 or value == 0:
        return f"{value:.{max(digits, 5) if abs(value) >= 1000 else digits}g}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}e{int(exponent)}"
