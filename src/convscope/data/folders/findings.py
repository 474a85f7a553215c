"""Each kind of thing that may be wrong with a folder of images."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from convscope.data.folders.duplicates import kept_near_groups
from convscope.data.folders.file_records import FileRecord, thumbnails
from convscope.data.folders.layout import meant_instead
from convscope.data.folders.scan import Entry, Scan
from convscope.data.words import counted, listed

TINY = 8  # pixels
LONG = 8  # times
IMBALANCE = 10  # times as many images in the largest class as in the smallest
Severity = Literal["must fix", "note"]


@dataclass(frozen=True)
class Suspect:
    """A file that stands out by its features, with what shows it.

    Attributes:
        path: The file.
        score: How certain it is; what it counts depends on the finding, which says so.
        neighbor: The file that it is like.
        label: Its class.
        neighbor_label: The class of the neighbor: where the label may be wrong, the one
            that is more probable.

    >>> Suspect("cat/1.png", 0.9, "dog/7.png", "cat", "dog").neighbor
    'dog/7.png'
    """

    path: str
    score: float
    neighbor: str
    label: str
    neighbor_label: str


@dataclass(frozen=True)
class Finding:
    """One thing that a person should know about a folder.

    Attributes:
        kind: A short fixed name, such as ``"unreadable"``.
        severity: ``"must fix"`` where training goes wrong or results look too good.
        message: One sentence with the number, and what to do.
        files: Groups of paths: copies of one picture are a group, else one each.
        suspects: Of what was found by features, one for each group, the most certain
            first.

    >>> Finding("blank", "note", "1 picture of one color all over.").files
    ()
    """

    kind: str
    severity: Severity
    message: str
    files: tuple[tuple[str, ...], ...] = ()
    suspects: tuple[Suspect, ...] = ()


def unreadable(records: Iterable[FileRecord]) -> Iterable[Finding]:
    """Files that cannot be decoded."""
    bad = [f for f in records if f.reason]
    if bad:
        yield Finding(
            "unreadable",
            "must fix",
            f"{counted(len(bad), 'file')} that cannot be read. Replace or remove: "
            + "; ".join(f"{f.path}: {f.reason.rstrip('.')}" for f in bad[:3])
            + (f"; and {len(bad) - 3} more." if len(bad) > 3 else "."),
            tuple((f.path,) for f in bad),
        )


def unreadable_folders(listing: Scan) -> Iterable[Finding]:
    """Folders that could not be listed."""
    if listing.unreadable:
        path, reason = listing.unreadable[0]
        yield Finding(
            "unreadable folder",
            "must fix",
            f"{counted(len(listing.unreadable), 'folder')} passed over, with all that "
            f"is in them, such as {path}: {reason}. Fix or remove them.",
            tuple((path,) for path, _ in listing.unreadable),
        )


def classes(listing: Scan, good: Sequence[Entry]) -> Iterable[Finding]:
    """Classes that cannot be trained or judged, and unequal ones."""
    if not listing.entries:
        yield Finding(
            "no images",
            "must fix",
            "There are no images in class folders. Make one folder per class and put "
            "its images there.",
        )
        return
    tally = Counter(e.label for e in good)
    empty = [c for c in listing.classes if not tally[c]]
    if empty:
        yield Finding(
            "empty class",
            "must fix",
            f"No usable image in {listed(empty)}. Add images or remove the folder.",
        )
    if len(tally) == 1:
        yield Finding(
            "one class",
            "must fix",
            f"Only {next(iter(tally))!r} has images; a network needs two classes to "
            "tell apart. "
            + (
                meant_instead(listing.folder, next(iter(tally)))
                or "Add a folder for another class."
            ),
        )
    single = [c for c, n in tally.items() if n == 1]
    if single:
        yield Finding(
            "one image in a class",
            "must fix",
            f"{listed(single)}: one image each, which cannot be both trained and "
            "tested on. Add images.",
        )
    if listing.parts:
        train = {e.label for e in good if e.part == "train"}
        unseen = [c for c in listing.classes if tally[c] and c not in train]
        if unseen:
            yield Finding(
                "class without training images",
                "must fix",
                f"{listed(unseen)}: images to test on and none in train. Add some "
                "there.",
            )
    if len(tally) > 1 and max(tally.values()) > IMBALANCE * min(tally.values()):
        (most, many), (least, few) = tally.most_common()[0], tally.most_common()[-1]
        yield Finding(
            "imbalance",
            "note",
            f"{most!r} has {many:,} images and {least!r} has {few:,}, a ratio of "
            f"{many / few:.0f}. Judge by the macro average, and draw the "
            "classes evenly (balance='sampling') or weigh them (balance='weights').",
        )


def copies(good: Sequence[Entry], usable: Sequence[FileRecord]) -> Iterable[Finding]:
    """The same pixels more than once."""
    by_content: dict[str, list[Entry]] = defaultdict(list)
    for entry, record in zip(good, usable, strict=True):
        by_content[record.content].append(entry)
    groups = [group for group in by_content.values() if len(group) > 1]
    yield from _grouped(groups, "duplicates", "The same picture")


def near(
    good: Sequence[Entry], usable: Sequence[FileRecord], near: int, at: Path
) -> Iterable[Finding]:
    """Pictures that look alike but are not the same."""
    first: dict[str, int] = {}  # copies are one picture here
    for i, record in enumerate(usable):
        first.setdefault(record.content, i)
    chosen = list(first.values())
    pictures = thumbnails(usable[i] for i in chosen)
    members = kept_near_groups(pictures, near, at / "near.json")
    groups = [[good[chosen[i]] for i in group] for group in members]
    yield from _grouped(groups, "near duplicates", "Nearly the same picture")


def _grouped(
    groups: Sequence[Sequence[Entry]], kind: str, what: str
) -> Iterable[Finding]:
    """Groups of alike pictures, told apart by what they do to a result."""
    across, mixed, rest = [], [], []
    for group in groups:
        parts = {e.part for e in group}
        if len({e.label for e in group}) > 1:
            mixed.append(group)
        if len(parts) > 1:
            across.append(group)
        elif len({e.label for e in group}) == 1:
            rest.append(group)
    exact = kind == "duplicates"
    if across:
        leaks = any("train" in {e.part for e in group} for group in across)
        yield Finding(
            f"{kind} across parts",
            "must fix" if leaks else "note",
            f"{what} lies in more than one of train, val and test, {_times(across)}: "
            "the test result looks too good. Keep it in one part.",
            _paths(across),
        )
    if mixed:
        yield Finding(
            f"{kind} in two classes",
            "must fix" if exact else "note",
            f"{what} lies in two classes, {_times(mixed)}. Keep it where it belongs.",
            _paths(mixed),
        )
    if rest:
        yield Finding(
            kind,
            "note",
            f"{what} is there more than once, {_times(rest)}: "
            + (
                "copies stay in one part when the folder is split."
                if exact
                else "look whether both are wanted."
            ),
            _paths(rest),
        )


def names(listing: Scan) -> Iterable[Finding]:
    """Names that differ only by case."""
    alike = _same_but_for_case(listing.classes)
    if alike:
        yield Finding(
            "classes that differ by case",
            "must fix",
            f"{listed([' and '.join(group) for group in alike])}: these count as "
            "different classes. Give one name to each.",
            alike,
        )
    alike = _same_but_for_case(
        [e.path for e in listing.entries],
    )
    alike = tuple(g for g in alike if len({os.path.dirname(p) for p in g}) == 1)  # noqa: PTH120
    if alike:
        yield Finding(
            "names that differ by case",
            "note",
            f"{counted(sum(map(len, alike)), 'file')} whose names differ only in "
            "case: on macOS or Windows one replaces the other.",
            alike,
        )


def oddities(usable: Sequence[FileRecord]) -> Iterable[Finding]:
    """What is converted: rotation, 16 bits, further frames, rare modes."""
    rotated = [f for f in usable if f.rotated]
    wide = [f for f in usable if f.is_wide]
    odd = [f for f in usable if f.mode not in ("L", "RGB") and not f.is_wide]
    if rotated:
        yield Finding(
            "rotated by EXIF",
            "note",
            f"{counted(len(rotated), 'file')} upright only by their EXIF tag: "
            "turned here; other programs may not.",
            tuple((f.path,) for f in rotated),
        )
    if wide:
        rest = len(usable) - len(wide)
        others = (
            f" They make the other {rest:,} be kept with 16 bits too, twice as large; "
            "bits=8 keeps all with 8."
        )
        yield Finding(
            "16 bits",
            "note",
            f"{counted(len(wide), 'file')} of {len(usable):,} with 16 bits per pixel: "
            f"kept.{others if rest else ''}",
            tuple((f.path,) for f in wide),
        )
    several = [f for f in usable if f.has_more]
    if several:
        yield Finding(
            "several frames or pages",
            "note",
            f"{counted(len(several), 'file')} with more than one frame or page: only "
            "the first is read. Save the others as files of their own to use them.",
            tuple((f.path,) for f in several),
        )
    if odd:
        modes = ", ".join(f"{m} {n:,}" for m, n in Counter(f.mode for f in odd).items())
        yield Finding(
            "odd modes",
            "note",
            f"{counted(len(odd), 'file')} neither plain gray nor RGB ({modes}): "
            "converted, transparency onto white.",
            tuple((f.path,) for f in odd),
        )


def empty_or_extreme(usable: Sequence[FileRecord]) -> Iterable[Finding]:
    """Pictures of one color, tiny ones, and very long ones."""
    blank = [f for f in usable if f.blank]
    tiny = [f for f in usable if min(f.width, f.height) < TINY]
    long = [f for f in usable if max(f.width, f.height) > LONG * min(f.width, f.height)]
    if blank:
        yield Finding(
            "blank",
            "note",
            f"{counted(len(blank), 'picture')} of one color all over, which show "
            "nothing. Remove them, unless they are meant.",
            tuple((f.path,) for f in blank),
        )
    if tiny:
        yield Finding(
            "tiny",
            "note",
            f"{counted(len(tiny), 'picture')} less than {TINY} pixels high or wide "
            f"(such as {_shape(tiny)}), enlarged to the size of the others. Remove "
            "them, unless they are meant.",
            tuple((f.path,) for f in tiny),
        )
    if long:
        yield Finding(
            "extreme shapes",
            "note",
            f"{counted(len(long), 'picture')} more than {LONG} times as long as wide "
            f"(such as {_shape(long)}): cropping to a square keeps the middle only. "
            "resize='pad' keeps all of it.",
            tuple((f.path,) for f in long),
        )


def _shape(records: Sequence[FileRecord]) -> str:
    return f"{records[0].width:,} x {records[0].height:,}"


def leftovers(listing: Scan) -> Iterable[Finding]:
    """What is not used: stray images, other files, links."""
    if listing.stray:
        yield Finding(
            "outside class folders",
            "note",
            f"{counted(len(listing.stray), 'file')} in no class folder, not used.",
            tuple((path,) for path in listing.stray),
        )
    if listing.others:
        kinds = ", ".join(f"{suffix} {n:,}" for suffix, n in listing.others.items())
        yield Finding(
            "other files",
            "note",
            f"{counted(sum(listing.others.values()), 'file')} with the name of no "
            f"image ({kinds}), not used.",
        )
    if listing.links:
        yield Finding(
            "links to folders read already",
            "note",
            f"{counted(len(listing.links), 'link')} to folders that are read already "
            "or lie around this one, not followed.",
            tuple((path,) for path in listing.links),
        )
    if listing.renamed:
        yield Finding(
            "names that are not UTF-8",
            "note",
            f"{counted(len(listing.renamed), 'class folder')} whose name is not UTF-8, "
            f"taken for Latin-1: {listed(listing.renamed)}.",
        )


def _same_but_for_case(names: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    by_folded: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_folded[name.casefold()].append(name)
    return tuple(tuple(group) for group in by_folded.values() if len(group) > 1)


def _paths(groups: Iterable[Iterable[Entry]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(e.path for e in group) for group in groups)


def _times(groups: Sequence[object]) -> str:
    return counted(len(groups), "case")
