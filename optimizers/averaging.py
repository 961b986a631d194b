"""Averages of the weights: Lookahead and EMA around any optimizer, and what it means to train at one point and be evaluated
at another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from numbers import Real
from typing import Any
from weakref import WeakSet

import numpy as np

from optimizers.base import Optimizer, Work
from optimizers.slab import Slab


class TwoPoints:
    """Mixed into an optimizer that trains at one point and is evaluated at another: `eval()` puts the weights to be
    evaluated into the parameters, `train()` brings the others back, to the bit. `fit` calls both.

    Weights that were loaded into the parameters meanwhile are there to stay: training, and the average, start anew there.
    """

    _training: list[Any] | None = None  # the weights to come back to, while those to be evaluated are in place
    _shown: list[Any] | None = None  # those to be evaluated, as they were put there

    @property
    def evaluating(self) -> bool:
        """Whether the parameters hold the weights to be evaluated now."""
        return self._training is not None

    def evaluated(self) -> list[Any]:
        """The weights to be evaluated, one flat array for each slab."""
        raise NotImplementedError

    def eval(self) -> None:
        if self._training is None:
            for slab in self._slabs:  # type: ignore[attr-defined]
                slab.take_back()
            points = self.evaluated()
            self._training = [slab.data.copy() for slab in self._slabs]  # type: ignore[attr-defined]
            for slab, values in zip(self._slabs, points, strict=True):  # type: ignore[attr-defined]
                slab.data[...] = values
                slab.moved()
            self._shown = [slab.data.copy() for slab in self._slabs]  # type: ignore[attr-defined]

    def train(self) -> None:
        if self._training is None or self._shown is None:
            return
        for slab in self._slabs:  # type: ignore[attr-defined]
            slab.take_back()
        points, shown, self._training, self._shown = self._training, self._shown, None, None
        for i, (slab, point, put) in enumerate(zip(self._slabs, points, shown, strict=True)):  # type: ignore[attr-defined]
            if np.array_equal(slab.data, put, equal_nan=True):
                slab.data[...] = point
            else:
                self.start_at(i, slab)
            slab.moved()

    def start_at(self, i: int, slab: Slab) -> None:
        """Make the weights that slab number i holds now the average, too."""
        raise NotImplementedError

    def begin(self) -> Any:
        self._refuse_evaluating("step()")
        return super().begin()  # type: ignore[misc]

    def state_dict(self) -> dict[str, Any]:
        self._refuse_evaluating("state_dict()")
        return super().state_dict()  # type: ignore[misc]

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        self._refuse_evaluating("load_state_dict()")
        super().load_state_dict(saved)  # type: ignore[misc]

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        self._refuse_evaluating("add_param_group()")
        super().add_param_group(group)  # type: ignore[misc]

    def _refuse_evaluating(self, what: str) -> None:
        if self._training is not None:
            raise RuntimeError(
                f"{what} while the parameters hold the weights to be evaluated: call optimizer.train() first"
            )


# The optimizers whose parameters must not be evaluated as they stand; each for as long as it is in use.
_away: WeakSet[Any] = WeakSet()


def keep_away(optimizer: Any) -> None:
    """Note that the parameters of this optimizer are to be evaluated only after its eval()."""
    _away.add(optimizer)


def check_evaluable(parameters: Any) -> None:
    """Raise if one of the parameters holds weights that are only good for training (see ScheduleFreeSGD)."""
    if not _away:
        return
    asked = {id(p) for p in parameters}
    for optimizer in _away:
        held = [id(p) for group in vars(optimizer).get("param_groups", ()) for p in group["params"]]
        if optimizer._training is None and not asked.isdisjoint(held):
            kind = type(optimizer).__name__
            raise RuntimeError(
                f"the parameters hold the point at which {kind} takes its gradients, not the one to be evaluated: call "
                "optimizer.eval() before model.eval(), and optimizer.train() before the next step"
            )


class Around(Optimizer):
    """An optimizer around another: whatever is not defined here is the inner one's, to read and to set.

    A subclass sets its own attributes before it calls this __init__.
    """

    def __init__(self, optimizer: Optimizer):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__} goes around an optimizer, such as Adam(params), got {optimizer!r}")
        if isinstance(optimizer, TwoPoints):
            inner = type(optimizer).__name__
            raise TypeError(
                f"{type(self).__name__}({inner}): {inner} is evaluated at another point than it trains at, so let EMA be "
                "the outermost, and a schedule-free optimizer stand alone"
            )
        if type(optimizer).step is not Optimizer.step:
            inner = type(optimizer).__name__
            raise TypeError(
                f"{type(self).__name__}({inner}): {inner} asks for the loss several times in a step of its own, and "
                "nothing can go around it: use it alone, or put another optimizer inside"
            )
        self.copies: list[Any] = [copy_of(slab) for slab in optimizer._slabs]
        self.optimizer = optimizer  # last: from here on, what is set goes there too

    def __getattr__(self, name: str) -> Any:
        if name == "optimizer":  # not made yet, while being copied or unpickled
            raise AttributeError(name)
        return getattr(self.optimizer, name)

    def __setattr__(self, name: str, value: Any) -> None:
        """What the inner one has and we have not, such as clip or on_nonfinite, is set there: it takes the step."""
        own = "optimizer" not in vars(self) or name in vars(self) or hasattr(type(self), name)
        if own or not hasattr(self.optimizer, name):
            super().__setattr__(name, value)
        else:
            setattr(self.optimizer, name, value)

    def begin(self) -> Any:
        self.start()
        return self.optimizer.begin()

    def start(self) -> None:
        """Before the first step: copy the weights again, since good ones may have been loaded meanwhile."""
        if self.optimizer.steps == 0:
            for slab, copy in zip(self._slabs, self.copies, strict=True):
                slab.take_back()
                copy[...] = copy_of(slab)

    def move(self, work: Work, seen: Callable = lambda array: array) -> None:
        self.optimizer.move(work, seen)

    def end(self, work: Work) -> None:
        self.optimizer.end(work)
        for slab, copy in zip(self._slabs, self.copies, strict=True):
            self.after(slab, copy)
            if slab.frozen is not None:
                slab.restore_frozen()

    def after(self, slab: Slab, copy: Any) -> None:
        """What happens to a slab, and to our copy of its data, after a step of the inner optimizer."""
        raise NotImplementedError

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        self.optimizer.add_param_group(group)
        self.copies += [copy_of(slab) for slab in self._slabs[len(self.copies) :]]

    def hyperparameters(self) -> list[str]:
        return self.optimizer.hyperparameters()

    def kind(self) -> str:
        return f"{type(self).__name__}({self.optimizer.kind()})"

    def _state_views(self) -> Iterator[tuple[str, str, Any]]:
        yield from self.optimizer._state_views()
        for slab, copy in zip(self._slabs, self.copies, strict=True):
            for name, view in slab.views_of(copy):
                yield type(self).__name__.lower(), name, view

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.optimizer!r})"


def copy_of(slab: Slab) -> Any:
    """The weights, projected: the averages of what a wall keeps in (a convex set) are then within it, too."""
    copy = slab.data.copy()
    if slab.projection is not None:
        for _, view in slab.views_of(copy):
            slab.projection(view)
    return copy


class Lookahead(Around):
    """Zhang et al. 2019: every k steps of the inner optimizer, go back half of the way:

    slow <- slow + alpha (p - slow),    p <- slow

    >>> optimizer = Lookahead(Adam(params), k=5, alpha=0.5)                                           # doctest: +SKIP
    """

    k: int
    alpha: float

    def __init__(self, optimizer: Optimizer, k: int = 5, alpha: float = 0.5):
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise ValueError(f"Lookahead: k must be a whole number of steps, at least 1, got {k!r}")
        if isinstance(alpha, bool) or not isinstance(alpha, Real) or not 0 < alpha <= 1:
            raise ValueError(f"Lookahead: alpha must lie in (0, 1], got {alpha!r}")
        self.k, self.alpha = k, float(alpha)
        super().__init__(optimizer)

    def after(self, slab: Slab, copy: Any) -> None:
        if self.optimizer.steps % self.k == 0:
            copy += self.alpha * (slab.data - copy)
            slab.data[...] = copy
            slab.moved()


class EMA(TwoPoints, Around):
    """An exponential moving average of the weights, to be evaluated in place of the last ones (Polyak & Juditsky 1992;
    in this form Tarvainen & Valpola 2017):

        average <- decay average + (1 - decay) p        after every step

    Training goes on as without it. `eval()` puts the average into the parameters and `train()` takes it out again; `fit`
    does so around every evaluation. The decay is at most (1 + n) / (10 + n) after n steps, so that the start is forgotten.

    >>> optimizer = EMA(Adam(params), decay=0.999)                                                    # doctest: +SKIP
    """

    decay_of_average: float

    def __init__(self, optimizer: Optimizer, decay: float = 0.999):
        if isinstance(decay, bool) or not isinstance(decay, Real) or not 0 <= decay < 1:
            raise ValueError(f"EMA: decay must lie in [0, 1), got {decay!r}")
        self.decay_of_average = float(decay)
        super().__init__(optimizer)

    def evaluated(self) -> list[Any]:
        self.start()
        return self.copies

    def start_at(self, i: int, slab: Slab) -> None:
        self.copies[i][...] = copy_of(slab)

    def after(self, slab: Slab, copy: Any) -> None:
        steps = self.optimizer.steps
        decay = min(self.decay_of_average, (1 + steps) / (10 + steps))
        copy += (1 - decay) * (slab.data - copy)
