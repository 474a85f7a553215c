"""The batches of CIFAR-10: the pickled "python version" and the binary version.

A pickle is a program. What runs here is a small part of its language, checked before it
starts, and the three names that a pickled array needs stand for classes of this file
that only keep what they are given; nothing else can be named, so nothing can be called.
"""

import io
import math
import pickle
import pickletools
from typing import Any

import numpy as np

from convscope.errors import DataError

OPERATIONS = frozenset(
    {
        *("PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "LONG1"),
        *("BININT", "BININT1", "BININT2", "BINSTRING", "SHORT_BINSTRING"),
        *("BINBYTES", "SHORT_BINBYTES", "BINUNICODE", "SHORT_BINUNICODE"),
        *("EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS"),
        *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
        *("BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET"),
        *("GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"),
    }
)
IMAGE = (3, 32, 32)
PIXELS = math.prod(IMAGE)


class _Name:
    """What ``numpy.ndarray`` stands for: an argument that is passed and not used."""


class _Dtype:
    """What ``numpy.dtype`` makes: it remembers its code, and is never a real dtype."""

    def __init__(self, code: object, *rest: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        """A dtype's state is its byte order, which bytes do not have."""


class _Array:
    """What ``_reconstruct`` makes: it becomes an array of bytes, or an error."""

    def __init__(self, *rest: object) -> None:
        self.array: np.ndarray = np.empty(0, np.uint8)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        code = dtype.code.decode() if isinstance(dtype.code, bytes) else dtype.code
        if code != "u1" or fortran or not isinstance(data, bytes):
            raise pickle.UnpicklingError("holds an array that is not of unsigned bytes")
        if len(data) != math.prod(shape):
            raise pickle.UnpicklingError(
                f"holds {len(data):,} bytes for an array of shape {shape}"
            )
        self.array = np.frombuffer(data, np.uint8).reshape(shape)


ALLOWED = {
    (module, name): stand_in
    for module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy")
    for name, stand_in in (
        ("_reconstruct", _Array),
        ("ndarray", _Name),
        ("dtype", _Dtype),
    )
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"asks to run {module}.{name}")
        return ALLOWED[module, name]


def unpickle(content: bytes, *, where: str) -> Any:
    """The value in a pickle of arrays, bytes, strings, numbers, lists and dicts.

    Args:
        content: The whole file, decompressed.
        where: The file's name, for messages.

    Returns:
        The value; text written by Python 2 comes as ``bytes``.

    Raises:
        DataError: The pickle holds or does anything else, or is damaged.

    >>> unpickle(pickle.dumps({b"labels": [6, 9]}, protocol=4), where="batch")
    {b'labels': [6, 9]}
    """
    try:
        memo = 0  # the C unpickler allocates up to the largest index it is told
        for operation, argument, _ in pickletools.genops(content):
            if operation.name not in OPERATIONS:
                raise pickle.UnpicklingError(f"uses the operation {operation.name}")
            if operation.name in ("BINPUT", "LONG_BINPUT"):
                memo += 1
                if int(argument or 0) > 2 * memo + 256:
                    raise pickle.UnpicklingError(f"numbers a value {argument}")
        return _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{where}: refused, it {error}. A batch holds only arrays, bytes, strings, "
            "lists and dictionaries. Get the published file."
        ) from None
    except Exception as error:  # whatever a damaged or hostile pickle runs into
        raise DataError(
            f"{where}: is not a readable pickle ({type(error).__name__}: {error}). "
            "Get the published file."
        ) from None


def parse_python_batch(content: bytes, *, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of a batch of the python version.

    Shape:
        images: (N, 3, 32, 32) uint8, not writable
        labels: (N,) uint8

    Raises:
        DataError: Not such a batch; see ``unpickle``.

    Source:
        Krizhevsky, "The CIFAR-10 dataset", section "Dataset layout".
    """
    batch = unpickle(content, where=where)
    if not isinstance(batch, dict):
        raise DataError(f"{where}: holds a {type(batch).__name__}, not a dictionary.")
    entries = {k.decode() if isinstance(k, bytes) else k: v for k, v in batch.items()}
    data, labels = entries.get("data"), entries.get("labels")
    if not isinstance(data, _Array) or not isinstance(labels, list):
        raise DataError(
            f"{where}: a batch has an array 'data' and a list 'labels'; "
            f"this one has {sorted(map(str, entries))}."
        )
    if data.array.shape[1:] != (PIXELS,):
        raise DataError(
            f"{where}: 'data' has shape {data.array.shape}, not (N, {PIXELS})."
        )
    if len(labels) != len(data.array):
        raise DataError(
            f"{where}: {len(data.array):,} images and {len(labels):,} labels."
        )
    if not all(type(label) is int and 0 <= label <= 9 for label in labels):
        raise DataError(f"{where}: 'labels' must be integers from 0 to 9.")
    return data.array.reshape(-1, *IMAGE), np.array(labels, np.uint8)


def parse_binary_batch(content: bytes, *, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of a batch of the binary version: label, then pixels, N times.

    Shape:
        images: (N, 3, 32, 32) uint8, not writable
        labels: (N,) uint8

    Raises:
        DataError: The length is not a multiple of 3,073 bytes, or a label is not 0-9.

    Source:
        Krizhevsky, "The CIFAR-10 dataset", section "Binary version".

    >>> images, labels = parse_binary_batch(bytes([7]) + bytes(3072), where="batch")
    >>> images.shape, labels
    ((1, 3, 32, 32), array([7], dtype=uint8))
    """
    if not content or len(content) % (1 + PIXELS):
        raise DataError(
            f"{where}: {len(content):,} bytes are not a whole number of images of "
            f"{1 + PIXELS:,} bytes. Get it again."
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, 1 + PIXELS)
    if (worst := int(rows[:, 0].max())) > 9:
        raise DataError(f"{where}: holds the label {worst}; labels are 0 to 9.")
    return rows[:, 1:].reshape(-1, *IMAGE), rows[:, 0].copy()
