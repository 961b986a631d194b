"""The rules on layers: gradients that fade or grow on their way back, units that are silent or pinned to their bounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from monitor.doctor.findings import Evidence, Finding, clear, detected, not_checked, printable, underpowered
from monitor.doctor.intervals import slope_interval
from monitor.doctor.signals import TO_WATCH, Layers, Signals

DECADES = 2.0  # vanishing, exploding: a factor of 100 between the first layer and the last
DEEP = 4  # layers with weights, below which no interval of a slope over them exists
MOST = 0.5  # dead, saturated: more than this share of a layer
WATCHED = 3  # steps that must have been watched
NOTHING = f"the layers were not watched: {TO_WATCH}"


# Gradients over depth -------------------------------------------------------------------------------------------------


def vanishing_gradients(signals: Signals) -> Finding:
    """Gradients become smaller from each layer to the one before it, by a factor of 100 or more over the net.

    The slope of log10 of the gradient's norm over the layers, by Theil and Sen, with an interval that leaves out 0 (so the
    course is monotone but for chance), at the beginning of training, where the net has yet to learn (Glorot & Bengio 2010).
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
    usable = np.isfinite(early) & (early > 0)
    own = usable.any(axis=0)  # layers that have a gradient at all
    if own.sum() < DEEP:
        return not_checked(id, f"{own.sum()} layers have gradients other than 0; a course over depth takes {DEEP}")
    logs = np.where(usable, np.log10(np.where(usable, early, 1.0)), np.nan)[:, own]
    profile = np.nanmedian(logs, axis=0)
    depth = np.arange(len(profile), dtype=float)
    change = [sign * bound * depth[-1] for bound in slope_interval(depth, profile)]
    fall, low, high = change[0], min(change[1:]), max(change[1:])
    names = [printable(watched.names[i]) for i in np.flatnonzero(own)]
    word = "smaller" if sign * fall >= 0 else "larger"
    times = 10 ** min(abs(float(fall)), 300)
    sentence = (
        f"In the first third of the watched steps, gradients were {times:,.3g} times {word} in the first layer "
        f"({names[0]}) than in the last ({names[-1]}), by the trend over {len(names)} layers."
    )
    rule = (
        f"Theil-Sen slope of log10 gradient norm over depth: >= {DECADES:g} decades over the net, 90 % interval "
        "above 0 (Glorot & Bengio 2010)"
    )
    statistic = f"{'fall' if sign > 0 else 'rise'} of the gradient from the last layer to the first, in decades"
    evidence = Evidence(sentence, statistic, float(fall), (float(low), float(high)), len(names), rule)
    steps = int(watched.steps[0]), int(watched.steps[third - 1])
    if fall < DECADES:
        return clear(id, steps, evidence)
    return detected(id, "error", steps, evidence, causes, advice) if low > 0 else underpowered(id, steps, evidence)


# Units ----------------------------------------------------------------------------------------------------------------


def dead_units(signals: Signals) -> Finding:
    """Most units of a layer give exactly 0 on every row of every watched batch: nothing flows back through such a ReLU.

    Exact counts (Lu et al. 2019, "Dying ReLU and initialization"), not shares of zeros, which are about one half in any
    healthy ReLU layer. The least share over the last third of the watched steps must be above one half. Only layers
    without weights and without bounds are looked at, activations of the ReLU kind: elsewhere a 0 blocks nothing.
    """
    watched = _rectifiers(signals)
    if watched is None:
        return not_checked("dead_units", "no layer is of the ReLU kind" if signals.watched else NOTHING)
    if len(watched.steps) < WATCHED:
        return underpowered("dead_units", _range(watched), _too_few(watched))
    third = -(-len(watched.steps) // 3)
    shares = np.where(np.isfinite(watched.values), watched.values, 0.0)
    least = shares[-third:].min(axis=0)
    layer = int(np.argmax(least > MOST)) if (least > MOST).any() else int(least.argmax())  # the foremost such
    share, name = float(least[layer]), printable(watched.names[layer])
    rule = f"exact: more than {MOST:.0%} of a layer's units are 0 on all rows, at all of the last third of watched steps"
    sentence = f"At most {share:.0%} of the units of a layer ({name}) stayed silent."
    evidence = Evidence(sentence, f"share of units of layer {name} that were 0 on all rows", share, None, third, rule)
    if share <= MOST:
        return clear("dead_units", _range(watched), evidence)
    alive = np.flatnonzero(shares[:, layer] <= MOST)
    first = int(watched.steps[alive[-1] + 1 if len(alive) else 0])
    sentence = (
        f"At each watched step since step {first:,}, {share:.0%} or more of the units of layer {name} gave 0 on all rows."
    )
    cause = (
        "a step that was too large"
        if len(alive)
        else "biases, weights or inputs that put every answer below 0 at the start"
    )
    advice = ("a lower learning rate", "biases that begin at 0", "standardised inputs", "leaky ReLU, which never dies")
    severity, steps = "critical" if share == 1 else "warning", (first, int(watched.steps[-1]))
    return detected("dead_units", severity, steps, replace(evidence, sentence=sentence), (cause,), advice)


def saturated_units(signals: Signals) -> Finding:
    """Most answers of a tanh or sigmoid layer lie within 0.01 of its bounds, where its slope nearly vanishes, all along.

    The median share over the first third of the watched steps and that over the last third must both be above one half
    (Glorot & Bengio 2010). A net that has learned saturates late, and need not mind; so may the last layer, which answers
    with certainty, and is not looked at.
    """
    watched = signals.layers("saturated")
    if watched is None:
        return not_checked(
            "saturated_units", "no layer has bounded answers (tanh, sigmoid)" if signals.watched else NOTHING
        )
    known = np.isfinite(watched.values)
    hidden = [i for i in range(len(watched.names) - 1) if known[:, i].any()]
    if not hidden:
        return not_checked("saturated_units", "only the last layer has bounded answers, and these may be certain")
    if len(watched.steps) < WATCHED:
        return underpowered("saturated_units", _range(watched), _too_few(watched))
    third = -(-len(watched.steps) // 3)
    values = np.where(known, watched.values, 0.0)[:, hidden]
    shares = np.minimum(np.median(values[:third], axis=0), np.median(values[-third:], axis=0))
    worst = int(shares.argmax())
    share, name = float(shares[worst]), printable(watched.names[hidden[worst]])
    sentence = f"{share:.0%} of the answers of layer {name}, the worst, lay within 0.01 of its bounds, early and late."
    rule = f"median share in the first and in the last third of watched steps > {MOST:.0%} (Glorot & Bengio 2010)"
    evidence = Evidence(sentence, "share of saturated answers, of the worst layer", share, None, len(watched.steps), rule)
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


def _too_few(watched: Layers) -> Evidence:
    return Evidence(f"The layers were watched at {len(watched.steps)} steps; {WATCHED} are needed.")


def _range(watched: Layers) -> tuple[int, int]:
    return int(watched.steps[0]), int(watched.steps[-1])
