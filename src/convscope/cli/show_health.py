"""``convscope show health``: whether layers work, over a data set."""

from typing import Annotated

import typer

from convscope.analysis import health as measure
from convscope.cli.network import named_network
from convscope.cli.options import JsonFlag
from convscope.cli.show_input import DataFlag, PartFlag, ScalingFlag, chosen_data
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
from convscope.errors import UnknownNameError
from convscope.terminal import columns, say

_WHERE = "show health"


def health(
    target: TargetArgument,
    data: DataFlag = None,
    part: PartFlag = None,
    most: Annotated[int, typer.Option(help="Images to look at.")] = 512,
    input_size: InputFlag = None,
    arguments: ArgumentFlag = None,
    weights: WeightsFlag = None,
    scaling: ScalingFlag = None,
    theme: ThemeFlag = "light",
    save: SaveFlag = None,
    show_json: JsonFlag = False,
) -> None:
    """Print and draw dead and saturated units, gradients, and batch norms.

    Example: convscope show health runs/digits-lenet5-1
    """
    chosen = theme_of(theme)
    named = named_network(
        target, where=_WHERE, sizes=input_size, arguments=arguments, weights=weights,
        scaling=scaling,
    )  # fmt: skip
    images = chosen_data(named, data, where=_WHERE)
    if part is not None and part not in images.parts:
        raise UnknownNameError("part", part, images.parts)
    which = part or images.part_to_judge
    found = measure(named.net, images, part=which, most=most, name=named.title)
    if show_json:
        as_json(found)
        return
    from convscope.viz import health as picture

    drawn = picture(found, theme=chosen)
    say(found.to_text(columns()))
    deliver(drawn, save, name="health", suffix=".png")
