"""The optimizers that can be compared: what makes them, their default rate, and what is tuned beside it."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

import optimizers
from optimizers.trajectories import Point
from tinynet.naming import lookup

MOMENTA = (0.8, 0.9, 0.95)


@dataclass(frozen=True)
class Contender:
    """An optimizer in a comparison.

    make: a function (parameters, lr=..., and `second` if there is one) -> optimizer.
    options: given to it always.
    second: what a budget of three times the grid tunes beside the rate: its name and its values, the default in the middle.
        "beta1" stands for the first of the betas. None: such a budget goes into a grid three times as fine.
    """

    name: str
    make: Callable
    options: Mapping[str, Any] = field(default_factory=dict)
    second: tuple[str, tuple[float, float, float]] | None = None

    def __call__(self, parameters: Any, **hyper: Any) -> Any:
        """The optimizer, with one number or an array of them for each hyperparameter."""
        if "beta1" in hyper:
            usual = inspect.signature(self.make).parameters["betas"].default
            hyper["betas"] = (hyper.pop("beta1"), usual[1])
        return self.make(parameters, **{**self.options, **hyper})

    @property
    def default_lr(self) -> float | None:
        """The rate of an optimizer that is not told any; None if it must be told."""
        try:
            inspect.signature(self.make).bind([])
        except TypeError:
            return None
        return float(self([_matrix()]).lr)

    @property
    def setting(self) -> str:
        """The optimizer as it prints itself, without its rate."""
        optimizer = self([_matrix()], lr=1.0)
        clip = getattr(optimizer, "clip", None)
        return re.sub(r"\blr=1\.0(, )?", "", repr(optimizer)) + (f" with {clip!r}" if clip is not None else "")

    def trials(self, grid: tuple[float, ...], budget: int) -> list[dict[str, float]]:
        """The settings that tuning tries, from the smallest rate to the largest: as many as the budget."""
        if budget == len(grid):  # also of a single rate, which is then the one to try
            return [{"lr": lr} for lr in grid]
        if budget == 1:
            if self.default_lr is None:
                raise ValueError(
                    f"a budget of 1 trial is for the default rate, and {self.name!r} has none: let its function have a "
                    "default for lr, or raise the budget"
                )
            return [{"lr": self.default_lr}]
        if self.second is None:
            return [{"lr": lr} for lr in finer(grid, budget)]
        name, values = self.second
        return [{"lr": lr, name: value} for lr in grid for value in values]


def _matrix() -> Point:
    return Point(np.zeros((2, 2)))


def finer(grid: tuple[float, ...], n: int) -> list[float]:
    """n rates from the first of the grid to the last, equally far apart in logarithms.

    >>> [round(lr, 3) for lr in finer((0.01, 1.0), 5)]
    [0.01, 0.032, 0.1, 0.316, 1.0]
    """
    if len(grid) == 1:  # to both sides of it, half a decade away
        return [grid[0] * 10 ** (i / (n - 1) - 0.5) for i in range(n)]
    first, last = math.log10(grid[0]), math.log10(grid[-1])
    return [grid[0], *(10 ** (first + (last - first) * i / (n - 1)) for i in range(1, n - 1)), grid[-1]]


def _named(name: str, make: Callable, second: str | None = None, values: Any = MOMENTA, **options: Any) -> Contender:
    return Contender(name, make, options, None if second is None else (second, values))


CONTENDERS: dict[str, Contender] = {
    contender.name: contender
    for contender in (
        _named("sgd", optimizers.SGD),
        _named("sgd-momentum", optimizers.SGD, "momentum", momentum=0.9),
        _named("nesterov", optimizers.SGD, "momentum", momentum=0.9, nesterov=True),
        _named("adagrad", optimizers.Adagrad),
        _named("adadelta", optimizers.Adadelta, "rho"),
        _named("rmsprop", optimizers.RMSprop, "alpha", (0.9, 0.99, 0.999)),
        _named("adam", optimizers.Adam, "beta1"),
        _named("amsgrad", optimizers.Adam, "beta1", amsgrad=True),
        _named("adamw", optimizers.AdamW, "beta1"),
        _named("adamax", optimizers.Adamax, "beta1"),
        _named("nadam", optimizers.NAdam, "beta1"),
        _named("radam", optimizers.RAdam, "beta1"),
        _named("adabelief", optimizers.AdaBelief, "beta1"),
        _named("lion", optimizers.Lion, "beta1"),
        _named("schedule-free-sgd", optimizers.ScheduleFreeSGD, "momentum"),
        _named("schedule-free-adamw", optimizers.ScheduleFreeAdamW, "beta1"),
    )
}
USUAL = ("sgd", "sgd-momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "lion")


def find_contenders(wanted: Any, baseline: str) -> dict[str, Contender]:
    """{name: contender} of what `compare` was given, and the baseline if that is one of our names."""
    if wanted is None:
        wanted = USUAL
    if isinstance(wanted, str):
        wanted = [wanted]
    if isinstance(wanted, Mapping):
        found = {str(label): _made_by(str(label), make) for label, make in wanted.items()}
    elif isinstance(wanted, list | tuple):
        found = {name: lookup("optimizer", name, CONTENDERS) for name in wanted}
        if len(found) < len(wanted):
            raise ValueError(f"optimizers has a name twice: {', '.join(wanted)}")
    else:
        raise TypeError(f"optimizers must be names, or functions by name as {{'mine': make}}, got {type(wanted).__name__}")
    if not found:
        raise ValueError("there is no optimizer to compare: optimizers is empty")
    if baseline not in found:
        found = {baseline: lookup("baseline", baseline, {**CONTENDERS, **found}), **found}
    return found


def _made_by(label: str, make: Any) -> Contender:
    if isinstance(make, str):
        return replace(lookup("optimizer", make, CONTENDERS), name=label)
    if not callable(make):
        raise TypeError(
            f"optimizers[{label!r}] must be a function (parameters, lr) -> optimizer, such as Adam or "
            f"lambda params, lr=1e-3: Adam(params, lr, amsgrad=True); got {make!r}"
        )
    return Contender(label, make)
