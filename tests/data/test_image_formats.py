import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convscope.data import images
from convscope.data.folders.load_folder import load_folder
from convscope.data.image_formats import FORMATS, IN_WORDS, SUFFIXES, opener

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "own-images.md"
GRAY_ONLY = {".pgm": "L", ".pbm": "1", ".xbm": "1", ".msp": "1", ".bw": "L"}
NOT_WRITTEN = {".psd", ".ras"}  # by Pillow


def test_the_docs_show_the_list_that_is_read():
    rows = re.findall(r"^\| ([^|]+) \| ((?:`\.\w+` ?)+)\|$", PAGE.read_text(), re.M)
    shown = [(name, tuple(re.findall(r"\.\w+", suffixes))) for name, suffixes in rows]
    assert shown == [(f.name, f.suffixes) for f in FORMATS]


def test_messages_name_the_usual_ones():
    assert IN_WORDS == (
        "PNG, JPEG, TIFF, WebP, GIF, BMP, PPM, AVIF, JPEG 2000 and 11 others"
    )


def written(suffix):
    mode = GRAY_ONLY.get(suffix, "RGB")
    image = Image.effect_noise((24, 16), 60).convert(mode)
    file = io.BytesIO()
    key = Image.registered_extensions()[suffix]
    image.save(file, key, **({"sizes": [(24, 16)]} if suffix == ".ico" else {}))
    return file.getvalue(), image


@pytest.mark.parametrize(
    "suffix", sorted(SUFFIXES - NOT_WRITTEN - {".pfm", ".avifs", ".mpo"})
)
def test_every_format_is_read_as_pillow_reads_it(suffix, tmp_path):
    Image.init()
    data, _ = written(suffix)
    (tmp_path / f"a{suffix}").write_bytes(data)
    picture = images.read(tmp_path / f"a{suffix}")
    with Image.open(io.BytesIO(data)) as expected:
        assert picture.image.mode == expected.mode
        np.testing.assert_array_equal(np.asarray(picture.image), np.asarray(expected))
    assert images.peek(tmp_path / f"a{suffix}") == (picture.image.mode, (24, 16))


def test_a_picture_of_two_is_a_picture(tmp_path):
    first, second = (Image.effect_noise((24, 16), s).convert("RGB") for s in (9, 90))
    for name in ("two.mpo", "two.gif", "two.tif", "two.webp", "two.png", "two.avif"):
        first.copy().save(tmp_path / name, save_all=True, append_images=[second.copy()])
        picture = images.read(tmp_path / name)
        assert picture.has_more, name
        assert picture.image.size == (24, 16)
        alone = tmp_path / f"one-{name.replace('mpo', 'jpg')}"
        first.copy().save(alone)
        assert not images.read(alone).has_more


def test_pgm_with_16_bits_keeps_them(tmp_path):
    values = np.arange(6, dtype=np.uint16).reshape(2, 3) * 9000
    (tmp_path / "a.pgm").write_bytes(b"P5 3 2 65535\n" + values.astype(">u2").tobytes())
    picture = images.read(tmp_path / "a.pgm")
    assert picture.is_wide
    np.testing.assert_array_equal(images.gray16(picture.image, "a"), values)


def test_a_folder_of_pgm_is_a_data_set(tmp_path):
    for i in range(12):
        path = tmp_path / "faces" / f"s{i % 2}" / f"{i}.pgm"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((92, 112), 50 + i).save(path)
    data = load_folder(tmp_path / "faces", cache_dir=tmp_path / "cache")
    assert data.classes == ("s0", "s1")
    assert sum(map(len, data.parts.values())) == 12
    assert data.preprocessing.channels == 1


def test_a_format_without_a_mark_goes_by_its_name():
    assert opener(bytes(16), "a.png") is None
    assert opener(bytes(16), "a.TGA").__name__ == "TgaImageFile"
