"""Pictures that look alike: perceptual hashes, compared in blocks, then confirmed."""

import json
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import numpy as np

from convscope.data.folders.file_records import write

BLOCK = 32, 4096  # rows, columns of the table of distances made at a time: in cache
ALIKE = 0.99  # least correlation of thumbnails: hashes alone confuse plain pictures
FLAT = 2.0  # gray levels of standard deviation, below which there is nothing to compare
SLACK = 0.02  # of the spectrum's root mean square: rounding stays below
_ONES = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)


def perceptual_hashes(thumbnails: np.ndarray) -> np.ndarray:
    """64 bits per picture that small changes leave alone.

    The lowest 8 x 8 frequencies of the cosine transform, each 1 where clearly above
    their median, so that those that are absent are all 0. The constant is left out.

    Shape:
        thumbnails: (N, S, S) uint8
        return:     (N,) uint64

    Source:
        The "pHash" of Zauner 2010, Implementation and Benchmarking of Perceptual
        Image Hash Functions; there the picture is 32 x 32 and there is no slack.

    >>> picture = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    >>> bool(perceptual_hashes(picture) == perceptual_hashes(picture // 2))
    True
    """
    size = thumbnails.shape[-1]
    k, x = np.arange(8)[:, None], np.arange(size)[None]
    cosines = np.cos(np.pi * k * (2 * x + 1) / (2 * size)).astype(np.float32)
    spectrum = (cosines @ thumbnails.astype(np.float32) @ cosines.T).reshape(-1, 64)
    spectrum[:, 0] = 0
    size_of_noise = SLACK * np.sqrt((spectrum**2).mean(axis=1, keepdims=True))
    bits = spectrum > np.median(spectrum, axis=1, keepdims=True) + size_of_noise
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


def distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Number of bits in which each hash differs from each.

    Shape:
        left:   (M,) uint64
        right:  (N,) uint64
        return: (M, N) uint8

    >>> distances(np.array([0, 7], np.uint64), np.array([1], np.uint64)).tolist()
    [[1], [2]]
    """
    differing = left[:, None] ^ right[None]
    if hasattr(np, "bitwise_count"):  # NumPy 2
        counted: np.ndarray = np.bitwise_count(differing)
        return counted
    counted = np.add.reduce(_ONES[differing[..., None].view(np.uint8)], -1, np.uint8)
    return np.asarray(counted)


def near_pairs(
    thumbnails: np.ndarray, near: int, first: int | None = None
) -> np.ndarray:
    """Pairs of pictures that are alike, the earlier one first.

    Two are alike if their hashes differ in at most ``near`` bits and their thumbnails
    correlate to at least 0.99. A picture without contrast is like none.

    Args:
        thumbnails: Gray pictures.
        near: Bits in which hashes may differ.
        first: How many of the pictures are compared with all that follow them; by
            default each is.

    Shape:
        thumbnails: (N, S, S) uint8
        return:     (pairs, 2) int64

    >>> ramp = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    >>> pictures = np.concatenate([ramp, ramp.transpose(0, 2, 1), ramp // 2])
    >>> near_pairs(pictures, 6).tolist(), near_pairs(pictures[::-1], 6, 0).tolist()
    ([[0, 2]], [])
    """
    none = np.empty((0, 2), np.int64)
    if len(thumbnails) < 2:
        return none
    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    spread = flat.std(axis=1)
    eligible = np.flatnonzero(spread >= FLAT)
    if eligible.size < 2:
        return none
    chosen = flat[eligible]
    chosen = (chosen - chosen.mean(axis=1, keepdims=True)) / (
        spread[eligible, None] * np.sqrt(np.float32(chosen.shape[1]))
    )
    hashes = perceptual_hashes(thumbnails[eligible])
    count = len(hashes) if first is None else int(np.searchsorted(eligible, first))
    found = [none]
    for start, column in _blocks(count, len(hashes)):
        ours = hashes[start : min(start + BLOCK[0], count)]
        table = distances(ours, hashes[column : column + BLOCK[1]]) <= near
        rows, columns = np.divmod(np.flatnonzero(table), table.shape[1])
        rows, columns = rows + start, columns + column
        later = columns > rows
        rows, columns = rows[later], columns[later]
        for begin in range(0, len(rows), 65536):
            some = slice(begin, begin + 65536)
            left, right = rows[some], columns[some]
            alike = (chosen[left] * chosen[right]).sum(axis=1) >= ALIKE
            pairs = np.stack([left[alike], right[alike]], axis=1)
            found.append(eligible[pairs].astype(np.int64))
    return np.concatenate(found)


def _blocks(rows: int, columns: int) -> Iterator[tuple[int, int]]:
    """Where blocks begin that hold something right of the diagonal."""
    for start in range(0, rows, BLOCK[0]):
        for column in range(start - start % BLOCK[1], columns, BLOCK[1]):
            yield start, column


def near_groups(thumbnails: np.ndarray, near: int) -> list[list[int]]:
    """Groups of pictures linked by being alike, each with its members in order.

    Shape:
        thumbnails: (N, S, S) uint8

    >>> ramp = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    >>> near_groups(np.concatenate([ramp, ramp.transpose(0, 2, 1), ramp // 2]), 6)
    [[0, 2]]
    """
    return grouped(near_pairs(thumbnails, near))


def grouped(pairs: np.ndarray) -> list[list[int]]:
    """Numbers that pairs link, directly or by others.

    >>> grouped(np.array([[0, 4], [2, 3], [1, 4]]))
    [[0, 1, 4], [2, 3]]
    """
    leader: dict[int, int] = {}

    def find(i: int) -> int:
        while leader[i] != i:
            leader[i] = leader[leader[i]]
            i = leader[i]
        return i

    for i, j in pairs.tolist():
        leader.setdefault(i, i)
        leader.setdefault(j, j)
        a, b = find(i), find(j)
        leader[max(a, b)] = min(a, b)
    groups: dict[int, list[int]] = {}
    for i in sorted(leader):
        groups.setdefault(find(i), []).append(i)
    return list(groups.values())


def kept_near_groups(thumbnails: np.ndarray, near: int, path: Path) -> list[list[int]]:
    """``near_groups``, found in ``path`` if these thumbnails were compared before."""
    key = blake2b(f"{near}|{ALIKE}|{FLAT}|{SLACK}|".encode(), digest_size=16)
    key.update(np.ascontiguousarray(thumbnails).data)
    name = key.hexdigest()
    try:
        kept = json.loads(path.read_text())
        groups = [[int(i) for i in group] for group in kept["groups"]]
        largest = max((i for group in groups for i in group), default=-1)
        if kept["key"] == name and largest < len(thumbnails):
            return groups
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there, or damaged
    groups = near_groups(thumbnails, near)
    write(path, {"key": name, "groups": groups})
    return groups
