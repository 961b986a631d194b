"""Is the gradient right? Compare it with slopes of the function itself, and with itself the other way round.

For each input element, the slope of L = sum(C * f(x)) is found by Richardson's combination of two central differences
(steps h and h/2: about ten digits), and where the function turns out to be analytic, by the complex step
Im L(x + ih) / h with h = 1e-20 (Squire & Trapp 1998: all digits). C is random and signed, since a gradient of ones hides
many mistakes. The tolerance is relative to the slope plus the rounding noise of L, so a zero gradient of a tiny function
does not pass. Besides:

- the same rules must give the same numbers on arrays and on Tensors (create_graph=True);
- forward mode must agree with reverse mode: <u, J v> = <J^T u, v> (the adjoint identity);
- at a kink there is no slope to compare with, and a difference would quietly "confirm" some value in between: refused;
- everything is compared in float64 (differences in float32 are good to three digits); an input that comes in float32 is
  checked there too, against the gradient in float64.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from tinynet.autodiff import gradients, jvp, one_tensor
from tinynet.graph import no_grad
from tinynet.tensor import Tensor, attach, plain

EPS = float(np.finfo(np.float64).eps)
COMPLEX_STEP = 1e-20


class GradcheckError(AssertionError):
    """The gradient and the slopes disagree; the message lists the worst elements."""


def gradcheck(f: Callable, *inputs: Any, order: int = 1, rtol: float = 1e-6, step: float = 1e-3, seed: int = 0) -> bool:
    """Check the gradient of `f(*inputs)` with respect to every floating-point input; True, or GradcheckError.

    `f` takes Tensors and answers a Tensor of any shape. Inputs of whole numbers (labels, indices) are passed on as they
    are. `order=2` also checks the gradient of the gradient, and so on. `rtol` is for differences (the complex step gets
    1e-11); `step` is relative to max(|x|, 0.1); `seed` draws the upstream gradient and the directions.

    >>> gradcheck(lambda x: np.sin(x) * x, [0.5, 1.0])
    True
    """
    given = [plain(a) if isinstance(a, Tensor) else np.asarray(a) for a in inputs]
    arrays = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in given]
    _check_arguments(arrays, order)
    generator = np.random.default_rng(seed)
    answer, again = (plain(one_tensor(f(*_variables(arrays)))) for _ in range(2))
    if not np.array_equal(answer, again, equal_nan=True):
        raise GradcheckError(
            "f answers something else each time for the same inputs, so there is no slope to compare with: draw no random "
            "numbers in it (a model with dropout: model.eval())"
        )
    weights = _signed(answer, generator)
    slopes = _both_ways_of_the_rules(f, arrays, weights)
    _forward_equals_reverse(f, arrays, weights, slopes, generator)
    for position, slope in enumerate(slopes):
        if slope is not None:
            _compare(Sampler(f, arrays, weights, position), slope, rtol, step)
    _lower_precision(f, given, weights, slopes)
    if order > 1:
        directions = [_signed(a, generator) for a in arrays]
        gradcheck(_slope_along(f, weights, directions), *arrays, order=order - 1, rtol=rtol, step=step, seed=seed + 1)
    return True


def _check_arguments(arrays: list, order: int) -> None:
    if order < 1:
        raise ValueError(f"order must be 1 or more, got {order}")
    if not any(a.dtype.kind == "f" for a in arrays):
        raise ValueError("gradcheck needs at least one input of floating-point numbers")
    if not all(np.isfinite(a).all() for a in arrays if a.dtype.kind == "f"):
        raise ValueError("gradcheck: an input has nan or infinity; give it points where the function is smooth")


def _signed(array: Any, generator: np.random.Generator) -> np.ndarray:
    """Random numbers of both signs in the shape of `array`, none of them near zero."""
    return generator.uniform(0.5, 1.5, np.shape(array)) * generator.choice([-1.0, 1.0], np.shape(array))


def _variables(arrays: list) -> list:
    return [Tensor(a, requires_grad=True) if a.dtype.kind == "f" else a for a in arrays]


def _gradients(f: Callable, inputs: list, weights: Any, create_graph: bool = False) -> list:
    """The gradients of sum(weights * f); zeros where f does not depend on an input, None for whole numbers."""
    total = (f(*inputs) * weights).sum()
    found: list[Any] = []
    for x in inputs:
        g = gradients(total, x, create_graph=create_graph, allow_unused=True) if isinstance(x, Tensor) else None
        if g is None and isinstance(x, Tensor):
            g = Tensor(np.zeros(x.shape)) if create_graph else np.zeros(x.shape)
        found.append(g)
    return found


def _slope_along(f: Callable, weights: np.ndarray, directions: list) -> Callable:
    """The function x -> <direction, gradient of f at x>, whose gradient is one order higher."""

    def slope(*inputs: Any) -> Any:
        found = _gradients(f, list(inputs), weights, create_graph=True)
        return sum((g * d).sum() for g, d in zip(found, directions, strict=True) if g is not None)

    return slope


# The rules against themselves -----------------------------------------------------------------------------------------


def _both_ways_of_the_rules(f: Callable, arrays: list, weights: np.ndarray) -> list:
    """The gradient by first-order arrays; recorded Tensors must give the same numbers through the same rules."""
    on_arrays = _gradients(f, _variables(arrays), weights)
    on_tensors = _gradients(f, _variables(arrays), weights, create_graph=True)
    for position, (a, b) in enumerate(zip(on_arrays, on_tensors, strict=True)):
        if a is not None and not np.allclose(a, plain(b), rtol=1e-12, atol=0, equal_nan=True):
            raise GradcheckError(
                f"input {position}: the rules give\n{a} on arrays and\n{plain(b)} on Tensors (create_graph=True)"
            )
    return on_arrays


def _forward_equals_reverse(f: Callable, arrays: list, weights: np.ndarray, slopes: list, generator: Any) -> None:
    """The adjoint identity in one random direction."""
    which = [i for i, a in enumerate(arrays) if a.dtype.kind == "f"]
    directions = [_signed(arrays[i], generator) for i in which]

    def of_floats(*floats: Any) -> Any:
        full = list(arrays)
        for i, x in zip(which, floats, strict=True):
            full[i] = x
        return f(*full)

    value, velocity = jvp(of_floats, [arrays[i] for i in which], directions)
    forward = plain(velocity) * weights
    reverse = np.concatenate([np.ravel(slopes[i] * d) for i, d in zip(which, directions, strict=True)])
    terms = np.abs(forward).sum() + np.abs(reverse).sum()
    noise = 1e4 * EPS * np.abs(plain(value) * weights).sum()
    if np.isfinite(terms) and not abs(forward.sum() - reverse.sum()) <= 1e-11 * terms + noise:
        raise GradcheckError(
            f"forward and reverse mode disagree: <u, J v> = {forward.sum():.15g}, <J^T u, v> = {reverse.sum():.15g}"
        )


def _lower_precision(f: Callable, given: list, weights: np.ndarray, slopes: list) -> None:
    """Inputs that came in a smaller dtype: their gradient in it must be the one in float64, up to its rounding."""
    small = {a.dtype for a in given if a.dtype.kind == "f"} - {np.dtype(np.float64)}
    if len(small) != 1:
        return
    dtype = small.pop()
    found = _gradients(f, _variables([a.astype(dtype) if a.dtype.kind == "f" else a for a in given]), weights.astype(dtype))
    for position, (g, exact) in enumerate(zip(found, slopes, strict=True)):
        if g is None:
            continue
        if g.dtype != dtype:
            raise GradcheckError(f"input {position} is {dtype}, its gradient {g.dtype}")
        allowed = 1e3 * float(np.finfo(dtype).eps) * max(float(np.abs(exact).max(initial=0)), float(np.finfo(dtype).tiny))
        worst = float(np.abs(g - exact).max(initial=0))
        if not worst <= allowed:
            raise GradcheckError(f"input {position}: in {dtype} the gradient is off by {worst:.3g} (allowed {allowed:.3g})")


# The rules against the function ---------------------------------------------------------------------------------------


class Sampler:
    """L = sum(weights * f) with one element of one input moved."""

    def __init__(self, f: Callable, arrays: list, weights: np.ndarray, position: int):
        self.f, self.arrays, self.weights, self.position = f, arrays, weights, position
        self.array = arrays[position]

    def at(self, index: tuple, by: float) -> tuple[float, float]:
        """L, and the size of its terms."""
        there = self.array.copy()
        there[index] += by
        terms = plain(self.f(*_variables(self._with(there)))) * self.weights
        return float(terms.sum()), float(np.abs(terms).sum())

    def complex_slope(self, index: tuple) -> float:
        """Im L(x + ih) / h, or nan where f does not take complex numbers."""
        there = self.array.astype(complex)
        there[index] += 1j * COMPLEX_STEP
        inputs = [a if a.dtype.kind in "iub" else attach(a, None) for a in self._with(there)]
        try:
            with no_grad(), np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # "casting complex to real": then the slope is 0, and not believed
                return float((plain(self.f(*inputs)) * self.weights).sum().imag / COMPLEX_STEP)
        except (TypeError, ValueError, AttributeError):
            return float("nan")

    def _with(self, there: np.ndarray) -> list:
        return [*self.arrays[: self.position], there, *self.arrays[self.position + 1 :]]


def _compare(sampler: Sampler, slope: np.ndarray, rtol: float, step: float) -> None:
    """Every element's slope; raises with the worst few."""
    wrong: list[tuple[float, str]] = []
    weight = float(sampler.weights.item()) if sampler.weights.size == 1 else 1.0  # then f's own slope can be shown
    of = "" if sampler.weights.size == 1 else " (of the sum of C * f, for random weights C)"
    for index in np.ndindex(sampler.array.shape):
        numeric, allowed, how = _numeric_slope(sampler, index, rtol, step)
        analytic = float(slope[index])
        allowed += (1e-11 if how == "complex step" else rtol) * max(abs(analytic), abs(numeric))
        error = abs(analytic - numeric)
        if not error <= allowed:
            excess = error / allowed if allowed else np.inf
            compared = f"gradient {analytic / weight:.12g}, {how} {numeric / weight:.12g}"
            text = f"element {index}: {compared}, error {error / abs(weight):.2g}, allowed {allowed / abs(weight):.2g}"
            wrong.append((-excess if excess == excess else -np.inf, text))
    if wrong:
        worst = "\n  ".join(text for _, text in sorted(wrong)[:3])
        where = f"{len(wrong)} of {slope.size} elements of input {sampler.position}"
        raise GradcheckError(f"the gradient{of} is wrong at {where}; worst:\n  {worst}")


def _numeric_slope(sampler: Sampler, index: tuple, rtol: float, step: float) -> tuple[float, float, str]:
    """The slope at one element, how far it may be off, and how it was found."""
    h = step * max(abs(float(sampler.array[index])), 0.1)
    here, size = sampler.at(index, 0.0)
    up, down, up2, down2 = (sampler.at(index, part * h)[0] for part in (1.0, -1.0, 0.5, -0.5))
    coarse, fine = (up - down) / (2 * h), (up2 - down2) / h
    noise = 200 * EPS * size / h
    bends = ((up - 2 * here + down) / h, (up2 - 2 * here + down2) / (h / 2))
    _refuse_kink(bends, noise + 1e-4 * abs(fine), sampler.position, index)
    numeric, allowed = (4 * fine - coarse) / 3, noise + 1e-3 * abs(fine - coarse)
    exact = sampler.complex_slope(index)
    if abs(exact - numeric) <= rtol * abs(numeric) + allowed:  # analytic: the complex step found the same slope
        return exact, 100 * EPS * abs(exact) + 100 * EPS * size / max(abs(float(sampler.array[index])), 0.1), "complex step"
    return numeric, allowed, f"differences (step {h:.2g})"


def _refuse_kink(bends: tuple[float, float], noise: float, position: int, index: tuple) -> None:
    """The jump of slope between the two sides shrinks with the step for a smooth function, and stays at a kink."""
    bend, finer_bend = map(abs, bends)
    if bend > 10 * noise and finer_bend > 0.75 * bend:
        raise GradcheckError(
            f"input {position}, element {index} is at a kink or a jump (the slopes on its two sides differ by "
            f"{bend:.3g}): there is no derivative to compare with, so choose another point"
        )
