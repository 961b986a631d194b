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
from typing import Any, Never

import numpy as np

from monitor.checkpoints import restore, restore_callbacks
from monitor.metrics import measure
from monitor.recorder import Recorder, Run
from tinynet import arguments
from tinynet import functional as F
from tinynet.backend import device_of, memory_explained, same_device, to_device
from tinynet.capture import Captured
from tinynet.graph import no_grad
from tinynet.tensor import plain
from tinynet.watched import Inside


class Training:
    """A training in progress, as callbacks see it (monitor/callbacks.py lists what they may use)."""

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        recorder: Recorder,
        epochs: int,
        batches: int,
        callbacks: Sequence[Any] = (),
        order: Mapping[str, int] = MappingProxyType({}),
    ):
        self.callbacks = callbacks
        self.model = model
        self.optimizer = optimizer
        self.recorder = recorder
        self.epochs = epochs
        self.batches = batches
        self.order = dict(order)  # what decides which examples are in which batch
        self.epoch = 0
        self.step = 0
        self.running_loss: Any = 0.0  # the sum of the losses of what was seen in this epoch
        self.logs: MappingProxyType[str, float] = MappingProxyType({})
        self.stop_reason: str | None = None

    def stop(self, reason: str) -> None:
        """Ask training to end after this epoch."""
        self.stop_reason = reason

    def go_on_from(self, checkpoint: Mapping[str, Any]) -> None:
        """Put everything but the callbacks where it was when the checkpoint was taken, or raise and leave all as it is."""
        arguments.check_checkpoint(checkpoint, self.order, self.batches, self.epochs)
        _call_if_there(self.optimizer, "train")  # where an earlier training has left it to be evaluated
        restore(checkpoint, self.model, self.optimizer)
        self.epoch, self.step = checkpoint["epoch"], checkpoint["step"]
        self.running_loss = checkpoint.get("running_loss", 0.0)
        self.logs = MappingProxyType(dict(checkpoint["logs"]))

    def record(self, numbers: dict[str, float]) -> None:
        """Make the numbers of this epoch the latest logs, and record them."""
        self.logs = MappingProxyType(dict(numbers))
        self.recorder.event("eval", self.step, numbers, self.epoch)


@memory_explained()
def fit(
    model: Any,
    data: tuple[Any, Any],
    *more: Never,
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

    Data on another device than the model's are copied there once. Inputs become floats of the model's dtype, whole numbers
    too, so that a Linear computes in that dtype whatever the file held; a model of your own that looks rows up in a table
    writes self.table[x.astype(int)]. On a GPU labels are looked at once, before training.

    The training step is captured (capture/): the same bits in less time. A model or loss that cannot be captured is
    trained as it is, and the run has a note that says why. With capture=False every step runs as written below.

    An optimizer that trains at one point and is evaluated at another (EMA, ScheduleFreeSGD) is asked for the other for
    every evaluation, and leaves it in the model at the end.

    `resume` is a checkpoint of monitor.load_checkpoint: training goes on after its epoch as if it had never stopped, to the
    bit, given the same arguments; `epochs` still counts from the beginning. Other numbers of examples, another batch_size,
    seed, shape of the model or kind of optimizer are errors before anything is changed. Hyperparameters that are numbers
    come from the checkpoint, schedules are those of `optimizer`; what a checkpoint does not know (other data of the same
    length, another loss or activation, random numbers that the loss draws) is yours to keep.

    >>> from optimizers import Adam
    >>> from tinynet.datasets import moons
    >>> from tinynet.layers import MLP
    >>> model = MLP([2, 16, 2], seed=0)
    >>> run = fit(model, moons(200), loss="cross_entropy", optimizer=Adam(model.parameters(), 1e-2), epochs=20)
    >>> run.last("train/loss") < 0.3
    True
    """
    arguments.check_named(more)
    epochs, batch_size = arguments.whole("epochs", epochs), arguments.whole("batch_size", batch_size)
    seed = arguments.whole("seed", seed, least=0)
    arguments.check_parts(model, optimizer, callbacks, recorder)
    loss_of, scores = arguments.find_loss(loss), arguments.find_metrics(metrics)
    train, val = _ready(model, loss_of, data, validation)
    recorder = recorder or Recorder(root=None, name="fit")
    order = {"examples": len(train[0]), "batch_size": batch_size, "seed": seed}
    training = Training(model, optimizer, recorder, epochs, -(-len(train[0]) // batch_size), callbacks, order)
    if resume is not None:
        training.go_on_from(resume)
    _describe(recorder, train, val, loss_of)

    inside = Inside(model, loss_of)
    step = _step(model, loss_of, optimizer, inside)
    train_step = Captured(step, explain=recorder.note) if capture else step
    own_run = nullcontext() if recorder.entered else recorder
    with own_run, nullcontext() if model.training else _mode(model, training=True), ExitStack() as ending:
        for callback in reversed(_as_they_end(callbacks)):  # each of them, whatever the others do
            ending.callback(callback.on_train_end, training)
        interrupt = ending.enter_context(interrupts_between_steps())
        _each(callbacks, "on_train_begin", training)
        ending.enter_context(inside.watched_by(recorder.watchers, train_step))
        if resume is None:
            _evaluate_epoch(training, train, val, loss_of, scores)
        else:
            restore_callbacks(resume, callbacks)
            _call_if_there(optimizer, "eval")  # as it is left after every epoch
        for epoch in range(training.epoch + 1, epochs + 1):
            _each(callbacks, "on_epoch_begin", training)
            _call_if_there(optimizer, "train")
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
    _call_if_there(training.optimizer, "check_finite")
    return numbers


def _step(model: Any, loss_of: Callable, optimizer: Any, inside: Inside) -> Callable:
    """One step of training on a batch: a function that answers the loss and, if it is watched, what layers answer."""

    def step(x: Any, y: Any, watchers: Sequence[Any] = ()) -> Any:
        inside.look()
        optimizer.zero_grad()
        value = loss_of(model(x), y)
        arguments.check_loss_of_step(value)
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
        training.running_loss = training.running_loss + loss.data.astype(float) * len(x)
        training.step += 1
        _each(training.callbacks, "on_batch_end", training)
        interrupt()


def _describe(recorder: Recorder, train: tuple[Any, Any], val: tuple[Any, Any] | None, loss: Callable) -> None:
    """Say in run.json how many examples there are, and what decides how much a constant answer would lose."""
    data = recorder.meta.get("data", {})
    sizes = {"train": len(train[1]), **({} if val is None else {"validation": len(val[1])})}
    y = to_device(train[1], "cpu")
    about: dict[str, Any] = {}
    if loss is F.cross_entropy and y.dtype.kind in "iu" and 0 <= y.min() <= y.max() < y.size:  # else the loss will object
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
    arguments.check_model(model)
    batch_size = arguments.whole("batch_size", batch_size)
    x = arguments.like_model(model, arguments.inputs(x))[0]
    with _mode(model, training=False), no_grad():
        return np.concatenate([plain(model(x[i : i + batch_size])) for i in range(0, len(x), batch_size)])


def evaluate(
    model: Any, data: tuple[Any, Any], loss: str | Callable, metrics: Sequence[str | Callable] = ()
) -> dict[str, float]:
    """{"loss": ..., and each metric by its name} of the model on (x, y), in evaluation mode."""
    arguments.check_model(model)
    loss_of, scores = arguments.find_loss(loss), arguments.find_metrics(metrics)
    (x, y), _ = _ready(model, loss_of, data)
    return _scores(predict(model, x), y, loss_of, scores)


def _scores(outputs: Any, y: Any, loss: Callable, metrics: dict[str, Callable]) -> dict[str, float]:
    """What `evaluate` answers, from the model's outputs."""
    with no_grad():
        value = plain(loss(outputs, y))
    if value is None or np.shape(value):
        seen = "None" if value is None else f"the shape {np.shape(value)}: take the mean"
        raise ValueError(f"loss must return one number for a batch, got {seen}")
    scores = {"loss": float(value)}
    if metrics:
        kind = "logits" if arguments.is_of_logits(loss) else "auto"
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


def _ready(model: Any, loss: Callable, data: Any, validation: Any = None) -> tuple[tuple[Any, Any], tuple[Any, Any] | None]:
    """(x, y) of both as arrays beside the model; None for validation data that there are not."""
    train = arguments.like_model(model, *arguments.data_pair("data", data))
    val = None if validation is None else arguments.like_model(model, *arguments.data_pair("validation", validation))
    _look_at_targets(model, loss, train, val)
    return train, val


def _look_at_targets(model: Any, loss: Callable, *data: Any) -> None:
    """Let the loss look at all targets on the host: on a GPU it does not, since to look would be to wait in every step,
    and CuPy takes a label that is out of range for another one.
    """
    for x, y in (pair for pair in data if pair is not None and device_of(pair[0]) != "cpu"):
        if arguments.is_of_logits(loss):
            with _mode(model, training=True), no_grad():
                width = model.train(False)(x[:1]).shape[1:]
            loss(np.zeros((len(y), *width), x.dtype), to_device(y, "cpu"))


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
    _call_if_there(training.optimizer, "eval")
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


def _call_if_there(optimizer: Any, method: str) -> None:
    """Call what an optimizer of one's own need not have: "train" and "eval" put the weights to train at, or those to be
    evaluated, into the parameters (averaging.py); "check_finite" reads what was found in the gradients on a GPU.
    """
    if hasattr(optimizer, method):
        getattr(optimizer, method)()


def _as_they_end(callbacks: Sequence[Any]) -> list[Any]:
    return sorted(callbacks, key=lambda callback: not getattr(callback, "ends_first", False))


def _each(callbacks: Sequence[Any], hook: str, training: Training) -> None:
    for callback in callbacks:
        getattr(callback, hook)(training)
