"""What it takes to begin: importing, from the start of a process to a trained net, and the memory that it took.

    python benchmarks/startup.py [--rounds 9]

Each figure is the median over fresh processes, run in turn, in time of the processor: `import numpy` alone, `import
tinynet`, and a two-moons net (2-32-32-2, ten epochs of 200 examples by `fit`) trained; and the same net in PyTorch, if it
is installed. Memory is the most that the process held (its maximum resident set). The files of Python are compiled, as they
are from the second import on. Below: which packages the time of `import tinynet` goes to, and the time of `gradcheck`.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import statistics
import subprocess
import sys
from collections import defaultdict

TINYNET = """
import tinynet as tn
from optimizers import Adam
x, y = tn.datasets.moons(200, seed=0)
model = tn.MLP([2, 32, 32, 2], seed=0)
tn.fit(model, (x, y), loss="cross_entropy", optimizer=Adam(model.parameters(), 1e-2), epochs=10, batch_size=32)
"""
TORCH = """
import torch
from torch import nn
torch.set_num_threads(1)
angle = torch.rand(100) * 3.14159
x = torch.cat([torch.stack([angle.cos(), angle.sin()], 1), torch.stack([1 - angle.cos(), 0.5 - angle.sin()], 1)])
y = torch.arange(200) // 100
model = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
optimizer = torch.optim.Adam(model.parameters(), 1e-2)
for epoch in range(10):
    for rows in torch.randperm(200).split(32):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
"""
GRADCHECK = """
import time, numpy as np, tinynet as tn
model = tn.MLP([4, 8, 3], activation="tanh", seed=0)
x = np.random.default_rng(0).standard_normal((5, 4))
start = time.process_time()
for _ in range(5):
    tn.gradcheck(lambda x: tn.cross_entropy(model(x), np.arange(5) % 3), x)
print((time.process_time() - start) / 5)
"""
PROGRAMS = {
    "import numpy": "import numpy",
    "import tinynet": "import tinynet",
    "tinynet, two moons trained": TINYNET,
    "import torch": "import torch",
    "PyTorch, two moons trained": TORCH,
}


def once(code: str) -> tuple[float, float]:
    """The time that a process took, in ms, and its most memory in MB."""
    code += "\nimport resource; u = resource.getrusage(resource.RUSAGE_SELF); print(u.ru_utime + u.ru_stime, u.ru_maxrss)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, memory = done.stdout.split()[-2:]
    return float(seconds) * 1e3, float(memory) / 1024


def by_package() -> dict[str, float]:
    """Milliseconds that the files of each package take themselves while tinynet is imported after NumPy."""
    command = [sys.executable, "-X", "importtime", "-c", "import numpy; import tinynet"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()
    found: dict[str, float] = defaultdict(float)
    after_numpy = False
    for line in lines:
        if match := re.match(r"import time:\s+(\d+) \|\s+\d+ \|\s*(\S+)", line):
            package = match[2].partition(".")[0]
            if after_numpy:
                ours = package in ("tinynet", "optimizers", "monitor", "numpy")
                found[package if ours else "standard library"] += int(match[1]) / 1e3
            after_numpy |= match[2] == "numpy"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # as users have it: compiled files are kept
    there = {name: code for name, code in PROGRAMS.items() if "orch" not in name or importlib.util.find_spec("torch")}
    for code in there.values():
        once(code)  # the compiled files are then in place, and the disk's cache is warm
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in there}
    for _ in range(rounds):
        for name, code in there.items():
            found[name].append(once(code))
    print("| what | time | memory |\n|---|---|---|")
    for name, pairs in found.items():
        time_, memory = (statistics.median(values) for values in zip(*pairs, strict=True))
        print(f"| {name} | {time_:.0f} ms | {memory:.0f} MB |")
    more = [b[0] - a[0] for a, b in zip(found["import numpy"], found["import tinynet"], strict=True)]
    packages = [by_package() for _ in range(rounds)]
    parts = {name: statistics.median(times.get(name, 0.0) for times in packages) for name in packages[0]}
    print(f"\n`import tinynet` takes {statistics.median(more):+.0f} ms over `import numpy`, by package in ms:", end=" ")
    print(", ".join(f"{name} {ms:.0f}" for name, ms in sorted(parts.items(), key=lambda part: -part[1])))
    done = subprocess.run([sys.executable, "-c", GRADCHECK], capture_output=True, text=True, check=True)
    print(f"gradcheck of a 4-8-3 net: {float(done.stdout) * 1e3:.1f} ms")


if __name__ == "__main__":
    main()
