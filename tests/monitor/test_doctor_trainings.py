"""Real trainings: in healthy ones the doctor finds nothing, and a fault that was put in gets its name."""

import warnings

import numpy as np
import pytest

import optimizers
import tinynet as tn
from monitor import Doctor, Recorder, diagnose
from tinynet import datasets


def split(name, n=200, seed=0):
    if name == "digits":
        x, y = datasets.digits()
        order = np.random.default_rng(seed).permutation(len(x))[: n + 200]
        x, y = x[order], y[order]
    else:
        x, y = getattr(datasets, name)(n + 200, seed=seed)
        order = np.random.default_rng(seed).permutation(len(x))
        x, y = x[order], y[order]
    return (x[:n], y[:n]), (x[n:], y[n:])


def train(model, optimizer, data, validation, epochs=30, describe=True, callbacks=()):
    recorder = Recorder(root=None, name="training")
    if describe and data[1].dtype.kind == "i":
        recorder.describe(class_counts=np.bincount(data[1]))
    recorder.watch(model, every=5)
    loss = "cross_entropy" if data[1].dtype.kind == "i" else "mse_loss"
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        tn.fit(
            model, data, validation=validation, loss=loss, optimizer=optimizer, epochs=epochs, batch_size=32,
            recorder=recorder, callbacks=callbacks, capture=False,
        )  # fmt: skip
    return recorder.run


def detected(run):
    return {f.id for f in diagnose(run).detected}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("name", "hidden", "activation", "optimizer", "lr"),
    [
        ("moons", (32, 32), "relu", "Adam", 3e-3),
        ("moons", (16,), "tanh", "SGD", 0.1),
        ("circles", (32, 32), "tanh", "Adam", 1e-2),
        ("blobs", (16, 16), "sigmoid", "RMSprop", 1e-2),
        ("sine", (32, 32), "tanh", "Adam", 1e-2),
        ("digits", (64, 32), "relu", "AdamW", 3e-3),
    ],
)
def test_nothing_is_found_in_healthy_trainings(name, hidden, activation, optimizer, lr, seed):
    data, validation = split(name, 400 if name == "digits" else 200, seed)
    outputs = int(data[1].max()) + 1 if data[1].dtype.kind == "i" else 1
    model = tn.MLP([data[0].shape[1], *hidden, outputs], activation, seed=seed)
    run = train(model, getattr(optimizers, optimizer)(model.parameters(), lr), data, validation)
    report = diagnose(run)
    assert not report.detected, str(report)
    assert "overfit" in report.coverage["clear"] + report.coverage["underpowered"]
    assert "nonfinite" in report.coverage["clear"]


def net(sizes=(2, 32, 32, 2), activation="relu", seed=0):
    return tn.MLP(list(sizes), activation, seed=seed)


def test_a_learning_rate_a_thousand_times_too_high():
    model = net()
    run = train(model, optimizers.SGD(model.parameters(), 100.0, on_nonfinite="ignore"), *split("moons"))
    assert detected(run) & {"nonfinite", "not_learning", "lr_too_high"}


def test_a_learning_rate_of_nought():
    model = net()
    report = diagnose(train(model, optimizers.Adam(model.parameters(), 0.0), *split("moons"), epochs=3))
    assert [f.id for f in report.detected] == ["not_learning"]
    assert "No weight moved" in str(report)
    assert "rho was not recorded" not in str(report)


def test_fit_looks_at_the_units_of_replayed_steps_too():
    model, recorder = net(), Recorder(root=None)
    data, validation = split("moons")
    with recorder:
        recorder.watch(model)
        tn.fit(model, data, validation=validation, loss="cross_entropy", recorder=recorder, epochs=40,
               optimizer=optimizers.Adam(model.parameters(), 3e-3))  # fmt: skip
    report = diagnose(recorder.run)
    assert {"dead_units", "lr_too_high"} <= set(report.coverage["clear"])
    assert "saturated_units" in report.coverage["not_checked"]
    assert "no layer has bounded answers (tanh, sigmoid)" in str(report)


def test_gradients_that_are_never_cleared():
    model = net()
    optimizer = optimizers.SGD(model.parameters(), 0.1)
    optimizer.zero_grad()
    optimizer.zero_grad = lambda: None
    run = train(model, optimizer, *split("moons"))
    assert "stale_gradients" in detected(run)


def test_a_flipped_sign():
    model = net()

    optimizer = optimizers.SGD(model.parameters(), 0.01, on_nonfinite="ignore")

    def uphill(outputs, y, reduction="mean"):
        loss = tn.cross_entropy(outputs, y, reduction=reduction)
        return 2 * loss.data - loss if isinstance(loss, tn.Tensor) else loss  # the same value, the opposite gradient

    recorder = Recorder(root=None)
    recorder.watch(model, every=2)
    data, validation = split("moons")
    with np.errstate(all="ignore"):
        run = tn.fit(
            model, data, validation=validation, loss=uphill, optimizer=optimizer, epochs=5, batch_size=32,
            recorder=recorder, capture=False,
        )  # fmt: skip
    assert "grad_sign" in detected(run)


def test_units_that_are_dead_from_the_start():
    model = net()
    model.layers[0].bias.data[...] = -100
    report = diagnose(train(model, optimizers.Adam(model.parameters(), 3e-3), *split("moons")))
    finding = next(f for f in report.detected if f.id == "dead_units")
    assert "layers.1" in finding.message
    assert finding.step_range[0] == 1
    assert "not_learning" in report.coverage["detected"]


def test_twelve_sigmoid_layers():
    model = net((2, *[16] * 12, 2), "sigmoid")
    run = train(model, optimizers.Adam(model.parameters(), 3e-3), *split("moons"))
    assert "vanishing_gradients" in detected(run)
    assert "exploding_gradients" not in detected(run)


def test_shuffled_labels():
    (x, y), (vx, vy) = split("moons")
    generator = np.random.default_rng(0)
    model = net()
    run = train(
        model, optimizers.Adam(model.parameters(), 3e-3), (x, generator.permutation(y)), (vx, generator.permutation(vy))
    )
    assert "not_learning" in detected(run)


def test_far_too_many_updates_on_few_noisy_examples():
    (x, y), validation = split("moons", 40)
    y = np.where(np.random.default_rng(0).random(40) < 0.2, 1 - y, y)
    model = net((2, 64, 64, 2))
    doctor = Doctor()
    run = train(model, optimizers.Adam(model.parameters(), 1e-2), (x, y), validation, epochs=200, callbacks=[doctor])
    finding = next(f for f in diagnose(run).detected if f.id == "overfit")
    assert finding.evidence.interval is not None  # fit records the losses of the single examples
    assert "overfit" in [e["d"]["id"] for e in run.select("finding")]
    assert "overfit" in {f.id for f in doctor.report.detected}


def test_a_training_that_fails_of_a_nan_is_diagnosed(tmp_path):
    model = net()
    optimizer = optimizers.SGD(model.parameters(), 1e30)
    data, validation = split("moons")
    recorder = Recorder(tmp_path, name="fails")
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError):
        tn.fit(model, data, validation=validation, loss="cross_entropy", optimizer=optimizer, epochs=3, recorder=recorder)
    report = diagnose(recorder.path)
    assert report.status == "failed"
    assert "nonfinite" in report.coverage["detected"]
