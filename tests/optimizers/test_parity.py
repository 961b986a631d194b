"""The optimizers move as PyTorch's do: over 1000 steps, against recorded trajectories, and against torch where it is there.

Lion and AdaBelief, which PyTorch has not, are held against their papers, written out for one number at a time.

The last part keeps mistakes that are easily made (and that a falling loss does not reveal), each as a small wrong
optimizer: the same comparison must refuse every one of them.
"""

import json
import math
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import optimizers
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

GOLDENS = Path(__file__).parents[1] / "goldens"
torch_run = runpy.run_path(str(GOLDENS / "make_torch.py"))
CASES, SLOWER, HEAVIER, RECORDED = (torch_run[name] for name in ("CASES", "SLOWER", "HEAVIER", "RECORDED"))
with np.load(GOLDENS / "torch_optimizers.npz") as file:
    about = json.loads(str(file["about"]))
    golden = dict(zip(about["cases"], file["rows"], strict=True))
TOLERANCE = {"float64": 1e-12, "float32": 2e-5}  # of 1 + |p|
both_dtypes = pytest.mark.parametrize("dtype", TOLERANCE)

gradients = {seed: torch_run["gradients"](seed) for seed in (about["seed"], 100)}


def settings(options):
    """Our settings for PyTorch's: a decoupled decay is a penalty here, and heavier from the same step on."""
    ours = dict(options)
    if ours.pop("decoupled_weight_decay", False):
        decay = ours.pop("weight_decay")
        ours["penalty"] = L2(lambda k: decay if k + 1 < HEAVIER else 3 * decay, "decoupled")
    return ours


def run_ours(kind, options, seed=about["seed"], dtype="float64", steps=torch_run["STEPS"]):
    parameters = [SimpleNamespace(data=p.astype(dtype), grad=None) for p in torch_run["start"](seed)]
    optimizer = kind(torch_run["groups"](parameters, options["lr"]), **settings(options))
    return torch_run["run"](optimizer, parameters, gradients[seed][:steps], as_gradient=lambda g: g.astype(dtype))


def worst(ours, theirs):
    """The greatest difference, as a part of 1 + |p|; a nan counts as infinite."""
    return np.nan_to_num(np.abs(ours - theirs) / (1 + np.abs(theirs)), nan=np.inf).max()


def test_the_gradients_are_those_that_were_recorded():
    assert torch_run["checksum"](about["seed"]) == about["checksum"]
    assert about["recorded"] == RECORDED
    assert json.loads(json.dumps(CASES)) == about["cases"]
    assert (GOLDENS / "torch_optimizers.npz").stat().st_size < 50_000


def test_the_gradients_show_what_they_should():
    rows = [torch_run["flatten"]([np.zeros(5) if g is None else g for g in row]) for row in gradients[about["seed"]]]
    sizes = np.abs(rows).max(axis=0)
    assert sizes.min() < 1e-5
    assert sizes.max() > 10
    assert 0.05 < np.mean(np.array(rows) == 0) < 0.2
    assert not rows[29].any()
    assert sum(row[1] is None for row in gradients[about["seed"]]) == 111


@both_dtypes
@pytest.mark.parametrize("case", CASES)
def test_equal_to_recorded_torch(case, dtype):
    kind, options = CASES[case]
    ours = run_ours(getattr(optimizers, kind), options, dtype=dtype)
    assert ours.dtype == dtype
    assert worst(ours, golden[case]) <= TOLERANCE[dtype]


@both_dtypes
@pytest.mark.parametrize("case", CASES)
def test_equal_to_torch_on_other_gradients(case, dtype):
    pytest.importorskip("torch", reason="compares with PyTorch directly; the recorded comparison above needs no torch")
    kind, options = CASES[case]
    ours = run_ours(getattr(optimizers, kind), options, seed=100, dtype=dtype)
    assert worst(ours, torch_run["run_torch"](case, 100, dtype)) <= TOLERANCE[dtype]


def test_every_rule_of_torch_that_we_have_is_compared():
    ours = {name for name in optimizers.__all__ if isinstance(getattr(optimizers, name), type)}
    torchs = {"SGD", "Adagrad", "Adadelta", "RMSprop", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "Rprop"}
    assert {kind for kind, _ in CASES.values()} == torchs <= ours


@pytest.fixture
def torch():
    """PyTorch on one thread, in double precision: NAdam's product of the momenta has the default dtype."""
    torch = pytest.importorskip("torch", reason="compares with PyTorch directly; the recorded comparisons need no torch")
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    yield torch
    torch.set_default_dtype(dtype)
    torch.set_num_threads(threads)


@pytest.mark.parametrize("kind", ["SGD", "RMSprop", "Adam", "AdamW", "NAdam", "Adadelta"])
def test_a_net_trains_as_in_torch(kind, torch):
    """Each library with gradients of its own: what differs is fed back."""
    tinynet = pytest.importorskip("tinynet", reason="the optimizers are usable without the engine")
    x, y = tinynet.datasets.moons(40, noise=0.1, seed=0)
    x = x.astype("float64")
    ours = tinynet.MLP([2, 8, 2], activation="tanh", seed=0)
    for p in ours.parameters():
        p.data = p.data.astype("float64")
    theirs = [torch.tensor(p.data, requires_grad=True) for p in ours.parameters()]
    w1, b1, w2, b2 = theirs
    options = {"lr": 0.01}
    optimizer, other = (
        getattr(optimizers, kind)(list(ours.parameters()), **options),
        getattr(torch.optim, kind)(theirs, **options),
    )
    for _ in range(200):
        optimizer.zero_grad()
        other.zero_grad()
        tinynet.cross_entropy(ours(x), y).backward()
        logits = torch.tanh(torch.tensor(x) @ w1 + b1) @ w2 + b2
        torch.nn.functional.cross_entropy(logits, torch.tensor(y).long()).backward()
        optimizer.step()
        other.step()
    for p, q in zip(ours.parameters(), theirs, strict=True):
        assert worst(p.data, q.detach().numpy()) <= 1e-9


# Against the papers -----------------------------------------------------------------------------------------------------


def lion(p, g, t, kept, *, lr, weight_decay, betas):
    """Chen et al. 2023, algorithm 2, in its order: the step is made with the old mean, and the mean is updated after it."""
    m = kept.get("m", 0.0)
    c = betas[0] * m + (1 - betas[0]) * g
    kept["m"] = betas[1] * m + (1 - betas[1]) * g
    return p - lr * ((c > 0) - (c < 0) + weight_decay * p)


def adabelief(p, g, t, kept, *, lr, weight_decay, betas, eps):
    """Zhuang et al. 2020, algorithm 2, with eps added to s for good, as there."""
    b1, b2 = betas
    kept["m"] = m = b1 * kept.get("m", 0.0) + (1 - b1) * g
    kept["s"] = s = b2 * kept.get("s", 0.0) + (1 - b2) * (g - m) ** 2 + eps
    return (1 - lr * weight_decay) * p - lr * (m / (1 - b1**t)) / (math.sqrt(s / (1 - b2**t)) + eps)


def by_hand(update, lr, weight_decay=0.0, **options):
    """The rows of the experiment, one number at a time."""
    columns = []
    for i, first in enumerate(torch_run["start"](about["seed"])):
        for j, p in enumerate(first.ravel().tolist()):
            kept, t, column = {}, 0, []
            for k, row in enumerate(gradients[about["seed"]], start=1):
                if row[i] is not None:
                    rate = lr * (1 if i < 2 else 3) * (1 if k < SLOWER else 0.1)
                    decay = weight_decay * (1 if k < HEAVIER else 3)
                    t += 1
                    p = update(p, row[i].flat[j].item(), t, kept, lr=rate, weight_decay=decay, **options)
                if k in RECORDED:
                    column.append(p)
            columns.append(column)
    return np.array(columns).T


PAPERS = {
    "lion": (Lion, lion, {"lr": 1e-3, "betas": (0.9, 0.99)}),
    "lion_decay": (Lion, lion, {"lr": 1e-2, "betas": (0.8, 0.95), "weight_decay": 0.1}),
    "adabelief": (AdaBelief, adabelief, {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-12}),
    "adabelief_decay": (AdaBelief, adabelief, {"lr": 1e-2, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}),
}
golden |= {case: by_hand(update, **options) for case, (_, update, options) in PAPERS.items()}


@both_dtypes
@pytest.mark.parametrize("case", PAPERS)
def test_equal_to_the_paper(case, dtype):
    kind, _, options = PAPERS[case]
    ours = run_ours(kind, options, dtype=dtype)
    assert ours.dtype == dtype
    assert worst(ours, golden[case]) <= TOLERANCE[dtype]


# Mistakes ---------------------------------------------------------------------------------------------------------------


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


class LargestAfterTheCorrection(Adam):
    def rule(self, p, g, *state, debias_max, **hyper):
        return super().rule(p, g, *state, debias_max=True, **hyper)


class LargestForgotten(Adam):
    def rule(self, p, g, m, v, v_max, *, amsgrad, **hyper):
        return super().rule(p, g, m, v, amsgrad=False, **hyper)


class LargestGoesOn(Adam):
    """The running mean goes on from the largest, and not from itself."""

    def rule(self, p, g, m, v, v_max, **hyper):
        answer = super().rule(p, g, m, v, v_max, **hyper)
        v[...] = v_max
        return answer


class DecayCoupled(AdamW):
    decay = "coupled"


class DecayDecoupled(Adam):
    decay = "decoupled"


class DecayAfterTheStep(AdamW):
    """(1 - lr weight_decay) (p - step), the new weights decayed and not the old ones."""

    def _update(self, slab, part, t, weight_decay=0.0, **hyper):
        super()._update(slab, part, t, 0.0, **hyper)
        part[0][...] *= 1 - hyper["lr"] * weight_decay


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
        for p in (p for group in self.param_groups for p in group["params"]):
            p.grad = np.zeros_like(p.data) if p.grad is None else p.grad
        super().step()


class FirstGroupsRate(SGD):
    """The learning rate of the first group for all."""

    def rule(self, p, g, *, lr, **hyper):
        return g, self.param_groups[0]["lr"]


class SumDecaysFromTheFirstStep(Adagrad):
    def rule(self, p, g, s, *, t, lr, lr_decay, eps):
        s += g * g
        return g, lr / (1 + t * lr_decay) / (np.sqrt(s) + eps)


class SumStartsFromZero(Adagrad):
    def rule(self, p, g, s, *, initial_accumulator_value, **hyper):
        return super().rule(p, g, s, initial_accumulator_value=0.0, **hyper)


class SumWithEpsInside(Adagrad):
    def rule(self, p, g, s, *, eps_inside, **hyper):
        return super().rule(p, g, s, eps_inside=True, **hyper)


class SumAfterTheStep(Adagrad):
    """Divided by the gradients before this one only."""

    def rule(self, p, g, s, *, t, lr, eps):
        before = s.copy()
        s += g * g
        return g, lr / (np.sqrt(before) + eps) if t > 1 else lr / (np.abs(g) + eps)


class DeltaWithoutUnits(Adadelta):
    """RMSprop: the numerator is left out."""

    def rule(self, p, g, s, d, *, t, lr, rho, eps):
        s += (1 - rho) * (g * g - s)
        return g, lr / np.sqrt(s + eps)


class DeltaOfThisStep(Adadelta):
    """The numerator already contains this step's."""

    def rule(self, p, g, s, d, *, t, lr, rho, eps):
        s += (1 - rho) * (g * g - s)
        delta = np.sqrt(d + eps) / np.sqrt(s + eps) * g
        d += (1 - rho) * (delta * delta - d)
        return g, lr * np.sqrt(d + eps) / np.sqrt(s + eps)


class DeltaWithEpsOutside(Adadelta):
    def rule(self, p, g, s, d, *, t, lr, rho, eps):
        s += (1 - rho) * (g * g - s)
        step = (np.sqrt(d) + eps) / (np.sqrt(s) + eps)
        d += (1 - rho) * ((step * g) ** 2 - d)
        return g, lr * step


class DeltaTimesTheRate(Adadelta):
    """What is accumulated is the move, learning rate and all."""

    def rule(self, p, g, s, d, *, t, lr, rho, eps):
        s += (1 - rho) * (g * g - s)
        step = lr * np.sqrt(d + eps) / np.sqrt(s + eps)
        d += (1 - rho) * ((step * g) ** 2 - d)
        return g, step


class RateInsideTheBuffer(RMSprop):
    def rule(self, p, g, *state, lr_in_buffer, **hyper):
        return super().rule(p, g, *state, lr_in_buffer=True, **hyper)


class SquareWithEpsInside(RMSprop):
    def rule(self, p, g, *state, eps_inside, **hyper):
        return super().rule(p, g, *state, eps_inside=True, **hyper)


class NotCentered(RMSprop):
    def rule(self, p, g, s, mean, *, centered, **hyper):
        return super().rule(p, g, s, centered=False, **hyper)


class CenteredOnTheOldMean(RMSprop):
    def rule(self, p, g, s, mean, *, t, lr, alpha, eps, momentum, centered):
        s += (1 - alpha) * (g * g - s)
        variance = np.maximum(s - mean * mean, 0)
        mean += (1 - alpha) * (g - mean)
        return g, lr / (np.sqrt(variance) + eps)


class BufferOfGradients(RMSprop):
    """The velocity sums gradients, and this step's size divides them all."""

    def rule(self, p, g, s, b, *, t, lr, alpha, eps, momentum, centered):
        s += (1 - alpha) * (g * g - s)
        b *= momentum
        b += g
        return b, lr / (np.sqrt(s) + eps)


class SquareCorrected(RMSprop):
    """With Adam's bias correction."""

    def rule(self, p, g, s, *, t, lr, alpha, eps, momentum, centered):
        s += (1 - alpha) * (g * g - s)
        return g, lr / (np.sqrt(s / (1 - alpha**t)) + eps)


class NormWithEpsAfterwards(Adamax):
    def rule(self, p, g, m, u, *, t, lr, betas, eps):
        m += (1 - betas[0]) * (g - m)
        np.maximum(betas[1] * u, np.abs(g), out=u)
        return m / (1 - betas[0] ** t), lr / (u + eps)


class NormCorrected(Adamax):
    def rule(self, p, g, m, u, *, t, betas, **hyper):
        direction, step = super().rule(p, g, m, u, t=t, betas=betas, **hyper)
        return direction, step * (1 - betas[1] ** t)


class NormMeanNotCorrected(Adamax):
    def rule(self, p, g, m, u, **hyper):
        _, step = super().rule(p, g, m, u, **hyper)
        return m, step


class NormForEver(Adamax):
    """The largest of all gradients; nothing is forgotten."""

    def rule(self, p, g, m, u, *, t, lr, betas, eps):
        m += (1 - betas[0]) * (g - m)
        np.maximum(u, np.abs(g) + eps, out=u)
        return m / (1 - betas[0] ** t), lr / u


class MomentumWithoutSchedule(NAdam):
    """b1 from the first step on, as in Keras and optax."""

    def rule(self, p, g, m, v, product, *, t, lr, betas, eps, momentum_decay):
        first_moments(m, v, g, betas)
        b1, b2 = betas
        ahead = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
        return ahead, lr / (np.sqrt(v / (1 - b2**t)) + eps)


class MomentumLooksNotAhead(NAdam):
    """This step's momentum where the next one's belongs."""

    def rule(self, p, g, m, v, product, *, t, lr, betas, eps, momentum_decay):
        first_moments(m, v, g, betas)
        mu = betas[0] * (1 - 0.96 ** (t * momentum_decay) / 2)
        product[...] = mu if t == 1 else product * mu
        ahead = (1 - mu) / (1 - product) * g + mu / (1 - product * mu) * m
        return ahead, lr / (np.sqrt(v / (1 - betas[1] ** t)) + eps)


class MomentumCorrectedWithoutProduct(NAdam):
    """1 - b1^t where 1 - mu_1 ... mu_t belongs."""

    def rule(self, p, g, m, v, product, *, t, lr, betas, eps, momentum_decay):
        first_moments(m, v, g, betas)
        b1, b2 = betas
        mu, ahead = (b1 * (1 - 0.96 ** (k * momentum_decay) / 2) for k in (t, t + 1))
        direction = (1 - mu) / (1 - b1**t) * g + ahead / (1 - b1 ** (t + 1)) * m
        return direction, lr / (np.sqrt(v / (1 - b2**t)) + eps)


class MomentumDecayIgnored(NAdam):
    def rule(self, p, g, *state, momentum_decay, **hyper):
        return super().rule(p, g, *state, momentum_decay=4e-3, **hyper)


class NeverRectified(RAdam):
    """Adam, which trusts the second moment from the first step on."""

    def rule(self, p, g, m, v, *, t, lr, betas, eps):
        first_moments(m, v, g, betas)
        return m / (1 - betas[0] ** t), lr * math.sqrt(1 - betas[1] ** t) / (np.sqrt(v) + eps)


class RectifiedWithoutTheFactor(RAdam):
    """It waits, and then steps as Adam does."""

    def rule(self, p, g, m, v, *, t, lr, betas, eps):
        direction, step = super().rule(p, g, m, v, t=t, lr=lr, betas=betas, eps=eps)
        return direction, step if np.ndim(step) == 0 else lr * math.sqrt(1 - betas[1] ** t) / (np.sqrt(v) + eps)


class RectifiedTooEarly(RAdam):
    """From rho > 4 on, where the formula first has a value, and not from rho > 5."""

    def rule(self, p, g, m, v, *, t, lr, betas, eps):
        direction, step = super().rule(p, g, m, v, t=t, lr=lr, betas=betas, eps=eps)
        b2 = betas[1]
        most = 2 / (1 - b2) - 1
        rho = most - 2 * t * b2**t / (1 - b2**t)
        if 4 < rho <= 5:
            r = math.sqrt((rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho))
            step = lr * r * math.sqrt(1 - b2**t) / (np.sqrt(v) + eps)
        return direction, step


class RectifiedWithEpsAfterwards(RAdam):
    """eps beside the corrected root, as Adam has it."""

    def rule(self, p, g, m, v, *, t, lr, betas, eps):
        direction, step = super().rule(p, g, m, v, t=t, lr=lr, betas=betas, eps=eps)
        correction = math.sqrt(1 - betas[1] ** t)
        return direction, step if np.ndim(step) == 0 else step * (np.sqrt(v) + eps) / (np.sqrt(v) + eps * correction)


class StandsStillUntilRectified(RAdam):
    def rule(self, p, g, m, v, **hyper):
        direction, step = super().rule(p, g, m, v, **hyper)
        return direction, 0.0 if np.ndim(step) == 0 else step


class StaleStep(Rprop):
    """The step of the last update is applied, and the first does nothing, as in optax."""

    def rule(self, p, g, before, step, *, t, **hyper):
        last = 0 * g if t == 1 else np.sign(before) * step
        super().rule(p, g, before, step, t=t, **hyper)
        return last, 1.0


class FlipNotForgotten(Rprop):
    """After a flip the gradient is kept, and the next step shrinks or grows by it."""

    def rule(self, p, g, before, step, **hyper):
        answer = super().rule(p, g, before, step, **hyper)
        before[...] = g
        return answer


class MovesOnAFlip(Rprop):
    def rule(self, p, g, before, step, **hyper):
        super().rule(p, g, before, step, **hyper)
        return np.sign(g), step


class StepWithoutBounds(Rprop):
    def rule(self, p, g, before, step, *, step_sizes, **hyper):
        return super().rule(p, g, before, step, step_sizes=(1e-300, 1e300), **hyper)


class FactorsSwapped(Rprop):
    def rule(self, p, g, before, step, *, etas, **hyper):
        return super().rule(p, g, before, step, etas=etas[::-1], **hyper)


class StepChangedAfterTheMove(Rprop):
    def rule(self, p, g, before, step, *, t, lr, **hyper):
        last = np.full_like(step, lr) if t == 1 else step.copy()
        direction, _ = super().rule(p, g, before, step, t=t, lr=lr, **hyper)
        return direction, last


class MeanBeforeTheSign(Lion):
    """The mean is updated first, and its sign is taken."""

    def rule(self, p, g, m, *, t, lr, betas):
        m += (1 - betas[1]) * (g - m)
        return np.sign(m), lr


class MeanUpdatedBeforeTheMix(Lion):
    def rule(self, p, g, m, *, t, lr, betas):
        m += (1 - betas[1]) * (g - m)
        return np.sign(betas[0] * m + (1 - betas[0]) * g), lr


class MixWithBetasSwapped(Lion):
    def rule(self, p, g, m, *, betas, **hyper):
        return super().rule(p, g, m, betas=betas[::-1], **hyper)


class MixCoupledWithDecay(Lion):
    decay = "coupled"


class SurpriseOfTheOldMean(AdaBelief):
    def rule(self, p, g, m, s, *, t, lr, betas, eps):
        s += (1 - betas[1]) * ((g - m) ** 2 - s) + eps
        m += (1 - betas[0]) * (g - m)
        return m / (1 - betas[0] ** t), lr / (np.sqrt(s / (1 - betas[1] ** t)) + eps)


class SurpriseWithoutEps(AdaBelief):
    """eps only outside the root."""

    def rule(self, p, g, m, s, *, t, lr, betas, eps):
        m += (1 - betas[0]) * (g - m)
        s += (1 - betas[1]) * ((g - m) ** 2 - s)
        return m / (1 - betas[0] ** t), lr / (np.sqrt(s / (1 - betas[1] ** t)) + eps)


class SurpriseWithEpsForThisStep(AdaBelief):
    """eps is added for the root, and not kept in s."""

    def rule(self, p, g, m, s, *, t, lr, betas, eps):
        m += (1 - betas[0]) * (g - m)
        s += (1 - betas[1]) * ((g - m) ** 2 - s)
        return m / (1 - betas[0] ** t), lr / (np.sqrt((s + eps) / (1 - betas[1] ** t)) + eps)


class SurpriseIsTheSize(AdaBelief):
    """Adam."""

    def rule(self, p, g, m, s, *, t, lr, betas, eps):
        first_moments(m, s, g, betas)
        return m / (1 - betas[0] ** t), lr / (np.sqrt(s / (1 - betas[1] ** t)) + eps)


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
    ("amsgrad", LargestAfterTheCorrection),
    ("amsgrad", LargestForgotten),
    ("amsgrad", LargestGoesOn),
    ("adamw", DecayCoupled),
    ("adamw", DecayAfterTheStep),
    ("adamw_decay", DecayWithoutLearningRate),
    ("sgd", FirstGroupsRate),
    ("sgd_nesterov", NesterovIgnored),
    ("sgd_nesterov", NesterovWithTheOldVelocity),
    ("sgd_dampening", FirstStepDampened),
    ("sgd_dampening", DampeningIgnored),
    ("sgd_momentum", NoGradientTakenForZero),
    ("sgd_momentum", DampenedLikeAnAverage),
    ("sgd_momentum", RateInsideTheVelocity),
    ("sgd_momentum_decay", DecayBesideTheVelocity),
    ("adagrad_lr_decay", SumDecaysFromTheFirstStep),
    ("adagrad_start", SumStartsFromZero),
    ("adagrad", SumWithEpsInside),
    ("adagrad", SumAfterTheStep),
    ("adadelta", DeltaWithoutUnits),
    ("adadelta", DeltaOfThisStep),
    ("adadelta", DeltaWithEpsOutside),
    ("adadelta_rho", DeltaTimesTheRate),
    ("rmsprop_momentum", RateInsideTheBuffer),
    ("rmsprop_momentum", BufferOfGradients),
    ("rmsprop", SquareWithEpsInside),
    ("rmsprop", SquareCorrected),
    ("rmsprop_centered", NotCentered),
    ("rmsprop_centered", CenteredOnTheOldMean),
    ("adamax", NormWithEpsAfterwards),
    ("adamax", NormCorrected),
    ("adamax", NormMeanNotCorrected),
    ("adamax", NormForEver),
    ("nadam", MomentumWithoutSchedule),
    ("nadam", MomentumLooksNotAhead),
    ("nadam", MomentumCorrectedWithoutProduct),
    ("nadam_momentum_decay", MomentumDecayIgnored),
    ("radam", NeverRectified),
    ("radam", RectifiedWithoutTheFactor),
    ("radam", RectifiedTooEarly),
    ("radam_betas", RectifiedWithEpsAfterwards),
    ("radam", StandsStillUntilRectified),
    ("rprop", StaleStep),
    ("rprop", FlipNotForgotten),
    ("rprop", MovesOnAFlip),
    ("rprop_etas", StepWithoutBounds),
    ("rprop", FactorsSwapped),
    ("rprop", StepChangedAfterTheMove),
    ("lion", MeanBeforeTheSign),
    ("lion", MeanUpdatedBeforeTheMix),
    ("lion", MixWithBetasSwapped),
    ("lion_decay", MixCoupledWithDecay),
    ("adabelief", SurpriseOfTheOldMean),
    ("adabelief", SurpriseWithoutEps),
    ("adabelief", SurpriseWithEpsForThisStep),
    ("adabelief", SurpriseIsTheSize),
]


def options_of(case):
    return PAPERS[case][2] if case in PAPERS else CASES[case][1]


@pytest.mark.parametrize(("case", "wrong"), MISTAKES, ids=lambda x: getattr(x, "__name__", x))
def test_a_mistake_is_refused(case, wrong):
    with np.errstate(all="ignore"):  # some of them divide by 0
        ours = run_ours(wrong, options_of(case), steps=500)
    assert worst(ours, golden[case][: len(ours)]) > 1e3 * TOLERANCE["float64"]


def test_every_rule_has_mistakes_that_are_refused():
    planted = [wrong for _, wrong in MISTAKES]
    assert len(planted) == len(set(planted)) == 68
    rules = {optimizers.AdamW if kind == "AdamW" else getattr(optimizers, kind) for kind, _ in CASES.values()}
    assert {wrong.__bases__[0] for wrong in planted} == rules | {Lion, AdaBelief}


def test_only_the_change_of_the_learning_rate_reveals_a_rate_inside_the_velocity():
    before = [step < SLOWER for step in RECORDED]
    for case, wrong in (("sgd_momentum", RateInsideTheVelocity), ("rmsprop_momentum", RateInsideTheBuffer)):
        ours, theirs = run_ours(wrong, CASES[case][1]), golden[case]
        assert worst(ours[before], theirs[before]) <= 1e-12 < worst(ours, theirs)


def test_first_moments_is_adams():
    """The helper of the mistakes has no mistake of its own: with it, the right formula passes."""

    class Right(Adam):
        def rule(self, p, g, m, v, *, t, lr, betas, eps):
            first_moments(m, v, g, betas)
            return m / (1 - betas[0] ** t), lr / (np.sqrt(v / (1 - betas[1] ** t)) + eps)

    assert worst(run_ours(Right, CASES["adam"][1]), golden["adam"]) <= 1e-12
