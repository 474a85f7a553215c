"""Decodes the files of a folder in parallel, each once; bad ones become a reason."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np

from convscope.data import images
from convscope.data.folders import file_records, pixel_cache
from convscope.data.folders.file_records import FileRecord
from convscope.data.folders.scan import Entry, Scan
from convscope.data.preprocessing import Preprocessing
from convscope.data.progress import Progress
from convscope.data.published.local_files import cache_folder
from convscope.errors import BadImageError

CHUNK = 512  # files handed to the threads at a time, so that Ctrl-C is quick
Sink = Callable[[Entry, np.ndarray], None]


def place(listing: Scan, cache_dir: str | Path | None) -> Path:
    """Where everything about this folder is kept."""
    return pixel_cache.home(cache_folder(cache_dir), listing.folder)


def recalled(listing: Scan, at: Path) -> dict[str, FileRecord]:
    """What is known already about files that have not changed, by path."""
    return file_records.recall(at / "facts.json", listing.entries)


def learn(
    listing: Scan,
    at: Path,
    progress: Progress | None = None,
    known: Mapping[str, FileRecord] | None = None,
) -> dict[str, FileRecord]:
    """FileRecord of every file, by path; only files not known yet are decoded."""
    found = dict(recalled(listing, at) if known is None else known)
    missing = [e for e in listing.entries if e.path not in found]
    if missing:
        for entry, fresh, _ in _decoded(listing.folder, missing, {}, None, progress):
            found[entry.path] = fresh
        file_records.keep(at / "facts.json", found)
    return found


def decode(
    listing: Scan,
    entries: Sequence[Entry],
    known: Mapping[str, FileRecord],
    preprocessing: Preprocessing,
    sink: Sink,
    progress: Progress | None,
) -> dict[str, FileRecord]:
    """FileRecord of these files; the pixels of usable ones go to ``sink`` in order."""
    found = {}
    for entry, fresh, pixels in _decoded(
        listing.folder, entries, known, preprocessing, progress
    ):
        found[entry.path] = fresh
        if pixels is not None:
            sink(entry, pixels)
    return found


def headers(
    listing: Scan, known: Mapping[str, FileRecord]
) -> list[tuple[str, tuple[int, int]]]:
    """Mode and (width, height) of every file whose header can be read."""
    found = []
    for entry in listing.entries:
        if fact := known.get(entry.path):
            found.append((fact.mode, (fact.width, fact.height)))
            continue
        try:
            found.append(images.peek(listing.folder / entry.path))
        except BadImageError:
            continue  # decoding it will give the reason
    return found


def _recorded(
    entry: Entry, path: str, picture: images.Picture | None = None
) -> FileRecord:
    return file_records.record_of(entry, picture or images.read(path))


def _decoded(
    folder: Path,
    entries: Sequence[Entry],
    known: Mapping[str, FileRecord],
    preprocessing: Preprocessing | None,
    progress: Progress | None,
) -> Iterator[tuple[Entry, FileRecord, np.ndarray | None]]:
    def one(entry: Entry) -> tuple[Entry, FileRecord, np.ndarray | None]:
        path = str(folder / entry.path)
        try:
            fact = known.get(entry.path)
            if preprocessing is None:
                return entry, fact or _recorded(entry, path), None
            picture = preprocessing.read(path)
            if fact is None:  # it is of the whole picture, at its own scale
                whole = picture if picture.reduced is None else None
                fact = _recorded(entry, path, whole)
            return entry, fact, preprocessing.decode_picture(picture, path)
        except BadImageError as error:
            reason = str(error).removeprefix(f"{path}: ")
        except (ValueError, OSError, MemoryError) as error:
            reason = f"cannot be converted ({error})."
        return entry, file_records.unusable(entry, reason), None

    done, waiting = 0, iter(entries)
    what = "reading images"
    with ThreadPoolExecutor(min(32, os.cpu_count() or 1)) as pool:
        while chunk := list(islice(waiting, CHUNK)):
            for result in pool.map(one, chunk):
                yield result
                done += 1
                if progress and (done % 64 == 0 or done == len(entries)):
                    progress(done, len(entries), what)
