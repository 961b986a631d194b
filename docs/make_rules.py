"""Makes docs/rules.md, the table of derivatives, from the source: python docs/make_rules.py [--check]"""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "rules.md"
KINKS = {
    "np.absolute": "0 at 0",
    "np.maximum": "a tie shares evenly",
    "np.minimum": "a tie shares evenly",
    "np.fmax": "a tie shares evenly; nan loses",
    "np.fmin": "a tie shares evenly; nan loses",
    "np.max": "ties share evenly",
    "np.min": "ties share evenly",
    "clip": "1 at the edges",
    "np.std": "0 for a constant",
    "np.hypot": "0 at (0, 0)",
    "np.arctan2": "0 at (0, 0)",
    "np.remainder": "the slope between the jumps",
    "np.fmod": "the slope between the jumps",
    "relu": "0 at 0",
    "leaky_relu": "negative_slope at 0",
    "elu": "alpha at 0",
    "length": "0 at 0",
}


def mathematics(code: str) -> str:
    """The code of a rule as a formula: np. dropped, * as a middle dot, ** as a power."""
    text = re.sub(r"\bnp\.|math\.", "", code).replace("**", "^").replace(" * ", " · ").replace("*", " · ")
    return re.sub(r"\bpi\b", "π", text).replace(" @ ", " ").replace("mT(", "transpose(")


def entries():
    """(function, operand, code of its rule) for everything that the table says, in the order of the source."""
    for name in ("rules", "kernels"):
        text = (ROOT / "tinynet" / f"{name}.py").read_text()
        for node in ast.parse(text).body:
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "rule":
                function, *rules = node.value.args
                yield from operands(ast.unparse(function), rules, text)
            elif isinstance(node, ast.FunctionDef):
                for decorator in node.decorator_list:
                    if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "kernel":
                        yield from operands(node.name, decorator.args or [k.value for k in decorator.keywords], text)


def operands(function, rules, text):
    for i, rule in enumerate(rules):
        if isinstance(rule, ast.Lambda):
            names = [a.arg for a in rule.args.args][2:]
            yield function, names[i], ast.unparse(rule.body)
        elif isinstance(rule, ast.Name):
            yield function, "each", f"{rule.id}(i, g, y, ...)"


def page() -> str:
    """The page, as Markdown."""
    sys.path.insert(0, str(ROOT))
    from tinynet.compositions import COMPOSED
    from tinynet.messages import name_of
    from tinynet.rules import PLAIN

    lines = [
        "# The table of derivatives",
        "",
        "Made from the source by `python docs/make_rules.py`; `tinynet check` verifies it on your machine. `g` is the",
        "gradient of the loss with respect to the answer `y`; each line is the gradient with respect to one operand.",
        "Undoing broadcasting, restoring the dtype and adding up over several uses is done by the engine, once, and is",
        "not repeated here.",
        "",
        "| function | operand | gradient | code | at kinks and ties |",
        "|---|---|---|---|---|",
    ]
    for function, operand, code in entries():
        cells = (function, operand, mathematics(code), f"`{code}`", KINKS.get(function, ""))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    composed = ", ".join(f"`{name_of(f)}`" for f in COMPOSED)
    plain = ", ".join(f"`{name}`" for name in sorted(name_of(f) for f in PLAIN))
    lines += ["", "## Composed of these", ""]
    lines += [f"These need no rule of their own ([compositions.py](../tinynet/compositions.py)): {composed}."]
    lines += [
        "",
        "## Without a derivative",
        "",
        f"On Tensors these answer with plain arrays, numbers or shapes: {plain}.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    text = page()
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text() == text else "docs/rules.md is out of date: run python docs/make_rules.py")
    PAGE.write_text(text)
    print(f"{PAGE}: {sum(line.startswith('| ') for line in text.splitlines()) - 1} rules")
