import pytest
import torch
from torch import nn

from convscope.analysis import pooling_winners as measure
from convscope.viz import pooling_winners

pytest.importorskip("matplotlib")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_frame_for_each_winner_before_and_in_the_gradient(theme):
    net = nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4, 2))
    x = torch.arange(16.0).view(1, 1, 4, 4)
    drawn = pooling_winners(measure(net, x, target=0), theme=theme)
    maps = drawn.axes[::2]  # the others are scales
    assert [len(p.collections) for p in maps] == [1, 0, 0, 1]
    squares = maps[0].collections[0].get_segments()
    assert [tuple(square[0]) for square in squares] == [
        (0.5, 0.5), (2.5, 0.5), (0.5, 2.5), (2.5, 2.5),
    ]  # fmt: skip
    assert [t.get_text() for t in maps[1].texts] == ["5", "7", "13", "15"]


def test_a_signal_is_a_curve_with_a_dot_at_each_winner():
    net = nn.Sequential(nn.MaxPool1d(2), nn.Flatten(), nn.Linear(3, 2))
    x = torch.tensor([[[1.0, 3.0, 2.0, 0.0, 5.0, 6.0]]])
    drawn = pooling_winners(measure(net, x, target=1))
    before, after, _, back = drawn.axes
    dots = before.lines[-1].get_xydata()
    assert dots.tolist() == [[1.0, 3.0], [2.0, 2.0], [5.0, 6.0]]
    assert after.lines[-1].get_ydata().tolist() == [3.0, 2.0, 6.0]
    assert back.lines[-1].get_xdata().tolist() == [1, 2, 5]


def test_volumes_are_slices_with_a_frame_at_each_winner():
    net = nn.Sequential(nn.MaxPool3d(2), nn.Flatten(), nn.Linear(8, 2))
    x = torch.arange(64.0).view(1, 1, 4, 4, 4)  # the last of each window wins
    drawn = pooling_winners(measure(net, x, target=0))
    before, after, _, back = drawn.axes[::2]
    wide = 4 + 1  # a slice and a gap
    corners = {(z * wide + x - 0.5, y - 0.5)
               for z in (1, 3) for y in (1, 3) for x in (1, 3)}  # fmt: skip
    for plot in (before, back):
        squares = plot.collections[0].get_segments()
        assert {tuple(square[0]) for square in squares} == corners
    labels = [[t.get_text() for t in p.get_xticklabels()] for p in (before, after)]
    assert labels == [[f"slice {i}" for i in range(4)], ["slice 0", "slice 1"]]
    shown = before.images[0].get_array()
    assert shown.filled(-1)[:, :4].tolist() == x[0, 0, 0].tolist()
    assert shown.mask[:, 4].all()


def test_of_a_deep_volume_eight_slices_are_drawn():
    found = measure(nn.MaxPool3d((1, 2, 2)), torch.rand(1, 1, 20, 4, 4))
    labels = [t.get_text() for t in pooling_winners(found).axes[0].get_xticklabels()]
    assert (len(labels), labels[0], labels[-1]) == (8, "slice 0", "slice 19")
