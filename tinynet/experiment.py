"""One experiment from settings to verdict: load, split, scale, build, train, judge on data never seen, draw.

This is what `tinynet train` runs; in Python, `Experiment(Settings(data="moons")).train()` does the same.
"""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

import optimizers
from monitor import Callback, metrics, pictures
from monitor.pictures.curves import plot_learning_curves
from monitor.recorder import Recorder, Run
from tinynet import datasets, functional
from tinynet.backend import to_device
from tinynet.layers import MLP
from tinynet.naming import lookup
from tinynet.preprocessing import StandardScaler, train_test_split
from tinynet.training import evaluate, fit, predict

# By name: the optimizer, and a learning rate that suits small nets
OPTIMIZERS: dict[str, tuple[type[optimizers.Optimizer], float]] = {
    "sgd": (optimizers.SGD, 0.1),
    "adam": (optimizers.Adam, 3e-3),
    "adamw": (optimizers.AdamW, 3e-3),
    "adagrad": (optimizers.Adagrad, 0.05),
    "adadelta": (optimizers.Adadelta, 2.0),
    "rmsprop": (optimizers.RMSprop, 3e-3),
    "adamax": (optimizers.Adamax, 3e-2),
    "nadam": (optimizers.NAdam, 3e-3),
    "radam": (optimizers.RAdam, 3e-2),
    "adabelief": (optimizers.AdaBelief, 3e-3),
    "lion": (optimizers.Lion, 2e-3),
}
RARE = 5  # a class of fewer examples cannot be in training, validation and test data in proportion
# What the learning rate does in a training of n steps. `make_schedule` says what stands before it.
SCHEDULES: dict[str, Callable[[float, int], optimizers.Schedule]] = {
    "constant": optimizers.Constant,
    "step": lambda lr, n: optimizers.Step(lr, every=max(n // 3, 1)),
    "exponential": lambda lr, n: optimizers.Exponential(lr, gamma=0.01 ** (1 / n)),
    "linear": optimizers.Linear,
    "cosine": optimizers.Cosine,
    "restarts": lambda lr, n: optimizers.CosineRestarts(lr, math.ceil(n / 7), mult=2),
    "onecycle": optimizers.OneCycle,
    "wsd": lambda lr, n: optimizers.WarmupStableDecay(lr, n, warmup=0.0),
}

# What suits each data set, where the user does not say otherwise
DEFAULTS: dict[str, Any] = {
    "hidden": (32, 32),
    "activation": "relu",
    "dropout": 0.0,
    "l2": 0.0,
    "epochs": 100,
    "batch_size": 16,
}
RECIPES: dict[str, dict[str, Any]] = {
    "digits": {"hidden": (256, 128), "dropout": 0.3, "l2": 1e-4, "epochs": 80, "batch_size": 64},
    "checkerboard": {"hidden": (64, 64), "epochs": 200},
    "spirals": {"hidden": (64, 64)},
    "sine": {"activation": "tanh", "epochs": 200},
}


@dataclass
class Settings:
    """Everything that `tinynet train` lets one choose; None takes what suits the data set (RECIPES) and the optimizer."""

    data: str = "digits"
    n: int | None = None
    noise: float | None = None
    target: str | None = None
    task: str = "auto"
    drop: Sequence[str] = ()
    hidden: Sequence[int] | None = None
    activation: str | None = None
    dropout: float | None = None
    optimizer: str = "adam"
    lr: float | None = None
    momentum: float | None = None
    schedule: str = "cosine"
    warmup: int = 0
    l1: float = 0.0
    l2: float | None = None
    clip: float | None = None
    epochs: int | None = None
    batch_size: int | None = None
    seed: int = 0
    device: str = "cpu"

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Settings:
        """The settings in a run's config."""
        known = {field.name: config[field.name] for field in fields(cls) if field.name in config}
        if known.get("hidden") is not None:
            known["hidden"] = tuple(known["hidden"])  # a list in JSON
        return cls(**known)


class Experiment:
    """A data set split into training (60 %), validation (20 %) and test data (20 %), and a model to be trained on it.

    The split is stratified by class (classes with fewer than RARE examples count as one). Inputs in raw
    units (from files; iris) are standardised by the training data's mean and spread, as are the targets of a regression.
    Columns of text are 0 and 1 for the categories of the training data; `unseen` has those that only other examples have.
    """

    def __init__(self, settings: Settings):
        recipe = {**DEFAULTS, **({"l2": 0.01} if settings.optimizer == "adamw" else {}), **RECIPES.get(settings.data, {})}
        s: Any = replace(settings, **{k: v for k, v in recipe.items() if getattr(settings, k) is None})
        self.settings = s
        _check(s)
        self._loaded = d = datasets.load(
            s.data, n=s.n, noise=s.noise, seed=s.seed, target=s.target, task=s.task, drop=s.drop
        )
        self.classifies = d.task == "classification"
        self.rare: list[str] = []  # the names of classes with fewer than RARE examples
        self.unseen: dict[str, list[str]] = {}  # of columns of text, the categories that no training example has
        self.not_drawn: dict[str, str] = {}  # by the name of a picture's file, why `draw` left it out
        self.dataset = d = self._split(d)
        sizes = [d.x.shape[1], *s.hidden, d.outputs]
        self.model = MLP(sizes, activation=s.activation, dropout=s.dropout, seed=s.seed).to(s.device)
        self.steps = -(-len(self.train_data[0]) // s.batch_size) * s.epochs
        self.optimizer = self._optimizer(self.steps)
        self.loss = functional.cross_entropy if self.classifies else functional.mse_loss
        self.metrics = ("accuracy",) if self.classifies else ("r2_score",)

    def _split(self, d: datasets.Dataset) -> datasets.Dataset:
        """Make the three parts; the data set with the categories of the training data."""
        strata = None
        if self.classifies:  # classes too rare to be in all parts are spread over them together
            count = np.bincount(d.y)
            self.rare = [name for name, n in zip(d.classes, count, strict=True) if n < RARE]
            strata = np.where(count[d.y] < RARE, -1, d.y)
        rows = train_test_split(np.arange(len(d.y)), d.y, 0.2, 0.2, strata, self.settings.seed)[:3]
        learnt = d.with_categories_of(rows[0])
        unseen = {column: sorted({*names} - {*learnt.categories[column]}) for column, names in d.categories.items()}
        self.unseen = {column: names for column, names in unseen.items() if names}
        (x_train, y_train), (x_val, y_val), (x_test, y_test) = ((learnt.x[part], d.y[part]) for part in rows)
        self.x_scaler = StandardScaler().fit(x_train) if d.raw_units else None
        if self.x_scaler:  # what stands for categories stays 0 and 1
            self.x_scaler.mean_[learnt.numbers :], self.x_scaler.scale_[learnt.numbers :] = 0, 1
        self.y_scaler = StandardScaler().fit(y_train) if d.raw_units and not self.classifies else None
        if self.x_scaler:
            x_train, x_val, x_test = map(self.x_scaler.transform, (x_train, x_val, x_test))
        if self.y_scaler:
            y_train, y_val, y_test = map(self.y_scaler.transform, (y_train, y_val, y_test))
        self.train_data, self.val_data, self.test_data = (x_train, y_train), (x_val, y_val), (x_test, y_test)
        return learnt

    def _optimizer(self, steps: int) -> optimizers.Optimizer:
        s = self.settings
        make, usual_lr = lookup("optimizer", s.optimizer, OPTIMIZERS)
        self.lr = usual_lr if s.lr is None else s.lr
        options: dict[str, Any] = {}
        if s.momentum is not None:
            if "momentum" not in inspect.signature(make).parameters:
                raise ValueError(f"momentum is for sgd and rmsprop; {s.optimizer} has its own averages")
            options["momentum"] = s.momentum
        decoupled = make.decay == "decoupled"  # l2 is then its own weight decay
        if s.l1:
            options["penalty"] = optimizers.L1(s.l1) if decoupled or not s.l2 else optimizers.ElasticNet(s.l1, s.l2)
        if decoupled or (s.l2 and not s.l1):
            options["weight_decay"] = s.l2
        if s.clip is not None:
            options["clip"] = optimizers.ClipNorm(s.clip)
        if not 0 <= s.warmup < steps:
            raise ValueError(f"warmup must be at least 0 and less than the {steps} steps of this training, got {s.warmup}")
        if not 0 <= self.lr < math.inf:
            raise ValueError(f"lr must be non-negative and finite, got {self.lr}")
        schedule = make_schedule(s.schedule, self.lr, steps, s.warmup)
        return make(self.model.named_parameters(), lr=schedule, **options)

    # Train, judge, draw -----------------------------------------------------------------------------------------------

    def train(
        self,
        recorder: Recorder | None = None,
        callbacks: Sequence[Any] = (),
        resume: Mapping[str, Any] | None = None,
        watch: int | None = None,
    ) -> Run:
        """Train, and judge on the test data, recording it all; with `resume`, go on from that checkpoint (see fit).

        Numbers that overflow are an error (the optimizer's, or Finite's), not a warning on every line.

        watch: record the layers' gradients, updates and outputs, and rho, every so many steps, and histograms of their
            weights and gradients ten times less often (monitor/watch.py). None for not at all.
        """
        recorder = Recorder(root=None, name=self.dataset.name) if recorder is None else recorder
        recorder.describe(
            layers=[repr(layer) for layer in self.model.layers],
            parameters=sum(p.size for p in self.model.parameters()),
            backend=self.settings.device,
            data={
                "name": self.dataset.name,
                "shape": self.dataset.x.shape,
                "fingerprint": self.fingerprint(),
                "sizes": {"test": len(self.test_data[0])},
            },
        )
        if watch is not None:
            recorder.watch(self.model, every=watch, histograms=10 * watch, rho=10 * watch)
        with np.errstate(over="ignore", invalid="ignore"):
            run = fit(
                self.model,
                self.train_data,
                loss=self.loss,
                optimizer=self.optimizer,
                epochs=self.settings.epochs,
                batch_size=self.settings.batch_size,
                validation=self.val_data,
                metrics=self.metrics,
                callbacks=[*callbacks, Finite()],
                recorder=recorder,
                seed=self.settings.seed,
                resume=resume,
            )
            recorder.describe(test=self.judge(), **({"confusion": self.confusion()} if self.classifies else {}))
        return run

    @property
    def usual_watch(self) -> int:
        """How many steps apart `tinynet train` looks into the layers: a hundred times in all, at most every tenth step."""
        return max(self.steps // 100, 10)

    def config(self) -> dict[str, Any]:
        """The settings as they were used, for run.json."""
        learnt = {"categories": self.dataset.categories} if self.dataset.categories else {}
        return {**asdict(self.settings), **learnt, "lr": self.lr, "optimizer_full": repr(self.optimizer)}

    def fingerprint(self) -> str:
        """A hash of the data: two runs with the same one saw the same numbers, however they were split."""
        digest = hashlib.sha256()
        for array in (self._loaded.x, self._loaded.y):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    def outputs(self, x: np.ndarray) -> np.ndarray:
        """What the model answers: class probabilities, or targets in their own units."""
        with np.errstate(over="ignore", invalid="ignore"):  # of a net that broke down
            raw = to_device(predict(self.model, x), "cpu")
            if self.classifies:
                return functional.softmax(raw)
        return raw if self.y_scaler is None else self.y_scaler.inverse_transform(raw)

    def _answer(self, x: np.ndarray) -> np.ndarray:
        """outputs(x), for inputs in the units of the file; FloatingPointError if they are not all finite."""
        outputs = self.outputs(self.x_scaler.transform(x) if self.x_scaler else x)
        if not np.isfinite(outputs).all():
            raise FloatingPointError("the network answers nan or infinity somewhere in it")
        return outputs

    def judge(self) -> dict[str, Any]:
        """Scores on the test data, beside those of a model that has learnt nothing."""
        x, y = self.test_data
        scores = {"loss": evaluate(self.model, self.test_data, self.loss)["loss"], "examples": len(x)}
        outputs = self.outputs(x)
        if self.classifies:
            predicted = outputs.argmax(axis=1)
            most_common = np.bincount(self.train_data[1]).argmax()
            return {
                **scores,
                "accuracy": metrics.accuracy(y, predicted),
                "baseline_accuracy": float(np.mean(y == most_common)),
                "macro_f1": metrics.f1_score(y, predicted, average="macro", labels=range(self.dataset.outputs)),
            }
        true = y if self.y_scaler is None else self.y_scaler.inverse_transform(y)
        finite = np.isfinite(outputs).all()
        return {
            **scores,
            "r2_score": metrics.r2_score(true, outputs) if finite else math.nan,
            "mean_absolute_error": metrics.mean_absolute_error(true, outputs) if finite else math.nan,
            "baseline_mean_absolute_error": metrics.mean_absolute_error(true, np.full_like(true, np.median(true))),
        }

    def confusion(self) -> dict[str, Any]:
        """{"labels": the classes' names, "counts": how many test examples of class i (row) were taken for class j}."""
        true, predicted = self.test_predictions()
        counts = metrics.confusion_matrix(true, predicted, labels=range(self.dataset.outputs))
        return {"labels": [str(name) for name in self.dataset.classes], "counts": counts}

    def test_predictions(self) -> tuple[np.ndarray, np.ndarray]:
        """(true classes, predicted classes) of the test data."""
        return self.test_data[1], self.outputs(self.test_data[0]).argmax(axis=1)

    def draw(self, run: Run, folder: Path) -> list[Path]:
        """Save the pictures that fit the task: learning curves, confusions, decision boundary, fitted curve.

        A picture in which the network has no finite answer is left out, and `not_drawn` says so.
        """
        self.not_drawn, drawn = {}, []
        for name, plot in self._plots(run).items():
            try:
                plot().savefig(folder / name)
                drawn.append(folder / name)
            except FloatingPointError as error:
                self.not_drawn[name] = str(error)
        return drawn

    def _plots(self, run: Run) -> dict[str, Callable[[], Any]]:
        """For each picture's file, the function that makes the figure."""
        plots: dict[str, Callable[[], Any]] = {"curves.png": lambda: plot_learning_curves(run)}
        if self.classifies:
            true, predicted = self.test_predictions()
            plots["confusion.png"] = lambda: pictures.plot_confusion_matrix(true, predicted, self.dataset.classes)
        x, y = (np.concatenate(parts) for parts in zip(self.train_data, self.test_data, strict=True))
        if self.x_scaler:  # drawn in the units of the file
            x = self.x_scaler.inverse_transform(x)
        if (
            self.classifies
            and x.shape[1] == self.dataset.numbers == 2
            and np.ptp(x, axis=0).all()
            and self.dataset.outputs <= 20
        ):
            plots["boundary.png"] = lambda: pictures.plot_decision_boundary(self._answer, x, y, self.dataset.name)
        if not self.classifies and x.shape[1] == y.shape[1] == 1:
            true = y if self.y_scaler is None else self.y_scaler.inverse_transform(y)
            plots["fit.png"] = lambda: pictures.plot_fit(self._answer, x, true, self.dataset.name)
        return plots


def make_schedule(name: str, lr: float, steps: int, warmup: int = 0) -> optimizers.Schedule | float:
    """The learning rate over a training of `steps` steps.

    constant: lr throughout; step: a tenth of it after each third; exponential: falling steadily to a hundredth; linear and
    cosine: falling to 0; restarts: three cosines, each twice as long as the one before; onecycle: up to lr and down again;
    wsd: constant, and falling to 0 in the last fifth. A warm-up rises to lr first.
    """
    schedule = lookup("schedule", name, SCHEDULES)(lr, max(steps - warmup, 1))
    return optimizers.Warmup(warmup) >> schedule if warmup else schedule


class Finite(Callback):
    """Fail when the loss is no longer a number: the last step of a training has no gradient to show it."""

    def on_epoch_end(self, training: Any) -> None:
        for name in ("train/loss", "val/loss"):
            value = training.logs.get(name, 0.0)
            if not math.isfinite(value):
                raise FloatingPointError(f"{name} is {value} after epoch {training.epoch}. Lower the learning rate")


def _check(s: Settings) -> None:
    """The numbers that no other part would refuse, or only in words of its own."""
    for name, value in (("epochs", s.epochs), ("batch size", s.batch_size)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if s.seed < 0:
        raise ValueError(f"seed must be at least 0, got {s.seed}")
    if any(size < 1 for size in s.hidden or ()):
        raise ValueError(f"hidden layers must have at least 1 unit each, got {','.join(map(str, s.hidden or ()))}")
    if s.dropout is not None and not 0 <= s.dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), got {s.dropout}")
    for name, strength in (("l1", s.l1), ("l2", s.l2)):
        if strength is not None and not 0 <= strength < math.inf:
            raise ValueError(f"{name} must be non-negative and finite, got {strength}")
