"""The command as tests call it: in this process, or in one of its own on a terminal of a chosen width."""

import os
import select
import subprocess
import sys

import pytest
from click.testing import CliRunner

from tinynet.cli import main


@pytest.fixture
def tinynet(tmp_path, monkeypatch):
    """A function that runs the command in an empty folder and answers what it did."""
    monkeypatch.chdir(tmp_path)
    for name in ("TINYNET_TRACEBACK", "COLUMNS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments, status=0):
        result = CliRunner().invoke(main, arguments, prog_name="tinynet")
        assert result.exit_code == status, (result.output, result.exception)
        assert "Traceback" not in result.output
        return result

    return run


@pytest.fixture
def on_terminal():
    """A function that runs the command in a folder, on a terminal of so many columns, and answers what it wrote there."""
    if os.name != "posix":
        pytest.skip("needs a pseudo-terminal")
    return _on_terminal


def _on_terminal(folder, width, *arguments, **environment):
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    inherited = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "tinynet.cli", *arguments], cwd=folder, env=inherited | {"TERM": "xterm"} | environment,
        stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    screen = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # Linux's way of saying that the other end is closed
            break
        if not chunk:
            break
        screen += chunk
    os.close(ours)
    assert process.wait(60) == 0, screen
    return screen.decode()
