"""Records scikit-learn's scores, for tests that then need no scikit-learn.

    python tests/goldens/make_metrics.py    # writes metrics.json beside this file

It needs NumPy and scikit-learn. The file holds the versions and, per case, the labels or targets themselves and what
scikit-learn answers for them, so that reading it depends on nothing else. Cases are drawn from a fixed seed.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).with_name("metrics.json")
AVERAGES = ("macro", "weighted", "micro", None)


def labelled(rng: np.random.Generator) -> dict[str, tuple[list, list]]:
    """Pairs (y_true, y_pred) by name."""

    def noisy(true: np.ndarray, classes: int, share: float) -> np.ndarray:
        return np.where(rng.random(true.size) < share, rng.integers(0, classes, true.size), true)

    balanced, skewed = rng.integers(0, 4, 60), rng.choice(5, 80, p=[0.7, 0.2, 0.06, 0.03, 0.01])
    binary = rng.integers(0, 2, 50)
    names = np.array(["cat", "dog", "emu"])[rng.integers(0, 3, 30)]
    pairs = {
        "balanced": (balanced, noisy(balanced, 4, 0.3)),
        "skewed": (skewed, noisy(skewed, 5, 0.2)),
        "binary": (binary, noisy(binary, 2, 0.4)),
        "never predicted": (np.array([0, 1, 2, 2, 1]), np.array([0, 0, 2, 2, 0])),
        "never true": (np.array([0, 0, 1, 1]), np.array([0, 2, 1, 2])),
        "all wrong": (np.array([0, 1, 0, 1]), np.array([1, 0, 1, 0])),
        "one class": (np.array([1, 1, 1]), np.array([1, 1, 1])),
        "one example": (np.array([3]), np.array([5])),
        "names": (names, rng.permutation(names)),
        "negative": (np.array([-1, 1, 1, -1, -1]), np.array([-1, 1, -1, -1, 1])),
    }
    return {name: (true.tolist(), pred.tolist()) for name, (true, pred) in pairs.items()}


def targets(rng: np.random.Generator) -> dict[str, tuple[list, list]]:
    true, wide = rng.normal(size=40), rng.normal(size=(25, 3)) * [1, 100, 0.01]
    pairs = {
        "one column": (true, true + 0.3 * rng.normal(size=40)),
        "three columns": (wide, wide + 0.1 * rng.normal(size=wide.shape)),
        "worse than the mean": (true, -true),
        "perfect": (true, true),
        "constant and wrong": (np.ones(5), np.arange(5.0)),
        "constant and right": (np.ones(5), np.ones(5)),
        "one column constant": (
            np.stack([np.ones(6), np.arange(6.0)], 1),
            np.stack([np.ones(6), np.arange(6.0) ** 1.1], 1),
        ),
        "far from zero": (1e6 + true, 1e6 + true + 0.1 * rng.normal(size=40)),
    }
    return {name: (a.tolist(), b.tolist()) for name, (a, b) in pairs.items()}


def scored(rng: np.random.Generator) -> dict[str, tuple[list, list]]:
    """Pairs (y_true, y_score): one column for two classes, probabilities [n, classes] for more; many ties."""
    binary, four = rng.integers(0, 2, 40), rng.permutation(np.arange(60) % 4)
    rows = rng.random((60, 4)).round(1) + 0.05 + np.eye(4)[four]
    pairs = {
        "good": (binary, (0.5 * binary + rng.random(40) / 2).round(2)),
        "with ties": (binary, (0.3 * binary + rng.random(40) / 2).round(1)),
        "all tied": (binary, np.full(40, 0.5)),
        "upside down": (binary, 1.0 - binary),
        "sure and wrong": (np.array([0, 1, 1]), np.array([1.0, 0.0, 1.0])),
        "four classes": (four, rows / rows.sum(axis=1, keepdims=True)),
    }
    return {name: (true.tolist(), score.tolist()) for name, (true, score) in pairs.items()}


def scores_of(true: Any, score: Any) -> dict[str, object]:
    """scikit-learn's scores of scores; keys are "score" or "score/argument/value/argument/value"."""
    from sklearn import metrics as sk

    true, score = np.array(true), np.array(score)
    found: dict[str, object] = {"log_loss": sk.log_loss(true, score), "brier_score": sk.brier_score_loss(true, score)}
    if np.ndim(score) == 1:
        found |= {
            "roc_auc": sk.roc_auc_score(true, score),
            "roc_auc/max_fpr/0.3": sk.roc_auc_score(true, score, max_fpr=0.3),
        }
        found["average_precision"] = sk.average_precision_score(true, score)
        for name in ("roc_curve", "precision_recall_curve"):
            found[name] = [np.where(np.isinf(part), 1e9, part).tolist() for part in getattr(sk, name)(true, score)]
        return found
    for average in ("macro", "weighted", "micro"):
        found[f"average_precision/average/{average}"] = sk.average_precision_score(true, score, average=average)
        for kind in ("ovr", "ovo") if average != "micro" else ("ovr",):
            how = {"multi_class": kind, "average": average}
            found[f"roc_auc/multi_class/{kind}/average/{average}"] = sk.roc_auc_score(true, score, **how)
    return found | {f"top_k_accuracy/k/{k}": sk.top_k_accuracy_score(true, score, k=k) for k in (1, 2, 3)}


def plain(value: object) -> object:
    """Arrays as lists, and nan as the string that JSON can hold."""
    if isinstance(value, list | np.ndarray):
        return [plain(item) for item in value]
    number = float(value)
    return "nan" if np.isnan(number) else number


def answers(true: list, pred: list) -> dict[str, object]:
    """scikit-learn's scores; keys are "score/average/zero_division"."""
    from sklearn import metrics as sk

    found: dict[str, object] = {
        "accuracy": sk.accuracy_score(true, pred),
        "balanced_accuracy": sk.balanced_accuracy_score(true, pred),
        "matthews_corrcoef": sk.matthews_corrcoef(true, pred),
        "cohen_kappa": plain(sk.cohen_kappa_score(true, pred)),
        "confusion_matrix": sk.confusion_matrix(true, pred).tolist(),
        "support": sk.precision_recall_fscore_support(true, pred, zero_division=0)[3].tolist(),
    }
    if any(a == b for a, b in zip(true, pred, strict=True)):  # else it prints counts with decimals
        found["report"] = sk.classification_report(true, pred, zero_division=0)
    scores = {"precision": sk.precision_score, "recall": sk.recall_score, "f1_score": sk.f1_score}
    for name, score in scores.items():
        for zero in (0.0, 1.0, np.nan):
            for average in AVERAGES + (("binary",) if set(true) | set(pred) <= {0, 1} else ()):
                found[f"{name}/{average}/{zero}"] = plain(score(true, pred, average=average, zero_division=zero))
    return found


def main() -> None:
    import sklearn
    from sklearn import metrics as sk

    warnings.simplefilter("error")
    for meant in ("A single label was found", "y_pred contains classes not", "`y2` cont", "`y1`, `y2` and"):
        warnings.filterwarnings("ignore", meant)
    rng = np.random.default_rng(0)
    regression = {"mean_absolute_error": sk.mean_absolute_error, "mean_squared_error": sk.mean_squared_error}
    regression["r2_score"] = sk.r2_score
    regression["root_mean_squared_error"] = sk.root_mean_squared_error
    regression["median_absolute_error"] = sk.median_absolute_error
    regression["explained_variance"] = sk.explained_variance_score
    content = {
        "made_by": "tests/goldens/make_metrics.py",
        "versions": {"scikit-learn": sklearn.__version__, "numpy": np.__version__},
        "classification": [
            {"name": name, "y_true": true, "y_pred": pred, "answers": answers(true, pred)}
            for name, (true, pred) in labelled(rng).items()
        ],
        "regression": [
            {"name": name, "y_true": a, "y_pred": b, "answers": {k: float(f(a, b)) for k, f in regression.items()}}
            for name, (a, b) in targets(rng).items()
        ],
        "scores": [
            {"name": name, "y_true": true, "y_score": score, "answers": scores_of(true, score)}
            for name, (true, score) in scored(rng).items()
        ],
    }
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    FILE.write_text(text.replace('{"name"', '\n{"name"') + "\n")  # one case per line, for readable differences
    print(f"wrote {FILE.name}: {len(text):,} bytes, scikit-learn {sklearn.__version__}")


if __name__ == "__main__":
    main()
