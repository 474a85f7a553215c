import re

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from scipy import ndimage
from sklearn.datasets import load_digits

from convscope.data.batching import augmentation as module
from convscope.data.batching.augmentation import Augmentation, augment
from convscope.data.preprocessing import Preprocessing
from convscope.errors import ArgumentError

GRAY = Preprocessing(channels=1, size=(16, 12), mean=(0.25,), std=(0.5,))
COLOR = Preprocessing(
    channels=3, size=(16, 12), mean=(0.5, 0.25, 0.125), std=(0.5, 0.25, 1.0)
)
EVERYTHING = Augmentation(
    shift=2, flip=True, rotate=20, scale=0.2, shear=10, elastic=1.5, brightness=0.3,
    contrast=0.3, saturation=0.3, cutout=4,
)  # fmt: skip


def random_pixels(count, channels=3, dtype=np.uint8):
    generator = np.random.default_rng(0)
    high = np.iinfo(dtype).max + 1
    numbers = generator.integers(0, high, (count, channels, 16, 12)).astype(dtype)
    return torch.from_numpy(numbers)


def changed(pixels, augmentation, preprocessing=COLOR, *, seed=0, epoch=0):
    samples = torch.arange(len(pixels))
    return augment(pixels, samples, preprocessing, augmentation, seed=seed, epoch=epoch)


def unit(images, preprocessing=COLOR):
    """Back from inputs to the scale 0 to 1."""
    std, mean = (
        torch.tensor(numbers)[:, None, None]
        for numbers in (preprocessing.std, preprocessing.mean)
    )
    return images * std + mean


def test_nothing_is_changed_unless_asked():
    pixels = random_pixels(5)
    assert torch.equal(
        changed(pixels, Augmentation()),
        (pixels.float() / 255 - torch.tensor(COLOR.mean)[:, None, None])
        / torch.tensor(COLOR.std)[:, None, None],
    )


@pytest.mark.parametrize("name", Augmentation.model_fields)
def test_every_field_says_in_one_line_what_it_does(name):
    description = Augmentation.model_fields[name].description
    assert description.endswith(".")
    assert len(description) < 75


def single(name):
    amounts = {"elastic_sigma": 3.0, "fill": "edge", "flip": True,
               "alternate": True, "mixup": 0.2, "cutmix": 1.0, "shift": 3,
               "cutout": 3, "rotate": 30, "shear": 20}  # fmt: skip
    return Augmentation(**{name: amounts.get(name, 0.4)})


CHANGES = {
    name: single(name)
    for name in Augmentation.model_fields
    if name not in {"elastic_sigma", "fill", "mixup", "cutmix"}
} | {"everything": EVERYTHING}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("preprocessing", [GRAY, COLOR], ids=["gray", "color"])
def test_a_sample_is_changed_to_the_same_bits_in_any_company(name, preprocessing):
    pixels, samples = random_pixels(97, preprocessing.channels), torch.arange(97)

    def of(rows):
        return augment(
            pixels[rows], samples[rows], preprocessing, CHANGES[name], seed=1, epoch=2
        )

    whole = of(slice(None))
    for rows in ([0], [96], [50, 3], list(range(13, 30)), list(range(96, -1, -1))):
        assert torch.equal(of(rows), whole[rows])


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_differs_by_sample_epoch_and_seed(name):
    pixels = random_pixels(1).expand(64, -1, -1, -1)
    first = changed(pixels, CHANGES[name])
    assert not torch.equal(first, first[:1].expand_as(first))
    assert not torch.equal(first, changed(pixels, CHANGES[name], epoch=1))
    assert not torch.equal(first, changed(pixels, CHANGES[name], seed=1))
    assert torch.equal(first, changed(pixels, CHANGES[name]))


def test_turning_one_change_on_does_not_redraw_another():
    pixels = random_pixels(40)
    shifted = changed(pixels, Augmentation(shift=3))
    both = changed(pixels, Augmentation(shift=3, cutout=4))
    kept = both != 0
    assert torch.equal(shifted[kept], both[kept])


def test_shift_takes_every_move_in_reach_about_equally_often():
    pixels = torch.zeros(4000, 1, 16, 12, dtype=torch.uint8)
    pixels[:, :, 8, 6] = 255
    found = unit(changed(pixels, Augmentation(shift=2), GRAY), GRAY)
    counts = found.round().sum((0, 1))
    assert counts.sum() == 4000
    assert counts[6:11, 4:9].sum() == 4000
    assert counts[6:11, 4:9].min() > 160 - 5 * np.sqrt(160)


def test_flip_mirrors_one_image_in_two():
    pixels = random_pixels(1).expand(1000, -1, -1, -1)
    found = changed(pixels, Augmentation(flip=True))
    plain = changed(pixels[:1], Augmentation())[0]
    as_is = (found == plain).flatten(1).all(1)
    mirrored = (found == plain.flip(2)).flatten(1).all(1)
    assert (as_is ^ mirrored).all()
    assert abs(int(mirrored.sum()) - 500) < 5 * np.sqrt(250)


@pytest.mark.parametrize(
    ("fill", "channels", "expected"),
    [("auto", 1, 0), ("auto", 3, 255), ("zeros", 3, 0), ("edge", 1, 255)],
)
@pytest.mark.parametrize("rotate", [0, 1e-3])
def test_what_comes_in_at_the_border_is_black_or_the_image(
    fill, channels, expected, rotate
):
    pixels = torch.full((60, channels, 16, 12), 255, dtype=torch.uint8)
    preprocessing = GRAY if channels == 1 else COLOR
    settings = Augmentation(shift=4, fill=fill, rotate=rotate)
    darkest = unit(changed(pixels, settings, preprocessing), preprocessing).min()
    assert darkest.item() == pytest.approx(expected / 255, abs=1e-2)


def test_rotation_reaches_the_angle_and_no_more_both_ways():
    yy, xx = np.mgrid[:33, :33] - 16
    bar = (np.hypot(yy, xx) < 15) & (np.abs(yy) < 2) & (xx > 0)
    pixels = torch.from_numpy((bar * 255).astype(np.uint8))[None, None]
    square = Preprocessing(channels=1, size=(33, 33), mean=(0.0,), std=(1.0,))
    found = changed(pixels.expand(300, -1, -1, -1), Augmentation(rotate=40), square)
    angles = []
    for image in found[:, 0].numpy():
        y, x = ndimage.center_of_mass(image)
        angles.append(np.degrees(np.arctan2(16 - y, x - 16)))
    assert 38 < max(angles) < 40.5
    assert -40.5 < min(angles) < -38
    assert abs(np.mean(angles)) < 5 * 40 / np.sqrt(3 * 300)


def test_zoom_reaches_the_scale_and_its_inverse():
    yy, xx = np.mgrid[:33, :33] - 16
    disk = torch.from_numpy(((np.hypot(yy, xx) < 8) * 255).astype(np.uint8))[None, None]
    square = Preprocessing(channels=1, size=(33, 33), mean=(0.0,), std=(1.0,))
    found = changed(disk.expand(400, -1, -1, -1), Augmentation(scale=0.2), square)
    zoom = (found.sum((1, 2, 3)) / (disk.sum() / 255)).sqrt()
    assert zoom.min().item() == pytest.approx(0.8, abs=0.02)
    assert zoom.max().item() == pytest.approx(1 / 0.8, abs=0.02)


def enhanced_by_pillow(pixels, brightness, contrast, saturation):
    image = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    image = ImageEnhance.Brightness(image).enhance(brightness)
    image = ImageEnhance.Contrast(image).enhance(contrast)
    image = ImageEnhance.Color(image).enhance(saturation)
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)


@pytest.mark.parametrize(
    "factors", [(0.8, 1, 1), (1, 0.6, 1), (1, 1, 0.3), (1, 1, 1.2), (0.9, 0.7, 1.1)]
)
def test_colors_change_as_pillows_enhancers_change_them(factors):
    pixels = random_pixels(4) // 2 + 60  # nothing is cut off on the way
    each = [torch.full((4,), factor, dtype=torch.float64) for factor in factors]
    found = module._recolor(
        pixels.float() / 255, brightness=each[0], contrast=each[1], saturation=each[2]
    )
    for got, image in zip(found, pixels, strict=True):
        expected = enhanced_by_pillow(image, *factors)
        # Pillow rounds to whole levels after each of the three, and its grays.
        assert (got * 255 - expected).abs().max() < 3


def test_colors_stay_between_black_and_white():
    settings = Augmentation(brightness=1, contrast=1, saturation=1)
    found = unit(changed(random_pixels(200), settings))
    assert found.min() >= -1e-6
    assert found.max() <= 1 + 1e-6


def test_the_mean_of_each_image_is_the_mean():
    for length in (1, 2, 3, 7, 64, 100):
        images = torch.rand(3, 1, 1, length)
        expected = images.double().mean((1, 2, 3)).float()
        found = module._mean(images)
        # Halving sums a term at most log2(length) + 1 times.
        torch.testing.assert_close(found.flatten(), expected, rtol=1e-6, atol=0)


def test_saturation_leaves_gray_images_alone():
    pixels = random_pixels(8, 1)
    found = changed(pixels, Augmentation(saturation=0.9), GRAY)
    assert torch.equal(found, changed(pixels, Augmentation(), GRAY))


def test_cutout_puts_the_mean_color_in_one_square_within_the_border():
    pixels = torch.full((500, 3, 16, 12), 255, dtype=torch.uint8)
    erased = (changed(pixels, Augmentation(cutout=5)) == 0).all(1)
    counts = erased.sum((1, 2))
    assert counts.max() == 25
    assert counts.min() >= 9  # about a corner: 3 rows and 3 columns of it are left
    whole = (counts == 25).float().mean().item()
    inside = 12 * 8 / (16 * 12)  # centers at least 2 from every side
    assert abs(whole - inside) < 5 * np.sqrt(inside * (1 - inside) / 500)
    rows, columns = np.nonzero(erased[counts == 25][0].numpy())
    assert (np.ptp(rows), np.ptp(columns)) == (4, 4)


def test_sixteen_bit_pixels_are_changed_as_eight_bit_ones():
    pixels = random_pixels(6)
    wide = (pixels.to(torch.int32) * 257).to(torch.uint16)
    wider = COLOR.model_copy(update={"bits": 16})
    for settings in (Augmentation(shift=3, flip=True), EVERYTHING):
        torch.testing.assert_close(
            changed(wide, settings, wider), changed(pixels, settings), rtol=0, atol=1e-5
        )


def test_the_stored_pixels_are_never_written_to():
    pixels = random_pixels(6)
    before = pixels.clone()
    changed(pixels, EVERYTHING)
    assert torch.equal(pixels, before)


def test_digits_keep_their_ink_under_mild_changes():
    digits = load_digits().images[:200].astype(np.float32) * (255 / 16)
    pixels = torch.zeros(200, 1, 16, 16, dtype=torch.uint8)
    pixels[:, 0, 4:12, 4:12] = torch.from_numpy(digits.astype(np.uint8))
    square = Preprocessing(channels=1, size=(16, 16), mean=(0.0,), std=(1.0,))
    settings = Augmentation(rotate=15, shear=10, shift=2, elastic=0.5)
    found = changed(pixels, settings, square).sum((1, 2, 3))
    ink = pixels.sum((1, 2, 3)) / 255
    # Rotation and shear keep areas, and the empty frame keeps the rest inside.
    assert (found / ink - 1).abs().mean() < 0.1


@pytest.mark.parametrize("name", ["shift", "cutout"])
def test_an_amount_that_leaves_nothing_is_refused(name):
    text = (
        f"Augmentation: {name}=12 must be below 12, the shorter side of the 16x12 "
        "images. Lower it to 11 or less."
    )
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}$"):
        Augmentation(**{name: 12}).require_fit((16, 12))
    Augmentation(**{name: 11}).require_fit((16, 12))


def test_an_image_left_alone_is_what_prediction_sees_bit_for_bit():
    pixels = random_pixels(5)
    nothing = augment(pixels, torch.arange(5), COLOR, Augmentation(), seed=0, epoch=0)
    assert torch.equal(nothing, COLOR.normalize(pixels))


def test_alternate_flips_show_each_image_from_both_sides_in_two_epochs():
    samples = torch.arange(64)
    pixels = torch.randint(0, 256, (64, 1, 4, 5), dtype=torch.uint8)
    first, second, third = (
        augment(pixels, samples, GRAY, Augmentation(alternate=True), seed=0, epoch=e)
        for e in range(3)
    )
    torch.testing.assert_close(first, third, rtol=0, atol=0)
    torch.testing.assert_close(second, first.flip(-1), rtol=0, atol=0)
    plain = augment(pixels, samples, GRAY, Augmentation(), seed=0, epoch=0)
    mirrored = (first != plain).flatten(1).any(1)
    assert 16 < mirrored.sum() < 48  # a coin: 32 expected, 4 standard deviations
