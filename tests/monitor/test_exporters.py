"""export: which formats there are, tables for pandas and spreadsheets, and what is said where a package is missing."""

import csv
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from monitor import Recorder, RecorderError, Run, exporters
from monitor.exporters import FORMATS, MLflowSink, TensorBoardSink, WandbSink, common, export, read_tensorboard
from monitor.exporters.mlflow import _clean, tracking_uri

GOLDEN = Path(__file__).parent.parent / "goldens" / "run-v1"


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def recorded(root):
    with Recorder(root, name="moons") as recorder:
        recorder.log(1, **{"train/loss": 0.1 + 0.2, "bad": math.nan})
        recorder.log(2, **{"train/loss": -math.inf})
        recorder.event("eval", 2, {"val/loss": 1e300}, epoch=0.5)
        recorder.event("layer", 2, {"names": ["fc1", "fc2"], "grad_norm": [0.5, None], "dead": [None, math.nan]})
        recorder.log_histogram("w", [0.0, 2.0, 2.0])
    return Run.open(recorder.path) if recorder.path else recorder.run


# Which formats ----------------------------------------------------------------------------------------------------------


def test_every_format_has_a_line_that_says_what_it_is():
    assert list(FORMATS) == ["tensorboard", "csv", "mlflow", "wandb"]
    assert all(text and "\n" not in text and len(text) < 110 for text in FORMATS.values())


def test_another_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match="a run can be exported to tensorboard, csv, mlflow, wandb, not to 'parquet'"):
        export(recorded(tmp_path), "parquet")


@pytest.mark.parametrize("to", FORMATS)
def test_a_run_in_memory_needs_a_place(to):
    with pytest.raises(
        ValueError, match=rf"a run in memory has no folder: export\(run, '{to}', out=...\) must say where to"
    ):
        export(recorded(None), to)


def test_a_run_is_named_by_its_folder_too(tmp_path):
    run = recorded(tmp_path)
    assert export(str(run.path), "csv") == run.path / "csv"
    assert export(run.path, "tensorboard") == run.path / "tensorboard"
    assert Run.open(run.path).events == run.events
    with pytest.raises(RecorderError, match="there is no run in"):
        export(tmp_path / "gone", "csv")


def test_a_run_in_memory_with_pictures(tmp_path):
    recorder = Recorder(None)
    recorder.log_figure("a", np.zeros((2, 3)), step=1)
    recorder.finish()
    place = export(recorder.run, "tensorboard", tmp_path / "tb")
    assert read_tensorboard(place).figures()[0].read() == recorder.run.figures()[0].read()


@pytest.mark.parametrize("to", ["tensorboard", "csv"])
def test_what_is_there_is_not_overwritten(tmp_path, to):
    run = recorded(tmp_path)
    place = export(run, to)
    before = {file: (place / file).read_bytes() for file in os.listdir(place)}
    with pytest.raises(RecorderError, match=r"already: delete (it|them), or choose another folder"):
        export(run, to)
    assert {file: (place / file).read_bytes() for file in os.listdir(place)} == before
    other = export(run, to, tmp_path / "other" / "deep")
    assert {file: (other / file).read_bytes() for file in os.listdir(other)} == before


def test_a_failed_export_leaves_no_event_file(tmp_path, monkeypatch):
    run = recorded(tmp_path)

    def fail(sink, meta):
        raise RecorderError("cannot write: No space left on device")

    monkeypatch.setattr(TensorBoardSink, "finish", fail)
    with pytest.raises(RecorderError, match="No space left"):
        export(run, "tensorboard")
    assert not (run.path / "tensorboard").exists()
    (run.path / "tensorboard").mkdir()
    (run.path / "tensorboard" / "mine").write_text("")
    with pytest.raises(RecorderError, match="No space left"):
        export(run, "tensorboard")
    assert os.listdir(run.path / "tensorboard") == ["mine"]


def test_a_run_that_crashed_or_still_runs_is_exported_as_far_as_it_is(tmp_path):
    recorder = Recorder(tmp_path)
    recorder.log(a=1)
    export(Run.open(recorder.path), "tensorboard", tmp_path / "running")
    assert read_tensorboard(tmp_path / "running").status == "unknown"
    meta = {**recorder.meta, "process": None}
    export(Run(meta, recorder.run.events, recorder.path), "tensorboard", tmp_path / "crashed")
    assert read_tensorboard(tmp_path / "crashed").status == "failed"
    recorder.finish()


@pytest.mark.parametrize(
    "damage", [{"started": None}, {"started": 7, "config": 3}, {"segments": [1, {}]}, {"started": "x" * 99, "ended": []}]
)
def test_a_damaged_description_does_not_stop_an_export(tmp_path, damage):
    run = recorded(tmp_path)
    damaged = Run({**run.meta, **damage}, run.events, run.path)
    assert read_tensorboard(export(damaged, "tensorboard")).last("train/loss") == -math.inf
    assert (export(damaged, "csv") / "scalars.csv").is_file()


# Tables -----------------------------------------------------------------------------------------------------------------


def test_tables(tmp_path):
    place = export(recorded(tmp_path), "csv")
    assert sorted(os.listdir(place)) == ["histograms.csv", "layers.csv", "scalars.csv"]
    assert (place / "scalars.csv").read_bytes() == (
        b"step,epoch,train/loss,bad,val/loss\r\n1,,0.30000000000000004,nan,\r\n2,0.5,-inf,,1e+300\r\n"
    )
    assert (place / "layers.csv").read_bytes() == b"step,layer,grad_norm,dead\r\n2,fc1,0.5,\r\n2,fc2,,nan\r\n"
    (_, *bins) = rows(place / "histograms.csv")
    assert [[row[0], row[1], float(row[2]) <= 2 * (i > 0) < float(row[3]), row[4]] for i, row in enumerate(bins)] == [
        ["2", "w", True, "1"],
        ["2", "w", True, "2"],
    ]


def test_numbers_read_back_exactly(tmp_path):
    values = np.random.default_rng(0).normal(size=50) * 10.0 ** np.arange(-25, 25)
    with Recorder(tmp_path) as recorder:
        for step, value in enumerate(values):
            recorder.log(step, a=value)
    place = export(recorder.path, "csv")
    assert [float(row[1]) for row in rows(place / "scalars.csv")[1:]] == values.tolist()


def test_only_the_tables_that_have_something(tmp_path):
    with Recorder(tmp_path) as recorder:
        pass
    place = export(recorder.path, "csv")
    assert os.listdir(place) == ["scalars.csv"]
    assert (place / "scalars.csv").read_text() == "step\n"


def test_what_was_trained_again_is_there_once_and_steps_are_in_order(tmp_path):
    recorder = Recorder(tmp_path)
    for step in (3, 2, 1, 2):
        recorder.log(step, a=step)
    recorder.finish()
    with Recorder.resume(recorder.path, 2) as again:
        again.log(3, a=30)
    assert rows(export(again.path, "csv") / "scalars.csv") == [["step", "a"], ["1", "1.0"], ["2", "2.0"], ["3", "30.0"]]


def test_a_series_called_epoch_is_the_column_of_that_name(tmp_path):
    with Recorder(tmp_path) as recorder:
        recorder.event("eval", 1, {"epoch": 7.0, "a": 1.0}, epoch=0.5)
    assert rows(export(recorder.path, "csv") / "scalars.csv") == [["step", "epoch", "a"], ["1", "7.0", "1.0"]]


HOSTILE = [
    "=cmd|' /C calc'!A1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    'a"b,c\nd',
    "\x00",
    "\ud800",
    "step",
    "epoch",
    "<script>",
    "",
]


def test_text_is_never_a_formula_and_never_breaks_a_row(tmp_path):
    with Recorder(tmp_path) as recorder:
        recorder.event("step", 1, {name: -i - 1.0 for i, name in enumerate(HOSTILE)})
        recorder.event("layer", 1, {"names": HOSTILE, "=1": [-1.0] * len(HOSTILE), "step": [2] * len(HOSTILE)})
        recorder.log_histogram("=1", [1.0])
    place = export(recorder.path, "csv")
    formulas = ["'" + name for name in HOSTILE[:6]]
    text = [*formulas, *HOSTILE[6:8], "\\ud800"]
    header, row = rows(place / "scalars.csv")
    assert header == ["step", *text, "step_2", "epoch", "<script>", ""]
    assert row == ["1", *(f"{-i - 1.0}" for i in range(len(HOSTILE)))]
    header, *body = rows(place / "layers.csv")
    assert header == ["step", "layer", "'=1", "step_2"]
    assert body == [["1", name, "-1.0", "2.0"] for name in [*text, *HOSTILE[9:]]]
    assert rows(place / "histograms.csv")[1][1] == "'=1"


def test_ten_thousand_names(tmp_path):
    with Recorder(tmp_path) as recorder:
        for step in range(3):
            recorder.log(step, **{f"layer {i}/loss": i for i in range(10_000)})
    header, *body = rows(export(recorder.path, "csv") / "scalars.csv")
    assert (len(header), len(body), body[2][-1]) == (10_001, 3, "9999.0")


def test_pandas_reads_what_to_pandas_gives(tmp_path):
    pandas = pytest.importorskip("pandas")
    run = recorded(tmp_path)
    table = pandas.read_csv(export(run, "csv") / "scalars.csv", index_col="step")
    pandas.testing.assert_frame_equal(table, run.to_pandas(), check_exact=True)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecorderError, match=r"cannot make the folder '.*file/csv': Not a directory"):
        export(recorded(tmp_path / "runs"), "csv", tmp_path / "file" / "csv")


def test_damaged_events_are_passed_over(tmp_path):
    with Recorder(tmp_path) as recorder:
        recorder.log(1, a=1)
        for data in (
            {},
            {"names": 3, "x": [1]},
            {"names": ["a"], "x": [1, 2]},
            {"names": ["a", 7], "x": ["low", 5], "y": 3},
        ):
            recorder.event("layer", 1, data)
        for data in ({}, {"w": 3}, {"w": {"bins": [[1, -1]], "nonfinite": 0}}, {"v": {"bins": [["x", 1]]}}):
            recorder.event("histogram", 1, data)
        recorder.event("figure", 1, {"file": "../../secret"})
        recorder.event("note", 1, {})
        recorder.event("finding", 1, {})
        recorder.event("checkpoint", 1, {"role": "last"})
    place = export(recorder.path, "csv")
    assert rows(place / "layers.csv") == [["step", "layer", "x"], ["1", "7", "5.0"]]
    assert rows(place / "histograms.csv") == [["step", "name", "left", "right", "count"]]
    read = read_tensorboard(export(recorder.path, "tensorboard"))
    assert read.names() == ["a", "layer_x/7"]
    assert (read.histogram_names(), read.figures()) == ([], [])


# Other packages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sink", "package"), [(MLflowSink, "mlflow"), (WandbSink, "wandb")])
def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch, sink, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        ImportError, match=rf'^{sink.__name__} needs \w+: pip install {package}, or .* pip install -e "\.\[{package}\]"$'
    ):
        sink()
    with pytest.raises(ImportError, match=rf'pip install -e "\.\[{package}\]"$'):
        export(recorded(tmp_path), package)


def test_importing_the_exporters_loads_none_of_these_packages():
    code = "import sys, monitor.exporters; print({'mlflow', 'wandb', 'tensorboard', 'torch', 'pandas', 'PIL', 'matplotlib'} & set(sys.modules))"
    root = Path(common.__file__).parents[2]
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root).stdout
        == "set()\n"
    )


# What exporters share ---------------------------------------------------------------------------------------------------


def test_names_are_given_once_each_and_quickly():
    names = common.Names(lambda name: "_")
    given = [names(str(i)) for i in range(10_000)]
    assert len(set(given)) == 10_000
    assert given[:3] == ["_", "_2", "_3"] or given[:3] == ["_", "__2", "__3"]
    assert [names(str(i)) for i in range(10_000)] == given
    mixed = common.Names(str.lower, taken=("step",))
    assert [mixed(name) for name in ("a_2", "a", "A", "step", "A_2")] == ["a_2", "a", "a_3", "step_2", "a_2_2"]


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("train/loss", "train/loss"),
        ("", "_"),
        ("/a//b/", "_/a/_/b/_"),
        ("a/../b", "a/__/b"),
        (".", "_"),
        (".hidden", ".hidden"),
        ("a:b\n", "a_b_"),
        ("é", "é"),
        ("x" * 999, "x" * 240),
        ("x" * 239 + "/y", "x" * 239 + "/_"),
    ],
)
def test_names_that_mlflow_takes(name, clean):
    assert _clean(name) == clean


@pytest.mark.parametrize(
    ("out", "uri"),
    [
        ("folder", "sqlite:///{here}/folder/mlflow.db"),
        ("a/new one", "sqlite:///{here}/a/new one/mlflow.db"),
        (Path("folder"), "sqlite:///{here}/folder/mlflow.db"),
        ("mine.db", "sqlite:///{here}/mine.db"),
        ("a/mine.sqlite", "sqlite:///{here}/a/mine.sqlite"),
        ("http://localhost:5000", "http://localhost:5000"),
        ("sqlite:///x.db", "sqlite:///x.db"),
        ("file:/tmp/x", "file:/tmp/x"),
        ("databricks", "databricks"),
    ],
)
def test_where_mlflow_writes(out, uri, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tracking_uri(out) == uri.format(here=tmp_path.resolve())


class TheirError(Exception):
    """As other people's packages have them: of no class that we could know."""


def test_an_error_of_another_package_is_told_in_one_sentence(tmp_path, monkeypatch):
    abandoned = []

    class Broken(exporters.Sink):
        def write(self, event):
            raise TheirError("first line\n\n" + "and much more " * 100)

        def abandon(self):
            abandoned.append(self)

    monkeypatch.setattr(exporters, "_sink", lambda *_: Broken())
    run = recorded(tmp_path)
    with pytest.raises(RecorderError) as raised:
        export(run, "wandb")
    assert re.fullmatch(r"cannot export to wandb: TheirError: first line and much more .{,400}\.\.\.", str(raised.value))
    assert len(abandoned) == 1
    with pytest.raises(TheirError):  # what only our own code can raise is a defect, and is to look like one
        export(run, "tensorboard")


def test_flat_configurations():
    assert common.flat({"a": {"b": {"c": 1}}, "d": {}, 3: [1, {"x": None}], "e": math.inf, "f": True}) == {
        "a.b.c": 1, "d": "{}", "3": '[1, {"x": null}]', "e": "inf", "f": True,
    }  # fmt: skip
    assert common.flat(None) == common.flat([1]) == {}
    deep: dict = {}
    for _ in range(100):
        deep = {"a": deep, "b": 1}
    assert len(common.flat(deep)) < 30
    assert common.flat({"a": "\ud800"}) == {"a": "\\ud800"}


def test_the_identity_of_a_run_is_that_of_all_its_segments(tmp_path):
    recorder = Recorder(tmp_path, name="a")
    first = common.identity(recorder.meta, recorder.path)
    recorder.finish()
    with Recorder.resume(recorder.path) as again:
        assert common.identity(again.meta, again.path) == first
    assert len(first) == 16
    assert common.identity({**recorder.meta, "started": "2026"}, recorder.path) != first
    assert common.identity(recorder.meta, tmp_path / "other") != first
    assert common.identity({"segments": [3]}, tmp_path) == common.identity({"segments": [4]}, tmp_path)


def test_when_an_event_was_recorded():
    meta = {
        "started": "2026-01-01T00:00:00+00:00",
        "resumed": "2026-01-01T01:00:00+00:00",
        "segments": [{"started": "2026-01-01T00:00:00+00:00"}],
    }
    at = common.clock(meta)
    assert at({"g": 0, "t": 1.5}) == 1767225601.5
    assert at({"g": 1, "t": 2}) == 1767229202
    assert at({"g": 7}) == 1767229200
    for bad in ({"g": 0, "t": "nan"}, {"g": 0, "t": math.nan}, {"g": 0, "t": None}, {"g": 0, "t": 1e308}):
        assert at(bad) == 1767225600
