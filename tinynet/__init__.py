"""tinynet: a deep-learning engine in plain NumPy that you can read in an afternoon.

Read it in this order: rules.py (the table of derivatives), graph.py (walking back), tensor.py, layers.py, training.py;
then the siblings `optimizers` and `monitor`.
"""

from typing import TYPE_CHECKING, Any

import monitor
import optimizers
from tinynet import datasets, functional, preprocessing
from tinynet.anomaly import detect_anomaly
from tinynet.autodiff import grad, gradients, hessian, hvp, jacobian, jvp, value_and_grad, vjp
from tinynet.backend import DeviceError, DeviceMemoryError, get_default_dtype, set_default_dtype, use_device
from tinynet.capture import CaptureWarning, capture
from tinynet.drawing import draw_graph
from tinynet.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    l1_loss,
    log_softmax,
    logsumexp,
    mse_loss,
    relu,
    sigmoid,
    softmax,
)
from tinynet.gradcheck import GradcheckError, gradcheck
from tinynet.graph import AnomalyError, ChangedArrayError, GraphReleasedError, no_grad
from tinynet.layers import (
    MLP,
    Activation,
    BatchNorm1d,
    Dropout,
    LayerNorm,
    Linear,
    Module,
    Parameter,
    ReLU,
    Sequential,
    Sigmoid,
    Tanh,
)
from tinynet.messages import ShapeError, no_attribute_of_tinynet
from tinynet.tensor import Tensor
from tinynet.training import evaluate, fit, predict

if TYPE_CHECKING:
    from tinynet.comparison import Comparison, compare, search

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """compare, search and Comparison are imported when they are asked for: who trains one net needs none of that."""
    if name not in ("Comparison", "compare", "search"):
        raise no_attribute_of_tinynet(name, functional, optimizers)
    from tinynet import comparison

    return getattr(comparison, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "MLP",
    "Activation",
    "AnomalyError",
    "BatchNorm1d",
    "CaptureWarning",
    "ChangedArrayError",
    "Comparison",
    "DeviceError",
    "DeviceMemoryError",
    "Dropout",
    "GradcheckError",
    "GraphReleasedError",
    "LayerNorm",
    "Linear",
    "Module",
    "Parameter",
    "ReLU",
    "Sequential",
    "ShapeError",
    "Sigmoid",
    "Tanh",
    "Tensor",
    "binary_cross_entropy_with_logits",
    "capture",
    "compare",
    "cross_entropy",
    "datasets",
    "detect_anomaly",
    "draw_graph",
    "evaluate",
    "fit",
    "functional",
    "get_default_dtype",
    "grad",
    "gradcheck",
    "gradients",
    "hessian",
    "huber_loss",
    "hvp",
    "jacobian",
    "jvp",
    "l1_loss",
    "log_softmax",
    "logsumexp",
    "monitor",
    "mse_loss",
    "no_grad",
    "optimizers",
    "predict",
    "preprocessing",
    "relu",
    "search",
    "set_default_dtype",
    "sigmoid",
    "softmax",
    "use_device",
    "value_and_grad",
    "vjp",
]  # fmt: skip
