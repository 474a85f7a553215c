"""MobileNetV2: depthwise convolutions between narrow ends."""

from collections import OrderedDict

from torch import Tensor, nn

from convscope.arithmetic import PaddingMode
from convscope.errors import ArgumentError
from convscope.models.card import ModelCard, register
from convscope.models.initialization import convolutions_and_linears, kaiming, normal
from convscope.models.space import Space

# Table 2 of the paper: expansion, channels, blocks, stride of the first block.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def in_eights(channels: float) -> int:
    """The nearest multiple of 8, at least 8, and not below nine tenths.

    >>> in_eights(32 * 0.35), in_eights(24 * 0.75), in_eights(10)
    (16, 24, 16)
    """
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def conv_norm_relu6(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    space: Space,
    stride: int = 1,
    groups: int = 1,
) -> nn.Sequential:
    """A convolution that keeps the size except for its stride, batch norm, ReLU6."""
    return nn.Sequential(
        space.conv(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            kernel_size // 2,
            groups=groups,
            bias=False,
        ),
        space.batch_norm(out_channels),
        nn.ReLU6(),
    )


class InvertedResidual(nn.Module):
    """Widens, convolves each channel by itself, narrows; adds the input where it fits.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        expansion: How many times as many channels there are between.
        stride: Of the convolution in the middle.
        space: Makes the layers.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expansion: int,
        stride: int,
        space: Space,
    ) -> None:
        super().__init__()
        wide = expansion * in_channels
        widen = [conv_norm_relu6(in_channels, wide, 1, space)] if expansion > 1 else []
        self.conv = nn.Sequential(
            *widen,
            conv_norm_relu6(wide, wide, 3, space, stride, groups=wide),
            space.conv(wide, out_channels, 1, bias=False),
            space.batch_norm(out_channels),
        )
        self.adds_input = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, ...) to (N, out_channels, ...)."""
        out: Tensor = self.conv(x)
        return x + out if self.adds_input else out


@register(
    ModelCard(
        name="mobilenet_v2",
        summary="inverted residuals, few parameters and products",
        source="Sandler, Howard, Zhu, Zhmoginov and Chen 2018, MobileNetV2: Inverted "
        "Residuals and Linear Bottlenecks, table 2",
        differs=(
            "Kaiming's first weights by fan out, as torchvision's",
            "dropout 0.2 before the last layer, as torchvision's",
        ),
        input_shape=(3, 224, 224),
        num_classes=1000,
        parameters=3_504_872,
        multiply_adds=300_774_272,
        min_size=32,
        axes=(1, 2, 3),
    )
)
def mobilenet_v2(
    num_classes: int,
    in_channels: int,
    input_size: tuple[int, ...],
    multiplier: float = 1.0,
    dropout: float = 0.2,
    padding_mode: PaddingMode = "zeros",
) -> nn.Sequential:
    """A convolution, seventeen inverted residuals, a 1x1 convolution, a linear layer.

    ``multiplier`` is of the channels of every layer, rounded to eights; the last
    convolution keeps its 1280 below 1, as in the paper.

    >>> import torch
    >>> net = mobilenet_v2(10, 3, (32, 32), multiplier=0.25)
    >>> net(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    if multiplier <= 0:
        raise ArgumentError(f"mobilenet_v2: multiplier={multiplier} must be above 0.")
    space = Space(input_size, padding_mode)
    channels = in_eights(32 * multiplier)
    features: list[nn.Module] = [conv_norm_relu6(in_channels, channels, 3, space, 2)]
    for expansion, width, blocks, stride in STAGES:
        wide = in_eights(width * multiplier)
        for number in range(blocks):
            step = stride if number == 0 else 1
            features.append(InvertedResidual(channels, wide, expansion, step, space))
            channels = wide
    last = in_eights(1280 * max(1.0, multiplier))
    features.append(conv_norm_relu6(channels, last, 1, space))
    net = nn.Sequential(
        OrderedDict(
            features=nn.Sequential(*features),
            avgpool=space.average_to(1),
            flatten=nn.Flatten(),
            classifier=nn.Sequential(nn.Dropout(dropout), nn.Linear(last, num_classes)),
        )
    )
    kernels, matrices = convolutions_and_linears(net)
    for kernel in kernels:
        kaiming(kernel)
    for matrix in matrices:
        normal(matrix, 0.01)
    return net
