"""Filters in a layer do what they do to an image."""

import re

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from convscope.errors import ArgumentError, ConvscopeError, ShapeError
from convscope.functional import filter_kernel, gabor_bank
from convscope.layers import Conv1d, Conv2d, Conv3d, set_filters

GRAY = np.random.default_rng(0).standard_normal((9, 11))


def answers(conv, channels=1):
    x = torch.from_numpy(GRAY).float().expand(1, channels, -1, -1)
    return conv(x)[0].detach().numpy()


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_each_output_channel_is_the_correlation_with_its_filter_in_turn(channels, flip):
    names = ["emboss", "sobel", "identity"]
    conv = Conv2d(channels, 5, 3, padding="same", flip=flip)
    out = answers(set_filters(conv, names), channels)
    for channel, name in enumerate([*names, *names][:5]):
        taps = filter_kernel(name).numpy()
        expected = ndimage.correlate(GRAY, taps, mode="constant")
        np.testing.assert_allclose(out[channel], expected, atol=1e-5)


@pytest.mark.parametrize("size", [3, 4, 7])
def test_a_smaller_filter_lies_in_the_middle_of_the_kernel(size):
    conv = set_filters(Conv2d(1, 1, size, padding="same"), "emboss")
    expected = ndimage.correlate(GRAY, filter_kernel("emboss").numpy(), mode="constant")
    np.testing.assert_allclose(answers(conv)[0], expected, atol=1e-5)


def test_a_filter_that_has_a_size_takes_the_kernels():
    conv = set_filters(nn.Conv2d(1, 1, 7), "gaussian")
    assert torch.equal(conv.weight[0, 0], filter_kernel("gaussian", size=7))


def test_a_bank_of_gabor_filters_fills_a_layer():
    conv = set_filters(Conv2d(1, 64, 9), gabor_bank())
    assert torch.equal(conv.weight[:, 0], gabor_bank())
    assert not conv.bias.any()
    assert conv.weight.requires_grad


@pytest.mark.parametrize(("kind", "axes"), [(Conv1d, 1), (Conv3d, 3)])
def test_other_numbers_of_axes_are_filled_too(kind, axes):
    conv = set_filters(kind(2, 3, 3), ["sobel", "binomial"])
    for output, name in enumerate(["sobel", "binomial", "sobel"]):
        taps = filter_kernel(name, axes=axes) / 2
        assert torch.equal(conv.weight[output], torch.stack([taps, taps]))


def test_with_a_connection_table_each_output_averages_the_inputs_that_it_has():
    table = torch.tensor([[1, 0, 0], [1, 1, 1], [0, 1, 1]], dtype=torch.bool)
    conv = set_filters(Conv2d(3, 3, 3, padding="same", connections=table), "emboss")
    expected = ndimage.correlate(GRAY, filter_kernel("emboss").numpy(), mode="constant")
    np.testing.assert_allclose(answers(conv, 3), [expected] * 3, atol=1e-5)


@pytest.mark.parametrize(
    ("error", "text", "call"),
    [
        (
            ArgumentError,
            "set_filters: conv is a ConvTranspose2d, which applies no filters to its "
            "input. Give a Conv1d, Conv2d or Conv3d.",
            lambda: set_filters(nn.ConvTranspose2d(1, 1, 3), "box"),
        ),
        (
            ArgumentError,
            "set_filters: filters is empty. Give one name, or a tensor of taps.",
            lambda: set_filters(nn.Conv2d(1, 1, 3), []),
        ),
        (
            ShapeError,
            "set_filters: a filter of shape (5, 5) does not fit into the kernel (3, "
            "3). Build the layer with kernel_size=(5, 5).",
            lambda: set_filters(nn.Conv2d(1, 1, 3), torch.ones(2, 5, 5)),
        ),
        (
            ShapeError,
            "set_filters: a filter of shape (3,) has another number of axes than "
            "the kernel (3, 3). Give filters with 2.",
            lambda: set_filters(nn.Conv2d(1, 1, 3), torch.ones(3, 3)),
        ),
    ],
)
def test_what_cannot_be_is_refused_in_full_sentences(error, text, call):
    with pytest.raises(ConvscopeError, match=f"^{re.escape(text)}$") as caught:
        call()
    assert type(caught.value) is error
