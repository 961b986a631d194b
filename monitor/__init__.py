"""How training is seen: a recorder that loses nothing, metrics, callbacks, pictures.

This package imports NumPy; Matplotlib, rich and safetensors only when a picture, a progress line or a checkpoint is
made. It takes numbers, arrays and objects with state_dict(), and knows nothing of tinynet, so it serves any training
loop. Read recorder.py first.
"""

from monitor.callbacks import Callback, CSVLog, EarlyStopping, ReduceOnPlateau
from monitor.checkpoints import Checkpoint, load_checkpoint
from monitor.doctor import Doctor, Finding, Report, diagnose
from monitor.errors import error_analysis
from monitor.histograms import Histogram
from monitor.pictures import (
    plot_confusion_matrix,
    plot_decision_boundary,
    plot_decision_film,
    plot_fit,
    plot_histograms,
    plot_layers,
    plot_learning_curves,
)
from monitor.progress import Progress
from monitor.recorder import Recorder, Run, load_runs
from monitor.report import write_report
from monitor.store import RecorderError
from monitor.watch import Watcher

__all__ = [
    "CSVLog", "Callback", "Checkpoint", "Doctor", "EarlyStopping", "Finding", "Histogram", "Progress", "Recorder",
    "RecorderError", "ReduceOnPlateau", "Report", "Run", "Watcher", "diagnose", "error_analysis", "load_checkpoint",
    "load_runs", "plot_confusion_matrix", "plot_decision_boundary", "plot_decision_film", "plot_fit",
    "plot_histograms", "plot_layers", "plot_learning_curves", "write_report",
]  # fmt: skip
