"""What a comparison of optimizers found: plain data, which tables and pictures are made of, and its file.

A `Comparison` has a `ProblemFacts` for each problem and, for each problem and optimizer, a `Result`: the trials of the
tuning, then fresh runs at the chosen rate (`tuned`) and at the optimizer's own default (`default`). Nothing in here says
who is better; statistics.py does.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import numpy as np

from monitor import store

SCHEMA = "tinynet-comparison/1"


class ComparisonError(ValueError):
    """A file that is not what a comparison wrote, or two that do not belong together."""


@dataclass(frozen=True, eq=False)
class ProblemFacts:
    """What was to be solved, and when it counts as solved.

    name: such as "moons".
    kind: "landscape" (a function of two variables) or "net".
    text: what it is, in a line.
    metric: what a curve shows, "height above the minimum" or "validation loss".
    target: the value at which a run has arrived. It stands in problems.py and does not depend on any run.
    steps: updates of every run.
    measured_at: steps after which the curves were measured [E], from 0 to `steps`.
    places: names of the places where a run can end (minima, basins); empty if there are no such places.
    cost: about how long a step takes, beside those of other problems: to guess how long a comparison will.
    unit: what `steps` counts, "step" or "epoch".
    """

    name: str
    kind: str
    text: str
    metric: str
    target: float
    steps: int
    measured_at: tuple[int, ...]
    places: tuple[str, ...] = ()
    cost: float = 1.0
    unit: str = "step"


@dataclass(frozen=True, eq=False)
class Trial:
    """One setting tried in tuning, on each of the tuning seeds.

    hyper: what was set, such as {"lr": 0.1} or {"lr": 0.1, "momentum": 0.95}.
    losses: the metric at the end of each run [tuning seeds]; inf if it diverged.
    steps_to_target: updates until the metric was first at most the target [tuning seeds]; inf if it never was. None if that
        was not asked.
    """

    hyper: dict[str, float]
    losses: np.ndarray
    steps_to_target: np.ndarray | None = None

    @property
    def median(self) -> float:
        """The median of the losses, by which the best setting is chosen; inf if half of the runs diverged."""
        return float(np.median(self.losses))

    @property
    def diverged(self) -> np.ndarray:
        """Which of the runs diverged [tuning seeds]."""
        return ~np.isfinite(self.losses)


@dataclass(frozen=True, eq=False)
class Runs:
    """Runs of one optimizer with one setting, one run for each fresh seed.

    hyper: what was set, such as {"lr": 0.1}.
    curves: the metric at ProblemFacts.measured_at [seeds, E]; inf from where a run diverged.
    steps_to_target: updates until the metric was first at most the target [seeds]; inf if it never was.
    ended_at: which of ProblemFacts.places each run ended at [seeds], -1 for none of them; None if there are no places.
    seconds_per_step: time of one update of one run, its share of the batch that it was computed in. It differs from
        machine to machine and from call to call; nothing else here does.
    """

    hyper: dict[str, float]
    curves: np.ndarray
    steps_to_target: np.ndarray
    ended_at: np.ndarray | None
    seconds_per_step: float

    @property
    def final(self) -> np.ndarray:
        """The metric at the end [seeds]; inf if the run diverged."""
        return self.curves[:, -1]

    @property
    def best(self) -> np.ndarray:
        """The smallest value that was measured [seeds]."""
        return self.curves.min(axis=1)

    @property
    def diverged(self) -> np.ndarray:
        """Which runs diverged [seeds]."""
        return ~np.isfinite(self.final)


@dataclass(frozen=True, eq=False)
class Result:
    """One optimizer on one problem.

    problem, optimizer: their names; `setting` is the optimizer as it prints itself, without what was tuned.
    trials: what tuning tried, as many for every optimizer, from the smallest rate to the largest.
    chosen: the index of the best trial: the smallest median; of equal ones the fewest steps to the target, then the
        smallest rate.
    tuned: fresh runs with the chosen setting.
    default: fresh runs with the optimizer's default rate; None if it has no default.
    """

    problem: str
    optimizer: str
    setting: str
    trials: tuple[Trial, ...]
    chosen: int
    tuned: Runs
    default: Runs | None

    @property
    def best_lr(self) -> float:
        """The chosen rate."""
        return self.trials[self.chosen].hyper["lr"]

    @property
    def rates(self) -> np.ndarray:
        """The rates that were tried, ascending, each once [G]."""
        return np.unique([trial.hyper["lr"] for trial in self.trials])

    @property
    def sensitivity(self) -> np.ndarray:
        """The smallest median loss at each of `rates` [G]; inf where half of the runs diverged."""
        return np.array([min(t.median for t in self.trials if t.hyper["lr"] == lr) for lr in self.rates])

    @property
    def at_edge(self) -> bool:
        """Whether the chosen rate is the first or the last of several: the best one may lie beyond."""
        rates = self.rates
        return len(rates) > 1 and self.best_lr in (rates[0], rates[-1])

    @property
    def failed(self) -> bool:
        """Whether no setting has a finite median: the optimizer diverged whatever its rate."""
        return not np.isfinite(self.trials[self.chosen].median)


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """All that `compare` found, with what it takes to repeat it. Printed, it shows medians; table.text says what they mean.

    problems: by the order in which they were solved; optimizers: names in the order given.
    baseline: the optimizer that the others are tested against, named before the run.
    grid: the rates tried, none in a search; budget: trials of every optimizer, or candidates, on all tuning seeds.
    tuning_seeds, seeds: those of the trials and those of the fresh runs; none is in both.
    results: one per problem and optimizer. One that was not finished is missing.
    versions: of Python, NumPy and the machine.
    """

    problems: tuple[ProblemFacts, ...]
    optimizers: tuple[str, ...]
    baseline: str
    grid: tuple[float, ...]
    budget: int
    tuning_seeds: tuple[int, ...]
    seeds: tuple[int, ...]
    results: tuple[Result, ...]
    versions: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        where = self.problems[0].name if len(self.problems) == 1 else f"{len(self.problems)} problems"
        who = f"{len(self.optimizers)} optimizers on {where}"
        return f"<Comparison: {who}, {len(self.seeds)} seeds, baseline {self.baseline!r}>"

    def __str__(self) -> str:
        """The median of each optimizer's fresh runs at its chosen rate; no verdicts."""
        wide = max(map(len, ["optimizer", *self.optimizers]))
        lines = [repr(self)]
        for facts in self.problems:
            lines += ["", f"{facts.name}: {facts.metric} after {facts.steps} {facts.unit}s"]
            lines += [f"{'optimizer':{wide}}    median   best lr  diverged"]
            found = self.on(facts.name).values()
            for r in sorted(found, key=lambda r: float(np.median(r.tuned.final))):
                median, lost = float(np.median(r.tuned.final)), int(r.tuned.diverged.sum())
                lines.append(f"{r.optimizer:{wide}}  {median:8.3g}  {r.best_lr:8.3g}  {lost:8}")
        return "\n".join([*lines, "", "What can be told apart: print(tinynet.comparison.table.text(comparison))"])

    def result(self, problem: str, optimizer: str) -> Result:
        """What this optimizer did on this problem; KeyError if that was not finished."""
        for result in self.results:
            if (result.problem, result.optimizer) == (problem, optimizer):
                return result
        raise KeyError(f"there is no result of {optimizer!r} on {problem!r}")

    def on(self, problem: str) -> dict[str, Result]:
        """{optimizer: result} on a problem, in the order of `optimizers`."""
        found = {r.optimizer: r for r in self.results if r.problem == problem}
        return {name: found[name] for name in self.optimizers if name in found}

    def problem(self, name: str) -> ProblemFacts:
        """The problem of that name."""
        return next(p for p in self.problems if p.name == name)

    # Its file ---------------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Everything in strict JSON: numbers that are not finite are the strings "inf", "-inf" and "nan"."""
        return {"schema": SCHEMA, **store.encode(asdict(self))}

    def save(self, path: str | Path) -> Path:
        """Write to_json() to a file, whole or not at all, and answer its path."""
        text = json.dumps(self.to_json(), allow_nan=False, separators=(",", ":"))
        store.write_whole(Path(path), text.encode())
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote. ComparisonError if the file is anything else."""
        try:
            data = json.loads(Path(path).read_bytes())
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ComparisonError(f"{str(path)!r} is not JSON, so not a saved comparison: {error}") from None
        return cls.from_json(data, str(path))

    @classmethod
    def from_json(cls, data: Any, path: str = "the data") -> Self:
        """The inverse of to_json; `path` is for the error message."""
        found = data.get("schema") if isinstance(data, Mapping) else None
        if found != SCHEMA:
            raise ComparisonError(
                f"{path} is not a comparison saved by this version: its schema is {found!r}, not {SCHEMA!r}"
            )
        try:
            results = tuple(result_from_json(result) for result in data["results"])
            problems = tuple(
                ProblemFacts(**{**p, "measured_at": tuple(p["measured_at"]), "places": tuple(p["places"])})
                for p in data["problems"]
            )
            rest: dict[str, Any] = {f.name: data[f.name] for f in fields(cls) if f.name not in ("results", "problems")}
            rest = {key: tuple(value) if isinstance(value, list) else value for key, value in rest.items()}
            return cls(problems=problems, results=results, **rest)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise ComparisonError(f"{path} is a broken comparison: {type(error).__name__} {error}") from None


def versions() -> dict[str, str]:
    """What computed the results: the last bits may depend on it."""
    return {"python": platform.python_version(), "numpy": np.__version__, "machine": platform.machine()}


def result_from_json(data: Mapping[str, Any]) -> Result:
    """A Result, of what store.encode made of it."""
    trials = tuple(
        Trial(dict(t["hyper"]), _array(t["losses"]), None if (steps := t.get("steps_to_target")) is None else _array(steps))
        for t in data["trials"]
    )
    default = data["default"]
    return Result(
        problem=str(data["problem"]),
        optimizer=str(data["optimizer"]),
        setting=str(data["setting"]),
        trials=trials,
        chosen=range(len(trials))[data["chosen"]],
        tuned=_runs(data["tuned"]),
        default=None if default is None else _runs(default),
    )


def _runs(data: Mapping[str, Any]) -> Runs:
    ended_at = data["ended_at"]
    return Runs(
        hyper=dict(data["hyper"]),
        curves=np.array([_array(curve) for curve in data["curves"]]),
        steps_to_target=_array(data["steps_to_target"]),
        ended_at=None if ended_at is None else np.array(ended_at, int),
        seconds_per_step=float(data["seconds_per_step"]),
    )


def _array(values: Any) -> np.ndarray:
    return np.array([store.decode_number(value) for value in values])
