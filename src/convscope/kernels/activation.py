"""Activations that the kernels know, as native/convscope.h counts them."""

from collections.abc import Callable
from typing import Final, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Activation = Literal["none", "relu", "tanh", "abs", "gelu", "sigmoid"]
"""What a stage can apply to its sums."""

ACTIVATIONS: Final[tuple[Activation, ...]] = (
    "none",
    "relu",
    "tanh",
    "abs",
    "gelu",
    "sigmoid",
)


def _same(z: Tensor) -> Tensor:
    return z


IN_TORCH: Final[dict[Activation, Callable[[Tensor], Tensor]]] = {
    "none": _same,
    "relu": F.relu,
    "tanh": torch.tanh,
    "abs": torch.abs,
    "gelu": F.gelu,
    "sigmoid": torch.sigmoid,
}
