"""The rules on rho, at, just below and just above the margins that they state."""

import numpy as np
import pytest
from test_doctor_rules import falling, found, moving, record, units, verdict

from monitor import diagnose


def by_rho(early, n=12, **more):
    """Which rules fire on a rho that is so in the first quarter, and healthy after."""
    run = record(rho=[*np.broadcast_to(early, n), *[0.95] * (3 * n)], **more)
    return [f.id for f in diagnose(run).detected]


@pytest.mark.parametrize(
    ("rho", "expected"),
    [
        (0.95, []),
        (0.501, []),
        (0.499, ["lr_too_high"]),
        (0.101, ["lr_too_high"]),
        (0.099, ["stale_gradients"]),
        (-0.099, ["stale_gradients"]),
        (-0.101, ["lr_too_high"]),
        (-0.59, ["lr_too_high"]),
        (-0.61, ["grad_sign"]),
        (-1.59, ["grad_sign"]),
        (-1.61, ["lr_too_high"]),
        (-1e9, ["lr_too_high"]),
    ],
)
def test_rho_tells_stale_flipped_and_overlong_steps(rho, expected):
    assert by_rho(rho) == expected


def test_the_whole_interval_of_rho_counts():
    # of 12 values the interval of the median goes from the third to the third from the end
    assert by_rho([0.05] * 9 + [0.6] * 3) == []
    assert by_rho([0.05] * 10 + [0.6] * 2) == ["stale_gradients"]
    run = record(rho=[0.05] * 9 + [0.6] * 3 + [0.95] * 36)
    assert verdict("stale_gradients", run) == "underpowered"
    assert verdict("grad_sign", run) == "clear"


def test_a_wrong_sign_is_critical_and_says_when():
    finding = found("grad_sign", record(rho=[-1.0] * 40))
    assert (finding.severity, finding.step_range) == ("critical", (1, 10))


def test_six_values_of_rho_are_needed_and_not_more():
    assert verdict("grad_sign", record(rho=[-1.0] * 5)) == "underpowered"
    assert verdict("grad_sign", record(rho=[-1.0] * 6)) == "detected"
    assert found("grad_sign", record(rho=[-1.0] * 6 + [0.9] * 10)).evidence.n == 6
    assert "rho was not recorded" in found("grad_sign", record(train=falling())).message


def test_gradients_that_add_up_grow():
    growing, steady = np.linspace(1, 3, 48), 1 + 0.1 * np.sin(np.arange(48))
    assert by_rho(0.0, grad_norm=growing) == ["stale_gradients"]
    assert by_rho(0.0, grad_norm=steady) == []
    finding = found("stale_gradients", record(rho=[0.0] * 48, grad_norm=steady))
    assert finding.verdict == "underpowered"
    assert "did not grow" in finding.message


def test_a_learning_rate_is_clear_only_where_steps_give_what_is_healthy():
    def early(*values):
        return found("lr_too_high", record(rho=[*values, *[0.95] * 36]))

    assert early(*[0.6] * 9, *[0.801] * 3).verdict == "clear"
    unsure = early(*[0.6] * 9, *[0.799] * 3)
    assert unsure.verdict == "underpowered"
    assert "may be too high" in unsure.message
    assert early(*[0.1] * 7, *[0.9] * 5).verdict == "underpowered"  # healthy is possible, and not likely
    assert early(*[0.0] * 7, *[0.9] * 5).verdict == "underpowered"
    assert early(*[1.5] * 12).verdict == "clear"
    assert early(*[-0.3] * 9, *[0.01] * 3).severity == "warning"
    weak, bad = early(*[0.1] * 3, *[0.3] * 6, *[0.499] * 3), early(*[-0.3] * 12)
    assert (weak.verdict, weak.severity) == ("detected", "warning")
    assert (bad.verdict, bad.severity) == ("detected", "error")
    assert "0.10 and 0.50" in weak.message


def test_steps_that_another_finding_explains_do_not_clear_the_learning_rate():
    assert verdict("lr_too_high", record(rho=[-1.0] * 48)) == "underpowered"
    assert verdict("lr_too_high", record(rho=[0.0] * 48)) == "underpowered"
    healthy = found("grad_sign", record(rho=[0.3] * 48))
    assert (healthy.verdict, "may be too high" in healthy.message) == ("clear", False)


def test_without_rho_it_is_said_how_to_record_it():
    unwatched = found("lr_too_high", record(train=falling())).message
    assert "recorder.watch(model)" in unwatched
    assert "watcher.begin(step)" in unwatched
    assert "watcher.end(step, loss, again)" in unwatched
    watched = found("lr_too_high", record(layers=units([0.1] * 6))).message
    assert "again" in watched
    assert "recorder.watch(model)" not in watched
    assert "no weight moved" in found("lr_too_high", record(layers=moving([0.0] * 6))).message


def test_causes_that_the_steps_cannot_tell_apart_are_all_named():
    """Gradients that add up, and a loss that is maximised, can look like steps that are too long."""

    def causes(rho, **more):
        return " | ".join(found("lr_too_high", record(rho=[rho] * 48, **more)).causes)

    growing, shrinking = np.linspace(1, 3, 48), np.linspace(3, 1, 48)
    assert "zero_grad" in causes(-0.3, grad_norm=growing)
    assert "zero_grad" in causes(-0.3)  # unknown whether gradients grew
    assert "zero_grad" not in causes(-0.3, grad_norm=shrinking)
    assert causes(-0.3).startswith("a learning rate beyond")
    wide = [-3.0, -0.2] * 24
    run = record(rho=wide)
    assert "maximised" in " | ".join(found("lr_too_high", run).causes)
    assert "maximised" not in causes(-0.3)
    assert "maximised" not in causes(-5.0)


def test_numbers_that_are_not_finite_may_come_of_a_loss_that_is_maximised():
    def causes(rho):
        run = record(train=[1.0, np.nan], rho=[rho] * 24 if rho else ())
        return " | ".join(found("nonfinite", run).causes)

    assert "maximised" in causes(None)
    assert "maximised" in causes(-1.0)
    assert "maximised" in causes(1.5)  # minus the loss has no lower bound: it falls faster and faster
    assert "maximised" not in causes(0.9)


def test_too_few_steps_with_rho_say_how_to_have_more():
    message = found("grad_sign", record(rho=[-1.0])).message
    assert "only 1 step was measured; 6 are needed" in message
    assert "every=1" in message
