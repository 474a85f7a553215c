"""A run's report, chapter by chapter."""

import platform
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from convscope.train.judging.metrics import percent
from convscope.train.reporting.run_report import RunReport
from convscope.viz.palette import COUNT, diverging
from convscope.viz.report import charts
from convscope.viz.report.confusion import confusion
from convscope.viz.report.markup import Markup, chapter, document, table, text
from convscope.viz.report.thumbnails import Thumbnails

SAMPLES = 6  # training pictures of each class
CLASSES = 40  # of which sample pictures are shown
MISTAKES, DOUBTS = 24, 24
FILTERS = 64


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
        ("data", "Data", _data(report, room)),
        ("training", "Training", _training(report)),
        ("inside", "Inside", _inside(report, room)),
        ("again", "Recipe", _again(report)),
    ]
    body = "".join(chapter(key, name, inner) for key, name, inner in chapters)
    there = [(key, name) for key, name, inner in chapters if inner]
    return document(f"{report.title} - convscope", there, _head(report) + body)


def _head(report: RunReport) -> str:
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
        f"{_warning(warning)}{beside}</div>"
        f"<div><h3>What matters</h3>{_list(report.findings)}"
        f"<h3>What to do next</h3>"
        f"{_list(report.advice) or '<p>Nothing stands out.</p>'}</div></div>"
        f"{_notes((*e.notes, *report.missing))}"
    )


def _judgment(report: RunReport, room: Thumbnails) -> str:
    e = report.evaluation
    scores: list[tuple[str, ...]] = []
    for s in e.per_class:
        found = (percent(s.precision), percent(s.recall), percent(s.f1))
        scores.append((s.name, *found, f"{s.support:,}"))
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
    )
    return (
        "<h3>Per class</h3>"
        + table(("class", "precision", "recall", "F1", "images"), scores)
        + confusion(report.answers, e, room)
        + f'<div class="pair">{charts.reliability(e.calibration)}'
        + f"<div>{figures}</div></div>"
        + _slices(report)
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


def _slices(report: RunReport) -> str:
    if not report.slices:
        return ""
    rows = [
        (
            s.quantity,
            f"{s.low:.3g} to {s.high:.3g}",
            f"{s.images:,}",
            f"{s.accuracy:.1%}",
            f"{s.interval[0]:.1%} to {s.interval[1]:.1%}",
            Markup("<b>stands out</b>") if s.stands_out else "",
        )
        for s in report.slices
    ]
    return (
        "<h3>Where it fails: quarters of the images</h3>"
        + table(("of", "from, to", "images", "accuracy", "95% interval", ""), rows)
        + '<p class="note">Brightness and contrast are mean and spread of an image\'s '
        "pixels on a scale from 0 to 1, size is the larger side of the file in pixels. "
        "What stands out differs from all other images by more than chance explains."
        "</p>"
    )


def _mistakes(report: RunReport, room: Thumbnails) -> str:
    answers = report.answers
    wrong = answers.wrong
    if not len(wrong):
        return "<p>There are none.</p>"
    shown = [
        _picture(
            room.of(answers.samples.pixels[int(i)]),
            str(answers.samples.names[i]),
            f"{answers.classes[answers.labels[i]]}",
            f"called {answers.classes[answers.predicted[i]]}, "
            f"{answers.confidence[i]:.0%} sure",
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
        f'{more}{looked}</p><div class="pictures">{"".join(shown)}</div>'
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
        return "" if answers.trained_on else "<p>No label is in question.</p>"
    shown = [
        _picture(
            room.of(answers.samples.pixels[doubt.index]),
            str(answers.samples.names[doubt.index]),
            f"labeled {answers.classes[doubt.given]}",
            f"looks like {answers.classes[doubt.suggested]} "
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


def _data(report: RunReport, room: Thumbnails) -> str:
    data, spec = report.data, report.spec
    names = list(data.classes)
    counts = {
        part: np.bincount(
            samples.labels.numpy()[samples.labels.numpy() >= 0], minlength=len(names)
        )
        for part, samples in data.parts.items()
    }
    rows = [
        (name, *(f"{counts[part][number]:,}" for part in data.parts))
        for number, name in enumerate(names)
    ]
    rows.append(("all", *(f"{len(samples):,}" for samples in data.parts.values())))
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
        table(("class", "training", "validation", "test"), rows)
        + _list(spec.data.notes)
        + aside
        + _sample_pictures(report, room)
        + f'<p class="note">fingerprint {text(spec.data.fingerprint[:16])}</p>'
    )


def _sample_pictures(report: RunReport, room: Thumbnails) -> str:
    data, made = report.data, []
    labels = data.train.labels.numpy()
    for number, name in enumerate(data.classes[:CLASSES]):
        own = np.flatnonzero(labels == number)[:SAMPLES]
        images = "".join(
            f'<img src="{source}" alt="{text(name)}">'
            for source in (room.of(data.train.pixels[int(i)]) for i in own)
            if source
        )
        if images:
            made.append(f"<div><span>{text(name)}</span>{images}</div>")
    if not made:
        return ""
    what = "<h3>Training pictures, as the network gets them</h3>"
    return f'{what}<div class="samples">{"".join(made)}</div>'


def _training(report: RunReport) -> str:
    history = report.history
    if not history:
        return ""
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
        f"<p>{len(history)} epochs{which}, {_duration(seconds)}.</p>"
        f'<div class="pair">{"".join(drawn)}</div>'
    )


def _inside(report: RunReport, room: Thumbnails) -> str:
    pieces = []
    if report.filters is not None:
        pieces.append(_filters(report.filters, room))
    if report.layers is not None:
        rows = [
            (
                Markup("&nbsp;" * 2 * row.depth + text(row.name)),
                row.kind,
                " x ".join(map(str, row.output_shapes[0][1:])) if row.output_shapes
                else "",
                f"{row.parameters:,}",
                f"{row.multiply_adds:,}",
            )
            for row in report.layers.rows
        ]  # fmt: skip
        heads = ("layer", "kind", "output", "parameters", "multiply-adds")
        inner = table(heads, rows, names=3)
        total = (
            f"{report.layers.parameters:,} parameters, "
            f"{report.layers.multiply_adds:,} multiply-adds for an image"
        )
        pieces.append(
            f"<details{' open' if len(rows) <= 16 else ''}><summary>{len(rows)} "
            f"layers: {total}</summary>{inner}</details>"
        )
    return "".join(pieces)


def _filters(kernels: np.ndarray, room: Thumbnails) -> str:
    out, channels = kernels.shape[:2]
    top = float(np.abs(kernels).max()) or 1.0
    images = []
    for kernel in kernels[:FILTERS]:
        if channels == 3:
            shown = 0.5 + kernel.transpose(1, 2, 0) / (2 * top)
            pixels = (255 * shown).round().astype(np.uint8)
        else:
            places = ((kernel[0] / top + 1) / 2 * (COUNT - 1)).round().astype(int)
            pixels = (255 * diverging()[places]).round().astype(np.uint8)
        source = room.of_array(pixels)
        if source:
            images.append(f'<img src="{source}" alt="">')
    what = "in color" if channels == 3 else "orange negative, blue positive"
    if channels not in (1, 3):
        what += f", for the first of {channels} channels"
    count = f"{len(images)} of {out}" if len(images) < out else f"{out}"
    return (
        f"<h3>Filters of the first convolution</h3>"
        f'<div class="filters">{"".join(images)}</div>'
        f'<p class="note">{count} filters of {kernels.shape[2]} x {kernels.shape[3]}, '
        f"{what}; the scale goes from {-top:.3g} to {top:.3g} for all.</p>"
    )


def _again(report: RunReport) -> str:
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


def _picture(source: str, name: str, title: str, note: str, beside: str = "") -> str:
    image = f'<img src="{source}" alt="">' if source else '<span class="none"></span>'
    if beside:
        image = f'<div class="two">{image}<img src="{beside}" alt=""></div>'
    return (
        f'<figure title="{text(name)}">{image}<figcaption><b>{text(title)}</b><br>'
        f"{text(note)}<br><small>{text(Path(name).name)}</small></figcaption></figure>"
    )


def _list(sentences: Sequence[str]) -> str:
    if not sentences:
        return ""
    return f"<ul>{''.join(f'<li>{text(each)}</li>' for each in sentences)}</ul>"


def _notes(sentences: Sequence[str]) -> str:
    if not sentences:
        return ""
    return (
        '<details class="notes"><summary>What to know about these figures</summary>'
        f"{_list(sentences)}</details>"
    )


def _warning(sentence: str) -> str:
    return f'<p class="warning">{text(sentence)}</p>' if sentence else ""


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
