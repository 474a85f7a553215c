"""A small residual network that trains well from scratch on images of 8 to 128 px."""

from torch import Tensor, nn

from convscope.arithmetic import PaddingMode
from convscope.errors import ArgumentError
from convscope.layers import Conv2d
from convscope.models.card import ModelCard, register


def conv_norm_relu(
    in_channels: int,
    out_channels: int,
    padding_mode: PaddingMode,
    *,
    stride: int = 1,
    pool: bool = False,
) -> nn.Module:
    """3x3 convolution without bias, 2x2 max pooling if wanted, batch norm, ReLU.

    Pooling comes first because norm and ReLU then have a quarter of the numbers to
    read and write, which is where a CPU spends its time.
    """
    return nn.Sequential(
        Conv2d(
            in_channels,
            out_channels,
            3,
            stride,
            padding=1,
            bias=False,
            padding_mode=padding_mode,
        ),
        *([nn.MaxPool2d(2)] if pool else []),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )


class Residual(nn.Module):
    """x + f(x), where f is two layers that keep the shape."""

    def __init__(self, channels: int, padding_mode: PaddingMode) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            conv_norm_relu(channels, channels, padding_mode),
            conv_norm_relu(channels, channels, padding_mode),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        out: Tensor = x + self.layers(x)
        return out


class Scale(nn.Module):
    """Multiplies by a constant: keeps the first logits, and so the loss, small."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return x * self.factor

    def extra_repr(self) -> str:
        """The factor."""
        return f"{self.factor}"


@register(
    ModelCard(
        name="resnet9",
        summary="small residual network, trains well from scratch",
        source="Page 2018, How to Train Your ResNet",
        differs=(
            "half the channels (width 32, there 64)",
            "pools before batch norm and ReLU, there after",
            "halves images above 48 pixels first, twice above 96",
            "global max pooling in place of a 4x4 pooling",
        ),
        input_shape=(3, 32, 32),
        num_classes=10,
        parameters=1_646_112,
        multiply_adds=95_259_136,
        min_size=8,
    )
)
def resnet9(
    num_classes: int,
    in_channels: int,
    input_size: tuple[int, int],
    width: int = 32,
    padding_mode: PaddingMode = "zeros",
) -> nn.Sequential:
    """Eight 3x3 convolutions, two of the three stages residual, one linear layer.

    ``width`` is the number of channels of the first layer; the stages have 2, 4 and 8
    times as many.

    >>> import torch
    >>> net = resnet9(10, 3, (32, 32), width=4)
    >>> net(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    if width < 1:
        raise ArgumentError(f"resnet9: width={width} must be at least 1.")
    size = min(input_size)
    stride, mode = 1 if size <= 48 else 2, padding_mode
    return nn.Sequential(
        conv_norm_relu(in_channels, width, mode, stride=stride, pool=size > 96),
        conv_norm_relu(width, 2 * width, mode, pool=True), Residual(2 * width, mode),
        conv_norm_relu(2 * width, 4 * width, mode, pool=True),
        conv_norm_relu(4 * width, 8 * width, mode, pool=True),
        Residual(8 * width, mode),
        nn.AdaptiveMaxPool2d(1), nn.Flatten(),
        nn.Linear(8 * width, num_classes, bias=False), Scale(0.125),
    )  # fmt: skip
