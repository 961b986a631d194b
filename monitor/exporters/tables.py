"""A run as CSV tables.

    scalars.csv      a row for each step, a column for each series: pd.read_csv(file, index_col="step") is run.to_pandas()
    layers.csv       a row for each layer at each step, a column for each quantity; if layers were watched
    histograms.csv   a row for each bin of each histogram: step, name, left, right, count; if there are histograms

Numbers are written so that they read back exactly. An empty cell is a value that was not recorded; nan, inf and -inf were
recorded. Text that a spreadsheet would take for a formula gets an apostrophe in front.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from monitor import store
from monitor.exporters.common import Names, layer_cells
from monitor.histograms import Histogram
from monitor.run import Run

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what begins a formula: CWE-1236


def write_csv(run: Run, folder: Path) -> Path:
    """Write the tables of a run into a folder, and return the folder. RecorderError if it has such tables already."""
    there = [name for name in ("scalars.csv", "layers.csv", "histograms.csv") if (folder / name).exists()]
    if there:
        raise store.RecorderError(f"{str(folder)!r} has {', '.join(there)} already: delete it, or choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise store.RecorderError(f"cannot make the folder {str(folder)!r}: {error.strerror}") from None
    _write(folder / "scalars.csv", _scalars(run))
    if any(event["k"] == "layer" for event in run.events):
        _write(folder / "layers.csv", _layers(run))
    if any(event["k"] == "histogram" for event in run.events):
        _write(folder / "histograms.csv", _histograms(run))
    return folder


def _write(path: Path, rows: Iterable[list[Any]]) -> None:
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    store.write_whole(path, out.getvalue().encode(errors="backslashreplace"))


def _text(value: str) -> str:
    return f"'{value}" if value.startswith(FORMULA) else value


def _scalars(run: Run) -> Iterator[list[Any]]:
    """Steps by series, as Run.to_pandas: where a step has several values, the last one counts."""
    table: dict[int, dict[str, Any]] = {}
    epochs: dict[int, Any] = {}
    for event in run.select(*store.SCALARS):
        table.setdefault(event["s"], {}).update((name, store.decode_number(v)) for name, v in event["d"].items())
        if event["e"] is not None:
            epochs[event["s"]] = store.decode_number(event["e"])
    names = run.names()
    epochs = {} if "epoch" in names else epochs  # a series of that name says it better
    column = Names(_text, taken=("step", "epoch") if epochs else ("step",))
    yield ["step", *(["epoch"] if epochs else []), *(column(name) for name in names)]
    for step in sorted(table):
        row = table[step]
        yield [step, *([epochs.get(step, "")] if epochs else []), *(row.get(name, "") for name in names)]


def _layers(run: Run) -> Iterator[list[Any]]:
    table: dict[tuple[int, str], dict[str, float]] = {}
    for event in run.select("layer"):
        for quantity, layer, value in layer_cells(event):
            table.setdefault((event["s"], layer), {})[quantity] = value
    quantities = list(dict.fromkeys(quantity for row in table.values() for quantity in row))
    column = Names(_text, taken=("step", "layer"))
    yield ["step", "layer", *map(column, quantities)]
    for step, layer in sorted(table, key=lambda key: key[0]):
        yield [step, _text(layer), *(table[step, layer].get(quantity, "") for quantity in quantities)]


def _histograms(run: Run) -> Iterator[list[Any]]:
    yield ["step", "name", "left", "right", "count"]
    for name in run.histogram_names():
        try:
            recorded = run.histogram(name)
        except KeyError:  # all of it damaged
            continue
        edges = Histogram({}).edges().tolist()
        for step, histogram in recorded:
            for left, right, count in zip(edges[:-1], edges[1:], histogram.counts().tolist(), strict=True):
                if count:
                    yield [step, _text(name), left, right, count]
