"""What only a GPU can show. All of this is skipped where there is none."""

import contextlib
import re

import numpy as np
import pytest

import tinynet as tn
from optimizers import SGD, Adam
from tinynet import backend
from tinynet.backend import to_device

try:
    cupy = backend.cupy()
    WHY = ""
except backend.DeviceError as _error:
    WHY = str(_error)
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(WHY), reason=WHY or "there is one")]


def trained(steps, sizes=(64, 128, 64, 10), batch=64, make=lambda p: Adam(p, 1e-3)):
    """(losses, parameters) of a few steps on the GPU."""
    drawn = np.random.default_rng(0)
    x = to_device(drawn.standard_normal((batch, sizes[0]), dtype=np.float32), "cuda")
    y = to_device(drawn.integers(0, sizes[-1], batch), "cuda")
    model = tn.MLP(list(sizes), seed=0).to("cuda")
    optimizer = make(model.parameters())
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = tn.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.data)
    return np.stack(losses).get(), [p.numpy() for p in model.parameters()]


def test_a_step_does_not_wait():
    import cupyx

    trained(2)  # kernels are compiled
    with contextlib.ExitStack() as stack:
        x = to_device(np.ones((8, 4), np.float32), "cuda")
        model = tn.MLP([4, 8, 2], seed=0).to("cuda")
        optimizer = Adam(model.parameters())
        y = to_device(np.zeros(8, np.int64), "cuda")
        stack.enter_context(cupyx.allow_synchronize(False))
        for _ in range(3):
            optimizer.zero_grad()
            tn.cross_entropy(model(x), y).backward()
            optimizer.step()


def test_a_training_can_be_repeated_to_the_bit():
    """Products and sums repeat on one GPU and stream; only sums by atomics (x[[0, 0]] with a gradient) need not."""
    first, second = trained(20), trained(20)
    assert np.array_equal(first[0], second[0])
    assert all(np.array_equal(a, b) for a, b in zip(first[1], second[1], strict=True))


@pytest.mark.parametrize("value", [[-np.inf, -np.inf], [np.nan, 1.0], [1.0, np.nan], [2.0, 2.0], [-np.inf, 0.0]])
def test_argmax_and_max_of_awkward_numbers_are_numpys(value):
    host = np.array([value], np.float32)
    there = to_device(host, "cuda")
    assert there.argmax(axis=1).get().tolist() == host.argmax(axis=1).tolist()
    assert np.array_equal(there.max(axis=1).get(), host.max(axis=1), equal_nan=True)


def test_a_full_memory_is_said_in_our_words():
    rows = tn.Tensor(np.ones((1 << 20, 1), np.float32)).to("cuda")
    text = r"the GPU's memory is full: Out of memory allocating [\d,]+ bytes .*Take a smaller batch_size"
    with pytest.raises(tn.DeviceMemoryError, match=text):
        rows @ rows.T  # 4 TB


def test_cupy_still_refuses_cublas_while_a_stream_is_captured():
    """If this fails, CuPy has learnt it, and a whole step can be a CUDA graph: see docs/gpu.md."""
    a, stream = cupy.ones((64, 64), dtype=np.float32), cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.Device().synchronize()
    with stream:
        stream.begin_capture()
        try:
            with pytest.raises(NotImplementedError, match=re.compile("cublas", re.IGNORECASE)):
                a @ a
        finally:
            with contextlib.suppress(Exception):
                stream.end_capture()


def test_what_is_no_product_can_be_captured_and_replayed():
    """The optimizer's step, in a memory pool of its own, as often as it is launched."""
    eager = [(f"p{i}", tn.Parameter(np.full(n, 0.5, np.float32)).to("cuda")) for i, n in enumerate((30, 7))]
    captured = [(name, tn.Parameter(p.numpy()).to("cuda")) for name, p in eager]
    optimizers = [SGD(named, 0.1, momentum=0.9) for named in (eager, captured)]
    for named in (eager, captured):
        for _, p in named:
            p.accumulate(to_device(np.ones(p.shape, np.float32), "cuda"))
    for optimizer in optimizers:
        optimizer.step()
        optimizer.step()
    stream, pool = cupy.cuda.Stream(non_blocking=True), cupy.cuda.MemoryPool()
    cupy.cuda.Device().synchronize()
    with cupy.cuda.using_allocator(pool.malloc), stream:
        stream.begin_capture()
        optimizers[1].step()
        graph = stream.end_capture()
    for _ in range(5):
        graph.launch(stream)
        optimizers[0].step()
    stream.synchronize()
    for (_, a), (_, b) in zip(eager, captured, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5)


def test_float32_products_are_not_tf32():
    """TF32 keeps ten bits of each factor; CuPy uses it only if CUPY_TF32 is set."""
    a = np.random.default_rng(0).standard_normal((256, 256)).astype(np.float32)
    exact = a.astype(np.float64) @ a
    found = (to_device(a, "cuda") @ to_device(a, "cuda")).get()
    assert np.abs(found - exact).max() < 1e-4
