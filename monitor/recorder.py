"""Recording a run, and reading it back.

>>> recorder = Recorder(root=None, name="demo")          # root=None records in memory; a path records on disk
>>> for loss in (0.9, 0.5, 0.4):
...     recorder.log(**{"train/loss": loss})
>>> recorder.finish()
>>> steps, values = recorder.run.series("train/loss")
>>> steps.tolist(), values.tolist()
([1, 2, 3], [0.9, 0.5, 0.4])

A step is the number of completed updates; step 0 is an evaluation before training.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np

from monitor import store


class Recorder:
    """Writes one run: `with Recorder("runs", name="moons", config={...}) as recorder: recorder.log(...)`.

    What `log` returned from is in the file, even if the process is killed the next moment. Leaving the `with` block ends
    the run as "finished", "interrupted" (Ctrl-C) or "failed" (another exception). `root=None` keeps everything in memory.
    """

    def __init__(self, root: str | os.PathLike | None = "runs", name: str | None = None, config: Mapping | None = None):
        self.name = name or "run"
        self.step = 0
        self.started = time.time()
        self.entered = False  # inside its own `with` block, which will end the run
        self.path: Path | None = None
        self._descriptor: int | None = None
        self._events: list[dict[str, Any]] = []
        self.meta: dict[str, Any] = {
            "schema": store.SCHEMA,
            "name": self.name,
            "status": "running",
            "started": _iso(self.started),
            "ended": None,
            "config": dict(config or {}),
            "command": sys.argv,
            "versions": {"python": sys.version.split()[0], "numpy": np.__version__},
            "process": {"pid": os.getpid(), "host": socket.gethostname()},
        }
        if root is not None:
            stamp = datetime.fromtimestamp(self.started).strftime("%Y%m%d-%H%M%S")
            self.path = store.new_folder(Path(root), f"{stamp}-{store.folder_name(self.name)}")
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            self._descriptor = os.open(self.path / "events.jsonl", flags, 0o644)
            store.write_json(self.path / "run.json", self.meta)
        self.event("start", 0, {})

    # Writing ----------------------------------------------------------------------------------------------------------

    def log(self, step: int | None = None, **scalars: Any) -> None:
        """Record numbers at a step (the step after the last one logged, if not given): `log(loss=0.1)`.

        Names may have slashes: `log(**{"train/loss": 0.1})`. Values are numbers or one-element arrays or tensors.
        """
        step = self.step + 1 if step is None else step
        self.event("step", step, {name: _number(name, value) for name, value in scalars.items()})

    def event(self, kind: str, step: int, data: Mapping[str, Any], epoch: int | None = None) -> None:
        """Append one event; kinds: start step eval layer histogram finding note checkpoint stop."""
        if self.meta["status"] != "running":
            raise store.RecorderError(f"run {self.name!r} is {self.meta['status']}: nothing can be added to it")
        self.step = int(step)
        seconds = round(time.time() - self.started, 6)
        event = {"v": 1, "k": kind, "s": self.step, "e": epoch, "t": seconds, "g": 0, "d": store.encode(dict(data))}
        self._events.append(event)
        if self._descriptor is not None:
            try:
                store.append(self._descriptor, store.event_line(event))
            except OSError as error:
                raise store.RecorderError(f"cannot record in {str(self.path)!r}: {error.strerror}") from None

    def note(self, text: str) -> None:
        """Record a remark, such as why training stopped."""
        self.event("note", self.step, {"text": text})

    def describe(self, **fields: Any) -> None:
        """Add fields to run.json: layers, seeds, what the data were."""
        self.meta.update(store.encode(fields))
        self._write_meta()

    def finish(self, status: str = "finished", reason: str | None = None) -> None:
        """End the run; a second call does nothing."""
        if self.meta["status"] != "running":
            return
        self.event("stop", self.step, {"status": status, "reason": reason})
        self.meta.update(status=status, reason=reason, ended=_iso(time.time()))
        self._write_meta()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _write_meta(self) -> None:
        if self.path is not None:
            store.write_json(self.path / "run.json", self.meta)

    def __enter__(self) -> Self:
        self.entered = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if kind is None:
            self.finish()
        elif issubclass(kind, KeyboardInterrupt):
            self.finish("interrupted", "Ctrl-C")
        else:
            self.finish("failed", f"{kind.__name__}: {error}")

    # Reading back -----------------------------------------------------------------------------------------------------

    @property
    def run(self) -> Run:
        """What was recorded so far, as a Run."""
        return Run(self.meta, self._events, self.path)


class Run:
    """A recorded run, read-only: `Run.open("runs/20260101-120000-moons")`.

    `config` is what it was started with, `status` one of running, finished, interrupted, failed, crashed.
    """

    def __init__(self, meta: dict[str, Any], events: list[dict[str, Any]], path: Path | None = None, unreadable: int = 0):
        self.meta = meta
        self.events = events
        self.path = path
        self.unreadable = unreadable  # lines of events.jsonl that could not be read

    @classmethod
    def open(cls, path: str | os.PathLike) -> Run:
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
        return dict(self.meta.get("config") or {})

    @property
    def status(self) -> str:
        """How the run ended; a run that says "running" but whose process is gone has crashed."""
        status = str(self.meta.get("status", "running"))
        if status == "running" and store.process_is_alive(self.meta.get("process") or {}) is False:
            return "crashed"
        return status

    def names(self) -> list[str]:
        """The names of all series, in the order in which they first appear."""
        return list(dict.fromkeys(name for event in self.events if event["k"] in _SCALARS for name in event["d"]))

    def series(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """(steps, values) of one series; where a step was logged twice, the later value counts."""
        steps, _, values = self.points(name)
        return steps, values

    def points(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(steps, epochs, values) of one series; the epoch is nan where none was given."""
        points = {
            event["s"]: (event.get("e"), store.decode_number(event["d"][name]))
            for event in self.events
            if event["k"] in _SCALARS and name in event["d"]
        }
        if not points:
            known = ", ".join(self.names()) or "nothing"
            raise KeyError(f"run {self.name!r} has no series {name!r}; it has {known}")
        steps = sorted(points)
        epochs = [np.nan if points[s][0] is None else points[s][0] for s in steps]
        return np.array(steps), np.array(epochs, float), np.array([points[s][1] for s in steps])

    def last(self, name: str) -> float:
        """The last value of a series."""
        return float(self.series(name)[1][-1])

    def __repr__(self) -> str:
        return f"Run({self.name!r}, {self.status}, {len(self.events)} events, {len(self.names())} series)"


_SCALARS = ("step", "eval")


def load_runs(root: str | os.PathLike = "runs") -> list[Run]:
    """Every run in a folder, oldest first; what is not a run is passed over."""
    folders: Iterable[Path] = sorted(Path(root).glob("*/run.json")) if Path(root).is_dir() else ()
    return [Run.open(path.parent) for path in folders]


def _number(name: str, value: Any) -> float:
    """A Python number, or an error that names what was logged."""
    try:
        if isinstance(value, str):
            raise TypeError
        return value if isinstance(value, int) and not isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        shape = getattr(value, "shape", None)
        what = f"an array of shape {shape}" if shape else repr(value)
        raise TypeError(f"log({name}=...): expected one number, got {what}") from None


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
