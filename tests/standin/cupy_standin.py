"""A stand-in for CuPy on machines without a GPU: NumPy's arithmetic behind CuPy's manners.

`ndarray` is no `numpy.ndarray`, so nothing slips through NumPy's C code. It refuses what CuPy refuses (host arrays as
operands, np.asarray, keywords that CuPy's functions lack), answers 0-d arrays where NumPy answers scalars, wraps indices
that are out of range, and counts what costs time on a GPU: launches of kernels, uploads, and synchronisations (the host
waits for the device). `recording()` writes a block down as a CUDA graph would, and replays it.

Stricter than CuPy in three places, where CuPy goes on and is wrong or slow: its functions called with host arrays,
assignments to the same place twice, and kernels with operands of no known type.

Launches are a lower bound: one for each call that computes something, also where CuPy makes several (var, norm, sort).
test_cupy_contract.py holds names and signatures against the real package.
"""

import contextlib
import inspect
import math
import types
from numbers import Number

import numpy as np
from cupy_signatures import ARRAY, FUNCTIONS, UFUNCS
from numpy.lib.mixins import NDArrayOperatorsMixin

count = types.SimpleNamespace(launches=0, uploads=0, syncs=0)
tape = None  # what a running recording() has written down
free_bytes = math.inf  # a larger array does not fit on the device

IMPLICIT = "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array explicitly."
CAPTURING = "cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing"
CUBLAS = "calling cuBLAS API during stream capture is currently unsupported"
FREE = {"empty", "empty_like"}  # make an array, but launch nothing
SIZES = {"nonzero", "argwhere", "flatnonzero", "unique"}  # wait, to learn how large their answer is
PRODUCTS = {"matmul", "dot", "tensordot", "einsum", "inner"}  # call cuBLAS
PROPERTIES = ("shape", "ndim", "size", "dtype", "nbytes", "itemsize", "strides")


class CUDARuntimeError(RuntimeError):
    """What CuPy raises for an error of the driver."""


class OutOfMemoryError(MemoryError):
    """What CuPy raises when the device has no room."""

    def __init__(self, size, total, limit=0):
        super().__init__(f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes).")


def sync():
    """The host waits for the device."""
    if tape is not None:
        raise CUDARuntimeError(CAPTURING)
    count.syncs += 1


def upload():
    """Bytes go from the host to the device."""
    if tape is not None:
        raise CUDARuntimeError(CAPTURING)
    count.uploads += 1


# From and to the NumPy arrays inside ------------------------------------------------------------------------------------


def inside(value):
    """The NumPy value of an argument; arrays of the host are refused."""
    if isinstance(value, ndarray):
        return value._a
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, list | tuple):
        return type(value)(map(inside, value))
    if isinstance(value, dict):
        return {key: inside(v) for key, v in value.items()}
    return value


def outside(array, base=None):
    """A stand-in array of a NumPy array; `base` is the one of which it is a view."""
    made = object.__new__(ndarray)
    made._a = array
    made.base = base if base is None or base.base is None else base.base
    return made


def launch(compute, operands=(), out=None, kernels=1):
    """Run a kernel, and write it down if that is going on. What only looks at an operand anew is no kernel."""
    if tape is not None and out is not None:
        tape.before.setdefault(id(out._a), (out._a, out._a.copy()))
    answer = compute()
    if isinstance(answer, list | tuple):
        if tape is not None:
            raise NotImplementedError("the stand-in does not record calls with several answers")
        count.launches += kernels
        return tuple(launch(lambda a=a: a, operands, kernels=0) for a in answer)
    if not isinstance(answer, np.ndarray | np.generic):
        return answer
    if out is not None:
        count.launches += kernels
        if tape is not None:
            tape.steps.append(compute)
        return out
    array = np.asarray(answer)
    for operand in operands:
        if isinstance(operand, ndarray) and np.may_share_memory(array, operand._a):
            return outside(array, operand)
    if array.nbytes > free_bytes:
        raise OutOfMemoryError(array.nbytes, 0)
    count.launches += kernels
    if tape is not None:
        tape.fresh.append(array)
        tape.steps += [lambda: np.copyto(array, compute())] if kernels else []
    return outside(array)


def call(function, args, params):
    """A function of NumPy on the arrays inside."""
    name = function.__name__
    if name in SIZES:
        sync()
    if tape is not None and name in PRODUCTS and tape.refuses_cublas:
        raise NotImplementedError(CUBLAS)
    out = params.get("out")
    out = out[0] if isinstance(out, tuple) else out
    if out is not None and not isinstance(out, ndarray):
        raise TypeError(f"Argument 'out' has incorrect type (expected cupy._core.core._ndarray_base, got {type(out)})")
    operands = [a for arg in args for a in (arg if isinstance(arg, list | tuple) else [arg])]
    args, params = inside(args), inside({k: v for k, v in params.items() if v is not None})
    return launch(lambda: function(*args, **params), operands, out, kernels=name not in FREE)


# The array --------------------------------------------------------------------------------------------------------------


class ndarray(NDArrayOperatorsMixin):
    """An array "on the device"."""

    __slots__ = ("_a", "base")
    __hash__ = None
    __module__ = "cupy"
    __array_priority__ = 100
    __cuda_array_interface__ = property(lambda self: {"shape": self.shape})
    T = property(lambda self: self.transpose() if self.ndim > 1 else self)
    mT = property(lambda self: self.swapaxes(-1, -2))  # noqa: N815
    device = property(lambda self: types.SimpleNamespace(id=0))
    data = property(lambda self: types.SimpleNamespace(ptr=self._a.__array_interface__["data"][0]))

    @property
    def flags(self):
        flags = self._a.flags
        return types.SimpleNamespace(
            c_contiguous=flags.c_contiguous, f_contiguous=flags.f_contiguous, owndata=self.base is None
        )

    # NumPy's protocols

    def __array__(self, dtype=None, copy=None):
        raise TypeError(IMPLICIT)

    def __array_ufunc__(self, ufunc, method, *inputs, **params):
        known = (ndarray, np.ndarray, np.generic, Number)
        if ufunc.__name__ not in UFUNCS:
            return NotImplemented
        if method == "__call__":
            if not all(isinstance(x, known) for x in (*inputs, *params.get("out", ()))):
                return NotImplemented
            return getattr(cupy, ufunc.__name__)(*inputs, **params)
        return getattr(getattr(cupy, ufunc.__name__), method)(*inputs, **params)

    def __array_function__(self, function, kinds, args, params):
        place = cupy
        for name in function.__module__.split(".")[1:]:
            place = getattr(place, name, None)
        found = getattr(place, function.__name__, None)
        if found is None or found is function or not all(kind in (ndarray, np.ndarray) for kind in kinds):
            return NotImplemented
        return found(*args, **params)

    # Indexing

    def __len__(self):
        return len(self._a)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key):
        index = index_of(self._a, key)
        return launch(lambda: self._a[index], [self])

    def __setitem__(self, key, value):
        index = index_of(self._a, key)
        if isinstance(value, np.ndarray) and value.ndim:
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        value = value.item() if isinstance(value, np.ndarray) else inside(value)
        if any(isinstance(k, np.ndarray) and k.dtype != bool for k in index):
            places = np.arange(self.size).reshape(self.shape)[index]
            if isinstance(value, np.ndarray) and len(np.unique(places)) < places.size:
                raise RuntimeError("an assignment to the same place twice: CuPy does not say which value stays")
        launch(lambda: (self._a.__setitem__(index, value), self._a)[1], out=self)

    # To the host, from the host

    def get(self):
        sync()
        return self._a.copy()

    def set(self, host):
        if not isinstance(host, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        upload()
        self._a[...] = host

    def item(self):
        if self.size != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        return self.get().item()

    def tolist(self):
        return self.get().tolist()

    def tobytes(self, order="C"):
        return self.get().tobytes(order)

    def __bool__(self):
        if self.size != 1:
            raise ValueError("The truth value of an array with more than one element is ambiguous. Use a.any() or a.all()")
        return bool(self.get())

    def __deepcopy__(self, memo):
        return self.copy()

    def __reduce__(self):
        return asarray, (self.get(),)

    # Methods that are no functions of NumPy

    def astype(self, dtype, order="K", casting=None, subok=None, copy=True):
        if not copy and self.dtype == dtype:
            return self
        return launch(lambda: self._a.astype(dtype, order))

    def copy(self, order="C"):
        return launch(lambda: self._a.copy(order))

    def fill(self, value):
        self[...] = value

    def reshape(self, *shape, order="C", copy=None):
        shape = shape[0] if len(shape) == 1 else shape
        return launch(lambda: self._a.reshape(shape, order=order), [self])

    def transpose(self, *axes):
        return launch(lambda: self._a.transpose(*axes), [self])

    def view(self, dtype=None):
        return outside(self._a.view() if dtype is None else self._a.view(dtype), self)


def index_of(array, key):
    """The index that NumPy is to use, so that the answer is an array: CuPy wraps integers, and waits for masks."""
    key = key if isinstance(key, tuple) else (key,)
    used = sum(k.ndim if isinstance(k, ndarray) and k.dtype == bool else k is not None and k is not Ellipsis for k in key)
    index, axis = [], 0
    for k in key:
        if isinstance(k, np.ndarray | list):
            upload()
        k = k._a if isinstance(k, ndarray) else np.asarray(k) if isinstance(k, list) else k
        mask = isinstance(k, np.ndarray) and k.dtype == bool
        if mask:
            sync()
        elif isinstance(k, np.ndarray):
            k = k.astype(np.intp) if not k.size else k % array.shape[axis]
        axis += array.ndim - used if k is Ellipsis else 0 if k is None else k.ndim if mask else 1
        index.append(k)
    return tuple(index) if any(k is Ellipsis for k in index) else (*index, ...)


for _name in PROPERTIES:
    setattr(ndarray, _name, property(lambda self, _name=_name: getattr(self._a, _name)))
for _name in ("float", "int", "complex", "repr", "str", "format"):
    _own = getattr(np.ndarray, f"__{_name}__")
    setattr(ndarray, f"__{_name}__", lambda self, *how, _own=_own: _own(self.get(), *how))


# The module ---------------------------------------------------------------------------------------------------------------


class ufunc:
    """cupy.add and its like."""

    def __init__(self, name):
        self.__name__, self._ufunc = name, getattr(np, name)

    def __call__(self, *args, out=None, **params):
        wrong = {k: v for k, v in params.items() if k not in ("dtype", "casting", "where")}
        if wrong or not isinstance(params.get("where", ndarray), ndarray | type):
            raise TypeError(f"Wrong arguments {wrong or {'where': params['where']}}")
        for arg in args:
            if not isinstance(arg, ndarray | Number | np.generic):
                raise TypeError(f"Unsupported type {type(arg)}")
        out = out[0] if isinstance(out, tuple) else out
        return call(self._ufunc, args, {**params, "out": out})

    def reduce(self, array, axis=0, dtype=None, out=None, keepdims=False):
        if self.__name__ not in ("add", "multiply"):
            raise NotImplementedError(f"`cupy_{self.__name__}.reduce` is not supported yet")
        out = out[0] if isinstance(out, tuple) else out
        return call(self._ufunc.reduce, (array,), {"axis": axis, "dtype": dtype, "out": out, "keepdims": keepdims})

    def at(self, array, key, *values):
        index, values = index_of(array._a, key), inside(values)
        launch(lambda: (self._ufunc.at(array._a, index, *values), array._a)[1], out=array)


def function(name, signature, owner=np):
    """A function of CuPy: its arguments are those of CuPy's, its answer that of NumPy's."""
    wanted, numpys = signature_of(signature), getattr(owner, name)

    def function(*args, **params):
        bound = wanted.bind(*args, **params)
        positional, keywords = list(bound.args), bound.kwargs
        names = [p.name for p in wanted.parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
        if numpys is not np.where:  # all that has a default, by name: NumPy's come in another order
            required = [p.name for p in wanted.parameters.values() if p.default is p.empty and p.name in names]
            given = dict(zip(names, positional, strict=False)) if names else {}
            keywords = {**{k: v for k, v in given.items() if k not in required}, **keywords}
            positional = [given[k] for k in required] if names else positional
        return call(numpys, tuple(positional), keywords)

    function.__name__ = name
    return function


def signature_of(text):
    """The signature that is written in cupy_signatures.py."""
    return inspect.signature(eval(f"lambda {text}: None"))


def copyto(dst, src, casting="same_kind", where=None):
    if not isinstance(dst, ndarray):
        raise TypeError("the target of copyto must be on the device")
    if isinstance(src, np.ndarray) and src.ndim:
        raise ValueError("non-scalar numpy.ndarray cannot be used for copyto")
    src, where = inside(src), True if where is None else inside(where)
    launch(lambda: (np.copyto(dst._a, src, casting, where), dst._a)[1], out=dst)


def asarray(a, dtype=None, order=None, *, copy=None, blocking=False):
    if isinstance(a, ndarray):
        return a if dtype is None else a.astype(dtype, copy=False)
    if isinstance(a, list | tuple) and any(isinstance(x, ndarray) for x in a):
        return cupy.stack([asarray(x, dtype) for x in a])
    host = np.array(a, dtype=dtype)
    if host.nbytes > free_bytes:
        raise OutOfMemoryError(host.nbytes, 0)
    upload()
    return outside(host)


def asnumpy(a):
    return a.get() if isinstance(a, ndarray) else np.asarray(a)


def of_shapes(name):
    """What needs no kernel: np.shape, np.ndim, np.result_type ..."""
    return lambda *args: getattr(np, name)(*(a._a if isinstance(a, ndarray) else a for a in args))


cupy = types.ModuleType("cupy")
cupy.__version__ = "stand-in"
cupy.ndarray, cupy.ufunc, cupy.asarray, cupy.asnumpy, cupy.copyto = ndarray, ufunc, asarray, asnumpy, copyto
cupy.linalg = types.ModuleType("cupy.linalg")
cupy.cuda = types.SimpleNamespace(
    runtime=types.SimpleNamespace(getDeviceCount=lambda: 1, CUDARuntimeError=CUDARuntimeError),
    memory=types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
)
for _name in UFUNCS:
    setattr(cupy, _name, ufunc(_name))
for _name, _signature in FUNCTIONS.items():
    _home, _, _short = _name.rpartition(".")
    _owner = np.linalg if _home else np
    if not hasattr(cupy, _short):
        setattr(cupy.linalg if _home else cupy, _short, function(_short, _signature, _owner))
for _name in ("shape", "ndim", "size", "result_type", "may_share_memory", "shares_memory", "isrealobj", "can_cast"):
    setattr(cupy, _name, of_shapes(_name))
for _name, _signature in ARRAY.items():
    if _name not in vars(ndarray):
        setattr(ndarray, _name, function(_name, f"a, {_signature}", np))


# Measuring, and recording ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def counting():
    """with counting() as c: afterwards c.launches, c.uploads and c.syncs are those of the block."""
    before, block = dict(vars(count)), types.SimpleNamespace()
    yield block
    vars(block).update({key: value - before[key] for key, value in vars(count).items()})


@contextlib.contextmanager
def limited_memory(size):
    """No array of more bytes than `size` fits on the device."""
    global free_bytes
    before, free_bytes = free_bytes, size
    try:
        yield
    finally:
        free_bytes = before


class Graph:
    """A recorded block: `launch()` runs its kernels again, on the buffers that they had; to the host it is one launch."""

    def __init__(self):
        self.steps, self.before, self.fresh = [], {}, []
        self.refuses_cublas = True

    def __len__(self):
        return len(self.steps)

    def launch(self):
        count.launches += 1
        for step in self.steps:
            step()


@contextlib.contextmanager
def recording(refuse_cublas=True):
    """Write a block down as a CUDA graph. Nothing in it takes effect before `graph.launch()`, as in a stream capture:
    what it wrote is undone, and its new arrays hold nan.

    refuse_cublas: CuPy 14 refuses cuBLAS in a capture; False is for a product that is called outside CuPy.
    """
    global tape
    graph = tape = Graph()
    graph.refuses_cublas = refuse_cublas
    try:
        yield graph
    finally:
        tape = None
        for array, old in graph.before.values():
            array[...] = old
        for array in graph.fresh:
            array.fill(math.nan if array.dtype.kind == "f" else 0)
