"""What all commands have in common: mistakes in one sentence, output that no name can garble, options of the same name."""

from __future__ import annotations

import difflib
import functools
import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from monitor.store import encode
from tinynet.backend import DeviceError

if TYPE_CHECKING:
    from rich.console import Console

    from monitor.doctor import Report

THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")

ROOT = "runs"  # where runs are, if the user does not say
# Options as other programs, or other commands, call them
ELSEWHERE = {
    "--learning-rate": "--lr",
    "--weight-decay": "--l2",
    "--layers": "--hidden",
    "--output": "--out",
    "--format": "--to",
    "--problem": "--on",
    "--dataset": "--data",
    "--optimizer": "--optimizers",
    "--runs": "--root",
}

json_option = click.option("--json", "as_json", is_flag=True, help="print the result as JSON and nothing else")
root_option = click.option("--runs", "root", default=ROOT, help="the folder in which to look for runs  [runs]")


# Mistakes -----------------------------------------------------------------------------------------------------------------


class Mistake(click.ClickException):
    """Something the user can put right, said in one sentence."""

    exit_code = 2

    def __init__(self, message: str):
        super().__init__(plain(" ".join(message.split())))


def user_errors(command: Callable) -> Callable:
    """A user's mistake ends in one sentence and exit status 2, Ctrl-C in 130; neither in a traceback."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> Any:
        try:
            return command(*args, **options)
        except BrokenPipeError:  # the reader of our output has gone (tinynet runs | head): click leaves quietly
            raise
        except KeyboardInterrupt:
            sys.exit(130)
        except (ValueError, TypeError, OSError, ImportError, DeviceError, FloatingPointError) as error:
            if os.environ.get("TINYNET_TRACEBACK"):
                raise
            raise Mistake(str(error)) from error

    return run


class Command(click.Command):
    """A command that says what was meant by an option that it does not have."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        words = list(args)
        try:
            return super().parse_args(context, args)
        except click.NoSuchOption as error:
            name = _as_typed(error.option_name, words)
            raise click.UsageError(f"there is no option {plain(repr(name))}{self.hint(context, name)}", context) from None

    def hint(self, context: click.Context, option: str) -> str:
        """What to type instead of the option: `: did you mean '--lr'?`, or nothing."""
        known = [name for parameter in self.get_params(context) for name in parameter.opts if name.startswith("--")]
        arguments = [f"--{parameter.name}" for parameter in self.params if isinstance(parameter, click.Argument)]
        wanted = "--" + option.strip("-").replace("_", "-").lower()
        wanted = ELSEWHERE[wanted] if ELSEWHERE.get(wanted) in [*known, *arguments] else wanted
        if wanted in arguments:
            return f": write it without one, as in {context.command_path} {wanted.strip('-').upper()}"
        return did_you_mean(wanted, known)


def _as_typed(option: str, words: list[str]) -> str:
    """The option as it was typed: of -lr 0.1 click names only -l, having taken it for -l -r."""
    return next((word.split("=")[0] for word in words if word.startswith(option)), option)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about a name that is none: what may have been meant, if anything is near.

    >>> print("no option '--epoch'" + did_you_mean("--epoch", ["--epochs", "--lr"]))
    no option '--epoch': did you mean '--epochs'?
    """
    near = difflib.get_close_matches(name, list(known), 1, cutoff=0.7)
    return f": did you mean {near[0]!r}?" if near else ""


# Output -------------------------------------------------------------------------------------------------------------------


def plain(text: Any) -> str:
    """`text` with every character that could move the cursor, ring or hide something written as its number.

    >>> print(plain("moons\\x1b[2J"))
    moons\\x1b[2J
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def shown(text: Any) -> str:
    """`text` from outside as part of a string with rich's markup: what looks like markup in it is text.

    >>> print(shown("[red]moons"))
    \\[red]moons
    """
    from rich.markup import escape

    return escape(plain(text))


def new_console(width: int | None = None) -> Console:
    """Where to print with colour; a new one for each command, since it keeps what it finds of the terminal."""
    from rich.console import Console

    return Console(highlight=False, width=width)


def say(text: Any = "", markup: bool = True) -> None:
    """Print a text, its long lines left to the terminal to wrap."""
    new_console().print(text, markup=markup, soft_wrap=True)


def say_detected(report: Report) -> None:
    """Print what the doctor detected, a line each."""
    for found in report.detected:
        colour = "yellow" if found.severity in ("info", "warning") else "red"
        say(f"[{colour}]{found.severity}[/] {found.id}: {shown(found.message)}")


def print_json(value: Any) -> None:
    """Print a value as one line of strict JSON."""
    print(json.dumps(encode(value), allow_nan=False))


def program() -> str:
    """The command as it can be typed: by its path, if its environment is not activated."""
    return "tinynet" if shutil.which("tinynet") or Path(sys.argv[0]).name != "tinynet" else shlex.quote(sys.argv[0])


# Threads ------------------------------------------------------------------------------------------------------------------


def one_blas_thread() -> AbstractContextManager:
    """For nets as small as ours a second BLAS thread costs more than it gives, above all on a busy machine; unless the
    user has chosen a number.
    """
    if any(name in os.environ for name in THREADS):
        return nullcontext()
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=1, user_api="blas")
