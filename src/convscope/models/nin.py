"""Network in network: a small perceptron slides over the image."""

from torch import nn

from convscope.arithmetic import PaddingMode
from convscope.errors import ArgumentError
from convscope.models.card import ModelCard, register
from convscope.models.initialization import convolutions_and_linears, kaiming
from convscope.models.space import Space


@register(
    ModelCard(
        name="nin",
        summary="1x1 convolutions after each convolution, no linear layer",
        source="Lin, Chen and Yan 2014, Network In Network, figure 2, for CIFAR-10; "
        "channels and kernels as in the authors' published configuration",
        differs=(
            "Kaiming's first weights; the paper does not give its own",
            "windows that reach over the end are pooled too, as in the authors' code",
        ),
        input_shape=(3, 32, 32),
        num_classes=10,
        parameters=966_986,
        multiply_adds=222_486_528,
        min_size=8,
        axes=(1, 2, 3),
    )
)
def nin(
    num_classes: int,
    in_channels: int,
    input_size: tuple[int, ...],
    width: int = 192,
    dropout: float = 0.5,
    padding_mode: PaddingMode = "zeros",
) -> nn.Sequential:
    """Three convolutions, each followed by two of 1x1; the last maps are the classes.

    ``width`` is the channels of most layers.

    >>> import torch
    >>> net = nin(10, 3, (32, 32), width=8)
    >>> net(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 10])
    """
    if width < 2:
        raise ArgumentError(f"nin: width={width} must be at least 2.")
    space = Space(input_size, padding_mode)

    def block(channels: int, kernel_size: int, *widths: int) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for width, size in zip(widths, (kernel_size, 1, 1), strict=True):
            layers.append(space.conv(channels, width, size, padding=size // 2))
            layers.append(nn.ReLU())
            channels = width
        return layers

    narrow, narrower = max(width * 5 // 6, 1), width // 2
    net = nn.Sequential(
        *block(in_channels, 5, width, narrow, narrower),
        space.max_pool(3, 2, ceil_mode=True), nn.Dropout(dropout),
        *block(narrower, 5, width, width, width),
        space.average_pool(3, 2, ceil_mode=True), nn.Dropout(dropout),
        *block(width, 3, width, width, num_classes),
        space.average_to(1), nn.Flatten(),
    )  # fmt: skip
    for kernel in convolutions_and_linears(net)[0]:
        kaiming(kernel, "fan_in")
    return net
