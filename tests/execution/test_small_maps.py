"""Weight gradients from images side by side are those of images one by one."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convscope import kernels, layers
from convscope.execution import Optimized, Setting, small_maps
from convscope.execution.description import describe
from convscope.execution.fusion import fused_steps

HALF = Setting(torch.device("cpu"), "bfloat16", True, kernels=True)
MAPS = [  # batch, channels in and out, map, kernel
    (16, 32, 48, (3, 3), (3, 3)),
    (8, 32, 32, (7, 7), (3, 3)),
    (6, 33, 40, (5, 8), (3, 5)),
    (24, 32, 32, (1, 1), (3, 3)),
    (9, 32, 32, (4, 6), (5, 3)),
]


@pytest.fixture(autouse=True)
def matrix_unit(monkeypatch):
    """The rule is for machines with one; the result is right on all."""
    monkeypatch.setattr(small_maps, "has_matrix_unit", lambda: True)


def problem(batch, inner, outer, size, kernel):
    torch.manual_seed(0)
    padding = (kernel[0] // 2, kernel[1] // 2)
    x = torch.randn(batch, inner, *size).bfloat16()
    weight = torch.randn(outer, inner, *kernel).bfloat16()
    gradient = torch.randn(batch, outer, *size).bfloat16()
    x, gradient = (
        each.contiguous(memory_format=torch.channels_last) for each in (x, gradient)
    )
    return x, weight, torch.randn(outer).bfloat16(), gradient, padding


def gradients(compute, inputs, gradient, padding):
    leaves = [each.detach().requires_grad_() for each in inputs]
    y = compute(*leaves, padding)
    return y.detach(), *torch.autograd.grad(y, leaves, gradient)


def by_torch(x, weight, bias, padding):
    return F.conv2d(x, weight, bias, padding=padding)


def excess(case, part=2):
    """Largest error of the weight's gradient, in units of what rounding explains."""
    *inputs, gradient, padding = problem(*case)
    found = gradients(small_maps.conv_on_small_maps, inputs, gradient, padding)[part]
    double = [each.double() for each in inputs]
    exact = gradients(by_torch, double, gradient.double(), padding)[part]
    sizes = gradients(
        by_torch, [each.abs() for each in double], gradient.double().abs(), padding
    )[part]
    # One rounding to 8 bits, and float32 sums of as many products as there are places.
    places = gradient.shape[0] * gradient.shape[2:].numel()
    allowed = 2**-8 * exact.abs() + places * 2**-23 * sizes
    apart = (found.double() - exact).abs()
    return float((apart / allowed.clamp(min=1e-30)).max())  # 0 where taps see borders


@pytest.mark.parametrize("case", MAPS, ids=str)
def test_the_weight_gradient_is_that_of_float64(case):
    batch, _, _, (_, width), (_, taps) = case
    assert small_maps.images_side_by_side(batch, width, taps // 2) > 1
    assert excess(case) <= 1
    assert excess(case, part=3) <= 1  # the bias's


def test_a_gap_that_is_not_zero_is_seen(monkeypatch):
    true = small_maps.side_by_side

    def stained(x, count, gap):
        out = true(x, count, gap)
        out[..., x.shape[3]] = 0.1
        return out

    monkeypatch.setattr(small_maps, "side_by_side", stained)
    assert excess(MAPS[1]) > 1


def test_all_else_is_torchs_own():
    *inputs, gradient, padding = problem(*MAPS[0])
    found = gradients(small_maps.conv_on_small_maps, inputs, gradient, padding)
    expected = gradients(by_torch, inputs, gradient, padding)
    for part in (0, 1):  # output, gradient in the input
        assert torch.equal(found[part], expected[part])


def test_it_can_be_differentiated_twice():
    torch.manual_seed(0)
    shapes = (8, 1, 2, 3), (2, 1, 3, 3), (2,)
    inputs = [torch.randn(s, dtype=torch.float64).requires_grad_() for s in shapes]

    def compute(x, weight, bias):
        return small_maps.conv_on_small_maps(x, weight, bias, (1, 1))

    assert small_maps.images_side_by_side(8, 3, 1) == 8
    assert torch.autograd.gradcheck(compute, inputs)
    assert torch.autograd.gradgradcheck(compute, inputs)


def test_a_frozen_bias_or_input_gets_no_gradient():
    x, weight, bias, gradient, padding = problem(*MAPS[0])
    weight.requires_grad_()
    small_maps.conv_on_small_maps(x, weight, bias, padding).backward(gradient)
    assert weight.grad is not None
    assert x.grad is None
    assert bias.grad is None


@pytest.mark.parametrize(
    ("x", "weight", "expected"),
    [
        ((32, 32, 8, 8), (32, 32, 3, 3), True),
        ((32, 32, 9, 9), (32, 32, 3, 3), False),
        ((1, 32, 8, 8), (32, 32, 3, 3), False),
        ((32, 16, 8, 8), (32, 16, 3, 3), False),
        ((32, 32, 8, 8), (16, 32, 3, 3), False),
        ((0, 32, 8, 8), (32, 32, 3, 3), False),
        ((32, 32, 8, 0), (32, 32, 3, 3), False),
    ],
)
def test_the_rule_of_shapes(x, weight, expected):
    weight = torch.empty(weight, requires_grad=True)
    assert small_maps.serves_small_maps(torch.empty(x), weight, 1) == expected
    assert not small_maps.serves_small_maps(torch.empty(x), weight.detach(), 1)


def test_without_a_matrix_unit_torch_computes_it(monkeypatch):
    monkeypatch.setattr(small_maps, "has_matrix_unit", lambda: False)
    weight = torch.empty(32, 32, 3, 3, requires_grad=True)
    assert not small_maps.serves_small_maps(torch.empty(32, 32, 8, 8), weight, 1)


@pytest.mark.parametrize(
    ("layer", "joined"),
    [
        (nn.Conv2d(32, 32, 3, padding=1), True),
        (layers.Conv2d(32, 64, (1, 5), padding=(0, 2)), True),
        (nn.Conv2d(16, 32, 3, padding=1), False),
        (nn.Conv2d(32, 32, 3), False),
        (nn.Conv2d(32, 32, 3, padding="same"), False),
        (nn.Conv2d(32, 32, 1), False),
        (nn.Conv2d(32, 32, 3, stride=2, padding=1), False),
        (nn.Conv2d(64, 64, 3, padding=1, groups=2), False),
        (nn.Conv2d(32, 32, 3, padding=1, padding_mode="circular"), False),
        (layers.Conv2d(32, 32, 3, padding=1, flip=True), False),
        (layers.Conv2d(32, 32, 3, padding=((0, 2), (1, 1))), False),
        (layers.Conv2d(32, 32, 3, padding=1, connections=torch.eye(32)), False),
    ],
    ids=str,
)
def test_layers_that_are_computed_so(layer, joined):
    (step,) = fused_steps(describe([layer]), HALF.kinds)
    assert (step.compute is not None) == joined


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        layers.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 4),
    )  # fmt: skip


def step(net, images):
    y = net(images)
    y.square().mean().backward()
    return y.detach()


@pytest.mark.skipif(not kernels.available(), reason="no native kernels")
@pytest.mark.parametrize("compiled", [False, True])
def test_a_step_of_a_network_is_that_of_float64(compiled, monkeypatch):
    calls = []
    compute = small_maps.side_by_side
    monkeypatch.setattr(
        small_maps, "side_by_side", lambda *a: calls.append(a[1:]) or compute(*a)
    )
    images = torch.randn(16, 3, 12, 12)
    exact = network().double()
    expected = step(exact, images.double())
    net = HALF.place(network())
    names = list(net.state_dict())
    fast = Optimized(net, HALF)
    y = step(torch.compile(fast, backend="eager") if compiled else fast, images)
    assert calls == ([] if compiled else [(8, 1), (8, 1)])
    assert list(fast.state_dict()) == names
    assert (y - expected).abs().max() <= 2**-6 * expected.abs().max()
    for name, wanted in exact.named_parameters():
        found = net.get_parameter(name).grad.double()
        assert (found - wanted.grad).norm() <= 2**-5 * wanted.grad.norm(), name


def test_what_torch_refuses_is_left_to_torch():
    layer = nn.Conv2d(32, 32, 3, padding=1)
    (step,) = fused_steps(describe([layer]), HALF.kinds)
    x = torch.randn(8, 32, 4, 4).contiguous(memory_format=torch.channels_last)
    assert step.compute([layer], x) is None  # float32
    assert step.compute([layer], x.bfloat16()) is None  # types apart
    assert step.compute([layer], x[:, :16]) is None
    assert step.compute([layer], x[0]) is None
    with torch.autocast("cpu", torch.float16):
        assert step.compute([layer], x) is None
    with torch.autocast("cpu", torch.bfloat16):
        assert step.compute([layer], x).dtype == torch.bfloat16
    half = copy.deepcopy(layer).bfloat16()
    assert step.compute([half], x.bfloat16()) is not None
