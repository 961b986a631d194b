"""The `tinynet` command. Each room beside this file holds one family of commands:

    train.py      train                            make a run
    compare.py    compare                          make many, of several optimizers
    listing.py    runs                             which runs there are
    looking.py    report, watch, doctor, export    look at one
    machine.py    check, env                       look at the machine
    which.py, shared.py                            what they have in common

A new command: write it in a room, and name it in COMMANDS, whose order is that of `tinynet --help`. What a command needs
beyond click and tinynet is imported when it runs, so that `tinynet --help` answers at once.
"""

from __future__ import annotations

import sys

import click

import tinynet
from tinynet.cli import compare, listing, looking, machine, train

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


class InOrder(click.Group):
    """A group whose help lists the commands in the order in which they were added."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=InOrder, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(tinynet.__version__, prog_name="tinynet")
def main() -> None:
    """Train small networks, and see how it went. Start with: tinynet train"""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal without our letters shows their numbers, and is no error
            stream.reconfigure(errors="backslashreplace")


for command in COMMANDS:
    main.add_command(command)
