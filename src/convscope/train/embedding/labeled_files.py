"""Files that paths lead to, with the class and part of each where folders say so."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from convscope.data.folders.scan import scan
from convscope.errors import DataError
from convscope.train.judging.prediction import Failure, find_images


@dataclass(frozen=True)
class LabeledFile:
    """An image file, and where its folder puts it.

    Attributes:
        path: As it was asked for.
        label: Name of its class; empty where no folder says so.
        part: ``"train"``, ``"val"`` or ``"test"``; empty where no folder says so.

    >>> LabeledFile("photos/cat/1.png", "cat").part
    ''
    """

    path: str
    label: str = ""
    part: str = ""


def labeled_files(
    paths: Iterable[str | Path],
) -> tuple[list[LabeledFile | Failure], list[str]]:
    """Files named by paths, folders and patterns, in order, and what to tell.

    A folder is read as a data set is: the folders in it are classes, or parts that hold
    classes. Pictures outside of them have no class.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "cat").mkdir()
    ...     Path(folder, "cat", "1.png").touch()
    ...     [file.label for file in labeled_files([folder])[0]]
    ['cat']
    """
    found: list[LabeledFile | Failure] = []
    notes: list[str] = []
    for path in map(str, paths):
        if Path(path).is_dir():
            try:
                found += _of_folder(path)
            except DataError as error:
                notes.append(f"No classes were read: {error}")
            else:
                continue
        for entry in find_images([path]):
            if isinstance(entry, Failure):
                found.append(entry)
            else:
                found.append(LabeledFile(entry))
    return found, notes


def _of_folder(path: str) -> list[LabeledFile | Failure]:
    listing = scan(path)
    root = Path(path)
    found: list[LabeledFile | Failure] = [
        LabeledFile(str(root / e.path), e.label, e.part) for e in listing.entries
    ]
    found += [LabeledFile(str(root / stray)) for stray in listing.stray]
    found += [Failure(str(root / p), why) for p, why in listing.unreadable]
    return found or [Failure(path, "the folder holds no images")]
