"""The statistics of a comparison: equal to SciPy's, right by counting, unmoved by what must not matter."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet.comparison import statistics as s

GOLDEN = json.loads((Path(__file__).parent.parent / "goldens" / "statistics.json").read_text())
INF, NAN = math.inf, math.nan
whole = st.integers(-4, 4).map(float)
number = st.floats(-100, 100).map(lambda x: round(x, 3))
runs = st.one_of(number, st.sampled_from([INF, NAN]))


# Against other libraries --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", GOLDEN["signed rank"], ids=lambda c: f"{len(c['d'])}-{c['zeros']}-{c['pvalue']:.3g}")
def test_signed_rank_equals_scipy(case):
    found = s.wilcoxon(case["d"], case["zeros"])
    assert found.statistic == case["statistic"]
    assert found.pvalue == pytest.approx(case["pvalue"], rel=1e-12)
    assert found.n == np.count_nonzero(case["d"])


@pytest.mark.parametrize("case", GOLDEN["many problems"], ids=lambda c: f"{len(c['results'])}x{len(c['ranks'])}")
def test_friedman_and_nemenyi_equal_scipy(case):
    found = s.friedman(case["results"])
    assert (found.statistic, found.pvalue) == pytest.approx((case["statistic"], case["pvalue"]), rel=1e-10)
    np.testing.assert_allclose(found.ranks, case["ranks"], rtol=1e-13)
    problems = len(case["results"])
    np.testing.assert_allclose(s.nemenyi(found.ranks, problems), case["pairs"], atol=2e-9)


@pytest.mark.parametrize("case", GOLDEN["holm"], ids=lambda c: str(len(c["p"])))
def test_holm_equals_statsmodels(case):
    np.testing.assert_allclose(s.holm(case["p"]), case["holm"], rtol=1e-13)


def test_chi_square_equals_scipy():
    for x, k, tail in GOLDEN["chi-square"]:
        assert s.chi2_tail(x, k) == pytest.approx(tail, rel=1e-11)


def test_against_scipy_itself():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(1)
    for n in (5, 12, 30, 90):
        d = rng.normal(0.2, 1, n)
        theirs = stats.wilcoxon(d, method="exact" if n <= 50 else "asymptotic")
        assert s.wilcoxon(d)[:2] == pytest.approx((theirs.statistic, theirs.pvalue), rel=1e-12)
    ours, theirs = s.bootstrap_interval(d), stats.bootstrap((d,), np.median, method="percentile", rng=0).confidence_interval
    assert ours == pytest.approx(theirs, abs=0.05)
    np.testing.assert_array_equal(s.midranks([3, 1, 3, np.inf, 1]), stats.rankdata([3, 1, 3, np.inf, 1]))


# By counting --------------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(st.lists(whole, min_size=1, max_size=9), st.sampled_from(["pratt", "wilcox"]))
def test_signed_rank_by_trying_every_pattern_of_signs(d, zeros):
    d = np.array(d)
    kept = d if zeros == "pratt" else d[d != 0]
    ranks = s.midranks(np.abs(kept))[kept != 0] if kept.size else kept
    sums = [(ranks * signs).sum() for signs in itertools.product([0, 1], repeat=len(ranks))]
    observed = ranks[kept[kept != 0] > 0].sum() if len(ranks) else 0.0
    centre = ranks.sum() / 2
    expected = np.mean([abs(w - centre) >= abs(observed - centre) for w in sums])
    assert s.wilcoxon(d, zeros).pvalue == pytest.approx(expected)


def test_holm_by_its_definition():
    rng = np.random.default_rng(0)
    for _ in range(50):
        p = rng.uniform(0, 0.2, 6).round(2)
        for alpha in (0.03, 0.11):
            rejected, order = set(), np.argsort(p)
            for step, i in enumerate(order):  # step down until the first that is not small enough
                if p[i] > alpha / (6 - step):
                    break
                rejected.add(int(i))
            assert set(np.flatnonzero(s.holm(p) <= alpha).tolist()) == rejected


@pytest.mark.parametrize("n", [5, 9, 15])
def test_the_interval_is_that_of_the_exact_bootstrap_distribution(n):
    """Efron 1979: the resampled median of an odd sample is at most its k-th value iff most of n draws are among the first k."""
    x = np.sort(np.random.default_rng(n).normal(size=n))
    below = [
        sum(math.comb(n, j) * (k / n) ** j * (1 - k / n) ** (n - j) for j in range(n // 2 + 1, n + 1))
        for k in range(1, n + 1)
    ]
    exact = x[np.searchsorted(below, 0.025)], x[np.searchsorted(below, 0.975)]
    assert s.bootstrap_interval(x) == pytest.approx(exact)


def test_the_interval_of_an_even_sample_is_that_of_its_resamples():
    x = np.array([0.0, 1.0, 5.0, 20.0])
    every = [np.median(x[list(rows)]) for rows in itertools.product(range(4), repeat=4)]
    for confidence in (0.5, 0.8, 0.95):
        exact = np.quantile(every, [(1 - confidence) / 2, (1 + confidence) / 2])
        assert s.bootstrap_interval(x, confidence) == pytest.approx(exact)


def test_the_interval_covers_the_median_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = [low <= 0 <= high for low, high in (s.bootstrap_interval(rng.standard_cauchy(15)) for _ in range(300))]
    assert 0.92 <= np.mean(hits) <= 0.99


def test_letters_say_exactly_which_pairs_differ():
    rng = np.random.default_rng(0)
    for k in range(1, 8):
        for _ in range(20):
            differ = np.triu(rng.random((k, k)) < rng.random(), 1)
            letters = s.letter_groups(differ)
            for i, j in itertools.combinations(range(k), 2):
                assert differ[i, j] == (not set(letters[i]) & set(letters[j])), (differ, letters)
            assert all(letters)
            assert "a" in letters[0]
            used = sorted(set("".join(letters)))  # no letter is superfluous: none is contained in another
            groups = [{i for i in range(k) if letter in letters[i]} for letter in used]
            assert not any(a < b for a in groups for b in groups)


def test_many_groups_have_letters_too():
    differ = np.ones((30, 30), bool)
    assert s.letter_groups(np.triu(differ, 1))[24:28] == ["y", "z", "a2", "b2"]


def test_fewest_seeds_is_the_first_number_that_suffices():
    for tests in (1, 3, 7, 28):
        n = s.fewest_seeds(tests)
        smallest = [s.holm([s.wilcoxon(np.arange(1, m + 1)).pvalue] + [1.0] * (tests - 1))[0] for m in (n - 1, n)]
        assert smallest[0] >= 0.05 > smallest[1]


# What must not matter -----------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.tuples(runs, runs), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_the_verdict_does_not_depend_on_order_or_names(pairs, random):
    a, b = map(list, zip(*pairs, strict=True))
    d = s.differences(a, b)
    shuffled = list(d)
    random.shuffle(shuffled)
    assert s.wilcoxon(d) == s.wilcoxon(shuffled)
    assert s.wilcoxon(s.differences(b, a)) == s.wilcoxon(d)
    np.testing.assert_array_equal(s.differences(b, a), -d)
    low, high = s.bootstrap_interval(d)
    assert (low, high) == s.bootstrap_interval(shuffled)
    assert low <= s.quantile(d, 0.5) <= high
    assert not s.differences(a, a).any()
    assert s.wilcoxon(s.differences(a, a)).pvalue == 1


@settings(deadline=None)
@given(st.lists(whole, min_size=1, max_size=12), st.floats(0.01, 100))
def test_only_ranks_matter_to_the_test(d, factor):
    d = np.array(d)
    assert s.wilcoxon(d * factor) == s.wilcoxon(d)
    assert s.wilcoxon(d * 1e9 if not d.any() else np.sign(d) * d**2) == s.wilcoxon(d)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=12), st.floats(0, 1))
def test_quantiles_are_numpys_where_all_is_finite(x, q):
    assert s.quantile(x, q) == pytest.approx(np.quantile(x, q), rel=1e-9, abs=1e-6)


@given(
    st.lists(st.sampled_from([-1.0, 0.0, 2.0, INF, -INF]), min_size=1, max_size=9),
    st.sampled_from([0, 0.1, 0.25, 0.5, 0.9]),
)
def test_infinity_is_a_very_large_number(x, q):
    large = np.quantile(np.clip(x, -1e12, 1e12), q)
    expected = large if abs(large) < 1e9 else math.copysign(INF, large)
    assert s.quantile(x, q) == pytest.approx(expected, abs=1e-3)


@given(st.lists(st.lists(st.floats(0.1, 50), min_size=3, max_size=3), min_size=2, max_size=6), st.floats(0.1, 10))
def test_friedman_and_profiles_ignore_each_problems_scale(table, factor):
    table = np.array(table).round(2) + 0.1
    scaled = table * np.where(np.arange(len(table)) % 2, 1.0, factor)[:, None]
    np.testing.assert_allclose(s.performance_ratios(scaled), s.performance_ratios(table))
    found, moved = s.friedman(table), s.friedman(table**3)  # cubes: no two become equal by rounding
    assert found[:2] == pytest.approx(moved[:2])
    assert 0 <= found.pvalue <= 1


# Single facts -------------------------------------------------------------------------------------------------------------


def test_missed_targets_take_part_in_the_median():
    assert s.quantile([100, 200, INF], 0.5) == 200
    assert s.quantile([100, 200, INF, INF], 0.5) == INF
    assert s.quantile([100, INF, INF], 0.5) == INF
    assert s.quantile([-INF, INF], 0.5) == 0
    assert s.quantile([[1, 2, 3], [INF, 1, INF]], 0.5).tolist() == [2, INF]


def test_diverged_runs_have_the_largest_ranks():
    a, b = [1, 2, 3, 4, 5, 6], [NAN, 2.5, INF, 4.5, 5.1, 6.2]
    d = s.differences(a, b)
    assert d.tolist()[0] == d.tolist()[2] == -INF
    assert s.wilcoxon(d).pvalue == 2 / 2**6
    both = s.differences([INF, NAN, NAN], [NAN, INF, 1.0])
    assert both.tolist() == [0, 0, INF]
    assert s.bootstrap_interval([-INF] * 5) == (-INF, -INF)


def test_profiles():
    ratios = s.performance_ratios([[100, 200, INF], [50, 25, NAN], [INF, INF, INF], [0, 0, 7]])
    np.testing.assert_array_equal(ratios, [[1, 2, INF], [2, 1, INF], [INF] * 3, [1, 1, INF]])
    assert s.profile(ratios, 1).tolist() == [0.5, 0.5, 0]
    assert s.profile(ratios, 2).tolist() == [0.75, 0.75, 0]
    taus = np.linspace(1, 4, 30_001)
    integral = np.array([s.profile(ratios, tau) for tau in taus]).mean(axis=0)
    np.testing.assert_allclose(s.profile_area(ratios), integral, atol=1e-4)
    assert s.profile_area([[1.0], [1.0]]).tolist() == [1]


def test_widths():
    assert s.sensitivity_width([NAN, 1.1, 1.0, 1.11, INF]) == 2
    assert s.sensitivity_width([-1.0, -0.9, -0.89]) == 2
    assert s.sensitivity_width([0.0, 1e-30]) == 1
    assert s.sensitivity_width([NAN, INF]) == 0


def test_equal_results_differ_nowhere():
    found = s.friedman(np.ones((5, 4)))
    assert found[:2] == (0, 1)
    assert found.ranks.tolist() == [2.5] * 4
    assert s.nemenyi(found.ranks, 5).min() == pytest.approx(1)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: s.scores([]), r"values must be a list of at least one number, got shape \(0,\)"),
        (lambda: s.scores([[1, 2]], "a"), r"a must be a list of at least one number, got shape \(1, 2\)"),
        (lambda: s.differences([1, 2], [1]), "one result per seed: got 2 and 1"),
        (lambda: s.quantile([1, NAN], 0.5), r"at least one number and no nan, got \[1, nan\]"),
        (lambda: s.quantile([], 0.5), "at least one number"),
        (lambda: s.bootstrap_interval([1, 2], 95), "confidence must lie between 0 and 1, got 95"),
        (lambda: s.wilcoxon([1, NAN]), "differences without nan"),
        (lambda: s.wilcoxon([]), "a list of differences"),
        (lambda: s.wilcoxon([1], "zsplit"), "zero_method must be 'pratt' or 'wilcox', got 'zsplit'"),
        (lambda: s.holm([0.1, 1.2]), r"p-values must lie from 0 to 1, got \[0.1, 1.2\]"),
        (lambda: s.holm([NAN]), "p-values must lie from 0 to 1"),
        (lambda: s.friedman([[1, 2]]), r"at least 2 and 3 of them, got shape \(1, 2\)"),
        (lambda: s.performance_ratios([[1, -1]]), "costs must be numbers from 0 on"),
        (lambda: s.profile_area([[1]], 1), "most must be greater than 1, got 1"),
    ],
)
def test_bad_input(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_how_sure_a_choice_was():
    sure = s.choice_shares([[1, 1, 1], [2, 2, 2]])
    assert sure.tolist() == [1, 0]
    close = s.choice_shares([[0, 0, 9], [1, 1, 1]], resamples=20_000)
    assert close == pytest.approx([20 / 27, 7 / 27], abs=0.02)  # the 9 is drawn at least twice in 7 of 27
    assert s.choice_shares([[1, 2], [1, 2]]).tolist() == [1, 1]  # ties count for both
    assert s.choice_shares([[np.inf, np.inf, 1], [2, 2, 2]])[1] > 0.5
    assert s.choice_shares([[np.nan], [1]]).tolist() == [0, 1]
