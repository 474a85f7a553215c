"""A folder of images as a data set: audited, decoded once, parted by content."""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from convscope.data import part_sizes
from convscope.data.dataset import Dataset, Samples, SetAside
from convscope.data.folders import decoding, file_records, pixel_cache
from convscope.data.folders.audit import examine
from convscope.data.folders.file_records import FileRecord
from convscope.data.folders.layout import Layout, meant_instead
from convscope.data.folders.scan import Entry, Scan, scan
from convscope.data.image_formats import IN_WORDS
from convscope.data.preprocessing import Preprocessing
from convscope.data.progress import Progress
from convscope.data.splits import TEST, TRAIN, VALIDATION, assign, check_fractions
from convscope.data.words import counted
from convscope.errors import DataError

LADDER = (28, 32, 48, 64, 96, 128)  # pixels each way
GRAY_MODES = frozenset(("1", "L", "LA", "La"))
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
            class that cannot be trained on, a cache that cannot be written; with
            ``strict``, a file that cannot be used.
        ArgumentError: A share outside its interval.
    """
    check_fractions("load", validation=validation, test=test)
    listing = scan(path, layout)
    where = f"load: folder {str(path)!r}"
    judging = preprocessing is not None
    _check_layout(listing, where, judging)
    at = decoding.place(listing, cache_dir)
    known = decoding.recalled(listing, at)
    headers = decoding.headers(listing, known)
    if preprocessing is None:
        declared, reasons = _choose(headers, size, channels, bits, resize)
    else:
        declared, reasons = preprocessing, _changed(headers, preprocessing.channels)
    shares = {"val": validation, "test": test}
    pixels, key, entries, parts, known = _pixels(
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
            _how_parted(listing, samples),
            *part_sizes.warnings(samples, names),
            *_from_audit(listing, known, at, str(path)),
        ),
        options={
            "validation": validation,
            "test": test,
            **({} if layout == "auto" else {"layout": layout}),
        },
    )


def _check_layout(listing: Scan, where: str, judging: bool) -> None:
    """Refuses what no decoding can mend."""
    seen = list(dict.fromkeys(e.label for e in listing.entries))
    if not seen and listing.stray:
        count, first = len(listing.stray), listing.stray[0]
        below, _, file = first.rpartition("/")
        example = f"{below}/cat/{file}" if below else f"cat/{file}"
        raise DataError(
            f"{where} holds {counted(count, 'image')} but no class folders. Put the "
            f"images of each class into a folder with its name: {example}"
        )
    if not seen:
        others = ", ".join(f"{n:,} {suffix}" for suffix, n in listing.others.items())
        raise DataError(
            f"{where} holds no images{f' (it has {others})' if others else ''}. Put "
            f"the images of each class into a folder with its name; "
            f"{IN_WORDS} are read."
        )
    if len(seen) == 1 and not judging:
        meant = meant_instead(listing.folder, seen[0])
        raise DataError(
            f"{where} has images of one class only, {seen[0]!r}; a network needs two "
            f"to tell apart. {meant or 'Add a folder for another class.'}"
        )


def _check_classes(entries: Sequence[Entry], listing: Scan, where: str) -> None:
    """Refuses classes that cannot be trained and judged."""
    tally = Counter(e.label for e in entries)
    if len(tally) < 2:
        left = f"one class only, {next(iter(tally))!r}" if tally else "no class"
        raise DataError(
            f"{where} has usable images of {left}. See what is wrong with the others: "
            f"convscope data audit {listing.folder}"
        )
    single = [label for label, count in tally.items() if count == 1]
    if single:
        raise DataError(
            f"{where} has one usable image in class {single[0]!r}; at least 2 are "
            "needed, one to train on and one to judge by. Add images or remove it."
        )
    train = {e.label for e in entries if e.part in ("", "train")}
    unseen = sorted(tally.keys() - train)
    if unseen:
        raise DataError(
            f"{where} has no usable image of class {unseen[0]!r} in train, only in the "
            "other parts. Add some to train or remove the class."
        )


def _choose(
    headers: Sequence[tuple[str, tuple[int, int]]],
    size: int | tuple[int, int] | None,
    channels: Literal[1, 3] | None,
    bits: Literal[8, 16] | None,
    resize: Literal["crop", "squash", "pad"] | None,
) -> tuple[Preprocessing, list[str]]:
    """What is not given, from the images; and why."""
    reasons = []
    wide = sum(mode.startswith("I") for mode, _ in headers)
    gray = sum(mode in GRAY_MODES for mode, _ in headers) + wide
    if channels is None:
        channels = 1 if headers and gray == len(headers) else 3
        kept = "gray" if channels == 1 else "color"
        reasons.append(f"Kept in {kept}: {gray:,} of {len(headers):,} images are gray.")
    if bits is None:
        bits = 16 if wide else 8
        if wide:
            reasons.append(
                f"Kept with 16 bits: {wide:,} of {len(headers):,} have them."
            )
    if size is None:
        size, why = _size([pair for _, pair in headers])
        reasons.append(why)
    return (
        Preprocessing(
            channels=channels,
            bits=bits,
            size=(size, size) if isinstance(size, int) else size,
            resize=resize or "crop",
            mean=(0.0,) * channels,
            std=(1.0,) * channels,
        ),
        reasons,
    )


def _changed(
    headers: Sequence[tuple[str, tuple[int, int]]], channels: int
) -> list[str]:
    """Says if images are made what the network takes: gray, or of three channels."""
    gray = sum(mode in GRAY_MODES or mode.startswith("I") for mode, _ in headers)
    color = len(headers) - gray
    if channels == 1 and color:
        return [f"{color:,} of {len(headers):,} images are in color; made gray."]
    if channels == 3 and gray:
        return [f"{gray:,} of {len(headers):,} images are gray; made red-green-blue."]
    return []


def _size(sizes: Sequence[tuple[int, int]]) -> tuple[int, str]:
    """A square that loses little and trains in reasonable time."""
    if not sizes:
        return LADDER[0], "No header could be read."
    first = sizes[0]
    if first[0] == first[1] <= LADDER[-1] and all(pair == first for pair in sizes):
        return first[0], f"Kept at {first[0]}x{first[0]} pixels: every image is."
    median = round(statistics.median(min(pair) for pair in sizes))
    rung = max((s for s in LADDER if s <= median), default=LADDER[0])
    more = f" A larger size={2 * rung} shows more." if 2 * rung <= median else ""
    return rung, (
        f"Resized to {rung}x{rung} pixels: the shorter sides have a median of "
        f"{median:,}.{more}"
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
) -> tuple[np.ndarray, str, list[Entry], np.ndarray, dict[str, FileRecord]]:
    """Pixels by part, their key, file of each, part of each, and facts of all."""
    found = dict(known)
    if 2 * len(known) >= len(listing.entries):
        found = decoding.learn(listing, at, progress, known)
        entries, parts = _arranged(listing, found, shares, where, strict, judging)
        key = pixel_cache.key_of(
            preprocessing, (found[e.path].content for e in entries)
        )
        kept = pixel_cache.recall(at, key)
        if kept is not None and len(kept) == len(entries):
            return kept, key, entries, parts, found
    shape = (preprocessing.channels, *preprocessing.size)
    dtype = np.uint16 if preprocessing.bits == 16 else np.uint8
    candidates = [
        e for e in listing.entries if e.path not in found or not found[e.path].reason
    ]
    with pixel_cache.PixelWriter(at, len(candidates), shape, dtype) as writer:
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
        return writer.finish(order, key), key, entries, parts, found


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
            f"{where} has {counted(len(bad), 'file')} that cannot be used. Mend or "
            f"remove {them}, or leave out strict:{listed}"
        )
    good = [e for e in listing.entries if not found[e.path].reason]
    if not (judging and good):
        _check_classes(good, listing, where)
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
    listing: Scan, known: Mapping[str, FileRecord], at: Path, path: str
) -> Iterable[str]:
    """What an audit would say must be mended, and files that are not used."""
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
        if finding.severity == "must mend" or finding.kind in shown:
            yield finding.message
    if report.must_mend:
        yield f"Every file concerned: convscope data audit {path}"
