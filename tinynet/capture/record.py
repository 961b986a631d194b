"""One recorded call of a function, and the program made of it: when does the program fit, and what does it answer?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from optimizers.base import Optimizer
from tinynet.backend import is_array
from tinynet.capture.agreement import guards
from tinynet.capture.arguments import Lent, constants, form_of, put_together, rebuilt
from tinynet.capture.conditions import Conditions
from tinynet.capture.program import Program
from tinynet.capture.surroundings import Surroundings, alike
from tinynet.capture.tape import ANY, Tape, all_calls, recording_on
from tinynet.capture.traced import Traced
from tinynet.capture.unseen import Chance
from tinynet.tensor import Tensor

CHECKED_EVERY = 1000  # replays, after which a call is recorded again to see whether the function still does the same


class Record:
    """One recorded call, and the program made of it.

    before: an earlier record of the function, which knows arrays that it uses.
    """

    tape: Tape
    modules: list[tuple[Any, Any, list]]  # (module, its attributes, what they were)

    def __init__(self, function: Callable, form: Any, arrays: list[np.ndarray], before: Record | None):
        self.around = around = Surroundings(function, *constants(form))
        known = [a.value for a in before.tape.arrays.values()] if before is not None else []
        tape = self.tape = Tape(arrays, [*known, *(v for v in around.values if is_array(v))])
        chance = Chance(around.generators())
        answer = self._run(function, form)
        around.contents += [("a list in a layer", now, then) for now, then in tape.lists]
        if changed := around.changed() or around.changed_settings():
            tape.fail(f"it changes {changed}, which a replay would not")
        tape.is_usual = tape.is_usual and not around.at_other_point()
        if chance.drawn_unseen(all_calls(tape)):
            tape.fail("it draws random numbers on its own (functional.dropout is seen)")
        if tape.failure:
            for things in (*around.places(), *(vars(module) for module, _, _ in self.modules)):
                bare(things)
            for _, thing, attribute, _ in around.attributes:
                setattr(thing, attribute, bared(getattr(thing, attribute)))
        self.form = form
        self.fits_quickly: Callable[..., bool] = lambda *args: False
        self.program: Program | None = None
        self.left = 0  # replays until the next check
        self.wanted: list[Traced] = []
        self.form_of_answer = self._shape_of(answer)
        self.answer = rebuilt(self.form_of_answer, [traced.value for traced in self.wanted])

    def _run(self, function: Callable, form: Any) -> Any:
        """Call the function while everything that it can reach is shown to the tape."""
        tape, inputs = self.tape, iter(self.tape.inputs)
        args, params = put_together(form[0], inputs), put_together(form[1], inputs) if form[1] else {}
        try:
            with recording_on(tape):
                for parameter in parameters_in(self.around.values):
                    tape.leaf(parameter)
                answer = function(*args, **params)
            self.final = tape.grads()
            self.leaves, self.modules = tape.uses(), list(tape.modules.values())
        except BaseException:
            tape.close()
            tape.forget()
            raise
        tape.close()
        return answer

    def _shape_of(self, answer: Any) -> Any:
        """The answer with a number in place of each array, which is put into `wanted`."""
        kind = "tensor" if isinstance(answer, Tensor) else "array"
        array = answer.data if isinstance(answer, Tensor) else answer
        if isinstance(array, Traced):
            self.wanted.append(array)
            return "scalar" if kind == "array" and array.is_scalar else kind, len(self.wanted) - 1
        if isinstance(answer, tuple | list):
            return "sequence", type(answer), [self._shape_of(a) for a in answer]
        if isinstance(answer, Lent):
            return "lent", self._shape_of(answer.get())
        if type(answer) is dict:
            return "dict", {key: self._shape_of(a) for key, a in answer.items()}
        if isinstance(answer, np.generic | float | Tensor) or is_array(answer):
            self.tape.fail("the function answers a number or an array that it did not compute from its arguments")
        elif answer is not None and not isinstance(answer, bool | int | str):
            self.tape.fail(f"the function answers a {type(answer).__name__}; arrays can be in tuples, lists and dicts")
            bare(getattr(answer, "__dict__", {}))
        return "constant", answer

    def fits(self) -> bool:
        """Whether what the function uses is still what was met, in the same state."""
        try:
            return self.changed() is None
        except (AttributeError, KeyError, ValueError):  # a variable is gone
            return False

    def is_next(self, args: tuple) -> bool:
        """Whether the program can be replayed with these arguments, as far as can be told quickly."""
        try:
            return self.fits_quickly(*args)
        except (AttributeError, KeyError, TypeError, ValueError):  # a variable is gone, or the arguments are others
            return False

    def changed(self) -> str | None:
        """What the function uses, and is not what was met; None if all is."""
        for leaf, data, grad, requires_grad in self.leaves:
            if leaf.data is not data or leaf.requires_grad is not requires_grad:
                return "the array of a parameter"
            if leaf.grad is not grad and grad is not ANY:
                return "the gradient that a parameter had before (clear it by zero_grad(), first of all)"
        for module, view, then in self.modules:
            if not alike(view, then):
                return f"an attribute of a {type(module).__name__}"
        return self.around.changed() or ("the point of an optimizer" if self.around.at_other_point() else None)

    def stepped_like(self, before: Record) -> bool:
        """Whether both took the steps of their optimizers, and compared the numbers in them with the same outcome."""
        return self.tape.is_usual and guards(self.tape) == guards(before.tape)

    def compile(self) -> None:
        self.left = CHECKED_EVERY
        if self.program is None:
            self.program = Program(self.tape, self.wanted, self.final)
            self.fits_quickly = same_objects(self, self.program)
            self.tape.forget_values()  # the program has arrays of its own

    def overlaps(self, arrays: list[np.ndarray]) -> bool:
        """Whether one of the arguments shares memory with an array that the program writes into."""
        assert self.program is not None
        for array in arrays:
            base = array.base
            if id(array if base is None else base) in self.program.writes_into:
                return True
        return False

    def replay(self, arrays: Sequence[np.ndarray]) -> Any:
        assert self.program is not None
        self.left -= 1
        return rebuilt(self.form_of_answer, self.program.run(*arrays))


def same_objects(record: Record, program: Program) -> Callable[..., bool]:
    """A function of the arguments that tells quickly whether a program can be replayed: they are arrays of the same form,
    and everything else is the same object as before. If not, Captured looks closer.
    """
    tests, count = Conditions(), len(record.tape.inputs)
    if record.form != (("sequence", tuple, tuple(form_of(traced.value) for traced in record.tape.inputs)), ()):
        return lambda *args: False  # there are other arguments than arrays
    for i, traced in enumerate(record.tape.inputs):
        shape, dtype, strides = traced.shape, tests.name(traced.dtype), traced.value.strides
        tests.add(f"type(x{i}) is {tests.name(type(traced.value))} and x{i}.shape == {shape} and x{i}.strides == {strides}")
        tests.add(f"x{i}.dtype is {dtype}")
        changed = tests.name(program.writes_into)
        tests.add(f"id(x{i}) not in {changed} and id(x{i}.base) not in {changed}")
    for leaf, data, grad, requires_grad in record.leaves:
        tests.attributes_are(
            leaf, [("data", data), ("requires_grad", requires_grad)] + [("grad", grad)] * (grad is not ANY)
        )
    for module, view, then in record.modules:
        tests.length_is(view, len(then))
        tests.attributes_are(module, zip(vars(module), then, strict=False))
    for _, thing, attribute, value in record.around.attributes + record.around.points:
        tests.attributes_are(thing, [(attribute, value)])
    for _, space, key, value in record.around.entries:
        tests.entries_are(space, [(key, value)])
    for _, items, then in record.around.contents:
        tests.alike(items, then)
    return tests.compiled(", ".join(f"x{i}" for i in range(count)))


def parameters_in(values: list[Any]) -> Iterator[Any]:
    """The parameters of the models and optimizers among some values, and those that are there by themselves."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif hasattr(value, "named_parameters"):
            yield from value.parameters()
        elif isinstance(value, Optimizer):
            yield from (p for group in value.param_groups for p in group["params"] if isinstance(p, Tensor))


def bare(things: Any) -> None:
    """Put real arrays in the place of Traced ones that the function left in a list, a dict or an object's attributes."""
    for key, value in list(things.items() if isinstance(things, dict) else enumerate(things)):
        if bared(value) is not value:
            things[key] = bared(value)


def bared(value: Any) -> Any:
    """The real array of a Traced one, and a Tensor with one; anything else as it is."""
    if isinstance(value, Tensor) and isinstance(value.data, Traced):
        value.data = value.data.value
    return value.value if isinstance(value, Traced) else value
