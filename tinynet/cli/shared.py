"""What all commands have in common: mistakes in one sentence, output that no name can garble, options of the same name."""

from __future__ import annotations

import functools
import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from monitor.store import encode
from tinynet.backend import DeviceError

if TYPE_CHECKING:
    from rich.console import Console

THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")

json_option = click.option("--json", "as_json", is_flag=True, help="print the result as JSON and nothing else")
root_option = click.option("--runs", "root", default="runs", help="the folder in which to look for runs  [runs]")


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
