"""The training loop.

`fit` is the loop that everyone writes: go through the data in batches; for each, compute the loss, walk it back, take a
step; after every epoch, see how it went. Everything else (progress, checkpoints, stopping) is a callback.
"""

from __future__ import annotations

import inspect
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import islice
from types import MappingProxyType
from typing import Any

import numpy as np

import optimizers
from monitor.checkpoints import restore
from monitor.metrics import METRICS, measure
from monitor.recorder import Recorder, Run
from tinynet import functional as F
from tinynet.backend import as_array, device_of, memory_explained, same_device, to_device
from tinynet.capture import Captured
from tinynet.graph import no_grad
from tinynet.naming import lookup
from tinynet.tensor import plain
from tinynet.watched import Inside

LOSSES = {
    "cross_entropy": F.cross_entropy,
    "mse_loss": F.mse_loss,
    "l1_loss": F.l1_loss,
    "huber_loss": F.huber_loss,
    "binary_cross_entropy_with_logits": F.binary_cross_entropy_with_logits,
}


OUTPUTS_ARE = {F.cross_entropy: "logits", F.binary_cross_entropy_with_logits: "logits"}  # other losses do not say


class Training:
    """A training in progress, as callbacks see it (monitor/callbacks.py lists what they may use)."""

    def __init__(
        self, model: Any, optimizer: Any, recorder: Recorder, epochs: int, batches: int, callbacks: Sequence[Any] = ()
    ):
        self.callbacks = callbacks
        self.model = model
        self.optimizer = optimizer
        self.recorder = recorder
        self.epochs = epochs
        self.batches = batches
        self.epoch = 0
        self.step = 0
        self.running_loss: Any = 0.0  # the sum of the losses of what was seen in this epoch
        self.logs: MappingProxyType[str, float] = MappingProxyType({})
        self.stop_reason: str | None = None

    def stop(self, reason: str) -> None:
        """Ask training to end after this epoch."""
        self.stop_reason = reason

    def go_on_from(self, checkpoint: Mapping[str, Any]) -> None:
        """Put everything where it was when the checkpoint was taken."""
        restore(checkpoint, self.model, self.optimizer, self.callbacks)
        self.epoch, self.step = checkpoint["epoch"], checkpoint["step"]
        self.running_loss = checkpoint.get("running_loss", 0.0)
        self.logs = MappingProxyType(dict(checkpoint["logs"]))

    def record(self, numbers: dict[str, float]) -> None:
        """Make the numbers of this epoch the latest logs, and record them."""
        self.logs = MappingProxyType({**self.logs, **numbers})
        self.recorder.event("eval", self.step, numbers, self.epoch)


@memory_explained()
def fit(
    model: Any,
    data: tuple[Any, Any],
    *,
    loss: str | Callable,
    optimizer: Any,
    epochs: int,
    batch_size: int = 64,
    validation: tuple[Any, Any] | None = None,
    metrics: Sequence[str | Callable] = (),
    callbacks: Sequence[Any] = (),
    recorder: Recorder | None = None,
    seed: int = 0,
    capture: bool = True,
    resume: Mapping[str, Any] | None = None,
) -> Run:
    """Train `model` on `data` = (x, y) for a number of epochs, and return the recorded run.

    `loss(outputs, y)` is a function or its name ("cross_entropy", "mse_loss" ...); `metrics` are names from
    monitor.metrics or functions (y_true, y_pred). Before training and after every epoch, train/loss, val/loss and the
    metrics are evaluated in evaluation mode; train/running_loss is the mean over the epoch's batches as they were
    trained on. The order of the data depends on `seed` and the epoch alone. Without a recorder the run stays in memory.
    A model left in evaluation mode is trained in training mode all the same, and given back as it came.

    Data on another device than the model's are copied there once. On a GPU labels are looked at once, before training.

    The training step is captured (capture.py): the same bits in less time. A model or loss that cannot be captured is
    trained as it is, and the run has a note that says why. With capture=False every step runs as written below.

    An optimizer that trains at one point and is evaluated at another (EMA, ScheduleFreeSGD) is asked for the other for
    every evaluation, and leaves it in the model at the end.

    `resume` is a checkpoint of monitor.load_checkpoint: training goes on after its epoch as if it had never stopped, to the
    bit, given the same arguments; `epochs` still counts from the beginning.

    >>> from optimizers import Adam
    >>> from tinynet.datasets import moons
    >>> from tinynet.layers import MLP
    >>> model = MLP([2, 16, 2], seed=0)
    >>> run = fit(model, moons(200), loss="cross_entropy", optimizer=Adam(model.parameters(), 1e-2), epochs=20)
    >>> run.last("train/loss") < 0.3
    True
    """
    epochs, batch_size = _whole("epochs", epochs), _whole("batch_size", batch_size)
    _check_helpers(callbacks, recorder)
    loss_of, scores = _loss(loss), _metrics(metrics)
    _check_optimizer(optimizer, model)
    train: tuple[Any, Any] = _like_model(model, *checked(*_pair("data", data)))
    val = _like_model(model, *checked(*_pair("validation", validation))) if validation is not None else None
    _look_at_targets(model, loss_of, train, val)
    recorder = recorder or Recorder(root=None, name="fit")
    _describe(recorder, train, val, loss_of)
    training = Training(model, optimizer, recorder, epochs, -(-len(train[0]) // batch_size), callbacks)

    inside = Inside(model, loss_of)
    step = _step(model, loss_of, optimizer, inside)
    train_step = Captured(step, explain=recorder.note) if capture else step
    own_run = nullcontext() if recorder.entered else recorder
    with own_run, nullcontext() if model.training else _mode(model, training=True), ExitStack() as ending:
        for callback in reversed(callbacks):  # they end in the order given, each of them whatever the others do
            ending.callback(callback.on_train_end, training)
        interrupt = ending.enter_context(interrupts_between_steps())
        _each(callbacks, "on_train_begin", training)
        ending.enter_context(inside.watched_by(recorder.watchers, train_step))
        if resume is None:
            _evaluate_epoch(training, train, val, loss_of, scores)
        else:
            training.go_on_from(resume)
        for epoch in range(training.epoch + 1, epochs + 1):
            _each(callbacks, "on_epoch_begin", training)
            _point_of(optimizer, "train")
            _train_epoch(training, train_step, inside, batches(*train, batch_size, seed, epoch), interrupt)
            training.epoch = epoch
            _evaluate_epoch(training, train, val, loss_of, scores, _read(training, len(train[0])))
            _each(callbacks, "on_epoch_end", training)
            interrupt()
            if training.stop_reason is not None:
                recorder.note(training.stop_reason)
                break
    return recorder.run


def _read(training: Training, examples: int) -> dict[str, float]:
    """The numbers of an epoch's batches. On a GPU they are waited for only now."""
    numbers = {"train/running_loss": float(training.running_loss) / examples, "lr": training.optimizer.lr}
    training.running_loss = 0.0
    _point_of(training.optimizer, "check_finite")
    return numbers


def _step(model: Any, loss_of: Callable, optimizer: Any, inside: Inside) -> Callable:
    """One step of training on a batch: a function that answers the loss and, if it is watched, what layers answer."""

    def step(x: Any, y: Any, watchers: Sequence[Any] = ()) -> Any:
        inside.look()
        optimizer.zero_grad()
        value = loss_of(model(x), y)
        value.backward()
        for watcher in watchers:
            watcher.gradients()  # as they are before the optimizer clips them
        optimizer.step()
        return value, inside.answers()

    return step


def _train_epoch(
    training: Training, step: Callable, inside: Inside, data: Iterator[tuple[Any, Any]], interrupt: Callable
) -> None:
    """A step on every batch of an epoch; on those that are left, where training goes on from a checkpoint."""
    epoch = training.epoch + 1
    if isinstance(step, Captured) and epoch & (epoch - 1) == 0:  # 1, 2, 4, 8 ...: what depends on the epoch is seen early
        step.recheck()
    done = training.step - training.epoch * training.batches
    for x, y in islice(data, done, None):
        watchers = [w for w in training.recorder.watchers if w.wants(training.step + 1)]
        loss = inside.step(training, watchers, step, x, y) if watchers else step(x, y)[0]
        training.running_loss = training.running_loss + loss.data * len(x)
        training.step += 1
        _each(training.callbacks, "on_batch_end", training)
        interrupt()


def _describe(recorder: Recorder, train: tuple[Any, Any], val: tuple[Any, Any] | None, loss: Callable) -> None:
    """Say in run.json how many examples there are, and what decides how much a constant answer would lose."""
    data = recorder.meta.get("data", {})
    sizes = {"train": len(train[1]), **({} if val is None else {"validation": len(val[1])})}
    y = to_device(train[1], "cpu")
    about: dict[str, Any] = {}
    if loss is F.cross_entropy and y.dtype.kind in "iu" and y.min() >= 0:
        about["class_counts"] = np.bincount(y.reshape(-1))
    if loss is F.binary_cross_entropy_with_logits and y.size == len(y) and np.isin(y, (0, 1)).all():
        about["class_counts"] = np.bincount(y.reshape(-1).astype(int), minlength=2)
    if loss is F.mse_loss:
        about["target_variance"] = float(np.var(y.astype(float), axis=0).mean())
    if isinstance(data, dict):
        recorder.describe(data={**data, "sizes": {**data.get("sizes", {}), **sizes}, **about})


@contextmanager
def interrupts_between_steps() -> Iterator[Callable[[], None]]:
    """Ctrl-C waits until the function answered is called, so that no step is left half done; a second one does not wait."""
    mine = threading.current_thread() is threading.main_thread()
    if not mine or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: None  # somebody else has his own way with it
        return
    pressed: list[int] = []

    def note(number: int, frame: Any) -> None:
        if pressed:
            signal.default_int_handler(number, frame)
        pressed.append(number)

    def interrupt() -> None:
        if pressed:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, note)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def batches(x: Any, y: Any, size: int, seed: int, epoch: int) -> Iterator[tuple[Any, Any]]:
    """The data in random order, in batches; the last one may be smaller. The order is a function of (seed, epoch)."""
    order = same_device(np.random.default_rng((seed, epoch)).permutation(len(x)), x)  # uploaded once, if at all
    for start in range(0, len(x), size):
        chosen = order[start : start + size]
        yield x[chosen], y[chosen]


@memory_explained()
def predict(model: Any, x: Any, batch_size: int = 1024) -> Any:
    """The model's outputs for all rows of x, in evaluation mode and without recording a graph: an array."""
    batch_size = _whole("batch_size", batch_size)
    x = _like_model(model, _checked_inputs(x))[0]
    with _mode(model, training=False), no_grad():
        return np.concatenate([plain(model(x[i : i + batch_size])) for i in range(0, len(x), batch_size)])


def evaluate(
    model: Any, data: tuple[Any, Any], loss: str | Callable, metrics: Sequence[str | Callable] = ()
) -> dict[str, float]:
    """{"loss": ..., and each metric by its name} of the model on (x, y), in evaluation mode."""
    data = _like_model(model, *checked(*_pair("data", data)))
    _look_at_targets(model, _loss(loss), data)
    return _scores(predict(model, data[0]), data[1], _loss(loss), _metrics(metrics))


def _scores(outputs: Any, y: Any, loss: Callable, metrics: dict[str, Callable]) -> dict[str, float]:
    """What `evaluate` answers, from the model's outputs."""
    with no_grad():
        scores = {"loss": float(plain(loss(outputs, y)))}
    if metrics:
        kind = OUTPUTS_ARE.get(loss, "auto")
        scores.update(measure(metrics, to_device(y, "cpu"), to_device(outputs, "cpu"), kind))
    return scores


def _losses(outputs: Any, y: Any, loss: Callable) -> Any:
    """The loss of every example, [n], if the loss can tell: with reduction="none", as ours do. Else None."""
    try:
        if "reduction" not in inspect.signature(loss).parameters:
            return None
        with no_grad():
            losses = np.asarray(to_device(plain(loss(outputs, y, reduction="none")), "cpu"))
    except Exception:  # it has a meaning of its own for the word
        return None
    if losses.dtype.kind != "f" or losses.shape[:1] != (len(y),):
        return None
    return losses.reshape(len(y), -1).mean(axis=1)  # over the numbers of one example


@contextmanager
def _mode(model: Any, training: bool) -> Iterator[None]:
    """Training or evaluation mode for a while; afterwards every layer has the mode it had."""
    before = [(module, module.training) for _, module in model.named_modules()]
    model.train() if training else model.eval()
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode


def _evaluate_epoch(
    training: Training,
    train: Any,
    val: Any,
    loss: Callable,
    metrics: dict[str, Callable],
    extra: dict[str, float] | None = None,
) -> None:
    _point_of(training.optimizer, "eval")
    numbers: dict[str, float] = {}
    losses = None
    for part, data in (("train", train), ("val", val)):
        if data is not None:
            outputs, y = predict(training.model, data[0]), data[1]
            numbers.update((f"{part}/{name}", value) for name, value in _scores(outputs, y, loss, metrics).items())
            losses = _losses(outputs, y, loss) if part == "val" else None
    training.record({**numbers, **(extra or {"lr": training.optimizer.lr})})
    if losses is not None:
        training.recorder.log_val_losses(losses, training.step)


def _point_of(optimizer: Any, mode: str) -> None:
    """Put the weights to "train" at or to "eval"uate into the parameters, if the optimizer keeps both (averaging.py);
    "check_finite" reads what it found in gradients on a GPU (deferred.py).
    """
    if hasattr(optimizer, mode):
        getattr(optimizer, mode)()


def _each(callbacks: Sequence[Any], hook: str, training: Training) -> None:
    for callback in callbacks:
        getattr(callback, hook)(training)


# Arguments ------------------------------------------------------------------------------------------------------------


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
    """Objects, where a name or a class is easily given instead."""
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


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
    return int(value)


def _pair(name: str, value: Any) -> tuple[Any, Any]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(f"{name} must be a pair (x, y), got {type(value).__name__}")
    return value[0], value[1]


def _loss(loss: str | Callable) -> Callable:
    return loss if callable(loss) else lookup("loss", loss, LOSSES)


def _metrics(metrics: Sequence[str | Callable]) -> dict[str, Callable]:
    """The metrics by name, looked up before anything is trained."""
    if isinstance(metrics, str):
        raise TypeError(f"metrics must be a list of names or functions, got {metrics!r}: write [{metrics!r}]")
    return {m if isinstance(m, str) else m.__name__: m if callable(m) else lookup("metric", m, METRICS) for m in metrics}


def checked(x: Any, y: Any) -> tuple[Any, Any]:
    """x and y as arrays, or an error: of one length, not empty, finite."""
    x, y = _checked_inputs(x), as_array(plain(y))
    if y.ndim < 1 or len(x) != len(y):
        raise ValueError(f"x has {len(x)} rows, but y has the shape {y.shape}")
    _refuse_nonfinite("x", x)
    _refuse_nonfinite("y", y)
    return x, y


def _checked_inputs(x: Any) -> Any:
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


def _like_model(model: Any, *arrays: Any) -> Any:
    """The arrays on the model's device; floats in the model's dtype, so that nothing is promoted, and inputs too."""
    weight = next((parameter.data for parameter in model.parameters()), arrays[0])
    alike = []
    for i, array in enumerate(arrays):
        if weight.dtype.kind == "f" and (i == 0 or array.dtype.kind == "f"):
            array = array.astype(weight.dtype, copy=False)
        alike.append(same_device(array, weight))
    return tuple(alike)


def _look_at_targets(model: Any, loss: Callable, *data: Any) -> None:
    """Let the loss look at all targets on the host: on a GPU it does not, since to look would be to wait in every step,
    and CuPy takes a label that is out of range for another one.
    """
    for x, y in (pair for pair in data if pair is not None and device_of(pair[0]) != "cpu"):
        if getattr(loss, "func", loss) in OUTPUTS_ARE:  # (of a functools.partial, the function)
            with _mode(model, training=True), no_grad():
                width = model.train(False)(x[:1]).shape[1:]
            loss(np.zeros((len(y), *width), x.dtype), to_device(y, "cpu"))
