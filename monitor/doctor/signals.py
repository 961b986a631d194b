"""Collecting: what a run recorded, in the form in which the rules want it. Nothing is judged here.

One pass over the events, however many there are. Whatever a stranger may have written into them comes out as finite
numbers in order of steps, or not at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from monitor import store
from monitor.run import Run

TRAIN = ("train/loss", "train/running_loss", "loss")  # the names under which a loss is looked for, the best first
VAL = ("val/loss",)
MOST = 10_000  # watched steps that are looked at: of more, every second, or every third ...
TO_WATCH = (
    "recorder.watch(model) before fit; in a loop of your own, also watcher.begin(step) before each forward pass and "
    "watcher.end(step, loss, again) after each update, where again() computes the loss of that batch anew"
)
LAST = 2**53  # steps beyond are no steps, and floats could not hold them


@dataclass(frozen=True)
class Curve:
    """A series: its name, and its finite values in order of steps. `evaluated`: measured on a data set, not on batches."""

    name: str
    steps: np.ndarray
    values: np.ndarray
    evaluated: bool

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def range(self) -> tuple[int, int]:
        return int(self.steps[0]), int(self.steps[-1])

    def part(self, begin: float, end: float) -> Curve:
        """The points between two shares of their number: part(2 / 3, 1) is the last third."""
        n = len(self)
        piece = slice(math.floor(begin * n), max(math.ceil(end * n), 1))
        return Curve(self.name, self.steps[piece], self.values[piece], self.evaluated)


@dataclass(frozen=True)
class Layers:
    """A quantity of every layer: values [steps, layers], nan where it was not recorded; the layers in forward order."""

    steps: np.ndarray
    names: list[str]
    values: np.ndarray


class Signals:
    """What the rules look at; made of a Run."""

    def __init__(self, run: Run):
        self.run = run
        self._series = {True: _series(run, "eval"), False: _series(run, "step")}
        self._layer_events = [event for event in run.select("layer") if abs(event["s"]) <= LAST]
        self.recorded = sum(len(values) for kind in self._series.values() for _, values in kind.values())
        ends = [int(step) for kind in self._series.values() for steps, _ in kind.values() for step in (steps[0], steps[-1])]
        ends += [event["s"] for event in self._layer_events]
        self.range = (min(ends), max(ends)) if ends else (0, 0)  # of all that was measured

    @property
    def watched(self) -> int:
        """At how many steps layers were looked at."""
        return len(self._layer_events)

    def curve(self, *names: str) -> Curve | None:
        """The first of these series that has a finite value; those that were evaluated rather than measured on batches."""
        for evaluated in (True, False):
            for name in names:
                steps, values = self._series[evaluated].get(name, (np.zeros(0), np.zeros(0)))
                finite = np.isfinite(values)
                if finite.any():
                    return Curve(name, steps[finite], values[finite], evaluated)
        return None

    def nonfinite(self) -> list[tuple[int, str, float]]:
        """(step, name, value) of the first value of each series that is nan or infinite."""
        found = []
        for kind in self._series.values():
            for name, (steps, values) in kind.items():
                bad = ~np.isfinite(values)
                if bad.any():
                    found.append((int(steps[bad.argmax()]), name, float(values[bad.argmax()])))
        return found

    def layers(self, quantity: str) -> Layers | None:
        """A quantity of every layer at the watched steps (MOST of them at most), None if there is no number of it."""
        every = -(-len(self._layer_events) // MOST)
        try:
            steps, names, values = Run({}, self._layer_events[:: max(every, 1)]).layers(quantity)
        except KeyError:
            return None
        return Layers(steps, names, values) if names and np.isfinite(values).any() else None

    def unmoved(self) -> np.ndarray | None:
        """The watched steps, if at none of them any weight changed by any bit; else None."""
        updates = self.layers("update_ratio")
        if updates is None or np.nanmax(abs(updates.values)) > 0 or self.nonfinite_layers():
            return None
        return updates.steps

    def nonfinite_layers(self) -> list[tuple[int, int, str, str]]:
        """(step, place in forward order, layer, quantity) of each number of a layer that is nan or infinite."""
        found = []
        for event in self._layer_events:
            names = event["d"].get("names")
            for quantity, values in event["d"].items() if isinstance(names, list) else ():
                if isinstance(values, list) and values is not names and any(word in values for word in store.NONFINITE):
                    numbers = enumerate(zip(names, values, strict=False))
                    found += [(event["s"], i, str(name), quantity) for i, (name, v) in numbers if v in store.NONFINITE]
        return found

    def described(self, key: str) -> Any:
        """What run.json says under a key: of the run, of its data, or in its configuration."""
        data = self.run.meta.get("data")
        for place in (self.run.meta, data if isinstance(data, dict) else {}, self.run.config):
            if place.get(key) is not None:
                return place[key]
        return None

    def examples(self) -> tuple[np.ndarray, np.ndarray] | None:
        """(steps, validation losses [evaluations, examples]) where they were recorded and are all finite."""
        try:
            steps, rows = self.run.val_losses()
        except KeyError:
            return None
        return (steps, rows) if np.isfinite(rows).all() else None


def _series(run: Run, kind: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{name: (steps, values)} of all series in the events of a kind; where a step comes twice, the later value counts."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    for event in run.select(kind):
        step = event["s"]
        if abs(step) > LAST:
            continue
        for name, value in event["d"].items():
            if name not in found:
                found[name] = ([], [])
            found[name][0].append(step)
            found[name][1].append(value if type(value) is float else store.decode_number(value))
    return {name: _in_order(np.array(steps), np.array(values)) for name, (steps, values) in found.items()}


def _in_order(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if (np.diff(steps) > 0).all():
        return steps, values
    order = np.argsort(steps, kind="stable")
    steps, values = steps[order], values[order]
    last = np.append(steps[1:] != steps[:-1], True)
    return steps[last], values[last]
