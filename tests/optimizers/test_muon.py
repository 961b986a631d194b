"""Muon: against the singular value decomposition that it avoids, and against PyTorch's formulas in float64.

PyTorch runs the iteration in bfloat16, so its own steps agree with ours to two digits; here its code runs in float64.
"""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from optimizers import L1, L2, AdamW, Muon
from optimizers.muon import orthogonalized

SHAPES = [(6, 4), (4, 6), (5, 5), (3, 1), (1, 3)]
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
STEPS, SLOWER = 60, 31
CASES = {
    "defaults": {"lr": 1e-2},
    "no nesterov": {"lr": 1e-2, "nesterov": False, "momentum": 0.8},
    "no momentum": {"lr": 1e-2, "momentum": 0.0},
    "match": {"lr": 1e-2, "match_rms_adamw": True, "weight_decay": 0.3},
    "other iteration": {"lr": 1e-2, "ns_steps": 12, "ns_coefficients": (2.0, -1.5, 0.5), "eps": 0.1},
}


def parameter(values, dtype="float64"):
    return SimpleNamespace(data=np.array(values, dtype), grad=None)


def start(seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape) for shape in SHAPES]


def gradients(seed=1):
    """Of sizes from 1e-3 to 1e3; none for the second in every 7th step, and one step of zeros."""
    rng = np.random.default_rng(seed)
    rows = [[10.0 ** (3 - i) * rng.standard_normal(shape) for i, shape in enumerate(SHAPES)] for _ in range(STEPS)]
    rows[5] = [np.zeros(shape) for shape in SHAPES]
    for k in range(6, STEPS, 7):
        rows[k][1] = None
    return rows


def moved(kind, options, dtype="float64"):
    """The parameters at the end, lr a tenth from step SLOWER on."""
    ps = [parameter(p, dtype) for p in start()]
    opt = kind(ps, **options)
    for k, row in enumerate(gradients(), start=1):
        if k == SLOWER:
            opt.lr *= 0.1
        for p, g in zip(ps, row, strict=True):
            p.grad = None if g is None else g.astype(dtype)
        opt.step()
    return [p.data for p in ps]


def worst(ours, theirs):
    return max(np.nan_to_num(np.abs(a - b) / (1 + np.abs(b)), nan=np.inf).max() for a, b in zip(ours, theirs, strict=True))


def by_singular_values(
    options, nesterov=True, momentum=0.95, ns_steps=5, ns_coefficients=COEFFICIENTS, eps=1e-7, match_rms_adamw=False
):
    """The same by definition: every singular value goes through the polynomial a s + b s^3 + c s^5, the vectors stay."""
    a, b, c = ns_coefficients
    weights = start()
    for i, (w, (fan_in, fan_out)) in enumerate(zip(weights, SHAPES, strict=True)):
        buffer = np.zeros_like(w)
        for k, row in enumerate(gradients(), start=1):
            g, lr = row[i], options["lr"] * (1 if k < SLOWER else 0.1)
            if g is None:
                continue
            buffer = momentum * buffer + (1 - momentum) * g
            u, s, v = np.linalg.svd(momentum * buffer + (1 - momentum) * g if nesterov else buffer, full_matrices=False)
            s = s / max(math.sqrt(sum(s * s)), eps)
            for _ in range(ns_steps):
                s = a * s + b * s**3 + c * s**5
            ratio = 0.2 * max(fan_in, fan_out) ** 0.5 if match_rms_adamw else max(1, fan_out / fan_in) ** 0.5
            w = (1 - lr * options.get("weight_decay", 0.1)) * w - lr * ratio * (u * s) @ v
        weights[i] = w
    return weights


expected = {
    case: by_singular_values(options, **{k: v for k, v in options.items() if k not in ("lr", "weight_decay")})
    for case, options in CASES.items()
}


@pytest.mark.parametrize("case", CASES)
def test_equal_to_its_definition(case):
    assert worst(moved(Muon, CASES[case]), expected[case]) <= 1e-12


@pytest.mark.parametrize("case", CASES)
def test_float32(case):
    ours = moved(Muon, CASES[case], "float32")
    assert {p.dtype.name for p in ours} == {"float32"}
    assert worst(ours, expected[case]) <= 2e-5


@pytest.mark.parametrize("case", CASES)
def test_equal_to_torch_in_float64(case, monkeypatch):
    torch = pytest.importorskip("torch", reason="compares with PyTorch directly; the definition above needs no torch")
    from torch.optim import _muon

    class InFull(torch.Tensor):
        def bfloat16(self):
            return self.clone()

    theirs = _muon._zeropower_via_newtonschulz
    monkeypatch.setattr(
        _muon,
        "_zeropower_via_newtonschulz",
        lambda d, *rest: theirs(d.as_subclass(InFull), *rest).as_subclass(torch.Tensor),
    )
    options = dict(CASES[case])
    if options.pop("match_rms_adamw", False):
        options["adjust_lr_fn"] = "match_rms_adamw"
    ps = [torch.tensor(p.T.copy(), requires_grad=True) for p in start()]  # PyTorch's weights are [out, in]
    opt = torch.optim.Muon(ps, **options)
    for k, row in enumerate(gradients(), start=1):
        if k == SLOWER:
            opt.param_groups[0]["lr"] *= 0.1
        for p, g in zip(ps, row, strict=True):
            p.grad = None if g is None else torch.tensor(g.T.copy())
        opt.step()
    assert worst(moved(Muon, CASES[case]), [p.detach().numpy().T for p in ps]) <= 1e-12


# The direction ----------------------------------------------------------------------------------------------------------


def with_singular_values(shape, values, seed=0):
    rng = np.random.default_rng(seed)
    u, _, v = np.linalg.svd(rng.standard_normal(shape), full_matrices=False)
    return (u * values) @ v, u @ v


@pytest.mark.parametrize("shape", [(8, 8), (8, 20), (20, 8), (2, 30)])
def test_singular_values_come_near_one_and_their_vectors_stay(shape):
    n = min(shape)
    for seed in range(20):
        values = np.random.default_rng(seed).uniform(0.1, 1, n)
        d, polar = with_singular_values(shape, values, seed)
        x = orthogonalized(1e3 * d, COEFFICIENTS, 5, 1e-7)
        found = np.linalg.svd(x, compute_uv=False)
        assert found.min() > 0.67
        assert found.max() < 1.21
        assert np.linalg.norm(x - polar, 2) < 0.34  # U V^T, and not another orthogonal matrix


def test_with_the_classical_coefficients_it_converges_to_the_polar_factor():
    """Higham 2008, Functions of Matrices, section 8.3: x <- (3 x - x x^T x) / 2."""
    d, polar = with_singular_values((6, 4), np.array([1.0, 0.5, 0.1, 0.02]))
    assert np.allclose(orthogonalized(d, (1.5, -0.5, 0.0), 40, 1e-7), polar, atol=1e-12)


def test_neither_scale_nor_sides_matter():
    d = start()[0]
    x = orthogonalized(d, COEFFICIENTS, 5, 1e-7)
    assert np.array_equal(orthogonalized(1024 * d, COEFFICIENTS, 5, 1e-7), x)
    assert np.allclose(orthogonalized(d.T, COEFFICIENTS, 5, 1e-7), x.T, rtol=1e-13)
    assert np.array_equal(orthogonalized(-d, COEFFICIENTS, 5, 1e-7), -x)


def test_many_matrices_at_once_equal_each_alone():
    stack = np.random.default_rng(0).standard_normal((2, 3, 6, 4))
    alone = np.array([[orthogonalized(d, COEFFICIENTS, 5, 1e-7) for d in row] for row in stack])
    assert np.allclose(orthogonalized(stack, COEFFICIENTS, 5, 1e-7), alone, rtol=1e-12)
    together, single = parameter(stack), [parameter(d) for d in stack.reshape(6, 6, 4)]
    for opt, ps in ((Muon([together], lr=0.1), [together]), (Muon(single, lr=0.1), single)):
        for _ in range(3):
            for p in ps:
                p.grad = np.sin(p.data)
            opt.step()
    assert np.allclose(together.data.reshape(6, 6, 4), [p.data for p in single], rtol=1e-11)


def test_a_gradient_of_zero_moves_nothing_but_the_decay():
    p = parameter(np.ones((3, 2)))
    opt = Muon([p], lr=0.5, weight_decay=0.2)
    p.grad = np.zeros((3, 2))
    opt.step()
    assert np.allclose(p.data, 0.9, rtol=1e-15)


def test_every_matrix_by_itself_and_the_rest_to_adamw():
    """Two optimizers share a model; a matrix's step does not depend on the other matrices."""
    w1, w2, b = (parameter(x) for x in (start()[0], start()[1], np.zeros(3)))
    alone = parameter(start()[1])
    muon, adamw, single = Muon([w1, w2], lr=0.1), AdamW([b]), Muon([alone], lr=0.1)
    for k in range(3):
        for p in (w1, w2, b, alone):
            p.grad = np.cos(p.data + k)
        for opt in (muon, adamw, single):
            opt.step()
    assert w2.data.tobytes() == alone.data.tobytes()
    assert b.data.any()


# Mistakes ---------------------------------------------------------------------------------------------------------------


class NesterovIgnored(Muon):
    def rule(self, p, g, b, *, nesterov, **hyper):
        return super().rule(p, g, b, nesterov=False, **hyper)


class BufferNotDampened(Muon):
    """b <- momentum b + g, as in SGD, though the gradient beside it is dampened."""

    def rule(self, p, g, b, *, lr, momentum, eps, **hyper):
        d = (1 - momentum) * g + momentum * (momentum * b / (1 - momentum) + g)
        _, step = super().rule(p, g, b, lr=lr, momentum=momentum, eps=eps, **hyper)
        return orthogonalized(d, COEFFICIENTS, 5, eps), step


class RatioTurned(Muon):
    """As for PyTorch's weights, [out, in]."""

    def rule(self, p, g, b, *, lr, **hyper):
        direction, _ = super().rule(p, g, b, lr=lr, **hyper)
        return direction, lr * math.sqrt(max(1.0, p.shape[0] / p.shape[1]))


class NoRatio(Muon):
    def rule(self, p, g, b, *, lr, **hyper):
        return super().rule(p, g, b, lr=lr, **hyper)[0], lr


class DecayTimesTheRatio(Muon):
    def _update(self, slab, part, t, weight_decay=0.0, **hyper):
        fan_in, fan_out = part[0].shape[-2:]
        super()._update(slab, part, t, weight_decay * math.sqrt(max(1.0, fan_out / fan_in)), **hyper)


class DecayCoupled(Muon):
    decay = "coupled"


class OneIterationLess(Muon):
    def rule(self, p, g, b, *, ns_steps, **hyper):
        return super().rule(p, g, b, ns_steps=ns_steps - 1, **hyper)


class LargestRowNotFrobenius(Muon):
    """Brought below 1 by the largest row, and not by the whole."""

    def rule(self, p, g, b, *, momentum, eps, **hyper):
        _, step = super().rule(p, g, b, momentum=momentum, eps=eps, **hyper)
        d = g * (1 - momentum) + momentum * b
        d = d / np.maximum(np.linalg.norm(d, axis=-1).max(), eps)
        a, b2, c = COEFFICIENTS
        for _ in range(5):
            gram = d @ d.T
            d = a * d + (b2 * gram + c * gram @ gram) @ d
        return d, step


class AllInOneSlice(Muon):
    whole = False

    def rule(self, p, g, b, **hyper):
        return super().rule(p[None], g[None], b[None], **hyper)[0][0], hyper["lr"]


MISTAKES = [value for value in list(globals().values()) if isinstance(value, type) and Muon in value.__bases__]


@pytest.mark.parametrize("wrong", MISTAKES, ids=lambda x: x.__name__)
def test_a_mistake_is_refused(wrong):
    with np.errstate(all="ignore"):  # one of them overflows
        assert worst(moved(wrong, CASES["defaults"]), expected["defaults"]) > 1e-4


def test_so_many_mistakes():
    assert len(MISTAKES) == 9


# Bad input --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda w, b: Muon([("w", w), ("b", b)]),
            ValueError,
            r"^Muon moves matrices, and 'b' has shape \(4,\): give .* to an optimizer of their own, such as AdamW$",
        ),
        (lambda w, b: Muon([parameter(1.0)]), ValueError, r"'parameter 0' has shape \(\)"),
        (lambda w, b: Muon([{"params": [w]}, {"params": [("bias", b)]}]), ValueError, "Muon moves matrices, and 'bias'"),
        (lambda w, b: Muon([w], penalty=L1(0.1)), ValueError, "Muon does not weigh a gradient by its size"),
        (lambda w, b: Muon([w], penalty=L2(0.1)), ValueError, "weight_decay=0.1 and an L2 penalty are the same thing"),
        (lambda w, b: Muon([w], ns_steps=0), ValueError, r"ns_steps must lie in \[1, 100\), got 0"),
        (lambda w, b: Muon([w], ns_steps=100), ValueError, r"ns_steps must lie in \[1, 100\), got 100"),
        (lambda w, b: Muon([w], ns_steps=2.5), ValueError, "ns_steps must be a whole number, got 2.5"),
        (
            lambda w, b: Muon([w], ns_coefficients=(1.5, -0.5)),
            TypeError,
            r"ns_coefficients must be a tuple of 3 .*\(1.5, -0.5\)",
        ),
        (
            lambda w, b: Muon([w], ns_coefficients=(1.5, -0.5, math.nan)),
            ValueError,
            "ns_coefficients must lie in .* got nan",
        ),
        (lambda w, b: Muon([w], eps=0), ValueError, r"eps must lie in \(0, inf\), got 0"),
        (lambda w, b: Muon([w], momentum=1), ValueError, r"momentum must lie in \[0, 1\), got 1"),
    ],
)
def test_refused_with_a_clear_message(make, error, message):
    with pytest.raises(error, match=message):
        make(parameter(np.ones((3, 4))), parameter(np.ones(4)))
