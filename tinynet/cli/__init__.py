"""The `tinynet` command. Each room beside this file holds one family of commands:

    train.py      train                            make a run
    resume.py     train --resume                   from which checkpoint to go on with one
    compare.py    compare                          make many, of several optimizers
    listing.py    runs                             which runs there are
    looking.py    report, watch, doctor, export    look at one
    machine.py    check, env                       look at the machine
    which.py, shared.py                            what they have in common

A new command: write it in a room, and name it in COMMANDS, whose order is that of `tinynet --help`. What a command needs
beyond click and tinynet is imported when it runs, so that `tinynet --help` answers at once.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

import tinynet
from tinynet import datasets
from tinynet.cli import compare, listing, looking, machine, train
from tinynet.cli.shared import Command, plain, program
from tinynet.naming import lookup

COMMANDS: tuple[click.Command, ...] = (
    train.train,
    compare.compare,
    listing.runs,
    looking.report,
    looking.watch,
    looking.doctor,
    looking.export,
    machine.check,
    machine.env,
)


class Commands(Command, click.Group):
    """A group that lists its commands in the order in which they were added, and says which one was meant."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(self, context: click.Context, args: list[str]) -> tuple:
        name = args[0]
        if not name.startswith("-") and name not in self.commands:
            raise click.UsageError(plain(self._unknown(name)), context)
        return super().resolve_command(context, args)

    def _unknown(self, name: str) -> str:
        if name in {**datasets.GENERATED, **datasets.REAL} or Path(name).is_file():
            return f"{name!r} is no command, but something to train on: {program()} train {shlex.quote(name)}"
        try:
            return lookup("command", name, self.commands)
        except ValueError as error:
            return str(error)

    def hint(self, context: click.Context, option: str) -> str:
        """As of a command; an option of one of the commands has its place after that."""
        name = next((name for name, own in self.commands.items() if any(option in p.opts for p in own.params)), None)
        return f": it goes after a command, as in {program()} {name} {option}" if name else super().hint(context, option)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(tinynet.__version__, prog_name="tinynet")
def main() -> None:
    """Train small networks, and see how it went. Start with: tinynet train"""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal without our letters shows their numbers, and is no error
            stream.reconfigure(errors="backslashreplace")


for command in COMMANDS:
    main.add_command(command)
