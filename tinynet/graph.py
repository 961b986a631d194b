"""The graph: how calls are remembered, and how gradients walk back through them.

A `Node` is one remembered call. `pull_back` walks the nodes from the last to the first and asks each call's rule for the
gradients of its operands. This file is where everything a rule need not say is said, once: the need mask, undoing
broadcasting, restoring the dtype, adding up, and which kind of value (arrays or Tensors) flows through the rules.

A node is always made after its operands' nodes, so the order of making is already a topological order: no recursion, no
depth limit, and every node is visited once however many paths lead to it.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Collection
from contextvars import ContextVar
from typing import Any
from weakref import ref

import numpy as np

from tinynet.backend import Array
from tinynet.kernels import astype
from tinynet.rules import Plan

# Whether calls are remembered: False, True, WATCHING (remembered, and checked for nan and infinity: anomaly.py), or a Tape
# (remembered, and written down for a replay: capture/tape.py)
WATCHING = "watching"
is_recording: ContextVar[Any] = ContextVar("is_recording", default=True)
_order = itertools.count()
_held: dict[int, ref[Hold]] = {}  # by id: the arrays that some graph needs unchanged


class GraphReleasedError(RuntimeError):
    """The intermediate values that this graph needs were released by an earlier backward()."""


class AnomalyError(FloatingPointError):
    """While watching for anomalies, a call or its gradient made a nan or an infinity."""


def kind_of_nonfinite(array: Array) -> str:
    """ "a nan" or "an infinity", with the place of the first."""
    bad = ~np.isfinite(array)
    where = tuple(int(i) for i in np.argwhere(bad)[0])
    return f"{'a nan' if bool(np.isnan(array).any()) else 'an infinity'} (first at {where})"


class ChangedArrayError(RuntimeError):
    """A parameter was moved between the forward pass and backward(), so the gradient would be wrong."""


class no_grad:
    """Inside, nothing is recorded: `with tn.no_grad(): ...`, or as a decorator, `@tn.no_grad()`. Here a parameter can be
    moved by hand, in place: `p -= lr * p.grad`.

    Nests, and is local to a thread or task. (Not for generators: what is set in one leaks into whoever resumes it.)
    """

    mode: bool | str = False

    def __init__(self) -> None:
        self._tokens: list = []

    def __call__(self, function: Callable) -> Callable:
        """The function, each call of it inside: a context of its own for each, in whatever thread."""

        @functools.wraps(function)
        def inside(*args: Any, **params: Any) -> Any:
            with type(self)():
                return function(*args, **params)

        return inside

    def __enter__(self) -> None:
        now = is_recording.get()
        inside = now.inside(self.mode) if hasattr(now, "inside") else self.mode if now else False  # what a Tape becomes
        self._tokens.append(is_recording.set(inside))

    def __exit__(self, *_: object) -> None:
        is_recording.reset(self._tokens.pop())


class Hold:
    """Makes an array read-only for as long as a node needs it: writing into it raises at once, at the user's line.

    There is one Hold per array, shared by all nodes that need it; when the last of them goes, so does the Hold.
    """

    __slots__ = ("__weakref__", "array", "me")

    def __init__(self, array: np.ndarray):
        self.array = array
        array.setflags(write=False)
        self.me = _held[id(array)] = ref(self)

    def __del__(self) -> None:
        array, key = self.array, id(self.array)
        if _held.get(key) is self.me:
            del _held[key]
        owner: Any = array.base  # a view can only be unlocked while its owner is
        locked = isinstance(owner, np.ndarray) and id(owner) in _held
        try:
            if locked:
                owner.setflags(write=True)
            array.setflags(write=True)
            if locked:
                owner.setflags(write=False)
        except ValueError:  # the user locked the owner meanwhile
            pass


def hold(array: np.ndarray) -> Hold:
    """The Hold of an array."""
    known = _held.get(id(array))
    return (known and known()) or Hold(array)


class Node:
    """One remembered call: `answer = function(*values, **params)`.

    `operands` are the arguments as given (Tensors among them), `values` the same with arrays in place of Tensors, and
    `need` the operands that want a gradient, as (position, rule) pairs. The node does not know the Tensor that holds its
    answer (only the array), so there is no reference cycle and a forgotten graph is freed at once.
    """

    __slots__ = (
        "answer", "function", "hold", "made_at", "need", "operands", "order", "params", "stamps", "values",
    )  # fmt: skip

    def __init__(self, function: Callable, plan: Plan, operands: tuple, values: list, params: dict, answer: Array):
        self.function = function
        self.operands = operands
        self.values = values
        self.params = params
        self.answer = answer
        self.order = next(_order)
        self.made_at: str | None = None  # the user's line, if watching
        self.need, reads = plan
        if getattr(answer, "base", None) is not None:
            reads = tuple({*reads, *(i for i, _ in self.need)})  # a view: whoever reads the answer reads the operand

        # What the rules will read must not change. Answers of other nodes are read-only already: hold leaves and arrays,
        # and the arrays that they are views of (but not an optimizer's buffer: it notes in `version` when it writes).
        held, stamps = [], []
        for k in reads:
            value, operand = values[k], operands[k]
            array = value if isinstance(value, np.ndarray) else getattr(value, "value", None)  # (of a traced array)
            if not isinstance(array, np.ndarray):
                continue
            owner = array.base
            if operand is not value and not isinstance(operand, np.ndarray):
                if operand.node is not None:
                    continue
                if operand.grad_buffer is not None:
                    stamps.append((operand, operand.version))
                    owner = None
            if array.flags.writeable or id(array) in _held:
                held.append(hold(array))
            if isinstance(owner, np.ndarray) and (owner.flags.writeable or id(owner) in _held):
                held.append(hold(owner))
        self.hold = held
        self.stamps = stamps  # how often an optimizer had moved the parameters among them
        if type(answer := getattr(answer, "value", answer)) is np.ndarray:
            answer.setflags(write=False)

    def check_unchanged(self) -> None:
        """Raise if an optimizer has moved a parameter that a rule will read."""
        for tensor, version in self.stamps:
            if tensor.version != version:
                raise ChangedArrayError(
                    f"{tensor.name or 'a parameter'} of shape {tensor.shape}, an operand of {self.function.__name__}, was "
                    "moved by optimizer.step() after the forward pass, so its gradient would be wrong: compute the loss "
                    "again"
                )

    def release(self) -> None:
        """Forget everything the rule would need."""
        self.operands = self.values = self.answer = self.hold = None  # type: ignore[assignment]


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
                "backward() was already called (or failed) in this part of the graph, and its intermediate values were "
                "released. Add the losses up and call backward() once, or use backward(retain_graph=True) the first time"
            )
        for i, _ in node.need:
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
        for i, _ in node.need:
            if source(node.operands[i]) in useful:
                useful[node] = None
                kept.append(node)
                break
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
        if node.stamps:
            node.check_unchanged()
        if attach is None:
            y: Any = node.answer
            arguments: Collection = node.values
        else:
            y = attach(node.answer, node)
            arguments = node.operands
        for i, rule in node.need:
            operand = node.operands[i]
            d = rule(g, y, *arguments, **node.params)
            if d.shape != operand.data.shape or d.dtype != operand.data.dtype:
                d = settle(d, operand.data)
            if node.made_at is not None:
                check_gradient(node, i, d)
            key = operand if operand.node is None else operand.node
            so_far = gradients.get(key)
            gradients[key] = d if so_far is None else so_far + d
        if release:
            node.release()
    collected.update((key, g) for key, g in gradients.items() if wanted is None or key in wanted)
    return collected


def check_gradient(node: Node, i: int, g: Any) -> None:
    """While watching: raise if the rule of operand i made a nan or an infinity."""
    array = getattr(g, "data", g) if not isinstance(g, np.ndarray | np.generic) else g
    if not np.isfinite(array).all():
        values = node.values[i]
        raise AnomalyError(
            f"backward of {node.function.__name__}: the gradient of operand {i} (shape {values.shape}, {values.dtype}) has "
            f"{kind_of_nonfinite(array)}; the forward call was made at {node.made_at}"
        )


def settle(g: Any, operand: Array) -> Any:
    """Give a rule's answer the shape and dtype of the operand: sum over broadcast axes, restore the dtype."""
    if g.shape != operand.shape:
        g = undo_broadcast(g, operand.shape)
        if g.shape != operand.shape:
            raise ValueError(f"a rule answered with a gradient of shape {g.shape} for an operand of shape {operand.shape}")
    if g.dtype != operand.dtype:
        g = astype(g, operand.dtype)
    return g


def undo_broadcast(g: Any, shape: tuple[int, ...]) -> Any:
    """Sum `g` down to `shape`: the transpose of repeating a value is adding up its copies."""
    extra = g.ndim - len(shape)
    if g.shape[extra:] == shape:  # nearly always: a bias, which was repeated for each example
        return g.sum(axis=tuple(range(extra)))
    repeated = [extra + i for i, n in enumerate(shape) if n == 1 and g.shape[extra + i] != 1]
    g = g.sum(axis=(*range(extra), *repeated))
    return g.reshape(shape) if repeated else g
