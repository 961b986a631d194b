"""Activations and losses as functions of arrays or Tensors, with their arguments checked.

The kernels do the mathematics; here stand the conveniences around them: reductions, class weights, label smoothing, and
errors that say what was expected. Losses take (predictions, targets). Where many nets answer at once, the predictions have
an axis of replicas before [batch, outputs], and a target without it is shared by all of them; else the shapes are equal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinynet import kernels
from tinynet.backend import as_array, beside, device_of, get_default_dtype, same_device
from tinynet.kernels import (
    elu,
    gelu,
    leaky_relu,
    log_sigmoid,
    log_softmax,
    logsumexp,
    relu,
    sigmoid,
    silu,
    softmax,
    softplus,
)
from tinynet.messages import ShapeError
from tinynet.tensor import Tensor, plain

__all__ = [
    "binary_cross_entropy_with_logits", "cross_entropy", "dropout", "elu", "gelu", "huber_loss", "l1_loss",
    "leaky_relu", "linear", "log_sigmoid", "log_softmax", "logsumexp", "mse_loss", "one_hot", "relu", "sigmoid",
    "silu", "softmax", "softplus", "tanh",
]  # fmt: skip

tanh = np.tanh


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """x @ weight + bias, for x [..., batch, in] or a single example [in]; weight [in, out], bias [out]."""
    if bias is None or x.ndim == 1:
        y = x @ weight
        return y if bias is None else y + bias
    return kernels.linear(x, weight, bias)


def dropout(x: Any, p: float, generator: np.random.Generator) -> Any:
    """Each element is 0 with probability p, else divided by 1 - p (Srivastava et al. 2014, "inverted" form).

    The mask is drawn on the host, so a seed means the same on every device.
    """
    check_dropped("dropout", p)
    x = floats("dropout", "x", x)
    array = plain(x)
    draw = array.draw if hasattr(array, "draw") else np.random.Generator.random  # a traced array draws again at each replay
    keep = draw(generator, x.shape, dtype=np.float32) >= p
    mask = same_device(keep, array) * x.dtype.type(1 / (1 - p))
    return x * mask


def one_hot(labels: Any, classes: int) -> Any:
    """Integer labels [..., n] as rows of zeros with a single one: [..., n, classes], in the default dtype."""
    labels = check_labels("one_hot", labels, classes)
    return kernels.is_class(labels, classes).astype(get_default_dtype())


# Losses ---------------------------------------------------------------------------------------------------------------


def mse_loss(prediction: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Mean squared error, mean((prediction - target)**2); shapes must be equal (but see above for replicas).

    >>> mse_loss(Tensor([1.0, 3.0]), [1.0, 1.0]).item()
    2.0
    """
    prediction = floats("mse_loss", "prediction", prediction)
    target = same_shape("mse_loss", prediction, target)
    if reduction == "mean" and prediction.size:
        return kernels.mean_squared_error(prediction, target)
    return reduced(kernels.squared_error(prediction, target), reduction)


def l1_loss(prediction: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Mean absolute error, mean(|prediction - target|); slope 0 where they are equal."""
    prediction = floats("l1_loss", "prediction", prediction)
    return reduced(abs(prediction - same_shape("l1_loss", prediction, target)), reduction)


def huber_loss(prediction: Any, target: Any, delta: float = 1.0, reduction: str = "mean") -> Tensor:
    """Half the squared error up to delta, delta * (|error| - delta/2) beyond (Huber 1964): outliers pull less."""
    if not delta > 0:
        raise ValueError(f"huber_loss: delta must be positive, got {delta}")
    prediction = floats("huber_loss", "prediction", prediction)
    error = abs(prediction - same_shape("huber_loss", prediction, target))
    small = np.minimum(error, delta)
    return reduced(small * (error - 0.5 * small), reduction)


def cross_entropy(
    logits: Any, labels: Any, weight: Any = None, label_smoothing: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """-log softmax(logits)[label]: the loss of a classifier that answers logits (not probabilities).

    `logits` [..., n, classes]; `labels` integers [..., n], or rows of probabilities in the shape of the logits.
    `label_smoothing` mixes the labels with the uniform distribution (Szegedy et al. 2016). `weight` [classes] multiplies
    each class's term, and the mean over integer labels is then divided by the sum of their weights; all as in PyTorch.

    >>> cross_entropy(Tensor([[0.0, 0.0]]), [1]).item()              # log 2
    0.6931471824645996
    """
    logits = floats("cross_entropy", "logits", logits)
    classes = logits.shape[-1]
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"cross_entropy: label_smoothing must be in [0, 1), got {label_smoothing}")
    learnt = isinstance(labels, Tensor) and labels.requires_grad
    labels = labels if learnt else beside(plain(labels), logits)
    rows = labels.dtype.kind == "f"
    if not (fits(labels.shape, logits.shape, 2) if rows else fits(labels.shape, logits.shape[:-1], 1)):
        raise label_error(logits, labels)
    if rows:
        looked_at(refuse_no_distribution, labels)
    else:
        labels = check_labels("cross_entropy", labels, classes)
        refuse_other_device("cross_entropy", "labels", labels, "logits", logits)
    if weight is not None:
        weight = class_weights(weight, classes, logits)
    if rows or label_smoothing:
        targets = (labels if rows else kernels.is_class(labels, classes)).astype(logits.dtype)
        targets = targets * (1 - label_smoothing) + label_smoothing / classes
        losses = -(log_softmax(logits) * (targets if weight is None else targets * weight)).sum(axis=-1)
    else:
        losses = kernels.softmax_cross_entropy(logits, labels)
        losses = losses if weight is None else losses * of_labels(weight, labels)
    if weight is None or rows or reduction != "mean" or not losses.size:
        return reduced(losses, reduction)
    return losses.sum() / np.broadcast_to(of_labels(weight, labels), losses.shape).sum()


def binary_cross_entropy_with_logits(logits: Any, targets: Any, reduction: str = "mean") -> Tensor:
    """-t log(sigmoid(z)) - (1 - t) log(1 - sigmoid(z)): the loss of yes-or-no outputs; targets in [0, 1].

    >>> binary_cross_entropy_with_logits(Tensor([0.0, 1000.0]), [1.0, 1.0]).item()   # (log 2 + 0) / 2
    0.3465735912322998
    """
    logits = floats("binary_cross_entropy_with_logits", "logits", logits)
    targets = same_shape("binary_cross_entropy_with_logits", logits, targets)
    looked_at(refuse_outside_unit, targets)
    return reduced(kernels.sigmoid_cross_entropy(logits, targets), reduction)


def reduced(losses: Any, reduction: str) -> Any:
    """The mean, the sum, or all of the losses."""
    if reduction == "mean":
        if not losses.size:
            raise ValueError("there is no mean loss of an empty batch: give at least one example, or reduction='sum'")
        return losses.mean()
    if reduction == "sum":
        return losses.sum()
    if reduction == "none":
        return losses
    raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")


# Checks ---------------------------------------------------------------------------------------------------------------


def floats(function: str, name: str, value: Any) -> Any:
    """A Tensor or an array, of floats: the target would be cut off to whole numbers, and nothing learnt."""
    try:
        dtype = value.dtype
    except AttributeError:  # a list
        return floats(function, name, Tensor(value))
    if dtype.kind in "iub":
        raise TypeError(f"{function}: {name} must be floating-point numbers, got {dtype}: cast them by .astype(float)")
    return value


def check_dropped(who: str, p: Any) -> None:
    """Raise unless p is a share of elements that can be dropped."""
    if not isinstance(p, float | int | np.number):
        raise TypeError(f"{who}: p must be a number in [0, 1), got {p!r}")
    if not 0 <= p < 1:
        raise ValueError(f"{who}: p must be in [0, 1), got {p}")


def fits(target: tuple[int, ...], prediction: tuple[int, ...], least: int) -> bool:
    """Whether the shapes are equal, or the target has all axes but the first ones, which count replicas.

    least: the axes of one net's target. With fewer it is not shared by replicas, but would be by the examples of a batch.
    """
    return target == prediction or (least <= len(target) and target == prediction[-len(target) :])


def same_shape(loss: str, prediction: Any, target: Any) -> Any:
    """The target as an array of the prediction's dtype; its shape must be the prediction's (without leading replicas)."""
    if isinstance(target, Tensor) and target.requires_grad:
        array = target
    else:
        array = beside(plain(target), prediction)
        refuse_other_device(loss, "target", array, "prediction", prediction)
        if array.dtype != prediction.dtype:
            array = array.astype(prediction.dtype)
    if array.shape != prediction.shape and not fits(array.shape, prediction.shape, 2):
        hint = ""
        if array.size == prediction.size:
            hint = f"; they have as many elements, so reshape the target: target.reshape({prediction.shape})"
        raise ShapeError(f"{loss}: prediction of shape {prediction.shape}, target of shape {array.shape}{hint}")
    return array


def check_labels(loss: str, labels: Any, classes: int) -> Any:
    """Integer labels, each in [0, classes). Negative numbers would count from the end without a word."""
    labels = as_array(plain(labels))
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"{loss}: labels must be integers (class numbers 0 to {classes - 1}), got dtype {labels.dtype}: "
            "use labels.astype(int)"
        )
    looked_at(refuse_other_labels, labels, loss, classes)
    return labels


def refuse_other_device(loss: str, name: str, array: Any, other_name: str, other: Any) -> None:
    """Raise unless both arrays are on one device."""
    here, there = device_of(array), device_of(other)
    if here != there:
        raise TypeError(f"{loss}: {name} on {here}, {other_name} on {there}: move one of them with .to(...)")


def looked_at(check: Callable, array: Any, *of: Any) -> None:
    """Call check(array, *of), which raises if values are not what they must be.

    On a GPU the host would have to wait: `fit` lets the loss look at all values before. While a step is captured, the check
    becomes part of it.
    """
    if device_of(array) != "cpu":
        return
    if hasattr(array, "looked_at"):
        array.looked_at(check, *of)
    elif isinstance(array, np.ndarray):
        check(array, *of)


def refuse_other_labels(labels: np.ndarray, loss: str, classes: int) -> None:
    """Raise unless each label is in [0, classes)."""
    unsigned = labels.view(f"u{labels.itemsize}")  # in which negative numbers are the largest: one look for both ends
    if labels.size and np.maximum.reduce(unsigned, None) >= classes:
        low, high = labels.min(), labels.max()
        raise ValueError(
            f"{loss}: labels must be in 0 to {classes - 1} for {classes} classes, found {low if low < 0 else high}"
        )


def refuse_outside_unit(targets: np.ndarray) -> None:
    """Raise unless each target is in [0, 1]."""
    if targets.size and not (targets.min() >= 0 and targets.max() <= 1):
        raise ValueError(
            f"binary_cross_entropy_with_logits: targets must lie in [0, 1], got {targets.min()} to {targets.max()}"
        )


def refuse_no_distribution(rows: np.ndarray) -> None:
    """Raise unless each row is a distribution over the classes, up to the rounding of float16."""
    if not rows.size:
        return
    least, sums = rows.min(), rows.sum(axis=-1, dtype=np.float64)
    worst = sums.flat[np.abs(sums - 1).argmax()]
    if least >= 0 and abs(worst - 1) <= 1e-3:
        return
    found = f"a row that adds up to {worst:.6g}" if least >= 0 else least
    raise ValueError(f"cross_entropy: each row of probabilities must be 0 or more and add up to 1, found {found}")


def label_error(logits: Any, labels: Any) -> ShapeError:
    """The error for labels that do not fit the logits."""
    return ShapeError(
        f"cross_entropy: logits of shape {logits.shape} need integer labels of shape {logits.shape[:-1]}, "
        f"or probability rows of shape {logits.shape}; got {labels.dtype} labels of shape {labels.shape}"
        + ("; drop the last axis: labels[..., 0]" if labels.shape == (*logits.shape[:-1], 1) else "")
        + ("; class numbers are integers: labels.astype(int)" if labels.shape == logits.shape[:-1] else "")
    )


def of_labels(weight: Any, labels: Any) -> Any:
    """weight[labels], in words that labels of any kind of array answer."""
    return np.sum(np.where(kernels.is_class(labels, len(weight)), weight, 0), axis=-1)


def class_weights(weight: Any, classes: int, logits: Any) -> Any:
    """One weight per class, as an array beside the logits."""
    weight = as_array(plain(weight), logits.dtype)
    if weight.shape != (classes,):
        raise ShapeError(f"cross_entropy: weight needs one number per class, shape ({classes},), got {weight.shape}")
    return same_device(weight, plain(logits)) if isinstance(weight, np.ndarray) else weight
