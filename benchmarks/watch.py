"""What watching a training costs: the same training steps, watched every tenth, hundredth or not at all.

    python benchmarks/watch.py [--rounds 25]

The step is that of `fit`: batches of 64, 784-128-64-10, ReLU, cross-entropy, Adam, float32, one BLAS thread; captured as
`fit` does it, and as written. Recorded are, on disk, the layers' norms and outputs, and rho, as often as a watcher does
when the first steps are over. One training goes on and on, and the ways to watch it take turns, block by block, so that
they share its arrays (where these lie in memory makes a difference of one per cent) and a busy machine slows down all of
them. The processor's time of this process counts; the figures are medians over the rounds. Last comes what val_loss.npy
costs: an evaluation of 360 and of 10,000 examples with and without keeping the loss of each.
"""

from __future__ import annotations

import os

for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"  # before NumPy is imported

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np

import tinynet as tn
from monitor import Recorder
from monitor.watch import Watcher
from optimizers import Adam
from tinynet import training
from tinynet.capture import Captured
from tinynet.watched import Inside

SIZES, BATCH, STEPS = [784, 128, 64, 10], 64, 100  # STEPS are timed together
EVERY = (100, 10, 1)
WARM = 15  # rounds that are not counted: steps are recorded, and rho is measured more often


@contextmanager
def blocks(root: str, captured: bool) -> Iterator[dict[str, Callable[[], None]]]:
    """Functions that go on with one training for STEPS steps, not watched or watched every so many of them."""
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((BATCH, SIZES[0]), dtype=np.float32), generator.integers(0, SIZES[-1], BATCH)
    model, recorder = tn.MLP(SIZES, seed=0), Recorder(root)
    optimizer = Adam(model.parameters(), 1e-5)
    watchers = {str(every): [recorder.watch(model, every=every)] for every in EVERY}
    inside = Inside(model, tn.cross_entropy)
    step = training._step(model, tn.cross_entropy, optimizer, inside)
    going = training.Training(model, optimizer, recorder, epochs=1, batches=10**9)
    step = Captured(step) if captured else step

    def run(watchers: list[Watcher]) -> None:
        recorder.watchers = watchers
        data = ((x, y) for _ in range(going.step + STEPS))  # those before going.step are passed over, as in a resumed epoch
        training._train_epoch(going, step, inside, data, lambda: None)

    with inside.watched_by(recorder.watchers, step):
        yield {every: partial(run, found) for every, found in {"never": [], **watchers}.items()}
    if np.isnan(recorder.run.layers("act_std")[2]).any():  # then this measures something else
        raise RuntimeError("the outputs of a layer were not recorded")


def medians(functions: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Milliseconds of each, and of every other as a ratio to the first: medians of what one round shows."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(rounds + WARM):
        for name, function in functions.items():
            start = time.process_time()
            function()
            if turn >= WARM:
                times[name].append((time.process_time() - start) * 1e3)
    first = times[next(iter(times))]
    return {name: statistics.median(a / b for a, b in zip(ts, first, strict=True)) for name, ts in times.items()} | {
        "": statistics.median(first)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25)
    rounds = parser.parse_args().rounds
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, one BLAS thread, {rounds} interleaved rounds\n")
    with tempfile.TemporaryDirectory() as root:
        for captured in (True, False):
            with blocks(root, captured) as functions:
                found = medians(functions, rounds)
            print(f"{'captured' if captured else 'as written':<12}{found[''] / STEPS * 1e3:>7.0f} us a step, not watched")
            for every in EVERY:
                more = found[str(every)] - 1
                each = more * every * found[""] / STEPS * 1e3
                print(f"{'':<12}{more:>+10.1%} watched every {every:<4}{each:>7.0f} us for each watched step")
        for n in (360, 10_000):
            print(f"val_loss.npy, {n:>6} examples: {keeping(root, n, rounds)}")


def keeping(root: str, n: int, rounds: int) -> str:
    """What keeping every example's loss adds to the evaluation of the validation data."""
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((n, SIZES[0]), dtype=np.float32), generator.integers(0, SIZES[-1], n)
    model, recorder = tn.MLP(SIZES, seed=0), Recorder(root)

    def evaluate() -> None:
        training._scores(tn.predict(model, x), y, tn.cross_entropy, {})

    outputs = tn.predict(model, x)

    def keep() -> None:
        recorder.log_val_losses(training._losses(outputs, y, tn.cross_entropy), 0)

    found = medians({"evaluate": evaluate, "keep": keep}, rounds)
    return f"{found['keep']:.1%} of an evaluation of {found['']:.2f} ms"


if __name__ == "__main__":
    main()
