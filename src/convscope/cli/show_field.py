"""``convscope show field``: what one unit sees of the input."""

from typing import Annotated

import typer

from convscope.analysis import unit_field
from convscope.cli.network import named_network
from convscope.cli.options import JsonFlag
from convscope.cli.show_input import PictureFlag, SampleFlag, ScalingFlag, chosen_input
from convscope.cli.show_output import (
    ArgumentFlag,
    InputFlag,
    LayerFlag,
    SaveFlag,
    TargetArgument,
    ThemeFlag,
    WeightsFlag,
    as_json,
    deliver,
    position_of,
    theme_of,
)
from convscope.errors import ArgumentError

_WHERE = "show field"


def field(
    target: TargetArgument,
    layer: LayerFlag = None,
    position: Annotated[
        str,
        typer.Option(
            metavar="Y,X", help="The unit, from 0, one number per axis; the middle."
        ),
    ] = "",
    image: PictureFlag = None,
    sample: SampleFlag = None,
    samples: Annotated[
        int, typer.Option(help="Inputs of noise to measure with; 0 for none.")
    ] = 16,
    input_size: InputFlag = None,
    arguments: ArgumentFlag = None,
    weights: WeightsFlag = None,
    scaling: ScalingFlag = None,
    theme: ThemeFlag = "light",
    save: SaveFlag = None,
    show_json: JsonFlag = False,
) -> None:
    """Draw what one unit sees of the input, layer by layer, and what it uses.

    Example: convscope show field resnet18 --layer layer2 --position 14,14
    """
    chosen = theme_of(theme)
    named = named_network(
        target, where=_WHERE, sizes=input_size, arguments=arguments, weights=weights,
        scaling=scaling,
    )  # fmt: skip
    if named.input_shape is None:
        raise ArgumentError(
            f"{_WHERE}: {named.name} does not say what input it takes. Give --input, "
            "such as --input 3,224,224."
        )
    spot = position_of(position, where=_WHERE)
    found = unit_field(
        named.net, named.input_shape, layer or "", spot or None, samples=samples,
        name=named.title,
    )  # fmt: skip
    if show_json:
        as_json(found)
        return
    under = None
    if image is not None or sample is not None:
        under = chosen_input(named, image, sample, where=_WHERE).picture
    from convscope.viz import unit_field as picture

    deliver(picture(found, under, theme=chosen), save, name="field", suffix=".png")
