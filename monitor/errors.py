"""Where a model is wrong: its most confident mistakes, what it takes for what, whether its confidence can be trusted.

    analysis = error_analysis(model, x_test, y_test)       # or its outputs instead of the model
    print(analysis)                                        # a page of text
    analysis.plot().savefig("errors.png")                  # the mistakes themselves, and what was confused

A look at the examples that a model gets wrong tells more than one more digit of its accuracy: wrong labels, two classes
that cannot be told apart, a kind of input that training never saw. For predicted numbers it is the largest residuals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from monitor import metrics
from monitor.arrays import on_host
from monitor.metrics.inputs import classes_of, positions, ratio, target_pair
from monitor.outputs import answers, probabilities

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 15  # of confidence, as in Guo et al. 2017
ROWS = 10  # of a printed table
TASKS = ("auto", "classification", "regression")


class Mistake(NamedTuple):
    """Row `example` of the data is of class number `true`, and the model says `predicted`, with `confidence`."""

    example: int
    true: int
    predicted: int
    confidence: float


class Confusion(NamedTuple):
    """How often examples of class `true` were taken for class `predicted`, and which share of that class it is."""

    true: int
    predicted: int
    times: int
    share: float


class Residual(NamedTuple):
    """A prediction that is off by `residual` = true - predicted; `column` of the target, 0 where there is only one."""

    example: int
    column: int
    true: float
    predicted: float
    residual: float


def error_analysis(
    model_or_outputs: Any,
    x: Any,
    y: Any,
    class_names: Sequence[Any] | None = None,
    k: int = 16,
    *,
    task: str = "auto",
    outputs_are: str = "auto",
) -> ErrorAnalysis | ResidualAnalysis:
    """What goes wrong on the examples (x, y): an ErrorAnalysis for classes, a ResidualAnalysis for numbers.

    `model_or_outputs` is a function from x to outputs (a model with layers answers in evaluation mode), or the outputs:
    [n, classes], or one column for two classes; probabilities or logits, see outputs.py for `outputs_are`. `y` holds class
    numbers [n], or the targets. `x` may be None if only the outputs matter. `k` is how many mistakes to keep. task="auto"
    takes whole numbers beside several columns, and nothing but 0 and 1 beside one column, for classes.

    >>> scores = [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]]
    >>> analysis = error_analysis(scores, None, [0, 1, 0], ["cat", "dog"])
    >>> analysis.mistakes, analysis.confused
    ([Mistake(example=2, true=0, predicted=1, confidence=0.7)], [Confusion(true=0, predicted=1, times=1, share=0.5)])
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ValueError(f"k must be a whole number of mistakes to keep, 1 or more, got {k!r}")
    if task not in TASKS:
        raise ValueError(f"task must be 'auto', 'classification' or 'regression', got {task!r}")
    if callable(model_or_outputs) and x is None:
        raise ValueError("x is needed to ask the model; it may be None only if outputs are given")
    outputs, y = answers(model_or_outputs, x), on_host(y)
    inputs = None if x is None else on_host(x)
    if not y.size:
        raise ValueError("there are no examples: y is empty")
    for name, rows in (("outputs has", outputs), ("x has", inputs)):
        if rows is not None and (rows.ndim < 1 or len(rows) != len(y)):
            raise ValueError(f"{name} {rows.shape[0] if rows.ndim else 'no'} rows, y has {len(y)}")
    if task == "classification" or (task == "auto" and _holds_classes(outputs, y)):
        return _of_classes(probabilities(outputs, outputs_are), inputs, y.reshape(-1), class_names, int(k))
    return _of_targets(outputs, inputs, y, int(k))


def _holds_classes(outputs: np.ndarray, y: np.ndarray) -> bool:
    if y.dtype.kind in "biuUSO" and outputs.ndim == 2 and outputs.shape[1] > 1 and y.size == len(y):
        return True
    return outputs.size == y.size == len(y) and set(np.unique(y).tolist()) <= {0, 1}


# Classes --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Calibration:
    """Whether the model is right as often as it is sure: a model at 90 % confidence should be right in 90 % of cases.

    The predictions are sorted into bins by their confidence, the probability of the predicted class: bin b of B is
    ((b - 1) / B, b / B]. Per bin: how many, their mean confidence, the share that is right (nan where there are none).
    `error` is the expected calibration error, sum count / n * |accuracy - confidence| (Naeini et al. 2015; Guo et al.
    2017), `largest_error` the largest of the differences. Chance alone makes bins of few examples differ: a perfectly
    calibrated model with the same confidences would show an error of about `noise`, and hardly ever one above `limit`
    (its mean, and two standard deviations more, the number of right answers in a bin being about normal).
    """

    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    error: float
    largest_error: float
    noise: float
    limit: float

    @property
    def verdict(self) -> str:
        """In words: too sure, not sure enough, or neither beyond what chance would do."""
        if self.error <= self.limit:
            return "no more than chance would do"
        filled = self.counts > 0
        too_sure = float(np.sum(self.counts[filled] * (self.confidence - self.accuracy)[filled]))
        return "it is too sure of itself" if too_sure > 0 else "it could be surer of itself"


def calibration(confidence: Any, correct: Any, bins: int = BINS) -> Calibration:
    """The Calibration of predictions [n] made with a `confidence` in [0, 1]; `correct` says which of them are right.

    >>> answer = calibration([0.9, 0.9, 0.6, 0.6], [True, True, True, False], bins=10)
    >>> round(answer.error, 3), round(answer.largest_error, 3)
    (0.1, 0.1)
    """
    confidence, correct = np.asarray(confidence, float), np.asarray(correct, bool)
    if confidence.shape != correct.shape or confidence.ndim != 1 or not confidence.size:
        raise ValueError(f"confidence and correct must be [n] alike, got {confidence.shape} and {correct.shape}")
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise ValueError(f"confidence must be in [0, 1], got {confidence.min():.4g} to {confidence.max():.4g}")
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    at = np.clip(np.ceil(np.round(confidence * bins, 9)) - 1, 0, bins - 1).astype(int)

    def per_bin(values: np.ndarray) -> np.ndarray:
        return np.bincount(at, values, minlength=bins)

    counts = np.bincount(at, minlength=bins)
    empty = np.where(counts > 0, 1.0, np.nan)
    mean, right = (per_bin(values) / np.maximum(counts, 1) * empty for values in (confidence, correct.astype(float)))
    gaps = np.abs(mean - right)[counts > 0]
    variance = per_bin(confidence * (1 - confidence))  # of the number of right answers, were the confidences true
    noise = np.minimum(np.sqrt(2 / np.pi * variance), 2 * variance).sum() / len(confidence)
    limit = noise + 2 * np.sqrt((1 - 2 / np.pi) * variance.sum()) / len(confidence)
    error = float(counts[counts > 0] @ gaps / len(confidence))
    return Calibration(counts, mean, right, error, float(gaps.max()), float(noise), float(limit))


@dataclass(frozen=True)
class ErrorAnalysis:
    """The mistakes of a classifier; see error_analysis. Classes are numbers, `names` what to call them.

    `mistakes` are the k of which it was surest, the surest first; `confused` all pairs (true, predicted), the most
    frequent first; `report` precision, recall, F1 and support per class, as classification_report answers them.
    """

    n: int
    accuracy: float
    mistakes: list[Mistake]
    mistakes_in_all: int
    confused: list[Confusion]
    report: dict[int, dict[str, Any]]
    calibration: Calibration
    names: list[str]
    x: np.ndarray | None = None

    def __str__(self) -> str:
        blocks = [
            f"{self.n:,} examples, {self.mistakes_in_all:,} mistakes: accuracy {self.accuracy:.2%}",
            self._text_of_mistakes(),
            self._text_of_confusions(),
            self._text_of_classes(),
            self._text_of_calibration(),
        ]
        return "\n\n".join(block for block in blocks if block)

    def _text_of_mistakes(self) -> str:
        rows = [
            [f"{m.example:,}", self.names[m.true], self.names[m.predicted], f"{m.confidence:.1%}"] for m in self.mistakes
        ]
        which = "" if len(rows) == self.mistakes_in_all else f", {len(rows)} of {self.mistakes_in_all:,}"
        return _table(f"The surest mistakes{which}", ["example", "true", "predicted", "confidence"], rows, "><<>")

    def _text_of_confusions(self) -> str:
        rows = [
            [self.names[c.true], self.names[c.predicted], f"{c.times:,}", f"{c.share:.1%}"] for c in self.confused[:ROWS]
        ]
        which = "" if len(rows) == len(self.confused) else f", {len(rows)} of {len(self.confused):,} pairs"
        header = ["true", "taken for", "times", "of its examples"]
        return _table(f"Most often confused{which}", header, rows, "<<>>")

    def _text_of_classes(self) -> str:
        worst = sorted(self.report, key=lambda c: self.report[c]["f1-score"])[: 3 * ROWS]
        rows = [
            [
                self.names[c],
                *(f"{value:.4f}" for value in list(self.report[c].values())[:3]),
                f"{self.report[c]['support']:,}",
            ]
            for c in sorted(worst)
        ]
        which = "" if len(rows) == len(self.report) else f", the {len(rows)} of {len(self.report):,} with the lowest F1"
        return _table(f"Classes{which}", ["", "precision", "recall", "f1-score", "support"], rows, "<>>>>")

    def _text_of_calibration(self) -> str:
        c, bins = self.calibration, len(self.calibration.counts)
        rows = [
            [
                f"{b / bins:.0%} to {(b + 1) / bins:.0%}",
                f"{c.counts[b]:,}",
                f"{c.confidence[b]:.1%}",
                f"{c.accuracy[b]:.1%}",
            ]
            for b in np.flatnonzero(c.counts)
        ]
        chance = f"chance alone: about {c.noise:.1%}, hardly above {c.limit:.1%}"
        title = f"Calibration: confidence and accuracy are {c.error:.1%} apart ({chance}): {c.verdict}"
        return _table(title, ["confidence", "examples", "mean", "right"], rows, ">>>>")

    def plot(self, images: Any = None, *, style: str = "paper") -> Figure:
        """The surest mistakes as a grid, the most frequent confusions as bars, and the calibration.

        An example is drawn as an image if its inputs are [height, width] (or with colours in the last axis) or a square
        number of them in a row (64 is 8 by 8), else as a profile of its inputs. `images` [n, ...] are drawn instead of x.
        """
        from monitor.pictures import errors as drawn

        return drawn.of_classes(self, images, style)


def _of_classes(scores: np.ndarray, x: np.ndarray | None, y: np.ndarray, class_names: Any, k: int) -> ErrorAnalysis:
    classes = scores.shape[1]
    names = [str(name) for name in (range(classes) if class_names is None else class_names)]
    if len(names) != classes:
        raise ValueError(f"there are {classes} classes, but {len(names)} class_names")
    true = _class_numbers(y, names)
    predicted, confidence = scores.argmax(axis=1), scores.max(axis=1)
    wrong = np.flatnonzero(predicted != true)
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")][:k]
    counts = metrics.confusion_matrix(true, predicted, labels=range(classes))
    return ErrorAnalysis(
        n=len(true),
        accuracy=metrics.accuracy(true, predicted),
        mistakes=[Mistake(int(i), int(true[i]), int(predicted[i]), float(confidence[i])) for i in surest],
        mistakes_in_all=len(wrong),
        confused=_confused(counts),
        report=_report(true, predicted, names),
        calibration=calibration(np.minimum(confidence, 1.0), predicted == true),
        names=names,
        x=x,
    )


def _class_numbers(y: np.ndarray, names: list[str]) -> np.ndarray:
    """y as numbers of the columns of the outputs; text is looked up among the names."""
    true = classes_of("y", y)
    if true.dtype.kind in "US":
        found = positions(np.array(names), true)
        if (found < 0).any():
            raise ValueError(f"y has the class {str(true[found < 0][0])!r}, which is none of the class_names, {names}")
        return found
    if true.min() < 0 or true.max() >= len(names):
        raise ValueError(
            f"y has classes {true.min()} to {true.max()}, but the outputs are of classes 0 to {len(names) - 1}"
        )
    return true.astype(int)


def _confused(counts: np.ndarray) -> list[Confusion]:
    """All pairs off the diagonal, the most frequent first, in the order of the classes where they are alike."""
    totals = counts.sum(axis=1)
    pairs = [(int(i), int(j)) for i, j in np.argwhere(counts) if i != j]
    pairs.sort(key=lambda pair: -counts[pair])
    return [Confusion(i, j, int(counts[i, j]), float(counts[i, j] / totals[i])) for i, j in pairs]


def _report(true: np.ndarray, predicted: np.ndarray, names: list[str]) -> dict[int, dict[str, Any]]:
    labels = range(len(names))
    columns = metrics.precision_recall_fscore_support(true, predicted, labels=labels)
    titles = ("precision", "recall", "f1-score", "support")
    return {
        c: dict(zip(titles, (value.item() for value in row), strict=True))
        for c, row in zip(labels, zip(*columns, strict=True), strict=True)
    }


# Numbers --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ResidualAnalysis:
    """The errors of predicted numbers; see error_analysis. A residual is true - predicted.

    `worst` are the k largest, each in units of its column's root mean square. Per column of the target: `bias` (the mean
    residual), `mean_absolute_error`, `root_mean_squared_error`, `r2_score`; `trend`, the correlation of the residual with
    the prediction (0 if nothing is left to learn along it), and `fan`, that of its size (above 0 where large predictions
    are further off than small ones); both nan where predictions or residuals are all alike. `predicted` and `residual`
    are [n, columns].
    """

    n: int
    worst: list[Residual]
    bias: np.ndarray
    mean_absolute_error: np.ndarray
    root_mean_squared_error: np.ndarray
    r2_score: np.ndarray
    trend: np.ndarray
    fan: np.ndarray
    predicted: np.ndarray
    residual: np.ndarray
    x: np.ndarray | None = None

    def __str__(self) -> str:
        header = ["column", "R2", "mean |error|", "root mean square", "bias", "trend", "fan"]
        per_column = zip(
            self.r2_score,
            self.mean_absolute_error,
            self.root_mean_squared_error,
            self.bias,
            self.trend,
            self.fan,
            strict=True,
        )
        rows = [[str(c), *(f"{value:.4g}" for value in values)] for c, values in enumerate(per_column)][: 3 * ROWS]
        which = "" if len(rows) == len(self.bias) else f", the first {len(rows)} of {len(self.bias):,} columns"
        worst = [
            [f"{r.example:,}", str(r.column), *(f"{value:.5g}" for value in (r.true, r.predicted, r.residual))]
            for r in self.worst
        ]
        return "\n\n".join(
            [
                f"{self.n:,} examples, residual = true - predicted",
                _table(f"Errors{which}", header, rows, ">" * 7),
                _table("The largest residuals", ["example", "column", "true", "predicted", "residual"], worst, ">" * 5),
            ]
        )

    def plot(self, images: Any = None, *, style: str = "paper") -> Figure:
        """Residuals over predictions, how they are spread, and the inputs of the worst (see ErrorAnalysis.plot)."""
        from monitor.pictures import errors as drawn

        return drawn.of_targets(self, images, style)


def _of_targets(outputs: np.ndarray, x: np.ndarray | None, y: np.ndarray, k: int) -> ResidualAnalysis:
    if y.size != outputs.size or (y.shape != outputs.shape and y.size != len(y)):
        raise ValueError(
            f"y has the shape {y.shape}, the outputs {outputs.shape}: targets must be alike (for classes, y must be class "
            "numbers [n]: task='classification')"
        )
    n = len(y)
    true, predicted, _ = target_pair(y.reshape(n, -1), outputs.reshape(n, -1))
    residual = true - predicted
    size = np.abs(residual) / np.maximum(np.sqrt(np.square(residual).mean(axis=0)), 1e-300)
    at = np.argsort(-size, axis=None, kind="stable")[:k]
    worst = [
        Residual(int(i), int(c), float(true[i, c]), float(predicted[i, c]), float(residual[i, c]))
        for i, c in zip(*np.unravel_index(at, size.shape), strict=True)
    ]
    each: dict[str, Any] = {"multioutput": "raw_values"}
    return ResidualAnalysis(
        n=n,
        worst=worst,
        bias=residual.mean(axis=0),
        mean_absolute_error=metrics.mean_absolute_error(true, predicted, **each),
        root_mean_squared_error=metrics.root_mean_squared_error(true, predicted, **each),
        r2_score=metrics.r2_score(true, predicted, **each),
        trend=_correlation(predicted, residual),
        fan=_correlation(predicted, np.abs(residual)),
        predicted=predicted,
        residual=residual,
        x=x,
    )


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's r of every column of a with that of b; nan where one of them is constant."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    spread = np.sqrt(np.square(a).sum(axis=0) * np.square(b).sum(axis=0))
    return ratio((a * b).sum(axis=0), spread, np.nan)


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    """A title and, indented, columns as wide as they need to be; nothing if there are no rows. Text from a run is data."""
    if not rows:
        return ""
    cells = [[_plain(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(f"{c:{a}{w}}" for c, a, w in zip(row, align, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([title, *("  " + line for line in lines)])


def _plain(text: str, width: int = 24) -> str:
    """On one line, without control characters, not too long."""
    line = "".join(c if c.isprintable() else " " for c in text)
    return line if len(line) <= width else line[: width - 1] + "…"
