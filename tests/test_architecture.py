"""The shape of the house, held by tests: who may import whom, no cycles, what importing costs, what the package ships."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("tinynet", "optimizers", "monitor")
MODULES = {".".join(p.relative_to(ROOT).with_suffix("").parts): p for name in PACKAGES for p in (ROOT / name).rglob("*.py")}


def imports(path):
    """(module, is it inside a function?) for everything that the file imports."""
    tree = ast.parse(path.read_text())
    inside = {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for n in ast.walk(f)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield (full if full in MODULES or f"{full}.__init__" in MODULES else node.module), id(node) in inside


def own(name):
    """The module of ours that importing `name` runs, if it is one of ours."""
    return name if name in MODULES else f"{name}.__init__" if f"{name}.__init__" in MODULES else None


def top(name):
    return name.split(".")[0]


@pytest.mark.parametrize("module", MODULES)
def test_optimizers_and_monitor_know_neither_tinynet_nor_each_other(module):
    allowed = {"tinynet": set(PACKAGES), "optimizers": {"optimizers"}, "monitor": {"monitor"}}[top(module)]
    found = {top(name) for name, _ in imports(MODULES[module]) if top(name) in PACKAGES}
    assert found <= allowed, f"{module} may import {sorted(allowed)}, it imports {sorted(found)}"


@pytest.mark.parametrize("module", [m for m in MODULES if top(m) != "tinynet"])
def test_siblings_import_only_numpy_and_the_standard_library_at_import(module):
    for name, inside in imports(MODULES[module]):
        if top(name) not in {*PACKAGES, *sys.stdlib_module_names, "__future__"}:
            typing_only = "TYPE_CHECKING" in MODULES[module].read_text() and top(name) == "matplotlib"
            assert top(name) == "numpy" or inside or typing_only, f"{module} imports {name} at import"


def test_only_the_backend_names_cupy():
    for module, path in MODULES.items():
        if module != "tinynet.backend":
            assert not any(top(name) == "cupy" for name, _ in imports(path)), module


def test_there_is_no_import_cycle():
    graph = {m: {own(n) for n, _ in imports(p)} - {None, m} for m, p in MODULES.items()}
    # Running a module first runs its package's __init__; that is Python's doing, not an import of the module's.
    list(TopologicalSorter(graph).static_order())  # raises CycleError


def test_the_floors_of_the_engine_are_in_order():
    floors = ["backend", "rules", "kernels", "compositions", "graph", "messages", "anomaly", "tensor", "autodiff"]
    floors += ["functional", "module", "layers", "arguments", "training", "experiment", "cli"]
    for height, floor in enumerate(floors):
        rooms = [path for m, path in MODULES.items() if f"{m}.".startswith(f"tinynet.{floor}.")]  # of a file or a folder
        assert rooms, f"there is no tinynet.{floor}"
        found = {name.split(".")[1] for room in rooms for name, _ in imports(room) if name.startswith("tinynet.")}
        above = found & set(floors[height + 1 :])
        assert not above, f"tinynet.{floor} imports from above: {sorted(above)}"


def loaded_by(statement):
    code = f"import sys; {statement}; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_importing_loads_nothing_heavy():
    assert not loaded_by("import tinynet, optimizers, monitor") & {
        "matplotlib",
        "rich",
        "click",
        "safetensors",
        "cupy",
        "pandas",
    }


def test_git_ignores_nothing_that_the_packages_need():
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    ignored = subprocess.run(
        ["git", "ls-files", "--others", "--ignored", "--exclude-standard", *PACKAGES],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert [name for name in ignored.stdout.splitlines() if "__pycache__" not in name] == []


def test_every_file_opens_with_what_it_is_for():
    for module, path in MODULES.items():
        assert ast.get_docstring(ast.parse(path.read_text())), f"{module} has no docstring"


def test_functions_are_short_enough_to_see_at_once():
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = node.end_lineno - body[0].lineno + 1 if body else 0
                assert lines <= 40, f"{module}.{node.name} has {lines} lines besides its signature and docstring"


def test_public_names_exist_and_are_documented():
    import monitor
    import optimizers
    import tinynet

    for package in (tinynet, optimizers, monitor):
        for name in package.__all__:
            thing = getattr(package, name)
            assert thing.__doc__, f"{package.__name__}.{name} has no docstring"
