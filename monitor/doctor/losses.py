"""The rules on losses: overfitting, nothing learned, standstill. Margins are stated; none was tuned."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from monitor.doctor.findings import (
    Evidence,
    Finding,
    clear,
    detected,
    not_checked,
    percent,
    printable,
    steps_text,
    underpowered,
)
from monitor.doctor.intervals import mean_interval, running_median, slope_interval
from monitor.doctor.signals import TRAIN, VAL, Curve, Signals
from monitor.doctor.steps import LOWER, overlong

ENOUGH = 5  # evaluations after the start, below which a course is no course
EXAMPLES = 10  # validation examples, below which no test is made of them
RISE = 0.05  # overfit: this much above the best validation loss
WORTH = 0.01  # ... and this much of the loss of knowing nothing, so that 0.0002 over 0.0001 is no rise
UNMOVED = 3  # watched steps without any change of any weight
GAIN = 0.05  # not_learning: this much below the constant answer is learning
FLAT = 0.01  # plateau: less than this share of the whole fall is no movement


# Overfitting ----------------------------------------------------------------------------------------------------------

OVERFIT = (
    f"generalisation loss: last validation loss / best - 1 >= {RISE:.0%} (GL of Prechelt 1998) and >= {WORTH:.0%} of the "
    "loss before training or of a constant answer, on running medians of 3 evaluations, while the training loss falls and "
    "is below that before training"
)
PAIRED = "; cross-fitted paired t interval of the rise, 90 %, above 0"


def overfit(signals: Signals) -> Finding:
    """The validation loss has risen from its best while the training loss fell on.

    The generalisation loss GL = last / best - 1 (Prechelt 1998, "Early stopping - but when?") reaches a margin. Where the
    losses of the single examples are there, the rise must be significant, too. The examples that chose the best evaluation
    make it look better than it was, so that a test on them finds overfitting everywhere; therefore one half of them chooses
    the best evaluation and the other half is compared there with the end, and the other way round (cross-fitting).
    """
    val, train = signals.curve(*VAL), signals.curve(*TRAIN)
    if val is None or train is None:
        missing = "val/loss, the loss on data that are not trained on," if val is None else "train/loss"
        return not_checked("overfit", f"{missing} was not recorded")
    smooth = running_median(val.values)
    best = int(np.argmin(smooth))
    if smooth[best] <= 0:
        return not_checked("overfit", "val/loss is not above 0, so that a ratio of losses says nothing")
    rise, steps = float(smooth[-1] / smooth[best] - 1), (int(val.steps[best]), int(val.steps[-1]))
    evidence = Evidence(
        "", "rise of val/loss above its lowest, relative, by running medians", rise, None, len(val), OVERFIT
    )
    if len(val) <= ENOUGH:
        few = f"There are {len(val)} evaluations of val/loss; {ENOUGH + 1} are needed."
        return underpowered("overfit", steps, replace(evidence, sentence=few))
    interval, how = _paired_rise(signals)
    sentence = (
        f"Running medians of 3 evaluations of val/loss ended {percent(rise)} above their lowest, {smooth[best]:.3g} at "
        f"step {steps[0]:,}"
    )
    rule = OVERFIT if interval is None else OVERFIT + PAIRED
    evidence = replace(evidence, sentence=sentence, interval=interval, rule=rule)
    ignorance = min(float(val.values[0]), _constant_answer(signals, val.name)[0] or math.inf)
    margin = max(RISE, WORTH * ignorance / float(smooth[best]))
    if rise >= margin:
        return _risen(val, train, steps, evidence, how)
    evidence = replace(evidence, sentence=f"{sentence}{how if interval is None else f' ({how})'}.")
    if rise <= 0 or interval is None or interval[1] < margin:
        return clear("overfit", val.range, evidence)
    return underpowered("overfit", steps, evidence, ["evaluate on more validation data"])


def _risen(val: Curve, train: Curve, steps: tuple[int, int], evidence: Evidence, how: str) -> Finding:
    """The verdict on a validation loss that has risen by the margin; `how` says what the single examples tell of it."""
    since, ended = train.steps >= steps[0], np.median(train.values[-3:])
    falls = since.sum() > 1 and slope_interval(train.steps[since], train.values[since])[0] < 0 and ended < train.values[0]
    course = f"{printable(train.name)} {'fell on' if falls else 'did not fall'}"
    sure = evidence.interval is None or evidence.interval[0] > 0
    told = f"{evidence.sentence}{how if evidence.interval is None else ''}, while {course}."
    if evidence.interval is not None:
        told += f" {how[0].upper()}{how[1:]}." if sure else f" The examples do not confirm it: {how}."
    evidence = replace(evidence, sentence=told)
    if not falls:
        return clear("overfit", val.range, evidence)
    if not sure:
        return underpowered("overfit", steps, evidence, ["evaluate on more validation data"], severity="warning")
    causes = (
        "too many updates for the data",
        "a net too large for the data",
        "labels that the inputs do not explain",
    )
    lowest = int(np.argmin(val.values))
    best = f"{val.values[lowest]:.3g} at step {val.steps[lowest]:,}"
    advice = (
        f"keep the weights of the lowest evaluation, {best} (EarlyStopping restores them)",
        "weight decay or dropout",
        "more or augmented training data",
        "a smaller net",
    )
    return detected("overfit", "warning", steps, evidence, causes, advice)


def _paired_rise(signals: Signals) -> tuple[tuple[float, float] | None, str]:
    """The interval of the relative rise by the losses of the single examples, and words on it; None if there are none."""
    examples = signals.examples()
    if examples is None:
        return None, " (by the averages alone: the losses of the single examples were not recorded)"
    rows = examples[1]
    if rows.shape[1] < EXAMPLES or len(rows) < 2:
        return None, f" (by the averages alone: there are losses of only {rows.shape[1]} examples)"
    halves = np.arange(rows.shape[1]) % 2
    before, rise = np.empty(rows.shape[1]), np.empty(rows.shape[1])
    for half in (0, 1):
        means = rows[:, halves != half].mean(axis=1, dtype=float)  # the others choose
        best, last = _typical(means, int(running_median(means).argmin())), _typical(means, len(means) - 1)
        own = halves == half
        before[own], rise[own] = rows[best, own], rows[last, own].astype(float) - rows[best, own]
    mean, low, high = mean_interval(rise / before.mean()) if before.mean() > 0 else (0.0, -math.inf, math.inf)
    return (low, high), (
        f"where one half of the {len(rise):,} examples chooses the lowest and the other half is compared there with the "
        f"end, the change is {percent(mean, '+.1%')}, 90 % interval {percent(low, '+.1%')} to {percent(high, '+.1%')}"
    )


def _typical(means: np.ndarray, index: int) -> int:
    """The evaluation whose mean loss is the running median there."""
    first = min(max(index - 1, 0), max(len(means) - 3, 0))
    window = means[first : first + 3]
    return first + int(np.argsort(window, kind="stable")[len(window) // 2])


# Nothing learned ------------------------------------------------------------------------------------------------------

LEARNED = f"best evaluated loss > {1 - GAIN:.0%} of the loss of the best constant answer (Goodfellow et al. 2016, ch. 11)"


def not_learning(signals: Signals) -> Finding:
    """The loss never became better than that of always giving the same answer.

    The baseline to check first (Goodfellow, Bengio & Courville 2016, ch. 11). What the best constant answer loses is the
    entropy of the classes, ln K for K equally frequent ones (cross-entropy), or the variance of the targets (mean squared
    error). run.json may say it (`_constant_answer`). Otherwise all that can be said is that a net did not become better
    than it was before training. Where no weight moved at any watched step, there is nothing to ask of the loss.
    """
    steps = signals.unmoved()
    if steps is not None and len(steps) >= UNMOVED:
        return _unmoved(steps)
    curve = signals.curve(*VAL, *TRAIN)
    if curve is None or len(curve) < 2:
        return not_checked("not_learning", "the loss was recorded less than twice: evaluate it before and during training")
    smooth = running_median(curve.values)
    best, start = float(smooth.min()), float(curve.values[0])
    constant, how = _constant_answer(signals, curve.name)
    if constant is None and curve.steps[0] == 0 and start > 0 and best > (1 - GAIN) * start:
        constant, how = start, "the net before training"
    if constant is None:
        return not_checked(
            "not_learning",
            "run.json does not say what a constant answer would lose: "
            "recorder.describe(class_counts=[...]) or describe(baseline=loss of the best constant answer)",
        )
    ratio = best / constant
    sentence = f"{printable(curve.name)} was {best:.3g} at best, {percent(ratio)} of {constant:.3g}, the loss of {how}."
    evidence = Evidence(sentence, "best loss / loss of a constant answer", ratio, None, len(curve), LEARNED)
    if ratio <= 1 - GAIN:
        return clear("not_learning", curve.range, evidence)
    if len(curve) <= ENOUGH:
        return underpowered("not_learning", curve.range, evidence, ["train longer"])
    cause, rates = _about_the_rate(signals)
    causes = (
        "labels that do not belong to the inputs, or that these do not explain",
        cause,
        "gradients that do not arrive: see the other findings",
    )
    advice = (
        "train on one batch until its loss is near 0: if that fails, the net or the step is wrong, not the data",
        "check that inputs and labels are in the same order",
        rates,
    )
    return detected("not_learning", "error", curve.range, evidence, causes, advice)


def _unmoved(steps: np.ndarray) -> Finding:
    """The finding on a training whose watched steps left every weight as it was."""
    sentence = f"No weight moved at any of the {len(steps):,} watched steps: the net is as it was before training."
    rule = f"exact: all updates of all layers are 0 at all watched steps, {UNMOVED} or more"
    evidence = Evidence(sentence, "largest change of a layer's weights, relative", 0.0, None, len(steps), rule)
    causes = (
        "a learning rate of 0, or so small that the weights' rounding swallows each step",
        "an optimizer that holds other parameters than those of this model",
        "gradients that are all 0",
    )
    advice = ("print the learning rate and the norm of the gradients", "make the optimizer of model.parameters()")
    return detected("not_learning", "error", (int(steps[0]), int(steps[-1])), evidence, causes, advice)


def _about_the_rate(signals: Signals) -> tuple[str, str]:
    """A likely cause and what to try, by what the steps gave of what their gradients promised."""
    if overlong(signals):
        return "a learning rate that is too high, as rho says", LOWER
    return "a learning rate that is far too high or too low", "learning rates ten times higher and lower"


def _constant_answer(signals: Signals, name: str) -> tuple[float | None, str]:
    """What the best constant answer loses, and how that is known, by what run.json holds: of the run, its data or config.

    `baseline` (the loss, or {series: loss}), `class_counts` (numbers of examples), or `target_variance`.
    """
    baseline = signals.described("baseline")
    if isinstance(baseline, dict):
        baseline = baseline.get(name)
    counts, variance = signals.described("class_counts"), signals.described("target_variance")
    for value, how in ((baseline, "the recorded baseline"), (variance, "always answering the mean")):
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf:
            return float(value), how
    if isinstance(counts, list) and all(type(count) is int and 0 <= count < 2**53 for count in counts):
        shares = np.array([count for count in counts if count], float) / max(sum(counts), 1)
        if len(shares) > 1:
            return float(-(shares * np.log(shares)).sum()), "always answering the shares of the classes"
    return None, ""


# Standstill -----------------------------------------------------------------------------------------------------------

STANDSTILL = (
    f"90 % interval of the slope (Theil 1950, Sen 1968) of the last third, times its length, within {FLAT:.0%} of the "
    "whole fall of the loss: two one-sided tests (Schuirmann 1987)"
)


def plateau(signals: Signals) -> Finding:
    """The evaluated loss stands still over the last third of the evaluations.

    Standing still is a claim like any other: it takes an interval of the slope that lies within a margin around 0, not
    merely one that holds 0 (equivalence by two one-sided tests: Schuirmann 1987). Whether a loss that stands still has
    converged or is stuck, its course cannot tell; detected is only what is stuck for sure, at the level of a constant
    answer.
    """
    curve = signals.curve(*TRAIN, *VAL)
    if curve is None or not curve.evaluated:
        return not_checked("plateau", "no evaluated loss was recorded: losses of single batches are too noisy for this")
    last = curve.part(2 / 3, 1)
    length = float(last.steps[-1] - last.steps[0])
    if len(last) < ENOUGH:
        return not_checked("plateau", f"the last third has {len(last)} evaluations of the loss; {ENOUGH} are needed")
    fall = max(float(curve.values[0] - curve.values.min()), 0.0)
    scale = fall if fall > FLAT * abs(curve.values[0]) else abs(float(curve.values[0]))
    if scale == 0:
        return not_checked("plateau", "the loss was 0 from the beginning")
    of = "its whole fall" if scale == fall else "the loss at first"
    change, low, high = (bound * length / scale for bound in slope_interval(last.steps, last.values))
    moved = (
        f"{printable(curve.name)} changed by {percent(change, '+.2%')} of {of} over {steps_text(last.range)} "
        f"(90 % interval {percent(low, '+.2%')} to {percent(high, '+.2%')})"
    )
    statistic = f"change of the loss over the last third / {of}"
    evidence = Evidence(f"{moved}: it may stand still or not.", statistic, change, (low, high), len(last), STANDSTILL)
    if low > FLAT or high < -FLAT:
        course = f"{moved}: {_course(signals, high < 0)}."
        if high < 0 and last.values[0] + last.values[-1] > 2 * curve.values[0]:  # mostly above the first
            course = _came_back(curve, last)
        return clear("plateau", last.range, replace(evidence, sentence=course))
    if low <= -FLAT or high >= FLAT:
        return underpowered("plateau", last.range, evidence)
    return _standing_still(signals, curve, last, moved, evidence)


def _course(signals: Signals, falls: bool) -> str:
    """What a loss that moves does, in words."""
    if not falls:
        return "it rises"
    if _rate_ended(signals):
        return "it was still falling when the learning rate came to its end"
    return "it is still falling, so that a longer training may pay"


def _came_back(curve: Curve, last: Curve) -> str:
    """A sentence on a loss that fell over the last third, but not from where training began."""
    return (
        f"{printable(curve.name)} fell from {last.values[0]:.3g} to {last.values[-1]:.3g} over {steps_text(last.range)}, "
        f"but was {curve.values[0]:.3g} at first and {curve.values.max():.3g} at worst: it only came back from a rise."
    )


def _rate_ended(signals: Signals) -> bool:
    lr = signals.curve("lr")
    return lr is not None and bool(lr.values[-1] <= FLAT * lr.values.max())


def _standing_still(signals: Signals, curve: Curve, last: Curve, moved: str, evidence: Evidence) -> Finding:
    """Whether a loss that does not move has converged or is stuck, if something recorded can tell."""
    level, start = float(np.median(last.values)), float(curve.values[0])
    constant, how = _constant_answer(signals, curve.name)
    constant, how = (start, "the net before training") if constant is None else (constant, how)
    if level > (1 - GAIN) * constant:
        stuck = f"{moved} and stands still at {level:.3g}, no better than {constant:.3g}, the loss of {how}: it is stuck."
        cause, rates = _about_the_rate(signals)
        causes = ("gradients that do not arrive", cause, "uninformative inputs")
        advice = ("see not_learning and the findings on layers", rates)
        return detected("plateau", "warning", last.range, replace(evidence, sentence=stuck), causes, advice)
    ended = _rate_ended(signals)
    if level <= FLAT * constant or ended:
        why = "the learning rate has come down to its end" if ended else f"it is {level / constant:.1%} of {how}'s"
        return clear("plateau", last.range, replace(evidence, sentence=f"{moved}: it has converged, {why}."))
    unclear = f"{moved}: it stands still. Whether it has converged or is stuck, nothing recorded can tell."
    fork = ["go on from the end with a third of and three times the learning rate, and see which falls"]
    return underpowered("plateau", last.range, replace(evidence, sentence=unclear), fork)
