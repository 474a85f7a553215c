"""Gradients of views that are written into, against a copy with nothing in place."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convscope as cs
from convscope.errors import ArgumentError


class Way(nn.Module):
    """A convolution, something that gives a view, and writing into it or not."""

    def __init__(self, forward):
        super().__init__()
        self.way = forward
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.InstanceNorm2d(4, affine=True)
        self.flat = nn.Flatten(2)
        self.double()

    def forward(self, x):
        return self.way(self, x)


def normed(net, x):
    return F.relu(net.norm(net.conv(x)), inplace=True)


def normed_apart(net, x, keep):
    return F.relu(keep("norm", net.norm(net.conv(x))))


def written_twice(net, x):
    value = net.norm(net.conv(x))
    value.mul_(3)
    value.relu_()
    return value


def written_twice_apart(net, x, keep):
    return (keep("norm", net.norm(net.conv(x))) * 3).relu()


def used_before(net, x):
    value = net.norm(net.conv(x))
    before = value * 3
    return before + value.relu_()


def used_before_apart(net, x, keep):
    value = keep("norm", net.norm(net.conv(x)))
    return value * 3 + value.relu()


def owner_used_elsewhere(net, x):
    owner = net.conv(x)
    flat = net.flat(owner)
    skip, other = owner * 5, flat * 7
    flat.relu_()
    return flat.view_as(skip) + skip * other.view_as(skip)


def owner_used_elsewhere_apart(net, x, keep):
    owner = net.conv(x)
    flat = keep("flat", net.flat(owner))
    skip, other = owner * 5, flat * 7
    return flat.relu().view_as(skip) + skip * other.view_as(skip)


def part_of_the_owner(net, x):
    owner = net.conv(x)
    flat = net.flat(owner[:, 1:3])
    owner[:, 2:].relu_()
    return owner * 2 + flat.sum()


def part_of_the_owner_apart(net, x, keep):
    owner = net.conv(x)
    flat = keep("flat", net.flat(owner[:, 1:3]))
    middle = flat.view(len(x), 2, *x.shape[2:])
    owner = torch.cat([owner[:, :1], middle, owner[:, 3:]], 1)
    after = torch.cat([owner[:, :2], owner[:, 2:].relu()], 1)
    return after * 2 + torch.cat([flat[:, :1], after[:, 2:3].flatten(2)], 1).sum()


WAYS = {
    "norm before an in-place rectifier": (normed, normed_apart),
    "written twice": (written_twice, written_twice_apart),
    "used before it is written into": (used_before, used_before_apart),
    "its owner is used elsewhere": (owner_used_elsewhere, owner_used_elsewhere_apart),
    "part of its owner": (part_of_the_owner, part_of_the_owner_apart),
}


def loss(output):
    places = torch.arange(output.numel(), dtype=output.dtype).view_as(output)
    return (output * (places / 7).sin()).sum()


def both(way, x):
    """The network, what is looked at, and its gradient by a copy of values."""
    written, apart = WAYS[way]
    torch.manual_seed(0)
    net, kept = Way(written), {}

    def keep(name, value):
        kept[name] = value
        return value

    output = apart(net, x, keep)
    ((name, value),) = kept.items()
    torch.testing.assert_close(net(x), output)  # the two ways compute the same
    return net, name, torch.autograd.grad(loss(output), value)[0]


def images():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 2, 4, 5, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("way", WAYS)
def test_the_gradient_at_a_view_is_that_of_a_copy_also_if_it_is_written_into(way):
    net, name, expected = both(way, images())
    found = cs.capture(net, images(), [name], gradients=True, target=loss)
    torch.testing.assert_close(found[name].gradient, expected)


@pytest.mark.parametrize("way", ["norm before an in-place rectifier", "written twice"])
def test_a_gradient_is_explained_also_before_a_view_that_is_written_into(way):
    net, name, upstream = both(way, images())
    value = net.conv(images()).detach().requires_grad_()
    (expected,) = torch.autograd.grad(net.norm(value), value, upstream)
    for index in ((0, 0, 0, 0), (1, 3, 2, 4)):
        why = cs.explain_gradient(net, images(), loss, name, index)
        assert why.value == pytest.approx(expected[index].item(), rel=1e-9, abs=1e-12)
    weight = torch.autograd.grad(loss(net(images())), net.norm.weight)[0]
    why = cs.explain_gradient(net, images(), loss, "norm.weight", (2,))
    assert why.value == pytest.approx(weight[2].item(), rel=1e-9)


def test_the_usual_block_of_a_style_network_is_as_without_writing():
    def made(inplace):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.InstanceNorm2d(4), nn.ReLU(inplace),
            nn.Conv2d(4, 3, 3), nn.GroupNorm(1, 3), nn.ReLU(inplace), nn.Flatten(1),
            nn.Linear(18, 5), nn.LeakyReLU(0.1, inplace), nn.Dropout(0.0, inplace),
        )  # fmt: skip
        return net.double()

    x = torch.randn(2, 2, 7, 6, dtype=torch.float64)
    first = cs.capture(made(True), x, gradients=True, target=loss, layer_inputs=True)
    second = cs.capture(made(False), x, gradients=True, target=loss, layer_inputs=True)
    for label, layer in second.items():
        torch.testing.assert_close(first[label].gradient, layer.gradient, msg=label)
        for mine, theirs in zip(
            first[label].input_gradients, layer.input_gradients, strict=True
        ):
            assert (mine is None) == (theirs is None)
            if mine is not None:
                torch.testing.assert_close(mine, theirs, msg=label)


def test_parts_of_complex_memory_have_gradients_of_their_own():
    def forward(net, x):
        spectrum = torch.fft.fft2(net.conv(x))
        parts = net.flat(torch.view_as_real(spectrum))
        parts.relu_()
        return parts

    def apart(net, x):
        parts = net.flat(torch.view_as_real(torch.fft.fft2(net.conv(x))))
        return parts, parts.relu()

    torch.manual_seed(0)
    net = Way(forward)
    parts, output = apart(net, images())
    expected = torch.autograd.grad(loss(output), parts)[0]
    found = cs.capture(net, images(), ["flat"], gradients=True, target=loss)
    torch.testing.assert_close(found["flat"].gradient, expected)


def test_a_network_that_torch_cannot_differentiate_is_refused():
    def forward(net, x):
        value = net.conv(x).tanh()
        value.relu_()
        return value

    with pytest.raises(ArgumentError) as caught:
        cs.capture(Way(forward), images(), ["conv"], gradients=True, target=loss)
    assert str(caught.value) == (
        "capture: torch finds no gradient of this network either: something that the "
        "gradient needs is written into later (a tensor of shape (2, 4, 4, 5), "
        "the output of Tanh). Make the operation after it write into a tensor of its "
        "own (inplace=False)."
    )
