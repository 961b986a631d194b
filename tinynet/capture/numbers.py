"""Numbers that change from step to step, while a step is captured: the t of an optimizer, a learning rate, what is computed
from them.

A replay computes them anew in Python, so a Number keeps its arithmetic as text.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np


class Number:
    """A Python number that changes from step to step: its value now, and how it is computed from the n0, n1 ... of a step.

    A comparison answers by the value now, and is noted: when it comes out otherwise, the tape is not right.
    """

    __slots__ = ("tape", "text", "value")

    def __init__(self, tape: Any, value: float, text: str):
        self.tape = tape
        self.value = value
        self.text = text

    def __repr__(self) -> str:
        return repr(self._read())

    def _guard(self, value: Any, text: str) -> Any:
        if self.tape.guards is None:
            self.tape.fail("a number of the optimizer is used outside its step")
        else:
            self.tape.guards.append((text, value))
        return value

    def __neg__(self) -> Number:
        return Number(self.tape, -self.value, f"(-{self.text})")

    def __bool__(self) -> bool:
        return self._guard(bool(self.value), f"bool({self.text})")

    def _read(self) -> Any:
        self.tape.fail("the rule needs the value of a number that changes with t (write x ** 0.5 for math.sqrt(x))")
        return self.value

    def __float__(self) -> float:
        return float(self._read())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._read(), name)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **params: Any) -> Any:
        if any(hasattr(x, "tape") and not isinstance(x, Number) for x in inputs):
            return NotImplemented  # that is for the array to do
        self._read()
        return getattr(ufunc, method)(*map(value_of, inputs), **params)

    def __hash__(self) -> int:
        return id(self)


def value_of(number: Any) -> Any:
    """The value of a Number; anything else as it is."""
    return number.value if isinstance(number, Number) else number


def source_of(number: Any) -> str:
    """A number as Python source: also inf and nan, and NumPy's kinds of float."""
    if isinstance(number, Number):
        return number.text
    text = repr(float(number) if isinstance(number, float) else number)
    return f"float('{text}')" if text[-1] in "fn" else text  # inf and nan


def _binary(symbol: str, function: Callable, mirrored: bool = False) -> Callable:
    def method(self: Number, other: Any) -> Any:
        if not isinstance(other, Number | int | float):
            return NotImplemented
        a, b = (other, self) if mirrored else (self, other)
        return Number(self.tape, function(value_of(a), value_of(b)), f"({source_of(a)} {symbol} {source_of(b)})")

    return method


def _comparison(symbol: str, function: Callable) -> Callable:
    def method(self: Number, other: Any) -> Any:
        if not isinstance(other, Number | int | float):
            return NotImplemented
        return self._guard(function(self.value, value_of(other)), f"({source_of(self)} {symbol} {source_of(other)})")

    return method


for _name, _symbol in (
    ("add", "+"),
    ("sub", "-"),
    ("mul", "*"),
    ("truediv", "/"),
    ("pow", "**"),
    ("mod", "%"),
    ("floordiv", "//"),
):
    setattr(Number, f"__{_name}__", _binary(_symbol, getattr(operator, _name)))
    setattr(Number, f"__r{_name}__", _binary(_symbol, getattr(operator, _name), mirrored=True))
for _name, _symbol in (("lt", "<"), ("le", "<="), ("gt", ">"), ("ge", ">="), ("eq", "=="), ("ne", "!=")):
    setattr(Number, f"__{_name}__", _comparison(_symbol, getattr(operator, _name)))
for _function in (operator.index, int, abs, round, math.floor, math.ceil, math.trunc):
    setattr(Number, f"__{_function.__name__}__", lambda self, *how, _f=_function: _f(self._read(), *how))
