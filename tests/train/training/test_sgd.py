import copy

import pytest
import torch
from torch import nn

from convscope.train.training.sgd import SGD


def pair(momentum, nesterov):
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten())
    theirs = copy.deepcopy(ours)

    def groups(net):
        return [
            {
                "params": [p for p in net.parameters() if p.ndim > 1],
                "weight_decay": 0.1,
            },
            {
                "params": [p for p in net.parameters() if p.ndim == 1],
                "weight_decay": 0.0,
            },
        ]

    return (
        (ours, SGD(groups(ours), lr=0.1, momentum=momentum, nesterov=nesterov)),
        (
            theirs,
            torch.optim.SGD(
                groups(theirs),
                lr=0.1,
                momentum=momentum,
                nesterov=nesterov and momentum > 0,
                foreach=True,
            ),
        ),
    )


def steps(net, optimizer, first, last, skip=None):
    for number in range(first, last):
        generator = torch.Generator().manual_seed(number)
        optimizer.zero_grad()
        net(torch.randn(4, 2, 6, 6, generator=generator)).square().mean().backward()
        if number == skip:
            net[0].bias.grad = None
        optimizer.step()


def same(one, other):
    return all(
        torch.equal(a, b)
        for a, b in zip(one.parameters(), other.parameters(), strict=True)
    )


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("skip", [None, 0, 2])
def test_every_step_is_torchs_to_the_bit(momentum, nesterov, skip):
    ours, theirs = pair(momentum, nesterov)
    steps(*ours, 0, 5, skip)
    assert not same(ours[0], theirs[0])
    steps(*theirs, 0, 5, skip)
    assert same(ours[0], theirs[0])


def test_its_state_goes_on_in_another_and_in_torchs():
    whole, _ = pair(0.9, nesterov=True)
    half, _ = pair(0.9, nesterov=True)
    steps(*whole, 0, 5)
    steps(*half, 0, 3)
    for net, optimizer in pair(0.9, nesterov=True):
        net.load_state_dict(half[0].state_dict())
        kept = half[1].state_dict()["state"]
        optimizer.load_state_dict({**optimizer.state_dict(), "state": kept})
        steps(net, optimizer, 3, 5)
        assert same(net, whole[0])
