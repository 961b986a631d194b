"""A nan or an infinity in a gradient: looked for in every step before anything moves, and what is done about it.

On a GPU, whether a gradient is finite is known on the device at once, but to ask for the answer the host would have to
wait until all work before it is done, in every step. So with on_nonfinite="raise" the answers stay there, two kernels a
step, and are read together: after every 100 steps, before a state is saved, and whenever `Optimizer.check_finite` is called
(`fit` does so at the end of every epoch, when it reads the loss anyway). A step with such a gradient has then been taken.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

READ_EVERY = 100  # steps


class NonfiniteGradientError(FloatingPointError):
    """A gradient has a nan or an infinity; the message names the parameter."""


# Looking --------------------------------------------------------------------------------------------------------------


def all_finite(g: Any) -> bool:
    """Whether a gradient has neither nan nor infinity: both survive a sum of squares, which is quick; only if that
    overflows need we look at every element.
    """
    return math.isfinite(np.vdot(g, g)) or bool(np.isfinite(g).all())


@np.errstate(over="ignore", invalid="ignore")
def finite_rows(g: Any) -> Any:
    """For each row of g [R, n], whether all of it is finite, found as in `all_finite`."""
    finite = np.isfinite(np.vecdot(g, g))
    if not finite.all():
        finite = np.isfinite(g).all(axis=-1)
    return finite


def on_device(array: Any) -> bool:
    """Whether asking for a value of this array makes the host wait (CuPy's arrays)."""
    return hasattr(array, "get")


class Looks:
    """What was asked of gradients on a GPU, and nobody has read yet."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.answers: list[Any] = []  # 0-d arrays on the device: is the gradient of that step finite?

    def look(self, gradient: Any, step: int) -> None:
        """Ask whether a gradient is finite."""
        self.steps.append(step)
        self.answers.append(np.isfinite(gradient).all())

    @property
    def due(self) -> bool:
        """Whether the answers must be read now."""
        return bool(self.steps) and self.steps[-1] - self.steps[0] + 1 >= READ_EVERY

    def first_bad(self) -> int | None:
        """Wait for the answers: the first step with a gradient that was not finite, None if there was none."""
        if not self.steps:
            return None
        together: Any = np.stack(self.answers)
        bad = [step for step, fine in zip(self.steps, together.get().tolist(), strict=True) if not fine]
        self.steps.clear()
        self.answers.clear()
        return bad[0] if bad else None


# Doing something about it ---------------------------------------------------------------------------------------------


def may_move(optimizer: Any, work: Any) -> bool:
    """Whether a step may be taken with these gradients; NonfiniteGradientError if on_nonfinite="raise" and one is bad.

    work: what `Optimizer.begin` answers.
    """
    if optimizer.replicas is not None:
        return _some_may_move(optimizer, work)
    if on_device(work[0][0].grad) and optimizer.on_nonfinite == "raise" and all(on_device(slab.grad) for slab, *_ in work):
        _look_later(optimizer, work)
        return True
    if all(all_finite(slab.grad[a:b]) for slab, runs, _ in work for a, b, _ in runs):
        return True
    if optimizer.on_nonfinite == "raise":
        name, value = next(bad for slab, *_ in work for bad in slab.nonfinite())
        raise NonfiniteGradientError(
            f"the gradient of {name!r} has {value} at step {optimizer.steps + 1}; nothing was changed. Lower the learning "
            "rate, look for inf or nan in the data, or pass on_nonfinite='skip' to leave such steps out"
            f"{how_to_name(name)}"
        )
    return False


def how_to_name(name: str) -> str:
    """The end of an error that names a parameter: if it has no name but its number, how it gets one."""
    return ". For names, not numbers: Adam(model.named_parameters())" if re.fullmatch(r"parameter \d+", name) else ""


def _some_may_move(optimizer: Any, work: Any) -> bool:
    """`may_move` of replicas: freeze those whose gradient is not finite, or raise; False if all are frozen."""
    finite = np.ones(optimizer.replicas, bool)
    for slab, runs, _ in work:
        for a, b, _ in runs:
            finite &= np.array(finite_rows(slab.grad[:, a:b]).tolist())
    new = np.flatnonzero(~finite & ~optimizer.frozen)
    if new.size and optimizer.on_nonfinite == "raise":
        name = next(bad for slab, *_ in work for bad, _ in slab.nonfinite())
        raise NonfiniteGradientError(
            f"the gradient of {name!r} is not finite in replica {new[0]} at step {optimizer.steps + 1}; nothing was "
            "changed. Lower its learning rate, or pass on_nonfinite='freeze' to let such replicas stay where they are"
            f"{how_to_name(name)}"
        )
    optimizer.frozen[new] = True
    rows = np.flatnonzero(optimizer.frozen).tolist()
    for slab in optimizer._slabs:
        slab.freeze(rows)
    return not optimizer.frozen.all()


def _look_later(optimizer: Any, work: Any) -> None:
    """Ask a GPU whether the gradients are finite, and read the answers of earlier steps if that is due."""
    if optimizer._looks.due:
        optimizer.check_finite()
    for slab, runs, _ in work:
        for a, b, _ in runs:
            optimizer._looks.look(slab.grad[a:b], optimizer.steps + 1)


def raise_if_seen(looks: Looks, slabs: Any) -> None:
    """Raise if a gradient on a GPU was not finite since the last look. Waits for the GPU."""
    bad = looks.first_bad()
    if bad is not None:
        now = next((f" (now that of {name!r} has {value})" for slab in slabs for name, value in slab.nonfinite()), "")
        raise NonfiniteGradientError(
            f"a gradient was not finite at step {bad}{now}. On a GPU this is seen late, and the step was taken: go back "
            "to a checkpoint, lower the learning rate, look for inf or nan in the data, or pass on_nonfinite='skip', which "
            "waits for the GPU in every step and leaves such steps out"
        )
