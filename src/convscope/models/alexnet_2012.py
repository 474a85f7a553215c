"""AlexNet as published: two groups, local response normalization."""

from torch import nn

from convscope.arithmetic import PaddingMode, Window
from convscope.errors import ArgumentError
from convscope.layers import LocalResponseNorm
from convscope.models.card import ModelCard, register
from convscope.models.initialization import convolutions_and_linears, normal
from convscope.models.space import Space, elements_left

POOL = Window(3, stride=2)
WINDOWS = (Window(11, stride=4), POOL, POOL, POOL)  # the other kernels keep the size


@register(
    ModelCard(
        name="alexnet_2012",
        summary="the network that won ImageNet in 2012, two groups",
        source="Krizhevsky, Sutskever and Hinton 2012, ImageNet Classification with "
        "Deep Convolutional Neural Networks, figure 2",
        differs=(
            "227x227 images: the paper writes 224, where its sizes do not come out",
            "the two groups are on one device",
            "the linear layers span whatever map the input size leaves",
        ),
        input_shape=(3, 227, 227),
        num_classes=1000,
        parameters=60_965_224,
        multiply_adds=724_406_816,
        min_size=67,
    )
)
def alexnet_2012(
    num_classes: int,
    in_channels: int,
    input_size: tuple[int, ...],
    hidden: int = 4096,
    dropout: float = 0.5,
    padding_mode: PaddingMode = "zeros",
) -> nn.Sequential:
    """Five convolutions, of which three are in two groups, and three linear layers.

    ``hidden`` is the units of the two hidden layers. Weights begin as published:
    normal with 0.01; biases 1 in convolutions 2, 4, 5 and the hidden layers, else 0.

    >>> import torch
    >>> net = alexnet_2012(10, 3, (67, 67), hidden=8)
    >>> net(torch.zeros(1, 3, 67, 67)).shape
    torch.Size([1, 10])
    """
    if hidden < 1:
        raise ArgumentError(f"alexnet_2012: hidden={hidden} must be at least 1.")
    space = Space(input_size, padding_mode)

    def respond() -> nn.Module:
        return LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0, average=False)

    net = nn.Sequential(
        space.conv(in_channels, 96, 11, 4), nn.ReLU(), respond(),
        space.max_pool(3, 2),                                          # (96, 27, 27)
        space.conv(96, 256, 5, padding=2, groups=2), nn.ReLU(), respond(),
        space.max_pool(3, 2),                                         # (256, 13, 13)
        space.conv(256, 384, 3, padding=1), nn.ReLU(),
        space.conv(384, 384, 3, padding=1, groups=2), nn.ReLU(),
        space.conv(384, 256, 3, padding=1, groups=2), nn.ReLU(),
        space.max_pool(3, 2), nn.Flatten(),                             # (256, 6, 6)
        nn.Linear(256 * elements_left(input_size, WINDOWS), hidden), nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout),
        nn.Linear(hidden, num_classes),
    )  # fmt: skip
    kernels, matrices = convolutions_and_linears(net)
    layers = [*kernels, *matrices]
    for layer, bias in zip(layers, (0, 1, 0, 1, 1, 1, 1, 0), strict=True):
        normal(layer, 0.01, bias)
    return net
