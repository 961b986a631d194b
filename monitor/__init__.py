"""How training is seen: a recorder that loses nothing, metrics, callbacks, pictures.

This package imports NumPy; Matplotlib, rich and safetensors only when a picture, a progress line or a checkpoint is
made. It takes numbers, arrays and objects with state_dict(), and knows nothing of tinynet, so it serves any training
loop. Read recorder.py first.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from monitor.callbacks import Callback, CSVLog, EarlyStopping, ReduceOnPlateau
from monitor.checkpoints import Checkpoint, load_checkpoint
from monitor.histograms import Histogram
from monitor.progress import Progress
from monitor.recorder import Recorder, Run, load_runs
from monitor.store import RecorderError
from monitor.watch import Watcher

if TYPE_CHECKING:
    from monitor.doctor import Doctor, Finding, Report, diagnose
    from monitor.errors import error_analysis
    from monitor.pictures import (
        plot_confusion_matrix,
        plot_decision_boundary,
        plot_decision_film,
        plot_fit,
        plot_histograms,
        plot_layers,
        plot_learning_curves,
    )
    from monitor.report import write_report

# What looks at a run afterwards is imported when it is asked for: a training need not wait for it.
LATER = {
    "monitor.doctor": ("Doctor", "Finding", "Report", "diagnose"),
    "monitor.errors": ("error_analysis",),
    "monitor.pictures": (
        "plot_confusion_matrix", "plot_decision_boundary", "plot_decision_film", "plot_fit", "plot_histograms",
        "plot_layers", "plot_learning_curves",
    ),
    "monitor.report": ("write_report",),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    for module, names in LATER.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'monitor' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "CSVLog", "Callback", "Checkpoint", "Doctor", "EarlyStopping", "Finding", "Histogram", "Progress", "Recorder",
    "RecorderError", "ReduceOnPlateau", "Report", "Run", "Watcher", "diagnose", "error_analysis", "load_checkpoint",
    "load_runs", "plot_confusion_matrix", "plot_decision_boundary", "plot_decision_film", "plot_fit",
    "plot_histograms", "plot_layers", "plot_learning_curves", "write_report",
]  # fmt: skip
