"""Clipping: lengths by hand, as properties, at the ends of the range of floats, and against PyTorch's functions."""

import math
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.mixins import NDArrayOperatorsMixin

from optimizers.clipping import (
    AdaptiveClip,
    ClipNorm,
    ClipPerTensor,
    ClipValue,
    clip_grad_norm_,
    clip_grad_value_,
    suggest_max_norm,
)

LIMITS = [ClipNorm(1.0), ClipPerTensor(1.0), ClipValue(1.0), AdaptiveClip(0.1)]
every_clip = pytest.mark.parametrize("clip", LIMITS, ids=lambda clip: type(clip).__name__)


def clipped(clip, *grads, data=None):
    """Copies of the gradients after clipping; the data are ones if not given."""
    grads = [np.array(g) for g in grads]
    data = [np.ones_like(g) for g in grads] if data is None else data
    clip(list(zip(data, grads, strict=True)))
    return grads


def length(*grads):
    """The L2 norm in exact arithmetic of Python floats, free of the tricks under test."""
    return math.hypot(*(float(x) for g in grads for x in np.ravel(g)))


def parameters(*grads):
    return [SimpleNamespace(data=np.zeros(np.shape(g)), grad=None if g is None else np.array(g)) for g in grads]


def bits(arrays):
    return [a.tobytes() for a in arrays]


# By hand --------------------------------------------------------------------------------------------------------------


def test_the_norm_is_of_all_gradients_together():
    a, b, c = np.array([[1.0, 2.0], [2.0, 4.0]]), np.array([0.0]), np.array(12.0)
    norm = ClipNorm(6.5)([(None, a), (None, b), (None, c)])
    assert norm == 13.0  # 25 + 144
    assert (a.tolist(), b.tolist(), c.tolist()) == ([[0.5, 1], [1, 2]], [0], 6)


def test_per_tensor_each_has_its_own_factor():
    a, b, c = clipped(ClipPerTensor(5.0), [[6.0, 8.0]], [3.0, 4.0], 50.0)
    assert (a.tolist(), b.tolist(), c.tolist()) == ([[3, 4]], [3, 4], 5)


def test_value_moves_each_number_by_itself():
    a, b = clipped(ClipValue(0.5), [3.0, 0.25, -0.5, -7.0, math.inf, -math.inf], -2.0)
    assert a.tolist() == [0.5, 0.25, -0.5, -0.5, 0.5, -0.5]
    assert b == -0.5


def test_adaptive_clips_columns_relative_to_their_weights():
    w = np.array([[3.0, 0.0, 30.0], [4.0, 0.0, 40.0]])
    (g,) = clipped(AdaptiveClip(0.1, eps=0.2), [[3.0, 0.6, 3.0], [4.0, 0.8, 4.0]], data=[w])
    # column norms 5, 1, 5; limits 0.1 * (5, eps, 50)
    assert np.allclose(g, [[0.3, 0.012, 3.0], [0.4, 0.016, 4.0]], rtol=1e-14)


@pytest.mark.parametrize("shape", [(2,), (1, 2), (1, 1, 2)])
def test_adaptive_takes_a_bias_as_one_unit(shape):
    w, g = np.array([3.0, 4.0]).reshape(shape), np.array([8.0, 6.0]).reshape(shape)
    (g,) = clipped(AdaptiveClip(0.1), g, data=[w])
    assert np.allclose(g.ravel(), [0.4, 0.3], rtol=1e-14)


def test_adaptive_defaults_and_scalars():
    assert AdaptiveClip() == AdaptiveClip(ratio=0.01, eps=1e-3)
    (g,) = clipped(AdaptiveClip(0.1), -9.0, data=[np.array(2.0)])
    assert math.isclose(g, -0.2)


def test_only_the_norm_is_returned_and_it_is_that_before_clipping():
    pairs = [(np.ones(2), np.array([3.0, 4.0]))]
    assert ClipNorm(1.0)(pairs) == 5.0
    assert math.isclose(ClipNorm(math.inf)(pairs), 1.0)  # only measures
    assert pairs[0][1].tolist() == clipped(ClipNorm(1.0), [3.0, 4.0])[0].tolist()
    assert [clip(pairs) for clip in LIMITS[1:]] == [None] * 3


def test_no_gradients_at_all():
    assert [clip([]) for clip in LIMITS] == [0.0, None, None, None]
    assert ClipNorm(1.0, replicas=True)([]) == 0.0


# Properties -----------------------------------------------------------------------------------------------------------

numbers = st.floats(-1e3, 1e3, width=32)
shapes = st.lists(st.sampled_from([(), (1,), (3,), (2, 2), (0,), (0, 2), (2, 1, 3)]), min_size=1, max_size=4)


@st.composite
def gradients(draw, numbers=numbers):
    """Some gradients of mixed shapes and dtypes."""

    def array(shape):
        size = math.prod(shape)
        values = draw(st.lists(numbers, min_size=size, max_size=size))
        return np.array(values, draw(st.sampled_from(["float32", "float64"]))).reshape(shape)

    return [array(shape) for shape in draw(shapes)]


limits = st.floats(1e-2, 1e4)


def units(clip, grads):
    """The pieces that the clip gives a factor each."""
    if isinstance(clip, ClipNorm):
        return [grads]
    return [[g] for g in grads] if isinstance(clip, ClipPerTensor) else [[unit] for g in grads for unit in columns(g)]


def columns(g):
    """The units of a parameter, as AdaptiveClip's text defines them."""
    if g.ndim < 2:
        return [g]
    matrices = g.reshape(math.prod(g.shape[:-2]), *g.shape[-2:])
    return [unit for matrix in matrices for unit in (matrix if len(matrix) == 1 else matrix.T)]


norm_clips = st.one_of(
    st.builds(ClipNorm, limits), st.builds(ClipPerTensor, limits), st.builds(AdaptiveClip, limits, st.just(1.0))
)  # over data of 0, AdaptiveClip(r, eps=1) has the limit r


def limit_of(clip):
    return clip.ratio if isinstance(clip, AdaptiveClip) else clip.max_norm


def zeros(grads):
    return [np.zeros_like(g) for g in grads]


@given(gradients(), norm_clips)
def test_what_is_too_long_gets_the_limit_and_keeps_its_direction(grads, clip):
    after = clipped(clip, *grads, data=zeros(grads))
    limit = limit_of(clip)
    for old, new in zip(units(clip, grads), units(clip, after), strict=True):
        before = length(*old)
        factor = min(1, limit / before) if before else 1
        assert math.isclose(length(*new), factor * before, rel_tol=1e-6, abs_tol=1e-30)
        for a, b in zip(old, new, strict=True):
            assert b.dtype == a.dtype
            assert np.allclose(b, factor * a.astype("float64"), rtol=1e-6, atol=1e-30)


@given(gradients(), norm_clips)
def test_clipping_again_changes_nothing_but_the_last_digit(grads, clip):
    once = clipped(clip, *grads, data=zeros(grads))
    for a, b in zip(once, clipped(clip, *once, data=zeros(grads)), strict=True):
        assert np.allclose(a, b, rtol=2e-7, atol=1e-37)


@given(gradients(), st.sampled_from([ClipNorm, ClipPerTensor, ClipValue, AdaptiveClip]), st.floats(1, 10))
def test_what_is_within_the_limit_keeps_every_bit(grads, kind, room):
    """Also at the limit itself, which is computed here as in the clip: by float64 sums of squares."""
    grads = [*grads, np.array([-0.0, 1.0, 1e-45], "float32")]
    norm = float(np.sqrt(sum(np.square(g.astype("float64")).sum() for g in grads)))
    clip = kind(room * norm, 1.0) if kind is AdaptiveClip else kind(room * norm)
    assert bits(clipped(clip, *grads, data=zeros(grads))) == bits(grads)


@given(gradients(), limits, st.integers(-20, 20))
def test_scaling_gradients_and_limit_by_a_power_of_two_scales_the_result(grads, limit, power):
    c = 2.0**power
    grads = [np.where(np.abs(g) < 1e-20, 0, g).astype(g.dtype) for g in grads]  # whose scaled values would be rounded
    for kind in (ClipNorm, ClipPerTensor, ClipValue):
        expected = [c * g for g in clipped(kind(limit), *grads)]
        assert bits(clipped(kind(c * limit), *(c * g for g in grads))) == bits(expected)


@given(gradients(), limits)
def test_value_clips_what_is_outside_and_nothing_else(grads, limit):
    for old, new in zip(grads, clipped(ClipValue(limit), *grads), strict=True):
        assert new.dtype == old.dtype
        bound = old.dtype.type(limit)
        inside = np.abs(old) <= bound
        assert np.array_equal(new[inside], old[inside])
        assert np.array_equal(new[~inside], np.sign(old[~inside]) * bound)
        assert bits(clipped(ClipValue(limit), new)) == bits([new])


@given(gradients(), norm_clips)
def test_the_order_of_the_parameters_does_not_matter(grads, clip):
    forth = clipped(clip, *grads, data=zeros(grads))
    back = clipped(clip, *grads[::-1], data=zeros(grads[::-1]))[::-1]
    assert all(np.allclose(a, b, rtol=2e-7, atol=1e-37) for a, b in zip(forth, back, strict=True))


# Ends of the range ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("size", [1e38, 1e30, 1e20, 1e-3, 1e-20, 1e-30, 1e-38])
@pytest.mark.parametrize(
    "make", [ClipNorm, ClipPerTensor, lambda c: AdaptiveClip(c, 1.0)], ids=["norm", "tensor", "adaptive"]
)
def test_float32_gradients_of_any_size(make, size, limit):
    """Their squares would overflow or vanish; 1000 entries of 1e38 even have a norm beyond float32."""
    g = np.full(1000, size, "float32")
    before = length(g)
    (new,) = clipped(make(limit), g, data=[np.zeros(1000)])
    if before <= limit:
        assert new.tobytes() == g.tobytes()
    else:
        assert math.isclose(length(new), limit, rel_tol=1e-6)
    assert math.isclose(ClipNorm(limit)([(None, g)]), before, rel_tol=1e-12)


@every_clip
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_zeros_and_denormals(clip, dtype):
    for value in (0.0, -0.0, np.finfo(dtype).smallest_subnormal):
        g = np.full(4, value, dtype)
        assert bits(clipped(clip, g)) == bits([g])


def test_half_precision_norms_do_not_overflow():
    (g,) = clipped(ClipNorm(10.0), np.full(100, 60000, "float16"))
    assert g.dtype == "float16"
    assert g.tolist() == [1.0] * 100


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_norm_that_is_not_finite_clips_nothing(bad):
    g, h = np.array([[3.0, 40.0], [bad, 30.0]], "float32"), np.array([60.0, 80.0])
    norm = ClipNorm(1.0)([(None, a := g.copy()), (None, b := h.copy())])
    assert (math.isnan(norm), math.isinf(norm)) == (math.isnan(bad), math.isinf(bad))
    assert bits([a, b]) == bits([g, h])
    assert bits(clipped(ClipPerTensor(100.0), g, h)) == bits([g, h])
    a, b = clipped(AdaptiveClip(0.5, 1.0), g, h, data=[np.zeros((2, 2)), np.zeros(2)])
    assert a[:, 0].tobytes() == g[:, 0].tobytes()
    assert np.allclose(a[:, 1], [0.4, 0.3])  # the other units have norms of their own
    assert np.allclose(b, [0.3, 0.4])


def test_adaptive_leaves_units_of_broken_weights_alone():
    g = np.array([[3.0, 3.0], [4.0, 4.0]])
    (a,) = clipped(AdaptiveClip(0.1), g, data=[np.array([[math.nan, 3.0], [1.0, 4.0]])])
    assert np.allclose(a, [[3, 0.3], [4, 0.4]])


def test_a_limit_beyond_float32_is_no_limit():
    g = np.array([3e38, -3e38, 1.0], "float32")
    for clip in (ClipValue(1e300), ClipNorm(1e300), ClipPerTensor(math.inf), ClipValue(math.inf), AdaptiveClip(1e300)):
        assert bits(clipped(clip, g)) == bits([g])


# Replicas and other arrays --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [ClipNorm, ClipPerTensor], ids=["norm", "tensor"])
def test_replicas_are_clipped_as_each_alone(make):
    rng = np.random.default_rng(0)
    scale = np.array([0.01, 1.0, 100.0])
    grads = [(rng.standard_normal((3, *s)).T * scale).T.astype("float32") for s in ((4, 2), (1, 2), ())]
    together = [g.copy() for g in grads]
    norms = make(1.0, replicas=True)([(None, g) for g in together])
    for r in range(3):
        alone = [g[r].copy() for g in map(np.atleast_1d, grads)]
        alone = [np.array(g) for g in alone]
        norm = make(1.0)([(None, g) for g in alone])
        assert norms is None or math.isclose(norms[r], norm)
        assert all(np.allclose(t[r], a, rtol=1e-6) for t, a in zip(together, alone, strict=True))
    assert make is ClipPerTensor or norms.shape == (3,)
    mixed = [g.copy() for g in grads]
    make(1.0)([(None, g) for g in mixed])
    assert not np.allclose(mixed[0], together[0])


def test_adaptive_and_value_do_not_mix_replicas():
    rng = np.random.default_rng(1)
    for shape in ((3, 4, 2), (3, 1, 2)):
        w, g = rng.standard_normal(shape), rng.standard_normal(shape)
        for clip in (AdaptiveClip(0.1), ClipValue(0.1)):
            (together,) = clipped(clip, g, data=[w])
            for r in range(3):
                assert np.allclose(clipped(clip, g[r], data=[w[r]])[0], together[r], rtol=1e-14)


def test_views_of_any_layout_are_changed_in_place():
    base = np.ones((4, 6))
    view = base[::2, ::-3].T
    ClipNorm(1.0)([(None, view)])
    assert math.isclose(length(view), 1.0)
    assert np.count_nonzero(base != 1) == 4


class Device(NDArrayOperatorsMixin):
    """NumPy's arithmetic behind the manners of an array on a GPU: nothing may ask for its values."""

    shape = property(lambda self: self.host.shape)
    dtype = property(lambda self: self.host.dtype)
    ndim = property(lambda self: self.host.ndim)
    size = property(lambda self: self.host.size)

    def __init__(self, host):
        self.host = np.asarray(host)

    def refuse(self, *_):
        raise TypeError("this array does not leave its device")

    __array__ = __float__ = __int__ = __bool__ = __index__ = tolist = item = refuse

    def __setitem__(self, index, value):
        self.host[index] = value.host

    def reshape(self, *shape):
        return Device(self.host.reshape(*shape))

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **options):
        assert all(isinstance(x, Device | int | float) for x in inputs), f"{ufunc} mixes in a host array"
        result = getattr(ufunc, method)(*map(bare, inputs), **options, **({"out": tuple(map(bare, out))} if out else {}))
        return out[0] if out else Device(result)

    def __array_function__(self, function, types, args, options):
        return Device(function(*map(bare, args), **{key: bare(value) for key, value in options.items()}))


def bare(x):
    return x.host if isinstance(x, Device) else x


@pytest.mark.parametrize("clip", [*LIMITS, ClipNorm(1.0, replicas=True), ClipPerTensor(1.0, replicas=True)], ids=repr)
def test_on_a_device_nothing_waits_for_a_value(clip):
    rng = np.random.default_rng(2)
    data = [rng.standard_normal(shape).astype("float32") for shape in ((3, 4), (3,))]
    grads = [rng.standard_normal(shape).astype("float32") for shape in ((3, 4), (3,))]
    there = [Device(g.copy()) for g in grads]
    norm = clip([(Device(w), g) for w, g in zip(data, there, strict=True)])
    assert norm is None or isinstance(norm, Device)
    assert bits(g.host for g in there) == bits(clipped(clip, *grads, data=data)) != bits(grads)


# Functions for hand-written loops -------------------------------------------------------------------------------------


def test_clip_grad_norm_changes_in_place_and_returns_the_norm_before():
    ps = parameters([3.0, 0.0], None, [[4.0]])
    mine = ps[0].grad
    norm = clip_grad_norm_(ps, 2.5)
    assert type(norm) is float
    assert norm == 5.0
    assert ps[0].grad is mine
    assert mine.tolist() == [1.5, 0]
    assert ps[1].grad is None
    assert ps[2].grad.tolist() == [[2]]


@pytest.mark.parametrize(("p", "norm"), [(1, 14.0), (2, 98**0.5), (3, (1 + 64 + 729) ** (1 / 3)), (0.5, 36.0)])
def test_other_norms(p, norm):
    ps = parameters([1.0, -4.0], [[-9.0]])
    assert math.isclose(clip_grad_norm_(ps, 1.0, p), norm)
    assert math.isclose(sum(np.sum(np.abs(q.grad) ** p) for q in ps) ** (1 / p), 1.0)


def test_the_largest_as_norm():
    ps = parameters([3.0, -2.0], [[-7.0]], np.zeros(0))
    assert clip_grad_norm_(ps, 3.5, math.inf) == 7.0
    assert [p.grad.tolist() for p in ps] == [[1.5, -1], [[-3.5]], []]


@pytest.mark.parametrize("p", [1, 3, 20, 0.5, math.inf])
@pytest.mark.parametrize("size", [1e38, 1e-38])
def test_other_norms_neither_overflow_nor_vanish(p, size):
    g = np.full(4, size, "float32")
    expected = size * 4 ** (1 / p)
    ps = parameters(g, np.zeros(3, "float32"))
    assert math.isclose(clip_grad_norm_(ps, expected / 8, p), expected, rel_tol=1e-6)
    assert ps[0].grad.dtype == "float32"
    assert np.allclose(ps[0].grad / (g / 8), 1, rtol=1e-6)


@pytest.mark.parametrize("p", [1, 2, 3, math.inf])
def test_norms_of_nothing_are_zero(p):
    assert clip_grad_norm_(parameters(None, None), 1.0, p) == 0.0
    assert clip_grad_norm_(parameters([0.0, 0.0]), 1.0, p) == 0.0
    assert clip_grad_norm_(parameters(np.zeros((0, 3))), 1.0, p) == 0.0


@given(gradients(), limits)
def test_clip_grad_norm_is_clip_norm(grads, limit):
    ps = parameters(*grads)
    norm = clip_grad_norm_(ps, limit)
    expected = clipped(ClipNorm(limit), *grads)
    assert bits(p.grad for p in ps) == bits(expected)
    assert norm == ClipNorm(limit)([(None, g) for g in grads])


def test_clip_grad_value():
    ps = parameters([3.0, -0.1], None, -7.0, [math.nan, math.inf])
    assert clip_grad_value_(iter(ps), 0.5) is None
    assert [p.grad.tolist() for p in (ps[0], ps[2])] == [[0.5, -0.1], -0.5]
    assert math.isnan(ps[3].grad[0])
    assert ps[3].grad[1] == 0.5


def test_names_and_single_parameters_and_scalars():
    (p,) = parameters([3.0, 4.0])
    assert clip_grad_norm_(p, 10.0) == 5.0
    assert clip_grad_norm_([("w", p)], 10.0) == 5.0
    p.grad = np.float64(-4.0)  # what NumPy makes of arithmetic with arrays without axes
    assert clip_grad_norm_([p], 1.0) == 4.0
    assert p.grad == -1.0


@pytest.mark.parametrize("p", [1, 2, math.inf])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (math.nan, r"^the gradient of 'w' has a nan, so there is no norm to clip; nothing was changed\. .*False to leave"),
        (-math.inf, r"^the gradient of 'w' has an infinity, so there is no norm to clip"),
    ],
)
def test_a_gradient_that_is_not_finite(bad, message, p):
    (good, broken) = parameters([30.0, 40.0], [[5.0, bad]])
    named = [("good", good), ("w", broken)]
    before = bits(q.grad for q in (good, broken))
    with pytest.raises(ValueError, match=message):
        clip_grad_norm_(named, 1.0, p)
    norm = clip_grad_norm_(named, 1.0, p, error_if_nonfinite=False)
    assert math.isnan(norm) if math.isnan(bad) else norm == math.inf
    assert bits(q.grad for q in (good, broken)) == before


def test_an_unnamed_parameter_is_called_by_its_place_or_its_own_name():
    ps = parameters([1.0], [math.nan])
    with pytest.raises(ValueError, match="the gradient of 'parameter 1' has a nan"):
        clip_grad_norm_(ps, 1.0)
    ps[1].name = "bias"
    with pytest.raises(ValueError, match="the gradient of 'bias' has a nan"):
        clip_grad_norm_(ps, 1.0)


def test_float64_has_an_end_too():
    ps = parameters([1e200, 1.0])
    with pytest.raises(ValueError, match="^the gradients are too large for the range of float64, so there is no norm"):
        clip_grad_norm_(ps, 1.0)
    assert clip_grad_norm_(ps, 1.0, error_if_nonfinite=False) == math.inf
    assert ps[0].grad.tolist() == [1e200, 1.0]


# Against PyTorch ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("p", [1.0, 2.0, 3.5, math.inf])
@pytest.mark.parametrize("limit", [0.1, 5.0, 1e4])
def test_clip_grad_norm_equals_torch(limit, p, dtype):
    torch = pytest.importorskip("torch", reason="compares with PyTorch directly; the other tests need no torch")
    rng = np.random.default_rng(0)
    grads = [rng.standard_normal(shape).astype(dtype) for shape in ((7, 5), (5,), (), (1,))]
    theirs = [torch.zeros(g.shape, dtype=getattr(torch, dtype), requires_grad=True) for g in grads]
    for t, g in zip(theirs, grads, strict=True):
        t.grad = torch.from_numpy(np.array(g))
    ours = parameters(*grads)
    expected = float(torch.nn.utils.clip_grad_norm_(theirs, limit, p))
    assert math.isclose(clip_grad_norm_(ours, limit, p), expected, rel_tol=1e-6 if dtype == "float32" else 1e-14)
    scale = min(1, limit / expected)
    for a, b in zip(ours, theirs, strict=True):
        # torch divides by norm + 1e-6
        assert np.allclose(a.grad, b.grad.numpy(), rtol=1e-6 / expected + 1e-6 * (dtype == "float32") + 1e-13, atol=0)
    assert limit > expected or not np.array_equal(ours[0].grad, grads[0])
    assert (scale == 1) == np.array_equal(ours[0].grad, grads[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_clip_grad_value_equals_torch(dtype):
    torch = pytest.importorskip("torch", reason="compares with PyTorch directly; the other tests need no torch")
    grads = [np.random.default_rng(0).standard_normal((7, 5)).astype(dtype), np.array([math.inf, -math.inf, -0.0], dtype)]
    theirs = [torch.zeros(g.shape, dtype=getattr(torch, dtype), requires_grad=True) for g in grads]
    for t, g in zip(theirs, grads, strict=True):
        t.grad = torch.from_numpy(g.copy())
    ours = parameters(*grads)
    torch.nn.utils.clip_grad_value_(theirs, 0.3)
    clip_grad_value_(ours, 0.3)
    assert bits(p.grad for p in ours) == bits(t.grad.numpy() for t in theirs) != bits(grads)


# A limit from logged norms --------------------------------------------------------------------------------------------


def test_suggest_max_norm_is_the_percentile_and_counts_what_it_clips():
    norms = list(range(1, 102))
    assert suggest_max_norm(norms) == (91.0, 10, 101)
    assert suggest_max_norm(iter(norms), percentile=100) == (101.0, 0, 101)
    assert suggest_max_norm(np.array(norms, "float32"), 30) == (31.0, 70, 101)
    assert suggest_max_norm([2.0]).max_norm == 2.0
    assert suggest_max_norm([2.0] * 9).clipped == 0
    assert type(suggest_max_norm(np.array([2.0])).max_norm) is float
    assert ClipNorm(suggest_max_norm(norms).max_norm) == ClipNorm(91.0)


def test_suggest_max_norm_says_when_the_learning_rate_is_the_better_cure():
    norms = list(range(1, 102))
    assert str(suggest_max_norm(norms)) == "max_norm=91 would have clipped 10 of 101 steps (10%)"
    assert str(suggest_max_norm(norms, 30)) == (
        "max_norm=31 would have clipped 70 of 101 steps (69%): lower the learning rate instead"
    )


# Objects as values, and bad arguments ---------------------------------------------------------------------------------


@every_clip
def test_clips_are_values(clip):
    again = pickle.loads(pickle.dumps(clip))
    assert again == clip
    assert hash(again) == hash(clip)
    assert type(clip)(2.0) != clip
    with pytest.raises(AttributeError):
        clip.limit = 3.0


@pytest.mark.parametrize("number", [np.float64(0.5), np.float32(0.5), np.array([0.5])[0]])
def test_numpy_scalars_do_not_widen_float32(number):
    for clip in (ClipNorm(number), ClipPerTensor(number), ClipValue(number), AdaptiveClip(number, number)):
        (g,) = clipped(clip, np.full((2, 2), 9, "float32"))
        assert g.dtype == "float32"
        assert length(g) < 9
        assert all(type(v) in (float, bool) for v in vars(clip).values())


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ClipNorm(0), ValueError, "^ClipNorm: max_norm must be positive, got 0$"),
        (lambda: ClipNorm(-1), ValueError, "^ClipNorm: max_norm must be positive, got -1$"),
        (lambda: ClipNorm(math.nan), ValueError, "^ClipNorm: max_norm must be positive, got nan$"),
        (lambda: ClipNorm("1"), TypeError, "^ClipNorm: max_norm must be a number, got '1'$"),
        (lambda: ClipNorm(None), TypeError, "^ClipNorm: max_norm must be a number, got None$"),
        (lambda: ClipNorm(True), TypeError, "^ClipNorm: max_norm must be a number, got True$"),
        (lambda: ClipPerTensor(-0.0), ValueError, "^ClipPerTensor: max_norm must be positive, got -0.0$"),
        (lambda: ClipValue(-2), ValueError, "^ClipValue: limit must be positive, got -2$"),
        (lambda: AdaptiveClip(0), ValueError, "^AdaptiveClip: ratio must be positive, got 0$"),
        (lambda: AdaptiveClip(eps=0), ValueError, "^AdaptiveClip: eps must be positive, got 0$"),
        (lambda: AdaptiveClip(eps="tiny"), TypeError, "^AdaptiveClip: eps must be a number, got 'tiny'$"),
        (
            lambda: ClipNorm(1, replicas=True)([(None, np.array(1.0))]),
            ValueError,
            r"^replicas=True: the first axis of every parameter counts the nets, got a gradient of shape \(\)$",
        ),
        (
            lambda: ClipPerTensor(1, replicas=True)([(None, np.array(1.0))]),
            ValueError,
            "^replicas=True: the first axis of every parameter counts the nets",
        ),
        (
            lambda: ClipNorm(1, replicas=True)([(None, np.ones((3, 2))), (None, np.ones((1, 2)))]),
            ValueError,
            r"^replicas=True: the first axis of every parameter must count the same nets, got \(3, 2\), \(1, 2\)$",
        ),
        (lambda: clip_grad_norm_(parameters([1.0]), -1), ValueError, "^max_norm must be positive, got -1"),
        (lambda: clip_grad_norm_(parameters([1.0]), 1, 0), ValueError, "^norm_type must be positive, got 0$"),
        (lambda: clip_grad_norm_(parameters([1.0]), 1, math.nan), ValueError, "^norm_type must be .* got nan$"),
        (lambda: clip_grad_norm_(parameters([1.0]), 1, "inf"), TypeError, "^norm_type must be .* got 'inf'$"),
        (lambda: clip_grad_norm_(parameters([1.0]), 1, True), TypeError, "^norm_type must be .* got True$"),
        (lambda: clip_grad_norm_([], 1), ValueError, "^there are no parameters to clip .was a generator used up"),
        (lambda: clip_grad_value_([], 1), ValueError, "^there are no parameters to clip .was a generator used up"),
        (lambda: clip_grad_value_(parameters([1.0]), 0), ValueError, "^clip_value must be positive, got 0"),
        (
            lambda: clip_grad_norm_([np.ones(2)], 1),
            TypeError,
            "^parameter 0: a parameter needs .data and .grad, got ndarray",
        ),
        (lambda: clip_grad_norm_([("w", 1.0)], 1), TypeError, "^w: a parameter needs .data and .grad, got float"),
        (lambda: clip_grad_norm_(parameters([1.0]) * 2, 1), ValueError, "^parameter 1 is given twice and would be clipped"),
        (lambda: suggest_max_norm([]), ValueError, "^norms is empty: log the norm of the gradient for some steps first"),
        (lambda: suggest_max_norm([1, math.nan]), ValueError, "^norms must be finite and not negative, got nan: leave out"),
        (lambda: suggest_max_norm([math.inf]), ValueError, "^norms must be finite and not negative, got inf: leave out"),
        (lambda: suggest_max_norm([1, -2]), ValueError, "^norms must be finite and not negative, got -2.0"),
        (lambda: suggest_max_norm([1], 101), ValueError, "^percentile must be at most 100, got 101"),
        (lambda: suggest_max_norm([1], -1), ValueError, "^percentile must be non-negative and finite, got -1"),
        (lambda: suggest_max_norm([1], None), TypeError, "^percentile must be a number, got None"),
        (lambda: suggest_max_norm([1], True), TypeError, "^percentile must be a number, got True"),
        (lambda: suggest_max_norm([0, 0, 1], 50), ValueError, "^percentile 50 of the norms is 0, .* take a higher one"),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()
