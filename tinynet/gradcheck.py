"""Is the gradient right? Compare it with differences of the function itself.

For each input element x, Richardson's combination of two central differences (steps h and h/2) gives the slope of
L = sum(C * f(x)) to about ten digits in float64; C is random, since a gradient of ones hides many mistakes. The tolerance
is relative to the slope plus the rounding noise of L, so a zero gradient of a tiny function does not pass.

At a kink there is no slope to compare with, and a difference would quietly "confirm" some value in between; a check
there is refused. Always computes in float64: in float32 differences are good to three digits only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinynet.autodiff import gradients
from tinynet.tensor import Tensor, plain

EPS = float(np.finfo(np.float64).eps)


class GradcheckError(AssertionError):
    """The gradient and the differences disagree; the message names the worst element."""


def gradcheck(f: Callable, *inputs: Any, order: int = 1, rtol: float = 1e-6, step: float = 1e-3, seed: int = 0) -> bool:
    """Check the gradient of `f(*inputs)` with respect to every floating-point input; True, or GradcheckError.

    `f` takes Tensors and answers a Tensor of any shape. Inputs with whole numbers (labels, indices) are passed on as they
    are. `order=2` also checks the gradient of the gradient, and so on. `step` is relative to max(|x|, 0.1).

    >>> gradcheck(lambda x: np.sin(x) * x, [0.5, 1.0])
    True
    """
    if order < 1:
        raise ValueError(f"order must be 1 or more, got {order}")
    generator = np.random.default_rng(seed)
    arrays = [plain(a) if isinstance(a, Tensor) else np.asarray(a) for a in inputs]
    arrays = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays]
    if not any(a.dtype.kind == "f" for a in arrays):
        raise ValueError("gradcheck needs at least one input of floating-point numbers")
    if not all(np.isfinite(a).all() for a in arrays if a.dtype.kind == "f"):
        raise ValueError("gradcheck: an input has nan or infinity; give it points where the function is smooth")
    weights = _random_like(plain(f(*_as_given(arrays))), generator)
    slopes = _modes_agree(f, arrays, weights)
    for position, (array, slope) in enumerate(zip(arrays, slopes, strict=True)):
        if slope is not None:
            _compare(f, arrays, weights, position, array, slope, rtol, step)
    if order > 1:
        directions = [_random_like(a, generator) for a in arrays]
        gradcheck(_slope_along(f, weights, directions), *arrays, order=order - 1, rtol=rtol, step=step, seed=seed + 1)
    return True


def _random_like(array: Any, generator: np.random.Generator) -> np.ndarray:
    """Random numbers of both signs, none of them near zero."""
    return generator.uniform(0.5, 1.5, np.shape(array)) * generator.choice([-1.0, 1.0], np.shape(array))


def _as_given(arrays: list) -> list:
    return [Tensor(a, requires_grad=True) if a.dtype.kind == "f" else a for a in arrays]


def _modes_agree(f: Callable, arrays: list, weights: np.ndarray) -> list:
    """The gradient by first-order arrays; recorded Tensors must give the same numbers through the same rules."""
    plain_mode = _all_gradients(f, _as_given(arrays), weights, create_graph=False)
    recorded = _all_gradients(f, _as_given(arrays), weights, create_graph=True)
    for position, (a, b) in enumerate(zip(plain_mode, recorded, strict=True)):
        if a is not None and not np.allclose(a, plain(b), rtol=1e-12, atol=0, equal_nan=True):
            raise GradcheckError(
                f"input {position}: the rule gives {a} on arrays and {plain(b)} on Tensors (create_graph=True)"
            )
    return plain_mode


def _all_gradients(f: Callable, inputs: list, weights: Any, create_graph: bool) -> list:
    """The gradients of sum(weights * f); zeros where f does not depend on an input, None for whole numbers."""
    total = (f(*inputs) * weights).sum()
    found: list[Any] = []
    for x in inputs:
        if not isinstance(x, Tensor):
            found.append(None)
            continue
        g = gradients(total, x, create_graph=create_graph, allow_unused=True)
        zeros = Tensor(np.zeros(x.shape)) if create_graph else np.zeros(x.shape)
        found.append(zeros if g is None else g)
    return found


def _slope_along(f: Callable, weights: np.ndarray, directions: list) -> Callable:
    """The function x -> <direction, gradient of f at x>, whose gradient is one order higher."""

    def slope(*inputs: Any) -> Any:
        found = _all_gradients(f, list(inputs), weights, create_graph=True)
        return sum((g * d).sum() for g, d in zip(found, directions, strict=True) if g is not None)

    return slope


def _compare(
    f: Callable, arrays: list, weights: np.ndarray, position: int, array: np.ndarray, slope: np.ndarray,
    rtol: float, step: float,
) -> None:  # fmt: skip
    def moved(index: tuple, by: float) -> tuple[float, float]:
        """L and the size of its terms, with one element moved."""
        there = array.copy()
        there[index] += by
        values = plain(f(*_as_given([*arrays[:position], there, *arrays[position + 1 :]])))
        terms = np.asarray(values, np.float64) * weights
        return float(terms.sum()), float(np.abs(terms).sum())

    worst: tuple[float, str] = (1.0, "")
    for index in np.ndindex(array.shape):
        h = step * max(abs(float(array[index])), 0.1)
        here, size = moved(index, 0.0)
        (up, _), (down, _), (up2, _), (down2, _) = (moved(index, part * h) for part in (1.0, -1.0, 0.5, -0.5))
        coarse, fine = (up - down) / (2 * h), (up2 - down2) / h
        numeric = (4 * fine - coarse) / 3
        noise = 200 * EPS * size / h
        _refuse_kink(
            (up - 2 * here + down) / h, (up2 - 2 * here + down2) / (h / 2), noise + 1e-4 * abs(fine), position, index
        )
        analytic = float(slope[index])
        allowed = rtol * max(abs(analytic), abs(numeric)) + noise + 1e-3 * abs(fine - coarse)
        wrong = abs(analytic - numeric)
        excess = wrong / allowed if allowed else np.inf if wrong else 0.0
        if not excess <= worst[0]:
            worst = (
                excess,
                f"input {position}, element {index}: the gradient is {analytic:.10g}, differences give {numeric:.10g} "
                f"(step {h:.3g}, allowed difference {allowed:.3g})",
            )
    if worst[1]:
        raise GradcheckError(f"the gradient is wrong; worst at {worst[1]}")


def _refuse_kink(bend: float, finer_bend: float, noise: float, position: int, index: tuple) -> None:
    """The jump of slope between the two sides shrinks with the step for a smooth function, and stays at a kink."""
    if abs(bend) > 10 * noise and abs(finer_bend) > 0.75 * abs(bend):
        raise GradcheckError(
            f"input {position}, element {index} is at a kink or a jump (the slopes on its two sides differ by "
            f"{abs(bend):.3g}): there is no derivative to compare with, so choose another point"
        )
