"""Every rule at, just below and just above the margins that it states, on courses made for it."""

import math
import re

import numpy as np
import pytest

from monitor import Recorder, diagnose
from monitor.doctor import RULES

NAMES = ["fc1", "relu1", "fc2", "relu2", "out"]


def record(train=(), val=(), rho=(), layers=(), grad_norm=(), examples=(), every=10, **described):
    """A run with these numbers, evaluated every 10 steps; layers: a dictionary for each watched step."""
    recorder = Recorder(root=None, name="made")
    recorder.describe(**described)
    for i in range(max(len(train), len(val))):
        numbers = {name: values[i] for name, values in (("train/loss", train), ("val/loss", val)) if i < len(values)}
        recorder.event("eval", i * every, numbers, i)
        if i < len(examples):
            recorder.log_val_losses(np.asarray(examples[i]), i * every)
    for i, value in enumerate(rho, start=1):
        recorder.event("step", i, {"rho": value})
    for i, value in enumerate(grad_norm, start=1):
        recorder.event("step", i, {"grad_norm": value})
    for i, data in enumerate(layers):
        recorder.event("layer", max(1, i * 5), data)
    recorder.finish()
    return recorder.run


def found(id, run):
    return next(f for f in diagnose(run).findings if f.id == id)


def verdict(id, run):
    return found(id, run).verdict


def falling(n=30, start=1.0, rate=0.9):
    return [start * rate**i for i in range(n)]


# Numbers that are none ------------------------------------------------------------------------------------------------


def test_the_first_number_that_is_not_finite_is_named_with_its_step():
    recorder = Recorder(root=None)
    for step, loss, lr in ((1, 0.5, 0.1), (2, math.inf, 0.1), (3, math.nan, math.nan)):
        recorder.log(step, **{"train/loss": loss, "lr": lr})
    finding = found("nonfinite", recorder.run)
    assert (finding.verdict, finding.severity, finding.step_range) == ("detected", "critical", (2, 3))
    assert "train/loss is inf at step 2" in finding.message


def test_of_the_layers_the_foremost_is_named():
    layer = {"names": NAMES, "grad_norm": [1.0, None, 1.0, None, 1.0], "act_mean": [1.0] * 5}
    bad = {**layer, "act_mean": [0.0, 0.0, math.inf, math.nan, math.nan], "grad_norm": [math.nan, None, 1.0, None, 1.0]}
    late = {**layer, "act_mean": [math.nan] * 5}
    finding = found("nonfinite", record(layers=[layer, layer, bad, late]))
    assert finding.step_range == (10, 15)
    assert "grad_norm of layer fc1" in finding.message
    bad["grad_norm"] = [1.0, None, 1.0, None, 1.0]
    assert (
        "act_mean of layer fc2 is not finite at step 10" in found("nonfinite", record(layers=[layer, layer, bad])).message
    )


def test_what_comes_first_is_said_first():
    finding = found("nonfinite", record(train=[1.0, 1.0, math.nan], layers=[{"names": ["a"], "act_std": ["inf"]}]))
    assert "act_std of layer a is not finite at step 1, then train/loss is nan at step 20" in finding.message
    assert finding.step_range == (1, 20)
    late = [{"names": ["a"], "act_std": [1.0]}] * 5 + [{"names": ["a"], "act_std": ["inf"]}]
    finding = found("nonfinite", record(train=[1.0, 1.0, math.nan], layers=late))
    assert "train/loss is nan at step 20, then act_std of layer a is not finite at step 25" in finding.message
    assert finding.step_range == (20, 25)


def test_metrics_and_rho_may_be_undefined():
    recorder = Recorder(root=None)
    recorder.event("eval", 1, {"val/loss": 0.5, "val/roc_auc": math.nan, "val/f1": math.nan, "rho": math.nan})
    assert verdict("nonfinite", recorder.run) == "clear"
    recorder.event("eval", 2, {"val/mine": math.nan})
    assert verdict("nonfinite", recorder.run) == "detected"


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("NonfiniteGradientError: the gradient of 'w' has a nan", "detected"),
        ("FloatingPointError: val/loss is inf", "detected"),
        ("ValueError: nan", "clear"),
        ("ValueError: no FloatingPointError", "clear"),
        ("FloatingPointErrors are fun", "clear"),
        ("ValueError: the gradient of 'w' has a nan", "clear"),
        ("the gradient of humour", "clear"),
        (None, "clear"),
    ],
)
def test_a_run_that_failed_of_a_number_says_so_in_its_reason(reason, expected):
    recorder = Recorder(root=None)
    recorder.log(7, loss=1.0)
    recorder.finish("failed", reason)
    finding = found("nonfinite", recorder.run)
    assert finding.verdict == expected
    assert expected == "clear" or (reason in finding.message and finding.step_range == (7, 7))


@pytest.mark.parametrize(
    ("reason", "step", "said"),
    [
        (
            "NonfiniteGradientError: the gradient of 'layers.0.weight' has a nan at step 5; nothing was changed. Lower",
            5,
            "at step 5",
        ),
        ("the gradient of 'layers.0.weight' has an infinity at step 5; nothing was changed", 5, "at step 5"),
        ("a gradient was not finite at step 1205 (now that of 'w' has a nan). On a GPU this", 1205, "at step 1,205"),
        ("FloatingPointError: train/loss is nan after epoch 3. Lower the learning rate", 4, "after step 4"),
        ("val/loss is -inf after epoch 3", 4, "after step 4"),
        ("the gradient of 'w' is not finite in replica 0 at step 7; nothing was changed", 7, "at step 7"),
        ("AnomalyError: log of (3,) made a nan", 4, "after step 4"),
        ("NonfiniteGradientError: 'w' at step 99999999999999999999999999", 4, "after step 4"),
    ],
)
def test_the_step_and_the_tensor_are_those_of_the_error(reason, step, said):
    recorder = Recorder(root=None)
    recorder.log(4, loss=1.0)
    recorder.finish("failed", reason)
    finding = found("nonfinite", recorder.run)
    assert (finding.verdict, finding.step_range) == ("detected", (step, step))
    assert finding.message.startswith(f"Training failed {said} because of a number that is not finite: ")
    assert reason[:60] in finding.message


# Overfitting ----------------------------------------------------------------------------------------------------------


def risen(by, start=1.0, best=0.5):
    return [start, 0.8, 0.6, best, best, best, *np.linspace(best, best * (1 + by), 6)[1:], best * (1 + by), best * (1 + by)]


def test_a_rise_by_the_margin_is_overfitting_if_the_training_loss_falls():
    finding = found("overfit", record(falling(13), risen(0.051)))
    assert (finding.verdict, finding.severity) == ("detected", "warning")
    assert finding.evidence.estimate == pytest.approx(0.051)
    assert finding.step_range == (30, 120)
    assert "by the averages alone" in finding.message
    assert "step 30" in finding.advice[0]
    assert verdict("overfit", record(falling(13), risen(0.049))) == "clear"
    assert verdict("overfit", record(falling(13)[::-1], risen(0.5))) == "clear"
    jumps = [1.0, 0.9, 0.8, *falling(10, start=9.0)]  # it falls, but from where a step too large has thrown it
    assert verdict("overfit", record(jumps, risen(0.5))) == "clear"


def test_the_best_evaluation_is_the_one_that_early_stopping_would_give_back():
    """The rise is judged by medians; what a reader looks for in the curve, and gets back, is the lowest single value."""
    val = [1.0, 0.2, 0.9, 0.8, 0.5, 0.5, 0.5, 0.8, 1.0, 1.2, 1.4, 1.4, 1.4]
    finding = found("overfit", record(falling(13), val))
    assert finding.evidence.estimate == pytest.approx(1.8)
    assert finding.message.startswith(
        "Running medians of 3 evaluations of val/loss ended 180.0% above their lowest, 0.5 at step 40 (by the averages alone"
    )
    assert finding.message.endswith(", while train/loss fell on.")
    assert finding.advice[0] == "keep the weights of the lowest evaluation, 0.2 at step 10 (EarlyStopping restores them)"
    assert finding.step_range == (40, 120)


def test_a_rise_of_next_to_nothing_is_none():
    """0.0002 after 0.0001 is twice the loss, and nothing beside the 1.0 that training began with."""
    assert verdict("overfit", record(falling(13), risen(0.9, best=0.01))) == "clear"
    assert verdict("overfit", record(falling(13), risen(1.1, best=0.01))) == "detected"
    assert verdict("overfit", record(falling(13), risen(0.9, best=0.01), baseline=0.8)) == "detected"
    assert verdict("overfit", record(falling(13), risen(0.5, start=100.0))) == "clear"
    assert verdict("overfit", record(falling(13), risen(0.5, start=100.0), baseline=0.7)) == "detected"


def test_one_odd_evaluation_at_the_end_or_at_the_best_decides_nothing():
    end = [*falling(12), 0.9]
    assert verdict("overfit", record(falling(13), end)) == "clear"
    best = [1.0, 0.8, 0.7, 0.2, 0.7, *[0.69] * 10]
    assert verdict("overfit", record(falling(15), best)) == "clear"


def test_overfitting_needs_both_losses_and_some_evaluations():
    assert "train/loss" in found("overfit", record(val=risen(0.5))).message
    assert "val/loss" in found("overfit", record(train=falling())).message
    assert verdict("overfit", record(falling(5), [1, 0.5, 0.6, 0.9, 1])) == "underpowered"
    assert verdict("overfit", record(falling(6), [1, 0.5, 0.6, 0.9, 1, 1])) == "detected"
    assert verdict("overfit", record(falling(13), [x - 1 for x in risen(0.5)])) == "not_checked"


def single(means, spread, n=40, seed=0):
    """Losses of n examples with these means; the noise of a row is its own."""
    noise = np.random.default_rng(seed).normal(size=(len(means), n)) * spread
    return np.asarray(means)[:, None] + noise - noise.mean(axis=1, keepdims=True)


def test_with_the_losses_of_the_examples_the_rise_must_be_significant():
    val = risen(0.2)
    sure, unsure = single(val, 0.01), single(val, 1.0)
    finding = found("overfit", record(falling(13), val, examples=sure))
    assert finding.verdict == "detected"
    assert 0.15 < finding.evidence.interval[0] < 0.2 < finding.evidence.interval[1] < 0.25
    finding = found("overfit", record(falling(13), val, examples=unsure))
    assert finding.verdict == "underpowered"
    assert finding.evidence.interval[0] < 0 < finding.evidence.interval[1]


def test_a_small_rise_is_clear_only_if_the_interval_says_so():
    val = risen(0.02)
    assert verdict("overfit", record(falling(13), val, examples=single(val, 0.01))) == "clear"
    assert verdict("overfit", record(falling(13), val, examples=single(val, 0.3))) == "underpowered"


def test_one_odd_evaluation_at_the_end_is_not_what_the_examples_are_compared_with():
    val = [1.0, 0.7, *[0.5] * 10, 0.9]
    finding = found("overfit", record(falling(13), val, examples=single(val, 0.001)))
    assert finding.verdict == "clear"
    assert abs(finding.evidence.interval[1]) < 0.01


def test_losses_of_examples_that_are_not_finite_are_not_used():
    val = risen(0.2)
    rows = single(val, 0.01)
    rows[3, 5] = math.inf
    finding = found("overfit", record(falling(13), val, examples=rows))
    assert (finding.verdict, finding.evidence.interval) == ("detected", None)


def test_too_few_examples_are_not_tested():
    val = risen(0.2)
    finding = found("overfit", record(falling(13), val, examples=single(val, 0.01, n=9)))
    assert finding.verdict == "detected"
    assert finding.evidence.interval is None
    assert found("overfit", record(falling(13), val, examples=single(val, 0.01, n=10))).evidence.interval is not None


def test_the_examples_that_chose_the_best_evaluation_do_not_judge_it():
    """Losses that are noise alone: the best of 60 evaluations is only lucky, and nothing has risen."""
    alarms = 0
    for seed in range(40):
        rows = 0.5 + np.random.default_rng(seed).normal(size=(60, 30)) * 0.3
        run = record(falling(60), rows.mean(axis=1), examples=rows)
        alarms += verdict("overfit", run) == "detected"
    assert alarms <= 5  # 5 % of 40 are 2; naively tested, more than half


# Nothing learned ------------------------------------------------------------------------------------------------------


def flat(level, n=10):
    return [1.0, *[level] * n]


@pytest.mark.parametrize(("level", "expected"), [(0.951, "detected"), (0.949, "clear")])
def test_learning_is_to_be_better_than_a_constant_answer(level, expected):
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    for described, constant in (
        ({"baseline": 0.4}, 0.4),
        ({"baseline": {"val/loss": 0.4, "train/loss": 9}}, 0.4),
        ({"class_counts": [25, 0, 75]}, entropy),
        ({"data": {"class_counts": [50, 150]}}, entropy),
        ({"target_variance": 0.3}, 0.3),
    ):
        finding = found("not_learning", record(flat(0.1), flat(level * constant), **described))
        assert finding.verdict == expected, described
        assert finding.evidence.estimate == pytest.approx(level)


def test_without_a_constant_answer_only_the_untrained_net_is_known():
    assert verdict("not_learning", record(val=[1.0, *[0.951] * 10])) == "detected"
    finding = found("not_learning", record(val=[1.0, *[0.949] * 10]))
    assert finding.verdict == "not_checked"
    assert "class_counts" in finding.message
    late = record(val=[0.5, *[0.5] * 10])
    late.events[:] = [e for e in late.events if e["s"] or e["k"] != "eval"]  # nothing before training
    assert verdict("not_learning", late) == "not_checked"


def test_a_short_run_may_yet_learn():
    assert verdict("not_learning", record(val=[1.0] * 5)) == "underpowered"
    assert verdict("not_learning", record(val=[1.0] * 6)) == "detected"
    assert verdict("not_learning", record(val=[1.0])) == "not_checked"


def test_training_losses_do_where_there_are_no_others():
    assert verdict("not_learning", record(train=flat(0.39), baseline=0.4)) == "detected"
    assert verdict("not_learning", record(train=flat(0.3), baseline=0.4)) == "clear"


@pytest.mark.parametrize("nonsense", [-1, 0, "nan", True, [], {}, {"val/loss": "x"}, math.inf, [0.5]])
def test_nonsense_is_no_constant_answer(nonsense):
    assert verdict("not_learning", record(val=flat(0.1), baseline=nonsense)) == "not_checked"
    assert verdict("not_learning", record(val=flat(0.1), class_counts=nonsense)) == "not_checked"


def moving(ratios):
    """Watched steps at which the first layer moved by this share of its weights, and the others did not."""
    return [{"names": NAMES, "update_ratio": [ratio, None, 0.0, None, 0.0]} for ratio in ratios]


def test_weights_that_never_moved_are_an_error_however_short_the_run():
    run = record(val=[0.8, 0.8], layers=moving([0.0] * 3), class_counts=[5, 5])
    finding = found("not_learning", run)
    assert (finding.verdict, finding.severity, finding.step_range) == ("detected", "error", (1, 10))
    assert "no weight moved" in finding.message.lower()
    assert "learning rate of 0" in finding.causes[0]
    assert verdict("not_learning", record(layers=moving([0.0] * 3))) == "detected"  # whatever the loss
    assert verdict("not_learning", record(layers=moving([0.0] * 2))) == "not_checked"
    assert verdict("not_learning", record(layers=moving([0.0, 1e-9, 0.0, 0.0]))) == "not_checked"
    assert verdict("not_learning", record(layers=moving([0.0, 0.0, 0.0, math.nan]))) == "not_checked"
    unknown = [{"names": ["a", "b"], "update_ratio": [None, None]}] * 6
    assert verdict("not_learning", record(layers=unknown)) == "not_checked"
    assert verdict("not_learning", record(layers=units([0.0] * 6))) == "not_checked"  # no updates recorded


def test_steps_that_were_too_long_are_to_be_shorter():
    for rho, advice in ((0.2, "a tenth of the learning rate"), (0.9, "learning rates ten times higher and lower")):
        finding = found("not_learning", record(val=[1.0] * 10, rho=[rho] * 48))
        assert advice in finding.advice
        assert any("too high or too low" in cause for cause in finding.causes) == (rho > 0.5)
        finding = found("plateau", record(train=[0.7] * 30, rho=[rho] * 48))
        assert advice in finding.advice
    for rho in ([], [-1.0] * 48, [0.2] * 5):  # unknown, a matter of the sign, too few
        assert "ten times higher and lower" in found("not_learning", record(val=[1.0] * 10, rho=rho)).advice[-1]


# Standstill -----------------------------------------------------------------------------------------------------------


def ending(change, n=20, level=0.5):
    """A loss that falls from 1 to `level`, and by `change` of that fall over its last third."""
    last = level + (1 - level) * change * np.linspace(1, 0, n)
    return [*np.linspace(1, last[0], 2 * n), *last]


def test_standing_still_is_within_the_margin():
    for change, expected in ((0.009, "underpowered"), (0.011, "clear")):
        finding = found("plateau", record(train=ending(change)))
        assert finding.verdict == expected
        assert finding.evidence.estimate == pytest.approx(-change, rel=0.02)
    assert "still falling" in finding.message
    assert "it rises" in found("plateau", record(train=ending(-0.02))).message


def test_an_interval_that_is_too_wide_is_no_standstill():
    noise = 0.05 * np.random.default_rng(0).normal(size=20)
    finding = found("plateau", record(train=[*ending(0.0)[:40], *(0.5 + noise)]))
    assert finding.verdict == "underpowered"
    assert "may stand still or not" in finding.message


def test_what_stands_still_is_stuck_converged_or_cannot_be_told():
    still = ending(0.0, level=0.5)
    assert "nothing recorded can tell" in found("plateau", record(train=still)).message
    stuck = found("plateau", record(train=still, baseline=0.52))
    assert (stuck.verdict, stuck.step_range) == ("detected", (400, 590))
    assert verdict("plateau", record(train=still, baseline=0.53)) == "underpowered"
    assert verdict("plateau", record(train=ending(0.0, level=0.0099))) == "clear"
    assert verdict("plateau", record(train=ending(0.0, level=0.0101))) == "underpowered"
    assert verdict("plateau", record(train=[0.7] * 30)) == "detected"
    assert verdict("plateau", record(train=[0.0] * 30)) == "not_checked"


def test_a_learning_rate_that_came_to_its_end_explains_a_standstill():
    for end, expected in ((0.0101, "underpowered"), (0.0099, "clear")):
        run = record(train=ending(0.0))
        lr = [{"v": 1, "k": "step", "s": s, "e": None, "t": 0.0, "g": 0, "d": {"lr": v}} for s, v in ((1, 1.0), (500, end))]
        run.events[:0] = lr
        assert verdict("plateau", run) == expected


def with_lr(run, *pairs):
    run.events[:0] = [{"v": 1, "k": "step", "s": s, "e": None, "t": 0.0, "g": 0, "d": {"lr": v}} for s, v in pairs]
    return run


def test_a_longer_training_does_not_pay_where_the_learning_rate_has_ended():
    for end, pays in ((0.02, True), (0.0, False)):
        finding = found("plateau", with_lr(record(train=ending(0.05)), (1, 1.0), (500, end)))
        assert finding.verdict == "clear"
        assert ("may pay" in finding.message) == pays
        assert ("learning rate" in finding.message) != pays


@pytest.mark.parametrize("start", [0.5, 0.7])
def test_a_loss_that_comes_back_from_a_rise_has_not_fallen(start):
    back = [start, *np.linspace(40, 20, 39), *np.linspace(20, 0.6, 20)]
    finding = found("plateau", record(train=back))
    assert finding.verdict == "clear"
    assert "came back from a rise" in finding.message
    assert "may pay" not in finding.message
    assert "whole fall" not in finding.message


@pytest.mark.parametrize("before", [1.0, 1.4])
def test_a_loss_that_falls_late_has_not_come_back(before):
    late = [1.0, *[before] * 38, *np.linspace(before, 0.1, 21)]
    message = found("plateau", record(train=late)).message
    assert "came back" not in message
    assert "still falling" in message


def test_without_a_fall_the_change_is_a_share_of_the_first_loss():
    for finding in (found("plateau", record(train=[0.7] * 30)), found("plateau", record(train=np.linspace(1, 2, 30)))):
        assert "whole fall" not in finding.message
        assert "of the loss at first" in finding.message


def test_what_was_evaluated_goes_before_what_was_seen_in_batches():
    run = record(train=[0.7] * 30)
    batches = [
        {"v": 1, "k": "step", "s": s, "e": None, "t": 0.0, "g": 0, "d": {"train/loss": 1 / s}} for s in range(1, 300)
    ]
    run.events[:0] = batches
    assert verdict("plateau", run) == "detected"


def test_losses_of_batches_show_no_standstill():
    recorder = Recorder(root=None)
    for _ in range(30):
        recorder.log(**{"train/loss": 0.5})
    assert verdict("plateau", recorder.run) == "not_checked"
    assert verdict("plateau", record(train=[0.7] * 12)) == "not_checked"
    assert verdict("plateau", record(train=[0.7] * 13)) == "detected"


# Layers ---------------------------------------------------------------------------------------------------------------


def deep(decades, n=6, steps=9, **more):
    """Watched steps of n layers whose gradients fall by so many decades from the last to the first."""
    norms = list(10.0 ** np.linspace(-decades, 0, n))
    return [{"names": [f"l{i}" for i in range(n)], "grad_norm": norms, **more} for _ in range(steps)]


@pytest.mark.parametrize(("decades", "which"), [(2.01, "vanishing_gradients"), (-2.01, "exploding_gradients")])
def test_gradients_vanish_or_explode_by_a_factor_of_100(decades, which):
    finding = found(which, record(layers=deep(decades)))
    assert (finding.verdict, finding.severity, finding.step_range) == ("detected", "error", (1, 10))
    assert finding.evidence.estimate == pytest.approx(2.01)
    assert finding.evidence.n == 6
    assert "l0" in finding.message
    assert "l5" in finding.message
    assert verdict(which, record(layers=deep(decades * 1.99 / 2.01))) == "clear"
    other = {"vanishing_gradients", "exploding_gradients"} - {which}
    assert verdict(other.pop(), record(layers=deep(decades))) == "clear"


def test_a_course_over_depth_that_is_not_monotone_proves_nothing():
    zigzag = deep(0.0)
    for data in zigzag:
        data["grad_norm"] = [1e-9, 1.0, 1e-8, 1e-2, 1e-7, 1e-1]
    assert verdict("vanishing_gradients", record(layers=zigzag)) in ("underpowered", "clear")


def test_a_course_over_depth_takes_four_layers_with_gradients():
    assert verdict("vanishing_gradients", record(layers=deep(9, n=3))) == "not_checked"
    assert verdict("vanishing_gradients", record(layers=deep(9, n=4))) == "detected"
    frozen = deep(9, n=5)
    for data in frozen:
        data["grad_norm"] = [0.0, None, *data["grad_norm"][2:]]
    assert verdict("vanishing_gradients", record(layers=frozen)) == "not_checked"


def test_gradients_are_looked_at_while_the_net_has_yet_to_learn():
    late = [*deep(0.0, steps=6), *deep(5, steps=3)]
    assert verdict("vanishing_gradients", record(layers=late)) == "clear"
    assert verdict("vanishing_gradients", record(layers=[*deep(5, steps=3), *deep(0, steps=6)])) == "detected"


def units(shares, kind="dead", other=None):
    """Watched steps of NAMES; `shares` are those of relu1 (or of whatever stands in its place)."""
    weights = [1.0, None, 1.0, None, 1.0]
    return [
        {"names": NAMES, "weight_norm": weights, kind: [0.0, share, 0.0, 0.0, 0.0], **(other or {})} for share in shares
    ]


def test_dead_are_units_that_stay_silent():
    finding = found("dead_units", record(layers=units([0.1, 0.2, 0.3, 0.6, 0.6, 0.51])))
    assert (finding.verdict, finding.severity, finding.step_range) == ("detected", "warning", (15, 25))
    assert finding.evidence.estimate == 0.51
    assert "relu1" in finding.message
    assert finding.causes == ("a step that was too large",)
    assert verdict("dead_units", record(layers=units([0.9] * 5 + [0.5]))) == "clear"
    assert verdict("dead_units", record(layers=units([0.9] * 2))) == "underpowered"


def test_a_layer_without_a_living_unit_is_critical():
    finding = found("dead_units", record(layers=units([1.0] * 6)))
    assert (finding.severity, finding.step_range) == ("critical", (1, 25))
    assert "at the start" in finding.causes[0]


def test_of_several_dead_layers_the_foremost_is_named():
    both = units([0.6] * 6)
    for data in both:
        data["dead"][3] = 1.0
    assert "layer relu1" in found("dead_units", record(layers=both)).message


def test_only_where_zeros_block_gradients_units_are_dead():
    linear = [{"names": NAMES, "weight_norm": [1.0, None, 1.0, None, 1.0], "dead": [1.0, 0, 1.0, 0, 1.0]}] * 6
    assert verdict("dead_units", record(layers=linear)) == "clear"
    bounded = units([1.0] * 6, other={"saturated": [None, 0.0, None, None, None]})
    assert verdict("dead_units", record(layers=bounded)) == "clear"
    assert "tanh, sigmoid" in found("saturated_units", record(layers=linear)).message
    only_weights = [{"names": ["a", "b"], "weight_norm": [1.0, 1.0], "dead": [1.0, 1.0]}] * 6
    assert "ReLU" in found("dead_units", record(layers=only_weights)).message


def test_saturated_are_layers_that_were_so_from_early_on():
    def saturated(shares):
        return verdict("saturated_units", record(layers=units(shares, "saturated")))

    assert saturated([0.51] * 9) == "detected"
    assert saturated([0.5] * 9) == "clear"
    assert saturated([0.1] * 3 + [0.9] * 6) == "clear"  # it has learned
    assert saturated([0.9] * 6 + [0.1] * 3) == "clear"  # it has recovered
    assert saturated([0.9] * 2) == "underpowered"
    finding = found("saturated_units", record(layers=units([0.8] * 9, "saturated")))
    assert finding.evidence.estimate == 0.8
    assert "relu1" in finding.message


def test_the_last_layer_may_be_certain():
    last = [{"names": ["fc", "sigmoid"], "saturated": [None, 1.0]}] * 9
    assert verdict("saturated_units", record(layers=last)) == "not_checked"
    before = [{"names": ["fc", "sigmoid", "out"], "saturated": [None, 1.0, None]}] * 9
    assert verdict("saturated_units", record(layers=before)) == "detected"


def test_what_was_not_watched_is_not_checked():
    report = diagnose(record(train=falling(), val=falling()))
    for id in ("dead_units", "saturated_units", "vanishing_gradients", "exploding_gradients"):
        finding = next(f for f in report.findings if f.id == id)
        assert finding.verdict == "not_checked"
        for call in ("recorder.watch(model)", "watcher.begin(step)", "watcher.end(step", "fit"):
            assert call in finding.message
    nothing = record(layers=[{"names": ["a"], "act_mean": [1.0]}])
    for id in ("dead_units", "saturated_units", "vanishing_gradients", "exploding_gradients"):
        assert verdict(id, nothing) == "not_checked"
        assert "watch(model)" not in found(id, nothing).message


def test_every_rule_has_a_source_in_its_docstring():
    for id, rule in RULES.items():
        assert re.search(r"\b(19|20)\d\d\b|IEEE 754", rule.__doc__), id


def test_a_rise_that_the_examples_do_not_confirm_is_a_suspicion_and_does_not_contradict_itself():
    val = risen(0.2)
    finding = found("overfit", record(falling(13), val, examples=single(val, 1.0)))
    assert (finding.verdict, finding.severity) == ("underpowered", "warning")
    assert re.search(r"ended 20\.0% above .* while train/loss fell on\. The examples do not confirm it: ", finding.message)
    assert "half" in finding.message
    small = found("overfit", record(falling(13), risen(0.02), examples=single(risen(0.02), 0.3)))
    assert (small.verdict, small.severity) == ("underpowered", "info")


def test_losses_out_of_all_proportion_are_told_in_words_that_can_be_read():
    message = found("not_learning", record(val=[1e27] * 8, baseline=0.7)).message
    assert "1.43e+29% of 0.7" in message
    assert max(map(len, message.split())) < 20
    assert "38.0% of 1, the" in found("not_learning", record(val=[1.0, *[0.38] * 9], baseline=1.0)).message
    assert len(found("overfit", record(falling(13), risen(1e12))).message) < 300
