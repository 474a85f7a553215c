"""Which images a folder holds, in which part and class; no picture is opened."""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from convscope.data.image_formats import SUFFIXES
from convscope.errors import DataError

PART_NAMES = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
IGNORED = frozenset(("thumbs.db", "desktop.ini", "__macosx"))


@dataclass(frozen=True)
class Entry:
    """One image file.

    Attributes:
        path: Relative to the folder, with ``/``.
        part: ``"train"``, ``"val"`` or ``"test"``; empty where the folder has no parts.
        label: Class name.
        size_bytes: Length of the file.
        mtime_ns: When it last changed, in nanoseconds.
    """

    path: str
    part: str
    label: str
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True)
class Scan:
    """What lies below a folder.

    Attributes:
        folder: Absolute path.
        parts: Those that have a folder of their own; empty for ``class/file``.
        classes: Names in order: by code points, as ``sorted`` has it, of the names in
            Unicode normal form C. Also classes without an image.
        entries: The images, by part, class and path.
        others: Files that are no images, by suffix, and how many.
        stray: Images that lie in no class folder.
        loops: Links that lead back to a folder around them; not followed.
    """

    folder: Path
    parts: tuple[str, ...]
    classes: tuple[str, ...]
    entries: tuple[Entry, ...]
    others: dict[str, int] = field(default_factory=dict)
    stray: tuple[str, ...] = ()
    loops: tuple[str, ...] = ()


def scan(folder: str | Path) -> Scan:
    """Lists the images of ``class/file``, or of ``train|val|test/class/file``.

    Hidden files and folders are passed over, and what operating systems leave behind.
    A folder has parts if one below it is called ``train`` and every other is called
    ``val``, ``valid``, ``validation`` or ``test``.

    Raises:
        DataError: No such folder, one that cannot be listed, or parts without
            ``train``, or one part under two names.
    """
    root = Path(folder)
    where = f"folder {str(root)!r}"
    if not root.is_dir():
        state = "is a file, not a folder" if root.exists() else "does not exist"
        raise DataError(f"{where} {state}. Give a folder with one folder per class.")
    try:
        tops = [item for item in _listed(root) if item.is_dir()]
        parts = _parts(tops, where)
        walk = _Walk(root)
        for item in _listed(root):
            if item.is_dir() and item.name in parts:
                walk.classes_of(item, parts[item.name])
            elif not item.is_dir():
                walk.outside(item)
        if not parts:
            for item in tops:
                walk.class_folder(item, "")
    except OSError as error:
        raise DataError(
            f"{where} cannot be listed: {error.filename}: {error.strerror}."
        ) from error
    order = {"train": 0, "val": 1, "test": 2, "": 0}
    return Scan(
        folder=root.resolve(),
        parts=tuple(p for p in ("train", "val", "test") if p in parts.values()),
        classes=tuple(sorted(walk.classes)),
        entries=tuple(
            sorted(walk.entries, key=lambda e: (order[e.part], e.label, e.path))
        ),
        others=dict(sorted(walk.others.items())),
        stray=tuple(walk.stray),
        loops=tuple(walk.loops),
    )


def _listed(folder: str | Path) -> list["os.DirEntry[str]"]:
    """What is in a folder and counts, by name."""
    with os.scandir(folder) as items:
        return sorted(
            (
                item
                for item in items
                if not item.name.startswith(".") and item.name.lower() not in IGNORED
            ),
            key=lambda item: item.name,
        )


def _parts(tops: list["os.DirEntry[str]"], where: str) -> dict[str, str]:
    """Folder name to part; empty where the folders are classes."""
    parts = {item.name: PART_NAMES.get(item.name.lower(), "") for item in tops}
    if not parts or not all(parts.values()):
        return {}
    if "train" not in parts.values():
        raise DataError(
            f"{where} has {' and '.join(parts)} but no train. Add a folder train with "
            "one folder per class."
        )
    for part, count in Counter(parts.values()).items():
        if count > 1:
            same = " and ".join(name for name in parts if parts[name] == part)
            raise DataError(
                f"{where} has {same}, which mean the same part. Put the images of all "
                f"into {part}."
            )
    return parts


class _Walk:
    """Gathers what a walk finds."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.classes: set[str] = set()
        self.entries: list[Entry] = []
        self.others: Counter[str] = Counter()
        self.stray: list[str] = []
        self.loops: list[str] = []

    def classes_of(self, part_folder: "os.DirEntry[str]", part: str) -> None:
        for item in _listed(part_folder.path):
            if item.is_dir():
                self.class_folder(item, part)
            else:
                self.outside(item)

    def outside(self, item: "os.DirEntry[str]") -> None:
        suffix = os.path.splitext(item.name)[1].lower()  # noqa: PTH122  no Path per file
        if suffix in SUFFIXES:
            self.stray.append(self._relative(item.path))
        else:
            self.others[suffix or item.name] += 1

    def class_folder(self, folder: "os.DirEntry[str]", part: str) -> None:
        label = unicodedata.normalize("NFC", folder.name)
        self.classes.add(label)
        for item in self._files(folder.path, ()):
            suffix = os.path.splitext(item.name)[1].lower()  # noqa: PTH122
            if suffix not in SUFFIXES:
                self.others[suffix or item.name] += 1
                continue
            try:
                status = item.stat()
                size, changed = status.st_size, status.st_mtime_ns
            except OSError:  # a link to nothing: reading it will say so
                size, changed = -1, -1
            path = self._relative(item.path)
            self.entries.append(Entry(path, part, label, size, changed))

    def _files(
        self, folder: str, above: tuple[tuple[int, int], ...]
    ) -> Iterator["os.DirEntry[str]"]:
        """Every file below, at any depth; a link back to a folder above is left."""
        status = os.stat(folder)  # noqa: PTH116
        here = (status.st_dev, status.st_ino)
        if here in above:
            self.loops.append(self._relative(folder))
            return
        for item in _listed(folder):
            if item.is_dir():
                yield from self._files(item.path, (*above, here))
            else:
                yield item

    def _relative(self, path: str) -> str:
        return path[len(self.root) :].lstrip(os.sep).replace(os.sep, "/")
