"""Where the unpacked source distributions of other projects are: in the folder that EXTERNAL_SDISTS names."""

import os
from pathlib import Path

import pytest


def folder_of(project, folder):
    """The folder of a project's own tests; skips the test (or the file) that asks if it is not there."""
    root = os.environ.get("EXTERNAL_SDISTS")
    if root is None:
        pytest.skip(f"{project}'s own tests are fetched by tests/external/run only", allow_module_level=True)
    found = sorted(Path(root).glob(f"{project}-*/{folder}"))
    if not found:
        pytest.skip(f"no {project}-*/{folder} in EXTERNAL_SDISTS={root}", allow_module_level=True)
    return found[-1].resolve()
