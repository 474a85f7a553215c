"""Features before the last layer: they and that layer are the network."""

import numpy as np
import pytest
import torch
from torch import nn

from convscope import models
from convscope.data.preprocessing import Preprocessing
from convscope.errors import ArgumentError, RunError, ShapeError, UnknownNameError
from convscope.train.judging.feature_layer import before_last_linear
from convscope.train.judging.features import FeatureReader, features
from convscope.train.judging.inference import logits

PLAIN = Preprocessing(channels=1, size=(32, 32), mean=(0.5,), std=(0.5,))


@pytest.mark.parametrize("name", ["lenet5", "efficientnet_lite0", "mlp"])
def test_the_last_layer_makes_the_networks_output_of_them(name):
    torch.manual_seed(0)
    net = models.build(name, in_channels=1, input_size=(32, 32))
    images = torch.randint(0, 256, (5, 1, 32, 32), dtype=torch.uint8)
    found = features(net, images, PLAIN, batch_size=2)
    last = [m for m in net.modules() if isinstance(m, nn.Linear)][-1]
    with torch.no_grad():
        again = last(torch.from_numpy(found))
    torch.testing.assert_close(again, logits(net, images, PLAIN), rtol=1e-4, atol=1e-4)
    assert found.shape == (5, last.in_features)
    assert not last._forward_pre_hooks
    assert net.training


def test_the_batch_size_changes_nothing():
    torch.manual_seed(0)
    net = models.build("lenet5")
    images = torch.randint(0, 256, (7, 1, 32, 32), dtype=torch.uint8)
    one, all_ = (features(net, images, PLAIN, batch_size=n) for n in (1, 7))
    np.testing.assert_allclose(one, all_, rtol=1e-4, atol=1e-4)


def read(net, x, layer=None):
    reader = FeatureReader(net, layer=layer)
    return reader.read(x), reader


def test_of_a_network_of_convolutions_it_is_what_reaches_the_last_of_one_position():
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
    net = nn.Sequential(body, nn.Conv2d(8, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    x = torch.randn(5, 3, 9, 7)
    found, reader = read(net, x)
    torch.testing.assert_close(found, body(x).detach().mean((2, 3)))
    assert str(reader.place) == "what reaches 1"


@pytest.mark.parametrize("axes", [1, 3])
def test_signals_and_volumes_are_taken_alike(axes):
    torch.manual_seed(0)
    conv = getattr(nn, f"Conv{axes}d")
    net = nn.Sequential(conv(2, 6, 3), nn.ReLU(), conv(6, 6, 3), nn.Flatten())
    net.append(nn.LazyLinear(3))
    x = torch.randn(4, 2, *[8] * axes)
    net(x)
    assert read(net, x)[0].shape == (4, 6 * 4**axes)
    map_, _ = read(net, x, "2")
    torch.testing.assert_close(map_, net[:3](x).detach().flatten(2).mean(2))


def test_a_linear_layer_over_positions_gives_their_mean():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
    x = torch.randn(3, 7, 6)
    torch.testing.assert_close(read(net, x)[0], net[:2](x).detach().mean(1))


def test_a_network_without_a_head_gives_its_output():
    """The last convolution is followed by a norm, as in a ResNet without its layer."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU())
    x = torch.randn(5, 3, 9, 7)
    found, reader = read(net, x)
    torch.testing.assert_close(found, net.eval()(x).detach().mean((2, 3)))
    assert str(reader.place) == "the network's output"


def test_gates_before_the_last_convolution_are_no_head():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate, self.head = nn.Linear(3, 3), nn.Conv2d(3, 2, 1)

        def forward(self, x):
            return self.head(x * self.gate(x.mean((2, 3)))[..., None, None].sigmoid())

    assert str(read(Gated(), torch.randn(2, 3, 5, 5))[1].place) == "what reaches head"


def test_transposed_convolutions_are_no_head():
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1), nn.ConvTranspose2d(2, 2, 4)
    )
    assert str(read(net, torch.randn(1, 1, 9, 9))[1].place) == "what reaches 2"


def test_what_a_later_layer_changes_in_place_is_not_changed_here():
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True), nn.Linear(3, 2))
    x = torch.randn(50, 4)
    found, _ = read(net, x, "0")
    torch.testing.assert_close(found, net[0](x).detach())
    assert (found < 0).any()


def test_of_a_layer_that_is_called_twice_the_last_call_counts():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.same = nn.Linear(4, 4)

        def forward(self, x):
            return self.same(self.same(x).relu())

    net, x = Twice(), torch.randn(3, 4)
    torch.testing.assert_close(read(net, x)[0], net.same(x).relu().detach())


def test_layers_that_say_nothing_of_each_image_are_refused():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.unused, self.pair, self.head = nn.ReLU(), Pair(), nn.Linear(4, 2)
            self.whole = Whole()

        def forward(self, x):
            return self.head(self.pair(x)[0] + self.whole(x))

    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    class Whole(nn.Module):
        def forward(self, x):
            return x.mean(0, keepdim=True)

    x = torch.randn(3, 4)
    with pytest.raises(ArgumentError, match="layer='unused' is not called"):
        read(Odd(), x, "unused")
    with pytest.raises(ArgumentError, match=r"layer='pair' \(Pair\) gives a tuple"):
        read(Odd(), x, "pair")
    with pytest.raises(ArgumentError, match="gives 1 rows for 3 images"):
        read(Odd(), x, "whole")
    with pytest.raises(UnknownNameError, match="Did you mean 'head'"):
        read(Odd(), x, "heat")


def test_numbers_that_are_not_finite_are_refused_with_the_layer():
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    with torch.no_grad():
        net[0].weight[0] = float("nan")
    with pytest.raises(RunError, match="layer '0'"):
        read(net, torch.randn(3, 4))


def test_inputs_that_do_not_fit_are_explained():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(ShapeError, match="channels"):
        read(net, torch.randn(2, 1, 3, 3))


def test_pictures_must_have_the_form_of_their_preprocessing():
    with pytest.raises(ShapeError, match="32, 32"):
        features(nn.Linear(2, 2), torch.zeros(1, 1, 9, 9, dtype=torch.uint8), PLAIN)


def test_fitting_a_last_layer_needs_a_linear_one():
    with pytest.raises(ArgumentError, match="no linear layer"):
        before_last_linear(nn.Conv2d(1, 1, 3))
