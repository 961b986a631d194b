"""Going through a model once more without leaving a trace: so watch.py sees what an update has done to the loss.

A forward pass in training draws random numbers (dropout) and moves running averages (batch normalisation). `Undisturbed`
lets another pass draw what an earlier one drew, and puts everything back after it: training goes on, to the bit, as if
that pass had not been.
"""

from __future__ import annotations

import pickle
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

States = list[tuple[Any, Any]]  # (what is put back, how it was)


class Undisturbed:
    """What a forward pass of a model may change: attributes of its modules, arrays among them, and random generators.

    Generators are found where a module has one as an attribute; `generators` may be given others, such as one that the loss
    draws from. PyTorch's common ones belong to them; those of Python's random and of NumPy's np.random.rand and its like do
    if the first pass draws from them (to save their state takes longer than many a layer). Lists in a module are not looked
    into.
    """

    def __init__(self, model: Any):
        modules = [module for _, module in model.named_modules()] if hasattr(model, "named_modules") else [model]
        self._modules = [module for module in modules if hasattr(module, "__dict__")]
        self._torch = any(hasattr(module, "_buffers") for module in modules)
        self.generators: list[Any] = []
        self._common = True  # whether the common generators of Python and NumPy may be drawn from

    def chance(self) -> States:
        """Where all generators are: to be asked before the first pass."""
        own = [v for module in self._modules for v in vars(module).values() if isinstance(v, np.random.Generator)]
        found: States = [(g, _state(g)) for g in {id(g): g for g in own + self.generators}.values()]
        if self._common:
            found += [(np.random, np.random.get_state()), (random, random.getstate())]  # noqa: NPY002
        if self._torch:
            torch = sys.modules["torch"]
            found.append((torch, torch.get_rng_state()))
            if torch.cuda.is_initialized():
                found.append((torch.cuda, torch.cuda.get_rng_state_all()))
        return found

    @contextmanager
    def again(self, chance: States) -> Iterator[None]:
        """Draw from where `chance` was noted; put back afterwards whatever was changed."""
        now = self.chance()
        spaces = [vars(module) for module in self._modules]
        spaces += [module._buffers for module in self._modules if hasattr(module, "_buffers")]
        attributes = [(space, dict(space)) for space in spaces]
        arrays = [(value, _copy(value)) for _, then in attributes for value in then.values() if _is_array(value)]
        _set_generators(chance)
        before = _common_states() if self._common else None
        try:
            with sys.modules["torch"].no_grad() if self._torch else nullcontext():
                yield
        finally:
            self._common = self._common and _common_states() != before
            _set_generators(now)
            for space, then in attributes:
                for key in [key for key in space if key not in then]:
                    del space[key]
                space.update(then)
            for array, copy in arrays:
                array[...] = copy


def _state(generator: Any) -> Any:
    return generator.bit_generator.state if isinstance(generator, np.random.Generator) else generator.get_state()


def _common_states() -> Any:
    return pickle.dumps((np.random.get_state(), random.getstate()))  # noqa: NPY002


def _set_generators(states: States) -> None:
    for generator, state in states:
        if isinstance(generator, np.random.Generator):
            generator.bit_generator.state = state
        elif hasattr(generator, "set_rng_state_all"):  # torch.cuda
            generator.set_rng_state_all(state)
        elif hasattr(generator, "set_rng_state"):  # torch
            generator.set_rng_state(state)
        else:
            (generator.setstate if generator is random else generator.set_state)(state)


def _is_array(value: Any) -> bool:
    """An array that can be written: of NumPy, CuPy, or PyTorch if it is not learnt."""
    if hasattr(value, "is_floating_point"):
        return not value.requires_grad
    if type(value) is np.ndarray:
        return bool(value.flags.writeable)
    return hasattr(value, "strides") and hasattr(value, "get")


def _copy(array: Any) -> Any:
    return array.clone() if hasattr(array, "clone") else array.copy()
