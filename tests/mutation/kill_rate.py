"""How many mistakes would the engine's tests notice? Plants them one by one and counts.

    python tests/mutation/kill_rate.py                     everything (minutes)
    python tests/mutation/kill_rate.py --sample 40 --seed 1   a random sample
    python tests/mutation/kill_rate.py --part rules        part (a) only; --part source: part (b) only

(a) Every rule of the table is replaced by zero, by twice and by minus itself, and, where operands broadcast, by one that
    keeps the first copy of a broadcast operand instead of the sum of all.
(b) The source of rules.py, kernels.py and compositions.py is changed in one place: another operator, constant,
    comparison or argument; a minus sign, a keyword or a call left out.

Each mistake is planted in a forked process, which runs the tests under tests/engine until one fails. Tests that never
call the changed function are left out, and the quickest come first. Nothing is shrunk. Of the tests with fixtures those are
run that want a GPU and no more: they get the stand-in of tests/standin. Changes that make no difference are in excuses.py.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import importlib.abc
import importlib.util
import itertools
import os
import pickle
import random
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from _pytest.mark import ParameterSet
from _pytest.outcomes import Skipped
from excuses import EQUIVALENT

for threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(threads, "1")  # a forked process has none of its parent's threads

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "tests" / "engine"
STAND_IN = ROOT / "tests" / "standin"
SOURCES = {f"tinynet.{name}": ROOT / "tinynet" / f"{name}.py" for name in ("rules", "kernels", "compositions")}
TESTS = (
    "test_ops", "test_rules", "test_functional", "test_tensor", "test_graphs", "test_accuracy", "test_flow", "test_transforms",
    "test_layers", "test_safety", "test_gradcheck", "test_graph", "test_peers", "test_review",
)  # fmt: skip
FIXTURES = {"cuda", "device", "standin", "same", "monkeypatch"}  # those of tests/conftest.py that a test may want
LIMIT = 60  # seconds of processor time that a mutant may take before it counts as noticed (an endless loop)

# Running tests ----------------------------------------------------------------------------------------------------------


class Test(NamedTuple):
    """One test with its parameters filled in."""

    name: str
    run: Callable[[], Any]
    about: Any  # the function of the table, if it is a row of test_ops.py


def prepare() -> None:
    """Let the tests be imported, as pytest would, and hypothesis search for failures without shrinking them."""
    from hypothesis import HealthCheck, Phase, settings

    for folder in (ROOT, ENGINE, STAND_IN):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    only_search = [Phase.explicit, Phase.generate]
    settings.register_profile(
        "mutation", max_examples=100, derandomize=True, database=None, deadline=None, phases=only_search,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    settings.load_profile("mutation")


def collect(names: tuple[str, ...] = TESTS) -> list[Test]:
    """All tests of the modules, with their parameters, except those with other fixtures than FIXTURES."""
    found = []
    for name in names:
        module = importlib.import_module(name)
        for key, function in list(vars(module).items()):
            if key.startswith("test_") and callable(function):
                found += instances(f"{name}::{key}", function)
    return found


def instances(name: str, function: Any) -> Iterator[Test]:
    marks = [m for m in getattr(function, "pytestmark", []) if m.name == "parametrize"]
    choices = [[as_keywords(m.args[0], value) for value in m.args[1]] for m in marks]
    code = getattr(getattr(function, "hypothesis", None), "inner_test", function).__code__
    wanted = set(code.co_varnames[: code.co_argcount])
    given = {"data", "program", "seed"} if hasattr(function, "hypothesis") else set()
    for number, parts in enumerate(itertools.product(*choices)):
        keywords = {k: v for part in parts for k, v in part.items()}
        if hasattr(function, "hypothesis") or wanted <= keywords.keys() | given | FIXTURES:
            about = getattr(keywords.get("op"), "function", None)
            fixtures = wanted & FIXTURES
            yield Test(f"{name}[{number}]", lambda f=function, k=keywords, n=fixtures: call(f, k, n), about)


def call(function: Any, keywords: dict, fixtures: set[str]) -> None:
    """Run a test; if it needs a GPU or patches, with the stand-in in the place of CuPy."""
    if not fixtures:
        return function(**keywords)
    import cupy_standin

    from tinynet import backend

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cupy", cupy_standin.cupy)
        backend.cupy.cache_clear()
        known = {"cuda": "cuda", "device": "cuda", "standin": cupy_standin, "same": same_bits, "monkeypatch": patch}
        function(**keywords, **{name: known[name] for name in fixtures})
    backend.cupy.cache_clear()
    return None


def same_bits(a: Any, b: Any) -> None:
    """The fixture `same`, on the stand-in."""
    import numpy as np

    np.testing.assert_array_equal(*(x.get() if hasattr(x, "get") else np.asarray(x) for x in (a, b)), strict=True)


def as_keywords(names: Any, value: Any) -> dict:
    names = [n.strip() for n in names.split(",")] if isinstance(names, str) else list(names)
    packed = isinstance(value, ParameterSet)  # pytest.param(...)
    values = value.values if packed else [value] if len(names) == 1 else value
    return dict(zip(names, values, strict=True))


def forget() -> None:
    """Let the next import of the engine and its tests start from their sources."""
    for name in list(sys.modules):
        if name.split(".")[0] in ("tinynet", "optimizers", "monitor", *TESTS):
            del sys.modules[name]
    prepare()


def afresh(names: tuple[str, ...]) -> list[Test]:
    forget()
    return collect(names)


def first_failure(tests: Iterable[Test]) -> str | None:
    """The name of the first test that fails; None if all pass."""
    warnings.simplefilter("error")
    for test in tests:
        try:
            test.run()
        except Skipped:
            continue
        except BaseException:
            return test.name
    return None


def in_a_fork(work: Callable[[], Any], limit: int = LIMIT) -> Any:
    """The answer of work() in a copy of this process; "crash" or "timeout" if there is none."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of a BLAS library are idle here
        child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(read)
            quiet(limit)
            with os.fdopen(write, "wb") as pipe:
                pickle.dump(work(), pipe)
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "timeout" if os.WTERMSIG(status) in (signal.SIGPROF, signal.SIGALRM) else "crash"
    return pickle.loads(answer) if status == 0 else "crash"


def quiet(limit: int) -> None:
    signal.setitimer(signal.ITIMER_PROF, limit)  # counts no time in which a busy machine does other things
    signal.alarm(20 * limit)  # for one that waits for ever
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)


# Part (a): rules --------------------------------------------------------------------------------------------------------


class RuleMutant(NamedTuple):
    """A rule of the table (function number k, operand i) and what is done to its answer."""

    k: int
    i: int
    change: str
    label: str


def first_copy(d: Any, shape: tuple[int, ...]) -> Any:
    """What is left of the gradient d of a broadcast operand if the copies are not added up."""
    if d.shape == shape:
        return d
    extra = d.ndim - len(shape)
    keep = (slice(0, 1) if n == 1 else slice(None) for n in shape)
    if 0 in d.shape[:extra]:
        return 0 * d.sum(axis=tuple(range(extra)))[tuple(keep)] + 1
    return d[(0,) * extra + tuple(keep)]


CHANGES: dict[str, Callable] = {
    "zero": lambda d, operand: d * 0,
    "twice": lambda d, operand: d * 2,
    "minus": lambda d, operand: -d,
    "first copy": lambda d, operand: first_copy(d, operand.shape),
}
BROADCASTING = {
    "where", "linear", "matmul", "solve", "squared_error", "mean_squared_error", "sigmoid_cross_entropy", "broadcast_to", "clip",
}  # fmt: skip


def rule_mutants() -> list[RuleMutant]:
    """Every change of every operand of every rule."""
    from tinynet.rules import RULES

    found = []
    for k, (function, rule) in enumerate(RULES.items()):
        operands = range(2) if rule.each else [i for i, r in enumerate(rule.operands) if r is not None]
        broadcasts = getattr(function, "nin", 1) > 1 or function.__name__ in BROADCASTING
        for i in operands:
            for change in CHANGES:
                if change != "first copy" or broadcasts:
                    found.append(RuleMutant(k, i, change, f"{function.__name__}, operand {i}: {change}"))
    return found


def plant_rule(mutant: RuleMutant) -> Any:
    """Change the rule in the table of this process; the function that it belongs to."""
    from tinynet.rules import RULES, Rule

    function = list(RULES)[mutant.k]
    rule, change = RULES[function], CHANGES[mutant.change]
    right = rule.of

    def of(self: Any, i: int) -> Any:
        inner = right(i) if self is rule else original(self, i)
        if self is not rule or i != mutant.i:
            return inner
        return lambda g, y, *args, **params: change(inner(g, y, *args, **params), args[i])

    original = Rule.of
    Rule.of = of  # type: ignore[method-assign]
    rule.plans.clear()  # which keep the right rules
    return function


def notice_rule(mutant: RuleMutant, tests: list[Test] | None = None) -> str | None:
    """The test that notices the change: rows about the function first, then all others (None: only the rows, afresh)."""

    def work() -> str | None:
        rows = tests if tests is not None else afresh(("test_ops",))
        function = plant_rule(mutant)
        near = [t for t in rows if t.about is function or getattr(t.about, "__wrapped__", None) is function]
        return first_failure(near + (tests or []))

    return in_a_fork(work)


# Part (b): source -------------------------------------------------------------------------------------------------------


class SourceMutant(NamedTuple):
    """The n-th change of a module: where it is, which function holds it, and what is changed."""

    module: str
    n: int
    line: int
    holder: int  # the first line of the innermost function around it, 0 for none
    plans: bool  # is it in the class Rule or beside it, whose answers are kept?
    label: str  # module: what is changed at which column of: the line


OTHER_OPERATOR = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult, ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip
OTHER_COMPARISONS = {
    ast.Lt: (ast.LtE, ast.Gt), ast.LtE: (ast.Lt, ast.GtE), ast.Gt: (ast.GtE, ast.Lt), ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,),
}  # fmt: skip


def changes_of(node: ast.AST, parameters: list[str]) -> Iterator[tuple[str, ast.AST]]:
    """(what is done, the node to put in its place) for everything that can be changed at a node."""
    if isinstance(node, ast.BinOp | ast.AugAssign):
        if type(node.op) in OTHER_OPERATOR:
            other = OTHER_OPERATOR[type(node.op)]
            yield f"{type(node.op).__name__} -> {other.__name__}", replaced(node, op=other())
        elif isinstance(node.op, ast.MatMult) and isinstance(node, ast.BinOp):
            yield "operands of @ swapped", replaced(node, left=node.right, right=node.left)
    elif isinstance(node, ast.UnaryOp):
        yield f"{type(node.op).__name__} left out", node.operand
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        for other in OTHER_COMPARISONS.get(type(node.ops[0]), ()):
            yield f"{type(node.ops[0]).__name__} -> {other.__name__}", replaced(node, ops=[other()])
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        value = not node.value if isinstance(node.value, bool) else node.value + 1
        yield f"{node.value} -> {value}", replaced(node, value=value)
    elif isinstance(node, ast.Name) and node.id in parameters and len(parameters) > 1:
        other = parameters[(parameters.index(node.id) + 1) % len(parameters)]
        yield f"{node.id} -> {other}", replaced(node, id=other)
    elif isinstance(node, ast.Call):
        for k in node.keywords:
            yield f"{k.arg}= left out", replaced(node, keywords=[other for other in node.keywords if other is not k])
        first = node.args[0] if node.args else node.func.value if isinstance(node.func, ast.Attribute) else None
        if first is not None and not isinstance(first, ast.Starred):
            yield f"{ast.unparse(node.func)}(...) -> its first argument", first


def replaced(node: Any, **parts: Any) -> Any:
    return ast.copy_location(type(node)(**{**{f: getattr(node, f) for f in node._fields}, **parts}), node)


class Changer(ast.NodeTransformer):
    """Visits every place that may be changed, in order; makes change number n (none: only lists them)."""

    def __init__(self, module: str, text: str, n: int = -1):
        self.module, self.n, self.found = module, n, []
        self.lines = text.splitlines()
        self.plans = text[: text.find("\nrule(")].count("\n") if module == "tinynet.rules" else 0
        self.holders: list[int] = [0]
        self.parameters: list[str] = []

    def visit(self, node: Any) -> Any:
        if isinstance(node, ast.Raise | ast.Import | ast.ImportFrom | ast.JoinedStr | ast.AnnAssign | ast.arg):
            return node  # messages, imports and types
        holds = isinstance(node, ast.Lambda | ast.FunctionDef)
        if holds:
            before, self.parameters = self.parameters, rule_parameters(node)
            self.holders.append(node.lineno)
        chosen = self.change(node)
        done = chosen if chosen is not None else self.parts(node)
        if holds:
            self.parameters = before
            self.holders.pop()
        return done

    def parts(self, node: Any) -> Any:
        """The parts below a node; not the types in the head of a function."""
        if isinstance(node, ast.FunctionDef):
            node.body = [self.visit(part) for part in node.body]
            node.args.defaults = [self.visit(part) for part in node.args.defaults]
            node.args.kw_defaults = [part and self.visit(part) for part in node.args.kw_defaults]
            node.decorator_list = [self.visit(part) for part in node.decorator_list]
            return node
        return self.generic_visit(node)

    def change(self, node: Any) -> Any:
        for what, other in changes_of(node, self.parameters):
            number = len(self.found)
            line = self.lines[node.lineno - 1]
            column = node.col_offset - (len(line) - len(line.lstrip()))
            text = f"{self.module.split('.')[-1]}: {what} at {column} of: {line.strip()}"
            self.found.append(
                SourceMutant(self.module, number, node.lineno, self.holders[-1], node.lineno < self.plans, text)
            )
            if number == self.n:
                return copy.deepcopy(other)
        return None


def rule_parameters(node: Any) -> list[str]:
    """The operands that a rule may confuse: its parameters after g."""
    names = [a.arg for a in node.args.args]
    return names[1:] if names[:2] == ["g", "y"] else names


def source_mutants(sources: dict[str, str]) -> list[SourceMutant]:
    found = []
    for module, text in sources.items():
        changer = Changer(module, text)
        changer.visit(ast.parse(text))
        found += changer.found
    return found


def changed(module: str, text: str, n: int) -> str:
    """The source after change number n."""
    return ast.unparse(Changer(module, text, n).visit(ast.parse(text)))


class Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Lets a module be imported from another syntax tree than its file's."""

    def __init__(self, module: str, tree: ast.AST):
        self.module, self.tree = module, tree

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        return importlib.util.spec_from_loader(name, self, origin=str(SOURCES[name])) if name == self.module else None

    def exec_module(self, module: Any) -> None:
        module.__file__ = str(SOURCES[self.module])
        exec(compile(self.tree, str(SOURCES[self.module]), "exec"), module.__dict__)


def notice_source(mutant: SourceMutant, text: str, chosen: list[str]) -> str | None:
    """The test that notices the change, of those chosen, in the order given."""

    def work() -> str | None:
        warnings.simplefilter("ignore")
        forget()
        tree = Changer(mutant.module, text, mutant.n).visit(ast.parse(text))
        sys.meta_path.insert(0, Changed(mutant.module, ast.fix_missing_locations(tree)))
        try:
            return first_failure(one_by_one(chosen))
        except BaseException as error:
            return f"import: {type(error).__name__}"

    return in_a_fork(work)


def one_by_one(chosen: list[str]) -> Iterator[Test]:
    """The chosen tests; a test module is imported when its first test is due."""
    known: dict[str, Test] = {}
    for name in chosen:
        if name not in known:
            known.update((t.name, t) for t in collect((name.split("::")[0],)))
        if name in known:
            yield known[name]


def who_calls_what() -> dict[str, tuple[float, set]] | str:
    """For every test its seconds and the functions (file, first line) of the three modules that it runs; or the name of a
    test that fails now.
    """
    files = {str(path) for path in SOURCES.values()}
    tests = collect()
    answers = {}
    for test in tests:
        called: set = set()

        def note(frame: Any, event: str, arg: Any, called: set = called) -> None:
            if event == "call" and frame.f_code.co_filename in files:
                called.add((frame.f_code.co_filename, frame.f_code.co_firstlineno))

        start = time.perf_counter()
        sys.setprofile(note)
        failed = first_failure([test])
        sys.setprofile(None)
        if failed:
            return failed
        answers[test.name] = (time.perf_counter() - start, called)
    return answers


def chosen_for(mutant: SourceMutant, calls: dict[str, tuple[float, set]]) -> list[str]:
    """The tests that run the function around the change, quickest first; all for a change outside functions."""
    key = (str(SOURCES[mutant.module]), mutant.holder)
    runs = [name for name, (_, called) in calls.items() if key in called] if mutant.holder else []
    if len(runs) < 5 or mutant.plans:  # called while importing, or once for many tests
        runs = list(calls)
    return sorted(runs, key=lambda name: calls[name][0])


def reason_for(label: str) -> str | None:
    return next((reason for reason, starts in EQUIVALENT.items() if label.startswith(tuple(starts))), None)


# The table --------------------------------------------------------------------------------------------------------------


def sampled(mutants: list, number: int | None, seed: int) -> list:
    return mutants if number is None or number >= len(mutants) else random.Random(seed).sample(mutants, number)


def run_rules(arguments: Any) -> dict[str, str | None]:
    prepare()
    tests = collect(("test_ops", "test_rules", "test_graphs"))
    mutants = sampled(rule_mutants(), arguments.sample, arguments.seed)
    with ProcessPoolExecutor(arguments.processes, mp_context=get_context("fork")) as pool:
        global _tests
        _tests = tests
        return dict(zip((m.label for m in mutants), pool.map(_notice_rule, mutants, chunksize=8), strict=True))


_tests: list[Test] = []


def _notice_rule(mutant: RuleMutant) -> str | None:
    return notice_rule(mutant, _tests)


def run_source(arguments: Any) -> dict[str, str | None]:
    prepare()
    sources = {module: path.read_text() for module, path in SOURCES.items()}
    calls = in_a_fork(who_calls_what, 900)
    if isinstance(calls, str):
        sys.exit(f"nothing is changed, and yet: {calls}")
    mutants = sampled(source_mutants(sources), arguments.sample, arguments.seed)
    jobs = [(m, sources[m.module], chosen_for(m, calls)) for m in mutants]
    with ProcessPoolExecutor(arguments.processes, mp_context=get_context("fork")) as pool:
        found = pool.map(_notice_source, jobs, chunksize=4)
        return {f"{m.label} (change {m.n})": test for m, test in zip(mutants, found, strict=True)}


def _notice_source(job: tuple) -> str | None:
    return notice_source(*job)


def report(title: str, found: dict[str, str | None], seconds: float) -> int:
    """Print the counts and survivors; the number of survivors without a reason."""
    survivors = [label for label, test in found.items() if test is None]
    excused = {label: reason for label in survivors if (reason := reason_for(label))}
    left = [label for label in survivors if label not in excused]
    killed, counted = len(found) - len(survivors), len(found) - len(excused)
    print(f"\n{title}: {killed} of {counted} noticed ({100 * killed / max(counted, 1):.1f} %), {seconds:.0f} s")
    by = Counter((test or "nobody").split("[")[0] for test in found.values())
    print("  noticed by: " + ", ".join(f"{name} {n}" for name, n in by.most_common()))
    for label, reason in excused.items():
        print(f"  no difference: {label}\n      {reason}")
    for label in (label for label, test in found.items() if test in ("timeout", "crash")):
        print(f"  {found[label]}: {label}")
    for label in left:
        print(f"  SURVIVED: {label}")
    return len(left)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--part", choices=["rules", "source", "both"], default="both")
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    left = 0
    for part, title, run in (("source", "changes of the source", run_source), ("rules", "changed rules", run_rules)):
        if arguments.part in (part, "both"):
            start = time.perf_counter()
            left += report(title, run(arguments), time.perf_counter() - start)
    return min(left, 1)


if __name__ == "__main__":
    sys.exit(main())
