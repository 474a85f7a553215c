"""``convscope predict``: what a trained network says about files."""

import csv
import io
import os
import sys
from typing import Annotated, Literal

import typer

from convscope.cli.evaluation_report import shared_folder
from convscope.cli.listing import Listing
from convscope.cli.options import (
    BatchSizeFlag,
    DeviceFlag,
    JsonFlag,
    OptimizeFlag,
    RunArgument,
    TtaFlag,
    known,
    tta_named,
)
from convscope.cli.progress_bar import counting
from convscope.errors import ArgumentError
from convscope.terminal import Screen, cell, json_text, printable, say
from convscope.train.judging.prediction import Failure, Prediction
from convscope.train.run import Run

Format = Literal["table", "csv", "jsonl"]


def predict(
    run: RunArgument,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Files, folders, or patterns in quotes; - reads one image from "
            "standard input.",
        ),
    ],
    top: Annotated[
        int, typer.Option(help="How many classes to print for each file.")
    ] = 3,
    layout: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="table|csv|jsonl",
            help="csv and jsonl print each file as soon as it is predicted.",
        ),
    ] = "table",
    tta: TtaFlag = None,
    as_json: JsonFlag = False,
    batch_size: BatchSizeFlag = 64,
    device: DeviceFlag = None,
    optimize: OptimizeFlag = None,
) -> None:
    """Print the most probable classes of images, with their probabilities.

    A file that cannot be read gives one line on standard error; the others are
    predicted, and the exit code is 1.

    Example: convscope predict runs/photos-resnet9-1 new/ --format csv
    """
    known(layout, Format, "format")
    if as_json and layout != "table":
        raise ArgumentError(
            f"predict: --json and --format {layout} exclude each other. Choose one."
        )
    chosen = tta_named(tta)
    trained = Run.load(run, device=device, optimize=optimize)
    views = {} if chosen is None else {"tta": chosen}
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
                complain(f"Error: {printable(record.path)}: {record.reason}")
                bad.append(record)
            elif layout == "csv":
                _echo_csv(_csv_row(record))
            elif layout == "jsonl":
                typer.echo(json_text(record.to_dict()))
            else:
                good.append(record)
    if as_json:
        both = {
            "predictions": [each.to_dict() for each in good],
            "failures": [each.to_dict() for each in bad],
        }
        typer.echo(json_text(both))
    elif good:
        _print_table(good, columns)
    if bad:
        raise typer.Exit(1)


def _print_table(records: list[Prediction], columns: int) -> None:
    screen = Screen()
    names = [record.path for record in records]
    folder = shared_folder(names)
    if folder:
        screen.print(cell(f"in {folder}", "dim"), crop=False)
    more = ["then"] if columns > 1 else []
    table = Listing(["file", "class", "", *more], names=1, whole=True)
    for name, record in zip(names, records, strict=True):
        short = os.path.relpath(name, folder) if folder else name
        others = ", ".join(f"{other} {p:.1%}" for other, p in record.top[1:])
        cells = (short, record.class_name, f"{record.probability:.1%}", others)
        table.rows.append(cells[: len(table.heads)])
    screen.print(table, crop=False)


def _csv_head(columns: int) -> list[str]:
    more = [f"{n}_{i}" for i in range(2, columns + 1) for n in ("class", "probability")]
    return ["path", "class", "probability", *more]


def _csv_row(record: Prediction) -> list[str]:
    pairs = [str(cell) for pair in record.top for cell in pair]
    return [printable(text) for text in (record.path, *pairs)]


def _echo_csv(row: list[str]) -> None:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(row)
    say(line.getvalue(), end="")
