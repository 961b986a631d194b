"""What a function does while it is recorded, and the tape does not see: random numbers drawn, arrays changed in place.

A replay would not do it. So the states of random generators and the contents of arrays are noted, and compared with where
the tape's calls have brought them.
"""

from __future__ import annotations

import copy
import pickle
import random
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from tinynet.backend import address


class Chance:
    """The states of random generators: so we find out if something else than the tape's calls draws numbers."""

    def __init__(self, generators: Iterable[Any]):
        self.copies = {id(g): (g, copy.deepcopy(g)) for g in generators}
        self.common = common_states()

    def drawn_unseen(self, calls: Iterable[Any]) -> bool:
        """Whether there is a generator that is not where the calls on the tape have brought it."""
        for call in calls:
            generator = getattr(call.function, "__self__", None)
            if id(generator) in self.copies:
                getattr(self.copies[id(generator)][1], call.function.__name__)(*call.args)
        return self.common != common_states() or any(state_of(g) != state_of(copy) for g, copy in self.copies.values())


def state_of(generator: Any) -> bytes:
    """Where a NumPy generator is in its sequence."""
    return pickle.dumps(generator.bit_generator.state if hasattr(generator, "bit_generator") else generator.get_state())


def common_states() -> tuple:
    """Where the generators are that everybody uses."""
    return random.getstate(), pickle.dumps(np.random.get_state())  # noqa: NPY002


# What is in arrays ----------------------------------------------------------------------------------------------------


def place(array: np.ndarray) -> tuple:
    """Where an array lies in memory, and how: equal for two views of the same elements."""
    return address(array), array.shape, array.strides, array.dtype.str


LARGE = 2**24  # bytes: of larger arrays we look at every second row, or every third ...
UNSEEN = "an array of shape {} is changed by NumPy calls on plain arrays, which capture does not see"


def bits_of(array: np.ndarray) -> bytes:
    """What is in an array."""
    return (array[:: 1 + array.nbytes // LARGE] if array.ndim else array).tobytes()


class Bits:
    """What is in the arrays that were there before: so we find out if something else than the tape's calls changes them."""

    def __init__(self, known: Iterable[np.ndarray] = ()):
        self.kept: dict[tuple, tuple[np.ndarray, tuple, bytes]] = {}  # by place: (array, version of its memory, bytes)
        self.versions: dict[int, int] = {}  # by id of the owner of memory: how often the tape has changed it
        self.rounds = 0
        for array in known:
            self._keep(place(array), array)

    def _keep(self, key: tuple, array: np.ndarray) -> None:
        self.kept[key] = array, self._version(array), bits_of(array)

    def _version(self, array: np.ndarray) -> tuple:
        return self.rounds, self.versions.get(id(array if array.base is None else array.base), 0)

    def same(self, key: tuple, array: np.ndarray) -> bool:
        """Whether it holds what it did after the last change that is known."""
        _, version, then = self.kept.get(key, (None, None, b""))
        if version == self._version(array):
            return bits_of(array) == then
        self._keep(key, array)
        return True

    def changed_unseen(self) -> Iterator[np.ndarray]:
        """The arrays that do not hold what they should."""
        for array, version, then in self.kept.values():
            if version == self._version(array) and bits_of(array) != then:
                yield array

    def changed(self, traced: Any) -> None:
        """The tape has changed it."""
        array = traced.value
        owner = id(array if array.base is None else array.base)
        self.versions[owner] = self.versions.get(owner, 0) + 1
        if traced.place:
            self._keep(traced.place, array)

    def all_changed(self) -> None:
        self.rounds += 1
