"""A training that was broken off at any step, and goes on from its checkpoint, ends with the same bits."""

import contextlib
import itertools
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import tinynet as tn
from monitor import Callback, Checkpoint, CSVLog, EarlyStopping, Recorder, RecorderError, ReduceOnPlateau, load_checkpoint
from optimizers import EMA, SGD, Adam, Constant, Cosine, Lookahead, Plateau, ScheduleFreeAdamW, Warmup

X, Y = tn.datasets.moons(40, noise=0.1, seed=0)
VALIDATION = tn.datasets.moons(30, noise=0.1, seed=1)
EPOCHS, STEPS = 20, 60  # three batches an epoch, the last one smaller

OPTIMIZERS = {
    "adam, scheduled": lambda p: Adam(p, lr=Warmup(5) >> Cosine(0.05, 60)),
    "momentum": lambda p: SGD(p, 0.2, momentum=0.9, nesterov=True),
    "ema": lambda p: EMA(Adam(p, 0.01), 0.9),
    "lookahead": lambda p: Lookahead(SGD(p, 0.2), k=4),
    "schedule-free": lambda p: ScheduleFreeAdamW(p, lr=Warmup(5) >> Constant(0.02)),
}


class PowerCutError(Exception):
    pass


class CutAt(Callback):
    def __init__(self, step):
        self.step = step

    def on_batch_end(self, training):
        if training.step == self.step:
            raise PowerCutError


def train(folder, make, cut=None, resume=None, epochs=EPOCHS, save=None, order=1):
    model = tn.MLP([2, 8, 8, 2], dropout=0.2, seed=0)
    optimizer = make(list(model.named_parameters()))
    recorder = Recorder(folder, name="run")
    callbacks = [
        save or Checkpoint(every=1, keep=2), EarlyStopping(patience=9), ReduceOnPlateau(patience=2, factor=0.3), CSVLog(), CutAt(cut),
    ]  # fmt: skip
    with contextlib.suppress(PowerCutError):
        tn.fit(
            model, (X, Y), loss="cross_entropy", optimizer=optimizer, epochs=epochs, batch_size=16, validation=VALIDATION,
            callbacks=callbacks[::order], recorder=recorder, resume=resume,
        )  # fmt: skip
    return model, recorder


def bits(model):
    return [p.data.tobytes() for p in model.parameters()]


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_cut_at_any_step_and_resumed_gives_the_same_bits(kind, tmp_path):
    whole, recorded = train(tmp_path, OPTIMIZERS[kind])
    final = recorded.step
    assert final > 20
    every = 1 if kind == "adam, scheduled" else 11
    for cut in range(1, final, every):
        rarely = (
            Checkpoint(every=100, best=None) if cut % 7 else None
        )  # but always at the cut; each is forced onto the disk
        _, broken = train(tmp_path / str(cut), OPTIMIZERS[kind], cut=cut, save=rarely)
        checkpoint = load_checkpoint(broken.path, "last")
        assert checkpoint["step"] == cut
        resumed, again = train(tmp_path / str(cut), OPTIMIZERS[kind], resume=checkpoint, save=rarely)
        assert bits(resumed) == bits(whole), f"cut at {cut}"
        steps, losses = again.run.series("train/running_loss")
        assert again.step == final
        before = dict(zip(*(a.tolist() for a in recorded.run.series("train/running_loss")), strict=True))
        assert all(before[s] == v for s, v in zip(steps.tolist(), losses.tolist(), strict=True))


@pytest.mark.parametrize("cut", [4, 20, 33])
def test_early_stopping_may_be_given_before_the_checkpoint(cut, tmp_path):
    """It puts the best parameters back at the end, but those to go on from are the latest."""
    make = OPTIMIZERS["momentum"]
    whole, _ = train(tmp_path, make)
    _, broken = train(tmp_path, make, cut=cut, order=-1)
    resumed, _ = train(tmp_path, make, resume=load_checkpoint(broken.path, "last"), order=-1)
    assert bits(resumed) == bits(whole)


def test_it_goes_on_from_an_older_checkpoint_too(tmp_path):
    make = OPTIMIZERS["adam, scheduled"]
    whole, recorded = train(tmp_path, make, epochs=9)
    _, recorder = train(tmp_path, make, epochs=6)
    older = sorted(p.stem for p in (recorder.path / "checkpoints").glob("*.safetensors"))
    assert len(older) in (2, 3)  # two regular ones, and the best
    for name in older:
        resumed, again = train(tmp_path, make, resume=load_checkpoint(recorder.path, name), epochs=9)
        assert bits(resumed) == bits(whole)
        assert (again.path / "log.csv").read_text() == (recorded.path / "log.csv").read_text()  # no epoch is missing


def test_a_checkpoint_has_what_all_callbacks_know_after_its_epoch(tmp_path):
    _, recorder = train(tmp_path, OPTIMIZERS["momentum"], epochs=2)
    known = dict(load_checkpoint(recorder.path, "last")["callbacks"])
    assert [row["epoch"] for row in known["CSVLog"]["rows"]] == [1, 2]
    assert known["EarlyStopping"]["best"] == known["Checkpoint"]["best"] == known["ReduceOnPlateau"]["best"]


def test_a_checkpoint_is_found_by_its_date(tmp_path):
    _, recorder = train(tmp_path, OPTIMIZERS["momentum"], epochs=3)
    folder = recorder.path / "checkpoints"
    names = sorted(p.stem for p in folder.glob("*.safetensors"))
    from monitor import store

    for minute, name in enumerate(names):
        about = store.read_json(folder / f"{name}.json")
        moment = time.mktime((2026, 1, 2, 3, minute, 0, 0, 0, -1))
        store.write_json(folder / f"{name}.json", {**about, "time": moment})
    for minute, name in enumerate(names):
        found = load_checkpoint(recorder.path, f"2026-01-02T03:{minute:02}:30")
        assert found["step"] == int(name.removeprefix("step-"))
    store.write_json(folder / "step-00000099.json", {**about, "time": moment + 1})  # of one that was never completed
    assert load_checkpoint(recorder.path, f"2026-01-02T03:{minute:02}:30")["step"] == found["step"]
    with pytest.raises(RecorderError, match=r"there is no checkpoint '2020-01-01'.*there are: step-"):
        load_checkpoint(recorder.path, "2020-01-01")


def test_the_latest_that_can_be_read(tmp_path):
    """Regular or best, by the time at which they were taken; a number or a pointer that is damaged is an error."""
    from monitor import store

    _, recorder = train(tmp_path, OPTIMIZERS["momentum"], epochs=3)
    folder = recorder.path / "checkpoints"
    paths = sorted(folder.glob("*.safetensors"))
    for i, path in enumerate(paths):
        about = store.read_json(path.with_suffix(".json"))
        store.write_json(path.with_suffix(".json"), {**about, "time": 100.0 - i})
    steps = [int(path.stem.removeprefix("step-")) for path in paths]
    found = load_checkpoint(recorder.path, "latest")
    assert (found["step"], found["passed_over"]) == (steps[0], [])
    paths[0].with_suffix(".json").write_text('{"step": 1.5, "epoch": 1, "time": 1000}')
    found = load_checkpoint(recorder.path, "latest")
    why = f"the checkpoint {str(paths[0])!r} is damaged: step and epoch should be whole numbers, got 1.5"
    assert (found["step"], found["passed_over"]) == (steps[1], [why])
    with pytest.raises(RecorderError, match=f"^{re.escape(why)}$"):
        load_checkpoint(recorder.path, steps[0])
    for path in paths:
        path.write_bytes(b"")
    with pytest.raises(
        RecorderError, match=r"^there is no checkpoint in '.*checkpoints' that can be read; the checkpoint "
    ):
        load_checkpoint(recorder.path, "latest")


# What does not fit --------------------------------------------------------------------------------------------------------

ADAM = OPTIMIZERS["adam, scheduled"]


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A recorder of a training that was broken off in its third epoch."""
    return train(tmp_path_factory.mktemp("broken"), ADAM, cut=7)[1]


def resumed(checkpoint, sizes=(2, 8, 8, 2), make=ADAM, data=(X, Y), **options):
    model = tn.MLP(sizes, dropout=0.2, seed=0)
    optimizer = make(list(model.named_parameters()))
    begun = bits(model)
    options = {"epochs": EPOCHS, "batch_size": 16, "resume": checkpoint, **options}
    try:
        tn.fit(model, data, loss="cross_entropy", optimizer=optimizer, **options)
    except Exception:
        assert bits(model) == begun
        assert optimizer.steps == 0
        raise
    return model


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (
            {"batch_size": 14},
            "taken with batch_size=16, and this training has batch_size=14, so that its batches are others",
        ),
        ({"batch_size": 60}, "taken with batch_size=16, and this training has batch_size=60"),
        ({"data": (X[:39], Y[:39])}, "taken with examples=40, and this training has examples=39"),
        ({"data": (X[:5], Y[:5])}, "taken with examples=40, and this training has examples=5"),
        (
            {"seed": 1},
            "seed=0, and this training has seed=1, so that its batches are others. Give the same again, or begin",
        ),
        ({"epochs": 1}, "the checkpoint is of epoch 2, and epochs=1 ends before it: epochs counts from the beginning"),
        ({"sizes": (2, 9, 8, 2)}, "layers.0.weight: the model has shape (2, 9), the state (2, 8)"),
        ({"sizes": (2, 8, 2)}, "the state does not fit MLP"),
        ({"make": OPTIMIZERS["momentum"]}, "the state is of Adam, this optimizer is SGD"),
        ({"make": OPTIMIZERS["schedule-free"]}, "the state is of Adam, this optimizer is ScheduleFreeAdamW"),
        ({"make": lambda p: Adam(p, amsgrad=True)}, "the state has no max_exp_avg_sq of 'layers.0.bias'"),
    ],
)
def test_a_training_that_does_not_fit_its_checkpoint_is_refused_before_anything_has_changed(broken, other, sentence):
    checkpoint = load_checkpoint(broken.path, "last")
    recorder, folder = Recorder.resume(broken.path, checkpoint["step"]), broken.path / "checkpoints"
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    with recorder, pytest.raises(ValueError, match=re.escape(sentence)):
        resumed(checkpoint, **other, recorder=recorder, callbacks=[Checkpoint(1, best=None)])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files


def test_a_training_that_fails_before_its_first_step_leaves_the_checkpoints_alone(broken):
    folder = broken.path / "checkpoints"
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    with Recorder.resume(broken.path) as recorder, pytest.raises(ValueError, match="labels must be in 0 to 1"):
        resumed(None, data=(X, Y + 1), recorder=recorder, callbacks=[Checkpoint(1, best=None)])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files


@pytest.mark.parametrize("given", ["the folder", True, "a part"])
def test_resume_is_a_checkpoint(broken, given):
    wrong = {"the folder": broken.path, "a part": load_checkpoint(broken.path, "last")["model"]}.get(given, given)
    with pytest.raises(
        TypeError, match=r"resume must be a checkpoint with model, .*: write monitor.load_checkpoint\(run_f"
    ):
        resumed(wrong)


def test_a_checkpoint_that_does_not_say_the_order_must_fit_by_its_steps(broken):
    checkpoint = load_checkpoint(broken.path, "last")
    del checkpoint["order"]  # of a loop of one's own, say
    for size in (60, 20, 5):  # 1, 2 and 8 batches an epoch, instead of 3
        with pytest.raises(ValueError, match=r"is at step 7 after 2 epochs, which does not fit \d batch"):
            resumed(checkpoint, batch_size=size)
    assert bits(resumed(checkpoint)) == bits(resumed(load_checkpoint(broken.path, "last")))


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_where_nothing_is_left_to_train_all_is_as_it_was_at_the_end(kind, tmp_path):
    options = {"make": OPTIMIZERS[kind], "callbacks": [Checkpoint(best=None)], "epochs": 2}
    with Recorder(tmp_path) as recorder:
        model = resumed(None, **options, recorder=recorder)
    checkpoint = load_checkpoint(recorder.path, "last")
    again = resumed(checkpoint, **options, recorder=Recorder.resume(recorder.path, checkpoint["step"]))
    assert bits(again) == bits(model)
    assert load_checkpoint(recorder.path, "last")["step"] == checkpoint["step"]


def test_what_is_no_longer_measured_is_not_taken_from_the_checkpoint(broken):
    model = tn.MLP([2, 8, 8, 2], dropout=0.2, seed=0)
    options = {"optimizer": ADAM(list(model.named_parameters())), "epochs": EPOCHS, "batch_size": 16}
    options |= {"resume": load_checkpoint(broken.path, "last"), "callbacks": [EarlyStopping(patience=9)]}
    with pytest.raises(KeyError, match="nothing called 'val/loss' is measured; .*: pass validation="):
        tn.fit(model, (X, Y), loss="cross_entropy", **options)


def test_the_rate_is_that_of_the_checkpoint_and_a_schedule_that_of_the_optimizer(tmp_path):
    rates = {}
    for before, after in itertools.product((0.01, Cosine(0.05, 60)), (0.5, Cosine(0.5, 30))):
        _, recorder = train(tmp_path, lambda p, lr=before: Adam(p, lr), epochs=2)
        run = train(tmp_path, lambda p, lr=after: Adam(p, lr), resume=load_checkpoint(recorder.path, "last"), epochs=3)[
            1
        ].run
        rates[callable(before), callable(after)] = run.last("lr")
    assert rates == {(0, 0): 0.01, (0, 1): Cosine(0.5, 30)(9), (1, 0): 0.5, (1, 1): Cosine(0.5, 30)(9)}


def test_a_model_left_to_be_evaluated_can_go_on(tmp_path):
    whole, _ = train(tmp_path, OPTIMIZERS["ema"], epochs=4)
    _, recorder = train(tmp_path, OPTIMIZERS["ema"], epochs=2)
    checkpoint = load_checkpoint(recorder.path, "last")
    model = tn.MLP([2, 8, 8, 2], dropout=0.2, seed=0)
    options = {"loss": "cross_entropy", "optimizer": OPTIMIZERS["ema"](list(model.named_parameters())), "batch_size": 16}
    tn.fit(model, (X, Y), **options, epochs=1)
    tn.fit(model, (X, Y), **options, epochs=4, resume=checkpoint)
    assert bits(model) == bits(whole)


PROGRAM = """
import sys
sys.path[:0] = sys.argv[2:3]
import test_broken_off as t
from pathlib import Path
t.train(Path(sys.argv[1]), t.OPTIMIZERS["adam, scheduled"])
"""


def test_killed_at_random_times_and_resumed_gives_the_same_bits(tmp_path):
    make = OPTIMIZERS["adam, scheduled"]
    whole, _ = train(tmp_path / "whole", make)
    here = os.path.dirname(__file__)
    resumed_any = False
    for attempt, seconds in enumerate((0.0, 0.05, 0.15)):
        folder = tmp_path / str(attempt)
        command = [sys.executable, "-c", PROGRAM, str(folder), here]
        with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}) as process:
            for _ in itertools.takewhile(lambda _: process.poll() is None, range(3000)):
                if list(folder.glob("*/checkpoints/last.json")):
                    break
                time.sleep(0.01)
            time.sleep(seconds)
            process.send_signal(signal.SIGKILL)
        run = next(folder.iterdir())
        checkpoint = load_checkpoint(run, "last")
        resumed, _ = train(folder, make, resume=checkpoint)
        assert bits(resumed) == bits(whole)
        resumed_any = resumed_any or checkpoint["step"] < STEPS
    assert resumed_any


def test_plateau_of_the_optimizers_and_the_callback_agree():
    """The same rule in both rooms: the callback knows no optimizer, and the class no training."""
    losses = [1.0, 0.9, 0.9, 0.9, 0.9, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.4]
    rates = []
    for which in ("class", "callback"):
        model = tn.MLP([2, 2], seed=0)
        optimizer = SGD(model.parameters(), 1.0)
        plateau = Plateau(optimizer, factor=0.5, patience=2, threshold=1e-4, threshold_mode="abs")
        callback = ReduceOnPlateau(factor=0.5, patience=3, min_delta=1e-4)
        training = type("Training", (), {"optimizer": optimizer, "recorder": Recorder(None), "epoch": 0, "logs": {}})()
        callback.on_train_begin(training)
        seen = []
        for epoch, loss in enumerate(losses, 1):
            if which == "class":
                plateau.step(loss)
            else:
                training.epoch, training.logs = epoch, {"val/loss": loss}
                callback.on_epoch_end(training)
            seen.append(optimizer.lr)
        rates.append(seen)
    assert rates[0] == rates[1]
    assert np.unique(rates[0]).size == 3


def test_the_csv_has_every_number_of_every_epoch(tmp_path):
    _, recorder = train(tmp_path, OPTIMIZERS["momentum"], epochs=3)
    lines = (recorder.path / "log.csv").read_text().splitlines()
    header = lines[0].split(",")
    assert header[:2] == ["epoch", "step"]
    assert {"train/loss", "val/loss", "train/running_loss", "lr"} <= set(header)
    assert [line.split(",")[:2] for line in lines[1:]] == [["1", "3"], ["2", "6"], ["3", "9"]]
    steps, values = recorder.run.series("val/loss")
    column = header.index("val/loss")
    assert [float(line.split(",")[column]) for line in lines[1:]] == values[steps > 0].tolist()
