"""Histograms: every number falls into the bin that its definition says, quantiles are right to within a bin."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor import Recorder, Run
from monitor.histograms import BINS, LIMITS, Histogram


def bin_of(x):
    """The definition, one number at a time."""
    size = abs(x)
    k = sum(size >= limit for limit in LIMITS.tolist())
    return int(math.copysign(min(k, BINS), x)) if k else 0


def test_the_limits_are_the_decades_and_three_between():
    assert [LIMITS[4 * (d + 12)] for d in range(-12, 13)] == [float(f"1e{d}") for d in range(-12, 13)]
    np.testing.assert_allclose(np.diff(np.log10(LIMITS)), 0.25, rtol=1e-12)


EDGES = [*LIMITS, *np.nextafter(LIMITS, 0), *np.nextafter(LIMITS, math.inf), 0.0, -0.0, 5e-324, 1e-200, 1e300]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_numbers_at_the_limits_of_the_bins(dtype):
    values = np.clip([sign * x for x in EDGES for sign in (1, -1)], -1e38, 1e38)
    for value in values.astype(dtype):
        assert Histogram.of(value).bins == {bin_of(float(value)): 1}, value


@given(st.lists(st.floats(), max_size=40))
def test_every_number_is_counted_once(values):
    histogram = Histogram.of(np.array(values, float))
    finite = [x for x in values if math.isfinite(x)]
    expected = {}
    for k in sorted(map(bin_of, finite)):
        expected[k] = expected.get(k, 0) + 1
    assert histogram.bins == expected
    assert list(histogram.bins) == sorted(histogram.bins)
    assert (histogram.total, histogram.nonfinite) == (len(finite), len(values) - len(finite))
    counts, edges = histogram.counts(), histogram.edges()
    assert (len(edges), len(counts), counts.sum()) == (2 * BINS + 2, 2 * BINS + 1, len(finite))
    assert (np.diff(edges) > 0).all()
    assert Histogram.from_data(histogram.data()) == histogram


@given(st.lists(st.floats(-1e11, 1e11), min_size=1, max_size=50), st.floats(0, 1))
def test_a_quantile_is_in_the_bin_of_the_true_one(values, q):
    true = float(np.quantile(values, q, method="inverted_cdf"))
    found = float(Histogram.of(values).quantile(q))
    k = bin_of(true)
    if k == 0:
        assert found == 0
    else:
        assert LIMITS[abs(k) - 1] * (1 - 1e-9) <= math.copysign(1, k) * found <= LIMITS[abs(k)] * (1 + 1e-9)


def test_quantiles_of_a_known_distribution():
    values = 10 ** np.random.default_rng(0).uniform(-6, -2, 100_000) * np.array([1, -1] * 50_000)
    quantiles = Histogram.of(values).quantile([0, 0.125, 0.5, 0.875, 1])
    np.testing.assert_allclose(quantiles[[0, 1, 3, 4]], [-1e-2, -1e-3, 1e-3, 1e-2], rtol=0.05)
    assert np.isnan(Histogram.of([]).quantile(0.5))
    assert np.isnan(Histogram.of([math.nan]).quantile([0.5, 1])).all()
    assert Histogram.of(np.zeros(5)).quantile(0.3) == 0
    for q in (-0.1, 1.1, math.nan, [0.5, 2]):
        with pytest.raises(ValueError, match=r"quantile: q must be between 0 and 1"):
            Histogram.of([1.0]).quantile(q)


@pytest.mark.parametrize(
    ("values", "bins"),
    [
        (np.array([1, -1, 0, 2**62]), {-49: 1, 0: 1, 49: 1, 96: 1}),
        (np.array([True, False]), {0: 1, 49: 1}),
        (np.float16([0.5, 65504]), {47: 1, 68: 1}),
        (np.longdouble([1.5]), {49: 1}),
        (np.ones((2, 3, 4)), {49: 24}),
        (np.zeros((3, 0)), {}),
        (2.5, {50: 1}),
        ([[1, 2.5]], {49: 1, 50: 1}),
        (np.float32([np.finfo(np.float32).max, -np.inf]), {96: 1}),
    ],
    ids=repr,
)
def test_any_array_of_real_numbers(values, bins):
    assert Histogram.of(values).bins == bins


def test_counting_changes_nothing():
    values = np.array([1.0, -2.0, math.nan])
    values.flags.writeable = False
    Histogram.of(values)
    np.testing.assert_array_equal(values, [1.0, -2.0, math.nan])


BAD = [None, 7, [], {}, {"bins": []}, {"nonfinite": 0}, {"bins": 3, "nonfinite": 0}, {"bins": [[1]], "nonfinite": 0}]
BAD += [{"bins": [[k, n]], "nonfinite": 0} for k, n in [(97, 1), (1.0, 1), ("1", 1), (1, 0), (1, -1), (1, 0.5), (True, 1)]]
BAD += [{"bins": [[[1], 1]], "nonfinite": 0}, {"bins": [[1, 2**70]], "nonfinite": 0}]
BAD += [{"bins": [], "nonfinite": n} for n in (-1, None, 0.5, "nan")]


@pytest.mark.parametrize("data", BAD, ids=repr)
def test_what_is_no_histogram_is_refused(data):
    with pytest.raises(ValueError, match="no histogram: "):
        Histogram.from_data(data)


def test_log_histogram(tmp_path):
    values = np.random.default_rng(0).normal(size=1000)
    with Recorder(tmp_path) as recorder:
        recorder.log(5, loss=1.0)
        recorder.log_histogram("w", values)
        recorder.log_histogram("<b>/../w\x00", [1.0, math.inf], step=2)
        recorder.log_histogram("w", values / 2, step=7)
        recorder.log(loss=2.0)  # counts on from the last log()
        for bad in ("text", [1j], None, [[1], [2, 3]]):
            with pytest.raises(TypeError, match=r"log_histogram\('bad'\): "):
                recorder.log_histogram("bad", bad)
    for run in (recorder.run, Run.open(recorder.path)):
        assert run.histogram_names() == ["w", "<b>/../w\x00"]
        assert [step for step, _ in run.histogram("w")] == [5, 7]
        assert run.histogram("w")[0][1] == Histogram.of(values)
        assert run.histogram("<b>/../w\x00")[0][1].nonfinite == 1
        assert run.series("loss")[0].tolist() == [5, 6]
        with pytest.raises(KeyError, match=r"has no histogram 'v'; it has w, "):
            run.histogram("v")


def test_a_damaged_histogram_is_passed_over():
    recorder = Recorder(None)
    recorder.event("histogram", 1, {"w": Histogram.of([1.0]).data()})
    for step, data in enumerate(BAD, start=2):
        recorder.event("histogram", step, {"w": data})
    assert recorder.run.histogram("w") == [(1, Histogram.of([1.0]))]
