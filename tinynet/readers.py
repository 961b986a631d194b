"""The user's own data: CSV tables and NPZ archives, read into a Dataset.

A file is read whole or refused with the line and column that stand in the way; nothing is guessed or filled in. Columns
of text become one column per category, since a network computes with numbers.
"""

from __future__ import annotations

import io
import math
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tinynet.backend import get_default_dtype
from tinynet.naming import lookup

TABLES = (".csv", ".tsv", ".txt")  # the names of files that nobody wonders to see read as tables
FEW, MOST = 10, 1000  # categories: so few are never too many for the rows, and more are refused of however many rows
CLASSES = 20  # whole numbers of which there are no more may be the names of classes
NUMBER_LIKE = re.compile(r"[+-]?\d[\d.,_'% ]*|[+-]?inf(inity)?", re.IGNORECASE)  # 1,5 or 12 %: meant as a number
AMOUNT = re.compile(r"[^\w\s.+-]?\s*[+-]?\d[\d.,' ]*\s*[^\w\s]?")  # 250,000 or £250000 or 12 %: meant as a number
Column = list[tuple[int, str]]  # (line, what stands there) of every row


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
    # Of each column of text, its categories: the last columns of x, one for each, are 1 where the text is that, else 0
    categories: dict[str, list[str]] = field(default_factory=dict)

    @property
    def outputs(self) -> int:
        """How many outputs a model needs: one per class, or one per target."""
        return len(self.classes) if self.task == "classification" else self.y.shape[1]

    @property
    def numbers(self) -> int:
        """How many inputs, the first columns of x, are numbers; the others stand for categories."""
        return self.x.shape[1] - sum(map(len, self.categories.values()))

    def with_categories_of(self, rows: np.ndarray) -> Dataset:
        """This data set with the categories that occur in the examples `rows` (the training data), and no others.

        An example of another category is then 0 in all columns of that text: it is new to the network, as in use.
        """
        seen = self.x[rows].any(axis=0)
        seen[: self.numbers] = True
        if seen.all():
            return self
        flags = iter(seen[self.numbers :].tolist())
        categories = {column: [name for name in names if next(flags)] for column, names in self.categories.items()}
        features = [name for name, kept in zip(self.features, seen, strict=True) if kept] if self.features else []
        return replace(self, x=self.x[:, seen], features=features, categories=categories)


def read_csv(path: str | Path, target: str | None = None, task: str = "auto", drop: Sequence[str] = ()) -> Dataset:
    """A table with a header line, separated by commas, semicolons or tabs; all columns but the target are inputs.

    Without `target`, the last column is the target. Columns named in `drop` are left out, whatever they hold. A column of
    text becomes one column for each of its categories, in alphabetical order, after the columns of numbers: x is 1 in
    "colour=red" where the colour is red, and 0 elsewhere (one-hot). Errors name the line and the column.
    """
    path = Path(path)
    try:
        return _read_table(path, target, task, [drop] if isinstance(drop, str) else drop)
    except DataError as error:
        if path.suffix.lower() in TABLES or not path.is_file():
            raise
        raise DataError(str(error).replace(str(path), f"{path} is read as CSV:", 1).replace(":, ", ": ", 1)) from None


def _read_table(path: Path, target: str | None, task: str, drop: Sequence[str]) -> Dataset:
    rows = _rows(path)
    header, body = rows[0][1], rows[1:]
    if not body:
        raise DataError(f"{path} has a header but no rows of data")
    *features, target = _chosen(path, header, target, drop)
    for line, cells in body:
        if len(cells) != len(header):
            raise DataError(f"{path}, line {line}: {_count(len(cells), 'field')}, but the header has {len(header)}")
    columns = {name: [(line, cells[i].strip()) for line, cells in body] for i, name in enumerate(header)}
    x, names, categories = _inputs(path, {name: columns[name] for name in features})
    answers = [(f"line {line}", cell) for line, cell in columns[target]]
    y, task, classes = _target(answers, target, task, path)
    return Dataset(path.stem, x, y, task, classes, names, raw_units=True, categories=categories)


def _chosen(path: Path, header: list[str], target: str | None, drop: Sequence[str]) -> list[str]:
    """The names of the inputs and, last, of the target. `a,b` in drop means both, unless a column is called that."""
    drop = [part for name in drop for part in ([name] if name in header else name.split(","))]
    for name in [*drop, *([] if target is None else [target])]:
        if name not in header:
            try:
                lookup("column", name, dict.fromkeys(header))
            except ValueError as error:
                raise DataError(f"{path}: {error}") from None
    if target in drop:
        raise DataError(f"{path}: the column {target!r} cannot be both dropped and the target")
    kept = [name for name in header if name not in drop]
    if len(kept) < 2:
        left = f"has only the column {kept[0]!r}" if kept else "has no column left"
        raise DataError(f"{path} {left}: there are no inputs to learn from")
    target = kept[-1] if target is None else target
    return [*(name for name in kept if name != target), target]


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


# Columns of numbers and of text ------------------------------------------------------------------------------------------


def one_hot(texts: Sequence[str], categories: Sequence[str]) -> np.ndarray:
    """[n, categories]: 1 where a text is the category of that column, else 0; one that is no category has a row of zeros.

    >>> one_hot(["red", "blue", "mauve"], ["blue", "red"]).tolist()
    [[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]
    """
    number = {category: i for i, category in enumerate(categories)}
    table = np.vstack([np.eye(len(categories)), np.zeros(len(categories))])
    return table[[number.get(text, -1) for text in texts]]


def _inputs(path: Path, columns: Mapping[str, Column]) -> tuple[np.ndarray, list[str], dict[str, list[str]]]:
    """x, the names of its columns, and the categories of the columns of text."""
    _check_nothing_is_missing(path, columns)
    texts = [name for name, column in columns.items() if not _is_of_numbers(path, name, column)]
    numbers = [name for name in columns if name not in texts]
    categories = {name: sorted({cell for _, cell in columns[name]}) for name in texts}
    _check_categories_are_shared(path, categories, len(next(iter(columns.values()))))
    parts = [np.array([[float(cell) for _, cell in columns[name]] for name in numbers]).T] if numbers else []
    parts = [_as_floats(path, part, numbers) for part in parts]
    parts += [one_hot([cell for _, cell in columns[name]], categories[name]) for name in texts]
    names = [*numbers, *(f"{name}={category}" for name in texts for category in categories[name])]
    return np.concatenate(parts, axis=1), names, categories


def row_counters(data: Dataset) -> list[str]:
    """The inputs from a file that only count its rows, 1, 2, 3 ...: they say nothing of an example that is not in it.

    An input that is alone is none: a series in time has its moments counted.
    """
    if not data.features or data.x.shape[1] == 1 or len(data.x) < 3:
        return []
    counts = (np.diff(data.x[:, : data.numbers], axis=0) == 1).all(axis=0)
    return [name for name, each in zip(data.features[: data.numbers], counts, strict=True) if each]


def _check_nothing_is_missing(path: Path, columns: Mapping[str, Column]) -> None:
    found = {name: lines for name, own in columns.items() if (lines := [line for line, cell in own if _is_missing(cell)])}
    if found:
        where = [f"line {lines[0]}, column {name!r}{_as_in(len(lines) - 1)}" for name, lines in found.items()]
        raise DataError(
            f"{path}: a value is missing in {_some(where)}. Fill in what is missing, leave out the row, or leave out the "
            f"column with {_dropping(list(found))}"
        )


def _is_of_numbers(path: Path, name: str, column: Column) -> bool:
    """Whether the column is of numbers, else of text; a DataError if it is a mixture."""
    numbers = [_is_number(cell) for _, cell in column]
    if all(numbers):
        return True
    odd = next(((line, cell) for line, cell in column if NUMBER_LIKE.fullmatch(cell) and not _is_number(cell)), None)
    if odd is None and not any(numbers):
        return False
    line, cell = odd or column[numbers.index(False)]
    hint = f" (write {cell.replace(',', '.')})" if re.fullmatch(r"[+-]?\d+,\d+", cell) else ""
    other = f", while line {column[numbers.index(True)][0]} holds a number" if any(numbers) else ""
    raise DataError(
        f"{path}, line {line}, column {name!r}: {cell!r} is not a finite number{hint}{other}. A column is of numbers or of "
        f"text throughout: put it right, or leave it out with {_dropping([name])}"
    )


def _check_categories_are_shared(path: Path, categories: Mapping[str, Sequence[str]], rows: int) -> None:
    """A name or an identifier says nothing of an example that is not in the file."""
    ids = {name: len(own) for name, own in categories.items() if len(own) > max(FEW, min(rows / 2, MOST))}
    if ids:
        raise DataError(
            f"{path}: text is learnt as categories that many rows share, but in {rows:,} rows there are "
            f"{_some([f'{n:,} different texts in {name!r}' for name, n in ids.items()])}. Leave out names and identifiers "
            f"with {_dropping(list(ids))}"
        )


def _dropping(names: Sequence[str]) -> str:
    """How to leave columns out: on the command line, and in Python."""
    return (
        f"{_some([f'--drop {shlex.quote(name)}' for name in names], ' ')} (in Python drop=[{_some([*map(repr, names)])}])"
    )


def _some(texts: Sequence[str], between: str = ", ", most: int = 5) -> str:
    return between.join([*texts[:most], *["..."] * (len(texts) > most)])


def _as_in(others: int) -> str:
    return f" (and in {_count(others, 'other row')})" if others else ""


def _is_missing(cell: str) -> bool:
    return not cell or (_is_nonfinite(cell) and math.isnan(float(cell)))


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
        whole = len(set(labels)) <= CLASSES
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
    _check_classes_are_shared(path, name, classes, len(labels), numbers)
    number = {label: i for i, label in enumerate(classes)}
    return np.array([number[label] for label in labels]), task, classes


def _check_classes_are_shared(path: Path, name: str, classes: Sequence[str], rows: int, numbers: bool) -> None:
    """A class of one example is learnt by nobody: it is a number, or a name."""
    amounts = not numbers and all(map(AMOUNT.fullmatch, classes))
    if len(classes) <= (CLASSES if amounts else max(FEW, rows / 2)):
        return
    what = "numbers" if numbers else f"texts, such as {classes[0]!r},"
    if numbers:
        hint = "Predict the number: --task regression (in Python task='regression')"
    elif amounts:
        hint = "Write numbers in digits, as 250000 or 12.5, without other signs and with a point before the decimals"
    else:
        hint = "Take another target: a column of numbers, or of classes that many rows share"
    raise DataError(
        f"{path}: the target {name!r} has {len(classes):,} different {what} in {rows:,} rows: no classes. {hint}"
    )


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
