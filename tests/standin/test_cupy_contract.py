"""The stand-in against the real CuPy, which can be imported and looked at without a GPU: names, signatures, refusals.

tests/standin/run        makes an environment with CuPy and runs this
"""

import inspect
import re

import cupy_standin
import numpy as np
import pytest
from cupy_signatures import ARRAY, FUNCTIONS, UFUNCS
from cupy_standin import signature_of
from refusals import HOST, REFUSED

cupy = pytest.importorskip("cupy", reason="CuPy is not installed: tests/standin/run makes an environment that has it")

OURS = {"_a", "__imatmul__"}  # what the stand-in's arrays have, and CuPy's have not: the array inside, and NumPy's mixin


def found(name):
    thing = cupy
    for part in name.split("."):
        thing = getattr(thing, part)
    return thing


def plain(signature):
    """(name, kind, default) of each argument."""
    return [(p.name, p.kind, p.default) for p in signature.parameters.values()]


@pytest.mark.parametrize("name", UFUNCS)
def test_ufuncs(name):
    assert type(found(name)).__name__ in ("ufunc", "_GUFunc")
    assert hasattr(found(name), "reduce") or name == "matmul"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_have_these_arguments(name):
    assert plain(inspect.signature(found(name))) == plain(signature_of(FUNCTIONS[name]))


@pytest.mark.parametrize("name", ARRAY)
def test_methods_have_these_arguments(name):
    first = (getattr(cupy.ndarray, name).__doc__ or "").splitlines()[0]  # Cython writes the signature there
    told = re.match(r"\w+\.\w+\(self(?:, )?(.*?)\)( ->.*)?$", first)
    assert told, first
    text = re.sub(r"(_ndarray_base|Py_ssize_t|int) ", "", told[1])
    assert plain(signature_of(text)) == plain(signature_of(ARRAY[name]))


def test_the_module_has_every_name_of_the_stand_in():
    names = {n for n in vars(cupy_standin.cupy) if not n.startswith("_")}
    assert {n for n in names if not hasattr(cupy, n)} == set()
    assert {n for n in vars(cupy_standin.cupy.linalg) if not n.startswith("_") and not hasattr(cupy.linalg, n)} == set()
    assert issubclass(cupy.cuda.memory.OutOfMemoryError, MemoryError)
    assert issubclass(cupy.cuda.runtime.CUDARuntimeError, RuntimeError)
    assert callable(cupy.cuda.runtime.getDeviceCount)


def test_arrays_have_every_attribute_of_the_stand_ins():
    assert set(dir(cupy_standin.ndarray)) - set(dir(cupy.ndarray)) == OURS
    for name in ("__index__", "__round__", "__contains__", "__array_interface__", "ctypes", "setflags", "resize"):
        assert not hasattr(cupy.ndarray, name)
        assert not hasattr(cupy_standin.ndarray, name)
    assert cupy.ndarray.__module__ == cupy_standin.ndarray.__module__ == "cupy"
    assert cupy.ndarray.__hash__ is cupy_standin.ndarray.__hash__ is None
    assert not issubclass(cupy.ndarray, np.ndarray)


def test_what_cupy_says_when_the_memory_is_full():
    ours, theirs = cupy_standin.OutOfMemoryError(1234567, 89), cupy.cuda.memory.OutOfMemoryError(1234567, 89)
    assert str(ours) == str(theirs)
    assert type(ours).__name__ == type(theirs).__name__


def on_the_host(array):
    """A real CuPy array around memory of the host: it can be looked at, and all that is refused before a launch is refused."""
    memory = cupy.cuda.UnownedMemory(array.ctypes.data, array.nbytes, array, device_id=0)
    return cupy.ndarray(array.shape, array.dtype, cupy.cuda.MemoryPointer(memory, 0))


@pytest.mark.parametrize("name", [name for name, (*_, early) in REFUSED.items() if early])
def test_cupy_refuses_the_same_without_a_gpu(name):
    call, error, text, _ = REFUSED[name]
    with pytest.raises(error, match=text):
        call(on_the_host(HOST))


def test_views_are_views():
    d = on_the_host(HOST)
    for view in (d[0], d.T, d.reshape(-1), d[:, 1:], d[0][1:], np.expand_dims(d, 0), np.broadcast_to(d, (2, 2, 3)), d.mT):
        assert view.base is d
        assert np.may_share_memory(view, d)
    assert d.base is None
    assert (np.shape(d), np.ndim(d), np.result_type(d, 1.0)) == ((2, 3), 2, np.float32)
    assert d.astype(np.float32, copy=False) is d
    assert (d.flags.c_contiguous, d.flags.f_contiguous, d.T.flags.owndata) == (True, False, False)
    with pytest.raises(IndexError):
        d[3]


def test_what_the_switch_says_of_the_real_cupy():
    from tinynet import backend

    backend.cupy.cache_clear()
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError:
        with pytest.raises(
            backend.DeviceError, match=r"CuPy [\d.]+ is installed but cannot use a GPU: cuda|no GPU is visible"
        ):
            backend.cupy()
    else:
        assert backend.cupy() is cupy
