"""The all convolutional net: strides in place of pooling."""

from torch import nn

from convscope.arithmetic import PaddingMode
from convscope.errors import ArgumentError
from convscope.models.card import ModelCard, register
from convscope.models.initialization import convolutions_and_linears, kaiming
from convscope.models.space import Space

# Channels in widths, kernel, stride, padding; dropout follows each stride.
LAYERS = (
    (1, 3, 1, 1), (1, 3, 1, 1), (1, 3, 2, 1),
    (2, 3, 1, 1), (2, 3, 1, 1), (2, 3, 2, 1),
    (2, 3, 1, 0), (2, 1, 1, 0),
)  # fmt: skip


@register(
    ModelCard(
        name="all_conv",
        summary="convolutions only; strides in place of pooling",
        source="Springenberg, Dosovitskiy, Brox and Riedmiller 2015, Striving for "
        "Simplicity: The All Convolutional Net, table 1, All-CNN-C",
        differs=("Kaiming's first weights; the paper does not give its own",),
        input_shape=(3, 32, 32),
        num_classes=10,
        parameters=1_369_738,
        multiply_adds=270_798_336,
        min_size=9,
        axes=(1, 2, 3),
    )
)
def all_conv(
    num_classes: int,
    in_channels: int,
    input_size: tuple[int, ...],
    width: int = 96,
    dropout: float = 0.5,
    input_dropout: float = 0.2,
    padding_mode: PaddingMode = "zeros",
) -> nn.Sequential:
    """Nine convolutions; the maps of the last one are the classes.

    ``width`` is the channels of the first layers, later ones have twice as many;
    ``input_dropout`` is of the image, ``dropout`` of what a stride leaves.

    >>> import torch
    >>> net = all_conv(10, 3, (32, 32), width=8)
    >>> net(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 10])
    """
    if width < 1:
        raise ArgumentError(f"all_conv: width={width} must be at least 1.")
    space = Space(input_size, padding_mode)
    layers: list[nn.Module] = [nn.Dropout(input_dropout)]
    channels = in_channels
    for times, kernel_size, stride, padding in LAYERS:
        conv = space.conv(channels, times * width, kernel_size, stride, padding)
        layers += [conv, nn.ReLU()]
        channels = times * width
        if stride > 1:
            layers.append(nn.Dropout(dropout))
    layers += [space.conv(channels, num_classes, 1), nn.ReLU()]
    net = nn.Sequential(*layers, space.average_to(1), nn.Flatten())
    for kernel in convolutions_and_linears(net)[0]:
        kaiming(kernel, "fan_in")
    return net
