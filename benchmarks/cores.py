"""Do two cores help a wide net more than BLAS's own threads do? Measured before anything was built.

    python benchmarks/cores.py [--rounds 12]

One training step of a 1024-2048-2048-10 net (ReLU, cross-entropy, Adam, batch 512, float32), by hand in NumPy with all
buffers made beforehand, in four ways, each in a process of its own that waits while the others work:

- one thread: of BLAS, and nothing else;
- BLAS threads: matrix products on two threads, all else on one, which is what NumPy does when left alone;
- blocks: the same, and Adam in slices that stay in the cache (as our optimizers walk);
- shards: one BLAS thread, and two threads of Python with half of the batch each; the gradients are then added, and each
  thread moves half of the parameters. NumPy works without the interpreter's lock, so nothing waits but at these two points.

The figures are the shortest step of each way, by the clock on the wall: run it on a machine that does nothing else.

The last line is an upper bound, in time of the processor, and so the same on a busy machine. If p is the part of a step on
one thread that the matrix products take, two BLAS threads take p/2 + (1 - p) of it at best, and two cores cannot take less
than 1/2: nothing gains more than 2 - p.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

SIZES, BATCH, REPEATS = [1024, 2048, 2048, 10], 512, 2
LR, B1, B2, EPS = 1e-3, 0.9, 0.999, 1e-8
WAYS = {"one thread": 1, "BLAS threads": 2, "blocks": 2, "shards": 1}  # and how many threads BLAS has


def a_step(way: str) -> Callable[[], float]:
    import numpy as np

    generator = np.random.default_rng(0)
    x = generator.standard_normal((BATCH, SIZES[0]), dtype=np.float32)
    labels = generator.integers(0, SIZES[-1], BATCH)
    shapes = [shape for a, b in pairwise(SIZES) for shape in ((a, b), (b,))]
    ends = np.cumsum([int(np.prod(s)) for s in shapes]).tolist()
    flat = generator.standard_normal(ends[-1], dtype=np.float32) * np.float32(0.03)
    m, v, s, u = (np.zeros_like(flat) for _ in range(4))
    views = lambda of: [of[e - int(np.prod(s)) : e].reshape(s) for s, e in zip(shapes, ends, strict=True)]
    workers = 2 if way == "shards" else 1
    gradients = [np.zeros_like(flat) for _ in range(workers)]
    params, t = views(flat), 0

    def gradient(shard: int) -> Callable[[], float]:
        rows = slice(shard * BATCH // workers, (shard + 1) * BATCH // workers)
        mine, own, grads = x[rows], labels[rows], views(gradients[shard])
        hs = [mine, *(np.empty((len(mine), n), np.float32) for n in SIZES[1:])]
        gs = [np.empty_like(h) for h in hs]
        each = np.arange(len(mine))

        def run() -> float:
            for i in range(3):
                np.matmul(hs[i], params[2 * i], out=hs[i + 1])
                np.add(hs[i + 1], params[2 * i + 1], out=hs[i + 1])
                if i < 2:
                    np.maximum(hs[i + 1], 0, out=hs[i + 1])
            out, g = hs[3], gs[3]
            out -= out.max(axis=1, keepdims=True)
            np.exp(out, out=g)
            sums = g.sum(axis=1, keepdims=True)
            loss = float(np.log(sums).sum() - out[each, own].sum()) / BATCH
            g /= sums
            g[each, own] -= 1
            g /= BATCH
            for i in (2, 1, 0):
                np.matmul(hs[i].T, gs[i + 1], out=grads[2 * i])
                np.add.reduce(gs[i + 1], axis=0, out=grads[2 * i + 1])
                if i:
                    np.matmul(gs[i + 1], params[2 * i].T, out=gs[i])
                    np.multiply(gs[i], hs[i] > 0, out=gs[i])
            return loss

        return run

    def move(a: int, b: int) -> None:
        grad = gradients[0][a:b]
        for other in gradients[1:]:
            grad += other[a:b]
        M, V, S, U = m[a:b], v[a:b], s[a:b], u[a:b]
        np.multiply(M, B1, out=M)
        np.multiply(grad, 1 - B1, out=S)
        np.add(M, S, out=M)
        np.multiply(V, B2, out=V)
        np.multiply(grad, grad, out=S)
        np.multiply(S, 1 - B2, out=S)
        np.add(V, S, out=V)
        np.multiply(V, 1 / (1 - B2**t), out=S)
        np.sqrt(S, out=S)
        np.add(S, EPS, out=S)
        np.divide(M, S, out=U)
        np.multiply(U, LR / (1 - B1**t), out=U)
        np.subtract(flat[a:b], U, out=flat[a:b])

    runs = [gradient(shard) for shard in range(workers)]
    length = 32768 if way in ("blocks", "shards") else len(flat)
    slices = [(a, min(a + length, len(flat))) for a in range(0, len(flat), length)]
    halves = [slices[i * len(slices) // workers : (i + 1) * len(slices) // workers] for i in range(workers)]
    pool = ThreadPoolExecutor(workers)
    together = pool.map if workers > 1 else map

    def step() -> float:
        nonlocal t
        t += 1
        loss = sum(together(lambda run: run(), runs))
        list(together(lambda half: [move(a, b) for a, b in half], halves))
        return loss

    return step


def products() -> Callable[[], None]:
    """The matrix products of a step alone."""
    import numpy as np

    hs = [np.ones((BATCH, n), np.float32) for n in SIZES]
    ws = [np.ones(shape, np.float32) for shape in pairwise(SIZES)]
    outs, grads = [np.empty_like(h) for h in hs], [np.empty_like(w) for w in ws]

    def step() -> None:
        for i, w in enumerate(ws):
            np.matmul(hs[i], w, out=outs[i + 1])
            np.matmul(hs[i].T, hs[i + 1], out=grads[i])
            if i:
                np.matmul(hs[i + 1], w.T, out=outs[i])

    return step


def part_of_products(rounds: int) -> float:
    """How much of a step on one thread the matrix products take, in time of the processor."""
    steps: list[Callable] = [a_step("one thread"), products()]
    times: list[list[float]] = [[], []]
    for _ in range(rounds):
        for step, of in zip(steps, times, strict=True):
            start = time.process_time()
            step()
            of.append(time.process_time() - start)
    return min(times[1]) / min(times[0])


def work(way: str) -> None:
    """The process of one way: for each line that it is sent, steps, and the seconds of one and the loss sent back."""
    step = a_step(way)
    for _ in sys.stdin:
        start = time.perf_counter()
        loss = [step() for _ in range(REPEATS)][-1]
        print((time.perf_counter() - start) / REPEATS, loss, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--work", choices=[*WAYS, "part"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work == "part":
        print(part_of_products(given.rounds))
    elif given.work:
        work(given.work)
    else:
        compare(given.rounds)


def compare(rounds: int) -> None:
    started = {}
    for way, threads in WAYS.items():
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
        command = [sys.executable, __file__, "--work", way]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        started[way] = subprocess.Popen(command, env=environment, **pipes)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for k in range(rounds + 1):  # the first is not counted
        losses = []
        for way, process in started.items():
            process.stdin.write("go\n")
            process.stdin.flush()
            time_, loss = map(float, process.stdout.readline().split())
            losses.append(loss)
            seconds[way] += [time_] * (k > 0)
        if max(losses) > min(losses) * 1.001:
            raise SystemExit(f"the losses differ, so the steps are not the same: {losses}")
    for process in started.values():
        process.communicate()
    alone = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--work", "part", "--rounds", str(rounds)]
    part = float(subprocess.run(command, env=alone, capture_output=True, text=True, check=True).stdout)
    print(f"{os.cpu_count()} processors, {rounds} rounds\n\n| way | a step | BLAS threads / this |\n|---|---|---|")
    for way, of in seconds.items():
        print(f"| {way} | {min(of) * 1e3:.0f} ms | {min(seconds['BLAS threads']) / min(of):.2f}x |")
    print(f"\nMatrix products: {part:.0%} of a step on one thread, so nothing gains more than {2 - part:.2f}x over them")


if __name__ == "__main__":
    main()
