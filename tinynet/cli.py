"""The `tinynet` command: train, check, runs, env."""

from __future__ import annotations

import functools
import json
import os
import platform
import shlex
import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib import metadata
from pathlib import Path
from typing import Any

import click
import numpy as np
from click.core import ParameterSource
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

import tinynet
from monitor import Checkpoint, EarlyStopping, Progress, Recorder, RecorderError, Run, load_checkpoint
from monitor.metrics import classification_report, confusion_matrix
from monitor.store import encode
from tinynet import backend
from tinynet.check import check_table
from tinynet.experiment import OPTIMIZERS, RARE, SCHEDULES, Experiment, Settings
from tinynet.layers import ACTIVATIONS

console = Console(highlight=False)
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


class Mistake(click.ClickException):
    """Something the user can put right."""

    exit_code = 2


def user_errors(command: Callable) -> Callable:
    """A user's mistake ends in one sentence and exit status 2, not in a traceback."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> Any:
        try:
            return command(*args, **options)
        except BrokenPipeError:  # the reader of our output has gone (tinynet runs | head): click leaves quietly
            raise
        except (ValueError, TypeError, OSError, backend.DeviceError, FloatingPointError) as error:
            if os.environ.get("TINYNET_TRACEBACK"):
                raise
            raise Mistake(str(error)) from error

    return run


def one_blas_thread() -> AbstractContextManager:
    """For nets as small as ours a second BLAS thread costs more than it gives, above all on a busy machine; unless the
    user has chosen a number.
    """
    if any(name in os.environ for name in THREADS):
        return nullcontext()
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=1, user_api="blas")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(tinynet.__version__, prog_name="tinynet")
def main() -> None:
    """Train small networks, and see how it went. Start with: tinynet train"""


def _sizes(_: Any, __: Any, value: str | None) -> tuple[int, ...] | None:
    if value is None or not value.strip():
        return None if value is None else ()
    try:
        return tuple(int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of whole numbers such as 64,64") from None


@main.command()
@click.argument("data", default="digits")
@click.option("--target", help="what to predict: a column (CSV) or an array (NPZ)  [the last column; y]")
@click.option("--task", default="auto", help="classification or regression, for your own file  [auto]")
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
@click.option("--seed", type=int, default=0, help="for the data, the split, the weights and the order  [0]")
@click.option("--device", default="cpu", help="cpu or cuda  [cpu]")
@click.option("--runs", "root", default="runs", help="where to put the run's folder  [runs]")
@click.option("--resume", metavar="RUN", help="go on with a run that was broken off, from its last checkpoint")
@click.option("--json", "as_json", is_flag=True, help="print the result as JSON and nothing else")
@user_errors
def train(root: str, as_json: bool, patience: int | None, resume: str | None, **options: Any) -> None:
    """Train a network on DATA and judge it on examples it has never seen.

    DATA is a real data set (digits, iris), a generated one (moons, circles, blobs, spirals, xor, checkerboard, sine), or
    the path of your own CSV or NPZ file.

    \b
    Examples:
      tinynet train
      tinynet train spirals --optimizer sgd --momentum 0.9 --l2 1e-4 --hidden 64,64 --epochs 200
      tinynet train sine --activation tanh
      tinynet train houses.csv --target price
      tinynet train --resume runs/20261121-143000-digits
    """
    say = (lambda *_, **__: None) if as_json else console.print
    if resume is not None:
        experiment, patience, checkpoint, recorder = _resumed(resume)
    else:
        experiment, checkpoint = Experiment(Settings(**options)), None
        recorder = Recorder(root, name=experiment.dataset.name, config={**experiment.config(), "patience": patience})
    assert recorder.path is not None
    _introduce(experiment, say)
    if checkpoint is not None:
        say(f"going on after step {checkpoint['step']:,} (epoch {checkpoint['epoch']} is complete)\n")
    callbacks: list[Any] = [] if as_json else [Progress(console)]
    callbacks += [Checkpoint(every=10), *([EarlyStopping("val/loss", patience)] if patience else [])]
    try:
        with one_blas_thread():
            experiment.train(recorder, callbacks, checkpoint)
    except KeyboardInterrupt:
        _finish_interrupted(experiment, recorder, recorder.path, as_json)
    except FloatingPointError as error:
        what = str(error).partition(". Lower")[0]  # the advice that follows is for Python
        raise Mistake(
            f"{what}. Lower the learning rate (--lr was {experiment.lr:g}). What was recorded is in {recorder.path}"
        ) from error
    pictures = experiment.draw(recorder.run, recorder.path)
    scores = experiment.judge()
    recorder.describe(test=scores)
    if as_json:
        print(json.dumps(encode({"run": str(recorder.path), "status": recorder.run.status, "test": scores})))
        return
    _report(experiment, scores, say)
    _where_next(recorder.path, pictures, say)


def _resumed(path: str) -> tuple[Experiment, int | None, dict[str, Any], Recorder]:
    """What is needed to go on with a run: its experiment made anew, patience, last checkpoint, and recorder."""
    context = click.get_current_context()
    given = [name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if other := sorted(set(given) - {"resume", "as_json"}):
        raise Mistake(f"--resume goes on with the run's own settings: leave out {', '.join(other)}")
    run = Run.open(path)
    if run.status == "finished":
        raise Mistake(f"{path} has finished: there is nothing to go on with")
    checkpoint = load_checkpoint(path, "last")
    experiment = Experiment(Settings.of(run.config))
    before = (run.meta.get("data") or {}).get("fingerprint")
    if before != experiment.fingerprint():
        raise Mistake(f"the data of {path} have changed since it began: a run goes on with the same data, or begins anew")
    return experiment, run.config.get("patience"), checkpoint, Recorder.resume(path, checkpoint["step"])


def _introduce(experiment: Experiment, say: Callable) -> None:
    d, s = experiment.dataset, experiment.settings
    parts = (experiment.train_data, experiment.val_data, experiment.test_data)
    train, validate, test = (f"{len(x):,}" for x, _ in parts)
    kind = f"{d.outputs} classes" if experiment.classifies else f"regression of {d.outputs} target{'s' * (d.outputs > 1)}"
    say(
        f"[bold]{escape(d.name)}[/]: {len(d.x):,} examples, {d.x.shape[1]} inputs, {kind}; "
        f"{train} to train, {validate} to validate, {test} to test",
        soft_wrap=True,
    )
    if experiment.rare:
        names = ", ".join(map(repr, experiment.rare[:5])) + ", ..." * (len(experiment.rare) > 5)
        say(
            f"[bold]note[/]: fewer than {RARE} examples of {escape(names)}: too few to learn from and to judge by",
            soft_wrap=True,
        )
    shape = "-".join(map(str, (d.x.shape[1], *s.hidden, d.outputs)))
    count = sum(p.size for p in experiment.model.parameters())
    extras = "".join(f", {name} {value:g}" for name, value in (("dropout", s.dropout), ("l1", s.l1), ("l2", s.l2)) if value)
    say(
        f"[bold]MLP[/] {shape}, {s.activation}, {count:,} parameters; {s.optimizer}, lr {experiment.lr:g} {s.schedule}, "
        f"batch {s.batch_size}{extras}\n",
        soft_wrap=True,
    )


def _report(experiment: Experiment, scores: dict[str, Any], say: Callable) -> None:
    n = f"on {scores['examples']:,} test examples, never seen in training"
    if experiment.classifies:
        say(
            f"\n[bold]accuracy {scores['accuracy']:.2%}[/] {n}\n"
            f"(always answering the most common class: {scores['baseline_accuracy']:.2%})\n",
            soft_wrap=True,
        )
        true, predicted = experiment.test_predictions()
        labels = range(experiment.dataset.outputs)
        say(classification_report(true, predicted, labels, experiment.dataset.classes, digits=4), markup=False)
        if len(labels) <= 20:
            say("\nconfusion matrix: rows are the true classes, columns the predicted ones")
            say(_confusion_table(confusion_matrix(true, predicted, labels), experiment.dataset.classes))
        return
    say(f"\n[bold]R² {scores['r2_score']:.4f}[/], mean absolute error {scores['mean_absolute_error']:.4g} {n}\n"
        f"(always answering the median: {scores['baseline_mean_absolute_error']:.4g})", soft_wrap=True)  # fmt: skip


def _confusion_table(counts: np.ndarray, names: list[str]) -> Table:
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


def _where_next(folder: Path, pictures: list[Path], say: Callable) -> None:
    say(f"\nSaved in [bold]{escape(str(folder))}[/]:", soft_wrap=True)
    say(f"  run.json, events.jsonl, checkpoints/, {', '.join(p.name for p in pictures)}", soft_wrap=True)
    say("Next:")
    for command, what in (
        ("tinynet runs", "all runs so far"),
        (_again(), "the same with another seed"),
        ("tinynet train spirals --hidden 64,64", "another problem; tinynet train --help"),
    ):
        say(f"  {command.replace('tinynet', _program(), 1):<39}  {what}", soft_wrap=True, markup=False)


def _program() -> str:
    """The command as it can be typed: by its path, if its environment is not activated."""
    return "tinynet" if shutil.which("tinynet") or Path(sys.argv[0]).name != "tinynet" else shlex.quote(sys.argv[0])


def _again() -> str:
    """The command that was given, with the next seed."""
    context = click.get_current_context()
    words = ["tinynet", "train"]
    for parameter in context.command.params:
        name, value = str(parameter.name), context.params[str(parameter.name)]
        if context.get_parameter_source(name) is not ParameterSource.COMMANDLINE or name in ("seed", "resume"):
            continue
        if isinstance(parameter, click.Argument):
            words.append(value)
        else:
            words += [parameter.opts[0], ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    return shlex.join([*words, "--seed", str(context.params["seed"] + 1)])


def _finish_interrupted(experiment: Experiment, recorder: Recorder, folder: Path, as_json: bool) -> None:
    """Ctrl-C: what was learnt so far is kept and shown."""
    run = recorder.run
    if run.names():
        experiment.draw(run, folder)
    if as_json:
        print(json.dumps({"run": str(folder), "status": run.status, "test": None}))
    else:
        epochs = len(run.series("lr")[0]) - 1 if run.names() else 0
        console.print(
            f"\ninterrupted after epoch {epochs}; the run, its last checkpoint and its curves are in {folder}",
            soft_wrap=True,
            markup=False,
        )
    sys.exit(130)


@main.command()
@click.argument("match", default="")
@click.option("--order", type=click.IntRange(1, 3), default=2, help="check derivatives up to this order  [2]")
@click.option("--json", "as_json", is_flag=True, help="print the result as JSON and nothing else")
@user_errors
def check(match: str, order: int, as_json: bool) -> None:
    """Verify every derivative rule here and now.

    With MATCH, those whose name contains it.
    Each rule is compared with differences and, where it is analytic, with the complex step; forward mode with reverse
    mode; and the rule on arrays with the rule on Tensors. Exit status 1 if one is wrong.

    \b
    Examples:
      tinynet check
      tinynet check linalg --order 3
    """
    verdicts = []
    for verdict in check_table(order, match):
        verdicts.append(verdict)
        if not as_json:
            result = "[green]right[/]" if verdict.error is None else f"[red]WRONG[/] {escape(verdict.error)}"
            count = f"{verdict.calls:>2} call{'s' if verdict.calls > 1 else ' '}"
            console.print(f"{escape(verdict.name):<22} {count}  order {order}  {result}", soft_wrap=True)
    wrong = [v.name for v in verdicts if v.error is not None]
    if not verdicts:
        raise ValueError(f"no function of the table has {match!r} in its name")
    if as_json:
        print(json.dumps({"functions": len(verdicts), "wrong": wrong, "order": order, "numpy": np.__version__}))
    else:
        calls, seconds = sum(v.calls for v in verdicts), sum(v.seconds for v in verdicts)
        console.print(f"\n{len(verdicts)} functions, {calls} calls, {seconds:.1f} s: {len(wrong)} wrong {', '.join(wrong)}")
    sys.exit(1 if wrong else 0)


@main.command()
@click.argument("root", default="runs")
@click.option("--json", "as_json", is_flag=True, help="print the table as JSON")
@user_errors
def runs(root: str, as_json: bool) -> None:
    """List the runs in ROOT ("runs" if not given), oldest first.

    \b
    Example:
      tinynet runs
    """
    if Path(root).exists() and not Path(root).is_dir():
        raise Mistake(f"{root!r} is not a folder: name the folder that holds the runs, such as runs")
    rows = [_row(path.parent) for path in sorted(Path(root).glob("*/run.json"))]
    if as_json:
        print(json.dumps(encode(rows)))
        return
    if not rows:
        console.print(f"no runs in {root!r}: make one with 'tinynet train'", markup=False, soft_wrap=True)
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in rows[0]:
        table.add_column(column, justify="left" if column in ("run", "status") else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text("-" if v is None else f"{v:.4g}" if isinstance(v, float) else str(v)) for v in row.values()))
    console.print(table)


def _row(folder: Path) -> dict[str, Any]:
    """What the table says of a run; of one that cannot be read, that it cannot, and why on the error stream."""
    try:
        run = Run.open(folder)
        names, test = run.names(), run.meta.get("test") or {}
        return {
            "run": folder.name,
            "status": run.status,
            "steps": max((event["s"] for event in run.events), default=0),
            "train/loss": run.last("train/loss") if "train/loss" in names else None,
            "val/loss": run.last("val/loss") if "val/loss" in names else None,
            "test score": test.get("accuracy", test.get("r2_score")),
        }
    except (RecorderError, OSError, ValueError, TypeError, AttributeError) as error:
        click.echo(f"{folder.name} is unreadable: {error}", err=True)
        unknown = dict.fromkeys(("steps", "train/loss", "val/loss", "test score"))
        return {"run": folder.name, "status": "unreadable", **unknown}


@main.command()
@click.option("--json", "as_json", is_flag=True, help="print as JSON")
def env(as_json: bool) -> None:
    """Show what tinynet runs on here.

    And what to type if something is missing.

    \b
    Example:
      tinynet env
    """
    facts = {
        "tinynet": tinynet.__version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "cores": str(os.cpu_count()),
        "numpy": f"{np.__version__}, {_blas()}",
        **{name: _version(name) for name in ("matplotlib", "safetensors", "rich", "click")},
        "gpu": _gpu(),
    }
    if as_json:
        print(json.dumps(facts))
        return
    for name, fact in facts.items():
        console.print(f"{name:>12}  {fact}", markup=False, soft_wrap=True)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return f"not installed: pip install {package}"


def _blas() -> str:
    blas = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    limits = [f"{name}={os.environ[name]}" for name in THREADS if name in os.environ]
    threads = ", ".join(limits) or "one thread in tinynet train, one per core in Python"
    advice = "" if limits else " (for tiny nets, OPENBLAS_NUM_THREADS=1 is often faster)"
    return f"{blas.get('name', 'unknown BLAS')} {blas.get('version', '')}, {threads}{advice}"


def _gpu() -> str:
    try:
        cupy = backend.cupy()
    except backend.DeviceError as error:
        return f"not used: {error}"
    name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    return f"{name}, CuPy {cupy.__version__}: use it with --device cuda"


if __name__ == "__main__":
    main()
