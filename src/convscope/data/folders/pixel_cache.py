"""Decoded pixels on disk, whole or absent, mapped into memory when used again."""

import contextlib
import json
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
from torch import Tensor

from convscope.data.preprocessing import Preprocessing
from convscope.errors import DataError

CURE = "Set XDG_CACHE_HOME to a folder that can be written, or pass cache_dir."
KEPT = 4  # sets of pixels per folder: as many settings can be switched between
_DECODING = b"2"  # changes with what becomes of the same file
_SPOT = 1 << 16  # bytes per place that is looked at again


def home(cache: Path, folder: Path) -> Path:
    """Where everything about one folder of images is kept.

    >>> home(Path("/cache"), Path("/photos/my pets")).name.rsplit("-", 1)[0]
    'my-pets'
    """
    slug = re.sub(r"[^A-Za-z0-9]+", "-", folder.name)[:40].strip("-") or "folder"
    key = blake2b(os.fsencode(folder), digest_size=8).hexdigest()
    return cache / "folders" / f"{slug}-{key}"


def key_of(preprocessing: Preprocessing, contents: Iterable[str]) -> str:
    """The name of pixels that follow from these pictures in this order."""
    declared = preprocessing.model_dump_json(exclude={"mean", "std"})
    digest = blake2b(_DECODING + declared.encode(), digest_size=12)
    for content in contents:
        digest.update(bytes.fromhex(content))
    return digest.hexdigest()


def recall(place: Path, key: str) -> np.ndarray | None:
    """The pixels kept under ``key``, or None if they are not there or not whole.

    The file must be the very one that was written (length, time of change), and the
    checksum of 64 places in it must agree. Pages are private: nothing that is done to
    the pixels reaches the file.
    """
    path = place / f"{key}.npy"
    try:
        meta = json.loads(path.with_suffix(".json").read_text())
        status = path.stat()
        if [status.st_size, status.st_mtime_ns] != meta["file"]:
            return None
        if _spot_checksum(path) != meta["checksum"]:
            return None
        pixels: np.ndarray = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pixels


def with_statistics(
    place: Path, key: str, preprocessing: Preprocessing, pixels: Tensor
) -> Preprocessing:
    """Mean and standard deviation of the first ``len(pixels)`` rows under ``key``.

    Measured once and kept beside the pixels, where that can be written.
    """
    path = place / f"{key}.{len(pixels)}.statistics"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(path.read_text())
        known = {name: tuple(map(float, kept[name])) for name in ("mean", "std")}
        return Preprocessing(**{**preprocessing.model_dump(), **known})
    measured = preprocessing.with_statistics(pixels)
    with contextlib.suppress(OSError):
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps({"mean": measured.mean, "std": measured.std}))
        temporary.replace(path)
    return measured


def writer(
    place: Path, rows: int, shape: tuple[int, ...], dtype: type
) -> "PixelWriter | PixelHolder":
    """A ``PixelWriter``, or where the folder cannot be written what holds in memory."""
    try:
        return PixelWriter(place, rows, shape, dtype)
    except DataError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        reason = error.__cause__.strerror or str(error.__cause__)
        return PixelHolder(place, rows, shape, dtype, reason)


class PixelHolder:
    """Does in memory what a ``PixelWriter`` does on disk; nothing is kept.

    Args:
        place: Folder that cannot be written.
        rows: How many are expected.
        shape: (C, *space) of one row.
        dtype: Type of a pixel.
        reason: Why the folder cannot be written.

    Attributes:
        trouble: What to tell about it.

    Raises:
        DataError: They do not fit into memory.
    """

    def __init__(
        self,
        place: Path,
        rows: int,
        shape: tuple[int, ...],
        dtype: type,
        reason: str,
    ) -> None:
        self.count = 0
        try:
            self._rows: np.ndarray = np.empty((rows, *shape), dtype)
        except MemoryError:
            raise DataError(
                f"cache: {place} cannot be written ({reason}), and the pixels do not "
                f"fit into memory. {CURE}"
            ) from None
        megabytes = self._rows.nbytes / 1e6
        self.trouble = [
            f"The cache {place} cannot be written ({reason}): {megabytes:,.1f} MB of "
            f"pixels are held in memory, and decoded again the next time. {CURE}"
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is left behind."""

    def append(self, row: np.ndarray) -> None:
        """Adds one row."""
        self._rows[self.count] = row
        self.count += 1

    def finish(self, order: np.ndarray, key: str) -> np.ndarray:
        """The rows in ``order``."""
        ordered: np.ndarray = self._rows[order]
        return ordered


class PixelWriter:
    """Writes rows one after the other, then puts them in order under their key.

    Plain writes, not a memory map: on a full disk a map ends the process. What was
    begun and not finished is removed.

    Args:
        place: Folder to write to; made if missing.
        rows: How many are expected.
        shape: (C, *space) of one row.
        dtype: Type of a pixel.

    Attributes:
        trouble: What to tell: nothing.

    Raises:
        DataError: The folder cannot be written, or the disk is full.
    """

    def __init__(
        self, place: Path, rows: int, shape: tuple[int, ...], dtype: type
    ) -> None:
        self.place, self.shape, self.dtype = place, shape, np.dtype(dtype)
        self.needed = rows * int(np.prod(shape)) * self.dtype.itemsize
        self.count = 0
        self.trouble: list[str] = []
        self._temporary: list[Path] = []
        with self._explained():
            place.mkdir(parents=True, exist_ok=True)
            self._file = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        for path in self._temporary:
            path.unlink(missing_ok=True)

    def append(self, row: np.ndarray) -> None:
        """Adds one row."""
        with self._explained():
            self._file.write(np.ascontiguousarray(row, self.dtype).data)
        self.count += 1

    def finish(self, order: np.ndarray, key: str) -> np.ndarray:
        """The rows in ``order``, kept under ``key`` and mapped into memory."""
        target = self.place / f"{key}.npy"
        with self._explained():
            self._file.close()
            count = (self.count, *self.shape)
            rows = np.memmap(self._temporary[0], self.dtype, mode="r", shape=count)
            with self._open() as out:
                header = {
                    "descr": np.lib.format.dtype_to_descr(self.dtype),
                    "fortran_order": False,
                    "shape": (len(order), *self.shape),
                }
                np.lib.format.write_array_header_1_0(out, header)
                for start in range(0, len(order), 1024):
                    out.write(rows[order[start : start + 1024]].data)
                out.flush()
                os.fsync(out.fileno())
            del rows
            written = self._temporary[-1]
            status = written.stat()
            meta = {
                "file": [status.st_size, status.st_mtime_ns],
                "checksum": _spot_checksum(written),
            }
            with self._open() as out:
                out.write(json.dumps(meta).encode())
            self._temporary[-1].replace(target.with_suffix(".json"))
            written.replace(target)
            _forget_old(self.place)
            pixels = recall(self.place, key)
            if pixels is None:  # another process has just written the same
                pixels = np.load(target, mmap_mode="c", allow_pickle=False)
        return pixels

    def _open(self) -> IO[bytes]:
        handle, name = tempfile.mkstemp(dir=self.place, suffix=".tmp")
        self._temporary.append(Path(name))
        return os.fdopen(handle, "wb")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns what the disk says into one sentence with numbers."""
        try:
            yield
        except OSError as error:
            free = ""
            with contextlib.suppress(OSError):
                free = f", {shutil.disk_usage(self.place).free / 1e6:,.1f} MB are free"
            raise DataError(
                f"cache: {self.place} cannot be written ({error.strerror or error}); "
                f"{2 * self.needed / 1e6:,.1f} MB are needed{free}. Make room, or "
                f"use another place: {CURE}"
            ) from error


def _spot_checksum(path: Path) -> int:
    """CRC-32 of the start and of 64 places spread evenly over the file."""
    total, size = 0, path.stat().st_size
    with path.open("rb") as file:
        for spot in range(64):
            file.seek(max(0, size - _SPOT) * spot // 63)
            total = zlib.crc32(file.read(_SPOT), total)
    return total


def _forget_old(place: Path) -> None:
    """Keeps the pixels that were written last."""
    kept = sorted(place.glob("*.npy"), key=lambda p: p.stat().st_mtime_ns)
    for path in kept[:-KEPT]:
        for file in place.glob(f"{path.stem}.*"):
            file.unlink(missing_ok=True)
