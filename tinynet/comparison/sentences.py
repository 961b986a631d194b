"""A comparison in words: what the numbers support and nothing else, what to beware of, and how it was done.

>>> from tinynet.comparison.judgement import judge_pairs
>>> one, two = judge_pairs({"SGD": range(9), "NAG": range(9), "Adam": range(10, 19)}, [("SGD", "Adam"), ("NAG", "SGD")])
>>> print(sentence(one), sentence(two), sep="\\n")
SGD ends lower than Adam: by 10 in the median (95 % interval 10 to 10, p = 0.0078 after Holm's correction, 9 seeds).
NAG is not distinguishable from SGD with 9 seeds (median difference 0, 95 % interval 0 to 0, p = 1 after Holm's correction).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tinynet.comparison.judgement import ALPHA, FEW_PROBLEMS, Pair, Suite, finals, pairs_with_baseline
from tinynet.comparison.results import Comparison, ProblemFacts, Result
from tinynet.comparison.statistics import choice_shares, fewest_seeds

# With fewer, not even all values from the smallest to the largest are a 95 % interval of a median: they are one of
# 1 - 2 / 2^n (sign test: Conover 1999, section 3.4).
INTERVAL_SEEDS = 6
SURE = 0.75  # share of resamples that agree on a setting, below which its choice was a close call


def short(x: float, digits: int = 3, zeros: bool = False) -> str:
    """A number in as few characters as tell it; with `zeros`, in so many digits.

    >>> short(0.012345), short(1e-5), short(float("inf")), short(-1234.5), short(0.1, zeros=True)
    ('0.0123', '1e-5', 'inf', '-1.23e3', '0.100')
    """
    if not math.isfinite(x):
        return str(float(x))
    mantissa, _, power = (f"{x:#.{digits}g}" if zeros else f"{x:.{digits}g}").partition("e")
    return f"{mantissa.rstrip('.')}e{int(power)}" if power else mantissa.rstrip(".")


def count(n: int, thing: str) -> str:
    """So many of a thing: "1 seed", "10 seeds"."""
    return f"{n:,} {thing}{'' if n == 1 else 's'}"


# What may be said ---------------------------------------------------------------------------------------------------------


def sentence(pair: Pair, diverged: Mapping[str, int] | None = None) -> str:
    """What may be said about a pair; `diverged` says how many of the n runs of an optimizer did."""
    one, other, seeds = pair.optimizer, pair.other, count(pair.n, "seed")
    p = f"p = {short(pair.adjusted, 2)}" + " after Holm's correction" * (pair.tests > 1)
    lost = "".join(f"; {n} of {pair.n} runs of {name} diverged" for name, n in (diverged or {}).items() if n)
    if not pair.distinguishable:
        size = f"median difference {short(pair.difference)}{_interval(pair)}"
        return f"{one} is not distinguishable from {other} with {seeds} ({size}, {p}{lost})."
    side = "lower" if pair.better else "higher"
    if math.isinf(pair.difference):
        return (
            f"{one} ends {side} than {other}: most runs of {other if pair.better else one} diverged ({p}, {seeds}{lost})."
        )
    low, high = sorted((abs(pair.low), abs(pair.high)))  # of one sign, since they leave out 0
    size = f"by {short(abs(pair.difference))} in the median (95 % interval {short(low)} to {short(high)}"
    return f"{one} ends {side} than {other}: {size}, {p}, {seeds}{lost})."


def _interval(pair: Pair) -> str:
    """The interval of a pair that is not distinguishable; where it leaves out 0, why it may."""
    if pair.n < INTERVAL_SEEDS:
        return ""
    why = ""
    if not pair.low <= 0 <= pair.high:
        alone = f" for this pair alone, not corrected for {pair.tests} tests"
        why = alone if pair.pvalue < ALPHA else " of the median, whereas the test ranks all runs"
    return f", 95 % interval {short(pair.low)} to {short(pair.high)}{why}"


def sentences(comparison: Comparison, problem: str) -> list[str]:
    """One sentence for each optimizer against the baseline, the best first; one for all, where seeds are too few."""
    results, baseline = comparison.on(problem), comparison.baseline
    if baseline not in results:
        return [f"There is nothing to say: {baseline}, the baseline, was not finished on {problem}."]
    seeds, others = len(comparison.seeds), len(results) - 1
    if others and seeds < fewest_seeds(others):
        takes = "1 test at the 5 % level takes" if others == 1 else f"{others} tests at the 5 % level take"
        least = f"{takes} at least {fewest_seeds(others)} seeds"
        return [f"With {count(seeds, 'seed')} no difference from {baseline} could be shown, however large: {least}."]
    lost = {name: int(result.tuned.diverged.sum()) for name, result in results.items()}
    pairs = pairs_with_baseline(comparison, problem)
    return [sentence(pair, {name: lost[name] for name in (pair.optimizer, pair.other)}) for pair in pairs]


def suite_sentences(suite: Suite) -> list[str]:
    """What several problems together say."""
    best = suite.areas.max()
    nearest = [name for name, area in zip(suite.optimizers, suite.areas, strict=True) if area == best]
    found = "No optimizer reached a target in half of its runs, on any problem."
    if suite.arrived:
        area = f"area under the performance profile {short(best, 2)}, where 1 is always the fastest"
        found = f"Nearest to the fastest on {len(suite.problems)} problems: {listed(nearest)} ({area})."
    if suite.friedman is None or suite.letters is None:
        return [found, f"Ranks are not tested: that takes at least {FEW_PROBLEMS} problems and 3 optimizers."]
    p = f"Friedman's test on {len(suite.problems)} problems, p = {short(suite.friedman.pvalue, 2)}"
    leaders = [name for name, letters in suite.letters.items() if "a" in letters]
    behind = [name for name, letters in suite.letters.items() if "a" not in letters]
    if suite.friedman.pvalue >= ALPHA:
        return [found, f"By their ranks the optimizers are not distinguishable ({p})."]
    if not behind:
        return [found, f"Their ranks differ ({p}), but Nemenyi's test cannot say whose."]
    tied = f"; {listed(leaders)} cannot be told apart" if len(leaders) > 1 else ""
    fall = "falls" if len(behind) == 1 else "fall"
    return [found, f"By their ranks {listed(behind)} {fall} behind {leaders[0]}{tied} ({p}; Nemenyi's test)."]


def listed(names: Sequence[str]) -> str:
    """A, B and C."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


# What to beware of --------------------------------------------------------------------------------------------------------


def warnings(comparison: Comparison, problem: str) -> list[str]:
    """What to beware of before believing the table: edges of the grid, too few seeds, a target out of reach, gaps."""
    facts, results = comparison.problem(problem), comparison.on(problem)
    found = [f"{name} was not finished." for name in comparison.optimizers if name not in results]
    found += [f"{name} diverged at every rate that was tried." for name, result in results.items() if result.failed]
    edges = [f"{name} ({short(r.best_lr)})" for name, r in results.items() if r.at_edge and not r.failed]
    if edges:
        was = "was" if len(edges) == 1 else "were"
        found.append(f"{listed(edges)} {was} best at the edge of the rates: a better rate may lie beyond.")
    found += _close_calls(results)
    if results and not any(math.isfinite(steps) for r in results.values() for steps in r.tuned.steps_to_target):
        found.append(f"No run reached the target {short(facts.target)} in {count(facts.steps, facts.unit)}.")
    return found + _too_few(len(comparison.seeds), len(finals(comparison, problem)))


def _close_calls(results: Mapping[str, Result]) -> list[str]:
    """Which choices of a rate other tuning seeds might have made differently: of them, the tests know nothing."""
    calls = []
    for name, result in results.items():
        shares = choice_shares([trial.losses for trial in result.trials])
        if shares[result.chosen] < SURE and not result.failed:
            calls.append(f"{name} ({short(result.best_lr)}, {shares[result.chosen]:.0%})")
    if not calls:
        return []
    return [
        f"Chosen by a close call: {listed(calls)}. So often is the same setting chosen if the tuning seeds are drawn again "
        "from those there were; what is said here holds for the chosen setting. More tuning seeds make the choice surer."
    ]


def _too_few(seeds: int, optimizers: int) -> list[str]:
    """Whether there are seeds enough for the sentences, but not for the letters."""
    others, pairs = optimizers - 1, optimizers * (optimizers - 1) // 2
    if others < 1 or not fewest_seeds(others) <= seeds < fewest_seeds(pairs):
        return []
    least = f"to tell any of {count(pairs, 'pair')} apart takes at least {fewest_seeds(pairs)} seeds"
    return [f"All optimizers share a letter: {least}. Against the baseline alone, {seeds} are enough."]


# How it was done ----------------------------------------------------------------------------------------------------------


def about(facts: ProblemFacts) -> str:
    """A problem in a line."""
    return f"{facts.text.rstrip('.')}; {facts.metric} after {count(facts.steps, facts.unit)}, target {short(facts.target)}."


def protocol(comparison: Comparison) -> list[str]:
    """How it was done, so that a reader can judge it and repeat it."""
    return [*(_tuning(comparison) if comparison.grid else _searching(comparison)), *_judging(comparison)]


def _searching(comparison: Comparison) -> list[str]:
    tried, tuned = count(comparison.budget, "candidate"), count(len(comparison.tuning_seeds), "seed")
    return [
        f"Search: {tried}, each on {tuned}; those with the smallest medians at the end are in the table.",
        f"Results: {count(len(comparison.seeds), 'fresh seed')}, none of them used in the search. A seed stands for the "
        "data, their split, a start and the order of batches: they are the same for all.",
    ]


def _tuning(comparison: Comparison) -> list[str]:
    grid = comparison.grid
    rates = f"rates from {short(min(grid))} to {short(max(grid))}" if len(grid) > 1 else f"rate {short(grid[0])}"
    trials = f"{count(comparison.budget, 'trial')} each ({rates}), all on {count(len(comparison.tuning_seeds), 'seed')}"
    tuning = f"{trials}; the setting with the smallest median at the end was chosen"
    if comparison.budget == 1:
        tuning = "none, every optimizer ran at its default rate"
    return [
        f"Tuning: {tuning}. All other settings are each optimizer's documented defaults.",
        f"Results: {count(len(comparison.seeds), 'fresh seed')}, none of them used in tuning, at the chosen setting and "
        "again at the default rate. A seed stands for a start and the order of batches (or the noise): they are the same "
        "for all optimizers. The data are the same for all seeds.",
    ]


def _judging(comparison: Comparison) -> list[str]:
    return [
        f"Tests: each against {comparison.baseline}, which was named before the run. Two are called different only "
        "if the Wilcoxon signed-rank test over paired seeds gives p < 0.05 after Holm's correction for all tests on a "
        "problem, and the 95 % bootstrap interval of the median difference leaves out 0. Letters test all pairs like this.",
        "Failures: a run that diverged counts as infinitely bad and a missed target as infinitely many steps; both take "
        "part in every median. Targets belong to the problems and were fixed beforehand.",
    ]
