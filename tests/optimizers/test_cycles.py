"""Schedules that rise and fall: values written down here, at their turns and ends.

What holds for all schedules, and the algebra of Repeat and per_epoch, is in test_schedules.py; equality with PyTorch in
test_lr_scheduler.py.
"""

import math

import numpy as np
import pytest

from optimizers.cycles import CosineRestarts, OneCycle, Repeat, Triangular, WarmupStableDecay, per_epoch
from optimizers.schedules import Constant, Cosine, Exponential, Linear, Step, Warmup

HALF = math.sqrt(0.5)


def close(schedule, expected):
    values = schedule.values(len(expected))
    assert np.allclose(values, expected, rtol=1e-14, atol=1e-16), values


# Cosine with restarts -------------------------------------------------------------------------------------------------


def test_restarts_are_cosines_one_after_the_other():
    cycle = [2, 1 + HALF, 1, 1 - HALF]
    close(CosineRestarts(2.0, 4), 3 * cycle)
    close(CosineRestarts(2.0, 4, cycles=2), [*cycle, *cycle, 0, 0, 0])
    close(CosineRestarts(2.0, 4, end=0.5), Repeat(Cosine(2.0, 4, 0.5)).values(40))
    long = Repeat(CosineRestarts(2.0, 3, mult=2, end=0.5, cycles=3), 2)
    close(long, 2 * (Cosine(2.0, 3, 0.5).values(3) + Cosine(2.0, 6, 0.5).values(6) + Cosine(2.0, 12, 0.5).values(12)))


def test_restarts_may_be_lower_each_time_but_end_as_low():
    expected = Cosine(5.0, 2, 1.0).values(2) + Cosine(3.0, 4, 1.0).values(4) + Cosine(2.0, 8, 1.0).values(8)
    close(CosineRestarts(5.0, 2, mult=2, end=1.0, decay=0.5), expected)
    close(CosineRestarts(5.0, 2, mult=2, end=1.0, decay=0.5, cycles=3), [*expected, 1, 1, 1])
    close(CosineRestarts(4.0, 2, decay=0.5), [4, 2, 2, 1, 1, 0.5, 0.5])


@pytest.mark.parametrize(("mult", "length"), [(1, 15), (2, 35), (1.5, 5 + 7.5 + 11.25)])
def test_restarts_end_after_their_cycles(mult, length):
    schedule = CosineRestarts(2.0, 5, mult=mult, end=0.5, cycles=3)
    assert schedule.length == length
    assert schedule(math.ceil(length) - 1) > 0.5
    assert schedule(math.ceil(length)) == schedule(10**9) == 0.5
    close(schedule >> Constant(9.0), [*schedule.values(math.ceil(length)), 9, 9])
    assert CosineRestarts(2.0, 5, mult=mult).length == math.inf


def test_a_restart_long_after_is_still_exact():
    schedule = CosineRestarts(2.0, 7, end=0.1)
    assert schedule(7 * 10**12) == 2.0
    assert schedule(7 * 10**12 + 3) == schedule(3)
    assert CosineRestarts(2.0, 7, mult=3)(7 * (3**20 - 1) // 2) == 2.0


# One cycle ------------------------------------------------------------------------------------------------------------


def test_one_cycle_rises_for_its_warmup_and_falls_to_its_end():
    schedule = OneCycle(8.0, 10, warmup=0.4, start_div=4, end_div=10)
    close(schedule, Cosine(2.0, 4, 8.0).values(4) + Cosine(8.0, 6, 0.2).values(10))
    assert schedule(4) == 8.0
    assert schedule(10) == schedule(11) == schedule(10**9) == 0.2
    assert max(schedule.values(50)) == 8.0


def test_one_cycle_has_pytorchs_divisors_by_default():
    schedule = OneCycle(1.0, 10)
    assert schedule(0) == 1 / 25
    assert schedule(10) == 1 / 25 / 1e4
    assert schedule(3) == 1.0


def test_height_is_0_at_both_ends_and_1_at_the_peak():
    schedule = OneCycle(8.0, 10, warmup=0.4)
    heights = [schedule.height(k) for k in range(14)]
    assert np.allclose(heights, Cosine(0.0, 4, 1.0).values(4) + Cosine(1.0, 6, 0.0).values(10), atol=1e-15)


@pytest.mark.parametrize(("steps", "warmup"), [(3, 0.3), (10, 0.0), (10, 1.0), (10, 0.09), (10, 0.91), (1, 0.5)])
def test_one_cycle_refuses_an_empty_phase(steps, warmup):
    with pytest.raises(ValueError, match=f"OneCycle: {steps} steps with warmup={warmup} are .* each needs at least 1"):
        OneCycle(1.0, steps, warmup)


@pytest.mark.parametrize(("steps", "warmup"), [(2, 0.5), (10, 0.1), (10, 0.9), (49, 1 / 49), (49, 48 / 49), (4, 0.3)])
def test_one_cycle_with_a_step_in_each_phase_is_accepted(steps, warmup):
    schedule = OneCycle(1.0, steps, warmup)
    assert schedule(0) == 1 / 25
    assert schedule(steps) == 1 / 25 / 1e4


def test_one_cycles_message_says_how_long_the_phases_are():
    with pytest.raises(ValueError, match=r"3 steps with warmup=0.3 are 0\.9 up and 2\.1 down: .* so take more steps"):
        OneCycle(1.0, 3)


# Triangles ------------------------------------------------------------------------------------------------------------


def test_triangles():
    close(Triangular(1.0, 5.0, half=4), 2 * [1, 2, 3, 4, 5, 4, 3, 2])
    close(Triangular(1.0, 5.0, half=2, decay=0.5), [1, 3, 5, 3, 1, 2, 3, 2, 1, 1.5, 2, 1.5, 1])
    close(Triangular(0.0, 1.0, half=2.5), [0, 0.4, 0.8, 0.8, 0.4, 0])
    close(Triangular(1.0, 5.0, half=3), Repeat(Linear(1.0, 3, 5.0) >> Linear(5.0, 3, 1.0)).values(50))
    close(Triangular(2.0, 2.0, half=3), [2] * 20)


# Warm up, stay, decay -------------------------------------------------------------------------------------------------


def test_warmup_stable_decay_is_what_it_says():
    close(WarmupStableDecay(3.0, 100), (Warmup(10) >> Constant(3.0, 70) >> Linear(3.0, 20)).values(150))
    schedule = WarmupStableDecay(3.0, 40, warmup=0.05, decay=0.5, end=1.0)
    close(schedule, (Warmup(2) >> Constant(3.0, 18) >> Linear(3.0, 20, 1.0)).values(60))
    close(WarmupStableDecay(3.0, 4, warmup=0.5, decay=0.5), [1.5, 3, 3, 1.5, 0, 0])
    close(WarmupStableDecay(3.0, 4, warmup=0, decay=0), [3] * 9)
    close(WarmupStableDecay(3.0, 4, warmup=1, decay=0), [0.75, 1.5, 2.25, 3, 3, 3])
    close(WarmupStableDecay(3.0, 4, warmup=0, decay=1, end=1.0), [3, 2.5, 2, 1.5, 1, 1])


# Bad arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: CosineRestarts(1.0, 0), ValueError, "CosineRestarts: steps must be positive and finite, got 0"),
        (lambda: CosineRestarts(1.0, 5, 0.5), ValueError, "CosineRestarts: mult must be at least 1 and finite, got 0.5"),
        (lambda: CosineRestarts(1.0, 5, decay=1.5), ValueError, r"CosineRestarts: decay must be in \(0, 1\], got 1.5"),
        (lambda: CosineRestarts(1.0, 5, decay=0), ValueError, r"CosineRestarts: decay must be in \(0, 1\], got 0"),
        (
            lambda: CosineRestarts(1.0, 5, cycles=0),
            ValueError,
            "CosineRestarts: cycles must be a positive whole number, got 0",
        ),
        (lambda: CosineRestarts(1.0, 5, cycles=2.5), ValueError, "cycles must be a positive whole number, got 2.5"),
        (lambda: CosineRestarts(1.0, 5) >> Constant(1.0), ValueError, r"^CosineRestarts\(.*never ends"),
        (lambda: OneCycle(-1.0, 10), ValueError, "OneCycle: peak must be non-negative and finite, got -1.0"),
        (lambda: OneCycle(1.0, 10, 1.5), ValueError, r"OneCycle: warmup must be in \[0, 1\], got 1.5"),
        (
            lambda: OneCycle(1.0, 10, start_div=0.5),
            ValueError,
            "OneCycle: start_div must be at least 1 and finite, got 0.5",
        ),
        (lambda: OneCycle(1.0, 10, end_div=0), ValueError, "OneCycle: end_div must be at least 1 and finite, got 0"),
        (lambda: Triangular(2.0, 1.0, 5), ValueError, r"Triangular: low must not be above high, got 2\.0 and 1\.0"),
        (lambda: Triangular(1.0, 2.0, 0), ValueError, "Triangular: half must be positive and finite, got 0"),
        (lambda: Triangular(1.0, 2.0, 5) >> Constant(1.0), ValueError, r"^Triangular\(.*never ends"),
        (lambda: Repeat(Exponential(1.0, 0.9)), ValueError, r"Repeat: Exponential\(.* has inf steps: give it an end"),
        (lambda: Repeat(Constant(1.0, 2)) >> Constant(1.0), ValueError, r"^Repeat\(.*never ends"),
        (lambda: per_epoch(Step(1.0, 2), 5) >> Constant(1.0), ValueError, r"^per_epoch\(.*never ends"),
        (
            lambda: WarmupStableDecay(1.0, 10, 0.6, 0.5),
            ValueError,
            "WarmupStableDecay: warmup=0.6 and decay=0.5 are shares of the steps: together they must be at most 1",
        ),
        (lambda: WarmupStableDecay(1.0, 10, 100), ValueError, r"WarmupStableDecay: warmup must be in \[0, 1\], got 100"),
    ],
)
def test_bad_arguments_are_refused_at_construction(make, error, message):
    with pytest.raises(error, match=message):
        make()
