"""Arrays that write down what is done with them: how capture.py learns which NumPy calls a function makes.

A `Traced` array answers NumPy's functions, as a CuPy array or a Tensor does: it computes the answer with the real array
inside it, and adds the call to its `Tape`. So the function runs as always, once, and is known afterwards. Numbers that
change from step to step (the t of an optimizer, a scheduled learning rate) are `Number`s, which remember the arithmetic
done with them. Whatever cannot be replayed (a value read by Python, say) is noted in `tape.failure` and done all the same.
"""

from __future__ import annotations

import operator
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from optimizers.base import Optimizer, tracing
from tinynet.graph import is_recording


class Call:
    """One NumPy call: `out = function(*args, **params)`, in which Traced arrays and Numbers stand for values.

    `target` is the Traced array that the call writes into, if it makes no new one.
    """

    __slots__ = ("args", "errors", "function", "out", "params", "target")

    def __init__(self, function: Callable, args: tuple, params: dict, out: Traced | None, target: Traced | None):
        self.function = function
        self.args = args
        self.params = params
        self.out = out
        self.target = target
        self.errors = np.geterr()  # which warnings the surrounding code had turned off

    @property
    def written(self) -> Traced:
        """The array that holds the answer afterwards."""
        answer = self.out if self.target is None else self.target
        assert answer is not None
        return answer


class Host:
    """A step of an optimizer: bookkeeping that runs in Python at every replay, and calls that need its numbers."""

    def __init__(self, optimizer: Any, work: Any, grads: list):
        self.optimizer = optimizer
        self.work = work
        self.grads = grads  # (parameter, its .grad) at this moment
        self.penalties = [slab.penalty for slab, _, _ in work]
        self.changing = [[key for key in hyper if changes(slab, key)] for slab, _, hyper in work]
        self.calls: list[Call] = []
        self.norm: Any = None  # what its clipping answered
        self.guards: list[tuple[str, bool]] = []  # (comparison of the numbers, how it came out)
        self._accepts: Callable | None = None
        self.values = self.numbers(work) or []

    def numbers(self, work: Any) -> list | None:
        """What changes from step to step, if the step to be done is otherwise the one that was captured; else None."""
        values: list[Any] = []
        for (slab, runs, hyper), (_, runs_then, hyper_then), keys, penalty in zip(
            work, self.work, self.changing, self.penalties, strict=True
        ):
            if slab.penalty != penalty or len(runs) != len(runs_then):
                return None
            for (a, b, t), (a_then, b_then, _) in zip(runs, runs_then, strict=True):
                if a != a_then or b != b_then:
                    return None
                values.append(t)
            if hyper is not hyper_then and any(v != hyper_then[k] and k not in keys for k, v in hyper.items()):
                return None
            for key in keys:
                value = hyper[key]
                values += value if isinstance(value, tuple) else (value,)
        return values if self._accepts is None or self._accepts(*values) else None

    def keep_guards(self) -> None:
        """From now on `numbers` also looks at the comparisons that were made."""
        if self.guards:
            names = "".join(f"n{i}, " for i in range(len(self.values)))
            conditions = " and ".join(f"({text}) is {value}" for text, value in self.guards)
            self._accepts = eval(f"lambda {names}: {conditions}")

    def hidden(self, tape: Tape) -> Any:
        """The work, with Numbers in the place of the values."""
        numbers = iter([Number(tape, value, f"n{i}") for i, value in enumerate(self.values)])
        shown = []
        for (slab, runs, hyper), keys in zip(self.work, self.changing, strict=True):
            runs = [(a, b, next(numbers)) for a, b, _ in runs]
            changed = {
                k: tuple(next(numbers) for _ in v) if isinstance(v := hyper[k], tuple) else next(numbers) for k in keys
            }
            shown.append((slab, runs, {**hyper, **changed}))
        return shown


def changes(slab: Any, key: str) -> bool:
    """Whether a hyperparameter may change from step to step: lr, and any number of a group with schedules."""
    return not isinstance(slab.hyper[key], bool) and (key == "lr" or slab.given is None)


class Tape:
    """What was done during one call of the function."""

    def __init__(self, inputs: list[np.ndarray]):
        self.failure: str | None = None
        self.steps: list[Call | Host] = []
        self.calls: list[Any] = self.steps  # where calls are added: here, or in the Host that is open
        self.guards: list[tuple[str, bool]] | None = None
        self.arrays: dict[tuple, Traced] = {}  # the arrays that were there before, by place in memory
        self.leaves: dict[int, tuple[Any, Any]] = {}  # by id: (parameter, whether its .grad was None; None if cleared)
        self.watched: dict[tuple[int, str], tuple[Any, str, Any]] = {}  # (object, attribute, value) that must stay so
        self.generators: dict[int, Any] = {}
        self.inputs = [Traced(self, array) for array in inputs]
        for traced, array in zip(self.inputs, inputs, strict=True):
            self.arrays[place(array)] = traced

    def fail(self, why: str) -> None:
        """Note that this cannot be replayed; the first reason is kept, with the user's line."""
        if self.failure is None:
            self.failure = f"{why} ({users_line()})"

    def seen(self, value: Any) -> Any:
        """An array as a Traced one (the same for the same memory), in tuples and lists too; anything else as it is."""
        if isinstance(value, tuple | list):
            return type(value)(map(self.seen, value))
        if not isinstance(value, np.ndarray):
            return value
        key = place(value)
        if key not in self.arrays:
            self.arrays[key] = Traced(self, value)
        return self.arrays[key]

    def leaf(self, tensor: Any) -> None:
        """Remember a parameter, and whether it had a gradient when it was first used."""
        if id(tensor) not in self.leaves:
            self.leaves[id(tensor)] = tensor, tensor.grad is None

    def cleared(self, tensor: Any) -> None:
        """The gradient is forgotten: if it was not used before, it does not matter what it was."""
        self.leaves.setdefault(id(tensor), (tensor, None))

    def depends_on(self, thing: Any, attribute: str) -> None:
        """What is done depends on an attribute, such as the mode of a layer."""
        self.watched.setdefault((id(thing), attribute), (thing, attribute, getattr(thing, attribute)))

    def call(self, function: Callable, args: tuple, params: dict[str, Any]) -> Any:
        """Make a call, and write it down."""
        value = function(*real(args), **real(params))
        if isinstance(value, np.ndarray | np.generic):
            out = Traced(self, np.asarray(value))
            if function not in VIEWS and any(np.may_share_memory(out.value, a.value) for a in parts((args, params))):
                self.fail(f"{function.__name__} answers a part of its argument")
            self.calls.append(Call(function, args, params, out, None))
            return out
        if isinstance(value, tuple | list):
            self.fail(f"np.{function.__name__} answers several arrays, which capture does not follow")
        return value

    def write(self, function: Callable, target: Any, args: tuple, params: dict[str, Any]) -> Any:
        """Make a call that writes its answer into `target`, and write it down."""
        out = self.seen(target)
        assert isinstance(out, Traced)
        function(*real(args), out=out.value, **real(params))
        self.calls.append(Call(function, args, params, None, out))
        return target

    def moved_by(self, optimizer: Any, work: Any) -> None:
        """The arithmetic of an optimizer's step (see Optimizer.move), with Numbers for what changes every time."""
        if type(optimizer).step is not Optimizer.step:
            self.fail(f"{type(optimizer).__name__} has a step() of its own")
        host = Host(optimizer, work, [(leaf, leaf.grad) for leaf, _ in self.leaves.values()])
        self.steps.append(host)
        self.calls, self.guards = host.calls, host.guards
        try:
            optimizer.move(host.hidden(self), self.seen)
            host.norm, optimizer.grad_norm = optimizer.grad_norm, real(optimizer.grad_norm)
            host.keep_guards()
        finally:
            self.calls, self.guards = self.steps, None


def place(array: np.ndarray) -> tuple:
    """Where an array lies in memory, and how: equal for two views of the same elements."""
    return array.__array_interface__["data"][0], array.shape, array.strides, array.dtype.str


def real(value: Any) -> Any:
    """The value with real arrays and numbers in place of Traced ones, in tuples and lists too."""
    if isinstance(value, Traced | Number):
        return value.value
    if isinstance(value, tuple | list):
        return type(value)(map(real, value))
    if isinstance(value, dict):
        return {key: real(v) for key, v in value.items()}
    return value


def parts(value: Any) -> Iterator[Any]:
    """Every Traced array in a call's arguments."""
    if isinstance(value, Traced):
        yield value
    elif isinstance(value, tuple | list):
        for v in value:
            yield from parts(v)
    elif isinstance(value, dict):
        for v in value.values():
            yield from parts(v)


def users_line() -> str:
    """file:line of the innermost call outside the engine."""
    inside = tuple(
        os.path.dirname(__file__).replace("tinynet", name) + os.sep for name in ("tinynet", "optimizers", "monitor")
    )
    frames = [f for f in traceback.extract_stack() if not f.filename.startswith(inside) and "numpy" not in f.filename]
    return f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}: {frames[-1].line}" if frames else "unknown line"


class Traced(NDArrayOperatorsMixin):
    """An array that adds what is done with it to its tape."""

    __slots__ = ("__weakref__", "tape", "value")
    base = None
    ndim = property(lambda self: self.value.ndim)
    shape = property(lambda self: self.value.shape)
    size = property(lambda self: self.value.size)
    dtype = property(lambda self: self.value.dtype)
    T = property(lambda self: self.transpose())

    def __init__(self, tape: Tape, value: np.ndarray):
        self.tape = tape
        self.value = value

    def __repr__(self) -> str:
        return f"Traced({self.value!r})"

    def __len__(self) -> int:
        return len(self.value)

    # NumPy's functions ------------------------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **params: Any) -> Any:
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        inputs = tuple(map(self.tape.seen, inputs))
        if method == "at":
            function(*real(inputs))
            self.tape.calls.append(Call(function, inputs, params, None, inputs[0]))
            return None
        (out,) = params.pop("out", (None,)) or (None,)
        params = {key: self.tape.seen(value) for key, value in params.items()}
        if out is not None:
            return self.tape.write(function, out, inputs, params)
        return self.tape.call(function, inputs, params)

    def __array_function__(self, function: Callable, types: Any, args: tuple, params: dict[str, Any]) -> Any:
        args = tuple(map(self.tape.seen, args))
        if function in IN_OTHER_WORDS:
            return IN_OTHER_WORDS[function](*args, **params)
        if params.get("out") is not None:
            return self.tape.write(function, params.pop("out"), args, params)
        return self.tape.call(function, args, params)

    def __getitem__(self, index: Any) -> Any:
        return self.tape.call(operator.getitem, (self, self.tape.seen(index)), {})

    def __setitem__(self, index: Any, value: Any) -> None:
        part = self if index is Ellipsis else self[index]
        if part is not self and not np.shares_memory(part.value, self.value):
            self.tape.fail("x[index] = value, with an array as index, is not replayed")
            self.value[real(index)] = real(value)
        else:
            copyto(part, value)

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Any:
        """Uniform numbers; every replay draws new ones from the same generator."""
        return self.tape.call(generator.random, (shape, dtype), {})

    # Methods ----------------------------------------------------------------------------------------------------------

    def sum(self, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
        return reduced(np.add, self, axis, keepdims, dtype)

    def max(self, axis: Any = None, keepdims: bool = False) -> Any:
        return reduced(np.maximum, self, axis, keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Any:
        return reduced(np.minimum, self, axis, keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Any:
        return mean(self, axis, keepdims=keepdims)

    def var(self, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
        return self.tape.call(np.var, (self,), {"axis": axis, "ddof": ddof, "keepdims": keepdims})

    def reshape(self, *shape: Any) -> Any:
        return self.tape.call(np.reshape, (self, shape[0] if len(shape) == 1 else shape), {})

    def ravel(self) -> Any:
        return self.reshape(-1)

    def squeeze(self, axis: Any = None) -> Any:
        return self.tape.call(np.squeeze, (self, axis), {})

    def transpose(self, *axes: Any) -> Any:
        return self.tape.call(np.transpose, (self, axes[0] if len(axes) == 1 else axes or None), {})

    def swapaxes(self, a: int, b: int) -> Any:
        return self.tape.call(np.swapaxes, (self, a, b), {})

    def copy(self) -> Any:
        return self.astype(self.dtype)

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        if not copy and self.dtype == dtype:
            return self
        answer = Traced(self.tape, self.value.astype(dtype))
        self.tape.calls.append(Call(converted, (self,), {}, answer, None))
        return answer

    # What Python would read, and a replay cannot know -------------------------------------------------------------------

    def _read(self, how: str) -> Any:
        self.tape.fail(f"{how} reads a value, on which what follows may depend")
        return self.value

    def item(self) -> Any:
        return self._read(".item()").item()

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


def reduced(ufunc: np.ufunc, x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Any:
    """np.sum, np.max ... as the reduction that it is, which can write into an array that is there."""
    return x.tape.call(ufunc.reduce, (x,), {"axis": axis, "dtype": dtype, "keepdims": bool(keepdims)})


def mean(x: Any, axis: Any = None, dtype: Any = None, out: Any = None, *, keepdims: bool = False) -> Any:
    """np.mean as its two steps; NumPy adds half precision up in another dtype."""
    if dtype is not None or out is not None or x.dtype.kind != "f" or x.dtype.itemsize < 4:
        return x.tape.call(np.mean, (x,), {"axis": axis, "dtype": dtype, "keepdims": keepdims})
    total = reduced(np.add, x, axis, keepdims)
    return np.true_divide(total, x.size // max(total.size, 1)) if x.size else x.tape.call(np.mean, (x,), {"axis": axis})


def copyto(dst: Any, src: Any, casting: Any = "same_kind", where: Any = True) -> None:
    """np.copyto, a write into the first argument."""
    tape = src.tape if isinstance(src, Traced) else dst.tape
    dst, src, where = tape.seen(dst), tape.seen(src), tape.seen(where)
    np.copyto(dst.value, real(src), casting=casting, where=real(where))
    tape.calls.append(Call(np.copyto, (dst, src), {"casting": casting, "where": where}, None, dst))


def converted(x: np.ndarray) -> np.ndarray:
    """Stands for astype on the tape; the dtype is that of the answer."""
    raise AssertionError("program.py makes a copyto of it")


VIEWS = {
    operator.getitem, np.reshape, np.swapaxes, np.transpose, np.squeeze, np.expand_dims, np.broadcast_to, np.moveaxis,
    np.atleast_1d, np.atleast_2d, np.diagonal,
}  # fmt: skip

IN_OTHER_WORDS: dict[Callable, Callable] = {
    np.sum: lambda x, axis=None, dtype=None, out=None, keepdims=False: reduced(np.add, x, axis, keepdims, dtype),
    np.max: lambda x, axis=None, out=None, keepdims=False: reduced(np.maximum, x, axis, keepdims),
    np.min: lambda x, axis=None, out=None, keepdims=False: reduced(np.minimum, x, axis, keepdims),
    np.mean: mean,
    np.copyto: copyto,
    np.ravel: lambda x: x.reshape(-1),
    np.shape: lambda x: x.shape,
    np.ndim: lambda x: x.ndim,
    np.size: lambda x: x.size,
    np.iscomplexobj: lambda x: False,
}


class Number:
    """A Python number that changes from step to step: its value now, and how it is computed from the n0, n1 ... of a step.

    A comparison answers by the value now, and is noted: when it comes out otherwise, the tape is not right.
    """

    __slots__ = ("tape", "text", "value")

    def __init__(self, tape: Tape, value: float, text: str):
        self.tape = tape
        self.value = value
        self.text = text

    def __repr__(self) -> str:
        return self.text

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

    def __float__(self) -> float:
        self.tape.fail("the rule needs the value of a number that changes with t (write x ** 0.5 for math.sqrt(x))")
        return float(self.value)

    def __hash__(self) -> int:
        return id(self)


def _binary(symbol: str, function: Callable, mirrored: bool = False) -> Callable:
    def method(self: Number, other: Any) -> Any:
        if not isinstance(other, Number | int | float):
            return NotImplemented
        a, b = (other, self) if mirrored else (self, other)
        return Number(self.tape, function(real(a), real(b)), f"({a!r} {symbol} {b!r})")

    return method


def _comparison(symbol: str, function: Callable) -> Callable:
    def method(self: Number, other: Any) -> Any:
        if not isinstance(other, Number | int | float):
            return NotImplemented
        return self._guard(function(self.value, real(other)), f"({self!r} {symbol} {other!r})")

    return method


for _name, _symbol in (("add", "+"), ("sub", "-"), ("mul", "*"), ("truediv", "/"), ("pow", "**"), ("mod", "%")):
    setattr(Number, f"__{_name}__", _binary(_symbol, getattr(operator, _name)))
    setattr(Number, f"__r{_name}__", _binary(_symbol, getattr(operator, _name), mirrored=True))
for _name, _symbol in (("lt", "<"), ("le", "<="), ("gt", ">"), ("ge", ">="), ("eq", "=="), ("ne", "!=")):
    setattr(Number, f"__{_name}__", _comparison(_symbol, getattr(operator, _name)))


@contextmanager
def recording_on(tape: Tape) -> Iterator[None]:
    """While a function is recorded: Tensors show their arrays to the tape, and so do optimizers."""
    mode, optimizer = is_recording.set(tape), tracing.set(tape)
    try:
        yield
    finally:
        is_recording.reset(mode)
        tracing.reset(optimizer)
