"""The switch: how arrays come to a device and back, what is said when they cannot, and when devices are mixed."""

import copy
import json
import re
import sys
import types

import numpy as np
import pytest
from click.testing import CliRunner

import tinynet as tn
from monitor import Checkpoint, Recorder, load_checkpoint
from optimizers import SGD, Adam
from tinynet import backend
from tinynet.backend import device_of, get_default_device, to_device
from tinynet.cli import main

X, Y = tn.datasets.moons(24, seed=0)


# There and back -----------------------------------------------------------------------------------------------------------


def test_a_tensor_goes_and_comes_back(device):
    t = tn.Tensor([[1.0, 2.0]], requires_grad=True, name="weights")
    there = t.to(device)
    assert (there is t) == (device == "cpu")
    assert (there.device, there.requires_grad, there.name, there.shape) == (device, True, "weights", (1, 2))
    back = there.to("cpu")
    assert type(back.data) is np.ndarray
    assert np.array_equal(back.data, t.data)
    assert type(there.numpy()) is np.ndarray
    assert there.tolist() == [[1.0, 2.0]]
    assert there.sum().item() == 3.0
    assert f"{there.sum():.1f}" == "3.0"
    assert ("device='cuda'" in repr(there)) == (device == "cuda")


def test_a_parameter_stays_one(cuda):
    p = tn.Parameter([1.0]).to(cuda)
    assert type(p) is tn.Parameter
    assert p.device == "cuda"
    with tn.use_device(cuda):
        assert p.to("cpu").device == "cpu"


def test_a_model_goes_and_comes_back_with_its_buffers(cuda):
    model = tn.Sequential(tn.Linear(2, 3, seed=0), tn.BatchNorm1d(3))
    before = model.state_dict()
    model.to(cuda)
    assert {p.device for p in model.parameters()} == {"cuda"}
    assert device_of(model.layers[1].running_var) == "cuda"
    state = model.state_dict()
    assert all(type(value) is np.ndarray for value in state.values())
    other = tn.Sequential(tn.Linear(2, 3, seed=9), tn.BatchNorm1d(3)).to(cuda)
    other.load_state_dict(state)
    assert {p.device for p in other.parameters()} == {"cuda"}
    after = other.to("cpu").state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_the_default_device_is_that_of_what_is_new(cuda):
    old = tn.Tensor([1.0])
    with tn.use_device(cuda):
        assert get_default_device() == "cuda"
        model = tn.Sequential(tn.Linear(2, 3, seed=0), tn.BatchNorm1d(3), tn.LayerNorm(3))
        new = [tn.Tensor([1.0]), tn.Tensor(2), tn.Parameter(np.ones(3)), *model.parameters()]
        assert {t.device for t in new} == {"cuda"}
        assert device_of(model.layers[1].running_mean) == "cuda"
        for make in (tn.datasets.moons, tn.datasets.sine, tn.datasets.digits, tn.datasets.iris):
            assert {device_of(array) for array in make()} == {"cuda"}
        assert device_of(tn.datasets.load("moons").x) == "cpu"
        assert get_default_device() == "cuda"
        given = np.ones(3)
        assert tn.Tensor(given).data is given
    assert get_default_device() == "cpu"
    assert old.device == tn.Tensor([1.0]).device == "cpu"


def test_use_device_without_with_stays(cuda):
    tn.use_device(cuda)
    assert tn.Tensor([1.0]).device == "cuda"
    tn.use_device("cpu")
    assert tn.Tensor([1.0]).device == "cpu"


def test_a_seed_means_the_same_on_both_devices(cuda, same):
    with tn.use_device(cuda):
        model, (x, y) = tn.MLP([2, 8, 2], dropout=0.5, seed=3), tn.datasets.spirals(30, seed=4)
    host = tn.MLP([2, 8, 2], dropout=0.5, seed=3)
    for a, b in zip(host.parameters(), model.parameters(), strict=True):
        assert np.array_equal(a.data, b.numpy())
    a, b = tn.datasets.spirals(30, seed=4)
    assert np.array_equal(a, to_device(x, "cpu"))
    assert np.array_equal(b, to_device(y, "cpu"))
    for _ in range(3):
        same(host(a).data, model(x).data)


# What is said when a device cannot be used -------------------------------------------------------------------------------


@pytest.fixture
def found(monkeypatch):
    """found(module): that is what `import cupy` finds; None finds nothing."""

    def pretend(module):
        monkeypatch.setitem(sys.modules, "cupy", module)
        backend.cupy.cache_clear()

    yield pretend
    backend.cupy.cache_clear()


def a_cupy(devices):
    """A module like CuPy on a machine where counting the devices does this."""
    runtime = types.SimpleNamespace(getDeviceCount=devices, CUDARuntimeError=RuntimeError)
    return types.SimpleNamespace(__version__="14.2.0", cuda=types.SimpleNamespace(runtime=runtime))


def refuse(text):
    def count():
        raise RuntimeError(text)

    return count


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (None, r"device 'cuda' needs CuPy: pip install 'cupy-cuda13x\[ctk\]' \(or 'cupy-cuda12x\[ctk\]'"),
        (
            a_cupy(refuse("cudaErrorInsufficientDriver: CUDA driver version is insufficient")),
            "CuPy 14.2.0 is installed but cannot use a GPU: cudaErrorInsufficientDriver: CUDA driver version",
        ),
        (
            a_cupy(refuse("cudaErrorNoDevice: no CUDA-capable device is detected")),
            r"CuPy is installed but no GPU is visible \(check CUDA_VISIBLE_DEVICES\)",
        ),
        (a_cupy(lambda: 0), r"CuPy is installed but no GPU is visible \(check CUDA_VISIBLE_DEVICES\)"),
    ],
    ids=["not installed", "no driver", "no device", "none visible"],
)
@pytest.mark.parametrize(
    "ask",
    [lambda: tn.use_device("cuda"), lambda: tn.Tensor([1.0]).to("cuda"), lambda: tn.MLP([2, 2], seed=0).to("cuda")],
    ids=["use_device", "Tensor.to", "Module.to"],
)
def test_three_errors_and_no_fallback(found, module, text, ask):
    found(module)
    with pytest.raises(tn.DeviceError, match=text):
        ask()
    assert get_default_device() == "cpu"


@pytest.mark.parametrize("name", ["gpu", "cuda:1", "CPU", "mps"])
def test_unknown_devices(name):
    for ask in (lambda: tn.use_device(name), lambda: tn.Tensor([1.0]).to(name), lambda: tn.MLP([2, 2]).to(name)):
        with pytest.raises(tn.DeviceError, match=re.escape(f"unknown device {name!r}: expected 'cpu' or 'cuda'")):
            ask()


def test_the_command_trains_on_the_device_and_says_the_same(cuda, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = []
    for name in ("cpu", cuda):
        result = CliRunner().invoke(main, ["train", "moons", "--n", "60", "--epochs", "2", "--device", name, "--json"])
        assert result.exit_code == 0, result.output
        told.append(json.loads(result.stdout)["test"])
    assert told[0]["loss"] > 0
    assert told[1] == pytest.approx(told[0], rel=1e-3)


# Devices that are mixed -----------------------------------------------------------------------------------------------------

MIXTURES = {
    "add": (lambda d, h: d + h, r"np\.add: operands on different devices \(\(2, 2\) on cuda, \(2, 2\) on cpu\)"),
    "radd": (lambda d, h: h + d, r"np\.add: operands on different devices \(\(2, 2\) on cpu, \(2, 2\) on cuda\)"),
    "array": (
        lambda d, h: d * h.data,
        r"np\.multiply: operands on different devices \(\(2, 2\) on cuda, \(2, 2\) on cpu\)",
    ),
    "matmul": (lambda d, h: d @ h, r"matmul: operands on different devices \(\(2, 2\) on cuda, \(2, 2\) on cpu\)"),
    "stack": (lambda d, h: np.stack([d, h]), r"operands on different devices \(\(1, 2, 2\) on cuda, \(1, 2, 2\) on cpu\)"),
    "where": (lambda d, h: np.where(h.data > 0, d, 0), r"np\.where: operands on different devices \(\(2, 2\) on cpu"),
    "maximum": (lambda d, h: np.maximum(d, h), r"np\.maximum: operands on different devices"),
    "einsum": (lambda d, h: np.einsum("ij,jk", d, h), r"contract: operands on different devices"),
    "index": (lambda d, h: d[np.array([0, 1])], "a tensor on cuda is indexed by an array on cpu"),
    "mask": (lambda d, h: d[h.data > 0], "a tensor on cuda is indexed by an array on cpu"),
    "host index": (lambda d, h: h[to_device(np.array([0]), "cuda")], "a tensor on cpu is indexed by an array on cuda"),
    "layer": (
        lambda d, h: tn.Linear(2, 3, seed=0).to("cuda")(h),
        r"linear: operands on different devices \(\(2, 2\) on cpu",
    ),
    "input": (lambda d, h: tn.Linear(2, 3, seed=0)(d), r"linear: operands on different devices \(\(2, 2\) on cuda"),
    "target": (lambda d, h: tn.mse_loss(d, h.data), "mse_loss: target on cpu, prediction on cuda"),
    "labels": (lambda d, h: tn.cross_entropy(d, np.array([0, 1])), "cross_entropy: labels on cpu, logits on cuda"),
    "device labels": (
        lambda d, h: tn.cross_entropy(h, to_device(np.array([0, 1]), "cuda")),
        "cross_entropy: labels on cuda, logits on cpu",
    ),
    "upstream": (lambda d, h: (d + 1).backward(h), r"backward\(grad\): the tensor is on cuda, the gradient on cpu"),
}


@pytest.mark.parametrize("mixture", MIXTURES)
def test_mixing_devices(mixture, cuda):
    call, text = MIXTURES[mixture]
    host = tn.Tensor([[1.0, -2.0], [3.0, 4.0]], requires_grad=True)
    with pytest.raises(TypeError, match=text):
        call(host.to(cuda), host)


def test_lists_and_numbers_go_where_the_tensors_are(cuda, same):
    host = tn.Tensor([[1.0, -2.0], [3.0, 4.0]], requires_grad=True)
    for call in (
        lambda t, row=[1.0, 2.0]: t + row,
        lambda t: [1.0, 2.0] @ t,
        lambda t: t[[1, 0]],
        lambda t: tn.cross_entropy(t, [0, 1]),
        lambda t: tn.mse_loss(t, [[0.0, 1.0], [1.0, 0.0]]),
        lambda t: t * np.float32(2.0),
        lambda t: t**2 + 1,
    ):
        same(call(host).data, call(host.to(cuda)).data)


# Labels -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [2, -1])
@pytest.mark.parametrize("which", ["data", "validation"])
def test_labels_out_of_range_are_found_before_training(wrong, which, cuda):
    model = tn.Sequential(tn.Linear(2, 8, seed=0), tn.BatchNorm1d(8), tn.Linear(8, 2, seed=1)).to(cuda)
    before = model.state_dict()
    labels = Y.copy()
    labels[5] = wrong
    data = {"data": (X, Y), "validation": (X, Y), which: (X, labels)}
    with pytest.raises(ValueError, match=f"cross_entropy: labels must be in 0 to 1 for 2 classes, found {wrong}"):
        tn.fit(model, **data, loss="cross_entropy", optimizer=SGD(model.parameters(), 0.1), epochs=1)
    with pytest.raises(ValueError, match="labels must be in 0 to 1"):
        tn.evaluate(model, (to_device(X, cuda), to_device(labels, cuda)), "cross_entropy")
    after = model.state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert model.training


def test_targets_that_are_no_probabilities_are_found_before_training(cuda):
    model = tn.MLP([2, 4, 1], seed=0).to(cuda)
    with pytest.raises(ValueError, match=r"targets must lie in \[0, 1\], got 0.0 to 2.0"):
        tn.evaluate(model, (X, 2.0 * Y[:, None]), "binary_cross_entropy_with_logits")


# Memory -----------------------------------------------------------------------------------------------------------------------


def test_a_full_memory_says_what_was_asked_and_what_to_do(standin):
    text = r"the GPU's memory is full: Out of memory allocating 400 bytes .* Take a smaller batch_size.*nvidia-smi"
    row = tn.Tensor(np.ones((1, 10), np.float32), requires_grad=True).to("cuda")
    with standin.limited_memory(399):
        with pytest.raises(tn.DeviceMemoryError, match=text):
            row.T * row
        with pytest.raises(tn.DeviceMemoryError, match=text):
            tn.Tensor(np.ones((10, 10), np.float32)).to("cuda")
    square = ((row.T @ row) ** 2).sum()
    with standin.limited_memory(399), pytest.raises(tn.DeviceMemoryError, match=text):
        square.backward()


def test_a_full_memory_in_fit_and_on_the_host(standin, monkeypatch):
    model = tn.MLP([2, 8, 2], seed=0).to("cuda")
    optimizer = SGD(model.parameters(), 0.1)
    with standin.limited_memory(500), pytest.raises(tn.DeviceMemoryError, match="Out of memory allocating"):
        tn.fit(model, (X, Y), loss="cross_entropy", optimizer=optimizer, epochs=1)
    mine = MemoryError("the host's own")

    def full(*_):
        raise mine

    monkeypatch.setitem(tn.tensor.RULES, full, None)
    with pytest.raises(MemoryError, match="the host's own") as caught:
        tn.tensor.record(full, (tn.Tensor([1.0]),))
    assert caught.value is mine


# Checkpoints ------------------------------------------------------------------------------------------------------------------


def test_a_checkpoint_of_a_gpu_is_loaded_without_one(cuda, tmp_path, same):
    def training(device, folder):
        model = tn.MLP([2, 8, 2], dropout=0.2, seed=0).to(device)
        return model, Adam(model.parameters(), 1e-2), Recorder(folder, name="run")

    model, optimizer, recorder = training(cuda, tmp_path)
    settings = {"loss": "cross_entropy", "batch_size": 10, "seed": 1}
    with recorder:
        tn.fit(
            model,
            (X, Y),
            optimizer=optimizer,
            epochs=2,
            recorder=recorder,
            callbacks=[Checkpoint(1, best=None)],
            **settings,
        )
        saved = load_checkpoint(recorder.path, "last")
    assert all(type(a) is np.ndarray for a in saved["model"].values())
    assert all(type(a) is np.ndarray for state in saved["optimizer"]["state"].values() for a in state.values())

    whole, optimizer, _ = training(cuda, tmp_path)
    tn.fit(whole, (X, Y), optimizer=optimizer, epochs=4, **settings)
    for device in ("cpu", cuda):
        model, optimizer, _ = training(device, tmp_path)
        tn.fit(model, (X, Y), optimizer=optimizer, epochs=4, resume=copy.deepcopy(saved), **settings)
        assert {p.device for p in model.parameters()} == {device}
        for a, b in zip(whole.parameters(), model.parameters(), strict=True):
            same(a.numpy(), b.numpy())


def test_moving_a_model_after_its_optimizer_was_made(cuda):
    model = tn.MLP([2, 2], seed=0)
    optimizer = SGD(model.parameters(), 0.1)
    model.to(cuda)
    tn.cross_entropy(model(to_device(X, cuda)), to_device(Y, cuda)).backward()
    with pytest.raises(ValueError, match=r"changed its kind of array from .* make the optimizer afterwards"):
        optimizer.step()
