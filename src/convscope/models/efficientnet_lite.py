"""EfficientNet-Lite: inverted residuals scaled together in width, depth and size."""

import math
from collections import OrderedDict
from functools import partial
from typing import Literal, NamedTuple, get_args

from torch import Tensor, nn

from convscope.arithmetic import PaddingMode
from convscope.errors import UnknownNameError
from convscope.models.card import ModelCard, register
from convscope.models.initialization import convolutions_and_linears, kaiming, normal
from convscope.models.mobilenet_v2 import in_eights
from convscope.models.space import Space

# Table 1 of the paper: kernel size, stride of the first block, expansion, channels,
# blocks. Lite keeps its first and last row, its stem and its head at every scale.
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
STEM, HEAD = 32, 1280  # channels
Origin = Literal["tensorflow", "timm"]
ORIGIN: Origin = "tensorflow"  # of the published weights
NORMS = {  # epsilon and momentum of every batch norm, by where the weights are from
    "tensorflow": (1e-3, 0.01),
    "timm": (1e-5, 0.1),
}


class Scale(NamedTuple):
    """What tells one of the five networks from the others."""

    width: float  # times the channels of a stage, rounded to eights
    depth: float  # times the blocks of a stage, rounded up
    size: int  # height and width of the images that it was trained on
    dropout: float


SCALES = (
    Scale(1.0, 1.0, 224, 0.2),
    Scale(1.0, 1.1, 240, 0.2),
    Scale(1.1, 1.2, 260, 0.3),
    Scale(1.2, 1.4, 280, 0.3),
    Scale(1.4, 1.8, 300, 0.3),
)


class LiteBlock(nn.Module):
    """Widens, convolves each channel by itself, narrows; adds the input where it fits.

    Layers carry the names that timm gives them, so that its weight files fit.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Of the convolution in the middle.
        stride: Of the convolution in the middle.
        expansion: How many times as many channels there are between.
        space: Makes the layers.
        origin: Whose weights it is for.

    Shape:
        x:      (N, in_channels, ...)
        return: (N, out_channels, ...), each axis ``ceil(size / stride)``

    >>> import torch
    >>> block = LiteBlock(16, 24, 5, 2, 6, Space((9, 9)))
    >>> block(torch.zeros(1, 16, 9, 9)).shape
    torch.Size([1, 24, 5, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        expansion: int,
        space: Space,
        origin: Origin = "tensorflow",
    ) -> None:
        super().__init__()
        wide = expansion * in_channels
        self.adds_input = stride == 1 and in_channels == out_channels
        self.widens = expansion > 1
        if self.widens:
            self.conv_pw = space.conv(in_channels, wide, 1, bias=False)
            self.bn1 = _norm(wide, space, origin)
        self.conv_dw = space.conv(
            wide, wide, kernel_size, stride, _padding(kernel_size, origin),
            groups=wide, bias=False,
        )  # fmt: skip
        narrow = space.conv(wide, out_channels, 1, bias=False)
        if self.widens:
            self.bn2 = _norm(wide, space, origin)
            self.conv_pwl = narrow
            self.bn3 = _norm(out_channels, space, origin)
        else:
            self.bn1 = _norm(wide, space, origin)
            self.conv_pw = narrow
            self.bn2 = _norm(out_channels, space, origin)
        self.act = nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, ...) to (N, out_channels, ...)."""
        if self.widens:
            y = self.act(self.bn1(self.conv_pw(x)))
            y = self.act(self.bn2(self.conv_dw(y)))
            y = self.bn3(self.conv_pwl(y))
        else:
            y = self.act(self.bn1(self.conv_dw(x)))
            y = self.bn2(self.conv_pw(y))
        out: Tensor = x + y if self.adds_input else y
        return out


def _norm(channels: int, space: Space, origin: Origin) -> nn.Module:
    eps, momentum = NORMS[origin]
    return space.batch_norm(channels, eps=eps, momentum=momentum)


def _padding(kernel_size: int, origin: Origin) -> int | Literal["same"]:
    """TensorFlow puts the odd element of a stride of 2 last, timm pads evenly."""
    return "same" if origin == "tensorflow" else kernel_size // 2


def _card(number: int, parameters: int, multiply_adds: int) -> ModelCard:
    size = SCALES[number].size
    return ModelCard(
        name=f"efficientnet_lite{number}",
        summary="inverted residuals without gates; ImageNet weights to start from"
        if number == 0
        else f"the same, {size} x {size}",
        source="Tan and Le 2019, EfficientNet, table 1; Liu 2020, the Lite variants "
        "of the TensorFlow team (no squeeze-and-excitation, ReLU6, fixed ends)",
        differs=(
            "no stochastic depth",
            "first weights of the linear layer normal with 0.01",
        ),
        input_shape=(3, size, size),
        num_classes=1000,
        parameters=parameters,
        multiply_adds=multiply_adds,
        min_size=32,
        axes=(1, 2, 3),
    )


def efficientnet_lite(
    number: int,
    num_classes: int,
    in_channels: int,
    input_size: tuple[int, ...],
    dropout: float | None = None,
    padding_mode: PaddingMode = "zeros",
    origin: Origin = "tensorflow",
) -> nn.Sequential:
    """A convolution, seven stages of blocks, a 1x1 convolution, a linear layer.

    ``number`` is the one in the name, 0 to 4; ``dropout`` is the share before the last
    layer, the published one by default. ``origin`` is whose weights it is for:
    ``"tensorflow"`` for the published ones (timm's ``tf_efficientnet_lite0``),
    ``"timm"`` for its own ``efficientnet_lite0``, which pads evenly and has another
    epsilon; both have the same tensors.

    >>> net = efficientnet_lite(0, 10, 3, (64, 64))
    >>> net.classifier
    Linear(in_features=1280, out_features=10, bias=True)
    """
    if origin not in get_args(Origin):
        raise UnknownNameError("origin", str(origin), get_args(Origin))
    scale, space = SCALES[number], Space(input_size, padding_mode)
    channels = STEM
    stages: list[nn.Module] = []
    for kernel_size, stride, expansion, width, blocks in STAGES:
        scaled = in_eights(width * scale.width)
        fixed = not stages or len(stages) == len(STAGES) - 1
        count = blocks if fixed else math.ceil(blocks * scale.depth)
        row = []
        for step in (stride, *(count - 1) * (1,)):
            row.append(
                LiteBlock(channels, scaled, kernel_size, step, expansion, space, origin)
            )
            channels = scaled
        stages.append(nn.Sequential(*row))
    net = nn.Sequential(
        OrderedDict(
            conv_stem=space.conv(
                in_channels, STEM, 3, 2, _padding(3, origin), bias=False
            ),
            bn1=_norm(STEM, space, origin),
            act1=nn.ReLU6(),
            blocks=nn.Sequential(*stages),
            conv_head=space.conv(channels, HEAD, 1, bias=False),
            bn2=_norm(HEAD, space, origin),
            act2=nn.ReLU6(),
            global_pool=space.average_to(1),
            flatten=nn.Flatten(),
            dropout=nn.Dropout(scale.dropout if dropout is None else dropout),
            classifier=nn.Linear(HEAD, num_classes),
        )
    )
    kernels, matrices = convolutions_and_linears(net)
    for kernel in kernels:
        kaiming(kernel)
    for matrix in matrices:
        normal(matrix, 0.01)
    return net


COUNTS = (  # parameters, multiply-adds
    (4_652_008, 385_187_552),
    (5_416_680, 600_185_232),
    (6_092_072, 859_736_272),
    (8_197_096, 1_383_321_872),
    (13_006_568, 2_553_034_336),
)

for _number, _counts in enumerate(COUNTS):
    register(_card(_number, *_counts))(partial(efficientnet_lite, _number))
