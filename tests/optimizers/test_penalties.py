"""Penalties: coupled, decoupled and proximal; the Lasso's exact zeros; and proximal steps as the minimum they stand for."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizers import L1, L2, SGD, Adam, AdamW, ElasticNet


def parameter(values, dtype="float64"):
    return SimpleNamespace(data=np.array(values, dtype), grad=None)


def trained(make, steps=20, dtype="float64"):
    """The bits after some steps of an optimizer, always with the same start and gradients."""
    rng = np.random.default_rng(0)
    p = parameter(rng.standard_normal((6, 4)), dtype)
    opt = make([p])
    for _ in range(steps):
        p.grad = rng.standard_normal((6, 4)).astype(dtype)
        opt.step()
    return p.data


# What each mode does --------------------------------------------------------------------------------------------------


def test_values_and_gradients():
    p = np.array([3.0, 0.0, -4.0])
    assert L1(0.5).value(p) == 3.5
    assert L2(0.5).value(p) == 6.25
    assert ElasticNet(0.5, 2.0).value(p) == 28.5
    assert L1(0.5).gradient(p).tolist() == [0.5, 0, -0.5]
    assert L2(0.5).gradient(p).tolist() == [1.5, 0, -2]
    assert ElasticNet(0.5, 2.0).gradient(p).tolist() == [6.5, 0, -8.5]


def test_prox_moves_by_the_threshold_and_shrinks():
    p = np.array([3.0, 0.25, 0.0, -0.25, -4.0])
    assert L1(0.5).prox(p, 1.0).tolist() == [2.5, 0, 0, 0, -3.5]
    assert L1(0.5).prox(p, np.array([1, 0.25, 1, 1, 2])).tolist() == [2.5, 0.125, 0, 0, -3]
    assert L2(1.0).prox(p, 1.0).tolist() == [1.5, 0.125, 0, -0.125, -2]
    assert ElasticNet(0.5, 1.0).prox(p, 1.0).tolist() == [1.25, 0, 0, 0, -1.75]


def test_the_zeros_of_prox_have_no_minus_sign():
    assert not np.signbit(L1(1.0).prox(np.array([-0.5, -1.0, 0.5]), 1.0)).any()


@pytest.mark.parametrize("make", [SGD, lambda ps, **kw: SGD(ps, momentum=0.9, **kw), Adam], ids=["SGD", "momentum", "Adam"])
def test_coupled_l2_is_weight_decay(make):
    decayed = trained(lambda ps: make(ps, weight_decay=0.3))
    assert np.array_equal(trained(lambda ps: make(ps, penalty=L2(0.3))), decayed)
    assert not np.array_equal(trained(make), decayed)


def test_decoupled_l2_is_adamw():
    expected = trained(lambda ps: AdamW(ps, lr=0.1, weight_decay=0.3))
    assert np.allclose(trained(lambda ps: Adam(ps, lr=0.1, penalty=L2(0.3, "decoupled"))), expected, rtol=1e-13, atol=1e-15)
    coupled = trained(lambda ps: Adam(ps, lr=0.1, penalty=L2(0.3)))
    assert not np.allclose(coupled, expected, atol=1e-2)


@pytest.mark.parametrize("penalty", [L1, L2, lambda s, mode: ElasticNet(s, 2 * s, mode)], ids=["L1", "L2", "ElasticNet"])
def test_modes_of_plain_sgd(penalty):
    """For one step of SGD, coupled and decoupled are the same; proximal differs, in the way of the implicit step."""
    one = {
        mode: trained(lambda ps, mode=mode: SGD(ps, lr=0.1, penalty=penalty(0.5, mode)), 1)
        for mode in ("coupled", "decoupled", "proximal")
    }
    free = trained(lambda ps: SGD(ps, lr=0.1), 1)
    assert np.allclose(one["coupled"], one["decoupled"], rtol=1e-14, atol=1e-15)
    assert np.array_equal(one["proximal"], penalty(0.5, "proximal").prox(free, 0.1))
    assert not np.allclose(one["coupled"], one["proximal"], atol=1e-4)


def test_adams_prox_uses_adams_own_step():
    g, p = np.array([1.0, 100.0]), parameter([1.0, 1.0])
    p.grad = g
    Adam([p], lr=0.1, eps=1e-8, penalty=L1(0.5)).step()
    free = 1 - 0.1 * g / (g + 1e-8)
    assert np.allclose(p.data, free - 0.1 / (g + 1e-8) * 0.5, rtol=1e-14)


@pytest.mark.parametrize("mode", ["coupled", "decoupled", "proximal"])
@pytest.mark.parametrize("penalty", [L1, L2, lambda s, mode: ElasticNet(s, s, mode)], ids=["L1", "L2", "ElasticNet"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("make", [lambda ps, **kw: SGD(ps, momentum=0.9, nesterov=True, **kw), AdamW], ids=["SGD", "AdamW"])
def test_strength_zero_changes_no_bit(make, dtype, penalty, mode):
    free = trained(make, dtype=dtype)
    assert trained(lambda ps: make(ps, penalty=penalty(0.0, mode)), dtype=dtype).tobytes() == free.tobytes()
    assert trained(lambda ps: make(ps, penalty=penalty(0.1, mode), weight_decay=0), dtype=dtype).tobytes() != free.tobytes()


# The Lasso ------------------------------------------------------------------------------------------------------------

rng = np.random.default_rng(4)
X = rng.standard_normal((100, 20))
Y = X @ np.where(np.arange(20) < 5, rng.uniform(1, 2, 20), 0.0) + rng.standard_normal(100)


def slope(w):
    """The gradient of |Xw - y|^2 / (2n)."""
    return X.T @ (X @ w - Y) / len(Y)


def optimum(l1, l2):
    """The reference, by plain ISTA to 1e-10: the subgradient condition of the minimum is checked, not only convergence."""
    w, step = np.zeros(20), 1 / np.linalg.eigvalsh(X.T @ X / len(Y)).max()
    for _ in range(3000):
        w = w - step * slope(w)
        w = np.where(w > step * l1, w - step * l1, np.where(w < -step * l1, w + step * l1, 0)) / (1 + step * l2)
    tension = slope(w) + l2 * w
    assert np.abs(tension + l1 * np.sign(w))[w != 0].max() < 1e-10
    assert np.abs(tension[w == 0]).max(initial=0.0) <= l1
    return w


def descend(make, steps):
    """The weights after some steps from 0.5, with the exact gradient of the squared error."""
    p = parameter(np.full(20, 0.5))
    opt = make([p])
    for _ in range(steps):
        p.grad = slope(p.data)
        opt.step()
    return p.data


ways = pytest.mark.parametrize(
    ("make", "steps"),
    [
        (lambda ps, **kw: SGD(ps, lr=0.3, **kw), 1500),
        (lambda ps, **kw: SGD(ps, lr=0.1, momentum=0.9, **kw), 1500),
        (lambda ps, **kw: SGD(ps, lr=0.1, momentum=0.9, nesterov=True, **kw), 1500),
        (lambda ps, **kw: SGD(ps, lr=0.3, momentum=0.8, dampening=0.5, **kw), 1500),
        (lambda ps, **kw: Adam(ps, lr=0.01, **kw), 3000),
    ],
    ids=["SGD", "momentum", "nesterov", "dampening", "Adam"],
)


@ways
@pytest.mark.parametrize("penalty", [L1(0.2), ElasticNet(0.2, 0.1)], ids=["Lasso", "elastic net"])
def test_proximal_reaches_the_optimum_and_its_exact_zeros(make, steps, penalty):
    best = optimum(penalty.l1, penalty.l2)
    w = descend(lambda ps: make(ps, penalty=penalty), steps)
    assert 10 <= (best == 0).sum() < 20
    assert np.array_equal(w == 0, best == 0)
    assert np.abs(w - best).max() < 1e-8


@ways
def test_coupled_l1_gives_no_exact_zero(make, steps):
    assert (descend(lambda ps: make(ps, penalty=L1(0.2, "coupled")), 300) != 0).all()


def test_the_penalty_of_sgd_is_as_strong_with_momentum_as_without():
    """Against a steady gradient a velocity grows to 1 / (1 - momentum) gradients; the penalty has to grow with it."""
    l1 = L1(1.0)
    for gradient, held in ((0.9, True), (1.1, False)):
        p = parameter([0.0])
        opt = SGD([p], lr=0.01, momentum=0.9, penalty=l1)
        for _ in range(200):
            p.grad = np.array([gradient])
            opt.step()
        assert (p.data.item() == 0) is held


# Properties -----------------------------------------------------------------------------------------------------------

strengths = st.floats(0, 10)
rates = st.floats(0.1, 10)
weights = st.lists(st.floats(-10, 10), min_size=1, max_size=6).map(np.array)


@settings(deadline=None, max_examples=60)
@given(strengths, strengths, weights, rates, st.floats(1e-3, 10))
def test_prox_is_the_argmin(l1, l2, p, step, away):
    """No point near or far has a lower l1 |w| + l2/2 w^2 + (w - p)^2 / (2 step)."""

    def objective(w):
        return l1 * np.abs(w) + l2 / 2 * w**2 + (w - p) ** 2 / (2 * step)

    w = ElasticNet(l1, l2).prox(p, step)
    least = objective(w)
    for other in (w + away, w - away, p, np.zeros_like(p), w * 1.01, w * 0.99):
        gain = (1 / step + l2) / 2 * (other - w) ** 2  # the objective is that strongly convex
        assert (objective(other) - least >= gain - 1e-12 * (1 + objective(other))).all()


@settings(deadline=None, max_examples=60)
@given(strengths, strengths, weights, weights, rates)
def test_prox_brings_no_two_points_further_apart(l1, l2, p, q, step):
    n = min(len(p), len(q))
    penalty = ElasticNet(l1, l2)
    apart = np.abs(penalty.prox(p[:n], step) - penalty.prox(q[:n], step))
    assert (apart <= np.abs(p[:n] - q[:n]) / (1 + step * l2) + 1e-12).all()
