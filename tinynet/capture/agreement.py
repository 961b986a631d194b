"""Did a function do the same twice? Two recordings, compared call by call."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynet.backend import is_array
from tinynet.capture.numbers import Number
from tinynet.capture.optimizer_step import OptimizerStep
from tinynet.capture.plan import layout
from tinynet.capture.tape import Tape, all_calls
from tinynet.capture.traced import Traced
from tinynet.tensor import Tensor


def guards(tape: Tape) -> list[Any]:
    """How the comparisons of the optimizer's numbers came out."""
    return [step.guards for step in tape.steps if isinstance(step, OptimizerStep)]


def agree(a: Any, b: Any) -> str | None:
    """Whether two recordings (Records) of a function are the same program: None, or in which way they differ."""
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
    return [(id(step.optimizer), len(step.calls)) if isinstance(step, OptimizerStep) else None for step in tape.steps]


def left(record: Any) -> list[Any]:
    """The gradients and norms at each step of an optimizer."""
    return [(step.grads, step.norm) for step in record.tape.steps if isinstance(step, OptimizerStep)]


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
    return x is y or (not isinstance(x, Tensor) and not is_array(x) and bool(x == y))
