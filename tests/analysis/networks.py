"""Published networks in a few lines each, to count and to trace."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

VGG = {
    11: [1, 1, 2, 2, 2],
    13: [2, 2, 2, 2, 2],
    16: [2, 2, 3, 3, 3],
    19: [2, 2, 4, 4, 4],
}


def lenet5() -> nn.Module:
    """With 61,706 parameters."""
    tanh_pool = [nn.Tanh(), nn.MaxPool2d(2)]
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), *tanh_pool,
        nn.Conv2d(6, 16, 5), *tanh_pool,
        nn.Conv2d(16, 120, 5), nn.Tanh(), nn.Flatten(),
        nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10),
    )  # fmt: skip


def alexnet_2014() -> nn.Module:
    """One column, without local response normalization."""

    def conv(*args: int) -> list[nn.Module]:
        return [nn.Conv2d(*args), nn.ReLU(inplace=True)]

    pool = nn.MaxPool2d(3, 2)
    features = nn.Sequential(
        *conv(3, 64, 11, 4, 2), pool,
        *conv(64, 192, 5, 1, 2), pool,
        *conv(192, 384, 3, 1, 1), *conv(384, 256, 3, 1, 1), *conv(256, 256, 3, 1, 1),
        pool,
    )  # fmt: skip
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(6), _head(256 * 36))


def vgg(depth: int) -> nn.Module:
    """3x3 convolutions, five poolings, three linear layers."""
    layers: list[nn.Module] = []
    channels = 3
    for width, repeats in zip([64, 128, 256, 512, 512], VGG[depth], strict=True):
        for _ in range(repeats):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(
        nn.Sequential(*layers), nn.AdaptiveAvgPool2d(7), _head(512 * 49)
    )


def _head(features: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(), nn.Dropout(),
        nn.Linear(features, 4096), nn.ReLU(inplace=True), nn.Dropout(),
        nn.Linear(4096, 4096), nn.ReLU(inplace=True),
        nn.Linear(4096, 1000),
    )  # fmt: skip


class Bottleneck(nn.Module):
    def __init__(self, channels: int, width: int, stride: int, early: bool) -> None:
        super().__init__()
        conv = partial(nn.Conv2d, bias=False)
        first, second = (stride, 1) if early else (1, stride)
        self.body = nn.Sequential(
            conv(channels, width, 1, first), nn.BatchNorm2d(width), nn.ReLU(),
            conv(width, width, 3, second, 1), nn.BatchNorm2d(width), nn.ReLU(),
            conv(width, 4 * width, 1), nn.BatchNorm2d(4 * width),
        )  # fmt: skip
        self.skip: nn.Module | None = None
        if stride > 1 or channels != 4 * width:
            self.skip = nn.Sequential(
                conv(channels, 4 * width, 1, stride), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.body(x) + (x if self.skip is None else self.skip(x)))


class BasicBlock(nn.Module):
    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        conv = partial(nn.Conv2d, bias=False)
        self.body = nn.Sequential(
            conv(channels, width, 3, stride, 1), nn.BatchNorm2d(width), nn.ReLU(),
            conv(width, width, 3, 1, 1), nn.BatchNorm2d(width),
        )  # fmt: skip
        self.skip: nn.Module = nn.Identity()
        if stride > 1 or channels != width:
            self.skip = nn.Sequential(
                conv(channels, width, 1, stride), nn.BatchNorm2d(width)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.body(x) + self.skip(x))


def _resnet(stages: list[nn.Sequential], features: int) -> nn.Module:
    stem = nn.Sequential(
        nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    )  # fmt: skip
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, 1000)]
    return nn.Sequential(stem, *stages, *head)


def resnet50(*, stride_on_1x1: bool) -> nn.Module:
    """Of the paper with the stride on the first 1x1, or later with it on the 3x3."""
    stages, channels = [], 64
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        stage = []
        for block in range(blocks):
            step = stride if block == 0 else 1
            stage.append(Bottleneck(channels, width, step, stride_on_1x1))
            channels = 4 * width
        stages.append(nn.Sequential(*stage))
    return _resnet(stages, 2048)


def resnet18() -> nn.Module:
    """Two basic blocks in each of four stages."""
    stages, channels = [], 64
    for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        first = BasicBlock(channels, width, stride)
        stages.append(nn.Sequential(first, BasicBlock(width, width, 1)))
        channels = width
    return _resnet(stages, 512)


class Depthwise(nn.Sequential):
    """MobileNet's pair: each channel by itself, then all channels at each place."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False),
            nn.BatchNorm2d(channels), nn.ReLU(),
            nn.Conv2d(channels, width, 1, bias=False),
            nn.BatchNorm2d(width), nn.ReLU(),
        )  # fmt: skip


def mobilenet_v1() -> nn.Module:
    """Width 1, with 4,231,976 parameters."""
    plan = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5]
    plan += [(1024, 2), (1024, 1)]
    layers: list[nn.Module] = [
        nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU()
    ]  # fmt: skip
    channels = 32
    for width, stride in plan:
        layers.append(Depthwise(channels, width, stride))
        channels = width
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1024, 1000)]
    return nn.Sequential(*layers, *head)


class UNet(nn.Module):
    """Two levels down, two up, joined by concatenation."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        c = channels
        self.in1, self.in2, self.in3 = (
            nn.Conv2d(a, b, 3, padding=1)
            for a, b in ((3, c), (c, 2 * c), (2 * c, 4 * c))
        )
        self.up2 = nn.ConvTranspose2d(4 * c, 2 * c, 2, stride=2)
        self.up1 = nn.ConvTranspose2d(2 * c, c, 2, stride=2)
        self.out2 = nn.Conv2d(4 * c, 2 * c, 3, padding=1)
        self.out1 = nn.Conv2d(2 * c, 2, 3, padding=1)
        self.pool = nn.AvgPool2d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = F.relu(self.in1(x))
        b = F.relu(self.in2(self.pool(a)))
        c = F.relu(self.in3(self.pool(b)))
        b = F.relu(self.out2(torch.cat([self.up2(c), b], 1)))
        return self.out1(torch.cat([self.up1(b), a], 1))


class Inception(nn.Module):
    """Four branches of different reach, concatenated."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(channels, width, 1)
        self.three = nn.Conv2d(channels, width, 3, padding=1)
        self.five = nn.Conv2d(channels, width, 5, padding=2)
        self.pool = nn.AvgPool2d(3, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branches = [self.one(x), self.three(x), self.five(x), self.pool(x)]
        return torch.cat(branches, dim=1)


class Patches(nn.Module):
    """A small vision transformer: patches, attention between them, a mean."""

    def __init__(self, width: int = 16, heads: int = 2) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, width, 4, stride=4)
        self.norm = nn.LayerNorm(width)
        self.attend = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mix = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.head = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2)
        y = self.norm(x)
        x = x + self.attend(y, y, y, need_weights=False)[0]
        x = x + self.mix(x)
        return self.head(x.mean(1))


def temporal(length_of_kernel: int = 3) -> nn.Module:
    """Dilated causal convolutions over a signal."""
    layers: list[nn.Module] = []
    for dilation in (1, 2, 4, 8):
        reach = dilation * (length_of_kernel - 1)
        layers += [
            nn.ConstantPad1d((reach, 0), 0.0),
            nn.Conv1d(2, 2, length_of_kernel, dilation=dilation),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)


def volume() -> nn.Module:
    """Unequal kernels and strides in three dimensions."""
    return nn.Sequential(
        nn.Conv3d(1, 4, (1, 3, 5), stride=(1, 2, 1), padding=(0, 1, 2)), nn.ReLU(),
        nn.AvgPool3d((2, 1, 3), stride=(2, 1, 2)),
        nn.Conv3d(4, 2, 3, padding=1, dilation=(1, 2, 1)),
    )  # fmt: skip
