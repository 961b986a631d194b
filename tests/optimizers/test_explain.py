"""explain(): says to the bit what step() then does, changes nothing, and knows optimizers that it has never seen."""

import copy
import io
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import optimizers
import tinynet as tn
from optimizers import EMA, L1, L2, SGD, Adam, AdamW, ElasticNet, Lookahead, NonfiniteGradientError, Optimizer, RMSprop
from optimizers.clipping import ClipNorm
from optimizers.explanation import explain
from optimizers.explanation.source import Executed
from optimizers.landscapes import rosenbrock
from optimizers.projections import Box
from optimizers.trajectories import Point

SHAPES = {"weight": (4, 3), "bias": (3,), "scale": (), "tall": (5, 2)}


class Momentum(Optimizer):
    """The example of the class docstring of Optimizer."""

    state = ("velocity",)

    def rule(self, p, g, velocity, *, t, lr=0.01, momentum=0.9):
        velocity *= momentum
        velocity += g
        return velocity, lr


def found():
    """Every optimizer of the package that has a rule."""
    kinds = [getattr(optimizers, name) for name in optimizers.__all__]
    kinds = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Optimizer) and kind is not Optimizer]
    return [kind for kind in kinds if kind not in (EMA, Lookahead) and not getattr(kind, "needs_closure", False)]


MAKERS = {kind.__name__: kind for kind in found()} | {
    "momentum": lambda ps: SGD(ps, momentum=0.9, nesterov=True, weight_decay=0.1),
    "in buffer": lambda ps: SGD(ps, momentum=0.9, lr_in_buffer=True),
    "amsgrad": lambda ps: Adam(ps, amsgrad=True, debias_max=True, eps_hat=True),
    "centered": lambda ps: RMSprop(ps, momentum=0.9, centered=True, eps_inside=True),
    "of a user": Momentum,
    "lookahead": lambda ps: Lookahead(AdamW(ps, lr=0.1), k=2),
    "average": lambda ps: EMA(SGD(ps, lr=0.1)),
    "l1": lambda ps: Adam(ps, lr=0.1, penalty=L1(0.3, only=lambda name, data: data.ndim > 1)),
    "decoupled": lambda ps: AdamW(ps, lr=0.1, weight_decay=0, penalty=ElasticNet(0.3, 0.1, mode="decoupled")),
    "everything": lambda ps: AdamW(
        ps, lr=lambda k: 0.1 / (k + 1), weight_decay=0.1, penalty=L1(0.3), clip=ClipNorm(0.5), projection=Box(-0.4, 0.4)
    ),
}  # fmt: skip
every_optimizer = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


def made(make, dtype="float64", steps=3):
    """An optimizer after some steps, its parameters, and the next gradients in place."""
    rng = np.random.default_rng(0)
    shapes = {k: s for k, s in SHAPES.items() if len(s) > 1} if make is MAKERS["Muon"] else SHAPES
    named = {name: SimpleNamespace(data=rng.standard_normal(s).astype(dtype), grad=None) for name, s in shapes.items()}
    optimizer = make(list(named.items()))
    for k in range(steps + 1):
        for i, p in enumerate(named.values()):
            drawn = np.asarray(rng.standard_normal(p.data.shape), dtype)
            p.grad = None if (i, k) == (1, 1) else drawn  # so the t of the second parameter is not that of the others
        if k < steps:
            optimizer.step()
    return optimizer, named


def snapshot(optimizer, named):
    """All that explain() must leave alone."""
    return copy.deepcopy(
        (
            {name: (p.data.tobytes(), p.grad.tobytes()) for name, p in named.items()},
            {key: {n: v.tobytes() for n, v in of.items()} for key, of in optimizer.state_dict()["state"].items()},
            optimizer.state_dict()["updates"],
            optimizer.state_dict()["hyper"],
            (optimizer.steps, optimizer.skipped),
        )
    )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("steps", [0, 3])
@every_optimizer
def test_says_to_the_bit_what_step_does_and_changes_nothing(make, steps, dtype):
    optimizer, named = made(make, dtype, steps)
    twin, twins = made(make, dtype, steps)
    before = snapshot(optimizer, named)
    arrays = {name: (p.data, p.grad) for name, p in named.items()}
    explanation = explain(optimizer)
    assert snapshot(optimizer, named) == before
    assert all(p.data is arrays[name][0] and p.grad is arrays[name][1] for name, p in named.items())
    twin.step()
    optimizer.step()
    assert list(explanation) == list(named)
    for name, p in named.items():
        move = explanation[name]
        assert move["afterwards"].tobytes() == p.data.tobytes() == twins[name].data.tobytes()
        assert move["afterwards"].dtype == dtype
        assert move["afterwards"].shape == p.data.shape
    states = optimizer.state_dict()["state"]
    kind = type(optimizer).__name__.lower()
    for key, of in states.items():
        for name, value in of.items():
            if key != kind:  # what Lookahead and EMA remember themselves
                assert explanation[name][key].tobytes() == value.tobytes(), key


@every_optimizer
def test_the_quantities_add_up(make):
    optimizer, named = made(make)
    for name, move in explain(optimizer).items():
        assert np.array_equal(move["p"], named[name].data)
        assert np.array_equal(move["gradient"], named[name].grad)
        assert np.array_equal(move["update"], np.broadcast_to(move["step"] * move["direction"], named[name].data.shape))
        parts = [move[part] for part in ("decay", "rule", "penalty", "projection", "Lookahead", "EMA") if part in set(move)]
        assert np.allclose(move["p"] - move["update"] + sum(parts), move["afterwards"], rtol=0, atol=1e-14)
        total = move.quantities[-1].formula
        assert {word for word in total.split() if word not in "+-"} == {"p", "update"} | {
            part for part in ("decay", "rule", "penalty", "projection", "Lookahead", "EMA") if part in set(move)
        }
        assert len(list(move)) == len(move) == len(set(move))
        assert all(move[key] is not None for key in move)


# What is in it --------------------------------------------------------------------------------------------------------


def point_after(make, steps=2, at=(-1.2, 1.0)):
    """An optimizer that has walked some steps on Rosenbrock's function, its point, and the next gradient in place."""
    point = Point(list(at))
    optimizer = make([("point", point)])
    for _ in range(steps):
        point.grad = rosenbrock.gradient(point.data)
        optimizer.step()
    point.grad = rosenbrock.gradient(point.data)
    return optimizer, point


def adam(params):
    return Adam(params, lr=0.1)


def test_adam_as_in_the_paper():
    optimizer, point = point_after(adam)
    m, v = (optimizer.state_dict()["state"][key]["point"] for key in ("exp_avg", "exp_avg_sq"))
    move = explain(optimizer)["point"]
    m = 0.9 * m + (1 - 0.9) * point.grad
    v = 0.999 * v + (1 - 0.999) * point.grad**2
    m_hat, v_hat = m / (1 - 0.9**3), v / (1 - 0.999**3)
    expected = {
        "m": m,
        "exp_avg": m,
        "v": v,
        "m_hat": m_hat,
        "v_hat": v_hat,
        "direction": m_hat,
        "step": 0.1 / (np.sqrt(v_hat) + 1e-8),
        "update": 0.1 * m_hat / (np.sqrt(v_hat) + 1e-8),
    }
    for name, value in expected.items():
        assert move[name] == pytest.approx(value, rel=1e-14), name
    assert move["t"] == 3
    assert move["lr"] == 0.1
    assert move["b1"] == 0.9
    assert move["1 - b1 ** t"] == pytest.approx(0.271)
    assert move["1 - b2 ** t"] == pytest.approx(0.002997, rel=1e-3)


def test_the_table():
    table = str(explain(point_after(adam)[0]))
    assert [line.split(maxsplit=1)[0] for line in table.splitlines()[6:]] == [
        "p", "gradient", "m", "v", "m_hat", "v_hat", "direction", "step", "update", "afterwards"
    ]  # fmt: skip
    assert table.startswith(
        "Adam moves 'point' of shape (2,), update 3\nt = 3   lr = 0.1   betas = (0.9, 0.999)   eps = 1e-08"
    )
    assert "b1 = 0.9   b2 = 0.999   1 - b1 ** t = 0.271\n1 - b2 ** t = 0.002997\n\n" in table
    rows = [line.split("  ") for line in table.splitlines()]
    cells = {row[0]: [cell.strip() for cell in row if cell.strip()] for row in rows if row}
    assert cells["quantity"] == ["quantity", "norm", "smallest", "largest", "values", "formula"]
    assert cells["gradient"] == ["gradient", "63.62", "29.65", "56.29", "56.29", "29.65", "its .grad"]
    assert cells["m (exp_avg)"][-1] == "m * b1 + (1 - b1) * g"
    assert cells["v_hat"][-1] == "v / (1 - b2 ** t)"
    assert cells["step"][-1] == "lr / (sqrt(v_hat) + eps)"
    assert cells["afterwards"][-1] == "p - update"
    assert all(len(line) <= 124 for line in table.splitlines())


def test_many_numbers_are_not_listed():
    p = SimpleNamespace(data=np.zeros((2, 4)), grad=np.arange(8.0).reshape(2, 4))
    table = str(explain(SGD([("w", p)])))
    assert "values" not in table
    assert "gradient    11.83   0         7        its .grad" in table
    assert "\nstep        0.01" in table


@pytest.mark.parametrize(
    ("make", "name", "formula"),
    [
        (lambda ps: SGD(ps, momentum=0.9, lr=1e-4), "direction", "v"),
        (lambda ps: SGD(ps, momentum=0.9, lr=1e-4, nesterov=True), "direction", "g + momentum * v"),
        (lambda ps: SGD(ps, momentum=0.9, lr=1e-4), "v", "v * momentum + (1 - dampening) * g"),
        (lambda ps: Adam(ps, amsgrad=True), "v_max", "maximum(v_max, v)"),
        (lambda ps: Adam(ps, amsgrad=True, debias_max=True), "v_max", "maximum(v_max, v_hat)"),
        (lambda ps: RMSprop(ps, centered=True), "mean", "mean * alpha + (1 - alpha) * g"),
        (lambda ps: RMSprop(ps), "size", "sqrt(variance) + eps"),
        (lambda ps: RMSprop(ps, eps_inside=True), "size", "sqrt(variance + eps)"),
        (optimizers.Rprop, "step", "step_size"),
        (optimizers.Lion, "direction", "sign(b1 * m + (1 - b1) * g)"),
        (optimizers.Adadelta, "step (in the rule)", "sqrt(d + eps) / sqrt(s + eps)"),
        (optimizers.Adadelta, "step", "lr * step"),
        (lambda ps: Adam(ps, weight_decay=0.1), "g", "gradient + weight_decay * p"),
        (lambda ps: Adam(ps, penalty=L2(0.1), clip=ClipNorm(1.0)), "g", "clipped + gradient of L2"),
        (AdamW, "decay", "-lr * weight_decay * p"),
        (optimizers.ScheduleFreeSGD, "z", "z - lr * direction"),
    ],
)
def test_formulas_are_those_of_the_lines_that_ran(make, name, formula):
    move = explain(point_after(make)[0])["point"]
    assert next(q.formula for q in move.quantities if q.name == name) == formula


def test_the_first_velocity_of_sgd_is_another_line():
    optimizer, point = point_after(lambda ps: SGD(ps, momentum=0.9, dampening=0.5), steps=0)
    move = explain(optimizer)["point"]
    assert next(q.formula for q in move.quantities if q.name == "v") == "g"
    assert np.array_equal(move["v"], point.grad)


def test_two_names_of_one_array_are_one_row():
    move = explain(point_after(RMSprop)[0])["point"]
    assert "s = variance (square_avg)" in [q.label for q in move.quantities]
    assert move["s"] is move["variance"] is move["square_avg"]


def test_quantities_stand_in_the_order_in_which_they_are_computed():
    names = [q.name for q in explain(point_after(optimizers.Adadelta)[0])["point"].quantities]
    assert names == ["p", "gradient", "s", "step (in the rule)", "delta", "d", "direction", "step", "update", "afterwards"]


def test_what_a_coupled_decay_adds_is_in_g():
    move = explain(point_after(lambda ps: Adam(ps, weight_decay=0.5))[0])["point"]
    assert np.array_equal(move["g"], move["gradient"] + 0.5 * move["p"])


def test_what_clipping_decay_penalty_and_projection_did():
    options = {"weight_decay": 0.1, "penalty": L1(0.001), "clip": ClipNorm(0.5), "projection": Box(-0.1, 0.1)}
    optimizer, point = point_after(lambda ps: AdamW(ps, lr=lambda k: 0.1 / (k + 1), **options), at=(-0.3, 0.3))
    move = explain(optimizer)["point"]
    assert move["grad_norm"] == pytest.approx(np.linalg.norm(point.grad))
    assert np.linalg.norm(move["clipped"]) == pytest.approx(0.5)
    assert move["clipped"] == pytest.approx(point.grad * 0.5 / np.linalg.norm(point.grad))
    lr = 0.1 / 3
    assert move["lr"] == lr
    assert move["decay"] == pytest.approx(-lr * 0.1 * point.data)
    moved = point.data + move["decay"] - move["update"]
    threshold = move["step"] * 0.001
    soft = np.sign(moved) * np.maximum(np.abs(moved) - threshold, 0)
    assert move["penalty"] == pytest.approx(soft - moved)
    assert move["projection"] == pytest.approx(np.clip(soft, -0.1, 0.1) - soft)
    assert np.abs(move["projection"]).max() > 0
    assert list(move.quantities[-1].formula.split(" + ")) == ["p", "decay - update", "penalty", "projection"]


def test_what_lookahead_does():
    optimizer, point = point_after(lambda ps: Lookahead(SGD(ps, lr=1e-3), k=3))
    start = np.array([-1.2, 1.0])
    move = explain(optimizer)["point"]
    fast = point.data - 1e-3 * point.grad
    assert move["Lookahead"] == pytest.approx((start - fast) / 2)
    assert move["afterwards"] == pytest.approx((start + fast) / 2)


def test_a_parameter_of_an_unusual_kind_of_rule():
    rng = np.random.default_rng(0)
    w = SimpleNamespace(data=rng.standard_normal((3, 5)), grad=rng.standard_normal((3, 5)))
    move = explain(optimizers.Muon([("w", w)]))["w"]
    assert move["d"].shape == (3, 5)
    assert move["ratio"] == pytest.approx((5 / 3) ** 0.5)
    assert move["fan_out"] == 5


def test_an_optimizer_of_the_user():
    class Sharp(Optimizer):
        state = ("memory",)

        def rule(self, p, gradient, memory, *, t, lr=0.1, power=2.0):
            peak = np.abs(gradient).max()
            memory[...] = memory / 2 + gradient / peak
            sharp = self.sharpened(memory, power)
            return sharp, lr / t**0.5

        def sharpened(self, x, power):
            size = np.abs(x) ** power
            return np.sign(x) * size

    point = SimpleNamespace(data=np.array([1.0, 2.0]), grad=np.array([3.0, -6.0]))
    move = explain(Sharp([("w", point)]))["w"]
    assert move["memory"].tolist() == [0.5, -1.0]
    assert move["peak"] == 6.0
    assert move["size"].tolist() == [0.25, 1.0]
    assert move["direction"].tolist() == [0.25, -1.0]
    assert move["lr / t ** 0.5"] == 0.1
    formulas = {q.name: q.formula for q in move.quantities}
    assert formulas["memory"] == "memory / 2 + gradient / peak"
    assert formulas["size"] == "abs(x) ** power"
    assert formulas["direction"] == "sharp"


def test_a_rule_that_builds_on_another():
    class Clipped(Adam):
        def rule(self, p, g, *state, **hyper):
            direction, step = super().rule(p, np.clip(g, -1, 1), *state, **hyper)
            return np.sign(direction), step / 2

    optimizer, _ = point_after(lambda ps: Clipped(ps, lr=0.1), steps=1)
    move = explain(optimizer)["point"]
    assert move["direction"] == pytest.approx(np.sign(move["m_hat"]))
    assert move["g"].tolist() == [-1.0, -1.0]
    formulas = {q.name: q.formula for q in move.quantities}
    assert formulas["m"] == "m * b1 + (1 - b1) * g"
    assert formulas["step"] == "step / 2"
    assert move["step (in the rule)"] == pytest.approx(2 * move["step"])


def test_a_rule_without_source():
    scope = {"Optimizer": Optimizer}
    exec("class Plain(Optimizer):\n    def rule(self, p, g, *, t, lr=0.1):\n        d = g * 2\n        return d, lr", scope)
    point = SimpleNamespace(data=np.array([1.0, 2.0]), grad=np.array([1.0, 3.0]))
    move = explain(scope["Plain"]([("w", point)]))["w"]
    assert move["d"].tolist() == [2.0, 6.0]
    assert {q.formula for q in move.quantities if q.name in ("d", "direction", "step")} == {""}


def test_a_rule_that_writes_into_the_parameter():
    class Drifting(Optimizer):
        def rule(self, p, g, *, t, lr=0.5):
            p += 1
            return g, lr

    point = SimpleNamespace(data=np.array([1.0, 2.0]), grad=np.array([1.0, 3.0]))
    move = explain(Drifting([("w", point)]))["w"]
    assert move["rule"].tolist() == [1.0, 1.0]
    assert move["p"].tolist() == [1.0, 2.0]
    assert move["afterwards"].tolist() == [1.5, 1.5]
    assert move.quantities[-1].formula == "p + rule - update"


def test_what_is_done_in_a_loop_or_in_parts_has_no_formula():
    def rule(p, g):
        x = g + 1
        for _ in range(3):
            x = x * g
        y = g * 2
        y[0] = 1
        return x, y

    first = rule.__code__.co_firstlineno
    ran = Executed(rule.__code__, dict.fromkeys(range(first, first + 8), 0), {})
    assert ran.formulas == {"x": "...", "y": "..."}


# Which parameters -----------------------------------------------------------------------------------------------------


def test_one_parameter_by_name_or_by_itself():
    optimizer, named = made(MAKERS["Adam"])
    whole = explain(optimizer)
    for asked in ("bias", named["bias"]):
        explanation = explain(optimizer, asked)
        assert list(explanation) == ["bias"]
        assert explanation["bias"]["afterwards"].tobytes() == whole["bias"]["afterwards"].tobytes()
    assert whole["bias"]["t"] == 3
    assert whole["weight"]["t"] == 4


def test_parameters_without_a_gradient_or_without_elements_are_left_out():
    shapes = {"empty": (0, 3), "a": (2,), "none": (3,), "void": (0,), "b": (2, 2)}
    named = {name: SimpleNamespace(data=np.ones(shape), grad=np.ones(shape)) for name, shape in shapes.items()}
    named["none"].grad = named["void"].grad = None
    optimizer = Adam(list(named.items()))
    explanation = explain(optimizer)
    optimizer.step()
    assert list(explanation) == ["a", "b"]
    assert explanation["b"]["afterwards"].tobytes() == named["b"].data.tobytes()


def test_groups_have_numbers_of_their_own():
    a, b = (SimpleNamespace(data=np.ones(2), grad=np.ones(2)) for _ in range(2))
    explanation = explain(SGD([{"params": [("a", a)], "lr": 0.5}, {"params": [("b", b)], "momentum": 0.9}], lr=0.25))
    assert explanation["a"]["lr"] == 0.5
    assert explanation["b"]["lr"] == 0.25
    assert "momentum_buffer" not in explanation["a"].aliases
    assert explanation["b"]["momentum_buffer"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("slice_size", [1, 5, 100])
def test_a_parameter_longer_than_a_slice(slice_size, monkeypatch):
    monkeypatch.setattr(optimizers.slab, "SLICE", slice_size)
    for make in MAKERS.values():
        optimizer, named = made(make, "float32")
        explanation = explain(optimizer)
        optimizer.step()
        assert all(explanation[name]["afterwards"].tobytes() == p.data.tobytes() for name, p in named.items())


def test_tensors_of_the_engine_and_their_graph_are_left_alone():
    model = tn.MLP([2, 3, 1], seed=0)
    optimizer = AdamW(model.named_parameters(), lr=0.1)
    x = tn.Tensor(np.ones((4, 2), np.float32))
    loss = tn.mse_loss(model(x), np.zeros((4, 1), np.float32))
    loss.backward()
    another = tn.mse_loss(model(x), np.ones((4, 1), np.float32))  # a graph that needs the weights as they are
    versions = [p.version for p in model.parameters()]
    explanation = explain(optimizer)
    assert [p.version for p in model.parameters()] == versions
    another.backward()
    optimizer.zero_grad()
    tn.mse_loss(model(x), np.zeros((4, 1), np.float32)).backward()
    optimizer.step()
    for name, p in model.named_parameters():
        assert explanation[name]["afterwards"].tobytes() == p.data.tobytes()


def test_what_hangs_on_a_parameter_is_not_copied():
    class Anchored(Point):
        def __deepcopy__(self, memo):
            raise AssertionError("copied")

    point = Anchored([1.0, 2.0])
    point.grad = np.ones(2)
    assert explain(EMA(Adam([("point", point)], lr=0.1)))["point"]["afterwards"] == pytest.approx([0.9, 1.9])


def test_the_explanation_does_not_change_with_the_optimizer():
    optimizer, point = point_after(adam)
    move = explain(optimizer)["point"]
    kept = {key: np.array(move[key]) for key in move}
    optimizer.step()
    point.grad[...] = 0
    optimizer.step()
    assert all(np.array_equal(kept[key], move[key]) for key in move)


def test_arrays_that_are_not_numpys():
    """They are brought to the host to be printed and drawn; the numbers stay where they are."""
    stand = runpy.run_path(str(Path(__file__).parents[1] / "engine" / "test_flow.py"))["Stand"]
    stand.get = lambda self: self.host
    stand.__bool__, stand.__float__ = (lambda self: bool(self.host)), (lambda self: float(self.host))
    for make in MAKERS.values():
        if make is optimizers.Muon:  # wants a matrix
            continue
        here, there = (SimpleNamespace(data=as_array(np.array([1.0, 2.0])), grad=None) for as_array in (np.copy, stand))
        here.grad, there.grad = np.array([0.5, -3.0]), stand(np.array([0.5, -3.0]))
        expected, explanation = explain(make([("w", here)])), explain(make([("w", there)]))
        assert isinstance(explanation["w"]["afterwards"], stand)
        assert str(explanation) == str(expected)
        explanation.plot()


# Errors ---------------------------------------------------------------------------------------------------------------


def test_no_gradient_yet():
    p = SimpleNamespace(data=np.ones(2), grad=None)
    with pytest.raises(ValueError, match=r"no parameter has a gradient: call loss.backward\(\) first"):
        explain(SGD([p]))


def test_no_gradient_of_this_parameter():
    a, b = (SimpleNamespace(data=np.ones(2), grad=grad) for grad in (np.ones(2), None))
    with pytest.raises(
        ValueError, match=r"'b' has no gradient, so step\(\) leaves it where it is: call loss.backward\(\) first"
    ):
        explain(SGD([("a", a), ("b", b)]), "b")


def test_no_such_parameter():
    optimizer, _ = point_after(adam)
    with pytest.raises(ValueError, match="no parameter 'weight'; it has point"):
        explain(optimizer, "weight")
    with pytest.raises(ValueError, match="no parameter like this Point; it has point"):
        explain(optimizer, Point([1.0]))


def test_no_such_quantity():
    explanation = explain(point_after(adam)[0])
    with pytest.raises(KeyError, match="'weight' is not among point"):
        explanation["weight"]
    with pytest.raises(KeyError, match="'velocity' is not among p, gradient, m, v, m_hat"):
        explanation["point"]["velocity"]


def test_not_an_optimizer():
    with pytest.raises(TypeError, match=r"needs an optimizer, such as Adam\(params\), got 3"):
        explain(3)


def test_an_optimizer_that_asks_a_closure():
    class Searching(Optimizer):
        needs_closure = True

        def rule(self, p, g, *, t, lr=0.1):
            return g, lr

    p = SimpleNamespace(data=np.ones(2), grad=np.ones(2))
    with pytest.raises(TypeError, match="Searching has no rule to explain: .* closure"):
        explain(Searching([p]))


def test_an_optimizer_that_does_not_call_its_rule():
    class Still(Optimizer):
        def rule(self, p, g, *, t, lr=0.1):
            return g, lr

        def step(self):
            pass

    p = SimpleNamespace(data=np.ones(2), grad=np.ones(2))
    with pytest.raises(TypeError, match=r"Still.step\(\) does not move 'w' by its rule"):
        explain(Still([("w", p)]))


@pytest.mark.parametrize(("mode", "error"), [("raise", NonfiniteGradientError), ("skip", ValueError)])
def test_a_gradient_that_is_not_finite(mode, error):
    p = SimpleNamespace(data=np.ones(2), grad=np.array([1.0, np.nan]))
    optimizer = Adam([("w", p)], on_nonfinite=mode)
    with pytest.raises(error, match="not finite|gradient of 'w' has a nan"):
        explain(optimizer)
    assert optimizer.skipped == 0


def test_weights_that_are_to_be_evaluated():
    optimizer, _ = point_after(optimizers.ScheduleFreeSGD)
    optimizer.eval()
    with pytest.raises(RuntimeError, match=r"call optimizer.train\(\) first"):
        explain(optimizer)


# Other people's tools -------------------------------------------------------------------------------------------------


def test_a_tracer_is_put_back_even_after_an_error():
    class Broken(Optimizer):
        def rule(self, p, g, *, t, lr=0.1):
            raise RuntimeError("broken")

    def tracer(frame, event, arg):
        return None

    p = SimpleNamespace(data=np.ones(2), grad=np.ones(2))
    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        explain(SGD([p]))
        after = sys.gettrace()
        with pytest.raises(RuntimeError, match="broken"):
            explain(Broken([p]))
        last = sys.gettrace()
    finally:
        sys.settrace(before)
    assert after is tracer
    assert last is tracer


# Pictures -------------------------------------------------------------------------------------------------------------


def pixels(figure):
    with io.BytesIO() as file:
        figure.savefig(file, format="png")
        return np.asarray(Image.open(file).convert("RGB"))


def texts(figure):
    return [text.get_text() for ax in figure.axes for text in ax.texts] + [text.get_text() for text in figure.texts]


@pytest.mark.parametrize("shape", [(1,), (5,), (4, 3), (41,), (8, 9), (2, 4, 7)])
def test_a_picture_of_every_quantity(shape):
    rng = np.random.default_rng(0)
    p = SimpleNamespace(data=rng.standard_normal(shape), grad=rng.standard_normal(shape))
    explanation = explain(AdamW([("a$b$c", p)], penalty=L1(0.1)))
    figure = explanation.plot()
    labels = texts(figure) + [ax.get_title(loc="left") for ax in figure.axes]
    for quantity in explanation["a$b$c"].quantities:
        assert quantity.label in labels
    assert "AdamW moves 'a$b$c', update 1" in labels
    assert any("1 - b1 ** t = 0.1" in label for label in labels)
    assert (pixels(figure) < 200).any()


def test_bars_are_the_numbers_and_say_them():
    explanation = explain(point_after(lambda ps: SGD(ps, lr=0.5))[0])
    figure = explanation.plot("point")
    bars = [[bar.get_height() for bar in ax.patches] for ax in figure.axes if len(ax.patches) == 2]
    move = explanation["point"]
    assert bars == [move[name].tolist() for name in ("p", "gradient", "direction", "update", "afterwards")]
    assert f"{move['gradient'][0]:.4g}" in texts(figure)
    assert any("step = 0.5" in text for text in texts(figure))


def test_heat_maps_are_the_numbers():
    rng = np.random.default_rng(0)
    p = SimpleNamespace(data=rng.standard_normal((7, 8)), grad=rng.standard_normal((7, 8)))
    explanation = explain(Adam([("w", p)]))
    images = [ax.images[0].get_array() for ax in explanation.plot().axes if ax.images]
    quantities = [q.value for q in explanation["w"].quantities]
    assert len(images) == len(quantities)
    assert all(np.array_equal(a, b) for a, b in zip(images, quantities, strict=True))


def test_arrows_of_a_point_in_the_plane():
    optimizer, _ = point_after(adam)
    move = explain(optimizer)["point"]
    figure = explain(optimizer).plot(landscape=rosenbrock)
    plane = figure.axes[-1]
    arrows = [patch for patch in plane.patches if len(patch.get_xy()) > 4]
    assert len(arrows) == 3
    step = move["afterwards"] - move["p"]
    for arrow, ways in zip(arrows, (-move["gradient"], -move["direction"], step), strict=True):
        corners = arrow.get_xy()
        tip = corners[np.argmax(np.hypot(*(corners - move["p"]).T))] - move["p"]
        assert tip == pytest.approx(ways * np.linalg.norm(step) / np.linalg.norm(ways))
    assert len(plane.collections) > 0  # contours
    assert not explain(optimizer).plot().axes[-1].collections
    labels = [text.get_text() for text in plane.get_legend().get_texts()]
    assert labels[0] == "down the gradient, which is 63.62 long"
    assert (pixels(figure) < 200).any()


def test_a_picture_of_what_cannot_be_drawn_to_scale():
    p = SimpleNamespace(data=np.ones(2), grad=np.zeros(2))
    pixels(explain(SGD([("w", p)])).plot(landscape=rosenbrock))
    p.grad = np.array([np.inf, 1.0])
    with np.errstate(all="ignore"):
        pixels(explain(Adam([("w", p)], on_nonfinite="ignore")).plot(landscape=rosenbrock))


def test_a_landscape_needs_two_numbers():
    p = SimpleNamespace(data=np.ones(3), grad=np.ones(3))
    with pytest.raises(ValueError, match="a landscape has two coordinates, and 'w' has 3 numbers"):
        explain(SGD([("w", p)])).plot(landscape=rosenbrock)


def test_the_first_parameter_is_drawn_unless_another_is_named():
    optimizer, _ = made(MAKERS["Adam"])
    assert "Adam moves 'weight', update 4" in texts(explain(optimizer).plot())
    assert "Adam moves 'tall', update 4" in texts(explain(optimizer).plot("tall"))
