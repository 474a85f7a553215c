"""``convscope show filters``: the filters of a convolution as a picture."""

import dataclasses
from typing import Annotated, cast

import typer
from torch import nn

from convscope.analysis import Filters, templates
from convscope.analysis import filters as filters_of
from convscope.analysis.probes.filters import Order
from convscope.cli.network import Named, named_network
from convscope.cli.options import JsonFlag, known
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
from convscope.viz.filters import Scale

_WHERE = "show filters"


def filters(
    target: TargetArgument,
    layer: LayerFlag = None,
    order: Annotated[
        str,
        typer.Option(metavar="index|norm", help="norm: the strongest filters first."),
    ] = "index",
    scale: Annotated[
        str,
        typer.Option(metavar="shared|own", help="One scale, or one for each filter."),
    ] = "shared",
    most: Annotated[
        int | None, typer.Option(help="Filters to draw; by default 64 or 32.")
    ] = None,
    most_inputs: Annotated[
        int | None, typer.Option(help="Input channels of each; by default 16.")
    ] = None,
    other: Annotated[
        str | None,
        typer.Option("--versus", metavar="RUN|MODEL", help="A second one beside it."),
    ] = None,
    before: Annotated[
        bool,
        typer.Option(
            "--before",
            help="Beside them those before training; RUN must have kept a film.",
        ),
    ] = False,
    input_size: InputFlag = None,
    arguments: ArgumentFlag = None,
    weights: WeightsFlag = None,
    theme: ThemeFlag = "light",
    save: SaveFlag = None,
    show_json: JsonFlag = False,
) -> None:
    """Draw the filters of a convolution: the first one, or --layer.

    Of a network without convolutions, the templates of its first linear layer.

    Example: convscope show filters runs/digits-lenet5-1 --save filters.png
    """
    known(order, Order, "order")
    known(scale, Scale, "scale")
    first = named_network(
        target, where=_WHERE, sizes=input_size, arguments=arguments, weights=weights
    )
    if before and other is not None:
        raise ArgumentError(
            f"{_WHERE}: --before and --versus exclude each other. Leave one out."
        )
    found = [_filters(first, layer, cast("Order", order), most, most_inputs)]
    if before:
        found = _with_start(first, found[0])
    elif other is not None:
        second = named_network(other, where=_WHERE)
        same = found[0].filters  # so that each stands beside its own
        found.append(_filters(second, layer, same, most, most_inputs))
    if show_json:
        as_json(found if len(found) > 1 else found[0])
        return
    from convscope.viz import filters as picture

    drawn = picture(found, scale=cast("Scale", scale), theme=theme_of(theme))
    deliver(drawn, save, name="filters", suffix=".png")


def _with_start(named: Named, after: Filters) -> list[Filters]:
    """The same filters before training, and after it.

    Raises:
        ArgumentError: It is no run, or its film has not this layer.
        RunError: It kept no film.
    """
    if named.run is None:
        raise ArgumentError(
            f"{_WHERE}: --before is for a run, and {named.name} is a model. Give a "
            "run folder."
        )
    start = named.run.film().looks[0]
    kept = {each.path: each for each in start.filters}
    if start.epoch != 0 or after.path not in kept:
        raise ArgumentError(
            f"{_WHERE}: the film of {named.name} has not kept layer={after.path!r} "
            f"before training. It has {', '.join(kept) or 'none'}."
        )
    first = kept[after.path]
    net, name = named.net, "after training"
    if first.is_template and named.input_shape is not None:
        last = templates(
            net, named.input_shape, after.path, order=first.filters, name=name
        )
    else:
        last = filters_of(net, after.path, order=first.filters, name=name)
    return [dataclasses.replace(first, network="before training"), last]


def _filters(
    named: Named,
    layer: str | None,
    order: "Order | tuple[int, ...]",
    most: int | None,
    most_inputs: int | None,
) -> Filters:
    name = named.title
    modules = dict(named.net.named_modules())
    is_linear = isinstance(modules.get(layer or ""), nn.Linear) or (
        layer is None and not any(isinstance(m, AnyConv) for m in modules.values())
    )
    has_linear = any(isinstance(m, nn.Linear) for m in modules.values())
    if is_linear and has_linear:
        if named.input_shape is None:
            raise ArgumentError(
                f"{_WHERE}: {named.name} does not say what input it takes. Give "
                "--input, such as --input 1,28,28."
            )
        return templates(
            named.net, named.input_shape, layer, order=order, most=most, name=name
        )
    return filters_of(
        named.net, layer, order=order, most=most, most_inputs=most_inputs, name=name
    )
