"""The chapter on the data: counts, audit, near duplicates, sample pictures."""

from collections.abc import Mapping

import numpy as np

from convscope.data.dataset import Samples
from convscope.train.judging.near_duplicates import Lookalikes
from convscope.train.judging.uncertainty import wilson
from convscope.train.reporting.record import RunReport
from convscope.viz.report.markup import (
    name,
    picture,
    sentences,
    table,
    text,
    why_missing,
)
from convscope.viz.report.thumbnails import Thumbnails

SAMPLES = 6  # training pictures of each class
CLASSES = 40  # of which sample pictures are shown
GROUPS, ALIKE = 12, 4  # groups of near duplicates, pictures of each
PARTS = {"train": "training", "val": "validation", "test": "test"}


def data_chapter(report: RunReport, room: Thumbnails) -> str:
    """Counts, what an audit says, near duplicates, sample pictures."""
    data, spec = report.data, report.spec
    names = list(data.classes)
    counts = {
        part: np.bincount(
            samples.labels.numpy()[samples.labels.numpy() >= 0], minlength=len(names)
        )
        for part, samples in data.parts.items()
    }
    rows = [
        (name(label), *(f"{counts[part][number]:,}" for part in data.parts))
        for number, label in enumerate(names)
    ]
    rows.append(("all", *(f"{len(samples):,}" for samples in data.parts.values())))
    told = set() if report.audit is None else {p.message for p in report.audit.problems}
    notes = [note for note in spec.data.notes if note not in told]
    aside = ""
    if data.set_aside:
        lines = table(
            ("file", "why it could not be used"),
            [(each.path, each.reason) for each in data.set_aside[:50]],
            names=2,
        )
        aside = (
            f"<details><summary>{len(data.set_aside):,} files could not be used"
            f"</summary>{lines}</details>"
        )
    return (
        _counts(rows)
        + sentences(notes)
        + aside
        + _audit(report)
        + _near(report, room)
        + _sample_pictures(report, room)
        + f'<p class="note">fingerprint {text(spec.data.fingerprint[:16])}</p>'
    )


def _counts(rows: list[tuple[str, ...]]) -> str:
    """Images of each class; of very many classes only the sums, the rest to open."""
    heads = ("class", "training", "validation", "test")
    if len(rows) <= CLASSES:
        return table(heads, rows)
    return (
        f"{table(heads, rows[-1:])}<details><summary>Each of the {len(rows) - 1:,} "
        f"classes</summary>{table(heads, rows)}</details>"
    )


def _audit(report: RunReport) -> str:
    """What an audit of its folder found, and what its files are like."""
    audit = report.audit
    if audit is None:
        return ""
    (width, height), most = audit.sizes[0] if audit.sizes else ((0, 0), 0)
    kinds = ", ".join(f"{kind} {n:,}" for kind, n in audit.formats.items())
    sizes = f"{width:,} x {height:,} pixels" + (
        f" the most frequent of {len(audit.sizes):,} sizes ({most:,})"
        if len(audit.sizes) > 1 else ""
    )  # fmt: skip
    rows = [
        (problem.kind, problem.severity, problem.message) for problem in audit.problems
    ]
    return (
        f"<h3>Audit of the folder</h3><p>{len(audit.records):,} files: {text(kinds)}; "
        f"{sizes}.</p>"
        + (table(("what", "weight", "found"), rows, names=3) if rows else
           "<p>Nothing is wrong with them.</p>")
    )  # fmt: skip


def _near(report: RunReport, room: Thumbnails) -> str:
    """Pictures that look alike, those across parts first."""
    found = report.near_duplicates
    head = "<h3>Near duplicates</h3>"
    if found is None:
        return head + why_missing(report, "near_duplicates")
    part = report.answers.part
    whole = "each image was compared with each" if found.among_all else (
        f"the {found.judged:,} judged images were compared with each other and with "
        "all others"
    )  # fmt: skip
    rule = f'<p class="note">By the rule of convscope data audit; {whole}.</p>'
    if not found.groups:
        return f"{head}<p>No two images look alike.</p>{rule}"
    across = sum(len(group.parts) > 1 for group in found.groups)
    mixed = sum(group.are_mixed for group in found.groups)
    count = len(found.groups)
    said = (
        f"{count:,} groups of images look alike" if count > 1 else
        "1 group of images looks alike"
    )  # fmt: skip
    said += f"; {across:,} across parts, {mixed:,} labeled as different classes."
    if found.seen:
        correct, images = report.unseen
        low, high = wilson(correct, max(images, 1))
        said += (
            f" {len(found.seen):,} of the {found.judged:,} judged images look like a "
            "training image"
        )
        if images:
            said += (
                f"; without them the accuracy is {correct / images:.2%} "
                f"({low:.2%} to {high:.2%}) and not {report.evaluation.accuracy:.2%}"
            )
        said += "."
    parts = {**report.data.parts, part: report.answers.samples}
    shown = "".join(
        _group(group, parts, report, room) for group in found.groups[:GROUPS]
    )
    more = f"<p class=note>The first {GROUPS} groups.</p>" if count > GROUPS else ""
    return f'{head}<p>{said}</p>{rule}<div class="alike">{shown}</div>{more}'


def _group(
    group: Lookalikes,
    parts: Mapping[str, Samples],
    report: RunReport,
    room: Thumbnails,
) -> str:
    """A row of pictures that look alike."""
    names = report.answers.classes
    made = []
    for (part, i), label in list(zip(group.members, group.labels, strict=True))[:ALIKE]:
        known = name(names[label]) if 0 <= label < len(names) else "no label"
        made.append(
            picture(room.of(parts[part].pixels[i]), str(parts[part].names[i]), known,
                    PARTS.get(part, part))
        )  # fmt: skip
    said = "the same picture" if group.are_equal else "alike"
    if len(group.members) > ALIKE:
        said += f", {ALIKE} of {len(group.members):,}"
    inner = "".join(made)
    return f'<div><p class="note">{said}</p><div class="pictures">{inner}</div></div>'


def _sample_pictures(report: RunReport, room: Thumbnails) -> str:
    data, made = report.data, []
    labels = data.train.labels.numpy()
    for number, label in enumerate(data.classes[:CLASSES]):
        own = np.flatnonzero(labels == number)[:SAMPLES]
        images = "".join(
            f'<img src="{source}" alt="{text(label)}">'
            for source in (room.of(data.train.pixels[int(i)]) for i in own)
            if source
        )
        if images:
            made.append(
                f'<div><span title="{text(label)}">{text(label)}</span>{images}</div>'
            )
    if not made:
        return ""
    what = "<h3>Training pictures, as the network gets them</h3>"
    return f'{what}<div class="samples">{"".join(made)}</div>'
