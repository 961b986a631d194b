"""capture(f): a training step as a flat list of NumPy calls, replayed without Python's bookkeeping.

The first two calls of a captured function run as always and write down what they do (tracing.py). If both did the same,
the third and all others replay it (program.py): the same calls on the same numbers, so the same bits, without building a
graph, and into arrays that are there already. On a small net that is most of the time of a step.
"""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from optimizers.base import Optimizer
from tinynet.graph import is_recording
from tinynet.plan import all_calls, layout
from tinynet.program import Program
from tinynet.stepnumbers import Number
from tinynet.surroundings import Chance, Surroundings, alike
from tinynet.tensor import Tensor, attach
from tinynet.tracing import ANY, Host, Tape, Traced, recording_on, remade

KEPT = 8  # programs of one function for arguments of one form: one for each combination of modes, say
FORMS = 32  # how many forms (shapes, dtypes, other values) are kept
IN_VAIN = 20  # recordings one after the other, none of which is met again: then capture is of no use
CHECKED_EVERY = 1000  # replays, after which a call is recorded again to see whether the function still does the same


class CaptureWarning(UserWarning):
    """A captured function cannot be replayed, and runs as if it were not captured."""


_recording = threading.Lock()  # held while any function is recorded: parameters are then shown as Traced arrays


class Captured:
    """What `capture` answers: called as the function is."""

    def __init__(self, function: Callable, explain: Callable[[str], Any] | None = None):
        functools.update_wrapper(self, function)
        self.function = function
        self.explain = explain or (lambda why: warnings.warn(why, CaptureWarning, stacklevel=3))
        self.failure: str | None = None  # why the function is not replayed
        self._kept: dict[Any, list[Record]] = {}
        self._in_vain = 0
        self._busy = threading.Lock()

    def __call__(self, *args: Any, **params: Any) -> Any:
        if self.failure is not None or is_recording.get() is not True or not self._busy.acquire(blocking=False):
            return self.function(*args, **params)  # (busy: in another thread, and there is one set of arrays)
        try:
            answer = self._captured(args, params)
        finally:
            self._busy.release()
        if self.failure is not None:
            name = getattr(self.function, "__name__", type(self.function).__name__)
            self.explain(f"{name} runs without capture: {self.failure}")
        return self.function(*args, **params) if answer is NOT_CALLED else answer

    def _captured(self, args: tuple, params: dict[str, Any]) -> Any:
        """The answer, replayed or recorded; NOT_CALLED if it can be neither."""
        arrays: list[np.ndarray] = []
        try:
            form = taken_apart(args, arrays), taken_apart(params, arrays) if params else ()
        except UnfitError as unfit:
            return self._give_up(str(unfit))
        record = next((record for record in self._kept.get(form, ()) if record.fits()), None)
        if record is None or not record.left:
            return self._recorded(form, arrays, record)
        if record.overlaps(arrays):
            return self._give_up("an argument shares memory with an array that the function changes")
        self._in_vain = 0
        return record.replay(arrays)

    def _recorded(self, form: Any, arrays: list[np.ndarray], before: Record | None) -> Any:
        """Call the function and write down what it does. If it did the same before, the next call can be a replay."""
        if not _recording.acquire(blocking=False):
            return NOT_CALLED
        try:
            now = Record(self.function, form, arrays, before)
        finally:
            _recording.release()
        answer, now.answer = now.answer, None
        if now.tape.failure:
            self._give_up(now.tape.failure)
        elif before is not None and now.stepped_like(before):
            difference = agree(before, now)
            if difference:
                self._give_up(difference + LATE * (before.program is not None))
            else:
                before.compile()
                self._in_vain = 0
            now.tape.forget()
        else:  # the first time; or an optimizer's step was unlike the one before, as the very first may be
            self._in_vain += 1
            if self._in_vain == IN_VAIN:
                last = next(reversed(self._kept.get(form, ())), None)
                why = last.changed() if last is not None else "the form of its arguments"
                self._give_up(f"in {IN_VAIN} calls, {why or 'a step'} was never twice the same")
            elif now.tape.is_usual:
                self._keep(form, now, before)
        return answer

    def _keep(self, form: Any, now: Record, before: Record | None) -> None:
        """Keep a record, in the place of the one before if there is one."""
        records = self._kept.setdefault(form, [])
        if before is not None:
            records.remove(before)
        records.append(now)
        if len(records) > KEPT:
            del records[0]
        if len(self._kept) > FORMS:
            del self._kept[next(iter(self._kept))]

    def recheck(self) -> None:
        """Let the next call with the usual shapes be recorded again: does the function still do the same?"""
        for records in list(self._kept.values())[:1]:
            for record in records:
                record.left = 0

    def _give_up(self, why: str) -> Any:
        self.failure = why
        self._kept.clear()
        return NOT_CALLED

    def program(self) -> str:
        """The NumPy calls of a replay, as Python source, for the shapes that were met last."""
        if self.failure is not None:
            return f"# not captured: {self.failure}"
        programs = [r.program for records in self._kept.values() for r in records if r.program is not None]
        return str(programs[-1]) if programs else "# not captured yet: call it twice with arrays of the same shapes"


class Record:
    """One recorded call, and the program made of it.

    before: an earlier record of the function, which knows arrays that it uses.
    """

    tape: Tape
    modules: list[tuple[Any, Any, list]]  # (module, its attributes, what they were)

    def __init__(self, function: Callable, form: Any, arrays: list[np.ndarray], before: Record | None):
        self.around = around = Surroundings(function, *constants(form))
        known = [a.value for a in before.tape.arrays.values()] if before is not None else []
        tape = self.tape = Tape(arrays, [*known, *(v for v in around.values if isinstance(v, np.ndarray))])
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
        self._unchanged: Callable[[], bool] | None = None
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
        if type(answer) is dict:
            return "dict", {key: self._shape_of(a) for key, a in answer.items()}
        if isinstance(answer, np.ndarray | np.generic | float | Tensor):
            self.tape.fail("the function answers a number or an array that it did not compute from its arguments")
        elif answer is not None and not isinstance(answer, bool | int | str):
            self.tape.fail(f"the function answers a {type(answer).__name__}; arrays can be in tuples, lists and dicts")
            bare(getattr(answer, "__dict__", {}))
        return "constant", answer

    def fits(self) -> bool:
        """Whether what the function uses is still what was met, in the same state."""
        self._unchanged = self._unchanged or unchanged(self)
        try:
            return self._unchanged() or self.changed() is None
        except (AttributeError, KeyError, ValueError):  # a variable is gone
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
            self.tape.forget_values()  # the program has arrays of its own

    def overlaps(self, arrays: list[np.ndarray]) -> bool:
        """Whether one of the arguments shares memory with an array that the program writes into."""
        assert self.program is not None
        for array in arrays:
            base = array.base
            if id(array if base is None else base) in self.program.writes_into:
                return True
        return False

    def replay(self, arrays: list[np.ndarray]) -> Any:
        assert self.program is not None
        self.left -= 1
        return rebuilt(self.form_of_answer, self.program.run(*arrays))


def unchanged(record: Record) -> Callable[[], bool]:
    """A function that tells quickly if everything is the same object as before; if not, Record.changed looks closer.

    It is asked at every call, so it is one expression of Python, compiled.
    """
    objects: list[Any] = []

    def name(thing: Any) -> str:
        objects.append(thing)
        return f"_{len(objects) - 1}"

    tests = []
    for leaf, data, grad, requires_grad in record.leaves:
        tests += [f"{name(leaf)}.data is {name(data)}", f"{name(leaf)}.requires_grad is {requires_grad}"]
        tests += [f"{name(leaf)}.grad is {name(grad)}"] * (grad is not ANY)
    for module, view, then in record.modules:
        tests += [f"len({name(view)}) == {len(then)}"]
        tests += [f"{name(vars(module))}[{key!r}] is {name(value)}" for key, value in zip(vars(module), then, strict=False)]
    kept = record.around.attributes + record.around.points
    tests += [f"{name(thing)}.{attribute} is {name(value)}" for _, thing, attribute, value in kept]
    tests += [f"{name(space)}[{key!r}] is {name(value)}" for _, space, key, value in record.around.entries]
    tests += [f"{name(alike)}({name(items)}, {name(then)})" for _, items, then in record.around.contents]
    return eval(f"lambda: {' and '.join(tests) or True}", {f"_{i}": thing for i, thing in enumerate(objects)})


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


def guards(tape: Tape) -> list[Any]:
    """How the comparisons of the optimizer's numbers came out."""
    return [step.guards for step in tape.steps if isinstance(step, Host)]


def agree(a: Record, b: Record) -> str | None:
    """Whether two recordings of a function are the same program: None, or in which way they differ."""
    pairs = {id(x): id(y) for x, y in zip(a.tape.inputs, b.tape.inputs, strict=True)}
    first, second = list(all_calls(a.tape)), list(all_calls(b.tape))
    if len(first) != len(second) or shape_of(a.tape) != shape_of(b.tape):
        return "it made other NumPy calls the second time"
    for one, other in zip(first, second, strict=True):
        name = one.function.__name__
        if one.function != other.function:
            return f"it called {name} the first time and {other.function.__name__} the second"
        if not same(one.args, other.args, pairs) or not same(one.params, other.params, pairs):
            return (
                f"an argument of {name} was another one the second time, and it is not computed from those of the "
                "function: a random number, a counter, or an array made of parameters outside Tensors?"
            )
        if not same(one.target, other.target, pairs):
            return f"{name} wrote into another array the second time"
        if getattr(one.target, "place", None) != getattr(other.target, "place", None):
            return f"{name} writes into an array that is made anew at every call (np.zeros_like(x) would be seen)"
        pairs[id(one.out)] = id(other.out)
    if not same((a.form_of_answer, a.wanted), (b.form_of_answer, b.wanted), pairs):
        return "it answered something else the second time"
    if not same([left(a), a.final], [left(b), b.final], pairs):
        return "it left other gradients in the parameters the second time"
    return None


def shape_of(tape: Tape) -> list[Any]:
    """Which of the steps are those of which optimizer, and how many calls each has."""
    return [(id(step.optimizer), len(step.calls)) if isinstance(step, Host) else None for step in tape.steps]


def left(record: Record) -> list[Any]:
    """The gradients and norms at each step of an optimizer."""
    return [(step.grads, step.norm) for step in record.tape.steps if isinstance(step, Host)]


def same(x: Any, y: Any, pairs: dict[int, int]) -> bool:
    """Whether two arguments play the same part; `pairs` says which Traced arrays of the recordings do."""
    if type(x) is not type(y):
        return False
    if isinstance(x, Traced):
        if id(x) in pairs or y.place is None:
            return pairs.get(id(x)) == id(y)
        pairs[id(x)] = id(y)  # from outside: the same array, or a new one with the same bits
        return x.place == y.place or (layout(x.value) == layout(y.value) and x.value.tobytes() == y.value.tobytes())
    if isinstance(x, tuple | list):
        return len(x) == len(y) and all(same(v, w, pairs) for v, w in zip(x, y, strict=True))
    if isinstance(x, dict):
        return x.keys() == y.keys() and all(same(v, y[k], pairs) for k, v in x.items())
    if isinstance(x, Number):
        return x.text == y.text
    if isinstance(x, float | np.generic):
        return repr(x) == repr(y)  # -0.0 == 0.0, and nan != nan
    return x is y or (not isinstance(x, Tensor | np.ndarray) and bool(x == y))


def rebuilt(form: Any, values: list[np.ndarray]) -> Any:
    """An answer from its form; arrays are copies, since the next replay writes over them."""
    kind = form[0]
    if kind == "tensor":
        return attach(values[form[1]].copy("K"), None)
    if kind == "array":
        return values[form[1]].copy("K")
    if kind == "scalar":
        return values[form[1]][()]
    if kind == "sequence":
        return remade(form[1], [rebuilt(f, values) for f in form[2]])
    if kind == "dict":
        return {key: rebuilt(f, values) for key, f in form[1].items()}
    return form[1]


NOT_CALLED = object()
LATE = f"; this was seen only now, and up to {CHECKED_EVERY} calls before may have done what it did first"


class UnfitError(Exception):
    """An argument that cannot be one of a captured function."""


def taken_apart(value: Any, arrays: list[np.ndarray]) -> Any:
    """The form of the arguments, by which programs are kept; their arrays are put into `arrays`."""
    if type(value) is np.ndarray:
        arrays.append(value)
        return "array", value.shape, value.dtype, value.strides
    if isinstance(value, tuple | list):
        return "sequence", type(value), tuple([taken_apart(v, arrays) for v in value])
    if isinstance(value, dict):
        return "dict", tuple([(key, taken_apart(v, arrays)) for key, v in value.items()])
    if isinstance(value, Tensor):
        if value.requires_grad:
            raise UnfitError("an argument requires a gradient")
        if type(value.data) is np.ndarray:
            arrays.append(value.data)
            return "tensor", value.data.shape, value.data.dtype, value.data.strides
    try:
        hash(value)
    except TypeError:
        raise UnfitError(f"an argument is a {type(value).__name__}, which cannot be told from others quickly") from None
    return "constant", type(value), value, repr(value) if type(value) is float else None  # -0.0 == 0.0


def put_together(form: Any, inputs: Iterator[Traced]) -> Any:
    """The arguments again, with Traced arrays in place of arrays."""
    if form[0] == "array":
        return next(inputs)
    if form[0] == "tensor":
        return Tensor(next(inputs))
    if form[0] == "sequence":
        return remade(form[1], [put_together(f, inputs) for f in form[2]])
    if form[0] == "dict":
        return {key: put_together(f, inputs) for key, f in form[1]}
    return form[2]


def constants(form: Any) -> Iterator[Any]:
    """The arguments that are no arrays."""
    if isinstance(form, tuple):
        if form and form[0] == "constant":
            yield form[2]
        else:
            for part in form:
                yield from constants(part)


def capture(function: Callable, explain: Callable[[str], Any] | None = None) -> Captured:
    """The function, replayed from its third call on with the same bits and less work: for training steps.

    `function` takes arrays and computes on them with tinynet and NumPy; it may call backward(), gradients() and
    optimizer.step(). What it answers comes back detached from the graph. It is recorded anew for arguments of another shape
    or dtype, and when a layer changes its mode.

    What the function does must follow from its arguments, the parameters and the mode of the layers. Other things that it
    reads, such as a factor in a variable of yours, are part of the program; every 1000 calls (and in every epoch of `fit`)
    a call is recorded again, and a difference ends the capture.

    What cannot be replayed runs as if it were not captured, and `explain` is told why, once (by default, a CaptureWarning):
    a function that reads values (`.item()`, `if loss < 1`), draws random numbers of its own, or does something else the
    second time. What it does beside computing (printing, appending to a list) is done only while it is recorded.

    >>> from optimizers import SGD
    >>> from tinynet.functional import mse_loss
    >>> from tinynet.layers import Linear
    >>> model = Linear(3, 1, seed=0)
    >>> optimizer = SGD(model.parameters(), lr=0.1)
    >>> @capture
    ... def step(x, y):
    ...     optimizer.zero_grad()
    ...     loss = mse_loss(model(x), y)
    ...     loss.backward()
    ...     optimizer.step()
    ...     return loss
    >>> x = np.ones((4, 3), np.float32)
    >>> losses = [step(x, x[:, :1]).item() for _ in range(5)]
    >>> losses[4] < losses[0]
    True
    """
    return Captured(function, explain)
