"""Which part a sample belongs to, decided by its content alone."""

import hashlib
from collections.abc import Iterable, Sequence

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
    """``content_hash`` of every image along the first axis."""
    return [content_hash(image) for image in np.asarray(images)]


def check_fractions(where: str, *, validation: float, test: float) -> None:
    """Refuses shares that are negative or leave nothing to train on.

    Raises:
        ArgumentError: A share outside [0, 1), or both together 1 or more.
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

    The first 8 bytes of a hash are read as a number in [0, 1): below ``test`` the
    sample is tested on, in the next ``validation`` it is validated on, else it is
    trained on. So each class separately gets its shares, up to chance; equal images
    share a part whatever their class; and new images move no old one.

    The exception: a class that this leaves without a training, test or validation
    image is lent one, the lowest hash among its images in a part that can spare it
    (in that order of importance, when there are too few for all three). The loan ends
    when the class has grown to have an image of its own there.

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

    >>> hashes = [b"\x00" * 8, b"\x20" * 8, b"\xff" * 8]
    >>> assign(hashes, [0, 0, 0], validation=0.1, test=0.1)
    array([2, 1, 0])
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
    number = np.frombuffer(b"".join(h[:8] for h in hashes), ">u8") / 2.0**64
    parts = np.where(number < test, TEST, TRAIN)
    parts[(number >= test) & (number < test + validation)] = VALIDATION
    wanted = [TRAIN] + [TEST] * (test > 0) + [VALIDATION] * (validation > 0)
    classes = np.asarray(labels)
    for label in np.unique(classes):
        members = np.flatnonzero(classes == label)
        if len(set(parts[members].tolist())) < len(wanted):
            _lend(parts, hashes, classes, members, wanted)
    return parts


def _lend(
    parts: np.ndarray,
    hashes: Sequence[bytes],
    classes: np.ndarray,
    members: np.ndarray,
    wanted: list[int],
) -> None:
    """Moves images of one class so that each wanted part has one, if it can."""
    others = np.flatnonzero(classes != classes[members[0]]).tolist()
    part_of = {hashes[i]: int(parts[i]) for i in members.tolist()}
    outside = {hashes[i] for i in others}
    own = sorted(part_of.keys() - outside)  # an image of two classes is never lent
    for rank, part in enumerate(wanted):
        held = list(part_of.values())
        if part in held:
            continue
        less_important = wanted[rank + 1 :]
        for candidate in own:
            donor = part_of[candidate]
            if held.count(donor) > 1 or donor in less_important:
                part_of[candidate] = part
                break
    for i in members.tolist():
        parts[i] = part_of[hashes[i]]


def share_out(parts: np.ndarray) -> Iterable[np.ndarray]:
    """The indices of the training, validation and test samples, in their order."""
    return (np.flatnonzero(parts == part) for part in (TRAIN, VALIDATION, TEST))
