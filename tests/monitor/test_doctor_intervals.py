import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.doctor import intervals
from monitor.doctor.intervals import mean_interval, median_interval, running_median, slope_interval


@pytest.mark.parametrize("n", [1, 5, 6, 9, 20, 41])
def test_the_interval_of_a_median_misses_it_as_often_as_the_binomial_says(n):
    _, low, high = median_interval(np.arange(float(n)), 0.95)
    if math.isinf(low):
        assert 2 * 0.5**n > 0.05  # not even the whole range would do
        assert high == math.inf
        return
    below = int(low)  # how many values are below `low`: the median is missed if at most so many are below it
    missed = 2 * sum(math.comb(n, k) for k in range(below + 1)) / 2**n
    assert missed <= 0.05 < missed + 2 * math.comb(n, below + 1) / 2**n
    assert high == n - 1 - below


def test_many_values_take_the_normal_approximation_which_fits_the_exact_one():
    exact = median_interval(np.arange(500.0), 0.95)
    near = median_interval(np.arange(501.0), 0.95)
    assert np.allclose(np.array(exact[1:]) - exact[0], np.array(near[1:]) - near[0], atol=1.5)


@pytest.mark.parametrize("n", [3, 4, 5, 6, 7])
def test_the_interval_of_a_slope_leaves_out_0_in_as_many_orders_as_it_may(n):
    x = np.arange(float(n))
    bounds = [slope_interval(x, np.array(order, float), 0.90)[1:] for order in permutations(range(n))]
    rising, falling = (sum(low > 0 for low, _ in bounds), sum(high < 0 for _, high in bounds))
    assert rising == falling
    assert rising <= 0.05 * math.factorial(n)
    exists = 0.05 * math.factorial(n) >= 1
    assert (rising > 0) == exists
    assert all(math.isinf(low) for low, _ in bounds) or exists


def test_inversions_are_counted_as_by_hand():
    by_hand = [0] * 11
    for order in permutations(range(5)):
        by_hand[sum(order[i] > order[j] for i in range(5) for j in range(i + 1, 5))] += 1
    assert intervals._inversions(5) == by_hand


def test_exact_and_approximate_intervals_of_a_slope_meet(monkeypatch):
    generator = np.random.default_rng(0)
    x = np.arange(50.0)
    y = 0.1 * x + generator.normal(size=50)
    exact = slope_interval(x, y)
    monkeypatch.setattr(intervals, "EXACT_SLOPES", 10)
    assert slope_interval(x, y) == pytest.approx(exact, rel=0.02)


def test_a_slope_is_per_unit_of_x_and_no_outlier_moves_it():
    x = np.array([0.0, 10, 20, 30, 40, 50, 60, 70])
    y = 3 - 0.5 * x
    assert slope_interval(x, y) == pytest.approx((-0.5, -0.5, -0.5))
    y[3] = 1000
    assert slope_interval(x, y)[0] == pytest.approx(-0.5)


def test_a_long_series_is_reduced_and_keeps_its_slope():
    x = np.arange(100_000.0)
    y = 1e-3 * x + np.random.default_rng(0).normal(size=len(x))
    slope, low, high = slope_interval(x, y)
    assert low < 1e-3 < high
    assert slope == pytest.approx(1e-3, rel=1e-3)


def test_equal_steps_have_no_slope():
    assert slope_interval(np.ones(5), np.arange(5.0))[1:] == (-math.inf, math.inf)
    assert slope_interval(np.ones(1), np.ones(1))[1:] == (-math.inf, math.inf)


@pytest.mark.parametrize(("n", "t"), [(10, 1.8331), (30, 1.6991), (200, 1.6525)])  # t(0.95, n - 1), from tables
def test_the_interval_of_a_mean_is_students(n, t):
    x = np.random.default_rng(n).normal(size=n)
    mean, low, high = mean_interval(x)
    assert mean == pytest.approx(x.mean())
    assert (high - low) / 2 == pytest.approx(t * x.std(ddof=1) / math.sqrt(n), rel=1e-3)
    assert (high + low) / 2 == pytest.approx(mean)


def test_one_value_has_a_mean_and_no_interval():
    assert mean_interval(np.array([2.0])) == (2.0, -math.inf, math.inf)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_a_running_median_has_the_length_of_its_series_and_no_other_values(values):
    smooth = running_median(np.array(values))
    assert len(smooth) == len(values)
    assert set(smooth.tolist()) <= set(values)


def test_one_odd_value_does_not_show_in_a_running_median():
    assert running_median(np.array([1.0, 2, 99, 4, 5, -99])).tolist() == [2, 2, 4, 5, 4, 4]
    assert running_median(np.array([3.0, 1.0])).tolist() == [3.0, 1.0]
