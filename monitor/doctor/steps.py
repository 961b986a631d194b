"""The rules on steps, by rho: what a step gave over what its gradient promised.

    rho = (loss before - loss after) / (gradient . (weights before - weights after)),  on the same batch

The ratio by which trust-region methods judge a step (Conn, Gould & Toint 2000; Nocedal & Wright 2006, section 4.1). By
Taylor's theorem it is 1 for small steps, and somewhat less where the loss curves up; 0 where the gradient has nothing to do
with the loss, -1 where its sign is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from monitor.doctor.findings import Evidence, Finding, clear, detected, not_checked, underpowered
from monitor.doctor.intervals import median_interval, slope_interval
from monitor.doctor.signals import TO_WATCH, Curve, Signals

STALE = 0.1  # a median within this distance from 0 has nothing to do with the gradient
FLIPPED = (-1.6, -0.6)  # a median in here is that of a wrong sign
HEALTHY = 0.8  # a median from here on is that of steps that the gradient describes well
SHORT = 0.5  # a median below wastes more than half of what the gradient promised: the steps are longer than it holds
LOWER = "a tenth of the learning rate"
RATE = "a learning rate beyond what the curvature of the loss allows"
MAXIMISED = "a loss that is maximised, not minimised (a wrong sign)"
BEGINNING = 1 / 4  # the share of a training that is looked at: near a minimum rho is noise
LEAST = 6  # values of rho, below which a 95 % interval of the median does not exist


def stale_gradients(signals: Signals) -> Finding:
    """Steps give nothing of what the gradient promises, and the gradient grows: it adds up from step to step.

    The exact 95 % interval of the median of rho (sign test: Conover 1999, section 3.4) within +-0.1; and, where grad_norm
    was recorded, the 90 % interval of its slope over the same steps (Theil 1950, Sen 1968) above 0. Without the growth,
    steps are merely so large that the gradient says nothing about where they end.
    """
    causes = ("gradients that are not set to zero between steps, and add up", "gradients of other data than the loss")
    advice = ("optimizer.zero_grad() before every backward()",)
    rule = (
        f"95 % interval of the median rho, by the sign test, within +-{STALE} (trust-region ratio; Nocedal & Wright 2006), "
        "while the gradient's norm grows (90 % interval of its Theil-Sen slope above 0)"
    )
    found = _judged(signals, "stale_gradients", "error", rule, _near_zero, causes, advice)
    if found.verdict != "detected" or signals.curve("grad_norm") is None or _growth(signals, found)[0] > 0:
        return found
    sentence = (
        f"{found.message} But gradients did not grow, as they would if they added up: the steps may be far too large."
    )
    return underpowered(found.id, found.step_range, replace(found.evidence, sentence=sentence), ["smaller steps"])


def grad_sign(signals: Signals) -> Finding:
    """Steps raise the loss by as much as the gradient promises to lower it: a sign is wrong.

    The exact 95 % interval of the median of rho (sign test: Conover 1999, section 3.4) between -1.6 and -0.6.
    """
    causes = ("a gradient with the wrong sign", "a loss that is to be raised, not lowered")
    advice = ("compare the gradient with finite differences (tinynet.gradcheck)", "check the sign of the loss")
    rule = (
        f"95 % interval of the median rho, by the sign test, within {FLIPPED} (trust-region ratio; Nocedal & Wright 2006)"
    )
    return _judged(signals, "grad_sign", "critical", rule, _near_minus_one, causes, advice)


def lr_too_high(signals: Signals) -> Finding:
    """Steps give less than half of what their gradients promise (a warning), or raise the loss of their batch (an error).

    The exact 95 % interval of the median of rho (sign test: Conover 1999, section 3.4) below 0.5, or below 0, and neither
    near 0 nor near -1, which have causes of their own. It is clear only where the median is 0.5 or more and the interval
    reaches the 0.8 of a healthy training. Along the gradient of a quadratic loss rho is 1 - lr h / 2, where h is the
    curvature along it, so that 0.5 is at the rate that lowers the loss most and 0 at twice that rate.
    """
    causes = (RATE,)
    advice = (LOWER, "a warm-up of the learning rate", "clipping of the gradient's norm")
    rule = (
        f"95 % interval of the median rho, by the sign test, below {SHORT} (an error: below 0); clear if the median is "
        f"{SHORT} or more and the interval reaches {HEALTHY} (trust-region ratio; Nocedal & Wright 2006)"
    )

    def beyond(low: float, high: float) -> bool:
        return high < SHORT and not _near_minus_one(low, high) and not _near_zero(low, high)

    found = _judged(signals, "lr_too_high", "error", rule, beyond, causes, advice)
    middle, interval = found.evidence.estimate, found.evidence.interval
    if middle is None or interval is None:
        return found
    if found.verdict == "detected":
        return _with_other_causes(signals, found if interval[1] < 0 else replace(found, severity="warning"))
    if middle >= SHORT and interval[1] >= HEALTHY:
        return found
    sentence = f"{found.message} The learning rate may be too high."
    return underpowered(found.id, found.step_range, replace(found.evidence, sentence=sentence), [LOWER])


def _with_other_causes(signals: Signals, found: Finding) -> Finding:
    """The finding on steps that are too long, with what may look the same: gradients that add up, and a wrong sign."""
    causes, advice = list(found.causes), list(found.advice)
    if _growth(signals, found)[1] > 0:
        causes.append("gradients that are never cleared, and add up (zero_grad)")
        advice.append("optimizer.zero_grad() before every backward()")
    low, high = found.evidence.interval or (0.0, 0.0)
    if may_maximise(signals) and low < FLIPPED[1] and high > FLIPPED[0]:
        causes.append(MAXIMISED)
        advice.append("check the sign of the loss")
    return replace(found, causes=tuple(causes), advice=tuple(advice))


def _growth(signals: Signals, found: Finding) -> tuple[float, float]:
    """The interval of the slope of the gradient's norm over the steps of a finding; infinite if it was not recorded."""
    norms = signals.curve("grad_norm")
    if norms is None or found.step_range is None:
        return -math.inf, math.inf
    same = (norms.steps >= found.step_range[0]) & (norms.steps <= found.step_range[1])
    return slope_interval(norms.steps[same], norms.values[same])[1:]


def may_maximise(signals: Signals) -> bool:
    """Whether the sign may be wrong: steps raise the loss, or lower it more than promised, as one without a lower bound; or
    rho is unknown."""
    rho = signals.curve("rho")
    return rho is None or not 0 <= median_interval(_beginning(rho).values)[0] <= 1


def overlong(signals: Signals) -> bool:
    """Whether the median of rho speaks for a lower learning rate rather than for a higher one, or for another sign."""
    found = lr_too_high(signals)
    middle = found.evidence.estimate
    if middle is None or found.evidence.interval is None:
        return False
    return middle < SHORT and not _near_minus_one(middle, middle)


def _judged(
    signals: Signals,
    id: str,
    severity: str,
    rule: str,
    holds: Callable[[float, float], bool],
    causes: Sequence[str],
    advice: Sequence[str],
) -> Finding:
    """The finding on the median of rho at the beginning of training; `holds(low, high)` says whether it is detected."""
    rho = signals.curve("rho")
    if rho is None:
        return not_checked(id, _why_no_rho(signals))
    early = _beginning(rho)
    middle, low, high = median_interval(early.values)
    sentence = f"Steps gave {middle:.2f} of what their gradients promised (median rho; healthy is 0.8 to 1)"
    if len(early) < LEAST:
        were = "1 step was" if len(early) == 1 else f"{len(early)} steps were"
        few = f"{sentence}, but only {were} measured; {LEAST} are needed: in a short loop, recorder.watch(model, every=1)."
        return underpowered(id, early.range, Evidence(few, "median of rho", middle, None, len(early), rule))
    sentence += f", with 95 % confidence between {low:.2f} and {high:.2f}."
    evidence = Evidence(sentence, "median of rho", middle, (low, high), len(early), rule)
    if holds(low, high):
        return detected(id, severity, early.range, evidence, causes, advice)
    return clear(id, early.range, evidence) if not holds(middle, middle) else underpowered(id, early.range, evidence)


def _why_no_rho(signals: Signals) -> str:
    if not signals.watched:
        return f"rho was not recorded: {TO_WATCH}"
    if signals.unmoved() is not None:
        return "no weight moved at any watched step, so that there is nothing to compare with what the gradient promised"
    return (
        "the layers were watched, but rho was not recorded: in a loop of your own watcher.end(step, loss, again) measures "
        "it, where again() computes the loss of the batch anew, with the weights as they are then"
    )


def _near_zero(low: float, high: float) -> bool:
    return low > -STALE and high < STALE


def _near_minus_one(low: float, high: float) -> bool:
    return low > FLIPPED[0] and high < FLIPPED[1]


def _beginning(rho: Curve) -> Curve:
    early = rho.part(0, BEGINNING)
    return early if len(early) >= LEAST else rho.part(0, min(1.0, LEAST / len(rho)))
