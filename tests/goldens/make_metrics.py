"""Records scikit-learn's scores, for tests that then need no scikit-learn.

    python tests/goldens/make_metrics.py    # writes metrics.json beside this file

It needs NumPy and scikit-learn. The file holds the versions and, per case, the labels or targets themselves and what
scikit-learn answers for them, so that reading it depends on nothing else. Cases are drawn from a fixed seed.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

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
        "confusion_matrix": sk.confusion_matrix(true, pred).tolist(),
        "support": sk.precision_recall_fscore_support(true, pred, zero_division=0)[3].tolist(),
    }
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
    warnings.filterwarnings("ignore", "A single label was found")  # meant to be
    rng = np.random.default_rng(0)
    regression = {"mean_absolute_error": sk.mean_absolute_error, "mean_squared_error": sk.mean_squared_error}
    regression["r2_score"] = sk.r2_score
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
    }
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    FILE.write_text(text.replace('{"name"', '\n{"name"') + "\n")  # one case per line, for readable differences
    print(f"wrote {FILE.name}: {len(text):,} bytes, scikit-learn {sklearn.__version__}")


if __name__ == "__main__":
    main()
