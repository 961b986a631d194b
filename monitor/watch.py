"""Watching a model from inside: how large each layer's gradients, weights and updates are, and what its units answer.

    watcher = recorder.watch(model, every=10)
    for step, (x, y) in enumerate(batches, start=1):
        watcher.begin(step)              # before the forward pass
        ...                              # forward, backward, optimizer.step()
        watcher.end(step)                # after the update, before the gradients are cleared

On all but every tenth step both calls do nothing. The model is a tinynet Module, a torch.nn.Module, or anything with
`named_parameters()` or `parameters()`; `named_modules()` and forward hooks are used where there are any. Nothing is
changed, no random number is drawn, and no output is kept: what is computed of them are a few sums, which come off a GPU
in one piece when the step has ended.
"""

from __future__ import annotations

import functools
import math
import operator
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from monitor.histograms import Histogram

QUANTITIES = ("grad_norm", "weight_norm", "update_ratio", "act_mean", "act_std", "dead", "saturated")
BOUNDS = {"tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0)}  # activations that saturate, and the values that they approach
MARGIN = 0.01  # an output this close to a bound is saturated
SAFE = (1e-30, 1e30)  # sums of squares outside may have lost digits in float32, or all of them


class Watcher:
    """Records a `layer` event and the scalar grad_norm at step 1 and every `every` steps; made by `recorder.watch`.

    What is recorded of each layer, a module that has parameters of its own or no modules inside:

        grad_norm      ||g||, Euclidean, over all its parameters together: the gradients that the optimizer used
        weight_norm    ||w|| before the update
        update_ratio   ||w after - w|| / ||w||: how fast the layer learns (You, Gitman & Ginsburg 2017)
        act_mean       mean of its outputs in the forward passes of this step
        act_std        their standard deviation (of the population)
        dead           share of its units whose output was exactly 0 on all rows: nothing flows back through such a ReLU
        saturated      share of a tanh's or sigmoid's outputs within 0.01 of its bounds, where its slope nearly vanishes

    and None where a quantity does not apply or was not to be had. A unit is an index of the last axis, or of axis 1 of
    arrays with four axes or more (the channels of images). Dropout is passed over: its zeros are a mask. `histograms=n`
    also counts the parameters and gradients into histograms every n steps, called "weights/<parameter>" and
    "gradients/<parameter>"; for that they are copied off a GPU.
    """

    def __init__(self, model: Any, recorder: Any, every: int = 10, histograms: int = 0):
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ValueError(f"watch: every must be a whole number of steps, at least 1, got {every!r}")
        if isinstance(histograms, bool) or not isinstance(histograms, int) or histograms < 0 or histograms % every:
            raise ValueError(f"watch: histograms must be 0 or a multiple of every={every} steps, got {histograms!r}")
        self.every = every
        self.histograms = histograms
        self._recorder = recorder
        self._parameters = _named_parameters(model)
        self._layers = _layers(model, [name for name, _ in self._parameters])
        self._step: int | None = None  # the step that is being watched
        self._copies: list[Any] = [None] * len(self._parameters)  # of the parameters before it; the same arrays every time
        self._squares: list[Any] = []  # of their squares
        self._outputs: list[Outputs] = []
        self._unhook: list[Callable[[], None]] = []

    def wants(self, step: int) -> bool:
        """Whether this step is watched: the first, and every multiple of `every`. Its forward pass must run in Python."""
        return step <= 1 or step % self.every == 0

    def begin(self, step: int) -> None:
        """Call before the forward pass of update number `step`."""
        if self._step is not None:  # that step did not end: it raised an error
            self.cancel()
        if not self.wants(step):
            return
        self._step = step
        with np.errstate(all="ignore"):
            for i, (_, parameter) in enumerate(self._parameters):
                self._copies[i] = _copied(plain(parameter), self._copies[i])
            self._squares = [_square_sum(copy) for copy in self._copies]
        self._outputs = [Outputs(_bounds(module)) for _, module in self._layers]
        hooked: set[int] = set()
        for (_, module), outputs in zip(self._layers, self._outputs, strict=True):
            if id(module) not in hooked:
                hooked.add(id(module))
                self._unhook.append(_hook(module, outputs.see))

    def end(self, step: int) -> None:
        """Call after the update, while the gradients are still there."""
        if self._step is None:
            return
        squares, outputs, watched = self._squares, self._outputs, self._step
        self.cancel()
        if watched != step:
            return
        with np.errstate(all="ignore"):  # an overflow is what we are here to tell
            data, total = self._measure(squares, outputs)
        if total is not None:
            self._recorder.event("step", step, {"grad_norm": total}, counts=False)
        self._recorder.event("layer", step, data, counts=False)
        if self.histograms and (step <= 1 or step % self.histograms == 0):
            self._recorder.event("histogram", step, self._histograms(), counts=False)

    def cancel(self) -> None:
        """Forget the step that was begun; the model is as it was before."""
        for unhook in self._unhook:
            unhook()
        self._step, self._squares, self._outputs, self._unhook = None, [], [], []

    def _measure(self, squares: list[Any], outputs: list[Outputs]) -> tuple[dict[str, list], float | None]:
        """The data of the layer event, and the norm of all gradients; `squares` are those of the weights before."""
        found: list[list[Any]] = []  # of each parameter: weights, gradient, update; a sum of squares, and of which arrays
        for (_, parameter), square, copy in zip(self._parameters, squares, self._copies, strict=True):
            now, gradient, same = plain(parameter), plain(parameter.grad), copy.shape == parameter.shape
            if same:
                copy -= now  # our own array: minus the update
            found.append([(square, now, copy) if same else (square, now)])
            found[-1] += [(_square_sum(a), a) if a is not None else None for a in (gradient, copy if same else None)]
        sums = [item[0] for group in found for item in group if item is not None]
        numbers = on_host(sums + [number for seen in outputs for number in seen.numbers()])
        norms = [[None if item is None else _norm(next(numbers), *item[1:]) for item in group] for group in found]
        prefixes = [name.rpartition(".")[0] for name, _ in self._parameters]
        rows = []
        for (name, _), seen in zip(self._layers, outputs, strict=True):
            own = [group for prefix, group in zip(prefixes, norms, strict=True) if prefix == name]
            weight, gradient, update = (_together(group[part] for group in own) for part in range(3))
            ratio = update / weight if update is not None and weight else None
            rows.append([gradient, weight, ratio, *seen.statistics(numbers)])
        names = [name or type(module).__name__ for name, module in self._layers]
        columns = dict(zip(QUANTITIES, map(list, zip(*rows, strict=True)), strict=True))
        return {"names": names, **columns}, _together(group[1] for group in norms)

    def _histograms(self) -> dict[str, Any]:
        data = {}
        for name, parameter in self._parameters:
            for kind, array in (("weights", plain(parameter)), ("gradients", plain(parameter.grad))):
                if array is not None:
                    data[f"{kind}/{name}"] = Histogram.of(host_array(array)).data()
        return data


class Outputs:
    """What one layer answered in the forward passes of a step: a few numbers for each, still on their device."""

    def __init__(self, bounds: tuple[float, float] | None):
        self.bounds = bounds
        self.sizes: list[int] = []
        self._numbers: list[Any] = []  # of each pass: mean, sum of squared deviations, and for a bounded layer how many
        self._alive: Any = None  # for every unit, whether it was not zero on some row

    def see(self, output: Any) -> None:
        """Take note of the output of one forward pass."""
        x = plain(output[0] if isinstance(output, tuple | list) and output else output)
        if x is None or not x.shape or 0 in x.shape:
            return
        with np.errstate(all="ignore"):
            self.sizes.append(math.prod(x.shape))
            mean = x.sum() / self.sizes[-1]
            self._numbers += [mean, _square_sum(x - mean)]
            if self.bounds is not None:
                self._numbers.append(((x <= self.bounds[0] + MARGIN) | (x >= self.bounds[1] - MARGIN)).sum())
        alive = _alive(x)
        if self._alive is not None and self._alive.shape == alive.shape:
            alive = alive | self._alive
        self._alive = alive

    def numbers(self) -> list[Any]:
        return [*self._numbers, self._alive.sum()] if self.sizes else []

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


# Arrays of any library ------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """The array of real numbers in a tensor or parameter, outside its graph, in float32 at least; None if there is none."""
    if type(value) is not np.ndarray:
        if hasattr(value, "is_floating_point"):
            return _plain_torch(value)
        if not hasattr(value, "strides"):  # neither NumPy's nor CuPy's: tinynet's
            value = getattr(value, "data", None)
            if not hasattr(value, "dtype"):
                return None
    if value.dtype.kind != "f":
        return None
    return value if value.dtype.itemsize >= 4 else value.astype(np.float32)


def _plain_torch(value: Any) -> Any:
    if not value.is_floating_point():
        return None
    value = value.detach()
    value = value.coalesce().values() if value.is_sparse else value
    return value if value.element_size() >= 4 else value.float()


def on_host(numbers: list[Any]) -> Iterator[float]:
    """Numbers of any library as Python's; from a GPU in one copy."""
    if numbers and hasattr(numbers[0], "detach"):
        torch = sys.modules["torch"]
        if len({number.device for number in numbers}) > 1:
            numbers = [number.cpu() for number in numbers]
        kind = functools.reduce(torch.promote_types, {number.dtype for number in numbers})
        return iter(torch.stack([number.to(kind) for number in numbers]).tolist())
    if numbers and hasattr(numbers[0], "get"):  # CuPy
        together: Any = np.stack(numbers)
        return iter(together.get().tolist())
    return map(float, numbers)


def host_array(array: Any) -> np.ndarray:
    """An array of any library as NumPy's."""
    if hasattr(array, "detach"):
        return array.detach().cpu().numpy()
    return array.get() if hasattr(array, "get") else np.asarray(array)


def _copied(array: Any, copy: Any) -> Any:
    """`copy` with the values of the array, if it is an array like that; else a new one."""
    if copy is None or (copy.shape, copy.dtype, copy.device) != (array.shape, array.dtype, array.device):
        return array.clone() if hasattr(array, "clone") else array.copy()
    copy[...] = array
    return copy


def _square_sum(array: Any) -> Any:
    flat = array.reshape(-1)
    return flat @ flat


def _norm(square_sum: float, *arrays: Any) -> float:
    """The norm of an array, or of the sum of several, whose sum of squares is known, unless that lost digits in float32.

    Then it is computed anew from numbers up to 1, at the price of more copies from a GPU.
    """
    if SAFE[0] < square_sum < SAFE[1]:
        return math.sqrt(square_sum)
    array = functools.reduce(operator.add, arrays)
    largest = float(abs(array).max()) if 0 not in array.shape else 0.0
    if largest == 0 or not math.isfinite(largest):
        return largest
    return largest * math.sqrt(float(_square_sum(array / largest)))


def _together(norms: Iterable[float | None]) -> float | None:
    """The norm of several arrays from the norms of each, None if there is none."""
    known = [norm for norm in norms if norm is not None]
    return math.hypot(*known) if known else None


def _alive(x: Any) -> Any:
    """For every unit of an output, whether it is not zero on some row."""
    if len(x.shape) >= 4:
        return (x.reshape(*x.shape[:2], -1) != 0).any(2).any(0)
    return (x.reshape(-1, x.shape[-1] if len(x.shape) > 1 else 1) != 0).any(0)


# Models of any library ------------------------------------------------------------------------------------------------


def _named_parameters(model: Any) -> list[tuple[str, Any]]:
    """(dotted name, parameter) for all that are real numbers."""
    if hasattr(model, "named_parameters"):
        named = list(model.named_parameters())
    elif hasattr(model, "parameters"):
        named = [(str(i), parameter) for i, parameter in enumerate(model.parameters())]
    else:
        raise TypeError(f"watch: the model must have named_parameters() or parameters(), got {type(model).__name__}")
    named = [(name, parameter) for name, parameter in named if plain(parameter) is not None]
    if not named:
        raise ValueError(f"watch: this {type(model).__name__} has no parameters to watch")
    return named


def _layers(model: Any, parameters: list[str]) -> list[tuple[str, Any]]:
    """(name, module) of the modules that have parameters of their own or none inside, without dropout."""
    owners = dict.fromkeys(name.rpartition(".")[0] for name in parameters)
    if not hasattr(model, "named_modules"):
        return [(name, model) for name in owners]
    modules = dict(model.named_modules())
    inner = {"" for name in modules if name}  # the names that other modules' names begin with
    for name in modules:
        inner.update(name[:i] for i, letter in enumerate(name) if letter == ".")
    return [(n, m) for n, m in modules.items() if n in owners or (n not in inner and "dropout" not in _kind(m))]


def _kind(module: Any) -> str:
    return type(module).__name__.lower()


def _bounds(module: Any) -> tuple[float, float] | None:
    """Between which values the outputs lie; tinynet's activations have their name as an attribute."""
    return BOUNDS.get(_kind(module)) or BOUNDS.get(str(getattr(module, "name", "")).lower())


def _hook(module: Any, see: Callable[[Any], None]) -> Callable[[], Any]:
    """From now on show the module's outputs to `see`, until the function that this returns is called."""
    if hasattr(module, "register_forward_hook"):
        return module.register_forward_hook(lambda _module, _inputs, output: see(output)).remove
    if not hasattr(module, "forward_hooks"):
        return lambda: None

    def hook(_module: Any, output: Any) -> None:
        see(output)

    own = vars(module)

    def unhook() -> None:
        left = tuple(h for h in own.pop("forward_hooks", ()) if h is not hook)
        if left:  # without any, the class's empty tuple is seen again
            own["forward_hooks"] = left

    own["forward_hooks"] = (*module.forward_hooks, hook)
    return unhook
