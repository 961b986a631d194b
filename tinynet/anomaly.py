"""Finding the call that made the first nan or infinity: `with tn.detect_anomaly(): ...`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from tinynet.backend import Array
from tinynet.graph import WATCHING, AnomalyError, Node, kind_of_nonfinite, no_grad
from tinynet.messages import name_of


def watch(function: Callable, values: list, y: Array, node: Node | None) -> None:
    """While watching for anomalies: raise if this call made a nan or an infinity; note the user's line for backward."""
    line = users_line()
    if node is not None:
        node.made_at = line
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        operands = [v for v in values if hasattr(v, "shape")]
        already = [i for i, v in enumerate(operands) if v.dtype.kind == "f" and not np.isfinite(v).all()]
        origin = f"operand {already[0]} was already not finite" if already else "all operands are finite"
        shapes = ", ".join(f"{v.shape} {v.dtype}" for v in operands)
        raise AnomalyError(f"{name_of(function)} of {shapes} made {kind_of_nonfinite(y)}; {origin}. At {line}")


class detect_anomaly(no_grad):
    """Inside, the first call that makes a nan or an infinity raises AnomalyError, forward or backward.

    The error names the operation, shapes, dtypes and your own line. Slow: for finding a fault, not for training.

    >>> from tinynet.tensor import Tensor
    >>> x = Tensor([0.0], requires_grad=True)
    >>> with detect_anomaly():                                     # doctest: +ELLIPSIS
    ...     np.sqrt(x).sum().backward()
    Traceback (most recent call last):
    tinynet.graph.AnomalyError: backward of sqrt: the gradient of operand 0 (shape (1,), float32) has an infinity ...
    """

    mode = WATCHING

    def __init__(self) -> None:
        super().__init__()
        self._errors: list = []

    def __enter__(self) -> None:
        super().__enter__()
        self._errors.append(np.errstate(all="ignore"))  # the error says it better than a warning before it
        self._errors[-1].__enter__()

    def __exit__(self, *how: Any) -> None:
        super().__exit__(*how)
        self._errors.pop().__exit__(*how)


def users_line() -> str:
    """file:line and the code of the innermost call that is not inside tinynet."""
    import traceback

    frames = [f for f in traceback.extract_stack() if not f.filename.startswith(_HERE)]
    return f"{frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}" if frames else "an unknown line"


_HERE = os.path.dirname(__file__) + os.sep
