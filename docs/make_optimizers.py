"""Makes docs/optimizers.md, all update rules side by side, from the source: python docs/make_optimizers.py [--check]

The pictures are drawn too, but not with --check, which compares the page only.
"""

import ast
import contextlib
import inspect
import io
import re
import runpy
import sys
import tempfile
import textwrap
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "optimizers.md"
PICTURES = ROOT / "docs" / "pictures"
sys.path.insert(0, str(ROOT))

import optimizers  # noqa: E402
from optimizers import clipping, cycles, landscapes, lr_scheduler, penalties, plateau, projections, schedules  # noqa: E402
from optimizers.averaging import Around  # noqa: E402
from optimizers.explanation import explain  # noqa: E402
from optimizers.hyper import rule_hyper  # noqa: E402
from optimizers.trajectories import Point  # noqa: E402

# What is drawn of each schedule: 100 steps.
EXAMPLES = {
    "Constant": "Constant(1.0)",
    "Step": "Step(1.0, every=25, gamma=0.5)",
    "MultiStep": "MultiStep(1.0, [50, 75], gamma=0.3)",
    "Exponential": "Exponential(1.0, 0.97)",
    "InverseTime": "InverseTime(1.0, 0.1)",
    "Power": "Power(1.0, 0.5)",
    "Polynomial": "Polynomial(1.0, 80, power=2)",
    "Linear": "Linear(1.0, 80)",
    "Cosine": "Cosine(1.0, 80)",
    "Lambda": "Lambda(lambda k: 1 - 0.5 * (k % 20 < 5))",
    "Warmup": "Warmup(20) >> Constant(1.0)",
    "Join": "Linear(1.0, 40, end=0.5) >> Cosine(0.8, 50)",
    "Product": "Exponential(1.0, 0.98) * Triangular(0.5, 1, 9)",
    "CosineRestarts": "CosineRestarts(1.0, 25, mult=1.5, decay=0.8)",
    "OneCycle": "OneCycle(1.0, 90)",
    "Triangular": "Triangular(0.1, 1.0, 12, decay=0.8)",
    "WarmupStableDecay": "WarmupStableDecay(1.0, 90)",
    "Repeat": "Repeat(Polynomial(1.0, 30, power=2))",
    "per_epoch": "per_epoch(Exponential(1.0, 0.8), 10)",
}

NORMALIZED = '''\
import numpy as np

from optimizers import Optimizer


class Normalized(Optimizer):
    """Steps of length lr for each parameter: p <- p - lr g / |g|"""

    def rule(self, p, g, *, t, lr=1e-2):
        return g / (np.linalg.norm(g) + 1e-12), lr
'''

OWN = '''\
import numpy as np

from optimizers import Optimizer
from optimizers.explanation import explain
from optimizers.trajectories import Point


class Signum(Optimizer):
    """Signs of the momentum (Bernstein et al. 2018): m <- b m + (1 - b) g,  p <- p - lr sign(m)"""

    state = ("momentum",)
    whole = False

    def rule(self, p, g, m, *, t, lr=1e-2, b=0.9):
        m *= b
        m += (1 - b) * g
        return np.sign(m), lr


point = Point([4.0, -1.0])
optimizer = Signum([("point", point)], lr=0.25, weight_decay=0.1)
for step in range(12):
    point.grad = 2 * point.data
    optimizer.step()

point.grad = 2 * point.data
print(explain(optimizer))
'''


# Docstrings and code --------------------------------------------------------------------------------------------------


def paragraphs(text: str) -> list[str]:
    return [p for p in inspect.cleandoc(text).split("\n\n") if p.strip()]


def markdown(text: str) -> str:
    """A docstring as Markdown: what is indented, or follows a colon without a bullet, is a block of code."""
    found: list[str] = []
    for p in paragraphs(text):
        follows = bool(found) and found[-1].endswith(":") and not p.startswith(("- ", ">>>"))
        if (p.startswith("    ") or follows) and found[-1:] and found[-1].startswith("```text"):
            found[-1] = f"{found[-1].removesuffix('```')}\n{textwrap.dedent(p)}\n```"
        elif p.startswith("    ") or follows:
            found.append(f"```text\n{textwrap.dedent(p)}\n```")
        elif p.startswith(">>>"):
            found.append(f"```python\n{re.sub(r' +# doctest:.*', '', p)}\n```")
        elif all(re.match(r"\w+: |    ", line) for line in p.splitlines()):
            found.append(re.sub(r"^(\w+): ", r"- `\1`: ", p, flags=re.MULTILINE))
        else:
            found.append(re.sub(r"^Differs from PyTorch", "**Differs from PyTorch**", p))
    return "\n\n".join(found)


def cell(text: str) -> str:
    """For a table: one line, in which bars are no columns."""
    parts = [" ".join(p.split()) if not p.startswith("    ") else f"`{' '.join(p.split())}`" for p in paragraphs(text)]
    return "<br>".join(part for part in parts if not part.startswith(">>>")).replace("|", "\\|")


def code_of(function) -> str:
    """The code of a function without its annotations and its docstring."""
    source = textwrap.dedent(inspect.getsource(function))
    tree = ast.parse(source).body[0]
    arguments = tree.args
    for argument in (*arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg):
        if argument is not None:
            argument.annotation = None
    head = f"def {tree.name}({ast.unparse(arguments)}):"
    if len(head) > 110:
        listed = textwrap.fill(ast.unparse(arguments), 106, initial_indent="    ", subsequent_indent="    ")
        head = f"def {tree.name}(\n{listed}\n):"
    body = tree.body[1:] if ast.get_docstring(tree) else tree.body
    return "\n".join([head, *source.splitlines()[body[0].lineno - 1 :]])


def parts(kind: type) -> list:
    """The rule of a class, and the methods and functions of the same file that it calls; none if it inherits its rule."""
    if "rule" not in vars(kind):
        return []
    names = [node for node in ast.walk(ast.parse(code_of(kind.rule))) if isinstance(node, ast.Name | ast.Attribute)]
    called = {node.attr if isinstance(node, ast.Attribute) else node.id: None for node in names}
    module = sys.modules[kind.__module__]
    found = [getattr(kind, name, None) or vars(module).get(name) for name in called if name not in kind.state]
    return [kind.rule, *(f for f in found if inspect.isfunction(f) and f.__module__ == kind.__module__)]


def lines_of(kind: type) -> int:
    """The lines of a rule: without signatures, and without those that only close brackets or comment."""
    bodies = [code_of(part).split("):\n", 1)[1] for part in parts(kind)]
    return sum(bool(re.search(r"\w", line.split("#")[0])) for body in bodies for line in body.splitlines())


def shown(value) -> str:
    return "()" if value == () else f"{value:g}" if isinstance(value, float) else repr(value)


# Sections -------------------------------------------------------------------------------------------------------------


def kinds() -> list[type]:
    """The optimizers, those with a rule first, in the order of the files to read."""
    files = ["sgd", "adam", "adaptive", "signs", "muon", "schedule_free"]
    found = [getattr(optimizers, name) for name in optimizers.__all__]
    found = [kind for kind in found if isinstance(kind, type) and issubclass(kind, optimizers.Optimizer)]
    found.remove(optimizers.Optimizer)

    def place(kind: type) -> tuple:
        file = kind.__module__.rsplit(".", 1)[1]
        return (files.index(file) if file in files else len(files), file, inspect.getsourcelines(kind)[1])

    return sorted(found, key=place)


def compared() -> set[str]:
    """The optimizers whose steps are compared with PyTorch's."""
    cases = runpy.run_path(str(ROOT / "tests" / "goldens" / "make_torch.py"))["CASES"]
    return {kind for kind, _ in cases.values()}


def overview() -> str:
    lines = [
        "| optimizer | lines | hyperparameters and their defaults | states | weight decay | as PyTorch's |",
        "|---|---|---|---|---|---|",
    ]
    equal = compared()
    for kind in kinds():
        if issubclass(kind, Around) or getattr(kind, "needs_closure", False):
            continue
        hyper = {**rule_hyper(kind)[0], "weight_decay": kind.weight_decay}
        defaults = ", ".join(f"{name}={shown(value)}" for name, value in hyper.items())
        states = ", ".join(kind.state) or "if asked for"
        count = lines_of(kind) or f"of {kind.__base__.__name__}"
        differs = any("Differs from PyTorch" in p for p in paragraphs(kind.__doc__))
        same = ("yes, but see below" if differs else "yes") if kind.__name__ in equal else ""
        decay = "in the rule" if kind.decay == "rule" else kind.decay
        cells = (f"[{kind.__name__}](#{kind.__name__.lower()})", count, defaults, states, decay, same)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines).rstrip()


def rules() -> str:
    lines: list[str] = []
    for kind in kinds():
        file = f"{kind.__module__.replace('.', '/')}.py"
        lines += [f"### {kind.__name__}", "", f"[{file}](../{file})", "", markdown(kind.__doc__), ""]
        docstring = markdown(sys.modules[kind.__module__].__doc__)
        if "this file's docstring" in kind.__doc__ and docstring not in lines:
            lines += ["That docstring:", "", docstring, ""]
        if parts(kind):
            lines += ["```python", "\n\n\n".join(map(code_of, parts(kind))), "```", ""]
    return "\n".join(lines).rstrip()


def public(module, base: type = object) -> list[type]:
    """The classes of a module, in its order."""
    found = [
        kind
        for name, kind in vars(module).items()
        if inspect.isclass(kind) and kind.__module__ == module.__name__ and issubclass(kind, base) and name[0] != "_"
    ]
    return [kind for kind in found if kind is not base and kind.__doc__]


def all_schedules() -> list[type]:
    return [kind for module in (schedules, cycles) for kind in public(module, schedules.Schedule)]


def table(found: list[type]) -> str:
    lines = ["| name | what it does |", "|---|---|"]
    for kind in found:
        arguments = [str(a).split(":")[0] for a in inspect.signature(kind).parameters.values()]
        lines.append(f"| `{kind.__name__}({', '.join(arguments)})` | {cell(kind.__doc__)} |")
    return "\n".join(lines).rstrip()


def formulas(module) -> str:
    """The first indented block of a module's docstring: its formulas."""
    return next(textwrap.dedent(p) for p in paragraphs(module.__doc__) if p.startswith("    "))


def output(code: str) -> str:
    """What a piece of code prints."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as printed:
        file = Path(folder) / "own.py"  # a file, so that explain() can read the source
        file.write_text(code)
        runpy.run_path(str(file))
    return printed.getvalue().rstrip()


PAGE_TEXT = """\
# Optimizers

Made from the source by `python docs/make_optimizers.py`. A rule is a method that answers (direction, step); what is
around it, in [base.py](../optimizers/base.py), does `p -= step * direction`.

{overview}

"Lines" are those of the rule and of what it calls, without signatures. "As PyTorch's" are those whose steps are compared
with PyTorch's in `tests/optimizers/test_parity.py`.

{common}

## Write your own optimizer in one method

`rule` gets one parameter `p` at a time, in its own shape, its gradient `g` and each state that `state` names (zero at the
start); after a `*`, by name, the number `t` of this update (1 at the first) and the hyperparameters, whose order and
defaults are those of `rule`. It returns (direction, step). So a norm is that of one weight matrix or bias:

```python
{normalized}
```

A state is changed in place, `m *= b; m += g`: `m = b * m + g` would make another array, which is forgotten after the step.

A rule that treats each element by itself may say `whole = False`. It then gets slices of all parameters joined, which is
faster; a norm, a mean or `g.ndim` would be those of a slice. So are most of the rules below, and this one:

```python
{own}
```

Groups, schedules, clipping, weight decay, penalties, projections, saving and `explain` work for it as for all others.

`explain` says what the next step would do, in the names of the rule, and changes nothing. Here it prints

```text
{printed}
```

## A step as a picture

`explain(optimizer).plot(landscape=quadratic(10))`, for SGD with momentum and for Adam. The arrows of the gradient
and of the direction are drawn as long as the step; what counts is where they point.

![SGD with momentum](pictures/explain-sgd.png)

![Adam](pictures/explain-adam.png)

## The rules

Each as its paper has it, and as it is computed.

{rules}

## Schedules

A schedule is a function of the number of steps taken, `lr=Warmup(100) >> Cosine(3e-3, 2000)`, and may stand for any number.
`a >> b` runs a to its end and then b; `a * b` multiplies.

![All schedules](pictures/schedules.png)

{schedules}

### Plateau

{plateau}

### PyTorch's schedulers

{lr_scheduler}

There are {schedulers}.

## Penalties

```text
{penalty_formulas}
```

{penalties}

## Clipping

```text
{clipping_formulas}
```

{clipping}

## Projections

```text
{projection_formulas}
```

{projections}
"""


def page() -> str:
    """The page, as Markdown."""
    common = paragraphs(optimizers.Optimizer.__doc__)
    start = next(i for i, p in enumerate(common) if p.startswith("What every optimizer takes"))
    return PAGE_TEXT.format(
        overview=overview(),
        common=markdown("\n\n".join(common[start:])),
        normalized=NORMALIZED.rstrip(),
        own=OWN.rstrip(),
        printed=output(OWN),
        rules=rules(),
        schedules=table(all_schedules()),
        plateau=markdown(plateau.Plateau.__doc__),
        lr_scheduler=markdown(lr_scheduler.__doc__),
        schedulers=", ".join(f"`{kind.__name__}`" for kind in public(lr_scheduler, lr_scheduler.LRScheduler)),
        penalty_formulas=formulas(penalties),
        penalties=table([*public(penalties, penalties.ElasticNet), penalties.ElasticNet]),
        clipping_formulas=formulas(clipping),
        clipping=table([kind for kind in public(clipping) if "__call__" in vars(kind)]),
        projection_formulas=formulas(projections),
        projections=table(public(projections)),
    )


# Pictures -------------------------------------------------------------------------------------------------------------


def draw_schedules() -> None:
    from matplotlib.figure import Figure

    drawn = [EXAMPLES[kind.__name__] for kind in all_schedules()]
    figure = Figure(figsize=(13, 2.0 * -(-len(drawn) // 4)), layout="constrained", dpi=110)
    axes = figure.subplots(-(-len(drawn) // 4), 4, sharex=True, sharey=True).reshape(-1)
    for ax, code in zip(axes, drawn, strict=False):
        ax.plot(eval(code, vars(schedules) | vars(cycles)).values(101), color="#0072B2", drawstyle="steps-post")
        ax.set_title("\n".join(textwrap.wrap(code, 48)), size=8, family="monospace", loc="left")
        ax.set(ylim=(-0.05, 1.1), xticks=(0, 50, 100), yticks=(0, 1))
        ax.tick_params(labelsize=8)
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.25, linewidth=0.6)
    for ax in axes[len(drawn) :]:
        ax.remove()
    figure.savefig(PICTURES / "schedules.png")


def draw_steps() -> None:
    landscape = landscapes.quadratic(10)
    makers = {
        "explain-sgd": lambda params: optimizers.SGD(params, lr=0.03, momentum=0.8),
        "explain-adam": lambda params: optimizers.Adam(params, lr=0.2),
    }
    for name, make in makers.items():
        point = Point([-2.0, 0.6])
        optimizer = make([("point", point)])
        for _ in range(3):
            point.grad = landscape.gradient(point.data)
            optimizer.step()
        point.grad = landscape.gradient(point.data)
        explain(optimizer).plot(landscape=landscape).savefig(PICTURES / f"{name}.png")


def main() -> None:
    missing = [kind.__name__ for kind in all_schedules() if kind.__name__ not in EXAMPLES]
    if missing:
        sys.exit(f"EXAMPLES in docs/make_optimizers.py has no {', '.join(missing)}: what does it look like?")
    text = page()
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text() == text else f"{PAGE} is out of date: run python docs/make_optimizers.py")
    PAGE.write_text(text)
    draw_schedules()
    draw_steps()
    counts = {kind.__name__: lines_of(kind) for kind in kinds() if lines_of(kind)}
    for name, count in counts.items():
        print(f"{name:20} {count:3} lines")
    print(f"{PAGE}: {len(counts)} rules of {sum(counts.values()) / len(counts):.1f} lines on average")


if __name__ == "__main__":
    main()
