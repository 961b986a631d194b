"""Records how the optimizers of optax, Keras, scikit-learn and two papers' authors move, for tests that need none of them.

    python tests/goldens/make_dialects.py           # writes dialects.npz beside this file

It needs NumPy, optax, keras (on the jax backend), scikit-learn, torch, adabelief-pytorch and schedulefree. What is recorded
is what the tables of tests/optimizers ask for: SAME and DIFFERENT of test_dialects.py, LOOKAHEADS of test_averaging.py,
THEIRS of test_schedule_free.py. Their left column is a piece of Python that makes an optimizer of theirs.

The file holds one array [row of a table, step of RECORDED, parameter], float64, with the parameters side by side in it;
and, as JSON in the entry "about", the left columns and the versions. A left column followed by " -> eval()" is the same
optimizer, but the point that it would be evaluated at.

The experiment: the start and the first 60 gradients of make_torch.py (one that is missing there is zero here); the learning
rate `lr` is 0.05, and 0.005 from step 31 on.
"""

from __future__ import annotations

import json
import runpy
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np

HERE = Path(__file__).parent
FILE = HERE / "dialects.npz"
LR, SLOWER = 0.05, 31  # the learning rate, and the step from which on it is a tenth of that
RECORDED = [1, 2, 30, 31, 60]
experiment = runpy.run_path(str(HERE / "make_torch.py"))
flatten = experiment["flatten"]


def start() -> list[np.ndarray]:
    return experiment["start"](seed=7)


def gradients() -> list[list[np.ndarray]]:
    rows = experiment["gradients"](seed=7)[: RECORDED[-1]]
    return [
        [np.zeros(shape) if g is None else g for g, shape in zip(row, experiment["SHAPES"], strict=True)] for row in rows
    ]


def recorded() -> dict[str, np.ndarray]:
    """What the file holds: [step of RECORDED, parameter] by left column. Nothing while it is made for the first time."""
    if not FILE.exists():
        return {}
    with np.load(FILE) as file:
        return dict(zip(json.loads(str(file["about"]))["rows"], file["rows"], strict=True))


# How each library takes its steps: functions that yield the parameters before each step, and are sent the gradients ----------


def of_optax(text: str) -> list[list[np.ndarray]]:
    import jax
    import jax.numpy as jnp
    import optax

    jax.config.update("jax_enable_x64", True)
    optimizer = eval(text, {"optax": optax, "lr": lambda k: jnp.where(k + 1 < SLOWER, LR, 0.1 * LR)})
    parameters = [jnp.asarray(p) for p in start()]
    ahead = text.startswith("optax.lookahead")  # which keeps its own copy of the weights
    kept = optax.LookaheadParams(parameters, parameters) if ahead else parameters
    state, rows = optimizer.init(kept), []
    for row in gradients():
        updates, state = optimizer.update([jnp.asarray(g) for g in row], state, kept)
        kept = optax.apply_updates(kept, updates)
        rows.append([np.asarray(p) for p in (kept.fast if ahead else kept)])
    return rows


def of_keras(text: str) -> list[list[np.ndarray]]:
    import os

    os.environ["KERAS_BACKEND"] = "jax"
    import jax
    import keras

    jax.config.update("jax_enable_x64", True)
    keras.config.set_floatx("float64")
    optimizer = eval(text, {"keras": keras.optimizers, "lr": LR})
    parameters, rows = [keras.Variable(p) for p in start()], []
    for k, row in enumerate(gradients(), start=1):
        if k == SLOWER:
            optimizer.learning_rate = 0.1 * LR
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in row], parameters)
        rows.append([np.array(p.numpy()) for p in parameters])
    return rows


def of_sklearn(text: str) -> list[list[np.ndarray]]:
    from sklearn.neural_network import _stochastic_optimizers

    parameters, rows = start(), []
    optimizer = eval(text, {"sklearn": _stochastic_optimizers, "params": parameters, "lr": LR})
    rate = "learning_rate_init" if "Adam" in text else "learning_rate"  # what it reads at every step
    for k, row in enumerate(gradients(), start=1):
        if k == SLOWER:
            setattr(optimizer, rate, 0.1 * LR)
        optimizer.update_params(parameters, row)
        rows.append([p.copy() for p in parameters])
    return rows


def of_torch(text: str, module: str, evaluated: bool = False) -> list[list[np.ndarray]]:
    """A package with optimizers in PyTorch's manner; with `evaluated`, at the point that eval() goes to."""
    import importlib

    import torch

    parameters, rows = [torch.tensor(p, requires_grad=True) for p in start()], []
    library = importlib.import_module(module)
    optimizer = eval(text, {module.split("_")[0]: library, "params": parameters, "lr": LR})
    two_points = hasattr(optimizer, "eval")
    for k, row in enumerate(gradients(), start=1):
        if k == SLOWER and "lr=" not in text:
            optimizer.param_groups[0]["lr"] *= 0.1
        if two_points:
            optimizer.train()
        for p, g in zip(parameters, row, strict=True):
            p.grad = torch.tensor(g)
        optimizer.step()
        if evaluated:
            optimizer.eval()
        rows.append([p.detach().numpy().copy() for p in parameters])
    return rows


LIBRARIES = {
    "optax": of_optax,
    "keras": of_keras,
    "sklearn": of_sklearn,
    "adabelief": lambda text: of_torch(text, "adabelief_pytorch"),
    "schedulefree": lambda text: of_torch(text, "schedulefree"),
}


def tables() -> list[str]:
    """The left columns of all tables."""
    found: list[str] = []
    for name, wanted in (
        ("dialects", ("SAME", "DIFFERENT")),
        ("averaging", ("LOOKAHEADS",)),
        ("schedule_free", ("THEIRS",)),
    ):
        module = SimpleNamespace(**runpy.run_path(str(HERE.parent / "optimizers" / f"test_{name}.py")))
        for table in wanted:
            found += [row[0] for row in getattr(module, table)]
    return found


def main() -> None:
    """Write the file."""
    rows = {}
    for text in tables():
        rows[text] = LIBRARIES[text.split(".")[0]](text)
        if text.startswith("schedulefree"):
            rows[f"{text} -> eval()"] = of_torch(text, "schedulefree", evaluated=True)
    packages = ("optax", "jax", "keras", "scikit-learn", "torch", "adabelief-pytorch", "schedulefree", "numpy")
    versions = {"python": sys.version.split()[0], **{name: version(name) for name in packages}}
    about = {"rows": list(rows), "recorded": RECORDED, "versions": versions}
    array = np.array([[flatten(row[k - 1]) for k in RECORDED] for row in rows.values()])
    np.savez_compressed(FILE, about=np.array(json.dumps(about)), rows=array)
    print(f"{FILE.name}: {len(rows)} rows, {FILE.stat().st_size / 1024:.0f} KB, made with {versions}")


if __name__ == "__main__":
    main()
