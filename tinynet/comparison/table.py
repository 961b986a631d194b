"""The table of a comparison: a row per optimizer and problem, the best median first, as plain data and for a terminal.

A narrow terminal goes without the columns that matter least; what is left out is said under the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tinynet.comparison.judgement import Suite, finals, groups, judge_suite
from tinynet.comparison.results import Comparison
from tinynet.comparison.sentences import about, sentences, short, suite_sentences, warnings
from tinynet.comparison.statistics import quantile, scores, sensitivity_width

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Row:
    """What the table says of an optimizer on a problem; infinity stands for diverged, and for a target that was missed.

    median, low, high: of the metric at the end of `n` fresh runs, with the quartiles.
    hit_rate, steps: share of runs that reached the target; the median number of steps to it.
    diverged: how many of the n runs did.
    ms_per_step: of one run, its share of the batch.
    lr, at_edge: the chosen rate, and whether it is the first or the last that was tried.
    width, rates: how many rates come within 10 % of the best, of how many.
    default: the median at the default rate, None if there is none.
    group: letters; those who share one cannot be told apart.
    ended_at: how many runs ended at each place of the problem, by name.
    """

    optimizer: str
    median: float
    low: float
    high: float
    n: int
    hit_rate: float
    steps: float
    diverged: int
    ms_per_step: float
    lr: float
    at_edge: bool
    width: int
    rates: int
    default: float | None
    group: str
    ended_at: dict[str, int]


def rows(comparison: Comparison, problem: str) -> list[Row]:
    """The table of a problem, the best median first."""
    letters, places = groups(comparison, problem), comparison.problem(problem).places
    found = []
    for name, values in finals(comparison, problem).items():
        result = comparison.result(problem, name)
        tuned, steps = result.tuned, scores(result.tuned.steps_to_target)
        ended = [] if tuned.ended_at is None else tuned.ended_at.tolist()
        found.append(
            Row(
                optimizer=name,
                median=float(quantile(values, 0.5)),
                low=float(quantile(values, 0.25)),
                high=float(quantile(values, 0.75)),
                n=len(values),
                hit_rate=sum(map(math.isfinite, steps)) / len(values),
                steps=float(quantile(steps, 0.5)),
                diverged=int(tuned.diverged.sum()),
                ms_per_step=1e3 * tuned.seconds_per_step,
                lr=result.best_lr,
                at_edge=result.at_edge,
                width=sensitivity_width(result.sensitivity),
                rates=len(result.rates),
                default=None if result.default is None else float(quantile(scores(result.default.final), 0.5)),
                group=letters[name],
                ended_at={place: ended.count(i) for i, place in enumerate(places)},
            )
        )
    return found


def plain(comparison: Comparison, problem: str) -> list[dict[str, Any]]:
    """The rows as dictionaries, for JSON and data frames."""
    return [asdict(row) for row in rows(comparison, problem)]


# For readers --------------------------------------------------------------------------------------------------------------


class Column(NamedTuple):
    """A column: its heading, how soon it goes if there is no room (the highest first), and what stands in it."""

    heading: str
    goes: int
    cell: Callable[[Row], str]


def _value(x: float | None) -> str:
    return "–" if x is None else "diverged" if math.isinf(x) else short(x, zeros=True)


def _spread(row: Row) -> str:
    return "–" if math.isinf(row.low) else f"{short(row.low, zeros=True)} … {short(row.high, zeros=True)}"


COLUMNS = (
    Column("optimizer", 0, lambda row: row.optimizer),
    Column("median", 0, lambda row: _value(row.median)),
    Column("25 … 75 %", 3, _spread),
    Column("n", 8, lambda row: str(row.n)),
    Column("diverged", 1, lambda row: str(row.diverged)),
    Column("hits", 4, lambda row: f"{row.hit_rate:.0%}"),
    Column("steps", 2, lambda row: "missed" if math.isinf(row.steps) else f"{row.steps:,.0f}"),
    Column("ms/step", 7, lambda row: short(row.ms_per_step, 2)),
    Column("best lr", 0, lambda row: short(row.lr) + (" EDGE" if row.at_edge else "")),
    Column("good lrs", 6, lambda row: f"{row.width} of {row.rates}"),
    Column("at default", 5, lambda row: _value(row.default)),
    Column("group", 0, lambda row: row.group),
)
MEANINGS = {
    "diverged": "how many of the runs did",
    "hits": "share of runs that reached the target",
    "steps": "median steps to the target",
    "epochs": "median epochs to the target",
    "best lr": "the rate chosen in tuning; EDGE: the outermost that was tried",
    "good lrs": "rates within 10 % of the best",
    "at default": "median at the default rate",
    "group": "who shares a letter cannot be told apart",
}
LONGEST = 24  # characters of an optimizer's name


def cells(found: list[Row], width: int | None = None) -> tuple[list[str], list[list[str]], list[str]]:
    """(headings, rows of text, headings left out) of the table in so many characters; without `width`, everything.

    What diverged has a column only if anything did.
    """
    kept = [column for column in COLUMNS if column.heading != "diverged" or any(row.diverged for row in found)]
    texts = {column.heading: [clip(column.cell(row)) for row in found] for column in kept}
    wide = {heading: max(map(len, [heading, *column])) + 2 for heading, column in texts.items()}
    while width is not None and sum(wide[c.heading] for c in kept) - 2 > width and any(c.goes for c in kept):
        kept.remove(max(kept, key=lambda c: c.goes))
    headings = [column.heading for column in kept]
    return (
        headings,
        list(map(list, zip(*(texts[h] for h in headings), strict=True))),
        [h for h in wide if h not in headings],
    )


def in_unit(headings: list[str], unit: str) -> list[str]:
    """The headings of a problem whose steps are counted in `unit`: epochs, ms/epoch.

    >>> in_unit(["median", "steps", "ms/step"], "epoch")
    ['median', 'epochs', 'ms/epoch']
    """
    return [heading.replace("step", unit) for heading in headings]


def clip(text: str, most: int = LONGEST) -> str:
    """A name on one line, not too long."""
    line = "".join(c if c.isprintable() else " " for c in text)
    return line if len(line) <= most else line[: most - 1] + "…"


def leads(found: list[Row]) -> bool:
    """Whether the first row is a winner: it shares its letter with nobody, so that it differs from each of the others."""
    return len(found) > 1 and sum(found[0].group[0] in row.group for row in found) == 1


def place_cells(comparison: Comparison, problem: str, most: int = 4) -> tuple[list[str], list[list[str]]] | None:
    """(headings, rows of text): how many runs of each optimizer ended at which place; None if the problem has no places."""
    found, places = rows(comparison, problem), comparison.problem(problem).places
    if not places or not found:
        return None
    often = sorted(places, key=lambda place: -sum(row.ended_at[place] for row in found))
    shown, others = [place for place in places if place in often[:most]], often[most:]
    lines = []
    for row in found:
        rest = [sum(row.ended_at[place] for place in others)] if others else []
        elsewhere = row.n - sum(row.ended_at.values()) - row.diverged
        numbers = [*(row.ended_at[place] for place in shown), *rest, elsewhere, row.diverged]
        lines.append([clip(row.optimizer), *(str(n) if n else "·" for n in numbers)])
    return ["runs ending at", *map(clip, shown), *(["another"] if others else []), "none", "diverged"], lines


def suite_cells(suite: Suite) -> tuple[list[str], list[list[str]]]:
    """(headings, rows of text): area of the performance profile, and mean ranks with their letters, the best first.

    Without a run that arrived there are no areas, on few problems there are no ranks: the rows may be names only.
    """
    headings, order = ["optimizer"], (-suite.areas).argsort(kind="stable")
    lines = {i: [clip(suite.optimizers[i])] for i in order.tolist()}
    if suite.arrived:
        headings, lines = [*headings, "area of profile"], {i: [*lines[i], f"{suite.areas[i]:.2f}"] for i in lines}
    if suite.ranks is not None and suite.letters is not None:
        headings, order = [*headings, "mean rank", "group"], suite.ranks.argsort(kind="stable")
        lines = {i: [*line, f"{suite.ranks[i]:.2f}", suite.letters[suite.optimizers[i]]] for i, line in lines.items()}
    return headings, [lines[i] for i in order.tolist()]


def text(comparison: Comparison) -> str:
    """Tables, sentences and warnings of all problems, then of all together, as plain text."""
    parts = []
    for facts in comparison.problems:
        headings, lines, _ = cells(rows(comparison, facts.name))
        said = [*sentences(comparison, facts.name), *(f"note: {w}" for w in warnings(comparison, facts.name))]
        parts.append([f"{facts.name}: {about(facts)}", *_aligned(in_unit(headings, facts.unit), lines), *said])
    suite = judge_suite(comparison)
    if suite is not None:
        headings, lines = suite_cells(suite)
        table = _aligned(headings, lines) if len(headings) > 1 else []
        parts.append(["all problems together", *table, *suite_sentences(suite)])
    return "\n\n".join("\n".join(part) for part in parts)


def _aligned(headings: list[str], lines: list[list[str]]) -> list[str]:
    """The lines of a table: names to the left, numbers to the right."""
    wide = [max(map(len, column)) for column in zip(headings, *lines, strict=True)]
    return [
        "  ".join(f"{c:{w}}" if i == 0 else f"{c:>{w}}" for i, (c, w) in enumerate(zip(line, wide, strict=True)))
        for line in (headings, *lines)
    ]


# For a terminal -----------------------------------------------------------------------------------------------------------


def terminal_table(comparison: Comparison, problem: str, width: int = 80) -> tuple[Table, str]:
    """(the table for rich, what its headings mean). The leader is bold only if it differs from all others."""
    found = rows(comparison, problem)
    headings, lines, left_out = cells(found, width)
    headings = in_unit(headings, comparison.problem(problem).unit)
    meanings = [f"{heading}: {MEANINGS[heading]}" for heading in headings if heading in MEANINGS]
    gone = [f"no room here for {', '.join(in_unit(left_out, comparison.problem(problem).unit))}"] if left_out else []
    return rich_table(headings, lines, leads(found)), "; ".join(meanings + gone)


def rich_table(headings: list[str], lines: list[list[str]], bold_first: bool = False) -> Table:
    """A table without lines: names to the left, numbers to the right."""
    from rich.table import Table
    from rich.text import Text  # names are no markup

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for i, heading in enumerate(headings):
        left = i == 0 or heading in ("best lr", "group")
        table.add_column(Text(heading), justify="left" if left else "right", overflow="fold")
    for i, line in enumerate(lines):
        table.add_row(*map(Text, line), style="bold" if bold_first and i == 0 else "")
    return table
