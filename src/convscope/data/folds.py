"""Folds of a data set: every image is left out once, and copies stay together."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import torch

from convscope.data.dataset import Dataset, Samples
from convscope.data.part_sizes import CLEARLY_MORE
from convscope.data.splits import assign, content_hashes, share_out
from convscope.data.words import counted, listed
from convscope.errors import ArgumentError, DataError, Remedy

USUAL = 5  # folds


def pooled(data: Dataset) -> Dataset:
    """The data with all that may be trained on in the training part.

    Validation images go to it, and test images too, unless the source itself names its
    test part (a folder ``test``, a published test set): that one stays as it is. The
    order is by content, whatever the parts were.

    Args:
        data: In its parts. Statistics that were measured on its training part are
            measured again; those of given weights are kept.

    >>> from convscope.data import load
    >>> whole = pooled(load("digits"))
    >>> len(whole.train), len(whole.val), len(whole.test)
    (1797, 0, 0)
    """
    names = to_train_on(data)
    parts = [data.parts[name] for name in names if len(data.parts[name])]
    joined = Samples(
        torch.cat([part.pixels for part in parts]),
        torch.cat([part.labels for part in parts]),
        [name for part in parts for name in part.names],
    )
    hashes, labels = content_hashes(joined.pixels), joined.labels.tolist()
    labeled = [i for i, label in enumerate(labels) if label >= 0]
    whole = joined.subset(
        sorted(labeled, key=lambda i: (hashes[i], labels[i], joined.names[i]))
    )
    declared = data.preprocessing
    if is_measured(data):
        declared = declared.with_statistics(whole.pixels)
    return data.replace(
        train=whole,
        val=whole.subset([]),
        test=data.test if "test" in data.named_parts else whole.subset([]),
        preprocessing=declared,
        notes=tuple(note for note in data.notes if note not in data.part_notes),
        part_notes=(),
    )


def is_measured(data: Dataset) -> bool:
    """Whether mean and standard deviation are those of the training images.

    >>> from convscope.data import load
    >>> is_measured(load("digits"))
    True
    """
    declared = data.preprocessing
    return declared == declared.with_statistics(data.train.pixels)


def without(pool: Dataset, left_out: np.ndarray) -> Dataset:
    """What is trained on while some images are left out.

    Args:
        pool: As ``pooled`` makes it.
        left_out: Whether each of its training images is left out.

    Shape:
        left_out: (N,) bool

    >>> from convscope.data import load
    >>> pool = pooled(load("digits"))
    >>> len(without(pool, np.arange(1797) < 300).train)
    1497
    """
    rest = pool.train.subset(np.flatnonzero(~left_out))
    nothing = rest.subset([])
    declared = pool.preprocessing
    if is_measured(pool):
        declared = declared.with_statistics(rest.pixels)
    return pool.replace(
        train=rest, val=nothing, test=nothing, preprocessing=declared, source=""
    )


def with_validation(data: Dataset, share: float) -> Dataset:
    """The data with a share of the training images set aside to watch training on.

    Args:
        data: All of whose images are in the training part, but for test images.
        share: In [0, 1); by content, class by class, as ``assign`` does it.

    >>> from convscope.data import load
    >>> watched = with_validation(pooled(load("digits")), 0.1)
    >>> len(watched.train), len(watched.val)
    (1618, 179)
    """
    if not share:
        return data
    hashes = content_hashes(data.train.pixels)
    parts = assign(hashes, data.train.labels.numpy(), validation=share, test=0.0)
    train, val, _ = (data.train.subset(some) for some in share_out(parts))
    return data.replace(train=train, val=val)


def assign_folds(
    hashes: Sequence[bytes],
    labels: Sequence[int] | np.ndarray,
    folds: int,
    *,
    seed: int = 0,
    repeat: int = 1,
) -> np.ndarray:
    """The fold of each image, 0 to ``folds - 1``; equal images share one.

    The images of a class are put in an order that their content, ``seed`` and
    ``repeat`` decide, and each goes to the fold that has the fewest of its class, of
    these to the smallest. Without copies, folds differ by one image at most, in each
    class and in all. More copies come before fewer.

    Args:
        hashes: One per image, as ``content_hashes`` makes them.
        labels: One per image, any integers.
        folds: How many, at least 2.
        seed: Another one gives other folds.
        repeat: Likewise.

    Shape:
        return: (N,) int64

    >>> hashes = [bytes([i]) * 8 for i in range(10)]
    >>> np.bincount(assign_folds(hashes, [0, 1] * 5, 5)).tolist()
    [2, 2, 2, 2, 2]
    """
    groups: dict[bytes, Counter[int]] = defaultdict(Counter)
    for content, label in zip(hashes, np.asarray(labels).tolist(), strict=True):
        groups[content][label] += 1
    key = f"{seed} {repeat}".encode()

    def place(content: bytes) -> tuple[int, int, int, bytes]:
        held = groups[content]
        shuffled = hashlib.blake2b(content, key=key, digest_size=8).digest()
        # Images of several classes first: they leave the least choice.
        return -len(held), min(held), -held.total(), shuffled

    sizes: dict[int, Counter[int]] = defaultdict(Counter)  # images of a class by fold
    total: Counter[int] = Counter()
    chosen: dict[bytes, int] = {}
    for content in sorted(groups, key=place):
        held = groups[content]

        def fullness(fold: int, held: Counter[int] = held) -> tuple[int, int, int]:
            return sum(sizes[label][fold] for label in held), total[fold], fold

        fold = min(range(folds), key=fullness)
        chosen[content] = fold
        total[fold] += held.total()
        for label, count in held.items():
            sizes[label][fold] += count
    return np.array([chosen[content] for content in hashes], np.int64)


def foldable(data: Dataset, judged: int) -> tuple[int, int] | None:
    """In how many folds how many images could be judged, where that says clearly more.

    Args:
        data: In its parts.
        judged: Images that are judged without folds.

    >>> from convscope.data import load
    >>> foldable(load("digits"), 359)
    (5, 1797)
    """
    labels = torch.cat([data.parts[name].labels for name in to_train_on(data)])
    counts = torch.bincount(labels[labels >= 0])
    folds = min(USUAL, int(counts[counts > 0].min())) if len(counts) else 0
    if folds < 2 or len(labels) < CLEARLY_MORE * judged:
        return None
    return folds, len(labels)


def require_foldable(data: Dataset, folds: int) -> None:
    """Refuses classes that are too small for so many folds.

    Args:
        data: As ``pooled`` makes it.
        folds: How many are wanted.

    Raises:
        ArgumentError: More folds than a class has images, copies not counted; says how
            many are possible.
        DataError: A class has a single image.
    """
    hashes = content_hashes(data.train.pixels)
    different: dict[int, set[bytes]] = defaultdict(set)
    for content, label in zip(hashes, data.train.labels.tolist(), strict=True):
        different[label].add(content)
    counts = {data.classes[label]: len(found) for label, found in different.items()}
    if lonely := [name for name, count in counts.items() if count == 1]:
        raise DataError(
            f"cross_validate: {counted(len(lonely), 'class')} of {len(data.classes)} "
            f"with one image, copies not counted ({listed(sorted(lonely))}): a network "
            "that has not seen it cannot know the class. Add images, or leave it out."
        )
    name = min(counts, key=lambda each: counts[each])
    if counts[name] < folds:
        raise ArgumentError(
            f"cross_validate: folds={folds}, but class {name!r} has "
            f"{counted(counts[name], 'image')} (copies not counted), fewer than folds.",
            remedies=[
                Remedy("take fewer folds", "folds", counts[name]),
                Remedy("add images of that class"),
            ],
        )


def to_train_on(data: Dataset) -> list[str]:
    """Parts that a source which names its test part does not keep from training."""
    return [
        name for name in data.parts if name != "test" or name not in data.named_parts
    ]
