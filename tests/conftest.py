"""One BLAS thread for all tests: their nets are tiny, and two threads are slower, above all on a busy machine.

Hypothesis profiles: `HYPOTHESIS_PROFILE=nightly pytest` draws twenty times as many cases, new ones every time.

The default profile draws the same cases in every run, so a red test stays red. No profile looks at the clock.

`device` and `cuda` run a test on the stand-in for CuPy's arrays (tests/standin) and, where there is a GPU, on CuPy's;
`device` also on NumPy's. What is to run on a GPU has the mark "gpu": tests/gpu/run runs it all.
"""

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl
from hypothesis import HealthCheck, settings

threadpoolctl.threadpool_limits(limits=1, user_api="blas")

CALM = {"deadline": None, "database": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("default", max_examples=100, derandomize=True, **CALM)
settings.register_profile("nightly", max_examples=2000, derandomize=False, print_blob=True, **CALM)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# cupy_standin.py, every.py, commands.py
sys.path += [str(Path(__file__).parent / folder) for folder in ("standin", "optimizers", "app")]
pytest_plugins = ["commands"]  # the fixtures `tinynet` and `on_terminal`
collect_ignore_glob = ["goldens/make_*.py"]  # they need other people's packages


def pytest_configure(config):
    config.addinivalue_line("markers", "gpu: needs a GPU that CuPy can use")


def why_no_gpu():
    """Why CuPy cannot be used here; "" if it can."""
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed"
    from tinynet import backend

    try:
        backend.cupy()
    except backend.DeviceError as error:
        return str(error)
    return ""


NO_GPU = why_no_gpu()
ON_CUPY = pytest.param("cupy", marks=[pytest.mark.gpu, pytest.mark.skipif(bool(NO_GPU), reason=NO_GPU or "there is one")])


@pytest.fixture
def standin(monkeypatch):
    """The stand-in, in the place where CuPy would be found."""
    import cupy_standin

    from tinynet import backend

    monkeypatch.setitem(sys.modules, "cupy", cupy_standin.cupy)
    backend.cupy.cache_clear()
    yield cupy_standin
    backend.use_device("cpu")
    backend.cupy.cache_clear()


@pytest.fixture(params=["numpy", "standin", ON_CUPY])
def device(request):
    """ "cpu" or "cuda", the device of this test."""
    if request.param == "standin":
        request.getfixturevalue("standin")
    return "cpu" if request.param == "numpy" else "cuda"


@pytest.fixture(params=["standin", ON_CUPY])
def cuda(request):
    """ "cuda": for what a test compares with NumPy."""
    if request.param == "standin":
        request.getfixturevalue("standin")
    return "cuda"


@pytest.fixture
def same(request):
    """same(a, b): to the bit on NumPy and on the stand-in, which computes with NumPy; on a GPU to float32's accuracy."""
    exact = "cupy" not in request.node.callspec.params.values()

    def compare(a, b, rtol=1e-4, atol=1e-6):
        a, b = (x.get() if hasattr(x, "get") else np.asarray(x) for x in (a, b))
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        if exact:
            assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        else:
            np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)

    return compare
