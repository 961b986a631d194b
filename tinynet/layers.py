"""Layers: functions with parameters, and models made of them.

A layer is a Module (module.py) and speaks of the last axes, so one with a leading axis of replicas in its parameters is
many layers at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tinynet import functional as F
from tinynet.backend import Array, get_default_dtype, placed
from tinynet.initializers import Initializer, initializer
from tinynet.messages import ShapeError, name_of
from tinynet.module import Module, Parameter
from tinynet.naming import lookup
from tinynet.tensor import Tensor

Seed = int | np.random.Generator | None


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
        self.in_features = _width("Linear", "in_features", in_features)
        self.out_features = _width("Linear", "out_features", out_features)
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
        return F.linear(_fitting(self, x, self.in_features), self.weight, self.bias)

    def __repr__(self) -> str:
        return f"Linear({self.in_features} -> {self.out_features}{'' if self.bias is not None else ', bias=False'})"


class LayerNorm(Module):
    """Normalise each example over its last axis, [..., features], then scale and shift (Ba, Kiros & Hinton 2016)."""

    def __init__(self, features: int, eps: float = 1e-5):
        self.features = _width("LayerNorm", "features", features)
        self.eps = _number("LayerNorm", "eps", eps, "from 0 up", np.inf)
        self.weight = Parameter(np.ones(features, get_default_dtype()))
        self.bias = Parameter(np.zeros(features, get_default_dtype()))

    def forward(self, x: Any) -> Tensor:
        return _normalised(_fitting(self, x, self.features), -1, self) * self.weight + self.bias

    def __repr__(self) -> str:
        return f"LayerNorm({self.features})"


class BatchNorm1d(Module):
    """Normalise each feature of [batch, features] over the batch, then scale and shift (Ioffe & Szegedy 2015).

    Evaluation uses running averages: running = (1 - momentum) * running + momentum * batch, with the unbiased variance,
    as in PyTorch.
    """

    buffers = ("running_mean", "running_var")

    def __init__(self, features: int, eps: float = 1e-5, momentum: float = 0.1):
        self.features = _width("BatchNorm1d", "features", features)
        self.eps = _number("BatchNorm1d", "eps", eps, "from 0 up", np.inf)
        self.momentum = _number("BatchNorm1d", "momentum", momentum, "in [0, 1]", 1)
        self.weight = Parameter(np.ones(features, get_default_dtype()))
        self.bias = Parameter(np.zeros(features, get_default_dtype()))
        self.running_mean: Array = placed(np.zeros(features, get_default_dtype()))
        self.running_var: Array = placed(np.ones(features, get_default_dtype()))

    def forward(self, x: Any) -> Tensor:
        x = _fitting(self, x, self.features, batch_only=True)
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

    def __repr__(self) -> str:
        return f"BatchNorm1d({self.features})"


def _fitting(layer: Module, x: Any, features: int, batch_only: bool = False) -> Any:
    """x as a Tensor or an array, which must have as many features as the layer: one would be repeated without a word."""
    x = x if hasattr(x, "shape") else Tensor(x)
    if x.shape[-1:] != (features,) or (batch_only and len(x.shape) != 2):
        wanted = f"[{'batch' if batch_only else '...'}, {features}]"
        raise ShapeError(f"{layer!r} expected input of shape {wanted}, got {list(x.shape)}")
    return x


def _width(layer: str, name: str, n: Any) -> int:
    if not isinstance(n, int | np.integer) or n < 1:
        raise ValueError(f"{layer}: {name} must be a positive integer, got {n!r}")
    return int(n)


def _number(layer: str, name: str, value: Any, allowed: str, most: float) -> float:
    if not isinstance(value, float | int | np.number) or not 0 <= value <= most:
        raise ValueError(f"{layer}: {name} must be a number {allowed}, got {value!r}")
    return float(value)


def _normalised(x: Any, axis: int, layer: Any) -> Any:
    centred = x - np.mean(x, axis=axis, keepdims=True)
    return centred / np.sqrt(np.mean(np.square(centred), axis=axis, keepdims=True) + layer.eps)


# Layers without parameters --------------------------------------------------------------------------------------------


class Activation(Module):
    """An activation function as a layer: Activation("relu")."""

    def __init__(self, name: str):
        if callable(name):
            raise TypeError(
                f"activation is one of the names {', '.join(ACTIVATIONS)}, got {name!r}: another function is a layer of a "
                "Sequential as it is"
            )
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


class ReLU(Activation):
    """max(x, 0) as a layer."""

    def __init__(self) -> None:
        super().__init__("relu")


class Tanh(Activation):
    """tanh(x) as a layer."""

    def __init__(self) -> None:
        super().__init__("tanh")


class Sigmoid(Activation):
    """1 / (1 + exp(-x)) as a layer."""

    def __init__(self) -> None:
        super().__init__("sigmoid")


class Dropout(Module):
    """In training, each element is 0 with probability p, else divided by 1 - p; in evaluation nothing happens.

    With a list of R seeds, the first axis of what comes in counts replicas, and each draws from its own seed.
    """

    def __init__(self, p: float = 0.5, seed: Seed | Sequence[Seed] = None):
        F.check_dropped("Dropout", p)
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
    """Layers (or functions) applied one after the other; `model[i]` is a layer, `model[a:b]` a Sequential of some."""

    def __init__(self, *layers: Callable):
        for i, layer in enumerate(layers):
            if isinstance(layer, list | tuple):
                raise TypeError("Sequential: the layers are its arguments, and it got a list of them: Sequential(*layers)")
            if isinstance(layer, type):
                name = layer.__name__
                raise TypeError(f"Sequential: layer {i} is the class {name}, not a layer: write {name}(...)")
            if not callable(layer):
                raise TypeError(f"Sequential: layer {i} is no layer nor function, got {layer!r}")
        self.layers = list(layers)

    def forward(self, x: Any) -> Any:
        for i, layer in enumerate(self.layers):
            try:
                x = layer(x)
            except ShapeError as error:
                raise ShapeError(f"layers.{i}: {error}") from None
        return x

    def __getitem__(self, i: Any) -> Any:
        return Sequential(*self.layers[i]) if isinstance(i, slice) else self.layers[i]

    def __len__(self) -> int:
        return len(self.layers)

    def __repr__(self) -> str:
        shown = (name_of(f) if not isinstance(f, Module) and hasattr(f, "__name__") else repr(f) for f in self.layers)
        return f"{type(self).__name__}({', '.join(shown)})"


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
        sizes: Iterable[int],
        activation: str = "relu",
        dropout: float = 0.0,
        init: str | Initializer = "auto",
        seed: int | Sequence[int] | None = None,
        replicas: int | None = None,
    ):
        if not isinstance(sizes, Iterable):
            raise TypeError(f"MLP: sizes is one list of inputs, hidden units and outputs: MLP([2, 32, 2]), got {sizes!r}")
        sizes = list(sizes)
        if len(sizes) < 2:
            raise ValueError(f"MLP: sizes must list at least inputs and outputs, such as [2, 32, 2], got {sizes!r}")
        self.replicas = replicas
        self._one_net: dict[str, Any] = {"sizes": sizes, "activation": activation, "dropout": dropout, "init": init}
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
