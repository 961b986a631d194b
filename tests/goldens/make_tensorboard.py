"""Make tests/goldens/tensorboard: event files of other writers, which ours must read.

    python tests/goldens/make_tensorboard.py      needs torch and tensorboard

torch/ is what torch.utils.tensorboard.SummaryWriter writes; keras/ is what TensorFlow's summaries, and so Keras, write
(everything a tensor), made with TensorBoard's own messages.
"""

import io
import shutil
from importlib.metadata import version
from pathlib import Path

import numpy as np
from matplotlib.image import imsave
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.histogram.summary_v2 import histogram_pb
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util import tensor_util
from torch.utils.tensorboard import SummaryWriter

ROOT = Path(__file__).parent / "tensorboard"
VALUES = np.random.default_rng(0).normal(size=200)


def torch_writer() -> None:
    """Numbers, a histogram, a picture, text; then, as after a crash, again from step 3 on; and hyperparameters."""
    with SummaryWriter(str(ROOT / "torch")) as writer:
        for step in range(1, 5):
            writer.add_scalar("train/loss", 0.1 * step, step, walltime=1_767_225_600 + step)
        writer.add_scalar("bad", float("nan"), 4, walltime=1_767_225_604)
        writer.add_histogram("weights", VALUES, 2, walltime=1_767_225_602)
        writer.add_image("picture", np.eye(3, dtype=np.float32)[None], 2, walltime=1_767_225_602)
        writer.add_text("remark", "a *note*", 2, walltime=1_767_225_602)
    with SummaryWriter(str(ROOT / "torch"), purge_step=3, filename_suffix=".2") as writer:
        writer.add_scalar("train/loss", -3.0, 3, walltime=1_767_225_700)
        writer.add_hparams({"lr": 0.1, "name": "adam", "flag": True}, {"hp/metric": 1.0}, run_name=".")


def keras_writer() -> None:
    """One of everything, at step 7."""
    size_and_file = tensor_util.make_tensor_proto([b"3", b"2", png(np.zeros((2, 3)))])
    summaries = [
        scalar_pb("epoch_loss", 0.25),
        histogram_pb("kernel", VALUES, buckets=10),
        text_pb("remark", "a note"),
        Summary(value=[Summary.Value(tag="picture", metadata=plugin("images"), tensor=size_and_file)]),
        Summary(
            value=[
                Summary.Value(tag="curve", metadata=plugin("pr_curves"), tensor=tensor_util.make_tensor_proto([1.0, 2.0]))
            ]
        ),
        hparams_pb({"units": 16, "lr": 0.5}, start_time_secs=1_767_225_600.0),
    ]
    writer = EventFileWriter(str(ROOT / "keras"))
    for i, summary in enumerate(summaries):
        writer.add_event(Event(wall_time=1_767_225_600.0 + i, step=7, summary=summary))
    writer.close()


def plugin(name: str) -> SummaryMetadata:
    return SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=name))


def png(grey: np.ndarray) -> bytes:
    out = io.BytesIO()
    imsave(out, grey, cmap="gray", format="png")
    return out.getvalue()


if __name__ == "__main__":
    shutil.rmtree(ROOT, ignore_errors=True)
    torch_writer()
    keras_writer()
    for i, file in enumerate(sorted(ROOT.rglob("*tfevents*"))):  # without the time and the name of a machine
        file.rename(file.with_name(f"events.out.tfevents.{1_767_225_600 + i}.golden"))
    (ROOT / "versions.txt").write_text(f"torch {version('torch')}, tensorboard {version('tensorboard')}\n")
