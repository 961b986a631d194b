"""Records the learning rates of PyTorch's schedulers, for tests that then need no PyTorch.

    python tests/goldens/make_schedules.py            # writes schedules.json beside this file
    python tests/goldens/make_schedules.py --check    # exit status 1 and a sentence per difference, if there is any

It needs torch. The file holds the version and, per case, the scheduler, its arguments and the learning rate (and momentum,
where the scheduler cycles it) after k = 0, 1, 2, ... steps, from three times as far as the scheduler runs. A scheduler that
raises on the way ends its list there. The optimizer is SGD with lr = 0.3 and momentum = 0.9.
"""

from __future__ import annotations

import json
import math
import sys
import warnings
from pathlib import Path

FILE = Path(__file__).with_name("schedules.json")
LR, MOMENTUM = 0.3, 0.9

# name: (scheduler, arguments, steps); a scheduler among the arguments is such a (scheduler, arguments) too
WARM, FALL = ("LinearLR", {"start_factor": 0.25, "total_iters": 4}), ("CosineAnnealingLR", {"T_max": 8})
TAIL = ("ConstantLR", {"factor": 0.5, "total_iters": 3})
CASES = {
    "step": ("StepLR", {"step_size": 3, "gamma": 0.5}, 30),
    "step of one": ("StepLR", {"step_size": 1}, 10),
    "multi-step": ("MultiStepLR", {"milestones": [3, 7, 12]}, 36),
    "multi-step, unsorted, twice and at 0": ("MultiStepLR", {"milestones": [5, 0, 2, 2], "gamma": 0.5}, 15),
    "exponential": ("ExponentialLR", {"gamma": 0.9}, 60),
    "constant": ("ConstantLR", {}, 15),
    "constant of 4": ("ConstantLR", {"factor": 0.2, "total_iters": 4}, 12),
    "linear": ("LinearLR", {}, 15),
    "linear, falling": ("LinearLR", {"start_factor": 1.0, "end_factor": 0.1, "total_iters": 7}, 21),
    "polynomial": ("PolynomialLR", {"total_iters": 9, "power": 0.9}, 27),
    "polynomial, a line": ("PolynomialLR", {}, 15),
    "cosine": ("CosineAnnealingLR", {"T_max": 10}, 60),
    "cosine to 0.1": ("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.1}, 42),
    "restarts": ("CosineAnnealingWarmRestarts", {"T_0": 5}, 15),
    "restarts, doubled": ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.05}, 63),
    "restarts, tripled": ("CosineAnnealingWarmRestarts", {"T_0": 1, "T_mult": 3}, 121),
    "one cycle": ("OneCycleLR", {"max_lr": 0.7, "total_steps": 20}, 60),
    "one cycle, other divisors": (
        "OneCycleLR",
        {
            "max_lr": 0.7,
            "epochs": 3,
            "steps_per_epoch": 5,
            "pct_start": 0.45,
            "div_factor": 10.0,
            "final_div_factor": 100.0,
        },
        45,
    ),
    "one cycle with momentum": ("OneCycleLR", {"max_lr": 0.7, "total_steps": 13, "cycle_momentum": True}, 39),
    "cyclic": ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 4}, 24),
    "cyclic, halved": ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 3, "mode": "triangular2"}, 36),
    "sequence": ("SequentialLR", {"schedulers": [WARM, FALL], "milestones": [4]}, 36),
    "sequence of three": ("SequentialLR", {"schedulers": [WARM, TAIL, FALL], "milestones": [4, 6]}, 42),
    "sequence of a sequence": (
        "SequentialLR",
        {"schedulers": [("SequentialLR", {"schedulers": [WARM, TAIL], "milestones": [4]}), FALL], "milestones": [6]},
        42,
    ),
}

NOISY = [round(1 / (1 + 0.3 * k) + 0.05 * math.sin(7 * k), 6) for k in range(40)]
FLAT = [1.0, 0.8, 0.7, *[0.7] * 20]
PLATEAUS = {
    "noisy": ({"patience": 2, "factor": 0.5}, NOISY),
    "noisy, any gain": ({"patience": 1, "threshold": 0.0}, NOISY),
    "noisy, gain of 0.05": ({"patience": 1, "threshold": 0.05, "threshold_mode": "abs"}, NOISY),
    "accuracy": ({"mode": "max", "patience": 1, "threshold": 0.02}, [round(1 - m, 6) for m in NOISY]),
    "accuracy, gain of 0.05": (
        {"mode": "max", "patience": 0, "threshold": 0.05, "threshold_mode": "abs", "factor": 0.7},
        [round(1.2 - m, 6) for m in NOISY],
    ),
    "flat": ({"patience": 3}, FLAT),
    "flat, no patience": ({"patience": 0, "factor": 0.5, "min_lr": 0.02}, FLAT),
    "flat, cooldown": ({"patience": 1, "cooldown": 3, "factor": 0.5}, FLAT),
    "flat, cooldown without patience": ({"patience": 0, "cooldown": 2, "factor": 0.5}, FLAT),
    "nan": ({"patience": 1, "factor": 0.5}, [1.0, "nan", 0.5, "nan", "nan", "nan", 0.4, 0.4, 0.4]),
    "negative": ({"patience": 0, "factor": 0.5}, [-1.0] * 6),
    "negative, rising": ({"mode": "max", "patience": 0, "factor": 0.5}, [-2.0, -1.5, -1.5, -1.4, -1.0]),
}


def new_optimizer():
    import torch

    parameter = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([parameter], lr=LR, momentum=MOMENTUM)
    optimizer.step()  # so that it does not warn of the wrong order
    return optimizer


def make(optimizer, scheduler, arguments):
    from torch.optim import lr_scheduler

    arguments = dict(arguments)
    if "schedulers" in arguments:
        arguments["schedulers"] = [make(optimizer, *one) for one in arguments["schedulers"]]
    if scheduler in ("OneCycleLR", "CyclicLR"):
        arguments = {"cycle_momentum": False, **arguments}
    return getattr(lr_scheduler, scheduler)(optimizer, **arguments)


def run(scheduler, arguments, steps):
    """The case with its learning rates (and momenta)."""
    optimizer = new_optimizer()
    made = make(optimizer, scheduler, arguments)
    (group,) = optimizer.param_groups
    rates, momenta = [group["lr"]], [group["momentum"]]
    for _ in range(steps):
        try:
            made.step()
        except ValueError:
            break
        rates.append(group["lr"])
        momenta.append(group["momentum"])
    case = {"scheduler": scheduler, "arguments": arguments, "steps": steps, "lr": rates}
    return {**case, "momentum": momenta} if arguments.get("cycle_momentum") else case


def run_plateau(arguments, metrics):
    from torch.optim.lr_scheduler import ReduceLROnPlateau

    optimizer = new_optimizer()
    made = ReduceLROnPlateau(optimizer, eps=0.0, **arguments)  # by default it makes no cut smaller than 1e-8
    rates = []
    for metric in metrics:
        made.step(float(metric))
        rates.append(optimizer.param_groups[0]["lr"])
    return {"arguments": arguments, "metrics": metrics, "lr": rates}


def content():
    """What the file holds, except for the version."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SequentialLR's own use of step(epoch)
        cases = {name: run(*case) for name, case in CASES.items()}
    plateaus = {name: run_plateau(*case) for name, case in PLATEAUS.items()}
    return json.loads(json.dumps({"lr": LR, "momentum": MOMENTUM, "cases": cases, "plateaus": plateaus}))


def differences():
    """One sentence per case that is missing, or differs by more than rounding."""
    kept, now = json.loads(FILE.read_text()), content()
    found = [f"{key} is {kept[key]} in the file, {now[key]} now" for key in ("lr", "momentum") if kept[key] != now[key]]
    for part in ("cases", "plateaus"):
        for name in sorted(kept[part].keys() | now[part].keys()):
            one, other = kept[part].get(name), now[part].get(name)
            if one is None or other is None:
                found.append(f"{name} is only {'in the file' if other is None else 'made now'}")
                continue
            numbers = [[*case.pop("lr"), *case.pop("momentum", [])] for case in (one, other)]
            same = len(numbers[0]) == len(numbers[1]) and all(
                math.isclose(a, b, rel_tol=1e-13, abs_tol=1e-15) for a, b in zip(*numbers, strict=True)
            )
            if one != other or not same:
                found.append(f"{name} differs")
    return found


def main(arguments):
    import torch

    if arguments == ["--check"]:
        found = differences()
        print("\n".join(found) or f"the learning rates are those of torch {torch.__version__}")
        return int(bool(found))
    if arguments:
        print(__doc__)
        return 2
    text = json.dumps({"made_by": "tests/goldens/make_schedules.py", "torch": torch.__version__, **content()})
    for part in ("cases", "plateaus", *CASES, *PLATEAUS):  # one case per line, for readable differences
        text = text.replace(f'"{part}": {{', f'\n"{part}": {{')
    FILE.write_text(text + "\n")
    print(f"wrote {FILE.name}: {len(text):,} bytes, torch {torch.__version__}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
