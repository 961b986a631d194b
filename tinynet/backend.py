"""Where arrays live: the one file that knows of any array type besides NumPy's.

The rules, layers, losses and optimizers are written in plain NumPy; CuPy arrays answer the same functions (NEP 13 and
NEP 18), so an array's type *is* its device and there is nothing to switch. What is left for this file: making arrays out
of what a user passes in, and carrying them from one device to the other, with errors that say what is missing.

No operation moves an array by itself: `to_device` and what is made of it (Tensor.to, Module.to, fit) are the only ways.
Random numbers are drawn by NumPy on the host, so that a seed means the same everywhere.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

Array = Any  # numpy.ndarray, cupy.ndarray, or any other type that answers NumPy's functions

_default_dtype: np.dtype = np.dtype(np.float32)
_default_device = "cpu"


class DeviceError(RuntimeError):
    """A device was asked for that cannot be used here; the message says what to do."""


class DeviceMemoryError(DeviceError):
    """The memory of the GPU is full; the message says how many bytes were asked for, and what needs fewer."""


def set_default_dtype(dtype: Any) -> None:
    """Set the dtype that lists of Python floats, new parameters and generated data sets get (float32 at the start).

    >>> set_default_dtype("float64"); get_default_dtype().name
    'float64'
    >>> set_default_dtype("float32")
    """
    global _default_dtype
    dtype = np.dtype(dtype)
    if dtype.kind != "f":
        raise TypeError(f"the default dtype must be a floating-point dtype such as float32 or float64, got {dtype}")
    _default_dtype = dtype


def get_default_dtype() -> np.dtype:
    """The dtype that lists of Python floats become."""
    return _default_dtype


def as_array(value: Any, dtype: Any = None) -> Array:
    """Turn `value` into an array without moving it between devices.

    Arrays keep their dtype (and are not copied; np.matrix and np.memmap become plain arrays of the same memory); NumPy
    scalars become 0-d arrays; lists of Python floats become the default dtype. Text, ragged lists, masked arrays and other
    objects raise.
    """
    if isinstance(value, np.generic | np.ndarray):
        if hasattr(value, "mask"):  # (asking for np.ma.MaskedArray would import it)
            raise TypeError(
                "a mask would be ignored: give the array filled, a.filled(0), and the mask as a factor of its own"
            )
        array = np.asarray(value)
    elif hasattr(value, "__array_function__"):
        array = value
    else:
        array = _from_python(value)
    if array.dtype.kind not in "fiubc":
        raise TypeError(
            f"tinynet computes with real numbers, got data of dtype {array.dtype} "
            "(text or mixed objects: convert them first)"
        )
    return array if dtype is None else array.astype(dtype, copy=False)


def _from_python(value: Any) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(
            "cannot make an array of a ragged list: every row must have the same length "
            f"(got {type(value).__name__} of length {len(value)})"
        ) from None
    if array.dtype == np.float64 and not isinstance(_first_leaf(value), np.generic | np.ndarray):
        array = array.astype(_default_dtype)
    return array


def _first_leaf(value: Any) -> Any:
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return value


# Devices ----------------------------------------------------------------------------------------------------------------


class use_device:
    """From now on new tensors, parameters and data sets are on this device: `use_device("cuda")`, or for a while,
    `with use_device("cuda"): ...`.

    device: "cpu" (at the start) or "cuda", the current GPU. DeviceError if it cannot be used here.

    New is what is made of Python's numbers, by a layer, or by tinynet.datasets. An array that you give to Tensor stays
    where it is, and so does all that is there already. The setting is one for the whole process, as the default dtype.

    >>> with use_device("cpu"):
    ...     get_default_device()
    'cpu'
    """

    def __init__(self, device: str):
        global _default_device
        check_device(device)
        self._before = _default_device
        _default_device = device

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        global _default_device
        _default_device = self._before


def get_default_device() -> str:
    """The device of new tensors, parameters and data sets: "cpu" or "cuda"."""
    return _default_device


def placed(array: Array) -> Array:
    """A new array, made on the host, on the default device."""
    return to_device(array, _default_device)


def check_device(device: str) -> None:
    """Raise DeviceError if it is no device, or one that cannot be used here."""
    if device not in ("cpu", "cuda"):
        raise DeviceError(f"unknown device {device!r}: expected 'cpu' or 'cuda'")
    if device == "cuda":
        cupy()


def device_of(array: Any) -> str:
    """ "cuda" for CuPy's arrays and Tensors of them, "cpu" for all others."""
    if type(array) is np.ndarray:
        return "cpu"
    if hasattr(array, "__record__"):  # a Tensor
        return device_of(array.data)
    if type(array).__module__.partition(".")[0] == "cupy":
        return "cuda"
    inside = getattr(array, "value", None)  # of a traced array
    return "cpu" if inside is None else device_of(inside)


def is_array(value: Any) -> bool:
    """Whether it is an array of NumPy's or CuPy's."""
    kind = type(value)
    return isinstance(value, np.ndarray) or (kind.__name__ == "ndarray" and kind.__module__.partition(".")[0] == "cupy")


def address(array: Array) -> int:
    """Where in the memory of its device an array begins."""
    return array.__array_interface__["data"][0] if isinstance(array, np.ndarray) else array.data.ptr


def to_device(array: Array, device: str) -> Array:
    """Copy `array` to "cpu" or "cuda"; the same array if it is there already. Never falls back silently."""
    check_device(device)
    if device_of(array) == device:
        return array
    if hasattr(array, "carried"):  # a traced array: every replay carries it again
        return array.carried(to_device, device)
    if device == "cpu":
        return array.get()
    with memory_explained():
        return cupy().asarray(array)


def same_device(array: Array, like: Any) -> Array:
    """`array`, made on the host, on the device of `like` (random masks and labels are drawn on the host)."""
    return to_device(array, device_of(like))


def beside(value: Any, like: Any) -> Array:
    """`value` as an array: numbers and lists go to the device of `like`, an array stays where it is."""
    array = as_array(value)
    return array if array is value else same_device(array, like)


@contextmanager
def memory_explained() -> Iterator[None]:
    """Inside (or as a decorator) CuPy's error for a full memory becomes a DeviceMemoryError."""
    try:
        yield
    except MemoryError as error:
        explain_memory(error)
        raise


def explain_memory(error: MemoryError) -> None:
    """Raise DeviceMemoryError if it is CuPy's error; NumPy's says all by itself."""
    if type(error).__name__ == "OutOfMemoryError":
        raise DeviceMemoryError(
            f"the GPU's memory is full: {error} Take a smaller batch_size, fewer or narrower layers, float32 in place of "
            "float64; compute what needs no gradient inside no_grad(); end other programs that use the GPU (nvidia-smi)"
        ) from None


@functools.cache
def cupy() -> Any:
    """The CuPy module, imported on first use; DeviceError says which of three things is wrong when it cannot be used."""
    try:
        import cupy
    except ImportError as error:
        raise DeviceError(
            "device 'cuda' needs CuPy: pip install 'cupy-cuda13x[ctk]' (or 'cupy-cuda12x[ctk]' for an older driver) "
            f"({error})"
        ) from None
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        if "NoDevice" in str(error):
            count = 0
        else:
            raise DeviceError(f"CuPy {cupy.__version__} is installed but cannot use a GPU: {error}") from None
    if count == 0:
        raise DeviceError("CuPy is installed but no GPU is visible (check CUDA_VISIBLE_DEVICES)")
    return cupy
