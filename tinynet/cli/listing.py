"""`tinynet runs`: a table of all runs, sorted and filtered.

Hundreds of runs are listed in a second: of events.jsonl, only the lines are parsed from which the table takes something.
"""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from monitor import Run, store
from monitor.metrics import direction
from tinynet.cli.shared import (
    ROOT,
    Command,
    Mistake,
    json_option,
    new_console,
    plain,
    print_json,
    program,
    say,
    user_errors,
)
from tinynet.cli.which import folders_of_runs, in_root
from tinynet.naming import lookup

if TYPE_CHECKING:
    from rich.table import Table

Row = dict[str, Any]  # what is known of one run: a value for each of COLUMNS (None: unknown), and "path"

COLUMNS = (
    "run", "status", "started", "duration", "steps", "best_loss", "loss", "metric", "best_score", "score", "test", "lr",
    "optimizer", "train_loss",
)  # fmt: skip
# Which columns a narrow terminal shows: as many of these as it has room for
IMPORTANT = (
    "run", "status", "best_loss", "best_score", "metric", "steps", "duration", "lr", "optimizer", "test", "loss", "score",
    "train_loss", "started",
)  # fmt: skip
TEXTS = ("run", "status", "metric", "optimizer")  # aligned to the left
STATUS = {"finished": "green", "running": "cyan", "interrupted": "yellow"}  # all others are red
GAP = 2  # spaces between two columns
LONG_NAME = 32  # longer names are broken over several lines where the terminal is narrow
OURS = b'{"v":1,"k":"'  # how the Recorder begins a line; lines that begin otherwise are all parsed


@click.command(cls=Command)
@click.argument("root", default=ROOT)
@click.option("--sort", default="started", metavar="COLUMN", help=f"by one of {', '.join(COLUMNS)}  [started]")
@click.option("--reverse", is_flag=True, help="the largest first; what has no value stays last")
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="TEXT",
    help="only runs with TEXT in their name or, as COLUMN=TEXT, with this value; may be repeated",
)
@json_option
@user_errors
def runs(root: str, sort: str, reverse: bool, filters: Sequence[str], as_json: bool) -> None:
    """List the runs in ROOT, oldest first.

    ROOT is the folder "runs" if not given.

    loss and score (metric says which: accuracy, say) are those of the validation data, last and best; test is the score on
    data never seen. A narrow terminal shows fewer columns, a pipe and --json all.

    \b
    Examples:
      tinynet runs
      tinynet runs --sort best_loss
      tinynet runs --filter moons --filter status=finished --sort test --reverse
    """
    sort, wanted = _column(sort), _wanted(filters)
    if root != ROOT and not os.path.exists(root):
        again = f"{program()} runs --filter {shlex.quote(root)}"
        raise Mistake(f"there is no folder {root!r}; to list the runs with that in their name: {again}")
    rows = [row for folder in folders_of_runs(root) if wanted(row := read_row(folder))]
    rows = in_order(rows, sort, reverse)
    if as_json:
        return print_json(rows)
    if not rows:
        some = any(Path(root).glob("*/run.json"))
        here, make = plain(repr(root)), plain(f"{program()} train{in_root(root)}")
        told = f"no run in {here} is what --filter asks for" if some else f"no runs in {here}: make one with '{make}'"
        return say(told, markup=False)
    return _print(rows, sort)


# Reading ------------------------------------------------------------------------------------------------------------------


def read_row(folder: Path) -> Row:
    """What the table says of a run; of one that cannot be read, that it cannot, and why on the error stream."""
    try:
        return _row(folder, open_briefly(folder))
    except Exception as error:  # whatever it is: one run never hides the others
        what = str(error) if isinstance(error, store.RecorderError) else f"{type(error).__name__}: {error}"
        click.echo(plain(f"{folder.name} is unreadable: {what}"), err=True)
        return {**dict.fromkeys(COLUMNS), "run": folder.name, "status": "unreadable", "path": str(folder)}


def open_briefly(folder: Path) -> Run:
    """The run with those of its events that the table needs; a run that was resumed, whose segments count, with all."""
    meta = store.read_json(folder / "run.json")
    content = store.read_bytes(folder / "events.jsonl") if os.path.lexists(folder / "events.jsonl") else b""
    if meta.get("schema") != store.SCHEMA or content.count(OURS + b'start"') > 1:
        return Run.open(folder)
    lines = [line for line in content.split(b"\n") if line]
    keep = {i for i, line in enumerate(lines) if b'"val/' in line or not line.startswith(OURS)}
    keep |= set(range(len(lines))[-2:])  # of the last two, one is whole
    ahead, back = range(len(lines)), range(len(lines) - 1, -1, -1)
    for name, order in ((b'"lr":', ahead), (b'"train/loss":', back)):
        keep |= {i for i in [next((i for i in order if name in lines[i]), None)] if i is not None}
    events = []
    for i in sorted(keep):
        try:
            events.append(store.parse_event(lines[i]))
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            continue
    return Run(meta, events, folder)


def _row(folder: Path, run: Run) -> Row:
    names, config, test = run.names(), run.config, run.meta.get("test")
    test = test if isinstance(test, dict) else {}
    metric = next((name for name in names if name.startswith("val/") and name != "val/loss"), None)
    loss, best_loss = _last_and_best(run, "val/loss")
    score, best_score = _last_and_best(run, metric or "")
    rates = _values(run, "lr")
    lr = config.get("lr") if "lr" in config or not rates else rates[0]
    return {
        "run": folder.name,
        "status": run.status,
        "started": _text(run.meta.get("started")),
        "duration": _duration(run),
        "steps": _steps(run),
        "best_loss": best_loss,
        "loss": loss,
        "metric": metric and metric.removeprefix("val/"),
        "best_score": best_score,
        "score": score,
        "test": _number(test.get("accuracy", test.get("r2_score"))),
        "lr": _number(lr),
        "optimizer": _text(config.get("optimizer")),
        "train_loss": _last_and_best(run, "train/loss")[0],
        "path": str(folder),
    }


def _last_and_best(run: Run, name: str) -> tuple[float | None, float | None]:
    """The last value of a series, and the best of its finite ones; None where there is none, or best has no meaning."""
    values = _values(run, name)
    if not values:
        return None, None
    try:
        best = min if direction(name) == "min" else max
    except ValueError:  # a metric that only its author knows
        return values[-1], None
    return values[-1], best(filter(math.isfinite, values), default=None)


def _values(run: Run, name: str) -> list[float]:
    """The values of a series; none if the run has no such series, or what it measured of it counts no more."""
    try:
        values: list[float] = run.series(name)[1].tolist()
    except KeyError:
        return []
    return values


def _steps(run: Run) -> int:
    """The last step that counts: of a segment that a later one replaced in part, what was measured and kept."""
    last = max((event["g"] for event in run.events), default=0)
    counting = [*run.select(*store.MEASURED), *(event for event in run.events if event["g"] == last)]
    return max((event["s"] for event in counting), default=0)


def _duration(run: Run) -> float | None:
    """Seconds of training: of each segment the time of its last event; what lay between segments does not count."""
    last: dict[int, float] = {}
    for event in run.events:
        t = _number(event.get("t"))
        if t is not None and math.isfinite(t):
            last[event["g"]] = max(t, last.get(event["g"], 0.0))
    return sum(last.values()) if last else None


def _number(value: Any) -> float | None:
    try:
        return None if value is None else store.decode_number(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


# Choosing and ordering ----------------------------------------------------------------------------------------------------


def _column(name: str) -> str:
    known = {column: column for column in COLUMNS}
    return lookup("column", name.replace("-", "_").replace("val/", ""), known)


def _wanted(filters: Sequence[str]) -> Callable[[Row], bool]:
    """Whether a row is what all filters ask for."""
    conditions = []
    for text in filters:
        column, equals, value = text.partition("=")
        conditions.append((_column(column), value.casefold()) if equals else (None, text.casefold()))

    def wanted(row: Row) -> bool:
        return all(
            value in row["run"].casefold() if column is None else value in (str(row[column]).casefold(), cell(row, column))
            for column, value in conditions
        )

    return wanted


def in_order(rows: Sequence[Row], column: str, reverse: bool = False) -> list[Row]:
    """The rows by one column; those without a value, or with nan, last in either direction."""

    def missing(row: Row) -> bool:
        return row[column] is None or row[column] != row[column]

    def key(row: Row) -> Any:
        return row[column].casefold() if isinstance(row[column], str) else row[column]

    known = sorted((row for row in rows if not missing(row)), key=key, reverse=reverse)
    return known + sorted(filter(missing, rows), key=lambda row: row[column] is None)


# Printing -----------------------------------------------------------------------------------------------------------------


def cell(row: Row, column: str) -> str:
    """A value as the table shows it."""
    value = row[column]
    if value is None:
        return "-"
    if column == "started":
        return _local(value)
    if column == "duration":
        return clock(value)
    return f"{value:.4g}" if isinstance(value, float) else plain(value)


def clock(seconds: float) -> str:
    """A time to read at a glance.

    >>> clock(0.25), clock(75), clock(3 * 3600 + 62)
    ('0.25 s', '1:15', '3:01:02')
    """
    if seconds < 60:
        return f"{seconds:.{2 if seconds < 1 else 1}f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _local(started: str) -> str:
    try:
        return f"{datetime.fromisoformat(started).astimezone():%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):
        return plain(started)


def _print(rows: Sequence[Row], sort: str) -> None:
    console = new_console()
    narrow = console.is_terminal or "COLUMNS" in os.environ
    cells = {column: [cell(row, column) for row in rows] for column in COLUMNS}
    there = [column for column in COLUMNS if any(row[column] is not None for row in rows)]
    columns = _with_room(cells, there, sort, console.width) if narrow else there
    if narrow:
        console.print(_table({column.replace("_", "\n"): cells[column] for column in columns}))
    else:  # for another program: one line for each run
        new_console(width=sum(max(map(len, [column, *cells[column]])) * 2 + GAP for column in columns)).print(
            _table({column: cells[column] for column in columns})
        )
    if hidden := [column for column in there if column not in columns]:
        console.print(f"[dim]left out here: {', '.join(hidden)} (a wider terminal shows more, --json all)[/]")


def _with_room(cells: dict[str, list[str]], there: Sequence[str], sort: str, width: int) -> list[str]:
    """The most important columns that fit; always the run, its status and what the table is sorted by."""
    always = ["run", "status", *[sort] * (sort not in ("run", "status", "started"))]
    chosen = [column for column in always if column in there]
    for column in IMPORTANT:
        if column in there and column not in chosen:
            if sum(_width(cells, c) + GAP for c in [*chosen, column]) - GAP > width:
                break
            chosen.append(column)
    return [column for column in COLUMNS if column in chosen]


def _width(cells: dict[str, list[str]], column: str) -> int:
    from rich.cells import cell_len

    widest = max(map(cell_len, [*column.split("_"), *cells[column]]))
    return min(widest, LONG_NAME) if column == "run" else widest


def _table(cells: dict[str, list[str]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False)
    for column in cells:
        table.add_column(column, "", justify="left" if column in TEXTS else "right",
                         overflow="fold", no_wrap=column != "run", vertical="bottom")  # fmt: skip
    for values in zip(*cells.values(), strict=True):
        table.add_row(*(
            Text(value, STATUS.get(value, "red") if column == "status" else "")
            for column, value in zip(cells, values, strict=True)
        ))  # fmt: skip
    return table
