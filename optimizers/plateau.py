"""Plateau: lower the learning rate when a metric stops getting better. The only schedule that remembers something.

All others are functions of the step; this one depends on what training does, so it is told the metric, and it is saved
and loaded beside the optimizer.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optimizers.kinds import NonNegative, Share, checked
from optimizers.schedules import Lambda, Schedule


@dataclass(frozen=True)
class Reduced(Schedule):
    """What a Plateau makes of a schedule: cut * schedule, but not below `floor` where the schedule itself is not."""

    schedule: Schedule
    cut: Share
    floor: NonNegative = 0.0

    @property
    def steps(self) -> float:  # type: ignore[override]
        return self.schedule.length

    def __call__(self, k: int) -> float:
        value = self.schedule(k)
        return max(value * self.cut, min(value, self.floor))


class Plateau:
    """Multiply the learning rate of every group by `factor` after more than `patience` steps without a better metric.

        plateau = Plateau(optimizer, patience=5)
        for epoch in range(epochs):
            ...
            plateau.step(validation_loss)

    A metric is better if it is below (mode "min") or above ("max") the best one by more than a margin: `threshold` times
    |best| ("rel"), or `threshold` itself ("abs"). So it is right for negative metrics too. For `cooldown` steps after a
    cut nothing is counted. A metric that is not finite counts as worse than the best, and warns once.

    A number is cut to max(lr * factor, min_lr). A schedule goes on, multiplied by all cuts so far, and `min_lr` holds it
    up only where its own value is not lower: max(cut * schedule(k), min(schedule(k), min_lr)).

    `state_dict()` has the best metric, the counts and what was done to each learning rate, as plain numbers. Loaded into a
    Plateau made with the same arguments, before or after the optimizer's own state, training goes on exactly.

    With patience=10 the eleventh step without a better metric cuts, as in PyTorch; the callback ReduceOnPlateau cuts at
    the tenth, as in Keras.

    Differs from PyTorch's ReduceLROnPlateau: right for negative metrics; `min_lr` is one number; there is no `eps`.
    """

    def __init__(
        self,
        optimizer: Any,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
    ):
        if not hasattr(optimizer, "param_groups"):
            raise TypeError(f"Plateau: optimizer must be an optimizer, with param_groups, got {optimizer!r}")
        for name, value, known in (("mode", mode, ("min", "max")), ("threshold_mode", threshold_mode, ("rel", "abs"))):
            if value not in known:
                raise ValueError(f"Plateau: {name} must be {known[0]!r} or {known[1]!r}, got {value!r}")
        self.optimizer, self.mode, self.threshold_mode = optimizer, mode, threshold_mode
        self.factor = checked("Plateau: factor", factor, "Fraction")
        self.patience = checked("Plateau: patience", patience, "Natural")
        self.threshold = checked("Plateau: threshold", threshold, "NonNegative")
        self.cooldown = checked("Plateau: cooldown", cooldown, "Natural")
        self.min_lr = checked("Plateau: min_lr", min_lr, "NonNegative")
        self.best: float | None = None
        self.bad = 0  # steps since the best metric, or the last cut
        self.cooling = 0  # steps of the cooldown still to go
        self._warned = False

    def step(self, metric: float) -> bool:
        """Look at the newest metric; True if the learning rate was cut."""
        metric = self._number(metric)
        if self._better(metric):
            self.best, self.bad = metric, 0
        else:
            self.bad += 1
        if self.cooling:
            self.cooling -= 1
            self.bad = 0
        if self.bad <= self.patience:
            return False
        self.bad, self.cooling = 0, self.cooldown
        for group in self.optimizer.param_groups:
            group["lr"] = self._cut(group["lr"])
        return True

    def state_dict(self) -> dict[str, Any]:
        """What was seen and done, as plain numbers."""
        groups = [{"cut": uncut(g["lr"])[1]} if callable(g["lr"]) else {"lr": g["lr"]} for g in self.optimizer.param_groups]
        return {"best": self.best, "bad": self.bad, "cooling": self.cooling, "groups": groups}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from a state_dict; schedules stay those given to the optimizer, and are cut as they had been."""
        groups = self.optimizer.param_groups
        if len(saved["groups"]) != len(groups):
            raise ValueError(f"Plateau: the state has {len(saved['groups'])} groups, the optimizer has {len(groups)}")
        for i, (group, was) in enumerate(zip(groups, saved["groups"], strict=True)):
            if callable(group["lr"]) != ("cut" in was):
                before, now = ("a schedule", "a number") if "cut" in was else ("a number", "a schedule")
                raise ValueError(f"Plateau: the lr of group {i} was {before} when the state was saved, and is {now} now")
        for group, was in zip(groups, saved["groups"], strict=True):
            group["lr"] = self._reduced(group["lr"], was["cut"]) if "cut" in was else was["lr"]
        self.best, self.bad, self.cooling = saved["best"], saved["bad"], saved["cooling"]

    def _number(self, metric: Any) -> float:
        try:
            value = float(metric)
        except (TypeError, ValueError):
            value = None
        if value is None or isinstance(metric, str | bool):
            raise TypeError(f"Plateau: metric must be a number, got {metric!r}")
        if not math.isfinite(value) and not self._warned:
            self._warned = True
            warnings.warn(f"Plateau: the metric is {value}; such steps count as worse than the best", stacklevel=3)
        return value

    def _better(self, metric: float) -> bool:
        if not math.isfinite(metric):
            return False
        if self.best is None:
            return True
        margin = self.threshold * (abs(self.best) if self.threshold_mode == "rel" else 1)
        return metric < self.best - margin if self.mode == "min" else metric > self.best + margin

    def _cut(self, lr: Any) -> Any:
        if callable(lr):
            return self._reduced(lr, uncut(lr)[1] * self.factor)
        return min(lr, max(lr * self.factor, self.min_lr))  # what is below min_lr already is not raised to it

    def _reduced(self, lr: Any, cut: float) -> Schedule:
        schedule = uncut(lr)[0]
        return schedule if cut == 1 else Reduced(schedule, cut, self.min_lr)


def uncut(lr: Any) -> tuple[Schedule, float]:
    """The schedule that was given to the optimizer, and by how much it has been multiplied."""
    if isinstance(lr, Reduced):
        return lr.schedule, lr.cut
    return (lr if isinstance(lr, Schedule) else Lambda(lr)), 1.0
