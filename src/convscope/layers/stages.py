"""Several stages in a row, from what they share and what each has of its own."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from convscope.arithmetic import PaddingLike, PaddingMode, PerAxis, require
from convscope.errors import ArgumentError, explains_calls
from convscope.layers.stage import (
    Normalization,
    Pooling,
    Stage1d,
    Stage2d,
    Stage3d,
    StageActivation,
)


@explains_calls
def stages(
    in_channels: int,
    each: Sequence[int | Mapping[str, Any]],
    *,
    axes: int = 2,
    kernel_size: PerAxis | None = None,
    stride: PerAxis = 1,
    padding: PaddingLike = 0,
    padding_mode: PaddingMode = "zeros",
    groups: int = 1,
    bias: bool | None = None,
    activation: StageActivation | nn.Module | None = "relu",
    rectification: bool = False,
    normalization: Normalization | nn.Module | None = None,
    pooling: Pooling | nn.Module | None = None,
    pool_size: PerAxis | None = None,
    pool_stride: PerAxis | None = None,
) -> nn.Sequential:
    """Stages one after the other: ``[Conv, ReLU, Pool] x N``.

    Arguments from ``kernel_size`` on are those of `Stage2d`, for all stages that do
    not say otherwise.

    Args:
        in_channels: Channels of the input.
        each: For each stage the number of its filters, or its own arguments.
        axes: Spatial axes, 1 to 3.
        kernel_size: Size of the filters, in taps.
        stride: Steps between windows of the filters, in elements.
        padding: Around the input of the filters.
        padding_mode: What it holds.
        groups: Blocks of channels that do not see each other.
        bias: Whether the filters have one.
        activation: By name, or a layer, which all stages then share.
        rectification: Whether the absolute value is taken.
        normalization: By name, or a layer, which all stages then share.
        pooling: By name, or a layer, which all stages then share.
        pool_size: Size of the pooling windows, in elements.
        pool_stride: Steps between them, in elements.

    Raises:
        ArgumentError: There are no stages, or one has no ``out_channels`` or no
            ``kernel_size``; ``axes`` is not 1, 2 or 3; what a stage refuses.

    >>> net = stages(3, [16, 32, {"out_channels": 64, "pooling": None}],
    ...     kernel_size=3, padding="same", pooling="max")
    >>> [stage.out_channels for stage in net]
    [16, 32, 64]
    """
    shared = {
        "stride": stride,
        "padding": padding,
        "padding_mode": padding_mode,
        "groups": groups,
        "bias": bias,
        "activation": activation,
        "rectification": rectification,
        "normalization": normalization,
        "pooling": pooling,
    }
    if kernel_size is not None:
        shared["kernel_size"] = kernel_size
    windows = {"pool_size": pool_size, "pool_stride": pool_stride}
    require("stages", "axes", axes, 1)
    if axes > 3 or not each:
        what = f"axes={axes}" if axes > 3 else "each=[]"
        raise ArgumentError(
            f"stages: {what} makes no stages. Give 1 to 3 axes and at least one stage."
        )
    kind: Any = {1: Stage1d, 2: Stage2d, 3: Stage3d}[axes]
    chain = []
    for number, one in enumerate(each, start=1):
        own = dict(one) if isinstance(one, Mapping) else {"out_channels": one}
        for name, what in (
            ("out_channels", "the number of its filters"),
            ("kernel_size", "one to it, or one for all stages"),
        ):
            if name not in own | shared:
                raise ArgumentError(
                    f"stages: stage {number} has no {name}. Give {what}."
                )
        if own.get("pooling", "shared") is not None:  # else there is nothing to size
            own = windows | own
        chain.append(kind(in_channels, **{**shared, **own}))
        in_channels = own["out_channels"]
    return nn.Sequential(*chain)
