"""Separable convolution against the one dense convolution that it factors."""

import pytest
import torch
from torch import nn

from convscope import layers
from convscope.errors import ArgumentError, ShapeError
from convscope.functional import conv
from convscope.layers import DepthwiseConv2d, PointwiseConv2d, SeparableConv2d

SIZES = {1: (9,), 2: (7, 8), 3: (5, 4, 6)}
ARGUMENTS = [
    {},
    {"stride": 2, "padding": "same", "depth_multiplier": 3},
    {"dilation": 2, "padding": 1, "depth_multiplier": 2, "padding_mode": "circular"},
    {"padding": "full", "padding_mode": "partial", "depth_multiplier": 2},
]


def kernel_of_one(layer):
    """The product of the factors, summed by loops."""
    depthwise, pointwise = layer.depthwise.weight, layer.pointwise.weight
    multiplier = depthwise.shape[0] // layer.in_channels
    dense = torch.zeros(
        layer.out_channels, layer.in_channels, *depthwise.shape[2:], dtype=torch.float64
    )
    for out in range(layer.out_channels):
        for middle in range(depthwise.shape[0]):
            mixed = pointwise[out, middle].flatten() * depthwise[middle, 0]
            dense[out, middle // multiplier] += mixed
    return dense


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_it_is_one_convolution_with_the_product_of_its_kernels(axes, arguments):
    made = getattr(layers, f"SeparableConv{axes}d")(
        3, 5, (3, 2, 3)[:axes], **arguments, dtype=torch.float64
    )
    x = torch.randn(2, 3, *SIZES[axes], dtype=torch.float64)
    dense = kernel_of_one(made)
    torch.testing.assert_close(made.dense_weight(), dense, rtol=0, atol=1e-14)
    rest = {k: v for k, v in arguments.items() if k != "depth_multiplier"}
    expected = conv(x, dense, made.pointwise.bias, **rest)
    # float64; at most 18 taps of 3 channels, weights below 1
    torch.testing.assert_close(made(x), expected, rtol=0, atol=1e-12)


def test_a_bias_between_only_moves_the_bias_at_the_end():
    layer = SeparableConv2d(2, 3, 3, depth_multiplier=2, depthwise_bias=True)
    x = torch.randn(1, 2, 6, 6)
    moved = layer.pointwise(layer.depthwise.bias.view(1, -1, 1, 1))
    expected = conv(x, layer.dense_weight()) + moved
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_the_factors_hold_the_state_of_torch_s_convolutions(axes):
    torchs = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
    x = torch.randn(2, 4, *SIZES[axes])
    depthwise = getattr(layers, f"DepthwiseConv{axes}d")(4, 3, 2, 1, 1, 2)
    theirs = torchs(4, 8, 3, 2, 1, groups=4)
    theirs.load_state_dict(depthwise.state_dict())
    assert torch.equal(depthwise(x), theirs(x))
    pointwise = getattr(layers, f"PointwiseConv{axes}d")(4, 6, groups=2)
    theirs = torchs(4, 6, 1, groups=2)
    theirs.load_state_dict(pointwise.state_dict())
    assert torch.equal(pointwise(x), theirs(x))


def test_pointwise_is_a_linear_layer_at_each_place():
    layer, x = PointwiseConv2d(3, 5), torch.randn(2, 3, 4, 6)
    linear = nn.functional.linear(
        x.movedim(1, -1), layer.weight[:, :, 0, 0], layer.bias
    )
    torch.testing.assert_close(layer(x), linear.movedim(-1, 1))


def test_depthwise_does_not_mix_channels():
    layer, x = DepthwiseConv2d(3, 3, depth_multiplier=2), torch.randn(1, 3, 5, 5)
    other = x.clone()
    other[:, 1] += 1
    changed = (layer(x) != layer(other)).flatten(2).any(2)[0]
    assert changed.tolist() == [False, False, True, True, False, False]


def test_a_wrong_channel_count_names_the_layer_and_not_its_part():
    with pytest.raises(ShapeError) as caught:
        SeparableConv2d(3, 5, 3)(torch.zeros(2, 4, 8, 8))
    assert str(caught.value) == (
        "SeparableConv2d: x must have shape (N, 3, H, W) or (3, H, W); got "
        "(2, 4, 8, 8), which has 4 channels. Build the layer for 4 channels, or give "
        "it 3."
    )


def test_a_wrong_number_names_the_argument():
    with pytest.raises(ArgumentError) as caught:
        SeparableConv2d(3, 5, 3, depth_multiplier=0)
    assert str(caught.value) == (
        "SeparableConv2d: depth_multiplier=0 is not an integer of at least 1. Use "
        "depth_multiplier=1 or more."
    )


def test_the_repr_shows_both_factors():
    assert repr(SeparableConv2d(3, 5, 3, 2, "same")) == (
        "SeparableConv2d(\n"
        "  (depthwise): DepthwiseConv2d(3, 3, kernel_size=(3, 3), stride=(2, 2), "
        "padding='same', groups=3, bias=False)\n"
        "  (pointwise): PointwiseConv2d(3, 5, kernel_size=(1, 1), stride=(1, 1))\n"
        ")"
    )
