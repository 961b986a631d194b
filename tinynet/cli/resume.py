"""Which checkpoint a training that was broken off goes on from: the latest, the best, or one by its step or date."""

from __future__ import annotations

import re
import shlex
from datetime import datetime
from pathlib import Path
from typing import Any

from monitor import Run, load_checkpoint, store
from monitor.checkpoints import checkpoints
from tinynet.cli.shared import Mistake, plain, program

NEWEST, BEST = ("latest", "last"), "best"
LISTED = 5  # steps named in an error


def find_checkpoint(folder: Path, which: str) -> tuple[dict[str, Any], list[str]]:
    """The checkpoint of a run that `which` means, and why later ones were passed over. Mistake if there is none."""
    taken = checkpoints(folder / "checkpoints")
    if not taken:
        raise Mistake(f"{folder} was broken off before its first checkpoint, after epoch 1: begin anew{_with(folder)}")
    step = which.removeprefix("step-")
    if which not in (*NEWEST, BEST) and not step.isdecimal() and not _is_date(which):
        raise Mistake(
            f"--from takes latest, best, the step of a checkpoint or a date such as 2026-11-21T14:30, got {which!r}"
        )
    try:
        checkpoint = load_checkpoint(folder, NEWEST[0] if which in NEWEST else step)
    except store.RecorderError as error:
        if which in NEWEST:
            raise Mistake(f"no checkpoint of {folder} can be read: begin anew{_with(folder)}") from error
        what = str(error).partition("; there are")[0]
        steps = sorted(int(path.stem.removeprefix("step-")) for path in taken)
        some = ", ".join(["..."] * (len(steps) > LISTED) + [str(step) for step in steps[-LISTED:]])
        raise Mistake(f"{what}. There are those of steps {some}; --from latest takes the last that can be read") from error
    return checkpoint, [f"passed over: {why}" for why in checkpoint.get("passed_over", ())]


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def longer_training(run: Run) -> str:
    """The command that began a run, with twice as many epochs, as far as it is known."""
    epochs, command = run.config.get("epochs"), re.sub(r" --epochs[= ]\S+", "", _command(run))
    return f" {command} --epochs {2 * epochs}" if command and isinstance(epochs, int) else ""


def _with(folder: Path) -> str:
    """The command that began the run, as far as it is known."""
    command = _command(Run.open(folder))
    return command and f" with: {command}"


def _command(run: Run) -> str:
    words = run.segments[0].get("command")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words) or words[1:2] != ["train"]:
        return ""
    return f"{program()} {plain(shlex.join(words[1:]))}"
