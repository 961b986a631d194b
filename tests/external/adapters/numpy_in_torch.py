"""NumPy's vocabulary spoken by torch: `Judge`, a stand-in for an array whose every function is computed by torch.

A sample such as `lambda x: np.clip(x, -0.9, 1.1)` runs unchanged on a Judge, so one table, NumPy function -> torch
function, serves every sample. Nothing here imports tinynet's rules: all derivatives are torch's.
"""

import numpy as np
import torch
import torch.nn.functional as TF

from tinynet import functional as F
from tinynet import kernels


def raw(function):
    """The function that the table of rules knows (our kernels are wrapped)."""
    ours = (getattr(function, "__module__", None) or "").startswith("tinynet")
    return getattr(function, "__wrapped__", function) if ours else function


class Judge(np.lib.mixins.NDArrayOperatorsMixin):
    """A torch tensor that answers NumPy's functions, operators and methods by the table TORCH."""

    def __init__(self, tensor):
        self.tensor = tensor

    shape = property(lambda self: tuple(self.tensor.shape))
    ndim = property(lambda self: self.tensor.ndim)
    size = property(lambda self: self.tensor.numel())
    dtype = np.dtype(np.float64)

    def __array_ufunc__(self, ufunc, method, *inputs, **params):
        assert method == "__call__"
        return asked(ufunc, inputs, params)

    def __array_function__(self, function, types, args, params):
        return asked(function, args, params)

    __record__ = staticmethod(lambda function, args, params: asked(function, args, params))

    def __getitem__(self, index):
        return asked(raw(kernels.getitem), (self, index), {})

    def reshape(self, *shape):
        return np.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes):
        return np.transpose(self, axes or None)

    def __getattr__(self, name):  # x.sum(axis=0) is np.sum(x, axis=0)
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *args, **params: getattr(np, name)(self, *args, **params)


def asked(function, args, params):
    """The answer of torch's function for NumPy's."""
    if function not in TORCH:
        raise NotImplementedError(f"no torch counterpart for {function}")
    return wrapped(TORCH[function](*map(unwrapped, args), **{k: unwrapped(v) for k, v in params.items()}))


def unwrapped(value):
    if isinstance(value, Judge):
        return value.tensor
    if isinstance(value, list | tuple) and any(isinstance(v, Judge) for v in value):
        return type(value)(unwrapped(v) for v in value)
    return value


def wrapped(value):
    if isinstance(value, torch.Tensor):
        return Judge(value)
    return [wrapped(v) for v in value] if isinstance(value, list | tuple) else value


def tensor(value):
    """A number, list or array as a torch tensor; a float becomes float64."""
    return value if isinstance(value, torch.Tensor) else torch.tensor(np.asarray(value))


def binary(function):
    return lambda a, b: function(tensor(a), tensor(b))


# Functions whose arguments differ -------------------------------------------------------------------------------------


def over(axis, x):
    """The axes of a reduction as a tuple (None: all)."""
    return tuple(range(x.ndim)) if axis is None else tuple(np.atleast_1d(axis).tolist())


def reduction(function):
    """A torch reduction over `dim` and `keepdim`, under NumPy's names; over no axis at all it is the identity."""

    def reduce(x, axis=None, keepdims=False, **params):
        axes = over(axis, x)
        return function(x, dim=axes, keepdim=keepdims, **params) if axes else x.clone()

    return reduce


def one_axis_at_a_time(function):
    """A torch reduction that knows only a single `dim`."""

    def reduce(x, axis=None, keepdims=False):
        for i in sorted((i % x.ndim for i in over(axis, x)), reverse=True):
            x = function(x, dim=i, keepdim=keepdims)
        return x

    return reduce


def scan(function):
    return lambda x, axis=None: function(x.flatten(), 0) if axis is None else function(x, axis)


def getitem(x, index):
    """x[index]; torch has no negative steps, so such a slice becomes a list of positions."""
    index = index if isinstance(index, tuple) else (index,)
    if any(isinstance(i, slice) and (i.step or 1) < 0 for i in index):
        for axis, part in enumerate(index):  # only slices, so each stands for one axis
            x = torch.index_select(x, axis, torch.arange(x.shape[axis])[torch.as_tensor(range(x.shape[axis])[part])])
        return x
    return x[tuple(torch.tensor(np.asarray(i)) if isinstance(i, list | np.ndarray) else i for i in index)]


def put_back(x, index, shape):
    """Zeros with x added at the index."""
    places = np.arange(int(np.prod(shape))).reshape(shape)[index]
    flat = torch.zeros(int(np.prod(shape)), dtype=x.dtype)
    return flat.index_add(0, torch.as_tensor(places.ravel()), x.flatten()).reshape(shape)


def moved(function):
    """For functions that torch lacks and that only move elements: where they come from, read by torch.take."""

    def move(x, *args, **params):
        return torch.take(
            x, torch.as_tensor(function(np.arange(x.numel()).reshape(tuple(x.shape)), *args, **params).copy())
        )

    return move


def pad(x, pad_width, mode="constant", constant_values=0.0):
    widths = np.broadcast_to(pad_width, (x.ndim, 2))[::-1].ravel().tolist()  # torch starts from the last axis
    if mode == "constant":
        return TF.pad(x, widths, value=constant_values)
    mode = {"edge": "replicate", "wrap": "circular"}.get(mode, mode)
    return TF.pad(x[None], widths, mode=mode)[0]


def take(x, indices, axis=None):
    indices = torch.as_tensor(indices)
    return torch.take(x, indices) if axis is None else torch.index_select(x, axis, indices % x.shape[axis])


def roll(x, shift, axis=None):
    return torch.roll(x, shift, axis)


def sort(x, axis=-1):
    return torch.sort(x.flatten() if axis is None else x, dim=0 if axis is None else axis, stable=True).values


def average(x, axis=None, weights=None):
    if weights is None:
        return torch.mean(x, dim=axis)
    if weights.ndim < x.ndim:
        weights = weights.reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)]).expand(x.shape)
    return (x * weights).sum(axis) / weights.sum(axis)


def repeat(x, repeats, axis=None):
    return torch.repeat_interleave(x, repeats if isinstance(repeats, int) else torch.as_tensor(repeats), dim=axis)


def concatenate(arrays, axis=0):
    return torch.cat([a.flatten() for a in arrays], 0) if axis is None else torch.cat(tuple(arrays), axis)


def expand_dims(x, axis):
    axes = np.atleast_1d(axis)
    for i in sorted(axes % (x.ndim + len(axes))):
        x = torch.unsqueeze(x, int(i))
    return x


def norm(x, ord=None, axis=None, keepdims=False):
    return torch.linalg.norm(x, ord, axis, keepdims)


def clip(x, a_min=None, a_max=None, **bounds):
    return torch.clamp(x, bounds.get("min", a_min), bounds.get("max", a_max))


def matrix_trace(x, offset=0, axis1=0, axis2=1):
    return torch.diagonal(x, offset, axis1, axis2).sum(-1)


def one_hot(labels, like):
    return TF.one_hot(torch.as_tensor(labels), like.shape[-1]).to(like.dtype)


def class_loss(logits, labels):
    labels = torch.as_tensor(np.broadcast_to(labels, tuple(logits.shape[:-1])).copy())
    return TF.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="none").reshape(labels.shape)


TORCH = {
    # arithmetic
    np.add: binary(torch.add),
    np.subtract: binary(torch.subtract),
    np.multiply: binary(torch.multiply),
    np.divide: binary(torch.divide),
    np.negative: torch.negative,
    np.positive: torch.clone,
    np.square: torch.square,
    np.sqrt: torch.sqrt,
    np.reciprocal: torch.reciprocal,
    np.remainder: torch.remainder,
    np.fmod: torch.fmod,
    np.deg2rad: torch.deg2rad,
    np.rad2deg: torch.rad2deg,
    np.hypot: torch.hypot,
    np.power: binary(torch.pow),
    np.float_power: binary(torch.float_power),
    np.ldexp: torch.ldexp,
    np.copysign: torch.copysign,
    # exponentials, logarithms, trigonometry
    np.exp: torch.exp,
    np.exp2: torch.exp2,
    np.expm1: torch.expm1,
    np.log: torch.log,
    np.log1p: torch.log1p,
    np.log2: torch.log2,
    np.log10: torch.log10,
    np.logaddexp: torch.logaddexp,
    np.logaddexp2: torch.logaddexp2,
    np.sin: torch.sin,
    np.cos: torch.cos,
    np.tan: torch.tan,
    np.arcsin: torch.arcsin,
    np.arccos: torch.arccos,
    np.arctan: torch.arctan,
    np.arctan2: torch.arctan2,
    np.sinh: torch.sinh,
    np.cosh: torch.cosh,
    np.tanh: torch.tanh,
    np.arcsinh: torch.arcsinh,
    np.arccosh: torch.arccosh,
    np.arctanh: torch.arctanh,
    np.sinc: torch.sinc,
    np.i0: torch.i0,
    # kinks
    np.absolute: torch.abs,
    np.fabs: torch.abs,
    np.maximum: binary(torch.maximum),
    np.minimum: binary(torch.minimum),
    np.fmax: binary(torch.fmax),
    np.fmin: binary(torch.fmin),
    np.clip: clip,
    np.where: lambda mask, a, b: torch.where(tensor(mask), tensor(a), tensor(b)),
    np.nan_to_num: torch.nan_to_num,
    # reductions
    np.sum: reduction(torch.sum),
    np.mean: reduction(torch.mean),
    np.nansum: reduction(torch.nansum),
    np.nanmean: reduction(torch.nanmean),
    np.var: lambda x, axis=None, ddof=0, keepdims=False: torch.var(x, over(axis, x), correction=ddof, keepdim=keepdims),
    np.std: lambda x, axis=None, ddof=0, keepdims=False: torch.std(x, over(axis, x), correction=ddof, keepdim=keepdims),
    np.max: reduction(torch.amax),
    np.min: reduction(torch.amin),
    np.prod: one_axis_at_a_time(torch.prod),
    np.ptp: reduction(lambda x, **how: torch.amax(x, **how) - torch.amin(x, **how)),
    np.cumsum: scan(torch.cumsum),
    np.cumprod: scan(torch.cumprod),
    np.average: average,
    np.diff: lambda x, n=1, axis=-1: torch.diff(x, n, axis),
    np.sort: sort,
    # products and matrices
    np.matmul: torch.matmul,
    kernels.matmul: torch.matmul,
    np.tensordot: torch.tensordot,
    np.inner: torch.inner,
    np.dot: lambda a, b: (
        torch.mul(a, b) if not (np.ndim(a) and np.ndim(b)) else torch.tensordot(a, b, ([-1], [max(-2, -b.ndim)]))
    ),
    np.outer: lambda a, b: torch.outer(a.flatten(), b.flatten()),
    np.vdot: lambda a, b: torch.dot(a.flatten(), b.flatten()),
    np.einsum: torch.einsum,
    kernels.contract: lambda *x, subscripts: torch.einsum(subscripts, *x),
    np.kron: torch.kron,
    np.cross: lambda a, b, axis=-1: torch.linalg.cross(*torch.broadcast_tensors(a, b), dim=axis),
    np.trace: matrix_trace,
    np.diag: torch.diag,
    np.diagonal: torch.diagonal,
    np.diagflat: torch.diagflat,
    np.tril: torch.tril,
    np.triu: torch.triu,
    np.linalg.norm: norm,
    kernels.length: lambda x, axis=None: norm(x, None, axis),
    np.linalg.det: torch.linalg.det,
    kernels.cofactors: lambda x: torch.linalg.det(x)[..., None, None] * torch.linalg.inv(x).mT,
    np.linalg.inv: torch.linalg.inv,
    np.linalg.solve: torch.linalg.solve,
    kernels.solve: torch.linalg.solve,
    np.linalg.cholesky: torch.linalg.cholesky,
    np.linalg.pinv: torch.linalg.pinv,
    np.linalg.slogdet: torch.linalg.slogdet,
    np.linalg.matrix_power: torch.linalg.matrix_power,
    # shapes
    np.reshape: torch.reshape,
    np.ravel: torch.ravel,
    np.expand_dims: expand_dims,
    np.squeeze: lambda x, axis=None: torch.squeeze(x) if axis is None else torch.squeeze(x, axis),
    np.transpose: lambda x, axes=None: torch.permute(x, tuple(axes or range(x.ndim)[::-1])),
    np.swapaxes: torch.swapaxes,
    np.moveaxis: torch.moveaxis,
    np.broadcast_to: torch.broadcast_to,
    np.concatenate: concatenate,
    kernels.join: lambda *x, axis=0: torch.cat(x, axis),
    np.stack: lambda x, axis=0: torch.stack(tuple(x), axis),
    np.vstack: torch.vstack,
    np.hstack: torch.hstack,
    np.dstack: torch.dstack,
    np.column_stack: torch.column_stack,
    np.split: lambda x, where, axis=0: torch.tensor_split(x, where, axis),
    np.array_split: lambda x, where, axis=0: torch.tensor_split(x, where, axis),
    np.hsplit: torch.hsplit,
    np.vsplit: torch.vsplit,
    np.dsplit: torch.dsplit,
    np.atleast_1d: torch.atleast_1d,
    np.atleast_2d: torch.atleast_2d,
    np.atleast_3d: torch.atleast_3d,
    np.repeat: repeat,
    np.tile: torch.tile,
    np.resize: moved(np.resize),
    np.delete: moved(np.delete),
    np.flip: lambda x, axis=None: torch.flip(x, over(axis, x)),
    np.fliplr: torch.fliplr,
    np.flipud: torch.flipud,
    np.rot90: lambda x, k=1, axes=(0, 1): torch.rot90(x, k, axes),
    np.roll: roll,
    np.pad: pad,
    np.take: take,
    np.take_along_axis: lambda x, index, axis: torch.take_along_dim(x, torch.as_tensor(index), axis),
    kernels.getitem: getitem,
    kernels.put_back: put_back,
    kernels.astype: lambda x, dtype: x.to(torch.float64),
    # layers, activations, losses
    kernels.linear: lambda x, weight, bias: TF.linear(x, weight.mT, bias) if weight.ndim == 2 else x @ weight + bias,
    kernels.clip: torch.clamp,
    kernels.relu: TF.relu,
    kernels.leaky_relu: lambda x, negative_slope=0.01: TF.leaky_relu(x, negative_slope),
    kernels.elu: lambda x, alpha=1.0: TF.elu(x, alpha),
    kernels.sigmoid: torch.sigmoid,
    kernels.silu: TF.silu,
    kernels.log_sigmoid: TF.logsigmoid,
    kernels.softplus: lambda x: TF.softplus(x, threshold=100.0),
    kernels.sech_squared: lambda x: 1 / torch.cosh(x) ** 2,
    F.gelu: lambda x: TF.gelu(x, approximate="tanh"),
    kernels.softmax: lambda x, axis=-1: torch.softmax(x, axis),
    kernels.log_softmax: lambda x, axis=-1: torch.log_softmax(x, axis),
    kernels.logsumexp: lambda x, axis=-1, keepdims=False: torch.logsumexp(x, axis, keepdims),
    kernels.mean_squared_error: lambda a, b: TF.mse_loss(*torch.broadcast_tensors(a, b)),
    kernels.squared_error: lambda a, b: TF.mse_loss(*torch.broadcast_tensors(a, b), reduction="none"),
    kernels.softmax_error: lambda z, labels: torch.softmax(z, -1) - one_hot(labels, z),
    kernels.softmax_cross_entropy: class_loss,
    kernels.sigmoid_cross_entropy: lambda z, t: TF.binary_cross_entropy_with_logits(z, t, reduction="none"),
}
TORCH = {raw(function): counterpart for function, counterpart in TORCH.items()}
