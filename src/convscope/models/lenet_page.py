"""The network of the digit page: a drawing runs through every layer of it."""

import math

from torch import nn

from convscope.arithmetic import PaddingMode
from convscope.layers import Conv2d
from convscope.models.card import ModelCard, register
from convscope.models.lenet5 import border, map_size


@register(
    ModelCard(
        name="lenet_page",
        summary="the network of the digit page, ReLU",
        source="Harley 2015, An Interactive Node-Link Visualization of "
        "Convolutional Neural Networks",
        differs=("ReLU in place of the scaled tanh",),
        input_shape=(1, 32, 32),
        num_classes=10,
        parameters=63_802,
        multiply_adds=418_600,
        min_size=12,
    )
)
def lenet_page(
    num_classes: int,
    in_channels: int,
    input_size: tuple[int, int],
    padding_mode: PaddingMode = "zeros",
) -> nn.Sequential:
    """Two stages of convolution, ReLU and pooling; layers of 120 and 100.

    >>> import torch
    >>> net = lenet_page(10, 1, (28, 28))
    >>> net(torch.zeros(1, 1, 28, 28)).shape
    torch.Size([1, 10])
    """
    pad = border(input_size)
    return nn.Sequential(
        Conv2d(in_channels, 6, 5, padding=pad, padding_mode=padding_mode), nn.ReLU(),
        nn.MaxPool2d(2),                                           # (6, 14, 14)
        Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),              # (16, 5, 5)
        nn.Flatten(),
        nn.Linear(16 * math.prod(map_size(input_size)), 120), nn.ReLU(),
        nn.Linear(120, 100), nn.ReLU(),
        nn.Linear(100, num_classes),
    )  # fmt: skip
