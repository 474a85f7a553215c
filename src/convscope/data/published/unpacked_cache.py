"""CIFAR-10 unpacked once: its batches take seconds to decompress, this a moment."""

import contextlib
import os
import tempfile
from hashlib import blake2b
from pathlib import Path

import numpy as np

from convscope.data.published.catalog import StandardSet
from convscope.data.published.content import Published
from convscope.data.published.local_files import Found


def _file(card: StandardSet, found: Found, cache: Path) -> Path:
    """Its name changes when one of the files does."""
    key = blake2b(digest_size=8)
    for path in found.paths:
        status = path.stat()
        key.update(f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}".encode())
    return cache / "decoded" / f"{card.name}-{key.hexdigest()}.npy"


def recall(card: StandardSet, found: Found, cache: Path) -> Published | None:
    """What ``keep`` wrote for these very files, mapped into memory; or None."""
    count = card.train_count + card.test_count
    try:
        # "c": private pages, so that nothing can be written back
        rows = np.load(_file(card, found, cache), mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if rows.dtype != np.uint8 or rows.shape != (count, 1 + int(np.prod(card.shape))):
        return None
    images = np.asarray(rows)[:, 1:].reshape(count, *card.shape)
    return Published(images, np.array(rows[:, 0]), card.train_count)


def keep(card: StandardSet, found: Found, cache: Path, data: Published) -> None:
    """Writes a row per image, its label first, for ``recall``; replaces older ones.

    Files that are not the published ones are not kept, nor is anything when the cache
    cannot be written: it only saves time.
    """
    if data.notes or data.train_count != card.train_count:
        return
    target = _file(card, found, cache)
    with contextlib.suppress(OSError):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                flat = data.images.reshape(len(data.images), -1)
                np.save(file, np.concatenate([data.labels[:, None], flat], axis=1))
            for older in target.parent.glob(f"{card.name}-*.npy"):
                older.unlink()
            Path(temporary).replace(target)
        finally:
            Path(temporary).unlink(missing_ok=True)
