"""Bad input: every refusal comes early, has the right type, names the argument and its value, and says what to do."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from optimizers import L1, L2, SGD, Adam, AdamW, Constant, ElasticNet


def P(values=(1.0, 2.0), **more):
    return SimpleNamespace(data=np.array(values), grad=None, **more)


def used_up():
    parameters = (p for p in [P()])
    list(parameters)
    return parameters


shared = P()
integers = P([1, 2])

CASES = [
    # numbers
    (lambda: SGD([P()], lr=-1), ValueError, r"lr must lie in \[0, inf\), got -1$"),
    (lambda: SGD([P()], lr=math.nan), ValueError, r"lr must lie in \[0, inf\), got nan"),
    (lambda: SGD([P()], lr=math.inf), ValueError, r"lr must lie in \[0, inf\), got inf"),
    (lambda: SGD([P()], lr=True), TypeError, "lr must be a number or a schedule, got True"),
    (lambda: SGD([P()], lr="0.1"), TypeError, "lr must be a number or a schedule, got '0.1'"),
    (lambda: SGD([P()], lr=None), TypeError, "lr must be a number or a schedule, got None"),
    (lambda: SGD([{"params": [P()], "lr": -1}]), ValueError, r"lr must lie in \[0, inf\), got -1"),
    (lambda: setattr(SGD([P()]), "lr", -1), ValueError, r"lr must lie in \[0, inf\), got -1"),
    (lambda: SGD([P()], lr=lambda k: -0.5), ValueError, r"lr must lie in \[0, inf\), got -0.5"),
    (lambda: SGD([P()], lr=lambda k: "fast"), TypeError, "lr must be a number or a schedule, got 'fast'"),
    (lambda: SGD([P()], momentum=1.5), ValueError, r"momentum must lie in \[0, 1\), got 1.5"),
    (lambda: SGD([P()], momentum=1), ValueError, r"momentum must lie in \[0, 1\), got 1"),
    (lambda: SGD([P()], momentum=0.9, dampening=3), ValueError, r"dampening must lie in \[0, 1\], got 3"),
    (lambda: SGD([P()], weight_decay=-0.1), ValueError, r"weight_decay must lie in \[0, inf\), got -0.1"),
    (lambda: SGD([P()], nesterov=True), ValueError, "nesterov needs momentum > 0 and dampening = 0, got momentum=0.0"),
    (
        lambda: SGD([{"params": [P()], "momentum": 0}], momentum=0.9, nesterov=True),
        ValueError,
        "nesterov needs momentum > 0 and dampening = 0, got momentum=0, dampening=0.0",
    ),
    (
        lambda: SGD([P()], momentum=0.9, dampening=0.5, nesterov=True),
        ValueError,
        "nesterov needs momentum > 0 and dampening = 0, got momentum=0.9, dampening=0.5",
    ),
    (lambda: Adam([P()], betas=(1.0, 0.999)), ValueError, r"betas must lie in \[0, 1\), got 1.0"),
    (lambda: Adam([P()], betas=(0.9, -0.1)), ValueError, r"betas must lie in \[0, 1\), got -0.1"),
    (lambda: Adam([P()], betas=0.9), TypeError, r"betas must be a tuple of 2 numbers such as \(0.9, 0.999\), got 0.9"),
    (lambda: Adam([P()], betas=(0.9,)), TypeError, r"betas must be a tuple of 2 .* such as \(0.9, 0.999\), got \(0.9,\)"),
    (lambda: Adam([{"params": [P()], "betas": 0.9}]), TypeError, r"betas must be a tuple of 2 .*, got 0.9"),
    (lambda: Adam([{"params": [P()], "betas": (1, 2, 3)}]), TypeError, r"betas must be a tuple of 2 .*, got \(1, 2, 3\)"),
    (lambda: Adam([P()], eps=0), ValueError, r"eps must lie in \(0, inf\), got 0"),
    (lambda: Adam([P()], eps=-1e-8), ValueError, r"eps must lie in \(0, inf\), got -1e-08"),
    # names
    (lambda: SGD([P()], lrr=0.1), TypeError, r"SGD has no hyperparameter 'lrr'; it has \['dampening', 'lr', 'lr_in"),
    (
        lambda: Adam([P()], beta=(0.9, 0.99)),
        TypeError,
        r"Adam has no hyperparameter 'beta'; it has \['amsgrad', 'betas', 'debias_",
    ),
    (lambda: SGD([{"params": [P()], "lrr": 0.1}]), TypeError, r"SGD has no hyperparameter 'lrr'; a group may set \["),
    (lambda: SGD([{"lr": 0.1}]), TypeError, r"a group needs its parameters: .*got only \['lr'\]"),
    (lambda: SGD([P()], on_nonfinite="stop"), ValueError, "on_nonfinite must be 'raise', 'skip' or 'ignore', got 'stop'"),
    # parameters
    (lambda: SGD([]), ValueError, "there are no parameters to optimize.*generator used up"),
    (lambda: SGD(used_up()), ValueError, "there are no parameters to optimize.*generator used up"),
    (lambda: SGD([{"params": []}]), ValueError, "a group has no parameters"),
    (lambda: SGD(P()), TypeError, r"must be a list of tensors .*got SimpleNamespace: pass model.parameters\(\)"),
    (lambda: SGD({P}), TypeError, r"must be a list of tensors .*got set"),
    (lambda: SGD(np.zeros(3)), TypeError, r"must be a list of tensors .*got ndarray"),
    (lambda: SGD({"params": [P()]}), TypeError, r"must be a list of tensors .*got dict"),
    (lambda: SGD("weights"), TypeError, r"must be a list of tensors .*got str"),
    (lambda: SGD(None), TypeError, r"must be a list of tensors .*got NoneType: pass model.parameters\(\)"),
    (lambda: SGD(object()), TypeError, r"must be a list of tensors .*got object: pass model.parameters\(\)"),
    (lambda: SGD([np.zeros(3)]), TypeError, r"parameter 0: a parameter needs .data and .grad, got ndarray"),
    (lambda: SGD([P(), 3.0]), TypeError, "parameter 1: a parameter needs .data and .grad, got float"),
    (lambda: SGD([P(), {"params": [P()]}]), TypeError, "parameter 1: a parameter needs .data and .grad, got dict"),
    (lambda: SGD([("w", integers)]), TypeError, "w: only floating-point parameters can be optimized, got dtype int64"),
    (lambda: SGD([P(), P([1j])]), TypeError, "parameter 1: only floating-point .* got dtype complex128"),
    (lambda: SGD([("w", P(requires_grad=False))]), TypeError, "w does not require a gradient, so it can never move"),
    (lambda: SGD([shared, P(), shared]), ValueError, "parameter 2 is given twice and would move twice"),
    (lambda: SGD([("w", P()), ("w", P())]), ValueError, r"two parameters have the same name: \['w', 'w'\]"),
    (
        lambda: SGD([{"params": [("w", shared)]}, {"params": [shared]}]),
        ValueError,
        "parameter 'parameter 1' is already in another group, as 'w'",
    ),
    (
        lambda: SGD([{"params": [("w", P())]}, {"params": [("w", P())]}]),
        ValueError,
        r"two groups have a parameter named 'w': pass \(name, parameter\) pairs with other names",
    ),
    # penalties
    (lambda: L1(-1), ValueError, "L1: the strength l1 must be non-negative and finite, got -1"),
    (lambda: L2(math.nan), ValueError, "L2: the strength l2 must be non-negative and finite, got nan"),
    (lambda: ElasticNet(0, math.inf), ValueError, "ElasticNet: the strength l2 must be non-negative and finite, got inf"),
    (lambda: ElasticNet("1", 0), TypeError, "ElasticNet: the strength l1 must be a number, got '1'"),
    (lambda: L1(True), TypeError, "L1: the strength l1 must be a number, got True"),
    (lambda: L1(1, "soft"), ValueError, "L1: mode must be one of coupled, decoupled, proximal, got 'soft'"),
    (lambda: SGD([P()], penalty=0.1), TypeError, "penalty must be L1, L2 or ElasticNet, got 0.1"),
    (lambda: SGD([{"params": [P()], "penalty": "l1"}]), TypeError, "penalty must be L1, L2 or ElasticNet, got 'l1'"),
    (
        lambda: SGD([P()], weight_decay=0.1, penalty=L2(0.1)),
        ValueError,
        "weight_decay=0.1 and an L2 penalty .* twice: leave",
    ),
    (lambda: AdamW([P()], penalty=ElasticNet(0.1, 0.1)), ValueError, "weight_decay=0.01 and .* pass weight_decay=0$"),
    (
        lambda: SGD([P()], weight_decay=Constant(0.1), penalty=L2(0.1)),
        ValueError,
        r"weight_decay=Constant\(.*\) and an L2 penalty are the same thing and would count twice",
    ),
]


@pytest.mark.parametrize(("make", "error", "message"), CASES)
def test_refused_with_a_clear_message(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda p: SGD([p], lr=0),
        lambda p: SGD([p], lr=np.float32(0.1), weight_decay=np.int64(0)),
        lambda p: SGD([p], momentum=0.9, dampening=1),
        lambda p: SGD([p], momentum=lambda k: 0.9, nesterov=True),
        lambda p: Adam([p], betas=(0, 0.999)),
        lambda p: Adam([p], betas=[0.9, 0.99], eps=1e-300),
        lambda p: AdamW([p], weight_decay=0, penalty=L2(0.1)),
        lambda p: AdamW([p], penalty=L1(0.1)),
        lambda p: SGD([p], penalty=L1(np.float32(0.5))),
        lambda p: SGD(iter([p])),
        lambda p: SGD(({"params": [p]},)),
    ],
)
def test_not_refused(make):
    p = P()
    opt = make(p)
    p.grad = np.ones(2)
    opt.step()
    assert np.isfinite(p.data).all()
    assert opt.steps == 1


@pytest.mark.parametrize("bad", [{"params": [shared], "lrr": 1}, {"params": [P()], "lr": -1}, {"params": [P(), P([1])]}])
def test_a_refused_group_leaves_the_optimizer_as_it_was(bad):
    opt = SGD([P()])
    with pytest.raises((TypeError, ValueError)):
        opt.add_param_group(bad)
    assert len(opt.param_groups) == 1
    assert list(opt.state_dict()["updates"]) == ["parameter 0"]
    opt.add_param_group({"params": [P()]})
