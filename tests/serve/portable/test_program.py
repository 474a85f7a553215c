"""A network's program gives what the network gives."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import convscope as cs
from convscope.analysis.capturing.capture import capture
from convscope.serve.portable import checked
from convscope.serve.portable.interpret import interpret
from convscope.serve.portable.lowering import program_of
from convscope.serve.portable.program import PortableError


def widest_difference(net, shape):
    """Of any layer, from torch in float64, by the size of its numbers."""
    torch.manual_seed(0)
    net = net.eval()
    labels = ("", *capture(net, torch.zeros(1, *shape)).keys())
    program = program_of(net, torch.randn(1, *shape), labels)
    x = torch.randn(1, *shape)
    made = interpret(program, x.numpy())
    found = capture(net.double(), x.double())
    worst = 0.0
    for label, at in zip(labels[1:], program.cards[1:], strict=True):
        wanted = found[label].outputs[0].numpy()
        size = max(float(np.abs(wanted).max()), 1e-9)
        worst = max(worst, float(np.abs(made[at] - wanted).max()) / size)
    return worst


LAYERS = [
    nn.Conv2d(4, 6, 3, stride=2, padding=(1, 0), dilation=(1, 2), groups=2),
    nn.Conv2d(4, 4, (3, 2), padding="same", padding_mode="reflect"),
    nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
    nn.MaxPool2d(3, 2, 1, dilation=2), nn.MaxPool2d(2, ceil_mode=True),
    nn.AvgPool2d(3, 2, 1), nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    nn.AvgPool2d(2, ceil_mode=True), nn.AdaptiveAvgPool2d((3, 2)),
    nn.AdaptiveMaxPool2d(3), nn.LPPool2d(2, 2), nn.BatchNorm2d(4),
    nn.GroupNorm(2, 4), nn.InstanceNorm2d(4), nn.LayerNorm(8), nn.RMSNorm(8),
    nn.Upsample(scale_factor=2), nn.Upsample(scale_factor=1.5, mode="bilinear"),
    nn.PixelShuffle(2), nn.Sequential(nn.ZeroPad2d((0, 1, 0, 0)), nn.PixelUnshuffle(3)),
    nn.ChannelShuffle(2), nn.ZeroPad2d(2),
    nn.ReflectionPad2d(1), nn.ReplicationPad2d(2), nn.ConstantPad2d(1, 3.5),
    nn.Softmax2d(), nn.LogSoftmax(1), nn.Softmin(3), nn.PReLU(4), nn.GLU(1),
    nn.Linear(8, 3), nn.Sequential(nn.Flatten(), nn.Linear(4 * 9 * 8, 3)),
    nn.Unfold(2), cs.layers.Subsampling2d(4), cs.layers.LocalResponseNorm2d(3),
    cs.layers.StochasticPool2d(2), cs.layers.GlobalAvgPool2d(),
]  # fmt: skip
ACTIVATIONS = [
    nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(0.1), nn.ELU(0.7), nn.CELU(0.7), nn.SELU(),
    nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Mish(), nn.Sigmoid(), nn.LogSigmoid(),
    nn.Tanh(), nn.Tanhshrink(), nn.Softplus(2.0), nn.Softsign(), nn.Softshrink(0.3),
    nn.Hardshrink(0.3), nn.Hardsigmoid(), nn.Hardswish(), nn.Hardtanh(-0.5, 2),
    nn.Threshold(0.1, 20),
]  # fmt: skip


@pytest.mark.parametrize("layer", LAYERS + ACTIVATIONS, ids=str)
def test_a_layers_program_gives_what_torch_gives_in_float64(layer):
    net = nn.Sequential(nn.Conv2d(4, 4, 1), layer)
    assert widest_difference(net, (4, 9, 8)) < 1e-5


@pytest.mark.parametrize("name", ["lenet5_1998", "jarrett", "resnet20", "mlp"])
def test_a_models_program_gives_what_torch_gives_in_float64(name):
    card = cs.models.cards()[name]
    assert widest_difference(cs.models.build(name), card.input_shape) < 1e-5


class Choosy(nn.Module):
    """Another function for some inputs than for others."""

    def forward(self, x):
        """Twice, if the first number is large."""
        return x * (2.0 if x[0, 0, 0, 0] > 0.9 else 1.0)


def check(net, inputs):
    """The checked program of a network whose cards are its layers."""
    labels = ("", *capture(net, torch.from_numpy(inputs[:1])).keys())
    return checked.checked_program(SimpleNamespace(net=net), labels, inputs)


def test_a_network_that_decides_by_its_input_is_refused_by_name():
    net = nn.Sequential(nn.Identity(), Choosy(), nn.Flatten()).eval()
    inputs = np.zeros((2, 1, 4, 4), np.float32)
    inputs[0] += 0.5
    inputs[1] += 1.0
    with pytest.raises(PortableError) as caught:
        check(net, inputs)
    assert str(caught.value) == (
        "play: layer '2' does in the page something else than here: its "
        "values depend "
        "on the input in a way that one pass does not show. Use the page with its "
        "server."
    )


def test_a_program_with_another_weight_is_noticed(monkeypatch):
    def wrong(*given):
        right = program_of(*given)
        constants = [one.copy() for one in right.constants]
        constants[0].flat[0] += 0.01
        return replace(right, constants=tuple(constants))

    monkeypatch.setattr(checked, "program_of", wrong)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()
    inputs = np.random.default_rng(0).normal(size=(2, 1, 4, 4)).astype(np.float32)
    with pytest.raises(PortableError, match="layer '1' does in the page something"):
        check(net, inputs)


def test_a_layer_that_is_not_known_is_refused_by_name():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.FractionalMaxPool2d(2, output_size=2))
    with pytest.raises(PortableError) as caught:
        program_of(net.eval(), torch.rand(1, 1, 8, 8), ("", "0", "1"))
    assert str(caught.value) == (
        "play: layer '1' uses 'fractional_max_pool2d', which the page in one file "
        "cannot do. Use the page with its server."
    )


def test_numbers_are_float16_only_where_that_changes_nothing_that_shows():
    whole = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()
    inputs = np.random.default_rng(0).normal(size=(2, 1, 4, 4)).astype(np.float32)
    assert check(whole, inputs).constants[0].dtype == np.float32
    for parameter in whole.parameters():
        parameter.data = parameter.data.half().float()
    assert check(whole, inputs).constants[0].dtype == np.float16
