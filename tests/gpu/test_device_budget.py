"""What a training step may cost on a GPU, counted on the stand-in: no waiting, no uploads, and so many launches.

On a GPU a small net's step takes as long as its launches, some microseconds each, so their number is the performance that
can be tested without one. And a step of which nothing is refused while a stream is captured can be a CUDA graph.
"""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

import tinynet as tn
from optimizers import SGD, Adam, AdamW, ClipNorm
from tinynet.backend import to_device

# At most so many launches: (forward and loss, backward, Adam with its look at the gradient).
LAUNCHES = {
    "2-16-16-2 tanh mse, batch 32": (11, 34, 16),
    "64-128-64-10 relu cross-entropy, batch 64": (24, 34, 16),
    "784-512-256-10 relu cross-entropy, batch 128": (24, 34, 16),
    "1024-2048-2048-10 relu cross-entropy, batch 512": (24, 34, 16),
    "2-32-...-32-2 (20 x 32) tanh mse, batch 32": (65, 268, 16),
}

CAPTURED = dict(zip(LAUNCHES, (56, 64, 64, 64, 326), strict=True))  # a replay by tn.capture


def workloads():
    """Those of benchmarks/step.py, with fewer rows and columns: neither changes a launch."""
    path = Path(__file__).parents[2] / "benchmarks" / "step.py"
    spec = importlib.util.spec_from_file_location("benchmark_of_steps", path)
    module, before = importlib.util.module_from_spec(spec), dict(os.environ)
    spec.loader.exec_module(module)
    os.environ.clear()
    os.environ.update(before)  # it limits the threads of BLAS
    return module.WORKLOADS


WORKLOADS = workloads()


def problem(name, make=lambda p: Adam(p, 1e-3)):
    """(model, optimizer, loss, x, y) of a workload, on the device."""
    sizes, activation, _, _ = WORKLOADS[name]
    sizes = [min(n, 40) for n in sizes]
    drawn = np.random.default_rng(0)
    x = drawn.standard_normal((8, sizes[0]), dtype=np.float32)
    y = drawn.standard_normal((8, 2), dtype=np.float32) if activation == "tanh" else drawn.integers(0, sizes[-1], 8)
    model = tn.MLP(sizes, activation=activation, seed=0).to("cuda")
    loss = tn.mse_loss if activation == "tanh" else tn.cross_entropy
    return model, make(model.parameters()), loss, to_device(x, "cuda"), to_device(y, "cuda")


def step(model, optimizer, loss, x, y):
    optimizer.zero_grad()
    value = loss(model(x), y)
    value.backward()
    optimizer.step()
    return value


def test_the_workloads_are_those_of_the_benchmark_and_the_page_says_these_numbers():
    assert list(LAUNCHES) == list(WORKLOADS)
    page = (Path(__file__).parents[2] / "docs" / "gpu.md").read_text()
    for name, parts in LAUNCHES.items():
        row = " | ".join(map(str, (name.rpartition(",")[0], *parts, sum(parts))))
        assert f"| {row} |" in page


@pytest.mark.parametrize("name", LAUNCHES)
def test_a_step_waits_for_nothing_uploads_nothing_and_launches_no_more_than_this(name, standin):
    model, optimizer, loss, x, y = problem(name)
    step(model, optimizer, loss, x, y)
    optimizer.zero_grad()
    with standin.counting() as forward:
        value = loss(model(x), y)
    with standin.counting() as backward:
        value.backward()
    with standin.counting() as update:
        optimizer.step()
    found = (forward, backward, update)
    assert [(c.syncs, c.uploads) for c in found] == [(0, 0)] * 3
    assert all(c.launches <= most for c, most in zip(found, LAUNCHES[name], strict=True)), found


@pytest.mark.parametrize("name", LAUNCHES)
def test_a_captured_step_waits_for_nothing_and_launches_less(name, standin):
    """What is computed twice is computed once, and gradients are written where the optimizer wants them."""
    parts = problem(name)
    captured = tn.capture(lambda x, y: step(*parts[:3], x, y))
    for _ in range(2):
        captured(*parts[3:])
    with standin.counting() as count:
        captured(*parts[3:])
    assert captured.failure is None
    assert (count.syncs, count.uploads) == (0, 0)
    assert count.launches <= CAPTURED[name] < sum(LAUNCHES[name])


@pytest.mark.parametrize("make", [SGD, Adam, AdamW, lambda p: Adam(p, 1e-3, clip=ClipNorm(1.0))])
@pytest.mark.parametrize("name", LAUNCHES)
def test_nothing_in_a_step_is_refused_while_a_stream_is_captured(name, make, standin):
    """But cuBLAS, which CuPy 14 refuses: a product would have to be called outside CuPy."""
    parts = problem(name, lambda p: make(p) if not isinstance(make, type) else make(p, 1e-3))
    with pytest.raises(NotImplementedError, match="cuBLAS"), standin.recording():
        step(*parts)
    with standin.counting() as count, standin.recording(refuse_cublas=False) as graph:
        step(*parts)
    assert (count.syncs, count.uploads) == (0, 0)
    assert len(graph) == count.launches
    with standin.counting() as replay:
        graph.launch()
    assert (replay.launches, replay.syncs, replay.uploads) == (1, 0, 0)
    if make is Adam:
        assert len(graph) <= sum(LAUNCHES[name])


@pytest.mark.parametrize("name", list(LAUNCHES)[:2])
def test_a_replayed_step_is_the_step_unless_numbers_change_from_step_to_step(name, standin):
    """A graph keeps Python's numbers as they were when it was captured. SGD has none that change; Adam has its t."""
    for make, equal in ((lambda p: SGD(p, 0.1, momentum=0.9), True), (lambda p: Adam(p, 0.1), False)):
        eager, captured = problem(name, make), problem(name, make)
        for parts in (eager, captured):
            step(*parts)  # the first step of momentum is another one
        with standin.recording(refuse_cublas=False) as graph:
            loss = step(*captured)
        losses = []
        for _ in range(10):
            graph.launch()
            losses.append((step(*eager).item(), loss.item()))
        assert all(a == b for a, b in losses) == equal, losses


def test_recording_would_find_what_a_graph_cannot_replay(standin):
    model, _, loss, x, y = problem("64-128-64-10 relu cross-entropy, batch 64")
    for forbidden in (
        lambda: loss(model(x), y).item(),
        lambda: tn.Tensor([1.0]).to("cuda"),
        lambda: x[x > 0],
        lambda: x[[0, 1]],
    ):
        refused = pytest.raises(RuntimeError, match="operation not permitted when stream is capturing")
        with refused, standin.recording(refuse_cublas=False):
            forbidden()


# fit --------------------------------------------------------------------------------------------------------------------


def costs(standin, batch_size, epochs=1, watch=0, **how):
    """What a training of 64 examples costs."""
    x, y = tn.datasets.moons(64, seed=0)
    model = tn.MLP([2, 8, 2], seed=0, **how).to("cuda")
    recorder = tn.monitor.Recorder(root=None, name="costs")
    with recorder, standin.counting() as count:
        if watch:
            recorder.watch(model, every=watch)
        tn.fit(
            model, (x, y), loss="cross_entropy", optimizer=Adam(model.parameters()), epochs=epochs, batch_size=batch_size,
            recorder=recorder, metrics=["accuracy"],
        )  # fmt: skip
    return count


def test_an_epoch_waits_and_uploads_the_same_however_many_batches_it_has(standin):
    few, many = costs(standin, 16), costs(standin, 4)
    assert (few.syncs, few.uploads) == (many.syncs, many.uploads)
    each = sum(LAUNCHES["64-128-64-10 relu cross-entropy, batch 64"])
    assert (many.launches - few.launches) / 12 <= each + 4  # and two to gather a batch, two to add up the loss


def test_every_epoch_uploads_its_order_and_nothing_else(standin):
    once, twice = costs(standin, 8), costs(standin, 8, epochs=2)
    assert twice.uploads - once.uploads == 1


def test_a_watched_step_waits_once_and_dropout_uploads_its_mask(standin):
    plain, watched, dropped = costs(standin, 8), costs(standin, 8, watch=4), costs(standin, 8, dropout=0.5)
    assert watched.syncs - plain.syncs <= 2 * 3  # steps 1, 4 and 8
    assert dropped.uploads - plain.uploads == 8
