"""What must hold for any parameters and gradients, drawn by Hypothesis: for every optimizer, or said why not."""

import runpy
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from every import EVERY, suited, with_
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizers import (
    EMA,
    L1,
    L2,
    SGD,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    ElasticNet,
    Lion,
    Lookahead,
    Muon,
    NAdam,
    RMSprop,
    Rprop,
    ScheduleFreeAdamW,
)

a_few = settings(deadline=None, max_examples=25)
many = settings(deadline=None, max_examples=60)
shapes = st.lists(st.sampled_from([(), (1,), (3,), (2, 2), (0,)]), min_size=1, max_size=4)


@st.composite
def problems(draw, steps=4):
    """(start, gradients): a list of arrays, and for each of some steps a list of gradients, of which some are None."""
    of = draw(shapes)
    dtype = draw(st.sampled_from(["float32", "float64"]))
    narrow = st.floats(-1e3, 1e3, allow_subnormal=False, width=32)

    def arrays(shape):
        n = int(np.prod(shape))
        return st.lists(narrow, min_size=n, max_size=n).map(lambda values: np.array(values, dtype).reshape(shape))

    start = [draw(arrays(shape)) for shape in of]
    first = [draw(arrays(shape)) for shape in of]
    rest = [[draw(st.none() | arrays(shape)) for shape in of] for _ in range(steps - 1)]
    return start, [first, *rest]


def run(make, start, gradients, name=""):
    """The parameters at the end. A step without any gradient is left out, since it would only warn."""
    of = suited(name, [p.shape for p in start])
    ps = [SimpleNamespace(data=p.copy().reshape(shape), grad=None) for p, shape in zip(start, of, strict=True)]
    opt = make(ps)
    for row in gradients:
        for p, g in zip(ps, row, strict=True):
            p.grad = None if g is None else g.reshape(p.data.shape)
        if any(g is not None for g in row):
            opt.step()
    return [p.data for p in ps]


def bits(arrays):
    return [a.tobytes() for a in arrays]


# Of every optimizer -----------------------------------------------------------------------------------------------------


@a_few
@given(problems())
def test_a_learning_rate_of_zero_changes_no_bit(problem):
    """But for Rprop, whose steps are no smaller than step_sizes[0]."""
    start, gradients = problem
    # -0.0 and 0.0 are one number with two patterns of bits; + 0.0 leaves the second
    start = [p + 0.0 for p in start]
    for name, make in EVERY.items():
        if name != "rprop":
            assert bits(run(lambda ps, make=make: make(ps, lr=0.0), start, gradients, name)) == bits(start), name


@a_few
@given(problems(), st.randoms(use_true_random=False))
def test_the_order_of_the_parameters_does_not_matter(problem, random):
    start, gradients = problem
    order = list(range(len(start)))
    random.shuffle(order)
    for name, make in EVERY.items():
        straight = run(make, start, gradients, name)
        shuffled = run(make, [start[i] for i in order], [[row[i] for i in order] for row in gradients], name)
        assert bits(shuffled) == bits([straight[i] for i in order]), name


@a_few
@given(problems())
def test_a_penalty_of_strength_zero_changes_no_bit(problem):
    start, gradients = problem
    for name, make in EVERY.items():
        if name in ("adamw l1", "momentum elastic net"):  # which have a penalty
            continue
        free = bits(run(make, start, gradients, name))
        for penalty in (L1, L2, lambda s, mode: ElasticNet(s, s, mode)):
            for mode in ("coupled", "decoupled", "proximal"):
                if mode == "proximal" and name in ("rprop", "lion", "muon"):  # which refuse it: they have no metric
                    continue
                if mode != "coupled" and name.startswith("schedule-free"):  # which refuse the others
                    continue
                found = run(partial(make, penalty=penalty(0.0, mode)), start, gradients, name)
                assert bits(found) == free, (name, mode)


SCALE_FREE = {  # with the power of the scale that eps has to follow, since it is what keeps them from being free of it
    "adagrad": (with_(Adagrad, lr_decay=0.1), 1),
    "optax adagrad": (with_(Adagrad, eps_inside=True), 2),
    "rmsprop": (with_(RMSprop), 1),
    "rmsprop momentum": (with_(RMSprop, momentum=0.9), 1),
    "rmsprop centered": (with_(RMSprop, momentum=0.9, centered=True, eps_inside=True, lr_in_buffer=True), 2),
    "adam": (with_(Adam), 1),
    "amsgrad": (with_(Adam, amsgrad=True), 1),
    "optax amsgrad": (with_(Adam, amsgrad=True, debias_max=True, eps_hat=True), 1),
    "adamw": (with_(AdamW, weight_decay=0.1), 1),
    "adamax": (with_(Adamax), 1),
    "nadam": (with_(NAdam), 1),
    "schedule-free adamw": (with_(ScheduleFreeAdamW, weight_decay=0.1), 1),
    "muon": (with_(Muon), 1),
    "rprop": (with_(Rprop), None),
    "lion": (with_(Lion, weight_decay=0.1), None),
    "lookahead": (lambda ps, **more: Lookahead(with_(Adam)(ps, **more), k=2), 1),
    "ema": (lambda ps, **more: EMA(with_(RMSprop)(ps, **more)), 1),
}
NOT_FREE = {
    "sgd": "a step is as long as the gradient",
    "momentum": "as SGD",
    "nesterov": "as SGD",
    "keras sgd": "as SGD",
    "schedule-free sgd": "as SGD",
    "adadelta": "eps has the units of p above the line, and of g below",
    "adabelief": "eps has the units of g^2 inside the root, and of g outside",
    "radam": "while it waits, a step is as long as the gradient",
    "adamw l1": "a penalty has the scale of the loss",
    "momentum elastic net": "a penalty has the scale of the loss",
}


def test_of_every_optimizer_it_is_said_whether_it_sees_the_scale_of_the_gradients():
    assert SCALE_FREE.keys() | NOT_FREE.keys() == EVERY.keys()
    assert not SCALE_FREE.keys() & NOT_FREE.keys()


def at_scale(make, power, c, start, gradients, name):
    """Trained with all gradients times c."""
    eps = {} if power is None else {"eps": 1e-3 * c**power}
    scaled = [[None if g is None else (g * c).astype(g.dtype) for g in row] for row in gradients]
    return bits(run(lambda ps: make(ps, **eps), start, scaled, name))


@a_few
@given(problems(), st.integers(-8, 8))
def test_the_scale_of_the_gradients_does_not_matter(problem, power_of_two):
    """A power of two changes no bit."""
    start, gradients = problem
    # the squares of entries this small would be rounded away in float32, and their roots with them
    gradients = [
        [None if g is None else np.where(np.abs(g) < 1e-6, 0, g).astype(g.dtype) for g in row] for row in gradients
    ]
    for name, (make, power) in SCALE_FREE.items():
        expected = at_scale(make, power, 1.0, start, gradients, name)
        assert at_scale(make, power, 2.0**power_of_two, start, gradients, name) == expected, name


def test_the_scale_of_the_gradients_matters_to_the_others():
    start, gradients = [np.ones((2, 2))], [[np.full((2, 2), 0.5)], [np.full((2, 2), -0.125)]]
    for name in NOT_FREE:
        results = [at_scale(EVERY[name], None, c, start, gradients, name) for c in (1.0, 1024.0)]
        assert results[0] != results[1], name


# Arrays that are not NumPy's --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_other_arrays_give_the_same_bits(name):
    """The stand-in refuses to be converted, compared to True, or read as a number: as arrays on a device do."""
    pytest.importorskip("tinynet", reason="the stand-in is with the engine's tests")
    stand = runpy.run_path(str(Path(__file__).parents[1] / "engine" / "test_flow.py"))["Stand"]
    rng = np.random.default_rng(0)
    start = [rng.standard_normal(shape).astype("float32") for shape in suited(name, [(3, 2), (4,), (1,)])]
    ours = [SimpleNamespace(data=p.copy(), grad=None) for p in start]
    theirs = [SimpleNamespace(data=stand(p.copy()), grad=None) for p in start]
    optimizer, other = EVERY[name](ours), EVERY[name](theirs, on_nonfinite="ignore")
    for k in range(5):
        for p, q in zip(ours, theirs, strict=True):
            p.grad = None if k == 2 and p is ours[1] else rng.standard_normal(p.data.shape).astype("float32")
            q.grad = None if p.grad is None else stand(p.grad)
        optimizer.step()
        other.step()
        optimizer.eval()
        other.eval()
        assert [p.data.tobytes() for p in ours] == [q.data.host.tobytes() for q in theirs]
        optimizer.train()
        other.train()
    assert all(isinstance(q.data, stand) for q in theirs)
    other.load_state_dict(other.state_dict())


# Of some ----------------------------------------------------------------------------------------------------------------


@many
@given(problems(), st.floats(0, 1))
def test_momentum_zero_is_plain_sgd(problem, lr):
    """Also when momentum is kept, but its schedule says 0."""
    start, gradients = problem
    plain = run(lambda ps: SGD(ps, lr=lr), start, gradients)
    assert bits(run(lambda ps: SGD(ps, lr=lr, momentum=0.0), start, gradients)) == bits(plain)
    for options in ({}, {"dampening": 0.5}, {"nesterov": True}, {"lr_in_buffer": True}):
        kept = run(lambda ps, o=options: SGD(ps, lr=lr, momentum=lambda k: 0.0, **o), start, gradients)
        assert all(np.array_equal(a, b) for a, b in zip(kept, plain, strict=True))


@many
@given(problems())
def test_sgd_is_p_minus_lr_g(problem):
    start, gradients = problem
    expected = [p.copy() for p in start]
    for row in gradients:
        expected = [p if g is None else p - 0.1 * g for p, g in zip(expected, row, strict=True)]
    assert bits(run(lambda ps: SGD(ps, lr=0.1), start, gradients)) == bits(expected)


@many
@given(problems())
def test_while_the_rate_is_constant_it_may_be_inside_the_buffer_or_outside(problem):
    start, gradients = problem
    for make in (with_(SGD, momentum=0.9), with_(SGD, momentum=0.9, nesterov=True), with_(RMSprop, momentum=0.9)):
        outside = run(make, start, gradients)
        inside = run(lambda ps, make=make: make(ps, lr_in_buffer=True), start, gradients)
        assert all(np.allclose(a, b, rtol=1e-4, atol=1e-3) for a, b in zip(inside, outside, strict=True))


@many
@given(problems(steps=1))
def test_first_steps(problem):
    """Adam's family moves by the sign of the gradient times lr, whatever its size; Lion and Rprop do so exactly."""
    start, [gradient] = problem
    start = [np.round(p) for p in start]  # so that p - 0.5 is exact
    for kind in (Adam, AdamW, Adamax, Lion, Rprop):
        moved = run(lambda ps, kind=kind: kind(ps, lr=0.5, weight_decay=0.0), start, [gradient])
        for p, before, g in zip(moved, start, gradient, strict=True):
            large = np.abs(g) > 1e-3
            tolerance = 0 if kind in (Lion, Rprop) else 1e-3
            assert np.allclose((p - before)[large], -0.5 * np.sign(g)[large], rtol=0, atol=tolerance)
            assert np.array_equal(p[g == 0], before[g == 0])


@many
@given(problems(steps=8))
def test_lion_never_moves_an_element_by_more_than_lr(problem):
    start, gradients = problem
    start = [np.round(p) for p in start]
    for p, before in zip(run(lambda ps: Lion(ps, lr=0.5), start, gradients), start, strict=True):
        assert np.all(np.abs(p - before) <= 0.5 * 8)
        assert np.array_equal(2 * p, np.round(2 * p))


@many
@given(problems(steps=6))
def test_rprop_keeps_its_steps_within_their_bounds(problem):
    start, gradients = problem
    ps = [SimpleNamespace(data=p.astype("float64"), grad=None) for p in start]
    opt = Rprop(ps, lr=0.1, step_sizes=(0.05, 0.2))
    for row in gradients:
        before = [p.data.copy() for p in ps]
        for p, g in zip(ps, row, strict=True):
            p.grad = None if g is None else g.astype("float64")
        if any(g is not None for g in row):
            opt.step()
        for p, q in zip(ps, before, strict=True):
            moved = np.abs(p.data - q)
            assert np.all((moved == 0) | ((moved > 0.05 - 1e-9) & (moved < 0.2 + 1e-9)))


@many
@given(problems(steps=6))
def test_the_largest_second_moment_only_grows(problem):
    start, gradients = problem
    for more in ({}, {"debias_max": True}):
        ps = [SimpleNamespace(data=p.copy(), grad=None) for p in start]
        opt, largest = Adam(ps, amsgrad=True, betas=(0.9, 0.5), **more), None
        for row in gradients:
            for p, g in zip(ps, row, strict=True):
                p.grad = g
            if any(g is not None for g in row):
                opt.step()
            now = list(opt.state_dict()["state"]["max_exp_avg_sq"].values())
            assert largest is None or all(np.all(a >= b) for a, b in zip(now, largest, strict=True))
            largest = now


def test_centered_rmsprop_has_no_nan_where_its_variance_is_rounded_below_zero():
    """A constant gradient in float32: PyTorch's parameter is nan after 1221 steps of this."""
    p = SimpleNamespace(data=np.zeros(4, "float32"), grad=None)
    opt = RMSprop([p], lr=1e-6, centered=True)
    for _ in range(3000):
        p.grad = np.array([1.43, 1.53, 1.57, 0.0], "float32")
        opt.step()
    assert np.isfinite(p.data).all()
    assert p.data[3] == 0
