"""`tinynet train --resume`: from which checkpoint it goes on, whatever a crash has left; and twenty kills at random times."""

import contextlib
import io
import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from monitor import Run, load_checkpoint, store
from tinynet.cli import main
from tinynet.experiment import Experiment, Finite

TRAINING = ["moons", "--n=60", "--epochs=24", "--hidden=8", "--dropout=0.2", "--lr=0.05", "--seed=6", "--watch=0"]
BEST, BROKEN_OFF, LAST = 36, 45, 72  # steps; three make an epoch


def bits(run, which="last"):
    return {name: array.tobytes() for name, array in load_checkpoint(run, which)["model"].items()}


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    monkeypatch.setattr(Experiment, "draw", lambda self, run, folder: [])


@pytest.fixture(scope="module")
def recorded_runs(tmp_path_factory):
    """(what the training has learnt that nothing broke off, the folder of one that Ctrl-C ended after 15 of 24 epochs)."""

    def interrupt(self, training):
        if training.step == BROKEN_OFF:
            raise KeyboardInterrupt

    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Experiment, "draw", lambda self, run, folder: [])
        CliRunner().invoke(main, ["train", *TRAINING, "--runs", str(root / "whole")])
        patched.setattr(Finite, "on_epoch_end", interrupt)
        CliRunner().invoke(main, ["train", *TRAINING, "--runs", str(root / "broken off")])
    (whole,), (broken_off,) = (root / "whole").iterdir(), (root / "broken off").iterdir()
    return bits(whole), broken_off


@pytest.fixture
def whole(recorded_runs):
    return recorded_runs[0]


@pytest.fixture
def broken_off(tinynet, recorded_runs):
    """A copy of the run that was broken off."""
    run = Path(shutil.copytree(recorded_runs[1], Path("runs") / recorded_runs[1].name))
    names = [path.stem for path in sorted((run / "checkpoints").glob("*.safetensors"))]
    assert names == [f"step-{BEST:08}", f"step-{BROKEN_OFF:08}"]
    return run


def damage(run, how):
    folder = run / "checkpoints"
    arrays, about = (folder / f"step-{BROKEN_OFF:08}{ending}" for ending in (".safetensors", ".json"))
    match how:
        case "never taken":
            for path in (arrays, about, folder / "last.json"):
                path.unlink()
        case "no pointer":
            (folder / "last.json").unlink()
        case "a strange pointer":
            (folder / "last.json").write_text('{"checkpoint": "../../../etc/passwd"}')
        case "no arrays":
            arrays.unlink()
        case "torn arrays":
            arrays.write_bytes(arrays.read_bytes()[:-100])
        case "empty arrays":
            arrays.write_bytes(b"")
        case "no description":
            about.unlink()
        case "an empty description":
            about.write_text("{}")
        case "a list":
            about.write_text("[]")
        case "a torn description":
            about.write_text('{"step":')
        case "a strange step":
            about.write_text(json.dumps({**store.read_json(about), "step": "x"}))
        case "a strange epoch":
            about.write_text(json.dumps({**store.read_json(about), "epoch": 1.5}))
        case "strange numbers":
            about.write_text(json.dumps({**store.read_json(about), "logs": [], "time": "noon"}))


UNHURT = ("nothing", "no pointer", "a strange pointer")  # the latest checkpoint itself
GONE = ("never taken", "no arrays")
TORN = (
    "torn arrays", "empty arrays", "no description", "an empty description", "a list", "a torn description",
    "a strange step", "a strange epoch", "strange numbers",
)  # fmt: skip


@pytest.mark.parametrize("how", [*UNHURT, *GONE, *TORN])
def test_it_goes_on_from_the_latest_checkpoint_that_can_be_read(tinynet, whole, broken_off, how):
    damage(broken_off, how)
    told = tinynet("train", "--resume", "latest")
    step = BROKEN_OFF if how in UNHURT else BEST
    assert f"\ngoing on after step {step} (epoch {step // 3} is complete)\n" in told.stdout
    notes = told.stderr.splitlines()
    assert len(notes) == (how in TORN)
    assert all(note.startswith("note: passed over: ") and f"/step-{BROKEN_OFF:08}." in note for note in notes)
    assert bits(broken_off) == whole
    assert Run.open(broken_off).series("train/loss")[0].tolist() == list(range(0, LAST + 1, 3))


def date(run, seconds):
    """The moment so many seconds after the best checkpoint was taken, as --from takes it."""
    taken = store.read_json(run / "checkpoints" / f"step-{BEST:08}.json")["time"]
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(taken + seconds))


@pytest.mark.parametrize(
    ("which", "step"),
    [
        ("latest", BROKEN_OFF),
        ("last", BROKEN_OFF),
        ("best", BEST),
        (str(BEST), BEST),
        (f"step-{BEST:08}", BEST),
        ("date", BEST),
        ("2999-01-01", BROKEN_OFF),
    ],
)
def test_it_goes_on_from_the_checkpoint_that_was_asked_for(tinynet, whole, broken_off, which, step):
    later = broken_off / "checkpoints" / f"step-{BROKEN_OFF:08}.json"
    store.write_json(later, {**store.read_json(later), "time": store.read_json(later)["time"] + 3600})
    which = date(broken_off, 60) if which == "date" else which
    assert f"\ngoing on after step {step} " in tinynet("train", "--resume", "latest", "--from", which).stdout
    assert bits(broken_off) == whole
    assert Run.open(broken_off).events[-1]["s"] == LAST


def test_the_latest_is_the_one_that_was_taken_last_not_the_one_of_the_highest_step(tinynet, broken_off):
    """After --from best, and a kill, what an earlier attempt had reached is no longer what the run is about."""
    path = broken_off / "checkpoints" / f"step-{BEST:08}.json"
    store.write_json(path, {**store.read_json(path), "time": time.time() + 10})
    assert f"going on after step {BEST} " in tinynet("train", "--resume", "latest").stdout


@pytest.mark.parametrize("which", ["newest", "", "1.5", "../x", "step-x", "2026-13-01"])
def test_what_is_no_checkpoint(tinynet, broken_off, which):
    told = tinynet("train", "--resume", "latest", "--from", which, status=2).stderr
    takes = "--from takes latest, best, the step of a checkpoint or a date such as 2026-11-21T14:30"
    assert told == f"Error: {takes}, got {which!r}\n"


THERE = f"There are those of steps {BEST}, {BROKEN_OFF}; --from latest takes the last that can be read\n"


@pytest.mark.parametrize("which", ["37", "2020-01-01", "best"])
def test_a_checkpoint_that_is_not_there(tinynet, broken_off, which):
    (broken_off / "checkpoints" / "best.json").unlink()
    before = (broken_off / "events.jsonl").read_bytes()
    told = tinynet("train", "--resume", "latest", "--from", which, status=2).stderr
    assert told.startswith("Error: there is no checkpoint ")
    assert told.endswith(f"'{broken_off}/checkpoints'. {THERE}")
    assert (broken_off / "events.jsonl").read_bytes() == before


def test_a_damaged_one_that_was_asked_for_is_no_other(tinynet, broken_off):
    damage(broken_off, "an empty description")
    path = broken_off / "checkpoints" / f"step-{BROKEN_OFF:08}.safetensors"
    told = tinynet("train", "--resume", "latest", "--from", str(BROKEN_OFF), status=2).stderr
    assert told == f"Error: the checkpoint '{path}' is damaged: 'step' is missing. {THERE}"


def test_of_many_checkpoints_the_last_are_listed(tinynet, broken_off):
    best = broken_off / "checkpoints" / f"step-{BEST:08}"
    for step in range(1, 9):
        for ending in (".json", ".safetensors"):
            shutil.copy(f"{best}{ending}", broken_off / "checkpoints" / f"step-{step:08}{ending}")
    told = tinynet("train", "--resume", "latest", "--from", "10", status=2).stderr
    assert f". There are those of steps ..., 6, 7, 8, {BEST}, {BROKEN_OFF}; " in told


def test_without_a_checkpoint_it_is_said_how_to_begin_anew(tinynet, broken_off):
    meta = store.read_json(broken_off / "run.json")
    store.write_json(broken_off / "run.json", {**meta, "command": ["/bin/tinynet", "train", "my data.csv", "--lr", "1"]})
    torn = broken_off / "checkpoints" / f"step-{BEST:08}.safetensors"
    torn.write_bytes(b"x")
    damage(broken_off, "torn arrays")
    told = tinynet("train", "--resume", "latest", status=2).stderr
    begin = "begin anew with: tinynet train 'my data.csv' --lr 1"
    assert told == f"Error: no checkpoint of {broken_off} can be read: {begin}\n"
    shutil.rmtree(broken_off / "checkpoints")
    told = tinynet("train", "--resume", "latest", status=2).stderr
    assert told == f"Error: {broken_off} was broken off before its first checkpoint, after epoch 1: {begin}\n"
    for strange in ("x", [1], ["a.py"], [[]], None):
        store.write_json(broken_off / "run.json", {**meta, "command": strange})
        told = tinynet("train", "--resume", "latest", status=2).stderr
        assert told.endswith("broken off before its first checkpoint, after epoch 1: begin anew\n")


def test_from_is_of_resume(tinynet):
    told = tinynet("train", "moons", "--from", "best", status=2).stderr
    assert told == "Error: --from says from which checkpoint a run goes on: it goes with --resume RUN\n"
    assert not Path("runs").exists()


def test_notes_do_not_spoil_json(tinynet, broken_off):
    damage(broken_off, "torn arrays")
    told = tinynet("train", "--resume", "latest", "--json")
    assert json.loads(told.stdout)["status"] == "finished"
    assert told.stderr.startswith("note: ")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("data", []),
        ("data", "x"),
        ("data", None),
        ("config", []),
        ("config", {"hidden": 3}),
        ("config", {"lr": {}}),
        ("segments", 3),
    ],
)
def test_a_strange_run_json_is_a_mistake_and_no_traceback(tinynet, broken_off, field, value):
    meta = store.read_json(broken_off / "run.json")
    store.write_json(broken_off / "run.json", {**meta, field: value})
    tinynet("train", "--resume", "latest", status=0 if field == "segments" else 2)


def test_a_checkpoint_that_does_not_fit_ends_the_run_as_failed(tinynet, broken_off):
    path = broken_off / "checkpoints" / f"step-{BROKEN_OFF:08}.json"
    store.write_json(path, {**store.read_json(path), "optimizer": {}})
    told = tinynet("train", "--resume", "latest", status=2).stderr
    assert told == "Error: this is not the state of an optimizer: it has no 'hyper'\n"
    run = Run.open(broken_off)
    assert (run.status, run.meta["reason"]) == (
        "failed",
        "ValueError: this is not the state of an optimizer: it has no 'hyper'",
    )
    assert f"going on after step {BEST} " in tinynet("train", "--resume", "latest", "--from", "best").stdout


# Kills ------------------------------------------------------------------------------------------------------------------

KILLS = 20
LONG = ["train", *TRAINING, "--epochs", "300"]


def start(*arguments):
    """`tinynet` in a process of its own, with what this one has imported; answers its number."""
    process = os.fork()
    if process == 0:
        status = 99
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                main(arguments, prog_name="tinynet")
        except SystemExit as error:
            status = error.code
        finally:
            os._exit(status)
    return process


def ended(process):
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def bytes_recorded():
    return sum(path.stat().st_size for path in Path("runs").glob("*/events.jsonl"))


def go_on(until=None):
    """Train, from the latest checkpoint if there is a run; kill it once it has recorded so many bytes. How it ended."""
    process = start(*(("train", "--resume", "latest") if bytes_recorded() else LONG))
    while until is not None and bytes_recorded() < until:
        if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return ended(process)
        time.sleep(0.001)
    if until is not None:
        os.kill(process, signal.SIGKILL)
    return ended(process)


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="POSIX processes")
def test_twenty_kills_at_random_times_change_no_bit(tmp_path, monkeypatch):
    """After each the training goes on as `tinynet train --resume latest` has it, until so many more bytes are recorded."""
    monkeypatch.chdir(tmp_path)
    assert ended(start(*LONG, "--runs", "whole")) == 0
    (whole,) = Path("whole").iterdir()
    choose, kills, resumed = random.Random(0), 0, 0
    while (status := go_on(bytes_recorded() + choose.randrange(1, 6000) if kills < KILLS else None)) or kills < KILLS:
        if status == -signal.SIGKILL:
            kills += 1
            continue
        (run,) = map(Run.open, Path("runs").iterdir())
        assert status == 2 * (not (run.path / "checkpoints" / "best.json").exists())  # 2: what else but to begin anew?
        resumed += len(run.segments) - 1
        shutil.rmtree("runs")
    (run,) = map(Run.open, Path("runs").iterdir())
    assert run.status == "finished"
    assert [s["status"] for s in run.segments[:-1]] == ["crashed"] * (len(run.segments) - 1)
    assert resumed + len(run.segments) > KILLS / 2
    assert bits(run.path) == bits(whole)
    for name in ("train/loss", "val/loss", "train/running_loss", "lr"):
        for ours, theirs in zip(run.series(name), Run.open(whole).series(name), strict=True):
            assert ours.tobytes() == theirs.tobytes()
