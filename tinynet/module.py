"""Module and Parameter: what a net is made of.

A Module is a plain object. Its parameters are the Parameters found by walking its attributes in the order in which they
were assigned, through Modules, lists, tuples and dicts: no registry, no metaclass. The layers are in layers.py.
"""

from __future__ import annotations

import reprlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy as np

from optimizers.averaging import check_evaluable
from optimizers.base import tracing
from tinynet.backend import Array, as_array, device_of, placed, same_device, to_device
from tinynet.graph import is_recording
from tinynet.messages import ShapeError
from tinynet.tensor import Tensor, plain


class Parameter(Tensor):
    """A Tensor that a Module owns and an optimizer moves. It is made on the default device, whatever `data` is.

    alone: with a leading axis of replicas, the shape in a single net where that is not shape[1:]: a bias is [R, 1, out]
    here and [out] there.
    """

    __slots__ = ("alone",)

    def __init__(
        self, data: Any, requires_grad: bool = True, name: str | None = None, alone: tuple[int, ...] | None = None
    ):
        super().__init__(data, requires_grad=requires_grad, name=name)
        self.alone = alone
        if device_of(self.data) == "cpu":
            self.data = placed(self.data)


class Module:
    """Base of all layers and models: assign Parameters and Modules as attributes, alone or in lists, tuples and dicts, and
    write `forward`. Calling the module calls that, with the same arguments.

    >>> class Scale(Module):
    ...     def __init__(self):
    ...         self.factor = Parameter([2.0])
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> [name for name, _ in Scale().named_parameters()]
    ['factor']
    """

    training = True
    buffers: tuple[str, ...] = ()  # names of array attributes that belong to the state but are not learnt
    forward_hooks: tuple[Callable, ...] = ()  # called with (module, output) after every forward pass: monitor/watch.py

    def forward(self, *inputs: Any, **named: Any) -> Any:
        raise TypeError(f"{type(self).__name__} has no forward(x): write the method that computes its output")

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        mode = is_recording.get()
        if mode is not True and hasattr(mode, "depends_on"):  # a Tape (capture/tape.py)
            for name in ("training", *self.buffers):  # what is captured is right for this mode and these buffers
                mode.depends_on(self, name)
            return self.forward(*inputs, **named)  # no hooks: a recording would contain what they compute
        answer = self.forward(*inputs, **named)
        for hook in self.forward_hooks:
            hook(self, answer)
        return answer

    # Walking ----------------------------------------------------------------------------------------------------------

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module ("") and every module below it, with dotted names, in order of definition; one that is used twice
        comes once, under its first name.
        """
        return ((name, module) for name, module, _ in self._walk(prefix, set()))

    def _walk(self, prefix: str, seen: set[int]) -> Iterator[tuple[str, Module, list[tuple[str, Any]]]]:
        if id(self) in seen:
            return
        seen.add(id(self))
        own = members(vars(self))
        yield prefix, self, own
        for name, child in own:
            if isinstance(child, Module):
                yield from child._walk(f"{prefix}.{name}" if prefix else name, seen)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """(dotted name, Parameter) in order of definition; a parameter used twice comes once, under its first name."""
        seen = set()
        for prefix, _, own in self._walk("", set()):
            for name, value in own:
                if isinstance(value, Parameter) and value not in seen:
                    seen.add(value)
                    yield f"{prefix}.{name}" if prefix else name, value

    def parameters(self) -> Iterator[Parameter]:
        return (parameter for _, parameter in self.named_parameters())

    def _named_buffers(self) -> Iterator[tuple[str, Module, str]]:
        for prefix, module in self.named_modules():
            for name in module.buffers:
                yield f"{prefix}.{name}" if prefix else name, module, name

    # Mode, gradients, device ------------------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Training mode: dropout drops, batch normalisation uses the batch's statistics."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Evaluation mode: the output depends on the input and the parameters alone."""
        check_evaluable(self.parameters())
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget all gradients. (An optimizer's parameters have one buffer for them, which the next backward() fills again:
        to keep a gradient from step to step, copy it.)
        """
        tracer = tracing.get()
        for parameter in self.parameters():
            if tracer is not None:
                tracer.cleared(parameter)
            parameter.grad = None

    def to(self, device: str) -> Self:
        """Move all parameters and buffers to "cpu" or "cuda". Do so before making the optimizer."""
        for parameter in self.parameters():
            parameter.data = to_device(parameter.data, device)
            parameter.grad = parameter.grad_buffer = None
        for _, module, name in self._named_buffers():
            setattr(module, name, to_device(getattr(module, name), device))
        return self

    # State ------------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all parameters and buffers, on the host, by name."""
        state = {name: parameter.numpy().copy() for name, parameter in self.named_parameters()}
        state.update((name, to_device(getattr(m, attr), "cpu").copy()) for name, m, attr in self._named_buffers())
        return state

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Copy the values in; names and shapes must match (strict=False: names missing on either side are left out)."""
        if not hasattr(state, "keys"):
            raise TypeError(
                f"load_state_dict: the state is a dict of arrays by name, got {state!r}: np.load('model.npz') reads one "
                "that np.savez('model.npz', **model.state_dict()) wrote"
            )
        own = dict(self.named_parameters())
        buffers = {name: (module, attr) for name, module, attr in self._named_buffers()}
        missing = sorted((own.keys() | buffers.keys()) - state.keys())
        unknown = sorted(state.keys() - own.keys() - buffers.keys())
        if strict and (missing or unknown):
            said = [("it lacks", missing), ("the model does not know", unknown)]
            found = " and ".join(f"{words} {', '.join(names)}" for words, names in said if names)
            raise ValueError(f"the state does not fit {type(self).__name__}: {found} (strict=False loads what fits)")
        places = {
            name: own[name].data if name in own else getattr(*buffers[name]) for name in own | buffers if name in state
        }
        values = {name: _loaded(name, state[name], here) for name, here in places.items()}  # all of them, or none
        for name, value in values.items():
            if name in own:
                own[name].data = value
            else:
                setattr(*buffers[name], value)

    # Showing ----------------------------------------------------------------------------------------------------------

    def summary(self) -> str:
        """A table of layers: name, kind, shapes and number of parameters; and which of them are frozen."""
        rows = [("layer", "kind", "parameters")]
        total, counted = 0, set[Parameter]()  # a parameter used twice counts once
        for name, module, held in self._walk("", set()):
            own = {v for _, v in held if isinstance(v, Parameter)} - counted
            counted |= own
            inner = any(isinstance(v, Module) for _, v in held)
            if own or not inner:
                count = sum(p.size for p in own)
                total += count
                kind = type(module).__name__ if inner else repr(module)
                learnt = sum(p.size for p in own if p.requires_grad)
                kind += "" if learnt == count else ", partly frozen" if learnt else ", frozen"
                rows.append((name or "(itself)", kind, f"{count:,}"))
        rows.append(("total", "", f"{total:,}"))
        learnt = sum(p.size for p in counted if p.requires_grad)
        if learnt < total:
            rows.append(("trainable", "", f"{learnt:,}"))
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows)

    @reprlib.recursive_repr()
    def __repr__(self) -> str:
        inner = (f"{name}={child!r}" for name, child in members(vars(self)) if isinstance(child, Module))
        return f"{type(self).__name__}({', '.join(inner)})"

    # What would go wrong without a word -----------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(vars(self).get(name), Parameter) and not (value is None or isinstance(value, Parameter)):
            raise TypeError(
                f"{type(self).__name__}.{name} is a Parameter, and no optimizer would know of what replaces it: "
                f"layer.{name}.data = array gives it other numbers, with no_grad(): layer.{name} *= 0.5 changes them, and "
                f"layer.{name} = Parameter(...) is a new one"
            )
        if isinstance(value, Tensor) and not isinstance(value, Parameter) and value.requires_grad and value.node is None:
            warnings.warn(
                f"{type(self).__name__}.{name} is a Tensor, which no optimizer will be given: to learn it, make it a "
                "Parameter",
                stacklevel=2,
            )
        object.__setattr__(self, name, value)

    def __init_subclass__(cls, **params: Any) -> None:
        super().__init_subclass__(**params)
        for label, _ in members(vars(cls)):
            name = label.partition(".")[0]
            raise TypeError(
                f"{cls.__name__}.{name} is one of the class, which all its models would share and none would train: write "
                f"self.{name} = ... in __init__"
            )


def members(attributes: Mapping[Any, Any]) -> list[tuple[str, Any]]:
    """The Parameters and Modules among the attributes, with their names; "layers.0" is in a list, tuple or dict."""
    found = []
    for name, value in attributes.items():
        if isinstance(value, OWN):
            found.append((str(name), value))
        elif isinstance(value, MANY):
            items = value if isinstance(value, dict) else dict(enumerate(value))
            found += [(f"{name}.{inner}", v) for inner, v in members(items)]
    return found


OWN = Parameter, Module
MANY = list, tuple, dict


def _loaded(name: str, value: Any, here: Array) -> Array:
    """The value as a new array like the one that is here: a graph that still needs the old one keeps it."""
    try:
        array = as_array(plain(value), here.dtype)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None
    if array.shape != here.shape:
        raise ShapeError(f"{name}: the model has shape {here.shape}, the state {array.shape}")
    return same_device(array, here).copy()
