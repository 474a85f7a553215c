"""Partial convolution: each output counts only the taps that hit data.

``partial_conv(x, weight, bias, mask)``     holes in the data, and around it
``reweighted(x, weight, bias, geometry)``   padding alone is the hole

Padding alone changes nothing but the border of the output, so `reweighted` runs
torch's convolution and mends a few rows at each end, in place; in narrow maps a pass
over the whole costs no more. How many taps hit is a
product of one count per axis, and these come from ``arithmetic.windows``.
"""

from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor

from convscope.arithmetic import PaddingLike, PerAxis, kernel_span, windows
from convscope.errors import ShapeError, explains_calls
from convscope.functional.geometry import (
    Geometry,
    correlate,
    read_geometry,
    reversed_kernel,
)
from convscope.functional.operands import require_alike, require_bias

NARROW = 48  # elements along a row below which one pass over all of them is faster
FEW = 16  # channels of a place in channels-last that fill a line of the cache


class Strip(NamedTuple):
    """Neighboring outputs along one axis that the same number of taps serves."""

    axis: int  # counted from the last, negative
    start: int
    length: int
    scale: float  # taps over taps that hit the input; 0 where none does


@explains_calls
def partial_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    stride: PerAxis = 1,
    padding: PaddingLike = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    flip: bool = False,
    where: str = "partial_conv",
) -> Any:
    """Convolution of data with holes: each output is scaled by taps over taps on data.

    ``out = sum_t w_t x_t * (taps / taps on data) + bias``, and 0 where a window meets
    no data at all. Padding is a hole.

    Args:
        x: The input; what it holds in a hole does not matter, NaN included.
        weight: One kernel for each output channel and each input channel of its group.
        bias: One scalar for each output channel.
        mask: Where the data is: elements other than 0. Where None, everywhere.
        stride: Steps between windows, as in `functional.conv`; so are the others.
        padding: A name or numbers; all of it is a hole.
        dilation: Steps between taps.
        groups: Blocks of channels that do not see each other.
        flip: Whether the kernel is reversed along every spatial axis.
        where: What an error message begins with.

    Shape:
        x:      (N, C_in, *space) or (C_in, *space)
        weight: (C_out, C_in / groups, *kernel)
        bias:   (C_out,)
        mask:   as x, with 1 or C_in channels
        return: (N, C_out, *space_out); with a mask also the mask of the output, which
                has 1 channel or, if the mask had C_in, C_out channels: data where the
                window met any

    Raises:
        ShapeError: The kernel does not fit, or shapes do not belong together.
        UnknownNameError: Another name of a padding.
        ArgumentError: A value is not in its range, or not one per axis.

    Source:
        Liu et al., arXiv:1804.07723, equations 1 and 2 (holes in images), and
        arXiv:1811.11718 (padding as a hole).

    >>> x, mask = torch.tensor([[[6.0, 0.0, 2.0]]]), torch.tensor([[[1, 0, 1]]])
    >>> partial_conv(x, torch.ones(1, 1, 2) / 2, mask=mask)
    (tensor([[[6., 2.]]]), tensor([[[1, 1]]]))
    """
    geometry = read_geometry(x, weight, stride, padding, dilation, groups, where)
    require_alike(x, {"weight": weight, "bias": bias}, where)
    require_bias(bias, weight.shape[0], where)
    if flip:
        weight = reversed_kernel(weight)
    if mask is None:
        return reweighted(x, weight, bias, geometry)
    _require_mask(x, mask, geometry.axes, where)
    return _masked(x, weight, bias, mask, geometry)


def reweighted(
    x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry
) -> Tensor:
    """Convolution of data that has no hole but the padding around it."""
    compiling = torch.compiler.is_compiling()
    count = border_strips if compiling else _known_strips
    strips = count(x.shape[-geometry.axes :], weight.shape[2:], geometry)
    if not strips:
        return correlate(x, weight, bias, geometry)
    ends = None if bias is None else bias.view(-1, *(1,) * geometry.axes)
    if compiling or _columns_are_dear(x, weight.shape[0]):
        out = correlate(x, weight, None, geometry)
        scale = _scale_map(out, strips)
        if ends is None:
            return out.mul_(scale)  # nobody else has it, and no gradient needs it
        ends = ends.to(out.dtype)
        if strips[-1].scale == 0:
            ends = ends * (scale > 0)
        return torch.addcmul(ends, out, scale)
    out = correlate(x, weight, bias, geometry)
    ends = None if ends is None else ends.to(out.dtype)
    mended: Tensor = _Reweight.apply(out, ends, strips)  # type: ignore[no-untyped-call]  # torch leaves it bare
    return mended


def _columns_are_dear(x: Tensor, channels: int) -> bool:
    """Whether a column takes nearly as many lines of the cache as the whole."""
    return x.shape[-1] < NARROW and (x.stride(-1) == 1 or channels <= FEW)


def border_strips(
    sizes: torch.Size, taps: torch.Size, geometry: Geometry
) -> tuple[Strip, ...]:
    """Where the scale is not 1, axis by axis; those with 0 are the last."""
    strips: list[Strip] = []
    for axis, (size, kernel) in enumerate(zip(sizes, taps, strict=True)):
        stride, dilation = geometry.stride[axis], geometry.dilation[axis]
        # Windows that reach no padding are all alike: a table with one of them will do.
        span = kernel_span(kernel, dilation)
        left_out = max(0, size - span - stride + 1) // stride
        table = windows(
            size - left_out * stride,
            kernel,
            stride=stride,
            padding=geometry.padding[axis],
            dilation=dilation,
        )
        hits = [sum(element is not None for element in row) for row in table]
        start = 0
        for hit, rows in groupby(hits):
            length = len(list(rows)) + (left_out if hit == kernel else 0)
            if hit != kernel:
                scale = kernel / hit if hit else 0.0
                strips.append(Strip(axis - len(sizes), start, length, scale))
            start += length
    return tuple(sorted(strips, key=lambda strip: strip.scale == 0))


# Integers alone decide; counting hits in Python takes longer than a small convolution.
_known_strips = lru_cache(maxsize=256)(border_strips)


def _mend(out: Tensor, bias: Tensor | None, strips: tuple[Strip, ...]) -> Tensor:
    for axis, start, length, scale in strips:
        strip = out.narrow(axis, start, length)
        if scale == 0:
            strip.zero_()
        elif bias is None:
            strip.mul_(scale)
        else:
            strip.lerp_(bias, 1 - scale)  # the bias is in the strip, and is not scaled
    return out


class _Reweight(torch.autograd.Function):
    """Mends the border of a convolution's output in place.

    ``out`` holds ``sum + bias``; each strip becomes ``scale * sum + bias``, that is
    ``scale * out + (1 - scale) * bias``; where no tap hits it becomes 0.
    """

    @staticmethod
    def forward(out: Tensor, bias: Tensor | None, strips: tuple[Strip, ...]) -> Tensor:
        return _mend(out, bias, strips)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        out, bias, ctx.strips = inputs
        ctx.bias_shape = None if bias is None else bias.shape
        ctx.mark_dirty(out)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        scale = _scale_map(grad, ctx.strips)
        of_bias = None
        if ctx.bias_shape is not None:
            of_bias = _weighted_sum(grad, _share(scale), ctx.strips, ctx.bias_shape)
        return grad * scale, of_bias, None

    @staticmethod
    def jvp(ctx: Any, out: Tensor, bias: Tensor | None, strips: None) -> Tensor:
        scale = _scale_map(out, ctx.strips)  # linear in both
        out.mul_(scale)
        return out if bias is None else out.add_(bias * _share(scale))

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        out: Tensor,
        bias: Tensor | None,
        strips: tuple[Strip, ...],
    ) -> tuple[Tensor, int]:
        first = 0 if in_dims[0] is None else in_dims[0]  # `out` holds the bias already
        if bias is not None and in_dims[1] is not None:
            bias = bias.movedim(in_dims[1], 0)
            between = (1,) * (out.ndim - bias.ndim)
            bias = bias.view(bias.shape[0], *between, *bias.shape[1:])
        _Reweight.apply(out.movedim(first, 0) if first else out, bias, strips)  # type: ignore[no-untyped-call]  # torch leaves it bare
        return out, first  # what is dirty must come back itself


def _scale_map(out: Tensor, strips: tuple[Strip, ...]) -> Tensor:
    """The scale of each place, over the axes that have strips and those behind them."""
    first = min([strip.axis for strip in strips])
    scale = out
    for axis in range(first, 0):
        along = out.new_ones(out.shape[axis])
        for at, start, length, factor in strips:
            if at == axis:
                along.narrow(0, start, length).fill_(factor)
        scale = along if axis == first else scale.unsqueeze(-1) * along
    return scale


def _share(scale: Tensor) -> Tensor:
    """How often the bias is to be added, where it was scaled once already."""
    return torch.where(scale > 0, 1 - scale, 0)


def _weighted_sum(
    grad: Tensor, share: Tensor, strips: tuple[Strip, ...], shape: torch.Size
) -> Tensor:
    """Sum of ``grad * share``, which is 0 off the strips, over all but the channels."""
    total = grad.new_zeros(shape)
    share = share.clone()
    for axis, start, length, _ in strips:
        weights = share.narrow(axis, start, length).clone()
        strip = grad.narrow(axis, start, length) * weights
        total = total + strip.sum_to_size(shape)
        share.narrow(axis, start, length).zero_()  # where strips cross, count it once
    return total


def _masked(
    x: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor, geometry: Geometry
) -> tuple[Tensor, Tensor]:
    """Equations 1 and 2; counting the taps on data is a convolution as well."""
    data, axes, groups = mask != 0, geometry.axes, geometry.groups
    channels = x.shape[-axes - 1]
    shared = mask.shape[-axes - 1] == 1
    rows, columns = (1, 1) if shared else (groups, channels // groups)
    ones = weight.new_ones(rows, columns, *weight.shape[2:])
    counting = geometry._replace(groups=rows)
    with torch.no_grad():
        hits = correlate(data.to(ones.dtype), ones, None, counting)
        scale = torch.where(hits > 0.5, ones[0].numel() / hits.clamp(min=1), 0.0)
        if not shared:
            scale = scale.repeat_interleave(weight.shape[0] // groups, -axes - 1)
    out = correlate(x.masked_fill(~data, 0), weight, None, geometry) * scale
    found = scale > 0
    if bias is not None:
        out = out + bias.view(-1, *(1,) * axes) * found
    return out, found.to(mask.dtype)


def _require_mask(x: Tensor, mask: Tensor, axes: int, where: str) -> None:
    place = x.ndim - axes - 1
    channels, given = x.shape[place], mask.shape[place] if mask.ndim == x.ndim else None
    if given in (1, channels):
        wanted = (*x.shape[:place], given, *x.shape[place + 1 :])
        if mask.shape == wanted:
            return
    several = (*x.shape[:place], 1, *x.shape[place + 1 :])
    raise ShapeError(
        f"{where}: mask has shape {tuple(mask.shape)}, and x {tuple(x.shape)}. Give "
        f"it {several}, or the shape of x."
    )
