"""Schedules: each against a formula written down here, at its boundaries and past its end; joins and products."""

import itertools
import math
import pickle
import subprocess
import sys
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import optimizers.cycles
import optimizers.schedules
from optimizers import SGD
from optimizers.cycles import CosineRestarts, OneCycle, Repeat, Triangular, WarmupStableDecay, per_epoch
from optimizers.schedules import (
    Constant,
    Cosine,
    Exponential,
    InverseTime,
    Join,
    Lambda,
    Linear,
    MultiStep,
    Polynomial,
    Power,
    Product,
    Schedule,
    Step,
    Warmup,
)


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


def test_cosine_may_go_on_for_ever():
    half = math.sqrt(0.5)
    period = [2, 1 + half, 1, 1 - half, 0, 1 - half, 1, 1 + half]
    close(Cosine(2.0, 4, periodic=True), 3 * period)
    up, down = Cosine(2.0, 4, 0.5), Cosine(0.5, 4, 2.0)
    close(Cosine(2.0, 4, 0.5, periodic=True), Repeat(up >> down).values(50))
    assert Cosine(2.0, 4, periodic=True).length == math.inf
    with pytest.raises(ValueError, match="never ends"):
        Cosine(2.0, 4, periodic=True) >> Constant(1.0)
    assert (Constant(1.0, 3) >> Cosine(2.0, 4, periodic=True)).steps == math.inf
    assert (2 * Cosine(2.0, 4, periodic=True)).steps == math.inf


def test_inverse_time_is_halved_when_rate_k_over_every_is_one():
    close(InverseTime(6.0, 1.0), [6, 3, 2, 1.5, 1.2, 1])
    close(InverseTime(6.0, 0.5, every=2), [6, 6 / 1.25, 4, 6 / 1.75, 3])
    close(InverseTime(6.0, 0.0), [6, 6, 6])
    assert InverseTime(6.0, 1.0, every=1000)(1000) == 3.0


def test_power():
    close(Power(6.0), [6, 6 / math.sqrt(2), 6 / math.sqrt(3), 3])
    close(Power(6.0, exponent=1), [6, 3, 2, 1.5])
    close(Power(6.0, exponent=0), [6, 6, 6])
    assert Power(1.0, exponent=400)(10**6) == 0.0  # and no OverflowError


def test_linear_is_a_line_and_holds_its_end():
    close(Linear(8.0, 4), [8, 6, 4, 2, 0, 0, 0])
    close(Linear(8.0, 4, end=6.0), [8, 7.5, 7, 6.5, 6, 6])
    close(Linear(1.0, 2, end=2.0), [1, 1.5, 2, 2])
    close(Linear(1.0, 2.5), [1, 0.6, 0.2, 0, 0])
    assert Linear(0.3, 7, end=0.1)(0) == 0.3
    assert Linear(0.3, 7, end=0.1)(7) == Linear(0.3, 7, end=0.1)(10**9) == 0.1


def test_polynomial():
    close(Polynomial(8.0, 4), Linear(8.0, 4).values(9))
    close(Polynomial(8.0, 4, power=2.0), [8, 4.5, 2, 0.5, 0, 0])
    close(Polynomial(9.0, 4, power=2.0, end=1.0), [9, 5.5, 3, 1.5, 1, 1])
    close(Polynomial(8.0, 4, power=0.5), [8, 8 * math.sqrt(0.75), 8 * math.sqrt(0.5), 4, 0, 0])
    assert Polynomial(0.3, 7, 0.9, end=0.1)(7) == Polynomial(0.3, 7, 0.9, end=0.1)(10**9) == 0.1


def test_lambda_calls_the_function_until_its_steps():
    close(Lambda(lambda k: 1 / (k + 1)), [1, 1 / 2, 1 / 3, 1 / 4])
    close(Lambda(lambda k: k, steps=2), [0, 1, 2, 2, 2])
    close(Lambda(lambda k: k, steps=1.5), [0, 1, 2, 2, 2])
    close(Lambda(lambda k: k, steps=2) >> Constant(9.0), [0, 1, 9, 9])
    assert type(Lambda(lambda k: np.float32(0.5))(0)) is float
    assert type(Lambda(lambda k: k, steps=2.5)(10**9)) is int  # the function is never called with a broken step


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (-0.1, ValueError, r"Lambda: the value at step 7 must be non-negative and finite, got -0\.1"),
        (math.nan, ValueError, "Lambda: the value at step 7 must be non-negative and finite, got nan"),
        (math.inf, ValueError, "Lambda: the value at step 7 must be non-negative and finite, got inf"),
        ("0.1", TypeError, "Lambda: the value at step 7 must be a number, got '0.1'"),
        (None, TypeError, "Lambda: the value at step 7 must be a number, got None"),
        (True, TypeError, "Lambda: the value at step 7 must be a number, got True"),
    ],
)
def test_a_lambda_with_a_bad_value_names_the_step(value, error, message):
    schedule = Lambda(lambda k: value if k == 7 else 1.0)
    assert schedule(6) == schedule(8) == 1.0
    with pytest.raises(error, match=message):
        schedule(7)


def test_growth_without_bound_ends_in_infinity_not_in_an_overflow():
    for schedule in (
        Exponential(1.0, 10),
        Exponential(1, 10),
        Step(1.0, 1, gamma=10.0),
        MultiStep(1.0, range(400), gamma=10.0),
    ):
        assert schedule(1000) == math.inf
    assert Exponential(0.0, 10.0)(1000) == 0.0  # and not 0 * inf
    assert Exponential(np.float64(1.0), np.float64(10.0))(1000) == math.inf  # without NumPy's warning


# A Warmup is a factor -------------------------------------------------------------------------------------------------


def test_warmup_wastes_no_first_step_and_ends_at_one():
    close(Warmup(4) >> Constant(1.0), [0.25, 0.5, 0.75, 1, 1, 1])
    close(Warmup(1) >> Constant(1.0), [1, 1])
    close(Warmup(2.5) >> Constant(1.0), [0.4, 0.8, 1, 1])
    close(Warmup(4, start=0.2) >> Constant(1.0), [0.4, 0.6, 0.8, 1, 1])
    close(Warmup(4, start=1.0) >> Constant(1.0), [1, 1, 1, 1, 1])


def test_a_warmup_may_multiply_and_then_both_run_at_once():
    close(Warmup(4) * 2, [0.5, 1, 1.5, 2, 2, 2])
    close(2 * Warmup(4), [0.5, 1, 1.5, 2, 2, 2])
    close(Warmup(4) * Linear(8.0, 4), [2, 3, 3, 2, 0, 0])
    close(Warmup(2) * 2 >> Constant(5.0), [1, 2, 5, 5])  # a product is a value, so this does not rise to 5
    close(per_epoch(Warmup(2), 3) >> Constant(4.0), [2, 2, 2, 4, 4, 4, 4, 4])
    close(per_epoch(Warmup(2), 2) * 4, [2, 2, 4, 4, 4])


ALONE = "rises to the first value of what follows it, and nothing does: write Warmup.* >> Constant"


@pytest.mark.parametrize(
    "schedule",
    [
        Warmup(3),
        Constant(8.0, 2) >> Warmup(3),
        Constant(8.0, 2) >> (Constant(7.0, 2) >> Warmup(3)),
        Warmup(2) >> Warmup(3),
        per_epoch(Warmup(3), 5),
        per_epoch(Constant(8.0, 2) >> Warmup(3), 5),
        per_epoch(Constant(8.0, 2), 5) >> per_epoch(Warmup(3), 5),
        (Constant(8.0, 2) >> Warmup(3)) * 2,
        Join(Constant(8.0, 2), Warmup(3)),
    ],
    ids=repr,
)
def test_a_warmup_to_nothing_is_refused_from_the_first_step(schedule):
    with pytest.raises(TypeError, match=r"Warmup\(steps=3, start=0.0\) " + ALONE):
        schedule(0)
    with pytest.raises(TypeError, match=ALONE):
        schedule.values(1)
    with pytest.raises(TypeError, match=ALONE):  # and so when the optimizer is made, not later
        SGD([SimpleNamespace(data=np.zeros(2), grad=None)], lr=schedule)


def test_a_warmup_may_be_completed_later():
    begun = Constant(8.0, 2) >> Warmup(2)
    close(begun >> Constant(4.0), [8, 8, 2, 4, 4])
    close(Warmup(2) >> Warmup(2) >> Constant(4.0), [1, 2, 2, 4, 4])  # the first one rises to the first value of the second
    assert begun >> Constant(4.0) == Constant(8.0, 2) >> (Warmup(2) >> Constant(4.0))


@pytest.mark.parametrize(
    "schedule",
    [
        MultiStep(1.0, [3, 7]),
        Cosine(1.0, 9, 0.5),
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
    st.builds(Linear, st.floats(0, 10), st.floats(0.1, 9), st.floats(0, 10)),
    st.builds(OneCycle, st.floats(0, 10), st.integers(4, 9)),
    st.builds(CosineRestarts, st.floats(0, 10), st.integers(1, 3), st.integers(1, 2), cycles=st.integers(1, 3)),
)
warmups = st.builds(Warmup, st.integers(1, 9), st.floats(0, 1))
pieces_and_warmups = st.one_of(pieces, warmups)
composed = st.one_of(
    st.builds(lambda a, b: a >> b, pieces_and_warmups, pieces),
    st.builds(lambda a, b: a * b, pieces_and_warmups, pieces),
    st.builds(lambda a, b: a * b, pieces, pieces_and_warmups),
    st.builds(lambda a, n: per_epoch(a, n), pieces, st.integers(1, 4)),
    st.builds(lambda a, b, n: per_epoch(a, n) >> b, warmups, pieces, st.integers(1, 4)),
    st.builds(lambda a, n: Repeat(Constant(1.0, 1) >> a, n), pieces, st.integers(1, 3)),
)


@settings(max_examples=60)
@given(pieces_and_warmups, pieces_and_warmups, pieces_and_warmups, pieces)
def test_nested_joins_equal_flat_joins(a, b, c, d):
    flat = a >> b >> c >> d
    for nested in (a >> (b >> (c >> d)), (a >> b) >> (c >> d), a >> ((b >> c) >> d), Join(Join(Join(a, b), c), d)):
        assert nested == flat
        assert nested.values(50) == flat.values(50)
        assert nested.steps == flat.steps


@settings(max_examples=60)
@given(pieces, pieces)
def test_products_commute_and_are_what_they_say(a, b):
    expected = [x * y for x, y in zip(a.values(30), b.values(30), strict=True)]
    assert (a * b).values(30) == (b * a).values(30) == expected
    assert (a * 2).values(30) == (2 * a).values(30) == [2 * x for x in a.values(30)]
    assert ((a * b) * 3).steps == (3 * (b * a)).steps == max(a.length, b.length)


@settings(max_examples=60)
@given(warmups, pieces)
def test_a_product_with_a_warmup_commutes_too(a, b):
    rise = (a >> Constant(1.0)).values(30)
    assert (a * b).values(30) == (b * a).values(30) == [x * y for x, y in zip(rise, b.values(30), strict=True)]


@settings(max_examples=60)
@given(pieces, st.integers(1, 4))
def test_repeating_is_joining_to_itself(piece, times):
    piece = Constant(1.0, 1) >> piece  # it has a step, at least
    joined = piece
    for _ in range(times - 1):
        joined = joined >> piece
    repeated = Repeat(piece, times)
    assert repeated.values(150) == joined.values(150)
    assert repeated.steps == times * math.ceil(piece.length)
    assert Repeat(piece).values(times * math.ceil(piece.length)) == repeated.values(times * math.ceil(piece.length))
    assert Repeat(piece).steps == math.inf


@settings(max_examples=60)
@given(pieces_and_warmups, pieces, st.integers(1, 5))
def test_per_epoch_holds_each_value_for_an_epoch(a, b, n):
    by_epoch, by_step = per_epoch(a >> b, n), a >> b
    assert by_epoch.values(20 * n) == [by_step(k // n) for k in range(20 * n)]
    assert by_epoch.values(20 * n) == (per_epoch(a, n) >> per_epoch(b, n)).values(20 * n)
    assert by_epoch.steps == (per_epoch(a, n) >> per_epoch(b, n)).steps == n * math.ceil(by_step.steps)
    assert per_epoch(by_step, 1).values(50) == by_step.values(50)
    assert per_epoch(Constant(1.0), n).steps == math.inf


# What holds for all of them -------------------------------------------------------------------------------------------

values = st.one_of(st.floats(0, 100), st.integers(0, 100), st.floats(0, 100).map(np.float64), st.just(np.float32(0.1)))
lengths = st.one_of(st.integers(1, 40), st.floats(0.1, 40), st.integers(1, 40).map(np.int64))
shares = st.floats(0, 1)
gammas = st.floats(0.01, 1)
# class: (arguments, the documented value at 0, the greatest value that it may have)
EVERY = {
    Constant: (st.tuples(values, lengths), lambda s: s.value, lambda s: s.value),
    Step: (st.tuples(values, lengths, gammas), lambda s: s.value, lambda s: s.value),
    MultiStep: (st.tuples(values, st.lists(lengths, max_size=4), gammas), lambda s: s.value, lambda s: s.value),
    Exponential: (st.tuples(values, gammas), lambda s: s.value, lambda s: s.value),
    InverseTime: (st.tuples(values, values, lengths), lambda s: s.value, lambda s: s.value),
    Power: (st.tuples(values, st.floats(0, 10)), lambda s: s.value, lambda s: s.value),
    Linear: (st.tuples(values, lengths, values), lambda s: s.value, lambda s: max(s.value, s.end)),
    Polynomial: (st.tuples(values, lengths, st.floats(0.1, 5), values), lambda s: s.value, lambda s: max(s.value, s.end)),
    Cosine: (st.tuples(values, lengths, values, st.booleans()), lambda s: s.value, lambda s: max(s.value, s.end)),
    CosineRestarts: (
        st.tuples(
            values, lengths, st.floats(1, 3) | st.integers(1, 3), values, gammas, st.integers(1, 5) | st.just(math.inf)
        ),
        lambda s: s.value,
        lambda s: max(s.value, s.end),
    ),
    OneCycle: (
        st.tuples(values, st.integers(4, 40) | st.floats(4, 40), st.floats(0.3, 0.7), st.floats(1, 50), st.floats(1, 1e5)),
        lambda s: s.peak / s.start_div,
        lambda s: s.peak,
    ),
    Triangular: (
        st.tuples(values, values, lengths, gammas).map(lambda t: (*sorted(t[:2]), *t[2:])),
        lambda s: s.low,
        lambda s: s.high,
    ),
    WarmupStableDecay: (
        st.tuples(values, lengths, st.floats(0, 0.5), st.floats(0, 0.5), values).filter(lambda t: t[1] >= 1),
        lambda s: s.value / max(s.warmup * s.steps, 1),
        lambda s: max(s.value, s.end),
    ),
    Lambda: (st.tuples(st.just(math.sqrt), lengths), lambda s: 0.0, lambda s: math.sqrt(math.ceil(s.steps))),
}
schedules = st.one_of(*(st.builds(lambda args, kind=kind: kind(*args), args) for kind, (args, *_) in EVERY.items()))
NAMES = {name: kind for module in (optimizers.schedules, optimizers.cycles) for name, kind in vars(module).items()}


def test_no_schedule_was_forgotten():
    made = {kind for kind in NAMES.values() if isinstance(kind, type) and issubclass(kind, Schedule)}
    assert made == {*EVERY, Schedule, Warmup, Join, Product, Repeat, per_epoch}


@settings(max_examples=600)
@given(schedules)
def test_values_are_numbers_within_bounds_and_begin_as_documented(schedule):
    _, first, greatest = EVERY[type(schedule)]
    assert schedule(0) == pytest.approx(first(schedule), rel=1e-14, abs=0)
    for k in (*range(60), 10**3, 10**6):
        assert type(schedule(k)) in (float, int)
        assert 0 <= schedule(k) <= greatest(schedule) * (1 + 1e-14)
    assert schedule.values(20) == [schedule(k) for k in range(20)]


@settings(max_examples=200)
@given(st.sampled_from([Linear, Polynomial, Cosine]), values, lengths, values)
def test_both_ends_are_exact(kind, value, steps, end):
    schedule = kind(value, steps, end=end)
    assert schedule(0) == value
    assert schedule(math.ceil(steps)) == end


@settings(max_examples=600)
@given(st.one_of(schedules, composed))
def test_past_its_length_a_schedule_holds(schedule):
    if math.isfinite(schedule.length):
        end = math.ceil(schedule.length)
        assert {schedule(k) for k in (*range(end, end + 30), 2 * end + 1, 10**6)} == {schedule(10**9)}


@settings(max_examples=300)
@given(st.one_of(schedules, composed))
def test_repr_pickle_and_hash(schedule):
    written = repr(schedule).replace("<built-in function sqrt>", "sqrt")
    for again in (eval(written, {**NAMES, "inf": math.inf, "sqrt": math.sqrt}), pickle.loads(pickle.dumps(schedule))):
        assert again == schedule
        assert hash(again) == hash(schedule)
        assert again.values(20) == schedule.values(20)


def test_arguments_become_plain_numbers():
    schedule = Cosine(np.float32(0.5), np.int64(10), Fraction(1, 4))
    assert repr(schedule) == "Cosine(value=0.5, steps=10, end=0.25, periodic=False)"
    assert [type(x) for x in (schedule.value, schedule.steps, schedule.end)] == [float, int, float]
    assert type(Constant(np.float64(0.1))(0)) is float
    assert repr(MultiStep(np.float64(1.0), np.array([5, 2]))) == "MultiStep(value=1.0, milestones=(2, 5), gamma=0.1)"


# Pictures -------------------------------------------------------------------------------------------------------------


def test_plot_draws_value_against_step():
    schedule = Warmup(4) >> Linear(8.0, 4)
    ax = schedule.plot(10)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "value")
    (line,) = ax.lines
    assert list(line.get_xdata()) == list(range(10))
    assert list(line.get_ydata()) == schedule.values(10)
    other = Constant(2.0)
    assert other.plot(3, ax=ax) is ax
    assert list(ax.lines[1].get_ydata()) == [2, 2, 2]
    assert [line.get_label() for line in ax.lines] == [repr(schedule), repr(other)]


def test_drawing_imports_no_pyplot_and_importing_no_matplotlib(tmp_path):
    code = """
import sys
from optimizers.schedules import Linear
assert "matplotlib" not in sys.modules
Linear(1.0, 5).plot(9).figure.savefig(sys.argv[1])
assert "matplotlib.pyplot" not in sys.modules
"""
    picture = tmp_path / "lr.png"
    subprocess.run([sys.executable, "-W", "error", "-c", code, str(picture)], check=True)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="pictures need Matplotlib: pip install matplotlib"):
        Linear(1.0, 5).plot(9)


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
        (lambda: Cosine(0.1, "5"), TypeError, "Cosine: steps must be a number, got '5'"),
        (lambda: InverseTime(0.1, -1), ValueError, "InverseTime: rate must be non-negative and finite, got -1"),
        (lambda: InverseTime(0.1, 1, 0), ValueError, "InverseTime: every must be positive and finite, got 0"),
        (lambda: Power(-0.1), ValueError, "Power: value must be non-negative and finite, got -0.1"),
        (lambda: Power(0.1, -1), ValueError, "Power: exponent must be non-negative and finite, got -1"),
        (lambda: Linear(0.1, 0), ValueError, "Linear: steps must be positive and finite, got 0"),
        (lambda: Linear(0.1, 5, math.nan), ValueError, "Linear: end must be non-negative and finite, got nan"),
        (lambda: Polynomial(0.1, 5, 0), ValueError, "Polynomial: power must be positive and finite, got 0"),
        (
            lambda: Lambda(0.1),
            TypeError,
            r"Lambda: function must be a function of the step, such as lambda k: 0.1, got 0.1",
        ),
        (lambda: Lambda(math.sqrt, 0), ValueError, "Lambda: steps must be positive, got 0"),
        (lambda: Repeat(Constant(0.1, 2), 0), ValueError, "Repeat: times must be a positive whole number, got 0"),
        (lambda: Repeat(Constant(0.1, 2), 1.5), ValueError, "Repeat: times must be a positive whole number, got 1.5"),
        (lambda: Repeat(Constant(0.1)), ValueError, r"Repeat: Constant\(.* has inf steps: give it an end"),
        (lambda: Repeat(MultiStep(0.1, [])), ValueError, r"Repeat: MultiStep\(.* has 0 steps: give it an end"),
        (lambda: Repeat(Warmup(3)), TypeError, r"Repeat: what does Warmup\(steps=3, start=0.0\) rise to\?"),
        (
            lambda: per_epoch(Constant(0.1), 0),
            ValueError,
            "per_epoch: steps_per_epoch must be a positive whole number, got 0",
        ),
        (lambda: per_epoch(Constant(0.1), 2.5), ValueError, "steps_per_epoch must be a positive whole number, got 2.5"),
        (lambda: Warmup(3) * Warmup(4), TypeError, r"Warmup\(.* \* Warmup\(.* has nothing to rise to"),
        (lambda: Warmup(5, -1), ValueError, r"Warmup: start must be in \[0, 1\], got -1"),
        (lambda: Warmup(5, 1.5), ValueError, r"Warmup: start must be in \[0, 1\], got 1.5"),
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
