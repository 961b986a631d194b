"""Trials on a Dask cluster: a real scheduler and two worker processes, one of which is killed on the way."""

import os
import signal

import numpy as np
import pytest
from test_trials import calls, fail_at_two, note, note_slowly, product

from tinynet.comparison import compare
from tinynet.comparison.trials import TrialError, run_trials

distributed = pytest.importorskip("distributed", reason="the extra `cluster` is not installed")


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0
    ) as cluster:
        yield cluster


def test_the_results_are_those_of_this_process(cluster):
    specs = [{"seed": i} for i in range(8)]
    assert run_trials(product, specs, executor=cluster.scheduler_address) == run_trials(product, specs)


def test_the_trials_of_a_killed_worker_are_made_again_and_none_is_lost_or_counted_twice(cluster, tmp_path):
    log, store, seen = tmp_path / "log", tmp_path / "trials.jsonl", []
    specs = [{"i": i, "log": str(log)} for i in range(60)]
    victim = next(iter(cluster.workers.values())).pid

    def kill(done, of):
        seen.append(done)
        if done == 10:
            os.kill(victim, signal.SIGKILL)

    results = run_trials(note_slowly, specs, executor=cluster.scheduler_address, store=store, progress=kill)
    assert results == [i**2 for i in range(60)]
    assert seen == list(range(61))  # every result was counted once
    assert set(calls(log)) == set(range(60))
    assert len(store.read_text().splitlines()) == 60


def test_an_exception_on_a_worker_is_told_here(cluster, tmp_path):
    specs = [{"i": i, "log": str(tmp_path / "log")} for i in range(5)]
    with pytest.raises(TrialError, match=r'the trial {"i":2,.* failed: ValueError: two is not to my taste'):
        run_trials(fail_at_two, specs, executor=cluster.scheduler_address)


def test_what_another_executor_has_done_is_not_done_again(cluster, tmp_path):
    log, store = tmp_path / "log", tmp_path / "trials.jsonl"
    specs = [{"i": i, "log": str(log)} for i in range(4)]
    run_trials(note, specs[:2], store=store)
    assert run_trials(note, specs, store=store, executor=cluster.scheduler_address) == [0, 1, 4, 9]
    assert calls(log) == [0, 1, 2, 3]


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense://"])
def test_a_scheduler_that_does_not_answer_is_named(address, monkeypatch):
    monkeypatch.setattr("tinynet.comparison.trials.PATIENCE", 1)
    with pytest.raises(ConnectionError, match=f"no Dask scheduler answers at '{address}' .*dask scheduler"):
        run_trials(note, [1], executor=address)


def test_a_comparison_is_the_same_on_a_cluster(cluster):
    settings = {"on": ["quadratic-10", "moons"], "grid": [0.01, 0.1], "tuning_seeds": 2, "seeds": 3, "steps": 20}
    here = compare(["adam", "sgd"], **settings)
    there = compare(["adam", "sgd"], executor=cluster.scheduler_address, **settings)
    for a, b in zip(here.results, there.results, strict=True):
        assert np.array_equal(a.tuned.curves, b.tuned.curves)
        assert [t.losses.tolist() for t in a.trials] == [t.losses.tolist() for t in b.trials]
