"""Arguments and answers, taken apart into arrays and their form, and put together again.

By the form of the arguments (shapes, dtypes, strides, and all that is no array) a captured function keeps its programs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from tinynet.backend import device_of, is_array
from tinynet.capture.traced import Traced, remade
from tinynet.tensor import Tensor, attach


class Lent:
    """Part of an answer that a replay does not copy: `get()` answers it, until the next call writes over it."""

    def __init__(self, get: Callable[[], Any]):
        self.get = get


def rebuilt(form: Any, values: list[np.ndarray], copied: bool = True) -> Any:
    """An answer from its form; arrays are copies, since the next replay writes over them."""
    kind = form[0]
    if kind in ("tensor", "array"):
        array = values[form[1]].copy("K") if copied else values[form[1]]
        return attach(array, None) if kind == "tensor" else array
    if kind == "scalar":
        return values[form[1]][()]
    if kind == "sequence":
        return remade(form[1], [rebuilt(f, values, copied) for f in form[2]])
    if kind == "dict":
        return {key: rebuilt(f, values, copied) for key, f in form[1].items()}
    if kind == "lent":
        return Lent(partial(rebuilt, form[1], values, False))
    return form[1]


class UnfitError(Exception):
    """An argument that cannot be one of a captured function."""


def form_of(array: np.ndarray) -> Any:
    """The form of an array among the arguments."""
    return "array", array.shape, array.dtype, array.strides, device_of(array)


def taken_apart(value: Any, arrays: list[np.ndarray]) -> Any:
    """The form of the arguments, by which programs are kept; their arrays are put into `arrays`."""
    if type(value) is np.ndarray or is_array(value):
        arrays.append(value)
        return form_of(value)
    if isinstance(value, tuple | list):
        return "sequence", type(value), tuple([taken_apart(v, arrays) for v in value])
    if isinstance(value, dict):
        return "dict", tuple([(key, taken_apart(v, arrays)) for key, v in value.items()])
    if isinstance(value, Tensor):
        if value.requires_grad:
            raise UnfitError("an argument requires a gradient")
        if is_array(value.data):
            arrays.append(value.data)
            return "tensor", *form_of(value.data)[1:]
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
