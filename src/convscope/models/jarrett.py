"""One and two stages of filters, rectification, normalization and pooling."""

from typing import Literal

import torch
from torch import Tensor, nn

from convscope.arithmetic import PaddingMode, Window
from convscope.errors import ArgumentError, UnknownNameError
from convscope.layers import Conv2d, LocalContrastNorm2d, Stage2d
from convscope.models.card import ModelCard, register
from convscope.models.space import elements_left

LARGE = 83  # pixels, the least that two stages of the sizes for Caltech-101 take
# Kernel, pooling window and its stride of each stage.
FOR_LARGE = ((9, 10, 5), (9, 6, 4))
FOR_SMALL = ((5, 4, 2), (5, 4, 2))
SEEN = 16  # maps of the first stage that each map of the second is connected to


@register(
    ModelCard(
        name="jarrett",
        summary="filters, absolute value, contrast normalization, pooling",
        source="Jarrett, Kavukcuoglu, Ranzato and LeCun 2009, What is the Best "
        "Multi-Stage Architecture for Object Recognition?, sections 2 and 3",
        differs=(
            "the filters begin at random (R), not from unsupervised learning (U)",
            "the image comes as it is, there normalized to its local contrast",
            "below 83 pixels 5x5 filters and 4x4 pooling with stride 2",
        ),
        input_shape=(1, 143, 143),
        num_classes=102,
        parameters=755_494,
        multiply_adds=202_391_616,
        min_size=22,
    )
)
def jarrett(
    num_classes: int,
    in_channels: int,
    input_size: tuple[int, ...],
    stages: int = 2,
    rectify: bool = True,
    normalize: bool = True,
    pool: Literal["average", "max"] = "average",
    maps: tuple[int, int] = (64, 256),
    padding: int = 0,
    padding_mode: PaddingMode = "zeros",
) -> nn.Sequential:
    """One or two ``stages`` of F-R-N-P and a linear classifier.

    ``rectify`` is R, the absolute value; ``normalize`` is N, local contrast
    normalization; ``pool`` is P_A or P_M. Each map of the second stage sees 16 of the
    first, drawn once for all. ``padding`` is of each filter bank, in pixels; the paper
    has none.

    >>> net = jarrett(10, 1, (28, 28), stages=1)
    >>> net(torch.zeros(1, 1, 28, 28)).shape
    torch.Size([1, 10])
    """
    if stages not in (1, 2):
        raise ArgumentError(f"jarrett: stages={stages} must be 1 or 2.")
    if pool not in ("average", "max"):
        raise UnknownNameError("pool", pool, ("average", "max"))
    if len(maps) != 2 or min(maps) < 1:
        raise ArgumentError(f"jarrett: maps={maps} must be two numbers from 1.")
    plan = FOR_LARGE if min(input_size) >= LARGE else FOR_SMALL
    stages_made: list[nn.Module] = []
    windows: list[Window] = []
    channels = in_channels
    for width, (kernel_size, size, stride) in zip(maps, plan[:stages], strict=False):
        stage = Stage2d(
            channels,
            width,
            kernel_size,
            padding=padding,
            padding_mode=padding_mode,
            activation="gain",
            rectification=rectify,
            normalization=LocalContrastNorm2d(9) if normalize else None,
            pooling=pool,
            pool_size=size,
            pool_stride=stride,
        )
        if stages_made and channels > SEEN:
            stage.filters = Conv2d(
                channels,
                width,
                kernel_size,
                padding=padding,
                padding_mode=padding_mode,
                connections=random_table(width, channels),
            )
        stages_made.append(stage)
        windows.append(Window(kernel_size, padding=(padding, padding)))
        windows.append(Window(size, stride=stride))
        channels = width
    units = channels * elements_left(input_size, windows)
    return nn.Sequential(*stages_made, nn.Flatten(), nn.Linear(units, num_classes))


def random_table(out_channels: int, in_channels: int) -> Tensor:
    """Which 16 inputs each output sees; always the same, as it is no weight.

    >>> random_table(256, 64).sum(dim=1).unique()
    tensor([16])
    """
    draw = torch.Generator().manual_seed(0)
    order = torch.rand(out_channels, in_channels, generator=draw, device="cpu")
    return order.argsort(dim=1).argsort(dim=1) < SEEN
