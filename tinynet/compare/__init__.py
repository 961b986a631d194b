"""Which optimizer is better, on which problem, and can one tell? `compare` runs them all under the same conditions.

Read protocol.py first: what is tried, chosen and compared. problems.py says on what, sweep.py how all runs of a stage are
one batch, results.py what comes out.
"""

from tinynet.compare.contenders import CONTENDERS
from tinynet.compare.problems import PROBLEMS, SUITES, LandscapeProblem, NetProblem, Problem
from tinynet.compare.protocol import GRID, compare
from tinynet.compare.results import Comparison, ComparisonError, ProblemFacts, Result, Runs, Trial
from tinynet.compare.sweep import sweep

__all__ = [
    "CONTENDERS", "GRID", "PROBLEMS", "SUITES", "Comparison", "ComparisonError", "LandscapeProblem", "NetProblem",
    "Problem", "ProblemFacts", "Result", "Runs", "Trial", "compare", "sweep",
]  # fmt: skip
