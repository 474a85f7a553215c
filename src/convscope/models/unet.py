"""U-Net: down for context, up for detail, with copies from each level across."""

import torch
from torch import Tensor, nn

from convscope.arithmetic import PaddingMode
from convscope.errors import ArgumentError
from convscope.models.card import ModelCard, register
from convscope.models.initialization import convolutions_and_linears, kaiming
from convscope.models.space import Space, cropped

LEVELS = 4  # poolings on the way down, and steps up again


def two_convolutions(in_channels: int, width: int, space: Space) -> nn.Sequential:
    """3x3 convolution and ReLU, twice."""
    return nn.Sequential(
        space.conv(in_channels, width, 3, padding=1), nn.ReLU(),
        space.conv(width, width, 3, padding=1), nn.ReLU(),
    )  # fmt: skip


class UNet(nn.Module):
    """Levels of two convolutions, down and up, joined at each level.

    Args:
        in_channels: Channels of the image.
        num_classes: Maps of the output.
        width: Channels of the first level; each level down has twice as many.
        dropout: Part of the lowest two levels' maps that training leaves out.
        space: Makes the layers.

    Shape:
        x:      (N, in_channels, H, W)
        return: (N, num_classes, H, W)
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        width: int,
        dropout: float,
        space: Space,
    ) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(LEVELS + 1)]
        from_above = [in_channels, *widths[:-1]]
        self.down = nn.ModuleList(
            two_convolutions(above, own, space)
            for above, own in zip(from_above, widths, strict=True)
        )
        self.pool = space.max_pool(2, 2, ceil_mode=True)
        self.dropout = nn.Dropout(dropout)
        self.enlarge = nn.ModuleList(
            space.conv_transpose(2 * own, own, 2, 2) for own in widths[-2::-1]
        )
        self.up = nn.ModuleList(
            two_convolutions(2 * own, own, space) for own in widths[-2::-1]
        )
        self.classify = space.conv(width, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Classes for each pixel."""
        seen: list[Tensor] = []
        for level, layers in enumerate(self.down):
            x = layers(x if level == 0 else self.pool(x))
            x = self.dropout(x) if level >= LEVELS - 1 else x
            seen.append(x)
        seen.pop()
        for enlarge, layers in zip(self.enlarge, self.up, strict=True):
            beside = seen.pop()
            x = layers(torch.cat([beside, cropped(enlarge(x), beside)], dim=1))
        out: Tensor = self.classify(x)
        return out


@register(
    ModelCard(
        name="unet",
        summary="classes for each pixel, by a way down and up",
        source="Ronneberger, Fischer and Brox 2015, U-Net: Convolutional Networks for "
        "Biomedical Image Segmentation, figure 1",
        differs=(
            "convolutions are padded, so that the output is as large as the input; "
            "there it is 388 for 572 pixels",
            "sizes that 16 does not divide are pooled to the end, and cropped",
        ),
        input_shape=(1, 512, 512),
        num_classes=2,
        parameters=31_030_658,
        multiply_adds=192_384_335_872,
        min_size=16,
        axes=(1, 2, 3),
        task="segmentation",
    )
)
def unet(
    num_classes: int,
    in_channels: int,
    input_size: tuple[int, ...],
    width: int = 64,
    dropout: float = 0.5,
    padding_mode: PaddingMode = "zeros",
) -> UNet:
    """Four levels down and up; ``width`` is the channels of the first.

    Weights begin as published: normal with variance 2 / fan_in.

    >>> net = unet(2, 1, (188, 188), width=2)
    >>> net(torch.zeros(1, 1, 188, 188)).shape
    torch.Size([1, 2, 188, 188])
    """
    if width < 1:
        raise ArgumentError(f"unet: width={width} must be at least 1.")
    net = UNet(
        in_channels, num_classes, width, dropout, Space(input_size, padding_mode)
    )
    for kernel in convolutions_and_linears(net)[0]:
        kaiming(kernel, "fan_in")
    return net
