"""The stand-in's manners: what it refuses, what it counts, and what its recordings do. Most tests also run on CuPy."""

import copy
import math
import pickle

import cupy_standin
import numpy as np
import pytest
from refusals import HOST, REFUSED

from tinynet import backend


@pytest.fixture
def xp(cuda):
    """The module: the stand-in, or CuPy where there is a GPU."""
    return backend.cupy()


# What CuPy refuses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name, xp):
    call, error, text, _ = REFUSED[name]
    with pytest.raises(error, match=text):
        call(xp.asarray(HOST))


def test_numbers_pass(xp):
    d = xp.asarray(HOST)
    for answer in (d + 1, 2.0 * d, np.float32(2.0) * d, d * np.bool_(True), np.power(d, 2), d == 1):
        assert type(answer) is xp.ndarray
    assert (d * np.float32(2.0)).dtype == np.float32
    assert (d * np.float64(2.0)).dtype == np.float64


# What it answers ------------------------------------------------------------------------------------------------------------


def test_answers_are_arrays_also_without_axes(xp):
    d = xp.asarray(HOST)
    for answer in (d.sum(), np.max(d), d[0, 0], d.mean() + 1, np.exp(d[0, 0]), (d > 0).any(), d[0] @ d[0]):
        assert type(answer) is xp.ndarray
        assert answer.shape == ()
    assert float(d.sum()) == 15.0
    assert int(d[1, 2]) == 5
    assert max(d[0, 0], 1.0) == 1.0
    assert f"{d[0, 1]:.1f}" == "1.0"


def test_indices_out_of_range_wrap_without_a_word(xp):
    d, index = xp.asarray(np.arange(3)), xp.asarray(np.array([1, 3, -1]))
    assert d[index].get().tolist() == [1, 0, 2]
    with pytest.raises(IndexError):
        d[3]


def test_repeated_indices_add_up(xp):
    d = xp.asarray(np.zeros(3, np.float32))
    np.add.at(d, (xp.asarray(np.array([0, 0, 2])),), 1.0)
    assert d.get().tolist() == [2, 0, 1]


def test_views_share_memory_and_name_their_owner(xp):
    d = xp.asarray(HOST)
    for view in (d[0], d.T, d.reshape(-1), d[:, 1:], d[0][1:], np.expand_dims(d, 0), np.broadcast_to(d, (2, 2, 3)), d.mT):
        assert view.base is d
        assert np.may_share_memory(view, d)
    assert d[0].T is not None
    assert d.base is None
    d[0][1:] = 7
    assert d.get()[0].tolist() == [0, 7, 7]
    copies = (d[xp.asarray(np.array([0]))], d.copy(), d + 0, copy.deepcopy(d))
    assert not any(np.may_share_memory(c, d) for c in copies)
    assert np.array_equal(pickle.loads(pickle.dumps(d)).get(), d.get())


def test_numpys_functions_find_the_device(xp):
    d = xp.asarray(HOST)
    answers = {
        "zeros_like": np.zeros_like(d, shape=(2,)), "arange": np.arange(3, like=d), "asarray": np.asarray(HOST, like=d),
        "concatenate": np.concatenate([d, d]), "clip": np.clip(d, 1, 2), "argmax": np.argmax(d, axis=1), "norm": np.linalg.norm(d),
        "einsum": np.einsum("ij,ij->i", d, d), "where": np.where(d > 1, d, 0), "sort": np.sort(d), "pad": np.pad(d, 1),
        "maximum": np.maximum(d, 1), "reduce": np.add.reduce(d), "isfinite": np.isfinite(d).all(),
    }  # fmt: skip
    assert {name for name, answer in answers.items() if type(answer) is not xp.ndarray} == set()
    assert np.shape(d) == (2, 3)
    assert np.ndim(d) == 2
    assert np.result_type(d, 1.0) == np.float32


# What only the stand-in does ------------------------------------------------------------------------------------------------


@pytest.fixture
def d(standin):
    return standin.asarray(HOST)


COSTS = {  # (launches, uploads, syncs)
    "arithmetic": (lambda d: d * d + 1, (2, 0, 0)),
    "in place": (lambda d: d.__iadd__(1), (1, 0, 0)),
    "out": (lambda d: np.exp(d, out=d), (1, 0, 0)),
    "views": (lambda d: d[0].reshape(3, 1).T, (0, 0, 0)),
    "gather": (lambda d: d[np.arange(2, like=d)], (2, 0, 0)),
    "list": (lambda d: d[[0, 1]], (1, 1, 0)),
    "host index": (lambda d: d[np.array([0])], (1, 1, 0)),
    "mask": (lambda d: d[d > 0], (2, 0, 1)),
    "empty": (lambda d: np.empty_like(d), (0, 0, 0)),
    "zeros": (lambda d: np.zeros_like(d), (1, 0, 0)),
    "assignment": (lambda d: d.__setitem__(0, 1.0), (1, 0, 0)),
    "copyto": (lambda d: np.copyto(d, d + 1), (2, 0, 0)),
    "astype": (lambda d: d.astype(np.float32, copy=False), (0, 0, 0)),
    "get": (lambda d: d.get(), (0, 0, 1)),
    "float": (lambda d: float(d[0, 0]), (0, 0, 1)),
    "if": (lambda d: 1 if d.sum() > 0 else 0, (2, 0, 1)),
    "print": (lambda d: str(d), (0, 0, 1)),
    "asarray": (lambda d: np.asarray(HOST, like=d), (0, 1, 0)),
    "set": (lambda d: d.set(HOST), (0, 1, 0)),
    "nonzero": (lambda d: np.nonzero(d), (1, 0, 1)),
    "several answers": (lambda d: np.linalg.svd(d), (1, 0, 0)),
}


@pytest.mark.parametrize("name", COSTS)
def test_costs(name, standin, d):
    call, expected = COSTS[name]
    with standin.counting() as count:
        call(d)
    assert (count.launches, count.uploads, count.syncs) == expected


def test_stricter_than_cupy(standin, d):
    with pytest.raises(TypeError, match="Unsupported type"):
        standin.cupy.sum(HOST)
    with pytest.raises(RuntimeError, match="the same place twice"):
        d[standin.asarray(np.array([0, 0]))] = d


def test_a_recording_takes_effect_when_it_is_launched(standin, d):
    with standin.recording() as graph:
        e = d * 2
        d += 1
        f = e.sum()
        e[0] = 0
    assert np.array_equal(d.get(), HOST)
    assert math.isnan(float(f))
    for n in (0, 1):
        graph.launch()
        assert np.array_equal(d.get(), HOST + n + 1)
        assert float(f) == 2 * (HOST + n).sum()
        assert e.get()[0].tolist() == [0, 0, 0]
    assert len(graph) == 4


@pytest.mark.parametrize(
    "call", [lambda d: d.get(), lambda d: d[d > 0], lambda d: d[[0]], lambda d: np.asarray(HOST, like=d)]
)
def test_a_recording_refuses_what_waits_or_uploads(call, standin, d):
    with pytest.raises(standin.CUDARuntimeError, match="not permitted when stream is capturing"), standin.recording():
        call(d)
    call(d)


def test_a_recording_refuses_cublas_as_cupy_does(standin, d):
    for product in (lambda: d @ d.T, lambda: np.einsum("ij,kj", d, d), lambda: np.tensordot(d, d)):
        with pytest.raises(NotImplementedError, match="cuBLAS"), standin.recording():
            product()
        with standin.recording(refuse_cublas=False) as graph:
            answer = product()
        graph.launch()
        assert np.array_equal(answer.get(), product().get())


def test_what_is_too_large_does_not_fit(standin, d):
    with standin.limited_memory(10), pytest.raises(MemoryError, match="Out of memory allocating 24 bytes"):
        d + 1
    assert cupy_standin.free_bytes == math.inf
