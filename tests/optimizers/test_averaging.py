"""Lookahead and EMA: against optax, against their papers written out, and what must hold of an optimizer around another."""

import copy
import pickle
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from optimizers import EMA, L1, LBFGS, SGD, Adam, AdamW, Lookahead, NonfiniteGradientError, ScheduleFreeSGD
from optimizers.clipping import ClipNorm

LOOKAHEADS = [
    # theirs, and ours: the inner optimizer with its settings, k, alpha
    ("optax.lookahead(optax.sgd(lr, momentum=0.9), 5, 0.5)", SGD, {"momentum": 0.9}, 5, 0.5),
    ("optax.lookahead(optax.adam(lr), 7, 0.8)", Adam, {}, 7, 0.8),
]

theirs = runpy.run_path(str(Path(__file__).parents[1] / "goldens" / "make_dialects.py"))
golden, LR = theirs["recorded"](), theirs["LR"]

AROUND = {"lookahead": lambda inner: Lookahead(inner, k=3, alpha=0.3), "ema": lambda inner: EMA(inner, decay=0.8)}
around_any = pytest.mark.parametrize("around", AROUND.values(), ids=AROUND.keys())


def parameter(values, dtype="float64"):
    return SimpleNamespace(data=np.array(values, dtype), grad=None)


def random_parameters(*shapes, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    return [parameter(rng.standard_normal(shape), dtype) for shape in shapes]


def train(opt, parameters, steps, seed=1):
    """Steps with gradients that depend on the seed, the step and the parameter's place only."""
    for k in range(opt.steps, opt.steps + steps):
        for i, p in enumerate(parameters):
            p.grad = np.random.default_rng((seed, k, i)).standard_normal(p.data.shape).astype(p.data.dtype)
        opt.step()


def bits(parameters):
    return [p.data.tobytes() for p in parameters]


def refused(what, error, message):
    with pytest.raises(error, match=message):
        what()


# Against others ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "kind", "settings", "k", "alpha"), LOOKAHEADS, ids=[row[0] for row in LOOKAHEADS])
def test_lookahead_is_optaxs(text, kind, settings, k, alpha):
    parameters = [parameter(p) for p in theirs["start"]()]
    optimizer = Lookahead(kind(parameters, lr=LR, **settings), k, alpha)
    rows = []
    for step, row in enumerate(theirs["gradients"](), start=1):
        if step == theirs["SLOWER"]:
            optimizer.lr = 0.1 * LR
        for p, g in zip(parameters, row, strict=True):
            p.grad = g
        optimizer.step()
        if step in theirs["RECORDED"]:
            rows.append(theirs["flatten"]([p.data for p in parameters]))
    assert np.abs(np.array(rows) - golden[text]).max() <= 1e-12


def test_lookahead_is_its_paper():
    """Zhang et al. 2019, algorithm 1: an outer loop of slow weights, an inner one of k fast steps from there."""
    p = parameter([1.0, -2.0, 3.0])
    opt = Lookahead(SGD([p], lr=0.1), k=4, alpha=0.25)
    slow = [1.0, -2.0, 3.0]
    for _ in range(5):
        fast = list(slow)
        for _ in range(4):
            fast = [w - 0.1 * (w * w) for w in fast]  # of the sum of w^3 / 3
            p.grad = p.data**2
            opt.step()
        slow = [s + 0.25 * (f - s) for s, f in zip(slow, fast, strict=True)]
        assert p.data.tolist() == pytest.approx(slow, rel=1e-14)


def test_between_its_looks_back_lookahead_leaves_the_inner_optimizer_alone():
    ps, plain = random_parameters((3,)), random_parameters((3,))
    opt, inner = Lookahead(Adam(ps, lr=0.1), k=5), Adam(plain, lr=0.1)
    for step in range(1, 6):
        train(opt, ps, 1)
        train(inner, plain, 1)
        assert (bits(ps) == bits(plain)) is (step < 5)


def test_lookahead_with_alpha_one_and_the_slow_weights_given_up_is_the_inner_optimizer():
    ps, plain = random_parameters((3,)), random_parameters((3,))
    train(Lookahead(Adam(ps, lr=0.1), k=2, alpha=1.0), ps, 9)
    train(Adam(plain, lr=0.1), plain, 9)
    assert np.allclose(ps[0].data, plain[0].data, rtol=1e-13)


def test_lookahead_of_every_step_goes_half_of_every_step():
    p = parameter([1.0])
    opt = Lookahead(SGD([p], lr=1.0), k=1)
    for expected in (0.5, 0.0):
        p.grad = np.ones(1)
        opt.step()
        assert p.data.item() == expected


def test_defaults_are_those_of_the_papers():
    inner = SGD([parameter([1.0])])
    assert (Lookahead(inner).k, Lookahead(inner).alpha, EMA(inner).decay_of_average) == (5, 0.5, 0.999)


def test_ema_is_its_definition():
    p = parameter([1.0, -2.0])
    opt = EMA(SGD([p], lr=0.1), decay=0.6)
    average = w = np.array([1.0, -2.0])
    decays = []
    for n in range(1, 13):
        p.grad = p.data**2
        opt.step()
        w = w - 0.1 * w**2
        decays.append(min(0.6, (1 + n) / (10 + n)))
        average = decays[-1] * average + (1 - decays[-1]) * w
        opt.eval()
        assert np.allclose(p.data, average, rtol=1e-14)
        opt.train()
        assert np.allclose(p.data, w, rtol=1e-14)
    assert decays[0] == 2 / 11
    assert decays[-1] == 13 / 22


def test_ema_at_its_full_decay():
    p = parameter([0.0])
    opt = EMA(SGD([p], lr=1.0), decay=0.5)
    for _ in range(8):  # (1 + 8) / (10 + 8) is a half
        p.grad = np.zeros(1)
        opt.step()
    for expected in (0.5, 1.25, 2.125):
        p.grad = np.full(1, -1.0)
        opt.step()
        opt.eval()
        assert p.data.item() == expected
        opt.train()


def test_ema_with_decay_zero_is_the_last_point():
    ps = random_parameters((3, 2), (4,))
    opt = EMA(Adam(ps, lr=0.1), decay=0.0)
    train(opt, ps, 4)
    last = [p.data.copy() for p in ps]
    opt.eval()
    assert all(np.allclose(p.data, q, rtol=1e-15) for p, q in zip(ps, last, strict=True))


def test_ema_changes_no_bit_of_the_training():
    ps, plain = random_parameters((3, 2), (4,)), random_parameters((3, 2), (4,))
    opt, inner = EMA(AdamW(ps, lr=0.1, penalty=L1(0.01))), AdamW(plain, lr=0.1, penalty=L1(0.01))
    for _ in range(6):
        train(opt, ps, 2)
        opt.eval()
        opt.train()
        train(inner, plain, 2)
        assert bits(ps) == bits(plain)


# Two points -------------------------------------------------------------------------------------------------------------


def test_eval_and_train_go_there_and_back_to_the_bit_and_may_be_repeated():
    ps = random_parameters((3, 2), (4,))
    opt = EMA(Adam(ps, lr=0.1))
    train(opt, ps, 5)
    there = bits(ps)
    assert opt.evaluating is False
    opt.eval()
    assert opt.evaluating is True
    average = bits(ps)
    assert average != there
    opt.eval()
    assert bits(ps) == average
    opt.train()
    assert opt.evaluating is False
    assert bits(ps) == there
    opt.train()
    assert bits(ps) == there


def test_before_the_first_step_both_points_are_the_same():
    ps = random_parameters((3, 2))
    before = bits(ps)
    EMA(Adam(ps)).eval()
    assert bits(ps) == before


def test_what_needs_the_training_point_is_refused_at_the_other():
    ps = random_parameters((3,))
    opt = EMA(Adam(ps, lr=0.1))
    train(opt, ps, 2)
    opt.eval()
    before = bits(ps)
    refused(opt.step, RuntimeError, r"step\(\) while the parameters hold the weights to be evaluated: call optimizer.train")
    refused(opt.state_dict, RuntimeError, r"state_dict\(\) while the parameters hold the weights to be evaluated")
    refused(
        lambda: opt.load_state_dict({}), RuntimeError, r"load_state_dict\(\) while the parameters hold the weights to be ev"
    )
    refused(
        lambda: opt.add_param_group({"params": random_parameters((2,))}),
        RuntimeError,
        r"add_param_group\(\) while the para",
    )
    assert bits(ps) == before
    opt.train()
    train(opt, ps, 1)


def test_eval_sees_weights_that_were_given_new_arrays():
    """As model.load_state_dict gives them."""
    p = parameter([1.0, 2.0])
    opt = EMA(SGD([p], lr=0.1))
    train(opt, [p], 2)
    p.data = np.array([5.0, 6.0])
    opt.eval()
    assert p.data.tolist() != [5.0, 6.0]
    opt.train()
    assert p.data.tolist() == [5.0, 6.0]


@pytest.mark.parametrize("how", ["a new array", "in place"])
@pytest.mark.parametrize("make", [lambda ps: EMA(SGD(ps, lr=0.1)), lambda ps: ScheduleFreeSGD(ps, lr=0.1)])
def test_weights_loaded_while_evaluating_are_where_training_and_the_average_go_on(make, how):
    ps = random_parameters((2,), (3,))
    opt = make([{"params": ps[:1]}, {"params": ps[1:], "lr": 0.2}])  # two slabs, of which one is loaded
    train(opt, ps, 4)
    other = ps[1].data.copy()
    opt.eval()
    if how == "in place":
        ps[0].data[...] = [5.0, 6.0]
    else:
        ps[0].data = np.array([5.0, 6.0])
    opt.train()
    assert ps[0].data.tolist() == [5.0, 6.0]
    assert np.array_equal(ps[1].data, other)
    opt.eval()
    assert ps[0].data.tolist() == [5.0, 6.0]  # the average too
    assert not np.array_equal(ps[1].data, other)


def test_a_nan_among_the_weights_is_no_sign_of_loading():
    p = parameter([np.nan, 2.0])
    opt = EMA(SGD([p], lr=0.1))
    train(opt, [p], 3)
    there = bits([p])
    opt.eval()
    opt.train()
    assert bits([p]) == there


@around_any
def test_the_average_begins_with_the_weights_of_the_first_step(around):
    """Not with those that were there when the optimizer was made: good ones may have been loaded since."""
    loaded, fresh = random_parameters((3, 2), seed=5), random_parameters((3, 2), seed=5)
    opt = around(SGD(loaded, lr=0.1))
    loaded[0].data = loaded[0].data + 10
    fresh[0].data += 10
    other = around(SGD(fresh, lr=0.1))
    for o, ps in ((opt, loaded), (other, fresh)):
        train(o, ps, 4)
        o.eval()
    assert bits(loaded) == bits(fresh)


def test_weights_loaded_before_the_first_step_are_those_that_are_evaluated():
    p = parameter([1.0, 2.0])
    opt = EMA(SGD([p], lr=0.1))
    p.data = np.array([5.0, 6.0])
    for change in (opt.eval, opt.train):
        change()
        assert p.data.tolist() == [5.0, 6.0]


def test_whoever_still_needs_the_weights_is_told_that_they_were_changed():
    """By the number of the version, which a graph compares."""
    p = SimpleNamespace(data=np.ones(2), grad=None, version=0)
    opt = EMA(SGD([p]))
    train(opt, [p], 1)
    before = p.version
    opt.eval()
    opt.eval()
    assert p.version == before + 1
    opt.train()
    assert p.version == before + 2
    look = Lookahead(SGD([p]), k=2)
    train(look, [p], 1)
    before = p.version
    train(look, [p], 1)
    assert p.version == before + 2  # the step, and the look back


# An optimizer around another --------------------------------------------------------------------------------------------


@around_any
def test_it_is_an_optimizer(around):
    a, b = random_parameters((3,), (2,))
    inner = Adam([("a", a)], lr=0.1, weight_decay=0.5)
    opt = around(inner)
    opt.add_param_group({"params": [("b", b)], "lr": 0.3})
    assert opt.param_groups is inner.param_groups
    assert [g["lr"] for g in opt.param_groups] == [0.1, 0.3]
    train(opt, [a, b], 4)
    assert (opt.steps, inner.steps) == (4, 4)
    assert opt.penalty_value() == inner.penalty_value() > 0
    opt.lr = 0.2
    assert (opt.lr, inner.lr) == (0.2, 0.2)
    opt.zero_grad()
    assert a.grad is None
    assert "Adam(lr=0.2" in repr(opt)
    with pytest.warns(UserWarning, match="no parameter has a gradient"):
        opt.step()
    assert opt.steps == 4
    with pytest.raises(AttributeError):
        opt.nothing_of_the_sort  # noqa: B018


@around_any
def test_settings_are_the_inner_ones(around):
    (p,) = random_parameters((3,))
    inner = SGD([p], lr=0.1)
    for opt in (around(inner), EMA(around(inner)) if around is AROUND["lookahead"] else around(Lookahead(inner))):
        opt.clip, opt.on_nonfinite = ClipNorm(1e-6), "skip"
        assert (inner.clip, inner.on_nonfinite) == (ClipNorm(1e-6), "skip")
        before = p.data.copy()
        p.grad = np.ones(3)
        opt.step()
        assert 0 < np.abs(p.data - before).max() < 1e-6
        assert opt.grad_norm == inner.grad_norm == pytest.approx(3**0.5)
        p.grad = np.full(3, np.nan)
        opt.step()
        opt.note, opt.zero_grad = "mine", lambda: None  # a method, too, is replaced where it was said
        assert not {"note", "zero_grad"} & vars(inner).keys()
        inner.clip, inner.on_nonfinite = None, "raise"


def test_each_of_two_around_another_keeps_what_is_its_own():
    (p,) = random_parameters((3,))
    opt = Lookahead(Lookahead(SGD([p], lr=0.1), k=3, alpha=0.25), k=2)
    assert (opt.k, opt.alpha, opt.optimizer.k, opt.optimizer.alpha) == (2, 0.5, 3, 0.25)
    opt.k = 4
    assert (opt.k, opt.optimizer.k) == (4, 3)
    assert opt.copies is not opt.optimizer.copies


@around_any
def test_a_step_that_was_left_out_does_not_count(around):
    ps, same = random_parameters((3,)), random_parameters((3,))
    opt, other = around(SGD(ps, lr=0.1, on_nonfinite="skip")), around(SGD(same, lr=0.1))
    for _ in range(4):
        ps[0].grad = np.array([1.0, np.nan, 0.0])
        opt.step()
        ps[0].grad, same[0].grad = np.ones(3), np.ones(3)
        opt.step()
        other.step()
    assert (opt.steps, opt.skipped) == (4, 4)
    opt.eval()
    other.eval()
    assert bits(ps) == bits(same)


@around_any
def test_a_nonfinite_gradient_raises_and_changes_nothing(around):
    ps = random_parameters((3,))
    opt = around(Adam([("w", ps[0])]))
    train(opt, ps, 2)
    before = pickle.dumps((bits(ps), opt.state_dict()))
    ps[0].grad = np.array([np.inf, 0, 0])
    refused(opt.step, NonfiniteGradientError, "the gradient of 'w' has an infinity at step 3")
    assert pickle.dumps((bits(ps), opt.state_dict())) == before


@around_any
@pytest.mark.parametrize("reverse", [False, True], ids=["same order", "other order"])
def test_a_state_goes_on_with_the_same_bits(around, reverse):
    ps = random_parameters((5, 3), (4,), ())
    opt = around(Adam([(f"layer.{i}", p) for i, p in enumerate(ps)], lr=0.1))
    train(opt, ps, 37)
    saved = opt.state_dict()
    frozen = pickle.dumps(saved)
    later = [SimpleNamespace(data=p.data.copy(), grad=None) for p in ps]
    pairs = [(f"layer.{i}", p) for i, p in enumerate(later)]
    resumed = around(Adam(pairs[::-1] if reverse else pairs, lr=0.5))
    resumed.load_state_dict(saved)
    for o, parameters in ((opt, ps), (resumed, later)):
        train(o, parameters, 50)
    assert bits(ps) == bits(later)
    assert pickle.dumps(saved) == frozen
    opt.eval()
    resumed.eval()
    assert bits(ps) == bits(later)


def test_a_state_of_something_else_is_refused():
    def trained(make):
        ps = random_parameters((3,))
        opt = make(ps)
        train(opt, ps, 2)
        return opt

    look = trained(lambda ps: Lookahead(Adam(ps)))
    for other, message in (
        (trained(Adam), r"the state is of Adam, this optimizer is Lookahead\(Adam\)"),
        (trained(lambda ps: EMA(Adam(ps))), r"the state is of EMA\(Adam\), this optimizer is Lookahead\(Adam\)"),
        (
            trained(lambda ps: Lookahead(AdamW(ps))),
            r"the state is of Lookahead\(AdamW\), this optimizer is Lookahead\(Adam\)",
        ),
    ):
        saved = other.state_dict()
        refused(lambda saved=saved: look.load_state_dict(saved), ValueError, message)


@around_any
@pytest.mark.parametrize("how", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
def test_a_copy_goes_on_by_itself(around, how):
    ps = random_parameters((3, 2), (4,))
    opt = around(Adam(ps, lr=0.1))
    train(opt, ps, 4)
    copies, copied = how((ps, opt))
    before = bits(ps)
    train(copied, copies, 5)
    copied.eval()
    assert bits(ps) == before
    train(opt, ps, 5)
    opt.eval()
    assert bits(copies) == bits(ps) != before


def test_an_average_of_looking_ahead():
    ps, plain = random_parameters((3,)), random_parameters((3,))
    opt, look = EMA(Lookahead(SGD(ps, lr=0.1), k=2), decay=0.5), Lookahead(SGD(plain, lr=0.1), k=2)
    train(opt, ps, 5)
    train(look, plain, 5)
    assert bits(ps) == bits(plain)
    opt.eval()
    assert bits(ps) != bits(plain)
    saved = (opt.train(), opt.state_dict())[1]
    assert saved["optimizer"] == "EMA(Lookahead(SGD))"
    assert set(saved["state"]) == {"ema", "lookahead"}


def test_float32_stays_float32():
    for around in AROUND.values():
        ps = random_parameters((3,), dtype="float32")
        opt = around(Adam(ps, lr=0.1))
        train(opt, ps, 7)
        opt.eval()
        assert ps[0].data.dtype == "float32"
        assert all(a.dtype == "float32" for a in opt.copies)


# Bad input --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda inner: Lookahead([1.0]),
            TypeError,
            r"Lookahead goes around an optimizer, such as Adam\(params\), got \[1.0\]",
        ),
        (lambda inner: EMA(Adam), TypeError, r"EMA goes around an optimizer, such as Adam\(params\), got <class"),
        (
            lambda inner: Lookahead(inner, k=0),
            ValueError,
            "Lookahead: k must be a whole number of steps, at least 1, got 0",
        ),
        (lambda inner: Lookahead(inner, k=2.5), ValueError, "Lookahead: k must be a whole number .* got 2.5"),
        (lambda inner: Lookahead(inner, k=True), ValueError, "Lookahead: k must be a whole number .* got True"),
        (lambda inner: Lookahead(inner, alpha=0), ValueError, r"Lookahead: alpha must lie in \(0, 1\], got 0"),
        (lambda inner: Lookahead(inner, alpha=1.5), ValueError, r"Lookahead: alpha must lie in \(0, 1\], got 1.5"),
        (lambda inner: Lookahead(inner, alpha="half"), ValueError, r"Lookahead: alpha must lie in \(0, 1\], got 'half'"),
        (lambda inner: EMA(inner, decay=1), ValueError, r"EMA: decay must lie in \[0, 1\), got 1"),
        (lambda inner: EMA(inner, decay=-0.1), ValueError, r"EMA: decay must lie in \[0, 1\), got -0.1"),
        (lambda inner: EMA(inner, decay=float("nan")), ValueError, r"EMA: decay must lie in \[0, 1\), got nan"),
        (lambda inner: Lookahead(EMA(inner)), TypeError, r"Lookahead\(EMA\): .* let EMA be the outermost"),
        (lambda inner: EMA(EMA(inner)), TypeError, r"EMA\(EMA\): .* let EMA be the outermost"),
        (
            lambda inner: EMA(ScheduleFreeSGD(random_parameters((2,)))),
            TypeError,
            r"EMA\(ScheduleFreeSGD\): .* is evaluated at another point than it trains at",
        ),
        (
            lambda inner: EMA(LBFGS(random_parameters((2,)))),
            TypeError,
            r"EMA\(LBFGS\): LBFGS asks for the loss several times in a step of its own, and nothing can go around it",
        ),
        (lambda inner: Lookahead(ScheduleFreeSGD(random_parameters((2,)))), TypeError, r"Lookahead\(ScheduleFreeSGD\): "),
    ],
)
def test_refused_with_a_clear_message(make, error, message):
    refused(lambda: make(SGD([parameter([1.0])])), error, message)
