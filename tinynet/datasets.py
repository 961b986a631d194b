"""Data to learn on: seeded toy problems, two small real sets that ship with the package, and the user's own files.

The functions answer `(x, y)`: inputs [n, features] in the default dtype, and class numbers [n] or targets [n, 1], on the
default device (use_device). `load` finds any of them by name, or reads a CSV or NPZ file, and answers a `Dataset` that also
knows its task and names; its arrays are on the host.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tinynet.backend import get_default_dtype, placed, use_device
from tinynet.naming import lookup
from tinynet.readers import DataError, Dataset, read_csv, read_npz

Pair = tuple[np.ndarray, np.ndarray]


# Generated ------------------------------------------------------------------------------------------------------------


def moons(n: int = 500, noise: float = 0.2, seed: int = 0) -> Pair:
    """Two interleaved half circles, n points in all, moved by normal noise: 2 features, 2 classes."""
    generator, y = _labels(n, 2, noise, seed)
    angle = generator.uniform(0, math.pi, n)
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    lower = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], axis=1)
    return _noisy(np.where(y[:, None] == 0, upper, lower), y, noise, generator)


def circles(n: int = 500, noise: float = 0.1, seed: int = 0) -> Pair:
    """A circle of radius 1 (class 0) around one of radius 1/2 (class 1)."""
    generator, y = _labels(n, 2, noise, seed)
    angle = generator.uniform(0, 2 * math.pi, n)
    radius = np.where(y == 0, 1.0, 0.5)
    return _noisy(radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1), y, noise, generator)


def blobs(n: int = 500, noise: float = 0.5, seed: int = 0, classes: int = 3) -> Pair:
    """Round clouds, one per class, around the corners of a regular polygon of radius 2; noise is their spread."""
    generator, y = _labels(n, classes, noise, seed)
    angle = 2 * math.pi * y / classes
    return _noisy(2 * np.stack([np.cos(angle), np.sin(angle)], axis=1), y, noise, generator)


def spirals(n: int = 500, noise: float = 0.05, seed: int = 0, classes: int = 2) -> Pair:
    """Interleaved spirals of one and a quarter turns, one per class: needs a bent boundary."""
    generator, y = _labels(n, classes, noise, seed)
    along = np.sqrt(generator.uniform(0.02, 1, n))
    angle = 2.5 * math.pi * along + 2 * math.pi * y / classes
    return _noisy(along[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1), y, noise, generator)


def xor(n: int = 500, noise: float = 0.1, seed: int = 0) -> Pair:
    """The square [-1, 1]^2; class 1 where exactly one coordinate is positive. No line separates them."""
    return checkerboard(n, noise, seed, cells=2)


def checkerboard(n: int = 1000, noise: float = 0.05, seed: int = 0, cells: int = 4) -> Pair:
    """A chessboard of cells x cells fields on [-1, 1]^2, coloured alternately 0 and 1."""
    generator, _ = _labels(n, 2, noise, seed)
    x = generator.uniform(-1, 1, (n, 2))
    field = np.floor((x + 1) / 2 * cells).astype(np.int64)
    return _noisy(x, field.sum(axis=1) % 2, noise, generator)


def sine(n: int = 300, noise: float = 0.1, seed: int = 0) -> Pair:
    """y = sin(pi x) + noise on [-1, 1]: a regression with 1 feature."""
    generator, _ = _labels(n, 1, noise, seed)
    x = generator.uniform(-1, 1, (n, 1))
    y = np.sin(math.pi * x) + noise * generator.standard_normal((n, 1))
    return placed(x.astype(get_default_dtype())), placed(y.astype(get_default_dtype()))


def _labels(n: int, classes: int, noise: float, seed: int) -> tuple[np.random.Generator, np.ndarray]:
    """The generator, and class numbers as even as they can be, in random order."""
    if not isinstance(n, int | np.integer) or n < classes:
        raise DataError(f"n must be an integer of at least one example per class ({classes}), got {n!r}")
    if not 0 <= noise < math.inf:
        raise DataError(f"noise must be non-negative and finite, got {noise!r}")
    if seed < 0:
        raise DataError(f"seed must be non-negative, got {seed!r}")
    generator = np.random.default_rng(seed)
    return generator, generator.permutation(np.arange(n) % classes)


def _noisy(x: np.ndarray, y: np.ndarray, noise: float, generator: np.random.Generator) -> Pair:
    x = x + noise * generator.standard_normal(x.shape)
    return placed(x.astype(get_default_dtype())), placed(y.astype(np.int64))


# Real -----------------------------------------------------------------------------------------------------------------


def digits() -> Pair:
    """1,797 handwritten digits of 8 x 8 pixels: x [1797, 64] from 0 (white) to 1 (ink), y 0 to 9.

    E. Alpaydin and C. Kaynak (1998), UCI Machine Learning Repository, doi 10.24432/C50P49, CC BY 4.0; see data/README.md.
    """
    with np.load(Path(__file__).parent / "data" / "digits.npz") as file:
        x, y = file["images"].reshape(-1, 64).astype(get_default_dtype()) / 16, file["labels"].astype(np.int64)
    return placed(x), placed(y)


def iris() -> Pair:
    """150 irises of three species: x [150, 4] in centimetres (sepal length and width, petal length and width), y 0 to 2.

    R. A. Fisher (1936), UCI Machine Learning Repository, doi 10.24432/C56C76, CC BY 4.0; see data/README.md.
    """
    with np.load(Path(__file__).parent / "data" / "iris.npz") as file:
        x, y = file["measurements"].astype(get_default_dtype()), file["labels"].astype(np.int64)
    return placed(x), placed(y)


# By name, or from a file ------------------------------------------------------------------------------------------------

GENERATED: dict[str, Callable[..., Pair]] = {
    f.__name__: f for f in (moons, circles, blobs, spirals, xor, checkerboard, sine)
}
REAL: dict[str, Callable[..., Pair]] = {"digits": digits, "iris": iris}
IRIS = ["setosa", "versicolor", "virginica"]


def load(
    name: str,
    *,
    n: int | None = None,
    noise: float | None = None,
    seed: int = 0,
    target: str | None = None,
    task: str = "auto",
    drop: Sequence[str] = (),
) -> Dataset:
    """The data set of that name, or the CSV or NPZ file at that path.

    The name of a data set comes before a file of that name (which is ./name).

    `n`, `noise` and `seed` are for generated sets; `target` names the column (CSV) or array (NPZ) to predict; `task` is
    "classification", "regression" or "auto" (text and whole numbers of at most 20 kinds are classes); `drop` names columns
    (CSV) to leave out.
    """
    path = Path(name)
    known = {**GENERATED, **REAL}
    if path.suffix.lower() in (".csv", ".tsv", ".npz") or (name not in known and path.exists()):
        if n is not None or noise is not None:
            raise DataError(f"{name} is a file: the number of examples and the noise can only be chosen for generated data")
        if path.suffix.lower() != ".npz":
            return read_csv(path, target, task, drop)
        if drop:
            raise DataError(f"drop is for the columns of a table; leave out columns of {name} when you save it")
        return read_npz(path, target, task)
    make = _find(name, known)
    for option, value, usual in (("target", target, None), ("task", task, "auto"), ("drop", list(drop), [])):
        if value != usual:
            raise DataError(f"{option} is for your own files; {name} comes with its targets")
    if name in REAL and (n is not None or noise is not None):
        raise DataError(f"{name} is real data: it has no number of examples and no noise to choose")
    chosen = {} if name in REAL else {k: v for k, v in (("n", n), ("noise", noise), ("seed", seed)) if v is not None}
    with use_device("cpu"):
        x, y = make(**chosen)
    if y.dtype.kind == "f":
        return Dataset(name, x, y, "regression")
    if name == "iris":
        return Dataset(name, x, y, "classification", IRIS, raw_units=True)
    return Dataset(name, x, y, "classification", [str(c) for c in range(int(y.max()) + 1)])


def _find(name: str, known: dict[str, Callable[..., Pair]]) -> Callable[..., Pair]:
    try:
        return lookup("data set", name, known)
    except ValueError as error:
        raise DataError(f"{error} (or give the path of your own CSV or NPZ file)") from None
