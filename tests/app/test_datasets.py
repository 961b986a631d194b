"""The generated data lie where they say, the same seed gives the same bits, and the real data are intact."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

from tinynet import datasets, set_default_dtype
from tinynet.readers import DataError

CLASSIFIED = ["moons", "circles", "blobs", "spirals", "xor", "checkerboard"]
EVEN = ["moons", "circles", "blobs", "spirals"]  # the classes are as even as they can be
ALL = [*CLASSIFIED, "sine"]


@pytest.mark.parametrize("name", CLASSIFIED)
def test_generated_classes_have_their_shapes_and_dtypes(name):
    x, y = datasets.GENERATED[name](n=61)
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((61, 2), np.float32, (61,), np.int64)
    assert np.isfinite(x).all()
    assert set(y.tolist()) == set(range(3 if name == "blobs" else 2))


def test_sine_has_its_shapes_and_dtypes():
    x, y = datasets.sine(n=61)
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((61, 1), np.float32, (61, 1), np.float32)


@pytest.mark.parametrize("name", ALL)
def test_the_default_dtype_is_used(name):
    set_default_dtype("float64")
    try:
        assert datasets.GENERATED[name](n=10)[0].dtype == np.float64
    finally:
        set_default_dtype("float32")


@pytest.mark.parametrize("name", ALL)
def test_the_seed_decides_everything(name):
    make = datasets.GENERATED[name]
    (x, y), (again, y_again), (other, _) = make(seed=4), make(seed=4), make(seed=5)
    assert x.tobytes() == again.tobytes()
    assert y.tobytes() == y_again.tobytes()
    assert not np.array_equal(x, other)


@pytest.mark.parametrize("name", EVEN)
@pytest.mark.parametrize("n", [60, 61, 62])
def test_classes_are_as_even_as_they_can_be(name, n):
    counts = np.bincount(datasets.GENERATED[name](n=n)[1])
    assert counts.sum() == n
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("name", ["xor", "checkerboard"])
def test_fields_are_drawn_about_evenly(name):
    share = datasets.GENERATED[name](n=4000)[1].mean()
    assert abs(share - 0.5) < 4 * 0.5 / math.sqrt(4000)  # four standard deviations of a fair coin


@pytest.mark.parametrize("name", EVEN)
def test_the_order_of_the_classes_is_mixed(name):
    y = datasets.GENERATED[name](n=60)[1]
    assert not np.array_equal(y, np.sort(y))
    assert not np.array_equal(y, np.arange(60) % (y.max() + 1))


def test_moons_without_noise_are_two_half_circles():
    x, y = datasets.moons(n=200, noise=0)
    upper, lower = x[y == 0], x[y == 1]
    np.testing.assert_allclose(np.hypot(*upper.T), 1, atol=1e-6)
    np.testing.assert_allclose(np.hypot(*(lower - [1, 0.5]).T), 1, atol=1e-6)
    assert upper[:, 1].min() >= -1e-6
    assert lower[:, 1].max() <= 0.5 + 1e-6


def test_circles_without_noise_have_their_radii():
    x, y = datasets.circles(n=200, noise=0)
    np.testing.assert_allclose(np.hypot(*x.T), np.where(y == 0, 1, 0.5), atol=1e-6)


def test_blobs_without_noise_are_the_corners_of_a_polygon():
    x, y = datasets.blobs(n=200, noise=0, classes=5)
    angle = 2 * np.pi * y / 5
    np.testing.assert_allclose(x, 2 * np.stack([np.cos(angle), np.sin(angle)], 1), atol=1e-6)


def test_spirals_without_noise_wind_as_far_as_they_are_out():
    x, y = datasets.spirals(n=200, noise=0, classes=3)
    radius = np.hypot(*x.T)
    turned = 2.5 * np.pi * radius + 2 * np.pi * y / 3
    np.testing.assert_allclose(x, radius[:, None] * np.stack([np.cos(turned), np.sin(turned)], 1), atol=1e-5)
    assert radius.max() <= 1


def test_xor_without_noise_is_the_sign_of_the_product():
    x, y = datasets.xor(n=300, noise=0)
    assert np.array_equal(y, (x[:, 0] > 0) != (x[:, 1] > 0))
    assert np.abs(x).max() <= 1


def test_checkerboard_without_noise_alternates():
    x, y = datasets.checkerboard(n=300, noise=0, cells=6)
    assert np.array_equal(y, np.floor((x + 1) * 3).sum(axis=1).astype(int) % 2)


def test_sine_without_noise_is_a_sine():
    x, y = datasets.sine(n=100, noise=0)
    np.testing.assert_allclose(y, np.sin(np.pi * x), atol=1e-6)
    assert np.abs(x).max() <= 1


@pytest.mark.parametrize("name", ALL)
def test_noise_moves_the_points_by_its_size(name):
    place = 1 if name == "sine" else 0
    clean, noisy = (datasets.GENERATED[name](n=4000, noise=noise)[place] for noise in (0, 0.25))
    assert np.std(noisy - clean) == pytest.approx(0.25, rel=0.05)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("n", [0, -5, 2.5, "7", None])
def test_a_bad_n_is_refused(name, n):
    with pytest.raises(DataError, match=r"n must be an integer of at least one example per class \(\d\), got"):
        datasets.GENERATED[name](n=n)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("noise", [-0.1, math.nan, math.inf])
def test_bad_noise_is_refused(name, noise):
    with pytest.raises(DataError, match=f"noise must be non-negative and finite, got {noise}"):
        datasets.GENERATED[name](noise=noise)


def test_a_negative_seed_is_refused():
    with pytest.raises(DataError, match="seed must be non-negative, got -1"):
        datasets.moons(seed=-1)


# Real -----------------------------------------------------------------------------------------------------------------


def test_digits_are_whole():
    x, y = datasets.digits()
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((1797, 64), np.float32, (1797,), np.int64)
    assert (x.min(), x.max()) == (0, 1)
    assert np.array_equal(x * 16, np.round(x * 16))
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_iris_is_whole():
    x, y = datasets.iris()
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((150, 4), np.float32, (150,), np.int64)
    assert np.bincount(y).tolist() == [50, 50, 50]
    np.testing.assert_allclose(x.min(axis=0), [4.3, 2.0, 1.0, 0.1], rtol=1e-6)
    np.testing.assert_allclose(x.max(axis=0), [7.9, 4.4, 6.9, 2.5], rtol=1e-6)


@pytest.fixture
def goldens():
    pytest.importorskip("sklearn")
    path = Path(__file__).parents[1] / "goldens" / "make_datasets.py"
    spec = importlib.util.spec_from_file_location("make_datasets", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_data_are_those_of_scikit_learn(goldens, capsys):
    assert goldens.main(["--check"]) == 0
    assert capsys.readouterr().out == "the data sets are those of scikit-learn\n"


def test_the_check_finds_a_changed_pixel(goldens, tmp_path):
    arrays = goldens.wanted()
    arrays["digits.npz"]["images"][7, 3, 3] ^= 1
    for name, content in arrays.items():
        np.savez(tmp_path / name, **content)
    assert goldens.differences(tmp_path) == ["digits.npz: images differs from scikit-learn's"]
    (tmp_path / "iris.npz").unlink()
    assert "iris.npz is missing" in goldens.differences(tmp_path)


# By name --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLASSIFIED)
def test_load_by_name(name):
    data = datasets.load(name, n=40, noise=0.0, seed=3)
    x, y = datasets.GENERATED[name](n=40, noise=0.0, seed=3)
    assert np.array_equal(data.x, x)
    assert np.array_equal(data.y, y)
    assert (data.name, data.task, data.outputs, data.raw_units) == (name, "classification", len(data.classes), False)


def test_load_real_and_regression_by_name():
    assert datasets.load("iris").classes == ["setosa", "versicolor", "virginica"]
    assert (datasets.load("iris").raw_units, datasets.load("digits").raw_units) == (True, False)
    assert datasets.load("digits").classes == list("0123456789")
    sine = datasets.load("sine", n=30)
    assert (sine.task, sine.outputs, len(sine.x)) == ("regression", 1, 30)


def test_load_by_path(tmp_path):
    (tmp_path / "mine.csv").write_text("a,y\n1,p\n2,q\n")
    np.savez(tmp_path / "mine.npz", x=np.eye(2), y=np.array([0, 1]))
    (tmp_path / "table.txt").write_text("a;y\n1;p\n2;q\n")
    for name in ("mine.csv", "mine.npz", "table.txt"):
        data = datasets.load(str(tmp_path / name))
        assert (data.name, data.outputs, data.raw_units) == (Path(name).stem, 2, True)


def test_a_file_or_folder_with_the_name_of_a_data_set_does_not_hide_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "moons").mkdir()
    (tmp_path / "iris").write_text("a,y\n1,p\n2,q\n")
    assert len(datasets.load("moons").x) == 500
    assert len(datasets.load("iris").x) == 150
    assert len(datasets.load("./iris").x) == 2


@pytest.mark.parametrize(("wrong", "near"), [("moonz", "moons"), ("Digits", "digits"), ("spiral", "spirals")])
def test_an_unknown_name_suggests_the_nearest(wrong, near):
    with pytest.raises(DataError, match=f"unknown data set '{wrong}': did you mean '{near}'.*your own CSV or NPZ"):
        datasets.load(wrong)


def test_options_that_do_not_apply_are_refused(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("a,y\n1,p\n2,q\n")
    for options in ({"n": 3}, {"noise": 0.1}):
        with pytest.raises(DataError, match="is a file: the number of examples and the noise"):
            datasets.load(str(path), **options)
        with pytest.raises(DataError, match="digits is real data"):
            datasets.load("digits", **options)
    with pytest.raises(DataError, match="target is for your own files; moons comes with its targets"):
        datasets.load("moons", target="y")
    with pytest.raises(DataError, match="task is for your own files; iris comes with its targets"):
        datasets.load("iris", task="regression")
    with pytest.raises(DataError, match="n must be an integer"):
        datasets.load("moons", n=0)
