"""What all optimizers share: flat buffers, gradients that are missing or not finite, groups, schedules, and states.

The parameters here are bare objects with .data and .grad, which is all that the optimizers ask for; one test uses the
engine's tensors.
"""

import copy
import json
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from every import EVERY, suited

import optimizers.base
from optimizers import (
    EMA,
    L1,
    L2,
    SGD,
    AdaBelief,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    ElasticNet,
    Lion,
    Muon,
    NAdam,
    NonfiniteGradientError,
    Optimizer,
    RAdam,
    RMSprop,
    Rprop,
    ScheduleFreeAdamW,
    ScheduleFreeSGD,
)
from optimizers.clipping import ClipNorm
from optimizers.projections import Box

every_optimizer = pytest.mark.parametrize("name", EVERY)


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


# Flat buffers ---------------------------------------------------------------------------------------------------------


def test_data_become_views_of_one_array_with_their_values():
    ps = random_parameters((3, 2), (4,), ())
    before = [p.data.copy() for p in ps]
    SGD(ps)
    base = ps[0].data.base
    assert base.shape == (11,)
    for p, values in zip(ps, before, strict=True):
        assert p.data.base is base
        assert p.data.shape == values.shape
        assert np.array_equal(p.data, values)


def test_a_transposed_parameter_keeps_its_values():
    values = np.arange(6.0).reshape(2, 3)
    p = SimpleNamespace(data=values.T, grad=np.ones((3, 2)))
    SGD([p], lr=0.5).step()
    assert np.array_equal(p.data, values.T - 0.5)


def test_a_grad_buffer_is_offered_and_read():
    p = SimpleNamespace(data=np.zeros(3), grad=None, grad_buffer=None)
    opt = SGD([p], lr=1.0)
    assert p.grad_buffer.shape == (3,)
    p.grad = p.grad_buffer
    p.grad[...] = [1, 2, 3]
    opt.step()
    assert p.data.tolist() == [-1, -2, -3]


def test_a_gradient_in_an_array_of_its_own_is_left_alone():
    p = parameter([1.0, 2.0])
    p.grad = mine = np.array([1.0, 1.0])
    SGD([p], lr=1.0, momentum=0.9, weight_decay=0.5).step()
    assert p.grad is mine
    assert mine.tolist() == [1.0, 1.0]


@every_optimizer
def test_a_new_array_in_data_is_taken_back(name):
    shapes = suited(name, [(3, 2), (4,)])
    ps, twins = random_parameters(*shapes), random_parameters(*shapes)
    opt, twin_opt = EVERY[name](ps), EVERY[name](twins)
    train(opt, ps, 3)
    train(twin_opt, twins, 3)
    view = ps[0].data
    ps[0].data = np.full((3, 2), 7.0)
    twins[0].data[...] = 7.0
    train(opt, ps, 2)
    train(twin_opt, twins, 2)
    assert ps[0].data is view
    assert bits(ps) == bits(twins)


def test_a_zero_dimensional_parameter_may_be_replaced_by_a_numpy_scalar():
    p = parameter(3.0)
    opt = SGD([p], lr=1.0)
    p.data = p.data * 2  # NumPy makes a np.float64 of this, not an array
    p.grad = np.array(1.0)
    opt.step()
    assert float(p.data) == 5.0


def test_a_changed_shape_is_an_error():
    p = parameter([1.0, 2.0])
    opt = SGD([("w", p)])
    p.data = np.zeros(3)
    p.grad = np.zeros(3)
    with pytest.raises(ValueError, match=r"'w' changed its shape from \(2,\) to \(3,\).*make the optimizer afterwards"):
        opt.step()


def test_a_changed_dtype_is_an_error_and_no_digits_are_lost_silently():
    p = parameter([1.0, 2.0], "float32")
    opt = SGD([("w", p)])
    p.data = p.data.astype("float64")
    p.grad = np.zeros(2, "float32")
    with pytest.raises(ValueError, match=r"'w' changed its dtype from float32 to float64.*make the optimizer afterwards"):
        opt.step()


def test_a_gradient_of_another_shape_is_an_error_and_is_not_broadcast():
    p = parameter([1.0, 2.0])
    opt = SGD([("w", p)])
    p.grad = np.array(1.0)
    with pytest.raises(ValueError, match=r"gradient of 'w' has shape \(\), the parameter \(2,\)"):
        opt.step()


def test_a_gradient_that_is_no_array_is_an_error_that_says_what_to_assign():
    p = parameter([1.0, 2.0])
    opt = SGD([("w", p)])
    for bad, kind in (([1.0, 1.0], "list"), (1.0, "float")):
        p.grad = bad
        with pytest.raises(TypeError, match=f"gradient of 'w' must be an array, got {kind}"):
            opt.step()
    p.grad = type("Tensor", (), {"shape": (2,), "data": np.ones(2), "requires_grad": False})()
    with pytest.raises(TypeError, match=r"gradient of 'w' must be an array, got Tensor: assign its \.data"):
        opt.step()
    assert p.data.tolist() == [1.0, 2.0]


@every_optimizer
def test_slices_of_any_size_give_the_same_bits(name, monkeypatch):
    results = []
    for elements in (1, 7, 1000, 10**6):
        monkeypatch.setattr(optimizers.slab, "SLICE", 4 * elements)  # bytes
        ps = random_parameters(*suited(name, [(17, 5), (1,), (), (30, 31)]), dtype="float32")
        opt = EVERY[name](ps)
        train(opt, ps, 3)
        results.append(bits(ps))
    assert all(result == results[0] for result in results)


@every_optimizer
def test_together_or_each_alone_gives_the_same_bits(name):
    shapes = suited(name, [(17, 5), (3,), ()])
    ps, alone = random_parameters(*shapes), random_parameters(*shapes)
    opt = EVERY[name](ps)
    train(opt, ps, 5)
    for i, p in enumerate(alone):
        single = EVERY[name]([p])
        for k in range(5):
            p.grad = np.random.default_rng((1, k, i)).standard_normal(p.data.shape)
            single.step()
    assert bits(ps) == bits(alone)


def test_two_optimizers_may_take_turns_on_a_parameter():
    p = parameter([0.0])
    first, second = SGD([p], lr=1.0), SGD([p], lr=10.0)
    for opt in (first, second, first):
        p.grad = np.ones(1)
        opt.step()
    assert p.data.tolist() == [-12.0]


@every_optimizer
@pytest.mark.parametrize("how", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
def test_a_copy_goes_on_moving_its_own_parameters(name, how):
    ps = random_parameters(*suited(name, [(3, 2), (4,)]))
    opt = EVERY[name](ps)
    train(opt, ps, 3)
    ps[0].data = ps[0].data + 1  # not taken back yet
    copies, copied = how((ps, opt))
    train(copied, copies, 3)
    before = bits(ps)
    assert bits(copies) != before
    train(opt, ps, 3)
    assert bits(copies) == bits(ps) != before


def test_mixed_dtypes_stay_what_they_are():
    single, double = random_parameters((5,), dtype="float32"), random_parameters((5,), seed=3)
    ps = [single[0], double[0]]
    opt = Adam(ps, lr=np.float64(0.1), penalty=ElasticNet(np.float64(0.1), 0.1, "coupled"))
    train(opt, ps, 3)
    assert [p.data.dtype for p in ps] == ["float32", "float64"]
    alone = random_parameters((5,), dtype="float32")
    train(Adam(alone, lr=0.1, penalty=ElasticNet(0.1, 0.1, "coupled")), alone, 3)
    assert bits(single) == bits(alone)  # a NumPy float64 as a setting does not bring float64 arithmetic in


@every_optimizer
def test_float32_stays_float32_and_so_does_every_state(name):
    ps = random_parameters(*suited(name, [(5, 3), ()]), dtype="float32")
    opt = EVERY[name](ps)
    train(opt, ps, 5)
    assert {p.data.dtype.name for p in ps} == {"float32"}
    assert {a.dtype.name for of in opt.state_dict()["state"].values() for a in of.values()} <= {"float32"}
    opt.eval()
    assert {p.data.dtype.name for p in ps} == {"float32"}


@every_optimizer
def test_float32_and_float64_move_alike(name):
    """What is computed in float32 is the same rule: no step is lost, or taken with another constant."""
    shapes = suited(name, [(5, 3), (4,)])
    single, double = random_parameters(*shapes, dtype="float32"), random_parameters(*shapes)
    for ps in (single, double):
        train(EVERY[name](ps), ps, 20)
    for p, q in zip(single, double, strict=True):
        assert np.allclose(p.data, q.data, rtol=1e-5, atol=1e-5)


# Clipping and projections, where a step uses them ------------------------------------------------------------------------


def test_clip_sees_the_gradients_of_all_groups_before_any_decay():
    a, b, c = parameter([1.0, 0.0]), parameter([0.0]), parameter([7.0])
    opt = SGD([{"params": [a, c]}, {"params": [b], "lr": 10.0}], lr=1.0, weight_decay=0.5, clip=ClipNorm(1.0))
    assert opt.grad_norm is None
    a.grad, b.grad, c.grad = np.array([3.0, 0.0]), np.array([4.0]), None
    opt.step()
    assert float(opt.grad_norm) == 5.0
    assert np.allclose(a.data, [1 - 0.6 - 0.5, 0.0], rtol=1e-15)  # the gradient is shortened to 3/5, the decay is not
    assert np.allclose(b.data, [-8.0], rtol=1e-15)
    assert c.data.tolist() == [7.0]
    assert (a.grad.tolist(), b.grad.tolist()) == ([3.0, 0.0], [4.0])  # arrays of the user's own are left alone


def test_clip_is_not_asked_where_a_gradient_is_not_finite():
    p = parameter([1.0])
    opt = SGD([p], clip=lambda pairs: 1 / 0, on_nonfinite="skip")
    p.grad = np.array([np.nan])
    opt.step()
    assert (opt.skipped, p.data.tolist()) == (1, [1.0])


@pytest.mark.parametrize("name", [name for name in EVERY if not name.startswith("schedule-free")])
def test_a_projection_comes_last_and_holds_for_all_that_moved(name):
    """After the step, the decay and the proximal penalty; a parameter without a gradient is left where it was."""
    a, b, c = (parameter(np.full(shape, 5.0)) for shape in suited(name, [(3,), (2,), (4,)]))
    c.data *= -1
    opt = EVERY[name]([("a", a), ("b", b), ("c", c)], projection=Box(-0.3, 0.2))
    for k in range(7):
        for p in (a, c):
            p.grad = np.where(np.arange(p.data.size) % 2, 10.0, -10.0).reshape(p.data.shape)
        opt.step()
        assert all(np.all((p.data >= -0.3) & (p.data <= 0.2)) for p in (a, c))
        if k == 0:
            assert (a.data == 0.2).all()
            assert (c.data == -0.3).all()
    assert (b.data == 5.0).all() or name == "lookahead"  # which averages all that there is
    opt.eval()
    assert all(np.all((p.data >= -0.3) & (p.data <= 0.2)) for p in (a, c))


def test_a_projection_for_some_of_the_parameters():
    w, b = parameter([[0.0]]), parameter([0.0])
    opt = SGD([("w", w), ("b", b)], lr=1.0, projection=Box(-1, 1, only=lambda name, p: name == "w"))
    w.grad, b.grad = np.full((1, 1), -3.0), np.full(1, -3.0)
    opt.step()
    assert (w.data.item(), b.data.item()) == (1.0, 3.0)


# Gradients that are not there -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in EVERY if name != "lookahead"])
def test_no_gradient_means_no_move_and_no_update_counted(name):
    """Lookahead looks back every k steps of its own, whoever moved in them."""
    shapes = suited(name, [(3,), (2,), (4,)])
    ps, alone = random_parameters(*shapes), random_parameters(*shapes)
    opt = EVERY[name]([("a", ps[0]), ("b", ps[1]), ("c", ps[2])])
    only_b = EVERY[name]([alone[1]])
    for k in range(6):
        for i, p in enumerate(ps):
            p.grad = None if i == 1 and k in (0, 3, 4) else np.full(p.data.shape, (-1.0) ** k * (k + 1.0))
        before = ps[1].data.copy()
        opt.step()
        if ps[1].grad is None:
            assert np.array_equal(ps[1].data, before)  # not even weight decay
        else:
            alone[1].grad = np.full(shapes[1], (-1.0) ** k * (k + 1.0))
            only_b.step()
    assert opt.state_dict()["updates"] == {"a": 6, "b": 3, "c": 6}
    assert bits([ps[1]]) == bits([alone[1]])  # its bias correction counts its own updates


@every_optimizer
def test_frozen_parameters_are_passed_over(name):
    """Frozen from the first step on, or in the middle of training, and thawed again: as in PyTorch."""
    shapes = suited(name, [(3,), (2,), (4,)])
    ps, alone = random_parameters(*shapes), random_parameters(*shapes)
    for p in ps:
        p.requires_grad = True
    ps[1].requires_grad = False
    opt = EVERY[name]([("a", ps[0]), ("b", ps[1]), ("c", ps[2])])
    others = EVERY[name]([("a", alone[0]), ("c", alone[2])])
    before = bits([ps[1]])
    train(opt, [ps[0]], 3)
    ps[0].grad, ps[0].requires_grad = None, False
    kept = {key: of["a"] for key, of in opt.state_dict()["state"].items()}
    for _ in range(2):
        ps[2].grad = np.ones(shapes[2])
        opt.step()
    assert bits([ps[1]]) == before
    saved = opt.state_dict()
    assert saved["updates"] == {"a": 3, "b": 0, "c": 2}
    if name != "lookahead" and name != "ema":  # whose averages go on
        assert all(np.array_equal(kept[key], of["a"]) for key, of in saved["state"].items())
    train(others, [alone[0]], 3)
    alone[0].grad = None
    for _ in range(2):
        alone[2].grad = np.ones(shapes[2])
        others.step()
    assert bits([ps[0], ps[2]]) == bits([alone[0], alone[2]])
    opt.load_state_dict(saved)
    ps[1].requires_grad, ps[1].grad = True, np.ones(shapes[1])
    opt.step()
    assert bits([ps[1]]) != before


def test_a_first_velocity_is_undampened_whenever_it_comes():
    late, other = parameter([0.0]), parameter([0.0])
    opt = SGD([late, other], lr=1.0, momentum=0.9, dampening=0.5)
    other.grad = np.ones(1)
    opt.step()
    late.grad = np.ones(1)
    opt.step()
    assert late.data.tolist() == [-1.0]


def test_warns_once_if_no_parameter_has_a_gradient():
    p = parameter([1.0])
    opt = SGD([p])
    with pytest.warns(UserWarning, match=r"no parameter has a gradient.*backward\(\)") as caught:
        opt.step()
    assert caught[0].filename == __file__
    opt.step()  # a second warning would be an error here
    assert p.data.tolist() == [1.0]
    assert opt.steps == 0


def test_a_closure_is_called_before_the_step_and_its_loss_is_the_answer():
    p = parameter([3.0])
    opt = SGD([p], lr=0.5)

    def closure():
        opt.zero_grad()
        p.grad = 2 * p.data
        return float(p.data[0] ** 2)

    assert opt.step(closure) == 9.0
    assert p.data.tolist() == [0.0]
    assert opt.step() is None
    with pytest.raises(TypeError, match=r"step\(closure\): closure must be a function .*answers the loss, got 0.5"):
        opt.step(0.5)


def test_zero_grad_forgets_the_gradients():
    ps = random_parameters((3,), (2,))
    opt = SGD(ps)
    for p in ps:
        p.grad = np.ones_like(p.data)
    opt.zero_grad()
    assert [p.grad for p in ps] == [None, None]


@pytest.mark.parametrize(("bad", "word"), [(np.nan, "a nan"), (np.inf, "an infinity"), (-np.inf, "an infinity")])
def test_nonfinite_raises_with_the_name_and_changes_nothing(bad, word):
    good, ill = random_parameters((3,), (2, 2))
    opt = Adam([("good", good), ("ill", ill)])
    train(opt, [good, ill], 2)
    before, state = bits([good, ill]), pickle.dumps(opt.state_dict())
    good.grad, ill.grad = np.ones(3), np.ones((2, 2))
    ill.grad[1, 0] = bad
    with pytest.raises(NonfiniteGradientError, match=f"'ill' has {word} at step 3; nothing was changed.*on_nonfinite"):
        opt.step()
    assert bits([good, ill]) == before
    assert pickle.dumps(opt.state_dict()) == state
    assert opt.skipped == 0


def test_nonfinite_names_the_parameter_that_has_it_now():
    first, second = random_parameters((3,), (2,))
    opt = SGD([("first", first), ("second", second)])
    for name, p, other in (("first", first, second), ("second", second, first)):
        p.grad, other.grad = np.full_like(p.data, np.nan), None
        with pytest.raises(NonfiniteGradientError, match=f"'{name}'"):
            opt.step()


def test_nonfinite_skip_leaves_the_whole_step_out_and_counts_it():
    ps = random_parameters((3,), (2,))
    opt = Adam(ps, on_nonfinite="skip")
    train(opt, ps, 1)
    before, state = bits(ps), pickle.dumps(opt.state_dict())
    ps[0].grad, ps[1].grad = np.ones(3), np.array([1.0, np.nan])
    opt.step()
    assert bits(ps) == before
    assert pickle.dumps({**opt.state_dict(), "skipped": 0}) == state
    assert (opt.steps, opt.skipped) == (1, 1)


def test_nonfinite_ignore_goes_on():
    p = parameter([1.0, 1.0])
    opt = SGD([p], lr=1.0, on_nonfinite="ignore")
    p.grad = np.array([np.nan, 1.0])
    opt.step()
    assert np.array_equal(p.data, [np.nan, 0.0], equal_nan=True)
    assert (opt.steps, opt.skipped) == (1, 0)


def test_an_old_nonfinite_gradient_that_was_forgotten_does_no_harm():
    ps = random_parameters((3,), (2,))
    opt = SGD(ps, on_nonfinite="skip")
    ps[0].grad = np.full(3, np.nan)
    opt.step()
    opt.zero_grad()
    ps[1].grad = np.ones(2)
    opt.step()
    assert (opt.steps, opt.skipped) == (1, 1)


# Groups and hyperparameters -------------------------------------------------------------------------------------------


def test_groups_with_settings_of_their_own():
    a, b = parameter([0.0]), parameter([0.0])
    opt = SGD([{"params": [a]}, {"params": [b], "lr": 10.0}], lr=1.0)
    a.grad = b.grad = np.ones(1)
    opt.step()
    assert (a.data.item(), b.data.item()) == (-1.0, -10.0)


def test_momentum_of_one_group_only():
    a, b = parameter([0.0]), parameter([0.0])
    opt = SGD([{"params": [a]}, {"params": [b], "momentum": 0.5}], lr=1.0)
    for _ in range(2):
        a.grad = b.grad = np.ones(1)
        opt.step()
    assert (a.data.item(), b.data.item()) == (-2.0, -2.5)
    assert list(opt.state_dict()["state"]["momentum_buffer"]) == ["parameter 1"]


def test_momentum_that_comes_too_late_is_an_error_not_ignored():
    p = parameter([0.0])
    opt = SGD([("w", p)], lr=1.0)
    opt.param_groups[0]["momentum"] = 0.9
    p.grad = np.ones(1)
    with pytest.raises(ValueError, match=r"'w' were changed and now need a momentum_buffer.*when the optimizer is made"):
        opt.step()
    assert p.data.tolist() == [0.0]


@pytest.mark.parametrize(
    ("kind", "options", "without"),
    [
        (SGD, {"momentum": 0.5}, {"momentum": 0.0}),
        (RMSprop, {"momentum": 0.5}, {"momentum": 0.0}),
        (RMSprop, {"momentum": 0.5, "centered": True}, {"momentum": 0.0}),
        (RMSprop, {"momentum": 0.5, "centered": True}, {"momentum": 0.0, "centered": False}),
        (Adam, {"amsgrad": True, "betas": (0.5, 0.5)}, {"amsgrad": False}),
    ],
)
def test_what_has_a_state_of_its_own_may_be_taken_away(kind, options, without):
    """Once taken away, it makes no difference what was in that state."""
    ps, plain = random_parameters((4,)), random_parameters((4,))
    opt, other = kind(ps, lr=0.1, **options), kind(plain, lr=0.1, **{**options, **without})
    train(opt, ps, 3)
    train(other, plain, 3)
    ps[0].data[...] = plain[0].data
    opt.param_groups[0].update(without)
    train(opt, ps, 3)
    train(other, plain, 3)
    assert np.allclose(ps[0].data, plain[0].data, rtol=1e-14)


@pytest.mark.parametrize("options", [{}, {"centered": True}])
def test_the_buffer_of_rmsprop_is_kept_while_a_schedule_says_momentum_zero(options):
    """b <- momentum b + g / size holds with momentum 0 too: the next step starts from this one's b."""
    p = parameter([0.0])
    opt = RMSprop([p], lr=1.0, momentum=lambda k: 0.0 if k < 2 else 0.5, alpha=0.5, eps=1e-12, **options)
    square, mean, b, expected = 0.0, 0.0, 0.0, 0.0
    for k, g in enumerate([1.0, 3.0, -2.0, 1.0]):
        p.grad = np.array([g])
        opt.step()
        square, mean = (square + g * g) / 2, (mean + g) / 2
        b = (0.0 if k < 2 else 0.5) * b + g / (square - mean * mean if options else square) ** 0.5
        expected -= b
        assert p.data.item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("key", "other"), [("penalty", L1(0.5)), ("projection", Box(0, 1)), ("penalty", None)])
def test_penalty_and_projection_cannot_be_changed_and_say_so(key, other):
    p = parameter([1.0, 2.0])
    opt = SGD([("w", p)], penalty=L1(0.1))
    opt.param_groups[0][key] = other
    p.grad = np.ones(2)
    with pytest.raises(
        ValueError, match=f"the {key} of 'w' was changed after the optimizer was made.*make a new optimizer"
    ):
        opt.step()
    assert p.data.tolist() == [1.0, 2.0]
    opt = copy.deepcopy(SGD([p], penalty=L1(0.1)))
    q = opt.param_groups[0]["params"][0]
    q.grad = np.ones(2)
    opt.step()  # a copy's penalty is another object, and is nobody's change


def test_add_param_group_in_the_middle():
    a, b = random_parameters((3,), (2,))
    opt = Adam([a], lr=0.1)
    train(opt, [a], 4)
    opt.add_param_group({"params": [b], "lr": 0.2})
    alone = random_parameters((3,), (2,))[1]
    fresh = Adam([alone], lr=0.2)
    for _ in range(3):
        a.grad, b.grad, alone.grad = np.ones(3), np.ones(2), np.ones(2)
        opt.step()
        fresh.step()
    assert opt.state_dict()["updates"] == {"parameter 0": 7, "parameter 1": 3}
    assert bits([b]) == bits([alone])


def test_a_group_may_be_a_generator_and_a_single_parameter():
    a, b = random_parameters((3,), (2,))
    opt = SGD([{"params": (p for p in [a])}, {"params": b}])
    assert [g["params"] for g in opt.param_groups] == [[a], [b]]


@pytest.mark.parametrize(
    ("make", "key"),
    [(lambda ps, **kw: SGD(ps, momentum=kw.pop("momentum", 0.5), **kw), k) for k in ("lr", "momentum", "weight_decay")]
    + [(lambda ps, **kw: SGD(ps, momentum=0.5, **kw), "dampening"), (AdamW, "lr"), (AdamW, "weight_decay"), (Adam, "eps")]
    + [(Adagrad, "lr"), (Adagrad, "lr_decay"), (Adagrad, "eps"), (Adadelta, "lr"), (Adadelta, "rho"), (Adadelta, "eps")]
    + [(RMSprop, "lr"), (RMSprop, "alpha"), (RMSprop, "momentum"), (Adamax, "lr"), (Adamax, "eps"), (NAdam, "lr")]
    + [(NAdam, "momentum_decay"), (RAdam, "lr"), (AdaBelief, "eps"), (AdaBelief, "weight_decay"), (Lion, "lr")]
    + [(Lion, "weight_decay"), (Muon, "lr"), (Muon, "momentum"), (Muon, "weight_decay"), (ScheduleFreeSGD, "lr")]
    + [(ScheduleFreeAdamW, "lr"), (ScheduleFreeAdamW, "eps"), (ScheduleFreeAdamW, "weight_decay")],
)
def test_any_number_may_be_a_schedule(make, key):
    def schedule(k):
        return 0.05 + 0.1 * k

    ps, by_hand = random_parameters((2, 3)), random_parameters((2, 3))
    opt, same = make(ps, **{key: schedule}), make(by_hand, **{key: schedule(0)})
    for k in range(5):
        same.param_groups[0][key] = schedule(k)
        train(opt, ps, 1)
        train(same, by_hand, 1)
    assert bits(ps) == bits(by_hand)
    fixed = random_parameters((2, 3))
    train(make(fixed, **{key: schedule(0)}), fixed, 5)
    assert bits(fixed) != bits(ps)


@pytest.mark.parametrize(
    ("kind", "key", "pair"),
    [(kind, "betas", lambda k: (0.9 - 0.2 * k, 0.9)) for kind in (Adam, AdamW, Adamax, NAdam, RAdam, AdaBelief)]
    + [
        (Lion, "betas", lambda k: (0.9 if k < 2 else 0.0, 0.1)),
        (Rprop, "etas", lambda k: (0.5 + 0.1 * k, 1.2 + k)),
        (Rprop, "step_sizes", lambda k: (0.01 * (k + 1), 1.0 + k)),
    ],
)
def test_each_of_a_pair_may_be_a_schedule(kind, key, pair):
    ps, by_hand, fixed = random_parameters((3,)), random_parameters((3,)), random_parameters((3,))
    opt = kind(ps, **{key: tuple((lambda k, i=i: pair(k)[i]) for i in range(2))})
    same = kind(by_hand, **{key: pair(0)})
    for k in range(4):
        same.param_groups[0][key] = pair(k)
        train(opt, ps, 1)
        train(same, by_hand, 1)
    assert bits(ps) == bits(by_hand)
    train(kind(fixed, **{key: pair(0)}), fixed, 4)
    assert bits(fixed) != bits(ps)


def test_a_pair_that_becomes_one_number_is_refused_before_anything_moves():
    p = parameter([1.0])
    opt = Adam([p])
    opt.param_groups[0]["betas"] = 0.9
    p.grad = np.ones(1)
    with pytest.raises(TypeError, match=r"betas must be a tuple of 2 numbers such as \(0.9, 0.999\), got 0.9"):
        opt.step()
    assert p.data.tolist() == [1.0]


def test_weight_decay_that_comes_later_beside_an_l2_penalty_is_refused():
    p = parameter([1.0])
    opt = SGD([p], penalty=L2(0.1))
    opt.param_groups[0]["weight_decay"] = 0.1
    p.grad = np.ones(1)
    with pytest.raises(ValueError, match="weight_decay=0.1 and an L2 penalty are the same thing and would count twice"):
        opt.step()
    assert p.data.tolist() == [1.0]


def test_lr_is_what_the_next_step_uses():
    p = parameter([0.0])
    opt = SGD([p], lr=lambda k: [4.0, 2.0, 1.0][k])
    seen = []
    for _ in range(2):
        seen.append(opt.lr)
        p.grad = np.ones(1)
        before = p.data.item()
        opt.step()
        assert before - p.data.item() == seen[-1]
    assert [*seen, opt.lr] == [4.0, 2.0, 1.0]


def test_setting_lr_sets_it_in_every_group():
    a, b = parameter([0.0]), parameter([0.0])
    opt = SGD([{"params": [a]}, {"params": [b], "lr": 10.0}], lr=1.0)
    opt.lr = 2.0
    a.grad = b.grad = np.ones(1)
    opt.step()
    assert (opt.lr, a.data.item(), b.data.item()) == (2.0, -2.0, -2.0)
    opt.lr = lambda k: k + 1.0
    assert opt.lr == 2.0


def test_a_bad_value_from_a_schedule_stops_the_step_before_anything_moved():
    a, b = parameter([0.0]), parameter([0.0])
    opt = SGD([{"params": [a]}, {"params": [b], "lr": lambda k: 1.0 - k}], lr=1.0)
    for expected in ([-1.0, -1.0], [-2.0, -1.0]):
        a.grad = b.grad = np.ones(1)
        opt.step()
        assert [a.data.item(), b.data.item()] == expected
    with pytest.raises(ValueError, match=r"lr must lie in \[0, inf\), got -1.0"):
        opt.step()
    assert [a.data.item(), b.data.item()] == [-2.0, -1.0]


def test_penalty_value_adds_up_groups_and_weight_decay():
    a, b, c = parameter([1.0, -2.0]), parameter([3.0]), parameter([4.0])
    groups = [
        {"params": [a], "penalty": L1(0.5)},
        {"params": [b], "penalty": L2(2.0)},
        {"params": [c], "weight_decay": 0.1},
    ]
    assert SGD(groups).penalty_value() == pytest.approx(0.5 * 3 + 2 / 2 * 9 + 0.1 / 2 * 16, rel=1e-15)
    assert SGD([parameter([1.0])]).penalty_value() == 0.0


def defaults_of(kind):
    group = kind([parameter([[1.0]])]).param_groups[0]
    return {k: v for k, v in group.items() if k not in ("params", "names", "penalty", "projection")}


ADAM = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
DEFAULTS = {
    SGD: {"lr": 1e-2, "momentum": 0.0, "dampening": 0.0, "nesterov": False, "weight_decay": 0.0},
    Adagrad: {"lr": 1e-2, "lr_decay": 0.0, "initial_accumulator_value": 0.0, "eps": 1e-10, "weight_decay": 0.0},
    Adadelta: {"lr": 1.0, "rho": 0.9, "eps": 1e-6, "weight_decay": 0.0},
    RMSprop: {"lr": 1e-2, "alpha": 0.99, "eps": 1e-8, "momentum": 0.0, "centered": False, "weight_decay": 0.0},
    Adam: {**ADAM, "amsgrad": False},
    AdamW: {**ADAM, "amsgrad": False, "weight_decay": 1e-2},
    Adamax: {**ADAM, "lr": 2e-3},
    NAdam: {**ADAM, "lr": 2e-3, "momentum_decay": 4e-3},
    RAdam: ADAM,
    Rprop: {"lr": 1e-2, "etas": (0.5, 1.2), "step_sizes": (1e-6, 50.0), "weight_decay": 0.0},
    Muon: {
        "lr": 1e-3,
        "momentum": 0.95,
        "nesterov": True,
        "ns_coefficients": (3.4445, -4.7750, 2.0315),
        "ns_steps": 5,
        "eps": 1e-7,
        "match_rms_adamw": False,
        "weight_decay": 0.1,
    },
    Lion: {"lr": 1e-4, "betas": (0.9, 0.99), "weight_decay": 0.0},
    AdaBelief: {**ADAM, "eps": 1e-16},
    ScheduleFreeSGD: {"lr": 1.0, "momentum": 0.9, "weight_decay": 0.0},
    ScheduleFreeAdamW: {**ADAM, "lr": 2.5e-3},
}
DIALECTS = {"lr_in_buffer": False, "eps_inside": False, "eps_hat": False, "debias_max": False}


@pytest.mark.parametrize("kind", DEFAULTS)
def test_defaults(kind):
    assert {k: v for k, v in defaults_of(kind).items() if k not in DIALECTS} == DEFAULTS[kind]
    assert {k: v for k, v in defaults_of(kind).items() if k in DIALECTS}.items() <= DIALECTS.items()


@pytest.mark.parametrize(
    "kind", [kind for kind in DEFAULTS if kind not in (Lion, AdaBelief, ScheduleFreeSGD, ScheduleFreeAdamW)]
)
def test_defaults_are_those_of_torch(kind):
    torch = pytest.importorskip("torch", reason="compares with PyTorch directly; the table above needs no torch")
    ours, theirs = DEFAULTS[kind], getattr(torch.optim, kind.__name__)([torch.zeros(1, 1)]).defaults
    different = {key for key in ours if key in theirs and ours[key] != theirs[key]}
    assert different == ({"lr"} if kind is SGD else set())
    assert ours.keys() - theirs.keys() <= {"weight_decay", "match_rms_adamw"}


def test_repr_shows_the_settings():
    assert repr(SGD([parameter([1.0])], lr=0.5)) == "SGD(lr=0.5, momentum=0.0, dampening=0.0, weight_decay=0.0)"
    assert "nesterov=True" in repr(SGD([parameter([1.0])], lr=0.5, momentum=0.9, nesterov=True))


def test_an_optimizer_of_ones_own_is_one_method():
    class Momentum(Optimizer):
        state = ("velocity",)

        def rule(self, p, g, velocity, *, t, lr, momentum):
            velocity *= momentum
            velocity += g
            return velocity, lr

    ps, reference = random_parameters((3, 2), (4,)), random_parameters((3, 2), (4,))
    train(Momentum(ps, lr=0.1, momentum=0.9), ps, 5)
    train(SGD(reference, lr=0.1, momentum=0.9), reference, 5)
    assert bits(ps) == bits(reference)
    with pytest.raises(TypeError, match=r"Optimizer has no rule"):
        train(Optimizer(ps, lr=0.1), ps, 1)


# States ---------------------------------------------------------------------------------------------------------------


def named(ps):
    return [(f"layer.{i}", p) for i, p in enumerate(ps)]


def through_json(state):
    arrays = state.pop("state")
    return {**json.loads(json.dumps(state)), "state": arrays}


def through_a_checkpoint(state, folder):
    callbacks = pytest.importorskip("monitor.checkpoints", reason="the optimizers are usable without the monitor")
    holder = SimpleNamespace(state_dict=dict), SimpleNamespace(state_dict=lambda: state)
    callbacks.save_checkpoint(folder / "checkpoints", state["steps"], 1, *holder, {})
    return callbacks.load_checkpoint(folder, state["steps"])["optimizer"]


@every_optimizer
@pytest.mark.parametrize("reverse", [False, True], ids=["same order", "other order"])
@pytest.mark.parametrize("through", ["json", "a checkpoint"])
def test_a_state_of_step_37_goes_on_with_the_same_bits(name, reverse, through, tmp_path):
    shapes = suited(name, [(5, 3), (4,), (), (1,)])
    ps = random_parameters(*shapes)
    opt = EVERY[name](named(ps))
    train(opt, ps, 37)
    state = opt.state_dict()
    saved = through_json(state) if through == "json" else through_a_checkpoint(state, tmp_path)
    later = [SimpleNamespace(data=p.data.copy(), grad=None) for p in ps]
    pairs = named(later)
    resumed = EVERY[name](pairs[::-1] if reverse else pairs)
    resumed.load_state_dict(saved)
    train(opt, ps, 50)
    train(resumed, later, 50)
    assert resumed.steps == 87
    assert bits(later) == bits(ps)


@every_optimizer
def test_a_state_is_a_copy_both_ways(name):
    ps = random_parameters(*suited(name, [(3,)]))
    opt = EVERY[name](ps)
    train(opt, ps, 2)
    saved = opt.state_dict()
    frozen = pickle.dumps(saved)
    train(opt, ps, 2)
    assert pickle.dumps(saved) == frozen
    opt.load_state_dict(saved)
    train(opt, ps, 2)
    assert pickle.dumps(saved) == frozen


def test_settings_come_with_the_state_but_schedules_stay():
    ps, others = random_parameters((3,)), random_parameters((3,))
    opt = Adam(ps, lr=lambda k: 0.5, betas=(0.5, 0.6))
    train(opt, ps, 3)
    saved = opt.state_dict()
    dialect = {"amsgrad": False, "debias_max": False, "eps_hat": False}
    assert saved["hyper"] == [{"betas": (0.5, 0.6), "eps": 1e-8, **dialect, "weight_decay": 0.0}]
    other = Adam(others, lr=lambda k: 0.25 + k, eps=1e-3)
    other.load_state_dict(saved)
    assert other.lr == 3.25
    assert (other.param_groups[0]["eps"], other.param_groups[0]["betas"]) == (1e-8, (0.5, 0.6))
    plain = Adam(random_parameters((3,)), lr=0.125)
    plain.load_state_dict(saved)
    assert plain.lr == 0.125
    other.load_state_dict(plain.state_dict())
    assert other.lr == 3.25


def test_a_schedule_in_a_pair_stays_too():
    opt = Adam(random_parameters((3,)), betas=(lambda k: 0.5, 0.9))
    assert "betas" not in opt.state_dict()["hyper"][0]
    opt.load_state_dict(Adam(random_parameters((3,))).state_dict())
    assert callable(opt.param_groups[0]["betas"][0])


def refused(opt, saved, message):
    before = pickle.dumps(opt.state_dict())
    with pytest.raises(ValueError, match=message):
        opt.load_state_dict(saved)
    assert pickle.dumps(opt.state_dict()) == before


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing():
    def trained(kind, shapes=((3,), (2,)), **options):
        ps = random_parameters(*shapes)
        opt = kind(named(ps), **options)
        train(opt, ps, 2)
        return opt

    adam = trained(Adam)
    saved = adam.state_dict()
    refused(adam, trained(SGD).state_dict(), "state is of SGD, this optimizer is Adam")
    refused(adam, trained(Adam, ((3,),)).state_dict(), r"other parameters: \['layer.1'\]")
    refused(adam, trained(Adam, ((3,), (4,))).state_dict(), r"exp_avg of 'layer.1'.* \(2,\), the state \(4,\)")
    refused(adam, {**saved, "hyper": saved["hyper"] * 2}, "the state has 2 groups, this optimizer has 1")
    plain, heavy = trained(SGD), trained(SGD, momentum=0.9)
    refused(heavy, plain.state_dict(), "the state has no momentum_buffer of 'layer.0'")
    refused(plain, heavy.state_dict(), "this optimizer has no momentum_buffer of 'layer.0'")
    last = {"layer.0": np.zeros(3), "layer.1": ["a", "b"]}
    refused(adam, {**saved, "state": {**saved["state"], "exp_avg_sq": last}}, "could not convert string to float")
    refused(adam, {**saved, "hyper": [{**saved["hyper"][0], "lr": -1}]}, "lr must lie in")


# The engine's tensors -------------------------------------------------------------------------------------------------


def test_with_the_engines_tensors_the_gradient_is_written_in_place():
    tinynet = pytest.importorskip("tinynet", reason="the optimizers are usable without the engine")
    w = tinynet.Tensor(np.array([1.0, 2.0]), requires_grad=True)
    opt = SGD([w], lr=0.5)
    (w * w).sum().backward()
    assert w.grad is w.grad_buffer
    opt.step()
    assert w.data.tolist() == [0.0, 0.0]
    opt.zero_grad()
    assert w.grad is None


def test_weights_loaded_while_a_graph_needs_the_old_ones_are_taken():
    """A loss that was kept and never gone back through is enough: its leaves are read-only, and not ours."""
    tinynet = pytest.importorskip("tinynet", reason="the optimizers are usable without the engine")
    w = tinynet.Parameter(np.array([1.0, 2.0]))
    opt = SGD([w], lr=0.5)
    kept = (w * w).sum()
    w.data, w.grad = np.array([3.0, 4.0]), np.ones(2)
    opt.step()
    assert w.data.tolist() == [2.5, 3.5]
    with pytest.raises(tinynet.ChangedArrayError, match="was moved by optimizer"):
        kept.backward()
    average = EMA(SGD([w], lr=0.5))
    for change in (average.eval, average.train):
        kept, w.data = (w * w).sum(), np.array([5.0, 6.0])
        change()
        assert w.data.tolist() == [5.0, 6.0]
        with pytest.raises(tinynet.ChangedArrayError):
            kept.backward()
    kept, w.data, w.grad = (w * w).sum(), np.array([5.0, 6.0]), np.full(2, np.nan)
    with pytest.raises(NonfiniteGradientError):
        opt.step()  # the weights were taken all the same
    with pytest.raises(tinynet.ChangedArrayError):
        kept.backward()


def test_who_did_not_move_is_not_said_to_have_moved():
    tinynet = pytest.importorskip("tinynet", reason="the optimizers are usable without the engine")
    a, b, c = (tinynet.Parameter(np.ones(2)) for _ in range(3))
    c.requires_grad = False
    opt = SGD([a, b, c], lr=0.5)
    first, second = (a * a).sum(), (b * b * c).sum()
    first.backward()
    opt.step()
    second.backward()
    assert b.grad.tolist() == [2.0, 2.0]


def test_what_was_computed_cannot_be_moved():
    tinynet = pytest.importorskip("tinynet", reason="the optimizers are usable without the engine")
    w = tinynet.Parameter(np.ones(2))
    with pytest.raises(TypeError, match=r"parameter 0 was computed from other tensors.*move these instead"):
        SGD([0.1 * w])


def test_a_captured_step_passes_over_frozen_parameters_to_the_bit():
    tinynet = pytest.importorskip("tinynet", reason="the optimizers are usable without the engine")
    x, ends = np.ones((3, 2), np.float32), []
    for around in (lambda f: f, tinynet.capture):
        model = tinynet.MLP([2, 3, 3, 1], seed=0)
        frozen = list(model.parameters())[2]
        frozen.requires_grad, before = False, frozen.data.copy()
        opt = Adam(model.parameters(), lr=0.1, clip=ClipNorm(0.5), weight_decay=0.1)

        def step(x, model=model, opt=opt):
            opt.zero_grad()
            loss = (model(x) ** 2).sum()
            loss.backward()
            opt.step()
            return loss

        train_step = around(step)
        for _ in range(4):
            train_step(x)
        assert np.array_equal(frozen.data, before)
        ends.append(bits(model.parameters()))
    assert ends[0] == ends[1]
