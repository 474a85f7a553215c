import pytest
import torch
from torch import nn

from convscope.analysis import pooling_winners as measure
from convscope.errors import ArgumentError
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


def test_signals_have_a_picture_and_volumes_none():
    assert pooling_winners(measure(nn.MaxPool1d(2), torch.rand(1, 1, 9))).png()
    with pytest.raises(ArgumentError, match="a map of 3 axes has no picture"):
        pooling_winners(measure(nn.MaxPool3d(2), torch.rand(1, 1, 4, 4, 4)))
