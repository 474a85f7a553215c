"""An evaluation as a person reads it: what matters most first."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from string import ascii_lowercase

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from convscope.cli.listing import READABLE, Listing
from convscope.cli.remedies import in_flags
from convscope.terminal import cell, printable
from convscope.train.judging.metrics import ClassScore, Evaluation, FoldFigures, percent

WIDTH = 80  # columns; wider tables are harder to read, not easier
MATRIX_CLASSES = 12  # as many columns as fit beside the names
TABLE_CLASSES = 30  # beyond it only the classes that go worst are shown
PAIRS = 10  # of confused classes, shown where the matrix is too wide
MISTAKES = 10


def report(evaluation: Evaluation) -> Iterator[RenderableType]:
    """What a person reads first, then second, and so on; at most 80 columns wide."""
    if evaluation.folds is not None:
        yield cell(_of_folds(evaluation.data, evaluation.folds), "dim")
    elif evaluation.data:
        yield cell(f"{evaluation.data}, {evaluation.part} images", "dim")
    yield from (cell(note, "dim") for note in evaluation.notes)
    yield from _headline(evaluation)
    yield from _per_class(evaluation)
    if len(evaluation.classes) <= MATRIX_CLASSES:
        yield _title("Confusion: a row is the true class, a column the predicted one")
        yield _Confusion(evaluation)
    elif evaluation.correct < evaluation.samples:
        yield _title("Most often confused; every count is in --json and --csv")
        yield _confused_pairs(evaluation)
    yield from _calibration(evaluation)
    if evaluation.mistakes:
        yield from _mistakes(evaluation)


def _headline(e: Evaluation) -> Iterator[Text]:
    low, high = e.interval
    if e.trained_on:
        yield Text(f"of {e.of_what}, not of new ones:", "bold yellow")
    yield Text.assemble(
        (f"accuracy {e.accuracy:.2%}", "bold"),
        f"  95% interval {low:.2%} to {high:.2%}",
        f"  ({e.correct:,} of {e.samples:,})",
    )
    if e.folds is not None:
        yield from _folds(e.folds)
    if e.doubt:
        remedy = "" if e.remedy is None else f" {_sentence(in_flags(e.remedy))}"
        yield Text(f"warning: {e.doubt}{remedy}", "yellow")
    top5 = f"not shown ({e.top5_note})" if e.top5 is None else f"{e.top5:.2%}"
    yield Text(f"balanced accuracy {e.balanced_accuracy:.2%}  top-5 {top5}")
    if e.unlabeled:
        yield Text(f"{e.unlabeled:,} images without a label are left out")


def _of_folds(data: str, folds: FoldFigures) -> str:
    """Whose figures these are, where they are not the kept network's."""
    parted = f", parted {folds.repeats} times" if folds.repeats > 1 else ""
    return (
        f"{data}, {folds.images:,} images in {folds.folds} folds{parted}: each judged "
        "by a network that has not seen it. The network that is kept has learned from "
        "all of them."
    )


def _folds(folds: FoldFigures) -> Iterator[Text]:
    accuracies = [score.accuracy for score in folds.scores]
    low, high = folds.corrected_interval
    yield Text(
        f"folds {min(accuracies):.2%} to {max(accuracies):.2%}, standard deviation "
        f"{100 * folds.spread:.1f} points; interval that allows for other training "
        f"images, too: {low:.2%} to {high:.2%}"
    )
    if folds.test is not None:
        (low, high), test = folds.test.interval, folds.test
        yield Text(
            f"test part, by the kept network: {test.accuracy:.2%}  95% interval "
            f"{low:.2%} to {high:.2%}  ({test.correct:,} of {test.samples:,})"
        )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _per_class(e: Evaluation) -> Iterator[RenderableType]:
    shown = sorted(e.per_class, key=_f1)[:TABLE_CLASSES]
    title = f"The {TABLE_CLASSES} of {len(e.classes)} classes with the lowest F1"
    if len(e.classes) <= TABLE_CLASSES:
        shown, title = list(e.per_class), "Per class"
    yield _title(title)
    scores = Listing(("class", "precision", "recall", "F1", "images"), names=1)
    for s in shown:
        cells = (percent(s.precision), percent(s.recall), percent(s.f1))
        scores.rows.append((s.name, *cells, f"{s.support:,}"))
    mean = (e.macro.precision, e.macro.recall, e.macro.f1)
    scores.total = ("macro average", *map(percent, mean), f"{e.samples:,}")
    yield scores


def _f1(score: ClassScore) -> float:
    return 2.0 if score.f1 is None else score.f1  # not there: nothing went wrong


class _Confusion:
    """The matrix; in a window too narrow for it, the confused pairs."""

    def __init__(self, evaluation: Evaluation) -> None:
        self._evaluation = evaluation

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """What rich asks for."""
        e, width = self._evaluation, min(options.max_width, WIDTH)
        digits = max(3, *(len(str(count)) for row in e.confusion for count in row))
        left = width - len(e.classes) * (digits + 1)
        if left >= min(READABLE, 2 + max(cell_len(name) for name in e.classes)):
            yield self._matrix(left, digits)
        elif e.correct == e.samples:
            yield Text("no class is confused with another")
        else:
            yield _confused_pairs(e)

    def _matrix(self, left: int, digits: int) -> Table:
        e = self._evaluation
        heads: Sequence[str] = e.classes
        rows = [cell(name) for name in e.classes]
        if max(map(cell_len, e.classes)) > digits:  # letters stand for the names
            heads = ascii_lowercase[: len(e.classes)]
            rows = [
                Text.assemble((head, "bold"), f" {printable(name)}")
                for head, name in zip(heads, e.classes, strict=True)
            ]
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
        table.add_column("", overflow="ellipsis", no_wrap=True, max_width=left)
        for head in heads:
            table.add_column(cell(head), justify="right", no_wrap=True,
                             min_width=digits)  # fmt: skip
        for i, (row, counts) in enumerate(zip(rows, e.confusion, strict=True)):
            cells = [
                Text(str(count) if count else "·", style="bold" if i == j else "")
                for j, count in enumerate(counts)
            ]
            table.add_row(row, *cells)
        return table


def _confused_pairs(e: Evaluation) -> Listing:
    shown = Listing(("true", "predicted", "images"), names=2)
    for count, i, j in e.confused[:PAIRS]:
        shown.rows.append((e.classes[i], e.classes[j], f"{count:,}"))
    return shown


def _calibration(e: Evaluation) -> Iterator[Text]:
    yield _title("Calibration")
    sure = sum(b.count * (b.confidence or 0.0) for b in e.calibration) / e.samples
    gap = sure - e.accuracy
    verdict = "overconfident" if gap > 0 else "underconfident"
    yield Text(
        f"mean confidence {percent(sure)}, accuracy {percent(e.accuracy)}: "
        f"{verdict} by {100 * abs(gap):.1f} points\n"
        f"expected calibration error {percent(e.calibration_error)}, "
        f"negative log-likelihood {e.negative_log_likelihood:.4f}"
    )


def _mistakes(e: Evaluation) -> Iterator[RenderableType]:
    worst, wrong = e.mistakes[:MISTAKES], e.samples - e.correct
    names = [m.name for m in worst]
    folder = shared_folder(names)
    text = f"Worst mistakes: the {len(worst)} most confident of {wrong:,}"
    yield _title(f"{text}, in {folder}" if folder else text)
    table = Listing(("image", "true", "predicted", "probability"), names=3, whole=True)
    for name, m in zip(names, worst, strict=True):
        short = os.path.relpath(name, folder) if folder else name
        table.rows.append((short, m.true, m.predicted, percent(m.probability)))
    yield table


def shared_folder(names: Sequence[str]) -> str:
    """The folder that all files lie in; empty where the names are not whole paths.

    >>> shared_folder(["/a/b/c.png", "/a/d.png"]), shared_folder(["mnist/test/1"])
    ('/a', '')
    """
    paths = [Path(name) for name in names]
    if not all(path.is_absolute() for path in paths):
        return ""
    return os.path.commonpath([path.parent for path in paths])


def _title(text: str) -> Text:
    title = Text(f"\n{printable(text)}\n", style="bold")
    title.overflow = "fold"
    return title
