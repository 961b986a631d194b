"""The same training step in every engine that is installed: how many times slower than NumPy written by hand.

    pip install torch jax autograd mygrad tinygrad scikit-learn     # whichever you want to see
    python benchmarks/peers.py [--rounds 9] [--only torch,jax]

A step is the forward pass, the loss, the backward pass, Adam, and the loss read as a Python number, in float32. All start
from the same weights, must reach the same losses as step.py's "by hand", run on one processor, and are timed in turn, in an
order drawn anew in each round; the figures are medians over the rounds, as multiples of "by hand" in the same round.
"products" are the matrix products alone, which no engine can leave out.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

from step import B1, B2, EPS, LR, WORKLOADS, by_hand, captured, eager, problem, textbook  # isort: skip  (one BLAS thread)

import numpy as np

Step = Callable[[], float]


def products(sizes: list[int], activation: str, batch: int) -> Step:
    x, _, model = problem(sizes, batch)
    ws = [layer.weight.data for layer in model.layers if hasattr(layer, "weight")]
    hs = [x, *(np.ones((batch, n), np.float32) for n in sizes[1:])]
    outs = [np.empty_like(h) for h in hs]
    grads = [np.empty_like(w) for w in ws]

    def step() -> float:
        for i, w in enumerate(ws):
            np.matmul(hs[i], w, out=outs[i + 1])
        for i, w in enumerate(ws):
            np.matmul(hs[i].T, hs[i + 1], out=grads[i])
            if i:
                np.matmul(hs[i + 1], w.T, out=outs[i])
        return float("nan")

    return step


def torch_adam(**how: Any) -> Callable[..., Step]:
    def make(sizes: list[int], activation: str, batch: int) -> Step:
        import torch

        torch.set_num_threads(1)
        x, y, model = problem(sizes, batch)
        layers: list[Any] = []
        for layer in model.layers:
            if hasattr(layer, "weight"):
                linear = torch.nn.Linear(*layer.weight.shape)
                with torch.no_grad():
                    linear.weight.copy_(torch.from_numpy(layer.weight.data.T.copy()))
                    linear.bias.copy_(torch.from_numpy(layer.bias.data))
                layers += [linear, torch.nn.Tanh() if activation == "tanh" else torch.nn.ReLU()]
        net = torch.nn.Sequential(*layers[:-1])
        loss_of = torch.nn.MSELoss() if activation == "tanh" else torch.nn.CrossEntropyLoss()
        optimizer = torch.optim.Adam(net.parameters(), lr=LR, betas=(B1, B2), eps=EPS, **how)
        tx, ty = torch.from_numpy(x), torch.from_numpy(y)

        def step() -> float:
            optimizer.zero_grad()
            loss = loss_of(net(tx), ty)
            loss.backward()
            optimizer.step()
            return loss.item()

        return step

    return make


def parameters(model: Any) -> list[np.ndarray]:
    return [p.data.copy() for p in model.parameters()]


def adam(params: list[np.ndarray]) -> Callable[[list[np.ndarray]], None]:
    """The textbook's, for engines that have none of their own."""
    m, v, t = [np.zeros_like(p) for p in params], [np.zeros_like(p) for p in params], 0

    def update(grads: list[np.ndarray]) -> None:
        nonlocal t
        t += 1
        for k, (p, g) in enumerate(zip(params, grads, strict=True)):
            m[k] = B1 * m[k] + (1 - B1) * g
            v[k] = B2 * v[k] + (1 - B2) * g**2
            p -= LR * (m[k] / (1 - B1**t)) / (np.sqrt(v[k] / (1 - B2**t)) + EPS)

    return update


def forward(np_: Any, params: Any, x: Any, y: Any, activation: str, onehot: Any) -> Any:
    """The loss, in the words of an engine that imitates NumPy."""
    for i in range(0, len(params), 2):
        x = x @ params[i] + params[i + 1]
        if i < len(params) - 2:
            x = np_.tanh(x) if activation == "tanh" else np_.maximum(x, 0)
    if activation == "tanh":
        return np_.mean((x - y) ** 2)
    z = x - np_.max(x, axis=1, keepdims=True)
    return -np_.sum((z - np_.log(np_.sum(np_.exp(z), axis=1, keepdims=True))) * onehot) / len(onehot)


def onehot_of(y: np.ndarray, classes: int) -> np.ndarray:
    return np.eye(classes, dtype=np.float32)[y] if y.ndim == 1 else y


def jax_jit(sizes: list[int], activation: str, batch: int) -> Step:
    import jax
    import jax.numpy as jnp

    x, y, model = problem(sizes, batch)
    state = [[jnp.asarray(p) for p in parameters(model)], [], []]
    state[1], state[2] = ([jnp.zeros_like(p) for p in state[0]] for _ in range(2))
    onehot = jnp.asarray(onehot_of(y, sizes[-1]))

    def train(params: Any, m: Any, v: Any, t: Any) -> Any:
        loss, grads = jax.value_and_grad(lambda p: forward(jnp, p, x, y, activation, onehot))(params)
        m = [B1 * a + (1 - B1) * g for a, g in zip(m, grads, strict=True)]
        v = [B2 * a + (1 - B2) * g * g for a, g in zip(v, grads, strict=True)]
        new = [p - LR * (a / (1 - B1**t)) / (jnp.sqrt(b / (1 - B2**t)) + EPS) for p, a, b in zip(params, m, v, strict=True)]
        return loss, new, m, v

    jitted, t = jax.jit(train, donate_argnums=(0, 1, 2)), 0

    def step() -> float:
        nonlocal t
        t += 1
        loss, *state[:] = jitted(*state, float(t))
        return float(loss)

    return step


def hips_autograd(sizes: list[int], activation: str, batch: int) -> Step:
    import autograd.numpy as anp
    from autograd import value_and_grad

    x, y, model = problem(sizes, batch)
    params, onehot = parameters(model), onehot_of(y, sizes[-1])
    both, update = value_and_grad(lambda p: forward(anp, p, x, y, activation, onehot)), adam(params)

    def step() -> float:
        loss, grads = both(params)
        update(grads)
        return float(loss)

    return step


def mygrad(sizes: list[int], activation: str, batch: int) -> Step:
    import mygrad as mg
    from mygrad.nnet.losses import softmax_crossentropy

    mg.turn_memory_guarding_off()
    x, y, model = problem(sizes, batch)
    params = [mg.tensor(p) for p in parameters(model)]
    update = adam([p.data for p in params])

    def step() -> float:
        h = x
        for i in range(0, len(params), 2):
            h = mg.matmul(h, params[i]) + params[i + 1]
            if i < len(params) - 2:
                h = mg.tanh(h) if activation == "tanh" else mg.maximum(h, 0)
        loss = mg.mean((h - y) ** 2) if activation == "tanh" else softmax_crossentropy(h, y)
        loss.backward()
        update([p.grad for p in params])
        return float(loss.item())

    return step


def tinygrad(sizes: list[int], activation: str, batch: int) -> Step:
    from tinygrad import Tensor, TinyJit, nn

    x, y, model = problem(sizes, batch)
    params = [Tensor(p).contiguous().realize() for p in parameters(model)]
    optimizer = nn.optim.Adam(params, lr=LR, b1=B1, b2=B2, eps=EPS)
    tx, ty = Tensor(x).contiguous().realize(), Tensor(y if y.ndim > 1 else y.astype(np.int32)).contiguous().realize()

    @TinyJit
    def train(h: Any, y: Any) -> Any:
        optimizer.zero_grad()
        for i in range(0, len(params), 2):
            h = h @ params[i] + params[i + 1]
            if i < len(params) - 2:
                h = h.tanh() if activation == "tanh" else h.relu()
        loss = ((h - y) ** 2).mean() if activation == "tanh" else h.sparse_categorical_crossentropy(y)
        loss.backward()
        return loss.realize(*optimizer.schedule_step())

    return lambda: float(train(tx, ty).item())


def scikit_learn(sizes: list[int], activation: str, batch: int) -> Step:
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    x, y, model = problem(sizes, batch)
    kind = MLPRegressor if activation == "tanh" else MLPClassifier
    net = kind(
        hidden_layer_sizes=tuple(sizes[1:-1]), activation=activation, solver="adam", alpha=0.0, batch_size=batch,
        learning_rate_init=LR, shuffle=False, beta_1=B1, beta_2=B2, epsilon=EPS,
    )  # fmt: skip
    classes = {} if activation == "tanh" else {"classes": np.arange(sizes[-1])}
    net.partial_fit(x, y, **classes)  # makes the net, which then gets our weights
    theirs = [a for pair in zip(net.coefs_, net.intercepts_, strict=True) for a in pair]
    for array, p in zip(theirs, parameters(model), strict=True):
        array[...] = p
    del net._optimizer
    half = 2.0 if activation == "tanh" else 1.0  # it reports half the mean squared error

    def step() -> float:
        net.partial_fit(x, y)
        return half * float(net.loss_)

    return step


PEERS: dict[str, tuple[str, Callable[..., Step]]] = {
    "by hand": ("numpy", by_hand),
    "products": ("numpy", products),
    "tinynet, captured": ("numpy", captured),
    "tinynet": ("numpy", eager),
    "textbook NumPy": ("numpy", textbook),
    "PyTorch": ("torch", torch_adam()),
    "PyTorch, fused Adam": ("torch", torch_adam(fused=True)),
    "JAX, jit": ("jax", jax_jit),
    "autograd": ("autograd", hips_autograd),
    "MyGrad": ("mygrad", mygrad),
    "tinygrad, jit": ("tinygrad", tinygrad),
    "scikit-learn": ("scikit-learn", scikit_learn),
}


def installed(only: str | None) -> dict[str, str]:
    """The peers that can run, and the versions of their packages."""
    found = {}
    for name, (package, _) in PEERS.items():
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
        if only is None or package == "numpy" or package in only.split(","):
            found[name] = f"{package} {version}"
    return found


def measure(names: list[str], sizes: list[int], activation: str, batch: int, repeats: int, rounds: int) -> dict[str, float]:
    """Microseconds of "by hand", and the others as multiples of it."""
    steps = {name: PEERS[name][1](sizes, activation, batch) for name in names}
    expected = [steps["by hand"]() for _ in range(6)]
    for name, step in steps.items():
        losses = expected if name == "by hand" else [step() for _ in range(6)]
        same = 1 if name == "scikit-learn" else 6  # it adds eps before the bias correction, as Keras does
        if name != "products" and not np.allclose(losses[:same], expected[:same], rtol=1e-3):
            raise SystemExit(f"{name} does not do the same step: its losses are {losses}, by hand {expected}")
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in random.sample(names, len(names)):
            start = time.perf_counter()
            for _ in range(repeats):
                steps[name]()
            times[name].append((time.perf_counter() - start) / repeats * 1e6)
    return {
        name: statistics.median(values)
        if name == "by hand"
        else statistics.median(a / b for a, b in zip(values, times["by hand"], strict=True))
        for name, values in times.items()
    }


def main() -> None:
    if hasattr(os, "sched_setaffinity"):  # JAX would take every processor, whatever it is told
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", help="packages to compare with, such as torch,jax")
    options = parser.parse_args()
    versions = installed(options.only)
    packages = ", ".join(sorted(set(versions.values())))
    print(f"Python {platform.python_version()}, one processor, {options.rounds} interleaved rounds; {packages}\n")
    rows = {name: measure(list(versions), *work[:4], options.rounds) for name, work in WORKLOADS.items()}
    shapes = ["-".join(map(str, sizes)) if len(sizes) < 6 else "20 x 32" for sizes, *_ in WORKLOADS.values()]
    print("| | " + " | ".join(shapes) + " |\n|---|" + "---|" * len(shapes))
    for name in versions:
        cells = [f"{row[name]:.0f} us" if name == "by hand" else f"{row[name]:.2f}" for row in rows.values()]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
