"""``cs.features``: any network, any kind of images, one row each."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import convscope as cs
from convscope import models
from convscope.data.dataset import Samples
from convscope.data.preprocessing import Preprocessing
from convscope.errors import (
    ArgumentError,
    BadImageError,
    DataError,
    RunError,
    UnknownNameError,
)
from convscope.models.published_weights import is_installed
from convscope.train import Run, fit

PLAIN = Preprocessing(channels=3, size=(8, 8), mean=(0.4,) * 3, std=(0.3,) * 3)
CLOSE = {"rtol": 1e-4, "atol": 1e-5}
lite = pytest.mark.skipif(
    not is_installed("efficientnet_lite0"), reason="the extra pretrained is not here"
)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5), nn.ReLU(),
        nn.Linear(5, 2),
    )  # fmt: skip


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (6, 3, 8, 8), np.uint8)


@pytest.fixture(scope="module")
def expected(net, pixels):
    """By hand: scaled, minus the mean, through all but the last layer."""
    x = (torch.from_numpy(pixels).float() / 255 - 0.4) / 0.3
    return net[:5](x).detach().numpy()


def files(pixels, folder):
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{i}.png" for i in range(len(pixels))]
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(np.moveaxis(image, 0, -1)).save(path)
    return paths


def test_every_kind_of_images_gives_the_same(net, pixels, expected, tmp_path):
    paths = files(pixels, tmp_path / "cat")
    nobody = torch.zeros(6, dtype=torch.int64)
    last = np.moveaxis(pixels, 1, -1)
    kinds = {
        "tensor": torch.from_numpy(pixels),
        "array": pixels,
        "channels last": last,
        "from 0 to 1": pixels / 255,
        "samples": Samples(torch.from_numpy(pixels), nobody, [""] * 6),
        "paths": paths,
        "names": [str(path) for path in paths],
        "folder": tmp_path,
        "pattern": str(tmp_path / "cat" / "*.png"),
        "pictures": [Image.fromarray(image) for image in last],
        "list of arrays": list(last),
    }
    for kind, images in kinds.items():
        found = cs.features(net, images, preprocessing=PLAIN, batch_size=4)
        assert found.dtype == np.float32, kind
        np.testing.assert_allclose(found, expected, **CLOSE, err_msg=kind)
    for kind in ("array", "channels last", "from 0 to 1"):  # as memory maps are
        fixed = kinds[kind].copy()
        fixed.setflags(write=False)
        found = cs.features(net, fixed, preprocessing=PLAIN)
        np.testing.assert_allclose(found, expected, **CLOSE, err_msg=kind)
    inputs = (torch.from_numpy(pixels).float() / 255 - 0.4) / 0.3
    np.testing.assert_allclose(cs.features(net, inputs), expected, **CLOSE)
    fixed = inputs.numpy().copy()
    fixed.setflags(write=False)
    np.testing.assert_allclose(cs.features(net, fixed), expected, **CLOSE)
    np.testing.assert_allclose(cs.features(net, inputs.numpy()), expected, **CLOSE)


def test_sixteen_bits_and_compiled_networks_are_taken(net, pixels, expected):
    wide = torch.from_numpy(pixels.astype(np.uint16) * 257)
    found = cs.features(torch.compile(net, backend="eager"), wide, preprocessing=PLAIN)
    np.testing.assert_allclose(found, expected, **CLOSE)
    many = Samples(wide, torch.zeros(6, dtype=torch.int64), [""] * 6)
    found = cs.features(net, many, preprocessing=PLAIN, batch_size=2)
    np.testing.assert_allclose(found, expected, **CLOSE)


def test_one_file_is_one_row(net, pixels, expected, tmp_path):
    path = files(pixels, tmp_path)[2]
    found = cs.features(net, path, preprocessing=PLAIN)
    np.testing.assert_allclose(found, expected[2:3], **CLOSE)


@pytest.mark.parametrize("kind", ["pixels", "files", "Dataset", "pictures"])
def test_a_network_that_says_nothing_of_its_inputs_is_asked(net, pixels, kind, set_of):
    images = {
        "pixels": pixels,
        "files": ["a.png"],
        "Dataset": set_of(channels=3, size=8),
        "pictures": [Image.new("RGB", (8, 8))],
    }[kind]
    with pytest.raises(
        ArgumentError, match=r"does not say how .* become its inputs"
    ) as e:
        cs.features(net, images)
    assert "(preprocessing=...)" in str(e.value)


def test_a_run_knows_how_its_pictures_become_inputs(set_of):
    data = set_of()
    run = fit("mlp", data, epochs=1, listeners=(), optimize=False)
    found = cs.features(run, data)
    pixels = torch.cat([part.pixels for part in data.parts.values()])
    x = data.preprocessing.normalize(pixels)
    hidden = run.net[:-1].eval()(x).detach().numpy()
    np.testing.assert_allclose(found, hidden, **CLOSE)
    np.testing.assert_allclose(cs.features(run, pixels), hidden, **CLOSE)
    assert len(found) == sum(map(len, data.parts.values()))


def test_a_run_folder_is_read(finished):
    by_path = cs.features(finished, "digits")
    by_name = cs.features(str(finished), "digits")
    np.testing.assert_array_equal(by_path, by_name)
    np.testing.assert_array_equal(by_path, cs.features(Run.load(finished), "digits"))
    assert by_path.shape == (1797, 64)


def test_a_network_is_left_as_it_was(net, pixels):
    net.train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    cs.features(net, pixels, preprocessing=PLAIN)
    assert net.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_what_cannot_be_used_is_refused(net, pixels, tmp_path, finished):
    with pytest.raises(UnknownNameError, match="Did you mean 'efficientnet_lite0'"):
        cs.features("eficientnet_lite0", pixels)
    with pytest.raises(ArgumentError, match="no published weights of resnet18"):
        cs.features("resnet18", pixels)
    with pytest.raises(RunError, match="nowhere does not exist"):
        cs.features(tmp_path / "nowhere", pixels)
    with pytest.raises(ArgumentError, match="net is a int"):
        cs.features(3, pixels)
    with pytest.raises(ArgumentError, match=r"images are torch\.int64"):
        cs.features(net, pixels.astype(np.int64), preprocessing=PLAIN)
    inputs = np.linspace(-3, 2, pixels.size, dtype=np.float32).reshape(pixels.shape)
    with pytest.raises(ArgumentError, match=r"these go from -3 to 2\. Scale them"):
        cs.features(finished, inputs)
    with pytest.raises(ArgumentError, match=r"images\[1\] is a int"):
        cs.features(net, [pixels[0], 3], preprocessing=PLAIN)
    with pytest.raises(ArgumentError, match="batch_size=0"):
        cs.features(net, pixels, batch_size=0)
    with pytest.raises(ArgumentError, match="is not one of auto, cpu"):
        cs.features(net, pixels, device="gpu")
    for nothing in ([], torch.zeros(0, 3, 8, 8), tmp_path):
        with pytest.raises(DataError, match="no images"):
            cs.features(net, nothing, preprocessing=PLAIN)


def test_files_that_cannot_be_read_are_named(net, pixels, tmp_path):
    paths = files(pixels, tmp_path)
    paths[3].write_bytes(b"hello")
    with pytest.raises(
        BadImageError, match=r"1 of 6 files cannot be read, first .*3\.png"
    ):
        cs.features(net, paths, preprocessing=PLAIN)


def test_a_data_set_that_was_loaded_small_is_read_again_large(net, tmp_path):
    rng = np.random.default_rng(0)
    for i in range(8):
        image = rng.integers(0, 256, (3, 8, 8), np.uint8)
        files(image[None], tmp_path / "set" / "ab"[i % 2] / str(i))
    data = cs.data.load(tmp_path / "set", size=4, cache_dir=tmp_path / "cache")
    found = cs.features(net, data, preprocessing=PLAIN)
    names = [name for part in data.parts.values() for name in part.names]
    np.testing.assert_allclose(
        found, cs.features(net, names, preprocessing=PLAIN), **CLOSE
    )
    small = cs.features(net, data.train, preprocessing=PLAIN)
    assert not np.allclose(small, found[: len(small)], atol=1e-3)
    (tmp_path / "set" / "a" / "0" / "0.png").unlink()
    with pytest.raises(DataError, match=r"0\.png is no longer there"):
        cs.features(net, data, preprocessing=PLAIN)


@pytest.fixture(scope="module")
def lite0():
    return models.build("efficientnet_lite0", weights="imagenet", input_size=(32, 32))


@lite
def test_published_weights_know_their_preprocessing_until_they_are_trained(lite0):
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    x = (pixels.float() / 255 - 127 / 255) / (128 / 255)
    with torch.no_grad():
        body = lite0.eval()[:-1](x).numpy()
    np.testing.assert_allclose(cs.features(lite0, pixels), body, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(cs.features(lite0, x), body, rtol=1e-3, atol=1e-3)
    with pytest.raises(ArgumentError, match="go from 0 to 1, as pictures do"):
        cs.features(lite0, torch.tensor([0.0, 1.0]).expand(1, 3, 32, 2))
    changed = models.build(
        "efficientnet_lite0", weights="imagenet", input_size=(32, 32), num_classes=3
    )
    cs.features(changed, pixels)  # its last layer is new, which changes no feature
    with torch.no_grad():
        changed.blocks[3][0].bn1.running_mean.add_(1e-3)
    with pytest.raises(ArgumentError, match="does not say how"):
        cs.features(changed, pixels)


@lite
def test_published_weights_for_gray_images_take_the_mean_over_colors(lite0):
    gray = models.build(
        "efficientnet_lite0", weights="imagenet", input_size=(32, 32), in_channels=1
    )
    pixels = torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8)
    found = cs.features(gray, pixels)
    same = cs.features(lite0, pixels.repeat(1, 3, 1, 1))
    np.testing.assert_allclose(found, same, rtol=1e-3, atol=1e-3)
    four = models.build(
        "efficientnet_lite0", weights="imagenet", input_size=(32, 32), in_channels=4
    )
    with pytest.raises(ArgumentError, match="does not say how"):
        cs.features(four, torch.zeros(1, 4, 32, 32, dtype=torch.uint8))
    assert cs.features(four, torch.randn(1, 4, 32, 32)).shape == (1, 1280)


@lite
def test_pictures_of_every_mode_are_what_they_look_like(lite0, tmp_path):
    """Gray is color of three equal parts, alpha is laid on white, 16 bits are 8."""
    rng = np.random.default_rng(0)
    gray = rng.integers(0, 256, (32, 32), np.uint8)
    color = rng.integers(0, 256, (32, 32, 3), np.uint8)
    half = np.dstack([color, np.where(gray < 128, 0, 255).astype(np.uint8)])
    on_white = np.where(half[..., 3:] == 0, np.uint8(255), color)
    same = {
        "L": (Image.fromarray(gray), np.dstack([gray] * 3)),
        "RGBA": (Image.fromarray(half), on_white),
        "I;16": (Image.fromarray(gray.astype(np.uint16) * 257), np.dstack([gray] * 3)),
        "LA": (
            Image.fromarray(np.dstack([gray, gray * 0 + 255])),
            np.dstack([gray] * 3),
        ),
        "1": (Image.fromarray(gray > 99), np.dstack([(gray > 99) * np.uint8(255)] * 3)),
    }
    for mode, (image, plain) in same.items():
        path = tmp_path / f"{mode.replace(';', '')}.png"
        image.save(path)
        with Image.open(path) as stored:
            assert stored.mode == mode
        expected = cs.features(lite0, plain[None])
        np.testing.assert_allclose(cs.features(lite0, [path]), expected, atol=1e-3)
        np.testing.assert_allclose(cs.features(lite0, [image]), expected, atol=1e-3)
    with_alpha = cs.features(lite0, half[None])
    np.testing.assert_allclose(
        with_alpha, cs.features(lite0, on_white[None]), atol=1e-3
    )


@lite
def test_a_picture_of_one_pixel_is_a_plain_one(lite0):
    dot = np.array([200, 30, 60], np.uint8).reshape(1, 1, 3)
    plain = np.tile(dot, (32, 32, 1))
    found = cs.features(lite0, [Image.fromarray(dot)])
    np.testing.assert_allclose(found, cs.features(lite0, plain[None]), atol=1e-3)


@lite
def test_a_name_begins_with_the_published_weights(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 224, 224), np.uint8)
    path = files(pixels, tmp_path)[0]
    found = cs.features("efficientnet_lite0", [path], optimize=False)
    net = models.build("efficientnet_lite0", weights="imagenet").eval()
    with torch.no_grad():
        x = (torch.from_numpy(pixels).float() - 127) / 128
        np.testing.assert_allclose(found, net[:-1](x).numpy(), rtol=1e-3, atol=1e-3)
