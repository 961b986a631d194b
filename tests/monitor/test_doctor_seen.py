"""The rules on layers where something was seen only at some steps: outputs of captured steps, gradients of the first ones."""

import warnings

import numpy as np
import pytest
from test_doctor_rules import NAMES, deep, found, record, units, verdict

import optimizers
import tinynet as tn
from monitor import Recorder

# Outputs that were seen at some steps only ----------------------------------------------------------------------------


def test_steps_without_outputs_count_neither_as_alive_nor_as_dead():
    """A captured step calls no hooks: the shares of such steps are unknown."""
    finding = found("dead_units", record(layers=units([1.0, None, 1.0, None, 1.0, None, None, 1.0, None])))
    assert (finding.verdict, finding.severity, finding.step_range) == ("detected", "critical", (1, 35))
    assert finding.evidence.n == 1  # of the last third of nine steps one was seen
    assert "all units of layer relu1 gave 0" in finding.message
    assert "seen at 4 of 9 watched steps" in finding.message
    alive = found("dead_units", record(layers=units([0.1, None, 0.1, None, 0.1, None, None, 0.1, None])))
    assert alive.verdict == "clear"
    assert "seen at 4 of 9 watched steps" in alive.message
    assert "watched steps" not in found("dead_units", record(layers=units([0.1] * 9))).message


@pytest.mark.parametrize("id", ["dead_units", "saturated_units"])
@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize(
    "shares",
    [
        lambda s: [s] * 6 + [None] * 3,  # the end was not seen
        lambda s: [s, None, None, None, s, None, None, None, None],
        lambda s: [None] * 7 + [s] * 2,  # fewer than three were seen
    ],
)
def test_what_was_not_seen_is_neither_clear_nor_detected(id, share, shares):
    kind = id.removesuffix("_units")
    finding = found(id, record(layers=units(shares(share), kind)))
    assert finding.verdict == "underpowered"
    assert "captured step" in finding.message
    assert "of 9 watched steps" in finding.message


def test_a_dead_layer_is_found_though_another_was_not_seen():
    both = units([1.0] * 6)
    for data in both[3:]:
        data["dead"][3] = None
    assert "layer relu1" in found("dead_units", record(layers=both)).message
    for data in both:
        data["dead"][1] = 0.0
    finding = found("dead_units", record(layers=both))
    assert finding.verdict == "underpowered"
    assert "layer relu2" in finding.message


def test_saturation_is_judged_by_the_steps_that_were_seen():
    assert verdict("saturated_units", record(layers=units([0.9, None, 0.9, 0.9, None, 0.9], "saturated"))) == "detected"
    assert verdict("saturated_units", record(layers=units([0.1, None, 0.1, 0.1, None, 0.1], "saturated"))) == "clear"


def test_layers_whose_outputs_were_never_seen_are_not_said_to_be_of_another_kind():
    blind = [{"names": NAMES, "grad_norm": [1.0, None] * 2 + [1.0], "dead": [None] * 5, "saturated": [None] * 5}] * 7
    for id in ("dead_units", "saturated_units"):
        finding = found(id, record(layers=blind))
        assert finding.verdict == "not_checked"
        assert "outputs were not seen at any of the 7 watched steps" in finding.message
        assert "tn.capture" in finding.message


def captured_and_dead(steps):
    """The verdict on units that are dead from the start, by a watcher whose hooks a captured step does not call at first."""
    x, y = tn.datasets.moons(64, seed=0)
    model = tn.MLP([2, 16, 2], seed=0)
    model.layers[0].bias.data[...] = -100
    optimizer = optimizers.Adam(model.named_parameters(), lr=1e-2)

    @tn.capture
    def step(x, y):
        loss = tn.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    recorder = Recorder(root=None)
    watcher = recorder.watch(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tn.CaptureWarning)  # the hooks change the layers
        for number in range(1, steps + 1):
            watcher.begin(number)
            step(x, y)
            watcher.end(number)
    return found("dead_units", recorder.run)


def test_a_captured_training_with_dead_units_is_not_called_clear():
    short = captured_and_dead(30)
    assert short.verdict != "clear"
    assert short.verdict == "detected" or "captured step" in short.message
    assert captured_and_dead(300).verdict != "clear"


def test_who_saw_nothing_of_the_start_does_not_blame_it_alone():
    late = found("dead_units", record(layers=units([None] * 3 + [1.0] * 6)))
    assert late.verdict == "detected"
    assert [cause.split()[0] for cause in late.causes] == ["biases,", "a"]


# Gradients that vanish at first only ----------------------------------------------------------------------------------


def fading(decades=4.0, sign=1):
    """Watched steps at the first of which gradients fall by so many decades, and then no more: the net has come to rest."""
    return [*deep(sign * decades, steps=1), *deep(0.1, steps=20)]


@pytest.mark.parametrize(("sign", "id"), [(1, "vanishing_gradients"), (-1, "exploding_gradients")])
def test_gradients_that_vanish_at_the_first_step_of_a_training_that_learns_nothing(sign, id):
    finding = found(id, record(train=[0.7] * 10, layers=fading(sign=sign)))
    assert (finding.verdict, finding.severity, finding.step_range) == ("detected", "error", (1, 1))
    assert finding.evidence.estimate == pytest.approx(4.0)
    assert "at step 1" in finding.message.lower()
    assert "loss did not fall" in finding.message
    assert verdict(id, record(train=[0.7, *[0.6] * 9], layers=fading(sign=sign))) == "clear"
    assert verdict(id, record(train=[0.7, *[0.666] * 9], layers=fading(sign=sign))) == "detected"
    assert verdict(id, record(train=[0.7] * 10, layers=fading(1.99, sign))) == "clear"


def test_without_a_loss_it_cannot_be_told_whether_such_gradients_did_harm():
    finding = found("vanishing_gradients", record(layers=fading()))
    assert (finding.verdict, finding.severity) == ("underpowered", "warning")
    assert "no loss was recorded" in finding.message
    assert verdict("vanishing_gradients", record(train=[0.7] * 2, layers=fading())) == "underpowered"


def test_ten_sigmoid_layers_in_a_loop_of_ones_own():
    x, y = tn.datasets.moons(100, noise=0.2, seed=0)
    model = tn.MLP([2, *[16] * 10, 2], activation="sigmoid", seed=0)
    optimizer = optimizers.SGD(model.parameters(), lr=0.1)
    recorder = Recorder(root=None)
    watcher = recorder.watch(model)
    for step in range(1, 201):
        watcher.begin(step)
        loss = tn.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watcher.end(step, loss, lambda: tn.cross_entropy(model(x), y))
        recorder.log(step, loss=float(loss.data))
    finding = found("vanishing_gradients", recorder.run)
    assert finding.verdict == "detected"
    assert np.log10(1e5) < finding.evidence.estimate


# Words ----------------------------------------------------------------------------------------------------------------


def test_counts_of_one_and_shares_just_below_one_are_worded_as_what_they_are():
    assert "1 layer has a gradient other than 0" in found("vanishing_gradients", record(layers=deep(9, n=1))).message
    assert "99% or more of the units" in found("dead_units", record(layers=units([0.999] * 6))).message
    assert found("dead_units", record(layers=units([0.999] * 6))).severity == "warning"
