"""Bad input: every refusal comes early, has the right type, names the argument and its value, and says what to do.

PyTorch takes much of it silently (a learning rate of nan, momentum 1.5, a misspelt name in a group, integer parameters,
a parameter that is given twice, the state of other parameters); here nothing of that passes.
"""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from every import EVERY, suited

from optimizers import (
    L1,
    L2,
    LBFGS,
    SGD,
    AdaBelief,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Constant,
    ElasticNet,
    Lion,
    Muon,
    NAdam,
    RAdam,
    RMSprop,
    Rprop,
)
from optimizers.projections import Box


def P(values=(1.0, 2.0), **more):
    return SimpleNamespace(data=np.array(values), grad=None, **more)


def used_up():
    parameters = (p for p in [P()])
    list(parameters)
    return parameters


shared = P()
integers = P([1, 2])
half, single = P(np.ones(2, np.float16)), P(np.ones(2, np.float32))

CASES = [
    # numbers
    (lambda: SGD([P()], lr=-1), ValueError, r"lr must lie in \[0, inf\), got -1$"),
    (lambda: SGD([P()], lr=math.nan), ValueError, r"lr must lie in \[0, inf\), got nan"),
    (lambda: SGD([P()], lr=math.inf), ValueError, r"lr must lie in \[0, inf\), got inf"),
    (lambda: SGD([P()], lr=True), TypeError, "lr must be a number or a schedule, got True"),
    (lambda: SGD([P()], lr="0.1"), TypeError, "lr must be a number or a schedule, got '0.1'"),
    (lambda: SGD([P()], lr=None), TypeError, "lr must be a number or a schedule, got None"),
    (lambda: SGD([P()], lr=[0.1, 0.2]), TypeError, r"lr must be one number.*got \[0.1, 0.2\]: .*np.array\(\[0.1, 0.2\]\)"),
    (lambda: SGD([{"params": [P()], "lr": (0.1, 0.2)}]), TypeError, r"lr must be one number.*got \(0.1, 0.2\)"),
    (lambda: SGD([P()], weight_decay=[0.1]), TypeError, r"weight_decay must be one number.*got \[0.1\]"),
    (lambda: LBFGS([P()], lr=[0.1]), TypeError, r"lr must be one number.*got \[0.1\]"),
    (lambda: setattr(SGD([P()]), "lr", [0.1]), TypeError, r"lr must be one number.*got \[0.1\]"),
    (lambda: SGD([P()], lr=lambda k: [0.1]), TypeError, r"lr must be a number or a schedule, got \[0.1\]"),
    (
        lambda: Adam([("w", half)]),
        ValueError,
        "eps=1e-08 is 0 in float16, the dtype of 'w', .*: pass a larger one, such as eps=1e-4",
    ),
    (lambda: Adam([P(), ("w", half)]), ValueError, "eps=1e-08 is 0 in float16, the dtype of 'w'"),
    (lambda: Adam([single], eps=1e-60), ValueError, "eps=1e-60 is 0 in float32, the dtype of 'parameter 0'"),
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
    (lambda: Adagrad([P()], lr_decay=-0.1), ValueError, r"lr_decay must lie in \[0, inf\), got -0.1"),
    (lambda: Adagrad([P()], initial_accumulator_value=-1), ValueError, r"initial_accumulator_value must lie in \[0, inf\)"),
    (lambda: Adagrad([P()], eps=0), ValueError, r"eps must lie in \(0, inf\), got 0"),
    (lambda: Adadelta([P()], rho=1), ValueError, r"rho must lie in \[0, 1\), got 1"),
    (lambda: Adadelta([P()], rho=-0.1), ValueError, r"rho must lie in \[0, 1\), got -0.1"),
    (lambda: Adadelta([P()], eps=math.nan), ValueError, r"eps must lie in \(0, inf\), got nan"),
    (lambda: RMSprop([P()], alpha=5), ValueError, r"alpha must lie in \[0, 1\), got 5"),
    (lambda: RMSprop([P()], alpha=1), ValueError, r"alpha must lie in \[0, 1\), got 1"),
    (lambda: RMSprop([P()], momentum=1.5), ValueError, r"momentum must lie in \[0, 1\), got 1.5"),
    (lambda: RMSprop([P()], momentum=True), TypeError, "momentum must be a number or a schedule, got True"),
    (lambda: RMSprop([P()], eps=0), ValueError, r"eps must lie in \(0, inf\), got 0"),
    (lambda: Adamax([P()], betas=(0.9, 1)), ValueError, r"betas must lie in \[0, 1\), got 1"),
    (lambda: Adamax([P()], eps=0), ValueError, r"eps must lie in \(0, inf\), got 0"),
    (lambda: NAdam([P()], momentum_decay=-1), ValueError, r"momentum_decay must lie in \[0, inf\), got -1"),
    (lambda: RAdam([P()], betas=(0.9, 1.0)), ValueError, r"betas must lie in \[0, 1\), got 1.0"),
    (lambda: AdaBelief([P()], eps=0), ValueError, r"eps must lie in \(0, inf\), got 0"),
    (lambda: Lion([P()], betas=(0.9, 1.1)), ValueError, r"betas must lie in \[0, 1\), got 1.1"),
    (
        lambda: Rprop([P()], etas=(1.2, 0.5)),
        ValueError,
        r"etas must be one factor below 1 and one above.* got \(1.2, 0.5\)",
    ),
    (lambda: Rprop([P()], etas=(0.5, 1)), ValueError, r"etas must be one factor below 1 and one above.* got \(0.5, 1.0\)"),
    (lambda: Rprop([P()], etas=(0, 1.2)), ValueError, r"etas must lie in \(0, inf\), got 0"),
    (lambda: Rprop([P()], etas=1.2), TypeError, r"etas must be a tuple of 2 numbers such as \(0.5, 1.2\), got 1.2"),
    (
        lambda: Rprop([P()], step_sizes=(1, 1e-3)),
        ValueError,
        r"step_sizes must be the smallest and the largest, got \(1.0, ",
    ),
    (lambda: Rprop([P()], step_sizes=(0, 1)), ValueError, r"step_sizes must lie in \(0, inf\), got 0"),
    (lambda: SGD([P()], momentum=0.9, nesterov="yes"), TypeError, "nesterov must be True or False, got 'yes'"),
    (lambda: Adam([P()], amsgrad=0.9), TypeError, "amsgrad must be True or False, got 0.9"),
    (lambda: Adam([{"params": [P()], "amsgrad": None}]), TypeError, "amsgrad must be True or False, got None"),
    # names
    (lambda: SGD([P()], lrr=0.1), TypeError, r"SGD has no hyperparameter 'lrr'; it has \['dampening', 'lr', 'lr_in"),
    (
        lambda: Adam([P()], beta=(0.9, 0.99)),
        TypeError,
        r"Adam has no hyperparameter 'beta'; it has \['amsgrad', 'betas', 'debias_",
    ),
    (lambda: SGD([{"params": [P()], "lrr": 0.1}]), TypeError, r"SGD has no hyperparameter 'lrr'; a group may set \["),
    (lambda: SGD([{"lr": 0.1}]), TypeError, r"a group needs its parameters: .*got only \['lr'\]"),
    (
        lambda: RMSprop([P()], rho=0.9),
        TypeError,
        r"^RMSprop has no hyperparameter 'rho'; it has \['alpha', 'centered', 'eps', 'eps_inside', 'lr', 'lr_in_buffer', "
        r"'momentum', 'weight_decay'\]$",
    ),
    (lambda: Lion([P()], eps=1e-8), TypeError, "Lion has no hyperparameter 'eps'"),
    (lambda: SGD([P()], clip=1.0), TypeError, r"clip must be a rule such as ClipNorm\(1.0\), got 1.0"),
    (lambda: SGD([P()], on_nonfinite="stop"), ValueError, "on_nonfinite must be 'raise', 'skip' or 'ignore', got 'stop'"),
    # parameters
    (lambda: SGD([]), ValueError, "there are no parameters to optimize.*generator used up"),
    (lambda: SGD(used_up()), ValueError, "there are no parameters to optimize.*generator used up"),
    (lambda: SGD([{"params": []}]), ValueError, "a group has no parameters"),
    (lambda: SGD(P()), TypeError, r"must be a list of tensors .*got SimpleNamespace: pass model.parameters\(\)"),
    (lambda: SGD({P}), TypeError, r"must be a list of tensors .*got set"),
    (lambda: SGD(np.zeros(3)), TypeError, r"must be a list of tensors .*got ndarray"),
    (lambda: SGD({"params": [P()]}), TypeError, r"must be a list of tensors .*got dict"),
    (lambda: SGD(3), TypeError, r"must be a list of tensors .*got int: pass model.parameters\(\)"),
    (lambda: SGD("weights"), TypeError, r"must be a list of tensors .*got str"),
    (lambda: SGD(None), TypeError, r"must be a list of tensors .*got NoneType: pass model.parameters\(\)"),
    (lambda: SGD(object()), TypeError, r"must be a list of tensors .*got object: pass model.parameters\(\)"),
    (lambda: SGD([np.zeros(3)]), TypeError, r"parameter 0: a parameter needs .data and .grad, got ndarray"),
    (lambda: SGD([P(), 3.0]), TypeError, "parameter 1: a parameter needs .data and .grad, got float"),
    (lambda: SGD([P(), {"params": [P()]}]), TypeError, "parameter 1: a parameter needs .data and .grad, got dict"),
    (lambda: SGD([("w", integers)]), TypeError, "w: only floating-point parameters can be optimized, got dtype int64"),
    (lambda: SGD([P(), P([1j])]), TypeError, "parameter 1: only floating-point .* got dtype complex128"),
    (lambda: LBFGS([("w", P(requires_grad=False))]), ValueError, "LBFGS moves .* 'w' is frozen .*leave it out"),
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
        r"two groups have a parameter named 'w': pass \(name, parameter\) pairs with other names, or layer.parameters\(\)",
    ),
    # penalties and projections
    (
        lambda: Lion([P()], penalty=L1(0.1)),
        ValueError,
        '^Lion does not weigh a gradient by its size, .* pass mode="coupled"',
    ),
    (lambda: Rprop([P()], penalty=L1(0.1)), ValueError, "^Rprop does not weigh a gradient by its size"),
    (lambda: Muon([P([[1.0]])], penalty=L1(0.1)), ValueError, "^Muon does not weigh a gradient by its size"),
    (lambda: SGD([P()], projection=1.0), TypeError, "projection must be MaxNorm, NonNegative or Box, got 1.0"),
    (lambda: SGD([P()], projection=Box), TypeError, "projection must be MaxNorm, NonNegative or Box, got <class"),
    (lambda: SGD([P()], projection=L1(0.1)), TypeError, "projection must be MaxNorm, NonNegative or Box, got L1"),
    (lambda: SGD([P()], penalty=Box(0, 1)), TypeError, "penalty must be L1, L2 or ElasticNet, got Box"),
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


def test_an_eps_that_float16_can_hold_gives_finite_steps_and_a_later_one_that_it_cannot_is_refused():
    p = P(np.ones(3, np.float16))
    opt = Adam([p], lr=0.1, eps=1e-4)
    p.grad = np.array([0, 1e-3, 1], np.float16)
    opt.step()
    assert np.isfinite(p.data).all()
    opt.param_groups[0]["eps"] = 1e-8
    with pytest.raises(ValueError, match="eps=1e-08 is 0 in float16"):
        opt.step()


@pytest.mark.parametrize("bad", [{"params": [shared], "lrr": 1}, {"params": [P()], "lr": -1}, {"params": [P(), P([1])]}])
def test_a_refused_group_leaves_the_optimizer_as_it_was(bad):
    opt = SGD([P()])
    with pytest.raises((TypeError, ValueError)):
        opt.add_param_group(bad)
    assert len(opt.param_groups) == 1
    assert list(opt.state_dict()["updates"]) == ["parameter 0"]
    opt.add_param_group({"params": [P()]})


# The same of every optimizer --------------------------------------------------------------------------------------------


def made(name, lr=0.1, shape=(2,)):
    """(optimizer, its parameter w)"""
    p = P(np.ones(suited(name, [shape])[0]))
    return EVERY[name]([("w", p)], lr=lr), p


def stepped(opt, p):
    p.grad = np.full(p.data.shape, 0.5)
    opt.step()


every_optimizer = pytest.mark.parametrize("name", EVERY)
BAD_RATES = [
    (-1, ValueError, r"lr must lie in \[0, inf\), got -1"),
    (math.nan, ValueError, r"lr must lie in \[0, inf\), got nan"),
    (math.inf, ValueError, r"lr must lie in \[0, inf\), got inf"),
    (True, TypeError, "lr must be a number or a schedule, got True"),
    ("0.1", TypeError, "lr must be a number or a schedule, got '0.1'"),
    (None, TypeError, "lr must be a number or a schedule, got None"),
]


@every_optimizer
@pytest.mark.parametrize(("lr", "error", "message"), BAD_RATES)
def test_a_bad_rate_is_refused_wherever_it_is_said(name, lr, error, message):
    """In the constructor, by a schedule, in a group, by the setter, and in a group of an optimizer in use."""
    opt, p = made(name)
    stepped(opt, p)
    another = {"params": [P(np.ones(p.data.shape))], "lr": lr}
    ways = [
        lambda: made(name, lr=lr),
        lambda: made(name, lr=lambda k: lr),
        lambda: opt.add_param_group(another),
        lambda: setattr(opt, "lr", lr),
        lambda: setattr(opt, "lr", lambda k: lr),
    ]
    for way in ways:
        with pytest.raises(error, match=message):
            way()
        assert opt.lr == 0.1
        stepped(opt, p)
    before = p.data.tobytes()
    opt.param_groups[0]["lr"] = lr
    with pytest.raises(error, match=message):
        stepped(opt, p)
    assert p.data.tobytes() == before


@every_optimizer
@pytest.mark.parametrize("late", [-0.5, math.nan, math.inf])
def test_a_bad_rate_that_a_schedule_says_later_stops_that_step(name, late):
    opt, p = made(name, lr=lambda k: [0.1, 0.1, late][k])
    stepped(opt, p)
    stepped(opt, p)
    before = p.data.tobytes()
    with pytest.raises(ValueError, match=rf"lr must lie in \[0, inf\), got {late}"):
        stepped(opt, p)
    assert p.data.tobytes() == before
    assert opt.steps == 2


@every_optimizer
def test_a_misspelt_name_is_refused(name):
    opt, p = made(name)
    with pytest.raises(TypeError, match="has no hyperparameter 'lrr'; it has "):
        EVERY[name]([p], lrr=0.1)
    with pytest.raises(TypeError, match="has no hyperparameter 'lrr'; a group may set "):
        opt.add_param_group({"params": [P(np.ones(p.data.shape))], "lrr": 0.1})
    assert len(opt.param_groups) == 1


@every_optimizer
@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (lambda p: p, TypeError, "must be a list of tensors"),
        (lambda p: {1}, TypeError, "must be a list of tensors .*got set"),
        (lambda p: np.zeros(3), TypeError, "must be a list of tensors .*got ndarray"),
        (lambda p: [], ValueError, "there are no parameters to optimize"),
        (lambda p: used_up(), ValueError, "there are no parameters to optimize.*generator used up"),
        (lambda p: [p, p], ValueError, "parameter 1 is given twice and would move twice"),
        (lambda p: [{"params": [p]}, {"params": [p]}], ValueError, "parameter 'parameter 1' is already in another group"),
        (lambda p: [P([[1, 2]])], TypeError, "only floating-point parameters can be optimized, got dtype int64"),
    ],
)
def test_bad_parameters_are_refused(name, bad, error, message):
    p = P(np.ones(suited(name, [(2,)])[0]))
    with pytest.raises(error, match=message):
        EVERY[name](bad(p))


@every_optimizer
def test_a_parameter_that_was_given_another_shape_is_refused(name):
    opt, p = made(name)
    stepped(opt, p)
    p.data = np.ones((3, 3))
    with pytest.raises(
        ValueError, match=r"parameter 'w' changed its shape from .* to \(3, 3\).*make the optimizer afterwards"
    ):
        stepped(opt, p)


@every_optimizer
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(name):
    opt, p = made(name)
    stepped(opt, p)
    saved = opt.state_dict()
    larger, q = made(name, shape=(3,))
    stepped(larger, q)
    other = P(np.ones(p.data.shape))
    elsewhere = EVERY[name]([("v", other)])
    stepped(elsewhere, other)
    for bad, message in (
        ({**saved, "optimizer": "Elephant"}, "the state is of Elephant, this optimizer is "),
        (elsewhere.state_dict(), r"the state is of other parameters: \['v', 'w'\] are only in one of the two"),
        ({**saved, "hyper": []}, "the state has 0 groups, this optimizer has 1"),
        ({"w": np.ones(2)}, "^this is not the state of an optimizer: it has no 'hyper'"),
        ({key: value for key, value in saved.items() if key != "steps"}, "it has no 'steps'"),
    ):
        with pytest.raises(ValueError, match=message):
            opt.load_state_dict(bad)
    if saved["state"]:
        with pytest.raises(ValueError, match=r"of 'w': this optimizer has shape .*2\,?\), the state .*3\,?\)"):
            opt.load_state_dict(larger.state_dict())
        with pytest.raises(ValueError, match="the state has no .* of 'w'"):
            opt.load_state_dict({**saved, "state": {}})
    again = opt.state_dict()
    assert again["steps"] == 1
    assert again["hyper"] == saved["hyper"]
    assert all(np.array_equal(again["state"][key]["w"], of["w"]) for key, of in saved["state"].items())


def test_the_state_of_another_optimizer_is_refused():
    for name in EVERY:
        state = made(name)[0].state_dict()
        for other in EVERY:
            opt = made(other)[0]
            if opt.state_dict()["optimizer"] != state["optimizer"]:
                with pytest.raises(ValueError, match=r"the state (is of .*, this optimizer is|has no|has shape)"):
                    opt.load_state_dict(state)


@every_optimizer
def test_a_bad_gradient_is_refused_before_anything_moves(name):
    opt, p = made(name)
    stepped(opt, p)
    before = p.data.tobytes()
    for bad, message in (
        (np.ones((5, 5)), r"the gradient of 'w' has shape \(5, 5\)"),
        (np.full(p.data.shape, np.nan), "has a nan"),
    ):
        p.grad = bad
        with pytest.raises((ValueError, FloatingPointError), match=message):
            opt.step()
        assert p.data.tobytes() == before


def test_a_step_where_the_weights_to_be_evaluated_are_in_place_is_refused():
    opt, p = made("schedule-free sgd")
    stepped(opt, p)
    opt.eval()
    with pytest.raises(
        RuntimeError, match=r"^step\(\) while the parameters hold the weights to be evaluated: call optimizer.tr"
    ):
        opt.step()
