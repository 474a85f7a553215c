"""One seed drops the same units in every memory format, where training asks for it."""

import pytest
import torch
from torch import nn

from convscope.execution import Optimized, Setting

CPU = torch.device("cpu")
SETTINGS = [
    Setting(CPU, precision, last, kernels=native)
    for precision in ("float32", "bfloat16")
    for last in (False, True)
    for native in (False, True)
]


def network(kind=nn.Dropout):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), kind(0.5), nn.Conv2d(8, 4, 3))


def dropped(setting, net, **options):
    """Which places of the map in the middle are 0."""
    seen = []
    handle = net[2].register_forward_pre_hook(lambda m, x: seen.append(x[0] == 0))
    torch.manual_seed(1)
    x = torch.randn(4, 3, 9, 9, generator=torch.Generator().manual_seed(2))
    y = Optimized(net, setting, **options)(x)
    y.sum().backward()
    handle.remove()
    return seen[0]


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
@pytest.mark.parametrize("kind", [nn.Dropout, nn.Dropout2d])
def test_masks_are_those_of_the_plain_network(kind, setting):
    expected = dropped(SETTINGS[0], network(kind))
    assert torch.equal(dropped(setting, network(kind), same_dropout=True), expected)
    assert 0.2 < expected.float().mean() < 0.8


def test_a_loop_of_ones_own_draws_in_the_order_of_memory():
    """As the documentation of ``optimize`` says."""
    last = Setting(CPU, "float32", True)
    found, expected = dropped(last, network()), dropped(SETTINGS[0], network())
    assert not torch.equal(found, expected)


def test_a_unit_that_is_kept_counts_for_those_that_are_dropped():
    net = nn.Sequential(nn.Dropout(0.75, inplace=True))
    x = torch.ones(2, 3, 50, 50).contiguous(memory_format=torch.channels_last)
    y = Optimized(net, SETTINGS[0], same_dropout=True)(x)
    assert set(y.unique().tolist()) == {0.0, 4.0}
    assert y is x
    net.eval()
    assert torch.equal(Optimized(net, SETTINGS[0], same_dropout=True)(y), x)


def test_networks_without_dropout_leave_the_generator_alone():
    torch.manual_seed(4)
    expected = torch.rand(1)
    torch.manual_seed(4)
    net = network(lambda p: nn.Identity())
    torch.manual_seed(4)
    Optimized(net, SETTINGS[1], same_dropout=True)(torch.zeros(1, 3, 9, 9))
    assert torch.equal(torch.rand(1), expected)
