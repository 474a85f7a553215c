"""Weight gradients of convolutions on small maps: images beside each other.

Matrix units sum bfloat16 products 32 at a time. For the gradient of a weight, torch's
library lets them run along a row of the map: with rows of 7 numbers it does a quarter
of what the machine can, with rows of 3 a tenth. Here images stand side by side in
strips, so many that few of the 32 are idle, with as many zeros between them as the
convolution pads with; the same library then takes 0.7 of the time with rows of 8,
0.45 with 7, 0.15 with 3.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.kernels.operations import is_plain, torch_must_derive
from convscope.private_torch import has_matrix_unit

WIDEST_MAP = 8  # from 9 on copies cost about what they save
FEWEST_CHANNELS = 32  # a row of the matrix unit; with 16 nothing is gained
_AT_ONCE = 32  # products that a matrix unit sums
_LONGEST = 96  # row of a strip

_backward: Any = torch.ops.aten.convolution_backward


def images_side_by_side(images: int, width: int, gap: int) -> int:
    """How many of them to put in a strip, so that it is full of numbers that count.

    1 where no number of them divides the batch and doubles what a row makes use of.

    >>> images_side_by_side(512, 7, 1), images_side_by_side(500, 3, 1)
    (8, 20)
    >>> images_side_by_side(127, 7, 1), images_side_by_side(512, 15, 1)
    (1, 1)
    """
    if not 0 < width <= WIDEST_MAP:
        return 1

    def fullness(count: int) -> float:
        return count * width / (-(-count * (width + gap) // _AT_ONCE) * _AT_ONCE)

    most = min(images, _LONGEST // (width + gap))
    whole = [count for count in range(most, 1, -1) if images % count == 0]
    best = max(whole, key=fullness, default=1)
    return best if fullness(best) >= 2 * fullness(1) else 1


def side_by_side(x: Tensor, count: int, gap: int) -> Tensor:
    """``count`` images beside each other, each with ``gap`` columns of zeros after it.

    Shape:
        x:      (N, C, H, W)
        return: (N / count, C, H, count (W + gap)), channels last

    >>> side_by_side(torch.tensor([[[[1, 2]]], [[[3, 4]]]]), 2, 1)
    tensor([[[[1, 2, 0, 3, 4, 0]]]])
    """
    n, channels, height, width = x.shape
    out = x.new_empty(n // count, height, count, width + gap, channels)
    out[:, :, :, width:] = 0
    images = x.unflatten(0, (n // count, count))
    out[:, :, :, :width] = images.permute(0, 3, 1, 4, 2)
    return out.flatten(2, 3).permute(0, 3, 1, 2)


def serves_small_maps(x: Tensor, weight: Tensor, padding: int) -> bool:
    """Whether the gradient of ``weight`` is faster this way, by rule of shapes.

    The kernel has as many taps as keep the width, ``2 padding + 1``; ``x`` is in
    bfloat16, or will be.
    """
    return (
        has_matrix_unit()
        and x.device.type == "cpu"
        and is_plain(x)
        and is_plain(weight)
        and weight.requires_grad
        and min(weight.shape[:2]) >= FEWEST_CHANNELS
        and images_side_by_side(x.shape[0], x.shape[3], padding) > 1
    )


def conv_on_small_maps(
    x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]
) -> Tensor:
    """``conv2d`` with stride 1, whose backward pass lays out images in strips.

    Args:
        x: The input.
        weight: As wide as keeps the width of ``x``.
        bias: One number for each output channel.
        padding: Zeros at both ends of the rows' axis, and of the columns'.

    Shape:
        x:      (N, C_in, H, W)
        weight: (C_out, C_in, K, 2 padding[1] + 1)
        return: (N, C_out, H_out, W)

    >>> x, weight = torch.ones(8, 1, 1, 3), torch.ones(1, 1, 1, 3, requires_grad=True)
    >>> conv_on_small_maps(x, weight, None, (0, 1)).sum().backward()
    >>> weight.grad.flatten()
    tensor([16., 24., 16.])
    """
    if not (is_plain(x) and is_plain(weight)):
        return F.conv2d(x, weight, bias, padding=padding)  # others derive it as well
    out: Tensor = _ConvOnSmallMaps.apply(x, weight, bias, padding)  # type: ignore[no-untyped-call]  # torch's
    return out


class _ConvOnSmallMaps(torch.autograd.Function):
    """Forward, and the gradient to the input, are torch's own."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        padding: tuple[int, int],
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding, ctx.biased = padding, bias is not None
        return F.conv2d(x, weight, bias, padding=padding)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias, _ = ctx.needs_input_grad
        gap = ctx.padding[1]
        count = images_side_by_side(x.shape[0], x.shape[3], gap)
        # Torch's own operation can be differentiated once more.
        if not needs_weight or count == 1 or torch_must_derive(gradient):
            needed = [needs_x, needs_weight, needs_bias]
            return *_backpropagated(gradient, x, weight, ctx, needed), None
        dx = None
        if needs_x:
            dx = _backpropagated(gradient, x, weight, ctx, [True, False, False])[0]
        # With the bias: for it alone, torch would compute the weight's gradient too.
        gradient = side_by_side(gradient, count, gap)
        x = side_by_side(x, count, gap)
        needed = [False, True, needs_bias]
        _, *rest = _backpropagated(gradient, x, weight, ctx, needed)
        return dx, *rest, None


def _backpropagated(
    gradient: Tensor, x: Tensor, weight: Tensor, ctx: Any, needed: list[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients in the input, the weight and the bias, each where needed."""
    sizes = [weight.shape[0]] if ctx.biased else None
    ones, none = [1, 1], [0, 0]
    geometry = (ones, list(ctx.padding), ones, False, none, 1)
    found: tuple[Tensor | None, Tensor | None, Tensor | None] = _backward(
        gradient, x, weight, sizes, *geometry, needed
    )
    return found
