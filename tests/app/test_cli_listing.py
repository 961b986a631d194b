"""`tinynet runs`: what the table says, in which order, on which terminal; and what it makes of damaged runs and odd names."""

import json
import re
import shutil
from pathlib import Path

import pytest

from monitor import Recorder, Run, store
from tinynet.cli import listing


def record(name, losses=(), status="finished", root="runs", metric="accuracy", scores=None, started=None, **config):
    """Record a run and return its folder; what `log` measured is there at steps 10, 20 ..."""
    recorder = Recorder(root, name=name, config=config)
    for i, loss in enumerate(losses):
        values = {"train/loss": loss / 2, "val/loss": loss}
        if scores:
            values[f"val/{metric}"] = scores[i]
        recorder.event("eval", 10 * (i + 1), values, epoch=i)
    recorder.finish(status)
    if started:
        recorder.describe(started=started)
    return recorder.path.rename(Path(root, f"20260101-000000-{store.folder_name(name)}"))  # whatever the clock says


def table(tinynet, *arguments):
    """{column: [cells]} as a pipe sees it; no cell of these tests has two spaces in it."""
    lines = [re.split(r"  +", line.strip()) for line in tinynet("runs", *arguments).stdout.splitlines()]
    return dict(zip(lines[0], zip(*lines[1:], strict=True), strict=True))


def names(tinynet, *arguments):
    return [row["run"].split("-", 2)[2] for row in json.loads(tinynet("runs", *arguments, "--json").stdout)]


def test_no_runs_yet(tinynet):
    assert tinynet("runs").stdout == "no runs in 'runs': make one with 'tinynet train'\n"
    Path("empty").mkdir()
    assert tinynet("runs", "empty").stdout == "no runs in 'empty': make one with 'tinynet train --runs empty'\n"
    assert json.loads(tinynet("runs", "--json").stdout) == []


def test_what_the_table_says(tinynet):
    record("good", [0.5, 0.25, 0.375], scores=[0.5, 0.9, 0.8], lr=0.003, optimizer="adam")
    path = record("none", status="failed")
    said = table(tinynet)
    assert list(said) == [c for c in listing.COLUMNS if c != "test"]  # a column without values is left out
    assert said["status"] == ("finished", "failed")
    assert [said[c] for c in ("loss", "best_loss", "metric")] == [("0.375", "-"), ("0.25", "-"), ("accuracy", "-")]
    assert [said[c] for c in ("score", "best_score", "train_loss")] == [("0.8", "-"), ("0.9", "-"), ("0.1875", "-")]
    assert [said[c] for c in ("steps", "lr", "optimizer")] == [("30", "0"), ("0.003", "-"), ("adam", "-")]
    rows = json.loads(tinynet("runs", "--json").stdout)
    assert list(rows[0]) == [*listing.COLUMNS, "path"]
    assert rows[1] == {
        **dict.fromkeys(listing.COLUMNS), "run": path.name, "status": "failed", "path": str(path), "steps": 0,
        "started": Run.open(path).meta["started"], "duration": rows[1]["duration"],
    }  # fmt: skip


def test_less_is_better_for_errors_and_unknown_for_strangers(tinynet):
    record("a", [1.0, 1.0], metric="mean_absolute_error", scores=[3.0, 2.0])
    record("b", [1.0, 1.0], metric="my_own", scores=[3.0, 2.0])
    record("c", [float("inf"), float("nan")])
    first, second, third = json.loads(tinynet("runs", "--json").stdout)
    assert (first["best_score"], first["score"]) == (2.0, 2.0)
    assert (second["best_score"], second["score"]) == (None, 2.0)
    assert (third["best_loss"], third["loss"]) == (None, "nan")


def test_the_rate_and_score_of_a_loop_of_ones_own(tinynet):
    recorder = Recorder("runs", name="own")
    for lr, loss in ((0.1, 3.0), (0.05, 2.0), (0.0, 1.0)):
        recorder.log(lr=lr, **{"train/loss": loss})
    recorder.finish()
    recorder.describe(test={"r2_score": 0.75})
    (row,) = json.loads(tinynet("runs", "--json").stdout)
    assert (row["lr"], row["train_loss"], row["steps"], row["test"], row["loss"]) == (0.1, 1.0, 3, 0.75, None)


def test_a_run_that_was_resumed_counts_as_its_segments_do(tinynet):
    path = record("again", [4.0, 0.1, 0.2], "interrupted")
    resumed = Recorder.resume(path, 10)
    resumed.event("eval", 20, {"val/loss": 3.0})
    resumed.finish()
    (row,) = json.loads(tinynet("runs", "--json").stdout)
    assert (row["best_loss"], row["loss"], row["status"]) == (3.0, 3.0, "finished")
    seconds = [max(e["t"] for e in Run.open(path).events if e["g"] == g) for g in (0, 1)]
    assert row["duration"] == pytest.approx(sum(seconds))
    assert row["steps"] == 20  # step 30 was thrown away


def test_steps_that_were_thrown_away_do_not_count(tinynet):
    path = record("back", [4.0, 0.1, 0.2], "interrupted")
    resumed = Recorder.resume(path, 10)
    resumed.event("eval", 20, {"val/loss": 3.0})
    resumed.finish("interrupted")
    Recorder.resume(path, 5).finish("interrupted")  # which measured nothing, and replaced nothing
    (row,) = json.loads(tinynet("runs", "--json").stdout)
    assert row["steps"] == 20


def test_only_the_lines_that_are_needed_are_parsed(tinynet, monkeypatch):
    recorder = Recorder("runs", name="long")
    for step in range(500):
        recorder.log(lr=0.5, **{"train/loss": 1.0 / (step + 1)})
    recorder.event("eval", 500, {"val/loss": 0.5})
    recorder.event("layer", 500, {"names": ["a"], "grad_norm": [1.0]})
    recorder.finish()
    parsed, parse = [], store.parse_event
    monkeypatch.setattr(store, "parse_event", lambda line: parsed.append(line) or parse(line))
    (row,) = json.loads(tinynet("runs", "--json").stdout)
    assert (row["steps"], row["lr"], row["loss"], row["train_loss"]) == (500, 0.5, 0.5, 1 / 500)
    assert len(parsed) <= 6


# Order and choice -------------------------------------------------------------------------------------------------------


@pytest.fixture
def four(tinynet):
    record("moons", [0.5], lr=0.1, optimizer="sgd", started="2026-01-03T00:00:00+00:00")
    record("sine", [float("nan")], lr=0.01, optimizer="adam", started="2026-01-02T00:00:00+00:00")
    record("moons-wide", [0.25], "failed", lr=1.0, optimizer="Adam", started="2026-01-04T00:00:00+00:00")
    record("empty", started="2026-01-01T00:00:00+00:00")
    return tinynet


def test_the_oldest_comes_first(four):
    assert names(four) == ["empty", "sine", "moons", "moons-wide"]
    assert names(four, "--reverse") == ["moons-wide", "moons", "sine", "empty"]


@pytest.mark.parametrize(
    ("column", "up", "down"),
    [
        ("best_loss", ["moons-wide", "moons", "empty", "sine"], ["moons", "moons-wide", "empty", "sine"]),
        ("loss", ["moons-wide", "moons", "sine", "empty"], ["moons", "moons-wide", "sine", "empty"]),
        ("lr", ["sine", "moons", "moons-wide", "empty"], ["moons-wide", "moons", "sine", "empty"]),
        ("optimizer", ["moons-wide", "sine", "moons", "empty"], ["moons", "moons-wide", "sine", "empty"]),
    ],
)
def test_any_column_sorts_and_what_is_missing_is_last(four, column, up, down):
    assert names(four, "--sort", column) == up
    assert names(four, "--sort", column, "--reverse") == down


@pytest.mark.parametrize("column", listing.COLUMNS)
def test_every_column_can_be_sorted_by(four, column):
    assert sorted(names(four, "--sort", column)) == ["empty", "moons", "moons-wide", "sine"]


def test_names_as_one_would_type_them(four):
    assert names(four, "--sort", "best-loss") == names(four, "--sort", "best_loss")
    assert names(four, "--sort", "val/loss") == names(four, "--sort", "loss")


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        (["MOONS"], ["moons", "moons-wide"]),
        (["status=failed"], ["moons-wide"]),
        (["optimizer=adam"], ["sine", "moons-wide"]),
        (["optimizer=adam", "moons"], ["moons-wide"]),
        (["lr=0.1"], ["moons"]),
        (["loss=-"], ["empty"]),
        (["no such thing"], []),
    ],
)
def test_filters(four, filters, left):
    assert names(four, *[word for text in filters for word in ("--filter", text)]) == left


def test_nothing_is_left(four):
    assert four("runs", "--filter", "status=lost").stdout == "no run in 'runs' is what --filter asks for\n"


def test_mistakes(four):
    told = four("runs", "--sort", "steep", status=2).stderr
    assert told.startswith("Error: unknown column 'steep': did you mean 'steps'? There are: best_loss, ")
    assert "unknown column 'stats': did you mean 'status'?" in four("runs", "--filter", "stats=failed", status=2).stderr
    Path("file").write_text("")
    told = four("runs", "file", status=2).stderr
    assert told == "Error: 'file' is not a folder: name the folder that holds the runs, such as runs\n"
    told = four("runs", "two moons", status=2).stderr
    look = "to list the runs with that in their name: tinynet runs --filter 'two moons'"
    assert told == f"Error: there is no folder 'two moons'; {look}\n"


# Terminals --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_table_fits_the_terminal(tinynet, monkeypatch, width):
    record("checkerboard", [0.5], scores=[0.9], lr=0.003, optimizer="adam", started="2026-01-03T00:00:00+00:00")
    monkeypatch.setenv("COLUMNS", str(width))
    told = tinynet("runs").stdout
    assert max(map(len, told.splitlines())) <= width
    assert all(word in told for word in ("-checkerboard", "finished", "0.5", "0.9"))
    assert ("left out here: " in told) == (width < 150)
    assert ("adam" in told) == (width >= 120)
    assert "adam" in tinynet("runs", "--sort", "optimizer").stdout  # what it is sorted by is shown


def test_a_pipe_gets_every_column_on_one_line_and_no_colour(tinynet):
    record("long-name-" * 10, [0.5], scores=[0.9], lr=0.003, optimizer="adam")
    header, row = tinynet("runs").stdout.splitlines()
    assert header.split() == [c for c in listing.COLUMNS if c != "test"]
    assert "\x1b" not in row
    assert "long-name-" * 9 in row


def test_a_long_name_is_broken_not_cut_and_takes_no_other_column_away(tinynet, monkeypatch):
    record("x" * 100, [0.5], scores=[0.9])
    monkeypatch.setenv("COLUMNS", "80")
    told = tinynet("runs").stdout
    assert told.count("x") == 100
    assert max(map(len, told.splitlines())) <= 80
    assert "0.9" in told


def test_colours_say_how_a_run_ended_unless_none_are_wanted(tmp_path, on_terminal):
    for status in ("finished", "interrupted", "failed"):
        record(status, status=status, root=tmp_path / "runs")
    screen = on_terminal(tmp_path, 80, "runs")
    assert sorted(re.findall(r"\x1b\[3(\d)m(\w+)", screen)) == [("1", "failed"), ("2", "finished"), ("3", "interrupted")]
    assert not re.search(r"\x1b\[3\d", on_terminal(tmp_path, 80, "runs", NO_COLOR="1"))


@pytest.mark.parametrize("name", ["[red]x[/red-not]", "esc\x1b[2J\x1b]0;title\x07", "two\nlines", "日本語", "<script>"])
def test_a_name_is_only_a_name(tinynet, name):
    shutil.move(record("a", [0.5]), "runs/" + name.replace("/", "|"))
    told = tinynet("runs").stdout
    assert "\x1b" not in told
    assert len(told.splitlines()) == 2
    expected = (
        name.replace("/", "|").encode("unicode_escape").decode() if not name.isprintable() else name.replace("/", "|")
    )
    assert told.splitlines()[1].startswith(expected)


def test_a_terminal_that_lacks_the_letters(tmp_path, monkeypatch, on_terminal):
    monkeypatch.chdir(tmp_path)
    shutil.move(record("a", [0.5]), "runs/ü")
    assert re.search(r"\\xfc +\x1b\[32mfinished", on_terminal(tmp_path, 80, "runs", PYTHONIOENCODING="ascii"))


# What is not a run, or no longer one --------------------------------------------------------------------------------------


def test_runs_that_were_moved(tinynet):
    Path("elsewhere").mkdir()
    shutil.move(record("a", [0.5]), "elsewhere/best one")
    assert "best one  finished" in tinynet("runs", "elsewhere").stdout
    assert tinynet("runs").stdout.startswith("no runs in 'runs'")


def test_the_table_survives_what_is_not_a_run(tinynet):
    record("whole", [0.5])
    for name, content in (("broken", "{"), ("old", '{"schema": 0}'), ("list", "[]"), ("odd", '{"schema": 1, "test": 3}')):
        Path("runs", name).mkdir()
        Path("runs", name, "run.json").write_text(content)
    Path("runs", "torn").mkdir()
    Path("runs", "torn", "run.json").write_text(
        '{"schema": 1, "status": "interrupted", "config": {"lr": [1], "optimizer": 7}}'
    )
    Path("runs", "torn", "events.jsonl").write_text('{"k": "eval", "s": 3, "d": {"train/loss": 0.5}}\n{"k": "ev')
    Path("runs", "unrelated").mkdir()
    Path("runs", "notes.txt").write_text("remember the milk")
    result = tinynet("runs")
    rows = {line.split()[0]: line.split()[1] for line in result.stdout.splitlines()[1:]}
    assert rows.pop(next(name for name in rows if name.endswith("-whole"))) == "finished"
    assert rows.pop("torn") == "interrupted"
    assert rows.pop("odd") == "crashed"  # a strange field takes away its own column only
    assert rows == dict.fromkeys(("broken", "list", "old"), "unreadable")
    assert re.search(r"broken is unreadable: .*run\.json is not readable JSON", result.stderr)
    assert "old is unreadable: " in result.stderr
    assert len(json.loads(tinynet("runs", "--json").stdout)) == 6


@pytest.mark.parametrize("error", [KeyError("no series 'lr'"), RecursionError("too deep"), IndexError(3), OSError("torn")])
def test_one_run_never_hides_the_others(tinynet, monkeypatch, error):
    """Whatever goes wrong with it, also what nobody has thought of."""
    record("whole", [0.5])
    record("odd", [0.5])
    read = listing.open_briefly

    def fail(folder):
        if folder.name.endswith("odd"):
            raise error
        return read(folder)

    monkeypatch.setattr(listing, "open_briefly", fail)
    result = tinynet("runs")
    assert [line.split()[1] for line in result.stdout.splitlines()[1:]] == ["finished", "unreadable"]
    assert result.stderr == f"20260101-000000-odd is unreadable: {type(error).__name__}: {error}\n"


def test_a_series_that_a_resumed_run_has_not_measured_again(tinynet):
    recorder = Recorder("runs", name="again")
    for step in range(1, 6):
        recorder.log(step, **{"train/loss": 1 / step})
    recorder.event("eval", 5, {"val/loss": 1.0, "lr": 0.1})
    recorder.finish("failed")
    with Recorder.resume(recorder.path, step=4) as again:
        again.log(5, **{"train/loss": 0.5})
    result = tinynet("runs", "--json")
    (row,) = json.loads(result.stdout)
    assert (row["status"], row["train_loss"], row["loss"], row["lr"]) == ("finished", 0.5, None, None)
    assert result.stderr == ""


@pytest.mark.parametrize("value", [[], "x", 3, None, True, {"accuracy": [1]}, {"accuracy": {}}])
def test_a_strange_score_is_none(tinynet, value):
    path = record("a", [0.5])
    store.write_json(path / "run.json", {**store.read_json(path / "run.json"), "test": value})
    result = tinynet("runs", "--json")
    (row,) = json.loads(result.stdout)
    assert (row["status"], row["test"], result.stderr) == ("finished", None, "")


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_torn_last_line_loses_itself_only(tinynet, cut):
    recorder = Recorder("runs", name="a")
    recorder.log(10, **{"val/loss": 0.5})
    recorder.event("layer", 20, {"names": ["a"], "grad_norm": [1.0]})
    recorder.finish()
    events = recorder.path / "events.jsonl"
    events.write_bytes(events.read_bytes()[:-cut])
    (row,) = json.loads(tinynet("runs", "--json").stdout)
    run = Run.open(recorder.path)
    assert row["loss"] == run.last("val/loss")
    assert row["steps"] == max(event["s"] for event in run.events)
