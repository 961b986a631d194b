"""How weights start: random enough to break symmetry, scaled so that signals neither die out nor blow up with depth.

Each initializer is `init(generator, fan_in, fan_out) -> array [fan_in, fan_out]` in the default dtype.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinynet.backend import get_default_dtype
from tinynet.naming import lookup

Initializer = Callable[[np.random.Generator, int, int], np.ndarray]


def he_normal(generator: np.random.Generator, fan_in: int, fan_out: int) -> np.ndarray:
    """Normal with variance 2 / fan_in: keeps the variance through ReLU layers (He et al. 2015)."""
    return _normal(generator, math.sqrt(2 / fan_in), fan_in, fan_out)


def glorot_uniform(generator: np.random.Generator, fan_in: int, fan_out: int) -> np.ndarray:
    """Uniform with variance 2 / (fan_in + fan_out): for tanh and linear layers (Glorot & Bengio 2010)."""
    bound = math.sqrt(6 / (fan_in + fan_out))
    return generator.uniform(-bound, bound, (fan_in, fan_out)).astype(get_default_dtype())


def lecun_normal(generator: np.random.Generator, fan_in: int, fan_out: int) -> np.ndarray:
    """Normal with variance 1 / fan_in (LeCun, Bottou, Orr & Müller 1998)."""
    return _normal(generator, math.sqrt(1 / fan_in), fan_in, fan_out)


def zeros(generator: np.random.Generator, fan_in: int, fan_out: int) -> np.ndarray:
    """All zero: every unit of a layer then learns the same; here to study that."""
    return np.zeros((fan_in, fan_out), get_default_dtype())


def _normal(generator: np.random.Generator, std: float, fan_in: int, fan_out: int) -> np.ndarray:
    return (generator.standard_normal((fan_in, fan_out)) * std).astype(get_default_dtype())


INITIALIZERS: dict[str, Initializer] = {
    "he_normal": he_normal,
    "glorot_uniform": glorot_uniform,
    "lecun_normal": lecun_normal,
    "zeros": zeros,
}


def initializer(init: str | Initializer, activation: str | None = None) -> Initializer:
    """The initializer of that name; "auto" is He's for activations of the ReLU family, Glorot's for the others."""
    if callable(init):
        return init
    if init == "auto":
        return he_normal if activation in ("relu", "leaky_relu", "elu", "silu", "gelu") else glorot_uniform
    return lookup("init", init, {"auto": None, **INITIALIZERS})
