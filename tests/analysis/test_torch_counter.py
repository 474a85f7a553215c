"""Where torch's own counter and ours differ, as docs/explanation/counting.md says."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from analysis import networks
from convscope.analysis import summary
from convscope.layers import Conv2d


def torch_counts(net, size, device="meta", *, gradients=True):
    """Products: torch returns two for each."""
    net = net.eval().to_empty(device=device) if device == "meta" else net.eval()
    with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(gradients):
        net(torch.zeros(1, *size, device=device))
    return counter.get_total_flops() // 2


def ours(net, size):
    """Products of weights, of activations."""
    record = summary(net, size)
    return record.multiply_adds, record.activation_products


def test_a_table_of_connections_is_counted_by_its_connections():
    table = [[1, 0, 0], [0, 1, 1], [1, 1, 1], [0, 1, 0]]
    net = Conv2d(3, 4, 3, connections=table)
    assert ours(net, (3, 8, 8)) == (7 * 9 * 36, 0)
    assert torch_counts(net, (3, 8, 8)) == 12 * 9 * 36


class Bilinear(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Bilinear(5, 7, 11, bias=False)

    def forward(self, x):
        return self.layer(x[..., :5], x[..., 5:])


def test_a_bilinear_layer_is_not_in_the_list_of_torch():
    assert ours(Bilinear(), (3, 12)) == (3 * 5 * 7 * 11, 0)
    assert torch_counts(Bilinear(), (3, 12)) == 0


class MatrixVector(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(7))

    def forward(self, x):
        return torch.mv(x.flatten(0, -2), self.weight)


def test_products_with_a_vector_are_not_in_the_list_of_torch():
    assert ours(MatrixVector(), (5, 7)) == (35, 0)
    assert torch_counts(MatrixVector(), (5, 7)) == 0


def test_a_fused_lstm_hides_its_products_on_the_processor():
    net = nn.LSTM(6, 4, batch_first=True)
    products = 5 * 4 * 4 * (6 + 4)
    assert ours(net, (5, 6)) == (products, 0)
    assert torch_counts(nn.LSTM(6, 4, batch_first=True), (5, 6), "cpu") == 0
    assert torch_counts(net, (5, 6)) == products


@pytest.mark.parametrize(
    ("device", "gradients", "fewer"),
    [("meta", True, 0), ("cpu", True, 131_072), ("cpu", False, 131_072 + 65_536)],
)
def test_attention_has_three_ways_of_which_torch_counts_one(device, gradients, fewer):
    net = networks.Patches()
    assert ours(net, (3, 32, 32)) == (180_384, 131_072)
    found = torch_counts(net, (3, 32, 32), device, gradients=gradients)
    assert found == 180_384 + 131_072 - fewer


class BetweenImages(nn.Module):
    def forward(self, x):
        return x @ x.T


def test_products_between_the_images_of_a_batch_are_those_of_a_batch_of_two():
    assert ours(BetweenImages(), (9,)) == (0, 2 * 9)
    assert torch_counts(BetweenImages(), (9,)) == 9
