"""What must hold for any parameters and gradients, drawn by Hypothesis."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizers import L1, SGD, Adam, AdamW

MAKERS = {
    "sgd": SGD,
    "momentum": lambda ps, **kw: SGD(ps, momentum=0.9, dampening=0.5, weight_decay=0.1, **kw),
    "nesterov": lambda ps, **kw: SGD(ps, momentum=0.9, nesterov=True, **kw),
    "adam": lambda ps, **kw: Adam(ps, weight_decay=0.1, **kw),
    "adamw": AdamW,
    "adam_l1": lambda ps, **kw: Adam(ps, penalty=L1(0.1), **kw),
}
every_optimizer = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())

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


def run(make, start, gradients):
    """The parameters at the end. A step without any gradient is left out, since it would only warn."""
    ps = [SimpleNamespace(data=p.copy(), grad=None) for p in start]
    opt = make(ps)
    for row in gradients:
        for p, g in zip(ps, row, strict=True):
            p.grad = g
        if any(g is not None for g in row):
            opt.step()
    return [p.data for p in ps]


def bits(arrays):
    return [a.tobytes() for a in arrays]


@every_optimizer
@settings(deadline=None, max_examples=60)
@given(problems())
def test_a_learning_rate_of_zero_changes_no_bit(make, problem):
    start, gradients = problem
    # -0.0 and 0.0 are one number with two patterns of bits; + 0.0 leaves the second
    start = [p + 0.0 for p in start]
    assert bits(run(lambda ps: make(ps, lr=0.0), start, gradients)) == bits(start)


@pytest.mark.parametrize("kind", [Adam, AdamW])
@settings(deadline=None, max_examples=60)
@given(problems(), st.integers(-8, 8))
def test_adam_does_not_see_the_scale_of_the_gradients(kind, problem, power):
    """With eps scaled alike (it is what keeps Adam from being free of scale), a power of two changes no bit."""
    start, gradients = problem
    # the squares of entries this small would be rounded away in float32, and their roots with them
    gradients = [
        [None if g is None else np.where(np.abs(g) < 1e-6, 0, g).astype(g.dtype) for g in row] for row in gradients
    ]
    c = 2.0**power
    scaled = [[None if g is None else (g * c).astype(g.dtype) for g in row] for row in gradients]
    expected = run(lambda ps: kind(ps, lr=0.1, eps=1e-3), start, gradients)
    assert bits(run(lambda ps: kind(ps, lr=0.1, eps=1e-3 * c), start, scaled)) == bits(expected)


@every_optimizer
@settings(deadline=None, max_examples=60)
@given(problems(), st.randoms(use_true_random=False))
def test_the_order_of_the_parameters_does_not_matter(make, problem, random):
    start, gradients = problem
    order = list(range(len(start)))
    random.shuffle(order)
    straight = run(lambda ps: make(ps, lr=0.1), start, gradients)
    shuffled = run(lambda ps: make(ps, lr=0.1), [start[i] for i in order], [[row[i] for i in order] for row in gradients])
    assert bits(shuffled) == bits([straight[i] for i in order])


@settings(deadline=None, max_examples=60)
@given(problems(), st.floats(0, 1))
def test_momentum_zero_is_plain_sgd(problem, lr):
    """Also when momentum is kept, but its schedule says 0."""
    start, gradients = problem
    plain = run(lambda ps: SGD(ps, lr=lr), start, gradients)
    assert bits(run(lambda ps: SGD(ps, lr=lr, momentum=0.0), start, gradients)) == bits(plain)
    kept = run(lambda ps: SGD(ps, lr=lr, momentum=lambda k: 0.0), start, gradients)
    assert all(np.array_equal(a, b) for a, b in zip(kept, plain, strict=True))


@settings(deadline=None, max_examples=60)
@given(problems())
def test_sgd_is_p_minus_lr_g(problem):
    start, gradients = problem
    expected = [p.copy() for p in start]
    for row in gradients:
        expected = [p if g is None else p - 0.1 * g for p, g in zip(expected, row, strict=True)]
    assert bits(run(lambda ps: SGD(ps, lr=0.1), start, gradients)) == bits(expected)


@settings(deadline=None, max_examples=60)
@given(problems(steps=1))
def test_adams_first_step_is_the_sign_times_lr(problem):
    start, [gradient] = problem
    for p, before, g in zip(run(lambda ps: Adam(ps, lr=0.5, eps=1e-12), start, [gradient]), start, gradient, strict=True):
        large = np.abs(g) > 1e-3
        assert np.allclose((p - before)[large], -0.5 * np.sign(g)[large], rtol=0, atol=1e-3)
        assert np.array_equal(p[g == 0], before[g == 0])
