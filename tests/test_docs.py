"""The pages that are made from the source are as the source is."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_table_of_derivatives_is_up_to_date():
    made = subprocess.run([sys.executable, ROOT / "docs" / "make_rules.py", "--check"], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
