"""Splits are disjoint, complete, in proportion and seeded; scalers do what scikit-learn's do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet.preprocessing import MinMaxScaler, StandardScaler, train_test_split


def parts(n, test_size=0.2, validation_size=0.2, stratify=None, seed=0):
    """The row numbers in (training, validation, test)."""
    rows = np.arange(n)
    train, val, test, *targets = train_test_split(rows, -rows, test_size, validation_size, stratify, seed)
    for part, target in zip((train, val, test), targets, strict=True):
        assert np.array_equal(part, -target)  # x and y stay together
    return train, val, test


@given(n=st.integers(40, 300), test=st.floats(0.05, 0.6), val=st.floats(0.05, 0.3), seed=st.integers(0, 9))
def test_every_row_is_in_one_part(n, test, val, seed):
    split = parts(n, test, val, seed=seed)
    assert sorted(np.concatenate(split).tolist()) == list(range(n))
    assert abs(len(split[2]) - test * n) <= 1
    assert abs(len(split[1]) - val * n) <= 1


@pytest.mark.parametrize(("n", "sizes"), [(5, [3, 1, 1]), (10, [6, 2, 2]), (100, [60, 20, 20])])
def test_sizes(n, sizes):
    assert [len(part) for part in parts(n)] == sizes


def test_two_parts():
    x_train, x_test, y_train, y_test = train_test_split(np.eye(10), np.arange(10), 0.3)
    assert (x_train.shape, x_test.shape, y_train.shape, y_test.shape) == ((7, 10), (3, 10), (7,), (3,))
    assert np.array_equal(x_test.argmax(1), y_test)


@given(counts=st.lists(st.integers(5, 60), min_size=2, max_size=5), seed=st.integers(0, 9))
def test_stratified_parts_have_every_class_in_proportion(counts, seed):
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    split = parts(len(labels), stratify=labels, seed=seed)
    assert sorted(np.concatenate(split).tolist()) == list(range(len(labels)))
    assert [len(part) for part in split] == [len(part) for part in parts(len(labels), seed=seed)]
    for part, share in zip(split, (0.6, 0.2, 0.2), strict=True):
        found = np.bincount(labels[part], minlength=len(counts))
        assert (abs(found - share * np.array(counts)) < 2.5).all()  # the sizes are exact, and somebody must give way


@pytest.mark.parametrize(("classes", "each", "size"), [(100, 3, 60), (100, 2, 40), (7, 10, 14), (2, 50, 20)])
def test_stratified_parts_have_the_sizes_asked_for_however_small_the_classes(classes, each, size):
    labels = np.repeat(np.arange(classes), each)
    x_train, x_test, _, y_test = train_test_split(labels, labels, 0.2, stratify=labels)
    assert (len(x_train), len(x_test)) == (len(labels) - size, size)
    found = np.bincount(y_test, minlength=classes)
    assert found.max() - found.min() <= 1
    if classes == 100:
        assert abs(np.flatnonzero(found).mean() - 50) < 10  # not the first classes, but any


def test_the_seed_decides_the_split():
    first, again, other = (np.concatenate(parts(200, seed=seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_parts_are_mixed_and_not_the_first_rows():
    train, _, test = parts(1000)
    assert abs(test.mean() - 500) < 100
    assert abs(train.mean() - 500) < 50


@pytest.mark.parametrize("sizes", [(0, 0.2), (1, 0), (-0.1, 0.2), (0.2, -0.1), (0.5, 0.5), (float("nan"), 0.1), (20, 0)])
def test_bad_sizes(sizes):
    with pytest.raises(ValueError, match=f"sizes are shares of the data: .* got {sizes[0]} and {sizes[1]}"):
        train_test_split(np.eye(10), np.arange(10), *sizes)


def test_rows_that_do_not_match():
    with pytest.raises(ValueError, match="x has 10 rows and y has 9"):
        train_test_split(np.eye(10), np.arange(9))
    for stratify, shape in (([0, 1, 0], r"\(3,\)"), (np.eye(10), r"\(10, 10\)"), (1, r"\(\)")):
        with pytest.raises(ValueError, match=rf"stratify must have one label per row, shape \(10,\), got shape {shape}"):
            train_test_split(np.eye(10), np.arange(10), stratify=stratify)
    with pytest.raises(ValueError, match=r"x and y must have one row per example, got the shapes \(\) and \(\)"):
        train_test_split(1.0, 2.0)


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_too_few_rows(n):
    with pytest.raises(ValueError, match=f"{n} examples are too few to split into shares of test_size=0.2"):
        train_test_split(np.zeros((n, 2)), np.zeros(n), 0.2, 0.2)


# Scalers --------------------------------------------------------------------------------------------------------------

BOTH = pytest.mark.parametrize("scaler", [StandardScaler, MinMaxScaler])
table = np.random.default_rng(0).normal([0, 1e3, -5], [1, 50, 1e-3], (200, 3))


@BOTH
def test_scalers_equal_those_of_scikit_learn(scaler):
    theirs = getattr(pytest.importorskip("sklearn.preprocessing"), scaler.__name__)().fit(table)
    ours = scaler().fit(table)
    other = table[:50] * 1.5
    np.testing.assert_allclose(ours.transform(other), theirs.transform(other), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(ours.inverse_transform(other), theirs.inverse_transform(other), rtol=1e-6, atol=1e-6)


def test_standard_means_mean_0_and_spread_1():
    z = StandardScaler().fit_transform(table)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-11)  # -5 is known to 1e-15, and divided by 1e-3
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-11)


def test_minmax_fills_0_to_1():
    z = MinMaxScaler().fit_transform(table)
    np.testing.assert_allclose([z.min(axis=0), z.max(axis=0)], [[0] * 3, [1] * 3], atol=1e-12)


@BOTH
def test_inverse(scaler):
    fitted = scaler().fit(table)
    np.testing.assert_allclose(fitted.inverse_transform(fitted.transform(table)), table, rtol=1e-12)


@BOTH
@pytest.mark.parametrize("value", [0.0, 0.1, -1e6 / 3, 1e-30])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_constant_column_becomes_exactly_0(scaler, value, dtype):
    x = np.full((1001, 3), value, dtype)
    fitted = scaler().fit(x)
    assert not fitted.transform(x).any()
    assert np.array_equal(fitted.inverse_transform(fitted.transform(x)), x)
    assert np.array_equal(fitted.transform(x + 1), (x + 1) - x[0])  # another value is not blown up


@BOTH
def test_float32_far_from_zero_loses_nothing_to_the_sum(scaler):
    x = (1e6 + np.random.default_rng(0).normal(0, 1, (20_000, 2))).astype(np.float32)
    z = scaler().fit(x).transform(x)
    expected = scaler().fit(x.astype(np.float64)).transform(x.astype(np.float64))
    assert z.dtype == np.float32
    np.testing.assert_allclose(z, expected, rtol=1e-6, atol=1e-6)


@BOTH
def test_whole_numbers_become_fractions(scaler):
    z = scaler().fit_transform(np.array([[0], [1], [1]]))
    assert z.dtype == np.float32
    np.testing.assert_allclose(z, scaler().fit_transform(np.array([[0.0], [1.0], [1.0]])), rtol=1e-6)


@BOTH
def test_scaling_uses_what_it_was_fitted_on(scaler):
    assert scaler().fit([[0.0], [2.0]]).transform([[4.0]]).tolist() == [[3.0 if scaler is StandardScaler else 2.0]]


@BOTH
def test_scaler_errors(scaler):
    name = scaler.__name__
    with pytest.raises(ValueError, match=rf"{name}: call fit\(x\) with the training data first"):
        scaler().transform(table)
    with pytest.raises(ValueError, match=rf"{name} was fitted on rows of shape \(3,\), got rows of shape \(1,\)"):
        scaler().fit(table).transform(table[:, :1])
    with pytest.raises(ValueError, match=f"{name}: there are no rows"):
        scaler().fit(np.zeros((0, 2)))
    with pytest.raises(TypeError, match="real numbers"):
        scaler().fit([["tall"], ["small"]])
