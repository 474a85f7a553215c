"""A data set from what a PyTorch program has: a pair of tensors, or a DataLoader."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import data as torch_data

from convscope.data.arrays import from_arrays
from convscope.data.dataset import Dataset
from convscope.data.progress import Progress
from convscope.errors import ArgumentError, DataError

BATCH = 256  # of a torch Dataset, which has no batches of its own
TAKEN = (
    "a name, a folder, a convscope Dataset, a pair (images, labels), or a torch "
    "DataLoader or Dataset of such pairs"
)


def from_torch(
    source: object,
    *,
    validation: float = 0.1,
    test: float = 0.15,
    progress: Progress | None = None,
) -> Dataset:
    """A data set from a pair (images, labels), a torch DataLoader or a torch Dataset.

    A loader is gone through once. Its batch size, order and workers do not matter
    later, and its random changes are drawn this once: recipes have their own.

    Args:
        source: The pair, loader or data set; images as ``from_arrays`` takes them.
        validation: Share of the images to validate on, in [0, 1).
        test: Share of the images to test on, in [0, 1).
        progress: Called with batches done, batches in all, and what is being done.

    Raises:
        ArgumentError: It is none of these.
        DataError: It has no end, its items are no pairs, or ``from_arrays`` refuses
            them.

    >>> images, labels = torch.rand(40, 1, 8, 8), torch.arange(40) % 2
    >>> from_torch((images, labels)).input_shape
    (1, 8, 8)
    """
    if isinstance(source, torch_data.Dataset):
        source = torch_data.DataLoader(source, BATCH)
    if isinstance(source, torch_data.DataLoader):
        images, labels, classes = _gone_through(source, progress)
        data = from_arrays(
            images, labels, classes=classes, name="loader", validation=validation,
            test=test,
        )  # fmt: skip
        note = (
            f"{len(labels):,} images were taken from the DataLoader in one pass: its "
            "batches, order and random changes are not used again."
        )
        return data.replace(notes=(note, *data.notes))
    if _is_pair(source):
        images, labels = source  # type: ignore[misc]
        return from_arrays(images, labels, validation=validation, test=test)
    raise ArgumentError(
        f"load: source is of type {type(source).__name__}. Give {TAKEN}."
    )


def _is_pair(source: object) -> bool:
    arrays = (Tensor, np.ndarray)
    return (
        isinstance(source, tuple | list)
        and len(source) == 2
        and isinstance(source[0], arrays)
        and isinstance(source[1], (*arrays, list, tuple))
    )


def _gone_through(
    loader: "torch_data.DataLoader[Any]", progress: Progress | None
) -> tuple[np.ndarray, np.ndarray, Sequence[str] | None]:
    """All images and labels of a loader, and its names of classes if it has some."""
    try:
        total = len(loader)
    except TypeError:
        raise DataError(
            "load: the DataLoader has no length, so it may have no end. Collect what "
            "is wanted into tensors and give the pair (images, labels)."
        ) from None
    images, labels = [], []
    batches = itertools.islice(loader, total)
    for done in range(1, total + 1):
        try:
            batch = next(batches, None)
        except TypeError as error:  # what torch cannot make a batch of
            raise DataError(
                f"load: the DataLoader makes no tensors of its items ({error}). Give "
                "its data set a transform that turns pictures into tensors."
            ) from None
        if batch is None:
            break
        _require_pair(batch)
        images.append(torch.as_tensor(batch[0]).cpu())
        labels.append(torch.as_tensor(batch[1]).cpu())
        if progress:
            progress(done, total, "reading batches")
    if not images:
        raise DataError("load: the DataLoader gives no batch.")
    found = torch.cat(images).numpy()
    _refuse_normalized(found)
    return found, torch.cat(labels).numpy(), _class_names(loader.dataset)


def _require_pair(batch: object) -> None:
    """Refuses a batch that is no pair of one tensor of images and one of labels."""
    if isinstance(batch, tuple | list) and len(batch) == 2:
        kinds = [_named(part) for part in batch]
        if kinds == ["a tensor", "a tensor"]:
            return
        found = f"a pair of {kinds[0]} and {kinds[1]}"
    else:
        found = _named(batch)
    raise DataError(
        f"load: a batch of the DataLoader is {found}; it must be a pair of images and "
        "labels, one tensor each. Give its data set an item (image, label); a network "
        "of several inputs is trained in a loop of your own, with cs.optimize(net, "
        "example_inputs=...)."
    )


def _named(part: object) -> str:
    if isinstance(part, Tensor | np.ndarray):
        return "a tensor"
    if isinstance(part, tuple | list):
        if part and all(isinstance(one, int | float) for one in part):
            return "a tensor"  # what a collate function left as numbers
        return f"a {type(part).__name__} of {len(part)}"
    if isinstance(part, Mapping):
        return f"a dict of {', '.join(map(repr, part))}"
    return f"of type {type(part).__name__}"


def _refuse_normalized(images: np.ndarray) -> None:
    if images.dtype.kind == "f" and images.size and images.min() < 0:
        raise DataError(
            f"load: the DataLoader's images go from {images.min():g} to "
            f"{images.max():g}; they must lie in [0, 1]. Leave Normalize out of its "
            "transform: mean and standard deviation are measured here."
        )


def _class_names(dataset: object) -> Sequence[str] | None:
    """The names that a torch data set has for its labels, also inside a Subset."""
    while isinstance(dataset, torch_data.Subset):
        dataset = dataset.dataset
    names = getattr(dataset, "classes", None)
    if isinstance(names, list | tuple) and all(isinstance(n, str) for n in names):
        return tuple(names) or None
    return None
