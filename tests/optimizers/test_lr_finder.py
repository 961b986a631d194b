"""The learning-rate range test: what it sees, where it stops, what it suggests, and that it leaves nothing behind."""

import copy
import itertools
import math
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

import tinynet as tn
from optimizers import EMA, SGD, Adam, Lookahead, ScheduleFreeSGD
from optimizers.lr_finder import RangeTest, layers, lr_range_test
from optimizers.schedules import Cosine, Exponential


class Bowl:
    """loss = curvature / 2 * |p|^2, whose gradient is exact: plain gradient descent diverges above lr = 2 / curvature."""

    def __init__(self, curvature=1.0, make=lambda ps: SGD(ps, lr=0.1), size=3):
        self.curvature = curvature
        self.p = SimpleNamespace(data=np.linspace(1.0, 2.0, size), grad=None)
        self.optimizer = make([("p", self.p)])
        self.seen = []

    def __call__(self):
        assert self.p.grad is None  # zero_grad() was called
        self.seen.append((self.optimizer.param_groups[0]["lr"], self.p.data.copy()))
        self.p.grad = self.curvature * self.p.data
        return self.curvature / 2 * float(self.p.data @ self.p.data)


def losses_of(losses):
    """A train_step that answers these losses, one after the other, and an optimizer for it."""
    p = SimpleNamespace(data=np.ones(2), grad=None)
    answers = iter(losses)

    def train_step():
        p.grad = np.ones(2)
        return next(answers)

    return SGD([p], lr=0.1), train_step


# What it does ---------------------------------------------------------------------------------------------------------


def test_the_rate_rises_by_a_constant_factor_and_each_step_is_taken():
    bowl = Bowl()
    found = lr_range_test(bowl.optimizer, bowl, start=1e-3, end=1.0, steps=31)
    assert np.allclose(found.lrs, 10 ** np.linspace(-3, 0, 31), rtol=1e-12)
    assert (found.lrs[0], found.lrs[-1]) == (1e-3, 1.0)
    assert [lr for lr, _ in bowl.seen] == found.lrs
    p = np.linspace(1.0, 2.0, 3)
    for lr, seen in bowl.seen:
        assert np.array_equal(seen, p)
        p = p - lr * p
    assert found.losses == [float(p @ p) / 2 for _, p in bowl.seen]


def test_every_group_gets_the_rate():
    ps = [SimpleNamespace(data=np.ones(2), grad=None) for _ in range(2)]
    optimizer = SGD([{"params": ps[:1]}, {"params": ps[1:], "lr": Exponential(0.3, 0.9)}], lr=0.1)
    seen = []

    def train_step():
        seen.append([group["lr"] for group in optimizer.param_groups])
        for p in ps:
            p.grad = np.ones(2)
        return 1.0

    found = lr_range_test(optimizer, train_step, steps=5)
    assert seen == [[lr, lr] for lr in found.lrs]
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, Exponential(0.3, 0.9)]


def test_smoothing_moves_by_a_share_to_each_new_loss():
    losses = [4.0, 2.0, 3.0, 1.0]
    assert lr_range_test(*losses_of(losses), steps=4, smooth=0.25).smoothed == [4, 3.5, 3.375, 2.78125]
    assert lr_range_test(*losses_of(losses), steps=4, smooth=1.0).smoothed == losses
    assert lr_range_test(*losses_of(losses), steps=4).smoothed[1] == pytest.approx(3.9, rel=1e-14)


@pytest.mark.parametrize(
    ("losses", "seen"),
    [
        ([1, 2, 3.99, 4.0, 4.01, 9], 5),  # 4 times the best, exceeded
        ([1, 0.5, 1.9, 2.01, 9], 4),
        ([-1, 1.9, 2.1, 9], 3),  # best + 3 |best|, for a negative one
        ([-1, -1.5, 2.9, 3.1, 9], 4),
        ([1, math.nan, 9], 1),
        ([1, 0.9, math.inf, 9], 2),
        ([1, 0.9, -math.inf, 9], 2),
        ([math.nan], 0),
    ],
)
def test_it_stops_when_the_smoothed_loss_passes_or_is_no_number(losses, seen):
    found = lr_range_test(*losses_of(losses), steps=10, smooth=1.0)
    assert found.losses == losses[:seen]
    assert len(found.lrs) == len(found.smoothed) == seen


def test_diverge_says_how_far_it_may_rise():
    assert lr_range_test(*losses_of([1, 4, 9.9, 10.1, 11]), steps=10, smooth=1.0, diverge=10).losses == [1, 4, 9.9, 10.1]


def test_it_is_the_smoothed_loss_that_stops_it():
    assert lr_range_test(*losses_of([1, 9, 1, 1, 1]), steps=5, smooth=0.3).losses == [1, 9, 1, 1, 1]


@pytest.mark.parametrize("policy", ["raise", "skip", "ignore"])
def test_a_gradient_that_is_not_finite_stops_it_quietly(policy):
    bowl = Bowl(make=lambda ps: SGD(ps, lr=0.1, on_nonfinite=policy))
    calls = itertools.count()

    def train_step():
        loss = bowl()
        if next(calls) == 4:
            bowl.p.grad = np.array([1.0, math.nan, 1.0])
        return loss

    found = lr_range_test(bowl.optimizer, train_step, steps=10)
    assert len(found.losses) == 5
    assert (bowl.optimizer.on_nonfinite, bowl.optimizer.skipped) == (policy, 0)


def test_so_it_does_within_an_optimizer_around_another():
    bowl = Bowl(make=lambda ps: EMA(SGD(ps, lr=0.1, on_nonfinite="skip")))
    bowl.p.grad = np.full(3, math.nan)
    bowl.optimizer.step()

    def train_step():
        loss = bowl()
        bowl.p.grad = np.full(3, math.nan)
        return loss

    bowl.p.grad = None
    assert len(lr_range_test(bowl.optimizer, train_step, steps=10).losses) == 1
    assert (bowl.optimizer.on_nonfinite, bowl.optimizer.skipped, bowl.optimizer.optimizer.skipped) == ("skip", 1, 1)
    assert "on_nonfinite" not in vars(bowl.optimizer)


def test_overflow_on_the_way_warns_of_nothing():
    bowl = Bowl(1e200, make=lambda ps: SGD(ps, lr=0.1, on_nonfinite="ignore"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = lr_range_test(bowl.optimizer, bowl, start=1e100, end=1e300, steps=20)
    assert len(found.losses) < 20
    assert np.geterr()["over"] == "warn"


# What it suggests -----------------------------------------------------------------------------------------------------


def test_the_suggestion_is_a_tenth_of_the_rate_of_the_least_smoothed_loss():
    lrs = [1e-3, 1e-2, 1e-1, 1.0]
    assert RangeTest(lrs, [4, 3, 1, 9], [4, 3, 2, 3]).suggestion == 1e-1 / 10
    assert RangeTest(lrs, [4, 3, 2, 1], [4, 3, 2, 1]).suggestion == 1.0 / 10
    assert RangeTest(lrs, [4, 1, 5, 9], [4, 3.8, 3.9, 5]).suggestion == 1e-2 / 10  # of the smoothed one


@pytest.mark.parametrize("losses", [[], [1.0], [1.0, 2.0], [1.0, 1.0, 1.0]])
def test_there_is_no_suggestion_if_the_loss_never_fell(losses):
    assert RangeTest([0.1, 0.2, 0.3][: len(losses)], losses, losses).suggestion is None


@pytest.mark.parametrize("curvature", [0.1, 1.0, 30.0])
def test_on_a_bowl_the_suggestion_trains_and_ten_times_more_is_about_too_much(curvature):
    bowl = Bowl(curvature)
    suggestion = lr_range_test(bowl.optimizer, bowl, start=1e-5, end=1e3).suggestion
    assert 0.2 < suggestion * curvature < 2 < 10 * suggestion * curvature  # the edge is at 2 / curvature


def test_on_a_net_the_suggestion_trains_better_than_a_hundredth_or_ten_times_of_it():
    x, y = tn.datasets.moons(200, noise=0.1, seed=0)

    def train(lr=None, steps=200):
        model, rng = tn.MLP([2, 16, 16, 2], seed=0), np.random.default_rng(0)
        optimizer = Adam(list(model.named_parameters()), lr=lr or 1e-3)

        def train_step():
            batch = rng.integers(0, len(x), 32)
            loss = tn.cross_entropy(model(x[batch]), y[batch])
            loss.backward()
            return loss.item()

        if lr is None:
            return lr_range_test(optimizer, train_step).suggestion
        for _ in range(steps):
            optimizer.zero_grad()
            train_step()
            optimizer.step()
        return tn.cross_entropy(model(x), y).item()

    suggestion = train()
    loss = train(suggestion)
    assert loss < 0.1
    assert train(suggestion / 100) > 3 * loss
    assert train(suggestion * 10) > 5 * loss


# What it leaves behind: nothing ---------------------------------------------------------------------------------------

MAKERS = {
    "sgd": lambda ps: SGD(ps, lr=0.1),
    "momentum": lambda ps: SGD(ps, lr=0.1, momentum=0.9),
    "adam": lambda ps: Adam(ps, lr=0.1),
    "averages": lambda ps: EMA(Lookahead(SGD(ps, lr=0.1, momentum=0.9), k=2)),
    "schedule-free": lambda ps: ScheduleFreeSGD(ps, lr=0.1),
    "adam with a schedule": lambda ps: Adam(ps, lr=Cosine(0.1, 20), betas=(Exponential(0.9, 0.99), 0.999)),
}


def train(model, optimizer, x, y, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        tn.cross_entropy(model(x), y).backward()
        optimizer.step()


def bits(optimizer):
    state = optimizer.state_dict()
    arrays = {(k, n): a.tobytes() for k, of in state.pop("state").items() for n, a in of.items()}
    groups = [{k: v for k, v in g.items() if k not in ("params", "names")} for g in optimizer.param_groups]
    plain = (bool, int, float, str, type(None))
    counters = [{k: v for k, v in vars(each).items() if isinstance(v, plain)} for each in layers(optimizer)]
    data = [p.data.tobytes() for g in optimizer.param_groups for p in g["params"]]
    return copy.deepcopy((state, arrays, groups, counters, data))


class BoomError(Exception):
    pass


@pytest.mark.parametrize("fail", [None, "before", "forward", "backward", "number"])
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_everything_is_restored_to_the_bit_whatever_happens(make, fail):
    x, y = tn.datasets.moons(50, noise=0.1, seed=0)
    model = tn.MLP([2, 8, 2], seed=0)
    optimizer = make(list(model.named_parameters()))
    train(model, optimizer, x, y, 3)
    before = bits(optimizer)
    untouched = copy.deepcopy((model, optimizer))
    calls, graphs = itertools.count(), []

    def train_step():
        now = next(calls) == 7
        if now and fail == "before":
            raise BoomError
        loss = tn.cross_entropy(model(x), y)
        if now and fail == "forward":
            graphs.append(loss)  # a graph that lives on keeps its parameters from being written to
            raise BoomError
        loss.backward()
        if now and fail == "backward":
            raise BoomError
        return None if now and fail == "number" else loss.item()

    views = [p.data for p in model.parameters()]
    if fail is None:
        assert len(lr_range_test(optimizer, train_step).losses) > 10
    else:
        with pytest.raises(TypeError if fail == "number" else BoomError):
            lr_range_test(optimizer, train_step)
        assert next(calls) == 8
    assert bits(optimizer) == before
    assert all(p.grad is None for p in model.parameters())
    assert all(p.data is view for p, view in zip(model.parameters(), views, strict=True)) != bool(graphs)
    if graphs:
        with pytest.raises(tn.ChangedArrayError):
            graphs.pop().backward()  # its parameters are the old ones again, but it may not know that they moved in between
    train(model, optimizer, x, y, 5)
    train(*untouched, x, y, 5)
    assert bits(optimizer) == bits(untouched[1])


def test_a_parameter_that_was_given_a_new_array_gets_its_old_values_back():
    bowl = Bowl()

    def train_step():
        loss = bowl()
        bowl.p.data = np.zeros(3)
        bowl.p.grad = np.zeros(3)
        return loss

    lr_range_test(bowl.optimizer, train_step, steps=3)
    assert np.array_equal(bowl.p.data, np.linspace(1.0, 2.0, 3))
    bowl.p.grad = np.ones(3)
    bowl.optimizer.step()
    assert np.array_equal(bowl.p.data, np.linspace(1.0, 2.0, 3) - 0.1)


# The picture and bad arguments ----------------------------------------------------------------------------------------


def test_plot_draws_both_losses_over_a_logarithmic_rate_and_marks_the_suggestion():
    found = lr_range_test(*losses_of([4.0, 2.0, 1.0, 3.0]), start=1e-3, end=1.0, steps=4, smooth=0.5)
    ax = found.plot()
    assert (ax.get_xscale(), ax.get_xlabel(), ax.get_ylabel()) == ("log", "learning rate", "loss")
    raw, smoothed, mark = ax.lines
    assert list(raw.get_xdata()) == list(smoothed.get_xdata()) == found.lrs
    assert list(raw.get_ydata()) == found.losses
    assert list(smoothed.get_ydata()) == found.smoothed
    assert list(mark.get_xdata()) == [found.suggestion] * 2
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["loss", "smoothed loss", "suggestion: 1.0e-02"]
    assert found.plot(ax=ax) is ax
    assert len(RangeTest([0.1], [1.0], [1.0]).plot().lines) == 2
    ax.figure.canvas.draw()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"start": 0}, ValueError, "lr_range_test: start must be positive and finite, got 0"),
        ({"end": math.inf}, ValueError, "lr_range_test: end must be positive and finite, got inf"),
        ({"start": 1.0, "end": 0.1}, ValueError, r"needs end above start and at least 2 steps, got start=1\.0, end=0\.1"),
        ({"start": 1.0, "end": 1.0}, ValueError, "needs end above start"),
        ({"steps": 1}, ValueError, "at least 2 steps, got .* steps=1"),
        ({"steps": 10.0}, ValueError, r"lr_range_test: steps must be a positive whole number, got 10\.0"),
        ({"smooth": 0}, ValueError, r"lr_range_test: smooth must be in \(0, 1\], got 0"),
        ({"smooth": 1.5}, ValueError, r"lr_range_test: smooth must be in \(0, 1\], got 1\.5"),
        ({"diverge": 1}, ValueError, "lr_range_test: diverge must be above 1, got 1"),
        ({"diverge": 0.5}, ValueError, r"lr_range_test: diverge must be at least 1 and finite, got 0\.5"),
        ({"start": "1e-7"}, TypeError, "lr_range_test: start must be a number, got '1e-7'"),
    ],
)
def test_bad_arguments_are_refused_before_anything_runs(options, error, message):
    def train_step():
        raise AssertionError("it ran")

    with pytest.raises(error, match=message):
        lr_range_test(Bowl().optimizer, train_step, **options)


def test_train_step_must_answer_a_number():
    optimizer, _ = losses_of([])
    with pytest.raises(TypeError, match="lr_range_test: train_step must answer the loss as a number, got None"):
        lr_range_test(optimizer, lambda: None)
