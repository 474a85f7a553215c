"""Where the files of a named data set are on this machine."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from typing import Literal

import platformdirs

from convscope.data.published.catalog import StandardSet
from convscope.data.published.compressed import read_bytes

DATA_VARIABLE = "CONVSCOPE_DATA"
SUFFIXES = ("", ".gz", ".xz")
CIFAR_BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
IDX_STEMS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
STEMS: dict[str, dict[str, tuple[str, ...]]] = {  # the names that each format may have
    "idx": {"idx": IDX_STEMS},
    "cifar": {
        "python": CIFAR_BATCHES,
        "binary": tuple(f"{stem}.bin" for stem in CIFAR_BATCHES),
    },
    "built in": {},
}


@dataclass(frozen=True)
class Found:
    """The files of a data set, in the order of the format's names.

    Attributes:
        folder: Where they lie.
        form: ``"idx"``, or for CIFAR-10 ``"python"`` or ``"binary"``, or
            ``"archive"`` for the published tarball, not unpacked yet.
        paths: One per name; training files first, test files last.

    >>> Found(Path("/data/mnist"), "idx", paths=()).form
    'idx'
    """

    folder: Path
    form: Literal["idx", "python", "binary", "archive"]
    paths: tuple[Path, ...]


def cache_folder(cache_dir: str | Path | None = None) -> Path:
    """The folder that downloads go to: ``cache_dir``, or the user's cache.

    >>> cache_folder("/tmp/cache").name
    'cache'
    """
    if cache_dir is not None:
        return Path(cache_dir)
    return platformdirs.user_cache_path("convscope")


def data_folder() -> Path | None:
    """The folder that ``$CONVSCOPE_DATA`` names, if it is set."""
    named = os.environ.get(DATA_VARIABLE)
    return Path(named).expanduser() if named else None


def roots(cache_dir: str | Path | None) -> list[Path]:
    """The folders below which data sets are looked for."""
    named = data_folder()
    return [*([named] if named else []), cache_folder(cache_dir)]


def candidates(card: StandardSet, cache_dir: str | Path | None) -> Iterator[Path]:
    """The folders in which the files may lie, in the order they are looked at."""
    for root in roots(cache_dir):
        yield from (root / folder for folder in card.folders)


def locate(card: StandardSet, cache_dir: str | Path | None = None) -> Found | None:
    """The first folder that has every file of the set, or None.

    Args:
        card: The data set.
        cache_dir: Looked at after ``$CONVSCOPE_DATA``; by default the user's cache.

    >>> from convscope.data.published.catalog import DIGITS_SET
    >>> locate(DIGITS_SET) is None  # built in, so that there are no files
    True
    """
    for folder in candidates(card, cache_dir):
        for form, stems in STEMS[card.format].items():
            paths = [_variant(folder, stem) for stem in stems]
            present = tuple(path for path in paths if path is not None)
            if len(present) == len(stems) and (
                folder not in roots(cache_dir) or _is_the_set(card, form, present)
            ):
                return Found(folder, form, present)  # type: ignore[arg-type]
    if card.format == "cifar":  # an archive only if it is not unpacked anywhere yet
        for folder in candidates(card, cache_dir):
            archive = folder / card.files[0].name
            if archive.is_file():
                return Found(folder, "archive", (archive,))
    return None


def _variant(folder: Path, stem: str) -> Path | None:
    """The file of that name, plain or compressed; also ``train-images.idx3-ubyte``."""
    spellings = dict.fromkeys((stem, stem.replace("-idx", ".idx")))
    for path in (folder / f"{s}{suffix}" for suffix in SUFFIXES for s in spellings):
        if path.is_file():
            return path
    return None


def _is_the_set(card: StandardSet, form: str, paths: tuple[Path, ...]) -> bool:
    """Whether a folder whose name does not say so holds this set and not its twin."""
    # MNIST and Fashion-MNIST name their files alike; their test labels differ.
    if form != "idx":
        return True
    content = read_bytes(paths[-1], limit=2**20)
    digest = md5(content, usedforsecurity=False).hexdigest()
    return digest == dict(card.content_md5)[IDX_STEMS[-1]]
