"""capture(f): a training step as a flat list of NumPy calls, replayed without Python's bookkeeping.

The first two calls of a captured function run as always and write down what they do. If both did the same, the third and
all others replay it: the same calls on the same numbers, so the same bits, without building a graph, and into arrays that
are there already. On a small net that is most of the time of a step.

Read it in this order. Recording: traced.py (arrays that write down what is done with them), vocabulary.py (functions of
NumPy that can be replayed), numbers.py (numbers that change from step to step), optimizer_step.py, tape.py (what was done).
Safety: surroundings.py (what the function can reach by name), unseen.py (what the tape does not see), agreement.py (two
recordings, compared). Replaying: plan.py (which array holds which answer), source.py and program.py (the lines of Python),
conditions.py (is everything as it was, asked quickly), record.py (a recording and its program), arguments.py, captured.py
(which program to replay, and when to record).
"""

from tinynet.capture.arguments import Lent
from tinynet.capture.captured import CHECKED_EVERY, FORMS, IN_VAIN, Captured, CaptureWarning, capture

__all__ = ["CHECKED_EVERY", "FORMS", "IN_VAIN", "CaptureWarning", "Captured", "Lent", "capture"]
