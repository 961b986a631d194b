"""A slab: the parameters of one group side by side in one array, and so their gradients and every state of the rule.

Each parameter's `.data` and `.grad` become views of it. What a step needs to know of them is here: which have a gradient,
how often each was updated, and in which slices to walk them.

Of one net these arrays are flat, [P]. Of R nets trained side by side (replicas.py) they are [R, P], a row for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

Part = tuple[Any, ...]  # (data, gradient, each state): arrays of one shape
# Bytes of a slice: 32,768 numbers of float32. A rule's handful of arrays then fits a level-2 cache; and memory of larger
# ones would be handed back to the system and asked for again in each step, which took float64 two to three times as long.
SLICE = 131_072
CUTS = 16  # stretches of which the slices are kept


class Slab:
    """Parameters of one group, dtype and device, side by side in one array per quantity (data, grad, each state)."""

    def __init__(
        self, group: dict[str, Any], members: list[tuple[str, Any]], state: tuple[str, ...], replicas: int | None = None
    ):
        self.group = group
        name, first = members[0]  # the others are of its kind: see alike()
        shown = one_net(first, replicas)
        penalty, projection = group["penalty"], group["projection"]
        self.made_with = {"penalty": penalty, "projection": projection}  # to notice if the group gets another
        self.filtered = penalty if penalty is not None and penalty.applies(name, shown) else None
        self.penalty = self.filtered  # with the strengths of this step, if they are schedules
        self.projection = projection if projection is not None and projection.applies(name, shown) else None
        self.names = [name for name, _ in members]
        self.params = [p for _, p in members]
        rows = () if replicas is None else (replicas,)
        self.replicas = replicas
        self.data = np.concatenate([p.data.reshape(*rows, -1) for p in self.params], axis=-1)
        self.grad = np.zeros_like(self.data)
        self.state = {key: np.zeros_like(self.data) for key in state}
        self.updates = [0] * len(self.params)
        self.frozen: tuple[Any, Any] | None = None  # (rows, their data) of replicas that must not move in this step
        ends = np.cumsum([p.data.size // (replicas or 1) for p in self.params]).tolist()
        self.spans = list(zip([0, *ends[:-1]], ends, strict=True))
        self.shapes = [p.data.shape for p in self.params]
        self.given: dict[str, Any] | None = None
        self.hyper: dict[str, Any] = {}
        self._bind()

    def _bind(self) -> None:
        """Make every parameter's data our view."""
        self._cuts: dict[tuple[int, int, int], list[Part]] = {}  # (start, stop, length of a slice): its parts
        self.views = [
            (p, data, grad)
            for p, (_, data), (_, grad) in zip(self.params, self.views_of(self.data), self.views_of(self.grad), strict=True)
        ]
        self.versioned = [p for p in self.params if hasattr(p, "version")]
        for p, data, grad in self.views:
            p.data = data
            if hasattr(p, "grad_buffer"):
                p.grad_buffer = grad

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cuts": {}}

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        # A copy (deepcopy, pickle) of a view is an array of its own, and steps would no longer reach the parameters.
        self.__dict__.update(attributes)
        for p, (_, data) in zip(self.params, self.views_of(self.data), strict=True):
            data[...] = p.data
        self._bind()

    def views_of(self, array: Any) -> Iterator[tuple[str, Any]]:
        """Each parameter's name and its part of an array such as `data`, in the parameter's shape."""
        for name, (a, b), shape in zip(self.names, self.spans, self.shapes, strict=True):
            yield name, array[..., a:b].reshape(shape)

    def runs(self) -> list[tuple[int, int, int]]:
        """The stretches (start, stop, t) whose parameters have a gradient and make their t-th update now."""
        if all(p.grad is grad and p.data is data for p, data, grad in self.views):
            first = self.updates[0]
            if self.updates.count(first) == len(self.updates):  # nearly always: all of it, in one stretch
                return [(0, self.data.shape[-1], first + 1)]
        runs: list[tuple[int, int, int]] = []
        for i, (p, data, grad) in enumerate(self.views):
            if p.data is not data:
                self._take_back(i, p, data)
            if p.grad is None:
                continue
            if p.grad is not grad:
                self._gather(i, p, grad)
            (a, b), t = self.spans[i], self.updates[i] + 1
            if runs and runs[-1][1] == a and runs[-1][2] == t:
                runs[-1] = (runs[-1][0], b, t)
            else:
                runs.append((a, b, t))
        return runs

    def parts(self, runs: list[tuple[int, int, int]], whole: bool) -> Iterator[tuple[Part, int]]:
        """((data, gradient, each state), t) of each slice that the rule is to see, or of each whole parameter."""
        for start, stop, t in runs:
            cut = start, stop, whole or self._length()
            if cut not in self._cuts:  # cutting costs as much as a few operations on a small net
                if len(self._cuts) == CUTS:
                    self._cuts.clear()
                self._cuts[cut] = list(self._whole(start, stop) if whole else self._sliced(*cut))
            for part in self._cuts[cut]:
                yield part, t

    def _length(self) -> int:
        """How many elements of each replica a slice has; 0 for all of them."""
        if not isinstance(self.data, np.ndarray):  # on a GPU every slice would be a launch for each operation
            return 0
        return max(1, SLICE // self.data.dtype.itemsize // (self.replicas or 1))

    def _sliced(self, start: int, stop: int, length: int) -> Iterator[Part]:
        for a in range(start, stop, length or stop - start):
            part = slice(a, min(a + (length or stop), stop))
            yield tuple(array[part if self.replicas is None else (slice(None), part)] for array in self._arrays())

    def _whole(self, start: int, stop: int) -> Iterator[Part]:
        for (a, b), shape in zip(self.spans, self.shapes, strict=True):
            if start <= a and b <= stop:
                yield tuple(array[..., a:b].reshape(shape) for array in self._arrays())

    def _arrays(self) -> Part:
        return (self.data, self.grad, *self.state.values())

    def pairs(self, runs: list[tuple[int, int, int]]) -> Iterator[tuple[Any, Any]]:
        """(data, gradient) of each parameter that moves in this step."""
        for (_, data, grad), moves in zip(self.views, self._moving(runs), strict=True):
            if moves:
                yield data, grad

    def nets(self, runs: list[tuple[int, int, int]]) -> Iterator[Any]:
        """The data of each parameter that moves in this step; if there are replicas, of each net by itself."""
        for p, moves in zip(self.params, self._moving(runs), strict=True):
            if moves:
                yield from (one_net(p, self.replicas, r) for r in range(self.replicas or 1))

    def _moving(self, runs: list[tuple[int, int, int]]) -> list[bool]:
        """For each parameter, whether it moves in this step."""
        if self._is_all(runs):
            return [True] * len(self.params)
        return [any(start <= a and b <= stop for start, stop, _ in runs) for a, b in self.spans]

    def _is_all(self, runs: list[tuple[int, int, int]]) -> bool:
        return len(runs) == 1 and runs[0][:2] == (0, self.data.shape[-1])

    def count(self, runs: list[tuple[int, int, int]]) -> None:
        """Note the updates made."""
        if self._is_all(runs):  # quick: nearly always
            self.updates = [n + 1 for n in self.updates]
            self.moved()
            return
        moving = self._moving(runs)
        self.updates = [n + moves for n, moves in zip(self.updates, moving, strict=True)]
        self.moved([p for p, moves in zip(self.params, moving, strict=True) if moves])

    def moved(self, params: list[Any] | None = None) -> None:
        """Note that our data has changed, or that of these: a graph that still needs the old values can then say so."""
        for p in self.versioned if params is None else [p for p in params if hasattr(p, "version")]:
            p.version += 1

    def nonfinite(self) -> Iterator[tuple[str, str]]:
        """The name of every parameter whose gradient is not finite, and what is in it."""
        for name, (p, _, grad) in zip(self.names, self.views, strict=True):
            if p.grad is not None and not np.isfinite(grad).all():
                yield name, "a nan" if bool(np.isnan(grad).any()) else "an infinity"

    def freeze(self, rows: list[int]) -> None:
        """Let these replicas stay where they are in this step, whatever it does to their rows."""
        self.frozen = None
        if rows:
            self.frozen = rows, self.data[rows]
            self.grad[rows] = 0

    def restore_frozen(self) -> None:
        """Undo what a step did to the frozen rows."""
        rows, data = self.frozen  # type: ignore[misc]
        self.data[rows] = data

    def take_back(self) -> None:
        """Take back what the user put in the place of our views since the last step."""
        for i, (p, data, _) in enumerate(self.views):
            if p.data is not data:
                self._take_back(i, p, data)

    def _take_back(self, i: int, p: Any, data: Any) -> None:
        """The user gave p.data a new array: its values move into ours, and p.data is our view again."""
        given = getattr(p.data, "value", p.data)  # of an array that a tracer shows, the real one
        if given is data:
            return
        kind = np.ndarray if isinstance(given, np.generic) else type(given)  # 2 * a 0-d array is a NumPy scalar
        for what, before, now in (
            ("kind of array", type(data), kind),
            ("shape", data.shape, getattr(given, "shape", None)),
            ("dtype", data.dtype, getattr(given, "dtype", None)),
        ):
            if before != now:
                raise ValueError(
                    f"parameter {self.names[i]!r} changed its {what} from {before} to {now} after the optimizer was made: "
                    f"keep the {what}, or make the optimizer afterwards"
                )
        (a, b), shape = self.spans[i], self.shapes[i]
        self.data[..., a:b].reshape(shape)[...] = given  # not by way of `data`, which is read-only while a graph needs it
        self.moved([p])
        p.data = data

    def _gather(self, i: int, p: Any, grad: Any) -> None:
        """The user gave p.grad an array of their own: its values move into ours."""
        given, name = getattr(p.grad, "value", p.grad), self.names[i]  # as in _take_back
        if given is grad:
            return
        is_tensor = hasattr(given, "requires_grad")
        if is_tensor or not hasattr(given, "dtype"):
            hint = ": assign its .data" if is_tensor else ""
            raise TypeError(f"the gradient of {name!r} must be an array, got {type(given).__name__}{hint}")
        if given.shape != grad.shape:
            raise ValueError(f"the gradient of {name!r} has shape {given.shape}, the parameter {grad.shape}")
        np.copyto(grad, p.grad, casting="unsafe")


def alike(named: list[tuple[str, Any]], replicas: int | None, *filters: Any) -> Iterable[list[tuple[str, Any]]]:
    """The parameters, split by kind of array, dtype and what a penalty and a projection say of them."""
    kinds: dict[Any, list[tuple[str, Any]]] = {}
    for name, p in named:
        chosen = tuple(f is not None and f.applies(name, one_net(p, replicas)) for f in filters)
        kinds.setdefault((type(p.data), p.data.dtype, chosen), []).append((name, p))
    return kinds.values()


def one_net(p: Any, replicas: int | None, r: int = 0) -> Any:
    """The data of a parameter; if there are replicas, that of net r, in the shape that it would have alone."""
    if replicas is None:
        return p.data
    shape = getattr(p, "alone", None)
    return p.data[r] if shape is None else p.data[r].reshape(shape)
