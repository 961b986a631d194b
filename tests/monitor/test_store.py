"""What lies on disk: strict JSON of any value, torn and garbled lines survived, whole files complete or absent.

Faults are injected into the calls to the system (write, fsync, replace), one after the other, until none is left.
"""

import errno
import fractions
import json
import math
import os
import re
import stat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from monitor import RecorderError, store

# Values -----------------------------------------------------------------------------------------------------------------


def strict(text):
    """The value in a JSON text, refusing the NaN and Infinity that Python would let pass."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (math.nan, "nan"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (np.float32(math.nan), "nan"),
        (np.float64(0.5), 0.5),
        (np.float16(0.25), 0.25),
        (np.longdouble(1.5), 1.5),
        (np.longdouble("-inf"), "-inf"),
        (np.int8(-3), -3),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.bool_(True), True),
        (True, True),
        (None, None),
        (np.str_("é"), "é"),
        (fractions.Fraction(1, 4), 0.25),
        (np.array([[1.0, math.nan], [math.inf, -0.0]]), [[1.0, "nan"], ["inf", -0.0]]),
        (np.array(3), 3),
        (np.array([], float), []),
        (np.array([1, math.inf], np.longdouble), [1.0, "inf"]),
        (np.array(["a", 1, None], object), ["a", 1, None]),
        ((1, (2.0, [3])), [1, [2.0, [3]]]),
        ({1: {None: math.nan}}, {"1": {"None": "nan"}}),
        (1 + 2j, "(1+2j)"),
        (np.clongdouble(1), repr(np.clongdouble(1))),
        (Path("a") / "b", repr(Path("a/b"))),
        (print, repr(print)),
    ],
    ids=repr,
)
def test_values_become_strict_json(value, written):
    assert strict(json.dumps(store.encode(value), allow_nan=False)) == written


def test_an_array_keeps_its_sign_of_zero_and_its_kind_of_number():
    assert str(store.encode(np.array([-0.0, 1.0]))) == "[-0.0, 1.0]"
    assert str(store.encode(np.array([0, 1]))) == "[0, 1]"


def test_a_line_is_strict_json_whatever_the_data():
    data = {"loss": math.nan, "list": [1.0, -math.inf], "array": np.arange(2), 3: np.float32(0.5)}
    assert store.event_line({"d": data}) == b'{"d":{"loss":"nan","list":[1.0,"-inf"],"array":[0,1],"3":0.5}}\n'


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def same(value, read):
    """Whether `read` is `value` after the trip: equal, with non-finite numbers as strings."""
    if isinstance(value, dict):
        return list(value) == list(read) and all(same(value[k], read[k]) for k in value)
    if isinstance(value, list):
        return len(value) == len(read) and all(map(same, value, read))
    if isinstance(value, float):
        number = store.decode_number(read)
        return math.isnan(number) if math.isnan(value) else number == value and isinstance(read, float | str)
    return type(value) is type(read) and value == read


@given(VALUES)
@example({"\ud800": "\x00\u2028</script>"})
def test_round_trip(value):
    line = store.event_line({"d": store.encode(value)})
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert line.isascii()  # so that no cut can fall inside a character
    assert same(value, strict(line)["d"])


@given(st.floats(width=32))
def test_float32_survives_bit_for_bit(value):
    read = np.float32(store.decode_number(strict(json.dumps(store.encode(np.float32(value))))))
    np.testing.assert_array_equal(read, np.float32(value))


# Lines ------------------------------------------------------------------------------------------------------------------

EVENTS = [
    {"v": 1, "k": "step", "s": s, "e": None, "t": s / 8, "g": 0, "d": {"train/loss": 1 / (s + 1), "é": "nan"}}
    for s in range(12)
]
LINES = [store.event_line(event) for event in EVENTS]


def test_a_file_cut_anywhere_gives_every_whole_line(tmp_path):
    content, file = b"".join(LINES), tmp_path / "events.jsonl"
    ends = np.cumsum([len(line) for line in LINES])
    for cut in range(len(content) - 300, len(content) + 1):
        file.write_bytes(content[:cut])
        events, bad = store.read_events(file)
        whole = int(np.searchsorted(ends - 1, cut, side="right"))  # a line is whole without its line end, too
        assert events == EVENTS[:whole]
        assert bad == (cut > (ends[whole - 1] if whole else 0))


GARBLED = [
    b"\x00" * 40,
    b"\xff\xfe garbage",
    b"null",
    b"7",
    b'"text"',
    b"[]",
    b"{}",
    b"[" * 100_000,
    b'{"k":"step","s":1}',
    b'{"k":"step","s":"1","d":{}}',
    b'{"k":["step"],"s":1,"d":{}}',
    b'{"k":"step","s":1,"d":[["loss",1]]}',
    b'{"k":"step","s":1,"e":"one","d":{}}',
    b'{"k":"step","s":1,"d":{"loss":"low"}}',
    b'{"k":"eval","s":1,"d":{"loss":[1]}}',
    b'{"k":"eval","s":1,"d":{"loss":1' + b"0" * 400 + b"}}",
    b'{"k":"step","s":1,"d":{"loss":0.5}',
    LINES[3][:-9] + LINES[4][:-1],
]


@pytest.mark.parametrize("garbled", GARBLED, ids=lambda line: repr(line[:40]))
def test_a_garbled_line_is_counted_and_costs_no_other(tmp_path, garbled):
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"".join(LINES[:5]) + garbled + b"\n" + b"".join(LINES[5:]))
    assert store.read_events(file) == (EVENTS, 1)


def test_empty_lines_are_nothing_and_a_missing_file_has_no_events(tmp_path):
    file = tmp_path / "events.jsonl"
    assert store.read_events(file) == ([], 0)
    file.write_bytes(b"\n\n" + LINES[0] + b"\n" + LINES[1])
    assert store.read_events(file) == (EVENTS[:2], 0)


@settings(max_examples=150)
@given(st.data())
def test_any_damage_is_survived(tmp_path_factory, data):
    content = bytearray(b"".join(LINES))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file = tmp_path_factory.mktemp("damage") / "events.jsonl"
    file.write_bytes(content)
    events, _ = store.read_events(file)
    assert len(events) >= len(LINES) - 2 * 3  # one byte can spoil two lines at most: the end between them
    for event in events:
        assert isinstance(event["s"], int)
        assert all(isinstance(store.decode_number(value), float) for value in event["d"].values() if event["k"] == "step")


def test_short_writes_are_completed(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, bytes(data)[:7]))
    with open(tmp_path / "events.jsonl", "ab") as file:
        for line in LINES:
            store.append(file.fileno(), line)
    assert store.read_events(tmp_path / "events.jsonl") == (EVENTS, 0)


# Whole files ------------------------------------------------------------------------------------------------------------


def fail_at(monkeypatch, name, turn, error):
    """Make the turn-th call of os.<name> raise; returns the list of calls made."""
    original, calls = getattr(os, name), []

    def call(*args):
        calls.append(args)
        if len(calls) == turn:
            raise error
        return original(*args)

    monkeypatch.setattr(os, name, call)
    return calls


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()], ids=["EIO", "Ctrl-C"])
@pytest.mark.parametrize("name", ["open", "write", "fsync", "replace"])
def test_a_whole_file_is_complete_or_absent(tmp_path, monkeypatch, name, error):
    file, old, new = tmp_path / "run.json", b"old " * 10, b"new " * 2000
    for turn in range(1, 10):
        file.write_bytes(old)
        raised = None
        with monkeypatch.context() as patch:
            calls = fail_at(patch, name, turn, error)
            try:
                store.write_whole(file, new)
            except BaseException as caught:
                raised = caught
        if raised is None:
            break
        if isinstance(error, OSError):
            assert isinstance(raised, RecorderError)
            assert str(raised) == f"cannot write {str(file)!r}: Input/output error"
        renamed = name in ("open", "fsync") and turn == 2  # only the folder's turn was left
        assert file.read_bytes() == (new if renamed else old)
        assert os.listdir(tmp_path) == ["run.json"]
    assert file.read_bytes() == new
    assert len(calls) == turn - 1 == {"open": 2, "write": 1, "fsync": 2, "replace": 1}[name]  # every one has failed once


def test_a_short_write_before_the_failure_leaves_nothing(tmp_path, monkeypatch):
    write = os.write
    turns = iter([True, False])

    def half(descriptor, data):
        if next(turns):
            return write(descriptor, bytes(data)[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(RecorderError, match="No space left on device"):
        store.write_whole(tmp_path / "run.json", b"x" * 100)
    assert os.listdir(tmp_path) == []


def test_the_new_content_is_synced_before_it_takes_the_place(tmp_path, monkeypatch):
    order = []
    for name in ("fsync", "replace"):
        original = getattr(os, name)

        def call(*args, name=name, original=original):
            order.append(name)
            return original(*args)

        monkeypatch.setattr(os, name, call)
    store.write_whole(tmp_path / "run.json", b"x")
    assert order == ["fsync", "replace", "fsync"]  # the file, the rename, the folder


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_follow_the_umask(tmp_path, umask, mode):
    from monitor import Recorder

    before = os.umask(umask)
    try:
        recorder = Recorder(tmp_path / "runs", name="mode")
    finally:
        os.umask(before)
    for name in ("run.json", "events.jsonl"):
        assert stat.S_IMODE((recorder.path / name).stat().st_mode) == mode
    recorder.finish()


def test_json_files(tmp_path):
    file = tmp_path / "a.json"
    store.write_json(file, {"x": np.array([1.0, math.nan])})
    assert store.read_json(file) == {"x": [1.0, "nan"]}
    for content, text in [
        (b"{", "is not readable JSON"),
        (b"\xff\xfe\xfa", "is not readable JSON"),
        (b"[" * 100_000, "is not readable JSON"),
        (b"[]", "should hold a JSON object, it holds a list"),
    ]:
        file.write_bytes(content)
        with pytest.raises(RecorderError, match=text) as raised:
            store.read_json(file)
        assert str(file) in str(raised.value)


# Folders ----------------------------------------------------------------------------------------------------------------

HOSTILE = ["", ".", "..", "...", "/", "../../etc/passwd", "a/b\\c", ".hidden", "-rf", "a\x00b\x1b[2J\nc", "\ud800"]
HOSTILE += [
    "<script>alert(1)</script>",
    "C:\\x",
    "a" * 5000,
    "日本" * 400,
    "\u202etxt",
    " ",
    "CON",
    "a:b|c*?",
    "x" * 199 + "/..",
]


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name[:20]))
def test_folder_names_are_harmless(tmp_path, name):
    safe = store.folder_name(name)
    assert re.fullmatch(r"[\w+][\w.+-]*", safe)
    assert len(safe.encode()) <= 200
    folder = store.new_folder(tmp_path, "20260101-120000-" + safe)
    assert folder.resolve().parent == tmp_path.resolve()
    assert folder.is_dir()


@given(st.text())
def test_any_text_makes_a_folder_name(name):
    safe = store.folder_name(name)
    assert re.fullmatch(r"[\w+][\w.+-]*", safe)
    assert not safe.endswith((".", "-"))


def test_good_names_stay():
    assert store.folder_name("moons_v1.2+adam-é") == "moons_v1.2+adam-é"
    assert store.folder_name("..") == "run"


def test_a_taken_name_is_numbered(tmp_path):
    names = [store.new_folder(tmp_path / "deep" / "runs", "moons").name for _ in range(3)]
    assert names == ["moons", "moons-2", "moons-3"]


def test_a_root_that_cannot_be_made_is_an_error_that_says_what_to_do(tmp_path):
    (tmp_path / "file").write_text("in the way")
    root = tmp_path / "file" / "runs"
    with pytest.raises(RecorderError) as raised:
        store.new_folder(root, "moons")
    assert str(raised.value) == (
        f"cannot make a run folder in {str(root)!r}: Not a directory. "
        "Choose a folder that you may write to, or record in memory only with root=None"
    )


# Processes --------------------------------------------------------------------------------------------------------------


def test_whether_a_process_is_alive():
    import socket

    here = {"host": socket.gethostname()}
    assert store.process_is_alive({**here, "pid": os.getpid()}) is True
    assert store.process_is_alive({"pid": os.getpid(), "host": "another machine"}) is None
    for pid in (None, "x", [], 2**100, 2**22 + 1):  # the last is above Linux' largest
        assert store.process_is_alive({**here, "pid": pid}) is False
    assert store.process_is_alive(here) is False
