"""Writing a run as a TensorBoard event file, with neither TensorFlow nor TensorBoard."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monitor import store
from monitor.exporters.common import Sink, clock, flat, remark, scalars
from monitor.exporters.tensorboard import writing
from monitor.exporters.tensorboard.records import frame
from monitor.histograms import Histogram


class TensorBoardSink(Sink):
    """Write a run for TensorBoard while it is recorded: `Recorder("runs", sinks=[TensorBoardSink()])`.

    The event file goes into the run's folder, under tensorboard/ (then `tensorboard --logdir runs`), or with `root` into
    a folder root/<run> of its own. It is written through: what `log` returned from is in the file.

    Numbers become 32 bits, about seven digits; events.jsonl keeps all. A resumed run adds a file, which makes readers
    forget the steps that are trained again. Config becomes hyperparameters; notes and findings become text.
    """

    def __init__(self, root: str | os.PathLike | None = None):
        super().__init__()
        self.root = None if root is None else Path(root)
        self._descriptor: int | None = None
        self._file: Path | None = None
        self._resumed_from: Any = None
        self._replaces = False  # the next measurement is the first of a resumed run

    def open(self, meta: Mapping[str, Any], path: Path | None) -> None:
        super().open(meta, path)
        self.where = Path(self.where) if self.where else self._place(meta)
        began = self.began
        try:
            self.where.mkdir(parents=True, exist_ok=True)
            self._file = self.where / _next_name(self.where, began)
            self._descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | store.BINARY, 0o666)
        except OSError as error:
            raise store.RecorderError(f"cannot write event files in {str(self.where)!r}: {error.strerror}") from None
        self._put(writing.file_version(began))
        self._put(writing.summary(began, 0, [writing.session_start(flat(meta.get("config")), began)]))

    def _place(self, meta: Mapping[str, Any]) -> Path:
        """The folder of a run's event files: its own, or one of its name."""
        if self.root is None:
            if self.folder is None:
                raise ValueError("a run in memory has no folder: TensorBoardSink('tensorboard') names one")
            return self.folder / "tensorboard"
        name = self.folder.name if self.folder else store.folder_name(str(meta.get("name", "run")))
        return self.root / name if self.resumed else store.new_folder(self.root, name)

    def write(self, event: Mapping[str, Any]) -> None:
        if event["k"] == "start" and event["g"] > 0:
            self._replaces, self._resumed_from = True, event["d"].get("resumed_from")
        values = self._values(event)
        if not values:
            return
        step, wall_time = event["s"], self.seconds(event)
        if self._replaces and event["k"] in store.MEASURED:  # as Run.select leaves out what was trained again
            origin = self._resumed_from
            self._put(writing.restart(wall_time, origin + 1 if type(origin) is int and step >= origin else step))
            self._replaces = False
        self._put(writing.summary(wall_time, step, values))

    def _values(self, event: Mapping[str, Any]) -> list[bytes]:
        """What of an event TensorBoard can show."""
        kind, data = event["k"], event["d"]
        values = [writing.scalar(tag, value) for tag, value in scalars(event).items()]
        for tag, content in data.items() if kind == "histogram" else ():
            with contextlib.suppress(ValueError):  # damaged; readers pass it over, too
                histogram = Histogram.from_data(content)
                values.append(writing.histogram(tag, histogram))
                if histogram.nonfinite:
                    values.append(writing.scalar(f"{tag}/nonfinite", histogram.nonfinite))
        if kind == "figure" and (png := self.picture(event)) is not None:
            values.append(writing.image(str(data.get("name", "")), png, str(data.get("caption", ""))))
        if (content := remark(event)) is not None:
            values.append(writing.text(f"{kind}s", content))
        return values

    def finish(self, meta: Mapping[str, Any]) -> None:
        ended = clock({"started": meta.get("ended")})({"g": 0})
        self._put(writing.summary(ended, 0, [writing.session_end(str(meta.get("status")), ended)]))

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def abandon(self) -> None:
        self.close()
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.unlink()
                self._file.parent.rmdir()  # unless something else is in it

    def _put(self, message: bytes) -> None:
        if self._descriptor is None:
            raise store.RecorderError("the event file is closed")
        try:
            store.append(self._descriptor, frame(message))
        except OSError as error:
            raise store.RecorderError(f"cannot write {str(self._file)!r}: {error.strerror}") from None


def event_files(folder: Path) -> list[Path]:
    """The event files right in a folder, in the order in which TensorBoard reads them: that of their names."""
    return sorted(path for path in folder.iterdir() if "tfevents" in path.name and path.is_file())


def _next_name(folder: Path, began: float) -> str:
    """A file name after all others there, even if the clock was set back: readers go by names."""
    stamps = [re.search(r"tfevents\.(\d{1,10})\b", path.name) for path in event_files(folder)]
    last = max((int(stamp[1]) for stamp in stamps if stamp), default=-1)
    return f"events.out.tfevents.{max(int(began), last + 1):010d}.monitor"
