"""Layers: functions with parameters.

A Module is a plain object. Its parameters are the Parameters found by walking its attributes in the order in which they
were assigned, through Modules and lists of Modules: no registry, no metaclass. A layer speaks of the last axes, so one
with a leading axis of replicas in its parameters is many layers at once.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Self

import numpy as np

from optimizers.averaging import check_evaluable
from optimizers.base import tracing
from tinynet import functional as F
from tinynet.backend import Array, as_array, device_of, get_default_dtype, placed, same_device, to_device
from tinynet.graph import is_recording
from tinynet.initializers import Initializer, initializer
from tinynet.messages import ShapeError
from tinynet.naming import lookup
from tinynet.tensor import Tensor

Seed = int | np.random.Generator | None


class Parameter(Tensor):
    """A Tensor that a Module owns and an optimizer moves. It is made on the default device, whatever `data` is.

    `alone` is the shape that it has in one net, where its first axis counts replicas and the others are more than that.
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
    """Base of all layers and models: assign Parameters and Modules as attributes, and write `forward`.

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

    def forward(self, x: Any) -> Any:
        raise TypeError(f"{type(self).__name__} has no forward(x): write the method that computes its output")

    def __call__(self, x: Any) -> Any:
        tape = is_recording.get()
        if hasattr(tape, "depends_on"):  # what is captured is right for this mode and these buffers (capture/tape.py)
            for name in ("training", *self.buffers):
                tape.depends_on(self, name)
        answer = self.forward(x)
        for hook in () if hasattr(tape, "depends_on") else self.forward_hooks:  # a recording would contain what it computes
            hook(self, answer)
        return answer

    # Walking ----------------------------------------------------------------------------------------------------------

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module ("") and every module below it, with dotted names, in order of definition."""
        yield prefix, self
        for name, value in vars(self).items():
            for label, child in _modules_in(name, value):
                yield from child.named_modules(f"{prefix}.{label}" if prefix else label)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """(dotted name, Parameter) in order of definition; a parameter used twice comes once, under its first name."""
        seen = set()
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
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
        own = dict(self.named_parameters())
        buffers = {name: (module, attr) for name, module, attr in self._named_buffers()}
        missing = sorted((own.keys() | buffers.keys()) - state.keys())
        unknown = sorted(state.keys() - own.keys() - buffers.keys())
        if strict and (missing or unknown):
            raise ValueError(
                f"the state does not fit {type(self).__name__}: missing {missing or 'nothing'}, "
                f"not known here {unknown or 'nothing'} (strict=False loads what fits)"
            )
        places = {
            name: own[name].data if name in own else getattr(*buffers[name]) for name in own | buffers if name in state
        }
        for name, here in places.items():
            if here.shape != np.shape(state[name]):
                raise ShapeError(f"{name}: the model has shape {here.shape}, the state {np.shape(state[name])}")
        for name, here in places.items():  # new arrays: a graph that still needs the old values keeps them
            value = same_device(as_array(state[name], here.dtype), here).copy()
            if name in own:
                own[name].data = value
            else:
                setattr(*buffers[name], value)

    # Showing ----------------------------------------------------------------------------------------------------------

    def summary(self) -> str:
        """A table of layers: name, kind, shapes and number of parameters."""
        rows = [("layer", "kind", "parameters")]
        total, counted = 0, set[Parameter]()  # a parameter used twice counts once
        for name, module in self.named_modules():
            own = {v for v in vars(module).values() if isinstance(v, Parameter)} - counted
            counted |= own
            inner = any(_modules_in(k, v) for k, v in vars(module).items())
            if own or not inner:
                count = sum(p.size for p in own)
                total += count
                rows.append((name or "(itself)", type(module).__name__ if inner else repr(module), f"{count:,}"))
        rows.append(("total", "", f"{total:,}"))
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows)

    def __repr__(self) -> str:
        inner = (f"{label}={child!r}" for k, v in vars(self).items() for label, child in _modules_in(k, v))
        return f"{type(self).__name__}({', '.join(inner)})"

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Tensor) and not isinstance(value, Parameter) and value.requires_grad and value.node is None:
            warnings.warn(
                f"{type(self).__name__}.{name} is a Tensor, which no optimizer will be given: to learn it, make it a "
                "Parameter",
                stacklevel=2,
            )
        if isinstance(value, dict) and any(isinstance(v, Module) for v in value.values()):
            raise TypeError(
                f"{type(self).__name__}.{name}: a dict of layers would not be found; use attributes, or a list of layers"
            )
        object.__setattr__(self, name, value)


def _modules_in(name: str, value: Any) -> list[tuple[str, Module]]:
    if isinstance(value, Module):
        return [(name, value)]
    if isinstance(value, list | tuple):
        return [(f"{name}.{i}", v) for i, v in enumerate(value) if isinstance(v, Module)]
    return []


# Layers with parameters -----------------------------------------------------------------------------------------------


class Linear(Module):
    """y = x W + b, for x of shape [..., batch, in_features]; W is [in_features, out_features], b [out_features].

    `init` is a name from initializers.py or a function; biases start at 0. With a list of R seeds it is R layers at once:
    W is [R, in_features, out_features] and b [R, 1, out_features], and each has the weights of its own seed.
    """

    bias: Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        init: str | Initializer = "auto",
        seed: Seed | Sequence[Seed] = None,
        activation: str | None = None,
    ):
        for label, n in (("in_features", in_features), ("out_features", out_features)):
            if not isinstance(n, int | np.integer) or n < 1:
                raise ValueError(f"Linear: {label} must be a positive integer, got {n!r}")
        self.in_features = int(in_features)
        self.out_features = int(out_features)
        weights = initializer(init, activation)
        if isinstance(seed, Sequence):
            each = [weights(np.random.default_rng(s), self.in_features, self.out_features) for s in seed]
            zeros = np.zeros((len(each), 1, self.out_features), get_default_dtype())
            self.weight = Parameter(np.stack(each))
            self.bias = Parameter(zeros, alone=(self.out_features,)) if bias else None
        else:
            self.weight = Parameter(weights(np.random.default_rng(seed), self.in_features, self.out_features))
            self.bias = Parameter(np.zeros(self.out_features, get_default_dtype())) if bias else None

    def forward(self, x: Any) -> Tensor:
        x = x if hasattr(x, "shape") else Tensor(x)
        if x.shape[-1:] != (self.in_features,):
            raise ShapeError(f"{self!r} expected input of shape [..., {self.in_features}], got {list(x.shape)}")
        return F.linear(x, self.weight, self.bias)

    def __repr__(self) -> str:
        return f"Linear({self.in_features} -> {self.out_features}{'' if self.bias is not None else ', bias=False'})"


class LayerNorm(Module):
    """Normalise each example over its last axis, then scale and shift (Ba, Kiros & Hinton 2016)."""

    def __init__(self, features: int, eps: float = 1e-5):
        self.eps = eps
        self.weight = Parameter(np.ones(features, get_default_dtype()))
        self.bias = Parameter(np.zeros(features, get_default_dtype()))

    def forward(self, x: Any) -> Tensor:
        return _normalised(x, -1, self) * self.weight + self.bias


class BatchNorm1d(Module):
    """Normalise each feature over the batch (axis -2), then scale and shift (Ioffe & Szegedy 2015).

    Evaluation uses running averages: running = (1 - momentum) * running + momentum * batch, with the unbiased variance,
    as in PyTorch.
    """

    buffers = ("running_mean", "running_var")

    def __init__(self, features: int, eps: float = 1e-5, momentum: float = 0.1):
        self.eps = eps
        self.momentum = momentum
        self.weight = Parameter(np.ones(features, get_default_dtype()))
        self.bias = Parameter(np.zeros(features, get_default_dtype()))
        self.running_mean: Array = placed(np.zeros(features, get_default_dtype()))
        self.running_var: Array = placed(np.ones(features, get_default_dtype()))

    def forward(self, x: Any) -> Tensor:
        if not self.training:
            scale = self.weight / np.sqrt(self.running_var + self.eps)
            return (x - self.running_mean) * scale + self.bias
        n = x.shape[-2]
        if n < 2:
            raise ValueError("BatchNorm1d: a batch of one example has no spread; use a larger batch or eval()")
        array = x.data if isinstance(x, Tensor) else x
        self.running_mean += self.momentum * (array.mean(axis=-2) - self.running_mean)
        self.running_var += self.momentum * (array.var(axis=-2) * (n / (n - 1)) - self.running_var)
        return _normalised(x, -2, self) * self.weight + self.bias


def _normalised(x: Any, axis: int, layer: Any) -> Any:
    centred = x - np.mean(x, axis=axis, keepdims=True)
    return centred / np.sqrt(np.mean(np.square(centred), axis=axis, keepdims=True) + layer.eps)


# Layers without parameters --------------------------------------------------------------------------------------------


class Activation(Module):
    """An activation function as a layer: Activation("relu")."""

    def __init__(self, name: str):
        self.function = lookup("activation", name, ACTIVATIONS)
        self.name = name

    def forward(self, x: Any) -> Any:
        return self.function(x)

    def __repr__(self) -> str:
        return self.name


ACTIVATIONS: dict[str, Callable] = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
    "softplus": F.softplus,
    "sigmoid": F.sigmoid,
    "tanh": F.tanh,
    "identity": np.positive,
}


def ReLU() -> Activation:
    """max(x, 0) as a layer."""
    return Activation("relu")


def Tanh() -> Activation:
    """tanh(x) as a layer."""
    return Activation("tanh")


def Sigmoid() -> Activation:
    """1 / (1 + exp(-x)) as a layer."""
    return Activation("sigmoid")


class Dropout(Module):
    """In training, each element is 0 with probability p, else divided by 1 - p; in evaluation nothing happens.

    With a list of R seeds, the first axis of what comes in counts replicas, and each draws from its own seed.
    """

    def __init__(self, p: float = 0.5, seed: Seed | Sequence[Seed] = None):
        if not 0 <= p < 1:
            raise ValueError(f"Dropout: p must be in [0, 1), got {p}")
        self.p = p
        self.generator: Any = (
            [np.random.default_rng(s) for s in seed] if isinstance(seed, Sequence) else np.random.default_rng(seed)
        )

    def forward(self, x: Any) -> Any:
        if not (self.training and self.p):
            return x
        if not isinstance(self.generator, list):
            return F.dropout(x, self.p, self.generator)
        return np.stack([F.dropout(x[r], self.p, generator) for r, generator in enumerate(self.generator)])

    def __repr__(self) -> str:
        return f"Dropout({self.p})"


# Models ---------------------------------------------------------------------------------------------------------------


class Sequential(Module):
    """Layers applied one after the other; `model[i]` is a layer."""

    def __init__(self, *layers: Module):
        self.layers = list(layers)

    def forward(self, x: Any) -> Any:
        for i, layer in enumerate(self.layers):
            try:
                x = layer(x)
            except ShapeError as error:
                raise ShapeError(f"layers.{i}: {error}") from None
        return x

    def __getitem__(self, i: int) -> Module:
        return self.layers[i]

    def __len__(self) -> int:
        return len(self.layers)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.layers))})"


class MLP(Sequential):
    """A multilayer perceptron: `MLP([64, 128, 10])` maps 64 inputs through 128 hidden units to 10 outputs.

    Every hidden layer is followed by the activation and, if dropout > 0, by dropout; the output layer is linear (logits,
    or the predicted numbers). The seed fixes the weights and the dropout masks, each from a stream of its own.

    >>> model = MLP([2, 16, 1], activation="tanh", seed=0)
    >>> model(np.zeros((5, 2), np.float32)).shape
    (5, 1)

    `replicas=R` is R such nets at once, trained side by side: weights [R, in, out], biases [R, 1, out]. The input is one
    batch for all of them, [batch, inputs], or one for each, [R, batch, inputs]; the output is [R, batch, outputs]. Their
    seeds are the list `seed`, or seed, seed + 1 ...; each net starts as MLP(sizes, seed=its seed) does, to the bit. Add the
    losses up in a loop of your own (`fit` is for one net), so that none sees the others, and give the optimizer one rate
    for each (optimizers/replicas.py):

    >>> models = MLP([2, 16, 1], replicas=3, seed=[5, 6, 7])
    >>> models(np.zeros((5, 2), np.float32)).shape
    (3, 5, 1)
    >>> bool((models.replica(2).layers[0].weight.data == MLP([2, 16, 1], seed=7).layers[0].weight.data).all())
    True
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str = "relu",
        dropout: float = 0.0,
        init: str | Initializer = "auto",
        seed: int | Sequence[int] | None = None,
        replicas: int | None = None,
    ):
        if not isinstance(sizes, Iterable) or len(list(sizes)) < 2:
            raise ValueError(f"MLP: sizes must list at least inputs and outputs, such as [2, 32, 2], got {sizes!r}")
        self.replicas = replicas
        self._one_net: dict[str, Any] = {"sizes": [*sizes], "activation": activation, "dropout": dropout, "init": init}
        self._seeds = _seeds(seed, replicas)
        streams = [np.random.SeedSequence(s).spawn(2) for s in self._seeds]
        weights, masks = ([np.random.default_rng(stream) for stream in of] for of in zip(*streams, strict=True))
        of_net = (lambda generators: generators[0]) if replicas is None else list
        layers: list[Module] = []
        last = len(sizes) - 2
        for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            hidden = i < last
            layers.append(
                Linear(fan_in, fan_out, init=init, seed=of_net(weights), activation=activation if hidden else None)
            )
            if hidden:
                layers.append(Activation(activation))
                if dropout:
                    layers.append(Dropout(dropout, seed=of_net(masks)))
        super().__init__(*layers)

    def replica(self, r: int) -> MLP:
        """A copy of net r, as an ordinary MLP. Its dropout, if there is any, begins anew."""
        if self.replicas is None:
            raise ValueError("replica: this is one net; MLP(sizes, replicas=R) makes several")
        if not -self.replicas <= r < self.replicas:
            raise IndexError(f"replica: there are {self.replicas} nets, 0 to {self.replicas - 1}, got {r}")
        net = MLP(**self._one_net, seed=self._seeds[r])
        for one, many in zip(net.parameters(), self.parameters(), strict=True):
            one.data = many.data[r].reshape(one.shape).copy()
        return net.train(self.training)


def _seeds(seed: Any, replicas: int | None) -> list[int | None]:
    """The seed of each replica, or that of the one net."""
    given = isinstance(seed, Sequence | np.ndarray)
    if replicas is None:
        if given:
            raise ValueError(f"MLP: a list of {len(seed)} seeds is for that many nets at once: pass replicas={len(seed)}")
        return [seed]
    if isinstance(replicas, bool) or not isinstance(replicas, int | np.integer) or replicas < 1:
        raise ValueError(f"MLP: replicas must be a positive whole number, got {replicas!r}")
    if given and len(seed) != replicas:
        raise ValueError(f"MLP: {replicas} replicas need as many seeds, got {len(seed)}")
    return list(seed) if given else [None if seed is None else seed + r for r in range(replicas)]
