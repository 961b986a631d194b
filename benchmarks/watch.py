"""What watching a training costs: the same training steps, watched every tenth, hundredth or not at all.

    python benchmarks/watch.py [--rounds 25]

The step is that of `fit`: batches of 64, 784-128-64-10, ReLU, cross-entropy, Adam, float32, one BLAS thread; captured as
`fit` does it, and as written. Recorded are, on disk, the layers' norms and outputs, and rho, which takes a forward pass
more. The trainings take turns, block by block, and count the processor's time of this process, so that a busy machine
slows down all of them; the figures are medians over the rounds. Last comes what val_loss.npy costs: an evaluation of 360
and of 10,000 examples with and without keeping the loss of each.
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
from collections.abc import Callable

import numpy as np

import tinynet as tn
from monitor import Recorder
from optimizers import Adam
from tinynet import training
from tinynet.capture import capture

SIZES, BATCH, STEPS = [784, 128, 64, 10], 64, 100  # STEPS of each training are timed together


def block(root: str, every: int | None, captured: bool) -> Callable[[], None]:
    """A function that goes on with a training for STEPS steps, watched every so many of them."""
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((BATCH, SIZES[0]), dtype=np.float32), generator.integers(0, SIZES[-1], BATCH)
    model = tn.MLP(SIZES, seed=0)
    optimizer = Adam(model.parameters(), 1e-5)
    recorder = Recorder(root)
    if every is not None:
        recorder.watch(model, every=every)

    def step(x: np.ndarray, y: np.ndarray) -> tn.Tensor:
        optimizer.zero_grad()
        loss = tn.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    def again(x: np.ndarray, y: np.ndarray) -> tn.Tensor:
        with tn.no_grad():
            return tn.cross_entropy(model(x), y)

    going = training.Training(model, optimizer, recorder, epochs=1, batches=10**9)
    fast = capture(step) if captured else step

    def run() -> None:
        data = ((x, y) for _ in range(going.step + STEPS))  # those before going.step are passed over, as in a resumed epoch
        training._train_epoch(going, fast, again, data, lambda: None)

    return run


def medians(functions: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Milliseconds of each, and of every other as a ratio to the first: medians of what one round shows."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(rounds + 2):
        for name, function in functions.items():
            start = time.process_time()
            function()
            if turn >= 2:  # before, steps are recorded
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
            blocks = {str(every): block(root, every, captured) for every in (None, 100, 10, 1)}
            found = medians(blocks, rounds)
            print(f"{'captured' if captured else 'as written':<12}{found[''] / STEPS * 1e3:>7.0f} us a step, not watched")
            for every in (100, 10, 1):
                print(f"{'':<12}{found[str(every)] - 1:>+10.1%} watched every {every}")
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
