"""Every scalar function of the table, value and gradient, against mpmath over its whole range, in units in the last place.

The budget is 4 ulp. Where a derivative passes through zero by cancellation (silu' near -1.28, say), no formula in one
precision can keep digits: there the error is measured in ulps of the larger of its two terms. NumPy's own functions set
the floor; what has no budget of 4 in NumPy itself is listed with its reason in EXCEPTIONS.
"""

import mpmath
import numpy as np
import pytest
from mpmath import mpf

import tinynet as tn
from tinynet import functional as F

mpmath.mp.dps = 60


def sigma(x):
    return 1 / (1 + mpmath.exp(-x))


def everywhere(limit):
    """From tiny to `limit` on both sides of zero, dense in between."""
    small, large = np.logspace(-12, 0, 40), np.linspace(0.05, limit, 160)
    return np.unique(np.concatenate([-large, -small, small, large]))


def right_of_zero(limit=1e12):
    return np.unique(np.concatenate([np.logspace(-12, np.log10(limit), 200), np.linspace(0.1, 10, 100)]))


inside = np.unique(
    np.concatenate([1 - np.logspace(-6, -0.01, 60), -1 + np.logspace(-6, -0.01, 60), np.linspace(-0.9, 0.9, 61)])
)
inside = inside[inside != 0]

# function: (ours, its value, its derivative, the points)
FUNCTIONS = {
    "sigmoid": (F.sigmoid, sigma, lambda x: sigma(x) * sigma(-x), everywhere(80)),
    "log_sigmoid": (F.log_sigmoid, lambda x: -mpmath.log1p(mpmath.exp(-x)), lambda x: sigma(-x), everywhere(80)),
    "softplus": (F.softplus, lambda x: mpmath.log1p(mpmath.exp(x)), sigma, everywhere(80)),
    "tanh": (np.tanh, mpmath.tanh, lambda x: mpmath.sech(x) ** 2, everywhere(40)),
    "relu": (F.relu, lambda x: max(x, 0), lambda x: mpf(x > 0), everywhere(80)),
    "elu": (F.elu, lambda x: x if x > 0 else mpmath.expm1(x), lambda x: mpf(1) if x > 0 else mpmath.exp(x), everywhere(80)),
    "exp": (np.exp, mpmath.exp, mpmath.exp, everywhere(80)),
    "exp2": (np.exp2, lambda x: mpf(2) ** x, lambda x: mpf(2) ** x * mpmath.log(2), everywhere(80)),
    "expm1": (np.expm1, mpmath.expm1, mpmath.exp, everywhere(80)),
    "log": (np.log, mpmath.log, lambda x: 1 / x, right_of_zero()),
    "log2": (np.log2, lambda x: mpmath.log(x, 2), lambda x: 1 / (x * mpmath.log(2)), right_of_zero()),
    "log10": (np.log10, mpmath.log10, lambda x: 1 / (x * mpmath.log(10)), right_of_zero()),
    "log1p": (np.log1p, mpmath.log1p, lambda x: 1 / (1 + x), np.concatenate([right_of_zero(), -np.linspace(0.01, 0.99, 99)])),
    "sqrt": (np.sqrt, mpmath.sqrt, lambda x: 1 / (2 * mpmath.sqrt(x)), right_of_zero()),
    "cbrt": (np.cbrt, mpmath.cbrt, lambda x: 1 / (3 * mpmath.cbrt(x) ** 2), right_of_zero()),
    "square": (np.square, lambda x: x * x, lambda x: 2 * x, everywhere(80)),
    "reciprocal": (np.reciprocal, lambda x: 1 / x, lambda x: -1 / x**2, everywhere(80)),
    "cube": (lambda t: t**3, lambda x: x**3, lambda x: 3 * x**2, everywhere(80)),
    "sin": (np.sin, mpmath.sin, mpmath.cos, everywhere(20)),
    "cos": (np.cos, mpmath.cos, lambda x: -mpmath.sin(x), everywhere(20)),
    "tan": (np.tan, mpmath.tan, lambda x: mpmath.sec(x) ** 2, everywhere(20)),
    "arcsin": (np.arcsin, mpmath.asin, lambda x: 1 / mpmath.sqrt((1 - x) * (1 + x)), inside),
    "arccos": (np.arccos, mpmath.acos, lambda x: -1 / mpmath.sqrt((1 - x) * (1 + x)), inside),
    "arctan": (np.arctan, mpmath.atan, lambda x: 1 / (1 + x * x), everywhere(80)),
    "sinh": (np.sinh, mpmath.sinh, mpmath.cosh, everywhere(80)),
    "cosh": (np.cosh, mpmath.cosh, mpmath.sinh, everywhere(80)),
    "arcsinh": (np.arcsinh, mpmath.asinh, lambda x: 1 / mpmath.sqrt(1 + x * x), everywhere(80)),
    "arccosh": (np.arccosh, mpmath.acosh, lambda x: 1 / mpmath.sqrt((x - 1) * (x + 1)), 1 + right_of_zero(1e6)[60:]),
    "arctanh": (np.arctanh, mpmath.atanh, lambda x: 1 / ((1 - x) * (1 + x)), inside),
    "silu": (F.silu, lambda x: x * sigma(x), lambda x: sigma(x) + x * sigma(x) * sigma(-x), everywhere(80)),
    "cross_entropy of [x, 0], class 0": (
        lambda t: tn.cross_entropy(np.stack([t, 0 * t], axis=-1), np.zeros(t.shape, int), reduction="none"),
        lambda x: mpmath.log1p(mpmath.exp(-x)), lambda x: -sigma(-x), everywhere(80),
    ),
    "logsumexp of [x, 0]": (
        lambda t: F.logsumexp(np.stack([t, 0 * t], axis=-1)),
        lambda x: mpmath.log1p(mpmath.exp(x)), sigma, everywhere(80),
    ),
    "binary cross-entropy, target 1": (
        lambda t: tn.binary_cross_entropy_with_logits(t, np.ones(t.shape, t.dtype), reduction="none"),
        lambda x: mpmath.log1p(mpmath.exp(-x)), lambda x: -sigma(-x), everywhere(80),
    ),
}  # fmt: skip

# The size of the terms that cancel, where a value or derivative passes through zero.
TERMS = {"silu": lambda x: (abs(x * sigma(x)), sigma(x) + abs(x) * sigma(x) * sigma(-x))}


def ulps(found, exact, dtype, scale):
    """|found - exact| in units of the last place of the exact value (or of the larger `scale`)."""
    unit = float(np.spacing(dtype(max(abs(float(exact)), abs(float(scale)), float(np.finfo(dtype).tiny)))))
    return float(abs(mpf(float(found)) - exact)) / unit


def worst(name, dtype):
    f, value, slope, points = FUNCTIONS[name]
    x = points.astype(dtype)
    with np.errstate(all="ignore"):
        t = tn.Tensor(x, requires_grad=True)
        y = f(t)
        y.backward(np.ones_like(y.data))
    errors = [0.0, 0.0]
    for i, point in enumerate(x.tolist()):
        exact = (value(mpf(point)), slope(mpf(point)))
        scales = TERMS[name](mpf(point)) if name in TERMS else exact
        for k, found in enumerate((y.data[i], t.grad[i])):
            if abs(exact[k]) < float(np.finfo(dtype).max):
                errors[k] = max(errors[k], ulps(found, exact[k], dtype, scales[k]))
    return errors


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_within_four_ulps(name, dtype):
    value, slope = worst(name, dtype)
    assert value <= 4, f"value: {value:.1f} ulp"
    assert slope <= 4, f"gradient: {slope:.1f} ulp"


if __name__ == "__main__":  # the table: python tests/engine/test_accuracy.py
    print(f"{'function':<34} {'float64 value':>14} {'gradient':>9} {'float32 value':>14} {'gradient':>9}   (worst ulp)")
    for name in FUNCTIONS:
        print(f"{name:<34} {worst(name, np.float64)[0]:14.1f} {worst(name, np.float64)[1]:9.1f} ", end="")
        print(f"{worst(name, np.float32)[0]:13.1f} {worst(name, np.float32)[1]:9.1f}")
