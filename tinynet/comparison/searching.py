"""Search for settings: architectures, penalties, rates, batch sizes ... by the protocol of `compare`.

Every candidate is trained on the same tuning seeds and judged by its median. The best few, the finalists, are trained again
on fresh seeds beside the usual settings of the data set: tuning seeds flatter whoever was chosen by them. What the fresh
runs show is a Comparison (results.py), with the same table, pictures and tests.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from monitor.recorder import Recorder, Run
from optimizers.kinds import checked
from tinynet.comparison.results import Comparison, ProblemFacts, Result, Runs, Trial, versions
from tinynet.comparison.trials import run_trials
from tinynet.experiment import Experiment, Settings
from tinynet.naming import lookup

USUAL = "usual settings"  # the baseline
METRICS = {"loss": "validation loss", "error": "validation error"}
FIXED = {"data", "n", "noise", "target", "task", "drop", "seed", "device", "epochs"}
SEARCHABLE = {f.name for f in fields(Settings)} - FIXED


@dataclass(frozen=True)
class Uniform:
    """A number between low and high, all equally likely."""

    low: float
    high: float

    def draw(self, generator: np.random.Generator) -> float:
        return float(generator.uniform(self.low, self.high))


@dataclass(frozen=True)
class LogUniform:
    """A number between low and high, each of its orders of magnitude equally likely: for rates and strengths."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high < math.inf:
            raise ValueError(f"LogUniform: the bounds must be 0 < low <= high, got {self.low} and {self.high}")

    def draw(self, generator: np.random.Generator) -> float:
        return float(np.exp(generator.uniform(np.log(self.low), np.log(self.high))))


@dataclass
class Candidate:
    """Settings that were tried.

    settings: those searched over. losses: the metric on each tuning seed, from the longest training; inf where it diverged.
    epochs: how long that training was (halving trains those that drop out for less).
    """

    settings: dict[str, Any]
    losses: list[float] = field(default_factory=list)
    epochs: int = 0

    @property
    def name(self) -> str:
        """Such as "hidden=16,16 lr=0.003"."""
        return " ".join(f"{key}={_shown(value)}" for key, value in self.settings.items())

    @property
    def median(self) -> float:
        return float(np.median(self.losses))


@dataclass(repr=False)
class Search:
    """What a search found: all candidates, the best first, and the finalists' Comparison beside the usual settings."""

    candidates: list[Candidate]
    comparison: Comparison

    @property
    def best(self) -> Candidate:
        """The finalist with the smallest median on the fresh seeds; the comparison says if it stands out."""
        finals = {r.optimizer: float(np.median(r.tuned.final)) for r in self.comparison.results if r.optimizer != USUAL}
        winner = min(finals, key=lambda name: finals[name])
        return next(c for c in self.candidates if c.name == winner)

    def __repr__(self) -> str:
        return f"<Search: {len(self.candidates)} candidates, best {self.best.name!r}, judged in {self.comparison!r}>"


def search(
    space: Mapping[str, Any],
    on: str = "moons",
    *,
    method: str = "grid",
    candidates: int | None = None,
    finalists: int = 3,
    tuning_seeds: int = 3,
    seeds: int = 10,
    epochs: int | None = None,
    metric: str = "loss",
    seed: int = 0,
    executor: int | str | Executor | None = None,
    store: str | Path | None = None,
    runs: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Search:
    """Search `space`, {setting: its choices}, for what trains best on the data set `on`.

    The settings are those of `Settings` (`tinynet train --help`): hidden, activation, dropout, optimizer, lr, momentum,
    schedule, warmup, l1, l2, clip, batch_size. Choices are a list, or Uniform(low, high) or LogUniform(low, high).

    - method "grid" tries all combinations of lists; "random" draws `candidates` of them (Bergstra & Bengio 2012); "halving"
      draws as many and trains them briefly, keeps the better third and trains it three times as long, and so on, up to
      `epochs` (successive halving: Karnin, Koren & Somekh 2013; Jamieson & Talwalkar 2016).
    - the `finalists` best are trained on `seeds` fresh seeds beside the usual settings of the data set. A seed says what
      data are drawn, how they are split, and how weights and order begin, so runs of one seed are paired.
    - metric: "loss", or "error", the share of wrong classes, both of the validation data at the end of training.
    - seed: for the draws. executor, store and progress are those of `run_trials`; progress counts every stage anew.
    - runs: a folder in which every training is recorded.

    >>> found = search({"hidden": [(), (8,)]}, finalists=1, tuning_seeds=1, seeds=2, epochs=5)
    >>> found.best.name
    'hidden=8'
    """
    lookup("metric", metric, METRICS)
    counts = {"finalists": finalists, "tuning_seeds": tuning_seeds, "seeds": seeds}
    for name, value in counts.items():
        checked(f"search: {name}", value, "Whole")
    found = _candidates(space, method, candidates, seed)
    full = _checked_on(found, on, epochs, metric)

    def train(who: Sequence[Candidate], which: range, length: int) -> list[list[dict[str, Any]]]:
        specs = [
            {
                "name": f"{on} {c.name or USUAL} seed {s}",
                "settings": {"data": on, **c.settings, "seed": s, "epochs": length},
                "metric": metric,
                "runs": None if runs is None else str(runs),
            }
            for c in who
            for s in which
        ]
        results = run_trials(train_once, specs, executor=executor, store=store, progress=progress)
        return [results[i : i + len(which)] for i in range(0, len(results), len(which))]

    tuned = range(tuning_seeds)
    for length, keep in _rungs(method, full, len(found)):
        alive = found[:keep]
        for candidate, results in zip(alive, train(alive, tuned, length), strict=True):
            candidate.losses, candidate.epochs = [r["curve"][-1] for r in results], length
        found = sorted(alive, key=lambda c: c.median) + found[keep:]
    usual, fresh = Candidate({}), range(tuning_seeds, tuning_seeds + seeds)
    usual.losses = [r["curve"][-1] for r in train([usual], tuned, full)[0]]
    last = [usual, *found[:finalists]]
    facts = _facts(on, metric, full, usual.median)
    judged = [_result(facts, who, of) for who, of in zip(last, train(last, fresh, full), strict=True)]
    return Search(found, _comparison(facts, judged, len(found), tuned, fresh))


def train_once(spec: Mapping[str, Any]) -> dict[str, Any]:
    """One training: the metric before training and after every epoch, inf from where it diverged, and seconds per epoch."""
    experiment = Experiment(Settings.of(spec["settings"]))
    recorder = Recorder(spec["runs"], name=spec["name"], config=experiment.config())
    try:
        with recorder:
            run = experiment.train(recorder)
    except FloatingPointError:  # the loss or a gradient is no longer finite
        run = recorder.run
    return {"curve": _curve(run, spec["metric"], experiment.settings.epochs or 0), "seconds": _seconds(run)}


def _curve(run: Run, metric: str, epochs: int) -> list[float]:
    _, values = run.series("val/loss" if metric == "loss" else "val/accuracy")
    numbers = np.asarray(values, float) if metric == "loss" else 1 - np.asarray(values, float)
    curve = np.full(epochs + 1, np.inf)
    curve[: len(numbers)] = np.where(np.isfinite(numbers), numbers, np.inf)
    return curve.tolist()


def _seconds(run: Run) -> float:
    evaluated = [event["t"] for event in run.events if event["k"] == "eval"]
    return (evaluated[-1] - evaluated[0]) / (len(evaluated) - 1) if len(evaluated) > 1 else 0.0


# What to try ----------------------------------------------------------------------------------------------------------


def _candidates(space: Mapping[str, Any], method: str, wanted: int | None, seed: int) -> list[Candidate]:
    """The candidates of a method, each once."""
    lookup("method", method, dict.fromkeys(("grid", "random", "halving")))
    _check_space(space)
    drawn = [name for name, choices in space.items() if hasattr(choices, "draw")]
    if method == "grid":
        if drawn:
            raise ValueError(f"a grid needs lists of choices, {drawn[0]!r} is {space[drawn[0]]}: pass method='random'")
        if wanted is not None:
            raise ValueError(f"a grid is tried whole; candidates={wanted} is for method='random' or 'halving'")
        return [Candidate(dict(zip(space, choice, strict=True))) for choice in itertools.product(*space.values())]
    if wanted is None:
        raise ValueError(f"method={method!r} needs to know how many candidates to draw: pass candidates=20, say")
    checked("search: candidates", wanted, "Whole")
    generator = np.random.default_rng(seed)
    found: dict[str, Candidate] = {}
    for _ in range(20 * wanted):  # of a small space the last ones take many draws
        candidate = Candidate({name: _draw(choices, generator) for name, choices in space.items()})
        found.setdefault(candidate.name, candidate)
        if len(found) == wanted:
            break
    return list(found.values())


def _check_space(space: Mapping[str, Any]) -> None:
    if not isinstance(space, Mapping):
        raise TypeError(f'space must be a dict such as {{"lr": LogUniform(1e-4, 1e-1)}}, got {type(space).__name__}')
    if not space:
        raise ValueError('the space is empty: give it settings and their choices, such as {"hidden": [(16,), (32, 32)]}')
    for name, choices in space.items():
        lookup("setting", name, dict.fromkeys(SEARCHABLE))
        if hasattr(choices, "draw"):
            continue
        if isinstance(choices, str) or not isinstance(choices, Sequence):
            raise TypeError(f"the choices of {name!r} must be a list, Uniform or LogUniform, got {choices!r}")
        if not len(choices):
            raise ValueError(f"the space has no points: {name!r} has no choices")
        if len({_shown(choice) for choice in choices}) < len(choices):
            raise ValueError(f"a choice of {name!r} is given twice: {list(choices)}")


def _checked_on(found: Sequence[Candidate], on: str, epochs: int | None, metric: str) -> int:
    """How many epochs the data set is usually trained for, unless `epochs` says; what cannot be trained raises here."""
    usual = Experiment(Settings(data=on, epochs=epochs))
    if metric == "error" and not usual.classifies:
        raise ValueError(f"{on!r} has no classes to be wrong about: pass metric='loss'")
    for candidate in found:
        Experiment(Settings(data=on, epochs=epochs, **candidate.settings))
    assert usual.settings.epochs is not None
    return usual.settings.epochs


def _draw(choices: Any, generator: np.random.Generator) -> Any:
    return choices.draw(generator) if hasattr(choices, "draw") else choices[int(generator.integers(len(choices)))]


def _rungs(method: str, epochs: int, n: int) -> list[tuple[int, int]]:
    """(epochs, how many candidates) of each round of tuning.

    >>> _rungs("halving", 90, 27), _rungs("grid", 90, 27)
    ([(3, 27), (10, 9), (30, 3), (90, 1)], [(90, 27)])
    """
    if method != "halving":
        return [(epochs, n)]
    rounds = max(int(math.log(n, 3) + 1e-9), 0)
    return [(max(1, round(epochs / 3 ** (rounds - i))), max(1, n // 3**i)) for i in range(rounds + 1)]


# What was found -------------------------------------------------------------------------------------------------------


def _facts(on: str, metric: str, epochs: int, target: float) -> ProblemFacts:
    """The data set as a problem. The target is what the usual settings reach on the tuning seeds."""
    return ProblemFacts(
        name=on,
        kind="net",
        text=f"the {on} data set",
        metric=METRICS[metric],
        target=target if math.isfinite(target) else 0.0,
        steps=epochs,
        measured_at=tuple(range(epochs + 1)),
        unit="epoch",
    )


def _comparison(facts: ProblemFacts, results: Sequence[Result], candidates: int, tuned: range, fresh: range) -> Comparison:
    return Comparison(
        problems=(facts,),
        optimizers=tuple(r.optimizer for r in results),
        baseline=USUAL,
        grid=(),
        budget=candidates,
        tuning_seeds=tuple(tuned),
        seeds=tuple(fresh),
        results=tuple(results),
        versions=versions(),
    )


def _result(facts: ProblemFacts, candidate: Candidate, results: list[dict]) -> Result:
    """The fresh runs of a finalist, or of the usual settings."""
    full = Experiment(Settings(data=facts.name, **candidate.settings))
    curves = np.array([r["curve"] for r in results])
    arrived = curves <= facts.target
    return Result(
        problem=facts.name,
        optimizer=candidate.name or USUAL,
        setting=", ".join(f"{k}={_shown(v)}" for k, v in asdict(full.settings).items() if k in SEARCHABLE),
        trials=(Trial({"lr": full.lr}, np.array(candidate.losses)),),
        chosen=0,
        tuned=Runs(
            hyper={"lr": full.lr},
            curves=curves,
            steps_to_target=np.where(arrived.any(axis=1), arrived.argmax(axis=1), np.inf),
            ended_at=None,
            seconds_per_step=float(np.median([r["seconds"] for r in results])),
        ),
        default=None,
    )


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value)) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
