"""What a watched step measures of each parameter and of each layer's outputs: a few numbers, no copies of outputs.

They are computed where the arrays are, and stay there until the step has ended: then `numbers_on_host` fetches all of them
at once. So every class here says first which `numbers()` it has, and afterwards what they mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from monitor.arrays import copied, plain, square_sum

QUANTITIES = ("grad_norm", "weight_norm", "update_ratio", "act_mean", "act_std", "dead", "saturated")
MARGIN = 0.01  # an output this close to a bound is saturated
SAFE = (1e-30, 1e30)  # sums of squares outside may have lost digits in float32, or all of them
ROUNDING = 2.0**-19  # of a loss computed in float32: some 16 units of its last digit


class Weights:
    """The parameters of a layer before a step, their gradients, and how far the step moved them."""

    def __init__(self, parameters: list[Any]):
        self.parameters = parameters
        self.gradients: list[Any] = []  # None where there is none
        self.updates: list[Any] = []  # w before - w after, in the place of the copy; None if the shape has changed
        self._before: list[Any] = [None] * len(parameters)  # copies; the same arrays in every step
        self._now: list[Any] = []
        self._sums: list[Any] = []

    def remember(self) -> None:
        """To be called before the step. The squares are summed at once, while the copies are in the processor's cache."""
        self._before = [copied(plain(p), copy) for p, copy in zip(self.parameters, self._before, strict=True)]
        self._sums = [square_sum(copy) for copy in self._before]

    def numbers(self) -> list[Any]:
        """Sums of squares: of the parameters before the step, and of the gradients and updates that are there."""
        self._now = [plain(parameter) for parameter in self.parameters]
        self.gradients = [plain(parameter.grad) for parameter in self.parameters]
        self.updates = [_moved(copy, now) for copy, now in zip(self._before, self._now, strict=True)]
        return self._sums + [square_sum(array) for array in (*self.gradients, *self.updates) if array is not None]

    def forget(self) -> None:
        """The step has ended: hold no array of it but the copies, which the next one is put into."""
        self.gradients, self.updates, self._now = [], [], []

    def norms(self, numbers: Iterator[float]) -> list[float | None]:
        """||g||, ||w|| and ||w after - w|| / ||w|| from what `numbers` gave, now on the host."""
        gradients = [gradient for gradient in self.gradients if gradient is not None]
        updates = [update for update in self.updates if update is not None]
        weight = _norm(numbers, len(self._sums), self._weights_before)
        gradient, update = _norm(numbers, len(gradients), lambda: gradients), _norm(numbers, len(updates), lambda: updates)
        return [gradient, weight, update / weight if update is not None and weight else None]

    def _weights_before(self) -> list[Any]:
        found = zip(self._before, self._now, self.updates, strict=True)
        return [copy if update is None else now + update for copy, now, update in found]


class Outputs:
    """What one layer answered in the forward passes of a step: a few numbers for each, still on their device."""

    def __init__(self, bounds: tuple[float, float] | None):
        self.bounds = bounds
        self.forget()

    def forget(self) -> None:
        """A new step begins."""
        self.sizes: list[int] = []
        self._numbers: list[Any] = []  # of each pass: mean, sum of squared deviations, and for a bounded layer how many
        self._alive: Any = None  # for every unit, whether it was not zero on some row

    def see(self, output: Any) -> None:
        """Take note of the output of one forward pass."""
        x = plain(output[0] if isinstance(output, (tuple, list)) and output else output)
        if x is None or not x.shape or 0 in x.shape:
            return
        self.sizes.append(math.prod(x.shape))
        mean = x.sum() / self.sizes[-1]
        self._numbers += [mean, square_sum(x - mean)]
        if self.bounds is not None:
            self._numbers.append(((x <= self.bounds[0] + MARGIN) | (x >= self.bounds[1] - MARGIN)).sum())
        alive = _alive(x)
        if self._alive is not None and self._alive.shape == alive.shape:
            alive = alive | self._alive
        self._alive = alive

    def numbers(self) -> list[Any]:
        return [*self._numbers, _count(self._alive)] if self.sizes else []

    def statistics(self, numbers: Iterator[float]) -> list[float | None]:
        """act_mean, act_std, dead and saturated, from what `numbers` gave, now on the host.

        Means and deviations of several passes are joined as by Chan, Golub & LeVeque (1979).
        """
        if not self.sizes:
            return [None] * 4
        total, mean, deviations, saturated = 0, 0.0, 0.0, 0.0
        for size in self.sizes:
            here, spread = next(numbers), next(numbers)
            saturated += next(numbers) if self.bounds is not None else 0
            deviations += spread + (here - mean) ** 2 * total * size / (total + size)
            mean += (here - mean) * size / (total + size)
            total += size
        units = math.prod(self._alive.shape)
        dead = (units - next(numbers)) / units
        std = math.sqrt(deviations / total) if deviations >= 0 else math.nan
        return [mean, std, dead, saturated / total if self.bounds is not None else None]


def _alive(x: Any) -> Any:
    """For every unit of an output, whether it is not zero on some row."""
    if len(x.shape) >= 4:
        return x.reshape(*x.shape[:2], -1).any(2).any(0)
    rows = x.reshape(-1, x.shape[-1] if len(x.shape) > 1 else 1)
    flags = rows[:1].any(0)  # nearly always enough where no ReLU was; on a device one would have to wait to know that
    return flags if type(x) is np.ndarray and flags.all() else rows.any(0)


def _count(flags: Any) -> Any:
    return np.count_nonzero(flags) if type(flags) is np.ndarray else flags.sum()  # on a device the count stays there


def _norm(numbers: Iterator[float], count: int, arrays: Callable[[], list[Any]]) -> float | None:
    """The norm of some arrays together, whose sums of squares come next, unless these lost digits in float32.

    Then it is computed anew from numbers up to 1, at the price of more copies from a GPU. None if there are no arrays.
    """
    total = sum([next(numbers) for _ in range(count)])
    if SAFE[0] < total < SAFE[1]:
        return math.sqrt(total)
    return math.hypot(*map(_scaled_norm, arrays())) if count else None


def _scaled_norm(array: Any) -> float:
    largest = float(abs(array).max()) if 0 not in array.shape else 0.0
    if largest == 0 or not math.isfinite(largest):
        return largest
    return largest * math.sqrt(float(square_sum(array / largest)))


def _moved(before: Any, now: Any) -> Any:
    """Minus the update, in the place of the array before it; None if they differ in shape."""
    if before.shape != now.shape:
        return None
    before -= now
    return before


def one_number(name: str, loss: Any) -> Any:
    """A loss, still on its device."""
    array = plain(loss)
    if array is None:
        return float(loss)
    if math.prod(array.shape) != 1:
        raise ValueError(f"watch: {name} should be one number, got an array of shape {tuple(array.shape)}")
    return array.reshape(())


def rho_of(before: float, after: float, *promised: float) -> float | None:
    """The decrease of the loss as a share of what was promised, if there is something to be seen."""
    promise, noise = math.fsum(promised), ROUNDING * max(abs(before), abs(after))
    rho = (before - after) / promise if abs(promise) > noise else math.nan  # whatever is not finite makes it nan, or 0
    return rho if math.isfinite(rho) and math.isfinite(promise) else None
