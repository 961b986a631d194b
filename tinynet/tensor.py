"""Tensor: an array that remembers how it was made.

It behaves like a NumPy array (operators, indexing, methods, and NumPy's own functions: `np.sin(t)` works), and every
call on one that requires a gradient adds a Node to the graph. `record` is the one place where that happens.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinynet import kernels
from tinynet.anomaly import watch
from tinynet.backend import Array, as_array, beside, device_of, explain_memory, placed, same_device, to_device
from tinynet.compositions import COMPOSED, matmul
from tinynet.graph import WATCHING, Node, is_recording, pull_back
from tinynet.messages import (
    OF_A_TENSOR,
    Elsewhere,
    ShapeError,
    check_differentiable,
    explained,
    explained_in_place,
    in_place_while_recording,
    name_of,
    no_rule,
    not_in_the_table,
    not_these_arguments,
)
from tinynet.rules import PLAIN, RULES, Plan


def _recorded(ufunc: np.ufunc) -> tuple[Callable[[Tensor, Any], Tensor], Callable[[Tensor, Any], Tensor]]:
    """The operator with the Tensor on the left, and the one with the Tensor on the right."""
    return lambda a, b: record(ufunc, (a, b)), lambda b, a: record(ufunc, (a, b))


def _plainly(operate: Callable) -> Callable[[Any, Any], Any]:
    return lambda a, b: operate(a.data, plain(b))


def _in_place(ufunc: np.ufunc) -> Callable[[Tensor, Any], Any]:
    """The operator that moves a parameter by hand, inside no_grad(). Of any other Tensor Python makes a new one: t = t + x
    for t += x.
    """

    def operate(self: Tensor, other: Any) -> Any:
        if type(self) is Tensor and not (self.requires_grad and self.node is None):
            return NotImplemented
        mode, value = is_recording.get(), plain(other)
        if mode:
            raise in_place_while_recording(self)
        if hasattr(mode, "leaf"):  # of a Tape (capture/tape.py), to which every array must be shown
            mode.leaf(self)
        try:
            ufunc(self.data, value, out=self.data)
        except (ValueError, TypeError) as error:
            raise explained_in_place(error, ufunc, self, value) from error
        return self

    return operate


class Tensor:
    """An array with a gradient: `Tensor(data, requires_grad=False, dtype=None, name=None)`.

    `data` may be an array (kept, not copied, with its dtype and on its device), a number, or a nested list; lists of Python
    floats become the default dtype (float32), and are put on the default device (use_device). `.data` and `.grad` are
    plain arrays. Only floating-point data can require a gradient.

    NumPy's promotion holds: Python numbers never promote (float32 / math.sqrt(2) is float32), NumPy's do (float32 /
    np.sqrt(2) is float64), and so do arrays.

    While a graph needs an array for its backward pass, that array is read-only, yours included: writing into it would
    make the gradient silently wrong. It can be written to again once backward() is done or the result is forgotten. (A view
    made of it before is not locked: do not write through that one.)

    The `.grad` of what an optimizer moves is one buffer, filled anew by each backward(): to keep a gradient, copy it.

    >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    array([2., 4., 6.], dtype=float32)
    """

    # grad_buffer: where an optimizer wants the gradient written; node: how the value was made (None for a leaf)
    __slots__ = ("__weakref__", "data", "grad", "grad_buffer", "name", "node", "requires_grad", "version")

    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None, name: str | None = None):
        value = data.data if isinstance(data, Tensor) else data
        array = as_array(value, dtype)
        self.data: Array = array if hasattr(value, "__array_function__") else placed(array)
        if self.data.dtype.kind == "c":
            raise TypeError(f"tinynet computes with real numbers, got {self.data.dtype}: take the real and imaginary parts")
        if requires_grad and self.data.dtype.kind != "f":
            raise TypeError(
                f"only floating-point tensors can require a gradient, got dtype {self.data.dtype}: "
                "write floats (2.0, not 2), or pass dtype=float to Tensor"
            )
        self.requires_grad = requires_grad
        self.node: Node | None = None
        self.grad: Array | None = None
        self.grad_buffer: Array | None = None
        self.name = name
        self.version = 0  # how often an optimizer has moved it

    # What it is -------------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def dtype(self) -> np.dtype:
        return self.data.dtype

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return self.data.size

    @property
    def device(self) -> str:
        return device_of(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        body = np.array2string(self.numpy(), separator=", ", prefix="Tensor(")
        kind = "" if self.dtype == np.float32 else f", dtype={self.dtype}"
        kind += "" if self.device == "cpu" else f", device={self.device!r}"
        made = f", by={self.node.function.__name__}" if self.node else ", requires_grad=True" * self.requires_grad
        return f"{type(self).__name__}({body}{kind}{made})"

    # Leaving the graph ------------------------------------------------------------------------------------------------

    def numpy(self) -> np.ndarray:
        """The value as a NumPy array; a copy if it is on a GPU, or if the graph needs the original unchanged."""
        array = to_device(self.data, "cpu")
        return array if array.flags.writeable else array.copy()

    def item(self) -> float:
        """The value of a one-element tensor as a Python number."""
        if self.size != 1:
            raise ValueError(f"only a tensor with one element has an item(), this one has shape {self.shape}")
        return self.data.item()

    def detach(self) -> Tensor:
        """The same data, not recorded."""
        return Tensor(self.data)

    def to(self, device: str) -> Tensor:
        """A leaf tensor with the data on "cpu" or "cuda" (the tensor itself if it is there already)."""
        if device == self.device:
            return self
        moved = type(self)(self.data, requires_grad=self.requires_grad, name=self.name)
        moved.data = to_device(self.data, device)
        return moved

    def tolist(self) -> Any:
        """The value as nested lists of Python numbers."""
        return self.numpy().tolist()

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self.node is not None:
            raise TypeError("a Tensor that was computed cannot be copied or pickled with its graph: use t.detach()")
        return super().__reduce_ex__(protocol)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    def __round__(self, digits: int | None = None) -> float:
        return round(self.item(), digits)

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                f"the truth of a tensor of shape {self.shape} is ambiguous: use (t > 0).all() or .any() on the comparison"
            )
        return bool(self.data)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.requires_grad:
            raise TypeError(
                "this Tensor is recorded for gradients, and np.asarray would silently drop them: "
                "use t.detach(), t.data or t.numpy() to leave the graph on purpose; np.stack([...]) joins a list of Tensors"
            )
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    # Gradients --------------------------------------------------------------------------------------------------------

    def backward(self, grad: Any = None, *, retain_graph: bool = False) -> None:
        """Add the gradient of this tensor to the `.grad` of every leaf it depends on.

        `grad` is the gradient of the final loss with respect to this tensor; it defaults to 1 for a scalar. The graph is
        released on the way unless `retain_graph`.
        """
        if not self.requires_grad:
            raise RuntimeError(
                "backward() on a tensor that nothing recorded: no operand required a gradient (are all parameters frozen? "
                "w = w - ... inside no_grad() makes a new Tensor without gradient: write w -= ...), or it was computed "
                "inside no_grad() or by a captured function (call backward() inside that)"
            )
        if self.node is None:
            raise RuntimeError(
                "backward() on a leaf: this tensor was given, not computed, so there is nothing to walk back through. Call "
                "it on the loss that was computed from it"
            )
        try:
            for leaf, g in pull_back(self, self._seed(grad), release=not retain_graph).items():
                leaf.accumulate(g)
        except MemoryError as error:
            explain_memory(error)
            raise

    def _seed(self, grad: Any) -> Array:
        if grad is None:
            if self.size != 1:
                raise ValueError(
                    f"backward() needs a scalar, this tensor has shape {self.shape}: "
                    "reduce it (loss.mean() or loss.sum()), or pass the gradient of the same shape: backward(grad)"
                )
            return np.ones_like(self.data)
        grad = beside(plain(grad), self).astype(self.dtype, copy=False)
        if grad.shape != self.shape:
            raise ShapeError(f"backward(grad): the tensor has shape {self.shape}, the gradient {grad.shape}")
        if device_of(grad) != self.device:
            raise TypeError(f"backward(grad): the tensor is on {self.device}, the gradient on {device_of(grad)}")
        return grad

    def accumulate(self, g: Array) -> None:
        """Add g to `.grad`, in an array of its own that shares memory with no other gradient."""
        if self.grad is not None:
            self.grad += g
        elif self.grad_buffer is not None:
            self.grad = self.grad_buffer
            np.copyto(self.grad, g)
        else:
            self.grad = as_array(g.copy())

    # Operators --------------------------------------------------------------------------------------------------------

    __add__, __radd__ = _recorded(np.add)
    __sub__, __rsub__ = _recorded(np.subtract)
    __mul__, __rmul__ = _recorded(np.multiply)
    __truediv__, __rtruediv__ = _recorded(np.divide)
    __mod__, __rmod__ = _recorded(np.remainder)

    __iadd__ = _in_place(np.add)
    __isub__ = _in_place(np.subtract)
    __imul__ = _in_place(np.multiply)
    __itruediv__ = _in_place(np.divide)
    __ifloordiv__ = _in_place(np.floor_divide)
    __imod__ = _in_place(np.remainder)
    __ipow__ = _in_place(np.power)
    __imatmul__ = _in_place(np.matmul)

    # These answer with plain arrays: masks and whole numbers have no gradient.
    __eq__ = _plainly(operator.eq)
    __ne__ = _plainly(operator.ne)
    __lt__ = _plainly(operator.lt)
    __le__ = _plainly(operator.le)
    __gt__ = _plainly(operator.gt)
    __ge__ = _plainly(operator.ge)
    __floordiv__ = _plainly(operator.floordiv)
    __hash__ = object.__hash__

    def __rfloordiv__(self, other: Any) -> Array:
        return other // self.data

    def __pow__(self, other: Any) -> Tensor:
        if type(other) in (int, float) and other == 2:
            return record(np.square, (self,))  # as NumPy does: a square is far cheaper than a power
        return record(np.power, (self, other))

    def __rpow__(self, other: Any) -> Tensor:
        return record(np.power, (other, self))

    def __matmul__(self, other: Any) -> Tensor:
        return matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return matmul(other, self)

    def __neg__(self) -> Tensor:
        return record(np.negative, (self,))

    def __pos__(self) -> Tensor:
        return record(np.positive, (self,))

    def __abs__(self) -> Tensor:
        return record(np.absolute, (self,))

    # Indexing ---------------------------------------------------------------------------------------------------------

    def __getitem__(self, index: Any) -> Tensor:
        return record(_GETITEM, (self, kept_index(index, self)))

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError(
            "a Tensor is not written in place, since the graph may need the old values: build the new value with "
            "np.where, np.stack or np.concatenate. To change a parameter by hand, write with no_grad(): w.data[0] = 5 "
            "(while a graph needs the old values, NumPy calls them read-only)"
        )

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("cannot iterate over a 0-d tensor")
        return (self[i] for i in range(len(self)))

    # Methods that people reach for on an ndarray ----------------------------------------------------------------------

    def sum(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return record(np.sum, (self, axis), {"keepdims": keepdims})

    def mean(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return record(np.mean, (self, axis), {"keepdims": keepdims})

    def var(self, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
        """The variance, divided by n - ddof: by n unless told otherwise, as in NumPy (PyTorch takes n - 1)."""
        return record(np.var, (self, axis), {"ddof": ddof, "keepdims": keepdims})

    def std(self, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
        """The square root of the variance, with its ddof."""
        return record(np.std, (self, axis), {"ddof": ddof, "keepdims": keepdims})

    def max(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return record(np.max, (self, axis), {"keepdims": keepdims})

    def min(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return record(np.min, (self, axis), {"keepdims": keepdims})

    def prod(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return np.prod(self, axis=axis, keepdims=keepdims)

    def cumsum(self, axis: Any = None) -> Tensor:
        return record(np.cumsum, (self,), {"axis": axis})

    def argmax(self, axis: Any = None) -> Array:
        return self.data.argmax(axis=axis)

    def argmin(self, axis: Any = None) -> Array:
        return self.data.argmin(axis=axis)

    def clip(self, min: Any = None, max: Any = None) -> Tensor:
        return record(_CLIP, (self, min, max))

    def reshape(self, *shape: Any) -> Tensor:
        return record(np.reshape, (self, shape[0] if len(shape) == 1 else shape))

    def ravel(self) -> Tensor:
        return record(np.ravel, (self,))

    flatten = ravel

    def squeeze(self, axis: Any = None) -> Tensor:
        return record(np.squeeze, (self,), {"axis": axis})

    def transpose(self, *axes: Any) -> Tensor:
        if len(axes) == 1 and not isinstance(axes[0], int):
            (axes,) = axes
        return record(np.transpose, (self,), {"axes": axes if len(axes) else None})

    def swapaxes(self, axis1: int, axis2: int) -> Tensor:
        return record(np.swapaxes, (self, axis1, axis2))

    def astype(self, dtype: Any) -> Tensor:
        if np.dtype(dtype).kind != "f":
            raise TypeError(f"a Tensor stays floating-point, got {np.dtype(dtype)}: use t.data.astype(...) for labels")
        return record(_ASTYPE, (self, dtype))

    @property
    def T(self) -> Tensor:
        return self.transpose()

    @property
    def mT(self) -> Tensor:
        return self.swapaxes(-1, -2)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__()} - ELSEWHERE)

    # NumPy's functions ------------------------------------------------------------------------------------------------

    @staticmethod
    def __record__(function: Callable, args: tuple, params: dict[str, Any]) -> Tensor:
        """`record`, for a call from outside: with what its rule knows, recorded or not (train() runs what eval() runs)."""
        rule = RULES[function]
        if len(args) > rule.most or (params and not params.keys() <= rule.params):
            raise not_in_the_table(function, rule, args, params)
        return record(function, args, params)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **params: Any) -> Any:
        if method != "__call__":
            raise TypeError(f"np.{ufunc.__name__}.{method} has no derivative rule: use np.sum, np.max, ... on Tensors")
        if "out" in params and any(array is not None for array in params["out"]):
            raise TypeError(
                f"np.{ufunc.__name__} cannot write a Tensor into an array (out=, or += on an array): use t.data"
            )
        return answer(ufunc, inputs, params)

    def __array_function__(self, function: Callable, types: Any, args: tuple, params: dict) -> Any:
        return answer(function, args, params)


# Not a __getattr__ for what is missing: with one, Python would take twice the time for the attributes that are there.
ELSEWHERE = {name for name in OF_A_TENSOR if not hasattr(Tensor, name)}
for _name in ELSEWHERE:
    setattr(Tensor, _name, Elsewhere(_name))

_GETITEM = kernels.getitem.__wrapped__  # type: ignore[attr-defined]
_CLIP = kernels.clip.__wrapped__  # type: ignore[attr-defined]
_ASTYPE = kernels.astype.__wrapped__  # type: ignore[attr-defined]
_NO_PARAMS: dict[str, Any] = {}


def kept_index(index: Any, of: Tensor) -> Any:
    """An index that stays as it is: arrays and lists in it are copied, since backward needs them too."""
    if isinstance(index, tuple):
        return tuple(kept_index(i, of) for i in index)
    index = plain(index)
    if isinstance(index, list):
        return same_device(np.array(index), of)
    if hasattr(index, "__array_function__") and device_of(index) != of.device:  # CuPy would upload it at every call
        raise TypeError(
            f"a tensor on {of.device} is indexed by an array on {device_of(index)}: make the index where the tensor is, or "
            "move one of them with .to(...)"
        )
    return np.array(index) if isinstance(index, np.ndarray) else index


def plain(value: Any) -> Any:
    """The array of a Tensor; anything else as it is."""
    return value.data if isinstance(value, Tensor) else value


def record(function: Callable, args: tuple, params: dict[str, Any] = _NO_PARAMS) -> Tensor:
    """Compute `function(*args, **params)` on arrays; if an operand requires a gradient, remember the call."""
    values = []
    mask, bit = 0, 1  # one bit for each operand that requires a gradient
    for arg in args:
        if isinstance(arg, Tensor):
            values.append(arg.data)
            if arg.requires_grad:
                mask |= bit
        elif type(arg) is list and is_operand(function, len(values)):
            like = next(a for a in args if hasattr(a, "__array_function__"))
            return record(function, tuple(beside(a, like) if a is arg else a for a in args), params)
        else:
            values.append(arg)
        bit += bit
    mode = is_recording.get()
    if mode is not True and hasattr(mode, "seen"):  # a Tape (capture/tape.py), to which every array must be shown
        values = [mode.seen(value) for value in values]
        for arg in args:
            if isinstance(arg, Tensor) and arg.node is None:
                mode.leaf(arg)
    try:
        y = function(*values, **params)
    except (ValueError, TypeError, IndexError) as error:
        raise explained(error, function, values) from error
    except MemoryError as error:
        explain_memory(error)
        raise
    if type(y) is not np.ndarray:
        if isinstance(y, np.ndarray):  # np.matrix, say, in whose hands a rule would mean something else
            return record(function, tuple(as_array(a) if isinstance(a, np.ndarray) else a for a in args), params)
        y = as_array(y)
    node = None
    if mask and mode:
        if y.dtype.kind != "f":
            raise TypeError(f"{name_of(function)} made {y.dtype} numbers: tinynet differentiates real numbers only")
        plan = RULES[function].plans.get((mask, len(args))) or plan_of(function, mask, len(args))
        node = Node(function, plan, args, values, params, y)
    if mode is WATCHING:
        watch(function, values, y, node)
    return attach(y, node)


def plan_of(function: Callable, mask: int, n: int) -> Plan:
    """What the table says of this kind of call (see Rule.plan), the first time that it is made."""
    check_differentiable(function, RULES[function], mask)
    return RULES[function].plan(mask, n)


def is_operand(function: Callable, i: int) -> bool:
    """Whether argument i of a function of the table is an operand (and not an axis or a shape, say)."""
    rule = RULES[function]
    return rule.each is not None or i < len(rule.operands)


def attach(y: Any, node: Node | None) -> Tensor:
    """A Tensor of the array y, made by node."""
    tensor = Tensor.__new__(Tensor)
    tensor.data = y
    tensor.node = node
    tensor.requires_grad = node is not None
    tensor.grad = tensor.grad_buffer = tensor.name = None
    tensor.version = 0
    return tensor


def answer(function: Callable, args: tuple, params: dict[str, Any]) -> Any:
    """What NumPy's `function` gives for Tensors: recorded, composed from recorded calls, or a plain array."""
    if function in RULES:
        return Tensor.__record__(function, args, params)
    if function in COMPOSED:
        try:
            return COMPOSED[function](*args, **params)
        except TypeError as error:
            raise not_these_arguments(error, function, COMPOSED[function], args, params) from error
    if function in PLAIN:
        return function(*map(plain, args), **{key: plain(value) for key, value in params.items()})
    raise no_rule(function)
