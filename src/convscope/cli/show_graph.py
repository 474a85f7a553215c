"""``convscope show graph``: a network's layers and what flows between them."""

from typing import Annotated

import typer

from convscope.analysis import network_graph
from convscope.cli.network import named_network
from convscope.cli.options import JsonFlag
from convscope.cli.show_output import (
    ArgumentFlag,
    InputFlag,
    SaveGraphFlag,
    TargetArgument,
    ThemeFlag,
    as_json,
    deliver,
    theme_of,
)
from convscope.errors import ArgumentError

_WHERE = "show graph"


def graph(
    target: TargetArgument,
    depth: Annotated[
        int | None,
        typer.Option(
            help="Blocks within blocks that are open in SVG, PNG and PDF.", min=0
        ),
    ] = None,
    input_size: InputFlag = None,
    arguments: ArgumentFlag = None,
    theme: ThemeFlag = "light",
    save: SaveGraphFlag = None,
    show_json: JsonFlag = False,
) -> None:
    """Draw layers as rows, with shapes, fields and costs, and what skips rows.

    Example: convscope show graph resnet50 --save resnet50.html
    """
    chosen = theme_of(theme)
    named = named_network(target, where=_WHERE, sizes=input_size, arguments=arguments)
    if named.input_shape is None:
        raise ArgumentError(
            f"{_WHERE}: the size of one input is not known for {target}. Add --input "
            "3,224,224, or what it takes."
        )
    found = network_graph(named.net, named.input_shape, name=named.name)
    if show_json:
        as_json(found)
        return
    from convscope.viz import structure

    drawn = structure(found, theme=chosen, depth=depth)
    deliver(drawn, save, name=f"graph-{named.name}", suffix=".html")
