"""The monitor serves loops that are not tinynet's: a hand-written NumPy one, and, where it is installed, PyTorch's.

A loop hands its callbacks an object with the attributes that monitor/callbacks.py lists; that object is `Training` here.
"""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import monitor
from monitor import Checkpoint, EarlyStopping, Progress, Recorder, Run, load_checkpoint, plot_learning_curves
from monitor.metrics import accuracy


class Training:
    """All that a callback needs to know of a loop."""

    def __init__(self, model, optimizer, recorder, epochs, batches):
        self.model, self.optimizer, self.recorder = model, optimizer, recorder
        self.epochs, self.batches = epochs, batches
        self.epoch = self.step = 0
        self.logs = {}
        self.reason = None

    def stop(self, reason):
        self.reason = reason


def train(training, callbacks, one_epoch, evaluate):
    """A loop of one's own: `one_epoch()` makes the updates, `evaluate()` answers the numbers to record."""

    def each(hook):
        for callback in callbacks:
            getattr(callback, hook)(training)

    try:
        each("on_train_begin")
        for epoch in range(1, training.epochs + 1):
            each("on_epoch_begin")
            for _ in one_epoch():
                training.step += 1
                each("on_batch_end")
            training.epoch, training.logs = epoch, evaluate()
            training.recorder.event("eval", training.step, training.logs, epoch)
            each("on_epoch_end")
            if training.reason:
                training.recorder.note(training.reason)
                break
    finally:
        each("on_train_end")


def halves(seed=0, n=60):
    """Two noisy classes in the plane: training and validation, few of them, so that a long training overfits."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2 * n, 8))
    y = (x[:, 0] + x[:, 1] + 2.0 * rng.normal(size=2 * n) > 0).astype(int)
    return (x[:n], y[:n]), (x[n:], y[n:])


def check(path, best_loss, evaluate):
    """What every loop's run must hold; the model is now the best one, and so is the checkpoint called best."""
    run = Run.open(path)
    assert run.status == "finished"
    steps, epochs, losses = run.points("val/loss")
    assert epochs.tolist() == list(range(1, len(steps) + 1))
    assert len(epochs) < 200  # stopped early
    assert losses.argmin() == len(losses) - 1 - 5  # 5 epochs of patience
    assert run.last("train/loss") < losses.min()
    notes = [event["d"]["text"] for event in run.events if event["k"] == "note"]
    assert notes == [f"val/loss has not improved on {losses.min():.4g} (epoch {losses.argmin() + 1}) for 5 epochs"]
    assert evaluate()["val/loss"] == losses.min() == best_loss
    best, last = load_checkpoint(path, "best"), load_checkpoint(path, "last")
    assert (best["epoch"], best["step"]) == (losses.argmin() + 1, steps[losses.argmin()])
    assert (last["epoch"], last["step"]) == (len(epochs), steps[-1])
    plot_learning_curves(run)
    return best, last


# NumPy ------------------------------------------------------------------------------------------------------------------


class Logistic:
    """Logistic regression; the parameters are changed in place, and state_dict() hands them out as they are."""

    def __init__(self, features):
        self.w, self.b = np.zeros(features), np.zeros(())

    def state_dict(self):
        return {"w": self.w, "b": self.b}

    def load_state_dict(self, state):
        self.w[...], self.b[...] = state["w"], state["b"]

    def probability(self, x):
        return 1 / (1 + np.exp(-(x @ self.w + self.b)))

    def loss(self, x, y):
        p = np.clip(self.probability(x), 1e-12, 1 - 1e-12)
        return float(-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)))


class Momentum:
    def __init__(self, model, lr):
        self.model, self.lr = model, lr
        self.velocity = {name: np.zeros_like(value) for name, value in model.state_dict().items()}

    def step(self, gradients):
        for name, value in self.model.state_dict().items():
            self.velocity[name][...] = 0.9 * self.velocity[name] + gradients[name]
            value -= self.lr * self.velocity[name]

    def state_dict(self):
        return {"lr": self.lr, "state": {"velocity": self.velocity}}

    def load_state_dict(self, state):
        self.lr = state["lr"]
        for name, value in state["state"]["velocity"].items():
            self.velocity[name][...] = value


def test_a_numpy_loop_of_ones_own(tmp_path):
    (x, y), (x_val, y_val) = halves()
    model = Logistic(8)
    optimizer = Momentum(model, lr=0.02)

    def one_epoch():
        for start in range(0, len(x), 20):
            rows = slice(start, start + 20)
            error = model.probability(x[rows]) - y[rows]
            optimizer.step({"w": x[rows].T @ error / len(error), "b": error.mean()})
            yield

    def evaluate():
        score = accuracy(y_val, (model.probability(x_val) > 0.5).astype(int))
        losses = {"train/loss": model.loss(x, y), "val/loss": model.loss(x_val, y_val)}
        return {**losses, "val/accuracy": score, "lr": optimizer.lr}

    stopping, console = EarlyStopping(patience=5), Console(file=io.StringIO(), force_terminal=False, width=200)
    with Recorder(tmp_path, name="logistic", config={"lr": 0.02}) as recorder:
        training = Training(model, optimizer, recorder, epochs=200, batches=3)
        train(training, [Progress(console), Checkpoint(every=10), stopping], one_epoch, evaluate)
    best, last = check(recorder.path, stopping.best.value, evaluate)
    np.testing.assert_array_equal(best["model"]["w"], model.w)
    assert best["model"]["b"].shape == ()
    assert "epoch   1/200" in console.file.getvalue()

    other = Logistic(8)
    going_on = Momentum(other, lr=1.0)
    other.load_state_dict(last["model"])
    going_on.load_state_dict(last["optimizer"])
    assert going_on.lr == 0.02
    np.testing.assert_array_equal(going_on.velocity["w"], optimizer.velocity["w"])
    assert not np.array_equal(other.w, model.w)  # the last is not the best


def test_the_monitor_needs_no_other_package_of_the_house(tmp_path):
    code = """
import sys
class Absent:
    def find_spec(self, name, *_):
        if name.split(".")[0] in ("tinynet", "optimizers"):
            raise ImportError(name)
sys.meta_path.insert(0, Absent())
import monitor
with monitor.Recorder(sys.argv[1]) as recorder:
    recorder.log(loss=1.0)
assert monitor.load_runs(sys.argv[1])[0].last("loss") == 1.0
assert not {"tinynet", "optimizers"} & set(sys.modules)
"""
    root = Path(monitor.__file__).parent.parent
    subprocess.run([sys.executable, "-W", "error", "-c", code, str(tmp_path)], check=True, cwd=root)


# PyTorch ----------------------------------------------------------------------------------------------------------------


def test_a_pytorch_loop(tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    (x, y), (x_val, y_val) = (tuple(map(torch.tensor, part)) for part in halves())
    x, x_val = x.float(), x_val.float()
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.BatchNorm1d(16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    loss = torch.nn.functional.cross_entropy

    def one_epoch():
        model.train()
        for start in range(0, len(x), 20):
            optimizer.zero_grad()
            value = loss(model(x[start : start + 20]), y[start : start + 20])
            value.backward()
            optimizer.step()
            recorder.log(batch_loss=value)  # a tensor of one element, with its graph
            yield

    def evaluate():
        model.eval()
        with torch.no_grad():
            return {"train/loss": loss(model(x), y).item(), "val/loss": loss(model(x_val), y_val).item()}

    stopping = EarlyStopping(patience=5)
    with Recorder(tmp_path, name="torch") as recorder:
        training = Training(model, optimizer, recorder, epochs=200, batches=3)
        train(training, [Checkpoint(every=10), stopping], one_epoch, evaluate)
    best, last = check(recorder.path, stopping.best.value, evaluate)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(best["model"][name], value.numpy())
        assert best["model"][name].shape == tuple(value.shape)  # that of num_batches_tracked is ()
    assert last["optimizer"]["param_groups"][0]["lr"] == 0.02
    assert set(last["optimizer"]["state"]["0"]) == {"step", "exp_avg", "exp_avg_sq"}
    assert len(Run.open(recorder.path).series("batch_loss")[0]) == training.step
