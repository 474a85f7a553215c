"""Convolution of every kind, transposed, local and linear."""

from collections.abc import Callable
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class Kernel:
    """A convolution or its transpose, read from a layer or from a call.

    Attributes:
        weight: As it is applied: (C_out, C_in / groups, *taps), of a transposed one
            (C_in, C_out / groups, *taps).
        bias: One number for each output channel, or None.
        groups: Blocks of channels that do not see each other.
        row: Of an axis and an output's place on it, the input element under each tap.
        mode: What padding holds.
        value: The same as a number, of constant padding.
        flipped: Whether the layer keeps the kernel from its last tap to its first.
        is_dense: Whether the layer keeps a kernel for every pair of channels.
    """

    weight: Tensor
    bias: Tensor | None
    groups: int
    row: Callable[[int, int], tuple[int | None, ...]]
    mode: str = "zeros"
    value: float = 0.0
    flipped: bool = False
    is_dense: bool = True

    @property
    def axes(self) -> int:
        """Axes of space."""
        return self.weight.ndim - 2

    @property
    def fill(self) -> float:
        """What padding counts as."""
        return self.value if self.mode == "constant" else 0.0

    def window(self, place: Index) -> Window:
        """The element under each tap of the window of one output, per axis."""
        return tuple(self.row(axis, one) for axis, one in enumerate(place))


def read_convolution(site: Site) -> Kernel:
    """Of ``F.conv2d`` or a layer, with its relatives."""
    module, x = site.module, site.x
    if module is None:
        weight, bias = site.argument(1, "weight"), site.argument(2, "bias")
        settings = ("stride", 1), ("padding", 0), ("dilation", 1), ("groups", 1)
        stride, padding, dilation, groups = (
            site.argument(place, name, default)
            for place, (name, default) in enumerate(settings, start=3)
        )
        row = rows(x, weight.shape[2:], stride, padding, dilation, "zeros")
        return Kernel(weight, bias, groups, row)
    dense = getattr(module, "dense_weight", None)
    weight = module.weight if dense is None else dense()
    mode = module.padding_mode
    border = "zeros" if mode == "partial" else mode
    row = rows(
        x, weight.shape[2:], module.stride, module.padding, module.dilation, border
    )
    return Kernel(
        weight, module.bias, module.groups, row, mode,
        getattr(module, "padding_value", 0.0), getattr(module, "flip", False),
        getattr(module, "connections", None) is None,
    )  # fmt: skip


def rows(
    x: Tensor, taps: Any, stride: Any, padding: Any, dilation: Any, mode: Any
) -> Callable[[int, int], tuple[int | None, ...]]:
    """The input element under each tap, of a window that slides over ``x``."""
    axes = len(taps)
    sizes = tuple(x.shape[-axes:])
    strides = per_axis(_plain(stride), axes, name="stride")
    spread = per_axis(_plain(dilation), axes, name="dilation")
    pairs = resolve_paddings(
        _plain(padding), sizes, tuple(taps), stride=strides, dilation=spread
    )

    def row(axis: int, place: int) -> tuple[int | None, ...]:
        start = place * strides[axis] - pairs[axis][0]
        spots = range(start, start + taps[axis] * spread[axis], spread[axis])
        return tuple(border_element(spot, sizes[axis], mode) for spot in spots)

    return row


def _conv(site: Site) -> Detail | None:
    return _summed(site, read_convolution(site))


def _plain(value: Any) -> Any:
    """A list as a tuple."""
    return tuple(value) if isinstance(value, list) else value


def _summed(site: Site, read: Kernel) -> WindowSum:
    axes, mode, groups = read.axes, read.mode, read.groups
    window = read.window(site.index[-axes:])
    channel, image = site.index[-axes - 1], site.index[: -axes - 1]
    group = channel // (read.weight.shape[0] // groups)
    each = read.weight.shape[1]
    channels = tuple(range(group * each, (group + 1) * each))
    patch, inside = under(site.x, image, list(channels), window, read.fill)
    kernel = wide(read.weight[channel])
    added = None if read.bias is None else float(read.bias[channel].item())
    scale, text = 1.0, ""
    mask = mask_of(site, mode)
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


def mask_of(site: Site, mode: str) -> Tensor | None:
    """Where the data is, of a partial convolution that was told."""
    if mode != "partial" or site.module is None:
        return None
    mask = site.argument(1, "mask")
    return mask if isinstance(mask, Tensor) else None


def read_transposed(site: Site) -> Kernel:
    """Of ``F.conv_transpose2d`` or a layer."""
    module, x = site.module, site.x
    if module is None:
        weight, bias = site.argument(1, "weight"), site.argument(2, "bias")
        names = {
            "stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "dilation": 1,
        }  # fmt: skip
        stride, padding, more, groups, dilation = (
            site.argument(place, name, default)
            for place, (name, default) in enumerate(names.items(), start=3)
        )
        flipped = False
    else:
        weight, bias = module.weight, module.bias
        flipped = getattr(module, "flip", False)
        if flipped:
            weight = weight.flip(tuple(range(2, weight.ndim)))
        stride, padding, groups = module.stride, module.padding, module.groups
        dilation, more = module.dilation, module.output_padding
        if site.argument(1, "output_size") is not None:
            more = 0
    axes = weight.ndim - 2
    strides = per_axis(_plain(stride), axes, name="stride")
    spread = per_axis(_plain(dilation), axes, name="dilation")
    taps, sizes = tuple(weight.shape[2:]), tuple(x.shape[-axes:])
    pairs, _ = cut_and_added(
        _plain(padding), _plain(more), taps, strides, spread, "explain_unit"
    )

    def row(axis: int, place: int) -> tuple[int | None, ...]:
        found: list[int | None] = []
        for tap in range(taps[axis]):
            element, rest = divmod(
                place + pairs[axis][0] - spread[axis] * tap, strides[axis]
            )
            fits = rest == 0 and 0 <= element < sizes[axis]
            found.append(element if fits else None)
        return tuple(found)

    return Kernel(weight, bias, groups, row, flipped=flipped)


def _transposed(site: Site) -> Detail | None:
    read = read_transposed(site)
    weight, axes = read.weight, read.axes
    window = read.window(site.index[-axes:])
    channel, image = site.index[-axes - 1], site.index[: -axes - 1]
    out_each, in_each = weight.shape[1], weight.shape[0] // read.groups
    group = channel // out_each
    channels = tuple(range(group * in_each, (group + 1) * in_each))
    patch, inside = under(site.x, image, list(channels), window, 0.0)
    kernel = wide(weight[list(channels), channel % out_each])
    kernel = np.where(inside, kernel, 0.0)
    return WindowSum(
        "transposed convolution: input elements whose kernels reach this place",
        patch, kernel, inside, window, channels,
        None if read.bias is None else float(read.bias[channel].item()), site.unit,
    )  # fmt: skip


def _local(site: Site) -> Detail | None:
    module = site.module
    place = site.index[-module.axes :]
    bias = module.bias
    if bias is not None and bias.ndim > 1:
        bias = bias[(slice(None), *place)]
    row = rows(
        site.x, module.kernel_size, module.stride, module.pairs, module.dilation,
        module.padding_mode,
    )  # fmt: skip
    kernel = Kernel(module.weight[place], bias, module.groups, row, module.padding_mode)
    return replace(
        _summed(site, kernel), what=f"locally connected, the kernel of place {place}"
    )


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
