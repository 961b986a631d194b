"""How optimizers are compared so that the answer means something: the same problems, starts, batches and budgets for all.

    1. Tuning: every optimizer tries as many settings as any other, each on the same few tuning seeds.
    2. The setting with the smallest median at the end is chosen.
    3. Fresh seeds, which no choice has seen, run with it and with the optimizer's default rate. Only these are compared.

After DeepOBS (Schneider, Balles & Hennig 2019), Choi et al. 2019 (on comparisons that the search space decides) and
Sivaprasad et al. 2020 (the tuning budget is part of the claim). All runs of a stage are one batch (sweep.py).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, replace
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from tinynet.arguments import whole
from tinynet.comparison.contenders import CONTENDERS, Contender, find_contenders
from tinynet.comparison.problems import PROBLEMS, Problem, find_problems
from tinynet.comparison.results import Comparison, Result, Runs, Trial, result_from_json, versions
from tinynet.comparison.sweep import made, sweep
from tinynet.comparison.trials import run_trials

GRID = tuple(10 ** (i / 2) for i in range(-10, 3))  # 1e-5 to 1e1, by half decades
Progress = Callable[[int, int, str], None]


def compare(
    optimizers: Sequence[str] | Mapping[str, Callable] | None = None,
    on: str | Problem | Sequence[str | Problem] = "moons",
    *,
    baseline: str = "sgd-momentum",
    grid: Sequence[float] = GRID,
    budget: int | None = None,
    tuning_seeds: int = 5,
    seeds: int = 12,
    seed: int = 0,
    steps: int | None = None,
    progress: Progress | None = None,
    store: str | Path | None = None,
    executor: int | str | Executor | None = None,
) -> Comparison:
    """Tune optimizers with equal budgets, run them on fresh seeds, and answer everything that was found.

    optimizers: names (contenders.py lists them), or functions by name, {"mine": lambda params, lr=1e-3: ...}, that
        make an optimizer; lr is then an array with a rate for each run. None is eight usual ones.
    on: a problem or a suite by name ("moons", "toy2d", "small", "all"; problems.py), a Problem, or a list of these.
    baseline: the optimizer that the others are tested against; it runs even if it is not among `optimizers`.
    grid: the rates to try. All optimizers have the same.
    budget: settings that every optimizer tries, each on all tuning seeds. len(grid) (the default) tries the grid; 1, where
        the grid has more, the default rate alone; 3 len(grid) also three momenta, beta1s or what else a Contender calls its
        `second`; an optimizer that has no such thing tries a grid three times as fine.
    tuning_seeds, seeds: how many; they are numbered from `seed` on, those of the tuning first. With 12 fresh seeds any two
        of 14 optimizers can be told apart; with fewer, fewer can.
    steps: updates of every run; None is what the problem says.
    progress: called as progress(done, total, text) at the start and after every optimizer on every problem.
    store, executor: of trials.run_trials. A second call with the same store makes only what is left; executor=2 uses two
        processes. Neither changes a number (but the times).

    Of equal medians, the one with fewer steps to the target is chosen, then the smaller rate. A run that diverged counts as
    infinitely bad; so if half of a setting's runs did, its median is infinite. An optimizer for which that is so everywhere
    is `failed`, and is run on the fresh seeds all the same.

    >>> comparison = compare(["adam"], on="quadratic-10", grid=[0.01, 0.1, 1.0], tuning_seeds=2, seeds=3, steps=200)
    >>> {name: float(round(result.best_lr, 2)) for name, result in comparison.on("quadratic-10").items()}
    {'sgd-momentum': 0.01, 'adam': 1.0}
    """
    contenders = find_contenders(optimizers, baseline)
    problems = [_shortened(problem, steps) for problem in find_problems(on)]
    rates = _checked_grid(grid)
    budget = _checked_budget(budget, len(rates))
    first, fresh = whole("tuning_seeds", tuning_seeds), whole("seeds", seeds, 2, "one run cannot say what is chance")
    start = whole("seed", seed, 0)
    numbers = {
        "tuning_seeds": tuple(range(start, start + first)),
        "seeds": tuple(range(start + first, start + first + fresh)),
    }
    parts = Parts(problems, contenders)
    parts.check(rates)
    facts = [problem.facts() for problem in problems]
    specs = [
        {**of_problem, **_of_contender(contender, rates, budget), **numbers, "numpy": np.__version__}
        for of_problem in map(_of_problem, problems)
        for contender in contenders.values()
    ]
    timed = _with_time_left(progress, [problem.cost * problem.steps for problem in facts for _ in contenders])
    found = run_trials(parts, specs, executor=executor, store=store, progress=timed)
    return Comparison(
        problems=tuple(facts),
        optimizers=tuple(contenders),
        baseline=baseline,
        grid=rates,
        budget=budget,
        results=tuple(map(result_from_json, found)),
        versions=versions(),
        **numbers,
    )


# One optimizer on one problem -----------------------------------------------------------------------------------------


class Parts:
    """What `run_trials` calls for every optimizer on every problem.

    Those of our own tables are looked up by name, so that another process needs to be sent nothing.
    """

    def __init__(self, problems: Sequence[Problem], contenders: Mapping[str, Contender]):
        self.__qualname__ = "compare"  # by which the store knows whose results it holds
        self.names = [problem.name for problem in problems], list(contenders)
        self.problems = {p.name: p for p in problems if not _ours(p)}
        self.contenders = {name: c for name, c in contenders.items() if CONTENDERS.get(name) is not c}

    def problem(self, name: str) -> Problem:
        """The problem of that name."""
        return self.problems.get(name) or PROBLEMS[name]

    def contender(self, name: str) -> Contender:
        """The optimizer of that name."""
        return self.contenders.get(name) or CONTENDERS[name]

    def check(self, rates: Sequence[float]) -> None:
        """Let every optimizer be made once for every problem, so that what cannot work fails before anything has run."""
        for problem in map(self.problem, self.names[0]):
            run = problem.begin([0])
            for contender in map(self.contender, self.names[1]):
                made(contender, run.parameters, {"lr": np.array(rates[:1])}, 1)

    def __call__(self, spec: dict[str, Any]) -> dict[str, Any]:
        """The Result that a specification asks for, as a dict."""
        problem = replace(self.problem(spec["problem"]), steps=spec["steps"])
        make, trials = self.contender(spec["optimizer"]), spec["trials"]
        tried = run_all(problem, make, trials, spec["tuning_seeds"])
        chosen = min(range(len(trials)), key=lambda i: (*_rank(tried[i]), trials[i]["lr"]))
        usual = [] if spec["default_lr"] is None else [{"lr": spec["default_lr"]}]
        tuned, *default = run_all(problem, make, [trials[chosen], *usual], spec["seeds"])
        result = Result(
            problem=spec["problem"],
            optimizer=spec["optimizer"],
            setting=spec["setting"],
            trials=tuple(Trial(runs.hyper, runs.final, runs.steps_to_target) for runs in tried),
            chosen=chosen,
            tuned=tuned,
            default=default[0] if default else None,
        )
        return asdict(result)


def run_all(problem: Problem, make: Contender, settings: Sequence[dict[str, float]], seeds: Sequence[int]) -> list[Runs]:
    """The runs of every setting on every seed, all in one batch: a Runs for each setting."""
    usual = {make.second[0]: make.second[1][1]} if make.second is not None else {}
    names = {name: None for setting in settings for name in setting}
    hyper = {name: np.repeat([{**usual, **s}[name] for s in settings], len(seeds)) for name in names}
    together = sweep(problem, make, hyper, [*seeds] * len(settings))
    return [
        Runs(
            hyper=dict(setting),
            curves=together.curves[rows],
            steps_to_target=together.steps_to_target[rows],
            ended_at=None if together.ended_at is None else together.ended_at[rows],
            seconds_per_step=together.seconds_per_step,
        )
        for setting, rows in zip(
            settings, (slice(i, i + len(seeds)) for i in range(0, len(hyper["lr"]), len(seeds))), strict=True
        )
    ]


def _rank(runs: Runs) -> tuple[float, float]:
    """What is smaller is better: the median at the end, then the median of the steps to the target."""
    return float(np.median(runs.final)), float(np.median(runs.steps_to_target))


def _of_problem(problem: Problem) -> dict[str, Any]:
    """What a specification says of a problem: all on which results depend."""
    fingerprint = problem.fingerprint()
    return {"problem": problem.name, "target": problem.target, "steps": problem.steps, "fingerprint": fingerprint}


def _of_contender(it: Contender, rates: tuple[float, ...], budget: int) -> dict[str, Any]:
    """What a specification says of an optimizer. A function of one's own is known by what its optimizer prints."""
    trials = it.trials(rates, budget)
    return {"optimizer": it.name, "setting": it.setting, "default_lr": it.default_lr, "trials": trials}


def _ours(problem: Problem) -> bool:
    """Whether a problem is one of PROBLEMS, but for its steps."""
    ours = PROBLEMS.get(problem.name)
    return ours is not None and vars(replace(problem, steps=ours.steps)) == vars(ours)


# How long it will take ------------------------------------------------------------------------------------------------


def _with_time_left(progress: Progress | None, costs: Sequence[float]) -> Callable[[int, int], None]:
    """What run_trials is to call, so that `progress` is told how long the rest will take."""
    began, known = time.perf_counter(), None

    def tell(done: int, total: int) -> None:
        nonlocal began, known
        if known is None:  # those of an earlier call, which took no time
            began, known = time.perf_counter(), done
        text = f"{done} of {total}"
        if done > known:
            left = (time.perf_counter() - began) * sum(costs[done:]) / sum(costs[known:done])
            text += f", about {_duration(left)} left" if done < total else ""
        if progress is not None:
            progress(done, total, text)

    return tell


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


# Arguments ------------------------------------------------------------------------------------------------------------


def _shortened(problem: Problem, steps: int | None) -> Problem:
    return problem if steps is None else replace(problem, steps=whole("steps", steps))


def _checked_grid(grid: Any) -> tuple[float, ...]:
    if isinstance(grid, str | Real) or not len(grid):
        raise ValueError(f"grid must list the learning rates to try, such as [0.001, 0.01, 0.1], got {grid!r}")
    for rate in grid:
        if isinstance(rate, bool) or not isinstance(rate, Real) or not 0 < float(rate) < math.inf:
            raise ValueError(f"grid: a learning rate must be a positive and finite number, got {rate!r}")
    rates = tuple(sorted(float(rate) for rate in grid))
    if len(set(rates)) < len(rates):
        raise ValueError(f"grid: {next(r for r in rates if rates.count(r) > 1)} is in it twice")
    return rates


def _checked_budget(budget: Any, rates: int) -> int:
    allowed = sorted({1, rates, 3 * rates})
    if budget is None:
        return rates
    if isinstance(budget, bool) or budget not in allowed:
        alone, more = "the default rate alone, " * (rates > 1), "s" * (rates > 1)
        raise ValueError(
            f"budget must be {', '.join(map(str, allowed[:-1]))} or {allowed[-1]} trials for a grid of {rates} rate{more} "
            f"({alone}the grid, the grid with three values of a second hyperparameter), got {budget!r}"
        )
    return int(budget)
