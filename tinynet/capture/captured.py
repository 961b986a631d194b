"""A captured function: recorded twice, then replayed; and recorded again now and then: does it still do the same?"""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from tinynet.capture.agreement import agree
from tinynet.capture.arguments import UnfitError, constants, taken_apart
from tinynet.capture.program import Program
from tinynet.capture.record import CHECKED_EVERY, Record
from tinynet.graph import is_recording

KEPT = 8  # programs of one function for arguments of one form: one for each combination of modes, say
FORMS = 32  # how many forms (shapes, dtypes, other values) are kept
IN_VAIN = 20  # recordings one after the other, none of which is met again: then capture is of no use
HINT = " (a number among them is part of the program: pass one that changes as an array, np.array({:g}))"
NOT_CALLED = object()  # in the place of an answer
LATE = f"; this was seen only now, and up to {CHECKED_EVERY} calls before may have done what it did first"


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
        self._last: Record | None = None  # the one of them that was replayed last
        self._in_vain = 0
        self._busy = threading.Lock()

    def __get__(self, owner: Any, kind: type | None = None) -> Any:
        """As a method: the object is the first argument."""
        return self if owner is None else functools.partial(self, owner)

    def __call__(self, *args: Any, **params: Any) -> Any:
        if self.failure is not None or is_recording.get() is not True or not self._busy.acquire(False):
            return self.function(*args, **params)  # (busy: in another thread, and there is one set of arrays)
        try:
            last = self._last
            if last is not None and last.left and not params and last.is_next(args):
                return last.replay(args)  # nearly always
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
        self._last = record
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
                why = last.changed() or "a step" if last is not None else "the form of its arguments"
                number = next((c for c in constants(form) if isinstance(c, float | np.number)), None)
                hint = "" if last is not None or number is None else HINT.format(float(number))
                self._give_up(f"in {IN_VAIN} calls, {why} was never twice the same{hint}")
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
        programs = self._programs()
        return str(programs[-1]) if programs else "# not captured yet: call it twice with arrays of the same shapes"

    def buffers(self) -> int:
        """The bytes of all arrays that replays write into, beside those that were there before (parameters, gradients)."""
        return sum(program.bytes for program in self._programs())

    def _programs(self) -> list[Program]:
        return [r.program for records in self._kept.values() for r in records if r.program is not None]


def capture(function: Callable, explain: Callable[[str], Any] | None = None) -> Captured:
    """The function, replayed from its third call on with the same bits and less work: for training steps.

    `function` takes arrays and computes on them with tinynet and NumPy; it may call backward(), gradients() and
    optimizer.step(). What it answers comes back detached from the graph. It is recorded anew for arguments of another shape
    or dtype, and when a layer changes its mode. A number among the arguments is part of the program: pass one that changes,
    such as a learning rate, as an array: np.array(lr).

    What the function does must follow from its arguments, the parameters and the mode of the layers. Other things that it
    reads, such as a factor in a variable of yours, are part of the program; every 1000 calls (in `fit` also in epochs 1, 2,
    4, 8 ...) a call is recorded again, and a difference ends the capture.

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
