"""Rows of layers become one operation where that computes the same, and only there."""

import copy
import re

import pytest
import torch
from torch import nn

from convscope import kernels, layers
from convscope.errors import ShapeError
from convscope.execution import Optimized, Setting
from convscope.execution.chain import Chain, chain_length, plan_chain
from convscope.execution.description import describe
from convscope.models import build

pytestmark = pytest.mark.skipif(not kernels.available(), reason="no native kernels")

SETTING = Setting(torch.device("cpu"), "float32", False, kernels=True)

ROWS = {  # layers for images of (2, 12, 11), and how many of them one chain takes
    "a stage": ([nn.Conv2d(2, 5, 3), nn.ReLU(), nn.MaxPool2d(2)], 3),
    "pooling first": ([nn.Conv2d(2, 5, 3), nn.MaxPool2d(2), nn.Tanh()], 3),
    "ours": ([layers.Conv2d(2, 5, 3, padding="same"), layers.MaxPool2d(3, 2)], 2),
    "average": ([nn.Conv2d(2, 5, (3, 2), (1, 2)), nn.Sigmoid(), nn.AvgPool2d(2)], 3),
    "border": ([nn.Conv2d(2, 5, 3, padding=(2, 1), bias=False), nn.GELU()], 2),
    "to the end": (
        [
            nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3),
            nn.ReLU(), nn.Flatten(), nn.Linear(36, 7), nn.Tanh(), nn.Linear(7, 3),
        ],
        9,
    ),
    "layers only": ([nn.Flatten(), nn.Linear(264, 9), nn.ReLU(), nn.Linear(9, 3)], 4),
    "until dropout": ([nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Dropout(0.0)], 2),
    "until batch norm": ([nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)], 1),
    # What a stage is not:
    "a falling activation last": (
        [nn.Conv2d(2, 5, 3), nn.MaxPool2d(2), nn.GELU(), nn.Conv2d(5, 3, 3)], 2,
    ),
    "an activation after an average": (
        [nn.Conv2d(2, 5, 3), nn.AvgPool2d(2), nn.ReLU()], 2,
    ),
    "two activations": ([nn.Conv2d(2, 5, 3), nn.Tanh(), nn.Tanh()], 2),
    "a window that reaches out": (
        [nn.Conv2d(2, 5, 3), nn.MaxPool2d(2, ceil_mode=True)], 1,
    ),
    "a linear layer on rows": ([nn.Conv2d(2, 5, 3), nn.ReLU(), nn.Linear(9, 4)], 2),
}  # fmt: skip
NOT_BEGUN = {
    "groups": nn.Conv2d(2, 4, 3, groups=2),
    "dilation": nn.Conv2d(2, 4, 3, dilation=2),
    "another border": nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"),
    "flipped": layers.Conv2d(2, 4, 3, flip=True),
    "a table": layers.Conv2d(2, 4, 3, connections=[[True, False]] * 4),
    "another rank": nn.Conv1d(2, 4, 3),
    "linear": nn.Linear(3, 3),
}


def images(n=19):
    return torch.randn(n, 2, 12, 11, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("row", ROWS)
def test_a_chain_is_as_long_as_it_computes_the_same(row):
    modules, expected = ROWS[row]
    row = describe(modules)
    plan = Chain(row[: chain_length(row)]).plan((2, 12, 11))
    assert plan.length == expected


@pytest.mark.parametrize("kind", NOT_BEGUN)
def test_what_the_kernels_do_not_know_begins_no_chain(kind):
    row = describe([NOT_BEGUN[kind], nn.ReLU()])
    length = chain_length(row)
    assert length == 0 or Chain(row[:length]).plan((2, 12, 11)) is None


@pytest.mark.parametrize("row", ROWS)
def test_outputs_and_gradients_are_those_of_float64(row):
    net = nn.Sequential(*copy.deepcopy(ROWS[row][0]))
    exact = copy.deepcopy(net).double()
    fast = Optimized(net, SETTING)
    x, x64 = images().requires_grad_(), images().double().requires_grad_()
    y, expected = fast(x), exact(x64)
    assert y.shape == expected.shape
    gradient = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    y.backward(gradient)
    expected.backward(gradient.double())
    # Sums of at most 19 * 10 * 9 terms, each rounded once, of size 4 at most.
    close = {"rtol": 1e-4, "atol": 19 * 90 * 4 * 1.2e-7}
    torch.testing.assert_close(y.double(), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(x.grad.double(), x64.grad, **close)
    for mine, reference in zip(fast.parameters(), exact.parameters(), strict=True):
        torch.testing.assert_close(mine.grad.double(), reference.grad, **close)


def test_another_size_gets_another_plan():
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2))
    fast = Optimized(net, SETTING)
    for size in ((12, 11), (7, 9), (3, 3)):
        x = torch.randn(4, 2, *size)
        if size == (3, 3):  # nothing is left to pool: torch says so
            with pytest.raises(RuntimeError):
                fast(x)
        else:
            torch.testing.assert_close(fast(x), net(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(0, 2, 12, 11), (2, 12, 11)])
def test_no_images_and_one_image_without_a_batch_go_to_torch(shape):
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU())
    assert (
        Optimized(net, SETTING)(torch.randn(shape)).shape
        == net(torch.randn(shape)).shape
    )


def test_a_wrong_input_is_named_by_the_layer_as_without_kernels():
    net = nn.Sequential(layers.Conv2d(2, 4, 3), nn.ReLU())
    with pytest.raises(ShapeError) as plain:
        net(torch.randn(4, 3, 12, 11))
    with pytest.raises(ShapeError, match=f"^{re.escape(str(plain.value))}$"):
        Optimized(net, SETTING)(torch.randn(4, 3, 12, 11))


def test_a_hook_inside_a_chain_sees_its_layers_output():
    net = nn.Sequential(*copy.deepcopy(ROWS["to the end"][0]))
    fast = Optimized(net, SETTING)
    seen = []
    net[3].register_forward_hook(lambda module, inputs, y: seen.append(y))
    fast(images())
    # The layers before it are joined still, and round in another order.
    expected = net[3](net[:3](images()))
    torch.testing.assert_close(seen[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["lenet5", "lenet_page"])
def test_a_model_of_ours_is_one_chain(name):
    net = build(name)
    row = describe(list(net))
    assert plan_chain(row, net.built_from.input_shape) is not None
    x = torch.randn(33, *net.built_from.input_shape)
    torch.testing.assert_close(Chain(row)(list(net), x), net(x), rtol=1e-4, atol=1e-5)
