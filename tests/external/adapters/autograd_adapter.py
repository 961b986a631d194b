"""HIPS/autograd's interface built over tinynet, so that autograd's own tests run against our engine.

`python autograd_adapter.py RESULTS FILE...` puts stand-ins for autograd's modules where `import autograd` finds them, runs
pytest on autograd's test files, and writes what became of every test, [name, verdict, reason], to RESULTS.

A value that tests differentiate by may be a number, an array, or a nest of lists, tuples and dicts of them.
`check_grads` is tn.gradcheck along random directions: reverse against differences, forward against reverse, to the order
asked for. A check that cannot apply (complex numbers, a function without a rule) is left out and counted; a test of which
nothing applies is not applicable. A test that never asks the engine for a derivative is not applicable either.
"""

import collections
import functools
import json
import os
import sys
import types

import numpy as np
import pytest

import tinynet as tn

REASONS = {  # what an error says -> why the test does not apply
    "has no derivative rule": "a function that tinynet has no rule for",
    "does not take": "a keyword that tinynet's rule does not take",
    "unexpected keyword argument": "a keyword that tinynet's rule does not take",
    "has no derivative with respect to": "an operand by which tinynet does not differentiate",
    "computes with real numbers": "complex numbers",
    "differentiates real numbers only": "complex numbers",
    "stand-in has no attribute": "a function that NumPy no longer has",
    "is at a kink": "a check at a kink, where tn.gradcheck refuses to compare",
    "has no matrix norm": "a matrix norm",
    "np.asarray would silently drop": "Tensors where NumPy itself wants a plain array (inside a list, np.r_, np.int64)",
    "'Tensor' object has no attribute 'replace'": "einsum with lists of axes in place of letters",
    "module 'numpy.linalg' has no attribute": "a function that NumPy no longer has",
}
STEP = 1e-5  # of differences: their points are random, and some lie close to a kink
checks = collections.Counter()  # of the current test: "passed", or the reason why a check does not apply
asked = collections.Counter()  # of the current test: how often the engine was asked for a derivative


def reason_for(error):
    return next((reason for text, reason in REASONS.items() if text in str(error)), None)


# Nests of numbers and arrays ------------------------------------------------------------------------------------------


def leaves(nest):
    """The numbers and arrays of a nest, in order."""
    if isinstance(nest, dict):
        return [leaf for key in sorted(nest, key=str) for leaf in leaves(nest[key])]
    if isinstance(nest, list | tuple):
        return [leaf for part in nest for leaf in leaves(part)]
    return [nest]


def nested(like, flat):
    """A nest built as `like`, of the leaves that the iterator gives."""
    if isinstance(like, dict):
        found = {key: nested(like[key], flat) for key in sorted(like, key=str)}
        return {key: found[key] for key in like}
    if isinstance(like, list | tuple):
        return type(like)([nested(part, flat) for part in like])
    return next(flat)


def variable(value):
    """A leaf that can be differentiated by: a Tensor as it is, anything else as an array of floats."""
    if isinstance(value, tn.Tensor):
        return value
    array = np.asarray(value)
    if array.dtype.kind == "c":
        pytest.skip("complex numbers")
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def tensor(value):
    return value if isinstance(value, tn.Tensor) else tn.Tensor(variable(value))


def outside(value):
    """A Tensor that an outer derivative still needs, as it is; any other as a number or an array."""
    if not isinstance(value, tn.Tensor) or value.requires_grad:
        return value
    return float(value.data) if value.ndim == 0 else value.data


def joined(nest):
    """A nest as one Tensor: itself, or all its leaves in a row."""
    if isinstance(nest, list | tuple | dict):
        return np.concatenate([np.ravel(tensor(leaf)) for leaf in leaves(nest)])
    return tensor(nest)


def parted(like, whole):
    """The nest that was joined."""
    if not isinstance(like, list | tuple | dict):
        return whole
    sizes = [np.size(leaf) for leaf in leaves(like)]
    ends = np.cumsum([0, *sizes]).tolist()
    pieces = (whole[a:b].reshape(np.shape(leaf)) for a, b, leaf in zip(ends, ends[1:], leaves(like), strict=False))
    return nested(like, pieces)


# Derivatives with respect to one nest ---------------------------------------------------------------------------------


def flattened(f, x):
    """f as a function of the leaves of x that answers one Tensor, and a list that will hold its last answer."""
    last = []

    def flat(*values):
        last[:] = [f(nested(x, iter(values)))]
        if any(np.iscomplexobj(getattr(leaf, "data", leaf)) for leaf in leaves(last[0])):
            raise TypeError("tinynet computes with real numbers: complex output")
        return joined(last[0])

    return flat, last


def core_vjp(f, x):
    """(from a nest like the output to one like x, the output)."""
    asked["vjp"] += 1
    flat, last = flattened(f, x)
    output, pull = tn.vjp(flat, *map(variable, leaves(x)))
    like = last[0]
    back = lambda v: nested(x, map(outside, pull(joined(v))))
    return back, nested(like, map(outside, leaves(parted(like, output))))


def core_jvp(f, x):
    def push(v):
        asked["jvp"] += 1
        flat, last = flattened(f, x)
        primals = [variable(leaf) for leaf in leaves(x)]
        tangents = [variable(leaf) for leaf in leaves(v)]
        output, velocity = tn.jvp(flat, primals, tangents)
        answers = (nested(last[0], map(outside, leaves(parted(last[0], part)))) for part in (output, velocity))
        return tuple(answers)

    return push


def ones(nest):
    return nested(nest, (np.ones(np.shape(leaf)) for leaf in leaves(nest)))


def value_and_grad_at(f, x):
    def real(x):
        y = f(x)
        if isinstance(y, list | tuple | dict | bool | np.bool) or np.size(y) != 1:
            raise TypeError("grad only applies to real scalar-output functions")
        return y

    pull, output = core_vjp(real, x)
    return output, pull(ones(output))


def elementwise_at(f, x):
    pull, output = core_vjp(f, x)
    return pull(ones(output))


def jacobian_at(f, x):
    asked["jacobian"] += 1
    flat, _ = flattened(f, x)
    return outside(tn.jacobian(flat)(variable(x)))


def grad_and_aux_at(f, x):
    kept = []

    def first(x):
        y, aux = f(x)
        kept[:] = [aux]
        return y

    return grad(first)(x), nested(
        kept[0], (outside(leaf.detach() if isinstance(leaf, tn.Tensor) else leaf) for leaf in leaves(kept[0]))
    )


def unary_to_nary(operator):
    """An operator on functions of one argument, as one on functions of several: argnum says which (or which several)."""

    @functools.wraps(operator)
    def nary(fun, argnum=0, *more, **how):
        def at(*args, **params):
            def of(x):
                changed = dict([(argnum, x)] if isinstance(argnum, int) else zip(argnum, x, strict=True))
                return fun(*(changed.get(i, a) for i, a in enumerate(args)), **params)

            return operator(of, args[argnum] if isinstance(argnum, int) else tuple(args[i] for i in argnum), *more, **how)

        return at

    return nary


grad = unary_to_nary(lambda f, x: value_and_grad_at(f, x)[1])
value_and_grad = unary_to_nary(value_and_grad_at)
elementwise_grad = unary_to_nary(elementwise_at)
jacobian = unary_to_nary(jacobian_at)
hessian = unary_to_nary(lambda f, x: jacobian(jacobian(f))(x))
make_vjp, make_jvp = unary_to_nary(core_vjp), unary_to_nary(core_jvp)
make_hvp = unary_to_nary(lambda f, x: core_vjp(grad(f), x))
deriv = unary_to_nary(lambda f, x: core_jvp(f, x)(ones(x))[1])
grad_and_aux = unary_to_nary(grad_and_aux_at)


def with_a_vector(whole, combine):
    """The older products: a function of (*args, vector)."""

    def product(fun, argnum=0):
        return whole(lambda *args, **params: combine(fun, argnum, args[:-1], args[-1], params), argnum)

    return product


hessian_tensor_product = with_a_vector(
    grad, lambda f, i, args, v, params: np.tensordot(grad(f, i)(*args, **params), v, np.ndim(v))
)
tensor_jacobian_product = with_a_vector(
    jacobian, lambda f, i, args, v, params: np.tensordot(v, f(*args, **params), np.ndim(v))
)


def make_ggnvp(f, g=lambda x: 0.5 * np.sum(x**2, axis=-1), f_argnum=0):
    """Products with the generalised Gauss-Newton matrix: J^T H J v."""

    def at(f, x):
        pull, y = core_vjp(f, x)
        times_hessian, _ = core_vjp(grad(g), y)
        return lambda v: pull(times_hessian(core_jvp(f, x)(v)[1]))

    return unary_to_nary(at)(f, f_argnum)


# Checks ---------------------------------------------------------------------------------------------------------------


def projected(f, x, generator):
    """A number that depends on f(x), as a function of Tensors: of the leaves of x if they are small, else of one
    number per leaf, the distance walked from x in a random direction. And where to check it.
    """
    arrays = [variable(leaf) for leaf in leaves(x)]
    answers = leaves(f(nested(x, iter(arrays))))
    weights = [generator.normal(size=np.shape(leaf)) for leaf in answers]
    for plain, recorded in zip(answers, leaves(f(nested(x, map(tn.Tensor, arrays)))), strict=True):
        assert np.allclose(plain, getattr(recorded, "data", recorded), rtol=1e-12, atol=1e-12), "not NumPy's value"

    def number(*values):
        y = leaves(f(nested(x, iter(values))))
        if any(np.iscomplexobj(getattr(leaf, "data", leaf)) for leaf in y):
            raise TypeError("tinynet computes with real numbers: complex output")
        return sum(np.sum(leaf * w) for leaf, w in zip(y, weights, strict=True)) + 0.0 * sum(np.sum(v) for v in values)

    if sum(a.size for a in arrays) <= 6:
        return number, arrays
    directions = [generator.normal(size=a.shape) for a in arrays]
    steps = lambda *t: number(*(a + s * d for a, s, d in zip(arrays, t, directions, strict=True)))
    return steps, [np.zeros(()) for _ in arrays]


def check_grads_at(f, x, modes=("fwd", "rev"), order=2):
    asked["check"] += 1
    try:
        if any(np.iscomplexobj(leaf) for leaf in leaves(x)):
            raise TypeError("tinynet computes with real numbers: complex input")
        if sum(np.size(leaf) for leaf in leaves(x)):
            number, points = projected(f, x, np.random.default_rng(0))
            assert tn.gradcheck(number, *points, order=order, step=STEP)
        checks["passed"] += 1
    except (TypeError, tn.GradcheckError) as error:
        if reason_for(error) is None:
            raise
        checks[reason_for(error)] += 1


check_grads = unary_to_nary(check_grads_at)


def combo_check(fun, *how, **more):
    """Every combination of the arguments and keywords given."""
    import itertools

    def combinations(*args, **params):
        choices = [[(key, value) for value in values] for key, values in params.items()]
        for chosen in itertools.product(*args):
            for keywords in itertools.product(*choices):
                check_grads(fun, *how, **more)(*chosen, **dict(keywords))

    return combinations


def check_equivalent(x, y):
    a, b = ([getattr(leaf, "data", leaf) for leaf in leaves(nest)] for nest in (x, y))
    assert [np.shape(v) for v in a] == [np.shape(v) for v in b]
    assert all(np.allclose(v, w, rtol=1e-6, atol=1e-6) for v, w in zip(a, b, strict=True))


def scalar_close(a, b):
    return abs(a - b) < 1e-6 or abs(a - b) / abs(a + b) < 1e-6


# The modules ----------------------------------------------------------------------------------------------------------


def array(values, *args, **params):
    """np.array, also of lists of Tensors."""
    if isinstance(values, tn.Tensor):
        return np.positive(values)
    if isinstance(values, list | tuple) and any(isinstance(leaf, tn.Tensor) for leaf in leaves(values)):
        return np.stack([tensor(array(v)) for v in values])
    return np.array(values, *args, **params)


def not_ours(what):
    """A name that tests import, whose use is not applicable."""

    def use(*args, **params):
        pytest.skip(what)

    return use


def is_instance(value, kinds):
    """isinstance, for which a Tensor is an array."""
    return isinstance(value.data if isinstance(value, tn.Tensor) else value, kinds)


class StandIn(types.ModuleType):
    """A module that says what it does not have."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(f"{self.__name__} stand-in has no attribute {name!r}")


def numpy_stand_in():
    module = StandIn("autograd.numpy")
    module.__dict__.update(
        {name: getattr(np, name) for name in np.__all__}, array=array, linalg=np.linalg, random=np.random
    )
    return module


def install():
    """Put the stand-ins into sys.modules."""
    own = "autograd's own way of adding a primitive"
    inside = "autograd's internals"
    modules = {
        "autograd": {
            "grad": grad,
            "value_and_grad": value_and_grad,
            "elementwise_grad": elementwise_grad,
            "jacobian": jacobian,
            "hessian": hessian,
            "make_vjp": make_vjp,
            "make_jvp": make_jvp,
            "make_hvp": make_hvp,
            "deriv": deriv,
            "grad_and_aux": grad_and_aux,
            "make_ggnvp": make_ggnvp,
            "hessian_tensor_product": hessian_tensor_product,
            "hessian_vector_product": hessian_tensor_product,
            "tensor_jacobian_product": tensor_jacobian_product,
            "vector_jacobian_product": tensor_jacobian_product,
            "grad_named": lambda f, name: grad(f, f.__code__.co_varnames.index(name)),
            "holomorphic_grad": not_ours("complex numbers"),
            "checkpoint": not_ours("checkpointing"),
            "multigrad_dict": not_ours(inside),
            "list": list,
            "dict": dict,
            "tuple": tuple,
            "isinstance": is_instance,
            "type": type,
            "primitive": not_ours(own),
        },
        "autograd.test_util": {
            "check_grads": check_grads,
            "combo_check": combo_check,
            "check_equivalent": check_equivalent,
            "scalar_close": scalar_close,
        },
        "autograd.builtins": {"list": list, "dict": dict, "tuple": tuple, "isinstance": is_instance, "type": type},
        "autograd.core": {
            "make_vjp": core_vjp,
            "make_jvp": core_jvp,
            "primitive": not_ours(own),
            "primitive_vjps": {},
            "vspace": not_ours(inside),
        },
        "autograd.extend": {"primitive": not_ours(own), "defvjp": not_ours(own), "defjvp": not_ours(own)},
        "autograd.tracer": {"isbox": lambda x: isinstance(x, tn.Tensor), "primitive": not_ours(own)},
        "autograd.wrap_util": {"unary_to_nary": unary_to_nary},
        "autograd.util": {"quick_grad_check": not_ours("a function that autograd itself calls deprecated")},
        "autograd.misc": {"const_graph": not_ours(inside), "flatten": not_ours(inside)},
    }
    for name, content in modules.items():
        sys.modules[name] = StandIn(name)
        sys.modules[name].__dict__.update(content, __path__=[])
    stand_in = numpy_stand_in()
    sys.modules["autograd"].numpy = stand_in
    sys.modules.update({"autograd.numpy": stand_in, "autograd.numpy.random": np.random, "autograd.numpy.linalg": np.linalg})


# Running autograd's tests ---------------------------------------------------------------------------------------------


class Verdicts:
    """A pytest plugin that turns what does not apply into skips, and remembers every test."""

    def __init__(self):
        self.found = []
        self.checks = collections.Counter()

    @pytest.hookimpl(wrapper=True)
    def pytest_pyfunc_call(self, pyfuncitem):
        checks.clear()
        asked.clear()
        try:
            answer = yield
        except Exception as error:
            reason = reason_for(error) if asked else "asks nothing of the engine"
            if reason is None:
                raise
            pytest.skip(reason)
        finally:
            self.checks.update(checks)
        if checks and not checks["passed"]:
            pytest.skip(checks.most_common(1)[0][0])
        if not asked:
            pytest.skip("asks nothing of the engine")
        return answer

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or (report.outcome != "passed" and report.when == "setup"):
            reason = (
                report.longrepr[2].removeprefix("Skipped: ")
                if report.skipped and isinstance(report.longrepr, tuple)
                else ""
            )
            if report.failed:
                reason = str(report.longrepr)[-1500:]
            self.found.append([report.nodeid, "not applicable" if report.skipped else report.outcome, reason])

    def pytest_collectreport(self, report):
        if report.failed:
            self.found.append([report.nodeid, "failed", str(report.longrepr)[-1500:]])


def main(results, *files):
    install()
    tn.set_default_dtype("float64")
    verdicts = Verdicts()
    options = [
        "-q",
        "--tb=short",
        "-c",
        os.devnull,
        "--rootdir=.",
        "-p",
        "no:cacheprovider",
        "-W",
        "ignore::DeprecationWarning",
    ]
    pytest.main([*options, *files], plugins=[verdicts])
    with open(results, "w") as file:
        json.dump({"tests": verdicts.found, "checks": verdicts.checks}, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
