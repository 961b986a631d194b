"""What all optimizers share; a rule (sgd.py, adam.py) is then as short as in its paper.

The parameters of a group move into one contiguous array, and so do their gradients and every state of the rule; each
parameter's `.data` and `.grad` become views of it. `step()` walks these arrays in slices of 32,768 elements, small enough
that the paper's formula, temporaries and all, stays in the processor's cache.

A parameter is any object with `.data` and `.grad` (arrays; a gradient of None is skipped). If it has a `grad_buffer`, the
engine is told there where to write the gradient, and nothing needs to be gathered.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from numbers import Real
from typing import Any

import numpy as np

from optimizers.penalties import ElasticNet
from optimizers.schedules import Schedule

SLICE = 32_768  # elements: 128 KB of float32, so that a rule's handful of arrays fits a level-2 cache

# Where each hyperparameter must lie; a square bracket is an end that it may be itself.
RANGES = {
    "lr": ("[", 0, math.inf, ")"),
    "momentum": ("[", 0, 1, ")"),
    "dampening": ("[", 0, 1, "]"),
    "weight_decay": ("[", 0, math.inf, ")"),
    "betas": ("[", 0, 1, ")"),
    "eps": ("(", 0, math.inf, ")"),  # with eps = 0, a gradient that is always 0 would make its parameter 0/0
}


class NonfiniteGradientError(FloatingPointError):
    """A gradient has a nan or an infinity; the message names the parameter."""


class Optimizer:
    """Base class. A new optimizer is one method and the names of its state:

        class Momentum(Optimizer):
            state = ("velocity",)

            def rule(self, p, g, velocity, *, t, lr, momentum):
                velocity *= momentum
                velocity += g
                return velocity, lr

        optimizer = Momentum(model.named_parameters(), lr=0.1, momentum=0.9)

    `rule` gets slices of the parameters p, the gradient g and each state (zero at the start; it may change them in
    place), the number t of this update (1 at the first) and the hyperparameters; it answers (direction, step), and the
    base class does `p -= step * direction` and then the proximal step of the penalty with the same `step` (times `gain`,
    which an optimizer defines whose direction sums gradients up, as SGD's velocity does).
    """

    state: tuple[str, ...] = ()
    decay = "coupled"  # how weight_decay acts: added to the gradient, or ("decoupled") beside the step

    def __init__(self, params: Iterable, *, penalty: ElasticNet | None = None, on_nonfinite: str = "raise", **hyper: Any):
        if on_nonfinite not in ("raise", "skip", "ignore"):
            raise ValueError(f"on_nonfinite must be 'raise', 'skip' or 'ignore', got {on_nonfinite!r}")
        known = hyper_names(self.rule)
        unknown = sorted(hyper.keys() - known) if known else []
        if unknown:
            raise TypeError(f"{type(self).__name__} has no hyperparameter {unknown[0]!r}; it has {sorted(known)}")
        missing = sorted(required_names(self.rule) - hyper.keys())
        if missing:
            raise TypeError(f"{type(self).__name__} needs {missing[0]!r}: {type(self).__name__}(params, {missing[0]}=...)")
        self.defaults = {**hyper, "penalty": penalty}
        self.on_nonfinite = on_nonfinite
        self.steps = 0  # steps taken: what schedules are a function of
        self.skipped = 0  # steps not taken because of a non-finite gradient (on_nonfinite="skip")
        self.param_groups: list[dict[str, Any]] = []
        self._slabs: list[Slab] = []
        self._warned = False
        for group in as_groups(params):
            self.add_param_group(group)

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters with hyperparameters of their own: {"params": [...], "lr": 1e-4}."""
        unknown = sorted(group.keys() - self.defaults.keys() - {"params"})
        if unknown:
            raise TypeError(
                f"{type(self).__name__} has no hyperparameter {unknown[0]!r}; a group may set {sorted(self.defaults)}"
            )
        if "params" not in group:
            raise TypeError(f'a group needs its parameters: {{"params": [...], "lr": 1e-4}}, got only {sorted(group)}')
        named = named_parameters(group["params"], start=sum(len(g["params"]) for g in self.param_groups))
        taken = {id(p): name for g in self.param_groups for name, p in zip(g["names"], g["params"], strict=True)}
        for name, p in named:
            if id(p) in taken:
                raise ValueError(f"parameter {name!r} is already in another group, as {taken[id(p)]!r}")
            if name in taken.values():
                raise ValueError(
                    f"two groups have a parameter named {name!r}: pass (name, parameter) pairs with other names"
                )
        full = {**self.defaults, **group, "params": [p for _, p in named], "names": [name for name, _ in named]}
        penalty, decay = full["penalty"], full.get("weight_decay")
        if penalty is not None and not isinstance(penalty, ElasticNet):
            raise TypeError(f"penalty must be L1, L2 or ElasticNet, got {penalty!r}")
        for key in self.hyperparameters():
            pair = isinstance(self.defaults[key], tuple)
            if pair and not (isinstance(full[key], tuple | list) and len(full[key]) == len(self.defaults[key])):
                raise TypeError(f"{key} must be a tuple like {self.defaults[key]}, got {full[key]!r}")
            resolved(key, full[key], self.steps)
        if decay and penalty is not None and penalty.l2:
            raise ValueError(
                f"weight_decay={decay!r} and an L2 penalty are the same thing and would count twice: leave out the penalty "
                "or pass weight_decay=0"
            )
        state = self.state_for(full)
        self.param_groups.append(full)
        for members in _alike(named):
            self._slabs.append(Slab(full, members, state))

    def state_for(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        """The names of the states that the rule needs with a group's hyperparameters."""
        return self.state

    def hyperparameters(self) -> list[str]:
        """The names of the numbers that a group may set."""
        return [key for key in self.defaults if key != "penalty"]

    # The step ---------------------------------------------------------------------------------------------------------

    def rule(self, p: Any, g: Any, *state: Any, t: int, **hyper: Any) -> tuple[Any, Any]:
        raise TypeError(f"{type(self).__name__} has no rule(p, g, *state, t, ...): write how it moves")

    def gain(self, **hyper: Any) -> float:
        """How many times a steady gradient is in the direction: so much must a proximal penalty pull, to balance it."""
        return 1.0

    def zero_grad(self) -> None:
        """Forget the gradients: call it before every backward()."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def step(self) -> None:
        """Move every parameter that has a gradient."""
        # What can be wrong is looked at before the first parameter moves: a step is taken whole or not at all.
        work = [(slab, slab.runs()) for slab in self._slabs]
        hypers = [self._hyper(slab) for slab in self._slabs]
        if not any(runs for _, runs in work):
            self._warn_no_gradient()
            return
        if self.on_nonfinite != "ignore" and self._nonfinite(work):
            self.skipped += 1
            return
        for (slab, runs), hyper in zip(work, hypers, strict=True):
            for start, stop, t in runs:
                for a in range(start, stop, SLICE):
                    self._update(slab, slice(a, min(a + SLICE, stop)), t, **hyper)
            slab.count(runs)
            for p in slab.versioned:
                p.version += 1  # a graph that still needs the old values can then say so
        self.steps += 1

    def _hyper(self, slab: Slab) -> dict[str, Any]:
        """The hyperparameters of this step; looked at again only if the group was changed, or has a schedule."""
        given = {key: slab.group[key] for key in self.hyperparameters()}
        if given == slab.given:
            return slab.hyper
        missing = set(self.state_for(slab.group)) - slab.state.keys()
        if missing:
            raise ValueError(
                f"the hyperparameters of {slab.names[0]!r} were changed and now need a {min(missing)}, which it has not: "
                "set them when the optimizer is made (a schedule may begin with 0)"
            )
        slab.given = None if any(map(scheduled, given.values())) else given
        slab.hyper = {key: resolved(key, value, self.steps) for key, value in given.items()}
        return slab.hyper

    def _update(self, slab: Slab, part: slice, t: int, weight_decay: float = 0.0, **hyper: Any) -> None:
        p, g = slab.data[..., part], slab.grad[..., part]
        penalty, lr = slab.group["penalty"], hyper["lr"]
        if weight_decay:
            if self.decay == "coupled":
                g = g + weight_decay * p
            else:
                p *= 1 - lr * weight_decay
        if penalty is not None and penalty.mode == "coupled":
            g = g + penalty.gradient(p)
        if penalty is not None and penalty.mode == "decoupled":
            p -= lr * penalty.gradient(p)
        direction, step = self.rule(p, g, *(s[..., part] for s in slab.state.values()), t=t, **hyper)
        p -= step * direction
        if penalty is not None and penalty.mode == "proximal":
            p[...] = penalty.prox(p, step * self.gain(**hyper))

    def _nonfinite(self, work: list) -> bool:
        """True if a step must be skipped; raises if it must not."""
        if all(all_finite(slab.grad[a:b]) for slab, runs in work for a, b, _ in runs):
            return False
        if self.on_nonfinite == "raise":
            name, value = next(bad for slab, _ in work for bad in slab.nonfinite())
            raise NonfiniteGradientError(
                f"the gradient of {name!r} has a {value} at step {self.steps + 1}; nothing was changed. Lower the learning "
                "rate, look for inf or nan in the data, or pass on_nonfinite='skip' to leave such steps out"
            )
        return True

    def _warn_no_gradient(self) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                "step(): no parameter has a gradient, so nothing moved. Was backward() called, after zero_grad()?",
                stacklevel=3,
            )

    # Reading and setting ----------------------------------------------------------------------------------------------

    @property
    def lr(self) -> float:
        """The learning rate that the next step will use (of the first group)."""
        return resolved("lr", self.param_groups[0]["lr"], self.steps)

    @lr.setter
    def lr(self, value: float | Schedule) -> None:
        resolved("lr", value, self.steps)
        for group in self.param_groups:
            group["lr"] = value

    def penalty_value(self) -> float:
        """The sum of the penalties (weight_decay as L2), for logs: the loss does not contain it."""
        total = 0.0
        for slab in self._slabs:
            decay = resolved("weight_decay", slab.group.get("weight_decay", 0), self.steps)
            for penalty in (slab.group["penalty"], ElasticNet(0, decay) if decay else None):
                total += float(penalty.value(slab.data)) if penalty is not None else 0.0
        return total

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on: copies of the state by parameter name, counters, and plain hyperparameters."""
        state: dict[str, dict[str, Any]] = {}
        for key, name, view in self._state_views():
            state.setdefault(key, {})[name] = view.copy()
        return {
            "optimizer": type(self).__name__,
            "steps": self.steps,
            "updates": {name: n for slab in self._slabs for name, n in zip(slab.names, slab.updates, strict=True)},
            "hyper": [
                {k: resolved(k, g[k], self.steps) for k in self.hyperparameters() if not scheduled(g[k])}
                for g in self.param_groups
            ],
            "state": state,
        }

    def _state_views(self) -> Iterator[tuple[str, str, Any]]:
        """(state, parameter's name, view) of everything that the rule remembers."""
        for slab in self._slabs:
            for key, array in slab.state.items():
                for name, view in slab.views_of(array):
                    yield key, name, view

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from a state_dict, matched by parameter name; schedules stay those given to the constructor."""
        if saved["optimizer"] != type(self).__name__:
            raise ValueError(f"the state is of {saved['optimizer']}, this optimizer is {type(self).__name__}")
        names = {name for slab in self._slabs for name in slab.names}
        if names != set(saved["updates"]):
            different = sorted(names ^ set(saved["updates"]))
            raise ValueError(f"the state is of other parameters: {different} are only in one of the two")
        if len(saved["hyper"]) != len(self.param_groups):
            raise ValueError(f"the state has {len(saved['hyper'])} groups, this optimizer has {len(self.param_groups)}")
        views = {(key, name): view for key, name, view in self._state_views()}
        values = {(key, name): value for key, of in saved["state"].items() for name, value in of.items()}
        for key, name in sorted(views.keys() ^ values.keys()):
            without = "the state" if (key, name) in views else "this optimizer"
            raise ValueError(
                f"{without} has no {key} of {name!r}: the hyperparameters it was made with ask for another state"
            )
        for (key, name), view in views.items():
            shape = values[key, name].shape
            if view.shape != shape:
                raise ValueError(f"{key} of {name!r}: this optimizer has shape {view.shape}, the state {shape}")
        for which, view in views.items():
            view[...] = values[which]
        for slab in self._slabs:
            slab.updates = [int(saved["updates"][name]) for name in slab.names]
        for group, hyper in zip(self.param_groups, saved["hyper"], strict=True):
            group.update((k, v) for k, v in hyper.items() if not scheduled(group[k]))
        self.steps = int(saved["steps"])

    def __repr__(self) -> str:
        hyper = ", ".join(f"{k}={v!r}" for k, v in self.param_groups[0].items() if k in self.defaults and v is not None)
        return f"{type(self).__name__}({hyper})"


class Slab:
    """Parameters of one group, dtype and device, side by side in one array per quantity (data, grad, each state)."""

    def __init__(self, group: dict[str, Any], members: list[tuple[str, Any]], state: tuple[str, ...]):
        self.group = group
        self.names = [name for name, _ in members]
        self.params = [p for _, p in members]
        self.data = np.concatenate([p.data.ravel() for p in self.params])
        self.grad = np.zeros_like(self.data)
        self.state = {key: np.zeros_like(self.data) for key in state}
        self.updates = [0] * len(self.params)
        ends = np.cumsum([p.data.size for p in self.params]).tolist()
        self.spans = list(zip([0, *ends[:-1]], ends, strict=True))
        self.shapes = [p.data.shape for p in self.params]
        self.given: dict[str, Any] | None = None
        self.hyper: dict[str, Any] = {}
        self._bind()

    def _bind(self) -> None:
        """Make every parameter's data our view."""
        self.views = [
            (p, data, grad)
            for p, (_, data), (_, grad) in zip(self.params, self.views_of(self.data), self.views_of(self.grad), strict=True)
        ]
        self.versioned = [p for p in self.params if hasattr(p, "version")]
        for p, data, grad in self.views:
            p.data = data
            if hasattr(p, "grad_buffer"):
                p.grad_buffer = grad

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        # A copy (deepcopy, pickle) of a view is an array of its own, and steps would no longer reach the parameters.
        self.__dict__.update(attributes)
        for p, (_, data) in zip(self.params, self.views_of(self.data), strict=True):
            data[...] = p.data
        self._bind()

    def views_of(self, array: Any) -> Iterator[tuple[str, Any]]:
        """Each parameter's name and its part of a flat array, in the parameter's shape."""
        for name, (a, b), shape in zip(self.names, self.spans, self.shapes, strict=True):
            yield name, array[a:b].reshape(shape)

    def runs(self) -> list[tuple[int, int, int]]:
        """The stretches (start, stop, t) whose parameters have a gradient and make their t-th update now."""
        runs: list[tuple[int, int, int]] = []
        for i, (p, data, grad) in enumerate(self.views):
            if p.data is not data:
                self._take_back(i, p, data)
            if p.grad is None:
                continue
            if p.grad is not grad:
                self._gather(i, p, grad)
            (a, b), t = self.spans[i], self.updates[i] + 1
            if runs and runs[-1][1] == a and runs[-1][2] == t:
                runs[-1] = (runs[-1][0], b, t)
            else:
                runs.append((a, b, t))
        return runs

    def count(self, runs: list[tuple[int, int, int]]) -> None:
        """Note the updates made."""
        if len(runs) == 1 and runs[0][:2] == (0, self.data.size):
            self.updates = [n + 1 for n in self.updates]
        else:
            self.updates = [
                n + any(a <= span[0] and span[1] <= b for a, b, _ in runs)
                for n, span in zip(self.updates, self.spans, strict=True)
            ]

    def nonfinite(self) -> Iterator[tuple[str, str]]:
        """The name of every parameter whose gradient is not finite, and what is in it."""
        for name, (p, _, grad) in zip(self.names, self.views, strict=True):
            if p.grad is not None and not np.isfinite(grad).all():
                yield name, "nan" if bool(np.isnan(grad).any()) else "infinity"

    def _take_back(self, i: int, p: Any, data: Any) -> None:
        """The user gave p.data a new array: its values move into ours, and p.data is our view again."""
        kind = np.ndarray if isinstance(p.data, np.generic) else type(p.data)  # 2 * a 0-d array is a NumPy scalar
        for what, before, now in (("shape", data.shape, p.data.shape), ("kind of array", type(data), kind)):
            if before != now:
                raise ValueError(
                    f"parameter {self.names[i]!r} changed its {what} from {before} to {now} after the optimizer was made: "
                    "make the optimizer afterwards"
                )
        data[...] = p.data
        p.data = data

    def _gather(self, i: int, p: Any, grad: Any) -> None:
        if p.grad.shape != grad.shape:
            raise ValueError(f"the gradient of {self.names[i]!r} has shape {p.grad.shape}, the parameter {grad.shape}")
        grad[...] = p.grad


# Arguments ------------------------------------------------------------------------------------------------------------


def resolved(key: str, value: Any, k: int) -> Any:
    """The hyperparameter after k steps (schedules are called), checked."""
    if callable(value):
        value = value(k)
    if isinstance(value, tuple | list):
        return tuple(resolved(key, v, k) for v in value)
    if isinstance(value, bool) and key not in RANGES:
        return value
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{key} must be a number or a schedule, got {value!r}")
    x = float(value)
    opening, least, most, closing = RANGES.get(key, ("(", -math.inf, math.inf, ")"))
    if not (least < x < most or (opening == "[" and x == least) or (closing == "]" and x == most)):
        raise ValueError(f"{key} must lie in {opening}{least}, {most}{closing}, got {value!r}")
    return x  # not a NumPy float64, which would turn float32 arithmetic into float64


def all_finite(g: Any) -> bool:
    """Whether a gradient has neither nan nor infinity: both survive a sum of squares, which is quick; only if that
    overflows need we look at every element.
    """
    return bool(np.isfinite(np.vdot(g, g))) or bool(np.isfinite(g).all())


def scheduled(value: Any) -> bool:
    """Whether the hyperparameter (or a member of a pair of them) is a function of the step, and not plain data."""
    return any(callable(v) for v in value) if isinstance(value, tuple | list) else callable(value)


def hyper_names(rule: Any) -> set[str]:
    """The hyperparameters that a rule takes by keyword only, and weight_decay; empty if it takes any (**hyper)."""
    taken = inspect.signature(rule).parameters.values()
    names = {p.name for p in taken if p.kind is p.KEYWORD_ONLY}
    if not names or any(p.kind is p.VAR_KEYWORD for p in taken):
        return set()
    return names - {"t"} | {"weight_decay"}


def required_names(rule: Any) -> set[str]:
    """The hyperparameters without which a rule cannot be called (and lr, which the base class needs)."""
    taken = inspect.signature(rule).parameters.values()
    return {p.name for p in taken if p.kind is p.KEYWORD_ONLY and p.default is p.empty} - {"t"}


def as_groups(params: Any) -> list[dict[str, Any]]:
    """The groups in what was passed as parameters."""
    single = isinstance(params, np.ndarray) or hasattr(params, "grad")
    if single or isinstance(params, set | str | Mapping) or not isinstance(params, Iterable):
        raise TypeError(
            f"parameters must be a list of tensors (or of (name, tensor) pairs, or of groups), "
            f"got {type(params).__name__}: pass model.parameters()"
        )
    params = list(params)
    if not params:
        raise ValueError("there are no parameters to optimize (was a generator used up, or does the model have none?)")
    return params if all(isinstance(p, Mapping) for p in params) else [{"params": params}]


def named_parameters(params: Any, start: int = 0) -> list[tuple[str, Any]]:
    """(name, parameter) pairs, checked; unnamed ones are called by their position."""
    named: list[tuple[str, Any]] = []
    for i, item in enumerate([params] if hasattr(params, "grad") else params):
        name, p = item if isinstance(item, tuple) else (getattr(item, "name", None) or f"parameter {start + i}", item)
        if not (hasattr(p, "data") and hasattr(p, "grad")):
            raise TypeError(f"{name}: a parameter needs .data and .grad, got {type(p).__name__}")
        if p.data.dtype.kind != "f":
            raise TypeError(f"{name}: only floating-point parameters can be optimized, got dtype {p.data.dtype}")
        if getattr(p, "requires_grad", True) is False:
            raise TypeError(f"{name} does not require a gradient, so it can never move")
        if any(p is other for _, other in named):
            raise ValueError(f"{name} is given twice and would move twice")
        named.append((name, p))
    if not named:
        raise ValueError("a group has no parameters")
    if len({name for name, _ in named}) < len(named):
        raise ValueError(f"two parameters have the same name: {sorted(name for name, _ in named)}")
    return named


def _alike(named: list[tuple[str, Any]]) -> Iterable[list[tuple[str, Any]]]:
    """The parameters, split by kind of array and dtype, since a slab has one of each."""
    kinds: dict[Any, list[tuple[str, Any]]] = {}
    for name, p in named:
        kinds.setdefault((type(p.data), p.data.dtype), []).append((name, p))
    return kinds.values()
