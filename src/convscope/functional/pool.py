"""Maximum and average over windows that slide.

**Ties.** Of several equal maxima of a window the first in row order wins, forward (its
index is returned) and backward (it alone gets the gradient). A NaN counts as larger
than every number; of several NaN the last wins, as in torch. ``-0.0`` equals ``0.0``.
"""

import math
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.arithmetic import (
    CeilMode,
    PaddingLike,
    PerAxis,
    kernel_span,
    output_size,
    require,
)
from convscope.errors import explains_calls
from convscope.functional.pool_window import (
    PoolWindow,
    is_channels_last,
    like_layout,
    pool_window,
    take,
)
from convscope.functional.short_pool import holds_short_winners, short_max_pool

_MAX: dict[int, Any] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVG: dict[int, Any] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_AVG_BACKWARD: dict[int, Any] = {
    2: torch.ops.aten.avg_pool2d_backward,
    3: torch.ops.aten.avg_pool3d_backward,
}


@explains_calls
def max_pool(
    x: Tensor,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: PaddingLike = 0,
    dilation: PerAxis = 1,
    ceil_mode: CeilMode | bool = False,
    *,
    where: str = "max_pool",
) -> Tensor:
    """Largest element of each window; padding never wins.

    Args:
        x: A batch, with one to three spatial axes.
        kernel_size: Window lengths, in taps.
        stride: Steps between windows, in elements; None for the kernel size.
        padding: A name or numbers, as `convscope.arithmetic.parse_padding` reads them.
        dilation: Steps between taps, in elements.
        ceil_mode: Whether to round output sizes up: True or ``"torch"``; or
            ``"onnx"``, see `convscope.arithmetic.output_size`.
        where: What an error message begins with.

    Shape:
        x:      (N, C, L), (N, C, H, W) or (N, C, D, H, W)
        return: the same rank; sizes from `convscope.arithmetic.output_shape`

    Raises:
        ShapeError: No window fits, a window holds padding only, or another rank.
        ArgumentError: A value is not in its range, or not one per axis.

    Source:
        ``torch.nn.functional.max_pool2d``; ours also takes a padding that is
        asymmetric, has a name, or exceeds half the kernel.

    >>> max_pool(torch.tensor([[[3.0, 1.0, 2.0, 5.0, 4.0]]]), 2)
    tensor([[[3., 5.]]])
    """
    window = pool_window(
        x, kernel_size, stride, padding, dilation, ceil_mode, where=where
    )
    return cast("Tensor", _max(x, window, indices=False))


@explains_calls
def max_pool_with_indices(
    x: Tensor,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: PaddingLike = 0,
    dilation: PerAxis = 1,
    ceil_mode: CeilMode | bool = False,
    *,
    where: str = "max_pool",
) -> tuple[Tensor, Tensor]:
    """Largest element of each window, and where it was.

    Arguments and errors are those of `max_pool`.

    Shape:
        return: two tensors of the same shape; the second counts the elements of the
            winner's feature map in row order, from 0

    >>> max_pool_with_indices(torch.tensor([[[3.0, 3.0, 2.0, 5.0]]]), 2)
    (tensor([[[3., 5.]]]), tensor([[[0, 3]]]))
    """
    window = pool_window(
        x, kernel_size, stride, padding, dilation, ceil_mode, where=where
    )
    return cast("tuple[Tensor, Tensor]", _max(x, window, indices=True))


@explains_calls
@torch.no_grad()
def pool_winners(
    x: Tensor,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: PaddingLike = 0,
    dilation: PerAxis = 1,
    ceil_mode: CeilMode | bool = False,
) -> Tensor:
    """Where the gradient of each output of `max_pool` goes: its winner's coordinates.

    Arguments and errors are those of `max_pool`.

    Shape:
        return: (N, C, *outputs, axes), whole numbers: row and column in two dimensions

    >>> pool_winners(torch.tensor([[[[1.0, 9.0], [9.0, 0.0]]]]), 2)
    tensor([[[[[0, 1]]]]])
    """
    window = pool_window(
        x, kernel_size, stride, padding, dilation, ceil_mode, where="pool_winners"
    )
    _, index = cast("tuple[Tensor, Tensor]", _max(x, window, indices=True))
    return torch.stack(_coordinates(index, window.sizes), dim=-1)


@explains_calls
def avg_pool(
    x: Tensor,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: PaddingLike = 0,
    ceil_mode: CeilMode | bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    where: str = "avg_pool",
) -> Tensor:
    """Mean of each window; padding counts as zeros, or not at all.

    Args:
        x: A batch, with one to three spatial axes.
        kernel_size: Window lengths, in elements.
        stride: Steps between windows, in elements; None for the kernel size.
        padding: A name or numbers, as `convscope.arithmetic.parse_padding` reads them.
        ceil_mode: Whether to round output sizes up: True or ``"torch"``; or
            ``"onnx"``, see `convscope.arithmetic.output_size`. What a last window
            has beyond the padding counts in no divisor.
        count_include_pad: Whether the divisor counts padding with the elements.
        divisor_override: What to divide by instead; 1 gives the sum.
        where: What an error message begins with.

    Shape:
        x:      (N, C, L), (N, C, H, W) or (N, C, D, H, W)
        return: the same rank; sizes from `convscope.arithmetic.output_shape`

    Raises:
        ShapeError: No window fits, there is nothing to divide by, or another rank.
        ArgumentError: A value is not in its range, or not one per axis.

    Source:
        ``torch.nn.functional.avg_pool2d``; ours also takes a padding that is
        asymmetric, has a name, or exceeds half the kernel, and the divisor in 1-D.

    >>> avg_pool(torch.tensor([[[3.0, 1.0, 2.0, 5.0]]]), 2, divisor_override=1)
    tensor([[[4., 7.]]])
    """
    if divisor_override is not None:
        require(where, "divisor_override", divisor_override, 1)
    window = pool_window(x, kernel_size, stride, padding, 1, ceil_mode, where=where)
    pads = window.torch_padding
    # The ONNX exporter of torch 2.13 drops divisor_override without a word.
    exporting = divisor_override is not None and torch.compiler.is_exporting()
    # In 3-D torch refuses a kernel longer than the input, whatever the padding.
    small = any(k > n for k, n in zip(window.kernel, window.sizes, strict=True))
    if pads is None or exporting or (window.axes == 3 and small):
        mean: Tensor = _Mean.apply(  # type: ignore[no-untyped-call]  # torch's
            window.padded(x), window.kernel, window.stride
        )
        if divisor_override is not None:
            return like_layout(mean * (window.taps / divisor_override), x)
        counts = _counts(window, padding=count_include_pad)
        return like_layout(mean * (window.taps / counts).to(x), x)
    if divisor_override is not None and window.axes == 1:
        total = F.avg_pool2d(
            x.unsqueeze(-2),
            (1, *window.kernel),
            (1, *window.stride),
            (0, *pads),
            bool(window.ceil_mode),
            count_include_pad,
            divisor_override,
        )
        return total.squeeze(-2)
    more = () if window.axes == 1 else (divisor_override,)
    out: Tensor = _AVG[window.axes](
        x,
        window.kernel,
        window.stride,
        pads,
        bool(window.ceil_mode),
        count_include_pad,
        *more,
    )
    return like_layout(out, x)  # which torch loses in 3-D


def _max(x: Tensor, window: PoolWindow, *, indices: bool) -> Any:
    pads, ceil = window.torch_padding, bool(window.ceil_mode)
    if pads is None and not torch.compiler.is_exporting() and _ends_past(window):
        pads, ceil = [before for before, _ in window.padding], True
    if pads is None:
        return _max_by_gather(x, window, indices=indices)
    if any(map(any, window.padding)) and any(step > 1 for step in window.dilation):
        window.tables()  # refuses windows whose taps all miss the input
    # torch's kernel for channels last in 3-D gives windows of -inf a wrong winner
    copied = window.axes == 3 and is_channels_last(x)
    if not indices and holds_short_winners(x):
        rest = window.kernel, window.stride, tuple(pads), window.dilation
        values = x.contiguous() if copied else x
        out = short_max_pool(values, *rest, ceil)
        return like_layout(out, x) if copied else out
    out = _MAX[window.axes](
        x.contiguous() if copied else x,
        window.kernel,
        window.stride,
        pads,
        window.dilation,
        ceil,
        indices,
    )
    if not copied:
        return out
    return tuple(like_layout(o, x) for o in out) if indices else like_layout(out, x)


def _ends_past(window: PoolWindow) -> bool:
    """Whether more padding at the end does no more than to round up the output."""
    for axis, (before, _) in enumerate(window.padding):
        kernel, gap = window.kernel[axis], window.dilation[axis]
        if before > kernel // 2:
            return False
        size, step = window.sizes[axis], window.stride[axis]
        if size + 2 * before + step <= kernel_span(kernel, gap):
            return False
        outputs = output_size(
            size,
            kernel,
            stride=step,
            padding=(before, before),
            dilation=gap,
            ceil_mode="torch",
        )
        if outputs != window.outputs[axis]:
            return False
    return True


def _max_by_gather(x: Tensor, window: PoolWindow, *, indices: bool) -> Any:
    tables = window.tables()
    lowest = -math.inf if x.is_floating_point() else torch.iinfo(x.dtype).min
    padded = window.padded(x.detach(), lowest).contiguous()
    _, index = _MAX[window.axes](
        padded, window.kernel, window.stride, 0, window.dilation, return_indices=True
    )
    places = _coordinates(index, tuple(padded.shape[2:]))
    # Only padding is left of a window of -inf: there, its first element wins.
    flat = torch.zeros_like(index)
    first = index.new_zeros(())
    inside = torch.ones_like(index, dtype=torch.bool)
    for axis, (place, size) in enumerate(zip(places, window.sizes, strict=True)):
        place = place - window.padding[axis][0]
        flat = flat * size + place
        inside = inside & (place >= 0) & (place < size)
        begins = torch.tensor([row[0] for row in tables[axis]], device=x.device)
        first = first[..., None] * size + begins
    flat = torch.where(inside, flat, first)
    out, flat = like_layout(take(x, flat), x), like_layout(flat, x)
    return (out, flat) if indices else out


def _coordinates(index: Tensor, sizes: tuple[int, ...]) -> list[Tensor]:
    """Row-order index -> one coordinate per axis."""
    places: list[Tensor] = []
    for size in reversed(sizes):
        places = [index % size, *places]
        index = index // size
    return places


class _Mean(torch.autograd.Function):
    """Mean of full windows, without torch's hold on the padded copy."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
        mean: Tensor = _AVG[len(kernel)](x, kernel, stride)
        return mean

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, ctx.kernel, ctx.stride = inputs
        ctx.shape = x.shape

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad, shape, kernel, stride = grads[0], ctx.shape, ctx.kernel, ctx.stride
        flat = len(kernel) == 1
        if flat:  # torch has the backward pass in 2-D and 3-D alone
            grad, shape = grad.unsqueeze(-2), (*shape[:2], 1, shape[2])
            kernel, stride = (1, *kernel), (1, *stride)
        backward = _AVG_BACKWARD[len(kernel)]
        rest = (kernel, stride, [0] * len(kernel), False, True, None)
        spread = backward(grad, grad.new_empty(shape), *rest)
        return spread.squeeze(-2) if flat else spread, None, None


def _counts(window: PoolWindow, *, padding: bool) -> Tensor:
    """Elements that each window divides by, ``outputs``."""
    counts = torch.ones(())
    tables = [] if padding else window.tables()
    for axis, outputs in enumerate(window.outputs):
        if padding:
            padded = window.sizes[axis] + sum(window.padding[axis])
            kernel, stride = window.kernel[axis], window.stride[axis]
            row = [min(kernel, max(padded - o * stride, 1)) for o in range(outputs)]
        else:
            row = [len(elements) for elements in tables[axis]]
        counts = counts[..., None] * torch.tensor(row)
    return counts
