import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.flop_counter import FlopCounterMode

from analysis import networks
from convscope.analysis import summary
from convscope.analysis.onnx import onnx_summary

onnx = pytest.importorskip("onnx")
helper = onnx.helper
CASES = {
    "lenet5": (networks.lenet5, (1, 32, 32)),
    "inception": (lambda: networks.Inception(3, 4), (3, 16, 16)),
    "unet": (networks.UNet, (3, 16, 16)),
    "volume": (networks.volume, (1, 6, 12, 14)),
}


def exported(net, size, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        torch.onnx.export(net.eval(), (torch.zeros(1, *size),), path, dynamo=False)
    return path


@pytest.mark.parametrize("name", CASES)
def test_the_file_says_the_same_as_the_network(name, tmp_path):
    build, size = CASES[name]
    net = build()
    record = summary(net, size)
    file = onnx_summary(exported(net, size, tmp_path / "net.onnx"))
    assert (file.parameters, file.multiply_adds) == (
        record.parameters,
        record.multiply_adds,
    )
    assert file.rows[-1].output_shape == record.rows[0].output_shape
    assert file.rows[-1].receptive_field == record.rows[0].receptive_field


def graph_of(nodes, path, shape=(1, 3, 8, 8), weights=()):
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [x], [y], initializer=list(weights))
    onnx.save(helper.make_model(graph), path)
    return path


def test_same_padding_by_name_is_understood(tmp_path):
    weight = helper.make_tensor("w", onnx.TensorProto.FLOAT, (2, 3, 3, 3), [0.0] * 54)
    node = helper.make_node(
        "Conv", ["x", "w"], ["y"], auto_pad="SAME_UPPER", strides=[2, 2]
    )
    path = graph_of([node], tmp_path / "same.onnx", weights=[weight])
    row = onnx_summary(path).rows[0]
    assert (row.output_shape, row.multiply_adds) == ((2, 4, 4), 54 * 16)
    assert row.receptive_field[0].offset == 0


def weights_of(net):
    return sum(parameter.numel() for parameter in net.parameters())


def products_of(net, x):
    with FlopCounterMode(display=False) as counter:
        copy.deepcopy(net).to("meta")(x.to("meta"))
    return counter.get_total_flops() // 2


class First(nn.Module):
    """Of a layer that returns several things, the first."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0]


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 8)
        self.places = nn.Parameter(torch.randn(1, 7, 8))
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, x):
        h = self.layer(self.embed(x) + self.places)
        return h @ self.embed.weight.T


class Queries(nn.Module):
    def __init__(self):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(1, 5, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        return self.attention(self.queries, x, x)[0]


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.slope = nn.Conv2d(3, 4, 3), nn.PReLU()
        self.one = nn.Parameter(torch.tensor([0.3]))
        self.each = nn.Parameter(torch.randn(4, 1, 1))

    def forward(self, x):
        return self.slope(self.conv(x)) * self.one / 6 + 3 * self.each


def norms():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.InstanceNorm2d(8),
        nn.InstanceNorm2d(8, affine=True), nn.Upsample(scale_factor=2),
        nn.BatchNorm2d(8), nn.LayerNorm(12), nn.Hardswish(),
        nn.ConvTranspose2d(8, 4, 3, 2, groups=2), nn.GELU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip


IMAGE = torch.zeros(1, 3, 8, 8)
PAIRS = {
    "LSTM": (lambda: First(nn.LSTM(6, 4, 2, bidirectional=True)), torch.zeros(5, 1, 6)),
    "GRU": (lambda: First(nn.GRU(6, 4, batch_first=True)), torch.zeros(1, 5, 6)),
    "RNN": (lambda: First(nn.RNN(6, 4)), torch.zeros(5, 1, 6)),
    "words": (Words, torch.zeros(1, 7, dtype=torch.int64)),
    "queries": (Queries, torch.zeros(1, 9, 8)),
    "scaled": (Scaled, IMAGE),
    "norms": (norms, IMAGE),
    "weight norm": (lambda: weight_norm(nn.Conv1d(3, 4, 5)), torch.zeros(1, 3, 20)),
}


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("name", PAIRS)
def test_parameters_and_products_are_those_that_torch_counts(name, fold, tmp_path):
    build, x = PAIRS[name]
    net = build().eval()
    for parameter in net.parameters():  # as if trained: no two alike, none 0 or 1
        nn.init.normal_(parameter)
    # folding, the exporter stores the table a second time, transposed
    expected = weights_of(net) + (400 if name == "words" and fold else 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        torch.onnx.export(
            net, (x,), tmp_path / "n.onnx", dynamo=False, do_constant_folding=fold
        )
    record = onnx_summary(tmp_path / "n.onnx")
    assert record.parameters == expected
    products = record.multiply_adds + record.activation_products
    assert products == products_of(net, x)
    assert not any("operators" in note for note in record.notes)
