import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from convscope.data import from_arrays
from convscope.errors import ArgumentError, DataError

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (60, 5, 4), np.uint8)
RGB = RNG.integers(0, 256, (60, 3, 5, 4), np.uint8)
TWO = np.arange(60) % 2


def in_order(data):
    """All pixels and labels in the order in which they were given."""
    parts = list(data.parts.values())
    position = [int(name.split("/")[1]) for part in parts for name in part.names]
    order = np.argsort(position)
    pixels = np.concatenate([part.pixels.numpy() for part in parts])[order]
    labels = np.concatenate([part.labels.numpy() for part in parts])[order]
    assert sorted(position) == list(range(len(position)))
    return pixels, labels


GRAY_NOTE = (
    "Arrays of shape (60, 5, 4) are taken for gray pictures of 5 x 4 pixels, not for "
    "signals."
)


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (GRAY, GRAY[:, None]),
        (GRAY[..., None], GRAY[:, None]),
        (GRAY[:, None], GRAY[:, None]),
        (RGB, RGB),
        (np.moveaxis(RGB, 1, -1), RGB),
        (torch.from_numpy(RGB), RGB),
        (RGB[:, :, ::-1, ::-1], RGB[:, :, ::-1, ::-1]),
        (GRAY.astype(np.uint16) * 257, GRAY[:, None].astype(np.uint16) * 257),
        (torch.from_numpy(GRAY.astype(np.uint16)), GRAY[:, None].astype(np.uint16)),
        (GRAY > 100, (GRAY[:, None] > 100) * np.uint8(255)),
    ],
)
def test_every_layout_and_type_keeps_its_values(images, expected):
    data = from_arrays(images, TWO)
    pixels, labels = in_order(data)
    np.testing.assert_array_equal(pixels, expected, strict=True)
    np.testing.assert_array_equal(labels, TWO)
    assert data.preprocessing.bits == 8 * pixels.itemsize
    assert data.preprocessing.size == (5, 4)
    told, warned = data.notes[:-1], data.notes[-1]
    assert told == (GRAY_NOTE,) * (images.ndim == 3)
    assert warned.startswith("The test part has only")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floating_point_images_become_8_bits_and_a_note_says_so(dtype):
    images = RNG.random((60, 5, 4)).astype(dtype)
    data = from_arrays(images, TWO)
    pixels, _ = in_order(data)
    # rounding moves a value by at most half a step; float16 itself rounds once more
    bound = 0.5 / 255 + np.finfo(dtype).eps
    assert np.abs(pixels[:, 0] / 255 - images.astype(np.float64)).max() <= bound
    assert data.notes[0] == (
        "Images given as floating-point numbers are kept as 8 bits: no value is off "
        "by more than 1/510."
    )


@given(arrays(np.uint8, (30, 2, 3)))
@settings(max_examples=30)
def test_8_bits_given_as_fractions_come_back_exactly(images):
    images[:, 0, 0] = np.arange(30)  # no two alike
    pixels, _ = in_order(from_arrays(images / 255, np.arange(30) % 3))
    np.testing.assert_array_equal(pixels[:, 0], images)


@pytest.mark.parametrize(
    ("labels", "classes", "names", "numbers"),
    [
        ([7, 3] * 30, None, ("3", "7"), [1, 0] * 30),
        (["dog", "cat"] * 30, None, ("cat", "dog"), [1, 0] * 30),
        (["dog", "cat"] * 30, ["dog", "cat"], ("dog", "cat"), [0, 1] * 30),
        ([0, 2] * 30, ["a", "b", "c"], ("a", "b", "c"), [0, 2] * 30),
        ([True, False] * 30, None, ("False", "True"), [1, 0] * 30),
        (torch.tensor([1, 0] * 30), None, ("0", "1"), [1, 0] * 30),
        (np.array(["x", "y"] * 30, dtype=object), None, ("x", "y"), [0, 1] * 30),
    ],
)
def test_labels_are_numbers_or_names(labels, classes, names, numbers):
    data = from_arrays(GRAY, labels, classes=classes)
    assert data.classes == names
    assert in_order(data)[1].tolist() == numbers


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ((60, 1, 800), "signals, 1 channel of 800 values"),
        ((60, 12, 1000), "signals, 12 channels of 1,000 values"),
        ((60, 128, 9), "signals, 9 channels of 128 values"),
        ((60, 3, 16), "signals, 3 channels of 16 values"),
        ((60, 12, 40), "signals, 12 channels of 40 values"),
        ((60, 32, 15), "signals, 15 channels of 32 values"),
        ((60, 1, 2), "signals, 1 channel of 2 values"),
    ],
)
def test_signals_are_not_taken_for_gray_pictures(shape, told):
    images = RNG.integers(0, 256, shape, np.uint8)
    count, rows, columns = shape
    with pytest.raises(DataError) as caught:
        from_arrays(images, TWO)
    assert str(caught.value) == (
        f"from_arrays: images of shape {shape} may be {told}, which are not taken. "
        f"If they are gray pictures of {rows:,} x {columns:,} pixels, give them as "
        f"({count}, 1, {rows}, {columns}): images[:, None]."
    )
    assert from_arrays(images[:, None], TWO).input_shape == (1, rows, columns)


def test_every_class_is_in_every_part():
    data = from_arrays(GRAY, np.arange(60) % 12)
    for part in data.parts.values():
        assert set(part.labels.tolist()) == set(range(12))


@given(st.permutations(range(60)))
@settings(max_examples=20)
def test_the_order_does_not_decide_the_part(order):
    names = from_arrays(GRAY, TWO).test.names
    again = from_arrays(GRAY[order], TWO[order]).test.names
    assert {int(name[7:]) for name in names} == {order[int(name[7:])] for name in again}


def with_nan(kind):
    images = np.zeros((60, 5, 4))
    images[[17, 40], 2, 1] = kind
    return images


@pytest.mark.parametrize(
    ("images", "labels", "options", "text"),
    [
        (
            with_nan(np.nan),
            TWO,
            {},
            "from_arrays: 2 images hold NaN or infinite values, the first at index 17. "
            "Fix them or leave them out.",
        ),
        (
            with_nan(np.inf),
            TWO,
            {},
            "from_arrays: 2 images hold NaN or infinite values, the first at index 17. "
            "Fix them or leave them out.",
        ),
        (
            GRAY * 1.0,
            TWO,
            {},
            "from_arrays: floating-point images must lie in [0, 1]; these go from 0 to "
            "255. Scale them, or pass uint8.",
        ),
        (
            GRAY.astype(np.int64),
            TWO,
            {},
            "from_arrays: images are int64; use uint8, uint16, bool, or floating-point "
            "numbers from 0 to 1.",
        ),
        (
            GRAY.astype(object),
            TWO,
            {},
            "from_arrays: images are object; use uint8, uint16, bool, or "
            "floating-point numbers from 0 to 1.",
        ),
        (
            GRAY[0],
            TWO,
            {},
            "from_arrays: images have shape (5, 4); they must be (N, H, W), "
            "(N, H, W, C) or (N, C, H, W) with 1 or 3 channels.",
        ),
        (
            np.zeros((60, 5, 4, 2), np.uint8),
            TWO,
            {},
            "from_arrays: images have shape (60, 2, 5, 4); they must be (N, H, W), "
            "(N, H, W, C) or (N, C, H, W) with 1 or 3 channels.",
        ),
        (
            GRAY[:0],
            [],
            {},
            "from_arrays: images of shape (0, 1, 5, 4) hold no pixels.",
        ),
        (
            GRAY,
            TWO[:59],
            {},
            "from_arrays: 60 images and 59 labels. Give one label per image.",
        ),
        (
            GRAY,
            ["cat"] * 60,
            {},
            "from_arrays: every label is 'cat'; a network that tells classes apart "
            "needs at least two.",
        ),
        (
            GRAY,
            [1] * 60,
            {"classes": ["cat", "dog"]},
            "from_arrays: every label is 'dog'; a network that tells classes apart "
            "needs at least two.",
        ),
        (
            GRAY,
            TWO * 0.5,
            {},
            "from_arrays: labels are float64; use integers or strings.",
        ),
        (
            GRAY,
            [None, "a"] * 30,
            {},
            "from_arrays: labels are object; use integers or strings.",
        ),
        (
            GRAY,
            TWO[:, None],
            {},
            "from_arrays: labels have shape (60, 1); they must be (N,).",
        ),
        (
            GRAY,
            TWO * 5,
            {"classes": ["a", "b"]},
            "from_arrays: labels go from 0 to 5, but there are 2 classes, 0 to 1.",
        ),
        (
            GRAY,
            ["a", "x"] * 30,
            {"classes": ["a", "b"]},
            "from_arrays: the label 'x' is not one of classes=['a', 'b'].",
        ),
        (
            GRAY,
            TWO,
            {"classes": ["a", "a"]},
            "from_arrays: classes=['a', 'a'] names a class twice.",
        ),
    ],
)
def test_what_cannot_be_used_is_named(images, labels, options, text):
    with pytest.raises(DataError, match=f"^{re.escape(text)}$"):
        from_arrays(images, labels, **options)


def test_an_image_that_carries_every_label_is_no_training_set():
    image = np.full((60, 5, 4), 8, np.uint8)
    text = (
        "from_arrays: no image is left to train on, because all classes share the "
        "same 1 images. Fix the labels."
    )
    with pytest.raises(DataError, match=f"^{re.escape(text)}$"):
        from_arrays(image, TWO, test=0.99, validation=0)


def test_shares_are_checked_first():
    with pytest.raises(ArgumentError, match=r"^from_arrays: test=-0\.1 is not a share"):
        from_arrays(GRAY, TWO, test=-0.1)
