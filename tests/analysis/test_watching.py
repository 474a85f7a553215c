"""Layers watched again and again: the values are `capture`'s."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convscope as cs
from convscope.analysis.capturing.watching import Watched


class Twisted(nn.Module):
    """A layer called twice, questions, functions, work in place, a branch."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.act(self.conv(x))
        assert y.shape[1] == 3
        z = F.relu(self.conv(y) - 0.1)
        z += y
        return torch.cat([z, y], 1).flatten(1)


NETWORKS = {
    "twisted": lambda: (Twisted(), (3, 8, 8)),
    "resnet": lambda: (
        cs.models.build("resnet20", width=4, input_size=(16, 16)), (3, 16, 16)
    ),
    "plain": lambda: (cs.models.build("lenet5"), (1, 32, 32)),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_values_are_those_of_capture_in_every_pass(name):
    torch.manual_seed(0)
    net, shape = NETWORKS[name]()
    net.eval()
    watched = Watched(net, cs.capture(net, torch.zeros(1, *shape)))
    for _ in range(3):
        x = torch.randn(1, *shape)
        wanted = cs.capture(net, x)
        found, output = watched(x)
        assert set(found) == set(wanted)
        for label, value in found.items():
            assert torch.equal(value, wanted[label].outputs[0]), label
        assert torch.equal(output, wanted.output)


def test_it_goes_on_after_an_error_and_leaves_the_network_as_it_was():
    net = Twisted().eval()
    x = torch.randn(1, 3, 8, 8)
    watched = Watched(net, ["add_1"])
    before, _ = watched(x)
    with pytest.raises(RuntimeError):
        watched(x[:, :2])
    again, _ = watched(x)
    assert torch.equal(before["add_1"], again["add_1"])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_weights_are_shared_so_that_a_changed_number_shows():
    net = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False))
    watched = Watched(net, ["0"])
    with torch.no_grad():
        net[0].weight.fill_(3.0)
    found, _ = watched(torch.ones(1, 1, 2, 2))
    assert (found["0"] == 3.0).all()
