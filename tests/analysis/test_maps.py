import json

import numpy as np
import pytest
import torch
from torch import nn

from convscope.analysis import feature_maps
from convscope.errors import ArgumentError, ShapeError, UnknownNameError
from convscope.models import build


def test_maps_are_what_each_layer_gives():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 4))
    x, value = torch.randn(1, 1, 8, 8), None
    found = feature_maps(net, x)
    value = x
    for layer, each in zip(net, found.layers, strict=True):
        value = layer(value)
        np.testing.assert_array_equal(each.values, value[0].detach().numpy())
        assert each.largest == value.max()
        assert each.is_signed == bool((value < 0).any())
    assert [each.label for each in found.layers] == ["0", "1", "2", "3"]
    assert json.loads(json.dumps(found.to_dict()))["network"] == "Sequential"


def test_the_strongest_channels_are_those_of_the_largest_mean_of_squares():
    net = nn.Conv2d(1, 9, 1, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([1, -5, 2, 0, 9, 3, -7, 4, 6.0]).view(9, 1, 1, 1))
    (layer,) = feature_maps(
        net, torch.ones(1, 1, 4, 4), most=3, order="strength"
    ).layers
    assert layer.channels == (4, 6, 8)
    assert layer.shape == (9, 4, 4)
    assert (layer.smallest, layer.largest) == (-7, 9)  # of all channels


def test_of_many_layers_the_most_telling_are_kept_and_it_is_said():
    found = feature_maps(
        build("resnet18", input_size=(32, 32)), torch.zeros(1, 3, 32, 32)
    )
    labels = [each.label for each in found.layers]
    assert len(labels) == 24
    assert found.left_out == "24 of 69 layers shown; choose others by their path"
    assert not any("bn" in label or "conv" in label for label in labels)
    assert labels[-1] == "fc"
    chosen = feature_maps(
        build("resnet18", input_size=(32, 32)),
        torch.zeros(1, 3, 32, 32),
        "layer1.*conv1",
    )
    assert [each.label for each in chosen.layers] == [
        "layer1.0.conv1",
        "layer1.1.conv1",
    ]


def test_values_that_are_not_finite_are_counted_and_leave_the_range():
    net = nn.Sequential(nn.Conv2d(1, 1, 1))
    x = torch.tensor([[[[1.0, torch.inf], [torch.nan, 0.5]]]])
    (layer,) = feature_maps(net, x).layers
    assert layer.not_finite == 2
    assert np.isfinite([layer.smallest, layer.largest]).all()


def test_what_is_no_single_input_or_no_layer_is_refused():
    net = nn.Sequential(nn.Conv2d(1, 2, 3))
    with pytest.raises(ShapeError, match=r"inputs has shape \(2, 1, 8, 8\)"):
        feature_maps(net, torch.zeros(2, 1, 8, 8))
    with pytest.raises(ShapeError):
        feature_maps(net, torch.zeros(1, 3, 8, 8))
    with pytest.raises(UnknownNameError, match="unknown layer 'conv'"):
        feature_maps(net, torch.zeros(1, 1, 8, 8), "conv")
    with pytest.raises(ArgumentError, match="most=0 is below 1"):
        feature_maps(net, torch.zeros(1, 1, 8, 8), most=0)
    with pytest.raises(ShapeError, match=r"picture has shape \(8,\)"):
        feature_maps(net, torch.zeros(1, 1, 8, 8), picture=np.zeros(8))


def test_of_long_vectors_the_beginning_is_kept_and_the_range_is_of_all():
    (layer,) = feature_maps(nn.Flatten(), torch.arange(3000.0).view(1, 3, 1000)).layers
    assert (layer.shape, len(layer.values), layer.largest) == ((3000,), 1024, 2999)
