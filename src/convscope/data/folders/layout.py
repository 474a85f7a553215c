"""Which folders are parts and which are classes; what is unclear is refused."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from convscope.data.image_formats import SUFFIXES
from convscope.data.words import counted, listed
from convscope.errors import DataError, Remedy

if TYPE_CHECKING:
    from convscope.data.folders.scan import Entry

Layout = Literal["auto", "classes"]
PART_NAMES = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "tests", "tst"), "test"),
}
ENDINGS = re.compile(r"[ _-]*(sets?|data|images|imgs|split)$")
DEEPEST_WRAPPER = 4  # folders in folders that are looked through for the classes
IGNORED = frozenset(("thumbs.db", "desktop.ini", "__macosx"))


def counts(name: str) -> bool:
    """Whether a file or folder is looked at: not if hidden, or left by a system.

    >>> [name for name in ("cat", ".git", "__MACOSX") if counts(name)]
    ['cat']
    """
    return not name.startswith(".") and name.lower() not in IGNORED


def part_of(name: str) -> str:
    """The part that a folder of this name is; empty if it is none.

    >>> [part_of(name) for name in ("Training", "test_set", "val-images", "cat")]
    ['train', 'test', 'val', '']
    """
    return PART_NAMES.get(ENDINGS.sub("", name.lower()), "")


def parts_of(names: Iterable[str], where: str) -> dict[str, str]:
    """Folder name to part; empty where the folders are classes.

    Raises:
        DataError: Parts without ``train``, or one part under two names.

    >>> parts_of(["Training", "test"], "load")
    {'Training': 'train', 'test': 'test'}
    """
    parts = {name: part_of(name) for name in names}
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


def refuse_if_unclear(
    entries: Sequence["Entry"], parts: Sequence[str], where: str
) -> None:
    """Refuses folders that look like classes and like something else.

    Raises:
        DataError: The folders of all classes hold the same folders, or one is called
            train and holds folders as a part does, but another is called like no part.
    """
    below: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    direct: Counter[str] = Counter()
    for entry in entries:
        folders = entry.path.split("/")[:-1]
        start = 1 if parts else 0  # the class folder
        if len(folders) > start + 1:
            below["/".join(folders[: start + 1])][folders[start + 1]] += 1
        else:
            direct["/".join(folders[: start + 1])] += 1
    if not parts:
        _refuse_unknown_parts(below, direct, where)
    _refuse_same_folders(below, direct, where)


def _refuse_unknown_parts(
    below: Mapping[str, Mapping[str, int]], direct: Mapping[str, int], where: str
) -> None:
    every = [*below, *(name for name in direct if name not in below)]
    train = [
        name
        for name in below
        if part_of(name) == "train" and len(below[name]) > 1 and not direct.get(name)
    ]
    unknown = [name for name in every if not part_of(name)]
    if train and unknown:
        raise DataError(
            f"{where} has a folder {train[0]!r} that holds "
            f"{counted(len(below[train[0]]), 'folder')}, as a part does, and beside it "
            f"{listed(unknown)}, which {'is' if len(unknown) == 1 else 'are'} no part.",
            remedies=[
                Remedy("call the parts train, val and test, and move the rest away"),
                Remedy(f"say that {train[0]!r} is a class", "layout", "classes"),
            ],
        )


def _refuse_same_folders(
    below: Mapping[str, Mapping[str, int]], direct: Mapping[str, int], where: str
) -> None:
    named = [frozenset(folders) for folders in below.values()]
    alone = [name for name in direct if name not in below]
    if len(named) < 2 or alone or len(set(named)) > 1 or len(named[0]) < 2:
        return
    raise DataError(
        f"{where}: its folders {listed(sorted(below))} hold folders of the same names, "
        f"{listed(sorted(named[0]))}, which may be the classes.",
        remedies=[
            Remedy("if they are, call the folders around them train, val and test"),
            Remedy("put the images of each class into one folder"),
            Remedy(f"say that {min(below)!r} is a class", "layout", "classes"),
        ],
    )


def meant_instead(folder: Path, only: str) -> str:
    """A question for who gave the folder around the one that holds the classes.

    Args:
        folder: What was given.
        only: The single folder below it that holds images.

    Returns:
        Such as ``"Did you mean 'signs/Dataset' (10 class folders)?"``; empty where the
        folder below holds no folders of images either.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     meant_instead(Path(folder), "cat")
    ''
    """
    inner = folder / only
    for _ in range(DEEPEST_WRAPPER):
        found = [name for name in _folders(inner) if _holds_images(inner / name)]
        if len(found) > 1:
            parts = [name for name in found if part_of(name)]
            what = (
                f"parts {', '.join(found)}"
                if len(parts) == len(found)
                else counted(len(found), "class folder")
            )
            return f"Did you mean {str(inner)!r} ({what})?"
        if not found:
            return ""
        inner /= found[0]
    return ""


def _folders(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as items:
            return sorted(i.name for i in items if counts(i.name) and i.is_dir())
    except OSError:
        return []


def _holds_images(folder: Path) -> bool:
    """Whether an image lies in it or a few levels below."""
    waiting = [(folder, 0)]
    while waiting:
        place, depth = waiting.pop()
        try:
            with os.scandir(place) as items:
                for item in items:
                    if not counts(item.name):
                        continue
                    if item.is_dir():
                        if depth < DEEPEST_WRAPPER:
                            waiting.append((Path(item.path), depth + 1))
                    elif os.path.splitext(item.name)[1].lower() in SUFFIXES:  # noqa: PTH122
                        return True
        except OSError:
            continue
    return False
