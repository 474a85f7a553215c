"""Residual networks: of ImageNet's size, and the small ones for CIFAR."""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from convscope.arithmetic import PaddingMode
from convscope.errors import ArgumentError
from convscope.models.card import ModelCard, register
from convscope.models.initialization import convolutions_and_linears, kaiming
from convscope.models.space import Space

DEPTHS = {  # blocks in each of four stages
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
CIFAR_DEPTHS = (20, 32, 44, 56, 110)  # 6 n + 2, with n blocks in each of three stages


class PadChannels(nn.Module):
    """Option A of the paper: every ``stride``-th element, and channels of zeros."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.extra = out_channels - in_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, ...) to (N, C + extra, ...), each axis shorter by the stride."""
        every: list[Any] = [slice(None, None, self.stride)] * (x.ndim - 2)
        kept = x[(..., *every)]
        return F.pad(kept, (0, 0) * (x.ndim - 2) + (0, self.extra))

    def extra_repr(self) -> str:
        """What it does."""
        return f"extra={self.extra}, stride={self.stride}"


class BasicBlock(nn.Module):
    """x + f(x), with f two 3x3 convolutions."""

    expansion = 1

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int,
        space: Space,
        downsample: nn.Module | None,
    ) -> None:
        super().__init__()
        self.conv1 = space.conv(in_channels, width, 3, stride, 1, bias=False)
        self.bn1 = space.batch_norm(width)
        self.relu = nn.ReLU()
        self.conv2 = space.conv(width, width, 3, 1, 1, bias=False)
        self.bn2 = space.batch_norm(width)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, ...) to (N, width, ...)."""
        skip = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        out: Tensor = self.relu(self.bn2(self.conv2(x)) + skip)
        return out


class Bottleneck(nn.Module):
    """x + f(x), with f a 3x3 convolution between two 1x1 that narrow and widen."""

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int,
        space: Space,
        downsample: nn.Module | None,
        stride_on_1x1: bool = False,
    ) -> None:
        super().__init__()
        first, second = (stride, 1) if stride_on_1x1 else (1, stride)
        self.conv1 = space.conv(in_channels, width, 1, first, bias=False)
        self.bn1 = space.batch_norm(width)
        self.conv2 = space.conv(width, width, 3, second, 1, bias=False)
        self.bn2 = space.batch_norm(width)
        self.conv3 = space.conv(width, 4 * width, 1, bias=False)
        self.bn3 = space.batch_norm(4 * width)
        self.relu = nn.ReLU()
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, ...) to (N, 4 width, ...)."""
        skip = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        out: Tensor = self.relu(self.bn3(self.conv3(x)) + skip)
        return out


def project(
    in_channels: int, out_channels: int, stride: int, space: Space
) -> nn.Module:
    """Option B of the paper: a 1x1 convolution and batch norm."""
    return nn.Sequential(
        space.conv(in_channels, out_channels, 1, stride, bias=False),
        space.batch_norm(out_channels),
    )


def stage(
    block: Callable[..., nn.Module],
    shortcut: Callable[..., nn.Module],
    in_channels: int,
    width: int,
    blocks: int,
    stride: int,
    expansion: int = 1,
) -> nn.Sequential:
    """Blocks of one width, of which the first takes the stride."""
    out_channels = expansion * width
    change = stride > 1 or in_channels != out_channels
    down = shortcut(in_channels, out_channels, stride) if change else None
    first = block(in_channels, width, stride, downsample=down)
    rest = [block(out_channels, width, 1, downsample=None) for _ in range(blocks - 1)]
    return nn.Sequential(first, *rest)


def resnet(
    depth: int,
    num_classes: int,
    in_channels: int,
    input_size: tuple[int, ...],
    width: int = 64,
    stride_on_1x1: bool = False,
    padding_mode: PaddingMode = "zeros",
) -> nn.Sequential:
    """A 7x7 convolution, pooling, four stages of residual blocks, one linear layer.

    ``width`` is the channels of the first stage. ``stride_on_1x1`` puts the stride of
    bottlenecks on their first 1x1 convolution, as published ("v1"); otherwise it is
    on the 3x3, as in torchvision ("v1.5"). Weights begin as torchvision's: Kaiming's
    by fan out.

    >>> import torch
    >>> net = resnet(18, 10, 3, (64, 64), width=8)
    >>> net(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2, 10])
    """
    name = f"resnet{depth}"
    if width < 1:
        raise ArgumentError(f"{name}: width={width} must be at least 1.")
    if stride_on_1x1 and depth < 50:
        raise ArgumentError(
            f"{name}: stride_on_1x1=True needs bottlenecks; this one has blocks of two "
            "3x3 convolutions. Leave it out, or take resnet50."
        )
    space = Space(input_size, padding_mode)
    block: Callable[..., nn.Module] = partial(BasicBlock, space=space)
    expansion = 1
    if depth >= 50:
        block = partial(Bottleneck, space=space, stride_on_1x1=stride_on_1x1)
        expansion = Bottleneck.expansion
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=space.conv(in_channels, width, 7, 2, 3, bias=False),
        bn1=space.batch_norm(width),
        relu=nn.ReLU(),
        maxpool=space.max_pool(3, 2, 1),
    )
    channels, shortcut = width, partial(project, space=space)
    for number, blocks in enumerate(DEPTHS[depth]):
        wide = width * 2**number
        stride = 1 if number == 0 else 2
        layers[f"layer{number + 1}"] = stage(
            block, shortcut, channels, wide, blocks, stride, expansion
        )
        channels = expansion * wide
    layers["avgpool"] = space.average_to(1)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(channels, num_classes)
    return with_first_weights(nn.Sequential(layers))


def resnet_cifar(
    depth: int,
    num_classes: int,
    in_channels: int,
    input_size: tuple[int, ...],
    width: int = 16,
    padding_mode: PaddingMode = "zeros",
) -> nn.Sequential:
    """A 3x3 convolution, three stages of residual blocks, one linear layer.

    ``width`` is the channels of the first stage. Shortcuts have no parameters.

    >>> import torch
    >>> net = resnet_cifar(20, 10, 3, (32, 32))
    >>> net(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    if width < 1:
        raise ArgumentError(f"resnet{depth}: width={width} must be at least 1.")
    space = Space(input_size, padding_mode)
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=space.conv(in_channels, width, 3, 1, 1, bias=False),
        bn1=space.batch_norm(width),
        relu=nn.ReLU(),
    )
    channels = width
    for number in range(3):
        wide = width * 2**number
        layers[f"layer{number + 1}"] = stage(
            partial(BasicBlock, space=space),
            PadChannels,
            channels,
            wide,
            blocks=(depth - 2) // 6,
            stride=1 if number == 0 else 2,
        )
        channels = wide
    layers["avgpool"] = space.average_to(1)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(channels, num_classes)
    return with_first_weights(nn.Sequential(layers))


def with_first_weights(net: nn.Sequential) -> nn.Sequential:
    """Kaiming's weights by fan out in all convolutions."""
    for kernel in convolutions_and_linears(net)[0]:
        kaiming(kernel)
    return net


COUNTS = {  # parameters, multiply-adds
    18: (11_689_512, 1_814_073_344),
    34: (21_797_672, 3_663_761_408),
    50: (25_557_032, 4_089_184_256),
    101: (44_549_160, 7_801_405_440),
    152: (60_192_808, 11_513_626_624),
    20: (269_722, 40_551_040),
    32: (464_154, 68_862_592),
    44: (658_586, 97_174_144),
    56: (853_018, 125_485_696),
    110: (1_727_962, 252_887_680),
}


def _card(depth: int) -> ModelCard:
    small = depth in CIFAR_DEPTHS
    later = depth >= 50 and not small
    return ModelCard(
        name=f"resnet{depth}",
        summary=f"{depth} layers, residual"
        + (", for CIFAR" if small else ", bottlenecks" if later else ""),
        source="He, Zhang, Ren and Sun 2016, Deep Residual Learning for Image "
        "Recognition, " + ("section 4.2" if small else "table 1"),
        differs=(
            *(["stride on the 3x3 of a bottleneck, there on the 1x1"] if later else []),
            "Kaiming's first weights by fan out",
        ),
        input_shape=(3, 32, 32) if small else (3, 224, 224),
        num_classes=10 if small else 1000,
        parameters=COUNTS[depth][0],
        multiply_adds=COUNTS[depth][1],
        min_size=8 if small else 32,
        axes=(1, 2, 3),
    )


for _depth in DEPTHS:
    register(_card(_depth))(partial(resnet, _depth))
for _depth in CIFAR_DEPTHS:
    register(_card(_depth))(partial(resnet_cifar, _depth))
