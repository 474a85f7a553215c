"""Where a network fails, as tables: quarters of the images, pairs of classes."""

from convscope.train.reporting.record import RunReport
from convscope.viz.report.markup import Markup, name, table

PAIRS = 12  # of classes at most


def pairs_table(report: RunReport) -> str:
    """The classes that are taken for each other most often."""
    if not report.pairs:
        return ""
    classes = report.evaluation.classes
    rows = [
        (
            Markup(f"{name(classes[p.first])} <small>and</small> "
                   f"{name(classes[p.second])}"),
            f"{p.images:,}",
            f"{p.first_called_second + p.second_called_first:,}",
            f"{p.rate:.1%}",
            f"{p.interval[0]:.1%} to {p.interval[1]:.1%}",
            f"{p.first_called_second:,} : {p.second_called_first:,}",
            f"{p.share:.0%}",
        )
        for p in report.pairs[:PAIRS]
    ]  # fmt: skip
    heads = (
        "classes", "images", "confused", "rate", "95% interval", "there : back",
        "of all mistakes",
    )  # fmt: skip
    count = len(report.pairs)
    which = f"the {len(rows)} most frequent of {count:,} pairs" if count > PAIRS else (
        "every pair" if count > 1 else "the only pair"
    )  # fmt: skip
    return (
        "<h3>Where it fails: pairs of classes</h3>"
        + table(heads, rows)
        + f'<p class="note">{which[:1].upper()}{which[1:]} of classes taken for each '
        "other. The rate is of all images of the two; there : back is how many of the "
        "first are called the second, and the other way round.</p>"
    )


def slices_table(report: RunReport) -> str:
    """Accuracy on quarters of the images by brightness, contrast and size."""
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
