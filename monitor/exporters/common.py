"""What all exporters share: a recorded event as other tools know it, with names and values that they take.

Other tools know numbers by name and step. So the numbers of a layer get names of their own, such as
"layer_grad_norm/fc1", and a nested configuration gets flat names with dots, such as "optimizer.lr".
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from monitor import store
from monitor.run import Run

LONGEST = 1e9  # seconds, thirty years: an event after so long has a damaged time


class Sink:
    """What the sinks of this package begin with: `where` says where the run went, `picture` finds a figure's bytes.

    A Recorder calls open, write for every event, finish and close; so does `export`, for all of a run in one go.
    """

    where: Path | str | None = None
    replaying = False  # by export: the events of all segments come, less what was trained again

    def __init__(self) -> None:
        self.pictures: dict[str, bytes] = {}  # of a run in memory, where they are known
        self.folder: Path | None = None  # of a run on disk
        self.resumed = False  # recorded to a sink before, perhaps

    def open(self, meta: Mapping[str, Any], path: Path | None) -> None:
        self.folder, self.seconds = path, clock(meta)
        self.resumed = bool(meta.get("segments")) and not self.replaying
        self.began = self.seconds({"g": -1 if self.resumed else 0})

    def write(self, event: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def finish(self, meta: Mapping[str, Any]) -> None:
        """The run has ended."""

    def close(self) -> None:
        """Let go of files and connections; the last call."""

    def abandon(self) -> None:
        """The export has failed: close, and take back what was written where that is possible."""
        self.close()

    def picture(self, event: Mapping[str, Any]) -> bytes | None:
        """The PNG file of a figure event; None if it is not there, or is outside the run's folder."""
        figures = Run({}, [dict(event)], self.folder, pictures=self.pictures).figures()
        return figures[0].read() if figures else None


def scalars(event: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of an event by name; those of a layer event are called "layer_<quantity>/<layer>".

    >>> scalars({"k": "layer", "d": {"names": ["fc1", "fc2"], "grad_norm": [0.5, None]}})
    {'layer_grad_norm/fc1': 0.5}
    """
    if event["k"] in store.SCALARS:
        return {name: store.decode_number(value) for name, value in event["d"].items()}
    return {f"layer_{quantity}/{layer}": value for quantity, layer, value in layer_cells(event)}


def layer_cells(event: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
    """(quantity, layer, value) of a layer event, less what does not apply; nothing of other events."""
    data = event["d"]
    names = data.get("names")
    for quantity, values in data.items() if event["k"] == "layer" and isinstance(names, list) else ():
        if quantity == "names" or not isinstance(values, list) or len(values) != len(names):
            continue
        for layer, value in zip(names, values, strict=True):
            with contextlib.suppress(TypeError, ValueError, OverflowError):  # None, or damaged: readers pass it over, too
                yield quantity, str(layer), store.decode_number(value)


def utf8(text: Any) -> str:
    """Text as UTF-8 can hold it: JSON may have halves of characters, which become escapes."""
    return str(text).encode(errors="backslashreplace").decode()


def remark(event: Mapping[str, Any]) -> str | None:
    """The text of a note, or of a finding as a block of Markdown, which these tools show; None of other events."""
    if event["k"] == "note":
        return utf8(event["d"].get("text", ""))
    if event["k"] != "finding":
        return None
    return f"```\n{utf8(json.dumps(event['d'], indent=2, ensure_ascii=False))}\n```"


def flat(config: Any, prefix: str = "") -> dict[str, bool | int | float | str]:
    """A nested configuration with flat names; what is neither a number nor text becomes JSON text.

    >>> flat({"optimizer": {"name": "adam", "lr": 0.1}, "sizes": [2, 16], "seed": None})
    {'optimizer.name': 'adam', 'optimizer.lr': 0.1, 'sizes': '[2, 16]', 'seed': 'null'}
    """
    found: dict[str, bool | int | float | str] = {}
    for key, value in config.items() if isinstance(config, Mapping) else ():
        name, value = utf8(f"{prefix}{key}"), store.encode(value)
        if isinstance(value, dict) and value and prefix.count(".") < 8:
            found.update(flat(value, f"{name}."))
        else:
            number = isinstance(value, bool | int | float)
            found[name] = value if number else utf8(value if isinstance(value, str) else json.dumps(value))
    return found


def clock(meta: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], float]:
    """A function that says when an event was recorded, in seconds since 1970: when its segment began, and event["t"]."""
    earlier = meta.get("segments")
    began = [s.get("started") if isinstance(s, dict) else None for s in earlier] if isinstance(earlier, list) else []
    origins = [_seconds(text) for text in [*began, meta.get("resumed") or meta.get("started")]]

    def at(event: Mapping[str, Any]) -> float:
        passed = event.get("t")
        passed = passed if isinstance(passed, int | float) and 0 <= passed < LONGEST else 0.0
        known = 0 <= event["g"] < len(origins)
        return origins[event["g"] if known else -1] + passed

    return at


def identity(meta: Mapping[str, Any], path: Path) -> str:
    """Sixteen characters that are the same for all segments of a run, and for no other run: folder, start and process."""
    first = next(iter(meta.get("segments") or [meta]))
    facts = [path.name, first.get("started"), first.get("process")] if isinstance(first, dict) else [path.name]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _seconds(text: Any) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError, OverflowError, OSError):
        return 0.0


class Names:
    """Names that another tool takes, one for each of ours: `clean` changes a name, and a number tells equals apart.

    >>> names = Names(lambda name: name.replace("<", "_"))
    >>> names("a<b"), names("a_b"), names("a<b")
    ('a_b', 'a_b_2', 'a_b')
    """

    def __init__(self, clean: Callable[[str], str], taken: tuple[str, ...] = ()):
        self._clean = clean
        self._given: dict[str, str] = {}
        self._times: dict[str, int] = dict.fromkeys(taken, 1)

    def __call__(self, name: str) -> str:
        if name not in self._given:
            self._given[name] = self._free(self._clean(utf8(name)))
        return self._given[name]

    def _free(self, wanted: str) -> str:
        free = wanted
        while free in self._times:
            self._times[wanted] += 1
            free = f"{wanted}_{self._times[wanted]}"
        self._times[free] = 1
        return free
