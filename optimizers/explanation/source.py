"""What the lines of a method say that have run: which formula each of its variables comes from.

>>> def rule(p, g, m, t=1, lr=0.1, b=0.9, nesterov=False):
...     m *= b
...     m += (1 - b) * g
...     if t == 0:
...         m = g
...     return (g if nesterov else m) / (1 - b**t), lr
>>> start = rule.__code__.co_firstlineno
>>> ran = Executed(rule.__code__, {start + line: line for line in (1, 2, 3, 5)}, {"t": 2, "b": 0.5, "nesterov": False})
>>> ran.formulas, ran.answer
({'m': 'm * b + (1 - b) * g'}, ['m / (1 - b ** t)', 'lr'])
>>> ran.corrections
{'1 - b ** t': 0.75}
"""

from __future__ import annotations

import ast
import builtins
import copy
import inspect
import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from types import CodeType
from typing import Any


class Executed:
    """A method's code, read as formulas. Without its source, everything is empty.

    lines: {line that ran: when}, where a later one has a higher number.
    plain: the numbers, True, False and None among its variables. What depends on these alone is decided: of
    `a if nesterov else b` only one is left.

    formulas: {variable: its last value, in terms of the values that the variables had before}.
    when: {variable: when it got that value}.
    answer: the formulas of the tuple that was returned; None if it is no tuple.
    corrections: the values of the expressions of t and other numbers that have no name, such as 1 - b1 ** t.
    """

    def __init__(self, code: CodeType, lines: Mapping[int, int], plain: Mapping[str, Any]):
        self.formulas: dict[str, str] = {}
        self.when: dict[str, int] = {}
        self.answer: list[str] | None = None
        self.corrections: dict[str, Any] = {}
        ran = [s for s in _statements(code) if not lines.keys().isdisjoint(range(s.lineno, s.end_lineno + 1))]
        assigned = Counter(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
        assigned.update(name for statement in ran for name, _ in _assignments(statement))
        settled = {name: value for name, value in plain.items() if assigned[name] == 1}
        trees: dict[str, ast.expr] = {}
        for statement in map(_Decide(settled).visit, ran):
            for name, tree in _assignments(statement):
                before = trees.get(name)
                renamed = before is None or isinstance(before, ast.Subscript)  # mean = more[0] computes nothing
                trees[name] = tree if renamed else _Put(name, before).visit(copy.deepcopy(tree))  # type: ignore[arg-type]
                self.when[name] = max(lines.get(line, 0) for line in range(statement.lineno, statement.end_lineno + 1))
            if isinstance(statement, ast.Return) and isinstance(statement.value, ast.Tuple):
                self.answer = [_formula(tree) for tree in statement.value.elts]
            if not any(name in plain for name, _ in _assignments(statement)):
                numbers = _arithmetic_of_t(statement, settled.keys())
                self.corrections.update((_formula(tree), _evaluated(tree, settled)) for tree in numbers)
        self.formulas = {name: _formula(tree) for name, tree in trees.items()}


_UNKNOWN = ast.Name("...")
_ARITHMETIC = (ast.BinOp, ast.UnaryOp, ast.Name, ast.Constant, ast.operator, ast.unaryop, ast.expr_context)
_LOGIC = (*_ARITHMETIC, ast.BoolOp, ast.Compare, ast.boolop, ast.cmpop)


def _statements(code: CodeType) -> list[Any]:
    """The statements of a function, those inside of an `if` too, in the order of their lines."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(code)))
    except (OSError, SyntaxError):
        return []
    ast.increment_lineno(tree, code.co_firstlineno - 1)
    blocks = [tree.body[0].body] if isinstance(tree.body[0], ast.FunctionDef) else []
    found: list[Any] = []
    for block in blocks:  # which grows
        found += [statement for statement in block if not isinstance(statement, ast.If | ast.With)]
        for statement in block:
            if isinstance(statement, ast.If | ast.With):
                blocks += [statement.body, getattr(statement, "orelse", [])]
    return sorted(found, key=lambda statement: statement.lineno)


def _assignments(statement: Any) -> Iterator[tuple[str, ast.expr]]:
    """(variable, new value) of what a statement changes: name = x, name op= x, name[...] = x, f(..., out=name)."""
    match statement:
        case ast.Assign(targets=[target], value=value) | ast.AnnAssign(target=target, value=ast.expr() as value):
            yield from _pairs(target, value)
        case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
            yield name, ast.BinOp(ast.Name(name), op, value)
        case ast.AugAssign(target=target):
            yield from _pairs(target, _UNKNOWN)
        case ast.Expr(value=ast.Call(func=f, args=args, keywords=keywords)):
            others = [keyword for keyword in keywords if keyword.arg != "out"]
            for keyword in keywords:
                if keyword.arg == "out":
                    yield from _pairs(keyword.value, ast.Call(f, args, others))
        case ast.For() | ast.While():
            for inner in ast.walk(statement):  # no one formula says what is done many times
                if isinstance(inner, ast.stmt) and inner is not statement:
                    yield from ((name, _UNKNOWN) for name, _ in _assignments(inner))


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    match target:
        case ast.Name(id=name) | ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=builtins.Ellipsis)):
            yield name, value
        case ast.Subscript(value=ast.Name(id=name)):  # a part of it
            yield name, _UNKNOWN
        case ast.Tuple(elts=targets):
            values = (
                value.elts if isinstance(value, ast.Tuple) and len(value.elts) == len(targets) else [value] * len(targets)
            )
            for each, its in zip(targets, values, strict=True):
                yield from _pairs(each, its)


class _Put(ast.NodeTransformer):
    """Puts an expression in the place of a variable."""

    def __init__(self, name: str, tree: ast.expr):
        self.name, self.tree = name, tree

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.tree if node.id == self.name else node


class _Decide(ast.NodeTransformer):
    """Leaves of `a if test else b` the one that was computed, if the test can be repeated."""

    def __init__(self, settled: Mapping[str, Any]):
        self.settled = settled

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        if _only(node.test, _LOGIC, self.settled.keys()):
            return self.visit(node.body if _evaluated(node.test, self.settled) else node.orelse)
        return self.generic_visit(node)


def _arithmetic_of_t(tree: ast.AST, names: Set[str]) -> Iterator[ast.expr]:
    """The largest parts of a statement that are arithmetic of t and these names alone."""
    if isinstance(tree, ast.BinOp) and _only(tree, _ARITHMETIC, names) and "t" in _names(tree):
        yield tree
    else:
        for child in ast.iter_child_nodes(tree):
            yield from _arithmetic_of_t(child, names)


def _only(tree: ast.AST, kinds: tuple[type, ...], names: Set[str]) -> bool:
    return all(isinstance(node, kinds) for node in ast.walk(tree)) and _names(tree) <= names


def _names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _evaluated(tree: ast.expr, numbers: Mapping[str, Any]) -> Any:
    code = compile(ast.fix_missing_locations(ast.Expression(tree)), "<formula>", "eval")
    return eval(code, {"__builtins__": {}}, dict(numbers))


def _formula(tree: ast.expr) -> str:
    return re.sub(r"\b(np|math)\.", "", ast.unparse(tree))
