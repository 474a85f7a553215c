"""A run's report, chapter by chapter."""

import platform
import shlex
from collections.abc import Iterator, Sequence

from convscope.data.words import counted
from convscope.train.judging.metrics import percent
from convscope.train.reporting.record import RunRecord, RunReport
from convscope.viz.report import charts
from convscope.viz.report.confusion import confusion
from convscope.viz.report.data_chapter import data_chapter
from convscope.viz.report.inside_chapter import inside_chapter
from convscope.viz.report.markup import (
    chapter,
    document,
    name,
    picture,
    sentences,
    table,
    text,
    why_missing,
)
from convscope.viz.report.slices import pairs_table, slices_table
from convscope.viz.report.thumbnails import Thumbnails

MISTAKES, DOUBTS = 24, 24
CLASSES = 40  # of which every row is shown


def report_page(report: RunReport) -> str:
    """The report as one HTML file.

    Args:
        report: From ``cs.report``.
    """
    room = Thumbnails()
    chapters = [
        ("result", "Result", _result(report)),
        ("judgment", "Judgment", _judgment(report, room)),
        ("mistakes", "Mistakes", _mistakes(report, room)),
        ("labels", "Labels", _labels(report, room)),
        ("data", "Data", data_chapter(report, room)),
        ("training", "Training", _training(report)),
        ("inside", "Inside", inside_chapter(report, room)),
        ("again", "Recipe", _again(report)),
    ]
    return _assembled(report, chapters)


def record_page(record: RunRecord) -> str:
    """What can be said of a run without data, and what cannot, as one HTML file.

    Args:
        record: From ``train.reporting.run_report.record``.
    """
    room = Thumbnails()
    chapters = [
        ("result", "Result", _warning(record.missing.get("data", ""))),
        ("training", "Training", _training(record)),
        ("inside", "Inside", inside_chapter(record, room)),
        ("again", "Recipe", _again(record)),
    ]
    return _assembled(record, chapters)


def _assembled(record: RunRecord, chapters: list[tuple[str, str, str]]) -> str:
    """A page of chapters (key, name, content); those without content are left out."""
    body = "".join(chapter(key, name, inner) for key, name, inner in chapters)
    there = [(key, name) for key, name, inner in chapters if inner]
    return document(f"{record.title} - convscope", there, _head(record) + body)


def _head(report: RunRecord) -> str:
    spec = report.spec
    model = spec.model.name or "a network of its own"
    shape = " x ".join(map(str, spec.input_shape[1:]))
    return (
        f'<header><p class="what">convscope report, {text(spec.created[:10])}</p>'
        f"<h1>{text(report.title)}</h1>"
        f"<p>{text(model)}, {spec.model.parameters:,} parameters, trained on "
        f"{spec.data.train:,} images of {text(spec.data.name)} ({shape} pixels, "
        f"{len(spec.classes)} classes)</p></header>"
    )


def _result(report: RunReport) -> str:
    e = report.evaluation
    low, high = e.interval
    rows = [("this network", e.accuracy, e.interval, True)]
    rows += [(b.name, b.accuracy, b.interval, False) for b in report.baselines]
    beside = charts.intervals(rows)
    if report.baselines:
        fewest = min(b.images for b in report.baselines)
        if fewest < e.samples:
            beside += (
                f'<p class="note">simple methods judge {fewest:,} of the '
                f"{e.samples:,} images</p>"
            )
    warning = ""
    if e.trained_on:
        warning = f"These figures are of {e.of_what}, not of new ones."
    elif e.doubt:
        warning = e.doubt
    return (
        f'<div class="first"><div><p class="figure">{e.accuracy:.2%}</p>'
        f"<p>of {text(e.judged_on)} of {text(e.data)} are called by "
        f"their name<br>95% interval {low:.2%} to {high:.2%}</p>"
        f"{_warning(warning)}{beside}"
        f"{why_missing(report, 'part', 'baselines', 'repeats')}</div>"
        f"<div><h3>What matters</h3>{sentences(report.findings)}"
        f"<h3>What to do next</h3>"
        f"{sentences(report.advice) or '<p>Nothing stands out.</p>'}</div></div>"
        f"{_notes(e.notes)}"
    )


def _judgment(report: RunReport, room: Thumbnails) -> str:
    e = report.evaluation
    scores: list[tuple[str, ...]] = []
    for s in e.per_class:
        found = (percent(s.precision), percent(s.recall), percent(s.f1))
        scores.append((name(s.name), *found, f"{s.support:,}"))
    mean = (e.macro.precision, e.macro.recall, e.macro.f1)
    scores.append(("mean of classes", *map(percent, mean), f"{e.samples:,}"))
    figures = table(
        ("figure", "value"),
        [
            ("balanced accuracy", percent(e.balanced_accuracy)),
            ("top-5 accuracy", e.top5_note if e.top5 is None else percent(e.top5)),
            ("expected calibration error", percent(e.calibration_error)),
            ("negative log-likelihood", f"{e.negative_log_likelihood:.4f} nats"),
            *_temperature_rows(report),
        ],
    ) + why_missing(report, "temperature")
    return (
        "<h3>Per class</h3>"
        + _per_class(scores)
        + _without_images(report)
        + confusion(report.answers, e, room)
        + f'<div class="pair">{charts.reliability(e.calibration)}'
        + f"<div>{figures}</div></div>"
        + pairs_table(report)
        + slices_table(report)
    )


def _per_class(scores: list[tuple[str, ...]]) -> str:
    """All classes; of very many the weakest first, the others to be opened."""
    heads = ("class", "precision", "recall", "F1", "images")
    *classes, mean = scores
    if len(classes) <= CLASSES:
        return table(heads, scores)
    weakest = sorted(classes, key=lambda row: float(row[3].rstrip("%–") or 0))[:12]
    return (
        f'<p class="note">The {len(weakest)} with the smallest F1</p>'
        f"{table(heads, [*weakest, mean])}<details><summary>All {len(classes):,} "
        f"classes</summary>{table(heads, scores)}</details>"
    )


def _without_images(report: RunReport) -> str:
    """Which classes are not judged at all."""
    absent = [s.name for s in report.evaluation.per_class if not s.support]
    if not absent:
        return ""
    them = "it is" if len(absent) == 1 else "they are"
    return (
        f'<p class="note">No judged image is of {", ".join(map(name, absent[:10]))}'
        f"{' and others' * (len(absent) > 10)}: how often {them} found is not "
        "known.</p>"
    )


def _temperature_rows(report: RunReport) -> Iterator[tuple[str, str]]:
    found = report.temperature
    if report.spec.temperature != 1.0:
        yield "temperature in use", f"{report.spec.temperature:.3f}"
    elif found is not None:
        yield "temperature that would mend it", f"{found.value:.3f}"
        yield (
            "calibration error with it, on validation",
            f"{percent(found.error_after)} (without {percent(found.error_before)})",
        )


def _mistakes(report: RunReport, room: Thumbnails) -> str:
    answers = report.answers
    wrong, labels = answers.wrong, answers.labels
    predicted, confidence = answers.predicted, answers.confidence
    if not len(wrong):
        return "<p>There are none.</p>"
    shown = [
        picture(
            room.of(answers.samples.pixels[int(i)]),
            str(answers.samples.names[i]),
            name(answers.classes[labels[i]]),
            f"called {name(answers.classes[predicted[i]])}, {confidence[i]:.0%} sure",
            _reason(report, place, room),
        )
        for place, i in enumerate(wrong[:MISTAKES])
    ]
    more = ""
    if len(wrong) > len(shown):
        more = " All are in mistakes.csv beside this file."
    looked = ""
    if report.reasons is not None:
        looked = (
            " Beside each: what in it spoke for the wrong class, the brighter the more "
            f"(Grad-CAM at {text(report.reasons.layer)})."
        )
    return (
        f"<p>The {len(shown)} surest of {len(wrong):,}, each under its true class."
        f"{more}{looked}</p>{why_missing(report, 'reasons')}"
        f'<div class="pictures">{"".join(shown)}</div>'
    )


def _reason(report: RunReport, place: int, room: Thumbnails) -> str:
    """The picture of a mistake under what spoke for the wrong class."""
    if report.reasons is None or place >= len(report.reasons.maps):
        return ""
    i = int(report.answers.wrong[place])
    return room.overlaid(report.answers.samples.pixels[i], report.reasons.maps[place])


def _labels(report: RunReport, room: Thumbnails) -> str:
    answers = report.answers
    if not report.doubts:
        return why_missing(report, "labels") or "<p>No label is in question.</p>"
    shown = [
        picture(
            room.of(answers.samples.pixels[doubt.index]),
            str(answers.samples.names[doubt.index]),
            f"labeled {name(answers.classes[doubt.given])}",
            f"looks like {name(answers.classes[doubt.suggested])} "
            f"(by {100 * doubt.margin:.0f} points)",
        )
        for doubt in report.doubts[:DOUBTS]
    ]
    count = len(report.doubts)
    said = "1 label is" if count == 1 else f"{count:,} labels are"
    return (
        f"<p>{said} probably wrong (confident learning: the network is as sure of "
        "another class as it usually is of images of that class). It may be the "
        "network that errs: look before you change anything.</p>"
        f'<div class="pictures">{"".join(shown)}</div>'
    )


def _training(report: RunRecord) -> str:
    history = report.history
    if not history:
        return '<p class="note">No epoch has been trained.</p>'
    x = [float(row["epoch"]) for row in history]

    def line(name: str, key: str) -> charts.Line:
        values: Sequence[float | None] = [row.get(key) for row in history]
        return charts.Line(name, values)

    drawn = [
        charts.curves(
            "Loss", x, [line("training", "train_loss"), line("validation", "val_loss")],
            "nats",
        ),
        charts.curves(
            "Accuracy on validation images", x,
            [line("validation", "val_accuracy")], "%",
        ),
    ]  # fmt: skip
    seconds = sum(float(row.get("seconds") or 0) for row in history)
    kept = report.spec.kept_epoch
    which = f", of which epoch {kept} is kept" if kept is not None else ""
    return (
        f"<p>{counted(len(history), 'epoch')}{which}, {_duration(seconds)}.</p>"
        f'<div class="pair">{"".join(drawn)}</div>'
    )


def _again(report: RunRecord) -> str:
    spec = report.spec
    source = spec.data.source or "DATA"
    words = ["convscope", "train", source, "--recipe", "recipe.toml"]
    if spec.model.name:
        words += ["--model", spec.model.name]
    command = " ".join(map(shlex.quote, words))
    made = spec.preprocessing
    steps = [
        ("size", f"{made.size[0]} x {made.size[1]}, {made.resize}"),
        ("interpolation", made.interpolation),
        ("channels, bits", f"{made.channels}, {made.bits}"),
        ("mean", ", ".join(f"{v:.4f}" for v in made.mean)),
        ("standard deviation", ", ".join(f"{v:.4f}" for v in made.std)),
    ]
    versions = {"convscope": spec.convscope, **spec.versions}
    versions["judged on"] = f"{platform.system()} {platform.machine()}"
    return (
        "<p>Keep this as <code>recipe.toml</code>:</p>"
        f"<details><summary>recipe.toml</summary>"
        f'<pre tabindex="0">{_lines(spec.recipe.to_toml())}</pre></details>'
        f'<p>and train again with</p><pre tabindex="0">{text(command)}</pre>'
        f'<div class="pair"><div><h3>From file to input</h3>'
        f"{table(('step', 'value'), steps)}</div>"
        f"<div><h3>Made with</h3>{table(('what', 'version'), list(versions.items()))}"
        f"</div></div>"
    )


def _lines(value: str) -> str:
    """Several lines as text that is no markup and moves nothing."""
    return "\n".join(text(line) for line in value.splitlines())


def _notes(said: Sequence[str]) -> str:
    if not said:
        return ""
    return (
        '<details class="notes"><summary>What to know about these figures</summary>'
        f"{sentences(said)}</details>"
    )


def _warning(sentence: str) -> str:
    return f'<p class="warning">{text(sentence)}</p>' if sentence else ""


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
