"""How PyTorch's operators are called in NumPy: a table from torch's name to a function with torch's arguments.

Every entry is written with NumPy's functions, or tinynet's losses and activations, only; it runs on tn.Tensors and,
to ask what NumPy itself says, on plain arrays. Arguments that an entry does not name are keywords that we do not have.
"""

import numpy as np

from tinynet import functional as F


def same(function):
    """The same function, operands and nothing else."""
    return lambda *operands: function(*operands)


def unary(function):
    return lambda x: function(x)


def binary(function):
    return lambda a, b: function(a, b)


def scaled(function):
    """a + alpha * b and the like."""
    return lambda a, b, *, alpha=1: function(a, b if alpha == 1 else alpha * b)


def turned(function):
    """The reflected operators of a tensor on the left: __rsub__(a, b) is b - a."""
    return lambda a, b: function(b, a)


def axes(dim):
    """Torch's `dim` as NumPy's axis: a list becomes a tuple, and reducing over no axis means over all."""
    if isinstance(dim, list | tuple):
        return tuple(dim) or None
    return dim


def reduction(function):
    return lambda x, dim=None, keepdim=False: function(x, axis=axes(dim), keepdims=keepdim)


def spread(function):
    """var and std: torch's `correction` is NumPy's ddof, 1 unless told."""

    def of(x, dim=None, unbiased=True, keepdim=False, correction=None):
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        ddof = (1 if unbiased else 0) if correction is None else correction
        return function(x, axis=axes(dim), ddof=ddof, keepdims=keepdim)

    return of


def scan(function):
    return lambda x, dim: function(x, axis=dim)


def row(*arrays):
    """Arrays given one by one, or as one list."""
    return list(arrays[0]) if len(arrays) == 1 and isinstance(arrays[0], list | tuple) else list(arrays)


def together(function):
    return lambda *arrays: function(row(*arrays))


def shape_of(*shape):
    return tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape


def expand(x, *shape):
    shape = shape_of(*shape)
    extra = len(shape) - x.ndim
    return np.broadcast_to(x, tuple(x.shape[i - extra] if n == -1 else n for i, n in enumerate(shape)))


def clamp(x, min=None, max=None):
    return np.clip(x, min, max)


def part(x, dim, index):
    """x with the index at one axis."""
    return x[(slice(None),) * (dim % max(x.ndim, 1)) + (index,)]


def narrow(x, dim, start, length):
    start = int(start) % (x.shape[dim] + 1) if int(start) >= 0 else int(start) + x.shape[dim]
    return part(x, dim, slice(start, start + length))


def slice_of(x, dim=0, start=None, end=None, step=1):
    return part(x, dim, slice(start, end, step))


def split(x, size, dim=0):
    cuts = range(size, x.shape[dim], size) if isinstance(size, int) else np.cumsum(size)[:-1]
    return np.split(x, list(cuts), axis=dim)


def chunk(x, chunks, dim=0):
    return split(x, max(-(-x.shape[dim] // chunks), 1), dim)


def tensor_split(x, where, dim=0):
    where = where.tolist() if isinstance(where, np.ndarray) else where
    return np.array_split(x, list(where) if isinstance(where, tuple) else where, axis=dim)


def unbind(x, dim=0):
    return [part(x, dim, i) for i in range(x.shape[dim])]


def unflattened(x, start_dim=0, end_dim=-1):
    start, end = start_dim % max(x.ndim, 1), end_dim % max(x.ndim, 1)
    return np.reshape(x, (*x.shape[:start], -1 if x.size else int(np.prod(x.shape[start : end + 1])), *x.shape[end + 1 :]))


def squeeze(x, dim=None):
    """Torch leaves alone an axis that is not of length 1."""
    if dim is None:
        return np.squeeze(x)
    ours = tuple(d for d in (dim if isinstance(dim, tuple | list) else (dim,)) if x.shape[d] == 1)
    return np.squeeze(x, axis=ours)


def repeat(x, *times):
    return np.tile(x, shape_of(*times))


def repeat_interleave(x, repeats, dim=None, *, output_size=None):
    return np.repeat(x, repeats, axis=dim)


def sort(x, dim=-1, descending=False, stable=True):
    order = np.sort(x, axis=dim)
    return np.flip(order, axis=dim) if descending else order


def roll(x, shifts, dims=None):
    return np.roll(x, shifts, axis=dims or None if isinstance(dims, tuple) else dims)


def padded(mode):
    def pad(x, pad, _mode=mode, value=None):
        widths = [(0, 0)] * (x.ndim - len(pad) // 2) + [tuple(pad[i : i + 2]) for i in range(len(pad) - 2, -1, -2)]
        if min(pad, default=0) < 0:  # torch cuts off there
            assert mode == "constant" or all(n <= 0 for n in pad), "cutting off and padding at once"
        cut = tuple(slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(widths, x.shape, strict=True))
        x, widths = x[cut], [(max(a, 0), max(b, 0)) for a, b in widths]
        return np.pad(x, widths, mode=mode, **({"constant_values": value or 0.0} if mode == "constant" else {}))

    return pad


def norm(x, ord=None, dim=None, keepdim=False):
    return np.linalg.norm(x, ord, axis=axes(dim), keepdims=keepdim)


def vector_norm(x, ord=2, dim=None, keepdim=False):
    """A norm of all elements along some axes as one vector: the axes are joined first, unless it is one."""
    if (dim is None and x.ndim == 1) or isinstance(dim, int):
        return np.linalg.norm(x, ord, axis=dim, keepdims=keepdim)
    dims = tuple(range(x.ndim)) if dim is None else tuple(d % max(x.ndim, 1) for d in dim)
    if len(dims) == 1 and x.ndim:
        return np.linalg.norm(x, ord, axis=dims[0], keepdims=keepdim)
    kept = [d for d in range(x.ndim) if d not in dims]
    flat = np.reshape(
        np.transpose(x, (*kept, *dims)), (*(x.shape[d] for d in kept), int(np.prod([x.shape[d] for d in dims])))
    )
    y = np.linalg.norm(flat, ord, axis=-1)
    return np.reshape(y, tuple(1 if d in dims else n for d, n in enumerate(x.shape))) if keepdim else y


def old_norm(x, p="fro", dim=None, keepdim=False):
    return vector_norm(x, 2 if p == "fro" else p, dim, keepdim)


def einsum(operands, subscripts):
    return np.einsum(subscripts, *operands)


def tensordot(a, b, dims=2):
    return np.tensordot(a, b, dims)


def diagonal(x, offset=0, dim1=0, dim2=1):
    return np.diagonal(x, offset, dim1, dim2)


def linalg_diagonal(x, *, offset=0, dim1=-2, dim2=-1):
    return np.diagonal(x, offset, dim1, dim2)


def take(x, index):
    return np.take(x, index)


def take_along_dim(x, index, dim=None):
    if dim is None:
        return np.take_along_axis(np.ravel(x), np.ravel(index), axis=0)
    return np.take_along_axis(x, index, axis=dim)


def gather(x, dim, index):
    """Torch allows an index that is smaller than x along the other axes: those elements of x are never looked at."""
    cut = tuple(slice(None) if i == dim % x.ndim else slice(n) for i, n in enumerate(index.shape))
    return np.take_along_axis(x[cut] if index.shape != x.shape else x, index, axis=dim)


def logsumexp(x, dim, keepdim=False):
    axis = axes(dim)
    return F.logsumexp(x, axis[0] if isinstance(axis, tuple) and len(axis) == 1 else axis, keepdims=keepdim)


def layer_norm(x, shape, weight=None, bias=None, eps=1e-5):
    axis = tuple(range(-len(shape), 0))
    y = (x - np.mean(x, axis=axis, keepdims=True)) / np.sqrt(np.var(x, axis=axis, keepdims=True) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def class_loss(logits, target, weight=None, reduction="mean", label_smoothing=0.0):
    if logits.ndim > 2:  # torch has the classes in the second axis, we in the last
        logits = np.moveaxis(logits, 1, -1)
        target = np.moveaxis(target, 1, -1) if target.ndim == logits.ndim else target
    return F.cross_entropy(logits, target, weight=weight, label_smoothing=label_smoothing, reduction=reduction)


def linear(x, weight, bias=None):
    weight = np.transpose(weight)
    return x @ weight if bias is None or weight.ndim == 1 else F.linear(x, weight, bias)


def softplus(x, beta=1):
    return F.softplus(beta * x) / beta


def gelu(x, approximate="none"):
    assert approximate == "tanh", "the exact form"
    return F.gelu(x)


def gradient(x, *, spacing=None, dim=None, edge_order=1):
    spacing = spacing if isinstance(spacing, list | tuple) else [1.0 if spacing is None else spacing]
    return np.gradient(x, *spacing, axis=axes(dim), edge_order=edge_order)


def trapezoid(y, x=None, *, dx=1.0, dim=-1):
    return np.trapezoid(y, x, dx, dim)


def cross(a, b, dim=-1):
    return np.cross(a, b, axis=dim)


def combined(product):
    """addmm and the like: beta * c + alpha * a @ b."""
    return lambda c, a, b, *, beta=1, alpha=1: beta * c + alpha * product(a, b)


def cholesky(x, upper=False):
    return np.linalg.cholesky(x, upper=upper) if upper else np.linalg.cholesky(x)


def quantile(x, q, dim=None, keepdim=False, interpolation="linear"):
    return np.quantile(x, q, axis=dim, keepdims=keepdim, method=interpolation)


def median(x, dim=None, keepdim=False):
    return np.median(x, axis=dim, keepdims=keepdim)


def diff(x, n=1, dim=-1, prepend=None, append=None):
    given = {"prepend": prepend, "append": append}
    return np.diff(x, n, axis=dim, **{k: v for k, v in given.items() if v is not None})


def put(x, index, values, accumulate=False):
    """Elements of x replaced, or added to, at an index."""
    assert accumulate, "writing into a copy"
    from tinynet import kernels

    return x + kernels.put_back(np.broadcast_to(values, x[index].shape), index, x.shape)


def masked_select(x, mask):
    shape = np.broadcast_shapes(x.shape, mask.shape)
    return np.broadcast_to(x, shape)[np.broadcast_to(mask, shape)]


def mean_beside(x, dim=None, keepdim=False, **how):
    """The mean that torch answers together with a variance."""
    return np.mean(x, axis=axes(dim), keepdims=keepdim)


OURS = {
    # elements, one operand
    **{
        name: unary(getattr(np, name))
        for name in (
            "abs",
            "acos",
            "acosh",
            "asin",
            "asinh",
            "atan",
            "atanh",
            "ceil",
            "cos",
            "cosh",
            "deg2rad",
            "exp",
            "exp2",
            "expm1",
            "floor",
            "log",
            "log10",
            "log1p",
            "log2",
            "negative",
            "positive",
            "rad2deg",
            "reciprocal",
            "round",
            "sign",
            "sin",
            "sinc",
            "sinh",
            "sqrt",
            "square",
            "tan",
            "tanh",
            "trunc",
            "isfinite",
            "isinf",
            "isnan",
            "signbit",
            "logical_not",
            "ravel",
            "fliplr",
            "flipud",
            "real",
            "conj",
            "i0",
            "angle",
            "isposinf",
            "isneginf",
            "isreal",
            "zeros_like",
            "ones_like",
        )
    },
    "neg": unary(np.negative),
    "nan_to_num": lambda x, nan=0.0, posinf=None, neginf=None: np.nan_to_num(x, True, nan, posinf, neginf),
    "conj_physical": unary(np.conjugate),
    "resolve_conj": unary(np.conjugate),
    "clone": unary(np.copy),
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sigmoid": F.sigmoid,
    "sgn": unary(np.sign),
    "frac": lambda x: np.fmod(x, 1.0),
    "full_like": lambda x, value: np.full_like(x, value),
    # elements, two operands or more
    **{
        name: binary(getattr(np, name))
        for name in (
            "atan2",
            "true_divide",
            "fmax",
            "fmin",
            "fmod",
            "remainder",
            "hypot",
            "logaddexp",
            "logaddexp2",
            "maximum",
            "minimum",
            "copysign",
            "heaviside",
            "nextafter",
            "ldexp",
            "float_power",
            "logical_and",
            "logical_or",
            "logical_xor",
        )
    },
    "add": scaled(np.add),
    "sub": scaled(np.subtract),
    "rsub": lambda a, b, *, alpha=1: b - (a if alpha == 1 else alpha * a),
    "mul": binary(np.multiply),
    "div.no_rounding_mode": binary(np.divide),
    "pow": binary(np.power),
    "max.binary": binary(np.maximum),
    "min.binary": binary(np.minimum),
    "div.floor_rounding": lambda a, b, rounding_mode: np.floor_divide(a, b),
    "__radd__": turned(np.add),
    "__rsub__": turned(np.subtract),
    "__rmul__": turned(np.multiply),
    "__rdiv__": turned(np.divide),
    "__rpow__": turned(np.power),
    "__rmod__": turned(np.remainder),
    "__rmatmul__": turned(np.matmul),
    **{
        name: binary(getattr(np, full))
        for name, full in {
            "eq": "equal",
            "ne": "not_equal",
            "lt": "less",
            "le": "less_equal",
            "gt": "greater",
            "ge": "greater_equal",
        }.items()
    },
    "clamp": clamp,
    "clamp_min": lambda x, min: np.maximum(x, min),
    "clamp_max": lambda x, max: np.minimum(x, max),
    "where": lambda a, mask, b: np.where(mask, a, b),
    "masked_fill": lambda x, mask, value: np.where(mask, value, x),
    "lerp": lambda a, b, weight: a + weight * (b - a),
    "addcmul": lambda x, a, b, *, value=1: x + value * (a * b),
    "addcdiv": lambda x, a, b, *, value=1: x + value * (a / b),
    "isclose": lambda a, b, rtol=1e-5, atol=1e-8, equal_nan=False: np.isclose(a, b, rtol, atol, equal_nan),
    "allclose": lambda a, b, rtol=1e-5, atol=1e-8, equal_nan=False: np.allclose(a, b, rtol, atol, equal_nan),
    "equal": binary(np.array_equal),
    # reductions
    "sum": reduction(np.sum),
    "mean": reduction(np.mean),
    "nansum": reduction(np.nansum),
    "nanmean": reduction(np.nanmean),
    "amax": reduction(np.max),
    "amin": reduction(np.min),
    "max.reduction_no_dim": unary(np.max),
    "min.reduction_no_dim": unary(np.min),
    "max.reduction_with_dim": reduction(np.max),
    "min.reduction_with_dim": reduction(np.min),
    "prod": reduction(np.prod),
    "var": spread(np.var),
    "var.unbiased": spread(np.var),
    "std": spread(np.std),
    "std.unbiased": spread(np.std),
    "aminmax": lambda x, *, dim=None, keepdim=False: [
        np.min(x, axis=dim, keepdims=keepdim),
        np.max(x, axis=dim, keepdims=keepdim),
    ],
    "var_mean": lambda x, *dim, **how: [spread(np.var)(x, *dim, **how), mean_beside(x, *dim, **how)],
    "all": reduction(np.all),
    "any": reduction(np.any),
    "argmax": lambda x, dim=None, keepdim=False: np.argmax(x, axis=dim, keepdims=keepdim),
    "argmin": lambda x, dim=None, keepdim=False: np.argmin(x, axis=dim, keepdims=keepdim),
    "count_nonzero": lambda x, dim=None: np.count_nonzero(x, axis=axes(dim)),
    "argsort": lambda x, dim=-1, descending=False, stable=True: np.argsort(
        -x if descending else x, axis=dim, kind="stable"
    ),
    "median": median,
    "quantile": quantile,
    "cumsum": scan(np.cumsum),
    "cumprod": scan(np.cumprod),
    "diff": diff,
    "sort": sort,
    "msort": lambda x: np.sort(x, axis=0),
    "gradient": gradient,
    "trapezoid": trapezoid,
    "trapz": trapezoid,
    "logsumexp": logsumexp,
    "softmax": lambda x, dim: F.softmax(x, dim),
    "log_softmax": lambda x, dim: F.log_softmax(x, dim),
    "nn.functional.softmin": lambda x, dim: F.softmax(-x, dim),
    # products
    "matmul": binary(np.matmul),
    "mm": binary(np.matmul),
    "bmm": binary(np.matmul),
    "mv": binary(np.matmul),
    "dot": binary(np.dot),
    "vdot": binary(np.vdot),
    "inner": binary(np.inner),
    "outer": binary(np.outer),
    "kron": binary(np.kron),
    "tensordot": tensordot,
    "einsum": einsum,
    "addmm": combined(np.matmul),
    "addmm.decomposed": combined(np.matmul),
    "addmv": combined(np.matmul),
    "baddbmm": combined(np.matmul),
    "addr": combined(np.outer),
    "addbmm": combined(lambda a, b: np.sum(np.matmul(a, b), axis=0)),
    "cross": cross,
    "linalg.cross": cross,
    "linalg.vecdot": lambda a, b, *, dim=-1: np.sum(a * b, axis=dim),
    "linalg.multi_dot": lambda arrays: np.linalg.multi_dot(arrays),
    "linalg.matrix_power": lambda x, n: np.linalg.matrix_power(x, n),
    "trace": unary(np.trace),
    "diag": lambda x, k=0: np.diag(x, k),
    "diagflat": lambda x, offset=0: np.diagflat(x, offset),
    "diagonal": diagonal,
    "diagonal_copy": diagonal,
    "linalg.diagonal": linalg_diagonal,
    "tril": lambda x, k=0: np.tril(x, k),
    "triu": lambda x, k=0: np.triu(x, k),
    # linear algebra
    "linalg.det": unary(np.linalg.det),
    "linalg.inv": unary(np.linalg.inv),
    "linalg.solve": binary(np.linalg.solve),
    "linalg.norm": norm,
    "linalg.norm.subgradients_at_zero": norm,
    "linalg.vector_norm": vector_norm,
    "norm": old_norm,
    "norm.fro": old_norm,
    "norm.inf": old_norm,
    "linalg.matrix_norm": lambda x, ord="fro", dim=(-2, -1), keepdim=False: np.linalg.norm(
        x, ord, axis=tuple(dim), keepdims=keepdim
    ),
    "linalg.cholesky": cholesky,
    "cholesky": cholesky,
    "linalg.slogdet": lambda x: list(np.linalg.slogdet(x)),
    "linalg.pinv": lambda x, *, rtol=None: np.linalg.pinv(x, **({} if rtol is None else {"rtol": rtol})),
    "pinverse": unary(np.linalg.pinv),
    "logdet": lambda x: np.linalg.slogdet(x)[1],
    "linalg.eigvalsh": lambda x, UPLO="L": np.linalg.eigvalsh(x, UPLO),
    "linalg.svdvals": lambda x: np.linalg.svd(x, compute_uv=False),
    # shapes
    "broadcast_to": expand,
    "expand": expand,
    "expand_copy": expand,
    "expand_as": lambda x, other: np.broadcast_to(x, other.shape),
    "broadcast_tensors": lambda *arrays: np.broadcast_arrays(*arrays),
    "reshape": lambda x, *s: np.reshape(x, shape_of(*s)),
    "view": lambda x, *s: np.reshape(x, shape_of(*s)),
    "view_copy": lambda x, *s: np.reshape(x, shape_of(*s)),
    "reshape_as": lambda x, other: np.reshape(x, other.shape),
    "view_as": lambda x, other: np.reshape(x, other.shape),
    "flatten": unflattened,
    "unsqueeze": lambda x, dim: np.expand_dims(x, dim),
    "unsqueeze_copy": lambda x, dim: np.expand_dims(x, dim),
    "squeeze": squeeze,
    "squeeze_copy": squeeze,
    "squeeze.multiple": squeeze,
    "permute": lambda x, *dims: np.transpose(x, shape_of(*dims)),
    "permute_copy": lambda x, *dims: np.transpose(x, shape_of(*dims)),
    "transpose": lambda x, i, j: np.swapaxes(x, i, j),
    "transpose_copy": lambda x, i, j: np.swapaxes(x, i, j),
    "t": unary(np.transpose),
    "t_copy": unary(np.transpose),
    "T": lambda x: x.T,
    "mT": lambda x: x.mT,
    "movedim": lambda x, a, b: np.moveaxis(x, a, b),
    "atleast_1d": together(lambda arrays: np.atleast_1d(*arrays)),
    "atleast_2d": together(lambda arrays: np.atleast_2d(*arrays)),
    "atleast_3d": together(lambda arrays: np.atleast_3d(*arrays)),
    "cat": lambda arrays, dim=0: np.concatenate(arrays, axis=dim),
    "stack": lambda arrays, dim=0: np.stack(arrays, axis=dim),
    "hstack": together(np.hstack),
    "vstack": together(np.vstack),
    "dstack": together(np.dstack),
    "column_stack": together(np.column_stack),
    "split": split,
    "split.list_args": split,
    "split_with_sizes": split,
    "split_with_sizes_copy": split,
    "unsafe_split": split,
    "chunk": chunk,
    "unsafe_chunk": chunk,
    "tensor_split": tensor_split,
    "unbind": unbind,
    "unbind_copy": unbind,
    "hsplit": lambda x, where: np.hsplit(x, where),
    "vsplit": lambda x, where: np.vsplit(x, where),
    "dsplit": lambda x, where: np.dsplit(x, where),
    "repeat": repeat,
    "tile": repeat,
    "repeat_interleave": repeat_interleave,
    "flip": lambda x, dims: np.flip(x, axis=tuple(dims)),
    "roll": roll,
    "rot90": lambda x, k=1, dims=(0, 1): np.rot90(x, k, dims),
    "nn.functional.pad.constant": padded("constant"),
    "nn.functional.pad.reflect": padded("reflect"),
    "constant_pad_nd": lambda x, pad, value=0.0: padded("constant")(x, pad, value=value),
    "nn.functional.pad.replicate": padded("edge"),
    "nn.functional.pad.replicate_negative": padded("edge"),
    "nn.functional.pad.circular": padded("wrap"),
    "meshgrid.variadic_tensors": lambda *arrays, indexing: np.meshgrid(*arrays, indexing=indexing),
    "meshgrid.list_of_tensors": lambda arrays, indexing: np.meshgrid(*arrays, indexing=indexing),
    # indexing
    "__getitem__": lambda x, index: x[index],
    "index_select": lambda x, dim, index: np.take(x, index, axis=dim),
    "take": take,
    "take_along_dim": take_along_dim,
    "gather": gather,
    "masked_select": masked_select,
    "select": part,
    "narrow": narrow,
    "narrow_copy": narrow,
    "slice": slice_of,
    "index_put": put,
    # layers, activations, losses
    "nn.functional.relu": F.relu,
    "nn.functional.leaky_relu": lambda x, negative_slope=0.01: F.leaky_relu(x, negative_slope=negative_slope),
    "nn.functional.elu": lambda x, alpha=1.0: F.elu(x, alpha=alpha),
    "nn.functional.silu": F.silu,
    "nn.functional.softplus": softplus,
    "nn.functional.logsigmoid": F.log_sigmoid,
    "nn.functional.gelu": gelu,
    "nn.functional.linear": linear,
    "nn.functional.layer_norm": layer_norm,
    "nn.functional.cross_entropy": class_loss,
    "nn.functional.mse_loss": lambda a, b, reduction="mean": F.mse_loss(a, b, reduction),
    "nn.functional.l1_loss": lambda a, b, reduction="mean": F.l1_loss(a, b, reduction),
    "nn.functional.huber_loss": lambda a, b, reduction="mean", delta=1.0: F.huber_loss(a, b, delta, reduction),
    "nn.functional.binary_cross_entropy_with_logits": lambda z, t, reduction="mean": F.binary_cross_entropy_with_logits(
        z, t, reduction
    ),
    "nn.functional.relu6": lambda x: np.clip(x, 0.0, 6.0),
    "nn.functional.hardtanh": lambda x, min_val=-1.0, max_val=1.0: np.clip(x, min_val, max_val),
    "nn.functional.tanhshrink": lambda x: x - np.tanh(x),
    "nn.functional.softsign": lambda x: x / (1 + np.abs(x)),
}
