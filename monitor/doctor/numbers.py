"""The rule on numbers that are not finite: nan and infinities."""

from __future__ import annotations

import re

import numpy as np

from monitor import metrics
from monitor.doctor.findings import Evidence, Finding, clear, detected, not_checked, printable
from monitor.doctor.signals import Signals
from monitor.doctor.steps import MAXIMISED, may_maximise

QUANTITIES = ("act_mean", "act_std", "grad_norm", "weight_norm", "update_ratio")  # in the order in which a step meets them
RULE = "exact: a loss, a gradient, a weight or an output that is nan or infinite (IEEE 754)"
# How the reason of a run that failed begins: with the error's class, or with its text alone, in a loop of one's own.
ERRORS = re.compile(
    r"(Nonfinite\w*|FloatingPointError|AnomalyError)\b"
    r"|(the|a) gradient .*\b(has an? (nan|infinity)|(is|was) not finite)\b|\S+ is (nan|-?inf) after epoch "
)
AT = re.compile(r"\bat step (\d{1,15})\b")  # where such an error says so
ADVICE = (
    "lower the learning rate, or warm it up",
    "look for nan and very large values in the data",
    "look for log(0), sqrt(0) and x / 0 in the loss (tinynet.detect_anomaly names the operation)",
)


def nonfinite(signals: Signals) -> Finding:
    """The first number that is nan or infinite, and the layer in which it was seen first, in forward order.

    Exact (IEEE 754), no margin. Metrics do not count: some are nan where they are not defined (the ROC of one class), and
    where a prediction is nan the loss is, too. Nor does rho, a quotient that may be 0 / 0. A run that failed because of
    such a number before it could record one counts by its reason.
    """
    scalars = [found for found in signals.nonfinite() if not _may_be_undefined(found[1])]
    layer = _first_layer(signals)
    first = min(scalars, default=None, key=lambda found: found[0])
    reason = str(signals.run.meta.get("reason") or "")
    if first is None and layer is None:
        if ERRORS.match(reason):
            return _failed(reason, signals)
        if not signals.recorded:
            return not_checked("nonfinite", "nothing was recorded: log the loss at every step")
        sentence = f"All {signals.recorded:,} recorded numbers are finite."
        return clear(
            "nonfinite", signals.range, Evidence(sentence, "non-finite numbers", 0.0, n=signals.recorded, rule=RULE)
        )
    parts, steps = [], []
    if layer is not None:
        step, name, quantity = layer
        parts.append(f"{quantity} of layer {printable(name)} is not finite at step {step:,}")
        steps.append(step)
    if first is not None:
        step, name, value = first
        parts.append(f"{printable(name)} is {value} at step {step:,}")
        steps.append(step)
    order = np.argsort(steps, kind="stable")
    sentence = f"The first number that is not finite: {', then '.join(parts[i] for i in order)}."
    evidence = Evidence(sentence, "series with non-finite numbers", float(len(scalars)), n=signals.recorded, rule=RULE)
    causes = (*_diverged(signals), "an operation outside its domain", "nan in the data")
    return detected("nonfinite", "critical", (min(steps), signals.range[1]), evidence, causes, ADVICE)


def _diverged(signals: Signals) -> tuple[str, ...]:
    """Why training diverges; a wrong sign is left out where the first steps lowered the loss as promised."""
    return ("the training diverged: steps too large", *([MAXIMISED] if may_maximise(signals) else []))


def _failed(reason: str, signals: Signals) -> Finding:
    """The finding on a run that failed of a number before it could record it."""
    told = AT.search(reason)
    step, when = (int(told[1]), "at") if told else (signals.range[1], "after")
    sentence = f"Training failed {when} step {step:,} because of a number that is not finite: {printable(reason, 200)}"
    evidence = Evidence(sentence, "the reason why the run failed", n=1, rule=RULE)
    return detected("nonfinite", "critical", (step, step), evidence, _diverged(signals), ADVICE)


def _may_be_undefined(name: str) -> bool:
    last = name.rsplit("/", 1)[-1]
    return last == "rho" or metrics.SHORT.get(last, last) in metrics.METRICS


def _first_layer(signals: Signals) -> tuple[int, str, str] | None:
    """(step, layer, quantity) of the first non-finite number of a layer: the earliest step, then the foremost layer."""
    found = [item for item in signals.nonfinite_layers() if item[3] in QUANTITIES]
    if not found:
        return None
    step, _, name, quantity = min(found, key=lambda item: (*item[:2], QUANTITIES.index(item[3])))
    return step, name, quantity
