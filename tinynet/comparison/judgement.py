"""Who is better, as far as the runs can tell: a Comparison in, verdicts out.

Two optimizers are told apart on a problem only if two methods agree: the signed-rank test says p < 0.05 after Holm's
correction, and the bootstrap interval of the median difference leaves out 0. What is compared is the metric at the end of
the fresh runs at the tuned rates, seed by seed.

    pairs_with_baseline    each optimizer against the one that was named before the run: few tests, so the sharpest
    groups                 all against all: the letters of the table
    judge_suite            over several problems: profiles, and ranks if there are at least five
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from tinynet.comparison import statistics
from tinynet.comparison.results import Comparison

ALPHA = 0.05
FEW_PROBLEMS = 5  # below, ranks over problems say nothing (Demsar 2006)


@dataclass(frozen=True)
class Pair:
    """An optimizer against another, over `n` paired seeds; negative differences are in favour of `optimizer`.

    difference, low, high: the median of the paired differences and its 95 % interval.
    pvalue, adjusted: of the signed-rank test, before and after Holm's correction for `tests` tests.
    """

    optimizer: str
    other: str
    n: int
    difference: float
    low: float
    high: float
    pvalue: float
    adjusted: float
    tests: int

    @property
    def distinguishable(self) -> bool:
        """Whether the test and the interval agree that there is a difference."""
        return self.adjusted < ALPHA and not self.low <= 0 <= self.high

    @property
    def better(self) -> bool:
        """Whether `optimizer` is the better one, beyond the noise."""
        return self.distinguishable and self.difference < 0


@dataclass(frozen=True, eq=False)
class Suite:
    """Several problems together; N problems that every one of k optimizers finished.

    ratios: median steps to the target, over those of the best [N, k]. areas: of the performance profiles, up to 4 [k].
    ranks: mean ranks by the median result [k], 1 for the best; friedman: the test that they are all alike; letters: groups
    by Nemenyi's test. These three are None for fewer than 5 problems or 3 optimizers.
    """

    problems: tuple[str, ...]
    optimizers: tuple[str, ...]
    ratios: np.ndarray
    areas: np.ndarray
    ranks: np.ndarray | None
    friedman: statistics.Friedman | None
    letters: dict[str, str] | None

    @property
    def arrived(self) -> bool:
        """Whether any optimizer reached a target in half of its runs; if none did, profiles are empty."""
        return bool(np.isfinite(self.ratios).any())


def judge_pairs(samples: Mapping[str, Any], pairs: Sequence[tuple[str, str]]) -> list[Pair]:
    """The verdict on each pair of names; `samples` are their results, one per seed, and smaller is better.

    >>> a, b = judge_pairs({"x": range(9), "y": range(9), "z": range(10, 19)}, [("x", "y"), ("x", "z")])
    >>> a.distinguishable, b.better, b.difference
    (False, True, -10.0)
    """
    found = [statistics.differences(samples[one], samples[other]) for one, other in pairs]
    pvalues = [statistics.wilcoxon(d).pvalue for d in found]
    verdicts = []
    for (one, other), d, p, adjusted in zip(pairs, found, pvalues, statistics.holm(pvalues), strict=True):
        low, high = statistics.bootstrap_interval(d)
        middle = float(statistics.quantile(d, 0.5))
        verdicts.append(Pair(one, other, len(d), middle, low, high, p, float(adjusted), len(pairs)))
    return verdicts


def finals(comparison: Comparison, problem: str) -> dict[str, np.ndarray]:
    """The results of the fresh runs [seeds], by optimizer, the best median first; what is missing is left out."""
    found = {name: statistics.scores(r.tuned.final, name) for name, r in comparison.on(problem).items()}
    return dict(sorted(found.items(), key=lambda item: float(statistics.quantile(item[1], 0.5))))


def pairs_with_baseline(comparison: Comparison, problem: str) -> list[Pair]:
    """Every other optimizer against the baseline, the best first; empty if the baseline did not finish."""
    samples = finals(comparison, problem)
    baseline = comparison.baseline
    return judge_pairs(samples, [(name, baseline) for name in samples if name != baseline and baseline in samples])


def groups(comparison: Comparison, problem: str) -> dict[str, str]:
    """Letters by optimizer, the best first: those that share one cannot be told apart. All pairs are tested."""
    return letters_of(finals(comparison, problem))


def letters_of(samples: Mapping[str, Any]) -> dict[str, str]:
    """The letters of samples that come best first."""
    names = list(samples)
    differ = np.zeros((len(names), len(names)), bool)
    for pair in judge_pairs(samples, list(combinations(names, 2))):
        differ[names.index(pair.optimizer), names.index(pair.other)] = pair.distinguishable
    return dict(zip(names, statistics.letter_groups(differ), strict=True))


def judge_suite(comparison: Comparison) -> Suite | None:
    """All problems together; None unless at least two problems were finished by all."""
    names = comparison.optimizers
    whole = [p.name for p in comparison.problems if len(comparison.on(p.name)) == len(names)]
    if len(whole) < 2 or len(names) < 2:
        return None
    results = [comparison.on(problem) for problem in whole]
    costs = [[statistics.quantile(of[name].tuned.steps_to_target, 0.5) for name in names] for of in results]
    ratios = statistics.performance_ratios(costs)
    ranks = friedman = letters = None
    if len(whole) >= FEW_PROBLEMS and len(names) >= 3:
        middles = [[statistics.quantile(statistics.scores(of[name].tuned.final), 0.5) for name in names] for of in results]
        friedman = statistics.friedman(middles)
        ranks, letters = friedman.ranks, _ranked_letters(names, friedman, len(whole))
    return Suite(tuple(whole), names, ratios, statistics.profile_area(ratios), ranks, friedman, letters)


def _ranked_letters(names: tuple[str, ...], friedman: statistics.Friedman, problems: int) -> dict[str, str]:
    """Groups by Nemenyi's test, which has a say only if Friedman's test sees a difference at all."""
    order = np.argsort(friedman.ranks, kind="stable")
    differ = statistics.nemenyi(friedman.ranks[order], problems) < ALPHA
    letters = statistics.letter_groups(differ & (friedman.pvalue < ALPHA))
    return {names[i]: letter for i, letter in zip(order, letters, strict=True)}
