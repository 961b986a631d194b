"""The statistics that the rules rest on: intervals for a median, a slope and a mean, in a few lines of NumPy each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

EXACT_SIGNS = 500  # up to so many values the binomial distribution is summed exactly
EXACT_SLOPES = 50  # up to so many points Kendall's distribution is counted exactly
MOST_POINTS = 300  # a longer series is reduced to the medians of so many pieces: slopes are taken of all pairs


def median_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """(median, low, high) of a sample; the interval is exact for any distribution, by the binomial distribution of signs.

    low is the r-th smallest value and high the r-th largest, where r is the largest number with P(B <= r - 1) <= (1 -
    level) / 2 for B ~ Binomial(n, 1/2); infinite where there are too few values for that (Conover 1999, section 3.2). Over
    500 values the normal approximation is used.

    >>> median_interval(np.arange(1.0, 11.0))
    (5.5, 2.0, 9.0)
    """
    ordered, n, tail = np.sort(values), len(values), (1 - level) / 2
    if n <= EXACT_SIGNS:
        rank = _rank([math.comb(n, k) for k in range(n // 2 + 1)], 2**n, tail)
    else:
        rank = math.floor(n / 2 - NormalDist().inv_cdf(1 - tail) * math.sqrt(n) / 2)
    low, high = (float(ordered[rank - 1]), float(ordered[n - rank])) if rank else (-math.inf, math.inf)
    return float(np.median(ordered)), low, high


def slope_interval(x: np.ndarray, y: np.ndarray, level: float = 0.90) -> tuple[float, float, float]:
    """(slope, low, high) of y over x: the median of the slopes between all pairs of points, which no outlier moves.

    The interval is between two of these slopes whose ranks Kendall's distribution gives (Theil 1950, Sen 1968); exact up to
    50 points with independent errors, with the normal approximation above. It is infinite where there are too few points.

    >>> slope_interval(np.arange(5.0), np.array([0.0, 1.0, 2.0, 3.0, 50.0]))
    (1.0, 1.0, 24.0)
    """
    x, y = _reduced(x), _reduced(y)
    first, second = np.triu_indices(len(x), 1)
    apart = x[second] != x[first]
    slopes = np.sort((y[second] - y[first])[apart] / (x[second] - x[first])[apart])
    if not len(slopes):
        return math.nan, -math.inf, math.inf
    n, tail, pairs = len(x), (1 - level) / 2, len(slopes)
    if n <= EXACT_SLOPES:
        rank = _rank(_inversions(n), math.factorial(n), tail)
    else:
        deviation = math.sqrt(n * (n - 1) * (2 * n + 5) / 18)  # of Kendall's S = pairs - 2 * inversions
        rank = math.floor((pairs - NormalDist().inv_cdf(1 - tail) * deviation) / 2)
    low, high = (float(slopes[rank - 1]), float(slopes[pairs - rank])) if 0 < rank <= pairs else (-math.inf, math.inf)
    return float(np.median(slopes)), low, high


def mean_interval(values: np.ndarray, level: float = 0.90) -> tuple[float, float, float]:
    """(mean, low, high) of a sample by Student's t.

    The quantile is Fisher and Cornish's expansion of it (Abramowitz & Stegun 1964, 26.7.5), right to 0.1 % from 10 values.
    """
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return mean, -math.inf, math.inf
    z, df = NormalDist().inv_cdf((1 + level) / 2), n - 1
    t = z + (z**3 + z) / (4 * df) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)
    t += (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * df**3)
    half = t * float(np.std(values, ddof=1)) / math.sqrt(n)
    return mean, mean - half, mean + half


def running_median(values: np.ndarray) -> np.ndarray:
    """The median of each value and its neighbours, so that one odd value decides nothing (Tukey 1977); the ends are as if
    repeated by the median of the three next to them."""
    if len(values) < 3:
        return values
    middle = np.median(np.stack([values[:-2], values[1:-1], values[2:]]), axis=0)
    return np.concatenate([middle[:1], middle, middle[-1:]])


def _rank(counts: Sequence[int], total: int, tail: float) -> int:
    """The largest r with P(count <= r - 1) <= tail; of `total` cases counts[k] have the count k."""
    below = 0
    for rank, cases in enumerate(counts):
        below += cases
        if below / total > tail:
            return rank
    return len(counts)


def _inversions(n: int) -> list[int]:
    """How many orders of n things have 0, 1, 2 ... inversions (Kendall 1938), in whole numbers."""
    counts = [1]
    for size in range(2, n + 1):
        summed, running = [], 0
        for k in range(len(counts) + size - 1):
            running += (counts[k] if k < len(counts) else 0) - (counts[k - size] if k >= size else 0)
            summed.append(running)
        counts = summed
    return counts


def _reduced(values: np.ndarray) -> np.ndarray:
    if len(values) <= MOST_POINTS:
        return np.asarray(values, float)
    return np.array([np.median(piece) for piece in np.array_split(values, MOST_POINTS)])
