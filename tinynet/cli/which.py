"""Which run is meant: a folder, "latest", or the name of a run or as much of it as no other run has.

Where a command takes several, also a folder of runs, of which the latest are meant.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from monitor import store
from tinynet.cli.shared import ROOT, Mistake, program

LATEST = "latest"
LISTED = 5  # runs named in an error
MOST_RUNS = 20  # of a folder of runs, the latest
STAMP = re.compile(r"^\d{8}-\d{6}-")  # 20261121-143000-moons was given the name moons


def find_run(text: str, root: str, or_folder_of_runs: bool = False, to_resume: bool = False) -> Path:
    """The folder of the run that `text` means; with `or_folder_of_runs` also a folder that holds runs.

    With `to_resume`, runs that have finished are meant only if `text` fits no other: then the latest of them.

    In this order: a run's folder; "latest", the run under `root` that was started or resumed last; the run under `root`
    with this name, or whose name begins with it, or has it in it. Mistake if there is none, or more than one.
    """
    if is_run(text):
        return Path(text)
    folder, name = os.path.split(text.rstrip("/" + os.sep))
    if os.path.isdir(folder):  # runs/2026 is a part of a name, too
        root = folder
    elif folder:
        name = text
    runs = folders_of_runs(root)
    if or_folder_of_runs and os.path.isdir(text) and (folders_of_runs(text) or not _fitting(name, runs)):
        return Path(text)
    if inside := folders_of_runs(text) if os.path.isdir(text) and not _fitting(name, runs) else []:
        raise Mistake(f"{text!r} is a folder of runs, and one run is wanted: add its name, or {LATEST!r}. {_list(inside)}")
    if not runs:
        make = f"{program()} train{in_root(root)}"
        raise Mistake(f"there are no runs in {root!r}: make one with '{make}', or say where they are with --runs")
    left = [run for run in runs if not _has_finished(run)] if to_resume else runs
    if name == LATEST:
        return max(left or runs, key=_began)
    found = _fitting(name, left)
    if not found and to_resume:
        found = sorted(_fitting(name, runs), key=_began)[-1:]
    if len(found) == 1:
        return found[0]
    raise Mistake(_several(text, found) if found else _none(text, root, runs))


def find_runs(text: str, root: str) -> tuple[list[Path], int]:
    """The run that `text` means, or of a folder of runs the MOST_RUNS latest, oldest first; and how many there are."""
    folder = find_run(text, root, or_folder_of_runs=True)
    if is_run(folder):
        return [folder], 1
    runs = sorted(folders_of_runs(str(folder)), key=_began)
    if not runs:
        raise Mistake(f"{text!r} is neither a run nor a folder of runs: no run.json is in it, nor in the folders there")
    return runs[-MOST_RUNS:], len(runs)


def in_root(root: str | os.PathLike) -> str:
    """The option that a command needs for the runs in this folder: none, if that is where it looks anyway."""
    return "" if os.fspath(root) == ROOT else f" --runs {shlex.quote(os.fspath(root))}"


def is_run(path: str | Path) -> bool:
    """Whether a run is in a folder."""
    return os.path.isfile(os.path.join(path, "run.json"))  # False, not an error, for what cannot be a path


def folders_of_runs(root: str) -> list[Path]:
    """The folders of all runs in a folder, by name; a Mistake if it is none."""
    if os.path.exists(root) and not os.path.isdir(root):
        raise Mistake(f"{root!r} is not a folder: name the folder that holds the runs, such as runs")
    return sorted((path.parent for path in Path(root).glob("*/run.json")), key=lambda folder: _in_order(folder.name))


def _in_order(name: str) -> list[Any]:
    """A key that sorts moons-2 before moons-10."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+)", name))]


def _began(folder: Path) -> tuple[str, list[Any]]:
    """When a run was last started: ISO 8601, to the second; among those of one second the name decides."""
    try:
        meta = store.read_json(folder / "run.json")
    except OSError:
        meta = {}
    times = [time for time in (meta.get("resumed"), meta.get("started")) if isinstance(time, str)]
    return next(iter(times), ""), _in_order(folder.name)


def _has_finished(folder: Path) -> bool:
    try:
        return store.read_json(folder / "run.json").get("status") == "finished"
    except (OSError, store.RecorderError):
        return False


def _fitting(text: str, runs: Sequence[Path]) -> list[Path]:
    """The runs that `text` fits best: those of this very name, else those whose name begins with it, else has it in it."""
    wanted = text.casefold()
    ways: list[Callable[[str], bool]] = [
        lambda name: name == text,
        lambda name: STAMP.sub("", name).casefold() == wanted,
        lambda name: name.casefold().startswith(wanted),
        lambda name: wanted in name.casefold(),
    ]
    found = ([run for run in runs if fits(run.name)] for fits in ways if wanted)
    return next(filter(None, found), [])


def _several(text: str, found: Sequence[Path]) -> str:
    return f"{text!r} fits {len(found)} runs: write more of the name, or {LATEST!r}. {_list(found)}"


def _none(text: str, root: str, runs: Sequence[Path]) -> str:
    if os.path.isdir(text):
        return f"there is no run in {text!r}: run.json is missing. {_list(runs)}"
    names = {name: run.name for run in runs for name in (STAMP.sub("", run.name), run.name)}
    near = difflib.get_close_matches(text, names, 1, cutoff=0.6)
    hint = f": did you mean {names[near[0]]!r}?" if near else "."
    return f"no run in {root!r} is called {text!r}{hint} {_list(runs)}"


def _list(runs: Sequence[Path]) -> str:
    last = ", ".join(run.name for run in runs[-LISTED:])
    return f"The last {LISTED} of {len(runs)} are {last}" if len(runs) > LISTED else f"There are {last}"
