"""The lines of Python for a planned tape, and the objects that they name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinynet.backend import device_of
from tinynet.capture.numbers import Number
from tinynet.capture.optimizer_step import OptimizerStep
from tinynet.capture.plan import Plan, is_random, is_reduction
from tinynet.capture.tape import Call, Check, Tape
from tinynet.capture.traced import Traced, real
from tinynet.capture.unseen import place
from tinynet.capture.vocabulary import converted


class Source:
    """Lines of Python, and the objects that they name."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self.lines: list[str] = []
        self.indent = 0
        self.names: dict[str, Any] = {"errstate": np.errstate, "copyto": np.copyto}
        self.known: dict[Any, str] = {}
        self.filled_names: set[str] = set()
        self.errors = plan.tape.errors
        self.labels = labels(plan.tape)
        self.on_device = any(device_of(array) != "cpu" for array in plan.places.values())  # numbers are then numbers

    def compiled(self) -> Callable:
        exec(compile("\n".join(self.lines), "<captured step>", "exec"), self.names)
        return self.names["step"]

    def legend(self) -> list[str]:
        """What the names stand for."""
        lines = []
        for name, thing in self.names.items():
            if isinstance(thing, np.ndarray) and name[0] == "c":
                lines.append(f"# {name} = {thing}")
            elif isinstance(thing, np.ndarray):
                shape = " x ".join(map(str, thing.shape)) or "scalar"
                lines.append(f"# {name}: {shape} {thing.dtype}  {self.labels.get(place(thing), '')}".rstrip())
        return lines

    # Names and values -------------------------------------------------------------------------------------------------

    def name(self, thing: Any, prefix: str, key: Any = None) -> str:
        """The name under which the source knows an object."""
        key = id(thing) if key is None else key
        if key not in self.known:
            number = sum(name.rstrip("0123456789") == prefix for name in self.names)
            self.known[key] = name = f"{prefix}{number}" if prefix in "acgkp" or number else prefix
            self.names[name] = thing
        return self.known[key]

    def value(self, value: Any, dtype: Any = None) -> str:
        """The source of an argument. A number becomes a 0-d array of the operands' dtype, which NumPy takes up faster."""
        if isinstance(value, Traced):
            return self.name(self.plan.placed(value), "a")
        if isinstance(value, Number):
            return value.text if dtype is None or self.on_device else self.filled(value, dtype)
        if isinstance(value, tuple | list):
            inner = "".join(f"{self.value(v)}, " for v in value)
            return f"({inner})" if isinstance(value, tuple) else f"[{inner}]"
        if dtype is not None and type(value) in (int, float) and not self.on_device:
            constant = np.asarray(value, dtype)
            return self.name(constant, "c", (dtype, constant.tobytes()))
        if type(value) is slice:
            return f"slice({', '.join(map(self.value, (value.start, value.stop, value.step)))})"
        if value is None or value is Ellipsis or type(value) in (int, bool, str):
            return repr(value)
        return f"float('{value!r}')" if type(value) is float else self.name(value, "k")

    def operand(self, function: np.ufunc, value: Any, dtype: Any) -> str:
        """An operand of a ufunc. A number repeated along all axes is quicker as the number, and for + - * / as exact."""
        if isinstance(value, Traced) and function in (np.add, np.subtract, np.multiply, np.divide):
            array = self.plan.placed(value)
            repeated = array.ndim and array.size and not any(array.strides)
            if repeated and not self.on_device and not self.plan.is_given(value):
                return self.name(array[(0,) * array.ndim + (...,)], "a", ("repeated", id(array)))
        return self.value(value, dtype)

    def filled(self, number: Number, dtype: Any) -> str:
        """A Number as a 0-d array that is filled at every replay, before its first use."""
        key = (number.text, dtype)
        if key not in self.known:
            name = self.name(np.empty((), dtype), "k", key)
            self.filled_names.add(name)
            self.line(f"{name}.fill({number.text})")
        return self.known[key]

    def keywords(self, params: dict[str, Any]) -> str:
        return "".join(f", {key}={self.value(value)}" for key, value in params.items())

    # Lines ------------------------------------------------------------------------------------------------------------

    def line(self, text: str) -> None:
        self.lines.append("    " * self.indent + text)

    def inputs(self) -> None:
        """The arguments are read where they are, and views of them are taken first."""
        count = range(len(self.plan.tape.inputs))
        self.line(f"def step({', '.join(f'x{i}' for i in count)}):")
        self.indent = 1
        for i, traced in zip(count, self.plan.tape.inputs, strict=True):
            self.known[id(self.plan.placed(traced))] = f"x{i}"
        for i, call in enumerate(self.plan.views_of_inputs):
            self.line(f"v{i} = {self.answered(call)}")
            self.known[id(self.plan.placed(call.out))] = f"v{i}"

    def call(self, call: Call) -> None:
        """A line for a call, with the warnings off that were off when it was recorded."""
        quiet = {key: how for key, how in call.errors.items() if dict(self.errors)[key] != how}
        if quiet:
            self.line(f"with errstate({', '.join(f'{key}={how!r}' for key, how in quiet.items())}):")
        self.indent += bool(quiet)
        if isinstance(call, Check):
            self.leave(call.grads)
        for text in self.texts(call, "" if call.written is None else self.name(self.plan.placed(call.written), "a")):
            self.line(text)
        self.indent -= bool(quiet)

    def texts(self, call: Call, out: str) -> list[str]:
        function, params = call.function, dict(call.params)
        if isinstance(function, np.ufunc):
            values = ", ".join(map(self.operand, [function] * len(call.args), call.args, operand_dtypes(call)))
            out = f"out={out}" if function in (np.maximum, np.minimum) else out  # which take it by keyword only
            return [f"{self.name(function, function.__name__)}({values}, {out}{self.keywords(params)})"]
        if is_reduction(function):
            ufunc: Any = getattr(function, "__self__", None)
            defaults = {"axis": 0, "dtype": None, "keepdims": False}
            axis, dtype, keepdims = (self.value(params.pop(key, default)) for key, default in defaults.items())
            name = self.name(function, f"{ufunc.__name__}_reduce", (ufunc, "reduce"))
            return [f"{name}({self.value(call.args[0])}, {axis}, {dtype}, {out}, {keepdims}{self.keywords(params)})"]
        values = ", ".join(map(self.value, call.args))
        if function is np.copyto:
            where = "" if params["where"] is True else f", where={self.value(params['where'])}"
            casting = "" if params["casting"] == "same_kind" else f", casting={params['casting']!r}"
            return [f"copyto({out}, {self.value(call.args[1])}{casting}{where})"]
        if function is converted:
            return [f"copyto({out}, {values}, 'unsafe')"]
        if function is np.zeros_like:
            return [f"copyto({out}, 0)"]
        if function is np.where and getattr(call.args[0], "dtype", None) == np.bool:
            mask, a, b = map(self.value, call.args)
            return [f"copyto({out}, {b})", f"copyto({out}, {a}, where={mask})"]
        if self.on_device and function in (np.sum, np.max, np.min, np.mean):
            return [f"{self.answered(call)[:-1]}, out={out})"]
        if is_random(function):
            return [f"{self.name(function, 'random', function)}({values}, {out})"]
        made = self.answered(call)
        if call.target is None:
            return [made if call.written is None else f"copyto({out}, {made})"]
        return [made if function.__name__ == "at" else f"{made[:-1]}, out={out})"]

    def answered(self, call: Call) -> str:
        """The call as it was made."""
        values = ", ".join(map(self.value, call.args))
        return f"{self.name(call.function, call.function.__name__)}({values}{self.keywords(call.params)})"

    def step_of(self, step: OptimizerStep, kept: set[int]) -> None:
        """An optimizer's step: its bookkeeping in Python, its arithmetic as calls."""
        self.leave(step.grads)
        optimizer = self.name(step.optimizer, "optimizer")
        self.line(f"work = {optimizer}.begin()")
        self.line("if work is not None:")
        self.line(f"    numbers = {self.name(step.quick_numbers(), 'numbers_of')}(work)")
        self.line("    if numbers is None:  # not the step that was captured")
        self.line(f"        {optimizer}.move(work)")
        self.line("    else:")
        self.indent += 2
        self.line("".join(f"n{i}, " for i in range(len(step.values))) + "= numbers")
        for call in step.calls:
            if id(call) in kept:
                self.call(call)
        if isinstance(step.norm, Traced):
            self.line(f"{optimizer}.grad_norm = {self.value(step.norm)}.copy(){'[()]' * step.norm.is_scalar}")
        self.known = {key: name for key, name in self.known.items() if name not in self.filled_names}
        self.filled_names.clear()  # the n0 of another step is another number
        self.indent -= 2
        self.line(f"    {optimizer}.end(work)")

    def leave(self, grads: list[tuple[Any, Any]]) -> None:
        """Set the .grad of parameters as the function did; grads: (parameter, what its .grad was set to)."""
        for leaf, grad in grads:
            value = "None" if grad is None else self.name(grad, "g")
            if isinstance(grad, Traced):
                value = f"{self.value(grad)}.copy()"
            self.line(f"{self.name(leaf, 'p')}.grad = {value}")


def operand_dtypes(call: Call) -> list[Any]:
    """For each operand of a ufunc the dtype that a Python number there becomes, if that is a float; else None."""
    kinds = [getattr(a, "dtype", type(real(a))) for a in call.args]
    if call.params.keys() - {"where"} or not all(isinstance(k, np.dtype) or k in (int, float) for k in kinds):
        return [None] * len(kinds)
    function: Any = call.function
    dtypes = function.resolve_dtypes((*kinds, *[None] * function.nout))
    return [dtype if dtype.kind == "f" else None for dtype in dtypes[: len(kinds)]]


def labels(tape: Tape) -> dict[tuple, str]:
    """The names of parameters and their gradients, by place in memory."""
    found: dict[tuple, str] = {}
    for step in tape.steps:
        if isinstance(step, OptimizerStep):
            for slab, _, _ in step.work:
                for name, (_, data, grad) in zip(slab.names, slab.views, strict=True):
                    found[place(data)], found[place(grad)] = name, f"gradient of {name}"
    return found
