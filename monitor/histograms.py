"""Histograms of weights and gradients, in bins that are the same for every run, step and layer.

Such values spread over many powers of ten and both signs, so the bins are logarithmic and symmetric: four to a decade,
from 1e-12 to 1e12. As they never change, histograms of different steps can be added, and drawn side by side.

    bin 0             |x| < 1e-12, zero above all
    bin k, 1 .. 96    10 ** ((k - 1) / 4 - 12) <= x < 10 ** (k / 4 - 12); the last one holds whatever is larger, too
    bin -k            the same for -x
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

BINS = 96  # on each side of zero
LIMITS = np.array([10.0 ** (k / 4 - 12) for k in range(BINS + 1)])  # bin k is LIMITS[k - 1] <= x < LIMITS[k]


class Histogram:
    """How often values fell into each bin: `bins` maps the index of a bin to its count, `nonfinite` counts nan and inf.

    >>> histogram = Histogram.of([0.0, 0.5, -0.5, 2.0, float("nan")])
    >>> histogram.bins, histogram.nonfinite
    ({-47: 1, 0: 1, 47: 1, 50: 1}, 1)
    >>> histogram.total, round(float(histogram.quantile(0.9)), 1)
    (4, 2.5)
    """

    def __init__(self, bins: dict[int, int], nonfinite: int = 0):
        self.bins = bins
        self.nonfinite = nonfinite

    @classmethod
    def of(cls, values: Any) -> Self:
        """Count the elements of an array of any shape, or of whatever NumPy makes one of."""
        values = np.asarray(values)
        if values.dtype.kind not in "fiub":
            raise TypeError(f"a histogram counts real numbers, got an array of {values.dtype}")
        flat = values.reshape(-1)
        flat = flat if flat.dtype in (np.float32, np.float64) else flat.astype(np.float64)
        finite = flat[np.isfinite(flat)] if not np.isfinite(flat).all() else flat
        index = _bins_of(np.abs(finite))
        counts = np.bincount(np.copysign(index, finite).astype(np.intp) + BINS, minlength=2 * BINS + 1)
        return cls({int(i) - BINS: int(counts[i]) for i in np.flatnonzero(counts)}, len(flat) - len(finite))

    @classmethod
    def from_data(cls, data: Any) -> Self:
        """The histogram that `data` describes; ValueError if it describes none."""
        try:
            bins = dict(data["bins"])
            nonfinite = data["nonfinite"]
        except (TypeError, ValueError, KeyError):
            raise ValueError("no histogram: it has no bins, or no count of nonfinite values") from None
        if not all(type(i) is int and type(n) is int and abs(i) <= BINS and 0 < n < 2**62 for i, n in bins.items()):
            raise ValueError(f"no histogram: a bin is an index of at most {BINS} and a positive count")
        if type(nonfinite) is not int or nonfinite < 0:
            raise ValueError("no histogram: the number of nonfinite values must be a count")
        return cls(dict(sorted(bins.items())), nonfinite)

    def data(self) -> dict[str, Any]:
        """What an event holds: {"bins": [[index, count], ...], "nonfinite": n}, without the empty bins."""
        return {"bins": [[index, count] for index, count in self.bins.items()], "nonfinite": self.nonfinite}

    @property
    def total(self) -> int:
        """How many finite values were counted."""
        return sum(self.bins.values())

    def edges(self) -> np.ndarray:
        """The 194 edges of the 193 bins, from -1e12 to 1e12."""
        return np.concatenate([-LIMITS[::-1], LIMITS])

    def counts(self) -> np.ndarray:
        """The counts of the 193 bins between `edges()`, as np.histogram gives them."""
        counts = np.zeros(2 * BINS + 1, np.int64)
        for index, count in self.bins.items():
            counts[BINS + index] = count
        return counts

    def quantile(self, q: Any) -> Any:
        """The value below which the share q of the finite values lies, q in [0, 1]; nan if there are none.

        Right to within a bin, that is a factor of 10 ** (1/4) = 1.78 between the outermost edges: within a bin the values
        are taken to be spread evenly on its logarithmic scale.
        """
        q = np.asarray(q, float)
        if not ((q >= 0) & (q <= 1)).all():
            raise ValueError(f"quantile: q must be between 0 and 1, got {q.tolist()!r}")
        if not self.bins:
            return np.full(q.shape, np.nan)[()]
        index = np.array(sorted(self.bins))
        ends = np.cumsum([self.bins[i] for i in index.tolist()])
        at = np.minimum(np.searchsorted(ends, q * ends[-1], side="left"), len(ends) - 1)
        counts = np.diff(ends, prepend=0)[at]
        inside = (q * ends[-1] - (ends[at] - counts)) / counts  # how far into the bin, 0 .. 1
        k = index[at]
        exponent = np.where(k < 0, np.abs(k) - inside, np.abs(k) - 1 + inside) / 4 - 12
        return np.where(k == 0, 0.0, np.sign(k) * 10.0**exponent)[()]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and (self.bins, self.nonfinite) == (other.bins, other.nonfinite)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Histogram({self.total} values in {len(self.bins)} bins, {self.nonfinite} not finite)"


_LOWER, _UPPER = np.r_[0.0, LIMITS[:-1]], np.r_[LIMITS[:-1], np.inf]  # of bins 0 .. 96


def _bins_of(size: np.ndarray) -> np.ndarray:
    """The bins of positive numbers: their logarithm says nearly where, the limits themselves decide."""
    with np.errstate(divide="ignore"):
        index = np.clip(4 * np.log10(size) + 49, 0, BINS).astype(np.intp)
    index = index - (size < _LOWER[index]).astype(np.intp)
    return index + (size >= _UPPER[index]).astype(np.intp)
