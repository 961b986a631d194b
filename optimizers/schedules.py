"""Schedules: a hyperparameter as a pure function of the number of steps taken.

`schedule(k)` is the value used by the step after k steps have been taken; the first step sees k = 0. There is nothing to
step, so nothing can be stepped in the wrong order, and resuming needs one integer. Past its end a schedule holds its last
value. `a >> b` runs a to its end and then b from its beginning; `a * b` multiplies, and so does `a * rates` by an array
of rates, one for each of many nets. cycles.py has the schedules that rise and fall.

>>> lr = Warmup(4) >> Cosine(0.1, 4)
>>> [round(v, 3) for v in lr.values(9)]
[0.025, 0.05, 0.075, 0.1, 0.1, 0.085, 0.05, 0.015, 0.0]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from optimizers.kinds import Length, NonNegative, Positive, Share, check_fields, checked

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Schedule:
    """Base of all schedules: a subclass defines `__call__(k)`, and `steps` if it comes to an end."""

    __array_ufunc__ = None  # rates * schedule is for us to answer, not for NumPy, element by element
    steps: float = math.inf  # after so many steps the value no longer changes
    is_factor = False  # not a value of its own, but a factor of what follows it in a join (Warmup)

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(self, k: int) -> float:
        raise TypeError(f"{type(self).__name__} has no __call__(k): write the value after k steps")

    def factor(self, k: int) -> float:
        """What it contributes to a product or a join: its value, or what a Warmup has instead of one."""
        return self(k)

    @property
    def length(self) -> float:
        """The number of steps after which the value no longer changes: where a join goes on."""
        return self.steps

    def __rshift__(self, then: Schedule) -> Join:
        if not isinstance(then, Schedule):
            raise TypeError(f"{self!r} >> {then!r}: join schedules, for example >> Constant({then!r})")
        return Join(self, then)

    def __mul__(self, other: Any) -> Product:
        return Product(self, other if isinstance(other, Schedule) else Constant(other))

    __rmul__ = __mul__

    def values(self, n: int) -> list[float]:
        """The values of the first n steps."""
        return [self(k) for k in range(n)]

    def plot(self, n: int, ax: Axes | None = None) -> Axes:
        """Draw the values of the first n steps into `ax`, or a new figure: `lr.plot(500).figure.savefig("lr.png")`."""
        ax = new_axes() if ax is None else ax
        ax.plot(range(n), self.values(n), label=repr(self))
        ax.set(xlabel="step", ylabel="value")
        return ax


# Values that stay or fall ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Constant(Schedule):
    """The same value always (or for `steps` steps, when something is to follow); or an array, one for each of many nets."""

    value: NonNegative
    steps: Length = math.inf

    def __post_init__(self) -> None:
        value: Any = self.value
        if isinstance(value, np.ndarray) and value.ndim == 1:  # the optimizer looks at each (replicas.py)
            object.__setattr__(self, "value", 0.0)
            super().__post_init__()
            object.__setattr__(self, "value", value.copy())
        else:
            super().__post_init__()

    def __call__(self, k: int) -> float:
        return self.value


@dataclass(frozen=True)
class Step(Schedule):
    """value * gamma ** floor(k / every): a cut by `gamma` every so many steps."""

    value: NonNegative
    every: Positive
    gamma: Positive = 0.1

    def __call__(self, k: int) -> float:
        return _grown(self.value, self.gamma, k // self.every)


@dataclass(frozen=True)
class MultiStep(Schedule):
    """value * gamma ** (number of milestones reached): a cut by `gamma` at each of the given steps."""

    value: NonNegative
    milestones: Sequence[float]
    gamma: Positive = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.milestones, str) or not isinstance(self.milestones, Iterable):
            raise TypeError(f"MultiStep: milestones must be a list such as [30, 60], got {self.milestones!r}")
        milestones = sorted(checked("MultiStep: a milestone", m, "NonNegative") for m in self.milestones)
        object.__setattr__(self, "milestones", tuple(milestones))

    @property
    def steps(self) -> float:  # type: ignore[override]
        return max(self.milestones, default=0)

    def __call__(self, k: int) -> float:
        return _grown(self.value, self.gamma, sum(k >= milestone for milestone in self.milestones))


@dataclass(frozen=True)
class Exponential(Schedule):
    """value * gamma ** k."""

    value: NonNegative
    gamma: Positive

    def __call__(self, k: int) -> float:
        return _grown(self.value, self.gamma, k)


@dataclass(frozen=True)
class InverseTime(Schedule):
    """value / (1 + rate k / every): halved after every / rate steps, a third after twice as many.

    The decay ~ 1/k under which stochastic gradient descent provably converges (Robbins & Monro 1951; Bottou 2012).
    """

    value: NonNegative
    rate: NonNegative
    every: Positive = 1

    def __call__(self, k: int) -> float:
        return self.value / (1 + self.rate * k / self.every)


@dataclass(frozen=True)
class Power(Schedule):
    """value / (k + 1) ** exponent: with 1/2 the rate of the regret bounds (Zinkevich 2003); scikit-learn's `invscaling`."""

    value: NonNegative
    exponent: NonNegative = 0.5

    def __call__(self, k: int) -> float:
        return self.value * float(k + 1) ** -self.exponent


@dataclass(frozen=True)
class Polynomial(Schedule):
    """end + (value - end) (1 - k / steps) ** power, then `end` (the "poly" policy; Chen et al. 2017 use power 0.9)."""

    value: NonNegative
    steps: Positive
    power: Positive = 1.0
    end: NonNegative = 0.0

    def __call__(self, k: int) -> float:
        return between(self.end, self.value, (1 - min(k, self.steps) / self.steps) ** self.power)


@dataclass(frozen=True)
class Linear(Schedule):
    """From `value` to `end` along a straight line in `steps` steps, then `end`: value + (end - value) k / steps."""

    value: NonNegative
    steps: Positive
    end: NonNegative = 0.0

    def __call__(self, k: int) -> float:
        return between(self.value, self.end, min(k, self.steps) / self.steps)


@dataclass(frozen=True)
class Cosine(Schedule):
    """From `value` to `end` along half a cosine in `steps` steps: end + (value - end) (1 + cos(pi k / steps)) / 2.

    Loshchilov & Hutter 2017, without restarts. Holds `end` afterwards; with `periodic` it goes up and down again for ever,
    as PyTorch's CosineAnnealingLR does.
    """

    value: NonNegative
    steps: Positive
    end: NonNegative = 0.0
    periodic: bool = False

    @property
    def length(self) -> float:
        return math.inf if self.periodic else self.steps

    def __call__(self, k: int) -> float:
        done = (k % (2 * self.steps) if self.periodic else min(k, self.steps)) / self.steps
        return between(self.end, self.value, (1 + math.cos(math.pi * done)) / 2)


@dataclass(frozen=True)
class Lambda(Schedule):
    """function(k), checked at every step: a finite number that is not negative. After `steps` the value stays."""

    function: Callable[[int], float]
    steps: Length = math.inf

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.function):
            raise TypeError(
                f"Lambda: function must be a function of the step, such as lambda k: 0.1, got {self.function!r}"
            )

    def __call__(self, k: int) -> float:
        k = k if k < self.steps else math.ceil(self.steps)
        return checked(f"Lambda: the value at step {k}", self.function(k), "NonNegative")


# The algebra: warm up, join, multiply ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Warmup(Schedule):
    """A linear rise to the first value of what follows, in `steps` steps: `Warmup(100) >> Cosine(3e-3, 2000)`.

    It is a factor: start + (1 - start) (k + 1) / steps, so that from `start` = 0 the first step is not wasted, and 1 at the
    end (Goyal et al. 2017). A product `Warmup(100) * Cosine(3e-3, 2000)` lets both run at the same time. On its own it has
    no value to rise to, and says so.
    """

    steps: Positive
    start: Share = 0.0
    is_factor = True

    def __call__(self, k: int) -> float:
        raise TypeError(
            f"{self!r} rises to the first value of what follows it, and nothing does: write Warmup(...) >> Constant(1e-3)"
        )

    def factor(self, k: int) -> float:
        return between(self.start, 1.0, min(k + 1, self.steps) / self.steps)


@dataclass(frozen=True)
class Join(Schedule):
    """`first` to its end, then `then` from its beginning; what `first >> then` makes."""

    first: Schedule
    then: Schedule

    def __post_init__(self) -> None:
        if isinstance(self.first, Join):
            # (a >> b) >> c is a >> (b >> c): only so does a Warmup in the middle know what it warms up to
            object.__setattr__(self, "then", Join(self.first.then, self.then))
            object.__setattr__(self, "first", self.first.first)
        if math.isinf(self.first.length):
            raise ValueError(f"{self.first!r} never ends, so nothing can follow it: give it a number of steps")

    @property
    def steps(self) -> float:  # type: ignore[override]
        return math.ceil(self.first.length) + self.then.length

    @property
    def is_factor(self) -> bool:  # type: ignore[override]
        return self.then.is_factor

    def __call__(self, k: int) -> float:
        if k >= self.first.length or self.is_factor:  # a Warmup with nothing after it is refused from the first step on
            return self.then(k - math.ceil(self.first.length))
        return self.first.factor(k) * (self.then(0) if self.first.is_factor else 1)


@dataclass(frozen=True)
class Product(Schedule):
    """Two schedules multiplied; what `a * b` makes."""

    a: Schedule
    b: Schedule

    def __post_init__(self) -> None:
        if self.a.is_factor and self.b.is_factor:
            raise TypeError(f"{self.a!r} * {self.b!r} has nothing to rise to: write Warmup(...) >> Constant(1e-3)")

    @property
    def steps(self) -> float:  # type: ignore[override]
        lengths = [s.length for s in (self.a, self.b) if not (isinstance(s, Constant) and math.isinf(s.steps))]
        return max(lengths, default=math.inf)

    def __call__(self, k: int) -> float:
        return self.a.factor(k) * self.b.factor(k)


# Small helpers --------------------------------------------------------------------------------------------------------


def between(a: float, b: float, part: float) -> float:
    """a + part (b - a), written so that it is exactly a for part = 0 and exactly b for part = 1."""
    return a * (1 - part) + b * part


def new_axes() -> Axes:
    """The axes of a new figure, made without pyplot, so that nothing pops up and nothing leaks."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("pictures need Matplotlib: pip install matplotlib") from None
    ax = Figure(figsize=(6.4, 4.0), layout="constrained", dpi=120).subplots()
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25, linewidth=0.6)
    return ax


def _grown(value: float, gamma: float, n: float) -> float:
    """value * gamma ** n; too large a number is infinite (and refused by the optimizer) rather than an OverflowError."""
    try:
        return value * float(gamma) ** n
    except OverflowError:
        return math.inf if value else 0.0
