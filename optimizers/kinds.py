"""How large an argument may be: said by a word where it is declared, and checked by that word when something is made.

The words are aliases of float and int. A dataclass field declared `every: Positive` tells the reader what it may be, and
`check_fields` tells the user who passed something else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from numbers import Integral, Real
from typing import Any

NonNegative = float
Positive = float
Length = float
Fraction = float
Decay = float
Share = float
AtLeastOne = float
Count = float
Whole = int
Natural = int

KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "NonNegative": ("non-negative and finite", lambda x: 0 <= x < math.inf),
    "Positive": ("positive and finite", lambda x: 0 < x < math.inf),
    "Length": ("positive", lambda x: x > 0),  # or infinite
    "Fraction": ("between 0 and 1", lambda x: 0 < x < 1),
    "Decay": ("in (0, 1]", lambda x: 0 < x <= 1),
    "Share": ("in [0, 1]", lambda x: 0 <= x <= 1),
    "AtLeastOne": ("at least 1 and finite", lambda x: 1 <= x < math.inf),
    "Count": ("a positive whole number", lambda x: x == math.inf or (x > 0 and isinstance(x, Integral))),
    "Whole": ("a positive whole number", lambda x: x > 0 and isinstance(x, Integral)),
    "Natural": ("a whole number, 0 or more", lambda x: x >= 0 and isinstance(x, Integral)),
}


def checked(what: str, value: Any, kind: str) -> Any:
    """The value as a plain int or float, if it is of that kind; a TypeError or ValueError about `what` if not.

    >>> checked("Step: every", 0, "Positive")
    Traceback (most recent call last):
    ValueError: Step: every must be positive and finite, got 0
    """
    words, holds = KINDS[kind]
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{what} must be a number, got {value!r}")
    if not holds(value):
        raise ValueError(f"{what} must be {words}, got {value!r}")
    return int(value) if isinstance(value, Integral) else float(value)


def check_fields(made: Any) -> None:
    """Check every field of a dataclass that is declared by one of these words, and make it a plain number."""
    for field in fields(made):
        if field.type in KINDS:  # annotations are strings: from __future__ import annotations
            value = checked(f"{type(made).__name__}: {field.name}", getattr(made, field.name), str(field.type))
            object.__setattr__(made, field.name, value)  # also where the dataclass is frozen
