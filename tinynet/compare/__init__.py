"""Which optimizer is better, on which problem, and can one tell? `compare` runs them all under the same conditions."""

from tinynet.compare.results import Comparison, ComparisonError, ProblemFacts, Result, Runs, Trial

__all__ = ["Comparison", "ComparisonError", "ProblemFacts", "Result", "Runs", "Trial"]
