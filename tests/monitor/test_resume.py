"""Resuming a run: segments, what readers make of them, who may write, and that kill -9 loses nothing across segments."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from monitor import Recorder, RecorderError, Run, store

POSIX = pytest.mark.skipif(os.name == "nt", reason="POSIX signals and locks")
ROOT = Path(store.__file__).parent.parent


def start(root, steps, **params):
    """A finished run with the loss at some steps."""
    with Recorder(root, **params) as recorder:
        for step in steps:
            recorder.log(step, loss=float(step))
    return recorder.path


# Segments ---------------------------------------------------------------------------------------------------------------


def test_a_resumed_run_goes_on_in_a_segment_of_its_own(tmp_path):
    path = start(tmp_path, [1, 2, 3], name="moons", config={"lr": 0.1})
    first = store.read_json(path / "run.json")
    recorder = Recorder.resume(path)
    assert Run.open(path).status == "running"
    recorder.log(loss=40.0)  # counts on from the last step
    recorder.finish("failed", "why")
    run = Run.open(path)
    assert [(e["k"], e["s"], e["g"]) for e in run.events[-3:]] == [("start", 3, 1), ("step", 4, 1), ("stop", 4, 1)]
    assert run.events[-3]["d"] == {"resumed_from": None}
    assert run.series("loss")[1].tolist() == [1, 2, 3, 40]
    assert (run.name, run.config, run.status, run.meta["reason"]) == ("moons", {"lr": 0.1}, "failed", "why")
    assert run.meta["started"] == first["started"]
    assert [s["status"] for s in run.segments] == ["finished", "failed"]
    assert run.segments[0] == {key: first[key] for key in run.segments[0]}
    assert run.segments[1]["started"] == run.meta["resumed"]
    for _ in range(3):
        Recorder.resume(path).finish()
    assert [e["g"] for e in Run.open(path).select("start")] == [0, 1, 2, 3, 4]
    assert len(Run.open(path).segments) == 5
    assert recorder.run.events == run.events


@pytest.mark.parametrize(
    ("step", "again", "kept"),
    [
        (4, [5, 6], [1, 2, 3, 4, 50, 60]),  # from the checkpoint of step 4
        (4, [4, 5], [1, 2, 3, 40, 50]),  # evaluated before training goes on
        (4, [6], [1, 2, 3, 4, 60]),  # 5 was done in vain, too
        (None, [5], [1, 2, 3, 4, 50]),  # nobody said where from: from before the first step
        (9, [3, 4], [1, 2, 30, 40]),  # or what was said cannot be
        (None, [9, 10], [1, 2, 3, 4, 5, 6, 7, 8, 90, 100]),
        (4, [], [1, 2, 3, 4, 5, 6, 7, 8]),  # it has measured nothing yet
    ],
)
def test_readers_prefer_the_last_segment(tmp_path, step, again, kept):
    path = start(tmp_path, range(1, 9))
    with Recorder.resume(path, step=step) as recorder:
        for i in again:
            recorder.log(i, loss=10.0 * i)
    for run in (recorder.run, Run.open(path)):
        assert run.series("loss")[1].tolist() == kept
        assert run.series("loss", segment=0)[1].tolist() == list(range(1, 9))
        if again:
            assert run.series("loss", segment=1)[0].tolist() == again
        with pytest.raises(KeyError, match=r"segment 2 of run 'run' has no series 'loss'"):
            run.series("loss", segment=2)


def test_where_training_went_on_only_what_is_measured_again_is_replaced(tmp_path):
    with Recorder(tmp_path) as recorder:
        for epoch in range(4):
            recorder.event("eval", 10 * epoch, {"val/loss": 1.0, "train/running_loss": epoch}, epoch=epoch)
    with Recorder.resume(recorder.path, step=20) as recorder:
        recorder.event("eval", 20, {"val/loss": 2.0}, epoch=2)
    run = Run.open(recorder.path)
    assert run.series("val/loss")[1].tolist() == [1, 1, 2]
    assert run.series("train/running_loss")[1].tolist() == [0, 1, 2]


def test_what_is_not_measured_again_is_no_series_any_more(tmp_path):
    """All that is named can be read."""
    path = start(tmp_path, [1, 2, 3])
    recorder = Recorder.resume(path, step=1)
    recorder.log(2, lr=0.1)
    recorder.log_histogram("w", [1.0, 2.0])
    recorder.finish("failed")
    assert Run.open(path).names() == ["loss", "lr"]
    recorder = Recorder.resume(path, step=1)
    recorder.log(2, loss=5.0)
    recorder.finish()
    run = Run.open(path)
    assert (run.names(), run.histogram_names()) == (["loss"], [])
    assert run.series("loss")[1].tolist() == [1, 5]
    assert "1 series" in repr(run)


def test_a_third_segment_may_go_further_back_than_the_second(tmp_path):
    path = start(tmp_path, range(1, 9))
    for step, again in ((6, [7, 8, 9]), (3, [4, 5])):
        with Recorder.resume(path, step=step) as recorder:
            for i in again:
                recorder.log(i, loss=10.0 * i)
    assert Run.open(path).series("loss")[1].tolist() == [1, 2, 3, 40, 50]
    with Recorder.resume(path, step=5) as recorder:
        recorder.log(6, loss=0.5)
    assert Run.open(path).series("loss")[1].tolist() == [1, 2, 3, 40, 50, 0.5]


def test_every_kind_of_measurement_is_replaced_and_remarks_stay(tmp_path):
    def record(recorder, step, value):
        recorder.event("layer", step, {"names": ["a"], "grad_norm": [value]})
        recorder.log_histogram("w", [value], step)
        recorder.log_figure("f", np.zeros((2, 2)), step, caption=str(value))
        recorder.event("finding", step, {"id": "plateau"})
        recorder.note(f"{value}")

    with Recorder(tmp_path) as recorder:
        for step in (1, 2, 3):
            record(recorder, step, step)
    with Recorder.resume(recorder.path, step=1) as recorder:
        record(recorder, 2, 20)
    for run in (recorder.run, Run.open(recorder.path)):
        assert run.layers("grad_norm")[2].tolist() == [[1], [20]]
        assert [step for step, _ in run.histogram("w")] == [1, 2]
        assert [figure.caption for figure in run.figures()] == ["1", "20"]
        assert [event["g"] for event in run.select("finding")] == [0, 1]
        assert [event["d"]["text"] for event in run.select("note")] == ["1", "2", "3", "20"]
        assert run.layers("grad_norm", segment=0)[2].tolist() == [[1], [2], [3]]
        assert len(run.histogram("w", segment=0)) == len(run.figures(segment=0)) == 3


def test_segments_in_hostile_files(tmp_path):
    path = start(tmp_path, [1, 2])
    events = [
        {"v": 1, "k": "step", "s": s, "e": None, "t": 0, "g": g, "d": {"loss": 9.0}} for s, g in ((5, -7), (7, 2**62))
    ]
    events += [{"v": 1, "k": "start", "s": 0, "e": None, "t": 0, "g": 1, "d": {"resumed_from": "x"}}]
    with open(path / "events.jsonl", "a") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)
    meta = store.read_json(path / "run.json")
    for segments in (7, "x", [3, None, {"status": "crashed"}], None):
        store.write_json(path / "run.json", {**meta, "segments": segments})
        run = Run.open(path)
        assert run.series("loss")[0].tolist() == [1, 2, 5, 7]
        assert run.segments[-1]["status"] == "finished"


def test_a_segment_that_crashed_before_its_first_event_keeps_its_number(tmp_path):
    path = start(tmp_path, [1])
    Recorder.resume(path).finish()
    content = (path / "events.jsonl").read_bytes()
    (path / "events.jsonl").write_bytes(content[: content.index(b'{"v":1,"k":"start","s":1')])
    Recorder.resume(path).finish()
    assert [event["g"] for event in Run.open(path).select("start")] == [0, 2]
    assert len(Run.open(path).segments) == 3


# A torn tail ------------------------------------------------------------------------------------------------------------


def test_resuming_a_file_cut_anywhere_keeps_every_whole_line(tmp_path):
    path = start(tmp_path / "a", range(1, 30))
    meta, content = store.read_json(path / "run.json"), (path / "events.jsonl").read_bytes()
    assert len(content) > 2048
    meta.update(status="running", process={"pid": 2**22 + 1, "host": meta["process"]["host"]})
    folder = tmp_path / "cut"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(meta))
    whole = Run.open(path).events
    for cut in range(len(content) - 2048, len(content)):
        (folder / "events.jsonl").write_bytes(content[:cut])
        before = Run.open(folder)
        assert before.events == whole[: content[: cut + 1].count(b"\n")]  # a line is whole without its end, too
        assert before.unreadable == (content[cut - 1 : cut] != b"\n" != content[cut : cut + 1])
        if cut % 71:  # each resuming waits for the disk
            continue
        with Recorder.resume(folder) as recorder:
            recorder.log(loss=0.5)
        after = Run.open(folder)
        assert after.events[: len(before.events)] == before.events
        assert [event["k"] for event in after.events[len(before.events) :]] == ["start", "step", "stop"]
        assert after.unreadable == before.unreadable == recorder.run.unreadable
        assert (after.segments[0]["status"], after.status) == ("crashed", "finished")
        (folder / "run.json").write_text(json.dumps(meta))


def test_what_a_killed_process_left_is_swept_away_and_a_missing_file_is_made(tmp_path):
    path = start(tmp_path, [1])
    (path / ".run.json.123.abcd.tmp").write_text("{")
    (path / "events.jsonl").unlink()
    with Recorder.resume(path) as recorder:
        recorder.log(loss=1.0)
    assert sorted(os.listdir(path)) == ["events.jsonl", "run.json"]
    assert Run.open(path).series("loss")[0].tolist() == [1]


# Who may write ----------------------------------------------------------------------------------------------------------

CHILD = """
import os, sys
from monitor import Recorder
recorder = Recorder.resume(sys.argv[2]) if len(sys.argv) > 2 else Recorder(sys.argv[1], name="child")
os.write(1, (str(recorder.path) + "\\n").encode())
i = recorder.step
while True:
    i += 1
    recorder.log(i, **{"train/loss": 1 / i})
    os.write(1, b"%d\\n" % i)
"""


def child(*args):
    return subprocess.Popen([sys.executable, "-c", CHILD, *map(str, args)], stdout=subprocess.PIPE, cwd=ROOT)


@POSIX
@pytest.mark.parametrize("seed", range(4))
def test_kill_9_again_and_again_loses_nothing_that_was_acknowledged(tmp_path, seed):
    rng, path, acknowledged = random.Random(seed), None, 0
    for _ in range(4):
        with child(tmp_path, *([path] if path else [])) as process:
            path = process.stdout.readline().decode().strip()
            process.stdout.readline()
            time.sleep(rng.random() * 0.05)
            process.kill()
            acknowledged = int([b"0", *(line for line in process.stdout.read().split(b"\n")[:-1])][-1] or 0)
        run = Run.open(path)
        assert run.status == "crashed"
        steps, values = run.series("train/loss")
        np.testing.assert_array_equal(steps, np.arange(1, len(steps) + 1))
        np.testing.assert_array_equal(values, 1 / steps)
        assert len(steps) >= acknowledged > 0
    assert run.unreadable <= 4  # the lines that were being written
    assert [s["status"] for s in run.segments] == ["crashed"] * 4


@POSIX
def test_a_run_that_another_process_writes_is_refused(tmp_path):
    with child(tmp_path) as process:
        path = process.stdout.readline().decode().strip()
        with pytest.raises(RecorderError) as raised:
            Recorder.resume(path)
        assert str(raised.value) == f"{path!r} is being recorded by process {process.pid}: end that one first"
        meta = store.read_json(Path(path) / "run.json")
        elsewhere = {**meta, "process": {**meta["process"], "host": "elsewhere"}}
        (Path(path) / "run.json").write_text(json.dumps(elsewhere))  # nobody can say whether it is alive: the lock can
        with pytest.raises(RecorderError, match="is being recorded by another Recorder: finish that one first"):
            Recorder.resume(path)
        process.kill()
    Recorder.resume(path).finish()


@POSIX
def test_two_recorders_on_one_folder_are_refused(tmp_path):
    recorder = Recorder(tmp_path)
    recorder.log(loss=1.0)
    before = (recorder.path / "events.jsonl").read_bytes(), (recorder.path / "run.json").read_bytes()
    descriptors = len(os.listdir("/dev/fd"))
    for _ in range(3):
        with pytest.raises(RecorderError) as raised:
            Recorder.resume(recorder.path)
        assert str(raised.value) == f"{str(recorder.path)!r} is being recorded by another Recorder: finish that one first"
    assert len(os.listdir("/dev/fd")) == descriptors
    assert ((recorder.path / "events.jsonl").read_bytes(), (recorder.path / "run.json").read_bytes()) == before
    recorder.finish()
    second = Recorder.resume(recorder.path)
    with pytest.raises(RecorderError, match="by another Recorder"):
        Recorder.resume(recorder.path)
    second.finish()


@POSIX
def test_a_recorder_that_was_lost_does_not_keep_its_run(tmp_path):
    recorder = Recorder(tmp_path)  # a notebook cell that raised an error, say
    recorder.log(loss=1.0)
    path = recorder.path
    del recorder
    with Recorder.resume(path) as recorder:
        recorder.log(loss=2.0)
    assert Run.open(path).series("loss")[1].tolist() == [1, 2]


def test_a_recycled_process_number_is_not_the_process(tmp_path):
    recorder = Recorder(tmp_path)
    process = dict(recorder.meta["process"])
    assert process["pid"] == os.getpid()
    assert Run.open(recorder.path).status == "running"
    if process["began"] is not None:
        recorder.describe(process={**process, "began": "another time"})
        assert Run.open(recorder.path).status == "crashed"
    recorder.describe(process={**process, "began": None})  # a run of before that was recorded
    assert Run.open(recorder.path).status == "running"
    recorder.finish()


@POSIX
def test_a_zombie_is_not_alive(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    about = {**store.this_process(), "pid": process.pid, "began": None}
    if store.process_began(process.pid) is None:
        pytest.skip("this system does not say when a process began")
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has asked how
    assert store.process_is_alive(about) is False
    process.wait()
    assert store.process_is_alive(about) is False


def test_when_a_process_began_does_not_change(monkeypatch):
    began = store.process_began(os.getpid())
    assert began == store.process_began(os.getpid())
    if sys.platform == "linux":
        assert began != store.process_began(1)
    if shutil.which("ps"):
        assert store._began_by_ps(os.getpid()) == store._began_by_ps(os.getpid()) is not None
    monkeypatch.setenv("PATH", "")
    assert store._began_by_ps(os.getpid()) is None
    assert store._began_by_ps(2**22 + 1) is None


@pytest.mark.parametrize("process", [None, "x", [], {}, 7])
def test_a_process_that_is_none_is_not_alive(process):
    assert not store.process_is_alive(process)
    for pid in (0, -1, "0"):  # to the system, groups of processes
        assert store.process_is_alive({**store.this_process(), "pid": pid}) is False


def test_resuming_what_is_no_run(tmp_path):
    with pytest.raises(RecorderError, match=r"there is no run in .*: run\.json is missing"):
        Recorder.resume(tmp_path)
    path = start(tmp_path, [1])
    meta = store.read_json(path / "run.json")
    store.write_json(path / "run.json", {**meta, "schema": 2})
    with pytest.raises(RecorderError, match="has the run format 2"):
        Recorder.resume(path)


def test_a_run_can_be_moved_and_resumed(tmp_path):
    path = start(tmp_path / "a", [1, 2])
    with Recorder.resume(path) as recorder:
        recorder.log_figure("f", np.zeros((2, 2)))
    moved = tmp_path / "elsewhere" / "renamed ünd moved"
    moved.parent.mkdir()
    shutil.move(path, moved)
    run = Run.open(moved)
    assert run.series("loss")[1].tolist() == [1, 2]
    assert run.figures()[0].read().startswith(b"\x89PNG")
    with Recorder.resume(moved, step=1) as recorder:
        recorder.log(2, loss=3.0)
    assert Run.open(moved).series("loss")[1].tolist() == [1, 3]
    assert str(tmp_path) not in (moved / "events.jsonl").read_text() + json.dumps(
        store.read_json(moved / "run.json")["config"]
    )


def test_a_clock_that_goes_back_harms_nothing(tmp_path, monkeypatch):
    now = iter([2e9, 1e9, 5e8, 4e8, 3e8, *range(10)])
    monkeypatch.setattr(time, "time", lambda: next(now))
    path = start(tmp_path, [1, 2])
    with Recorder.resume(path) as recorder:
        recorder.log(loss=3.0)
    run = Run.open(path)
    assert run.series("loss")[0].tolist() == [1, 2, 3]
    assert run.meta["started"] > run.meta["resumed"] > run.meta["ended"]
    times = [event["t"] for event in run.select(segment=1)]
    assert times == sorted(times)
    assert min(times) >= 0
