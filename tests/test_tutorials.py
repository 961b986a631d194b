"""Every lesson runs from top to bottom, as a learner would run it, with warnings as errors, and leaves its pictures."""

import runpy
from pathlib import Path

import pytest

LESSONS = sorted((Path(__file__).parent.parent / "tutorials").glob("[0-9]*.py"))


def test_there_are_lessons():
    assert len(LESSONS) >= 3


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_lesson(lesson, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(lesson), run_name="__main__")
    pictures = list((tmp_path / "pictures").glob(f"{lesson.stem[:2]}_*.png"))
    assert pictures
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_lesson_has_the_common_anatomy(lesson):
    text = lesson.read_text()
    for part in ("# %% [markdown]", "**You will**", "**You will learn**", "## On your own", "**Next:**"):
        assert part in text, f"{lesson.name} lacks {part!r}"
