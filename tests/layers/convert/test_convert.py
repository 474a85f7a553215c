"""Convolution to fully connected and back: the same numbers, wherever both work."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convscope as cs
from convscope.errors import ArgumentError, ShapeError
from convscope.layers import to_convolutional, to_linear

DOUBLE = torch.float64


def conv(kind, *arguments, **more):
    return lambda: kind(*arguments, **more, dtype=DOUBLE)


CONVOLUTIONS = {
    "torch, 1-D": (conv(nn.Conv1d, 2, 3, 3, 2, 1), (9,)),
    "torch, same": (conv(nn.Conv2d, 2, 4, (3, 1), padding="same", groups=2), (5, 6)),
    "torch, 3-D": (conv(nn.Conv3d, 2, 2, 2, dilation=2, bias=False), (4, 3, 5)),
    "torch, circular": (
        conv(nn.Conv2d, 1, 2, 3, padding=1, padding_mode="circular"),
        (4, 5),
    ),
    "torch, transposed": (
        conv(nn.ConvTranspose2d, 2, 4, 3, 2, 1, output_padding=1, groups=2),
        (4, 3),
    ),
    "ours, pairs, flipped": (
        conv(cs.layers.Conv2d, 2, 3, 3, padding=[(0, 1), (2, 0)], flip=True),
        (5, 4),
    ),
    "ours, partial": (
        conv(cs.layers.Conv1d, 1, 2, 3, padding="full", padding_mode="partial"),
        (6,),
    ),
    "ours, constant": (
        conv(
            cs.layers.Conv2d, 1, 2, 3, padding=1, bias=False,
            padding_mode="constant", padding_value=2.5,
        ),
        (4, 4),
    ),
    "ours, transposed, flipped": (
        conv(cs.layers.ConvTranspose2d, 2, 3, 3, 2, [(1, 0), (0, 1)], flip=True),
        (3, 4),
    ),
    "ours, connections": (
        conv(cs.layers.Conv2d, 2, 2, 3, connections=[[True, False], [True, True]]),
        (4, 5),
    ),
    "ours, depthwise": (
        conv(cs.layers.DepthwiseConv2d, 2, 3, padding="same", depth_multiplier=2),
        (4, 5),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_convolution_as_a_linear_layer_gives_the_same(name):
    make, sizes = CONVOLUTIONS[name]
    layer = make()
    linear = to_linear(layer, sizes)
    assert type(linear) is nn.Linear
    x = torch.randn(3, layer.in_channels, *sizes, dtype=DOUBLE)
    torch.testing.assert_close(
        linear(x.flatten(1)), layer(x).flatten(1), rtol=0, atol=1e-12
    )


def test_a_linear_layer_goes_back_to_a_convolution_over_the_map():
    linear = nn.Linear(3 * 4 * 5, 7)
    back = to_convolutional(linear, (3, 4, 5))
    assert isinstance(back, nn.Conv2d)
    x = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(back(x)[..., 0, 0], linear(x.flatten(1)))
    assert back.weight.data_ptr() != linear.weight.data_ptr()
    there = to_linear(back, (4, 5))
    torch.testing.assert_close(there.weight, linear.weight, rtol=0, atol=0)


class Classifier(nn.Module):
    """As torchvision writes its networks: a forward of its own that flattens."""

    def __init__(self, flatten):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2))
        self.classifier = nn.Sequential(
            nn.Dropout(),
            nn.Linear(4 * 3 * 4, 6),
            nn.ReLU(inplace=True),
            nn.Linear(6, 3),
        )
        self.flatten = flatten

    def forward(self, x):
        x = self.flatten(F.relu(self.features(x)))
        x = F.dropout(self.classifier(x), training=self.training)
        return F.log_softmax(x, dim=-1) * 0.5


class Pooled(nn.Module):
    """Its forward pools the whole map by a function."""

    def __init__(self, pool):
        super().__init__()
        self.conv, self.head, self.pool = nn.Conv2d(2, 3, 3), nn.Linear(3, 4), pool

    def forward(self, x):
        return self.head(self.pool(F.max_pool2d(self.conv(x), 2)))


class Block(nn.Module):
    """Scales its input, as a residual branch would."""

    def forward(self, x):
        return x + x.tanh() / 2


def normed():
    norm = nn.BatchNorm1d(6)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    return norm


# builds a network, the size it is for, and the product of its strides
NETWORKS = {
    "no hidden layer": (lambda: [nn.Flatten(), nn.Linear(2 * 30, 4)], (2, 5, 6), 1),
    "norm, dropout, softmax": (
        lambda: [
            nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(),
            nn.Linear(3 * 12, 6), normed(), nn.PReLU(6), nn.Dropout(), Block(),
            nn.Linear(6, 4, bias=False), nn.Softmax(-1),
        ],
        (2, 5, 6),
        1,
    ),
    "nested, strided": (
        lambda: [
            nn.Sequential(nn.Conv2d(2, 3, 3, stride=2), nn.Sequential(nn.Tanh())),
            nn.Sequential(nn.AvgPool2d(2), nn.Flatten()),
            nn.Sequential(nn.Linear(3 * 4, 6), nn.Sequential(nn.Linear(6, 4))),
        ],
        (2, 9, 10),
        4,
    ),
    "global pooling": (
        lambda: [nn.Conv2d(2, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                 nn.Linear(3, 4)],
        (2, 6, 7),
        1,
    ),
    "ours, global pooling without space": (
        lambda: [cs.layers.Conv2d(2, 3, 3), cs.layers.GlobalMaxPool2d(),
                 nn.Linear(3, 4)],
        (2, 6, 7),
        1,
    ),
    "adaptive pooling in halves": (
        lambda: [nn.Conv2d(2, 3, 3), nn.AdaptiveMaxPool2d((2, 1)), nn.Flatten(),
                 nn.Linear(6, 4)],
        (2, 6, 4),
        (2, 1),
    ),
    "pooling that changes nothing": (
        lambda: [nn.Conv2d(2, 3, 3), nn.AdaptiveAvgPool2d(4), nn.Flatten(),
                 nn.Linear(48, 4)],
        (2, 6, 6),
        1,
    ),
    "1-D": (
        lambda: [nn.Conv1d(2, 3, 3, stride=2), nn.ReLU(), nn.Flatten(),
                 nn.Linear(12, 6), nn.BatchNorm1d(6)],
        (2, 9),
        2,
    ),
    "3-D": (
        lambda: [nn.Conv3d(2, 3, 2), nn.MaxPool3d(2), nn.Flatten(),
                 nn.Linear(3 * 1 * 1 * 2, 6), normed(), nn.Linear(6, 4)],
        (2, 3, 3, 5),
        2,
    ),
    "flatten": (lambda: [Classifier(lambda x: torch.flatten(x, 1))], (2, 8, 10), 2),
    "mean": (lambda: [Pooled(lambda x: x.mean((2, 3)))], (2, 6, 8), 2),
    "mean, squeezed": (
        lambda: [Pooled(lambda x: x.mean([-1, -2], keepdim=True)[:, :, 0, 0])],
        (2, 6, 8),
        2,
    ),
    "adaptive pooling by a function": (
        lambda: [Pooled(lambda x: F.adaptive_max_pool2d(x, 1).flatten(1))],
        (2, 6, 8),
        2,
    ),
    "view": (lambda: [Classifier(lambda x: x.view(x.size(0), -1))], (2, 8, 10), 2),
    "view by number": (lambda: [Classifier(lambda x: x.view(-1, 48))], (2, 8, 10), 2),
    "reshape": (
        lambda: [Classifier(lambda x: x.reshape(x.shape[0], 48))], (2, 8, 10), 2,
    ),
}  # fmt: skip


def build(name):
    make, size, stride = NETWORKS[name]
    torch.manual_seed(0)
    net = nn.Sequential(*make()).eval()
    strides = (stride,) * (len(size) - 1) if isinstance(stride, int) else stride
    return net, size, strides


@torch.no_grad()
def check(net, sliding, size, strides):
    """Each place of the map is what ``net`` says of the crop that it stands for."""
    larger = [s + 2 * step + 1 for s, step in zip(size[1:], strides, strict=True)]
    x = torch.randn(2, size[0], *larger)
    out = sliding(x)
    assert min(out.shape[2:]) > 1
    for place in torch.cartesian_prod(*map(torch.arange, out.shape[2:])).view(
        -1, len(strides)
    ):
        at = place.tolist()
        crop = x
        for axis, (i, step) in enumerate(zip(at, strides, strict=True)):
            crop = crop.narrow(2 + axis, i * step, size[1 + axis])
        torch.testing.assert_close(out[(slice(None), slice(None), *at)], net(crop))


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_on_its_own_size_the_converted_network_gives_the_same(name):
    net, size, _ = build(name)
    x = torch.randn(2, *size)
    out = to_convolutional(net, size)(x)
    assert out.shape[2:] == (1,) * (len(size) - 1)
    torch.testing.assert_close(out.flatten(1), net(x))


@pytest.mark.parametrize("name", NETWORKS)
def test_on_a_larger_image_each_place_is_the_network_on_a_crop(name):
    net, size, strides = build(name)
    check(net, to_convolutional(net, size), size, strides)


@pytest.mark.parametrize(("name", "stride"), [("lenet5", 4), ("mlp", 1)])
def test_models_by_name_slide_over_larger_images(name, stride):
    net = cs.models.build(name, input_size=(32, 32)).eval()
    check(net, to_convolutional(net, (1, 32, 32)), (1, 32, 32), (stride, stride))


MISTAKES = {
    "another order of the map": lambda w: w.transpose(2, 3).reshape(w.shape),
    "kernel flipped": lambda w: w.flip(2),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_check_rejects_a_planted_mistake(mistake):
    net, size, strides = build("no hidden layer")
    sliding = to_convolutional(net, size)
    sliding[1].weight.data = MISTAKES[mistake](sliding[1].weight.data)
    with pytest.raises(AssertionError):
        check(net, sliding, size, strides)


def test_the_network_that_was_given_is_left_as_it_was():
    net, size, _ = build("norm, dropout, softmax")
    net.train()
    net[1].eval()
    net[4].weight.requires_grad_(False)
    before = copy.deepcopy(net.state_dict())
    kinds = [type(module) for module in net.modules()]
    sliding = to_convolutional(net, size)
    assert [type(module) for module in net.modules()] == kinds
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert sliding.state_dict().keys() == before.keys()
    assert [module.training for module in sliding] == [m.training for m in net]
    assert not sliding[4].weight.requires_grad
    own = {parameter.data_ptr() for parameter in net.parameters()}
    assert own.isdisjoint(p.data_ptr() for p in sliding.parameters())
    for name, value in sliding.state_dict().items():
        assert torch.equal(value.flatten(), before[name].flatten()), name


@pytest.mark.parametrize("name", ["nested, strided", "flatten"])
def test_the_result_trains_and_can_be_copied_and_compiled(name):
    net, size, _ = build(name)
    sliding = to_convolutional(net, size)
    x = torch.randn(2, *size)
    sliding(x).square().sum().backward()
    assert all(parameter.grad.any() for parameter in sliding.parameters())
    twin = copy.deepcopy(sliding)
    torch.testing.assert_close(twin(x), sliding(x))
    torch._dynamo.reset()
    compiled = torch.compile(sliding, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), sliding(x))


def test_a_converted_sequence_is_pickled():
    net, size, _ = build("nested, strided")
    sliding = to_convolutional(net, size)
    x = torch.randn(2, *size)
    twin = pickle.loads(pickle.dumps(sliding))
    torch.testing.assert_close(twin(x), sliding(x), rtol=0, atol=0)


def test_dropout_written_as_a_function_still_drops_in_training():
    net, size, _ = build("flatten")
    sliding = to_convolutional(net, size).train()
    x = torch.randn(64, *size)
    assert not torch.equal(sliding(x), sliding(x))
    assert torch.equal(sliding.eval()(x), sliding(x))


class Branches(nn.Module):
    """Its forward looks at values."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(18, 2)

    def forward(self, x):
        if x.sum() > 0:
            x = -x
        return self.head(x.flatten(1))


class Rows(nn.Module):
    """Flattens the columns only."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(9, 2)

    def forward(self, x):
        return self.head(x.flatten(2))


class Squeeze(nn.Module):
    """Squeeze and excitation: one number for a whole map."""

    def __init__(self):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        return x * self.pool(x).sigmoid()


SHARED = nn.Linear(18, 18)
REFUSED = {
    "layer norm": (
        nn.Sequential(nn.Flatten(), nn.Linear(18, 6), nn.LayerNorm(6)),
        "to_convolutional: 2 (LayerNorm) has no form that works at each place of a "
        "map. Take it out, or convert what comes before it.",
    ),
    "batch norm of a flattened map": (
        nn.Sequential(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(18))),
        "to_convolutional: 0.1 (BatchNorm1d) tells the places of the flattened map "
        "(2, 3, 3) from each other. Put a Linear layer before it.",
    ),
    "flatten of some axes": (
        nn.Sequential(nn.Flatten(2), nn.Linear(9, 2)),
        "to_convolutional: 0 (Flatten) flattens axes 2 to -1 only. Flatten all but the "
        "batch axis.",
    ),
    "linear along the last axis": (
        nn.Sequential(nn.Linear(3, 2)),
        "to_convolutional: 0 (Linear) works along the last axis of a map (N, 2, 3, 3). "
        "Flatten the map before it.",
    ),
    "windows of two lengths": (
        nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(8, 2)),
        "to_convolutional: 0 (AdaptiveAvgPool2d) makes (2, 2) of (3, 3), with windows "
        "of different lengths. Choose an output size that divides the map, or 1.",
    ),
    "ends flat": (
        nn.Sequential(nn.ReLU(), nn.Flatten()),
        "to_convolutional: Sequential ends in a flattened map of (2, 3, 3), whose "
        "places would mix on a larger image. End it before the flattening, or in a "
        "Linear layer.",
    ),
    "used twice": (
        nn.Sequential(nn.Flatten(), SHARED, SHARED),
        "to_convolutional: 2 (Linear) is used twice, on maps of different sizes. Give "
        "each place a layer of its own.",
    ),
    "unflatten": (
        nn.Sequential(nn.Flatten(), nn.Unflatten(1, (2, 3, 3))),
        "to_convolutional: 1 (Unflatten) has no form that works at each place of a "
        "map. Take it out, or convert what comes before it.",
    ),
    "branches": (
        nn.Sequential(nn.ReLU(), Branches()),
        "to_convolutional: 1 (Branches) has a forward that torch.fx cannot trace "
        "(symbolically traced variables cannot be used as inputs to control flow). "
        "Write it without branches on values, or as Sequential.",
    ),
    "rows": (
        Rows(),
        "to_convolutional: Rows, flatten makes (N, 2, 9) of a map (N, 2, 3, 3). "
        "Flatten all but the batch axis, or keep a map.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_form_that_slides_is_refused_by_its_name(name):
    net, text = REFUSED[name]
    with pytest.raises(ArgumentError) as caught:
        to_convolutional(net, (2, 3, 3))
    assert str(caught.value) == text


def test_what_works_on_one_size_only_is_refused_after_a_trial():
    net = nn.Sequential(Squeeze(), nn.Flatten(), nn.Linear(18, 2))
    with pytest.raises(ArgumentError) as caught:
        to_convolutional(net, (2, 3, 3))
    assert str(caught.value) == (
        "to_convolutional: Sequential, rewritten, does not work on (N, 2, 6, 6), so "
        "something in it is made for one size: The size of tensor a (6) must match the "
        "size of tensor b (4) at non-singleton dimension 3"
    )


def test_arguments_that_do_not_fit_are_refused_in_words():
    with pytest.raises(ShapeError) as caught:
        to_convolutional(nn.Linear(400, 120), (16, 4, 4))
    assert str(caught.value) == (
        "to_convolutional: Linear takes 400 features, and input_size=(16, 4, 4) has "
        "256. Give the (C, ...) of the map that is flattened before it."
    )
    with pytest.raises(ArgumentError) as caught:
        to_convolutional(nn.Linear(4, 2), (4,))
    assert str(caught.value) == (
        "to_convolutional: input_size=(4,) has 1 value. Give (C, L), (C, H, W) or "
        "(C, D, H, W)."
    )
    with pytest.raises(ArgumentError) as caught:
        to_linear(nn.ReLU(), 8)
    assert str(caught.value) == (
        "to_linear: conv is a ReLU, which is no convolution. Give Conv1d, 2d, 3d or "
        "ConvTranspose1d, 2d, 3d, of torch.nn or of convscope.layers."
    )
    with pytest.raises(ArgumentError) as caught:
        to_linear(nn.Conv2d(3, 8, 3, padding=1), 64)
    assert str(caught.value) == (
        "to_linear: a weight of 32,768 outputs for 12,288 inputs takes 1,610,612,736 "
        "bytes, and max_bytes=1,073,741,824. Raise max_bytes, or take conv_matrix, "
        "which is sparse."
    )
