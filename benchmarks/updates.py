"""What one step of an optimizer costs: ours against PyTorch's, and against NumPy tensor by tensor.

    python benchmarks/updates.py [--rounds 15] [--sizes 10,100,1000]

20 tensors, ten weights [w, w] and ten biases [w], in float32 and on one thread; w = 10, 100, 1000 are 1,100, 101,000 and
10,010,000 numbers. The gradients are in place already and stay the same, so that nothing but `step()` is timed. PyTorch's
are its default (foreach=False), foreach=True and fused=True, if torch is installed; "by tensor" is the formula of the
paper in plain NumPy, one tensor after the other. All start from the same numbers, and after the first round must have come
to the same, to 1e-5. They are timed in turn, in an order drawn anew in each round, in time of the processor, which other
programs disturb less. The figures are medians over the rounds, ratios the medians of those in the same round: so many times
longer than ours.
"""

from __future__ import annotations

import os

for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"  # before NumPy is imported

import argparse
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path[0] = str(Path(__file__).parent.parent)  # not this folder, whose optimizers.py would hide the package

import numpy as np

import optimizers
import tinynet as tn

try:
    import torch

    torch.set_num_threads(1)
except ImportError:
    torch = None

KINDS = {
    "Adam": {"lr": 1e-3},
    "SGD": {"lr": 1e-3, "momentum": 0.9},
    "RMSprop": {"lr": 1e-3},
}
Variant = tuple[Callable[[], object], Callable[[], list[np.ndarray]]]  # (one step, the parameters)


def tensors(width: int, seed: int) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.standard_normal(shape, dtype=np.float32) for shape in [(width, width), (width,)] * 10]


def ours(kind: str, width: int) -> Variant:
    parameters = [tn.Parameter(data) for data in tensors(width, 0)]
    optimizer = getattr(optimizers, kind)(parameters, **KINDS[kind])
    for p, g in zip(parameters, tensors(width, 1), strict=True):
        p.grad = p.grad_buffer
        p.grad[...] = g
    return optimizer.step, lambda: [p.data for p in parameters]


def pytorch(kind: str, width: int, **how: bool) -> Variant:
    parameters = [torch.nn.Parameter(torch.from_numpy(data)) for data in tensors(width, 0)]
    for p, g in zip(parameters, tensors(width, 1), strict=True):
        p.grad = torch.from_numpy(g)
    optimizer = getattr(torch.optim, kind)(parameters, **KINDS[kind], **how)
    return optimizer.step, lambda: [p.detach().numpy() for p in parameters]


def by_tensor(kind: str, width: int) -> Variant:
    parameters, grads = tensors(width, 0), tensors(width, 1)
    m, v = ([np.zeros_like(p) for p in parameters] for _ in range(2))
    lr, t = np.float32(KINDS[kind]["lr"]), 0

    def adam(i: int, g: np.ndarray) -> np.ndarray:
        m[i] = 0.9 * m[i] + (1 - 0.9) * g
        v[i] = 0.999 * v[i] + (1 - 0.999) * g**2
        return lr * (m[i] / (1 - 0.9**t)) / (np.sqrt(v[i] / (1 - 0.999**t)) + 1e-8)

    def sgd(i: int, g: np.ndarray) -> np.ndarray:
        m[i] = 0.9 * m[i] + g
        return lr * m[i]

    def rmsprop(i: int, g: np.ndarray) -> np.ndarray:
        v[i] = 0.99 * v[i] + (1 - 0.99) * g**2
        return lr * g / (np.sqrt(v[i]) + 1e-8)

    update = {"Adam": adam, "SGD": sgd, "RMSprop": rmsprop}[kind]

    def step() -> None:
        nonlocal t
        t += 1
        for i, g in enumerate(grads):
            parameters[i] = parameters[i] - update(i, g)

    return step, lambda: parameters


def variants(kind: str, width: int) -> dict[str, Variant]:
    found = {"ours": ours(kind, width), "by tensor": by_tensor(kind, width)}
    if torch is None:
        return found
    found["torch default"] = pytorch(kind, width, foreach=False)
    found["foreach"] = pytorch(kind, width, foreach=True)
    if kind != "RMSprop":  # which has no fused form
        found["fused"] = pytorch(kind, width, fused=True)
    return found


def compare(kind: str, found: dict[str, Variant]) -> None:
    """Raise if a variant is not where ours is."""
    expected = found["ours"][1]()
    for name, (_, parameters) in found.items():
        for a, b in zip(parameters(), expected, strict=True):
            assert np.allclose(a, b, rtol=1e-5, atol=1e-5), f"{kind}: {name} is elsewhere, by {np.abs(a - b).max():.1e}"


def measured(kind: str, width: int, rounds: int) -> dict[str, list[float]]:
    """Seconds per step in each round, for each variant."""
    found = variants(kind, width)
    steps = max(2, min(500, 4_000_000 // (10 * width * width)))
    times: dict[str, list[float]] = {name: [] for name in found}
    order, generator = list(found), random.Random(0)
    for lap in range(rounds + 1):
        generator.shuffle(order)
        for name in order:
            step = found[name][0]
            start = time.process_time()
            for _ in range(steps):
                step()
            times[name].append((time.process_time() - start) / steps)
        if not lap:
            compare(kind, found)  # later, thousands of roundings of float32 have added up
    return {name: seconds[1:] for name, seconds in times.items()}  # the first round warms up


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--sizes", default="10,100,1000", help="widths w of the weights [w, w]")
    arguments = parser.parse_args()
    there = torch.__version__ if torch else "not there"
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, torch {there}, {arguments.rounds} rounds\n")
    columns = ["by tensor", *(["torch default", "foreach", "fused"] if torch else [])]
    row("step of", "numbers", "ours", columns)
    print("|---|---|---|" + "---|" * len(columns))
    # The small ones first: once arrays of 40 MB were freed, C's memory may go back to the system in each step.
    for width in sorted(map(int, arguments.sizes.split(","))):
        for kind, options in KINDS.items():
            times = measured(kind, width, arguments.rounds)
            own = statistics.median(times["ours"])
            ratios = {
                name: statistics.median(a / b for a, b in zip(seconds, times["ours"], strict=True))
                for name, seconds in times.items()
            }
            row(
                f"{kind} momentum" if "momentum" in options else kind,
                f"{10 * width * (width + 1):,}",
                f"{own * 1e6:.0f} us" if own < 1e-3 else f"{own * 1e3:.1f} ms",
                [f"{ratios[name]:.2f}x" if name in ratios else "" for name in columns],
            )


def row(kind: str, numbers: str, own: str, others: list[str]) -> None:
    print(f"| {kind:12} | {numbers:>10} | {own:>7} |" + "|".join(f" {other:>13} " for other in others) + "|")


if __name__ == "__main__":
    main()
