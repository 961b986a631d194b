"""Schedules: each against a formula written down here, at its boundaries and past its end; joins and products."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizers import Constant, Cosine, Exponential, MultiStep, Schedule, Step, Warmup


def close(schedule, expected):
    values = schedule.values(len(expected))
    assert np.allclose(values, expected, rtol=1e-14, atol=1e-17), values


# Closed forms ---------------------------------------------------------------------------------------------------------


def test_constant():
    close(Constant(0.3), [0.3] * 5)
    close(Constant(0.3, 2), [0.3] * 5)


def test_step_cuts_at_every_multiple():
    close(Step(8.0, every=3, gamma=0.5), [8, 8, 8, 4, 4, 4, 2, 2, 2, 1])
    close(Step(1.0, every=1), [1, 0.1, 0.01])


def test_multistep_cuts_at_the_milestones():
    expected = [8, 8, 4, 4, 4, 2, 2, 2]
    close(MultiStep(8.0, [2, 5], gamma=0.5), expected)
    close(MultiStep(8.0, (5, 2), gamma=0.5), expected)
    close(MultiStep(8.0, np.array([2, 5]), gamma=0.5), expected)
    close(MultiStep(8.0, (m for m in (5, 2)), gamma=0.5), expected)
    close(MultiStep(8.0, [0, 2, 2], gamma=0.5), [4, 4, 1, 1])
    close(MultiStep(8.0, []), [8, 8])


def test_exponential_multiplies_by_gamma_each_step():
    expected = list(itertools.accumulate([0.9] * 50, lambda value, gamma: value * gamma, initial=2.0))
    close(Exponential(2.0, 0.9), expected)


def test_cosine_is_half_a_period_and_holds_its_end():
    half = math.sqrt(0.5)
    close(Cosine(2.0, 4), [2, 1 + half, 1, 1 - half, 0, 0, 0, 0, 0])
    close(Cosine(3.0, 4, end=1.0), [3, 2 + half, 2, 2 - half, 1, 1, 1])
    close(Cosine(1.0, 2, end=3.0), [1, 2, 3, 3])  # it may rise
    n = 37
    close(Cosine(0.3, n, 0.1), [0.1 + 0.2 * math.cos(math.pi * k / (2 * n)) ** 2 for k in range(n + 1)])


def test_cosine_ends_exactly():
    schedule = Cosine(0.3, 7, end=0.1)
    assert schedule(0) == 0.3
    assert schedule(7) == schedule(8) == schedule(10**9) == 0.1
    assert Cosine(0.3, 7)(7) == 0.0


def test_warmup_wastes_no_first_step_and_ends_at_one():
    close(Warmup(4), [0.25, 0.5, 0.75, 1, 1, 1])
    close(Warmup(1), [1, 1])
    close(Warmup(4, start=0.2), [0.4, 0.6, 0.8, 1, 1])


@pytest.mark.parametrize(
    "schedule",
    [
        MultiStep(1.0, [3, 7]),
        Cosine(1.0, 9, 0.5),
        Warmup(5),
        Constant(2.0, 5),
        Warmup(5) >> Cosine(1.0, 9),
        Constant(1.0, 3) >> MultiStep(1.0, [4]),
        Warmup(7) * Cosine(2.0, 3, 1.0),
        0.5 * Cosine(2.0, 3, 1.0),
    ],
    ids=repr,
)
def test_past_its_end_a_schedule_holds_its_last_value(schedule):
    assert math.isfinite(schedule.steps)
    end = math.ceil(schedule.steps)
    assert {schedule(k) for k in range(end, 4 * end)} == {schedule(10**6)}


def test_values_are_those_of_the_first_steps():
    assert Exponential(8.0, 0.5).values(3) == [8.0, 4.0, 2.0]
    assert Exponential(8.0, 0.5).values(0) == []


def test_schedules_are_values():
    assert Cosine(0.1, 5) == Cosine(0.1, 5) != Cosine(0.1, 6)
    assert MultiStep(0.1, [5, 2]) == MultiStep(0.1, (2, 5))
    assert {Warmup(3) >> Cosine(0.1, 5), Warmup(3) >> Cosine(0.1, 5)} == {Warmup(3) >> Cosine(0.1, 5)}


def test_a_schedule_of_ones_own():
    class Halving(Schedule):
        def __call__(self, k):
            return 0.5**k

    close(2 * (Warmup(2) >> Halving()), [1, 2, 2, 1, 0.5])
    with pytest.raises(TypeError, match=r"Schedule has no __call__\(k\)"):
        Schedule()(0)


# Joins and products ---------------------------------------------------------------------------------------------------


def test_a_join_runs_the_first_to_its_end_and_the_second_from_its_beginning():
    first, then = Cosine(1.0, 4), Cosine(0.5, 3, 0.1)
    close(first >> then, first.values(4) + then.values(6))
    close(MultiStep(1.0, [2, 3]) >> Constant(9.0), [1, 1, 0.1, 9, 9])


def test_a_warmup_rises_to_the_first_value_of_what_follows():
    close(Warmup(4) >> Cosine(2.0, 2), [0.5, 1, 1.5, 2, 2, 1, 0, 0])
    close(Warmup(2) >> Constant(5.0, 2) >> Constant(1.0), [2.5, 5, 5, 5, 1])


def test_a_warmup_in_the_middle_rises_to_what_follows_it():
    close(Warmup(2) >> Constant(8.0, 2) >> Warmup(2) >> Constant(4.0), [4, 8, 8, 8, 2, 4, 4, 4])


def test_a_join_with_a_broken_number_of_steps_skips_nothing():
    then = Exponential(1.0, 0.5)
    close(Constant(9.0, 2.5) >> then, [9, 9, 9, 1, 0.5, 0.25])
    close(Constant(9.0, 2.5) >> Constant(7.0, 1.5) >> then, [9, 9, 9, 7, 7, 1, 0.5])
    join = Constant(9.0, 2.5) >> Cosine(2.0, 2)
    close(join, [9, 9, 9, 2, 1, 0, 0])
    assert join.steps == 5


pieces = st.one_of(
    st.builds(Constant, st.floats(0, 10), st.integers(1, 9)),
    st.builds(Constant, st.floats(0, 10), st.floats(0.1, 9)),
    st.builds(Cosine, st.floats(0, 10), st.integers(1, 9), st.floats(0, 10)),
    st.builds(MultiStep, st.floats(0, 10), st.lists(st.integers(0, 9), max_size=3), st.floats(0.1, 2)),
    st.builds(Warmup, st.integers(1, 9), st.floats(0, 1)),
)


@settings(deadline=None, max_examples=60)
@given(pieces, pieces, pieces, pieces)
def test_nested_joins_equal_flat_joins(a, b, c, d):
    flat = (a >> b >> c >> d).values(50)
    assert (a >> (b >> (c >> d))).values(50) == flat
    assert ((a >> b) >> (c >> d)).values(50) == flat
    assert (a >> ((b >> c) >> d)).values(50) == flat


@settings(deadline=None, max_examples=60)
@given(pieces, pieces)
def test_products_commute_and_are_what_they_say(a, b):
    expected = [x * y for x, y in zip(a.values(30), b.values(30), strict=True)]
    assert (a * b).values(30) == (b * a).values(30) == expected
    assert (a * 2).values(30) == (2 * a).values(30) == [2 * x for x in a.values(30)]


def test_a_product_ends_when_both_have_ended():
    assert (Cosine(1.0, 5) * MultiStep(1.0, [9])).steps == 9
    assert (0.5 * Cosine(1.0, 5)).steps == 5
    assert (Exponential(1.0, 0.9) * Cosine(1.0, 5)).steps == math.inf
    close(0.5 * Constant(8.0, 2) >> Constant(1.0), [4, 4, 1])


# Bad arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Constant("0.1"), TypeError, "Constant: value must be a number, got '0.1'"),
        (lambda: Constant(True), TypeError, "Constant: value must be a number, got True"),
        (lambda: Constant(-1), ValueError, "Constant: value must be non-negative and finite, got -1"),
        (lambda: Constant(math.nan), ValueError, "Constant: value must be non-negative and finite, got nan"),
        (lambda: Constant(math.inf), ValueError, "Constant: value must be non-negative and finite, got inf"),
        (lambda: Constant(1, 0), ValueError, "Constant: steps must be positive, got 0"),
        (lambda: Step(0.1, 0), ValueError, "Step: every must be positive and finite, got 0"),
        (lambda: Step(0.1, -1), ValueError, "Step: every must be positive and finite, got -1"),
        (lambda: Step(0.1, 3, 0), ValueError, "Step: gamma must be positive and finite, got 0"),
        (lambda: MultiStep(0.1, 30), TypeError, r"MultiStep: milestones must be a list such as \[30, 60\], got 30"),
        (lambda: MultiStep(0.1, "30"), TypeError, r"MultiStep: milestones must be a list such as \[30, 60\], got '30'"),
        (lambda: MultiStep(0.1, [30, None]), TypeError, "MultiStep: a milestone must be a number, got None"),
        (lambda: MultiStep(0.1, [-1]), ValueError, "MultiStep: a milestone must be non-negative and finite, got -1"),
        (lambda: MultiStep(0.1, [3], -0.1), ValueError, "MultiStep: gamma must be positive and finite, got -0.1"),
        (lambda: Exponential(0.1, -0.9), ValueError, "Exponential: gamma must be positive and finite, got -0.9"),
        (lambda: Exponential(None, 0.9), TypeError, "Exponential: value must be a number, got None"),
        (lambda: Cosine(0.1, 0), ValueError, "Cosine: steps must be positive and finite, got 0"),
        (lambda: Cosine(0.1, math.inf), ValueError, "Cosine: steps must be positive and finite, got inf"),
        (lambda: Cosine(0.1, 5, -0.1), ValueError, "Cosine: end must be non-negative and finite, got -0.1"),
        (lambda: Warmup(0), ValueError, "Warmup: steps must be positive and finite, got 0"),
        (lambda: Warmup(5, -1), ValueError, "Warmup: start must be non-negative and finite, got -1"),
        (lambda: Constant(0.1) >> Cosine(0.1, 5), ValueError, r"Constant\(.*never ends.*give it a number of steps"),
        (lambda: Exponential(0.1, 0.9) >> Cosine(0.1, 5), ValueError, r"Exponential\(.*never ends"),
        (lambda: Warmup(3) >> Constant(0.1) >> Cosine(0.1, 5), ValueError, r"^Constant\(.*never ends"),
        (lambda: Warmup(3) >> 0.1, TypeError, r"join schedules, for example >> Constant\(0.1\)"),
        (lambda: Warmup(3) * "2", TypeError, "Constant: value must be a number, got '2'"),
        (lambda: Warmup(3) * -1, ValueError, "Constant: value must be non-negative and finite, got -1"),
    ],
)
def test_bad_arguments_are_refused_at_construction(make, error, message):
    with pytest.raises(error, match=message):
        make()
