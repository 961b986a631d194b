"""Is the doctor right? Healthy trainings, in which it should find nothing, and faults put in, which it should name.

    python benchmarks/doctor.py [--seeds 5] [--healthy] [--json FILE]

Each training is a plain loop over tinynet's nets, recorded as a user would (evaluation after every epoch, losses of the
single validation examples, layers watched every 5 steps), and judged by monitor.diagnose. Data, nets and optimizers of the
healthy trainings differ; every seed draws other data and other weights. A healthy training that overfits nevertheless is
counted apart, and "overfit" is then no false alarm: by the loss on further examples (4,000; of digits what is left), which
the doctor never sees.

No margin of a rule was fitted to these trainings. But rules and faults come from the same people, so the table says that
the rules do what they are meant to, not how often they are right in the wild.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).parent.parent)  # not this folder, whose optimizers.py would hide the package

import numpy as np

import monitor
import optimizers
import tinynet as tn
from monitor.doctor import Report
from monitor.doctor.intervals import running_median
from tinynet import datasets

VALIDATION, FURTHER = 200, 4000


@dataclass
class Case:
    """A training: what is trained on what, and what is wrong with it."""

    name: str
    data: str
    hidden: tuple[int, ...] = (32, 32)
    activation: str = "relu"
    optimizer: str = "Adam"
    options: tuple[tuple[str, float], ...] = (("lr", 3e-3),)
    n: int = 300
    epochs: int = 40
    batch_size: int = 32
    dropout: float = 0.0
    expected: tuple[str, ...] = ()  # findings that would be right
    break_net: Callable[[Any], None] | None = None
    break_data: Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]] | None = None
    break_gradients: Callable[[Any], None] | None = None
    clear_gradients: bool = True


HEALTHY = [
    Case("moons, ReLU, Adam", "moons"),
    Case("moons, tanh, momentum", "moons", activation="tanh", optimizer="SGD", options=(("lr", 0.05), ("momentum", 0.9))),
    Case("circles, ReLU, RMSprop", "circles", optimizer="RMSprop", options=(("lr", 1e-3),)),
    Case("blobs, ReLU, SGD", "blobs", optimizer="SGD", options=(("lr", 0.1),)),
    Case("spirals, ReLU 64-64, AdamW", "spirals", hidden=(64, 64), optimizer="AdamW", options=(("lr", 5e-3),), epochs=60),
    Case("xor, GELU, dropout, Adam", "xor", activation="gelu", dropout=0.1),
    Case("sine, tanh, Adam", "sine", activation="tanh", options=(("lr", 1e-2),)),
    Case("digits, ReLU x 5, Adam", "digits", hidden=(64, 64, 64, 32, 32), n=1000, epochs=15, options=(("lr", 1e-3),)),
]


def shuffled(x: np.ndarray, y: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return x, generator.permutation(y)


def noisy(x: np.ndarray, y: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return x, np.where(generator.random(len(y)) < 0.2, generator.permutation(y), y)


def dead_biases(net: Any) -> None:
    net.layers[0].bias.data[...] = -100


def large_weights(net: Any) -> None:
    for parameter in net.parameters():
        parameter.data *= 4


def flipped(net: Any) -> None:
    for parameter in net.parameters():
        parameter.grad *= -1


SGD = {"optimizer": "SGD", "options": (("lr", 0.1),)}
FAULTS = [
    Case("learning rate x 1000, SGD", "moons", optimizer="SGD", options=(("lr", 100.0),),
         expected=("nonfinite", "lr_too_high", "not_learning", "dead_units")),
    Case("learning rate x 1000, Adam", "moons", options=(("lr", 3.0),),
         expected=("nonfinite", "lr_too_high", "not_learning", "dead_units")),
    Case("gradients never cleared", "moons", **SGD, clear_gradients=False, expected=("stale_gradients",)),
    Case("gradient's sign flipped", "moons", optimizer="SGD", options=(("lr", 0.01),), break_gradients=flipped,
         expected=("grad_sign",)),
    Case("biases -100 before ReLU", "moons", break_net=dead_biases, expected=("dead_units",)),
    Case("12 sigmoid layers", "moons", hidden=(16,) * 12, activation="sigmoid", expected=("vanishing_gradients",)),
    Case("weights x 4, 20 tanh layers", "moons", hidden=(32,) * 20, activation="tanh", break_net=large_weights,
         expected=("exploding_gradients", "saturated_units")),
    Case("inputs x 1000 into tanh", "moons", activation="tanh", break_data=lambda x, y, _: (1000 * x, y),
         expected=("saturated_units",)),
    Case("labels shuffled", "moons", break_data=shuffled, expected=("not_learning",)),
    Case("40 noisy examples, 400 epochs", "moons", hidden=(64, 64), n=40, epochs=400, break_data=noisy,
         options=(("lr", 1e-2),), expected=("overfit",)),
]  # fmt: skip


def data_of(case: Case, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(x, y) to train on, to validate on, and to know better than the doctor; faults of the data are in the first two."""
    generator = np.random.default_rng((seed, 1))
    if case.data == "digits":
        x, y = datasets.digits()
        order = generator.permutation(len(x))
        x, y = x[order], y[order]
        further = len(x) - case.n - VALIDATION
    else:
        further = FURTHER
        x, y = getattr(datasets, case.data)(case.n + VALIDATION + further, seed=seed)
        order = generator.permutation(len(x))  # some are made class by class
        x, y = x[order], y[order]
    seen = slice(0, case.n + VALIDATION)
    if case.break_data is not None:
        x, y = x.copy(), y.copy()
        x[seen], y[seen] = case.break_data(x[seen], y[seen], generator)
    cuts = [0, case.n, case.n + VALIDATION, case.n + VALIDATION + further]
    return [(x[a:b], y[a:b]) for a, b in pairwise(cuts)]


def train(case: Case, seed: int) -> tuple[Report, bool]:
    """The doctor's report on a training, and whether it overfitted by the loss on further examples."""
    train_data, val_data, further = data_of(case, seed)
    classifies = train_data[1].dtype.kind == "i"
    outputs = int(train_data[1].max()) + 1 if classifies else 1
    loss_of = tn.cross_entropy if classifies else tn.mse_loss
    net = tn.MLP([train_data[0].shape[1], *case.hidden, outputs], case.activation, case.dropout, seed=seed)
    if case.break_net is not None:
        case.break_net(net)
    optimizer = getattr(optimizers, case.optimizer)(net.parameters(), on_nonfinite="ignore", **dict(case.options))
    recorder, known = monitor.Recorder(root=None, name=case.name), []
    if classifies:
        recorder.describe(class_counts=np.bincount(train_data[1]))
    else:
        recorder.describe(target_variance=float(train_data[1].var()))
    with np.errstate(all="ignore"), recorder:
        watcher, step = recorder.watch(net, every=5), 0
        for epoch in range(case.epochs + 1):
            for x, y in tn.training.batches(*train_data, case.batch_size, seed, epoch) if epoch else ():
                step += 1
                one_step(case, net, optimizer, watcher, step, lambda x=x, y=y: loss_of(net(x), y))
            known.append(evaluate(recorder, net, loss_of, step, epoch, train_data, val_data, further))
    smooth = running_median(np.array(known))
    return monitor.diagnose(recorder.run), bool(smooth[-1] > 1.05 * smooth.min())


def one_step(case: Case, net: Any, optimizer: Any, watcher: Any, step: int, loss_now: Callable[[], Any]) -> None:
    watcher.begin(step)
    if case.clear_gradients or step == 1:
        optimizer.zero_grad()
    loss = loss_now()
    loss.backward()
    if case.break_gradients is not None:
        case.break_gradients(net)
    optimizer.step()
    watcher.end(step, loss, loss_now)


def evaluate(recorder: Any, net: Any, loss_of: Any, step: int, epoch: int, *sets: tuple[np.ndarray, np.ndarray]) -> float:
    """Record the losses on the training and validation data; the answer is that on further data."""
    net.eval()
    with tn.no_grad():
        losses = [loss_of(net(x), y, reduction="none").numpy() for x, y in sets]
    net.train()
    single = [loss.reshape(len(loss), -1).mean(axis=1) for loss in losses]
    recorder.event("eval", step, {"train/loss": single[0].mean(), "val/loss": single[1].mean()}, epoch)
    recorder.log_val_losses(single[1], step)
    return float(single[2].mean())


def table(title: str, cases: list[Case], seeds: int) -> list[dict[str, Any]]:
    """Train and print one row for each case."""
    print(f"\n{title:<32}{'right':>7}{'  detected (in how many of the runs)'}")
    rows = []
    for case in cases:
        ids: Counter[str] = Counter()
        right = 0
        for seed in range(seeds):
            report, overfits = train(case, seed)
            found = {finding.id for finding in report.detected}
            allowed = {*case.expected, *(["overfit"] if overfits else [])}
            right += bool(found & set(case.expected)) if case.expected else not found - allowed
            ids.update("overfit (true)" if id == "overfit" and overfits and not case.expected else id for id in found)
        detected = (
            ", ".join(f"{id} {count}" for id, count in sorted(ids.items(), key=lambda item: (-item[1], item[0])))
            or "nothing"
        )
        print(f"{case.name:<32}{f'{right}/{seeds}':>7}  {detected}", flush=True)
        rows.append({"case": case.name, "runs": seeds, "right": right, "detected": dict(ids)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Healthy trainings and seeded faults, and what the doctor says of them.")
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each kind (default: 5)")
    parser.add_argument("--healthy", action="store_true", help="leave the faults out")
    parser.add_argument("--json", type=Path, help="write the counts to this file, too")
    arguments = parser.parse_args()
    began = time.perf_counter()
    healthy = table("healthy: nothing is right", HEALTHY, arguments.seeds)
    faults = [] if arguments.healthy else table("faults: their name is right", FAULTS, arguments.seeds)
    runs, alarms = (sum(row["runs"] for row in healthy), sum(row["runs"] - row["right"] for row in healthy))
    named, broken = sum(row["right"] for row in faults), sum(row["runs"] for row in faults)
    print(f"\nhealthy runs with a false alarm: {alarms} of {runs}; faults named: {named} of {broken}")
    print(f"{time.perf_counter() - began:.0f} s")
    if arguments.json:
        arguments.json.write_text(json.dumps({"healthy": healthy, "faults": faults}, indent=2) + "\n")


if __name__ == "__main__":
    main()
