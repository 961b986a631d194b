"""Schedule-free SGD and AdamW: against their authors' code, and against the paper's definition of the three points."""

import copy
import gc
import pickle
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from optimizers import L1, L2, SGD, Adam, Constant, ScheduleFreeAdamW, ScheduleFreeSGD, Warmup
from optimizers.averaging import check_evaluable
from optimizers.projections import Box

warm = Warmup(10) >> Constant(0.05)
THEIRS = [
    # the reference classes of the package schedulefree, and ours
    ("schedulefree.SGDScheduleFreeReference(params, lr=0.05)", ScheduleFreeSGD, {"lr": 0.05}),
    (
        "schedulefree.SGDScheduleFreeReference(params, lr=0.05, momentum=0.6, weight_decay=0.1, warmup_steps=10)",
        ScheduleFreeSGD,
        {"lr": warm, "momentum": 0.6, "weight_decay": 0.1},
    ),
    ("schedulefree.AdamWScheduleFreeReference(params, lr=0.05)", ScheduleFreeAdamW, {"lr": 0.05}),
    (
        "schedulefree.AdamWScheduleFreeReference(params, lr=0.05, betas=(0.7, 0.95), eps=1e-4, warmup_steps=10)",
        ScheduleFreeAdamW,
        {"lr": warm, "betas": (0.7, 0.95), "eps": 1e-4},
    ),
    (
        "schedulefree.AdamWScheduleFreeReference(params, lr=0.05, weight_decay=0.1, warmup_steps=10)",
        ScheduleFreeAdamW,
        {"lr": warm, "weight_decay": 0.1},
    ),
]

theirs = runpy.run_path(str(Path(__file__).parents[1] / "goldens" / "make_dialects.py"))
golden = theirs["recorded"]()
start, gradients = theirs["start"](), theirs["gradients"]()
both = pytest.mark.parametrize("kind", [ScheduleFreeSGD, ScheduleFreeAdamW])


def parameter(values, dtype="float64"):
    return SimpleNamespace(data=np.array(values, dtype), grad=None)


def points(kind, settings):
    """The recorded rows of ours, (while training, to be evaluated)."""
    parameters = [parameter(p) for p in start]
    optimizer = kind(parameters, **settings)
    rows = []
    for k, row in enumerate(gradients, start=1):
        for p, g in zip(parameters, row, strict=True):
            p.grad = g
        optimizer.step()
        if k in theirs["RECORDED"]:
            y = theirs["flatten"]([p.data for p in parameters])
            optimizer.eval()
            rows.append((y, theirs["flatten"]([p.data for p in parameters])))
            optimizer.train()
    return np.array(rows).swapaxes(0, 1)


def worst(kind, settings, text):
    expected = np.stack([golden[text], golden[f"{text} -> eval()"]])
    return np.nan_to_num(np.abs(points(kind, settings) - expected) / (1 + np.abs(expected)), nan=np.inf).max()


def trained(kind, steps=4, dtype="float64", **settings):
    """(optimizer, its parameter) after some steps."""
    rng = np.random.default_rng(0)
    p = parameter(rng.standard_normal((3, 2)), dtype)
    opt = kind([("w", p)], **settings)
    for _ in range(steps):
        p.grad = rng.standard_normal((3, 2)).astype(dtype)
        opt.step()
    return opt, p


def refused(what, error, message):
    with pytest.raises(error, match=message):
        what()


# Against others ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "kind", "settings"), THEIRS, ids=[row[0] for row in THEIRS])
def test_both_points_are_those_of_its_authors(text, kind, settings):
    assert worst(kind, settings, text) <= 1e-12


@both
def test_the_point_to_be_evaluated_is_the_average_weighted_by_the_squares_of_the_rates(kind):
    """Also where the rate falls; their code weighs by the largest rate so far."""
    rates = [0.1, 0.3, 0.2, 0.0, 0.05, 0.1]
    p = parameter([1.0, -2.0])
    opt = kind([p], lr=lambda k: rates[k % 6])
    visited, rng = [], np.random.default_rng(0)
    for _ in rates:
        p.grad = rng.standard_normal(2)
        opt.step()
        visited.append(opt.state_dict()["state"]["z"]["parameter 0"])
    x = np.average(visited, axis=0, weights=np.square(rates))
    assert np.allclose(p.data, 0.1 * visited[-1] + 0.9 * x, rtol=1e-13)
    opt.eval()
    assert np.allclose(p.data, x, rtol=1e-13)


class AverageByCount(ScheduleFreeSGD):
    """c = 1 / t, whatever the rates were."""

    def rule(self, p, g, z, s, *, t, lr, momentum):
        if t == 1:
            z[...] = p
        s += 1
        loss = (p - z) / t + lr * (1 - momentum * (1 - 1 / t)) * g
        z -= lr * g
        return loss, 1.0


class RatesNotSquared(ScheduleFreeSGD):
    def rule(self, p, g, z, s, *, t, lr, momentum):
        if t == 1:
            z[...] = p
        s += lr
        c = lr / s
        loss = c * (p - z) + lr * (1 - momentum * (1 - c)) * g
        z -= lr * g
        return loss, 1.0


class OnlyTheFastPointMoves(ScheduleFreeSGD):
    """y follows z and x by their averages, without the gradient of this step."""

    def moved(self, y, z, s, direction, t, lr, b):
        loss, one = super().moved(y, z, s, direction, t, lr, b)
        return loss - lr * (1 - b) * direction, one


class SharesSwapped(ScheduleFreeSGD):
    """y = b z + (1 - b) x."""

    def rule(self, p, g, z, s, *, momentum, **hyper):
        return super().rule(p, g, z, s, momentum=1 - momentum, **hyper)

    def interpolation(self, group):
        return 1 - group["momentum"]


class AveragesBeforeTheStep(ScheduleFreeSGD):
    """x averages the z of before this step."""

    def moved(self, y, z, s, direction, t, lr, b):
        if t == 1:
            z[...] = y
        s += lr * lr
        c = lr * lr / s
        loss = c * (y - z) + lr * (1 - b) * direction
        z -= lr * direction
        return loss, 1.0


class SecondMomentUncorrected(ScheduleFreeAdamW):
    def rule(self, p, g, z, s, v, *, t, lr, betas, eps, weight_decay):
        v += (1 - betas[1]) * (g * g - v)
        return self.moved(p, z, s, g / (np.sqrt(v) + eps) + weight_decay * p, t, lr, betas[0])


class DecayInTheGradient(ScheduleFreeAdamW):
    decay = "coupled"

    def rule(self, p, g, z, s, v, **hyper):
        return super().rule(p, g, z, s, v, **{**hyper, "weight_decay": 0.0})


class DecayAtTheFastPoint(ScheduleFreeAdamW):
    def rule(self, p, g, z, s, v, *, t, lr, betas, eps, weight_decay):
        v += (1 - betas[1]) * (g * g - v)
        direction = g / (np.sqrt(v / (1 - betas[1] ** t)) + eps) + weight_decay * (p if t == 1 else z)
        return self.moved(p, z, s, direction, t, lr, betas[0])


MISTAKES = [
    (1, AverageByCount),
    (1, RatesNotSquared),
    (0, OnlyTheFastPointMoves),
    (0, SharesSwapped),
    (0, AveragesBeforeTheStep),
    (2, SecondMomentUncorrected),
    (4, DecayInTheGradient),
    (4, DecayAtTheFastPoint),
]


@pytest.mark.parametrize(("case", "wrong"), MISTAKES, ids=lambda x: getattr(x, "__name__", x))
def test_a_mistake_is_refused(case, wrong):
    text, _, settings = THEIRS[case]
    assert worst(wrong, settings, text) > 1e-6


# Three points -----------------------------------------------------------------------------------------------------------


@both
def test_eval_and_train_go_there_and_back_to_the_bit_and_may_be_repeated(kind):
    opt, p = trained(kind)
    y = p.data.tobytes()
    opt.eval()
    x = p.data.tobytes()
    opt.eval()
    assert p.data.tobytes() == x != y
    opt.train()
    opt.train()
    assert p.data.tobytes() == y


@both
def test_before_the_first_step_all_points_are_the_same(kind):
    opt, p = trained(kind, steps=0)
    before = p.data.tobytes()
    opt.eval()
    assert p.data.tobytes() == before


@both
def test_a_rate_of_zero_moves_no_point_and_does_not_count(kind):
    opt, p = trained(kind, steps=0, lr=lambda k: 0.0 if k < 3 else 0.1)
    before, rng = p.data.copy(), np.random.default_rng(1)
    for _ in range(3):
        p.grad = rng.standard_normal((3, 2))
        opt.step()
        opt.eval()
        assert np.array_equal(p.data, before)
        opt.train()
        assert np.array_equal(p.data, before)
    p.grad = np.ones((3, 2))
    opt.step()
    assert not np.array_equal(p.data, before)


@both
def test_a_parameter_without_gradient_stays_at_all_points(kind):
    p, q = parameter([1.0]), parameter([2.0])
    opt = kind([p, q])
    for _ in range(3):
        p.grad, q.grad = np.ones(1), None
        opt.step()
    assert q.data.item() == 2.0
    opt.eval()
    assert q.data.item() == 2.0
    assert p.data.item() < 1.0


@both
def test_what_needs_the_training_point_is_refused_at_the_other(kind):
    opt, p = trained(kind)
    saved = opt.state_dict()
    opt.eval()
    message = r"\(\) while the parameters hold the weights to be evaluated: call optimizer.train\(\) first"
    refused(opt.step, RuntimeError, r"^step" + message)
    refused(opt.state_dict, RuntimeError, "^state_dict" + message)
    refused(lambda: opt.load_state_dict(saved), RuntimeError, "^load_state_dict" + message)
    refused(lambda: opt.add_param_group({"params": [parameter([1.0])]}), RuntimeError, "^add_param_group" + message)
    opt.train()
    p.grad = np.ones((3, 2))
    opt.step()


@both
def test_evaluating_the_training_point_is_refused(kind):
    opt, p = trained(kind)
    message = rf"the point at which {kind.__name__} takes its gradients.* call optimizer.eval\(\) before model.eval\(\)"
    refused(lambda: check_evaluable([parameter([1.0]), p]), RuntimeError, message)
    check_evaluable([parameter([1.0])])
    check_evaluable([])
    opt.eval()
    check_evaluable([p])
    opt.train()
    refused(lambda: check_evaluable(q for q in [p]), RuntimeError, message)
    del opt
    gc.collect()
    check_evaluable([p])


@both
@pytest.mark.parametrize("how", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
def test_evaluating_the_training_point_of_a_copy_is_refused_too(kind, how):
    opt, p = trained(kind)
    copied, q = how((opt, p))
    opt.eval()
    check_evaluable([p])
    refused(lambda: check_evaluable([q]), RuntimeError, "call optimizer.eval")
    copied.eval()
    check_evaluable([q])
    assert p.data.tobytes() == q.data.tobytes()


def test_the_engines_tensors_may_be_evaluated_after_eval_only():
    """Tensors compare element by element, so none may be looked up by its value."""
    tinynet = pytest.importorskip("tinynet", reason="the optimizers are usable without the engine")
    model = tinynet.Linear(3, 2)
    opt = ScheduleFreeSGD(model.parameters(), lr=0.1)
    refused(lambda: check_evaluable(model.parameters()), RuntimeError, "call optimizer.eval")
    opt.eval()
    check_evaluable(model.parameters())


def test_other_optimizers_are_evaluated_where_they_train():
    for kind in (SGD, Adam):
        opt, p = trained(kind)
        check_evaluable([p])
        before = p.data.tobytes()
        opt.eval()
        assert p.data.tobytes() == before
        opt.train()
        check_evaluable([p])


def test_it_finds_what_sgd_with_a_constant_rate_only_circles():
    """On a noisy quadratic, at the same rate: the average is nearer to the minimum by far."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((2000, 10))
    ends = []
    for kind in (SGD, ScheduleFreeSGD):
        p = parameter(np.ones(10))
        opt = kind([p], lr=0.3)
        for n in noise:
            p.grad = p.data + n
            opt.step()
        opt.eval()
        ends.append(np.linalg.norm(p.data))
    assert ends[1] < ends[0] / 5


@both
def test_float32_stays_float32(kind):
    opt, p = trained(kind, dtype="float32")
    opt.eval()
    assert p.data.dtype == "float32"
    opt.train()
    assert {a.dtype.name for of in opt.state_dict()["state"].values() for a in of.values()} == {"float32"}


# Bad input --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda p: ScheduleFreeSGD([p], momentum=0),
            ValueError,
            "ScheduleFreeSGD needs momentum above 0, and no schedule of it, to find x again from y and z; got 0$",
        ),
        (lambda p: ScheduleFreeSGD([p], momentum=Constant(0.9)), ValueError, r"no schedule of it, .* got Constant\("),
        (lambda p: ScheduleFreeAdamW([p], betas=(0, 0.999)), ValueError, r"AdamW needs betas\[0\] above 0, .* got 0$"),
        (lambda p: ScheduleFreeAdamW([{"params": p, "betas": (0.0, 0.9)}]), ValueError, r"needs betas\[0\] above 0"),
        (lambda p: ScheduleFreeAdamW([p], betas=(lambda k: 0.9, 0.9)), ValueError, r"needs betas\[0\] above 0"),
        (
            lambda p: ScheduleFreeSGD([p], penalty=L2(0.1, "decoupled")),
            ValueError,
            'ScheduleFreeSGD: a decoupled penalty would move y alone, .* pass mode="coupled"',
        ),
        (lambda p: ScheduleFreeAdamW([p], projection=Box(0, 1)), ValueError, "AdamW: a projection would move y alone"),
        (lambda p: ScheduleFreeAdamW([p], penalty=L1(0.1)), ValueError, "does not weigh a gradient by its size"),
    ],
)
def test_refused_with_a_clear_message(make, error, message):
    refused(lambda: make(parameter([1.0])), error, message)


def test_a_momentum_of_zero_that_comes_later_is_refused_too():
    opt, p = trained(ScheduleFreeSGD)
    opt.param_groups[0]["momentum"] = 0.0
    before = p.data.tobytes()
    refused(opt.step, ValueError, "ScheduleFreeSGD needs momentum above 0")
    assert p.data.tobytes() == before
