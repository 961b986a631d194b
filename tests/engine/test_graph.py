"""Walking back: order, depth, sharing, releasing, recording off, and nothing left behind."""

import gc
import sys
import weakref

import numpy as np
import pytest

import tinynet as tn
from tinynet.graph import is_recording


def leaf(*values):
    return tn.Tensor(np.array(values), requires_grad=True)


def test_the_classic_counter_example_to_walking_without_order():
    a = leaf(1.0)
    b = a + a
    c = b + b
    c.backward(np.ones(1))
    assert a.grad.tolist() == [4.0]


def chain(n):
    x = leaf(1.0)
    y = x
    for _ in range(n):
        y = y + 0.0
    return x, y.sum()


def calls_of_backward(loss):
    """How many functions backward() calls, counted by the interpreter."""
    count = 0

    def note(frame, event, arg):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        loss.backward()
    finally:
        sys.setprofile(None)
    return count


def test_a_chain_of_50000_calls_is_not_recursive():
    x, loss = chain(50_000)
    loss.backward()
    assert x.grad.tolist() == [1.0]


def test_work_grows_linearly_with_depth():
    short, long = (calls_of_backward(chain(n)[1]) for n in (1_000, 10_000))
    assert long < 10.1 * short


def test_a_diamond_of_30_storeys_has_a_billion_paths_and_thirty_nodes():
    x = leaf(1.0)
    y = x
    for _ in range(30):
        y = y + y
    y.sum().backward()
    assert x.grad.tolist() == [2.0**30]


def test_an_unused_branch_blocks_nothing():
    x = leaf(3.0)
    y = x * 2
    _unused = y * 5
    y.sum().backward()
    assert x.grad.tolist() == [2.0]


def test_gradients_add_up_over_calls_and_share_no_memory():
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    for _ in range(2):
        (x + y).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    x.grad += 10
    assert y.grad.tolist() == [2.0, 2.0]


def test_gradients_of_two_inputs_share_no_memory():
    x, y = leaf(1.0), leaf(2.0)
    upstream = np.ones(1)
    gx, gy = tn.gradients(x + y, [x, y], upstream)
    gx += 5
    assert gy.tolist() == upstream.tolist() == [1.0]


def test_a_second_backward_says_that_the_graph_is_released():
    x = leaf(2.0)
    loss = (x * x).sum()
    loss.backward()
    with pytest.raises(tn.GraphReleasedError, match=r"already called.*retain_graph=True"):
        loss.backward()


def test_backward_on_a_leaf_says_where_to_call_it():
    with pytest.raises(RuntimeError, match=r"backward\(\) on a leaf.*Call it on the loss"):
        leaf(1.0).backward()


def test_retain_graph_allows_a_second_backward():
    x = leaf(2.0)
    loss = (x * x).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    assert x.grad.tolist() == [8.0]


def test_a_graph_that_shares_a_released_part_says_so():
    x = leaf(2.0)
    middle = x * x
    middle.sum().backward()
    with pytest.raises(tn.GraphReleasedError):
        (middle * 3).sum().backward()


def test_no_grad_nests_and_decorates_and_survives_exceptions():
    x = leaf(1.0)
    with tn.no_grad():
        with tn.no_grad():
            pass
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad

    @tn.no_grad()
    def double(t):
        return t * 2

    assert not double(x).requires_grad
    with pytest.raises(ZeroDivisionError), tn.no_grad():
        _ = 1 / 0
    assert is_recording.get()


def test_constants_cost_nothing():
    x = tn.Tensor(np.ones(3))
    y = (x * 2 + 1).sum()
    assert y.node is None
    with pytest.raises(RuntimeError, match=r"nothing recorded.*frozen.*write w -= .*no_grad\(\) or by a captured function"):
        y.backward()


def test_nothing_is_kept_alive():
    x = leaf(1.0)
    y = np.tanh(x * 2)
    node = weakref.ref(y)
    gc.disable()  # without reference cycles, counting references is enough
    try:
        del y
        assert node() is None
        before = sum(isinstance(o, tn.Tensor) for o in gc.get_objects())
        for _ in range(5):
            (np.tanh(x * 2) + x).sum().backward()
        assert sum(isinstance(o, tn.Tensor) for o in gc.get_objects()) == before
    finally:
        gc.enable()


def test_gradient_with_respect_to_an_intermediate():
    x = leaf(2.0)
    y = x * x
    z = (y * y).sum()
    gx, gy = tn.gradients(z, [x, y])
    assert gx.tolist() == [32.0]
    assert gy.tolist() == [8.0]


def test_gradients_leave_grad_alone_and_explain_a_missing_path():
    x, other = leaf(2.0), tn.Tensor([1.0], requires_grad=True, name="other")
    y = (x * x).sum()
    assert tn.gradients(y, x).tolist() == [4.0]
    assert x.grad is None
    with pytest.raises(
        ValueError, match=r"no gradient flows to other of shape \(1,\): the output was not computed from it"
    ):
        tn.gradients(y, other)
    with pytest.raises(ValueError, match="it does not require a gradient"):
        tn.gradients(y, tn.Tensor([1.0]))


def test_derivatives_nest_to_any_order():
    f = lambda x: np.tanh(x) * x
    x = np.float64(0.3)
    for order, h in ((1, 1e-3), (2, 1e-2), (3, 2e-2)):
        g = f
        for _ in range(order - 1):
            g = tn.grad(g)
        slope = (float(g(x - 2 * h)) - 8 * float(g(x - h)) + 8 * float(g(x + h)) - float(g(x + 2 * h))) / (12 * h)
        assert float(tn.grad(g)(x)) == pytest.approx(slope, rel=1e-5)


def test_hessian_vector_product_equals_the_hessian_times_the_vector():
    a = np.array([[2.0, 1.0], [1.0, 5.0]])
    quadratic = lambda x: (x * (a @ x)).sum() * 0.5 + (x**4).sum()
    x, v = np.array([0.5, -1.0]), np.array([1.0, 2.0])
    assert np.allclose(tn.hvp(quadratic, x, v).data, (a + np.diag(12 * x**2)) @ v, rtol=1e-12)


def test_value_and_grad_of_the_chosen_argument():
    value, g = tn.value_and_grad(lambda a, b: (a * b).sum(), argnum=1)(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    assert value.item() == 11.0
    assert g.data.tolist() == [1.0, 2.0]
    with pytest.raises(TypeError, match="must answer a Tensor"):
        tn.grad(lambda x: 3.0)(1.0)


def test_changing_the_array_after_the_forward_pass_of_another_tensor_is_harmless():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    x.data = np.array([100.0, 100.0])  # a new array: the graph keeps the old one
    y.backward()
    assert x.grad.tolist() == [2.0, 4.0]
