"""What an optimizer is given: parameters and groups of them, hyperparameters and their ranges. Checked here, before use."""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Iterable, Mapping
from numbers import Real
from typing import Any

import numpy as np

from optimizers.replicas import PerReplica, as_plain

NOT_GIVEN = inspect.Parameter.empty  # the default of a hyperparameter that has none

# Where each hyperparameter must lie; a square bracket is an end that it may be itself.
RANGES = {
    "lr": ("[", 0, math.inf, ")"),
    "momentum": ("[", 0, 1, ")"),
    "dampening": ("[", 0, 1, "]"),
    "weight_decay": ("[", 0, math.inf, ")"),
    "betas": ("[", 0, 1, ")"),
    "alpha": ("[", 0, 1, ")"),
    "rho": ("[", 0, 1, ")"),
    "eps": ("(", 0, math.inf, ")"),  # with eps = 0, a gradient that is always 0 would make its parameter 0/0
    "lr_decay": ("[", 0, math.inf, ")"),
    "initial_accumulator_value": ("[", 0, math.inf, ")"),
    "momentum_decay": ("[", 0, math.inf, ")"),
    "etas": ("(", 0, math.inf, ")"),
    "step_sizes": ("(", 0, math.inf, ")"),
    "ns_steps": ("[", 1, 100, ")"),
}
ANY_NUMBER = ("(", -math.inf, math.inf, ")")
WHOLE = ("ns_steps",)  # no fractions
# What other libraries call some of them.
ELSEWHERE = {
    "learning_rate": "lr",
    "epsilon": "eps",
    "beta_1": "betas",
    "beta_2": "betas",
    "beta1": "betas",
    "beta2": "betas",
}


def resolved(key: str, value: Any, k: int) -> Any:
    """The hyperparameter after k steps (schedules are called), checked: a float, or a PerReplica of one for each."""
    if isinstance(value, tuple | list):
        return tuple(resolved(key, v, k) for v in value)
    if callable(value):
        value = value(k)
    if isinstance(value, bool) and key not in RANGES:
        return value
    if isinstance(value, bool) or not isinstance(value, Real):
        if isinstance(value, PerReplica | np.ndarray):
            return _resolved_array(key, value)
        raise TypeError(f"{key} must be a number or a schedule, got {value!r}")
    x = float(value)
    _, least, most, _ = RANGES.get(key, ANY_NUMBER)
    if not (least < x < most or _in_range(key, x)):  # quick: few numbers are at an end
        raise ValueError(f"{key} must lie in {range_of(key)}, got {value!r}")
    if key in WHOLE and not x.is_integer():
        raise ValueError(f"{key} must be a whole number, got {value!r}")
    return x  # not a NumPy float64, which would turn float32 arithmetic into float64


def _resolved_array(key: str, value: Any) -> PerReplica:
    """An array of hyperparameters, one for each replica, checked."""
    x = value.values if isinstance(value, PerReplica) else value
    if x.ndim != 1 or x.dtype.kind not in "fiu" or not x.size or key in WHOLE:
        more = "" if key in WHOLE else ", or an array of one number for each replica"
        raise TypeError(f"{key} must be a number or a schedule{more}; got an array of shape {x.shape} and dtype {x.dtype}")
    x = x.astype(float)
    wrong = np.flatnonzero(~_in_range(key, x))
    if wrong.size:
        raise ValueError(f"{key} must lie in {range_of(key)}, got {x[wrong[0]]} for replica {wrong[0]}")
    return PerReplica(x)


def _in_range(key: str, x: Any) -> Any:
    """Whether a number, or each of an array, is what this hyperparameter may be."""
    opening, least, most, closing = RANGES.get(key, ANY_NUMBER)
    return (least < x) & (x < most) | (opening == "[") & (x == least) | (closing == "]") & (x == most)


def range_of(key: str) -> str:
    """Where this hyperparameter must lie, in words."""
    opening, least, most, closing = RANGES.get(key, ANY_NUMBER)
    return f"{opening}{least}, {most}{closing}"


def check_eps(eps: Any, name: str, dtype: np.dtype) -> None:
    """Raise if eps, where there is one, is 0 in the dtype of parameter `name`."""
    least = as_plain(eps).min() if isinstance(eps, PerReplica) else eps
    if least is not None and dtype.type(least) == 0:
        raise ValueError(
            f"eps={least} is 0 in {dtype}, the dtype of {name!r}, so a gradient that is always 0 would make 0/0: pass a "
            "larger one, such as eps=1e-4, or keep the parameters in a wider dtype"
        )


def scheduled(value: Any) -> bool:
    """Whether the hyperparameter (or a member of a pair of them) is a function of the step, and not plain data."""
    return any(callable(v) for v in value) if isinstance(value, tuple | list) else callable(value)


def hyper_defaults(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters of an optimizer, those given and the defaults of its rule; TypeError names what does not fit."""
    taken, takes_any = rule_hyper(kind)
    unknown = sorted(given.keys() - taken.keys() - {"weight_decay"})
    if unknown and not takes_any:
        known = sorted({*taken, "weight_decay"})
        raise TypeError(
            f"{kind.__name__} has no hyperparameter {unknown[0]!r}; it has {known}{did_you_mean(unknown[0], known)}"
        )
    defaults = {"lr": NOT_GIVEN, **taken, "weight_decay": kind.weight_decay, **given}  # type: ignore[attr-defined]
    missing = [name for name, value in defaults.items() if value is NOT_GIVEN]
    if missing:
        raise TypeError(f"{kind.__name__} needs {missing[0]!r}: {kind.__name__}(params, {missing[0]}=...)")
    for name, value in {**taken, "lr": 0.0, "weight_decay": 0.0}.items():
        if value is not NOT_GIVEN:
            check_form(name, defaults[name], value)
    return defaults


def did_you_mean(name: str, known: Collection[str]) -> str:
    """The end of an error about an unknown name: which of the known ones may be meant; "" if none is like it."""
    from difflib import get_close_matches  # which takes longer to import than a step, and is needed for errors only

    here = ELSEWHERE.get(name, "")
    like = [here] if here in known else get_close_matches(name, known, n=1)
    return f": did you mean {like[0]!r}?" if like else ""


def check_form(name: str, given: Any, like: Any) -> None:
    """Raise if one of the two is a truth value and the other is none, or one a tuple and the other none of its length."""
    if isinstance(like, bool) and not isinstance(given, bool):
        raise TypeError(f"{name} must be True or False, got {given!r}")
    several = isinstance(given, tuple | list)
    if isinstance(like, tuple | list):
        if not (several and len(given) == len(like)):
            raise TypeError(f"{name} must be a tuple of {len(like)} numbers such as {tuple(like)}, got {given!r}")
    elif several:
        raise TypeError(
            f"{name} must be one number or a schedule, got {given!r}: for one number for each of several nets pass an "
            f"array, np.array({list(given)})"
        )


def check_rule(kind: str, rule: Any, state: tuple[str, ...], varies: bool) -> None:
    """Raise if a rule (bound) does not take p, g and each state in their order, and by name t and the hyperparameters.

    varies: whether it depends on the hyperparameters which states there are.
    """
    arguments = list(inspect.signature(rule).parameters.values())
    example = f"rule({', '.join(['self, p, g', *state])}, *, t, lr=0.01)"
    own = [a for a in arguments if a.kind is a.POSITIONAL_OR_KEYWORD][2:]
    for i, a in enumerate(own):
        # Beyond the states; a default of None is that of a state which is not always there.
        is_number = i >= len(state) and a.default is not NOT_GIVEN and a.default is not None
        if is_number or a.name in ("t", "lr"):
            raise TypeError(f"{kind}.rule gets {a.name} by name: write a * before t and the hyperparameters, {example}")
    by_name = {a.name for a in arguments if a.kind is a.KEYWORD_ONLY}
    for name in ("t", "lr"):
        if name not in by_name and not any(a.kind is a.VAR_KEYWORD for a in arguments):
            raise TypeError(f"{kind}.rule must take {name} by name: {example}")
    needed = [a.name for a in own if a.default is NOT_GIVEN]
    if len(needed) > len(state) and not varies:
        names = (*state, *needed[len(state) :])
        raise TypeError(
            f"{kind}.rule takes {needed[len(state)]!r}, which is no state: name it in the class, state = {names}"
        )
    if len(own) < len(state) and not any(a.kind is a.VAR_POSITIONAL for a in arguments):
        raise TypeError(f"{kind}.rule must take each of state = {state}: {example}")


def rule_hyper(kind: type) -> tuple[dict[str, Any], bool]:
    """{hyperparameter: default} of a class's rule, and whether it takes any other.

    A rule that passes on **others to the one it overrides has those of that one too, and defaults are inherited.
    """
    found: dict[str, Any] = {}
    takes_any = True
    for rule in [vars(base)["rule"] for base in kind.__mro__ if "rule" in vars(base)]:
        arguments = inspect.signature(rule).parameters.values()
        for a in arguments:
            new = a.name not in found and takes_any
            if a.kind is a.KEYWORD_ONLY and a.name != "t" and (new or found.get(a.name) is NOT_GIVEN):
                found[a.name] = a.default
        takes_any = takes_any and any(a.kind is a.VAR_KEYWORD for a in arguments)
    return found, takes_any


def signature_of(kind: type) -> inspect.Signature:
    """What an optimizer takes, for help() and for completion: its rule's hyperparameters stand in the place of **hyper."""
    init = inspect.signature(kind.__init__)  # type: ignore[misc]
    common = [a for a in init.parameters.values() if a.name not in ("self", "lr", "hyper")]
    hyper, takes_any = rule_hyper(kind)
    hyper = {"lr": NOT_GIVEN, **hyper, "weight_decay": kind.weight_decay}  # type: ignore[attr-defined]
    own = [
        inspect.Parameter(
            name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD if name == "lr" else inspect.Parameter.KEYWORD_ONLY,
            default=default,
        )
        for name, default in hyper.items()
    ]
    rest = [a for a in init.parameters.values() if a.kind is a.VAR_KEYWORD and takes_any]
    return inspect.Signature([common[0], *own, *common[1:], *rest])


def as_groups(params: Any) -> list[dict[str, Any]]:
    """The groups in what was passed as parameters."""
    single = isinstance(params, np.ndarray) or hasattr(params, "grad")
    if single or isinstance(params, set | str | Mapping) or not isinstance(params, Iterable):
        raise TypeError(
            f"parameters must be a list of tensors (or of (name, tensor) pairs, or of groups), "
            f"got {type(params).__name__}: pass model.parameters()"
        )
    params = list(params)
    if not params:
        raise ValueError("there are no parameters to optimize (was a generator used up, or does the model have none?)")
    return params if all(isinstance(p, Mapping) for p in params) else [{"params": params}]


def named_parameters(params: Any, start: int = 0) -> list[tuple[str, Any]]:
    """(name, parameter) pairs, checked; unnamed ones are called by their position."""
    named: list[tuple[str, Any]] = []
    for i, item in enumerate([params] if hasattr(params, "grad") else params):
        name, p = item if isinstance(item, tuple) else (getattr(item, "name", None) or f"parameter {start + i}", item)
        if not (hasattr(p, "data") and hasattr(p, "grad")):
            raise TypeError(f"{name}: a parameter needs .data and .grad, got {type(p).__name__}")
        if p.data.dtype.kind != "f":
            raise TypeError(f"{name}: only floating-point parameters can be optimized, got dtype {p.data.dtype}")
        if getattr(p, "node", None) is not None:
            raise TypeError(f"{name} was computed from other tensors, and forgets whatever moves it: move these instead")
        if any(p is other for _, other in named):
            raise ValueError(f"{name} is given twice and would move twice")
        named.append((name, p))
    if not named:
        raise ValueError("a group has no parameters")
    if len({name for name, _ in named}) < len(named):
        raise ValueError(f"two parameters have the same name: {sorted(name for name, _ in named)}")
    return named
