"""Checkpoints: everything that a training needs to go on, bit for bit, in files that are there complete or not at all.

checkpoints/step-NNNNNNNN.safetensors holds the arrays (of the model, the optimizer, the callbacks), the .json beside it the
rest: counters, latest logs, random generators. last.json and best.json say which is which. Nothing is ever unpickled.
"""

from __future__ import annotations

import copy
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from monitor import store
from monitor.callbacks import Best, Callback, check_whole


class Checkpoint(Callback):
    """Save all that training needs to go on into the run's folder, every `every` epochs, at the end, and at every new best.

    It is saved when all callbacks have seen the end of the epoch, and not if training ends before its first step. The
    latest `keep` of the regular ones are kept, and the best. `load_checkpoint` finds them by "last", "best", step or date.
    """

    ends_first = True  # before EarlyStopping puts the best parameters back

    def __init__(self, every: int = 10, best: str | None = "val/loss", mode: str = "auto", keep: int = 1):
        check_whole("every", every, 1)
        check_whole("keep", keep, 1, "checkpoints")
        self.every, self.keep = every, keep
        self.best = Best(best, mode) if best else None
        self._monitor, self._mode = best, mode
        self._regular: list[int] = []  # the steps of the regular ones, the oldest first
        self._saved_step = -1
        self._began = math.inf  # the step at which training began
        self._due: list[str] = []  # what to save as soon as all callbacks have seen the end of the epoch

    def on_train_begin(self, training: Any) -> None:
        if training.recorder.path is None:
            raise ValueError("Checkpoint needs a run on disk: give fit a recorder, Recorder('runs', name=...)")
        self.best = Best(self._monitor, self._mode) if self._monitor else None
        self._regular = []
        self._saved_step = -1
        self._began = training.step
        self._due = []

    def on_epoch_end(self, training: Any) -> None:
        is_best = self.best is not None and self.best.improved(training.logs, training.epoch)
        self._due = ["last"] * (training.epoch % self.every == 0) + ["best"] * is_best

    def on_epoch_begin(self, training: Any) -> None:
        self._save_due(training)  # only now: what the callbacks after this one remember of the last epoch belongs to it

    def on_train_end(self, training: Any) -> None:
        if training.step > self._began:  # else nothing was trained, and an older checkpoint must not give way to nothing
            self._due = list(dict.fromkeys(["last", *self._due]))
            self._save_due(training)
        self._began = math.inf

    def _save_due(self, training: Any) -> None:
        due, self._due = self._due, []
        for role in due:
            self._save(training, role)

    def _save(self, training: Any, role: str) -> None:
        folder = training.recorder.path / "checkpoints"
        if role == "last" and training.step not in self._regular:
            self._regular = [*self._regular, training.step][-self.keep :]
        if self._saved_step != training.step:
            with at_training_point(training.optimizer):
                save_checkpoint(
                    folder, training.step, training.epoch, training.model, training.optimizer, training.logs,
                    getattr(training, "callbacks", ()), getattr(training, "running_loss", 0.0),
                    getattr(training, "order", {}),
                )  # fmt: skip
            self._saved_step = training.step
        store.write_json(folder / f"{role}.json", {"checkpoint": stem(training.step), "step": training.step})
        training.recorder.event("checkpoint", training.step, {"role": role, "file": stem(training.step)}, training.epoch)
        _drop_others(folder, {stem(step) for step in self._regular})

    def state_dict(self) -> dict[str, Any]:
        return {"regular": self._regular, **({} if self.best is None else {"best": self.best.state_dict()})}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._regular = [int(step) for step in state["regular"]]
        if self.best is not None and "best" in state:
            self.best.load_state_dict(state["best"])


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


def stem(step: int) -> str:
    """The name of the checkpoint taken at a step, without its ending."""
    return f"step-{step:08d}"


# Writing --------------------------------------------------------------------------------------------------------------


def save_checkpoint(
    folder: Path,
    step: int,
    epoch: int,
    model: Any,
    optimizer: Any,
    logs: Mapping,
    callbacks: Sequence[Any] = (),
    running_loss: Any = 0.0,
    order: Mapping[str, int] | None = None,
) -> Path:
    """Write step-NNNNNNNN.json and then, complete or not at all, step-NNNNNNNN.safetensors.

    `epoch` epochs are complete, and `running_loss` is the sum of the losses of what was seen since. `order` is what decides
    which examples are in which batch, {"batch_size": 64, "seed": 0, ...}: a training that goes on must have the same.
    """
    from safetensors.numpy import save

    folder.mkdir(exist_ok=True)
    state = dict(optimizer.state_dict())
    arrays = {f"model/{name}": value for name, value in model.state_dict().items()}
    for key, values in state.pop("state", {}).items():
        arrays.update((f"optimizer/{key}/{name}", np.asarray(value)) for name, value in values.items())
    remembered = []
    for i, callback in enumerate(callbacks):
        known = callback.state_dict() if hasattr(callback, "state_dict") else {}
        remembered.append([type(callback).__name__, _without_arrays(known, f"callbacks/{i}", arrays)])
    about = {
        "step": step, "epoch": epoch, "time": time.time(), "logs": dict(logs), "optimizer": state,
        "running_loss": float(running_loss), "order": dict(order or {}),
        "generators": {name: generator.bit_generator.state for name, generator in generators(model)},
        "callbacks": remembered,
    }  # fmt: skip
    store.write_json(folder / f"{stem(step)}.json", about)
    path = folder / f"{stem(step)}.safetensors"
    store.write_whole(path, save({name: np.asarray(value, order="C") for name, value in arrays.items()}))
    return path


def generators(model: Any) -> Iterator[tuple[str, np.random.Generator]]:
    """The random generators of a model's layers (dropout's), by name."""
    for name, module in model.named_modules() if hasattr(model, "named_modules") else ():
        for key, value in vars(module).items():
            if isinstance(value, np.random.Generator):
                yield f"{name}.{key}", value


def _without_arrays(value: Any, place: str, arrays: dict[str, Any]) -> Any:
    """The value with each array in it moved into `arrays`, and its name there in its place."""
    if isinstance(value, dict):
        return {key: _without_arrays(v, f"{place}/{key}", arrays) for key, v in value.items()}
    if isinstance(value, np.ndarray):
        arrays[place] = value
        return {"array": place}
    return value


def _drop_others(folder: Path, keep: set[str]) -> None:
    """Delete the checkpoints that nobody asked to keep."""
    kept = {store.read_json(p)["checkpoint"] for p in (folder / "last.json", folder / "best.json") if p.is_file()}
    for path in folder.glob("step-*"):
        if path.stem not in kept | keep:
            path.unlink(missing_ok=True)


# Reading --------------------------------------------------------------------------------------------------------------


def load_checkpoint(run: str | Path, which: str | int = "best") -> dict[str, Any]:
    """A checkpoint of a run folder: {"model": state, "optimizer": state, "step", "epoch", "logs", "callbacks", ...}.

    `which` is "best", "last", a step number, a date such as "2026-11-21T14:30" (the latest one taken by then), or "latest":
    the one taken last that can be read, be it a regular one or the best, since a crash may have damaged others; why those
    were passed over is in "passed_over". Give the states to model.load_state_dict and optimizer.load_state_dict, all of it
    to `restore`, or to fit(resume=...). RecorderError if there is no such checkpoint, or it is damaged.
    """
    folder = Path(run) / "checkpoints"
    if which == "latest":
        return _latest(folder)
    path = folder / f"{_checkpoint_name(folder, str(which))}.safetensors"
    if not path.is_file():
        there = ", ".join(path.stem for path in checkpoints(folder)) or "none"
        raise store.RecorderError(f"there is no checkpoint {which!r} in {str(folder)!r}; there are: {there}")
    try:
        return _read(path)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else error
        raise store.RecorderError(f"the checkpoint {str(path)!r} is damaged: {what}") from None


def checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints in a folder, in the order in which they were taken."""
    complete = (path for path in folder.glob("step-*.safetensors") if re.fullmatch(r"step-\d+", path.stem))
    return sorted(complete, key=lambda path: (_when(path), path.stem))


def _when(path: Path) -> float:
    """The time at which a checkpoint was taken, in seconds since 1970."""
    try:
        return store.decode_number(store.read_json(path.with_suffix(".json"))["time"])
    except (OSError, KeyError, TypeError, ValueError, OverflowError):
        return path.stat().st_mtime


def _latest(folder: Path) -> dict[str, Any]:
    passed_over: list[str] = []
    for path in reversed(checkpoints(folder)):
        try:
            return {**load_checkpoint(folder.parent, path.stem), "passed_over": passed_over}
        except store.RecorderError as error:
            passed_over.append(str(error))
    raise store.RecorderError("; ".join([f"there is no checkpoint in {str(folder)!r} that can be read", *passed_over]))


def _read(path: Path) -> dict[str, Any]:
    about = store.read_json(path.with_suffix(".json"))
    for count in (about["step"], about["epoch"]):
        if type(count) is not int:
            raise TypeError(f"step and epoch should be whole numbers, got {count!r}")
    arrays = _arrays(path)
    model: dict[str, Any] = {}
    slots: dict[str, dict[str, Any]] = {}
    for key, array in arrays.items():
        kind, _, rest = key.partition("/")
        if kind == "model":
            model[rest] = array
        elif kind == "optimizer":
            slot, _, parameter = rest.partition("/")
            slots.setdefault(slot, {})[parameter] = array
    logs = {name: store.decode_number(value) for name, value in about["logs"].items()}
    callbacks = [(kind, _with_arrays(state, arrays)) for kind, state in about.get("callbacks", ())]
    return {
        **about,
        "logs": logs,
        "model": model,
        "optimizer": {**about["optimizer"], "state": slots},
        "callbacks": callbacks,
    }


def restore(checkpoint: Mapping[str, Any], model: Any, optimizer: Any) -> None:
    """Put a checkpoint of `load_checkpoint` into a model, its random generators and an optimizer, or raise and leave them.

    What callbacks remember is for `restore_callbacks`, after their on_train_begin.
    """
    before = copy.deepcopy(model.state_dict())  # some libraries hand out the live parameters
    model.load_state_dict(checkpoint["model"])
    try:
        optimizer.load_state_dict(checkpoint["optimizer"])
    except Exception:
        model.load_state_dict(before)
        raise
    saved = checkpoint.get("generators", {})
    for name, generator in generators(model):
        if name in saved:
            generator.bit_generator.state = saved[name]


def restore_callbacks(checkpoint: Mapping[str, Any], callbacks: Sequence[Any]) -> None:
    """Put what the callbacks remembered into those of now, matched by their order among those of their class.

    One that the checkpoint does not know starts anew.
    """
    left = list(checkpoint.get("callbacks", ()))
    for callback in callbacks:
        known = next((entry for entry in left if entry[0] == type(callback).__name__), None)
        if known is not None:
            left.remove(known)
            if known[1]:
                callback.load_state_dict(known[1])


def _with_arrays(value: Any, arrays: dict[str, Any]) -> Any:
    """The inverse of _without_arrays."""
    if isinstance(value, dict):
        if value.keys() == {"array"} and value["array"] in arrays:
            return arrays[value["array"]]
        return {key: _with_arrays(v, arrays) for key, v in value.items()}
    return value


def _checkpoint_name(folder: Path, which: str) -> str:
    """The stem that "best", "last", a step number or a date stands for; a stem, and whatever else, for itself."""
    if which.isdecimal():
        return stem(int(which))
    if which in ("best", "last"):
        pointer = folder / f"{which}.json"
        which = str(store.read_json(pointer).get("checkpoint", "")) if pointer.is_file() else which
    else:
        try:
            moment = datetime.fromisoformat(which).timestamp()
        except ValueError:
            return Path(which).name  # never a path out of the folder
        which = next((path.stem for path in reversed(checkpoints(folder)) if _when(path) <= moment), which)
    return Path(which).name


def _arrays(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise store.RecorderError(f"the checkpoint {str(path)!r} is damaged: {error}") from None
