"""How a run lies on disk, and how it survives a crash.

    runs/<time>-<name>/
      run.json         what was run: config, versions, command line, process, started, ended, status
      events.jsonl     what happened: one JSON object per line, appended by a single write each
      val_loss.npy     the validation loss of every example at every evaluation (per_example.py)
      figures/         pictures that were logged, as PNG files
      checkpoints/     step-NNNNNNNN.safetensors with step-NNNNNNNN.json; last.json and best.json say which is which

An event is {"v":1,"k":kind,"s":step,"e":epoch,"t":seconds,"g":segment,"d":{...}}. Non-finite numbers are the strings
"nan", "inf" and "-inf", since JSON has none. Whole files (run.json, checkpoints) are written beside their place, synced,
and renamed into it, so that they are there complete or not at all. Nothing is ever unpickled. Every field is described in
docs/run-format.md.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import numbers
import os
import platform
import re
import stat
import sys
from pathlib import Path
from typing import Any, BinaryIO

SCHEMA = 1
KINDS = ("start", "step", "eval", "layer", "histogram", "val_loss", "figure", "finding", "note", "checkpoint", "stop")
SCALARS = ("step", "eval")  # the kinds of events whose data are numbers by name
MEASURED = (*SCALARS, "layer", "histogram")  # what a resumed training measures anew
REPLACED = (*MEASURED, "val_loss", "figure", "finding")  # what a resumed training makes obsolete
TYPES = (("k", str), ("s", int), ("e", (int, float, str, type(None))), ("d", dict))  # what readers rely on in an event
NONFINITE = ("nan", "inf", "-inf")
DEEPEST = 100  # levels of a JSON file; what is recorded has ten or so
BINARY = getattr(os, "O_BINARY", 0)  # Windows would write every line end as two bytes


class RecorderError(OSError):
    """A run could not be written or read; the message names the path and the reason."""


def encode(value: Any) -> Any:
    """`value` in strict JSON: NumPy numbers and arrays become Python's, non-finite floats become strings."""
    kind = type(value)
    if kind is float:  # first, since nearly all are
        return value if math.isfinite(value) else str(value)
    if kind is str or kind is int or value is None:
        return value
    if isinstance(value, dict):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):  # of numbers or None, nearly always
        return [i if i is None or (type(i) is float and math.isfinite(i)) else encode(i) for i in value]
    if isinstance(value, str | bool | int):
        return value
    if hasattr(value, "tolist") and type(plain := value.tolist()) is not kind:
        return encode(plain)
    if isinstance(value, numbers.Real):  # also extended precision, whose tolist() is itself
        number = float(value)
        return number if math.isfinite(number) else str(number)
    return repr(value)


def decode_number(value: Any) -> float:
    """A number as `encode` wrote it; TypeError for anything else.

    >>> decode_number("-inf"), decode_number(3)
    (-inf, 3.0)
    """
    if isinstance(value, str) and value not in NONFINITE:
        raise TypeError(f"{value!r} is no number")
    return float(value)  # float("nan"), float("inf") and float("-inf") are what the strings mean


_compact = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def event_line(event: dict[str, Any]) -> bytes:
    """An event as its line of events.jsonl."""
    try:
        line = _compact(event)  # nearly always
    except (TypeError, ValueError):  # NumPy's numbers and arrays, or some that are not finite
        line = _compact({**event, "d": encode(event["d"])})
    return line.encode() + b"\n"


def append(descriptor: int, line: bytes) -> None:
    """Write the whole line, in one piece if the system takes it so; returns when the system has it."""
    rest = memoryview(line)  # slices without copying: a checkpoint may be large
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def read_events(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Every readable event, in order, and the number of lines that were not (a crash may tear the last one)."""
    return parse_lines(read_bytes(path)) if os.path.lexists(path) else ([], 0)


def parse_lines(content: bytes) -> tuple[list[dict[str, Any]], int]:
    """The events in some lines, and the number of those that are not readable."""
    events, bad = [], 0
    for line in filter(None, content.split(b"\n")):  # b"": Recorder._append
        try:
            events.append(parse_event(line))
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            bad += 1
    return events, bad


class Tail:
    """Follows an events.jsonl that grows. A line of which only a part is there is left for the next time."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.unreadable = 0
        self.offset = 0  # how much of the file has been taken

    def take(self, file: BinaryIO, end: int | None = None) -> None:
        """Add what is new, up to so many bytes from the beginning."""
        file.seek(self.offset)
        new = file.read(-1 if end is None else end - self.offset)
        new = new[: new.rfind(b"\n") + 1]
        self.offset += len(new)
        events, bad = parse_lines(new)
        self.events += events
        self.unreadable += bad


def read_bytes(path: Path) -> bytes:
    """What is in a file; only in a plain one, since a pipe would be waited for and a device never ends."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise RecorderError(f"{str(path)!r} is not a file")
        return path.read_bytes()
    except OSError as error:
        if isinstance(error, RecorderError):
            raise
        raise RecorderError(f"cannot read {str(path)!r}: {error.strerror or error}") from None


def parse_event(line: bytes | str) -> dict[str, Any]:
    """The event in a line of events.jsonl, with its fields "e" and "g" even where the line leaves them out.

    An error (ValueError, TypeError, AttributeError, OverflowError or RecursionError) if it is no JSON, or a field is
    missing, of another type, or of a later version.

    >>> parse_event('{"v":1,"k":"step","s":3,"d":{"lr":"inf"}}')["e"] is None
    True
    """
    event = json.loads(line)
    if not all(isinstance(event.get(key), kind) for key, kind in TYPES) or event.get("v", 1) != 1:
        raise TypeError
    for number in (event["s"], event.setdefault("g", 0)):
        if type(number) is not int or not -(2**63) <= number < 2**63:
            raise TypeError
    if event.setdefault("e") is not None:
        decode_number(event["e"])
    for value in event["d"].values() if event["k"] in SCALARS else ():
        decode_number(value)
    return event


def write_whole(path: Path, content: bytes) -> None:
    """Put a file in place complete or not at all: temporary file, fsync, rename, fsync of the folder."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
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
        value = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise RecorderError(f"{path} is not readable JSON: {error}") from None
    if not isinstance(value, dict):
        raise RecorderError(f"{path} should hold a JSON object, it holds a {type(value).__name__}")
    if _deeper(value, DEEPEST):
        raise RecorderError(f"{path} is nested more than {DEEPEST} levels deep: nothing that is recorded is")
    return value


def _deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects lie in each other more than so many levels deep."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(_deeper(part, levels - 1) for part in inside)


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


def add_file(folder: Path, stem: str, ending: str, content: bytes) -> str:
    """Write a new file into a folder, and return its name: the first free of stem, stem-2, stem-3 ..."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise RecorderError(f"cannot make the folder {str(folder)!r}: {error.strerror}") from None
    attempts = (f"{stem}{ending}" if attempt == 1 else f"{stem}-{attempt}{ending}" for attempt in itertools.count(1))
    name = next(name for name in attempts if not os.path.lexists(folder / name))
    write_whole(folder / name, content)
    return name


def folder_name(name: str) -> str:
    """`name` as part of a folder's name: whatever could be a path, hidden or a control character becomes a dash.

    >>> folder_name("../lr=0.1 <b>")
    'lr-0.1-b'
    """
    safe = re.sub(r"[^\w.+-]+", "-", name).encode()[:200].decode(errors="ignore")  # file systems allow 255 bytes
    return safe.strip("-.") or "run"


def sweep(folder: Path) -> None:
    """Delete what a killed process left of whole files it was writing; only whoever holds the run's lock may."""
    for path in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            path.unlink()


# Who writes -----------------------------------------------------------------------------------------------------------


def open_events(path: Path) -> int:
    """A descriptor that appends to events.jsonl, and is the only one that does so."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | BINARY, 0o666)  # less what the umask takes away
    except OSError as error:
        raise RecorderError(f"cannot record in {str(path.parent)!r}: {error.strerror}") from None
    if not lock(descriptor):
        os.close(descriptor)
        raise RecorderError(f"{str(path.parent)!r} is being recorded by another Recorder: finish that one first")
    return descriptor


def lock(descriptor: int) -> bool:
    """Take the lock of a file, unless someone has it. The system gives it back when the descriptor or its process ends."""
    if sys.platform == "win32":
        import msvcrt

        try:
            os.lseek(descriptor, 2**40, os.SEEK_SET)  # beyond the end: what Windows locks, nobody can read
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: process_is_alive must do
        return True
    return True


def ends_torn(descriptor: int) -> bool:
    """Whether the file's last line lacks its end."""
    size = os.lseek(descriptor, 0, os.SEEK_END)
    if not size:
        return False
    os.lseek(descriptor, size - 1, os.SEEK_SET)
    return os.read(descriptor, 1) != b"\n"


def this_process() -> dict[str, Any]:
    """What run.json says about who writes: {"pid", "host", "began"}."""
    return {"pid": os.getpid(), "host": platform.node(), "began": process_began(os.getpid())}


def process_began(pid: int) -> str | None:
    """When a process began, which tells it from a later one of the same number; "" if it has ended, None if unknown.

    On Linux the start in clock ticks and the boot since which they are counted, elsewhere what `ps` says.
    """
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()  # a name may have spaces
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return "" if state in (b"Z", b"X") else f"{boot} {int(fields[18])}"  # a zombie only waits to be buried
    except (OSError, ValueError, IndexError):
        return _began_by_ps(pid)


def _began_by_ps(pid: int) -> str | None:
    import subprocess

    command, environment = ["ps", "-o", "lstart=", "-p", str(pid)], {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=5, env=environment)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


def process_is_alive(process: Any) -> bool | None:
    """Whether the process that wrote a run still runs; None if it ran on another machine, or nobody can say."""
    if not isinstance(process, dict):
        return False
    if process.get("host") != platform.node() or os.name == "nt":  # on Windows kill(pid, 0) would be a Ctrl-C
        return None
    try:
        pid = int(process["pid"])
        if pid <= 0:  # means a group of processes
            return False
        os.kill(pid, 0)
    except PermissionError:
        pass
    except (OSError, KeyError, ValueError, TypeError, OverflowError):
        return False
    began, now = process.get("began"), process_began(pid)
    return now != "" and (began is None or now is None or began == now)
