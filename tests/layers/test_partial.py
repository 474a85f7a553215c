import copy
import pickle
import re

import pytest
import torch
from torch import nn

from convscope import layers
from convscope.errors import ShapeError

KINDS = [
    (layers.PartialConv1d, layers.Conv1d, nn.Conv1d),
    (layers.PartialConv2d, layers.Conv2d, nn.Conv2d),
    (layers.PartialConv3d, layers.Conv3d, nn.Conv3d),
]
every_kind = pytest.mark.parametrize(("kind", "plain", "torchs"), KINDS)


@every_kind
def test_without_a_mask_padding_is_the_only_hole(kind, plain, torchs):
    layer = kind(4, 6, 3, 2, 1, groups=2)
    other = plain(4, 6, 3, 2, 1, groups=2, padding_mode="partial")
    other.load_state_dict(layer.state_dict())
    x = torch.randn(2, 4, *(7, 6, 5)[: layer.axes])
    assert layer(x).equal(other(x))
    assert layer(x[0]).equal(other(x[0]))
    torchs(4, 6, 3, groups=2).load_state_dict(layer.state_dict())
    assert isinstance(layer, torchs)


@every_kind
def test_the_holes_close_layer_by_layer(kind, plain, torchs):
    layer = kind(1, 1, 3, padding=1)
    size = (7,) * layer.axes
    mask = torch.ones(1, 1, *size)
    mask[(..., *(slice(1, 6),) * layer.axes)] = 0  # five wide
    x = torch.randn(1, 1, *size)
    left = []
    for _ in range(3):
        x, mask = layer(x, mask)
        left.append(int((mask == 0).sum()))
    assert left == [3**layer.axes, 1, 0]


def test_what_is_in_a_hole_does_not_matter():
    layer = layers.PartialConv2d(3, 4, 3, padding="same")
    x = torch.randn(2, 3, 6, 5)
    mask = torch.rand(2, 1, 6, 5) > 0.4
    out, found = layer(x, mask)
    holed, again = layer(x.masked_fill(~mask, torch.inf), mask)
    assert holed.equal(out)
    assert found.equal(again)
    per_channel, found = layer(x, mask.expand(2, 3, 6, 5))
    torch.testing.assert_close(per_channel, out)
    assert found.shape == (2, 4, 6, 5)


def test_copies_compute_the_same_and_a_wrong_mask_is_refused():
    layer = layers.PartialConv2d(3, 4, 3, flip=True)
    x = torch.randn(2, 3, 6, 5)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert twin(x).equal(layer(x))
    text = (
        "PartialConv2d: mask has shape (2, 1, 5, 6), and x (2, 3, 6, 5). Give it (2, "
        "1, 6, 5), or the shape of x."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(text)}$"):
        layer(x, torch.ones(2, 1, 5, 6))
    assert repr(layer) == (
        "PartialConv2d(3, 4, kernel_size=(3, 3), stride=(1, 1), flip=True)"
    )
