"""Where the answers of a tape's calls go, decided before they are replayed.

The calls stay in their order and are those that were made; what changes is where the answers go. Calls that nobody
reads are left out, equal calls are made once, what depends on shapes alone is computed now, views (but those of the
arguments) are taken once, and an array that is no longer needed is written over by the next answer of its shape. The bits
of the answers stay the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinynet.capture.numbers import Number
from tinynet.capture.optimizer_step import OptimizerStep
from tinynet.capture.tape import Call, Tape, all_calls
from tinynet.capture.traced import Traced, parts, remade
from tinynet.capture.vocabulary import converted

FROM_SHAPES = {np.zeros_like, np.ones_like, np.empty_like, np.arange}  # whose answer depends on no value


class Plan:
    """The calls that are needed, and the array that each Traced one stands for."""

    def __init__(self, tape: Tape, wanted: list[Traced]):
        self.tape = tape
        self.calls = list(all_calls(tape))
        self.outside = {id(array): array for array in tape.arrays.values()}  # here before, and after
        self.roots: dict[int, Traced] = {}  # the array that a view is of
        self.same: dict[int, Traced] = {}  # an answer that equals an earlier one
        for call in self.calls:
            if call.out is not None:
                base = self._base(call)
                self.roots[id(call.out)] = call.out if base is None else base
        self.changed = {id(self.root(call.target)) for call in self.calls if call.target is not None}
        self.places: dict[int, np.ndarray] = {id(a): a.value for a in tape.arrays.values()}
        for traced in tape.inputs:
            self.places[id(traced)] = laid_out_like(traced.value)
        self.given = {*self.places}
        self._fold()
        self._merge()
        self._drop(wanted)
        self._forward(wanted)
        self._assign(wanted)

    def _base(self, call: Call) -> Traced | None:
        """The array of which a call only answers a view."""
        if call.function is converted or isinstance(call.function, np.ufunc):
            return None
        for traced in parts((call.args, call.params)):
            if call.out is not None and np.may_share_memory(traced.value, call.out.value):
                return self.root(traced)
        return None

    def root(self, traced: Traced) -> Traced:
        traced = self.same.get(id(traced), traced)
        root = self.roots.get(id(traced), traced)
        return self.same.get(id(root), root)

    def is_view(self, call: Call) -> bool:
        return call.out is not None and self.root(call.out) is not call.out

    def is_given(self, traced: Traced) -> bool:
        """Whether it is an argument of the function, or a view of one: what we hold is only laid out like it."""
        return any(self.root(traced) is argument for argument in self.tape.inputs)

    def reads(self, call: Call) -> list[Traced]:
        return [self.root(traced) for traced in parts((call.args, call.params))]

    def _fold(self) -> None:
        """Compute what depends on shapes alone: the tape has it already."""
        equal: dict[Any, Traced] = {}
        for call in self.calls:
            if call.out is None or id(self.root(call.out)) in self.changed:
                continue
            known = all(id(r) in self.places and id(r) not in self.given for r in self.reads(call))
            fixed = not has_number((call.args, *call.params.values())) and not is_random(call.function)
            if call.function in FROM_SHAPES or (known and fixed and any(True for _ in parts(call.args))):
                value = self.places[id(call.out)] = call.out.value
                first = equal.setdefault((value.shape, value.strides, value.dtype, value.tobytes()), call.out)
                if first is not call.out:
                    self.same[id(call.out)] = first
        self.calls = [c for c in self.calls if c.out is None or id(c.out) not in self.places]

    def _merge(self) -> None:
        """Make equal calls once, if nothing they read has changed in between."""
        seen: dict[Any, Traced] = {}
        version: dict[int, int] = {}
        kept = []
        optimizers = {id(c): step for step in self.tape.steps if isinstance(step, OptimizerStep) for c in step.calls}
        before, within = None, None  # a step may be left out, so what it computes serves nobody else
        for call in self.calls:
            if optimizers.get(id(call)) is not within:
                seen = seen if before is None else before
                within = optimizers.get(id(call))
                before = None if within is None else dict(seen)
            if call.target is not None:
                root = self.root(call.target)
                version[id(root)] = version.get(id(root), 0) + 1
                if id(root) in self.outside:  # which may share memory with others
                    version[0] = version.get(0, 0) + 1
            elif call.out is not None and not is_random(call.function):
                key = self._key(call, version)
                if key in seen and not {id(self.root(call.out)), id(self.root(seen[key]))} & self.changed:
                    self.same[id(call.out)] = seen[key]
                    continue
                seen[key] = call.out
            kept.append(call)
        self.calls = kept

    def _key(self, call: Call, version: dict[int, int]) -> Any:
        def key(value: Any) -> Any:
            if isinstance(value, Traced):
                value = self.same.get(id(value), value)
                root = self.root(value)
                return "array", id(value), version.get(id(root), 0), version.get(0, 0) if id(root) in self.outside else 0
            if isinstance(value, tuple | list):
                return tuple(map(key, value))
            if isinstance(value, dict):
                return tuple((k, key(v)) for k, v in sorted(value.items()))
            return type(value).__name__, value.text if isinstance(value, Number) else repr(value)

        return call.function, key(call.args), key(call.params), tuple(call.errors.items())

    def _drop(self, wanted: list[Traced]) -> None:
        """Leave out the calls whose answers nobody reads."""
        needed = {id(self.root(traced)) for traced in wanted}
        kept = []
        for call in reversed(self.calls):
            wrote = call.written is not None and id(self.root(call.written))
            outside = call.target is not None and wrote in self.outside
            if not wrote or wrote in needed or outside or is_random(call.function):
                needed.update(map(id, self.reads(call)))
                kept.append(call)
        self.calls = kept[::-1]

    def _forward(self, wanted: list[Traced]) -> None:
        """Let a call write at once into the array to which its answer is copied: a gradient into the optimizer's buffer."""
        made = {
            id(c.out): i for i, c in enumerate(self.calls) if c.out is not None and can_write(c) and not self.is_view(c)
        }
        used: dict[int, int] = {}
        for call in self.calls:
            for root in self.reads(call):
                used[id(root)] = used.get(id(root), 0) + 1
        busy = {id(self.root(traced)) for traced in wanted}
        kept = list(self.calls)
        for i, call in enumerate(self.calls):
            if call.function is not np.copyto or call.params["where"] is not True or call.target is None:
                continue
            source = self.same.get(id(call.args[1]), call.args[1])
            start = made.get(id(source))
            alike = isinstance(source, Traced) and layout(source.value) == layout(call.target.value)
            if start is None or not alike or used[id(source)] != 1 or id(source) in busy or id(source) in self.changed:
                continue
            if id(call.target) not in self.outside:
                continue
            between = [t for c in self.calls[start:i] for t in parts((c.args, c.params, c.written))]
            if not any(np.may_share_memory(call.target.value, self._memory(t)) for t in between if t is not source):
                self.places[id(source)] = call.target.value
                kept[i] = None  # type: ignore[call-overload]
        self.calls = [c for c in kept if c is not None]

    def _memory(self, traced: Traced) -> np.ndarray:
        return self.places.get(id(self.root(traced)), self.root(traced).value)

    def _assign(self, wanted: list[Traced]) -> None:
        """Give every answer an array: a dead one of its shape, or a new one; a view is taken of its array, once."""
        last: dict[int, int] = {}
        for i, call in enumerate(self.calls):
            for traced in parts((call.args, call.params, call.written)):
                last[id(self.root(traced))] = i
        for traced in wanted:
            last[id(self.root(traced))] = len(self.calls)
        ours: dict[int, np.ndarray] = {}
        free: dict[Any, list[np.ndarray]] = {}
        dying: dict[int, list[int]] = {}
        for key, i in last.items():
            dying.setdefault(i, []).append(key)
        views = []
        for i, call in enumerate(self.calls):
            out = call.out
            if out is not None and self.is_view(call):
                self.places[id(out)] = call.function(*self.placed(call.args), **self.placed(call.params))
                views.append(call)
                if not np.may_share_memory(self.places[id(out)], self.places[id(self.root(out))]):
                    raise NotImplementedError(f"{call.function.__name__} answered a view, and now a copy")
            elif out is not None and id(out) not in self.places:
                like = out.value
                if is_elementwise(call):  # may write over an operand that nobody reads afterwards
                    self._release(dying.get(i, []), ours, free)
                ready = free.get(layout(like), [])
                self.places[id(out)] = ours[id(out)] = ready.pop() if ready else np.empty_like(like)
            self._release(dying.get(i, []), ours, free)
        self.calls = [c for c in self.calls if c not in views]
        self.views_of_inputs = [c for c in views if self.is_given(c.args[0])]
        outside = {id(owner(a.value)) for a in self.outside.values()}
        outside |= {id(owner(self.places[id(traced)])) for traced in self.tape.inputs}  # stand-ins for the arguments
        self.bytes = sum({id(o): o.nbytes for o in map(owner, self.places.values()) if id(o) not in outside}.values())

    @staticmethod
    def _release(keys: list[int], ours: dict[int, np.ndarray], free: dict[Any, list[np.ndarray]]) -> None:
        for key in keys:
            array = ours.pop(key, None)
            if array is not None:
                free.setdefault(layout(array), []).append(array)

    def placed(self, value: Any) -> Any:
        """A call's arguments with the planned arrays in place of the Traced ones."""
        if isinstance(value, Traced):
            value = self.same.get(id(value), value)
            return self.places[id(value)]
        if isinstance(value, tuple | list):
            return remade(type(value), map(self.placed, value))
        if isinstance(value, dict):
            return {key: self.placed(v) for key, v in value.items()}
        return value


def owner(array: np.ndarray) -> Any:
    """The array whose memory it is."""
    return array if array.base is None else array.base


def layout(array: np.ndarray) -> tuple:
    """Arrays that are alike in this can take each other's place: NumPy adds in another order if the strides are others."""
    return array.shape, array.strides, array.dtype, type(array)


def laid_out_like(array: np.ndarray) -> np.ndarray:
    """An array for copies of this one, with the same strides."""
    if not isinstance(array, np.ndarray):
        return np.empty_like(array)
    low, high = np.lib.array_utils.byte_bounds(array)
    start = array.__array_interface__["data"][0] - low
    return np.ndarray(array.shape, array.dtype, np.empty(high - low, np.uint8), start, array.strides)


def has_number(value: Any) -> bool:
    """Whether an argument is a Number, or holds one."""
    return isinstance(value, Number) or (isinstance(value, tuple | list) and any(map(has_number, value)))


def is_random(function: Callable) -> bool:
    """Whether it is a method of a random generator."""
    return isinstance(getattr(function, "__self__", None), np.random.Generator)


def is_reduction(function: Callable) -> bool:
    """Whether it is np.add.reduce or its like."""
    return isinstance(getattr(function, "__self__", None), np.ufunc) and function.__name__ == "reduce"


def is_elementwise(call: Call) -> bool:
    """Whether element i of the answer depends on elements i of the operands only, so that one may be written over."""
    return isinstance(call.function, np.ufunc) and call.function.signature is None


def can_write(call: Call) -> bool:
    """Whether the call can write its answer into a given array."""
    return isinstance(call.function, np.ufunc) or is_reduction(call.function)
