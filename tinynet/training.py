"""The training loop.

`fit` is the loop that everyone writes: go through the data in batches; for each, compute the loss, walk it back, take a
step; after every epoch, see how it went. Everything else (progress, checkpoints, stopping) is a callback.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import islice
from types import MappingProxyType
from typing import Any

import numpy as np

from monitor.checkpoints import restore
from monitor.metrics import METRICS, measure
from monitor.recorder import Recorder, Run
from tinynet import functional as F
from tinynet.backend import as_array, same_device, to_device
from tinynet.capture import Captured
from tinynet.graph import no_grad
from tinynet.naming import lookup
from tinynet.tensor import plain

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
    loss_of, scores = _loss(loss), _metrics(metrics)
    _check_optimizer(optimizer, model)
    train: tuple[Any, Any] = _like_model(model, *checked(*_pair("data", data)))
    val = _like_model(model, *checked(*_pair("validation", validation))) if validation is not None else None
    recorder = recorder or Recorder(root=None, name="fit")
    training = Training(model, optimizer, recorder, epochs, -(-len(train[0]) // batch_size), callbacks)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        value = loss_of(model(x), y)
        value.backward()
        optimizer.step()
        return value

    train_step = Captured(step, explain=recorder.note) if capture else step
    own_run = nullcontext() if recorder.entered else recorder
    with own_run, nullcontext() if model.training else _mode(model, training=True), ExitStack() as ending:
        for callback in reversed(callbacks):  # they end in the order given, each of them whatever the others do
            ending.callback(callback.on_train_end, training)
        interrupt = ending.enter_context(interrupts_between_steps())
        _each(callbacks, "on_train_begin", training)
        if resume is None:
            _evaluate_epoch(training, train, val, loss_of, scores)
        else:
            training.go_on_from(resume)
        for epoch in range(training.epoch + 1, epochs + 1):
            _each(callbacks, "on_epoch_begin", training)
            _point_of(optimizer, "train")
            _train_epoch(training, train_step, batches(*train, batch_size, seed, epoch), interrupt)
            training.epoch = epoch
            extra = {"train/running_loss": float(training.running_loss) / len(train[0]), "lr": optimizer.lr}
            training.running_loss = 0.0
            _evaluate_epoch(training, train, val, loss_of, scores, extra)
            _each(callbacks, "on_epoch_end", training)
            interrupt()
            if training.stop_reason is not None:
                recorder.note(training.stop_reason)
                break
    return recorder.run


def _train_epoch(training: Training, step: Callable, data: Iterator[tuple[Any, Any]], interrupt: Callable) -> None:
    """A step on every batch of an epoch; on those that are left, where training goes on from a checkpoint."""
    plain_step = step.function if isinstance(step, Captured) else step
    if isinstance(step, Captured):
        step.recheck()
    done = training.step - training.epoch * training.batches
    for x, y in islice(data, done, None):
        with watched(training.recorder, training.step + 1) as looking:
            loss = (plain_step if looking else step)(x, y)
        training.running_loss = training.running_loss + loss.data * len(x)
        training.step += 1
        _each(training.callbacks, "on_batch_end", training)
        interrupt()


@contextmanager
def watched(recorder: Recorder, step: int) -> Iterator[bool]:
    """Lets the recorder's watchers look at a step; True if one of them wants to see it, layer by layer."""
    for watcher in recorder.watchers:
        watcher.begin(step)
    yield any(watcher.wants(step) for watcher in recorder.watchers)
    for watcher in recorder.watchers:
        watcher.end(step)


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
    order = np.random.default_rng((seed, epoch)).permutation(len(x))
    for start in range(0, len(x), size):
        chosen = same_device(order[start : start + size], x)
        yield x[chosen], y[chosen]


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
    return _scores(model, _like_model(model, *checked(*_pair("data", data))), _loss(loss), _metrics(metrics))


def _scores(model: Any, data: tuple[Any, Any], loss: Callable, metrics: dict[str, Callable]) -> dict[str, float]:
    """What `evaluate` answers, for data that were checked before."""
    x, y = data
    outputs = predict(model, x)
    with no_grad():
        scores = {"loss": float(plain(loss(outputs, y)))}
    if metrics:
        kind = OUTPUTS_ARE.get(loss, "auto")
        scores.update(measure(metrics, to_device(y, "cpu"), to_device(outputs, "cpu"), kind))
    return scores


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
    numbers = {f"train/{name}": value for name, value in _scores(training.model, train, loss, metrics).items()}
    if val is not None:
        numbers.update((f"val/{name}", v) for name, v in _scores(training.model, val, loss, metrics).items())
    training.record({**numbers, **(extra or {"lr": training.optimizer.lr})})


def _point_of(optimizer: Any, mode: str) -> None:
    """Put the weights to "train" at or to "eval"uate into the parameters, if the optimizer keeps both (averaging.py)."""
    if hasattr(optimizer, mode):
        getattr(optimizer, mode)()


def _each(callbacks: Sequence[Any], hook: str, training: Training) -> None:
    for callback in callbacks:
        getattr(callback, hook)(training)


# Arguments ------------------------------------------------------------------------------------------------------------


def _check_optimizer(optimizer: Any, model: Any) -> None:
    """An optimizer that holds none of the model's parameters would train nothing."""
    if isinstance(optimizer, type):
        raise TypeError(
            f"optimizer must be an optimizer of the model's parameters: {optimizer.__name__}(model.parameters())"
        )
    held = {id(p) for group in getattr(optimizer, "param_groups", ()) for p in group["params"]}
    if held and not any(id(p) in held for p in model.parameters()):
        raise ValueError("the optimizer holds none of this model's parameters: make it from model.parameters()")


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
        alike.append(same_device(array, weight) if isinstance(array, np.ndarray) else array)
    return tuple(alike)
