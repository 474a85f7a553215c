"""``convscope show unit``: why one number of a network is what it is."""

from typing import Annotated

import typer

from convscope.analysis import explain_unit
from convscope.cli.network import named_network
from convscope.cli.options import JsonFlag
from convscope.cli.show_input import ImageFlag, ScalingFlag, inputs_of
from convscope.cli.show_output import (
    ArgumentFlag,
    InputFlag,
    TargetArgument,
    WeightsFlag,
    as_json,
    position_of,
)
from convscope.terminal import say

_WHERE = "show unit"


def unit(
    target: TargetArgument,
    layer: Annotated[
        str,
        typer.Option(
            "--layer",
            metavar="PATH",
            help="Which layer, by path, or a function such as layer1.0.add_1.",
        ),
    ],
    channel: Annotated[
        int | None, typer.Option(help="Which map, or which feature, from 0.")
    ] = None,
    position: Annotated[
        str,
        typer.Option(metavar="Y,X", help="Where in the map, from 0; one per axis."),
    ] = "",
    image: ImageFlag = None,
    input_size: InputFlag = None,
    arguments: ArgumentFlag = None,
    weights: WeightsFlag = None,
    scaling: ScalingFlag = None,
    show_json: JsonFlag = False,
) -> None:
    """Print why a number of a network is what it is, down to the products.

    Example: convscope show unit lenet5 --layer 2 --channel 4 --position 3,5
    """
    named = named_network(
        target, where=_WHERE, sizes=input_size, arguments=arguments, weights=weights,
        scaling=scaling,
    )  # fmt: skip
    spot = position_of(position, where=_WHERE)
    why = explain_unit(
        named.net, inputs_of(named, image, where=_WHERE), layer, channel, spot
    )
    if show_json:
        as_json(why)
        return
    if named.is_random:
        say(f"{named.name} with random weights")
    say(str(why))
