"""Writing a run to MLflow: numbers with their steps, configuration as parameters, pictures as artifacts."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monitor import store
from monitor.exporters.common import Names, Sink, clock, flat, identity, remark, scalars, utf8

STATUS = {"running": "RUNNING", "failed": "FAILED", "crashed": "FAILED", "interrupted": "KILLED"}
METRICS, PARAMETERS = 1000, 100  # that MLflow takes in one request
LENGTH, VALUE, NOTE = 250, 6000, 8000  # characters of a name, of a parameter, of the description
EVERY = 1.0  # seconds between requests, each of which costs some milliseconds
FOLDER, IDENTITY = "run.folder", "run.identity"  # tags: for people, and for a resumed run to find what it was before
EXPORTED = "run.exported"  # a tag with the identity of a run that `export` wrote
FILES = (".db", ".sqlite", ".sqlite3")  # endings of databases


def tracking_uri(out: str | os.PathLike) -> str:
    """The address of a place to write to: of mlflow.db in a folder, of a file that ends in .db; an address is its own.

    >>> tracking_uri("http://localhost:5000"), tracking_uri("/tmp/mine.db"), tracking_uri("/tmp/mine")
    ('http://localhost:5000', 'sqlite:////tmp/mine.db', 'sqlite:////tmp/mine/mlflow.db')
    """
    text = os.fspath(out)
    if re.match(r"[A-Za-z][\w+.-]+:|databricks", text):  # a letter alone is a drive of Windows
        return text
    path = Path(text).absolute()
    return f"sqlite:///{path if path.suffix in FILES else path / 'mlflow.db'}"


class MLflowSink(Sink):
    """Write a run to MLflow while it is recorded: `Recorder("runs", sinks=[MLflowSink()])`.

    `uri` is a tracking server or database; if None, what the environment variable MLFLOW_TRACKING_URI says, else the file
    mlflow.db beside the run's folder (`mlflow ui --backend-store-uri sqlite:///runs/mlflow.db` shows it), with pictures
    in mlartifacts/ there. MLflow's own current run and tracking address are left alone.

    Numbers are sent once a second and at the end, so a killed process may lack the last second there, and stays RUNNING.
    MLflow has no histograms, and stores infinities as +-1.8e308. Of steps that a resumed run trained again it shows both
    values. Names keep letters, digits and `_-. /`; other characters become `_`.
    """

    def __init__(self, uri: str | None = None, experiment: str = "default"):
        super().__init__()
        try:
            import mlflow
        except ImportError:
            raise ImportError(
                'MLflowSink needs MLflow: pip install mlflow, or in a checkout of tinynet pip install -e ".[mlflow]"'
            ) from None
        self._mlflow: Any = mlflow
        self.uri = uri or os.environ.get("MLFLOW_TRACKING_URI")
        self.experiment = experiment
        self._client: Any = None
        self._run = ""
        self._names = Names(_clean)
        self._waiting: list[Any] = []
        self._remarks: list[str] = []
        self._sent = 0.0

    def open(self, meta: Mapping[str, Any], path: Path | None) -> None:
        super().open(meta, path)
        if self.uri is None and path is None:
            raise ValueError("a run in memory has no folder: MLflowSink('sqlite:///mlflow.db') names a place")
        self.uri = self.uri or f"sqlite:///{(path or Path()).resolve().parent / 'mlflow.db'}"
        _make_folder(self.uri)
        self._client = self._mlflow.MlflowClient(tracking_uri=self.uri)
        experiment = self._experiment_id()
        tags = {FOLDER: path.name, EXPORTED if self.replaying else IDENTITY: identity(meta, path)} if path else {}
        if path and self.replaying:
            self._refuse_another(experiment, tags)
        self._run = self._earlier(experiment, tags[IDENTITY]) if self.resumed and tags else ""
        if not self._run:
            began, name = int(self.began * 1000), utf8(meta.get("name", "run"))
            self._run = self._client.create_run(experiment, began, tags, run_name=name).info.run_id
            self._parameters(flat(meta.get("config")))
        self.where = f"{self.uri} (run {self._run})"

    def _experiment_id(self) -> str:
        """The experiment's number; a database of ours keeps its pictures beside it, not in the current folder."""
        found = self._client.get_experiment_by_name(self.experiment)
        if found is not None:
            return found.experiment_id
        file = (self.uri or "").removeprefix("sqlite:///")
        artifacts = None if file == self.uri else (Path(file).resolve().parent / "mlartifacts").as_uri()
        return self._client.create_experiment(self.experiment, artifacts)

    def _earlier(self, experiment: str, known: str) -> str:
        """What the run that is resumed is called in MLflow; "" if it was never there."""
        found = self._client.search_runs([experiment], f"tags.`{IDENTITY}` = '{known}'", max_results=1)
        for run in found:
            self._client.update_run(run.info.run_id, status="RUNNING")
            self._remarks = [note] if (note := run.data.tags.get("mlflow.note.content")) else []
        return found[0].info.run_id if found else ""

    def _refuse_another(self, experiment: str, tags: Mapping[str, str]) -> None:
        """RecorderError if the run that is exported has been exported to this place before."""
        for run in self._client.search_runs([experiment], f"tags.`{EXPORTED}` = '{tags[EXPORTED]}'", max_results=1):
            raise store.RecorderError(
                f"{tags[FOLDER]!r} has been exported there: {self.uri} (run {run.info.run_id}). Delete that one in MLflow, "
                "or choose another place"
            )

    def _parameters(self, config: Mapping[str, Any]) -> None:
        names = Names(_clean)
        entity = self._mlflow.entities.Param
        parameters = [entity(names(name), str(value)[:VALUE]) for name, value in config.items()]
        for at in range(0, len(parameters), PARAMETERS):
            self._client.log_batch(self._run, params=parameters[at : at + PARAMETERS], synchronous=True)

    def write(self, event: Mapping[str, Any]) -> None:
        when, step, entity = int(self.seconds(event) * 1000), event["s"], self._mlflow.entities.Metric
        self._waiting += [entity(self._names(tag), value, when, step) for tag, value in scalars(event).items()]
        if event["k"] == "figure" and (png := self.picture(event)) is not None:
            file = store.folder_name(Path(str(event["d"].get("file"))).name)
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / file).write_bytes(png)
                self._client.log_artifact(self._run, str(Path(folder) / file), "figures")
        if (text := remark(event)) is not None:
            self._remarks.append(f"step {step}: {text}")
        if len(self._waiting) >= METRICS or time.monotonic() - self._sent > EVERY:
            self._send()

    def _send(self) -> None:
        while self._waiting:
            self._client.log_batch(self._run, metrics=self._waiting[:METRICS], synchronous=True)
            del self._waiting[:METRICS]
        self._sent = time.monotonic()

    def finish(self, meta: Mapping[str, Any]) -> None:
        self._send()
        if self._remarks:
            self._client.set_tag(self._run, "mlflow.note.content", "\n\n".join(self._remarks)[:NOTE])
        if meta.get("reason"):
            self._client.set_tag(self._run, "run.reason", utf8(meta["reason"])[:NOTE])
        ended = clock({"started": meta.get("ended")})({"g": 0})
        status = STATUS.get(str(meta.get("status")), "FINISHED")
        self._client.set_terminated(self._run, status, int(ended * 1000) or None)

    def close(self) -> None:
        self._client = None

    def abandon(self) -> None:
        with contextlib.suppress(Exception):
            self._client.delete_run(self._run)
        self.close()


def _make_folder(uri: str) -> None:
    """Make the folder of a database that is a file."""
    folder = Path(uri.removeprefix("sqlite:///")).parent
    if uri.startswith("sqlite:///"):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise store.RecorderError(f"cannot make the folder {str(folder)!r}: {error.strerror}") from None


def _clean(name: str) -> str:
    """A name that MLflow takes: some characters, no empty or dotted parts between slashes, and not too long.

    >>> _clean("a<b>"), _clean("/x//../y"), _clean("")
    ('a_b_', '_/x/_/__/y', '_')
    """
    name = re.sub(r"[^\w/.\- ]", "_", name)[: LENGTH - 10]  # room for a number, where two names become one
    parts = [part if part.strip(".") else "_" * max(1, len(part)) for part in name.split("/")]
    return "/".join(parts)
