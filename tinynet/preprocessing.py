"""Before training: splitting and scaling, with scikit-learn's names.

A scaler is fitted on the training data only, and then applied to all of it; whatever is learnt from validation or test
data makes their score too good.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from tinynet.backend import as_array, get_default_dtype


def train_test_split(
    x: Any,
    y: Any,
    test_size: float = 0.2,
    validation_size: float = 0.0,
    stratify: Any = None,
    seed: int = 0,
) -> tuple[np.ndarray, ...]:
    """Split at random: (x_train, x_test, y_train, y_test), or with `validation_size` the three-way
    (x_train, x_val, x_test, y_train, y_val, y_test).

    Sizes are shares of the whole. `stratify` takes class labels [n] (usually y): each part then has every class in the same
    proportion, as nearly as whole examples and the sizes allow.
    """
    x, y = np.asarray(x), np.asarray(y)
    if not x.ndim or not y.ndim:
        raise ValueError(f"x and y must have one row per example, got the shapes {x.shape} and {y.shape}")
    if len(x) != len(y):
        raise ValueError(f"x has {len(x)} rows and y has {len(y)}")
    if not (0 < test_size < 1 and 0 <= validation_size < 1 and test_size + validation_size < 1):
        raise ValueError(
            f"sizes are shares of the data: test_size in (0, 1) and validation_size in [0, 1), less than 1 together; "
            f"got {test_size} and {validation_size}"
        )
    labels = np.zeros(len(x), int) if stratify is None else np.asarray(stratify)
    if labels.shape != (len(x),):
        raise ValueError(f"stratify must have one label per row, shape ({len(x)},), got shape {labels.shape}")
    position = _positions(labels, np.random.default_rng(seed))
    test = position < test_size
    validation = ~test & (position < test_size + validation_size)
    parts = [~(test | validation), *([validation] if validation_size else []), test]
    if not all(part.any() for part in parts):
        raise ValueError(
            f"{len(x)} examples are too few to split into shares of test_size={test_size} and {validation_size=}"
        )
    return (*(x[part] for part in parts), *(y[part] for part in parts))


def _positions(labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """For each example a place in (0, 1): evenly spread, those of each class too, in random order."""
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        position[members] = (generator.permutation(len(members)) + 0.5) / len(members)
    order = np.lexsort((generator.random(len(labels)), position))  # so that any cut leaves the share of the whole
    position[order] = (np.arange(len(labels)) + 0.5) / len(labels)
    return position


class StandardScaler:
    """(x - mean) / standard deviation, per column; a constant column becomes 0.

    Computed in float64: the mean of many float32 numbers far from 0 would otherwise be off by more than their spread.
    """

    mean_: np.ndarray
    scale_: np.ndarray

    def fit(self, x: Any) -> Self:
        x = _floats(x)
        if not len(x):
            raise ValueError(f"{type(self).__name__}: there are no rows to learn the scale from")
        constant = x.max(axis=0) == x.min(axis=0)  # asked for exactly: rounding gives constants a tiny spread
        offset, spread = self._offset_and_spread(x.astype(np.float64))
        self.mean_ = np.where(constant, x[0], offset)
        self.scale_ = np.where(constant | (spread == 0), 1.0, spread)
        return self

    def _offset_and_spread(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return x.mean(axis=0), x.std(axis=0)

    def transform(self, x: Any) -> np.ndarray:
        x = self._fitting(x)
        return ((x - self.mean_) / self.scale_).astype(x.dtype)

    def fit_transform(self, x: Any) -> np.ndarray:
        return self.fit(x).transform(x)

    def inverse_transform(self, z: Any) -> np.ndarray:
        z = self._fitting(z)
        return (z * self.scale_ + self.mean_).astype(z.dtype)

    def _fitting(self, x: Any) -> np.ndarray:
        """x as an array of floats with the columns that the scaler was fitted on; no others are broadcast to them."""
        if not hasattr(self, "mean_"):
            raise ValueError(f"{type(self).__name__}: call fit(x) with the training data first")
        x = _floats(x)
        if x.shape[1:] != self.mean_.shape:
            raise ValueError(
                f"{type(self).__name__} was fitted on rows of shape {self.mean_.shape}, got rows of shape {x.shape[1:]}"
            )
        return x


class MinMaxScaler(StandardScaler):
    """(x - least) / (most - least), per column, so that the training data fill [0, 1]."""

    def _offset_and_spread(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return x.min(axis=0), np.ptp(x, axis=0)


def _floats(x: Any) -> np.ndarray:
    """An array of floats; whole numbers become the default dtype, since a scaled column has fractions."""
    x = as_array(x)
    return x if x.dtype.kind == "f" else x.astype(get_default_dtype())
