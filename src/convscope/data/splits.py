"""Which part a sample belongs to, decided by its content alone."""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from torch import Tensor

from convscope.errors import ArgumentError

TRAIN, VALIDATION, TEST = 0, 1, 2


def content_hash(pixels: np.ndarray) -> bytes:
    """16 bytes that are equal for equal images: blake2b of shape, dtype and pixels.

    >>> content_hash(np.zeros((1, 2, 2), np.uint8)).hex()[:8]
    '13400f8c'
    """
    digest = hashlib.blake2b(f"{pixels.shape}{pixels.dtype}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()


def content_hashes(images: np.ndarray | Tensor) -> list[bytes]:
    """``content_hash`` of every image along the first axis.

    >>> first, second = content_hashes(np.zeros((2, 1, 2, 2), np.uint8))
    >>> first == second
    True
    """
    return [content_hash(image) for image in np.asarray(images)]


def check_fractions(where: str, *, validation: float, test: float) -> None:
    """Refuses shares that are negative or leave nothing to train on.

    Raises:
        ArgumentError: A share outside [0, 1), or both together 1 or more.

    >>> check_fractions("load", validation=0.1, test=0.2)  # nothing to object to
    """
    for name, value in (("validation", validation), ("test", test)):
        if not 0 <= value < 1:
            raise ArgumentError(
                f"{where}: {name}={value} is not a share of the samples. "
                "Use a number from 0 to below 1."
            )
    if validation + test >= 1:
        raise ArgumentError(
            f"{where}: validation={validation} and test={test} take "
            f"{validation + test:g} of the samples and leave none to train on. "
            "Use shares that sum to less than 1."
        )


def assign(
    hashes: Sequence[bytes],
    labels: Sequence[int] | np.ndarray,
    *,
    validation: float,
    test: float,
) -> np.ndarray:
    r"""The part of each sample: 0 training, 1 validation, 2 test.

    In each class the images are put in the order of their hashes: the first
    ``round(test * n)`` are tested on, the next ``round(validation * n)`` are validated
    on, the others are trained on. So every class has its exact shares, and a part has
    at least one image of each class that has enough (training comes first, then
    testing). Equal images share a part, also those of two classes; what copies make
    uneven is kept as even as they allow.

    An image that is added moves at most three older ones of its class (those whose
    hashes are next to a boundary), and none of another class; n images added at once
    move about the square root of n.

    Args:
        hashes: One per sample, at least 8 bytes each, evenly distributed.
        labels: One per sample, any integers.
        validation: Share of the samples to validate on, in [0, 1).
        test: Share of the samples to test on, in [0, 1).

    Shape:
        return: (N,) int64

    Raises:
        ArgumentError: A share outside its interval, not as many labels as hashes,
            or a hash that is too short.

    >>> hashes = [bytes([i]) * 8 for i in range(10)]
    >>> assign(hashes, [0] * 10, validation=0.1, test=0.2)
    array([2, 2, 1, 0, 0, 0, 0, 0, 0, 0])
    """
    check_fractions("assign", validation=validation, test=test)
    if len(hashes) != len(labels):
        raise ArgumentError(
            f"assign: {len(hashes)} hashes and {len(labels)} labels were given. "
            "Give one of each per sample."
        )
    if short := next((h for h in hashes if len(h) < 8), None):
        raise ArgumentError(
            f"assign: a hash has {len(short)} bytes; at least 8 are needed."
        )
    copies: dict[int, Counter[bytes]] = defaultdict(Counter)
    classes = np.asarray(labels).tolist()
    for content, label in zip(hashes, classes, strict=True):
        copies[label][content] += 1
    seen = Counter(content for own in copies.values() for content in own)
    part_of = {
        content: _part_by_hash(content, validation, test)
        for content, count in seen.items()
        if count > 1
    }
    for own in copies.values():
        part_of |= _divided(own, part_of, validation, test)
    return np.array([part_of[content] for content in hashes], np.int64)


def _part_by_hash(content: bytes, validation: float, test: float) -> int:
    """The part of an image that several classes hold: its hash alone decides."""
    number = int.from_bytes(content[:8], "big") / 2.0**64
    if number < test:
        return TEST
    return VALIDATION if number < test + validation else TRAIN


def _divided(
    copies: Mapping[bytes, int],
    decided: Mapping[bytes, int],
    validation: float,
    test: float,
) -> dict[bytes, int]:
    """The parts of the images of one class that no other class holds."""
    held = {TRAIN: 0, VALIDATION: 0, TEST: 0}
    for content, count in copies.items():
        if content in decided:
            held[decided[content]] += count
    total = sum(copies.values())
    wanted = {TEST: _quota(test, total), VALIDATION: _quota(validation, total)}
    parts = {}
    for content in sorted(copies.keys() - decided.keys()):
        count = copies[content]
        # copies come or go together: whichever leaves the part nearer to its share
        fits = (p for p in wanted if held[p] + count / 2 <= wanted[p])
        part = parts[content] = next(fits, TRAIN)
        held[part] += count
    _fill_empty_parts(parts, held, copies, test > 0, validation > 0)
    return parts


def _quota(share: float, total: int) -> int:
    """The images of a class that a part gets: rounded, and one at least."""
    return max(1, math.floor(share * total + 0.5)) if share else 0


def _fill_empty_parts(
    parts: dict[bytes, int],
    held: dict[int, int],
    copies: Mapping[bytes, int],
    test: bool,
    validation: bool,
) -> None:
    """Gives each part an image where a class has enough, the most important first."""
    wanted = [TRAIN] + [TEST] * test + [VALIDATION] * validation
    for rank, part in enumerate(wanted):
        if held[part]:
            continue
        for content in sorted(
            parts, key=lambda c: (-wanted.index(parts[c]), copies[c], c)
        ):
            donor = parts[content]
            if held[donor] > copies[content] or wanted.index(donor) > rank:
                parts[content] = part
                held[donor] -= copies[content]
                held[part] += copies[content]
                break


def share_out(parts: np.ndarray) -> Iterable[np.ndarray]:
    """The indices of the training, validation and test samples, in their order.

    >>> [indices.tolist() for indices in share_out(np.array([0, 2, 1, 0]))]
    [[0, 3], [2], [1]]
    """
    return (np.flatnonzero(parts == part) for part in (TRAIN, VALIDATION, TEST))
