"""Max pooling that remembers each winner in one byte, and writes each gradient once.

torch keeps eight bytes for each output and clears the whole gradient before it scatters
into it. Ties and NaN go as there: the first of equal numbers wins, and a NaN beats all.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.arithmetic import output_size
from convscope.errors import ArgumentError
from convscope.kernels.library import available, call
from convscope.kernels.operations import (
    OPERATORS,
    is_plain,
    kernels_may_compute,
    threads_for,
    torch_must_derive,
)
from convscope.kernels.signatures import MaxPool

Pair = tuple[int, int]
MOST_TAPS = 255  # a winner is a byte


def serves_max_pool(x: Tensor, kernel_size: Pair, stride: Pair) -> bool:
    """Whether the native kernel takes these; torch has to, where it does not."""
    return (
        available()
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and x.ndim == 4
        and x.numel() > 0
        and kernel_size[0] * kernel_size[1] <= MOST_TAPS
        and kernel_size[0] <= 8 * stride[0]
        and kernel_size[1] <= 8 * stride[1]
    )


def max_pool(
    x: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = (0, 0),
    *,
    ceil_mode: bool = False,
) -> Tensor:
    """Largest element of each window, fastest in channels-last layout.

    Args:
        x: Float32 or bfloat16.
        kernel_size: Window height and width, in elements; at most 255 together.
        stride: Step down and across, by default the window's size.
        padding: On each side, at most half the window; never wins.
        ceil_mode: Also windows that reach past the end, as torch counts them.

    Shape:
        x:      (N, C, H, W)
        return: (N, C, H_out, W_out), channels-last

    >>> if available():
    ...     y = max_pool(torch.arange(16.0).view(1, 1, 4, 4), (2, 2))
    ...     assert y.flatten().tolist() == [5.0, 7.0, 13.0, 15.0]
    """
    stride = stride or kernel_size
    if not kernels_may_compute():
        return F.max_pool2d(x, kernel_size, stride, padding, 1, ceil_mode)
    keep = torch.is_grad_enabled() and x.requires_grad
    compute: Any = _Direct.apply if is_plain(x) else torch.ops.convscope.max_pool
    out: tuple[Tensor, Tensor] = compute(
        x, kernel_size, stride, padding, ceil_mode, keep
    )
    return out[0]


OPERATORS.define(
    "max_pool(Tensor x, int[2] kernel_size, int[2] stride, int[2] padding, "
    "bool ceil_mode, bool keep) -> (Tensor, Tensor)"
)
OPERATORS.define(
    "max_pool_backward(Tensor gradient, Tensor winners, SymInt[2] size, "
    "int[2] kernel_size, int[2] stride, int[2] padding) -> Tensor"
)


def _described(
    outside: Tensor,
    size: tuple[int, ...],
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
) -> MaxPool:
    """``outside`` is of the output's shape, ``size`` the input's height and width."""
    images, channels, *out = outside.shape
    half = outside.dtype == torch.bfloat16
    return MaxPool(images, channels, *size, *out, *kernel_size, *stride, *padding, half)


def _outside(
    x: Tensor, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool
) -> Tensor:
    """An empty output.

    Raises:
        ArgumentError: The kernel does not serve this.
    """
    if not serves_max_pool(x, kernel_size, stride):
        taps = kernel_size[0] * kernel_size[1]
        raise ArgumentError(
            f"max_pool: x of shape {tuple(x.shape)} and {x.dtype} on {x.device}, "
            f"kernel_size={kernel_size} ({taps} taps), stride={stride}: the kernel "
            f"takes images (N, C, H, W) in float32 or bfloat16 on the CPU, {MOST_TAPS} "
            "taps and 8 strides at most. Use torch.nn.functional.max_pool2d."
        )
    size = [
        output_size(
            x.shape[2 + axis],
            kernel_size[axis],
            stride=stride[axis],
            padding=(padding[axis], padding[axis]),
            ceil_mode="torch" if ceil_mode else False,
            where="max_pool",
        )
        for axis in range(2)
    ]
    return torch.empty(
        (*x.shape[:2], *size),
        dtype=x.dtype,
        device=x.device,
        memory_format=torch.channels_last,
    )


def _winners(y: Tensor, keep: bool) -> Tensor:
    if not keep:
        return y.new_empty(0, dtype=torch.uint8)
    return torch.empty_like(y, dtype=torch.uint8)


def _forward(
    x: Tensor,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    keep: bool,
) -> tuple[Tensor, Tensor]:
    x = x.contiguous(memory_format=torch.channels_last)
    y = _outside(x, kernel_size, stride, padding, ceil_mode)
    winners = _winners(y, keep)
    call(
        "maxpool_forward",
        _described(y, x.shape[2:], kernel_size, stride, padding),
        x.data_ptr(),
        y.data_ptr(),
        winners.data_ptr() if keep else None,
        threads_for(x),
    )
    return y, winners


def _backward(
    gradient: Tensor,
    winners: Tensor,
    size: list[int],
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
) -> Tensor:
    gradient = gradient.contiguous(memory_format=torch.channels_last)
    dx = _inside(gradient, winners, size)
    call(
        "maxpool_backward",
        _described(gradient, tuple(size), kernel_size, stride, padding),
        gradient.data_ptr(),
        winners.data_ptr(),
        dx.data_ptr(),
        threads_for(dx),
    )
    return dx


def _inside(gradient: Tensor, winners: Tensor, size: list[int], *_: Any) -> Tensor:
    """An empty gradient of the input."""
    return torch.empty(
        (*gradient.shape[:2], *size),
        dtype=gradient.dtype,
        device=gradient.device,
        memory_format=torch.channels_last,
    )


def _shapes(
    x: Tensor,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    keep: bool,
) -> tuple[Tensor, Tensor]:
    y = _outside(x, kernel_size, stride, padding, ceil_mode)
    return y, _winners(y, keep)


def _by_torch(
    gradient: Tensor,
    winners: Tensor,
    size: tuple[int, int],
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
) -> Tensor:
    """``_backward`` by torch's own operations: linear in the gradient."""
    width = size[1]
    tap = winners.long()
    down, across = (
        torch.arange(n) * stride[axis] - padding[axis]
        for axis, n in enumerate(winners.shape[2:])
    )
    rows = tap // kernel_size[1] + down.unsqueeze(1)
    places = rows * width + tap % kernel_size[1] + across
    maps = winners.shape[:2]
    sums: Tensor = gradient.new_zeros((*maps, size[0] * width), dtype=torch.float)
    spread = gradient.float().reshape(*maps, -1)
    sums = sums.scatter_add(2, places.reshape(*maps, -1), spread)
    return sums.reshape(*maps, *size).to(gradient.dtype)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[1])
    ctx.size, ctx.window = inputs[0].shape[2:], inputs[1:4]
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)


def _gradients(ctx: Any, gradient: Tensor | None, _: None) -> tuple[Any, ...]:
    if gradient is None:
        return (None,) * 6
    backward: Any = torch.ops.convscope.max_pool_backward
    if torch_must_derive(gradient):
        backward = _by_torch
    elif is_plain(gradient):
        backward = _backward
    dx = backward(gradient, ctx.saved_tensors[0], ctx.size, *ctx.window)
    return dx, None, None, None, None, None


class _Direct(torch.autograd.Function):
    """``max_pool`` without the dispatcher."""

    forward = staticmethod(_forward)
    setup_context = staticmethod(_keep)
    backward = staticmethod(_gradients)


OPERATORS.impl("max_pool", _forward, "CPU")
OPERATORS.impl("max_pool_backward", _backward, "CPU")
torch.library.register_fake("convscope::max_pool", _shapes, lib=OPERATORS)
torch.library.register_fake("convscope::max_pool_backward", _inside, lib=OPERATORS)
torch.library.register_autograd(
    "convscope::max_pool", _gradients, setup_context=_keep, lib=OPERATORS
)
