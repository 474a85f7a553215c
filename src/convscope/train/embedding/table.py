"""Features of files with their names and classes, in a file that needs no pickle."""

import csv
import json
import os
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from convscope.data.dataset import UNLABELED
from convscope.data.progress import Progress
from convscope.errors import ArgumentError, DataError, Remedy, WriteError
from convscope.train.embedding.features import features_of_files
from convscope.train.embedding.labeled_files import LabeledFile, labeled_files
from convscope.train.embedding.source import Net, source_of
from convscope.train.judging.prediction import Failure

SUFFIXES = (".npz", ".npy", ".csv")


@dataclass(frozen=True)
class FeatureTable:
    """Features of files, and all that is needed to make them again.

    Attributes:
        features: (N, F) float32.
        paths: Of each row, as it was asked for.
        labels: (N,) int64 positions in ``classes``; -1 where no folder says so.
        classes: Names in order.
        parts: ``"train"``, ``"val"`` or ``"test"`` of each; empty where no folder says.
        model: The network, in words.
        layer: Where in it the features were taken, in words.
        preprocessing: How pictures became inputs, as JSON.
        set_aside: Files that could not be read, with reasons.
        notes: Sentences a person should read.

    >>> table = FeatureTable(np.zeros((1, 2), np.float32), ("a.png",), np.array([-1]))
    >>> table
    FeatureTable(1 file, 2 features, 0 classes)
    """

    features: np.ndarray
    paths: tuple[str, ...]
    labels: np.ndarray
    classes: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    model: str = ""
    layer: str = ""
    preprocessing: str = ""
    set_aside: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        count, width = self.features.shape
        files = f"{count:,} file{'' if count == 1 else 's'}"
        return f"FeatureTable({files}, {width:,} features, {len(self.classes)} classes)"

    def to_dict(self) -> dict[str, Any]:
        """What is in it, for JSON; the numbers themselves are left out."""
        return {
            "files": len(self.paths),
            "features": self.features.shape[1],
            "classes": list(self.classes),
            "model": self.model,
            "layer": self.layer,
            "preprocessing": json.loads(self.preprocessing or "null"),
            "set_aside": [each.to_dict() for each in self.set_aside],
            "notes": list(self.notes),
        }

    def save(self, path: str | Path, *, force: bool = False) -> Path:
        """Writes a file, whole or not at all.

        Args:
            path: Ends in ``.npz`` (everything; ``load`` reads it), ``.csv`` (path,
                class, part and features) or ``.npy`` (the features alone).
            force: Replace a file that is there.

        Raises:
            ArgumentError: Another ending.
            WriteError: Something is there already, or the disk does not let us write.

        >>> import tempfile
        >>> table = FeatureTable(np.ones((1, 2), "f"), ("a.png",), np.array([-1]))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     FeatureTable.load(table.save(Path(folder, "x.npz"))).paths
        ('a.png',)
        """
        path = require_free(path, force=force)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                dir=path.parent, prefix=f".{path.name}.", delete=False
            ) as draft:
                written = Path(draft.name)
            try:
                self._write(written, path.suffix.lower())
                written.chmod(0o644)
                written.replace(path)
            finally:
                written.unlink(missing_ok=True)
        except OSError as error:
            raise WriteError(
                f"features: {path} cannot be written: {error.strerror or error}."
            ) from error
        return path

    def _write(self, path: Path, suffix: str) -> None:
        if suffix == ".csv":
            with path.open(
                "w", newline="", encoding="utf-8", errors="surrogateescape"
            ) as file:
                self._write_csv(csv.writer(file, lineterminator="\n"))
            return
        with path.open("wb") as binary:
            if suffix == ".npy":
                np.save(binary, self.features, allow_pickle=False)
                return
            np.savez(binary, **self._arrays())  # none is of objects: no pickle

    def _arrays(self) -> dict[str, Any]:
        """What a ``.npz`` holds; nothing of classes or parts where there are none."""
        arrays = {"features": self.features, "paths": _texts(self.paths)}
        if self.classes:
            arrays["labels"] = self.labels.astype(np.int64)
            arrays["classes"] = _texts(self.classes)
        if any(self.parts):
            arrays["parts"] = _texts(self.parts)
        for name in ("model", "layer", "preprocessing"):
            arrays[name] = np.array(getattr(self, name))
        return arrays

    def _write_csv(self, writer: Any) -> None:
        width = self.features.shape[1]
        named = (bool(self.classes), any(self.parts))
        heads = [h for h, there in zip(("class", "part"), named, strict=True) if there]
        writer.writerow(["path", *heads, *(f"f{i}" for i in range(width))])
        for i, path in enumerate(self.paths):
            label = int(self.labels[i])
            cells = [self.classes[label] if label >= 0 else ""] if named[0] else []
            cells += [self.parts[i]] if named[1] else []
            numbers = [format(float(value), ".9g") for value in self.features[i]]
            writer.writerow([path, *cells, *numbers])

    @classmethod
    def load(cls, path: str | Path) -> "FeatureTable":
        """Reads a ``.npz`` that ``save`` wrote; nothing in it is run.

        Raises:
            DataError: It is not there, is damaged, or holds something else.

        >>> FeatureTable.load("no-such.npz")
        Traceback (most recent call last):
        convscope.errors.DataError: features: path=no-such.npz is not there.
        """
        where = f"features: path={path}"
        if not Path(path).is_file():
            raise DataError(f"{where} is not there.")
        try:
            with (
                Path(path).open("rb") as binary,
                np.load(binary, allow_pickle=False) as file,
            ):
                found = {name: file[name] for name in file.files}
            paths = tuple(map(str, found["paths"]))
            table = cls(
                features=found["features"],
                paths=paths,
                labels=found.get("labels", np.full(len(paths), UNLABELED)),
                classes=tuple(map(str, found.get("classes", ()))),
                parts=tuple(map(str, found.get("parts", ("",) * len(paths)))),
                model=str(found["model"]),
                layer=str(found["layer"]),
                preprocessing=str(found["preprocessing"]),
            )
        except (
            AttributeError, EOFError, KeyError, OSError, TypeError, ValueError,
            zipfile.BadZipFile,
        ) as error:  # fmt: skip
            raise DataError(
                f"{where} is not a whole table of features: {error}. Make it again "
                "with `convscope features`."
            ) from None
        counts = {len(table.features), len(table.paths), len(table.labels)}
        if table.features.ndim != 2 or len(counts) != 1:
            raise DataError(
                f"{where} is no table of features: its features, paths and labels are "
                f"not of one number: {sorted(counts)}."
            )
        return table


def require_free(path: str | Path, *, force: bool = False) -> Path:
    """A path that a table can be saved under.

    Raises:
        ArgumentError: Its ending is none of ours.
        WriteError: Something is there, and ``force`` is off, or it is a folder.

    >>> require_free("x.mat")
    Traceback (most recent call last):
    convscope.errors.ArgumentError: features: save='x.mat' ends in none of .npz, .npy, \
.csv. Take .npz, which holds everything.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ArgumentError(
            f"features: save={str(path)!r} ends in none of {', '.join(SUFFIXES)}. Take "
            ".npz, which holds everything."
        )
    if path.is_dir():
        raise WriteError(f"features: {path} is a folder. Give the name of a file.")
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise WriteError(
            f"features: {path} cannot be written: {above} is "
            f"{'not writable' if above.is_dir() else 'a file'}. Save it elsewhere."
        )
    if path.exists() and not force:
        raise WriteError(
            f"features: {path} is there already.",
            remedies=[
                Remedy("replace it", "force", True),
                Remedy("give another name", "save"),
            ],
        )
    return path


def feature_table(
    net: Net,
    paths: Sequence[str | Path] | str | Path,
    *,
    layer: str | None = None,
    device: str | None = None,
    optimize: bool = True,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> FeatureTable:
    """Features of files and folders, with the classes that folders say.

    Files that cannot be read are set aside. Arguments and errors as of ``features``.

    Args:
        net: A run, its folder, or the name of a model that has published weights.
        paths: Files, patterns, or folders, which are read as data sets are.
        layer: Whose output is taken; by default what reaches the last layer.
        device: Where to run it.
        optimize: Whether the fastest setting is measured.
        batch_size: Images at a time.
        progress: Called with images done, images in all, and what is being done.

    Raises:
        DataError: Not one file can be read.
    """
    source = source_of(net, device=device, optimize=optimize)
    many = [paths] if isinstance(paths, str | Path) else list(paths)
    files, notes = labeled_files(many)
    asked = [f.path if isinstance(f, LabeledFile) else f for f in files]
    made = features_of_files(source, asked, layer, batch_size, progress)
    known = {f.path: f for f in files if isinstance(f, LabeledFile)}
    rows = [known[path] for path in made.paths]
    classes = sorted({row.label for row in rows if row.label})
    number = {name: i for i, name in enumerate(classes)}
    declared = source.require_preprocessing("files")
    return FeatureTable(
        features=made.features,
        paths=tuple(made.paths),
        labels=np.array([number.get(row.label, UNLABELED) for row in rows], np.int64),
        classes=tuple(classes),
        parts=tuple(row.part for row in rows),
        model=source.name,
        layer=made.place,
        preprocessing=json.dumps(declared.model_dump(mode="json")),
        set_aside=tuple(made.failures),
        notes=tuple(notes),
    )


def _texts(words: Sequence[str]) -> np.ndarray:
    return np.array(list(words), dtype=np.str_)
