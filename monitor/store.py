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
import os
import re
import secrets
from pathlib import Path
from typing import Any

SCHEMA = 1


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
    if hasattr(value, "tolist"):
        return encode(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return repr(value)


def decode_number(value: Any) -> float:
    """A number as `encode` wrote it."""
    return float(value)  # float("nan"), float("inf") and float("-inf") are what the strings mean


def event_line(event: dict[str, Any]) -> bytes:
    """An event as its line of events.jsonl."""
    return json.dumps(event, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def append(descriptor: int, line: bytes) -> None:
    """Write the whole line at the end of the file (opened with O_APPEND); returns when the system has it."""
    while line:
        line = line[os.write(descriptor, line) :]


def read_events(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Every readable event, in order, and the number of lines that were not (a crash may tear the last one)."""
    events, bad = [], 0
    with contextlib.suppress(FileNotFoundError):
        for line in path.read_bytes().splitlines():
            try:
                event = json.loads(line)
                events.append({"k": event["k"], "s": event["s"], "d": dict(event["d"]), **event})
            except (ValueError, KeyError, TypeError):
                bad += 1
    return events, bad


def write_whole(path: Path, content: bytes) -> None:
    """Put a file in place complete or not at all: temporary file, fsync, rename, fsync of the folder."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(path.parent)


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
    except ValueError as error:
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
    """`name` as part of a folder's name: whatever could be a path, hidden or a control character becomes a dash."""
    return re.sub(r"[^\w.+-]+", "-", name).strip("-.") or "run"


def process_is_alive(process: dict[str, Any]) -> bool | None:
    """Whether the process that wrote a run still runs; None if it ran on another machine."""
    import socket

    if process.get("host") != socket.gethostname():
        return None
    try:
        os.kill(int(process["pid"]), 0)
    except (ProcessLookupError, KeyError, ValueError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
