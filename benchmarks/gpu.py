"""What one training step costs on a GPU: tinynet on CuPy, PyTorch with and without CUDA graphs, and the bare products.

    python benchmarks/gpu.py [--budget 0.3] [--rounds 5] [--json gpu.json]
    python benchmarks/gpu.py --dry      # no GPU: everything runs, on NumPy and the stand-in; the times mean nothing

The five workloads are those of step.py: forward pass, loss, backward pass and Adam in float32 (TF32 off), all arrays on the
device, the loss not read. All variants start from the same weights and must reach the same losses, to 1e-5 of NumPy's.

    tinynet          every step as it is written
    tinynet captured tn.capture of the step, if it can be replayed there (else the table says why not)
    PyTorch          torch.optim.Adam, eager, and with fused=True
    PyTorch graph    the step captured as a CUDA graph and replayed
    products         the matrix products of the step and nothing else, by CuPy: what no variant can beat without TF32

The figures are microseconds per step, from the first launch until the device has done it all, and in brackets until the
host has launched it: medians over rounds in which the variants take turns. The device is waited for before and after each.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from step import LR, WORKLOADS, problem  # isort: skip  (it limits BLAS to one thread, before NumPy is imported)

import numpy as np

import tinynet as tn
from optimizers import Adam
from tinynet import backend

CHECKED = 3  # the first steps, whose losses are compared: later, Adam makes large what was a last digit
TOLERANCE = 1e-5


class Variant(NamedTuple):
    """A step that is ready to run: `step()` answers the loss on its device, or None if there is none to compare."""

    name: str
    step: Callable[[], Any]
    wait: Callable[[], Any]


# tinynet ----------------------------------------------------------------------------------------------------------------


def waiting(device: str) -> Callable[[], Any]:
    """A function that waits until the device has done everything."""
    if device == "cpu" or backend.cupy().__version__ == "stand-in":
        return lambda: None
    return backend.cupy().cuda.Device().synchronize


def tinynet_step(work: str, device: str) -> tuple[Callable[..., Any], Any, Any]:
    """(the step as a function of a batch, x, y)."""
    sizes, activation, batch, _ = WORKLOADS[work]
    x, y, model = problem(sizes, batch)
    model.to(device)
    loss_of = tn.mse_loss if activation == "tanh" else tn.cross_entropy
    optimizer = Adam(model.parameters(), lr=LR)

    def step(x: Any, y: Any) -> tn.Tensor:
        loss = loss_of(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step, backend.to_device(x, device), backend.to_device(y, device)


def tinynet_variants(work: str, device: str) -> Iterator[Variant]:
    eager, x, y = tinynet_step(work, device)
    yield Variant("tinynet", lambda: eager(x, y).data, waiting(device))
    captured, x2, y2 = tinynet_step(work, device)
    captured = tn.capture(captured, explain=lambda why: None)
    yield Variant("tinynet captured", lambda: captured(x2, y2).data, waiting(device))


def products(work: str, device: str) -> Variant:
    """The matrix products of a step: for each layer h @ w, h.T @ g and, but for the first, g @ w.T."""
    sizes, _, batch, _ = WORKLOADS[work]
    generator = np.random.default_rng(0)

    def drawn(*shape: int) -> Any:
        return backend.to_device(generator.standard_normal(shape, dtype=np.float32), device)

    jobs = []
    for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        h, w, g = drawn(batch, fan_in), drawn(fan_in, fan_out), drawn(batch, fan_out)
        jobs += [(h, w, np.empty_like(g)), (h.T, g, np.empty_like(w))]
        if i:
            jobs.append((g, w.T, np.empty_like(h)))
    matmul = np.matmul if device == "cpu" else backend.cupy().matmul

    def step() -> None:
        for a, b, out in jobs:
            matmul(a, b, out=out)

    return Variant("products", step, waiting(device))


# PyTorch ----------------------------------------------------------------------------------------------------------------


def torch_step(work: str, device: str, **options: Any) -> Callable[[], Any]:
    """The same step, with the same weights."""
    import torch

    sizes, activation, batch, _ = WORKLOADS[work]
    x_host, y_host, model = problem(sizes, batch)
    layers: list[Any] = []
    for i, (weight, bias) in enumerate(zip(*[iter(model.parameters())] * 2, strict=True)):
        linear = torch.nn.Linear(*weight.shape)
        linear.weight.data, linear.bias.data = torch.tensor(weight.data.T.copy()), torch.tensor(bias.data.copy())
        layers += [torch.nn.Tanh() if activation == "tanh" else torch.nn.ReLU()] * bool(i) + [linear]
    net = torch.nn.Sequential(*layers).to(device)
    x, y = torch.tensor(x_host, device=device), torch.tensor(y_host, device=device)
    optimizer = torch.optim.Adam(net.parameters(), lr=LR, **options)
    loss_of = torch.nn.functional.mse_loss if activation == "tanh" else torch.nn.functional.cross_entropy

    def step() -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(net(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    step.of = net, optimizer  # type: ignore[attr-defined]
    return step


def torch_graph(work: str) -> Variant:
    """The step as a CUDA graph, captured after three steps on a stream of its own, as PyTorch's manual asks.

    Then everything is put back to where it began, in place, for the graph knows these arrays.
    """
    import torch

    step, side = torch_step(work, "cuda", capturable=True), torch.cuda.Stream()
    net, optimizer = step.of  # type: ignore[attr-defined]
    begin = [p.detach().clone() for p in net.parameters()]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()

    with torch.no_grad():
        for p, first in zip(net.parameters(), begin, strict=True):
            p.copy_(first)
            for array in optimizer.state[p].values():
                array.zero_()

    def replay() -> Any:
        graph.replay()
        return loss

    return Variant("PyTorch graph", replay, torch.cuda.synchronize)


def torch_variants(work: str, device: str) -> Iterator[Variant]:
    try:
        import torch
    except ImportError:
        return
    if device == "cuda" and not torch.cuda.is_available():
        return
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    yield Variant("PyTorch", torch_step(work, device), wait)
    yield Variant("PyTorch fused", torch_step(work, device, fused=True), wait)
    if device == "cuda":
        yield torch_graph(work)


# Measuring ----------------------------------------------------------------------------------------------------------------


def reference(work: str) -> list[float]:
    """The losses of the first steps, by NumPy."""
    step, x, y = tinynet_step(work, "cpu")
    return [step(x, y).item() for _ in range(CHECKED)]


def check(variant: Variant, losses: list[float], work: str) -> float:
    """How far the variant's losses are from NumPy's, relative to 1 or the loss; SystemExit if it is too far."""
    worst = 0.0
    for expected in losses:
        loss = variant.step()
        if loss is not None:
            worst = max(worst, abs(float(loss) - expected) / max(1.0, abs(expected)))
    if worst > TOLERANCE:
        raise SystemExit(f"{work}: the losses of {variant.name!r} are {worst:.1e} away from NumPy's, so it is another step")
    return worst


def timed(variant: Variant, repeats: int) -> tuple[float, float]:
    """Microseconds per step: until the device is done, and until the host is."""
    variant.wait()
    start = time.perf_counter()
    for _ in range(repeats):
        variant.step()
    launched = time.perf_counter()
    variant.wait()
    return (time.perf_counter() - start) / repeats * 1e6, (launched - start) / repeats * 1e6


def measure(variants: list[Variant], rounds: int, budget: float) -> dict[str, tuple[float, float]]:
    """The medians over the rounds, in each of which every variant has its turn of about `budget` seconds."""
    repeats = {}
    for v in variants:
        timed(v, 3)
        repeats[v.name] = int(min(5000, max(1, budget / max(timed(v, 1)[0] / 1e6, 1e-6))))
    times: dict[str, list[tuple[float, float]]] = {v.name: [] for v in variants}
    for _ in range(rounds):
        for v in variants:
            times[v.name].append(timed(v, repeats[v.name]))
    return {name: tuple(map(statistics.median, zip(*of, strict=True))) for name, of in times.items()}  # type: ignore[misc]


def why_not_captured(work: str, device: str) -> str:
    """Why tn.capture does not replay the step on this device; "" if it does."""
    step, x, y = tinynet_step(work, device)
    captured = tn.capture(step, explain=lambda why: None)
    for _ in range(3):
        captured(x, y)
    return captured.failure or ""


def machine(device: str) -> dict[str, str]:
    """What was measured on."""
    about = {"python": platform.python_version(), "numpy": np.__version__, "device": device}
    if device == "cuda":
        cupy = backend.cupy()
        about["cupy"] = cupy.__version__
        if cupy.__version__ != "stand-in":
            about["gpu"] = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
            about["driver"], about["runtime"] = (
                str(version()) for version in (cupy.cuda.runtime.driverGetVersion, cupy.cuda.runtime.runtimeGetVersion)
            )
    if "torch" in sys.modules:
        about["torch"] = sys.modules["torch"].__version__
    return about


def run(device: str, rounds: int, budget: float) -> dict[str, Any]:
    """The table of a device, printed row by row."""
    result: dict[str, Any] = {"us": {}, "away": {}, "not captured": {}}
    for work, (sizes, _, batch, _) in WORKLOADS.items():
        losses = reference(work)
        why = result["not captured"][work] = why_not_captured(work, device)
        variants = [v for v in tinynet_variants(work, device) if not (why and v.name == "tinynet captured")]
        torch_device = "cpu" if device == "cuda" and is_standin() else device
        variants += [*torch_variants(work, torch_device), products(work, device)]
        result["away"][work] = {v.name: check(v, losses, work) for v in variants}
        row = result["us"][work] = measure(variants, rounds, budget)
        mults = [a * b for a, b in pairwise(sizes)]
        print(f"\n{work}: {2 * batch * (3 * sum(mults) - mults[0]) / 1e6:,.2f} MFLOP of products")
        for name, (whole, host) in row.items():
            print(f"    {name:<18} {whole:>10.1f} us  (host {host:>10.1f})   losses to {result['away'][work][name]:.0e}")
        if why:
            print(f"    tinynet captured   not replayed here: {why}")
    return {**result, "machine": machine(device)}


def is_standin() -> bool:
    """Whether "cuda" is the stand-in."""
    return backend.cupy().__version__ == "stand-in"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--budget", type=float, default=0.3, help="seconds for each variant in each round")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore", tn.CaptureWarning)
    if options.dry:
        sys.path.append(str(Path(__file__).parents[1] / "tests" / "standin"))
        import cupy_standin

        sys.modules["cupy"] = cupy_standin.cupy
        print("dry: NumPy, then the stand-in for CuPy. These are no figures of a GPU.")
        results = [run(device, 1, 0.0) for device in ("cpu", "cuda")]
    else:
        try:
            backend.check_device("cuda")
        except tn.DeviceError as error:
            raise SystemExit(f"{error} (--dry runs without a GPU)") from None
        results = [run("cuda", options.rounds, options.budget)]
    print("\n" + "\n".join(f"{key}: {value}" for key, value in results[-1]["machine"].items()))
    if options.json:
        options.json.write_text(json.dumps(results[-1], indent=1))


if __name__ == "__main__":
    main()
