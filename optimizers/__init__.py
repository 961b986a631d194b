"""How parameters move: update rules that read like their papers, schedules, penalties, and landscapes to try them on.

This package imports NumPy only. An optimizer moves any objects that have `.data` and `.grad` arrays; it knows nothing of
tinynet. Read sgd.py and adam.py first, then base.py. Schedules under PyTorch's names are in `optimizers.lr_scheduler`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from optimizers.adam import AdaBelief, Adam, Adamax, AdamW, NAdam, RAdam
from optimizers.adaptive import Adadelta, Adagrad, RMSprop
from optimizers.averaging import EMA, Lookahead
from optimizers.base import Optimizer
from optimizers.clipping import (
    AdaptiveClip,
    ClipNorm,
    ClipPerTensor,
    ClipValue,
    clip_grad_norm_,
    clip_grad_value_,
    suggest_max_norm,
)
from optimizers.cycles import CosineRestarts, OneCycle, Repeat, Triangular, WarmupStableDecay, per_epoch
from optimizers.muon import Muon
from optimizers.nonfinite import NonfiniteGradientError
from optimizers.penalties import L1, L2, ElasticNet, no_decay_bias, weights_only
from optimizers.plateau import Plateau
from optimizers.projections import Box, MaxNorm, NonNegative
from optimizers.schedule_free import ScheduleFreeAdamW, ScheduleFreeSGD
from optimizers.schedules import (
    Constant,
    Cosine,
    Exponential,
    InverseTime,
    Lambda,
    Linear,
    MultiStep,
    Polynomial,
    Power,
    Schedule,
    Step,
    Warmup,
)
from optimizers.sgd import SGD
from optimizers.signs import Lion, Rprop

if TYPE_CHECKING:
    from optimizers import lr_scheduler
    from optimizers.explanation import explain
    from optimizers.landscapes import (
        LANDSCAPES,
        Landscape,
        beale,
        himmelblau,
        noisy_quadratic,
        quadratic,
        rastrigin,
        rosenbrock,
        saddle,
    )
    from optimizers.lbfgs import LBFGS
    from optimizers.lr_finder import lr_range_test
    from optimizers.trajectories import animate_trajectories, descend, plot_trajectories

# Imported when they are asked for: a training need not wait for what explains, draws and compares.
LATER = {
    "optimizers.explanation": ("explain",),
    "optimizers.landscapes": (
        "LANDSCAPES", "Landscape", "beale", "himmelblau", "noisy_quadratic", "quadratic", "rastrigin", "rosenbrock",
        "saddle",
    ),
    "optimizers.lbfgs": ("LBFGS",),
    "optimizers.lr_finder": ("lr_range_test",),
    "optimizers.trajectories": ("animate_trajectories", "descend", "plot_trajectories"),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "lr_scheduler":
        return import_module("optimizers.lr_scheduler")
    for module, names in LATER.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'optimizers' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "EMA", "L1", "L2", "LANDSCAPES", "LBFGS", "SGD", "AdaBelief", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax",
    "AdaptiveClip", "Box", "ClipNorm", "ClipPerTensor", "ClipValue", "Constant", "Cosine", "CosineRestarts",
    "ElasticNet", "Exponential", "InverseTime", "Lambda", "Landscape", "Linear", "Lion", "Lookahead", "MaxNorm",
    "MultiStep", "Muon", "NAdam", "NonNegative", "NonfiniteGradientError", "OneCycle", "Optimizer", "Plateau",
    "Polynomial", "Power", "RAdam", "RMSprop", "Repeat", "Rprop", "Schedule", "ScheduleFreeAdamW", "ScheduleFreeSGD",
    "Step", "Triangular", "Warmup", "WarmupStableDecay", "animate_trajectories", "beale", "clip_grad_norm_",
    "clip_grad_value_", "descend", "explain", "himmelblau", "lr_range_test", "lr_scheduler", "no_decay_bias",
    "noisy_quadratic", "per_epoch", "plot_trajectories", "quadratic", "rastrigin", "rosenbrock", "saddle",
    "suggest_max_norm", "weights_only",
]  # fmt: skip
