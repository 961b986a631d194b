"""Looking things up by name, with an error that suggests the nearest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def lookup(what: str, name: Any, table: Mapping[str, Any]) -> Any:
    """table[name], or a ValueError that names what there is and what is nearest.

    >>> lookup("activation", "rulu", {"relu": 1, "tanh": 2})
    Traceback (most recent call last):
    ValueError: unknown activation 'rulu': did you mean 'relu'? There are: relu, tanh
    """
    try:
        return table[name]
    except (KeyError, TypeError):
        import difflib

        near = difflib.get_close_matches(str(name).lower(), table, 1, cutoff=0.5)
        hint = f": did you mean {near[0]!r}?" if near else "."
        raise ValueError(f"unknown {what} {name!r}{hint} There are: {', '.join(sorted(table))}") from None
