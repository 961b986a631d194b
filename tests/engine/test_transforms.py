"""grad, vjp, jvp, hvp, jacobian, hessian: right, nesting in any mix, and connected to whoever differentiates them."""

import numpy as np
import pytest

import tinynet as tn

A = np.array([[2.0, 1.0, 0.5], [1.0, 5.0, -1.0], [0.5, -1.0, 3.0]])
x0, v0 = np.array([0.5, -1.0, 0.3]), np.array([1.0, 2.0, -0.5])


def quartic(x):
    return (x * (A @ x)).sum() * 0.5 + (x**4).sum()


def curved(x):
    return np.tanh(A @ x) * np.exp(x[::-1])


HESSIAN = (A + A.T) / 2 + np.diag(12 * x0**2)


def differences(f, x, h=1e-5):
    """The Jacobian by central differences."""
    columns = [(f(x + h * e) - f(x - h * e)) / (2 * h) for e in np.eye(x.size)]
    return np.stack(columns, axis=-1)


def value(f):
    return lambda x: f(tn.Tensor(x)).data


def test_jacobian_and_jvp_and_vjp_agree_with_differences():
    jacobian = tn.jacobian(curved)(x0).data
    assert np.allclose(jacobian, differences(value(curved), x0), atol=1e-9)
    y, velocity = tn.jvp(curved, (x0,), (v0,))
    assert np.array_equal(y.data, value(curved)(x0))
    assert np.allclose(velocity.data, jacobian @ v0, rtol=1e-13)
    y, pull = tn.vjp(curved, x0)
    assert np.allclose(pull(v0)[0].data, v0 @ jacobian, rtol=1e-13)


def test_hessian_four_ways():
    assert np.allclose(tn.hessian(quartic)(x0).data, HESSIAN, rtol=1e-12)
    over_reverse = [tn.jvp(tn.grad(quartic), (x0,), (e,))[1].data for e in np.eye(3)]  # forward over reverse
    assert np.allclose(over_reverse, HESSIAN, rtol=1e-12)
    along = lambda x, e: tn.jvp(quartic, (x,), (e,))[1]
    over_forward = [tn.grad(along)(x0, e).data for e in np.eye(3)]  # reverse over forward
    assert np.allclose(over_forward, HESSIAN, rtol=1e-12)
    twice = [[tn.jvp(lambda x, e=e: along(x, e), (x0,), (d,))[1].item() for d in np.eye(3)] for e in np.eye(3)]
    assert np.allclose(twice, HESSIAN, rtol=1e-12)  # forward over forward
    assert np.allclose(tn.hvp(quartic, x0, v0).data, HESSIAN @ v0, rtol=1e-12)


def test_perturbations_are_not_confused():
    # d/dx [x * d/dy (x + y)] = 1, not 2: the classic trap of nested derivatives.
    assert float(tn.grad(lambda x: x * tn.grad(lambda y: x + y)(1.0))(1.0)) == 1.0
    inner = lambda x: tn.jvp(lambda y: x * y, (1.0,), (1.0,))[1]
    assert float(tn.jvp(lambda x: x * inner(x), (3.0,), (1.0,))[1]) == 6.0


def test_fifth_derivative():
    f = lambda x: np.sin(2.0 * x)
    for _ in range(5):
        f = tn.grad(f)
    assert float(f(np.float64(0.3))) == pytest.approx(32 * np.cos(0.6), rel=1e-12)


def test_a_transform_stays_connected_to_a_parameter_outside():
    w = tn.Tensor([2.0], requires_grad=True)
    slope = tn.grad(lambda x: (w * x**2).sum())([3.0])  # 2 w x
    slope.sum().backward()
    assert w.grad.tolist() == [6.0]
    free = tn.grad(lambda x: (x**2).sum())([3.0])
    assert not free.requires_grad
    assert np.asarray(free).tolist() == [6.0]


def test_many_arguments_and_argnum():
    f = lambda a, b, c: (a * b**2 * c**3).sum()
    assert [float(tn.grad(f, argnum=i)(2.0, 3.0, 0.5)) for i in range(3)] == [1.125, 1.5, 13.5]
    _, velocity = tn.jvp(f, (2.0, 3.0, 0.5), (1.0, 1.0, 1.0))
    assert float(velocity) == 16.125


def test_whole_numbers_keywords_and_negative_argnum():
    f = lambda a, b, power=2: (a * b**power).sum()
    assert float(tn.grad(f)(3, 2)) == 4.0
    assert float(tn.grad(f, argnum=-1)(3, 2, power=3)) == 36.0


def test_zero_where_nothing_depends():
    assert tn.grad(lambda x: tn.Tensor(3.0))(1.0).item() == 0.0
    assert tn.jacobian(lambda x: x[:0])(x0).shape == (0, 3)
    assert tn.hessian(lambda x: (A @ x).sum())(x0).data.tolist() == np.zeros((3, 3)).tolist()


def test_dtype_is_kept():
    x = x0.astype(np.float32)
    f = lambda t: (t**3).sum()
    for g in (tn.grad(f)(x), tn.hvp(f, x, np.ones(3, np.float32)), tn.hessian(f)(x), tn.jvp(f, (x,), (x,))[1]):
        assert g.dtype == np.float32


@pytest.mark.parametrize(
    ("f", "error", "text"),
    [
        (lambda: tn.grad(lambda x: x)([1.0, 2.0]), ValueError, "needs a scalar, this tensor has shape"),
        (lambda: tn.grad(lambda x: 3.0)(1.0), TypeError, "must answer a Tensor.*got float"),
        (lambda: tn.jacobian(lambda x: [x, x])(1.0), TypeError, r"got list: answer one Tensor, for example np.stack"),
        (lambda: tn.jvp(np.sin, (1.0,), ()), ValueError, "1 primals and 0 tangents"),
        (lambda: tn.jvp(np.sin, ([1.0],), ([1.0, 2.0],)), tn.ShapeError, r"primal 0 has shape \(1,\), its tangent \(2,\)"),
        (lambda: tn.jvp(np.sin, 1.0, 1.0), TypeError, r"primals and tangents are tuples.*jvp\(f, \(x,\), \(v,\)\)"),
        (lambda: tn.hvp(quartic, x0, np.ones(2)), tn.ShapeError, r"hvp: x has shape \(3,\), the vector v \(2,\)"),
        (lambda: tn.grad(np.hypot, argnum=(0, 1))(3.0, 4.0), TypeError, r"position of one argument, got \(0, 1\): .*vjp"),
        (lambda: tn.grad(np.sin, argnum=1)(1.0), IndexError, "argnum=1, but the function was called with 1 positional"),
        (
            lambda: tn.jacobian(np.sin, argnum=-2)(1.0),
            IndexError,
            "argnum=-2, but the function was called with 1 positional",
        ),
    ],
)
def test_errors(f, error, text):
    with pytest.raises(error, match=text):
        f()


def test_gradients_with_allow_unused():
    x, y = tn.Tensor([1.0], requires_grad=True), tn.Tensor([1.0], requires_grad=True)
    assert tn.gradients((x * 2).sum(), [x, y], allow_unused=True)[1] is None
    with pytest.raises(ValueError, match="does not depend on anything that requires a gradient"):
        tn.gradients(tn.Tensor(1.0), x)
