"""What all optimizers share; a rule (sgd.py, adam.py, adaptive.py ...) is then as short as in its paper.

The parameters of a group move into one contiguous array, and so do their gradients and every state of the rule; each
parameter's `.data` and `.grad` become views of it. `step()` walks these arrays in slices of 128 KB, small enough that
the paper's formula, temporaries and all, stays in the processor's cache.

A parameter is any object with `.data` and `.grad` (arrays; a gradient of None is skipped). If it has a `grad_buffer`, the
engine is told there where to write the gradient, and nothing needs to be gathered. So `.grad` is the same memory in every
step: to keep a gradient, keep a copy, `grads.append(p.grad.copy())`.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import numpy as np

from optimizers.hyper import (
    NOT_GIVEN,
    as_groups,
    check_eps,
    check_form,
    check_rule,
    did_you_mean,
    hyper_defaults,
    named_parameters,
    resolved,
    scheduled,
    signature_of,
)
from optimizers.nonfinite import Looks, may_move, on_device, raise_if_seen
from optimizers.penalties import ElasticNet, Selective
from optimizers.replicas import PerReplica, as_plain, from_plain, kept_apart, replicas_of
from optimizers.schedules import Schedule
from optimizers.slab import Part, Slab, alike

# For each slab: the stretches (start, stop, t) to walk, and the hyperparameters.
Work = list[tuple[Slab, list[tuple[int, int, int]], dict[str, Any]]]

# While a step is being captured, to be replayed: what writes down the arithmetic that it does. See `Optimizer.move`.
tracing: ContextVar[Any] = ContextVar("tracing", default=None)


class Optimizer:
    """Base class. A new optimizer is one method and the names of its state:

        class Momentum(Optimizer):
            state = ("velocity",)

            def rule(self, p, g, velocity, *, t, lr=0.01, momentum=0.9):
                velocity *= momentum
                velocity += g
                return velocity, lr

        optimizer = Momentum(model.named_parameters(), lr=0.1)

    `rule` gets one parameter p at a time, in its own shape, its gradient g and each state (zero at the start), and by name,
    after a `*`, the number t of this update (1 at the first) and the hyperparameters. It answers (direction, step), and the
    base class does `p -= step * direction`. The hyperparameters, their order and their defaults are those of `rule`.

    A state is changed in place, `v *= b; v += g`: `v = b * v + g` is another array, which is forgotten after the step.

    A rule that treats each element by itself, as this one does, may say so: with `whole = False` in the class it gets
    slices of all parameters joined, which is faster. A rule that takes a norm or a mean, or looks at a shape, must not.

    What every optimizer takes beside its own hyperparameters, in the order in which a step uses it:

    - on_nonfinite: what a nan or an infinity in a gradient does: "raise" (NonfiniteGradientError, nothing is changed),
      "skip" (the step is left out and counted in `.skipped`) or "ignore". On a GPU "raise" comes up to 100 steps late,
      when such steps have been taken (nonfinite.py), and "skip" waits for the device in every step.
    - clip: a rule of clipping.py for the gradients, such as ClipNorm(1.0); `.grad_norm` is then the norm before.
    - weight_decay: added to the gradient (`decay = "coupled"`: an L2 penalty), or taken off beside the step, times lr.
    - penalty: L1, L2 or ElasticNet. A proximal one is solved exactly after the step, with the step of each element (times
      `gain`, which an optimizer defines whose direction sums gradients up, as SGD's velocity does).
    - projection: MaxNorm, NonNegative or Box, applied last.

    Any number may be a schedule, a function of the steps taken. `params` are parameters, (name, parameter) pairs, or groups
    `{"params": ..., "lr": ...}` with hyperparameters of their own. Those that are frozen (`requires_grad` is False) have no
    gradient and stay where they are, without decay, until they are thawed.

    Any number may also be an array [R], as in `lr=np.array([0.1, 0.01])`, or a schedule of arrays. The first axis of every
    parameter then counts R nets (`MLP(sizes, replicas=R)`), and each of them moves as it would alone: with its own number,
    its own norm to clip, its own faults. on_nonfinite="raise" names the replica; "freeze" lets it stay where it is from
    then on (`.frozen` [R] says which did), and no bit of the others depends on it. A rule of your own that takes a norm
    must then take one for each net, along all axes but the first.
    """

    state: tuple[str, ...] = ()
    decay = "coupled"  # how weight_decay acts: added to the gradient, "decoupled" beside the step, or by the "rule" itself
    weight_decay = 0.0  # its default
    whole = True  # False: slices of all parameters joined will do, as the rule treats each element by itself
    metric = True  # whether `step` measures the elements (a proximal penalty needs that)

    def __init_subclass__(cls) -> None:
        if "rule" in vars(cls) and "whole" not in vars(cls):
            cls.whole = True  # it may build on a rule for slices, and take a norm
        if cls.__init__ is Optimizer.__init__:
            cls.__signature__ = signature_of(cls)  # type: ignore[attr-defined]

    def __init__(
        self,
        params: Iterable,
        lr: float | Schedule = NOT_GIVEN,  # type: ignore[assignment]
        *,
        penalty: ElasticNet | None = None,
        projection: Selective | None = None,
        clip: Callable | None = None,
        on_nonfinite: str = "raise",
        **hyper: Any,
    ):
        if clip is not None and not callable(clip):
            raise TypeError(f"clip must be a rule such as ClipNorm(1.0), got {clip!r}")
        if lr is not NOT_GIVEN:
            hyper["lr"] = lr
        check_rule(type(self).__name__, self.rule, self.state, type(self).state_for is not Optimizer.state_for)
        self.defaults = {**hyper_defaults(type(self), hyper), "penalty": penalty, "projection": projection}
        groups = as_groups(params)
        self.replicas = replicas_of([self.defaults, *groups])  # how many nets; None is one, without an axis to count it
        if self.replicas is not None and getattr(self, "needs_closure", False):
            raise ValueError(
                f"{type(self).__name__} takes one step for all that it moves, so replicas cannot have rates of their own: "
                "train them one after the other"
            )
        self.frozen = np.zeros(self.replicas or 0, bool)  # the replicas that no longer move (on_nonfinite="freeze")
        known = ("raise", "skip", "ignore") if self.replicas is None else ("raise", "freeze", "ignore")
        if on_nonfinite not in known:
            which = "" if self.replicas is None else " where there are replicas"
            what = f"{known[0]!r}, {known[1]!r} or {known[2]!r}{which}"
            raise ValueError(f"on_nonfinite must be {what}, got {on_nonfinite!r}")
        if self.replicas is not None and getattr(clip, "replicas", None) is False:
            clip = replace(clip, replicas=True)  # type: ignore[type-var]
        self.clip = clip
        self.grad_norm: Any = None  # what `clip` answered at the last step
        self.on_nonfinite = on_nonfinite
        self.steps = 0  # steps taken: what schedules are a function of
        self.skipped = 0  # steps not taken because of a non-finite gradient (on_nonfinite="skip")
        self.param_groups: list[dict[str, Any]] = []
        self._slabs: list[Slab] = []
        self._warned = False
        self._looks = Looks()  # of gradients on a GPU, whether they are finite
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters with hyperparameters of their own: {"params": [...], "lr": 1e-4}."""
        unknown = sorted(group.keys() - self.defaults.keys() - {"params"})
        if unknown:
            raise TypeError(
                f"{type(self).__name__} has no hyperparameter {unknown[0]!r}; a group may set {sorted(self.defaults)}"
                f"{did_you_mean(unknown[0], self.defaults)}"
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
                    f"two groups have a parameter named {name!r}: pass (name, parameter) pairs with other names, or "
                    "layer.parameters(), which are numbered"
                )
        full = {**self.defaults, **group, "params": [p for _, p in named], "names": [name for name, _ in named]}
        self._check_group(full)
        state = self.state_for(full)
        self.param_groups.append(full)
        for members in alike(named, self.replicas, full["penalty"], full["projection"]):
            self._slabs.append(Slab(full, members, state, self.replicas))

    def _check_group(self, full: dict[str, Any]) -> None:
        """Raise if a hyperparameter of a group is not what it must be."""
        self._check_replicas(full)
        penalty, projection = full["penalty"], full["projection"]
        if penalty is not None and not isinstance(penalty, ElasticNet):
            raise TypeError(f"penalty must be L1, L2 or ElasticNet, got {penalty!r}")
        if projection is not None and not (isinstance(projection, Selective) and callable(projection)):
            raise TypeError(f"projection must be MaxNorm, NonNegative or Box, got {projection!r}")
        if penalty is not None and penalty.mode == "proximal" and not self.metric:
            raise ValueError(
                f"{type(self).__name__} does not weigh a gradient by its size, so a proximal penalty has no solution to "
                'move to: pass mode="coupled" or "decoupled"'
            )
        numbers = self._numbers(full)
        for name, p in zip(full["names"], full["params"], strict=True):
            check_eps(numbers.get("eps"), name, p.data.dtype)

    def _check_replicas(self, full: dict[str, Any]) -> None:
        """Raise if the first axis of a parameter does not count the replicas."""
        for name, p in zip(full["names"], full["params"], strict=True):
            if self.replicas is not None and p.data.shape[:1] != (self.replicas,):
                raise ValueError(
                    f"there are hyperparameters of {self.replicas} replicas, and {name!r} has shape {p.data.shape}: its "
                    f"first axis must count them, as in MLP(sizes, replicas={self.replicas})"
                )

    def _numbers(self, group: dict[str, Any]) -> dict[str, Any]:
        """The hyperparameters of a group for the next step. Raises if one is not what it must be."""
        numbers = {}
        for key in self.hyperparameters():
            if group[key] is not self.defaults[key]:  # which was checked
                check_form(key, group[key], self.defaults[key])
            numbers[key] = number = resolved(key, group[key], self.steps)
            if type(number) is not float:
                group[key] = kept_apart(key, group[key], number, self.replicas)
        penalty, decay = group["penalty"], group.get("weight_decay")
        if decay and penalty is not None and penalty.l2:
            raise ValueError(
                f"weight_decay={decay!r} and an L2 penalty are the same thing and would count twice: leave out the penalty "
                "or pass weight_decay=0"
            )
        return numbers

    def state_for(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        """The names of the states that the rule needs with a group's hyperparameters."""
        return self.state

    def hyperparameters(self) -> list[str]:
        """The names of the numbers that a group may set."""
        return [key for key in self.defaults if key not in ("penalty", "projection")]

    # The step ---------------------------------------------------------------------------------------------------------

    def rule(self, p: Any, g: Any, *state: Any, t: int, **hyper: Any) -> tuple[Any, Any]:
        raise TypeError(f"{type(self).__name__} has no rule(p, g, *state, t, ...): write how it moves")

    def gain(self, *, t: int, **hyper: Any) -> float:
        """How many times a steady gradient is in the direction: so much must a proximal penalty pull, to balance it."""
        return 1.0

    def zero_grad(self) -> None:
        """Forget the gradients: call it before every backward(), which writes the next ones into the same memory."""
        tracer = tracing.get()
        for group in self.param_groups:
            for p in group["params"]:
                if tracer is not None:
                    tracer.cleared(p)
                p.grad = None

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every parameter that has a gradient. A closure, as LBFGS needs it, is called first; answers its loss."""
        loss = None
        if closure is not None:
            if not callable(closure):
                raise TypeError(f"step(closure): closure must be a function that answers the loss, got {closure!r}")
            loss = closure()
        work = self.begin()
        tracer = tracing.get()
        if work is None:
            if tracer is not None:
                tracer.not_moved()
            return loss
        if tracer is None:
            self.move(work)
        else:
            tracer.moved_by(self, work)
        self.end(work)
        return loss

    def begin(self) -> Work | None:
        """What this step will do: for each slab the stretches to walk and the hyperparameters. None if it does nothing.

        Gradients and hyperparameters are looked at here, before the first parameter moves, so that a step is taken whole or
        not at all. Only a rule that raises, one of your own or under np.errstate(all="raise"), leaves it half taken.
        """
        work = [(slab, slab.runs(), self._hyper(slab)) for slab in self._slabs]
        if not any(runs for _, runs, _ in work):
            self._warn_no_gradient()
            return None
        if self.on_nonfinite != "ignore" and not may_move(self, work):
            self.skipped += 1
            return None
        return work

    def move(self, work: Work, seen: Callable = lambda array: array) -> None:
        """The arithmetic of the step, on the arrays as `seen` shows them."""
        if self.clip is not None:
            self.grad_norm = self.clip([(seen(p), seen(g)) for slab, runs, _ in work for p, g in slab.pairs(runs)])
        for slab, runs, hyper in work:
            for part, t in slab.parts(runs, self.whole):
                self._update(slab, tuple(map(seen, part)), t, **hyper)
            if slab.projection is not None:
                for data in slab.nets(runs):
                    slab.projection(seen(data))

    def end(self, work: Work) -> None:
        """Count the step."""
        for slab, runs, _ in work:
            if slab.frozen is not None:
                slab.restore_frozen()
            slab.count(runs)
        self.steps += 1

    def _hyper(self, slab: Slab) -> dict[str, Any]:
        """The hyperparameters of this step; looked at again only if the group was changed, or has a schedule."""
        if slab.filtered is not None:
            slab.penalty = slab.filtered.at(self.steps)
        if self._as_given(slab):
            return slab.hyper
        for key, made_with in slab.made_with.items():
            if slab.group[key] is not made_with:
                raise ValueError(
                    f"the {key} of {slab.names[0]!r} was changed after the optimizer was made, which has no effect: make a "
                    "new optimizer (a strength may also be a schedule)"
                )
        numbers = self._numbers(slab.group)
        check_eps(numbers.get("eps"), slab.names[0], slab.data.dtype)
        missing = set(self.state_for(slab.group)) - slab.state.keys()
        if missing:
            raise ValueError(
                f"the hyperparameters of {slab.names[0]!r} were changed and now need a {min(missing)}, which it has not: "
                "set them when the optimizer is made (a schedule may begin with 0)"
            )
        slab.given = None if any(scheduled(slab.group[key]) for key in numbers) else dict(slab.group)
        slab.hyper = numbers
        return numbers

    def _as_given(self, slab: Slab) -> bool:
        """Whether nothing in the group was changed since the last step."""
        if self.replicas is None or slab.given is None:
            return slab.group == slab.given  # quick: what is the same object is equal
        return len(slab.group) == len(slab.given) and all(map(operator.is_, slab.group.values(), slab.given.values()))

    def _update(self, slab: Slab, part: Part, t: int, weight_decay: float = 0.0, **hyper: Any) -> None:
        p, g, *state = part
        penalty, lr = slab.penalty, hyper["lr"]
        if self.decay == "rule":
            hyper["weight_decay"] = weight_decay
        elif weight_decay and self.decay == "coupled":
            g = g + weight_decay * p
        elif weight_decay:
            p *= 1 - lr * weight_decay
        if penalty is not None and penalty.mode == "coupled":
            g = g + penalty.gradient(p)
        if penalty is not None and penalty.mode == "decoupled":
            p -= lr * penalty.gradient(p)
        answer = self.rule(p, g, *state, t=t, **hyper)
        if not (isinstance(answer, tuple) and len(answer) == 2):  # an array of two numbers could be unpacked, too
            raise TypeError(
                f"{type(self).__name__}.rule must return (direction, step), as in `return g, lr`, got "
                f"{type(answer).__name__}: p -= step * direction is done for it"
            )
        direction, step = answer
        p -= step * direction
        if penalty is not None and penalty.mode == "proximal":
            p[...] = penalty.prox(p, step * self.gain(t=t, **hyper))

    def check_finite(self) -> None:
        """Raise NonfiniteGradientError if a gradient on a GPU was not finite since the last look. Waits for the GPU."""
        raise_if_seen(self._looks, self._slabs)

    def _warn_no_gradient(self) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                "step(): no parameter has a gradient, so nothing moved. Was backward() called, after zero_grad()? Are all "
                "parameters frozen?",
                stacklevel=4,
            )

    def train(self) -> None:
        """Before training goes on, after eval(). Most optimizers have nothing to do."""

    def eval(self) -> None:
        """Put the weights into the parameters that are to be evaluated, where they are not the same (averaging.py)."""

    def kind(self) -> str:
        """The name that its states bear."""
        return type(self).__name__

    # Reading and setting ----------------------------------------------------------------------------------------------

    @property
    def lr(self) -> Any:
        """The learning rate that the next step will use (of the first group): a float, or an array of one per replica."""
        return as_plain(resolved("lr", self.param_groups[0]["lr"], self.steps))

    @lr.setter
    def lr(self, value: float | Schedule) -> None:
        check_form("lr", value, 0.0)
        resolved("lr", value, self.steps)
        for group in self.param_groups:
            group["lr"] = value

    def penalty_value(self) -> float:
        """The sum of the penalties (weight_decay as L2), for logs: the loss does not contain it.

        Of all replicas together, if there are any.
        """
        total = 0.0
        for slab in self._slabs:
            decay = resolved("weight_decay", slab.group.get("weight_decay", 0), self.steps)
            if slab.filtered is not None:
                total += float(slab.filtered.at(self.steps).value(slab.data))
            if isinstance(decay, PerReplica):
                total += sum(float(ElasticNet(0, d).value(row)) for d, row in zip(decay.values, slab.data, strict=True))
            elif decay:
                total += float(ElasticNet(0, decay).value(slab.data))
        return total

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on: copies of the state by parameter name (NumPy's arrays, also from a GPU), counters,
        and plain hyperparameters.
        """
        self.check_finite()
        state: dict[str, dict[str, Any]] = {}
        for key, name, view in self._state_views():
            state.setdefault(key, {})[name] = view.get() if on_device(view) else view.copy()
        return {
            "optimizer": self.kind(),
            "steps": self.steps,
            "skipped": self.skipped,
            "frozen": self.frozen.tolist(),
            "updates": {name: n for slab in self._slabs for name, n in zip(slab.names, slab.updates, strict=True)},
            "hyper": [
                {k: as_plain(resolved(k, g[k], self.steps)) for k in self.hyperparameters() if not scheduled(g[k])}
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
        """Go on from a state_dict, matched by parameter name; schedules stay those given to the constructor.

        ValueError or TypeError, and nothing is changed, if it does not fit.
        """
        self._check_fits(saved)
        views = {(key, name): view for key, name, view in self._state_views()}
        values = {(key, name): value for key, of in saved["state"].items() for name, value in of.items()}
        loaded = {which: np.asarray(values[which], view.dtype, like=view) for which, view in views.items()}
        hypers = [
            {key: from_plain(value, self.defaults[key]) for key, value in hyper.items() if not scheduled(group[key])}
            for group, hyper in zip(self.param_groups, saved["hyper"], strict=True)
        ]
        for group, hyper in zip(self.param_groups, hypers, strict=True):
            self._numbers({**group, **hyper})
        for which, view in views.items():
            view[...] = loaded[which]
        for slab in self._slabs:
            slab.updates = [int(saved["updates"][name]) for name in slab.names]
        for group, hyper in zip(self.param_groups, hypers, strict=True):
            group.update(hyper)
        self.frozen[:] = saved.get("frozen", False)
        self.steps, self.skipped = int(saved["steps"]), int(saved.get("skipped", 0))

    def _check_fits(self, saved: Mapping[str, Any]) -> None:
        """Raise if a state is of another optimizer, of other parameters, groups, replicas or shapes."""
        missing = sorted({"optimizer", "steps", "updates", "hyper", "state"} - saved.keys())
        if missing:
            raise ValueError(f"this is not the state of an optimizer: it has no {missing[0]!r}")
        if saved["optimizer"] != self.kind():
            raise ValueError(f"the state is of {saved['optimizer']}, this optimizer is {self.kind()}")
        names = {name for slab in self._slabs for name in slab.names}
        if names != set(saved["updates"]):
            different = sorted(names ^ set(saved["updates"]))
            raise ValueError(f"the state is of other parameters: {different} are only in one of the two")
        if len(saved["hyper"]) != len(self.param_groups):
            raise ValueError(f"the state has {len(saved['hyper'])} groups, this optimizer has {len(self.param_groups)}")
        if len(frozen := saved.get("frozen", self.frozen)) != len(self.frozen):
            raise ValueError(f"the state has {len(frozen)} replicas, this optimizer has {len(self.frozen)}")
        views = {(key, name): view for key, name, view in self._state_views()}
        values = {(key, name): value for key, of in saved["state"].items() for name, value in of.items()}
        for key, name in sorted(views.keys() ^ values.keys()):
            without = "the state" if (key, name) in views else "this optimizer"
            raise ValueError(
                f"{without} has no {key} of {name!r}: the hyperparameters it was made with ask for another state"
            )
        for (key, name), view in views.items():
            shape = np.shape(values[key, name])
            if view.shape != shape:
                raise ValueError(f"{key} of {name!r}: this optimizer has shape {view.shape}, the state {shape}")

    def __repr__(self) -> str:
        said = {k: v for k, v in self.param_groups[0].items() if k in self.defaults and v is not None and v is not False}
        hyper = ", ".join(f"{k}={v!r}" for k, v in said.items())
        return f"{type(self).__name__}({hyper})"
