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
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from optimizers.base import Optimizer, tracing
from tinynet.graph import is_recording
from tinynet.stepnumbers import Number
from tinynet.surroundings import OURS, UNSEEN, Bits, alike, place


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
    def written(self) -> Traced | None:
        """The array that holds the answer afterwards; None if the call only looks at its arguments."""
        return self.out if self.target is None else self.target


class Check(Call):
    """A call that answers nothing, but may raise."""

    __slots__ = ("grads",)
    grads: list[tuple[Any, Any]]  # (parameter, its .grad) at this moment


class Host:
    """A step of an optimizer: bookkeeping that runs in Python at every replay, and calls that need its numbers."""

    def __init__(self, optimizer: Any, work: Any, grads: list):
        self.optimizer = optimizer
        self.work = work
        self.grads = grads  # (parameter, its .grad) at this moment
        self.settings = [(vars(o), settings_of(o)) for o in (optimizer, vars(optimizer).get("optimizer")) if o is not None]
        self.penalties = [slab.penalty for slab, _, _ in work]
        self.changing = [[key for key in hyper if changes(slab, key)] for slab, _, hyper in work]
        self.calls: list[Call] = []
        self.norm: Any = None  # what its clipping answered
        self.guards: list[tuple[str, bool]] = []  # (comparison of the numbers, how it came out)
        self._accepts: Callable | None = None
        self.values = self.numbers(work) or []

    def numbers(self, work: Any) -> list | None:
        """What changes from step to step, if the step to be done is otherwise the one that was captured; else None."""
        if len(work) != len(self.work) or not all(self._is_as_it_was()):
            return None
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

    def _is_as_it_was(self) -> Iterator[bool]:
        """Whether the attributes of the optimizer, and of one inside it, are those that were met."""
        for now, then in self.settings:
            yield len(now) == len(then) + len(COUNTERS & now.keys())
            yield all(now.get(key) is value for key, value in then)

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


COUNTERS = {"steps", "skipped", "grad_norm", "_warned", "_training"}  # attributes that are no settings


def settings_of(optimizer: Any) -> list[tuple[str, Any]]:
    """(attribute, value) of all that a user may change in an optimizer."""
    return [(key, value) for key, value in vars(optimizer).items() if key not in COUNTERS]


def changes(slab: Any, key: str) -> bool:
    """Whether a hyperparameter may change from step to step: lr, and any number of a group with schedules."""
    return not isinstance(slab.hyper[key], bool) and (key == "lr" or slab.given is None)


class Tape:
    """What was done during one call of the function."""

    def __init__(self, inputs: list[np.ndarray], known: Iterable[np.ndarray] = ()):
        self.failure: str | None = None
        self.steps: list[Call | Host] = []
        self.calls: list[Any] = self.steps  # where calls are added: here, or in the Host that is open
        self.guards: list[tuple[str, bool]] | None = None
        self.arrays: dict[tuple, Traced] = {}  # the arrays that were there before, by place in memory
        self.leaves: dict[
            int, tuple[Any, Any, Any, bool]
        ] = {}  # by id: (Tensor, its .data, .grad and requires_grad before)
        self.regraded: set[int] = set()  # ids of the Tensors whose .grad the function has changed
        self.used: set[int] = set()  # ids of the Traced arrays that were there before, and were read or written
        self.modules: dict[int, tuple[Any, Any, list]] = {}  # by id: (module, its attributes, what they were)
        self.lists: list[tuple[list, list]] = []  # (list among the attributes of a module, what was in it)
        self.shown: list[tuple[Any, str, Any, Traced]] = []  # (object, attribute, array, Traced): see `show`
        self.is_usual = True  # False: an optimizer took no step, or a parameter got another array
        self.errors = np.geterr()
        self.bits = Bits(known)
        self.inputs = [Traced(self, array) for array in inputs]

    def fail(self, why: str) -> None:
        """Note that this cannot be replayed; the first reason is kept, with the user's line."""
        if self.failure is None:
            self.failure = f"{why} ({users_line()})"

    def seen(self, value: Any) -> Any:
        """An array as a Traced one (the same for the same memory), in tuples and lists too; anything else as it is."""
        if isinstance(value, tuple | list):
            return remade(type(value), map(self.seen, value))
        if isinstance(value, Traced) and value.tape is not self:
            if value.place is None:
                self.fail("it uses an array that was computed in an earlier call")
            value = value.value
        if not isinstance(value, np.ndarray):
            return value
        key = place(value)
        if key not in self.arrays:
            self.arrays[key] = Traced(self, value, place=key)
        return self.arrays[key]

    def show(self, thing: Any, attribute: str) -> None:
        """Let an attribute be its Traced array until the recording ends, so that nothing is done behind the tape's back."""
        array = getattr(thing, attribute)
        if isinstance(array, np.ndarray):
            traced = self.seen(array)
            traced.value = array
            self.shown.append((thing, attribute, array, traced))
            setattr(thing, attribute, traced)

    def hide(self) -> None:
        """Put the arrays back into the attributes, and real ones where there are others now."""
        for thing, attribute, array, traced in self.shown:
            now = getattr(thing, attribute)
            setattr(thing, attribute, array if now is traced else array_of(now))
            if attribute == "data" and array_of(now) is not array:
                self.is_usual = False
        self.shown.clear()

    def leaf(self, tensor: Any) -> None:
        """Remember a Tensor that was not computed, and show its arrays."""
        if id(tensor) not in self.leaves and not isinstance(tensor.data, Traced):
            self.leaves[id(tensor)] = tensor, tensor.data, tensor.grad, tensor.requires_grad
            for attribute in ("data", "grad", "grad_buffer"):
                self.show(tensor, attribute)

    def cleared(self, tensor: Any) -> None:
        """The gradient is forgotten: if it was not used before, it does not matter what it was."""
        self.leaf(tensor)
        _, data, grad, requires_grad = self.leaves[id(tensor)]
        if kept(tensor.grad) is grad and not self._is_used(grad):
            self.leaves[id(tensor)] = tensor, data, ANY, requires_grad

    def _is_used(self, array: Any) -> bool:
        return isinstance(array, np.ndarray) and id(self.arrays[place(array)]) in self.used

    def grads(self) -> list[tuple[Any, Any]]:
        """(parameter, its .grad) where the function has changed it; an array that was there before as a real one."""
        grads = [(leaf, kept(leaf.grad), grad) for leaf, _, grad, _ in self.leaves.values()]
        self.regraded.update(id(leaf) for leaf, now, before in grads if now is not before)  # (nothing is ANY)
        return [(leaf, now) for leaf, now, _ in grads if id(leaf) in self.regraded]

    def uses(self) -> list[tuple[Any, Any, Any, bool]]:
        """(Tensor, its .data, .grad and requires_grad before), with ANY for gradients that do not matter."""
        changed = {id(leaf) for leaf, _ in self.grads()}
        return [
            (leaf, data, grad if id(leaf) in changed or self._is_used(grad) else ANY, requires_grad)
            for leaf, data, grad, requires_grad in self.leaves.values()
        ]

    def depends_on(self, module: Any, attribute: str) -> None:
        """What is done depends on the attributes of a layer: on its mode, its settings and its buffers."""
        if id(module) not in self.modules:
            module.training = module.training  # so that it is among them
            self.modules[id(module)] = module, vars(module).values(), list(vars(module).values())
            self.lists += [(value, list(value)) for value in vars(module).values() if type(value) is list]
        self.show(module, attribute)

    def inside(self, mode: Any) -> Any:
        """What is_recording becomes inside no_grad() or detect_anomaly()."""
        if mode:
            self.fail("detect_anomaly looks at every value")
            return mode
        return Muted(self)

    def call(self, function: Callable, args: tuple, params: dict[str, Any]) -> Any:
        """Make a call, and write it down."""
        operands = self._looked_at(args, params)
        value = function(*real(args), **real(params))
        if not isinstance(value, np.ndarray | np.generic):
            self.fail(f"np.{function.__name__} answers something else than one array")
            return value
        out = Traced(self, np.asarray(value), isinstance(value, np.generic))
        if function not in VIEWS and any(np.may_share_memory(out.value, a.value) for a in operands):
            self.fail(f"{function.__name__} answers a part of its argument")
        self.calls.append(Call(function, args, params, out, None))
        return out

    def write(self, function: Callable, target: Any, args: tuple, params: dict[str, Any]) -> Any:
        """Make a call that writes its answer into `target`, and write it down."""
        out = self.seen(target)
        self._looked_at(args, params)
        function(*real(args), out=real(out), **real(params))
        self.written(function, args, params, out)
        return target

    def written(self, function: Callable, args: tuple, params: dict[str, Any], target: Any) -> None:
        """Write down a call that has changed `target`."""
        if not isinstance(target, Traced):
            self.fail(f"{function.__name__} writes into several arrays")
            return
        if any(np.may_share_memory(target.value, array.value) for array in self.inputs):
            self.fail("it changes an argument in place")
        self.used.add(id(target))
        self.bits.changed(target)
        self.calls.append(Call(function, args, params, None, target))

    def check(self, function: Callable, *args: Any) -> None:
        """Call a function that only looks at its arguments, and may raise; so does every replay."""
        self.calls.append(Check(function, args, {}, None, None))
        self.calls[-1].grads = self.grads()  # which the exception would leave behind
        function(*real(args))

    def _looked_at(self, *arguments: Any) -> list[Traced]:
        """The arrays among the arguments of a call. Has something changed one of them unseen?"""
        arrays = list(parts(arguments))
        for traced in arrays:
            if traced.place:
                self.used.add(id(traced))
                if not self.bits.same(traced.place, traced.value):
                    self.fail(UNSEEN.format(traced.shape))
        return arrays

    def close(self) -> None:
        """The function has ended: give back what was shown, and look whether it did anything unseen."""
        self.hide()
        for leaf, _, _, _ in self.leaves.values():
            leaf.grad = array_of(leaf.grad)
        for module, view, then in self.modules.values():
            if not alike(view, then):
                self.fail(f"{type(module).__name__} sets an attribute of its own, which a replay would not")
        for array in self.bits.changed_unseen():
            self.fail(UNSEEN.format(array.shape))
        self.bits = Bits()

    def forget_values(self) -> None:
        """Keep what is needed to compare another recording with this one, and no more."""
        for traced in (*self.inputs, *(call.out for step in self.steps for call in getattr(step, "calls", [step]))):
            if traced is not None:
                traced.value = np.empty(0)

    def forget(self) -> None:
        """Keep nothing: our arrays know us, and would wait for the garbage collector."""
        self.steps.clear()
        self.arrays.clear()
        self.inputs.clear()

    def moved_by(self, optimizer: Any, work: Any) -> None:
        """The arithmetic of an optimizer's step (see Optimizer.move), with Numbers for what changes every time."""
        if type(optimizer).step is not Optimizer.step:
            self.fail(f"{type(optimizer).__name__} has a step() of its own")
        host = Host(optimizer, work, self.grads())
        self.steps.append(host)
        self.calls, self.guards = host.calls, host.guards
        try:
            optimizer.move(host.hidden(self), self.seen)
            host.norm = optimizer.grad_norm
            host.keep_guards()
        finally:
            self.calls, self.guards = self.steps, None
            if isinstance(norm := optimizer.grad_norm, Traced):
                optimizer.grad_norm = norm.value[()] if norm.is_scalar else norm.value
            self.bits.all_changed()  # Optimizer.end, which is part of every replay, may do more

    def not_moved(self) -> None:
        """An optimizer had nothing to do, or skipped its step."""
        self.is_usual = False


class Muted:
    """A tape inside no_grad(): arrays are shown to it, but is_recording is false."""

    def __init__(self, tape: Tape):
        self.seen, self.leaf, self.depends_on = tape.seen, tape.leaf, tape.depends_on

    def __bool__(self) -> bool:
        return False

    def inside(self, mode: Any) -> Any:
        return self


ANY = object()  # in the place of an array: it does not matter which


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


def users_line() -> str:
    """file:line of the innermost call outside the engine."""
    home = os.path.dirname(os.path.dirname(__file__))
    inside = (os.path.dirname(np.__file__), *(os.path.join(home, name) + os.sep for name in OURS))  # not the user's
    frames = [f for f in traceback.extract_stack() if not f.filename.startswith(inside)]
    return f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}: {frames[-1].line}" if frames else "unknown line"


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

    def __init__(self, tape: Tape, value: np.ndarray, is_scalar: bool = False, place: tuple | None = None):
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
            return copyto(*args, **params)
        out = params.pop("out", None)
        params = {key: self.tape.seen(value) for key, value in params.items()}
        if function not in KNOWN:
            self.tape.fail(f"capture does not know np.{function.__name__}")
        if out is not None:
            return self.tape.write(function, out, args, params)
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
            copyto(part, value, casting="unsafe")

    def __pow__(self, other: Any) -> Any:
        """NumPy's x**2 is a square and x**0.5 a root; which powers are, is its own business."""
        if not self.is_live():
            return real(self) ** real(other)
        return self.tape.call(scalar_pow if self.is_scalar else operator.pow, (self, self.tape.seen(other)), {})

    def __ipow__(self, other: Any) -> Any:
        if self.is_scalar or not self.is_live():
            return self**other
        copyto(self, self**other)
        return self

    def looked_at(self, check: Callable, *of: Any) -> None:
        """Call check(array, *of) now and at every replay: it may raise."""
        self.tape.check(check, self, *of)

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Any:
        """Uniform numbers; every replay draws new ones from the same generator."""
        return self.tape.call(generator.random, (shape, dtype), {})

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
        if not self.is_live():
            return value
        self.tape._looked_at(self)
        answer = Traced(self.tape, value, self.is_scalar)
        self.tape.calls.append(Call(converted, (self,), {"dtype": value.dtype, "strides": value.strides}, answer, None))
        return answer

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


def reduced(ufunc: np.ufunc) -> Callable:
    """np.sum, np.max ... as the reduction that it is, which can write into an array that is there."""
    return lambda x, axis=None, dtype=None, keepdims=False: x.tape.call(
        ufunc.reduce, (x,), {"axis": axis, "dtype": dtype, "keepdims": bool(keepdims)}
    )


def mean(x: Any, axis: Any = None, keepdims: Any = False) -> Any:
    """np.mean as its two steps; NumPy adds half precision up in another dtype, and counts in float64."""
    if x.dtype.kind != "f" or x.dtype.itemsize < 4 or not 0 < x.size < 2**24:
        return x.tape.call(np.mean, (x,), {"axis": axis, "keepdims": keepdims})
    total = np.sum(x, axis, keepdims=keepdims)
    return np.true_divide(total, x.size // max(total.size, 1))


def copyto(dst: Any, src: Any, casting: Any = "same_kind", where: Any = True) -> None:
    """np.copyto, a write into the first argument."""
    tape = next(parts((dst, src, where))).tape
    dst, src, where = tape.seen(dst), tape.seen(src), tape.seen(where)
    tape._looked_at(src, where)
    np.copyto(dst.value, real(src), casting=casting, where=real(where))
    tape.written(np.copyto, (dst, src), {"casting": casting, "where": where}, dst)


def converted(x: np.ndarray) -> np.ndarray:
    """Stands for copy and astype on the tape; the dtype and the layout are those of the answer."""
    raise AssertionError("program.py makes a copyto of it")


def scalar_pow(x: np.ndarray, n: Any) -> Any:
    """The power of a scalar, whose last digit may differ from that of an array."""
    return x[()] ** n


VIEWS = {
    operator.getitem, np.reshape, np.swapaxes, np.transpose, np.squeeze, np.expand_dims, np.broadcast_to, np.moveaxis,
    np.atleast_1d, np.atleast_2d, np.diagonal, np.ravel,
}  # fmt: skip

OF_SHAPES = {np.shape, np.ndim, np.size, np.iscomplexobj, np.isrealobj, np.result_type}  # what they answer needs no values

IN_OTHER_WORDS: dict[Callable, tuple[Callable, set[str]]] = {  # and the parameters that are known there
    np.sum: (reduced(np.add), {"axis", "dtype", "keepdims"}),
    np.max: (reduced(np.maximum), {"axis", "keepdims"}),
    np.min: (reduced(np.minimum), {"axis", "keepdims"}),
    np.mean: (mean, {"axis", "keepdims"}),
}

# Those of NumPy's other functions that answer one array, whose shape does not depend on values.
KNOWN = VIEWS | IN_OTHER_WORDS.keys() | {
    np.all, np.any, np.arange, np.argmax, np.argmin, np.argsort, np.average, np.clip, np.column_stack, np.concatenate,
    np.copy, np.cross, np.cumprod, np.cumsum, np.diag, np.diff, np.dot, np.einsum, np.empty_like, np.full_like, np.hstack,
    np.inner, np.interp, np.isclose, np.kron, np.linalg.cholesky, np.linalg.det, np.linalg.inv, np.linalg.norm,
    np.linalg.solve, np.mean, np.median, np.nan_to_num, np.ones_like, np.outer, np.pad, np.prod, np.ptp, np.quantile,
    np.roll, np.round, np.searchsorted, np.sort, np.stack, np.std, np.take, np.take_along_axis, np.tensordot, np.tile,
    np.trace, np.tril, np.triu, np.var, np.vdot, np.vstack, np.where, np.zeros_like,
}  # fmt: skip


@contextmanager
def recording_on(tape: Tape) -> Iterator[None]:
    """While a function is recorded: Tensors show their arrays to the tape, and so do optimizers."""
    mode, optimizer = is_recording.set(tape), tracing.set(tape)
    try:
        yield
    finally:
        is_recording.reset(mode)
        tracing.reset(optimizer)
