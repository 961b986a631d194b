"""Verdicts, table and sentences: ties are called ties, failures take part, and a comparison with itself has no winner."""

import io
import json
import math
import re
from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import comparison, facts, result, usual
from rich.console import Console

from optimizers import Adam
from tinynet.comparison import Comparison, ComparisonError, compare
from tinynet.comparison.judgement import Pair, groups, judge_pairs, judge_suite, pairs_with_baseline
from tinynet.comparison.sentences import about, protocol, sentence, sentences, suite_sentences, warnings
from tinynet.comparison.statistics import friedman, nemenyi, wilcoxon
from tinynet.comparison.table import cells, leads, place_cells, plain, rich_table, rows, suite_cells, terminal_table, text

INF = math.inf
ANSI = "\x1b[1m"


def printed(table, width, **how):
    file = io.StringIO()
    Console(width=width, file=file, highlight=False, **how).print(table)
    return file.getvalue()


def suite(k=4, problems=6, shift=0.1, n=12):
    rng = np.random.default_rng(0)
    names = [f"o{i}" for i in range(k)]
    return comparison(
        result(f"p{p}", name, 0.1 + shift * i + 0.01 * rng.random(n), steps=np.full(n, 50.0 * (1 + i)))
        for p in range(problems)
        for i, name in enumerate(names)
    )


# Ties -------------------------------------------------------------------------------------------------------------------


def most_of(n, share=0.05, chance=1e-3):
    """How many of n independent alarms, each with this chance, are exceeded only once in a thousand times (binomial)."""
    tail, k = 1.0, -1
    while tail > chance:
        k += 1
        tail -= math.comb(n, k) * share**k * (1 - share) ** (n - k)
    return k


DRAWS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "heavy tails": lambda rng, n: rng.standard_cauchy(n),
    "ties": lambda rng, n: rng.integers(0, 4, n).astype(float),
    "diverged": lambda rng, n: np.where(rng.random(n) < 0.3, INF, rng.random(n)),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
@pytest.mark.parametrize("n", [6, 10])
def test_an_optimizer_does_not_beat_itself(draw, n):
    """200 comparisons of a thing with itself under another name: no more false winners than 5 % allow."""
    rng = np.random.default_rng(n)
    pairs = [judge_pairs({"a": draw(rng, n), "b": draw(rng, n)}, [("a", "b")])[0] for _ in range(200)]
    assert sum(pair.distinguishable for pair in pairs) <= most_of(200)


@pytest.mark.parametrize(
    "d", [range(1, 11), [1, 1, 2, 2, 3, 3, 4, 4, 5, 5], [0, 0, 0, 1, 2, 3, 4, 5, 6, 7], [INF] * 4 + [1] * 6]
)
def test_over_all_patterns_of_signs_the_share_of_false_alarms_is_at_most_nominal(d):
    """Not a sample: with these sizes of differences, every one of the 1,024 equally likely outcomes."""
    signs = np.array(list(product([-1.0, 1.0], repeat=10)))
    with np.errstate(invalid="ignore"):
        alarms = [wilcoxon(np.where(np.array(d) == 0, 0, np.array(d, float) * s)).pvalue < 0.05 for s in signs]
    assert np.mean(alarms) <= 0.05


def test_real_runs_of_one_optimizer_under_two_names_are_a_tie():
    c = compare(
        {"one": Adam, "other": Adam}, on="quadratic-10", baseline="one", grid=[0.01, 0.1], tuning_seeds=2, seeds=8, steps=50
    )
    assert sentences(c, "quadratic-10")[0].startswith(
        "other is not distinguishable from one with 8 seeds (median difference 0,"
    )
    assert set(groups(c, "quadratic-10").values()) == {"a"}
    half = [
        c.result("quadratic-10", "one").tuned.final[rows] for rows in (slice(0, 4), slice(4, 8))
    ]  # other seeds, one rate
    assert not judge_pairs({"a": half[0], "b": half[1]}, [("a", "b")])[0].distinguishable


def test_of_eight_that_are_alike_none_stands_out():
    """The chance of any false winner among 28 pairs stays below 5 %, since Holm's correction is for all of them."""
    rng, found = np.random.default_rng(0), 0
    for _ in range(50):
        seeds = rng.normal(size=12)
        samples = {name: seeds + rng.normal(size=12) for name in "abcdefgh"}
        found += any(pair.distinguishable for pair in judge_pairs(samples, list(combinations("abcdefgh", 2))))
    assert found <= most_of(50)


def test_a_difference_that_is_there_is_found():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(50):
        seeds = rng.normal(size=10)
        found += judge_pairs({"a": seeds, "b": seeds + 1 + 0.5 * rng.normal(size=10)}, [("a", "b")])
    assert np.mean([pair.better for pair in found]) > 0.9


def test_both_methods_must_agree():
    pair = Pair("a", "b", 10, -1.0, -2.0, -0.5, 0.01, 0.02, 3)
    assert pair.better
    assert not replace(pair, adjusted=0.06).distinguishable
    assert not replace(pair, high=0.1).distinguishable
    assert not replace(pair, high=0.0).better
    worse = replace(pair, difference=1.0, low=0.5, high=2.0)
    assert worse.distinguishable
    assert not worse.better


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(*[st.sampled_from([0.1, 0.2, 0.3, 5.0, INF, math.nan])] * 3), min_size=1, max_size=12))
def test_the_verdict_on_a_swapped_pair_is_the_opposite(results):
    samples = dict(zip("abc", map(list, zip(*results, strict=True)), strict=True))
    for one, other in combinations("abc", 2):
        ours, theirs = judge_pairs(samples, [(one, other)])[0], judge_pairs(samples, [(other, one)])[0]
        assert (ours.difference, ours.pvalue) == (-theirs.difference, theirs.pvalue)
        assert (ours.low, ours.high) == pytest.approx((-theirs.high, -theirs.low))
        assert ours.better == (theirs.distinguishable and not theirs.better)


# Table ------------------------------------------------------------------------------------------------------------------


def test_the_rows_are_sorted_and_right():
    c = usual()
    found = rows(c, "moons")
    assert [row.median for row in found] == sorted(row.median for row in found)
    assert {row.optimizer: row.group for row in found} == {"Adam": "a", "Lion": "a", "SGD": "b"} == groups(c, "moons")
    adam = next(row for row in found if row.optimizer == "Adam")
    tuned = c.result("moons", "Adam").tuned
    assert adam.median == pytest.approx(np.median(tuned.final))
    assert (adam.low, adam.high) == pytest.approx(tuple(np.quantile(tuned.final, [0.25, 0.75])))
    assert (adam.n, adam.hit_rate, adam.steps) == (12, 1.0, np.median(tuned.steps_to_target))
    assert (adam.lr, adam.at_edge, adam.width, adam.rates) == (0.01, False, 1, 5)
    assert adam.ms_per_step == pytest.approx(0.02)
    assert adam.default == pytest.approx(np.median(c.result("moons", "Adam").default.final))
    sgd = found[-1]
    assert 0 < sgd.hit_rate < 0.5
    assert sgd.steps == INF
    assert json.loads(json.dumps(plain(c, "moons")[0], allow_nan=False))["optimizer"] == found[0].optimizer


def test_diverged_and_missing_results_have_a_place():
    c = comparison(
        [
            result("moons", "A", [INF] * 6 + [0.1] * 2, medians=[INF] * 5, default=False),
            result("moons", "B", [math.nan] * 2 + [0.2] * 6, steps=[INF] * 8),
            result("moons", "C", [0.1] * 8, steps=[10, INF] * 4),
        ]
    )
    found = {row.optimizer: row for row in rows(c, "moons")}
    assert list(found) == ["C", "B", "A"]
    assert (found["A"].median, found["A"].diverged, found["A"].default, found["A"].width) == (INF, 6, None, 0)
    assert (found["B"].median, found["B"].hit_rate, found["B"].steps) == (pytest.approx(0.2), 0, INF)
    assert (found["C"].hit_rate, found["C"].steps) == (0.5, INF)
    text = printed(terminal_table(c, "moons", 120)[0], 120)
    assert "diverged" in text
    assert "missed" in text
    assert "nan" not in text
    assert "A diverged at every rate that was tried." in warnings(c, "moons")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_fits(width):
    names = ("Adam", "a very [red]long[/] name of an optimizer\n", "Nesterov", "SGD")
    c = usual(12, names, (0, 0.001, 0.2, 0.3))
    table, meaning = terminal_table(c, "moons", width)
    lines = printed(table, width).splitlines()
    assert len(lines) == 5, lines
    assert max(len(line.rstrip()) for line in lines) <= width
    assert "[red]long" in lines[1] + lines[2] + lines[3]
    for heading in ("optimizer", "median", "best lr", "group"):
        assert heading in lines[0]
    assert ("no room here for" in meaning) == (width < 120)
    headings, _, gone = cells(rows(c, "moons"), width)
    assert not set(headings) & set(gone)
    assert len(headings) + len(gone) == 11


def test_only_a_leader_that_differs_from_all_is_bold():
    tie, winner = usual(), usual(12, ("Adam", "Lion", "SGD"), (0, 0.2, 0.3))
    assert not leads(rows(tie, "moons"))
    assert leads(rows(winner, "moons"))
    assert not leads(rows(comparison([result("moons", "A", [1.0] * 9)]), "moons"))
    terminal = {"force_terminal": True, "color_system": "standard"}
    body = [printed(terminal_table(c, "moons", 120)[0], 120, **terminal).split("\n", 1)[1] for c in (tie, winner)]
    assert [ANSI in text for text in body] == [False, True]


def test_places():
    places = ("(3, 2)", "(-2.8, 3.1)", "(-3.8, -3.3)", "(3.6, -1.8)", "far", "farther")
    c = comparison(
        [
            result("himmelblau", "A", [0.1] * 6 + [INF], ended_at=[0, 0, 1, 2, 4, -1, -1]),
            result("himmelblau", "B", [0.2] * 7, ended_at=[3, 3, 3, 3, 2, 1, 0]),
        ],
        (facts("himmelblau", places=places, kind="landscape"),),
    )
    headings, lines = place_cells(c, "himmelblau")
    assert headings == ["runs ending at", *places[:4], "another", "none", "diverged"]
    assert lines == [["A", "2", "1", "1", "·", "1", "1", "1"], ["B", "1", "1", "1", "4", "·", "·", "·"]]
    assert sum(rows(c, "himmelblau")[0].ended_at.values()) == 5
    assert "(3.6, -1.8)" in printed(rich_table(headings, lines), 100)
    assert all(len(line) <= 60 and "…" not in line for line in printed(rich_table(headings, lines), 60).splitlines())
    assert place_cells(usual(), "moons") is None


# Sentences --------------------------------------------------------------------------------------------------------------


def test_what_may_be_said():
    said = sentences(usual(), "moons")
    assert len(said) == 2
    assert all(text.startswith(("Adam ends lower than SGD: by 0.30", "Lion ends lower than SGD: by 0.30")) for text in said)
    assert "p = 0.00098 after Holm's correction, 12 seeds)." in said[0]
    said = sentences(usual(names=("SGD", "Lion", "Adam")), "moons")
    assert "Lion is not distinguishable from Adam with 12 seeds" not in said[0]
    assert "ends lower than Adam" in said[0]


def test_ties_failures_and_higher_losses_in_words():
    tie = Pair("A", "B", 1, 0.5, 0.5, 0.5, 1.0, 1.0, 1)
    assert sentence(tie) == "A is not distinguishable from B with 1 seed (median difference 0.5, p = 1)."
    higher = Pair("A", "B", 10, 0.5, 0.25, INF, 0.002, 0.002, 1)
    assert (
        sentence(higher) == "A ends higher than B: by 0.5 in the median (95 % interval 0.25 to inf, p = 0.002, 10 seeds)."
    )
    lower = Pair("A", "B", 10, -0.5, -0.75, -0.25, 0.002, 0.004, 2)
    assert "by 0.5 in the median (95 % interval 0.25 to 0.75, p = 0.004 after Holm's correction, 10 seeds)" in sentence(
        lower
    )
    lost = Pair("A", "B", 10, -INF, -INF, -0.25, 0.002, 0.002, 1)
    assert sentence(lost) == "A ends lower than B: most runs of B diverged (p = 0.002, 10 seeds)."
    assert "most runs of A diverged" in sentence(replace(lost, difference=INF, low=0.25, high=INF))


@pytest.mark.parametrize("n", [1, 2, 5])
def test_too_few_seeds_show_nothing_and_the_reader_is_told_once(n):
    c, seeds = usual(n), f"{n} seed{'s' * (n > 1)}"
    told = f"With {seeds} no difference from SGD could be shown, however large: 2 tests at the 5 % level take at least 7 seeds."
    assert sentences(c, "moons") == [told]
    assert not any("no difference" in text for text in warnings(c, "moons"))
    assert set(groups(c, "moons").values()) == {"a"}
    two = replace(c, optimizers=("Adam", "SGD"), results=(c.results[0], c.results[2]))
    assert sentences(two, "moons")[0].endswith("1 test at the 5 % level takes at least 6 seeds.")


def test_an_interval_that_leaves_out_0_says_why_the_verdict_differs():
    pair = Pair("A", "B", 12, 0.084, 0.0323, 0.139, 0.03, 0.09, 3)
    assert "95 % interval 0.0323 to 0.139 for this pair alone, not corrected for 3 tests, p = 0.09 after" in sentence(pair)
    ranks = replace(pair, pvalue=0.23, adjusted=0.68)
    assert "0.0323 to 0.139 of the median, whereas the test ranks all runs, p = 0.68 after" in sentence(ranks)
    assert "95 % interval -0.1 to 0.139, p" in sentence(replace(pair, low=-0.1))
    assert "alone" not in sentence(replace(pair, adjusted=0.01))


def test_an_interval_needs_six_seeds():
    """The whole range of n values holds the median with probability 1 - 2 / 2^n: below 95 % for five."""
    pair = Pair("A", "B", 6, 0.5, -1.0, 2.0, 1.0, 1.0, 2)
    assert "95 % interval" in sentence(pair)
    assert sentence(replace(pair, n=5)) == (
        "A is not distinguishable from B with 5 seeds (median difference 0.5, p = 1 after Holm's correction)."
    )


def test_runs_that_diverged_are_counted_in_words_and_in_the_table():
    c = comparison([result("moons", "A", [0.2] * 12), result("moons", "B", [INF] * 2 + [0.1] * 10)])
    (said,) = sentences(c, "moons")
    assert said.startswith("A is not distinguishable from B with 12 seeds (")
    assert said.endswith("; 2 of 12 runs of B diverged).")
    for headings, lines in (cells(rows(c, "moons"))[:2], cells(rows(c, "moons"), 60)[:2]):
        assert [line[headings.index("diverged")] for line in lines] == ["2", "0"]
    assert "diverged" not in cells(rows(usual(), "moons"))[0]
    assert "diverged" not in " ".join(sentences(usual(), "moons"))
    assert "(p = 0.002, 10 seeds; 9 of 10 runs of B diverged)" in sentence(
        Pair("A", "B", 10, -INF, -INF, -0.25, 0.002, 0.002, 1), {"A": 0, "B": 9}
    )


def test_a_close_call_is_named_with_its_share():
    """Two rates that are as good as each other on three tuning seeds; the share is counted over all 27 resamples."""
    trials = [[0.1, 0.2, 0.9], [0.15, 0.25, 0.12]]
    medians = np.array([[np.median(np.take(t, draw)) for t in trials] for draw in product(range(3), repeat=3)])
    share = (medians[:, 1] <= medians[:, 0]).mean()
    assert 0.25 < share < 0.75
    close = result("moons", "A", [0.1] * 8, chosen=1)
    close = replace(close, trials=tuple(replace(close.trials[i], losses=np.array(t)) for i, t in enumerate(trials)))
    c = comparison([close, result("moons", "B", [0.1] * 8)])
    (call,) = [text for text in warnings(c, "moons") if "close call" in text]
    name, lr, percent = re.search(r"Chosen by a close call: (\w+) \((\S+), (\d+)%\)\. So often", call).groups()
    assert (name, lr) == ("A", "0.003")
    assert float(percent) / 100 == pytest.approx(share, abs=0.04)


def test_a_clear_choice_and_one_without_a_choice_are_no_close_calls():
    clear = usual()
    single = replace(clear.results[0], trials=clear.results[0].trials[:1], chosen=0)
    lost = result("moons", "L", [INF] * 12, chosen=0, medians=[INF] * 5)
    lost.trials[1].losses[0] = 0.1  # in some resamples, this one has a finite median
    c = comparison([*clear.results[1:], single, lost])
    assert not any("close call" in text for text in warnings(c, "moons"))


def test_enough_for_the_baseline_but_not_for_all_pairs():
    c = usual(9, tuple("ABCDEFGH"), (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7))
    assert set(groups(c, "moons").values()) == {"a"}
    assert any(
        "28 pairs apart takes at least 11 seeds. Against the baseline alone, 9 are enough" in w
        for w in warnings(c, "moons")
    )
    assert all("lower than H" in text for text in sentences(c, "moons"))


def test_nothing_is_said_where_all_runs_diverged():
    c = comparison([result("moons", name, [INF] * 8, steps=[INF] * 8) for name in "AB"])
    (said,) = sentences(c, "moons")
    assert "(median difference 0, 95 % interval 0 to 0, p = 1; 8 of 8 runs of A diverged; 8 of 8 runs of B div" in said
    assert "No run reached the target 0.2 in 100 steps." in warnings(c, "moons")
    assert [row.median for row in rows(c, "moons")] == [INF, INF]


def test_what_is_missing_is_said():
    c = usual()
    without = replace(c, results=tuple(r for r in c.results if r.optimizer != "SGD"))
    assert sentences(without, "moons") == ["There is nothing to say: SGD, the baseline, was not finished on moons."]
    assert pairs_with_baseline(without, "moons") == []
    assert "SGD was not finished." in warnings(without, "moons")
    assert [row.optimizer for row in rows(without, "moons")] == ["Lion", "Adam"]
    assert sentences(replace(c, results=c.results[-1:], optimizers=("SGD",)), "moons") == []


def test_an_edge_is_a_warning():
    assert "Lion (0.1) was best at the edge of the rates: a better rate may lie beyond." in warnings(usual(), "moons")
    assert not any("Adam" in text for text in warnings(usual(), "moons"))
    assert "0.1 EDGE" in printed(terminal_table(usual(), "moons", 80)[0], 80)
    lost = comparison([result("moons", "A", [INF] * 6, chosen=0, medians=[INF] * 5), result("moons", "B", [0.1] * 6)])
    assert not any("edge" in text for text in warnings(lost, "moons"))


def test_the_protocol_and_the_problem_in_words():
    c = usual()
    text = " ".join(protocol(c))
    for part in (
        "5 trials each (rates from 0.001 to 0.1), all on 3 seeds",
        "12 fresh seeds",
        "against SGD, which was named before",
    ):
        assert part in text
    assert about(c.problems[0]) == "the moons of the tests; validation loss after 100 steps, target 0.2."
    assert "3 trials each (rate 0.1), all on 1 seed" in protocol(replace(c, budget=3, grid=(0.1,), tuning_seeds=(1,)))[0]
    assert "Tuning: none, every optimizer ran at its default rate." in protocol(replace(c, budget=1))[0]


# Several problems -------------------------------------------------------------------------------------------------------


def test_a_suite_is_judged_by_profiles_and_ranks():
    found = judge_suite(suite())
    np.testing.assert_allclose(found.ratios, [[1, 2, 3, 4]] * 6)
    np.testing.assert_allclose(found.areas, [1, 2 / 3, 1 / 3, 0])
    assert found.ranks.tolist() == [1, 2, 3, 4]
    assert found.letters == {"o0": "a", "o1": "ab", "o2": "bc", "o3": "c"}  # a critical difference of 1.91
    text = " ".join(suite_sentences(found))
    assert "Nearest to the fastest on 6 problems: o0 (area under the performance profile 1," in text
    assert (
        "By their ranks o2 and o3 fall behind o0; o0 and o1 cannot be told apart (Friedman's test on 6 problems, p = 0.00044"
        in text
    )
    headings, lines = suite_cells(found)
    assert headings == ["optimizer", "area of profile", "mean rank", "group"]
    assert lines[0] == ["o0", "1.00", "1.00", "a"]


def test_one_that_falls_behind_is_one():
    text = suite_sentences(judge_suite(suite(k=3)))[1]
    assert "By their ranks o2 falls behind o0; o0 and o1 cannot be told apart" in text


def test_a_small_suite_has_no_ranks():
    found = judge_suite(suite(problems=4))
    assert found.ranks is found.friedman is found.letters is None
    assert "Ranks are not tested: that takes at least 5 problems and 3 optimizers." in suite_sentences(found)
    assert suite_cells(found)[0] == ["optimizer", "area of profile"]
    assert judge_suite(usual()) is None
    unfinished = suite(problems=2)
    assert judge_suite(replace(unfinished, results=unfinished.results[1:])) is None


def test_a_cost_is_the_median_number_of_steps():
    steps = {"A": [10, 10, 1000, 10, 10], "B": [30] * 5}
    c = comparison(result(f"p{p}", name, [0.1] * 5, steps=steps[name]) for p in range(2) for name in "AB")
    np.testing.assert_allclose(judge_suite(c).ratios, [[1, 3]] * 2)


def test_nemenyi_has_no_say_where_friedman_sees_nothing():
    """Five optimizers, two of which are just far enough apart for the one test, while the other sees nothing in all five."""
    rng = np.random.default_rng(0)
    while True:
        values = rng.permuted(np.tile(np.arange(1.0, 6), (6, 1)), axis=1)
        found = friedman(values)
        if found.pvalue >= 0.05 and (nemenyi(found.ranks, 6) < 0.05).any():
            break
    c = comparison(result(f"p{p}", f"o{i}", [values[p, i]] * 6) for p in range(6) for i in range(5))
    assert set(judge_suite(c).letters.values()) == {"a"}


def test_ranks_that_do_not_differ():
    rng = np.random.default_rng(1)
    c = comparison(result(f"p{p}", f"o{i}", 0.1 + rng.random(6)) for p in range(6) for i in range(3))
    found = judge_suite(c)
    assert set(found.letters.values()) == {"a"}
    assert any("By their ranks the optimizers are not distinguishable" in text for text in suite_sentences(found))


def test_targets_that_nobody_reaches():
    c = comparison(result(f"p{p}", f"o{i}", [1.0] * 6, steps=[INF] * 6) for p in range(2) for i in range(2))
    found = judge_suite(c)
    assert suite_sentences(found)[0] == "No optimizer reached a target in half of its runs, on any problem."
    assert suite_cells(found)[0] == ["optimizer"]
    assert "area" not in text(c)
    assert "area of profile" in text(suite(problems=2))


# As text ----------------------------------------------------------------------------------------------------------------


def test_a_printed_comparison_is_short_and_points_to_the_verdicts():
    c = usual()
    assert repr(c) == "<Comparison: 3 optimizers on moons, 12 seeds, baseline 'SGD'>"
    lines = str(c).splitlines()
    assert lines[0] == repr(c)
    assert lines[2] == "moons: validation loss after 100 steps"
    assert [line.split()[0] for line in lines[4:7]] == [row.optimizer for row in rows(c, "moons")]
    assert float(lines[4].split()[1]) == pytest.approx(rows(c, "moons")[0].median, rel=1e-2)
    assert len(lines) == 9
    assert "table.text(comparison)" in lines[-1]
    assert repr(suite(problems=6)).startswith("<Comparison: 4 optimizers on 6 problems, ")


def test_the_text_has_table_sentences_and_warnings_without_markup():
    c = usual(9, tuple("ABCDEFGH"), (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7))
    found = text(c)
    for part in (*sentences(c, "moons"), *(f"note: {w}" for w in warnings(c, "moons")), about(c.problems[0])):
        assert part in found
    table = found.splitlines()[1:10]
    assert len({len(line) for line in table}) == 1
    assert table[0].split() == " ".join(cells(rows(c, "moons"))[0]).split()
    assert text(suite()).count("\n\n") == 6
    for said in suite_sentences(judge_suite(suite())):
        assert said in text(suite())


# Files ------------------------------------------------------------------------------------------------------------------


def test_a_saved_comparison_says_the_same(tmp_path):
    c = usual(8)
    again = Comparison.load(c.save(tmp_path / "c.json"))
    assert rows(again, "moons") == rows(c, "moons")
    assert sentences(again, "moons") == sentences(c, "moons")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda d: d | {"schema": "tinynet-comparison/99"}, "its schema is 'tinynet-comparison/99'"),
        (lambda d: d | {"results": [{}]}, "is a broken comparison"),
        (lambda d: {k: v for k, v in d.items() if k != "seeds"}, "is a broken comparison: KeyError 'seeds'"),
        (lambda d: [d], "not a comparison"),
    ],
)
def test_files_that_are_something_else(tmp_path, change, text):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(change(usual(8).to_json())))
    with pytest.raises(ComparisonError, match=text):
        Comparison.load(path)
