"""VGG: 3x3 convolutions all the way down."""

from collections import OrderedDict
from functools import partial

from torch import nn

from convscope.arithmetic import PaddingMode
from convscope.errors import ArgumentError
from convscope.models.card import ModelCard, register
from convscope.models.initialization import convolutions_and_linears, kaiming, normal
from convscope.models.space import Space

# Convolutions in each of the five stages; a stage ends in 2x2 max pooling.
DEPTHS = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
WIDTHS = (1, 2, 4, 8, 8)  # channels of each stage, in widths of the first


def vgg_features(
    depth: int,
    batch_norm: bool,
    in_channels: int,
    width: int,
    space: Space,
    ceil_mode: bool = False,
) -> nn.Sequential:
    """The five stages: convolutions, then pooling that halves each axis."""
    layers: list[nn.Module] = []
    channels = in_channels
    for repeats, times in zip(DEPTHS[depth], WIDTHS, strict=True):
        for _ in range(repeats):
            layers.append(space.conv(channels, times * width, 3, padding=1))
            channels = times * width
            layers += [space.batch_norm(channels)] if batch_norm else []
            layers.append(nn.ReLU())
        layers.append(space.max_pool(2, 2, ceil_mode=ceil_mode))
    return nn.Sequential(*layers)


def vgg(
    depth: int,
    batch_norm: bool,
    num_classes: int,
    in_channels: int,
    input_size: tuple[int, ...],
    width: int = 64,
    hidden: int = 4096,
    dropout: float = 0.5,
    padding_mode: PaddingMode = "zeros",
) -> nn.Sequential:
    """Eight to sixteen convolutions, three linear layers.

    ``width`` is the channels of the first stage, ``hidden`` the units of the two
    hidden layers. Weights begin as torchvision's: Kaiming's by fan out, linear layers
    normal with 0.01.

    >>> import torch
    >>> net = vgg(11, True, 10, 3, (32, 32), width=4, hidden=8)
    >>> net(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    if min(width, hidden) < 1:
        raise ArgumentError(
            f"vgg{depth}: width={width} and hidden={hidden} must be at least 1."
        )
    space = Space(input_size, padding_mode)
    units = 8 * width * 7**space.axes
    classifier = nn.Sequential(
        nn.Linear(units, hidden), nn.ReLU(), nn.Dropout(dropout),
        nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout),
        nn.Linear(hidden, num_classes),
    )  # fmt: skip
    net = nn.Sequential(
        OrderedDict(
            features=vgg_features(depth, batch_norm, in_channels, width, space),
            avgpool=space.average_to(7),
            flatten=nn.Flatten(),
            classifier=classifier,
        )
    )
    kernels, matrices = convolutions_and_linears(net)
    for kernel in kernels:
        kaiming(kernel)
    for matrix in matrices:
        normal(matrix, 0.01)
    return net


COUNTS = {  # parameters without batch norm, with batch norm, multiply-adds
    11: (132_863_336, 132_868_840, 7_609_090_048),
    13: (133_047_848, 133_053_736, 11_308_466_176),
    16: (138_357_544, 138_365_992, 15_470_264_320),
    19: (143_667_240, 143_678_248, 19_632_062_464),
}


def _card(depth: int, batch_norm: bool) -> ModelCard:
    letter = {11: "A", 13: "B", 16: "D", 19: "E"}[depth]
    own = ("batch norm after each convolution",) if batch_norm else ()
    return ModelCard(
        name=f"vgg{depth}" + ("_bn" if batch_norm else ""),
        summary=f"{depth} layers of 3x3 convolutions"
        + (" with batch norm" if batch_norm else ""),
        source="Simonyan and Zisserman 2015, Very Deep Convolutional Networks for "
        f"Large-Scale Image Recognition, configuration {letter}",
        differs=(
            *own,
            "averages to 7x7 before the linear layers, so that it takes other sizes",
            "Kaiming's first weights in place of those of a shallower network",
        ),
        input_shape=(3, 224, 224),
        num_classes=1000,
        parameters=COUNTS[depth][batch_norm],
        multiply_adds=COUNTS[depth][2],
        min_size=32,
        axes=(1, 2, 3),
    )


for _depth in DEPTHS:
    for _batch_norm in (False, True):
        register(_card(_depth, _batch_norm))(partial(vgg, _depth, _batch_norm))
