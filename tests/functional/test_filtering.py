"""A filter over tensors, arrays and pictures, held to SciPy."""

import re

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from convscope.errors import ArgumentError, ConvscopeError, ShapeError
from convscope.functional import FILTERS, filter_image, filter_kernel

RNG = np.random.default_rng(0)
GRAY = RNG.standard_normal((9, 11))


@pytest.mark.parametrize("name", FILTERS)
def test_it_is_scipys_correlation(name):
    taps = filter_kernel(name, dtype=torch.float64).numpy()
    expected = ndimage.correlate(GRAY, taps, mode="nearest")
    np.testing.assert_allclose(filter_image(GRAY, name), expected, atol=1e-12)


@pytest.mark.parametrize("name", ["emboss", "vertical_edges", "gabor"])
def test_flipped_it_is_scipys_convolution(name):
    taps = filter_kernel(name, dtype=torch.float64).numpy()
    expected = ndimage.convolve(GRAY, taps, mode="nearest")
    ours = filter_image(GRAY, name, flip=True)
    np.testing.assert_allclose(ours, expected, atol=1e-12)


def test_an_edge_filter_that_is_flipped_answers_with_the_opposite_sign():
    ours = filter_image(GRAY, "vertical_edges")
    np.testing.assert_allclose(filter_image(GRAY, "vertical_edges", flip=True), -ours)


@pytest.mark.parametrize("size", [7, 8])
def test_two_passes_of_one_axis_give_what_one_of_two_gives(size):
    x = torch.from_numpy(GRAY)
    taps = filter_kernel("gaussian", size=size, dtype=torch.float64)
    column, row = (
        filter_kernel("gaussian", axes=1, size=size, dtype=torch.float64),
        taps,
    )
    expected = filter_image(filter_image(x, column[:, None]), column[None])
    torch.testing.assert_close(filter_image(x, row), expected)
    torch.testing.assert_close(filter_image(x, "gaussian", size=size), expected)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("size", [2, 3, 6, 7])
def test_an_identity_of_any_size_copies(size, flip):
    np.testing.assert_array_equal(
        filter_image(GRAY, "identity", size=size, flip=flip), GRAY
    )


@pytest.mark.parametrize("shape", [(9, 11), (3, 9, 11), (2, 3, 9, 11), (0, 3, 9, 11)])
def test_each_channel_of_each_image_is_filtered_for_itself(shape):
    x = torch.from_numpy(RNG.standard_normal(shape))
    ours = filter_image(x, "emboss")
    assert ours.shape == shape
    for place in np.ndindex(*shape[:-2]):
        torch.testing.assert_close(ours[place], filter_image(x[place], "emboss"))


def test_whole_numbers_become_float32_neither_scaled_nor_clipped():
    image = RNG.integers(0, 256, (3, 9, 11), dtype=np.uint8)
    ours = filter_image(image, "sharpen")
    assert ours.dtype == np.float32
    assert ours.min() < 0
    assert ours.max() > 255
    np.testing.assert_array_equal(
        ours, filter_image(image.astype(np.float32), "sharpen")
    )
    assert filter_image(torch.from_numpy(image), "box").dtype == torch.float32


def test_the_image_that_was_given_stays_as_it_is():
    image = GRAY[::-1, ::2]
    before = image.copy()
    image.flags.writeable = False
    filter_image(image, "box")
    np.testing.assert_array_equal(image, before)


def test_gradients_go_through_to_image_and_taps():
    x = torch.randn(2, 5, 6, dtype=torch.float64, requires_grad=True)
    taps = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(filter_image, (x, taps))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_picture_comes_back_rounded_and_clipped(mode):
    shape = (9, 11) if mode == "L" else (9, 11, 3)
    pixels = RNG.integers(0, 256, shape, dtype=np.uint8)
    ours = filter_image(Image.fromarray(pixels), "sharpen")
    assert (ours.mode, ours.size) == (mode, (11, 9))
    taps = filter_kernel("sharpen").numpy()
    planes = pixels[..., None] if mode == "L" else pixels
    for channel in range(planes.shape[-1]):
        plane = planes[..., channel].astype(float)
        expected = ndimage.correlate(plane, taps, mode="nearest").clip(0, 255)
        ours_here = np.asarray(ours).reshape(planes.shape)[..., channel]
        np.testing.assert_array_equal(ours_here, expected)


def test_transparency_is_not_filtered():
    pixels = RNG.integers(0, 256, (9, 11, 4), dtype=np.uint8)
    ours = np.asarray(filter_image(Image.fromarray(pixels), "box"))
    np.testing.assert_array_equal(ours[..., 3], pixels[..., 3])
    alone = filter_image(Image.fromarray(pixels[..., :3].copy()), "box")
    np.testing.assert_array_equal(ours[..., :3], np.asarray(alone))


def test_pictures_of_two_colors_and_with_a_palette_are_taken_too():
    picture = Image.fromarray(RNG.integers(0, 256, (9, 11), dtype=np.uint8))
    assert filter_image(picture.convert("1"), "box").mode == "L"
    assert filter_image(picture.convert("P"), "box").mode == "RGB"


@pytest.mark.parametrize(
    ("error", "text", "call"),
    [
        (
            ShapeError,
            "filter_image: image must have shape (H, W), (C, H, W) or (N, C, H, W) and "
            "pixels; got (5,). Add or remove axes with unsqueeze or flatten.",
            lambda: filter_image(torch.zeros(5), "box"),
        ),
        (
            ShapeError,
            "filter_image: image must have shape (H, W), (C, H, W) or (N, C, H, W) and "
            "pixels; got (0, 5). Add or remove axes with unsqueeze or flatten.",
            lambda: filter_image(np.zeros((0, 5)), "box"),
        ),
        (
            ArgumentError,
            "filter_image: image is of type torch.complex64. Filter "
            "image.real and image.imag separately.",
            lambda: filter_image(torch.zeros(5, 5, dtype=torch.complex64), "box"),
        ),
        (
            ShapeError,
            "filter_image: image of shape (9, 11, 3) has its channels at the end. Give "
            "(C, H, W): np.moveaxis(image, -1, -3).",
            lambda: filter_image(np.zeros((9, 11, 3)), "box"),
        ),
        (
            ShapeError,
            "filter_image: kernel must have shape (kH, kW); got (3,). Give one filter "
            "of two axes.",
            lambda: filter_image(GRAY, torch.ones(3)),
        ),
        (
            ArgumentError,
            "filter_image: size is an option of named filters, and the kernel is given "
            "as taps. Leave it out.",
            lambda: filter_image(GRAY, torch.ones(3, 3), size=3),
        ),
        (
            ArgumentError,
            "filter_image: image has mode 'F', more than 8 bits. Give "
            "np.asarray(image), and get numbers.",
            lambda: filter_image(Image.new("F", (4, 4)), "box"),
        ),
        (
            ArgumentError,
            "filter_image: image is of type list. Give a tensor, a NumPy array or a "
            "Pillow image.",
            lambda: filter_image([[1, 2]], "box"),
        ),
    ],
)
def test_what_cannot_be_is_refused_in_full_sentences(error, text, call):
    with pytest.raises(ConvscopeError, match=f"^{re.escape(text)}$") as caught:
        call()
    assert type(caught.value) is error
