"""``convscope report``: what a run is worth, as one file that can be sent."""

from pathlib import Path
from typing import Annotated

import typer

from convscope.cli.options import DeviceFlag, JsonFlag
from convscope.cli.progress_bar import counting
from convscope.errors import ArgumentError
from convscope.terminal import json_text, say
from convscope.train.reporting.run_report import missing_data, record
from convscope.train.reporting.run_report import report as report_of
from convscope.train.run import Run
from convscope.viz.report import REPORT, save_comparison, save_record, save_report


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="A run folder; several are compared."),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            help="What to judge on: the name of a data set, or a folder; by default "
            "what RUN was trained on."
        ),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(metavar="train|val|test|all", help="Which of its images."),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            help="Where to write the page; by default report.html in RUN, and "
            "comparison.html here for several."
        ),
    ] = None,
    card: Annotated[
        bool,
        typer.Option(
            "--card", help="Write RUN/README.md too, a model card for Hugging Face."
        ),
    ] = False,
    as_json: JsonFlag = False,
    device: DeviceFlag = None,
) -> None:
    """Write one HTML file: figures, mistakes, doubtful labels, layers, recipe.

    Example: convscope report runs/digits-resnet9-1
    """
    if card and len(runs) > 1:
        raise ArgumentError("report: --card describes one run. Give one RUN.")
    loaded = [Run.load(run, device=device) for run in runs]
    lost = missing_data(loaded[0]) if len(runs) == 1 and data is None else ""
    if lost:
        known = record(loaded[0], {"data": lost})
        if as_json:
            typer.echo(json_text(known.to_dict()))
            return
        say(lost, error=True)
        say(str(save_record(known, save or runs[0] / REPORT)))
        return
    with counting() as (advance, _):
        found = [report_of(run, data, part, progress=advance) for run in loaded]
    if as_json:
        values = [each.to_dict() for each in found]
        typer.echo(json_text(values[0] if len(values) == 1 else values))
        return
    if len(found) > 1:
        say(str(save_comparison(found, save or Path("comparison.html"))))
        return
    for place in save_report(found[0], save or runs[0] / REPORT, card=card):
        say(str(place))
