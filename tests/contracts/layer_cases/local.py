"""Locally connected and separable layers, as the contract tries them."""

from contracts.layer_case import Case
from convscope.arithmetic import (
    convolution_parameters,
    locally_connected_weights,
)
from convscope.layers import (
    DepthwiseConv1d,
    DepthwiseConv2d,
    DepthwiseConv3d,
    LocallyConnected1d,
    LocallyConnected2d,
    LocallyConnected3d,
    PointwiseConv1d,
    PointwiseConv2d,
    PointwiseConv3d,
    SeparableConv1d,
    SeparableConv2d,
    SeparableConv3d,
)

CASES = [
    Case(
        "LocallyConnected1d",
        lambda: LocallyConnected1d(2, 4, 3, 9, stride=2, padding="same", groups=2),
        input=(2, 2, 9),
        output=(2, 4, 5),
        parameters=locally_connected_weights(4 * 5, (3,)) + 4 * 5,
        channels=2,
    ),
    Case(
        "LocallyConnected2d",
        lambda: LocallyConnected2d(
            2, 3, (3, 2), (6, 7), padding=[(1, 0), (0, 1)], dilation=(2, 1)
        ),
        input=(2, 2, 6, 7),
        output=(2, 3, 3, 7),
        parameters=locally_connected_weights(3 * 21, (3, 2), in_channels=2) + 3 * 21,
        channels=2,
    ),
    Case(
        "LocallyConnected2d, bias of a channel, reflected",
        lambda: LocallyConnected2d(
            2, 3, 3, 5, padding=1, bias="channel", padding_mode="reflect"
        ),
        input=(2, 2, 5, 5),
        output=(2, 3, 5, 5),
        parameters=locally_connected_weights(3 * 25, (3, 3), in_channels=2) + 3,
        channels=2,
    ),
    Case(
        "LocallyConnected3d",
        lambda: LocallyConnected3d(2, 2, 2, (4, 3, 5), stride=(2, 1, 1), bias=False),
        input=(2, 2, 4, 3, 5),
        output=(2, 2, 2, 2, 4),
        parameters=locally_connected_weights(2 * 16, (2, 2, 2), in_channels=2),
        channels=2,
    ),
    Case(
        "DepthwiseConv1d",
        lambda: DepthwiseConv1d(3, 3, padding="causal", dilation=2),
        input=(2, 3, 7),
        output=(2, 3, 7),
        parameters=convolution_parameters(3, 3, (3,), groups=3),
        channels=3,
    ),
    Case(
        "DepthwiseConv2d",
        lambda: DepthwiseConv2d(3, 3, 2, "same", depth_multiplier=2),
        input=(2, 3, 6, 7),
        output=(2, 6, 3, 4),
        parameters=convolution_parameters(3, 6, (3, 3), groups=3),
        channels=3,
    ),
    Case(
        "DepthwiseConv3d",
        lambda: DepthwiseConv3d(2, 2, bias=False),
        input=(2, 2, 3, 4, 5),
        output=(2, 2, 2, 3, 4),
        parameters=convolution_parameters(2, 2, (2, 2, 2), groups=2, bias=False),
        channels=2,
    ),
    Case(
        "PointwiseConv1d",
        lambda: PointwiseConv1d(3, 4),
        input=(2, 3, 7),
        output=(2, 4, 7),
        parameters=convolution_parameters(3, 4, (1,)),
        channels=3,
    ),
    Case(
        "PointwiseConv2d",
        lambda: PointwiseConv2d(4, 6, groups=2, bias=False),
        input=(2, 4, 6, 7),
        output=(2, 6, 6, 7),
        parameters=convolution_parameters(4, 6, (1, 1), groups=2, bias=False),
        channels=4,
    ),
    Case(
        "PointwiseConv3d",
        lambda: PointwiseConv3d(2, 3),
        input=(2, 2, 3, 4, 5),
        output=(2, 3, 3, 4, 5),
        parameters=convolution_parameters(2, 3, (1, 1, 1)),
        channels=2,
    ),
    Case(
        "SeparableConv1d",
        lambda: SeparableConv1d(3, 4, 3, stride=2, padding="same"),
        input=(2, 3, 7),
        output=(2, 4, 4),
        parameters=convolution_parameters(3, 3, (3,), groups=3, bias=False)
        + convolution_parameters(3, 4, (1,)),
        channels=3,
    ),
    Case(
        "SeparableConv2d",
        lambda: SeparableConv2d(
            3, 4, 3, depth_multiplier=2, padding=1, padding_mode="partial"
        ),
        input=(2, 3, 6, 7),
        output=(2, 4, 6, 7),
        parameters=convolution_parameters(3, 6, (3, 3), groups=3, bias=False)
        + convolution_parameters(6, 4, (1, 1)),
        channels=3,
    ),
    Case(
        "SeparableConv3d",
        lambda: SeparableConv3d(2, 3, 2, bias=False, depthwise_bias=True),
        input=(2, 2, 3, 4, 5),
        output=(2, 3, 2, 3, 4),
        parameters=convolution_parameters(2, 2, (2, 2, 2), groups=2)
        + convolution_parameters(2, 3, (1, 1, 1), bias=False),
        channels=2,
    ),
]
