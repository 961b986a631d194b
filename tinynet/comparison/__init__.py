"""Which optimizer is better, on which problem, and can one tell? `compare` runs them all under the same conditions.

Read protocol.py first: what is tried, chosen and compared. problems.py says on what, contenders.py which optimizers,
sweep.py how all runs of a stage are one batch, results.py what comes out. searching.py does the same for settings of a
network; trials.py spreads the work over processes and machines. Judging: statistics.py, judgement.py. Showing: table.py,
sentences.py, pictures.py, report.py.
"""

from tinynet.comparison.contenders import CONTENDERS
from tinynet.comparison.problems import PROBLEMS, SUITES, LandscapeProblem, NetProblem, Problem
from tinynet.comparison.protocol import GRID, compare
from tinynet.comparison.results import Comparison, ComparisonError, ProblemFacts, Result, Runs, Trial
from tinynet.comparison.searching import Candidate, LogUniform, Search, Uniform, search
from tinynet.comparison.sweep import sweep
from tinynet.comparison.trials import TrialError, run_trials

__all__ = [
    "CONTENDERS", "GRID", "PROBLEMS", "SUITES", "Candidate", "Comparison", "ComparisonError", "LandscapeProblem",
    "LogUniform", "NetProblem", "Problem", "ProblemFacts", "Result", "Runs", "Search", "Trial", "TrialError", "Uniform",
    "compare", "run_trials", "search", "sweep",
]  # fmt: skip
