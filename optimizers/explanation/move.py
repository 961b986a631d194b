"""What an Explanation shows of one parameter: its quantities, one by one, and how they are printed."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

FEW = 6  # numbers that are printed one by one


@dataclass(frozen=True, eq=False)
class Quantity:
    """One row of an explanation: an array (or a number), its name, how it was computed, and which state it is, if any."""

    name: str
    value: Any
    formula: str = ""
    state: str = ""
    equal: str = ""  # another name that the rule has for it

    @property
    def label(self) -> str:
        name = f"{self.name} = {self.equal}" if self.equal else self.name
        return f"{name} ({self.state})" if self.state not in ("", self.name) else name


@dataclass(frozen=True, eq=False, repr=False)
class Move(Mapping[str, Any]):
    """What one step does to one parameter: a mapping from names to arrays of its shape, and to numbers.

    "p" is the parameter before and "afterwards" the parameter after the step; "gradient" is its `.grad`. "direction" and
    "step" are what the rule answers and "update" is their product. "clipped", "decay", "penalty", "projection" are there
    if there are such things and they change something. All else has its name in the rule, such as "m_hat" or "lr"; a
    state also has that in `state_dict()`, such as "exp_avg".
    """

    name: str
    optimizer: str
    quantities: list[Quantity]
    numbers: dict[str, Any]
    aliases: dict[str, str]  # other names of the quantities

    def __getitem__(self, key: str) -> Any:
        known = {**self.numbers, **{quantity.name: quantity.value for quantity in self.quantities}}
        if key not in known:
            key = self.aliases.get(key, key)
        if key not in known:
            raise KeyError(f"{key!r} is not among {', '.join(self)}")
        return known[key]

    def __iter__(self) -> Iterator[str]:
        yield from (quantity.name for quantity in self.quantities)
        yield from self.numbers

    def __len__(self) -> int:
        return len(self.quantities) + len(self.numbers)

    def __repr__(self) -> str:
        shape, t = self["p"].shape, self.numbers["t"]
        title = f"{self.optimizer} moves {self.name!r} of shape {shape}, update {t}"
        shown = [f"{name} = {short(value)}" for name, value in self.numbers.items() if value is not False]
        numbers = wrapped(shown, 120)
        table = [("quantity", "shape", "norm", "smallest", "largest", "values", "formula")]
        shapes = ["" if q.value.shape in (shape, ()) else str(q.value.shape) for q in self.quantities]
        table += [(q.label, s, *_measured(q.value), q.formula) for q, s in zip(self.quantities, shapes, strict=True)]
        few = self["p"].size <= FEW
        columns = [c for c in zip(*table, strict=True) if any(c[1:]) and (few or c[0] != "values")]
        widths = [max(map(len, column)) for column in columns]
        rows = ["  ".join(map(str.ljust, row, widths)) for row in zip(*columns, strict=True)]
        rows.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join(line.rstrip() for line in (title, numbers, "", *rows))


def on_host(value: Any) -> np.ndarray:
    """float64 in the machine's own memory (arrays of a graphics card have a `get` that brings them there)."""
    return np.asarray(value.get() if hasattr(value, "get") else value, float)


def short(value: Any) -> str:
    """A number, or a tuple of them, with four digits."""
    if isinstance(value, tuple | list):
        return f"({', '.join(map(short, value))})"
    return f"{value:.4g}" if isinstance(value, float | np.ndarray | np.floating) else str(value)


@np.errstate(all="ignore")  # the norm of huge numbers is infinite
def _measured(value: Any) -> tuple[str, str, str, str]:
    """Norm, smallest and largest number, and if they are few, all."""
    numbers = on_host(value).reshape(-1)
    if not numbers.size:
        return "0", "", "", ""
    listed = "  ".join(map(short, numbers)) if numbers.size <= FEW else ""
    return short(np.linalg.norm(numbers)), short(numbers.min()), short(numbers.max()), listed


def wrapped(items: list[str], width: int) -> str:
    """The items in lines of some width, none of them broken."""
    text = "   ".join(item.replace(" ", "\xa0") for item in items)
    return textwrap.fill(text, width, break_on_hyphens=False, break_long_words=False).replace("\xa0", " ")
