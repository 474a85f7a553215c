"""Sizes that are suggested work, move only the axis that is wrong, and are nearest."""

import itertools
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convscope.analysis import check
from convscope.errors import ShapeError


def conv(axes):
    return {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[axes]


def transposed(axes):
    return {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[axes]


def pooled(axes, **options):
    kind = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}[axes]
    return kind(2, **options)


class Level(nn.Module):
    """Down, what lies below, up, and together with what was not shrunk."""

    def __init__(self, down, below, up, add=False):
        super().__init__()
        self.down, self.below, self.up, self.add = down, below, up, add

    def forward(self, x):
        y = self.up(self.below(self.down(x)))
        return x + y if self.add else torch.cat([x, y], 1)


def unet(axes, channels, depth, **pooling):
    """A pooling and a transposed convolution for each level."""
    wide, net = 4, nn.Identity()
    for _ in range(depth):
        up = transposed(axes)(wide, wide, 2, stride=2)
        net = nn.Sequential(
            Level(pooled(axes, **pooling), net, up), conv(axes)(2 * wide, wide, 1)
        )
    return nn.Sequential(conv(axes)(channels, wide, 3, padding=1), net)


class MonaiLike(nn.Module):
    """Strided convolutions down, transposed ones with output padding up, in steps."""

    def __init__(self, axes, strides):
        super().__init__()
        net = conv(axes)(4, 4, 3, padding=1)
        for stride in reversed(strides):
            down = conv(axes)(4, 4, 3, stride=stride, padding=1)
            up = transposed(axes)(4, 4, 3, stride, 1, stride - 1)
            net = nn.Sequential(Level(down, net, up), conv(axes)(8, 4, 3, padding=1))
        self.net = nn.Sequential(conv(axes)(1, 4, 3, padding=1), net)

    def forward(self, x):
        return self.net(x)


class Valid(nn.Module):
    """Without padding, joined after the sides are cut: works for some sizes only."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), None
        self.up = nn.ConvTranspose2d(4, 4, 2, stride=2)

    def forward(self, x):
        x = self.a(x)
        y = self.up(self.b(F.max_pool2d(x, 2)))
        return torch.cat([x[..., 2:-2, 2:-2], y], 1)


def residual():
    """Two ways with a stride that meet in a sum."""
    down = nn.Conv2d(3, 3, 4, stride=4)
    up = nn.Upsample(scale_factor=4)
    return nn.Sequential(Level(down, nn.ReLU(), up, add=True), nn.Conv2d(3, 2, 1))


CASES = {
    "wide enough": (unet(2, 1, 4), (1, 100, 64), {(1, 96, 64), (1, 112, 64)}),
    "one axis of two": (unet(2, 3, 4), (3, 50, 96), {(3, 48, 96), (3, 64, 96)}),
    "the other axis": (unet(2, 3, 3), (3, 48, 100), {(3, 48, 96), (3, 48, 104)}),
    "both axes": (
        unet(2, 3, 4), (3, 100, 50), {(3, 96, 48), (3, 112, 64)},
    ),
    "a signal": (unet(1, 2, 5), (2, 1000), {(2, 992), (2, 1024)}),
    "a volume": (
        MonaiLike(3, (2, 2)), (1, 17, 24, 32), {(1, 16, 24, 32), (1, 20, 24, 32)},
    ),
    "two axes of a volume": (
        MonaiLike(3, (2, 2)), (1, 16, 25, 30),
        {(1, 16, 24, 28), (1, 16, 28, 32)},
    ),
    "rounded up": (
        unet(2, 1, 2, ceil_mode=True), (1, 33, 40), {(1, 32, 40), (1, 36, 40)},
    ),
    "small along one axis": (unet(2, 1, 3), (1, 5, 64), {(1, 8, 64)}),
    "without padding": (Valid(), (1, 31, 40), {(1, 30, 40), (1, 32, 40)}),
    "a sum": (residual(), (3, 62, 64), {(3, 60, 64), (3, 64, 64)}),
    "strides of three": (MonaiLike(2, (3, 2)), (1, 50, 48), {(1, 48, 48), (1, 54, 48)}),
}  # fmt: skip


def suggested(net, shape):
    with pytest.raises(ShapeError) as caught:
        check(net, shape)
    found = re.findall(r"an input of (\(.*?\))", str(caught.value))
    return {tuple(map(int, re.findall(r"\d+", text))) for text in found}


def works(net, shape):
    try:
        net(torch.zeros(2, *shape))
    except RuntimeError:
        return False
    return True


@pytest.mark.parametrize("name", CASES)
def test_sizes_that_are_suggested_are_the_nearest_of_each_axis(name):
    net, shape, expected = CASES[name]
    assert not works(net, shape)
    found = suggested(net, shape)
    assert found == expected
    for size in found:
        check(net, size)
        assert works(net, size)


@pytest.mark.parametrize("name", CASES)
def test_nothing_nearer_works(name):
    """By trying every size in the box between the given one and each suggestion."""
    net, shape, expected = CASES[name]
    for size in expected:
        spans = [
            range(min(a, b), max(a, b) + 1) for a, b in zip(shape, size, strict=True)
        ]
        if torch.tensor([len(span) for span in spans]).prod() > 40:
            continue  # the cases with one wrong axis are enough
        inside = [one for one in itertools.product(*spans) if one != size]
        assert [one for one in inside if works(net, one)] == []


def test_a_rectangle_is_told_the_axis_that_a_linear_layer_wants():
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2 * 15 * 7, 3)
    )
    check(net, (1, 32, 16))
    assert suggested(net, (1, 32, 28)) == {(1, 32, 17)}
    assert (1, 32, 16) in suggested(net, (1, 20, 16))
    check(net, (1, 32, 17))
