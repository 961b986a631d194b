"""Conditions that are asked at every replay, joined to one expression of Python and compiled: quicker than any loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from keyword import iskeyword
from typing import Any

from tinynet.capture.surroundings import alike


class Conditions:
    """Tests such as "this attribute still is that object", collected as text, and the objects that they name."""

    def __init__(self) -> None:
        self.tests: list[str] = []
        self.objects: dict[str, Any] = {}

    def name(self, thing: Any) -> str:
        """The name under which the tests know an object."""
        name = f"_{len(self.objects)}"
        self.objects[name] = thing
        return name

    def add(self, test: str) -> None:
        self.tests.append(test)

    def attributes_are(self, thing: Any, attributes: Iterable[tuple[str, Any]]) -> None:
        """These (name, value) are attributes of an object."""
        name = self.name(thing)
        for key, value in attributes:
            there = f"{name}.{key}" if key.isidentifier() and not iskeyword(key) else f"getattr({name}, {key!r})"
            self.add(f"{there} is {self.name(value)}")

    def entries_are(self, space: dict, entries: Iterable[tuple[Any, Any]]) -> None:
        """These (key, value) are in a dict."""
        name = self.name(space)
        self.tests += [f"{name}[{key!r}] is {self.name(value)}" for key, value in entries]

    def length_is(self, collection: Any, length: int) -> None:
        self.tests.append(f"len({self.name(collection)}) == {length}")

    def alike(self, now: Any, then: list) -> None:
        """A collection holds what it did."""
        if isinstance(now, list | tuple):
            self.length_is(now, len(then))
            name = self.name(now)
            self.tests += [f"{name}[{i}] is {self.name(value)}" for i, value in enumerate(then)]
        else:
            self.tests.append(f"{self.name(alike)}({self.name(now)}, {self.name(then)})")

    def compiled(self, arguments: str = "", answer: str = "True") -> Callable:
        """A function that answers `answer` if all tests hold, and False if not."""
        return eval(f"lambda {arguments}: {' and '.join([*self.tests, answer])}", self.objects)
