"""Derivatives as functions: gradients, grad, value_and_grad, vjp, hvp.

`gradients` is the low-level call; everything else is a few lines over it. With `create_graph=True` the answer is itself
recorded, so derivatives nest to any order: `grad(grad(f))` works.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinynet.backend import as_array
from tinynet.graph import is_recording, pull_back, source
from tinynet.tensor import Tensor, attach


def gradients(
    output: Tensor, inputs: Tensor | Sequence[Tensor], grad_output: Any = None, create_graph: bool = False
) -> Any:
    """The gradient of `output` with respect to each of `inputs`, leaving every `.grad` alone.

    `grad_output` is the gradient of the final loss with respect to `output` (1 for a scalar). Answers arrays, or with
    `create_graph` Tensors that can be differentiated again: one for one input, a list for a sequence. An input that the
    output does not depend on raises ValueError.

    >>> x = Tensor([3.0], requires_grad=True)
    >>> slope = gradients((x ** 3).sum(), x, create_graph=True)      # 3 x^2
    >>> gradients(slope.sum(), x)                                    # 6 x
    array([18.], dtype=float32)
    """
    many = isinstance(inputs, list | tuple)
    wanted: list[Any] = list(inputs) if many else [inputs]
    if not output.requires_grad:
        raise ValueError("the output does not depend on anything that requires a gradient")
    seed = _seed(output, grad_output, create_graph)
    token = is_recording.set(create_graph)
    try:
        found = pull_back(output, seed, {source(t): None for t in wanted}, attach if create_graph else None)
    finally:
        is_recording.reset(token)
    answers = []
    for position, tensor in enumerate(wanted):
        g = found.get(source(tensor))
        if g is None:
            label = tensor.name or f"input {position}"
            raise ValueError(
                f"no gradient flows to {label} of shape {tensor.shape}: "
                + ("the output was not computed from it" if tensor.requires_grad else "it does not require a gradient")
            )
        answers.append(g if create_graph else as_array(g.copy()))
    return answers if many else answers[0]


def _seed(output: Tensor, grad_output: Any, create_graph: bool) -> Any:
    if isinstance(grad_output, Tensor) and create_graph:
        return grad_output
    seed = output._seed(grad_output)
    return Tensor(seed) if create_graph else seed


def value_and_grad(f: Callable, argnum: int = 0) -> Callable:
    """The function that answers (f(...), gradient of f with respect to argument `argnum`); f must answer a scalar.

    >>> value, slope = value_and_grad(lambda x: x * x)(3.0)
    >>> float(value), float(slope)
    (9.0, 6.0)
    """

    def both(*args: Any) -> tuple[Tensor, Tensor]:
        given = args[argnum]
        nested = isinstance(given, Tensor) and given.requires_grad  # someone outside differentiates us: stay recorded
        x = given * 1 if nested else Tensor(given.data if isinstance(given, Tensor) else given, requires_grad=True)
        value = f(*args[:argnum], x, *args[argnum + 1 :])
        if not isinstance(value, Tensor):
            raise TypeError(f"the function must answer a Tensor computed from its argument, got {type(value).__name__}")
        g = gradients(value, x, create_graph=True)
        return (value, g) if nested or g.requires_grad else (value.detach(), g)

    return both


def grad(f: Callable, argnum: int = 0) -> Callable:
    """The gradient of a scalar function, as a function of the same arguments.

    >>> cube = lambda x: x ** 3
    >>> float(grad(grad(cube))(2.0))
    12.0
    """
    both = value_and_grad(f, argnum)
    return lambda *args: both(*args)[1]


def vjp(f: Callable, *args: Any) -> tuple[Tensor, Callable]:
    """f(*args), and the function from the gradient of the output to the gradients of the arguments.

    >>> y, pull = vjp(lambda a, b: a * b, [1.0, 2.0], [3.0, 4.0])
    >>> pull([1.0, 10.0])
    [array([ 3., 40.], dtype=float32), array([ 1., 20.], dtype=float32)]
    """
    inputs = [Tensor(a, requires_grad=True) for a in args]
    output = f(*inputs)
    return output, lambda grad_output: gradients(output, inputs, grad_output)


def hvp(f: Callable, x: Any, v: Any) -> Any:
    """The Hessian of a scalar function at x, times v, without building the Hessian (Pearlmutter 1994).

    >>> hvp(lambda x: (x ** 3).sum(), [1.0, 2.0], [1.0, 1.0])
    array([ 6., 12.], dtype=float32)
    """
    x = Tensor(x, requires_grad=True)
    slope = gradients(f(x), x, create_graph=True)
    return gradients(slope, x, v)
