"""Other values flow through the same rules, functions, layers and losses: replicas, and arrays that are not NumPy's.

A leading axis of replicas trains many nets at once. The arrays of a GPU (on machines without one, of the stand-in, which is
no ndarray and refuses to be converted or mixed with NumPy's) go through the same lines and give the same bits.
"""

import numpy as np
import pytest
from numpy.lib.mixins import NDArrayOperatorsMixin

import tinynet as tn
from optimizers import SGD, Adam, AdamW
from tinynet import functional as F
from tinynet import samples
from tinynet.backend import device_of, to_device

X, Y = tn.datasets.moons(24, noise=0.1, seed=0)


def step(model, optimizer, x, y):
    """One training step; the losses of all replicas are added up, so none sees the others."""
    losses = tn.cross_entropy(model(x), y, reduction="none").mean(axis=-1)
    optimizer.zero_grad()
    losses.sum().backward()
    optimizer.step()
    return losses


# Replicas ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda p: SGD(p, 0.1, momentum=0.9), lambda p: Adam(p, 1e-2), lambda p: AdamW(p, 1e-2)])
def test_many_nets_at_once_equal_each_alone(make):
    alone = [tn.MLP([2, 8, 8, 2], activation="tanh", seed=seed) for seed in range(3)]
    together = tn.MLP([2, 8, 8, 2], activation="tanh", seed=0)
    for i in (0, 2, 4):
        stacked = np.stack([model.layers[i].weight.data for model in alone])
        together.layers[i].weight = tn.Parameter(stacked)
        together.layers[i].bias = tn.Parameter(np.zeros((3, 1, stacked.shape[-1]), np.float32))
    optimizers = [make(model.named_parameters()) for model in alone]
    optimizer = make(together.named_parameters())
    for _ in range(20):
        losses = step(together, optimizer, X, Y)
        each = [step(model, o, X, Y).item() for model, o in zip(alone, optimizers, strict=True)]
        assert losses.shape == (3,)
        assert np.allclose(losses.data, each, rtol=1e-4)
    for r, model in enumerate(alone):
        for i in (0, 2, 4):
            assert np.allclose(together.layers[i].weight.data[r], model.layers[i].weight.data, rtol=1e-3, atol=1e-5)


# Every function of the table ----------------------------------------------------------------------------------------------

CALLS = [(function, i) for function, calls in samples.SAMPLES.items() for i in range(len(calls))]


def value_and_gradients(call, inputs, device):
    """The value of a sample and its gradients, with all arrays on the device."""
    tensors = [tn.Tensor(to_device(np.asarray(x), device), requires_grad=True) for x in inputs]
    y = call(*tensors)
    upstream = np.cos(np.arange(y.size, dtype=y.dtype)).reshape(y.shape)
    return y.data, tn.gradients(y, tensors, grad_output=to_device(upstream, device))


@pytest.mark.parametrize(("function", "i"), CALLS, ids=[f"{f.__name__}{i}" for f, i in CALLS])
def test_every_sample_of_the_table(function, i, cuda, same, monkeypatch):
    call, *inputs = samples.SAMPLES[function][i]
    expected, slopes = value_and_gradients(call, inputs, "cpu")
    for name in ("mask", "labels"):  # which some samples name
        monkeypatch.setattr(samples, name, to_device(getattr(samples, name), cuda))
    found, others = value_and_gradients(call, inputs, cuda)
    assert device_of(found) == "cuda"
    same(expected, found)
    for a, b in zip(slopes, others, strict=True):
        assert device_of(b) == "cuda"
        same(a, b)


def test_second_derivatives(cuda, same):
    v = np.array([1.0, -2.0, 0.5])
    f = lambda x: (np.tanh(x) ** 3).sum() + np.exp(x).prod()
    x, direction = np.array([0.3, -0.4, 0.8]), to_device(v, cuda)
    same(tn.hvp(f, x, v).data, tn.hvp(f, to_device(x, cuda), direction).data)


# Layers and losses --------------------------------------------------------------------------------------------------------

LOSSES = {
    "mse": lambda z, y, t: tn.mse_loss(z, t),
    "l1": lambda z, y, t: tn.l1_loss(z, t),
    "huber": lambda z, y, t: tn.huber_loss(z, t, delta=0.5),
    "binary": lambda z, y, t: tn.binary_cross_entropy_with_logits(z, F.sigmoid(t)),
    "cross entropy": lambda z, y, t: tn.cross_entropy(z, y),
    "smoothed": lambda z, y, t: tn.cross_entropy(z, y, label_smoothing=0.1),
    "weighted": lambda z, y, t: tn.cross_entropy(z, y, weight=[1.0, 2.0]),
    "rows": lambda z, y, t: tn.cross_entropy(z, F.softmax(t), reduction="sum"),
    "one hot": lambda z, y, t: (z * F.one_hot(y, 2)).sum(),
    "none": lambda z, y, t: tn.cross_entropy(z, y, reduction="none").max(),
}


def loss_and_gradients(model, loss, device, x=X, y=Y):
    model.to(device)
    x, y = to_device(x, device), to_device(y, device)
    value = loss(model(x), y, np.sin(x))
    value.backward()
    return [value.data, *(p.grad for p in model.parameters())]


@pytest.mark.parametrize("loss", LOSSES)
def test_losses(loss, cuda, same):
    found = [loss_and_gradients(tn.MLP([2, 6, 2], seed=0), LOSSES[loss], d) for d in ("cpu", cuda)]
    for a, b in zip(*found, strict=True):
        assert device_of(b) == "cuda"
        same(a, b)


LAYERS = {
    **{name: lambda name=name: [tn.Linear(2, 5, seed=0), tn.Activation(name)] for name in tn.layers.ACTIVATIONS},
    "batch norm": lambda: [tn.BatchNorm1d(2), tn.Linear(2, 5, bias=False, seed=0), tn.BatchNorm1d(5)],
    "layer norm": lambda: [tn.Linear(2, 5, seed=0), tn.LayerNorm(5)],
    "dropout": lambda: [tn.Linear(2, 5, seed=0), tn.Dropout(0.3, seed=1)],
}


@pytest.mark.parametrize("mode", ["training", "evaluation"])
@pytest.mark.parametrize("layer", LAYERS)
def test_layers(layer, mode, cuda, same):
    found = []
    for device in ("cpu", cuda):
        model = tn.Sequential(*LAYERS[layer](), tn.Linear(5, 2, seed=3))
        if mode == "evaluation":
            model.eval()
        found.append(loss_and_gradients(model, LOSSES["cross entropy"], device))
        found[-1] += [module.running_var for _, module in model.named_modules() if hasattr(module, "running_var")]
    for a, b in zip(*found, strict=True):
        assert device_of(b) == "cuda"
        same(a, b)


def test_what_computes_stays_on_its_device(device):
    x = tn.Tensor(to_device(np.array([[1.0, -2.0], [3.0, 0.5]], np.float32), device), requires_grad=True)
    row = [1.0, 2.0]
    for answer in (x + 1, 2.0 * x, x @ row, x + row, x[[1, 0]], x[0], x.mean(), np.stack([x, x]), np.sort(x)):
        assert answer.device == device
        assert answer.dtype == np.float32
    for array in (x > 0, x.argmax(axis=1), np.sign(x)):
        assert device_of(array) == device
    (x * x).sum().backward()
    (x * x).backward([[1.0, 2.0], [3.0, 4.0]])
    assert device_of(x.grad) == device
    assert tn.Tensor(x.grad).tolist() == [[4.0, -12.0], [24.0, 5.0]]
    assert x.detach().device == device


def test_checks_for_anomalies_and_finite_differences(device):
    x = tn.Tensor(to_device(np.array([0.0, 1.0]), device), requires_grad=True)
    with tn.detect_anomaly(), np.errstate(all="ignore"), pytest.raises(tn.AnomalyError, match="a nan|an infinity"):
        np.log(x).sum().backward()


# For tests of the optimizers alone: an array that cannot be read at all -------------------------------------------------


class Stand(NDArrayOperatorsMixin):
    """NumPy's arithmetic behind the manners of a device array or a traced one."""

    def __init__(self, host):
        self.host = host

    shape = property(lambda self: self.host.shape)
    dtype = property(lambda self: self.host.dtype)
    ndim = property(lambda self: self.host.ndim)
    size = property(lambda self: self.host.size)

    def refuse(self, *_):
        raise TypeError("this array does not leave its device")

    __array__ = __float__ = __int__ = __bool__ = __index__ = tolist = item = refuse

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **params):
        assert all(isinstance(i, Stand | int | float | bool) for i in inputs), f"{ufunc} mixes in a host array"
        params = {**params, **({"out": tuple(o.host for o in out)} if out else {})}
        return (
            wrap(getattr(ufunc, method)(*map(bare, inputs), **params))
            if not out
            else into(ufunc, method, inputs, params, out)
        )

    def __array_function__(self, function, types, args, params):
        return wrap(function(*bare(args), **{k: bare(v) for k, v in params.items()}))

    def __getitem__(self, index):
        return wrap(self.host[bare(index)])

    def __setitem__(self, index, value):
        self.host[index] = bare(value)

    def __len__(self):
        return len(self.host)

    def __getattr__(self, name):
        if name not in ("sum", "mean", "max", "all", "reshape", "swapaxes", "astype", "copy", "ravel"):
            raise AttributeError(name)
        return lambda *args, **params: wrap(getattr(self.host, name)(*args, **params))


def bare(value):
    if isinstance(value, Stand):
        return value.host
    return type(value)(map(bare, value)) if isinstance(value, list | tuple) else value


def wrap(value):
    return Stand(np.asarray(value)) if isinstance(value, np.ndarray | np.generic) else value


def into(ufunc, method, inputs, params, out):
    getattr(ufunc, method)(*map(bare, inputs), **params)
    return out[0]
