import pytest
import torch
from torch import nn

from convscope.train.training.lookahead import Lookahead


def test_slow_weights_are_those_of_a_loop_written_out():
    net = nn.Linear(3, 2)
    slow = net.weight.detach().clone()
    lookahead = Lookahead(net, every=2)
    for step in range(1, 9):
        with torch.no_grad():
            net.weight.add_(torch.randn(2, 3))
        fast, progress = net.weight.detach().clone(), step / 8
        lookahead.after(step, progress)
        if step % 2 == 0:
            keep = 0.95**2 * progress**3
            slow = keep * slow + (1 - keep) * fast
            fast = slow
        # one rounding of a number below 8 in each of 8 steps
        torch.testing.assert_close(net.weight.detach(), fast, rtol=0, atol=8e-6)


def test_at_the_end_the_network_has_the_slow_weights():
    net = nn.BatchNorm1d(2)
    lookahead = Lookahead(net, every=5)
    with torch.no_grad():
        net.weight.fill_(7.0)
        net.running_mean.fill_(7.0)
    lookahead.after(4, 1.0)  # not their turn
    lookahead.finish()
    assert net.weight.tolist() == [1.0, 1.0]
    assert net.running_mean.tolist() == [0.0, 0.0]


def test_what_was_saved_comes_back():
    net = nn.Linear(2, 2)
    before = Lookahead(net, every=1)
    after = Lookahead(nn.Linear(2, 2), every=1)
    after.load(before.slow)
    assert all(after.slow[name].equal(t) for name, t in before.slow.items())
    with pytest.raises(KeyError):
        after.load({})
