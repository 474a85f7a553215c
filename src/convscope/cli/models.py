"""``convscope models``: every model, its source, its counts."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.padding import Padding
from rich.text import Text

from convscope.cli.listing import Listing
from convscope.cli.options import JsonFlag
from convscope.models import ModelCard, cards, find, options
from convscope.terminal import Screen, json_text


def models(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[MODEL]", help="A model to say more about."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """List all models with their counts, or show one with its source.

    Example: convscope models vgg16
    """
    chosen = cards() if name is None else {name: find(name)}
    if as_json:
        typer.echo(json_text({key: asdict(card) for key, card in chosen.items()}))
        return
    console = Screen()
    console.print(_listing(chosen))
    console.print(
        "Counts are for the input and the number of classes shown; in training both "
        "follow your data."
    )
    if name is None:
        console.print(
            "To see what a model is and where it comes from: convscope models MODEL"
        )
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


def _listing(chosen: dict[str, ModelCard]) -> Listing:
    """Names and counts, aligned."""
    numbers = ("input", "classes", "smallest", "parameters", "multiply-adds")
    listing = Listing(("model", *numbers), names=1)
    for key, card in chosen.items():
        row = (
            key,
            "x".join(map(str, card.input_shape)),
            str(card.num_classes),
            f"{card.min_size}x{card.min_size}",
            f"{card.parameters:,}",
            f"{card.multiply_adds:,}",
        )
        listing.rows.append(row)
    return listing
