"""The rules on layers: gradients that fade or grow on their way back, units that are silent or pinned to their bounds."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from monitor.doctor.findings import Evidence, Finding, clear, detected, not_checked, printable, underpowered
from monitor.doctor.intervals import slope_interval
from monitor.doctor.losses import GAIN
from monitor.doctor.signals import TO_WATCH, TRAIN, VAL, Layers, Signals

DECADES = 2.0  # vanishing, exploding: a factor of 100 between the first layer and the last
DEEP = 4  # layers with weights, below which no interval of a slope over them exists
MOST = 0.5  # dead, saturated: more than this share of a layer
WATCHED = 3  # steps that must have been watched
NOTHING = f"the layers were not watched: {TO_WATCH}"
HIDDEN = (
    "a captured step (tn.capture) hides them from the watcher; train with fit, or leave tn.capture out of the watched loop"
)


# Gradients over depth -------------------------------------------------------------------------------------------------


def vanishing_gradients(signals: Signals) -> Finding:
    """Gradients become smaller from each layer to the one before it, by a factor of 100 or more over the net.

    The slope of log10 of the gradient's norm over the layers, by Theil and Sen, with an interval that leaves out 0 (so the
    course is monotone but for chance), at the beginning of training, where the net has yet to learn (Glorot & Bengio 2010):
    over the first third of the watched steps, or at the very first, if the loss did not fall after it.
    Norms are of whole layers, not divided by the number of weights: run.json does not have that.
    """
    causes = ("activations whose slope is small, such as the sigmoid's", "initial weights that are too small", "a deep net")
    advice = (
        "ReLU or tanh with init='auto' (He or Glorot)",
        "fewer layers",
        "LayerNorm or BatchNorm between layers",
    )
    return _over_depth(signals, "vanishing_gradients", 1, causes, advice)


def exploding_gradients(signals: Signals) -> Finding:
    """Gradients become larger from each layer to the one before it, by a factor of 100 or more over the net.

    As vanishing_gradients, in the other direction (Glorot & Bengio 2010; Pascanu, Mikolov & Bengio 2013).
    """
    causes = ("initial weights that are too large for the depth", "inputs or targets on a large scale")
    advice = ("init='auto' (He or Glorot)", "LayerNorm or BatchNorm between layers", "clipping of the gradient's norm")
    return _over_depth(signals, "exploding_gradients", -1, causes, advice)


def _over_depth(signals: Signals, id: str, sign: int, causes: tuple[str, ...], advice: tuple[str, ...]) -> Finding:
    """The finding on the fall (sign = 1) or rise (-1) of the gradients from the last layer to the first."""
    watched = signals.layers("grad_norm")
    if watched is None:
        return not_checked(id, "no layer has a gradient" if signals.watched else NOTHING)
    third = -(-len(watched.steps) // 3)
    early = watched.values[:third]
    own = (np.isfinite(early) & (early > 0)).any(axis=0)  # layers that have a gradient at all
    if own.sum() < DEEP:
        have = "1 layer has a gradient" if own.sum() == 1 else f"{own.sum()} layers have gradients"
        return not_checked(id, f"{have} other than 0; a course over depth takes {DEEP}")
    steps = int(watched.steps[0]), int(watched.steps[third - 1])
    evidence = _course(watched, third, sign, "In the first third of the watched steps")
    if _holds(evidence):
        return detected(id, "error", steps, evidence, causes, advice)
    at_first = _course(watched, 1, sign, f"At step {steps[0]:,}, the first that was watched")
    if not _holds(at_first):
        unsure = evidence.estimate is not None and evidence.estimate >= DECADES
        return underpowered(id, steps, evidence, severity="warning") if unsure else clear(id, steps, evidence)
    # Once the last layer has come to rest, its gradients are as small as those of the first: that is no recovery.
    fell = _loss_fell(signals)
    if fell:
        return clear(id, steps, evidence)
    if fell is None:
        end = " Later not; and no loss was recorded, by which to tell whether the net learned nevertheless: log it."
        return underpowered(id, steps, _extended(at_first, end), severity="warning")
    end = " Later not; but the loss did not fall: the net came to rest without learning."
    return detected(id, "error", (steps[0], steps[0]), _extended(at_first, end), causes, advice)


def _course(watched: Layers, first: int, sign: int, when: str) -> Evidence:
    """The trend over depth of the gradients, medians over the `first` watched steps."""
    early = watched.values[:first]
    usable = np.isfinite(early) & (early > 0)
    own = usable.any(axis=0)
    logs = np.where(usable, np.log10(np.where(usable, early, 1.0)), np.nan)[:, own]
    if own.sum() < DEEP:
        return Evidence(f"{when}, {own.sum()} layers had gradients other than 0.")
    depth = np.arange(own.sum(), dtype=float)
    change = [sign * bound * depth[-1] for bound in slope_interval(depth, np.nanmedian(logs, axis=0))]
    fall, low, high = change[0], min(change[1:]), max(change[1:])
    names = [printable(watched.names[i]) for i in np.flatnonzero(own)]
    word = "smaller" if sign * fall >= 0 else "larger"
    times = 10 ** min(abs(float(fall)), 300)
    sentence = (
        f"{when}, gradients were {times:,.3g} times {word} in the first layer ({names[0]}) than in the last ({names[-1]}), "
        f"by the trend over {len(names)} layers."
    )
    rule = (
        f"Theil-Sen slope of log10 gradient norm over depth: >= {DECADES:g} decades over the net, 90 % interval above 0, "
        "in the first third of the watched steps, or at the first if the loss then did not fall (Glorot & Bengio 2010)"
    )
    statistic = f"{'fall' if sign > 0 else 'rise'} of the gradient from the last layer to the first, in decades"
    return Evidence(sentence, statistic, float(fall), (float(low), float(high)), len(names), rule)


def _holds(evidence: Evidence) -> bool:
    """Whether the trend reaches the margin, and beyond chance."""
    if evidence.estimate is None or evidence.interval is None:
        return False
    return evidence.estimate >= DECADES and evidence.interval[0] > 0


def _loss_fell(signals: Signals) -> bool | None:
    """Whether the last third of the loss is lower than its beginning by GAIN; None if too little of it was recorded."""
    curve = signals.curve(*TRAIN, *VAL)
    if curve is None or len(curve) < WATCHED:
        return None
    start = float(np.median(curve.values[: 1 if curve.evaluated else WATCHED]))
    return bool(np.median(curve.part(2 / 3, 1).values) <= start - GAIN * abs(start))


# Units ----------------------------------------------------------------------------------------------------------------


def dead_units(signals: Signals) -> Finding:
    """Most units of a layer give exactly 0 on every row of every watched batch: nothing flows back through such a ReLU.

    Exact counts (Lu et al. 2019, "Dying ReLU and initialization"), not shares of zeros, which are about one half in any
    healthy ReLU layer. The least share over the last third of the watched steps must be above one half. Only layers
    without weights and without bounds are looked at, activations of the ReLU kind: elsewhere a 0 blocks nothing. Steps
    whose outputs were not seen count for nothing.
    """
    watched = _rectifiers(signals)
    if watched is None:
        return _unasked(signals, "dead_units", "no layer is of the ReLU kind (a relu() that is called is no layer)")
    third = -(-len(watched.steps) // 3)
    shares, known = watched.values, np.isfinite(watched.values)
    seen = known.any(axis=1)
    if seen.sum() < WATCHED:
        return underpowered("dead_units", _range(watched), _too_few(seen))
    told = known[-third:].any(axis=0) & (known.sum(axis=0) >= WATCHED)
    least = np.where(known, shares, np.inf)[-third:].min(axis=0)
    least = np.where(told, least, -np.inf)
    layer = int(np.argmax(least > MOST)) if (least > MOST).any() else int(least.argmax())  # the foremost such
    if not told.all() and not (least > MOST).any():
        return underpowered(
            "dead_units", _range(watched), _unseen(watched, int(np.argmin(told)), "one of them in the last third")
        )
    share, name = float(least[layer]), printable(watched.names[layer])
    rule = f"exact: more than {MOST:.0%} of a layer's units are 0 on all rows, at all of the last third of watched steps"
    sentence = f"At most {share:.0%} of the units of a layer ({name}) stayed silent.{_partly(known[:, layer])}"
    n = int(known[-third:, layer].sum())
    evidence = Evidence(sentence, f"share of units of layer {name} that were 0 on all rows", share, None, n, rule)
    if share <= MOST:
        return clear("dead_units", _range(watched), evidence)
    return _dead(watched, layer, evidence)


def _dead(watched: Layers, layer: int, evidence: Evidence) -> Finding:
    """The finding on a layer most of whose units are dead at the end: since when, and why."""
    known = np.isfinite(watched.values[:, layer])
    steps, shares, share = watched.steps[known], watched.values[known, layer], float(evidence.estimate or 0.0)
    alive = np.flatnonzero(shares <= MOST)
    first = int(steps[alive[-1] + 1 if len(alive) else 0])
    units = "all units" if share == 1 else f"{math.floor(100 * share)}% or more of the units"
    sentence = (
        f"At each watched step since step {first:,}, {units} of layer {printable(watched.names[layer])} gave 0 on all "
        f"rows.{_partly(known)}"
    )
    later = ("a step that was too large",)
    start = ("biases, weights or inputs that put every answer below 0 at the start",)
    causes = later if len(alive) else start if known[0] else start + later
    advice = ("a lower learning rate", "biases that begin at 0", "standardised inputs", "leaky ReLU, which never dies")
    severity, window = "critical" if share == 1 else "warning", (first, int(steps[-1]))
    return detected("dead_units", severity, window, replace(evidence, sentence=sentence), causes, advice)


def saturated_units(signals: Signals) -> Finding:
    """Most answers of a tanh or sigmoid layer lie within 0.01 of its bounds, where its slope nearly vanishes, all along.

    The median share over the first third of the watched steps and that over the last third must both be above one half
    (Glorot & Bengio 2010). A net that has learned saturates late, and need not mind; so may the last layer, which answers
    with certainty, and is not looked at. Steps whose outputs were not seen count for nothing.
    """
    watched = signals.layers("saturated")
    if watched is None:
        return _unasked(signals, "saturated_units", "no layer has bounded answers (tanh, sigmoid)")
    bounded = np.isfinite(watched.values).any(axis=0)
    hidden = [i for i in range(len(watched.names) - 1) if bounded[i]]
    if not hidden:
        return not_checked("saturated_units", "only the last layer has bounded answers, and these may be certain")
    watched = Layers(watched.steps, [watched.names[i] for i in hidden], watched.values[:, hidden])
    third, known = -(-len(watched.steps) // 3), np.isfinite(watched.values)
    seen = known.any(axis=1)
    if seen.sum() < WATCHED:
        return underpowered("saturated_units", _range(watched), _too_few(seen))
    told = known[:third].any(axis=0) & known[-third:].any(axis=0) & (known.sum(axis=0) >= WATCHED)
    shares = np.full(len(hidden), -np.inf)
    shares[told] = np.minimum(*(np.nanmedian(piece[:, told], axis=0) for piece in _ends(watched.values, third)))
    worst = int(shares.argmax())
    if not told.all() and not shares[worst] > MOST:
        lacking = _unseen(watched, int(np.argmin(told)), "in the first and the last third")
        return underpowered("saturated_units", _range(watched), lacking)
    share, name = float(shares[worst]), printable(watched.names[worst])
    sentence = (
        f"{share:.0%} of the answers of layer {name}, the worst, lay within 0.01 of its bounds, early and late."
        f"{_partly(known[:, worst])}"
    )
    rule = f"median share in the first and in the last third of watched steps > {MOST:.0%} (Glorot & Bengio 2010)"
    n = int(known[:, worst].sum())
    evidence = Evidence(sentence, "share of saturated answers, of the worst layer", share, None, n, rule)
    if share <= MOST:
        return clear("saturated_units", _range(watched), evidence)
    causes = ("inputs on a large scale", "initial weights that are too large", "a learning rate that is too high")
    advice = ("standardised inputs", "init='auto' (Glorot)", "a lower learning rate", "ReLU instead")
    return detected("saturated_units", "warning", _range(watched), evidence, causes, advice)


def _rectifiers(signals: Signals) -> Layers | None:
    """The share of dead units of the layers without weights and without bounds."""
    watched = signals.layers("dead")
    if watched is None:
        return None
    other: set[str] = set()
    for quantity in ("weight_norm", "saturated"):
        theirs = signals.layers(quantity)
        if theirs is not None:
            other.update(name for i, name in enumerate(theirs.names) if np.isfinite(theirs.values[:, i]).any())
    own = [i for i, name in enumerate(watched.names) if name not in other and np.isfinite(watched.values[:, i]).any()]
    return Layers(watched.steps, [watched.names[i] for i in own], watched.values[:, own]) if own else None


# Outputs that were not seen -------------------------------------------------------------------------------------------


def _unasked(signals: Signals, id: str, kind: str) -> Finding:
    """Why no layer can be asked: nothing was watched, no output was seen, or the layers are of another kind."""
    if not signals.watched:
        return not_checked(id, NOTHING)
    if signals.layers("act_mean") is not None or signals.layers("dead") is not None:
        return not_checked(id, kind)
    return not_checked(id, f"outputs were not seen at any of the {signals.watched:,} watched steps: {HIDDEN}")


def _too_few(seen: np.ndarray) -> Evidence:
    if seen.all():
        steps = "1 step" if len(seen) == 1 else f"{len(seen)} steps"
        return Evidence(f"The layers were watched at {steps}; {WATCHED} are needed.")
    return Evidence(f"Outputs were seen at {seen.sum():,} of {len(seen):,} watched steps; {WATCHED} are needed: {HIDDEN}.")


def _unseen(watched: Layers, layer: int, where: str) -> Evidence:
    """A layer whose outputs were not seen where the rule looks."""
    known, name = np.isfinite(watched.values[:, layer]), printable(watched.names[layer])
    return Evidence(
        f"Outputs of layer {name} were seen at {known.sum():,} of {len(known):,} watched steps; {WATCHED} are needed, "
        f"{where}: {HIDDEN}."
    )


def _partly(known: np.ndarray) -> str:
    return "" if known.all() else f" Outputs were seen at {known.sum():,} of {len(known):,} watched steps."


def _ends(values: np.ndarray, third: int) -> tuple[np.ndarray, np.ndarray]:
    return values[:third], values[-third:]


def _extended(evidence: Evidence, text: str) -> Evidence:
    return replace(evidence, sentence=evidence.sentence + text)


def _range(watched: Layers) -> tuple[int, int]:
    return int(watched.steps[0]), int(watched.steps[-1])
