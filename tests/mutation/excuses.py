"""Changes of the source after which nothing that can be observed is different: the reason, and how their labels begin.

test_kill_rate.py fails when a label is of a change that is no longer made.
"""

EQUIVALENT: dict[str, list[str]] = {
    "asks NumPy whether shift and axis fit: an array with one element tells as well": [
        "compositions: 0 -> 1 at 18 of: np.roll(np.empty((0,) * x.ndim)",
    ],
    "an axis without elements: every slice of it is empty": [
        "compositions: 1 -> 2 at 43 of: start, before = -int(by) % max(",
    ],
    "y is x kept between the bounds: x is above it exactly where it is above `high`": [
        "kernels: high -> y at 70 of: @kernel(lambda g, y, x, low=None",
    ],
    "ord is one of the two infinities here": [
        "compositions: Gt -> GtE at 18 of: return (np.max if ord > 0",
        "compositions: 0 -> 1 at 24 of: return (np.max if ord > 0",
    ],
    "the plan of a call is worked out afresh every time: slower, the same plan": [
        "rules: n -> self at 24 of: plan = self.plans[mask, n] = need",
    ],
    "y is the winner: equal to b wherever the other mask has not decided": [
        "rules: b -> y at 58 of: rule(np.maximum, lambda g, y, a, b",
        "rules: b -> y at 91 of: rule(np.maximum, lambda g, y, a, b",
        "rules: b -> y at 58 of: rule(np.minimum, lambda g, y, a, b",
        "rules: b -> y at 91 of: rule(np.minimum, lambda g, y, a, b",
    ],
    "y is the winner, and never the nan: equal to b wherever the other masks have not decided, unequal where b is nan": [
        "rules: b -> y at 40 of: lambda g, y, a, b: winner(g, (a > b) |",
        "rules: b -> y at 45 of: lambda g, y, a, b: winner(g, (a > b) |",
        "rules: b -> y at 54 of: lambda g, y, a, b: winner(g, (a > b) |",
        "rules: b -> y at 40 of: lambda g, y, a, b: winner(g, (a < b) |",
        "rules: b -> y at 45 of: lambda g, y, a, b: winner(g, (a < b) |",
        "rules: b -> y at 54 of: lambda g, y, a, b: winner(g, (a < b) |",
        "rules: b -> y at 30 of: lambda g, y, a, b: winner(g, (b > a) |",
        "rules: b -> y at 30 of: lambda g, y, a, b: winner(g, (b < a) |",
    ],
    "the parameter left out is *operands, which counts neither as operand nor as keyword": [
        "rules: 3 -> 4 at 61 of: arguments = list(inspect.signature",
    ],
    "only the elements, in any order and container, are used": [
        "rules: set(...) -> its first argument at 8 of: reads = set(range(n)) if self.each",
        "rules: tuple(...) -> its first argument at 35 of: plan = self.plans[mask, n] = need",
        "rules: sorted(...) -> its first argument at 41 of: plan = self.plans[mask, n] = need",
        "rules: tuple(...) -> its first argument at 7 of: return tuple(i for i, name in enum",
        "compositions: widths.tolist(...) -> its first argument at 67 of: inside = tuple(slice(before, befor",
        "compositions: tuple(...) -> its first argument at 10 of: lengths = tuple(range(x.ndim))  #",
        "compositions: list(...) -> its first argument at 60 of: arrays = [np.ravel(a) for a in arr",
        "compositions: list(...) -> its first argument at 8 of: axes = (list(range(a.ndim - axes,",
        "compositions: list(...) -> its first argument at 44 of: axes = (list(range(a.ndim - axes,",
        "compositions: reversed(...) -> its first argument at 20 of: spare = [c for c in reversed(LETTE",
        "compositions: dict.fromkeys(...) -> its first argument at 9 of: for c in dict.fromkeys(labels):",
        "compositions: tuple(...) -> its first argument at 7 of: return tuple(beside(v, like) if isin",
    ],
    "the division has no remainder, and the count is only divided by": [
        "rules: FloorDiv -> Div at 11 of: return max(x.size // max(y.size, 1",
    ],
    "without an axis the answer is a vector, whose only axis None and 0 both name": [
        "rules: axis -> y at 71 of: rule(np.cumsum, lambda g, y, x, ax",
    ],
    "zeros divided by any number are zeros": [
        "kernels: 1 -> 2 at 21 of: m = np.where(m == 0, 1, m)",
        "rules: 1 -> 2 at 49 of: return np.where(b == 0, 0, a) / n",
    ],
    "both branches are 0 at 0": [
        "kernels: Gt -> GtE at 16 of: return np.where(x > 0, x, negative",
        "kernels: Gt -> GtE at 16 of: return np.where(x > 0, x, alpha *",
    ],
    "the bound keeps the branch that np.where does not take from overflowing; any bound below 700 does": [
        "kernels: 0 -> 1 at 57 of: return np.where(x > 0, x, alpha *",
        "kernels: 0 -> 1 at 88 of: @kernel(lambda g, y, x, alpha=1.0:",
    ],
    "the matrices are square, and y has the shape of x": [
        "kernels: 1 -> 2 at 13 of: n = x.shape[-1]",
        "kernels: 1 -> 2 at 23 of: k = np.arange(g.shape[-1])",
        "kernels: 1 -> 2 at 54 of: singular, one = det == 0, same_dev",
        "kernels: x -> y at 93 of: @kernel(lambda g, y, x: put_back(np",
        "kernels: x -> y at 106 of: @kernel(lambda g, y, x: put_back(np",
        "kernels: x -> y at 110 of: @kernel(lambda g, y, x: put_back(np",
    ],
    "sum and difference are odd together": [
        "kernels: Add -> Sub at 29 of: return np.where(same_device((k + k",
    ],
    "u v and v u have the same determinant": [
        "kernels: operands of @ swapped at 28 of: y[singular] = np.linalg.det(u @ v)",
    ],
    "e is 1 at 0": [
        "kernels: GtE -> Gt at 16 of: return np.where(x >= 0, 1, e) / (1",
    ],
    "any finite number does where all entries are infinite": [
        "kernels: 0 -> 1 at 35 of: return np.where(np.isfinite(m), m,",
    ],
    "the count is added in place, in the dtype of the others: slower (only float16 rounds a count, above 2048)": [
        "kernels: dtype= left out at 10 of: others += np.sum(top, axis=axis, k",
    ],
    "g and y have as many axes": [
        "kernels: g -> y at 43 of: return getitem(g, (slice(None),) *",
    ],
    "both lists have one entry per operand or axis, so strict never speaks": [
        "compositions: strict= left out at 63 of: inside = tuple(slice(before, befor",
        "compositions: True -> False at 100 of: inside = tuple(slice(before, befor",
        "compositions: strict= left out at 50 of: plain = [_diagonal_of(x, labels) f",
        "compositions: True -> False at 79 of: plain = [_diagonal_of(x, labels) f",
        'compositions: strict= left out at 69 of: dots = [np.ndim(x) - n if "..." in',
        'compositions: True -> False at 105 of: dots = [np.ndim(x) - n if "..." in',
        'compositions: strict= left out at 74 of: inputs = [labels.replace("...", ba',
        'compositions: True -> False at 99 of: inputs = [labels.replace("...", ba',
    ],
    "after the only axis of a vector: 1 and -1 name the same place": [
        "compositions: USub left out at 35 of: return matmul(a, np.expand_dims(b,",
        "compositions: USub left out at 35 of: return np.expand_dims(np.ravel(a),",
        "compositions: USub left out at 42 of: return kernels.solve(a, np.expand_",
    ],
    "an empty slice, wherever it stands": [
        "compositions: 0 -> 1 at 64 of: return [x[(*before, slice(p[0], p[",
    ],
    "an einsum has at least one operand, so the default is never used": [
        'compositions: default= left out at 24 of: batch = "".join(spare[: max(dots,',
        'compositions: 0 -> 1 at 42 of: batch = "".join(spare[: max(dots,',
    ],
    "np.where takes 1.0 for True": [
        "compositions: dtype= left out at 19 of: return same_device(np.tri(x.shape[",
    ],
    "joins an empty rest: slower, the same product": [
        "compositions: Mod -> Mult at 13 of: x = pairs if n % 2 == 0 else conca",
    ],
    "the other np.where does not take what stands here, and any positive number keeps its slope finite": [
        "compositions: 1 -> 2 at 81 of: size = np.where(x == 0, 0.0 if p >",
        "compositions: 1 -> 2 at 52 of: return np.where(total == 0, 0, np.",
    ],
    "ord=0 has been answered before": [
        "compositions: Gt -> GtE at 31 of: size = np.where(x == 0, 0.0 if p >",
    ],
    "asks NumPy about a call that it always takes: slower, the same answer": [
        "compositions: axis -> keepdims at 8 of: if not (axis is None and ord is No",
    ],
    "of no elements: one zero broadcasts like the zeros in its place": [
        "kernels: axis= left out at 54 of: return x.max(axis=axis, keepdims=",
    ],
    "both loops compare the same lengths: the other one raises": [
        "compositions: strict= left out at 34 of: lengths.update((c, n) for c, n in",
        "compositions: True -> False at 62 of: lengths.update((c, n) for c, n in",
        "compositions: strict= left out at 39 of: plain = [_without(x, s, [c for c,",
        "compositions: True -> False at 62 of: plain = [_without(x, s, [c for c,",
    ],
}
