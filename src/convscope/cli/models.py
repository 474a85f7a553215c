"""``convscope models``: every model, its source, its counts."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from convscope.models import cards


def models(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object.")
    ] = False,
) -> None:
    """List every model with its source and its counts.

    Example: convscope models --json
    """
    known = cards()
    if as_json:
        typer.echo(json.dumps({name: asdict(card) for name, card in known.items()}))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", no_wrap=True)
    table.add_column("input", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("multiply-adds", justify="right", no_wrap=True)
    table.add_column("what it is")
    for name, card in known.items():
        table.add_row(
            name,
            "x".join(map(str, card.input_shape)),
            f"{card.parameters:,}",
            f"{card.multiply_adds:,}",
            f"{card.summary}. {card.source.split(',')[0]}",
        )
    Console().print(table)
    typer.echo("Counts are for that input and 10 classes; both follow your data.")
