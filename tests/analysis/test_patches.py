import json

import numpy as np
import pytest
import torch
from torch import nn

from convscope.analysis import maximize, top_patches, unit_field
from convscope.data import load
from convscope.errors import ArgumentError, DataError, UnknownNameError

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [3, 100])
def test_a_filter_times_its_patch_is_the_value_also_over_the_border(axes, batch_size):
    torch.manual_seed(0)
    net = CONV[axes](2, 4, 3, stride=2, padding=1)
    x = torch.randn(7, 2, *[9] * axes)
    found = top_patches(net, x, "", top=3, batch_size=batch_size)
    y = net(x).flatten(2)
    for channel, row in zip(found.channels, found.top, strict=True):
        best = y[:, channel].amax(dim=1).sort(descending=True)
        assert [p.image for p in row] == best.indices[:3].tolist()
        for patch in row:
            window = np.nan_to_num(patch.pixels)  # padding is 0
            value = (window * net.weight[channel].detach().numpy()).sum()
            value += net.bias[channel].item()
            assert patch.value == pytest.approx(value, abs=1e-5)
    assert found.field == (3,) * axes
    reaching = [p for row in found.top for p in row if np.isnan(p.pixels).any()]
    assert all(min(first for first, _ in p.box) < 0 or max(
        last for _, last in p.box) > 8 for p in reaching)  # fmt: skip


def test_what_is_outside_of_a_deep_units_patch_does_not_matter():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 2, 3)
    )
    x = torch.rand(6, 1, 16, 16)
    found = top_patches(net, x, "3", top=2)
    assert found.field == (8, 8)
    for channel, row in enumerate(found.top):
        for patch in row:
            (top, bottom), (left, right) = patch.box
            rows = slice(max(top, 0), bottom + 1)
            columns = slice(max(left, 0), right + 1)
            other = torch.rand(1, 1, 16, 16)
            other[..., rows, columns] = x[patch.image, :, rows, columns]
            value = net(other)[(0, channel, *patch.position)].item()
            assert value == pytest.approx(patch.value, abs=1e-6)


def test_units_that_see_more_than_the_image_have_whole_images():
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.AdaptiveAvgPool2d(1))
    found = top_patches(net, torch.rand(3, 1, 5, 6), "1", top=1)
    assert found.top[0][0].box == ((0, 4), (0, 5))
    linear = nn.Sequential(nn.Flatten(), nn.Linear(30, 4))
    found = top_patches(linear, torch.rand(3, 1, 5, 6), "1")
    assert found.top[0][0].position == ()
    assert found.top[0][0].pixels.shape == (1, 5, 6)


def test_a_part_of_a_data_set_has_names_and_unit_pixels():
    net = nn.Conv2d(1, 3, 3)
    data = load("digits")
    found = top_patches(net, data, "", top=2, channels=[2])
    (row,) = found.top
    assert (found.images, found.channels) == (359, (2,))
    assert found.notes == ("1 of 3 channels shown",)
    assert row[0].name == data.test.names[row[0].image]
    assert 0 <= row[0].pixels.min() <= row[0].pixels.max() <= 1
    assert json.loads(json.dumps(found.to_dict()))["field"] == [3, 3]


NET, X = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), torch.rand(2, 1, 8, 8)
REFUSED = [
    (lambda: top_patches(NET, X, "conv"), UnknownNameError, "unknown layer 'conv'"),
    (lambda: top_patches(NET, X, "0", top=0), ArgumentError, "top=0, batch_size=64"),
    (lambda: top_patches(NET, X, "0", channels=[2]), ArgumentError,
     "channel 2 is outside the 2 of this layer. Use 0 to 1."),
    (lambda: top_patches(NET, X[:0], "0"), DataError, "there are no images"),
    (lambda: top_patches(NET, X, "*"), ArgumentError, "means 0, 1. Name one of them."),
    (lambda: top_patches(NET, load("digits"), "0", part="tests"), ArgumentError,
     "unknown part 'tests'. Did you mean 'test'"),
    (lambda: maximize(NET, (1, 8, 8), "x", 0), UnknownNameError, "unknown layer 'x'"),
    (lambda: maximize(NET, (1, 8, 8), "0", 5), ArgumentError,
     "channel=5 is outside the 2 of layer='0'"),
    (lambda: maximize(NET, (1, 8, 8), "0", 0, steps=0), ArgumentError, "steps=0"),
    (lambda: maximize(NET, (1, 8, 8), "0", 0, rate=0), ArgumentError, "rate=0"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "text"), REFUSED)
def test_what_cannot_be_found_is_refused(call, kind, text):
    with pytest.raises(kind) as refused:
        call()
    assert text in str(refused.value)


def test_the_best_input_of_a_linear_unit_follows_the_signs_of_its_weights():
    torch.manual_seed(0)
    net = nn.Conv2d(2, 3, 4).train()
    found = maximize(
        net, (2, 4, 4), "", 1, steps=200, decay=0, smoothness=0, shift=0, limits=(-1, 2)
    )
    weight = net.weight[1].detach().numpy()
    np.testing.assert_allclose(found.input, np.where(weight > 0, 2, -1), atol=1e-5)
    assert found.after == pytest.approx(
        (found.input * weight).sum() + net.bias[1].item(), rel=1e-5
    )
    assert net.training
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert "200 steps of Adam" in found.how
    assert "within the range of the data" in found.how


def test_the_same_seed_makes_the_same_input():
    one, same, other = (
        maximize(NET, (1, 8, 8), "1", 0, steps=5, seed=seed).input for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_number_formats_and_compiled_networks_are_looked_into(dtype):
    net = torch.compile(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()).to(dtype))
    x = torch.rand(3, 1, 6, 6).to(dtype)
    assert top_patches(net, x, "1", top=1).field == (3, 3)
    assert maximize(net, (1, 6, 6), "1", 0, steps=2).layer == "1"
    assert unit_field(net, (1, 6, 6), "1", samples=1).unit.size == (3, 3)
