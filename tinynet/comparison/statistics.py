"""What may be said after a few seeds: medians, rank tests, intervals, profiles and letter groups, in plain NumPy.

Small numbers are better throughout (a loss, or the number of steps to a target), and runs are paired: entry i of two
samples is the same seed, hence the same start and the same batches. One rule covers runs that went wrong: **infinity is
one very large number, the same in every run.** So nan (diverged) counts as infinity, a target that was missed was reached
after infinitely many steps, infinity minus infinity is 0, and halfway between minus and plus infinity lies 0. A failed
run takes part in every median and every rank; it is never left out.

    quantile, bootstrap_interval   how large, and how sure
    wilcoxon, holm                 is a difference more than noise? of one pair, of several
    friedman, nemenyi              of many optimizers on many problems
    letter_groups                  who is not to be told apart from whom
    performance_ratios, profile    Dolan and More's profile, and its area
    sensitivity_width              how much the learning rate matters

>>> adam, sgd = [0.10, 0.12, 0.09, 0.11, 0.13, 0.10], [0.20, 0.18, 0.22, float("inf"), 0.21, 0.19]
>>> wilcoxon(differences(adam, sgd)).pvalue  # of 2^6 equally likely patterns of signs, the two most extreme
0.03125
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

EXACT = 50  # differences; up to here the 2^n patterns of signs are counted without an error in floating point
RESAMPLES = 10_000


class Wilcoxon(NamedTuple):
    """Of a signed-rank test: the smaller of both sums of ranks, the two-sided p-value, how many differences are not 0."""

    statistic: float
    pvalue: float
    n: int


class Friedman(NamedTuple):
    """Of a Friedman test: chi-square with k - 1 degrees of freedom, its p-value, the mean rank of each optimizer [k]."""

    statistic: float
    pvalue: float
    ranks: np.ndarray


# How large, and how sure --------------------------------------------------------------------------------------------------


def scores(values: Any, what: str = "values") -> np.ndarray:
    """The results of runs [n] as floats, nan as infinity; an error if there are none."""
    array = np.array(values, float)
    if array.ndim != 1 or not array.size:
        raise ValueError(f"{what} must be a list of at least one number, got shape {array.shape}")
    return np.where(np.isnan(array), np.inf, array)


def differences(a: Any, b: Any) -> np.ndarray:
    """a - b, run by run [n]: negative where `a` is better; 0 where both are infinite.

    >>> differences([1.0, float("nan"), 2.0], [3.0, float("inf"), float("inf")])
    array([ -2.,   0., -inf])
    """
    a, b = scores(a, "a"), scores(b, "b")
    if a.shape != b.shape:
        raise ValueError(f"runs are compared in pairs, so both need one result per seed: got {len(a)} and {len(b)}")
    with np.errstate(invalid="ignore"):
        return np.where(a == b, 0.0, a - b)


def quantile(values: Any, q: float) -> Any:
    """The q-quantile along the last axis, by linear interpolation (NumPy's default), also between infinities.

    >>> [float(quantile([1, 2, np.inf, np.inf], q)) for q in (0, 0.25, 0.5)]
    [1.0, 1.75, inf]
    """
    x = np.sort(np.asarray(values, float), axis=-1)
    if not x.shape[-1] or np.isnan(x).any():
        raise ValueError(f"a quantile needs at least one number and no nan, got {values!r}")
    place = (x.shape[-1] - 1) * q
    i = int(place)
    share = place - i
    if share == 0:
        return x[..., i]
    low, high = x[..., i], x[..., i + 1]
    with np.errstate(invalid="ignore"):
        between = (1 - share) * low + share * high  # nan only from minus to plus infinity
    limit = 0.0 if share == 0.5 else math.copysign(math.inf, share - 0.5)
    return np.where(low == high, low, np.where(np.isnan(between), limit, between))[()]


def bootstrap_interval(values: Any, confidence: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """The percentile bootstrap interval of the median (Efron & Tibshirani 1993, chapter 13), from 10,000 resamples.

    Percentile rather than BCa: the acceleration of BCa comes from leaving out one value at a time, and a median hardly
    moves then. The same values in any order give the same interval.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence!r}")
    x = np.sort(np.asarray(values, float))
    medians = quantile(x[_middles_of_resamples(len(x), seed)], 0.5)
    tail = (1 - confidence) / 2
    return float(quantile(medians, tail)), float(quantile(medians, 1 - tail))


@cache
def _middles_of_resamples(n: int, seed: int) -> np.ndarray:
    """Which two of n sorted values are in the middle of each resample [10,000, 2]; the values themselves do not matter."""
    draws = np.sort(np.random.default_rng(seed).integers(n, size=(RESAMPLES, n)), axis=1)
    return draws[:, [(n - 1) // 2, n // 2]]


def choice_shares(losses: Any, resamples: int = 2000, seed: int = 0) -> np.ndarray:
    """How often each of T settings has the smallest median, alone or with others, when the seeds of their losses [T, S] are
    drawn anew from those there are: [T]. A bootstrap (Efron 1979) of a choice: near 1, other seeds would have chosen alike.

    >>> choice_shares([[1, 2, 3], [11, 12, 13]])
    array([1., 0.])
    """
    values = np.array([scores(row) for row in losses])
    draws = np.random.default_rng(seed).integers(values.shape[1], size=(resamples, values.shape[1]))
    medians = np.median(values[:, draws], axis=-1)
    return (medians == medians.min(axis=0)).mean(axis=1)


# Rank tests ---------------------------------------------------------------------------------------------------------------


def midranks(values: Any) -> np.ndarray:
    """The ranks of values [n] from 1; those that are equal share the mean of their ranks.

    >>> midranks([10, 30, 20, 30])
    array([1. , 3.5, 2. , 3.5])
    """
    _, place, counts = np.unique(np.asarray(values, float), return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def wilcoxon(values: Any, zero_method: str = "pratt") -> Wilcoxon:
    """The signed-rank test that differences [n] lie around 0 (Wilcoxon 1945), two-sided.

    Under the null hypothesis every difference has either sign with probability 1/2, whatever its size. With W+ the sum of
    the ranks of |d| over positive d, and W- over negative d, the p-value is P(min(W+, W-) <= observed) over the 2^n
    patterns of signs. They are counted, with ties and zeros as they are, for up to 50 differences that are not 0; beyond,
    W+ is taken as normal with mean sum(r)/2 and variance sum(r^2)/4.

    `zero_method`: "pratt" ranks zeros and then leaves them out (Pratt 1959); "wilcox" leaves them out first. Where all
    are 0, the p-value is 1.
    """
    d = np.asarray(values, float)
    if d.ndim != 1 or not d.size or np.isnan(d).any():
        raise ValueError(f"a test needs a list of differences without nan, got {values!r}")
    if zero_method not in ("pratt", "wilcox"):
        raise ValueError(f"zero_method must be 'pratt' or 'wilcox', got {zero_method!r}")
    if zero_method == "wilcox":
        d = d[d != 0]
    ranks, d = midranks(np.abs(d))[d != 0], d[d != 0]
    if not d.size:
        return Wilcoxon(0.0, 1.0, 0)
    smaller = float(min(ranks[d > 0].sum(), ranks[d < 0].sum()))
    if d.size <= EXACT:
        counts = _patterns(ranks)
        pvalue = 2 * counts[: round(2 * smaller) + 1].sum() / 2.0**d.size
    else:
        z = (smaller - ranks.sum() / 2) / math.sqrt((ranks**2).sum() / 4)
        pvalue = math.erfc(-z / math.sqrt(2))
    return Wilcoxon(smaller, min(1.0, float(pvalue)), int(d.size))


def _patterns(ranks: np.ndarray) -> np.ndarray:
    """How many patterns of signs give W+ = s/2, for s = 0, 1, 2, ...: the coefficients of the product of (1 + x^2r)."""
    doubled = np.round(2 * ranks).astype(int)  # ranks are halves at least
    counts = np.zeros(doubled.sum() + 1)
    counts[0] = 1
    for r in doubled:
        counts[r:] += counts[:-r].copy()
    return counts


def holm(pvalues: Any) -> np.ndarray:
    """P-values of m tests [m], corrected so that one false alarm among all of them is as rare as in one test (Holm 1979).

    The i-th smallest is multiplied by m - i + 1; none may be smaller than the one before, or greater than 1.

    >>> holm([0.01, 0.04, 0.03]).round(2)
    array([0.03, 0.06, 0.06])
    """
    p = np.asarray(pvalues, float)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p-values must lie from 0 to 1, got {pvalues!r}")
    order = np.argsort(p, kind="stable")
    adjusted = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)))
    return adjusted[np.argsort(order, kind="stable")]


def fewest_seeds(tests: int, alpha: float = 0.05) -> int:
    """How many seeds it takes at least before the first of so many tests can come out below `alpha` after `holm`.

    If one optimizer wins with every one of n seeds, the signed-rank test says 2 / 2^n: with fewer seeds than this, nothing
    could ever be told apart.

    >>> fewest_seeds(1), fewest_seeds(7), fewest_seeds(28)
    (6, 9, 11)
    """
    n = 1
    while tests * 2.0 / 2**n >= alpha:
        n += 1
    return n


# Many problems ------------------------------------------------------------------------------------------------------------


def friedman(results: Any) -> Friedman:
    """Do k optimizers differ over N problems? `results` [N, k], one number each (Friedman 1937; ties: Conover 1999, 5.8).

    chi2 = (12 / (N k (k + 1)) sum_j R_j^2 - 3 N (k + 1)) / C, where R_j is the sum of the ranks of optimizer j within each
    problem and C = 1 - sum(t^3 - t) / (N k (k^2 - 1)) over groups of t equal results. Where all are equal, p is 1.
    """
    table = np.array(results, float)
    if table.ndim != 2 or len(table) < 2 or table.shape[1] < 3:
        raise ValueError(f"results must be [problems, optimizers], at least 2 and 3 of them, got shape {table.shape}")
    table[np.isnan(table)] = np.inf
    n, k = table.shape
    ranks = np.array([midranks(row) for row in table])
    ties = sum((counts**3 - counts).sum() for counts in (np.unique(row, return_counts=True)[1] for row in table))
    correction = 1 - ties / (n * k * (k * k - 1))
    if correction <= 0:
        return Friedman(0.0, 1.0, ranks.mean(axis=0))
    chi2 = (12 / (n * k * (k + 1)) * (ranks.sum(axis=0) ** 2).sum() - 3 * n * (k + 1)) / correction
    return Friedman(float(chi2), chi2_tail(max(chi2, 0.0), k - 1), ranks.mean(axis=0))


def nemenyi(ranks: Any, problems: int) -> np.ndarray:
    """P-values [k, k] of every pair of mean ranks [k] over so many problems (Nemenyi 1963; Demsar 2006, section 3.2.2).

    q = |R_i - R_j| / sqrt(k (k + 1) / (6 N)) * sqrt(2) is compared with the range of k standard normal numbers, which
    allows for all pairs at once.
    """
    r = np.asarray(ranks, float)
    k = len(r)
    q = np.abs(r[:, None] - r) / math.sqrt(k * (k + 1) / (6 * problems)) * math.sqrt(2)
    return np.array([[range_tail(float(x), k) for x in row] for row in q])


def chi2_tail(x: float, freedom: int) -> float:
    """P(chi-square > x) with a whole number of degrees of freedom (Abramowitz & Stegun 1964, 26.4.4 and 26.4.5)."""
    if x <= 0:
        return 1.0
    half, odd = x / 2, freedom % 2
    powers = [i + odd / 2 for i in range(freedom // 2)]
    terms = [math.exp(power * math.log(half) - half - math.lgamma(power + 1)) for power in powers]
    return math.fsum(terms) + (math.erfc(math.sqrt(half)) if odd else 0.0)


def range_tail(q: float, k: int) -> float:
    """P(range of k standard normal numbers > q): 1 - k * integral of phi(z) (Phi(z) - Phi(z - q))^(k - 1) dz."""
    z = np.linspace(-8, 8, 401)
    below = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in z])
    far = np.array([0.5 * math.erfc(-(x - q) / math.sqrt(2)) for x in z])
    height = np.exp(-z * z / 2) / math.sqrt(2 * math.pi) * (below - far) ** (k - 1)
    return min(1.0, max(0.0, 1 - k * float(height.sum()) * float(z[1] - z[0])))


# Pictures in numbers ------------------------------------------------------------------------------------------------------


def letter_groups(differ: Any) -> list[str]:
    """Letters for items of which `differ` [k, k] says which pairs differ: two share a letter if and only if they do not.

    The compact letter display by insertion and absorption (Piepho 2004). Items come best first, so that "a" is the group
    of the leader.

    >>> letter_groups([[False, False, True], [False, False, False], [True, False, False]])
    ['a', 'ab', 'b']
    """
    differ = np.asarray(differ, bool)
    groups = [frozenset(range(len(differ)))]
    for i, j in zip(*np.nonzero(np.triu(differ | differ.T, 1)), strict=True):
        split = [part for group in groups for part in ([group - {i}, group - {j}] if {i, j} <= group else [group])]
        groups = [group for group in dict.fromkeys(split) if not any(group < other for other in split)]
    groups.sort(key=sorted)
    letters = [[_letter(at) for at, group in enumerate(groups) if i in group] for i in range(len(differ))]
    return ["".join(of) for of in letters]


def _letter(i: int) -> str:
    """a, b, ..., z, a2, b2, ..."""
    return chr(ord("a") + i % 26) + (str(i // 26 + 1) if i >= 26 else "")


def performance_ratios(costs: Any) -> np.ndarray:
    """How many times the cost of the best, on each problem: `costs` [problems, optimizers], infinity for a target missed.

    Where all missed, all ratios are infinite. A cost of 0 is the best there can be: its ratio is 1, the others' infinite.
    """
    costs = np.array(costs, float)
    if costs.ndim != 2 or not costs.size or (costs < 0).any():
        raise ValueError(f"costs must be numbers from 0 on, [problems, optimizers], got shape {costs.shape}")
    costs[np.isnan(costs)] = np.inf
    best = costs.min(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.isinf(costs), np.inf, np.where(costs == best, 1.0, costs / best))


def profile(ratios: Any, tau: float) -> np.ndarray:
    """rho(tau) [optimizers]: the share of problems on which each took at most `tau` times the best (Dolan & More 2002)."""
    return (np.asarray(ratios) <= tau).mean(axis=0)


def profile_area(ratios: Any, most: float = 4.0) -> np.ndarray:
    """The mean of rho(tau) over tau from 1 to `most` [optimizers]: 1 if always the best, 0 if never near.

    AlgoPerf (Dahl et al. 2023) integrates up to 4.
    """
    if not most > 1:
        raise ValueError(f"most must be greater than 1, got {most!r}")
    return (np.clip(most - np.asarray(ratios, float), 0, None) / (most - 1)).mean(axis=0)


def sensitivity_width(results: Sequence[float] | np.ndarray, within: float = 0.1) -> int:
    """How many points of a grid are within 10 % of the best of them; 0 if none is finite.

    >>> sensitivity_width([0.5, 0.104, 0.1, 0.109, float("nan")])
    3
    """
    results = scores(results, "results")
    best = results.min()
    return int((results <= best + within * abs(best)).sum()) if np.isfinite(best) else 0
