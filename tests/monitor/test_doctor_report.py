"""What the doctor answers, and that it answers whatever it is given: empty, torn, hostile and huge runs."""

import json
import math
import time
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import monitor
from monitor import Doctor, Finding, Recorder, RecorderError, Report, Run, diagnose
from monitor.doctor import RULES
from monitor.doctor.findings import OPEN, Evidence, printable
from monitor.quantities import QUANTITIES

IDS = [
    "nonfinite",
    "not_learning",
    "underperforms",
    "overfit",
    "underfit",
    "lr_too_high",
    "lr_too_low",
    "grad_sign",
    "stale_gradients",
    "wrong_gradient",
    "vanishing_gradients",
    "exploding_gradients",
    "dead_units",
    "saturated_units",
    "symmetric_init",
    "bad_initial_loss",
    "bad_inputs",
    "label_noise",
    "plateau",
    "unstable",
    "over_regularised",
    "metric_mismatch",
]


def strict(value):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(json.dumps(value, allow_nan=False), parse_constant=refuse)


def sick(name="sick", root=None):
    recorder = Recorder(root=root, name=name)
    for i in range(20):
        recorder.event("eval", 10 * i, {"train/loss": 0.9**i, "val/loss": 1.0 + 0.1 * i}, i)
    recorder.event("step", 200, {"train/loss": math.nan})
    return recorder


# The report -----------------------------------------------------------------------------------------------------------


def test_every_question_is_answered_once():
    for run in (Run({}, []), sick().run):
        assert sorted(f.id for f in diagnose(run).findings) == sorted(IDS)


def test_a_finding_has_the_fields_that_were_promised_and_cannot_be_changed():
    assert [f.name for f in fields(Finding)] == [
        "id", "verdict", "severity", "step_range", "evidence", "causes", "advice", "track_record",
    ]  # fmt: skip
    finding = diagnose(sick().run).detected[0]
    assert {"statistic", "estimate", "interval", "n"} < {f.name for f in fields(finding.evidence)}
    assert finding.track_record is None
    with pytest.raises(FrozenInstanceError):
        finding.id = "other"


def test_the_worst_comes_first_and_the_exit_code_says_that_there_is_something():
    report = diagnose(sick().run)
    assert [(f.severity, f.id) for f in report.detected] == [
        ("critical", "nonfinite"),
        ("error", "not_learning"),
        ("warning", "overfit"),
    ]
    assert report.exit_code == 1
    assert diagnose(Run({}, [])).exit_code == 0


def test_an_error_comes_before_a_warning_and_what_is_clear_after_both():
    recorder = Recorder(root=None)
    for i in range(10):
        recorder.event("eval", i, {"train/loss": 1.0}, i)
        recorder.event("layer", i, {"names": ["relu", "tanh", "out"], "dead": [0.9, 0, 0], "saturated": [None, 0.1, None]})
    report = diagnose(recorder.run)
    assert [f.id for f in report.detected] == ["not_learning", "dead_units"]
    verdicts = [f.verdict for f in report.findings]
    assert verdicts == [v for v in ("detected", "underpowered", "clear", "not_checked") for _ in range(verdicts.count(v))]


def test_steps_that_no_training_has_are_passed_over():
    recorder = sick()
    recorder.event("step", 2**60, {"lr": math.nan})
    recorder.event("layer", 2**60, {"names": ["a"], "act_mean": ["nan"]})
    report = diagnose(recorder.run)
    assert report.steps == 200
    assert "train/loss is nan" in report.detected[0].message


def test_coverage_says_what_was_checked():
    coverage = diagnose(sick().run).coverage
    assert list(coverage) == ["detected", "underpowered", "clear", "not_checked"]
    assert coverage["detected"] == ["nonfinite", "not_learning", "overfit"]
    assert "dead_units" in coverage["not_checked"]
    assert sorted(id for ids in coverage.values() for id in ids) == sorted(IDS)


def test_data_are_strict_json_with_everything_in_them():
    recorder = sick()
    recorder.event("eval", 300, {"val/loss": math.inf})
    data = strict(diagnose(recorder.run).data())
    assert data["exit_code"] == 1
    first = data["findings"][0]
    assert {"id", "verdict", "severity", "step_range", "message", "advice", "causes", "evidence"} <= set(first)
    assert first["step_range"] == [200, 300]
    assert first["message"] == first["evidence"]["sentence"]


def test_the_text_says_what_where_why_and_what_to_try():
    text = str(diagnose(sick().run))
    assert text.startswith("sick (running, 200 updates): nonfinite, not_learning, overfit detected; ")
    for part in ("CRITICAL  nonfinite, step 200\n", "train/loss is nan at step 200", "cause: ", "try: ", "rule: exact"):
        assert part in text
    assert "Not checked:" in text
    assert "The training still goes on" in text
    assert "vanishing_gradients, exploding_gradients, dead_units, saturated_units: the layers were not" in text  # once


@pytest.mark.parametrize("width", [40, 100])
def test_no_line_is_longer_than_asked_for(width):
    lines = diagnose(sick().run).text(width).splitlines()
    assert max(map(len, lines[1:])) <= width


def test_an_empty_run_says_that_nothing_could_be_checked():
    text = diagnose(Run({"status": "finished"}, [])).text()
    assert text.startswith("run (finished, 0 updates): nothing could be checked")
    assert "nonfinite: nothing was recorded" in text


def test_names_from_a_run_cannot_steer_a_terminal():
    recorder = Recorder(root=None, name="\x1b[31mred\n")
    recorder.event("eval", 1, {"\x1b]0;title\x07\u202e" + "x" * 500: math.nan})
    recorder.event("layer", 1, {"names": ["\x9b2J"], "act_mean": ["nan"]})
    recorder.finish("failed", "FloatingPointError: \x1b[2J")
    text = diagnose(recorder.run).text()
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert max(map(len, text.splitlines())) <= 124
    assert printable("a" * 80) == "a" * 80
    assert len(printable("a" * 81)) == 80


def test_a_report_says_how_the_run_ended_and_what_was_unreadable(tmp_path):
    with sick(root=tmp_path) as recorder:
        path = recorder.path
    with open(path / "events.jsonl", "ab") as file:
        file.write(b'{"half')
    report = diagnose(str(path))
    assert report.status == "finished"
    assert "passed over: 1." in report.text()
    meta = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps({**meta, "status": "running", "process": None}))
    assert diagnose(path).status == "crashed"
    assert "its process died" in diagnose(path).text()


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(TypeError, match="diagnose: run must be a Run or the path of a run's folder, got int"):
        diagnose(3)
    with pytest.raises(RecorderError, match="there is no run in"):
        diagnose(tmp_path)


def test_the_losses_of_examples_are_read_from_the_folder(tmp_path):
    rows = 0.5 + np.random.default_rng(0).normal(size=(20, 50)) * 0.01 + np.linspace(0, 0.2, 20)[:, None]
    with Recorder(tmp_path, name="overfits") as recorder:
        for i, row in enumerate(rows):
            recorder.event("eval", i, {"train/loss": 0.9**i, "val/loss": row.mean()}, i)
            recorder.log_val_losses(row, i)
    evidence = next(f for f in diagnose(recorder.path).detected if f.id == "overfit").evidence
    assert 0.3 < evidence.interval[0] < evidence.interval[1] < 0.5
    (recorder.path / "val_loss.npy").write_bytes(b"no losses")
    evidence = next(f for f in diagnose(recorder.path).detected if f.id == "overfit").evidence
    assert evidence.interval is None


# The callback ---------------------------------------------------------------------------------------------------------


class Training:
    def __init__(self, recorder, step=200, epoch=20):
        self.recorder, self.step, self.epoch = recorder, step, epoch


def test_the_callback_records_each_finding_once_with_the_run():
    recorder, doctor = sick(), Doctor()
    doctor.on_train_end(Training(recorder))
    events = recorder.run.select("finding")
    assert [e["d"]["id"] for e in events] == ["nonfinite", "not_learning", "overfit"]
    assert {(e["s"], e["e"]) for e in events} == {(200, 20.0)}
    assert all({"id", "verdict", "severity", "step_range", "message", "advice"} <= set(e["d"]) for e in events)
    assert [f.data() for f in doctor.report.detected] == [e["d"] for e in events]


def test_the_callback_records_nothing_of_a_healthy_run():
    recorder, doctor = Recorder(root=None), Doctor()
    recorder.log(loss=1.0)
    doctor.on_train_end(Training(recorder, 1, 1))
    assert recorder.run.select("finding") == []
    assert isinstance(doctor.report, Report)
    assert doctor.report.exit_code == 0


def test_a_page_shows_what_was_found(tmp_path):
    recorder = sick()
    page = monitor.write_report(recorder.run, tmp_path / "report.html", diagnose(recorder.run)).read_text()
    assert "generalisation loss" in page


# Whatever a run may hold ----------------------------------------------------------------------------------------------

numbers = st.one_of(st.floats(), st.integers(-(2**70), 2**70), st.sampled_from(["nan", "inf", "-inf"]), st.booleans())
anything = st.recursive(
    st.one_of(numbers, st.none(), st.text(max_size=3)), lambda inner: st.lists(inner, max_size=5), max_leaves=12
)
names = st.sampled_from(["train/loss", "val/loss", "rho", "lr", "grad_norm", "val/accuracy", "x"])
quantities = st.sampled_from(["names", "grad_norm", "dead", "saturated", "weight_norm", "act_mean"])
events = st.builds(
    lambda kind, step, data, segment: {"v": 1, "k": kind, "s": step, "e": None, "t": 0.0, "g": segment, "d": data},
    st.sampled_from(["step", "eval"]), st.integers(-(2**63), 2**63 - 1) | st.integers(0, 20), st.dictionaries(names, numbers),
    st.integers(0, 2),
)  # fmt: skip
layer_events = st.builds(
    lambda step, data: {"v": 1, "k": "layer", "s": step, "e": None, "t": 0.0, "g": 0, "d": data},
    st.integers(-(2**63), 2**63 - 1) | st.integers(0, 20), st.dictionaries(quantities, anything),
)  # fmt: skip


@pytest.mark.parametrize("size", [1e300, 1.7e308, -1.7e308, 5e-324])
def test_numbers_at_the_end_of_what_a_float_can_hold(size):
    """Sums of such numbers overflow: the answer may say little, but there is one, and no warning."""
    recorder = Recorder(root=None)
    layer = {"names": ["a", "b", "c", "d", "e"]}
    for step in range(30):
        jump = size * (1 - step % 2 / 2)
        recorder.event("eval", step, {"train/loss": jump, "val/loss": size})
        recorder.event("step", step, {"rho": jump, "grad_norm": size, "lr": size})
        recorder.event("layer", step, layer | {name: [size, jump, size, jump, size] for name in QUANTITIES})
    assert diagnose(recorder.run).text()


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(events | layer_events, max_size=25),
    st.dictionaries(st.sampled_from(["baseline", "class_counts", "data", "config", "reason"]), anything),
)
def test_no_run_makes_the_doctor_fail(found, meta):
    report = diagnose(Run(meta, found))
    strict(report.data())
    assert str(report)
    for finding in report.findings:
        low, high = finding.step_range or (0, 0)
        assert low <= high


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 50])
def test_runs_of_any_length_are_judged(n):
    recorder = Recorder(root=None)
    for i in range(n):
        recorder.event("eval", i, {"train/loss": 1.0, "val/loss": 1.0, "lr": 0.0}, i)
        recorder.event("step", i, {"rho": 0.0, "grad_norm": 0.0})
        recorder.log_val_losses(np.zeros(12), i)
        layer = {"names": list("abcde"), "grad_norm": [0.0] * 5, "dead": [0.0] * 5, "saturated": [0.0] * 5}
        recorder.event("layer", i, layer)
    strict(diagnose(recorder.run).data())


def test_long_runs_take_a_time_that_grows_with_them_and_no_faster():
    step = {"train/loss": 0.5, "rho": 0.9}
    layer = {"names": list("abcd"), "grad_norm": [1.0] * 4, "dead": [0.0, None, 0.0, None]}
    events = [
        {
            "v": 1,
            "k": "layer" if i % 50 == 0 else "step",
            "s": i,
            "e": None,
            "t": 0.0,
            "g": 0,
            "d": step if i % 50 else layer,
        }
        for i in range(300_000)
    ]
    began = time.process_time()
    report = diagnose(Run({"status": "finished"}, events))
    assert time.process_time() - began < 10  # some 0.5 s; a second look at every event for each other one would take hours
    assert report.steps == 299_999


def test_evidence_may_be_a_sentence_alone():
    finding = Finding("plateau", "not_checked", "info", None, Evidence("why"))
    assert finding.message == "why"
    assert strict(finding.data())["step_range"] is None


def test_the_page_on_the_doctor_names_every_question():
    page = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text()
    assert not [id for id in IDS if id not in page]


# What cannot be told --------------------------------------------------------------------------------------------------


def unsure():
    """A run whose validation loss rose by half, by a test on its examples not beyond chance."""
    recorder = Recorder(root=None, name="unsure")
    generator = np.random.default_rng(0)
    for i in range(20):
        noise = generator.normal(size=40) * 3
        mean = 0.5 + 0.02 * max(0, i - 10) if i else 1.0
        recorder.event("eval", i, {"train/loss": 0.9**i, "val/loss": mean}, i)
        recorder.log_val_losses(mean + noise - noise.mean(), i)
    return recorder.run


def test_a_rise_that_is_only_underpowered_does_not_hide_behind_nothing_detected():
    report = diagnose(unsure())
    assert report.exit_code == 0
    assert report.suspected[0].id == "overfit"
    assert report.summary.startswith("nothing detected; cannot tell: overfit; ")
    assert f"updates): {report.summary}\n" in str(report)
    assert "cannot tell" not in diagnose(sick().run).summary


def test_questions_that_no_record_answers_are_one_line_and_do_not_count():
    report = diagnose(sick().run)
    checked = len(RULES) - sum(id in RULES for id in report.coverage["not_checked"])
    assert report.summary.endswith(f"; {checked} of {len(RULES)} questions checked")
    assert (report.checked, report.questions) == (checked, len(RULES))
    text = report.text(width=10_000)
    (line,) = (line for line in text.splitlines() if "underperforms" in line)
    assert all(id in line for id in OPEN)
    assert not any(reason in text for reason in OPEN.values())
    assert "data()" in line
    assert "--json" in line
    told = {finding["id"]: finding["message"] for finding in report.data()["findings"]}
    assert all(told[id] == reason for id, reason in OPEN.items())
