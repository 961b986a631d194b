"""Where arrays live: the one file that knows of any array type besides NumPy's.

The rules, layers, losses and optimizers are written in plain NumPy; CuPy arrays answer the same functions (NEP 13 and
NEP 18), so an array's type *is* its device and there is nothing to switch. What is left for this file: making arrays out
of what a user passes in, and carrying them from one device to the other, with errors that say what is missing.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

Array = Any  # numpy.ndarray, cupy.ndarray, or any other type that answers NumPy's functions

_default_dtype: np.dtype = np.dtype(np.float32)


class DeviceError(RuntimeError):
    """A device was asked for that cannot be used here; the message says what to do."""


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

    Arrays keep their dtype (and are not copied); NumPy scalars become 0-d arrays; lists of Python floats become the
    default dtype. Text, ragged lists and other objects raise.
    """
    if isinstance(value, np.generic):
        array = np.asarray(value)
    elif isinstance(value, np.ndarray) or hasattr(value, "__array_function__"):
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


def device_of(array: Array) -> str:
    """ "cuda" for CuPy's arrays, "cpu" for all others."""
    return "cuda" if type(array).__module__.partition(".")[0] == "cupy" else "cpu"


def to_device(array: Array, device: str) -> Array:
    """Copy `array` to "cpu" or "cuda"; the same array if it is there already. Never falls back silently."""
    if device not in ("cpu", "cuda"):
        raise DeviceError(f"unknown device {device!r}: expected 'cpu' or 'cuda'")
    if device_of(array) == device:
        return array
    return cupy().asarray(array) if device == "cuda" else array.get()


def same_device(array: Array, like: Array) -> Array:
    """`array`, made on the host, on the device of `like` (random masks and labels are drawn on the host)."""
    return to_device(array, device_of(like))


@functools.cache
def cupy() -> Any:
    """The CuPy module, imported on first use; DeviceError says which of three things is wrong when it cannot be used."""
    try:
        import cupy
    except ImportError as error:
        raise DeviceError(
            f"device 'cuda' needs CuPy: pip install 'tinynet[cuda13]' (or 'tinynet[cuda12]' for an older driver) ({error})"
        ) from None
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise DeviceError(f"CuPy {cupy.__version__} is installed but cannot use a GPU: {error}") from None
    if count == 0:
        raise DeviceError("CuPy is installed but no GPU is visible (check CUDA_VISIBLE_DEVICES)")
    return cupy
