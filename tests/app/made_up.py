"""Comparisons without a run behind them: numbers as tests want them."""

import numpy as np

from tinynet.comparison.results import Comparison, ProblemFacts, Result, Runs, Trial

GRID = (0.001, 0.003, 0.01, 0.03, 0.1)


def runs(finals, steps=None, ended_at=None, lr=0.01, points=6):
    """Runs that fall from 1 to `finals` [seeds] and reach the target after `steps`."""
    finals = np.asarray(finals, float)
    fall = np.linspace(0, 1, points)
    curves = np.where(
        np.isfinite(finals)[:, None], 1.0 + fall * (np.where(np.isfinite(finals), finals, 0)[:, None] - 1), np.inf
    )
    curves[:, 0] = 1.0
    steps = np.full(len(finals), 50.0) if steps is None else np.asarray(steps, float)
    return Runs({"lr": lr}, curves, steps, None if ended_at is None else np.asarray(ended_at), 2e-5)


def result(problem, name, finals, chosen=2, default=True, medians=(0.9, 0.5, 0.1, 0.2, np.inf), **how):
    trials = tuple(Trial({"lr": lr}, np.array([m, m, m])) for lr, m in zip(GRID, medians, strict=True))
    fresh = runs(finals, lr=GRID[chosen], **how)
    other = runs(np.asarray(finals, float) * 2, ended_at=how.get("ended_at"), lr=0.001) if default else None
    return Result(problem, name, f"{name}()", trials, chosen, fresh, other)


def facts(name="moons", steps=100, points=6, places=(), kind="net"):
    metric = "validation loss" if kind == "net" else "height above the minimum"
    measured = tuple(np.linspace(0, steps, points).astype(int).tolist())
    return ProblemFacts(name, kind, f"the {name} of the tests", metric, 0.2, steps, measured, places)


def comparison(results, problems=None, baseline=None, seeds=None):
    results = tuple(results)
    names = tuple(dict.fromkeys(r.optimizer for r in results))
    problems = problems or tuple(facts(p) for p in dict.fromkeys(r.problem for r in results))
    n = len(results[0].tuned.final)
    return Comparison(
        problems, names, baseline or names[-1], GRID, len(GRID), (100, 101, 102), tuple(range(n if seeds is None else seeds)), results
    )  # fmt: skip


def usual(n=12, names=("Adam", "Lion", "SGD"), shifts=(0.0, 0.001, 0.3), problem="moons"):
    """Adam and Lion alike, SGD far behind and the baseline."""
    rng = np.random.default_rng(0)
    base = 0.1 + 0.02 * rng.random(n)
    found = [
        result(problem, name, base + shift + 0.01 * rng.random(n), chosen=4 if name == "Lion" else 2, medians=(0.9, 0.5, 0.3, 0.2, 0.11) if name == "Lion" else (0.9, 0.5, 0.1, 0.2, np.inf),
               steps=np.where(rng.random(n) < shift * 3, np.inf, 40 + 30 * rng.random(n)).round())
        for name, shift in zip(names, shifts, strict=True)
    ]  # fmt: skip
    return comparison(found)
