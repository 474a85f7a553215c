"""What is wrong with a folder of images, found before anything is trained on it."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convscope.data.folders import decoding, findings
from convscope.data.folders.feature_findings import Features, by_features
from convscope.data.folders.file_records import FileRecord
from convscope.data.folders.findings import Finding
from convscope.data.folders.layout import Layout
from convscope.data.folders.scan import Scan, scan
from convscope.data.progress import Progress
from convscope.data.words import counted
from convscope.errors import ArgumentError

NEAR = 6  # of 64 bits of the perceptual hash


@dataclass(frozen=True)
class AuditReport:
    """Everything an audit found.

    Attributes:
        folder: Absolute path.
        counts: Usable images per part (``"all"`` where there are no parts) and class.
        sizes: (width, height) and how many images have it, the most frequent first.
        modes: Pillow's mode and how many images have it.
        formats: File format and how many images have it.
        records: What is known of each file, in order.
        problems: Findings; those that must be fixed first.

    >>> AuditReport("/pets", {}, (), {}, {}, (), problems=()).must_fix
    False
    """

    folder: str
    counts: Mapping[str, Mapping[str, int]]
    sizes: tuple[tuple[tuple[int, int], int], ...]
    modes: Mapping[str, int]
    formats: Mapping[str, int]
    records: tuple[FileRecord, ...]
    problems: tuple[Finding, ...]

    def __repr__(self) -> str:
        kinds = [finding.kind for finding in self.problems]
        return (
            f"AuditReport({self.folder!r}, {counted(len(self.records), 'image')}, "
            f"must_fix={self.must_fix}, problems={kinds})"
        )

    @property
    def must_fix(self) -> bool:
        """Whether something has to be done before training."""
        return any(finding.severity == "must fix" for finding in self.problems)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dictionaries, for JSON; thumbnails are left out."""
        hidden = ("thumbnail", "mtime_ns")
        return {
            "folder": self.folder,
            "must_fix": self.must_fix,
            "images": len(self.records),
            "counts": {part: dict(count) for part, count in self.counts.items()},
            "sizes": [
                {"width": w, "height": h, "images": n} for (w, h), n in self.sizes
            ],
            "modes": dict(self.modes),
            "formats": dict(self.formats),
            "problems": [dataclasses.asdict(finding) for finding in self.problems],
            "records": [
                {k: v for k, v in dataclasses.asdict(r).items() if k not in hidden}
                for r in self.records
            ],
        }


def audit(
    folder: str | Path,
    *,
    near: int = NEAR,
    layout: Layout = "auto",
    cache_dir: str | Path | None = None,
    features: Features | None = None,
    progress: Progress | None = None,
) -> AuditReport:
    """Reads every image of a folder and reports what is wrong with them.

    Args:
        folder: ``class/file``, or ``train|val|test/class/file``.
        near: Largest number of bits, 0 to 32, in which the 64-bit perceptual hashes of
            near duplicates differ; 0 finds exact ones only.
        layout: ``"classes"``: the folders are classes, whatever they look like.
        cache_dir: Where what was learned is kept, so that a second audit is quick; by
            default the user's cache.
        features: Called with a list of paths, gives one row of numbers for each, as
            ``functools.partial(cs.features, "efficientnet_lite0")`` does. By these,
            look-alikes that hashes miss, probable wrong labels and outliers are found.
        progress: Called with files done, files in all, and what is being done.

    Raises:
        DataError: No such folder, one that cannot be listed, or one whose folders look
            like classes and like parts.
        ArgumentError: ``near`` outside its interval, or features of another form.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [finding.kind for finding in audit(folder).problems]
    ['no images']
    """
    if not 0 <= near <= 32:
        raise ArgumentError(f"audit: near={near} is not from 0 to 32 bits.")
    listing = scan(folder, layout)
    at = decoding.place(listing, cache_dir)
    known = decoding.learn(listing, at, progress)
    report = examine(listing, known, at, near=near)
    if features is None:
        return report
    good = [e for e in listing.entries if not known[e.path].reason]
    usable = [known[e.path] for e in good]
    more = by_features(good, usable, features, listing.folder, near, at)
    return dataclasses.replace(report, problems=_ordered((*report.problems, *more)))


def examine(
    listing: Scan, known: Mapping[str, FileRecord], at: Path, *, near: int = NEAR
) -> AuditReport:
    """The report on files that have been read already; ``at`` is their cache."""
    good = [e for e in listing.entries if not known[e.path].reason]
    records = [known[e.path] for e in listing.entries]
    usable = [known[e.path] for e in good]
    problems = [
        *findings.unreadable(records),
        *findings.unreadable_folders(listing),
        *findings.classes(listing, good),
        *findings.copies(good, usable),
        *(findings.near(good, usable, near, at) if near else ()),
        *findings.names(listing),
        *findings.oddities(usable),
        *findings.empty_or_extreme(usable),
        *findings.leftovers(listing),
    ]
    counts: dict[str, dict[str, int]] = {}
    for part in listing.parts or ("",):
        tally = Counter(e.label for e in good if e.part == part)
        counts[part or "all"] = {c: tally[c] for c in listing.classes}
    return AuditReport(
        folder=str(listing.folder),
        counts=counts,
        sizes=tuple(Counter((f.width, f.height) for f in usable).most_common()),
        modes=dict(Counter(f.mode for f in usable).most_common()),
        formats=dict(Counter(f.format for f in usable).most_common()),
        records=tuple(records),
        problems=_ordered(problems),
    )


def _ordered(problems: Iterable[Finding]) -> tuple[Finding, ...]:
    """Those that must be fixed first."""
    return tuple(sorted(problems, key=lambda f: f.severity != "must fix"))
