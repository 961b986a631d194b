"""The steps of `fit` that the recorder's watchers look at (monitor/watch.py), replayed as the others are.

A replay calls no hooks. So where somebody watches, every step answers its layers' outputs beside the loss, but lends them
only: the program keeps each in an array of its own, and nothing is copied. What that costs the steps at which nobody looks
is the memory of those that would have been written over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from monitor.watch import Watcher
from tinynet.capture import Captured, Lent
from tinynet.capture.surroundings import Surroundings
from tinynet.graph import no_grad
from tinynet.tensor import Tensor


class Inside:
    """What the watched layers of a model answer in a step."""

    def __init__(self, model: Any, loss_of: Callable):
        self.model, self.loss_of = model, loss_of
        self._answers: list[tuple[int, Any]] | None = None  # of the step that is going on
        self._layers: list[Any] = []

    def look(self) -> None:
        """From here to `answers()` is the forward pass of a step."""
        self._answers = []

    def answers(self) -> Lent:
        """(index of the layer, its output as an array) for each watched layer that has answered."""
        found, self._answers = self._answers, None
        return Lent(lambda: found)

    @contextmanager
    def watched_by(self, watchers: Sequence[Watcher], step: Callable) -> Iterator[None]:
        """For a whole training: what is captured is right for layers whose attributes are the same objects all the time."""
        if watchers:
            generators = list(Surroundings(_function(step)).generators())  # also one of the loss
            for watcher in watchers:
                watcher.draws_from(generators)
        self._layers = list({id(layer): layer for watcher in watchers for _, layer in watcher.layers}.values())
        before = [vars(layer).get("forward") for layer in self._layers]
        for i, layer in enumerate(self._layers):
            layer.forward = partial(self._forward, i, layer.forward)
        try:
            yield
        finally:
            self._answers = None
            for layer, forward in zip(self._layers, before, strict=True):
                del layer.forward
                if forward is not None:
                    layer.forward = forward

    def _forward(self, i: int, forward: Callable, *inputs: Any, **named: Any) -> Any:
        answer = forward(*inputs, **named)
        if self._answers is not None and isinstance(answer, Tensor):
            self._answers.append((i, answer.data))
        return answer

    def step(self, training: Any, watchers: list[Watcher], step: Any, x: Any, y: Any) -> Any:
        """The loss of a step, at which these watchers look.

        Where rho is wanted, it runs as it is written: gradients are shown before they are clipped, and the first steps are
        among these, which spares a short training the recordings.
        """
        number = training.step + 1
        for watcher in watchers:
            watcher.begin(number, outputs=False)
        if any(watcher.wants_rho(number) for watcher in watchers):
            loss, answers = _function(step)(x, y, watchers)
        else:
            loss, answers = step(x, y)
        for watcher in watchers:
            watcher.see((self._layers[i], output) for i, output in answers.get())
            watcher.end(number, loss, lambda: self._again(x, y))
        return loss

    def _again(self, x: Any, y: Any) -> Any:
        with no_grad():
            return self.loss_of(self.model(x), y)


def _function(step: Callable) -> Callable:
    return step.function if isinstance(step, Captured) else step
