import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convscope.analysis import health
from convscope.data import load
from convscope.errors import ArgumentError, DataError


class Functional(nn.Module):
    """Its activation is a function, and changes its input in place."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
        self.fc = nn.Linear(4 * 36, 3)

    def forward(self, x):
        return self.fc(F.relu_(self.bn(self.conv(x))).flatten(1))


def pairs(images=10, batch=4, size=8):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(images, 1, size, size, generator=generator)
    labels = torch.arange(images) % 3
    return list(zip(x.split(batch), labels.split(batch), strict=True)), x, labels


def layer(found, label):
    return next(each for each in found.layers if each.label == label)


def test_a_unit_that_no_image_wakes_is_dead_also_behind_a_function():
    torch.manual_seed(0)
    net = Functional()
    with torch.no_grad():
        net.bn.bias[1] = -100
        net.bn.bias[2] = 100
    found = health(net, pairs()[0])
    (relu,) = [each for each in found.layers if each.kind.startswith("relu")]
    assert relu.dead == (1,)
    assert layer(found, "bn").dead == ()
    assert found.dead == 1
    assert relu.saturated == relu.zeros
    assert 0.25 < relu.zeros < 0.75


def test_figures_are_those_of_all_images_at_once():
    torch.manual_seed(0)
    net = Functional().eval()
    batches, x, labels = pairs()
    found = health(net, batches)
    y = net.conv(x)
    y.retain_grad()
    loss = F.cross_entropy(net.fc(net.bn(y).relu().flatten(1)), labels, reduction="sum")
    loss.backward()
    conv = layer(found, "conv")
    assert found.images == 10
    assert found.loss == pytest.approx(loss.item() / 10, rel=1e-5)
    assert conv.mean == pytest.approx(y.mean().item(), rel=1e-4)
    assert conv.std == pytest.approx(y.std(correction=0).item(), rel=1e-4)
    rms = y.grad.square().mean().sqrt().item()
    assert conv.gradient == pytest.approx(rms, rel=1e-4)
    for each in found.weights:
        value = net.get_parameter(each.path)
        assert each.gradient == pytest.approx(value.grad.norm().item() / 10, rel=1e-4)
        assert each.norm == pytest.approx(value.norm().item(), rel=1e-6)


@pytest.mark.parametrize("kind", [nn.Tanh, nn.Sigmoid, nn.Hardtanh, nn.ReLU6])
def test_saturation_is_where_the_slope_is_below_a_twentieth(kind):
    x = torch.linspace(-9, 9, 1000).view(2, 1, 500).requires_grad_()
    (slopes,) = torch.autograd.grad(kind()(x).sum(), x)
    flat = (slopes < 0.05 * slopes.max()).double().mean().item()
    found = health(nn.Sequential(kind()), [(x.detach(), torch.full((2,), -1))])
    assert found.layers[0].saturated == pytest.approx(flat, abs=0.002)


def test_histograms_are_shares_before_and_after_each_batch_norm():
    torch.manual_seed(0)
    net = Functional()
    net.bn.running_mean += 3
    batches, x, _ = pairs(batch=10)
    (norm,) = health(net, batches).norms
    assert norm.path == "bn"
    for edges, shares, values in (
        (norm.before_edges, norm.before, net.conv(x)),
        (norm.after_edges, norm.after, net.eval().bn(net.conv(x))),
    ):
        assert shares.sum() == pytest.approx(1)
        middle = (edges[1:] + edges[:-1]) / 2
        assert (middle * shares).sum() == pytest.approx(values.mean().item(), abs=0.05)


def test_the_network_is_as_before():
    torch.manual_seed(0)
    net = Functional().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    health(net, pairs()[0])
    assert net.training
    assert all(p.grad is None for p in net.parameters())
    assert all(value.equal(before[n]) for n, value in net.state_dict().items())


def test_without_labels_or_classes_there_are_no_gradients_and_it_is_said():
    x = torch.randn(4, 1, 8, 8)
    nobody = health(Functional(), [(x, torch.full((4,), -1))])
    assert nobody.notes == ("without labels there are no gradients",)
    maps = health(nn.Conv2d(1, 2, 3), [(x, torch.zeros(4))])
    assert maps.notes == (
        "the network gives no (N, classes), so there is no loss and no gradient",
    )
    assert maps.loss is None
    assert maps.weights == ()
    assert json.loads(json.dumps(maps.to_dict()))["images"] == 4


def test_images_are_taken_from_all_of_a_part_and_bounded():
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    assert health(net, load("digits"), most=50).images == 50
    assert health(Functional(), pairs(30, 7)[0], most=20).images == 20
    with pytest.raises(
        ArgumentError, match=r"unknown part 'tset'\. Did you mean 'test'"
    ):
        health(net, load("digits"), part="tset")
    with pytest.raises(ArgumentError, match="most=1, batch_size=32"):
        health(net, load("digits"), most=1)
    with pytest.raises(DataError, match="0 images are too few"):
        health(net, [])


def test_the_table_has_a_line_for_each_layer():
    found = health(Functional(), pairs()[0])
    lines = str(found).splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == [e.label for e in found.layers]
    assert np.isfinite([e.std for e in found.layers]).all()


def test_a_frozen_network_has_gradients_at_its_values_alone():
    found = health(Functional().requires_grad_(False), pairs()[0])
    assert found.weights == ()
