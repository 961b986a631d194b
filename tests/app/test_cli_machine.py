"""The commands that look at the machine, and the command as a whole: help, version, what starting it loads."""

import json
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import tinynet.cli
from tinynet import backend
from tinynet.cli import machine, main
from tinynet.cli.shared import THREADS, Command
from tinynet.rules import RULES, Rule

# The command as a whole ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", main.commands)
def test_help_has_an_example_and_fits(tinynet, command):
    told = tinynet(command, "--help").stdout
    assert re.search(rf"Examples?:\n    tinynet {command}", told)
    assert max(map(len, told.splitlines())) <= 80
    listed = re.search(rf"^  {command} +(\S.*)$", tinynet("--help").stdout, re.MULTILINE)
    assert listed
    assert "..." not in listed[1]  # the first sentence is short enough to be shown whole


def test_the_commands_are_listed_in_the_order_of_use():
    assert list(main.commands) == [command.name for command in tinynet.cli.COMMANDS]
    listed = re.findall(r"^  (\w+)  ", CliRunner().invoke(main, ["--help"]).output.split("Commands:")[1], re.MULTILINE)
    assert listed == list(main.commands)


def test_the_version(tinynet):
    assert re.fullmatch(r"tinynet, version \d+\.\d+\.\d+\n", tinynet("--version").stdout)


def test_an_unknown_command_suggests_the_nearest(tinynet):
    told = "Error: unknown command 'trian': did you mean 'train'? There are: check, compare, "
    assert told in tinynet("trian", status=2).stderr
    assert "Error: unknown command 'zzz'. There are: check, " in tinynet("zzz", status=2).stderr


def test_data_are_no_command_but_can_be_trained_on(tinynet):
    Path("my data.csv").write_text("")
    assert "'moons' is no command, but something to train on: tinynet train moons\n" in tinynet("moons", status=2).stderr
    assert tinynet("my data.csv", status=2).stderr.endswith(": tinynet train 'my data.csv'\n")
    Path("a\x07").write_text("")
    assert "\x07" not in tinynet("a\x07", status=2).stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("train --lrr 1", "'--lrr': did you mean '--lr'?"),
        ("train --lrr=1", "'--lrr': did you mean '--lr'?"),
        ("train moons -lr 0.1", "'-lr': did you mean '--lr'?"),
        ("train --LR 0.1", "'--LR': did you mean '--lr'?"),
        ("train --learning-rate 1", "'--learning-rate': did you mean '--lr'?"),
        ("train --learning_rate 1", "'--learning_rate': did you mean '--lr'?"),
        ("train --batch_size 8", "'--batch_size': did you mean '--batch-size'?"),
        ("train --ptaience 3", "'--ptaience': did you mean '--patience'?"),
        ("compare --styl paper", "'--styl': did you mean '--style'?"),
        ("report --output x", "'--output': did you mean '--out'?"),
        ("train --output x", "'--output'"),  # train has no such option
        ("train --data my.csv", "'--data': write it without one, as in tinynet train DATA"),
        ("train --dataset moons", "'--dataset': write it without one, as in tinynet train DATA"),
        ("compare --optimizer adam", "'--optimizer': write it without one, as in tinynet compare OPTIMIZERS"),
        ("runs --runs old", "'--runs': write it without one, as in tinynet runs ROOT"),
        ("export --format csv", "'--format': did you mean '--to'?"),
        ("train -z", "'-z'"),
        ("doctor --jsn", "'--jsn': did you mean '--json'?"),
        ("--versoin", "'--versoin': did you mean '--version'?"),
        ("--lr 0.1 train", "'--lr': it goes after a command, as in tinynet train --lr"),
    ],
)
def test_an_unknown_option_suggests_the_nearest(tinynet, words, told):
    said = tinynet(*words.split(), status=2).stderr
    assert said.startswith("Usage: tinynet ")
    assert said.endswith(f"\nError: there is no option {told}\n")


def test_every_command_suggests_options():
    assert {type(command) for command in main.commands.values()} == {Command}


def test_starting_loads_nothing_that_help_does_not_need():
    code = (
        "import sys\nfrom tinynet.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: print(*sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert "tinynet.cli.train" in loaded
    assert not loaded & {"rich", "matplotlib", "threadpoolctl", "http.server", "monitor.exporters", "safetensors", "pandas"}


def test_ctrl_c_is_no_finding(tinynet, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(machine, "look_for_gpu", interrupted)
    assert tinynet("env", status=130).output == ""


# env ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def cupy(monkeypatch):
    """A function that puts a CuPy in place that answers, or fails, as a real one does; None: there is none."""
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)

    def put(count=None, error=None, driver=13):
        monkeypatch.setattr(machine, "driver_cuda", lambda: driver)
        backend.cupy.cache_clear()
        if count is None and error is None:
            monkeypatch.setitem(sys.modules, "cupy", None)
            return
        runtime = types.SimpleNamespace(CUDARuntimeError=type("CUDARuntimeError", (RuntimeError,), {}))

        def get_device_count():
            if error:
                raise runtime.CUDARuntimeError(error)
            return count

        runtime.getDeviceCount = get_device_count
        runtime.getDeviceProperties = lambda i: {"name": b"NVIDIA [red]A100", "totalGlobalMem": 80 * 2**30}
        module = types.ModuleType("cupy")
        module.__version__, module.cuda = "14.0", types.SimpleNamespace(runtime=runtime)
        monkeypatch.setitem(sys.modules, "cupy", module)

    yield put
    backend.cupy.cache_clear()


def test_env_in_json(tinynet, cupy):
    cupy()
    facts = json.loads(tinynet("env", "--json").stdout)
    assert list(facts) == ["tinynet", "python", "numpy", "packages", "cores", "blas", "threads", "gpu"]
    assert facts["numpy"] == np.__version__
    assert set(facts["packages"]) == {"matplotlib", "safetensors", "rich", "click", "threadpoolctl"}
    assert list(facts["gpu"]) == ["usable", "found", "next", "why"]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_env_is_one_screen(tinynet, cupy, monkeypatch, width):
    cupy()
    monkeypatch.setenv("COLUMNS", str(width))
    told = tinynet("env").stdout.splitlines()
    assert max(map(len, told)) <= width
    assert len(told) <= 24
    assert all(any(line.strip().startswith(name) for line in told) for name in ("python", "blas", "threads", "gpu", "next"))


def said_of_gpu(tinynet):
    gpu = json.loads(tinynet("env", "--json").stdout)["gpu"]
    told = " ".join(tinynet("env").stdout.split())
    assert all(" ".join(gpu[part].split()) in told for part in ("found", "next", "why"))
    assert ("will be used: " in told, "will not be used: " in told) == (gpu["usable"], not gpu["usable"])
    return gpu["found"], gpu["next"]


@pytest.mark.parametrize(
    ("driver", "package"), [(12, "cupy-cuda12x[ctk]"), (13, "cupy-cuda13x[ctk]"), (14, "cupy-cuda13x[ctk]")]
)
def test_without_cupy_the_one_for_the_driver_is_to_be_installed(tinynet, cupy, driver, package):
    cupy(driver=driver)
    found, todo = said_of_gpu(tinynet)
    assert found == f"CuPy is not installed; the driver takes CUDA {driver}"
    assert re.fullmatch(rf'\S+( -m pip)? install "{re.escape(package)}"', todo)


@pytest.mark.parametrize("driver", [None, 11])
def test_without_a_driver_for_it_cupy_would_not_help(tinynet, cupy, driver):
    cupy(driver=driver)
    found, todo = said_of_gpu(tinynet)
    assert todo == "nvidia-smi"
    assert "CuPy is not installed" in found


def test_a_driver_that_cannot_be_used(tinynet, cupy):
    cupy(error="cudaErrorSystemDriverMismatch: system has unsupported display driver")
    found, todo = said_of_gpu(tinynet)
    assert "CuPy 14.0 is installed but cannot use a GPU: cudaErrorSystemDriverMismatch" in found
    assert todo == "nvidia-smi"


def test_a_driver_that_is_too_old_for_this_cupy(tinynet, cupy):
    cupy(error="cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version", driver=12)
    found, todo = said_of_gpu(tinynet)
    assert found == "the driver takes CUDA 12, older than this CuPy needs"
    assert todo.endswith('install "cupy-cuda12x[ctk]"')


@pytest.mark.parametrize("how", [{"count": 0}, {"error": "cudaErrorNoDevice: no CUDA-capable device is detected"}])
def test_no_gpu_in_sight(tinynet, cupy, monkeypatch, how):
    cupy(**how)
    assert said_of_gpu(tinynet) == ("CuPy is installed, but no GPU is visible", "nvidia-smi")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    found, todo = said_of_gpu(tinynet)
    assert found == "CUDA_VISIBLE_DEVICES=-1 hides all GPUs"
    assert "CUDA_VISIBLE_DEVICES" in todo


def test_a_gpu_that_will_be_used(tinynet, cupy):
    cupy(count=1)
    found, todo = said_of_gpu(tinynet)
    assert found.startswith("NVIDIA [red]A100, 80 GiB, CuPy 14.0")
    assert todo == "tinynet train --device cuda"


def test_threads_and_why(tinynet, cupy, monkeypatch):
    cupy()
    facts = json.loads(tinynet("env", "--json").stdout)
    assert re.fullmatch(r".+ \S+, 1 thread in programs of your own", facts["blas"])  # conftest.py limits it to one
    assert facts["threads"].startswith("1 in tinynet train, since ")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert "your own choice, OMP_NUM_THREADS=3" in json.loads(tinynet("env", "--json").stdout)["threads"]


def test_a_missing_package_says_how_to_get_it(tinynet, cupy, monkeypatch):
    cupy()
    monkeypatch.setattr(machine, "PACKAGES", ("no-such-package",))
    told = json.loads(tinynet("env", "--json").stdout)["packages"]["no-such-package"]
    assert re.fullmatch(r"\(missing: \S+( -m pip)? install no-such-package\)", told)


# check --------------------------------------------------------------------------------------------------------------------


def test_check_verifies_the_table():
    result = CliRunner().invoke(main, ["check", "linalg", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.output)["wrong"] == []
    assert json.loads(result.output)["functions"] >= 4
    result = CliRunner().invoke(main, ["check", "np.sin", "--order", "1"])
    assert "np.sin" in result.output
    assert "0 wrong" in result.output


def test_check_finds_a_wrong_rule_and_says_so(monkeypatch):
    rule = RULES[np.sin]
    monkeypatch.setitem(RULES, np.sin, Rule((lambda g, y, x: g * np.cos(x) * 1.0001,), None))
    result = CliRunner().invoke(main, ["check", "np.sin"])
    assert result.exit_code == 1
    assert "WRONG" in result.output
    assert rule is not RULES[np.sin]


def test_check_of_nothing_is_a_mistake():
    result = CliRunner().invoke(main, ["check", "no_such_function"])
    assert result.exit_code == 2
    assert "no function of the table has 'no_such_function' in its name\n" in result.output
    told = CliRunner().invoke(main, ["check", "softmx"]).output
    assert told == "Error: no function of the table has 'softmx' in its name: did you mean 'softmax'?\n"
