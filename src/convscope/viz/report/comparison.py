"""Several runs on the same images, side by side."""

import itertools
from collections.abc import Sequence

from convscope.train.judging.comparison import Comparison, compare
from convscope.train.reporting.record import RunReport
from convscope.viz.report import charts
from convscope.viz.report.markup import Markup, chapter, document, name, table, text
from convscope.viz.report.thumbnails import Thumbnails

CHANGED = 18  # pictures shown of each kind


def comparison_page(reports: Sequence[RunReport]) -> str:
    """Paired comparisons of two runs or more, and which pictures changed.

    Args:
        reports: From ``cs.report``, all on the same images.

    Raises:
        DataError: The images, their order or their labels are not the same.
    """
    room = Thumbnails()
    best = sorted(reports, key=lambda each: -each.evaluation.accuracy)
    rows = [(r.title, r.evaluation.accuracy, r.evaluation.interval, r is best[0])
            for r in best]  # fmt: skip
    costs = table(
        ("run", "accuracy", "parameters", "multiply-adds", "epochs"),
        [
            (
                name(r.title),
                f"{r.evaluation.accuracy:.2%}",
                f"{r.spec.model.parameters:,}",
                "–" if r.layers is None else f"{r.layers.multiply_adds:,}",
                len(r.history),
            )
            for r in best
        ],
    )
    pairs = [
        (one, two, compare(one.answers, two.answers))
        for one, two in itertools.combinations(best, 2)
    ]
    e = best[0].evaluation
    head = (
        f'<header><p class="what">convscope comparison</p><h1>{len(best)} runs on '
        f"{text(e.judged_on)} of {text(e.data)}</h1></header>"
    )
    chapters = [
        ("runs", "Runs", charts.intervals(rows) + costs),
        ("pairs", "Pairs", _pairs(pairs)),
        ("changed", "Changed", "".join(_changed(*pair, room) for pair in pairs)),
    ]
    body = head + "".join(chapter(*each) for each in chapters)
    there = [(key, name) for key, name, inner in chapters if inner]
    return document("comparison - convscope", there, body)


def holm(chances: Sequence[float]) -> list[float]:
    """Probabilities by chance, corrected for there being several (Holm 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(chances)), key=lambda i: chances[i])
    corrected, least = [0.0] * len(chances), 0.0
    for place, i in enumerate(order):
        least = max(least, min(1.0, chances[i] * (len(chances) - place)))
        corrected[i] = round(least, 15)
    return corrected


def _pairs(pairs: Sequence[tuple[RunReport, RunReport, Comparison]]) -> str:
    corrected = holm([found.chance for *_, found in pairs])
    rows = [
        (
            name(one.title),
            name(two.title),
            f"{0.0 - 100 * found.difference:+.2f}",
            f"{0.0 - 100 * found.interval[1]:+.2f} to "
            f"{0.0 - 100 * found.interval[0]:+.2f}",
            f"{len(found.first_only):,}",
            f"{len(found.second_only):,}",
            f"{chance:.2g}",
            Markup("<b>shown</b>") if chance < 0.05 else "not shown",
        )
        for (one, two, found), chance in zip(pairs, corrected, strict=True)
    ]
    heads = (
        "first", "second", "points better", "95% interval", "only first right",
        "only second right", "by chance", "difference",
    )  # fmt: skip
    return (
        table(heads, rows, names=2)
        + '<p class="note">On the same images, so pair by pair: McNemar\'s exact test, '
        "corrected for the number of pairs (Holm); the interval is of one pair by "
        "itself (Bonett and Price 2012).</p>"
    )


def _changed(
    one: RunReport, two: RunReport, found: Comparison, room: Thumbnails
) -> str:
    made = []
    for right, wrong, places in (
        (one, two, found.first_only),
        (two, one, found.second_only),
    ):
        if not places:
            continue
        shown = "".join(_picture(wrong, i, room) for i in places[:CHANGED])
        count = f"{len(places):,}"
        if len(places) > CHANGED:
            count += f", the first {CHANGED}"
        made.append(
            f"<h3>Right by {name(right.title)}, wrong by {name(wrong.title)}: {count}"
            f'</h3><div class="pictures">{shown}</div>'
        )
    return "".join(made)


def _picture(report: RunReport, i: int, room: Thumbnails) -> str:
    answers = report.answers
    source = room.of(answers.samples.pixels[i])
    image = f'<img src="{source}" alt="">' if source else '<span class="none"></span>'
    return (
        f'<figure title="{text(answers.samples.names[i])}">{image}<figcaption><b>'
        f"{name(answers.classes[answers.labels[i]])}</b><br>called "
        f"{name(answers.classes[answers.predicted[i]])}</figcaption></figure>"
    )
