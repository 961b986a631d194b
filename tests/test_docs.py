"""The pages are true: their Python runs, their commands parse, their links and scripts exist, and those that are made
from the source are as the source is. How pages are read: pages.py.
"""

import doctest
import re
import runpy
import shutil
import subprocess
import sys

import click
import pages
import pytest
from pages import DOCS, README, ROOT

import optimizers
from optimizers.trajectories import Point
from tinynet.cli import main

PAGES = [README, *DOCS]
EXAMPLES = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def named(page):
    return page.name


# Code -----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """What the pages take for granted: a recorded run, and event files that Keras wrote."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "tests" / "goldens" / "run-v1", "runs/20260101-120000-moons")
    shutil.copytree(ROOT / "tests" / "goldens" / "tensorboard" / "keras", "logs/fit/train")
    return tmp_path


@pytest.mark.parametrize("page", [page for page in DOCS if pages.blocks(page, "python")], ids=named)
def test_the_python_of_a_page_runs_block_after_block(page, folder, request):
    if page.name == "gpu.md":
        request.getfixturevalue("standin")  # in the place of a GPU
    names = {name: getattr(optimizers, name) for name in optimizers.__all__} if page.name == "optimizers.md" else {}
    pages.run_code(page, names)


def test_the_examples_among_the_optimizers_answer_what_the_page_says():
    sessions = "".join(
        block for block in pages.blocks(ROOT / "docs" / "optimizers.md", "python") if block.startswith(">>>")
    )
    names = {name: getattr(optimizers, name) for name in optimizers.__all__} | {"params": [Point([1.0])]}
    test = doctest.DocTestParser().get_doctest(sessions, names, "optimizers.md", None, 0)
    assert len(test.examples) >= 3
    assert doctest.DocTestRunner(optionflags=EXAMPLES).run(test).failed == 0


@pytest.mark.parametrize("page", DOCS, ids=named)
def test_code_in_python_is_fenced_so_that_it_is_run(page):
    """Indented blocks are for what is printed and typed."""
    indented = re.findall(r"^ {4}(?:import |from \w+ import |with \w+\(|\w+ = \w+[.(]).*", page.read_text(), re.MULTILINE)
    fenced = "".join(pages.blocks(page, r"(?:python|text)"))
    assert [line for line in indented if line.strip() not in fenced] == []


# Commands, scripts and links --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("page", "line"), [(p, line) for p in PAGES for line in pages.command_lines(p)], ids=str)
def test_commands_parse(page, line):
    pages.parse(line)


def test_commands_that_do_not_parse_are_noticed():
    for line in (
        "tinynet trian",
        "tinynet train --epoch-count 3",
        "tinynet train --epochs many",
        "tinynet runs a b --json=3",
    ):
        with pytest.raises(click.UsageError):
            pages.parse(line)


def test_every_command_is_on_a_page():
    lines = " ".join(line for page in PAGES for line in pages.command_lines(page))
    assert [name for name in main.commands if f"tinynet {name}" not in lines] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_scripts_exist_and_have_their_options(page):
    for path, options in pages.scripts(page):
        assert all(option in (ROOT / path).read_text() for option in options), (path, options)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_and_pictures_exist(page):
    for path, heading in pages.links(page):
        target = page.parent / path if path else page
        assert target.exists(), path
        assert not heading or heading in pages.headings(target), heading


# Pages that are made ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", ["make_rules.py", "make_optimizers.py"])
def test_pages_made_from_the_source_are_up_to_date(script):
    made = subprocess.run([sys.executable, ROOT / "docs" / script, "--check"], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr


def test_the_optimizer_of_ones_own_runs_and_prints_what_the_page_says(tmp_path, capsys):
    page = (ROOT / "docs" / "optimizers.md").read_text()
    section = page.split("## Write your own optimizer in one method")[1].split("\n## ")[0]
    code, printed = re.findall(r"```(?:python|text)\n(.*?)\n```", section, flags=re.DOTALL)[-2:]
    (tmp_path / "own.py").write_text(code)
    runpy.run_path(str(tmp_path / "own.py"))
    assert capsys.readouterr().out.strip() == printed


def test_the_pictures_of_the_page_of_optimizers_are_there():
    page = (ROOT / "docs" / "optimizers.md").read_text()
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", page)
    assert len(pictures) == 3
    assert all((ROOT / "docs" / picture).is_file() for picture in pictures)


def test_every_optimizer_and_schedule_of_the_package_is_on_the_page():
    page = (ROOT / "docs" / "optimizers.md").read_text()
    for name in optimizers.__all__:
        kind = getattr(optimizers, name)
        if isinstance(kind, type) and issubclass(kind, optimizers.Optimizer | optimizers.Schedule):
            said = name in ("Optimizer", "Schedule") or f"### {name}\n" in page or f"`{name}(" in page
            assert said, name
