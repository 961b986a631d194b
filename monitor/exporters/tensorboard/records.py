"""Records: how event files keep messages apart, and notice damage.

    length   8 bytes, little-endian
    masked CRC-32C of these 8 bytes      4 bytes
    payload  as many bytes as the length says
    masked CRC-32C of the payload        4 bytes

The length has a checksum of its own, so a damaged payload costs one record; a damaged length costs the rest of the file,
since nothing says where the next record begins. Source: tensorflow/core/lib/io/record_writer.h; CRC-32C is RFC 3720 B.4.

>>> payloads, problems = read_records(frame(b"one") + frame(b"two")[:-1])
>>> payloads, problems
([b'one'], ['from byte 19 on, 18 bytes are no whole record'])
"""

from __future__ import annotations

import struct

HEADER = struct.Struct("<QI")


def _table() -> list[int]:
    """The remainder of every byte: the Castagnoli polynomial, its bits from the lowest to the highest."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ 0x82F63B78 * (value & 1)
        table.append(value)
    return table


TABLE = _table()


def crc32c(data: bytes) -> int:
    """The CRC-32C (Castagnoli) of some bytes.

    >>> hex(crc32c(b"123456789"))     # the check value of every catalogue of CRCs
    '0xe3069283'
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    """The checksum as records hold it: rotated and moved, since the CRC of data with a CRC inside is no good check."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def frame(payload: bytes) -> bytes:
    """A payload as a record."""
    length = struct.pack("<Q", len(payload))
    return length + struct.pack("<I", masked(length)) + payload + struct.pack("<I", masked(payload))


def read_records(data: bytes) -> tuple[list[bytes], list[str]]:
    """(payloads that are whole, what was passed over and why, in words)."""
    payloads, problems = [], []
    at = 0
    while at < len(data):
        rest = len(data) - at
        length, check = HEADER.unpack_from(data, at) if rest >= HEADER.size else (rest, 0)
        if length > rest - HEADER.size - 4 or check != masked(data[at : at + 8]):
            problems.append(f"from byte {at} on, {rest} bytes are no whole record")
            break
        begin = at + HEADER.size
        payload = data[begin : begin + length]
        if struct.unpack_from("<I", data, begin + length)[0] == masked(payload):
            payloads.append(payload)
        else:
            problems.append(f"the record at byte {at} does not match its checksum")
        at = begin + length + 4
    return payloads, problems
