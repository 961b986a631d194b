"""Data to learn on: seeded toy problems, two small real sets that ship with the package, and the user's own files.

The functions answer `(x, y)`: inputs [n, features] in the default dtype, and class numbers [n] or targets [n, 1].
`load` finds any of them by name, or reads a CSV or NPZ file, and answers a `Dataset` that also knows its task and names.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tinynet.backend import get_default_dtype
from tinynet.naming import lookup

Pair = tuple[np.ndarray, np.ndarray]


class DataError(ValueError):
    """A data set or file cannot be used; the message says where and why."""


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


def checkerboard(n: int = 500, noise: float = 0.05, seed: int = 0, cells: int = 4) -> Pair:
    """A chessboard of cells x cells fields on [-1, 1]^2, coloured alternately 0 and 1."""
    generator, _ = _labels(n, 2, noise, seed)
    x = generator.uniform(-1, 1, (n, 2))
    field = np.floor((x + 1) / 2 * cells).astype(np.int64)
    return _noisy(x, field.sum(axis=1) % 2, noise, generator)


def sine(n: int = 300, noise: float = 0.1, seed: int = 0) -> Pair:
    """y = sin(2 pi x) + noise on [-1, 1]: a regression with 1 feature."""
    generator, _ = _labels(n, 1, noise, seed)
    x = generator.uniform(-1, 1, (n, 1))
    y = np.sin(2 * math.pi * x) + noise * generator.standard_normal((n, 1))
    return x.astype(get_default_dtype()), y.astype(get_default_dtype())


def _labels(n: int, classes: int, noise: float, seed: int) -> tuple[np.random.Generator, np.ndarray]:
    """The generator, and class numbers as even as they can be, in random order."""
    if not isinstance(n, int | np.integer) or n < classes:
        raise DataError(f"n must be an integer of at least one example per class ({classes}), got {n!r}")
    if not 0 <= noise < math.inf:
        raise DataError(f"noise must be non-negative, got {noise!r}")
    generator = np.random.default_rng(seed)
    return generator, generator.permutation(np.arange(n) % classes)


def _noisy(x: np.ndarray, y: np.ndarray, noise: float, generator: np.random.Generator) -> Pair:
    return (x + noise * generator.standard_normal(x.shape)).astype(get_default_dtype()), y.astype(np.int64)


# Real -----------------------------------------------------------------------------------------------------------------


def digits() -> Pair:
    """1,797 handwritten digits of 8 x 8 pixels: x [1797, 64] from 0 (white) to 1 (ink), y 0 to 9.

    E. Alpaydin and C. Kaynak (1998), UCI Machine Learning Repository, doi 10.24432/C50P49, CC BY 4.0; see data/README.md.
    """
    with np.load(Path(__file__).parent / "data" / "digits.npz") as file:
        return file["images"].reshape(-1, 64).astype(get_default_dtype()) / 16, file["labels"].astype(np.int64)


def iris() -> Pair:
    """150 irises of three species: x [150, 4] in centimetres (sepal length and width, petal length and width), y 0 to 2.

    R. A. Fisher (1936), UCI Machine Learning Repository, doi 10.24432/C56C76, CC BY 4.0; see data/README.md.
    """
    with np.load(Path(__file__).parent / "data" / "iris.npz") as file:
        return file["measurements"].astype(get_default_dtype()), file["labels"].astype(np.int64)


# By name, or from a file ----------------------------------------------------------------------------------------------


@dataclass
class Dataset:
    """Inputs and targets with what is known about them."""

    name: str
    x: np.ndarray
    y: np.ndarray
    task: str  # "classification" (y: class numbers [n]) or "regression" (y: numbers [n, outputs])
    classes: list[str] = field(default_factory=list)  # the name of each class
    features: list[str] = field(default_factory=list)  # the name of each input
    from_file: bool = False  # then units are unknown, and inputs want scaling

    @property
    def outputs(self) -> int:
        """How many outputs a model needs: one per class, or one per target."""
        return len(self.classes) if self.task == "classification" else self.y.shape[1]


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
) -> Dataset:
    """The data set of that name, or the CSV or NPZ file at that path.

    `n`, `noise` and `seed` are for generated sets; `target` names the column (CSV) or array (NPZ) to predict; `task` is
    "classification", "regression" or "auto" (text and whole numbers of at most 20 kinds are classes).
    """
    path = Path(name)
    if path.suffix.lower() in (".csv", ".tsv", ".npz") or path.exists():
        if n is not None or noise is not None:
            raise DataError(f"{name} is a file: the number of examples and the noise can only be chosen for generated data")
        return read_npz(path, target, task) if path.suffix.lower() == ".npz" else read_csv(path, target, task)
    make = lookup("data set", name, {**GENERATED, **REAL})
    if target is not None:
        raise DataError(f"--target is for your own files; {name} comes with its targets")
    if name in REAL:
        if n is not None or noise is not None:
            raise DataError(f"{name} is real data: it has no number of examples and no noise to choose")
        x, y = make()
    else:
        x, y = make(seed=seed, **{k: v for k, v in (("n", n), ("noise", noise)) if v is not None})
    if y.dtype.kind == "f":
        return Dataset(name, x, y, "regression")
    classes = IRIS if name == "iris" else [str(c) for c in range(int(y.max()) + 1)]
    return Dataset(name, x, y, "classification", classes)


def read_csv(path: str | Path, target: str | None = None, task: str = "auto") -> Dataset:
    """A table with a header line, separated by commas, semicolons or tabs; all columns but the target are inputs.

    Without `target`, the last column is the target. Errors name the line and the column.
    """
    path = Path(path)
    rows = _rows(path)
    header, body = rows[0][1], rows[1:]
    if not body:
        raise DataError(f"{path} has a header but no rows of data")
    wanted = header[-1] if target is None else target
    if wanted not in header:
        try:
            lookup("column", wanted, dict.fromkeys(header))
        except ValueError as error:
            raise DataError(f"{path}: {error}") from None
    at = header.index(wanted)
    features = [name for i, name in enumerate(header) if i != at]
    if not features:
        raise DataError(f"{path} has only the column {wanted!r}: there are no inputs to learn from")
    for line, cells in body:
        if len(cells) != len(header):
            raise DataError(f"{path}, line {line}: {len(cells)} fields, but the header has {len(header)}")
    x = np.array(
        [[_cell(path, line, header[i], cell) for i, cell in enumerate(cells) if i != at] for line, cells in body]
    )
    y, task, classes = _target([cells[at].strip() for _, cells in body], wanted, task, path)
    return Dataset(path.stem, x.astype(get_default_dtype()), y, task, classes, features, from_file=True)


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """(line number, fields) of every line that is not blank; the first is the header."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"there is no file {str(path)!r}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text: {error}") from None
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(text.splitlines(), delimiter=delimiter)
    rows = [(reader.line_num, fields) for fields in reader if any(cell.strip() for cell in fields)]
    if not rows:
        raise DataError(f"{path} is empty")
    rows[0] = (rows[0][0], [cell.strip() for cell in rows[0][1]])
    if all(_is_number(cell) for cell in rows[0][1]):
        raise DataError(f"{path}: the first line must name the columns, but it holds numbers: {', '.join(rows[0][1][:4])}")
    return rows


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _cell(path: Path, line: int, column: str, cell: str) -> float:
    if not _is_number(cell):
        what = "is empty" if not cell.strip() else f"{cell.strip()!r} is not a finite number"
        raise DataError(
            f"{path}, line {line}, column {column!r}: {what}. Inputs must be numbers: encode or drop the column, "
            "and fill in or drop what is missing"
        )
    return float(cell)


def _target(cells: list[str], name: str, task: str, path: Path) -> tuple[np.ndarray, str, list[str]]:
    """Targets as numbers, the task, and the names of the classes."""
    if task not in ("auto", "classification", "regression"):
        raise DataError(f"task must be auto, classification or regression, got {task!r}")
    if any(cell == "" for cell in cells):
        raise DataError(f"{path}: the target column {name!r} has an empty cell in data row {cells.index('') + 1}")
    numbers = all(_is_number(cell) for cell in cells)
    if task == "auto":
        whole = numbers and all(float(cell).is_integer() for cell in cells)
        task = "regression" if numbers and not (whole and len(set(cells)) <= 20) else "classification"
    if task == "regression":
        if not numbers:
            odd = next(cell for cell in cells if not _is_number(cell))
            raise DataError(f"{path}: the target {name!r} has {odd!r}, which is not a number, so it is no regression")
        return np.array(cells, float).astype(get_default_dtype())[:, None], task, []
    classes = sorted(set(cells), key=float if numbers else str)
    if len(classes) < 2:
        raise DataError(f"{path}: every example has the target {classes[0]!r}: there is nothing to tell apart")
    number = {label: i for i, label in enumerate(classes)}
    return np.array([number[cell] for cell in cells]), task, classes


def read_npz(path: str | Path, target: str | None = None, task: str = "auto") -> Dataset:
    """A NumPy archive with inputs [n, ...] and targets [n] or [n, k]; `target` names the targets' array.

    Without `target`, the archive must hold the arrays x and y (or X and y).
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise DataError(f"there is no file {str(path)!r}") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as an archive of plain arrays: {error}") from None
    y_name = target or "y"
    others = [name for name in arrays if name != y_name]
    x_name = next((name for name in ("x", "X") if name in others), others[0] if len(others) == 1 else None)
    if y_name not in arrays or x_name is None:
        raise DataError(
            f"{path} holds the arrays {', '.join(arrays) or '(none)'}: name the targets' with --target; "
            "the inputs must be called x, or be the only other array"
        )
    x, y = arrays[x_name], arrays[y_name]
    if x.dtype.kind not in "fiub" or x.ndim < 1 or len(x) != len(y) or y.ndim not in (1, 2):
        raise DataError(
            f"{path}: expected numbers {x_name} [n, ...] and {y_name} [n] or [n, k], "
            f"got {x.dtype} {x.shape} and {y.dtype} {y.shape}"
        )
    x = x.reshape(len(x), -1).astype(get_default_dtype())
    if y.ndim == 2 and y.shape[1] > 1:
        if task == "classification":
            raise DataError(f"{path}: class numbers must have the shape [n], {y_name} has {y.shape}")
        return Dataset(path.stem, x, y.astype(get_default_dtype()), "regression", from_file=True)
    y, task, classes = _target([str(value) for value in y.reshape(-1).tolist()], y_name, task, path)
    return Dataset(path.stem, x, y, task, classes, from_file=True)
