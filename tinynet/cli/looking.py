"""Commands that look at a run: report (a page), watch (the page while it trains), doctor (what is wrong), export."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from monitor import Run, write_report
from tinynet.cli.shared import (
    Command,
    Mistake,
    json_option,
    new_console,
    plain,
    print_json,
    program,
    root_option,
    say,
    say_detected,
    shown,
    user_errors,
)
from tinynet.cli.which import LATEST, find_run, find_runs, is_run
from tinynet.naming import lookup

if TYPE_CHECKING:
    from monitor.doctor import Report

NARROWEST, WIDEST = 40, 100  # columns that the doctor's text may fill


def run_argument(several: bool = False) -> Callable:
    """RUN, the latest if none is given; or RUN..."""
    return click.argument("runs" if several else "run", metavar="[RUN]..." if several else "[RUN]",
                          nargs=-1 if several else 1, default=None if several else LATEST)  # fmt: skip


@click.command(cls=Command)
@run_argument(several=True)
@click.option("-o", "--out", metavar="FILE", help="the page to write  [report.html in the run's folder, or beside several]")
@click.option("--open", "and_open", is_flag=True, help="show it in the browser")
@root_option
@json_option
@user_errors
def report(runs: Sequence[str], out: str | None, and_open: bool, root: str, as_json: bool) -> None:
    """Write a page about one or more runs.

    It shows curves, layers, pictures, and what the doctor found.

    RUN is a run's folder, its name or as much of it as no other run has, "latest" (which it is if left out), or a folder of
    runs: the latest 20 of them. The page is a single file that needs no network: keep it, send it.

    \b
    Examples:
      tinynet report
      tinynet report moons --open
      tinynet report runs
      tinynet report moons-adam moons-sgd -o compared.html
    """
    from monitor.doctor import diagnose

    opened, older = _opened(runs or [LATEST], root)
    folders = list(opened)
    target = Path(out) if out else (folders[0] if len(folders) == 1 else folders[0].parent) / "report.html"
    findings = [diagnose(run) for run in opened.values()]
    try:
        page = write_report(list(opened.values()), target, findings)
    except OSError as error:
        raise Mistake(f"{error}{'; -o FILE writes it elsewhere' * (out is None)}") from error
    if as_json:
        print_json({"report": str(page), "runs": [str(folder) for folder in folders], "older": older})
    else:
        say(f"{_those(folders, older)}: {plain(page)}", markup=False)
    if and_open:
        _show(page)


def _opened(names: Sequence[str], root: str) -> tuple[dict[Path, Run], int]:
    """The runs that are meant, by folder, and how many older ones are not shown. Of a folder of runs, one that cannot be
    read is passed over with a word on the error stream.
    """
    opened: dict[Path, Run] = {}
    older = 0
    for name in names:
        folders, among = find_runs(name, root)
        older += among - len(folders)
        for folder in folders:
            try:
                opened[folder] = Run.open(folder)
            except (OSError, ValueError, Mistake) as error:
                if len(folders) == 1:
                    raise
                click.echo(f"left out: {plain(getattr(error, 'message', error))}", err=True)
    if not opened:
        raise Mistake(f"none of the runs in {', '.join(map(repr, names))} can be read")
    return opened, older


def _those(folders: Sequence[Path], older: int) -> str:
    what = plain(folders[0].name) if len(folders) == 1 else f"{len(folders)} runs"
    return f"{what} ({older} older ones are left out)" if older else what


def _show(page: Path) -> None:
    import webbrowser

    if not webbrowser.open(page.resolve().as_uri()):
        raise Mistake(f"there is no browser that could be opened here: open {str(page)!r} in one yourself")


@click.command(cls=Command)
@run_argument()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="where to listen; 0 takes a free port  [0]")
@root_option
@user_errors
def watch(run: str, port: int, root: str) -> None:
    """Show a run in the browser while it trains.

    Ctrl-C ends it.

    RUN is a run's folder, its name or as much of it as no other run has, "latest" (which it is if left out), or a folder of
    runs. Only this machine can see the page.

    \b
    Examples:
      tinynet watch
      tinynet watch runs --port 8000
    """
    from monitor.serve import serve

    folder = find_run(run, root, or_folder_of_runs=True)
    try:
        serve(folder, port=port, say=lambda text: say(plain(text), markup=False))
    except OSError as error:
        raise Mistake(str(error).replace("port=0", "--port 0")) from error


@click.command(cls=Command)
@run_argument()
@root_option
@json_option
@user_errors
def doctor(run: str, root: str, as_json: bool) -> None:
    """Say what is wrong with a run, and what to try.

    RUN is a run's folder, its name or as much of it as no other run has, "latest" (which it is if left out), or a folder of
    runs: the latest 20 of them. Exit status 1 if something was detected, 0 if not.

    \b
    Examples:
      tinynet doctor
      tinynet doctor moons --json
    """
    from monitor.doctor import diagnose

    opened, older = _opened([run], root)
    found = {folder: diagnose(run) for folder, run in opened.items()}
    alone = is_run(find_run(run, root, or_folder_of_runs=True))
    if as_json:
        data = [{"folder": str(folder), **report.data()} for folder, report in found.items()]
        print_json(data[0] if alone else data)
    elif alone:
        say("\n".join(_lines(*found.values())), markup=False)
    else:
        for folder, report in found.items():
            say(f"[bold]{shown(folder)}[/]\n{shown(_lines(report)[0])}")
            say_detected(report)
            say()
        say(
            f"{_those(list(found), older)}; all about one of them: {program()} doctor {plain(_quoted(found))}", markup=False
        )
    sys.exit(max(report.exit_code for report in found.values()))


def _lines(report: Report) -> list[str]:
    """The doctor's text, as wide as the terminal is."""
    return list(map(plain, report.text(min(max(new_console().width, NARROWEST), WIDEST)).splitlines()))


def _quoted(found: dict[Path, Report]) -> str:
    """The first of the runs in which most was detected, as it can be typed."""
    return shlex.quote(str(max(found, key=lambda folder: len(found[folder].detected))))


@click.command(cls=Command)
@run_argument()
@click.option("--to", required=True, metavar="FORMAT", help="tensorboard, csv, mlflow or wandb")
@click.option(
    "-o",
    "--out",
    metavar="OUT",
    help="a folder to write to; for mlflow also a file.db or an address  [in the run's folder; mlflow, wandb beside it]",
)
@root_option
@json_option
@user_errors
def export(run: str, to: str, out: str | None, root: str, as_json: bool) -> None:
    """Write a run in the format of another tool.

    RUN is a run's folder, its name or as much of it as no other run has, or "latest" (which it is if left out).

    \b
    Examples:
      tinynet export --to csv
      tinynet export moons --to tensorboard -o logs
    """
    from monitor import exporters

    lookup("format", to, exporters.FORMATS)
    folder = find_run(run, root)
    written = exporters.export(Run.open(folder), to, out)
    if as_json:
        print_json({"run": str(folder), "format": to, "written": os.fspath(written)})
    else:
        say(f"{plain(folder.name)}, as {exporters.FORMATS[to].split(':')[0]}: {plain(written)}", markup=False)
