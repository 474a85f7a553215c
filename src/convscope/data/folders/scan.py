"""Which images a folder holds, in which part and class; no picture is opened."""

import os
import unicodedata
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

from convscope.data.folders.layout import (
    Layout,
    counts,
    parts_of,
    refuse_if_unclear,
)
from convscope.data.image_formats import SUFFIXES
from convscope.errors import DataError

Identity = tuple[int, int]  # device and inode: the same for every way to a folder


@dataclass(frozen=True)
class Entry:
    """One image file.

    Attributes:
        path: Relative to the folder, with ``/``.
        part: ``"train"``, ``"val"`` or ``"test"``; empty where the folder has no parts.
        label: Class name.
        size_bytes: Length of the file.
        mtime_ns: When it last changed, in nanoseconds.

    >>> Entry("train/cat/1.png", "train", "cat", size_bytes=900, mtime_ns=0).label
    'cat'
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
        links: Links to folders that are read already, or lie around this one; not
            followed.
        unreadable: Folders that could not be listed, and why.
        renamed: Class folders whose names are not UTF-8.
    """

    folder: Path
    parts: tuple[str, ...]
    classes: tuple[str, ...]
    entries: tuple[Entry, ...]
    others: dict[str, int] = field(default_factory=dict)
    stray: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()
    renamed: tuple[str, ...] = ()


def scan(folder: str | Path, layout: Layout = "auto") -> Scan:
    """Lists the images of ``class/file``, or of ``train|val|test/class/file``.

    Hidden files and folders are passed over, and what operating systems leave behind.
    A folder has parts if one below it is called ``train`` (or ``training``) and every
    other is called ``val``, ``valid``, ``validation``, ``test`` or ``testing``. Every
    folder is read once, however many links lead to it, and belongs to the class in
    which it really lies; what cannot be listed is passed over and told.

    Args:
        folder: The folder.
        layout: ``"classes"``: the folders are classes, whatever they look like.

    Raises:
        DataError: No such folder, one that cannot be listed, parts without ``train``,
            one part under two names, or folders that look like classes and like parts.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("cat", "dog"):
    ...         Path(folder, name).mkdir()
    ...         Path(folder, name, "1.png").touch()
    ...     [entry.path for entry in scan(folder).entries]
    ['cat/1.png', 'dog/1.png']
    """
    root = Path(folder)
    where = f"folder {str(root)!r}"
    if not root.is_dir():
        state = "is a file, not a folder" if root.exists() else "does not exist"
        raise DataError(f"{where} {state}. Give a folder with one folder per class.")
    try:
        walk = _Walk(root)
        tops = walk.sorted_out(walk.listed(str(root)))
    except OSError as error:
        raise DataError(
            f"{where} cannot be listed: {error.filename}: {error.strerror}."
        ) from error
    auto = layout == "auto"
    parts = parts_of([item.name for item in tops], where) if auto else {}
    for item in sorted(tops, key=lambda item: item.is_symlink()):
        if parts:
            walk.part_folder(item, parts[item.name])
        else:
            walk.class_folder(item, "")
    walk.go()
    order = {"train": 0, "val": 1, "test": 2, "": 0}
    walk.entries.sort(key=lambda e: (order[e.part], e.label, e.path))
    entries = tuple(walk.entries)
    if auto:
        refuse_if_unclear(entries, list(parts.values()), where)
    return Scan(
        folder=root.resolve(),
        parts=tuple(p for p in ("train", "val", "test") if p in parts.values()),
        classes=tuple(sorted(walk.classes)),
        entries=entries,
        others=dict(sorted(walk.others.items())),
        stray=tuple(walk.stray),
        links=tuple(sorted(walk.links)),
        unreadable=tuple(sorted(walk.unreadable)),
        renamed=tuple(walk.renamed),
    )


class _Walk:
    """Gathers what a walk finds."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        around = (root.resolve(), *root.resolve().parents)  # a link there reads all
        self.seen: set[Identity] = {_identity(str(folder)) for folder in around}
        self.classes: set[str] = set()
        self.entries: list[Entry] = []
        self.others: Counter[str] = Counter()
        self.stray: list[str] = []
        self.links: list[str] = []
        self.unreadable: list[tuple[str, str]] = []
        self.renamed: list[str] = []
        self.waiting: deque[tuple[str, str, str]] = deque()  # folder, part, class
        self.linked: deque[tuple[str, str, str]] = deque()

    def listed(self, folder: str) -> list["os.DirEntry[str]"]:
        """What is in a folder and counts, by name."""
        with os.scandir(folder) as items:
            return sorted((i for i in items if counts(i.name)), key=lambda i: i.name)

    def sorted_out(self, items: list["os.DirEntry[str]"]) -> list["os.DirEntry[str]"]:
        """The folders among them; files that lie there belong to no class."""
        folders = []
        for item in items:
            if self.is_folder(item):
                folders.append(item)
            elif self.is_image(item):
                self.stray.append(self.relative(item.path))
        return folders

    def part_folder(self, folder: "os.DirEntry[str]", part: str) -> None:
        if self.claim(folder.path):
            for item in self.sorted_out(self.listed_or_told(folder.path)):
                self.class_folder(item, part)

    def class_folder(self, folder: "os.DirEntry[str]", part: str) -> None:
        self.enter(folder, part, self.label_of(folder))

    def enter(self, folder: "os.DirEntry[str]", part: str, label: str) -> None:
        """Puts a folder on the list: what really lies here comes before any link."""
        where = self.linked if folder.is_symlink() else self.waiting
        where.append((folder.path, part, label))

    def go(self) -> None:
        """Gathers the images of every class, at any depth."""
        while self.waiting or self.linked:
            folder, part, label = (self.waiting or self.linked).popleft()
            if not self.claim(folder):
                continue
            self.classes.add(label)
            for item in self.listed_or_told(folder):
                if self.is_folder(item):
                    self.enter(item, part, label)
                elif self.is_image(item):
                    self.add(item, part, label)

    def add(self, item: "os.DirEntry[str]", part: str, label: str) -> None:
        try:
            status = item.stat()
            size, changed = status.st_size, status.st_mtime_ns
        except OSError:  # a link to nothing: reading it will say so
            size, changed = -1, -1
        self.entries.append(Entry(self.relative(item.path), part, label, size, changed))

    def label_of(self, folder: "os.DirEntry[str]") -> str:
        """Its name; one that is not UTF-8 is taken for Latin-1, as it mostly is."""
        try:
            folder.name.encode()
        except UnicodeEncodeError:
            name = os.fsencode(folder.name).decode("latin-1")
            self.renamed.append(name)
        else:
            name = folder.name
        return unicodedata.normalize("NFC", name)

    def claim(self, folder: str) -> bool:
        """Whether nobody has been in this folder yet, by whatever path."""
        try:
            identity = _identity(folder)
        except OSError as error:
            self.unreadable.append((self.relative(folder), _reason(error)))
            return False
        if identity in self.seen:
            self.links.append(self.relative(folder))
            return False
        self.seen.add(identity)
        return True

    def listed_or_told(self, folder: str) -> list["os.DirEntry[str]"]:
        try:
            return self.listed(folder)
        except OSError as error:
            self.unreadable.append((self.relative(folder), _reason(error)))
            return []

    def is_folder(self, item: "os.DirEntry[str]") -> bool:
        try:
            return item.is_dir()
        except OSError:  # such as a link to itself: reading it will say so
            if not self.has_suffix(item):
                path = self.relative(item.path)
                self.unreadable.append((path, "is a link that leads nowhere"))
            return False

    def is_image(self, item: "os.DirEntry[str]") -> bool:
        """Whether its name says so; others are counted."""
        if self.has_suffix(item):
            return True
        suffix = os.path.splitext(item.name)[1].lower()  # noqa: PTH122
        self.others[suffix or item.name] += 1
        return False

    def has_suffix(self, item: "os.DirEntry[str]") -> bool:
        return os.path.splitext(item.name)[1].lower() in SUFFIXES  # noqa: PTH122

    def relative(self, path: str) -> str:
        return path[len(self.root) :].lstrip(os.sep).replace(os.sep, "/")


def _identity(folder: str) -> Identity:
    status = os.stat(folder)  # noqa: PTH116
    return status.st_dev, status.st_ino


def _reason(error: OSError) -> str:
    return f"cannot be listed ({error.strerror or error})"
