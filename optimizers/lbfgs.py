"""L-BFGS, a quasi-Newton method: it learns the curvature of the loss from the gradients along its way. For small problems,
where the loss of all data can be asked for again and again.

`two_loop` says in which direction to go, `strong_wolfe` how far, and LBFGS.step does so until it arrives. All parameters
together are one vector x [n]. Formulas and their numbers are those of Nocedal & Wright 2006 (Numerical Optimization, second
edition). Unlike in the other rooms, values become Python floats at once: a line search cannot go on without them.
"""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from optimizers.base import Optimizer
from optimizers.hyper import did_you_mean
from optimizers.kinds import checked
from optimizers.line_search import SEARCH, Trial, flat_enough, strong_wolfe, unit
from optimizers.nonfinite import NonfiniteGradientError, all_finite
from optimizers.penalties import ElasticNet
from optimizers.schedules import Schedule
from optimizers.slab import Slab

ROUNDING = 4  # values are equal if they differ by no more than so many units in the last place


class Place(NamedTuple):
    """A point, and what was found there."""

    x: Any  # [n]
    value: float  # of what is to be least: the loss and its penalty; inf where there is a fault
    gradient: Any  # [n]
    loss: float
    fault: str = ""  # what is not finite


def dot(a: Any, b: Any) -> float:
    """a . b"""
    return float(np.vdot(a, b))


def largest(a: Any) -> float:
    """max |a|; 0 if there are none."""
    return float(np.abs(a).max()) if a.size else 0.0


# In which direction ---------------------------------------------------------------------------------------------------

History = deque[tuple[Any, Any, float]]  # (s, y, rho) of the last iterations, the oldest first


def two_loop(history: History, gradient: Any) -> Any:
    """H g [n], where H is what the history knows of the inverse Hessian; -H g leads to where the minimum should be.

    By each pair of a step s and the change y of the gradient along it, H learns that H y = s (BFGS):

        H <- (1 - rho s y^T) H (1 - rho y s^T) + rho s s^T,    rho = 1 / s . y;    at first H = gamma = s . y / y . y

    (7.16 and 7.20; gamma is that of the last pair.) Two walks over the pairs multiply by H without a matrix
    (algorithm 7.4).
    """
    q, alphas = gradient, []
    for s, y, rho in reversed(history):
        alphas.append(rho * dot(s, q))
        q = q - alphas[-1] * y
    if not history:
        return q
    _, y, rho = history[-1]
    gamma = 1 / rho / dot(y, y)
    r = gamma * q
    for (s, y, rho), alpha in zip(history, reversed(alphas), strict=True):
        beta = rho * dot(y, r)
        r = r + (alpha - beta) * s
    return r


# What is to be least --------------------------------------------------------------------------------------------------


def shares(slabs: list[Slab], x: Any) -> Iterator[tuple[Slab, Any]]:
    """Each slab and its part of x. There is one, or two if a penalty is for some of the parameters only."""
    start = 0
    for slab in slabs:
        yield slab, x[start : start + slab.data.size]
        start += slab.data.size


class Objective:
    """loss + weight_decay/2 |x|^2 + penalty as a function of x [n], by way of the parameters and the closure."""

    def __init__(self, slabs: list[Slab], closure: Callable[[], Any], weight_decay: float, limit: int):
        self.slabs = slabs
        self.closure = closure
        self.weight_decay = weight_decay
        self.left = limit  # how often the closure may still be called
        for slab in slabs:
            slab.runs()  # if a parameter was given a new array, its values come into ours
        self.best = Place(np.concatenate([slab.data for slab in slabs]), math.inf, None, math.nan)
        self.last = self.best
        self.stuck = False  # whether a search ended without a lower place, and rounding is not why

    def put(self, x: Any) -> None:
        """Move the parameters to x."""
        for slab, part in shares(self.slabs, x):
            slab.data[...] = part
            slab.moved()

    def __call__(self, x: Any) -> Place:
        self.put(x)
        self.left -= 1
        for slab in self.slabs:
            for p in slab.params:
                p.grad = None  # so that a closure without zero_grad() does no harm
        loss = as_number(self.closure())
        terms = [self._terms(slab) for slab in self.slabs]
        place = Place(x, loss + sum(value for value, _ in terms), np.concatenate([g for _, g in terms]), loss)
        fault = self._fault(place)
        if fault:
            place = place._replace(value=math.inf, fault=fault)
        self.last = place
        if place.value < self.best.value:
            self.best = place
        return place

    def _terms(self, slab: Slab) -> tuple[float, Any]:
        """What a slab adds to the loss, and the gradient of the whole with respect to it."""
        slab.runs()  # the gradients come into our array ...
        for p, _, grad in slab.views:
            if p.grad is None:
                grad[...] = 0  # ... where that of the last call would stay if there is none
        value, g = 0.0, slab.grad
        if self.weight_decay:
            value += self.weight_decay / 2 * dot(slab.data, slab.data)
            g = g + self.weight_decay * slab.data
        if slab.penalty is not None:
            value += float(slab.penalty.value(slab.data))
            g = g + slab.penalty.gradient(slab.data)
        return value, g

    def _fault(self, place: Place) -> str:
        if not math.isfinite(place.value):
            return f"the loss is {place.value}"
        for slab in self.slabs:
            if not all_finite(slab.grad):
                return "the gradient of {!r} has {}".format(*next(slab.nonfinite()))
        return ""


def as_number(loss: Any) -> float:
    """The loss as a float, from a number or from an array or tensor of one element."""
    try:
        if isinstance(loss, str):
            raise TypeError
        return float(loss.item() if hasattr(loss, "item") else loss)
    except (TypeError, ValueError, RuntimeError):
        what = f"shape {tuple(loss.shape)}" if hasattr(loss, "shape") else repr(loss)
        raise TypeError(f"the closure must answer the loss, one number, got {what}: end it with `return loss`") from None


# The optimizer --------------------------------------------------------------------------------------------------------

SETTINGS = ("max_iter", "max_eval", "tolerance_grad", "tolerance_change", "history_size", "line_search_fn")


class LBFGS(Optimizer):
    """Nocedal 1980; Liu & Nocedal 1989. Each iteration goes to the minimum of a quadratic model of the loss, or nearer:

        x <- x + t d,    d = -H g by `two_loop`,    t by `strong_wolfe`

    It asks for the loss several times in each step, so `step` takes a function that computes it:

        def closure():
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y)
            loss.backward()
            return loss

        optimizer.step(closure)

    The answer must depend on the parameters alone: all data in one batch, no dropout. On minibatches use Adam or SGD.

    lr: the length t to try first, or the one to take if there is no line search; at the very first iteration times
        min(1, 1 / sum |g|), since nothing is known yet.
    max_iter: iterations in one step(). They go on in the next: one step of 20 is 20 steps of one, tolerances aside.
    max_eval: calls of the closure in one step(). None is max_iter * 5 // 4 + 20, enough for a long search in a short step.
    tolerance_grad: a step ends where no |g| is larger.
    tolerance_change: a step ends after an iteration that changed no x, or not the loss, by more.
    history_size: how many pairs (s, y) are kept, each two vectors as long as x.
    line_search_fn: "strong_wolfe", or None: then t is lr, and the loss may rise.
    weight_decay: weight_decay/2 |x|^2 is part of what is minimised; so is the penalty, an L2 (with a filter, if you like).
        L1 is refused: its gradient jumps, and from a jump one learns no curvature. So are clip and projection.
    on_nonfinite: a trial whose loss or gradient is not finite was too far. If a search ends with one, or a step begins so,
        "raise" raises NonfiniteGradientError, and "skip" counts the step in `.skipped`. The parameters are then at the
        best point seen.

    `.evaluations` is the number of calls of the closure. If the slope promises a lower loss and there is none, the
    parameters stay, and a warning says so, once.

    Differs from PyTorch: the line search is the default, and has room also if max_iter is 1; tolerance_change is about
    changes that were made, not about those that are expected; the two gradients of a pair are of one step(), so that the
    next may have another closure.

    >>> from optimizers.landscapes import rosenbrock
    >>> from optimizers.trajectories import descend
    >>> descend(rosenbrock, LBFGS, steps=2).values.round(9).tolist()
    [24.2, 0.242951506, 0.0]
    """

    needs_closure = True  # what a loop for all optimizers can ask

    def __init__(
        self,
        params: Iterable,
        lr: float | Schedule = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = "strong_wolfe",
        *,
        weight_decay: float | Schedule = 0.0,
        penalty: ElasticNet | None = None,
        on_nonfinite: str = "raise",
        **others: Any,
    ):
        refuse(others)
        if on_nonfinite == "ignore":
            raise ValueError("on_nonfinite must be 'raise' or 'skip', got 'ignore': a line search cannot compare with nan")
        self.history: History = deque()
        self.evaluations = 0
        self._warned_stuck = False
        super().__init__(
            params,
            lr,
            max_iter=max_iter,
            max_eval=max_eval,
            tolerance_grad=tolerance_grad,
            tolerance_change=tolerance_change,
            history_size=history_size,
            line_search_fn=line_search_fn,
            weight_decay=weight_decay,
            penalty=penalty,
            on_nonfinite=on_nonfinite,
        )

    def hyperparameters(self) -> list[str]:
        return [key for key in super().hyperparameters() if key not in SETTINGS]

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        if self.param_groups:
            raise ValueError("LBFGS moves all parameters as one vector and has one group: pass one list of parameters")
        super().add_param_group(group)

    def _check_group(self, full: dict[str, Any]) -> None:
        super()._check_group(full)
        refuse({"projection": full["projection"]})
        check_settings(full)
        penalty = full["penalty"]
        if penalty is not None and (penalty.l1 or penalty.mode != "coupled"):
            raise ValueError(
                f"LBFGS: penalty must be L2(strength, mode='coupled'), a smooth part of the loss, got {penalty!r}; "
                "for L1 use an optimizer that can solve for it after the step, such as Adam"
            )
        refuse_frozen(full)
        kinds = sorted({f"{type(p.data).__name__} of {p.data.dtype}" for p in full["params"]})
        if len(kinds) > 1 or full["params"][0].data.dtype.itemsize < 4:
            raise TypeError(f"LBFGS moves all parameters as one vector of float32 or float64, got {' and '.join(kinds)}")

    # The step ---------------------------------------------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None) -> float:
        """Go down for up to max_iter iterations. Answers the closure's loss where they began, as a float.

        The gradients that are left in the parameters are those of the closure's last call.
        """
        if not callable(closure):
            raise TypeError(_NO_CLOSURE)
        group = self.param_groups[0]
        check_settings(group)
        refuse_frozen(group)
        hypers = [self._hyper(slab) for slab in self._slabs]  # of one group, so all the same
        limit = group["max_eval"] or group["max_iter"] * 5 // 4 + 20
        objective = Objective(self._slabs, closure, hypers[0]["weight_decay"], limit)
        end = None
        try:
            start = objective(objective.best.x)
            has_gradient = any(p.grad is not None for p in group["params"])
            end = self._descend(objective, start, hypers[0]["lr"])
            objective.stuck = objective.stuck and bool(objective.left or end is start)
        finally:  # also if the closure raised
            objective.put(objective.best.x if end is None or end.fault else end.x)
            self.evaluations += limit - objective.left
        self._count(objective, end, has_gradient)
        return start.loss

    def _descend(self, objective: Objective, here: Place, lr: float) -> Place:
        """The place after up to max_iter iterations; a faulty one if there was no other to go to."""
        group = self.param_groups[0]
        for _ in range(group["max_iter"] if lr else 0):
            if here.fault or not objective.left or largest(here.gradient) <= group["tolerance_grad"]:
                break
            there = self._next(objective, here, lr)
            if there is here or there.fault:
                return there
            s, change = there.x - here.x, abs(there.value - here.value)
            self._remember(s, there.gradient - here.gradient)
            here = there
            if largest(s) <= group["tolerance_change"] or change < group["tolerance_change"]:
                break
        return here

    def _next(self, objective: Objective, here: Place, lr: float) -> Place:
        """The place after one iteration, or `here` itself if no lower one was found."""
        d = -two_loop(self.history, here.gradient)
        if not dot(here.gradient, d) < 0:  # rounding, or an overflow
            self.history.clear()
            d = -here.gradient
        t = lr if self.history else lr * min(1.0, 1.0 / float(np.abs(d).sum()))
        if self.param_groups[0]["line_search_fn"] is None:
            return objective(here.x + t * d)

        def trial(t: float, place: Place) -> Trial:
            return Trial(t, place.value, dot(place.gradient, d), ROUNDING * unit(d) * abs(place.value), place)

        start = trial(0.0, here)
        end = strong_wolfe(lambda t: trial(t, objective(here.x + t * d)), start, t, min(SEARCH, objective.left))
        if end.value < start.value or (end is not start and flat_enough(end, start)):
            return end.place
        if -start.slope * t <= start.error:  # a lower value could not be told from this one
            return here
        if self.history and objective.left:  # along the gradient there must be one, whatever the history says
            self.history.clear()
            return self._next(objective, here, lr)
        objective.stuck = True
        return objective.last if objective.last.fault else here

    def _remember(self, s: Any, y: Any) -> None:
        """Keep a pair if the slope rose along it, s . y > 0, without which -H g need not lead down (6.7)."""
        sy, longest = dot(s, y), math.sqrt(dot(s, s)) * math.sqrt(dot(y, y))
        if sy > unit(s) * longest > 0:
            self.history.append((s, y, 1 / sy))
        while len(self.history) > self.param_groups[0]["history_size"]:
            self.history.popleft()

    def _count(self, objective: Objective, end: Place, has_gradient: bool) -> None:
        """Count the step, or say why there was none."""
        if end.fault and self.on_nonfinite == "raise":
            back = "the parameters are at the best point seen" if objective.best.loss < math.inf else "nothing was changed"
            raise NonfiniteGradientError(
                f"{end.fault} at step {self.steps + 1}; {back}. Look for inf or nan in the data, lower lr, or pass "
                "on_nonfinite='skip' to leave such steps out"
            )
        if end.fault:
            self.skipped += 1
        elif not has_gradient:
            self._warn_no_gradient()
        else:
            for slab in self._slabs:
                slab.count(slab.runs())
            self.steps += 1
            if objective.stuck and not self._warned_stuck:
                self._warned_stuck = True
                warnings.warn(_STUCK, stacklevel=3)

    # States -----------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """As of every optimizer; the state has s_0, y_0 (the oldest pair), s_1, y_1 ... as far as the history goes."""
        saved = super().state_dict()
        saved["hyper"][0].update((key, self.param_groups[0][key]) for key in SETTINGS)
        return {**saved, "evaluations": self.evaluations}

    def _state_views(self) -> Iterator[tuple[str, str, Any]]:
        for i, pair in enumerate(self.history):
            for key, vector in zip("sy", pair[:2], strict=True):
                for slab, part in shares(self._slabs, vector):
                    for name, view in slab.views_of(part):
                        yield f"{key}_{i}", name, view

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        before = self.history
        x = np.concatenate([slab.data for slab in self._slabs])
        count = sum(key.startswith("s_") for key in saved["state"])
        self.history = deque((np.zeros_like(x), np.zeros_like(x), 0.0) for _ in range(count))
        try:
            super().load_state_dict(saved)
        except Exception:
            self.history = before
            raise
        loaded, self.history = self.history, deque()
        for s, y, _ in loaded:
            self._remember(s, y)
        self.evaluations = int(saved["evaluations"])


# Arguments ------------------------------------------------------------------------------------------------------------

_NO_CLOSURE = """LBFGS needs the loss several times in each step: write what computes it as a function, and pass that:
    def closure():
        optimizer.zero_grad(); loss = loss_of(model(x), y); loss.backward(); return loss
    optimizer.step(closure)"""

_STUCK = (
    "LBFGS found no lower loss although the gradient promises one, so the parameters stay. Does the gradient belong to the "
    "loss (its sign)? Does the closure answer the same loss every time (one batch, no dropout)? Has the loss a kink or a "
    "jump here? Is max_eval too small for a line search?"
)

REFUSED = {
    "clip": "a clipped gradient is not that of the loss, so the line search would look for a minimum that is not there",
    "projection": "a projection would move the parameters off the line on which a minimum was found",
}


def refuse(given: Mapping[str, Any]) -> None:
    """Raise if there is one among these arguments that LBFGS does not take."""
    for name, value in given.items():
        if name not in REFUSED:
            known = sorted(("lr", "weight_decay", *SETTINGS))
            raise TypeError(f"LBFGS has no hyperparameter {name!r}; it has {known}{did_you_mean(name, known)}")
        if value is not None:
            raise ValueError(f"LBFGS takes no {name}: {REFUSED[name]}. Use SGD or Adam with it, or leave it out")


def refuse_frozen(group: Mapping[str, Any]) -> None:
    """Raise if a parameter is frozen: what is known of the curvature, and weight_decay, would move it all the same."""
    for name, p in zip(group["names"], group["params"], strict=True):
        if getattr(p, "requires_grad", True) is False:
            raise ValueError(
                f"LBFGS moves all parameters as one vector, and {name!r} is frozen (requires_grad is False): leave it out "
                "when LBFGS is made"
            )


def check_settings(group: dict[str, Any]) -> None:
    """Raise if a setting is not what it must be, and make them plain numbers."""
    for key in ("max_iter", "max_eval", "history_size"):
        if group[key] is not None or key != "max_eval":
            group[key] = checked(f"LBFGS: {key}", group[key], "Whole")
    if group["max_eval"] == 1:
        raise ValueError("LBFGS: max_eval must be at least 2, since the first call only says where a step begins, got 1")
    for key in ("tolerance_grad", "tolerance_change"):
        group[key] = checked(f"LBFGS: {key}", group[key], "NonNegative")
    if group["line_search_fn"] not in ("strong_wolfe", None):
        raise ValueError(f"LBFGS: line_search_fn must be 'strong_wolfe' or None, got {group['line_search_fn']!r}")
