"""Files that anybody may have put into a run folder: looked at, then read."""

import hashlib
import json
import math
import stat
from pathlib import Path
from typing import Any

from convscope.errors import RunError

LARGEST_JSON = 16 * 2**20  # bytes; a spec with 10,000 class names has under 1 MiB
DEEPEST_JSON = 32  # lists and objects within each other; a run's files have 4


def require_regular(path: Path, at_most: int | None = None) -> None:
    """Refuses what is no plain file: pipes and devices give bytes without end.

    Raises:
        FileNotFoundError: There is nothing.
        RunError: It is no plain file, or larger than ``at_most`` bytes.

    >>> require_regular(Path("/dev/null"))
    Traceback (most recent call last):
    convscope.errors.RunError: /dev/null is no plain file; that is no run's file.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise RunError(f"{path} is no plain file; that is no run's file.")
    if at_most is not None and found.st_size > at_most:
        raise RunError(f"{path} has over {at_most:,} bytes; that is no run's file.")


def read_text(path: Path) -> str:
    """The text of a file of a sane size.

    Raises:
        FileNotFoundError: There is nothing.
        RunError: It cannot be read.
    """
    require_regular(path, LARGEST_JSON)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {error}.") from error


def parse_json(text: str, path: Path) -> Any:
    """The value written in ``text``, every number of it finite.

    Raises:
        RunError: It is no JSON, holds NaN or an infinity, or is nested too deeply.

    >>> parse_json('{"a": [1, 2.5]}', Path("notes.json"))
    {'a': [1, 2.5]}
    >>> parse_json("[NaN]", Path("notes.json"))
    Traceback (most recent call last):
    convscope.errors.RunError: notes.json cannot be read: a number is not finite.
    """
    try:
        value = json.loads(text)
        _require_plain(value)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read: {error}.") from error
    return value


def sha256(path: Path) -> str:
    """The checksum of a file's content, in hexadecimal digits.

    Raises:
        FileNotFoundError: There is nothing.
        RunError: It cannot be read.
    """
    require_regular(path)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}.") from error


def _require_plain(value: Any, depth: int = 0) -> None:
    if depth > DEEPEST_JSON:
        raise ValueError(f"it is nested more than {DEEPEST_JSON} deep")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is not finite")
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            _require_plain(each, depth + 1)
