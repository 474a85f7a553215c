"""Layers of torch.nn in ``cs.layers``: the same numbers, and errors in their names."""

import re
from functools import partial

import pytest
import torch
from torch import nn

import convscope as cs
from convscope import layers
from convscope.errors import ArgumentError, ConvscopeError, ShapeError
from convscope.layers import from_torch

IMAGE = (2, 4, 6, 8)
SAME = {  # name: arguments, shape of the input
    "GroupNorm": ((2, 4), IMAGE),
    "InstanceNorm1d": ((4,), (2, 4, 9)),
    "InstanceNorm2d": ((4, 1e-3, 0.2, True, True), IMAGE),
    "InstanceNorm3d": ((4,), (2, 4, 3, 4, 5)),
    "LayerNorm": (([6, 8],), IMAGE),
    "RMSNorm": ((8, 1e-3), IMAGE),
    "Unfold": ((3, 2, 1, 2), IMAGE),
    "Fold": (((5, 6), 2, 1, 1, 2), (2, 8, 12)),
    "PixelShuffle": ((2,), IMAGE),
    "PixelUnshuffle": ((2,), IMAGE),
    "Upsample": ((None, (2.0, 1.5), "bicubic", True), IMAGE),
} | {
    f"{kind}Pad{axes}d": (
        (tuple(range(1, 2 * axes + 1)), *value),
        (2, 4, *(7,) * axes),
    )
    for axes in (1, 2, 3)
    for kind, value in {
        "Zero": (),
        "Constant": (2.5,),
        "Reflection": (),
        "Replication": (),
        "Circular": (),
    }.items()
}


@pytest.mark.parametrize("name", SAME)
def test_numbers_and_states_are_torchs(name):
    arguments, shape = SAME[name]
    torch.manual_seed(0)
    ours = getattr(layers, name)(*arguments)
    theirs = getattr(nn, name)(*arguments)
    assert isinstance(ours, type(theirs))
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(shape)
    for mode in (True, False):
        assert torch.equal(ours.train(mode)(x), theirs.train(mode)(x))
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("name", from_torch.__all__)
def test_what_needs_nothing_from_us_is_torchs_own(name):
    assert getattr(layers, name) is getattr(nn, name)


def test_a_network_is_written_with_one_import():
    net = layers.Sequential(
        layers.ZeroPad2d(1),
        layers.Conv2d(3, 8, 3),
        layers.GroupNorm(2, 8),
        layers.SiLU(),
        layers.MaxPool2d(2),
        layers.Dropout2d(0.1),
        layers.Upsample(scale_factor=2),
        layers.Flatten(),
        layers.Linear(8 * 64, 10),
    )
    table = cs.analysis.summary(net, (3, 8, 8))
    assert table.parameters == 3 * 8 * 9 + 8 + 16 + 8 * 64 * 10 + 10
    assert net(torch.zeros(1, 3, 8, 8)).shape == (1, 10)


ERRORS = [
    (
        partial(layers.GroupNorm, 3, 4),
        ShapeError,
        "GroupNorm: in_channels=4 is not a multiple of groups=3.",
    ),
    (
        partial(layers.LayerNorm, 8, eps=0),
        ArgumentError,
        "LayerNorm: eps=0 is not a number above 0. Use 1e-5, for example.",
    ),
    (
        partial(layers.ZeroPad2d, (1, 2, 3)),
        ArgumentError,
        "ZeroPad2d: padding=(1, 2, 3) is not one integer or 4. Give one for all sides, "
        "or (left, right, top, bottom).",
    ),
    (
        lambda: layers.ReflectionPad1d(4)(torch.zeros(1, 1, 4)),
        ShapeError,
        "ReflectionPad1d, length: padding=(4, 4) needs 5 elements, the input has 4. "
        "Use padding at most 3, or ReplicationPad1d.",
    ),
    (
        lambda: layers.ConstantPad2d(-2, 0.0)(torch.zeros(1, 1, 4, 4)),
        ShapeError,
        "ConstantPad2d, width: padding=(-2, -2) leaves 0 of 4 elements. Cut off at "
        "most 3.",
    ),
    (
        lambda: layers.Fold((4, 4), 2)(torch.zeros(1, 4, 8)),
        ShapeError,
        "Fold: x must have shape (N, C * 4, 9), a column for each window of (4, 4); "
        "got (1, 4, 8). Give what Unfold makes with the same arguments.",
    ),
    (
        lambda: layers.PixelShuffle(2)(torch.zeros(1, 3, 4, 4)),
        ShapeError,
        "PixelShuffle: x must have shape (N, C * 4, H, W) or (C * 4, H, W); got (1, 3, "
        "4, 4). Give it a multiple of 4 channels.",
    ),
    (
        lambda: layers.Upsample(scale_factor=2, mode="linear")(torch.zeros(IMAGE)),
        ShapeError,
        "Upsample: x must have shape (N, C, L); got (2, 4, 6, 8), which has 4 axes "
        "instead of 3. For 2 spatial axes take the 2d layer.",
    ),
    (
        partial(layers.Upsample, 2, 2),
        ArgumentError,
        "Upsample: size=2 and scale_factor=2; only one of them says how large the "
        "output is. Give one of them.",
    ),
]


@pytest.mark.parametrize(
    ("call", "kind", "text"), ERRORS, ids=[text[:30] for _, _, text in ERRORS]
)
def test_what_does_not_fit_is_refused_in_full_sentences(call, kind, text):
    with pytest.raises(ConvscopeError, match="^" + re.escape(text)) as caught:
        call()
    assert type(caught.value) is kind
