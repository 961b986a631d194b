"""Schedules: a hyperparameter as a pure function of the number of steps taken.

`schedule(k)` is the value used by the step after k steps have been taken; the first step sees k = 0. There is nothing to
step, so nothing can be stepped in the wrong order, and resuming needs one integer. Past its end a schedule holds its last
value. `a >> b` runs a to its end and then b from its beginning; `a * b` multiplies.

>>> lr = Warmup(4) >> Cosine(0.1, 4)
>>> [round(v, 3) for v in lr.values(9)]
[0.025, 0.05, 0.075, 0.1, 0.1, 0.085, 0.05, 0.015, 0.0]
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any


class Schedule:
    """Base of all schedules: a subclass defines `__call__(k)`, and `steps` if it comes to an end."""

    steps: float = math.inf  # after so many steps the value no longer changes
    is_factor = False  # a factor of what follows it in a join (Warmup), not a value of its own

    def __call__(self, k: int) -> float:
        raise TypeError(f"{type(self).__name__} has no __call__(k): write the value after k steps")

    def __rshift__(self, then: Schedule) -> Join:
        if not isinstance(then, Schedule):
            raise TypeError(f"{self!r} >> {then!r}: join schedules, for example >> Constant({then!r})")
        return Join(self, then)

    def __mul__(self, other: Schedule | float) -> Product:
        return Product(self, other if isinstance(other, Schedule) else Constant(other))

    __rmul__ = __mul__

    def values(self, n: int) -> list[float]:
        """The values of the first n steps."""
        return [self(k) for k in range(n)]


@dataclass(frozen=True)
class Constant(Schedule):
    """The same value always (or for `steps` steps, when something is to follow)."""

    value: float
    steps: float = math.inf

    def __post_init__(self) -> None:
        _number("Constant: value", self.value)
        _number("Constant: steps", self.steps, positive=True, finite=False)

    def __call__(self, k: int) -> float:
        return self.value


@dataclass(frozen=True)
class Step(Schedule):
    """value * gamma ** floor(k / every): a cut by `gamma` every so many steps."""

    value: float
    every: int
    gamma: float = 0.1

    def __post_init__(self) -> None:
        _number("Step: value", self.value)
        _number("Step: every", self.every, positive=True)
        _number("Step: gamma", self.gamma, positive=True)

    def __call__(self, k: int) -> float:
        return self.value * self.gamma ** (k // self.every)


@dataclass(frozen=True)
class MultiStep(Schedule):
    """value * gamma ** (number of milestones reached): a cut by `gamma` at each of the given steps."""

    value: float
    milestones: Sequence[int]
    gamma: float = 0.1

    def __post_init__(self) -> None:
        _number("MultiStep: value", self.value)
        _number("MultiStep: gamma", self.gamma, positive=True)
        if isinstance(self.milestones, str) or not isinstance(self.milestones, Iterable):
            raise TypeError(f"MultiStep: milestones must be a list such as [30, 60], got {self.milestones!r}")
        milestones = tuple(self.milestones)
        for milestone in milestones:
            _number("MultiStep: a milestone", milestone)
        object.__setattr__(self, "milestones", tuple(sorted(milestones)))

    @property
    def steps(self) -> float:  # type: ignore[override]
        return max(self.milestones, default=0)

    def __call__(self, k: int) -> float:
        return self.value * self.gamma ** sum(k >= milestone for milestone in self.milestones)


@dataclass(frozen=True)
class Exponential(Schedule):
    """value * gamma ** k."""

    value: float
    gamma: float

    def __post_init__(self) -> None:
        _number("Exponential: value", self.value)
        _number("Exponential: gamma", self.gamma, positive=True)

    def __call__(self, k: int) -> float:
        return self.value * self.gamma**k


@dataclass(frozen=True)
class Cosine(Schedule):
    """From `value` to `end` along half a cosine in `steps` steps: end + (value - end) (1 + cos(pi k / steps)) / 2.

    Loshchilov & Hutter 2017, without restarts. Holds `end` afterwards.
    """

    value: float
    steps: float
    end: float = 0.0

    def __post_init__(self) -> None:
        _number("Cosine: value", self.value)
        _number("Cosine: steps", self.steps, positive=True)
        _number("Cosine: end", self.end)

    def __call__(self, k: int) -> float:
        done = min(k, self.steps) / self.steps
        return self.end + (self.value - self.end) * (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True)
class Warmup(Schedule):
    """A linear rise to the first value of what follows, in `steps` steps: `Warmup(100) >> Cosine(3e-3, 2000)`.

    It is a factor: (k + 1) / steps from `start` = 0 (so the first step is not wasted), and 1 at the end.
    """

    steps: float
    start: float = 0.0
    is_factor = True

    def __post_init__(self) -> None:
        _number("Warmup: steps", self.steps, positive=True)
        _number("Warmup: start", self.start)

    def __call__(self, k: int) -> float:
        return self.start + (1 - self.start) * min(k + 1, self.steps) / self.steps


@dataclass(frozen=True)
class Join(Schedule):
    """`first` to its end, then `then` from its beginning; what `first >> then` makes."""

    first: Schedule
    then: Schedule

    def __post_init__(self) -> None:
        if math.isinf(self.first.steps):
            raise ValueError(f"{self.first!r} never ends, so nothing can follow it: give it a number of steps")

    @property
    def steps(self) -> float:  # type: ignore[override]
        return math.ceil(self.first.steps) + self.then.steps

    def __rshift__(self, then: Schedule) -> Join:
        # (a >> b) >> c is a >> (b >> c): only so does a Warmup in the middle know what it warms up to
        return Join(self.first, self.then >> then)

    def __call__(self, k: int) -> float:
        if k >= self.first.steps:
            return self.then(k - math.ceil(self.first.steps))
        return self.first(k) * (self.then(0) if self.first.is_factor else 1)


@dataclass(frozen=True)
class Product(Schedule):
    """Two schedules multiplied; what `a * b` makes."""

    a: Schedule
    b: Schedule

    @property
    def steps(self) -> float:  # type: ignore[override]
        lengths = [s.steps for s in (self.a, self.b) if not (isinstance(s, Constant) and math.isinf(s.steps))]
        return max(lengths, default=math.inf)

    def __call__(self, k: int) -> float:
        return self.a(k) * self.b(k)


def _number(what: str, value: Any, positive: bool = False, finite: bool = True) -> None:
    """Refuse what is not a number in range, at construction, before anything depends on it."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{what} must be a number, got {value!r}")
    if math.isnan(value) or value < 0 or (positive and value == 0) or (finite and math.isinf(value)):
        kind = ("positive" if positive else "non-negative") + (" and finite" if finite else "")
        raise ValueError(f"{what} must be {kind}, got {value!r}")
