"""Fully convolutional networks: VGG-16 that says a class for each pixel."""

import torch
from torch import Tensor, nn

from convscope.arithmetic import PaddingMode
from convscope.errors import ArgumentError
from convscope.models.card import ModelCard, register
from convscope.models.initialization import convolutions_and_linears, kaiming, normal
from convscope.models.space import MAX_POOL, Space, cropped, enlarged
from convscope.models.vgg import WIDTHS, vgg_features

STRIDES = (8, 16, 32)


class FCN(nn.Module):
    """VGG-16 with its linear layers as convolutions; scores are enlarged and added.

    Args:
        in_channels: Channels of the image.
        num_classes: Maps of the output.
        stride: Pixels from one of the finest scores to the next: 32, 16 or 8.
        width: Channels of VGG's first stage.
        hidden: Channels of what were the hidden layers.
        dropout: Part of these that training leaves out.
        space: Makes the layers.

    Shape:
        x:      (N, in_channels, H, W)
        return: (N, num_classes, H, W)
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        stride: int,
        width: int,
        hidden: int,
        dropout: float,
        space: Space,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.features = vgg_features(16, False, in_channels, width, space, True)
        widths = [times * width for times in WIDTHS]
        self.classifier = nn.Sequential(
            space.conv(widths[-1], hidden, 7, padding=3), nn.ReLU(),
            nn.Dropout(dropout),
            space.conv(hidden, hidden, 1), nn.ReLU(), nn.Dropout(dropout),
            space.conv(hidden, num_classes, 1),
        )  # fmt: skip
        finer = range({32: 0, 16: 1, 8: 2}[stride])
        self.scores = nn.ModuleList(
            space.conv(widths[3 - number], num_classes, 1) for number in finer
        )
        self.twice = nn.ModuleList(
            space.conv_transpose(num_classes, num_classes, 4, 2, 1, bias=False)
            for _ in finer
        )

    def forward(self, x: Tensor) -> Tensor:
        """Classes for each pixel."""
        image, pooled = x, []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, MAX_POOL):
                pooled.append(x)
        x = self.classifier(pooled.pop())
        for score, twice in zip(self.scores, self.twice, strict=True):
            finer = score(pooled.pop())
            x = finer + cropped(twice(x), finer)
        return cropped(enlarged(x, self.stride), image)


@register(
    ModelCard(
        name="fcn",
        summary="classes for each pixel, on VGG-16; stride 8, 16 or 32",
        source="Long, Shelhamer and Darrell 2015, Fully Convolutional Networks for "
        "Semantic Segmentation, figure 3, FCN-8s on VGG-16",
        differs=(
            "the 7x7 convolution is padded by 3, in place of the image by 100",
            "pooling to the end and cropping at the end, in place of the middle",
            "the last enlargement is F.interpolate, which repeats the border",
            "the coarse scores are not scaled down",
        ),
        input_shape=(3, 500, 500),
        num_classes=21,
        parameters=134_376_863,
        multiply_adds=107_834_913_024,
        min_size=32,
        axes=(1, 2, 3),
        task="segmentation",
    )
)
def fcn(
    num_classes: int,
    in_channels: int,
    input_size: tuple[int, ...],
    stride: int = 8,
    width: int = 64,
    hidden: int = 4096,
    dropout: float = 0.5,
    padding_mode: PaddingMode = "zeros",
) -> FCN:
    """FCN-32s, 16s or 8s: by ``stride``, the pixels between the finest scores.

    ``width`` is the channels of VGG's first stage, ``hidden`` those of its last
    layers. Weights begin as published where they do not come from VGG: scores at 0,
    enlargement bilinear; the rest as in ``vgg16``.

    >>> net = fcn(21, 3, (64, 64), width=2, hidden=8)
    >>> net(torch.zeros(1, 3, 64, 64)).shape
    torch.Size([1, 21, 64, 64])
    """
    if stride not in STRIDES:
        raise ArgumentError(f"fcn: stride={stride} must be 8, 16 or 32.")
    if min(width, hidden) < 1:
        raise ArgumentError(
            f"fcn: width={width} and hidden={hidden} must be at least 1."
        )
    space = Space(input_size, padding_mode)
    net = FCN(in_channels, num_classes, stride, width, hidden, dropout, space)
    for kernel in convolutions_and_linears(net)[0]:
        kaiming(kernel)
    for score in (net.classifier[-1], *net.scores):
        normal(score, 0.0)
    for twice in net.twice:
        interpolate(twice)
    return net


@torch.no_grad()
def interpolate(twice: nn.Module) -> None:
    """Sets a transposed convolution of size 4 and stride 2 to linear interpolation."""
    weight = twice.weight
    if not isinstance(weight, Tensor):
        raise TypeError(f"{type(twice).__name__} has no weight")
    kernel = weight.new_ones(())
    for _ in weight.shape[2:]:
        kernel = kernel[..., None] * weight.new_tensor([0.25, 0.75, 0.75, 0.25])
    weight.zero_()
    for number in range(len(weight)):
        weight[number, number] = kernel
