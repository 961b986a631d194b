"""A picture of the graph: which calls were recorded, and what they were computed from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinynet.graph import Node, ancestors
from tinynet.tensor import Tensor, is_operand

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAF, CALL, CONSTANT = "#CDE7F5", "#FBE3D2", "#EEEEEE"


def draw_graph(output: Tensor) -> Figure:
    """Draw how `output` was made, from left to right, as a Matplotlib figure. Call it before backward().

    Blue boxes are leaves that require a gradient (with their name, if they have one, and shape), grey ones constants,
    and round ones the recorded calls with the shape of their answer.
    """
    from matplotlib.figure import Figure

    if output.node is None:
        raise ValueError("there is no graph to draw: nothing was recorded for this tensor")
    boxes, arrows = _collect(output.node)
    places = _places(boxes, arrows)
    columns = max(x for x, _ in places.values()) + 1
    rows = max(abs(y) for _, y in places.values()) * 2 + 1
    figure = Figure(figsize=(1.5 * columns + 0.5, 0.75 * rows + 0.6), layout="constrained", dpi=120)
    ax = figure.subplots()
    ax.axis("off")
    ax.set_xlim(-0.6, columns - 0.4)
    ax.set_ylim(-rows / 2 - 0.1, rows / 2 + 0.1)
    for key, (label, colour, shape) in boxes.items():
        style = {"boxstyle": shape, "facecolor": colour, "edgecolor": "#555555", "linewidth": 0.8}
        ax.text(*places[key], label, ha="center", va="center", fontsize=8, bbox=style, zorder=3)
    for start, end in arrows:
        ax.annotate(
            "",
            places[end],
            places[start],
            arrowprops={"arrowstyle": "->", "color": "#777777", "shrinkA": 24, "shrinkB": 24, "linewidth": 0.9},
        )
    return figure


def _collect(root: Node) -> tuple[dict[Any, tuple[str, str, str]], list[tuple[Any, Any]]]:
    """{key: (label, colour, box)} and the arrows between the keys."""
    boxes: dict[Any, tuple[str, str, str]] = {}
    arrows: list[tuple[Any, Any]] = []
    for node in ancestors(root):
        boxes[node] = (f"{node.function.__name__}\n{_shape(node.answer)}", CALL, "round4,pad=0.5")
        for i, operand in enumerate(node.operands):
            if isinstance(operand, Tensor):
                key: Any = operand.node or operand
                colour = LEAF if operand.requires_grad else CONSTANT
                boxes.setdefault(key, (f"{operand.name or 'tensor'}\n{_shape(operand.data)}", colour, "square,pad=0.4"))
            elif is_operand(node.function, i) and isinstance(operand, np.ndarray | int | float):
                key = (node, i)
                text = f"{operand:g}" if not isinstance(operand, np.ndarray) else f"array\n{_shape(operand)}"
                boxes[key] = (text, CONSTANT, "square,pad=0.4")
            else:
                continue
            arrows.append((key, node))
    return boxes, arrows


def _shape(array: Any) -> str:
    return " x ".join(map(str, np.shape(array))) or "scalar"


def _places(boxes: dict, arrows: list) -> dict[Any, tuple[float, float]]:
    """A column per depth (a leaf stands just before its first use), in it one row each, near what it leads to."""
    depth: dict[Any, int] = {}
    for key in boxes:
        if isinstance(key, Node):
            depth[key] = 1 + max((depth.get(a, 0) for a, b in arrows if b is key), default=0)
    for a, b in arrows:
        if not isinstance(a, Node):
            depth[a] = min(depth.get(a, depth[b] - 1), depth[b] - 1)
    columns: dict[int, list] = {}
    for key in boxes:
        columns.setdefault(depth[key], []).append(key)
    places: dict[Any, tuple[float, float]] = {}
    for x in sorted(columns, reverse=True):
        goals = {key: [places[b][1] for a, b in arrows if a is key and b in places] for key in columns[x]}
        members = sorted(columns[x], key=lambda key: -np.mean(goals[key] or [0]))
        for i, key in enumerate(members):
            places[key] = (x, (len(members) - 1) / 2 - i)
    return places
