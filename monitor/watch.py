"""Watching a model from inside: how large each layer's gradients, weights and updates are, and what its units answer.

    watcher = recorder.watch(model, every=10)
    for step, (x, y) in enumerate(batches, start=1):
        watcher.begin(step)              # before the forward pass
        loss = ...                       # forward, backward, optimizer.step()
        watcher.end(step, loss, lambda: loss_of(model(x), y))  # after the update, before the gradients are cleared

On all but every tenth step both calls do nothing, and `end(step)` is enough for all but rho. The model is a tinynet
Module, a torch.nn.Module, or anything with `named_parameters()` or `parameters()`; `named_modules()` and forward hooks are
used where there are any. No bit of the training changes, and no output is kept: what is computed of them are a few sums,
which come off a GPU in one piece when the step has ended. rho takes a second forward pass, more than all the rest together,
and so it is measured less often.
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
from monitor.undisturbed import Undisturbed

QUANTITIES = ("grad_norm", "weight_norm", "update_ratio", "act_mean", "act_std", "dead", "saturated")
BOUNDS = {"tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0)}  # activations that saturate, and the values that they approach
MARGIN = 0.01  # an output this close to a bound is saturated
SAFE = (1e-30, 1e30)  # sums of squares outside may have lost digits in float32, or all of them
ROUNDING = 2.0**-19  # of a loss computed in float32: some 16 units of its last digit
FIRST = 60  # watched steps on all of which rho is measured: from fewer, the doctor cannot tell gradients never cleared


class Watcher:
    """Records a `layer` event and grad_norm at step 1 and every `every` steps, and rho; made by `recorder.watch`.

        grad_norm      ||g||, Euclidean, of all parameters together: the gradients that the optimizer used
        rho            (loss before - loss after) / (g . (w before - w after)), on one batch with one dropout mask: by how
                       much an update lowered the loss, as a share of what the gradient promised. The ratio by which a
                       trust region is judged (Conn, Gould & Toint 2000, Trust-Region Methods, section 6.1)

    rho is 0.8 to 1 in a healthy training, lower where the loss is curved along steps this long, below 0 where they
    overshoot; about 0 if the gradients are not of this batch alone (never cleared), and -1 if they have the wrong sign.
    Whatever else moves the weights (momentum, weight decay, a penalty) is part of the step: rho still says how far the
    gradient can be trusted along it, but not that the step is downhill, and near the end of a training, where decay and
    gradient balance, promise and decrease are both small. Where the promise is below the rounding errors of the loss, or
    something is not finite, there is no rho at this step. It is measured on the first sixty watched steps, when most goes
    wrong, and then every `rho` steps: a multiple of `every`, fifty times that if not given; 0 for never.

    What is recorded of each layer, a module that has parameters of its own or no modules inside:

        grad_norm      ||g|| of its own parameters
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

    def __init__(self, model: Any, recorder: Any, every: int = 10, histograms: int = 0, rho: int | None = None):
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ValueError(f"watch: every must be a whole number of steps, at least 1, got {every!r}")
        for name, steps in (("histograms", histograms), ("rho", every if rho is None else rho)):
            if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0 or steps % every:
                raise ValueError(f"watch: {name} must be 0 or a multiple of every={every} steps, got {steps!r}")
        self.every = every
        self.histograms = histograms
        self.rho = 50 * every if rho is None else rho
        self._recorder = recorder
        self._parameters = _named_parameters(model)
        owners = [name.rpartition(".")[0] for name, _ in self._parameters]
        self.layers = _layers(model, owners)  # (name, module)
        self._own = [[i for i, owner in enumerate(owners) if owner == name] for name, _ in self.layers]  # parameters
        self._step: int | None = None  # the step that is being watched
        self._copies: list[Any] = [None] * len(self._parameters)  # of the parameters before it; the same arrays every time
        self._gradients: list[Any] | None = None  # as they were before they were clipped
        self._outputs: dict[int, Outputs] = {}  # by the id of the module
        self._undisturbed = Undisturbed(model)
        self._chance: Any = None  # if rho is wanted: where the random generators were when the step began
        self.asked = False  # about any step: somebody calls begin, or wants
        self._warned = False
        self._unhook: list[Callable[[], None]] = []

    def wants(self, step: int) -> bool:
        """Whether this step is watched: the first, and every multiple of `every`."""
        self.asked = True
        return step <= 1 or step % self.every == 0

    def wants_rho(self, step: int) -> bool:
        """Whether rho is measured at this step."""
        return self.rho > 0 and self.wants(step) and (step <= FIRST * self.every or step % self.rho == 0)

    def draws_from(self, generators: Iterable[np.random.Generator]) -> None:
        """Name random generators that the loss draws from and that are no attribute of a module; `end` minds those, too."""
        self._undisturbed.generators.extend(generators)

    def begin(self, step: int, outputs: bool = True) -> None:
        """Call before the forward pass of update number `step`.

        outputs: whether to look at the forward pass by hooks. A replayed one does not call them (tinynet/capture): False,
            and before `end` tell `see` what the layers answered.
        """
        if self._step is not None:  # that step did not end: it raised an error
            self.cancel()
        if not self.wants(step):
            return
        self._step = step
        self._chance = self._undisturbed.chance() if self.wants_rho(step) else None
        for i, (_, parameter) in enumerate(self._parameters):
            self._copies[i] = _copied(plain(parameter), self._copies[i])
        for _, module in self.layers:
            if id(module) not in self._outputs:
                self._outputs[id(module)] = seen = Outputs(_bounds(module))
                if outputs:
                    self._unhook.append(_hook(module, seen.see))

    def see(self, answers: Iterable[tuple[Any, Any]]) -> None:
        """Take note of what the `layers` answered in this step, (module, output) for each, where hooks do not."""
        for module, output in answers:
            if id(module) in self._outputs:
                self._outputs[id(module)].see(output)

    def gradients(self) -> None:
        """If gradients are clipped: call it before that, so that rho is measured with the gradients of the loss."""
        if self._chance is not None:
            self._gradients = [None if (g := plain(p.grad)) is None else _copied(g, None) for _, p in self._parameters]

    def end(self, step: int, loss: Any = None, again: Callable[[], Any] | None = None) -> None:
        """Call after the update, while the gradients are still there.

        loss, again: for rho, what the forward pass of this step answered, and a function that computes it anew with the
            weights as they are now, called where rho is wanted. It draws the same random numbers, and leaves no trace in
            the model (undisturbed.py).
        """
        if self._step is None:
            return
        if self._step != step:
            self.cancel()
            return
        self._unlook()  # the second pass is not one of the step
        with np.errstate(all="ignore"):  # an overflow is what we are here to tell
            after = None if again is None or self._chance is None else self._again(again)
            data, total, rho = self._measure(loss, after)
        scalars = {name: value for name, value in (("grad_norm", total), ("rho", rho)) if value is not None}
        self.cancel()
        if scalars:
            self._recorder.event("step", step, scalars, counts=False)
        self._recorder.event("layer", step, data, counts=False)
        if self.histograms and (step <= 1 or step % self.histograms == 0):
            self._recorder.event("histogram", step, self._histograms(), counts=False)

    def cancel(self) -> None:
        """Forget the step that was begun; the model is as it was before."""
        self._unlook()
        self._step, self._outputs, self._gradients, self._chance = None, {}, None, None

    def _unlook(self) -> None:
        for unhook in self._unhook:
            unhook()
        self._unhook = []

    def _again(self, again: Callable[[], Any]) -> Any:
        """The loss with the weights as they are now; None if that raises an error, which no update has to survive."""
        try:
            with self._undisturbed.again(self._chance):
                return again()
        except Exception as error:
            if not self._warned:
                self._warned = True
                self._recorder.note(
                    f"watch: no rho, since the loss cannot be computed again: {type(error).__name__}: {error}"
                )
        return None

    def _measure(self, loss: Any, after: Any) -> tuple[dict[str, list], float | None, float | None]:
        """The data of the layer event, the norm of all gradients, and rho."""
        found = [_squares(p, copy) for (_, p), copy in zip(self._parameters, self._copies, strict=True)]
        sums = [item[0] for group in found for item in group if item is not None]
        outputs = dict(self._outputs)
        of_rho = [] if loss is None or after is None else self._parts_of_rho(found, loss, after)
        numbers = on_host([*sums, *(number for seen in outputs.values() for number in seen.numbers()), *of_rho])
        norms = [[None if item is None else _norm(next(numbers), *item[1:]) for item in group] for group in found]
        rows = []
        for (_, module), own in zip(self.layers, self._own, strict=True):
            weight, gradient, update = map(_together, zip(*[norms[i] for i in own], strict=True)) if own else [None] * 3
            ratio = update / weight if update is not None and weight else None
            seen = outputs.pop(id(module), None)  # of a module that is there twice, under its first name
            rows.append([gradient, weight, ratio, *(seen.statistics(numbers) if seen else [None] * 4)])
        names = [name or type(module).__name__ for name, module in self.layers]
        columns = dict(zip(QUANTITIES, map(list, zip(*rows, strict=True)), strict=True))
        rho = _rho(*numbers) if of_rho else None
        return {"names": names, **columns}, _together([group[1] for group in norms]), rho

    def _parts_of_rho(self, found: list[list[Any]], loss: Any, after: Any) -> list[Any]:
        """Both losses, and for each parameter gradient times update; nothing if one of them is not what it was."""
        parts = [_one_number("loss", loss), _one_number("again()", after)]
        gradients = self._gradients or [group[1] and group[1][1] for group in found]
        for gradient, (_, _, update) in zip(gradients, found, strict=True):
            if gradient is not None:
                if update is None or gradient.shape != update[1].shape:  # of a sparse gradient, say
                    return []
                parts.append(gradient.reshape(-1) @ update[1].reshape(-1))
        return parts

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
        numbers = [number if hasattr(number, "detach") else torch.tensor(number) for number in numbers]
        if len({number.device for number in numbers}) > 1:
            numbers = [number.cpu() for number in numbers]
        kind = functools.reduce(torch.promote_types, {number.dtype for number in numbers})
        return iter(torch.stack([number.to(kind) for number in numbers]).tolist())
    if numbers and hasattr(numbers[0], "get"):  # CuPy
        first = numbers[0]
        together: Any = np.stack([n if hasattr(n, "get") else np.full_like(first, n) for n in numbers])
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


def _squares(parameter: Any, copy: Any) -> list[tuple | None]:
    """The sums of squares of a parameter before the step, its gradient and its update, each with the arrays it is of.

    copy: the parameter as it was before; the update is computed in its place.
    """
    now, gradient, before = plain(parameter), plain(parameter.grad), _square_sum(copy)
    of_gradient = None if gradient is None else (_square_sum(gradient), gradient)
    if copy.shape != now.shape:
        return [(before, copy), of_gradient, None]
    copy -= now  # minus the update
    return [(before, now, copy), of_gradient, (_square_sum(copy), copy)]


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


def _one_number(name: str, loss: Any) -> Any:
    """A loss, still on its device."""
    array = plain(loss)
    if array is None:
        return float(loss)
    if math.prod(array.shape) != 1:
        raise ValueError(f"watch: {name} should be one number, got an array of shape {tuple(array.shape)}")
    return array.reshape(())


def _rho(before: float, after: float, *promised: float) -> float | None:
    """The decrease of the loss as a share of what was promised, if there is something to be seen."""
    promise, noise = math.fsum(promised), ROUNDING * max(abs(before), abs(after))
    rho = (before - after) / promise if abs(promise) > noise else math.nan  # whatever is not finite makes it nan, or 0
    return rho if math.isfinite(rho) and math.isfinite(promise) else None


def _together(norms: Iterable[float | None]) -> float | None:
    """The norm of several arrays from the norms of each, None if there is none."""
    known = [norm for norm in norms if norm is not None]
    return math.hypot(*known) if known else None


def _alive(x: Any) -> Any:
    """For every unit of an output, whether it is not zero on some row."""
    if len(x.shape) >= 4:
        return x.reshape(*x.shape[:2], -1).any(2).any(0)
    return x.reshape(-1, x.shape[-1] if len(x.shape) > 1 else 1).any(0)


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


def _layers(model: Any, owners: list[str]) -> list[tuple[str, Any]]:
    """(name, module) of the modules that have parameters of their own or no modules inside, without dropout.

    owners: for each parameter, the name of the module that has it.
    """
    if not hasattr(model, "named_modules"):
        return [(name, model) for name in dict.fromkeys(owners)]
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
