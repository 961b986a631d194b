"""Schedules that rise and fall, and two that count the steps anew: Repeat and per_epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from optimizers.kinds import AtLeastOne, Count, Decay, NonNegative, Positive, Share, Whole
from optimizers.schedules import Schedule, between


@dataclass(frozen=True)
class CosineRestarts(Schedule):
    """Cosines from `value` to `end`, again and again: SGDR, gradient descent with warm restarts (Loshchilov & Hutter 2017).

    Cycle i = 0, 1, 2, ... takes T = steps * mult ** i steps, and t steps into it the value is

        end + decay ** i * (value - end) (1 + cos(pi t / T)) / 2

    so `decay` < 1 lowers the peak at each restart. It never ends, unless a number of `cycles` is given.
    """

    value: NonNegative
    steps: Positive
    mult: AtLeastOne = 1
    end: NonNegative = 0.0
    decay: Decay = 1.0
    cycles: Count = math.inf

    @property
    def length(self) -> float:
        if self.mult == 1 or math.isinf(self.cycles):
            return self.steps * self.cycles
        return sum(self.steps * self.mult**i for i in range(int(self.cycles)))

    def __call__(self, k: int) -> float:
        if k >= self.length:
            return self.end
        i, t = divmod(k, self.steps) if self.mult == 1 else (0, k)
        while t >= self.steps * self.mult**i:
            t -= self.steps * self.mult**i
            i += 1
        part = self.decay**i * (1 + math.cos(math.pi * t / (self.steps * self.mult**i))) / 2
        return between(self.end, self.value, part)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up from peak / start_div to `peak`, then down to peak / start_div / end_div, along half a cosine each.

    The 1cycle policy (Smith 2018; Smith & Topin 2019), with PyTorch's divisors. The peak is at step warmup * steps, the
    lowest value at step `steps`, where it stays. Each of the two phases must have at least one step.
    """

    peak: NonNegative
    steps: Positive
    warmup: Share = 0.3
    start_div: AtLeastOne = 25.0
    end_div: AtLeastOne = 1e4

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= round(self.warmup * self.steps, 9) <= self.steps - 1:
            raise ValueError(
                f"OneCycle: {self.steps} steps with warmup={self.warmup} are {self.warmup * self.steps:.4g} up and "
                f"{(1 - self.warmup) * self.steps:.4g} down: each needs at least 1, so take more steps"
            )

    def __call__(self, k: int) -> float:
        start = self.peak / self.start_div
        return between(start if k < self.warmup * self.steps else start / self.end_div, self.peak, self.height(k))

    def height(self, k: int) -> float:
        """From 0 up to 1, the peak, and down to 0: what momentum can follow, upside down."""
        up = self.warmup * self.steps
        if k < up:
            return (1 - math.cos(math.pi * k / up)) / 2
        return (1 + math.cos(math.pi * min((k - up) / (self.steps - up), 1))) / 2


@dataclass(frozen=True)
class Triangular(Schedule):
    """From `low` up to `high` in `half` steps, down again in as many, for ever (cyclical rates; Smith 2017).

    low + decay ** i * (high - low) (1 - |k / half - 2 i - 1|) in cycle i = floor(k / (2 half)): decay 1 is PyTorch's
    "triangular", 1/2 its "triangular2".

    >>> Triangular(1.0, 3.0, half=2, decay=0.5).values(9)
    [1.0, 2.0, 3.0, 2.0, 1.0, 1.5, 2.0, 1.5, 1.0]
    """

    low: NonNegative
    high: NonNegative
    half: Positive
    decay: Decay = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low > self.high:
            raise ValueError(f"Triangular: low must not be above high, got {self.low} and {self.high}")

    def __call__(self, k: int) -> float:
        i, t = divmod(k, 2 * self.half)
        return between(self.low, self.high, self.decay**i * (1 - abs(t / self.half - 1)))


@dataclass(frozen=True)
class WarmupStableDecay(Schedule):
    """A linear rise to `value`, a plateau, and a straight fall to `end`: WSD (Hu et al. 2024, MiniCPM).

    `warmup` and `decay` are shares of `steps`. Where w = warmup * steps and d = decay * steps are whole numbers, it is
    Warmup(w) >> Constant(value, steps - w - d) >> Linear(value, d, end); others it does not round, as `>>` would. The
    plateau can be made longer later without spoiling what was trained.

    >>> WarmupStableDecay(1.0, 10, warmup=0.2, decay=0.4).values(11)
    [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]
    """

    value: NonNegative
    steps: Positive
    warmup: Share = 0.1
    decay: Share = 0.2
    end: NonNegative = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if round(self.warmup + self.decay, 9) > 1:
            raise ValueError(
                f"WarmupStableDecay: warmup={self.warmup} and decay={self.decay} are shares of the steps: "
                "together they must be at most 1"
            )

    def __call__(self, k: int) -> float:
        up, down = self.warmup * self.steps, self.decay * self.steps
        if k + 1 < up:
            return self.value * (k + 1) / up
        left = max(self.steps - k, 0)
        return between(self.end, self.value, left / down) if left < down else self.value


@dataclass(frozen=True)
class Repeat(Schedule):
    """A schedule that ends, again and again from its beginning: `Repeat(s, 3)` is `s >> s >> s`; for ever by default.

    >>> from optimizers.schedules import Linear
    >>> Repeat(Linear(4.0, 2, end=1.0), times=2).values(6)
    [4.0, 2.5, 4.0, 2.5, 1.0, 1.0]
    """

    schedule: Schedule
    times: Count = math.inf

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.schedule.is_factor:
            raise TypeError(f"Repeat: what does {self.schedule!r} rise to? Write Repeat(Warmup(...) >> Constant(1e-3, 10))")
        if not 0 < self.schedule.length < math.inf:
            raise ValueError(f"Repeat: {self.schedule!r} has {self.schedule.length} steps: give it an end, after step 0")

    @property
    def steps(self) -> float:  # type: ignore[override]
        return self.times * math.ceil(self.schedule.length)

    def __call__(self, k: int) -> float:
        once = math.ceil(self.schedule.length)
        return self.schedule(k % once if k < self.steps else once)


@dataclass(frozen=True)
class per_epoch(Schedule):
    """A schedule counted in epochs: schedule(k // steps_per_epoch), so it changes between epochs only.

    >>> from optimizers.schedules import Step
    >>> per_epoch(Step(1.0, every=2), steps_per_epoch=3).values(8)
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.1, 0.1]
    """

    schedule: Schedule
    steps_per_epoch: Whole

    @property
    def steps(self) -> float:  # type: ignore[override]
        length = self.schedule.length
        return length if math.isinf(length) else math.ceil(length) * self.steps_per_epoch

    @property
    def is_factor(self) -> bool:  # type: ignore[override]
        return self.schedule.is_factor

    def __call__(self, k: int) -> float:
        return self.schedule(k // self.steps_per_epoch)

    def factor(self, k: int) -> float:
        return self.schedule.factor(k // self.steps_per_epoch)
