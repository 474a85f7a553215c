"""Why a layer of this package cannot work on what reaches it, in torch's words.

``layer_refusal(layer, args, kwargs)``  a `Refusal`, or None where all is well

A layer says itself what it is: ``axes``, its channels, its window. What only the layer
knows (such as a window that holds padding only) it says by itself, in its forward.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

from torch import Tensor, nn

from convscope.analysis.operations.normalization import statistics_of_others
from convscope.analysis.operations.refusal import (
    Refusal,
    no_window,
    shape_text,
    wanted_text,
    wrong_channels,
    wrong_rank,
)
from convscope.arithmetic import per_axis, resolve_paddings
from convscope.layers.window import Sliding
from convscope.private_torch import AnyBatchNorm

CHANNELS = ("in_channels", "num_features", "channels")  # the argument, by layer


def layer_refusal(
    layer: nn.Module, args: Sequence[Any], kwargs: dict[str, Any]
) -> Refusal | None:
    """What is wrong with a call of a layer of ours; None if nothing is."""
    x = args[0] if args else kwargs.get("x")
    if not isinstance(x, Tensor):
        return None
    axes: int | None = getattr(layer, "axes", None)
    argument = next((name for name in CHANNELS if hasattr(layer, name)), "")
    wants: int | None = getattr(layer, argument) if argument else None
    if axes is None:
        if wants is None or x.ndim < 2:
            return None
        wanted = f"(N, {wants}{', ...' if x.ndim > 2 else ''})"
        return wrong_channels(x, x.shape[1], wants, wanted, argument=argument)
    if isinstance(layer, AnyBatchNorm):
        if x.ndim == axes + 2 or (axes == 1 and x.ndim == 2):
            return statistics_of_others(x, layer.num_features)
        return wrong_rank(x, wants, axes)
    problem = wrong_rank(x, wants, axes)
    if problem is None and wants is not None:
        problem = wrong_channels(
            x,
            x.shape[-axes - 1],
            wants,
            wanted_text(wants, axes),
            argument=argument,
            groups=getattr(layer, "groups", 1),
        )
    if problem is None and getattr(layer, "input_size", None) is not None:
        problem = _wrong_size(layer, x, axes, wants)
    if problem is None and isinstance(layer, Sliding):
        problem = _no_window(layer, x, axes, wants)
    return problem


def _wrong_size(
    layer: Any, x: Tensor, axes: int, channels: int | None
) -> Refusal | None:
    """Whether weights are for maps of another size."""
    came, wants = tuple(x.shape[-axes:]), tuple(layer.input_size)
    if came == wants:
        return None
    made_for = " x ".join(map(str, wants))
    return Refusal(
        shape_text(x.shape),
        f"(N, {channels}, {', '.join(map(str, wants))})",
        f"its weight is for {made_for} and shares nothing between places",
        ({"input_size": came[0] if len(set(came)) == 1 else came},),
        "size",
        {"came": prod(came), "wants": prod(wants)},
        tuple(
            (here > there) - (here < there)
            for here, there in zip(came, wants, strict=True)
        ),
    )


def _no_window(
    layer: Any, x: Tensor, axes: int, channels: int | None
) -> Refusal | None:
    sizes = tuple(x.shape[-axes:])
    kernels = per_axis(layer.kernel_size, axes, name="kernel_size")
    strides = per_axis(layer.stride, axes, name="stride")
    dilations = per_axis(getattr(layer, "dilation", 1), axes, name="dilation")
    return no_window(
        x,
        channels,
        kernels,
        stride=strides,
        padding=resolve_paddings(
            layer.padding, sizes, kernels, stride=strides, dilation=dilations
        ),
        dilation=dilations,
        rounds_up=bool(getattr(layer, "ceil_mode", False)),
    )
