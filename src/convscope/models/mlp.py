"""A network without convolution, for comparison."""

import math

from torch import nn

from convscope.errors import ArgumentError
from convscope.models.card import ModelCard, register


@register(
    ModelCard(
        name="mlp",
        summary="two hidden layers, no convolution",
        source="Simard, Steinkraus and Platt 2003, Best Practices for CNNs",
        differs=("two hidden layers of 256, not one of 800", "ReLU"),
        input_shape=(1, 28, 28),
        num_classes=10,
        parameters=269_322,
        multiply_adds=268_800,
        min_size=1,
        axes=(1, 2, 3),
    )
)
def mlp(
    num_classes: int,
    in_channels: int,
    input_size: tuple[int, ...],
    hidden: int = 256,
    dropout: float = 0.0,
) -> nn.Sequential:
    """Flattened pixels through two hidden layers of ``hidden`` units.

    >>> mlp(10, 1, (8, 8), hidden=16)[1]
    Linear(in_features=64, out_features=16, bias=True)
    """
    if hidden < 1:
        raise ArgumentError(f"mlp: hidden={hidden} must be at least 1.")
    if not 0 <= dropout < 1:
        raise ArgumentError(f"mlp: dropout={dropout} must be in [0, 1).")
    inputs = in_channels * math.prod(input_size)
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(dropout),
        nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout),
        nn.Linear(hidden, num_classes),
    )  # fmt: skip
