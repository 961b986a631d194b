"""Commands that look at a run: report (a page), watch (the page while it trains), doctor (what is wrong), export."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from monitor import Run, write_report
from tinynet.cli.shared import Mistake, json_option, new_console, plain, print_json, root_option, say, user_errors
from tinynet.cli.which import LATEST, find_run
from tinynet.naming import lookup

NARROWEST, WIDEST = 40, 100  # columns that the doctor's text may fill


def run_argument(several: bool = False) -> Callable:
    """RUN, the latest if none is given; or RUN..."""
    return click.argument("runs" if several else "run", metavar="[RUN]..." if several else "[RUN]",
                          nargs=-1 if several else 1, default=None if several else LATEST)  # fmt: skip


@click.command()
@run_argument(several=True)
@click.option("-o", "--out", metavar="FILE", help="the page to write  [report.html in the run's folder, or beside several]")
@click.option("--open", "and_open", is_flag=True, help="show it in the browser")
@root_option
@json_option
@user_errors
def report(runs: Sequence[str], out: str | None, and_open: bool, root: str, as_json: bool) -> None:
    """Write a page about one or more runs.

    It shows curves, layers, pictures, and what the doctor found.

    RUN is a run's folder, its name or as much of it as no other run has, or "latest" (which it is if left out). The page is
    a single file that needs no network: keep it, send it.

    \b
    Examples:
      tinynet report
      tinynet report moons --open
      tinynet report moons-adam moons-sgd -o compared.html
    """
    from monitor.doctor import diagnose

    folders = list(dict.fromkeys(find_run(name, root) for name in runs or [LATEST]))
    opened = [Run.open(folder) for folder in folders]
    target = Path(out) if out else (folders[0] if len(folders) == 1 else folders[0].parent) / "report.html"
    page = write_report(opened, target, [diagnose(run) for run in opened])
    if as_json:
        print_json({"report": str(page), "runs": [str(folder) for folder in folders]})
    else:
        say(f"{_those(folders)}: {plain(page)}", markup=False)
    if and_open:
        _show(page)


def _those(folders: Sequence[Path]) -> str:
    return plain(folders[0].name) if len(folders) == 1 else f"{len(folders)} runs"


def _show(page: Path) -> None:
    import webbrowser

    if not webbrowser.open(page.resolve().as_uri()):
        raise Mistake(f"there is no browser that could be opened here: open {str(page)!r} in one yourself")


@click.command()
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


@click.command()
@run_argument()
@root_option
@json_option
@user_errors
def doctor(run: str, root: str, as_json: bool) -> None:
    """Say what is wrong with a run, and what to try.

    RUN is a run's folder, its name or as much of it as no other run has, or "latest" (which it is if left out). Exit
    status 1 if something was detected, 0 if not.

    \b
    Examples:
      tinynet doctor
      tinynet doctor moons --json
    """
    from monitor.doctor import diagnose

    found = diagnose(find_run(run, root))
    if as_json:
        print_json(found.data())
    else:
        width = min(max(new_console().width, NARROWEST), WIDEST)
        say("\n".join(map(plain, found.text(width).splitlines())), markup=False)
    sys.exit(found.exit_code)


@click.command()
@run_argument()
@click.option("--to", required=True, metavar="FORMAT", help="tensorboard, csv, mlflow or wandb")
@click.option("-o", "--out", metavar="OUT", help="where to write it  [in the run's folder]")
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
