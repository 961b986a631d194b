"""The pages of documentation as tests read them: README.md and docs/*.md, their code, commands, scripts and links."""

import re
import shlex
from pathlib import Path

import click

from tinynet.cli import main

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))


def blocks(page, language):
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def run_code(page, names=None):
    """Run the Python of a page, block after block in one namespace, which is answered."""
    names = {} if names is None else names
    for block in blocks(page, "python"):
        if not block.startswith(">>>"):
            exec(compile(block, page.name, "exec"), names)
    return names


def command_lines(page):
    """All lines and words in code that begin with "tinynet ", without the remarks behind them."""
    text = page.read_text()
    fences = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
    code = [*fences.findall(text), *re.findall(r"^ {4}.*$", text, re.MULTILINE)]
    lines = re.findall(r"^ *(tinynet .+)", "\n".join(code), re.MULTILINE)
    inline = re.findall(r"`(tinynet [^`]+)`", fences.sub("", text))
    found = [" ".join(line.split("  #")[0].split()) for line in (*lines, *inline)]
    return list(dict.fromkeys(line for line in found if "..." not in line))


def parse(line):
    """Read a command line as `tinynet` would, without running it; click.UsageError if it would refuse it."""
    program, *arguments = shlex.split(line)
    assert program == "tinynet"
    command: click.Command = main
    while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        name = arguments.pop(0)
        if name not in command.commands:
            raise click.UsageError(f"there is no tinynet {name}")
        command = command.commands[name]
    asked = [a for a in arguments if a not in ("--help", "-h", "--version")]  # these do nothing but answer
    if not isinstance(command, click.Group):
        command.make_context(line, asked).close()


def scripts(page):
    """(path, options) of every `python path --option ...` in code."""
    for path, rest in re.findall(r"python3? ([\w/]+\.py)([^`\n#]*)", page.read_text()):
        yield path, re.findall(r"--[\w-]+", rest)


def links(page):
    """Targets of links and pictures that are not on the web: (path, heading or "")."""
    return re.findall(r"\]\((?!https?://)([^)#]*)#?([^)]*)\)", page.read_text())


def headings(page):
    """The names by which the headings of a page can be linked to."""
    found = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}
