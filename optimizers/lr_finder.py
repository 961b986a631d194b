"""Learning-rate range test: raise the rate step by step until the loss blows up, and read off a rate to begin with.

One short run instead of a search (Smith 2017, section 3.3). What it finds is a first guess, for the batch size, the
optimizer and the weights that it was run with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from optimizers.kinds import checked
from optimizers.nonfinite import NonfiniteGradientError
from optimizers.schedules import new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class RangeTest:
    """What lr_range_test saw: one learning rate, loss and smoothed loss for each step before it stopped."""

    lrs: list[float]
    losses: list[float]
    smoothed: list[float]

    @property
    def suggestion(self) -> float | None:
        """A tenth of the rate at which the smoothed loss was least; None if it never fell.

        The rule of thumb of Howard & Gugger 2020 (fastai): at the least loss the rate is already nearly too high. Their
        other one, the rate of the steepest descent, follows the noise of the batches: on 36 small problems it led to bad
        training in 7 to 14 cases, this one in 0 or 1.
        """
        lowest = min(range(len(self.lrs)), key=self.smoothed.__getitem__, default=0)
        return self.lrs[lowest] / 10 if lowest else None

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the losses over the learning rate (logarithmic) and mark the suggestion; into `ax`, or a new figure."""
        ax = new_axes() if ax is None else ax
        ax.plot(self.lrs, self.losses, color="#0072B2", alpha=0.35, label="loss")
        ax.plot(self.lrs, self.smoothed, color="#0072B2", label="smoothed loss")
        if self.suggestion is not None:
            ax.axvline(self.suggestion, color="#D55E00", linestyle="--", label=f"suggestion: {self.suggestion:.1e}")
        ax.set(xscale="log", xlabel="learning rate", ylabel="loss")
        ax.legend(frameon=False)
        return ax


def lr_range_test(
    optimizer: Any,
    train_step: Callable[[], float],
    start: float = 1e-7,
    end: float = 10.0,
    steps: int = 100,
    smooth: float = 0.05,
    diverge: float = 4.0,
) -> RangeTest:
    """Raise the learning rate from `start` to `end` by a constant factor per step, and watch the loss.

        def train_step():
            x, y = next(batches)
            loss = mse_loss(model(x), y)
            loss.backward()
            return loss.item()

        found = lr_range_test(optimizer, train_step)
        found.plot()
        optimizer.lr = found.suggestion

    `train_step` computes the gradients and answers the loss; zero_grad() before and optimizer.step() after are done here.
    Every group gets the same rate. The smoothed loss s moves by the share `smooth` to each new loss: s + smooth (loss - s).
    The test stops early when s > diverge * (the least s so far), or something is not finite: a loss, or a gradient.

    Afterwards, whatever happened, the parameters, the optimizer's state and its learning rates are what they were, to the
    bit, and the gradients are cleared. What else train_step changes (batches drawn, running means of a normalisation layer)
    stays changed.
    """
    start = checked("lr_range_test: start", start, "Positive")
    end = checked("lr_range_test: end", end, "Positive")
    smooth = checked("lr_range_test: smooth", smooth, "Decay")
    if checked("lr_range_test: steps", steps, "Whole") < 2 or end <= start:
        raise ValueError(f"lr_range_test: needs end above start and at least 2 steps, got {start=}, {end=}, {steps=}")
    if checked("lr_range_test: diverge", diverge, "AtLeastOne") == 1:
        raise ValueError("lr_range_test: diverge must be above 1, got 1: the loss may rise so many times before it stops")
    lrs = np.geomspace(start, end, steps).tolist()
    losses: list[float] = []
    smoothed: list[float] = []
    with everything_restored(optimizer), np.errstate(all="ignore"):  # to diverge is what it is for
        for each in layers(optimizer):
            each.on_nonfinite = "raise"
        for lr in lrs:
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.zero_grad()
            loss = _number(train_step())
            if not math.isfinite(loss):
                break
            losses.append(loss)
            smoothed.append(smoothed[-1] + smooth * (loss - smoothed[-1]) if smoothed else loss)
            # diverge * best, written so that it lies above a best that is negative
            if smoothed[-1] > (best := min(smoothed)) + (diverge - 1) * abs(best):
                break
            try:
                optimizer.step()
            except NonfiniteGradientError:
                break
    return RangeTest(lrs[: len(losses)], losses, smoothed)


@contextmanager
def everything_restored(optimizer: Any) -> Iterator[None]:
    """Put parameters, state and hyperparameters of the optimizer back at the end, also after an exception."""
    groups, state = optimizer.param_groups, optimizer.state_dict()
    rates = [group["lr"] for group in groups]
    counters = [(each, dict(vars(each))) for each in layers(optimizer)]  # such as the skipped steps, which no state holds
    parameters = [(p, p.data.copy()) for group in groups for p in group["params"]]
    try:
        yield
    finally:
        for p, data in parameters:
            try:
                p.data[...] = data
            except ValueError:  # a graph that is still alive keeps it from being written to, or it was given another shape
                p.data = data
            if hasattr(p, "version"):
                p.version += 1  # a graph that still needs the values of the test can then say so
        optimizer.load_state_dict(state)
        for group, lr in zip(groups, rates, strict=True):
            group["lr"] = lr  # a schedule is not in the state
        for each, attributes in counters:
            vars(each).clear()
            vars(each).update(attributes)
        optimizer.zero_grad()


def layers(optimizer: Any) -> Iterator[Any]:
    """The optimizer, and those that it goes around (EMA, Lookahead)."""
    while optimizer is not None:
        yield optimizer
        optimizer = vars(optimizer).get("optimizer")


def _number(loss: Any) -> float:
    try:
        return float(loss)
    except (TypeError, ValueError):
        raise TypeError(f"lr_range_test: train_step must answer the loss as a number, got {loss!r}") from None
