"""Which run is meant, and the commands that look at one: report, watch, doctor, export."""

import json
import os
import re
import select
import signal
import subprocess
import sys
import urllib.request
import webbrowser
from pathlib import Path

import pytest

from monitor import Recorder, RecorderError, exporters, store
from tinynet.cli import which
from tinynet.cli.shared import Mistake, plain

HOSTILE = ["[red]x[bold]", "esc\x1b[2J", "two\nlines", "<script>alert(1)<b>"]


def record(folder, losses=(0.5, 0.25), started="2026-01-01T00:00:00+00:00", resumed=None):
    """Record a run in a folder."""
    recorder = Recorder(Path(folder).parent, name="x")
    for i, loss in enumerate(losses):
        recorder.event("eval", 10 * i, {"train/loss": loss, "val/loss": loss}, epoch=i)
    recorder.finish()
    recorder.describe(started=started, **({"resumed": resumed} if resumed else {}))
    return recorder.path.rename(folder)


@pytest.fixture
def four(tinynet):
    for i, name in enumerate(("moons", "moons-wide", "sine", "Spirals-2", "Spirals-10")):
        record(f"runs/2026010{i}-120000-{name}", started=f"2026-01-0{max(i, 3) + 1}T12:00:00+00:00")
    return tinynet


# Which run --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("runs/20260102-120000-sine", "20260102-120000-sine"),
        ("runs/20260102-120000-sine/", "20260102-120000-sine"),
        ("20260102-120000-sine", "20260102-120000-sine"),
        ("sine", "20260102-120000-sine"),
        ("SIN", "20260102-120000-sine"),
        ("20260101", "20260101-120000-moons-wide"),
        ("moons", "20260100-120000-moons"),  # the name itself goes before being a part of one
        ("wide", "20260101-120000-moons-wide"),
        ("runs/wide", "20260101-120000-moons-wide"),
        ("latest", "20260104-120000-Spirals-10"),
        ("runs/latest", "20260104-120000-Spirals-10"),
    ],
)
def test_a_run_by_folder_name_or_part(four, text, folder):
    assert which.find_run(text, "runs") == Path("runs", folder)


def test_the_latest_is_the_one_started_or_resumed_last(four):
    record("runs/odd", started="2025-12-31T00:00:00+00:00")
    assert which.find_run("latest", "runs").name == "20260104-120000-Spirals-10"
    record("runs/older", started="2020-01-01T00:00:00+00:00", resumed="2026-02-01T00:00:00+00:00")
    Path("runs/broken").mkdir()
    Path("runs/broken/run.json").write_text("{")
    assert which.find_run("latest", "runs").name == "older"


@pytest.mark.parametrize("strange", [[], {"a": 1}, 3, None])
def test_a_strange_time_is_none(tinynet, strange):
    record("runs/whole")
    record("runs/strange")
    meta = store.read_json(Path("runs/strange/run.json"))
    store.write_json(Path("runs/strange/run.json"), {**meta, "started": strange, "resumed": strange})
    assert which.find_run("latest", "runs").name == "whole"


def test_of_one_second_the_higher_number_is_the_latest(tinynet):
    for name in ("a-2", "a-10", "a"):
        record(f"runs/{name}")
    assert which.find_run("latest", "runs").name == "a-10"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("2026", "'2026' fits 5 runs: write more of the name, or 'latest'. There are 20260100-120000-moons, 20260101-"),
        ("spirals", "'spirals' fits 2 runs: write more of the name, or 'latest'. There are 20260103-120000-Spirals-2, 2"),
        ("sinus", "no run in 'runs' is called 'sinus': did you mean '20260102-120000-sine'? There are 20260100-"),
        ("zzz", "no run in 'runs' is called 'zzz'. There are 20260100-120000-moons, 2"),
        ("", "no run in 'runs' is called ''. There are 2"),
        (".", "there is no run in '.': run.json is missing. There are 2"),
        (
            "runs",
            "'runs' is a folder of runs, and one run is wanted: add its name, or 'latest'. There are 20260100-120000-m",
        ),
        ("lost/moons", "no run in 'runs' is called 'lost/moons'"),
        ("x\0y", "no run in 'runs' is called 'x\\x00y'"),
    ],
)
def test_a_run_that_is_not_meant_clearly(four, text, told):
    with pytest.raises(Mistake) as raised:
        which.find_run(text, "runs")
    assert raised.value.message.startswith(told)


def test_many_runs_are_not_all_listed(tinynet):
    for i in range(12):
        record(f"runs/run-{i}")
    with pytest.raises(Mistake, match=r"'zzz'\. The last 5 of 12 are run-7, run-8, run-9, run-10, run-11$"):
        which.find_run("zzz", "runs")
    with pytest.raises(Mistake, match=r"'run' fits 12 runs: .* The last 5 of 12 are run-7"):
        which.find_run("run", "runs")


COMMANDS = {"report": [], "watch": [], "doctor": [], "export": ["--to", "csv"], "train": []}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_so_in_one_sentence(four, command):
    words = [command, *COMMANDS[command], *(["--resume"] if command == "train" else []), "moonz-wide"]
    told = four(*words, status=2).stderr
    assert told.startswith("Error: no run in 'runs' is called 'moonz-wide': did you mean '20260101-120000-moons-wide'? ")
    assert len(told.splitlines()) == 1
    told = four(*words, "--runs", "none", status=2).stderr
    make = "make one with 'tinynet train --runs none', or say where they are with --runs"
    assert told == f"Error: there are no runs in 'none': {make}\n"


def test_a_folder_of_runs_is_known_wherever_it_is(tinynet):
    record("else where/sine")
    for words in (["export", "--to", "csv"], ["train", "--resume"]):
        told = tinynet(*words, "else where", status=2).stderr
        assert told.startswith(
            "Error: 'else where' is a folder of runs, and one run is wanted: add its name, or 'latest'. "
        )
    Path("empty").mkdir()
    for command in ("report", "doctor"):
        told = tinynet(command, "empty", status=2).stderr
        assert (
            told == "Error: 'empty' is neither a run nor a folder of runs: no run.json is in it, nor in the folders there\n"
        )


@pytest.mark.parametrize("name", HOSTILE)
def test_names_that_are_only_names(tinynet, name):
    record("runs/" + name)
    shown = plain(name)
    assert tinynet("report", name[:3]).stdout == f"{shown}: runs/{shown}/report.html\n"
    assert tinynet("export", name[:3], "--to", "csv").stdout.endswith(f": runs/{shown}/csv\n")
    assert "\x1b" not in tinynet("doctor", name[:3]).stdout
    told = tinynet("report", name + "?", status=2).stderr
    assert told.count("\n") == 1
    assert "\x1b" not in told


# report -----------------------------------------------------------------------------------------------------------------


def test_a_page_about_one_run(four):
    assert four("report").stdout == "20260104-120000-Spirals-10: runs/20260104-120000-Spirals-10/report.html\n"
    page = Path("runs/20260104-120000-Spirals-10/report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "not_checked" in page  # what the doctor says of it


def test_a_page_about_several(four):
    assert four("report", "sine", "wide", "sine").stdout == "2 runs: runs/report.html\n"
    facts = json.loads(four("report", "sine", "wide", "-o", "both.html", "--json").stdout)
    both = ["runs/20260102-120000-sine", "runs/20260101-120000-moons-wide"]
    assert facts == {"report": "both.html", "runs": both, "older": 0}
    one, other = (re.sub(r'"made":"[^"]+"', "", Path(page).read_text()) for page in ("both.html", "runs/report.html"))
    assert one == other
    assert len(one) < len(Path("both.html").read_text())  # when it was made was in it


def test_a_page_about_a_folder_of_runs(four):
    assert four("report", "runs").stdout == "5 runs: runs/report.html\n"
    assert Path("runs/report.html").read_text().count('"status":"finished"') == 5
    facts = json.loads(four("report", "runs", "sine", "-o", "all.html", "--json").stdout)
    assert [Path(run).name[16:] for run in facts["runs"]] == ["moons", "moons-wide", "sine", "Spirals-2", "Spirals-10"]
    Path("runs/torn").mkdir()
    Path("runs/torn/run.json").write_text("{")
    told = four("report", "runs")
    assert told.stdout == "5 runs: runs/report.html\n"
    assert re.fullmatch(r"left out: runs/torn/run\.json is not readable JSON: [^\n]*\n", told.stderr)
    assert four("report", "torn", status=2).stderr.startswith("Error: runs/torn/run.json is not readable JSON")


def test_of_many_runs_the_latest_are_shown(tinynet, monkeypatch):
    monkeypatch.setattr(which, "MOST_RUNS", 3)
    for i, day in enumerate((5, 1, 4, 2, 3)):
        record(f"many/run-{i}", started=f"2026-01-0{day}T12:00:00+00:00")
    assert tinynet("report", "many").stdout == "3 runs (2 older ones are left out): many/report.html\n"
    facts = json.loads(tinynet("report", "many", "--json").stdout)
    assert (facts["runs"], facts["older"]) == (["many/run-4", "many/run-2", "many/run-0"], 2)
    assert tinynet("doctor", "many").stdout.endswith("\n3 runs (2 older ones are left out); all about one of them: "
                                                     "tinynet doctor many/run-4\n")  # fmt: skip


def nested(levels):
    value = 1
    for i in range(levels):
        value = {"a": value} if i % 2 else [value]
    return value


@pytest.mark.parametrize("field", ["config", "command", "versions", "layers", "data", "segments", "test", "new"])
@pytest.mark.parametrize("levels", [50, 300, 450, 700])
def test_a_strange_run_json_hides_no_other_run_and_is_no_traceback(tinynet, field, levels):
    """JSON may be nested more deeply than Python calls may; nothing that is recorded is."""
    record("runs/strange")
    record("runs/whole", [0.5, float("nan")])
    path = Path("runs/strange/run.json")
    path.write_text(
        json.dumps({**store.read_json(path), field: {"x": nested(levels)} if field == "config" else nested(levels)})
    )
    refused = levels > 100
    whole = 1 if refused else 2
    for told in (tinynet("report", "runs"), tinynet("doctor", "runs", "--json", status=1), tinynet("runs")):
        assert (told.stderr != "") == refused
        assert "whole" in told.stdout or told.stdout == f"{whole} run{'s' * (whole > 1)}: runs/report.html\n"
    for words in (["report"], ["doctor"], ["export", "--to", "csv"]):
        told = tinynet(words[0], "strange", *words[1:], status=2 * refused).stderr
        assert (
            told == "Error: runs/strange/run.json is nested more than 100 levels deep: nothing that is recorded is\n"
        ) == refused


def test_none_of_the_runs_can_be_read(tinynet):
    for name in "ab":
        Path("torn", name).mkdir(parents=True)
        Path("torn", name, "run.json").write_text("{")
    assert tinynet("report", "torn", status=2).stderr.endswith("\nError: none of the runs in 'torn' can be read\n")


def test_the_page_is_opened(four, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    four("report", "sine", "--open")
    assert opened == [Path("runs/20260102-120000-sine/report.html").resolve().as_uri()]
    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    told = four("report", "sine", "--open", status=2)
    assert told.stderr.startswith("Error: there is no browser that could be opened here: open 'runs/2")
    assert told.stdout.endswith("report.html\n")


def test_a_page_that_cannot_be_written(four):
    assert (
        four("report", "-o", "no/x.html", status=2).stderr == "Error: cannot write 'no/x.html': there is no folder 'no'\n"
    )


def test_a_run_that_may_only_be_read_says_how_to_write_the_page_elsewhere(four, monkeypatch):
    write = store.write_whole

    def refuse(path, content):
        if path.parts[0] == "runs":
            raise RecorderError(f"cannot write {str(path)!r}: Read-only file system")
        write(path, content)

    monkeypatch.setattr(store, "write_whole", refuse)
    told = four("report", "sine", status=2).stderr
    page = "runs/20260102-120000-sine/report.html"
    assert told == f"Error: cannot write '{page}': Read-only file system; -o FILE writes it elsewhere\n"
    assert four("report", "sine", "-o", "x.html").stdout == "20260102-120000-sine: x.html\n"


# doctor -----------------------------------------------------------------------------------------------------------------


def test_the_doctor_says_what_is_wrong_and_by_its_exit_status(tinynet, monkeypatch):
    record("runs/well")
    record("runs/ill", [0.5, float("nan")])
    assert tinynet("doctor", "well").stdout.startswith("x (finished, 10 updates): nothing detected")
    monkeypatch.setenv("COLUMNS", "60")
    told = tinynet("doctor", "ill", status=1).stdout
    assert told.startswith("x (finished, 10 updates): nonfinite detected")
    assert max(map(len, told.splitlines()[1:])) <= 60
    facts = json.loads(tinynet("doctor", "ill", "--json", status=1).stdout)
    assert facts["coverage"]["detected"] == ["nonfinite"]
    assert json.loads(tinynet("doctor", "well", "--json").stdout)["exit_code"] == 0


def test_the_doctor_goes_through_a_folder_of_runs(tinynet):
    record("runs/well")
    record("my runs/ill", [0.5, float("nan")])
    record("my runs/well")
    told = tinynet("doctor", "my runs", status=1).stdout.split("\n\n")
    assert told[0].startswith("my runs/ill\nx (finished, 10 updates): nonfinite detected")
    assert "\ncritical nonfinite: " in told[0]
    assert told[1].startswith("my runs/well\nx (finished, 10 updates): nothing detected")
    assert told[2] == "2 runs; all about one of them: tinynet doctor 'my runs/ill'\n"
    facts = json.loads(tinynet("doctor", "my runs", "--json", status=1).stdout)
    assert [(each["folder"], each["exit_code"]) for each in facts] == [("my runs/ill", 1), ("my runs/well", 0)]
    assert len(json.loads(tinynet("doctor", "runs", "--json").stdout)) == 1


# export -----------------------------------------------------------------------------------------------------------------


def test_export(four):
    told = four("export", "sine", "--to", "csv").stdout
    folder = Path("runs/20260102-120000-sine/csv")
    assert told == f"20260102-120000-sine, as tables for pandas or a spreadsheet: {folder}\n"
    assert (folder / "scalars.csv").read_text().count("\n") == 3
    facts = json.loads(four("export", "sine", "--to", "tensorboard", "-o", "logs", "--json").stdout)
    assert facts == {"run": str(folder.parent), "format": "tensorboard", "written": "logs"}
    assert list(Path("logs").glob("**/events.out.tfevents.*"))


def test_export_mistakes(four):
    assert "Missing option '--to'" in four("export", "sine", status=2).stderr
    told = four("export", "sine", "--to", "tensorbord", status=2).stderr
    assert told.startswith("Error: unknown format 'tensorbord': did you mean 'tensorboard'? There are: csv, ")
    assert all(name in four("export", "--help").stdout for name in exporters.FORMATS)


def test_an_extra_that_is_missing_is_named(four, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    told = four("export", "sine", "--to", "mlflow", status=2).stderr
    assert re.match(r"Error: [^\n]*pip install [^\n]*mlflow[^\n]*\n$", told)


# watch ------------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize("what", ["[red]x", "."])
def test_watch_until_ctrl_c(tmp_path, what):
    record(tmp_path / "[red]x")
    command = [sys.executable, "-u", "-m", "tinynet.cli", "watch", what, "--runs", "."]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            assert select.select([process.stdout], [], [], 30)[0]
            line = process.stdout.readline().decode()
            address = re.fullmatch(
                rf"watching {re.escape(what)} at (http://127\.0\.0\.1:\d+/) \(Ctrl-C ends it.*\)\n", line
            )
            with urllib.request.urlopen(address[1], timeout=30) as page:
                assert page.read().startswith(b"<!doctype html>")
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
            assert process.stdout.read() == b""
        finally:
            process.kill()


def test_watch_says_what_is_in_the_way(four, monkeypatch):
    import socket

    from monitor import serve

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        told = four("watch", "sine", "--port", str(port), status=2).stderr
    assert told == f"Error: cannot listen at port {port}: Address already in use; --port 0 takes a free one\n"
    assert "99999 is not in the range 0<=x<=65535" in four("watch", "--port", "99999", status=2).stderr
    seen = []
    monkeypatch.setattr(serve, "serve", lambda run, port, say: seen.append((run, port)))
    four("watch")
    four("watch", "runs", "--port", "8000")
    assert seen == [(Path("runs/20260104-120000-Spirals-10"), 0), (Path("runs"), 8000)]
