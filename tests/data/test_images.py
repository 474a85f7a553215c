"""Large JPEGs are decoded at reduced scale where that does not show."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from convscope.data import images, load
from convscope.data.preprocessing import Preprocessing


def photograph(width, height, seed=0):
    """Waves of every length with edges, as a photograph has them."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    planes = []
    for _ in range(3):
        waves = np.zeros((height, width))
        for length in (3, 9, 40, 200):
            angle, phase = rng.uniform(0, 6.3, 2)
            along = rows * np.sin(angle) + columns * np.cos(angle)
            waves += np.sin(2 * np.pi * along / length + phase)
        planes.append(127 + 25 * waves + rng.normal(0, 4, waves.shape))
    picture = Image.fromarray(np.stack(planes, 2).clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    draw.line((0, 0, width, height), fill="white", width=width // 60)
    draw.ellipse((width // 4, height // 4, width // 2, height // 2), fill="navy")
    return picture


def jpeg(picture, kind="JPEG", **options):
    content = io.BytesIO()
    picture.save(content, kind, **{"quality": 92, **options})
    return content.getvalue()


def for_pixels(side, **changes):
    plain = {"size": (side, side), "mean": (0.0,) * 3, "std": (1.0,) * 3}
    return Preprocessing(**{**plain, **changes})


def difference(content, declared):
    """Between what is decoded and what the whole picture gives, in 256 levels."""
    whole = declared.decode_picture(images.read(content))
    found = declared.decode(content)
    assert found.shape == whole.shape
    return np.abs(found.astype(int) - whole.astype(int))


@pytest.mark.parametrize("resize", ["crop", "squash", "pad"])
@pytest.mark.parametrize("size", [(1200, 800), (803, 1201), (801, 2005)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_reduced_decoding_does_not_show(resize, size, interpolation):
    declared = for_pixels(96, resize=resize, interpolation=interpolation)
    content = jpeg(photograph(*size))
    assert declared.read(content).reduced is not None
    apart = difference(content, declared)
    # 2 of 256 levels cannot be seen; at edges it may be some more.
    assert apart.mean() < 1
    assert np.percentile(apart, 99) <= 4
    assert apart.max() <= 12


@pytest.mark.parametrize(
    ("side", "scale"), [(50, 8), (51, 4), (100, 4), (101, 2), (200, 2), (201, 1)]
)
def test_both_sides_keep_twice_the_pixels_that_are_wanted(side, scale):
    picture = images.read(jpeg(photograph(1200, 800)), side)
    assert picture.image.size == (1200 // scale, 800 // scale)
    box = (0, 0, 1200 / scale, 800 / scale)
    assert picture.reduced == (None if scale == 1 else box)


@pytest.mark.parametrize("tag", range(1, 9))
def test_a_picture_that_lies_on_its_side_is_turned_as_ever(tag):
    """Its sides are no multiples of 4: the last row and column are half outside."""
    exif = Image.Exif()
    exif[images.ORIENTATION] = tag
    content = jpeg(photograph(1205, 803), exif=exif.tobytes())
    picture = images.read(content, 96)
    assert picture.reduced
    assert picture.rotated == (tag > 1)
    assert picture.image.size == ((302, 201) if tag < 5 else (201, 302))
    for resize in ("crop", "squash", "pad"):
        assert difference(content, for_pixels(96, resize=resize)).mean() < 1


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_gray_and_printers_pictures_too(mode):
    content = jpeg(photograph(1200, 800).convert(mode))
    assert for_pixels(96).read(content).reduced is not None
    assert difference(content, for_pixels(96)).mean() < 1


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 0}])
def test_however_it_is_encoded(options):
    content = jpeg(photograph(1200, 800), **options)
    assert for_pixels(96).read(content).reduced is not None
    assert difference(content, for_pixels(96)).mean() < 1


def test_what_is_not_averaged_is_decoded_whole():
    content = jpeg(photograph(1200, 800))
    assert not for_pixels(96, interpolation="nearest").read(content).reduced
    gray = {"channels": 1, "mean": (0.0,), "std": (1.0,)}
    assert not for_pixels(96, centering="mass", **gray).read(content).reduced
    assert not for_pixels(96).read(jpeg(photograph(1200, 800), "WEBP")).reduced


@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_a_file_cut_short_is_refused_at_any_scale(share):
    content = jpeg(photograph(1200, 800))
    cut = content[: int(share * len(content))]
    with pytest.raises(images.BadImageError, match="truncated"):
        images.read(cut, 96)


def test_a_folder_and_a_single_picture_give_the_same_pixels(tmp_path):
    """Whether the folder is read for the first time or its files are known already."""
    for number in range(8):
        place = tmp_path / "photos" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.jpg").write_bytes(jpeg(photograph(600, 400, number)))
    folder, own = tmp_path / "photos", {"cache_dir": tmp_path / "cache", "test": 0}
    for size in (32, 48):
        data = load(folder, size=size, validation=0, **own)
        for row, name in enumerate(data.train.names):
            found = data.train.pixels[row].numpy()
            assert data.preprocessing.read(name).reduced
            assert np.array_equal(found, data.preprocessing.decode(name)), name


def test_copies_are_known_by_the_whole_picture(tmp_path):
    """A PNG of the same pixels stays a copy, though the JPEG is read reduced."""
    for number in range(8):
        place = tmp_path / "photos" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        content = jpeg(photograph(600, 400, number))
        (place / f"{number}.jpg").write_bytes(content)
        Image.open(io.BytesIO(content)).save(place / f"{number}.png")
    folder = tmp_path / "photos"
    data = load(folder, size=32, cache_dir=tmp_path / "cache", validation=0.3, test=0)
    parts = [{name[:-4] for name in part.names} for part in data.parts.values()]
    assert parts[0]
    assert parts[1]
    assert not parts[0] & parts[1]
