"""Other libraries' dialects: with the settings of this table, our optimizers move as optax's, Keras' and scikit-learn's do.

One row is one optimizer of theirs, as one writes it there with the learning rate `lr`, and ours. The trajectories are
recorded (tests/goldens/make_dialects.py), with gradients of very different sizes and a learning rate that falls to a tenth
halfway. PyTorch's dialect is our own: test_parity.py.
"""

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from optimizers import (
    L2,
    SGD,
    AdaBelief,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Lion,
    NAdam,
    RAdam,
    RMSprop,
    Rprop,
)

SAME = [
    # optax: as PyTorch, but for the places of eps, the largest in AMSGrad, RMSprop's buffer, and many defaults
    ("optax.sgd(lr)", SGD, {}),
    ("optax.sgd(lr, momentum=0.9)", SGD, {"momentum": 0.9}),
    ("optax.sgd(lr, momentum=0.9, nesterov=True)", SGD, {"momentum": 0.9, "nesterov": True}),
    (
        "optax.chain(optax.add_decayed_weights(0.1), optax.sgd(lr, momentum=0.9))",
        SGD,
        {"momentum": 0.9, "weight_decay": 0.1},
    ),
    ("optax.adagrad(lr)", Adagrad, {"initial_accumulator_value": 0.1, "eps": 1e-7, "eps_inside": True}),
    ("optax.adadelta(lr)", Adadelta, {}),
    ("optax.rmsprop(lr)", RMSprop, {"alpha": 0.9, "eps_inside": True}),
    ("optax.rmsprop(lr, decay=0.99, eps_in_sqrt=False)", RMSprop, {}),
    ("optax.rmsprop(lr, centered=True)", RMSprop, {"alpha": 0.9, "eps_inside": True, "centered": True}),
    (
        "optax.rmsprop(lr, momentum=0.9)",
        RMSprop,
        {"alpha": 0.9, "eps_inside": True, "momentum": 0.9, "lr_in_buffer": True},
    ),
    ("optax.adam(lr)", Adam, {}),
    ("optax.amsgrad(lr)", Adam, {"amsgrad": True, "debias_max": True}),
    ("optax.adamw(lr)", AdamW, {"weight_decay": 1e-4}),
    ("optax.adamax(lr)", Adamax, {}),
    ("optax.adabelief(lr)", AdaBelief, {}),
    ("optax.lion(lr)", Lion, {"weight_decay": 1e-3}),
    # Keras: lr inside every buffer, "epsilon hat", eps = 1e-7; weight_decay is decoupled in all of its optimizers
    ("keras.SGD(lr)", SGD, {}),
    ("keras.SGD(lr, momentum=0.9)", SGD, {"momentum": 0.9, "lr_in_buffer": True}),
    ("keras.SGD(lr, momentum=0.9, nesterov=True)", SGD, {"momentum": 0.9, "nesterov": True, "lr_in_buffer": True}),
    ("keras.SGD(lr, weight_decay=0.1)", SGD, {"penalty": L2(0.1, "decoupled")}),
    ("keras.Adagrad(lr)", Adagrad, {"initial_accumulator_value": 0.1, "eps": 1e-7, "eps_inside": True}),
    ("keras.Adadelta(lr)", Adadelta, {"rho": 0.95, "eps": 1e-7}),
    ("keras.RMSprop(lr)", RMSprop, {"alpha": 0.9, "eps": 1e-7, "eps_inside": True}),
    ("keras.RMSprop(lr, centered=True)", RMSprop, {"alpha": 0.9, "eps": 1e-7, "eps_inside": True, "centered": True}),
    (
        "keras.RMSprop(lr, momentum=0.9)",
        RMSprop,
        {"alpha": 0.9, "eps": 1e-7, "eps_inside": True, "momentum": 0.9, "lr_in_buffer": True},
    ),
    ("keras.Adam(lr)", Adam, {"eps": 1e-7, "eps_hat": True}),
    ("keras.Adam(lr, amsgrad=True)", Adam, {"eps": 1e-7, "eps_hat": True, "amsgrad": True}),
    ("keras.Adam(lr, weight_decay=0.1)", AdamW, {"eps": 1e-7, "eps_hat": True, "weight_decay": 0.1}),
    ("keras.AdamW(lr)", AdamW, {"eps": 1e-7, "eps_hat": True, "weight_decay": 4e-3}),
    ("keras.Lion(lr)", Lion, {}),
    # scikit-learn's MLPClassifier and MLPRegressor, with solver="sgd" and solver="adam"
    ("sklearn.SGDOptimizer(params, lr)", SGD, {"momentum": 0.9, "nesterov": True, "lr_in_buffer": True}),
    ("sklearn.SGDOptimizer(params, lr, nesterov=False)", SGD, {"momentum": 0.9, "lr_in_buffer": True}),
    ("sklearn.AdamOptimizer(params, lr)", Adam, {"eps_hat": True}),
    # the code of AdaBelief's authors
    ("adabelief.AdaBelief(params, lr, rectify=False)", AdaBelief, {}),
    ("adabelief.AdaBelief(params, lr, rectify=False, weight_decay=0.1)", AdaBelief, {"weight_decay": 0.1}),
]

DIFFERENT = [  # what no setting of ours reproduces
    ("optax.nadam(lr)", NAdam, {}),  # no schedule of the momentum
    ("optax.radam(lr)", RAdam, {}),  # eps beside the corrected root
    ("optax.rprop(0.05)", Rprop, {}),  # applies the step before
    ("keras.Nadam(lr)", NAdam, {"eps": 1e-7}),  # both betas and eps elsewhere
    ("keras.Adamax(lr)", Adamax, {"eps": 1e-7}),  # eps is added after the maximum
]

theirs = runpy.run_path(str(Path(__file__).parents[1] / "goldens" / "make_dialects.py"))
golden = theirs["recorded"]()
start, gradients, LR = theirs["start"](), theirs["gradients"](), theirs["LR"]


def moved(kind, settings):
    """The recorded rows of an optimizer of ours."""
    parameters = [SimpleNamespace(data=p.copy(), grad=None) for p in start]
    optimizer = kind(parameters, lr=LR, **settings)
    rows = []
    for k, row in enumerate(gradients, start=1):
        if k == theirs["SLOWER"]:
            optimizer.lr = 0.1 * LR
        for p, g in zip(parameters, row, strict=True):
            p.grad = g
        optimizer.step()
        if k in theirs["RECORDED"]:
            rows.append(theirs["flatten"]([p.data for p in parameters]))
    return np.stack(rows)


def worst(ours, theirs):
    """The greatest difference, as a part of 1 + |p|; a nan counts as infinite."""
    return np.nan_to_num(np.abs(ours - theirs) / (1 + np.abs(theirs)), nan=np.inf).max()


@pytest.mark.parametrize(("text", "kind", "settings"), SAME, ids=lambda x: x if isinstance(x, str) else None)
def test_the_same_with_these_settings(text, kind, settings):
    assert worst(moved(kind, settings), golden[text]) <= 1e-12


@pytest.mark.parametrize(("text", "kind", "settings"), DIFFERENT, ids=lambda x: x if isinstance(x, str) else None)
def test_different_whatever_the_settings(text, kind, settings):
    assert 1e-10 < worst(moved(kind, settings), golden[text]) < 1


@pytest.mark.parametrize(("text", "kind", "settings"), SAME, ids=lambda x: x if isinstance(x, str) else None)
def test_every_setting_counts(text, kind, settings):
    """Without any one of the settings it is another optimizer: none stands in the table in vain."""
    for name in settings:
        if name == "momentum" and settings.get("nesterov"):
            continue  # which needs it
        rest = {key: value for key, value in settings.items() if key != name}
        assert worst(moved(kind, rest), golden[text]) > 1e-10, f"{name} makes no difference"
