"""`explain_unit` against networks in float64, plain loops and the lectures' numbers."""

import itertools
import json
import math
import random
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convscope as cs
from contracts.test_layers import CASES, batch, made
from convscope.analysis import UnitExplainer
from convscope.analysis.explaining import (
    activations,
    convolution,
    normalization,
    pooling,
)
from convscope.analysis.explaining import (
    explain_unit as module,
)
from convscope.analysis.explaining.record import NotExplained
from convscope.analysis.explaining.registry import RULES
from convscope.analysis.explaining.window_sum import WindowSum
from convscope.errors import (
    ArgumentError,
    ExplanationError,
    ShapeError,
    UnknownNameError,
)

WRAPPED = "MaxUnpool", "FractionalMaxPool"  # in modules that the cases make


def close(ours, theirs, tolerance=1e-9):
    assert ours == theirs or abs(ours - theirs) <= tolerance * max(1.0, abs(theirs))


def everywhere(net, x, layer, count=3, training=False, seed=0):
    """Explains random elements of a layer, and compares with the network's own."""
    chosen = random.Random(seed)
    found = cs.capture(net, x, layer, training=training)[layer].outputs[0]
    for _ in range(count):
        index = tuple(chosen.randrange(size) for size in found.shape)
        image, *rest = index
        channel = rest[0] if rest else None
        why = cs.explain_unit(
            net, x, layer, channel, rest[1:], image=image, training=training
        )
        yield why, found[index].item()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_layer_of_ours_is_explained(case, training):
    layer = made(case, torch.float64)
    for name, buffer in layer.named_buffers():
        if name.endswith("running_mean"):
            buffer.uniform_(-1, 1)
    net = nn.Sequential(layer)
    for why, network in everywhere(net, batch(case, torch.float64), "0", 1, training):
        if isinstance(why.detail, NotExplained):
            assert case.name.startswith(WRAPPED)
        assert why.network_value == network
        close(why.value, network)
        assert why.tolerance <= 1e-9 * max(1.0, abs(network)) * (1 + abs(network))
        assert why.lines[-1]


def norm(layer):
    """With running averages and weights as after some training."""
    torch.manual_seed(3)
    for name, tensor in (*layer.named_parameters(), *layer.named_buffers()):
        if tensor.is_floating_point():
            low = 0.5 if "var" in name else -1.0
            nn.init.uniform_(tensor, low, 2.0)
    return layer


TORCH = {
    "conv 1-D": (nn.Conv1d(4, 6, 3, 2, 1, 2, groups=2), (2, 4, 11)),
    "conv 2-D": (nn.Conv2d(3, 4, (3, 2), (2, 1), (2, 0), bias=False), (2, 3, 7, 6)),
    "conv 3-D": (nn.Conv3d(2, 2, 2, padding=1, dilation=(1, 2, 1)), (1, 2, 4, 4, 3)),
    "same": (nn.Conv2d(2, 3, 5, padding="same", dilation=2), (1, 2, 6, 6)),
    "reflect": (nn.Conv2d(2, 3, 3, padding=2, padding_mode="reflect"), (1, 2, 5, 5)),
    "circular": (nn.Conv1d(2, 3, 3, padding=1, padding_mode="circular"), (1, 2, 5)),
    "replicate": (
        nn.Conv3d(1, 2, 3, padding=1, padding_mode="replicate"), (1, 1, 3, 3, 3),
    ),
    "transposed 1-D": (nn.ConvTranspose1d(4, 6, 3, 2, 1, 1, groups=2), (2, 4, 5)),
    "transposed 2-D": (nn.ConvTranspose2d(2, 3, 3, 2, dilation=2), (1, 2, 4, 4)),
    "transposed 3-D": (nn.ConvTranspose3d(2, 2, 2, (1, 2, 1)), (1, 2, 2, 3, 2)),
    "linear": (nn.Linear(5, 3), (4, 5)),
    "linear on maps": (nn.Linear(5, 3), (2, 4, 5)),
    "bilinear-like": (nn.Upsample(scale_factor=2, mode="bilinear"), (1, 2, 3, 4)),
    "trilinear": (nn.Upsample(size=(3, 4, 5), mode="trilinear"), (1, 1, 2, 3, 4)),
    "bicubic": (nn.Upsample(scale_factor=1.5, mode="bicubic"), (1, 2, 4, 4)),
    "nearest": (nn.Upsample(scale_factor=3), (1, 2, 3)),
    "max 1-D": (nn.MaxPool1d(3, 2, 1), (2, 3, 8)),
    "max 2-D": (nn.MaxPool2d(3, 2, 1, dilation=2, ceil_mode=True), (1, 2, 9, 8)),
    "max 3-D": (nn.MaxPool3d(2, 1), (1, 2, 3, 4, 3)),
    "average 2-D": (nn.AvgPool2d(3, 2, 1, ceil_mode=True), (1, 2, 8, 7)),
    "average, no padding": (
        nn.AvgPool2d(3, 2, 1, count_include_pad=False), (1, 2, 8, 7),
    ),
    "average, divisor": (nn.AvgPool3d(2, divisor_override=3), (1, 2, 4, 4, 4)),
    "adaptive": (nn.AdaptiveAvgPool2d((3, 2)), (1, 2, 7, 5)),
    "adaptive max": (nn.AdaptiveMaxPool2d(3), (1, 2, 7, 5)),
    "fractional": (nn.FractionalMaxPool2d(2, output_size=3), (1, 2, 7, 7)),
    "power": (nn.LPPool2d(2, 3, 2), (1, 2, 7, 7)),
    "power 1": (nn.LPPool1d(1, 3), (1, 2, 7)),
    "batch norm": (norm(nn.BatchNorm2d(3)), (4, 3, 5, 5)),
    "batch norm of features": (norm(nn.BatchNorm1d(3)), (6, 3)),
    "without averages": (nn.BatchNorm1d(3, track_running_stats=False), (4, 3, 5)),
    "instance norm": (norm(nn.InstanceNorm2d(3, affine=True)), (2, 3, 5, 5)),
    "tracked instances": (
        norm(nn.InstanceNorm1d(3, track_running_stats=True)), (2, 3, 5),
    ),
    "group norm": (norm(nn.GroupNorm(2, 4)), (2, 4, 3, 3)),
    "layer norm": (norm(nn.LayerNorm((4, 5))), (2, 3, 4, 5)),
    "RMS norm": (norm(nn.RMSNorm(5)), (2, 3, 5)),
    "local response": (nn.LocalResponseNorm(4, 0.1), (2, 6, 3, 3)),
    "PReLU": (norm(nn.PReLU(3)), (2, 3, 4)),
    "RReLU": (nn.RReLU(), (2, 3, 4)),
    "GLU": (nn.GLU(1), (2, 6, 4)),
    "softmax": (nn.Softmax(1), (2, 5)),
    "softmax over space": (nn.Softmax(-1), (2, 3, 5)),
    "softmax 2-D": (nn.Softmax2d(), (2, 3, 4, 4)),
    "softmin": (nn.Softmin(1), (2, 5)),
    "log softmax": (nn.LogSoftmax(1), (2, 5)),
    "dropout": (nn.Dropout(0.4), (3, 20)),
    "dropout of maps": (nn.Dropout2d(0.4), (3, 8, 2, 2)),
    "GELU by tanh": (nn.GELU(approximate="tanh"), (2, 6)),
    "flatten": (nn.Flatten(), (2, 3, 4)),
    "unflatten": (nn.Unflatten(1, (2, 3)), (2, 6, 2)),
    "pixel shuffle": (nn.PixelShuffle(2), (1, 8, 3, 2)),
    "channel shuffle": (nn.ChannelShuffle(3), (1, 6, 2, 2)),
    "reflection pad": (nn.ReflectionPad2d(2), (1, 2, 4, 5)),
    "constant pad": (nn.ConstantPad1d((1, 2), 3.0), (1, 2, 4)),
    "unfold": (nn.Unfold(2), (1, 2, 4, 4)),
    "fold": (nn.Fold((4, 4), 2), (1, 8, 9)),
    **{
        kind.__name__: (kind(), (2, 9))
        for kind in (
            nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU,
            nn.Mish, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Sigmoid, nn.Tanh,
            nn.Softplus, nn.Softsign, nn.LogSigmoid, nn.Tanhshrink, nn.Softshrink,
            nn.Hardshrink, nn.Identity,
        )
    },
    "threshold": (nn.Threshold(0.1, 20.0), (2, 9)),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", TORCH)
def test_every_layer_of_torch_for_convolutional_networks_is_explained(name, dtype):
    layer, shape = TORCH[name]
    net = nn.Sequential(layer).to(dtype)
    x = (torch.randn(shape, generator=torch.Generator().manual_seed(5)) * 2).to(dtype)
    for training in (False, True):
        if name == "RReLU" and training:
            continue  # each slope is drawn
        for why, network in everywhere(net, x, "0", 2, training):
            assert not isinstance(why.detail, NotExplained)
            close(why.value, network, 1e-9 if dtype == torch.float64 else 1e-4)
    net.to(torch.float32)


class Functions(nn.Module):
    """Every way of writing a convolutional network without modules."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 2, 3, 3))
        self.bias = nn.Parameter(torch.randn(4))
        self.up = nn.Parameter(torch.randn(4, 2, 2, 2))
        self.register_buffer("mean", torch.randn(4))
        self.register_buffer("variance", torch.rand(4) + 0.5)

    def forward(self, x):
        a = F.conv2d(x, self.weight, self.bias, padding=1)
        b = F.batch_norm(a, self.mean, self.variance, self.bias, None, False)
        c = F.relu_(b) + a
        c += 1.5
        d = torch.max_pool2d(c, 2)
        e = F.avg_pool2d(c, 2) * torch.sigmoid(d)
        f = torch.cat([d, e - d], dim=1).narrow(1, 2, 4)
        g = F.conv_transpose2d(f, self.up, stride=2)
        h = F.pad(2 - g, (1, 0), value=0.25) / 3
        i = F.interpolate(h, scale_factor=2, mode="nearest")
        j = F.adaptive_avg_pool2d(i, 2).permute(0, 2, 3, 1)
        k = F.layer_norm(j, (2,)) ** 2
        left, right = k.flatten(1).clamp(max=1.4).chunk(2, 1)
        m = F.gelu(left) @ F.softmax(right.t(), dim=0)
        return F.dropout(
            F.linear(m.mean(1, keepdim=True), self.mean[:, None]), 0.5, False
        )


def test_functions_are_explained_as_layers_are():
    torch.manual_seed(0)
    net, x = Functions().double(), torch.randn(3, 2, 6, 6).double()
    labels = list(cs.capture(net, x))
    assert len(labels) > 25
    for label in labels:
        for why, network in everywhere(net, x, label, 2):
            assert not isinstance(why.detail, NotExplained), label
            close(why.value, network)


def test_picking_casting_and_joining_are_explained_too():
    class Net(nn.Module):
        def forward(self, x):
            a, b = x[:, :2], x[:, 1:]
            c = torch.where(a > 0, a, 2 * b).masked_fill(a > 1.5, 7.0)
            d = torch.einsum("nchw,ncwk->nchk", c, b).half().double()
            best, places = d.max(2)
            low = d.amin(3)
            return torch.tril(best @ low.mT) + best.topk(2, dim=2).values, places

    torch.manual_seed(0)
    net, x = Net(), torch.randn(2, 3, 2, 2).double()
    labels = [
        k for k, v in cs.capture(net, x).items() if v.outputs[0].is_floating_point()
    ]
    assert len(labels) > 10
    for label in labels:
        for why, network in everywhere(net, x, label, 3):
            assert not isinstance(why.detail, NotExplained), label
            assert abs(why.value - network) <= why.tolerance


def test_infinity_and_nan_are_explained_as_they_are():
    class Net(nn.Module):
        def forward(self, x):
            return torch.log(x), torch.exp(x), 1 / x, x / 0, torch.sqrt(x), x - x, x**40

    x = torch.tensor([[0.0, -1.0, 200.0, -0.0, math.inf, math.nan]])
    for label, found in cs.capture(Net(), x).items():
        for channel in range(6):
            why = cs.explain_unit(Net(), x, label, channel)
            ours = torch.tensor(why.value)
            assert torch.equal(ours.isnan(), found.output[0, channel].isnan())
            assert ours.isnan() or why.value == pytest.approx(why.network_value, 1e-5)


def test_what_overflows_is_said_to():
    net = nn.Sequential(nn.Linear(2, 1)).half()
    net[0].weight.data.fill_(300)
    why = cs.explain_unit(net, torch.full((1, 2), 300.0).half(), "0", 0)
    assert why.value == why.network_value == math.inf
    assert why.lines[-1] == "too large for its number format = inf"


def test_a_number_alone_is_explained():
    net = nn.Sequential(nn.Linear(2, 2), nn.Flatten(0))

    class Net(nn.Module):
        def forward(self, x):
            return net(x).sum()

    why = cs.explain_unit(Net(), torch.ones(1, 2), "sum_1")
    assert why.value == pytest.approx(net(torch.ones(1, 2)).sum().item())


def test_products_are_those_of_plain_loops():
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 1), (1, 2), groups=2).double()
    x = torch.randn(1, 4, 6, 7).double()
    height, width = layer(x).shape[2:]
    for channel, row, column in itertools.product(
        range(6), range(height), range(width)
    ):
        why = cs.explain_unit(nn.Sequential(layer), x, "0", channel, (row, column))
        first = 2 * (channel // 3)
        total = 0.0
        for c, i, j in itertools.product(range(2), range(3), range(2)):
            y, z = 2 * row - 1 + i, column - 1 + 2 * j
            inside = 0 <= y < 6 and 0 <= z < 7
            value = x[0, first + c, y, z].item() if inside else 0.0
            weight = layer.weight[channel, c, i, j].item()
            assert why.patch[c, i, j] == value
            assert why.kernel[c, i, j] == weight
            assert why.products[c, i, j] == value * weight
            assert why.detail.inside[c, i, j] == inside
            assert why.window[0][i] == (y if 0 <= y < 6 else None)
            total += value * weight
        assert why.detail.channels == (first, first + 1)
        assert why.value == pytest.approx(total + layer.bias[channel].item(), abs=1e-12)
        assert why.sums.sum() + why.bias == pytest.approx(why.value, abs=1e-12)


def lecture_layer(kernel, flip=False):
    taps = torch.tensor(kernel, dtype=torch.float32)
    layer = cs.layers.Conv2d(1, 1, tuple(taps.shape), bias=False, flip=flip)
    layer.weight.data.copy_(taps[None, None])
    return nn.Sequential(layer)


def explained_map(net, image, size, layer="0"):
    x = torch.tensor(image, dtype=torch.float32)[None, None]
    return [
        [cs.explain_unit(net, x, layer, 0, (r, c)).value for c in range(size[1])]
        for r in range(size[0])
    ]


def test_a_binary_image_under_a_cross_counts_the_neighbors():
    image = [
        [1, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 1], [0, 0, 1, 1, 0],
        [0, 1, 1, 0, 0],
    ]  # fmt: skip
    net = lecture_layer([[1, 0, 1], [0, 1, 0], [1, 0, 1]])
    assert explained_map(net, image, (3, 3)) == [[4, 3, 4], [2, 4, 3], [2, 3, 4]]
    why = cs.explain_unit(net, torch.tensor(image).float()[None, None], "0", 0, (0, 0))
    assert why.lines == (
        "0 = Conv2d(1, 1, 3, bias=False), channel 0 at (0, 0)",
        "convolution: window 0-2 x 0-2",
        "channel 0: 1*1 + 1*0 + 1*1 + 0*0 + 1*1 + 1*0 + 0*1 + 0*0 + 1*1 = 4",
    )


def test_the_flip_tells_convolution_from_correlation():
    image = [[0, 80, 40], [20, 40, 0], [0, 0, 40]]
    kernel = [[0, 0.25], [0.5, 1]]
    flipped = explained_map(lecture_layer(kernel, flip=True), image, (2, 2))
    assert flipped == [[45, 110], [40, 40]]
    assert explained_map(lecture_layer(kernel), image, (2, 2)) == [[70, 30], [10, 40]]


def test_the_winner_of_a_max_pooling_has_its_place():
    image = [[1, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]]
    net = nn.Sequential(nn.MaxPool2d(2))
    assert explained_map(net, image, (2, 2)) == [[6, 8], [3, 4]]
    x = torch.tensor(image).float()[None, None]
    winners = [
        cs.explain_unit(net, x, "0", 0, place).detail.winner[1:]
        for place in itertools.product(range(2), range(2))
    ]
    assert winners == [(1, 1), (1, 3), (2, 0), (3, 3)]


def test_padding_is_marked():
    net = nn.Sequential(nn.Conv1d(1, 1, 3, padding=1, bias=False))
    net[0].weight.data.copy_(torch.tensor([[[2.0, 3.0, 5.0]]]))
    why = cs.explain_unit(net, torch.tensor([[[7.0, 1.0]]]), "0", 0, 0)
    assert why.lines[1:] == (
        "convolution: window 0-1",
        "[ ] is padding",
        "channel 0: [0]*2 + 7*3 + 1*5 = 26",
    )


def test_partial_convolution_says_how_many_taps_hit():
    net = nn.Sequential(cs.layers.Conv1d(1, 1, 3, padding=1, padding_mode="partial"))
    net[0].weight.data.fill_(1.0)
    net[0].bias.data.fill_(0.5)
    why = cs.explain_unit(net, torch.tensor([[[2.0, 4.0]]]), "0", 0, 0)
    assert why.value == 6 * 3 / 2 + 0.5
    assert "3 taps, 2 on the input: 6 x 1.5 = 9" in why.lines


def test_holes_of_a_partial_convolution_do_not_count():
    layer = cs.layers.PartialConv2d(2, 1, 2).double()
    x, mask = torch.randn(1, 2, 3, 3).double(), torch.ones(1, 1, 3, 3).double()
    mask[0, 0, 0, 0] = 0

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return self.layer(x, mask)[0]

    for place in ((0, 0), (1, 1)):
        why = cs.explain_unit(Net(), x, "layer", 0, place)
        assert why.detail.inside.sum() == (6 if place == (0, 0) else 8)


def residual():
    torch.manual_seed(1)
    net = cs.models.build("resnet18", num_classes=4, in_channels=1, width=8).double()
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            norm(layer)
    return net, torch.randn(2, 1, 32, 32).double()


def test_the_chain_goes_back_through_residual_norm_and_activation_to_the_products():
    net, x = residual()
    for why, network in everywhere(net, x, "layer1.0.relu:2", 3):
        labels = [step.label for step in why.steps]
        assert labels[-2:] == ["layer1.0.add_1", "layer1.0.relu:2"]
        assert labels[0].endswith("conv2")
        close(why.value, network)
        for step in why.steps:
            close(step.detail.value, step.network_value)
    sums = why.steps[-2].detail
    assert why.steps[-2].inputs == ("layer1.0.bn2", "maxpool")
    assert sums.operands[0] + sums.operands[1] == pytest.approx(sums.value)


def test_the_chain_goes_back_from_a_pooling_through_its_winner():
    net = cs.models.build("lenet5").double()
    x = torch.randn(1, 1, 32, 32).double()
    why = cs.explain_unit(net, x, "5", 4, (2, 2))
    assert [step.label for step in why.steps] == ["3", "4", "5"]
    assert why.steps[1].index[2:] == why.detail.winner[1:]
    assert why.patch.shape == (6, 5, 5)
    row, column = why.steps[0].index[2:]
    assert why.window == (tuple(range(row, row + 5)), tuple(range(column, column + 5)))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("lenet5_1998", (1, 32, 32)),
        ("resnet20", (3, 24)),
        ("unet", (1, 16, 16, 16)),
        ("jarrett", (1, 32, 32)),
    ],
)
def test_every_layer_of_real_networks_in_one_two_and_three_dimensions(name, shape):
    torch.manual_seed(0)
    more = {"width": 4} if name in ("unet", "resnet20") else {}
    net = cs.models.build(
        name, in_channels=shape[0], input_size=shape[1:], num_classes=3, **more
    ).double()
    x = torch.randn(1, *shape).double()
    labels = list(cs.capture(net, x))
    for label in random.Random(0).sample(labels, min(5, len(labels))):
        for why, network in everywhere(net, x, label, 1):
            assert not isinstance(why.detail, NotExplained), label
            close(why.value, network)


def test_a_module_with_layers_inside_is_explained_by_the_last_of_them():
    net, x = residual()
    why = cs.explain_unit(net, x, "layer1.0", 3, (2, 2))
    assert why.steps[-1].label == "layer1.0.relu:2"
    assert (
        why.network_value
        == cs.capture(net, x, "layer1.0")["layer1.0"].output[0, 3, 2, 2]
    )
    separable = nn.Sequential(cs.layers.SeparableConv2d(2, 3, 3))
    why = cs.explain_unit(separable, torch.randn(1, 2, 5, 5), "0", 1, (0, 0))
    assert why.steps[-1].label == "0.pointwise"


def test_the_receptive_field_is_the_support_of_the_gradient():
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3, 2, 1), nn.Tanh(), nn.Conv2d(2, 1, 3)
    ).double()
    x = torch.randn(1, 1, 15, 15, dtype=torch.float64, requires_grad=True)
    for place in ((0, 0), (2, 3), (5, 5)):
        why = cs.explain_unit(net, x, "2", 0, place)
        (slope,) = torch.autograd.grad(net(x)[0, 0][place], x)
        rows, columns = np.nonzero(slope[0, 0].numpy())
        assert why.receptive_field == (
            (rows.min(), rows.max()), (columns.min(), columns.max()),
        )  # fmt: skip


def test_behind_global_pooling_a_unit_sees_the_whole_input():
    net, x = residual()
    for layer, channel in (("fc", 1), ("layer4.1.add_1", 3)):
        place = () if layer == "fc" else (0, 0)
        why = cs.explain_unit(net, x, layer, channel, place)
        assert why.receptive_field == ((0, 31), (0, 31))


def test_what_is_not_known_is_said():
    class Custom(nn.Module):
        def forward(self, x):
            return torch.lgamma(x)

    net = nn.Sequential(Custom(), nn.Hardtanh())
    why = cs.explain_unit(net, torch.ones(1, 1, 2, 2), "0", 0, (0, 0))
    assert isinstance(why.detail, NotExplained)
    assert "not explained, value taken from the network" in why.lines[-1]
    assert why.value == why.network_value


def test_a_layer_of_the_users_is_explained_by_what_it_is_made_of():
    class Doubled(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) * 2

    class Swish(nn.Module):
        def forward(self, x):
            return x * torch.sigmoid(x)

    torch.manual_seed(0)
    net = nn.Sequential(Doubled(1, 1, 2), Swish()).double()
    x = torch.randn(1, 1, 4, 4).double()
    assert list(cs.capture(net, x)) == ["0", "1"]
    why = cs.explain_unit(net, x, "1", 0, (1, 2))
    labels = [step.label for step in why.steps]
    assert labels == ["0.conv2d_1", "0.mul_1", "1.mul_1"]
    close(why.value, net(x)[0, 0, 1, 2].item())


def shifted(function):
    def wrong(*args, **kwargs):
        row = function(*args, **kwargs)
        return lambda axis, place: tuple(reversed(row(axis, place)))

    return wrong


PLANTED = {
    "a reversed window": (convolution, "rows", shifted, "0"),
    "a variance of n - 1": (
        normalization, "_moments",
        lambda _: lambda v: (float(v.mean()), float(v.var(ddof=1))), "1",
    ),
    "a wrong activation": (
        activations, "one", lambda right: lambda t, i: right(t, i) * 1.001, "2",
    ),
    "the last winner for the first": (
        pooling, "under",
        lambda right: lambda *a: (np.negative(right(*a)[0]), right(*a)[1]), "3",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", PLANTED)
def test_a_planted_mistake_is_refused(monkeypatch, mistake):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=False), nn.Tanh(),
        nn.MaxPool2d(2),
    )  # fmt: skip
    x = torch.randn(2, 1, 8, 8)
    where, name, change, layer = PLANTED[mistake]
    assert cs.explain_unit(net, x, layer, 1, (1, 1)).value
    monkeypatch.setattr(where, name, change(getattr(where, name)))
    with pytest.raises(ExplanationError, match="Report this to convscope"):
        cs.explain_unit(net, x, layer, 1, (1, 1))


def test_the_tolerance_is_far_below_any_product_that_is_forgotten():
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Conv2d(16, 4, 3)), torch.randn(1, 16, 6, 6)
    why = cs.explain_unit(net, x, "0", 1, (2, 2))
    assert why.tolerance < np.abs(why.products).max() / 100
    assert abs(why.value - why.network_value) <= why.tolerance


def test_half_precision_is_explained_within_its_own_rounding():
    net = nn.Sequential(nn.Conv2d(4, 3, 3), nn.ReLU()).to(torch.bfloat16)
    x = torch.randn(1, 4, 6, 6).to(torch.bfloat16)
    for why, network in everywhere(net, x, "1", 4):
        assert abs(why.value - network) <= why.tolerance


def test_long_sums_are_cut_short_and_still_add_up():
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Conv2d(64, 2, 9)), torch.randn(1, 64, 9, 9)
    why = cs.explain_unit(net, x, "0", 1, (0, 0))
    assert len(why.lines) < 16
    assert any("the other 56 channels" in line for line in why.lines)
    channels = [line for line in why.lines if line.startswith("channel ")]
    shown = sum(float(line.rpartition("= ")[2]) for line in channels)
    other = next(line for line in why.lines if line.startswith("the other"))
    total = shown + float(other.rpartition(": ")[2])
    assert total == pytest.approx(why.detail.total, abs=1e-3)


def test_in_training_the_statistics_are_those_of_the_batch():
    net = nn.Sequential(norm(nn.BatchNorm2d(2))).double()
    x = torch.randn(3, 2, 4, 4).double()
    trained = cs.explain_unit(net, x, "0", 1, (0, 0), training=True)
    assert trained.detail.statistics == "of this batch, 48 values"
    assert trained.detail.mean == pytest.approx(x[:, 1].mean().item())
    still = cs.explain_unit(net, x, "0", 1, (0, 0))
    assert still.detail.mean == net[0].running_mean[1].item()


def test_the_record_is_json():
    net, x = residual()
    record = json.loads(json.dumps(
        cs.explain_unit(net, x, "layer2.0.add_1", 3, (1, 1), image=1).to_dict()
    ))  # fmt: skip
    assert record["image"] == 1
    assert len(record["receptive_field"]) == 2
    assert record["steps"][-1]["label"] == "layer2.0.add_1"
    products = np.array(record["steps"][0]["products"])
    made = products.sum() * record["steps"][0]["scale"]
    assert made == pytest.approx(record["steps"][0]["value"])


def refused(text, *args, kind=ArgumentError, **kwargs):
    with pytest.raises(kind, match=f"^{re.escape(text)}$"):
        cs.explain_unit(*args, **kwargs)


def test_elements_that_are_not_there_are_refused():
    net, x = nn.Sequential(nn.Conv2d(1, 2, 3)), torch.zeros(2, 1, 5, 6)
    shape = "the layer's output of shape (2, 2, 3, 4)"
    refused(f"explain_unit: channel=2 is not in {shape}. Use 0 to 1.", net, x, "0", 2, (0, 0))  # fmt: skip  # noqa: E501
    refused(f"explain_unit: image=5 is not in {shape}. Use 0 to 1.", net, x, "0", 0, (0, 0), image=5)  # fmt: skip  # noqa: E501
    refused(f"explain_unit: position -1 along the height is not in {shape}. Use 0 to 2.", net, x, "0", 0, (-1, 0))  # fmt: skip  # noqa: E501
    refused(
        "explain_unit: position=3 has 1 number, but the layer gives (2, 2, 3, 4): "
        "image, channel and 2 axes of space. Give 2.",
        net, x, "0", 0, 3,
    )  # fmt: skip
    refused(
        "explain_unit: channel is missing: the layer gives (2, 2, 3, 4). Give a "
        "channel of 0 to 1.",
        net, x, "0",
    )  # fmt: skip


def test_layers_that_are_not_there_are_refused():
    net, x = cs.models.build("lenet5"), torch.zeros(1, 1, 32, 32)
    with pytest.raises(UnknownNameError, match="unknown layer"):
        cs.explain_unit(net, x, "conv1", 0, (0, 0))
    refused(
        "explain_unit: layer='*' is not one layer. Give a path, such as 'features.0'; "
        "capture(net, inputs) lists them.",
        net, x, "*", 0, (0, 0),
    )  # fmt: skip
    with pytest.raises(ShapeError, match=r"^check: "):
        cs.explain_unit(net, torch.zeros(1, 1, 8, 8), "6", 0)


def test_what_comes_before_a_layer_that_does_not_fit_is_explained():
    net, x = cs.models.build("lenet5"), torch.ones(1, 1, 8, 8)
    why = cs.explain_unit(net, x, "0", 0, (0, 0))
    with torch.no_grad():
        assert why.value == pytest.approx(net[0](x)[0, 0, 0, 0].item(), abs=1e-6)


class Unfriendly(nn.Module):
    """Writes into what was given, in place and behind torch's back."""

    def __init__(self, hidden):
        super().__init__()
        self.conv, self.hidden = nn.Conv2d(1, 2, 3), hidden

    def forward(self, x):
        x = self.conv(x)
        y = x + 1
        if self.hidden:
            x.detach().numpy()[:] = 7
        else:
            x.mul_(3)
        return y * x


@pytest.mark.parametrize("hidden", [False, True])
def test_values_are_those_of_the_moment_whatever_is_written_later(hidden):
    torch.manual_seed(0)
    net, x = Unfriendly(hidden), torch.randn(1, 1, 5, 5)
    with torch.no_grad():
        conv = net.conv(x)
    explainer = UnitExplainer(net, x)
    alone = cs.explain_unit(net, x, "conv", 1, (1, 2))
    for why in (explainer.explain("conv", 1, (1, 2)), alone):
        assert why.value == pytest.approx(conv[0, 1, 1, 2].item(), abs=1e-6)
    later = 7 if hidden else 3 * conv[0, 1, 1, 2].item()
    for why in (
        explainer.explain("mul_1" if hidden else "mul_2", 1, (1, 2)),
        cs.explain_unit(net, x, "mul_1" if hidden else "mul_2", 1, (1, 2)),
    ):
        assert why.value == pytest.approx((conv[0, 1, 1, 2].item() + 1) * later, 1e-5)


@pytest.mark.parametrize("name", ["lenet5", "resnet18"])
def test_many_units_of_one_pass_are_as_one_by_one(name):
    net = cs.models.build(name).eval()
    x = torch.rand(1, *cs.models.find(name).input_shape)[..., :64, :64]
    explainer = UnitExplainer(net, x)
    for label, taken in list(cs.capture(net, x).items())[::7]:
        index = tuple(size // 2 for size in taken.shape[1:])
        many = explainer.explain(label, index[0], index[1:])
        single = cs.explain_unit(net, x, label, index[0], index[1:])
        assert many.lines == single.lines


def test_a_pass_too_large_to_keep_is_made_again_for_what_is_needed(monkeypatch):
    monkeypatch.setattr(module, "MOST_HELD", 1000)
    net, x = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), torch.randn(2, 1, 9, 9)
    few = cs.explain_unit(net, x, "1", 3, (4, 4), image=1)
    monkeypatch.undo()
    assert few.lines == cs.explain_unit(net, x, "1", 3, (4, 4), image=1).lines


def test_no_two_rules_claim_the_same_name():
    for names in ("modules", "functions"):
        claimed = [name for rule in RULES for name in getattr(rule, names)]
        assert len(claimed) == len(set(claimed))


def test_each_element_of_a_window_sum_is_named_with_what_it_counts():
    layer = nn.Conv2d(2, 2, 3, padding=1).double()
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    why = cs.explain_unit(nn.Sequential(layer), x, "0", 1, (0, 3))
    (slope,) = torch.autograd.grad(layer(x)[0, 1, 0, 3], x)
    assert isinstance(why.detail, WindowSum)
    counted = torch.zeros(2, 4, 4).double()
    for place, weight in why.detail.sources:
        counted[place] += weight
    torch.testing.assert_close(counted, slope[0])
    assert math.isclose(why.value, layer(x)[0, 1, 0, 3].item())
