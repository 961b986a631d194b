"""capture(f): a training step as a flat list of NumPy calls, replayed without Python's bookkeeping.

The first two calls of a captured function run as always and write down what they do (tracing.py). If both did the same,
the third and all others replay it (program.py): the same calls on the same numbers, so the same bits, without building a
graph, and into arrays that are there already. On a small net that is most of the time of a step.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinynet.graph import is_recording
from tinynet.plan import all_calls
from tinynet.program import Program
from tinynet.tensor import Tensor, attach
from tinynet.tracing import Host, Number, Tape, Traced, place, real, recording_on

KEPT = 8  # programs of one function: one for each combination of shapes, dtypes and modes
CHECKED_EVERY = 1000  # replays, after which a call is recorded again to see whether the function still does the same


class CaptureWarning(UserWarning):
    """A captured function cannot be replayed, and runs as if it were not captured."""


class Captured:
    """What `capture` answers: called as the function is."""

    def __init__(self, function: Callable, explain: Callable[[str], Any] | None = None):
        functools.update_wrapper(self, function)
        self.function = function
        self.explain = explain or (lambda why: warnings.warn(why, CaptureWarning, stacklevel=4))
        self.failure: str | None = None  # why the function is not replayed
        self._kept: dict[Any, list[Record]] = {}

    def __call__(self, *args: Any, **params: Any) -> Any:
        if self.failure is not None or is_recording.get() is not True:
            return self.function(*args, **params)
        arrays: list[np.ndarray] = []
        try:
            form = taken_apart(args, arrays), taken_apart(params, arrays) if params else ()
        except UnfitError:
            return self.function(*args, **params)
        records = self._kept.setdefault(form, [])
        for record in records:
            if record.fits():
                return record.replay(arrays) if record.left else self._again(record, form, arrays)
        if len(records) >= KEPT:
            del records[0]
        record = Record(self.function, form, arrays)
        if record.tape.failure:
            self._give_up(record.tape.failure)
        records.append(record)
        return record.answer

    def _again(self, record: Record, form: Any, arrays: list[np.ndarray]) -> Any:
        """The second call, and some later ones: recorded too, to see whether the function does the same."""
        second = Record(self.function, form, arrays)
        if guards(second.tape) != guards(record.tape):  # an optimizer's first step may be unlike the others
            records = self._kept[form]
            records[records.index(record)] = second
            return second.answer
        difference = second.tape.failure or agree(record.tape, second.tape)
        if difference:
            late = f"; this was seen only now, and up to {CHECKED_EVERY} calls before may have done what it did first"
            self._give_up(difference + (late if record.program is not None else ""))
        else:
            record.compile()
        return second.answer

    def recheck(self) -> None:
        """Let the next call with the usual shapes be recorded again: does the function still do the same?"""
        for records in list(self._kept.values())[:1]:
            for record in records:
                record.left = 0

    def _give_up(self, why: str) -> None:
        self.failure = why
        self._kept.clear()
        self.explain(f"{self.function.__name__} runs without capture: {why}")

    def program(self) -> str:
        """The NumPy calls of a replay, as Python source, for the shapes that were met last."""
        if self.failure is not None:
            return f"# not captured: {self.failure}"
        programs = [r.program for records in self._kept.values() for r in records if r.program is not None]
        return str(programs[-1]) if programs else "# not captured yet: call it twice with arrays of the same shapes"


class Record:
    """One recorded call, and the program made of it."""

    def __init__(self, function: Callable, form: Any, arrays: list[np.ndarray]):
        self.tape = tape = Tape(arrays)
        inputs = iter(tape.inputs)
        args, params = put_together(form[0], inputs), put_together(form[1], inputs) if form[1] else {}
        try:
            with recording_on(tape):
                answer = function(*args, **params)
        finally:
            self.final = [(leaf, leaf.grad) for leaf, _ in tape.leaves.values()]
            for leaf, grad in self.final:
                leaf.grad = real(grad)
        self.program: Program | None = None
        self.left = 0  # replays until the next check
        self.leaves = [(leaf, leaf.data, no_grad) for leaf, no_grad in tape.leaves.values()]
        self.watched = list(tape.watched.values())
        self.wanted: list[Traced] = []
        self.form_of_answer = self._shape_of(answer)
        self.answer = rebuilt(self.form_of_answer, [traced.value for traced in self.wanted])

    def _shape_of(self, answer: Any) -> Any:
        """The answer with a number in place of each array, which is put into `wanted`."""
        kind = "tensor" if isinstance(answer, Tensor) else "array"
        array = answer.data if isinstance(answer, Tensor) else answer
        if isinstance(array, Traced):
            self.wanted.append(array)
            return kind, len(self.wanted) - 1
        if isinstance(answer, tuple | list):
            return "sequence", type(answer), [self._shape_of(a) for a in answer]
        if isinstance(answer, dict):
            return "dict", {key: self._shape_of(a) for key, a in answer.items()}
        if isinstance(answer, Tensor):
            return "constant", answer.detach()
        if isinstance(answer, np.ndarray | np.generic | float) and not isinstance(answer, bool):
            self.tape.fail("the function answers a number or an array that it did not compute from its arguments")
        return "constant", answer

    def fits(self) -> bool:
        """Whether the parameters and layers are still those that were met, in the same state."""
        for leaf, data, no_grad in self.leaves:
            if leaf.data is not data or (no_grad is not None and (leaf.grad is None) is not no_grad):
                return False
        return all(getattr(thing, name) is value for thing, name, value in self.watched)

    def compile(self) -> None:
        self.left = CHECKED_EVERY
        if self.program is None:
            self.program = Program(self.tape, self.wanted, self.final)
            for call in all_calls(self.tape):  # the program has arrays of its own
                if call.out is not None:
                    call.out.value = np.empty(0)

    def replay(self, arrays: list[np.ndarray]) -> Any:
        assert self.program is not None
        self.left -= 1
        return rebuilt(self.form_of_answer, self.program.run(*arrays))


def guards(tape: Tape) -> list[Any]:
    """How the comparisons of the optimizer's numbers came out."""
    return [step.guards for step in tape.steps if isinstance(step, Host)]


def agree(a: Tape, b: Tape) -> str | None:
    """Whether two recordings of a function are the same program: None, or in which way they differ."""
    pairs = {id(x): id(y) for x, y in zip(a.inputs, b.inputs, strict=True)}
    first, second = list(all_calls(a)), list(all_calls(b))
    if len(first) != len(second) or len(a.steps) != len(b.steps):
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
        pairs[id(one.out)] = id(other.out)
    return None


def same(x: Any, y: Any, pairs: dict[int, int]) -> bool:
    """Whether two arguments play the same part; `pairs` says which Traced arrays of the recordings do."""
    if type(x) is not type(y):
        return False
    if isinstance(x, Traced):
        if id(x) not in pairs:  # from outside: the same array, or a new one with the same bits
            pairs[id(x)] = id(y)
            alike = x.dtype == y.dtype and x.shape == y.shape
            return place(x.value) == place(y.value) or (alike and x.value.tobytes() == y.value.tobytes())
        return pairs[id(x)] == id(y)
    if isinstance(x, tuple | list):
        return len(x) == len(y) and all(same(v, w, pairs) for v, w in zip(x, y, strict=True))
    if isinstance(x, dict):
        return x.keys() == y.keys() and all(same(v, y[k], pairs) for k, v in x.items())
    if isinstance(x, Number):
        return x.text == y.text
    return x is y or bool(x == y) or (x != x and y != y)


def rebuilt(form: Any, values: list[np.ndarray]) -> Any:
    """An answer from its form; arrays are copies, since the next replay writes over them."""
    kind = form[0]
    if kind == "tensor":
        return attach(values[form[1]].copy(), None)
    if kind == "array":
        return values[form[1]].copy()
    if kind == "sequence":
        return form[1](rebuilt(f, values) for f in form[2])
    if kind == "dict":
        return {key: rebuilt(f, values) for key, f in form[1].items()}
    return form[1]


class UnfitError(Exception):
    """An argument that cannot be one of a captured function."""


def taken_apart(value: Any, arrays: list[np.ndarray]) -> Any:
    """The form of the arguments, by which programs are kept; their arrays are put into `arrays`."""
    if type(value) is np.ndarray:
        arrays.append(value)
        return "array", value.shape, value.dtype
    if isinstance(value, tuple | list):
        return "sequence", type(value), tuple([taken_apart(v, arrays) for v in value])
    if isinstance(value, dict):
        return "dict", tuple([(key, taken_apart(v, arrays)) for key, v in value.items()])
    if isinstance(value, Tensor):
        if value.requires_grad or type(value.data) is not np.ndarray:
            raise UnfitError
        arrays.append(value.data)
        return "tensor", value.data.shape, value.data.dtype
    try:
        hash(value)
    except TypeError:
        raise UnfitError from None
    return "constant", type(value), value


def put_together(form: Any, inputs: Iterator[Traced]) -> Any:
    """The arguments again, with Traced arrays in place of arrays."""
    if form[0] == "array":
        return next(inputs)
    if form[0] == "tensor":
        return Tensor(next(inputs))
    if form[0] == "sequence":
        return form[1](put_together(f, inputs) for f in form[2])
    if form[0] == "dict":
        return {key: put_together(f, inputs) for key, f in form[1]}
    return form[2]


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
