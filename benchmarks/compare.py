"""What `compare` finds on digits, whether it finds it again, what it costs, and what one batch of all runs saves.

    python benchmarks/compare.py [--repeats 4] [--tuning-seeds 5] [--rounds 3] [--all]

First the table of the eight usual optimizers on digits, tuned and tested as always, with its time. Then the same again with
other seeds for tuning and verdict: which of the verdicts against the baseline come back? Then the first stage of tuning, 13
rates x 5 seeds, as one batch and run by run: alone, a net is made without replicas and trained by a loop of its own. Single
runs are six of the 65, times 65 / 6, and each must end where it ends in the batch: to the bit through `sweep`, to 1e-3
without replicas, whose sums have another order. Ratios are medians over the rounds. --all adds what the suite "all" costs.

Everything runs in this process on one BLAS thread. Other programs disturb the time of the processor less than that by the
clock; both are printed where something is done once.
"""

from __future__ import annotations

import os

for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"  # before NumPy is imported

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from rich.console import Console

import tinynet as tn
from optimizers import Adam
from optimizers.landscapes import Landscape
from optimizers.trajectories import descend
from tinynet.comparison import GRID, PROBLEMS, Comparison, sweep
from tinynet.comparison.judgement import pairs_with_baseline
from tinynet.comparison.sentences import sentences, short, warnings
from tinynet.comparison.table import terminal_table

WIDTH = 118
TIMED = (0, 13, 26, 39, 52, 64)  # of the 65 runs of a first stage, from the smallest rate to the largest
STEPS = 200


def cost(function: Callable[[], Any]) -> tuple[Any, float, float]:
    """What it answers, seconds of the processor, seconds by the clock."""
    cpu, clock = time.process_time(), time.perf_counter()
    answer = function()
    return answer, time.process_time() - cpu, time.perf_counter() - clock


def show_digits(repeats: int, tuning_seeds: int) -> None:
    console = Console(width=WIDTH, color_system=None)
    verdicts: dict[str, list[str]] = {}
    for repeat in range(repeats):
        comparison, cpu, clock = cost(
            lambda seed=100 * repeat: tn.compare(on="digits", seed=seed, tuning_seeds=tuning_seeds)
        )
        if not repeat:
            table, meaning = terminal_table(comparison, "digits", WIDTH)
            for text in (table, meaning, *sentences(comparison, "digits"), *warnings(comparison, "digits")):
                console.print(text, markup=False)
            print(f"\n{trainings(comparison)} nets: {cpu:.1f} s of one processor, {clock:.1f} s by the clock\n")
        for pair in pairs_with_baseline(comparison, "digits"):
            side = "tie" if not pair.distinguishable else "lower" if pair.better else "higher"
            lr = short(comparison.result("digits", pair.optimizer).best_lr, 2)
            verdicts.setdefault(pair.optimizer, []).append(f"{side} ({lr})")
    print(f"against sgd-momentum, with other seeds each time (and the rate chosen on {tuning_seeds} of them):")
    for name, found in verdicts.items():
        print(f"  {name:<14}" + "".join(f"{verdict:<18}" for verdict in found).rstrip())


def trainings(comparison: Comparison) -> int:
    """How many runs it took."""
    runs = [runs for result in comparison.results for runs in (result.tuned, result.default) if runs is not None]
    trials = [trial for result in comparison.results for trial in result.trials]
    return sum(len(trial.losses) for trial in trials) + sum(len(of.final) for of in runs)


# One batch or one by one --------------------------------------------------------------------------------------------------


def alone(problem: Any, lr: float, seed: int) -> float:
    """One run without anything of sweep.py: a walk, or a net without replicas whose step is captured."""
    if hasattr(problem, "landscape"):
        landscape: Landscape = problem.landscape
        start = np.random.default_rng(seed).uniform(*np.array(problem.box or landscape.bounds).T)
        walk = descend(landscape, lambda parameters: Adam(parameters, lr=lr), problem.steps, start)
        return float(walk.values[-1] - landscape.minimum)
    (x, y), validation = problem.data()
    model = tn.MLP(problem.sizes, problem.activation, seed=seed)
    optimizer = Adam(model.named_parameters(), lr=lr)

    @tn.capture
    def step(x: np.ndarray, y: np.ndarray) -> None:
        optimizer.zero_grad()
        tn.cross_entropy(model(x), y).backward()
        optimizer.step()

    size, batches = problem.batch_size, len(x) // problem.batch_size
    for k in range(problem.steps):
        epoch, batch = divmod(k, batches)
        if batch == 0:
            order = np.random.default_rng((seed, epoch + 1)).permutation(len(x))
        chosen = order[batch * size : (batch + 1) * size]
        step(x[chosen], y[chosen])
        if (k + 1) % problem.every == 0:
            found = tn.cross_entropy(tn.predict(model, validation[0]), validation[1]).item()
    return float(found)


def times_of(problem: Any, rounds: int) -> list[tuple[float, float, float]]:
    """Seconds of each round: all runs as one batch, one by one through `sweep`, one by one without it."""
    rates, seeds, times = np.repeat(GRID, 5), [*range(5)] * len(GRID), []
    sweep(problem, Adam, {"lr": rates[:2]}, seeds[:2])  # what is done once only
    for _ in range(rounds):
        many, batch, _ = cost(lambda: sweep(problem, Adam, {"lr": rates}, seeds))
        ones, by_sweep, _ = cost(lambda: [sweep(problem, Adam, {"lr": rates[i : i + 1]}, [seeds[i]]) for i in TIMED])
        ends, by_loop, _ = cost(lambda: [alone(problem, float(rates[i]), seeds[i]) for i in TIMED])
        for i, one, end in zip(TIMED, ones, ends, strict=True):
            np.testing.assert_array_equal(one.curves[0], many.curves[i])
            np.testing.assert_allclose(end, many.final[i], rtol=1e-3, atol=1e-11)
        times.append((batch, by_sweep * 65 / 6, by_loop * 65 / 6))
    return times


def show_batches(rounds: int) -> None:
    print(f"\n{len(GRID)} rates x 5 seeds of Adam, {STEPS} steps, {rounds} rounds; one by one: six of them, times 65 / 6")
    for name in ("moons", "digits", "rosenbrock"):
        times = times_of(replace(PROBLEMS[name], steps=STEPS), rounds)
        batch, by_sweep, by_loop = (statistics.median(column) for column in zip(*times, strict=True))
        ratio = statistics.median(loop / together for together, _, loop in times)
        print(
            f"  {name:<11} one batch {batch:5.2f} s   one by one {by_loop:5.2f} s ({by_sweep:.2f} s through sweep)   "
            f"{ratio:.1f} times as long"
        )


def show_all() -> None:
    comparison, cpu, clock = cost(lambda: tn.compare(on="all"))
    print(
        f"\nthe suite 'all', {len(comparison.problems)} problems, {trainings(comparison)} runs: "
        f"{cpu:.0f} s of one processor, {clock:.0f} s by the clock"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=4, help="times that digits are compared, each with seeds of its own")
    parser.add_argument("--tuning-seeds", type=int, default=5, help="on which every rate is tried")
    parser.add_argument("--rounds", type=int, default=3, help="of timing the batch")
    parser.add_argument("--all", action="store_true", help="also compare on the suite 'all', which takes minutes")
    arguments = parser.parse_args()
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, one BLAS thread\n")
    show_digits(arguments.repeats, arguments.tuning_seeds)
    show_batches(arguments.rounds)
    if arguments.all:
        show_all()


if __name__ == "__main__":
    main()
