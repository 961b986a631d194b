"""The optimizers move as PyTorch's do: over 200 steps, against recorded trajectories, and against torch where it is there.

The second half keeps mistakes that are easily made (and that a falling loss does not reveal), each as a small wrong
optimizer: the same comparison must refuse every one of them.
"""

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import optimizers
from optimizers import SGD, Adam, AdamW

GOLDENS = Path(__file__).parents[1] / "goldens"
torch_run = runpy.run_path(str(GOLDENS / "make_torch.py"))
CASES = torch_run["CASES"]
golden = dict(np.load(GOLDENS / "torch_optimizers.npz"))
about = json.loads(str(golden.pop("about")))
TOLERANCE = {"float64": 1e-12, "float32": 2e-5}  # of 1 + |p|


def run_ours(kind, options, seed=about["seed"], dtype="float64"):
    parameters = [SimpleNamespace(data=p.astype(dtype), grad=None) for p in torch_run["start"](seed)]
    grads = torch_run["gradients"](seed)
    return torch_run["run"](kind(parameters, **options), parameters, grads, as_gradient=lambda g: g.astype(dtype))


def worst(ours, theirs):
    """The greatest difference, as a part of 1 + |p|; a nan counts as infinite."""
    return np.nan_to_num(np.abs(ours - theirs) / (1 + np.abs(theirs)), nan=np.inf).max()


def test_the_gradients_are_those_that_were_recorded():
    assert torch_run["checksum"](about["seed"]) == about["checksum"]
    assert about["recorded"] == torch_run["RECORDED"]
    assert json.loads(json.dumps(CASES)) == about["cases"]
    assert golden.keys() == CASES.keys()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", CASES)
def test_equal_to_recorded_torch(case, dtype):
    kind, options = CASES[case]
    ours = run_ours(getattr(optimizers, kind), options, dtype=dtype)
    assert ours.dtype == dtype
    assert worst(ours, golden[case]) <= TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", CASES)
def test_equal_to_torch_on_other_gradients(case, dtype):
    pytest.importorskip("torch", reason="compares with PyTorch directly; the recorded comparison above needs no torch")
    kind, options = CASES[case]
    ours = run_ours(getattr(optimizers, kind), options, seed=100, dtype=dtype)
    assert worst(ours, torch_run["run_torch"](case, 100, dtype)) <= TOLERANCE[dtype]


def test_two_groups_equal_torch():
    torch = pytest.importorskip("torch", reason="compares with PyTorch directly; the recorded comparisons need no torch")

    def groups(parameters):
        return [{"params": parameters[:2], "lr": 0.03, "weight_decay": 0.0}, {"params": parameters[2:], "momentum": 0.5}]

    def as_torch(x):
        return torch.tensor(x, dtype=torch.float64)

    run, options = torch_run["run"], {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1}
    ours = [SimpleNamespace(data=p, grad=None) for p in torch_run["start"](3)]
    theirs = [as_torch(p.data).requires_grad_() for p in ours]
    moved = run(SGD(groups(ours), **options), ours, torch_run["gradients"](3))
    expected = run(
        torch.optim.SGD(groups(theirs), **options),
        theirs,
        torch_run["gradients"](3),
        as_gradient=as_torch,
        read=lambda p: p.detach().numpy(),
    )
    assert worst(moved, expected) <= 1e-12


# Mistakes -------------------------------------------------------------------------------------------------------------


def first_moments(m, v, g, betas):
    """The part of Adam that the mistakes below leave alone."""
    m += (1 - betas[0]) * (g - m)
    v += (1 - betas[1]) * (g * g - v)


class NoBiasCorrection(Adam):
    def rule(self, p, g, m, v, *, t, lr, betas, eps):
        first_moments(m, v, g, betas)
        return m, lr / (np.sqrt(v) + eps)


class NoBiasCorrectionOfTheMean(Adam):
    def rule(self, p, g, m, v, *, t, lr, betas, eps):
        first_moments(m, v, g, betas)
        return m, lr / (np.sqrt(v / (1 - betas[1] ** t)) + eps)


class NoBiasCorrectionOfTheSquare(Adam):
    def rule(self, p, g, m, v, *, t, lr, betas, eps):
        first_moments(m, v, g, betas)
        return m / (1 - betas[0] ** t), lr / (np.sqrt(v) + eps)


class CountsFromTwo(Adam):
    def rule(self, p, g, m, v, *, t, **hyper):
        return super().rule(p, g, m, v, t=t + 1, **hyper)


class CountsStepsNotUpdates(Adam):
    """t of the whole optimizer, though a parameter without a gradient has missed some of its steps."""

    def rule(self, p, g, m, v, *, t, lr, betas, eps):
        return super().rule(p, g, m, v, t=self.steps + 1, lr=lr, betas=betas, eps=eps)


class EpsInsideTheRoot(Adam):
    def rule(self, p, g, m, v, *, t, lr, betas, eps):
        first_moments(m, v, g, betas)
        return m / (1 - betas[0] ** t), lr / np.sqrt(v / (1 - betas[1] ** t) + eps)


class SquareOfEpsInsideTheRoot(Adam):
    def rule(self, p, g, m, v, *, t, lr, betas, eps):
        first_moments(m, v, g, betas)
        return m / (1 - betas[0] ** t), lr / np.sqrt(v / (1 - betas[1] ** t) + eps**2)


class EpsBeforeTheCorrection(Adam):
    """The paper's "epsilon hat", as in Keras: lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps)."""

    def rule(self, p, g, m, v, *, t, lr, betas, eps):
        first_moments(m, v, g, betas)
        return m, lr * np.sqrt(1 - betas[1] ** t) / (1 - betas[0] ** t) / (np.sqrt(v) + eps)


class EpsAsAFloor(Adam):
    def rule(self, p, g, m, v, *, t, lr, betas, eps):
        first_moments(m, v, g, betas)
        return m / (1 - betas[0] ** t), lr / np.maximum(np.sqrt(v / (1 - betas[1] ** t)), eps)


class BetasSwapped(Adam):
    def rule(self, p, g, m, v, *, betas, **hyper):
        return super().rule(p, g, m, v, betas=betas[::-1], **hyper)


class MeanFromTheOldGradient(Adam):
    """The mean is updated after it was used: one step late."""

    def rule(self, p, g, m, v, *, t, lr, betas, eps):
        direction = m / (1 - betas[0] ** t)
        first_moments(m, v, g, betas)
        return direction, lr / (np.sqrt(v / (1 - betas[1] ** t)) + eps)


class DecayCoupled(AdamW):
    decay = "coupled"


class DecayDecoupled(Adam):
    decay = "decoupled"


class DecayAfterTheStep(AdamW):
    """(1 - lr weight_decay) (p - step), the new weights decayed and not the old ones."""

    def _update(self, slab, part, t, weight_decay=0.0, **hyper):
        super()._update(slab, part, t, 0.0, **hyper)
        slab.data[part] *= 1 - hyper["lr"] * weight_decay


class DecayWithoutLearningRate(AdamW):
    def _update(self, slab, part, t, weight_decay=0.0, **hyper):
        super()._update(slab, part, t, weight_decay / hyper["lr"] * 1e-3, **hyper)


class NesterovIgnored(SGD):
    def rule(self, p, g, v=None, *, nesterov, **hyper):
        return super().rule(p, g, v, nesterov=False, **hyper)


class NesterovWithTheOldVelocity(SGD):
    def rule(self, p, g, v=None, *, t, lr, momentum, dampening, nesterov):
        before = v.copy()
        super().rule(p, g, v, t=t, lr=lr, momentum=momentum, dampening=dampening, nesterov=True)
        return g + momentum * before, lr


class FirstStepDampened(SGD):
    def rule(self, p, g, v=None, *, t, lr, momentum, dampening, nesterov):
        v *= momentum
        v += (1 - dampening) * g
        return v, lr


class DampenedLikeAnAverage(SGD):
    def rule(self, p, g, v=None, *, dampening, momentum, **hyper):
        return super().rule(p, g, v, dampening=momentum, momentum=momentum, **hyper)


class RateInsideTheVelocity(SGD):
    """v <- momentum v + lr g, p <- p - v: the same until the learning rate changes."""

    def rule(self, p, g, v=None, *, t, lr, momentum, dampening, nesterov):
        v *= momentum
        v += lr * g
        return v, 1.0


class DecayBesideTheVelocity(SGD):
    decay = "decoupled"


class DampeningIgnored(SGD):
    def rule(self, p, g, v=None, *, dampening, **hyper):
        return super().rule(p, g, v, dampening=0.0, **hyper)


class NoGradientTakenForZero(SGD):
    """The velocity goes on carrying a parameter that has no gradient in this step."""

    def step(self):
        for p in self.param_groups[0]["params"]:
            p.grad = np.zeros_like(p.data) if p.grad is None else p.grad
        super().step()


MISTAKES = [
    ("adam", NoBiasCorrection),
    ("adam", NoBiasCorrectionOfTheMean),
    ("adam", NoBiasCorrectionOfTheSquare),
    ("adam", CountsFromTwo),
    ("adam", CountsStepsNotUpdates),
    ("adam", EpsInsideTheRoot),
    ("adam_eps", SquareOfEpsInsideTheRoot),
    ("adam", EpsBeforeTheCorrection),
    ("adam", EpsAsAFloor),
    ("adam", BetasSwapped),
    ("adam", MeanFromTheOldGradient),
    ("adam_decay", DecayDecoupled),
    ("adamw", DecayCoupled),
    ("adamw", DecayAfterTheStep),
    ("adamw_decay", DecayWithoutLearningRate),
    ("sgd_nesterov", NesterovIgnored),
    ("sgd_nesterov", NesterovWithTheOldVelocity),
    ("sgd_dampening", FirstStepDampened),
    ("sgd_dampening", DampeningIgnored),
    ("sgd_momentum", NoGradientTakenForZero),
    ("sgd_momentum", DampenedLikeAnAverage),
    ("sgd_momentum", RateInsideTheVelocity),
    ("sgd_momentum_decay", DecayBesideTheVelocity),
]


@pytest.mark.parametrize(("case", "wrong"), MISTAKES, ids=lambda x: getattr(x, "__name__", x))
def test_a_mistake_is_refused(case, wrong):
    assert worst(run_ours(wrong, CASES[case][1]), golden[case]) > 1e3 * TOLERANCE["float64"]


def test_only_the_change_of_the_learning_rate_reveals_a_rate_inside_the_velocity():
    ours, theirs = run_ours(RateInsideTheVelocity, CASES["sgd_momentum"][1]), golden["sgd_momentum"]
    before = [step < 67 for step in about["recorded"]]
    assert worst(ours[before], theirs[before]) <= 1e-12 < worst(ours, theirs)


def test_first_moments_is_adams():
    """The helper of the mistakes has no mistake of its own: with it, the right formula passes."""

    class Right(Adam):
        def rule(self, p, g, m, v, *, t, lr, betas, eps):
            first_moments(m, v, g, betas)
            return m / (1 - betas[0] ** t), lr / (np.sqrt(v / (1 - betas[1] ** t)) + eps)

    assert worst(run_ours(Right, CASES["adam"][1]), golden["adam"]) <= 1e-12
