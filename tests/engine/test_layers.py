"""Layers and models: what they compute, what they own, how they are saved, and what they say about a wrong input."""

import functools

import numpy as np
import pytest

import tinynet as tn
from tinynet.initializers import glorot_uniform, he_normal, lecun_normal

x = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)


def test_linear_is_x_w_plus_b():
    layer = tn.Linear(4, 3, seed=0)
    layer.bias.data[...] = [1, 2, 3]
    assert np.allclose(layer(x).data, x @ layer.weight.data + [1, 2, 3], rtol=1e-6)
    assert np.allclose(layer(x[0]).data, layer(x).data[0], rtol=1e-6)
    without = tn.Linear(4, 3, bias=False, seed=0)
    assert np.allclose(without(x).data, x @ without.weight.data, rtol=1e-6)
    assert [name for name, _ in without.named_parameters()] == ["weight"]


def test_parameters_come_in_order_of_definition_with_dotted_names():
    model = tn.MLP([4, 3, 2], seed=0)
    assert [n for n, _ in model.named_parameters()] == [
        "layers.0.weight",
        "layers.0.bias",
        "layers.2.weight",
        "layers.2.bias",
    ]


def test_a_shared_parameter_comes_once():
    class Tied(tn.Module):
        def __init__(self):
            self.first = tn.Linear(4, 4, seed=0)
            self.second = tn.Linear(4, 4, seed=1)
            self.second.weight = self.first.weight

        def forward(self, x):
            return self.second(tn.relu(self.first(x)))

    model = Tied()
    assert [n for n, _ in model.named_parameters()] == ["first.weight", "first.bias", "second.bias"]
    model(x).sum().backward()
    assert model.first.weight.grad.shape == (4, 4)


class Held(tn.Module):
    """Parameters and layers in lists, tuples and dicts, however deep."""

    def __init__(self):
        self.weights = [tn.Parameter([1.0]), tn.Parameter([2.0])]
        self.named = {"scale": tn.Parameter([3.0]), "heads": {"a": tn.Linear(1, 1), "b": (tn.Linear(1, 1, bias=False),)}}
        self.grid = [[tn.BatchNorm1d(2)], [tn.Linear(1, 1, bias=False)]]
        self.again = self.grid[1][0]
        self.sizes = [1, 2, "three"]


def test_parameters_in_lists_and_dicts_are_found_however_deep():
    model = Held()
    names = [
        "weights.0", "weights.1", "named.scale", "named.heads.a.weight", "named.heads.a.bias", "named.heads.b.0.weight",
        "grid.0.0.weight", "grid.0.0.bias", "grid.1.0.weight",
    ]  # fmt: skip
    assert [name for name, _ in model.named_parameters()] == names
    assert sorted(model.state_dict()) == sorted([*names, "grid.0.0.running_mean", "grid.0.0.running_var"])
    modules = ["", "named.heads.a", "named.heads.b.0", "grid.0.0", "grid.1.0"]
    assert [name for name, _ in model.named_modules()] == modules  # a shared layer comes once
    assert not model.eval().named["heads"]["a"].training
    other = Held()
    for p in other.parameters():
        p.data = p.data + 1
    model.load_state_dict(other.state_dict())
    assert model.weights[0].data.tolist() == [2.0]
    assert model.summary().split()[-1] == str(sum(p.size for p in model.parameters()))
    assert "named.heads.b.0=Linear(1 -> 1, bias=False)" in repr(model)


def test_a_layer_may_know_its_parent():
    class Child(tn.Module):
        def __init__(self, parent):
            self.parent, self.weight = parent, tn.Parameter([1.0])

    class Parent(tn.Module):
        def __init__(self):
            self.child = Child(self)

    model = Parent()
    assert [name for name, _ in model.named_parameters()] == ["child.weight"]
    assert [name for name, _ in model.child.named_parameters()] == ["weight"]
    assert repr(model) == "Parent(child=Child(parent=...))"
    assert model.summary().split()[-1] == "1"


def test_a_layer_or_a_parameter_of_the_class_is_refused():
    for member in (tn.Parameter([1.0]), tn.Linear(1, 1), [tn.Linear(1, 1)]):
        with pytest.raises(TypeError, match=r"Bad.member is one of the class.*self.member = .* in __init__"):
            type("Bad", (tn.Module,), {"member": member})


def test_a_parameter_is_not_replaced_by_something_else():
    layer = tn.Linear(2, 1, seed=0)
    with pytest.raises(TypeError, match=r"Linear.weight is a Parameter, .*: layer.weight.data = .*no_grad"):
        layer.weight = layer.weight * 0.5
    with pytest.raises(TypeError, match=r"Linear.weight is a Parameter"):
        layer.weight = np.zeros((2, 1))
    before = layer.weight.data.copy()
    with tn.no_grad():
        layer.weight *= 0.5
    assert np.array_equal(layer.weight.data, 0.5 * before)
    layer.bias = None
    layer.weight = tn.Parameter(np.ones((2, 1), np.float32))
    assert [name for name, _ in layer.named_parameters()] == ["weight"]


class Masked(tn.Module):
    def __init__(self):
        self.inner = tn.Linear(2, 2, seed=0)

    def forward(self, x, mask=None, *, scale=1.0):
        y = self.inner(x) * scale
        return y if mask is None else y * mask


def test_a_forward_of_many_arguments():
    model, seen = Masked(), []
    model.forward_hooks = (lambda module, output: seen.append((module, output)),)
    x, mask = np.ones((3, 2), np.float32), np.float32([1, 0])
    y = model(x, mask, scale=2.0)
    assert np.array_equal(y.data, 2 * model.inner(x).data * mask)
    assert np.array_equal(model(x, mask=mask).data, model(x=x, mask=mask).data)
    assert seen[0] == (model, y)
    assert len(seen) == 3
    with pytest.raises(TypeError, match=r"forward\(\) missing 1 required positional argument: 'x'"):
        model()


def test_a_captured_step_calls_a_forward_of_many_arguments():
    def losses(wrap):
        model = Masked()
        optimizer = tn.optimizers.SGD(model.parameters(), lr=0.1)

        def step(x, mask):
            loss = (model(x, mask=mask, scale=2.0) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        step = wrap(step)
        x, mask = np.ones((3, 2), np.float32), np.float32([1, 0])
        found = [step(x, mask).item() for _ in range(6)]
        assert getattr(step, "failure", None) is None
        return found

    assert losses(tn.capture) == losses(lambda step: step)


def test_same_seed_same_weights_and_dropout_has_a_stream_of_its_own():
    a, b, other = tn.MLP([4, 8, 2], seed=3), tn.MLP([4, 8, 2], seed=3, dropout=0.5), tn.MLP([4, 8, 2], seed=4)
    assert np.array_equal(a.layers[0].weight.data, b.layers[0].weight.data)
    assert not np.array_equal(a.layers[0].weight.data, other.layers[0].weight.data)
    c = tn.MLP([4, 8, 2], seed=3, dropout=0.5)
    assert np.array_equal(b(x).data, c(x).data)


def test_train_and_eval():
    model = tn.MLP([4, 64, 2], dropout=0.5, seed=0)
    assert not np.array_equal(model(x).data, model(x).data)
    model.eval()
    assert np.array_equal(model(x).data, model(x).data)
    assert all(not module.training for _, module in model.named_modules())
    assert model.train().training


def test_state_dict_round_trip_and_copies():
    model, other = tn.MLP([4, 8, 2], seed=0), tn.MLP([4, 8, 2], seed=1)
    state = model.state_dict()
    other.load_state_dict(state)
    assert np.array_equal(model(x).data, other(x).data)
    state["layers.0.weight"][...] = 0
    assert model.layers[0].weight.data.any()


def test_state_dict_is_strict():
    model = tn.MLP([4, 8, 2], seed=0)
    state = model.state_dict()
    state["extra"] = state.pop("layers.0.bias")
    with pytest.raises(ValueError, match=r"MLP: it lacks layers.0.bias and the model does not know extra \(strict"):
        model.load_state_dict(state)
    model.load_state_dict(state, strict=False)
    with pytest.raises(tn.ShapeError, match=r"layers.0.weight: the model has shape \(4, 8\), the state \(8, 4\)"):
        model.load_state_dict({"layers.0.weight": np.zeros((8, 4))}, strict=False)


def test_a_bad_state_changes_nothing():
    model = tn.MLP([4, 8, 2], seed=0)
    before = model.state_dict()
    bad = {**{k: v + 1 for k, v in before.items()}, "layers.2.bias": np.zeros(5)}
    with pytest.raises(tn.ShapeError):
        model.load_state_dict(bad)
    assert all(np.array_equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("last", ["text", [[1.0], [1.0, 2.0]], None, np.ma.masked_array([1.0, 2.0], [True, False])])
def test_a_state_with_something_else_in_it_changes_nothing(last):
    model = tn.MLP([4, 8, 2], seed=0)
    before = model.state_dict()
    bad = {k: v + 1 for k, v in before.items()} | {"layers.2.bias": last}
    with pytest.raises((TypeError, ValueError), match="layers.2.bias: "):
        model.load_state_dict(bad)
    assert all(np.array_equal(v, before[k]) for k, v in model.state_dict().items())


def test_a_state_of_tensors_and_lists_is_loaded():
    model, other = tn.MLP([4, 8, 2], seed=0), tn.MLP([4, 8, 2], seed=1)
    state = dict(other.named_parameters()) | {"layers.2.bias": [1.0, 2.0]}
    model.load_state_dict(state)
    assert np.array_equal(model.layers[0].weight.data, other.layers[0].weight.data)
    assert model.layers[0].weight.data is not other.layers[0].weight.data
    assert model.layers[2].bias.data.tolist() == [1.0, 2.0]


def test_batch_norm_normalises_and_keeps_running_averages():
    layer = tn.BatchNorm1d(4)
    y = layer(x).data
    assert np.allclose(y.mean(axis=0), 0, atol=1e-6)
    assert np.allclose(y.var(axis=0), 1, atol=1e-3)
    assert np.allclose(layer.running_mean, 0.1 * x.mean(axis=0), rtol=1e-5)
    assert np.allclose(layer.running_var, 0.9 + 0.1 * x.var(axis=0, ddof=1), rtol=1e-5)
    layer.eval()
    expected = (x - layer.running_mean) / np.sqrt(layer.running_var + 1e-5)
    assert np.allclose(layer(x).data, expected, rtol=1e-4, atol=1e-6)
    assert set(layer.state_dict()) == {"weight", "bias", "running_mean", "running_var"}
    with pytest.raises(ValueError, match="a batch of one example has no spread"):
        layer.train()(x[:1])


def test_normalisations_have_right_gradients():
    for layer in (tn.LayerNorm(4), tn.BatchNorm1d(4)):
        assert tn.gradcheck(lambda t, layer=layer: layer(t), x.astype(np.float64))
    assert np.allclose(tn.LayerNorm(4)(x).data.mean(axis=-1), 0, atol=1e-6)


@pytest.mark.parametrize(("init", "variance"), [(he_normal, 2 / 300), (glorot_uniform, 2 / 500), (lecun_normal, 1 / 300)])
def test_initial_weights_have_the_variance_of_their_paper(init, variance):
    weights = init(np.random.default_rng(0), 300, 200)
    assert weights.dtype == np.float32
    assert weights.var() == pytest.approx(variance, rel=0.03)
    assert abs(weights.mean()) < 4 * np.sqrt(variance / weights.size)


def test_auto_is_he_for_relu_and_glorot_for_tanh_and_for_the_output():
    relu, tanh = tn.MLP([300, 200, 5], activation="relu", seed=0), tn.MLP([300, 200, 5], activation="tanh", seed=0)
    assert relu.layers[0].weight.data.var() == pytest.approx(2 / 300, rel=0.05)
    assert tanh.layers[0].weight.data.var() == pytest.approx(2 / 500, rel=0.05)
    assert np.abs(relu.layers[2].weight.data).max() <= np.sqrt(6 / 205)


def test_summary_counts_parameters():
    text = tn.MLP([64, 128, 10], dropout=0.2, seed=0).summary()
    assert "layers.0  Linear(64 -> 128)       8,320" in text
    assert text.splitlines()[-1].split() == ["total", "9,610"]


def test_summary_says_what_is_frozen():
    model = tn.MLP([2, 3, 2], seed=0)
    assert "frozen" not in model.summary()
    assert "trainable" not in model.summary()
    model.layers[0].bias.requires_grad = False
    assert model.summary().splitlines()[1].split() == ["layers.0", "Linear(2", "->", "3),", "partly", "frozen", "9"]
    model.layers[0].weight.requires_grad = False
    lines = model.summary().splitlines()
    assert lines[1].split() == ["layers.0", "Linear(2", "->", "3),", "frozen", "9"]
    assert [line.split() for line in lines[-2:]] == [["total", "17"], ["trainable", "8"]]


def test_functions_among_the_layers_are_shown_by_name():
    double = functools.partial(np.multiply, 2)
    model = tn.Sequential(tn.Linear(2, 3), tn.relu, np.tanh, double)
    assert repr(model) == f"Sequential(Linear(2 -> 3), relu, np.tanh, {double!r})"


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: tn.MLP(2, 32, 2), TypeError, r"sizes is one list of .*: MLP\(\[2, 32, 2\]\), got 2$"),
        (lambda: tn.MLP([2, 4, 2], activation=np.tanh), TypeError, r"one of the names relu, .*, got <ufunc 'tanh'>"),
        (lambda: tn.Linear(2, 1).load_state_dict("m.npz"), TypeError, r"a dict of arrays by name, got 'm.npz': np.load\("),
        (lambda: tn.Linear(2, 1).load_state_dict({}), ValueError, r"does not fit Linear: it lacks bias, weight \(strict"),
    ],
)
def test_what_is_given_in_another_form(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_an_activation_has_a_class_of_its_own():
    layer = tn.ReLU()
    assert isinstance(layer, tn.ReLU)
    assert isinstance(layer, tn.Activation)
    assert not isinstance(layer, tn.Tanh)
    assert [repr(tn.Tanh()), repr(tn.Sigmoid())] == ["tanh", "sigmoid"]


def test_a_slice_of_a_model_is_a_model():
    model = tn.MLP([4, 8, 2], seed=0)
    first = model[:2]
    assert type(first) is tn.Sequential
    assert np.array_equal(model.layers[2](first(x)).data, model(x).data)
    assert [name for name, _ in first.named_parameters()] == ["layers.0.weight", "layers.0.bias"]


def test_sizes_may_come_one_by_one():
    assert tn.MLP(iter([4, 3, 2]), seed=0)(x).shape == (6, 2)


def test_sequential_indexing_and_custom_layers():
    model = tn.Sequential(tn.Linear(4, 8, seed=0), tn.ReLU(), tn.Linear(8, 2, seed=1), tn.Sigmoid())
    assert len(model) == 4
    assert repr(model[1]) == "relu"
    assert ((model(x).data > 0) & (model(x).data < 1)).all()


BAD = [
    (lambda: tn.MLP([4, 3, 2])(np.ones((5, 7), np.float32)), tn.ShapeError,
     r"layers.0: Linear\(4 -> 3\) expected input of shape \[..., 4\], got \[5, 7\]"),
    (lambda: tn.Sequential(tn.Linear(4, 3), tn.ReLU(), tn.Linear(5, 2))(x), tn.ShapeError,
     r"layers.2: Linear\(5 -> 2\) expected input of shape \[..., 5\], got \[6, 3\]"),
    (lambda: tn.MLP([4, 3, 2], activation="rulu"), ValueError, "unknown activation 'rulu': did you mean 'relu'"),
    (lambda: tn.MLP([4, 3, 2], init="xavier"), ValueError, "unknown init 'xavier'.*glorot_uniform"),
    (lambda: tn.MLP([4]), ValueError, r"at least inputs and outputs.*got \[4\]"),
    (lambda: tn.MLP([4, 0]), ValueError, "out_features must be a positive integer, got 0"),
    (lambda: tn.MLP([4, 2.5]), ValueError, "out_features must be a positive integer, got 2.5"),
    (lambda: tn.Dropout(1.0), ValueError, r"p must be in \[0, 1\), got 1.0"),
    (lambda: tn.MLP([4, 3, 2], dropout=-0.1), ValueError, r"p must be in \[0, 1\), got -0.1"),
    (lambda: tn.Module()(x), TypeError, r"Module has no forward\(x\)"),
    (lambda: tn.Dropout("a"), TypeError, r"Dropout: p must be a number in \[0, 1\), got 'a'"),
    (lambda: tn.Sequential([tn.Linear(4, 3), tn.ReLU()]), TypeError,
     r"Sequential: the layers are its arguments, .*got a list of them: Sequential\(\*layers\)"),
    (lambda: tn.Sequential(tn.Linear(4, 3), tn.ReLU), TypeError,
     r"Sequential: layer 1 is the class ReLU, not a layer: write ReLU\(...\)"),
    (lambda: tn.Sequential(tn.Linear(4, 3), 3), TypeError, r"Sequential: layer 1 is no layer nor function, got 3"),
    (lambda: tn.LayerNorm(0), ValueError, "LayerNorm: features must be a positive integer, got 0"),
    (lambda: tn.BatchNorm1d(2.5), ValueError, "BatchNorm1d: features must be a positive integer, got 2.5"),
    (lambda: tn.LayerNorm(3, eps=-1), ValueError, "LayerNorm: eps must be a number from 0 up, got -1"),
    (lambda: tn.BatchNorm1d(3, eps="a"), ValueError, "BatchNorm1d: eps must be a number from 0 up, got 'a'"),
    (lambda: tn.BatchNorm1d(3, momentum=None), ValueError, r"BatchNorm1d: momentum must be a number in \[0, 1\], got None"),
    (lambda: tn.BatchNorm1d(3, momentum=1.5), ValueError, r"BatchNorm1d: momentum must be a number in \[0, 1\], got 1.5"),
    (lambda: tn.BatchNorm1d(3)(x[:, :1]), tn.ShapeError,
     r"BatchNorm1d\(3\) expected input of shape \[batch, 3\], got \[6, 1\]"),
    (lambda: tn.BatchNorm1d(1)(x), tn.ShapeError, r"BatchNorm1d\(1\) expected input of shape \[batch, 1\], got \[6, 4\]"),
    (lambda: tn.BatchNorm1d(3).eval()(x[:, :1]), tn.ShapeError, r"\[batch, 3\], got \[6, 1\]"),
    (lambda: tn.BatchNorm1d(4)(x[None]), tn.ShapeError, r"\[batch, 4\], got \[1, 6, 4\]"),
    (lambda: tn.BatchNorm1d(4)(x[0]), tn.ShapeError, r"\[batch, 4\], got \[4\]"),
    (lambda: tn.LayerNorm(3)(x[:, :1]), tn.ShapeError,
     r"LayerNorm\(3\) expected input of shape \[..., 3\], got \[6, 1\]"),
    (lambda: tn.Sequential(tn.Linear(4, 3), tn.LayerNorm(1))(x), tn.ShapeError, r"layers.1: LayerNorm\(1\) expected"),
]  # fmt: skip


@pytest.mark.parametrize(("f", "error", "text"), BAD)
def test_bad_arguments_name_the_layer_and_what_was_expected(f, error, text):
    with pytest.raises(error, match=text):
        f()
