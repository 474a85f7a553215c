"""``convscope predict``: what a trained network says about files."""

import csv
import io
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Literal, get_args

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from convscope.cli.evaluate import shared_folder
from convscope.cli.progress_bar import counting
from convscope.errors import ArgumentError, UnknownNameError
from convscope.train.judging.prediction import Failure, Prediction
from convscope.train.recipe import Tta
from convscope.train.run import Run

Format = Literal["table", "csv", "jsonl"]


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of train.")],
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Files, folders, patterns in quotes; - reads one image from "
            "standard input.",
        ),
    ],
    top: Annotated[int, typer.Option(help="Classes to give for each file.")] = 3,
    layout: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="table|csv|jsonl",
            help="csv and jsonl write each file as soon as it is predicted.",
        ),
    ] = "table",
    tta: Annotated[
        str | None,
        typer.Option(
            metavar="none|flip|shift|both",
            help="Mean over changed copies of each image, as in evaluate.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object at the end.")
    ] = False,
    batch_size: Annotated[int, typer.Option(help="Images at a time.")] = 64,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, ...; by default as in training.")
    ] = None,
    optimize: Annotated[
        bool | None,
        typer.Option(help="Use the fastest setting; by default as in training."),
    ] = None,
) -> None:
    """Print the most probable classes of images, with their probabilities.

    A file that cannot be read is one line on standard error; the others are predicted,
    and the exit code is 1.

    Example: convscope predict runs/photos-resnet9-1 new/ --format csv
    """
    if layout not in get_args(Format):
        raise UnknownNameError("format", layout, get_args(Format))
    if as_json and layout != "table":
        raise ArgumentError(
            f"predict: --json and --format {layout} exclude each other. Choose one."
        )
    if tta not in (None, *get_args(Tta)):
        raise UnknownNameError("tta", str(tta), get_args(Tta))
    trained = Run.load(run, device=device, optimize=optimize)
    views = {} if tta is None else {"tta": tta}
    streams = layout != "table"
    with counting(shown=not (streams and sys.stdout.isatty())) as (bar, complain):
        records = trained.predict(
            paths, batch_size=batch_size, top_k=top, progress=bar, **views
        )
        good: list[Prediction] = []
        bad: list[Failure] = []
        columns = min(top, len(trained.spec.classes))
        if layout == "csv":
            _echo_csv(_csv_head(columns))
        for record in records:
            if isinstance(record, Failure):
                complain(f"Error: {_printable(record.path)}: {record.reason}")
                bad.append(record)
            elif layout == "csv":
                _echo_csv(_csv_row(record))
            elif layout == "jsonl":
                typer.echo(json.dumps(record.to_dict()))
            else:
                good.append(record)
    if as_json:
        both = {
            "predictions": [each.to_dict() for each in good],
            "failures": [each.to_dict() for each in bad],
        }
        typer.echo(json.dumps(both))
    elif good:
        _print_table(Console(highlight=False), good, columns)
    if bad:
        raise typer.Exit(1)


def _print_table(console: Console, records: list[Prediction], columns: int) -> None:
    names = [_printable(record.path) for record in records]
    folder = shared_folder(names)
    if folder:
        console.print(Text(f"in {folder}", style="dim"))
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("file", overflow="fold")
    table.add_column("class", overflow="fold", style="bold")
    table.add_column("", justify="right", no_wrap=True)
    if columns > 1:
        table.add_column("then", overflow="fold", style="dim")
    for name, record in zip(names, records, strict=True):
        short = os.path.relpath(name, folder) if folder else name
        others = ", ".join(f"{other} {p:.1%}" for other, p in record.top[1:])
        cells = (short, record.class_name, f"{record.probability:.1%}", others)
        table.add_row(*map(Text, cells[: len(table.columns)]))
    console.print(table)


def _csv_head(columns: int) -> list[str]:
    more = [f"{n}_{i}" for i in range(2, columns + 1) for n in ("class", "probability")]
    return ["path", "class", "probability", *more]


def _csv_row(record: Prediction) -> list[str]:
    pairs = [str(cell) for pair in record.top for cell in pair]
    return [_printable(record.path), *pairs]


def _echo_csv(row: list[str]) -> None:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(row)
    typer.echo(line.getvalue(), nl=False)


def _printable(path: str) -> str:
    """File names are bytes; those that are not UTF-8 are shown with a replacement."""
    return os.fsencode(path).decode("utf-8", "replace")
