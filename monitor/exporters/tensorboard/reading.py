"""Reading event files of any writer (TensorBoard, Keras, PyTorch, tensorboardX, ours), with none of these installed.

A file may be cut, damaged or hostile: what can be read is read, and what was passed over is said in `run.meta["skipped"]`
and counted in `run.unreadable`.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from monitor import store
from monitor.exporters.tensorboard import writing
from monitor.exporters.tensorboard.protobuf import MalformedError, Message, numbers
from monitor.exporters.tensorboard.records import read_records
from monitor.exporters.tensorboard.sink import event_files
from monitor.histograms import BINS, Histogram
from monitor.run import Run

TENSORS = {1: ("f", 5), 2: ("d", 6), 3: ("i", 7), 9: ("q", 10)}  # by the number of a type: kind in struct, field
STATUS = {writing.SUCCESS: "finished", writing.FAILURE: "failed"}
LATEST = 1e11  # seconds since 1970: a time after it, in the year 5138, is damage
SAID = 20  # problems that are kept word by word


def read_tensorboard(folder: str | os.PathLike) -> Run:
    """The run whose event files are in a folder (not in its subfolders), or in one file, as a Run in memory.

    Numbers, text and hyperparameters are as they were; numbers may have been 32 bits (0.1 is 0.10000000149). Histograms
    are put into our bins, each bucket as a whole, so those of other writers are right to within their buckets. Pictures
    are kept if they are PNG. Where a file says that training went back to a step, a new segment begins. A run that does
    not say how it ended has the status "unknown". What cannot be read is passed over: `run.unreadable` counts it,
    `run.meta["skipped"]` says what it was.

    RecorderError if there are no event files.
    """
    place = Path(folder)
    folder_of = (place if place.is_dir() else place.parent).absolute()
    reader = _Reader(folder_of.parent.name if folder_of.name == "tensorboard" else folder_of.name)
    for file in _files(place):
        payloads, problems = read_records(store.read_bytes(file))
        for problem in problems:
            reader.skip(f"{file.name}: {problem}")
        for number, payload in enumerate(payloads):
            try:
                reader.event(Message(payload))
            except MalformedError as error:
                reader.skip(f"{file.name}: record {number}: {error}")
    return reader.run()


def import_tensorboard(folder: str | os.PathLike, root: str | os.PathLike = "runs", name: str | None = None) -> Run:
    """Read event files and keep them as a run folder of ours in `root`; everything that reads runs then reads it.

    `name` is the run's, the folder's if not given.
    """
    run = read_tensorboard(folder)
    run.meta["name"] = name or run.name
    began = str(run.meta["started"])[:19].replace("-", "").replace(":", "").replace("T", "-")
    path = store.new_folder(Path(root), f"{began}-{store.folder_name(run.name)}")
    try:
        if figures := run.figures():
            (path / "figures").mkdir()
            for figure in figures:
                store.write_whole(path / "figures" / figure.file, figure.read())
        store.write_whole(path / "events.jsonl", b"".join(map(store.event_line, run.events)))
        store.write_json(path / "run.json", run.meta)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    return Run.open(path)


def _files(place: Path) -> list[Path]:
    if not place.is_dir():
        return [place]
    files = event_files(place)
    if not files:
        inside = sorted({str(path.parent.relative_to(place)) for path in place.rglob("*tfevents*")})
        hint = f"; its folders {', '.join(inside[:9])} do: read one of these" if inside else ""
        raise store.RecorderError(f"{str(place)!r} has no event files (events.out.tfevents.*){hint}")
    return files


class _Reader:
    """Puts together a Run from messages; the numbers of fields are in writing.py."""

    def __init__(self, name: str):
        self.name = name
        self.events: list[dict[str, Any]] = []
        self.pictures: dict[str, bytes] = {}
        self.config: dict[str, Any] = {}
        self.status = "unknown"
        self.skipped: Counter[str] = Counter()
        self.segment = 0
        self.measured = False  # in this segment
        self.wall_time = 0.0  # of the last event that says it
        self.ended = 0.0

    def skip(self, problem: str) -> None:
        self.skipped[problem] += 1

    def event(self, event: Message) -> None:
        wall_time = event.double(1)
        if 0 < wall_time < LATEST:
            self.wall_time = wall_time
            self.ended = max(self.ended, wall_time)
        step = event.integer(2)
        if event.message(7).integer(1) == writing.START and self.measured and step > -(2**63):
            self.segment, self.measured = self.segment + 1, False
            self._add("start", step, {"resumed_from": step - 1})
        scalars: dict[str, Any] = {}
        for value in event.message(5).all(1) if 5 in event else ():
            try:
                self._value(step, Message(value), scalars)
            except MalformedError as error:
                self.skip(f"a value: {error}")
        if scalars:
            self._add("step", step, scalars)

    def _add(self, kind: str, step: int, data: dict[str, Any]) -> None:
        self.measured = self.measured or kind in store.MEASURED
        self.events.append({"v": 1, "k": kind, "s": step, "e": None, "t": self.wall_time, "g": self.segment, "d": data})

    def _value(self, step: int, value: Message, scalars: dict[str, Any]) -> None:
        tag, plugin = value.text(1), value.message(9).message(1)
        if 2 in value:
            scalars[tag] = store.encode(value.single(2))
        elif 4 in value:
            self._picture(step, tag, value.message(4).chunk(4), value.message(9).text(3))
        elif 5 in value:
            self._add("histogram", step, {tag: _histogram(value.message(5)).data()})
        elif plugin.text(1) == "hparams":
            self._hyperparameters(plugin.message(2))
        elif 8 in value:
            self._tensor(step, tag, plugin.text(1), value.message(8), scalars)
        else:
            self.skip(f"{tag[:80]!r}: a value of a kind that is not read")

    def _tensor(self, step: int, tag: str, plugin: str, tensor: Message, scalars: dict[str, Any]) -> None:
        """What newer writers put into tensors; the plugin that shows it says what it is."""
        if plugin == "text":
            lines = [line.decode(errors="replace") for line in tensor.all(8)]
            self._add("note", step, {"text": "\n".join(lines if tag == "notes" else [f"{tag}:", *lines])})
        elif plugin == "images":
            _width, _height, *images = [*tensor.all(8), b"", b""]
            for image in images[:-2]:
                self._picture(step, tag, image, "")
        elif plugin == "histograms":
            rows = np.array(_numbers(tensor), float)
            if rows.size % 3:
                raise MalformedError("a histogram without three numbers to a bucket")
            left, right, count = rows.reshape(-1, 3).T
            self._add("histogram", step, {tag: _in_our_bins(left, right, count).data()})
        elif plugin in ("scalars", "") and len(found := _numbers(tensor)) == 1:
            scalars[tag] = store.encode(float(found[0]))
        else:
            self.skip(f"{tag[:80]!r}: a tensor of the plugin {plugin[:80]!r}")

    def _picture(self, step: int, tag: str, content: bytes, caption: str) -> None:
        if not content.startswith(writing.PNG):
            self.skip(f"{tag[:80]!r}: a picture that is no PNG")
            return
        file = f"{store.folder_name(tag)[:100]}-{step:08d}-{len(self.pictures)}.png"
        self.pictures[file] = content
        self._add("figure", step, {"name": tag, "file": file, "caption": caption})

    def _hyperparameters(self, data: Message) -> None:
        for pair in data.message(3).all(1):
            name, value = Message(pair).text(1), Message(pair).message(2)
            kinds = {2: lambda v: v.double(2), 3: lambda v: v.text(3), 4: lambda v: bool(v.integer(4))}
            self.config[name] = store.encode(next((read(value) for number, read in kinds.items() if number in value), None))
        if 4 in data:
            self.status = STATUS.get(data.message(4).integer(1), "unknown")

    def run(self) -> Run:
        began = min((event["t"] for event in self.events), default=self.wall_time)
        for event in self.events:  # from the earliest on, since a clock may have been set back
            event["t"] = round(event["t"] - began, 6)
        meta = {
            "schema": store.SCHEMA,
            "name": self.name,
            "status": self.status,
            "started": _iso(began),
            "ended": _iso(self.ended),
            "config": self.config,
            "command": [],
            "versions": {},
            "process": None,
        }
        if self.skipped:
            times = [f"{text} ({n} times)" if n > 1 else text for text, n in self.skipped.most_common()]
            meta["skipped"] = [*times[:SAID], *([f"and {len(times) - SAID} other problems"] if len(times) > SAID else [])]
        return Run(meta, self.events, unreadable=self.skipped.total(), pictures=self.pictures)


def _numbers(tensor: Message) -> list:
    """The numbers of a tensor, whether packed in its content or listed in the field of their type."""
    kind, number = TENSORS.get(tensor.integer(1), ("", 0))
    if not kind:
        return []
    if 4 in tensor:
        return numbers(tensor.chunk(4), kind)
    if kind in "fd":
        return numbers(b"".join(tensor.all(number)), kind)
    return [tensor.integer(number)]  # of integers, one is all that a scalar needs


def _histogram(histo: Message) -> Histogram:
    limits, counts = np.array(histo.doubles(6)), np.array(histo.doubles(7))
    if limits.shape != counts.shape:
        raise MalformedError(f"a histogram of {len(limits)} limits and {len(counts)} counts")
    least, greatest = histo.double(1), histo.double(2)
    left, right = np.r_[least, limits[:-1]][: len(limits)], limits
    return _in_our_bins(np.maximum(left, least), np.minimum(right, greatest), counts)  # the outermost may be 1e308


def _in_our_bins(left: np.ndarray, right: np.ndarray, counts: np.ndarray) -> Histogram:
    """Buckets in our bins, each where its middle is: on a logarithmic scale, unless it reaches to zero or across."""
    filled = counts > 0
    left, right, counts = left[filled], right[filled], counts[filled]
    if not (np.isfinite([left, right]).all() and (counts < 2**53).all()):
        raise MalformedError("a histogram whose numbers are not finite")
    same_sign = np.sign(left) * np.sign(right) > 0
    middle = np.where(same_sign, np.sign(left) * np.sqrt(np.abs(left)) * np.sqrt(np.abs(right)), left / 2 + right / 2)
    edges = Histogram({}).edges()
    index = np.clip(np.searchsorted(edges, middle, side="right") - 1, 0, 2 * BINS) - BINS
    bins: Counter[int] = Counter()
    for i, count in zip(index.tolist(), np.rint(counts).astype(int).tolist(), strict=True):
        bins[i] += count
    return Histogram({i: bins[i] for i in sorted(bins) if bins[i]})


def _iso(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC).isoformat(timespec="seconds")
