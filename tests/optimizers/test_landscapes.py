"""The test functions: closed-form gradients against tinynet's engine, minima, values known from the literature, noise."""

import pickle
import re
from dataclasses import FrozenInstanceError, replace

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.mixins import NDArrayOperatorsMixin

import tinynet as tn
from optimizers.landscapes import (
    LANDSCAPES,
    Landscape,
    beale,
    himmelblau,
    noisy_quadratic,
    quadratic,
    rastrigin,
    rosenbrock,
    saddle,
)

EXACT = [rosenbrock, beale, himmelblau, rastrigin, saddle, quadratic(), quadratic(1000, 30), quadratic(10, -70)]
every_landscape = pytest.mark.parametrize("landscape", EXACT, ids=lambda f: f.name)


def points(landscape, n=60, seed=0):
    low, high = np.array(landscape.bounds).T
    return np.random.default_rng(seed).uniform(low, high, (n, 2))


def hessian(landscape, x):
    return tn.hessian(lambda t: landscape.value(t))(np.array(x, float)).data


# Gradients --------------------------------------------------------------------------------------------------------------


@every_landscape
def test_the_closed_form_gradient_is_that_of_the_engine(landscape):
    x = points(landscape)
    ours, engine = landscape.gradient(x), tn.grad(lambda t: np.sum(landscape.value(t)))(x).data
    assert ours.shape == x.shape
    assert np.allclose(ours, engine, rtol=1e-12, atol=1e-12 * np.abs(engine).max())


@every_landscape
def test_the_gradient_stands_up_to_differences(landscape):
    assert tn.gradcheck(landscape.value, points(landscape, 5))
    assert tn.gradcheck(landscape.gradient, points(landscape, 5))  # Tensors flow through the slopes too


def test_tensors_give_the_values_of_arrays():
    x = points(beale)
    assert np.array_equal(beale(tn.Tensor(x)).data, beale(x))


# Minima -----------------------------------------------------------------------------------------------------------------


@every_landscape
def test_minima_are_minima(landscape):
    for x in landscape.minima:
        curvature = np.linalg.eigvalsh(hessian(landscape, x))
        assert curvature.min() > 0
        # rounding the minimum itself moves the gradient by curvature * eps * x, its terms round alike
        assert np.abs(landscape.gradient(x)).max() <= 4 * np.finfo(float).eps * curvature.max() * max(1, np.abs(x).max())
        assert abs(landscape.value(x) - landscape.minimum) <= 1e-27
    assert (landscape.value(points(landscape, 20_000)) > landscape.minimum).all()


def test_himmelblaus_minima_have_all_digits():
    """Newton's method in 40 digits, from each: what it finds rounds to what is written down."""

    def slopes(x, y):
        a, b = x**2 + y - 11, x + y**2 - 7
        return 4 * x * a + 2 * b, 2 * a + 4 * y * b

    assert len({tuple(m) for m in himmelblau.minima.round(3).tolist()}) == 4
    with mpmath.workdps(40):
        for minimum in himmelblau.minima.tolist():
            assert [float(v) for v in mpmath.findroot(slopes, minimum)] == minimum


def test_the_saddle_is_a_saddle_between_two_minima():
    assert saddle([0.0, 0.0]) == 0
    assert saddle.gradient([0.0, 0.0]).tolist() == [0, 0]
    assert hessian(saddle, [0, 0]).tolist() == [[1, 0], [0, -1]]
    assert saddle.minima.tolist() == [[0, 1], [0, -1]]
    assert saddle.minimum == -0.25
    assert saddle.gradient(saddle.start)[1] < 0  # not on the ridge itself, from which nothing would escape


# What the literature says -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("landscape", "x", "value", "gradient"),
    [
        (rosenbrock, (-1.2, 1), 24.2, (-215.6, -88)),  # More, Garbow & Hillstrom 1981, problem 1
        (rosenbrock, (0, 0), 1, (-2, 0)),
        (beale, (1, 1), 14.203125, (0, 27.75)),  # problem 5 there
        (beale, (0, 0), 14.203125, (-12.75, 0)),
        (himmelblau, (0, 0), 170, (-14, -22)),
        (himmelblau, (-0.2708445906673476, -0.9230385564799815), 181.61652152258262, (0, 0)),  # its maximum
        (rastrigin, (1, -1), 2, (2, -2)),
        (rastrigin, (0.5, 0.5), 40.5, (1, 1)),
        (rastrigin, (0.25, 0), 10.0625, (0.5 + 20 * np.pi, 0)),
        (saddle, (2, 3), 17.75, (2, 24)),
        (quadratic(10), (2, 1), 7, (2, 10)),
        (quadratic(10, 90), (1, 2), 7, (10, 2)),
        (quadratic(9, 45), (1, 0), 2.5, (5, -4)),
    ],
)
def test_known_values(landscape, x, value, gradient):
    assert landscape.value(x) == pytest.approx(value, rel=1e-14)
    assert landscape(x) == landscape.value(x)
    assert landscape.gradient(x) == pytest.approx(gradient, rel=1e-13, abs=1e-12)


def test_rosenbrocks_curvature_at_the_minimum():
    assert hessian(rosenbrock, [1, 1]).tolist() == [[802, -400], [-400, 200]]


@pytest.mark.parametrize("condition", [1, 10, 1000.0])
@pytest.mark.parametrize("angle", [0, 30, 45, -120])
def test_the_eigenvalues_of_a_quadratic_are_1_and_its_condition(condition, angle):
    f = quadratic(condition, angle)
    low, high = np.linalg.eigvalsh(hessian(f, [0.3, -0.2]))
    assert (low, high) == pytest.approx((1, condition), rel=1e-12)
    along = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
    assert f.value(2 * along) == pytest.approx(2, rel=1e-12)  # the valley lies in the direction of the angle


@given(st.floats(1, 1e4), st.floats(-360, 360), st.floats(-3, 3), st.floats(-3, 3))
def test_a_rotated_quadratic_is_the_straight_one_seen_from_elsewhere(condition, angle, x, y):
    straight, rotated = quadratic(condition), quadratic(condition, angle)
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    turn = np.array([[c, -s], [s, c]])
    there = turn @ [x, y]
    assert rotated.value(there) == pytest.approx(straight.value([x, y]), rel=1e-9, abs=1e-9)
    assert rotated.gradient(there) == pytest.approx(turn @ straight.gradient([x, y]), rel=1e-9, abs=1e-8)
    assert rotated.start == pytest.approx(turn @ straight.start)


def test_a_quadratic_is_never_below_its_minimum_by_rounding():
    f = quadratic(1e12, 30)
    along = np.linspace(-2, 2, 1001)[:, None] * [np.cos(np.pi / 6), np.sin(np.pi / 6)]
    assert (f.value(along) >= 0).all()


# Arrays -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("landscape", [*EXACT, noisy_quadratic()], ids=lambda f: f.name)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "longdouble"])
def test_the_dtype_is_kept(landscape, dtype):
    for shape in [(2,), (3, 2), (0, 2), (2, 3, 2)]:
        x = np.full(shape, 0.5, dtype)
        assert landscape.value(x).dtype == dtype
        assert landscape.value(x).shape == shape[:-1]
        assert landscape.gradient(x).dtype == dtype
        assert landscape.gradient(x).shape == shape


@every_landscape
def test_a_batch_is_its_points_one_by_one(landscape):
    x = points(landscape, 12)
    batch = x.reshape(3, 4, 2)
    assert np.allclose(landscape.value(batch).ravel(), [landscape.value(p) for p in x], rtol=1e-13, atol=1e-13)
    each = np.array([landscape.gradient(p) for p in x]).reshape(3, 4, 2)
    assert np.allclose(landscape.gradient(batch), each, rtol=1e-13, atol=1e-12)


def test_whole_numbers_and_lists_become_floats():
    assert rosenbrock.value(np.array([[3, 2], [100, 0]], "int8")).tolist() == [4904, 1e10 + 99**2]
    assert rosenbrock.gradient([3, 2]).tolist() == rosenbrock.gradient(np.array([3.0, 2.0])).tolist()
    assert rosenbrock.value([(3, 2)]).dtype == float


def test_what_is_passed_in_is_left_alone():
    x = np.array([0.5, 0.25])
    for landscape in [*EXACT, noisy_quadratic()]:
        landscape.value(x), landscape.gradient(x)[...].fill(7)
    assert x.tolist() == [0.5, 0.25]


class Elsewhere(NDArrayOperatorsMixin):
    """An array that answers NumPy's functions but never becomes a NumPy array, as those of a graphics card."""

    def __init__(self, host):
        self.host = host

    shape = property(lambda self: self.host.shape)
    dtype = property(lambda self: self.host.dtype)

    def __array__(self, *_, **__):
        raise TypeError("this array does not leave its device")

    def __array_ufunc__(self, ufunc, method, *inputs):
        assert not any(isinstance(i, np.ndarray) for i in inputs), "mixed with an array of the host"
        return Elsewhere(getattr(ufunc, method)(*(getattr(i, "host", i) for i in inputs)))

    def __array_function__(self, function, types, args, params):
        args = [[e.host for e in a] if isinstance(a, tuple) else getattr(a, "host", a) for a in args]
        answer = function(*args, **params)
        return Elsewhere(answer) if isinstance(answer, np.ndarray) else answer

    def __getitem__(self, index):
        return Elsewhere(self.host[index])


@pytest.mark.parametrize("landscape", [*EXACT, noisy_quadratic()], ids=lambda f: f.name)
def test_other_kinds_of_array_give_the_same_bits(landscape):
    x = points(landscape, 5)
    assert np.array_equal(landscape.value(Elsewhere(x)).host, landscape.value(x))
    there = landscape.fresh().gradient(Elsewhere(x))
    assert np.array_equal(there.host, landscape.fresh().gradient(x))


# Noise ------------------------------------------------------------------------------------------------------------------


def test_noise_has_the_promised_mean_and_deviation():
    n, noise = 40_000, 0.7
    f = noisy_quadratic(10, noise, seed=5)
    x = np.broadcast_to([1.5, -0.25], (n, 2))
    error = f.gradient(x) - quadratic(10).gradient(x)
    assert (np.abs(error.mean(axis=0)) < 5 * noise / np.sqrt(n)).all()
    assert (np.abs(error.std(axis=0) - noise) < 5 * noise / np.sqrt(2 * n)).all()
    assert abs(np.corrcoef(error.T)[0, 1]) < 5 / np.sqrt(n)
    assert abs((error**4).mean() / noise**4 - 3) < 5 * np.sqrt(96 / (2 * n))  # a Gaussian's kurtosis
    assert np.array_equal(f.value(x), quadratic(10).value(x))  # the value is exact


def test_every_call_draws_anew_and_the_seed_repeats_it_all():
    f = noisy_quadratic(seed=3)
    first, second = f.gradient(f.start), f.gradient(f.start)
    assert (first != second).all()
    again = noisy_quadratic(seed=3)
    assert np.array_equal(again.gradient(f.start), first)
    assert np.array_equal(again.gradient(f.start), second)
    assert (noisy_quadratic(seed=4).gradient(f.start) != first).all()


def test_a_fresh_copy_begins_again_and_leaves_the_original_where_it_was():
    f, same = noisy_quadratic(seed=3), noisy_quadratic(seed=3)
    first = f.gradient(f.start)
    fresh = f.fresh()
    assert np.array_equal(fresh.gradient(f.start), first)
    same.gradient(f.start)
    assert np.array_equal(f.gradient(f.start), same.gradient(f.start))
    assert (fresh.name, fresh.noise, fresh.seed) == (f.name, f.noise, f.seed)


def test_values_draw_nothing():
    f, same = noisy_quadratic(), noisy_quadratic()
    f.value(f.start)
    assert np.array_equal(f.gradient(f.start), same.gradient(f.start))


def test_any_landscape_can_be_made_noisy():
    noisy = replace(rosenbrock, noise=0.5, seed=1)
    drawn = np.random.default_rng(1).standard_normal(2)
    assert np.array_equal(noisy.gradient(noisy.start), rosenbrock.gradient(rosenbrock.start) + 0.5 * drawn)
    assert np.array_equal(replace(noisy, noise=0).gradient(noisy.start), rosenbrock.gradient(rosenbrock.start))
    assert repr(noisy) == "Landscape('rosenbrock', noise=0.5, seed=1)"
    assert repr(rosenbrock) == "Landscape('rosenbrock')"


# What a landscape says of itself ----------------------------------------------------------------------------------------


def test_landscapes_are_found_by_name():
    assert all(name == landscape.name for name, landscape in LANDSCAPES.items())
    assert list(LANDSCAPES) == [
        "rosenbrock", "beale", "himmelblau", "rastrigin", "saddle",
        "quadratic-100", "quadratic-100-45deg", "noisy-quadratic-10",
    ]  # fmt: skip
    assert LANDSCAPES["noisy-quadratic-10"].noise == 1
    assert LANDSCAPES["beale"] is beale


@pytest.mark.parametrize("landscape", LANDSCAPES.values(), ids=LANDSCAPES)
def test_start_and_minima_are_in_the_picture(landscape):
    (left, right), (bottom, top) = landscape.bounds
    for x, y in [landscape.start, *landscape.minima]:
        assert left < x < right
        assert bottom < y < top
    assert re.search(r" (19|20)\d\d, ", landscape.source)
    assert landscape.value(landscape.start) > landscape.minimum + 1


def test_nobody_can_change_a_landscape_that_all_share():
    with pytest.raises(FrozenInstanceError):
        rosenbrock.noise = 1.0
    with pytest.raises(ValueError, match="read-only"):
        rosenbrock.start[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        rosenbrock.minima[0] = 0


@pytest.mark.parametrize("landscape", LANDSCAPES.values(), ids=LANDSCAPES)
def test_landscapes_can_be_sent_to_other_processes(landscape):
    there = pickle.loads(pickle.dumps(landscape))
    assert np.array_equal(there.fresh().gradient(there.start), landscape.fresh().gradient(landscape.start))


# Bad input --------------------------------------------------------------------------------------------------------------


def bowl(**given):
    known = {"minima": [(0, 0)], "bounds": ((-1, 1), (-1, 1)), "start": (1, 1), "source": "2026, here"}
    return Landscape("bowl", lambda x, y: x**2 + y**2, lambda x, y: (2 * x, 2 * y), **{**known, **given})


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        (
            lambda: rosenbrock.value(np.ones(3)),
            ValueError,
            r"shape \[\.\.\., 2\], the two coordinates last, got shape \(3,\)$",
        ),
        (lambda: rosenbrock.gradient(np.ones((2, 5))), ValueError, r"got shape \(2, 5\)$"),
        (lambda: rosenbrock(1.0), ValueError, r"got shape \(\)$"),
        (lambda: rosenbrock([]), ValueError, r"got shape \(0,\)$"),
        (lambda: rosenbrock(tn.Tensor(np.ones(3))), ValueError, r"got shape \(3,\)$"),
        (lambda: quadratic(0.5), ValueError, "condition must be finite and at least 1, got 0.5"),
        (lambda: quadratic(-10), ValueError, "condition must be finite and at least 1, got -10"),
        (lambda: quadratic(np.inf), ValueError, "condition must be finite and at least 1, got inf"),
        (lambda: quadratic(np.nan), ValueError, "condition must be finite and at least 1, got nan"),
        (lambda: quadratic("100"), TypeError, "condition must be a number, got '100'"),
        (lambda: quadratic(True), TypeError, "condition must be a number, got True"),
        (lambda: quadratic(10, np.nan), ValueError, "angle must be finite, got nan"),
        (lambda: quadratic(10, -np.inf), ValueError, "angle must be finite, got -inf"),
        (lambda: quadratic(10, None), TypeError, "angle must be a number, got None"),
        (lambda: noisy_quadratic(0.1), ValueError, "condition must be finite and at least 1, got 0.1"),
        (lambda: noisy_quadratic(noise=-1), ValueError, "noise must be finite and at least 0, got -1"),
        (lambda: noisy_quadratic(noise=np.inf), ValueError, "noise must be finite and at least 0, got inf"),
        (lambda: noisy_quadratic(noise="1"), TypeError, "noise must be a number, got '1'"),
        (lambda: noisy_quadratic(seed=-1), ValueError, "seed must be a whole number from 0, got -1"),
        (lambda: noisy_quadratic(seed=1.5), ValueError, "seed must be a whole number from 0, got 1.5"),
        (lambda: noisy_quadratic(seed=True), ValueError, "seed must be a whole number from 0, got True"),
        (
            lambda: bowl(minima=(0, 0)),
            ValueError,
            r"minima must be a list of points, such as \[\(0, 0\)\], got shape \(2,\)",
        ),
        (lambda: bowl(minima=[(0, 0, 0)]), ValueError, r"minima must be .*, got shape \(1, 3\)"),
        (lambda: bowl(start=[(1, 1)]), ValueError, r"start must be one point, such as \(0, 0\), got shape \(1, 2\)"),
    ],
)
def test_errors_say_what_was_wrong(wrong, error, text):
    with pytest.raises(error, match=text):
        wrong()


def test_a_landscape_of_ones_own():
    own = bowl(noise=np.float64(0.5))
    assert type(own.noise) is float  # a NumPy float64 would turn float32 gradients into float64
    assert own.gradient(np.ones(2, "float32")).dtype == "float32"
    assert own([3.0, 4.0]) == 25
