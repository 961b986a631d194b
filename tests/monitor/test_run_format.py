"""docs/run-format.md says what the code does, and a run that was written long ago can still be read and resumed."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import tinynet as tn
from monitor import Checkpoint, EarlyStopping, Recorder, Run, load_checkpoint, load_runs, store
from monitor.histograms import BINS, LIMITS
from monitor.quantities import QUANTITIES
from monitor.run import PER_SEGMENT
from optimizers import Adam

ROOT = Path(store.__file__).parent.parent
TEXT = (ROOT / "docs" / "run-format.md").read_text()
GOLDEN = ROOT / "tests" / "goldens" / "run-v1"
MOONS = tn.datasets.moons(48, noise=0.1, seed=0)


def rows(heading, first):
    """The first cells of the table whose first heading is `first`, in the part of the document called `heading`."""
    part = TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    table = part.split(f"| {first} |")[1].split("\n\n")[0]
    return {cells[0]: cells[1] for cells in re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE)}


def test_every_kind_of_event_is_documented():
    assert tuple(rows("events.jsonl", "kind")) == store.KINDS
    docstring = Recorder.event.__doc__
    assert docstring.split("kinds: ")[1].split(".")[0].split() == list(store.KINDS)


def test_every_field_of_an_event_is_documented():
    recorder = Recorder(None)
    assert list(rows("events.jsonl", "field")) == list(recorder.run.events[0])


def test_every_field_of_run_json_is_documented(tmp_path):
    with Recorder(tmp_path) as recorder:
        pass
    with Recorder.resume(recorder.path):
        pass
    documented = rows("run.json", "field")
    assert sorted(documented) == sorted(store.read_json(recorder.path / "run.json"))
    assert all(f"`{field}`" in documented["segments"] for field in PER_SEGMENT)
    assert re.findall(r"`(\w+)` \(", documented["process"]) == list(store.this_process())


def test_the_data_of_layers_and_histograms_are_documented():
    kinds = rows("events.jsonl", "kind")
    assert re.findall(r'"(\w+)":', kinds["layer"]) == ["names", *QUANTITIES]
    assert f"k = 1 ... {BINS}" in TEXT
    np.testing.assert_allclose(LIMITS[[0, 4, 48, BINS]], [1e-12, 1e-11, 1, 1e12], rtol=1e-15)


def test_what_later_segments_replace_is_documented():
    part = " ".join(TEXT.split("\n## Segments\n")[1].split("\n## ")[0].split())
    replaced, first = (
        part.split("readers leave out")[0].rsplit("Of ", 1)[1],
        part.split("has recorded a ")[1].split(",\n")[0],
    )
    assert re.findall(r"`(\w+)`", replaced) == list(store.REPLACED)
    assert re.findall(r"`(\w+)`", first.split(" event")[0]) == list(store.MEASURED)


def test_the_files_of_a_checkpoint_are_documented(tmp_path):
    model = tn.MLP([2, 3, 2], dropout=0.5, seed=0)
    recorder = Recorder(tmp_path)
    callbacks = [Checkpoint(every=1), EarlyStopping()]
    optimizer = Adam(list(model.named_parameters()), lr=0.01)
    tn.fit(model, MOONS, loss="cross_entropy", optimizer=optimizer, epochs=1, validation=MOONS, callbacks=callbacks,
           recorder=recorder)  # fmt: skip
    folder = recorder.path / "checkpoints"
    (about,), (arrays,) = folder.glob("step-*.json"), folder.glob("step-*.safetensors")
    fields = store.read_json(about)
    assert list(rows("checkpoints/", "field")) == list(fields)
    order = rows("checkpoints/", "field")["order"].split("batch: ")[1].split(" (")[0]
    assert sorted(re.findall(r"`(\w+)`", order)) == sorted(fields["order"])
    part = TEXT.split("\n## checkpoints/\n")[1].split("\n## ")[0]
    kinds = re.findall(r"^\| `(\w+)/", part, re.MULTILINE)
    assert {name.partition("/")[0] for name in load_file(arrays)} == set(kinds)
    pointer = re.search(r"best\.json are `(\{.*\})`", part)[1]
    for name in ("last.json", "best.json"):
        assert re.findall(r'"(\w+)":', pointer) == list(store.read_json(folder / name))


# An old run -------------------------------------------------------------------------------------------------------------


def test_a_run_of_version_1_can_be_read():
    run = Run.open(GOLDEN)
    assert (run.name, run.status, run.unreadable) == ("moons/adam", "finished", 0)
    assert run.config == {"lr": 0.01, "clip": "inf", "sizes": [2, 8, 2]}
    assert run.names()[:4] == ["train/loss", "train/accuracy", "val/loss", "val/accuracy"]
    steps, epochs, losses = run.points("val/loss")
    assert (steps.tolist(), epochs.tolist()) == ([0, 3, 6, 9, 12], [0, 1, 2, 3, 4])
    np.testing.assert_allclose(losses[[0, -1]], [0.842998206615448, 0.4556427001953125], rtol=0)
    assert np.isnan(run.last("train/loss"))
    assert run.last("grad_norm") == np.inf
    assert [event["d"]["text"] for event in run.select("note")] == ["a remark, with a <b>tag</b> and an é"]
    assert [(s["status"], s["started"]) for s in run.segments] == [("finished", "2026-11-21T06:57:38+00:00")]
    assert run.figures() == []
    with pytest.raises(KeyError, match=r"recorder\.watch\(model\) records layers"):
        run.layers("grad_norm")


def test_a_run_of_version_1_can_be_resumed(tmp_path):
    shutil.copytree(GOLDEN, tmp_path / "old")
    before = (GOLDEN / "events.jsonl").read_bytes()
    with Recorder.resume(tmp_path / "old", step=9) as recorder:
        recorder.event("eval", 12, {"val/loss": 0.25}, epoch=4)
    assert (tmp_path / "old" / "events.jsonl").read_bytes().startswith(before)
    (run,) = load_runs(tmp_path)
    assert run.series("val/loss")[1].tolist()[-2:] == [0.48884907364845276, 0.25]
    assert [s["status"] for s in run.segments] == ["finished", "finished"]
    assert run.config == Run.open(GOLDEN).config
    assert run.meta["started"] == "2026-11-21T06:57:38+00:00" != run.meta["resumed"]


def test_a_training_goes_on_from_a_checkpoint_of_version_1():
    """It was taken after four epochs, by code that knew no `order`; the loss after the fifth is what that code had there."""
    checkpoint = load_checkpoint(GOLDEN, "last")
    assert (checkpoint["step"], checkpoint["epoch"]) == (12, 4)
    model = tn.MLP([2, 8, 2], dropout=0.25, seed=1)
    optimizer = Adam(list(model.named_parameters()), lr=0.5)
    validation, stopping = tn.datasets.moons(30, noise=0.1, seed=1), EarlyStopping(patience=9)
    run = tn.fit(model, MOONS, loss="cross_entropy", optimizer=optimizer, epochs=5, batch_size=16, validation=validation,
                 callbacks=[stopping], resume=checkpoint)  # fmt: skip
    assert (optimizer.steps, optimizer.lr, stopping.best.epoch) == (15, 0.01, 5)
    assert run.series("val/loss")[0].tolist() == [15]
    assert run.last("val/loss") == pytest.approx(0.37764206528663635, rel=1e-5)
