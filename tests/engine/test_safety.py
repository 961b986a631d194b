"""Nothing is silently wrong: writing into what the graph needs, moved parameters, and where a nan came from."""

import numpy as np
import pytest

import tinynet as tn
from optimizers import SGD


def test_writing_into_an_input_that_the_graph_needs_raises_at_once_and_is_allowed_afterwards():
    array = np.array([1.0, 2.0])
    x = tn.Tensor(array, requires_grad=True)
    loss = (x * x).sum()
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 100.0
    with pytest.raises(ValueError, match="read-only"):
        x.data += 1
    loss.backward()
    assert x.grad.tolist() == [2.0, 4.0]
    array[0] = 100.0  # nobody needs the old value any more


def test_a_plain_array_operand_is_held_too():
    w, x = tn.Tensor(np.ones((2, 1)), requires_grad=True), np.ones((3, 2))
    y = x @ w
    with pytest.raises(ValueError, match="read-only"):
        x[0, 0] = 5.0
    del y
    x[0, 0] = 5.0


def test_what_no_rule_reads_stays_writable():
    x = tn.Tensor(np.ones(2), requires_grad=True)
    constant = np.ones(2)
    y = x + constant
    constant[0] = 7.0
    x.data[0] = 7.0
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_an_array_is_held_until_the_last_graph_lets_go():
    array = np.ones(2)
    x = tn.Tensor(array, requires_grad=True)
    first, second = (x * x).sum(), (x * x * x).sum()
    first.backward()
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 2.0
    del first, second
    array[0] = 2.0


def test_the_answer_of_a_recorded_call_is_read_only_and_numpy_gives_a_copy():
    x = tn.Tensor(np.ones(2), requires_grad=True)
    y = np.exp(x)
    with pytest.raises(ValueError, match="read-only"):
        y.data[0] = 0
    copy = y.numpy()
    copy[0] = 0
    assert y.data[0] == np.exp(1.0)


def test_an_array_that_was_read_only_before_stays_so():
    array = np.ones(2)
    array.setflags(write=False)
    (tn.Tensor(array, requires_grad=True) ** 2).sum().backward()
    assert not array.flags.writeable


def test_a_step_between_forward_and_backward_is_caught():
    model = tn.MLP([2, 4, 1], seed=0)
    optimizer = SGD(model.named_parameters(), lr=0.1)
    x = np.ones((3, 2), np.float32)
    loss = (model(x) ** 2).mean()
    loss.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match=r"an operand of linear, was moved by optimizer.step\(\) after the forward pass"):
        loss.backward()


def test_an_evaluation_that_is_kept_does_not_stop_the_training():
    model = tn.MLP([2, 4, 1], seed=0)
    optimizer = SGD(model.named_parameters(), lr=0.1)
    x = np.ones((3, 2), np.float32)
    kept = model(x)  # recorded, never walked back
    for _ in range(3):
        loss = (model(x) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.load_state_dict(model.state_dict())
    assert kept.shape == (3, 1)


# Anomalies --------------------------------------------------------------------------------------------------------------


def test_the_first_call_that_makes_a_nan_is_named_with_the_users_line():
    x = tn.Tensor(np.array([1.0, -1.0]), requires_grad=True)
    with tn.detect_anomaly():
        y = x * 2
        with pytest.raises(tn.AnomalyError) as caught:
            np.log(y)  # this line
    text = str(caught.value)
    assert "np.log of (2,) float64 made a nan (first at (1,)); all operands are finite" in text
    assert "test_safety.py" in text
    assert "np.log(y)  # this line" in text


def test_data_that_is_not_finite_is_told_apart():
    x = tn.Tensor(np.array([1.0, np.inf]), requires_grad=True)
    with tn.detect_anomaly(), pytest.raises(tn.AnomalyError, match="made an infinity .*operand 0 was already not finite"):
        _ = x + 1


def test_a_gradient_that_is_not_finite_names_the_forward_call():
    x = tn.Tensor(np.array([0.0, 1.0]), requires_grad=True)
    with tn.detect_anomaly():
        loss = np.sqrt(x).sum()  # the forward line
        with pytest.raises(tn.AnomalyError) as caught:
            loss.backward()
    text = str(caught.value)
    assert "backward of sqrt: the gradient of operand 0 (shape (2,), float64) has an infinity (first at (0,))" in text
    assert "loss = np.sqrt(x).sum()  # the forward line" in text


def test_outside_nothing_is_watched():
    x = tn.Tensor(np.array([0.0]), requires_grad=True)
    with tn.detect_anomaly():
        pass
    with np.errstate(divide="ignore"):
        np.sqrt(x).sum().backward()
    assert x.grad.tolist() == [np.inf]


def test_constants_are_watched_too_and_no_grad_switches_it_off():
    with tn.detect_anomaly(), pytest.raises(tn.AnomalyError):
        np.log(tn.Tensor([0.0]))
    with tn.detect_anomaly(), tn.no_grad():
        assert np.log(tn.Tensor([0.0])).data[0] == -np.inf
