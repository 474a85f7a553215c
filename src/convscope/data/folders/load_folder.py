"""A folder of images as a data set: audited, decoded once, parted by content."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from convscope.data import part_sizes
from convscope.data.dataset import Dataset, Samples, SetAside
from convscope.data.folders import decoding, file_records, pixel_cache
from convscope.data.folders.audit import examine
from convscope.data.folders.checks import check_classes, check_layout
from convscope.data.folders.default_preprocessing import (
    choose_preprocessing,
    conversions,
)
from convscope.data.folders.file_records import FileRecord
from convscope.data.folders.layout import Layout
from convscope.data.folders.scan import Entry, Scan, scan
from convscope.data.preprocessing import Preprocessing
from convscope.data.progress import Progress
from convscope.data.splits import TEST, TRAIN, VALIDATION, assign, check_fractions
from convscope.data.words import counted
from convscope.errors import DataError

PARTS = {"train": TRAIN, "val": VALIDATION, "test": TEST}


def load_folder(
    path: str | Path,
    *,
    size: int | tuple[int, int] | None = None,
    channels: Literal[1, 3] | None = None,
    bits: Literal[8, 16] | None = None,
    resize: Literal["crop", "squash", "pad"] | None = None,
    preprocessing: Preprocessing | None = None,
    validation: float = 0.15,
    test: float = 0.15,
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
    strict: bool = False,
    layout: Layout = "auto",
) -> Dataset:
    """A data set from ``class/file``, or from ``train|val|test/class/file``.

    Folders may lie in class folders to any depth. Classes are in the order of their
    names by code point. A part that has no folder is taken from train by a hash of the
    pixels, so copies share a part and new images move no old ones. Everything is
    decoded once, in parallel, and kept; a folder that has not changed opens at once.

    Args:
        path: The folder.
        size: Height and width, in pixels; by default that of the images if all are
            square and alike up to 128, else the largest of 28, 32, 48, 64, 96, 128
            that the median of their shorter sides reaches.
        channels: 1 gray, 3 red-green-blue; by default 1 if every image is gray.
        bits: Bits per channel kept; by default 16 if any image has them.
        resize: What gives way when the aspect ratio differs; by default ``"crop"``.
        preprocessing: A trained network's, instead of the four above. Then the folder
            is there to judge by: it may hold one class, or one image of a class.
        validation: Share of the images to validate on, in [0, 1).
        test: Share of the images to test on, in [0, 1).
        cache_dir: Where what was decoded is kept; by default the user's cache.
        progress: Called with files done, files in all, and what is being done.
        strict: Refuse the folder if a file cannot be used, instead of setting it aside.
        layout: ``"classes"``: the folders are classes, whatever they look like. By
            default folders that look like classes and like parts are refused.

    Raises:
        DataError: No images, no class folders, one class, a class with one image, a
            class that cannot be trained on, folders that look like classes and like
            parts, a disk that is full; with ``strict``, a file that cannot be used.
        ArgumentError: A share outside its interval.

    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for number in range(20):
    ...         place = Path(folder, "pets", ("cat", "dog")[number % 2])
    ...         place.mkdir(parents=True, exist_ok=True)
    ...         Image.new("L", (8, 8), 12 * number).save(place / f"{number}.png")
    ...     load_folder(Path(folder, "pets"), cache_dir=Path(folder, "cache"))
    Dataset('pets', 2 classes, input_shape=(1, 8, 8), train=12, val=4, test=4)
    """
    check_fractions("load", validation=validation, test=test)
    listing = scan(path, layout)
    where = f"load: folder {str(path)!r}"
    judging = preprocessing is not None
    check_layout(listing, Path(path), where, judging)
    at = decoding.place(listing, cache_dir)
    known = decoding.recalled(listing, at)
    headers = decoding.headers(listing, known)
    if preprocessing is None:
        declared, reasons = choose_preprocessing(headers, size, channels, bits, resize)
    else:
        declared, reasons = preprocessing, conversions(headers, preprocessing.channels)
    shares = {"val": validation, "test": test}
    pixels, key, entries, parts, known, trouble = _pixels(
        listing, at, known, declared, shares, where, strict, progress, judging
    )
    names = tuple(c for c in listing.classes if any(e.label == c for e in entries))
    number = {label: i for i, label in enumerate(names)}
    labels = torch.tensor([number[e.label] for e in entries], dtype=torch.int64)
    whole = torch.from_numpy(pixels)
    root = Path(path)
    files = [f"{root}/{e.path}" for e in entries]  # a Path for each would be slow
    samples = {}
    for part, value in PARTS.items():
        start, stop = np.searchsorted(parts, [value, value + 1]).tolist()
        samples[part] = Samples(
            whole[start:stop], labels[start:stop], files[start:stop]
        )
    bad = [f for f in known.values() if f.reason]
    named = tuple(part for part in PARTS if part in listing.parts)
    kept_apart = tuple(part for part in named if part == "test")
    about_parts = (
        _how_parted(listing, samples),
        *part_sizes.warnings(samples, names, kept_apart),
    )
    return Dataset(
        name=listing.folder.name,
        source=str(listing.folder),
        classes=names,
        **samples,
        preprocessing=preprocessing
        or pixel_cache.with_statistics(at, key, declared, samples["train"].pixels),
        set_aside=tuple(
            SetAside(f"{root}/{path}", reason)
            for path, reason in (
                *((f.path, f.reason) for f in bad),
                *((path, f"{reason}.") for path, reason in listing.unreadable),
            )
        ),
        notes=(
            *reasons,
            *trouble,
            *about_parts,
            *_from_audit(listing, known, at, str(path), declared.bits),
        ),
        options={
            "validation": validation,
            "test": test,
            **({} if layout == "auto" else {"layout": layout}),
        },
        named_parts=named,
        part_notes=about_parts,
    )


def _pixels(
    listing: Scan,
    at: Path,
    known: Mapping[str, FileRecord],
    preprocessing: Preprocessing,
    shares: Mapping[str, float],
    where: str,
    strict: bool,
    progress: Progress | None,
    judging: bool,
) -> tuple[np.ndarray, str, list[Entry], np.ndarray, dict[str, FileRecord], list[str]]:
    """Pixels by part, their key, file and part of each, records of all, and trouble."""
    found = dict(known)
    if 2 * len(known) >= len(listing.entries):
        found = decoding.learn(listing, at, progress, known)
        entries, parts = _arranged(listing, found, shares, where, strict, judging)
        key = pixel_cache.key_of(
            preprocessing, (found[e.path].content for e in entries)
        )
        kept = pixel_cache.recall(at, key)
        if kept is not None and len(kept) == len(entries):
            return kept, key, entries, parts, found, []
    shape = (preprocessing.channels, *preprocessing.size)
    dtype = np.uint16 if preprocessing.bits == 16 else np.uint8
    candidates = [
        e for e in listing.entries if e.path not in found or not found[e.path].reason
    ]
    with pixel_cache.writer(at, len(candidates), shape, dtype) as writer:
        row: dict[str, int] = {}

        def sink(entry: Entry, pixels: np.ndarray) -> None:
            row[entry.path] = writer.count
            writer.append(pixels)

        found |= decoding.decode(
            listing, candidates, found, preprocessing, sink, progress
        )
        file_records.keep(at / "facts.json", found)
        entries, parts = _arranged(listing, found, shares, where, strict, judging)
        key = pixel_cache.key_of(
            preprocessing, (found[e.path].content for e in entries)
        )
        order = np.array([row[e.path] for e in entries])
        pixels = writer.finish(order, key)
        return pixels, key, entries, parts, found, writer.trouble


def _arranged(
    listing: Scan,
    found: Mapping[str, FileRecord],
    shares: Mapping[str, float],
    where: str,
    strict: bool,
    judging: bool,
) -> tuple[list[Entry], np.ndarray]:
    """Usable files sorted by part, and the part of each."""
    bad = [f for f in found.values() if f.reason]
    if strict and bad:
        listed = "".join(f"\n  {f.path}: {f.reason}" for f in bad)
        them = "it" if len(bad) == 1 else "them"
        raise DataError(
            f"{where} has {counted(len(bad), 'file')} that cannot be used. Fix or "
            f"remove {them}, or leave out strict:{listed}"
        )
    good = [e for e in listing.entries if not found[e.path].reason]
    if not (judging and good):
        check_classes(good, listing, where)
    parts = np.array([PARTS[e.part or "train"] for e in good])
    free = np.flatnonzero(parts == TRAIN)
    parts[free] = assign(
        [bytes.fromhex(found[good[i].path].content) for i in free.tolist()],
        _numbers(good[i].label for i in free.tolist()),
        validation=0.0 if "val" in listing.parts else shares["val"],
        test=0.0 if "test" in listing.parts else shares["test"],
    )
    order = np.argsort(parts, kind="stable")
    return [good[i] for i in order.tolist()], parts[order]


def _numbers(labels: Iterable[str]) -> list[int]:
    numbers: dict[str, int] = {}
    return [numbers.setdefault(label, len(numbers)) for label in labels]


def _how_parted(listing: Scan, samples: Mapping[str, Samples]) -> str:
    if not listing.parts:
        if not (len(samples["val"]) or len(samples["test"])):
            return "Every image is trained on: no part was asked for."
        shares = part_sizes.shares(samples)
        return f"Parted by a hash of the pixels, class by class: {shares}."
    own = "The parts are the folders " + ", ".join(listing.parts)
    carved = {
        name: part
        for name, part in samples.items()
        if name == "train" or name not in listing.parts
    }
    if not any(len(part) for name, part in carved.items() if name != "train"):
        return f"{own}."
    return (
        f"{own}; train is parted by a hash of the pixels: {part_sizes.shares(carved)}."
    )


def _from_audit(
    listing: Scan, known: Mapping[str, FileRecord], at: Path, path: str, bits: int
) -> Iterable[str]:
    """What an audit would say must be fixed, and files that are not used."""
    report = examine(listing, known, at)
    shown = (
        "outside class folders",
        "other files",
        "links to folders read already",
        "names that are not UTF-8",
        "imbalance",
        "16 bits",
        "blank",
        "several frames or pages",
    )
    for finding in report.problems:
        if finding.kind == "16 bits" and bits == 8:
            continue  # it says that they are kept
        if finding.severity == "must fix" or finding.kind in shown:
            yield finding.message
    if report.must_fix:
        yield f"Every file concerned: convscope data audit {path}"
