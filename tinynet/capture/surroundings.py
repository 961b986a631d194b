"""What a captured function can reach by name: is it still what it was?

A replay does not look at the variables that the function reads, so somebody has to: the lr of a loop of one's own, the
model behind a name, the settings in an object or a dict. Objects are compared by identity, which is quick and never asks
for the value of an array. (What is reached in other ways, through a call into a library, say, is not seen.)
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

OURS = ("tinynet", "optimizers", "monitor", "numpy")  # their functions use no variables that a user would change
CLOSED = (type, ModuleType, BuiltinFunctionType, np.ufunc, np.ndarray)  # what is in these is not looked at
MANY = 100  # items: a longer list is data, and would take long to compare


class Surroundings:
    """The variables of a function and of those it calls, and what it names in them: noted now, compared by `changed`."""

    def __init__(self, function: Callable, *arguments: Any):
        self.attributes: list[tuple[str, Any, str, Any]] = []  # (name, a cell of a closure, say, attribute, what was in it)
        self.points: list[tuple[str, Any, str, Any]] = []  # (name, an optimizer, attribute, value): at which point it is
        self.entries: list[tuple[str, dict, str, Any]] = []  # (name, the globals or attributes, key, value)
        self.contents: list[tuple[str, Any, list]] = []  # (name, a list or the values of a dict, what was in it)
        self.values: list[Any] = []  # all that was found
        self._places: list[Any] = []  # the lists and dicts
        self._settings: list[tuple[str, dict, list]] = []  # (name of an optimizer, its group, what was in it)
        self._names: set[str] = set()  # what the functions name
        self._met: set[Any] = set()
        self._waiting = [("an argument", value) for value in arguments if has_attributes(value)]  # (name, object)
        self._meet("the function", function)
        while self._look_into_objects():
            pass

    def _meet(self, name: str, value: Any) -> None:
        if id(value) in self._met:
            return
        self._met.add(id(value))
        self.values.append(value)
        if isinstance(value, functools.partial):
            self._meet_all(name, [value.func, *value.args, *value.keywords.values()])
        elif isinstance(value, MethodType):
            self._meet_all(name, [value.__func__, value.__self__])
        elif isinstance(value, FunctionType):
            self._look_into_function(value)
        elif type(value) in (list, dict, tuple) and len(value) <= MANY:
            items = value.values() if type(value) is dict else value
            self.contents.append((name, items, list(items)))
            self._places.append(value)
            self._meet_all(name, items)
        elif has_attributes(value):
            self._waiting.append((name, value))
            modules = [m for _, m in value.named_modules()] if hasattr(value, "named_modules") else [value]
            self._meet_all(name, [f for m in modules for f in methods(m, "__call__", "forward")])
            if hasattr(value, "param_groups"):  # an optimizer, which may be at one of two points (averaging.py)
                self.contents.append((name, value.param_groups, list(value.param_groups)))
                if hasattr(value, "_training"):
                    self.points.append((name, value, "_training", value._training))
                self._settings += [(name, group, list(group.values())) for group in value.param_groups]

    def _meet_all(self, name: str, values: Iterable[Any]) -> None:
        for value in values:
            self._meet(name, value)

    def _look_into_function(self, function: FunctionType) -> None:
        if (function.__module__ or "").partition(".")[0] in OURS and len(self._met) > 1:
            return
        names = set(names_in(function.__code__))
        self._names |= names
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            if content(cell) is not cell:
                self.attributes.append((name, cell, "cell_contents", content(cell)))
            self._meet(name, content(cell))
        for name in sorted(names & function.__globals__.keys()):
            value = function.__globals__[name]
            if not isinstance(value, ModuleType):
                self.entries.append((name, function.__globals__, name, value))
                self._meet(name, value)

    def _look_into_objects(self) -> bool:
        """Note the attributes that some function names, and go on into them and into the methods; False if none was new."""
        new = False
        for name, thing in list(self._waiting):
            for key in sorted(self._names):
                if (id(thing), key) in self._met:
                    continue
                self._met.add((id(thing), key))
                if key in vars(thing):
                    new = True
                    self.entries.append((f"{name}.{key}", vars(thing), key, vars(thing)[key]))
                    self._meet(f"{name}.{key}", vars(thing)[key])
                elif isinstance(default := getattr(type(thing), key, None), FunctionType):
                    new = True
                    self._meet(f"{name}.{key}", default)
                elif default is not None and not hasattr(type(default), "__get__") and hasattr(thing, key):  # not __name__
                    self.attributes.append((f"{name}.{key}", thing, key, default))
        return new

    def places(self) -> list[Any]:
        """The lists and dicts in which the function may leave something, attributes and globals among them."""
        return [p for p in self._places if type(p) is not tuple] + [namespace for _, namespace, _, _ in self.entries]

    def changed(self) -> str | None:
        """The name of something that is not what it was; None if there is nothing."""
        for name, thing, attribute, value in self.attributes:
            if not alike([getattr(thing, attribute, self)], [value]):
                return name
        for name, namespace, key, value in self.entries:
            if not alike([namespace.get(key, self)], [value]):
                return name
        for name, items, then in self.contents:
            if not alike(items, then):
                return name
        return None

    def at_other_point(self) -> bool:
        """Whether eval() or train() of an optimizer was called meanwhile."""
        return any(getattr(optimizer, attribute) is not value for _, optimizer, attribute, value in self.points)

    def changed_settings(self) -> str | None:
        """The name of an optimizer with other hyperparameters. (Between calls they may change: a replay knows of that.)"""
        return next((name for name, group, then in self._settings if not alike(group.values(), then)), None)

    def generators(self) -> Iterator[Any]:
        """The random generators, those of layers too."""
        modules = [m for v in self.values if hasattr(v, "named_modules") for _, m in v.named_modules()]
        for value in (*self.values, *(v for module in modules for v in vars(module).values())):
            if isinstance(value, np.random.Generator | np.random.RandomState):
                yield value


def alike(now: Any, then: Any) -> bool:
    """Whether two collections hold the same objects, or equal numbers and texts."""
    if len(now) != len(then):
        return False
    return all(map(operator.is_, now, then)) or all(
        x is y or (type(x) is type(y) and isinstance(x, int | float | str) and repr(x) == repr(y))
        for x, y in zip(now, then, strict=True)
    )


def has_attributes(value: Any) -> bool:
    """Whether it is an object whose attributes are looked at."""
    return hasattr(value, "__dict__") and not isinstance(value, CLOSED)


def methods(thing: Any, *names: str) -> list[Any]:
    """Those of a thing's class that have one of these names."""
    return [method for name in names if isinstance(method := getattr(type(thing), name, None), FunctionType)]


def content(cell: Any) -> Any:
    """What is in the cell of a closure; the cell itself if there is nothing."""
    try:
        return cell.cell_contents
    except ValueError:
        return cell


def names_in(code: CodeType) -> Iterator[str]:
    """The names that a function's code uses, those of the functions inside it too."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from names_in(constant)
