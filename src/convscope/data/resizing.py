"""Samples in another form: another size, number of channels or depth."""

import numpy as np
import torch

from convscope.data.dataset import Dataset, Samples
from convscope.data.preprocessing import Preprocessing
from convscope.data.progress import Progress


def converted(
    part: Samples,
    preprocessing: Preprocessing,
    name: str,
    progress: Progress | None = None,
) -> Samples:
    """The samples in the form that ``preprocessing`` declares, by its own code.

    Args:
        part: Samples in any form; those in the right one are returned as they are.
        preprocessing: Declares channels, size and bits.
        name: What is being resized, for ``progress``.
        progress: Called with images done, images in all, and what is being done.

    >>> blank = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    >>> part = Samples(blank, torch.arange(2), ["a", "b"])
    >>> larger = Preprocessing(channels=1, size=(16, 16), mean=(0.0,), std=(1.0,))
    >>> converted(part, larger, "blank")
    Samples(2 of (1, 16, 16) uint8)
    """
    form = (preprocessing.channels, *preprocessing.size)
    dtype = np.uint16 if preprocessing.bits == 16 else np.uint8
    found = part.pixels.numpy()
    if form == found.shape[1:] and found.dtype == dtype:
        return part
    pixels = np.empty((len(part), *form), dtype)
    for i, image in enumerate(found):
        pixels[i] = preprocessing.decode_array(np.moveaxis(image, 0, -1))
        if progress and (i % 1000 == 999 or i + 1 == len(part)):
            progress(i + 1, len(part), f"resizing {name}")
    return Samples(torch.from_numpy(pixels), part.labels, part.names)


def resized(
    data: Dataset, size: tuple[int, int], progress: Progress | None = None
) -> Dataset:
    """The same data with images of another height and width.

    The mean and standard deviation are measured again, on the training images.

    Args:
        data: In any size.
        size: Height and width, in pixels.
        progress: As for ``converted``.

    >>> from convscope.data import load
    >>> resized(load("digits"), (16, 16)).input_shape
    (1, 16, 16)
    """
    declared = data.preprocessing.model_copy(update={"size": size})
    changed = in_form(data, declared, progress)
    return changed.replace(preprocessing=declared.with_statistics(changed.train.pixels))


def in_form(
    data: Dataset, preprocessing: Preprocessing, progress: Progress | None = None
) -> Dataset:
    """The same data as ``preprocessing`` declares them, its statistics included.

    >>> from convscope.data import load
    >>> color = Preprocessing(size=(8, 8), mean=(0.5,) * 3, std=(0.25,) * 3)
    >>> in_form(load("digits"), color).input_shape
    (3, 8, 8)
    """
    train, val, test = (
        converted(part, preprocessing, data.name, progress)
        for part in data.parts.values()
    )
    return data.replace(train=train, val=val, test=test, preprocessing=preprocessing)
