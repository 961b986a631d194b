"""How a run lies on disk, and how it survives a crash.

    runs/<time>-<name>/
      run.json         what was run: config, versions, command line, process, started, ended, status
      events.jsonl     what happened: one JSON object per line, appended by a single write each
      checkpoints/     step-NNNNNNNN.safetensors with step-NNNNNNNN.json; last.json and best.json say which is which

An event is {"v":1,"k":kind,"s":step,"e":epoch,"t":seconds,"g":segment,"d":{...}}. Non-finite numbers are the strings
"nan", "inf" and "-inf", since JSON has none. Whole files (run.json, checkpoints) are written beside their place, synced,
and renamed into it, so that they are there complete or not at all. Nothing is ever unpickled.
"""

from __future__ import annotations

import contextlib
import json
import math
import numbers
import os
import re
import secrets
from pathlib import Path
from typing import Any

SCHEMA = 1
SCALARS = ("step", "eval")  # the kinds of events whose data are numbers by name
TYPES = (("k", str), ("s", int), ("e", (int, float, type(None))), ("d", dict))  # what readers rely on in an event
BINARY = getattr(os, "O_BINARY", 0)  # Windows would write every line end as two bytes


class RecorderError(OSError):
    """A run could not be written or read; the message names the path and the reason."""


def encode(value: Any) -> Any:
    """`value` in strict JSON: NumPy numbers and arrays become Python's, non-finite floats become strings."""
    if isinstance(value, dict):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    if isinstance(value, str | bool | int) or value is None:
        return value
    if hasattr(value, "tolist") and type(plain := value.tolist()) is not type(value):
        return encode(plain)
    if isinstance(value, numbers.Real):  # also extended precision, whose tolist() is itself
        number = float(value)
        return number if math.isfinite(number) else str(number)
    return repr(value)


def decode_number(value: Any) -> float:
    """A number as `encode` wrote it."""
    return float(value)  # float("nan"), float("inf") and float("-inf") are what the strings mean


def event_line(event: dict[str, Any]) -> bytes:
    """An event as its line of events.jsonl."""
    return json.dumps(event, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def append(descriptor: int, line: bytes) -> None:
    """Write the whole line, in one piece if the system takes it so; returns when the system has it."""
    rest = memoryview(line)  # slices without copying: a checkpoint may be large
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def read_events(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Every readable event, in order, and the number of lines that were not (a crash may tear the last one)."""
    events, bad = [], 0
    with contextlib.suppress(FileNotFoundError):
        for line in filter(None, path.read_bytes().split(b"\n")):  # an empty one: see Recorder._append
            try:
                events.append(_checked(json.loads(line)))
            except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
                bad += 1
    return events, bad


def _checked(event: Any) -> dict[str, Any]:
    """An event from a file, or an error if something is missing or of another type."""
    if not all(isinstance(event.get(key), kind) for key, kind in TYPES):
        raise TypeError
    for value in event["d"].values() if event["k"] in SCALARS else ():
        decode_number(value)
    return event


def write_whole(path: Path, content: bytes) -> None:
    """Put a file in place complete or not at all: temporary file, fsync, rename, fsync of the folder."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        _write_synced(temporary, content)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise RecorderError(f"cannot write {str(path)!r}: {error.strerror or error}") from None
        raise


def _write_synced(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY, 0o666)
    try:
        append(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; Windows cannot open folders, and needs no such thing."""
    with contextlib.suppress(PermissionError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Put a JSON file in place, complete or not at all."""
    write_whole(path, json.dumps(encode(value), indent=2, allow_nan=False).encode() + b"\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file."""
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise RecorderError(f"{path} is not readable JSON: {error}") from None
    if not isinstance(value, dict):
        raise RecorderError(f"{path} should hold a JSON object, it holds a {type(value).__name__}")
    return value


def new_folder(root: Path, name: str) -> Path:
    """Make and return the first free folder root/name, root/name-2, root/name-3 ..."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, 10_000):
            folder = root / (name if attempt == 1 else f"{name}-{attempt}")
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                continue
    except OSError as error:
        raise RecorderError(
            f"cannot make a run folder in {str(root)!r}: {error.strerror}. "
            "Choose a folder that you may write to, or record in memory only with root=None"
        ) from None
    raise RecorderError(f"there are already 10,000 runs called {name!r} in {str(root)!r}")


def folder_name(name: str) -> str:
    """`name` as part of a folder's name: whatever could be a path, hidden or a control character becomes a dash.

    >>> folder_name("../lr=0.1 <b>")
    'lr-0.1-b'
    """
    safe = re.sub(r"[^\w.+-]+", "-", name).encode()[:200].decode(errors="ignore")  # file systems allow 255 bytes
    return safe.strip("-.") or "run"


def process_is_alive(process: dict[str, Any]) -> bool | None:
    """Whether the process that wrote a run still runs; None if it ran on another machine, or nobody can say."""
    import socket

    if process.get("host") != socket.gethostname() or os.name == "nt":  # on Windows kill(pid, 0) would be a Ctrl-C
        return None
    try:
        os.kill(int(process["pid"]), 0)
    except (ProcessLookupError, KeyError, ValueError, TypeError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
