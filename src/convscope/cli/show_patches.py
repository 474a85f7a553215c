"""``convscope show patches``: what the channels of a layer look for."""

from typing import Annotated

import numpy as np
import typer
from torch import nn

from convscope.analysis import maximize, top_patches
from convscope.cli.network import named_network
from convscope.cli.options import JsonFlag
from convscope.cli.progress_bar import counting
from convscope.cli.show_input import DataFlag, PartFlag, ScalingFlag, chosen_data
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
from convscope.errors import ArgumentError
from convscope.private_torch import AnyConv

_WHERE = "show patches"


def patches(
    target: TargetArgument,
    layer: LayerFlag = None,
    channel: Annotated[
        list[int] | None,
        typer.Option(help="Which channel, once for each; by default the first 16."),
    ] = None,
    data: DataFlag = None,
    part: PartFlag = None,
    top: Annotated[int, typer.Option(help="Patches of each channel.")] = 9,
    made: Annotated[
        bool,
        typer.Option(
            "--maximize", help="Also make an input that excites each channel."
        ),
    ] = False,
    steps: Annotated[int, typer.Option(help="Of --maximize.")] = 128,
    seed: Annotated[int, typer.Option(help="Of --maximize.")] = 0,
    input_size: InputFlag = None,
    arguments: ArgumentFlag = None,
    weights: WeightsFlag = None,
    scaling: ScalingFlag = None,
    theme: ThemeFlag = "light",
    save: SaveFlag = None,
    show_json: JsonFlag = False,
) -> None:
    """Draw the patches of the data that excite each channel of a layer most.

    Of the first convolution, or of --layer.

    Example: convscope show patches runs/digits-lenet5-1 --layer 3
    """
    chosen = theme_of(theme)
    named = named_network(
        target, where=_WHERE, sizes=input_size, arguments=arguments, weights=weights,
        scaling=scaling,
    )  # fmt: skip
    images = chosen_data(named, data, where=_WHERE)
    which = part or images.part_to_judge
    where = _first_convolution(named.net) if layer is None else layer
    with counting() as (bar, _):
        found = top_patches(
            named.net, images, where, channels=channel, top=top, part=which,
            name=named.title, progress=bar,
        )  # fmt: skip
    if show_json:
        as_json(found)
        return
    declared = images.preprocessing
    limits = tuple(
        [(end - m) / s for m, s in zip(declared.mean, declared.std, strict=True)]
        for end in (0.0, 1.0)
    )
    dreams = [
        maximize(
            named.net, images.input_shape, where, each, steps=steps, seed=seed,
            limits=(np.array(limits[0]), np.array(limits[1])),
        )
        for each in (found.channels if made else ())
    ]  # fmt: skip
    from convscope.viz import top_patches as picture

    drawn = picture(found, dreams, theme=chosen)
    deliver(drawn, save, name="patches", suffix=".png")


def _first_convolution(net: nn.Module) -> str:
    paths = [str(p) for p, m in net.named_modules() if isinstance(m, AnyConv)]
    if paths:
        return paths[0]
    raise ArgumentError(
        f"{_WHERE}: {type(net).__name__} has no convolution. Name a layer with --layer."
    )
