"""Max pooling of short formats, whose winners are held in four bytes each.

torch holds its input and eight bytes for each winner, four times a value of two bytes.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

SHORT_FORMATS = (torch.bfloat16, torch.float16)
_FORWARD: dict[int, Any] = {2: F.max_pool2d, 3: F.max_pool3d}
_BACKWARD: dict[int, Any] = {
    2: torch.ops.aten.max_pool2d_with_indices_backward,
    3: torch.ops.aten.max_pool3d_with_indices_backward,
}


def holds_short_winners(x: Tensor) -> bool:
    """Whether a max pooling of ``x`` gains from `short_max_pool`."""
    return (
        x.dtype in SHORT_FORMATS
        and x.requires_grad
        and torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and x[0, 0].numel() < 2**31  # what an index of four bytes can count
    )


def short_max_pool(x: Tensor, *window: Any) -> Tensor:
    """Torch's max pooling, with half of its indices and without its input for backward.

    Args:
        x: A batch with one to three spatial axes, (N, C, ...).
        window: Kernel, stride, padding and dilation, one value per axis each; and
            whether to round sizes up.
    """
    if x.ndim == 3:  # torch has the backward pass in 2-D and 3-D alone
        *per_axis, ceil = window
        begin = (1, 1, 0, 1)
        flat = [(one, *rest) for one, rest in zip(begin, per_axis, strict=True)]
        return short_max_pool(x.unsqueeze(-2), *flat, ceil).squeeze(-2)
    apply: Callable[..., tuple[Tensor, Tensor]] = _ShortMax.apply
    return apply(x, window)[0]


class _ShortMax(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, window: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
        out, index = _FORWARD[x.ndim - 2](x, *window, return_indices=True)
        return out, index.int()

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]
    ) -> None:
        x, ctx.window = inputs
        ctx.shape, ctx.last = x.shape, x.stride(1) == 1 and x.shape[1] > 1
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (index,), gradient = ctx.saved_tensors, gradients[0]
        images, channels, *sizes = ctx.shape  # only sizes and layout are read of x
        if ctx.last:
            x = gradient.new_empty(images, *sizes, channels).movedim(-1, 1)
        else:
            x = gradient.new_empty(ctx.shape)
        spread = _BACKWARD[x.ndim - 2](gradient, x, *ctx.window, index.long())
        return spread, None
