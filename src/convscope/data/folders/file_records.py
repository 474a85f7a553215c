"""What decoding a file once has taught, kept so that it need not be decoded again."""

import base64
import contextlib
import dataclasses
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from PIL import Image

from convscope.data.folders.scan import Entry
from convscope.data.images import Picture, gray16

VERSION = 2  # of the file that facts are kept in
THUMBNAIL = 16  # pixels each way
NOISE = 2  # of 255: what compression does to a picture of one color


@dataclass(frozen=True)
class FileRecord:
    """One image file, as its decoder saw it.

    Attributes:
        path: Relative to the folder.
        size_bytes: Length of the file when it was read.
        mtime_ns: When it had last changed, in nanoseconds.
        reason: Why it cannot be used; empty if it can.
        format: Such as ``"PNG"``.
        mode: Pillow's name for what a pixel is: ``"RGB"``, ``"L"``, ``"I;16"``.
        width: In pixels, upright.
        height: In pixels, upright.
        rotated: Whether EXIF asks for a rotation or reflection.
        content: Hex hash of the upright pixels, the same in every format.
        thumbnail: 16 x 16 gray pixels, base64.
        has_more: Whether it holds more frames or pages than the first, which is read.
        blank: Whether all pixels are alike.

    >>> FileRecord("cat/1.png", 900, 0, mode="I;16").is_wide
    True
    """

    path: str
    size_bytes: int
    mtime_ns: int
    reason: str = ""
    format: str = ""
    mode: str = ""
    width: int = 0
    height: int = 0
    rotated: bool = False
    content: str = ""
    thumbnail: str = ""
    has_more: bool = False
    blank: bool = False

    @property
    def is_wide(self) -> bool:
        """Whether it holds more than 8 bits per channel."""
        return self.mode.startswith("I")


def record_of(entry: Entry, picture: Picture) -> FileRecord:
    """The facts of a file that was read."""
    image = picture.image
    if picture.is_wide:
        wide = gray16(image, entry.path)
        pixels = wide
        small = Image.fromarray((wide >> 8).astype(np.uint8))
    else:
        has_alpha = "A" in image.mode or "transparency" in image.info
        color = image.convert("RGBA" if has_alpha else "RGB")
        pixels = np.asarray(color)
        small = color.convert("L")
    digest = blake2b(f"{pixels.shape}{pixels.dtype}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    flat = pixels.reshape(image.height * image.width, -1)
    span = flat.max(axis=0).astype(np.int64) - flat.min(axis=0)
    small = small.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return FileRecord(
        path=entry.path,
        size_bytes=entry.size_bytes,
        mtime_ns=entry.mtime_ns,
        format=picture.format,
        mode=image.mode,
        width=image.width,
        height=image.height,
        rotated=picture.rotated,
        content=digest.hexdigest(),
        thumbnail=base64.b64encode(small.tobytes()).decode(),
        has_more=picture.has_more,
        blank=bool(span.max() <= NOISE * (257 if picture.is_wide else 1)),
    )


def unusable(entry: Entry, reason: str) -> FileRecord:
    """The facts of a file that could not be read.

    >>> unusable(Entry("cat/1.png", "", "cat", 0, 0), "the file is empty.").reason
    'the file is empty.'
    """
    return FileRecord(entry.path, entry.size_bytes, entry.mtime_ns, reason)


def thumbnails(facts: Iterable[FileRecord]) -> np.ndarray:
    """(N, 16, 16) uint8."""
    data = b"".join(base64.b64decode(f.thumbnail) for f in facts)
    return np.frombuffer(data, np.uint8).reshape(-1, THUMBNAIL, THUMBNAIL)


def recall(path: Path, entries: Iterable[Entry]) -> dict[str, FileRecord]:
    """FileRecord kept in ``path`` about files that have not changed since, by path."""
    try:
        kept = json.loads(path.read_text())
        if kept["version"] != VERSION:
            return {}
        rows = {row[0]: row for row in kept["facts"]}
        found = {}
        for entry in entries:
            row = rows.get(entry.path)
            if row and row[1] == entry.size_bytes and row[2] == entry.mtime_ns:
                facts = found[entry.path] = FileRecord(*row)
                if len(base64.b64decode(facts.thumbnail)) != THUMBNAIL**2:
                    return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return {}
    return found


def keep(path: Path, facts: Mapping[str, FileRecord]) -> None:
    """Writes the facts for ``recall``; not at all where that fails: it saves time only.

    A file that could not be read is left out: the reason may be gone next time.
    """
    names = [field.name for field in dataclasses.fields(FileRecord)]
    rows = [[getattr(f, n) for n in names] for f in facts.values() if not f.reason]
    write(path, {"version": VERSION, "facts": rows})


def write(path: Path, record: object) -> None:
    """Writes JSON, whole or not at all, and not where that fails."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "w") as file:
                json.dump(record, file)
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)
