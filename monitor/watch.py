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

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from monitor.arrays import copied, numbers_on_host, on_host, plain
from monitor.histograms import Histogram
from monitor.quantities import QUANTITIES, Outputs, Weights, one_number, rho_of
from monitor.undisturbed import Undisturbed

BOUNDS = {"tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0)}  # activations that saturate, and the values that they approach
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
        self._names = [name or type(module).__name__ for name, module in self.layers]
        owned = [[p for (_, p), owner in zip(self._parameters, owners, strict=True) if owner == n] for n, _ in self.layers]
        self._weights = [Weights(parameters) for parameters in owned]
        outputs = [Outputs(_bounds(module)) for _, module in self.layers]
        self._watched = list(zip(self._weights, outputs, strict=True))  # of each layer
        self._of_module = {id(module): seen for (_, module), seen in zip(self.layers, outputs, strict=True)}
        self._step: int | None = None  # the step that is being watched
        self._gradients: list[Any] | None = None  # as they were before they were clipped
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
        for weights, seen in self._watched:
            weights.remember()
            seen.forget()
        if outputs:
            self._unhook = [_hook(module, self._of_module[id(module)].see) for _, module in self.layers]

    def see(self, answers: Iterable[tuple[Any, Any]]) -> None:
        """Take note of what the `layers` answered in this step, (module, output) for each, where hooks do not."""
        with np.errstate(all="ignore"):  # an overflow is what we are here to tell
            for module, output in answers if self._step is not None else ():
                if id(module) in self._of_module:
                    self._of_module[id(module)].see(output)

    def gradients(self) -> None:
        """If gradients are clipped: call it before that, so that rho is measured with the gradients of the loss."""
        if self._chance is not None:
            gradients = [gradient for weights in self._weights for gradient in weights.gradients()]
            self._gradients = [None if gradient is None else copied(gradient, None) for gradient in gradients]

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
        with np.errstate(all="ignore"):
            after = None if again is None or self._chance is None else self._again(again)
            data, total, rho = self._measure(loss, after)
        self.cancel()
        scalars = {name: value for name, value in (("grad_norm", total), ("rho", rho)) if value is not None}
        events: list[tuple[str, Any]] = [("step", scalars)] if scalars else []
        events.append(("layer", data))
        if self.histograms and (step <= 1 or step % self.histograms == 0):
            events.append(("histogram", self._histograms()))
        self._recorder.events(step, events)

    def cancel(self) -> None:
        """Forget the step that was begun; the model is as it was before."""
        self._unlook()
        self._step = self._gradients = self._chance = None
        for weights in self._weights:
            weights.forget()

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
        wanted = [number for weights, seen in self._watched for number in (*weights.numbers(), *seen.numbers())]
        of_rho = [] if loss is None or after is None else self._parts_of_rho(loss, after)
        numbers = numbers_on_host(wanted + of_rho)
        rows = [(*weights.norms(numbers), *seen.statistics(numbers)) for weights, seen in self._watched]
        columns = dict(zip(QUANTITIES, map(list, zip(*rows, strict=True)), strict=True))
        norms = [norm for norm in columns["grad_norm"] if norm is not None]
        rho = rho_of(*numbers) if of_rho else None
        return {"names": self._names, **columns}, math.hypot(*norms) if norms else None, rho

    def _parts_of_rho(self, loss: Any, after: Any) -> list[Any]:
        """Both losses, and for each parameter gradient times update; nothing if one of them is not what it was."""
        parts = [one_number("loss", loss), one_number("again()", after)]
        gradients = self._gradients or [gradient for weights in self._weights for gradient in weights.gradients()]
        updates = [update for weights in self._weights for update in weights.updates()]
        for gradient, update in zip(gradients, updates, strict=True):
            if gradient is not None:
                if update is None or gradient.shape != update.shape:  # of a sparse gradient, say
                    return []
                parts.append(gradient.reshape(-1) @ update.reshape(-1))
        return parts

    def _histograms(self) -> dict[str, Any]:
        data = {}
        for name, parameter in self._parameters:
            for kind, array in (("weights", plain(parameter)), ("gradients", plain(parameter.grad))):
                if array is not None:
                    data[f"{kind}/{name}"] = Histogram.of(on_host(array)).data()
        return data


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
        with np.errstate(all="ignore"):
            see(output)

    own = vars(module)

    def unhook() -> None:
        left = tuple(h for h in own.pop("forward_hooks", ()) if h is not hook)
        if left:  # without any, the class's empty tuple is seen again
            own["forward_hooks"] = left

    own["forward_hooks"] = (*module.forward_hooks, hook)
    return unhook
