"""``convscope models``: every model, its source, its counts."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

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
    for heading in ("input", "smallest", "parameters", "multiply-adds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, card in known.items():
        table.add_row(
            name,
            "x".join(map(str, card.input_shape)),
            f"{card.min_size}x{card.min_size}",
            f"{card.parameters:,}",
            f"{card.multiply_adds:,}",
        )
    console = Console(highlight=False, markup=False)
    console.print(table)
    typer.echo("Counts are for that input and 10 classes; both follow your data.")
    for name, card in known.items():
        console.print()
        console.print(Text.assemble((name, "bold"), f": {card.summary}"))
        console.print(Padding(f"{card.source}", (0, 0, 0, 2)))
        console.print(Padding(f"here: {'; '.join(card.differs)}", (0, 0, 0, 2)))
