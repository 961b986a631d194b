"""A rule of the user's own: what it is given, and what is said of each of the usual slips."""

from types import SimpleNamespace

import numpy as np
import pytest

import optimizers
from optimizers import EMA, LBFGS, SGD, Adam, Lookahead, Optimizer
from optimizers.explanation import explain
from optimizers.trajectories import Point


def points():
    return [SimpleNamespace(data=np.ones(shape), grad=None) for shape in ((200, 300), 7, ())]


def stepped(optimizer, params):
    for p in params:
        p.grad = np.full_like(p.data, 2.0)
    optimizer.step()


class Watching(Optimizer):
    def rule(self, p, g, *, t, lr=0.1):
        self.seen = [*getattr(self, "seen", []), g.shape]
        return g / np.linalg.norm(g), lr


# What it is given -----------------------------------------------------------------------------------------------------


def test_a_rule_gets_each_parameter_by_itself_so_a_norm_is_that_of_the_parameter():
    params = points()
    optimizer = Watching(params)
    stepped(optimizer, params)
    assert optimizer.seen == [(200, 300), (7,), ()]
    for p in params:
        assert np.linalg.norm(1 - p.data) == pytest.approx(0.1)


def test_whole_false_gets_slices_of_all_parameters_joined():
    class Sliced(Watching):
        whole = False

    params = points()
    optimizer = Sliced(params)
    stepped(optimizer, params)
    assert sum(n for (n,) in optimizer.seen) == 60_008
    assert len(optimizer.seen) == 4


def test_a_rule_that_builds_on_one_for_slices_gets_each_parameter_by_itself():
    class Scaled(Adam):
        def rule(self, p, g, *state, **hyper):
            self.seen = [*getattr(self, "seen", []), g.shape]
            return super().rule(p, g / np.linalg.norm(g), *state, **hyper)

    class Renamed(Scaled):
        pass

    for kind in (Scaled, Renamed):
        params = points()
        optimizer = kind(params)
        stepped(optimizer, params)
        assert optimizer.seen == [(200, 300), (7,), ()]

    class Plain(Adam):
        weight_decay = 0.1

    assert not Plain.whole


def test_our_own_rules_get_slices_but_for_the_one_that_moves_matrices():
    kinds = [getattr(optimizers, name) for name in optimizers.__all__]
    rules = {k for k in kinds if isinstance(k, type) and issubclass(k, Optimizer)} - {Optimizer, LBFGS, EMA, Lookahead}
    assert {k.__name__ for k in rules if k.whole} == {"Muon"}


def test_it_can_be_explained_whatever_the_shape():
    class Own(Optimizer):
        state = ("memory",)

        def rule(self, p, g, memory, *, t, lr=0.5):
            memory += g
            return memory, lr

    point = SimpleNamespace(data=np.array(3.0), grad=np.array(4.0))
    matrix = SimpleNamespace(data=np.array([[1.0, 2.0]]), grad=np.array([[1.0, 1.0]]))
    moves = explain(Own([("point", point), ("matrix", matrix)]))
    assert moves["point"]["afterwards"] == 1.0
    assert moves["matrix"]["afterwards"].tolist() == [[0.5, 1.5]]


# Slips ----------------------------------------------------------------------------------------------------------------


def slip(rule, **attributes):
    return type("Own", (Optimizer,), {"rule": rule, **attributes})


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            slip(lambda self, p, g, v, *, t, lr=0.1: (v, lr)),
            r"^Own\.rule takes 'v', which is no state: name it in the class, state = \('v',\)$",
        ),
        (
            slip(lambda self, p, g, v, w, *, t, lr=0.1: (v, lr), state=("velocity",)),
            r"takes 'w', which is no state: name it in the class, state = \('velocity', 'w'\)$",
        ),
        (
            slip(lambda self, p, g, *, t, lr=0.1: (g, lr), state=("v",)),
            r"^Own\.rule must take each of state = \('v',\): rule\(self, p, g, v, \*, t, lr=0\.01\)$",
        ),
        (
            slip(lambda self, p, g, t, lr=0.1: (g, lr)),
            r"^Own\.rule gets t by name: write a \* before t and the hyperparameters, rule\(self, p, g, \*, t, lr=0\.01\)$",
        ),
        (slip(lambda self, p, g, lr, *, t: (g, lr)), r"^Own\.rule gets lr by name: write a \*"),
        (
            slip(lambda self, p, g, v, b=0.9, *, t, lr=0.1: (v, lr), state=("v",)),
            r"^Own\.rule gets b by name: write a \* .*rule\(self, p, g, v, \*, t, lr=0\.01\)$",
        ),
        (
            slip(lambda self, p, g, *, lr=0.1: (g, lr)),
            r"^Own\.rule must take t by name: rule\(self, p, g, \*, t, lr=0\.01\)$",
        ),
        (slip(lambda self, p, g, *, t: (g, 0.1)), r"^Own\.rule must take lr by name: rule\("),
    ],
)
def test_arguments_that_do_not_fit(kind, message):
    with pytest.raises(TypeError, match=message):
        kind(points(), lr=0.1)


@pytest.mark.parametrize(
    ("rule", "got"),
    [
        (lambda self, p, g, *, t, lr=0.1: lr * g, "ndarray"),
        (lambda self, p, g, *, t, lr=0.1: None, "NoneType"),
        (lambda self, p, g, *, t, lr=0.1: (g, lr, t), "tuple"),
    ],
)
def test_an_answer_that_is_no_direction_and_step(rule, got):
    p = Point([4.0, -1.0])  # of two elements, as an answer is
    p.grad = np.array([1.0, 1.0])
    optimizer = slip(rule)([("p", p)])
    message = rf"^Own\.rule must return \(direction, step\), as in `return g, lr`, got {got}: p -= step"
    with pytest.raises(TypeError, match=message):
        optimizer.step()
    assert p.data.tolist() == [4.0, -1.0]
    with pytest.raises(TypeError, match=message):
        explain(optimizer)


def test_a_rule_may_be_a_function_without_self():
    kind = slip(staticmethod(lambda p, g, v, *, t, lr=0.5: (g, lr)), state=("v",))
    p = Point([4.0])
    p.grad = np.array([2.0])
    kind([p]).step()
    assert p.data.tolist() == [3.0]


@pytest.mark.parametrize(
    ("make", "meant"),
    [
        (lambda ps: SGD(ps, learning_rate=0.1), "lr"),
        (lambda ps: Adam(ps, epsilon=1e-8), "eps"),
        (lambda ps: Adam(ps, beta=(0.9, 0.99)), "betas"),
        (lambda ps: SGD([{"params": ps, "learning_rate": 0.1}]), "lr"),
        (lambda ps: LBFGS(ps, learning_rate=0.1), "lr"),
    ],
)
def test_a_name_that_is_like_one(make, meant):
    with pytest.raises(TypeError, match=rf"has no hyperparameter .*: did you mean '{meant}'\?$"):
        make([Point([1.0])])


def test_a_gradient_without_a_name_says_how_to_get_one():
    named, unnamed = Point([1.0]), Point([1.0])
    named.grad = unnamed.grad = np.array([np.nan])
    hint = r"For names, not numbers: Adam\(model.named_parameters\(\)\)$"
    with pytest.raises(optimizers.NonfiniteGradientError, match=rf"'parameter 0' has a nan at step 1; .*{hint}"):
        Adam([unnamed]).step()
    with pytest.raises(optimizers.NonfiniteGradientError, match=r"'w' has a nan at step 1; .*such steps out$"):
        Adam([("w", named)]).step()
    replicas = Point(np.ones((2, 1)))
    replicas.grad = np.array([[np.nan], [1.0]])
    with pytest.raises(optimizers.NonfiniteGradientError, match=hint):
        SGD([replicas], lr=np.array([0.1, 0.2])).step()
