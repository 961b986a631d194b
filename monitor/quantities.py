"""What a watched step measures of each parameter and of each layer's outputs: a few numbers, no copies of outputs.

They are computed where the arrays are, and stay there until the step has ended: then `numbers_on_host` fetches all of them
at once. So every class here says first which `numbers()` it has, and afterwards what they mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from monitor.arrays import SideBySide, copied, plain, square_sum

QUANTITIES = ("grad_norm", "weight_norm", "update_ratio", "act_mean", "act_std", "dead", "saturated")
MARGIN = 0.01  # an output this close to a bound is saturated
SAFE = (1e-30, 1e30)  # sums of squares outside may have lost digits in float32, or all of them
ROUNDING = 2.0**-19  # of a loss computed in float32: some 16 units of its last digit


class Weights:
    """The parameters of a layer before a step, their gradients, and how far the step moved them.

    Where an optimizer has laid them side by side in memory, all of them are looked at as one array, and so the gradients.
    """

    def __init__(self, parameters: list[Any]):
        self.parameters = parameters
        self._weights, self._slopes = SideBySide(), SideBySide()
        self._before: list[Any] = []  # copies; the same arrays in every step
        self._now: list[Any] = []
        self._moved: list[Any] = []  # w before - w after, in the place of the copies; None if the shape has changed
        self._known: list[Any] = []  # the gradients that are there
        self._sums: list[Any] = []

    def remember(self) -> None:
        """To be called before the step. The squares are summed at once, while the copies are in the processor's cache."""
        if not self.parameters:
            return
        arrays = self._arrays()
        before = self._before if len(self._before) == len(arrays) else [None] * len(arrays)
        self._before = [copied(array, copy) for array, copy in zip(arrays, before, strict=True)]
        self._sums = [square_sum(copy) for copy in self._before]

    def _arrays(self) -> list[Any]:
        return self._weights.of(self.parameters, [getattr(parameter, "data", None) for parameter in self.parameters])

    def numbers(self) -> list[Any]:
        """Sums of squares: of the parameters before the step, and of the gradients and updates that are there."""
        if not self.parameters:
            return []
        self._now = self._arrays()
        if len(self._now) != len(self._before):  # it was in this step that they were laid out, or are no more
            self._now, self._before = list(map(plain, self.parameters)), self._of_each(self._before)
        self._moved = [_moved(copy, now) for copy, now in zip(self._before, self._now, strict=True)]
        known = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        self._known = self._slopes.of(known, known)
        return self._sums + [square_sum(array) for array in (*self._known, *self._moved) if array is not None]

    def gradients(self) -> list[Any]:
        """That of each parameter; None where there is none."""
        return [plain(parameter.grad) for parameter in self.parameters]

    def updates(self) -> list[Any]:
        """Minus the update of each parameter."""
        return self._of_each(self._moved)

    def _of_each(self, arrays: list[Any]) -> list[Any]:
        """The array of each parameter, if these are not that already."""
        if len(arrays) == len(self.parameters):
            return arrays
        return [None] * len(self.parameters) if arrays[0] is None else self._weights.apart(arrays[0])

    def forget(self) -> None:
        """The step has ended: hold no array of it but the copies, which the next one is put into."""
        self._now = self._moved = self._known = []

    def norms(self, numbers: Iterator[float]) -> list[float | None]:
        """||g||, ||w|| and ||w after - w|| / ||w|| from what `numbers` gave, now on the host."""
        if not self.parameters:
            return [None] * 3
        moved = [array for array in self._moved if array is not None]
        weight = _norm(numbers, len(self._sums), self._weights_before)
        gradient, update = _norm(numbers, len(self._known), lambda: self._known), _norm(numbers, len(moved), lambda: moved)
        return [gradient, weight, update / weight if update is not None and weight else None]

    def _weights_before(self) -> list[Any]:
        found = zip(self._before, self._now, self._moved, strict=True)
        return [copy if moved is None else now + moved for copy, now, moved in found]


class Outputs:
    """What one layer answered in the forward passes of a step: a few numbers for each, still on their device."""

    def __init__(self, bounds: tuple[float, float] | None):
        self.bounds = bounds
        self.forget()

    def forget(self) -> None:
        """A new step begins."""
        self.sizes: list[int] = []
        self._numbers: list[Any] = []  # of each pass: mean, sum of squared deviations, and for a bounded layer how many
        self._units = 0
        self._alive: Any = None  # for every unit, whether it was not zero on some row; True if all of them are

    def see(self, output: Any) -> None:
        """Take note of the output of one forward pass."""
        x = plain(output[0] if isinstance(output, (tuple, list)) and output else output)
        if x is None or not x.shape or 0 in x.shape:
            return
        x = x if len(x.shape) == 2 else _by_unit(x)
        size = math.prod(x.shape)
        sums = x.sum(0) if len(x.shape) == 2 else x.sum((0, 2))
        mean = sums.sum() / size
        self.sizes.append(size)
        self._numbers += [mean, square_sum(x - mean)]
        if self.bounds is not None:
            self._numbers.append(((x <= self.bounds[0] + MARGIN) | (x >= self.bounds[1] - MARGIN)).sum())
        alive = _alive(x, sums)
        if self._units == math.prod(sums.shape) and alive is not True:
            alive = self._alive is True or alive | self._alive
        self._units, self._alive = math.prod(sums.shape), alive

    def numbers(self) -> list[Any]:
        if self._alive is None or self._alive is True:
            return self._numbers
        return [*self._numbers, _count(self._alive)]

    def statistics(self, numbers: Iterator[float]) -> list[float | None]:
        """act_mean, act_std, dead and saturated, from what `numbers` gave, now on the host.

        Means and deviations of several passes are joined as by Chan, Golub & LeVeque (1979).
        """
        if not self.sizes:
            return [None] * 4
        mean, deviations = next(numbers), next(numbers)
        saturated = next(numbers) if self.bounds is not None else 0
        total = self.sizes[0]
        for size in self.sizes[1:]:
            here, spread = next(numbers), next(numbers)
            saturated += next(numbers) if self.bounds is not None else 0
            deviations += spread + (here - mean) ** 2 * total * size / (total + size)
            mean += (here - mean) * size / (total + size)
            total += size
        dead = 0.0 if self._alive is True else (self._units - next(numbers)) / self._units
        std = math.sqrt(deviations / total) if deviations >= 0 else math.nan
        return [mean, std, dead, saturated / total if self.bounds is not None else None]


def _by_unit(x: Any) -> Any:
    """An output as [rows, units], or [images, units, pixels]."""
    if len(x.shape) >= 4:
        return x.reshape(*x.shape[:2], -1)
    return x.reshape(-1, x.shape[-1] if len(x.shape) > 1 else 1)


def _alive(x: Any, sums: Any) -> Any:
    """For every unit of an output, whether it is not zero on some row; True if all are, which sums may tell at once."""
    if type(x) is np.ndarray and np.count_nonzero(sums) == sums.size:  # on a device, to know that would be to wait for it
        return True
    return x.any(0) if len(x.shape) == 2 else x.any(2).any(0)


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
