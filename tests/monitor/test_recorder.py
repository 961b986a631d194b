"""The recorder: the format of an event, what log() promises, how a run ends, kill -9, a full disk, and reading back.

A child process that logs and acknowledges each log() through a pipe is killed; nothing acknowledged may be lost.
"""

import json
import math
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tracemalloc
import warnings
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from monitor import Recorder, RecorderError, Run, load_runs, per_example, store

POSIX = pytest.mark.skipif(os.name == "nt", reason="POSIX signals and limits")


def lines(recorder):
    """The events as they lie in the file now, read by a descriptor of its own."""
    return [json.loads(line) for line in (recorder.path / "events.jsonl").read_bytes().splitlines()]


# Format -----------------------------------------------------------------------------------------------------------------


def test_an_event_has_the_documented_fields(tmp_path):
    with Recorder(tmp_path, name="moons", config={"lr": 0.1}) as recorder:
        recorder.log(loss=0.5)
        recorder.event("eval", 1, {"val/loss": np.float32(0.25)}, epoch=np.int64(2))
        recorder.event("checkpoint", 1, {"role": "best", "file": "step-00000001"}, epoch=2)
        recorder.note("why")
    events = lines(recorder)
    assert all(list(event) == ["v", "k", "s", "e", "t", "g", "d"] for event in events)
    assert [event["k"] for event in events] == ["start", "step", "eval", "checkpoint", "note", "stop"]
    assert [event["s"] for event in events] == [0, 1, 1, 1, 1, 1]
    assert [event["e"] for event in events] == [None, None, 2, 2, None, None]
    assert {event["v"] for event in events} == {1}
    assert {event["g"] for event in events} == {0}
    times = [event["t"] for event in events]
    assert times == sorted(times)
    assert times[0] >= 0
    assert [event["d"] for event in events] == [
        {},
        {"loss": 0.5},
        {"val/loss": 0.25},
        {"role": "best", "file": "step-00000001"},
        {"text": "why"},
        {"status": "finished", "reason": None},
    ]


def test_run_json_says_what_was_run(tmp_path):
    recorder = Recorder(tmp_path, name="moons/1", config={"lr": np.float32(0.5), "clip": math.inf})
    meta = store.read_json(recorder.path / "run.json")
    assert meta["schema"] == 1
    assert (meta["name"], meta["status"], meta["ended"]) == ("moons/1", "running", None)
    assert meta["config"] == {"lr": 0.5, "clip": "inf"}
    assert meta["versions"]["numpy"] == np.__version__
    assert meta["process"]["pid"] == os.getpid()
    assert meta["command"] == sys.argv
    assert datetime.fromisoformat(meta["started"]).tzinfo is not None
    assert recorder.path.name.endswith("-moons-1")
    datetime.strptime(recorder.path.name[:15], "%Y%m%d-%H%M%S")

    recorder.describe(layers=[2, 16, 2], fingerprint=np.int64(7))
    assert store.read_json(recorder.path / "run.json")["layers"] == [2, 16, 2]
    recorder.finish("failed", "why not")
    meta = store.read_json(recorder.path / "run.json")
    assert (meta["status"], meta["reason"], meta["fingerprint"]) == ("failed", "why not", 7)
    assert datetime.fromisoformat(meta["ended"]).tzinfo is not None


def test_an_event_is_in_the_file_when_log_returns(tmp_path):
    recorder = Recorder(tmp_path)
    assert [event["k"] for event in lines(recorder)] == ["start"]
    with open(recorder.path / "events.jsonl", "rb") as other:
        other.seek(0, os.SEEK_END)
        for i in range(1, 20):
            recorder.log(loss=1 / i)
            written = other.read()
            assert written.endswith(b"\n")
            assert json.loads(written)["d"] == {"loss": 1 / i}
    recorder.finish()


def test_an_event_is_one_write(tmp_path, monkeypatch):
    recorder = Recorder(tmp_path)
    write, written = os.write, []
    monkeypatch.setattr(os, "write", lambda descriptor, data: written.append(bytes(data)) or write(descriptor, data))
    recorder.log(**{f"name {i}": i / 7 for i in range(1000)})
    assert len(written) == 1
    assert json.loads(written[0])["s"] == 1


# log() ------------------------------------------------------------------------------------------------------------------


def test_steps_count_on_from_the_last_one_given():
    recorder = Recorder(None)
    recorder.log(a=1)
    recorder.log(a=2)
    recorder.log(step=10, a=3)
    recorder.log(a=4)
    recorder.log(0, a=5)
    recorder.log(a=6)
    assert [event["s"] for event in recorder.run.events] == [0, 1, 2, 10, 11, 0, 1]


class Scalar:
    """A stand-in for another library's one-element tensor."""

    shape = (1, 1)

    def __init__(self, value):
        self.value = value

    def item(self):
        if isinstance(self.value, list):
            raise RuntimeError("a Tensor with 2 elements cannot be converted to Scalar")
        return self.value


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (1, 1),
        (2**60, 2**60),
        (0.1, 0.1),
        (True, 1.0),
        (np.float32(0.1), float(np.float32(0.1))),
        (np.int64(3), 3),
        (np.bool_(False), 0.0),
        (np.array(0.5), 0.5),
        (np.array([0.5]), 0.5),
        (np.array([[7]]), 7),
        (np.longdouble(1.5), 1.5),
        (Scalar(0.25), 0.25),
        (math.inf, math.inf),
        (-math.inf, -math.inf),
    ],
    ids=repr,
)
def test_whatever_is_one_number_can_be_logged(tmp_path, value, read):
    with Recorder(tmp_path) as recorder:
        recorder.log(a=value)
    for run in (recorder.run, Run.open(recorder.path)):
        assert run.last("a") == read


def test_nan_survives(tmp_path):
    with Recorder(tmp_path) as recorder:
        for value in (1.0, math.nan, np.float32("nan"), 2.0):
            recorder.log(a=value)
    for run in (recorder.run, Run.open(recorder.path)):
        np.testing.assert_array_equal(run.series("a")[1], [1.0, math.nan, math.nan, 2.0])


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (np.zeros(3), "an array of shape (3,)"),
        (np.zeros((0, 2)), "an array of shape (0, 2)"),
        (Scalar([1, 2]), "an array of shape (1, 1)"),
        ("0.5", "'0.5'"),
        (np.str_("0.5"), "np.str_('0.5')"),
        (None, "None"),
        ([1.0], "[1.0]"),
        ({"b": 1}, "{'b': 1}"),
        (1j, "1j"),
    ],
    ids=repr,
)
def test_what_is_no_number_is_an_error_that_names_it_and_records_nothing(tmp_path, value, got):
    recorder = Recorder(tmp_path)
    with pytest.raises(TypeError) as raised:
        recorder.log(fine=1.0, bad=value)
    assert str(raised.value) == f"log(bad=...): expected one number, got {got}"
    assert [event["k"] for event in lines(recorder)] == ["start"]
    assert recorder.step == 0


def test_a_number_too_large_for_a_float_is_refused_rather_than_unreadable_later():
    with pytest.raises(TypeError, match=r"log\(a=...\): expected one number"):
        Recorder(None).log(a=10**400)


def test_nothing_can_be_added_to_a_finished_run(tmp_path):
    recorder = Recorder(tmp_path, name="done")
    recorder.finish()
    for add in (lambda: recorder.log(a=1), lambda: recorder.note("late")):
        with pytest.raises(RecorderError, match="run 'done' is finished: nothing can be added to it"):
            add()
    before = lines(recorder)
    recorder.finish("failed")  # a second call does nothing
    assert lines(recorder) == before
    assert Run.open(recorder.path).status == "finished"


def test_recording_in_memory_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Recorder(root=None, name="ram", config={"a": 1}) as recorder:
        recorder.log(loss=math.nan)
        assert recorder.run.status == "running"
    assert recorder.path is None
    assert os.listdir(tmp_path) == []
    assert (recorder.run.name, recorder.run.status, recorder.run.config) == ("ram", "finished", {"a": 1})
    assert [event["k"] for event in recorder.run.events] == ["start", "step", "stop"]


def test_disk_and_memory_hold_the_same(tmp_path):
    with Recorder(tmp_path) as recorder:
        recorder.log(a=np.float32(0.1), b=math.inf)
        recorder.event("layer", 1, {"grad_norm": np.array([0.5, math.nan])}, epoch=1)
    assert Run.open(recorder.path).events == recorder.run.events


# How a run ends ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (None, "finished", None),
        (KeyboardInterrupt(), "interrupted", "Ctrl-C"),
        (ValueError("bad shape"), "failed", "ValueError: bad shape"),
        (SystemExit(3), "failed", "SystemExit: 3"),
    ],
    ids=str,
)
def test_the_status_says_how_the_with_block_was_left(tmp_path, error, status, reason):
    recorder = Recorder(tmp_path)
    try:
        with recorder:
            recorder.log(a=1)
            if error is not None:
                raise error
    except BaseException as raised:
        passed_on = raised
    else:
        passed_on = None
    assert passed_on is error
    run = Run.open(recorder.path)
    assert (run.status, run.meta["reason"]) == (status, reason)
    assert run.events[-1]["k"] == "stop"
    assert run.events[-1]["d"] == {"status": status, "reason": reason}


def test_a_run_of_this_process_is_running_and_one_of_another_machine_is_believed(tmp_path):
    recorder = Recorder(tmp_path)
    assert Run.open(recorder.path).status == "running"
    recorder.describe(process={"pid": 2**22 + 1, "host": recorder.meta["process"]["host"]})
    assert Run.open(recorder.path).status == "crashed"
    recorder.describe(process={"pid": 2**22 + 1, "host": "elsewhere"})
    assert Run.open(recorder.path).status == "running"
    recorder.finish()


CHILD = """
import os, sys
from monitor import Recorder
recorder = Recorder(sys.argv[1], name="child")
os.write(1, (str(recorder.path) + "\\n").encode())
i = 0
while True:
    i += 1
    recorder.log(**{"train/loss": 1 / i})
    os.write(1, b"%d\\n" % i)
"""


@POSIX
@pytest.mark.parametrize("seed", range(3))
def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path, seed):
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, cwd=store_root())
    with child:
        path = child.stdout.readline().decode().strip()
        for _ in range(random.Random(seed).randrange(50, 2000)):
            acknowledged = child.stdout.readline()
        assert Run.open(path).status == "running"
        child.kill()
        acknowledged = [acknowledged, *child.stdout.read().splitlines()][-1]  # what was still in the pipe counts, too
    run = Run.open(path)
    steps, values = run.series("train/loss")
    assert len(steps) >= int(acknowledged) >= 50
    np.testing.assert_array_equal(steps, np.arange(1, len(steps) + 1))
    np.testing.assert_array_equal(values, 1 / steps)
    assert run.unreadable <= 1  # the line that was being written
    assert run.status == "crashed"
    assert repr(run).startswith("Run('child', crashed, ")


def store_root():
    """The folder in which `import monitor` works."""
    return Path(store.__file__).parent.parent


# A full disk ------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_an_error_that_says_so(tmp_path):
    recorder = Recorder(tmp_path, name="full")
    good = os.dup(recorder._descriptor)
    full = os.open("/dev/full", os.O_WRONLY)
    recorder.log(a=1)
    os.dup2(full, recorder._descriptor)
    for _ in range(2):
        with pytest.raises(RecorderError) as raised:
            recorder.log(a=2)
        assert str(raised.value) == f"cannot record in {str(recorder.path)!r}: No space left on device"
    os.dup2(good, recorder._descriptor)
    recorder.log(a=3)  # there is room again
    os.dup2(full, recorder._descriptor)
    with pytest.raises(RecorderError, match="No space left on device"):
        recorder.finish()
    os.close(good)
    os.close(full)
    run = Run.open(recorder.path)
    assert run.series("a")[1].tolist() == recorder.run.series("a")[1].tolist() == [1, 3]
    assert run.unreadable == 0
    assert run.status == "finished"  # run.json could be written
    assert recorder._descriptor is None


LIMITED = """
import resource, signal, sys
from monitor import Recorder, RecorderError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
recorder = Recorder(sys.argv[1], name="limited")
print(recorder.path)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
kept = []
try:
    for i in range(1, 1000):
        recorder.log(i, a=i)
        kept.append(i)
except RecorderError as error:
    print(error)
try:
    recorder.describe(text="x" * 6000)
except RecorderError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
recorder.log(1000, a=1000)
print(*kept, 1000)
recorder.finish()
"""


@POSIX
def test_half_a_line_spoils_no_other(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=True, cwd=store_root()
    )
    path, log_error, describe_error, kept = result.stdout.splitlines()
    assert log_error == f"cannot record in {path!r}: File too large"
    assert describe_error == f"cannot write {os.path.join(path, 'run.json')!r}: File too large"
    run = Run.open(path)
    assert run.series("a")[0].tolist() == [int(step) for step in kept.split()]
    assert run.unreadable == 1  # the half line
    assert run.status == "finished"
    assert sorted(os.listdir(path)) == ["events.jsonl", "run.json"]


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RecorderError, match=r"cannot make a run folder in .*record in memory only with root=None"):
        Recorder(tmp_path / "file")


# Reading back -----------------------------------------------------------------------------------------------------------


def recorded(path, *, name="run", losses=(0.9, 0.5), **fields):
    """A finished run, with fields of run.json replaced."""
    with Recorder(path, name=name) as recorder:
        for loss in losses:
            recorder.log(loss=loss)
    meta = store.read_json(recorder.path / "run.json")
    store.write_json(recorder.path / "run.json", {**meta, **fields})
    return recorder.path


def test_series_points_names_and_last(tmp_path):
    with Recorder(tmp_path) as recorder:
        recorder.event("eval", 0, {"train/loss": 2.0, "val/loss": 2.5}, epoch=0)
        recorder.log(5, lr=0.1)
        recorder.event("eval", 10, {"train/loss": 1.0, "val/loss": math.inf}, epoch=1)
        recorder.event("layer", 10, {"grad_norm": 3.0}, epoch=1)
    run = Run.open(recorder.path)
    assert run.names() == ["train/loss", "val/loss", "lr"]
    steps, values = run.series("val/loss")
    assert (steps.tolist(), values.tolist()) == ([0, 10], [2.5, math.inf])
    steps, epochs, values = run.points("lr")
    assert (steps.tolist(), values.tolist()) == ([5], [0.1])
    assert np.isnan(epochs).all()
    assert run.points("train/loss")[1].tolist() == [0, 1]
    assert run.last("train/loss") == 1.0
    with pytest.raises(KeyError, match="run 'run' has no series 'loss'; it has train/loss, val/loss, lr"):
        run.series("loss")
    with pytest.raises(KeyError, match="it has nothing"):
        Recorder(None).run.last("loss")


def test_the_later_value_of_a_repeated_step_counts_and_steps_are_in_order():
    recorder = Recorder(None)
    for step, value in [(3, 0.3), (1, 0.1), (3, 0.33), (2, 0.2), (1, 0.11)]:
        recorder.log(step, a=value)
    recorder.log(2, b=9)  # another series at a known step changes nothing
    steps, values = recorder.run.series("a")
    assert (steps.tolist(), values.tolist()) == ([1, 2, 3], [0.11, 0.2, 0.33])


def test_opening_what_is_no_run(tmp_path):
    with pytest.raises(RecorderError, match=r"there is no run in .*: run\.json is missing"):
        Run.open(tmp_path / "missing")
    path = recorded(tmp_path, schema=99)
    with pytest.raises(RecorderError, match="has the run format 99, this version reads 1"):
        Run.open(path)
    (path / "run.json").write_bytes((path / "run.json").read_bytes()[:40])
    with pytest.raises(RecorderError, match=r"run\.json is not readable JSON"):
        Run.open(path)
    (path / "run.json").write_text("[1]")
    with pytest.raises(RecorderError, match="should hold a JSON object, it holds a list"):
        Run.open(path)


def test_a_run_without_events_and_one_with_odd_fields_can_be_opened(tmp_path):
    path = recorded(
        tmp_path, name="odd", status="running", process={"host": socket.gethostname(), "pid": None}, config=None
    )
    (path / "events.jsonl").unlink()
    run = Run.open(path)
    assert (run.names(), run.config, run.status, run.unreadable) == ([], {}, "crashed", 0)


def test_reading_changes_nothing(tmp_path):
    path = recorded(tmp_path)
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    run = Run.open(path)
    run.config["new"] = 1
    assert (run.names(), run.last("loss"), run.status, run.config) == (["loss"], 0.5, "finished", {})
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before


def test_load_runs_finds_every_run_and_passes_over_the_rest(tmp_path):
    assert load_runs(tmp_path / "missing") == []
    for i, name in enumerate(["c", "a", "b"]):
        path = recorded(tmp_path / "new", name=name)
        path.rename(tmp_path / f"2026010{i}-000000-{name}")
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").touch()
    assert [run.name for run in load_runs(tmp_path)] == ["c", "a", "b"]  # oldest first
    assert load_runs(tmp_path / "notes.txt") == []


def test_one_unreadable_run_does_not_hide_the_others(tmp_path):
    recorded(tmp_path, name="good")
    path = recorded(tmp_path, name="later", schema=2)
    with pytest.warns(UserWarning, match=r"passed over: .*-later' has the run format 2") as warned:
        runs = load_runs(tmp_path)
    assert [run.name for run in runs] == ["good"]
    assert warned[0].filename == __file__
    (path / "run.json").write_text("{")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert len(load_runs(tmp_path)) == 1
    assert "not readable JSON" in str(caught[0].message)


# Losses of single examples ----------------------------------------------------------------------------------------------


def losses_of(step, n=5):
    return np.arange(n) / 8 + step


@pytest.mark.parametrize("memory", [False, True])
def test_the_losses_of_examples_come_back_by_step(tmp_path, memory):
    with Recorder(None if memory else tmp_path) as recorder:
        for step in (0, 10, 20):
            recorder.event("eval", step, {"val/loss": 1.0})
            recorder.log_val_losses(losses_of(step))
        recorder.log_val_losses([7.0] * 5, step=10)  # logged again: the later row counts
    for run in (recorder.run,) if memory else (recorder.run, Run.open(recorder.path)):
        steps, losses = run.val_losses()
        assert steps.tolist() == [0, 10, 20]
        np.testing.assert_array_equal(losses, np.array([losses_of(0), [7.0] * 5, losses_of(20)], np.float32))
        assert losses.dtype == np.float32
    if not memory:
        assert np.load(recorder.path / "val_loss.npy").shape == (4, 5)  # a plain file of NumPy


def test_the_file_is_whole_after_every_write(tmp_path):
    """Whatever a crash leaves undone, in the order in which it is done, the rows before can be read and go on."""
    recorder = Recorder(tmp_path)
    path = recorder.path / "val_loss.npy"
    recorder.log_val_losses(losses_of(0), 0)
    before = path.read_bytes()
    recorder.log_val_losses(losses_of(1), 1)
    after = path.read_bytes()
    assert len(after) - len(before) == 5 * 4
    torn = [before + after[len(before) :][:cut] for cut in range(0, 21, 3)]  # the row is written, then the header
    torn += [after[:cut] for cut in range(len(before), len(after))]  # no order of ours: a file that was cut off
    for content in torn:
        path.write_bytes(content)
        steps, losses = Run.open(recorder.path).val_losses()
        assert steps.tolist() == [0]
        np.testing.assert_array_equal(losses, [losses_of(0)])
    for content in torn[:7]:
        path.write_bytes(content)
        with Recorder.resume(copy_of(recorder.path, tmp_path)) as resumed:
            resumed.log_val_losses(losses_of(2), 2)
        steps, losses = Run.open(resumed.path).val_losses()
        assert steps.tolist() == [0, 2]  # step 1 has an event, but its row was lost
        np.testing.assert_array_equal(losses, [losses_of(0), losses_of(2)])


def copy_of(folder, root):
    """A run that nobody records, in a folder of its own."""
    import shutil

    target = root / f"copy-{len(list(root.iterdir()))}"
    shutil.copytree(folder, target)
    meta = store.read_json(target / "run.json")
    store.write_json(target / "run.json", {**meta, "status": "failed"})
    return target


def test_resuming_repeats_no_row(tmp_path):
    with Recorder(tmp_path) as recorder:
        for step in (0, 10, 20, 30):
            recorder.event("eval", step, {"val/loss": 1.0})
            recorder.log_val_losses(losses_of(step), step)
    with Recorder.resume(recorder.path, step=10) as resumed:
        for step in (20, 40):
            resumed.event("eval", step, {"val/loss": 1.0})
            resumed.log_val_losses(-losses_of(step), step)
    run = Run.open(recorder.path)
    steps, losses = run.val_losses()
    assert steps.tolist() == [0, 10, 20, 40]
    np.testing.assert_array_equal(losses, [losses_of(0), losses_of(10), -losses_of(20), -losses_of(40)])
    assert run.val_losses(segment=0)[0].tolist() == [0, 10, 20, 30]
    with pytest.raises(KeyError, match="no losses of single examples"):
        run.val_losses(segment=5)


def test_of_many_examples_some_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(per_example, "MOST", 4)
    with Recorder(tmp_path) as recorder:
        recorder.log_val_losses(losses_of(0, 10), 0)
    assert recorder.run.val_losses()[1].tolist() == [[0, 0.375, 0.75, 1.125]]
    assert recorder.run.select("val_loss")[0]["d"] == {"row": 0, "examples": 10, "every": 3}


@pytest.mark.parametrize("memory", [False, True])
def test_once_the_number_of_examples_changes_no_more_are_kept(tmp_path, memory):
    with Recorder(None if memory else tmp_path) as recorder:
        recorder.log_val_losses(losses_of(0), 0)
        for step in (1, 2):
            recorder.log_val_losses(losses_of(0, 6), step)
        recorder.log_val_losses(losses_of(3), 3)
    (note,) = recorder.run.select("note")
    assert note["d"]["text"].startswith("the losses of single examples are not kept from here on: the rows ")
    assert "5 examples, these are 6 losses" in note["d"]["text"]
    assert recorder.run.val_losses()[0].tolist() == [0]


def test_the_file_does_not_grow_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(per_example, "ROOM", 128 + 2 * 5 * 4)
    with Recorder(tmp_path) as recorder:
        for step in range(4):
            recorder.log_val_losses(losses_of(step), step)
    assert recorder.run.val_losses()[0].tolist() == [0, 1]
    assert "would be larger than" in recorder.run.select("note")[0]["d"]["text"]


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"x" * 500, None, "object", "columns"])
def test_a_file_that_is_something_else_is_neither_read_nor_written(tmp_path, content):
    with Recorder(tmp_path) as recorder:
        recorder.log_val_losses(losses_of(0), 0)
    path = recorder.path / "val_loss.npy"
    if content is None:
        path.rename(tmp_path / "elsewhere.npy")
        path.symlink_to(tmp_path / "elsewhere.npy")
    elif content == "object":
        np.save(path, np.array([{}]), allow_pickle=True)
    elif content == "columns":
        np.save(path, np.asfortranarray(np.ones((3, 5), np.float32)))
    else:
        path.write_bytes(content)
    with pytest.raises(KeyError, match="no losses of single examples"):
        Run.open(recorder.path).val_losses()
    before = path.read_bytes()
    with Recorder.resume(recorder.path) as resumed:
        resumed.log_val_losses(losses_of(1), 1)
    if content != b"":
        assert path.read_bytes() == before
        assert len(Run.open(recorder.path).select("note")) == 1


@pytest.mark.parametrize("bad", [1.0, [[1.0]], [], ["a"]])
def test_what_are_no_losses_of_examples(bad):
    with pytest.raises(TypeError, match="log_val_losses: expected one loss for each example, got an array of shape"):
        Recorder(None).log_val_losses(bad)


def test_log_takes_a_dict_and_a_step_in_every_order():
    recorder = Recorder(None)
    recorder.log({"a": 1}, step=5)
    recorder.log(6, a=2)
    recorder.log(step=7, a=3)
    recorder.log({"a": 4}, b=5)  # the step after
    recorder.log({"step": 9, "a": 5}, step=20)  # a number of that name
    recorder.log(step=np.int64(21), a=6)
    recorder.log(step=22.0, a=7)
    steps, values = recorder.run.series("a")
    assert list(zip(steps.tolist(), values.tolist(), strict=True)) == [
        *((5, 1), (6, 2), (7, 3), (8, 4), (20, 5), (21, 6), (22, 7))
    ]
    assert recorder.run.series("step")[1].tolist() == [9]
    assert [type(event["s"]) for event in recorder.run.events] == [int] * 8


def test_a_name_is_no_step_and_comes_once():
    recorder = Recorder(None)
    with pytest.raises(TypeError, match=r"^log: write log\({'loss': value}\), or log\(name=value\)"):
        recorder.log("loss", 0.5)
    with pytest.raises(TypeError, match=r"^log: 'loss' is given twice, with 1\.0 and 2\.0$"):
        recorder.log({"loss": 1.0, "lr": 1.0}, loss=2.0)
    assert recorder.run.names() == []


@pytest.mark.parametrize("step", [2.7, "3", True, math.nan, math.inf, [1], np.array([1, 2])], ids=repr)
def test_a_step_that_is_no_whole_number_is_refused(step):
    recorder = Recorder(None)
    with pytest.raises(TypeError, match=f"^step must be a whole number of updates, got {re.escape(repr(step))}$"):
        recorder.log(step=step, a=1)
    with pytest.raises(TypeError, match=r"^log: the step is given twice, as 3 and as step=4$"):
        recorder.log(3, step=4, a=1)
    assert recorder.run.names() == []


@pytest.mark.parametrize(("code", "status"), [(None, "finished"), (0, "finished"), (2, "failed"), ("why", "failed")])
def test_leaving_the_program_on_purpose_is_no_failure(tmp_path, code, status):
    with pytest.raises(SystemExit), Recorder(tmp_path) as recorder:
        sys.exit(code)
    assert Run.open(recorder.path).status == status


def test_what_is_on_disk_is_not_kept_in_memory_too(tmp_path):
    """It is read back when somebody asks, each time what is new, and never what another recorder adds later."""
    recorder = Recorder(tmp_path)
    recorder.log(a=1)
    before = recorder.run.events[:]
    assert [event["k"] for event in before] == ["start", "step"]
    tracemalloc.start()
    for _ in range(2_000):
        recorder.log(a=1)
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert grown < 100_000  # in memory they would take a megabyte
    assert recorder.run.events[:2] == before
    assert len(recorder.run.events) == 2_002
    recorder.finish()
    mine = recorder.run.events
    Recorder.resume(recorder.path).finish()
    assert recorder.run.events == mine == Run.open(recorder.path).events[:-2]
    shutil.rmtree(recorder.path)
    with pytest.raises(RecorderError, match=r"^cannot read back '.*': No such file or directory$"):
        _ = recorder.run


@POSIX
def test_a_run_deleted_while_it_is_recorded_is_noticed_at_the_next_evaluation(tmp_path):
    recorder = Recorder(tmp_path)
    shutil.rmtree(recorder.path)
    recorder.log(a=1)  # to look every time would take longer than to record
    with pytest.raises(RecorderError, match=r"^the run was deleted while it was being recorded: '.*-run'$"):
        recorder.event("eval", 1, {"a": 1})


def test_config_is_a_dict():
    with pytest.raises(TypeError, match=r"^Recorder: config must be a dict of settings by name, got \[1\]$"):
        Recorder(None, config=[1])
