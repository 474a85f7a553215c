"""Whatever Pillow refuses when it is strict is refused here: no error is swallowed."""

import contextlib
import io
import warnings

import numpy as np
import pytest
from PIL import Image, ImageFile

from convscope.data import images
from convscope.data.folders.load_folder import load_folder
from convscope.errors import BadImageError

PLACES = 200
SIDE = 48
EXIF = Image.Exif()
EXIF[images.ORIENTATION] = 6

# name: mode of the picture, options of Pillow's save
FILES = {
    "plain.png": ("RGB", {}),
    "palette.png": ("P", {}),
    "wide.png": ("I;16", {}),
    "turned.png": ("RGB", {"exif": EXIF}),
    "plain.jpg": ("RGB", {"quality": 90}),
    "turned.jpg": ("L", {"exif": EXIF}),
    "progressive.jpg": ("RGB", {"progressive": True}),
    "two.mpo": ("RGB", {"save_all": True}),
    "plain.gif": ("P", {}),
    "film.gif": ("P", {"save_all": True}),
    "plain.bmp": ("RGB", {}),
    "raw.tif": ("RGB", {}),
    "lzw.tif": ("RGB", {"compression": "tiff_lzw"}),
    "deflate.tif": ("RGB", {"compression": "tiff_adobe_deflate", "exif": EXIF}),
    "lossy.webp": ("RGB", {}),
    "lossless.webp": ("RGB", {"lossless": True}),
    "color.ppm": ("RGB", {}),
    "gray.pgm": ("L", {}),
    "plain.avif": ("RGB", {}),
    "plain.jp2": ("RGB", {}),
    "run-lengths.tga": ("RGB", {"compression": "tga_rle"}),
    "plain.pcx": ("RGB", {}),
    "plain.sgi": ("RGB", {}),
    "plain.ico": ("RGBA", {"sizes": [(48, 48)]}),
    "plain.qoi": ("RGB", {}),
    "plain.dds": ("RGB", {}),
}


def content(name):
    """A picture with edges and noise, as a file in memory."""
    mode, options = FILES[name]
    rng = np.random.default_rng(sum(map(ord, name)))
    base = np.add.outer(np.arange(SIDE), np.arange(SIDE)) * 2
    noisy = (base[..., None] + rng.integers(0, 60, (SIDE, SIDE, 3))).astype(np.uint8)
    if mode == "I;16":
        image = Image.fromarray(noisy[..., 0].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(noisy).convert(mode)
    if options.get("save_all"):
        options = {**options, "append_images": [image.transpose(Image.Transpose(0))]}
    file = io.BytesIO()
    image.save(file, Image.registered_extensions()["." + name.split(".")[1]], **options)
    return file.getvalue()


def spoiled(name):
    """The file with one byte changed, at 200 places spread over it."""
    whole = content(name)
    rng = np.random.default_rng(1)
    for place in np.linspace(0, len(whole) - 1, PLACES).astype(int).tolist():
        damaged = bytearray(whole)
        damaged[place] ^= int(rng.integers(1, 256))
        yield bytes(damaged)


def pillow_refuses(data, name):
    """Whether Pillow does, asked for both of its checks: the sums and the pixels."""
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            Image.open(io.BytesIO(data)).verify()
            Image.open(io.BytesIO(data)).load()
        except Exception:
            return True
    return False


def ours_refuses(data, name, tmp_path):
    path = tmp_path / name
    path.write_bytes(data)
    try:
        images.read(path)
    except BadImageError:
        return True
    return False


def savable(name):
    try:
        content(name)
    except (KeyError, OSError):  # this Pillow was built without it
        return False
    return True


@pytest.mark.parametrize("name", FILES)
def test_whatever_pillow_refuses_is_refused(name, tmp_path):
    Image.init()
    if not savable(name):
        pytest.skip("this Pillow cannot write the format")
    assert not ours_refuses(content(name), name, tmp_path)
    passed = [
        number
        for number, data in enumerate(spoiled(name))
        if pillow_refuses(data, name) and not ours_refuses(data, name, tmp_path)
    ]
    assert passed == []


def test_every_changed_byte_of_a_png_is_noticed(tmp_path):
    """All of it is under checksums, but for the last four bytes, which are the last."""
    for name in ("plain.png", "palette.png", "wide.png", "turned.png"):
        for data in list(spoiled(name))[:-3]:
            assert ours_refuses(data, name, tmp_path)


def test_the_sweep_would_notice_a_reader_that_swallows_errors(tmp_path):
    def lenient(data):
        image = Image.open(io.BytesIO(data))
        with contextlib.suppress(Exception):
            image.getexif()  # of a PNG this decodes, and the error is lost
        image.load()
        return True

    passed = 0
    for data in spoiled("plain.png"):
        with contextlib.suppress(Exception):
            passed += lenient(data) and pillow_refuses(data, "plain.png")
    assert passed > PLACES / 2


def test_a_program_that_lets_truncated_files_in_does_not_change_ours(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    for name in ("plain.png", "plain.jpg", "plain.gif", "plain.bmp", "color.ppm"):
        data = content(name)
        assert ours_refuses(data[: len(data) * 2 // 3], name, tmp_path), name
    assert ImageFile.LOAD_TRUNCATED_IMAGES  # as it was


def test_a_folder_sets_damaged_files_aside(tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / "pets" / label).mkdir(parents=True)
    damaged = list(spoiled("plain.png"))
    for number in range(12):
        name = f"pets/{'cat' if number % 2 else 'dog'}/{number}.png"
        whole = Image.effect_noise((SIDE, SIDE), 50 + number)
        whole.save(tmp_path / name)
        (tmp_path / name).with_name(f"bad {number}.png").write_bytes(
            damaged[40 + 10 * number]
        )
    data = load_folder(tmp_path / "pets", cache_dir=tmp_path / "cache")
    assert sum(map(len, data.parts.values())) == 12
    assert len(data.set_aside) == 12
    assert all("damaged" in s.reason or "truncated" in s.reason for s in data.set_aside)
