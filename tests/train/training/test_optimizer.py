"""Optimizers: who decays, and a state that goes out and in."""

import copy

import pytest
import torch
from torch import nn

from convscope.train.recipe import Recipe
from convscope.train.training.optimizer import Optimizer

NAMES = ("sgd", "adamw", "muon")


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 8, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip


def step(net, optimizer, seed):
    images = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    optimizer.zero_grad()
    net(images).square().mean().backward()
    optimizer.step()


@pytest.mark.parametrize("name", NAMES)
def test_only_weights_with_two_or_more_axes_decay(name):
    net = network()
    before = {n: p.detach().clone() for n, p in net.named_parameters()}
    recipe = Recipe(optimizer=name, weight_decay=0.5, learning_rate=0.1, momentum=0.0)
    optimizer = Optimizer(net, recipe)
    optimizer.zero_grad()
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for n, parameter in net.named_parameters():
        shrunk = parameter.detach().norm() < before[n].norm()
        assert bool(shrunk) == (parameter.ndim > 1), n


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_state_taken_out_and_put_in_gives_the_same_bits(name, layout):
    recipe = Recipe(optimizer=name, learning_rate=0.05)
    net = network().to(memory_format=layout)
    optimizer = Optimizer(net, recipe)
    for seed in range(3):
        step(net, optimizer, seed)
    weights = copy.deepcopy(net.state_dict())
    state = {n: t.clone().contiguous() for n, t in optimizer.state().items()}
    step(net, optimizer, 9)

    other = network().to(memory_format=layout)
    second = Optimizer(other, recipe)
    other.load_state_dict(weights)
    second.load_state(state)
    step(other, second, 9)
    for n, tensor in net.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[n]), n


def test_sgd_takes_the_step_of_the_formula():
    net = nn.Linear(3, 2, bias=False)
    weight = net.weight.detach().clone()
    recipe = Recipe(optimizer="sgd", momentum=0.0, weight_decay=0.1, learning_rate=0.5)
    optimizer = Optimizer(net, recipe)
    gradient = torch.randn(2, 3)
    net.weight.grad = gradient.clone()
    optimizer.step()
    expected = weight - 0.5 * (gradient + 0.1 * weight)
    torch.testing.assert_close(net.weight.detach(), expected)


def test_muon_moves_a_convolution_along_nearly_orthogonal_directions():
    net = network()
    before = net[2].weight.detach().clone()
    recipe = Recipe(optimizer="muon", weight_decay=0.0, learning_rate=0.1, momentum=0.0)
    step(net, Optimizer(net, recipe), 0)
    moved = (net[2].weight.detach() - before).flatten(1)
    values = torch.linalg.svdvals(moved)
    assert values.max() / values.min() < 3  # of a plain gradient it is far more


def test_biases_move_by_their_own_rate():
    net = nn.Linear(2, 1)
    recipe = Recipe(learning_rate=0.1, momentum=0.0, weight_decay=0.0, bias_rate=8)
    optimizer = Optimizer(net, recipe)
    optimizer.set_rate(0.5)
    before = [p.detach().clone() for p in net.parameters()]
    net(torch.ones(1, 2)).sum().backward()  # every gradient is 1
    optimizer.step()
    moved = [b - p.detach() for b, p in zip(before, net.parameters(), strict=True)]
    torch.testing.assert_close(moved[0], torch.full((1, 2), 0.5))
    torch.testing.assert_close(moved[1], torch.full((1,), 4.0))
