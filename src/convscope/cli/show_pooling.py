"""``convscope show pooling``: which elements win, and where the gradient goes."""

from typing import Annotated

import typer

from convscope.analysis import pooling_winners
from convscope.cli.network import named_network
from convscope.cli.options import JsonFlag
from convscope.cli.show_input import (
    PictureFlag,
    SampleFlag,
    ScalingFlag,
    chosen_input,
    class_number,
)
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
    theme_of,
)

_WHERE = "show pooling"


def pooling(
    target: TargetArgument,
    image: PictureFlag = None,
    sample: SampleFlag = None,
    layer: LayerFlag = None,
    channel: Annotated[int, typer.Option(help="Which map.")] = 0,
    class_name: Annotated[
        str,
        typer.Option(
            "--class", metavar="NAME|NUMBER", help="Whose output the gradient is of."
        ),
    ] = "0",
    input_size: InputFlag = None,
    arguments: ArgumentFlag = None,
    weights: WeightsFlag = None,
    scaling: ScalingFlag = None,
    theme: ThemeFlag = "light",
    save: SaveFlag = None,
    show_json: JsonFlag = False,
) -> None:
    """Draw which elements win a max pooling, and where the gradient goes.

    Of the first max pooling, or of --layer.

    Example: convscope show pooling runs/digits-lenet5-1 --channel 2 --class 7
    """
    chosen = theme_of(theme)
    named = named_network(
        target, where=_WHERE, sizes=input_size, arguments=arguments, weights=weights,
        scaling=scaling,
    )  # fmt: skip
    shown = chosen_input(named, image, sample, where=_WHERE)
    chosen_class = class_number(class_name, named, "--class", _WHERE)
    found = pooling_winners(
        named.net, shown.x, layer, channel, target=chosen_class,
        name=f"{named.title}, {shown.name}",
    )  # fmt: skip
    if show_json:
        as_json(found)
        return
    from convscope.viz import pooling_winners as picture

    deliver(picture(found, theme=chosen), save, name="pooling", suffix=".png")
