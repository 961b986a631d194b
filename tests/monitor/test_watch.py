"""Watching: the numbers against their definitions, for tinynet, PyTorch and plain NumPy; and that training never notices."""

import math

import numpy as np
import pytest

import tinynet as tn
from monitor import Recorder
from monitor.arrays import SideBySide, numbers_on_host
from monitor.histograms import Histogram
from monitor.quantities import QUANTITIES
from monitor.undisturbed import Undisturbed
from monitor.watch import Watcher
from optimizers import SGD, Adam
from tinynet.layers import Activation, Dropout, Linear, Module, Parameter, Sequential


def data(n=32, features=6, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, features)).astype(np.float32), rng.integers(0, classes, n)


def train_step(model, optimizer, x, y):
    optimizer.zero_grad()
    loss = tn.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()


def watched(model, step=lambda: None, every=1, **params):
    """One watched step, and the Run."""
    recorder = Recorder(None)
    watcher = recorder.watch(model, every=every, **params)
    watcher.begin(1)
    step()
    watcher.end(1)
    return recorder.run


def column(run, quantity):
    """{layer: value} of the first watched step."""
    _, names, matrix = run.layers(quantity)
    return dict(zip(names, matrix[0].tolist(), strict=True))


# The numbers ------------------------------------------------------------------------------------------------------------


def test_norms_and_ratios_are_those_of_their_definition():
    model, (x, y) = tn.MLP([6, 8, 3], seed=0), data()
    optimizer = Adam(model.parameters(), 1e-2)
    before = {name: p.numpy().copy() for name, p in model.named_parameters()}
    run = watched(model, lambda: train_step(model, optimizer, x, y))
    after = {name: p.numpy() for name, p in model.named_parameters()}
    gradients = {name: p.grad for name, p in model.named_parameters()}

    def norm(*arrays):
        return np.linalg.norm(np.concatenate([a.astype(float).ravel() for a in arrays]))

    assert list(column(run, "grad_norm")) == ["layers.0", "layers.1", "layers.2"]
    assert np.isnan(column(run, "grad_norm")["layers.1"])  # an activation has no parameters
    for layer in ("layers.0", "layers.2"):
        own = [f"{layer}.weight", f"{layer}.bias"]
        assert column(run, "grad_norm")[layer] == pytest.approx(norm(*(gradients[n] for n in own)), rel=1e-5)
        weight = norm(*(before[n] for n in own))
        assert column(run, "weight_norm")[layer] == pytest.approx(weight, rel=1e-5)
        update = norm(*(after[n] - before[n] for n in own))
        assert column(run, "update_ratio")[layer] == pytest.approx(update / weight, rel=1e-4)
    assert run.last("grad_norm") == pytest.approx(norm(*gradients.values()), rel=1e-5)


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "leaky_relu"])
def test_outputs_are_described_exactly(activation):
    model, (x, _) = tn.MLP([6, 40, 3], activation=activation, seed=0), data(50)
    model[0].weight.data *= 3
    model[0].bias.data[:5] = -100.0  # five units that no row of these can wake
    hidden = model[1](model[0](x)).numpy().astype(float)
    run = watched(model, lambda: model(x))
    assert column(run, "act_mean")["layers.1"] == pytest.approx(hidden.mean(), rel=1e-5, abs=1e-6)
    assert column(run, "act_std")["layers.1"] == pytest.approx(hidden.std(), rel=1e-5)
    assert column(run, "dead")["layers.1"] == pytest.approx((hidden == 0).all(axis=0).mean(), abs=1e-12)
    if activation == "relu":
        assert column(run, "dead")["layers.1"] >= 5 / 40
        assert (hidden == 0).mean() > 0.4  # zero entries are something else
    near = {
        "tanh": np.abs(hidden) >= 0.99,
        "sigmoid": (hidden <= 0.01) | (hidden >= 0.99),
    }.get(activation)
    saturated = column(run, "saturated")
    assert np.isnan(saturated["layers.0"])
    if near is None:
        assert np.isnan(saturated["layers.1"])
    else:
        assert 0.05 < near.mean() < 0.95
        assert saturated["layers.1"] == pytest.approx(near.mean(), abs=1e-3)


def test_several_forward_passes_count_together():
    model, (x, _) = Sequential(Linear(6, 20, seed=0), Activation("relu"), Activation("tanh")), data(30)
    x[:7] += 3
    together = watched(model, lambda: model(x))
    apart = watched(model, lambda: (model(x[:7]), model(x[7:8]), model(x[8:])))
    for quantity in ("act_mean", "act_std", "dead", "saturated"):
        for layer, value in column(together, quantity).items():
            assert column(apart, quantity)[layer] == pytest.approx(value, rel=1e-5, nan_ok=True), (quantity, layer)
    assert column(apart, "dead")["layers.1"] < 1


def test_a_large_mean_does_not_hide_the_spread():
    class Shift(Module):
        def forward(self, x):
            return x + np.float32(1e4)

    model, (x, _) = Sequential(Linear(6, 8, seed=0), Shift()), data(200)
    spread = model[0](x).numpy().std()
    assert column(watched(model, lambda: model(x)), "act_std")["layers.1"] == pytest.approx(spread, rel=0.01)


@pytest.mark.parametrize(
    ("shape", "zero", "dead"),
    [
        ((4, 5), np.s_[:, :2], 2 / 5),
        ((4, 5), np.s_[:3], 0),
        ((3, 4, 5), np.s_[..., 0], 1 / 5),
        ((3, 4, 5), np.s_[0], 0),
        ((2, 8, 3, 3), np.s_[:, :2], 1 / 4),  # images: a unit is a channel
        ((2, 8, 3, 3), np.s_[..., 0], 0),
        ((2, 4, 3, 3, 3), np.s_[:, 3], 1 / 4),
        ((6,), np.s_[:5], 0),
        ((6,), np.s_[:], 1),
    ],
)
def test_a_unit_is_dead_if_it_is_zero_on_all_rows(shape, zero, dead):
    class Given(Module):
        def forward(self, x):
            return tn.Tensor(answer)

    for sign in (1, -1):  # outputs that add up to zero are no zeros
        answer = np.resize(np.array([1, sign], np.float32), shape[::-1]).T.copy()
        answer[zero] = 0
        model = Sequential(Linear(1, 1), Given())
        assert column(watched(model, lambda model=model: model[1](None)), "dead")["layers.1"] == dead


@pytest.mark.parametrize(
    ("zeros", "dead"),
    [([[0], [0]], 1 / 3), ([[0], [1]], 0), ([[0, 1], [1, 2]], 1 / 3), ([[], [0]], 0), ([[0], []], 0), ([[0], [], [0]], 0)],
)
def test_a_unit_is_dead_if_it_is_zero_in_all_passes(zeros, dead):
    """zeros: of each pass, the units that are zero in it."""

    class Given(Module):
        def forward(self, x):
            return tn.Tensor(x)

    def step():
        for units in zeros:
            answer = np.ones((2, 3), np.float32)
            answer[:, units] = 0
            model[1](answer)

    model = Sequential(Linear(1, 1), Given())
    assert column(watched(model, step), "dead")["layers.1"] == dead


def test_numbers_too_large_or_small_for_a_sum_of_squares_in_float32():
    class Flat:
        def __init__(self, **pairs):
            self.all = [(f"{name}.w", Bare(*pair)) for name, pair in pairs.items()]

        def named_parameters(self):
            return self.all

    class Bare:
        def __init__(self, data, grad):
            self.data, self.grad = np.array(data, np.float32), np.array(grad, np.float32)
            self.shape = self.data.shape

    large, small = ([3e30, 4e30], [3e20, -4e20]), ([3e-30, 4e-30], [3e-25, 4e-25])
    nan, inf, still, zero = ([1, 2], [math.nan, 1]), ([1, 2], [-math.inf, 1]), ([1, 2], [0, 0]), ([0, 0], [1, 0])
    model = Flat(large=large, small=small, nan=nan, inf=inf, still=still, zero=zero)
    run = watched(model)
    gradients = run.select("layer")[0]["d"]["grad_norm"]
    assert gradients[:2] == pytest.approx([5e20, 5e-25], rel=1e-5)
    assert gradients[2:] == ["nan", "inf", 0, 1]
    weights = run.layers("weight_norm")[2][0]
    np.testing.assert_allclose(weights, [5e30, 5e-30, 5**0.5, 5**0.5, 5**0.5, 0], rtol=1e-5)
    ratios = run.select("layer")[0]["d"]["update_ratio"]
    assert ratios == [0, 0, 0, 0, 0, None]  # of nothing there is no share


def test_a_step_that_is_long_beside_very_small_weights():
    model = Linear(2, 2, bias=False, seed=0)
    model.weight.data[...] = 1e-25

    def step():
        model.weight.data[...] = 5e-25

    run = watched(model, step)
    assert run.layers("weight_norm")[2].item() == pytest.approx(2e-25, rel=1e-5)
    assert run.layers("update_ratio")[2].item() == pytest.approx(4, rel=1e-5)


def test_what_is_not_there_is_none():
    model, (x, y) = tn.MLP([6, 8, 3], dropout=0.5, seed=0), data()
    run = watched(model)  # no pass, no gradient
    (event,) = run.select("layer")
    assert event["d"]["names"] == ["layers.0", "layers.1", "layers.3"]  # without dropout, whose zeros are a mask
    assert all(value is None for q in QUANTITIES if q not in ("weight_norm", "update_ratio") for value in event["d"][q])
    assert event["d"]["update_ratio"] == [0, None, 0]
    assert run.names() == []  # the norm of no gradients is not 0
    model[0].weight.requires_grad = False
    optimizer = SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    run = watched(model, lambda: train_step(model, optimizer, x, y))
    assert column(run, "grad_norm")["layers.0"] == pytest.approx(np.linalg.norm(model[0].bias.grad), rel=1e-5)


def test_names_and_nesting():
    class Scale(Module):
        def __init__(self):
            self.inner = Sequential(Linear(3, 3, seed=0), Activation("relu"))
            self.factor = Parameter([2.0])

        def forward(self, x):
            return self.inner(x) * self.factor

    model = Scale()
    run = watched(model, lambda: model(np.ones((2, 3), np.float32)))
    assert run.layers("act_mean")[1] == ["Scale", "inner.layers.0", "inner.layers.1"]
    assert column(run, "weight_norm")["Scale"] == 2
    shared = Activation("relu")
    model = Sequential(Linear(3, 3, seed=0), shared, Linear(3, 3, seed=1), shared)
    run = watched(model, lambda: model(np.ones((2, 3), np.float32)))
    assert list(column(run, "act_mean")) == ["layers.0", "layers.1", "layers.2"]  # both of its passes, under its first name
    assert watched(Linear(2, 2), lambda: None).layers("weight_norm")[1] == ["Linear"]


def test_histograms():
    model, (x, y) = tn.MLP([6, 8, 3], seed=0), data()
    optimizer, recorder = SGD(model.parameters(), 0.1), Recorder(None)
    watcher = recorder.watch(model, every=2, histograms=4)
    for step in range(1, 9):
        watcher.begin(step)
        train_step(model, optimizer, x, y)
        watcher.end(step)
    run = recorder.run
    assert run.layers("grad_norm")[0].tolist() == [1, 2, 4, 6, 8]
    names = [name for name, _ in model.named_parameters()]
    assert sorted(run.histogram_names()) == sorted(f"{kind}/{name}" for kind in ("weights", "gradients") for name in names)
    history = run.histogram("weights/layers.0.weight")
    assert [step for step, _ in history] == [1, 4, 8]
    assert history[-1][1] == Histogram.of(model[0].weight.data)
    assert run.histogram("gradients/layers.2.bias")[-1][1] == Histogram.of(model[2].bias.grad)


# When -------------------------------------------------------------------------------------------------------------------


def test_only_some_steps_are_watched_and_others_leave_the_model_alone():
    model, (x, y) = tn.MLP([6, 8, 3], seed=0), data()
    optimizer, recorder = SGD(model.parameters(), 0.1), Recorder(None)
    watcher = recorder.watch(model, every=10)
    bare = [dict(vars(module)) for _, module in model.named_modules()]
    for step in range(1, 32):
        watcher.begin(step)
        hooked = [name for name, module in model.named_modules() if module.forward_hooks]
        assert bool(hooked) == watcher.wants(step) == (step in (1, 10, 20, 30))
        train_step(model, optimizer, x, y)
        watcher.end(step)
        assert [dict(vars(module)) for _, module in model.named_modules()] == bare
        recorder.log(loss=1.0)  # counts its own calls, whatever is watched
    assert recorder.run.layers("grad_norm")[0].tolist() == recorder.run.series("grad_norm")[0].tolist() == [1, 10, 20, 30]
    assert recorder.run.series("loss")[0].tolist() == list(range(1, 32))
    assert recorder.watchers == [watcher]


def test_a_step_that_failed_is_forgotten():
    model, (x, _) = tn.MLP([6, 8, 3], seed=0), data()
    recorder = Recorder(None)
    watcher = recorder.watch(model, every=5)
    watcher.begin(5)
    model(x)
    watcher.begin(6)  # step 5 raised an error
    assert not any(module.forward_hooks for _, module in model.named_modules())
    watcher.end(6)
    watcher.begin(10)
    watcher.end(11)  # another one
    assert recorder.run.select("layer") == []
    watcher.begin(15)
    recorder.finish()
    assert not any(module.forward_hooks for _, module in model.named_modules())


def test_two_watchers_of_one_model():
    model, (x, _) = tn.MLP([6, 8, 3], seed=0), data()
    one, two = Recorder(None).watch(model), Recorder(None).watch(model)
    one.begin(1)
    two.begin(1)
    model(x)
    one.end(1)
    model(x + 1)
    two.end(1)
    assert not any("forward_hooks" in vars(module) for _, module in model.named_modules())
    first, second = (column(w._recorder.run, "act_mean")["layers.0"] for w in (one, two))
    assert first != second


@pytest.mark.parametrize(
    ("params", "error", "text"),
    [
        ({"every": 0}, ValueError, "watch: every must be a whole number of steps, at least 1, got 0"),
        ({"every": 2.5}, ValueError, "watch: every must be a whole number of steps, at least 1, got 2.5"),
        ({"histograms": 15}, ValueError, "watch: histograms must be 0 or a multiple of every=10 steps, got 15"),
        ({"histograms": True}, ValueError, "watch: histograms must be 0 or a multiple of every=10 steps, got True"),
        ({"rho": 15}, ValueError, "watch: rho must be 0 or a multiple of every=10 steps, got 15"),
        ({"rho": -10}, ValueError, "watch: rho must be 0 or a multiple of every=10 steps, got -10"),
        ({"rho": 10.0}, ValueError, "watch: rho must be 0 or a multiple of every=10 steps, got 10.0"),
        ({"model": 3}, TypeError, "watch: the model must have named_parameters() or parameters(), got int"),
        ({"model": Sequential(Activation("relu"))}, ValueError, "watch: this Sequential has no parameters to watch"),
    ],
)
def test_bad_arguments(params, error, text):
    with pytest.raises(error) as raised:
        Watcher(**{"model": Linear(2, 2), "recorder": Recorder(None), **params})
    assert str(raised.value) == text


# Training does not notice -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [SGD, Adam])
@pytest.mark.parametrize("capture", [False, True], ids=["eager", "captured"])
def test_not_a_bit_of_training_changes(optimizer, capture):
    def trained(watching):
        model, (x, y) = tn.MLP([6, 16, 8, 3], dropout=0.3, seed=3), data(64)
        moving = optimizer(model.parameters(), 1e-2)
        recorder = Recorder(None)
        watcher = recorder.watch(model, every=3, histograms=6) if watching else None

        def step(x, y):
            train_step(model, moving, x, y)

        fast = tn.capture(step) if capture else step
        for i in range(1, 41):
            chosen = np.random.default_rng(i).permutation(64)[:16]
            if watcher is not None:
                watcher.begin(i)
            (step if watcher is not None and watcher.wants(i) else fast)(x[chosen], y[chosen])
            if watcher is not None:
                watcher.end(i)
        assert not capture or fast.failure is None
        return model, np.random.get_state()[1].tolist(), recorder.run  # noqa: NPY002

    (with_, random_with, run), (without, random_without, _) = trained(True), trained(False)
    for (name, a), (_, b) in zip(with_.named_parameters(), without.named_parameters(), strict=True):
        assert a.data.tobytes() == b.data.tobytes(), name
    dropouts = zip(with_.named_modules(), without.named_modules(), strict=True)
    for (_, a), (_, b) in dropouts:
        if isinstance(a, Dropout):
            assert a.generator.bit_generator.state == b.generator.bit_generator.state
    assert random_with == random_without
    assert len(run.layers("act_mean")[0]) == 14
    assert np.isfinite(run.layers("update_ratio")[2][:, 0]).all()


def test_watching_works_under_strict_error_handling_and_tells_of_overflow():
    model, (x, _) = tn.MLP([6, 8, 3], seed=0), data()
    recorder = Recorder(None)
    watcher = recorder.watch(model)
    model[0].weight.data[...] = 3e38
    watcher.begin(1)
    with np.errstate(all="ignore"):
        model(np.abs(x) + 5)
    with np.errstate(all="raise"):
        watcher.end(1)
    assert recorder.run.select("layer")[0]["d"]["act_mean"][0] in ("inf", "nan")


# Devices and other libraries --------------------------------------------------------------------------------------------


class OnDevice(np.ndarray):
    """An array that counts how often it is brought to the host, and cannot get there otherwise."""

    transfers = 0

    def get(self):
        OnDevice.transfers += 1
        return self.view(np.ndarray)

    def __float__(self):
        raise AssertionError("a transfer of its own")

    def __bool__(self):
        raise AssertionError("a transfer of its own")


class Deviced:
    """A parameter whose sums stay arrays of no axes, as on a GPU."""

    def __init__(self, shape):
        self.data = np.ones(shape, np.float32).view(OnDevice)
        self.grad = np.ones(shape, np.float32).view(OnDevice)
        self.shape = shape


def test_one_transfer_for_each_watched_step(monkeypatch):
    class Net:
        def named_parameters(self):
            return [(f"l{i}.w", Deviced((4, i + 1))) for i in range(5)]

    import monitor.quantities as module

    square_sum = module.square_sum
    monkeypatch.setattr(module, "square_sum", lambda a: np.asarray(square_sum(a)).view(OnDevice))
    monkeypatch.setattr(OnDevice, "transfers", 0)
    monkeypatch.setattr(np, "stack", lambda arrays: np.concatenate([a.reshape(1) for a in arrays]).view(OnDevice))
    monkeypatch.setattr(module, "_scaled_norm", lambda array: 0.0)  # no update at all: lost digits, looked up
    run = watched(Net())
    assert OnDevice.transfers == 1
    assert run.layers("grad_norm")[2][0] == pytest.approx(np.sqrt(4 * np.arange(1, 6)))


def test_numbers_come_to_the_host_in_order():
    assert list(numbers_on_host([np.float32(1), np.int64(2), np.float64(0.5)])) == [1, 2, 0.5]
    assert list(numbers_on_host([])) == []


def test_a_numpy_model_with_parameters_only():
    class Vector:
        def __init__(self, values):
            self.data, self.grad = np.array(values, float), None
            self.shape = self.data.shape

    class Net:
        def __init__(self):
            self.w = Vector([3.0, 4.0])

        def parameters(self):
            return [self.w]

    net, recorder = Net(), Recorder(None)
    watcher = Watcher(net, recorder)
    watcher.begin(0)
    net.w.grad = np.array([1.0, 0.0])
    net.w.data = net.w.data - 0.5 * net.w.grad
    watcher.end(0)
    (event,) = recorder.run.select("layer")
    assert (event["d"]["names"], event["d"]["grad_norm"], event["d"]["update_ratio"]) == (["Net"], [1], [0.1])
    assert event["d"]["act_mean"] == [None]


def torch_net(torch):
    torch.manual_seed(0)
    nn = torch.nn
    layers = nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.4), nn.Linear(16, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 3)
    return nn.Sequential(*layers)


def test_pytorch_numbers_are_those_of_their_definition():
    torch = pytest.importorskip("torch")
    model, (x, y) = torch_net(torch), data()
    x, y = torch.tensor(x), torch.tensor(y)
    model[0].bias.data[:4] = -100.0
    optimizer, seen = torch.optim.SGD(model.parameters(), 0.1), {}
    for name, module in model.named_children():
        module.register_forward_hook(lambda m, i, o, name=name: seen.__setitem__(name, o.detach().double().numpy()))
    before = [p.detach().clone() for p in model[3].parameters()]

    def step():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    run = watched(model, step, histograms=1)
    assert run.layers("dead")[1] == ["0", "1", "3", "4", "5", "6"]
    assert column(run, "dead")["1"] == (seen["1"] == 0).all(0).mean() >= 4 / 16
    assert column(run, "saturated")["4"] == pytest.approx((np.abs(seen["4"]) >= 0.99).mean(), abs=1e-3)
    for name in column(run, "act_mean"):
        assert column(run, "act_mean")[name] == pytest.approx(seen[name].mean(), rel=1e-4, abs=1e-6)
        assert column(run, "act_std")[name] == pytest.approx(seen[name].std(), rel=1e-4)
    norm = torch.cat([p.grad.reshape(-1) for p in model[3].parameters()]).norm().item()
    assert column(run, "grad_norm")["3"] == pytest.approx(norm, rel=1e-5)
    moved = torch.cat([(p.detach() - b).reshape(-1) for p, b in zip(model[3].parameters(), before, strict=True)]).norm()
    weight = torch.cat([b.reshape(-1) for b in before]).norm()
    assert column(run, "update_ratio")["3"] == pytest.approx((moved / weight).item(), rel=1e-4)
    assert np.isnan(column(run, "grad_norm")["1"])
    assert run.histogram("gradients/3.weight")[0][1] == Histogram.of(model[3].weight.grad.numpy())
    assert all(len(module._forward_hooks) == 1 for module in model.children())  # ours are gone


def test_pytorch_training_does_not_notice():
    torch = pytest.importorskip("torch")

    def trained(watching):
        model, (x, y) = torch_net(torch), data()
        x, y = torch.tensor(x), torch.tensor(y)
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        watcher = Recorder(None).watch(model, every=2, histograms=4) if watching else None
        for i in range(1, 31):
            if watcher:
                watcher.begin(i)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
            if watcher:
                watcher.end(i)
        return model.state_dict(), torch.get_rng_state()

    (with_, random_with), (without, random_without) = trained(True), trained(False)
    assert all(with_[name].numpy().tobytes() == without[name].numpy().tobytes() for name in without)
    assert torch.equal(random_with, random_without)


def test_pytorch_halves_sparse_gradients_and_several_outputs():
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Embedding(5, 4, sparse=True), torch.nn.LSTM(4, 3)).bfloat16()
    embedding = model[0]

    def step():
        outputs, _ = model[1](model[0](torch.tensor([[1, 2], [1, 3]])))
        outputs.sum().backward()

    run = watched(model, step)
    dense = embedding.weight.grad.to_dense().float()
    assert column(run, "grad_norm")["0"] == pytest.approx(dense.norm().item(), rel=1e-3)
    assert np.isfinite(column(run, "act_std")["1"])


def test_parameters_may_become_other_arrays():
    model, recorder = Linear(2, 2, bias=False, seed=0), Recorder(None)
    watcher = recorder.watch(model, every=1)
    shapes = [((2, 2), np.float32), ((3, 2), np.float32), ((3, 2), np.float64)]
    for step, (shape, dtype) in enumerate(shapes, start=1):
        model.weight.data = np.full(shape, 0.1, dtype)
        watcher.begin(step)
        model.weight.data = model.weight.data * 1.5
        watcher.end(step)
    watcher.begin(4)
    model.weight.data = np.ones((5, 2), np.float32)  # within a step: no update can be told
    watcher.end(4)
    np.testing.assert_allclose(recorder.run.layers("update_ratio")[2][:, 0], [0.5, 0.5, 0.5, np.nan], rtol=1e-6)
    assert recorder.run.layers("weight_norm")[2][2, 0] == pytest.approx(0.1 * 6**0.5, rel=1e-12)  # in float64


def test_arrays_side_by_side_are_one():
    memory = np.arange(12.0, dtype=np.float32)
    a, b, c = memory[1:7].reshape(2, 3), memory[7:9], memory[9:]
    joined = SideBySide()
    (whole,) = joined.of([a, b, c], [a, b, c])
    assert whole.tolist() == list(range(1, 12))
    assert np.shares_memory(whole, memory)
    assert joined.of([a, b, c], [a, b, c])[0] is whole  # looked for once
    apart = [
        [b, a],
        [a, c],
        [a, b.copy()],
        [a, memory[7:9].view(np.float64)],
        [a.T, b],
        [a],
        [],
        [memory[:4], memory[2:6]],
        [np.ones((4, 4))[:2, :2], np.ones(2)],
        [np.float32(1), np.float32(2)],
    ]
    for arrays in apart:
        assert list(map(id, joined.of(arrays, arrays))) == list(map(id, arrays))
    assert joined.of([a, b], [a, b])[0].tolist() == list(range(1, 9))
    assert joined.of([b, a], [b, a])[0] is b  # others than last time
    assert [part.tolist() for part in joined.apart(np.arange(8))] == [[[0, 1, 2], [3, 4, 5]], [6, 7]]


@pytest.mark.parametrize("laid_out", ["before", "in the step", "again", "no more"])
def test_where_the_parameters_lie_makes_no_difference(laid_out):
    """An optimizer lays them side by side; it may be made, or its arrays be replaced, between two looks."""

    def found(apart):
        model, (x, y), recorder = tn.MLP([6, 8, 3], seed=0), data(), Recorder(None)
        watcher = recorder.watch(model, every=1, rho=1)
        parameters = dict(model.named_parameters())

        def take_apart():
            for parameter in parameters.values():
                parameter.data = parameter.data.copy()

        optimizer = SGD(model.parameters(), 0.1) if laid_out != "in the step" else None
        for step in range(1, 4):
            watcher.begin(step)
            if optimizer is None:
                optimizer = SGD(model.parameters(), 0.1)
            optimizer.zero_grad()
            loss = tn.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            if apart or (laid_out == "no more" and step == 2):
                take_apart()
            if laid_out == "again" and step == 2:
                optimizer = SGD(model.parameters(), 0.1)
            watcher.end(step, loss, lambda: tn.cross_entropy(model(x), y))
        return [recorder.run.layers(q)[2] for q in ("grad_norm", "weight_norm", "update_ratio")], recorder.run.series(
            "rho"
        )[1]

    (together, rho), (apart, rho_apart) = found(False), found(True)
    np.testing.assert_allclose(np.array(together), np.array(apart), rtol=1e-6)
    np.testing.assert_allclose(rho, rho_apart, rtol=1e-3)
    assert np.isfinite(rho).all()


# rho ------------------------------------------------------------------------------------------------------------------


def rhos(model, move, wanted=lambda loss: loss, clear=True, steps=60, lr=0.05, **options):
    """rho at every step of a training by hand, whose update is `move(parameter, lr)` along gradients of `wanted(loss)`."""
    x, y = data(200)
    y = (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)
    recorder = Recorder(None)
    watcher = Watcher(model, recorder, every=1, rho=1)
    for step in range(1, steps + 1):
        watcher.begin(step)
        if clear:
            for parameter in model.parameters():
                parameter.grad = None
        loss = tn.cross_entropy(model(x), y)
        wanted(loss).backward()
        for parameter in model.parameters():
            move(parameter, lr)
        watcher.end(step, loss, lambda: tn.cross_entropy(model(x), y))
    return recorder.run.series("rho")[1]


def descend(parameter, lr):
    parameter.data[...] = parameter.data - lr * parameter.grad


def test_rho_is_the_share_of_the_promised_decrease():
    model, (x, y) = tn.MLP([6, 8, 3], dropout=0.0, seed=0), data()
    before = {name: p.numpy().astype(float) for name, p in model.named_parameters()}
    recorder = Recorder(None)
    watcher, optimizer = recorder.watch(model), SGD(model.parameters(), 0.5, momentum=0.9)
    watcher.begin(1)
    loss = tn.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    watcher.end(1, loss.item(), lambda: tn.cross_entropy(model(x), y))
    promised = sum((p.grad * (before[name] - p.numpy())).sum() for name, p in model.named_parameters())
    actual = loss.item() - tn.cross_entropy(model(x), y).item()
    assert recorder.run.last("rho") == pytest.approx(actual / promised, rel=1e-4)
    hidden = x.astype(float) @ before["layers.0.weight"] + before["layers.0.bias"]  # of the step, not of the second pass
    assert column(recorder.run, "act_mean")["layers.0"] == pytest.approx(hidden.mean(), rel=1e-4)
    assert 0 < promised != actual > 0


def test_rho_is_near_1_in_a_healthy_training():
    found = rhos(tn.MLP([6, 8, 3], dropout=0.3, seed=0), descend)
    assert len(found) == 60
    assert 0.9 < np.median(found) < 1.01


def test_rho_is_near_0_with_gradients_that_are_never_cleared():
    found = rhos(tn.MLP([6, 8, 3], seed=0), descend, clear=False, steps=120)
    assert abs(np.median(found[20:])) < 0.1


def test_rho_is_near_minus_1_with_gradients_of_the_wrong_sign():
    found = rhos(tn.MLP([6, 8, 3], seed=0), descend, wanted=lambda loss: -loss, lr=0.01)
    assert np.median(found) == pytest.approx(-1, abs=0.1)


def test_rho_needs_the_same_mask_and_gets_it():
    def first(same):
        model, (x, y) = tn.MLP([6, 40, 3], dropout=0.5, seed=0), data(16)
        recorder = Recorder(None)
        watcher = recorder.watch(model)
        watcher.begin(1)
        loss = tn.cross_entropy(model(x), y)
        loss.backward()
        for parameter in model.parameters():
            descend(parameter, 1e-3)
        if not same:
            watcher._chance = watcher._undisturbed.chance()
        watcher.end(1, loss, lambda: tn.cross_entropy(model(x), y))
        return recorder.run.last("rho")

    assert first(same=True) == pytest.approx(1, abs=0.05)
    assert abs(first(same=False) - 1) > 0.5  # else this test would show nothing


def test_with_clipped_gradients_rho_is_of_those_of_the_loss():
    def last(tell):
        model, (x, y) = tn.MLP([6, 8, 3], seed=0), data()
        recorder = Recorder(None)
        watcher, optimizer = recorder.watch(model), SGD(model.parameters(), 0.1, clip=lambda pairs: cut(pairs))
        watcher.begin(1)
        loss = tn.cross_entropy(model(x), y)
        loss.backward()
        if tell:
            watcher.gradients()
        optimizer.step()
        watcher.end(1, loss, lambda: tn.cross_entropy(model(x), y))
        return recorder.run.last("rho")

    def cut(pairs):
        for _, gradient in pairs:
            gradient *= 0.25

    assert last(tell=True) == pytest.approx(1, abs=0.1)
    assert last(tell=False) == pytest.approx(4, abs=0.4)


class Restless(Module):
    """A layer that draws from every common generator, counts, moves an average, and makes new attributes."""

    def __init__(self):
        self.count, self.average, self.generator = 0, np.zeros(3), np.random.default_rng(5)

    def forward(self, x):
        import random

        self.count += 1
        self.average += 1
        vars(self).setdefault("made", self.count)
        self.latest = self.count
        noise = self.generator.normal() + np.random.rand() + random.random()  # noqa: NPY002
        return x * np.float32(1 + 0.1 * noise)


def test_the_second_pass_leaves_no_trace():
    def trained(watching, generator=None):
        import random

        random.seed(1)
        np.random.seed(1)  # noqa: NPY002
        model, (x, y) = Sequential(Linear(6, 8, seed=0), Restless(), Linear(8, 3, seed=1)), data()
        generator = np.random.default_rng(9)
        loss_of = lambda: tn.cross_entropy(model(x) + np.float32(0.1 * generator.normal()), y)
        recorder = Recorder(None)
        watcher = recorder.watch(model, every=2)
        watcher.draws_from([generator])
        optimizer = Adam(model.parameters(), 1e-2)
        for i in range(1, 12):
            if watching:
                watcher.begin(i)
            optimizer.zero_grad()
            loss = loss_of()
            loss.backward()
            optimizer.step()
            if watching:
                watcher.end(i, loss, loss_of)
        rest = vars(model[1])
        state = [random.getstate(), np.random.get_state()[1].tolist(), generator.bit_generator.state]  # noqa: NPY002
        inner = [
            rest["count"],
            rest["average"].tolist(),
            rest["made"],
            rest["latest"],
            rest["generator"].bit_generator.state,
        ]
        return [p.data.tobytes() for p in model.parameters()], state, inner, recorder.run

    *with_, run = trained(True)
    *without, _ = trained(False)
    assert with_ == without
    assert len(run.series("rho")[0]) == 6
    assert np.median(run.series("rho")[1]) > 0.3


def test_a_second_pass_that_does_more_than_the_first_leaves_no_trace():
    model = Sequential(Linear(6, 3, seed=0), Restless())
    undisturbed, rest = Undisturbed(model), model[1]
    rest.generator.normal()
    chance = undisturbed.chance()
    before = {**vars(rest), "state": rest.generator.bit_generator.state}

    def second():
        with undisturbed.again(chance):
            rest.generator.normal(size=9)
            rest.extra = rest.count = 7
            del rest.average
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        second()
    assert {**vars(rest), "state": rest.generator.bit_generator.state} == before


def test_no_rho_where_there_is_nothing_to_see(recwarn):
    def one(loss, after, lr=0.1):
        model, (x, _) = Linear(6, 3, seed=0), data()
        recorder = Recorder(None)
        watcher = recorder.watch(model)
        watcher.begin(1)
        model(x).sum().backward()
        for parameter in model.parameters():
            descend(parameter, lr)
        watcher.end(1, loss, after)
        assert recorder.run.layers("grad_norm")[2].shape == (1, 1)  # the layers are recorded in any case
        return recorder.run

    assert "rho" in one(5.0, lambda: 4.0).names()
    for loss, after, lr in (
        (5.0, None, 0.1),
        (None, lambda: 4.0, 0.1),
        (math.nan, lambda: 4.0, 0.1),
        (5.0, lambda: math.inf, 0.1),
        (1e9, lambda: 1e9, 0.1),  # the promise is less than a digit of that
        (5.0, lambda: 5.0, 0.0),
    ):
        assert "rho" not in one(loss, after, lr).names()

    def fails():
        raise ValueError("no such thing")

    run = one(5.0, fails)
    assert "rho" not in run.names()
    (note,) = run.select("note")
    assert note["d"]["text"] == "watch: no rho, since the loss cannot be computed again: ValueError: no such thing"
    with pytest.raises(ValueError, match=r"watch: loss should be one number, got an array of shape \(3,\)"):
        one(np.ones(3), lambda: 4.0)


def test_outputs_that_are_told_where_the_pass_is_not_looked_at():
    model, (x, y) = tn.MLP([6, 8, 3], activation="tanh", seed=0), data()
    recorder = Recorder(None)
    watcher = recorder.watch(model)
    watcher.begin(1, outputs=False)
    assert not any(module.forward_hooks for _, module in model.named_modules())
    loss = tn.cross_entropy(model(x), y)
    loss.backward()
    hidden = model[0](x)
    watcher.see([(model[0], hidden), (model[1], model[1](hidden)), (model, loss)])  # the last one is no layer
    model[0].bias.data += 1
    watcher.end(1, loss, lambda: tn.cross_entropy(model(x), y))
    means = column(recorder.run, "act_mean")
    assert means["layers.0"] == pytest.approx(hidden.numpy().mean(), rel=1e-5)
    assert means["layers.1"] == pytest.approx(np.tanh(hidden.numpy()).mean(), rel=1e-5)
    assert np.isnan(means["layers.2"])
    assert column(recorder.run, "saturated")["layers.1"] is not None


@pytest.mark.parametrize(
    ("every", "rho", "steps"),
    [
        (1, None, [*range(1, 61), 100]),
        (1, 7, [*range(1, 61), *range(63, 142, 7)]),
        (2, 8, [1, *range(2, 121, 2), 128, 136]),
        (3, 3, [1, *range(3, 142, 3)]),
        (5, 0, []),
    ],
)
def test_rho_is_measured_at_first_and_then_less_often(every, rho, steps):
    model, (x, y) = Linear(6, 3, seed=0), data()
    recorder, optimizer, passes = Recorder(None), SGD(model.parameters(), 0.1), []
    watcher = Watcher(model, recorder, every=every, rho=rho)

    def again():
        passes.append(step)
        return tn.cross_entropy(model(x), y)

    for step in range(1, 142):
        watcher.begin(step)
        optimizer.zero_grad()
        loss = tn.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        watcher.end(step, loss, again)
    assert passes == steps == [step for step in range(1, 142) if watcher.wants_rho(step)]
    if steps:
        assert recorder.run.series("rho")[0].tolist() == steps
    assert recorder.run.series("grad_norm")[0].tolist() == [1, *range(max(every, 2), 142, every)]


def test_pytorch_rho_and_its_training_does_not_notice():
    torch = pytest.importorskip("torch")

    def trained(watching):
        torch.manual_seed(0)
        layers = [torch.nn.Linear(6, 16), torch.nn.BatchNorm1d(16), torch.nn.ReLU(), torch.nn.Dropout(0.5)]
        model = torch.nn.Sequential(*layers, torch.nn.Linear(16, 3))
        x, y = (torch.from_numpy(a) for a in data(64))
        optimizer, recorder = torch.optim.SGD(model.parameters(), 1e-2), Recorder(None)
        watcher = recorder.watch(model, every=1)
        for i in range(1, 9):
            if watching:
                watcher.begin(i)
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            if watching:
                watcher.end(i, loss, lambda: torch.nn.functional.cross_entropy(model(x), y))
        state = [v.numpy().tobytes() for v in model.state_dict().values()]
        return [*state, torch.get_rng_state().numpy().tobytes()], recorder.run

    (with_, run), (without, _) = trained(True), trained(False)
    assert with_ == without
    assert np.median(run.series("rho")[1]) == pytest.approx(1, abs=0.1)


def test_a_watcher_that_nobody_asked_warns_when_the_run_ends():
    model = tn.MLP([6, 3], seed=0)
    recorder = Recorder(None)
    recorder.watch(model)
    recorder.watch(model, every=5)
    recorder.log(loss=1.0)
    with pytest.warns(UserWarning, match=r"recorded nothing.*watcher\.begin\(step\).*watcher\.end\(step, loss\)") as caught:
        recorder.finish()
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert recorder.run.status == "finished"


@pytest.mark.parametrize("how", ["begun", "asked", "nothing measured", "interrupted"])
def test_no_warning_of_a_watcher_that_had_no_chance_or_took_it(how):
    recorder = Recorder(None)
    watcher = recorder.watch(tn.MLP([6, 3], seed=0), every=10)
    if how == "begun":
        watcher.begin(3)  # a step that it passes over
    if how == "asked":
        watcher.wants(3)  # as fit does
    if how != "nothing measured":
        recorder.log(3, loss=1.0)
    recorder.finish(*["interrupted"] * (how == "interrupted"))  # warnings are errors


def test_no_warning_of_a_watcher_when_a_run_goes_on_and_has_nothing_left_to_do(tmp_path):
    with Recorder(tmp_path) as recorder:
        recorder.log(5, loss=1.0)
    again = Recorder.resume(recorder.path)
    again.watch(tn.MLP([6, 3], seed=0))
    again.finish()  # warnings are errors


def test_the_four_lines_of_a_loop_of_ones_own_are_in_the_docstring():
    for line in ("watcher = recorder.watch(model", "watcher.begin(step)", "watcher.end(step, loss)"):
        assert line in Recorder.watch.__doc__
