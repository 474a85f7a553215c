import numpy as np
import pytest
import torch
from torch import nn

from convscope.analysis import equivariance as measure
from convscope.errors import ArgumentError
from convscope.viz import equivariance

pytest.importorskip("matplotlib")
IMAGES = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_a_map_for_each_network_with_layers_and_a_line_for_each_network():
    mlp = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    cnn = nn.Sequential(nn.Conv2d(1, 2, 3, 2), nn.ReLU(), nn.Flatten())
    found = [measure(net, IMAGES, shifts=(1, 2)) for net in (mlp, cnn)]
    figure = equivariance(found)
    maps = [plot for plot in figure.axes if plot.images]
    (table,) = (plot.images[0].get_array().filled(np.nan) for plot in maps)
    assert np.isnan(table[:, 0]).all()  # a shift of 1 under a stride of 2
    assert table[:, 1].tolist() == [row.differences[1] for row in found[1].layers]
    changes = figure.axes[-2]
    assert [line.get_ydata().tolist() for line in changes.lines] == [
        list(each.output_changes) for each in found
    ]


def test_measurements_with_other_shifts_do_not_share_a_picture():
    net = nn.Sequential(nn.Conv2d(1, 2, 3))
    found = [measure(net, IMAGES, shifts=shifts) for shifts in ((1,), (2,))]
    with pytest.raises(ArgumentError, match="with the same shifts"):
        equivariance(found)
