"""Named kernels: as the lectures print them, as SciPy makes them, what they keep."""

import re

import numpy as np
import pytest
import torch
from scipy import ndimage

from convscope.errors import ArgumentError, ConvscopeError, UnknownNameError
from convscope.functional import FILTERS, filter_kernel, gabor_bank, gaussian_taps

PRINTED = {  # in the lectures' tables of image filters
    "edges_4": [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
    "edges_8": [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]],
    "emboss": [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]],
    "sharpen": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
    "horizontal_edges": [[-1, -1, -1], [0, 0, 0], [1, 1, 1]],
    "vertical_edges": [[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]],
}
BLURS = ["identity", "box", "gaussian", "binomial"]
EDGES = [
    "edges_4",
    "edges_8",
    "horizontal_edges",
    "vertical_edges",
    "sobel",
    "prewitt",
    "laplacian_of_gaussian",
    "oriented_edges",
    "gabor",
]


def kernel(name, **options):
    return filter_kernel(name, dtype=torch.float64, **options)


@pytest.mark.parametrize("name", PRINTED)
def test_it_is_the_kernel_that_the_lectures_print(name):
    assert kernel(name).tolist() == PRINTED[name]


def test_the_blurs_of_3_by_3_are_those_that_the_lectures_print():
    assert torch.equal(kernel("box"), torch.full((3, 3), 1 / 9, dtype=torch.float64))
    sixteenths = [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    assert (16 * kernel("binomial")).tolist() == sixteenths


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("name", BLURS)
def test_a_blur_keeps_an_image_of_one_value(name, size, axes):
    taps = kernel(name, axes=axes, size=size)
    assert taps.shape == (size,) * axes
    assert taps.sum().item() == pytest.approx(1, abs=1e-14)
    assert (taps >= 0).all()


@pytest.mark.parametrize("name", EDGES)
def test_an_edge_filter_gives_nothing_where_it_is_flat(name):
    assert kernel(name).sum().item() == pytest.approx(0, abs=1e-14)


def test_every_filter_is_a_blur_or_an_edge_filter_or_one_that_keeps_the_image():
    keep = [name for name in FILTERS if kernel(name).sum().item() == pytest.approx(1)]
    assert sorted(keep + EDGES) == sorted(FILTERS)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("name", ["sobel", "prewitt"])
def test_sobel_and_prewitt_are_scipys(name, axes):
    image = np.random.default_rng(0).standard_normal((6, 7, 5)[:axes])
    for axis in range(axes):
        expected = getattr(ndimage, name)(image, axis)
        taps = kernel(name, axes=axes, axis=axis).numpy()
        ours = ndimage.correlate(image, taps)
        np.testing.assert_allclose(ours, expected, atol=1e-12)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("sigma", [0.6, 1.0, 2.3])
def test_a_gaussian_is_scipys(sigma, axes):
    impulse = np.zeros((41,) * axes)
    impulse[(20,) * axes] = 1
    taps = kernel("gaussian", axes=axes, sigma=sigma)
    reach = taps.shape[0] // 2
    inside = (slice(20 - reach, 21 + reach),) * axes
    expected = ndimage.gaussian_filter(impulse, sigma)
    np.testing.assert_allclose(taps, expected[inside], atol=1e-15)
    expected[inside] = 0
    assert not expected.any()


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("sigma", [0.6, 1.0, 2.3])
def test_a_laplacian_of_gaussian_is_scipys_but_for_the_sum_that_it_lacks(sigma, axes):
    impulse = np.zeros((41,) * axes)
    impulse[(20,) * axes] = 1
    expected = ndimage.gaussian_laplace(impulse, sigma)
    # SciPy's sampled kernel has a small sum; ours takes that much of a Gaussian away.
    expected -= expected.sum() * ndimage.gaussian_filter(impulse, sigma)
    taps = kernel("laplacian_of_gaussian", axes=axes, sigma=sigma)
    reach = taps.shape[0] // 2
    inside = (slice(20 - reach, 21 + reach),) * axes
    np.testing.assert_allclose(taps, expected[inside], atol=1e-14)


def test_taps_of_a_gaussian_halve_where_they_must():
    sigma = 2 / (2 * np.log(2)) ** 0.5  # half as high 2 taps off the middle
    taps = gaussian_taps(9, sigma)
    assert (taps[4] / taps[2]).item() == pytest.approx(2)
    assert torch.equal(taps, taps.flip(0))


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_gaussian_far_narrower_than_a_tap_is_no_division_by_zero(size):
    taps = gaussian_taps(size, 1e-3)
    assert taps.sum() == 1
    assert taps.max() == (0.5 if size == 2 else 1)


@pytest.mark.parametrize("angle", [0, 30, 90, 200])
def test_an_oriented_edge_filter_measures_the_slope_in_its_direction(angle):
    rows, columns = np.mgrid[-8:9, -8:9].astype(float)
    ramp = 3 * columns + 5 * rows
    taps = kernel("oriented_edges", angle=angle).numpy()
    reach = taps.shape[0] // 2
    inside = slice(8 - reach, 9 + reach)
    turn = np.radians(angle)
    expected = 3 * np.cos(turn) + 5 * np.sin(turn)
    assert (taps * ramp[inside, inside]).sum() == pytest.approx(expected)


@pytest.mark.parametrize("angle", [0, 45, 90, 135])
def test_a_gabor_filter_answers_most_to_waves_of_its_direction(angle):
    rows, columns = np.mgrid[-4:5, -4:5].astype(float)
    taps = kernel("gabor", angle=angle, wavelength=4.0).numpy()
    answers = {}
    for other in (0, 45, 90, 135):
        turn = np.radians(other)
        way = columns * np.cos(turn) + rows * np.sin(turn)
        answers[other] = abs((taps * np.cos(2 * np.pi * way / 4)).sum())
    assert max(answers, key=answers.get) == angle
    assert sorted(answers.values())[-2] < answers[angle] / 5


def test_a_gabor_filter_has_norm_1_and_turns_by_a_right_angle_exactly():
    upright, lying = kernel("gabor"), kernel("gabor", angle=90)
    assert torch.linalg.vector_norm(upright).item() == pytest.approx(1)
    torch.testing.assert_close(upright.rot90(), lying)


def test_a_bank_has_every_direction_at_every_scale():
    bank = gabor_bank(6, 3, 11, dtype=torch.float64)
    assert bank.shape == (18, 11, 11)
    assert torch.equal(bank[0], kernel("gabor", size=11, wavelength=3.0))
    torch.testing.assert_close(
        bank[-1], kernel("gabor", size=11, wavelength=11.0, angle=150)
    )
    torch.testing.assert_close(bank[0].rot90(), bank[3])
    assert gabor_bank(1, 1, 5).shape == (1, 5, 5)


def test_the_table_tells_the_options_of_a_filter():
    assert FILTERS["sharpen"].options == {}
    assert FILTERS["gaussian"].options == {"size": None, "sigma": None}
    assert all(one.name == name and one.says for name, one in FILTERS.items())


@pytest.mark.parametrize(
    ("error", "text", "call"),
    [
        (
            UnknownNameError,
            "unknown filter 'gausian'. Did you mean 'gaussian'?",
            lambda: kernel("gausian"),
        ),
        (
            UnknownNameError,
            "unknown option of 'gaussian' 'sgima'. Did you mean 'sigma'?",
            lambda: kernel("gaussian", sgima=2.0),
        ),
        (
            ArgumentError,
            "filter_kernel: size=5 cannot be set: 'sharpen' is 3 by 3 and fixed. Leave "
            "size out.",
            lambda: kernel("sharpen", size=5),
        ),
        (
            ArgumentError,
            "filter_kernel: axes=3 is not possible for 'emboss', which has 2. Use "
            "axes=2.",
            lambda: kernel("emboss", axes=3),
        ),
        (
            ArgumentError,
            "filter_kernel: axes=4 is not possible for 'box', which has 1, 2 or 3. Use "
            "axes=2.",
            lambda: kernel("box", axes=4),
        ),
        (
            ArgumentError,
            "gaussian: sigma=-1.0 is not a number above 0. Use 1.0, for example.",
            lambda: kernel("gaussian", sigma=-1.0),
        ),
        (
            ArgumentError,
            "box: size=0 is not an integer of at least 1. Use size=1 or more.",
            lambda: kernel("box", size=0),
        ),
        (
            ArgumentError,
            "sobel: axis=2 is not one of 2 spatial axes. Use -2 to 1.",
            lambda: kernel("sobel", axis=2),
        ),
        (
            ArgumentError,
            "gabor: wavelength=2.0 with phase=90 is 0 at every tap. Use a longer "
            "wavelength, or another phase.",
            lambda: kernel("gabor", wavelength=2.0, phase=90),
        ),
    ],
)
def test_what_cannot_be_is_refused_in_full_sentences(error, text, call):
    with pytest.raises(ConvscopeError, match=f"^{re.escape(text)}$") as caught:
        call()
    assert type(caught.value) is error
