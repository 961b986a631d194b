"""Verify the table of derivatives here and now, on this machine, with this NumPy: what `tinynet check` does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tinynet.compositions import COMPOSED
from tinynet.gradcheck import GradcheckError, gradcheck
from tinynet.messages import name_of
from tinynet.rules import RULES
from tinynet.samples import SAMPLES, Sample


@dataclass
class Verdict:
    """What was found for one function of the table."""

    name: str
    calls: int
    order: int
    seconds: float
    error: str | None  # None: every gradient is right


def functions() -> list[tuple[Callable, list[Sample]]]:
    """Every function of the table with its sample calls, in the table's order."""
    raw = {f if f in RULES or f in COMPOSED else getattr(f, "__wrapped__", f): calls for f, calls in SAMPLES.items()}
    return [(function, raw[function]) for function in {**raw, **RULES, **COMPOSED} if function in raw]


def check_table(order: int = 2, match: str = "") -> Iterator[Verdict]:
    """Check every function whose name contains `match`, to the given order."""
    for function, samples in functions():
        if match not in name_of(function):
            continue
        start, error = time.perf_counter(), None
        for f, *inputs in samples:
            try:
                gradcheck(f, *inputs, order=order)
            except GradcheckError as found:
                error = str(found)
                break
        yield Verdict(name_of(function), len(samples), order, time.perf_counter() - start, error)
