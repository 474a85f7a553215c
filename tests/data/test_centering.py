import numpy as np
import pytest
from PIL import Image

from convscope.data.preprocessing import Preprocessing

DIGITS = Preprocessing(
    channels=1, size=(28, 28), centering="mass", mean=(0.0,), std=(1.0,)
)
BOXED = DIGITS.model_copy(update={"centering": "box", "size": (8, 8)})


def drawing(height=300, width=200):
    """A 7 in dark ink on white paper, off the middle."""
    paper = np.full((height, width), 255, np.uint8)
    paper[20:40, 20:100] = 0
    paper[20:180, 85:100] = 0
    return paper


def middle_of_mass(picture):
    grid = np.indices(picture.shape) + 0.5
    return (grid * picture).sum(axis=(1, 2)) / picture.sum()


def extent(picture):
    rows, columns = np.nonzero(picture > 0)
    return np.ptp(rows) + 1, np.ptp(columns) + 1


@pytest.mark.parametrize("size", [(28, 28), (32, 32), (56, 40)])
def test_mass_lies_in_the_middle_and_the_box_is_that_of_mnist(size):
    ours = DIGITS.model_copy(update={"size": size})
    out = ours.decode_array(drawing())[0].astype(np.float64)
    # placed by whole pixels: half a pixel off at most
    assert np.abs(middle_of_mass(out) - np.array(size) / 2).max() <= 0.51
    limit = [round(side * 20 / 28) for side in size]
    height, width = extent(out)
    assert height <= limit[0]
    assert width <= limit[1]
    assert height == limit[0] or width == limit[1]


def test_dark_on_light_and_light_on_dark_are_the_same_digit():
    paper = drawing()
    np.testing.assert_array_equal(
        DIGITS.decode_array(paper), DIGITS.decode_array(255 - paper)
    )


def test_gray_paper_becomes_black_and_ink_white():
    photo = np.where(drawing() == 0, 30, 190).astype(np.uint8)
    out = DIGITS.decode_array(photo)[0]
    assert out[0, 0] == 0
    assert out.max() > 200


def test_where_and_how_large_it_was_drawn_does_not_matter():
    small = drawing()
    large = np.kron(small, np.ones((2, 2), np.uint8))
    moved = np.roll(small, (60, 40), axis=(0, 1))
    for other in (large, moved):
        difference = DIGITS.decode_array(other).astype(int) - DIGITS.decode_array(small)
        assert np.abs(difference).max() <= 2


def test_a_transparent_drawing_shows_whatever_its_ink():
    for ink in (0, 255):
        rgba = np.full((300, 200, 4), ink, np.uint8)
        rgba[..., 3] = 255 - drawing()
        np.testing.assert_array_equal(
            DIGITS.decode(Image.fromarray(rgba)), DIGITS.decode_array(drawing())
        )


@pytest.mark.parametrize("gray", [0, 128, 255])
def test_an_empty_picture_stays_empty(gray):
    assert DIGITS.decode_array(np.full((50, 40), gray, np.uint8)).max() == 0
    assert BOXED.decode_array(np.full((50, 40), gray, np.uint8)).max() == 0


def test_faint_noise_is_no_ink():
    noise = np.random.default_rng(0).integers(245, 256, (50, 40)).astype(np.uint8)
    assert DIGITS.decode_array(noise).max() == 0


def test_a_gray_picture_of_that_size_passes_bit_for_bit():
    for ours in (DIGITS, BOXED):
        picture = np.random.default_rng(0).integers(0, 256, ours.size, np.uint8)
        np.testing.assert_array_equal(
            ours.decode(Image.fromarray(picture)), picture[None], strict=True
        )


def test_box_fills_the_frame_and_keeps_proportions():
    tall = np.zeros((100, 100), np.uint8)
    tall[10:90, 30:50] = 255
    out = BOXED.decode_array(tall)[0]
    np.testing.assert_array_equal(out, np.pad(np.full((8, 2), 255), ((0, 0), (3, 3))))


def test_a_lopsided_digit_is_not_cut():
    blob = np.zeros((100, 100), np.uint8)
    blob[0:20, 0:20] = 255  # nearly all the mass at one end
    blob[99, 99] = 255
    out = DIGITS.decode_array(blob)[0]
    assert extent(out)[0] >= 19


def test_16_bits_are_centered_on_their_own_scale():
    wide = DIGITS.model_copy(update={"bits": 16})
    ours = wide.decode_array(drawing().astype(np.uint16) * 257) / 257
    assert np.abs(ours - DIGITS.decode_array(drawing())).max() <= 0.51
