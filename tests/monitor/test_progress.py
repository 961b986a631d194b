"""The live line: sparklines, a few plain lines where there is no terminal, and a terminal that is left as it was found."""

import io
import math
import re
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from monitor import Progress
from monitor.progress import BARS, sparkline

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"

# Sparklines -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "bars"),
    [
        ([], ""),
        ([1], "▁"),
        ([2, 2, 2], "▁▁▁"),
        ([0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█"),
        ([7, 6, 5, 4, 3, 2, 1, 0], "█▇▆▅▄▃▂▁"),
        ([-1, -3, -2], "█▁▄"),
        ([1, math.nan, 2], "▁ █"),
        ([1, math.inf, 2, -math.inf], "▁ █ "),
        ([math.nan, math.inf], "  "),
        ([1e308, -1e308], "█▁"),
        ([5e-324, 0.0], "█▁"),
        (list(range(15)), "▁▂▃▄▅▆▇█"),  # evenly picked, the first and the last among them
        ([100.0, *[1.0, 1.1] * 50], "█▁▁▁▁▁▁▁"),  # so a settled loss looks settled
    ],
    ids=str,
)
def test_sparkline(values, bars):
    assert sparkline(values) == bars


@given(st.lists(st.floats(), max_size=20), st.integers(1, 12))
def test_a_sparkline_never_fails_and_has_one_sign_per_value(values, width):
    bars = sparkline(values, width)
    assert len(bars) == min(len(values), width)
    if values and width > 1:
        assert (bars[0] in BARS, bars[-1] in BARS) == (math.isfinite(values[0]), math.isfinite(values[-1]))
    if len(values) <= width:
        finite = [(value, bar) for value, bar in zip(values, bars, strict=True) if math.isfinite(value)]
        assert sum(bar in BARS for bar in bars) == len(finite)
        assert [BARS.index(bar) for _, bar in sorted(finite)] == sorted(BARS.index(bar) for _, bar in finite)


# A training of numbers --------------------------------------------------------------------------------------------------


def train(progress, epochs=20, batches=3, error_at=None, **more):
    """The hooks of a training whose loss halves every epoch."""
    training = SimpleNamespace(epochs=epochs, batches=batches, epoch=0, step=0, logs={})
    try:
        progress.on_train_begin(training)
        for epoch in range(1, epochs + 1):
            progress.on_epoch_begin(training)
            for _ in range(batches):
                training.step += 1
                progress.on_batch_end(training)
                if epoch == error_at:
                    raise ZeroDivisionError
            training.epoch = epoch
            numbers = {"train/loss": 0.5**epoch, "val/loss": 2 * 0.5**epoch, "val/accuracy": 1 - 0.5**epoch, "lr": 0.01}
            training.logs = {**numbers, **more}
            progress.on_epoch_end(training)
    finally:
        progress.on_train_end(training)


def plain_console():
    return Console(file=io.StringIO(), force_terminal=False, width=200)


def terminal(width=140):
    return Console(file=io.StringIO(), force_terminal=True, width=width, legacy_windows=False, _environ={"TERM": "xterm"})


def written(console):
    return console.file.getvalue()


# Without a terminal -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epochs", [1, 2, 9, 10, 11, 19, 20, 25, 99, 1000])
@pytest.mark.parametrize("lines", [1, 5, 10])
def test_plain_lines_are_few_and_include_the_first_and_the_last(epochs, lines):
    console = plain_console()
    train(Progress(console, lines=lines), epochs=epochs, batches=1)
    shown = [int(number) for number in re.findall(r"^epoch +(\d+)/", written(console), re.MULTILINE)]
    assert shown == sorted(set(shown))
    assert (shown[0], shown[-1]) == (1, epochs)
    assert min(lines, epochs) // 2 <= len(shown) <= lines + 2
    assert len(written(console).splitlines()) == len(shown)


def test_plain_lines_carry_the_numbers():
    console = plain_console()
    train(Progress(console), epochs=3)
    last = written(console).splitlines()[-1]
    for part in ("epoch   3/3  ", " it/s  ", "loss 0.1250", "val 0.2500", "accuracy 87.5%", "lr 0.01", "█▃▁"):
        assert part in last
    assert "\x1b" not in written(console)


def test_plain_lines_without_validation():
    console = plain_console()
    progress = Progress(console)
    training = SimpleNamespace(epochs=1, batches=1, epoch=1, step=1, logs={"train/loss": math.nan})
    progress.on_train_begin(training)
    progress.on_epoch_end(training)
    training.logs = {}
    progress.on_epoch_end(training)
    progress.on_train_end(training)
    first, second = written(console).splitlines()
    assert "loss nan" in first
    assert "loss" not in second


def test_a_hostile_name_is_shown_as_it_is():
    for console in (plain_console(), terminal(200)):
        train(Progress(console), epochs=2, **{"val/[/red]": 0.5, "val/[bold]x": 0.25})
        assert "[/red] 0.500" in written(console)
        assert "[bold]x 0.250" in written(console)


def test_bars_are_left_out_where_the_encoding_has_none():
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    train(Progress(Console(file=file, force_terminal=False, width=200)), epochs=2)
    file.flush()
    assert b"loss 0.2500  val 0.5000  accuracy 75.0%" in file.buffer.getvalue()


@pytest.mark.parametrize("lines", [0, 2.5, True, "3"])
def test_lines_are_checked(lines):
    with pytest.raises(ValueError, match=re.escape(f"lines must be a whole number of at least 1, got {lines!r}")):
        Progress(lines=lines)


# With a terminal --------------------------------------------------------------------------------------------------------


def text(console):
    """What was written, without control sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written(console))


def test_the_live_line_starts_and_stops_cleanly():
    before, console = sys.stdout, terminal()
    progress = Progress(console)
    train(progress, epochs=4)
    out = written(console)
    assert out.count(HIDE) == out.count(SHOW) == 1
    assert out.index(HIDE) < out.index(SHOW)
    assert sys.stdout is before
    last = text(console).rstrip().splitlines()[-1]
    for part in ("epoch   4/4", "it/s", "loss 0.0625", "val 0.1250", "█▄▂▁", "accuracy 93.8%", "lr 0.01"):
        assert part in last


def test_the_line_is_redrawn_ten_times_a_second_and_by_a_thread_of_its_own(monkeypatch):
    from rich.live import Live

    redrawn, redraw = [], Live.refresh
    monkeypatch.setattr(Live, "refresh", lambda live: redrawn.append(threading.current_thread()) or redraw(live))
    progress = Progress(terminal())
    rates = []
    monkeypatch.setattr(progress, "on_epoch_begin", lambda training: rates.append(progress._bar.live.refresh_per_second))
    train(progress, epochs=50)
    assert set(rates) == {10}
    assert redrawn.count(threading.main_thread()) <= 3  # when it begins and when it ends, never for a step or an epoch


def test_a_training_that_goes_on_counts_its_own_steps(monkeypatch):
    """Of 1,000 steps before the checkpoint none was taken in this process: neither the rate nor the time left knows them."""
    now = [50.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    for console in (plain_console(), terminal()):
        progress = Progress(console, lines=100)
        training = SimpleNamespace(epochs=200, batches=10, epoch=100, step=1000, logs={"train/loss": 1.0})
        progress.on_train_begin(training)
        if progress._bar is not None:
            task = progress._bar.tasks[0]
            assert (task.completed, task.fields["epoch"]) == (1000, 100)
            progress._bar.get_time = lambda: now[0]
        for _ in range(2):
            for _ in range(10):
                training.step, now[0] = training.step + 1, now[0] + 0.125
                progress.on_batch_end(training)
            training.epoch += 1
            progress.on_epoch_end(training)
        if progress._bar is not None:
            assert (task.fields["rate"], task.speed) == ("8", 8)
            assert task.time_remaining == 123  # seconds for 980 steps
        progress.on_train_end(training)
        assert "epoch 102/200" in text(console)
        assert " 8 it/s " in text(console)


def test_the_cursor_is_back_when_training_raises():
    before, console = sys.stdout, terminal()
    with pytest.raises(ZeroDivisionError):
        train(Progress(console), epochs=4, error_at=3)
    assert written(console).count(HIDE) == written(console).count(SHOW) == 1
    assert written(console).rindex(SHOW) > written(console).rindex(HIDE)
    assert sys.stdout is before


def test_it_can_be_used_for_a_second_training():
    console = terminal()
    progress = Progress(console)
    for epochs in (3, 2):
        train(progress, epochs=epochs)
        assert f"epoch   {epochs}/{epochs}" in text(console)
    assert written(console).count(HIDE) == written(console).count(SHOW) == 2
    assert len(progress._history) == 2  # of the second alone


def test_ending_what_never_began_does_nothing():
    Progress().on_train_end(SimpleNamespace())


@pytest.mark.parametrize("width", [40, 60, 80, 100, 116, 140])
def test_the_line_fits_the_terminal(width):
    console = terminal(width)
    train(Progress(console), epochs=4, **{"val/f1_score": 0.5})
    for line in text(console).replace("\r", "\n").splitlines():
        assert len(line.rstrip()) <= width
    assert "val 0.1250" in text(console)  # the most telling number is there in the narrowest
    assert "epoch   4/4" in text(console)
