"""Proximal penalties by every optimizer that takes them: the Lasso's and the elastic net's own minimum, zeros and all.

The minimum is found without any of our code, one coordinate at a time, and checked by the condition that only it meets.
"""

from types import SimpleNamespace

import numpy as np
import pytest

from optimizers import (
    L1,
    SGD,
    AdaBelief,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    ElasticNet,
    Lion,
    Muon,
    NAdam,
    RAdam,
    RMSprop,
    Rprop,
    ScheduleFreeAdamW,
    ScheduleFreeSGD,
)

N, D = 100, 20
rng = np.random.default_rng(4)
X = rng.standard_normal((N, D))
Y = X @ np.where(np.arange(D) < 5, rng.uniform(1, 2, D), 0.0) + rng.standard_normal(N)
H, C = X.T @ X / N, X.T @ Y / N  # the gradient of |Xw - y|^2 / (2 n) is Hw - c


def minimum(l1, l2):
    """By coordinate descent (Friedman, Hastie & Tibshirani 2010)."""
    w = np.zeros(D)
    for _ in range(200):
        for i in range(D):
            rest = C[i] - H[i] @ w + H[i, i] * w[i]
            w[i] = np.sign(rest) * max(abs(rest) - l1, 0) / (H[i, i] + l2)
    return w


PENALTIES = {"Lasso": L1(0.2), "elastic net": ElasticNet(0.2, 0.1)}
MINIMA = {name: minimum(penalty.l1, penalty.l2) for name, penalty in PENALTIES.items()}

WAYS = {  # with a rate at which each is there after so many steps
    "sgd": (SGD, {"lr": 0.3}, 600),
    "sgd in one buffer": (SGD, {"lr": 0.3, "lr_in_buffer": True}, 600),
    "momentum": (SGD, {"lr": 0.1, "momentum": 0.9}, 600),
    "dampening": (SGD, {"lr": 0.3, "momentum": 0.8, "dampening": 0.5}, 600),
    "nesterov": (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}, 600),
    "momentum in one buffer": (SGD, {"lr": 0.1, "momentum": 0.9, "lr_in_buffer": True}, 600),
    "nesterov in one buffer": (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "lr_in_buffer": True}, 600),
    "adagrad": (Adagrad, {"lr": 0.5, "lr_decay": 1e-3}, 1000),
    "adagrad, eps inside": (Adagrad, {"lr": 0.5, "eps_inside": True, "initial_accumulator_value": 0.1}, 1000),
    "adadelta": (Adadelta, {"lr": 1.0}, 3000),
    "rmsprop": (RMSprop, {"lr": 0.02}, 1500),
    "rmsprop, eps inside": (RMSprop, {"lr": 0.02, "alpha": 0.9, "eps_inside": True}, 1500),
    "rmsprop momentum": (RMSprop, {"lr": 0.004, "momentum": 0.9}, 2500),
    "rmsprop momentum in one buffer": (RMSprop, {"lr": 0.004, "momentum": 0.9, "lr_in_buffer": True}, 2500),
    "rmsprop in one buffer": (RMSprop, {"lr": 0.02, "lr_in_buffer": True}, 1500),
    # a gradient that stays has no variance, so eps alone keeps these steps small
    "rmsprop centered": (RMSprop, {"lr": 0.01, "centered": True, "eps": 1e-2}, 1500),
    "rmsprop centered momentum": (
        RMSprop,
        {"lr": 0.002, "alpha": 0.9, "centered": True, "momentum": 0.9, "eps": 0.3},
        1000,
    ),
    "adam": (Adam, {"lr": 0.02}, 1500),
    "amsgrad": (Adam, {"lr": 0.02, "amsgrad": True}, 1500),
    "optax amsgrad": (Adam, {"lr": 0.1, "amsgrad": True, "debias_max": True, "eps_hat": True}, 1500),
    "adamw": (AdamW, {"lr": 0.02, "weight_decay": 0.0}, 1500),
    "adamax": (Adamax, {"lr": 0.02}, 2500),
    "nadam": (NAdam, {"lr": 0.02}, 1500),
    "nadam, momentum that grows fast": (NAdam, {"lr": 0.02, "momentum_decay": 0.1}, 1500),
    "radam": (RAdam, {"lr": 0.02}, 2500),
    "adabelief": (AdaBelief, {"lr": 0.01, "eps": 1e-8}, 1000),
}


def descend(kind, options, steps, penalty):
    """The weights after some steps from 0.5, with the exact gradient of the squared error."""
    p = SimpleNamespace(data=np.full(D, 0.5), grad=None)
    opt = kind([p], penalty=penalty, **options)
    for _ in range(steps):
        p.grad = H @ p.data - C
        opt.step()
    return p.data


@pytest.mark.parametrize("name", PENALTIES)
def test_the_minimum_is_one(name):
    """The slope is balanced by the penalty where w is not 0, and too weak to lift it from 0 elsewhere."""
    w, penalty = MINIMA[name], PENALTIES[name]
    tension = H @ w - C + penalty.l2 * w
    assert np.abs(tension + penalty.l1 * np.sign(w))[w != 0].max() < 1e-13
    assert np.abs(tension[w == 0]).max(initial=0) <= penalty.l1
    assert (w == 0).sum() == {"Lasso": 14, "elastic net": 13}[name]


@pytest.mark.parametrize("name", PENALTIES)
def test_the_minimum_is_scikit_learns(name):
    linear_model = pytest.importorskip("sklearn.linear_model", reason="compares with scikit-learn directly")
    l1, l2 = PENALTIES[name].l1, PENALTIES[name].l2
    share = {"alpha": l1 + l2, "l1_ratio": l1 / (l1 + l2)}
    theirs = linear_model.ElasticNet(fit_intercept=False, tol=1e-14, max_iter=100_000, **share).fit(X, Y)
    assert np.abs(theirs.coef_ - MINIMA[name]).max() < 1e-8
    assert np.array_equal(theirs.coef_ == 0, MINIMA[name] == 0)


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("way", WAYS)
def test_every_way_leads_to_the_minimum_and_its_exact_zeros(way, name):
    w = descend(*WAYS[way], PENALTIES[name])
    assert np.abs(w - MINIMA[name]).max() < 1e-8
    assert np.array_equal(w == 0, MINIMA[name] == 0)


@pytest.mark.parametrize("kind", [SGD, RMSprop])
def test_while_a_schedule_says_momentum_zero_the_penalty_is_as_strong(kind):
    """Also in the buffer with lr: from the minimum, where a steady gradient balances it, nothing moves."""
    rate = 0.1
    for options in ({}, {"lr_in_buffer": True}):
        p = SimpleNamespace(data=MINIMA["Lasso"].copy(), grad=None)
        opt = kind([p], lr=rate, momentum=lambda k: 0.5 if k > 90 else 0.0, penalty=PENALTIES["Lasso"], **options)
        for _ in range(80):
            p.grad = H @ MINIMA["Lasso"] - C
            opt.step()
            assert np.abs(p.data - MINIMA["Lasso"]).max() < 1e-12


def test_weight_decay_and_l1_are_the_elastic_net():
    for kind, options, steps in (WAYS["momentum"], WAYS["adam"]):
        w = descend(kind, {**options, "weight_decay": 0.1}, steps, L1(0.2))
        assert np.abs(w - MINIMA["elastic net"]).max() < 1e-8
        assert np.array_equal(w == 0, MINIMA["elastic net"] == 0)


@pytest.mark.parametrize("kind", [Rprop, Lion, Muon, ScheduleFreeSGD, ScheduleFreeAdamW])
def test_what_has_no_metric_takes_no_proximal_penalty(kind):
    p = SimpleNamespace(data=np.ones((2, 2)), grad=None)
    with pytest.raises(
        ValueError, match=f"^{kind.__name__} does not weigh a gradient by its size, so a proximal penalty has"
    ):
        kind([p], weight_decay=0, penalty=L1(0.1))
    kind([p], weight_decay=0, penalty=L1(0.1, "coupled"))


def test_every_optimizer_is_here_or_has_no_metric():
    import optimizers

    kinds = {k for k in vars(optimizers).values() if isinstance(k, type) and issubclass(k, optimizers.Optimizer)}
    around = {optimizers.Optimizer, optimizers.EMA, optimizers.Lookahead}
    ours = {k for k in kinds - around if k.metric and k.rule is not optimizers.Optimizer.rule}
    assert ours == {kind for kind, *_ in WAYS.values()}
