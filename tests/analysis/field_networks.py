"""Small networks of every kind of operation, with the size of their input."""

import torch.nn.functional as F
from torch import nn

from analysis import networks


class Rearranged(nn.Module):
    """Channels last, a linear layer on them, a crop, a shuffle, a padding."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2)
        self.mix = nn.Linear(4, 8)
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, x):
        x = self.mix(self.conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = self.shuffle(x)[:, :, 1:-2, ::2]
        return F.pad(x, (2, 1, 0, 3), mode="replicate")


class Gated(nn.Module):
    """A map multiplied with a number per channel that sees all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1))

    def forward(self, x):
        x = self.conv(x)
        return x * self.gate(x)


class Shuffled(nn.Module):
    """Groups of channels exchanged by two views and a transposition."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1, groups=2)

    def forward(self, x):
        n, c, h, w = x.shape
        x = self.conv(x).view(n, 2, c // 2, h, w).transpose(1, 2)
        a, b = x.reshape(n, c, h, w).chunk(2, dim=1)
        return F.interpolate(a, scale_factor=2) + F.interpolate(b, size=(2 * h, 2 * w))


class Written(nn.Module):
    """Two maps written into the channels of a third, then read as one."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(3, 2, 5, padding=2)
        self.narrow = nn.Conv2d(3, 2, 1)

    def forward(self, x):
        out = x.new_zeros((x.shape[0], 4, *x.shape[2:]))
        out[:, :2] = self.narrow(x)
        out[:, 2:] += self.wide(x)
        return out


NETWORKS = {
    "lenet5": (networks.lenet5(), (1, 32, 32)),
    "unet": (networks.UNet(), (3, 16, 24)),
    "inception": (networks.Inception(3, 2), (3, 9, 12)),
    "temporal": (networks.temporal(), (2, 40)),
    "volume": (networks.volume(), (1, 6, 11, 12)),
    "bottleneck": (networks.Bottleneck(8, 2, 2, early=True), (8, 13, 10)),
    "depthwise": (networks.Depthwise(3, 4, 2), (3, 9, 9)),
    "rearranged": (Rearranged(), (3, 15, 18)),
    "gated": (Gated(), (3, 9, 7)),
    "shuffled": (Shuffled(), (4, 6, 5)),
    "written": (Written(), (3, 9, 7)),
    "transposed": (
        nn.Sequential(
            nn.Conv2d(1, 2, 3, 2), nn.ConvTranspose2d(2, 1, 2, 3, dilation=2)
        ),
        (1, 11, 12),
    ),
    "linear interpolation": (
        nn.Sequential(
            nn.Conv2d(1, 1, 3), nn.Upsample(scale_factor=2, mode="bilinear")
        ),
        (1, 8, 7),
    ),
    "aligned corners": (
        nn.Upsample(size=(11, 6), mode="bilinear", align_corners=True), (1, 5, 9)
    ),
    "adaptive pooling": (
        nn.Sequential(nn.Conv2d(1, 1, 3), nn.AdaptiveAvgPool2d((3, 4))), (1, 12, 11)
    ),
    "reflection": (
        nn.Sequential(nn.ReflectionPad2d((1, 2, 3, 0)), nn.Conv2d(1, 1, 2, 3)),
        (1, 9, 8),
    ),
    "circular": (nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular"), (1, 7)),
    "unused border": (
        nn.Sequential(nn.Conv2d(1, 1, 3, 3), nn.Flatten(), nn.Linear(4, 2)), (1, 8, 8)
    ),
}  # fmt: skip
