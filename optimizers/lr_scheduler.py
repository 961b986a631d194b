"""PyTorch's scheduler classes, by name and argument, for those who have the habit: objects with `.step()`.

    scheduler = CosineAnnealingLR(optimizer, T_max=100)
    for epoch in range(100):
        ...
        scheduler.step()

Each is a few lines over a schedule of schedules.py or cycles.py, which can also be given to the optimizer directly and
then needs no stepping: `SGD(parameters, lr=Cosine(0.1, 100))`.

Differs from PyTorch, in all of them: the learning rate is always the closed form of the one that the optimizer had when
the scheduler was made, and of the number of steps. Past the end it stays. Bad arguments are refused at once. One optimizer
has one scheduler: if something else changes the learning rate too, the next `step()` says so (PyTorch multiplies the two,
or not, depending on the pair). There is no `last_epoch` argument: `load_state_dict` resumes, before or after the
optimizer's own.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Real
from typing import Any

from optimizers.cycles import CosineRestarts, OneCycle, Triangular
from optimizers.kinds import AtLeastOne, NonNegative, Positive, Share, Whole, check_fields, checked
from optimizers.plateau import Plateau
from optimizers.schedules import Constant, Cosine, Exponential, Lambda, Linear, MultiStep, Polynomial, Schedule, Step


class LRScheduler:
    """Base class: a subclass is a dataclass with the arguments, and says which schedule they make of a base rate."""

    optimizer: Any

    def __post_init__(self) -> None:
        check_fields(self)
        self._start([self._base(i, group) for i, group in enumerate(self._groups())])
        self._go_to(0)

    def schedule(self, base: float, i: int) -> Schedule:
        """The schedule of group i, whose learning rate was `base` when the scheduler was made."""
        raise TypeError(f"{type(self).__name__} has no schedule(base, i): write which schedule it makes")

    def step(self) -> None:
        """One step further: sets the learning rate of every group."""
        if self.get_last_lr() != self._last_lr:
            raise ValueError(
                f"{type(self).__name__}: lr is {self.get_last_lr()}, not {self._last_lr} as this scheduler set it. Two "
                "schedulers? Join them with SequentialLR, or give the optimizer one schedule, such as lr=Step(0.1, 30) * "
                "Cosine(1.0, 90). Loaded the optimizer's state? Load the scheduler's too. Set lr by hand? Make a new one"
            )
        self._go_to(self.last_epoch + 1)

    def get_last_lr(self) -> list[float]:
        """The learning rate of each group."""
        return [group["lr"] for group in self._groups()]

    def state_dict(self) -> dict[str, Any]:
        """The number of steps and the base rates; the arguments are those that a scheduler is made with."""
        return {"scheduler": type(self).__name__, "last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from a state_dict: the learning rates are set at once."""
        if saved["scheduler"] != type(self).__name__:
            raise ValueError(f"the state is of {saved['scheduler']}, this scheduler is {type(self).__name__}")
        if len(saved["base_lrs"]) != len(self._groups()):
            raise ValueError(f"the state has {len(saved['base_lrs'])} groups, the optimizer has {len(self._groups())}")
        self._start(saved["base_lrs"])
        self._go_to(saved["last_epoch"])

    def _groups(self) -> list[dict[str, Any]]:
        if not hasattr(self.optimizer, "param_groups"):
            raise TypeError(f"{type(self).__name__}: optimizer must be one, with param_groups, got {self.optimizer!r}")
        return self.optimizer.param_groups

    def _base(self, i: int, group: dict[str, Any]) -> float:
        lr = group["lr"]
        if not isinstance(lr, Real):
            raise TypeError(
                f"{type(self).__name__}: the lr of group {i} must be a number, got {lr!r}: a schedule needs no scheduler"
            )
        base, last = group.get("scheduled", (lr, lr))  # by another scheduler, which SequentialLR will join with this one
        return float(base if last == lr else lr)

    def _start(self, base_lrs: Sequence[float]) -> None:
        self.base_lrs = list(base_lrs)
        self._schedules = [self.schedule(base, i) for i, base in enumerate(base_lrs)]

    def _go_to(self, k: int) -> None:
        self._set(k)
        self.last_epoch = k
        self._last_lr = self.get_last_lr()
        for group, base in zip(self._groups(), self.base_lrs, strict=True):
            group["scheduled"] = (base, group["lr"])

    def _set(self, k: int) -> None:
        values = [schedule(k) for schedule in self._schedules]
        for group, value in zip(self._groups(), values, strict=True):
            group["lr"] = value

    def _not_above(self, base: float, i: int, eta_min: float) -> float:
        if eta_min > base:
            raise ValueError(
                f"{type(self).__name__}: eta_min={eta_min} is above the lr of group {i}, {base} (if that was loaded: make "
                "the scheduler before)"
            )
        return eta_min

    def _each(self, name: str, value: Any) -> list[Any]:
        """One value per group, of one for all or of a list."""
        groups = len(self._groups())
        values = list(value) if isinstance(value, list | tuple) else [value] * groups
        if len(values) != groups:
            raise ValueError(f"{type(self).__name__}: {name} has {len(values)} values, the optimizer has {groups} groups")
        return values


@dataclass(eq=False)
class StepLR(LRScheduler):
    """lr * gamma ** floor(k / step_size)."""

    optimizer: Any
    step_size: Whole
    gamma: Positive = 0.1

    def schedule(self, base: float, i: int) -> Schedule:
        return Step(base, self.step_size, self.gamma)


@dataclass(eq=False)
class MultiStepLR(LRScheduler):
    """lr * gamma ** (number of milestones reached)."""

    optimizer: Any
    milestones: Sequence[int]
    gamma: Positive = 0.1

    def schedule(self, base: float, i: int) -> Schedule:
        return MultiStep(base, self.milestones, self.gamma)


@dataclass(eq=False)
class ConstantLR(LRScheduler):
    """lr * factor for `total_iters` steps, then lr."""

    optimizer: Any
    factor: Share = 1 / 3
    total_iters: Whole = 5

    def schedule(self, base: float, i: int) -> Schedule:
        return Constant(base * self.factor, self.total_iters) >> Constant(base)


@dataclass(eq=False)
class LinearLR(LRScheduler):
    """From lr * start_factor to lr * end_factor in `total_iters` steps.

    Differs from PyTorch: `start_factor` may be 0.
    """

    optimizer: Any
    start_factor: Share = 1 / 3
    end_factor: Share = 1.0
    total_iters: Whole = 5

    def schedule(self, base: float, i: int) -> Schedule:
        return Linear(base * self.start_factor, self.total_iters, base * self.end_factor)


@dataclass(eq=False)
class ExponentialLR(LRScheduler):
    """lr * gamma ** k."""

    optimizer: Any
    gamma: Positive

    def schedule(self, base: float, i: int) -> Schedule:
        return Exponential(base, self.gamma)


@dataclass(eq=False)
class PolynomialLR(LRScheduler):
    """lr * (1 - k / total_iters) ** power, then 0."""

    optimizer: Any
    total_iters: Whole = 5
    power: Positive = 1.0

    def schedule(self, base: float, i: int) -> Schedule:
        return Polynomial(base, self.total_iters, self.power)


@dataclass(eq=False)
class CosineAnnealingLR(LRScheduler):
    """From lr to `eta_min` along half a cosine in `T_max` steps.

    Differs from PyTorch: it stays at `eta_min`, where PyTorch's rises again (as Cosine(..., periodic=True) does), and
    `eta_min` above lr is refused.
    """

    optimizer: Any
    T_max: Whole
    eta_min: NonNegative = 0.0

    def schedule(self, base: float, i: int) -> Schedule:
        return Cosine(base, self.T_max, self._not_above(base, i, self.eta_min))


@dataclass(eq=False)
class CosineAnnealingWarmRestarts(LRScheduler):
    """Cosines from lr to `eta_min`, the first in `T_0` steps, each next one `T_mult` times as long.

    Differs from PyTorch: `eta_min` above lr is refused.
    """

    optimizer: Any
    T_0: Whole
    T_mult: Whole = 1
    eta_min: NonNegative = 0.0

    def schedule(self, base: float, i: int) -> Schedule:
        return CosineRestarts(base, self.T_0, self.T_mult, self._not_above(base, i, self.eta_min))


@dataclass(eq=False)
class OneCycleLR(LRScheduler):
    """From max_lr / div_factor up to `max_lr`, and down to max_lr / div_factor / final_div_factor, in `total_steps` steps.

    With `cycle_momentum`, momentum (or the first of betas) goes from `max_momentum` to `base_momentum` and back.
    Differs from PyTorch: `cycle_momentum` is off unless asked for; step `total_steps` and later ones stay at the lowest
    value, where PyTorch's rises and then raises; cosines only, and two phases.
    """

    optimizer: Any
    max_lr: float | Sequence[float]
    total_steps: int | None = None
    epochs: int | None = None
    steps_per_epoch: int | None = None
    pct_start: Share = 0.3
    cycle_momentum: bool = False
    base_momentum: Share = 0.85
    max_momentum: Share = 0.95
    div_factor: AtLeastOne = 25.0
    final_div_factor: AtLeastOne = 1e4

    def __post_init__(self) -> None:
        if self.total_steps is None:
            if self.epochs is None or self.steps_per_epoch is None:
                raise ValueError("OneCycleLR needs total_steps, or both epochs and steps_per_epoch")
            epochs = checked("OneCycleLR: epochs", self.epochs, "Whole")
            self.total_steps = epochs * checked("OneCycleLR: steps_per_epoch", self.steps_per_epoch, "Whole")
        self.total_steps = checked("OneCycleLR: total_steps", self.total_steps, "Whole")
        if self.cycle_momentum and not all(group.get("momentum") or "betas" in group for group in self._groups()):
            raise ValueError("OneCycleLR: cycle_momentum needs an optimizer with betas, or with momentum > 0")
        super().__post_init__()

    def schedule(self, base: float, i: int) -> Schedule:
        n, pct = self.total_steps or 0, self.pct_start
        if pct * n < 2 or (1 - pct) * n < 1:
            raise ValueError(
                f"OneCycleLR: total_steps={n} with pct_start={pct} leaves no step to rise, or none to fall: it needs "
                "pct_start * total_steps >= 2 and (1 - pct_start) * total_steps >= 1"
            )
        # PyTorch's phases end at the steps pct * n - 1 and n - 1.
        peak = self._each("max_lr", self.max_lr)[i]
        return OneCycle(peak, n - 1, (pct * n - 1) / (n - 1), self.div_factor, self.final_div_factor)

    def _set(self, k: int) -> None:
        super()._set(k)
        if self.cycle_momentum:
            height = self._schedules[0].height(k)  # type: ignore[attr-defined]
            momentum = self.max_momentum - (self.max_momentum - self.base_momentum) * height
            for group in self._groups():
                group.update({"betas": (momentum, *group["betas"][1:])} if "betas" in group else {"momentum": momentum})


@dataclass(eq=False)
class CyclicLR(LRScheduler):
    """From `base_lr` up to `max_lr` and down again, `step_size_up` steps each; mode "triangular2" halves every next cycle.

    Differs from PyTorch: momentum is left alone; the way down is as long as the way up; no mode "exp_range".
    """

    optimizer: Any
    base_lr: float | Sequence[float]
    max_lr: float | Sequence[float]
    step_size_up: Whole = 2000
    step_size_down: int | None = None
    mode: str = "triangular"

    def __post_init__(self) -> None:
        if self.step_size_down not in (None, self.step_size_up):
            raise ValueError(
                f"CyclicLR: step_size_down must be step_size_up, got {self.step_size_down!r}: give the optimizer "
                "lr=Repeat(Linear(low, up, high) >> Linear(high, down, low))"
            )
        if self.mode not in ("triangular", "triangular2"):
            raise ValueError(f"CyclicLR: mode must be 'triangular' or 'triangular2', got {self.mode!r}")
        super().__post_init__()

    def schedule(self, base: float, i: int) -> Schedule:
        low, high = self._each("base_lr", self.base_lr)[i], self._each("max_lr", self.max_lr)[i]
        return Triangular(low, high, self.step_size_up, decay=0.5 if self.mode == "triangular2" else 1.0)


@dataclass(eq=False)
class LambdaLR(LRScheduler):
    """lr * lr_lambda(k); a list has one function per group.

    Differs from PyTorch: a value that is negative, or no finite number, is an error that names the step.
    """

    optimizer: Any
    lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]]

    def schedule(self, base: float, i: int) -> Schedule:
        return base * Lambda(self._each("lr_lambda", self.lr_lambda)[i])


@dataclass(eq=False)
class SequentialLR(LRScheduler):
    """The first scheduler up to the first milestone, then the second from its beginning, and so on.

    Differs from PyTorch: a SequentialLR within a SequentialLR gives what the flat one gives.
    """

    optimizer: Any
    schedulers: Sequence[LRScheduler]
    milestones: Sequence[int]

    def __post_init__(self) -> None:
        for i, scheduler in enumerate(self.schedulers):
            if not isinstance(scheduler, LRScheduler) or scheduler.optimizer is not self.optimizer:
                raise ValueError(
                    f"SequentialLR: scheduler {i} must be a scheduler of the same optimizer, got {scheduler!r}"
                )
        marks = [checked("SequentialLR: a milestone", m, "Whole") for m in self.milestones]
        if len(marks) != len(self.schedulers) - 1 or any(a >= b for a, b in pairwise(marks)):
            raise ValueError(
                f"SequentialLR: {len(self.schedulers)} schedulers need {len(self.schedulers) - 1} milestones, each greater "
                f"than the one before, got {marks}"
            )
        super().__post_init__()

    def _start(self, base_lrs: Sequence[float]) -> None:
        self.base_lrs = list(base_lrs)
        for scheduler in self.schedulers:
            scheduler._start(base_lrs)

    def _set(self, k: int) -> None:
        i = bisect_right(self.milestones, k)
        self.schedulers[i]._set(k - [0, *self.milestones][i])


ReduceLROnPlateau = Plateau
