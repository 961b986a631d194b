"""The steps of `fit` that the recorder's watchers look at (monitor/watch.py), replayed as the others are.

A replay calls no hooks. So where somebody looks, a step answers the layers' outputs beside its loss. That makes it another
program than that of all other steps, which are as quick as without watchers; to copy the outputs every time
would slow down all the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from monitor.watch import Watcher
from tinynet.capture import Captured
from tinynet.capture.surroundings import Surroundings
from tinynet.graph import no_grad
from tinynet.tensor import Tensor


class Inside:
    """What the watched layers of a model answer in a step."""

    def __init__(self, model: Any, loss_of: Callable):
        self.model, self.loss_of = model, loss_of
        self._answers: list[tuple[int, Tensor]] | None = None
        self._layers: list[Any] = []
        self._step: Captured | None = None

    def answers(self) -> list[tuple[int, Tensor]] | None:
        """(index of the layer, its output) for each that has answered; None in a step that is not watched."""
        return self._answers

    @contextmanager
    def watched_by(self, watchers: Sequence[Watcher], step: Callable) -> Iterator[None]:
        """For a whole training: what is captured is right for layers whose attributes are the same objects all the time."""
        if watchers:
            generators = list(Surroundings(_function(step)).generators())  # also one of the loss
            for watcher in watchers:
                watcher.draws_from(generators)
        if isinstance(step, Captured):
            self._step = Captured(step.function, explain=lambda why: None)  # what there is to say, `step` says
        self._layers = list({id(layer): layer for watcher in watchers for _, layer in watcher.layers}.values())
        before = [vars(layer).get("forward") for layer in self._layers]
        for i, layer in enumerate(self._layers):
            layer.forward = partial(self._forward, i, layer.forward)
        try:
            yield
        finally:
            for layer, forward in zip(self._layers, before, strict=True):
                del layer.forward
                if forward is not None:
                    layer.forward = forward

    def _forward(self, i: int, forward: Callable, x: Any) -> Any:
        answer = forward(x)
        if self._answers is not None and isinstance(answer, Tensor):
            self._answers.append((i, answer))
        return answer

    def step(self, training: Any, watchers: list[Watcher], step: Any, x: Any, y: Any) -> Any:
        """The loss of a step, at which these watchers look.

        Where rho is wanted, it runs as it is written: gradients are shown before they are clipped, and the first steps are
        among these, which spares a short training the recordings.
        """
        number = training.step + 1
        for watcher in watchers:
            watcher.begin(number, outputs=False)
        self._answers = []
        if any(watcher.wants_rho(number) for watcher in watchers):
            loss, answers = _function(step)(x, y, watchers)
        else:
            loss, answers = (_function(step) if self._step is None or step.failure else self._step)(x, y)
        self._answers = None  # nobody looks at the second pass
        for watcher in watchers:
            watcher.see((self._layers[i], output) for i, output in answers)
            watcher.end(number, loss, lambda: self._again(x, y))
        return loss

    def _again(self, x: Any, y: Any) -> Any:
        with no_grad():
            return self.loss_of(self.model(x), y)


def _function(step: Callable) -> Callable:
    return step.function if isinstance(step, Captured) else step
