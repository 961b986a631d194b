"""val_loss.npy: the validation loss of every example at every evaluation, which is what makes paired tests possible.

A NumPy file of float32 [rows, examples] that grows by a row at a time. First the row is written behind the others, then
the header that counts it, so at any moment the file is whole for np.load, and what a crash has torn is beyond what the
header counts: the next row is written over it. Which row belongs to which step is said in events.jsonl.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from monitor import store

MOST = 10_000  # examples: of more, every second is kept, or every third ...
ROOM = 2**28  # bytes, after which no row is added
HEADER = 128  # bytes: NumPy leaves room in it for the number of rows to grow
ROW = np.dtype("<f4")


def thinned(losses: np.ndarray) -> tuple[np.ndarray, int]:
    """(losses, k): every k-th of them, so that no more than MOST are left; k = 1 is all.

    >>> losses, every = thinned(np.zeros(25_000))
    >>> len(losses), every
    (8334, 3)
    """
    every = max(1, -(-len(losses) // MOST))
    return np.ascontiguousarray(losses[::every], ROW), every


def append_row(path: Path, row: np.ndarray) -> int:
    """Add a row to the file and return its number, counted from 0; RecorderError if it does not fit in."""
    flags = os.O_RDWR | os.O_CREAT | store.BINARY | getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(path, flags, 0o666)
        with open(descriptor, "r+b") as file:
            if not os.fstat(descriptor).st_size:
                file.write(_header(0, len(row)))
                file.seek(0)
            rows = _rows(file.read(HEADER), len(row))
            if HEADER + (rows + 1) * row.nbytes > ROOM:
                raise store.RecorderError(f"{path.name} would be larger than {ROOM // 2**20} MB")
            file.seek(HEADER + rows * row.nbytes)
            file.write(row.tobytes())
            file.flush()
            file.seek(0)
            file.write(_header(rows + 1, len(row)))
    except OSError as error:
        if isinstance(error, store.RecorderError):
            raise
        raise store.RecorderError(f"cannot write {str(path)!r}: {error.strerror or error}") from None
    return rows


def read_rows(path: Path) -> np.ndarray:
    """All whole rows of the file, [rows, examples]; none if it is not such a file, or is not there."""
    none = np.zeros((0, 0), ROW)
    try:
        content = b"" if path.is_symlink() else store.read_bytes(path)  # never out of the run's folder
        rows, examples = _shape(content[:HEADER])
    except (store.RecorderError, ValueError):
        return none
    if examples < 1:
        return none
    there = min(rows, (len(content) - HEADER) // (examples * ROW.itemsize))  # the rest may be cut off
    return np.frombuffer(content, ROW, there * examples, HEADER).reshape(there, examples)


def _header(rows: int, examples: int) -> bytes:
    header = io.BytesIO()
    about: Any = {"shape": (rows, examples), "fortran_order": False, "descr": ROW.str}
    np.lib.format.write_array_header_1_0(header, about)
    return header.getvalue()


def _shape(header: bytes) -> tuple[int, int]:
    """(rows, examples) of a header that is as `_header` writes it; ValueError for any other."""
    file = io.BytesIO(header)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("another version")
    shape, _, _ = np.lib.format.read_array_header_1_0(file)
    if len(shape) != 2 or header != _header(*shape):  # of another order or type, say
        raise ValueError("another kind of array")
    return shape


def _rows(header: bytes, examples: int) -> int:
    """How many rows the file has; RecorderError if its rows are not of so many examples."""
    try:
        rows, others = _shape(header)
    except ValueError as error:
        raise store.RecorderError(f"val_loss.npy is not a file of losses: {error}") from None
    if others != examples:
        raise store.RecorderError(f"the rows of val_loss.npy are of {others} examples, these are {examples} losses")
    return rows
