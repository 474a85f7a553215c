"""Convolution of every kind, transposed, local and linear."""

from typing import Any

import numpy as np
from torch import Tensor

from convscope.analysis.explaining.site import Detail, Index, Rule, Site, wide
from convscope.analysis.explaining.window_sum import WindowSum
from convscope.arithmetic import (
    border_element,
    per_axis,
    resolve_paddings,
)
from convscope.functional.transposed import cut_and_added

Window = tuple[tuple[int | None, ...], ...]


def under(x: Tensor, image: Index, channels: Any, window: Window, fill: float) -> Any:
    """What lies under a window, and which of it lies on the input.

    Args:
        x: The layer's input.
        image: Index of the image; empty without a batch axis.
        channels: Which channels.
        window: The element under each tap, per axis.
        fill: What stands for None.
    """
    maps = wide(x[image])[channels]
    places = [np.array([-1 if p is None else p for p in axis]) for axis in window]
    grid = np.ix_(np.arange(len(maps)), *places)
    inside = np.ones([len(axis) for axis in window], dtype=bool)
    for axis, row in enumerate(places):
        shape = [1] * len(places)
        shape[axis] = -1
        inside = inside & (row >= 0).reshape(shape)
    inside = np.broadcast_to(inside, (len(maps), *inside.shape))
    return np.where(inside, maps[grid], fill), inside


def _conv(site: Site) -> Detail | None:
    module, x = site.module, site.x
    if module is None:
        weight, bias = site.argument(1, "weight"), site.argument(2, "bias")
        settings = ("stride", 1), ("padding", 0), ("dilation", 1), ("groups", 1)
        stride, padding, dilation, groups = (
            site.argument(place, name, default)
            for place, (name, default) in enumerate(settings, start=3)
        )
        mode, value = "zeros", 0.0
    else:
        dense = getattr(module, "dense_weight", None)
        weight = module.weight if dense is None else dense()
        bias, stride, padding = module.bias, module.stride, module.padding
        dilation, groups = module.dilation, module.groups
        mode, value = module.padding_mode, getattr(module, "padding_value", 0.0)
    axes = weight.ndim - 2
    window = window_at(
        x.shape[-axes:], weight.shape[2:], site.index[-axes:], stride, padding,
        dilation, "zeros" if mode == "partial" else mode,
    )  # fmt: skip
    return _summed(site, weight, bias, window, groups, mode, value)


def window_at(
    sizes: Any, taps: Any, place: Index, stride: Any, padding: Any, dilation: Any,
    mode: Any,
) -> Window:  # fmt: skip
    """The element under each tap of the window of one output, per axis."""
    axes = len(taps)
    sizes, taps = tuple(sizes), tuple(taps)
    strides = per_axis(_plain(stride), axes, name="stride")
    spread = per_axis(_plain(dilation), axes, name="dilation")
    pairs = resolve_paddings(
        _plain(padding), sizes, taps, stride=strides, dilation=spread
    )
    found = []
    for axis, (size, tap) in enumerate(zip(sizes, taps, strict=True)):
        start = place[axis] * strides[axis] - pairs[axis][0]
        spots = range(start, start + tap * spread[axis], spread[axis])
        found.append(
            tuple(
                spot if 0 <= spot < size else border_element(spot, size, mode)
                for spot in spots
            )
        )
    return tuple(found)


def _plain(value: Any) -> Any:
    """A list as a tuple."""
    return tuple(value) if isinstance(value, list) else value


def _summed(
    site: Site, weight: Tensor, bias: Tensor | None, window: Window, groups: int,
    mode: str, value: float,
) -> WindowSum:  # fmt: skip
    axes = len(window)
    channel, image = site.index[-axes - 1], site.index[: -axes - 1]
    group = channel // (weight.shape[0] // groups)
    each = weight.shape[1]
    channels = tuple(range(group * each, (group + 1) * each))
    fill = value if mode == "constant" else 0.0
    patch, inside = under(site.x, image, list(channels), window, fill)
    kernel = wide(weight[channel])
    added = None if bias is None else float(bias[channel].item())
    scale, text = 1.0, ""
    mask = _mask(site, mode)
    if mask is not None:
        seen = under(mask, image, slice(None), window, 0.0)[0] != 0
        inside = inside & (seen if len(seen) == 1 else seen[list(channels)])
        patch = np.where(inside, patch, 0.0)
    if mode == "partial":
        hit, taps = int(inside.sum()), inside.size
        scale = taps / hit if hit else 0.0
        text = f"{taps} taps, {hit} on the input" if hit != taps else ""
        added = added if hit else (None if added is None else 0.0)
    name = "convolution" if groups == 1 else f"convolution, group {group} of {groups}"
    if mode not in ("zeros", "partial"):
        name += f", padding {mode}"
    return WindowSum(
        name, patch, kernel, inside, window, channels, added, site.unit, scale, text
    )


def _mask(site: Site, mode: str) -> Tensor | None:
    if mode != "partial" or site.module is None:
        return None
    mask = site.argument(1, "mask")
    return mask if isinstance(mask, Tensor) else None


def _transposed(site: Site) -> Detail | None:
    module, x = site.module, site.x
    if module is None:
        weight, bias = site.argument(1, "weight"), site.argument(2, "bias")
        stride, padding = site.argument(3, "stride", 1), site.argument(4, "padding", 0)
        more = site.argument(5, "output_padding", 0)
        groups, dilation = (
            site.argument(6, "groups", 1),
            site.argument(7, "dilation", 1),
        )
    else:
        weight, bias = module.weight, module.bias
        if getattr(module, "flip", False):
            weight = weight.flip(tuple(range(2, weight.ndim)))
        stride, padding, groups = module.stride, module.padding, module.groups
        dilation, more = module.dilation, module.output_padding
        if site.argument(1, "output_size") is not None:
            more = 0
    axes = weight.ndim - 2
    strides = per_axis(_plain(stride), axes, name="stride")
    spread = per_axis(_plain(dilation), axes, name="dilation")
    taps = tuple(weight.shape[2:])
    pairs, _ = cut_and_added(
        _plain(padding), _plain(more), taps, strides, spread, "explain_unit"
    )
    window = []
    for axis, tap in enumerate(taps):
        size, row = x.shape[-axes + axis], []
        for t in range(tap):
            spot = site.index[-axes + axis] + pairs[axis][0] - spread[axis] * t
            fits = spot % strides[axis] == 0 and 0 <= spot // strides[axis] < size
            row.append(spot // strides[axis] if fits else None)
        window.append(tuple(row))
    channel, image = site.index[-axes - 1], site.index[: -axes - 1]
    out_each, in_each = weight.shape[1], weight.shape[0] // groups
    group = channel // out_each
    channels = tuple(range(group * in_each, (group + 1) * in_each))
    patch, inside = under(x, image, list(channels), tuple(window), 0.0)
    kernel = wide(weight[list(channels), channel % out_each])
    kernel = np.where(inside, kernel, 0.0)
    return WindowSum(
        "transposed convolution: input elements whose kernels reach this place",
        patch, kernel, inside, tuple(window), channels,
        None if bias is None else float(bias[channel].item()), site.unit,
    )  # fmt: skip


def _local(site: Site) -> Detail | None:
    module = site.module
    axes = module.axes
    place = site.index[-axes:]
    window = window_at(
        module.input_size, module.kernel_size, place, module.stride, module.pairs,
        module.dilation, module.padding_mode,
    )  # fmt: skip
    bias = module.bias
    if bias is not None and bias.ndim > 1:
        bias = bias[(slice(None), *place)]
    made = _summed(
        site,
        module.weight[place],
        bias,
        window,
        module.groups,
        module.padding_mode,
        0.0,
    )
    return WindowSum(
        f"locally connected, the kernel of place {place}", made.patch, made.kernel,
        made.inside, made.window, made.channels, made.bias, made.unit,
    )  # fmt: skip


def _linear(site: Site) -> Detail | None:
    module = site.module
    weight = site.argument(1, "weight") if module is None else module.weight
    bias = site.argument(2, "bias") if module is None else module.bias
    row, lead = site.index[-1], site.index[:-1]
    patch, kernel = wide(site.x[lead]), wide(weight[row])
    return WindowSum(
        "linear", patch, kernel, np.ones(patch.shape, dtype=bool), (),
        tuple(range(len(patch))), None if bias is None else float(bias[row].item()),
        site.unit,
    )  # fmt: skip


_DIMENSIONS = ("1d", "2d", "3d")

RULES = (
    Rule(
        "convolution",
        _conv,
        modules=[f"{k}{d}" for k in ("Conv", "PartialConv") for d in _DIMENSIONS],
        functions=[f"conv{d}" for d in _DIMENSIONS],
    ),
    Rule(
        "transposed convolution",
        _transposed,
        modules=[f"ConvTranspose{d}" for d in _DIMENSIONS],
        functions=[f"conv_transpose{d}" for d in _DIMENSIONS],
    ),
    Rule(
        "local connections",
        _local,
        modules=[f"LocallyConnected{d}" for d in _DIMENSIONS],
    ),
    Rule("linear", _linear, modules=["Linear"], functions=["linear"]),
)
