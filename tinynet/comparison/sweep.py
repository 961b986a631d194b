"""Many runs of one optimizer at once: all rates and all seeds are one batch dimension.

Every rule treats a run's numbers by themselves, so R runs are one optimizer with R rates over R replicas
(optimizers/replicas.py). A run that diverges is frozen, and no bit of the others depends on it: each is what it would be
alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinynet.comparison.problems import Problem
from tinynet.comparison.results import Runs


def sweep(problem: Problem, make: Callable, hyper: Mapping[str, Any], seeds: Sequence[int]) -> Runs:
    """Run R runs of `problem` at once, run r with the r-th of each hyperparameter and of the seeds.

    make: an optimizer's class, or any function (parameters, **hyper) -> optimizer.
    hyper: arrays [R], of which lr is one.

    A run has diverged when a gradient, or the metric where it is measured, is not finite; from then on its curve is inf. A
    run whose loss only grows has not. The answer's `hyper` is empty, since the runs may differ in theirs.

    >>> from optimizers import SGD
    >>> from tinynet.comparison.problems import PROBLEMS
    >>> runs = sweep(PROBLEMS["quadratic-10"], SGD, {"lr": np.array([0.1, 0.05, 1e4])}, [0, 0, 0])
    >>> runs.steps_to_target, runs.diverged
    (array([37., 76., inf]), array([False, False,  True]))
    """
    runs = problem.begin(seeds)
    optimizer = made(make, runs.parameters, hyper, len(seeds))
    book = Book(problem, optimizer, len(seeds))
    seconds, done = 0.0, 0
    with np.errstate(all="ignore"):  # overflow is what a run that diverges ends with
        book.note(0, runs.measure())
        while done < problem.steps and not book.lost.all():
            began = time.perf_counter()
            runs.step(optimizer, done)
            seconds += time.perf_counter() - began
            done += 1
            if done % problem.looks_every == 0 or done == problem.steps:
                optimizer.eval()
                book.note(done, runs.measure())
                optimizer.train()
        optimizer.eval()
        places = runs.places()
    return Runs({}, book.curves, book.steps_to_target, places, seconds / max(done, 1) / len(seeds))


def made(make: Callable, parameters: Any, hyper: Mapping[str, Any], replicas: int) -> Any:
    """An optimizer of many runs at once, in which those that diverge stay where they are."""
    optimizer = make(parameters, **hyper)
    if getattr(optimizer, "replicas", None) != replicas:
        raise ValueError(
            f"{type(optimizer).__name__} was given an array of {replicas} rates and does not have them: the function that "
            "makes it must pass on its lr, as lambda params, lr: Adam(params, lr) does"
        )
    optimizer.on_nonfinite = "freeze"
    return optimizer


class Book:
    """What is written down of R runs: curves [R, E], steps to the target [R], and which are lost [R]."""

    def __init__(self, problem: Problem, optimizer: Any, replicas: int):
        self.target = problem.target
        self.optimizer = optimizer
        self.column = {step: e for e, step in enumerate(problem.measured_at)}
        self.curves = np.full((replicas, len(self.column)), np.inf)
        self.steps_to_target = np.full(replicas, np.inf)
        self.lost = np.zeros(replicas, bool)

    def note(self, step: int, values: np.ndarray) -> None:
        """Write down the metric [R] after so many steps."""
        self.lost |= ~np.isfinite(values) | self.optimizer.frozen
        values = np.where(self.lost, np.inf, values)
        arrived = (values <= self.target) & np.isinf(self.steps_to_target)
        self.steps_to_target[arrived] = step
        if step in self.column:
            self.curves[:, self.column[step]] = values
