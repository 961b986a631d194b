"""`tinynet compare` as a person meets it: tables, sentences and files, drawing again, going on, one sentence per mistake."""

import json
import re
from contextlib import contextmanager
from pathlib import Path

import pytest
from made_up import comparison, result, usual

from tinynet.cli import compare as command
from tinynet.comparison import Comparison
from tinynet.comparison.protocol import Parts
from tinynet.comparison.sentences import sentences

QUICK = ("--rates", "0.01:1:3", "--seeds", "6", "--tuning-seeds", "2", "--steps", "60")
FILES = {"comparison.json", "comparison.html"}


def names(folder):
    return {path.name for path in Path(folder).iterdir()}


@pytest.fixture
def saved(tmp_path):
    return usual().save(tmp_path / "saved.json")


@pytest.fixture
def undrawn(monkeypatch):
    """Pictures take time, and have tests of their own."""
    monkeypatch.setattr("tinynet.comparison.pictures.pictures", lambda *_: [])


# Running ----------------------------------------------------------------------------------------------------------------


def test_a_comparison_is_printed_and_kept(tinynet):
    done = tinynet("compare", "adam", "--on", "quadratic-10", *QUICK)
    folder = Path("comparisons/quadratic-10")
    assert names(folder) == FILES | {f"quadratic-10-{what}.png" for what in ("curves", "rates", "walks")}
    kept = Comparison.load(folder / "comparison.json")
    assert kept.optimizers == ("sgd-momentum", "adam")
    assert kept.grid == (0.01, 0.1, 1.0)
    words = " ".join(done.stdout.split())
    for sentence in sentences(kept, "quadratic-10"):
        assert sentence in words
    assert re.search(r"^optimizer +median", done.stdout, re.M)
    assert "Saved in comparisons/quadratic-10: comparison.json, comparison.html, quadratic-10-curves.png, " in words
    assert done.stderr == ""


def test_json_is_all_that_is_printed(tinynet, undrawn):
    done = tinynet("compare", "adam", "--on", "quadratic-10", "--on", "saddle", *QUICK, "--json", "--out", "here")
    found = json.loads(done.stdout)
    assert found["baseline"] == "sgd-momentum"
    assert list(found["problems"]) == ["quadratic-10", "saddle"]
    table = found["problems"]["saddle"]["table"]
    assert {row["optimizer"] for row in table} == {"adam", "sgd-momentum"}
    assert table[0]["n"] == 6
    assert "adam" in found["problems"]["saddle"]["sentences"][0]
    assert "Ranks are not tested" in found["together"][1]
    assert {Path(file).name for file in found["files"]} == names("here")


def test_a_finished_comparison_is_not_overwritten(tinynet, undrawn):
    for _ in range(2):
        tinynet("compare", "sgd", "--on", "quadratic-10", *QUICK, "--json")
    assert names("comparisons") == {"quadratic-10", "quadratic-10-2"}
    first, second = (Comparison.load(f"comparisons/{name}/comparison.json") for name in ("quadratic-10", "quadratic-10-2"))
    assert sentences(first, "quadratic-10") == sentences(second, "quadratic-10")


def test_after_ctrl_c_the_same_command_goes_on(tinynet, monkeypatch, undrawn):
    @contextmanager
    def impatient(_):
        def tell(done, *_):
            if done == 2:
                raise KeyboardInterrupt

        yield tell

    with monkeypatch.context() as patch:
        patch.setattr(command, "_progress", impatient)
        broken = tinynet("compare", "adam", "sgd", "--on", "quadratic-10", *QUICK, status=130)
    assert "interrupted: the same command goes on; what is done is in comparisons/quadratic-10\n" in broken.stderr
    assert names("comparisons/quadratic-10") == {"unfinished.jsonl"}
    made = []
    real = Parts.__call__
    monkeypatch.setattr(Parts, "__call__", lambda self, spec: made.append(spec["optimizer"]) or real(self, spec))
    tinynet("compare", "adam", "sgd", "--on", "quadratic-10", *QUICK)
    assert made == ["sgd"]
    assert "unfinished.jsonl" not in names("comparisons/quadratic-10")


def test_a_terminal_sees_how_far_it_is(on_terminal, tmp_path):
    screen = on_terminal(tmp_path, 60, "compare", "adam", "--on", "quadratic-10", *QUICK)
    assert "comparing" in screen
    assert "of 2" in screen
    final = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.split("quadratic-10", 1)[1])
    rows = [line.rstrip() for line in final.splitlines() if line.startswith(("optimizer ", "adam ", "sgd-momentum "))]
    assert len(rows) >= 3
    assert all(len(row) <= 60 for row in rows)


# Drawing again ----------------------------------------------------------------------------------------------------------


def test_a_saved_comparison_is_drawn_again_without_running(tinynet, saved, monkeypatch):
    monkeypatch.setattr(Parts, "__call__", lambda *_: pytest.fail("it ran"))
    done = tinynet("compare", "--from", str(saved), "--out", "again", "--style", "slides")
    assert names("again") == {"comparison-slides.html", "moons-curves-slides.png", "moons-rates-slides.png"}
    assert "Lion (0.1) was best at the edge" in " ".join(done.stdout.split())
    Path("folder").mkdir()
    saved.rename("folder/comparison.json")
    tinynet("compare", "--from", "folder", "--json")
    assert names("folder") == FILES | {"moons-curves.png", "moons-rates.png"}


def test_slides_leave_the_pictures_for_paper_alone(tinynet, saved):
    tinynet("compare", "--from", str(saved))
    before = {path.name: path.read_bytes() for path in saved.parent.iterdir()}
    tinynet("compare", "--from", str(saved), "--style", "slides")
    after = {path.name: path.read_bytes() for path in saved.parent.iterdir()}
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 3


def test_where_nobody_arrives_there_is_no_profile(tinynet):
    c = comparison(result(f"p{p}", f"o{i}", [1.0] * 7, steps=[float("inf")] * 7) for p in range(2) for i in range(2))
    done = tinynet("compare", "--from", str(c.save("c.json")))
    assert "profile.png" not in names(".")
    assert "area of profile" not in done.stdout
    assert "No optimizer reached a target" in done.stdout
    assert "area of profile" not in Path("comparison.html").read_text()


def test_too_few_seeds_are_told_before_all_else(tinynet, undrawn):
    done = tinynet("compare", "--from", str(usual(3).save("c.json")))
    words = " ".join(done.stdout.split())
    words = words[words.index("who shares a letter") :]
    assert words.index("With 3 seeds no difference") < words.index("note")
    assert "not distinguishable" not in words


def test_the_help_says_what_the_names_are(tinynet):
    words = " ".join(tinynet("compare", "--help").stdout.split())
    assert "sgd-momentum is SGD with momentum 0.9" in words


def test_names_from_a_file_neither_leave_the_folder_nor_garble_the_screen(tinynet):
    evil = "../../[red]\x1b[2J"
    path = comparison([result(evil, evil, [0.1] * 6), result(evil, "B", [0.2] * 6)]).save("evil.json")
    done = tinynet("compare", "--from", str(path), "--out", "a/b")
    assert "\x1b[2J" not in done.stdout
    assert "[red]" in done.stdout
    assert names(".") == {"evil.json", "a"}
    assert names("a") == {"b"}
    assert len(names("a/b")) == 3


# Mistakes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["adma"], "unknown optimizer 'adma': did you mean"),
        (["--on", "mons"], "unknown problem 'mons': did you mean 'moons'?"),
        (["--on", "mons"], "Of these, all, small, suite, toy2d are suites of several"),
        (["--baseline", "sdg"], "unknown baseline 'sdg': did you mean 'sgd'"),
        (["--style", "papr"], "unknown style 'papr': did you mean 'paper'? There are: paper, slides"),
        (["--seeds", "1"], "seeds must be at least 2, got 1: one run cannot say what is chance"),
        (["--tuning-seeds", "0"], "tuning_seeds must be at least 1"),
        (["--steps", "0"], "steps must be at least 1, got 0"),
        (["--budget", "7"], "budget must be 1, 13 or 39 trials for a grid of 13 rates"),
        (["--rates", "1:0.1:5"], "'1:0.1:5' is not lo:hi:n, such as 1e-4:1:9, or rates such as 0.01,0.1"),
        (["--rates", "0.1:nan:5"], "is not lo:hi:n"),
        (["--rates", "0.1,-1"], "a learning rate must be a positive and finite number, got -1.0"),
        (
            ["--from", "nothing.json"],
            "there is no file 'nothing.json': name a comparison.json, or the folder that holds one",
        ),
        (["adam", "--from", "nothing.json", "--seeds", "3"], "--from runs nothing: leave out OPTIMIZER, --seeds"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing_behind(tinynet, arguments, text):
    done = tinynet("compare", *arguments, status=2)
    assert text in " ".join(done.stderr.split())
    assert done.stdout == ""
    assert names(".") == set()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("garbled", "is not JSON, so not a saved comparison"),
        ("[]", "is not a comparison saved by this version: its schema is None"),
        ('{"schema": "tinynet-comparison/99"}', "its schema is 'tinynet-comparison/99'"),
        ('{"schema": "tinynet-comparison/1", "results": [], "problems": 3}', "is a broken comparison"),
    ],
)
def test_files_that_are_no_comparison(tinynet, content, text):
    Path("c.json").write_text(content)
    done = tinynet("compare", "--from", "c.json", status=2)
    assert text in " ".join(done.stderr.split())
    assert names(".") == {"c.json"}


def test_processes_here_and_a_cluster_do_not_go_together(tinynet):
    said = tinynet("compare", "adam", "--jobs", "2", "--scheduler", "tcp://127.0.0.1:1", status=2).output
    assert "--jobs is for this machine; with --scheduler the cluster says how many processes share the work" in said
