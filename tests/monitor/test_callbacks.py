"""Callbacks on a small stand-in for a training in progress: early stopping, checkpoints, and faults while saving one.

The stand-in has the attributes that monitor/callbacks.py documents, and no more.
"""

import json
import math
import os
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest

from monitor import Callback, Checkpoint, EarlyStopping, Recorder, RecorderError, Run, load_checkpoint, store
from monitor.callbacks import Best, ReduceOnPlateau
from monitor.checkpoints import restore


class Model:
    """Parameters of several shapes and types; state_dict() hands out the live arrays, as some libraries do."""

    def __init__(self):
        self.state = {
            "w": np.zeros((2, 3), np.float32),
            "scale": np.array(0.0),  # no axis at all
            "turned": np.zeros((3, 2)).T,  # not contiguous
            "count": np.array([0]),
        }

    def state_dict(self):
        return self.state

    def load_state_dict(self, state):
        assert state.keys() == self.state.keys()
        for name, value in state.items():
            self.state[name][...] = value

    def become(self, value):
        for array in self.state.values():
            array[...] = value


class Optimizer:
    """One slot of state, two plain numbers."""

    def __init__(self):
        self.saved = {"optimizer": "Stand-in", "steps": 0, "hyper": [{"lr": 0.1}], "state": {"m": {"w": np.zeros((2, 3))}}}

    def state_dict(self):
        return self.saved

    def load_state_dict(self, state):
        self.saved = state


def new_training(recorder, epochs=10, batches=4):
    training = SimpleNamespace(model=Model(), optimizer=Optimizer(), recorder=recorder, epoch=0, step=0)
    training.epochs, training.batches, training.logs = epochs, batches, MappingProxyType({})
    training.stopped = []
    training.stop = training.stopped.append
    return training


def train(training, callbacks, numbers, name="val/loss", error_at=None):
    """One epoch per number, which is what `name` then is; the model's parameters are the number of the epoch."""

    def each(hook):
        for callback in callbacks:
            getattr(callback, hook)(training)

    training.epoch = training.step = 0
    training.stopped.clear()
    try:
        each("on_train_begin")
        for epoch, number in enumerate(numbers, start=1):
            each("on_epoch_begin")
            for _ in range(training.batches):
                training.step += 1
                training.model.become(epoch)
                training.optimizer.saved["steps"] = training.step
                training.optimizer.saved["state"]["m"]["w"][...] = -epoch
                each("on_batch_end")
                if epoch == error_at:
                    raise KeyboardInterrupt
            training.epoch = epoch
            training.logs = MappingProxyType({name: number})
            each("on_epoch_end")
            if training.stopped:
                break
    finally:
        each("on_train_end")
    return training


@pytest.fixture
def in_memory():
    return new_training(Recorder(None))


@pytest.fixture
def on_disk(tmp_path):
    with Recorder(tmp_path, name="run") as recorder:
        yield new_training(recorder)


def parameters(training):
    """The one number that all parameters have."""
    values = {float(value) for array in training.model.state.values() for value in array.ravel()}
    assert len(values) == 1
    return values.pop()


# Early stopping ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_patience_counts_epochs_since_the_best(in_memory, patience):
    train(in_memory, [EarlyStopping(patience=patience)], [3, 2, 2.5, 1, 1.5, 1.5, 1.5, 1.5])
    assert in_memory.epoch == (2 + 1 if patience == 1 else 4 + patience)
    best, epoch = (2, 2) if patience == 1 else (1, 4)
    assert in_memory.stopped == [f"val/loss has not improved on {best} (epoch {epoch}) for {patience} epochs"]
    assert parameters(in_memory) == epoch


def test_an_equal_value_is_no_improvement(in_memory):
    train(in_memory, [EarlyStopping(patience=2)], [1, 1, 1, 1])
    assert in_memory.epoch == 3
    assert parameters(in_memory) == 1


def test_min_delta_is_the_least_that_counts(in_memory):
    numbers = [1.0, 0.875, 0.75, 0.625, 0.75, 0.75]  # exact in binary
    train(in_memory, [EarlyStopping(patience=2, min_delta=0.125)], numbers)
    assert in_memory.epoch == 5  # 0.875 is better than 1 by 0.125 and not by more; 0.75 is; 0.625 again is not
    assert parameters(in_memory) == 3


@pytest.mark.parametrize(
    ("name", "mode", "best"),
    [("val/loss", "auto", 2), ("val/accuracy", "auto", 3), ("val/loss", "max", 3), ("kindness", "min", 2)],
)
def test_the_better_way_follows_from_the_name_or_the_mode(in_memory, name, mode, best):
    train(in_memory, [EarlyStopping(name, patience=5, mode=mode)], [0.5, 0.25, 0.75, 0.5], name=name)
    assert parameters(in_memory) == best


def test_nan_never_improves(in_memory):
    train(in_memory, [EarlyStopping(patience=3)], [math.nan, 2, math.nan, 1, math.nan, math.nan, math.nan, 0])
    assert in_memory.epoch == 7
    assert parameters(in_memory) == 4


def test_nan_from_the_first_epoch_on_stops_and_restores_nothing(in_memory):
    train(in_memory, [EarlyStopping(patience=3)], [math.nan] * 9)
    assert in_memory.stopped == ["val/loss has not had a usable value for 3 epochs"]
    assert parameters(in_memory) == 3


@pytest.mark.parametrize("how", ["early", "complete", "interrupted"])
def test_the_best_parameters_are_back_on_every_exit(in_memory, how):
    stopping = EarlyStopping(patience=2 if how == "early" else 9)
    if how == "interrupted":
        with pytest.raises(KeyboardInterrupt):
            train(in_memory, [stopping], [2, 1, 3, 4], error_at=4)
    else:
        train(in_memory, [stopping], [2, 1, 3, 4])
    assert parameters(in_memory) == 2


def test_restoring_can_be_declined(in_memory):
    train(in_memory, [EarlyStopping(patience=2, restore_best=False)], [2, 1, 3, 4, 5])
    assert parameters(in_memory) == 4


def test_it_can_be_used_for_a_second_training(in_memory):
    stopping = EarlyStopping(patience=2)
    for numbers, best in [([0.2, 0.1, 0.3, 0.4], 2), ([5, 4, 3, 4, 4], 3)]:
        train(in_memory, [stopping], numbers)
        assert in_memory.stopped
        assert parameters(in_memory) == best


def test_an_interruption_before_the_first_epoch_restores_nothing(in_memory):
    stopping = EarlyStopping()
    train(in_memory, [stopping], [1, 2])
    with pytest.raises(KeyboardInterrupt):
        train(in_memory, [stopping], [1], error_at=1)
    assert parameters(in_memory) == 1  # of the second training, where it was left


def test_an_unknown_metric_is_an_error_that_says_what_there_is(in_memory):
    with pytest.raises(KeyError, match="nothing called 'val/loss' is measured; there is train/loss"):
        train(in_memory, [EarlyStopping()], [1], name="train/loss")
    with pytest.raises(ValueError, match="is more or less of 'kindness' better"):
        EarlyStopping("kindness")


def test_arguments_are_checked():
    for arguments, text in [
        ({"patience": 0}, "^patience must be at least 1, got 0$"),
        ({"mode": "up"}, "mode must be 'auto', 'min' or 'max', got 'up'"),
        ({"min_delta": -1}, "min_delta must not be negative, got -1"),
        ({"min_delta": math.nan}, "min_delta must not be negative, got nan"),
    ]:
        with pytest.raises(ValueError, match=text):
            EarlyStopping(**arguments)
    with pytest.raises(ValueError, match=r"^every must be at least 1, got 0$"):
        Checkpoint(every=0)
    for make, text in [
        (lambda: EarlyStopping(patience=1.5), r"^patience must be a whole number of epochs, got 1\.5$"),
        (lambda: ReduceOnPlateau(cooldown=True), r"^ReduceOnPlateau: cooldown must be a whole number of epochs, got True$"),
        (lambda: Checkpoint(every=2.5), r"^every must be a whole number of epochs, got 2\.5$"),
        (lambda: Checkpoint(keep="2"), r"^keep must be a whole number of checkpoints, got '2'$"),
    ]:
        with pytest.raises(TypeError, match=text):
            make()


def test_best_keeps_value_and_epoch():
    best = Best("val/accuracy")
    assert [best.improved({"val/accuracy": value}, epoch) for epoch, value in enumerate([0.5, 0.4, 0.6], 1)] == [
        True,
        False,
        True,
    ]
    assert (best.value, best.epoch) == (0.6, 3)


def test_what_was_the_best_of_another_metric_is_forgotten():
    """As where a training goes on and is to stop by another one: an accuracy of 0.9 says nothing of losses."""
    before = EarlyStopping("val/accuracy")
    before.best.improved({"val/accuracy": 0.9}, 3)
    state = {**before.state_dict(), "weights": {"w": np.ones(1)}}
    for name, value, epoch in (("val/accuracy", 0.9, 3), ("val/loss", math.inf, 0)):
        after = EarlyStopping(name)
        after.load_state_dict(state)
        assert (after.best.value, after.best.epoch) == (value, epoch)
        assert ("weights" in after.state_dict()) is (epoch == 3)


# A lower learning rate ------------------------------------------------------------------------------------------------


class Doubled:
    """A schedule that knows how to be multiplied, as those of optimizers do."""

    def __init__(self, value=1.0):
        self.value = value

    def __call__(self, k):
        return self.value * 2**k

    def __mul__(self, factor):
        return Doubled(self.value * factor)


def reduced(in_memory, *rates, **settings):
    """The callback, and the rates after three epochs that do not improve on the first, with patience=2: one cut."""
    groups = [{"lr": lr} for lr in rates]
    in_memory.optimizer = SimpleNamespace(param_groups=groups, lr=0.0)
    callback = ReduceOnPlateau(patience=2, factor=0.5, **settings)
    callback.on_train_begin(in_memory)
    for epoch in (1, 2, 3):
        before = [group["lr"] for group in groups]
        in_memory.epoch, in_memory.logs = epoch, {"val/loss": 1.0}
        callback.on_epoch_begin(in_memory)
        callback.on_epoch_end(in_memory)
    assert before == list(rates)  # it is the second epoch without an improvement that cuts
    return callback, [group["lr"] for group in groups]


def test_a_cut_never_raises_a_rate(in_memory):
    assert reduced(in_memory, 0.1, 3e-3, 1e-4, min_lr=2e-3)[1] == [0.05, 2e-3, 1e-4]
    assert reduced(in_memory, 0.1)[1] == [0.05]


@pytest.mark.parametrize(("cooldown", "cut_at"), [(0, [3, 5, 7, 9]), (1, [3, 6, 9]), (3, [3, 8])])
def test_after_a_cut_the_cooldown_is_waited_for(in_memory, cooldown, cut_at):
    in_memory.optimizer = SimpleNamespace(param_groups=[{"lr": 1.0}], lr=0.0)
    callback, found = ReduceOnPlateau(patience=2, factor=0.5, cooldown=cooldown), []
    callback.on_train_begin(in_memory)
    for epoch in range(1, 10):
        before = in_memory.optimizer.param_groups[0]["lr"]
        in_memory.epoch, in_memory.logs = epoch, {"val/loss": 1.0}
        callback.on_epoch_end(in_memory)
        found += [epoch] * (in_memory.optimizer.param_groups[0]["lr"] < before)
    assert found == cut_at


def test_any_function_of_the_step_can_be_cut_and_is_cut_again_when_resumed(in_memory):
    schedules = (lambda k: 0.1 / (k + 1), Doubled())
    callback, cut = reduced(in_memory, *schedules, min_lr=10.0)
    assert [lr(1) for lr in cut] == [0.025, 1.0]
    assert isinstance(cut[1], Doubled)
    again = ReduceOnPlateau(patience=2, factor=0.5)
    again.on_train_begin(in_memory)
    again.load_state_dict(callback.state_dict())
    in_memory.optimizer.param_groups = [{"lr": lr} for lr in (*schedules, 0.05)]
    for _ in range(2):  # once only
        again.on_epoch_begin(in_memory)
    first, second, number = (group["lr"] for group in in_memory.optimizer.param_groups)
    assert (first(1), second(1), number) == (0.025, 1.0, 0.05)


# Hooks ------------------------------------------------------------------------------------------------------------------


def test_a_callback_without_hooks_does_nothing_and_hooks_come_in_order(in_memory):
    seen = []

    class Witness(Callback):
        def __init__(self, name):
            self.name = name

    for hook in ("on_train_begin", "on_epoch_begin", "on_batch_end", "on_epoch_end", "on_train_end"):
        setattr(Witness, hook, lambda self, training, hook=hook: seen.append(f"{self.name} {hook}"))
    in_memory.batches = 1
    train(in_memory, [Callback(), Witness("a"), Witness("b")], [1])
    hooks = ["on_train_begin", "on_epoch_begin", "on_batch_end", "on_epoch_end", "on_train_end"]
    assert seen == [f"{name} {hook}" for hook in hooks for name in "ab"]


# Checkpoints ------------------------------------------------------------------------------------------------------------


def files(training):
    return sorted(os.listdir(training.recorder.path / "checkpoints"))


def pair(step):
    return [f"step-{step:08d}.json", f"step-{step:08d}.safetensors"]


def check(saved, epoch, step):
    """The checkpoint is whole: everything in it is of one epoch, as it was."""
    assert (saved["epoch"], saved["step"], saved["optimizer"]["steps"]) == (epoch, step, step)
    reference = Model()
    reference.become(epoch)
    assert saved["model"].keys() == reference.state.keys()
    for name, array in reference.state.items():
        assert saved["model"][name].dtype == array.dtype
        assert saved["model"][name].shape == array.shape
        np.testing.assert_array_equal(saved["model"][name], array)
    np.testing.assert_array_equal(saved["optimizer"]["state"]["m"]["w"], np.full((2, 3), -epoch))
    assert saved["optimizer"]["hyper"] == [{"lr": 0.1}]


def test_the_last_and_the_best_are_kept_and_no_other(on_disk):
    path = on_disk.recorder.path
    train(on_disk, [Checkpoint(every=2)], [5, 3, 1, 2, 4])
    assert files(on_disk) == sorted(["best.json", "last.json", *pair(12), *pair(20)])
    check(load_checkpoint(path), epoch=3, step=12)
    check(load_checkpoint(path, "best"), epoch=3, step=12)
    check(load_checkpoint(path, "last"), epoch=5, step=20)
    for which in (12, "12", "step-00000012"):
        check(load_checkpoint(str(path), which), epoch=3, step=12)
    assert load_checkpoint(path)["logs"] == {"val/loss": 1}
    assert on_disk.optimizer.saved["state"]["m"]["w"].shape == (2, 3)  # saving took nothing out of the live state


def test_every_save_is_an_event(on_disk):
    train(on_disk, [Checkpoint(every=2)], [5, 6, 7])
    events = [event for event in Run.open(on_disk.recorder.path).events if event["k"] == "checkpoint"]
    assert [(event["e"], event["s"], event["d"]["role"]) for event in events] == [
        (1, 4, "best"),
        (2, 8, "last"),
        (3, 12, "last"),
    ]
    assert events[-1]["d"]["file"] == "step-00000012"


def test_a_best_that_is_also_the_last_is_written_once(on_disk, monkeypatch):
    written = []
    write_whole = store.write_whole
    monkeypatch.setattr(
        store, "write_whole", lambda path, content: written.append(path.suffix) or write_whole(path, content)
    )
    train(on_disk, [Checkpoint(every=1)], [2, 1])
    assert written.count(".safetensors") == 2
    assert files(on_disk) == sorted(["best.json", "last.json", *pair(8)])


def test_without_a_best_only_the_last_is_kept(on_disk):
    train(on_disk, [Checkpoint(every=1, best=None)], [1, 2, 3], name="anything")
    assert files(on_disk) == sorted(["last.json", *pair(12)])


def test_an_interrupted_epoch_is_saved_as_the_last(on_disk):
    with pytest.raises(KeyboardInterrupt):
        train(on_disk, [Checkpoint(every=100)], [2, 1, 3], error_at=3)
    saved = load_checkpoint(on_disk.recorder.path, "last")
    assert (saved["epoch"], saved["step"]) == (2, 9)
    assert saved["model"]["count"] == 3


def test_before_early_stopping_the_last_is_what_training_ended_with(on_disk):
    train(on_disk, [Checkpoint(every=100), EarlyStopping(patience=2)], [2, 1, 3, 4])
    check(load_checkpoint(on_disk.recorder.path, "last"), epoch=4, step=16)
    assert parameters(on_disk) == 2


def test_it_can_be_used_for_a_second_run(tmp_path):
    callback = Checkpoint(every=3)
    for name, numbers in [("first", [0.2, 0.1, 0.3]), ("second", [5, 6, 7])]:
        with Recorder(tmp_path, name=name) as recorder:
            train(new_training(recorder), [callback], numbers)
        best = 2 if name == "first" else 1
        check(load_checkpoint(recorder.path, "best"), epoch=best, step=4 * best)
        check(load_checkpoint(recorder.path, "last"), epoch=3, step=12)


def test_numbers_that_are_not_finite_come_back_as_numbers(on_disk):
    train(on_disk, [Checkpoint(every=1)], [1, math.nan])
    assert math.isnan(load_checkpoint(on_disk.recorder.path, "last")["logs"]["val/loss"])


def test_an_optimizer_without_slots_is_saved_too(on_disk):
    on_disk.optimizer = SimpleNamespace(state_dict=lambda: {"lr": 0.5}, saved={"state": {"m": {"w": np.zeros(1)}}})
    train(on_disk, [Checkpoint()], [1])
    assert load_checkpoint(on_disk.recorder.path)["optimizer"] == {"lr": 0.5, "state": {}}


def test_it_needs_a_run_on_disk_and_says_so_before_training(in_memory):
    with pytest.raises(
        ValueError, match=r"Checkpoint needs a run on disk: give fit a recorder, Recorder\('runs', name=...\)"
    ):
        train(in_memory, [Checkpoint()], [1])
    assert in_memory.step == 0


@pytest.mark.parametrize("which", ["best", "last", 7, "7", "step-00000007", "../../secret", "", "²"])
def test_a_checkpoint_that_is_not_there_is_an_error_that_says_what_is(on_disk, which):
    path = on_disk.recorder.path
    with pytest.raises(RecorderError, match=r"there is no checkpoint .* there are: none"):
        load_checkpoint(path, which)
    train(on_disk, [Checkpoint(best=None)], [1, 2], name="anything")
    if which != "last":
        with pytest.raises(RecorderError) as raised:
            load_checkpoint(path, which)
        folder = str(path / "checkpoints")
        assert str(raised.value) == f"there is no checkpoint {which!r} in {folder!r}; there are: step-00000008"


def test_a_pointer_cannot_lead_out_of_the_folder(on_disk):
    train(on_disk, [Checkpoint()], [1])
    folder = on_disk.recorder.path / "checkpoints"
    for name in pair(4):
        (folder / name).rename(on_disk.recorder.path / name)
    store.write_json(folder / "best.json", {"checkpoint": "../step-00000004"})
    with pytest.raises(RecorderError, match="there is no checkpoint 'best'"):
        load_checkpoint(on_disk.recorder.path)


def test_a_damaged_checkpoint_is_an_error_that_names_the_file(on_disk):
    train(on_disk, [Checkpoint()], [1])
    file = on_disk.recorder.path / "checkpoints" / "step-00000004.safetensors"
    content = file.read_bytes()
    for damaged in (b"", content[:50], content[:-1], b"\xff" * len(content)):
        file.write_bytes(damaged)
        with pytest.raises(RecorderError) as raised:
            load_checkpoint(on_disk.recorder.path)
        assert str(raised.value).startswith(f"the checkpoint {str(file)!r} is damaged: ")


def test_a_checkpoint_whose_optimizer_does_not_fit_leaves_a_model_that_hands_out_its_parameters(on_disk):
    train(on_disk, [Checkpoint()], [1])
    saved = load_checkpoint(on_disk.recorder.path)
    weights = {"w": np.zeros((2, 3), np.float32)}

    class Live:
        def state_dict(self):
            return weights

        def load_state_dict(self, state):
            weights["w"][...] = state["w"]

    def refuse(state):
        raise ValueError("another optimizer")

    with pytest.raises(ValueError, match="^another optimizer$"):
        restore({**saved, "model": {"w": np.ones((2, 3))}}, Live(), SimpleNamespace(load_state_dict=refuse))
    assert not weights["w"].any()


class Killed(BaseException):
    """What stands for the end of the process; nothing catches it to go on."""


CALLS = ("open", "write", "fsync", "replace", "unlink")


def test_a_kill_at_any_moment_leaves_a_checkpoint_that_can_be_read(tmp_path, monkeypatch):
    """Saving the second epoch is broken off at each of its calls to the system, first to last."""
    original = {name: getattr(os, name) for name in CALLS}
    moments = 0
    for moment in range(1, 1000):
        with Recorder(tmp_path, name="run") as recorder:
            training, callback = new_training(recorder), Checkpoint(every=1)
            train(training, [callback], [1])
            left = [moment]

            def call(*args, name, left=left, **kwargs):
                left[0] -= 1
                if left[0] <= 0:  # the dead make no further calls: not to tidy up either
                    raise Killed
                return original[name](*args, **kwargs)

            training.model.become(2)
            training.optimizer.saved["steps"] = 8
            training.optimizer.saved["state"]["m"]["w"][...] = -2
            training.epoch, training.step, training.logs = 2, 8, {"val/loss": 0.5}
            with monkeypatch.context() as patch:
                for name in CALLS:
                    patch.setattr(os, name, lambda *args, name=name, **kwargs: call(*args, name=name, **kwargs))
                try:
                    callback.on_epoch_end(training)
                    callback.on_epoch_begin(training)
                    done = True
                except Killed:
                    done = False
            for which in ("best", "last"):
                saved = load_checkpoint(recorder.path, which)
                assert saved["epoch"] in ((2,) if done else (1, 2))
                check(saved, epoch=saved["epoch"], step=4 * saved["epoch"])
            events = Run.open(recorder.path).events
            for role in (event["d"] for event in events if event["k"] == "checkpoint"):
                assert json.loads((recorder.path / "checkpoints" / f"{role['role']}.json").read_text())
        moments += not done
        if done:
            break
    assert moments >= 20  # two files and two pointers of six calls each, the events, and what is deleted
    assert sorted(os.listdir(recorder.path / "checkpoints")) == sorted(["best.json", "last.json", *pair(8)])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX limits")
def test_a_disk_that_fills_up_keeps_the_previous_checkpoint(on_disk):
    import resource
    import signal

    train(on_disk, [Checkpoint(every=1)], [1])
    callback = Checkpoint(every=1)
    callback.on_train_begin(on_disk)
    on_disk.step, on_disk.epoch = 8, 2
    on_disk.model.state["w"] = np.zeros((2, 5000), np.float32)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        callback.on_epoch_end(on_disk)
        with pytest.raises(RecorderError, match=r"cannot write .*step-00000008\.safetensors': File too large"):
            callback.on_epoch_begin(on_disk)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    check(load_checkpoint(on_disk.recorder.path, "best"), epoch=1, step=4)
    assert not [name for name in files(on_disk) if name.endswith(".tmp")]


def test_a_validation_metric_without_validation_data_says_what_to_pass():
    stopping, training = EarlyStopping("val/loss"), new_training(Recorder(None))
    training.logs = MappingProxyType({"train/loss": 1.0, "lr": 0.1})
    training.epoch = 1
    with pytest.raises(KeyError, match=r"'val/loss' is measured; there is train/loss, lr: pass validation=\(x, y\)"):
        stopping.on_epoch_end(training)
    with pytest.raises(KeyError) as caught:
        Best("train/accuracy").improved(training.logs, 1)
    assert "validation" not in str(caught.value)
    with pytest.raises(KeyError) as caught:
        Best("val/accuracy").improved({"val/loss": 1.0}, 1)
    assert "validation" not in str(caught.value)  # the data are there, the metric is not
