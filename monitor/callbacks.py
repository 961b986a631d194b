"""Callbacks: what may happen at fixed moments of training.

Hooks, in the order in which they are called: on_train_begin, then for every epoch on_epoch_begin, on_batch_end after
every update, on_epoch_end after the evaluation, and at the very end, however it came about, on_train_end. Several
callbacks are called in the order in which they were given; at the very end those with `ends_first` come before the others.

A hook gets the training in progress (tinynet's fit passes a `Training`; any object with these attributes will do):

    model, optimizer      with state_dict() and load_state_dict()
    recorder              the Recorder of this run
    epoch, step           completed epochs and updates
    epochs, batches       how many epochs are planned, and updates per epoch
    logs                  the latest numbers by name, read-only
    stop(reason)          ask training to end after this epoch; the one way to do so

A callback that remembers something has state_dict() and load_state_dict(), so that a training can go on where a checkpoint
was taken (checkpoints.py). Values are numbers, strings, lists, dicts and arrays.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monitor import store
from monitor.metrics import direction


def check_whole(name: str, value: Any, least: int, unit: str = "epochs") -> None:
    """Raise unless it is a whole number of epochs, say, and no fewer than the least."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be a whole number of {unit}, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


class Callback:
    """Base of all callbacks: override the hooks you need."""

    ends_first = False

    def on_train_begin(self, training: Any) -> None: ...

    def on_epoch_begin(self, training: Any) -> None: ...

    def on_batch_end(self, training: Any) -> None: ...

    def on_epoch_end(self, training: Any) -> None: ...

    def on_train_end(self, training: Any) -> None: ...

    def state_dict(self) -> dict[str, Any]:
        """What must be known to go on; nothing, unless the callback remembers something."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


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
            unseen = self.name.startswith("val/") and not any(name.startswith("val/") for name in logs)
            raise KeyError(
                f"nothing called {self.name!r} is measured; there is {', '.join(logs) or 'nothing'}"
                + ": pass validation=(x, y) to fit" * unseen
            )
        if not self.sign * (logs[self.name] - self.value) > self.min_delta:
            return False
        self.value, self.epoch = float(logs[self.name]), epoch
        return True

    def state_dict(self) -> dict[str, Any]:
        return {"name": self.name, "value": self.value, "epoch": self.epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """What was noted of another metric is passed over."""
        if state.get("name", self.name) == self.name:
            self.value, self.epoch = store.decode_number(state["value"]), int(state["epoch"])


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
        check_whole("patience", patience, 1)
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

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best.state_dict(), **({} if self._state is None else {"weights": self._state})}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best.load_state_dict(state["best"])
        self._state = state.get("weights") if self.best.epoch else None


class ReduceOnPlateau(Callback):
    """Multiply the learning rate by `factor` when `monitor` has not improved by `min_delta` for `patience` epochs.

    Keras' arguments and, as in Keras, with patience=10 the tenth epoch without an improvement cuts; PyTorch's
    ReduceLROnPlateau, and optimizers.Plateau, cut at the eleventh. The rate of every group is multiplied, be it a number or
    a schedule (any function of the step). A number is not cut below `min_lr`, and never raised. After a cut, `cooldown`
    epochs are waited before counting starts again.
    """

    def __init__(
        self,
        monitor: str = "val/loss",
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 1e-4,
        mode: str = "auto",
        cooldown: int = 0,
        min_lr: float = 0.0,
    ):
        if not 0 < factor < 1:
            raise ValueError(f"ReduceOnPlateau: factor must lie between 0 and 1, got {factor}")
        check_whole("ReduceOnPlateau: patience", patience, 1)
        check_whole("ReduceOnPlateau: cooldown", cooldown, 0)
        if not min_lr >= 0:
            raise ValueError(f"ReduceOnPlateau: min_lr must not be negative, got {min_lr}")
        self.monitor, self.min_delta, self.mode = monitor, min_delta, mode
        self.factor, self.patience, self.cooldown, self.min_lr = factor, patience, cooldown, min_lr
        self.best = Best(monitor, mode, min_delta)
        self._since = 0  # the epoch from which patience is counted: the best one's, or the end of the last cooldown
        self._cuts = 0
        self._loaded = False

    def on_train_begin(self, training: Any) -> None:
        self.best = Best(self.monitor, self.mode, self.min_delta)
        self._since, self._cuts, self._loaded = 0, 0, False

    def on_epoch_begin(self, training: Any) -> None:
        if self._loaded:  # numbers came back with the optimizer's state; schedules are made anew, without the cuts
            self._loaded = False
            for group in training.optimizer.param_groups:
                for _ in range(self._cuts if callable(group["lr"]) else 0):
                    group["lr"] = self._cut(group["lr"])

    def on_epoch_end(self, training: Any) -> None:
        if self.best.improved(training.logs, training.epoch):
            self._since = max(self._since, training.epoch)
        elif training.epoch - self._since >= self.patience:
            self._since, self._cuts = training.epoch + self.cooldown, self._cuts + 1
            for group in training.optimizer.param_groups:
                group["lr"] = self._cut(group["lr"])
            training.recorder.note(f"{self.monitor} is on a plateau: lr is now {training.optimizer.lr:g}")

    def _cut(self, lr: Any) -> Any:
        if not callable(lr):
            return min(lr, max(lr * self.factor, self.min_lr))  # what is below min_lr already is not raised to it
        return lr * self.factor if hasattr(lr, "__mul__") else lambda k: lr(k) * self.factor

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best.state_dict(), "since": self._since, "cuts": self._cuts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best.load_state_dict(state["best"])
        self._since, self._cuts, self._loaded = int(state["since"]), int(state["cuts"]), True


class CSVLog(Callback):
    """Write the numbers of every epoch into a CSV file, a row each: `CSVLog("log.csv")`.

    Without a path it is log.csv in the run's folder. A number that turns up later gets a column of its own, in all rows.
    """

    def __init__(self, path: str | Path | None = None):
        self.path = path
        self._rows: list[dict[str, Any]] = []
        self._columns: list[str] = []

    def on_train_begin(self, training: Any) -> None:
        self._rows, self._columns = [], []
        if self.path is None and training.recorder.path is None:
            raise ValueError("CSVLog needs a path, or a run on disk: CSVLog('log.csv')")

    def on_epoch_end(self, training: Any) -> None:
        import csv

        row = {"epoch": training.epoch, "step": training.step, **training.logs}
        new = [name for name in row if name not in self._columns]
        self._columns += new
        self._rows.append(row)
        path = Path(self.path) if self.path is not None else training.recorder.path / "log.csv"
        with path.open("w" if new else "a", newline="") as file:
            writer = csv.DictWriter(file, self._columns, restval="")
            if new:
                writer.writeheader()
            writer.writerows(self._rows if new else [row])

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self._rows}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._rows, self._columns = [dict(row) for row in state["rows"]], []  # the next epoch writes them all
