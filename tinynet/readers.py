"""The user's own data: CSV tables and NPZ archives, read into a Dataset.

A file is read whole or refused with the line and column that stand in the way; nothing is guessed, filled in or dropped.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tinynet.backend import get_default_dtype
from tinynet.naming import lookup


class DataError(ValueError):
    """A data set or file cannot be used; the message says where and why."""


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
    x = np.array([[_cell(path, line, header[i], cell) for i, cell in enumerate(cells) if i != at] for line, cells in body])
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
