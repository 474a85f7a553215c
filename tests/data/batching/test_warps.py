import math

import numpy as np
import pytest
import torch

from convscope.data.batching import warps

NUMPY_MODE = {"zeros": "constant", "edge": "edge", "reflect": "reflect"}


def random_pixels(count=6, channels=3, height=7, width=5, dtype=torch.uint8):
    numbers = np.random.default_rng(0).integers(
        0, 1 << (8 * dtype.itemsize), (count, channels, height, width)
    )
    kind = np.uint16 if dtype == torch.uint16 else np.uint8
    return torch.from_numpy(numbers.astype(kind))


def shifted_by_padding(image, down, right, flip, fill, reach):
    """Mirror, pad all round, cut out: one (C, H, W) image at a time."""
    if flip:
        image = image[..., ::-1]
    ring = ((0, 0), (reach, reach), (reach, reach))
    padded = np.pad(image, ring, mode=NUMPY_MODE[fill])
    top, left = reach - down, reach - right
    return padded[:, top : top + image.shape[1], left : left + image.shape[2]]


def check_shifts(shift_flip, fill, dtype):
    pixels = random_pixels(25, dtype=dtype)
    moves = [(down, right) for down in range(-2, 3) for right in range(-2, 3)]
    down, right = torch.tensor(moves).unbind(1)
    flip = torch.arange(25) % 3 == 0
    found = shift_flip(pixels, down, right, flip, fill)
    assert found.dtype == pixels.dtype
    for image, d, r, f, got in zip(
        pixels.numpy(), down.tolist(), right.tolist(), flip, found.numpy(), strict=True
    ):
        expected = shifted_by_padding(image, d, r, f, fill, reach=2)
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("fill", NUMPY_MODE)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
def test_shift_and_flip_equal_padding_and_cutting_out_one_by_one(fill, dtype):
    check_shifts(warps.shift_flip, fill, dtype)


MISTAKES = {
    "wrong way": lambda p, d, r, f, fill: warps.shift_flip(p, -d, r, f, fill),
    "flip last": lambda p, d, r, f, fill: warps.shift_flip(
        p, d, torch.where(f, -r, r), f, fill
    ),
    "other fill": lambda p, d, r, f, fill: warps.shift_flip(p, d, r, f, "zeros"),
    "no flip": lambda p, d, r, f, fill: warps.shift_flip(p, d, r, f & False, fill),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_check_of_shifts_rejects_a_planted_mistake(mistake):
    with pytest.raises(AssertionError):
        check_shifts(MISTAKES[mistake], "edge", torch.uint8)


def test_flipping_twice_gives_the_image_back():
    pixels, none = random_pixels(), torch.zeros(6, dtype=torch.int64)
    every = torch.ones(6, dtype=torch.bool)
    once = warps.shift_flip(pixels, none, none, every, "zeros")
    assert torch.equal(once, pixels.flip(3))
    assert torch.equal(warps.shift_flip(once, none, none, every, "zeros"), pixels)


def test_one_pixel_images_can_be_moved():
    pixels = random_pixels(2, 1, 1, 1)
    one, no = torch.ones(2, dtype=torch.int64), torch.zeros(2, dtype=torch.bool)
    for fill, expected in (("reflect", pixels), ("zeros", pixels * 0)):
        assert torch.equal(warps.shift_flip(pixels, one, one, no, fill), expected)


def matrices(count, **changes):
    settings = {
        "rotate": 0.0, "zoom": 1.0, "shear": 0.0, "down": 0, "right": 0, "flip": False,
    } | changes  # fmt: skip
    settings["flip"] = torch.full((count,), settings["flip"])
    return warps.source_matrices(
        **{
            name: value
            if isinstance(value, torch.Tensor)
            else torch.full((count,), value, dtype=torch.float64)
            for name, value in settings.items()
        }
    )


def random_images(count=3, channels=2, height=9, width=9):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, channels, height, width, generator=generator)


# Coordinates up to 2.5 sizes from the center pass through [-1, 1] and back in float32:
# a few roundings of size, each worth that share of the difference of two neighbors.
ATOL = 8 * 9 * torch.finfo(torch.float32).eps


@pytest.mark.parametrize("fill", NUMPY_MODE)
def test_the_identity_gives_the_image_back(fill):
    images = random_images(height=28, width=20)
    found = warps.resample(images, matrices(3), None, fill)
    torch.testing.assert_close(found, images, rtol=0, atol=4 * ATOL)


@pytest.mark.parametrize("quarters", [-1, 1, 2, 3])
def test_quarter_turns_equal_rot90(quarters):
    images = random_images()
    turn = matrices(3, rotate=quarters * math.pi / 2)
    found = warps.resample(images, turn, None, "zeros")
    expected = torch.rot90(images, quarters, (2, 3))
    # At the border a hair outside the image counts as that hair of black.
    torch.testing.assert_close(found, expected, rtol=0, atol=ATOL)


@pytest.mark.parametrize("fill", NUMPY_MODE)
def test_whole_moves_and_flips_by_resampling_equal_the_exact_ones(fill):
    images = random_images(height=8, width=6)
    down, right = torch.tensor([-2, 0, 3]), torch.tensor([1, -1, 2])
    for flip in (False, True):
        matrix = matrices(3, down=down.double(), right=right.double(), flip=flip)
        found = warps.resample(images, matrix, None, fill)
        every = torch.full((3,), flip)
        exact = warps.shift_flip(images, down, right, every, fill)
        torch.testing.assert_close(found, exact, rtol=0, atol=4 * ATOL)


def test_zoom_by_three_makes_a_pixel_three_wide():
    images = torch.zeros(1, 1, 9, 9)
    images[..., 4, 4] = 1
    found = warps.resample(images, matrices(1, zoom=3.0), None, "zeros")
    triangle = torch.tensor([0, 0, 1, 2, 3, 2, 1, 0, 0]) / 3
    torch.testing.assert_close(
        found[0, 0], torch.outer(triangle, triangle), rtol=0, atol=ATOL
    )


def test_shear_moves_each_row_by_its_distance_from_the_middle():
    images = random_images(1, 1)
    found = warps.resample(images, matrices(1, shear=1.0), None, "zeros")
    for row in range(9):
        move = torch.tensor([row - 4]), torch.tensor([0])
        expected = warps.shift_flip(
            images[:, :, row : row + 1],
            move[1],
            move[0],
            torch.tensor([False]),
            "zeros",
        )
        torch.testing.assert_close(
            found[:, :, row : row + 1], expected, rtol=0, atol=ATOL
        )


def test_the_matrix_undoes_flip_zoom_shear_rotation_and_move_in_this_order():
    angle, zoom, shear, down, right = 0.3, 1.2, 0.4, 2.0, -1.5
    flip = np.diag([-1.0, 1, 1])
    size = np.diag([zoom, zoom, 1])
    lean = np.array([[1, shear, 0], [0, 1, 0], [0, 0, 1]])
    cosine, sine = np.cos(angle), np.sin(angle)  # y points down the screen
    turn = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
    move = np.array([[1, 0, right], [0, 1, down], [0, 0, 1]])
    forward = move @ turn @ lean @ size @ flip
    found = matrices(
        1, rotate=angle, zoom=zoom, shear=shear, down=down, right=right, flip=True
    )
    np.testing.assert_allclose(found[0], np.linalg.inv(forward)[:2], atol=1e-6)


def fields(sigma, size=(40, 32), count=2000):
    return warps.elastic_field(0, 0, torch.arange(count), size, sigma)


@pytest.mark.parametrize("sigma", [0.7, 2.0, 4.0, 50.0])
def test_elastic_displacements_have_mean_0_and_mean_square_1(sigma):
    field = fields(sigma)
    assert field.shape == (2000, 2, 40, 32)
    # 4000 fields, at worst constant: deviations of 1 and about sqrt(2) over sqrt(4000).
    assert abs(field.mean().item()) < 5 / math.sqrt(4000)
    assert abs(field.square().mean().item() - 1) < 5 * math.sqrt(2 / 4000)


@pytest.mark.parametrize("sigma", [2.0, 4.0])
def test_elastic_displacements_are_as_smooth_as_a_gaussian_of_sigma(sigma):
    field, step = fields(sigma), int(sigma)
    for across in (field, field.transpose(2, 3)):
        product = (across[:, :, :-step] * across[:, :, step:]).mean().item()
        assert product == pytest.approx(math.exp(-((step / sigma) ** 2) / 4), abs=0.05)


def test_the_two_directions_of_elastic_displacements_are_unrelated():
    x, y = fields(4.0).unbind(1)
    assert abs((x * y).mean().item()) < 5 / math.sqrt(2000)


def test_an_elastic_field_is_the_same_bits_in_any_company():
    whole = fields(3.0, count=64)
    for chosen in ([5], [63, 5, 0], list(range(40, 60))):
        part = warps.elastic_field(0, 0, torch.tensor(chosen), (40, 32), 3.0)
        assert torch.equal(part, whole[chosen])


def test_a_displacement_says_where_a_pixel_comes_from():
    images = random_images(2, 1, 6, 8)
    displacements = torch.zeros(2, 2, 6, 8)
    displacements[:, 0] = 2.0  # x: everything comes from two to the right
    found = warps.resample(images, matrices(2), displacements, "edge")
    none = torch.zeros(2, dtype=torch.int64)
    exact = warps.shift_flip(images, none, none - 2, none.bool(), "edge")
    torch.testing.assert_close(found, exact, rtol=0, atol=4 * ATOL)
