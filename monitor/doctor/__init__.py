"""The doctor: what is wrong with a training, told from what was recorded of it.

    report = diagnose("runs/20260101-120000-moons")
    print(report)                                    # what was found, why, and what to try
    report.exit_code                                 # 0: nothing was detected, 1: something was

Collecting (signals.py) and judging are kept apart. A rule is a function of the collected signals that answers with a
finding (findings.py): a number, the window of steps that it comes from, the rule with its source, and what to try. The
rules are in numbers.py (nan and infinities), losses.py (overfitting, nothing learned, standstill), layers.py (units and
gradients) and steps.py (what a step promised and what it gave); what they compute is in intervals.py. docs/doctor.md lists
every rule with its margin, and what has been measured of them.

A question that the record cannot answer is `not_checked`, with the reason, and one that it answers either way is
`underpowered`; neither is taken for health.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from monitor.callbacks import Callback
from monitor.doctor import layers, losses, numbers, steps
from monitor.doctor.findings import OPEN, Evidence, Finding, Report, not_checked, ordered
from monitor.doctor.signals import Signals
from monitor.run import Run

__all__ = ["Doctor", "Evidence", "Finding", "Report", "diagnose"]

# Causes before what follows from them: so a report lists findings of one severity.
RULES: dict[str, Callable[[Signals], Finding]] = {
    "nonfinite": numbers.nonfinite,
    "grad_sign": steps.grad_sign,
    "stale_gradients": steps.stale_gradients,
    "lr_too_high": steps.lr_too_high,
    "vanishing_gradients": layers.vanishing_gradients,
    "exploding_gradients": layers.exploding_gradients,
    "dead_units": layers.dead_units,
    "saturated_units": layers.saturated_units,
    "not_learning": losses.not_learning,
    "overfit": losses.overfit,
    "plateau": losses.plateau,
}


def diagnose(run: Run | str | os.PathLike) -> Report:
    """What is wrong with a training, as far as its record tells: a Report.

    `run` is a Run or the path of its folder, finished or not. Nothing is changed and nothing is trained. Each question has
    one finding, whatever the number of steps; `report.coverage` says which were answered. RecorderError if there is no run.

    >>> from monitor import Recorder
    >>> recorder = Recorder(root=None, name="demo")
    >>> for step, loss in enumerate([0.9, 0.5, float("nan")]):
    ...     recorder.log(step, **{"train/loss": loss})
    >>> report = diagnose(recorder.run)
    >>> report.exit_code, report.detected[0].id, report.detected[0].step_range
    (1, 'nonfinite', (2, 2))
    """
    if not isinstance(run, Run):
        if not isinstance(run, str | os.PathLike):
            raise TypeError(f"diagnose: run must be a Run or the path of a run's folder, got {type(run).__name__}")
        run = Run.open(run)
    signals = Signals(run)
    with np.errstate(over="ignore", invalid="ignore"):  # of values near 1e308 even a median overflows
        findings = [rule(signals) for rule in RULES.values()]
    findings += [not_checked(id, reason) for id, reason in OPEN.items()]
    return Report(run.name, run.status, max(signals.range[1], 0), ordered(findings), tuple(_remarks(run)))


def _remarks(run: Run) -> list[str]:
    remarks = []
    if run.status == "running":
        remarks.append("The training still goes on: this is how it stands now.")
    if run.status == "crashed":
        remarks.append("The run has no end: its process died. What it recorded until then was judged.")
    if run.unreadable:
        remarks.append(f"Lines of events.jsonl that could not be read and were passed over: {run.unreadable:,}.")
    return remarks


class Doctor(Callback):
    """Diagnoses the run when training ends, and records what is detected as `finding` events.

    `report` is the Report; pictures and pages of the run show what was recorded.
    """

    report: Report | None = None

    def on_train_end(self, training: Any) -> None:
        self.report = diagnose(training.recorder.run)
        for found in self.report.detected:
            training.recorder.event("finding", training.step, found.data(), training.epoch, counts=False)
