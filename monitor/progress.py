"""A live line while training runs: one line in place on a terminal, a few plain lines elsewhere.

    epoch  34/60 ━━━━━━━╸━━━━     412 it/s  eta 0:00:03 loss 0.0121  val 0.0812  ▇▄▂▁▁▁▁▁  accuracy 97.8%  lr 0.0021

The line is as long as the terminal is wide: a narrow one goes without the bar, then without the sparkline, and so on.
It is redrawn at most ten times a second, by a thread of its own: training never waits for it.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from typing import Any

from monitor.callbacks import Callback

BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int = 8) -> str:
    """The values as a row of little bars, lowest to highest, evenly picked if they are many; a gap for what is not finite.

    >>> sparkline([4, 3, 2, 1])
    '█▅▃▁'
    """
    n = len(values)
    shown = [values[round(i * (n - 1) / max(width - 1, 1))] for i in range(width)] if n > width else list(values)
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        return " " * len(shown)
    low = min(finite)
    span = min(max(finite) - low, sys.float_info.max) or 1.0  # neither an overflow nor a division by zero
    heights = [min((v - low) / span, 1.0) * (len(BARS) - 1) for v in shown]
    return "".join(BARS[int(height)] if math.isfinite(v) else " " for v, height in zip(shown, heights, strict=True))


class Progress(Callback):
    """The live line. `lines`: how many plain lines to print over the whole training when there is no terminal."""

    def __init__(self, console: Any = None, lines: int = 10):
        if type(lines) is not int or lines < 1:
            raise ValueError(f"lines must be a whole number of at least 1, got {lines!r}")
        self.console = console
        self.lines = lines
        self._bar: Any = None
        self._history: list[float] = []

    def on_train_begin(self, training: Any) -> None:
        from rich.console import Console

        self.console = self.console or Console()
        self._history, self._began = [], time.perf_counter()
        self._first = training.step  # not 0 where training goes on from a checkpoint
        if self.console.is_terminal:
            self._bar, self._room = _live_line(self.console, len(str(training.epochs)))
            total = training.epochs * training.batches
            fields = {"epoch": training.epoch, "epochs": training.epochs, "rate": "-", "numbers": ""}
            self._task = self._bar.add_task("", total=total, completed=training.step, **fields)
            self._bar.start()

    def on_batch_end(self, training: Any) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=training.step)

    def on_epoch_end(self, training: Any) -> None:
        logs = training.logs
        self._history.append(logs.get("val/loss", logs.get("train/loss", math.nan)))
        rate = f"{(training.step - self._first) / (time.perf_counter() - self._began):,.0f}"
        if self._bar is not None:
            numbers = self._numbers(logs, self._room)
            self._bar.update(self._task, epoch=training.epoch, rate=rate, numbers=numbers)
        elif training.epoch in (1, training.epochs) or training.epoch % -(-training.epochs // self.lines) == 0:
            line = f"epoch {training.epoch:>3}/{training.epochs}  {rate} it/s  {self._numbers(logs)}"
            self.console.print(line, soft_wrap=True, markup=False)  # a [name] is no markup

    def on_train_end(self, training: Any) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        reason = getattr(training, "stop_reason", None)
        if reason:
            text = f"stopped after epoch {training.epoch}: {reason}"
            self.console.print(text, soft_wrap=True, markup=False)

    def _numbers(self, logs: Any, room: float = math.inf) -> str:
        """The latest numbers, the most telling ones if there is no room for all."""
        parts = {
            "loss": f"loss {_short(logs['train/loss'])}" if "train/loss" in logs else "",
            "val": f"val {_short(logs['val/loss'])}" if "val/loss" in logs else "",
            "spark": sparkline(self._history) if _can_show_bars(self.console) else "",
            "metrics": "  ".join(
                f"{name[4:]} {value:.1%}" if name == "val/accuracy" else f"{name[4:]} {value:.3f}"
                for name, value in logs.items()
                if name.startswith("val/") and name != "val/loss"
            ),
            "lr": f"lr {logs['lr']:.2g}".ljust(10) if "lr" in logs else "",  # as wide as it gets, so that nothing jumps
        }
        for least in ("spark", "lr", "metrics", "loss", ""):
            text = "  ".join(filter(None, parts.values()))
            if len(text) <= room:
                break
            parts[least] = ""
        return text.rstrip()


def _live_line(console: Any, digits: int) -> tuple[Any, int]:
    """The line as wide as the console, and how many characters are left in it for the numbers."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns: list[Any] = [TextColumn("epoch {task.fields[epoch]:>3}/{task.fields[epochs]}")]
    taken = len("epoch 123/") + digits
    if console.width >= 116:
        columns += [BarColumn(bar_width=12), TextColumn("{task.fields[rate]:>7} it/s ")]
        taken += 1 + 12 + 1 + len("1234567 it/s ")
    columns += [TextColumn("eta"), TimeRemainingColumn(), TextColumn("{task.fields[numbers]}", markup=False)]
    taken += len(" eta 0:00:00 ")
    return Progress(*columns, console=console, refresh_per_second=10), console.width - taken


def _can_show_bars(console: Any) -> bool:
    """Whether the console's encoding has sparkline bars; old Windows consoles and files have not."""
    try:
        BARS.encode(getattr(console, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _short(value: float) -> str:
    """About four digits, whatever the size.

    >>> _short(0.12345), _short(0.00001234), _short(123456.0)
    ('0.1235', '1.2e-05', '1.2e+05')
    """
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e3 else f"{value:.1e}"
