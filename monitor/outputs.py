"""What a network answers, read as classes, as probabilities or as numbers.

A network that classifies ends in logits: one per class (softmax makes them probabilities), or a single one (sigmoid). What
it is that stands in an array cannot be seen in the array alone, so say so where you know: `outputs_are`,

    "logits"         [n, classes], or one column: the logit of class 1 of two
    "probabilities"  the same as probabilities
    "targets"        predicted numbers
    "auto"           rows of numbers in [0, 1] that sum to 1, or one column in [0, 1], are probabilities; else logits
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from monitor.arrays import on_host

KINDS = ("auto", "logits", "probabilities", "targets")


def answers(model_or_outputs: Any, x: Any) -> np.ndarray:
    """The outputs [n, ...] of a model for x, or the outputs themselves if they are given instead.

    A model with layers (`named_modules()`, `eval()`) answers in evaluation mode, without dropout, and every layer then
    gets back the mode it had.
    """
    if not callable(model_or_outputs):
        return on_host(model_or_outputs)
    with _evaluating(model_or_outputs):
        return on_host(model_or_outputs(x))


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    modules = [module for _, module in model.named_modules()] if hasattr(model, "named_modules") else []
    before = [(module, module.training) for module in modules]
    if before:
        model.eval()
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode


def softmax(logits: np.ndarray) -> np.ndarray:
    """exp(logits) / their sum, along the last axis, in float64.

    >>> softmax(np.array([[0.0, np.log(3)], [1000.0, 0.0]]))
    array([[0.25, 0.75],
           [1.  , 0.  ]])
    """
    logits = np.asarray(logits, float)
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-logits)), in float64.

    >>> sigmoid(np.array([0.0, -1000.0]))
    array([0.5, 0. ])
    """
    small = np.exp(-np.abs(np.asarray(logits, float)))
    return np.where(logits >= 0, 1, small) / (1 + small)


def probabilities(outputs: Any, outputs_are: str = "auto") -> np.ndarray:
    """[n, classes] of outputs [n, classes], or of one column ([n] or [n, 1]) for the second of two classes."""
    outputs = on_host(outputs)
    if outputs_are not in KINDS[:3]:
        raise ValueError(f"outputs_are must be 'auto', 'logits' or 'probabilities', got {outputs_are!r}")
    if outputs.ndim not in (1, 2) or 0 in outputs.shape:
        raise ValueError(f"outputs must have the shape [n] or [n, classes], got {outputs.shape}")
    if not np.isfinite(outputs).all():
        raise ValueError("outputs has nan or infinite values, which are no prediction: has the training diverged?")
    if outputs_are == "auto":
        outputs_are = "probabilities" if look_like_probabilities(outputs) else "logits"
    one_column = outputs.ndim == 1 or outputs.shape[1] == 1
    if not one_column:
        return softmax(outputs) if outputs_are == "logits" else outputs
    second = outputs.reshape(-1)
    second = sigmoid(second) if outputs_are == "logits" else second
    return np.stack([1 - second, second], axis=1)


def look_like_probabilities(outputs: np.ndarray) -> bool:
    """Rows of numbers in [0, 1] that sum to 1, or one column of numbers in [0, 1]."""
    if not outputs.size or not (outputs.min() >= 0 and outputs.max() <= 1):
        return False
    return outputs.ndim == 1 or outputs.shape[1] == 1 or bool(np.allclose(outputs.sum(axis=1), 1, atol=1e-3))
