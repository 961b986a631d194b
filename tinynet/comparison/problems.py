"""The problems on which optimizers are compared: what is to be solved, from where, and what counts as solved.

Everything is fixed here, before any run: the target of each problem, its steps, its data. A seed fixes the start and the
order of the batches (or the noise), so every optimizer meets the same ones. Many runs are one array with a leading axis:
R points of a landscape, or R nets (replicas).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from optimizers import landscapes
from optimizers.landscapes import Landscape
from optimizers.trajectories import Point
from tinynet import datasets
from tinynet.arguments import LOSSES
from tinynet.capture import capture
from tinynet.comparison.results import ProblemFacts
from tinynet.graph import no_grad
from tinynet.layers import MLP
from tinynet.naming import lookup

FIXED = 15_000.0  # multiplications that a step of many small nets takes no longer for than for all else that it does
FLAT = 1e-12  # heights below this are rounding, and count as this much
Data = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]  # (x, y) to train on, (x, y) to validate


@dataclass(frozen=True, eq=False)
class Problem:
    """What all problems have; see LandscapeProblem and NetProblem.

    target: the value of the metric at which a run has arrived.
    steps: updates of a run; every: updates between two points of its curve.
    """

    name: str
    text: str
    target: float
    steps: int = 400
    every: int = 10

    def __post_init__(self) -> None:
        for field in ("steps", "every"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise ValueError(f"{self.name}: {field} must be a whole number of updates, at least 1, got {value!r}")
        if not np.isfinite(self.target):
            raise ValueError(f"{self.name}: target must be a finite number, got {self.target!r}")

    @property
    def looks_every(self) -> int:
        """Updates between two looks whether the target is reached."""
        return self.every

    @property
    def measured_at(self) -> tuple[int, ...]:
        """The updates after which the curve has a point: 0, every, 2 every ... and the last."""
        return (*range(0, self.steps, self.every), self.steps)

    def begin(self, seeds: Sequence[int]) -> Any:
        """R runs at their starts: Walks or Nets."""
        raise NotImplementedError

    def facts(self) -> ProblemFacts:
        """What a Comparison keeps of it."""
        raise NotImplementedError

    def contents(self) -> Iterable[Any]:
        """What its runs depend on, beside its name and steps: arrays, and things that print what they are."""
        raise NotImplementedError

    def fingerprint(self) -> str:
        """A hash of its contents: results of two problems with the same one belong together."""
        digest = hashlib.sha256()
        for thing in self.contents():
            digest.update(thing.tobytes() if isinstance(thing, np.ndarray) else repr(thing).encode())
        return digest.hexdigest()[:16]


# Landscapes -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class LandscapeProblem(Problem):
    """A function of two variables. A seed draws the start from `box` ((left, right), (bottom, top)), uniformly, and then
    the noise of the gradient if the landscape has any. Without a box it is the landscape's bounds.

    The metric is the height above the minimum, FLAT at least. Every step is looked at; the curve keeps some of the values.
    `places` [n, 2] are points of interest: a run has ended at one if it is within `reach` of it.
    """

    landscape: Landscape = landscapes.rosenbrock
    steps: int = 1000
    every: int = 20
    box: tuple[tuple[float, float], tuple[float, float]] | None = None
    places: tuple[tuple[float, float], ...] = ()
    reach: float = 0.1

    @property
    def looks_every(self) -> int:
        return 1

    def begin(self, seeds: Sequence[int]) -> Walks:
        return Walks(self, seeds)

    def facts(self) -> ProblemFacts:
        places = tuple(f"({x:.4g}, {y:.4g})" for x, y in self.places)
        metric = "height above the minimum"
        return ProblemFacts(
            self.name, "landscape", self.text, metric, self.target, self.steps, self.measured_at, places, cost=FIXED / 4
        )

    def contents(self) -> Iterable[Any]:
        points = np.array(self.box or self.landscape.bounds) * np.linspace(0.1, 0.9, 5)[:, None, None]  # [5, 2, 2]
        calm = replace(self.landscape, noise=0.0)
        return points, calm.value(points), calm.gradient(points), self.landscape.noise, self.places, self.reach, self.every


class Walks:
    """R walks on a landscape: one array [R, 2] of points."""

    def __init__(self, problem: LandscapeProblem, seeds: Sequence[int]):
        self.problem = problem
        box = np.array(problem.box or problem.landscape.bounds)
        streams = [np.random.default_rng(seed) for seed in seeds]
        self.point = Point(np.array([stream.uniform(*box.T) for stream in streams]))
        self.parameters = [("point", self.point)]
        noise = problem.landscape.noise
        steps = problem.steps if noise else 0
        self.noise = np.stack([noise * stream.standard_normal((steps, 2)) for stream in streams], axis=1)  # [steps, R, 2]
        self.calm = replace(problem.landscape, noise=0.0)

    def step(self, optimizer: Any, k: int) -> None:
        """Update k, counted from 0."""
        gradient = self.calm.gradient(self.point.data)
        self.point.grad = gradient + self.noise[k] if len(self.noise) else gradient
        optimizer.step()

    def measure(self) -> np.ndarray:
        """The height of each above the minimum [R]."""
        return np.maximum(self.calm.value(self.point.data) - self.calm.minimum, FLAT)

    def places(self) -> np.ndarray | None:
        """The number of the place that each is at [R], -1 if at none."""
        if not self.problem.places:
            return None
        away = np.linalg.norm(self.point.data[:, None] - np.array(self.problem.places), axis=-1)
        return np.where(away.min(axis=1) <= self.problem.reach, away.argmin(axis=1), -1)


# Nets -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class NetProblem(Problem):
    """A multilayer perceptron to be trained on small data. A seed gives the weights at the start (as MLP(sizes, seed=seed)
    has them) and the order of the batches (as `fit` has it); the data are the same for all.

    data: a function without arguments that answers ((x, y), (x, y)), to train on and to validate.
    loss: a name of training.LOSSES. The metric is this loss on the validation data, a mean over examples.
    Examples that do not fill a batch at the end of an epoch are left out of that epoch.

    >>> problem = NetProblem("mine", "xor", 0.1, data=lambda: (datasets.xor(64), datasets.xor(64, seed=1)), sizes=(2, 8, 2))
    >>> problem.begin([0, 1, 2]).measure().shape
    (3,)
    """

    data: Callable[[], Data] = lambda: (datasets.moons(), datasets.moons(seed=1))
    sizes: tuple[int, ...] = (2, 32, 32, 2)
    activation: str = "relu"
    loss: str = "cross_entropy"
    batch_size: int = 32

    def begin(self, seeds: Sequence[int]) -> Nets:
        return Nets(self, seeds)

    def facts(self) -> ProblemFacts:
        weights = sum(a * b for a, b in zip(self.sizes, self.sizes[1:], strict=False))
        return ProblemFacts(
            self.name,
            "net",
            self.text,
            "validation loss",
            self.target,
            self.steps,
            self.measured_at,
            cost=FIXED + weights * self.batch_size,
        )

    def contents(self) -> Iterable[Any]:
        train, validation = self.data()
        return *train, *validation, self.sizes, self.activation, self.loss, self.batch_size, self.every


class Nets:
    """R nets being trained, each on batches of its own: one MLP with replicas."""

    def __init__(self, problem: NetProblem, seeds: Sequence[int]):
        self.problem = problem
        (self.x, self.y), self.validation = problem.data()
        self.batches = len(self.x) // problem.batch_size
        if not self.batches:
            raise ValueError(
                f"{problem.name}: a batch of {problem.batch_size} needs as many examples, there are {len(self.x)}"
            )
        self.loss = lookup("loss", problem.loss, LOSSES)
        self.model = MLP(problem.sizes, problem.activation, seed=list(seeds), replicas=len(seeds))
        self.parameters = list(self.model.named_parameters())
        self.seeds, self.run_of = np.unique(seeds, return_inverse=True)
        self.order = np.empty((0, 0), int)  # [different seeds, examples]
        self.captured: Any = None

    def step(self, optimizer: Any, k: int) -> None:
        """Update k, counted from 0."""
        epoch, batch = divmod(k, self.batches)
        if batch == 0:
            self.order = np.stack([np.random.default_rng((s, epoch + 1)).permutation(len(self.x)) for s in self.seeds])
        size = self.problem.batch_size
        chosen = self.order[:, batch * size : (batch + 1) * size][self.run_of]
        if self.captured is None:
            self.captured = capture(partial(self._update, optimizer))
        self.captured(self.x[chosen], self.y[chosen])

    def _update(self, optimizer: Any, x: Any, y: Any) -> None:
        optimizer.zero_grad()
        self._losses(x, y).sum().backward()
        optimizer.step()

    def _losses(self, x: Any, y: Any) -> Any:
        """The loss of each net [R]: a mean over its examples."""
        losses = self.loss(self.model(x), y, reduction="none")
        return losses.mean(axis=tuple(range(1, losses.ndim)))

    def measure(self) -> np.ndarray:
        """The loss of each net on the validation data [R]."""
        with no_grad():
            return np.array(self._losses(*self.validation).data, float)

    def places(self) -> None:
        """A net ends nowhere in particular."""


# The problems by name -------------------------------------------------------------------------------------------------


def _split_digits() -> Data:
    x, y = datasets.digits()
    order = np.random.default_rng(0).permutation(len(x))
    train, validation = order[:-360], order[-360:]
    return (x[train], y[train]), (x[validation], y[validation])


def _linear_map() -> Data:
    """y = x A: A has singular values from 1 down to 1/8, and each is learnt after those that are larger."""
    generator = np.random.default_rng(0)
    u, v = (np.linalg.qr(generator.standard_normal((8, 8)))[0] for _ in range(2))
    x = generator.standard_normal((400, 8))
    y = x @ (u * np.arange(8, 0, -1) / 8) @ v
    x, y = x.astype(np.float32), y.astype(np.float32)
    return (x[:320], y[:320]), (x[320:], y[320:])


def _generated(make: Callable) -> Callable[[], Data]:
    return lambda: (make(1024, seed=0), make(256, seed=1))


WHOLE = tuple((float(x), float(y)) for x in range(-5, 6) for y in range(-5, 6))  # near them lie Rastrigin's local minima

_TOY = [
    LandscapeProblem("rosenbrock", "a bent valley", 1e-2, landscape=landscapes.rosenbrock),
    LandscapeProblem("beale", "plains between walls", 1e-2, landscape=landscapes.beale),
    LandscapeProblem(
        "himmelblau",
        "four minima, equally low: which one?",
        1e-2,
        landscape=landscapes.himmelblau,
        places=tuple(map(tuple, landscapes.himmelblau.minima.tolist())),
    ),
    LandscapeProblem(
        "rastrigin",
        "a bowl full of dents: in which one does a walk end?",
        1.0,
        landscape=landscapes.rastrigin,
        places=WHOLE,
        reach=0.25,
    ),
    LandscapeProblem(
        "saddle",
        "a ridge to leave sideways",
        1e-2,
        landscape=landscapes.saddle,
        box=((-1.5, 1.5), (-1e-3, 1e-3)),
        places=tuple(map(tuple, landscapes.saddle.minima.tolist())),
    ),
    *(
        LandscapeProblem(
            f"quadratic-{condition}{name}",
            f"a straight valley, condition {condition}, {text}",
            1e-4,
            landscape=landscapes.quadratic(condition, angle),
        )
        for condition in (10, 1000)
        for angle, name, text in ((0, "", "along the axes"), (45, "-rotated", "turned by 45 degrees"))
    ),
    LandscapeProblem(
        "noisy-quadratic",
        "a straight valley, condition 10, with noisy gradients",
        1e-2,
        landscape=landscapes.noisy_quadratic(10, noise=1.0),
    ),
]
_SMALL = [
    NetProblem("moons", "two half circles; 2-32-32-2", 0.15, data=_generated(datasets.moons)),
    NetProblem("circles", "a circle in a circle; 2-32-32-2", 0.05, data=_generated(datasets.circles)),
    NetProblem("spirals", "two spirals; 2-32-32-2", 0.05, steps=1000, every=20, data=_generated(datasets.spirals)),
    NetProblem("digits", "handwritten digits; 64-32-10", 0.15, data=_split_digits, sizes=(64, 32, 10)),
    NetProblem(
        "sine",
        "regression of a sine; 1-32-32-1",
        0.02,
        data=_generated(datasets.sine),
        sizes=(1, 32, 32, 1),
        activation="tanh",
        loss="mse_loss",
    ),
    NetProblem(
        "deep-linear",
        "a linear map by five linear layers; 8-8-8-8-8-8",
        1e-2,
        data=_linear_map,
        sizes=(8,) * 6,
        activation="identity",
        loss="mse_loss",
    ),
]

PROBLEMS: dict[str, Problem] = {problem.name: problem for problem in (*_TOY, *_SMALL)}
SUITES: dict[str, tuple[str, ...]] = {
    "toy2d": tuple(problem.name for problem in _TOY),
    "small": tuple(problem.name for problem in _SMALL),
    "all": tuple(PROBLEMS),
    "suite": tuple(PROBLEMS),  # the same
}


def find_problems(on: Any) -> list[Problem]:
    """The problems meant by a name, the name of a suite, a Problem, or a list of these."""
    if isinstance(on, list | tuple):
        found = [problem for one in on for problem in find_problems(one)]
    elif isinstance(on, Problem):
        found = [on]
    elif isinstance(on, str) and on in SUITES:
        found = [PROBLEMS[name] for name in SUITES[on]]
    else:
        found = [lookup("problem", on, {**SUITES, **PROBLEMS})]
    if not found:
        raise ValueError(f"there is no problem to compare on; the suites are {', '.join(SUITES)}")
    names = [problem.name for problem in found]
    if len(set(names)) < len(names):
        raise ValueError(f"two problems have one name: {', '.join(sorted(n for n in set(names) if names.count(n) > 1))}")
    return found
