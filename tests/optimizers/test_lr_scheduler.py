"""PyTorch's scheduler names: its learning rates, recorded, where we agree; and every intended difference, as a difference.

The record (tests/goldens/schedules.json) goes three times as far as each scheduler runs. The same record judges the pure
schedules that the adapters are made of, and Plateau.
"""

import copy
import json
import math
import pickle
import runpy
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from optimizers import SGD, Adam, lr_scheduler
from optimizers.cycles import CosineRestarts, OneCycle, Triangular
from optimizers.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)
from optimizers.plateau import Plateau
from optimizers.schedules import Constant, Cosine, Exponential, Linear, MultiStep, Polynomial, Step

GOLDENS = Path(__file__).parents[1] / "goldens"
record = json.loads((GOLDENS / "schedules.json").read_text())
CASES = record["cases"]
# The cases that differ on purpose: the last step at which PyTorch and we agree. Ours then stays; PyTorch's rises, or raises.
STAYS_AFTER = {
    "cosine": 10,
    "cosine to 0.1": 7,
    "one cycle": 19,
    "one cycle, other divisors": 14,
    "one cycle with momentum": 12,
    "sequence": 12,
    "sequence of three": 14,
}
DROPS_A_STEP = "sequence of a sequence"  # PyTorch's alone
SCHEDULES = {
    "step": Step(0.3, 3, 0.5),
    "step of one": Step(0.3, 1),
    "multi-step": MultiStep(0.3, [3, 7, 12]),
    "multi-step, unsorted, twice and at 0": MultiStep(0.3, [5, 0, 2, 2], 0.5),
    "exponential": Exponential(0.3, 0.9),
    "constant": Constant(0.1, 5) >> Constant(0.3),
    "linear": Linear(0.1, 5, 0.3),
    "linear, falling": Linear(0.3, 7, 0.03),
    "polynomial": Polynomial(0.3, 9, 0.9),
    "cosine": Cosine(0.3, 10, periodic=True),
    "cosine to 0.1": Cosine(0.3, 7, 0.1, periodic=True),
    "restarts": CosineRestarts(0.3, 5),
    "restarts, doubled": CosineRestarts(0.3, 3, 2, 0.05),
    "restarts, tripled": CosineRestarts(0.3, 1, 3),
    "cyclic": Triangular(0.1, 0.5, 4),
    "cyclic, halved": Triangular(0.1, 0.5, 3, decay=0.5),
    "sequence of three": Linear(0.075, 4, 0.3) >> Constant(0.15, 2) >> Cosine(0.3, 8, periodic=True),
}


def parameter():
    return SimpleNamespace(data=np.zeros(2), grad=None)


def new_optimizer(lr=record["lr"], **options):
    return SGD([parameter()], lr=lr, momentum=record["momentum"], **options)


def two_groups():
    return SGD([{"params": [parameter()]}, {"params": [parameter()], "lr": 0.02}], lr=0.3, momentum=0.9)


def make(optimizer, name, arguments):
    arguments = dict(arguments)
    if "schedulers" in arguments:
        arguments["schedulers"] = [make(optimizer, *one) for one in arguments["schedulers"]]
    return getattr(lr_scheduler, name)(optimizer, **arguments)


def rates(scheduler, steps, read=lambda scheduler: scheduler.get_last_lr()[0]):
    """What is read after 0, 1, ... steps."""
    found = [read(scheduler)]
    for _ in range(steps):
        scheduler.step()
        found.append(read(scheduler))
    return found


def ours(name, case=None, **read):
    case = case or CASES[name]
    return rates(make(new_optimizer(), case["scheduler"], case["arguments"]), case["steps"], **read)


def close(a, b):
    return len(a) == len(b) and np.allclose(a, b, rtol=1e-12, atol=1e-15)


# Against PyTorch's record ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES.keys() - STAYS_AFTER - {DROPS_A_STEP})
def test_equal_to_pytorch_all_the_way(name):
    assert len(CASES[name]["lr"]) == CASES[name]["steps"] + 1
    assert close(ours(name), CASES[name]["lr"])


@pytest.mark.parametrize("name", STAYS_AFTER)
def test_equal_to_pytorch_until_the_end_and_then_stays_where_pytorchs_rises(name):
    last, theirs, mine = STAYS_AFTER[name], CASES[name]["lr"], ours(name)
    assert close(mine[: last + 1], theirs[: last + 1])
    assert len(mine) == CASES[name]["steps"] + 1
    assert set(mine[last:]) == {mine[last]}
    assert theirs[last + 1] > theirs[last] + 0.001  # so the difference is there


def test_a_sequence_in_a_sequence_equals_the_flat_one():
    assert ours(DROPS_A_STEP) == ours("sequence of three")
    assert CASES[DROPS_A_STEP]["lr"][3] != pytest.approx(CASES["sequence of three"]["lr"][3])  # PyTorch drops a step


def test_one_cycle_cycles_momentum_as_pytorch_does_but_only_if_asked():
    case = CASES["one cycle with momentum"]
    last = STAYS_AFTER["one cycle with momentum"]
    momenta = ours(None, case, read=lambda scheduler: scheduler.optimizer.param_groups[0]["momentum"])
    assert close(momenta[: last + 1], case["momentum"][: last + 1])
    assert set(momenta[last:]) == {0.95}
    plain = {**case, "arguments": {k: v for k, v in case["arguments"].items() if k != "cycle_momentum"}}
    assert set(ours(None, plain, read=lambda scheduler: scheduler.optimizer.param_groups[0]["momentum"])) == {0.9}


def test_one_cycle_cycles_the_first_of_betas():
    optimizer = Adam([parameter()], lr=0.3, betas=(0.9, 0.99))
    case = CASES["one cycle with momentum"]
    scheduler = make(optimizer, case["scheduler"], case["arguments"])
    betas = rates(scheduler, 12, read=lambda _: optimizer.param_groups[0]["betas"])
    assert close([b for b, _ in betas], case["momentum"][:13])
    assert {b for _, b in betas} == {0.99}


@pytest.mark.parametrize("name", SCHEDULES)
def test_pure_schedules_equal_pytorch(name):
    theirs = CASES[name]["lr"]
    assert close(SCHEDULES[name].values(len(theirs)), theirs)


def test_a_pure_one_cycle_peaks_and_ends_one_step_later_than_pytorchs():
    """Its phases end at warmup * steps and at steps; PyTorch's at pct_start * total_steps - 1 and total_steps - 1."""
    theirs = CASES["one cycle"]["lr"][:20]
    assert close(OneCycle(0.7, 19, warmup=5 / 19).values(20), theirs)
    assert np.argmax(OneCycle(0.7, 20).values(30)) == np.argmax(theirs) + 1 == 6
    assert np.argmin(OneCycle(0.7, 20).values(30)) == np.argmin(theirs) + 1 == 20


@pytest.mark.parametrize("name", record["plateaus"])
def test_plateau_equals_pytorch_unless_the_metric_is_negative(name):
    case = record["plateaus"][name]
    optimizer = new_optimizer()
    plateau, found = ReduceLROnPlateau(optimizer, **case["arguments"]), []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Plateau: the metric is nan")
        for metric in case["metrics"]:
            plateau.step(float(metric))
            found.append(optimizer.lr)
    if name.startswith("negative"):  # PyTorch never cuts: best * (1 - threshold) is above a negative best
        assert set(case["lr"]) == {0.3}
        assert found == {"negative": [0.3 / 2**k for k in range(6)], "negative, rising": [0.3, 0.3, 0.15, 0.15, 0.15]}[name]
    else:
        assert close(found, case["lr"])


def test_the_record_is_what_pytorch_does_today():
    pytest.importorskip("torch", reason="compares the record with PyTorch; the other tests need the record only")
    assert runpy.run_path(str(GOLDENS / "make_schedules.py"))["differences"]() == []


def test_the_record_has_every_scheduler():
    kinds = {k for k in vars(lr_scheduler).values() if isinstance(k, type) and issubclass(k, LRScheduler)}
    recorded = {case["scheduler"] for case in CASES.values()}
    assert {k.__name__ for k in kinds - {LRScheduler, LambdaLR}} == recorded
    assert ReduceLROnPlateau is Plateau


# What PyTorch refuses, or does not have -------------------------------------------------------------------------------


def test_linear_may_start_at_0():
    assert close(rates(LinearLR(new_optimizer(), start_factor=0.0, total_iters=3), 5), [0, 0.1, 0.2, 0.3, 0.3, 0.3])


def test_lambda_multiplies_the_base_rate_of_each_group():
    optimizer = two_groups()
    found = rates(LambdaLR(optimizer, [lambda k: 0.5**k, lambda k: 1 / (1 + k)]), 3, read=LRScheduler.get_last_lr)
    assert close(found, [[0.3, 0.02], [0.15, 0.01], [0.075, 0.02 / 3], [0.0375, 0.005]])
    assert close(rates(LambdaLR(new_optimizer(), lambda k: 0.95**k), 40), Exponential(0.3, 0.95).values(41))
    scheduler = LambdaLR(new_optimizer(), lambda k: 2 - k)
    scheduler.step()
    scheduler.step()
    with pytest.raises(ValueError, match="Lambda: the value at step 3 must be non-negative and finite, got -1"):
        scheduler.step()
    assert (scheduler.last_epoch, scheduler.get_last_lr()) == (2, [0.0])
    optimizer = two_groups()
    scheduler = LambdaLR(optimizer, [lambda k: 0.5, lambda k: 1 - k / 2])
    rates(scheduler, 2)
    with pytest.raises(ValueError, match="step 3"):
        scheduler.step()
    assert (scheduler.last_epoch, scheduler.get_last_lr()) == (2, [0.15, 0.0])  # all groups move, or none


def test_eta_min_may_be_the_rate_itself():
    assert set(rates(CosineAnnealingLR(new_optimizer(), 4, eta_min=0.3), 9)) == {0.3}


def test_every_group_has_its_own_base_rate():
    found = rates(CosineAnnealingLR(two_groups(), 4, eta_min=0.01), 9, read=LRScheduler.get_last_lr)
    assert close(found, list(zip(Cosine(0.3, 4, 0.01).values(10), Cosine(0.02, 4, 0.01).values(10), strict=True)))


def test_groups_may_have_cycles_of_their_own():
    found = rates(OneCycleLR(two_groups(), [0.5, 0.1], total_steps=10), 9, read=LRScheduler.get_last_lr)
    assert close([a for a, _ in found], [5 * b for _, b in found])
    found = rates(CyclicLR(two_groups(), [0.1, 0.0], (0.5, 0.4), step_size_up=4), 9, read=LRScheduler.get_last_lr)
    assert close([a for a, _ in found], [0.1 + b for _, b in found])


# Using one ------------------------------------------------------------------------------------------------------------


def test_the_optimizer_uses_the_rate_and_the_scheduler_tells_it():
    p = parameter()
    optimizer = SGD([p], lr=1.0)
    scheduler = StepLR(optimizer, step_size=2, gamma=0.5)
    moved = []
    for _ in range(5):
        before = p.data[0]
        p.grad = np.ones(2)
        optimizer.step()
        scheduler.step()
        moved.append(before - p.data[0])
    assert moved == [1, 1, 0.5, 0.5, 0.25]
    assert scheduler.get_last_lr() == [optimizer.lr] == [0.25]
    assert scheduler.last_epoch == 5


def make_every(optimizer):
    """One of each kind, as functions without arguments."""
    return [
        lambda: StepLR(optimizer, 3, 0.5),
        lambda: MultiStepLR(optimizer, [3, 7]),
        lambda: ConstantLR(optimizer),
        lambda: LinearLR(optimizer),
        lambda: ExponentialLR(optimizer, 0.9),
        lambda: PolynomialLR(optimizer, 9),
        lambda: CosineAnnealingLR(optimizer, 9, 0.01),
        lambda: CosineAnnealingWarmRestarts(optimizer, 3, 2),
        lambda: OneCycleLR(optimizer, 0.5, 12, cycle_momentum=True),
        lambda: CyclicLR(optimizer, 0.1, 0.5, 3),
        lambda: LambdaLR(optimizer, [lambda k: 0.9**k, lambda k: 1 / (1 + k)]),
        lambda: SequentialLR(
            optimizer, [LinearLR(optimizer), SequentialLR(optimizer, [ExponentialLR(optimizer, 0.8)], [])], [4]
        ),
        lambda: SequentialLR(optimizer, [ConstantLR(optimizer), OneCycleLR(optimizer, 0.5, 12, cycle_momentum=True)], [4]),
    ]


ALL = range(13)


def test_all_kinds_are_in_the_list():
    assert len(make_every(None)) == len(ALL)
    kinds = {k for k in vars(lr_scheduler).values() if isinstance(k, type) and issubclass(k, LRScheduler)}
    assert {type(one(i, two_groups())) for i in ALL} == kinds - {LRScheduler}


def one(i, optimizer):
    return make_every(optimizer)[i]()


def everything(optimizer):
    return [{k: v for k, v in group.items() if k not in ("params", "names")} for group in optimizer.param_groups]


@pytest.mark.parametrize("order", ["state, then scheduler", "scheduler, then states", "scheduler's state first", "late"])
@pytest.mark.parametrize("i", ALL)
def test_resuming_is_exact_in_any_order(i, order):
    optimizer = two_groups()
    scheduler = one(i, optimizer)
    rates(scheduler, 5)
    saved = json.loads(json.dumps([optimizer.state_dict()["hyper"], scheduler.state_dict()]))
    state = {**optimizer.state_dict(), "hyper": saved[0]}
    expected = rates(scheduler, 12, read=lambda _: copy.deepcopy(everything(optimizer)))

    again = two_groups()
    if order == "state, then scheduler":
        again.load_state_dict(state)
    resumed = one(i, again)
    if order == "late":
        rates(resumed, 2)
    if order == "scheduler, then states":
        again.load_state_dict(state)
    resumed.load_state_dict(saved[1])
    if order == "scheduler's state first":
        again.load_state_dict(state)
    assert rates(resumed, 12, read=lambda _: copy.deepcopy(everything(again))) == expected
    assert resumed.last_epoch == 17


def test_a_scheduler_can_be_copied_with_its_optimizer():
    scheduler = CosineAnnealingLR(new_optimizer(), 9)
    rates(scheduler, 3)
    copied, pickled = copy.deepcopy(scheduler), pickle.loads(pickle.dumps(scheduler))
    expected = rates(scheduler, 4)
    assert rates(copied, 4) == rates(pickled, 4) == expected


def test_a_sequence_goes_on_from_the_rate_before_its_members_were_made():
    optimizer = new_optimizer()
    members = [ConstantLR(optimizer, 0.5, 2), LinearLR(optimizer, 0.1, 1.0, 2), ExponentialLR(optimizer, 0.5)]
    assert [member.base_lrs for member in members] == [[0.3]] * 3
    assert close(rates(SequentialLR(optimizer, members, [2, 4]), 6), [0.15, 0.15, 0.03, 0.165, 0.3, 0.15, 0.075])


def test_a_new_scheduler_begins_at_a_rate_that_was_set_by_hand():
    optimizer = new_optimizer()
    rates(ExponentialLR(optimizer, 0.5), 3)
    assert ExponentialLR(optimizer, 0.5).base_lrs == [0.3]  # as in PyTorch: from where the first one began
    optimizer.lr = 0.2
    assert close(rates(ExponentialLR(optimizer, 0.5), 2), [0.2, 0.1, 0.05])


def test_two_schedulers_on_one_optimizer_are_refused():
    optimizer = new_optimizer()
    a, b = ExponentialLR(optimizer, 0.9), CosineAnnealingLR(optimizer, 10)
    a.step()
    with pytest.raises(ValueError, match=r"CosineAnnealingLR: lr is \[0.27\d*\], not \[0.3\] as .* SequentialLR"):
        b.step()
    assert b.last_epoch == 0
    assert a.get_last_lr() == [0.3 * 0.9]


def test_a_rate_set_by_hand_or_loaded_is_not_silently_overwritten():
    optimizer = new_optimizer()
    scheduler = StepLR(optimizer, 2)
    rates(scheduler, 3)
    state = optimizer.state_dict()
    optimizer.lr = 0.2
    with pytest.raises(ValueError, match="StepLR: lr is .* Set lr by hand\\? Make a new one"):
        scheduler.step()
    fresh = new_optimizer()
    scheduler = StepLR(fresh, 2)
    fresh.load_state_dict(state)
    with pytest.raises(ValueError, match="Loaded the optimizer's state\\? Load the scheduler's too"):
        scheduler.step()


# Bad arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda o: StepLR(o, 0), ValueError, "StepLR: step_size must be a positive whole number, got 0"),
        (lambda o: StepLR(o, -1), ValueError, "StepLR: step_size must be a positive whole number, got -1"),
        (lambda o: StepLR(o, 2.5), ValueError, r"StepLR: step_size must be a positive whole number, got 2\.5"),
        (lambda o: StepLR(o, "3"), TypeError, "StepLR: step_size must be a number, got '3'"),
        (lambda o: StepLR(o, 3, -0.1), ValueError, r"StepLR: gamma must be positive and finite, got -0\.1"),
        (lambda o: MultiStepLR(o, 30), TypeError, r"milestones must be a list such as \[30, 60\], got 30"),
        (lambda o: MultiStepLR(o, [-1]), ValueError, "a milestone must be non-negative and finite, got -1"),
        (lambda o: ConstantLR(o, 1.5), ValueError, r"ConstantLR: factor must be in \[0, 1\], got 1\.5"),
        (
            lambda o: ConstantLR(o, total_iters=0),
            ValueError,
            "ConstantLR: total_iters must be a positive whole number, got 0",
        ),
        (lambda o: LinearLR(o, -0.1), ValueError, r"LinearLR: start_factor must be in \[0, 1\], got -0\.1"),
        (lambda o: LinearLR(o, end_factor=2), ValueError, r"LinearLR: end_factor must be in \[0, 1\], got 2"),
        (lambda o: ExponentialLR(o, math.nan), ValueError, "ExponentialLR: gamma must be positive and finite, got nan"),
        (lambda o: PolynomialLR(o, 0), ValueError, "PolynomialLR: total_iters must be a positive whole number, got 0"),
        (lambda o: PolynomialLR(o, power=0), ValueError, "PolynomialLR: power must be positive and finite, got 0"),
        (lambda o: CosineAnnealingLR(o, 0), ValueError, "CosineAnnealingLR: T_max must be a positive whole number, got 0"),
        (lambda o: CosineAnnealingLR(o, 9, -0.1), ValueError, "eta_min must be non-negative and finite, got -0.1"),
        (
            lambda o: CosineAnnealingLR(o, 9, 0.5),
            ValueError,
            r"CosineAnnealingLR: eta_min=0\.5 is above the lr of group 0, 0\.3",
        ),
        (lambda o: CosineAnnealingLR(o, 9, 0.1), ValueError, r"eta_min=0\.1 is above the lr of group 1, 0\.02"),
        (lambda o: CosineAnnealingWarmRestarts(o, 0), ValueError, "T_0 must be a positive whole number, got 0"),
        (lambda o: CosineAnnealingWarmRestarts(o, 3, 1.5), ValueError, "T_mult must be a positive whole number, got 1.5"),
        (lambda o: CosineAnnealingWarmRestarts(o, 3, eta_min=1.0), ValueError, "WarmRestarts: eta_min=1.0 is above the lr"),
        (lambda o: OneCycleLR(o, 0.5), ValueError, "OneCycleLR needs total_steps, or both epochs and steps_per_epoch"),
        (lambda o: OneCycleLR(o, 0.5, epochs=3), ValueError, "OneCycleLR needs total_steps, or both epochs"),
        (lambda o: OneCycleLR(o, 0.5, epochs=3, steps_per_epoch=0), ValueError, "steps_per_epoch must be a positive whole"),
        (
            lambda o: OneCycleLR(o, 0.5, epochs=1.5, steps_per_epoch=2),
            ValueError,
            "OneCycleLR: epochs must be a positive whole",
        ),
        (lambda o: OneCycleLR(o, 0.5, 0), ValueError, "OneCycleLR: total_steps must be a positive whole number, got 0"),
        (
            lambda o: OneCycleLR(o, 0.5, 6),
            ValueError,
            r"OneCycleLR: total_steps=6 with pct_start=0\.3 leaves no step to rise",
        ),
        (lambda o: OneCycleLR(o, 0.5, 10, pct_start=0.95), ValueError, r"pct_start=0\.95 leaves .* or none to fall"),
        (lambda o: OneCycleLR(o, -0.5, 10), ValueError, r"OneCycle: peak must be non-negative and finite, got -0\.5"),
        (lambda o: OneCycleLR(o, [0.5], 10), ValueError, "OneCycleLR: max_lr has 1 values, the optimizer has 2 groups"),
        (lambda o: OneCycleLR(o, 0.5, 10, base_momentum=2), ValueError, r"base_momentum must be in \[0, 1\], got 2"),
        (
            lambda o: OneCycleLR(o, 0.5, 10, div_factor=0.5),
            ValueError,
            "OneCycleLR: div_factor must be at least 1 and finite",
        ),
        (
            lambda o: OneCycleLR(o, 0.5, 10, final_div_factor=0),
            ValueError,
            "OneCycleLR: final_div_factor must be at least 1",
        ),
        (lambda o: CyclicLR(o, 0.5, 0.1), ValueError, r"low must not be above high, got 0\.5 and 0\.1"),
        (lambda o: CyclicLR(o, 0.1, 0.5, 0), ValueError, "CyclicLR: step_size_up must be a positive whole number, got 0"),
        (
            lambda o: CyclicLR(o, 0.1, 0.5, 5, 6),
            ValueError,
            r"step_size_down must be step_size_up, got 6: .*lr=Repeat\(Linear",
        ),
        (
            lambda o: CyclicLR(o, 0.1, 0.5, mode="exp_range"),
            ValueError,
            "mode must be 'triangular' or 'triangular2', got 'exp",
        ),
        (lambda o: LambdaLR(o, 0.1), TypeError, "Lambda: function must be a function of the step"),
        (lambda o: LambdaLR(o, [math.sqrt]), ValueError, "LambdaLR: lr_lambda has 1 values, the optimizer has 2 groups"),
        (lambda o: SequentialLR(o, [StepLR(o, 3)], [4]), ValueError, r"1 schedulers need 0 milestones, each .* got \[4\]"),
        (
            lambda o: SequentialLR(o, [StepLR(o, 3)] * 3, [4, 4]),
            ValueError,
            r"each greater than the one before, got \[4, 4\]",
        ),
        (
            lambda o: SequentialLR(o, [StepLR(o, 3)] * 2, [0]),
            ValueError,
            "a milestone must be a positive whole number, got 0",
        ),
        (
            lambda o: SequentialLR(o, [Step(0.1, 3)], []),
            ValueError,
            "scheduler 0 must be a scheduler of the same optimizer, got",
        ),
        (
            lambda o: SequentialLR(o, [StepLR(two_groups(), 3)], []),
            ValueError,
            "scheduler 0 must be a scheduler of the same",
        ),
        (lambda o: SequentialLR(o, [Plateau(o)], []), ValueError, "scheduler 0 must be a scheduler of the same optimizer"),
        (lambda o: StepLR([parameter()], 3), TypeError, "StepLR: optimizer must be one, with param_groups"),
        (
            lambda o: StepLR(SGD([parameter()], lr=Cosine(0.1, 9)), 3),
            TypeError,
            r"lr of group 0 .* got Cosine\(.* needs no",
        ),
        (
            lambda o: OneCycleLR(SGD([parameter()], lr=0.1), 0.5, 10, cycle_momentum=True),
            ValueError,
            "or with momentum > 0",
        ),
    ],
)
def test_bad_arguments_are_refused_at_construction(make, error, message):
    optimizer = two_groups()
    with pytest.raises(error, match=message):
        make(optimizer)


def test_a_scheduler_of_ones_own():
    @dataclass(eq=False)
    class HalfLR(LRScheduler):
        optimizer: Any

        def schedule(self, base, i):
            return Constant(base / 2)

    assert rates(HalfLR(new_optimizer()), 2) == [0.15, 0.15, 0.15]
    del HalfLR.schedule
    with pytest.raises(TypeError, match=r"HalfLR has no schedule\(base, i\): write which schedule it makes"):
        HalfLR(new_optimizer())


def test_states_of_others_are_refused():
    scheduler = StepLR(new_optimizer(), 3)
    with pytest.raises(ValueError, match="the state is of ExponentialLR, this scheduler is StepLR"):
        scheduler.load_state_dict(ExponentialLR(new_optimizer(), 0.9).state_dict())
    with pytest.raises(ValueError, match="the state has 2 groups, the optimizer has 1"):
        scheduler.load_state_dict(StepLR(two_groups(), 3).state_dict())


def test_every_adapter_says_where_it_differs():
    assert "Differs from PyTorch" in lr_scheduler.__doc__
    for kind in (
        LinearLR,
        CosineAnnealingLR,
        CosineAnnealingWarmRestarts,
        OneCycleLR,
        CyclicLR,
        LambdaLR,
        SequentialLR,
        Plateau,
    ):
        assert "Differs from PyTorch" in kind.__doc__, kind
