"""What it takes to begin: importing, from the start of a process to a trained net, and the memory that it took.

    python benchmarks/startup.py [--rounds 7]

Each figure is the median over fresh processes, run in turn: `import numpy` alone, `import tinynet`, and a two-moons net
(2-32-32-2, ten epochs of 200 examples by `fit`) trained; and the same net in PyTorch, if it is installed. Memory is the
most that the process held (its maximum resident set). The last line is the time of `gradcheck` on a small net.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import time

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
start = time.perf_counter()
for _ in range(5):
    tn.gradcheck(lambda x: tn.cross_entropy(model(x), np.arange(5) % 3), x)
print((time.perf_counter() - start) / 5)
"""
PROGRAMS = {
    "import numpy": "import numpy",
    "import tinynet": "import tinynet",
    "tinynet, two moons trained": TINYNET,
    "import torch": "import torch",
    "PyTorch, two moons trained": TORCH,
}


def once(code: str) -> tuple[float, float]:
    """Seconds from start to end of a process, and its most memory in MB."""
    code += "\nimport resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return time.perf_counter() - start, float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
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
    for name, pairs in found.items():
        seconds, memory = (statistics.median(values) for values in zip(*pairs, strict=True))
        print(f"{name:<28} {seconds:6.2f} s  {memory:6.0f} MB")
    done = subprocess.run([sys.executable, "-c", GRADCHECK], capture_output=True, text=True, check=True)
    print(f"{'gradcheck of a 4-8-3 net':<28} {float(done.stdout) * 1e3:6.1f} ms")


if __name__ == "__main__":
    main()
