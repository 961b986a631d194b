"""The search for settings: what is tried, by whom one is chosen, and that choosing and judging use different seeds."""

import json
import math

import numpy as np
import pytest

from monitor import load_runs
from tinynet.comparison.pictures import pictures
from tinynet.comparison.report import write_comparison
from tinynet.comparison.searching import USUAL, LogUniform, Uniform, _candidates, _rungs, search, train_once

QUICK = {"tuning_seeds": 2, "seeds": 2, "epochs": 3}


def test_a_grid_is_every_combination_in_order():
    found = _candidates({"hidden": [(), (4, 4)], "lr": [0.1, 0.01]}, "grid", None, 0)
    assert [c.name for c in found] == [
        "hidden=none lr=0.1",
        "hidden=none lr=0.01",
        "hidden=4,4 lr=0.1",
        "hidden=4,4 lr=0.01",
    ]


def test_draws_are_from_the_seed_within_the_bounds_and_each_once():
    space = {"lr": LogUniform(1e-4, 1e-1), "dropout": Uniform(0, 0.5), "activation": ["relu", "tanh"]}
    found = [c.settings for c in _candidates(space, "random", 300, 1)]
    assert found == [c.settings for c in _candidates(space, "random", 300, 1)]
    assert found != [c.settings for c in _candidates(space, "random", 300, 2)]
    lr, dropout = (np.array([s[name] for s in found]) for name in ("lr", "dropout"))
    assert 1e-4 <= lr.min() < 2e-4 < 5e-2 < lr.max() <= 1e-1
    assert 0.4 < np.mean(lr < 10**-2.5) < 0.6  # the middle of the orders of magnitude
    assert 0 <= dropout.min() < 0.05 < 0.45 < dropout.max() <= 0.5
    assert {s["activation"] for s in found} == {"relu", "tanh"}
    small = _candidates({"hidden": [(2,), (4,)], "l2": [0, 1]}, "random", 50, 0)
    assert len({c.name for c in small}) == len(small) == 4


@pytest.mark.parametrize(
    ("epochs", "n", "rungs"),
    [
        (81, 27, [(3, 27), (9, 9), (27, 3), (81, 1)]),
        (100, 10, [(11, 10), (33, 3), (100, 1)]),
        (5, 9, [(1, 9), (2, 3), (5, 1)]),
        (1, 9, [(1, 9), (1, 3), (1, 1)]),
        (50, 2, [(50, 2)]),
        (50, 1, [(50, 1)]),
    ],
)
def test_halving_trains_a_third_for_three_times_as_long(epochs, n, rungs):
    assert _rungs("halving", epochs, n) == rungs


def test_the_best_is_found_and_judged_on_fresh_seeds_beside_the_usual_settings():
    space = {"hidden": [(16,)], "lr": [1e-5, 1e-2, 1e3]}
    found = search(space, "moons", finalists=2, tuning_seeds=2, seeds=3, epochs=15)
    assert [c.settings["lr"] for c in found.candidates[:2]] == [1e-2, 1e-5]
    assert found.best.name == "hidden=16 lr=0.01"
    c = found.comparison
    assert c.optimizers == (USUAL, "hidden=16 lr=0.01", "hidden=16 lr=1e-05")
    assert c.baseline == USUAL
    assert set(c.tuning_seeds).isdisjoint(c.seeds)
    result = c.result("moons", found.best.name)
    assert result.tuned.curves.shape == (3, 16)
    alone = train_once({"settings": {"data": "moons", "hidden": (16,), "lr": 1e-2, "seed": 3, "epochs": 15},
                        "metric": "loss", "runs": None, "name": "x"})  # fmt: skip
    assert result.tuned.curves[1].tolist() == alone["curve"]
    assert result.trials[0].losses.tolist() == found.candidates[0].losses


def test_what_diverges_loses_and_hurts_nothing():
    found = search({"lr": [1e-2, 1e30], "optimizer": ["sgd"], "activation": ["identity"]}, finalists=2, **QUICK)
    assert found.candidates[1].settings["lr"] == 1e30
    assert found.candidates[1].losses == [math.inf, math.inf]
    assert np.isinf(found.comparison.result("moons", found.candidates[1].name).tuned.final).all()
    assert found.best.settings["lr"] == 1e-2


def test_the_share_of_errors_is_a_metric_too():
    found = search({"hidden": [(8,)]}, metric="error", **QUICK)
    curves = found.comparison.results[0].tuned.curves
    assert found.comparison.problems[0].metric == "validation error"
    assert ((curves >= 0) & (curves <= 1)).all()


def test_halving_drops_two_thirds_after_a_third_of_the_epochs():
    found = search({"lr": LogUniform(1e-6, 1e-1)}, method="halving", candidates=9, finalists=1, tuning_seeds=1, seeds=1,
                   epochs=9)  # fmt: skip
    assert [c.epochs for c in found.candidates] == [9, 3, 3, 1, 1, 1, 1, 1, 1]
    assert all(len(c.losses) == 1 for c in found.candidates)
    assert found.candidates[0].settings["lr"] > np.median([c.settings["lr"] for c in found.candidates])


def test_processes_and_a_store_change_nothing(tmp_path):
    space = {"hidden": [(4,), (8,)]}
    here = search(space, store=tmp_path / "trials.jsonl", **QUICK)
    there = search(space, executor=2, **QUICK)
    again = search(space, store=tmp_path / "trials.jsonl", **QUICK)
    for other in (there, again):
        assert [c.losses for c in other.candidates] == [c.losses for c in here.candidates]
        for a, b in zip(here.comparison.results, other.comparison.results, strict=True):
            assert np.array_equal(a.tuned.curves, b.tuned.curves)
    assert (
        len((tmp_path / "trials.jsonl").read_text().splitlines()) == (2 + 1) * 2 + 3 * 2
    )  # tuning, with the usual settings, and fresh runs


def test_every_training_is_recorded_where_one_asks_for_it(tmp_path):
    search(
        {"lr": [1e-2, 1e30], "optimizer": ["sgd"], "activation": ["identity"]}, finalists=1, runs=tmp_path / "runs", **QUICK
    )
    runs = load_runs(tmp_path / "runs")
    assert len(runs) == (2 + 1) * 2 + 2 * 2
    assert {run.status for run in runs} == {"finished", "failed"}
    assert "moons lr=0.01 optimizer=sgd activation=identity seed 1" in {run.name for run in runs}
    assert {run.config["seed"] for run in runs} == {0, 1, 2, 3}


def test_the_comparison_can_be_saved(tmp_path):
    comparison = search({"hidden": [(4,)]}, **QUICK).comparison
    back = type(comparison).load(comparison.save(tmp_path / "search.json"))
    assert json.dumps(back.to_json()) == json.dumps(comparison.to_json())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"space": {}}, ValueError, 'the space is empty: give it settings and their choices, such as {"hidden"'),
        ({"space": {"lr": []}}, ValueError, "the space has no points: 'lr' has no choices"),
        ({"space": {"lrr": [1]}}, ValueError, "unknown setting 'lrr': did you mean 'lr'"),
        ({"space": {"seed": [1]}}, ValueError, "unknown setting 'seed'"),
        ({"space": {"lr": 0.1}}, TypeError, "the choices of 'lr' must be a list, Uniform or LogUniform, got 0.1"),
        ({"space": {"optimizer": "sgd"}}, TypeError, "the choices of 'optimizer' must be a list"),
        ({"space": {"lr": [0.1, 0.1]}}, ValueError, r"a choice of 'lr' is given twice: \[0.1, 0.1\]"),
        ({"space": [1]}, TypeError, 'space must be a dict such as {"lr": LogUniform'),
        ({"space": {"lr": Uniform(0, 1)}}, ValueError, r"a grid needs lists of choices, 'lr' is Uniform\(low=0"),
        ({"candidates": 3}, ValueError, "a grid is tried whole; candidates=3 is for method='random' or 'halving'"),
        ({"method": "random"}, ValueError, "method='random' needs to know how many candidates to draw"),
        ({"method": "random", "candidates": 0}, ValueError, "search: candidates must be a positive whole number, got 0"),
        ({"method": "randon"}, ValueError, "unknown method 'randon': did you mean 'random'"),
        ({"seeds": 0}, ValueError, "search: seeds must be a positive whole number, got 0"),
        ({"finalists": 1.5}, ValueError, "search: finalists must be a positive whole number, got 1.5"),
        ({"on": "mons"}, ValueError, "mons"),
        ({"on": "sine", "metric": "error"}, ValueError, "'sine' has no classes to be wrong about: pass metric='loss'"),
        ({"metric": "accuracy"}, ValueError, "unknown metric 'accuracy'. There are: error, loss|unknown metric"),
        ({"space": {"lr": [0.1], "optimizer": ["sdg"]}}, ValueError, "unknown optimizer 'sdg': did you mean 'sgd'"),
        ({"space": {"dropout": [1.5]}}, ValueError, "dropout must be in"),
    ],
)  # fmt: skip
def test_errors_say_what_to_do_before_anything_is_trained(arguments, error, message, monkeypatch):
    monkeypatch.setattr("tinynet.comparison.searching.run_trials", lambda *_, **__: pytest.fail("it was trained"))
    with pytest.raises(error, match=message):
        search(**{"space": {"hidden": [(4,)]}, **arguments})


@pytest.mark.parametrize("bounds", [(0, 1), (2, 1), (1, math.inf), (math.nan, 1)])
def test_bounds_of_orders_of_magnitude_are_positive(bounds):
    with pytest.raises(ValueError, match="LogUniform: the bounds must be 0 < low <= high, got"):
        LogUniform(*bounds)


def test_what_a_search_found_can_be_shown_like_any_comparison(tmp_path):
    comparison = search({"lr": [1e-2, 1e-3]}, **QUICK).comparison
    assert comparison.problems[0].target == pytest.approx(
        np.median([train_once({"settings": {"data": "moons", "seed": s, "epochs": 3}, "metric": "loss", "runs": None,
                               "name": "x"})["curve"][-1] for s in (0, 1)]))  # fmt: skip
    page = write_comparison(comparison, tmp_path / "search.html").read_text()
    for text in ("epochs", "ms/epoch", "after 3 epochs", "2 candidates, each on 2 seeds", USUAL):
        assert text in page
    assert [name for name, _, _ in pictures(comparison)] == ["moons-curves"]
    curves, steps = comparison.results[0].tuned.curves, comparison.results[0].tuned.steps_to_target
    for curve, arrived in zip(curves, steps, strict=True):
        first = next((i for i, loss in enumerate(curve) if loss <= comparison.problems[0].target), math.inf)
        assert arrived == first
