"""What the engine says when a call cannot be made: the operation, its operands, and what to do.

The calls themselves are made without looking; only when one fails is the explanation put together here.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from tinynet.backend import device_of
from tinynet.compositions import COMPOSED
from tinynet.rules import PLAIN, RULES, Rule


class ShapeError(ValueError):
    """Shapes that do not fit together; the message names the operation and the shapes."""


def name_of(function: Callable) -> str:
    """np.exp for NumPy's functions, the bare name for ours."""
    module = getattr(function, "__module__", "") or "numpy"
    return (module.replace("numpy", "np") + "." if module.startswith("numpy") else "") + function.__name__


def not_in_the_table(function: Callable, rule: Rule, args: tuple, params: dict) -> TypeError:
    """The error for a call that the table does not know with these arguments."""
    if by_keyword := [key for key, value in params.items() if hasattr(value, "__record__")]:
        return TypeError(f"{name_of(function)}: give the Tensors by position, not by keyword ({', '.join(by_keyword)})")
    unknown = sorted(params.keys() - rule.params) or f"{len(args)} positional arguments"
    wanted = f"the keywords {sorted(rule.params)}" if rule.params else "no keywords"
    return TypeError(f"{name_of(function)} on a Tensor does not take {unknown}; it takes {wanted}")


def not_these_arguments(error: TypeError, function: Callable, composed: Callable, args: tuple, params: dict) -> TypeError:
    """The error for a composed function that was called with arguments that it does not take; any other as it is."""
    import inspect

    try:
        inspect.signature(composed).bind(*args, **params)
    except TypeError as wrong:
        taken = ", ".join(inspect.signature(composed).parameters)
        return TypeError(f"{name_of(function)} on a Tensor does not take these arguments ({wrong}); it takes {taken}")
    return error


def no_rule(function: Callable) -> TypeError:
    """The error for a NumPy function that is not in the table."""
    import difflib

    names = sorted(name for f in (*RULES, *COMPOSED, *PLAIN) if (name := name_of(f)).startswith("np."))
    near = difflib.get_close_matches(name_of(function), names, 3, cutoff=0.7)
    hint = f" Close to it: {', '.join(near)}." if near else ""
    return TypeError(
        f"{name_of(function)} has no derivative rule for Tensors.{hint} To compute without a gradient, on purpose, pass "
        "t.data. All that have one are in docs/rules.md"
    )


_IN_PLACE = "with no_grad(): t -= ... (or +=, *=, /=), or t.data[...] = ..., to change it in place"

# What PyTorch (or NumPy) has, and what is written here for it.
OF_A_TENSOR = {
    **{
        name: f"np.{name}(t)"
        for name, function in vars(np).items()
        if callable(function) and any(function in table for table in (RULES, COMPOSED, PLAIN))
    },
    **dict.fromkeys(("add_", "clamp_", "copy_", "div_", "fill_", "mul_", "sub_", "zero_"), _IN_PLACE),
    **dict.fromkeys(("view", "view_as", "reshape_as"), "t.reshape(...)"),
    **dict.fromkeys(("clone", "copy"), "+t for a copy in the graph, Tensor(t.data.copy()) for one of its own"),
    **dict.fromkeys(("long", "int", "bool"), "t.data.astype(int), an array"),
    **dict.fromkeys(("mm", "bmm"), "a @ b"),
    **{name: f"tinynet.{name}(t)" for name in ("relu", "sigmoid", "softmax", "log_softmax", "logsumexp")},
    "clamp": "t.clip(min, max)",
    "cpu": 't.to("cpu")',
    "cuda": 't.to("cuda")',
    "dim": "t.ndim",
    "div": "a / b",
    "double": "t.astype(np.float64)",
    "expand": "np.broadcast_to(t, shape)",
    "float": "t.astype(np.float32)",
    "grad_fn": "t.node",
    "is_leaf": "t.node is None",
    "mul": "a * b",
    "norm": "np.linalg.norm(t)",
    "numel": "t.size",
    "permute": "t.transpose(...)",
    "pow": "t ** n",
    "repeat": "np.repeat(t, n, axis) to repeat elements, np.tile(t, n) to repeat all of it",
    "requires_grad_": "t.requires_grad = True, or False",
    "rsqrt": "1 / np.sqrt(t)",
    "sub": "a - b",
    "t": "t.T",
    "unsqueeze": "np.expand_dims(t, axis)",
}
OF_TINYNET = {
    "BCEWithLogitsLoss": "tinynet.binary_cross_entropy_with_logits(outputs, targets)",
    "CrossEntropyLoss": "tinynet.cross_entropy(outputs, labels)",
    "MSELoss": "tinynet.mse_loss(outputs, targets)",
    "binary_cross_entropy": "tinynet.binary_cross_entropy_with_logits(outputs, targets), of outputs before the sigmoid",
    "cat": "np.concatenate([...], axis)",
    "from_numpy": "tinynet.Tensor(array)",
    "load": "model.load_state_dict(np.load('model.npz'))",
    "manual_seed": "seed=... where random numbers are drawn: MLP(sizes, seed=0), fit(..., seed=0)",
    "nn": "tinynet.Linear, tinynet.Module ... (layers), tinynet.functional (functions)",
    "optim": "tinynet.optimizers",
    "save": "np.savez('model.npz', **model.state_dict())",
}


class Elsewhere:
    """In the place of a name that a Tensor has not: whoever asks for it gets the usual error, and what to write."""

    def __init__(self, name: str):
        self.name = name

    def __get__(self, tensor: Any, kind: type) -> Any:
        raise _no_attribute(f"{kind.__name__!r} object", self.name, OF_A_TENSOR[self.name])


def no_attribute_of_tinynet(name: str, *homes: ModuleType) -> AttributeError:
    """The error for a name that tinynet has not: it may be PyTorch's, or be in one of the homes or in NumPy."""
    instead = OF_TINYNET.get(name)
    if instead is None and not name.startswith("_"):
        home = next((home for home in homes if callable(vars(home).get(name))), None)
        if home is not None:
            instead = f"{'tinynet.' * (home.__name__ == 'optimizers')}{home.__name__}.{name}"
        elif callable(vars(np).get(name)):
            instead = f"np.{name}(...)"
    return _no_attribute("module 'tinynet'", name, instead)


def _no_attribute(thing: str, name: str, instead: str | None) -> AttributeError:
    return AttributeError(f"{thing} has no attribute {name!r}" + (f": write {instead}" if instead else ""))


def explained(error: Exception, function: Callable, values: list) -> Exception:
    """The same kind of error, naming the operation and its operands."""
    operands = [v for v in values if hasattr(v, "shape")]
    if len({device_of(v) for v in operands}) > 1:
        where = ", ".join(f"{v.shape} on {device_of(v)}" for v in operands)
        return TypeError(f"{name_of(function)}: operands on different devices ({where}); move one with .to(...)")
    shapes = " and ".join(str(v.shape) for v in operands)
    if isinstance(error, IndexError):  # an index, or an axis that is not there
        return IndexError(f"{name_of(function)} of shape {shapes}: {error}")
    if isinstance(error, np.linalg.LinAlgError):
        return np.linalg.LinAlgError(f"{name_of(function)} of shape {shapes}: {error}")
    if isinstance(error, ValueError):
        if any(word in str(error) for word in ("shape", "broadcast", "dimension", "axis", "axes")):
            return ShapeError(f"{name_of(function)}: operands of shape {shapes} do not fit: {error}")
        return ValueError(f"{name_of(function)} of shape {shapes}: {error}")
    return TypeError(f"{name_of(function)} of {', '.join(str(v.dtype) for v in operands)}: {error}")


def in_place_while_recording(tensor: Any) -> TypeError:
    """The error for w -= ... outside no_grad()."""
    return TypeError(
        f"{tensor.name or 'a leaf'} of shape {tensor.shape} requires a gradient, and is not changed in place while calls "
        "are recorded: move a parameter inside no_grad (with no_grad(): w -= ...). (w = w - ... is no way round: it makes "
        "a new Tensor, which gets no gradient)"
    )


def explained_in_place(error: Exception, function: Callable, tensor: Any, value: Any) -> Exception:
    """As `explained`, for a write into a tensor's array, which may be read-only."""
    if isinstance(tensor.data, np.ndarray) and not tensor.data.flags.writeable:
        return ValueError(
            f"{tensor.name or 'a leaf'} of shape {tensor.shape} is needed as it is by a graph that is still there: call "
            "backward() on its loss first, or compute what needs no gradient inside no_grad()"
        )
    return explained(error, function, [tensor.data, value])


def check_differentiable(function: Callable, rule: Rule, mask: int) -> None:
    """Raise if an operand requires a gradient that has no rule (such as the mask of np.where, or a bound of np.clip)."""
    for i in range(mask.bit_length() if rule.each is None else 0):
        if mask >> i & 1 and (i >= len(rule.operands) or rule.operands[i] is None):
            raise TypeError(
                f"{name_of(function)} has no derivative with respect to operand {i}: pass it as an array (t.data)"
            )
