"""What one training step costs, in time and in memory: tinynet against NumPy written by hand.

    python benchmarks/step.py [--rounds 25]

A step is the forward pass, the loss, the backward pass, Adam, and the loss read as a Python number, in float32, with one
BLAS thread. "by hand" is the fastest plain NumPy we can write: every buffer made beforehand, everything written in place,
all parameters in one flat array; "textbook" is what one writes on a blackboard. All start from the same weights and must
reach the same losses. They are timed in turn, round after round, in time of the processor, so that a machine that slows
down slows all; the figures are medians over the rounds (a third of them on the largest net), as multiples of "by hand".

Memory is what a step needs beside the parameters, their gradients and Adam's two states, which all have: the buffers made
beforehand ("by hand", "captured"), or the most that is in use at once ("eager", "textbook").
"""

from __future__ import annotations

import os

for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"  # before NumPy is imported

import argparse
import platform
import statistics
import time
import tracemalloc
from collections.abc import Callable
from itertools import pairwise

import numpy as np

import tinynet as tn
from optimizers import Adam

LR, B1, B2, EPS = 1e-3, 0.9, 0.999, 1e-8

WORKLOADS = {
    "2-16-16-2 tanh mse, batch 32": ([2, 16, 16, 2], "tanh", 32, 200),
    "64-128-64-10 relu cross-entropy, batch 64": ([64, 128, 64, 10], "relu", 64, 100),
    "784-512-256-10 relu cross-entropy, batch 128": ([784, 512, 256, 10], "relu", 128, 10),
    "1024-2048-2048-10 relu cross-entropy, batch 512": ([1024, 2048, 2048, 10], "relu", 512, 1),
    "2-32-...-32-2 (20 x 32) tanh mse, batch 32": ([2, *[32] * 20, 2], "tanh", 32, 50),
}


def problem(sizes: list[int], batch: int) -> tuple[np.ndarray, np.ndarray, tn.MLP]:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((batch, sizes[0]), dtype=np.float32)
    regression = sizes[-1] == 2
    y = generator.standard_normal((batch, 2), dtype=np.float32) if regression else generator.integers(0, sizes[-1], batch)
    return x, y, tn.MLP(sizes, activation="tanh" if regression else "relu", seed=0)


def eager(sizes: list[int], activation: str, batch: int, wrap: Callable = lambda f: f) -> Callable[[], float]:
    x, y, model = problem(sizes, batch)
    loss_of = tn.mse_loss if activation == "tanh" else tn.cross_entropy
    optimizer = Adam(model.parameters(), lr=LR)

    @wrap
    def step(x: np.ndarray, y: np.ndarray) -> tn.Tensor:
        loss = loss_of(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return lambda: step(x, y).item()


def captured(sizes: list[int], activation: str, batch: int) -> Callable[[], float]:
    made = []

    def wrap(step: Callable) -> Callable:
        made.append(tn.capture(step))
        return made[0]

    step = eager(sizes, activation, batch, wrap)
    step.buffers = lambda: made[0].buffers()  # type: ignore[attr-defined]
    return step


def textbook(sizes: list[int], activation: str, batch: int) -> Callable[[], float]:
    x, y, model = problem(sizes, batch)
    params = [p.data.copy() for p in model.parameters()]
    m, v = [np.zeros_like(p) for p in params], [np.zeros_like(p) for p in params]
    t = 0

    def step() -> float:
        nonlocal t
        hs = [x]
        for i in range(0, len(params), 2):
            z = hs[-1] @ params[i] + params[i + 1]
            last = i + 2 == len(params)
            hs.append(z if last else np.tanh(z) if activation == "tanh" else np.maximum(z, 0))
        out = hs[-1]
        if activation == "tanh":
            loss, g = np.mean((out - y) ** 2), 2 * (out - y) / out.size
        else:
            p = np.exp(out - out.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            loss, g = -np.mean(np.log(p[np.arange(batch), y])), (p - np.eye(sizes[-1], dtype=np.float32)[y]) / batch
        grads = []
        for i in range(len(params) - 2, -1, -2):
            h = hs[i // 2]
            grads = [h.T @ g, g.sum(axis=0), *grads]
            if i:
                g = (g @ params[i].T) * (1 - h * h if activation == "tanh" else h > 0)
        t += 1
        for k, grad in enumerate(grads):
            m[k] = B1 * m[k] + (1 - B1) * grad
            v[k] = B2 * v[k] + (1 - B2) * grad**2
            params[k] = params[k] - LR * (m[k] / (1 - B1**t)) / (np.sqrt(v[k] / (1 - B2**t)) + EPS)
        return float(loss)

    return step


def by_hand(sizes: list[int], activation: str, batch: int) -> Callable[[], float]:
    x, y, model = problem(sizes, batch)
    flat = np.concatenate([p.data.ravel() for p in model.parameters()])
    grad, m, v, s, u = (np.zeros_like(flat) for _ in range(5))
    views: list[tuple[np.ndarray, ...]] = []
    at = 0
    for fan_in, fan_out in pairwise(sizes):
        end = at + fan_in * fan_out
        views.append((flat[at:end].reshape(fan_in, fan_out), flat[end : end + fan_out],
                      grad[at:end].reshape(fan_in, fan_out), grad[end : end + fan_out]))  # fmt: skip
        at = end + fan_out
    hs = [x, *(np.empty((batch, n), np.float32) for n in sizes[1:])]
    gs = [x[:0], *(np.empty_like(h) for h in hs[1:])]
    masks = [np.empty(h.shape, bool) if activation == "relu" else None for h in hs[1:-1]]
    top, sums = np.empty((batch, 1), np.float32), np.empty((batch, 1), np.float32)
    rows, n, t = np.arange(batch), len(views), 0

    def step() -> float:
        nonlocal t
        for i, (w, b, _, _) in enumerate(views):
            h = np.matmul(hs[i], w, out=hs[i + 1])
            np.add(h, b, out=h)
            if i < n - 1 and activation == "tanh":
                np.tanh(h, out=h)
            elif i < n - 1:
                np.maximum(h, 0, out=h)
        out, g = hs[-1], gs[-1]
        if activation == "tanh":
            np.subtract(out, y, out=g)
            loss = float(np.dot(g.ravel(), g.ravel())) / g.size
            np.multiply(g, 2 / g.size, out=g)
        else:
            np.maximum.reduce(out, axis=1, keepdims=True, out=top)
            np.subtract(out, top, out=out)
            own = out[rows, y]
            np.exp(out, out=g)
            np.add.reduce(g, axis=1, keepdims=True, out=sums)
            loss = float(np.log(sums).sum() - own.sum()) / batch
            np.divide(g, sums, out=g)
            g[rows, y] -= 1
            np.multiply(g, 1 / batch, out=g)
        for i in range(n - 1, -1, -1):
            w, _, gw, gb = views[i]
            np.matmul(hs[i].T, gs[i + 1], out=gw)
            np.add.reduce(gs[i + 1], axis=0, out=gb)
            if i:
                np.matmul(gs[i + 1], w.T, out=gs[i])
                if activation == "tanh":
                    np.multiply(hs[i], hs[i], out=hs[i])
                    np.subtract(1, hs[i], out=hs[i])
                    np.multiply(gs[i], hs[i], out=gs[i])
                else:
                    np.greater(hs[i], 0, out=masks[i - 1])
                    np.multiply(gs[i], masks[i - 1], out=gs[i])
        t += 1
        np.multiply(m, B1, out=m)
        np.multiply(grad, 1 - B1, out=s)
        np.add(m, s, out=m)
        np.multiply(v, B2, out=v)
        np.multiply(grad, grad, out=s)
        np.multiply(s, 1 - B2, out=s)
        np.add(v, s, out=v)
        np.multiply(v, 1 / (1 - B2**t), out=s)
        np.sqrt(s, out=s)
        np.add(s, EPS, out=s)
        np.divide(m, s, out=u)
        np.multiply(u, LR / (1 - B1**t), out=u)
        np.subtract(flat, u, out=flat)
        return loss

    arrays = (*hs[1:], *gs, *masks, top, sums, s, u)
    step.buffers = lambda: sum(a.nbytes for a in arrays if a is not None)  # type: ignore[attr-defined]
    return step


def measure(steps: dict[str, Callable], repeats: int, rounds: int) -> dict[str, float]:
    """Microseconds per step of the first, and the others as multiples of it: medians over the rounds."""
    for _ in range(3):  # later, the last bits of a deep net's losses grow apart
        losses = [step() for step in steps.values()]
        if not np.allclose(losses, losses[0], rtol=1e-4):
            raise SystemExit(f"the losses differ, so the steps are not the same: {losses}")
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.process_time()
            for _ in range(repeats):
                step()
            times[name].append((time.process_time() - start) / repeats * 1e6)
    first = next(iter(times.values()))
    ratios = {name: statistics.median(a / b for a, b in zip(of, first, strict=True)) for name, of in times.items()}
    return {**ratios, next(iter(steps)): statistics.median(first)}


def memory(step: Callable) -> int:
    """Bytes of the buffers of a step, or the most that it has in use at once."""
    if hasattr(step, "buffers"):
        return step.buffers()
    step()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    step()
    most = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return most


def amount(value: float, units: tuple[str, ...], step: float) -> str:
    """A number with a unit of its size."""
    for unit in units[:-1]:
        if value < 10 * step:
            return f"{value:.0f} {unit}"
        value /= step
    return f"{value:.0f} {units[-1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25)
    rounds = parser.parse_args().rounds
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, one BLAS thread, {rounds} interleaved rounds\n")
    print("| workload | by hand | captured | eager | textbook | memory by hand | captured | eager | textbook |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, (sizes, activation, batch, repeats) in WORKLOADS.items():
        steps = {f.__name__: f(sizes, activation, batch) for f in (by_hand, captured, eager, textbook)}
        hand, *ratios = measure(steps, repeats, rounds if repeats > 1 else -(-rounds // 3)).values()
        least, *bytes_ = map(memory, steps.values())
        cells = [amount(hand, ("us", "ms"), 1000), *(f"{ratio:.2f}x" for ratio in ratios)]
        cells += [amount(least, ("B", "KB", "MB"), 1000), *(f"{n / least:.2f}x" for n in bytes_)]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
