"""Protocol Buffers, as little as event files need: how a message becomes bytes, and bytes a message.

A message is a row of fields. A field is a key, then its value. The key is the varint of `number << 3 | wire type`, and the
wire type says how long the value is, so that a reader can step over fields that it does not know:

    0  varint   integers, booleans, enumerations: seven bits to a byte, the lowest first; the high bit says "more follow"
    1  64 bits  double, little-endian
    2  chunk    a varint length, then as many bytes: text, bytes, another message, or numbers "packed" one after the other
    5  32 bits  float, little-endian

Which number means what is no part of the bytes: writing.py and reading.py have the tables. Source: "Encoding" in the
Protocol Buffers documentation, protobuf.dev/programming-guides/encoding.

>>> integer(1, 150).hex(), chunk(2, "testing").hex()     # the examples of that page
('089601', '120774657374696e67')
>>> message = Message(integer(1, 150) + chunk(2, "testing"))
>>> message.integer(1), message.text(2)
(150, 'testing')
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator

VARINT, DOUBLE, CHUNK, SINGLE = 0, 1, 2, 5


class MalformedError(ValueError):
    """Bytes that are no message, or a field of another type than expected."""


# Writing --------------------------------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    """An integer of 64 bits; a negative one is written as its two's complement, in ten bytes."""
    value &= 2**64 - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def integer(number: int, value: int) -> bytes:
    """A field of an integer, a boolean or an enumeration."""
    return varint(number << 3 | VARINT) + varint(value)


def double(number: int, value: float) -> bytes:
    """A field of a float of 64 bits."""
    return varint(number << 3 | DOUBLE) + struct.pack("<d", value)


def single(number: int, value: float) -> bytes:
    """A field of a float of 32 bits: about seven digits; what is too large for it becomes infinite."""
    try:
        packed = struct.pack("<f", value)
    except OverflowError:
        packed = struct.pack("<f", math.copysign(math.inf, value))
    return varint(number << 3 | SINGLE) + packed


def chunk(number: int, value: bytes | str) -> bytes:
    """A field of bytes, of a message, which is bytes already, or of text: as UTF-8, and what cannot be as an escape."""
    value = value.encode(errors="backslashreplace") if isinstance(value, str) else value
    return varint(number << 3 | CHUNK) + varint(len(value)) + value


def doubles(number: int, values: Iterable[float]) -> bytes:
    """A repeated field of floats of 64 bits, packed."""
    values = list(values)
    return chunk(number, struct.pack(f"<{len(values)}d", *values))


# Reading --------------------------------------------------------------------------------------------------------------


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of every field in order: an integer for a varint, bytes for all others.

    MalformedError, as soon as it is reached, where the bytes are no field.
    """
    at = 0
    while at < len(data):
        key, at = _varint_at(data, at)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, at = _varint_at(data, at)
            yield number, value
            continue
        if wire == CHUNK:
            size, at = _varint_at(data, at)
        elif wire in (DOUBLE, SINGLE):
            size = 8 if wire == DOUBLE else 4
        else:
            raise MalformedError(f"a field has the wire type {wire}")
        if size > len(data) - at:
            raise MalformedError(f"a field of {size} bytes has only {len(data) - at}")
        yield number, data[at : at + size]
        at += size


def _varint_at(data: bytes, at: int) -> tuple[int, int]:
    """(value, where the next byte is) of the varint at a place."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), at
    raise MalformedError("an integer does not end")


class Message:
    """A message's fields by number. Where one is repeated the last counts; where it is missing, the default of its type."""

    def __init__(self, data: bytes):
        self.bytes = data
        self._last = dict(fields(data))

    def __contains__(self, number: int) -> bool:
        return number in self._last

    def integer(self, number: int) -> int:
        value = self._last.get(number, 0)
        if not isinstance(value, int):
            raise MalformedError(f"field {number} is no integer")
        return value - 2**64 if value >= 2**63 else value

    def double(self, number: int) -> float:
        return struct.unpack("<d", self._sized(number, 8))[0]

    def single(self, number: int) -> float:
        return struct.unpack("<f", self._sized(number, 4))[0]

    def chunk(self, number: int) -> bytes:
        return self._sized(number)

    def text(self, number: int) -> str:
        return self._sized(number).decode(errors="replace")

    def message(self, number: int) -> Message:
        return Message(self._sized(number))

    def all(self, number: int) -> Iterator[bytes]:
        """Every chunk of a repeated field."""
        return (value for key, value in fields(self.bytes) if key == number and isinstance(value, bytes))

    def doubles(self, number: int) -> list[float]:
        """A repeated double, packed or not."""
        return numbers(b"".join(self.all(number)), "d")

    def _sized(self, number: int, size: int | None = None) -> bytes:
        value = self._last.get(number, bytes(size or 0))
        if not isinstance(value, bytes) or (size is not None and len(value) != size):
            raise MalformedError(f"field {number} is of another type")
        return value


def numbers(data: bytes, kind: str) -> list:
    """Little-endian numbers one after the other; `kind` as in the standard library's struct."""
    size = struct.calcsize(kind)
    if len(data) % size:
        raise MalformedError(f"{len(data)} bytes are no whole number of values of {size} bytes")
    return list(struct.unpack(f"<{len(data) // size}{kind}", data))
