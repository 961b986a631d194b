"""TensorBoard, MLflow and Weights & Biases read what our exporters write, each with its own code."""

import gc
import importlib.util
import json
import logging
import math
import os
import random
import struct
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from monitor import Recorder, RecorderError, Run
from monitor.exporters import MLflowSink, TensorBoardSink, WandbSink, export, read_tensorboard
from monitor.histograms import Histogram

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
GOLDENS = Path(__file__).parent.parent / "goldens"
CONFIG = {
    "optimizer": {"name": "adam", "lr": 0.1},
    "sizes": [2, 16],
    "bad": math.nan,
    "<k>\x00": "\ud800",
    "long": "z" * 9000,
}
NAMES = [
    "train/loss",
    "a<b>",
    "a_b_",
    "",
    "..",
    "/x/../y/",
    "é",
    "x" * 400,
    "x" * 399 + "y",
    "a:b",
    ".hidden",
    "a\x00\x1b[2J",
]
NAMES += ["<script>", "step", "_step", "_timestamp", "\ud800", "*", "a.b", "a"]
VALUES = np.r_[np.linspace(-3, 5, 100), 0.0, math.nan]

pytestmark = pytest.mark.filterwarnings("default")  # theirs are not ours to mend


@pytest.fixture(scope="module", autouse=True)
def versions(request):
    """Say against which versions all this was checked."""
    packages = [name for name in ("tensorboard", "mlflow", "wandb") if importlib.util.find_spec(name)]
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        if packages:
            print("\nexporters checked with", ", ".join(f"{name} {version(name)}" for name in packages))


def recorded(root, sink, name="moons"):
    """A run with one of everything; nothing of ours or theirs may change random numbers."""
    random.seed(1)
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    with Recorder(root, name=name, config=CONFIG, sinks=[sink]) as recorder:
        for step in range(1, 6):
            recorder.event("step", step, {"loss": 1 / step, "nan": math.nan, "inf": math.inf, "-inf": -math.inf})
            recorder.event("eval", step, {"val/loss": 0.1 * step}, epoch=step / 2)
        recorder.event("step", 5, {name: i for i, name in enumerate(NAMES)})
        recorder.event("layer", 5, {"names": ["fc1", "fc2"], "grad_norm": [0.5, None]})
        recorder.log_histogram("weights", VALUES, step=2)
        recorder.log_figure("a/picture", np.eye(3), step=3, caption="three")
        recorder.log_figure("../../evil\x00", np.eye(3), step=3)
        recorder.note("a *remark*")
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002
    assert recorder._sinks == [sink], "the sink has failed"
    return Run.open(recorder.path)


def resumed(run, sink):
    """The run again from step 3 on."""
    with Recorder.resume(run.path, 3, sinks=[sink]) as recorder:
        for step in (4, 5, 6):
            recorder.log(step, loss=-step)
    assert recorder._sinks == [sink], "the sink has failed"
    return Run.open(run.path)


# TensorBoard ------------------------------------------------------------------------------------------------------------


def accumulated(folder, kind="event_accumulator"):
    accumulator = pytest.importorskip(f"tensorboard.backend.event_processing.{kind}")
    everything = {"scalars": 0, "histograms": 0, "images": 0, "tensors": 0}
    read = accumulator.EventAccumulator(str(folder), size_guidance=everything)
    read.Reload()
    return read


def test_tensorboard_reads_everything(tmp_path):
    pytest.importorskip("tensorboard")
    run = recorded(tmp_path, TensorBoardSink())
    for folder in (run.path / "tensorboard", export(run, "tensorboard", tmp_path / "out")):
        read = accumulated(folder)
        names = [name.replace("\ud800", "\\ud800") for name in run.names()]
        assert read.Tags()["scalars"] == [*names, "layer_grad_norm/fc1", "weights/nonfinite"]
        for name in run.names():
            steps, values = run.series(name)
            found = read.Scalars(name.replace("\ud800", "\\ud800"))
            assert [event.step for event in found] == steps.tolist()
            np.testing.assert_array_equal([event.value for event in found], values.astype(np.float32))
        began = next(event["t"] for event in run.events if event["k"] == "step")
        assert round(read.Scalars("loss")[0].wall_time % 1, 4) == round(began % 1, 4)
        (event,) = read.Histograms("weights")
        histogram = Histogram.of(VALUES)
        assert (event.step, event.histogram_value.num, sum(event.histogram_value.bucket)) == (2, 101, 101)
        filled = {
            limit: n for limit, n in zip(event.histogram_value.bucket_limit, event.histogram_value.bucket, strict=True) if n
        }
        counts, edges = histogram.counts(), histogram.edges()
        assert filled == {edges[i + 1]: counts[i] for i in np.flatnonzero(counts)}
        (image,) = read.Images("a/picture")
        assert (image.step, image.width, image.height) == (3, 3, 3)
        assert image.encoded_image_string == run.figures()[0].read()


def test_tensorboard_forgets_what_was_trained_again(tmp_path):
    pytest.importorskip("tensorboard")
    run = resumed(recorded(tmp_path, TensorBoardSink()), TensorBoardSink())
    for folder in (run.path / "tensorboard", export(run, "tensorboard", tmp_path / "out")):
        found = accumulated(folder).Scalars("loss")
        steps, values = run.series("loss")
        assert [event.step for event in found] == steps.tolist() == [1, 2, 3, 4, 5, 6]
        np.testing.assert_array_equal([event.value for event in found], values.astype(np.float32))
        assert (
            [event.step for event in accumulated(folder).Scalars("val/loss")]
            == run.series("val/loss")[0].tolist()
            == [1, 2, 3]
        )


def test_tensorboard_reads_the_golden_file_and_a_cut_one(tmp_path):
    pytest.importorskip("tensorboard")
    run = Run.open(GOLDENS / "run-v1")
    (golden,) = (GOLDENS / "tensorboard" / "run-v1").glob("*tfevents*")
    for name in run.names():
        assert [event.step for event in accumulated(golden).Scalars(name)] == run.series(name)[0].tolist()
    content = golden.read_bytes()
    for cut in range(30, len(content), 97):
        (tmp_path / golden.name).write_bytes(content[:cut])
        ours = len([event for event in read_tensorboard(tmp_path).events if event["k"] == "step"])
        tags = accumulated(tmp_path).Tags()["scalars"]
        assert bool(ours) == bool(tags)


@pytest.mark.parametrize("fast", ["false", "true"])  # read by Python, and by TensorBoard's data server
def test_the_pages_of_tensorboard_get_it_all(tmp_path, fast):
    program = pytest.importorskip("tensorboard.program")
    run = recorded(tmp_path / "runs", TensorBoardSink())
    board = program.TensorBoard()
    board.configure(
        argv=[None, "--logdir", str(tmp_path / "runs"), f"--load_fast={fast}", "--port", "0", "--host", "127.0.0.1"]
    )
    address = board.launch()
    name = f"{run.path.name}/tensorboard"

    def ask(path, **body):
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(
            f"{address}data/{path}", data, {"Content-Type": "application/json"} if body else {}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    for _ in range(100):  # until all is loaded
        if ask("plugin/text/tags").get(name):
            break
        time.sleep(0.2)
    where = f"run={urllib.parse.quote(name)}"
    assert ask(f"plugin/text/text?{where}&tag=notes")[0]["text"] == "<p>a <em>remark</em></p>"
    assert ask(f"plugin/histograms/histograms?{where}&tag=weights")[0][1] == 2
    assert ask("plugin/images/tags")[name]["a/picture"]["samples"] == 1
    assert "<script>" in ask("plugin/scalars/tags")[name]
    infos = {info["name"]: info["type"] for info in ask("plugin/hparams/experiment", experimentName="")["hparamInfos"]}
    assert infos["optimizer.lr"] == "DATA_TYPE_FLOAT64"
    assert infos["bad"] == infos["sizes"] == "DATA_TYPE_STRING"
    asked = {"experimentName": "", "allowedStatuses": ["STATUS_SUCCESS"], "colParams": [], "startIndex": 0, "sliceSize": 9}
    (group,) = ask("plugin/hparams/session_groups", **asked)["sessionGroups"]
    gc.collect()  # closes the data server
    assert (group["hparams"]["optimizer.lr"], group["hparams"]["optimizer.name"]) == (0.1, "adam")


# MLflow -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def mlflow(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    return mlflow


def all_runs(mlflow, uri, experiment="default"):
    client = mlflow.MlflowClient(uri)
    return client, client.search_runs([client.get_experiment_by_name(experiment).experiment_id])


def test_mlflow_reads_everything(mlflow, tmp_path):
    run = recorded(tmp_path / "runs", MLflowSink())
    uri = f"sqlite:///{tmp_path}/runs/mlflow.db"
    client, (read,) = all_runs(mlflow, uri)
    assert (read.info.run_name, read.info.status) == ("moons", "FINISHED")
    assert read.info.end_time >= read.info.start_time > 1e12
    expected = {
        "optimizer.name": "adam",
        "optimizer.lr": "0.1",
        "sizes": "[2, 16]",
        "bad": "nan",
        "_k__": "\\ud800",
        "long": "z" * 6000,
    }
    assert read.data.params == expected
    assert read.data.tags["mlflow.note.content"] == "step 3: a *remark*"
    assert len(read.data.metrics) == len(run.names()) + 1

    def history(name):
        return [(metric.step, metric.value) for metric in client.get_metric_history(read.info.run_id, name)]

    assert history("loss") == [(step, 1 / step) for step in range(1, 6)]
    assert history("val/loss") == [(step, 0.1 * step) for step in range(1, 6)]
    assert all(math.isnan(value) for _, value in history("nan"))
    assert history("inf")[0] == (1, sys.float_info.max)  # MLflow has no infinity
    assert history("layer_grad_norm/fc1") == [(5, 0.5)]
    assert [history(name)[0][1] for name in ("train/loss", "a_b_", "a_b__2", "_", "__", "_/x/__/y/_")] == [0, 1, 2, 3, 4, 5]
    first = client.get_metric_history(read.info.run_id, "loss")[0].timestamp
    assert abs(first - read.info.start_time) < 60_000
    files = [file.path for file in client.list_artifacts(read.info.run_id, "figures")]
    assert files == [f"figures/{figure.file}" for figure in sorted(run.figures(), key=lambda figure: figure.file)]
    assert (tmp_path / "runs/mlartifacts" / read.info.run_id / "artifacts" / files[0]).read_bytes().startswith(b"\x89PNG")
    assert sorted(os.listdir(tmp_path)) == ["runs"]  # nothing in the current folder
    assert mlflow.active_run() is None


@pytest.mark.parametrize(("status", "theirs"), [("interrupted", "KILLED"), ("failed", "FAILED"), ("my own", "FINISHED")])
def test_mlflow_knows_how_a_run_ended(mlflow, tmp_path, status, theirs):
    recorder = Recorder(tmp_path / "runs", sinks=[MLflowSink(experiment="endings")])
    uri = f"sqlite:///{tmp_path}/runs/mlflow.db"
    assert all_runs(mlflow, uri, "endings")[1][0].info.status == "RUNNING"
    recorder.finish(status, "because")
    _, (read,) = all_runs(mlflow, uri, "endings")
    assert (read.info.status, read.data.tags["run.reason"]) == (theirs, "because")


def test_mlflow_goes_on_with_a_resumed_run_and_export_makes_another(mlflow, tmp_path):
    run = resumed(recorded(tmp_path / "runs", MLflowSink()), MLflowSink())
    client, (read,) = all_runs(mlflow, f"sqlite:///{tmp_path}/runs/mlflow.db")
    values = [(metric.step, metric.value) for metric in client.get_metric_history(read.info.run_id, "loss")]
    assert sorted(values)[3:] == [(4, -4), (4, 0.25), (5, -5), (5, 0.2), (6, -6)]  # both: MLflow cannot take back
    assert (read.info.status, read.data.tags["mlflow.note.content"]) == ("FINISHED", "step 3: a *remark*")
    uri = f"sqlite:///{tmp_path}/other.db"
    place = export(run, "mlflow", uri)
    client, reads = all_runs(mlflow, uri)
    assert [place] == [f"{uri} (run {read.info.run_id})" for read in reads]
    values = [(metric.step, metric.value) for metric in client.get_metric_history(reads[0].info.run_id, "loss")]
    # MLflow has them by time, and run.json says to the second when a segment began: seconds may overlap.
    assert sorted(values) == [(1, 1), (2, 0.5), (3, 1 / 3), (4, -4), (5, -5), (6, -6)]


def test_mlflow_gets_a_run_once_by_export_even_beside_what_a_sink_wrote(mlflow, tmp_path):
    run = recorded(tmp_path / "runs", MLflowSink())
    uri = f"sqlite:///{tmp_path}/runs/mlflow.db"
    place = export(run, "mlflow")
    assert len(all_runs(mlflow, uri)[1]) == 2
    with pytest.raises(RecorderError) as raised:
        export(run, "mlflow")
    assert (
        str(raised.value)
        == f"{run.path.name!r} has been exported there: {place}. Delete that one in MLflow, or choose another place"
    )
    export(recorded(tmp_path / "runs", MLflowSink()), "mlflow")  # another run
    client, reads = all_runs(mlflow, uri)
    assert len(reads) == 4
    client.delete_run(place.split("(run ")[1][:-1])
    assert export(run, "mlflow") != place


def test_an_export_to_mlflow_that_fails_leaves_no_run(mlflow, tmp_path, monkeypatch):
    run = recorded(tmp_path / "runs", MLflowSink("sqlite:///" + str(tmp_path / "else.db")))
    monkeypatch.setattr(MLflowSink, "finish", lambda self, meta: 1 / 0)
    with pytest.raises(RecorderError, match="cannot export to mlflow: ZeroDivisionError: division by zero"):
        export(run, "mlflow", tmp_path / "a folder")
    assert all_runs(mlflow, f"sqlite:///{tmp_path}/a folder/mlflow.db")[1] == []


def test_an_address_that_mlflow_does_not_take_is_one_sentence(mlflow, tmp_path):
    run = recorded(tmp_path / "runs", MLflowSink("sqlite:///" + str(tmp_path / "else.db")))
    for uri in ("gopher://here", f"file://{tmp_path}/mlruns"):
        with pytest.raises(RecorderError) as raised:
            export(run, "mlflow", uri)
        assert str(raised.value).startswith("cannot export to mlflow: ")
        assert "\n" not in str(raised.value)
        assert len(str(raised.value)) < 500


def test_mlflow_takes_ten_thousand_names_and_a_server_that_is_named(mlflow, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/named.db")
    with Recorder(None, sinks=[sink := MLflowSink()]) as recorder:
        recorder.log(1, **{f"layer {i}/loss": i for i in range(10_000)})
    _, (read,) = all_runs(mlflow, sink.uri)
    assert sink.uri.endswith("named.db")
    assert len(read.data.metrics) == 10_000


def test_a_failing_mlflow_costs_the_sink_and_not_the_run(mlflow, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="the sink MLflowSink failed and is left out from now on"):
        recorder = Recorder(tmp_path / "runs", sinks=[MLflowSink(f"sqlite:///{tmp_path}/file/x.db")])
    recorder.log(a=1)
    recorder.finish()
    assert Run.open(recorder.path).last("a") == 1


# Weights & Biases -------------------------------------------------------------------------------------------------------


def records(folder):
    """What is in a .wandb file, by its own messages. The frame is that of LevelDB's log: blocks of 32 KiB, after 7 bytes."""
    messages = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    (file,) = folder.glob("*.wandb")
    data, at, part = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, size, kind = struct.unpack_from("<IHB", data, at)
        part += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # the whole of a record, or the last part of one
            record = messages.Record()
            record.ParseFromString(part)
            part = b""
            yield record.WhichOneof("record_type"), record


def history(folder):
    found = []
    for kind, record in records(folder):
        if kind == "history":
            found.append(
                {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
            )
    return found


def equal(a, b):
    return a == b or (a != a and b != b)


def test_wandb_keeps_everything(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.chdir(tmp_path)
    run = recorded(tmp_path / "runs", sink := WandbSink())
    assert sink.where.parent == tmp_path / "runs" / "wandb"
    rows = history(sink.where)
    assert [row["step"] for row in rows] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5, 5, 2, 3, 3]
    values = {(row["step"], name): value for row in rows for name, value in row.items()}
    for step in range(1, 6):
        assert (values[step, "loss"], values[step, "val/loss"]) == (1 / step, 0.1 * step)
        assert equal(values[step, "nan"], math.nan)
        assert (values[step, "inf"], values[step, "-inf"]) == (math.inf, -math.inf)
    changed = {"": "_", "step": "step_2", "_step": "_step_2", "_timestamp": "_timestamp_2", "\ud800": "\\ud800"}
    for i, name in enumerate(NAMES):
        assert values[5, changed.get(name, name)] == i, name
    assert values[5, "layer_grad_norm/fc1"] == 0.5
    assert values[2, "weights/values"] == Histogram.of(VALUES).counts().tolist()
    np.testing.assert_allclose(values[2, "weights/bins"], Histogram({}).edges(), rtol=1e-15)
    image = sink.where / "files" / values[3, "figures/a-picture/path"]
    assert values[3, "figures/a-picture/caption"] == "three"
    assert image.read_bytes().startswith(b"\x89PNG")
    began = next(event["t"] for event in run.events if event["k"] == "step")
    assert round(rows[0]["_timestamp"] % 1, 4) == round(began % 1, 4)
    (*_, last) = [record.run for kind, record in records(sink.where) if kind == "run"]
    assert (last.display_name, last.notes) == ("moons", "step 3: a *remark*")
    config = {item.key: json.loads(item.value_json) for item in last.config.update}
    assert (config["optimizer.lr"], config["bad"], config["sizes"]) == (0.1, "nan", "[2, 16]")
    assert [record.exit.exit_code for kind, record in records(sink.where) if kind == "exit"] == [0]
    assert sorted(os.listdir(tmp_path)) == ["runs"]
    evil = [path for path in tmp_path.rglob("*evil*") if run.path not in path.parents and sink.where not in path.parents]
    assert evil == []


def test_wandb_never_drops_a_step_that_goes_back_and_a_resumed_run_keeps_its_id(tmp_path):
    pytest.importorskip("wandb")
    first = WandbSink()
    run = resumed(recorded(tmp_path / "runs", first), second := WandbSink())
    ids = [next(record.run.run_id for kind, record in records(sink.where) if kind == "run") for sink in (first, second)]
    assert ids[0] == ids[1]
    assert first.where != second.where
    assert [row["loss"] for row in history(second.where) if "loss" in row] == [-4, -5, -6]
    with Recorder(tmp_path / "runs", name="back", sinks=[third := WandbSink(tmp_path / "elsewhere")]) as recorder:
        for step in (5, 3, 4):
            recorder.log(step, loss=step)
    assert third.where.parent == tmp_path / "elsewhere" / "wandb"
    assert [(row["step"], row["loss"]) for row in history(third.where)] == [(5, 5), (3, 3), (4, 4)]
    places = [export(run, "wandb"), export(run, "wandb")]
    assert places[0] != places[1]
    for place in places:
        assert [row["loss"] for row in history(place) if "loss" in row] == [1, 0.5, 1 / 3, -4, -5, -6]


def test_wandb_says_how_a_run_ended_and_its_own_tool_finds_it(tmp_path):
    pytest.importorskip("wandb")
    recorder = Recorder(tmp_path, name="m" * 300, sinks=[sink := WandbSink()])
    recorder.finish("failed")
    assert recorder._sinks == [sink]
    assert [record.exit.exit_code for kind, record in records(sink.where) if kind == "exit"] == [1]
    command = [sys.executable, "-m", "wandb", "sync", "--dry-run", str(sink.where)]
    tool = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert sink.where.name in tool.stdout + tool.stderr


def test_a_failing_wandb_costs_the_sink_and_not_the_run(tmp_path):
    pytest.importorskip("wandb")
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="the sink WandbSink failed .* RecorderError: cannot make the folder"):
        recorder = Recorder(tmp_path / "runs", sinks=[WandbSink(tmp_path / "file" / "x")])
    recorder.log(a=1)
    recorder.finish()
    assert Run.open(recorder.path).last("a") == 1
