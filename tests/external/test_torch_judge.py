"""PyTorch as the judge: every sample of tinynet's table of rules, losses, layers and random nets, against torch in float64.

For each call of `tinynet.samples.SAMPLES`: the value, the gradient for a random upstream gradient (to 1e-10) and the
gradient of <v, gradient> for a random v (to 1e-8). The table of counterparts is `TORCH` in numpy_in_torch.py.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: these tests compare with it")

from numpy_in_torch import TORCH, Judge, raw  # noqa: E402

import tinynet as tn  # noqa: E402
from tinynet.samples import SAMPLES  # noqa: E402

WITHOUT_COUNTERPART = {
    np.cbrt: "torch has no cube root of negative numbers (a power of 1/3 is nan there)",
}
CASES = [
    pytest.param(f, inputs, id=f"{function.__name__}-{i}")
    for function, samples in SAMPLES.items()
    if function not in WITHOUT_COUNTERPART
    for i, (f, *inputs) in enumerate(samples)
]


def error(ours, theirs):
    """The largest difference, relative to the largest number (or to 1)."""
    ours, theirs = np.asarray(ours), theirs.numpy(force=True)
    assert ours.shape == theirs.shape
    return np.abs(ours - theirs).max(initial=0) / max(1, np.abs(theirs).max(initial=0))


def ask_torch(f, inputs):
    counterpart = TORCH.get(raw(f))
    return counterpart(*inputs) if counterpart else f(*map(Judge, inputs)).tensor


def torch_slopes(output, inputs, seed):
    found = torch.autograd.grad(output, inputs, seed, create_graph=True, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=True)]


def our_slopes(output, inputs, seed):
    found = tn.gradients(output, inputs, seed, create_graph=True, allow_unused=True)
    return [tn.Tensor(np.zeros(x.shape)) if g is None else g for x, g in zip(inputs, found, strict=True)]


def dot(slopes, directions):
    return sum((g * d).sum() for g, d in zip(slopes, directions, strict=True))


def test_the_table_names_nearly_every_entry():
    unknown = [f.__name__ for f in SAMPLES if raw(f) not in TORCH and f not in WITHOUT_COUNTERPART]
    assert not unknown, f"no torch counterpart in the table, and no reason given: {unknown}"
    assert len(WITHOUT_COUNTERPART) <= 0.1 * len(SAMPLES)


@pytest.mark.parametrize(("f", "inputs"), CASES)
def test_value_gradient_and_second_derivative(f, inputs):
    generator = np.random.default_rng(0)
    theirs = [torch.tensor(x, requires_grad=True) for x in inputs]
    ours = [tn.Tensor(x, requires_grad=True) for x in inputs]
    y, z = f(*ours), ask_torch(f, theirs)
    assert error(y.data, z) < 1e-10
    upstream = generator.normal(size=y.shape)
    g, h = our_slopes(y, ours, upstream), torch_slopes(z, theirs, torch.tensor(upstream))
    assert max(error(a.data, b) for a, b in zip(g, h, strict=True)) < 1e-10
    directions = [generator.normal(size=x.shape) for x in inputs]
    along, other = dot(g, directions), dot(h, map(torch.tensor, directions))
    if not other.requires_grad:  # linear: the gradient is constant
        assert not any(s.data.any() for s in our_slopes(along, ours, None) if along.requires_grad)
        return
    second = zip(our_slopes(along, ours, None), torch_slopes(other, theirs, None), strict=True)
    assert max(error(a.data, b) for a, b in second) < 1e-8


ACTIVATIONS = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": torch.nn.functional.softplus,
    "silu": torch.nn.functional.silu,
}


@pytest.fixture
def float64():
    tn.set_default_dtype("float64")
    yield
    tn.set_default_dtype("float32")


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("seed", range(30))
def test_random_nets(seed):
    generator = np.random.default_rng(seed)
    depth, batch = int(generator.integers(1, 4)), int(generator.integers(1, 40))
    sizes = generator.integers(2, 20, depth + 1).tolist()
    activation = list(ACTIVATIONS)[seed % 5]
    classifies = bool(generator.integers(2))
    x = generator.normal(size=(batch, sizes[0]))
    target = generator.integers(0, sizes[-1], batch) if classifies else generator.normal(size=(batch, sizes[-1]))

    model = tn.MLP(sizes, activation=activation, seed=seed)
    parameters = list(model.parameters())
    loss = (tn.cross_entropy if classifies else tn.mse_loss)(model(x), target)
    loss.backward()

    copies = [torch.tensor(p.data, requires_grad=True) for p in parameters]
    h = torch.tensor(x)
    for layer, (weight, bias) in enumerate(zip(copies[::2], copies[1::2], strict=True)):
        h = h @ weight + bias
        h = ACTIVATIONS[activation](h) if layer < depth - 1 else h
    compare = torch.nn.functional.cross_entropy if classifies else torch.nn.functional.mse_loss
    expected = compare(h, torch.tensor(target))
    expected.backward()

    assert error(loss.data, expected) < 1e-10
    assert [p.shape for p in parameters] == [tuple(c.shape) for c in copies]
    assert max(error(p.grad, c.grad) for p, c in zip(parameters, copies, strict=True)) < 1e-10


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("rows", [False, True], ids=["classes", "probabilities"])
def test_every_form_of_cross_entropy(rows, weighted, smoothing, reduction):
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(6, 4))
    target = generator.dirichlet(np.ones(4), 6) if rows else generator.integers(0, 4, 6)
    weight = generator.uniform(0.5, 2, 4) if weighted else None
    z, t = tn.Tensor(logits, requires_grad=True), torch.tensor(logits, requires_grad=True)
    ours = tn.cross_entropy(z, target, weight=weight, label_smoothing=smoothing, reduction=reduction)
    theirs = torch.nn.functional.cross_entropy(
        t,
        torch.tensor(target),
        weight=None if weight is None else torch.tensor(weight),
        label_smoothing=smoothing,
        reduction=reduction,
    )
    assert error(ours.data, theirs) < 1e-10
    upstream = generator.normal(size=ours.shape)
    assert error(tn.gradients(ours, z, upstream), torch_slopes(theirs, [t], torch.tensor(upstream))[0]) < 1e-10


LOSSES = {
    "mse_loss": torch.nn.functional.mse_loss,
    "l1_loss": torch.nn.functional.l1_loss,
    "huber_loss": torch.nn.functional.huber_loss,
    "binary_cross_entropy_with_logits": torch.nn.functional.binary_cross_entropy_with_logits,
}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", LOSSES)
def test_the_other_losses_in_both_operands(name, reduction):
    generator = np.random.default_rng(1)
    arrays = [3 * generator.normal(size=(5, 3)), generator.uniform(0.1, 0.9, (5, 3))]
    ours, theirs = [tn.Tensor(a, requires_grad=True) for a in arrays], [torch.tensor(a, requires_grad=True) for a in arrays]
    y, z = getattr(tn.functional, name)(*ours, reduction=reduction), LOSSES[name](*theirs, reduction=reduction)
    assert error(y.data, z) < 1e-10
    upstream = generator.normal(size=y.shape)
    pairs = zip(tn.gradients(y, ours, upstream), torch_slopes(z, theirs, torch.tensor(upstream)), strict=True)
    assert max(error(a, b) for a, b in pairs) < 1e-10


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["LayerNorm", "BatchNorm1d"])
def test_normalising_layers(name, training):
    generator = np.random.default_rng(2)
    ours, theirs = getattr(tn, name)(5), getattr(torch.nn, name)(5, dtype=torch.float64)
    for layer in (ours, theirs):
        layer.train() if training else layer.eval()
    for _ in range(3):  # the running averages of BatchNorm1d move from batch to batch
        array = generator.normal(size=(7, 5))
        x, t = tn.Tensor(array, requires_grad=True), torch.tensor(array, requires_grad=True)
        y, z = ours(x), theirs(t)
        assert error(y.data, z) < 1e-10
        upstream = generator.normal(size=y.shape)
        found = tn.gradients(y, [x, ours.weight, ours.bias], upstream)
        expected = torch_slopes(z, [t, theirs.weight, theirs.bias], torch.tensor(upstream))
        assert max(error(a, b) for a, b in zip(found, expected, strict=True)) < 1e-10
    for ours_has, theirs_has in zip([getattr(ours, b) for b in ours.buffers], theirs.buffers(), strict=False):
        assert error(ours_has, theirs_has) < 1e-10
