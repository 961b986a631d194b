"""MLP(replicas=R): each net starts, computes and learns as it would alone, captured or not."""

import copy
import warnings

import numpy as np
import pytest

import tinynet as tn
from optimizers import L2, SGD, Adam, AdamW, ClipNorm, RMSprop, no_decay_bias

X, Y = tn.datasets.moons(64, noise=0.1, seed=0)
SEEDS = [7, 3, 11]
RATES = np.array([0.01, 0.1, 0.003])
SIZES = [2, 8, 5, 2]
MAKE = {
    "sgd": lambda p, lr: SGD(p, lr, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "adam": lambda p, lr: Adam(p, lr, clip=ClipNorm(0.1)),
    "adamw": AdamW,
    "rmsprop": RMSprop,
}


def trained(model, optimizer, steps=25, captured=True, batch=lambda k: (X, Y)):
    def step(x, y):
        losses = tn.cross_entropy(model(x), y, reduction="none").mean(axis=-1)
        optimizer.zero_grad()
        losses.sum().backward()
        optimizer.step()
        return losses

    step = tn.capture(step) if captured else step
    return np.array([np.array(step(*batch(k)).data) for k in range(steps)])


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_every_net_starts_with_the_bits_of_its_seed(activation):
    many = tn.MLP(SIZES, activation, replicas=3, seed=SEEDS)
    assert [p.shape for p in many.parameters()] == [(3, 2, 8), (3, 1, 8), (3, 8, 5), (3, 1, 5), (3, 5, 2), (3, 1, 2)]
    for r, seed in enumerate(SEEDS):
        one = tn.MLP(SIZES, activation, seed=seed)
        assert many.replica(r).state_dict().keys() == one.state_dict().keys()
        for a, b in zip(many.replica(r).parameters(), one.parameters(), strict=True):
            assert a.shape == b.shape
            assert np.array_equal(a.data, b.data)
    assert many(X).shape == (3, 64, 2)
    assert np.array_equal(many(X).data[1], tn.MLP(SIZES, activation, seed=3)(X).data)


def test_one_seed_counts_on_an_array_is_a_list_and_none_draws_anew():
    as_array = tn.MLP(SIZES, replicas=3, seed=np.array(SEEDS))
    assert np.array_equal(as_array(X).data, tn.MLP(SIZES, replicas=3, seed=SEEDS)(X).data)
    many = tn.MLP(SIZES, replicas=3, seed=5)
    assert np.array_equal(many.replica(2).layers[0].weight.data, tn.MLP(SIZES, seed=7).layers[0].weight.data)
    fresh = tn.MLP(SIZES, replicas=2).layers[0].weight.data
    assert not np.array_equal(fresh[0], fresh[1])


@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize("name", MAKE)
def test_every_net_learns_as_it_would_alone(name, captured):
    many = tn.MLP(SIZES, replicas=3, seed=SEEDS)
    together = trained(many, MAKE[name](many.named_parameters(), RATES), captured=captured)
    for r, seed in enumerate(SEEDS):
        one = tn.MLP(SIZES, seed=seed)
        alone = trained(one, MAKE[name](one.named_parameters(), float(RATES[r])), captured=captured)
        assert np.allclose(together[:, r], alone, rtol=1e-6, atol=0)  # a BLAS may take many small products another way
        for a, b in zip(many.replica(r).parameters(), one.parameters(), strict=True):
            assert np.allclose(a.data, b.data, rtol=1e-5, atol=1e-7)


def test_batches_of_their_own():
    order = np.stack([np.random.default_rng(s).permutation(64) for s in SEEDS])
    many = tn.MLP(SIZES, replicas=3, seed=SEEDS)
    batch = lambda k: order[:, k * 16 % 64 : k * 16 % 64 + 16]
    together = trained(many, Adam(many.parameters(), RATES), batch=lambda k: (X[batch(k)], Y[batch(k)]))
    one = tn.MLP(SIZES, seed=SEEDS[1])
    alone = trained(one, Adam(one.parameters(), 0.1), batch=lambda k: (X[batch(k)[1]], Y[batch(k)[1]]))
    assert np.allclose(together[:, 1], alone, rtol=1e-6, atol=0)


def test_regression_of_many_nets():
    x, y = tn.datasets.sine(32)
    many, one = tn.MLP([1, 8, 1], "tanh", replicas=3, seed=SEEDS), tn.MLP([1, 8, 1], "tanh", seed=3)
    losses = tn.mse_loss(many(x), y, reduction="none").mean(axis=(1, 2))
    losses.sum().backward()
    tn.mse_loss(one(x), y).backward()
    for a, b in zip(many.parameters(), one.parameters(), strict=True):
        assert np.allclose(a.grad[1].reshape(b.shape), b.grad, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("captured", [False, True])
def test_dropout_draws_for_each_from_its_own_seed(captured):
    many = tn.MLP(SIZES, dropout=0.3, replicas=3, seed=SEEDS)
    together = trained(many, SGD(many.parameters(), RATES), captured=captured)
    for r, seed in enumerate(SEEDS):
        one = tn.MLP(SIZES, dropout=0.3, seed=seed)
        assert np.allclose(together[:, r], trained(one, SGD(one.parameters(), float(RATES[r]))), rtol=1e-6, atol=0)
    assert np.array_equal(many.eval()(X).data[0], many.replica(0)(X).data)


@pytest.mark.parametrize("captured", [False, True])
def test_a_net_that_explodes_leaves_the_bits_of_the_others(captured):
    def run(rates, seeds):
        many = tn.MLP(SIZES, replicas=len(seeds), seed=seeds)
        optimizer = SGD(many.parameters(), rates, momentum=0.9, on_nonfinite="freeze")
        with np.errstate(all="ignore"):
            losses = trained(many, optimizer, steps=60, captured=captured)
        return losses, [p.data for p in many.parameters()], optimizer.frozen.tolist()

    x = np.array([0.1, 1e30, 0.05, 0.2])
    losses, data, frozen = run(x, [0, 1, 2, 3])
    without, other, none = run(x[[0, 2, 3]], [0, 2, 3])
    assert frozen == [False, True, False, False]
    assert none == [False] * 3
    assert np.array_equal(losses[:, [0, 2, 3]], without)
    assert all(np.array_equal(a[[0, 2, 3]], b) for a, b in zip(data, other, strict=True))
    assert not np.isfinite(losses[-1, 1])


def test_the_optimizer_itself_says_nothing_of_a_frozen_net():
    many = tn.MLP(SIZES, replicas=2, seed=0)
    optimizer = Adam(many.parameters(), np.array([0.1, 0.1]), on_nonfinite="freeze")
    for _ in range(3):
        tn.cross_entropy(many(X), Y, reduction="none").mean(axis=-1).sum().backward()
        for p in many.parameters():
            p.grad[1] = np.inf
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            optimizer.step()
        optimizer.zero_grad()
    assert optimizer.frozen.tolist() == [False, True]


def test_a_filter_sees_one_net():
    seen = {}
    many, one = tn.MLP([1, 4, 2], replicas=3, seed=0), tn.MLP([1, 4, 2], seed=0)

    def only(name, data):
        seen.setdefault(name, []).append(data.shape)
        return True

    SGD(one.named_parameters(), 0.1, penalty=L2(0.1, only=only))
    SGD(many.named_parameters(), np.full(3, 0.1), penalty=L2(0.1, only=only))
    assert all(len(set(shapes)) == 1 for shapes in seen.values())
    assert seen["layers.0.weight"][0] == (1, 4)
    assert seen["layers.0.bias"][0] == (4,)


def test_biases_of_many_nets_do_not_decay_where_that_was_asked():
    many = tn.MLP(SIZES, replicas=2, seed=0)
    weights, biases = no_decay_bias(many.named_parameters(), 0.1)
    assert [name for name, _ in biases["params"]] == [f"layers.{i}.bias" for i in (0, 2, 4)]
    assert len(weights["params"]) == 3


def test_a_copy_trains_on_by_itself():
    many = tn.MLP(SIZES, replicas=3, seed=SEEDS)
    optimizer = Adam(many.parameters(), RATES, on_nonfinite="freeze")
    trained(many, optimizer, steps=3, captured=False)
    for p in many.parameters():
        p.grad[1] = np.nan
    optimizer.step()
    other, its = copy.deepcopy((many, optimizer))
    ours = trained(many, optimizer, steps=3, captured=False)
    assert np.array_equal(ours, trained(other, its, steps=3, captured=False))
    assert its.frozen.tolist() == [False, True, False]
    assert all(np.array_equal(a.data, b.data) for a, b in zip(many.parameters(), other.parameters(), strict=True))


def test_state_goes_out_and_in():
    a, b = (tn.MLP(SIZES, replicas=3, seed=s) for s in (0, 50))
    b.load_state_dict(a.state_dict())
    assert np.array_equal(a(X).data, b(X).data)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            lambda: tn.MLP(SIZES, seed=[1, 2]),
            ValueError,
            "a list of 2 seeds is for that many nets at once: pass replicas=2",
        ),
        (lambda: tn.MLP(SIZES, replicas=3, seed=[1, 2]), ValueError, "3 replicas need as many seeds, got 2"),
        (lambda: tn.MLP(SIZES, replicas=0), ValueError, "replicas must be a positive whole number, got 0"),
        (lambda: tn.MLP(SIZES, replicas=2.0), ValueError, "replicas must be a positive whole number, got 2.0"),
        (lambda: tn.MLP(SIZES, replicas=True), ValueError, "replicas must be a positive whole number, got True"),
        (lambda: tn.MLP(SIZES).replica(0), ValueError, "this is one net"),
        (lambda: tn.MLP(SIZES, replicas=2).replica(2), IndexError, "there are 2 nets, 0 to 1, got 2"),
        (
            lambda: SGD(tn.MLP(SIZES).parameters(), RATES),
            ValueError,
            r"3 replicas, and .* has shape \(2, 8\): its first axis must count them, as in MLP\(sizes, replicas=3\)",
        ),
    ],
)
def test_refused_with_a_clear_message(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_fit_is_for_one_net():
    models = tn.MLP([2, 4, 2], replicas=3, seed=0)
    adam = Adam(models.named_parameters(), lr=np.full(3, 1e-2))
    with pytest.raises(
        ValueError, match=r"fit trains one net, and this model is 3: sum their losses in a loop of your own"
    ):
        tn.fit(models, tn.datasets.moons(20), loss="cross_entropy", optimizer=adam, epochs=1)
