"""The messages of event files, written: what number each field has, and how what we record becomes one of them.

Field numbers are those of tensorboard/compat/proto (event.proto, summary.proto, histogram.proto, tensor.proto) and of
tensorboard/plugins/hparams/plugin_data.proto. A message is written as the sum of its fields.

    Event      1 wall_time (double)  2 step  3 file_version (text)  5 summary  7 session_log
    Summary    1 value, repeated
    Value      1 tag  2 simple_value (float)  4 image  5 histo  8 tensor  9 metadata
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

from monitor.exporters.tensorboard.protobuf import chunk, double, doubles, integer, single
from monitor.histograms import LIMITS, Histogram

VERSION = "brain.Event:2"  # the first event of every file
PNG = b"\x89PNG\r\n\x1a\n"
SESSION_START, SESSION_END = "_hparams_/session_start_info", "_hparams_/session_end_info"
FLOAT, STRING = 1, 7  # types of tensors
START = 1  # of a session: what was recorded before at this step or later no longer counts
SUCCESS, FAILURE, RUNNING = 1, 2, 3  # how a session ended
ENDED = {"finished": SUCCESS, "running": RUNNING, "failed": FAILURE, "crashed": FAILURE, "interrupted": FAILURE}
TENSOR_CLASS = 2
COLOURSPACE = {0: 1, 4: 2, 2: 3, 6: 4}  # of an Image, by the colour type of a PNG: grey, grey + opacity, RGB, RGBA


def file_version(wall_time: float) -> bytes:
    """The event that a file begins with."""
    return double(1, wall_time) + chunk(3, VERSION)


def restart(wall_time: float, step: int) -> bytes:
    """An event that makes readers forget what they have read at this step and later."""
    return double(1, wall_time) + integer(2, step) + chunk(7, integer(1, START))


def summary(wall_time: float, step: int, values: list[bytes]) -> bytes:
    """An event that holds values, which the functions below make."""
    return double(1, wall_time) + integer(2, step) + chunk(5, b"".join(chunk(1, value) for value in values))


def scalar(tag: str, value: float) -> bytes:
    """A number, as 32 bits: that is all this field holds."""
    return chunk(1, tag) + single(2, value)


def histogram(tag: str, histogram: Histogram) -> bytes:
    """A histogram in our bins. Least, greatest, sum and sum of squares are known to within a bin, a factor of 1.78.

    Fields: 1 min  2 max  3 num  4 sum  5 sum_squares  6 bucket_limit  7 bucket, where bucket i ends at its limit and begins
    at the one before, the first one at min. Empty bins next to each other become one bucket.
    """
    limits, counts = [], []
    edge = None
    for index, count in histogram.bins.items():
        left, right = edges(index)
        if edge is not None and edge != left:
            limits.append(left)
            counts.append(0.0)
        limits.append(right)
        counts.append(float(count))
        edge = right
    least = edges(next(iter(histogram.bins)))[0] if histogram.bins else 0.0
    middle = [(_middle(index), count) for index, count in histogram.bins.items()]
    total, squares = sum(x * n for x, n in middle), sum(x * x * n for x, n in middle)
    content = double(1, least) + double(2, limits[-1] if limits else 0.0) + double(3, float(histogram.total))
    content += double(4, float(total)) + double(5, float(squares))
    content += doubles(6, limits or [0.0]) + doubles(7, counts or [0.0])
    return chunk(1, tag) + chunk(5, content)


def edges(index: int) -> tuple[float, float]:
    """Where a bin of ours begins and ends."""
    if index == 0:
        return -float(LIMITS[0]), float(LIMITS[0])
    inner, outer = float(LIMITS[abs(index) - 1]), float(LIMITS[abs(index)])
    return (inner, outer) if index > 0 else (-outer, -inner)


def _middle(index: int) -> float:
    """The middle of a bin on its logarithmic scale."""
    return math.copysign(10 ** ((abs(index) - 0.5) / 4 - 12), index) if index else 0.0


def image(tag: str, png: bytes, caption: str = "") -> bytes:
    """A picture: 1 height  2 width  3 colorspace  4 the file itself. A PNG says its size and colours in bytes 16 to 25."""
    width, height, _, colour = struct.unpack_from(">IIBB", png.ljust(26, b"\0"), 16)
    content = integer(1, height) + integer(2, width) + integer(3, COLOURSPACE.get(colour, 3)) + chunk(4, png)
    return chunk(1, tag) + chunk(4, content) + chunk(9, chunk(1, chunk(1, "images")) + chunk(3, caption))


def text(tag: str, content: str) -> bytes:
    """A text, which TensorBoard shows as Markdown: a tensor of one string."""
    tensor = integer(1, STRING) + chunk(2, b"") + chunk(8, content)
    return chunk(1, tag) + chunk(8, tensor) + _plugin("text", b"")


def session_start(config: Mapping[str, bool | int | float | str], wall_time: float) -> bytes:
    """The hyperparameters: a map from names to values (1 hparams), and 5 start_time_secs."""
    pairs = b"".join(chunk(1, chunk(1, name) + chunk(2, _value(value))) for name, value in config.items())
    return _hyperparameters(SESSION_START, 3, pairs + double(5, wall_time))


def session_end(status: str, wall_time: float) -> bytes:
    """How training ended: 1 status, 2 end_time_secs."""
    return _hyperparameters(SESSION_END, 4, integer(1, ENDED.get(status, 0)) + double(2, wall_time))


def _value(value: Any) -> bytes:
    """google.protobuf.Value: 2 number, 3 text, 4 boolean. A number must be finite, so that it can be shown as JSON."""
    if isinstance(value, bool):
        return integer(4, value)
    try:
        return chunk(3, value) if isinstance(value, str) else double(2, float(value))
    except OverflowError:  # an integer beyond all floats
        return chunk(3, str(value))


def _hyperparameters(tag: str, number: int, content: bytes) -> bytes:
    """A value that says nothing but in its metadata, as the hyperparameters plugin wants it: its tensor is empty."""
    nothing = integer(1, FLOAT) + chunk(2, chunk(2, b""))
    return chunk(1, tag) + chunk(8, nothing) + _plugin("hparams", chunk(number, content))


def _plugin(name: str, content: bytes) -> bytes:
    """Metadata: 1 plugin_data (1 plugin_name, 2 content), 4 data_class."""
    return chunk(9, chunk(1, chunk(1, name) + chunk(2, content)) + integer(4, TENSOR_CLASS))
