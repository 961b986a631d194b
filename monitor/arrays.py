"""Arrays of any library: NumPy's and CuPy's, PyTorch's tensors, tinynet's."""

from __future__ import annotations

import functools
import math
import operator
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """The array of real numbers in a tensor or parameter, outside its graph, in float32 at least; None if there is none."""
    array: Any = value if type(value) is np.ndarray else getattr(value, "data", None)  # tinynet's tensors have it there
    if type(array) is not np.ndarray:
        if hasattr(value, "is_floating_point"):
            return _plain_torch(value)
        array = value if hasattr(value, "strides") else array  # CuPy's
        if not hasattr(array, "dtype"):
            return None
    if array.dtype.kind != "f":
        return None
    return array if array.dtype.itemsize >= 4 else array.astype(np.float32)


def _plain_torch(value: Any) -> Any:
    if not value.is_floating_point():
        return None
    value = value.detach()
    value = value.coalesce().values() if value.is_sparse else value
    return value if value.element_size() >= 4 else value.float()


def numbers_on_host(numbers: list[Any]) -> Iterator[float]:
    """Numbers of any library as Python's; from a GPU in one copy."""
    if numbers and hasattr(numbers[0], "detach"):
        torch = sys.modules["torch"]
        numbers = [number if hasattr(number, "detach") else torch.tensor(number) for number in numbers]
        if len({number.device for number in numbers}) > 1:
            numbers = [number.cpu() for number in numbers]
        kind = functools.reduce(torch.promote_types, {number.dtype for number in numbers})
        return iter(torch.stack([number.to(kind) for number in numbers]).tolist())
    if numbers and hasattr(numbers[0], "get"):  # CuPy
        first = numbers[0]
        together: Any = np.stack([n if hasattr(n, "get") else np.full_like(first, n) for n in numbers])
        return iter(together.get().tolist())
    return map(float, numbers)


def on_host(values: Any) -> np.ndarray:
    """A NumPy array of an array, or of a tensor of another library, wherever it is."""
    for method in ("detach", "cpu", "numpy"):  # PyTorch needs all three, tinynet and TensorFlow have the last
        values = getattr(values, method, lambda values=values: values)()
    return np.asarray(values.get() if hasattr(values, "__cuda_array_interface__") else values)


def copied(array: Any, copy: Any) -> Any:
    """`copy` with the values of the array, if it is an array like that; else a new one."""
    if copy is None or copy.shape != array.shape or copy.dtype != array.dtype or copy.device != array.device:
        return array.clone() if hasattr(array, "clone") else array.copy()
    copy[...] = array
    return copy


def square_sum(array: Any) -> Any:
    """The sum of the squares of all numbers, still on their device."""
    if type(array) is np.ndarray:
        return np.vdot(array, array)
    flat = array.reshape(-1)
    return flat @ flat


class SideBySide:
    """Arrays as one, where they are NumPy's and lie side by side in memory, as an optimizer lays out parameters."""

    def __init__(self) -> None:
        self._held: list[Any] = []
        self._whole: list[Any] = []
        self._shapes: list[tuple[int, ...]] = []

    def of(self, values: list[Any], held: list[Any]) -> list[Any]:
        """[one flat array] over the arrays in some tensors, in their order, or the array of each.

        held: what the tensors hold. As long as these are the same objects, nothing is looked for.
        """
        if len(held) == len(self._held) and all(map(operator.is_, held, self._held)):
            return self._whole
        arrays = [plain(value) for value in values]
        whole = _one_over(arrays) if len(arrays) > 1 else None
        if whole is None:
            self._held, self._whole = [], []
            return arrays
        self._held, self._whole, self._shapes = held, [whole], [array.shape for array in arrays]
        return self._whole

    def apart(self, array: Any) -> list[Any]:
        """One that is laid out like the last that was over several, as several."""
        ends = np.cumsum([math.prod(shape) for shape in self._shapes])
        parts = zip(np.split(array, ends[:-1]), self._shapes, strict=True)
        return [part.reshape(shape) for part, shape in parts]


def _one_over(arrays: list[Any]) -> np.ndarray | None:
    base = getattr(arrays[0], "base", None)
    if type(base) is not np.ndarray or not base.flags.c_contiguous:
        return None
    if not all(type(a) is np.ndarray and a.base is base and a.flags.c_contiguous and a.dtype == base.dtype for a in arrays):
        return None
    starts = [(_address(array) - _address(base)) // base.itemsize for array in arrays]
    ends = [start + array.size for start, array in zip(starts, arrays, strict=True)]
    return base.reshape(-1)[starts[0] : ends[-1]] if starts[1:] == ends[:-1] else None


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]
