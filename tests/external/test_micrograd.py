"""micrograd's own tests, run against tinynet: `micrograd.engine.Value` is replaced by a thin class over tn.Tensor.

They compare with torch, as micrograd does. The tests themselves come from micrograd's source distribution.
"""

import importlib.util
import sys
import types

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: micrograd's tests compare with it")

from sdists import folder_of

import tinynet as tn

TESTS = folder_of("micrograd", "test") / "test_engine.py"


class Value:
    """A number with a gradient, under micrograd's names."""

    def __init__(self, data):
        self.tensor = data if isinstance(data, tn.Tensor) else tn.Tensor(np.float64(data), requires_grad=True)

    data = property(lambda self: self.tensor.item())
    grad = property(lambda self: self.tensor.grad.item())

    def relu(self):
        return Value(tn.relu(self.tensor))

    def backward(self):
        self.tensor.backward()


def forwarded(name):
    return lambda self, *others: Value(getattr(self.tensor, name)(*(getattr(v, "tensor", v) for v in others)))


for name in ("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "pow", "neg"):
    setattr(Value, f"__{name}__", forwarded(f"__{name}__"))


def their_tests():
    """The functions of micrograd's test file, with our Value in place of theirs."""
    stand_ins = {"micrograd": types.ModuleType("micrograd"), "micrograd.engine": types.ModuleType("micrograd.engine")}
    stand_ins["micrograd.engine"].Value = Value
    spec = importlib.util.spec_from_file_location("micrograd_test_engine", TESTS)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        for name, stand_in in stand_ins.items():
            patch.setitem(sys.modules, name, stand_in)
        spec.loader.exec_module(module)
    return {name: f for name, f in vars(module).items() if name.startswith("test_")}


THEIRS = their_tests()


def test_none_was_lost():
    assert len(THEIRS) >= 2


@pytest.mark.parametrize("name", THEIRS)
def test_of_micrograd(name):
    THEIRS[name]()
