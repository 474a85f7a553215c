from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from analysis import networks
from analysis.support import require_support, supports
from convscope.analysis import exact_ranges, summary
from convscope.analysis.operations import registry


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


@pytest.mark.parametrize("name", NETWORKS)
def test_every_range_is_the_support_of_a_gradient(name):
    require_support(*NETWORKS[name])


def test_the_check_rejects_a_planted_mistake(monkeypatch):
    row = registry.by_torch("convolution")
    honest = row.sees

    def blind_to_stride(arguments, shape):
        axes = len(arguments["stride"])
        if any(step > 1 for step in arguments["stride"]):
            arguments = {**arguments, "padding": [0] * axes}
        return honest(arguments, shape)

    wrong = replace(row, sees=blind_to_stride)
    monkeypatch.setitem(registry._BY_TORCH, "convolution", wrong)
    with pytest.raises(AssertionError):
        require_support(nn.Conv2d(1, 1, 3, stride=2, padding=1), (1, 9, 9))


def test_a_field_far_from_borders_is_the_support_of_a_middle_output():
    net = networks.resnet50(stride_on_1x1=False)[:2].eval()  # the stem and a stage
    record = summary(net, (3, 128, 128))
    fields = record.rows[0].receptive_field
    (first, last) = supports(net, (3, 128, 128), 0)[16]
    assert (fields[0].size, first) == (
        last - first + 1,
        fields[0].offset + 16 * fields[0].stride,
    )


def test_a_mean_over_patches_sees_the_whole_image():
    ranges = exact_ranges(networks.Patches(), (3, 16, 20))
    assert ranges == (((0, 15),), ((0, 19),))


def test_two_inputs_have_a_field_each():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.left = nn.Conv2d(1, 2, 3, padding=1)
            self.right = nn.Conv2d(3, 2, 5, padding=2)

        def forward(self, a, b):
            return self.left(a) + self.right(b)

    record = summary(Two(), [(1, 8, 8), (3, 8, 8)])
    assert [f[0].size for f in record.rows[0].receptive_fields] == [3, 5]
    assert record.find("left").receptive_fields[1] == ()


def test_misaligned_branches_are_said_to_be_so():
    class Skewed(nn.Module):
        def __init__(self):
            super().__init__()
            self.centered = nn.Conv2d(1, 1, 3, padding=1)
            self.late = nn.Conv2d(1, 1, 3)

        def forward(self, x):
            return self.centered(x)[:, :, :-2, :-2] + self.late(x)

    record = summary(Skewed(), (1, 9, 9))
    assert record.rows[0].receptive_field[0].misaligned
    assert "branches that meet in add are misaligned" in str(record)


def test_what_is_not_understood_is_unknown_not_guessed():
    class Sorted(nn.Module):
        def forward(self, x):
            return x.sort(dim=-1).values

    record = summary(Sorted(), (1, 4, 4))
    assert record.rows[0].receptive_field is None
    assert "receptive fields are unknown after sort" in record.notes[0]


def test_after_a_packed_sequence_fields_are_unknown_not_empty():
    pack = nn.utils.rnn.pack_padded_sequence

    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.lstm = nn.Conv1d(3, 4, 3), nn.LSTM(4, 5, batch_first=True)
            self.out = nn.Linear(5, 2)

        def forward(self, x):
            steps = self.conv(x).transpose(1, 2)
            lengths = torch.full((len(x),), steps.shape[1])
            packed = pack(steps, lengths, batch_first=True)
            return self.out(self.lstm(packed)[1][0][-1])

    net = Words()
    record = summary(net, (3, 10))
    fields = {row.name: row.receptive_field for row in record.rows}
    assert [f.size for f in fields["conv"]] == [3]
    assert fields["full"] == ()  # the lengths, which no input reaches
    assert fields["pack_padded_sequence"] is fields["lstm"] is fields["out"] is None
    lines = record.to_text().splitlines()
    assert next(line for line in lines if line.startswith("out ")).endswith("?")
    x = torch.rand(2, 3, 10, requires_grad=True)
    net(x).sum().backward()
    assert x.grad.abs().sum((0, 1)).min() > 0  # all of it reaches the output
