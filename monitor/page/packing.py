"""How a page's numbers travel: few enough to draw at once, small enough to mail, and nothing worth seeing left out.

A series of many points is cut into columns, of which the least and the greatest value are kept (Jugel et al. 2014,
"M4"): a spike of one step in a million stays visible. The page says so wherever it does. Numbers go as one block of
bytes, compressed, in text.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from monitor.page.scales import line_ends

BITS = 20  # of a number's 52 binary digits after the point, where a page has many numbers: six decimal digits
LINE = 16  # the same of the means of columns, which are a line and nothing to read
FINE = 12  # the same of what is only a shade of a heat map: four thousand of them


class Kept(NamedTuple):
    """The points of a series that a page draws, and where there are fewer than all, the mean of each column."""

    steps: np.ndarray
    values: np.ndarray
    columns: tuple[np.ndarray, np.ndarray, np.ndarray] | None  # mean step, mean of the finite values, how many they are


def thin(steps: np.ndarray, values: np.ndarray, most: int) -> Kept:
    """At most about `most` points of a series: of each column its extremes and its first nan or inf; first and last.

    The columns grow wider up to some width, so that a logarithmic axis has something to show, and are then even; and
    none goes over a gap at which a line ends (scales.py), as far as there are columns enough.

    >>> steps, values = np.arange(1000), np.zeros(1000)
    >>> values[[123, 777]] = 5, np.nan
    >>> kept = thin(steps, values, 60)
    >>> len(kept.steps) <= 60, 123 in kept.steps, 777 in kept.steps, int(kept.columns[2].sum())
    (True, True, True, 999)
    """
    if len(values) <= most:
        return Kept(steps, values, None)
    finite = np.isfinite(values)
    starts = _columns(steps, (most - 2) // (2 if finite.all() else 3))
    column = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(values)))
    low = _first_where(values == np.minimum.reduceat(np.where(finite, values, np.inf), starts)[column], column)
    high = _first_where(values == np.maximum.reduceat(np.where(finite, values, -np.inf), starts)[column], column)
    kept = np.unique(np.concatenate([[0, len(values) - 1], low, high, _first_where(~finite, column)]))
    return Kept(steps[kept], values[kept], _means(steps, values, finite, starts))


def _columns(steps: np.ndarray, columns: int) -> np.ndarray:
    """Where the columns of points at these steps start: at most `columns` of them."""
    n, gaps = len(steps), line_ends(steps)
    longest = np.argsort(steps[gaps] - steps[gaps + 1], kind="stable")[: columns // 3]
    columns -= len(longest)
    width = n / max(2 * columns // 3, 1)
    widening = np.geomspace(1, n, columns // 3 + 1) - 1
    widening = widening[:-1][np.diff(widening) < width]
    last = widening.max(initial=0)  # even ones from here: a sliver between the two would have the mean of few points
    even = np.linspace(last, n, max(round((n - last) / width), 1), endpoint=False)
    return np.unique(np.concatenate([even, widening, gaps[longest] + 1]).astype(np.intp))


def _first_where(mask: np.ndarray, column: np.ndarray) -> np.ndarray:
    """The first index of each column at which the mask holds."""
    where = np.flatnonzero(mask)
    return where[np.unique(column[where], return_index=True)[1]]


def _means(steps: np.ndarray, values: np.ndarray, finite: np.ndarray, starts: np.ndarray) -> tuple:
    """(steps, values, counts): the means over the finite points of each column; a column without any is left out."""
    counts = np.add.reduceat(finite.astype(float), starts)
    some = counts > 0
    with np.errstate(over="ignore", invalid="ignore"):  # a mean beyond the largest float is inf, and drawn as such
        sums = [np.add.reduceat(np.where(finite, a, 0.0), starts)[some] for a in (steps, values)]
        return sums[0] / counts[some], sums[1] / counts[some], counts[some]


def digits_of_shades(values: np.ndarray) -> int:
    """How many binary digits tell 4,096 shades apart: more, if numbers lie far from zero and close together.

    >>> digits_of_shades(np.array([0.0, 3.0])), digits_of_shades(np.array([1000.0, 1001.0]))
    (12, 20)
    """
    finite = values[np.isfinite(values)] / 2  # so that no difference overflows
    spread = np.ptp(finite) if finite.size else 0.0
    more = np.ceil(np.log2(np.abs(finite).max() / spread)) if spread > 0 else 0.0
    return int(np.clip(FINE + more, FINE, BITS))


def fair_share(sizes: Iterable[int], budget: int) -> int:
    """The most points that each series may have so that all together stay within the budget.

    >>> fair_share([10, 500, 500], 610), fair_share([10, 20], 100)
    (300, 20)
    """
    left, sizes = budget, sorted(sizes)
    for i, size in enumerate(sizes):
        share = left // (len(sizes) - i)
        if size > share:
            return share
        left -= size
    return sizes[-1] if sizes else 0


class Pack:
    """Many arrays as one text. `add` answers where in the block an array lies: [first, count].

    The text is base64 of zlib of the bytes of little-endian doubles, all first bytes, then all second bytes and so on:
    neighbours differ little in their high bytes, and `rounded` numbers have zeros in their low ones.
    """

    def __init__(self, rounded: bool):
        self.rounded = rounded
        self._parts: list[np.ndarray] = []
        self._length = 0

    def add(self, values: Any, whole: bool = False, digits: int = BITS) -> list[int]:
        """Put an array into the block; `whole` numbers are never rounded, and travel as differences.

        The others are, if the pack is `rounded`, to so many binary `digits` after the point.
        """
        array = np.array(values, "<f8").reshape(-1)
        if whole:
            array[1:] -= array[:-1]
        elif self.rounded:
            array = rounded(array, digits)
        first = self._length
        self._parts.append(array)
        self._length += len(array)
        return [first, len(array)]

    def text(self) -> str:
        block = np.concatenate([np.zeros(0, "<f8"), *self._parts])
        planes = np.ascontiguousarray(block.view(np.uint8).reshape(-1, 8).T)
        return base64.b64encode(zlib.compress(planes.tobytes(), 6)).decode()


def rounded(values: np.ndarray, digits: int = BITS) -> np.ndarray:
    """Doubles rounded to so many binary digits after the point; of 20 the relative error is 2 ** -21; nan and inf stay.

    >>> rounded(np.array([np.pi, -np.inf, 17.0])).tolist()
    [3.141592025756836, -inf, 17.0]
    """
    drop = 52 - digits
    bits = np.where(np.isfinite(values), values, 0.0).astype("<f8").view(np.uint64)
    bits = (bits + np.uint64(1 << (drop - 1))) >> np.uint64(drop) << np.uint64(drop)  # may carry into the exponent: right
    return np.where(np.isfinite(values) & np.isfinite(bits.view("<f8")), bits.view("<f8"), values)
