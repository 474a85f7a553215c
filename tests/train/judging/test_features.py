"""Features before the last layer: they and that layer are the network."""

import numpy as np
import pytest
import torch
from torch import nn

from convscope import models
from convscope.data.preprocessing import Preprocessing
from convscope.errors import ArgumentError
from convscope.train.judging.features import features
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


def test_a_network_without_a_linear_layer_is_refused():
    images = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
    with pytest.raises(ArgumentError, match="no linear layer"):
        features(nn.Conv2d(1, 1, 3), images, PLAIN)
