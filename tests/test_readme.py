"""The README is true: its Python runs as it stands, its files exist, its commands are commands."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from tinynet.cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_python_blocks_run_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(blocks("python")) >= 2
    names: dict = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)


def test_links_and_pictures_exist():
    targets = re.findall(r"\]\((?!https?://)([^)#]+)", README)
    assert targets
    for target in targets:
        assert (ROOT / target).exists(), target


def test_the_two_commands_come_first():
    setup, check = blocks("bash")[:2]
    assert setup.split() == [
        "python3",
        "-m",
        "venv",
        ".venv",
        "&&",
        ".venv/bin/pip",
        "install",
        "-e",
        ".",
        "&&",
        ".venv/bin/tinynet",
        "train",
    ]
    assert check.split() == [".venv/bin/pip", "install", "-e", '".[test]"', "&&", ".venv/bin/pytest"]


@pytest.mark.parametrize("line", sorted({line for block in blocks("text") for line in block.splitlines() if line}))
def test_command_lines_in_the_readme_parse(line, tmp_path):
    program, command, *arguments = shlex.split(line.split("  #")[0])
    assert program == "tinynet"
    options = {option for parameter in main.commands[command].params for option in parameter.opts}
    assert {a for a in arguments if a.startswith("--")} <= options
    assert CliRunner().invoke(main, [command, "--help"]).exit_code == 0
