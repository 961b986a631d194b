"""How often the comparison calls a winner where there is none: every optimizer is compared with itself, under another name.

    python benchmarks/false_winners.py [--pairs 2000] [--families 200] [--real 200]

Simulated: both samples of a pair come from one distribution (with heavy tails, ties, or diverged runs); in a family there
are eight such samples, and all 28 pairs are tested. Real: runs of one optimizer are compared with its runs on other seeds,
since on the same seeds it gives the same numbers. The share is that of comparisons with at least one false winner; 5 % may
have one, and beside it stands by how much a share of so many comparisons varies by chance.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import combinations

import numpy as np

from tinynet.comparison.contenders import CONTENDERS
from tinynet.comparison.judgement import ALPHA, judge_pairs
from tinynet.comparison.problems import PROBLEMS
from tinynet.comparison.protocol import run_all

DRAWS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "heavy tails": lambda rng, n: rng.standard_cauchy(n),
    "ties": lambda rng, n: rng.integers(0, 4, n).astype(float),
    "diverged": lambda rng, n: np.where(rng.random(n) < 0.3, np.inf, rng.random(n)),
}
EIGHT = tuple("abcdefgh")


def has_winner(samples: dict[str, np.ndarray]) -> bool:
    return any(pair.distinguishable for pair in judge_pairs(samples, list(combinations(samples, 2))))


def simulated(names: tuple[str, ...], seeds: int, comparisons: int) -> None:
    for title, draw in DRAWS.items():
        rng = np.random.default_rng(0)
        found = sum(has_winner({name: draw(rng, seeds) for name in names}) for _ in range(comparisons))
        show(f"simulated, {title}, {len(names)} names, {seeds} seeds", found, comparisons)


def real(problem: str, optimizer: str, lr: float, seeds: int, comparisons: int) -> None:
    """All runs are one batch: 2 x comparisons x seeds nets."""
    short = replace(PROBLEMS[problem], steps=100)
    runs = run_all(short, CONTENDERS[optimizer], [{"lr": lr}], range(2 * comparisons * seeds))[0]
    halves = runs.final.reshape(comparisons, 2, seeds)
    found = sum(has_winner({"one": one, "other": other}) for one, other in halves)
    show(f"real, {optimizer} on {problem}, 2 names, {seeds} seeds", found, comparisons)


def show(what: str, found: int, of: int) -> None:
    error = (ALPHA * (1 - ALPHA) / of) ** 0.5
    print(f"{what:<52} {found:>4} of {of}: {found / of:6.1%}  (nominal {ALPHA:.0%} +- {error:.1%})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=2000, help="simulated comparisons of two")
    parser.add_argument("--families", type=int, default=200, help="simulated comparisons of eight")
    parser.add_argument("--real", type=int, default=200, help="comparisons of real runs, on each of three problems")
    arguments = parser.parse_args()
    simulated(EIGHT[:2], 10, arguments.pairs)
    simulated(EIGHT, 12, arguments.families)
    for problem, optimizer, lr in (("moons", "adam", 0.01), ("sine", "sgd-momentum", 0.1), ("quadratic-10", "adam", 0.1)):
        real(problem, optimizer, lr, 10, arguments.real)


if __name__ == "__main__":
    main()
