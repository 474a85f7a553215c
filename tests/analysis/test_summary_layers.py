"""A summary of our layers: nested, with their own windows, and by the same rules."""

import pytest
import torch
from torch import nn

from convscope import layers
from convscope.analysis import summary


def inexact(*parts, size=(3, 32, 32)):
    return summary(nn.Sequential(*parts), size).inexact


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1])
def test_windows_that_leave_a_rest_are_told_as_for_torch(stride, padding):
    told = [
        inexact(home.Conv2d(3, 4, 4, stride, padding), home.MaxPool2d(3, 2, padding))
        for home in (nn, layers)
    ]
    assert told[0] == told[1]


def test_windows_are_the_layers_own_and_not_of_what_it_calls():
    (uneven,) = inexact(layers.Conv2d(3, 4, 3, 2, padding=((1, 1), (1, 0))))
    assert uneven.path == "0"
    assert uneven.ignored == (0, 0)  # of the height it is padding that is left over
    assert uneven.sentence.startswith("32x32 padded by 1x(1, 0) with 3x3")
    for exact in (
        layers.Conv2d(3, 4, 3, 2, padding=((0, 1), (0, 1))),
        layers.StochasticPool2d(2),
        layers.LPPool2d(2, 2),
        layers.LocalContrastNorm2d(9),
        layers.Subsampling2d(3),
        layers.AdaptiveAvgPool2d(5),
    ):
        assert inexact(exact) == ()
    (rest,) = inexact(layers.StochasticPool2d(3))
    assert rest.ignored == (2, 2)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "circular", "partial"])
@pytest.mark.parametrize("size", [31, 32])
def test_same_padding_leaves_nothing(mode, size):
    layer = layers.Conv2d(3, 4, 3, 2, padding="same", padding_mode=mode)
    assert inexact(layer, size=(3, size, size)) == ()


def test_layers_that_hold_layers_are_shown_nested():
    net = nn.Sequential(
        layers.Stage2d(3, 8, 5, activation="tanh", pooling="max"),
        layers.SeparableConv2d(8, 6, 3, padding="same"),
    )
    record = summary(net, (3, 32, 32))
    assert [(row.path, row.is_layer) for row in record.rows] == [
        ("", False),
        ("0", False),
        ("0.filters", True),
        ("0.activation", True),
        ("0.pooling", True),
        ("1", False),
        ("1.depthwise", True),
        ("1.pointwise", True),
    ]
    stage, separable = record.find("0"), record.find("1")
    assert stage.parameters == 8 * 3 * 25 + 8
    assert stage.multiply_adds == 8 * 3 * 25 * 28**2
    assert separable.parameters == 8 * 9 + 8 * 6 + 6
    assert separable.multiply_adds == (8 * 9 + 8 * 6) * 14**2
    assert record.parameters == stage.parameters + separable.parameters
    assert record.multiply_adds == stage.multiply_adds + separable.multiply_adds
    assert separable.kind == "SeparableConv2d(8, 6, 3, padding='same')"
    plain = nn.Sequential(
        nn.Conv2d(3, 8, 5), nn.Tanh(), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 6, 1),
    )  # fmt: skip
    fields = summary(plain, (3, 32, 32)).rows[-1].receptive_field
    assert separable.receptive_field == fields


def test_a_fixed_window_has_no_weights_to_multiply_by():
    for layer in (
        layers.LocalContrastNorm2d(9),
        layers.LocalContrastNorm2d(9, padding_mode="reflect", threshold=0.1),
        layers.LocalResponseNorm2d(5),
        layers.AvgPool2d(2, padding="same"),
        layers.LPPool2d(2, 2),
    ):
        assert summary(nn.Sequential(layer), (3, 16, 16)).multiply_adds == 0


def test_what_an_operation_hides_and_the_layer_tells_is_not_called_unknown():
    layer = layers.LocallyConnected2d(3, 2, 3, 8)
    record = summary(nn.Sequential(layer), (3, 8, 8))
    assert record.notes == ()
    assert record.rows[-1].receptive_field[0].size == 3


@pytest.mark.parametrize("mode", ["partial", "zeros", "reflect"])
def test_contrast_normalization_needs_no_values(mode):
    layer = layers.LocalContrastNorm2d(7, sigma=1.23, padding_mode=mode, threshold=0.1)
    assert summary(nn.Sequential(layer), (3, 16, 16)).notes == ()


def test_a_layer_before_it_that_is_not_understood_still_is():
    class Sorted(nn.Module):
        def forward(self, x):
            return x.sort(-1).values

    net = nn.Sequential(Sorted(), layers.Conv2d(3, 2, 3))
    assert "unknown after sort" in summary(net, (3, 8, 8)).notes[0]


def test_a_kernel_in_a_buffer_is_a_weight_that_is_frozen():
    class Blur(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("kernel", torch.ones(3, 1, 5, 5) / 25)

        def forward(self, x):
            return nn.functional.conv2d(x, self.kernel, groups=3)

    assert summary(Blur(), (3, 16, 16)).multiply_adds == 3 * 25 * 12**2
