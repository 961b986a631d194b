"""Plateau: when it cuts, by how much, and that resuming is exact. Equality with PyTorch is in test_lr_scheduler.py."""

import json
import math
import pickle
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizers import SGD
from optimizers.plateau import Plateau, Reduced
from optimizers.schedules import Constant, Cosine, Exponential, Linear, Schedule, Warmup


def parameter():
    return SimpleNamespace(data=np.zeros(2), grad=None)


def new_optimizer(lr=1.0):
    return SGD([parameter()], lr=lr)


def cuts(metrics, optimizer=None, **options):
    """The indices of the metrics after which the rate was cut."""
    plateau = Plateau(optimizer or new_optimizer(), **{"factor": 0.5, "patience": 0, **options})
    return [i for i, metric in enumerate(metrics) if plateau.step(metric)]


# When -----------------------------------------------------------------------------------------------------------------


def test_it_cuts_after_more_than_patience_steps_without_a_better_metric():
    assert cuts([1, 1, 1, 1, 1, 1, 1], patience=2) == [3, 6]
    assert cuts([1, 1, 1], patience=0) == [1, 2]
    assert cuts([1, 2, 0.5, 2, 2, 0.5, 0.4], patience=1) == [4]
    assert cuts([5, 4, 3, 2, 1, 0, -1, -2], patience=0) == []


def test_the_best_is_the_best_ever_not_the_one_before():
    assert cuts([1, 3, 2, 1.5, 1.2], patience=3) == [4]


@pytest.mark.parametrize("best", [1.0, 100.0, -1.0, -100.0])
def test_a_relative_margin_is_a_share_of_the_best_whatever_its_sign(best):
    size = abs(best)
    for mode, better in (("min", -1), ("max", 1)):
        assert cuts([best, best + better * 0.011 * size], mode=mode, threshold=0.01) == []
        assert cuts([best, best + better * 0.009 * size], mode=mode, threshold=0.01) == [1]
        assert cuts([best, best], mode=mode, threshold=0.01) == [1]


@pytest.mark.parametrize("best", [1.0, 100.0, -1.0, 0.0])
def test_an_absolute_margin_is_the_threshold(best):
    for mode, better in (("min", -1), ("max", 1)):
        assert cuts([best, best + better * 0.2501], mode=mode, threshold=0.25, threshold_mode="abs") == []
        assert cuts([best, best + better * 0.25], mode=mode, threshold=0.25, threshold_mode="abs") == [1]


def test_without_a_threshold_any_gain_counts():
    assert cuts([1.0, math.nextafter(1.0, 0)], threshold=0) == []
    assert cuts([1.0, 1.0], threshold=0) == [1]
    assert cuts([0.0, -1e-300], threshold=0.5) == []


def test_nothing_is_counted_during_the_cooldown():
    assert cuts([1] * 12, patience=1, cooldown=3) == [2, 7]
    assert cuts([1] * 9, patience=0, cooldown=2) == [1, 4, 7]
    assert cuts([1, 1, 0.5, 0.5, 0.5, 0.5], patience=0, cooldown=2) == [
        1,
        4,
    ]  # a gain in the cooldown is kept


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_metric_that_is_not_finite_counts_as_worse_and_warns_once(bad):
    plateau = Plateau(new_optimizer(), patience=1)
    with pytest.warns(UserWarning, match=f"Plateau: the metric is {bad}; such steps count as worse") as caught:
        plateau.step(bad)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert plateau.best is None
        assert [plateau.step(m) for m in (bad, 1.0, bad, 0.5, bad, bad)] == [True, False, False, False, False, True]
    assert plateau.best == 0.5


@pytest.mark.parametrize("metric", [np.float32(1.5), np.array(1.5), 1.5, 3, np.int64(3)])
def test_whatever_is_a_number_may_be_a_metric(metric):
    plateau = Plateau(new_optimizer())
    plateau.step(metric)
    assert type(plateau.best) is float
    assert plateau.best == metric


@pytest.mark.parametrize("metric", [None, "1.5", True, [1.5, 2.5], 1j])
def test_what_is_no_number_may_not(metric):
    with pytest.raises(TypeError, match="Plateau: metric must be a number, got "):
        Plateau(new_optimizer()).step(metric)


# By how much ----------------------------------------------------------------------------------------------------------


def test_every_group_is_cut_by_the_factor():
    optimizer = SGD([{"params": [parameter()]}, {"params": [parameter()], "lr": 0.2}], lr=1.0)
    plateau = Plateau(optimizer, factor=0.25, patience=0)
    for _ in range(3):
        plateau.step(1.0)
    assert [group["lr"] for group in optimizer.param_groups] == [1 / 16, 0.2 / 16]


def test_a_number_falls_to_min_lr_and_is_never_raised_to_it():
    optimizer = SGD([{"params": [parameter()]}, {"params": [parameter()], "lr": 0.01}], lr=1.0)
    plateau = Plateau(optimizer, factor=0.1, patience=0, min_lr=0.05)
    rates = []
    for _ in range(4):
        plateau.step(1.0)
        rates.append([group["lr"] for group in optimizer.param_groups])
    assert rates == [[1.0, 0.01], [0.1, 0.01], [0.05, 0.01], [0.05, 0.01]]


def test_a_rate_set_by_hand_is_cut_from_there():
    optimizer = new_optimizer()
    plateau = Plateau(optimizer, factor=0.5, patience=0)
    plateau.step(1.0)
    optimizer.lr = 0.3
    plateau.step(1.0)
    assert optimizer.lr == 0.15


@pytest.mark.parametrize("schedule", [Warmup(3) >> Cosine(1.0, 9), Exponential(1.0, 0.9), lambda k: 1 / (k + 1)])
def test_a_schedule_goes_on_multiplied_by_all_cuts(schedule):
    optimizer = new_optimizer(schedule)
    plateau = Plateau(optimizer, factor=0.5, patience=0)
    p = optimizer.param_groups[0]["params"][0]
    rates = []
    for _ in range(4):
        plateau.step(1.0)
        rates.append(optimizer.lr)
        p.grad = np.ones(2)
        optimizer.step()
    assert rates == [schedule(0), 0.5 * schedule(1), 0.25 * schedule(2), 0.125 * schedule(3)]
    reduced = optimizer.param_groups[0]["lr"]
    assert not isinstance(reduced.schedule, Reduced)  # however often it is cut
    assert reduced.steps == (schedule.steps if isinstance(schedule, Schedule) else math.inf)


def test_min_lr_holds_a_schedule_up_but_never_above_itself():
    schedule = Linear(1.0, 10)
    cut = Reduced(schedule, 0.1, floor=0.05)
    assert np.allclose(cut.values(12), [0.1, 0.09, 0.08, 0.07, 0.06, *[0.05] * 5, 0, 0])
    for original in (schedule, Warmup(10) >> Constant(1.0)):
        assert all(
            min(s, 0.05) <= c <= s
            for s, c in zip(original.values(20), Reduced(original, 1e-3, 0.05).values(20), strict=True)
        )
    assert Reduced(schedule, 0.1).values(20) == (0.1 * schedule).values(20)
    assert Reduced(schedule, 0.1).steps == 10
    assert (Reduced(schedule, 0.1) >> Constant(1.0))(10) == 1.0
    optimizer = new_optimizer(schedule)
    plateau = Plateau(optimizer, factor=0.1, patience=0, min_lr=0.05)
    for _ in range(3):
        plateau.step(1.0)
    assert optimizer.param_groups[0]["lr"] == Reduced(schedule, 0.1 * 0.1, 0.05)
    assert optimizer.lr == 0.05


@settings(max_examples=60)
@given(
    st.lists(st.floats(-10, 10), max_size=40), st.integers(0, 4), st.integers(0, 4), st.floats(0.1, 0.9), st.floats(0, 0.1)
)
def test_a_constant_schedule_is_cut_like_the_number(metrics, patience, cooldown, factor, min_lr):
    options = {"patience": patience, "cooldown": cooldown, "factor": factor, "min_lr": min_lr}
    optimizers = [new_optimizer(0.7), new_optimizer(Constant(0.7)), new_optimizer(lambda k: 0.7)]
    plateaus = [Plateau(optimizer, **options) for optimizer in optimizers]
    for metric in metrics:
        assert len({plateau.step(metric) for plateau in plateaus}) == 1
        assert min_lr <= optimizers[0].lr <= 0.7
        assert optimizers[1].lr == optimizers[2].lr == pytest.approx(optimizers[0].lr, rel=1e-13)


@settings(max_examples=60)
@given(st.lists(st.floats(-10, 10), max_size=40), st.floats(0, 0.1), st.sampled_from(["rel", "abs"]), st.integers(0, 3))
def test_max_of_a_metric_is_min_of_its_negative(metrics, threshold, threshold_mode, patience):
    options = {"threshold": threshold, "threshold_mode": threshold_mode, "patience": patience}
    assert cuts(metrics, mode="max", **options) == cuts([-m for m in metrics], mode="min", **options)


# Resuming -------------------------------------------------------------------------------------------------------------

METRICS = [1.0, 0.9, 0.95, 0.95, 0.9, 0.8, 0.85, 0.85, 0.85, 0.85, 0.7, 0.75, 0.75, 0.75, 0.75]
MAKERS = {
    "number": lambda: new_optimizer(0.7),
    "schedule": lambda: new_optimizer(Warmup(3) >> Cosine(0.7, 30)),
    "function": lambda: new_optimizer(lambda k: 0.7 / (k + 1)),
    "both": lambda: SGD([{"params": [parameter()]}, {"params": [parameter()], "lr": Exponential(0.3, 0.9)}], lr=0.7),
}


def run(optimizer, plateau, metrics):
    """The rates of each group after each metric."""
    found = []
    for metric in metrics:
        for group in optimizer.param_groups:
            group["params"][0].grad = np.ones(2)
        optimizer.step()
        plateau.step(metric)
        found.append([g["lr"](optimizer.steps) if callable(g["lr"]) else g["lr"] for g in optimizer.param_groups])
    return found


@pytest.mark.parametrize("plateau_first", [True, False])
@pytest.mark.parametrize("at", range(len(METRICS)))
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_resuming_is_exact_before_or_after_the_optimizer(make, at, plateau_first):
    options = {"factor": 0.3, "patience": 1, "cooldown": 1, "min_lr": 0.05}
    optimizer = make()
    plateau = Plateau(optimizer, **options)
    run(optimizer, plateau, METRICS[:at])
    states = [optimizer.state_dict(), json.loads(json.dumps(plateau.state_dict()))]
    expected = run(optimizer, plateau, METRICS[at:])

    again = make()
    resumed = Plateau(again, **options)
    pairs = [(again, states[0]), (resumed, states[1])]
    for thing, state in reversed(pairs) if plateau_first else pairs:
        thing.load_state_dict(state)
    assert run(again, resumed, METRICS[at:]) == expected


@pytest.mark.parametrize("lr", [0.7, Cosine(1.0, 9)])
def test_loading_takes_back_cuts_made_since(lr):
    optimizer = new_optimizer(lr)
    plateau = Plateau(optimizer, patience=0)
    saved = plateau.state_dict()
    plateau.step(1.0)
    plateau.step(1.0)
    assert optimizer.param_groups[0]["lr"] != lr
    plateau.load_state_dict(saved)
    assert optimizer.param_groups[0]["lr"] == lr
    assert (plateau.best, plateau.bad, plateau.cooling) == (None, 0, 0)


def test_a_plateau_can_be_pickled_with_its_optimizer():
    plateau = Plateau(new_optimizer(0.7), patience=1, factor=0.5)
    run(plateau.optimizer, plateau, METRICS[:4])
    again = pickle.loads(pickle.dumps(plateau))
    assert run(again.optimizer, again, METRICS[4:]) == run(plateau.optimizer, plateau, METRICS[4:])


def test_states_that_do_not_fit_are_refused_and_change_nothing():
    numbers, schedules = new_optimizer(0.7), new_optimizer(Cosine(0.7, 9))
    a, b, both = Plateau(numbers), Plateau(schedules), Plateau(MAKERS["both"]())
    with pytest.raises(ValueError, match="Plateau: the state has 2 groups, the optimizer has 1"):
        a.load_state_dict(both.state_dict())
    with pytest.raises(ValueError, match="the lr of group 0 was a schedule when the state was saved, and is a number now"):
        a.load_state_dict(b.state_dict())
    with pytest.raises(ValueError, match="the lr of group 0 was a number when the state was saved, and is a schedule now"):
        b.load_state_dict(a.state_dict())
    saved = both.state_dict()
    saved["groups"] = [{"lr": 0.01}, {"lr": 0.01}]
    with pytest.raises(ValueError, match="the lr of group 1 was a number"):
        both.load_state_dict(saved)
    assert [group["lr"] for group in both.optimizer.param_groups] == [0.7, Exponential(0.3, 0.9)]


# Bad arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mode": "minimum"}, ValueError, "Plateau: mode must be 'min' or 'max', got 'minimum'"),
        ({"threshold_mode": "relative"}, ValueError, "Plateau: threshold_mode must be 'rel' or 'abs', got 'relative'"),
        ({"factor": 1.0}, ValueError, r"Plateau: factor must be between 0 and 1, got 1\.0"),
        ({"factor": 0}, ValueError, "Plateau: factor must be between 0 and 1, got 0"),
        ({"factor": -2}, ValueError, "Plateau: factor must be between 0 and 1, got -2"),
        ({"factor": math.nan}, ValueError, "Plateau: factor must be between 0 and 1, got nan"),
        ({"factor": "0.1"}, TypeError, "Plateau: factor must be a number, got '0.1'"),
        ({"patience": -1}, ValueError, "Plateau: patience must be a whole number, 0 or more, got -1"),
        ({"patience": 2.5}, ValueError, r"Plateau: patience must be a whole number, 0 or more, got 2\.5"),
        ({"cooldown": -1}, ValueError, "Plateau: cooldown must be a whole number, 0 or more, got -1"),
        ({"threshold": -1e-4}, ValueError, "Plateau: threshold must be non-negative and finite, got -0.0001"),
        ({"min_lr": math.inf}, ValueError, "Plateau: min_lr must be non-negative and finite, got inf"),
    ],
)
def test_bad_arguments_are_refused_at_construction(options, error, message):
    with pytest.raises(error, match=message):
        Plateau(new_optimizer(), **options)


def test_the_optimizer_must_be_one():
    with pytest.raises(TypeError, match="Plateau: optimizer must be an optimizer, with param_groups, got 0.1"):
        Plateau(0.1)


def test_a_reduced_schedule_is_a_value_like_all_others():
    cut = Reduced(Cosine(1.0, 9), 0.1, 0.05)
    names = {"Reduced": Reduced, "Cosine": Cosine}
    assert eval(repr(cut), names) == pickle.loads(pickle.dumps(cut)) == cut
    assert len({cut, Reduced(Cosine(1.0, 9), 0.1, 0.05)}) == 1
    with pytest.raises(ValueError, match=r"Reduced: cut must be in \[0, 1\], got 2"):
        Reduced(Cosine(1.0, 9), 2)
