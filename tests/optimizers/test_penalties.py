"""Penalties: coupled, decoupled and proximal; the Lasso's exact zeros; proximal steps as the minimum they stand for;
filters and schedules.
"""

import math
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizers import L1, L2, SGD, Adam, AdamW, Cosine, ElasticNet, Warmup
from optimizers.penalties import no_decay_bias, weights_only


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


@settings(deadline=None, max_examples=20)
@given(st.floats(0, 3), st.floats(0, 3), st.floats(-5, 5), st.floats(0.1, 3))
def test_prox_is_what_a_fine_search_finds(l1, l2, p, step):
    grid = np.arange(-60000, 60001) * 1e-4
    objective = l1 * np.abs(grid) + l2 / 2 * grid**2 + (grid - p) ** 2 / (2 * step)
    found = grid[np.argmin(objective)]
    assert abs(ElasticNet(l1, l2).prox(np.array([p]), step).item() - found) <= 1.01e-4


@settings(deadline=None, max_examples=60)
@given(strengths, strengths, weights, st.data())
def test_prox_of_steps_element_by_element(l1, l2, p, data):
    steps = np.array(data.draw(st.lists(rates, min_size=len(p), max_size=len(p))))
    penalty = ElasticNet(l1, l2)
    alone = [penalty.prox(p[i : i + 1], steps[i]).item() for i in range(len(p))]
    assert penalty.prox(p, steps).tolist() == alone


@settings(deadline=None, max_examples=60)
@given(strengths, weights, rates)
def test_prox_keeps_the_sign_and_never_lengthens(strength, p, step):
    for penalty in (L1(strength), L2(strength), ElasticNet(strength, strength)):
        w = penalty.prox(p, step)
        assert np.all(np.abs(w) <= np.abs(p))
        assert np.all(w * p >= 0)


# Ends of the range ----------------------------------------------------------------------------------------------------

extremes = np.array([0.0, 1e-45, -1e-45, 1e38, -3e38, math.inf, -math.inf, math.nan], "float32")


@pytest.mark.parametrize("penalty", [L1(0.5), L2(0.5), ElasticNet(0.5, 0.5)], ids=["L1", "L2", "ElasticNet"])
def test_float32_stays_float32_at_every_size(penalty):
    step = np.full(8, 0.1, "float32")
    for w in (penalty.prox(extremes, 0.1), penalty.prox(extremes, step), penalty.gradient(extremes)):
        assert w.dtype == "float32"
    assert penalty.value(extremes[:3]).dtype == "float32"
    w = penalty.prox(extremes, 0.1)
    assert w[0] == 0
    assert np.all(np.abs(w[1:3]) <= 1e-45)
    assert np.allclose(w[3:5], extremes[3:5] / (1 + 0.1 * penalty.l2), rtol=1e-6)
    assert (w[5], w[6]) == (math.inf, -math.inf)
    assert math.isnan(w[7])


def test_l1_of_weights_whose_squares_overflow():
    assert L1(0.5).value(np.array([1e30, -1e30], "float32")) == np.float32(1e30)
    assert L1(0.5).gradient(extremes[:7]).tolist() == [0, 0.5, -0.5, 0.5, -0.5, 0.5, -0.5]
    assert ElasticNet(0, 0).value(extremes) == 0


def test_strengths_are_plain_floats():
    for number in (np.float64(0.5), np.float32(0.5), np.array([0.5])[0]):
        penalty = ElasticNet(number, number)
        assert type(penalty.l1) is type(penalty.l2) is float
        assert penalty.gradient(np.ones(2, "float32")).dtype == "float32"
        assert type(L1(lambda k, number=number: number).at(0).l1) is float
    assert type(L2(np.int64(1)).l2) is type(L2(1).l2) is float


def test_l1_takes_all_that_is_within_the_threshold_and_l2_nothing():
    w = np.array([1e-45, 0.0499, -0.05, -0.0], "float32")
    assert L1(0.5).prox(w, 0.1).tolist() == [0, 0, 0, 0]
    assert L2(0.0).prox(w, 0.1).tobytes() == L1(0.0).prox(w, 0.1).tobytes() == w.tobytes()


# Filters --------------------------------------------------------------------------------------------------------------

PENALTIES = [L1, L2, lambda s, **kw: ElasticNet(s, s, **kw)]
every_penalty = pytest.mark.parametrize("make", PENALTIES, ids=["L1", "L2", "ElasticNet"])
W, B = np.zeros((2, 2)), np.zeros(2)


@every_penalty
def test_a_filter_says_which_parameters_are_meant(make):
    assert make(0.1).applies("layer.bias", B) is True
    penalty = make(0.1, only=lambda name, p: p.ndim >= 2 and name != "head.weight")
    assert penalty.applies("layer.weight", W) is True
    assert penalty.applies("head.weight", W) is False
    assert penalty.applies("layer.bias", B) is False


def test_a_filter_gets_the_name_and_the_data():
    seen = []
    L1(0.1, only=lambda *args: seen.append(args) or True).applies("w", W)
    [(name, data)] = seen
    assert name == "w"
    assert data is W


def test_a_filter_may_answer_numpys_bool():
    assert L1(0.1, only=lambda name, p: np.all(p == 0)).applies("w", W) is True


def test_weights_only():
    assert [weights_only("", np.zeros(shape)) for shape in ((), (3,), (2, 3), (4, 2, 3))] == [False, False, True, True]


@pytest.mark.parametrize("answer", [None, 1, "yes", np.array([True, False])], ids=repr)
def test_a_filter_must_answer_true_or_false(answer):
    with pytest.raises(TypeError, match=r"^L1: only\('layer.weight', data\) must answer True or False, got ") as error:
        L1(0.1, only=lambda name, p: answer).applies("layer.weight", W)
    assert str(error.value).endswith(repr(answer))


@every_penalty
def test_a_filter_must_be_a_function(make):
    with pytest.raises(TypeError, match=r": only must be a function of \(name, data\) .* weights_only, got 'weights'$"):
        make(0.1, only="weights")


@every_penalty
def test_penalties_are_values(make):
    for penalty in (make(0.5, mode="decoupled", only=weights_only), make(Cosine(0.1, 5)), make(Cosine(0.1, 5)).at(3)):
        again = pickle.loads(pickle.dumps(penalty))
        assert again == penalty
        assert hash(again) == hash(penalty)
    assert make(0.5) == make(np.float32(0.5)) != make(0.5, only=weights_only)
    assert make(0.5, only=weights_only).only is weights_only
    with pytest.raises(AttributeError):
        make(0.5).only = None


# Schedules ------------------------------------------------------------------------------------------------------------


@every_penalty
def test_without_a_schedule_the_penalty_is_the_same_at_every_step(make):
    penalty = make(0.1)
    assert penalty.at(0) is penalty.at(1000) is penalty


@every_penalty
def test_a_strength_may_be_a_schedule(make):
    schedule = Warmup(4) >> Cosine(0.4, 4)
    penalty = make(schedule, mode="coupled", only=weights_only)
    for k in range(10):
        assert penalty.at(k) == make(schedule(k), mode="coupled", only=weights_only)
        assert type(penalty.at(k)) is type(penalty)
    assert penalty == make(Warmup(4) >> Cosine(0.4, 4), mode="coupled", only=weights_only)


def test_either_strength_or_both_may_be_scheduled():
    half = lambda k: 0.5**k
    assert ElasticNet(half, 3.0).at(2) == ElasticNet(0.25, 3.0)
    assert ElasticNet(3.0, half).at(2) == ElasticNet(3.0, 0.25)
    assert ElasticNet(half, half, "decoupled").at(1) == ElasticNet(0.5, 0.5, "decoupled")
    # plain floats, or float32 weights would become float64
    assert L1(lambda k: np.float64(0.5)).at(0).prox(np.ones(2, "float32"), 1.0).dtype == "float32"


@every_penalty
@pytest.mark.parametrize("use", ["value", "gradient", "prox"])
def test_a_scheduled_penalty_is_not_used_before_the_step_is_known(make, use):
    arguments = (W, 0.1) if use == "prox" else (W,)
    with pytest.raises(TypeError, match=r"^\w+: a strength is a schedule: ask \.at\(k\) for the penalty after k steps$"):
        getattr(make(Cosine(0.1, 5)), use)(*arguments)


@pytest.mark.parametrize(
    ("schedule", "error", "message"),
    [
        (lambda k: 2 - k, ValueError, "^L1: the strength l1 after 3 steps must be non-negative and finite, got -1$"),
        (lambda k: math.nan if k else 1, ValueError, "^L1: the strength l1 after 3 steps .* got nan$"),
        (lambda k: math.inf if k else 1, ValueError, "^L1: the strength l1 after 3 steps .* got inf$"),
        (lambda k: "x" if k else 1, TypeError, "^L1: the strength l1 after 3 steps must be a number, got 'x'$"),
    ],
)
def test_a_schedule_that_leaves_the_range_names_the_step(schedule, error, message):
    with pytest.raises(error, match=message):
        L1(schedule).at(3)


def test_a_schedule_that_begins_outside_the_range_is_refused_at_once():
    with pytest.raises(ValueError, match="^L2: the strength l2 after 0 steps must be .* got -1$"):
        L2(lambda k: -1)
    with pytest.raises(TypeError, match="^ElasticNet: the strength l2 after 0 steps must be a number, got None$"):
        ElasticNet(0.0, lambda k: None)


# Groups without decay -------------------------------------------------------------------------------------------------


def model():
    shapes = {"0.weight": (2, 3), "0.bias": (3,), "norm.scale": (3,), "1.weight": (3, 1), "gain": ()}
    return [(name, parameter(np.ones(shape))) for name, shape in shapes.items()]


def test_no_decay_bias_makes_two_groups():
    named = model()
    weights, others = no_decay_bias(iter(named))
    assert weights == {"params": [named[0], named[3]]}
    assert others == {"params": [named[1], named[2], named[4]], "weight_decay": 0.0}
    schedule = Cosine(0.1, 5)
    assert [g["weight_decay"] for g in no_decay_bias(named, weight_decay=schedule)] == [schedule, 0.0]
    assert [g["weight_decay"] for g in no_decay_bias(named, 0.3)] == [0.3, 0.0]
    assert [g["weight_decay"] for g in no_decay_bias(named, 0)] == [0, 0.0]


@pytest.mark.parametrize("decay", [None, 0.3])
def test_an_optimizer_takes_these_groups_and_leaves_biases_alone(decay):
    named = model()
    opt = AdamW(no_decay_bias(named, decay), lr=0.1, weight_decay=0.2 if decay is None else 0.0)
    for _, p in named:
        p.grad = np.zeros_like(p.data)
    opt.step()
    for _, p in named:
        assert np.allclose(p.data, 1 - 0.1 * (decay or 0.2) if p.data.ndim > 1 else 1, rtol=1e-15)


def test_a_group_without_parameters_is_left_out():
    named = model()
    assert no_decay_bias(named[:1]) == [{"params": named[:1]}]
    assert no_decay_bias(named[1:3]) == [{"params": named[1:3], "weight_decay": 0.0}]
    AdamW(no_decay_bias(named[:1]))


class Model:
    named_parameters = __iter__ = lambda self: iter(model())


@pytest.mark.parametrize(
    ("argument", "error", "message"),
    [
        ([p for _, p in model()], TypeError, "got SimpleNamespace among them"),
        ([("w", np.ones((2, 2)))], TypeError, "got tuple among them"),
        ([(*model()[0], "extra")], TypeError, "got tuple among them"),
        ([{"params": []}], TypeError, "got dict among them"),
        (Model(), TypeError, "got Model"),
        (Model().named_parameters, TypeError, "got method|got function"),
        (None, TypeError, "got NoneType"),
    ],
)
def test_no_decay_bias_needs_names(argument, error, message):
    expected = rf"^no_decay_bias needs \(name, parameter\) pairs: pass model\.named_parameters\(\), ({message})$"
    with pytest.raises(error, match=expected):
        no_decay_bias(argument)


def test_no_decay_bias_of_a_used_up_generator():
    used_up = iter(model())
    list(used_up)
    with pytest.raises(ValueError, match="^no_decay_bias: there are no parameters .was a generator used up"):
        no_decay_bias(used_up)
