"""Records how PyTorch's SGD, Adam and AdamW move, for tests that then need no PyTorch.

    python tests/goldens/make_torch.py           # writes torch_optimizers.npz beside this file
    python tests/goldens/make_torch.py --seed 1  # the same with other gradients (the tests read the seed from the file)

It needs NumPy and torch. The file holds a trajectory per case of CASES, float64, one row for each step of RECORDED and the
parameters side by side in it; and, as JSON in the entry "about", the seed, the cases, the versions and a checksum of the
gradients. The gradients themselves are made again from the seed, exactly, by `gradients` (no function whose last bit
differs between machines or versions of NumPy is used).

The experiment: 200 steps; the learning rate is multiplied by 0.1 before step 67; weight_decay, where there is one, is
multiplied by 3 before step 134; every gradient of step 30 is zero; the second parameter has no gradient in every 9th step.
The sizes of the gradients run from 1e-3 to 64, and one entry in ten is zero.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("torch_optimizers.npz")
SHAPES = [(7, 5), (5,), (), (1,)]
STEPS = 200
RECORDED = [1, 2, 10, 50, 66, 67, 100, 133, 134, 150, 200]
CASES = {
    "sgd": ("SGD", {"lr": 0.01}),
    "sgd_decay": ("SGD", {"lr": 0.01, "weight_decay": 0.1}),
    "sgd_momentum": ("SGD", {"lr": 0.01, "momentum": 0.9}),
    "sgd_momentum_decay": ("SGD", {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1}),
    "sgd_dampening": ("SGD", {"lr": 0.01, "momentum": 0.8, "dampening": 0.5}),
    "sgd_dampening_decay": ("SGD", {"lr": 0.01, "momentum": 0.8, "dampening": 0.8, "weight_decay": 0.1}),
    "sgd_nesterov": ("SGD", {"lr": 0.01, "momentum": 0.9, "nesterov": True}),
    "sgd_nesterov_decay": ("SGD", {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    "adam": ("Adam", {"lr": 0.001}),
    "adam_decay": ("Adam", {"lr": 0.01, "weight_decay": 0.1}),
    "adam_betas": ("Adam", {"lr": 0.01, "betas": (0.5, 0.95)}),
    "adam_no_momentum": ("Adam", {"lr": 0.01, "betas": (0.0, 0.9)}),
    "adam_eps": ("Adam", {"lr": 0.01, "eps": 0.01}),
    "adamw": ("AdamW", {"lr": 0.001}),
    "adamw_decay": ("AdamW", {"lr": 0.01, "weight_decay": 0.3}),
    "adamw_betas": ("AdamW", {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-4, "weight_decay": 0.1}),
}


def uniform(seed: int, n: int) -> np.ndarray:
    """n numbers in [0, 1): the top 53 bits of a generator whose output never changes."""
    return (np.random.PCG64(seed).random_raw(n) >> np.uint64(11)) * 2.0**-53


def start(seed: int) -> list[np.ndarray]:
    """The parameters before the first step, in [-1, 1)."""
    return split(2 * uniform(seed, size()) - 1)


def gradients(seed: int) -> list[list[np.ndarray | None]]:
    """The gradient of each parameter at each step."""
    exponents = np.floor(uniform(seed + 1, size()) * 17).astype(int) - 10  # 2^-10 to 2^6: each entry of a size of its own
    values = np.ldexp((2 * uniform(seed + 2, STEPS * size()) - 1).reshape(STEPS, -1), exponents)
    values[uniform(seed + 3, STEPS * size()).reshape(STEPS, -1) < 0.1] = 0.0
    values[29] = 0.0
    steps: list[list[np.ndarray | None]] = [list(split(row)) for row in values]
    for k in range(8, STEPS, 9):
        steps[k][1] = None
    return steps


def size() -> int:
    return sum(int(np.prod(shape)) for shape in SHAPES)


def split(flat: np.ndarray) -> list[np.ndarray]:
    ends = np.cumsum([int(np.prod(shape)) for shape in SHAPES])[:-1]
    return [part.reshape(shape).copy() for part, shape in zip(np.split(flat, ends), SHAPES, strict=True)]


def flatten(arrays: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.ravel(a) for a in arrays])


def checksum(seed: int) -> float:
    """Tells whether the numbers made today are those that were recorded (fsum: in whatever order they are added)."""
    rows = [start(seed), *([g for g in row if g is not None] for row in gradients(seed))]
    return math.fsum(float(x) * i for i, row in enumerate(rows, start=1) for x in flatten(row))


def run(optimizer, parameters, grads, as_gradient=lambda g: g, read=lambda p: p.data) -> np.ndarray:
    """The experiment of this file's docstring, with any optimizer that has param_groups: the recorded rows."""
    rows = []
    for k, row in enumerate(grads, start=1):
        for group in optimizer.param_groups:
            if k == 67:
                group["lr"] *= 0.1
            if k == 134:
                group["weight_decay"] *= 3
        for p, g in zip(parameters, row, strict=True):
            p.grad = None if g is None else as_gradient(g)
        optimizer.step()
        if k in RECORDED:
            rows.append(flatten([np.array(read(p)) for p in parameters]))
    return np.stack(rows)


def run_torch(case: str, seed: int, dtype: str = "float64") -> np.ndarray:
    """The rows of a case by PyTorch's plain loop (foreach=False), the one that its documentation writes down."""
    import torch

    kind, options = CASES[case]
    parameters = [torch.tensor(p, dtype=getattr(torch, dtype), requires_grad=True) for p in start(seed)]
    optimizer = getattr(torch.optim, kind)(parameters, foreach=False, **options)
    return run(
        optimizer,
        parameters,
        gradients(seed),
        as_gradient=lambda g: torch.tensor(g, dtype=getattr(torch, dtype)),
        read=lambda p: p.detach().numpy(),
    )


def main() -> None:
    """Write the file."""
    import torch

    parser = argparse.ArgumentParser(description="Record PyTorch's optimizers")
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    versions = {"torch": torch.__version__, "numpy": np.__version__, "python": sys.version.split()[0]}
    about = {"seed": seed, "checksum": checksum(seed), "recorded": RECORDED, "versions": versions, "cases": CASES}
    np.savez(FILE, about=np.array(json.dumps(about)), **{case: run_torch(case, seed) for case in CASES})
    print(f"{FILE.name}: {len(CASES)} cases, {FILE.stat().st_size / 1024:.0f} KB, made with {versions}")


if __name__ == "__main__":
    main()
