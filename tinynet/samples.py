"""Calls to try every rule on: at least one for each function of the table, at points where it is smooth.

`tinynet check` and the tests run the gradient checker over them. A function without a sample fails the tests, so that no
rule can enter the table unchecked. Shapes are never square and seldom equal, axes are negative as often as not, and
numbers of both signs keep away from zero and from each other: each of these hides a mistake that someone has made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinynet import functional as F
from tinynet import kernels

_generator = np.random.default_rng(7)


def some(*shape: int, low: float = 0.3, high: float = 2.0) -> np.ndarray:
    """Numbers of both signs, none near zero."""
    return _generator.uniform(low, high, shape) * _generator.choice([-1.0, 1.0], shape)


def positive(*shape: int, low: float = 0.3, high: float = 2.0) -> np.ndarray:
    """Numbers well above zero."""
    return _generator.uniform(low, high, shape)


def apart(*shape: int) -> np.ndarray:
    """Numbers of which no two are near each other, so that the largest is unique."""
    n = int(np.prod(shape))
    return (_generator.permutation(n) * 0.37 + 0.1).reshape(shape)


def well_conditioned(*shape: int) -> np.ndarray:
    """Square matrices that are far from singular."""
    return some(*shape, high=1.0) + 3 * np.eye(shape[-1])


a, b, row, column, cube = some(3, 4), some(3, 4), some(4), some(3, 1), some(2, 3, 4)
small, above_one = some(3, 4, low=0.1, high=0.9), positive(3, 4, low=1.2)
labels, mask = np.array([2, 0, 3]), a > 0

Sample = tuple[Any, ...]  # (function of the inputs, input, input ...)

SAMPLES: dict[Callable, list[Sample]] = {
    # arithmetic
    np.add: [(np.add, a, b), (np.add, a, row), (np.add, column, row)],
    np.subtract: [(np.subtract, a, b), (np.subtract, column, row)],
    np.multiply: [(np.multiply, a, b), (np.multiply, column, row), (lambda x: x * x, a)],
    np.divide: [(np.divide, a, b), (np.divide, column, row)],
    np.negative: [(np.negative, a)],
    np.positive: [(np.positive, a)],
    np.square: [(np.square, a), (lambda x: x**2, a)],
    np.sqrt: [(np.sqrt, positive(3, 4))],
    np.cbrt: [(np.cbrt, a)],
    np.reciprocal: [(np.reciprocal, a)],
    np.remainder: [
        (np.remainder, some(3, 4), positive(4, low=0.9, high=1.0) * np.pi),
        (np.mod, np.array([7.3]), np.array([2.0])),
    ],
    np.fmod: [(np.fmod, np.array([7.3, -7.3]), np.array([2.0, 3.0]))],
    np.deg2rad: [(np.deg2rad, a)],
    np.rad2deg: [(np.rad2deg, a)],
    np.hypot: [(np.hypot, a, row)],
    np.power: [(np.power, positive(3, 4), row), (lambda x: x**3, a), (lambda x: x**0, a), (lambda n: 2.0**n, a)],
    # exponentials and logarithms
    np.exp: [(np.exp, a)],
    np.exp2: [(np.exp2, a)],
    np.expm1: [(np.expm1, a)],
    np.log: [(np.log, positive(3, 4))],
    np.log1p: [(np.log1p, positive(3, 4))],
    np.log2: [(np.log2, positive(3, 4))],
    np.log10: [(np.log10, positive(3, 4))],
    np.logaddexp: [(np.logaddexp, a, row)],
    np.logaddexp2: [(np.logaddexp2, a, row)],
    # trigonometric and hyperbolic
    np.sin: [(np.sin, a)],
    np.cos: [(np.cos, a)],
    np.tan: [(np.tan, a / 2)],
    np.arcsin: [(np.arcsin, small)],
    np.arccos: [(np.arccos, small)],
    np.arctan: [(np.arctan, a)],
    np.arctan2: [(np.arctan2, a, row), (np.arctan2, column, b)],
    np.sinh: [(np.sinh, a)],
    np.cosh: [(np.cosh, a)],
    np.tanh: [(np.tanh, a)],
    np.arcsinh: [(np.arcsinh, a)],
    np.arccosh: [(np.arccosh, above_one)],
    np.arctanh: [(np.arctanh, small)],
    # kinks, away from them
    np.absolute: [(np.abs, a)],
    np.maximum: [(np.maximum, a, b), (np.maximum, column, row)],
    np.minimum: [(np.minimum, a, b), (np.minimum, column, row)],
    np.fmax: [(np.fmax, a, b), (np.fmax, column, row)],
    np.fmin: [(np.fmin, a, b), (np.fmin, column, row)],
    np.where: [(lambda x, y: np.where(mask, x, y), a, row), (lambda x, y: np.where(mask, x, y), column, b)],
    np.clip: [
        (lambda x: np.clip(x, -0.9, 1.1), a),
        (lambda x: np.clip(x, None, 1.1), a),
        (lambda x: np.clip(x, 0.2, None), a),
    ],
    # reductions
    np.sum: [
        (np.sum, a),
        (lambda x: np.sum(x, axis=0), a),
        (lambda x: x.sum(axis=(0, -1), keepdims=True), cube),
        (lambda x: x.sum(axis=()), a),
    ],
    np.mean: [(np.mean, a), (lambda x: np.mean(x, axis=-1), a), (lambda x: x.mean(axis=(0, 2)), cube)],
    np.var: [
        (np.var, a),
        (lambda x: x.var(axis=0, ddof=1, keepdims=True), a),
        (lambda x: np.var(x, axis=(-1, 0), ddof=2), cube),
    ],
    np.std: [(np.std, a), (lambda x: x.std(axis=-1, ddof=1), a), (lambda x: x.std(axis=(0, 1), keepdims=True), cube)],
    np.max: [
        (np.max, apart(3, 4)),
        (lambda x: x.max(axis=(0, 2), keepdims=True), apart(2, 3, 2)),
        (lambda x: x.max(axis=-1), apart(3, 4)),
    ],
    np.min: [
        (np.min, apart(3, 4)),
        (lambda x: x.min(axis=0), apart(3, 4)),
        (lambda x: np.min(x, axis=(-2, 0)), apart(2, 3, 2)),
    ],
    np.prod: [
        (np.prod, a),
        (lambda x: np.prod(x, axis=-1), cube),
        (lambda x: np.prod(x, axis=(0, -2), keepdims=True), cube),
        (lambda x: np.prod(x, axis=1), np.array([[0.0, 2.0, 3.0], [0.0, 0.0, 3.0]])),
    ],
    np.cumsum: [(np.cumsum, a), (lambda x: np.cumsum(x, axis=0), a), (lambda x: np.cumsum(x, axis=-2), cube)],
    np.ptp: [(np.ptp, apart(3, 4)), (lambda x: np.ptp(x, axis=-1, keepdims=True), apart(3, 4))],
    np.average: [
        (lambda x: np.average(x, axis=-1), a),
        (lambda x, w: np.average(x, axis=1, weights=w), cube, positive(3)),
        (lambda x, w: np.average(x, weights=w), a, positive(3, 4)),
    ],
    np.diff: [(np.diff, a), (lambda x: np.diff(x, n=2, axis=0), a)],
    np.sort: [
        (np.sort, apart(3, 4)),
        (lambda x: np.sort(x, axis=0), apart(3, 4)),
        (lambda x: np.sort(x, axis=None), apart(3, 4)),
    ],
    # products and matrices
    kernels.matmul: [
        (np.matmul, a, some(4, 2)),
        (np.matmul, cube, some(4, 2)),
        (np.matmul, a, some(2, 4, 2)),
        (np.matmul, some(2, 1, 3, 4), some(5, 4, 2)),
    ],
    np.matmul: [
        (np.matmul, row, some(4, 2)),
        (np.matmul, a, row),
        (np.matmul, row, some(4)),
        (np.matmul, row, some(2, 4, 3)),
        (np.matmul, cube, row),
    ],
    np.dot: [(np.dot, row, some(4, 3)), (np.dot, cube, some(2, 4, 3)), (lambda x: np.dot(2.0, x), a)],
    np.outer: [(np.outer, row, some(3)), (np.outer, a, some(2))],
    np.inner: [(np.inner, a, some(2, 4)), (np.inner, row, some(4))],
    np.vdot: [(np.vdot, a, b)],
    np.tensordot: [
        (lambda x, y: np.tensordot(x, y, 1), a, some(4, 2)),
        (lambda x, y: np.tensordot(x, y, ([0, -1], [1, 0])), cube, some(4, 2, 3)),
        (lambda x, y: np.tensordot(x, y, 0), row, some(3)),
    ],
    np.einsum: [
        (lambda x, y: np.einsum("ij,jk->ik", x, y), a, some(4, 2)),
        (lambda x, y: np.einsum("ij,kj", x, y), a, some(2, 4)),
        (lambda x: np.einsum("ii->", x), some(3, 3)),
        (lambda x: np.einsum("iij->j", x), some(3, 3, 2)),
        (lambda x, y: np.einsum("jki,jlj->", x, y), some(2, 3, 4), some(2, 3, 2)),
        (lambda x, y: np.einsum("...ij,...j->...i", x, y), cube, some(2, 4)),
        (lambda x, y, z: np.einsum("i,ij,j->", x, y, z), some(3), a, row),
        (lambda x: np.einsum("ij->ji", x), a),
    ],
    kernels.contract: [(lambda x, y: kernels.contract(x, y, subscripts="ij,jk->ik"), a, some(4, 2))],
    np.trace: [(np.trace, a), (lambda x: np.trace(x, offset=1), a), (lambda x: np.trace(x, 0, 1, 2), cube)],
    np.diag: [(np.diag, row), (lambda x: np.diag(x, -2), row), (lambda x: np.diag(x, 1), a)],
    np.diagonal: [(np.diagonal, a), (lambda x: np.diagonal(x, -1, 2, 0), cube)],
    np.tril: [(np.tril, a), (lambda x: np.tril(x, -1), cube)],
    np.triu: [(np.triu, a), (lambda x: np.triu(x, 1), cube)],
    np.linalg.norm: [
        (np.linalg.norm, row),
        (np.linalg.norm, a),
        (lambda x: np.linalg.norm(x, axis=-1, keepdims=True), cube),
        (lambda x: np.linalg.norm(x, 1, axis=0), a),
        (lambda x: np.linalg.norm(x, np.inf, axis=1), apart(3, 4)),
        (lambda x: np.linalg.norm(x, 3, axis=1), a),
    ],
    kernels.length: [(kernels.length, a), (lambda x: kernels.length(x, (0, -1)), cube)],
    np.linalg.det: [(np.linalg.det, well_conditioned(3, 3)), (np.linalg.det, well_conditioned(2, 3, 3))],
    kernels.cofactors: [(kernels.cofactors, well_conditioned(3, 3)), (kernels.cofactors, well_conditioned(2, 2, 2))],
    np.linalg.inv: [(np.linalg.inv, well_conditioned(3, 3)), (np.linalg.inv, well_conditioned(2, 2, 2))],
    np.linalg.solve: [
        (np.linalg.solve, well_conditioned(3, 3), some(3)),
        (np.linalg.solve, well_conditioned(3, 3), some(3, 2)),
    ],
    kernels.solve: [(kernels.solve, well_conditioned(2, 3, 3), some(2, 3, 4))],
    # shapes
    np.reshape: [(lambda x: np.reshape(x, (2, 6)), a), (lambda x: x.reshape(4, -1), a)],
    np.ravel: [(np.ravel, a)],
    np.squeeze: [(lambda x: np.squeeze(x, axis=1), column), (lambda x: x.squeeze(), column)],
    np.expand_dims: [(lambda x: np.expand_dims(x, (0, -1)), a)],
    np.transpose: [(np.transpose, a), (lambda x: x.transpose(2, 0, 1), cube), (lambda x: x.transpose(-1, 0, 1), cube)],
    np.swapaxes: [(lambda x: np.swapaxes(x, 0, -1), cube)],
    np.moveaxis: [(lambda x: np.moveaxis(x, 0, -1), cube), (lambda x: np.moveaxis(x, [0, -1], [1, 0]), cube)],
    np.broadcast_to: [(lambda x: np.broadcast_to(x, (2, 3, 4)), a), (lambda x: np.broadcast_to(x, (3, 4)), column)],
    np.concatenate: [
        (lambda x, y: np.concatenate([x, y, x]), a, b),
        (lambda x, y: np.concatenate([x, y], axis=-1), a, column),
        (lambda x, y: np.concatenate([x, y], axis=None), a, row),
    ],
    kernels.join: [(lambda x, y: kernels.join(x, y, axis=1), a, column)],
    np.stack: [(lambda x, y: np.stack([x, y], axis=1), a, b), (lambda x, y: np.stack([x, y], axis=-1), a, b)],
    np.vstack: [(lambda x, y: np.vstack([x, y]), a, row)],
    np.hstack: [(lambda x, y: np.hstack([x, y]), a, column), (lambda x, y: np.hstack([x, y]), row, some(2))],
    np.column_stack: [(lambda x, y: np.column_stack([x, y]), a, some(3))],
    np.split: [(lambda x: np.split(x, 2, axis=-1)[1], a), (lambda x: np.split(x, [1, 2])[1], a)],
    np.array_split: [(lambda x: np.array_split(x, 3, axis=1)[0], a)],
    np.atleast_1d: [(np.atleast_1d, np.array(0.5)), (lambda x: np.atleast_1d(-x), a)],
    np.atleast_2d: [(np.atleast_2d, row)],
    np.repeat: [
        (lambda x: np.repeat(x, 2, axis=-1), a),
        (lambda x: np.repeat(x, [1, 0, 3], axis=0), a),
        (lambda x: np.repeat(x, 2), a),
    ],
    np.tile: [(lambda x: np.tile(x, (2, 1, 3)), a)],
    np.resize: [(lambda x: np.resize(x, (5, 3)), a)],
    np.flip: [(np.flip, a), (lambda x: np.flip(x, axis=-1), cube)],
    np.fliplr: [(np.fliplr, a)],
    np.flipud: [(np.flipud, a)],
    np.rot90: [(np.rot90, a), (lambda x: np.rot90(x, 3, axes=(0, 2)), cube)],
    np.roll: [(lambda x: np.roll(x, 2), a), (lambda x: np.roll(x, (1, -1), axis=(0, -1)), a)],
    np.delete: [(lambda x: np.delete(x, 1, axis=0), a)],
    np.pad: [
        (lambda x: np.pad(x, 1), a),
        (lambda x: np.pad(x, ((0, 2), (1, 0)), constant_values=3.0), a),
        (lambda x: np.pad(x, ((1, 1), (2, 1)), mode="reflect"), a),
        (lambda x: np.pad(x, 2, mode="wrap"), a),
    ],
    np.take: [(lambda x: np.take(x, [0, 0, -1], axis=1), a), (lambda x: np.take(x, [[3, 5]]), a)],
    np.take_along_axis: [(lambda x: np.take_along_axis(x, np.array([[0, 0], [3, 1], [2, 2]]), axis=-1), a)],
    kernels.getitem: [
        (lambda x: x[1], a),
        (lambda x: x[::-2, 1:3], a),
        (lambda x: x[..., None, 0], a),
        (lambda x: x[[0, 0, 2], [1, 1, 3]], a),
        (lambda x: x[mask], a),
        (lambda x: x[:, [0, 0, 1]], a),
    ],
    kernels.put_back: [(lambda x: kernels.put_back(x, (slice(None), [0, 0, 2, 1]), (3, 5)), a)],
    kernels.astype: [(lambda x: kernels.astype(x, np.float64), a)],
    # layers, activations, losses
    kernels.linear: [
        (kernels.linear, some(5, 3), some(3, 2), some(2)),
        (kernels.linear, some(2, 5, 3), some(2, 3, 4), some(2, 1, 4)),
    ],
    kernels.sech_squared: [(kernels.sech_squared, a)],
    kernels.clip: [(lambda x: kernels.clip(x, -0.9, 1.1), a)],
    kernels.relu: [(kernels.relu, a)],
    kernels.leaky_relu: [(lambda x: kernels.leaky_relu(x, negative_slope=0.2), a)],
    kernels.elu: [(lambda x: kernels.elu(x, alpha=0.7), a)],
    kernels.sigmoid: [(kernels.sigmoid, a)],
    kernels.log_sigmoid: [(kernels.log_sigmoid, a)],
    kernels.silu: [(kernels.silu, a)],
    kernels.softplus: [(kernels.softplus, a)],
    F.gelu: [(F.gelu, a)],
    kernels.softmax: [(kernels.softmax, a), (lambda x: kernels.softmax(x, axis=0), a)],
    kernels.log_softmax: [(kernels.log_softmax, a), (lambda x: kernels.log_softmax(x, axis=0), a)],
    kernels.logsumexp: [(kernels.logsumexp, a), (lambda x: kernels.logsumexp(x, axis=0, keepdims=True), a)],
    kernels.mean_squared_error: [(kernels.mean_squared_error, a, b), (kernels.mean_squared_error, column, row)],
    kernels.squared_error: [(kernels.squared_error, a, b), (kernels.squared_error, column, row)],
    kernels.softmax_error: [(lambda z: kernels.softmax_error(z, labels), a)],
    kernels.softmax_cross_entropy: [
        (lambda z: kernels.softmax_cross_entropy(z, labels), a),
        (lambda z: kernels.softmax_cross_entropy(z, labels), cube),
    ],
    kernels.sigmoid_cross_entropy: [(kernels.sigmoid_cross_entropy, a, positive(3, 4) / 2)],
}
