"""Transposed convolution over one, two or three spatial axes, written once.

``conv_transpose(x, weight, bias, stride=, padding=, output_padding=, ...)``
``conv_transpose1d``, ``conv_transpose2d``, ``conv_transpose3d``: of that rank only.
"""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from convscope.arithmetic import (
    PaddingLike,
    PerAxis,
    parse_padding,
    per_axis,
    require_groups,
    resolve_transposed_padding,
    transposed_output_shape,
)
from convscope.errors import ArgumentError, ShapeError, explains_calls
from convscope.functional.geometry import require_rank, reversed_kernel
from convscope.functional.operands import require_alike, require_bias

_TORCH: dict[int, Callable[..., Tensor]] = {
    1: F.conv_transpose1d,
    2: F.conv_transpose2d,
    3: F.conv_transpose3d,
}
_WEIGHT = "(C_in, C_out / groups, *kernel)"


@explains_calls
def conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: PerAxis = 1,
    padding: PaddingLike = 0,
    output_padding: PerAxis = 0,
    groups: int = 1,
    dilation: PerAxis = 1,
    *,
    flip: bool = False,
    where: str = "conv_transpose",
) -> Tensor:
    """The gradient of a convolution with respect to its input, as an operation.

    Every input value lays its kernel, times the value, onto the output; what overlaps
    is added. It turns the sizes of the convolution with the same arguments around.

    Args:
        x: The input.
        weight: One kernel for each input channel and each output channel of its group.
        bias: One scalar for each output channel.
        stride: Steps between kernels, in output elements; one integer serves all axes.
        padding: What is cut off the output: one integer, one per axis, one pair
            ``(before, after)`` per axis; or the name of the convolution's padding that
            is undone, so that ``same`` gives ``size * stride``.
        output_padding: Elements added at the end of the output, below ``stride`` or
            ``dilation``; not with ``same``, which fixes the output.
        groups: Blocks of channels that do not see each other.
        dilation: Steps between taps, in output elements; one integer serves all axes.
        flip: Whether the kernel is reversed along every spatial axis.
        where: What an error message begins with.

    Shape:
        x:      (N, C_in, *space) or (C_in, *space)
        weight: (C_in, C_out / groups, *kernel)
        bias:   (C_out,)
        return: (N, C_out, *space_out) or (C_out, *space_out)

    Raises:
        ShapeError: Nothing is left of the output, or shapes do not belong together.
        UnknownNameError: Another name of a padding.
        ArgumentError: A value is not in its range, or not one per axis; or
            ``padding="causal"``, whose transpose looks ahead.

    Source:
        Dumoulin & Visin, arXiv:1603.07285, chapter 4.

    >>> import torch
    >>> x, weight = torch.tensor([[[1.0, 0.0, 2.0]]]), torch.tensor([[[1.0, 2.0, 1.0]]])
    >>> conv_transpose(x, weight, stride=2)
    tensor([[[1., 2., 1., 0., 2., 4., 2.]]])
    """
    axes = require_rank(x, weight, where, _WEIGHT)
    channels = x.shape[-axes - 1]
    require_groups(where, channels, weight.shape[1] * max(groups, 1), groups)
    if channels != weight.shape[0]:
        raise ShapeError(
            f"{where}: x has {channels} channels, and weight {tuple(weight.shape)} "
            f"takes {weight.shape[0]}. Give x that many, or weight {channels} on its "
            "first axis."
        )
    steps = per_axis(stride, axes, name="stride", where=where)
    spread = per_axis(dilation, axes, name="dilation", where=where)
    pairs, more = cut_and_added(
        padding, output_padding, tuple(weight.shape[2:]), steps, spread, where
    )
    transposed_output_shape(
        x.shape[-axes:],
        tuple(weight.shape[2:]),
        stride=steps,
        padding=pairs,
        dilation=spread,
        output_padding=more,
        where=where,
    )
    require_alike(x, {"weight": weight, "bias": bias}, where)
    require_bias(bias, weight.shape[1] * groups, where)
    if flip:
        weight = reversed_kernel(weight)
    both = [min(pair) for pair in pairs]
    out = _TORCH[axes](x, weight, bias, steps, both, more, groups, spread)
    if all(before == after for before, after in pairs):
        return out
    rest = [
        least - amount
        for pair, least in zip(reversed(pairs), reversed(both), strict=True)
        for amount in pair
    ]
    return F.pad(out, rest)  # negative: cuts


@explains_calls
def conv_transpose1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: PerAxis = 1,
    padding: PaddingLike = 0,
    output_padding: PerAxis = 0,
    groups: int = 1,
    dilation: PerAxis = 1,
    *,
    flip: bool = False,
    where: str = "conv_transpose1d",
) -> Tensor:
    """`conv_transpose` along one spatial axis; arguments, shapes and errors are its.

    The first eight arguments are those of ``torch.nn.functional.conv_transpose1d``, in
    its order.

    >>> import torch
    >>> conv_transpose1d(torch.ones(1, 1, 5), torch.ones(1, 1, 3), stride=2).shape
    torch.Size([1, 1, 11])
    """
    require_rank(x, weight, where, _WEIGHT, axes=1)
    return conv_transpose(
        x,
        weight,
        bias,
        stride,
        padding,
        output_padding,
        groups,
        dilation,
        flip=flip,
        where=where,
    )


@explains_calls
def conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: PerAxis = 1,
    padding: PaddingLike = 0,
    output_padding: PerAxis = 0,
    groups: int = 1,
    dilation: PerAxis = 1,
    *,
    flip: bool = False,
    where: str = "conv_transpose2d",
) -> Tensor:
    """`conv_transpose` along two spatial axes; arguments, shapes and errors are its.

    The first eight arguments are those of ``torch.nn.functional.conv_transpose2d``, in
    its order.

    >>> import torch
    >>> x, weight = torch.ones(1, 1, 5, 4), torch.ones(1, 1, 3, 3)
    >>> conv_transpose2d(x, weight, stride=2, padding="same").shape
    torch.Size([1, 1, 10, 8])
    """
    require_rank(x, weight, where, _WEIGHT, axes=2)
    return conv_transpose(
        x,
        weight,
        bias,
        stride,
        padding,
        output_padding,
        groups,
        dilation,
        flip=flip,
        where=where,
    )


@explains_calls
def conv_transpose3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: PerAxis = 1,
    padding: PaddingLike = 0,
    output_padding: PerAxis = 0,
    groups: int = 1,
    dilation: PerAxis = 1,
    *,
    flip: bool = False,
    where: str = "conv_transpose3d",
) -> Tensor:
    """`conv_transpose` along three spatial axes; arguments, shapes and errors are its.

    The first eight arguments are those of ``torch.nn.functional.conv_transpose3d``, in
    its order.

    >>> import torch
    >>> conv_transpose3d(torch.ones(1, 1, 3, 2, 1), torch.ones(1, 2, 2, 2, 2)).shape
    torch.Size([1, 2, 4, 3, 2])
    """
    require_rank(x, weight, where, _WEIGHT, axes=3)
    return conv_transpose(
        x,
        weight,
        bias,
        stride,
        padding,
        output_padding,
        groups,
        dilation,
        flip=flip,
        where=where,
    )


def cut_and_added(
    padding: PaddingLike,
    output_padding: PerAxis,
    kernel_size: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    where: str,
) -> tuple[tuple[tuple[int, int], ...], tuple[int, ...]]:
    """Elements cut off ``(before, after)`` each axis of the output, and added to it."""
    axes = len(kernel_size)
    more = per_axis(output_padding, axes, name="output_padding", minimum=0, where=where)
    parsed = parse_padding(padding, axes, where=where)
    if isinstance(padding, str) and padding.startswith("same") and any(more):
        raise ArgumentError(
            f"{where}: output_padding={output_padding} and padding={padding!r} both "
            "fix the size of the output. Use output_padding=0, or padding as numbers."
        )
    found = [
        resolve_transposed_padding(
            pad,
            kernel_size[axis],
            stride=stride[axis],
            dilation=dilation[axis],
            where=where,
        )
        for axis, pad in enumerate(parsed)
    ]
    added = tuple(one + extra for (_, one), extra in zip(found, more, strict=True))
    return tuple(pair for pair, _ in found), added
