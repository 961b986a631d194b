"""How parameters move: update rules that read like their papers, schedules, penalties.

This package imports NumPy only. An optimizer moves any objects that have `.data` and `.grad` arrays; it knows nothing of
tinynet. Read sgd.py and adam.py first, then base.py.
"""

from optimizers.adam import AdaBelief, Adam, Adamax, AdamW, NAdam, RAdam
from optimizers.adaptive import Adadelta, Adagrad, RMSprop
from optimizers.averaging import EMA, Lookahead
from optimizers.base import NonfiniteGradientError, Optimizer
from optimizers.muon import Muon
from optimizers.penalties import L1, L2, ElasticNet
from optimizers.schedule_free import ScheduleFreeAdamW, ScheduleFreeSGD
from optimizers.schedules import Constant, Cosine, Exponential, MultiStep, Schedule, Step, Warmup
from optimizers.sgd import SGD
from optimizers.signs import Lion, Rprop

__all__ = [
    "EMA", "L1", "L2", "SGD", "AdaBelief", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Constant", "Cosine",
    "ElasticNet", "Exponential", "Lion", "Lookahead", "MultiStep", "Muon", "NAdam", "NonfiniteGradientError", "Optimizer",
    "RAdam", "RMSprop", "Rprop", "Schedule", "ScheduleFreeAdamW", "ScheduleFreeSGD", "Step", "Warmup",
]  # fmt: skip
