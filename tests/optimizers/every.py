"""One of every optimizer, with the options that change what it remembers or in which order it does things."""

from optimizers import (
    EMA,
    L1,
    SGD,
    AdaBelief,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    ElasticNet,
    Lion,
    Lookahead,
    Muon,
    NAdam,
    RAdam,
    RMSprop,
    Rprop,
    ScheduleFreeAdamW,
    ScheduleFreeSGD,
)


def with_(kind, **options):
    return lambda params, **more: kind(params, **{"lr": 0.1, **options, **more})


EVERY = {
    "sgd": with_(SGD),
    "momentum": with_(SGD, momentum=0.9, dampening=0.5, weight_decay=0.1),
    "nesterov": with_(SGD, momentum=0.9, nesterov=True),
    "keras sgd": with_(SGD, momentum=0.9, lr_in_buffer=True),
    "adagrad": with_(Adagrad, lr_decay=0.1, initial_accumulator_value=0.5, weight_decay=0.1),
    "optax adagrad": with_(Adagrad, eps_inside=True),
    "adadelta": with_(Adadelta),
    "rmsprop": with_(RMSprop),
    "rmsprop momentum": with_(RMSprop, momentum=0.9, weight_decay=0.1),
    "rmsprop centered": with_(RMSprop, momentum=0.9, centered=True, eps_inside=True, lr_in_buffer=True),
    "adam": with_(Adam, weight_decay=0.1),
    "amsgrad": with_(Adam, amsgrad=True),
    "optax amsgrad": with_(Adam, amsgrad=True, debias_max=True, eps_hat=True),
    "adamw": with_(AdamW, weight_decay=0.1),
    "adamax": with_(Adamax),
    "nadam": with_(NAdam),
    "radam": with_(RAdam),
    "adabelief": with_(AdaBelief, eps=1e-8),
    "rprop": with_(Rprop),
    "lion": with_(Lion, weight_decay=0.1),
    "muon": with_(Muon),
    "schedule-free sgd": with_(ScheduleFreeSGD, weight_decay=0.1),
    "schedule-free adamw": with_(ScheduleFreeAdamW, weight_decay=0.1),
    "lookahead": lambda params, **more: Lookahead(with_(Adam)(params, **more), k=2),
    "ema": lambda params, **more: EMA(with_(SGD, momentum=0.9)(params, **more)),
    "adamw l1": with_(AdamW, penalty=L1(0.1)),
    "momentum elastic net": with_(SGD, momentum=0.9, penalty=ElasticNet(0.1, 0.1)),
}


def suited(name, shapes):
    """The shapes with axes of length 1 put before them, where the optimizer takes matrices only."""
    return [(1,) * (2 - len(shape)) + tuple(shape) for shape in shapes] if name == "muon" else list(shapes)
