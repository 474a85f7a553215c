"""Locally connected: windows as in a convolution, each with weights of its own.

``locally_connected(x, weight, bias=None, *, stride=, padding=, dilation=, groups=,
padding_mode=)``

Output, input gradient and weight gradient are the three ways to leave one tensor out of
a product of three, so each is the derivative of the others. `_Product` says that to
autograd once: it keeps the input and the weight for backward, and no patches.
"""

import itertools
from math import prod
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from convscope.arithmetic import (
    BorderMode,
    PaddingLike,
    PerAxis,
    kernel_span,
    output_shape,
    per_axis,
    require_groups,
    resolve_paddings,
)
from convscope.errors import ShapeError, explains_calls
from convscope.functional.padding import pad

Ints: TypeAlias = tuple[int, ...]
_LEADING = (slice(None),) * 3
Wanted: TypeAlias = Literal["output", "input", "weight"]


@explains_calls
def locally_connected(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: PerAxis = 1,
    padding: PaddingLike = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    padding_mode: BorderMode = "zeros",
    where: str = "locally_connected",
) -> Tensor:
    """Convolution whose kernel is another one at each place of the output.

    ``weight[i, j]`` is the weight of an ordinary convolution, the one that output
    ``[..., i, j]`` is computed with. Patches are gathered for as many places at a time
    as take the room of input and output, and are not kept for backward.

    Args:
        x: One, two or three spatial axes, with a batch axis or without.
        weight: One kernel for each place of the output.
        bias: One number for each output, or one for each output channel.
        stride: Steps between windows, in input elements.
        padding: A name or numbers, as `arithmetic.parse_padding` reads them.
        dilation: Steps between taps, in input elements.
        groups: Parts of the channels that do not see each other.
        padding_mode: What the padding is filled with; see `pad`.
        where: What an error message begins with.

    Shape:
        x:      (N, C_in, H, W) or (C_in, H, W); other ranks alike
        weight: (H_out, W_out, C_out, C_in / groups, kH, kW)
        bias:   (C_out, H_out, W_out) or (C_out,)
        return: (N, C_out, H_out, W_out) or (C_out, H_out, W_out)

    Raises:
        ShapeError: Sizes, channels or groups do not fit together.
        ArgumentError: An argument is not in its range.

    Source:
        LeCun 1989, Generalization and network design strategies, Net-3; Taigman et al.
        2014, DeepFace, layers L4 to L6. The layout is that of Torch7's
        SpatialConvolutionLocal, which has neither dilation nor groups.

    >>> weight = torch.arange(3.0).reshape(3, 1, 1, 1)  # three kernels of one tap
    >>> locally_connected(torch.ones(1, 3), weight)
    tensor([[0., 1., 2.]])
    """
    axes = weight.ndim // 2 - 1
    if weight.ndim not in (4, 6, 8):
        raise ShapeError(
            f"{where}: weight={tuple(weight.shape)} has {weight.ndim} axes. Give 4, 6 "
            "or 8: places, output channels, input channels, taps."
        )
    if x.ndim not in (axes + 1, axes + 2):
        raise ShapeError(
            f"{where}: x={tuple(x.shape)} has {x.ndim} axes; the weight has {axes} "
            f"spatial ones. Give x {axes + 2} axes, or {axes + 1} without a batch."
        )
    places, kernel = tuple(weight.shape[:axes]), tuple(weight.shape[axes + 2 :])
    strides = per_axis(stride, axes, name="stride", where=where)
    dilations = per_axis(dilation, axes, name="dilation", where=where)
    batch = x if x.ndim == axes + 2 else x[None]
    sizes = tuple(batch.shape[2:])
    _require_channels(where, batch.shape[1], weight.shape[axes], weight, groups)
    pairs = resolve_paddings(
        padding, sizes, kernel, stride=strides, dilation=dilations, where=where
    )
    outputs = output_shape(
        sizes, kernel, stride=strides, padding=pairs, dilation=dilations, where=where
    )
    if outputs != places:
        raise ShapeError(
            f"{where}: weight={tuple(weight.shape)} has kernels for {places} places; "
            f"an input of {sizes} has {outputs}. Give one kernel for each place."
        )
    batch = pad(batch, pairs, padding_mode, where=where)
    out = _product(
        "output",
        batch.unflatten(1, (groups, -1)),
        weight.unflatten(axes, (groups, -1)),
        tuple(batch.shape[2:]),
        kernel,
        strides,
        dilations,
    )
    out = out.flatten(1, 2)
    if bias is not None:
        out = out + _spread(where, bias, tuple(out.shape[1:]))
    return out if x.ndim == axes + 2 else out[0]


def _require_channels(
    where: str, came: int, outputs: int, weight: Tensor, groups: int
) -> None:
    require_groups(where, came, outputs, groups)
    wanted = weight.shape[weight.ndim // 2] * groups
    if came != wanted:
        raise ShapeError(
            f"{where}: x has {came} channels; weight={tuple(weight.shape)} in "
            f"groups={groups} is for {wanted}. Give x {wanted} channels."
        )


def _spread(where: str, bias: Tensor, out: Ints) -> Tensor:
    """The bias in a shape that adds to an output."""
    if tuple(bias.shape) == out:
        return bias
    if tuple(bias.shape) == out[:1]:
        return bias.reshape(-1, *(1 for _ in out[1:]))
    raise ShapeError(
        f"{where}: bias={tuple(bias.shape)} does not fit the output. Give {out}, one "
        f"for each output, or {out[:1]}, one for each channel."
    )


# Below, tensors have an axis of groups G:
#   x (N, G, C, *sizes), padded    w (*places, G, O, C, *kernel)    y (N, G, O, *places)
#
# Measured on one core, 2-D, kernels 3 to 7, batch 1 to 128: a product for each tap
# takes 2 to 13 times the time of one product over all patches (the contraction is then
# C long, not C * taps). Patches in parts that take no more room than x and y take 0.9
# to 1.2 times that time, 1.6 at 0.1 ms a call, and room that does not grow with the
# kernel. Kept for backward are x (its padded copy, if it has padding) and w: there the
# product over all patches keeps 1.1 to 6 times as much; backward takes 0.9 to 2 times
# its time, 2.6 below 1 ms. At x 3, w 14 and y 2 MiB, 5x5 taps, memory rises by 10 MiB
# in forward and 83 with backward, there by 61 and 168. The input gradient has the batch
# innermost while it is summed: 0.6 to 0.8 of the time of channels first from batch 16
# on, the same below.


def _product(wanted: Wanted, first: Tensor, second: Tensor, *geometry: Ints) -> Tensor:
    """The one of x, w and y that is wanted, from the other two in that order."""
    out: Tensor = _Product.apply(  # type: ignore[no-untyped-call]  # torch's
        wanted, first, second, *geometry
    )
    return out


class _Product(torch.autograd.Function):
    """`_product`, with its derivatives."""

    @staticmethod
    def forward(
        wanted: Wanted,
        first: Tensor,
        second: Tensor,
        sizes: Ints,
        kernel: Ints,
        stride: Ints,
        dilation: Ints,
    ) -> Tensor:
        if wanted == "output":
            return _output(first, second, kernel, stride, dilation)
        if wanted == "weight":
            return _weight(first, second, kernel, stride, dilation)
        return _input(first, second, sizes, kernel, stride, dilation)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        wanted, first, second, *ctx.geometry = inputs
        ctx.wanted = wanted
        ctx.save_for_backward(first, second)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        first, second = ctx.saved_tensors
        _, needs_first, needs_second, *_ = ctx.needs_input_grad
        to_first = to_second = None
        rest = ctx.geometry
        if ctx.wanted == "output":  # first x, second w
            if needs_first:
                to_first = _product("input", second, grad, *rest)
            if needs_second:
                to_second = _product("weight", first, grad, *rest)
        elif ctx.wanted == "weight":  # first x, second y
            if needs_first:
                to_first = _product("input", grad, second, *rest)
            if needs_second:
                to_second = _product("output", first, grad, *rest)
        else:  # first w, second y
            if needs_first:
                to_first = _product("weight", grad, second, *rest)
            if needs_second:
                to_second = _product("output", grad, first, *rest)
        return None, to_first, to_second, None, None, None, None

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        wanted: Wanted,
        first: Tensor,
        second: Tensor,
        *rest: Ints,
    ) -> tuple[Tensor, int]:
        axes = len(rest[0])
        dims = in_dims[1:3]
        names = {"output": "xwy", "weight": "xyw", "input": "wyx"}[wanted]
        if wanted != "weight" and dims[names.index("w")] is None:
            # the same weights for all: what is mapped over joins the batch
            pair = [first, second]
            other = 1 - names.index("w")
            many = pair[other].movedim(dims[other] or 0, 0)
            pair[other] = many.flatten(0, 1)
            out = _product(wanted, pair[0], pair[1], *rest)
            return out.unflatten(0, many.shape[:2]), 0
        # otherwise each of what is mapped over is a group of its own
        group = {"x": 1, "w": axes, "y": 1}
        pair = []
        for name, tensor, dim in zip(names, (first, second), dims, strict=False):
            if dim is None:
                many = tensor.expand(info.batch_size, *tensor.shape)
            else:
                many = tensor.movedim(dim, 0)
            at = group[name]
            pair.append(many.movedim(0, at).flatten(at, at + 1))
        out = _product(wanted, pair[0], pair[1], *rest)
        at = group[names[2]]
        return out.unflatten(at, (info.batch_size, -1)), at


def _output(x: Tensor, w: Tensor, kernel: Ints, stride: Ints, dilation: Ints) -> Tensor:
    axes, taps = len(kernel), prod(kernel)
    batch, groups, _ = x.shape[:3]
    places, outputs = w.shape[:axes], w.shape[axes + 1]
    y = x.new_empty(batch, groups, outputs, *places)
    every = _patches(x, kernel, stride, dilation)
    for box in _boxes(x, y, taps):
        weights = w[box].flatten(axes + 2).flatten(0, axes)  # (places G, O, C taps)
        part = torch.bmm(_rows(every, box), weights.transpose(1, 2))
        count = [_length(side) for side in box]
        part = part.unflatten(0, (*count, groups))  # (*places, G, N, O)
        y[(*_LEADING, *box)] = part.permute(axes + 1, axes, axes + 2, *range(axes))
    return y


def _weight(x: Tensor, y: Tensor, kernel: Ints, stride: Ints, dilation: Ints) -> Tensor:
    groups, channels = x.shape[1:3]
    w = x.new_empty(*y.shape[3:], groups, y.shape[2], channels, *kernel)
    every = _patches(x, kernel, stride, dilation)
    for box in _boxes(x, y, prod(kernel)):
        part = torch.bmm(_rows_of_outputs(y, box).transpose(1, 2), _rows(every, box))
        w[box] = part.view(w[box].shape)
    return w


def _input(
    w: Tensor,
    y: Tensor,
    sizes: Ints,
    kernel: Ints,
    stride: Ints,
    dilation: Ints,
) -> Tensor:
    axes, taps = len(kernel), prod(kernel)
    batch, groups, _ = y.shape[:3]
    x = y.new_zeros(*sizes, groups, w.shape[axes + 2], batch)  # batch last: see above
    out = x.permute(-1, axes, axes + 1, *range(axes))
    for box in _boxes(out, y, taps):
        weights = w[box].flatten(axes + 2).flatten(0, axes)
        columns = _rows_of_outputs(y, box).transpose(1, 2)
        part = torch.bmm(weights.transpose(1, 2), columns)  # (places G, C taps, N)
        count = [_length(side) for side in box]
        part = part.unflatten(1, (-1, *kernel)).unflatten(0, (*count, groups))
        for tap in itertools.product(*map(range, kernel)):
            at = (slice(None),) * (axes + 2) + tap
            x[_under(tap, box, stride, dilation)] += part[at]
    return out.contiguous()


def _patches(x: Tensor, kernel: Ints, stride: Ints, dilation: Ints) -> Tensor:
    """A view (N, G, C, *places, *kernel) of x."""
    for axis, (taps, step, spread) in enumerate(
        zip(kernel, stride, dilation, strict=True)
    ):
        x = x.unfold(3 + axis, kernel_span(taps, spread), step)[..., ::spread]
    return x


def _rows(patches: Tensor, box: tuple[slice, ...]) -> Tensor:
    """The patches of some places, (places G, N, C taps)."""
    axes = len(box)
    part = patches[(*_LEADING, *box)]
    part = part.permute(
        *range(3, 3 + axes), 1, 0, 2, *range(3 + axes, 3 + 2 * axes)
    ).flatten(axes + 2)
    return part.flatten(0, axes)


def _rows_of_outputs(y: Tensor, box: tuple[slice, ...]) -> Tensor:
    """The outputs of some places, (places G, N, O)."""
    axes = len(box)
    part = y[(*_LEADING, *box)].permute(*range(3, 3 + axes), 1, 0, 2)
    return part.flatten(0, axes)


def _boxes(x: Tensor, y: Tensor, taps: int) -> list[tuple[slice, ...]]:
    """All places, in blocks whose patches take no more room than x and y."""
    room = prod(x.shape[1:]) + prod(y.shape[1:])
    most = max(1, room // (x.shape[1] * x.shape[2] * taps))
    sides = list(y.shape[3:])
    for axis, places in enumerate(sides):
        others = prod(sides[axis + 1 :])
        sides[axis] = max(1, min(places, most // others))
        if sides[axis] > 1:
            break
    starts = (range(0, n, side) for n, side in zip(y.shape[3:], sides, strict=True))
    return [
        tuple(
            slice(start, min(start + side, places))
            for start, side, places in zip(corner, sides, y.shape[3:], strict=True)
        )
        for corner in itertools.product(*starts)
    ]


def _length(side: slice) -> int:
    length: int = side.stop - side.start
    return length


def _under(
    tap: Ints, box: tuple[slice, ...], stride: Ints, dilation: Ints
) -> tuple[slice, ...]:
    """Where one tap of the windows at some places lies in x."""
    return tuple(
        slice(
            side.start * step + one * spread,
            (side.stop - 1) * step + one * spread + 1,
            step,
        )
        for one, side, step, spread in zip(tap, box, stride, dilation, strict=True)
    )
