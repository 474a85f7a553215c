"""Weights of color photographs in networks for other channels and axes: identities."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from convscope.errors import ShapeError
from convscope.layers import BatchNorm2d
from convscope.models import build, load_weights

SMALL = {
    "resnet18": {"width": 4, "num_classes": 5},
    "resnet50": {"width": 2, "num_classes": 5},
    "vgg11_bn": {"width": 2, "hidden": 8, "num_classes": 5},
    "mobilenet_v2": {"multiplier": 0.1, "num_classes": 5},
    "efficientnet_lite0": {"num_classes": 5},  # on 64 elements, below
    "all_conv": {"num_classes": 5},
    "nin": {"num_classes": 5},
}
SIZE = 32


def size_for(name):
    """So that no map is shorter than the padding around it."""
    return 2 * SIZE if name == "efficientnet_lite0" else SIZE


def random_net(name, *, axes=2, **options):
    """With norms that do something, in evaluation."""
    torch.manual_seed(0)
    net = build(
        name, input_size=(size_for(name),) * axes, **SMALL.get(name, {}), **options
    )
    for layer in net.modules():
        if isinstance(layer, BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.1, 0.1)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.uniform_(layer.bias, -0.1, 0.1)
    return net.eval()


def moved(theirs, ours, folder):
    """``ours`` with the weights of ``theirs``, by way of a file."""
    save_file(theirs.state_dict(), folder / "a.safetensors")
    return load_weights(ours, folder / "a.safetensors")


def close(ours, theirs):
    """Up to the rounding of float32 sums, of some thousand terms and through layers."""
    size = theirs.abs().max().item()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * max(size, 1e-6))


@pytest.mark.parametrize("name", SMALL)
def test_a_volume_of_one_picture_gives_the_logits_of_the_picture(tmp_path, name):
    """Padded around, depth has no border, and every slice is like the others."""
    flat = random_net(name, padding_mode="circular")
    deep = random_net(name, axes=3, padding_mode="circular")
    loaded = moved(flat, deep, tmp_path)
    assert set(loaded.changed.values()) == {
        "repeated along depth for volumes, divided by its length"
    }
    size = size_for(name)
    x = torch.randn(1, 3, size, size)
    with torch.no_grad():
        close(deep(x[:, :, None].expand(-1, -1, size, -1, -1)), flat(x))


@pytest.mark.parametrize("name", SMALL)
def test_a_signal_gives_the_logits_of_the_picture_whose_rows_it_is(tmp_path, name):
    flat = random_net(name, padding_mode="circular")
    line = random_net(name, axes=1, padding_mode="circular")
    loaded = moved(flat, line, tmp_path)
    assert set(loaded.changed.values()) == {"summed over rows for signals"}
    size = size_for(name)
    x = torch.randn(1, 3, size)
    with torch.no_grad():
        close(line(x), flat(x[:, :, None].expand(-1, -1, size, -1)))


def test_a_segmentation_of_a_volume_is_that_of_its_slice(tmp_path):
    """Transposed convolutions too, of whose kernel every second element meets one."""
    options = {"width": 4, "num_classes": 3, "padding_mode": "circular"}
    flat = random_net("unet", **options)
    deep = random_net("unet", axes=3, **options)
    moved(flat, deep, tmp_path)
    x = torch.randn(1, flat.built_from.input_shape[0], SIZE, SIZE)
    with torch.no_grad():
        out = deep(x[:, :, None].expand(-1, -1, SIZE, -1, -1))
        close(out[:, :, 5], flat(x))


def test_zeros_around_a_volume_change_it_only_as_far_as_layers_see(tmp_path):
    """Away from the border a slice is what a picture gives, whatever the padding."""
    flat = random_net("resnet20", width=4)
    deep = random_net("resnet20", axes=3, width=4)
    moved(flat, deep, tmp_path)
    x = torch.randn(1, 3, SIZE, SIZE)
    with torch.no_grad():
        slices = deep[:4](x[:, :, None].expand(-1, -1, SIZE, -1, -1))  # to layer1
        close(slices[:, :, SIZE // 2], flat[:4](x))
        assert (slices[:, :, 0] - flat[:4](x)).abs().max() > 1e-3


@pytest.mark.parametrize("name", SMALL)
def test_a_gray_picture_gives_what_it_gives_as_three_equal_channels(tmp_path, name):
    color, gray = random_net(name), random_net(name, in_channels=1)
    loaded = moved(color, gray, tmp_path)
    assert list(loaded.changed.values()) == ["summed over its 3 channels"]
    x = torch.randn(1, 1, SIZE, SIZE)
    with torch.no_grad():
        close(gray(x), color(x.expand(-1, 3, -1, -1)))


@pytest.mark.parametrize("channels", [2, 4, 6])
def test_other_channels_keep_what_equal_channels_give(tmp_path, channels):
    """Where kernels are alike in all colors; where not, to the size of the first."""
    color, ours = random_net("resnet18"), random_net("resnet18", in_channels=channels)
    with torch.no_grad():
        color.conv1.weight.copy_(color.conv1.weight[:, :1].expand(-1, 3, -1, -1))
    moved(color, ours, tmp_path)
    x = torch.randn(1, 1, SIZE, SIZE)
    with torch.no_grad():
        close(ours(x.expand(-1, channels, -1, -1)), color(x.expand(-1, 3, -1, -1)))


def test_a_gray_file_in_a_color_network_takes_the_mean_of_colors(tmp_path):
    gray, color = random_net("resnet18", in_channels=1), random_net("resnet18")
    moved(gray, color, tmp_path)
    x = torch.randn(1, 3, SIZE, SIZE)
    with torch.no_grad():
        close(color(x), gray(x.mean(1, keepdim=True)))


def test_kernels_of_groups_are_not_summed_over_channels(tmp_path):
    """One channel in the weight, but three in the input."""
    grouped = nn.Sequential(nn.Conv2d(3, 3, 3, groups=3), nn.Flatten(), nn.Linear(3, 2))
    plain = nn.Sequential(nn.Conv2d(3, 3, 3), nn.Flatten(), nn.Linear(3, 2))
    with pytest.raises(ShapeError, match=r"0\.weight is \(3, 3, 3, 3\) in the file"):
        moved(plain, grouped, tmp_path)


def test_kernels_that_are_not_square_are_refused(tmp_path):
    plain = nn.Sequential(nn.Conv2d(3, 3, (3, 5)), nn.Flatten(), nn.Linear(3, 2))
    deep = nn.Sequential(nn.Conv3d(3, 3, 3), nn.Flatten(), nn.Linear(3, 2))
    with pytest.raises(ShapeError, match=r"0\.weight is \(3, 3, 3, 5\) in the file"):
        moved(plain, deep, tmp_path)
