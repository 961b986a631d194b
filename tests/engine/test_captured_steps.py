"""A captured training step gives the bits of the step that it was recorded from, with every optimizer and layer."""

import warnings

import numpy as np
import pytest

import optimizers as o
import tinynet as tn
from monitor import Callback
from tinynet.capture import Captured, captured
from tinynet.tensor import plain as plain_array

OPTIMIZERS = {
    "sgd": lambda p: o.SGD(p, 0.1),
    "momentum": lambda p: o.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "adam": lambda p: o.Adam(p, 1e-2),
    "amsgrad": lambda p: o.Adam(p, amsgrad=True, eps_hat=True),
    "adamw, scheduled": lambda p: o.AdamW(p, o.Warmup(5) >> o.Cosine(1e-2, 20)),
    "nadam": lambda p: o.NAdam(p),
    "radam": lambda p: o.RAdam(p),
    "adamax": lambda p: o.Adamax(p),
    "adabelief": lambda p: o.AdaBelief(p),
    "adagrad": lambda p: o.Adagrad(p),
    "adadelta": lambda p: o.Adadelta(p),
    "rmsprop": lambda p: o.RMSprop(p, momentum=0.9, centered=True),
    "rprop": lambda p: o.Rprop(p),
    "lion": lambda p: o.Lion(p),
    "muon": lambda p: o.Muon([pair for pair in p if pair[1].ndim == 2]),
    "schedule-free": lambda p: o.ScheduleFreeAdamW(p),
    "lookahead": lambda p: o.Lookahead(o.Adam(p)),
    "ema": lambda p: o.EMA(o.Adam(p)),
    "l1, proximal": lambda p: o.Adam(p, penalty=o.L1(1e-2)),
    "elastic net": lambda p: o.SGD(p, 0.1, penalty=o.ElasticNet(1e-2, 1e-2)),
    "clipped": lambda p: o.Adam(p, clip=o.ClipNorm(0.1)),
    "boxed": lambda p: o.SGD(p, 0.1, clip=o.ClipValue(0.01), projection=o.MaxNorm(0.5)),
}
generator = np.random.default_rng(0)
X = [generator.standard_normal((n, 6), dtype=np.float32) for n in (16, 16, 16, 5)]
LABELS = [generator.integers(0, 3, len(x)) for x in X]


def plain(model, optimizer):
    def step(x, y):
        optimizer.zero_grad()
        loss = tn.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def net(kind="mlp"):
    if kind == "mlp":
        return tn.MLP([6, 8, 3], activation="tanh", dropout=0.3, seed=0)
    return tn.Sequential(
        tn.Linear(6, 8, seed=0),
        tn.BatchNorm1d(8),
        tn.ReLU(),
        tn.LayerNorm(8),
        tn.Dropout(0.2, seed=1),
        tn.Linear(8, 3, seed=2),
    )


def state(model):
    return {name: array.tobytes() for name, array in model.state_dict().items()}


def compare(make, kind="mlp", steps=14):
    """The captured step beside the plain one; the captured one, and how many programs it has."""
    models = net(kind), net(kind)
    eager, recorded = (make(list(model.named_parameters())) for model in models)
    one, other = plain(models[0], eager), tn.capture(plain(models[1], recorded))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for k in range(steps):
            a, b = one(X[k % 4], LABELS[k % 4]), other(X[k % 4], LABELS[k % 4])
            assert a.item() == b.item(), f"step {k}"
    assert state(models[0]) == state(models[1])
    assert eager.steps == recorded.steps == steps
    return models[1], recorded, other


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_same_bits_with_every_optimizer(name):
    _, _, step = compare(OPTIMIZERS[name], steps=24)
    assert step.failure is None
    assert "matmul(" in step.program()


def test_the_same_bits_with_every_layer():
    _, _, step = compare(OPTIMIZERS["adam"], "layers", steps=24)
    assert step.failure is None


def test_a_rate_set_by_hand_and_a_changed_mode_are_seen():
    models = net(), net()
    eager, recorded = (o.Adam(list(model.named_parameters()), 1e-2) for model in models)
    one, other = plain(models[0], eager), tn.capture(plain(models[1], recorded))
    for k in range(20):
        for model, optimizer in zip(models, (eager, recorded), strict=True):
            if k == 8:
                optimizer.lr = 1e-3
            if k == 12:
                model.eval()
            if k == 16:
                model.train()
                model.load_state_dict(net().state_dict())
        assert one(X[0], LABELS[0]).item() == other(X[0], LABELS[0]).item()
    assert state(models[0]) == state(models[1])


def test_value_and_gradients_without_an_optimizer():
    model = net()
    weights = list(model.parameters())
    model.eval()
    f = lambda x: tn.gradients((model(x) ** 2).sum(), weights)
    captured = tn.capture(f)
    kept = [captured(X[k % 3]) for k in range(6)]
    for k, found in enumerate(kept):  # earlier answers are not written over
        for a, b in zip(found, f(X[k % 3]), strict=True):
            assert a.tobytes() == b.tobytes()


def reads_a_value(x):
    return (x * 2.0) if float(np.sum(x)) > 0 else x * 3.0


def draws(x):
    return x + np.random.default_rng().random()


@pytest.mark.parametrize("function", [reads_a_value, draws])
def test_what_cannot_be_replayed_runs_as_before_and_says_why_once(function):
    step = tn.capture(function)
    with pytest.warns(tn.CaptureWarning, match=f"{function.__name__} runs without capture: ") as told:
        answers = [step(X[0]) for _ in range(4)]
    assert len(told) == 1
    assert step.failure
    assert all(answer.shape == X[0].shape for answer in answers)
    if function is reads_a_value:
        assert np.array_equal(step(-np.abs(X[0])), -np.abs(X[0]) * np.float32(3.0))


def test_fit_captures_and_says_in_the_run_if_it_cannot():
    def loss(outputs, y):
        return tn.cross_entropy(outputs, y) * (1.0 if float(np.sum(plain_array(outputs))) < 1e9 else 0.0)

    for chosen, notes in (("cross_entropy", 0), (loss, 1)):
        runs = []
        for capture in (True, False):
            model = net()
            optimizer = o.Adam(model.parameters(), 1e-2)
            run = tn.fit(
                model, (X[0], LABELS[0]), loss=chosen, optimizer=optimizer, epochs=5, batch_size=6, capture=capture
            )
            runs.append((state(model), len([e for e in run.events if e["k"] == "note"])))
        assert runs[0][0] == runs[1][0]
        assert runs[0][1] == notes


def test_fit_looks_again_in_epochs_1_2_4_8_and_replays_in_all_others(monkeypatch):
    begun, recorded = [], []

    class Counted(captured.Record):
        def __init__(self, *args):
            recorded.append(begun[-1])
            super().__init__(*args)

    class Epochs(Callback):
        def on_epoch_begin(self, training):
            begun.append(training.epoch + 1)

    monkeypatch.setattr(captured, "Record", Counted)
    model = net()
    adam = o.Adam(model.parameters(), 1e-2)
    tn.fit(model, (X[0], LABELS[0]), loss="cross_entropy", optimizer=adam, epochs=17, batch_size=4, callbacks=[Epochs()])
    assert recorded == [1, 1, 2, 4, 8, 16]


def test_an_exception_leaves_nothing_behind():
    model = net()
    step = tn.capture(lambda x: model(x) @ np.ones((7, 1), np.float32))
    for _ in range(3):
        with pytest.raises(ValueError, match="do not fit"):
            step(X[0])
    assert all(type(p.data) is np.ndarray and p.grad is None for p in model.parameters())
    assert isinstance(step, Captured)
