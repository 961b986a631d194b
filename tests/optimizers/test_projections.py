"""Projections: the nearest point of the set, by hand and as properties; inside, no bit changes."""

import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_clipping import Device, bits

from optimizers.penalties import weights_only
from optimizers.projections import Box, MaxNorm, NonNegative

ALL = [MaxNorm(1.0), NonNegative(), Box(-0.5, 0.5)]
every_projection = pytest.mark.parametrize("projection", ALL, ids=lambda p: type(p).__name__)


def projected(projection, data):
    data = np.array(data)
    assert projection(data) is None
    return data


# By hand --------------------------------------------------------------------------------------------------------------


def test_max_norm_shortens_columns_that_are_too_long():
    w = [[3.0, 0.3, 0.0], [-4.0, 0.4, 0.0]]
    assert np.allclose(projected(MaxNorm(1.0), w), [[0.6, 0.3, 0], [-0.8, 0.4, 0]], rtol=1e-15)
    assert np.array_equal(projected(MaxNorm(5.0), w), w)


def test_max_norm_along_another_axis():
    w = np.array([[3.0, -4.0], [0.3, 0.4]])
    assert np.allclose(projected(MaxNorm(1.0, axis=-1), w), [[0.6, -0.8], [0.3, 0.4]], rtol=1e-15)
    assert np.array_equal(projected(MaxNorm(1.0, axis=1), w), projected(MaxNorm(1.0, axis=-1), w))
    assert np.array_equal(projected(MaxNorm(1.0, axis=0), w), projected(MaxNorm(1.0), w))


@pytest.mark.parametrize("bias", [[30.0, 40.0], 50.0, []])
def test_max_norm_touches_no_bias(bias):
    assert np.array_equal(projected(MaxNorm(1.0), bias), bias)


def test_max_norm_of_replicas_and_of_nothing():
    w = np.random.default_rng(0).standard_normal((3, 4, 2))
    assert np.array_equal(projected(MaxNorm(1.0), w), np.stack([projected(MaxNorm(1.0), one) for one in w]))
    assert projected(MaxNorm(1.0), np.zeros((0, 2))).shape == (0, 2)


def test_box_and_non_negative():
    w = [-2.0, -0.5, 0.0, 0.25, 1.0, 7.0]
    assert projected(Box(-0.5, 1), w).tolist() == [-0.5, -0.5, 0, 0.25, 1, 1]
    assert projected(Box(-math.inf, 0.25), w).tolist() == [-2, -0.5, 0, 0.25, 0.25, 0.25]
    assert projected(Box(3, 3), w).tolist() == [3] * 6
    assert projected(NonNegative(), w).tolist() == [0, 0, 0, 0.25, 1, 7]
    assert projected(NonNegative(), -3.0).tolist() == 0


# Properties -----------------------------------------------------------------------------------------------------------

numbers = st.floats(-100, 100, width=32)


@st.composite
def matrices(draw):
    shape = (draw(st.integers(1, 4)), draw(st.integers(1, 3)))
    values = draw(st.lists(numbers, min_size=math.prod(shape), max_size=math.prod(shape)))
    return np.array(values, draw(st.sampled_from(["float32", "float64"]))).reshape(shape)


@st.composite
def boxes(draw):
    low, high = sorted([draw(st.floats(-50, 50)), draw(st.floats(-50, 50))])
    return Box(draw(st.sampled_from([low, -math.inf])), draw(st.sampled_from([high, math.inf])))


projections = st.one_of(st.builds(MaxNorm, st.floats(0.01, 100)), st.just(NonNegative()), boxes())


def gap(projection, w):
    """How far outside the set the worst number or column is, in float64."""
    w = w.astype("float64")
    if isinstance(projection, MaxNorm):
        return max(math.hypot(*column) - projection.limit for column in w.T)
    return max(np.max(projection.low - w), np.max(w - projection.high))


@given(matrices(), projections)
def test_the_result_is_inside_and_of_the_same_dtype(w, projection):
    after = projected(projection, w)
    assert after.dtype == w.dtype
    assert gap(projection, after) <= 1e-6 * np.abs(w).max(initial=1)


@given(matrices(), projections)
def test_what_is_inside_keeps_every_bit(w, projection):
    if gap(projection, w) < 0:
        assert bits([projected(projection, w)]) == bits([w])
    smaller = w * w.dtype.type(1e-4)
    if isinstance(projection, MaxNorm):
        assert gap(projection, smaller) < 1
        larger = MaxNorm(projection.limit + 1)
        assert bits([projected(larger, smaller)]) == bits([smaller])


@given(matrices(), projections)
def test_projecting_again_changes_nothing(w, projection):
    once = projected(projection, w)
    if isinstance(projection, MaxNorm):  # the norm of a shortened column is the limit to the last digit only
        assert np.allclose(projected(projection, once), once, rtol=2e-7, atol=1e-37)
    else:
        assert bits([projected(projection, once)]) == bits([once])


@given(matrices(), matrices(), projections)
def test_no_point_of_the_set_is_nearer(w, other, projection):
    """The nearest point q of a convex set has no point r of it on w's side: (w - q)(r - q) <= 0. That proves it."""
    rows, columns = (min(a, b) for a, b in zip(w.shape, other.shape, strict=True))
    w, other = w[:rows, :columns].astype("float64"), other[:rows, :columns].astype("float64")
    nearest, inside = projected(projection, w), projected(projection, other)
    assert np.all(np.sum((w - nearest) * (inside - nearest), axis=0) <= 1e-9)


@given(matrices(), projections)
def test_max_norm_keeps_directions_and_boxes_keep_order(w, projection):
    after = projected(projection, w)
    for old, new in zip(w.T, after.T, strict=True):
        if isinstance(projection, MaxNorm):
            norm = math.hypot(*old)
            scale = min(1, projection.limit / norm) if norm else 1
            assert np.allclose(new, scale * old.astype("float64"), rtol=1e-6, atol=1e-30)
        else:
            assert np.all(np.diff(new[np.argsort(old)]) >= 0)


# Ends of the range ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1e38, 1e20, 1e-20, 1e-38, 1e-45, 0.0])
def test_max_norm_of_float32_weights_of_any_size(size):
    w = np.full((1000, 1), size, "float32")
    after = projected(MaxNorm(2.0), w)
    if size > 1:
        assert math.isclose(math.hypot(*after[:, 0]), 2.0, rel_tol=1e-6)
    else:
        assert bits([after]) == bits([w])


@every_projection
def test_signed_zeros_denormals_and_nan_stay(projection):
    w = np.array([[0.0, -0.0], [1e-45, 0.0], [math.nan, -0.0]], "float32")
    assert bits([projected(projection, w)]) == bits([w])
    assert bits([projected(Box(-1.0, 0.0), -w)]) == bits([-w])


def test_infinities():
    w = np.array([[math.inf, 3.0], [-math.inf, 4.0]])
    assert projected(Box(-1, 2), w).tolist() == [[2, 2], [-1, 2]]
    assert projected(NonNegative(), w).tolist() == [[math.inf, 3], [0, 4]]
    # no factor could bring an infinite column back, and its neighbour is not to suffer
    assert np.allclose(projected(MaxNorm(1.0), w), [[math.inf, 0.6], [-math.inf, 0.8]])


def test_ends_beyond_float32_are_no_ends():
    w = np.array([[3e38, -3e38]], "float32")
    for projection in (Box(-1e300, 1e300), MaxNorm(1e300), MaxNorm(math.inf)):
        assert bits([projected(projection, w)]) == bits([w])


def test_ends_that_float32_rounds():
    w = np.array([-5.0, 5.0], "float32")
    assert projected(Box(-0.1, 0.1), w).tolist() == [-np.float32(0.1), np.float32(0.1)]


# Views, devices, values -----------------------------------------------------------------------------------------------


@every_projection
def test_views_are_changed_in_place(projection):
    base = np.full((4, 6), -9.0)
    projection(base[::2, 1:3])
    assert np.count_nonzero(base != -9) == 4


@every_projection
def test_on_a_device_nothing_waits_for_a_value(projection):
    w = np.random.default_rng(0).standard_normal((3, 4)).astype("float32")
    projection(there := Device(w.copy()))
    assert bits([there.host]) == bits([projected(projection, w)]) != bits([w])


@every_projection
def test_only_says_which_parameters_are_meant(projection):
    w, b = np.zeros((2, 2)), np.zeros(2)
    assert projection.applies("layer.bias", b) is True
    parts = {k: v for k, v in vars(projection).items() if k != "only" and type(projection) is not NonNegative}
    filtered = type(projection)(**parts, only=lambda name, p: p.ndim >= 2 and name != "head.weight")
    assert filtered.applies("layer.weight", w) is True
    assert filtered.applies("head.weight", w) is False
    assert filtered.applies("layer.bias", b) is False
    with pytest.raises(
        TypeError, match=f"{type(projection).__name__}: only.'w', data. must answer True or False, got 'yes'"
    ):
        type(projection)(**parts, only=lambda name, p: "yes").applies("w", w)
    with pytest.raises(TypeError, match=f"{type(projection).__name__}: only must be a function of .name, data.*got 2"):
        type(projection)(**parts, only=2)


def test_projections_are_values():
    for projection in (MaxNorm(2, 0, weights_only), NonNegative(weights_only), Box(0, 1, weights_only), *ALL):
        again = pickle.loads(pickle.dumps(projection))
        assert again == projection
        assert hash(again) == hash(projection)
    assert MaxNorm(2.0) == MaxNorm(2) != MaxNorm(2, only=weights_only)
    assert NonNegative() != Box(0.0, math.inf)
    assert repr(NonNegative()) == "NonNegative(only=None)"
    with pytest.raises(AttributeError):
        MaxNorm(2.0).limit = 3.0


def test_numpy_scalars_do_not_widen_float32():
    w = np.full((2, 2), 9, "float32")
    for projection in (MaxNorm(np.float64(0.5)), Box(np.float64(0.25), np.float64(0.5))):
        after = projected(projection, w)
        assert after.dtype == "float32"
        assert after.max() <= 0.5
        assert all(type(v) in (float, int, type(None)) for v in vars(projection).values())


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: MaxNorm(0), ValueError, "^MaxNorm: limit must be positive, got 0$"),
        (lambda: MaxNorm(-3.0), ValueError, "^MaxNorm: limit must be positive, got -3.0$"),
        (lambda: MaxNorm(math.nan), ValueError, "^MaxNorm: limit must be positive, got nan$"),
        (lambda: MaxNorm("3"), TypeError, "^MaxNorm: limit must be a number, got '3'$"),
        (lambda: MaxNorm(True), TypeError, "^MaxNorm: limit must be a number, got True$"),
        (lambda: MaxNorm(1, 0.5), TypeError, "^MaxNorm: axis must be an integer such as -2, got 0.5$"),
        (lambda: MaxNorm(1, None), TypeError, "^MaxNorm: axis must be an integer such as -2, got None$"),
        (lambda: MaxNorm(1, axis=True), TypeError, "^MaxNorm: axis must be an integer such as -2, got True$"),
        (
            lambda: MaxNorm(1, -3)(np.ones((2, 2))),
            ValueError,
            r"^MaxNorm: axis=-3, but a parameter has shape \(2, 2\): choose others by `only`$",
        ),
        (lambda: MaxNorm(1, 2)(np.ones((2, 2))), ValueError, r"^MaxNorm: axis=2, but a parameter has shape \(2, 2\)"),
        (lambda: Box(1, 0), ValueError, "^Box: low must be at most high, got 1.0 and 0.0$"),
        (lambda: Box(math.nan, 0), ValueError, "^Box: low must be at most high, got nan and 0.0$"),
        (lambda: Box(0, math.nan), ValueError, "^Box: low must be at most high, got 0.0 and nan$"),
        (lambda: Box(None, 1), TypeError, "^Box: low must be a number, got None$"),
        (lambda: Box(0, False), TypeError, "^Box: high must be a number, got False$"),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()
