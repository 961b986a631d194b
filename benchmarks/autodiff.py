"""What differentiation costs: per operation, for an MLP, and for a Hessian-vector product.

    python benchmarks/autodiff.py [--rounds 15]

- chain: 100 times (tanh, * 0.9, + 0.1) on 10 numbers, forward and backward, float64: almost pure overhead, in microseconds
  per operation, beside the same in bare NumPy.
- MLP: value and all six gradients of a 32-64-64-1 tanh net, batch 64, mean squared error, float64, as a multiple of the
  same by hand in plain NumPy; and the same function captured (tn.capture).
- HVP: a Hessian-vector product of that loss, as a multiple of its gradient.

All are timed in turn, round after round, on one thread, in time of the processor; the figures are medians over the rounds.
"""

from __future__ import annotations

import os

for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"  # before NumPy is imported

import argparse
import platform
import statistics
import time
from itertools import pairwise

import numpy as np

import tinynet as tn

generator = np.random.default_rng(0)
START = generator.standard_normal(10)
X, Y = generator.standard_normal((64, 32)), generator.standard_normal((64, 1))
SIZES = [32, 64, 64, 1]
PARAMS = [p for i, o in pairwise(SIZES) for p in (generator.standard_normal((i, o)) / i**0.5, np.zeros(o))]
VECTORS = [generator.standard_normal(p.shape) for p in PARAMS]
TENSORS = [tn.Tensor(p, requires_grad=True) for p in PARAMS]


def chain_by_hand() -> np.ndarray:
    x, tanhs = START, []
    for _ in range(100):
        t = np.tanh(x)
        tanhs.append(t)
        x = t * 0.9 + 0.1
    g = np.ones(10)
    for t in reversed(tanhs):
        g = g * 0.9 * (1 - t * t)
    return g


def chain() -> np.ndarray:
    start = x = tn.Tensor(START, requires_grad=True)
    for _ in range(100):
        x = np.tanh(x) * 0.9 + 0.1
    return tn.gradients(x.sum(), start)


def mlp_by_hand() -> list[np.ndarray]:
    w1, b1, w2, b2, w3, b3 = PARAMS
    h1 = np.tanh(X @ w1 + b1)
    h2 = np.tanh(h1 @ w2 + b2)
    d = h2 @ w3 + b3 - Y
    float(np.mean(d * d))
    g = d * (2 / d.size)
    g2 = (g @ w3.T) * (1 - h2 * h2)
    g1 = (g2 @ w2.T) * (1 - h1 * h1)
    return [X.T @ g1, g1.sum(axis=0), h1.T @ g2, g2.sum(axis=0), h2.T @ g, g.sum(axis=0)]


def loss() -> tn.Tensor:
    h = X
    for i in range(0, 6, 2):
        h = tn.functional.linear(h, TENSORS[i], TENSORS[i + 1])
        h = np.tanh(h) if i < 4 else h
    return tn.mse_loss(h, Y)


def value_and_gradients() -> tuple[tn.Tensor, list[np.ndarray]]:
    value = loss()
    return value, tn.gradients(value, TENSORS)


replayed = tn.capture(value_and_gradients)


def mlp() -> list[np.ndarray]:
    value, gradients = value_and_gradients()
    value.item()
    return gradients


def captured() -> list[np.ndarray]:
    value, gradients = replayed()
    value.item()
    return gradients


def hvp() -> list[np.ndarray]:
    slopes = tn.gradients(loss(), TENSORS, create_graph=True)
    along = sum((g * v).sum() for g, v in zip(slopes, VECTORS, strict=True))
    return tn.gradients(along, TENSORS, allow_unused=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    assert np.allclose(chain(), chain_by_hand())
    for run in (mlp, captured, captured, captured):
        assert all(np.allclose(a, b) for a, b in zip(run(), mlp_by_hand(), strict=True))
    times: dict[str, list[float]] = {f.__name__: [] for f in (chain_by_hand, chain, mlp_by_hand, mlp, captured, hvp)}
    for _ in range(rounds):
        for name, seconds in times.items():
            run = globals()[name]
            start = time.process_time()
            for _ in range(20):
                run()
            seconds.append((time.process_time() - start) / 20 * 1e6)
    middle = {name: statistics.median(values) for name, values in times.items()}
    ratio = lambda a, b: statistics.median(x / y for x, y in zip(times[a], times[b], strict=True))
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, one BLAS thread, {rounds} interleaved rounds\n")
    by_hand, bare = middle["mlp_by_hand"], middle["chain_by_hand"] / 300
    chain_ = f"{middle['chain'] / 300:.1f} us (bare NumPy {bare:.2f} us)"
    print("| what | figure |\n|---|---|")
    print(f"| per operation, forward and backward, in a chain of 300 on 10 numbers | {chain_} |")
    net = "value and six gradients of a 32-64-64-1 tanh net, batch 64, float64"
    print(f"| {net} | {ratio('mlp', 'mlp_by_hand'):.2f}x NumPy by hand ({by_hand:.0f} us) |")
    print(f"| the same, captured | {ratio('captured', 'mlp_by_hand'):.2f}x NumPy by hand |")
    print(f"| Hessian-vector product | {ratio('hvp', 'mlp'):.1f}x a gradient |")


if __name__ == "__main__":
    main()
