"""LeNet-5 as it is commonly built today."""

from torch import nn

from convscope.arithmetic import PaddingMode, output_size
from convscope.layers import Conv2d
from convscope.models.card import ModelCard, register


def border(input_size: tuple[int, int]) -> int:
    """Zero padding of the first layer: 2 below 32 pixels, as 28x28 digits had."""
    return 2 if min(input_size) < 32 else 0


def map_size(input_size: tuple[int, int]) -> tuple[int, int]:
    """Height and width after two rounds of 5x5 convolution and 2x2 pooling."""
    pad = border(input_size)

    def along(size: int) -> int:
        first = output_size(size, 5, padding=(pad, pad))
        second = output_size(output_size(first, 2, stride=2), 5)
        return output_size(second, 2, stride=2)

    return along(input_size[0]), along(input_size[1])


@register(
    ModelCard(
        name="lenet5",
        summary="the classic for digits, tanh",
        source="LeCun, Bottou, Bengio and Haffner 1998, Gradient-based learning "
        "applied to document recognition, figure 2",
        differs=(
            "C3 sees all maps of S2",
            "max pooling without weights",
            "linear output layer",
            "C5 spans whatever map the input size leaves",
        ),
        input_shape=(1, 32, 32),
        num_classes=10,
        parameters=61_706,
        multiply_adds=416_520,
        min_size=12,
    )
)
def lenet5(
    num_classes: int,
    in_channels: int,
    input_size: tuple[int, int],
    padding_mode: PaddingMode = "zeros",
) -> nn.Sequential:
    """Three convolutions, two poolings, two fully connected layers.

    >>> import torch
    >>> net = lenet5(10, 1, (28, 28))
    >>> net(torch.zeros(1, 1, 28, 28)).shape
    torch.Size([1, 10])
    """
    pad = border(input_size)
    return nn.Sequential(
        Conv2d(in_channels, 6, 5, padding=pad, padding_mode=padding_mode),       # C1
        nn.Tanh(), nn.MaxPool2d(2),                                   # S2: (6, 14, 14)
        Conv2d(6, 16, 5), nn.Tanh(), nn.MaxPool2d(2),              # C3 S4: (16, 5, 5)
        Conv2d(16, 120, map_size(input_size)), nn.Tanh(), nn.Flatten(),           # C5
        nn.Linear(120, 84), nn.Tanh(),                                       # F6
        nn.Linear(84, num_classes),
    )  # fmt: skip
