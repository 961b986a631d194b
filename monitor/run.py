"""Reading a run back: its series, its layers, its histograms and pictures, and how it ended.

A file may come from a crashed machine, a full disk or a stranger: what can be read is read, lines that cannot are counted
in `unreadable`, and nothing in a run is ever executed or followed out of its folder.

A run that was resumed has several segments. Where they repeat steps, the last one counts; `segment=` shows another.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monitor import per_example, store
from monitor.histograms import Histogram

PER_SEGMENT = ("started", "ended", "status", "reason", "command", "versions", "process")  # fields of run.json
LAST = 2**63  # later than any step


@dataclass(frozen=True)
class Picture:
    """A picture that was logged; `read()` gives the PNG file as bytes."""

    step: int
    name: str
    caption: str
    file: str
    path: Path | None  # None for a run in memory
    read: Callable[[], bytes]


class Run:
    """A recorded run, read-only: `Run.open("runs/20260101-120000-moons")`.

    `config` is what it was started with, `status` one of running, finished, interrupted, failed, crashed, `events` all
    there is (docs/run-format.md), `unreadable` the number of lines that could not be read.
    """

    def __init__(
        self,
        meta: dict[str, Any],
        events: list[dict[str, Any]],
        path: Path | None = None,
        unreadable: int = 0,
        pictures: dict[str, bytes] | None = None,
        losses: list[np.ndarray] | None = None,
    ):
        self.meta = meta
        self.events = events
        self.path = path
        self.unreadable = unreadable
        self._pictures = pictures or {}
        self._losses = losses or []

    @classmethod
    def open(cls, path: str | os.PathLike) -> Run:
        """Read the run in a folder, such as "runs/20260101-120000-moons"."""
        folder = Path(path)
        if not (folder / "run.json").is_file():
            raise store.RecorderError(f"there is no run in {str(folder)!r}: run.json is missing")
        meta = store.read_json(folder / "run.json")
        if meta.get("schema") != store.SCHEMA:
            raise store.RecorderError(
                f"{str(folder)!r} has the run format {meta.get('schema')!r}, this version reads {store.SCHEMA}"
            )
        events, unreadable = store.read_events(folder / "events.jsonl")
        return cls(meta, events, folder, unreadable)

    @property
    def name(self) -> str:
        return str(self.meta.get("name", "run"))

    @property
    def config(self) -> dict[str, Any]:
        config = self.meta.get("config")
        return dict(config) if isinstance(config, dict) else {}

    @property
    def status(self) -> str:
        """How the run ended; a run that says "running" but whose process is gone has crashed."""
        status = str(self.meta.get("status", "running"))
        if status == "running" and store.process_is_alive(self.meta.get("process")) is False:
            return "crashed"
        return status

    @property
    def segments(self) -> list[dict[str, Any]]:
        """One for each time the run was started or resumed: started, ended, status, reason, command, versions, process."""
        kept = self.meta.get("segments")
        earlier = [s for s in kept if isinstance(s, dict)] if isinstance(kept, list) else []
        last = {key: self.meta.get(key) for key in PER_SEGMENT}
        return [*earlier, {**last, "started": self.meta.get("resumed") or last["started"], "status": self.status}]

    # Events -----------------------------------------------------------------------------------------------------------

    def select(self, *kinds: str, segment: int | None = None) -> list[dict[str, Any]]:
        """The events of some kinds (all, if none is named) that count, in the order in which they were recorded.

        Left out is what an earlier segment measured after the step from which a later one went on. With `segment` given,
        all that this one recorded.
        """
        events = [event for event in self.events if not kinds or event["k"] in kinds]
        if segment is not None:
            return [event for event in events if event["g"] == segment]
        first = self._first_steps()
        if not first:
            return events
        end, ends = LAST, {}
        for g in sorted({event["g"] for event in self.events}, reverse=True):
            ends[g], end = end, min(end, first.get(g, LAST))  # from this step on, a later segment measured anew
        return [event for event in events if event["k"] not in store.REPLACED or event["s"] < ends[event["g"]]]

    def _first_steps(self) -> dict[int, int]:
        """For each segment that resumed the run and measured something: the first step of what it replaces."""
        resumed: dict[int, Any] = {}
        first: dict[int, int] = {}
        for event in self.events:
            segment = event["g"]
            if segment > 0 and event["k"] == "start":
                resumed[segment] = event["d"].get("resumed_from")
            elif segment > 0 and event["k"] in store.MEASURED and segment not in first:
                step, origin = event["s"], resumed.get(segment)
                # What was measured where training went on stays, unless it is measured again (points() sees to that).
                first[segment] = origin + 1 if type(origin) is int and step >= origin else step
        return first

    # Series -----------------------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """The names of all series that count, in the order in which they first appear."""
        return list(dict.fromkeys(name for event in self.select(*store.SCALARS) for name in event["d"]))

    def series(self, name: str, segment: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(steps, values) of one series; where a step was logged twice, the later value counts.

        What a resumed run has trained again counts once, as the last segment has it; `segment=0` is what the first
        segment recorded, and so on.
        """
        steps, _, values = self.points(name, segment)
        return steps, values

    def points(self, name: str, segment: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(steps, epochs, values) of one series; the epoch is nan where none was given."""
        points = {
            event["s"]: (event.get("e"), store.decode_number(event["d"][name]))
            for event in self.select(*store.SCALARS, segment=segment)
            if name in event["d"]
        }
        if not points:
            where = f"run {self.name!r}" if segment is None else f"segment {segment} of run {self.name!r}"
            raise KeyError(f"{where} has no series {name!r}; it has {', '.join(self.names()) or 'nothing'}")
        steps = sorted(points)
        epochs = [np.nan if points[s][0] is None else store.decode_number(points[s][0]) for s in steps]
        return np.array(steps), np.array(epochs, float), np.array([points[s][1] for s in steps])

    def last(self, name: str) -> float:
        """The last value of a series."""
        return float(self.series(name)[1][-1])

    def val_losses(self, segment: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(steps, losses [steps, examples] in float32): the loss of every validation example at every evaluation.

        With them, two evaluations (or two runs with the same validation data) can be compared example by example, which
        tells far smaller differences from chance than their means do. KeyError if they were not recorded.
        """
        events = self.select("val_loss", segment=segment)
        rows = self._losses if self.path is None else per_example.read_rows(self.path / "val_loss.npy")
        whose = {
            row: event for event in self.events if event["k"] == "val_loss" and type(row := event["d"].get("row")) is int
        }
        found = {}
        for event in events:
            row = event["d"].get("row")
            same = all(event["d"].get(key) == events[-1]["d"].get(key) for key in ("examples", "every"))
            if same and type(row) is int and whose[row] is event and 0 <= row < len(rows):  # else a crash took its row
                found[event["s"]] = rows[row]
        if not found:
            raise KeyError(
                f"run {self.name!r} has no losses of single examples: fit records them if it has validation data and the "
                "loss takes reduction="
            )
        steps = sorted(found)
        return np.array(steps), np.array([found[step] for step in steps])

    def to_pandas(self) -> Any:
        """A pandas DataFrame: one row for each step at which something was logged, one column for each series.

        The index is "step"; a column "epoch" comes first where epochs were recorded; nan where a series has no value.
        """
        try:
            from pandas import DataFrame, Index
        except ImportError:
            raise ImportError('to_pandas() needs pandas: pip install pandas, which is tinynet\'s extra "pandas"') from None
        columns: dict[str, dict[int, float]] = {name: {} for name in self.names()}
        epochs: dict[int, float] = {}
        for event in self.select(*store.SCALARS):
            step = event["s"]
            if event["e"] is not None:
                epochs[step] = store.decode_number(event["e"])
            for name, value in event["d"].items():
                columns[name][step] = store.decode_number(value)
        if epochs and "epoch" not in columns:
            columns = {"epoch": epochs, **columns}
        steps = sorted({step for column in columns.values() for step in column})
        table = np.full((len(steps), len(columns)), np.nan)
        row = {step: i for i, step in enumerate(steps)}
        for j, column in enumerate(columns.values()):
            table[[row[step] for step in column], j] = list(column.values())
        return DataFrame(table, index=Index(steps, dtype="int64", name="step"), columns=list(columns))

    # Layers, histograms, pictures -------------------------------------------------------------------------------------

    def layers(self, quantity: str, segment: int | None = None) -> tuple[np.ndarray, list[str], np.ndarray]:
        """(steps, names, matrix [steps, layers]) of a quantity of every layer, such as "grad_norm"; nan where missing.

        watch.py says what the quantities are. KeyError if this one was not recorded.
        """
        rows: dict[int, dict[str, float]] = {}
        known: dict[str, None] = {}
        for event in self.select("layer", segment=segment):
            data = event["d"]
            known.update(dict.fromkeys(key for key in data if key != "names"))
            names, values = data.get("names"), data.get(quantity)
            if isinstance(names, list) and isinstance(values, list) and len(names) == len(values):
                row = rows.setdefault(event["s"], {})
                row.update((str(name), _number_or_nan(value)) for name, value in zip(names, values, strict=True))
        if not rows:
            there = ", ".join(known) or "nothing: recorder.watch(model) records layers"
            raise KeyError(f"run {self.name!r} has no {quantity!r} of its layers; it has {there}")
        columns = list(dict.fromkeys(name for row in rows.values() for name in row))
        steps = sorted(rows)
        matrix = np.array([[rows[step].get(name, np.nan) for name in columns] for step in steps], float)
        return np.array(steps), columns, matrix.reshape(len(steps), len(columns))

    def histogram_names(self) -> list[str]:
        """The names of all histograms that count, in the order in which they first appear."""
        return list(dict.fromkeys(name for event in self.select("histogram") for name in event["d"]))

    def histogram(self, name: str, segment: int | None = None) -> list[tuple[int, Histogram]]:
        """(step, Histogram) for every time that a histogram was recorded, in order of steps."""
        found: dict[int, Histogram] = {}
        for event in self.select("histogram", segment=segment):
            try:
                found[event["s"]] = Histogram.from_data(event["d"].get(name))
            except ValueError:  # not in this event, or damaged
                continue
        if not found:
            known = ", ".join(self.histogram_names()) or "nothing"
            raise KeyError(f"run {self.name!r} has no histogram {name!r}; it has {known}")
        return sorted(found.items(), key=lambda item: item[0])

    def figures(self, segment: int | None = None) -> list[Picture]:
        """The pictures that were logged and are there, in the order in which they were recorded."""
        found = []
        for event in self.select("figure", segment=segment):
            data = event["d"]
            file = Path(str(data.get("file", ""))).name.replace("\\0", "")  # never a path out of the folder
            picture = self._picture(event["s"], str(data.get("name", "")), str(data.get("caption", "")), file)
            if picture is not None:
                found.append(picture)
        return found

    def _picture(self, step: int, name: str, caption: str, file: str) -> Picture | None:
        if file in self._pictures:
            return Picture(step, name, caption, file, None, lambda: self._pictures[file])
        if self.path is None or not file:
            return None
        path = self.path / "figures" / file
        try:
            inside = path.is_file() and path.resolve().parent == (self.path / "figures").resolve()
        except (OSError, ValueError):  # no name that a file could have
            return None
        return Picture(step, name, caption, file, path, lambda: store.read_bytes(path)) if inside else None

    def __repr__(self) -> str:
        return f"Run({self.name!r}, {self.status}, {len(self.events)} events, {len(self.names())} series)"


def load_runs(root: str | os.PathLike = "runs") -> list[Run]:
    """Every run in a folder, oldest first; what is not a run is passed over, with a warning if it was meant to be one."""
    runs = []
    for path in sorted(Path(root).glob("*/run.json")):
        try:
            runs.append(Run.open(path.parent))
        except store.RecorderError as error:
            warnings.warn(f"passed over: {error}", stacklevel=2)
    return runs


def _number_or_nan(value: Any) -> float:
    try:
        return np.nan if value is None else store.decode_number(value)
    except (TypeError, ValueError, OverflowError):
        return np.nan
