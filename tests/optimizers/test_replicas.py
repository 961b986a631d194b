"""Many nets in one optimizer: each moves as it would alone, whatever the others do.

The parameters are [R, ...]; here their gradients are numbers drawn beforehand, so that rules are tried without a net.
"""

import json
import pickle
import warnings
from functools import partial

import numpy as np
import pytest
from every import EVERY, suited

from optimizers import (
    EMA,
    L1,
    LBFGS,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    AdaptiveClip,
    Box,
    ClipNorm,
    ClipPerTensor,
    ClipValue,
    Cosine,
    ElasticNet,
    Lion,
    Lookahead,
    MaxNorm,
    Muon,
    NonfiniteGradientError,
    RAdam,
    Warmup,
    weights_only,
)
from optimizers.replicas import PerReplica

RATES = np.array([1e-3, 0.03, 0.1, 0.5])
R = len(RATES)
SHAPES = [(5, 3), (3,)]


class Parameter:
    def __init__(self, data, alone=None):
        self.data, self.grad, self.alone = data, None, alone


def drawn(name, dtype, steps=12):
    """Starts [R, *shape] and gradients [steps, R, *shape] of each parameter; some numbers are 0, sizes differ by decades."""
    g = np.random.default_rng(7)
    shapes = suited(name, SHAPES)
    starts = [g.standard_normal((R, *shape)).astype(dtype) for shape in shapes]
    sizes = 10.0 ** g.integers(-3, 2, (steps, R))
    gradients = [
        (g.standard_normal((steps, R, *s)) * sizes.reshape(steps, R, *(1,) * len(s)) * (g.random((steps, R, *s)) > 0.1))
        for s in shapes
    ]
    return starts, [gradient.astype(dtype) for gradient in gradients]


def together(make, starts, gradients, lr=RATES, change=lambda k, ps, opt: None):
    """Where R nets end, [R, ...] for each parameter. A vector has an axis more among replicas, as the bias of a layer has."""
    params = [
        Parameter(s.reshape(len(s), 1, -1).copy() if s.ndim == 2 else s.copy(), s.shape[1:] if s.ndim == 2 else None)
        for s in starts
    ]
    opt = make([(f"p{i}", p) for i, p in enumerate(params)], lr=lr)
    for k in range(len(gradients[0])):
        for p, g in zip(params, gradients, strict=True):
            p.grad = g[k].reshape(p.data.shape).copy()
        change(k, params, opt)
        opt.step()
    return [p.data.reshape(s.shape) for p, s in zip(params, starts, strict=True)], opt


def alone(make, starts, gradients, r, lr):
    params = [Parameter(s[r].copy()) for s in starts]
    opt = make([(f"p{i}", p) for i, p in enumerate(params)], lr=lr)
    for k in range(len(gradients[0])):
        for p, g in zip(params, gradients, strict=True):
            p.grad = g[k, r].copy()
        opt.step()
    return [p.data for p in params], opt


def same_bits(make, starts, gradients, rates=RATES, of=None):
    many, _ = together(make, starts, gradients)
    for r, rate in enumerate(rates):
        one, _ = alone(make if of is None else of(r), starts, gradients, r, float(rate))
        for a, b in zip(many, one, strict=True):
            assert np.array_equal(a[r], b), f"replica {r} differs by {np.abs(a[r] - b).max():.1e}"


# Each as it would be alone ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", EVERY)
def test_each_replica_has_the_bits_that_it_has_alone(name, dtype):
    starts, gradients = drawn(name, dtype)
    if name == "muon":  # its matrix products are the machine's: equal up to rounding
        many, _ = together(EVERY[name], starts, gradients)
        for r, rate in enumerate(RATES):
            for a, b in zip(many, alone(EVERY[name], starts, gradients, r, float(rate))[0], strict=True):
                assert np.allclose(a[r], b, rtol=1e-6 if dtype == "float64" else 1e-4, atol=1e-6)
    else:
        same_bits(EVERY[name], starts, gradients)


@pytest.mark.parametrize(
    "extra",
    [
        {"clip": ClipNorm(0.5)},
        {"clip": ClipPerTensor(0.5)},
        {"clip": ClipValue(0.5)},
        {"clip": AdaptiveClip(0.1)},
        {"projection": MaxNorm(0.7)},
        {"projection": Box(-0.5, 0.5)},
        {"penalty": L1(0.1)},
        {"penalty": ElasticNet(0.1, 0.2, "coupled")},
        {"penalty": ElasticNet(0.1, 0.2, "decoupled")},
        {"penalty": L1(0.1, only=weights_only)},
        {"penalty": L1(0.1, only=lambda name, p: p.shape == (3,))},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [SGD, Adam, partial(AdamW, weight_decay=0)])
def test_what_looks_at_a_whole_net_looks_at_each(kind, extra):
    starts, gradients = drawn("sgd", "float32")
    same_bits(lambda params, lr: kind(params, lr, **extra), starts, gradients)


@pytest.mark.parametrize("clip", [AdaptiveClip(0.1), ClipNorm(0.5), ClipPerTensor(0.5)])
def test_a_point_of_a_landscape_is_a_vector(clip):
    g = np.random.default_rng(3)
    starts, gradients = [g.standard_normal((R, 2))], [g.standard_normal((3, R, 2))]
    many = Parameter(starts[0].copy())
    opt = SGD([many], RATES, clip=clip)
    for gradient in gradients[0]:
        many.grad = gradient.copy()
        opt.step()
    for r, rate in enumerate(RATES):
        (one,), _ = alone(lambda params, lr: SGD(params, lr, clip=clip), starts, gradients, r, float(rate))
        assert np.array_equal(many.data[r], one)


def test_the_norm_is_one_for_each():
    starts, gradients = drawn("sgd", "float64", steps=1)
    _, opt = together(lambda params, lr: SGD(params, lr, clip=ClipNorm(1.0)), starts, gradients)
    expected = np.sqrt(sum((g[0] ** 2).reshape(R, -1).sum(axis=1) for g in gradients))
    assert np.allclose(opt.grad_norm, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("kind", "hyper"),
    [
        (SGD, {"momentum": [0.5, 0.8, 0.9, 0.99], "weight_decay": [0.0, 0.1, 0.0, 0.3]}),
        (SGD, {"momentum": [0.5, 0.8, 0.9, 0.99], "dampening": [0.0, 0.1, 0.5, 0.9]}),
        (AdamW, {"weight_decay": [0.0, 0.1, 0.2, 0.3], "eps": [1e-8, 1e-3, 1e-6, 1e-1]}),
        (Adagrad, {"initial_accumulator_value": [0.0, 0.1, 0.5, 1.0], "lr_decay": [0.0, 0.1, 0.5, 1.0]}),
    ],
)
def test_other_numbers_may_differ_too(kind, hyper):
    starts, gradients = drawn("sgd", "float32")
    arrays = {key: np.array(values) for key, values in hyper.items()}
    same_bits(
        lambda params, lr: kind(params, lr, **arrays),
        starts,
        gradients,
        of=lambda r: lambda params, lr: kind(params, lr, **{key: values[r] for key, values in hyper.items()}),
    )


def test_betas_may_differ():
    starts, gradients = drawn("adam", "float64")
    b1, b2 = np.array([0.5, 0.8, 0.9, 0.95]), np.array([0.9, 0.99, 0.999, 0.9])
    many, opt = together(lambda params, lr: Adam(params, lr, betas=(b1, b2)), starts, gradients)
    for r, rate in enumerate(RATES):  # b ** t is NumPy's here and Python's there
        one, _ = alone(lambda params, lr, r=r: Adam(params, lr, betas=(b1[r], b2[r])), starts, gradients, r, float(rate))
        for a, b in zip(many, one, strict=True):
            assert np.allclose(a[r], b, rtol=1e-12)
    assert opt.param_groups[0]["betas"][0].values.tolist() == b1.tolist()


def test_a_schedule_of_arrays_and_one_for_all():
    starts, gradients = drawn("sgd", "float32")
    cosine = Cosine(1.0, 10)
    same_bits(
        lambda params, lr: Adam(params, lr=lambda k: cosine(k) * lr),
        starts,
        gradients,
        of=lambda r: lambda params, lr: Adam(params, lr=lambda k: cosine(k) * lr),
    )
    same_bits(
        lambda params, lr: SGD(params, lr, momentum=np.full(R, 0.9), weight_decay=cosine),
        starts,
        gradients,
        of=lambda r: lambda params, lr: SGD(params, lr, momentum=0.9, weight_decay=cosine),
    )


@pytest.mark.parametrize("times", [lambda a, b: a * b, lambda a, b: b * a])
def test_a_schedule_times_rates(times):
    starts, gradients = drawn("sgd", "float32")
    shape = Warmup(3) >> Cosine(1.0, 6)
    same_bits(lambda params, lr: Adam(params, times(shape, lr)), starts, gradients)
    rates = RATES.copy()
    schedule = times(Cosine(1.0, 6), rates)
    rates[:] = 7
    assert schedule(0).tolist() == RATES.tolist()
    assert schedule.length == 6
    with pytest.raises(ValueError, match=r"lr must lie in \[0, inf\), got -0.333.* for replica 0"):
        SGD(points(), times(shape, -np.ones(R)))


def test_slices_of_any_length_give_the_same_bits(monkeypatch):
    starts, gradients = drawn("adam", "float32")
    expected, _ = together(Adam, starts, gradients)
    for size in (4, 16 * R, 20 * R):
        monkeypatch.setattr("optimizers.slab.SLICE", size)
        for a, b in zip(expected, together(Adam, starts, gradients)[0], strict=True):
            assert np.array_equal(a, b)


def test_groups_and_parameters_without_gradient():
    starts, gradients = drawn("sgd", "float64")
    more = RATES / 3

    def make(params, lr):
        return SGD(
            [{"params": params[:1]}, {"params": params[1:], "lr": more if np.ndim(lr) else lr / 3}], lr, momentum=0.9
        )

    same_bits(make, starts, gradients)
    ps = [Parameter(s.copy()) for s in starts]
    opt = SGD(ps, lr=RATES)
    ps[0].grad = np.ones_like(ps[0].data)
    opt.step()
    assert np.array_equal(ps[1].data, starts[1])
    assert np.array_equal(ps[0].data, starts[0] - RATES[:, None, None])


def test_parameters_are_views_of_one_slab():
    ps = [Parameter(np.zeros((R, 2, 3))), Parameter(np.zeros((R, 1, 3)))]
    opt = Adam(ps, lr=RATES)
    (slab,) = opt._slabs
    assert slab.data.shape == slab.grad.shape == slab.state["exp_avg"].shape == (R, 9)
    assert all(np.shares_memory(p.data, slab.data) for p in ps)
    slab.data[2] = 5
    assert (ps[0].data[2] == 5).all()
    assert (ps[1].data[[0, 1, 3]] == 0).all()


# One explodes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", [name for name in EVERY if name not in ("lookahead", "ema")])
def test_one_that_explodes_leaves_the_bits_of_the_others_and_stays(name, bad):
    starts, gradients = drawn(name, "float32")
    make = EVERY[name]

    def freezing(params, lr):
        return make(params, lr=lr, on_nonfinite="freeze")

    expected, _ = together(freezing, starts, gradients)
    before, _ = together(freezing, starts, [g[:5] for g in gradients])
    gradients[0][5:, 1].flat[0] = bad
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, opt = together(freezing, starts, gradients)
    assert opt.frozen.tolist() == [False, True, False, False]
    for a, b, c in zip(expected, found, before, strict=True):
        assert np.array_equal(a[[0, 2, 3]], b[[0, 2, 3]])
        assert np.array_equal(b[1], c[1])  # where it was before the step


def test_several_explode_one_after_the_other_until_none_is_left():
    starts, gradients = drawn("adam", "float64")
    for r, k in ((2, 3), (0, 5), (1, 5)):
        gradients[1][k, r] = np.nan  # once only: it stays all the same
    found, opt = together(lambda p, lr: Adam(p, lr, on_nonfinite="freeze"), starts, gradients)
    for r, k in ((2, 3), (0, 5), (1, 5), (3, 12)):
        expected, _ = together(Adam, starts, [np.nan_to_num(g[:k]) for g in gradients])
        assert all(np.array_equal(a[r], b[r]) for a, b in zip(expected, found, strict=True))
    gradients = [np.full_like(g, np.nan) for g in gradients]
    found, opt = together(lambda p, lr: Adam(p, lr, on_nonfinite="freeze"), starts, gradients)
    assert opt.frozen.all()
    assert opt.steps == 0
    assert all(np.array_equal(a, b) for a, b in zip(starts, found, strict=True))


@pytest.mark.parametrize("around", [lambda opt: opt, lambda opt: Lookahead(opt, k=2)], ids=["bare", "lookahead"])
def test_what_is_frozen_stays_so_in_a_state_and_through_a_file(around):
    p, q = (Parameter(np.ones((R, 2))) for _ in range(2))

    def make(p):
        return around(SGD([("w", p)], RATES, momentum=0.9, on_nonfinite="freeze"))

    def step(opt, p, bad=()):
        p.grad = np.ones((R, 2))
        p.grad[list(bad)] = np.nan
        opt.step()

    opt, other = make(p), make(q)
    step(opt, p)
    there = p.data[1].copy()
    step(opt, p, bad=[1])
    saved = json.loads(json.dumps(opt.state_dict(), default=lambda array: array.tolist()))
    other.load_state_dict(saved)  # before the weights, which must not be put back
    q.data = p.data.copy()
    assert other.frozen.tolist() == opt.frozen.tolist() == [False, True, False, False]
    for _ in range(3):
        step(opt, p)
        step(other, q)
    assert np.array_equal(p.data, q.data)
    assert np.array_equal(p.data[1], there)
    assert (p.data[[0, 2, 3]] < 1).all()
    with pytest.raises(ValueError, match="the state has 2 replicas, this optimizer has 4"):
        opt.load_state_dict({**saved, "frozen": [True, False]})


def test_the_count_of_skipped_steps_is_saved():
    p = Parameter(np.ones(2))
    opt = SGD([p], 0.1, on_nonfinite="skip")
    p.grad = np.full(2, np.nan)
    opt.step()
    other = SGD([Parameter(np.ones(2))])
    saved = opt.state_dict()
    other.load_state_dict(saved)
    assert other.skipped == opt.skipped == 1
    del saved["skipped"], saved["frozen"]  # as states were before these were saved
    other.load_state_dict(saved)
    assert other.skipped == 0


def test_by_default_it_raises_and_names_parameter_and_replica():
    starts, gradients = drawn("adam", "float64")
    gradients[1][4, 2] = np.inf
    with pytest.raises(NonfiniteGradientError, match="gradient of 'p1' is not finite in replica 2 at step 5; nothing was"):
        together(Adam, starts, gradients)


def test_a_large_but_finite_gradient_is_no_fault():
    starts, gradients = drawn("sgd", "float32", steps=1)
    gradients[0][0, 1] = 1e30  # its square is beyond float32
    _, opt = together(lambda p, lr: SGD(p, lr, on_nonfinite="freeze"), starts, gradients)
    assert not opt.frozen.any()


# Reading, saving, refusing ----------------------------------------------------------------------------------------------


def test_the_rates_are_read_set_and_saved():
    starts, gradients = drawn("adam", "float64")
    rates = RATES.copy()
    ps = [Parameter(s.copy()) for s in starts]
    opt = Adam(ps, lr=rates)
    rates[:] = 7  # ours are copies
    assert opt.lr.tolist() == RATES.tolist()
    assert repr(opt).startswith("Adam(lr=<4 numbers from 0.001 to 0.5>")
    opt.lr = RATES / 2
    assert opt.lr.tolist() == (RATES / 2).tolist()
    for p, g in zip(ps, gradients, strict=True):
        p.grad = g[0]
    opt.step()
    saved = pickle.loads(pickle.dumps(opt.state_dict()))
    assert saved["hyper"][0]["lr"].tolist() == (RATES / 2).tolist()
    again = [Parameter(p.data.copy()) for p in ps]
    other = Adam(again, lr=RATES)
    other.load_state_dict(saved)
    for one, ps_of in ((opt, ps), (other, again)):
        for p, g in zip(ps_of, gradients, strict=True):
            p.grad = g[1]
        one.step()
    assert all(np.array_equal(a.data, b.data) for a, b in zip(ps, again, strict=True))


def test_rates_come_back_from_a_file():
    """JSON has lists for arrays, also within a pair."""
    betas = (np.array([0.9, 0.8, 0.5, 0.9]), 0.99)
    ps = [Parameter(np.ones((R, 2))) for _ in range(2)]
    opts = [Adam([("w", p)], lr=RATES * (1 + i), betas=betas) for i, p in enumerate(ps)]
    saved = json.loads(json.dumps(opts[0].state_dict(), default=lambda array: array.tolist()))
    opts[1].load_state_dict(saved)
    assert opts[1].lr.tolist() == RATES.tolist()
    for opt, p in zip(opts, ps, strict=True):
        p.grad = np.arange(8.0).reshape(R, 2)
        opt.step()
    assert np.array_equal(ps[0].data, ps[1].data)


def test_the_penalty_of_all_replicas_is_summed():
    p = Parameter(np.arange(8.0).reshape(R, 2))
    opt = SGD([p], lr=RATES, weight_decay=np.array([0.0, 1.0, 0.0, 2.0]))
    assert opt.penalty_value() == (4 + 9) / 2 + 2 * (36 + 49) / 2


def points(r=R):
    return [Parameter(np.zeros((r, 2), np.float32))]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: SGD(points(3), lr=RATES), r"hyperparameters of 4 replicas, and 'parameter 0' has shape \(3, 2\): its first"),
        (lambda: SGD(points(), lr=RATES, momentum=np.array([0.9, 0.8])), "one number for each replica, but .* has 4 and .* has 2"),
        (lambda: SGD(points(), lr=np.array([0.1, -1.0, 0.1, 0.1])), r"lr must lie in \[0, inf\), got -1.0 for replica 1"),
        (lambda: SGD(points(), lr=np.array([0.1, np.nan, 0.1, 0.1])), "lr must lie in .*, got nan for replica 1"),
        (lambda: SGD(points(), lr=np.full((R, 1), 0.1)), r"lr must be a number .*an array of shape \(4, 1\)"),
        (lambda: SGD(points(), lr=np.array(["a"] * R)), "lr must be a number .* dtype <U1"),
        (lambda: Adam(points(), RATES, eps=np.array([1e-8, 1e-60, 1e-8, 1e-8])), "eps=1e-60 is 0 in float32"),
        (lambda: SGD(points(), lr=np.array([])), r"an array of shape \(0,\)"),
        (lambda: SGD(points(), lr=RATES, on_nonfinite="skip"), "'raise', 'freeze' or 'ignore' where there are replicas, got 'skip'"),
        (lambda: SGD(points(), lr=0.1, on_nonfinite="freeze"), "'raise', 'skip' or 'ignore', got 'freeze'"),
        (lambda: LBFGS(points(), lr=RATES), "LBFGS takes one step for all that it moves, so replicas cannot"),
        (lambda: Muon(points(), lr=RATES), r"Muon moves matrices, and 'parameter 0' has shape \(2,\)"),
        (lambda: Muon([Parameter(np.zeros((R, 2, 2)))], RATES, ns_steps=np.full(R, 5)), "ns_steps must be a number or a schedule; got an array"),
        (lambda: SGD(points(), lr=RATES, momentum=np.array([0.0, 0.9, 0.9, 0.9])), "the replicas differ in a hyperparameter"),
        (lambda: EMA(SGD(points(), lr=RATES, momentum=np.array([0.0, 0.9, 0.9, 0.9]))), "the replicas differ"),
    ],
)  # fmt: skip
def test_refused_with_a_clear_message(make, text):
    with pytest.raises((ValueError, TypeError), match=text):
        make()


def test_arrays_cannot_come_later():
    p = points()
    opt = SGD(p, lr=0.1)
    opt.lr = RATES
    p[0].grad = np.ones((R, 2))
    with pytest.raises(ValueError, match="lr has 4 numbers, and the optimizer was made for one net"):
        opt.step()
    opt = SGD(p, lr=RATES)
    opt.param_groups[0]["lr"] = RATES[:2]
    with pytest.raises(ValueError, match="lr has 2 numbers, and the optimizer was made for 4 replicas"):
        opt.step()


def test_a_rule_that_must_go_on_in_one_way_says_so():
    p = points()
    opt = RAdam(p, lr=RATES, betas=(0.9, np.array([0.5, 0.999, 0.9999, 0.99])))
    for _ in range(5):  # until one of them has seen enough gradients
        p[0].grad = np.ones((R, 2))
        opt.step()
    p[0].grad = np.ones((R, 2))
    with pytest.raises(ValueError, match="the replicas differ in a hyperparameter on which it depends"):
        opt.step()


def test_one_replica_is_still_an_axis():
    p = Parameter(np.zeros((1, 3)))
    opt = Lion([p], lr=np.array([0.5]))
    p.grad = np.ones((1, 3))
    opt.step()
    assert p.data.tolist() == [[-0.5] * 3]


# The numbers themselves -------------------------------------------------------------------------------------------------


def test_numbers_keep_their_digits_and_never_widen():
    beta = PerReplica(np.array([0.9, 0.999]))
    g = np.ones((2, 3), np.float32)
    assert (1 - beta).values.tolist() == [1 - 0.9, 1 - 0.999]
    assert ((1 - beta) * g).dtype == np.float32
    assert np.array_equal(((1 - beta) * g)[1], (1 - 0.999) * g[1])
    g *= beta
    assert g.dtype == np.float32
    assert (g[0] == np.float32(0.9)).all()
    assert (beta * np.ones((2, 4, 5))).shape == (2, 4, 5)
    g[...] = beta
    assert json.dumps(g[:, 0].tolist()) == json.dumps([float(np.float32(0.9)), float(np.float32(0.999))])
