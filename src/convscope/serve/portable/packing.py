"""Facts and numbers as text that stands in a page and ends no script.

Both are deflated. Bytes of numbers are put together by their place within a number
first: those with the exponents are much alike, and deflate well.
"""

import base64
import hashlib
import json
import zlib
from typing import Any

import numpy as np

from convscope.serve.portable.program import Array


def packed_json(facts: Any) -> str:
    """JSON as deflated base64.

    >>> packed_json({}) == base64.b64encode(zlib.compress(b"{}", 9)).decode()
    True
    """
    return _text(json.dumps(facts, separators=(",", ":")).encode())


def packed_numbers(constants: tuple[Array, ...]) -> tuple[str, list[dict[str, Any]]]:
    """All numbers one after the other, and where each array begins.

    Args:
        constants: float32, or all of them float16.

    Returns:
        The text; and of each array shape, type, and the offset in elements.
    """
    listed, offset = [], 0
    for one in constants:
        listed.append(
            {"shape": list(one.shape), "type": one.dtype.name, "offset": offset}
        )
        offset += one.size
    if not constants:
        return _text(b""), listed
    whole = np.concatenate([one.ravel() for one in constants])
    data = whole.astype(whole.dtype.newbyteorder("<")).view(np.uint8)
    return _text(data.reshape(-1, whole.itemsize).T.tobytes()), listed


def digest(text: str) -> str:
    """What a Content-Security-Policy calls a script or a style by.

    >>> digest("")
    'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='
    """
    found = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(found).decode()}"


def _text(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 9)).decode()
