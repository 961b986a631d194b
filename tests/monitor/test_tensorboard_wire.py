"""The bytes of event files: varints and fields, records and their checksums, and what damage does to them."""

import contextlib
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.exporters.tensorboard import protobuf
from monitor.exporters.tensorboard.protobuf import MalformedError, Message, chunk, double, doubles, integer, single, varint
from monitor.exporters.tensorboard.records import crc32c, frame, masked, read_records

# Messages ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "00"),
        (1, "01"),
        (127, "7f"),
        (128, "8001"),
        (300, "ac02"),
        (2**63 - 1, "ffffffffffffffff7f"),
        (-1, "ffffffffffffffffff01"),
        (-(2**63), "80808080808080808001"),
    ],
)
def test_varints_are_those_of_the_specification(value, expected):
    assert varint(value).hex() == expected
    assert Message(integer(3, value)).integer(3) == value


def test_floats_are_little_endian():
    assert double(1, 1.5).hex() == "09000000000000f83f"
    assert single(2, 1.5).hex() == "150000c03f"
    assert doubles(6, [1.5, -1.5]).hex() == "3210000000000000f83f000000000000f8bf"


@pytest.mark.parametrize(
    ("value", "read"),
    [(1e300, math.inf), (-1e300, -math.inf), (1e-300, 0.0), (0.1, 0.10000000149011612), (math.inf, math.inf)],
)
def test_what_a_float_of_32_bits_holds(value, read):
    assert Message(single(2, value)).single(2) == read
    assert math.isnan(Message(single(2, math.nan)).single(2))


def test_text_that_is_no_utf8_becomes_an_escape():
    assert Message(chunk(1, "a\ud800b")).text(1) == "a\\ud800b"
    assert Message(chunk(1, "日本\x00")).text(1) == "日本\x00"
    assert Message(chunk(1, b"\xff")).text(1) == "\ufffd"


def test_missing_fields_have_the_default_of_their_type_and_the_last_of_several_counts():
    empty = Message(b"")
    assert (empty.integer(1), empty.double(2), empty.single(3), empty.chunk(4), empty.text(5), 6 in empty) == (
        0,
        0,
        0,
        b"",
        "",
        False,
    )
    assert empty.message(7).integer(1) == 0
    message = Message(integer(1, 5) + integer(1, 6) + chunk(2, "a") + chunk(2, "b"))
    assert (message.integer(1), list(message.all(2))) == (6, [b"a", b"b"])


def test_unknown_fields_of_every_type_are_stepped_over():
    message = Message(integer(100, 7) + double(101, 1) + chunk(102, "x" * 300) + single(103, 1) + integer(1, 5))
    assert message.integer(1) == 5


def test_repeated_numbers_are_read_packed_or_not():
    assert Message(doubles(1, [1.0, 2.0])).doubles(1) == [1.0, 2.0]
    assert Message(double(1, 1.0) + double(1, 2.0)).doubles(1) == [1.0, 2.0]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"\x08", "does not end"),
        (b"\x08" + b"\x80" * 11, "does not end"),
        (b"\x0a\x05abc", "has only 3"),
        (b"\x0a" + varint(2**63), "has only 0"),
        (b"\x09abc", "has only 3"),
        (b"\x0d", "has only 0"),
        (b"\x0b", "wire type 3"),
        (b"\x0c", "wire type 4"),
        (b"\x0f", "wire type 7"),
    ],
)
def test_what_is_no_message(data, error):
    with pytest.raises(MalformedError, match=error):
        Message(data)


def test_fields_of_another_type_are_refused():
    message = Message(integer(1, 1) + chunk(2, "abc"))
    for read in (
        lambda: message.chunk(1),
        lambda: message.integer(2),
        lambda: message.double(2),
        lambda: message.single(1),
    ):
        with pytest.raises(MalformedError, match="field [12] is"):
            read()
    with pytest.raises(MalformedError, match="no whole number of values of 8 bytes"):
        message.doubles(2)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_an_error(data):
    with contextlib.suppress(MalformedError):
        list(protobuf.fields(data))


@given(st.lists(st.tuples(st.integers(1, 2**29 - 1), st.one_of(st.integers(0, 2**64 - 1), st.binary(max_size=20)))))
def test_fields_are_read_back(fields):
    data = b"".join(integer(n, v) if isinstance(v, int) else chunk(n, v) for n, v in fields)
    assert list(protobuf.fields(data)) == fields


# Records ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "crc"),  # RFC 3720, B.4
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"", 0),
    ],
)
def test_crc32c_is_that_of_the_standard(data, crc):
    assert crc32c(data) == crc


def test_a_record_byte_by_byte():
    record = frame(b"abc")
    assert record[:8] == struct.pack("<Q", 3)
    assert record[12:15] == b"abc"
    assert struct.unpack("<I", record[8:12])[0] == masked(record[:8])
    assert struct.unpack("<I", record[15:])[0] == masked(b"abc")
    assert masked(b"123456789") == 0xC78AB0E5  # 0xe3069283 rotated right by 15, plus 0xa282ead8; as TensorBoard has it


PAYLOADS = [b"", b"one", b"\x00" * 40, bytes(range(256))]
FILE = b"".join(map(frame, PAYLOADS))
ENDS = [sum(len(p) + 16 for p in PAYLOADS[:n]) for n in range(len(PAYLOADS) + 1)]


def test_cut_at_every_byte_all_whole_records_are_read():
    for cut in range(len(FILE) + 1):
        payloads, problems = read_records(FILE[:cut])
        whole = sum(end <= cut for end in ENDS[1:])
        assert payloads == PAYLOADS[:whole]
        left = cut - ENDS[whole]
        assert problems == ([f"from byte {ENDS[whole]} on, {left} bytes are no whole record"] if left else [])


def test_every_flipped_bit_is_noticed_and_costs_one_record_or_the_rest():
    for at in range(len(FILE)):
        for bit in range(0, 8, 3):
            damaged = bytearray(FILE)
            damaged[at] ^= 1 << bit
            payloads, problems = read_records(bytes(damaged))
            hit = next(n for n in range(len(PAYLOADS)) if at < ENDS[n + 1])
            in_payload = at >= ENDS[hit] + 12
            assert payloads == PAYLOADS[:hit] + (PAYLOADS[hit + 1 :] if in_payload else [])
            said = "does not match its checksum" if in_payload else "are no whole record"
            assert len(problems) == 1
            assert said in problems[0]


def test_a_record_that_claims_to_be_huge_is_refused_before_anything_is_made():
    length = struct.pack("<Q", 2**62)
    payloads, problems = read_records(frame(b"good") + length + struct.pack("<I", masked(length)) + b"x" * 100)
    assert payloads == [b"good"]
    assert problems == ["from byte 20 on, 112 bytes are no whole record"]


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_passed_over(data):
    payloads, problems = read_records(data)
    assert sum(len(p) + 16 for p in payloads) == len(data) or problems or not data
