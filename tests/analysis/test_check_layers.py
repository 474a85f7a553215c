"""``check`` says of our layers what it says of torch's, and what helps."""

import re

import pytest
import torch
from torch import nn

from convscope import layers
from convscope.analysis import check
from convscope.errors import ShapeError


def said(net, size):
    with pytest.raises(ShapeError) as caught:
        check(net, size)
    return str(caught.value)


ALIKE = {
    "channels": (lambda m: [m.Conv2d(3, 8, 5), m.Conv2d(16, 8, 3)], (3, 32, 32)),
    "channels of the input": (lambda m: [m.Conv1d(3, 8, 5)], (4, 32)),
    "channels in groups": (
        lambda m: [m.Conv2d(4, 8, 1, groups=2), m.Conv2d(4, 4, 1, groups=2)],
        (4, 5, 5),
    ),
    "channels of a depthwise layer": (
        lambda m: [m.Conv2d(4, 8, 1), m.Conv2d(4, 8, 3, groups=4)], (4, 5, 5)
    ),
    "channels last": (lambda m: [m.Conv2d(3, 8, 5)], (32, 32, 3)),
    "no channel axis": (lambda m: [m.Conv2d(3, 8, 3)], (12, 12)),
    "too many axes": (lambda m: [m.MaxPool2d(2)], (1, 3, 12, 12)),
    "window": (lambda m: [m.Conv2d(3, 8, 9)], (3, 7, 7)),
    "window of unequal axes": (
        lambda m: [m.Conv2d(3, 8, 3), m.Conv2d(8, 8, (7, 3), padding=1)], (3, 6, 9)
    ),
    "dilated window": (lambda m: [m.Conv1d(2, 3, 3, dilation=5)], (2, 9)),
    "pooling": (
        lambda m: [m.Conv2d(3, 8, 3), m.MaxPool2d(4), m.MaxPool2d(4)], (3, 12, 12)
    ),
    "pooling that rounds up": (
        lambda m: [m.AvgPool2d(5, 2, ceil_mode=True)], (1, 3, 3)
    ),
    "pooling in three dimensions": (
        lambda m: [m.Conv3d(1, 8, 3), m.MaxPool3d(4)], (1, 5, 5, 5)
    ),
    "transposed": (
        lambda m: [m.Conv2d(3, 8, 3), m.ConvTranspose2d(6, 4, 2)], (3, 9, 9)
    ),
    "batch norm": (lambda m: [m.Conv2d(3, 8, 3), m.BatchNorm2d(16)], (3, 9, 9)),
    "batch norm of features": (lambda m: [m.BatchNorm1d(4)], (5,)),
    "linear behind ours": (
        lambda m: [m.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(100, 10)], (3, 12, 12)
    ),
    "two mistakes": (
        lambda m: [m.Conv2d(3, 8, 3), m.BatchNorm2d(6), m.Conv2d(4, 2, 1)], (3, 9, 9)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ALIKE)
def test_our_layer_and_torchs_are_refused_in_the_same_words(name):
    make, size = ALIKE[name]
    texts = [said(nn.Sequential(*make(home)), size) for home in (nn, layers)]
    assert texts[0] == texts[1]
    assert "Use " in texts[0]


ONLY_OURS = {
    "what torch has not is kept in what is tried": (
        [layers.Conv2d(3, 4, 3),
         layers.Conv2d(6, 4, 3, padding=((1, 0), (0, 1)), padding_mode="symmetric")],
        (3, 9, 9),
        "check: 1 = Conv2d(6, 4, 3, padding=((1, 0), (0, 1)), padding_mode='symmetric')"
        " wants (N, 6, H, W), but (N, 4, 7, 7) reaches it: 4 channels reach it, its "
        "weight is for 6. Use in_channels=4.",
    ),
    "uneven padding": (
        [layers.Conv1d(3, 4, 9, padding=[(2, 1)])], (3, 4),
        "check: 0 = Conv1d(3, 4, 9, padding=((2, 1),)) wants (N, 3, 6 or more), but "
        "(N, 3, 4) reaches it: (4 + 3 - 9) / 1 + 1 gives -1. Use an input of (3, 6), "
        "padding=((3, 2),) or kernel_size=7.",
    ),
    "weights of each place": (
        [layers.Conv2d(1, 4, 3), layers.LocallyConnected2d(4, 2, 3, (26, 26))],
        (1, 30, 30),
        "check: 1 = LocallyConnected2d(4, 2, 3, 26) wants (N, 4, 26, 26), but "
        "(N, 4, 28, 28) reaches it: its weight is for 26 x 26 and shares nothing "
        "between places. Use an input of (1, 28, 28) or input_size=28.",
    ),
    "subsampling": (
        [layers.Conv2d(1, 4, 3), layers.Subsampling2d(6, 2)], (1, 30, 30),
        "check: 1 = Subsampling2d(6, 2) wants (N, 6, H, W), but (N, 4, 28, 28) reaches "
        "it: 4 channels reach it, its weight is for 6. Use channels=4.",
    ),
    "gain of unknown axes": (
        [layers.Gain(3)], (4, 5),
        "check: 0 = Gain(3) wants (N, 3, ...), but (N, 4, 5) reaches it: 4 channels "
        "reach it, its weight is for 3. Use an input of (3, 5) or channels=4.",
    ),
    "separable": (
        [layers.Conv2d(1, 4, 3), layers.SeparableConv2d(6, 8, 3, padding="same")],
        (1, 9, 9),
        "check: 1 = SeparableConv2d(6, 8, 3, padding='same') wants (N, 6, H, W), but "
        "(N, 4, 7, 7) reaches it: 4 channels reach it, its weight is for 6. Use "
        "in_channels=4.",
    ),
    "inside of a separable one": (
        [layers.SeparableConv2d(2, 8, 5)], (2, 4, 4),
        "check: 0.depthwise = DepthwiseConv2d(2, 5, bias=False) wants (N, 2, 5 or "
        "more, 5 or more), but (N, 2, 4, 4) reaches it: (4 - 5) / 1 + 1 gives 0. Use "
        "an input of (2, 5, 5), padding=1 or kernel_size=4.",
    ),
    "stage": (
        [layers.Stage2d(1, 4, 3), layers.Stage2d(6, 8, 3, pooling="max")], (1, 9, 9),
        "check: 1 = Stage2d wants (N, 6, H, W), but (N, 4, 7, 7) reaches it: 4 "
        "channels reach it, its weight is for 6. Use in_channels=4.",
    ),
    "pooling of a stage": (
        [layers.Stage2d(1, 4, 3, pooling="max", pool_size=9)], (1, 9, 9),
        "check: 0.pooling = MaxPool2d(9) wants (N, C, 9 or more, 9 or more), but "
        "(N, 4, 7, 7) reaches it: (7 - 9) / 9 + 1 gives 0. Use an input of "
        "(1, 11, 11), padding=1 or kernel_size=7.",
    ),
    "what only the layer knows": (
        [layers.MaxPool1d(2, 1, padding=3)], (3, 4),
        "check: 0 = MaxPool1d(2, stride=1, padding=3) cannot work on (N, 3, 4): "
        "length: window 0 of 9 holds padding only, with padding=(3, 3) around 4 "
        "elements and kernel_size=2. Use less padding, or a larger kernel.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ONLY_OURS)
def test_of_a_layer_that_torch_has_not_it_says_as_much(name):
    parts, size, text = ONLY_OURS[name]
    net = nn.Sequential(*parts)
    assert said(net, size) == text
    with pytest.raises(ShapeError):  # so that no case is a false alarm
        net(torch.zeros(2, *size))


def test_padding_that_torch_refuses_and_ours_takes_is_not_refused():
    check(layers.MaxPool2d(3, 1, padding=2), (1, 4, 4))
    check(layers.AvgPool1d(3, 1, padding="full"), (1, 4))


@pytest.mark.parametrize("home", [nn, layers])
def test_what_works_is_not_refused(home):
    check(home.AvgPool2d(3, 2, ceil_mode=True), (1, 2, 2))
    check(nn.Sequential(home.BatchNorm1d(4)), (4,))
    check(nn.Sequential(home.Conv2d(4, 4, 3, groups=4)), (4, 3, 3))

    class OneAtATime(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = home.Conv2d(3, 4, 3)

        def forward(self, x):
            return torch.stack([self.layer(image) for image in x])

    check(OneAtATime(), (3, 5, 5))


def test_a_subclass_with_its_own_forward_is_not_judged():
    class Folding(layers.Conv2d):
        def forward(self, x):
            return super().forward(x.reshape(len(x), 3, 4, 4))

    check(nn.Sequential(Folding(3, 4, 3)), (48,))


def test_the_words_are_our_own_where_a_layer_is_called_directly():
    layer = layers.Conv2d(16, 8, 3)
    text = (
        "Conv2d: x must have shape (N, 16, H, W) or (16, H, W); got (2, 8, 28, 28), "
        "which has 8 channels"
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(text)}"):
        layer(torch.zeros(2, 8, 28, 28))


def test_padding_is_a_remedy_for_small_volumes_only_where_the_layer_takes_it():
    texts = [
        said(nn.Sequential(nn.Conv3d(1, 8, 3), pool(4)), (1, 5, 5, 5))
        for pool in (nn.AvgPool3d, layers.AvgPool3d)
    ]
    assert texts[0].endswith("Use an input of (1, 6, 6, 6) or kernel_size=3.")
    assert "(1, 6, 6, 6), padding=1 or kernel_size=3." in texts[1]
    with pytest.raises(RuntimeError, match="smaller than kernel size"):
        nn.AvgPool3d(4, padding=1)(torch.zeros(1, 1, 3, 3, 3))
    assert layers.AvgPool3d(4, padding=1)(torch.zeros(1, 1, 3, 3, 3)).numel() == 1
