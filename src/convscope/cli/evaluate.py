"""``convscope evaluate``: what a trained network is worth, and where it fails."""

from typing import Annotated

import typer

from convscope.cli.evaluation_report import report
from convscope.cli.options import (
    BatchSizeFlag,
    DeviceFlag,
    JsonFlag,
    OptimizeFlag,
    RunArgument,
    TtaFlag,
    tta_named,
)
from convscope.cli.progress_bar import counting
from convscope.data import Dataset
from convscope.data.folders.layout import Layout
from convscope.errors import ArgumentError
from convscope.terminal import Screen, json_text, say
from convscope.train.run import Run


def evaluate(
    run: RunArgument,
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATA]",
            help="The name of a data set, or a folder; by default what RUN was trained "
            "on.",
        ),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(
            metavar="train|val|test|all|folds",
            help="Which images; by default the test images, or all of them if DATA is "
            "a folder without parts that RUN was not trained on; of a run with --folds "
            "the figures of its folds.",
        ),
    ] = None,
    layout: Annotated[
        Layout | None,
        typer.Option(help="classes: folders in DATA named like parts are classes."),
    ] = None,
    tta: TtaFlag = None,
    as_json: JsonFlag = False,
    as_csv: Annotated[
        bool,
        typer.Option("--csv", help="Print rows of metric, class, predicted, value."),
    ] = False,
    batch_size: BatchSizeFlag = 256,
    device: DeviceFlag = None,
    optimize: OptimizeFlag = None,
) -> None:
    """Print accuracy with its interval, scores per class, confusions and mistakes.

    Example: convscope evaluate runs/photos-resnet9-1 more-photos/
    """
    if as_json and as_csv:
        raise ArgumentError(
            "evaluate: --json and --csv exclude each other. Choose one."
        )
    if layout and data is None:
        raise ArgumentError(
            f"evaluate: --layout {layout} is for a folder, and DATA is not given. Name "
            "the folder."
        )
    views = tta_named(tta)
    with counting() as (advance, _):
        trained = Run.load(run, device=device, optimize=optimize)
        images: str | Dataset | None = data
        if data is not None and layout is not None:
            images = trained.load_data(data, progress=advance, layout=layout)
        judged = trained.evaluate(
            images, part, tta=views, batch_size=batch_size, progress=advance
        )
    if as_json:
        typer.echo(json_text(judged.to_dict()))
    elif as_csv:
        say(judged.to_csv(), end="")
    else:
        screen = Screen()
        for each in report(judged):
            screen.print(each, crop=False)
