"""Where the time of a small step goes: of an eager one, and of a replay.

    python benchmarks/overhead.py [--rounds 40]

The steps are those of step.py, on the nets where Python's part is largest. "bare rules" is the eager step without a graph:
the same kernels, the same rules of the table and the same optimizer, called by hand on arrays. "calls" are the NumPy calls
of a captured program without anything else; "program" the same with the optimizer's own bookkeeping; "replay" adds looking
whether arguments, parameters, layers and variables are what they were, and the answer. All are timed in turn, in time of
the processor; the figures are medians over the rounds, as multiples of "by hand" in the same round. The last columns are
the parts of the eager step.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

from step import LR, WORKLOADS, by_hand, eager, problem  # isort: skip  (one BLAS thread)

import numpy as np

import tinynet as tn
from optimizers import Adam
from tinynet import kernels
from tinynet.rules import RULES

SMALL = [name for name in WORKLOADS if "784" not in name and "1024" not in name]


def bare_rules(sizes: list[int], activation: str, batch: int) -> Callable[[], float]:
    x, y, model = problem(sizes, batch)
    optimizer = Adam(model.parameters(), lr=LR)
    loss_of = kernels.mean_squared_error if activation == "tanh" else kernels.softmax_cross_entropy
    shape = np.tanh if activation == "tanh" else kernels.relu
    layers = [layer for layer in model.layers if hasattr(layer, "weight")]

    def step() -> float:
        done, h = [], x
        for layer in layers:
            for function, *more in (kernels.linear, layer.weight.data, layer.bias.data), (shape,):
                if function is not shape or layer is not layers[-1]:
                    arguments = (h, *more)
                    h = function(*arguments)
                    done.append((function, arguments, h))
        losses = loss_of(h, y)
        g = RULES[loss_of.__wrapped__].operands[0](np.full_like(losses, 1 / losses.size), losses, h, y)
        for function, arguments, answer in reversed(done):
            first, *others = RULES[getattr(function, "__wrapped__", function)].operands
            if others:
                layer = next(layer for layer in layers if layer.weight.data is arguments[1])
                for p, rule in zip((layer.weight, layer.bias), others, strict=True):
                    d = rule(g, answer, *arguments)
                    p.grad = p.grad_buffer
                    np.copyto(p.grad, d if d.shape == p.shape else d.sum(axis=0))
            if arguments[0] is not x:
                g = first(g, answer, *arguments)
        optimizer.step()
        return losses.mean().item()

    return step


def parts_of_eager(sizes: list[int], activation: str, batch: int, rounds: int) -> dict[str, float]:
    """Microseconds of each part of an eager step."""
    x, y, model = problem(sizes, batch)
    optimizer = Adam(model.parameters(), lr=LR)
    times: dict[str, list[float]] = {part: [] for part in ("forward", "loss", "backward", "optimizer")}
    for _ in range(rounds * 20):
        clock = [time.perf_counter()]
        output = model(x)
        clock.append(time.perf_counter())
        loss = (tn.mse_loss if activation == "tanh" else tn.cross_entropy)(output, y)
        clock.append(time.perf_counter())
        optimizer.zero_grad()
        loss.backward()
        clock.append(time.perf_counter())
        optimizer.step()
        clock.append(time.perf_counter())
        for i, of in enumerate(times.values()):
            of.append((clock[i + 1] - clock[i]) * 1e6)
    return {part: statistics.median(of) for part, of in times.items()}


def parts_of_replay(sizes: list[int], activation: str, batch: int) -> dict[str, Callable]:
    """A replay, its program alone, and the NumPy calls of that alone."""
    made: list[tn.capture] = []  # type: ignore[valid-type]
    step = eager(sizes, activation, batch, lambda f: made.append(tn.capture(f)) or made[0])
    for _ in range(3):
        step()
    (program,) = made[0]._programs()
    x, y, _ = problem(sizes, batch)
    lines, names = program.source.lines, dict(program.source.names)
    calls = [line.strip() for line in lines[1:-1] if not any(word in line for word in ("work", "numbers", "else:"))]
    exec("\n    ".join(["def calls(x0, x1):", f"n0, n1 = 10, {LR}", *calls]), names)
    return {"replay": step, "program": lambda: program.run(x, y), "calls": lambda: names["calls"](x, y)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    print("| workload | by hand | calls | program | replay | bare rules | eager | forward | loss | backward | optimizer |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name in SMALL:
        sizes, activation, batch, repeats = WORKLOADS[name]
        steps = {f.__name__: f(sizes, activation, batch) for f in (by_hand, bare_rules, eager)}
        a, b = [[step() for _ in range(4)] for step in (steps["bare_rules"], steps["eager"])]
        if not np.allclose(a, b, rtol=1e-4):
            raise SystemExit(f"the losses differ, so the steps are not the same: {a}, {b}")
        steps |= parts_of_replay(sizes, activation, batch)
        times: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(rounds):
            for which, step in steps.items():
                start = time.process_time()
                for _ in range(repeats):
                    step()
                times[which].append((time.process_time() - start) / repeats * 1e6)
        ratio = lambda which: statistics.median(a / b for a, b in zip(times[which], times["by_hand"], strict=True))  # noqa: B023
        cells = [f"{statistics.median(times['by_hand']):.0f} us"]
        cells += [f"{ratio(which):.2f}x" for which in ("calls", "program", "replay", "bare_rules", "eager")]
        cells += [f"{us:.0f} us" for us in parts_of_eager(sizes, activation, batch, rounds).values()]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
