"""What a folder must hold to be trained on."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from convscope.data.folders.layout import meant_instead
from convscope.data.folders.scan import Entry, Scan
from convscope.data.image_formats import IN_WORDS
from convscope.data.words import counted
from convscope.errors import DataError


def check_layout(listing: Scan, given: Path, where: str, judging: bool) -> None:
    """Refuses what no decoding can cure."""
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
        meant = meant_instead(given, seen[0])
        raise DataError(
            f"{where} has images of one class only, {seen[0]!r}; a network needs two "
            f"to tell apart. {meant or 'Add a folder for another class.'}"
        )


def check_classes(entries: Sequence[Entry], listing: Scan, where: str) -> None:
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
