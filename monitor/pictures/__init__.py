"""All pictures: of a run (curves.py, inside.py), of a model's answers (answers.py) and of its errors (errors.py).

Functions that return Matplotlib Figures, in the one style of style.py. Matplotlib is imported when one is drawn.
"""

from monitor.pictures.answers import plot_confusion_matrix, plot_decision_boundary, plot_decision_film, plot_fit
from monitor.pictures.curves import plot_learning_curves
from monitor.pictures.inside import plot_histograms, plot_layers

__all__ = [
    "plot_confusion_matrix", "plot_decision_boundary", "plot_decision_film", "plot_fit", "plot_histograms", "plot_layers",
    "plot_learning_curves",
]  # fmt: skip
