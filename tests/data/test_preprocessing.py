import io
import re
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.data import images
from convscope.data.preprocessing import Preprocessing
from convscope.errors import ArgumentError, BadImageError, ShapeError

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (13, 17), np.uint8)
COLOR = RNG.integers(0, 256, (13, 17, 3), np.uint8)
WIDE = RNG.integers(0, 65536, (13, 17), np.uint16)


def declared(**changes):
    channels = changes.get("channels", 3)
    plain = {"size": (13, 17), "mean": (0.0,) * channels, "std": (1.0,) * channels}
    return Preprocessing(**{**plain, **changes})


def saved(array_or_image, kind="PNG", **options):
    image = array_or_image
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def refusal(source, preprocessing=None):
    with pytest.raises(BadImageError) as caught:
        (preprocessing or declared()).decode(source)
    return str(caught.value)


def triangle(size_in, size_out, start, length):
    """Float64 weights (size_out, size_in) of bilinear resampling with antialias."""
    scale = length / size_out
    width = max(scale, 1.0)
    centers = start + (np.arange(size_out)[:, None] + 0.5) * scale
    distance = np.abs(np.arange(size_in)[None] + 0.5 - centers) / width
    weights = np.clip(1 - distance, 0, None)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("size", [(5, 6), (6, 5), (9, 9), (20, 31)])
@pytest.mark.parametrize("resize", ["crop", "squash"])
def test_resizing_is_a_triangle_filter_over_the_cropped_part(size, resize):
    h, w = GRAY.shape
    scale = max(size[0] / h, size[1] / w)
    down, across = (size[0] / scale, size[1] / scale) if resize == "crop" else (h, w)
    rows = triangle(h, size[0], (h - down) / 2, down)
    columns = triangle(w, size[1], (w - across) / 2, across)
    expected = rows @ GRAY.astype(np.float64) @ columns.T
    ours = declared(channels=1, size=size, resize=resize).decode_array(GRAY)
    # two passes, each rounded to a level, with weights of 22 bits
    assert np.abs(ours[0] - expected).max() <= 1.01


def test_16_bits_resized_keep_their_low_bits():
    rows, columns = triangle(13, 5, 0, 13), triangle(17, 6, 0, 17)
    expected = rows @ WIDE.astype(np.float64) @ columns.T
    ours = declared(channels=1, bits=16, size=(5, 6), resize="squash")
    # float32 holds 24 bits: two sums of 16-bit values stay well below half a level
    assert np.abs(ours.decode(saved(WIDE))[0] - expected).max() <= 0.55


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bits_are_kept_whole_or_rounded_to_8(kind):
    data = saved(WIDE, kind)
    kept = declared(channels=1, bits=16).decode(data)
    np.testing.assert_array_equal(kept, WIDE[None])
    rounded = declared(channels=1).decode(data)
    np.testing.assert_array_equal(rounded[0], np.round(WIDE / 257))


def test_8_bits_kept_as_16_span_the_whole_scale():
    np.testing.assert_array_equal(
        declared(bits=16).decode(saved(COLOR)),
        np.moveaxis(COLOR, -1, 0).astype(np.uint16) * 257,
    )


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_formats_give_the_pixels_bit_for_bit(kind):
    data = saved(COLOR, kind, **({"lossless": True} if kind == "WEBP" else {}))
    np.testing.assert_array_equal(
        declared().decode(data), np.moveaxis(COLOR, -1, 0), strict=True
    )


@pytest.mark.parametrize("resize", ["crop", "squash", "pad"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("array", [GRAY, COLOR, WIDE], ids=["gray", "color", "wide"])
def test_file_bytes_image_and_array_give_the_same_bits(
    array, channels, bits, resize, tmp_path
):
    ours = declared(channels=channels, bits=bits, resize=resize, size=(8, 8))
    path = tmp_path / "picture.png"
    path.write_bytes(saved(array))
    from_file = ours.decode(path)
    assert from_file.shape == (channels, 8, 8)
    assert from_file.dtype == (np.uint8 if bits == 8 else np.uint16)
    with path.open("rb") as file, Image.open(path) as image:
        others = [str(path), path.read_bytes(), file, image]
        for other in [*map(ours.decode, others), ours.decode_array(array)]:
            np.testing.assert_array_equal(other, from_file, strict=True)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_rotation_is_applied_once(orientation, kind):
    upright = np.zeros((16, 24), np.uint8)
    upright[:8, :8] = 255  # a mark at the top left
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),  # shown after a quarter turn clockwise
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[images.ORIENTATION] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored))
    data = saved(image, kind, exif=exif)
    ours = declared(channels=1, size=(16, 24)).decode(data)[0]
    assert np.abs(ours.astype(int) - upright).max() < 30  # JPEG and WebP lose a little


def test_every_mode_becomes_rgb():
    image = Image.fromarray(COLOR)
    for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LA", "PA", "HSV"):
        source = image.convert("L") if mode in ("1", "LA") else image
        ours = declared().decode(source.convert(mode))
        assert ours.shape == (3, 13, 17), mode


def test_a_one_bit_picture_is_black_and_white():
    dots = RNG.random((13, 17)) < 0.5
    ours = declared(channels=1).decode(saved(Image.fromarray(dots)))
    np.testing.assert_array_equal(ours[0], dots * 255)
    np.testing.assert_array_equal(ours, declared(channels=1).decode_array(dots))


def test_transparency_is_laid_on_the_stated_background():
    rgba = np.dstack([COLOR, RNG.integers(0, 256, (13, 17), np.uint8)])
    for background in (0, 100, 255):
        alpha = rgba[..., 3:] / 255
        expected = COLOR * alpha + background * (1 - alpha)
        ours = declared(background=background).decode(saved(rgba))
        assert np.abs(np.moveaxis(ours, 0, -1) - expected).max() <= 1


def test_a_transparent_palette_entry_shows_the_background():
    image = Image.new("P", (17, 13), 1)
    image.putpalette([0, 0, 0, 200, 0, 0])
    assert declared().decode(saved(image, transparency=1)).min() == 255
    assert declared().decode(saved(image)).max() == 200


def test_of_a_gif_the_first_frame_is_taken():
    frames = [Image.new("L", (17, 13), gray) for gray in (10, 200)]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert set(declared(channels=1).decode(data).ravel().tolist()) == {10}


def test_pad_keeps_the_whole_picture_between_bars():
    ours = declared(channels=1, size=(20, 20), resize="pad", fill=7)
    out = ours.decode_array(np.full((10, 20), 99, np.uint8))[0]
    assert (out[5:15] == 99).all()
    assert (out[:5] == 7).all()
    assert (out[15:] == 7).all()


def test_a_bomb_is_refused_from_its_header(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(saved(Image.new("1", (20_000, 20_000))))
    assert refusal(path) == (
        f"{path}: 20,000 x 20,000 pixels are 400,000,000, more than the limit of "
        "134,217,728. Scale it down first."
    )


def test_a_picture_between_pillows_warning_and_our_limit_is_read_in_silence():
    data = saved(Image.new("1", (10_000, 9_500)))  # warnings are errors here
    assert declared(channels=1).decode(data).shape == (1, 13, 17)


def test_files_that_are_no_pictures_say_why(tmp_path):
    text = tmp_path / "text.jpg"
    text.write_text("hello world")
    assert refusal(text) == (
        f"{text}: is not a picture in a known format (it begins with b'hello wo'). "
        "Known: PNG, JPEG, TIFF, WebP, GIF, BMP, PPM, AVIF, JPEG 2000 and 11 others."
    )
    empty = tmp_path / "empty.png"
    empty.touch()
    assert refusal(empty) == f"{empty}: the file is empty (0 bytes)."
    assert refusal(tmp_path) == f"{tmp_path}: is a folder, not an image."
    assert refusal(tmp_path / "no.png") == f"{tmp_path / 'no.png'}: no such file."
    assert refusal(b"") == "image: the file is empty (0 bytes)."


def test_a_file_that_may_not_be_read_says_so(tmp_path, monkeypatch):
    path = tmp_path / "locked.png"
    path.write_bytes(saved(GRAY))

    def denied(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(images.Path, "open", denied)
    assert refusal(path) == f"{path}: permission denied."


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "WEBP"])
def test_a_truncated_file_is_refused_at_every_length(kind):
    big = RNG.integers(0, 256, (64, 64, 3), np.uint8)
    data = saved(big, kind)
    for share in (0.1, 0.5, 0.9):
        assert refusal(data[: int(len(data) * share)]).startswith("image: ")


def test_float_pictures_are_refused_not_guessed():
    data = saved(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF")
    assert refusal(data) == (
        "image: holds floating-point values, whose black and white are not known. "
        "Save it with 8 or 16 bits per pixel."
    )


def test_damaged_exif_neither_warns_nor_stops():
    data = saved(COLOR, "JPEG", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x09abc")
    assert declared().decode(data).shape == (3, 13, 17)


def test_threads_decode_the_same_and_leave_the_warning_filters_alone():
    data = saved(RNG.integers(0, 256, (64, 64, 3), np.uint8), "JPEG")
    before = list(warnings.filters)
    expected = declared().decode(data)
    with ThreadPoolExecutor(8) as pool:
        for result in pool.map(lambda _: declared().decode(data), range(200)):
            np.testing.assert_array_equal(result, expected)
    assert warnings.filters == before


def test_arrays_are_read_by_their_shape():
    color = np.moveaxis(COLOR, -1, 0)
    for array in (COLOR, color):
        np.testing.assert_array_equal(declared().decode_array(array), color)
    for array in (GRAY, GRAY[..., None], GRAY[None]):
        ours = declared(channels=1).decode_array(array)
        np.testing.assert_array_equal(ours, GRAY[None])


def test_arrays_that_cannot_be_pictures_are_refused():
    with pytest.raises(ShapeError, match=re.escape("array has shape (5, 13, 17).")):
        declared().decode_array(np.zeros((5, 13, 17), np.uint8))
    with pytest.raises(ArgumentError, match="array has dtype float64"):
        declared().decode_array(np.zeros((13, 17)))


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ValueError, match="mean has 1 numbers for channels=3"):
        declared(mean=(0.0,))
    with pytest.raises(ValueError, match="must be positive and finite"):
        declared(std=(1.0, 0.0, 1.0))
    with pytest.raises(ValueError, match="centering='mass' is for drawings in gray"):
        declared(centering="mass")


def test_normalize_is_the_formula_in_float64():
    for bits, dtype in ((8, np.uint8), (16, np.uint16)):
        pixels = RNG.integers(0, 2**bits, (4, 3, 5, 6)).astype(dtype)
        ours = declared(bits=bits, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
        mean, std = (np.array(v)[:, None, None] for v in (ours.mean, ours.std))
        expected = (pixels / (2**bits - 1) - mean) / std
        out = ours.normalize(torch.from_numpy(pixels))
        assert out.dtype == torch.float32
        # three roundings of values below 1, then divided by at least 0.4
        np.testing.assert_allclose(out, expected, rtol=0, atol=3 * 2**-24 / 0.4 * 2)


def test_statistics_are_those_of_the_pixels():
    for bits, dtype in ((8, np.uint8), (16, np.uint16)):
        pixels = RNG.integers(0, 2**bits, (7, 3, 5, 6)).astype(dtype)
        ours = declared(bits=bits).with_statistics(torch.from_numpy(pixels))
        scaled = pixels.astype(np.float64) / (2**bits - 1)
        np.testing.assert_allclose(ours.mean, scaled.mean(axis=(0, 2, 3)), atol=5.1e-7)
        np.testing.assert_allclose(ours.std, scaled.std(axis=(0, 2, 3)), atol=5.1e-7)


def test_a_constant_channel_can_still_be_normalized():
    pixels = torch.full((2, 1, 4, 4), 51, dtype=torch.uint8)
    ours = declared(channels=1).with_statistics(pixels)
    assert (ours.mean, ours.std) == ((0.2,), (1.0,))


def test_it_survives_json():
    ours = declared(mean=(0.1307, 1 / 3, 0.3), std=(0.3081, 0.1, 1e-3))
    assert Preprocessing.model_validate_json(ours.model_dump_json()) == ours
