"""Reports as files, whole or not at all."""

from collections.abc import Sequence
from pathlib import Path

from convscope.errors import RunError
from convscope.train.checkpoint import whole_or_absent
from convscope.train.reporting.model_card import model_card
from convscope.train.reporting.record import RunRecord, RunReport
from convscope.train.reporting.run_report import mistakes_csv
from convscope.viz.report.comparison import comparison_page
from convscope.viz.report.page import record_page, report_page

MISTAKES, CARD = "mistakes.csv", "README.md"
REPORT = "report.html"
"""The file of a report in its folder."""


def save_report(
    report: RunReport, place: str | Path, *, card: bool = False
) -> list[Path]:
    """Writes the page, ``mistakes.csv`` beside it and, if asked for, a model card.

    Args:
        report: From ``cs.report``.
        place: Of the page, such as ``runs/1/report.html``; it is replaced.
        card: Whether to write ``README.md`` beside it, as model hubs read it.

    Returns:
        The paths that were written, the page first.

    Raises:
        RunError: The folder cannot be made.
        WriteError: A file cannot be written; what was there before still is.

    >>> import tempfile, convscope as cs
    >>> run = cs.fit("softmax_regression", "digits", epochs=1, listeners=())
    >>> place = Path(tempfile.mkdtemp(), "report.html")
    >>> [path.name for path in save_report(cs.report(run), place)]
    ['report.html', 'mistakes.csv']
    """
    place = Path(place)
    texts = {
        place: report_page(report),
        place.with_name(MISTAKES): mistakes_csv(report.answers),
    }
    if card:
        texts[place.with_name(CARD)] = model_card(report)
    for path, content in texts.items():
        _write(path, content)
    return list(texts)


def save_record(record: RunRecord, place: str | Path) -> Path:
    """Writes the page of a run without data: curves, filters, layers, recipe.

    Args:
        record: From ``train.reporting.run_report.record``.
        place: Of the page; it is replaced.

    Raises:
        RunError: The folder cannot be made.
        WriteError: The file cannot be written; what was there before still is.
    """
    place = Path(place)
    _write(place, record_page(record))
    return place


def save_comparison(reports: Sequence[RunReport], place: str | Path) -> Path:
    """Writes the page that compares several runs on the same images.

    Args:
        reports: From ``cs.report``.
        place: Of the page; it is replaced.

    Raises:
        DataError: The images, their order or their labels are not the same.
        RunError: The folder cannot be made.
        WriteError: The file cannot be written; what was there before still is.
    """
    place = Path(place)
    _write(place, comparison_page(reports))
    return place


def _write(place: Path, content: str) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"report: the folder {place.parent} cannot be made: "
            f"{error.strerror or error}. Choose another place."
        ) from error
    with whole_or_absent(place) as file:
        file.write(content.encode("utf-8", "replace"))
