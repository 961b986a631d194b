"""The command that compares optimizers: compare."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from tinynet.cli.shared import Command, Mistake, json_option, new_console, plain, print_json, say, shown, user_errors
from tinynet.naming import lookup

if TYPE_CHECKING:
    from tinynet.comparison.results import Comparison

FILE, PAGE, UNFINISHED = "comparison.json", "comparison.html", "unfinished.jsonl"
STYLES = ("paper", "slides")
MOST = 6  # pictures that are named one by one
SEEDS = 12  # with which any two of 14 optimizers can be told apart
REDRAWING = ("path", "out", "style", "as_json")  # what --from goes with


def _rates(_: Any, __: Any, value: str | None) -> tuple[float, ...] | None:
    """lo:hi:n as n rates, equally far apart in logarithms; or rates with commas."""
    if value is None:
        return None
    import numpy as np

    try:
        if ":" not in value:
            return tuple(float(part) for part in value.split(","))
        low, high, n = value.split(":")
        if not (0 < float(low) < float(high) < float("inf") and 2 <= int(n) <= 1000):
            raise ValueError
        return tuple(float(f"{rate:.6g}") for rate in np.geomspace(float(low), float(high), int(n)))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not lo:hi:n, such as 1e-4:1:9, or rates such as 0.01,0.1") from None


@click.command(cls=Command)
@click.argument("optimizers", metavar="[OPTIMIZER]...", nargs=-1)
@click.option(
    "--on", multiple=True, default=("moons",), help="problems and suites (toy2d, small, all), several --on  [moons]"
)
@click.option("--baseline", default="sgd-momentum", help="the optimizer that the others are tested against  [sgd-momentum]")
@click.option("--seeds", type=int, default=SEEDS, help=f"fresh runs of every optimizer on every problem  [{SEEDS}]")
@click.option("--tuning-seeds", type=int, default=5, help="runs of every trial in tuning  [5]")
@click.option("--seed", type=int, default=0, help="the first seed  [0]")
@click.option("--steps", type=int, help="updates of a run  [400 to 1000: what the problem says]")
@click.option("--rates", callback=_rates, help="learning rates to try, as lo:hi:n or a,b,c  [1e-5:10:13]")
@click.option("--budget", type=int, help="trials of every optimizer: 1, as many as rates, or three times as many  [rates]")
@click.option("--jobs", type=click.IntRange(min=1), default=1, help="processes that share the work  [1]")
@click.option("--scheduler", metavar="ADDRESS", help="a Dask cluster that does the work, such as tcp://host:8786")
@click.option("-o", "--out", metavar="FOLDER", help="where to write  [comparisons/ and the problem's name]")
@click.option("--from", "path", metavar="FILE", help="draw and print a saved comparison again, without running anything")
@click.option(
    "--style", default="paper", help="of the pictures: paper, or slides, whose files have names of their own  [paper]"
)
@json_option
@user_errors
def compare(optimizers: Sequence[str], on: Sequence[str], path: str | None, out: str | None, style: str, as_json: bool,
            jobs: int, scheduler: str | None, rates: tuple[float, ...] | None, **options: Any) -> None:  # fmt: skip
    """Compare optimizers, and say what can be told apart.

    On small problems, where all get the same tuning, starts, batches and budget. Pictures, a page and all numbers are kept
    in a folder. After Ctrl-C, the same command goes on.

    OPTIMIZERs are names such as sgd adam lion (eight usual ones if left out). Each is a contender with defaults of its own:
    sgd-momentum is SGD with momentum 0.9, nesterov that with Nesterov's step, amsgrad is Adam with its maximum. A wrong
    name lists them all.

    \b
    Examples:
      tinynet compare adam rmsprop --on moons
      tinynet compare --on toy2d --seeds 20 --jobs 2
      tinynet compare --from comparisons/moons/comparison.json --style slides
    """
    lookup("style", style, dict.fromkeys(STYLES))
    if path is not None:
        _nothing_else_given()
        comparison = _loaded(Path(path))
        folder = Path(out) if out else _file(Path(path)).parent
    else:
        folder = Path(out) if out else _free_folder("-".join(on))
        run = {**options, "on": list(on), "store": folder / UNFINISHED, "executor": _executor(jobs, scheduler)}
        comparison = _run(list(optimizers) or None, run if rates is None else {**run, "grid": rates}, as_json)
        comparison.save(folder / FILE)
        (folder / UNFINISHED).unlink(missing_ok=True)
    files = _write(comparison, folder, style, new=path is None)
    if as_json:
        print_json(_as_data(comparison, files))
    else:
        _show(comparison, new_console())
        drawn = [plain(file.name) for file in files if file.suffix == ".png"]
        told = [plain(file.name) for file in files if file.suffix != ".png"]
        told += drawn if len(drawn) <= MOST else [f"{len(drawn)} pictures"]
        say(f"\nSaved in {plain(folder)}: {', '.join(told)}", markup=False)


# Running ------------------------------------------------------------------------------------------------------------------


def _run(optimizers: list[str] | None, options: dict[str, Any], quiet: bool) -> Comparison:
    """Compare under a progress bar; Ctrl-C says how to go on. A mistake leaves no new folder behind."""
    from tinynet.comparison.protocol import compare

    _known(options["on"])
    folder: Path = options["store"].parent
    made = [part for part in (folder, *folder.parents) if not part.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _progress(quiet) as tell:
            return compare(optimizers, progress=tell, **options)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            click.echo(f"\ninterrupted: the same command goes on; what is done is in {plain(folder)}", err=True)
        for part in made:
            with suppress(OSError):  # there is something in it
                part.rmdir()
        raise


def _known(on: Sequence[str]) -> None:
    """A name that is none says which are suites."""
    from tinynet.comparison.problems import SUITES, find_problems

    for name in on:
        try:
            find_problems(name)
        except ValueError as error:
            raise Mistake(f"{error}. Of these, {', '.join(sorted(SUITES))} are suites of several") from None


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[int, int, str], None] | None]:
    """A bar on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = [TextColumn("comparing"), BarColumn(bar_width=24), TextColumn("{task.description}"), TimeElapsedColumn()]
    if quiet or not console.is_terminal:
        yield None
        return
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total, text: bar.update(task, completed=done, total=total, description=text)


def _executor(jobs: int, scheduler: str | None) -> int | str | None:
    if jobs > 1 and scheduler is not None:
        raise Mistake("--jobs is for this machine; with --scheduler the cluster says how many processes share the work")
    return scheduler or (jobs if jobs > 1 else None)


def _free_folder(name: str) -> Path:
    """comparisons/moons; if a finished comparison is there, comparisons/moons-2, and so on."""
    safe = "".join(c if c.isalnum() or c in "-_." else "-" for c in name)[:80]
    n = 1
    while (folder := Path("comparisons", safe if n == 1 else f"{safe}-{n}")).joinpath(FILE).exists():
        n += 1
    return folder


def _nothing_else_given() -> None:
    context = click.get_current_context()
    given = [p for p in context.command.params if context.get_parameter_source(str(p.name)) is ParameterSource.COMMANDLINE]
    other = [p.opts[0] if p.opts[0].startswith("-") else "OPTIMIZER" for p in given if p.name not in REDRAWING]
    if other:
        raise Mistake(f"--from runs nothing: leave out {', '.join(other)}")


def _file(path: Path) -> Path:
    return path / FILE if path.is_dir() else path


def _loaded(path: Path) -> Comparison:
    from tinynet.comparison.results import Comparison

    if not _file(path).is_file():
        raise Mistake(f"there is no file {str(_file(path))!r}: name a comparison.json, or the folder that holds one")
    return Comparison.load(_file(path))


# Showing ------------------------------------------------------------------------------------------------------------------


def _write(comparison: Comparison, folder: Path, style: str, new: bool) -> list[Path]:
    """Write the pictures and the page; the names of all files there are of this comparison."""
    from tinynet.comparison.pictures import pictures
    from tinynet.comparison.report import write_comparison

    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / FILE] if new else []
    drawn, kind = list(pictures(comparison, style)), "" if style == "paper" else f"-{style}"
    for name, _, figure in drawn:
        files.append(folder / f"{''.join(c if c.isalnum() or c in '-_.' else '-' for c in name)[:100]}{kind}.png")
        figure.savefig(files[-1])
        figure.set_layout_engine("none")  # everything has its place now
    page = Path(PAGE)
    return [*files, write_comparison(comparison, folder / f"{page.stem}{kind}{page.suffix}", drawn)]


def _show(comparison: Comparison, console: Any) -> None:
    """Tables and sentences of all problems, then of all together."""
    from tinynet.comparison.judgement import judge_suite
    from tinynet.comparison.sentences import about, sentences, suite_sentences, warnings
    from tinynet.comparison.table import place_cells, rich_table, suite_cells, terminal_table

    explained = ""
    for facts in comparison.problems:
        console.print(f"\n[bold]{shown(facts.name)}[/]: {shown(about(facts))}")
        table, meaning = terminal_table(comparison, facts.name, console.width)
        console.print(table)
        if meaning != explained:
            console.print(meaning, style="dim", markup=False)
            explained = meaning
        places = place_cells(comparison, facts.name)
        if places is not None:
            console.print(rich_table(*places))
        for text in sentences(comparison, facts.name):
            console.print(plain(text), markup=False)
        for text in warnings(comparison, facts.name):
            console.print(f"[bold]note[/]: {shown(text)}")
    suite = judge_suite(comparison)
    if suite is not None:
        console.print("\n[bold]all problems together[/]")
        headings, lines = suite_cells(suite)
        if len(headings) > 1:
            console.print(rich_table(headings, lines))
        for text in suite_sentences(suite):
            console.print(plain(text), markup=False)


def _as_data(comparison: Comparison, files: list[Path]) -> dict[str, Any]:
    """What a script may want: tables and sentences of every problem, and where everything is."""
    from tinynet.comparison.judgement import judge_suite
    from tinynet.comparison.sentences import sentences, suite_sentences, warnings
    from tinynet.comparison.table import plain as table

    suite = judge_suite(comparison)
    problems = {
        p.name: {
            "table": table(comparison, p.name),
            "sentences": sentences(comparison, p.name),
            "warnings": warnings(comparison, p.name),
        }
        for p in comparison.problems
    }
    together = [] if suite is None else suite_sentences(suite)
    return {"baseline": comparison.baseline, "problems": problems, "together": together, "files": [str(f) for f in files]}
