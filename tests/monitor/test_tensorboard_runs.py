"""Event files as runs: what a sink writes is read back, and so are the files of other writers, whole or damaged."""

import io
import math
import os
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor import Recorder, RecorderError, Run, store
from monitor.exporters import TensorBoardSink, export, import_tensorboard, read_tensorboard
from monitor.exporters.tensorboard import event_files, writing
from monitor.exporters.tensorboard.protobuf import Message, chunk, double, doubles, integer
from monitor.exporters.tensorboard.records import frame, read_records
from monitor.histograms import Histogram

GOLDENS = Path(__file__).parent.parent / "goldens"
CONFIG = {"optimizer": {"name": "adam", "lr": 0.1}, "sizes": [2, 16], "flag": True, "bad": math.nan, "none": None}
NAMES = ["", "a.b", "../x", "a/b//c", "\x00\x1b[2J", "<script>alert(1)</script>", "x" * 5000, "日本", "\ud800", "=1+1"]


def everything(root, **kwargs):
    """A run that has one of everything."""
    with Recorder(root, name="moons", config=CONFIG, **kwargs) as recorder:
        for step in range(1, 6):
            recorder.log(step, **{"train/loss": 1 / step, "lr": 0.1})
            recorder.event("eval", step, {"val/loss": 0.1 * step}, epoch=step / 2)
            data = {"names": ["fc1", "fc2"], "grad_norm": [0.5, step], "dead": [None, math.nan], "damaged": [1], "odd": 3}
            recorder.event("layer", step, data)
        recorder.log_histogram("weights", np.r_[np.linspace(-3, 5, 100), 0.0, 1e-30, 1e30, math.nan], step=2)
        recorder.log_histogram("nothing", [], step=2)
        recorder.log_figure("a/picture", np.eye(3), step=3, caption="three")
        recorder.event("finding", 4, {"id": "nonfinite", "evidence": {"n": 3}})
        recorder.note("a *remark*")
    return Run.open(recorder.path) if recorder.path else recorder.run


def same_series(read, run):
    for name in run.names():
        steps, values = run.series(name)
        with np.errstate(over="ignore"):
            values = values.astype(np.float32).astype(float)
        np.testing.assert_array_equal(read.series(name)[0], steps)
        np.testing.assert_array_equal(read.series(name)[1], values)


# Written and read back --------------------------------------------------------------------------------------------------


def test_everything_that_a_sink_writes_is_read_back(tmp_path):
    run = everything(tmp_path, sinks=[TensorBoardSink()])
    read = read_tensorboard(run.path / "tensorboard")
    assert (read.name, read.status, read.unreadable, "skipped" in read.meta) == (run.path.name, "finished", 0, False)
    assert read.meta["started"] == run.meta["started"]
    same_series(read, run)
    layers = {"layer_grad_norm/fc1": [0.5] * 5, "layer_grad_norm/fc2": [1, 2, 3, 4, 5], "layer_dead/fc2": [math.nan] * 5}
    for name, values in layers.items():
        np.testing.assert_array_equal(read.series(name)[1], values)
    assert read.names() == ["train/loss", "lr", "val/loss", *layers, "weights/nonfinite"]
    assert read.series("weights/nonfinite")[1].tolist() == [1]
    assert read.histogram_names() == ["weights", "nothing"]
    ((step, histogram),) = read.histogram("weights")
    assert (step, histogram.bins) == (2, run.histogram("weights")[0][1].bins)
    assert read.histogram("nothing")[0][1] == Histogram({})
    (figure,), (ours,) = read.figures(), run.figures()
    assert (figure.step, figure.name, figure.caption, figure.read()) == (3, "a/picture", "three", ours.read())
    texts = [event["d"]["text"] for event in read.select("note")]
    assert texts == ['findings:\n```\n{\n  "id": "nonfinite",\n  "evidence": {\n    "n": 3\n  }\n}\n```', "a *remark*"]
    expected = {
        "optimizer.name": "adam",
        "optimizer.lr": 0.1,
        "sizes": "[2, 16]",
        "flag": True,
        "bad": "nan",
        "none": "null",
    }
    assert read.config == expected
    assert type(read.config["flag"]) is bool


def test_times_are_those_of_the_recording(tmp_path):
    run = everything(tmp_path, sinks=[TensorBoardSink()])
    (file,) = event_files(run.path / "tensorboard")
    events = [Message(payload) for payload in read_records(file.read_bytes())[0]]
    first = run.select("step")[0]
    began = time.mktime(time.strptime(run.meta["started"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
    assert events[0].double(1) == events[1].double(1) == began
    assert events[2].double(1) == began + first["t"]
    assert int(file.name.split(".")[3]) == began


@pytest.mark.parametrize(
    ("status", "read"), [("finished", "finished"), ("failed", "failed"), ("interrupted", "failed"), ("odd", "unknown")]
)
def test_how_a_run_ended(tmp_path, status, read):
    recorder = Recorder(tmp_path, sinks=[TensorBoardSink()])
    assert read_tensorboard(recorder.path / "tensorboard").status == "unknown"  # so far
    recorder.finish(status)
    assert read_tensorboard(recorder.path / "tensorboard").status == read


def test_what_log_returned_from_is_in_the_file(tmp_path):
    recorder = Recorder(tmp_path, sinks=[TensorBoardSink()])
    for step in range(1, 4):
        recorder.log(loss=step)
        assert read_tensorboard(recorder.path / "tensorboard").last("loss") == step
    recorder.finish()


def test_names_are_kept_whatever_they_are(tmp_path):
    with Recorder(tmp_path, sinks=[TensorBoardSink()]) as recorder:
        recorder.event("step", 1, {name: i for i, name in enumerate(NAMES)})
        for name in NAMES:
            recorder.log_histogram(name, [1.0])
    read = read_tensorboard(recorder.path / "tensorboard")
    assert read.names() == read.histogram_names() == [name.replace("\ud800", "\\ud800") for name in NAMES]


def test_ten_thousand_names(tmp_path):
    with Recorder(tmp_path, sinks=[TensorBoardSink()]) as recorder:
        for step in (1, 2):
            recorder.log(step, **{f"layer {i}/loss": i * step for i in range(10_000)})
    read = read_tensorboard(recorder.path / "tensorboard")
    assert len(read.names()) == 10_000
    assert read.series("layer 9999/loss")[1].tolist() == [9999, 19998]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300, 1e-300, -0.0, 2**62, 10**30])
def test_numbers_become_32_bits(tmp_path, value):
    with Recorder(tmp_path, sinks=[TensorBoardSink()]) as recorder:
        recorder.log(a=value)
    with np.errstate(over="ignore", under="ignore"):
        expected = float(np.float32(value))
    assert repr(read_tensorboard(recorder.path / "tensorboard").last("a")) == repr(expected)


@given(st.dictionaries(st.integers(-96, 96), st.integers(1, 10**9), max_size=30))
def test_histograms_come_back_bin_by_bin(bins):
    histogram = Histogram(dict(sorted(bins.items())))
    from monitor.exporters.tensorboard.reading import _histogram

    written = Message(writing.histogram("w", histogram)).message(5)
    assert _histogram(written).bins == histogram.bins
    limits, counts = written.doubles(6), written.doubles(7)
    assert limits == sorted(set(limits))
    assert sum(counts) == written.double(3) == histogram.total
    assert len(limits) <= 2 * max(len(bins), 1)  # an empty stretch is one bucket


def test_estimates_of_a_histogram_are_right_to_within_a_bin():
    values = np.random.default_rng(0).normal(size=1000)
    written = Message(writing.histogram("w", Histogram.of(values))).message(5)
    assert written.double(1) <= values.min() <= written.double(1) / 1.78
    assert written.double(2) / 1.78 <= values.max() <= written.double(2)
    assert 1 / 1.78**2 < written.double(5) / (values**2).sum() < 1.78**2
    positive = Message(writing.histogram("w", Histogram.of(abs(values)))).message(5)
    assert 1 / 1.78 < positive.double(4) / abs(values).sum() < 1.78


# Resumed runs -----------------------------------------------------------------------------------------------------------

RESUMES = [
    (3, [4, 5]),
    (3, [3, 4]),
    (None, [4]),
    (None, [2]),
    (0, [1]),
    (5, [6]),
    (9, [10]),
    (4, [2, 3]),
    (-1, [0]),
    (2, [5]),
]


@pytest.mark.parametrize(("origin", "steps"), RESUMES, ids=str)
def test_a_resumed_run_is_read_as_our_own_reader_has_it(tmp_path, origin, steps):
    recorder = Recorder(tmp_path, sinks=[TensorBoardSink()])
    recorder.log(-2, loss=-2, other=-2)  # stays in every case
    for step in range(6):
        recorder.log(step, loss=step, other=step)
    recorder.finish("failed")
    with Recorder.resume(recorder.path, origin, sinks=[TensorBoardSink()]) as again:
        again.note("resumed")
        for step in steps:
            again.log(step, loss=100 + step)
    assert len(event_files(recorder.path / "tensorboard")) == 2
    read, run = read_tensorboard(recorder.path / "tensorboard"), Run.open(recorder.path)
    same_series(read, run)
    assert read.status == "finished"
    for name in ("loss", "other"):  # the last value of a step counts for us, TensorBoard draws all
        assert list(dict(as_tensorboard_has_it(recorder.path / "tensorboard", name))) == run.series(name)[0].tolist()
    np.testing.assert_array_equal(read.series("loss", segment=0)[1], run.series("loss", segment=0)[1])
    export(run, "tensorboard", tmp_path / "out")
    (file,) = event_files(tmp_path / "out")
    same_series(read_tensorboard(file), run)
    assert all(7 not in Message(payload) for payload in read_records(file.read_bytes())[0])  # nothing to forget
    assert file.name == event_files(recorder.path / "tensorboard")[0].name


def as_tensorboard_has_it(folder, name):
    """(step, value) in order of the files: a restart makes it forget everything at that step and later, whatever it is."""
    kept = []
    for payload in [payload for file in event_files(folder) for payload in read_records(file.read_bytes())[0]]:
        event = Message(payload)
        if event.message(7).integer(1) == writing.START:
            kept = [(step, value) for step, value in kept if step < event.integer(2)]
        values = [Message(value) for value in event.message(5).all(1)]
        kept += [(event.integer(2), value.single(2)) for value in values if value.text(1) == name]
    return sorted(kept)


def test_a_resumed_run_begins_when_it_was_resumed(tmp_path):
    began, resumed = "2026-01-01T00:00:00+00:00", "2026-01-01T01:00:00+00:00"
    sink = TensorBoardSink()
    sink.open({"started": began, "resumed": resumed, "segments": [{"started": began}]}, tmp_path)
    sink.write({"k": "start", "s": 0, "g": 1, "t": 0, "d": {"resumed_from": 7}})
    sink.write({"k": "note", "s": 7, "g": 1, "t": 1, "d": {"text": "a note is no reason to forget"}})
    sink.close()
    (file,) = event_files(tmp_path / "tensorboard")
    events = [Message(payload) for payload in read_records(file.read_bytes())[0]]
    assert file.name == "events.out.tfevents.1767229200.monitor"
    assert [event.double(1) - 1767229200 for event in events] == [0, 0, 1]
    assert all(7 not in event for event in events)


def restarted(tmp_path, *messages):
    (tmp_path / "tfevents").write_bytes(b"".join(map(frame, messages)))
    return read_tensorboard(tmp_path)


def test_a_restart_before_anything_was_measured_is_none(tmp_path):
    read = restarted(tmp_path, writing.restart(1e9, 0), writing.summary(1e9, 1, [writing.scalar("a", 1)]))
    assert [event["g"] for event in read.events] == [0]


def test_a_restart_forgets_its_step_and_all_later_ones(tmp_path):
    before = [writing.summary(1e9, step, [writing.scalar("a", step)]) for step in (1, 2, 3)]
    read = restarted(tmp_path, *before, writing.restart(1e9, 2), writing.summary(1e9, 2, [writing.scalar("b", 0)]))
    assert read.series("a")[0].tolist() == [1]
    read = restarted(tmp_path, *before, writing.restart(1e9, -(2**63)), writing.summary(1e9, 2, [writing.scalar("b", 0)]))
    assert all(event["s"] - 1 >= -(2**63) for event in read.events)
    assert read.series("a")[0].tolist() == [1, 2, 3]


def test_outermost_buckets_without_an_end(tmp_path):
    """TensorFlow's end at 1.8e308; the least and the greatest value say where they really end."""
    content = (
        double(1, -2.0) + double(2, 3.0) + doubles(6, [-1e300, -1.0, 1.0, 1.79e308]) + doubles(7, [0.0, 4.0, 0.0, 5.0])
    )
    read = restarted(tmp_path, writing.summary(1e9, 1, [chunk(1, "h") + chunk(5, content)]))
    middle = Histogram.of([-math.sqrt(2)] * 4 + [math.sqrt(3)] * 5)
    assert read.histogram("h")[0][1] == middle


def test_a_picture_says_its_size_and_colours():
    recorder = Recorder(None)
    recorder.log_figure("a", np.zeros((2, 3, 4)))
    (figure,) = recorder.run.figures()
    image = Message(writing.image("a", figure.read())).message(4)
    assert (image.integer(1), image.integer(2), image.integer(3)) == (2, 3, 4)


def test_a_clock_that_was_set_back_does_not_change_the_order_of_files(tmp_path):
    recorder = Recorder(tmp_path, sinks=[TensorBoardSink()])
    recorder.log(1, loss=1)
    recorder.finish()
    folder = recorder.path / "tensorboard"
    (file,) = event_files(folder)
    file.rename(folder / "events.out.tfevents.4000000000.elsewhere")  # as if begun long after now
    with Recorder.resume(recorder.path, 0, sinks=[TensorBoardSink()]) as again:
        again.log(1, loss=2)
    assert [path.name for path in event_files(folder)][1] == "events.out.tfevents.4000000001.monitor"
    assert read_tensorboard(folder).series("loss")[1].tolist() == [2]


def test_times_never_become_negative(tmp_path):
    times = [1e9, 1e9 - 50, math.nan, math.inf, -1e300, 1e300, 1e9 + 5]
    messages = [writing.summary(t, step, [writing.scalar("a", step)]) for step, t in enumerate(times)]
    (tmp_path / "tfevents").write_bytes(b"".join(map(frame, messages)))
    read = read_tensorboard(tmp_path)
    assert [event["t"] for event in read.events] == [50, 0, 0, 0, 0, 0, 55]
    assert read.meta["started"] == "2001-09-09T01:45:50+00:00"


# Where it goes ----------------------------------------------------------------------------------------------------------


def test_runs_in_one_root_have_folders_of_their_own(tmp_path):
    root = tmp_path / "tb"
    for loss in (1, 2):
        with Recorder(None, name="../a b", sinks=[TensorBoardSink(root)]) as recorder:
            recorder.log(loss=loss)
    assert sorted(os.listdir(root)) == ["a-b", "a-b-2"]
    assert [read_tensorboard(root / name).last("loss") for name in ("a-b", "a-b-2")] == [1, 2]
    with Recorder(tmp_path, sinks=[sink := TensorBoardSink(root)]) as recorder:
        pass
    assert sink.where == root / recorder.path.name
    with Recorder.resume(recorder.path, sinks=[again := TensorBoardSink(root)]):
        pass
    assert again.where == sink.where
    assert len(event_files(sink.where)) == 2


def test_a_run_in_memory_needs_a_place():
    with pytest.warns(
        UserWarning, match=r"ValueError: a run in memory has no folder: TensorBoardSink\('tensorboard'\) names one"
    ):
        recorder = Recorder(None, sinks=[TensorBoardSink()])
    recorder.log(a=1)
    assert recorder.run.last("a") == 1


def test_a_file_that_is_there_stays_as_it_is(tmp_path, monkeypatch):
    """Two writers that choose the same name at once: the second one fails, and writes nothing into the first one's file."""
    with Recorder(tmp_path, sinks=[TensorBoardSink()]) as recorder:
        recorder.log(a=1)
    (file,) = event_files(recorder.path / "tensorboard")
    before = file.read_bytes()
    monkeypatch.setattr("monitor.exporters.tensorboard.sink._next_name", lambda *_: file.name)
    with pytest.warns(UserWarning, match="cannot write event files in .*: File exists"):
        Recorder.resume(recorder.path, sinks=[TensorBoardSink()]).finish()
    assert file.read_bytes() == before


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "tb").write_text("a file")
    with pytest.warns(
        UserWarning, match=r"the sink TensorBoardSink failed .* RecorderError: cannot make a run folder in .*tb'"
    ):
        Recorder(tmp_path / "runs", sinks=[TensorBoardSink(tmp_path / "tb")])
    with pytest.raises(RecorderError, match=r"cannot write event files in .*tb/x': Not a directory"):
        export(everything(tmp_path), "tensorboard", tmp_path / "tb" / "x")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_costs_the_sink_and_not_the_run(tmp_path):
    recorder = Recorder(tmp_path, sinks=[sink := TensorBoardSink()])
    recorder.log(a=1)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, sink._descriptor)
    os.close(full)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            recorder.log(a=1)
        recorder.finish()
    (warning,) = caught
    assert "RecorderError: cannot write" in str(warning.message)
    assert "No space left on device. The run goes on and is recorded as before" in str(warning.message)
    assert Run.open(recorder.path).series("a")[0].tolist() == [1, 2, 3, 4]
    assert read_tensorboard(recorder.path / "tensorboard").series("a")[0].tolist() == [1]


def test_a_sink_that_is_closed_says_so(tmp_path):
    with Recorder(tmp_path, sinks=[sink := TensorBoardSink()]):
        pass
    with pytest.raises(RecorderError, match="the event file is closed"):
        sink.finish({})
    sink.close()


def test_a_step_costs_microseconds(tmp_path):
    recorder, best = Recorder(tmp_path, sinks=[TensorBoardSink()]), math.inf
    for _ in range(10):
        began = time.thread_time()
        for i in range(50):
            recorder.log({"train/loss": 0.123456 + i, "lr": 1e-3, "grad_norm": 3.25 * i})
        best = min(best, (time.thread_time() - began) / 50)
    recorder.finish()
    assert best < 400e-6  # 45 us on the machine where this was written; machines differ


# Files of other writers, and damage -------------------------------------------------------------------------------------


def test_what_pytorch_writes():
    read = read_tensorboard(GOLDENS / "tensorboard" / "torch")
    assert (read.name, read.status, read.unreadable) == ("torch", "finished", 0)
    assert read.series("train/loss")[0].tolist() == [1, 2, 3]
    np.testing.assert_array_equal(read.series("train/loss")[1], np.float32([0.1, 0.2, -3]))
    np.testing.assert_array_equal(read.series("train/loss", segment=0)[1], np.float32([0.1, 0.2, 0.3, 0.4]))
    assert np.isnan(read.series("bad", segment=0)[1]).all()
    assert "purge_step" not in read.meta
    assert read.config == {"lr": 0.1, "name": "adam", "flag": True}
    assert [event["d"]["text"] for event in read.select("note")] == ["remark/text_summary:\na *note*"]
    ((step, histogram),) = read.histogram("weights")
    assert step == 2
    assert_near(histogram)
    (figure,) = read.figures()
    assert (figure.name, pixels(figure.read()).tolist()) == ("picture", (255 * np.eye(3)).tolist())


def test_what_keras_writes():
    read = read_tensorboard(GOLDENS / "tensorboard" / "keras")
    assert read.series("epoch_loss")[1].tolist() == [0.25]
    assert [event["d"]["text"] for event in read.select("note")] == ["remark:\na note"]
    assert read.config == {"units": 16, "lr": 0.5}
    ((step, histogram),) = read.histogram("kernel")
    assert (step, histogram.total) == (7, 200)
    assert pixels(read.figures()[0].read()).shape == (2, 3)
    assert (read.unreadable, read.meta["skipped"]) == (1, ["'curve': a tensor of the plugin 'pr_curves'"])


def pixels(png):
    from matplotlib.image import imread

    image = np.rint(imread(io.BytesIO(png)) * 255)
    return image[..., 0] if image.ndim == 3 else image


def assert_near(histogram):
    """TensorBoard's buckets are finer than our bins: each value is in its bin or in the next one."""
    exact = Histogram.of(np.random.default_rng(0).normal(size=200))
    assert histogram.total == 200
    assert np.abs(np.cumsum(histogram.counts()) - np.cumsum(exact.counts())).max() <= 10


def whole_file(tmp_path):
    run = everything(tmp_path / "runs")
    (file,) = event_files(export(run, "tensorboard"))
    return file.read_bytes()


def test_cut_anywhere_the_beginning_is_read(tmp_path):
    content, file = whole_file(tmp_path), tmp_path / "tfevents"
    file.write_bytes(content)
    events = read_tensorboard(file).events
    assert len(events) > 20
    ends = np.cumsum([0] + [len(payload) + 16 for payload in read_records(content)[0]])
    for cut in range(0, len(content), 7):
        file.write_bytes(content[:cut])
        read = read_tensorboard(file)
        assert read.events == events[: len(read.events)]
        torn = cut not in ends
        assert read.unreadable == torn
        if torn:
            end = ends[ends <= cut][-1]
            assert read.meta["skipped"] == [f"tfevents: from byte {end} on, {cut - end} bytes are no whole record"]


def test_a_damaged_record_in_the_middle_costs_itself_only(tmp_path):
    content, file = bytearray(whole_file(tmp_path)), tmp_path / "tfevents"
    at = content.index(b"val/loss")
    content[at] ^= 1
    file.write_bytes(content)
    read = read_tensorboard(file)
    assert read.series("val/loss")[0].tolist() == [2, 3, 4, 5]
    assert len(read.series("train/loss")[0]) == 5
    assert read.unreadable == 1
    assert "does not match its checksum" in read.meta["skipped"][0]


def test_messages_that_are_none_are_counted(tmp_path):
    good = writing.summary(1e9, 1, [writing.scalar("a", 1)])
    histogram = double(1, -1) + double(2, 1) + double(3, 1)
    image = chunk(1, "i") + chunk(4, chunk(4, b"GIF89a"))
    tensor = chunk(1, "t") + chunk(9, chunk(1, chunk(1, "scalars")))
    bad = [
        chunk(1, "h") + chunk(5, histogram + doubles(6, [1.0, 2.0]) + doubles(7, [1.0])),
        chunk(1, "h") + chunk(5, histogram + doubles(6, [1.0]) + doubles(7, [math.inf])),
        chunk(1, "h") + chunk(5, histogram + doubles(6, [math.nan]) + doubles(7, [1.0])),
        chunk(1, "h") + chunk(5, histogram + doubles(6, [1.0]) + doubles(7, [1e300])),
        chunk(1, "h") + chunk(5, histogram + chunk(6, b"abc")),
        chunk(1, "h") + chunk(9, chunk(1, chunk(1, "histograms"))) + chunk(8, integer(1, 2) + doubles(6, [1.0, 2.0])),
        chunk(1, "s") + integer(2, 1),
        image,
        tensor + chunk(8, integer(1, 1) + chunk(4, b"abc")),
        tensor + chunk(8, integer(1, 99)),
        tensor + chunk(8, integer(1, 2) + doubles(6, [1.0, 2.0])),
        chunk(1, "audio") + chunk(6, b"x"),
        b"\x0b",
    ]
    content = [good, b"\xff\xff", integer(5, 3), *(writing.summary(1e9, 2, [value]) for value in bad), double(2, 1), good]
    (tmp_path / "tfevents").write_bytes(b"".join(map(frame, content)))
    read = read_tensorboard(tmp_path)
    assert [event["d"] for event in read.events] == [{"a": 1.0}, {"a": 1.0}]
    assert read.unreadable == len(bad) + 3
    assert "tfevents: record 1: an integer does not end" in read.meta["skipped"]
    assert len(read.meta["skipped"]) <= 21


def test_tensors_of_numbers_of_all_kinds(tmp_path):
    metadata = chunk(9, chunk(1, chunk(1, "scalars")))
    tensors = {
        "f": integer(1, 1) + chunk(4, b"\x00\x00\xc0\x3f"),
        "d": integer(1, 2) + doubles(6, [1.5]),
        "i": integer(1, 3) + integer(7, 3),
        "q": integer(1, 9) + integer(10, -3),
    }
    values = [chunk(1, name) + metadata + chunk(8, tensor) for name, tensor in tensors.items()]
    (tmp_path / "tfevents").write_bytes(frame(writing.summary(1e9, 1, values)))
    read = read_tensorboard(tmp_path)
    assert {name: read.last(name) for name in read.names()} == {"f": 1.5, "d": 1.5, "i": 3, "q": -3}


def test_many_problems_are_said_briefly(tmp_path):
    values = [chunk(1, f"{i}") + chunk(6, b"x") for i in range(100)] + [chunk(1, "7") + chunk(6, b"x")]
    (tmp_path / "tfevents").write_bytes(frame(writing.summary(1e9, 1, values)))
    skipped = read_tensorboard(tmp_path).meta["skipped"]
    assert skipped[0] == "'7': a value of a kind that is not read (2 times)"
    assert (len(skipped), skipped[-1]) == (21, "and 80 other problems")


PAYLOADS = read_records(b"".join(path.read_bytes() for path in sorted(GOLDENS.glob("tensorboard/*/*golden"))))[0]


@given(st.data())
@settings(max_examples=150)
def test_whatever_a_record_says_nothing_else_is_raised(tmp_path_factory, data):
    """Bytes are changed inside of messages, whose checksums are then right."""
    payload = bytearray(data.draw(st.sampled_from(PAYLOADS)))
    for at in data.draw(st.lists(st.integers(0, len(payload) - 1), min_size=1, max_size=5)):
        payload[at] = data.draw(st.integers(0, 255))
    file = tmp_path_factory.getbasetemp() / "tfevents"
    file.write_bytes(frame(bytes(payload)))
    read = read_tensorboard(file)
    for name in read.names():
        read.series(name)
    lines = file.with_name("events.jsonl")
    lines.write_bytes(b"".join(map(store.event_line, read.events)))
    assert store.read_events(lines) == (read.events, 0)


def test_hostile_sizes_are_quick(tmp_path):
    """Many empty values, a varint without an end, and limits without counts."""
    contents = [
        chunk(5, b"\x0a\x00" * 100_000),
        b"\x80" * 100_000,
        chunk(5, chunk(1, chunk(5, doubles(6, [1.0] * 100_000)))),
    ]
    (tmp_path / "tfevents").write_bytes(b"".join(map(frame, contents)))
    began = time.process_time()
    read = read_tensorboard(tmp_path)
    assert time.process_time() - began < 20
    assert read.unreadable == 100_000 + 2


def test_where_there_are_no_event_files(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(RecorderError, match=r"has no event files \(events.out.tfevents.\*\)$"):
        read_tensorboard(tmp_path)
    (tmp_path / "train" / "events.out.tfevents.1.x").write_bytes(b"")
    with pytest.raises(
        RecorderError, match=r"has no event files \(events.out.tfevents.\*\); its folders train do: read one of these"
    ):
        read_tensorboard(tmp_path)
    with pytest.raises(RecorderError, match="cannot read '.*gone': No such file"):
        read_tensorboard(tmp_path / "gone")
    empty = read_tensorboard(tmp_path / "train")
    assert (empty.events, empty.unreadable, empty.status) == ([], 0, "unknown")
    os.mkfifo(tmp_path / "tfevents")  # would be waited for
    with pytest.raises(RecorderError, match="is not a file"):
        read_tensorboard(tmp_path / "tfevents")


# Kept as a run of ours --------------------------------------------------------------------------------------------------


def test_importing_makes_a_run_folder(tmp_path):
    read = read_tensorboard(GOLDENS / "tensorboard" / "torch")
    run = import_tensorboard(GOLDENS / "tensorboard" / "torch", tmp_path, name="from torch")
    assert run.path.parent == tmp_path
    assert run.path.name.endswith("-from-torch")
    assert run.path.name[:8] == read.meta["started"][:10].replace("-", "")
    assert (run.name, run.config, run.status, run.unreadable, run.events) == (
        "from torch",
        read.config,
        read.status,
        0,
        read.events,
    )
    assert [figure.read() for figure in run.figures()] == [figure.read() for figure in read.figures()]
    assert Run.open(run.path).events == run.events
    assert import_tensorboard(GOLDENS / "tensorboard" / "torch", tmp_path).name == "torch"


def test_an_import_keeps_what_was_skipped(tmp_path):
    run = import_tensorboard(GOLDENS / "tensorboard" / "keras", tmp_path)
    assert run.meta["skipped"] == ["'curve': a tensor of the plugin 'pr_curves'"]


def test_names_of_figures_lead_nowhere(tmp_path):
    png = writing.PNG + bytes(30)
    values = [writing.image(name, png) for name in ["../../evil", "/etc/evil", "\x00", "", "a/b\\c", "x" * 999]]
    (tmp_path / "tfevents").write_bytes(frame(writing.summary(1e9, 1, values)))
    run = import_tensorboard(tmp_path / "tfevents", tmp_path / "runs")
    assert len(os.listdir(run.path / "figures")) == len(run.figures()) == 6
    assert sorted(os.listdir(run.path)) == ["events.jsonl", "figures", "run.json"]
    assert sorted(os.listdir(tmp_path)) == ["runs", "tfevents"]


def test_a_failed_import_leaves_nothing(tmp_path, monkeypatch):
    def fail(path, content):
        raise RecorderError(f"cannot write {path}")

    monkeypatch.setattr(store, "write_whole", fail)
    with pytest.raises(RecorderError, match="cannot write"):
        import_tensorboard(GOLDENS / "tensorboard" / "torch", tmp_path)
    assert os.listdir(tmp_path) == []


def test_the_bytes_that_are_written_are_those_of_before(tmp_path):
    """tests/external reads this very file with TensorBoard; a change of it must be read there again."""
    (file,) = event_files(export(Run.open(GOLDENS / "run-v1"), "tensorboard", tmp_path / "out"))
    (golden,) = event_files(GOLDENS / "tensorboard" / "run-v1")
    assert file.name == golden.name
    assert file.read_bytes() == golden.read_bytes()
