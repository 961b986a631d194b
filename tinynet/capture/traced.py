"""Arrays that write down what is done with them: how capture learns which NumPy calls a function makes.

A `Traced` array answers NumPy's functions, as a CuPy array or a Tensor does: it hands every call over to its tape
(tape.py), which makes it with the real arrays and notes it. What a replay could not know (a value read by Python, say) is
noted as the tape's failure, and done all the same.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from optimizers.base import tracing
from tinynet.backend import device_of
from tinynet.capture.numbers import Number
from tinynet.capture.vocabulary import IN_OTHER_WORDS, KNOWN, OF_SHAPES, scalar_pow


def kept(array: Any) -> Any:
    """The real array, if this one was there before."""
    return array.value if isinstance(array, Traced) and array.place else array


def remade(kind: Any, items: Iterable) -> Any:
    """A tuple (a named one too) or a list of these items."""
    return kind._make(items) if hasattr(kind, "_make") else kind(items)


def real(value: Any) -> Any:
    """The value with real arrays and numbers in place of Traced ones, in tuples and lists too."""
    if isinstance(value, Traced):
        return value.value[()] if value.is_scalar else value.value
    if isinstance(value, Number):
        return value.value
    if isinstance(value, tuple | list):
        return remade(type(value), map(real, value))
    if isinstance(value, dict):
        return {key: real(v) for key, v in value.items()}
    return value


def array_of(value: Any) -> Any:
    """The array of a Traced one; anything else as it is."""
    return value.value if isinstance(value, Traced) else value


def parts(value: Any) -> Iterator[Any]:
    """Every Traced array in a call's arguments."""
    if isinstance(value, Traced):
        yield value
    elif isinstance(value, tuple | list | dict):
        for v in value.values() if isinstance(value, dict) else value:
            if isinstance(v, Traced | tuple | list | dict):
                yield from parts(v)


class Traced(NDArrayOperatorsMixin):
    """An array that adds what is done with it to its tape.

    place: where it lies in memory, if it was there before the function was called.
    is_scalar: NumPy answered a scalar, which is never written to.
    """

    __slots__ = ("__weakref__", "is_scalar", "place", "tape", "value")
    base = None
    ndim = property(lambda self: self.value.ndim)
    shape = property(lambda self: self.value.shape)
    size = property(lambda self: self.value.size)
    dtype = property(lambda self: self.value.dtype)
    T = property(lambda self: self.transpose())

    def __init__(self, tape: Any, value: np.ndarray, is_scalar: bool = False, place: tuple | None = None):
        self.tape = tape
        self.value = value
        self.is_scalar = is_scalar
        self.place = place

    def __len__(self) -> int:
        return len(self.value)

    # NumPy's functions ------------------------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **params: Any) -> Any:
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        if any(hasattr(x, "__record__") for x in inputs):
            return NotImplemented  # a Tensor records the call
        if not self.is_live():
            return function(*real(inputs), **real(params))
        inputs = tuple(map(self.tape.seen, inputs))
        if method == "at":
            function(*real(inputs))
            self.tape.written(function, inputs, params, inputs[0])
            return None
        out = params.pop("out", (None,))
        out = out[0] if len(out) == 1 else out
        params = {key: self.tape.seen(value) for key, value in params.items()}
        if out is None or (isinstance(out, Traced) and out.is_scalar):  # x += 1 gives a scalar x another value
            return self.tape.call(function, inputs, params)
        return self.tape.write(function, out, inputs, params)

    def __array_function__(self, function: Callable, types: Any, args: tuple, params: dict[str, Any]) -> Any:
        if any(hasattr(kind, "__record__") for kind in types):
            return NotImplemented
        if not self.is_live():
            return function(*real(args), **real(params))
        args = tuple(map(self.tape.seen, args))
        if function in OF_SHAPES:
            return function(*real(args), **real(params))
        if function is np.copyto:
            return self.tape.copyto(*args, **params)
        out = params.pop("out", None)
        params = {key: self.tape.seen(value) for key, value in params.items()}
        if function not in KNOWN:
            self.tape.fail(f"capture does not know np.{function.__name__}")
        if out is not None:
            return self.tape.write(function, out, args, params)
        if device_of(self) != "cpu":  # CuPy has no np.maximum.reduce, and its np.max can write into an array
            like = {} if any(True for _ in parts((args, params))) else {"like": self.value}  # np.arange(n, like=x)
            return self.tape.call(function, args, params, **like)
        if function in IN_OTHER_WORDS and isinstance(args[0], Traced) and len(args) < 3:
            words, known = IN_OTHER_WORDS[function]
            if params.keys() <= known:
                return words(*args, **params)
        return self.tape.call(function, args, params)

    def is_live(self) -> bool:
        """Whether the recording goes on, here; otherwise it is an array as others are, which somebody has kept."""
        return tracing.get() is self.tape

    def __getitem__(self, index: Any) -> Any:
        if not self.is_live():
            return self.value[real(index)]
        index = self.tape.seen(index)
        if any(i.dtype.kind == "b" for i in parts(index)):
            self.tape.fail("x[mask] has a shape that depends on the values of the mask")
        return self.tape.call(operator.getitem, (self, index), {})

    def __setitem__(self, index: Any, value: Any) -> None:
        if not self.is_live():
            self.value[real(index)] = real(value)
            return
        key = index if isinstance(index, tuple) else (index,)
        key = key if any(i is Ellipsis for i in key) else (*key, Ellipsis)  # then also a single element is a view
        part = self if index is Ellipsis else self[key]
        if part is not self and not np.shares_memory(part.value, self.value) and part.size:
            self.tape.fail("x[index] = value, with an array as index, is not replayed")
            self.value[real(index)] = real(value)
        else:
            self.tape.copyto(part, value, casting="unsafe")

    def __pow__(self, other: Any) -> Any:
        """NumPy's x**2 is a square and x**0.5 a root; which powers are, is its own business."""
        if not self.is_live():
            return real(self) ** real(other)
        return self.tape.call(scalar_pow if self.is_scalar else operator.pow, (self, self.tape.seen(other)), {})

    def __ipow__(self, other: Any) -> Any:
        if self.is_scalar or not self.is_live():
            return self**other
        self.tape.copyto(self, self**other)
        return self

    def looked_at(self, check: Callable, *of: Any) -> None:
        """Call check(array, *of) now and at every replay: it may raise."""
        self.tape.check(check, self, *of)

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Any:
        """Uniform numbers; every replay draws new ones from the same generator."""
        return self.tape.call(generator.random, (shape, dtype), {})

    def carried(self, function: Callable, device: str) -> Any:
        """The array on another device: function(array, device), at every replay."""
        return self.tape.call(function, (self, device), {})

    # Methods ----------------------------------------------------------------------------------------------------------

    def reshape(self, *shape: Any, **params: Any) -> Any:
        return np.reshape(self, shape[0] if len(shape) == 1 else shape, **params)

    def transpose(self, *axes: Any) -> Any:
        return np.transpose(self, axes[0] if len(axes) == 1 else axes or None)

    def clip(self, min: Any = None, max: Any = None, **params: Any) -> Any:
        return np.clip(self, min, max, **params)

    def copy(self, order: Any = "C") -> Any:
        return self._as(self.value.copy(order))

    def astype(self, dtype: Any, *how: Any, copy: bool = True, **params: Any) -> Any:
        if not copy and self.dtype == dtype:
            return self
        return self._as(self.value.astype(dtype, *how, **params))

    def _as(self, value: np.ndarray) -> Any:
        return self.tape.convert(self, value) if self.is_live() else value

    # What Python would read, and a replay cannot know -------------------------------------------------------------------

    def _read(self, how: str) -> Any:
        if self.is_live():
            self.tape.fail(f"{how} reads a value, on which what follows may depend")
        return self.value

    def item(self, *index: Any) -> Any:
        return self._read(".item()").item(*index)

    def __repr__(self) -> str:
        return repr(self._read("printing"))

    def __str__(self) -> str:
        return str(self._read("printing"))

    def __format__(self, spec: str) -> str:
        return format(self._read("printing"), spec)

    def __round__(self, digits: int | None = None) -> Any:
        return round(self._read("round(...)").item(), digits)

    def __float__(self) -> float:
        return float(self._read("float(...)"))

    def __int__(self) -> int:
        return int(self._read("int(...)"))

    def __index__(self) -> int:
        return operator.index(self._read("an index").item())

    def __bool__(self) -> bool:
        return bool(self._read("a condition (if, and, or, not)"))

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._read("np.asarray, or a call of another library,"), dtype=dtype, copy=copy)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._read(f".{name}"), name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._read("copying or pickling").__reduce_ex__(protocol)

    def __deepcopy__(self, memo: dict) -> np.ndarray:
        return self._read("copying").copy()


def as_function(name: str) -> Callable:
    """x.sum() as np.sum(x), and so on."""

    def method(self: Traced, *args: Any, **params: Any) -> Any:
        return getattr(np, name)(self, *args, **params)

    return method


for _name in (
    "all", "any", "argmax", "argmin", "argsort", "cumsum", "diagonal", "dot", "max", "mean", "min", "prod", "ravel",
    "repeat", "round", "squeeze", "std", "sum", "swapaxes", "take", "trace", "var",
):  # fmt: skip
    setattr(Traced, _name, as_function(_name))
