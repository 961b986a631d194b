"""What recording a run costs, and how large and how quick its report is.

    python benchmarks/recorder.py [--rounds 25]

A step logs five scalars: into memory, into a folder, and there with an event file for TensorBoard as well. The three take
turns, block by block of STEPS steps, so that a busy machine slows down all of them; the processor's time of this process
counts, and the figures are medians over the rounds. `Run.open` reads a run of 100,000 such steps.

The report is of ten runs of 10,000 steps: six series of noise, which no compression makes small, seven quantities of six
layers at every tenth step, and a histogram at every hundredth. It is opened in Chromium without a window, if that and
Selenium are installed: the time is what the page says of itself, from its first script to the last chart, the median of
five openings.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from monitor import Recorder, Run, write_report
from monitor.exporters import TensorBoardSink

STEPS, LONG = 1000, 100_000
SCALARS = ("train/loss", "train/accuracy", "lr", "grad_norm", "rho")
SERIES = ("train/loss", "val/loss", "val/accuracy", "lr", "grad_norm", "rho")
LAYERS = ("grad_norm", "weight_norm", "update_ratio", "act_mean", "act_std", "dead", "saturated")
RUNS, LENGTH = 10, 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25)
    rounds = parser.parse_args().rounds
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, {rounds} interleaved rounds\n")
    print("| what | figure |\n|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for what, microseconds in logging(folder, rounds).items():
            print(f"| a step of five scalars, {what} | {microseconds:.1f} us |")
        size, seconds = reading(folder, rounds)
        print(f"| the same in events.jsonl | {size:.0f} bytes |")
        print(f"| `Run.open` of {LONG:,} steps | {seconds:.2f} s |")
        path = Path(folder, "report.html")
        seconds = timed(partial(write_report, [noisy_run(seed) for seed in range(RUNS)], path))
        size = path.stat().st_size / 1000
        print(f"| a report of {RUNS} runs of {LENGTH:,} steps | {size:.0f} KB, written in {seconds:.1f} s |")
        print(f"| the same, drawn by Chromium | {drawing(path)} |")


def timed(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


# Recording --------------------------------------------------------------------------------------------------------------


def logging(folder: str, rounds: int) -> dict[str, float]:
    """Microseconds of one `log` into each kind of recorder."""
    recorders = {
        "in memory": Recorder(None),
        "on disk": Recorder(folder, name="disk"),
        "on disk and for TensorBoard": Recorder(folder, name="both", sinks=[TensorBoardSink()]),
    }
    rows = np.random.default_rng(0).random((STEPS, len(SCALARS))).tolist()
    numbers = [dict(zip(SCALARS, row, strict=True)) for row in rows]

    def block(recorder: Recorder, first: int) -> None:
        for step, values in enumerate(numbers, first):
            recorder.log(values, step)

    times: dict[str, list[float]] = {name: [] for name in recorders}
    for turn in range(rounds):
        for name, recorder in recorders.items():
            times[name].append(timed(partial(block, recorder, 1 + turn * STEPS)))
    for recorder in recorders.values():
        recorder.finish()
    return {name: 1e6 * statistics.median(found) / STEPS for name, found in times.items()}


def reading(folder: str, rounds: int) -> tuple[float, float]:
    """(bytes of a step on disk, seconds to read a long run)."""
    with Recorder(folder, name="long") as recorder:
        for step, row in enumerate(np.random.default_rng(0).random((LONG, len(SCALARS))).tolist(), 1):
            recorder.log(dict(zip(SCALARS, row, strict=True)), step)
    size = (recorder.path / "events.jsonl").stat().st_size / LONG
    return size, statistics.median(timed(partial(Run.open, recorder.path)) for _ in range(min(rounds, 5)))


# Reporting --------------------------------------------------------------------------------------------------------------


def noisy_run(seed: int) -> Run:
    rng = np.random.default_rng(seed)
    recorder = Recorder(None, name=f"run {seed}", config={"seed": seed})
    names = [f"layers.{i}" for i in range(6)]
    for step, row in enumerate(rng.lognormal(size=(LENGTH, len(SERIES))).tolist(), 1):
        recorder.log(dict(zip(SERIES, row, strict=True)), step)
        if step % 10 == 0:
            recorder.event("layer", step, {"names": names, **{name: rng.random(6).tolist() for name in LAYERS}})
        if step % 100 == 0:
            recorder.log_histogram("weights/layers.0", rng.normal(size=500), step)
    recorder.finish()
    return recorder.run


def drawing(path: Path) -> str:
    """How long the page takes to draw itself, in words."""
    program, control = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    try:
        from selenium import webdriver
    except ImportError:
        program = None
    if program is None or control is None:
        return "not measured: it needs Selenium, Chromium and chromedriver"
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1300,900"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(control))
    try:
        found = [_milliseconds(driver, path) for _ in range(5)]
    finally:
        driver.quit()
    return f"{statistics.median(found):.0f} ms"


def _milliseconds(driver, path: Path) -> float:
    driver.get(path.as_uri())
    end = time.monotonic() + 60
    while (found := driver.execute_script("return window.tinynet.state().milliseconds")) is None:
        if time.monotonic() > end:
            raise RuntimeError("the page did not draw itself within a minute")
        time.sleep(0.05)
    return float(found)


if __name__ == "__main__":
    main()
