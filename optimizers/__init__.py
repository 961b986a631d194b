"""How parameters move: update rules that read like their papers, schedules, penalties.

This package imports NumPy only. An optimizer moves any objects that have `.data` and `.grad` arrays; it knows nothing of
tinynet. Read sgd.py and adam.py first, then base.py.
"""

from optimizers.adam import Adam, AdamW
from optimizers.base import NonfiniteGradientError, Optimizer
from optimizers.penalties import L1, L2, ElasticNet
from optimizers.schedules import Constant, Cosine, Exponential, MultiStep, Schedule, Step, Warmup
from optimizers.sgd import SGD

__all__ = [
    "L1", "L2", "SGD", "Adam", "AdamW", "Constant", "Cosine", "ElasticNet", "Exponential", "MultiStep",
    "NonfiniteGradientError", "Optimizer", "Schedule", "Step", "Warmup",
]  # fmt: skip
