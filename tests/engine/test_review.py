"""Faults that a close reading of the engine found, each kept as a test."""

import copy
import pickle
import threading

import numpy as np
import pytest

import tinynet as tn
from optimizers import SGD
from tinynet import kernels


def leaf(array):
    return tn.Tensor(np.array(array, float), requires_grad=True)


# What the graph needs is not written to ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "view", [lambda w: w.T, lambda w: w.mT, lambda w: w.reshape(4), lambda w: np.broadcast_to(w, (3, 2, 2))]
)
def test_a_view_of_a_parameter_is_protected_like_the_parameter(view):
    w = leaf(np.ones((2, 2)))
    optimizer = SGD([w], lr=1.0)
    loss = (view(w) * view(w)).sum()
    (w * 1).sum().backward()
    optimizer.step()
    with pytest.raises(tn.ChangedArrayError):
        loss.backward()


def test_the_owner_of_a_view_is_protected_too():
    array = np.ones((4, 2))
    t = leaf([1.0, 2.0])
    y = (array[:2] * t).sum()
    with pytest.raises(ValueError, match="read-only"):
        array[:] = 0
    del y
    array[:] = 0


@pytest.mark.parametrize("first", [lambda a: (a.T, a), lambda a: (a, a.T)])
def test_view_and_owner_in_one_graph_are_both_released(first):
    array = np.ones((2, 2))
    one, other = (tn.Tensor(a, requires_grad=True) for a in first(array))
    (one @ other).sum().backward()
    assert array.flags.writeable
    assert one.data.flags.writeable
    assert other.data.flags.writeable


def test_holds_are_safe_in_threads():
    t = leaf(np.ones(3))

    def work():
        for _ in range(300):
            _ = t * t

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert t.data.flags.writeable


def test_lists_are_taken_over_when_they_are_given():
    t, numbers, index = leaf([1.0, 2.0]), [1.0, 2.0], np.array([0, 1])
    y = (t * numbers).sum() + t[index].sum()
    numbers[0], index[0] = 50.0, 1
    y.backward()
    assert t.grad.tolist() == [2.0, 3.0]


@pytest.mark.parametrize(
    "f",
    [
        lambda t: np.concatenate((t, [[1.0, 2.0]])),
        lambda t: t @ [[1.0, 2.0], [3.0, 4.0]],
        lambda t: [[1.0, 2.0], [3.0, 4.0]] @ t,
        lambda t: np.inner([1.0, 2.0], t),
        lambda t: np.linalg.solve([[2.0, 0.0], [0.0, 4.0]], t),
        lambda t: t ** [1.0, 2.0],
        lambda t: np.average([1.0, 2.0], weights=t[0]),
    ],
)
def test_lists_as_operands(f):
    assert tn.gradcheck(f, np.array([[1.0, 2.0], [3.0, 5.0]]))


def test_a_list_does_not_promote():
    t = tn.Tensor([1.0, 2.0], requires_grad=True)
    assert np.add(t, [1.0, 2.0]).dtype == np.float32
    assert ([1.0, 2.0] @ t.reshape(2, 1)).dtype == np.float32


# Numbers ----------------------------------------------------------------------------------------------------------------


def test_einsum_repeats_an_axis_of_length_one():
    assert tn.gradcheck(lambda a, b: np.einsum("ij,jk->ik", a, b), np.ones((2, 1)), np.arange(12.0).reshape(3, 4))


def test_einsum_with_an_axis_of_length_zero():
    y = np.einsum("...ij,...jk", leaf(np.zeros((0, 2, 1))), np.ones((1, 1, 2)))
    assert y.shape == (0, 2, 2)


def test_resize_of_nothing_and_odd_reflection():
    assert np.resize(leaf(np.zeros((0, 2))), (3,)).data.tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(TypeError, match="does not take reflect_type='odd'"):
        np.pad(leaf([1.0, 2.0, 4.0]), (1, 0), mode="reflect", reflect_type="odd")


def test_a_view_released_before_its_owner():
    array = np.ones(3)
    owner, view = tn.Tensor(array, requires_grad=True), tn.Tensor(array[:2], requires_grad=True)
    first, second = (owner * owner).sum(), (view * view).sum()
    del second
    assert view.data.flags.writeable
    assert not array.flags.writeable
    del first
    assert array.flags.writeable


@pytest.mark.parametrize("f", [np.remainder, np.fmod])
def test_remainder_where_the_quotient_rounds_up(f):
    b = leaf([0.1, 0.1, 0.7])
    f(np.array([1.0, 0.7, 2.1]), b).sum().backward()
    assert b.grad.tolist() == [-9.0, -6.0, -3.0]  # 0.7 / 0.1 - the remainder / 0.1 is 6.000000000000001


@pytest.mark.parametrize("f", [np.fmax, np.fmin])
def test_a_nan_loses_and_gets_no_gradient(f):
    a, b = leaf([np.nan, 1.0]), leaf([1.0, np.nan])
    f(a, b).sum().backward()
    assert a.grad.tolist() == [0.0, 1.0]
    assert b.grad.tolist() == [1.0, 0.0]


def test_logaddexp_keeps_its_digits():
    a = tn.Tensor(np.float32([10000.3]), requires_grad=True)
    np.logaddexp(a, np.float32(10000.0)).sum().backward()
    difference = float(np.float32(10000.3)) - 10000.0
    assert a.grad[0] == pytest.approx(1 / (1 + np.exp(-difference)), rel=1e-6)
    b = leaf([3.0])
    np.logaddexp(b, np.inf).sum().backward()
    assert b.grad.tolist() == [0.0]


@pytest.mark.parametrize(
    "f", [lambda t: np.prod(t, 5), lambda t: np.diff(t, axis=5), lambda t: np.tensordot(t, t, ([5], [0]))]
)
def test_an_axis_that_is_not_there(f):
    with pytest.raises(np.exceptions.AxisError, match="axis 5 is out of bounds"):
        f(leaf(np.ones((2, 2))))


def test_the_product_of_a_number_is_a_call_too():
    t = leaf(3.0)
    np.prod(t).backward()
    assert t.grad == 1.0


def test_many_ties_in_float16():
    t = tn.Tensor(np.zeros(70_000, np.float16), requires_grad=True)
    t.max().backward()
    assert t.grad.astype(float).sum() == pytest.approx(1, rel=0.01)


def test_a_strong_exponent_promotes_as_in_numpy():
    t = tn.Tensor(np.float32([2.0]), requires_grad=True)
    assert (t**2).dtype == np.float32
    assert (t ** np.float64(2)).dtype == np.float64


# Calls ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "text"),
    [
        (lambda t: np.sum(a=t), "np.sum: give the Tensors by position, not by keyword"),
        (lambda t: tn.relu(x=t), "relu: give the Tensors by position"),
        (lambda t: kernels.squared_error(t, b=np.ones(2)), r"squared_error on a Tensor does not take \['b'\]"),
        (lambda t: np.add(t, 1, out=np.zeros(2)), "np.add cannot write a Tensor into an array"),
        (lambda t: np.sin(t, t), "np.sin cannot write a Tensor into an array"),
        (lambda t: t + "a", "np.add of float64"),
        (lambda t: copy.deepcopy(t * 2), "cannot be copied or pickled with its graph"),
        (lambda t: pickle.dumps(t * 2), "cannot be copied or pickled with its graph"),
    ],
)
def test_calls_that_cannot_be_made(f, text):
    with pytest.raises(TypeError, match=text):
        f(leaf([1.0, 2.0]))


def test_adding_in_place_to_an_array_leaves_it_alone():
    array = np.zeros(2)
    with pytest.raises(TypeError, match="cannot write a Tensor into an array"):
        array += leaf([1.0, 2.0])
    assert array.tolist() == [0.0, 0.0]


def test_copies_of_leaves_and_models():
    t = leaf([1.0])
    assert copy.deepcopy(t).data.tolist() == pickle.loads(pickle.dumps(t)).data.tolist() == [1.0]
    model = tn.MLP([2, 3, 1], activation="identity", seed=0)
    assert np.array_equal(pickle.loads(pickle.dumps(model)).layers[0].weight.data, model.layers[0].weight.data)


def test_no_grad_as_a_decorator_in_threads():
    t, errors = leaf([1.0]), []

    @tn.no_grad()
    def double():
        return t * 2

    def work():
        try:
            for _ in range(200):
                assert not double().requires_grad
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert (t * 2).requires_grad


def test_watching_respects_no_grad_and_may_be_entered_twice():
    t = leaf([1.0])
    with tn.no_grad(), tn.detect_anomaly():
        assert not (t * 2).requires_grad
    watch = tn.detect_anomaly()
    with watch, watch:
        pass
    with pytest.warns(RuntimeWarning):
        np.log(tn.Tensor([0.0]))


def test_watching_is_not_alarmed_by_the_engines_own_guards():
    x = leaf([1.0, 1.0])
    with tn.detect_anomaly():
        tn.gradients(np.std(x), x, create_graph=True)
        tn.gradients(np.linalg.norm(0 * x), x, create_graph=True)


# Everyday forms ---------------------------------------------------------------------------------------------------------


def test_formatting_rounding_and_lists():
    loss = tn.Tensor(0.123456)
    assert f"{loss:.3f}" == "0.123"
    assert round(loss, 2) == 0.12
    assert tn.Tensor([1.0, 2.0]).tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="one element"):
        format(tn.Tensor([1.0, 2.0]), ".3f")


def test_summary_counts_every_parameter_once():
    class Scaled(tn.Module):
        def __init__(self):
            self.inner = tn.Linear(2, 16, seed=0)
            self.scale = tn.Parameter(np.ones(1, np.float32))
            self.tied = tn.Linear(2, 16, seed=0)
            self.tied.weight = self.inner.weight

    model = Scaled()
    assert model.summary().split()[-1] == str(sum(p.size for p in model.parameters()))
    assert "inner=Linear(2 -> 16)" in repr(model)


def test_a_tensor_in_a_module_is_pointed_out():
    model = tn.Module()
    with pytest.warns(UserWarning, match="Module.w is a Tensor, which no optimizer will be given"):
        model.w = leaf([1.0])
