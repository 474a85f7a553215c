"""A chain of stages as one operation of torch, forward and backward.

``convscope::stages`` takes convolution, bias, activation and pooling, and any number of
such stages and of fully connected layers behind each other, through memory once: what a
layer gives stays in the cache for the next. float32 on the CPU. Max pooling sends its
gradient to the winners only, so an infinite or NaN input reaches the gradient of the
weight where it was one; in torch zeros are multiplied by it too.
"""

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.errors import ArgumentError, ShapeError
from convscope.kernels.activation import IN_TORCH
from convscope.kernels.library import call
from convscope.kernels.operations import (
    OPERATORS,
    gradients_by_torch,
    is_plain,
    kernels_may_compute,
    torch_must_derive,
)
from convscope.kernels.stage_plan import Prepared, StagePlan, numbers_of, prepared

IMAGES = 16  # of one block: native/stages/vector.h


def stages(
    x: Tensor, parameters: Sequence[Tensor], plan: Sequence[StagePlan]
) -> Tensor:
    """Output of a chain of stages.

    Args:
        x: Images, float32, on the CPU; for signals with height 1, or without that axis.
        parameters: Weight and, where the stage has one, bias of each stage in turn.
        plan: The stages.

    Shape:
        x:      (N, C, H, W) or any other shape with as many numbers per image
        return: (N, C_out, H_out, W_out) of the last stage

    Raises:
        ArgumentError: Not on the CPU, or there are no native kernels.
        ShapeError: x or a parameter does not have the size that the plan says.

    >>> from convscope import kernels
    >>> plan = [StagePlan(in_channels=1, in_size=(1, 4), out_channels=1,
    ...                   kernel_size=(1, 2), bias=False)]
    >>> x, weight = torch.tensor([[[1.0, 2.0, 4.0, 8.0]]]), torch.ones(1, 1, 2)
    >>> stages(x, [weight], plan).tolist() if kernels.available() else [[[[3, 6, 12]]]]
    [[[[3.0, 6.0, 12.0]]]]
    """
    return apply_stages(x, list(parameters), numbers_of(plan))


def apply_stages(x: Tensor, parameters: list[Tensor], numbers: list[int]) -> Tensor:
    """As `stages`, from the plan as `numbers_of` gives it, which may be kept."""
    if x.device.type != "cpu":
        raise ArgumentError(
            f"stages: x is on {x.device}, but these kernels are for the CPU. "
            "Use torch's own layers there."
        )
    if not kernels_may_compute():
        with torch.autocast("cpu", enabled=False):
            return _by_torch(prepared(tuple(numbers)), x.float(), *parameters)
    keep = torch.is_grad_enabled() and (
        x.requires_grad or any(p.requires_grad for p in parameters)
    )
    plain = is_plain(x) and all(map(is_plain, parameters[:1]))
    if plain and not torch.is_autocast_enabled("cpu"):
        if not keep:
            return _forward(x, parameters, numbers, False)[0]
        apply: Callable[..., Tensor] = _Direct.apply
        return apply(x, numbers, *parameters)
    out: Tensor = torch.ops.convscope.stages(x, parameters, numbers, keep)[0]
    return out


OPERATORS.define(
    "stages(Tensor x, Tensor[] parameters, int[] plan, bool keep) -> (Tensor, Tensor)"
)
OPERATORS.define(
    "stages_backward(Tensor gradient, Tensor x, Tensor[] parameters, Tensor saved, "
    "int[] plan, bool input_too) -> (Tensor, Tensor[])"
)


def _checked(x: Tensor, parameters: Sequence[Tensor], chain: Prepared) -> None:
    """Refuse what would make the native side read outside of a tensor."""
    if x.ndim < 2 or x[:1].numel() not in (chain.in_numbers, 0 if not len(x) else -1):
        raise ShapeError(
            f"stages: x has shape {tuple(x.shape)}, but the plan takes "
            f"{chain.in_numbers} numbers per image. Give the images that it is for."
        )
    sizes = [n for pair in chain.weights for n in pair if n]
    if [p.numel() for p in parameters] != sizes:
        raise ShapeError(
            f"stages: parameters have {[p.numel() for p in parameters]} numbers, but "
            f"the plan takes {sizes}. Give weight and bias of each stage in turn."
        )
    if any(t.dtype != torch.float32 for t in (x, *parameters)):
        raise ArgumentError(
            f"stages: dtypes {[str(t.dtype) for t in (x, *parameters)]} are not all "
            "float32. Convert them, or use torch's own layers."
        )


def addresses(
    tensors: Sequence[Tensor], weights: Sequence[tuple[int, int]]
) -> ctypes.Array[ctypes.c_void_p]:
    """Weight and bias of each stage in turn, null where there is no bias."""
    each = iter(tensors)
    table = [next(each).data_ptr() if n else None for pair in weights for n in pair]
    return (ctypes.c_void_p * len(table))(*table)


def _forward(
    x: Tensor, parameters: Sequence[Tensor], numbers: Sequence[int], keep: bool
) -> tuple[Tensor, Tensor]:
    chain = prepared(tuple(numbers))
    _checked(x, parameters, chain)
    threads, batch = torch.get_num_threads(), x.shape[0]
    x, parameters = x.contiguous(), [p.contiguous() for p in parameters]
    out = x.new_empty((batch, *chain.out_shape))
    saved = torch.empty(
        _saved_bytes(chain, batch) if keep else 0, dtype=torch.uint8, device=x.device
    )
    scratch = x.new_empty(call("scratch_size", chain.address, batch, threads))
    call(
        "forward",
        chain.address,
        batch,
        threads,
        x.data_ptr(),
        addresses(parameters, chain.weights),
        out.data_ptr(),
        saved.data_ptr() if keep else None,
        scratch.data_ptr(),
    )
    return out, saved


def _by_torch(chain: Prepared, x: Tensor, *parameters: Tensor) -> Tensor:
    """The chain by torch's own operations."""
    _checked(x, parameters, chain)
    given = iter(parameters)
    for stage in chain.stages:
        x = x.reshape(len(x), stage.in_channels, *stage.in_size)
        weight = next(given).reshape(stage.weight_shape)
        bias = next(given) if stage.bias else None
        (top, bottom), (left, right) = stage.padding
        x = F.pad(x, (left, right, top, bottom))
        x = IN_TORCH[stage.activation](F.conv2d(x, weight, bias, stage.stride))
        if stage.pooling == "max":
            x = F.max_pool2d(x, stage.pool_size, stage.pool_stride)
        elif stage.pooling == "average":
            x = F.avg_pool2d(x, stage.pool_size, stage.pool_stride)
    return x


def _gradients_by_torch(
    gradient: Tensor,
    tensors: Sequence[Tensor],
    numbers: Sequence[int],
    needed: Sequence[bool],
) -> list[Tensor | None]:
    compute = functools.partial(_by_torch, prepared(tuple(numbers)))
    return gradients_by_torch(compute, tensors, needed, gradient)


def _saved_bytes(chain: Prepared, batch: int) -> int:
    return (batch + IMAGES - 1) // IMAGES * chain.saved_of_block


def _backward(
    gradient: Tensor,
    x: Tensor,
    parameters: Sequence[Tensor],
    saved: Tensor,
    numbers: Sequence[int],
    input_too: bool,
) -> tuple[Tensor, list[Tensor]]:
    chain = prepared(tuple(numbers))
    threads, batch = torch.get_num_threads(), x.shape[0]
    x, gradient = x.contiguous(), gradient.contiguous()
    parameters = [p.contiguous() for p in parameters]
    grad_x, gradients = _empty_gradients(x, parameters, input_too)
    scratch = x.new_empty(call("scratch_size", chain.address, batch, threads))
    call(
        "backward",
        chain.address,
        batch,
        threads,
        x.data_ptr(),
        addresses(parameters, chain.weights),
        saved.data_ptr(),
        gradient.data_ptr(),
        grad_x.data_ptr() if input_too else None,
        addresses(gradients, chain.weights),
        scratch.data_ptr(),
    )
    return grad_x, gradients


def _empty_gradients(
    x: Tensor, parameters: Sequence[Tensor], input_too: bool
) -> tuple[Tensor, list[Tensor]]:
    grad_x = torch.empty_like(x) if input_too else x.new_empty(0)
    return grad_x, [torch.empty_like(p) for p in parameters]


def _shapes(
    x: Tensor, parameters: Sequence[Tensor], numbers: Sequence[int], keep: bool
) -> tuple[Tensor, Tensor]:
    chain = prepared(tuple(numbers))
    _checked(x, parameters, chain)
    out = x.new_empty((x.shape[0], *chain.out_shape))
    size = _saved_bytes(chain, x.shape[0]) if keep else 0
    return out, x.new_empty(size, dtype=torch.uint8)


def _backward_shapes(
    gradient: Tensor,
    x: Tensor,
    parameters: Sequence[Tensor],
    saved: Tensor,
    numbers: Sequence[int],
    input_too: bool,
) -> tuple[Tensor, list[Tensor]]:
    return _empty_gradients(x, parameters, input_too)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, parameters, numbers, _ = inputs
    ctx.save_for_backward(x, output[1], *parameters)
    ctx.numbers = numbers
    ctx.set_materialize_grads(False)


def _gradients(ctx: Any, gradient: Tensor | None, _: Any) -> tuple[Any, ...]:
    """Of every argument of ``convscope::stages``."""
    if gradient is None:
        return None, None, None, None
    x, saved, *parameters = ctx.saved_tensors
    input_too = ctx.needs_input_grad[0]
    if torch_must_derive(gradient):
        needed = (input_too, *(p.requires_grad for p in parameters))
        found = _gradients_by_torch(gradient, (x, *parameters), ctx.numbers, needed)
        return found[0], found[1:], None, None
    grad_x, gradients = torch.ops.convscope.stages_backward(
        gradient, x, parameters, saved, ctx.numbers, input_too
    )
    return grad_x if input_too else None, gradients, None, None


class _Direct(torch.autograd.Function):
    """The same for plain tensors, without torch's way to operations in Python."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, numbers: list[int], *parameters: Tensor) -> Tensor:
        out, saved = _forward(x, parameters, numbers, True)
        ctx.save_for_backward(x, saved, *parameters)
        ctx.numbers = numbers
        return out

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> Any:
        x, saved, *parameters = ctx.saved_tensors
        input_too = ctx.needs_input_grad[0]
        if torch_must_derive(gradient[0]):
            needed = (input_too, *ctx.needs_input_grad[2:])
            tensors = (x, *parameters)
            found = _gradients_by_torch(gradient[0], tensors, ctx.numbers, needed)
            return found[0], None, *found[1:]
        direct = is_plain(gradient[0])
        backward = _backward if direct else torch.ops.convscope.stages_backward
        grad_x, gradients = backward(
            gradient[0], x, parameters, saved, ctx.numbers, input_too
        )
        return grad_x if input_too else None, None, *gradients


OPERATORS.impl("stages", _forward, "CPU")
OPERATORS.impl("stages_backward", _backward, "CPU")
torch.library.register_fake("convscope::stages", _shapes, lib=OPERATORS)
torch.library.register_fake(
    "convscope::stages_backward", _backward_shapes, lib=OPERATORS
)
torch.library.register_autograd(
    "convscope::stages", _gradients, setup_context=_keep, lib=OPERATORS
)
torch.library.register_autocast(
    "convscope::stages", "cpu", torch.float32, lib=OPERATORS
)
