"""Looking for nan and infinity without waiting for a GPU.

Whether a gradient is finite is known on the device at once, but to ask for the answer the host would have to wait until
all work before it is done, in every step. So the answers stay there, two kernels a step, and are read together: after
every 100 steps, before a state is saved, and whenever `Optimizer.check_finite` is called (`fit` does so at the end of
every epoch, when it reads the loss anyway). A step with such a gradient has then been taken.
"""

from __future__ import annotations

from typing import Any

import numpy as np

READ_EVERY = 100  # steps


def on_device(array: Any) -> bool:
    """Whether asking for a value of this array makes the host wait (CuPy's arrays)."""
    return hasattr(array, "get")


def on_host(array: Any) -> np.ndarray:
    """A copy as NumPy's array."""
    return array.get() if on_device(array) else array.copy()


class Looks:
    """The answers that nobody has read yet."""

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
