"""explain(optimizer): what the next step() would do with the gradients that are there now, in numbers and as a picture.

A copy of the optimizer takes the step, and we look over its shoulder: what is shown are the variables of its `rule` and
the lines of it that ran, so an optimizer of your own is explained as well as Adam. Here the step is watched,
source.py reads the lines, plot.py draws.
"""

from __future__ import annotations

import copy
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from numbers import Number
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

import numpy as np

from optimizers.base import Optimizer
from optimizers.explanation.move import Move, Quantity, on_host
from optimizers.explanation.source import Executed
from optimizers.penalties import ElasticNet

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False, repr=False)
class Explanation(Mapping[str, Move]):
    """What the next step would do: a mapping from the names of parameters to their Moves. Print it, or plot it."""

    moves: dict[str, Move]

    def __getitem__(self, name: str) -> Move:
        if name not in self.moves:
            raise KeyError(f"{name!r} is not among {', '.join(self.moves)}")
        return self.moves[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.moves)

    def __len__(self) -> int:
        return len(self.moves)

    def __repr__(self) -> str:
        return "\n\n".join(map(repr, self.values()))

    def plot(self, parameter: str | None = None, landscape: Callable | None = None) -> Figure:
        """Draw the move of a parameter, by default the first: `explain(optimizer).plot().savefig("step.png")`.

        Every quantity is a row of bars, or a heat map if it has many numbers. A parameter of two numbers is a point in the
        plane too: arrows show where the gradient leads, where the rule's direction leads, and the step. `landscape`, a
        function of points [..., 2], is drawn below them as contours.
        """
        from optimizers.explanation.plot import plot_move

        return plot_move(self[next(iter(self)) if parameter is None else parameter], landscape)


def explain(optimizer: Optimizer, parameter: Any = None) -> Explanation:
    """What the next step() would do to every parameter that has a gradient, or to one (a parameter, or its name).

    Call it after backward(), where step() would be. Nothing is changed: a copy takes the step. What step() would raise,
    explain() raises; and a ValueError if there is no gradient, or if step() would be left out (on_nonfinite="skip").

    >>> from optimizers import Adam
    >>> from optimizers.landscapes import rosenbrock
    >>> from optimizers.trajectories import Point
    >>> point = Point([-1.2, 1.0])
    >>> adam = Adam([("point", point)], lr=0.1)
    >>> point.grad = rosenbrock.gradient(point.data)
    >>> move = explain(adam)["point"]
    >>> move["m_hat"], move["update"].round(3)  # Adam's first step is lr long, however steep it is
    (array([-215.6,  -88. ]), array([-0.1, -0.1]))
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"explain() needs an optimizer, such as Adam(params), got {optimizer!r}")
    if getattr(optimizer, "needs_closure", False):
        raise TypeError(
            f"{type(optimizer).__name__} has no rule to explain: where it goes depends on what the closure answers"
        )
    wanted = _wanted(optimizer, parameter)
    # Whatever else hangs on the parameters, such as a graph, is not copied: the copy of the optimizer moves stand-ins.
    stand_ins = {id(p): _StandIn(p) for p in _parameters(optimizer).values()}
    twin = copy.deepcopy(optimizer, dict(stand_ins))
    witness = _Witness(_innermost(twin))
    skipped = twin.skipped
    twin.step()
    if twin.skipped > skipped:
        raise ValueError("a gradient is not finite and on_nonfinite is 'skip', so step() would be left out")
    around = "" if twin is witness.optimizer else type(twin).__name__
    return Explanation({name: _explained(name, witness, around) for name in wanted})


class _StandIn:
    """In the place of a parameter."""

    def __init__(self, p: Any):
        self.data = p.data  # until the copy of the optimizer puts its own there
        self.grad = None if p.grad is None else p.grad.copy()


def _innermost(optimizer: Any) -> Any:
    """The optimizer inside of Lookahead or EMA."""
    return _innermost(optimizer.optimizer) if "optimizer" in vars(optimizer) else optimizer


def _parameters(optimizer: Any) -> dict[str, Any]:
    groups = optimizer.param_groups
    return {name: p for group in groups for name, p in zip(group["names"], group["params"], strict=True)}


def _moving(optimizer: Any) -> dict[str, Any]:
    """The parameters that a step moves."""
    return {name: p for name, p in _parameters(optimizer).items() if p.grad is not None and p.data.size}


def _wanted(optimizer: Any, parameter: Any) -> list[str]:
    """The names of the parameters to explain; raises if there is none."""
    known, moving = _parameters(optimizer), _moving(optimizer)
    if parameter is None:
        if not moving:
            raise ValueError("no parameter has a gradient: call loss.backward() first, and explain() before zero_grad()")
        return list(moving)
    found = [name for name, p in known.items() if p is parameter or (isinstance(parameter, str) and name == parameter)]
    if not found:
        what = repr(parameter) if isinstance(parameter, str) else f"like this {type(parameter).__name__}"
        raise ValueError(f"the optimizer has no parameter {what}; it has {', '.join(known)}")
    if found[0] not in moving:
        raise ValueError(f"{found[0]!r} has no gradient, so step() leaves it where it is: call loss.backward() first")
    return found


# Watching a step ------------------------------------------------------------------------------------------------------


@dataclass
class _Frame:
    """A method of the optimizer that ran: its lines that did, its variables at the end, and copies of the arrays."""

    code: CodeType
    lines: dict[int, int] = field(default_factory=dict)  # {line: when}
    variables: dict[str, Any] = field(default_factory=dict)
    copies: dict[str, Any] = field(default_factory=dict)


@contextmanager
def _watching(optimizer: Any) -> Iterator[list[_Frame]]:
    """The methods of the optimizer that run meanwhile, in the order in which they are called."""
    frames: list[_Frame] = []
    clock = itertools.count()

    def on_call(frame: FrameType, event: str, arg: Any) -> Callable | None:
        names = frame.f_code.co_varnames
        if not names or frame.f_locals.get(names[0]) is not optimizer:
            return None
        seen = _Frame(frame.f_code)
        frames.append(seen)

        def on_line(frame: FrameType, event: str, arg: Any) -> Callable:
            if event == "line":
                seen.lines[frame.f_lineno] = next(clock)
            elif event == "return":
                seen.variables = dict(frame.f_locals)
                seen.copies = {name: value.copy() for name, value in seen.variables.items() if _is_array(value)}
            return on_line

        return on_line

    before = sys.gettrace()  # a debugger, or whoever measures coverage
    sys.settrace(on_call)
    try:
        yield frames
    finally:
        sys.settrace(before)


@dataclass
class _Notes:
    """What was seen of one parameter's step."""

    p: Any  # what the rule gets: flat, if it is one that gets slices
    g: Any
    states: dict[str, Any]
    penalty: ElasticNet | None
    numbers: dict[str, Any]  # t and the hyperparameters
    clipped: Any  # copies of the gradient ...
    places: dict[str, Any]  # ... and of the parameter, after each stage of the step
    returned: tuple[Any, ...] = (0.0, 0.0)  # what the rule answers, and copies of it
    answer: tuple[Any, ...] = (0.0, 0.0)
    frames: list[_Frame] = field(default_factory=list)


class _Witness:
    """Sits between an optimizer and its own `_update`, `rule` and `step`, and notes what passes."""

    def __init__(self, optimizer: Any):
        self.optimizer = optimizer
        self.parameters = _moving(optimizer)
        self.gradients = {name: p.grad for name, p in self.parameters.items()}
        self.coming = {id(slab): iter([n for n in slab.names if n in self.parameters]) for slab in optimizer._slabs}
        self.notes: dict[str, _Notes] = {}
        self.whole, self.update, self.rule, self.step = optimizer.whole, optimizer._update, optimizer.rule, optimizer.step
        optimizer.whole = True  # one parameter at a time
        optimizer._update, optimizer.rule, optimizer.step = self.on_update, self.on_rule, self.on_step

    def on_step(self, *args: Any) -> Any:
        answer = self.step(*args)
        for name, notes in self.notes.items():
            notes.places["projection"] = self.parameters[name].data.copy()
        return answer

    def on_update(self, slab: Any, part: Any, t: int, **hyper: Any) -> None:
        if not part[0].size:
            return
        name = next(self.coming[id(slab)])
        p, g, *states = part if self.whole else [array.reshape(-1) for array in part]  # views
        named = dict(zip(slab.state, states, strict=True))
        self.now = notes = _Notes(p, g, named, slab.penalty, {"t": t, **hyper}, g.copy(), {"p": p.copy()})
        self.notes[name] = notes
        self.update(slab, (p, g, *states), t, **hyper)
        notes.places["penalty"] = p.copy()

    def on_rule(self, p: Any, g: Any, *states: Any, **hyper: Any) -> tuple[Any, Any]:
        notes = self.now
        notes.g = g
        notes.places["decay"] = p.copy()
        with _watching(self.optimizer) as notes.frames:
            answer = self.rule(p, g, *states, **hyper)
        if not (isinstance(answer, tuple) and len(answer) == 2):
            return answer  # `_update` says what is wrong with it
        notes.returned = direction, step = answer
        notes.answer = tuple(x.copy() if _is_array(x) else x for x in notes.returned)
        notes.places["rule"] = p.copy()
        notes.places["update"] = (p - step * direction).astype(p.dtype)
        return answer


# Putting it in order --------------------------------------------------------------------------------------------------

# What every explanation calls by these names, whatever a rule does.
TAKEN = ("p", "gradient", "clipped", "decay", "rule", "direction", "step", "update", "penalty", "projection", "afterwards")


def _explained(name: str, witness: _Witness, around: str) -> Move:
    """The notes on a parameter as a Move. `around`: the class of the optimizer around the one that was watched, or ""."""
    optimizer = witness.optimizer
    kind = type(optimizer).__name__
    if name not in witness.notes:
        raise TypeError(f"{kind}.step() does not move {name!r} by its rule, so there is nothing to explain")
    notes, gradient, after = witness.notes[name], witness.gradients[name], witness.parameters[name].data.copy()
    rows = [Quantity("p", notes.places["p"], "the parameter"), Quantity("gradient", gradient, "its .grad")]
    if not _same(notes.clipped, gradient):
        rows.append(Quantity("clipped", notes.clipped, f"gradient, after {type(optimizer.clip).__name__}"))
    table = _Table(notes, rows[-1].name, optimizer.decay)
    for frame in notes.frames:
        table.add(frame)
    if getattr(optimizer.grad_norm, "size", 0) == 1:
        table.numbers["grad_norm"] = float(on_host(optimizer.grad_norm).reshape(()))
    before, behind, total = _stages({**notes.places, around: after}, _causes(notes, optimizer, around))
    direction, step = notes.answer
    rows += [
        *before,
        *table.rows,
        Quantity("direction", direction, table.answer[0]),
        Quantity("step", step, table.answer[1]),
        Quantity("update", step * direction, "step * direction"),
        *behind,
        Quantity("afterwards", after, total),
    ]
    return Move(name, kind, [replace(q, value=_in_shape(q.value, after)) for q in rows], table.numbers, table.aliases)


class _Table:
    """The variables of a rule and of what it calls: arrays as rows, and numbers. One array can have several names."""

    def __init__(self, notes: _Notes, given: str, decay: str):
        self.numbers = dict(notes.numbers)
        self.aliases: dict[str, str] = {}  # {another name: that of the row}
        self.answer = ["", ""]  # the formulas of direction and step
        added = _added(notes, decay)
        self.found = {id(notes.g): Quantity("g", notes.g, given + added)} if added else {}
        self.found |= {id(array): Quantity(key, array.copy(), state=key) for key, array in notes.states.items()}
        self.nameless = set(self.found)  # what is still to be called as the rule calls it
        self.elsewhere = {id(notes.p): "p", id(notes.g): given}
        self.returned = dict(zip(("direction", "step"), map(id, notes.returned), strict=True))
        self.when: dict[int, int] = {}

    def add(self, frame: _Frame) -> None:
        plain = {k: v for k, v in frame.variables.items() if v is None or isinstance(v, bool | np.bool_) or _is_number(v)}
        ran = Executed(frame.code, frame.lines, plain)
        numbers = {name: value for name, value in plain.items() if _is_number(value)}
        for name, value in numbers.items():
            if name not in self.numbers and name not in TAKEN:
                self.numbers[name] = value
            elif self.numbers.get(name, value) != value:
                self.numbers[f"{name} (in the rule)"] = value
        for name, value in ran.corrections.items():
            self.numbers.setdefault(name, value)
        for name, value in frame.copies.items():
            key = id(frame.variables[name])
            self._add_array(name, key, value, ran.formulas.get(name, ""))
            self.when[key] = max(self.when.get(key, 0), ran.when.get(name, 0))
        if ran.answer is not None and len(ran.answer) == 2 and not any(self.answer):
            known = {name: self.found[id(value)].name for name, value in frame.variables.items() if id(value) in self.found}
            self.answer = [known.get(x) or ran.formulas.get(x, x) for x in ran.answer]

    @property
    def rows(self) -> list[Quantity]:
        """In the order in which they were computed."""
        return [self.found[key] for key in sorted(self.found, key=lambda key: self.when.get(key, -1))]

    def _add_array(self, name: str, key: int, value: Any, formula: str) -> None:
        if key in self.found:
            row = self.found[key]
            called = name if key in self.nameless and name not in TAKEN else row.name
            equal = row.equal or (name if formula.isidentifier() and key not in self.nameless else "")
            self.nameless.discard(key)
            self.found[key] = row = replace(row, name=called, formula=row.formula or formula, equal=equal)
        elif self.returned.get(name) == key:
            return
        elif key in self.elsewhere:
            row = Quantity(self.elsewhere[key], value)
        else:
            used = {*TAKEN, *(row.name for row in self.rows)}
            row = Quantity(f"{name} (in the rule)" if name in used else name, value, formula)
            self.found[key] = row
        for other in (name, row.state):
            if other and other not in TAKEN:
                self.aliases.setdefault(other, row.name)


def _added(notes: _Notes, decay: str) -> str:
    """What is added to the gradient before the rule gets it."""
    added = " + weight_decay * p" if notes.numbers.get("weight_decay") and decay == "coupled" else ""
    if notes.penalty is not None and notes.penalty.mode == "coupled":
        added += f" + gradient of {type(notes.penalty).__name__}"
    return added


def _causes(notes: _Notes, optimizer: Any, around: str) -> dict[str, str]:
    """What can move a parameter in each stage of a step."""
    penalty = type(notes.penalty).__name__
    decays = ["-lr * weight_decay * p"] if notes.numbers.get("weight_decay") and optimizer.decay == "decoupled" else []
    decays += [f"-lr * gradient of {penalty}"] if notes.penalty is not None and notes.penalty.mode == "decoupled" else []
    return {
        "decay": " and ".join(decays),
        "rule": "written into p by the rule itself",
        "penalty": f"{penalty}, solved for after the update",
        "projection": "back to where the projection allows p to be",
        around: f"what {around} does after the step",
    }


def _stages(places: dict[str, Any], causes: dict[str, str]) -> tuple[list[Quantity], list[Quantity], str]:
    """What moved the parameter before and after the update, and the sum of all that."""
    before: list[Quantity] = []
    behind: list[Quantity] = []
    total = "p"
    for (_, a), (stage, b) in itertools.pairwise(places.items()):
        if stage == "update":
            total += " - update"
        elif not _same(a, b.reshape(a.shape)):
            (behind if "update" in total else before).append(Quantity(stage, b.reshape(a.shape) - a, causes[stage]))
            total += f" + {stage}"
    return before, behind, total


# Small helpers --------------------------------------------------------------------------------------------------------


def _is_array(value: Any) -> bool:
    return hasattr(value, "dtype") and hasattr(value, "shape") and not isinstance(value, np.generic)


def _is_number(value: Any) -> bool:
    return isinstance(value, Number) and not isinstance(value, bool)


def _same(a: Any, b: Any) -> bool:
    a, b = a.reshape(-1), b.reshape(-1)
    return bool(np.all((a == b) | ((a != a) & (b != b))))  # nan is the same as nan


def _in_shape(value: Any, like: Any) -> Any:
    """An array in the parameter's shape, if it has as many elements; a number becomes an array without axes."""
    value = value if _is_array(value) else np.asarray(value)
    return value.reshape(like.shape) if value.size == like.size else value
