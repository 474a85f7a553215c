"""Arrays for the page: one binary answer, a JSON header and the numbers behind it.

``length of the header, uint32 little-endian | header, JSON, padded with spaces so that
the numbers begin at a multiple of 8 | arrays, each from a multiple of 8``

The header's ``arrays`` has for each its ``name``, ``shape``, ``type`` (``float16`` or
``float32``), ``offset`` in bytes from where the numbers begin, and ``low`` and
``high``, the range of its numbers before rounding. Numbers too large for float16 are
sent as float32.
"""

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

LARGEST = float(np.finfo(np.float16).max)
MEDIA_TYPE = "application/octet-stream"


def encoded(
    header: Mapping[str, Any],
    arrays: Mapping[str, npt.NDArray[Any]],
    *,
    exact: frozenset[str] = frozenset(),
) -> bytes:
    """A header and arrays as bytes.

    Args:
        header: Anything that is JSON; ``arrays`` is added.
        arrays: By name.
        exact: Which of them are sent as float32.

    >>> found, arrays = decoded(encoded({"a": 1}, {"x": np.float32([[1, 2]])}))
    >>> found["a"], arrays["x"].tolist()
    (1, [[1.0, 2.0]])
    """
    parts: list[bytes] = []
    listed, offset = [], 0
    for name, values in arrays.items():
        low, high = _range(values)
        wide = name in exact or max(abs(low), abs(high)) > LARGEST
        kind = "float32" if wide else "float16"
        data = np.ascontiguousarray(values, "<f4" if wide else "<f2").tobytes()
        listed.append(
            {
                "name": name, "shape": list(values.shape), "type": kind,
                "offset": offset, "low": low, "high": high,
            }
        )  # fmt: skip
        data += b"\0" * (-len(data) % 8)
        parts.append(data)
        offset += len(data)
    text = json.dumps({**header, "arrays": listed}, allow_nan=False).encode()
    text += b" " * (-(len(text) + 4) % 8)
    return b"".join([struct.pack("<I", len(text)), text, *parts])


def _range(values: npt.NDArray[Any]) -> tuple[float, float]:
    if not values.size:
        return 0.0, 0.0
    return float(values.min()), float(values.max())


def decoded(answer: bytes) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """What ``encoded`` wrote, as the page reads it."""
    (length,) = struct.unpack_from("<I", answer)
    header = json.loads(answer[4 : 4 + length])
    arrays = {}
    for one in header.pop("arrays"):
        count = int(np.prod(one["shape"], dtype=np.int64))
        kind = np.dtype("<f2" if one["type"] == "float16" else "<f4")
        values = np.frombuffer(answer, kind, count, 4 + length + one["offset"])
        arrays[one["name"]] = values.reshape(one["shape"]).astype(np.float32)
    return header, arrays
