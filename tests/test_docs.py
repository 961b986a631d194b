"""The pages that are made from the source are as the source is, and what they say that code prints, it prints."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("script", ["make_rules.py", "make_optimizers.py"])
def test_pages_made_from_the_source_are_up_to_date(script):
    made = subprocess.run([sys.executable, ROOT / "docs" / script, "--check"], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr


def test_the_optimizer_of_ones_own_runs_and_prints_what_the_page_says(tmp_path, capsys):
    page = (ROOT / "docs" / "optimizers.md").read_text()
    section = page.split("## Write your own optimizer in one method")[1].split("\n## ")[0]
    code, printed = re.findall(r"```(?:python|text)\n(.*?)\n```", section, flags=re.DOTALL)
    (tmp_path / "own.py").write_text(code)
    runpy.run_path(str(tmp_path / "own.py"))
    assert capsys.readouterr().out.strip() == printed


def test_the_pictures_of_the_page_of_optimizers_are_there():
    page = (ROOT / "docs" / "optimizers.md").read_text()
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", page)
    assert len(pictures) == 3
    assert all((ROOT / "docs" / picture).is_file() for picture in pictures)


def test_every_optimizer_and_schedule_of_the_package_is_on_the_page():
    import optimizers

    page = (ROOT / "docs" / "optimizers.md").read_text()
    for name in optimizers.__all__:
        kind = getattr(optimizers, name)
        if isinstance(kind, type) and issubclass(kind, optimizers.Optimizer | optimizers.Schedule):
            said = name in ("Optimizer", "Schedule") or f"### {name}\n" in page or f"`{name}(" in page
            assert said, name
