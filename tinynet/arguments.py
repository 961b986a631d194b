"""What a training is given, looked at before anything is trained: each function here answers its argument ready for use, or
raises an error that says what to write instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

import optimizers
from monitor.metrics import METRICS, SHORT, attribute_of
from monitor.recorder import Recorder
from tinynet import functional as F
from tinynet.backend import as_array, same_device
from tinynet.layers import Module
from tinynet.naming import lookup
from tinynet.tensor import Tensor, plain

LOSSES = {
    "cross_entropy": F.cross_entropy,
    "mse_loss": F.mse_loss,
    "l1_loss": F.l1_loss,
    "huber_loss": F.huber_loss,
    "binary_cross_entropy_with_logits": F.binary_cross_entropy_with_logits,
}
OF_LOGITS = (F.cross_entropy, F.binary_cross_entropy_with_logits)  # other losses do not say what outputs are


def whole(name: str, value: Any, least: int = 1, why: str = "") -> int:
    """A whole number from `least` on, as an int."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}" + f": {why}" * bool(why))
    return int(value)


# The parts of a training ------------------------------------------------------------------------------------------------


def check_parts(model: Any, optimizer: Any, callbacks: Any, recorder: Any) -> None:
    """Objects that belong together, where a class, a name or one of another model is easily given instead."""
    check_model(model)
    _check_optimizer(optimizer, model)
    _check_helpers(callbacks, recorder)


def check_named(more: Sequence[Any]) -> None:
    """x and y are easily given one by one."""
    if more:
        raise TypeError("fit: data is one pair, and all that follows it is named: fit(model, (x, y), loss=...)")


def check_model(model: Any) -> None:
    """The layers of a Module can be asked for their parameters and their mode; a function's cannot."""
    if isinstance(model, type):
        raise TypeError(f"model has the class {model.__name__} where an object is wanted: write {model.__name__}(...)")
    if not isinstance(model, Module):
        raise TypeError(f"model must be a tinynet.Module, got {model!r}: write a class with a method forward(self, x)")


def _check_optimizer(optimizer: Any, model: Any) -> None:
    """An optimizer that holds none of the model's parameters would train nothing; many nets have no one loss."""
    if getattr(model, "replicas", None) is not None:
        raise ValueError(
            f"fit trains one net, and this model is {model.replicas}: sum their losses in a loop of your own "
            "(tinynet/comparison/problems.py has one), or train model.replica(0)"
        )
    if isinstance(optimizer, type):
        raise TypeError(
            f"optimizer must be an optimizer of the model's parameters: {optimizer.__name__}(model.parameters())"
        )
    if not callable(getattr(optimizer, "step", None)):
        names = {name.lower(): name for name in optimizers.__all__}
        name = names.get(str(optimizer).lower(), "Adam")
        raise TypeError(f"optimizer must be an optimizer, got {optimizer!r}: write optimizers.{name}(model.parameters())")
    held = {id(p) for group in getattr(optimizer, "param_groups", ()) for p in group["params"]}
    if held and not any(id(p) in held for p in model.parameters()):
        raise ValueError("the optimizer holds none of this model's parameters: make it from model.parameters()")


def _check_helpers(callbacks: Any, recorder: Any) -> None:
    if recorder is not None and not isinstance(recorder, Recorder):
        path = recorder if isinstance(recorder, str) else "runs"
        raise TypeError(f"recorder must be a Recorder, got {recorder!r}: write monitor.Recorder({path!r})")
    if not isinstance(callbacks, Sequence) or isinstance(callbacks, str):
        name = type(callbacks).__name__
        raise TypeError(f"callbacks must be a list, got one {name}: write [{name}(...)]")
    for callback in callbacks:
        if isinstance(callback, type):
            name = callback.__name__
            raise TypeError(f"callbacks has the class {name} where an object is wanted: write {name}()")
        if not hasattr(callback, "on_train_begin"):
            raise TypeError(f"callbacks must hold objects with the hooks of monitor.Callback, got {callback!r}")


def check_loss_of_step(value: Any) -> None:
    """The loss of a training step is walked back, so it must be part of the graph."""
    if not isinstance(value, Tensor):
        raise TypeError(
            f"loss must return a Tensor computed from the outputs, got {type(value).__name__}: float(), .item(), .data and "
            ".numpy() leave the graph"
        )


def find_loss(loss: str | Callable) -> Callable:
    """A loss by its name, or the function itself."""
    return loss if callable(loss) else lookup("loss", loss, LOSSES)


def is_of_logits(loss: Callable) -> bool:
    """Whether a loss takes logits, as far as is known; one with arguments filled in by functools.partial counts, too."""
    return (loss.func if isinstance(loss, partial) else loss) in OF_LOGITS


def find_metrics(metrics: Sequence[str | Callable]) -> dict[str, Callable]:
    """The metrics by the names under which they are recorded."""
    if isinstance(metrics, str) or callable(metrics):
        raise TypeError(f"metrics must be a list of names or functions, got {metrics!r}: write [{metrics!r}]")
    found: dict[str, Callable] = {}
    for metric in metrics:
        function = metric if callable(metric) else lookup("metric", SHORT.get(str(metric), metric), METRICS)
        name = metric if isinstance(metric, str) else attribute_of(metric, "__name__") or type(metric).__name__
        if name in found or name == "loss":
            raise ValueError(
                f"metrics: there are two numbers called {name!r}, and they are recorded by name: def a function"
            )
        found[name] = function
    return found


# The data ---------------------------------------------------------------------------------------------------------------


def data_pair(name: str, value: Any) -> tuple[Any, Any]:
    """The pair (x, y) as arrays: of one length, not empty, finite."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        hint = f": write ({name}.x, {name}.y) of it" if hasattr(value, "x") and hasattr(value, "y") else ""
        raise TypeError(f"{name} must be a pair (x, y), got {type(value).__name__}{hint}")
    _refuse_several(name, *value)
    x, y = inputs(value[0]), as_array(plain(value[1]))
    if y.ndim < 1 or len(x) != len(y):
        raise ValueError(f"x has {len(x)} rows, but y has the shape {y.shape}")
    _refuse_nonfinite("x", x)
    _refuse_nonfinite("y", y)
    return x, y


def _refuse_several(name: str, x: Any, y: Any) -> None:
    """Arrays that have one row for each target are inputs of their own, and not rows."""
    if not (isinstance(x, tuple | list) and x and np.ndim(plain(y)) and len(x) != len(y)):
        return
    if all(getattr(part, "ndim", 0) and len(part) == len(y) for part in x):
        raise ValueError(
            f"{name} has {len(x)} arrays of {len(y)} rows as x, and there is one x: np.concatenate([...], axis=1) joins "
            "columns. A model that takes several inputs is trained in a loop of your own"
        )


def inputs(x: Any) -> Any:
    """x as an array [n, ...] of at least one row."""
    x = as_array(plain(x))
    if x.ndim < 2:
        raise ValueError(f"x must have the shape [n, features], got {x.shape}: x.reshape(-1, 1) for one feature")
    if not len(x):
        raise ValueError("the data set is empty: x has no rows")
    return x


def _refuse_nonfinite(name: str, array: Any) -> None:
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return
    bad = np.argwhere(~np.isfinite(array))
    where = ", ".join(f"{axis} {i}" for axis, i in zip(("row", "column"), bad[0].tolist(), strict=False))
    count = f"{len(bad):,} values that are" if len(bad) > 1 else "a value that is"
    raise ValueError(f"{name} has {count} nan or infinite, the first at {where}: fill in or drop them")


def like_model(model: Any, *arrays: Any) -> Any:
    """The arrays on the model's device; floats in the model's dtype, so that nothing is promoted, and inputs too."""
    weight = next((parameter.data for parameter in model.parameters()), arrays[0])
    alike = []
    for i, array in enumerate(arrays):
        if weight.dtype.kind == "f" and (i == 0 or array.dtype.kind == "f"):
            array = array.astype(weight.dtype, copy=False)
        alike.append(same_device(array, weight))
    return tuple(alike)


# Going on ---------------------------------------------------------------------------------------------------------------


def check_checkpoint(checkpoint: Any, order: Mapping[str, int], batches: int, epochs: int) -> None:
    """Raise unless a training of so many epochs, and batches in an epoch, can go on from it.

    order: what decides which examples are in which batch.
    """
    needed = ("model", "optimizer", "step", "epoch", "logs")
    if not isinstance(checkpoint, Mapping) or not all(name in checkpoint for name in needed):
        raise TypeError(
            f"resume must be a checkpoint with {', '.join(needed)}, got {type(checkpoint).__name__}: write "
            "monitor.load_checkpoint(run_folder, 'last')"
        )
    then = checkpoint.get("order", {})  # a loop of one's own need not say
    for name, value in order.items():
        if then.get(name, value) != value:
            raise ValueError(
                f"resume: the checkpoint was taken with {name}={then[name]}, and this training has {name}={value}, so that "
                "its batches are others. Give the same again, or begin a training with the checkpoint's weights: "
                "model.load_state_dict(checkpoint['model']), and no resume"
            )
    step, epoch = checkpoint["step"], checkpoint["epoch"]
    if not 0 <= step - epoch * batches <= batches:
        raise ValueError(
            f"resume: the checkpoint is at step {step} after {epoch} epochs, which does not fit {batches} batches in an "
            "epoch: give the data and the batch_size of then"
        )
    if epoch > epochs:
        raise ValueError(
            f"resume: the checkpoint is of epoch {epoch}, and epochs={epochs} ends before it: epochs counts from the "
            "beginning"
        )
