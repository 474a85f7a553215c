import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convscope import layers
from convscope.analysis import pooling_winners
from convscope.errors import ArgumentError, ShapeError, UnknownNameError


def x_of(*space):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, 3, *space, generator=generator)


@pytest.mark.parametrize("kind", [nn, layers])
@pytest.mark.parametrize(
    ("axes", "arguments"), [(1, (3, 2)), (2, (2, 2)), (2, (3, 2, 1)), (3, (2,))]
)
def test_winners_are_those_of_torchs_own_indices(kind, axes, arguments):
    x = x_of(*[7] * axes)
    pool = getattr(kind, f"MaxPool{axes}d")(*arguments)
    found = pooling_winners(nn.Sequential(pool), x, "0", channel=1)
    torchs = getattr(F, f"max_pool{axes}d")
    out, indices = torchs(x, *arguments, return_indices=True)
    space = x.shape[2:]
    expected = np.stack(np.unravel_index(indices[0, 1].numpy(), space), axis=-1)
    np.testing.assert_array_equal(found.winner, expected)
    np.testing.assert_array_equal(found.after, out[0, 1].numpy())
    assert found.wins.sum() == out[0, 1].numel()


def test_the_gradient_goes_to_the_winners_alone_and_all_of_it():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.MaxPool2d(3, 2), nn.Flatten(), nn.Linear(50, 4)
    )
    x = torch.randn(1, 1, 13, 13)
    found = pooling_winners(net, x, target=2)
    assert (found.layer, found.target) == ("1", "output 2")
    weight = net[3].weight[2, :25].view(5, 5).detach().numpy()
    np.testing.assert_allclose(found.gradient_after, weight)
    expected = np.zeros((11, 11), np.float32)
    for place in np.ndindex(5, 5):
        expected[tuple(found.winner[place])] += weight[place]
    np.testing.assert_allclose(found.gradient_before, expected, atol=1e-7)
    assert json.loads(json.dumps(found.to_dict()))["channel"] == 0


NET = nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.AvgPool2d(2))
X = torch.zeros(1, 1, 12, 12)
REFUSED = [
    (lambda: pooling_winners(nn.Conv2d(1, 2, 3), X), ArgumentError,
     "Conv2d has no max pooling among its modules"),
    (lambda: pooling_winners(NET, X, "2"), ArgumentError,
     "layer='2' is AvgPool2d(2), not a max pooling. Choose one of 1."),
    (lambda: pooling_winners(NET, X, "pool"), UnknownNameError, "unknown layer 'pool'"),
    (lambda: pooling_winners(NET, X, "1", 2), ArgumentError,
     "channel=2 is outside the 2 of layer='1'. Use 0 to 1."),
    (lambda: pooling_winners(NET, torch.cat([X, X])), ShapeError,
     "inputs has shape (2, 1, 12, 12), where one input (1, C, *space) is needed"),
    (lambda: pooling_winners(nn.MaxPool2d(2), torch.zeros(1, 1, 200, 200)),
     ArgumentError, "has 10000 windows, more than 4096"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "text"), REFUSED)
def test_what_has_no_winners_is_refused(call, kind, text):
    with pytest.raises(kind) as refused:
        call()
    assert text in str(refused.value)
