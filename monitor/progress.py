"""A live line while training runs: one line in place on a terminal, a few plain lines elsewhere.

    epoch  34/60 ━━━━━━━━╸━━━━━  412 it/s  eta 0:00:03  loss 0.012  val 0.081 ▇▄▂▁▁▁  accuracy 97.8%  lr 0.0021

The terminal is redrawn at most ten times a second, by a thread of its own: training never waits for it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from monitor.callbacks import Callback

BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int = 8) -> str:
    """The last values as a row of little bars, lowest to highest; a gap for what is not finite.

    >>> sparkline([4, 3, 2, 1])
    '█▅▃▁'
    """
    shown = list(values)[-width:]
    finite = [v for v in shown if math.isfinite(v)]
    if not finite:
        return " " * len(shown)
    low, span = min(finite), max(finite) - min(finite)
    scale = (len(BARS) - 1) / span if span else 0
    return "".join(BARS[int((v - low) * scale)] if math.isfinite(v) else " " for v in shown)


class Progress(Callback):
    """The live line. `lines`: how many plain lines to print over the whole training when there is no terminal."""

    def __init__(self, console: Any = None, lines: int = 10):
        self.console = console
        self.lines = lines
        self._bar: Any = None
        self._history: list[float] = []

    def on_train_begin(self, training: Any) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.console = self.console or Console()
        self._history, self._began = [], time.perf_counter()
        if self.console.is_terminal:
            self._bar = Progress(
                TextColumn("epoch {task.fields[epoch]:>3}/{task.fields[epochs]}"),
                BarColumn(bar_width=12),
                TextColumn("{task.fields[rate]:>7} it/s  eta"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[numbers]}"),
                console=self.console,
                refresh_per_second=10,
            )
            total = training.epochs * training.batches
            fields = {"epoch": 0, "epochs": training.epochs, "rate": "-", "numbers": ""}
            self._task = self._bar.add_task("", total=total, **fields)
            self._bar.start()

    def on_batch_end(self, training: Any) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=training.step)

    def on_epoch_end(self, training: Any) -> None:
        logs = training.logs
        self._history.append(logs.get("val/loss", logs.get("train/loss", math.nan)))
        rate = f"{training.step / (time.perf_counter() - self._began):,.0f}"
        numbers = self._numbers(logs)
        if self._bar is not None:
            self._bar.update(self._task, epoch=training.epoch, rate=rate, numbers=numbers)
        elif training.epoch == 1 or training.epoch % max(1, training.epochs // self.lines) == 0:
            self.console.print(f"epoch {training.epoch:>3}/{training.epochs}  {rate} it/s  {numbers}", soft_wrap=True)

    def on_train_end(self, training: Any) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _numbers(self, logs: Any) -> str:
        parts = []
        if "train/loss" in logs:
            parts.append(f"loss {logs['train/loss']:.4f}")
        if "val/loss" in logs:
            parts.append(f"val {logs['val/loss']:.4f}")
        parts.append(sparkline(self._history))
        parts += [
            f"{name[4:]} {value:.1%}" if name == "val/accuracy" else f"{name[4:]} {value:.3f}"
            for name, value in logs.items()
            if name.startswith("val/") and name != "val/loss"
        ]
        if "lr" in logs:
            parts.append(f"lr {logs['lr']:.2g}")
        return "  ".join(parts)
