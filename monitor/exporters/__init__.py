"""A recorded run in the formats of other tools, while it is recorded (sinks) or afterwards (`export`).

    Recorder("runs", sinks=[TensorBoardSink()])          also MLflowSink(), WandbSink()
    export(Run.open("runs/20260101-120000-moons"), "csv")
    read_tensorboard("logs/fit")                         event files of any writer, as a Run

docs/exporters.md says what of a run each format can hold. common.py is the place to begin reading.
"""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

from monitor import store
from monitor.exporters.common import Sink
from monitor.exporters.mlflow import MLflowSink, tracking_uri
from monitor.exporters.tables import write_csv
from monitor.exporters.tensorboard import TensorBoardSink, event_files, import_tensorboard, read_tensorboard
from monitor.exporters.wandb import WandbSink
from monitor.run import Run

__all__ = [
    "FORMATS", "MLflowSink", "TensorBoardSink", "WandbSink", "export", "import_tensorboard", "read_tensorboard",
]  # fmt: skip
FORMATS = {
    "tensorboard": "event files that TensorBoard opens: numbers, histograms, pictures, hyperparameters, notes",
    "csv": "tables for pandas or a spreadsheet: scalars.csv, layers.csv, histograms.csv",
    "mlflow": "an MLflow run, in a sqlite database unless another is named: numbers, parameters, pictures, notes",
    "wandb": "a Weights & Biases run as an offline folder for `wandb sync`: numbers, histograms, pictures, notes",
}
FOREIGN = ("mlflow", "wandb")  # written by other people's code, whose errors are of any class
LONGEST_ERROR = 400  # characters of theirs that are quoted


def export(run: Run | str | os.PathLike, to: str, out: str | os.PathLike | None = None) -> Path | str:
    """Write a recorded run in another format, one of FORMATS, and return where it went.

    `out` is a folder for "tensorboard" and "csv" (if None: of that name, in the run's folder). For "wandb" it gets a
    folder wandb/, for "mlflow" a database mlflow.db; there, a file such as "mine.db" or a tracking URI will do as well
    (for both, if None: beside the run's folder). Of steps that were trained again after a resume, the last counts.
    Whatever fails leaves nothing half-written.

    ValueError for another format; RecorderError if the place has this run already (a folder of Weights & Biases may), or
    cannot be written to; ImportError, naming the extra, where MLflow or Weights & Biases are not installed.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    if to not in FORMATS:
        raise ValueError(f"a run can be exported to {', '.join(FORMATS)}, not to {to!r}")
    if run.path is None and out is None:
        raise ValueError(f"a run in memory has no folder: export(run, {to!r}, out=...) must say where to")
    place = Path(out) if out is not None else Path(run.path or ".") / to
    if to == "csv":
        return write_csv(run, place)
    sink = _sink(to, out, place)
    try:
        return _replay(run, sink)
    except (OSError, ValueError):
        raise
    except Exception as error:
        if to not in FOREIGN:
            raise
        text = textwrap.shorten(f"{type(error).__name__}: {error}", LONGEST_ERROR, placeholder=" ...")
        raise store.RecorderError(f"cannot export to {to}: {text}") from error


def _sink(to: str, out: str | os.PathLike | None, place: Path) -> Sink:
    if to == "mlflow":
        return MLflowSink(None if out is None else tracking_uri(out))
    if to == "wandb":
        return WandbSink(out)
    if place.is_dir() and event_files(place):
        raise store.RecorderError(f"{str(place)!r} has event files already: delete them, or choose another folder")
    sink = TensorBoardSink()
    sink.where = place
    return sink


def _replay(run: Run, sink: Sink) -> Path | str:
    """Tell a sink a run as if it were recorded now, in one go: what a resumed run trained again comes once."""
    meta = {**run.meta, "status": run.status}
    sink.replaying, sink.pictures = True, run._pictures
    try:
        sink.open(meta, run.path)
        for event in run.select():
            if event["k"] != "start":
                sink.write(event)
        sink.finish(meta)
    except BaseException:
        sink.abandon()
        raise
    sink.close()
    return sink.where or ""
