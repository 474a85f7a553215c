"""IDX, the format of the MNIST files: a header of big-endian sizes, then bytes."""

import math
import struct
from pathlib import Path

import numpy as np

from convscope.data.published.compressed import read_bytes
from convscope.errors import DataError

UNSIGNED_BYTE = 0x08
TYPES = {0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}


def parse(content: bytes, *, where: str, ndim: int) -> np.ndarray:
    """The array in the content of an IDX file.

    Args:
        content: The whole file, decompressed.
        where: The file's name, for messages.
        ndim: Number of axes expected: 3 for images, 1 for labels.

    Shape:
        return: (N, H, W) or (N,) uint8, not writable

    Raises:
        DataError: Not an IDX file of unsigned bytes with ``ndim`` axes, or its length
            is not what its header says.

    Source:
        LeCun, Cortes, Burges, "The MNIST database", section "The IDX file format".
        Only unsigned bytes are read here.

    >>> parse(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]), where="labels", ndim=1)
    array([7, 9], dtype=uint8)
    """
    if len(content) < 4 or content[:2] != b"\0\0":
        raise DataError(
            f"{where}: not an IDX file; it starts with "
            f"{content[:4].hex(' ') or 'nothing'}, not with 00 00 08 {ndim:02x}. "
            "Get the published file."
        )
    kind, axes = content[2], content[3]
    if kind != UNSIGNED_BYTE:
        raise DataError(
            f"{where}: holds {TYPES.get(kind, f'type 0x{kind:02x}')}, "
            "but images and labels are unsigned bytes (0x08)."
        )
    if axes != ndim:
        raise DataError(f"{where}: has {axes} axes, but {ndim} are needed.")
    start = 4 + 4 * axes
    if len(content) < start:
        raise DataError(
            f"{where}: is cut short inside its header of {start} bytes "
            f"({len(content)} are there). Get it again."
        )
    shape = struct.unpack(f">{axes}I", content[4:start])
    size = math.prod(shape)
    if len(content) - start != size:
        problem = "is cut short" if len(content) - start < size else "is too long"
        raise DataError(
            f"{where}: {problem}: the header says {shape}, {size:,} bytes, but "
            f"{len(content) - start:,} follow. Get it again."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def read(path: Path, *, ndim: int, limit: int) -> np.ndarray:
    """``parse`` of a file, plain, gzip or xz, of at most ``limit`` bytes unpacked."""
    return parse(read_bytes(path, limit=limit), where=str(path), ndim=ndim)
