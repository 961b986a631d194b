"""PyTorch's own test inputs (its OpInfo database) for every operator that NumPy and tinynet have too.

Each sample is passed (value and gradient, for a random upstream gradient, equal torch's), not applicable, or failed. Not
applicable are, by what is observed and not by hand: a keyword that our function does not take, a call that NumPy itself
refuses on plain arrays or answers differently on them, and a call that tinynet refuses with an error of its own that says
what it does not support. Nothing may fail, and the number passed may not shrink.
"""

import collections
import inspect
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: these tests take their inputs from it")
pytest.importorskip("expecttest", reason="expecttest is not installed: torch's test inputs need it")

from opinfo_table import OURS  # noqa: E402

import tinynet as tn  # noqa: E402
from tinynet import functional as F  # noqa: E402

PASSED_FLOOR = 2235
TOLERANCE = 1e-9
CONSTANTS = {
    "nn.functional.cross_entropy": ("weight",),
    "linalg.pinv": ("rtol",),
}  # operands by which torch itself does not differentiate


def database():
    """{name: OpInfo}, for the operators in our table."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, while its test module is imported
        from torch.testing._internal.common_methods_invocations import op_db

    named = {".".join(filter(None, (op.name, op.variant_test_name))): op for op in op_db if torch.float64 in op.dtypes}
    return {name: (named[name], ours) for name, ours in OURS.items() if name in named}


def mapped(tree, function):
    """A nest of lists, tuples and dicts with the function applied to torch tensors."""
    if isinstance(tree, torch.Tensor):
        return function(tree)
    if isinstance(tree, list | tuple) and not isinstance(tree, torch.Size):
        return type(tree)([mapped(v, function) for v in tree])
    return {k: mapped(v, function) for k, v in tree.items()} if isinstance(tree, dict) else tree


def leaves(tree):
    """The arrays and numbers of an answer, in order."""
    return [leaf for part in tree for leaf in leaves(part)] if isinstance(tree, list | tuple) else [tree]


class Sample:
    """One call, with torch's tensors, our Tensors, or plain arrays for its operands."""

    def __init__(self, op, ours, sample):
        self.op, self.ours = op, ours
        names = inspect.unwrap(ours).__code__.co_names
        self.is_ours = "F" in names or ours in vars(F).values()  # NumPy has no say about tinynet's own functions
        self.given = (sample.input, tuple(sample.args), sample.kwargs)
        self.constants = {id(sample.kwargs.get(name)) for name in CONSTANTS.get(op.name, ())}

    def with_torch(self):
        inputs = []

        def variable(t):
            x = t.detach().clone().requires_grad_(t.is_floating_point() and id(t) not in self.constants)
            inputs.append(x)
            return x

        first, args, kwargs = mapped(self.given, variable)
        return leaves(self.op(first, *args, **kwargs)), inputs

    def with_numpy(self):
        first, args, kwargs = mapped(self.given, lambda t: t.detach().numpy().copy())
        return leaves(self.ours(first, *args, **kwargs))

    def with_tinynet(self):
        inputs = []

        def variable(t):
            array = t.detach().numpy().copy()
            x = tn.Tensor(array, requires_grad=True) if array.dtype.kind == "f" and id(t) not in self.constants else array
            inputs.append(x)
            return x

        first, args, kwargs = mapped(self.given, variable)
        return leaves(self.ours(first, *args, **kwargs)), inputs

    def unknown_keyword(self):
        first, args, kwargs = self.given
        try:
            inspect.signature(self.ours).bind(first, *args, **kwargs)
        except TypeError as error:
            return str(error)


def close(ours, theirs):
    """Equal shapes and numbers, nan where nan."""
    ours = np.asarray(ours.data if isinstance(ours, tn.Tensor) else ours)
    theirs = theirs.numpy(force=True) if isinstance(theirs, torch.Tensor) else np.asarray(theirs)
    if ours.shape != theirs.shape:
        return False
    scale = max(1.0, np.abs(theirs[np.isfinite(theirs)]).max(initial=0)) if theirs.dtype.kind == "f" else 1.0
    return np.allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE * scale, equal_nan=True)


def slopes(outputs, inputs, upstream):
    """Our gradients of the sum of <upstream, output>; zeros where nothing flows."""
    total = sum(((y * u).sum() for y, u in zip(outputs, upstream, strict=True) if isinstance(y, tn.Tensor)), 0.0)
    if not isinstance(total, tn.Tensor) or not total.requires_grad:
        return [np.zeros(x.shape) for x in inputs]
    found = tn.gradients(total, inputs, allow_unused=True)
    return [np.zeros(x.shape) if g is None else g for x, g in zip(inputs, found, strict=True)]


def torch_slopes(outputs, inputs, upstream):
    flowing = [(y, torch.tensor(u)) for y, u in zip(outputs, upstream, strict=True) if y.requires_grad]
    if not flowing:
        return [torch.zeros_like(x) for x in inputs]
    outputs, seeds = zip(*flowing, strict=True)
    found = torch.autograd.grad(outputs, inputs, seeds, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=True)]


REFUSALS = {  # what tinynet, or our table, says that it does not support -> the category
    "has no derivative rule": "a function that tinynet has no rule for",
    "has no derivative with respect to": "an operand by which tinynet does not differentiate",
    "does not take": "a keyword that tinynet's rule does not take",
    "unexpected keyword argument": "a keyword that tinynet's rule does not take",
    "has no matrix norm": "a matrix norm",
    "writing into a copy": "writing into a copy",
    "the exact form": "the exact form of gelu",
    "cutting off and padding": "negative widths together with positive ones",
}


def refusal(error):
    """The category of an error that says what is not supported; None for an accident."""
    return next((category for text, category in REFUSALS.items() if text in str(error)), None)


def plain_numpy(sample, expected):
    """Why NumPy itself, on plain arrays, is no judge of this call; None if it agrees with torch."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            answers = sample.with_numpy()
    except AssertionError as error:
        return refusal(error)
    except Exception as error:
        return f"NumPy refuses ({type(error).__name__})"
    if not all(close(a, b) for a, b in zip(answers, expected, strict=False)):
        return "NumPy's value differs from torch's"
    return None


def judged(sample):
    """("passed", ""), ("not applicable", reason) or ("failed", what)."""
    keyword = sample.unknown_keyword()
    if keyword:
        return "not applicable", f"keyword: {keyword}"
    theirs, inputs = sample.with_torch()
    theirs = [t for t in theirs if isinstance(t, torch.Tensor)] or theirs
    reason = plain_numpy(sample, theirs)
    if reason and not (sample.is_ours and reason.startswith("NumPy")):
        return "not applicable", reason
    try:
        with np.errstate(all="ignore"):
            ours, variables = sample.with_tinynet()
            return compared(ours, variables, theirs, inputs)
    except Exception as error:
        if isinstance(error, TypeError | AssertionError) and refusal(error):
            return "not applicable", refusal(error)
        return "failed", f"{type(error).__name__}: {error}"


def compared(ours, variables, theirs, inputs):
    values = list(zip(ours, theirs, strict=False))
    if not all(close(a, b) for a, b in values):
        return "failed", "value"
    pairs = [(a, b) for a, b in values if isinstance(b, torch.Tensor) and b.is_floating_point()]
    floats = [(x, t) for x, t in zip(variables, inputs, strict=True) if isinstance(x, tn.Tensor)]
    if not pairs or not floats:
        return "passed", ""
    generator = np.random.default_rng(0)
    upstream = [generator.normal(size=tuple(b.shape)) for _, b in pairs]
    ours, theirs = zip(*pairs, strict=True)
    variables, inputs = zip(*floats, strict=True)
    found = slopes(ours, list(variables), upstream)
    expected = torch_slopes(theirs, inputs, upstream)
    wrong = [i for i, (a, b) in enumerate(zip(found, expected, strict=True)) if not close(a, b)]
    return ("failed", f"gradient of operand {wrong}") if wrong else ("passed", "")


def verdicts(op, ours):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own
        samples = list(op.sample_inputs("cpu", torch.float64, requires_grad=False))
        return [(judged(s), s) for s in (Sample(op, ours, s) for s in samples)]


def test_every_sample_of_the_operators_that_we_have(capsys):
    counts, reasons, failures, per_operator = collections.Counter(), collections.Counter(), [], {}
    torch.manual_seed(0)
    table = database()
    for name, (op, ours) in table.items():
        mine = collections.Counter()
        for (verdict, why), sample in verdicts(op, ours):
            mine[verdict] += 1
            if verdict == "not applicable":
                reasons["a keyword that our function does not take" if why.startswith("keyword") else why] += 1
            if verdict == "failed":
                failures.append(f"{name}: {why}\n    {mapped(sample.given, lambda t: (tuple(t.shape), str(t.dtype)))}")
        counts += mine
        per_operator[name] = mine
    with capsys.disabled():
        print(f"\n{len(table)} operators, samples: {dict(counts)}")
        print("\n".join(f"  {n:5} not applicable: {why}" for why, n in reasons.most_common()))
        none = [name for name, mine in per_operator.items() if not mine["passed"]]
        print(f"  {len(none)} operators without a passed sample: {' '.join(none)}")
    assert not failures, f"{len(failures)} failed\n" + "\n".join(failures)
    assert counts["passed"] >= PASSED_FLOOR
