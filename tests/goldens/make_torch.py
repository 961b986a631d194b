"""Records how PyTorch's optimizers move, for tests that then need no PyTorch.

    python tests/goldens/make_torch.py           # writes torch_optimizers.npz beside this file
    python tests/goldens/make_torch.py --seed 1  # the same with other gradients (the tests read the seed from the file)

It needs NumPy and torch. The file holds one array [case of CASES, step of RECORDED, parameter], float64, with the
parameters side by side; and, as JSON in the entry "about", the seed, the cases, the versions and a checksum of the
gradients. The gradients themselves are made again from the seed, exactly, by `gradients` (no function whose last bit
differs between machines or versions of NumPy is used).

The experiment: 1000 steps; two groups, of which the second has a learning rate three times as large; the learning rates are
multiplied by 0.1 before step 334; weight_decay, where there is one, is multiplied by 3 before step 667; every gradient of
step 30 is zero; the second parameter has no gradient in every 9th step. The gradients' sizes run from 1e-6 to 64, they
keep their signs for three steps or so, and one entry in ten is zero.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("torch_optimizers.npz")
SHAPES = [(3, 2), (5,), (), (1,)]
STEPS, SLOWER, HEAVIER = 1000, 334, 667  # how many, and before which the learning rate and the decay change
RECORDED = [1, 2, 10, 100, 333, 334, 500, 667, 1000]
CASES = {
    "sgd": ("SGD", {"lr": 0.01}),
    "sgd_decay": ("SGD", {"lr": 0.01, "weight_decay": 0.1}),
    "sgd_momentum": ("SGD", {"lr": 0.01, "momentum": 0.9}),
    "sgd_momentum_decay": ("SGD", {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1}),
    "sgd_dampening": ("SGD", {"lr": 0.01, "momentum": 0.8, "dampening": 0.5}),
    "sgd_dampening_decay": ("SGD", {"lr": 0.01, "momentum": 0.8, "dampening": 0.8, "weight_decay": 0.1}),
    "sgd_nesterov": ("SGD", {"lr": 0.01, "momentum": 0.9, "nesterov": True}),
    "sgd_nesterov_decay": ("SGD", {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    "adagrad": ("Adagrad", {"lr": 0.01}),
    "adagrad_lr_decay": ("Adagrad", {"lr": 0.01, "lr_decay": 0.01}),
    "adagrad_start": ("Adagrad", {"lr": 0.01, "initial_accumulator_value": 0.1, "eps": 1e-4}),
    "adagrad_decay": ("Adagrad", {"lr": 0.01, "weight_decay": 0.1}),
    "adadelta": ("Adadelta", {"lr": 1.0}),
    "adadelta_rho": ("Adadelta", {"lr": 0.5, "rho": 0.95, "eps": 1e-4}),
    "adadelta_decay": ("Adadelta", {"lr": 1.0, "weight_decay": 0.1}),
    "rmsprop": ("RMSprop", {"lr": 0.01}),
    "rmsprop_alpha": ("RMSprop", {"lr": 0.01, "alpha": 0.9, "eps": 1e-3}),
    "rmsprop_centered": ("RMSprop", {"lr": 0.01, "centered": True, "eps": 1e-6}),
    "rmsprop_momentum": ("RMSprop", {"lr": 0.01, "momentum": 0.9}),
    "rmsprop_all": ("RMSprop", {"lr": 0.01, "momentum": 0.8, "centered": True, "weight_decay": 0.1}),
    "adam": ("Adam", {"lr": 0.001}),
    "adam_decay": ("Adam", {"lr": 0.01, "weight_decay": 0.1}),
    "adam_betas": ("Adam", {"lr": 0.01, "betas": (0.5, 0.95)}),
    "adam_no_momentum": ("Adam", {"lr": 0.01, "betas": (0.0, 0.9)}),
    "adam_eps": ("Adam", {"lr": 0.01, "eps": 0.01}),
    "amsgrad": ("Adam", {"lr": 0.01, "betas": (0.9, 0.95), "amsgrad": True}),
    "amsgrad_decay": ("Adam", {"lr": 0.01, "amsgrad": True, "weight_decay": 0.1}),
    "adamw": ("AdamW", {"lr": 0.001}),
    "adamw_decay": ("AdamW", {"lr": 0.01, "weight_decay": 0.3}),
    "adamw_betas": ("AdamW", {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-4, "weight_decay": 0.1}),
    "adamw_amsgrad": ("AdamW", {"lr": 0.01, "betas": (0.8, 0.9), "amsgrad": True, "weight_decay": 0.1}),
    "adamax": ("Adamax", {"lr": 0.002}),
    "adamax_betas": ("Adamax", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-4}),
    "adamax_decay": ("Adamax", {"lr": 0.01, "weight_decay": 0.1}),
    "nadam": ("NAdam", {"lr": 0.002}),
    "nadam_betas": ("NAdam", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-4}),
    "nadam_momentum_decay": ("NAdam", {"lr": 0.01, "momentum_decay": 0.1}),
    "nadam_decay": ("NAdam", {"lr": 0.01, "weight_decay": 0.1}),
    "nadam_decoupled": ("NAdam", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    "radam": ("RAdam", {"lr": 0.001}),
    "radam_betas": ("RAdam", {"lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-4}),
    "radam_never_rectified": ("RAdam", {"lr": 0.01, "betas": (0.9, 0.6)}),
    "radam_decay": ("RAdam", {"lr": 0.01, "weight_decay": 0.1}),
    "radam_decoupled": ("RAdam", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    "rprop": ("Rprop", {"lr": 0.01}),
    "rprop_etas": ("Rprop", {"lr": 0.01, "etas": (0.3, 1.5), "step_sizes": (1e-4, 0.5)}),
}


def uniform(seed: int, n: int) -> np.ndarray:
    """n numbers in [0, 1): the top 53 bits of a generator whose output never changes."""
    return (np.random.PCG64(seed).random_raw(n) >> np.uint64(11)) * 2.0**-53


def start(seed: int) -> list[np.ndarray]:
    """The parameters before the first step, in [-1, 1)."""
    return split(2 * uniform(seed, size()) - 1)


def gradients(seed: int) -> list[list[np.ndarray | None]]:
    """The gradient of each parameter at each step."""

    def draw(which: int) -> np.ndarray:
        return uniform(seed + which, STEPS * size()).reshape(STEPS, -1)

    exponents = np.floor(uniform(seed + 1, size()) * 27).astype(int) - 20  # 2^-20 to 2^6: each entry of a size of its own
    flips = np.cumsum(draw(4) < 0.3, axis=0)
    values = np.ldexp(np.where(flips % 2, 1, -1) * draw(2), exponents)
    values[draw(3) < 0.1] = 0.0
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


def groups(parameters: list, lr: float) -> list[dict]:
    """The two groups of the experiment."""
    return [{"params": parameters[:2]}, {"params": parameters[2:], "lr": 3 * lr}]


def run(optimizer, parameters, grads, as_gradient=lambda g: g, read=lambda p: p.data) -> np.ndarray:
    """The experiment of this file's docstring, with any optimizer that has param_groups: the recorded rows."""
    rows = []
    for k, row in enumerate(grads, start=1):
        for group in optimizer.param_groups:
            if k == SLOWER:
                group["lr"] *= 0.1
            if k == HEAVIER and "weight_decay" in group:
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
    optimizer = getattr(torch.optim, kind)(groups(parameters, options["lr"]), foreach=False, **options)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # what NAdam keeps beside the parameters has the default dtype
    try:
        return run(
            optimizer,
            parameters,
            gradients(seed),
            as_gradient=lambda g: torch.tensor(g, dtype=getattr(torch, dtype)),
            read=lambda p: p.detach().numpy(),
        )
    finally:
        torch.set_default_dtype(before)


def main() -> None:
    """Write the file."""
    import torch

    parser = argparse.ArgumentParser(description="Record PyTorch's optimizers")
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    versions = {"torch": torch.__version__, "numpy": np.__version__, "python": sys.version.split()[0]}
    about = {"seed": seed, "checksum": checksum(seed), "recorded": RECORDED, "versions": versions, "cases": CASES}
    rows = np.stack([run_torch(case, seed) for case in CASES])
    np.savez_compressed(FILE, about=np.array(json.dumps(about)), rows=rows)
    print(f"{FILE.name}: {len(CASES)} cases, {FILE.stat().st_size / 1024:.0f} KB, made with {versions}")


if __name__ == "__main__":
    main()
