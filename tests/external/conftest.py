"""The adapters that the tests here import are helpers, not tests: they are found on the path and never collected."""

import sys
from pathlib import Path

collect_ignore = ["adapters"]
sys.path.append(str(Path(__file__).parent / "adapters"))
