"""TensorBoard's event files, written and read by ourselves.

A file is a row of records (records.py); each holds a message in the format of Protocol Buffers (protobuf.py). writing.py
and reading.py know the messages; sink.py writes a run while it is recorded.
"""

from monitor.exporters.tensorboard.reading import import_tensorboard, read_tensorboard
from monitor.exporters.tensorboard.sink import TensorBoardSink, event_files

__all__ = ["TensorBoardSink", "event_files", "import_tensorboard", "read_tensorboard"]
