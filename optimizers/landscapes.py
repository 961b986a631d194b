"""Landscapes: the classic functions of two variables on which optimizers are tried out and drawn.

Each is a value and a gradient, both written down as in a calculus book, of points [..., 2]: a whole batch of starts is
one array. `value` is NumPy's functions and operators only, so whatever array answers those can flow through it.
Look at rosenbrock first; trajectories.py lets optimizers walk here and draws the walk.

>>> rosenbrock([[-1.2, 1.0], [0.0, 0.0], [1.0, 1.0]])
array([24.2,  1. ,  0. ])
>>> rosenbrock.gradient([-1.2, 1.0])
array([-215.6,  -88. ])
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False, repr=False)
class Landscape:
    """A function of two variables, and what is known about it.

    `formula(x, y)` is the value and `slopes(x, y)` the two partial derivatives; x and y are arrays of any one shape.
    `minima` [n, 2] are the lowest points (not the merely local ones) and `minimum` is the value there; `bounds` is what
    to draw, ((left, right), (bottom, top)); `start` [2] is a customary place to begin; `source` is who thought of it.

    With `noise` > 0 the gradient is that of a random minibatch: every call of `gradient` adds new Gaussian noise of this
    standard deviation to each component, while `value` stays exact. The noise is a stream that begins at `seed`: the same
    calls in the same order give the same bits, and `fresh()` is a copy whose stream begins again.

    >>> from dataclasses import replace
    >>> replace(rosenbrock, noise=0.1, seed=3)  # any landscape can be made noisy
    Landscape('rosenbrock', noise=0.1, seed=3)
    """

    name: str
    formula: Callable[[Any, Any], Any]
    slopes: Callable[[Any, Any], tuple[Any, Any]]
    minima: Any
    bounds: tuple[tuple[float, float], tuple[float, float]]
    start: Any
    source: str
    minimum: float = 0.0
    noise: float = 0.0
    seed: int = 0
    _stream: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        noise = _number("noise", self.noise, least=0)
        if isinstance(self.seed, bool) or not isinstance(self.seed, Integral) or self.seed < 0:
            raise ValueError(f"seed must be a whole number from 0, got {self.seed!r}")
        minima, start = (np.array(points, float) for points in (self.minima, self.start))
        if minima.ndim != 2 or minima.shape[1] != 2:
            raise ValueError(f"minima must be a list of points, such as [(0, 0)], got shape {minima.shape}")
        if start.shape != (2,):
            raise ValueError(f"start must be one point, such as (0, 0), got shape {start.shape}")
        for points in (minima, start):
            points.flags.writeable = False  # all who use a landscape share them
        known = {"noise": noise, "minima": minima, "start": start, "_stream": np.random.default_rng(self.seed)}
        for key, value in known.items():
            object.__setattr__(self, key, value)

    def value(self, points: Any) -> Any:
        """The height [...] of points [..., 2], in their dtype; exact, even if the gradient is noisy."""
        return self.formula(*_coordinates(points))

    __call__ = value

    def gradient(self, points: Any) -> Any:
        """The gradient [..., 2] at points [..., 2], in their dtype; each call draws its own noise, if there is any."""
        g = np.stack(self.slopes(*_coordinates(points)), axis=-1)
        if self.noise:
            drawn = self._stream.standard_normal(g.shape)
            g = g + self.noise * np.asarray(drawn, dtype=g.dtype, like=g)
        return g

    def fresh(self) -> Landscape:
        """A copy whose noise begins again at the seed, so that each optimizer meets the same noise."""
        return replace(self)

    def __repr__(self) -> str:
        noisy = f", noise={self.noise:g}, seed={self.seed}" if self.noise else ""
        return f"Landscape({self.name!r}{noisy})"


# Arguments ------------------------------------------------------------------------------------------------------------


def _coordinates(points: Any) -> tuple[Any, Any]:
    """The x and the y [...] of points [..., 2]; lists and whole numbers become floats."""
    if isinstance(points, list | tuple):
        points = np.array(points)
    shape = np.shape(points)
    if not shape or shape[-1] != 2:
        raise ValueError(f"points on a landscape have shape [..., 2], the two coordinates last, got shape {tuple(shape)}")
    if points.dtype.kind in "iu":
        points = points * 1.0
    return points[..., 0], points[..., 1]


def _number(what: str, value: Any, least: float = -math.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{what} must be a number, got {value!r}")
    number = float(value)
    if not (least <= number < math.inf) or number == -math.inf:
        bound = f" and at least {least}" if least > -math.inf else ""
        raise ValueError(f"{what} must be finite{bound}, got {value!r}")
    return number


# The functions --------------------------------------------------------------------------------------------------------


def _rosenbrock(x: Any, y: Any) -> Any:
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def _rosenbrock_slopes(x: Any, y: Any) -> tuple[Any, Any]:
    return -2 * (1 - x) - 400 * x * (y - x**2), 200 * (y - x**2)


# A bent valley, easy to find and slow to follow: the steep direction turns all the way.
rosenbrock = Landscape(
    "rosenbrock",
    _rosenbrock,
    _rosenbrock_slopes,
    minima=[(1, 1)],
    bounds=((-2, 2), (-1, 3)),
    start=(-1.2, 1),
    source="Rosenbrock 1960, An automatic method for finding the greatest or least value of a function",
)


def _beale(x: Any, y: Any) -> Any:
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def _beale_slopes(x: Any, y: Any) -> tuple[Any, Any]:
    a, b, c = 1.5 - x + x * y, 2.25 - x + x * y**2, 2.625 - x + x * y**3
    return 2 * a * (y - 1) + 2 * b * (y**2 - 1) + 2 * c * (y**3 - 1), 2 * a * x + 4 * b * x * y + 6 * c * x * y**2


# Plains, where the gradient is next to nothing, between walls that rise to 10^5.
beale = Landscape(
    "beale",
    _beale,
    _beale_slopes,
    minima=[(3, 0.5)],
    bounds=((0, 4), (-2, 2)),
    start=(1, 1),
    source="Beale 1958, On an iterative method for finding a local minimum of a function of more than one variable",
)


def _himmelblau(x: Any, y: Any) -> Any:
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


def _himmelblau_slopes(x: Any, y: Any) -> tuple[Any, Any]:
    a, b = x**2 + y - 11, x + y**2 - 7
    return 4 * x * a + 2 * b, 2 * a + 4 * y * b


# Four minima, all equally low: which one is found depends on the start and on the steps. (Roots of a quartic; all digits.)
himmelblau = Landscape(
    "himmelblau",
    _himmelblau,
    _himmelblau_slopes,
    minima=[
        (3, 2),
        (-2.805118086952745, 3.131312518250573),
        (-3.779310253377747, -3.2831859912861696),
        (3.5844283403304917, -1.8481265269644036),
    ],
    bounds=((-5, 5), (-5, 5)),
    start=(0, 0),
    source="Himmelblau 1972, Applied nonlinear programming",
)


def _rastrigin(x: Any, y: Any) -> Any:
    return 20 + x**2 - 10 * np.cos(2 * np.pi * x) + y**2 - 10 * np.cos(2 * np.pi * y)


def _rastrigin_slopes(x: Any, y: Any) -> tuple[Any, Any]:
    return 2 * x + 20 * np.pi * np.sin(2 * np.pi * x), 2 * y + 20 * np.pi * np.sin(2 * np.pi * y)


# A bowl full of dents, a local minimum near every pair of whole numbers: here one measures where a walk happens to end.
rastrigin = Landscape(
    "rastrigin",
    _rastrigin,
    _rastrigin_slopes,
    minima=[(0, 0)],
    bounds=((-5.12, 5.12), (-5.12, 5.12)),
    start=(-4.4, 3.4),
    source="Rastrigin 1974, Systems of extremal control",
)


def _saddle(x: Any, y: Any) -> Any:
    return y**4 / 4 - y**2 / 2 + x**2 / 2


def _saddle_slopes(x: Any, y: Any) -> tuple[Any, Any]:
    return x, y**3 - y


# The origin draws in along x and pushes away along y: the start is so near the ridge that the escape takes a while.
saddle = Landscape(
    "saddle",
    _saddle,
    _saddle_slopes,
    minima=[(0, 1), (0, -1)],
    bounds=((-1.75, 1.75), (-1.75, 1.75)),
    start=(1.5, 0.001),
    source="Nesterov 2004, Introductory lectures on convex optimization, section 1.2.3",
    minimum=-0.25,
)


def _quadratic(x: Any, y: Any, condition: float, cos: float, sin: float) -> Any:
    along, across = cos * x + sin * y, cos * y - sin * x
    return (along**2 + condition * across**2) / 2


def _quadratic_slopes(x: Any, y: Any, condition: float, cos: float, sin: float) -> tuple[Any, Any]:
    along, across = cos * x + sin * y, cos * y - sin * x
    return cos * along - sin * condition * across, sin * along + cos * condition * across


def quadratic(condition: float = 100.0, angle: float = 0.0) -> Landscape:
    """(u^2 + condition * v^2) / 2: a straight valley, with u along it and v across it.

    `angle` is the direction of the valley in degrees, from the x axis to the left: 0 gives (x^2 + condition * y^2) / 2.
    The eigenvalues of the Hessian are 1 and `condition` >= 1, so plain gradient descent needs lr < 2 / condition. The
    start turns with the valley: an optimizer that scales each coordinate for itself (Adam, RMSprop) is at its best at
    angle 0, while gradient descent, with momentum or without, walks the same way at every angle.

    >>> quadratic(10)([2.0, 1.0])
    np.float64(7.0)
    """
    condition = _number("condition", condition, least=1)
    angle = _number("angle", angle)
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    shape = {"condition": condition, "cos": cos, "sin": sin}
    return Landscape(
        f"quadratic-{condition:g}" + (f"-{angle:g}deg" if angle else ""),
        partial(_quadratic, **shape),
        partial(_quadratic_slopes, **shape),
        minima=[(0, 0)],
        bounds=((-2.5, 2.5), (-2.5, 2.5)),
        start=(-2 * cos - 0.5 * sin, -2 * sin + 0.5 * cos),
        source="Boyd & Vandenberghe 2004, Convex optimization, section 9.3.2",
    )


def noisy_quadratic(condition: float = 10.0, noise: float = 1.0, seed: int = 0) -> Landscape:
    """`quadratic(condition)` whose gradient carries Gaussian noise, as that of a minibatch does (see Landscape).

    With a steady learning rate no optimizer comes to rest here: it ends in a cloud around the minimum.

    >>> f = noisy_quadratic(seed=1)
    >>> bool((f.gradient(f.start) == f.gradient(f.start)).any())
    False
    >>> bool((f.fresh().gradient(f.start) == noisy_quadratic(seed=1).gradient(f.start)).all())
    True
    """
    calm = quadratic(condition)
    source = "Zhang et al. 2019, Which algorithmic choices matter at which batch sizes?"
    return replace(calm, name=f"noisy-{calm.name}", source=source, noise=noise, seed=seed)


# Named for command lines.
LANDSCAPES: dict[str, Landscape] = {
    landscape.name: landscape
    for landscape in (
        rosenbrock,
        beale,
        himmelblau,
        rastrigin,
        saddle,
        quadratic(),
        quadratic(angle=45),
        noisy_quadratic(),
    )
}
