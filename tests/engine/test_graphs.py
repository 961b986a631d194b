"""Whole random programs: what single calls cannot show, such as shared values, several outputs, views and adding up.

A program is valid by construction: while it is drawn, it is executed by NumPy at its inputs and a little to both sides, so
a call is only added where its shapes fit, its domain holds, and no kink lies between the points. Nothing is drawn and
thrown away, and the differences that check the gradient never cross a kink. The calls are the rows of test_ops.py.
"""

import math
import warnings
from typing import Any, NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from test_ops import EPS32, OPS, H, broadcast, laid_out, listed, numbers, shapes, signed, slope_by_differences, total

import tinynet as tn

STEPS, MOST, LARGEST, FASTEST = 8, 48, 20.0, 20.0  # calls; elements, size and speed of a value
USABLE = [o for o in OPS if o.arity]


class Value(NamedTuple):
    """A value while the program is drawn: at the inputs, and a step H to both sides; leaves know their direction."""

    at: Any
    before: Any
    after: Any
    direction: Any = None

    @property
    def moves(self):
        return max(np.abs(self.after - self.at).max(initial=0), np.abs(self.before - self.at).max(initial=0))


class Step(NamedTuple):
    """One call: which values (by number) or constants it takes; its answers are numbered on."""

    op: Any
    operands: list
    params: dict


class Program:
    """Leaves, calls and the numbers of the outputs; `run` executes it on arrays or Tensors."""

    def __init__(self):
        self.leaves, self.directions, self.steps, self.outputs = [], [], [], []

    def run(self, leaves, dtype=np.float64, reference=False):
        values = list(leaves)
        for op, operands, params in self.steps:
            given = [values[o] if isinstance(o, int) else o.astype(dtype) for o in operands]
            values += listed((op.reference if reference else op.call)(*given, **params))
        return [values[k] for k in self.outputs]

    def __repr__(self):
        lines = [f"leaf {i}: {x!r} moving {u!r}" for i, (x, u) in enumerate(zip(self.leaves, self.directions, strict=True))]
        lines += [f"{s.op}({s.operands}, {s.params})" for s in self.steps]
        return "\n".join([*lines, f"outputs {self.outputs}"])


class Writer:
    """Draws a program, one call after the other."""

    def __init__(self, draw):
        self.draw, self.program = draw, Program()
        self.pending: list[Step] = []
        self.leaves: list[Value] = []
        self.made: list[Value] = []
        self.choice = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))  # hypothesis would prefer the first few
        for _ in range(draw(st.integers(1, 3))):
            self.leaves.append(self.leaf(numbers(draw, draw(shapes()))))

    def leaf(self, x):
        x = laid_out(x, self.choice.choice(["c", "fortran", "strided", "reversed"]))
        u = signed(self.choice, x.shape)
        return Value(x, x - H * u, x + H * u, u)

    def write(self):
        for _ in range(self.draw(st.integers(1, STEPS))):
            any(self.add() for _ in range(6))
        return self.finished()

    def values(self):
        return self.leaves + self.made

    def add(self):
        """Try to add one call; True if it fits."""
        op = USABLE[self.choice.integers(len(USABLE))]
        chosen = self.choose(op)
        if chosen is None:
            return False
        found = op.case(self.draw, *(v.at for v in chosen))
        if (
            found is None
            or len(found[0]) < len(chosen)
            or not all(d.has(x) for d, x in zip(op.domains, found[0], strict=False))
        ):
            return False
        fresh = [self.leaf(x) if self.choice.random() < 0.6 else Value(x, x, x) for x in found[0][len(chosen) :]]
        points = [*chosen, *fresh]
        answers = self.execute(op, points, found[1])
        if answers is None:
            return False
        self.leaves += [v for v in fresh if v.direction is not None]
        self.pending.append(Step(op, points, found[1]))
        self.made += answers
        return True

    def choose(self, op):
        """Values for the first operands: the latest ones more often, and for two operands such as broadcast."""
        values = self.values()
        first = self.draw(st.sampled_from(values + values[-2:]))
        if op.arity == 1 or self.draw(st.integers(0, 3)) == 0:
            return [first]
        fits = [v for v in values if broadcast(first.at.shape, v.at.shape)]
        second = self.draw(st.sampled_from(fits))
        return [first, second] if self.draw(st.booleans()) else [second, first]

    def execute(self, op, points, params):
        """The answers at the three points, or None where the call is not valid, smooth and calm there."""
        speed = max((p.moves for p in points), default=0)
        if op.ties and not op.ties(*(p.at for p in points), **params) > 4 * speed + 1e-3:
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                runs = [listed(op.reference(*(p[i] for p in points), **params)) for i in range(3)]
        except (ValueError, IndexError, RuntimeWarning, np.linalg.LinAlgError):
            return None
        answers = [Value(*map(np.asarray, run)) for run in zip(*runs, strict=True)]
        calm = all(v.at.size <= MOST and np.abs(v.at).max(initial=0) < LARGEST and v.moves < FASTEST * H for v in answers)
        return answers if answers and calm else None

    def finished(self):
        """The program, with values replaced by their numbers, and constants by their arrays."""
        numbers_of = {id(v): k for k, v in enumerate(self.values())}
        for op, points, params in self.pending:
            self.program.steps.append(Step(op, [numbers_of.get(id(p), p.at) for p in points], params))
        self.program.leaves = [v.at for v in self.leaves]
        self.program.directions = [v.direction for v in self.leaves]
        n = len(numbers_of)
        self.program.outputs = [n - 1, *self.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=2))]
        return self.program


programs = st.composite(lambda draw: Writer(draw).write())


# What must hold for a program -------------------------------------------------------------------------------------------


class Result(NamedTuple):
    """Leaves and outputs of a recorded run, with a random upstream gradient for each output."""

    leaves: list
    outs: list
    upstream: list


def recorded(program, seed, dtype=np.float64):
    leaves = [tn.Tensor(x.astype(dtype, order="K"), requires_grad=True) for x in program.leaves]
    outs = program.run(leaves, dtype)
    generator = np.random.default_rng(seed)
    return Result(leaves, outs, [signed(generator, y.shape).astype(dtype) for y in outs])


def gradients(run, upstream=None, create_graph=False):
    """Of the sum of all outputs times their upstream gradients."""
    loss = sum((y * c).sum() for y, c in zip(run.outs, upstream or run.upstream, strict=True))
    found = tn.gradients(loss, run.leaves, create_graph=create_graph, allow_unused=True)
    return [
        np.zeros(x.shape, x.dtype) if g is None else g.data if create_graph else g
        for g, x in zip(found, run.leaves, strict=True)
    ]


def size_of(arrays):
    return sum(float(np.abs(a).sum()) for a in arrays)


def rounding(run):
    """What is left where large terms cancel exactly (the gradient of the sum of a softmax, say)."""
    return 1e-14 * size_of(run.upstream)


def value_equals_numpy(program, run):
    for y, e in zip(run.outs, program.run(program.leaves, reference=True), strict=True):
        assert (y.shape, y.dtype) == (np.shape(e), np.asarray(e).dtype)
        assert np.allclose(y.data, e, rtol=1e-10, atol=1e-10 * np.abs(e).max(initial=0) + 1e-12)


def slope_equals_differences(program, run, found):
    """The slope along the direction in which the leaves moved while the program was drawn."""

    def f(t):
        moved = [x + t * u for x, u in zip(program.leaves, program.directions, strict=True)]
        return total(program.run(moved, reference=True), run.upstream)

    terms = [g * u for g, u in zip(found, program.directions, strict=True)]
    numeric, apart = slope_by_differences(f)
    noise = size_of([y.data * c for y, c in zip(run.outs, run.upstream, strict=True)])
    slope = math.fsum(float(t.sum()) for t in terms)
    assert abs(slope - numeric) <= 1e-8 * size_of(terms) + 1e-11 * noise + 0.1 * apart


def forward_mode_is_adjoint(program, run, found, directions):
    joined = lambda *leaves: np.concatenate([np.ravel(y) for y in program.run(list(leaves))])
    _, velocity = tn.jvp(joined, program.leaves, directions)
    left = velocity.data * np.concatenate([c.ravel() for c in run.upstream])
    right = [g * u for g, u in zip(found, directions, strict=True)]
    difference = float(left.sum()) - math.fsum(float(t.sum()) for t in right)
    assert abs(difference) <= 1e-12 * (size_of([left]) + size_of(right)) + rounding(run)


def modes_agree(run, found):
    for g, h, x in zip(found, gradients(run, create_graph=True), run.leaves, strict=True):
        assert g.shape == h.shape == x.shape
        assert g.dtype == h.dtype == x.dtype
        assert np.allclose(g, h, rtol=1e-13, atol=1e-13 * np.abs(g).max(initial=0) + rounding(run))


def backward(run):
    """Walk back from every output in turn; the gradients of the leaves."""
    for x in run.leaves:
        x.grad = None
    for y, c in zip(run.outs, run.upstream, strict=True):
        if y.node is not None:
            y.backward(c, retain_graph=True)
    return [x.grad for x in run.leaves]


def backward_is_clean(program, run, found):
    """Twice the same bits, nothing changed, nothing shared, and the same sum as in one walk."""
    before = [c.copy() for c in run.upstream]
    direct = [sum([c for y, c in zip(run.outs, run.upstream, strict=True) if y is x]) for x in run.leaves]
    first, second = backward(run), backward(run)
    arrays = [g for g in second if g is not None]
    for a, b, g, d in zip(first, second, found, direct, strict=True):
        assert (a is None) == (b is None)
        assert a is None or np.array_equal(a, b)
        assert np.allclose((0 if a is None else a) + d, g, rtol=1e-11, atol=1e-12 * max(np.abs(g).max(initial=0), 1))
    for i, g in enumerate(arrays):
        for other in [*arrays[i + 1 :], *run.upstream, *(x.data for x in run.leaves), *program.leaves]:
            assert not np.shares_memory(g, other)
    assert all(np.array_equal(c, b) for c, b in zip(run.upstream, before, strict=True))
    assert all(np.array_equal(x.data, p) for x, p in zip(run.leaves, program.leaves, strict=True))


def float32_is_near(program, seed, found):
    run = recorded(program, seed, np.float32)
    scale = size_of(found) + size_of(run.upstream) * (1 + len(program.steps))
    for g, h, x in zip(found, gradients(run), run.leaves, strict=True):
        assert h.shape == x.shape
        assert h.dtype == np.float32
        assert np.abs(g - h).max(initial=0) <= 64 * EPS32 * scale * 10


@settings(max_examples=2 * settings.default.max_examples)
@given(programs(), st.integers(0, 2**16))
def test_programs(program, seed):
    run = recorded(program, seed)
    found = gradients(run)
    value_equals_numpy(program, run)
    slope_equals_differences(program, run, found)
    generator = np.random.default_rng(seed + 1)
    forward_mode_is_adjoint(program, run, found, [signed(generator, x.shape) for x in program.leaves])
    modes_agree(run, found)
    backward_is_clean(program, run, found)
    assert not any(g.any() for g in gradients(run, [0 * c for c in run.upstream]))
    float32_is_near(program, seed, found)
