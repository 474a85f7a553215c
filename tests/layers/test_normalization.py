"""Layers of rectification, contrast and response: what they add to the functions."""

import re

import pytest
import torch
from torch import nn

from convscope import functional as F
from convscope import layers
from convscope.errors import ArgumentError, ConvscopeError, ShapeError

SHAPES = {1: (2, 3, 9), 2: (2, 3, 7, 6), 3: (2, 3, 5, 4, 6)}
UNBATCHED = ["LocalContrastNorm", "LocalResponseNorm"]


@pytest.mark.parametrize("axes", SHAPES)
@pytest.mark.parametrize("name", UNBATCHED)
def test_an_image_without_a_batch_gives_what_it_gives_in_one(name, axes):
    layer = getattr(layers, f"{name}{axes}d")(3)
    x = torch.randn(SHAPES[axes])
    torch.testing.assert_close(layer(x[1]), layer(x)[1])


def test_a_contrast_layer_passes_all_of_its_options_on():
    options = {"subtractive": False, "threshold": 0.7, "padding_mode": "circular"}
    x = torch.randn(SHAPES[2])
    layer = layers.LocalContrastNorm2d((5, 3), (1.0, 2.0), **options)
    expected = F.local_contrast_norm(x, (5, 3), (1.0, 2.0), **options)
    assert torch.equal(layer(x), expected)
    assert repr(layer) == (
        "LocalContrastNorm2d(kernel_size=(5, 3), sigma=(1.0, 2.0), subtractive=False, "
        "threshold=0.7, padding_mode='circular')"
    )


def test_a_response_layer_is_torchs_unless_the_paper_is_asked_for():
    x = torch.randn(SHAPES[2])
    ours, theirs = layers.LocalResponseNorm(2, 0.5), nn.LocalResponseNorm(2, 0.5)
    torch.testing.assert_close(ours(x), theirs(x))
    published = layers.LocalResponseNorm2d(2, 0.25, average=False)
    torch.testing.assert_close(published(x), theirs(x))
    assert repr(published) == (
        "LocalResponseNorm2d(2, alpha=0.25, beta=0.75, k=1.0, average=False)"
    )


def test_a_gain_is_learned_and_begins_at_1():
    layer = layers.Gain(3)
    x = torch.randn(SHAPES[2])
    assert torch.equal(layer(x), x.tanh())
    layer(x).sum().backward()
    torch.testing.assert_close(layer.weight.grad, x.tanh().sum((0, 2, 3)))
    known = layers.Gain(3, axes=2)
    assert torch.equal(known(x[0]), x[0].tanh())
    assert repr(known) == "Gain(3, axes=2)"


@pytest.mark.parametrize(
    ("error", "text", "call"),
    [
        (
            ArgumentError,
            "LocalContrastNorm2d: threshold=-1 is not a number above 0. Use 'mean', or "
            "a deviation below which nothing is amplified.",
            lambda: layers.LocalContrastNorm2d(threshold=-1),
        ),
        (
            ArgumentError,
            "LocalContrastNorm2d: kernel_size=(3, 3, 3) has 3 values for 2 spatial "
            "axes. Give one integer, or 2.",
            lambda: layers.LocalContrastNorm2d((3, 3, 3)),
        ),
        (
            ArgumentError,
            "LocalResponseNorm3d: size=0 is not an integer of at least 1. Use size=1 "
            "or more.",
            lambda: layers.LocalResponseNorm3d(0),
        ),
        (
            ArgumentError,
            "Gain: channels=0 is not an integer of at least 1. Use channels=1 or more.",
            lambda: layers.Gain(0),
        ),
        (
            ShapeError,
            "Gain: x must have shape (N, 3, ...); got (3,). Build the layer for the "
            "channels that reach it.",
            lambda: layers.Gain(3)(torch.zeros(3)),
        ),
        (
            ShapeError,
            "LocalResponseNorm: x must have shape (N, C, ...) with one to three "
            "spatial axes; got (2, 3). Add or remove axes with unsqueeze or flatten.",
            lambda: layers.LocalResponseNorm(3)(torch.zeros(2, 3)),
        ),
        (
            ShapeError,
            "LocalContrastNorm1d: x must have shape (N, C, L) or (C, L); got (2, 3, 4, "
            "5), which has 4 axes instead of 3. For 2 spatial axes take the 2d layer.",
            lambda: layers.LocalContrastNorm1d()(torch.zeros(2, 3, 4, 5)),
        ),
    ],
)
def test_what_cannot_be_is_refused_in_full_sentences(error, text, call):
    with pytest.raises(ConvscopeError, match=f"^{re.escape(text)}$") as caught:
        call()
    assert type(caught.value) is error
