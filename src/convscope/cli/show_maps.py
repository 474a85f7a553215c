"""``convscope show maps``: what layers give for one picture."""

from typing import Annotated, cast

import typer

from convscope.analysis import feature_maps
from convscope.cli.network import named_network
from convscope.cli.options import JsonFlag, known
from convscope.cli.show_input import PictureFlag, SampleFlag, ScalingFlag, chosen_input
from convscope.cli.show_output import (
    ArgumentFlag,
    InputFlag,
    SaveFlag,
    TargetArgument,
    ThemeFlag,
    WeightsFlag,
    as_json,
    deliver,
    theme_of,
)
from convscope.viz.maps import MapScale

_WHERE = "show maps"


def maps(
    target: TargetArgument,
    image: PictureFlag = None,
    sample: SampleFlag = None,
    layers: Annotated[
        list[str] | None,
        typer.Option(
            "--layer",
            metavar="PATH",
            help="A layer, or a pattern such as 'layer1.*'; once for each.",
        ),
    ] = None,
    scale: Annotated[
        str,
        typer.Option(metavar="layer|channel|all", help="What shares one scale."),
    ] = "layer",
    order: Annotated[
        str,
        typer.Option(
            metavar="index|strength", help="strength: the strongest channels first."
        ),
    ] = "index",
    most: Annotated[int, typer.Option(help="Channels to draw of each layer.")] = 16,
    input_size: InputFlag = None,
    arguments: ArgumentFlag = None,
    weights: WeightsFlag = None,
    scaling: ScalingFlag = None,
    theme: ThemeFlag = "light",
    save: SaveFlag = None,
    show_json: JsonFlag = False,
) -> None:
    """Draw what the layers of a network give for one picture.

    Example: convscope show maps runs/digits-lenet5-1 --sample 3
    """
    known(scale, MapScale, "scale")
    chosen = theme_of(theme)
    named = named_network(
        target, where=_WHERE, sizes=input_size, arguments=arguments, weights=weights,
        scaling=scaling,
    )  # fmt: skip
    shown = chosen_input(named, image, sample, where=_WHERE)
    found = feature_maps(
        named.net,
        shown.x,
        layers,
        most=most,
        order=order,
        picture=shown.picture,
        name=f"{named.title}, {shown.name}",
    )
    if show_json:
        as_json(found)
        return
    from convscope.viz import feature_maps as picture

    drawn = picture(found, scale=cast("MapScale", scale), theme=chosen)
    deliver(drawn, save, name="maps", suffix=".png")
