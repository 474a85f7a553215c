"""Locally connected and separable layers, as the contract tries them."""

from contracts.layer_case import Case
from convscope.arithmetic import locally_connected_weights
from convscope.layers import (
    LocallyConnected1d,
    LocallyConnected2d,
    LocallyConnected3d,
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
]
