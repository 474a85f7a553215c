"""What features show of a folder: look-alikes, probable wrong labels, outliers."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from convscope.data.folders.duplicates import kept_near_groups
from convscope.data.folders.feature_geometry import (
    CORRELATED,
    LookAlike,
    doubtful_labels,
    look_alikes,
    nearest,
    outliers,
)
from convscope.data.folders.file_records import FileRecord, thumbnails
from convscope.data.folders.findings import Finding, Severity, Suspect
from convscope.data.folders.scan import Entry
from convscope.data.words import counted
from convscope.errors import ArgumentError

FEWEST = 20  # different images, below which nothing is said
Features = Callable[[list[str]], np.ndarray]  # one row for each path


def by_features(
    good: Sequence[Entry],
    usable: Sequence[FileRecord],
    features: Features,
    folder: Path,
    near: int,
    at: Path,
) -> list[Finding]:
    """Findings that need to know what pictures show.

    Copies of a picture count once, and pairs that hashes have found are left out.

    Args:
        good: Files that can be read.
        usable: Their records.
        features: Makes one row of numbers for each path.
        folder: That the files are in.
        near: As ``audit`` takes it.
        at: Cache of the folder.

    Raises:
        ArgumentError: ``features`` gives another form, or numbers that are not finite.
    """
    first: dict[str, int] = {}
    for i, record in enumerate(usable):
        first.setdefault(record.content, i)
    chosen = list(first.values())
    if len(chosen) < FEWEST:
        return [
            Finding(
                "too few images for features",
                "note",
                f"{counted(len(chosen), 'different image')}, fewer than {FEWEST}: what "
                "is usual among them cannot be told, so features were not looked at.",
            )
        ]
    entries = [good[i] for i in chosen]
    rows = _checked(features([str(folder / e.path) for e in entries]), len(entries))
    pictures = thumbnails(usable[i] for i in chosen)
    classes = sorted({e.label for e in entries})
    number = {label: k for k, label in enumerate(classes)}
    labels = np.array([number[e.label] for e in entries])
    around = nearest(rows)
    group: dict[int, int] = {}
    if near:
        for k, members in enumerate(kept_near_groups(pictures, near, at / "near.json")):
            group |= dict.fromkeys(members, k)
    alike = [
        pair
        for pair in look_alikes(around, pictures)
        if pair.first not in group or group[pair.first] != group.get(pair.second)
    ]
    doubts = doubtful_labels(rows, labels, around)
    wrong = [_suspect(entries, d.index, d.witness, d.score) for d in doubts]
    doubted = {d.index for d in doubts}
    odd = [
        _suspect(entries, o.index, int(around.indices[o.index, 0]), o.score)
        for o in outliers(rows, labels)
        if o.index not in doubted
    ]
    return [*_alike(alike, entries), *_wrong(wrong), *_odd(odd)]


def _suspect(
    entries: Sequence[Entry], index: int, neighbor: int, score: float
) -> Suspect:
    one, other = entries[index], entries[neighbor]
    return Suspect(one.path, score, other.path, one.label, other.label)


def _checked(rows: np.ndarray, count: int) -> np.ndarray:
    rows = np.asarray(rows)
    if rows.ndim != 2 or len(rows) != count or rows.dtype.kind != "f":
        raise ArgumentError(
            f"audit: features gave an array of shape {rows.shape} and {rows.dtype} for "
            f"{count} files. It has to give one row of floating-point numbers for each."
        )
    if not np.isfinite(rows).all():
        raise ArgumentError("audit: features gave numbers that are not finite.")
    return rows


def _alike(pairs: Sequence[LookAlike], entries: Sequence[Entry]) -> Iterable[Finding]:
    """Pairs told apart by what they do to a result."""
    across, mixed, rest = [], [], []
    for pair in pairs:
        one, other = entries[pair.first], entries[pair.second]
        if one.part != other.part:
            across.append(pair)
        elif one.label != other.label:
            mixed.append(pair)
        else:
            rest.append(pair)
    said = "Pairs of pictures that look alike though their hashes differ"
    score = "The score is 1 for the same features, 0 for a usual distance."
    if across:
        sure = any(
            "train" in (entries[p.first].part, entries[p.second].part)
            and p.correlation >= CORRELATED
            for p in across
        )
        yield _pairs(
            "look-alikes across parts",
            "must fix" if sure else "note",
            f"{said} lie in different parts, {counted(len(across), 'case')}: if they "
            f"are one picture, the test result looks too good. {score}",
            across,
            entries,
        )
    if mixed:
        yield _pairs(
            "look-alikes in two classes",
            "note",
            f"{said} lie in two classes, {counted(len(mixed), 'case')}. {score}",
            mixed,
            entries,
        )
    if rest:
        yield _pairs(
            "look-alikes",
            "note",
            f"{said}, {counted(len(rest), 'case')}: look whether both are wanted. "
            f"{score}",
            rest,
            entries,
        )


def _pairs(
    kind: str,
    severity: Severity,
    message: str,
    pairs: Sequence[LookAlike],
    entries: Sequence[Entry],
) -> Finding:
    suspects = [_suspect(entries, p.first, p.second, p.score) for p in pairs]
    return Finding(
        kind,
        severity,
        message,
        tuple((s.path, s.neighbor) for s in suspects),
        tuple(suspects),
    )


def _wrong(suspects: Sequence[Suspect]) -> Iterable[Finding]:
    if suspects:
        yield Finding(
            "probable wrong labels",
            "note",
            f"{counted(len(suspects), 'picture')} that a linear layer fitted without "
            "them, and their neighbors, put into another class. Look at each; the "
            "score is the lead of that class in probability.",
            tuple((s.path,) for s in suspects),
            tuple(suspects),
        )


def _odd(suspects: Sequence[Suspect]) -> Iterable[Finding]:
    if suspects:
        yield Finding(
            "outliers",
            "note",
            f"{counted(len(suspects), 'picture')} unlike the others of their class. "
            "Look whether they belong; the score is the distance in robust standard "
            "deviations.",
            tuple((s.path,) for s in suspects),
            tuple(suspects),
        )
