from dataclasses import replace

import pytest
import torch
from torch import nn

from analysis import networks
from analysis.field_networks import NETWORKS
from analysis.support import require_support, supports
from convscope.analysis import exact_ranges, summary
from convscope.analysis.operations import registry


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
