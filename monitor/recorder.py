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
import warnings
from collections.abc import Mapping
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
        self._began = time.perf_counter()  # never set back, as the time of day may be
        self.entered = False  # inside its own `with` block, which will end the run
        self.path: Path | None = None
        self._descriptor: int | None = None
        self._torn = False  # the last line may lack its end: the disk was full, say
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
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | store.BINARY
            self._descriptor = os.open(self.path / "events.jsonl", flags, 0o666)  # less what the umask takes away
            store.write_json(self.path / "run.json", self.meta)
        self.event("start", 0, {})

    # Writing ----------------------------------------------------------------------------------------------------------

    def log(self, step: int | Mapping[str, Any] | None = None, **scalars: Any) -> None:
        """Record numbers at a step (the step after the last one logged, if not given): `log(loss=0.1)`.

        Names may have slashes: `log(**{"train/loss": 0.1})`, or for short `log({"train/loss": 0.1})`. Values are numbers
        or one-element arrays or tensors.
        """
        if isinstance(step, Mapping):
            scalars = {**step, **scalars}
            step = None
        step = self.step + 1 if step is None else step
        self.event("step", step, {name: _number(name, value) for name, value in scalars.items()})

    def event(self, kind: str, step: int, data: Mapping[str, Any], epoch: int | None = None) -> None:
        """Append one event; kinds: start step eval layer histogram finding note checkpoint stop."""
        if self.meta["status"] != "running":
            raise store.RecorderError(f"run {self.name!r} is {self.meta['status']}: nothing can be added to it")
        self.step = int(step)
        seconds = round(time.perf_counter() - self._began, 6)
        epoch, data = store.encode(epoch), store.encode(dict(data))
        event = {"v": 1, "k": kind, "s": self.step, "e": epoch, "t": seconds, "g": 0, "d": data}
        if self._descriptor is not None:
            self._append(self._descriptor, store.event_line(event))
        self._events.append(event)

    def _append(self, descriptor: int, line: bytes) -> None:
        """Add a line to the file; after a failure on a new line, so that half an event spoils no other."""
        line, self._torn = b"\n" + line if self._torn else line, True
        try:
            store.append(descriptor, line)
        except OSError as error:
            raise store.RecorderError(f"cannot record in {str(self.path)!r}: {error.strerror}") from None
        self._torn = False

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
        try:
            self.event("stop", self.step, {"status": status, "reason": reason})
        finally:  # the run has ended, even where its last line cannot be written
            self.meta.update(status=status, reason=reason, ended=_iso(time.time()))
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None
            self._write_meta()

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
        return list(dict.fromkeys(name for event in self.events if event["k"] in store.SCALARS for name in event["d"]))

    def series(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """(steps, values) of one series; where a step was logged twice, the later value counts."""
        steps, _, values = self.points(name)
        return steps, values

    def points(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(steps, epochs, values) of one series; the epoch is nan where none was given."""
        points = {
            event["s"]: (event.get("e"), store.decode_number(event["d"][name]))
            for event in self.events
            if event["k"] in store.SCALARS and name in event["d"]
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


def load_runs(root: str | os.PathLike = "runs") -> list[Run]:
    """Every run in a folder, oldest first; what is not a run is passed over, with a warning if it was meant to be one."""
    runs = []
    for path in sorted(Path(root).glob("*/run.json")):
        try:
            runs.append(Run.open(path.parent))
        except store.RecorderError as error:
            warnings.warn(f"passed over: {error}", stacklevel=2)
    return runs


def _number(name: str, value: Any) -> float:
    """A Python number, or an error that names what was logged."""
    try:
        plain = value.item() if hasattr(value, "item") else value  # of one element, whatever the shape
        if isinstance(plain, str):
            raise TypeError
        number = float(plain)
        return plain if isinstance(plain, int) and not isinstance(plain, bool) else number
    except (TypeError, ValueError, OverflowError, RuntimeError):
        shape = getattr(value, "shape", None)
        what = f"an array of shape {shape}" if shape else repr(value)
        raise TypeError(f"log({name}=...): expected one number, got {what}") from None


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
