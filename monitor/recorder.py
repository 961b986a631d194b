"""Recording a run; run.py reads it back.

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

import contextlib
import io
import math
import os
import sys
import time
import warnings
import weakref
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np

from monitor import per_example, store
from monitor.arrays import on_host
from monitor.histograms import Histogram
from monitor.run import Run as Run
from monitor.run import load_runs as load_runs
from monitor.watch import Watcher


class Recorder:
    """Writes one run: `with Recorder("runs", name="moons", config={...}) as recorder: recorder.log(...)`.

    What `log` returned from is in the file, even if the process is killed the next moment. Leaving the `with` block ends
    the run as "finished", "interrupted" (Ctrl-C) or "failed" (another exception). `root=None` keeps everything in memory.

    `sinks` are told everything, too: objects with `write(event)`, which must leave the event as it is, and if they like
    `open(meta, path)` before it all (path is None in memory), `finish(meta)` and `close()` after. Events and meta are what
    events.jsonl and run.json hold (docs/run-format.md). A sink that fails is left out from then on, with one warning.
    """

    def __init__(
        self,
        root: str | os.PathLike | None = "runs",
        name: str | None = None,
        config: Mapping | None = None,
        sinks: Iterable[Any] = (),
    ):
        if config is not None and not isinstance(config, Mapping):
            raise TypeError(f"Recorder: config must be a dict of settings by name, got {config!r}")
        started = time.time()
        facts = _of_this_process(started)
        status = {key: facts.pop(key) for key in ("status", "started", "ended")}
        meta = {"schema": store.SCHEMA, "name": name or "run", **status, "config": dict(config or {}), **facts}
        sinks, path, descriptor = _checked_sinks(sinks), None, None
        if root is not None:
            stamp = datetime.fromtimestamp(started).strftime("%Y%m%d-%H%M%S")
            path = store.new_folder(Path(root), f"{stamp}-{store.folder_name(meta['name'])}")
            descriptor = store.open_events(path / "events.jsonl")
        self._begin(meta, path, descriptor, sinks)
        self.event("start", 0, {})

    @classmethod
    def resume(cls, path: str | os.PathLike, step: int | None = None, sinks: Iterable[Any] = ()) -> Self:
        """Go on recording the run in a folder, whether it ended, failed or crashed: a new segment of it.

        `step` is the number of completed updates from which training goes on, such as that of the checkpoint it starts
        with; None if that is the last one recorded. What earlier segments recorded after it was done in vain: readers
        leave it out from the first measurement of the new segment on (`Run.series` says how to see it all the same).
        RecorderError if the run is still being recorded.
        """
        folder, sinks = Path(path), _checked_sinks(sinks)
        before = Run.open(folder)
        process: Any = before.meta.get("process")
        alive = before.meta.get("status") == "running" and store.process_is_alive(process)
        if alive and int(process["pid"]) != os.getpid():  # in this process, the lock says whether it still records
            raise store.RecorderError(f"{str(folder)!r} is being recorded by process {process['pid']}: end that one first")
        descriptor = store.open_events(folder / "events.jsonl")
        try:
            store.sweep(folder)
            before = Run.open(folder)  # as it is now that nobody else writes
            segments, now = before.segments, _of_this_process(time.time())
            first = {"started": before.meta.get("started"), "resumed": now["started"], "reason": None}
            recorder = cls.__new__(cls)
            recorder._begin({**before.meta, **now, **first, "segments": segments}, folder, descriptor, sinks)
        except BaseException:
            with contextlib.suppress(OSError):  # already, if the recorder is gone
                os.close(descriptor)
            raise
        recorder._torn = store.ends_torn(descriptor)
        recorder.segment = 1 + max([len(segments) - 1, *(event["g"] for event in before.events)])
        last = max((event["s"] for event in before.select(*store.MEASURED)), default=0)
        recorder.event("start", last if step is None else step, {"resumed_from": step})
        return recorder

    def _begin(self, meta: dict, path: Path | None, descriptor: int | None, sinks: list) -> None:
        self.meta: dict[str, Any] = meta
        self.name: str = str(meta.get("name", "run"))
        self.path = path
        self.step = 0  # of the last event
        self.segment = 0  # how often the run was resumed
        self.entered = False  # inside its own `with` block, which will end the run
        self.watchers: list[Watcher] = []
        self._counted = 0  # the step from which a log() without one counts on
        self._began = time.perf_counter()  # never set back, as the time of day may be
        self._torn = False  # the last line may lack its end: the disk was full, say
        self._trained = False  # this segment measured something after an update
        self._recorded = store.Tail()  # the events; of a run on disk, as far as somebody has asked for them
        self._end: int | None = None  # where the file ended when this recorder did: another may have gone on
        self._pictures: dict[str, bytes] = {}  # figures of a run in memory
        self._losses: list[np.ndarray] = []  # rows of val_loss.npy of a run in memory
        self._keeps_losses = True  # no more once one did not fit
        self._sinks = sinks
        self._descriptor = descriptor
        self._close = weakref.finalize(self, os.close, descriptor) if descriptor is not None else None
        self._write_meta()
        self._tell("open", meta, path)

    # Writing ----------------------------------------------------------------------------------------------------------

    def log(self, scalars: Mapping[str, Any] | int | None = None, /, step: int | None = None, **more: Any) -> None:
        """Record numbers at a step (the step after the last one logged, if not given): `log(loss=0.1)`.

        Names may have slashes: `log({"train/loss": 0.1}, step=5)`, or `log(5, **{"train/loss": 0.1})`. Values are numbers
        or one-element arrays or tensors.
        """
        if isinstance(scalars, str):
            raise TypeError(f"log: write log({{{scalars!r}: value}}), or log(name=value); the first argument is no name")
        if scalars is not None and not isinstance(scalars, Mapping):
            if step is not None:
                raise TypeError(f"log: the step is given twice, as {scalars!r} and as step={step!r}")
            scalars, step = None, scalars
        if more and scalars and (twice := scalars.keys() & more.keys()):
            raise TypeError(f"log: {min(twice)!r} is given twice, with {scalars[min(twice)]!r} and {more[min(twice)]!r}")
        self.event("step", self._counted + 1 if step is None else step, {**(scalars or {}), **more})

    def event(self, kind: str, step: int, data: Mapping[str, Any], epoch: float | None = None, counts: bool = True) -> None:
        """Append one event; kinds: start step eval layer histogram val_loss figure finding note checkpoint stop.

        With counts=False the steps of a log() without one go on as if this had not been recorded.
        """
        self._add([self._made(kind, step, data, epoch, self._seconds())], counts)

    def events(self, step: int, several: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Append (kind, data) of one step in one piece, which takes less time; as `event` does with counts=False."""
        seconds = self._seconds()
        self._add([self._made(kind, step, data, None, seconds) for kind, data in several], counts=False)

    def _made(self, kind: str, step: int, data: Mapping[str, Any], epoch: float | None, seconds: float) -> dict:
        if self.meta["status"] != "running":
            raise store.RecorderError(f"run {self.name!r} is {self.meta['status']}: nothing can be added to it")
        if kind not in store.KINDS:
            raise ValueError(f"there is no event of kind {kind!r}; the kinds are {' '.join(store.KINDS)}")
        if kind in store.SCALARS:
            data = {str(name): _scalar(name, value) for name, value in data.items()}
        elif self.path is None or self._sinks:  # somebody keeps it
            data = store.encode(dict(data))
        step = step if type(step) is int else _whole(step)
        if not -(2**63) <= step < 2**63:
            raise ValueError(f"step must be a number of updates, got {step}")
        e = None if epoch is None else _scalar("epoch", epoch)
        return {"v": 1, "k": kind, "s": step, "e": e, "t": seconds, "g": self.segment, "d": data}

    def _seconds(self) -> float:
        """Since recording began, in whole microseconds; quicker than round()."""
        return int((time.perf_counter() - self._began) * 1e6) / 1e6

    def _add(self, events: list[dict[str, Any]], counts: bool) -> None:
        if self._descriptor is None:
            self._recorded.events += events
        else:
            self._append(self._descriptor, b"".join(map(store.event_line, events)))
        last = events[-1]
        if last["k"] == "eval" and self._descriptor is not None and os.fstat(self._descriptor).st_nlink == 0:
            raise store.RecorderError(f"the run was deleted while it was being recorded: {str(self.path)!r}")
        self.step = last["s"]
        if counts:
            self._counted = self.step
        self._trained |= self.step > 0 and last["k"] in store.SCALARS
        for event in events if self._sinks else ():
            self._tell("write", event)

    def _append(self, descriptor: int, lines: bytes) -> None:
        """Add lines to the file; after a failure on a new line, so that half an event spoils no other."""
        lines, self._torn = b"\n" + lines if self._torn else lines, True
        try:
            store.append(descriptor, lines)
        except OSError as error:
            raise store.RecorderError(f"cannot record in {str(self.path)!r}: {error.strerror}") from None
        self._torn = False

    def log_histogram(self, name: str, values: Any, step: int | None = None) -> None:
        """Record how the elements of an array are distributed (histograms.py), at the last step if none is given."""
        try:
            data = Histogram.of(on_host(values)).data()
        except (TypeError, ValueError) as error:
            raise TypeError(f"log_histogram({name!r}): {error}") from None
        self.event("histogram", self.step if step is None else step, {name: data}, counts=False)

    def log_figure(self, name: str, figure: Any, step: int | None = None, caption: str = "") -> None:
        """Keep a picture, at the last step if none is given: a Matplotlib Figure, or an image.

        An image has the shape [height, width] (grey) or [height, width, 3 or 4] (red, green, blue, opacity); whole numbers
        go from 0 to 255, others from 0 to 1. The picture becomes a PNG file in the run's figures/.
        """
        step, png = int(self.step if step is None else step), _png(name, figure)
        if self.path is None:
            file = f"{store.folder_name(name)[:100]}-{step:08d}-{len(self._pictures)}.png"
            self._pictures[file] = png
        else:
            file = store.add_file(self.path / "figures", f"{store.folder_name(name)[:100]}-{step:08d}", ".png", png)
        self.event("figure", step, {"name": str(name), "file": file, "caption": str(caption)}, counts=False)

    def log_val_losses(self, losses: Any, step: int | None = None) -> None:
        """Keep the validation loss of every example, [n], at the last step if none is given: what paired tests need.

        It goes as float32 into val_loss.npy, for `Run.val_losses`. Of more than 10,000 examples every second is kept, or
        every third, and so on. The examples must be the same every time, in the same order; once their number changes, or
        the file would pass 256 MB, no more is kept, and a note says so.
        """
        losses = on_host(losses)
        if losses.ndim != 1 or losses.dtype.kind not in "fiu" or not losses.size:
            raise TypeError(f"log_val_losses: expected one loss for each example, got an array of shape {losses.shape}")
        if not self._keeps_losses:
            return
        row, every = per_example.thinned(losses)
        try:
            number = self._add_losses(row)
        except store.RecorderError as error:
            self._keeps_losses = False
            self.note(f"the losses of single examples are not kept from here on: {error}")
            return
        data = {"row": number, "examples": len(losses), "every": every}
        self.event("val_loss", self.step if step is None else step, data, counts=False)

    def _add_losses(self, row: np.ndarray) -> int:
        if self.path is not None:
            return per_example.append_row(self.path / "val_loss.npy", row)
        if self._losses and len(self._losses[0]) != len(row):
            raise store.RecorderError(f"the rows are of {len(self._losses[0])} examples, these are {len(row)} losses")
        self._losses.append(row)
        return len(self._losses) - 1

    def watch(self, model: Any, every: int = 10, histograms: int = 0, rho: int | None = None) -> Watcher:
        """Record gradients, weights, updates and outputs of each layer, and rho, every so many steps: see watch.py.

        tinynet's fit asks the watcher itself. In a loop of one's own, nothing is recorded without these calls:

            watcher = recorder.watch(model, every=10)
            watcher.begin(step)              # before the forward pass of each step, counted from 1
            ...                              # forward, backward, optimizer.step()
            watcher.end(step, loss)          # after the update, before the gradients are cleared

        A run that finishes with a watcher that was never asked ends with a warning.
        """
        self.watchers.append(Watcher(model, self, every, histograms, rho))
        return self.watchers[-1]

    def note(self, text: str) -> None:
        """Record a remark, such as why training stopped."""
        self.event("note", self.step, {"text": text}, counts=False)

    def describe(self, **fields: Any) -> None:
        """Add fields to run.json: layers, seeds, what the data were."""
        self.meta.update(store.encode(fields))
        self._write_meta()

    def finish(self, status: str = "finished", reason: str | None = None) -> None:
        """End the run; a second call does nothing."""
        if self.meta["status"] != "running":
            return
        for watcher in self.watchers:
            watcher.cancel()
        try:
            self.event("stop", self.step, {"status": status, "reason": reason})
        finally:  # the run has ended, even where its last line cannot be written
            self.meta.update(status=status, reason=reason, ended=_iso(time.time()))
            if self.path is not None and self._close is not None:
                with contextlib.suppress(OSError):
                    self._end = (self.path / "events.jsonl").stat().st_size
                self._close()
                self._descriptor = None
            self._tell("finish", self.meta)
            self._tell("close")
            self._write_meta()
        if status == "finished" and self._trained and not all(watcher.asked for watcher in self.watchers):
            warnings.warn(
                "recorder.watch(model) recorded nothing: in a loop of your own, write watcher = recorder.watch(model), and "
                "call watcher.begin(step) before the forward pass and watcher.end(step, loss) after the update",
                stacklevel=3 if self.entered else 2,
            )

    def _write_meta(self) -> None:
        if self.path is not None:
            store.write_json(self.path / "run.json", self.meta)

    def _tell(self, what: str, *args: Any) -> None:
        """Call a method of every sink that has it; drop a sink that fails."""
        for sink in self._sinks:
            if not hasattr(sink, what):
                continue
            try:
                getattr(sink, what)(*args)
            except Exception as error:
                self._sinks = [other for other in self._sinks if other is not sink]
                if what != "close":
                    with contextlib.suppress(Exception):
                        getattr(sink, "close", lambda: None)()
                warnings.warn(
                    f"the sink {type(sink).__name__} failed and is left out from now on: {type(error).__name__}: {error}. "
                    "The run goes on and is recorded as before",
                    stacklevel=4,
                )

    def __enter__(self) -> Self:
        self.entered = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if kind is None or (isinstance(error, SystemExit) and not error.code):  # sys.exit() is an end like any other
            self.finish()
            return
        with contextlib.suppress(store.RecorderError):  # a disk that is full need not be reported twice
            if issubclass(kind, KeyboardInterrupt):
                self.finish("interrupted", "Ctrl-C")
            else:
                self.finish("failed", f"{kind.__name__}: {error}")

    # Reading back -----------------------------------------------------------------------------------------------------

    @property
    def run(self) -> Run:
        """What was recorded so far, as a Run."""
        recorded = self._recorded
        if self.path is not None:
            try:
                with (self.path / "events.jsonl").open("rb") as file:
                    recorded.take(file, self._end)
            except OSError as error:
                raise store.RecorderError(f"cannot read back {str(self.path)!r}: {error.strerror}") from None
        return Run(self.meta, recorded.events, self.path, recorded.unreadable, self._pictures, self._losses)


def _whole(step: Any) -> int:
    """A step as Python's int."""
    try:
        number = step.item() if hasattr(step, "item") else step
        if isinstance(number, bool | str) or number % 1:  # nan % 1 and inf % 1 are nan
            raise TypeError
        return int(number)
    except (TypeError, ValueError):
        raise TypeError(f"step must be a whole number of updates, got {step!r}") from None


def _scalar(name: str, value: Any) -> float | str:
    """A number as events hold it, or an error that names what was logged."""
    if type(value) is not float:
        value = _number(name, value)
    return value if math.isfinite(value) else str(value)


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


def _of_this_process(now: float) -> dict[str, Any]:
    """What run.json says of a segment that begins."""
    return {
        "status": "running",
        "started": _iso(now),
        "ended": None,
        "command": sys.argv,
        "versions": {"python": sys.version.split()[0], "numpy": np.__version__},
        "process": store.this_process(),
    }


def _checked_sinks(sinks: Iterable[Any]) -> list[Any]:
    sinks = list(sinks) if isinstance(sinks, Iterable) else [sinks]
    for sink in sinks:
        if isinstance(sink, type) or not callable(getattr(sink, "write", None)):
            raise TypeError(f"sinks: expected objects with a method write(event), got {sink!r}")
    return sinks


def _png(name: str, figure: Any) -> bytes:
    """A Matplotlib Figure or an image as a PNG file."""
    content = io.BytesIO()
    if hasattr(figure, "savefig"):
        figure.savefig(content, format="png")
        return content.getvalue()
    image = on_host(figure)
    if (
        image.dtype.kind not in "fiub"
        or not image.size
        or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (3, 4)))
    ):
        raise TypeError(
            f"log_figure({name!r}): expected a Matplotlib Figure or an image of shape [height, width], [height, width, 3] "
            f"or [height, width, 4], got {type(figure).__name__} of shape {list(image.shape)}"
        )
    try:
        from matplotlib.image import imsave
    except ImportError:
        raise ImportError("pictures need Matplotlib: pip install matplotlib") from None
    image = image if image.dtype.kind in "iu" else np.nan_to_num(image.astype(np.float64) * 255, posinf=255)
    grey = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    imsave(content, grey if grey.ndim == 3 else np.repeat(grey[:, :, None], 3, axis=2), format="png")
    return content.getvalue()


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
