"""The rules on steps, by rho: what a step gave over what its gradient promised.

    rho = (loss before - loss after) / (gradient . (weights before - weights after)),  on the same batch

The ratio by which trust-region methods judge a step (Conn, Gould & Toint 2000; Nocedal & Wright 2006, section 4.1). By
Taylor's theorem it is 1 for small steps, and somewhat less where the loss curves up; 0 where the gradient has nothing to do
with the loss, -1 where its sign is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from monitor.doctor.findings import Evidence, Finding, clear, detected, not_checked, underpowered
from monitor.doctor.intervals import median_interval, slope_interval
from monitor.doctor.signals import Curve, Signals

STALE = 0.1  # a median within this distance from 0 has nothing to do with the gradient
FLIPPED = (-1.6, -0.6)  # a median in here is that of a wrong sign
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
    norms = signals.curve("grad_norm")
    if found.verdict != "detected" or found.step_range is None or norms is None:
        return found
    same = (norms.steps >= found.step_range[0]) & (norms.steps <= found.step_range[1])
    if slope_interval(norms.steps[same], norms.values[same])[1] > 0:
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
    """More than half of the steps raise the loss of the very batch that they were to lower.

    The exact 95 % interval of the median of rho (sign test: Conover 1999, section 3.4) below 0, and not that of a wrong
    sign. A rate may also be too high without this: then later steps repair what earlier ones break.
    """
    causes = ("a learning rate beyond what the curvature of the loss allows",)
    advice = ("a tenth of the learning rate", "a warm-up of the learning rate", "clipping of the gradient's norm")
    rule = "95 % interval of the median rho, by the sign test, below 0 (trust-region ratio; Nocedal & Wright 2006)"

    def beyond(low: float, high: float) -> bool:
        return high < 0 and not _near_minus_one(low, high) and not _near_zero(low, high)

    return _judged(signals, "lr_too_high", "error", rule, beyond, causes, advice)


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
        return not_checked(id, "rho was not recorded: actual / predicted decrease of the loss in a step, on the same batch")
    early = _beginning(rho)
    middle, low, high = median_interval(early.values)
    sentence = f"Steps gave {middle:.2f} of what their gradients promised (median rho; healthy is 0.8 to 1)"
    if len(early) < LEAST:
        few = f"{sentence}, but only {len(early)} steps were measured; {LEAST} are needed."
        return underpowered(id, early.range, Evidence(few, "median of rho", middle, None, len(early), rule))
    sentence += f", with 95 % confidence between {low:.2f} and {high:.2f}."
    evidence = Evidence(sentence, "median of rho", middle, (low, high), len(early), rule)
    if holds(low, high):
        return detected(id, severity, early.range, evidence, causes, advice)
    return clear(id, early.range, evidence) if not holds(middle, middle) else underpowered(id, early.range, evidence)


def _near_zero(low: float, high: float) -> bool:
    return low > -STALE and high < STALE


def _near_minus_one(low: float, high: float) -> bool:
    return low > FLIPPED[0] and high < FLIPPED[1]


def _beginning(rho: Curve) -> Curve:
    early = rho.part(0, BEGINNING)
    return early if len(early) >= LEAST else rho.part(0, min(1.0, LEAST / len(rho)))
