"""``convscope evaluate``: what a trained network is worth, and where it fails."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from string import ascii_lowercase
from typing import Annotated, cast, get_args

import typer
from rich import box
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from convscope.cli.progress_bar import counting
from convscope.errors import ArgumentError, UnknownNameError
from convscope.train.judging.metrics import ClassScore, Evaluation, percent
from convscope.train.recipe import Tta
from convscope.train.run import Run

WIDTH = 80  # columns
MATRIX_CLASSES = 12  # as many columns as fit beside the names
TABLE_CLASSES = 30  # beyond it only the classes that go worst are shown
PAIRS = 10  # of confused classes, shown where the matrix is too wide
MISTAKES = 10


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of train.")],
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATA]",
            help="A data set's name or a folder; by default what RUN was trained on.",
        ),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(
            metavar="train|val|test|all",
            help="Which images; by default test, and all of a plain folder that RUN "
            "was not trained on.",
        ),
    ] = None,
    tta: Annotated[
        str | None,
        typer.Option(
            metavar="none|flip|shift|both",
            help="Mean over each image and its mirror image, copies moved a little, or "
            "both; by default what the recipe says.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object.")
    ] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print rows of metric,class,predicted,value.")
    ] = False,
    batch_size: Annotated[int, typer.Option(help="Images at a time.")] = 256,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, ...; by default as in training.")
    ] = None,
    optimize: Annotated[
        bool | None,
        typer.Option(help="Use the fastest setting; by default as in training."),
    ] = None,
) -> None:
    """Print accuracy with its interval, scores per class, confusions and mistakes.

    Example: convscope evaluate runs/photos-resnet9-1 more-photos/
    """
    if as_json and as_csv:
        raise ArgumentError(
            "evaluate: --json and --csv exclude each other. Choose one."
        )
    if tta not in (None, *get_args(Tta)):
        raise UnknownNameError("tta", str(tta), get_args(Tta))
    with counting() as (advance, _):
        judged = Run.load(run, device=device, optimize=optimize).evaluate(
            data,
            part,
            tta=cast("Tta | None", tta),
            batch_size=batch_size,
            progress=advance,
        )
    if as_json:
        typer.echo(json.dumps(judged.to_dict()))
    elif as_csv:
        typer.echo(judged.to_csv(), nl=False)
    else:
        console = Console(highlight=False)
        for each in tables(judged):
            console.print(each)


def tables(evaluation: Evaluation) -> Iterator[RenderableType]:
    """What a person reads first, then second, and so on; at most 80 columns wide."""
    if evaluation.data:
        yield Text(f"{evaluation.data}, {evaluation.part} images", style="dim")
    yield from (Text(note, style="dim") for note in evaluation.notes)
    yield from _headline(evaluation)
    yield from _per_class(evaluation)
    if len(evaluation.classes) <= MATRIX_CLASSES:
        yield from _confusion(evaluation)
    elif evaluation.correct < evaluation.samples:
        yield from _confused_pairs(evaluation)
    yield from _calibration(evaluation)
    if evaluation.mistakes:
        yield from _mistakes(evaluation)


def _headline(e: Evaluation) -> Iterator[Text]:
    low, high = e.interval
    yield Text.assemble(
        (f"accuracy {e.accuracy:.2%}", "bold"),
        f"  95% interval {low:.2%} to {high:.2%}",
        f"  ({e.correct:,} of {e.samples:,})",
    )
    top5 = f"not shown ({e.top5_note})" if e.top5 is None else f"{e.top5:.2%}"
    yield Text(f"balanced accuracy {e.balanced_accuracy:.2%}  top-5 {top5}")
    if e.unlabeled:
        yield Text(f"{e.unlabeled:,} images without a label are left out")


def _per_class(e: Evaluation) -> Iterator[RenderableType]:
    shown = sorted(e.per_class, key=_f1)[:TABLE_CLASSES]
    title = f"The {TABLE_CLASSES} of {len(e.classes)} classes with the lowest F1"
    if len(e.classes) <= TABLE_CLASSES:
        shown, title = list(e.per_class), "Per class"
    yield _title(title)
    table = _table("class", "precision", "recall", "F1", "images", names=1)
    for s in shown:
        cells = (percent(s.precision), percent(s.recall), percent(s.f1))
        table.add_row(Text(s.name), *cells, f"{s.support:,}")
    mean = (e.macro.precision, e.macro.recall, e.macro.f1)
    last = ("macro average", *map(percent, mean), f"{e.samples:,}")
    table.add_row(*last, style="bold")
    yield table


def _f1(score: ClassScore) -> float:
    return 2.0 if score.f1 is None else score.f1  # not there: nothing went wrong


def _confusion(e: Evaluation) -> Iterator[RenderableType]:
    yield _title("Confusion: a row is the true class, a column the predicted one")
    width = max(3, *(len(str(count)) for row in e.confusion for count in row))
    heads: Sequence[str] = e.classes
    rows = [Text(name) for name in e.classes]
    if max(map(cell_len, e.classes)) > width:  # letters stand for the names
        heads = ascii_lowercase[: len(e.classes)]
        pairs = zip(heads, e.classes, strict=True)
        rows = [Text.assemble((head, "bold"), f" {name}") for head, name in pairs]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    left = WIDTH - len(heads) * (width + 1)
    table.add_column("", overflow="ellipsis", no_wrap=True, max_width=left)
    for head in heads:
        table.add_column(Text(head), justify="right", no_wrap=True, min_width=width)
    for i, (row, counts) in enumerate(zip(rows, e.confusion, strict=True)):
        cells = [
            Text(str(count) if count else "·", style="bold" if i == j else "")
            for j, count in enumerate(counts)
        ]
        table.add_row(row, *cells)
    yield table


def _confused_pairs(e: Evaluation) -> Iterator[RenderableType]:
    yield _title("Most often confused; every count is in --json and --csv")
    pairs = sorted(
        (-count, i, j)
        for i, row in enumerate(e.confusion)
        for j, count in enumerate(row)
        if i != j and count
    )
    table = _table("true", "predicted", "images", names=2)
    for count, i, j in pairs[:PAIRS]:
        table.add_row(Text(e.classes[i]), Text(e.classes[j]), f"{-count:,}")
    yield table


def _calibration(e: Evaluation) -> Iterator[Text]:
    yield _title("Calibration")
    sure = sum(b.count * (b.confidence or 0.0) for b in e.calibration) / e.samples
    gap = sure - e.accuracy
    verdict = "too sure" if gap > 0 else "not sure enough"
    yield Text(
        f"mean confidence {percent(sure)}, accuracy {percent(e.accuracy)}: "
        f"{verdict} by {100 * abs(gap):.1f} points\n"
        f"expected calibration error {percent(e.calibration_error)}, "
        f"negative log-likelihood {e.negative_log_likelihood:.4f}"
    )


def _mistakes(e: Evaluation) -> Iterator[RenderableType]:
    worst, wrong = e.mistakes[:MISTAKES], e.samples - e.correct
    names = [os.fsencode(m.name).decode("utf-8", "replace") for m in worst]
    folder = shared_folder(names)
    text = f"Worst mistakes: the {len(worst)} most confident of {wrong:,}"
    yield _title(f"{text}, in {folder}" if folder else text)
    table = _table("image", "true", "predicted", "probability", names=3)
    for name, m in zip(names, worst, strict=True):
        short = os.path.relpath(name, folder) if folder else name
        cells = (Text(short), Text(m.true), Text(m.predicted))
        table.add_row(*cells, percent(m.probability))
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
    return Text(f"\n{text}\n", style="bold")


def _table(*heads: str, names: int) -> Table:
    """A table whose first columns hold names, which wrap, and the others numbers."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for i, head in enumerate(heads):
        if i < names:
            table.add_column(head, overflow="fold")
        else:
            table.add_column(head, justify="right", no_wrap=True)
    return table
