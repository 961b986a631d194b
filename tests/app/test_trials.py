"""Trials on executors: every result once, the same wherever it was computed, and none lost when a process dies."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor import RecorderError
from tinynet.comparison.trials import TrialError, run_trials

# Functions that other processes call by their names --------------------------------------------------------------------


def product(spec):
    """A matrix product large enough for BLAS to share among threads, if it may."""
    a, b = np.random.default_rng(spec["seed"]).standard_normal((2, 300, 300)).astype(np.float32)
    return {"seed": spec["seed"], "sum": float((a @ b).sum()), "bits": (a @ b).tobytes().hex()[:64]}


def note(spec):
    """Leaves a line for every call."""
    with open(spec["log"], "a") as log:
        log.write(f"{spec['i']}\n")
    return spec["i"] ** 2


def die_once(spec):
    note(spec)
    if spec["i"] == 3 and not os.path.exists(spec["died"]):
        Path(spec["died"]).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return spec["i"] ** 2


def die(spec):
    os.kill(os.getpid(), signal.SIGKILL)


def fail_at_two(spec):
    note(spec)
    if spec["i"] == 2:
        raise ValueError("two is not to my taste")
    return spec["i"]


def same(spec):
    return spec


def no_plain_data(spec):
    return object()


def calls(log):
    return sorted(int(line) for line in log.read_text().split()) if log.exists() else []


# Results ---------------------------------------------------------------------------------------------------------------


def test_the_results_are_the_same_wherever_they_were_computed(tmp_path):
    specs = [{"seed": i} for i in range(5)]
    expected = run_trials(product, specs)
    assert [r["seed"] for r in expected] == list(range(5))
    assert run_trials(product, specs, executor=2) == expected
    with ThreadPoolExecutor(2) as pool:
        assert run_trials(product, specs, executor=pool) == expected
    assert run_trials(product, specs, store=tmp_path / "new" / "trials.jsonl") == expected
    assert run_trials(product, specs, store=tmp_path / "new" / "trials.jsonl") == expected


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
).filter(lambda value: not any(word in repr(value) for word in ("'nan'", "'inf'", "'-inf'")))  # stand for the numbers


@given(plain)
def test_plain_data_comes_back_as_it_was(value):
    [result] = run_trials(same, [value])
    assert json.dumps(result, sort_keys=True) == json.dumps(value, sort_keys=True)


def test_numpy_numbers_and_tuples_are_plain_data_too():
    assert run_trials(same, [{"a": np.float32(0.1), "b": (1, 2), "c": np.arange(3), "d": math.inf}]) == [
        {"a": float(np.float32(0.1)), "b": [1, 2], "c": [0, 1, 2], "d": math.inf}
    ]


def test_progress_is_told_at_the_start_and_after_every_result():
    seen = []
    run_trials(same, [1, 2, 3], progress=lambda done, of: seen.append((done, of)))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


# Going on --------------------------------------------------------------------------------------------------------------


def test_a_second_call_makes_only_the_calls_that_are_left(tmp_path):
    log, store, seen = tmp_path / "log", tmp_path / "trials.jsonl", []
    specs = [{"i": i, "log": str(log)} for i in range(6)]
    assert run_trials(note, specs[:4], store=store) == [0, 1, 4, 9]
    assert run_trials(note, specs[::-1], store=store, progress=lambda *n: seen.append(n)) == [25, 16, 9, 4, 1, 0]
    assert calls(log) == [0, 1, 2, 3, 4, 5]
    assert seen[0] == (4, 6)


def test_a_line_torn_anywhere_costs_one_trial_at_most(tmp_path):
    log, store = tmp_path / "log", tmp_path / "trials.jsonl"
    specs = [{"i": i, "log": str(log)} for i in range(3)]
    run_trials(note, specs, store=store)
    whole = store.read_bytes()
    last = whole[:-1].rfind(b"\n") + 1
    for cut in range(last, len(whole)):
        log.unlink(missing_ok=True)
        store.write_bytes(whole[:cut])
        assert run_trials(note, specs, store=store) == [0, 1, 4]
        assert calls(log) == ([] if cut == len(whole) - 1 else [2])


def test_lines_that_are_no_results_are_passed_over(tmp_path):
    store = tmp_path / "trials.jsonl"
    store.write_bytes(b'{"v":1}\n\xff\xfe\n[]\n3\n' + b"[" * 100_000 + b"\n")
    assert run_trials(same, [1], store=store) == [1]


@pytest.mark.parametrize("content", [b"my notes\n", b"x", b'{"version": 3}', b"\x00"])
def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path, content):
    (tmp_path / "notes").write_bytes(content)
    with pytest.raises(ValueError, match=r"notes' holds something else than results of trials: use another file"):
        run_trials(same, [1], store=tmp_path / "notes")
    assert (tmp_path / "notes").read_bytes() == content


def test_a_store_of_another_function_or_version_is_refused(tmp_path):
    store = tmp_path / "trials.jsonl"
    run_trials(same, [1], store=store)
    with pytest.raises(
        ValueError, match=r"trials.jsonl' holds results of test_trials.same \(version 1\), not of test_tr.*no"
    ):
        run_trials(note, [1], store=store)
    store.write_text(json.dumps({**json.loads(store.read_text()), "v": 2}) + "\n")
    with pytest.raises(ValueError, match=r"holds results of test_trials.same \(version 2\)"):
        run_trials(same, [1], store=store)


def test_two_at_once_cannot_use_one_store(tmp_path):
    store = tmp_path / "trials.jsonl"

    def inner(spec):
        with pytest.raises(RecorderError, match="is being recorded by another"):
            run_trials(same, [2], store=store)
        return spec

    assert run_trials(inner, [1], store=store) == [1]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_is_said(tmp_path):
    (tmp_path / "trials.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"trials.jsonl'"):
        run_trials(same, [1], store=tmp_path / "trials.jsonl")


# Processes that die ----------------------------------------------------------------------------------------------------


def test_a_process_that_dies_is_replaced_and_no_trial_lost(tmp_path):
    log = tmp_path / "log"
    specs = [{"i": i, "log": str(log), "died": str(tmp_path / "died")} for i in range(8)]
    assert run_trials(die_once, specs, executor=2) == [i**2 for i in range(8)]
    assert set(calls(log)) == set(range(8))
    assert calls(log).count(3) == 2


def test_a_trial_that_always_kills_its_process_is_given_up(tmp_path):
    with pytest.raises(TrialError, match=r'the processes died \(of memory\?\) with 1 trials left, {"i":1} among them'):
        run_trials(die, [{"i": 1}], executor=1)


@pytest.mark.parametrize("executor", [None, 1])
def test_an_exception_ends_all_and_keeps_what_is_finished(tmp_path, executor):
    log, store = tmp_path / "log", tmp_path / "trials.jsonl"
    specs = [{"i": i, "log": str(log)} for i in range(50)]
    with pytest.raises(TrialError, match=r'the trial {"i":2,.* failed: ValueError: two is not to my taste'):
        run_trials(fail_at_two, specs, executor=executor, store=store)
    finished = [json.loads(line)["result"] for line in store.read_text().splitlines()]
    assert finished[:2] == [0, 1]
    assert sorted([*finished, 2]) == calls(log)  # what was begun was kept
    assert len(finished) < 49


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_keeps_what_is_finished(tmp_path):
    """And what was begun is waited for."""
    script = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); from test_trials import note_slowly\n"
        "from tinynet.comparison.trials import run_trials\n"
        "if __name__ == '__main__':\n"
        "    specs = [{'i': i, 'log': sys.argv[2] + '/log'} for i in range(100)]\n"
        "    run_trials(note_slowly, specs, executor=2, store=sys.argv[2] + '/trials.jsonl')\n"
    )
    (tmp_path / "script.py").write_text(script)
    here = str(Path(__file__).parent)
    process = subprocess.Popen([sys.executable, tmp_path / "script.py", here, tmp_path], stderr=subprocess.PIPE, text=True)
    log = tmp_path / "log"
    while len(calls(log)) < 4:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert error.rstrip().endswith("KeyboardInterrupt")
    finished = [json.loads(line)["result"] for line in (tmp_path / "trials.jsonl").read_text().splitlines()]
    assert sorted(finished) == [i**2 for i in calls(log)]
    assert len(finished) < 100


def note_slowly(spec):
    time.sleep(0.05)
    return note(spec)


# Bad input -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"specs": [1, 2, 1]}, ValueError, "two trials are the same: 1"),
        ({"specs": [{1: 2}]}, TypeError, "plain data, whose names are strings; got the name 1"),
        ({"specs": [{"a": [len]}]}, TypeError, r"plain data \(numbers, strings, lists, dicts\), got builtin_function"),
        ({"specs": [1], "executor": 0}, ValueError, "executor: the number of processes must be at least 1, got 0"),
        ({"specs": [1], "executor": 2.5}, TypeError, "executor must be a number of processes, an address or an Exec.*2.5"),
        ({"specs": [1], "executor": True}, TypeError, "executor must be a number of processes"),
        (
            {"specs": [1], "function": no_plain_data},
            TrialError,
            "the trial 1 failed: TypeError: .* plain data .*got object",
        ),
    ],
)
def test_errors_say_what_to_do(arguments, error, message):
    with pytest.raises(error, match=message):
        run_trials(**{"function": same, **arguments})


def test_no_trials_have_no_results():
    assert run_trials(same, [], executor=2) == []
