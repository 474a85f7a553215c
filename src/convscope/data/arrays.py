"""A data set from arrays that are in memory already."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from convscope.data import part_sizes
from convscope.data.dataset import Dataset, Samples
from convscope.data.preprocessing import Preprocessing
from convscope.data.splits import assign, check_fractions, content_hashes, share_out
from convscope.errors import DataError

LONGEST = 2  # times as long as wide: what (N, H, W) is taken for a picture up to
FLOAT_NOTE = (
    "Images given as floating-point numbers are kept as 8 bits: "
    "no value is off by more than 1/510."
)


def from_arrays(
    images: np.ndarray | Tensor,
    labels: np.ndarray | Tensor | Sequence[Any],
    *,
    classes: Sequence[str] | None = None,
    name: str = "arrays",
    validation: float = 0.1,
    test: float = 0.15,
) -> Dataset:
    """A data set from an array of images and their labels, parted by content.

    ``uint8`` and ``uint16`` are kept as they are. ``bool`` becomes 0 and 255.
    Floating-point images must lie in [0, 1] and become 8 bits, rounded; a note says so.
    Where axis 1 and the last axis could both be channels, axis 1 is, as in torch.

    Args:
        images: The images; 1 or 3 channels.
        labels: One per image: integers, or strings.
        classes: Class names in order. By default the distinct labels in order; integer
            labels without ``classes`` name their class by the number. With it, integers
            are positions in it and strings must occur in it.
        name: Short name, for tables and run folders.
        validation: Share of the images to validate on, in [0, 1).
        test: Share of the images to test on, in [0, 1).

    Shape:
        images: (N, C, H, W), (N, H, W, C), or (N, H, W) with H and W at most twice
            each other: longer ones are as likely signals (N, C, L). A note says what
            was taken where H and W differ.
        labels: (N,)

    Raises:
        DataError: No images, a shape or type that is not listed above, values that are
            not finite or outside [0, 1], labels that do not fit, or a single class.
        ArgumentError: Shares outside their interval.

    >>> images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
    >>> data = from_arrays(images, ["cat", "dog"] * 20)
    >>> data.classes, data.input_shape
    (('cat', 'dog'), (1, 8, 8))
    """
    check_fractions("from_arrays", validation=validation, test=test)
    pixels, notes = as_pixels(_as_array(images), "from_arrays")
    names, numbers = _as_labels(_as_array(labels), classes)
    if len(pixels) != len(numbers):
        raise DataError(
            f"from_arrays: {len(pixels):,} images and {len(numbers):,} labels. "
            "Give one label per image."
        )
    if len(present := np.unique(numbers)) == 1:
        raise DataError(
            f"from_arrays: every label is {names[present[0]]!r}; a network that tells "
            "classes apart needs at least two."
        )
    parts = assign(content_hashes(pixels), numbers, validation=validation, test=test)
    whole = Samples(
        as_tensor(pixels),
        as_tensor(numbers),
        [f"{name}/{i}" for i in range(len(numbers))],
    )
    train, val, tested = (whole.subset(indices) for indices in share_out(parts))
    if not len(train):  # only where the same image carries the names of all classes
        raise DataError(
            "from_arrays: no image is left to train on, because all classes share "
            f"the same {len(set(content_hashes(pixels)))} images. Fix the labels."
        )
    channels: Literal[1, 3] = 1 if pixels.shape[1] == 1 else 3
    declared = Preprocessing(
        channels=channels,
        bits=16 if pixels.dtype == np.uint16 else 8,
        size=(pixels.shape[2], pixels.shape[3]),
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
    )
    parted = {"train": train, "val": val, "test": tested}
    about_parts = part_sizes.warnings(parted, names)
    return Dataset(
        name=name,
        source="",  # nothing to load it from again
        classes=names,
        train=train,
        val=val,
        test=tested,
        preprocessing=declared.with_statistics(train.pixels),
        notes=(*notes, *about_parts),
        part_notes=tuple(about_parts),
    )


def _as_array(values: np.ndarray | Tensor | Sequence[Any]) -> np.ndarray:
    if isinstance(values, Tensor):
        return values.detach().cpu().numpy()
    return np.asarray(values)


def as_tensor(array: np.ndarray) -> Tensor:
    """The array as a tensor, copied where it must not be written into.

    Memory maps and what joblib gives its workers are such arrays, and torch warns of
    them.

    >>> fixed = np.arange(3)
    >>> fixed.setflags(write=False)
    >>> as_tensor(fixed)
    tensor([0, 1, 2])
    """
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def as_pixels(images: np.ndarray, where: str) -> tuple[np.ndarray, list[str]]:
    """Images in memory as (N, C, H, W) uint8 or uint16, and what to tell about it.

    Args:
        images: As ``from_arrays`` takes them.
        where: Who asks, for messages.

    Raises:
        DataError: A shape or type, or values, that are not taken.

    >>> as_pixels(np.zeros((5, 8, 8, 3), bool), "here")[0].shape
    (5, 3, 8, 8)
    """
    told: list[str] = []
    if images.ndim == 3:
        _refuse_signals(images.shape, where)
        rows, columns = images.shape[1:]
        if rows != columns:
            told.append(
                f"Arrays of shape {images.shape} are taken for gray pictures of "
                f"{rows:,} x {columns:,} pixels, not for signals."
            )
        images = images[:, None]
    elif images.ndim == 4 and images.shape[1] not in (1, 3):
        images = np.moveaxis(images, -1, 1)
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise DataError(
            f"{where}: images have shape {images.shape}; they must be (N, H, W), "
            "(N, H, W, C) or (N, C, H, W) with 1 or 3 channels."
        )
    if 0 in images.shape:
        raise DataError(f"{where}: images of shape {images.shape} hold no pixels.")
    if images.dtype in (np.uint8, np.uint16):
        return np.ascontiguousarray(images), told
    if images.dtype == np.bool_:
        return images.astype(np.uint8) * np.uint8(255), told
    if images.dtype.kind != "f":
        raise DataError(
            f"{where}: images are {images.dtype}; use uint8, uint16, bool, or "
            "floating-point numbers from 0 to 1."
        )
    low, high = float(images.min()), float(images.max())
    if not np.isfinite([low, high]).all():
        bad = ~np.isfinite(images).all(axis=(1, 2, 3))
        raise DataError(
            f"{where}: {int(bad.sum()):,} images hold NaN or infinite values, the "
            f"first at index {int(bad.argmax())}. Fix them or leave them out."
        )
    if low < 0 or high > 1:
        raise DataError(
            f"{where}: floating-point images must lie in [0, 1]; these go from "
            f"{low:g} to {high:g}. Scale them, or pass uint8."
        )
    return np.round(images * 255).astype(np.uint8), [FLOAT_NOTE, *told]


def _refuse_signals(shape: tuple[int, ...], where: str) -> None:
    """(N, C, L) and (N, H, W) look alike: few rows, or long ones, may be channels."""
    count, rows, columns = shape
    short, long = sorted((rows, columns))
    if short * LONGEST < long or (short == 1 < long):
        channels = "1 channel" if short == 1 else f"{short:,} channels"
        raise DataError(
            f"{where}: images of shape {shape} may be signals, {channels} of "
            f"{long:,} values, which are not taken. If they are gray pictures of "
            f"{rows:,} x {columns:,} pixels, give them as ({count}, 1, {rows}, "
            f"{columns}): images[:, None]."
        )


def _as_labels(
    labels: np.ndarray, classes: Sequence[str] | None
) -> tuple[tuple[str, ...], np.ndarray]:
    """Class names, and (N,) int64 positions in them."""
    if labels.ndim != 1:
        raise DataError(
            f"from_arrays: labels have shape {labels.shape}; they must be (N,)."
        )
    if labels.dtype == object and all(isinstance(label, str) for label in labels):
        labels = labels.astype(str)
    if labels.dtype.kind not in "iubU":
        raise DataError(
            f"from_arrays: labels are {labels.dtype}; use integers or strings."
        )
    if classes is None:
        distinct, numbers = np.unique(labels, return_inverse=True)
        return tuple(str(label) for label in distinct), numbers.astype(np.int64)
    names = tuple(classes)
    if len(set(names)) != len(names):
        raise DataError(f"from_arrays: classes={list(names)} names a class twice.")
    if labels.dtype.kind == "U":
        if unknown := sorted(set(labels.tolist()) - set(names)):
            raise DataError(
                f"from_arrays: the label {unknown[0]!r} is not one of "
                f"classes={list(names)}."
            )
        index = {label: i for i, label in enumerate(names)}
        return names, np.array([index[label] for label in labels.tolist()], np.int64)
    numbers = labels.astype(np.int64)
    if numbers.size and (numbers.min() < 0 or numbers.max() >= len(names)):
        raise DataError(
            f"from_arrays: labels go from {numbers.min()} to {numbers.max()}, but "
            f"there are {len(names)} classes, 0 to {len(names) - 1}."
        )
    return names, numbers
