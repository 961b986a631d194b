"""Reading runs that are old, strange or hostile: layers, tables, and files that are none."""

import json
import math
import os
import sys
import types
import warnings

import numpy as np
import pytest

from monitor import Recorder, RecorderError, Run, load_runs, store


def with_lines(tmp_path, *lines):
    """A run folder with further lines in its events."""
    with Recorder(tmp_path) as recorder:
        recorder.log(1, loss=0.5)
    with open(recorder.path / "events.jsonl", "ab") as file:
        for line in lines:
            file.write((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n")
    return recorder.path


def event(**fields):
    return {"v": 1, "k": "step", "s": 2, "e": None, "t": 0.5, "g": 0, "d": {"loss": 0.25}, **fields}


@pytest.mark.parametrize(
    "bad",
    [
        event(v=2),
        event(v="1"),
        event(s=True),
        event(s=2**63),
        event(s=1.5),
        event(g="0"),
        event(g=2**70),
        event(g=None),
        event(e="one"),
        event(e="1"),
        event(e=10**400),
        event(d={"loss": "Infinity"}),
        event(d={"loss": "1_0"}),
        event(d={"loss": "0.5"}),
        event(d={"loss": None}),
        event(d={"loss": 10**400}),
        event(k="eval", d={"loss": {}}),
        event(k=None),
    ],
    ids=lambda e: json.dumps(e)[:90],
)
def test_lines_that_are_no_events_are_counted(tmp_path, bad):
    run = Run.open(with_lines(tmp_path, bad, event(s=3)))
    assert run.unreadable == 1
    assert run.series("loss")[0].tolist() == [1, 3]


@pytest.mark.parametrize(
    "good", [event(e=0.5), event(e="nan"), event(new=1), {k: v for k, v in event().items() if k not in "vtge"}]
)
def test_lines_with_more_or_less_than_usual_are_read(tmp_path, good):
    run = Run.open(with_lines(tmp_path, good, event(k="invented", d={"any": ["thing"]})))
    assert run.unreadable == 0
    assert run.series("loss")[1].tolist() == [0.5, 0.25]
    assert run.points("loss")[1].shape == (2,)
    assert len(run.select("invented")) == 1


def test_what_two_later_segments_measured_anew_counts_once():
    """Segment 1 went on from step 8, segment 2 from step 3: of the first only steps 1 to 3 are left, of the second none."""
    events = [event(s=s) for s in range(1, 11)]
    events += [event(k="start", s=8, g=1, d={"resumed_from": 8}), *(event(s=s, g=1) for s in range(9, 13))]
    events += [event(k="start", s=3, g=2, d={"resumed_from": 3}), *(event(s=s, g=2) for s in (4, 5))]
    run = Run({}, events)
    assert [(e["g"], e["s"]) for e in run.select("step")] == [(0, 1), (0, 2), (0, 3), (2, 4), (2, 5)]
    assert [e["g"] for e in run.select("start")] == [1, 2]
    assert run.select("step", segment=1) == events[11:15]


# Layers -----------------------------------------------------------------------------------------------------------------


def test_layers():
    recorder = Recorder(None)
    recorder.event("layer", 20, {"names": ["a", "c"], "grad_norm": [3, math.inf], "dead": [None, None]})
    recorder.event("layer", 10, {"names": ["a", "b"], "grad_norm": [1.0, None], "act_std": [0.5, 0.25]})
    recorder.event("layer", 20, {"names": ["a"], "grad_norm": [4]})
    for data in (
        {},
        {"names": ["a"]},
        {"names": "a", "grad_norm": "a"},
        {"names": ["a"], "grad_norm": [1, 2]},
        {"names": 3, "grad_norm": 3},
    ):
        recorder.event("layer", 30, data)
    recorder.event("layer", 40, {"names": ["a", "b", ["<b>"]], "grad_norm": ["low", {}, 10**400]})
    steps, names, matrix = recorder.run.layers("grad_norm")
    assert (steps.tolist(), names) == ([10, 20, 40], ["a", "c", "b", "['<b>']"])
    assert steps.dtype.kind == "i"
    nan, inf = math.nan, math.inf
    np.testing.assert_array_equal(matrix, [[1, nan, nan, nan], [4, inf, nan, nan], [nan, nan, nan, nan]])
    assert recorder.run.layers("act_std")[2].tolist() == [[0.5, 0.25]]
    with pytest.raises(KeyError, match=r"has no 'rank' of its layers; it has grad_norm, dead, act_std"):
        recorder.run.layers("rank")


# Tables -----------------------------------------------------------------------------------------------------------------


def recorded():
    recorder = Recorder(None)
    recorder.event("eval", 0, {"val/loss": 2.0, "train/loss": 1.5}, epoch=0)
    recorder.log(1, **{"train/loss": 1.0})
    recorder.log(2, **{"train/loss": math.inf, "<b>": 3})
    recorder.event("eval", 2, {"val/loss": math.nan}, epoch=1)
    return recorder


def check_table(table):
    assert list(table.columns) == ["epoch", "val/loss", "train/loss", "<b>"]
    assert (table.index.name, table.index.tolist()) == ("step", [0, 1, 2])
    nan = math.nan
    expected = [[0, 2, 1.5, nan], [nan, nan, 1, nan], [1, nan, math.inf, 3]]
    np.testing.assert_array_equal(table.to_numpy(), expected)


def test_a_table_for_pandas():
    pytest.importorskip("pandas")
    run = recorded().run
    check_table(run.to_pandas())
    assert Recorder(None).run.to_pandas().shape == (0, 0)
    recorder = Recorder(None)
    recorder.event("eval", 1, {"epoch": 7.0}, epoch=3)
    assert recorder.run.to_pandas()["epoch"].tolist() == [7]


def test_the_table_without_pandas(monkeypatch):
    """What DataFrame is given, by a stand-in for it."""

    class Index(list):
        def __init__(self, values, dtype, name):
            super().__init__(values)
            self.name = name
            assert dtype == "int64"

        def tolist(self):
            return list(self)

    class DataFrame:
        def __init__(self, values, index, columns):
            self.values, self.index, self.columns = values, index, columns

        def to_numpy(self):
            return self.values

    pandas = types.ModuleType("pandas")
    pandas.DataFrame, pandas.Index = DataFrame, Index
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    check_table(recorded().run.to_pandas())
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"to_pandas\(\) needs pandas: pip install pandas, .* extra \"pandas\""):
        recorded().run.to_pandas()


# Files that are none ----------------------------------------------------------------------------------------------------


def test_fields_of_other_types(tmp_path):
    path = with_lines(tmp_path)
    meta = store.read_json(path / "run.json")
    odd = {"name": 7, "status": None, "config": [1], "process": "me", "segments": "none", "started": 3}
    store.write_json(path / "run.json", {**meta, **odd})
    run = Run.open(path)
    assert (run.name, run.config, run.status) == ("7", {}, "None")
    assert len(run.segments) == 1
    repr(run)
    store.write_json(path / "run.json", {"schema": 1})
    assert (Run.open(path).name, Run.open(path).status) == ("run", "crashed")


@pytest.mark.skipif(os.name == "nt", reason="POSIX files")
@pytest.mark.parametrize("file", ["run.json", "events.jsonl"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "broken link"])
def test_what_is_no_file_is_neither_waited_for_nor_read(tmp_path, file, kind):
    path = with_lines(tmp_path)
    (path / file).unlink()
    if kind == "pipe":
        os.mkfifo(path / file)
    elif kind == "folder":
        (path / file).mkdir()
    else:
        (path / file).symlink_to("/dev/zero" if kind == "device" else "nowhere")
    with pytest.raises(RecorderError, match=r"is not a file|cannot read|run\.json is missing"):
        Run.open(path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert load_runs(tmp_path) == []
    assert all(str(warning.message).startswith("passed over: ") for warning in caught)
    assert len(caught) == 1 or (file, kind) == ("run.json", "broken link")
