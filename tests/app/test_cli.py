"""`tinynet train` as a person meets it: results, files, one clear sentence per mistake, going on, and Ctrl-C."""

import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from monitor import Run, store
from tinynet.cli import main
from tinynet.experiment import Experiment, Settings

GENERATED = ["moons", "circles", "blobs", "spirals", "xor", "checkerboard", "sine"]
COMMAND = [sys.executable, "-m", "tinynet.cli"]


def trained(tinynet, *arguments):
    """The parsed result of a training with --json."""
    result = tinynet("train", *arguments, "--json")
    assert result.stderr == ""
    return json.loads(result.stdout)


RECORD = {"run.json", "events.jsonl", "val_loss.npy", "checkpoints"}


def files(run):
    return {path.name for path in Path(run).iterdir()}


def write(name, rows):
    Path(name).write_text("\n".join(",".join(map(str, row)) for row in rows) + "\n")


# Training -------------------------------------------------------------------------------------------------------------


def test_the_default_learns_digits(tinynet):
    result = trained(tinynet)
    assert result["status"] == "finished"
    assert result["test"]["accuracy"] >= 0.97
    assert result["test"]["examples"] == 359
    assert result["test"]["baseline_accuracy"] < 0.15
    assert files(result["run"]) == RECORD | {"curves.png", "confusion.png"}
    assert {path.name for path in Path(result["run"], "checkpoints").iterdir()} >= {"last.json", "best.json"}
    assert Run.open(result["run"]).meta["test"] == result["test"]


def test_the_long_example_works(tinynet):
    options = "--optimizer sgd --momentum 0.9 --schedule cosine --l2 1e-4 --hidden 64,64 --epochs 200 --seed 3"
    result = trained(tinynet, "spirals", *options.split())
    assert result["test"]["accuracy"] > 0.95
    config = Run.open(result["run"]).config
    assert (config["optimizer"], config["momentum"], config["l2"]) == ("sgd", 0.9, 1e-4)
    assert (config["hidden"], config["epochs"], config["seed"], config["lr"]) == ([64, 64], 200, 3, 0.1)


@pytest.mark.parametrize("name", GENERATED)
def test_every_generated_set_trains(tinynet, name):
    result = trained(tinynet, name, "--epochs", "2", "--n", "120")
    own = {"fit.png"} if name == "sine" else {"boundary.png", "confusion.png"}
    assert files(result["run"]) == RECORD | {"curves.png"} | own
    assert all((Path(result["run"]) / picture).read_bytes().startswith(b"\x89PNG") for picture in {"curves.png"} | own)
    assert abs(result["test"]["examples"] - 24) <= 1  # a fifth of each class
    assert Run.open(result["run"]).series("train/loss")[1].size == 3


def test_what_a_person_reads(tinynet):
    told = tinynet("train", "moons", "--epochs", "3", "--n", "100").stdout
    assert "moons: 100 examples, 2 inputs, 2 classes; 60 to train, 20 to validate, 20 to test" in told
    assert "MLP 2-32-32-2, relu, 1,218 parameters; adam, lr 0.003 cosine, batch 16" in told
    assert re.search(r"epoch   3/3  [\d,]+ it/s  loss \d\.\d{4}  val \d\.\d{4}", told)
    assert re.search(r"accuracy \d+\.\d\d% on 20 test examples, never seen in training", told)
    assert "(always answering the most common class: 50.00%)" in told
    assert "confusion matrix: rows are the true classes, columns the predicted ones" in told
    assert "tinynet train moons --epochs 3 --n 100 --seed 1" not in told  # the order is that of --help
    assert "tinynet train moons --n 100 --epochs 3 --seed 1" in told
    assert len([line for line in told.splitlines() if line.startswith("epoch")]) == 3


def test_few_lines_for_many_epochs(tinynet):
    told = tinynet("train", "moons", "--epochs", "100", "--n", "40").stdout
    assert len([line for line in told.splitlines() if line.startswith("epoch")]) == 11


def test_a_regression_is_told_in_its_own_units(tinynet):
    told = tinynet("train", "sine", "--epochs", "2").stdout
    assert re.search(r"R² -?\d+\.\d{4}, mean absolute error \S+ on 60 test examples", told)
    assert "(always answering the median: " in told


def test_the_same_seed_gives_the_same_result_and_another_does_not(tinynet):
    options = ("moons", "--epochs", "5", "--dropout", "0.2")
    first, again, other = (trained(tinynet, *options, "--seed", seed) for seed in ("1", "1", "2"))
    assert first["run"] != again["run"]  # even within a second
    assert first["test"] == again["test"]
    assert first["test"]["loss"] != other["test"]["loss"]


def test_patience_stops_early_and_goes_back(tinynet):
    result = trained(tinynet, "moons", "--n", "60", "--epochs", "300", "--lr", "0.1", "--patience", "5")
    run = Run.open(result["run"])
    assert run.series("lr")[1].size < 301
    assert any("has not improved" in event["d"].get("text", "") for event in run.events)


@pytest.mark.parametrize("schedule", ["constant", "step", "exponential", "cosine"])
def test_schedules_and_warmup(tinynet, schedule):
    options = f"moons --n 60 --epochs 20 --batch-size 36 --lr 0.01 --warmup 4 --schedule {schedule}".split()
    rates = Run.open(trained(tinynet, *options)["run"]).series("lr")[1]
    np.testing.assert_allclose(rates[:5], [0.0025, 0.005, 0.0075, 0.01, 0.01])
    ends = {"constant": 0.01, "step": 1e-5, "exponential": 1e-4, "cosine": 0}
    assert rates[-1] == pytest.approx(ends[schedule], abs=1e-12)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_l1_makes_zeros_and_l2_small_weights(optimizer):
    def weights(**strength):
        experiment = Experiment(Settings("moons", n=100, optimizer=optimizer, epochs=30, **strength))
        experiment.train()
        return np.concatenate([p.numpy().ravel() for p in experiment.model.parameters()])

    plain, sparse, small, both = weights(l2=0.0), weights(l1=0.01), weights(l2=0.5), weights(l1=0.01, l2=0.5)
    assert (sparse == 0).sum() > 100
    assert (both == 0).sum() > 100
    assert np.square(small).sum() < 0.9 * np.square(plain).sum()


def test_adamw_decays_as_the_record_says(tinynet):
    chosen, default = (trained(tinynet, "moons", "--n", "40", "--epochs", "1", "--optimizer", "adamw", *more)
                       for more in (["--l2", "0"], []))  # fmt: skip
    for result, decay in ((chosen, 0.0), (default, 0.01)):
        config = Run.open(result["run"]).config
        assert config["l2"] == decay
        assert re.search(rf"weight_decay={decay}\b(?!\d)", config["optimizer_full"])


# One's own files ------------------------------------------------------------------------------------------------------


def test_a_table_of_classes(tinynet):
    generator = np.random.default_rng(0)
    points = generator.normal(size=(120, 2)) * [1, 1e4]
    write("mine.csv", [("width", "height", "kind"), *((a, b, "big" if a > 0 else "small") for a, b in points)])
    result = trained(tinynet, "mine.csv", "--epochs", "40")
    assert result["test"]["accuracy"] > 0.9
    assert files(result["run"]) >= {"boundary.png", "confusion.png"}


def test_a_table_of_large_targets_in_another_folder(tinynet):
    Path("sub folder").mkdir()
    rows = [(i, 7, 5e6 + 1e5 * i) for i in range(60)]  # and a constant column
    write("sub folder/houses.csv", [("rooms", "planet", "price"), *rows])
    result = trained(tinynet, "sub folder/houses.csv", "--task", "regression")
    assert Path(result["run"]).name.endswith("-houses")
    assert result["test"]["r2_score"] > 0.98
    assert result["test"]["mean_absolute_error"] < 2e5 < result["test"]["baseline_mean_absolute_error"]


def test_the_target_is_part_of_the_command_to_repeat(tinynet):
    write("my houses.csv", [("price", "rooms"), *((0.5 + i, i) for i in range(30))])
    told = tinynet("train", "my houses.csv", "--target", "price", "--epochs", "1", "--seed", "4").stdout
    assert "tinynet train 'my houses.csv' --target price --epochs 1 --seed 5" in told
    assert Path(told.split("Saved in ")[1].split(":")[0], "fit.png").is_file()


def test_an_archive(tinynet):
    x = np.random.default_rng(0).normal(size=(400, 2, 3))
    np.savez("mine.npz", x=x, kinds=(x.sum(axis=(1, 2)) > 0).astype(int))
    assert trained(tinynet, "mine.npz", "--target", "kinds", "--epochs", "30")["test"]["accuracy"] > 0.9


@pytest.mark.parametrize("inputs", [1, 3])
def test_two_targets_at_once(tinynet, inputs):
    x = np.random.default_rng(0).normal(size=(100, inputs))
    np.savez("mine.npz", x=x, y=x[:, :1] * [1, 1000])
    result = trained(tinynet, "mine.npz")
    assert result["test"]["r2_score"] > 0.8
    assert files(result["run"]) == RECORD | {"curves.png"}


def test_dates_in_seconds_keep_their_seconds(tinynet):
    write("log.csv", [("seconds", "y"), *((1_700_000_000 + i, 0.5 * i) for i in range(100))])
    assert trained(tinynet, "log.csv")["test"]["r2_score"] > 0.98


def test_rare_classes_are_trained_with_and_pointed_out(tinynet):
    generator = np.random.default_rng(0)
    kinds = ["many"] * 40 + ["two"] * 2 + ["one[/]"]
    write("rare.csv", [("a", "b", "kind"), *((*generator.normal(size=2), kind) for kind in kinds)])
    told = tinynet("train", "rare.csv", "--epochs", "2").stdout
    assert "note: fewer than 5 examples of 'one[/]', 'two': too few to learn from and to judge by" in told


def passengers(rows=80):
    """A table with names, a column of two texts, one of two numbers, and a port that one row has alone."""
    ports = ["Cobh" if i % 3 else "Cherbourg" for i in range(rows)]
    ports[17] = "Belfast"
    body = [(i, f"P. {i}", "mf"[i % 2], 10 + i % 50, ports[i], "yn"[i % 2]) for i in range(rows)]
    write("ship.csv", [("id", "full name", "sex", "age", "port", "saved"), *body])
    return ("ship.csv", "--drop", "id", "--drop", "full name", "--epochs", "12")


def test_a_table_with_text(tinynet):
    arguments = passengers()
    told = tinynet("train", *arguments).stdout
    assert (
        "\ntext, as one input for each category: 'sex' (2), 'port' (3); numbers: 1\nleft out: 'id', 'full name'\n" in told
    )
    assert "ship: 80 examples, 6 inputs, 2 classes" in told
    assert "note" not in told
    assert "tinynet train ship.csv --drop id --drop 'full name' --epochs 12 --seed 1\n" in told
    result = trained(tinynet, *arguments)
    assert result["test"]["accuracy"] == 1
    config = Run.open(result["run"]).config
    assert config["drop"] == ["id", "full name"]
    assert config["categories"] == {"sex": ["f", "m"], "port": ["Belfast", "Cherbourg", "Cobh"]}


def test_names_in_a_table_are_refused_with_what_to_type(tinynet):
    passengers()
    told = tinynet("train", "ship.csv", status=2).stderr
    assert told.endswith("Leave out names and identifiers with --drop 'full name' (in Python drop=['full name'])\n")


def test_a_column_that_counts_the_rows_is_pointed_out(tinynet):
    passengers()
    told = tinynet("train", "ship.csv", "--drop", "full name", "--epochs", "1").stdout
    note = "note: 'id' counts the rows: if it is no more than their number, leave it out with --drop id\n"
    assert told.count(note) == 1
    told = tinynet("train", "ship.csv", "--drop", "full name,id", "--epochs", "1").stdout
    assert "counts the rows" not in told
    assert "numbers: 1\n" in told


def test_another_problem_is_another(tinynet):
    assert "tinynet train spirals --hidden 64,64\n" in tinynet("train", "moons", "--n", "60", "--epochs", "1").stdout
    assert re.search(r"another problem +tinynet train checkerboard\n", tinynet("train", "spirals", "--epochs", "1").stdout)


def test_a_category_that_is_not_trained_with_is_pointed_out(tinynet):
    arguments = passengers()
    seeds = [seed for seed in range(20) if Experiment(Settings("ship.csv", drop=["id", "full name"], seed=seed)).unseen]
    told = tinynet("train", *arguments, "--seed", str(seeds[0])).stdout
    assert "'port' (2)" in told
    note = "note: of 'port', no training example has 'Belfast': where others have it, all inputs for 'port' are 0\n"
    assert told.count(note) == 1
    assert len(seeds) < 20


def test_categories_are_learnt_from_the_training_data_only(tinynet):
    passengers()
    fingerprints = set()
    for seed in range(12):
        experiment = Experiment(Settings("ship.csv", drop=["id", "full name"], seed=seed))
        fingerprints.add(experiment.fingerprint())
        d, (x, _) = experiment.dataset, experiment.train_data
        assert set(x[:, d.numbers :].ravel()) == {0, 1}  # neither shifted nor scaled
        assert x[:, d.numbers :].any(axis=0).all()
        assert abs(x[:, : d.numbers].mean()) < 1e-9
        others = np.concatenate([experiment.val_data[0], experiment.test_data[0]])
        ports = others[:, d.numbers + 2 :].sum(axis=1)  # after the two of sex
        assert (ports == 0).sum() == len(experiment.unseen)
        assert experiment.unseen in ({}, {"port": ["Belfast"]})
        assert d.x.shape[1] == experiment.model.layers[0].weight.shape[0]
    assert len(fingerprints) == 1  # it is the same file


def test_going_on_with_text_and_without_some_columns(tinynet):
    run = Path(trained(tinynet, *passengers())["run"])
    path = run / "run.json"
    path.write_text(path.read_text().replace('"status": "finished"', '"status": "interrupted"'))
    told = tinynet("train", "--resume", "latest").stdout
    assert "left out: 'id', 'full name'\n" in told
    assert "going on after step " in told


def test_two_categories_are_no_plane_to_draw(tinynet):
    write("two.csv", [("colour", "kind"), *(("rb"[i % 2], "pq"[i % 2]) for i in range(40))])
    assert "boundary.png" not in files(trained(tinynet, "two.csv", "--epochs", "1")["run"])


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_tiny_file(tinynet, rows):
    write("tiny.csv", [("a", "y"), *((i, "pq"[i % 2]) for i in range(rows))])
    told = tinynet("train", "tiny.csv", status=2).stderr
    assert {0: "has a header but no rows", 1: "every example has the target", 3: "3 examples are too few"}[rows] in told


def test_five_rows_are_enough(tinynet):
    write("tiny.csv", [("a", "y"), *((i, "pq"[i % 2]) for i in range(5))])
    assert trained(tinynet, "tiny.csv", "--epochs", "2")["test"]["examples"] == 1


def test_two_hundred_columns_and_constant_ones(tinynet):
    x = np.random.default_rng(0).normal(size=(80, 200))
    x[:, ::2] = 0.1
    np.savez("wide.npz", x=x, y=x[:, 1] > 0)
    assert trained(tinynet, "wide.npz", "--epochs", "2")["status"] == "finished"
    np.savez("flat.npz", x=x[:, :2], y=x[:, 1] > 0)
    assert "boundary.png" not in files(trained(tinynet, "flat.npz", "--epochs", "2")["run"])


def test_fifty_classes(tinynet):
    x = np.random.default_rng(0).normal(size=(100, 2))
    np.savez("many.npz", x=x, y=np.array([f"kind {i // 2}" for i in range(100)]))
    assert "confusion matrix" not in tinynet("train", "many.npz", "--epochs", "1").stdout


def test_what_the_doctor_detected_is_said_and_recorded(tinynet):
    quiet = tinynet("train", "moons", "--n", "60", "--epochs", "2").stdout
    assert re.search(r"\ndoctor: nothing detected; \d+ of 11 questions checked\n", quiet)
    options = ("moons", "--epochs", "5", "--lr", "0")
    told = tinynet("train", *options).stdout
    assert re.search(r"\nerror not_learning: [^\n]+\n", told)
    result = trained(tinynet, *options)
    assert result["detected"] == ["not_learning"]
    assert [event["d"]["id"] for event in Run.open(result["run"]).select("finding")] == ["not_learning"]


def test_where_to_go_next(tinynet):
    told = tinynet("train", "moons", "--n", "60", "--epochs", "1").stdout.split("Next:\n")[1]
    assert [line[26:] for line in told.splitlines()] == [
        "tinynet report --open", "tinynet doctor", "tinynet runs", "tinynet train moons --n 60 --epochs 1 --seed 1",
        "tinynet train spirals --hidden 64,64",
    ]  # fmt: skip


@pytest.mark.parametrize("root", ["my runs", "./runs"])
def test_what_to_type_next_works_as_it_stands(tinynet, root):
    told = tinynet("train", "moons", "--n", "60", "--epochs", "1", "--runs", root).stdout
    commands = [shlex.split(line[26:])[1:] for line in told.split("Next:\n")[1].splitlines()]
    where = ["--runs", "my runs"] if root == "my runs" else []
    assert commands[:3] == [["report", "--open", *where], ["doctor", *where], ["runs", *where[1:]]]
    assert commands[3] == ["train", "moons", "--n", "60", "--epochs", "1", "--runs", root, "--seed", "1"]
    assert commands[4] == ["train", "spirals", "--hidden", "64,64", *where]
    run = told.split("Saved in ")[1].split(":\n")[0]
    assert tinynet("report", *commands[0][2:]).stdout.endswith(f"{run}/report.html\n")  # --open would need a browser
    assert "-moons" in tinynet(*commands[2]).stdout
    tinynet(*commands[3])
    assert len(list(Path(root).glob("*/run.json"))) == 2


def test_after_going_on_with_a_run_elsewhere_the_next_commands_look_there(tinynet):
    result = trained(tinynet, "moons", "--n", "60", "--epochs", "1", "--runs", "elsewhere")
    path = Path(result["run"], "run.json")
    path.write_text(path.read_text().replace('"finished"', '"interrupted"'))
    told = tinynet("train", "--resume", result["run"]).stdout
    assert "tinynet doctor --runs elsewhere\n" in told


def test_names_in_the_data_cannot_steer_the_terminal(tinynet):
    rows = [(i, ("a\x1b[2Jb", "[red]c")[i % 2]) for i in range(60)]
    write("x[bold].csv", [("a", "kind"), *rows])
    told = tinynet("train", "x[bold].csv", "--epochs", "1").stdout
    assert "\x1b" not in told
    assert "x[bold]: 60 examples" in told
    assert told.count("a\\x1b[2Jb") == 3  # the table of scores, and both sides of the confusion matrix
    assert told.count("[red]c") == 3


# Going on ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def broken_off(tinynet):
    """The name of a run that says it was interrupted."""
    name = Path(trained(tinynet, "moons", "--n", "60", "--epochs", "4", "--seed", "7")["run"]).name
    path = Path("runs", name, "run.json")
    path.write_text(path.read_text().replace('"status": "finished"', '"status": "interrupted"'))
    return name


@pytest.mark.parametrize("how", ["folder", "latest", "part"])
def test_going_on_with_a_run(tinynet, broken_off, how):
    told = tinynet("train", "--resume", {"folder": f"runs/{broken_off}", "latest": "latest", "part": "moo"}[how]).stdout
    assert "going on after step 12 (epoch 4 is complete)" in told
    assert "--seed" not in told  # the settings are the run's: nothing to repeat
    assert f"Saved in runs/{broken_off}:" in told
    told = tinynet("train", "--resume", "latest", status=2).stderr
    assert told == f"Error: runs/{broken_off} has finished: there is nothing to go on with\n"


def test_going_on_looks_among_runs_that_can(tinynet, broken_off):
    for seed in ("8", "9"):
        finished = Path(trained(tinynet, "moons", "--n", "60", "--epochs", "1", "--seed", seed)["run"])
    assert f"Saved in runs/{broken_off}:" in tinynet("train", "--resume", "moons").stdout
    assert "has finished" in tinynet("train", "--resume", "moons", status=2).stderr
    words = ["tinynet", "train", "moons", "--epochs=1", "--seed", "9"]
    (finished / "run.json").write_text(json.dumps({**store.read_json(finished / "run.json"), "command": words}))
    told = tinynet("train", "--resume", str(finished), status=2).stderr
    assert told.endswith(" nothing to go on with. To train longer: tinynet train moons --seed 9 --epochs 2\n")


def test_going_on_takes_the_settings_of_the_run(tinynet, broken_off):
    told = tinynet("train", "--resume", "latest", "--lr", "1", "--batch-size", "8", "--json", status=2).stderr
    assert told == "Error: --resume goes on with the run's own settings: leave out --lr, --batch-size\n"
    Path("runs").rename("elsewhere")
    assert (
        json.loads(tinynet("train", "--resume", "latest", "--runs", "elsewhere", "--json").stdout)["status"] == "finished"
    )
    assert "no runs in 'runs'" in tinynet("train", "--resume", "latest", status=2).stderr


# Mistakes -------------------------------------------------------------------------------------------------------------

MISTAKES = {
    "moonz": "unknown data set 'moonz': did you mean 'moons'?",
    "houses.txt": "unknown data set 'houses.txt'. There are: blobs, ",
    "none.csv": "there is no file 'none.csv'",
    ".": "'.' is a folder: name a CSV or NPZ file in it",
    "moons --optimizer adm": "unknown optimizer 'adm': did you mean 'adam'?",
    "moons --activation rely": "unknown activation 'rely': did you mean 'relu'?",
    "moons --schedule cosin": "unknown schedule 'cosin': did you mean 'cosine'?",
    "moons --lr -1": "lr must be non-negative and finite, got -1.0",
    "moons --lr nan": "lr must be non-negative and finite, got nan",
    "moons --lr inf": "lr must be non-negative and finite, got inf",
    "moons --lr fast": "'fast' is not a valid float",
    "moons --batch-size 0": "batch size must be at least 1, got 0",
    "moons --epochs 0": "epochs must be at least 1, got 0",
    "moons --epochs 2.5": "'2.5' is not a valid integer",
    "moons --hidden 64,x": "'64,x' is not a list of whole numbers such as 64,64",
    "moons --hidden 64,,64": "'64,,64' is not a list of whole numbers such as 64,64",
    "moons --hidden 0": "hidden layers must have at least 1 unit each, got 0",
    "moons --hidden 64,-1": "hidden layers must have at least 1 unit each, got 64,-1",
    "moons --dropout 1.5": "dropout must be in [0, 1), got 1.5",
    "moons --dropout nan": "dropout must be in [0, 1), got nan",
    "moons --momentum 0.9": "momentum is for sgd and rmsprop; adam has its own averages",
    "moons --optimizer sgd --momentum 1": "momentum must lie in [0, 1), got 1.0",
    "moons --l1 -1": "l1 must be non-negative and finite, got -1.0",
    "moons --l2 nan": "l2 must be non-negative and finite, got nan",
    "moons --warmup -1": "warmup must be at least 0 and less than the 1900 steps of this training, got -1",
    "moons --epochs 2 --warmup 38": "warmup must be at least 0 and less than the 38 steps of this training, got 38",
    "moons --patience 0": "Invalid value for '--patience': 0 is not in the range x>=1",
    "moons --seed -1": "seed must be at least 0, got -1",
    "moons --device gpu": "unknown device 'gpu': expected 'cpu' or 'cuda'",
    "moons --n 1": "n must be an integer of at least one example per class (2), got 1",
    "moons --n 3": "3 examples are too few to split into shares",
    "moons --noise -1": "noise must be non-negative and finite, got -1.0",
    "moons --target y": "target is for your own files; moons comes with its targets",
    "moons --task regression": "task is for your own files; moons comes with its targets",
    "digits --n 5": "digits is real data: it has no number of examples and no noise to choose",
    "mine.csv --n 5": "mine.csv is a file: the number of examples and the noise",
    "mine.csv --target prize": "mine.csv: unknown column 'prize': did you mean 'price'? There are: a, price",
    "mine.csv --drop b": "mine.csv: unknown column 'b'. There are: a, price",
    "mine.csv --target a --drop a": "mine.csv: the column 'a' cannot be both dropped and the target",
    "moons --drop x": "drop is for your own files; moons comes with its targets",
    "mine.npz --drop x": "drop is for the columns of a table; leave out columns of mine.npz when you save it",
    "mine.csv --task sorting": "task must be auto, classification or regression, got 'sorting'",
    "moons --runs file/runs": "cannot make a run folder in 'file/runs': Not a directory; choose another folder with --runs",
    "moons --runs file": "cannot make a run folder in 'file': File exists; choose another folder with --runs",
    "moons more": "Got unexpected extra argument (more)",
}  # fmt: skip


@pytest.mark.parametrize("arguments", MISTAKES)
def test_mistakes_end_in_one_clear_sentence(tinynet, arguments):
    write("mine.csv", [("a", "price"), (1, 0.5), (2, 1.5)])
    Path("file").write_text("")
    result = tinynet("train", *arguments.split(), status=2)
    assert result.stdout == ""
    sentence = result.stderr.splitlines()[-1]
    assert sentence.startswith("Error: ")
    assert MISTAKES[arguments] in sentence
    assert not Path("runs").exists()  # nothing was begun


@pytest.mark.skipif(importlib.util.find_spec("cupy") is not None, reason="CuPy is installed")
def test_a_missing_gpu_is_said_so(tinynet):
    told = tinynet("train", "moons", "--device", "cuda", status=2).stderr
    assert told.startswith("Error: device 'cuda' needs CuPy: pip install 'cupy-cuda13x[ctk]'")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("--optimizer sgd --lr 1e30", r"the gradient of 'layers\.\d\.(weight|bias)' has a nan at step \d+"),
        ("--lr 1e20 --epochs 1 --batch-size 300", r"train/loss is nan after epoch 1"),
    ],
)
def test_a_training_that_breaks_down(tinynet, arguments, reason):
    result = tinynet("train", "moons", *arguments.split(), "--json", status=2)
    assert result.stdout == ""
    assert re.search(rf"^Error: {reason}.* Lower the learning rate.*\(--lr was 1e\+\d\d\)", result.stderr)
    assert len(result.stderr.splitlines()) == 1
    (run,) = (Run.open(path) for path in Path("runs").iterdir())
    assert run.status == "failed"
    assert f"What was recorded is in {run.path}" in result.stderr
    assert tinynet("runs").stdout.count("failed") == 1


@pytest.mark.parametrize("saved", [False, True])
def test_a_disk_that_is_full_ends_in_what_to_type_once_it_is_not(tinynet, monkeypatch, saved):
    """What was saved before is there to go on from."""
    append, written = store.append, []

    def refuse(descriptor, line):
        written.append(bytes(line))
        if b'"k":"step"' in line and (not saved or any(b'"k":"checkpoint"' in each for each in written)):
            raise OSError(28, "No space left on device")
        append(descriptor, line)

    with monkeypatch.context() as full:
        full.setattr(store, "append", refuse)
        told = tinynet("train", "moons", "--n", "60", "--epochs", "3", "--watch", "1", status=2).stderr
    (run,) = Path("runs").iterdir()
    go_on = f". Once there is room, go on with: tinynet train --resume {run}" * saved
    assert told == f"Error: cannot record in '{run}': No space left on device{go_on}\n"
    if saved:
        assert "finished" in tinynet("train", "--resume", str(run), "--json").stdout


def test_a_training_that_breaks_down_is_drawn_and_diagnosed(tinynet):
    result = tinynet("train", "sine", "--optimizer", "sgd", "--lr", "100", "--seed", "1", status=2)
    (folder,) = Path("runs").iterdir()
    assert files(folder) >= {"curves.png", "checkpoints"}
    broke = re.search(r"step \d+", result.stderr)[0]
    assert f"\ncritical nonfinite: Training failed at {broke} " in result.stdout
    assert result.stderr.rstrip().endswith(f"What was recorded is in {folder}; look at it with: tinynet doctor {folder}")


def test_a_boundary_that_cannot_be_drawn_is_left_out(tinynet, monkeypatch):
    answer = Experiment._answer
    far = np.array([[1e38, 1e38]])  # a corner of the grid where the outputs overflow
    monkeypatch.setattr(Experiment, "_answer", lambda self, x: answer(self, np.concatenate([x, far])))
    told = tinynet("train", "moons", "--epochs", "2", "--n", "60")
    assert told.stderr == ""
    assert told.stdout.count("boundary.png is left out: the network answers nan or infinity") == 1
    assert "accuracy " in told.stdout
    assert re.search("^(doctor: nothing|(error|warning|info|critical) )", told.stdout, re.MULTILINE)
    (folder,) = Path("runs").iterdir()
    assert f"Saved in {folder}" in told.stdout
    assert "checkpoints/, curves.png, confusion.png\n" in told.stdout
    assert files(folder) == RECORD | {"curves.png", "confusion.png"}


def test_scores_of_answers_that_are_not_finite_are_nan(monkeypatch):
    experiment = Experiment(Settings("sine", n=60, epochs=1))
    monkeypatch.setattr(experiment, "outputs", lambda x: np.full((len(x), 1), np.inf))
    scores = experiment.judge()
    assert np.isnan([scores["r2_score"], scores["mean_absolute_error"]]).all()
    assert scores["baseline_mean_absolute_error"] > 0


@pytest.mark.skipif(os.name != "posix", reason="needs pipes as POSIX has them")
@pytest.mark.parametrize("lines", [0, 4])
def test_training_goes_on_when_the_reader_of_its_output_has_gone(tmp_path, lines):
    command = [*COMMAND, "train", "moons", "--epochs", "20", "--n", "60"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            for _ in range(lines):
                process.stdout.readline()
            process.stdout.close()
            errors = process.stderr.read()
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()
    (folder,) = (tmp_path / "runs").iterdir()
    assert (Run.open(folder).status, errors) == ("finished", b"")
    assert files(folder) >= {"curves.png", "boundary.png"}


def test_a_traceback_for_who_asks(tinynet, monkeypatch):
    monkeypatch.setenv("TINYNET_TRACEBACK", "1")
    with pytest.raises(ValueError, match="unknown data set"):
        CliRunner().invoke(main, ["train", "moonz"], catch_exceptions=False)


def test_output_without_sparkline_bars(tmp_path):
    command = [*COMMAND, "train", "moons", "--epochs", "2"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"epoch   2/2" in result.stdout


# Ctrl-C, and a terminal -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize("json_too", [False, True])
def test_ctrl_c_keeps_what_was_learnt(tmp_path, json_too):
    command = [*COMMAND, "train", "moons", "--epochs", "1000000", *["--json"] * json_too]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, **pipes) as process:
        try:
            wait_for(lambda: any(b'"e":12' in p.read_bytes() for p in tmp_path.glob("runs/*/events.jsonl")))
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, err) == (130, "")
    (folder,) = (tmp_path / "runs").iterdir()
    run = Run.open(folder)
    assert run.status == "interrupted"
    assert {"curves.png", "checkpoints"} <= files(folder)
    assert (folder / "checkpoints" / "last.json").is_file()
    epochs = run.series("train/loss")[1].size - 1
    relative = folder.relative_to(tmp_path)
    if json_too:
        assert json.loads(out) == {"run": str(relative), "status": "interrupted", "test": None}
    else:
        assert f"interrupted after epoch {epochs}; the run, its last checkpoint and its curves are in {relative}\n" in out
        assert re.search(rf"go on with: \S+ train --resume {relative}\n", out)


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("data", ["moons", "sine"])
def test_the_live_line_stays_on_one_line(tmp_path, on_terminal, width, data):
    screen = on_terminal(tmp_path, width, "train", data, "--epochs", "12")
    assert "\x1b[1A" not in screen  # never goes up a line to draw over several
    lines = [re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", part) for part in re.split(r"[\r\n]+", screen)]
    live = [line for line in lines if line.startswith("epoch")]
    assert live
    assert max(map(len, live)) <= width
    assert "…" not in screen
    score = {"moons": r"  accuracy \d+\.\d%", "sine": r"  r2_score -?\d\.\d{3}"}[data]
    bar, rate = (" ━{12}", r" +[\d,]+ it/s ") if width >= 116 else ("", "")
    ending = (score if width >= 80 else "") + ("  lr 0" if width >= 80 else "")
    spark = "  [▁▂▃▄▅▆▇█]{8}" if width >= 116 else ""
    assert re.fullmatch(
        rf"epoch  12/12{bar}{rate} eta 0:00:00 loss \d\.\d{{4}}  val \d\.\d{{4}}{spark}{ending} *", live[-1]
    ), live[-1]
