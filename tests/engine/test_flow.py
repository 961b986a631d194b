"""Other values flow through the same layers, rules, losses and optimizers: replicas, and arrays that are not NumPy's.

A leading axis of replicas trains many nets at once. The stand-in array below is no ndarray: it answers NumPy's functions
(as CuPy's arrays and traced arrays do), and refuses to be converted, compared to True, or read as a number.
"""

import numpy as np
import pytest
from numpy.lib.mixins import NDArrayOperatorsMixin

import tinynet as tn
from optimizers import L1, SGD, Adam, AdamW

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


# Arrays that are not NumPy's --------------------------------------------------------------------------------------------


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
        if name not in ("sum", "mean", "max", "reshape", "swapaxes", "astype", "copy", "ravel"):
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


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "gelu", "silu", "elu", "leaky_relu", "softplus"])
@pytest.mark.parametrize(
    "make",
    [
        lambda p: SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=1e-3, on_nonfinite="ignore"),
        lambda p: Adam(p, 1e-2, penalty=L1(1e-3), on_nonfinite="ignore"),
        lambda p: AdamW(p, 1e-2, on_nonfinite="ignore"),
    ],
)
def test_a_training_step_on_other_arrays_gives_the_same_bits(activation, make):
    ours, theirs = (tn.MLP([2, 8, 8, 2], activation=activation, seed=0) for _ in range(2))
    for parameter in theirs.parameters():
        parameter.data = Stand(parameter.data)
    optimizer, other = make(ours.named_parameters()), make(theirs.named_parameters())
    for _ in range(3):
        loss = step(ours, optimizer, X, Y)
        same = step(theirs, other, Stand(X), Stand(Y))
        assert np.array_equal(loss.data, same.data.host)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert isinstance(b.data, Stand)
        assert np.array_equal(a.data, b.data.host)


def test_regression_on_other_arrays_gives_the_same_bits():
    x, y = tn.datasets.sine(16, seed=0)
    model = tn.MLP([1, 8, 1], seed=0)
    expected = tn.gradients(tn.mse_loss(model(x), y), list(model.parameters()))
    for parameter in model.parameters():
        parameter.data = Stand(parameter.data)
    found = tn.gradients(tn.mse_loss(model(Stand(x)), Stand(y)), list(model.parameters()))
    assert all(np.array_equal(a, b.host) for a, b in zip(expected, found, strict=True))
