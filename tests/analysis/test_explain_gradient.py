"""`explain_gradient` against autograd in float64, plain loops and formulas."""

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
from analysis.test_explain_unit import TORCH, Functions, norm, residual
from contracts.test_layers import CASES, batch, made
from convscope.analysis.explaining import activation_slopes, kernel_slopes
from convscope.errors import ArgumentError, ExplanationError, UnknownNameError

DRAWS = "StochasticPool"  # whose slope does not show where several elements are 0


def loss(output):
    """Weighs every element by another number."""
    first = output[0] if isinstance(output, tuple) else output
    weights = torch.randn(
        first.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    return (first * weights.to(first)).sum()


def elements(net, x, of, count, seed=0):
    chosen = random.Random(seed)
    weights = dict(net.named_parameters())
    shape = weights[of].shape if of in weights else x.shape
    for _ in range(count):
        yield tuple(chosen.randrange(size) for size in shape)


def autograd(net, x, of, training):
    """The gradient of the loss, by torch alone."""
    net = net.train(training)
    if of in dict(net.named_parameters()):
        (slope,) = torch.autograd.grad(loss(net(x)), net.get_parameter(of))
        return slope
    x = x.clone().requires_grad_()
    return torch.autograd.grad(loss(net(x)), x)[0]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_layer_of_ours(case, training):
    net, x = nn.Sequential(made(case, torch.float64)), batch(case, torch.float64)
    for of in ("0", *dict(net.named_parameters())):
        for index in elements(net, x, of, 1):
            why = cs.explain_gradient(net, x, loss, of, index, training=training)
            assert why.network_value == pytest.approx(why.value, rel=1e-9, abs=1e-12)
            unknown = [p for p in why.parts if "not explained" in p.what]
            assert not unknown or case.name.startswith(DRAWS)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", TORCH)
def test_every_layer_of_torch_is_as_autograd_has_it(name, training):
    layer, shape = TORCH[name]
    net = nn.Sequential(layer).double()
    x = (torch.randn(shape, generator=torch.Generator().manual_seed(5)) * 2).double()
    kept = {k: v.clone() for k, v in net.state_dict().items()}
    for of in ("0", *dict(net.named_parameters())):
        for index in elements(net, x, of, 2):
            torch.manual_seed(0)
            why = cs.explain_gradient(net, x, loss, of, index, training=training)
            expected = autograd(net, x, of, training)[index].item()
            assert why.value == pytest.approx(expected, rel=1e-9, abs=1e-12)
            net.load_state_dict(kept)
    net.float()


def test_a_weight_of_a_convolution_is_plain_loops():
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 1), (1, 2), groups=2).double()
    x = torch.randn(2, 4, 6, 7).double()
    out = layer(x)
    (upstream,) = torch.autograd.grad(loss(out), out)
    for c_out, c_in, i, j in itertools.product(range(6), range(2), range(3), range(2)):
        why = cs.explain_gradient(
            nn.Sequential(layer), x, loss, "0.weight", (c_out, c_in, i, j)
        )
        total = 0.0
        for n, y, z in np.ndindex(2, *out.shape[2:]):
            row, column = 2 * y - 1 + i, z - 1 + 2 * j
            if 0 <= row < 6 and 0 <= column < 7:
                value = x[n, 2 * (c_out // 3) + c_in, row, column].item()
                total += upstream[n, c_out, y, z].item() * value
        assert why.value == pytest.approx(total, rel=1e-9)
        assert len(why.parts[0].outputs) == 2 * math.prod(out.shape[2:])


def test_an_input_of_a_convolution_sums_the_windows_that_use_it():
    net = nn.Sequential(nn.Conv1d(1, 2, 3, bias=False), nn.Flatten())
    net[0].weight.data.copy_(torch.tensor([[[1.0, 2, 3]], [[10, 20, 30]]]))
    x = torch.zeros(1, 1, 5)
    why = cs.explain_gradient(net, x, lambda y: y.sum(), "0", (0, 0, 1))
    part = why.parts[0]
    assert part.outputs.tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1]]
    assert part.local.tolist() == [2, 1, 20, 10]
    assert why.value == 33
    assert why.lines == (
        "gradient of a function at the input of 0 at (0, 0, 1): upstream x local",
        "through 0 = Conv1d(1, 2, 3, bias=False): 4 outputs use it",
        "local slope: kernel at the tap it lies under",
        "(0, 0, 0): 1 x 2 = 2",
        "(0, 0, 1): 1 x 1 = 1",
        "(0, 1, 0): 1 x 20 = 20",
        "(0, 1, 1): 1 x 10 = 10",
        "sum = 33",
    )


def test_max_pooling_passes_back_to_its_winners_alone():
    image = [[1, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]]
    net, x = nn.Sequential(nn.MaxPool2d(2)), torch.tensor(image).float()[None, None]
    found = np.zeros((4, 4))
    for place in np.ndindex(4, 4):
        found[place] = cs.explain_gradient(net, x, torch.sum, "0", (0, 0, *place)).value
    winners = {(1, 1), (1, 3), (2, 0), (3, 3)}
    assert set(map(tuple, np.argwhere(found == 1).tolist())) == winners
    assert found.sum() == 4


def test_overlapping_windows_count_each_win():
    net = nn.Sequential(nn.MaxPool1d(3, 1))
    x = torch.tensor([[[0.0, 1, 5, 2, 3]]])
    why = cs.explain_gradient(net, x, torch.sum, "0", (0, 0, 2))
    assert why.parts[0].local.tolist() == [1, 1, 1]
    lost = cs.explain_gradient(net, x, torch.sum, "0", (0, 0, 3))
    assert lost.parts[0].local.tolist() == [0, 0]


def test_batch_norm_in_training_passes_back_through_mean_and_variance():
    net = nn.Sequential(norm(nn.BatchNorm2d(2))).double()
    x = torch.randn(3, 2, 4, 4).double()
    why = cs.explain_gradient(net, x, loss, "0", (1, 1, 2, 3), training=True)
    parts = {n: float(why.parts[0].upstream @ v) for n, v in why.parts[0].parts.items()}
    values, upstream = x[:, 1], loss_slope(net.train()(x))[:, 1]
    deviation = (values.var(unbiased=False) + 1e-5).sqrt()
    scale = net[0].weight[1] / deviation
    normed = (values - values.mean()) / deviation
    assert parts == pytest.approx(
        {
            "directly": (scale * upstream[1, 2, 3]).item(),
            "through the mean": (-scale * upstream.mean()).item(),
            "through the variance": (
                -scale * normed[1, 2, 3] * (upstream * normed).mean()
            ).item(),
        }
    )
    still = cs.explain_gradient(net, x, loss, "0", (1, 1, 2, 3))
    assert len(still.parts[0].local) == 1


@pytest.mark.parametrize(
    ("layer", "shape", "count"),
    [
        (nn.GroupNorm(2, 6), (2, 6, 4, 3), 36),
        (nn.InstanceNorm1d(3, affine=True), (2, 3, 7), 7),
        (nn.LayerNorm((4, 3)), (2, 5, 4, 3), 12),
    ],
)
def test_other_norms_say_what_goes_through_mean_and_variance(layer, shape, count):
    net, x = nn.Sequential(norm(layer)).double(), torch.randn(shape).double()
    for index in elements(net, x, "0", 3):
        why = cs.explain_gradient(net, x, loss, "0", index)
        assert len(why.parts[0].local) == count
        assert list(why.parts[0].parts) == [
            "directly", "through the mean", "through the variance",
        ]  # fmt: skip
        expected = autograd(net, x, "0", False)[index].item()
        assert why.value == pytest.approx(expected, rel=1e-9)


def loss_slope(out):
    leaf = out.detach().requires_grad_()
    return torch.autograd.grad(loss(leaf), leaf)[0]


def test_a_real_network_in_its_parameters_and_between_its_layers():
    net, x = residual()
    labels = torch.tensor([1, 3])

    def entropy(output):
        return F.cross_entropy(output, labels)

    value = entropy(net.eval()(x))
    chosen = random.Random(2)
    names = chosen.sample([n for n, _ in net.named_parameters()], 8)
    for name in names:
        parameter = net.get_parameter(name)
        (slope,) = torch.autograd.grad(value, parameter, retain_graph=True)
        index = tuple(chosen.randrange(size) for size in parameter.shape)
        why = cs.explain_gradient(net, x, entropy, name, index)
        assert why.value == pytest.approx(slope[index].item(), rel=1e-8, abs=1e-15)
    found = cs.capture(
        net, x, ["layer2.0.conv2", "layer3.1.relu", "layer1.0.add_1"],
        layer_inputs=True, gradients=True, target=entropy,
    )  # fmt: skip
    for label, layer in found.items():
        shape = layer.inputs[0].shape
        index = tuple(chosen.randrange(size) for size in shape)
        why = cs.explain_gradient(net, x, entropy, label, index)
        slope = layer.input_gradients[0][index].item()
        assert why.value == pytest.approx(slope, rel=1e-8, abs=1e-15)


def test_a_layer_is_credited_with_its_own_share_where_branches_meet():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False)

        def forward(self, x):
            x = x * 1
            return self.a(x) + self.b(x)

    net, x = Net(), torch.ones(1, 2)
    for layer in ("a", "b"):
        why = cs.explain_gradient(net, x, None, layer, (0, 1))
        assert why.value == net.get_submodule(layer).weight[0, 1].item()
    why = cs.explain_gradient(net, x, None, "add_1", (0, 0), operand=1)
    assert (why.value, why.parts[0].what) == (1.0, "1: it is added")


def test_a_parameter_that_is_used_twice_sums_both_calls():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 3)
            self.act = nn.ReLU(inplace=True)

        def forward(self, x):
            return F.linear(self.act(self.fc(self.act(self.fc(x)))), self.fc.weight)

    torch.manual_seed(0)
    net, x = Net().double(), torch.randn(2, 3).double()
    for name in ("fc.weight", "fc.bias"):
        parameter = net.get_parameter(name)
        (slope,) = torch.autograd.grad(loss(net(x)), parameter)
        for index in np.ndindex(*parameter.shape):
            why = cs.explain_gradient(net, x, loss, name, index)
            assert why.value == pytest.approx(slope[index].item(), abs=1e-12)
    labels = [part.label for part in why.parts]
    assert labels == ["fc", "fc:2"]
    why = cs.explain_gradient(net, x, loss, "fc.weight", (0, 0))
    assert [part.label for part in why.parts] == ["fc", "fc:2", "linear_1"]


def test_functions_pass_gradients_back_as_layers_do():
    torch.manual_seed(0)
    net, x = Functions().double(), torch.randn(3, 2, 6, 6).double()
    for name, parameter in net.named_parameters():
        (slope,) = torch.autograd.grad(loss(net(x)), parameter)
        for index in elements(net, x, name, 2):
            why = cs.explain_gradient(net, x, loss, name, index)
            assert why.value == pytest.approx(slope[index].item(), rel=1e-8)
    found = cs.capture(net, x, layer_inputs=True, gradients=True, target=loss)
    reached = {k: v for k, v in found.items() if v.input_gradients[0] is not None}
    assert len(found) - len(reached) == 1  # a view of a buffer
    for label, layer in reached.items():
        shape = layer.inputs[0].shape
        index = tuple(random.Random(1).randrange(size) for size in shape)
        why = cs.explain_gradient(net, x, loss, label, index)
        assert not [p for p in why.parts if "not explained" in p.what], label


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize(
    "normed", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm]
)
def test_a_weight_made_of_parameters_passes_gradients_on_to_them(normed):
    net, x = nn.Sequential(normed(nn.Conv1d(2, 3, 2))).double(), torch.randn(1, 2, 5)
    x = x.double()
    for name, parameter in net.named_parameters():
        (slope,) = torch.autograd.grad(loss(net(x)), parameter)
        for index in elements(net, x, name, 2):
            why = cs.explain_gradient(net, x, loss, name, index)
            assert why.value == pytest.approx(slope[index].item(), rel=1e-9)


def test_frozen_parameters_are_explained_and_stay_frozen():
    net, x = nn.Sequential(nn.Linear(2, 2)).requires_grad_(False), torch.ones(1, 2)
    why = cs.explain_gradient(net, x, 1, "0.weight", (1, 0))
    assert why.value == 1.0
    assert not net[0].weight.requires_grad
    assert net[0].weight.grad is None


def test_single_precision_is_explained_within_its_rounding():
    torch.manual_seed(0)
    net = cs.models.build("lenet5")
    x = torch.randn(4, 1, 32, 32)
    for name, parameter in net.named_parameters():
        for index in elements(net, x, name, 1):
            why = cs.explain_gradient(net, x, torch.tensor([1, 2, 3, 4]), name, index)
            assert abs(why.value - why.network_value) <= why.tolerance
            assert why.tolerance < 1e-2 * max(1.0, parameter.numel())


@pytest.mark.parametrize("kind", [nn.Tanh, nn.Sigmoid, nn.ELU, nn.SiLU, nn.GELU])
def test_saturated_activations_are_explained_within_their_rounding(kind):
    net, x = nn.Sequential(kind()), torch.linspace(-18, 18, 73)[None]
    for channel in range(73):
        why = cs.explain_gradient(net, x, loss, "0", (0, channel))
        assert abs(why.value - why.network_value) <= why.tolerance


def test_a_layer_of_the_users_that_draws_is_not_asked_again():
    class Drawing(nn.Module):
        def forward(self, x):
            return x * torch.rand_like(x)

    net, x = nn.Sequential(nn.Dropout(0.5), Drawing()), torch.ones(1, 8)
    why = cs.explain_gradient(net, x, torch.sum, "1", (0, 3), training=True)
    assert "not explained" in why.parts[0].what
    assert 0 < why.value < 1


def test_where_slopes_cannot_be_found_that_is_said():
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 3

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, slope):
            return slope * 3

    class Net(nn.Module):
        def forward(self, x):
            return Once.apply(x)

    class Outer(nn.Sequential):
        pass

    why = cs.explain_gradient(Outer(Net()), torch.ones(1, 2), 1, "0", (0, 1))
    assert why.value == why.network_value == 3.0
    assert "not explained, gradient taken from the network" in str(why)


PLANTED = {
    "the kernel in place of the flipped one": (
        kernel_slopes, "read_convolution", "0",
        lambda right: lambda site: flipped(right(site)),
    ),
    "an ReLU that passes all": (
        activation_slopes, "one", "1",
        lambda right: lambda tensor, index: abs(right(tensor, index)) + 1,
    ),
}  # fmt: skip


def flipped(read):
    weight = read.weight.flip((2, 3))
    return type(read)(weight, read.bias, read.groups, read.row)


@pytest.mark.parametrize("mistake", PLANTED)
def test_a_planted_mistake_is_refused(monkeypatch, mistake):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    x = torch.randn(1, 1, 6, 6)
    where, name, layer, change = PLANTED[mistake]
    dead = (net[0](x) < 0).nonzero()[0].tolist()
    index = (0, 0, 2, 2) if layer == "0" else tuple(dead)
    cs.explain_gradient(net, x, loss, layer, index)
    monkeypatch.setattr(where, name, change(getattr(where, name)))
    with pytest.raises(ExplanationError, match="Report this to convscope"):
        cs.explain_gradient(net, x, loss, layer, index)


def test_the_network_is_as_before():
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3), norm(nn.BatchNorm2d(2)), nn.Dropout()
    ).train()
    x, state = torch.randn(2, 1, 6, 6), torch.get_rng_state()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    cs.explain_gradient(net, x, loss, "0.weight", (1, 0, 2, 2), training=True)
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert net[0].weight.grad is None
    assert net.training


def test_the_record_is_json():
    net, x = residual()
    why = cs.explain_gradient(net, x, 2, "layer1.0.conv1.weight", (1, 0, 2, 2))
    record = json.loads(json.dumps(why.to_dict()))
    part = record["parts"][0]
    products = np.array(part["upstream"]) * np.array(part["local"])
    assert products.sum() == pytest.approx(record["value"])
    assert record["target"] == "output 2"


def refused(text, *args, kind=ArgumentError, **kwargs):
    with pytest.raises(kind, match=f"^{re.escape(text)}$"):
        cs.explain_gradient(*args, **kwargs)


def test_elements_that_are_not_there_are_refused():
    net, x = nn.Sequential(nn.Conv2d(1, 2, 3)), torch.zeros(2, 1, 5, 6)
    refused(
        "explain_gradient: index=(0, 0, 3, 0) is not in parameter '0.weight' of shape "
        "(2, 1, 3, 3). Use 0 to 2 where there is 3.",
        net, x, torch.sum, "0.weight", (0, 0, 3, 0),
    )  # fmt: skip
    refused(
        "explain_gradient: index=(0, 1) has 2 numbers, but the input of '0' has shape "
        "(2, 1, 5, 6). Give 4.",
        net, x, torch.sum, "0", (0, 1),
    )  # fmt: skip
    refused(
        "explain_gradient: operand=1 is not one of the 1 tensors that '0' takes.",
        net, x, torch.sum, "0", (0, 0, 0, 0), operand=1,
    )  # fmt: skip
    with pytest.raises(UnknownNameError, match=r"parameter or layer '0\.wieght'"):
        cs.explain_gradient(net, x, torch.sum, "0.wieght", (0, 0, 0, 0))
    with pytest.raises(ArgumentError, match="target=5 has 1 number"):
        cs.explain_gradient(net, x, 5, "0", (0, 0, 0, 0))


def test_what_the_target_does_not_depend_on_has_no_gradient():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x):
            self.b(x)
            return self.a(x)

    why = cs.explain_gradient(Net(), torch.ones(1, 2), 0, "b.weight", (0, 0))
    assert (why.value, why.network_value) == (0.0, 0.0)
