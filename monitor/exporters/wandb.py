"""Writing a run for Weights & Biases, offline: `wandb sync` uploads it later, if anyone wants to."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monitor import store
from monitor.exporters.common import Names, Sink, flat, identity, remark, scalars, utf8
from monitor.histograms import Histogram

STEP = "step"  # the axis of all charts: with wandb's own, whatever comes after a later step would be dropped
OWN = ("_step", "_timestamp", "_runtime", "_wandb")  # names that mean something to wandb


class WandbSink(Sink):
    """Write a run for Weights & Biases while it is recorded: `Recorder("runs", sinks=[WandbSink()])`.

    Nothing is sent anywhere and no account is needed: the run lies in wandb/offline-run-*, in `folder` or beside the
    run's own folder, until `wandb sync` uploads it. The console, git and the state of the machine are not recorded.

    The axis is a number called "step". A resumed run becomes another such folder with the same id (`wandb sync --append`);
    of steps that it trained again, wandb shows both values. wandb writes in blocks, so a killed process may lack the last
    seconds there. Notes and findings become the run's notes.
    """

    def __init__(self, folder: str | os.PathLike | None = None, project: str = "runs"):
        super().__init__()
        try:
            import wandb
        except ImportError:
            raise ImportError(
                'WandbSink needs wandb: pip install wandb, or in a checkout of tinynet pip install -e ".[wandb]"'
            ) from None
        self._wandb: Any = wandb
        self.place = None if folder is None else Path(folder)
        self.project = project
        self._run: Any = None
        self._names = Names(lambda name: name or "_", taken=(STEP, *OWN))  # a nameless one would be lost
        self._figures = Names(lambda name: f"figures/{store.folder_name(name)[:100]}")  # wandb makes files of these
        self._remarks: list[str] = []
        self._status = 1  # as a process that failed

    def open(self, meta: Mapping[str, Any], path: Path | None) -> None:
        super().open(meta, path)
        if self.place is None and path is None:
            raise ValueError("a run in memory has no folder: WandbSink('wandb-runs') names one")
        place = self.place or (path or Path()).resolve().parent
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise store.RecorderError(f"cannot make the folder {str(place)!r}: {error.strerror}") from None
        quiet = self._wandb.Settings(
            console="off", silent=True, disable_git=True, save_code=False, x_disable_stats=True, x_save_requirements=False
        )
        known = identity(meta, path) if path and not self.replaying else None  # the same for all segments of a run
        self._run = self._wandb.init(
            project=self.project, name=utf8(meta.get("name", "run")), config=flat(meta.get("config")),
            dir=str(place), mode="offline", id=known, reinit="create_new", settings=quiet,
        )  # fmt: skip
        self.where = Path(self._run.dir).parent
        self._run.define_metric(STEP, hidden=True)
        self._run.define_metric("*", step_metric=STEP)

    def write(self, event: Mapping[str, Any]) -> None:
        kind, data = event["k"], event["d"]
        row: dict[str, Any] = {self._names(tag): value for tag, value in scalars(event).items()}
        for tag, content in data.items() if kind == "histogram" else ():
            with contextlib.suppress(ValueError):  # damaged; readers pass it over, too
                histogram = Histogram.from_data(content)
                counted = histogram.counts(), histogram.edges()
                row[self._names(tag)] = self._wandb.Histogram(np_histogram=counted)
        if kind == "figure" and (png := self.picture(event)) is not None:
            row[self._figures(str(data.get("name", "")))] = self._image(png, utf8(data.get("caption", "")))
        if (text := remark(event)) is not None:
            self._remarks.append(f"step {event['s']}: {text}")
        if row:
            self._run.log({STEP: event["s"], "_timestamp": self.seconds(event), **row})

    def _image(self, png: bytes, caption: str) -> Any:
        import io

        from PIL import Image

        return self._wandb.Image(Image.open(io.BytesIO(png)), caption=caption or None)

    def finish(self, meta: Mapping[str, Any]) -> None:
        if self._remarks:
            self._run.notes = "\n\n".join(self._remarks)
        self._run.summary["status"] = meta.get("status")
        self._status = int(meta.get("status") in ("failed", "crashed", "interrupted"))

    def close(self) -> None:
        if self._run is not None:
            self._run.finish(exit_code=self._status)
            self._run = None
