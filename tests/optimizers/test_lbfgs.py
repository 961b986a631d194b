"""L-BFGS: against the theory (n iterations on a quadratic, the dense matrix, the Wolfe conditions), against PyTorch, and
where it cannot work: losses that are not finite, gradients that are not theirs, what it refuses.
"""

import copy
import json
import math
import pickle
import warnings
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import optimizers.line_search
from optimizers import L1, L2, ElasticNet, NonfiniteGradientError
from optimizers.clipping import ClipNorm
from optimizers.landscapes import LANDSCAPES, Landscape, beale, himmelblau, quadratic, rosenbrock, saddle
from optimizers.lbfgs import LBFGS, Place, two_loop
from optimizers.line_search import Trial, cubic_minimum, flat_enough, strong_wolfe, too_high
from optimizers.projections import NonNegative
from optimizers.trajectories import descend

# How often torch.optim.LBFGS (2.13, strong_wolfe, no tolerances) called its closure until the value was 1e-10.
CALLS_OF_TORCH = {
    "rosenbrock": 44,
    "beale": 15,
    "himmelblau": 14,
    "saddle": 13,
    "quadratic-100": 6,
    "quadratic-100-45deg": 11,
}
THOROUGH = {"max_iter": 200, "max_eval": 2000, "tolerance_grad": 1e-12, "tolerance_change": 0.0}


def parameter(values, dtype="float64"):
    return SimpleNamespace(data=np.array(values, dtype), grad=None)


def closure_of(function, *parameters, seen=None):
    """A closure for function(*data) -> (value, gradients); `seen` collects the values."""

    def closure():
        value, gradients = function(*[p.data for p in parameters])
        for p, g in zip(parameters, gradients, strict=True):
            p.grad = g
        if seen is not None:
            seen.append(value)
        return value

    return closure


def on(landscape):
    return lambda x: (landscape.value(x), [landscape.gradient(x)])


def random_quadratic(n, condition, seed):
    """(A, the function x.A.x/2 - b.x, its minimum's place)"""
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.standard_normal((n, n)))
    a, b = turn * np.geomspace(1, condition, n) @ turn.T, rng.standard_normal(n)
    return a, lambda x: (x @ a @ x / 2 - b @ x, [a @ x - b]), np.linalg.solve(a, b)


def two_layers(seed=0):
    """A small smooth function of a matrix and a vector, and where to start."""
    rng = np.random.default_rng(seed)
    x, t = rng.standard_normal((20, 3)), rng.standard_normal(20)

    def function(w, v):
        h = np.tanh(x @ w)
        r = h @ v - t
        return r @ r / 2, [x.T @ (np.outer(r, v) * (1 - h * h)), h.T @ r]

    return function, [0.5 * rng.standard_normal((3, 4)), 0.5 * rng.standard_normal(4)]


def bits(parameters):
    return [p.data.tobytes() for p in parameters]


# The direction --------------------------------------------------------------------------------------------------------


@st.composite
def histories(draw):
    """(history, gradient), as steps on some quadratic would leave them"""
    n, m = draw(st.integers(1, 6)), draw(st.integers(1, 10))
    a, _, _ = random_quadratic(n, draw(st.floats(1, 100)), draw(st.integers(0, 1000)))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    steps = rng.standard_normal((m, n)) * np.exp(rng.standard_normal((m, 1)))
    return [(s, a @ s, 1 / (s @ a @ s)) for s in steps], rng.standard_normal(n)


def dense_bfgs(history, gamma):
    """The inverse Hessian that the pairs make of gamma (Nocedal & Wright 6.17)."""
    h = gamma * np.eye(len(history[0][0]))
    for s, y, rho in history:
        v = np.eye(len(s)) - rho * np.outer(y, s)
        h = v.T @ h @ v + rho * np.outer(s, s)
    return h


@given(histories())
def test_two_loops_multiply_by_the_dense_inverse_hessian(drawn):
    history, gradient = drawn
    s, y, _ = history[-1]
    expected = dense_bfgs(history, gamma=(s @ y) / (y @ y)) @ gradient
    assert two_loop(history, gradient) == pytest.approx(expected, rel=1e-9, abs=1e-9 * np.abs(expected).max())


@given(histories())
def test_the_last_pair_is_kept_exactly(drawn):
    """The secant equation: H y = s."""
    history, _ = drawn
    s, y, _ = history[-1]
    assert two_loop(history, y) == pytest.approx(s, rel=1e-9, abs=1e-9 * np.abs(s).max())


def test_without_a_history_it_is_the_gradient():
    g = np.array([1.0, -2.0])
    assert two_loop([], g).tolist() == [1.0, -2.0]


# The line search ------------------------------------------------------------------------------------------------------


def line(function, error=0.0):
    """phi for a function t -> (value, slope), with a list of the lengths that were asked for."""
    asked = []

    def phi(t):
        asked.append(t)
        value, slope = function(t)
        return Trial(t, value, slope, error, Place(np.array([t], float), value, None, value))

    return phi, asked


@given(st.floats(-10, 10), st.floats(0.1, 10), st.floats(-5, 5), st.floats(-5, 5), st.floats(-3, 3))
def test_a_cubic_is_known_from_two_trials(where, bend, third, a, b):
    """f = bend u^2 + third u^3 with u = t - where has its minimum at u = 0."""

    def function(t):
        u = t - where
        return bend * u**2 + third * u**3, 2 * bend * u + 3 * third * u**2

    a, b = where + a, where + a + math.copysign(abs(b) + 0.1, b)
    phi, _ = line(function)
    assert cubic_minimum(phi(a), phi(b)) == pytest.approx(where, abs=1e-6 * (1 + abs(third / bend)) ** 3)


@pytest.mark.parametrize(
    "function",
    [lambda t: (t, 1.0), lambda t: (t**3 + t, 3 * t**2 + 1), lambda t: (math.nan, 1.0), lambda t: (math.inf, 1.0)],
)
def test_a_cubic_without_a_minimum_is_nan(function):
    phi, _ = line(function)
    assert math.isnan(cubic_minimum(phi(0.0), phi(1.0)))
    assert math.isnan(cubic_minimum(phi(1.0), phi(1.0)))


def more_thuente_1(t):
    return -t / (t * t + 2), (t * t - 2) / (t * t + 2) ** 2


def more_thuente_2(t):
    u = t + 0.004
    return u**5 - 2 * u**4, 5 * u**4 - 8 * u**3


def more_thuente_3(t, b=0.01, waves=39):
    near = abs(t - 1) < b
    value, slope = ((t - 1) ** 2 / (2 * b) + b / 2, (t - 1) / b) if near else (abs(t - 1), math.copysign(1, t - 1))
    angle = waves * math.pi / 2 * t
    return value + 2 * (1 - b) / (waves * math.pi) * math.sin(angle), slope + (1 - b) * math.cos(angle)


def yanai(t, b1, b2):
    c1, c2 = math.sqrt(1 + b1 * b1) - b1, math.sqrt(1 + b2 * b2) - b2
    r1, r2 = math.hypot(1 - t, b2), math.hypot(t, b1)
    return c1 * r1 + c2 * r2, c2 * t / r2 - c1 * (1 - t) / r1


HARD_LINES = {
    "1": more_thuente_1,
    "2": more_thuente_2,
    "3": more_thuente_3,
    "4": partial(yanai, b1=0.001, b2=0.001),
    "5": partial(yanai, b1=0.01, b2=0.001),
    "6": partial(yanai, b1=0.001, b2=0.01),
}


@pytest.mark.parametrize("c2", [0.9, 0.1])
@pytest.mark.parametrize("first", [1e-3, 1e-1, 1e1, 1e3])
@pytest.mark.parametrize("function", HARD_LINES.values(), ids=HARD_LINES.keys())
def test_the_hard_lines_of_more_and_thuente(function, first, c2, monkeypatch):
    """Moré & Thuente 1994, section 5: from far too short and far too long first lengths."""
    monkeypatch.setattr(optimizers.line_search, "C2", c2)
    phi, asked = line(function)
    start = phi(0.0)
    end = strong_wolfe(phi, start, first, optimizers.line_search.SEARCH)
    assert end.value <= start.value + 1e-4 * end.t * start.slope
    assert abs(end.slope) <= c2 * abs(start.slope)
    assert asked[1] == first
    assert len(asked) - 1 <= 19


@given(st.floats(-3, 3), st.floats(-3, 8), st.floats(0.05, 3))
def test_a_parabola_takes_few_evaluations(power, first, bend):
    """Where the cubic is exact, all that is needed is to come near enough."""
    phi, asked = line(lambda t: (bend * (t - 10**power) ** 2, 2 * bend * (t - 10**power)))
    start = phi(0.0)
    end = strong_wolfe(phi, start, 10**first, 25)
    assert flat_enough(end, start)
    assert not too_high(end, start)
    assert len(asked) - 1 <= 3 + abs(power - first)


def test_a_search_stops_asking_when_it_may_not():
    for calls in range(6):
        phi, asked = line(more_thuente_3)
        start = phi(0.0)
        end = strong_wolfe(phi, start, 1e-3, calls)
        assert len(asked) - 1 == calls
        assert end.value <= start.value


def test_out_of_calls_it_answers_the_best_trial():
    """The second trial is past the minimum, and too steep for the second condition: low, but not the end."""
    phi, asked = line(lambda t: ((t - 1) ** 2, 2 * (t - 1)))
    assert strong_wolfe(phi, phi(0.0), 1.95, 1).t == 1.95
    assert strong_wolfe(phi, phi(0.0), 1e-3, 1).t == 1e-3
    assert strong_wolfe(phi, phi(0.0), 3.0, 1).t == 0.0
    assert asked == [0.0, 1.95, 0.0, 1e-3, 0.0, 3.0]


def test_a_plateau_that_misleads_the_cubic_is_found_by_halving():
    """Down a slope to a cliff just before the first length, on top of which it goes down as before: the cubic says every
    time that the minimum is close by. By its tenths alone this would take 37.
    """

    def function(t):
        cliff = (1 + math.tanh(50 * (t - 9.9))) / 2
        return 1000 * cliff - t, 100_000 * cliff * (1 - cliff) - 1

    phi, asked = line(function)
    start = phi(0.0)
    end = strong_wolfe(phi, start, 10.0, 25)
    assert flat_enough(end, start)
    assert len(asked) - 1 <= 14


def test_what_is_not_finite_was_too_far():
    """-log(1 - t) - 2 t beyond t = 1, where there is nothing: the minimum is at 1/2"""
    phi, asked = line(lambda t: (-math.log(1 - t) - 2 * t, 1 / (1 - t) - 2) if t < 1 else (math.inf, math.inf))
    start = phi(0.0)
    end = strong_wolfe(phi, start, 1e6, 25)
    assert 0 < end.t < 1
    assert flat_enough(end, start)
    assert len(asked) - 1 <= 9  # a tenth each time


def test_rounding_does_not_hide_a_minimum_that_the_slopes_show():
    """(t - 1)^2 on top of 1e6 in float32: near the minimum all values are the same, or off by one unit either way."""

    def function(t):
        noise = 0.0625 * (-1) ** int(1000 * t)
        return float(np.float32(1e6)) + noise, 2e-3 * (t - 1)

    phi, asked = line(function, error=0.5)
    start = phi(0.0)
    for first in (1e-3, 0.5, 1.9, 30.0):
        end = strong_wolfe(phi, start, first, 25)
        assert abs(end.slope) <= 0.9 * abs(start.slope)
        assert 0.1 <= end.t <= 1.9
    assert len(asked) < 50


# The walk -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", [10, 1000])
@pytest.mark.parametrize("n", [1, 2, 3, 5, 10, 20])
def test_with_exact_searches_a_quadratic_takes_n_iterations(n, condition, monkeypatch):
    """Nocedal & Wright, theorem 6.4, which asks for everything at once: the direction, its history and the search."""
    monkeypatch.setattr(optimizers.line_search, "C2", 1e-10)
    for seed in range(3):
        _, function, minimum = random_quadratic(n, condition, seed)
        p = parameter(np.zeros(n))
        opt = LBFGS([p], max_iter=n, max_eval=10_000, tolerance_grad=0, tolerance_change=0)
        opt.step(closure_of(function, p))
        assert p.data == pytest.approx(minimum, abs=1e-7)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 10, 20])
def test_with_the_usual_searches_a_quadratic_takes_few_more(n):
    for seed in range(5):
        a, function, minimum = random_quadratic(n, 10, seed)
        p = parameter(np.zeros(n))
        opt = LBFGS([p], max_iter=n + 8, tolerance_change=0)
        opt.step(closure_of(function, p))
        assert np.abs(a @ (p.data - minimum)).max() < 1e-5
        assert opt.evaluations <= n + 8 + 5


def calls_to(landscape, make, **options):
    """How often the closure is called until the value is within 1e-10 of the minimum."""
    p, seen = parameter(landscape.start), []
    make([p], **{**THOROUGH, **options}).step(closure_of(on(landscape), p, seen=seen))
    assert np.abs(p.data - landscape.minima).max(axis=1).min() < 1e-6
    return 1 + next(i for i, value in enumerate(seen) if value - landscape.minimum <= 1e-10)


@pytest.mark.parametrize("name", CALLS_OF_TORCH)
def test_evaluations_against_those_of_torch(name):
    assert calls_to(LANDSCAPES[name], LBFGS) <= 1.25 * CALLS_OF_TORCH[name]


@pytest.mark.parametrize("name", CALLS_OF_TORCH)
def test_the_recorded_evaluations_are_those_of_torch(name):
    torch = pytest.importorskip("torch", reason="remakes the record; the comparison with it needs no torch")
    landscape, seen = LANDSCAPES[name], []
    x = torch.tensor(landscape.start.copy(), requires_grad=True)
    opt = torch.optim.LBFGS([x], line_search_fn="strong_wolfe", **THOROUGH)

    def closure():
        at = x.detach().numpy()
        x.grad = torch.from_numpy(landscape.gradient(at))
        seen.append(float(landscape.value(at)))
        return torch.tensor(seen[-1])

    opt.step(closure)
    calls = 1 + next(i for i, value in enumerate(seen) if value - landscape.minimum <= 1e-10)
    assert calls == pytest.approx(CALLS_OF_TORCH[name], abs=3)  # the last digits of its sums differ between machines
    p = parameter(landscape.start)
    LBFGS([p], **THOROUGH).step(closure_of(on(landscape), p))
    assert p.data == pytest.approx(x.detach().numpy(), abs=1e-6)


def test_without_a_line_search_it_walks_as_torch_does():
    torch = pytest.importorskip("torch", reason="compares with PyTorch directly; the other tests need no torch")
    _, function, _ = random_quadratic(4, 10, seed=3)
    p, x = parameter(np.ones(4)), torch.ones(4, dtype=torch.float64, requires_grad=True)
    options = {"lr": 0.5, "max_iter": 4, "max_eval": 100, "tolerance_grad": 0, "tolerance_change": 0}
    ours = LBFGS([p], line_search_fn=None, **options)
    theirs = torch.optim.LBFGS([x], **options)
    of_torch = SimpleNamespace(data=None, grad=None)

    def closure():
        of_torch.data = x.detach().numpy()
        value = closure_of(function, of_torch)()
        x.grad = torch.from_numpy(of_torch.grad)
        return torch.tensor(value)

    for _ in range(5):
        ours.step(closure_of(function, p))
        theirs.step(closure)
        assert p.data == pytest.approx(x.detach().numpy(), rel=1e-9)


def test_rosenbrock_is_done_in_two_steps():
    walk = descend(rosenbrock, LBFGS, steps=2)
    assert walk.values[-1] <= 1e-10
    assert walk.positions[-1] == pytest.approx([1, 1], abs=1e-5)


@pytest.mark.parametrize("landscape", [rosenbrock, beale, himmelblau, saddle, quadratic(1000)], ids=lambda f: f.name)
def test_every_iteration_fulfils_both_wolfe_conditions(landscape):
    """... with the numbers of the book, and every point along the way is one that was evaluated."""
    rng = np.random.default_rng(0)
    (left, right), (low, high) = landscape.bounds
    for start in [landscape.start, *rng.uniform((left, low), (right, high), (10, 2))]:
        walk = descend(landscape, partial(LBFGS, max_iter=1), steps=25, start=start)
        iterations = 0
        for before, after in zip(walk.positions[:-1], walk.positions[1:], strict=True):
            s, old, new = after - before, landscape.gradient(before), landscape.gradient(after)
            if np.abs(old).max() < 1e-5:  # from here on rounding has its say
                break
            iterations += 1
            assert old @ s < 0
            assert landscape(after) <= landscape(before) + 1e-4 * (old @ s)
            assert abs(new @ s) <= 0.9 * abs(old @ s)
        assert iterations >= 2


def test_one_step_of_many_iterations_is_many_steps_of_one():
    function, start = two_layers()
    at_once, one_by_one = [parameter(v) for v in start], [parameter(v) for v in start]
    options = {"tolerance_change": 0.0, "tolerance_grad": 0.0, "history_size": 4, "max_eval": 1000}
    LBFGS(at_once, max_iter=12, **options).step(closure_of(function, *at_once))
    opt = LBFGS(one_by_one, max_iter=1, **options)
    for _ in range(12):
        opt.step(closure_of(function, *one_by_one))
    assert bits(one_by_one) == bits(at_once)
    assert opt.steps == 12
    assert opt.state_dict()["updates"] == {"parameter 0": 12, "parameter 1": 12}


@given(st.integers(-80, 80), st.integers(0, 50))
def test_the_scale_of_the_loss_does_not_matter(power, seed):
    """A power of two changes no bit: in the direction it cancels, and conditions compare like with like. (Only the very
    first length does not scale, if the sum of all |g| is below 1.)
    """
    function, start = two_layers(seed)

    def walk(scale):
        ps = [parameter(v) for v in start]
        opt = LBFGS(ps, lr=1.0, max_iter=6, max_eval=500, tolerance_grad=0, tolerance_change=0)
        opt.history.append(pair(scale))
        opt.step(closure_of(lambda *data: scaled(function(*data), scale), *ps))
        return bits(ps)

    def scaled(answer, scale):
        value, gradients = answer
        return scale * value, [scale * g for g in gradients]

    def pair(scale):
        s = np.linspace(0.1, 0.2, 16)
        return s, scale * s, 1 / (scale * (s @ s))

    assert walk(2.0**power) == walk(1.0)


def test_float32_stays_float32_and_arrives():
    for landscape in (rosenbrock, beale, himmelblau):
        p = parameter(landscape.start, "float32")
        opt = LBFGS([p])
        for _ in range(4):
            opt.step(closure_of(on(landscape), p))
        assert p.data.dtype == np.float32
        assert all(s.dtype == y.dtype == np.float32 for s, y, _ in opt.history)
        assert np.abs(p.data - landscape.minima).max(axis=1).min() < 1e-5


@pytest.mark.parametrize(
    ("dtype", "rise", "taken"), [("float64", 1e-10, False), ("float32", 1e-7, True), ("float32", 1e-6, False)]
)
def test_only_what_rounding_can_do_is_forgiven(dtype, rise, taken):
    """At the first trial, u = 1, the value is 1 + rise, and flat enough; in between it is below 1."""
    b = 0.5 + 2e6 * rise
    a = b + 1 + 1e6 * rise

    def function(x):
        u = 1e3 * float(x[0])
        return np.dtype(dtype).type(1 + 1e-6 * (-u + a * u**2 - b * u**3)), [
            1e-3 * np.array([-1 + 2 * a * u - 3 * b * u**2], dtype)
        ]

    p = parameter([0.0], dtype)
    opt = LBFGS([p], max_iter=1)
    opt.step(closure_of(function, p))
    assert (p.data[0] == np.dtype(dtype).type(1e-3)) == taken


def test_float32_at_the_end_of_its_digits_stays_there_quietly():
    """On top of 1000 the decrease that is left cannot be seen; that is no reason to warn or to go on for ever."""
    p, seen = parameter(rosenbrock.start, "float32"), []
    opt = LBFGS([p])
    for _ in range(30):
        opt.step(closure_of(lambda x: (1000 + rosenbrock(x), [rosenbrock.gradient(x)]), p, seen=seen))
    assert np.abs(p.data - 1).max() < 0.01
    assert len(seen) < 30 * 10


def test_a_batch_of_starts_is_each_start_alone():
    starts = np.array([[-1.2, 1.0], [2.0, 2.0]])
    walk = descend(rosenbrock, partial(LBFGS, max_iter=3), 4, starts)
    for i, start in enumerate(starts):
        alone = descend(rosenbrock, partial(LBFGS, max_iter=3), 4, start)
        assert walk.positions[:, i].tobytes() == alone.positions.tobytes()


def test_lr_is_the_first_length_to_try():
    lengths = []
    for lr in (1.0, 0.25):
        p, places = parameter([3.0, 4.0]), []

        def closure(p=p, places=places):
            places.append(p.data.copy())
            p.grad = 2 * p.data
            return p.data @ p.data

        LBFGS([p], lr=lr, max_iter=1).step(closure)
        lengths.append(np.abs(places[1] - places[0]).sum())
    assert lengths == pytest.approx([1.0, 0.25])  # sum |g| times min(1, 1 / sum |g|)


def test_lr_zero_moves_nothing_and_lr_may_be_a_schedule():
    p = parameter(rosenbrock.start)
    opt = LBFGS([p], lr=lambda k: float(k > 0))
    assert opt.step(closure_of(on(rosenbrock), p)) == pytest.approx(24.2)
    assert p.data.tobytes() == rosenbrock.start.tobytes()
    assert (opt.steps, opt.lr) == (1, 1.0)
    opt.step(closure_of(on(rosenbrock), p))
    assert rosenbrock(p.data) < 1


def test_tolerances_end_a_step():
    def iterations(**tolerances):
        p = parameter(rosenbrock.start)
        opt = LBFGS([p], **{**THOROUGH, "tolerance_grad": 0, "history_size": 1000, **tolerances})
        opt.step(closure_of(on(rosenbrock), p))
        return len(opt.history), p.data

    everything, _ = iterations()
    some, x = iterations(tolerance_grad=1e-2)
    assert some < everything
    assert np.abs(rosenbrock.gradient(x)).max() <= 1e-2
    few, x = iterations(tolerance_change=0.5)
    assert few < some
    assert rosenbrock(x) > 0.1


@pytest.mark.parametrize(
    ("curvature", "size"), [(1e12, 1e-6), (1e-12, 1.0)], ids=["x changes little", "the loss changes little"]
)
def test_either_change_ends_a_step(curvature, size):
    def iterations(tolerance):
        a, _, _ = random_quadratic(5, 10, seed=0)
        p = parameter(np.full(5, size))
        opt = LBFGS([p], max_iter=4, max_eval=200, tolerance_grad=0, tolerance_change=tolerance)
        opt.step(closure_of(lambda x: (curvature * (x @ a @ x), [2 * curvature * (a @ x)]), p))
        return len(opt.history)

    assert iterations(0.0) == 4
    assert iterations(1e-5) == 1


# Parameters, gradients, penalties -------------------------------------------------------------------------------------


def test_a_step_answers_the_first_loss_as_a_float():
    for answer in (float, np.float32, np.array, lambda v: np.array([v]), lambda v: np.array([[v]])):
        p = parameter([3.0, 4.0])

        def closure(p=p, answer=answer):
            p.grad = p.data.copy()
            return answer(p.data @ p.data / 2)

        loss = LBFGS([p], weight_decay=0.1).step(closure)
        assert type(loss) is float
        assert loss == 12.5


def test_several_parameters_are_one_vector():
    """Cut in pieces of any shape, with one that has no gradient in between."""
    _, function, _ = random_quadratic(6, 100, seed=1)
    whole = parameter(np.arange(6.0))
    pieces = [parameter([[0.0, 1.0], [2.0, 3.0]]), parameter([7.0, 7.0]), parameter(4.0), parameter([5.0])]

    def in_pieces():
        used = [pieces[0], pieces[2], pieces[3]]
        value, [g] = function(np.concatenate([p.data.ravel() for p in used]))
        for p, part in zip(used, np.split(g, [4, 5]), strict=True):
            p.grad = part.reshape(p.data.shape)
        return value

    LBFGS([whole], max_iter=5).step(closure_of(function, whole))
    opt = LBFGS(pieces, max_iter=5)
    opt.step(in_pieces)
    assert np.concatenate([p.data.ravel() for p in pieces]) == pytest.approx(np.insert(whole.data, 4, [7, 7]), rel=1e-10)
    assert pieces[1].data.tolist() == [7.0, 7.0]
    assert opt.state_dict()["updates"] == {"parameter 0": 1, "parameter 1": 0, "parameter 2": 1, "parameter 3": 1}


def test_a_gradient_that_is_no_longer_given_is_zero():
    first, second = parameter([1.0]), parameter([1.0])
    opt = LBFGS([first, second], max_iter=1, line_search_fn=None)
    opt.step(closure_of(lambda a, b: (a @ a + b @ b, [2 * a, 2 * b]), first, second))
    opt.history.clear()
    before = second.data.copy()
    opt.step(closure_of(lambda a: (a @ a, [2 * a]), first))
    assert second.data.tolist() == before.tolist()


def test_a_closure_without_zero_grad_does_no_harm():
    """... although gradients are added up, as an engine does."""
    p, twin = parameter(rosenbrock.start), parameter(rosenbrock.start)

    def adding():
        g = rosenbrock.gradient(p.data)
        p.grad = g if p.grad is None else p.grad + g
        return rosenbrock.value(p.data)

    LBFGS([p]).step(adding)
    LBFGS([twin]).step(closure_of(on(rosenbrock), twin))
    assert bits([p]) == bits([twin])


def test_a_new_array_in_data_is_taken_back():
    p, twin = parameter([0.0, 0.0]), parameter(rosenbrock.start)
    opt = LBFGS([p])
    view = p.data
    p.data = rosenbrock.start.copy()
    opt.step(closure_of(on(rosenbrock), p))
    LBFGS([twin]).step(closure_of(on(rosenbrock), twin))
    assert p.data is view
    assert bits([p]) == bits([twin])


def test_warns_once_if_no_parameter_has_a_gradient():
    p = parameter([1.0])
    opt = LBFGS([p])
    with pytest.warns(UserWarning, match=r"no parameter has a gradient.*backward\(\)") as caught:
        assert opt.step(lambda: 3.0) == 3.0
    assert caught[0].filename == __file__
    opt.step(lambda: 3.0)
    assert (p.data.tolist(), opt.steps) == ([1.0], 0)


def test_the_versions_of_parameters_go_up():
    p = SimpleNamespace(data=np.ones(2), grad=None, version=0)
    opt = LBFGS([p], max_iter=2)
    opt.step(closure_of(lambda x: (x @ x, [2 * x]), p))
    assert p.version >= opt.evaluations


def logistic_data(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((80, 3))
    t = (x @ [1.0, -2.0, 0.5] + 0.3 + rng.logistic(size=80) > 0).astype(float)
    return x, t


def logistic(x, t):
    def function(w, b):
        z = x @ w + b
        return np.sum(np.logaddexp(0, z) - t * z), [x.T @ (1 / (1 + np.exp(-z)) - t), np.sum(1 / (1 + np.exp(-z)) - t)]

    return function


def newton(x, t, strength):
    """The optimum of the logistic loss + strength/2 |w|^2 by Newton's method (Bishop 2006, section 4.3.3)."""
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    w, decay = np.zeros(4), np.array([strength, strength, strength, 0])
    for _ in range(20):
        s = 1 / (1 + np.exp(-x @ w))
        w = w - np.linalg.solve(x.T * (s * (1 - s)) @ x + np.diag(decay), x.T @ (s - t) + decay * w)
    return w


@pytest.mark.parametrize("strength", [0.0, 2.0])
def test_logistic_regression_ends_where_newton_does(strength):
    """Its penalty is for the weights only: the intercept has a slab of its own."""
    x, t = logistic_data()
    w, b = parameter(np.zeros(3)), parameter(0.0)
    penalty = L2(strength, only=lambda name, data: data.ndim > 0)
    opt = LBFGS([("w", w), ("b", b)], penalty=penalty, max_iter=100, tolerance_grad=1e-10, tolerance_change=0)
    opt.step(closure_of(logistic(x, t), w, b))
    assert [*w.data, b.data] == pytest.approx(newton(x, t, strength), abs=1e-10)
    assert opt.evaluations < 30


def test_logistic_regression_ends_where_scikit_learn_does():
    sk = pytest.importorskip("sklearn.linear_model", reason="the test against Newton's method needs no scikit-learn")
    x, t = logistic_data(seed=1)
    w, b = parameter(np.zeros(3)), parameter(0.0)
    opt = LBFGS([("w", w), ("b", b)], penalty=L2(0.5, only=lambda name, data: name == "w"), max_iter=100)
    for _ in range(3):
        opt.step(closure_of(logistic(x, t), w, b))
    theirs = sk.LogisticRegression(C=2.0, tol=1e-12, max_iter=1000).fit(x, t)
    assert [*w.data, b.data] == pytest.approx([*theirs.coef_[0], *theirs.intercept_], abs=1e-5)


def test_weight_decay_is_an_l2_penalty_and_ridge_regression_has_a_formula():
    a, function, _ = random_quadratic(5, 10, seed=2)
    ends = []
    for options in ({"weight_decay": 0.7}, {"penalty": L2(0.7)}, {"penalty": ElasticNet(0, 0.7, mode="coupled")}):
        p = parameter(np.zeros(5))
        opt = LBFGS([p], max_iter=50, tolerance_grad=1e-12, tolerance_change=0, **options)
        opt.step(closure_of(function, p))
        ends.append(p.data)
        assert opt.penalty_value() == pytest.approx(0.35 * (p.data @ p.data))
    b = -function(np.zeros(5))[1][0]
    for end in ends:
        assert end == pytest.approx(np.linalg.solve(a + 0.7 * np.eye(5), b), abs=1e-10)


# The history ----------------------------------------------------------------------------------------------------------


def test_no_more_pairs_are_kept_than_allowed_and_they_are_the_last():
    function, start = two_layers()
    kept = {}
    for size in (3, 100):
        ps = [parameter(v) for v in start]
        opt = LBFGS(ps, max_iter=3, history_size=size, tolerance_change=0)
        opt.step(closure_of(function, *ps))
        opt.step(closure_of(function, *ps))
        kept[size] = opt
    assert len(kept[3].history) == 3
    assert len(kept[100].history) == 6
    before = [p.data.copy() for p in ps]
    opt.step(closure_of(function, *ps))
    moved = sum(s for s, _, _ in list(opt.history)[-3:])
    assert moved == pytest.approx(np.concatenate([(p.data - v).ravel() for p, v in zip(ps, before, strict=True)]))


def test_a_history_that_is_cut_short_goes_on_with_what_is_left():
    function, start = two_layers()
    ps = [parameter(v) for v in start]
    opt = LBFGS(ps, max_iter=5, tolerance_change=0)
    opt.step(closure_of(function, *ps))
    last = opt.history[-1]
    opt.param_groups[0].update(history_size=2, max_iter=1)
    opt.step(closure_of(function, *ps))
    assert len(opt.history) == 2
    assert opt.history[0] is last


def test_pairs_without_positive_curvature_are_not_kept():
    """Down a hill that gets steeper, s . y < 0: remembered, it would send the next iteration up."""
    p = parameter([0.5])
    opt = LBFGS([p], lr=0.1, max_iter=1, line_search_fn=None)
    path = [0.5]
    for _ in range(6):
        opt.step(closure_of(lambda x: (np.cos(x[0]), [-np.sin(x)]), p))
        path.append(p.data.item())
        assert all(s @ y > 0 for s, y, _ in opt.history)
    assert path == sorted(path)
    assert not opt.history  # not yet past the steepest point


def test_a_pair_at_the_edge_of_rounding_is_not_kept():
    opt = LBFGS([parameter([0.0, 0.0])])
    s = np.array([1.0, 0.0])
    opt._remember(s, np.array([1e-17, 1.0]))
    opt._remember(s, np.array([0.0, 0.0]))
    opt._remember(0 * s, s)
    assert not opt.history
    opt._remember(s, np.array([1e-6, 1.0]))
    assert len(opt.history) == 1


def test_a_history_that_sends_it_up_is_forgotten():
    p = parameter([1.0, 1.0])
    opt = LBFGS([p], max_iter=1)
    s = np.array([1.0, 0.0])
    opt.history.append((s, -s, -1.0))
    opt.step(closure_of(lambda x: (x @ x, [2 * x]), p))
    assert p.data @ p.data < 2
    assert all(rho > 0 for *_, rho in opt.history)


def test_a_history_of_another_function_is_forgotten_if_it_leads_nowhere():
    """The pair says that the valley is 1e40 times as wide: so many lengths are not tried."""
    p = parameter([1.0, 1.0])
    opt = LBFGS([p], max_iter=30)
    s = np.array([1.0, 1.0])
    opt.history.append((s, 1e-40 * s, 1 / 2e-40))
    opt.step(closure_of(lambda x: (x @ x, [2 * x]), p))
    assert p.data == pytest.approx([0, 0], abs=1e-5)


# Where it cannot work -------------------------------------------------------------------------------------------------


def domain(x):
    """x - log x, which there is for x > 0 only; its minimum is at 1."""
    with np.errstate(all="ignore"):
        return float(x[0] - np.log(x[0])), [1 - 1 / x]


def test_trials_where_there_is_no_loss_are_stepped_back_from():
    for start in (30.0, 1e-3):
        p = parameter([start])
        LBFGS([p], lr=100.0, max_iter=60).step(closure_of(domain, p))
        assert p.data == pytest.approx([1.0], abs=1e-4)


@pytest.mark.parametrize(
    ("value", "gradient", "message"),
    [
        (math.nan, [1.0, 1.0], "the loss is nan at step 1; nothing was changed. Look for.*on_nonfinite='skip'"),
        (math.inf, [1.0, 1.0], "the loss is inf at step 1; nothing was changed"),
        (-math.inf, [1.0, 1.0], "the loss is -inf at step 1"),
        (1.0, [math.nan, 1.0], "the gradient of 'ill' has a nan at step 1; nothing was changed"),
        (1.0, [1.0, math.inf], "the gradient of 'ill' has an infinity at step 1"),
    ],
)
def test_a_start_that_is_not_finite_raises_and_names_it(value, gradient, message):
    good, ill = parameter([1.0]), parameter([1.0, 2.0])
    opt = LBFGS([("good", good), ("ill", ill)])
    with pytest.raises(NonfiniteGradientError, match=message):
        opt.step(closure_of(lambda a, b: (value, [a, np.array(gradient)]), good, ill))
    assert (good.data.tolist(), ill.data.tolist()) == ([1.0], [1.0, 2.0])
    assert (opt.steps, opt.skipped, opt.evaluations) == (0, 0, 1)


def cliff(x):
    """A slope down to the right that ends in nothing at 0, at every distance."""
    return (1.0, [np.array([-1.0])]) if x[0] <= 0 else (1.0, [np.array([math.nan])])


def test_if_all_trials_fail_it_raises_and_is_back_where_it_was():
    p = parameter([0.0])
    opt = LBFGS([("w", p)])
    with pytest.raises(NonfiniteGradientError, match=r"gradient of 'w' has a nan at step 1; .* best point seen\. Look"):
        opt.step(closure_of(cliff, p))
    assert p.data.tolist() == [0.0]
    assert opt.evaluations == 1 + optimizers.line_search.SEARCH


def test_skip_counts_the_step_and_stays_at_the_best_point():
    p = parameter([0.0])
    opt = LBFGS([p], on_nonfinite="skip")
    assert opt.step(closure_of(cliff, p)) == 1.0
    assert (p.data.tolist(), opt.steps, opt.skipped) == ([0.0], 0, 1)
    opt.step(closure_of(lambda x: (x @ x - x[0], [2 * x - 1]), p))
    assert (opt.steps, opt.skipped) == (1, 1)


def test_without_a_line_search_what_is_not_finite_brings_it_back_to_the_best_point():
    """Steps of 2.5 on x^2 go from side to side and ever farther out, where there is nan beyond 20."""
    seen = []

    def function(x):
        seen.append(x[0])
        return (x[0] ** 2 if abs(x[0]) < 20 else math.nan), [2 * x]

    p = parameter([1.0])
    opt = LBFGS([p], lr=2.5, line_search_fn=None, max_iter=50)
    with pytest.raises(
        NonfiniteGradientError, match="the loss is nan at step 1; the parameters are at the best point seen"
    ):
        opt.step(closure_of(function, p))
    best = min(seen[:-1], key=abs)
    assert p.data.tolist() == [best]
    assert abs(seen[-2]) > abs(best)


def test_a_closure_that_raises_leaves_the_best_point():
    p, values = parameter(rosenbrock.start), []

    def closure():
        if len(values) == 10:
            raise KeyboardInterrupt
        p.grad = rosenbrock.gradient(p.data)
        values.append(rosenbrock(p.data))
        return values[-1]

    opt = LBFGS([p])
    with pytest.raises(KeyboardInterrupt):
        opt.step(closure)
    assert rosenbrock(p.data) == min(values)
    assert opt.evaluations == 11


def test_a_walk_that_ends_in_nothing_has_diverged():
    left = Landscape(
        "cliff",
        lambda x, y: np.where(x <= 0, 1.0, np.nan),
        lambda x, y: (0 * x - 1, 0 * y),
        [(0, 0)],
        ((-1, 1), (-1, 1)),
        (0, 0),
        "",
    )
    assert descend(left, LBFGS, steps=3).diverged


def wrong_sign(x):
    return x @ x, [-2 * x]


def flat(x):
    return 5.0, [np.ones_like(x)]


def drawn_anew(x, stream=np.random.default_rng(0)):  # noqa: B008
    return 10 + stream.standard_normal() * 5 + x @ x, [2e-3 * x]


def jump(x):
    return (1.0 if x[0] >= 1 else 2.0), [np.array([1.0])]


@pytest.mark.parametrize("function", [wrong_sign, flat, jump])
def test_where_the_gradient_promises_too_much_it_warns_once_and_stays(function):
    p = parameter([1.0])
    opt = LBFGS([p], max_iter=200, max_eval=10_000)
    with pytest.warns(UserWarning, match=r"LBFGS found no lower loss.*its sign.*one batch, no dropout.*kink") as caught:
        opt.step(closure_of(function, p))
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert p.data.tolist() == [1.0]
    assert opt.evaluations <= 1 + optimizers.line_search.SEARCH
    opt.step(closure_of(function, p))  # a second warning would be an error here
    assert opt.steps == 2


def test_a_loss_that_is_drawn_anew_ends_all_the_same():
    p = parameter([1.0, 2.0])
    opt = LBFGS([p], tolerance_change=0, tolerance_grad=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(50):
            opt.step(closure_of(drawn_anew, p))
    assert len(caught) <= 1
    assert opt.evaluations <= 50 * 45
    assert np.isfinite(p.data).all()


def test_a_fault_that_was_stepped_back_from_is_forgotten():
    """The first search meets nan and gets around it; the next is stuck for another reason, and that is what is said."""
    met = []

    def function(x):
        met.append(abs(x[0]) > 20)
        if met[-1]:
            return math.nan, [x]
        return np.cosh(x[0]), [np.sinh(x) * (-1 if abs(x[0]) < 0.99 else 1)]

    p = parameter([1.0])
    opt = LBFGS([p], lr=40.0, max_eval=100)
    with pytest.warns(UserWarning, match="its sign"):
        opt.step(closure_of(function, p))
    assert any(met)
    assert 0 < abs(p.data[0]) < 0.99
    assert opt.steps == 1


def test_a_length_below_all_digits_ends_a_step():
    p = parameter([1.0])
    opt = LBFGS([p], lr=1e-30, line_search_fn=None, tolerance_change=0)
    opt.step(closure_of(lambda x: (x @ x, [2 * x]), p))
    assert (p.data.tolist(), opt.evaluations) == ([1.0], 2)


def test_kinks_are_no_endless_loop():
    """Where a step ends at one kink, the next goes on along it; it may warn."""
    p = parameter([3.7, -2.2])
    opt = LBFGS([p], max_iter=50)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(6):
            opt.step(closure_of(lambda x: (np.abs(x).sum(), [np.sign(x)]), p))
    assert np.abs(p.data).sum() < 1e-4
    assert opt.evaluations <= 6 * 82


def test_a_loss_without_a_lower_bound_is_no_endless_loop():
    p = parameter([0.0])
    opt = LBFGS([p])
    opt.step(closure_of(lambda x: (-x[0], [-np.ones(1)]), p))
    assert p.data[0] > 1e6
    assert opt.evaluations <= 45


def test_a_small_max_eval_is_kept_and_says_so_only_if_nothing_moves():
    for limit in range(5, 25):
        p = parameter(rosenbrock.start)
        opt = LBFGS([p], max_eval=limit)
        for k in range(3):
            opt.step(closure_of(on(rosenbrock), p))  # a warning would be an error
            assert opt.evaluations <= limit * (k + 1)
            assert opt.history  # also if a search was cut off
        p = parameter([1.0, 1.0])
        opt = LBFGS([p], lr=0.5, line_search_fn=None, max_eval=limit, tolerance_change=0)
        opt.step(closure_of(lambda x: (x @ x, [2 * x]), p))
        assert opt.evaluations == min(limit, 21)
    p = parameter([1.0])
    opt = LBFGS([p], lr=1e6, max_eval=3)  # far too long a first length
    with pytest.warns(UserWarning, match="Is max_eval too small for a line search"):
        opt.step(closure_of(lambda x: (x @ x, [2 * x]), p))


def test_at_the_minimum_it_stays_without_a_word():
    for landscape in (rosenbrock, himmelblau):
        p = parameter(landscape.minima[0])
        opt = LBFGS([p])
        opt.step(closure_of(on(landscape), p))
        assert p.data.tolist() == landscape.minima[0].tolist()
        assert opt.evaluations == 1


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e150])
def test_sums_of_squares_that_overflow_or_vanish_do_no_harm(scale):
    p = parameter([1.0, 1.0])
    opt = LBFGS([p], tolerance_grad=0, tolerance_change=0)
    opt.step(closure_of(lambda x: (scale * (x @ x), [2 * scale * x]), p))
    assert np.isfinite(p.data).all()
    assert p.data @ p.data <= 2


# States ---------------------------------------------------------------------------------------------------------------


def named(parameters):
    return [(f"layer.{i}", p) for i, p in enumerate(parameters)]


def through_json(state):
    return {**json.loads(json.dumps({k: v for k, v in state.items() if k != "state"})), "state": state["state"]}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "options", [{}, {"line_search_fn": None, "lr": 0.05}, {"penalty": L2(0.1, only=lambda n, p: p.ndim > 1)}]
)
def test_a_saved_state_goes_on_with_the_same_bits(options, dtype):
    function, start = two_layers()
    options = {"max_iter": 2, "history_size": 5, "tolerance_change": 0.0, **options}

    def closure(ps):
        return closure_of(lambda *data: ((f := function(*data))[0], [g.astype(dtype) for g in f[1]]), *ps)

    ps = [parameter(v, dtype) for v in start]
    opt = LBFGS(named(ps), **options)
    for steps in range(5):  # from an empty history to a full one
        saved = through_json(opt.state_dict())
        later = [SimpleNamespace(data=p.data.copy(), grad=None) for p in ps]
        resumed = LBFGS(named(later), **options)
        resumed.load_state_dict(saved)
        straight = copy.deepcopy((ps, opt))
        for _ in range(3):
            straight[1].step(closure(straight[0]))
            resumed.step(closure(later))
        assert bits(later) == bits(straight[0])
        assert pickle.dumps(resumed.state_dict()) == pickle.dumps(straight[1].state_dict())
        assert resumed.steps == steps + 3
        opt.step(closure(ps))
    assert len(opt.history) == 5


def test_the_state_names_the_pairs_from_the_oldest_on():
    function, start = two_layers()
    ps = [parameter(v) for v in start]
    opt = LBFGS(named(ps), max_iter=2, tolerance_change=0)
    assert opt.state_dict()["state"] == {}
    opt.step(closure_of(function, *ps))
    saved = opt.state_dict()
    assert list(saved["state"]) == ["s_0", "y_0", "s_1", "y_1"]
    assert [v.shape for v in saved["state"]["y_1"].values()] == [(3, 4), (4,)]
    moved = saved["state"]["s_0"]["layer.0"] + saved["state"]["s_1"]["layer.0"]
    assert moved == pytest.approx(ps[0].data - start[0])
    assert saved["evaluations"] == opt.evaluations
    assert saved["hyper"] == [
        {
            "lr": 1.0,
            "weight_decay": 0.0,
            "max_iter": 2,
            "max_eval": None,
            "tolerance_grad": 1e-7,
            "tolerance_change": 0.0,
            "history_size": 100,
            "line_search_fn": "strong_wolfe",
        }
    ]


def test_a_state_is_a_copy_both_ways():
    function, start = two_layers()
    ps = [parameter(v) for v in start]
    opt = LBFGS(ps, max_iter=2, tolerance_change=0)
    opt.step(closure_of(function, *ps))
    saved = opt.state_dict()
    frozen = pickle.dumps(saved)
    opt.load_state_dict(saved)
    opt.history[0][0][:] = 7.0
    opt.step(closure_of(function, *ps))
    assert pickle.dumps(saved) == frozen


def test_settings_come_with_the_state():
    p = parameter(rosenbrock.start)
    opt = LBFGS([p], lr=0.5, max_iter=np.int64(3), tolerance_grad=1, history_size=7)
    saved = through_json(opt.state_dict())
    other = LBFGS([parameter([0.0, 0.0])])
    other.load_state_dict(saved)
    assert other.state_dict()["hyper"] == saved["hyper"]
    assert (other.lr, other.param_groups[0]["max_iter"]) == (0.5, 3)


def damaged_states():
    function, start = two_layers()
    ps = [parameter(v) for v in start]
    opt = LBFGS(named(ps), max_iter=2, tolerance_change=0)
    opt.step(closure_of(function, *ps))

    def without(key, name=None):
        saved = copy.deepcopy(opt.state_dict())
        (saved["state"] if name is None else saved["state"][key]).pop(key if name is None else name)
        return saved

    reshaped = copy.deepcopy(opt.state_dict())
    reshaped["state"]["s_1"]["layer.1"] = np.zeros(5)
    return [
        (without("y_1"), "the state has no y_1 of 'layer.0'"),
        (without("s_0"), "the state has no s_0|this optimizer has no s_1|this optimizer has no y_1"),
        (without("s_1", "layer.1"), "the state has no s_1 of 'layer.1'"),
        (reshaped, r"s_1 of 'layer.1': this optimizer has shape \(4,\), the state \(5,\)"),
        ({**opt.state_dict(), "optimizer": "Adam"}, "the state is of Adam, this optimizer is LBFGS"),
        ({**opt.state_dict(), "updates": {"w": 1}}, "the state is of other parameters"),
    ]


@pytest.mark.parametrize(("saved", "message"), damaged_states())
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(saved, message):
    function, start = two_layers(seed=5)
    ps = [parameter(v) for v in start]
    opt = LBFGS(named(ps), max_iter=3, tolerance_change=0)
    opt.step(closure_of(function, *ps))
    before = pickle.dumps(opt.state_dict())
    with pytest.raises(ValueError, match=message):
        opt.load_state_dict(saved)
    assert pickle.dumps(opt.state_dict()) == before


def test_a_copy_goes_its_own_way():
    for clone in (copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))):
        p = parameter(rosenbrock.start)
        opt = LBFGS([p], max_iter=5)
        opt.step(closure_of(on(rosenbrock), p))
        twin, twin_opt = clone((p, opt))
        opt.step(closure_of(on(rosenbrock), p))
        assert twin.data.tobytes() != p.data.tobytes()
        twin_opt.step(closure_of(on(rosenbrock), twin))
        assert twin.data.tobytes() == p.data.tobytes()


# Arguments ------------------------------------------------------------------------------------------------------------


def P(values=(1.0, 2.0), dtype="float64"):
    return parameter(values, dtype)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: LBFGS([P()], lr=-1), ValueError, r"lr must lie in \[0, inf\), got -1"),
        (lambda: LBFGS([P()], max_iter=0), ValueError, "LBFGS: max_iter must be a positive whole number, got 0"),
        (lambda: LBFGS([P()], max_iter=2.5), ValueError, "LBFGS: max_iter must be a positive whole number, got 2.5"),
        (lambda: LBFGS([P()], max_iter=None), TypeError, "LBFGS: max_iter must be a number, got None"),
        (lambda: LBFGS([P()], max_eval=0), ValueError, "LBFGS: max_eval must be a positive whole number, got 0"),
        (
            lambda: LBFGS([P()], max_eval=1),
            ValueError,
            "LBFGS: max_eval must be at least 2, since the first call .*, got 1",
        ),
        (lambda: LBFGS([P()], max_eval=True), TypeError, "LBFGS: max_eval must be a number, got True"),
        (lambda: LBFGS([P()], history_size=0), ValueError, "LBFGS: history_size must be a positive whole number, got 0"),
        (
            lambda: LBFGS([P()], tolerance_grad=-1e-7),
            ValueError,
            "LBFGS: tolerance_grad must be non-negative and finite, got",
        ),
        (lambda: LBFGS([P()], tolerance_change=math.nan), ValueError, "LBFGS: tolerance_change must be .*finite, got nan"),
        (lambda: LBFGS([P()], tolerance_grad="0"), TypeError, "LBFGS: tolerance_grad must be a number, got '0'"),
        (
            lambda: LBFGS([P()], line_search_fn="wolfe"),
            ValueError,
            "line_search_fn must be 'strong_wolfe' or None, got 'wolfe'",
        ),
        (lambda: LBFGS([P()], weight_decay=-1), ValueError, r"weight_decay must lie in \[0, inf\), got -1"),
        (lambda: LBFGS([P()], weight_decay=0.1, penalty=L2(0.1)), ValueError, "would count twice"),
        (
            lambda: LBFGS([P()], penalty=L1(0.1)),
            ValueError,
            r"penalty must be L2\(strength, mode='coupled'\).*got L1.*Adam",
        ),
        (
            lambda: LBFGS([P()], penalty=L1(0.1, mode="coupled")),
            ValueError,
            r"penalty must be L2\(strength, mode='coupled'\)",
        ),
        (lambda: LBFGS([P()], penalty=L2(0.1, mode="decoupled")), ValueError, r"penalty must be L2.*mode='decoupled'"),
        (
            lambda: LBFGS([P()], penalty=ElasticNet(0.1, 0.1, mode="coupled")),
            ValueError,
            "penalty must be L2.*got ElasticNet",
        ),
        (lambda: LBFGS([P()], penalty=0.1), TypeError, "penalty must be L1, L2 or ElasticNet, got 0.1"),
        (
            lambda: LBFGS([P()], clip=ClipNorm(1.0)),
            ValueError,
            "LBFGS takes no clip: a clipped gradient is not that of the loss",
        ),
        (
            lambda: LBFGS([P()], projection=NonNegative()),
            ValueError,
            "LBFGS takes no projection: .* off the line.*leave it out",
        ),
        (
            lambda: LBFGS([{"params": [P()], "projection": NonNegative()}]),
            ValueError,
            "LBFGS takes no projection",
        ),
        (
            lambda: LBFGS([P()], momentum=0.9),
            TypeError,
            r"LBFGS has no hyperparameter 'momentum'; it has \['history_size', 'line_search_fn', 'lr', 'max_ev",
        ),
        (lambda: LBFGS([P()], on_nonfinite="ignore"), ValueError, "'raise' or 'skip', got 'ignore': a line search cannot"),
        (lambda: LBFGS([P()], on_nonfinite="stop"), ValueError, "on_nonfinite must be .*got 'stop'"),
        (
            lambda: LBFGS([{"params": [P()]}, {"params": [P()]}]),
            ValueError,
            "all parameters as one vector and has one group: pass one list of parameters",
        ),
        (
            lambda: LBFGS([P(), P(dtype="float32")]),
            TypeError,
            "one vector of float32 or float64, got ndarray of float32 and ndarray of float64",
        ),
        (lambda: LBFGS([P(dtype="float16")]), TypeError, "one vector of float32 or float64, got ndarray of float16"),
        (lambda: LBFGS([{"params": [P()], "max_iter": 0}]), ValueError, "LBFGS: max_iter must be a positive"),
        (lambda: LBFGS([]), ValueError, "there are no parameters to optimize"),
    ],
)
def test_refused_with_a_clear_message(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_second_group_is_refused_and_changes_nothing():
    opt = LBFGS([P()])
    with pytest.raises(ValueError, match="has one group"):
        opt.add_param_group({"params": [P()]})
    assert len(opt.param_groups) == 1


def test_arguments_are_those_of_torch_in_their_order():
    opt = LBFGS([P()], 0.5, 10, 30, 1e-5, 1e-6, 7, None)
    group = {k: v for k, v in opt.param_groups[0].items() if k not in ("params", "names", "penalty", "projection")}
    assert group == {
        "lr": 0.5,
        "max_iter": 10,
        "max_eval": 30,
        "tolerance_grad": 1e-5,
        "tolerance_change": 1e-6,
        "history_size": 7,
        "line_search_fn": None,
        "weight_decay": 0.0,
    }
    assert LBFGS([P()], clip=None, projection=None).needs_closure is True
    assert LBFGS.needs_closure is True
    assert repr(LBFGS([P()])).startswith("LBFGS(lr=1.0, weight_decay=0.0, max_iter=20, tol")


def test_a_setting_that_is_changed_to_nonsense_stops_the_step_before_anything_moved():
    p = parameter(rosenbrock.start)
    opt = LBFGS([p])
    opt.param_groups[0]["max_iter"] = -3
    with pytest.raises(ValueError, match="max_iter must be a positive whole number, got -3"):
        opt.step(closure_of(on(rosenbrock), p))
    assert (p.data.tolist(), opt.evaluations) == (rosenbrock.start.tolist(), 0)


@pytest.mark.parametrize("closure", [None, 3.0])
def test_a_step_without_a_closure_says_what_to_write(closure):
    opt = LBFGS([P()])
    with pytest.raises(TypeError) as caught:
        opt.step() if closure is None else opt.step(closure)
    first, *lines = str(caught.value).splitlines()
    assert first.startswith("LBFGS needs the loss several times in each step")
    assert [line.strip() for line in lines] == [
        "def closure():",
        "optimizer.zero_grad(); loss = loss_of(model(x), y); loss.backward(); return loss",
        "optimizer.step(closure)",
    ]


@pytest.mark.parametrize(
    ("answer", "got"),
    [(None, "None"), ("0.5", "'0.5'"), (np.ones(2), r"shape \(2,\)"), (1j, "1j"), (np.ones((0,)), r"shape \(0,\)")],
)
def test_a_closure_that_answers_no_number_is_refused(answer, got):
    p = P()
    opt = LBFGS([p])
    with pytest.raises(
        TypeError, match=f"the closure must answer the loss, one number, got {got}: end it with `return loss`"
    ):
        opt.step(closure_of(lambda x: (answer, [x]), p))
    assert p.data.tolist() == [1.0, 2.0]


def test_a_parameter_that_is_frozen_later_is_refused_and_stays():
    a, b = parameter([1.0]), parameter([2.0])
    opt = LBFGS([("a", a), ("b", b)], weight_decay=0.5)
    closure = closure_of(lambda x, y: (x @ x + y @ y, [2 * x, 2 * y]), a, b)
    opt.step(closure)
    b.requires_grad, before = False, bits([a, b])
    with pytest.raises(ValueError, match=r"'b' is frozen \(requires_grad is False\): leave it out when LBFGS is made"):
        opt.step(closure)
    assert bits([a, b]) == before


def test_an_error_inside_the_closure_is_not_taken_for_a_wrong_answer():
    def closure():
        raise ValueError("the user's own")

    with pytest.raises(ValueError, match="^the user's own$"):
        LBFGS([P()]).step(closure)


# With the engine ------------------------------------------------------------------------------------------------------


def test_a_model_learns_the_moons_in_one_batch():
    tn = pytest.importorskip("tinynet", reason="the optimizers are usable without the engine")
    x, y = tn.datasets.moons(200, noise=0.1, seed=0)
    model = tn.MLP([2, 8, 2], activation="tanh", seed=0)
    opt = LBFGS(model.named_parameters(), penalty=L2(1e-4, only=lambda name, data: data.ndim > 1))

    def closure():
        opt.zero_grad()
        loss = tn.cross_entropy(model(x), y)
        loss.backward()
        return loss

    first = opt.step(closure)
    for _ in range(4):
        opt.step(closure)
    assert first > 0.5
    assert tn.cross_entropy(model(x), y).item() < 0.02
    assert opt.evaluations < 200


def test_a_checkpoint_of_a_model_goes_on_with_the_same_bits(tmp_path):
    tn = pytest.importorskip("tinynet", reason="the optimizers are usable without the engine")
    from monitor.checkpoints import load_checkpoint, save_checkpoint

    x, y = tn.datasets.moons(50, noise=0.1, seed=0)

    def make(seed):
        model = tn.MLP([2, 4, 2], activation="tanh", seed=seed)
        return model, LBFGS(model.named_parameters(), max_iter=3)

    def train(model, opt, steps):
        def closure():
            loss = tn.cross_entropy(model(x), y)
            loss.backward()
            return loss

        for _ in range(steps):
            opt.step(closure)

    model, opt = make(0)
    train(model, opt, 2)
    (tmp_path / "checkpoints").mkdir()
    save_checkpoint(tmp_path / "checkpoints", 2, 2, model, opt, {})
    train(model, opt, 3)
    later, resumed = make(1)
    saved = load_checkpoint(tmp_path, 2)
    later.load_state_dict(saved["model"])
    resumed.load_state_dict(saved["optimizer"])
    train(later, resumed, 3)
    assert [p.data.tobytes() for p in later.parameters()] == [p.data.tobytes() for p in model.parameters()]
