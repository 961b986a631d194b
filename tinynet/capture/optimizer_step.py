"""A step of an optimizer on the tape: bookkeeping that runs in Python at every replay, and calls that need its numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tinynet.capture.conditions import Conditions
from tinynet.capture.numbers import Number


class OptimizerStep:
    """A step of an optimizer: bookkeeping that runs in Python at every replay, and calls that need its numbers."""

    def __init__(self, optimizer: Any, work: Any, grads: list):
        self.optimizer = optimizer
        self.work = work
        self.grads = grads  # (parameter, its .grad) at this moment
        self.settings = [(vars(o), settings_of(o)) for o in (optimizer, vars(optimizer).get("optimizer")) if o is not None]
        self.penalties = [slab.penalty for slab, _, _ in work]
        self.changing = [[key for key in hyper if changes(slab, key)] for slab, _, hyper in work]
        self.calls: list[Any] = []
        self.norm: Any = None  # what its clipping answered
        self.guards: list[tuple[str, bool]] = []  # (comparison of the numbers, how it came out)
        self._accepts: Callable | None = None
        self.values = self.numbers(work) or []

    def numbers(self, work: Any) -> list | None:
        """What changes from step to step, if the step to be done is otherwise the one that was captured; else None."""
        if len(work) != len(self.work) or not all(self._is_as_it_was()):
            return None
        values: list[Any] = []
        for (slab, runs, hyper), (_, runs_then, hyper_then), keys, penalty in zip(
            work, self.work, self.changing, self.penalties, strict=True
        ):
            if slab.penalty != penalty or len(runs) != len(runs_then):
                return None
            for (a, b, t), (a_then, b_then, _) in zip(runs, runs_then, strict=True):
                if a != a_then or b != b_then:
                    return None
                values.append(t)
            if hyper is not hyper_then and not all(k in keys or same(v, hyper_then[k]) for k, v in hyper.items()):
                return None
            for key in keys:
                value = hyper[key]
                values += value if isinstance(value, tuple) else (value,)
        return values if self._accepts is None or self._accepts(*values) else None

    def _is_as_it_was(self) -> Iterator[bool]:
        """Whether the attributes of the optimizer, and of one inside it, are those that were met."""
        for now, then in self.settings:
            yield len(now) == len(then) + len(COUNTERS & now.keys())
            yield all(now.get(key) is value for key, value in then)

    def keep_guards(self) -> None:
        """From now on `numbers` also looks at the comparisons that were made."""
        if self.guards:
            names = "".join(f"n{i}, " for i in range(len(self.values)))
            conditions = " and ".join(f"({text}) is {value}" for text, value in self.guards)
            self._accepts = eval(f"lambda {names}: {conditions}")

    def quick_numbers(self) -> Callable:
        """`numbers`, made quick for the usual case that everything is the same object as before."""
        tests, values = Conditions(), []
        for now, then in self.settings:
            tests.length_is(now, len(now))
            tests.entries_are(now, then)
        tests.add(f"len(work) == {len(self.work)}")
        for i, ((slab, runs, hyper), keys, penalty) in enumerate(
            zip(self.work, self.changing, self.penalties, strict=True)
        ):
            tests.attributes_are(slab, [("penalty", penalty)])
            tests.add(f"len(runs{i} := work[{i}][1]) == {len(runs)}")
            tests.tests += [f"runs{i}[{j}][:2] == {run[:2]}" for j, run in enumerate(runs)]
            fixed = [f"hyper{i}[{k!r}] is {tests.name(v)}" for k, v in hyper.items() if k not in keys]
            tests.add(f"((hyper{i} := work[{i}][2]) is {tests.name(hyper)} or ({' and '.join(fixed) or True}))")
            values += [f"runs{i}[{j}][2]" for j in range(len(runs))]
            values += [f"{'*' * isinstance(hyper[key], tuple)}hyper{i}[{key!r}]" for key in keys]
        quick = tests.compiled("work", f"[{', '.join(values)}]")
        numbers, accepts = self.numbers, self._accepts

        def numbers_of(work: Any) -> list | None:
            found = quick(work)
            return found if found and (accepts is None or accepts(*found)) else numbers(work)

        return numbers_of

    def hidden(self, tape: Any) -> Any:
        """The work, with Numbers in the place of the values."""
        numbers = iter([Number(tape, value, f"n{i}") for i, value in enumerate(self.values)])
        shown = []
        for (slab, runs, hyper), keys in zip(self.work, self.changing, strict=True):
            runs = [(a, b, next(numbers)) for a, b, _ in runs]
            changed = {
                k: tuple(next(numbers) for _ in v) if isinstance(v := hyper[k], tuple) else next(numbers) for k in keys
            }
            shown.append((slab, runs, {**hyper, **changed}))
        return shown


COUNTERS = {"steps", "skipped", "grad_norm", "_warned", "_training"}  # attributes that are no settings


def settings_of(optimizer: Any) -> list[tuple[str, Any]]:
    """(attribute, value) of all that a user may change in an optimizer."""
    return [(key, value) for key, value in vars(optimizer).items() if key not in COUNTERS]


def same(a: Any, b: Any) -> bool:
    """Whether two hyperparameters are known to be equal; those of replicas are, if they are the same object."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a is b or (isinstance(a, int | float) and isinstance(b, int | float) and a == b)


def changes(slab: Any, key: str) -> bool:
    """Whether a hyperparameter may change from step to step: lr, and any number of a group with schedules."""
    return not isinstance(slab.hyper[key], bool) and (key == "lr" or slab.given is None)
