"""A training that was broken off at any step, and goes on from its checkpoint, ends with the same bits."""

import contextlib
import itertools
import os
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


def train(folder, make, cut=None, resume=None, epochs=EPOCHS, save=None):
    model = tn.MLP([2, 8, 8, 2], dropout=0.2, seed=0)
    optimizer = make(list(model.named_parameters()))
    recorder = Recorder(folder, name="run")
    callbacks = [
        save or Checkpoint(every=1, keep=2), EarlyStopping(patience=9), ReduceOnPlateau(patience=2, factor=0.3), CSVLog(), CutAt(cut),
    ]  # fmt: skip
    with contextlib.suppress(PowerCutError):
        tn.fit(
            model, (X, Y), loss="cross_entropy", optimizer=optimizer, epochs=epochs, batch_size=16, validation=VALIDATION,
            callbacks=callbacks, recorder=recorder, resume=resume,
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
        assert all(before[s] == pytest.approx(v, rel=1e-6) for s, v in zip(steps.tolist(), losses.tolist(), strict=True))


def test_it_goes_on_from_an_older_checkpoint_too(tmp_path):
    make = OPTIMIZERS["adam, scheduled"]
    whole, _ = train(tmp_path, make, epochs=9)
    _, recorder = train(tmp_path, make, epochs=6)
    older = sorted(p.stem for p in (recorder.path / "checkpoints").glob("*.safetensors"))
    assert len(older) in (2, 3)  # two regular ones, and the best
    for name in older:
        resumed, _ = train(tmp_path, make, resume=load_checkpoint(recorder.path, name), epochs=9)
        assert bits(resumed) == bits(whole)


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
    with pytest.raises(RecorderError, match=r"there is no checkpoint '2020-01-01'.*there are: step-"):
        load_checkpoint(recorder.path, "2020-01-01")


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    _, recorder = train(tmp_path, OPTIMIZERS["momentum"], epochs=2)
    checkpoint = load_checkpoint(recorder.path, "last")
    model = tn.MLP([2, 9, 2], seed=0)
    with pytest.raises(ValueError, match="the state does not fit"):
        tn.fit(model, (X, Y), loss="cross_entropy", optimizer=SGD(model.parameters(), 0.1), epochs=3, resume=checkpoint)


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
