"""Training on a device: every optimizer with all its options, schedules, watchers, fit with all that goes with it."""

import functools
import math

import numpy as np
import pytest
from every import EVERY, suited

import tinynet as tn
from monitor import Callback, Checkpoint, CSVLog, EarlyStopping, Recorder
from optimizers import (
    EMA,
    LBFGS,
    SGD,
    Adam,
    AdamW,
    AdaptiveClip,
    Box,
    ClipNorm,
    ClipPerTensor,
    ClipValue,
    Cosine,
    ElasticNet,
    Exponential,
    MaxNorm,
    NonfiniteGradientError,
    NonNegative,
    Warmup,
    weights_only,
)
from tinynet.backend import device_of, to_device

X, Y = tn.datasets.moons(40, seed=0)
SHAPES = [(3, 4), (4,), (4, 2), (2,)]


def parameters(device, shapes=SHAPES, dtype=np.float32):
    drawn = np.random.default_rng(1)
    values = [drawn.standard_normal(shape).astype(dtype) for shape in shapes]
    return [(f"p{i}", tn.Parameter(to_device(value, device))) for i, value in enumerate(values)]


def moved(make, device, steps=7, shapes=SHAPES, missing=True, dtype=np.float32):
    """The parameters and the optimizer after a few steps; p1 has no gradient in the third."""
    named, drawn = parameters(device, shapes, dtype), np.random.default_rng(2)
    optimizer = make(named)
    for step in range(steps):
        optimizer.zero_grad()
        for i, (_, p) in enumerate(named):
            g = drawn.standard_normal(p.shape).astype(dtype)
            if not (missing and i == 1 and step == 2):
                p.accumulate(to_device(g, device))
        optimizer.step()
    return named, optimizer


def compared(make, cuda, same, **how):
    host, ours = moved(make, "cpu", **how)
    there, theirs = moved(make, cuda, **how)
    for (_, a), (_, b) in zip(host, there, strict=True):
        assert b.device == "cuda"
        same(a.data, b.data)
    return ours, theirs


# Optimizers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_every_optimizer(name, cuda, same):
    ours, theirs = compared(EVERY[name], cuda, same, shapes=suited(name, SHAPES))
    for optimizer in (ours, theirs):
        optimizer.train()
    a, b = ours.state_dict(), theirs.state_dict()
    assert a.keys() == b.keys()
    assert (a["steps"], a["updates"], a["hyper"]) == (b["steps"], b["updates"], b["hyper"])
    for key, of in a["state"].items():
        for parameter, array in of.items():
            assert type(b["state"][key][parameter]) is np.ndarray
            same(array, b["state"][key][parameter])


@pytest.mark.parametrize("name", EVERY)
def test_states_go_from_device_to_device_to_the_bit(name, cuda):
    shapes = suited(name, SHAPES)
    _, first = moved(EVERY[name], "cpu", shapes=shapes)
    saved = first.state_dict()
    for device in (cuda, "cpu"):
        other = EVERY[name](parameters(device, shapes))
        other.load_state_dict(saved)
        for slab in other._slabs:
            assert all(device_of(array) == device for array in slab.state.values())
        again = other.state_dict()
        assert again["hyper"] == saved["hyper"]
        for key, of in saved["state"].items():
            for parameter, array in of.items():
                assert np.array_equal(array, again["state"][key][parameter])
        saved = again


OPTIONS = {
    "norm": {"clip": ClipNorm(0.5)},
    "each norm": {"clip": ClipPerTensor(0.5)},
    "values": {"clip": ClipValue(0.1)},
    "adaptive": {"clip": AdaptiveClip(0.01)},
    "coupled": {"penalty": ElasticNet(0.01, 0.1, mode="coupled")},
    "decoupled": {"penalty": ElasticNet(0.01, 0.1, mode="decoupled")},
    "proximal": {"penalty": ElasticNet(0.1, 0.1, mode="proximal")},
    "filtered": {"penalty": ElasticNet(0.1, 0.0, only=weights_only)},
    "max norm": {"projection": MaxNorm(1.0)},
    "box": {"projection": Box(-0.5, 0.7)},
    "non-negative": {"projection": NonNegative()},
    "schedule": {"lr": Warmup(3) * Cosine(0.1, 7)},
    "scheduled decay": {"weight_decay": Exponential(0.1, 0.9)},
    "skip": {"on_nonfinite": "skip"},
    "ignore": {"on_nonfinite": "ignore"},
}


@pytest.mark.parametrize("kind", [SGD, AdamW], ids=["sgd", "adamw"])
@pytest.mark.parametrize("option", OPTIONS)
def test_clipping_penalties_projections_and_schedules(option, kind, cuda, same):
    compared(lambda p: kind(p, **{"lr": 0.1, "weight_decay": 0.0, **OPTIONS[option]}), cuda, same)


def test_float64(cuda, same):
    compared(lambda p: Adam(p, 0.1), cuda, same, dtype=np.float64)


def test_the_norm_that_a_clip_answers_stays_on_the_device(cuda, same):
    ours, theirs = compared(lambda p: SGD(p, 0.1, clip=ClipNorm(0.5)), cuda, same)
    assert device_of(theirs.grad_norm) == "cuda"
    assert float(theirs.grad_norm) == pytest.approx(float(ours.grad_norm), rel=1e-5)


def test_large_parameters_move_in_one_slice(standin):
    """NumPy walks them in slices that fit its cache; on a GPU every slice would be a launch for each operation."""
    counts = []
    for shape in ((10, 10), (500, 500)):
        _, optimizer = moved(lambda p: Adam(p, 0.1), "cuda", 1, [shape])
        with standin.counting() as count:
            optimizer.step()
        counts.append(count.launches)
    assert counts[0] == counts[1]


def test_lbfgs(cuda, same):
    found = []
    for device in ("cpu", cuda):
        model = tn.MLP([2, 4, 2], activation="tanh", seed=0).to(device)
        x, y = to_device(X, device), to_device(Y, device)
        optimizer = LBFGS(model.named_parameters(), max_iter=5)

        def closure(model=model, optimizer=optimizer, x=x, y=y):
            optimizer.zero_grad()
            loss = tn.cross_entropy(model(x), y)
            loss.backward()
            return loss

        for _ in range(2):
            optimizer.step(closure)
        state = optimizer.state_dict()["state"]
        found.append([*(p.data for p in model.parameters()), *(a for of in state.values() for a in of.values())])
    for a, b in zip(*found, strict=True):
        same(a, b)


# Gradients that are not finite ------------------------------------------------------------------------------------------


def poisoned(device, bad_at, steps, value=math.nan, **how):
    named = parameters(device)
    optimizer = SGD(named, 0.1, **how)
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        for i, (_, p) in enumerate(named):
            g = np.zeros(p.shape, np.float32)
            g.flat[0] = value if step == bad_at and i == 2 else 1.0
            p.accumulate(to_device(g, device))
        optimizer.step()
    return named, optimizer


@pytest.mark.parametrize(("value", "word"), [(math.nan, "a nan"), (math.inf, "an infinity")])
def test_a_bad_gradient_is_told_when_the_answers_are_read(value, word, cuda):
    _, optimizer = poisoned(cuda, bad_at=3, steps=3, value=value)
    with pytest.raises(
        NonfiniteGradientError, match=rf"not finite at step 3 \(now that of 'p2' has {word}\)\. On a GPU this"
    ):
        optimizer.check_finite()
    optimizer.check_finite()  # told once


def test_a_bad_gradient_is_told_after_a_hundred_steps_at_the_latest(cuda):
    poisoned(cuda, bad_at=7, steps=100)
    with pytest.raises(NonfiniteGradientError, match=r"not finite at step 7\. On a GPU this is seen late"):
        poisoned(cuda, bad_at=7, steps=101)


def test_a_bad_gradient_never_gets_into_a_saved_state(cuda):
    _, optimizer = poisoned(cuda, bad_at=2, steps=4)
    with pytest.raises(NonfiniteGradientError, match="not finite at step 2"):
        optimizer.state_dict()


def test_huge_gradients_are_finite(cuda):
    _, optimizer = poisoned(cuda, bad_at=2, steps=4, value=3e38)
    optimizer.check_finite()


def test_skipping_is_the_same_on_every_device(device, same):
    named, optimizer = poisoned(device, bad_at=2, steps=3, on_nonfinite="skip")
    assert (optimizer.skipped, optimizer.steps) == (1, 2)
    expected, _ = poisoned("cpu", bad_at=None, steps=2)
    for (_, a), (_, b) in zip(expected, named, strict=True):
        same(a.data, b.data)


def test_around_another_optimizer_the_answers_are_read_too(cuda):
    named = parameters(cuda)
    optimizer = EMA(SGD(named, 0.1))
    for _, p in named:
        p.accumulate(to_device(np.full(p.shape, np.nan, np.float32), cuda))
    optimizer.step()
    with pytest.raises(NonfiniteGradientError, match="not finite at step 1"):
        optimizer.check_finite()


def test_fit_reads_the_answers_at_the_end_of_an_epoch(cuda):
    model = tn.MLP([2, 4, 1], activation="identity", seed=0).to(cuda)
    optimizer, epochs = SGD(model.parameters(), 1e20), []
    ended = Callback()
    ended.on_epoch_begin = lambda training: epochs.append(training.epoch)
    with np.errstate(all="ignore"), pytest.raises(NonfiniteGradientError, match="On a GPU this is seen late"):
        tn.fit(model, (X, X[:, :1]), loss="mse_loss", optimizer=optimizer, epochs=3, batch_size=4, callbacks=[ended])
    assert epochs == [0]


# fit ------------------------------------------------------------------------------------------------------------------


def network(kind):
    if kind == "regression":
        return tn.MLP([2, 8, 1], activation="tanh", seed=0)
    return tn.Sequential(
        tn.Linear(2, 8, seed=0), tn.BatchNorm1d(8), tn.Tanh(), tn.Dropout(0.2, seed=1), tn.Linear(8, 2, seed=2)
    )


SETTINGS = {
    "classes": {"loss": "cross_entropy", "metrics": ["accuracy", "f1_score"]},
    "smoothed": {"loss": functools.partial(tn.cross_entropy, label_smoothing=0.1)},
    "regression": {"loss": "huber_loss", "metrics": ["r2_score"]},
}


@pytest.mark.parametrize("kind", SETTINGS)
@pytest.mark.parametrize(
    "make", [lambda p: Adam(p, 0.02, clip=ClipNorm(1.0)), lambda p: EMA(SGD(p, 0.1))], ids=["adam", "ema"]
)
def test_fit_records_watches_saves_and_stops(kind, make, cuda, same, tmp_path):
    runs, states = [], []
    y = Y if kind != "regression" else X[:, :1] * X[:, 1:]
    for device in ("cpu", cuda):
        model = network(kind).to(device)
        recorder = Recorder(tmp_path / device, name="run")
        with recorder:
            recorder.watch(model, every=2, histograms=4)
            tn.fit(
                model,
                (X[:30], y[:30]),
                optimizer=make(model.parameters()),
                epochs=4,
                batch_size=8,
                validation=(X[30:], y[30:]),
                callbacks=[Checkpoint(every=2), EarlyStopping(patience=2), CSVLog()],
                recorder=recorder,
                **SETTINGS[kind],
            )
        runs.append(recorder.run)
        states.append(model.state_dict())
    host, there = runs
    for name, array in states[0].items():
        same(array, states[1][name])
    assert host.names() == there.names()
    for name in ("train/loss", "val/loss", "train/running_loss", "grad_norm", "rho"):
        assert there.last(name) == pytest.approx(host.last(name), rel=1e-3), name


def test_data_and_models_meet_where_the_model_is(cuda, same):
    found = []
    for where_model, where_data in (("cpu", "cpu"), (cuda, "cpu"), (cuda, cuda), ("cpu", cuda)):
        model = tn.MLP([2, 4, 2], seed=0).to(where_model)
        data = (to_device(X, where_data), to_device(Y, where_data))
        run = tn.fit(
            model, data, loss="cross_entropy", optimizer=SGD(model.parameters(), 0.1), epochs=2, metrics=["accuracy"]
        )
        assert device_of(tn.predict(model, data[0])) == where_model
        found.append((run.last("train/loss"), run.last("train/accuracy")))
    assert found[1:] == [pytest.approx(found[0], rel=1e-4)] * 3


def test_a_captured_step_gives_the_same_numbers(cuda, same):
    losses = []
    for device in ("cpu", cuda):
        model = tn.MLP([2, 4, 2], seed=0).to(device)
        optimizer = Adam(model.parameters(), 0.1)

        def step(x, y, model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = tn.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        captured = tn.capture(step)
        losses.append([captured(to_device(X, device), to_device(Y, device)).data for _ in range(5)])
        assert captured.failure is None
    for a, b in zip(*losses, strict=True):
        assert device_of(b) == "cuda"
        same(a, b)
