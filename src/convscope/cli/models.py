"""``convscope models``: every model, its source, its counts."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from convscope.models import ModelCard, cards, find, options


def models(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[MODEL]", help="Tell more of this one."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object.")
    ] = False,
) -> None:
    """List every model with its counts, or one with its source.

    Example: convscope models vgg16
    """
    chosen = cards() if name is None else {name: find(name)}
    if as_json:
        typer.echo(json.dumps({key: asdict(card) for key, card in chosen.items()}))
        return
    console = Console(highlight=False, markup=False)
    console.print(_table(chosen))
    typer.echo("Counts are for that input and as many classes; both follow your data.")
    if name is None:
        typer.echo("What a model is and where it is from: convscope models MODEL")
        return
    card = chosen[name]
    console.print()
    console.print(Text.assemble((name, "bold"), f": {card.summary}"))
    console.print(Padding(f"source: {card.source}", (0, 0, 0, 2)))
    for phrase in card.differs:
        console.print(Padding(f"here: {phrase}", (0, 0, 0, 2)))
    console.print(Padding(f"gives: {card.task}", (0, 0, 0, 2)))
    console.print(Padding(f"axes: {', '.join(map(str, card.axes))}", (0, 0, 0, 2)))
    if takes := options(name):
        shown = ", ".join(f"{key}={value}" for key, value in takes.items())
        console.print(Padding(f"options: {shown}", (0, 0, 0, 2)))


def _table(chosen: dict[str, ModelCard]) -> Table:
    """Names and counts, aligned."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", no_wrap=True)
    headings = ("input", "classes", "smallest", "parameters", "multiply-adds")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for key, card in chosen.items():
        table.add_row(
            key,
            "x".join(map(str, card.input_shape)),
            str(card.num_classes),
            f"{card.min_size}x{card.min_size}",
            f"{card.parameters:,}",
            f"{card.multiply_adds:,}",
        )
    return table
