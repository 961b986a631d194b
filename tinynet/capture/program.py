"""A planned tape as a program: lines of Python that call NumPy (source.py), compiled.

`print(f.program())` of a captured function shows them: what a training step really is.
"""

from __future__ import annotations

from typing import Any

from tinynet.capture.optimizer_step import OptimizerStep
from tinynet.capture.plan import Plan, owner
from tinynet.capture.source import Source
from tinynet.capture.tape import Check, Tape, all_calls
from tinynet.capture.traced import Traced

Grads = list[tuple[Any, Any]]  # (parameter, what its .grad was set to)


class Program:
    """A compiled tape: `run(*arrays)` answers the wanted arrays, which the next run will write over.

    tape: what was recorded. wanted: the arrays that the function answers. grads: the .grad of each parameter at the end.
    """

    def __init__(self, tape: Tape, wanted: list[Traced], grads: Grads):
        moves = [step for step in tape.steps if isinstance(step, OptimizerStep)]
        stops = [step for step in all_calls(tape) if isinstance(step, Check)]
        left = [g for of in (grads, *(s.grads for s in moves), *(s.grads for s in stops)) for _, g in of]
        left += [move.norm for move in moves]
        plan = Plan(tape, [t for t in (*wanted, *left) if isinstance(t, Traced)])
        self.bytes = plan.bytes
        targets = [call.target for call in plan.calls if call.target is not None]
        self.writes_into = {id(owner(t.value)) for t in targets if id(plan.root(t)) in plan.outside}
        self.source = source = Source(plan)
        source.inputs()
        kept = {id(call) for call in plan.calls}
        for step in tape.steps:
            if isinstance(step, OptimizerStep):
                source.step_of(step, kept)
            elif id(step) in kept:
                source.call(step)
        left_by_last = moves[-1].grads if moves else []
        if len(grads) != len(left_by_last) or any(a is not b for (_, a), (_, b) in zip(grads, left_by_last, strict=True)):
            source.leave(grads)
        source.line(f"return [{', '.join(map(source.value, wanted))}]")
        self.run = source.compiled()
        plan.places.clear()  # some are stand-ins for arguments that are not copied

    def __str__(self) -> str:
        return "\n".join([*self.source.lines, "", *self.source.legend()])
