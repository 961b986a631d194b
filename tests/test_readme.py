"""The README begins with two commands, and its Python runs as it stands. What holds for every page is in test_docs.py."""

import pages


def test_the_python_blocks_run_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(pages.blocks(pages.README, "python")) >= 2
    pages.run_code(pages.README)


def test_the_two_commands_come_first():
    setup, check = pages.blocks(pages.README, "bash")[:2]
    assert setup.strip() == "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/tinynet train"
    assert check.strip() == '.venv/bin/pip install -e ".[test]" && .venv/bin/pytest'
