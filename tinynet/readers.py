"""The user's own data: CSV tables and NPZ archives, read into a Dataset.

A file is read whole or refused with the line and column that stand in the way; nothing is guessed, filled in or dropped.
"""

from __future__ import annotations

import io
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tinynet.backend import get_default_dtype
from tinynet.naming import lookup

TABLES = (".csv", ".tsv", ".txt")  # the names of files that nobody wonders to see read as tables


class DataError(ValueError):
    """A data set or file cannot be used; the message says where and why."""


@dataclass
class Dataset:
    """Inputs and targets with what is known about them.

    Numbers from files are float64: a date in seconds is exact in it, and in float32 only once it is scaled.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    task: str  # "classification" (y: class numbers [n]) or "regression" (y: numbers [n, outputs])
    classes: list[str] = field(default_factory=list)  # the name of each class
    features: list[str] = field(default_factory=list)  # the name of each input
    raw_units: bool = False  # centimetres, dollars ...: inputs want scaling, and so do the targets of a regression

    @property
    def outputs(self) -> int:
        """How many outputs a model needs: one per class, or one per target."""
        return len(self.classes) if self.task == "classification" else self.y.shape[1]


def read_csv(path: str | Path, target: str | None = None, task: str = "auto") -> Dataset:
    """A table with a header line, separated by commas, semicolons or tabs; all columns but the target are inputs.

    Without `target`, the last column is the target. Errors name the line and the column.
    """
    path = Path(path)
    try:
        return _read_table(path, target, task)
    except DataError as error:
        if path.suffix.lower() in TABLES or not path.is_file():
            raise
        raise DataError(str(error).replace(str(path), f"{path} is read as CSV:", 1).replace(":, ", ": ", 1)) from None


def _read_table(path: Path, target: str | None, task: str) -> Dataset:
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
            raise DataError(f"{path}, line {line}: {_count(len(cells), 'field')}, but the header has {len(header)}")
    x = [[_cell(path, line, header[i], cell) for i, cell in enumerate(cells) if i != at] for line, cells in body]
    answers = [(f"line {line}", cells[at].strip()) for line, cells in body]
    y, task, classes = _target(answers, wanted, task, path)
    return Dataset(path.stem, _as_floats(path, np.array(x), features), y, task, classes, features, raw_units=True)


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """(line number, fields) of every line that is not blank; the first is the header."""
    _check_is_file(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            text = file.read()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not a table in UTF-8 text (byte {error.start} is no character): save it as CSV UTF-8"
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    rows = list(_records(path, text))
    if not rows:
        raise DataError(f"{path} is empty")
    rows[0] = (rows[0][0], [cell.strip() for cell in rows[0][1]])
    _check_header(path, rows[0][1])
    return rows


def _check_is_file(path: Path) -> None:
    if path.is_dir():
        raise DataError(f"{str(path)!r} is a folder: name a CSV or NPZ file in it")
    if not path.exists():
        raise DataError(f"there is no file {str(path)!r}")


def _records(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """(number of its first line, fields) of every record that is not blank."""
    import csv

    first = next((line for line in text.splitlines() if line.strip()), "")
    outside_quotes = re.sub(r'"[^"]*"', "", first)
    delimiter = max(",;\t", key=outside_quotes.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    line = 1
    try:
        for fields in reader:
            if any(cell.strip() for cell in fields):
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, line {line}: the quotes do not match, or the field is too long ({error})") from None


def _check_header(path: Path, header: list[str]) -> None:
    numbers = sum(_is_number(name) for name in header)
    if numbers and numbers >= len(header) - 1:  # also 5.1,3.5,1.4,0.2,setosa: a row of data, which would be lost
        raise DataError(
            f"{path}: the first line must name the columns, but it holds numbers: {', '.join(header[:4])}. "
            "Put a line with the columns' names before it"
        )
    name, times = Counter(header).most_common(1)[0]
    if times > 1:
        raise DataError(f"{path}: {times} columns are called {name!r}: give each a name of its own")


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell)) and "_" not in cell  # Python reads 1_000; no table means it
    except ValueError:
        return False


def _is_nonfinite(cell: str) -> bool:
    try:
        return not math.isfinite(float(cell))
    except ValueError:
        return False


def _cell(path: Path, line: int, column: str, cell: str) -> float:
    if not _is_number(cell):
        what = "is empty" if not cell.strip() else f"{cell.strip()!r} is not a finite number"
        if re.fullmatch(r"\s*[+-]?\d+,\d+\s*", cell):
            what += f" (write {cell.strip().replace(',', '.')})"
        raise DataError(
            f"{path}, line {line}, column {column!r}: {what}. Inputs must be numbers: encode or drop the column, "
            "and fill in or drop what is missing"
        )
    return float(cell)


def _as_floats(path: Path, x: np.ndarray, names: Sequence[str] = ()) -> np.ndarray:
    """x in float64; every number must be finite, also in the default dtype."""
    with np.errstate(over="ignore"):
        finite = np.isfinite(x.astype(get_default_dtype()))
    if not finite.all():
        row, *rest = np.argwhere(~finite)[0].tolist()
        at = "".join(f", column {names[i] if names else i!r}" for i in rest)
        value = x[(row, *rest)]
        too_large = f"is too large for {get_default_dtype()}"
        what = too_large if np.isfinite(value) else "is not a finite number: fill it in or drop the row"
        raise DataError(f"{path}, data row {row + 1}{at}: {value} {what}")
    return x.astype(np.float64)


def _target(cells: list[tuple[str, str]], name: str, task: str, path: Path) -> tuple[np.ndarray, str, list[str]]:
    """Targets as numbers, the task, and the names of the classes, from (where it stands, text) pairs."""
    if task not in ("auto", "classification", "regression"):
        raise DataError(f"task must be auto, classification or regression, got {task!r}")
    for where, cell in cells:
        if not cell or _is_nonfinite(cell):
            raise DataError(f"{path}, {where}: the target {name!r} is {cell or 'empty'}: fill it in or drop the row")
    labels = [cell for _, cell in cells]
    numbers = all(map(_is_number, labels))
    if numbers and all(float(label).is_integer() for label in labels):
        labels = [_plain_integer(label) for label in labels]
        whole = len(set(labels)) <= 20
    else:
        whole = False
    if task == "auto":
        task = "regression" if numbers and not whole else "classification"
    if task == "regression":
        for where, cell in cells:
            if not _is_number(cell):
                raise DataError(f"{path}, {where}: the target {name!r} is {cell!r}, not a number, so it is no regression")
        y = _as_floats(path, np.array(labels, float)[:, None], [name])
        if (y == y[0]).all():
            raise DataError(f"{path}: every example has the target {y[0, 0]:g}: there is nothing to learn")
        return y, task, []
    classes = sorted(set(labels), key=(lambda label: (float(label), label)) if numbers else str)
    if len(classes) < 2:
        raise DataError(f"{path}: every example has the target {classes[0]!r}: there is nothing to tell apart")
    number = {label: i for i, label in enumerate(classes)}
    return np.array([number[label] for label in labels]), task, classes


def _plain_integer(cell: str) -> str:
    """1, 01 and 1.0 are one class, called 1."""
    try:
        return str(int(cell))
    except ValueError:
        return str(int(float(cell)))


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def read_npz(path: str | Path, target: str | None = None, task: str = "auto") -> Dataset:
    """A NumPy archive with inputs [n, ...] and targets [n] or [n, k]; `target` names the targets' array.

    Without `target`, the archive must hold the arrays x and y (or X and y).
    """
    path = Path(path)
    arrays = _arrays(path)
    y_name = target or "y"
    others = [name for name in arrays if name != y_name]
    x_name = next((name for name in ("x", "X") if name in others), others[0] if len(others) == 1 else None)
    if y_name not in arrays or x_name is None:
        raise DataError(
            f"{path} holds the arrays {', '.join(arrays) or '(none)'}: name the targets' with --target; "
            "the inputs must be called x, or be the only other array"
        )
    x, y = arrays[x_name], arrays[y_name]
    if x.ndim and y.ndim and len(x) != len(y):
        raise DataError(f"{path}: {x_name} has {_count(len(x), 'row')}, {y_name} {len(y)}: they must have as many")
    if x.dtype.kind not in "fiub" or y.dtype.kind not in "fiubUS" or not x.ndim or y.ndim not in (1, 2):
        raise DataError(
            f"{path}: expected numbers {x_name} [n, ...] and {y_name} [n] or [n, k], "
            f"got {x.dtype} {x.shape} and {y.dtype} {y.shape}"
        )
    if not x.size or not y.size:
        raise DataError(f"{path} has no data: {x_name} has the shape {x.shape} and {y_name} {y.shape}")
    x = _as_floats(path, x.reshape(len(x), -1))
    if y.ndim == 2 and y.shape[1] > 1:
        if task == "classification" or y.dtype.kind in "US":
            raise DataError(f"{path}: classes must have the shape [n], {y_name} has {y.shape}")
        return Dataset(path.stem, x, _as_floats(path, y), "regression", raw_units=True)
    answers = [(f"data row {i}", str(value)) for i, value in enumerate(_texts(y), 1)]
    targets, task, classes = _target(answers, y_name, task, path)
    return Dataset(path.stem, x, targets, task, classes, raw_units=True)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an archive, by name; nothing is ever unpickled."""
    import zipfile
    import zlib

    _check_is_file(path)
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path} is not an NPZ archive: make one with np.savez({path.name!r}, x=..., y=...)")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        reason = "it holds Python objects, which are never unpickled" if "allow_pickle" in str(error) else error
        raise DataError(f"{path} cannot be read as an archive of plain arrays: {reason}") from None


def _texts(y: np.ndarray) -> list:
    y = y.reshape(-1)
    return (np.char.decode(y, "utf-8") if y.dtype.kind == "S" else y).tolist()
