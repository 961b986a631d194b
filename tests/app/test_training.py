"""What `fit`, `evaluate` and `predict` promise: what is recorded when, what depends on what, and what is refused."""

import functools
import re
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from monitor import Callback, Checkpoint, EarlyStopping, Recorder, Run, load_checkpoint, metrics
from monitor.watch import Watcher
from optimizers import SGD, Adam, ClipNorm, NonfiniteGradientError, Step
from tinynet import MLP, BatchNorm1d, Linear, Module, Parameter, Sequential, Tensor, cross_entropy, evaluate, fit, predict
from tinynet.arguments import LOSSES
from tinynet.datasets import moons
from tinynet.experiment import Experiment, Settings
from tinynet.layers import Activation
from tinynet.messages import ShapeError
from tinynet.preprocessing import train_test_split
from tinynet.training import batches

X, Y = DATA = moons(60, seed=1)
VAL = moons(40, seed=2)


def train(data=DATA, model=None, lr=1e-2, **options):
    """A short training: (run, model)."""
    model = model or MLP([2, 8, 2], seed=0)
    options = {"loss": "cross_entropy", "epochs": 3, "batch_size": 16, **options}
    return fit(model, data, optimizer=Adam(model.parameters(), lr), **options), model


def weights(model):
    return b"".join(p.numpy().tobytes() for p in model.parameters())


class Spy(Callback):
    """Writes down every hook that is called, with where training was."""

    def __init__(self, calls=None, name="spy"):
        self.calls = [] if calls is None else calls
        self.name = name

    def note(self, hook, training):
        self.calls.append((self.name, hook, training.epoch, training.step))

    def on_train_begin(self, training):
        self.note("train_begin", training)

    def on_epoch_begin(self, training):
        self.note("epoch_begin", training)

    def on_batch_end(self, training):
        self.note("batch_end", training)

    def on_epoch_end(self, training):
        self.note("epoch_end", training)

    def on_train_end(self, training):
        self.note("train_end", training)


def at(hook, action):
    """A callback that does something at one hook."""
    callback = Callback()
    setattr(callback, hook, action)
    return callback


# What is recorded -----------------------------------------------------------------------------------------------------


def test_series_and_steps():
    run, _ = train(validation=VAL, metrics=["accuracy"])
    names = ["train/loss", "train/accuracy", "val/loss", "val/accuracy", "lr", "train/running_loss"]
    assert run.names() == names
    for name in names:
        steps, epochs, values = run.points(name)
        first = 1 if name == "train/running_loss" else 0  # before training nothing has run
        assert steps.tolist() == [0, 4, 8, 12][first:]
        assert epochs.tolist() == [0, 1, 2, 3][first:]
        assert np.isfinite(values).all()
    assert run.status == "finished"


def test_without_validation_there_is_no_val():
    assert train()[0].names() == ["train/loss", "lr", "train/running_loss"]


def test_step_0_is_the_untrained_model_and_the_last_step_the_trained_one():
    before = evaluate(MLP([2, 8, 2], seed=0), DATA, "cross_entropy")["loss"]
    run, model = train()
    assert run.series("train/loss")[1][0] == before
    assert run.last("train/loss") == evaluate(model, DATA, "cross_entropy")["loss"] < before


def test_running_loss_is_the_mean_over_all_examples_whatever_the_last_batch():
    run, model = train(epochs=1, batch_size=25, lr=0.0)  # batches of 25, 25 and 10; nothing moves
    assert run.last("train/running_loss") == pytest.approx(evaluate(model, DATA, "cross_entropy")["loss"], rel=1e-6)
    assert run.series("train/loss")[0].tolist() == [0, 3]


def test_running_loss_does_not_overflow_in_half_precision():
    x, y = np.zeros((100, 1)), np.full((100, 1), 60.0)
    model = Linear(1, 1, seed=0)
    for parameter in model.parameters():
        parameter.data = np.zeros(parameter.shape, np.float16)
    optimizer = SGD(model.parameters(), 0.0)
    run = fit(model, (x, y), loss="mse_loss", optimizer=optimizer, epochs=1, batch_size=10)
    assert run.last("train/running_loss") == 3600  # their sum is beyond float16


def test_the_learning_rate_recorded_is_that_of_the_next_step():
    model = MLP([2, 4, 2], seed=0)
    optimizer = SGD(model.parameters(), Step(0.1, every=4))
    run = fit(model, DATA, loss="cross_entropy", optimizer=optimizer, epochs=2, batch_size=16)
    np.testing.assert_allclose(run.series("lr")[1], [0.1, 0.01, 0.001])


def test_training_learns():
    run, _ = train(moons(300, seed=1), epochs=60, lr=2e-2, validation=moons(300, seed=2), metrics=["accuracy"])
    assert run.last("val/accuracy") > 0.9 > run.series("val/accuracy")[1][0]


# What the result depends on -------------------------------------------------------------------------------------------


def test_batches_go_through_all_data_once_and_the_last_is_smaller():
    x = np.arange(23)[:, None]
    found = list(batches(x, -x, 5, seed=0, epoch=1))
    assert [len(part) for part, _ in found] == [5, 5, 5, 5, 3]
    assert sorted(np.concatenate([part[:, 0] for part, _ in found]).tolist()) == list(range(23))
    assert all(np.array_equal(part, -target) for part, target in found)


def test_the_order_depends_on_seed_and_epoch_alone():
    x = np.arange(50)

    def order(**which):
        return np.concatenate([part for part, _ in batches(x, x, 8, **which)]).tolist()

    first = order(seed=3, epoch=2)
    np.random.default_rng().random(10)
    list(batches(x, x, 8, seed=9, epoch=9))
    assert order(seed=3, epoch=2) == first
    assert order(seed=3, epoch=3) != first
    assert order(seed=2, epoch=2) != first
    assert order(seed=2, epoch=3) != order(seed=3, epoch=2)


def dropout():
    return MLP([2, 8, 2], dropout=0.4, seed=0)


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    first, again, other = (weights(train(model=dropout(), seed=seed)[1]) for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_watching_changes_nothing(tmp_path):
    plain = weights(train(model=dropout())[1])
    with Recorder(tmp_path) as recorder:
        watched = train(
            model=dropout(), validation=VAL, metrics=["accuracy"], callbacks=[Checkpoint(1), Spy()], recorder=recorder
        )[1]
    assert weights(watched) == plain


def test_evaluation_leaves_running_averages_alone():
    def model():
        return Sequential(Linear(2, 4, seed=0), BatchNorm1d(4), Linear(4, 2, seed=1))

    plain, watched = train(model=model())[1], train(model=model(), validation=VAL)[1]
    for name, value in plain.state_dict().items():
        assert value.tobytes() == watched.state_dict()[name].tobytes(), name


def test_data_may_be_lists_tensors_or_whole_numbers():
    x, y = [[0, 1], [1, 0], [1, 1], [0, 0]], [1, 1, 0, 0]
    expected = weights(train((np.array(x, np.float32), np.array(y)))[1])
    assert weights(train((x, y))[1]) == expected
    assert weights(train((np.array(x), np.array(y, np.uint8)))[1]) == expected
    assert weights(train((Tensor(np.array(x, np.float64)), y))[1]) == expected


@pytest.mark.parametrize("capture", [False, True])
def test_a_table_is_looked_up_as_the_documentation_says(capture):
    class Table(Module):
        def __init__(self):
            self.table = Parameter(np.zeros((9, 2), np.float32))

        def forward(self, x):
            return self.table[x.astype(int)].sum(axis=1)

    words = np.random.default_rng(0).integers(9, size=(80, 3))
    run, _ = train((words, (words.sum(axis=1) > 12).astype(int)), Table(), lr=0.1, epochs=30, capture=capture)
    assert run.last("train/loss") < 0.3


def test_nothing_is_promoted_to_float64():
    run, model = train((DATA[0].astype(np.float64), DATA[1]), validation=VAL)
    assert {p.dtype for p in model.parameters()} == {np.dtype(np.float32)}
    assert predict(model, DATA[0].astype(np.float64)).dtype == np.float32
    assert run.status == "finished"


# Modes ----------------------------------------------------------------------------------------------------------------


def modes(model):
    return [module.training for _, module in model.named_modules()]


@pytest.mark.parametrize("use", [lambda m: predict(m, DATA[0]), lambda m: evaluate(m, DATA, "cross_entropy")])
def test_every_layer_gets_its_mode_back(use):
    model = dropout()
    model[2].eval()  # one layer frozen by hand
    before = modes(model)
    use(model)
    assert modes(model) == before
    assert any(before)
    assert not all(before)


def test_modes_come_back_after_an_error():
    model = dropout()
    with pytest.raises(ShapeError):
        predict(model, np.zeros((3, 5)))
    assert all(modes(model))


def test_prediction_is_in_evaluation_mode_and_in_batches():
    model = dropout()
    outputs = predict(model, DATA[0], batch_size=7)
    assert outputs.shape == (60, 2)
    assert isinstance(outputs, np.ndarray)
    np.testing.assert_allclose(outputs, predict(model, DATA[0]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(outputs, model.eval()(Tensor(DATA[0])).data, rtol=1e-5, atol=1e-6)


def test_a_model_in_evaluation_mode_is_trained_with_its_dropout():
    as_usual, evaluated = dropout(), dropout().eval()
    assert weights(train(model=as_usual)[1]) == weights(train(model=evaluated)[1])
    assert not any(modes(evaluated))
    assert all(modes(as_usual))


# Callbacks ------------------------------------------------------------------------------------------------------------


def test_hooks_in_order():
    calls = []
    train(callbacks=[Spy(calls, "a"), Spy(calls, "b")], epochs=2, batch_size=30)
    expected = [("train_begin", 0, 0)]
    for epoch in (1, 2):
        expected += [("epoch_begin", epoch - 1, 2 * epoch - 2)]
        expected += [("batch_end", epoch - 1, step) for step in (2 * epoch - 1, 2 * epoch)]
        expected += [("epoch_end", epoch, 2 * epoch)]
    expected += [("train_end", 2, 4)]
    assert calls == [(name, *call) for call in expected for name in "ab"]


def test_callbacks_see_the_training():
    seen = {}
    run, model = train(validation=VAL, callbacks=[at("on_epoch_end", lambda t: seen.update(vars(t)))])
    assert seen["model"] is model
    assert (seen["epochs"], seen["batches"], seen["epoch"], seen["step"]) == (3, 4, 3, 12)
    assert dict(seen["logs"])["val/loss"] == run.last("val/loss")
    with pytest.raises(TypeError, match="does not support item assignment"):
        seen["logs"]["val/loss"] = 0


@pytest.mark.parametrize("reason", ["enough", ""])
@pytest.mark.parametrize("hook", ["on_batch_end", "on_epoch_end"])
def test_stop_ends_training_after_the_epoch(hook, reason):
    spy = Spy()
    run, _ = train(epochs=9, callbacks=[at(hook, lambda t: t.stop(reason)), spy])
    assert run.series("train/loss")[0].tolist() == [0, 4]
    assert [event["d"]["text"] for event in run.events if event["k"] == "note"] == [reason]
    assert spy.calls[-1] == ("spy", "train_end", 1, 4)
    assert run.status == "finished"


@pytest.mark.parametrize("hook", ["on_train_begin", "on_epoch_begin", "on_batch_end", "on_epoch_end"])
@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "interrupted"), (OSError, "failed")])
def test_an_exception_ends_the_run_and_goes_on(hook, error, status):
    def fail(_):
        raise error("now")

    spy, recorder = Spy(), Recorder(None)
    with pytest.raises(error, match="now"):
        train(callbacks=[spy, at(hook, fail)], recorder=recorder)
    assert spy.calls[-1][1] == "train_end"
    assert recorder.run.status == status


def test_a_recorder_in_its_own_with_block_stays_open():
    with Recorder(None) as recorder:
        train(recorder=recorder)
        recorder.log(**{"test/loss": 1.0})
    assert recorder.run.last("test/loss") == 1.0
    assert recorder.run.status == "finished"


def test_early_stopping_through_fit():
    stopper = EarlyStopping("val/loss", patience=2)
    run, model = train(epochs=200, lr=0.3, validation=VAL, callbacks=[stopper])
    losses = run.series("val/loss")[1][1:]
    best = int(losses.argmin())
    assert len(losses) == best + 3 < 200
    assert evaluate(model, VAL, "cross_entropy")["loss"] == losses[best] < losses[-1]


def test_checkpoints_through_fit(tmp_path):
    with Recorder(tmp_path) as recorder:
        run, model = train(epochs=7, validation=VAL, callbacks=[Checkpoint(every=3)], recorder=recorder)
    last, best = (load_checkpoint(run.path, which) for which in ("last", "best"))
    assert (last["step"], last["epoch"]) == (28, 7)
    assert best["epoch"] == int(run.series("val/loss")[1][1:].argmin()) + 1
    other = MLP([2, 8, 2], seed=9)
    other.load_state_dict(last["model"])
    assert weights(other) == weights(model)


def test_a_training_can_go_on_from_a_checkpoint(tmp_path):
    x, y = DATA
    model = MLP([2, 8, 2], seed=0)
    optimizer = Adam(model.named_parameters(), 1e-2)

    def epochs(model, optimizer, which):
        for epoch in which:
            for a, b in batches(x, y, 16, 0, epoch):
                optimizer.zero_grad()
                cross_entropy(model(Tensor(a)), b).backward()
                optimizer.step()

    with Recorder(tmp_path) as recorder:
        options = {"epochs": 2, "batch_size": 16, "callbacks": [Checkpoint(best=None)], "recorder": recorder}
        fit(model, DATA, loss="cross_entropy", optimizer=optimizer, **options)
    epochs(model, optimizer, (3, 4))
    saved = load_checkpoint(recorder.path, "last")
    other = MLP([2, 8, 2], seed=5)
    other.load_state_dict(saved["model"])
    continued = Adam(other.named_parameters(), 1e-2)
    continued.load_state_dict(saved["optimizer"])
    epochs(other, continued, (3, 4))
    assert weights(other) == weights(model)


# What is recorded of single steps and single examples -----------------------------------------------------------------


class Noisy(Module):
    """A net with dropout, running averages, and a loss of its own that draws random numbers."""

    def __init__(self):
        self.first, self.norm, self.second = Linear(2, 8, seed=0), BatchNorm1d(8), MLP([8, 8, 2], dropout=0.4, seed=1)

    def forward(self, x):
        return self.second(self.norm(self.first(x)))


@pytest.mark.parametrize("capture", [False, True], ids=["eager", "captured"])
@pytest.mark.parametrize("clip", [None, ClipNorm(0.3)], ids=["", "clipped"])
@pytest.mark.parametrize("noise", [False, True], ids=["", "noise"])
@pytest.mark.parametrize("rho", [0, 3], ids=["", "rho"])
def test_watching_leaves_every_bit_alone(capture, clip, noise, rho):
    def trained(every):
        model, recorder, generator = Noisy(), Recorder(None), np.random.default_rng(3)

        def noisy_loss(outputs, y):
            return cross_entropy(outputs + (0.1 * generator.normal(size=outputs.shape)).astype(np.float32), y)

        if every:
            recorder.watchers += [
                Watcher(model, recorder, every, rho=rho),
                Watcher(model, recorder, 2 * every, rho=2 * rho),
            ]
        optimizer = Adam(model.parameters(), 1e-2, clip=clip)
        options = {"epochs": 6, "batch_size": 16, "recorder": recorder, "capture": capture}
        run = fit(model, DATA, loss=noisy_loss if noise else "cross_entropy", optimizer=optimizer, **options)
        draws = [m.generator.bit_generator.state for _, m in model.named_modules() if hasattr(m, "generator")]
        state = {name: value.tobytes() for name, value in model.state_dict().items()}
        return [state, draws, generator.bit_generator.state], run

    (watched, run), (alone, before) = trained(3), trained(None)
    assert watched == alone
    assert "norm.running_mean" in watched[0]
    assert [n["d"]["text"] for n in run.select("note")] == [n["d"]["text"] for n in before.select("note")]
    if rho:
        assert run.series("rho")[0].tolist() == [1, 3, 6, 9, 12, 15, 18, 21, 24]
        assert 0.5 < np.median(run.series("rho")[1]) < 1.5
    assert np.isfinite(run.layers("act_std")[2]).all()
    assert len(run.layers("act_std")[0]) == 9


@pytest.mark.parametrize("rho", [0, 2])
def test_what_watching_finds_does_not_depend_on_capture(rho):
    def found(capture):
        recorder, model = Recorder(None), dropout()
        recorder.watchers.append(Watcher(model, recorder, every=2, rho=rho))
        run = train(model=model, recorder=recorder, capture=capture, epochs=5)[0]
        return [event["d"] for event in run.select("layer", "step")]

    assert found(True) == found(False)
    assert len(found(True)) == 2 * 11


def test_a_watched_step_sees_what_the_layers_answered_in_it():
    """The outputs are those before the update, of all layers, nested and used twice."""

    class Same(Module):
        def forward(self, x):
            return x  # an answer that is the argument of the step

    class Twice(Module):
        def __init__(self):
            self.first, self.act = Sequential(Same(), Linear(2, 2, seed=0)), Activation("tanh")

        def forward(self, x):
            return self.act(self.first(self.act(self.first(x))))

    model, recorder, before = Twice(), Recorder(None), []
    recorder.watchers.append(Watcher(model, recorder, every=1, rho=0))

    class Before(Callback):
        def on_train_begin(self, training):
            self.on_batch_end(training)

        def on_batch_end(self, training):
            first = model.first(DATA[0]).numpy()
            second = model.first(np.tanh(first)).numpy()
            before.append([first.mean() / 2 + second.mean() / 2, np.tanh(first).mean() / 2 + np.tanh(second).mean() / 2])

    run, _ = train(model=model, recorder=recorder, batch_size=60, epochs=8, callbacks=[Before()])
    _, names, means = run.layers("act_mean")
    assert names == ["first.layers.0", "first.layers.1", "act"]
    np.testing.assert_allclose(means[:, 1:], before[:-1], rtol=1e-4, atol=1e-6)
    assert means[0, 1] != pytest.approx(means[-1, 1], rel=0.01)


def test_a_watched_step_is_replayed(capsys):
    model = MLP([2, 8, 2], seed=0)
    recorder = Recorder(None)
    recorder.watchers.append(Watcher(model, recorder, every=1, rho=0))

    def loss(outputs, y):
        print("called")
        return cross_entropy(outputs, y)

    train(model=model, recorder=recorder, loss=loss, epochs=4, data=moons(64, seed=1))
    evaluations = 5
    assert capsys.readouterr().out.count("called") - evaluations == 4  # recorded: steps 1, 2, the first of epochs 2 and 4


def test_what_cannot_be_replayed_is_not_replayed_where_it_is_watched():
    """A change that capture cannot see is found in the first step of epoch 16 (`_train_epoch`), which nobody looks at."""

    def found(capture):
        model, recorder = MLP([2, 8, 2], seed=0), Recorder(None)
        recorder.watchers.append(Watcher(model, recorder, every=5, rho=0))

        class Sign:
            value = 1.0

        def loss(outputs, y):
            return cross_entropy(outputs, y) * Sign.value

        class Alter(Callback):
            def on_epoch_end(self, training):
                Sign.value = 1.0 if training.epoch < 15 else -1.0

        run = train(model=model, recorder=recorder, capture=capture, loss=loss, epochs=20, callbacks=[Alter()])[0]
        return weights(model), [event["d"] for event in run.select("layer")]

    assert found(True) == found(False)


def test_the_layers_are_as_they_were_after_a_watched_training_and_one_that_failed():
    model, recorder = MLP([2, 8, 2], seed=0), Recorder(None)
    own = model[0].forward = functools.partial(type(model[0]).forward, model[0])
    before = [dict(vars(module)) for _, module in model.named_modules()]
    recorder.watch(model)

    class Fails(Spy):
        def on_batch_end(self, training):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(model=model, recorder=recorder, callbacks=[Fails()])
    assert model[0].forward is own
    for (_, module), then in zip(model.named_modules(), before, strict=True):
        assert vars(module).keys() - {"training"} == then.keys()


def test_the_losses_of_single_examples():
    run, model = train(validation=VAL, epochs=2)
    steps, losses = run.val_losses()
    assert steps.tolist() == [0, 4, 8]
    assert (losses.shape, losses.dtype) == ((3, 40), np.float32)
    np.testing.assert_allclose(losses.mean(axis=1), run.series("val/loss")[1], rtol=1e-6)
    np.testing.assert_array_equal(losses[-1], cross_entropy(predict(model, VAL[0]), VAL[1], reduction="none"))


def test_without_validation_data_no_losses_of_examples_are_kept():
    with pytest.raises(KeyError, match="has no losses of single examples: fit records them if it has validation data"):
        train()[0].val_losses()


def test_the_losses_of_examples_with_several_outputs_and_of_a_configured_loss():
    x = np.random.default_rng(0).normal(size=(30, 2))
    model = MLP([2, 4, 3], seed=0)
    data = (x, np.concatenate([x, x[:, :1]], axis=1))
    run = train(data, model, loss=functools.partial(LOSSES["huber_loss"], delta=0.5), validation=data)[0]
    assert run.val_losses()[1].shape == (4, 30)
    assert run.val_losses()[1][-1].mean() == pytest.approx(run.last("val/loss"), rel=1e-6)


@pytest.mark.parametrize(
    "loss",
    [
        lambda outputs, y: cross_entropy(outputs, y),
        lambda outputs, y, reduction="mean": cross_entropy(outputs, y),  # one number all the same
        lambda outputs, y, reduction=0: cross_entropy(outputs, y) + reduction,
        lambda outputs, y, reduction="mean": (
            cross_entropy(outputs, y).item() if reduction == "none" else cross_entropy(outputs, y)
        ),
    ],
)
def test_a_loss_that_cannot_tell_the_examples_apart_trains_all_the_same(loss):
    run = train(validation=VAL, loss=loss)[0]
    assert run.status == "finished"
    with pytest.raises(KeyError, match="has no losses of single examples"):
        run.val_losses()


def test_run_json_says_what_a_constant_answer_loses():
    def data_of(**options):
        return train(**options)[0].meta["data"]

    labels = (DATA[0], np.arange(60) % 2 * (np.arange(60) < 20))
    assert data_of(data=labels, validation=VAL) == {"sizes": {"train": 60, "validation": 40}, "class_counts": [50, 10]}
    numbers = (DATA[0], np.random.default_rng(0).normal([0, 5], [1, 3], size=(60, 2)))
    found = data_of(data=numbers, loss="mse_loss")
    assert found == {"sizes": {"train": 60}, "target_variance": pytest.approx(np.var(numbers[1], axis=0).mean(), rel=1e-5)}
    binary = (DATA[0], np.repeat([0.0, 1.0], [45, 15])[:, None])
    model = MLP([2, 4, 1], seed=0)
    assert data_of(data=binary, model=model, loss="binary_cross_entropy_with_logits")["class_counts"] == [45, 15]
    assert data_of(loss=lambda outputs, y: cross_entropy(outputs, y)) == {"sizes": {"train": 60}}  # who knows
    recorder = Recorder(None)
    recorder.describe(data={"name": "mine", "sizes": {"test": 9}})
    assert data_of(recorder=recorder)["name"] == "mine"
    assert recorder.meta["data"]["sizes"] == {"test": 9, "train": 60}


def test_an_experiment_records_what_the_test_data_say_and_if_asked_the_layers(tmp_path):
    settings = Settings("iris", epochs=3)
    with Recorder(tmp_path, config={"seed": 0}) as recorder:
        experiment = Experiment(settings)
        experiment.train(recorder, watch=2)
    run = Run.open(recorder.path)
    assert run.meta["confusion"]["labels"] == ["setosa", "versicolor", "virginica"]
    counts = np.array(run.meta["confusion"]["counts"])
    true, predicted = experiment.test_predictions()
    assert [counts.sum(), counts.trace()] == [30, (true == predicted).sum()]
    assert counts.sum(axis=1).tolist() == np.bincount(true).tolist()  # rows are true classes
    assert run.meta["test"] == experiment.judge()
    assert run.meta["data"]["sizes"] == {"train": 90, "validation": 30, "test": 30}
    assert run.meta["data"]["class_counts"] == [30, 30, 30]
    assert run.series("rho")[0].tolist() == run.layers("dead")[0].tolist() == [1, *range(2, 19, 2)]
    assert [step for step, _ in run.histogram("weights/layers.0.weight")] == [1]
    experiment.test_data = tuple(part[true == 0] for part in experiment.test_data)
    assert np.array(experiment.confusion()["counts"]).shape == (3, 3)  # classes that are not there have rows, too
    regression = Experiment(Settings("sine", n=100, epochs=2)).train()
    assert "confusion" not in regression.meta
    assert regression.meta["test"]["r2_score"] < 1
    assert "rho" not in regression.names()


# Losses and metrics ---------------------------------------------------------------------------------------------------


def test_losses_by_name_and_by_function():
    by_name, by_function = train()[0], train(loss=cross_entropy)[0]
    assert by_name.series("train/loss")[1].tolist() == by_function.series("train/loss")[1].tolist()
    own = train(loss=lambda outputs, y: cross_entropy(outputs, y, label_smoothing=0.1))[0]
    assert own.last("train/loss") != by_name.last("train/loss")


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains(loss):
    y = DATA[1] if loss == "cross_entropy" else DATA[1][:, None].astype(np.float32)
    run, _ = train((DATA[0], y), model=MLP([2, 8, 2 if loss == "cross_entropy" else 1], seed=0), loss=loss)
    assert run.last("train/loss") < run.series("train/loss")[1][0]


@dataclass
class Smoothed:  # a dataclass cannot be hashed
    by: float

    def __call__(self, outputs, y):
        return cross_entropy(outputs, y, label_smoothing=self.by)


class Wrong:
    def __call__(self, true, predicted):
        return np.sum(true != predicted)


def test_a_metric_has_a_name_and_is_given_what_it_needs():
    filled = functools.partial(metrics.roc_auc, multi_class="ovr")  # it needs scores, also with an argument filled in
    run, model = train(metrics=["auc", filled, Wrong()], loss=Smoothed(0.1))
    outputs = predict(model, X)
    assert run.last("train/roc_auc") == run.last("train/auc") == metrics.roc_auc(Y, outputs[:, 1] - outputs[:, 0])
    assert run.last("train/Wrong") == (outputs.argmax(axis=1) != Y).sum()
    numbers = train((X, X[:, :1]), MLP([2, 8, 1], seed=0), loss="mse_loss", metrics=["r2", "r2_score"])[0]
    assert numbers.last("train/r2") == numbers.last("train/r2_score")


def test_outputs_are_logits_also_to_a_loss_with_an_argument_filled_in():
    loss = functools.partial(LOSSES["binary_cross_entropy_with_logits"], reduction="mean")
    run, model = train((X, Y[:, None] * 1.0), MLP([2, 8, 1], seed=0), loss=loss, metrics=["accuracy"])
    assert run.last("train/accuracy") == np.mean((predict(model, X)[:, 0] > 0) == Y)


def test_metrics_by_name_and_by_function():
    def mistakes(true, predicted):
        return np.sum(true != predicted)

    run, model = train(metrics=["accuracy", "f1_score", mistakes])
    wrong = (predict(model, DATA[0]).argmax(axis=1) != DATA[1]).sum()
    assert run.last("train/mistakes") == wrong
    assert run.last("train/accuracy") == 1 - wrong / 60
    assert 0 < run.last("train/f1_score") <= 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64, int])
def test_regression(dtype):
    x = np.linspace(-1, 1, 50)[:, None]
    y = (3 * x + 1).round().astype(dtype)
    model = MLP([1, 16, 1], activation="tanh", seed=0)
    scores = ["r2_score", "mean_absolute_error", "mean_squared_error"]
    run, _ = train((x, y), model=model, loss="mse_loss", epochs=60, metrics=scores)
    assert run.last("train/r2_score") > 0.9
    assert run.last("train/mean_squared_error") == pytest.approx(run.last("train/loss"), rel=1e-5)


def test_evaluate_answers_loss_and_metrics():
    model = MLP([2, 8, 2], seed=0)
    scores = evaluate(model, (DATA[0].tolist(), DATA[1].tolist()), "cross_entropy", ["accuracy"])
    assert list(scores) == ["loss", "accuracy"]
    loss = cross_entropy(model(Tensor(DATA[0])), DATA[1]).item()
    assert scores["loss"] == pytest.approx(loss, rel=1e-6)
    assert all(p.grad is None for p in model.parameters())


# What is refused ------------------------------------------------------------------------------------------------------


def loss(true, predicted):
    """A metric with the name of something else."""


def with_hole(value):
    x = DATA[0].copy()
    x[[7, 9], [1, 0]] = value
    return x


BAD = {
    "epochs 0": ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
    "epochs text": ({"epochs": "3"}, TypeError, "epochs must be a whole number, got '3'"),
    "epochs true": ({"epochs": True}, TypeError, "epochs must be a whole number, got True"),
    "batch_size 0": ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
    "batch_size 2.5": ({"batch_size": 2.5}, TypeError, "batch_size must be a whole number, got 2.5"),
    "no pair": ({"data": X}, TypeError, "data must be a pair (x, y), got ndarray"),
    "three": ({"data": (X, Y, Y)}, TypeError, "data must be a pair (x, y), got tuple"),
    "no pair 2": ({"validation": X}, TypeError, "validation must be a pair (x, y), got ndarray"),
    "data set": ({"data": SimpleNamespace(x=X, y=Y)}, TypeError, "got SimpleNamespace: write (data.x, data.y) of it"),
    "two inputs": ({"data": ((X, X), Y)}, ValueError, "data has 2 arrays of 60 rows as x, and there is one x: np.concatenate"),
    "inputs of other widths": ({"validation": ([X, X[:, :1]], Y)}, ValueError, "validation has 2 arrays of 60 rows as x"),
    "empty": ({"data": (X[:0], Y[:0])}, ValueError, "the data set is empty: x has no rows"),
    "nan": ({"data": (with_hole(np.nan), Y)}, ValueError, "values that are nan or infinite, the first at row 7, column 1"),
    "inf": ({"validation": (with_hole(-np.inf), Y)}, ValueError, "x has 2 values that are nan or infinite, the first"),
    "nan in y": ({"data": (X[:2], [0.5, np.nan])}, ValueError, "y has a value that is nan or infinite, the first at row 1"),
    "1-D": ({"data": (Y, Y)}, ValueError, "x must have the shape [n, features], got (60,): x.reshape(-1, 1) for"),
    "text": ({"data": (np.array([["a", "b"]]), Y[:1])}, TypeError, "real numbers, got data of dtype <U1 (text"),
    "ragged": ({"data": ([[1.0], [1.0, 2.0]], Y[:2])}, ValueError, "cannot make an array of a ragged list"),
    "lengths": ({"data": (X, Y[:50])}, ValueError, "x has 60 rows, but y has the shape (50,)"),
    "y a number": ({"data": (X, 1)}, ValueError, "x has 60 rows, but y has the shape ()"),
    "label 2": ({"data": (X, Y + 1)}, ValueError, "labels must be in 0 to 1 for 2 classes, found 2"),
    "label -1": ({"data": (X, Y - 1)}, ValueError, "labels must be in 0 to 1 for 2 classes, found -1"),
    "val label": ({"validation": (X, Y + 1)}, ValueError, "labels must be in 0 to 1 for 2 classes, found 2"),
    "float labels": ({"data": (X, Y * 1.0)}, ShapeError, "class numbers are integers: labels.astype(int)"),
    "column of labels": ({"data": (X, Y[:, None])}, ShapeError, "drop the last axis: labels[..., 0]"),
    "mse": ({"data": (X, Y * 1.0), "loss": "mse_loss"}, ShapeError, "prediction of shape (60, 2), target of shape (60,"),
    "loss": ({"loss": "cross_entrpy"}, ValueError, "unknown loss 'cross_entrpy': did you mean 'cross_entropy'?"),
    "no loss": ({"loss": None}, ValueError, "unknown loss None. There are: binary_cross_entropy_with_logits, "),
    "metric": ({"metrics": ["acuracy"]}, ValueError, "unknown metric 'acuracy': did you mean 'accuracy'?"),
    "metrics text": ({"metrics": "accuracy"}, TypeError, "metrics must be a list of names or functions, got 'accuracy'"),
    "metrics a function": ({"metrics": metrics.accuracy}, TypeError, "metrics must be a list of names or functions, got <"),
    "metrics twice": ({"metrics": [lambda a, b: 0, lambda a, b: 1]}, ValueError, "there are two numbers called '<lambda>'"),
    "metric loss": ({"metrics": [loss]}, ValueError, "there are two numbers called 'loss', and they are recorded by name"),
    "metric list": ({"metrics": [["accuracy"]]}, ValueError, "unknown metric ['accuracy']"),
    "loss of each": ({"loss": functools.partial(cross_entropy, reduction="none")}, ValueError,
                     "loss must return one number for a batch, got the shape (60,): take the mean"),
    "no loss returned": ({"loss": lambda outputs, y: None}, ValueError, "loss must return one number for a batch, got None"),
    "loss a number": ({"loss": lambda outputs, y: cross_entropy(outputs, y).item()}, TypeError,
                      "loss must return a Tensor computed from the outputs, got float: float(), .item(), .data and"),
    "seed": ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
    "seed text": ({"seed": "0"}, TypeError, "seed must be a whole number, got '0'"),
    "width": ({"data": (X[:, :1], Y)}, ShapeError, "layers.0: Linear(2 -> 8) expected input of shape [..., 2], got [60"),
}  # fmt: skip


def test_x_and_y_are_one_argument():
    model = MLP([2, 8, 2], seed=0)
    with pytest.raises(TypeError, match=r"^fit: data is one pair.*: fit\(model, \(x, y\), loss=...\)$"):
        fit(model, X, Y, loss="cross_entropy", optimizer=Adam(model.parameters()), epochs=1)


def test_a_list_of_rows_is_one_input():
    x = [np.float32([i, 1.0]) for i in range(2)]  # arrays as long as there are targets: the widths of a row
    model = MLP([2, 8, 2], seed=0)
    fit(model, (x, [0, 1]), loss="cross_entropy", optimizer=Adam(model.parameters()), epochs=1)


@pytest.mark.parametrize("case", BAD)
def test_mistakes_are_refused_with_what_was_seen(case):
    options, error, sentence = BAD[case]
    model = MLP([2, 8, 2], seed=0)
    before = weights(model)
    with pytest.raises(error, match=re.escape(sentence)):
        train(model=model, **options)
    assert weights(model) == before


@pytest.mark.parametrize("options", [{"metrics": ["acuracy"]}, {"loss": "mse"}, {"data": (X, Y[:5])}, {"validation": X}])
def test_mistakes_in_the_arguments_are_found_before_a_run_begins(options):
    spy, recorder = Spy(), Recorder(None)
    with pytest.raises((ValueError, TypeError)):
        train(callbacks=[spy], recorder=recorder, **options)
    assert not spy.calls
    assert recorder.run.status == "running"


def test_a_label_with_a_typing_error_is_not_counted_to():
    recorder, labels = Recorder(None), Y.copy()
    labels[0] = 20_000_000
    with pytest.raises(ValueError, match="labels must be in 0 to 1 for 2 classes, found 20000000"):
        train((X, labels), recorder=recorder)
    assert "class_counts" not in recorder.meta["data"]


@pytest.mark.parametrize("use", [
    lambda model: predict(model, X),
    lambda model: evaluate(model, DATA, "cross_entropy"),
    lambda model: fit(model, DATA, loss="cross_entropy", optimizer=SGD([Parameter([0.0])], 0.1), epochs=1),
])  # fmt: skip
def test_a_model_is_a_module(use):
    with pytest.raises(TypeError, match=r"model must be a tinynet.Module, got <function .*: write a class with a method"):
        use(lambda x: x)
    with pytest.raises(TypeError, match=r"model has the class MLP where an object is wanted: write MLP\(\.\.\.\)"):
        use(MLP)


def test_evaluate_and_predict_refuse_the_same():
    model = MLP([2, 8, 2], seed=0)
    with pytest.raises(ValueError, match="x has 60 rows, but y has the shape"):
        evaluate(model, (X, Y[:3]), "cross_entropy")
    with pytest.raises(ValueError, match="did you mean 'cross_entropy'"):
        evaluate(model, DATA, "crossentropy")
    with pytest.raises(ValueError, match="the data set is empty"):
        predict(model, X[:0])
    with pytest.raises(ValueError, match=r"x must have the shape \[n, features\], got \(2,\)"):
        predict(model, X[0])
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        predict(model, X, batch_size=0)


@np.errstate(all="ignore")
def test_a_loss_that_explodes_fails_with_the_name_of_the_parameter():
    model, recorder = MLP([2, 8, 2], seed=0), Recorder(None)
    optimizer = SGD(model.named_parameters(), 1e30)
    with pytest.raises(NonfiniteGradientError, match=r"the gradient of 'layers\.\d\.(weight|bias)' has a (nan|infinity)"):
        fit(model, DATA, loss="cross_entropy", optimizer=optimizer, epochs=5, batch_size=16, recorder=recorder)
    assert recorder.run.status == "failed"


# Without fit ----------------------------------------------------------------------------------------------------------


def test_a_loop_by_hand():
    x_train, x_test, y_train, y_test = train_test_split(*moons(400, seed=0), seed=0)
    model = MLP([2, 32, 2], seed=0)
    optimizer = Adam(model.parameters(), lr=1e-2)
    recorder = Recorder(root=None, name="by hand")
    for epoch in range(1, 41):
        for x, y in batches(x_train, y_train, 32, seed=0, epoch=epoch):
            loss = cross_entropy(model(Tensor(x)), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            recorder.log(**{"train/loss": loss.item(), "lr": optimizer.lr})
    recorder.finish()
    assert evaluate(model, (x_test, y_test), "cross_entropy", ["accuracy"])["accuracy"] > 0.9
    assert recorder.run.series("train/loss")[0].tolist() == list(range(1, 401))
    assert recorder.run.last("lr") == 1e-2


def test_a_model_of_ones_own():
    class Line(Module):
        def __init__(self):
            self.slope, self.height = Parameter([[0.0]]), Parameter([0.0])

        def forward(self, x):
            return x @ self.slope + self.height

    x = np.linspace(-1, 1, 40, dtype=np.float32)[:, None]
    model = Line()
    fit(model, (x, 2 * x - 1), loss="mse_loss", optimizer=SGD(model.parameters(), 0.3), epochs=40, batch_size=10)
    assert (model.slope.item(), model.height.item()) == (pytest.approx(2, abs=1e-3), pytest.approx(-1, abs=1e-3))


def test_every_callback_ends_even_if_one_of_them_fails():
    ended = []

    class Ends(Callback):
        def __init__(self, name, fails=False):
            self.name, self.fails = name, fails

        def on_train_end(self, training):
            ended.append(self.name)
            if self.fails:
                raise RuntimeError("a full disk, say")

    model = MLP([2, 4, 2], seed=0)
    callbacks = [Ends("first", fails=True), Ends("second")]
    optimizer = Adam(model.parameters())
    with pytest.raises(RuntimeError, match="a full disk"):
        fit(model, moons(20), loss="cross_entropy", optimizer=optimizer, epochs=1, callbacks=callbacks)
    assert ended == ["first", "second"]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"optimizer": "adam"}, "optimizer must be an optimizer, got 'adam': write optimizers.Adam(model.parameters())"),
        ({"optimizer": "what"}, "optimizer must be an optimizer, got 'what': write optimizers.Adam(model.parameters())"),
        ({"optimizer": 0.1}, "optimizer must be an optimizer, got 0.1: write optimizers.Adam(model.parameters())"),
        ({"recorder": "runs"}, "recorder must be a Recorder, got 'runs': write monitor.Recorder('runs')"),
        ({"recorder": Recorder}, "recorder must be a Recorder, got <class 'monitor.recorder.Recorder'>: write "
                                 "monitor.Recorder('runs')"),
        ({"callbacks": [EarlyStopping]}, "callbacks has the class EarlyStopping where an object is wanted: write "
                                         "EarlyStopping()"),
        ({"callbacks": EarlyStopping()}, "callbacks must be a list, got one EarlyStopping: write [EarlyStopping(...)]"),
        ({"callbacks": ["stop"]}, "callbacks must hold objects with the hooks of monitor.Callback, got 'stop'"),
    ],
)  # fmt: skip
def test_an_object_of_the_wrong_kind_is_answered_with_the_right_call(wrong, sentence):
    model = MLP([2, 8, 2], seed=0)
    options = {"loss": "cross_entropy", "optimizer": Adam(model.parameters()), "epochs": 1, **wrong}
    with pytest.raises(TypeError) as caught:
        fit(model, DATA, **options)
    assert str(caught.value) == sentence
