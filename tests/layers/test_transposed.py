import copy
import pickle
import re

import pytest
import torch
from torch import nn

from convscope import layers
from convscope.errors import ArgumentError, ShapeError, UnknownNameError

PAIRS = [
    (layers.ConvTranspose1d, nn.ConvTranspose1d, (4, 6, 3), {}),
    (layers.ConvTranspose1d, nn.ConvTranspose1d, (4, 6, 5, 2, 1, 1, 2, False, 3), {}),
    (layers.ConvTranspose2d, nn.ConvTranspose2d, (4, 6, 4, 2, 1), {}),
    (
        layers.ConvTranspose2d,
        nn.ConvTranspose2d,
        (4, 6, (3, 2), (2, 3)),
        {"padding": (1, 0), "output_padding": (0, 2), "dtype": torch.float64},
    ),
    (layers.ConvTranspose3d, nn.ConvTranspose3d, (4, 4, 2, 2), {"groups": 4}),
]
every_pair = pytest.mark.parametrize(("ours", "theirs", "given", "named"), PAIRS)


def both(ours, theirs, given, named):
    torch.manual_seed(0)
    left = ours(*given, **named)
    torch.manual_seed(0)
    return left, theirs(*given, **named)


@every_pair
def test_they_start_and_compute_as_torch_s_bit_for_bit(ours, theirs, given, named):
    left, right = both(ours, theirs, given, named)
    x = torch.randn(2, 4, *(5, 4, 3)[: left.axes], dtype=left.weight.dtype)
    assert left(x).equal(right(x))
    assert left(x[0]).equal(right(x[0]))
    right.load_state_dict(left.state_dict())
    left.load_state_dict(right.state_dict())
    assert left(x).equal(right(x))
    assert isinstance(left, theirs)
    for name in (*right.__constants__, "transposed"):
        assert getattr(left, name) == getattr(right, name)


@pytest.mark.parametrize("size", [(9, 7), (10, 8), (2, 6, 9, 8)])
def test_an_output_size_can_be_asked_for(size):
    left, right = both(
        layers.ConvTranspose2d, nn.ConvTranspose2d, (4, 6, 3, 2), {"padding": 1}
    )
    x = torch.randn(2, 4, 5, 4)
    assert left(x, size).equal(right(x, size))
    uneven = layers.ConvTranspose2d(4, 6, 3, 2, ((0, 2), (1, 1)))
    assert uneven(x, output_size=size).shape == (2, 6, *size[-2:])


def test_an_output_size_out_of_reach_is_refused():
    text = (
        "ConvTranspose2d: output_size=(12, 7) cannot be reached from an input of (5, "
        "4). Ask for (9, 7) to (10, 8)."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(text)}$"):
        layers.ConvTranspose2d(4, 6, 3, 2, 1)(torch.zeros(1, 4, 5, 4), (12, 7))


def test_same_undoes_the_sizes_of_a_convolution_with_same():
    for kernel, stride in ((3, 2), (4, 2), (5, 3), (2, 3)):
        down = layers.Conv2d(3, 4, kernel, stride, "same")
        up = layers.ConvTranspose2d(4, 3, kernel, stride, "same")
        x = torch.randn(1, 3, 4 * stride, 5 * stride)
        assert up(down(x)).shape == x.shape


def test_copies_compute_the_same_and_everything_shows():
    layer = layers.ConvTranspose2d(4, 6, 3, 2, ((0, 1), (2, 1)), 1, 2, flip=True)
    x = torch.randn(2, 4, 5, 4)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert twin(x).equal(layer(x))
    assert repr(layer) == (
        "ConvTranspose2d(4, 6, kernel_size=(3, 3), stride=(2, 2), padding=((0, 1), (2, "
        "1)), output_padding=(1, 1), groups=2, flip=True)"
    )


@pytest.mark.parametrize(
    ("named", "error", "text"),
    [
        (
            {"padding_mode": "reflect"},
            ArgumentError,
            "ConvTranspose1d: padding_mode='reflect' says what surrounds an input, "
            "but the padding of a transposed convolution is cut off its output. Leave "
            "padding_mode='zeros'.",
        ),
        (
            {"padding_mode": "zeroes"},
            UnknownNameError,
            "unknown padding_mode 'zeroes'. Did you mean 'zeros'?",
        ),
        (
            {"padding": "causal", "dilation": 2},
            ArgumentError,
            "ConvTranspose1d: padding='causal' would let a transposed convolution see "
            "only later inputs. To see none of them, cut the end: padding=((0, 4),).",
        ),
        (
            {"stride": 2, "output_padding": 2},
            ShapeError,
            "ConvTranspose1d, length: output_padding=2 is not below stride=2 or "
            "dilation=1. Use output_padding at most 1.",
        ),
        (
            {"groups": 3},
            ShapeError,
            "ConvTranspose1d: in_channels=4 is not a multiple of groups=3. Use 3 or 6 "
            "channels, or groups that divide both numbers of channels.",
        ),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_built(named, error, text):
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        layers.ConvTranspose1d(4, 6, 3, **named)
