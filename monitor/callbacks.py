"""Callbacks: what may happen at fixed moments of training.

Hooks, in the order in which they are called: on_train_begin, then for every epoch on_epoch_begin, on_batch_end after
every update, on_epoch_end after the evaluation, and at the very end, however it came about, on_train_end. Several
callbacks are called in the order in which they were given.

A hook gets the training in progress (tinynet's fit passes a `Training`; any object with these attributes will do):

    model, optimizer      with state_dict() and load_state_dict()
    recorder              the Recorder of this run
    epoch, step           completed epochs and updates
    epochs, batches       how many epochs are planned, and updates per epoch
    logs                  the latest numbers by name, read-only
    stop(reason)          ask training to end after this epoch; the one way to do so
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from monitor import store
from monitor.metrics import direction


class Callback:
    """Base of all callbacks: override the hooks you need."""

    def on_train_begin(self, training: Any) -> None: ...

    def on_epoch_begin(self, training: Any) -> None: ...

    def on_batch_end(self, training: Any) -> None: ...

    def on_epoch_end(self, training: Any) -> None: ...

    def on_train_end(self, training: Any) -> None: ...


class Best:
    """The best value so far of a metric; which way is better follows from its name, or from `mode`."""

    def __init__(self, name: str, mode: str = "auto", min_delta: float = 0.0):
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"mode must be 'auto', 'min' or 'max', got {mode!r}")
        if not min_delta >= 0:
            raise ValueError(f"min_delta must not be negative, got {min_delta}")
        self.name = name
        self.sign = 1 if (direction(name) if mode == "auto" else mode) == "max" else -1
        self.min_delta = min_delta
        self.value = -self.sign * math.inf
        self.epoch = 0

    def improved(self, logs: Mapping[str, Any], epoch: int) -> bool:
        """Take note of the latest value; True if it is better by more than min_delta. A nan never is."""
        if self.name not in logs:
            raise KeyError(f"nothing called {self.name!r} is measured; there is {', '.join(logs) or 'nothing'}")
        if not self.sign * (logs[self.name] - self.value) > self.min_delta:
            return False
        self.value, self.epoch = float(logs[self.name]), epoch
        return True


class EarlyStopping(Callback):
    """Stop when `monitor` has not improved by more than `min_delta` for `patience` epochs (Prechelt 1998).

    With `restore_best` the model ends with the parameters of its best epoch, on every exit: early, complete, or Ctrl-C.
    """

    def __init__(
        self,
        monitor: str = "val/loss",
        patience: int = 10,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
    ):
        if patience < 1:
            raise ValueError(f"patience must be at least 1 epoch, got {patience}")
        self.monitor, self.min_delta, self.mode = monitor, min_delta, mode
        self.patience = patience
        self.restore_best = restore_best
        self.best = Best(monitor, mode, min_delta)
        self._state: dict[str, Any] | None = None

    def on_train_begin(self, training: Any) -> None:
        self.best = Best(self.monitor, self.mode, self.min_delta)
        self._state = None

    def on_epoch_end(self, training: Any) -> None:
        if self.best.improved(training.logs, training.epoch):
            if self.restore_best:
                self._state = copy.deepcopy(training.model.state_dict())  # some libraries hand out the live parameters
        elif training.epoch - self.best.epoch >= self.patience:
            best = (
                f"improved on {self.best.value:.4g} (epoch {self.best.epoch})" if self.best.epoch else "had a usable value"
            )
            training.stop(f"{self.monitor} has not {best} for {self.patience} epochs")

    def on_train_end(self, training: Any) -> None:
        if self._state is not None:
            training.model.load_state_dict(self._state)
            self._state = None


@contextmanager
def at_training_point(optimizer: Any) -> Iterator[None]:
    """For optimizers that put other weights into the model for an evaluation: training goes on from its own."""
    evaluating = getattr(optimizer, "evaluating", False)
    if evaluating:
        optimizer.train()
    try:
        yield
    finally:
        if evaluating:
            optimizer.eval()


class Checkpoint(Callback):
    """Save the model and the optimizer into the run's folder every `every` epochs, at the end, and at every new best.

    checkpoints/step-NNNNNNNN.safetensors is complete or absent; last.json and best.json name the two that are kept.
    Give it before EarlyStopping, which puts the best parameters back at the end, or "last" may hold those.
    """

    def __init__(self, every: int = 10, best: str | None = "val/loss", mode: str = "auto"):
        if every < 1:
            raise ValueError(f"every must be at least 1 epoch, got {every}")
        self.every = every
        self.best = Best(best, mode) if best else None
        self._monitor, self._mode = best, mode
        self._saved_step = -1

    def on_train_begin(self, training: Any) -> None:
        if training.recorder.path is None:
            raise ValueError("Checkpoint needs a run on disk: give fit a recorder, Recorder('runs', name=...)")
        self.best = Best(self._monitor, self._mode) if self._monitor else None
        self._saved_step = -1

    def on_epoch_end(self, training: Any) -> None:
        is_best = self.best is not None and self.best.improved(training.logs, training.epoch)
        if is_best:
            self._save(training, "best")
        if training.epoch % self.every == 0:
            self._save(training, "last")

    def on_train_end(self, training: Any) -> None:
        if training.recorder.path is not None:  # else on_train_begin has said so
            self._save(training, "last")

    def _save(self, training: Any, role: str) -> None:
        folder = training.recorder.path / "checkpoints"
        if self._saved_step != training.step:
            with at_training_point(training.optimizer):
                save_checkpoint(folder, training.step, training.epoch, training.model, training.optimizer, training.logs)
            self._saved_step = training.step
        store.write_json(folder / f"{role}.json", {"checkpoint": stem(training.step), "step": training.step})
        training.recorder.event("checkpoint", training.step, {"role": role, "file": stem(training.step)}, training.epoch)
        _drop_others(folder)


def stem(step: int) -> str:
    """The name of the checkpoint taken at a step, without its ending."""
    return f"step-{step:08d}"


def save_checkpoint(folder: Path, step: int, epoch: int, model: Any, optimizer: Any, logs: Mapping) -> Path:
    """Write step-NNNNNNNN.json and then, complete or not at all, step-NNNNNNNN.safetensors."""
    from safetensors.numpy import save

    folder.mkdir(exist_ok=True)
    state = dict(optimizer.state_dict())
    arrays = {f"model/{name}": value for name, value in model.state_dict().items()}
    for key, values in state.pop("state", {}).items():
        arrays.update((f"optimizer/{key}/{name}", np.asarray(value)) for name, value in values.items())
    about = {"step": step, "epoch": epoch, "logs": dict(logs), "optimizer": state}
    store.write_json(folder / f"{stem(step)}.json", about)
    path = folder / f"{stem(step)}.safetensors"
    store.write_whole(path, save({name: np.asarray(value, order="C") for name, value in arrays.items()}))
    return path


def load_checkpoint(run: str | Path, which: str | int = "best") -> dict[str, Any]:
    """A checkpoint of a run folder: {"model": state, "optimizer": state, "step", "epoch", "logs"}.

    `which` is "best", "last" or a step number. Give the states to model.load_state_dict and optimizer.load_state_dict.
    """
    folder = Path(run) / "checkpoints"
    path = folder / f"{_checkpoint_name(folder, str(which))}.safetensors"
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in folder.glob("*.safetensors"))) or "none"
        raise store.RecorderError(f"there is no checkpoint {which!r} in {str(folder)!r}; there are: {there}")
    about = store.read_json(path.with_suffix(".json"))
    model: dict[str, Any] = {}
    slots: dict[str, dict[str, Any]] = {}
    for key, array in _arrays(path).items():
        kind, _, rest = key.partition("/")
        if kind == "model":
            model[rest] = array
        else:
            slot, _, parameter = rest.partition("/")
            slots.setdefault(slot, {})[parameter] = array
    logs = {name: store.decode_number(value) for name, value in about["logs"].items()}
    return {**about, "logs": logs, "model": model, "optimizer": {**about["optimizer"], "state": slots}}


def _checkpoint_name(folder: Path, which: str) -> str:
    """The stem that "best", "last" or a step number stands for; a stem, and whatever else, for itself."""
    if which.isdecimal():
        return stem(int(which))
    pointer = folder / f"{which}.json"
    name = store.read_json(pointer).get("checkpoint", "") if which in ("best", "last") and pointer.is_file() else which
    return Path(str(name)).name  # never a path out of the folder


def _arrays(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise store.RecorderError(f"the checkpoint {str(path)!r} is damaged: {error}") from None


def _drop_others(folder: Path) -> None:
    """Delete the checkpoints that are neither the last nor the best."""
    kept = {store.read_json(p)["checkpoint"] for p in (folder / "last.json", folder / "best.json") if p.is_file()}
    for path in folder.glob("step-*"):
        if path.stem not in kept:
            path.unlink(missing_ok=True)
