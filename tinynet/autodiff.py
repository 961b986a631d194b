"""Derivatives as functions: grad, value_and_grad, vjp, jvp, hvp, jacobian, hessian, over the low-level `gradients`.

Reverse mode walks the graph back. Forward mode needs no second table: the gradient that a vjp answers is linear in the
upstream gradient u, so differentiating it with respect to u, in the direction of a tangent, is the jvp. All of them nest,
to any order and in any mix: `jacobian(grad(f))`, `jvp(grad(f), ...)`, `grad(lambda x: jvp(...)[1])`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinynet.backend import as_array, get_default_dtype, same_device
from tinynet.graph import ancestors, is_recording, pull_back, source
from tinynet.messages import ShapeError
from tinynet.tensor import Tensor, attach


def gradients(
    output: Tensor,
    inputs: Tensor | Sequence[Tensor],
    grad_output: Any = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> Any:
    """The gradient of `output` with respect to each of `inputs`, leaving every `.grad` alone.

    `grad_output` is the gradient of the final loss with respect to `output` (1 for a scalar). Answers arrays, or with
    `create_graph` Tensors that can be differentiated again: one for one input, a list for a sequence. An input that the
    output does not depend on raises ValueError (or gives None, with `allow_unused`).

    >>> x = Tensor([3.0], requires_grad=True)
    >>> slope = gradients((x ** 3).sum(), x, create_graph=True)      # 3 x^2
    >>> gradients(slope.sum(), x)                                    # 6 x
    array([18.], dtype=float32)
    """
    many = isinstance(inputs, list | tuple)
    wanted: list[Any] = list(inputs) if many else [inputs]
    found: dict[Any, Any] = {}
    if output.requires_grad:
        seed = _seed(output, grad_output, create_graph)
        if not create_graph:
            seed = seed[...]  # a view: what passes it on is then seen not to be fresh
        mode = is_recording.get()
        token = is_recording.set((mode or True) if create_graph else False)
        try:
            found = pull_back(output, seed, {source(t): None for t in wanted}, attach if create_graph else None)
        finally:
            is_recording.reset(token)
    elif not allow_unused:
        raise ValueError("no gradient flows: the output does not depend on anything that requires a gradient")
    answers = []
    for position, tensor in enumerate(wanted):
        g = found.get(source(tensor))
        if g is None and not allow_unused:
            label = tensor.name or f"input {position}"
            raise ValueError(
                f"no gradient flows to {label} of shape {tensor.shape}: "
                + ("the output was not computed from it" if tensor.requires_grad else "it does not require a gradient")
            )
        answers.append(g)
    if not create_graph:
        answers = _apart(answers)
    return answers if many else answers[0]


def _apart(answers: list[Any]) -> list[Any]:
    """The arrays, none of which shares memory with another, with the upstream gradient, or with an operand.

    A rule may pass its upstream gradient on, to several operands even, or a view of it; all else it makes anew.
    """
    seen: set[int] = set()
    apart = []
    for g in answers:
        if g is not None and (type(g) is not np.ndarray or g.base is not None or id(g) in seen or not g.flags.writeable):
            g = as_array(g.copy())
        seen.add(id(g))
        apart.append(g)
    return apart


def _seed(output: Tensor, grad_output: Any, create_graph: bool) -> Any:
    if isinstance(grad_output, Tensor) and create_graph and grad_output.shape == output.shape:
        return grad_output
    seed = output._seed(grad_output)
    return Tensor(seed) if create_graph else seed


# Reverse mode ---------------------------------------------------------------------------------------------------------


def value_and_grad(f: Callable, argnum: int = 0) -> Callable:
    """The function that answers (f(...), gradient of f with respect to argument `argnum`); f must answer a scalar.

    >>> value, slope = value_and_grad(lambda x: x * x)(3.0)
    >>> float(value), float(slope)
    (9.0, 6.0)
    """

    def both(*args: Any, **params: Any) -> tuple[Tensor, Tensor]:
        x = _variable(_argument(args, argnum))
        value = one_tensor(f(*_replaced(args, argnum, x), **params))
        g = _gradient_or_zeros(value, x, None)
        return _outside(value, [x]), _outside(g, [x])

    return both


def grad(f: Callable, argnum: int = 0) -> Callable:
    """The gradient of a scalar function, as a function of the same arguments.

    >>> cube = lambda x: x ** 3
    >>> float(grad(grad(cube))(2.0))
    12.0
    """
    both = value_and_grad(f, argnum)
    return lambda *args, **params: both(*args, **params)[1]


def vjp(f: Callable, *args: Any) -> tuple[Tensor, Callable]:
    """f(*args), and the function from a gradient of the output to the gradients of the arguments.

    >>> y, pull = vjp(lambda a, b: a * b, [1.0, 2.0], [3.0, 4.0])
    >>> pull([1.0, 10.0])
    [Tensor([ 3., 40.]), Tensor([ 1., 20.])]
    """
    inputs = [_variable(a) for a in args]
    output = one_tensor(f(*inputs))

    def pull(grad_output: Any) -> list[Tensor]:
        return [_outside(_gradient_or_zeros(output, x, grad_output), inputs) for x in inputs]

    return _outside(output, inputs), pull


# Forward mode ---------------------------------------------------------------------------------------------------------


def jvp(f: Callable, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """f(*primals), and how fast it changes when the arguments move with the given velocities.

    >>> y, velocity = jvp(lambda a, b: a * b, ([2.0], [3.0]), ([1.0], [10.0]))
    >>> float(velocity)                                              # 1 * 3 + 2 * 10
    23.0
    """
    if not all(isinstance(part, tuple | list) for part in (primals, tangents)):
        raise TypeError("jvp: primals and tangents are tuples, one entry per argument: jvp(f, (x,), (v,))")
    if len(primals) != len(tangents):
        raise ValueError(f"jvp needs one tangent per primal, got {len(primals)} primals and {len(tangents)} tangents")
    inputs = [_variable(p) for p in primals]
    directions = [t if isinstance(t, Tensor) else Tensor(t, dtype=x.dtype) for x, t in zip(inputs, tangents, strict=True)]
    for position, (x, t) in enumerate(zip(inputs, directions, strict=True)):
        if x.shape != t.shape:
            raise ShapeError(f"jvp: primal {position} has shape {x.shape}, its tangent {t.shape}")
    output = one_tensor(f(*inputs))
    u = Tensor(np.zeros_like(output.data), requires_grad=True)
    pulled = [_gradient_or_zeros(output, x, u) for x in inputs]
    along: Any = sum((g * t).sum() for g, t in zip(pulled, directions, strict=True))
    velocity = _gradient_or_zeros(along, u, None)
    return _outside(output, inputs), _outside(velocity, [*inputs, u])


def hvp(f: Callable, x: Any, v: Any) -> Tensor:
    """The Hessian of a scalar function at x, times v, without building the Hessian (Pearlmutter 1994).

    >>> hvp(lambda x: (x ** 3).sum(), [1.0, 2.0], [1.0, 1.0])
    Tensor([ 6., 12.])
    """
    x = _variable(x)
    if np.shape(v) != x.shape:
        raise ShapeError(f"hvp: x has shape {x.shape}, the vector v {np.shape(v)}")
    slope = _gradient_or_zeros(one_tensor(f(x)), x, None)
    return _outside(_gradient_or_zeros(slope, x, v), [x])


# Matrices of derivatives ----------------------------------------------------------------------------------------------


def jacobian(f: Callable, argnum: int = 0) -> Callable:
    """All derivatives of all outputs: an array of the output's shape followed by the argument's shape.

    >>> jacobian(lambda x: x * x)([1.0, 2.0])
    Tensor([[2., 0.],
            [0., 4.]])
    """

    def rows(*args: Any, **params: Any) -> Tensor:
        x = _variable(_argument(args, argnum))
        output = one_tensor(f(*_replaced(args, argnum, x), **params))
        basis = same_device(np.eye(output.size, dtype=output.dtype).reshape(output.size, *output.shape), output)
        slopes = [_gradient_or_zeros(output, x, e) for e in basis]
        whole: Any = np.stack(slopes) if slopes else Tensor(np.zeros((0, *x.shape), x.dtype))
        return _outside(whole.reshape(output.shape + x.shape), [x])

    return rows


def hessian(f: Callable, argnum: int = 0) -> Callable:
    """All second derivatives of a scalar function: an array of the argument's shape, twice.

    >>> hessian(lambda x: x[0] * x[1] ** 2)([1.0, 2.0])
    Tensor([[0., 4.],
            [4., 2.]])
    """
    return jacobian(grad(f, argnum), argnum)


# What they share ------------------------------------------------------------------------------------------------------


def _argument(args: tuple, argnum: Any) -> Any:
    if not isinstance(argnum, int):
        raise TypeError(f"argnum is the position of one argument, got {argnum!r}: for several, call once for each, or vjp")
    if not -len(args) <= argnum < len(args):
        raise IndexError(f"argnum={argnum}, but the function was called with {len(args)} positional arguments, from 0 on")
    return args[argnum]


def _replaced(args: tuple, i: int, x: Any) -> list:
    changed = list(args)
    changed[i] = x
    return changed


def _variable(value: Any) -> Tensor:
    """A tensor to differentiate by; still connected to `value` if someone outside differentiates by that.

    Whole numbers become the default dtype: grad(f)(3) means grad(f)(3.0).
    """
    if isinstance(value, Tensor) and value.requires_grad:
        return +value
    array = as_array(value.data if isinstance(value, Tensor) else value)
    return Tensor(array if array.dtype.kind == "f" else array.astype(get_default_dtype()), requires_grad=True)


def one_tensor(value: Any) -> Tensor:
    """What the function answered, which must be a Tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(
            f"the function must answer a Tensor computed from its arguments, got {type(value).__name__}"
            + (": answer one Tensor, for example np.stack(...) of them" if isinstance(value, list | tuple) else "")
        )
    return value


def _gradient_or_zeros(output: Tensor, x: Tensor, grad_output: Any) -> Tensor:
    g = gradients(output, x, grad_output, create_graph=True, allow_unused=True)
    return Tensor(np.zeros_like(x.data)) if g is None else g


def _outside(result: Tensor, ours: list[Tensor]) -> Tensor:
    """The result, detached if it depends on nothing that requires a gradient but our own variables."""
    if result.node is None:
        return result.detach() if result in set(ours) else result
    for node in ancestors(result.node):
        for i, _ in node.need:
            operand = node.operands[i]
            if operand.node is None and not any(operand is x for x in ours):
                return result
    return result.detach()
