"""First weights follow the papers: measured against the formula of each."""

import math

import pytest
import torch

from convscope.models import build
from convscope.models.lenet5_1998 import codes


def deviation(tensor):
    return tensor.std().item()


def near(tensor, expected):
    """Within four standard errors of the deviation of so many normal numbers."""
    return abs(deviation(tensor) / expected - 1) < 4 / math.sqrt(2 * tensor.numel())


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("name", "options", "layer", "expected"),
    [
        ("resnet18", {}, "layer3.0.conv1", math.sqrt(2 / (256 * 9))),
        ("vgg11", {"hidden": 64}, "features.6", math.sqrt(2 / (256 * 9))),
        ("vgg11", {"hidden": 64}, "classifier.0", 0.01),
        ("mobilenet_v2", {}, "features.18.0", math.sqrt(2 / 1280)),
        ("mobilenet_v2", {"num_classes": 50}, "classifier.1", 0.01),
        ("alexnet_2012", {"hidden": 64}, "12", 0.01),
        ("nin", {}, "8", math.sqrt(2 / (96 * 25))),
        ("all_conv", {}, "3", math.sqrt(2 / (96 * 9))),
        ("unet", {"width": 16}, "down.2.2", math.sqrt(2 / (64 * 9))),
        ("nielsen", {}, "3", math.sqrt(1 / (40 * 25 / 4))),
        ("nielsen", {}, "8", math.sqrt(1 / 1000)),
    ],
)
def test_weights_are_normal_with_the_deviation_of_the_paper(
    name, options, layer, expected
):
    module = build(name, **options).get_submodule(layer)
    assert near(module.weight, expected)


def test_the_measure_notices_a_twentieth_too_much():
    assert not near(1.05 * torch.randn(100_000), 1.0)


def test_biases_of_alexnet_begin_with_one_where_the_paper_says():
    net = build("alexnet_2012", hidden=8)
    biases = [p for name, p in net.named_parameters() if name.endswith("bias")]
    assert [bias.unique().item() for bias in biases] == [0, 1, 0, 1, 1, 1, 1, 0]


def test_lenet5_begins_within_two_point_four_over_fan_in():
    net = build("lenet5_1998")
    fans = {0: 25, 8: 400, 11: 120}
    for number, fan_in in fans.items():
        bound = 2.4 / fan_in
        assert 0.95 * bound < net[number].weight.abs().max() <= bound
    seen = net[4].connections.sum(dim=1)
    at = 0
    for maps in seen.tolist():
        kernels = net[4].weight[at : at + maps]
        bound = 2.4 / (25 * maps)
        assert 0.9 * bound < kernels.abs().max() <= bound
        at += maps
    assert at == 60


def test_codes_are_bitmaps_far_from_each_other():
    signs = codes(30)
    assert signs.shape == (30, 84)
    assert signs.abs().eq(1).all()
    differ = (signs[:, None] != signs).sum(dim=2) + 84 * torch.eye(30, dtype=torch.int)
    assert differ.min() > 10
    assert torch.equal(codes(30), signs)
    assert torch.equal(codes(10), signs[:10])


def test_a_code_itself_is_told_with_certainty():
    layer = build("lenet5_1998")[-1]
    out = layer(codes(10))
    assert torch.equal(out.argmax(dim=1), torch.arange(10))
    assert not out.diagonal().any()


def test_scores_of_fcn_begin_at_zero_and_it_enlarges_linearly():
    net = build("fcn", width=2, hidden=4, num_classes=3)
    for layer in (net.classifier[-1], *net.scores):
        assert not layer.weight.any()
    x = torch.arange(6.0).view(1, 1, 1, 6).expand(1, 3, 4, 6)
    out = net.twice[0](x)
    assert out.shape == (1, 3, 8, 12)
    inside = out[:, :, 2:-2, 2:-2]
    expected = (torch.arange(2.0, 10) - 0.5) / 2
    torch.testing.assert_close(inside, expected.expand_as(inside))
