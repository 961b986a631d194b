"""Commands that look at the machine: check (are the derivatives right here?) and env (what is there, is the GPU used?)."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

import tinynet
from tinynet import backend
from tinynet.cli.shared import (
    THREADS,
    Command,
    did_you_mean,
    json_option,
    new_console,
    print_json,
    program,
    say,
    shown,
    user_errors,
)

PACKAGES = ("matplotlib", "safetensors", "rich", "click", "threadpoolctl")


@click.command(cls=Command)
@click.argument("match", default="")
@click.option("--order", type=click.IntRange(1, 3), default=2, help="check derivatives up to this order  [2]")
@json_option
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
    from tinynet.check import check_table, functions
    from tinynet.messages import name_of

    verdicts = []
    for verdict in check_table(order, match):
        verdicts.append(verdict)
        if not as_json:
            result = "[green]right[/]" if verdict.error is None else f"[red]WRONG[/] {shown(verdict.error)}"
            count = f"{verdict.calls:>2} call{'s' if verdict.calls > 1 else ' '}"
            say(f"{shown(verdict.name):<22} {count}  order {order}  {result}")
    wrong = [v.name for v in verdicts if v.error is not None]
    if not verdicts:
        names = [name_of(function) for function, _ in functions()]
        raise ValueError(f"no function of the table has {match!r} in its name{did_you_mean(match, names)}")
    if as_json:
        print_json({"functions": len(verdicts), "wrong": wrong, "order": order, "numpy": np.__version__})
    else:
        calls, seconds = sum(v.calls for v in verdicts), sum(v.seconds for v in verdicts)
        say(f"\n{len(verdicts)} functions, {calls} calls, {seconds:.1f} s: {len(wrong)} wrong {', '.join(wrong)}")
    sys.exit(1 if wrong else 0)


@click.command(cls=Command)
@json_option
@user_errors
def env(as_json: bool) -> None:
    """Show what tinynet runs on here.

    Whether the GPU will be used, and what to type if not.

    \b
    Example:
      tinynet env
    """
    facts: dict[str, Any] = {
        "tinynet": tinynet.__version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "numpy": np.__version__,
        "packages": {name: _version(name) for name in PACKAGES},
        "cores": os.cpu_count(),
        "blas": _blas(),
        "threads": _threads(),
    }
    gpu = look_for_gpu()
    if as_json:
        print_json({**facts, "gpu": vars(gpu)})
    else:
        _print({**facts, "packages": ", ".join(f"{name} {version}" for name, version in facts["packages"].items())}, gpu)


def _print(facts: dict[str, Any], gpu: Gpu) -> None:
    from rich.table import Table

    console, table = new_console(), Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", style="dim")
    for name, fact in facts.items():
        table.add_row(name, shown(fact))
    verdict = "[green]will be used[/]" if gpu.usable else "[yellow]will not be used[/]"
    table.add_row("gpu", f"{verdict}: {shown(gpu.found)}")
    if gpu.next:
        table.add_row("next", f"type: [bold]{shown(gpu.next)}[/]")
        table.add_row("", shown(gpu.why))
    console.print(table)


def _version(package: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return f"(missing: {_pip()} install {package})"


def _pip() -> str:
    """The pip of this Python, as it can be typed."""
    found = shutil.which("pip")
    return "pip" if found and Path(found).parent == Path(sys.executable).parent else f"{sys.executable} -m pip"


# BLAS ---------------------------------------------------------------------------------------------------------------------


def _blas() -> str:
    """The library that multiplies matrices, and the threads that it takes in the user's own programs."""
    from threadpoolctl import threadpool_info

    for library in threadpool_info():
        if library["user_api"] == "blas":
            n = library["num_threads"]
            return f"{library['internal_api']} {library['version']}, {n} thread{'s' * (n != 1)} in programs of your own"
    built = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    return f"{built.get('name', 'unknown')} {built.get('version', '')}".strip()


def _threads() -> str:
    """How many BLAS threads `tinynet train` uses, and why."""
    chosen = [f"{name}={os.environ[name]}" for name in THREADS if name in os.environ]
    if chosen:
        return f"in tinynet train those of your own choice, {', '.join(chosen)}"
    return "1 in tinynet train, since more cost a small net more than they give (OMP_NUM_THREADS=4 tinynet train: 4)"


# GPU ----------------------------------------------------------------------------------------------------------------------


@dataclass
class Gpu:
    """What was found, and the next thing to type, with the reason."""

    usable: bool
    found: str
    next: str = ""
    why: str = ""


def look_for_gpu() -> Gpu:
    """Whether `--device cuda` works here; and if not, which of three things is missing: CuPy, a driver, a GPU in sight."""
    try:
        cupy = backend.cupy()
    except backend.DeviceError as error:
        return _unusable(str(error))
    about = cupy.cuda.runtime.getDeviceProperties(0)
    name, gigabytes = about["name"].decode(errors="replace"), about["totalGlobalMem"] / 2**30
    found = f"{name}, {gigabytes:.0f} GiB, CuPy {cupy.__version__}, wherever --device cuda is given"
    return Gpu(True, found, f"{program()} train --device cuda", "(small nets are faster on the CPU)")


def _unusable(error: str) -> Gpu:
    driver = driver_cuda()
    if "needs CuPy" in error:
        if driver is None:
            found = "CuPy is not installed, and there is no NVIDIA driver that it could use"
            return Gpu(
                False,
                found,
                "nvidia-smi",
                "it must list a GPU; if it does not, or is not found, the CPU is used, which is all that a small net needs",
            )
        return Gpu(False, f"CuPy is not installed; the driver takes CUDA {driver}", *_install(driver))
    if "no GPU is visible" in error:
        if "CUDA_VISIBLE_DEVICES" in os.environ:
            hidden = f"CUDA_VISIBLE_DEVICES={os.environ['CUDA_VISIBLE_DEVICES']} hides all GPUs"
            undo = "set CUDA_VISIBLE_DEVICES=" if os.name == "nt" else "unset CUDA_VISIBLE_DEVICES"
            return Gpu(False, hidden, undo, "then tinynet env again")
        return Gpu(
            False,
            "CuPy is installed, but no GPU is visible",
            "nvidia-smi",
            "it must list a GPU; a container needs --gpus all for that",
        )
    if "InsufficientDriver" in error and driver is not None:
        return Gpu(False, f"the driver takes CUDA {driver}, older than this CuPy needs", *_install(driver))
    return Gpu(False, error, "nvidia-smi", "if it fails too, install the NVIDIA driver or update it")


def _install(driver: int) -> tuple[str, str]:
    if driver < 12:
        return "nvidia-smi", "it shows the driver, which must be updated: CuPy needs one for CUDA 12 or later"
    return f'{_pip()} install "cupy-cuda{min(driver, 13)}x[ctk]"', "then tinynet env again"


def driver_cuda() -> int | None:
    """The CUDA version, such as 13, up to which the installed NVIDIA driver goes; None without a driver that answers."""
    import ctypes

    version = ctypes.c_int()
    try:
        library: Any = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
        failed = library.cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return None
    return None if failed else version.value // 1000
