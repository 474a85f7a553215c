"""AlexNet as it is commonly built today: one column, no normalization."""

from collections import OrderedDict

from torch import nn

from convscope.arithmetic import PaddingMode
from convscope.errors import ArgumentError
from convscope.models.card import ModelCard, register
from convscope.models.space import Space


@register(
    ModelCard(
        name="alexnet_2014",
        summary="AlexNet in one column, as torchvision has it",
        source="Krizhevsky 2014, One weird trick for parallelizing convolutional "
        "neural networks, section 5",
        differs=(
            "256 maps in the fourth convolution, there 384, as torchvision's",
            "averages to 6x6 before the linear layers, so that it takes other sizes",
            "torch's first weights, as torchvision's",
        ),
        input_shape=(3, 224, 224),
        num_classes=1000,
        parameters=61_100_840,
        multiply_adds=714_188_480,
        min_size=63,
    )
)
def alexnet_2014(
    num_classes: int,
    in_channels: int,
    input_size: tuple[int, ...],
    hidden: int = 4096,
    dropout: float = 0.5,
    padding_mode: PaddingMode = "zeros",
) -> nn.Sequential:
    """Five convolutions, three poolings, three linear layers.

    ``hidden`` is the units of the two hidden layers.

    >>> import torch
    >>> net = alexnet_2014(10, 3, (63, 63), hidden=8)
    >>> net(torch.zeros(1, 3, 63, 63)).shape
    torch.Size([1, 10])
    """
    if hidden < 1:
        raise ArgumentError(f"alexnet_2014: hidden={hidden} must be at least 1.")
    space = Space(input_size, padding_mode)
    features = nn.Sequential(
        space.conv(in_channels, 64, 11, 4, 2), nn.ReLU(), space.max_pool(3, 2),
        space.conv(64, 192, 5, padding=2), nn.ReLU(), space.max_pool(3, 2),
        space.conv(192, 384, 3, padding=1), nn.ReLU(),
        space.conv(384, 256, 3, padding=1), nn.ReLU(),
        space.conv(256, 256, 3, padding=1), nn.ReLU(), space.max_pool(3, 2),
    )  # fmt: skip
    classifier = nn.Sequential(
        nn.Dropout(dropout), nn.Linear(256 * 6**space.axes, hidden), nn.ReLU(),
        nn.Dropout(dropout), nn.Linear(hidden, hidden), nn.ReLU(),
        nn.Linear(hidden, num_classes),
    )  # fmt: skip
    return nn.Sequential(
        OrderedDict(
            features=features,
            avgpool=space.average_to(6),
            flatten=nn.Flatten(),
            classifier=classifier,
        )
    )
