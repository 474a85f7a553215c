"""A step without a graph gives the gradients of a step with one."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convscope import kernels
from convscope.execution import Setting, whole_step
from convscope.models import build

pytestmark = pytest.mark.skipif(not kernels.available(), reason="no native kernels")

SETTING = Setting(torch.device("cpu"), "float32", False, kernels=True)
SHAPE = (1, 32, 32)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("soft", [False, True])
def test_loss_and_gradients_are_those_of_float64(soft, smoothing):
    torch.manual_seed(0)
    net = build("lenet5")
    exact = copy.deepcopy(net).double()
    x, targets = torch.randn(21, *SHAPE), torch.randint(10, (21,))
    if soft:
        targets = F.one_hot(targets, 10) * 0.7 + 0.03
    step = whole_step(net, SETTING, SHAPE)
    step(x, torch.randint(10, (21,)))  # its gradients are overwritten
    loss = step(x, targets, smoothing)
    wanted = targets.double() if soft else targets
    expected = F.cross_entropy(exact(x.double()), wanted, label_smoothing=smoothing)
    expected.backward()
    torch.testing.assert_close(loss.double(), expected.detach(), rtol=1e-5, atol=0)
    for name, p in exact.named_parameters():
        found = net.get_parameter(name).grad.double()
        torch.testing.assert_close(found, p.grad, rtol=1e-3, atol=1e-6)


def test_weights_keep_their_names_values_and_identity():
    net = build("lenet5")
    before = dict(net.named_parameters())
    values = {name: p.detach().clone() for name, p in before.items()}
    whole_step(net, SETTING, SHAPE)
    for name, p in net.named_parameters():
        assert p is before[name]
        assert torch.equal(p, values[name])


def test_an_optimizer_that_forgets_gradients_gets_them_again():
    net = build("lenet5")
    step = whole_step(net, SETTING, SHAPE)
    net.zero_grad()
    step(torch.randn(4, *SHAPE), torch.randint(10, (4,)))
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("what", ["hook", "moved"])
def test_it_steps_back_where_it_would_not_be_seen(what):
    net = build("lenet5")
    step = whole_step(net, SETTING, SHAPE)
    assert step.serves()
    if what == "hook":
        net[2].register_forward_hook(lambda *_: None)
    else:
        net[0].weight.data = net[0].weight.data.clone()
    assert not step.serves()


@pytest.mark.parametrize(
    "net",
    [
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)),
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten()),  # maps, not logits
        nn.Sequential(nn.Flatten(), nn.Dropout(0.1), nn.Linear(1024, 10)),
        nn.Linear(2, 2),
    ],
)
def test_a_network_that_is_no_chain_to_logits_has_none(net):
    assert whole_step(net, SETTING, SHAPE) is None


def test_a_frozen_weight_wants_a_graph():
    net = build("lenet5")
    net[0].weight.requires_grad = False
    assert whole_step(net, SETTING, SHAPE) is None


def test_other_settings_have_none():
    for setting in (
        Setting(torch.device("cpu"), "float32", True, kernels=True),
        Setting(torch.device("cpu"), "float32", False),
    ):
        assert whole_step(build("lenet5"), setting, SHAPE) is None
