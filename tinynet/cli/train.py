"""`tinynet train`: train a network, judge it, draw it, and say where to look next."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from click.core import ParameterSource

from monitor import Checkpoint, EarlyStopping, Progress, Recorder, RecorderError, Run
from monitor.doctor import Doctor, Report, diagnose
from monitor.metrics import classification_report, confusion_matrix
from tinynet.cli.resume import find_checkpoint, longer_training
from tinynet.cli.shared import (
    Command,
    Mistake,
    json_option,
    new_console,
    one_blas_thread,
    plain,
    print_json,
    program,
    say,
    say_detected,
    shown,
    user_errors,
)
from tinynet.cli.which import find_run, in_root
from tinynet.experiment import OPTIMIZERS, RARE, SCHEDULES, Experiment, Settings
from tinynet.layers import ACTIVATIONS
from tinynet.readers import row_counters

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def _sizes(_: Any, __: Any, value: str | None) -> tuple[int, ...] | None:
    if value is None or not value.strip():
        return None if value is None else ()
    try:
        return tuple(int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of whole numbers such as 64,64") from None


@click.command(cls=Command)
@click.argument("data", default="digits")
@click.option("--target", help="what to predict: a column (CSV) or an array (NPZ)  [the last column; y]")
@click.option("--task", default="auto", help="classification or regression, for your own file  [auto]")
@click.option(
    "--drop", metavar="COLUMN", multiple=True, help="leave out a column of your CSV, such as names; or several: a,b"
)
@click.option("--n", type=int, help="number of examples, for generated data")
@click.option("--noise", type=float, help="noise, for generated data")
@click.option(
    "--hidden",
    callback=_sizes,
    help="sizes of the hidden layers, such as 64,64, or '' for none  [32,32; digits 256,128; spirals, checkerboard 64,64]",
)
@click.option("--activation", help=f"{', '.join(ACTIVATIONS)}  [relu; sine tanh]")
@click.option("--dropout", type=float, help="share of hidden units left out in each step  [0; digits 0.3]")
@click.option("--optimizer", default="adam", help=f"{', '.join(OPTIMIZERS)}  [adam]")
@click.option("--lr", type=float, help="learning rate  [0.003; sgd 0.1]")
@click.option("--momentum", type=float, help="for sgd and rmsprop")
@click.option("--schedule", default="cosine", help=f"of the learning rate: {', '.join(SCHEDULES)}  [cosine]")
@click.option("--warmup", type=int, default=0, help="steps in which the rate rises first  [0]")
@click.option("--l1", type=float, default=0.0, help="strength of the L1 penalty (proximal: exact zeros)")
@click.option("--l2", type=float, help="strength of the L2 penalty (weight decay)  [0; digits 1e-4; adamw 0.01]")
@click.option("--clip", type=float, help="largest norm of the gradient; longer ones are shortened to it")
@click.option("--epochs", type=int, help="passes over the training data  [100; digits 80; checkerboard, sine 200]")
@click.option("--batch-size", type=int, help="examples per step  [16; digits 64]")
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    help="stop when val/loss has not improved for so many epochs, and go back to the best",
)
@click.option(
    "--watch", type=click.IntRange(min=0), help="look into the layers every so many steps, 0 never  [100 times in all]"
)
@click.option("--seed", type=int, default=0, help="for the data, the split, the weights and the order  [0]")
@click.option("--device", default="cpu", help="cpu or cuda  [cpu]")
@click.option("--runs", "root", default="runs", help="where to put the run's folder  [runs]")
@click.option("--resume", metavar="RUN", help="go on with a run that was broken off (its folder, name, or latest)")
@click.option(
    "--from",
    "origin",
    default="latest",
    metavar="WHICH",
    help="with --resume: from which checkpoint: latest, best, a step, a date  [latest]",
)
@json_option
@user_errors
def train(
    root: str, as_json: bool, patience: int | None, watch: int | None, resume: str | None, origin: str, **options: Any
) -> None:
    """Train a network on DATA, and judge it.

    It is judged on examples that it has never seen.


    DATA is a real data set (digits, iris), a generated one (moons, circles, blobs, spirals, xor, checkerboard, sine), or
    the path of your own CSV or NPZ file. A column of text in a CSV becomes one input for each of its categories.

    \b
    Examples:
      tinynet train
      tinynet train spirals --optimizer sgd --momentum 0.9 --hidden 64,64
      tinynet train sine --activation tanh
      tinynet train houses.csv --target price --drop address
      tinynet train --resume latest
      tinynet train --resume moons --from best
    """
    if resume is not None:
        experiment, patience, watch, checkpoint, recorder = _resumed(find_run(resume, root, to_resume=True), origin)
    else:
        if _given("origin"):
            raise Mistake("--from says from which checkpoint a run goes on: it goes with --resume RUN")
        experiment, checkpoint = Experiment(Settings(**options)), None
        watch = experiment.usual_watch if watch is None else watch
        config = {**experiment.config(), "patience": patience, "watch": watch}
        try:
            recorder = Recorder(root, name=experiment.dataset.name, config=config)
        except OSError as error:  # the advice that follows is for Python
            raise Mistake(f"{str(error).partition('. Choose')[0]}; choose another folder with --runs") from error
    assert recorder.path is not None
    if not as_json:
        with contextlib.suppress(SystemExit):  # rich's answer to an output that nobody reads; from then on it is quiet
            _introduce(experiment, checkpoint)
    doctor = Doctor()
    callbacks: list[Any] = [] if as_json else [Progress(_patient_console())]
    callbacks += [Checkpoint(every=10), *([EarlyStopping("val/loss", patience)] if patience else []), doctor]
    _train(experiment, recorder, callbacks, checkpoint, watch, as_json)
    pictures = experiment.draw(recorder.run, recorder.path)
    scores = recorder.run.meta["test"]
    detected = doctor.report.detected if doctor.report else ()
    if as_json:
        found = [finding.id for finding in detected]
        print_json({"run": str(recorder.path), "status": recorder.run.status, "test": scores, "detected": found})
        return
    _report(experiment, scores)
    if doctor.report:
        _say_detected(doctor.report)
    _say_not_drawn(experiment)
    _where_next(recorder.path, pictures)


def _train(
    experiment: Experiment,
    recorder: Recorder,
    callbacks: list[Any],
    checkpoint: dict[str, Any] | None,
    watch: int | None,
    as_json: bool,
) -> None:
    """Train. Whatever ends it early, what was learnt and recorded until then is kept, and how to go on is said."""
    assert recorder.path is not None
    try:
        with one_blas_thread(), recorder:
            experiment.train(recorder, callbacks, checkpoint, watch or None)
    except KeyboardInterrupt:
        _finish_interrupted(experiment, recorder, recorder.path, as_json)
    except FloatingPointError as error:
        _finish_broken_down(experiment, recorder.run, recorder.path, as_json)
        what = str(error).partition(". Lower")[0]  # the advice that follows is for Python
        where = f"{recorder.path}; look at it with: {program()} doctor {shlex.quote(str(recorder.path))}"
        raise Mistake(
            f"{what}. Lower the learning rate (--lr was {experiment.lr:g}). What was recorded is in {where}"
        ) from error
    except RecorderError as error:
        go_on = f". Once there is room, go on with: {_resuming(recorder.path)}"
        raise Mistake(f"{error}{go_on * any(recorder.path.glob('checkpoints/*.safetensors'))}") from error


def _patient_console() -> Console:
    """A console that is quiet, and does not end the training, once nobody reads the output: tinynet train | head."""
    console: Any = new_console()

    def be_quiet() -> None:
        console.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # for all that is still printed, by whomever
        os.close(nowhere)

    console.on_broken_pipe = be_quiet
    return console


def _given(name: str) -> bool:
    """Whether an option was written on the command line."""
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def _resumed(folder: Path, origin: str) -> tuple[Experiment, int | None, int | None, dict[str, Any], Recorder]:
    """What is needed to go on with a run: its experiment made anew, patience, watch, a checkpoint, and recorder."""
    given = [p for p in click.get_current_context().command.params if _given(str(p.name))]
    other = [p.opts[0] for p in given if p.name not in ("resume", "origin", "root", "as_json")]
    if other:
        raise Mistake(f"--resume goes on with the run's own settings: leave out {', '.join(other)}")
    run = Run.open(folder)
    if run.status == "finished":
        longer = longer_training(run)
        raise Mistake(f"{folder} has finished: there is nothing to go on with{longer and f'. To train longer:{longer}'}")
    checkpoint, passed_over = find_checkpoint(folder, origin)
    for text in passed_over:
        click.echo(f"note: {plain(text)}", err=True)
    experiment = Experiment(Settings.of(run.config))
    data = run.meta.get("data")
    before = data.get("fingerprint") if isinstance(data, dict) else None
    if before != experiment.fingerprint():
        raise Mistake(f"the data of {folder} have changed since it began: a run goes on with the same data, or begins anew")
    settings = run.config
    return (
        experiment,
        settings.get("patience"),
        settings.get("watch"),
        checkpoint,
        Recorder.resume(folder, checkpoint["step"]),
    )


def _introduce(experiment: Experiment, checkpoint: dict[str, Any] | None) -> None:
    d, s = experiment.dataset, experiment.settings
    parts = (experiment.train_data, experiment.val_data, experiment.test_data)
    train, validate, test = (f"{len(x):,}" for x, _ in parts)
    kind = f"{d.outputs} classes" if experiment.classifies else f"regression of {d.outputs} target{'s' * (d.outputs > 1)}"
    say(
        f"[bold]{shown(d.name)}[/]: {len(d.x):,} examples, {d.x.shape[1]} input{'s' * (d.x.shape[1] != 1)}, {kind}; "
        f"{train} to train, {validate} to validate, {test} to test"
    )
    for text in _about_columns(experiment):
        say(text)
    if experiment.rare:
        names = ", ".join(map(repr, experiment.rare[:5])) + ", ..." * (len(experiment.rare) > 5)
        say(f"[bold]note[/]: fewer than {RARE} examples of {shown(names)}: too few to learn from and to judge by")
    shape = "-".join(map(str, (d.x.shape[1], *s.hidden, d.outputs)))
    count = sum(p.size for p in experiment.model.parameters())
    extras = "".join(f", {name} {value:g}" for name, value in (("dropout", s.dropout), ("l1", s.l1), ("l2", s.l2)) if value)
    say(
        f"[bold]MLP[/] {shape}, {s.activation}, {count:,} parameters; {s.optimizer}, lr {experiment.lr:g} {s.schedule}, "
        f"batch {s.batch_size}{extras}\n"
    )
    if checkpoint is not None:
        say(f"going on after step {checkpoint['step']:,} (epoch {checkpoint['epoch']} is complete)\n")


def _about_columns(experiment: Experiment) -> Iterator[str]:
    """What became of the columns of a table that are no numbers."""
    d = experiment.dataset
    if d.categories:
        texts = [f"{name!r} ({len(own)})" for name, own in d.categories.items()]
        yield shown(f"text, as one input for each category: {', '.join(texts)}; numbers: {d.numbers}")
    if experiment.settings.drop:
        yield shown(f"left out: {', '.join(map(repr, experiment.settings.drop))}")
    for name in row_counters(d):
        told = f"{name!r} counts the rows: if it is no more than their number, leave it out with --drop {shlex.quote(name)}"
        yield f"[bold]note[/]: {shown(told)}"
    for name, new in experiment.unseen.items():
        some = ", ".join(map(repr, new[:5])) + ", ..." * (len(new) > 5)
        told = f"of {name!r}, no training example has {some}: where others have it, all inputs for {name!r} are 0"
        yield f"[bold]note[/]: {shown(told)}"


def _report(experiment: Experiment, scores: dict[str, Any]) -> None:
    n = f"on {scores['examples']:,} test examples, never seen in training"
    if not experiment.classifies:
        say(f"\n[bold]R² {scores['r2_score']:.4f}[/], mean absolute error {scores['mean_absolute_error']:.4g} {n}\n"
            f"(always answering the median: {scores['baseline_mean_absolute_error']:.4g})")  # fmt: skip
        return
    say(f"\n[bold]accuracy {scores['accuracy']:.2%}[/] {n}\n"
        f"(always answering the most common class: {scores['baseline_accuracy']:.2%})\n")  # fmt: skip
    true, predicted = experiment.test_predictions()
    labels, names = range(experiment.dataset.outputs), list(map(plain, experiment.dataset.classes))
    say(classification_report(true, predicted, labels, names, digits=4), markup=False)
    if len(labels) <= 20:
        say("\nconfusion matrix: rows are the true classes, columns the predicted ones")
        say(_confusion_table(confusion_matrix(true, predicted, labels), names))


def _confusion_table(counts: np.ndarray, names: list[str]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1))
    table.add_column("", justify="right")
    for name in names:
        table.add_column(Text(name), justify="right")
    for i, row in enumerate(counts):
        cells = [
            Text("." if n == 0 else str(n), style="bold" if i == j else "red" if n else "dim") for j, n in enumerate(row)
        ]
        table.add_row(Text(names[i]), *cells)
    return table


def _say_detected(report: Report) -> None:
    """What the doctor detected, if anything."""
    say()
    say_detected(report)
    if not report.detected:
        say(f"doctor: {report.summary}")


def _say_not_drawn(experiment: Experiment) -> None:
    for name, why in experiment.not_drawn.items():
        say(f"[bold]note[/]: {name} is left out: {shown(why)}")


def _where_next(folder: Path, pictures: list[Path]) -> None:
    say(f"\nSaved in [bold]{shown(folder)}[/]:")
    say(f"  run.json, events.jsonl, checkpoints/, {', '.join(p.name for p in pictures)}")
    say("Next:")
    there = plain(in_root(folder.parent))
    for what, command in (
        ("this run as a page", f"tinynet report --open{there}"),
        ("what was checked in it", f"tinynet doctor{there}"),
        ("all runs so far", f"tinynet runs{there.replace(' --runs', '')}"),
        *([("the same, another seed", again)] if (again := _again()) else []),
        ("another problem", f"tinynet train {_another()}{there}"),
    ):
        say(f"  {what:<23} {command.replace('tinynet', program(), 1)}", markup=False)


def _another() -> str:
    """A problem that is not the one just trained."""
    return "spirals --hidden 64,64" if click.get_current_context().params["data"] != "spirals" else "checkerboard"


def _again() -> str | None:
    """The command that was given, with the next seed; None for --resume, which takes its settings from the run."""
    context = click.get_current_context()
    if context.params["resume"] is not None:
        return None
    words = ["tinynet", "train"]
    for parameter in context.command.params:
        name, value = str(parameter.name), context.params[str(parameter.name)]
        if context.get_parameter_source(name) is not ParameterSource.COMMANDLINE or name == "seed":
            continue
        if isinstance(parameter, click.Argument):
            words.append(value)
        elif parameter.multiple:
            words += [word for each in value for word in (parameter.opts[0], each)]
        else:
            words += [parameter.opts[0], ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    return plain(shlex.join([*words, "--seed", str(context.params["seed"] + 1)]))


def _resuming(folder: Path) -> str:
    """The command that goes on with a run."""
    return f"{program()} train --resume {shlex.quote(str(folder))}"


def _finish_interrupted(experiment: Experiment, recorder: Recorder, folder: Path, as_json: bool) -> None:
    """Ctrl-C: what was learnt so far is kept and shown."""
    run = recorder.run
    if run.names():
        experiment.draw(run, folder)
    if as_json:
        print_json({"run": str(folder), "status": run.status, "test": None})
    else:
        _say_not_drawn(experiment)
        epochs = len(run.series("lr")[0]) - 1 if run.names() else 0
        say(f"\ninterrupted after epoch {epochs}; the run, its last checkpoint and its curves are in {plain(folder)}\n"
            f"go on with: {plain(_resuming(folder))}", markup=False)  # fmt: skip
    sys.exit(130)


def _finish_broken_down(experiment: Experiment, run: Run, folder: Path, as_json: bool) -> None:
    """nan: what led to it is drawn, and what the doctor says of the run, now that it has failed."""
    if run.names():
        experiment.draw(run, folder)
    if not as_json:
        _say_detected(diagnose(run))
        _say_not_drawn(experiment)
