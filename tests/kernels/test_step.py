"""One call equals forward, loss and backward of torch; updates equal torch's too."""

import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convscope import kernels
from convscope.errors import ArgumentError, ShapeError
from convscope.kernels import ChainStep, StagePlan
from kernels.chains import check_close, draw_tensors, in_torch, terms_of

pytestmark = pytest.mark.skipif(
    not kernels.available(), reason="there are no native kernels here"
)
PLAN = [
    StagePlan(
        in_channels=1,
        in_size=(12, 12),
        out_channels=6,
        kernel_size=(5, 5),
        activation="relu",
        pooling="max",
        pool_size=(2, 2),
        pool_stride=(2, 2),
    ),
    StagePlan(
        in_channels=6,
        in_size=(4, 4),
        out_channels=20,
        kernel_size=(4, 4),
        activation="tanh",
    ),
    StagePlan(in_channels=20, in_size=(1, 1), out_channels=10, kernel_size=(1, 1)),
]


def connected(inputs, outputs):
    return StagePlan(
        in_channels=inputs, in_size=(1, 1), out_channels=outputs, kernel_size=(1, 1)
    )


def check(batch, targets, smoothing, threads=1):
    x, parameters = draw_tensors(PLAN, batch, 3)
    doubles = [p.double().requires_grad_() for p in parameters]
    logits = in_torch(x.double(), doubles, PLAN).flatten(1)
    wanted = targets if targets.ndim == 1 else targets.double()
    loss = F.cross_entropy(logits, wanted, label_smoothing=smoothing)
    loss.backward()
    step = ChainStep(PLAN, parameters)
    step.flat_grad.fill_(float("nan"))
    written = torch.full((batch, 10), float("nan"))
    torch.set_num_threads(threads)
    try:
        actual = step(x, targets, label_smoothing=smoothing, logits=written)
    finally:
        torch.set_num_threads(1)
    terms = terms_of(PLAN, batch)
    check_close(actual, loss.detach(), terms, "loss")
    check_close(written, logits.detach(), terms, "logits")
    for p, e in zip(step.parameters, doubles, strict=True):
        check_close(p.grad, e.grad, terms, "gradient")


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("batch", [1, 7, 16, 33, 64, 130])
def test_a_step_equals_torch_in_float64(batch, smoothing, threads):
    check(batch, torch.arange(batch) * 7 % 10, smoothing, threads)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("batch", [1, 16, 37])
def test_targets_may_be_shares_of_classes(batch, smoothing):
    generator = torch.Generator().manual_seed(0)
    shares = torch.rand(batch, 10, generator=generator)
    check(batch, shares, smoothing)
    check(batch, shares.softmax(1), smoothing)


def test_logits_of_any_size_do_not_overflow():
    plan = [
        StagePlan(in_channels=2, in_size=(1, 1), out_channels=3, kernel_size=(1, 1))
    ]
    weight = torch.tensor([[1000.0, 0.0], [0.0, -1000.0], [5.0, 5.0]])
    x, targets = torch.tensor([[1.0, 2.0], [-3.0, 1.0]]), torch.tensor([0, 2])
    expected = F.cross_entropy(x @ weight.T, targets)
    torch.testing.assert_close(
        ChainStep(plan, [weight, torch.zeros(3)])(x, targets), expected
    )


def test_a_loss_that_is_no_number_says_so():
    x, parameters = draw_tensors(PLAN, 3, 0)
    x[1, 0, 5, 5] = float("nan")
    assert ChainStep(PLAN, parameters)(x, torch.zeros(3, dtype=torch.int64)).isnan()


def test_parameters_keep_their_names_and_values_and_become_views():
    layer = nn.Linear(4, 3)
    before = {name: p.detach().clone() for name, p in layer.named_parameters()}
    plan = [
        StagePlan(in_channels=4, in_size=(1, 1), out_channels=3, kernel_size=(1, 1))
    ]
    step = ChainStep(plan, list(layer.parameters()))
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name])
    step.flat.zero_()
    step.flat_grad.fill_(2.0)
    assert all((p == 0).all() and (p.grad == 2).all() for p in layer.parameters())


def refused(error, text, call):
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        call()


def test_targets_that_are_no_class_are_refused():
    x, parameters = draw_tensors(PLAN, 3, 0)
    step = ChainStep(PLAN, parameters)
    refused(
        ArgumentError,
        "ChainStep: targets are between 0 and 10, but the chain has 10 logits. Use 0 "
        "to 9.",
        lambda: step(x, torch.tensor([0, 10, 3])),
    )


def test_what_does_not_fit_is_refused():
    x, parameters = draw_tensors(PLAN, 3, 0)
    step = ChainStep(PLAN, parameters)
    targets = torch.tensor([0, 1, 3])
    refused(
        ShapeError,
        "ChainStep: targets have shape (2,) and torch.int64. Give (3,) int64 or "
        "(3, 10) float32.",
        lambda: step(x, targets[:2]),
    )
    refused(
        ShapeError,
        "ChainStep: x has shape (3, 1, 12, 11), but the plan takes 144 numbers per "
        "image, of one image or more. Give such a batch.",
        lambda: step(x[..., 1:], targets),
    )
    refused(
        ArgumentError,
        "ChainStep: x and logits must be float32 on the CPU. Convert them.",
        lambda: step(x.double(), targets),
    )
    refused(
        ShapeError,
        "ChainStep: logits have shape (3, 9). Give a contiguous tensor of shape "
        "(3, 10).",
        lambda: step(x, targets, logits=torch.empty(3, 9)),
    )
    refused(
        ShapeError,
        "ChainStep: the last stage gives (6, 4, 4) (channels, height, width), but "
        "logits have one place. End with a fully connected stage.",
        lambda: ChainStep(PLAN[:1], parameters[:2]),
    )
    refused(
        ShapeError,
        "ChainStep: parameters have [150, 6] numbers, but the plan takes "
        "[150, 6, 1920, 20, 200, 10]. Give weight and bias of each stage in turn.",
        lambda: ChainStep(PLAN, parameters[:2]),
    )
    refused(
        ArgumentError,
        "ChainStep: a parameter is torch.float64 on cpu, but must be float32 on the "
        "CPU. Train this network with torch.",
        lambda: ChainStep(PLAN, [p.double() for p in parameters]),
    )
