"""The graph: how calls are remembered, and how gradients walk back through them.

A `Node` is one remembered call. `pull_back` walks the nodes from the last to the first and asks each call's rule for the
gradients of its operands. This file is where everything a rule need not say is said, once: the need mask, undoing
broadcasting, restoring the dtype, adding up, and which kind of value (arrays or Tensors) flows through the rules.

A node is always made after its operands' nodes, so the order of making is already a topological order: no recursion, no
depth limit, and every node is visited once however many paths lead to it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection
from contextlib import ContextDecorator
from contextvars import ContextVar
from typing import Any

from tinynet.backend import Array
from tinynet.kernels import astype
from tinynet.rules import Rule

is_recording: ContextVar[bool] = ContextVar("is_recording", default=True)
_order = itertools.count()


class GraphReleasedError(RuntimeError):
    """The intermediate values that this graph needs were released by an earlier backward()."""


class no_grad(ContextDecorator):
    """Inside, nothing is recorded: `with tn.no_grad(): ...`, or as a decorator. Nests; is local to a thread or task."""

    def __init__(self) -> None:
        self._tokens: list = []

    def __enter__(self) -> None:
        self._tokens.append(is_recording.set(False))

    def __exit__(self, *_: object) -> None:
        is_recording.reset(self._tokens.pop())


class Node:
    """One remembered call: `answer = function(*values, **params)`.

    `operands` are the arguments as given (Tensors among them), `values` the same with arrays in place of Tensors, and
    `need` the positions of the operands that want a gradient. The node does not know the Tensor that holds its answer
    (only the array), so there is no reference cycle and a forgotten graph is freed at once.
    """

    __slots__ = ("answer", "function", "need", "operands", "order", "params", "rule", "values")

    def __init__(
        self, function: Callable, rule: Rule, operands: tuple, values: list, params: dict, need: list, answer: Array
    ):
        self.function = function
        self.rule = rule
        self.operands = operands
        self.values = values
        self.params = params
        self.need = need
        self.answer = answer
        self.order = next(_order)

    def release(self) -> None:
        """Forget everything the rule would need."""
        self.operands = self.values = self.answer = None  # type: ignore[assignment]


def source(tensor: Any) -> Any:
    """What a gradient is collected under: the node that made the tensor, or the tensor itself if it is a leaf."""
    return tensor if tensor.node is None else tensor.node


def ancestors(root: Node) -> list[Node]:
    """Every node that `root` depends on, itself included, in the order in which they were made."""
    seen = {root}
    stack = [root]
    while stack:
        node = stack.pop()
        if node.values is None:
            raise GraphReleasedError(
                "backward() was already called through this part of the graph, and its intermediate values were "
                "released. Add the losses up and call backward() once, or use backward(retain_graph=True) the first time"
            )
        for i in node.need:
            parent = node.operands[i].node
            if parent is not None and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return sorted(seen, key=lambda node: node.order)


def leading_to(nodes: list[Node], wanted: Collection) -> list[Node]:
    """Those of the nodes (in order) through which a gradient reaches something wanted."""
    useful: dict[Any, None] = dict.fromkeys(wanted)
    kept = []
    for node in nodes:
        if any(source(node.operands[i]) in useful for i in node.need):
            useful[node] = None
            kept.append(node)
    return kept


def pull_back(
    root: Any, seed: Any, wanted: Collection | None = None, attach: Callable | None = None, release: bool = False
) -> dict:
    """The gradients of <seed, root> with respect to the wanted sources (None: every leaf), as {source: gradient}.

    First order: `seed` and all gradients are arrays. With `attach(array, node)`, which makes a Tensor of an array and
    the node that computed it, Tensors flow through the same rules and are recorded: derivatives of derivatives.
    """
    if root.node is None:
        return {root: seed} if wanted is None or root in wanted else {}
    nodes = ancestors(root.node)
    if wanted is not None:
        nodes = leading_to(nodes, wanted)
    gradients = {root.node: seed}
    collected = {}
    for node in reversed(nodes):
        g = gradients.pop(node, None)
        if wanted is not None and node in wanted:
            collected[node] = g
        if g is None:
            continue
        if attach is None:
            y: Any = node.answer
            arguments: Collection = node.values
        else:
            y = attach(node.answer, node)
            arguments = node.operands
        for i in node.need:
            operand = node.operands[i]
            d = node.rule.of(i)(g, y, *arguments, **node.params)
            if d.shape != operand.data.shape or d.dtype != operand.data.dtype:
                d = settle(d, operand.data)
            key = operand if operand.node is None else operand.node
            so_far = gradients.get(key)
            gradients[key] = d if so_far is None else so_far + d
        if release:
            node.release()
    collected.update((key, g) for key, g in gradients.items() if wanted is None or key in wanted)
    return collected


def settle(g: Any, operand: Array) -> Any:
    """Give a rule's answer the shape and dtype of the operand: sum over broadcast axes, restore the dtype."""
    if g.shape != operand.shape:
        g = undo_broadcast(g, operand.shape)
    if g.dtype != operand.dtype:
        g = astype(g, operand.dtype)
    return g


def undo_broadcast(g: Any, shape: tuple[int, ...]) -> Any:
    """Sum `g` down to `shape`: the transpose of repeating a value is adding up its copies."""
    extra = g.ndim - len(shape)
    repeated = [extra + i for i, n in enumerate(shape) if n == 1 and g.shape[extra + i] != 1]
    g = g.sum(axis=(*range(extra), *repeated))
    return g.reshape(shape) if repeated else g
