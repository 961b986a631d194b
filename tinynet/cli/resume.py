"""Which checkpoint a training that was broken off goes on from: the latest, the best, or one by its step or date."""

from __future__ import annotations

import re
import shlex
from datetime import datetime
from pathlib import Path
from typing import Any

from monitor import Run, load_checkpoint, store
from tinynet.cli.shared import Mistake, plain, program

NEWEST, BEST = ("latest", "last"), "best"
LISTED = 5  # steps named in an error


def find_checkpoint(folder: Path, which: str) -> tuple[dict[str, Any], list[str]]:
    """The checkpoint of a run that `which` means, and why later ones were passed over. Mistake if there is none.

    "latest" is the one taken last that can be read, be it a regular one or the best: a crash may have damaged others.
    """
    taken = _taken(folder)
    if not taken:
        raise Mistake(f"{folder} was broken off before its first checkpoint, after epoch 1: begin anew{_with(folder)}")
    if which in NEWEST:
        return _latest(folder, taken)
    step = which.removeprefix("step-")
    if which != BEST and not step.isdecimal() and not _is_date(which):
        raise Mistake(
            f"--from takes latest, best, the step of a checkpoint or a date such as 2026-11-21T14:30, got {which!r}"
        )
    try:
        return _load(folder, int(step) if step.isdecimal() else which), []
    except store.RecorderError as error:
        what = str(error).partition("; there are")[0]
        steps = [str(step) for step in sorted(map(_step, taken))]
        some = ", ".join(["...", *steps[-LISTED:]] if len(steps) > LISTED else steps)
        raise Mistake(f"{what}. There are those of steps {some}; --from latest takes the last that can be read") from error


def _taken(folder: Path) -> list[str]:
    """The names of all checkpoints of a run, in the order in which they were taken."""

    def when(path: Path) -> tuple[float, str]:
        try:
            return store.decode_number(store.read_json(path.with_suffix(".json")).get("time")), path.stem
        except (OSError, TypeError, ValueError, OverflowError):
            return path.lstat().st_mtime, path.stem

    paths = (folder / "checkpoints").glob("step-*.safetensors")
    return [path.stem for path in sorted((path for path in paths if re.fullmatch(r"step-\d+", path.stem)), key=when)]


def _latest(folder: Path, taken: list[str]) -> tuple[dict[str, Any], list[str]]:
    passed_over: list[str] = []
    for name in reversed(taken):
        try:
            return _load(folder, name), passed_over
        except store.RecorderError as error:
            passed_over.append(f"the checkpoint of step {_step(name):,} is passed over: {error}")
    raise Mistake(f"no checkpoint of {folder} can be read: begin anew{_with(folder)}")


def _load(folder: Path, which: str | int) -> dict[str, Any]:
    """A checkpoint with the fields that a training needs to go on, or a RecorderError."""
    try:
        checkpoint = load_checkpoint(folder, which)
        if type(checkpoint["step"]) is not int or type(checkpoint["epoch"]) is not int:
            raise TypeError("step and epoch should be whole numbers")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise store.RecorderError(f"the checkpoint {which!r} in {str(folder)!r} is damaged: {what}") from error
    return checkpoint


def _step(name: str) -> int:
    return int(name.removeprefix("step-"))


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _with(folder: Path) -> str:
    """The command that began the run, as far as it is known."""
    words = Run.open(folder).segments[0].get("command")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words) or words[1:2] != ["train"]:
        return ""
    return f" with: {program()} {plain(shlex.join(words[1:]))}"
