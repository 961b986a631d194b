"""HIPS/autograd's own tests, run against tinynet through the interface in adapters/autograd_adapter.py.

They come from autograd's source distribution and run in a process of their own, in which `import autograd` finds our
stand-ins. Each of autograd's tests is passed, not applicable for a stated reason, or failed; none may fail, and the
number passed may not shrink.
"""

import collections
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from sdists import folder_of

import tinynet

ADAPTER = Path(__file__).parent / "adapters" / "autograd_adapter.py"
PASSED_FLOOR = 347
PASSED_CHECKS_FLOOR = 1323
ELSEWHERE = {  # files that ask for what tinynet does not have -> why they do not apply
    "test_fft.py": "Fourier transforms",
    "test_scipy.py": "SciPy's functions",
    "test_vspaces.py": "autograd's internals",
}


def run(folder, files, results):
    """What became of every test, [name, verdict, reason], and how many checks inside them passed or do not apply."""
    paths = [str(Path(tinynet.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, str(ADAPTER), str(results), *files]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert results.exists(), done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads(results.read_text())


def test_autograds_own_tests(tmp_path, capsys):
    folder = folder_of("autograd", "tests")
    files = sorted(path.name for path in folder.glob("test_*.py"))
    found = run(folder, [name for name in files if name not in ELSEWHERE], tmp_path / "results.json")
    tests = found["tests"]
    for name in set(files) & set(ELSEWHERE):
        tests += [[name, "not applicable", ELSEWHERE[name]]] * len(
            re.findall(r"^\s*def test_", (folder / name).read_text(), re.M)
        )
    counts = collections.Counter(verdict for _, verdict, _ in tests)
    reasons = collections.Counter(reason for _, verdict, reason in tests if verdict == "not applicable")
    with capsys.disabled():
        print(f"\n{len(files)} files, tests: {dict(counts)}")
        print("\n".join(f"  {n:5} not applicable: {why}" for why, n in reasons.most_common()))
        print(f"  gradient checks inside the tests: {found['checks']}")
    failures = [f"{name}\n{text}" for name, verdict, text in tests if verdict == "failed"]
    assert not failures, f"{len(failures)} failed\n" + "\n".join(failures)
    assert counts["passed"] >= PASSED_FLOOR
    assert found["checks"].get("passed", 0) >= PASSED_CHECKS_FLOOR
