"""The published arrays of a named data set, checked and put into one form."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path

import numpy as np

from convscope.data.progress import Progress
from convscope.data.published import cifar, idx
from convscope.data.published.catalog import StandardSet
from convscope.data.published.compressed import read_bytes
from convscope.data.published.local_files import SUFFIXES, Found
from convscope.errors import DataError

LARGEST_FILE = 64 * 2**20  # bytes unpacked; the largest of these files has 45 MiB


@dataclass(frozen=True)
class Published:
    """A data set as it is published.

    Attributes:
        images: (N, C, H, W) uint8, training images first.
        labels: (N,) uint8.
        train_count: How many of them are for training.
        notes: Which files are not the published ones.
        trouble: What went wrong with the cache.
    """

    images: np.ndarray
    labels: np.ndarray
    train_count: int
    notes: tuple[str, ...] = ()
    trouble: tuple[str, ...] = ()


def digits() -> Published:
    """The handwritten digits that come with scikit-learn; values 0-16 become 0-255.

    >>> digits().images.shape
    (1797, 1, 8, 8)
    """
    from sklearn.datasets import load_digits  # takes a second to import

    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    return Published(images[:, None], bunch.target.astype(np.uint8), len(images))


def read(card: StandardSet, found: Found, progress: Progress | None) -> Published:
    """The arrays in the files of a set.

    Raises:
        DataError: A file is damaged, too large, not of the format, or does not fit
            the others.
    """
    contents: list[bytes] = []
    with ThreadPoolExecutor() as pool:  # decompression runs outside the interpreter
        for done, content in enumerate(pool.map(_content, found.paths), start=1):
            contents.append(content)
            if progress:
                progress(done, len(found.paths), f"reading {card.name}")
    notes = tuple(_strangers(card, found.paths, contents))
    if found.form == "idx":
        return _from_idx(card, found.paths, contents, notes)
    parse = (
        cifar.parse_python_batch if found.form == "python" else cifar.parse_binary_batch
    )
    batches = [
        parse(content, where=str(path))
        for content, path in zip(contents, found.paths, strict=True)
    ]
    images = np.concatenate([images for images, _ in batches])
    labels = np.concatenate([labels for _, labels in batches])
    return Published(images, labels, len(labels) - len(batches[-1][1]), notes)


def _content(path: Path) -> bytes:
    return read_bytes(path, limit=LARGEST_FILE)


def _from_idx(
    card: StandardSet,
    paths: tuple[Path, ...],
    contents: list[bytes],
    notes: tuple[str, ...],
) -> Published:
    train_x, train_y, test_x, test_y = (
        idx.parse(content, where=str(path), ndim=ndim)
        for content, path, ndim in zip(contents, paths, (3, 1, 3, 1), strict=True)
    )
    pairs = ((train_x, train_y, paths[0]), (test_x, test_y, paths[2]))
    for images, labels, path in pairs:
        if len(images) != len(labels):
            raise DataError(
                f"{path}: holds {len(images):,} images, but beside it are "
                f"{len(labels):,} labels. Get the published files."
            )
        if images.shape[1:] != card.shape[1:]:
            raise DataError(
                f"{path}: images have {images.shape[1:]} pixels; "
                f"those of {card.name} have {card.shape[1:]}."
            )
        if len(labels) and labels.max() >= len(card.classes):
            raise DataError(
                f"{path}: the labels beside it reach {labels.max()}; "
                f"{card.name} has the classes 0 to {len(card.classes) - 1}."
            )
    return Published(
        np.concatenate([train_x, test_x])[:, None],
        np.concatenate([train_y, test_y]),
        len(train_y),
        notes,
    )


def _strangers(
    card: StandardSet, paths: tuple[Path, ...], contents: list[bytes]
) -> list[str]:
    """A sentence for each file whose content is not the published one."""
    published = dict(card.content_md5)
    notes = []
    for path, content in zip(paths, contents, strict=True):
        stem = path.name.replace(".idx", "-idx")
        for suffix in SUFFIXES[1:]:
            stem = stem.removesuffix(suffix)
        digest = md5(content, usedforsecurity=False).hexdigest()
        if stem in published and digest != published[stem]:
            notes.append(
                f"{path} is not the file that was published for {card.name} "
                f"(md5 of its content {digest}, published {published[stem]}): "
                "results on it cannot be compared with others."
            )
    return notes
