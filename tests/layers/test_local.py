"""Locally connected layers: what is theirs beyond the contract of all layers."""

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from convscope.arithmetic import locally_connected_weights, output_shape
from convscope.errors import ShapeError, UnknownNameError
from convscope.layers import (
    LocallyConnected1d,
    LocallyConnected2d,
    LocallyConnected3d,
)


@pytest.mark.parametrize("layer", [LocallyConnected1d, LocallyConnected2d])
@pytest.mark.parametrize("padding", ["same", "same_lower", "valid", "full", 1])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 2])
def test_the_weights_are_as_many_as_arithmetic_says(layer, padding, stride, groups):
    sizes = (9, 8)[: layer.axes]
    made = layer(4, 6, 3, sizes, stride, padding, groups=groups)
    places = output_shape(sizes, 3, stride=stride, padding=padding)
    assert made.weight.numel() == locally_connected_weights(
        6 * math.prod(places), (3,) * layer.axes, in_channels=4 // groups
    )
    assert made.bias.shape == (6, *places)


def test_each_place_has_the_convolution_of_its_own_weight():
    layer = LocallyConnected2d(2, 3, 3, (6, 5), stride=2, padding=[(0, 1), (1, 0)])
    x = torch.randn(4, 2, 6, 5)
    out, padded = layer(x), F.pad(x, (1, 0, 0, 1))
    for i, j in itertools.product(*map(range, layer.output_size)):
        here = F.conv2d(padded, layer.weight[i, j], layer.bias[:, i, j], stride=2)
        torch.testing.assert_close(out[:, :, i, j], here[:, :, i, j])


def test_a_bias_of_a_channel_is_that_of_a_convolution():
    layer = LocallyConnected1d(2, 3, 3, 8, bias="channel")
    assert layer.bias.shape == (3,)
    bare = LocallyConnected1d(2, 3, 3, 8, bias=False)
    assert bare.bias is None
    bare.load_state_dict({"weight": layer.weight})
    x = torch.randn(1, 2, 8)
    torch.testing.assert_close(layer(x), bare(x) + layer.bias[:, None])


def test_it_starts_as_a_convolution_of_the_same_fan_in_does():
    torch.manual_seed(0)
    layer = LocallyConnected2d(8, 16, 3, (12, 12), groups=2)
    bound = 1 / math.sqrt(4 * 9)
    for parameter in layer.parameters():
        assert parameter.abs().max() <= bound
        # the largest of n uniform numbers misses the bound by bound / n on average
        assert parameter.abs().max() > bound * (1 - 20 / parameter.numel())
        # and their mean has a deviation of bound / sqrt(3 n)
        assert abs(parameter.mean()) < 5 * bound / math.sqrt(3 * parameter.numel())


def test_an_input_of_another_size_is_refused_with_both_sizes():
    with pytest.raises(ShapeError) as caught:
        LocallyConnected2d(1, 2, 3, (8, 7))(torch.zeros(2, 1, 8, 8))
    assert str(caught.value) == (
        "LocallyConnected2d: x has size (8, 8); the layer has weights for "
        "input_size=(8, 7) and shares none. Crop or pad x to that, or build the layer "
        "for the size of x."
    )


def test_a_kernel_that_does_not_fit_is_refused_when_the_layer_is_built():
    with pytest.raises(ShapeError) as caught:
        LocallyConnected3d(1, 2, 5, (8, 4, 8))
    assert str(caught.value).startswith(
        "LocallyConnected3d, height: kernel_size=5 spans 5 elements, the input has 4."
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"bias": "chanel"}, "unknown bias 'chanel'. Did you mean 'channel'?"),
        ({"padding": "vaild"}, "unknown padding 'vaild'. Did you mean 'valid'?"),
        (
            {"padding_mode": "partial"},
            "unknown padding_mode 'partial'. Known: circular, constant, reflect, "
            "replicate, symmetric, zeros.",
        ),
    ],
)
def test_another_name_is_refused_when_the_layer_is_built(arguments, text):
    with pytest.raises(UnknownNameError) as caught:
        LocallyConnected2d(1, 2, 3, 8, **arguments)
    assert str(caught.value) == text


def test_the_repr_has_every_argument_that_is_not_the_default():
    layer = LocallyConnected2d(
        4, 6, 3, 8, 2, "same", 2, 2, bias="channel", padding_mode="reflect"
    )
    assert repr(layer) == (
        "LocallyConnected2d(4, 6, kernel_size=(3, 3), input_size=(8, 8), "
        "stride=(2, 2), padding='same', dilation=(2, 2), groups=2, bias='channel', "
        "padding_mode='reflect')"
    )
    plain = LocallyConnected1d(1, 2, 3, 8, padding=[(0, 1)], bias=False)
    assert repr(plain) == (
        "LocallyConnected1d(1, 2, kernel_size=(3,), input_size=(8,), stride=(1,), "
        "padding=((0, 1),), bias=False)"
    )


def test_it_exports_with_any_batch_and_gives_the_same():
    layer, x = (
        LocallyConnected2d(2, 3, 3, (6, 5), padding="same"),
        torch.randn(2, 2, 6, 5),
    )
    program = torch.export.export(
        layer, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )
    x = torch.randn(5, 2, 6, 5)
    torch.testing.assert_close(program.module()(x), layer(x))
