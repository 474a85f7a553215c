"""Filters are those that the layer applies: a delta input brings them out."""

import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from convscope import layers
from convscope.analysis import filters, templates
from convscope.errors import ArgumentError, ShapeError, UnknownNameError


def impulse_response(layer, channel, groups, kernel):
    """What each filter does to a 1 in the middle of one input channel, flipped back."""
    axes = len(kernel)
    size = [2 * k - 1 for k in kernel]
    x = torch.zeros(1, layer.in_channels, *size)
    x[(0, channel, *[k - 1 for k in kernel])] = 1
    with torch.no_grad():
        out = layer(x)[0]
    return out.flip(list(range(1, axes + 1))).numpy()


def plain(**options):
    return nn.Conv2d(4, 6, (3, 2), bias=False, **options)


def normalized():
    return parametrizations.weight_norm(plain())


def pruned():
    layer = plain()
    prune.l1_unstructured(layer, "weight", amount=0.5)
    return layer


TABLE = torch.tensor([[1, 0, 1, 0], [1, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 1]]).bool()
CASES = {
    "torch.nn": plain,
    "groups": lambda: plain(groups=2),
    "ours": lambda: layers.Conv2d(4, 6, (3, 2), bias=False),
    "flipped": lambda: layers.Conv2d(4, 6, (3, 2), bias=False, flip=True),
    "tables": lambda: layers.Conv2d(4, 4, (3, 2), bias=False, connections=TABLE),
    "signals": lambda: nn.Conv1d(4, 6, 3, bias=False),
    "volumes": lambda: nn.Conv3d(4, 6, (2, 3, 2), bias=False),
    "weight norm": normalized,
    "pruned": pruned,
}


@pytest.mark.parametrize("name", CASES)
def test_a_delta_brings_out_the_filters(name):
    torch.manual_seed(0)
    layer = CASES[name]()
    found = filters(layer)
    per_group = 4 // layer.groups
    for channel in range(4):
        answer = impulse_response(layer, channel, layer.groups, layer.kernel_size)
        group, inside = divmod(channel, per_group)
        ours = np.zeros_like(answer)
        each = len(answer) // layer.groups
        mine = slice(group * each, (group + 1) * each)
        ours[mine] = found.weight[mine, inside]
        np.testing.assert_allclose(ours, answer, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", [nn.ConvTranspose2d, layers.ConvTranspose2d])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_convolution_puts_its_filter_where_the_delta_is(kind, groups):
    torch.manual_seed(0)
    layer = kind(4, 6, (3, 2), groups=groups, bias=False)
    found = filters(layer)
    assert found.weight.shape == (6, 4 // groups, 3, 2)
    for channel in range(4):
        x = torch.zeros(1, 4, 1, 1)
        x[0, channel] = 1
        with torch.no_grad():
            out = layer(x)[0].numpy()
        group, inside = divmod(channel, 4 // groups)
        mine = slice(group * 6 // groups, (group + 1) * 6 // groups)
        np.testing.assert_allclose(out[mine], found.weight[mine, inside], atol=1e-6)


def test_a_network_is_as_before_also_where_looking_changes_it():
    torch.manual_seed(0)
    net = nn.Sequential(parametrizations.spectral_norm(nn.Conv2d(3, 4, 3))).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    filters(net)
    assert net.training
    assert all(value.equal(net.state_dict()[n]) for n, value in before.items())
    assert torch.get_rng_state().equal(state)


def test_the_strongest_come_first_and_bounds_are_said():
    net = nn.Conv2d(20, 100, 3, bias=False)
    found = filters(net, order="norm", most=5, most_inputs=7)
    norms = net.weight.detach().flatten(1).double().norm(dim=1)
    assert list(found.filters) == norms.argsort(descending=True)[:5].tolist()
    np.testing.assert_allclose(found.norms, norms[list(found.filters)], rtol=1e-6)
    assert found.left_out == "5 of 100 filters, 7 of 20 input channels shown"
    assert filters(net).left_out == "32 of 100 filters, 16 of 20 input channels shown"
    chosen = filters(net, order=(9, 0))
    assert chosen.filters == (9, 0)
    assert torch.tensor(chosen.weight).equal(net.weight[[9, 0], :16].detach())


def test_a_template_gives_the_layers_output_as_a_sum_of_products():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 5, 7, bias=False))
    x = torch.randn(1, 3, 4, 5)
    found = templates(net, (3, 4, 5))
    sums = (found.weight * x.numpy()).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(sums, net(x)[0].detach().numpy(), rtol=1e-5, atol=1e-6)
    assert found.is_template
    assert found.is_color


def test_the_record_is_json_and_counts_what_is_not_finite():
    net = nn.Conv2d(1, 2, 2)
    with torch.no_grad():
        net.weight[0, 0, 0, 0] = torch.nan
    found = filters(net)
    assert found.not_finite == 1
    assert found.largest == net.weight.detach().nan_to_num(0).abs().max()
    assert json.loads(json.dumps(found.to_dict()))["kind"] == "Conv2d(1, 2, 2)"


NET = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Sequential(nn.Conv2d(2, 2, 1)))
REFUSED = [
    (lambda: filters(nn.Linear(3, 2)), ArgumentError,
     "filters: Linear has no convolution among its modules. Functions that are called "
     "without a module, and scripted modules, are not seen."),
    (lambda: filters(NET, "1"), ArgumentError,
     "filters: layer='1' is ReLU, not a convolution. Choose one of 0, 2.0."),
    (lambda: filters(NET, "2"), ArgumentError,
     "filters: layer='2' is Sequential, not a convolution. Choose one of 2.0."),
    (lambda: filters(NET, "2.1"), UnknownNameError,
     "unknown layer '2.1'. Did you mean '2.0'?"),
    (lambda: filters(NET, order="norms"), UnknownNameError,
     "unknown order 'norms'. Did you mean 'norm'?"),
    (lambda: filters(NET, order=(2,)), ArgumentError,
     "filters: order=(2,) asks for filter 2, the layer has 2. Use 0 to 1."),
    (lambda: filters(NET, most=0), ArgumentError,
     "filters: most=0 is below 1. Use 64."),
    (lambda: filters(nn.LazyConv2d(3, 2)), ArgumentError,
     "filters: layer='LazyConv2d(3, 2)' has no weights yet. Build it on a device, "
     "and run a lazy layer once."),
    (lambda: templates(nn.Linear(8, 2), (1, 3, 3)), ShapeError,
     "templates: layer='' takes 8 numbers, an input of (1, 3, 3) has 9: it does not "
     "look at the whole input. Choose the first layer of a network without "
     "convolutions."),
    (lambda: templates(NET, (1, 3, 3)), ArgumentError,
     "templates: Sequential has no linear layer among its modules. Functions that are "
     "called without a module, and scripted modules, are not seen."),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize(("call", "kind", "text"), REFUSED)
def test_what_has_no_filters_is_refused_in_full(call, kind, text):
    with pytest.raises(kind) as refused:
        call()
    assert str(refused.value) == text
