"""The tape: what was done during one call of a function, in the order in which it was done.

The function runs as always, once, on Traced arrays that hand their calls over to the tape. The tape makes each call with
the real arrays and writes it down; the step of an optimizer is one entry with calls of its own (optimizer_step.py).
Whatever cannot be replayed is noted in `failure`, and done all the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from optimizers.base import Optimizer, tracing
from tinynet.backend import is_array
from tinynet.capture.optimizer_step import OptimizerStep
from tinynet.capture.surroundings import OURS, alike
from tinynet.capture.traced import Traced, array_of, kept, parts, real, remade
from tinynet.capture.unseen import UNSEEN, Bits, place
from tinynet.capture.vocabulary import VIEWS, converted
from tinynet.graph import is_recording


class Call:
    """One NumPy call: `out = function(*args, **params)`, in which Traced arrays and Numbers stand for values.

    `target` is the Traced array that the call writes into, if it makes no new one.
    """

    __slots__ = ("args", "errors", "function", "out", "params", "target")

    def __init__(self, function: Callable, args: tuple, params: dict, out: Traced | None, target: Traced | None):
        self.function = function
        self.args = args
        self.params = params
        self.out = out
        self.target = target
        self.errors = np.geterr()  # which warnings the surrounding code had turned off

    @property
    def written(self) -> Traced | None:
        """The array that holds the answer afterwards; None if the call only looks at its arguments."""
        return self.out if self.target is None else self.target


class Check(Call):
    """A call that answers nothing, but may raise."""

    __slots__ = ("grads",)
    grads: list[tuple[Any, Any]]  # (parameter, its .grad) at this moment


class Tape:
    """What was done during one call of the function."""

    def __init__(self, inputs: list[np.ndarray], known: Iterable[np.ndarray] = ()):
        self.failure: str | None = None
        self.steps: list[Call | OptimizerStep] = []
        self.calls: list[Any] = self.steps  # where calls are added: here, or in the OptimizerStep that is open
        self.guards: list[tuple[str, bool]] | None = None
        self.arrays: dict[tuple, Traced] = {}  # the arrays that were there before, by place in memory
        self.leaves: dict[int, tuple] = {}  # by id: (Tensor, its .data, .grad and requires_grad before)
        self.regraded: set[int] = set()  # ids of the Tensors whose .grad the function has changed
        self.used: set[int] = set()  # ids of the Traced arrays that were there before, and were read or written
        self.modules: dict[int, tuple[Any, Any, list]] = {}  # by id: (module, its attributes, what they were)
        self.lists: list[tuple[list, list]] = []  # (list among the attributes of a module, what was in it)
        self.shown: list[tuple[Any, str, Any, Traced]] = []  # (object, attribute, array, Traced): see `show`
        self.is_usual = True  # False: an optimizer took no step, or a parameter got another array
        self.errors = np.geterr()
        self.bits = Bits(known)
        self.inputs = [Traced(self, array) for array in inputs]

    def fail(self, why: str) -> None:
        """Note that this cannot be replayed; the first reason is kept, with the user's line."""
        if self.failure is None:
            self.failure = f"{why} ({users_line()})"

    def seen(self, value: Any) -> Any:
        """An array as a Traced one (the same for the same memory), in tuples and lists too; anything else as it is."""
        if isinstance(value, tuple | list):
            return remade(type(value), map(self.seen, value))
        if isinstance(value, Traced) and value.tape is not self:
            if value.place is None:
                self.fail("it uses an array that was computed in an earlier call")
            value = value.value
        if not is_array(value):
            return value
        key = place(value)
        if key not in self.arrays:
            self.arrays[key] = Traced(self, value, place=key)
        return self.arrays[key]

    def show(self, thing: Any, attribute: str) -> None:
        """Let an attribute be its Traced array until the recording ends, so that nothing is done behind the tape's back."""
        array = getattr(thing, attribute)
        if is_array(array):
            traced = self.seen(array)
            traced.value = array
            self.shown.append((thing, attribute, array, traced))
            setattr(thing, attribute, traced)

    def hide(self) -> None:
        """Put the arrays back into the attributes, and real ones where there are others now."""
        for thing, attribute, array, traced in self.shown:
            now = getattr(thing, attribute)
            setattr(thing, attribute, array if now is traced else array_of(now))
            if attribute == "data" and array_of(now) is not array:
                self.is_usual = False
        self.shown.clear()

    def leaf(self, tensor: Any) -> None:
        """Remember a Tensor that was not computed, and show its arrays."""
        if id(tensor) not in self.leaves and not isinstance(tensor.data, Traced):
            self.leaves[id(tensor)] = tensor, tensor.data, tensor.grad, tensor.requires_grad
            for attribute in ("data", "grad", "grad_buffer"):
                self.show(tensor, attribute)

    def cleared(self, tensor: Any) -> None:
        """The gradient is forgotten: if it was not used before, it does not matter what it was."""
        self.leaf(tensor)
        _, data, grad, requires_grad = self.leaves[id(tensor)]
        if kept(tensor.grad) is grad and not self._is_used(grad):
            self.leaves[id(tensor)] = tensor, data, ANY, requires_grad

    def _is_used(self, array: Any) -> bool:
        return is_array(array) and id(self.arrays[place(array)]) in self.used

    def grads(self) -> list[tuple[Any, Any]]:
        """(parameter, its .grad) where the function has changed it; an array that was there before as a real one."""
        grads = [(leaf, kept(leaf.grad), grad) for leaf, _, grad, _ in self.leaves.values()]
        self.regraded.update(id(leaf) for leaf, now, before in grads if now is not before)  # (nothing is ANY)
        return [(leaf, now) for leaf, now, _ in grads if id(leaf) in self.regraded]

    def uses(self) -> list[tuple[Any, Any, Any, bool]]:
        """(Tensor, its .data, .grad and requires_grad before), with ANY for gradients that do not matter."""
        changed = {id(leaf) for leaf, _ in self.grads()}
        return [
            (leaf, data, grad if id(leaf) in changed or self._is_used(grad) else ANY, requires_grad)
            for leaf, data, grad, requires_grad in self.leaves.values()
        ]

    def depends_on(self, module: Any, attribute: str) -> None:
        """What is done depends on the attributes of a layer: on its mode, its settings and its buffers."""
        if id(module) not in self.modules:
            module.training = module.training  # so that it is among them
            self.modules[id(module)] = module, vars(module).values(), list(vars(module).values())
            self.lists += [(value, list(value)) for value in vars(module).values() if type(value) is list]
        self.show(module, attribute)

    def inside(self, mode: Any) -> Any:
        """What is_recording becomes inside no_grad() or detect_anomaly()."""
        if mode:
            self.fail("detect_anomaly looks at every value")
            return mode
        return Muted(self)

    def call(self, function: Callable, args: tuple, params: dict[str, Any], **like: Any) -> Any:
        """Make a call, and write it down (but for `like`, an array that only says on which device)."""
        operands = self._looked_at(args, params)
        value = function(*real(args), **real(params), **like)
        if not (isinstance(value, np.generic) or is_array(value)):
            self.fail(f"np.{function.__name__} answers something else than one array")
            return value
        out = Traced(self, value if is_array(value) else np.asarray(value), isinstance(value, np.generic))
        if function not in VIEWS and any(np.may_share_memory(out.value, a.value) for a in operands):
            self.fail(f"{function.__name__} answers a part of its argument")
        self.calls.append(Call(function, args, params, out, None))
        return out

    def write(self, function: Callable, target: Any, args: tuple, params: dict[str, Any]) -> Any:
        """Make a call that writes its answer into `target`, and write it down."""
        out = self.seen(target)
        self._looked_at(args, params)
        function(*real(args), out=real(out), **real(params))
        self.written(function, args, params, out)
        return target

    def written(self, function: Callable, args: tuple, params: dict[str, Any], target: Any) -> None:
        """Write down a call that has changed `target`."""
        if not isinstance(target, Traced):
            self.fail(f"{function.__name__} writes into several arrays")
            return
        if any(np.may_share_memory(target.value, array.value) for array in self.inputs):
            self.fail("it changes an argument in place")
        self.used.add(id(target))
        self.bits.changed(target)
        self.calls.append(Call(function, args, params, None, target))

    def copyto(self, dst: Any, src: Any, casting: Any = "same_kind", where: Any = True) -> None:
        """np.copyto, a write into the first argument."""
        dst, src, where = self.seen(dst), self.seen(src), self.seen(where)
        self._looked_at(src, where)
        np.copyto(dst.value, real(src), casting=casting, where=real(where))
        self.written(np.copyto, (dst, src), {"casting": casting, "where": where}, dst)

    def convert(self, array: Traced, value: np.ndarray) -> Traced:
        """Write down a copy, or an astype, of which the answer is known."""
        self._looked_at(array)
        out = Traced(self, value, array.is_scalar)
        self.calls.append(Call(converted, (array,), {"dtype": value.dtype, "strides": value.strides}, out, None))
        return out

    def check(self, function: Callable, *args: Any) -> None:
        """Call a function that only looks at its arguments, and may raise; so does every replay."""
        self.calls.append(Check(function, args, {}, None, None))
        self.calls[-1].grads = self.grads()  # which the exception would leave behind
        function(*real(args))

    def _looked_at(self, *arguments: Any) -> list[Traced]:
        """The arrays among the arguments of a call. Has something changed one of them unseen?"""
        arrays = list(parts(arguments))
        for traced in arrays:
            if traced.place:
                self.used.add(id(traced))
                if not self.bits.same(traced.place, traced.value):
                    self.fail(UNSEEN.format(traced.shape))
        return arrays

    def close(self) -> None:
        """The function has ended: give back what was shown, and look whether it did anything unseen."""
        self.hide()
        for leaf, _, _, _ in self.leaves.values():
            leaf.grad = array_of(leaf.grad)
        for module, view, then in self.modules.values():
            if not alike(view, then):
                self.fail(f"{type(module).__name__} sets an attribute of its own, which a replay would not")
        for array in self.bits.changed_unseen():
            self.fail(UNSEEN.format(array.shape))
        self.bits = Bits()

    def forget_values(self) -> None:
        """Keep what is needed to compare another recording with this one, and no more."""
        for traced in (*self.inputs, *(call.out for step in self.steps for call in getattr(step, "calls", [step]))):
            if traced is not None:
                traced.value = np.empty(0)

    def forget(self) -> None:
        """Keep nothing: our arrays know us, and would wait for the garbage collector."""
        self.steps.clear()
        self.arrays.clear()
        self.inputs.clear()

    def moved_by(self, optimizer: Any, work: Any) -> None:
        """The arithmetic of an optimizer's step (see Optimizer.move), with Numbers for what changes every time."""
        if type(optimizer).step is not Optimizer.step:
            self.fail(f"{type(optimizer).__name__} has a step() of its own")
        step = OptimizerStep(optimizer, work, self.grads())
        self.steps.append(step)
        self.calls, self.guards = step.calls, step.guards
        try:
            optimizer.move(step.hidden(self), self.seen)
            step.norm = optimizer.grad_norm
            step.keep_guards()
        finally:
            self.calls, self.guards = self.steps, None
            if isinstance(norm := optimizer.grad_norm, Traced):
                optimizer.grad_norm = norm.value[()] if norm.is_scalar else norm.value
            self.bits.all_changed()  # Optimizer.end, which is part of every replay, may do more

    def not_moved(self) -> None:
        """An optimizer had nothing to do, or skipped its step."""
        self.is_usual = False


def all_calls(tape: Tape) -> Iterator[Call]:
    """The calls in the order in which they were made."""
    for step in tape.steps:
        if isinstance(step, OptimizerStep):
            yield from step.calls
        else:
            yield step


class Muted:
    """A tape inside no_grad(): arrays are shown to it, but is_recording is false."""

    def __init__(self, tape: Tape):
        self.seen, self.leaf, self.depends_on = tape.seen, tape.leaf, tape.depends_on

    def __bool__(self) -> bool:
        return False

    def inside(self, mode: Any) -> Any:
        return self


ANY = object()  # in the place of an array: it does not matter which


def users_line() -> str:
    """file:line of the innermost call outside the engine."""
    import traceback

    home = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    inside = (os.path.dirname(np.__file__), *(os.path.join(home, name) + os.sep for name in OURS))  # not the user's
    frames = [f for f in traceback.extract_stack() if not f.filename.startswith(inside)]
    return f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}: {frames[-1].line}" if frames else "unknown line"


@contextmanager
def recording_on(tape: Tape) -> Iterator[None]:
    """While a function is recorded: Tensors show their arrays to the tape, and so do optimizers."""
    mode, optimizer = is_recording.set(tape), tracing.set(tape)
    try:
        yield
    finally:
        is_recording.reset(mode)
        tracing.reset(optimizer)
