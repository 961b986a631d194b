"""What CuPy refuses: (what is done with a device array d, the error, its text, does CuPy say so before it needs a GPU?)."""

import numpy as np

HOST = np.arange(6, dtype=np.float32).reshape(2, 3)
IMPLICIT = "Implicit conversion to a NumPy array is not allowed"
REFUSED = {
    "np.asarray": (lambda d: np.asarray(d), TypeError, IMPLICIT, True),
    "np.array of a list": (lambda d: np.array([d[0, 0], d[0, 1]]), TypeError, IMPLICIT, True),
    "np.float32": (lambda d: np.float32(d[0, 0]), TypeError, IMPLICIT, True),
    "index of a host array": (lambda d: HOST[d.view(np.int32)[0]], TypeError, IMPLICIT, True),
    "write into a host array": (lambda d: HOST.copy().__setitem__(..., d), TypeError, IMPLICIT, True),
    "add": (lambda d: d + HOST, TypeError, "Unsupported type", False),
    "radd": (lambda d: HOST + d, TypeError, "Unsupported type", False),
    "in place": (lambda d: d.__iadd__(HOST), TypeError, "Unsupported type", False),
    "0-d of the host": (lambda d: d * np.asarray(2.0), TypeError, "Unsupported type", False),
    "matmul": (lambda d: d @ HOST.T, TypeError, "incorrect type|Unsupported type", True),
    "rmatmul": (lambda d: HOST @ d.T, TypeError, "incorrect type|Unsupported type", True),
    "where": (lambda d: np.where(HOST > 0, d, 0), TypeError, "Unsupported type", False),
    "stack": (lambda d: np.stack([d, HOST]), TypeError, "incorrect type|Unsupported type", True),
    "copyto": (lambda d: np.copyto(d, HOST), ValueError, "non-scalar numpy.ndarray cannot be used for copyto", True),
    "assignment": (
        lambda d: d.__setitem__(..., HOST),
        ValueError,
        "non-scalar numpy.ndarray cannot be used for fill",
        True,
    ),
    "out on the host": (
        lambda d: np.sum(d, axis=0, out=np.zeros(3, np.float32)),
        TypeError,
        "'out' has incorrect type",
        True,
    ),
    "a list": (lambda d: np.add(d, [1.0, 2.0, 3.0]), TypeError, "NotImplemented", False),
    "maximum.reduce": (lambda d: np.maximum.reduce(d), NotImplementedError, "maximum.reduce` is not supported", True),
    "where= of a ufunc": (lambda d: np.add(d, d, where=True), TypeError, "Wrong arguments", True),
    "where= of a sum": (lambda d: np.sum(d, where=True), TypeError, "unexpected keyword argument 'where'", True),
    "initial=": (lambda d: np.sum(d, initial=0), TypeError, "unexpected keyword argument 'initial'", True),
    "eye like": (lambda d: np.eye(3, like=d), TypeError, "unexpected keyword argument 'device'", True),
    "as an index": (lambda d: [1, 2][d.view(np.int32)[0, 0]], TypeError, "list indices must be integers", True),
    "round": (lambda d: round(d[0, 0]), TypeError, "__round__", True),
    "hash": (lambda d: hash(d), TypeError, "unhashable", True),
    "truth of many": (lambda d: bool(d), ValueError, "ambiguous", True),
    "item of many": (lambda d: d.item(), ValueError, "size 1", True),
    "writeable": (lambda d: d.flags.writeable, AttributeError, "writeable", True),
    "attributes": (lambda d: setattr(d, "mine", 1), AttributeError, "mine", True),
    "a function that is missing": (lambda d: np.spacing(d), TypeError, "NotImplemented|not supported", False),
}
