"""Neighbouring layers that one native operation computes: which, and how.

What can be joined is read from the layers as they are, at each call: `describe` notes
all that their forward passes read besides numbers, and every plan is a function of that
note. So there is no plan that a changed layer could leave behind.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from convscope import private_torch
from convscope.execution.chain import Chain, chain_length
from convscope.execution.description import (
    Layer,
    Pool,
    describe,
    is_float32,
    is_ordinary,
    per_two_axes,
    window_of,
)
from convscope.execution.small_maps import (
    FEWEST_CHANNELS,
    conv_on_small_maps,
    serves_small_maps,
)
from convscope.kernels.gelu import gelu, serves_gelu
from convscope.kernels.max_pool import max_pool, serves_max_pool
from convscope.kernels.norm import batch_norm, frozen_norm, serves_norm
from convscope.kernels.operations import kernels_may_compute
from convscope.layers.conv import ConvGeometry

Kind = Literal["chain", "norm", "pool", "gelu", "conv"]
Compute = Callable[[Sequence[nn.Module], Any], Any]  # None: torch has to


def is_plain_call() -> bool:
    """Whether only numbers are wanted: nobody traces, transforms or records this call.

    Where somebody does, every layer is computed by itself with torch's own operations.
    """
    return (
        not torch.compiler.is_compiling()
        and not private_torch.is_traced()
        and kernels_may_compute()
        and not private_torch.has_dispatch_mode()
        and not private_torch.has_function_mode()
        # Checkpointing computes layers again, and counts what they keep.
        and not private_torch.has_saved_tensor_hooks()
        and not private_torch.has_global_hooks()
    )


class Step(NamedTuple):
    """The next layers of a row, and who computes them; None is torch, one by one."""

    length: int  # in layers
    compute: Compute | None


def compute_row(modules: Sequence[nn.Module], x: Any, kinds: tuple[Kind, ...]) -> Any:
    """What the modules give one after the other, joined where a kernel serves.

    >>> row = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()]
    >>> compute_row(row, torch.zeros(2, 1, 5, 5), ("norm",)).shape
    torch.Size([2, 4, 3, 3])
    """
    try:
        steps = fused_steps(describe(modules), kinds)
    except TypeError:  # a list where torch.nn keeps a tuple
        steps = (Step(len(modules), None),)
    at = 0
    for length, compute in steps:
        some = modules[at : at + length]
        at += length
        y = None if compute is None else compute(some, x)
        if y is None:
            for module in some:
                x = module(x)
        else:
            x = y
    return x


@functools.lru_cache(maxsize=1024)
def fused_steps(row: tuple[Layer, ...], kinds: tuple[Kind, ...]) -> tuple[Step, ...]:
    """The row cut into what is computed at once.

    >>> [step.length for step in fused_steps((None, "norm", "relu", None), ("norm",))]
    [1, 2, 1]
    """
    found: list[Step] = []
    at = 0
    while at < len(row):
        found.append(_step_at(row[at:], kinds))
        at += found[-1].length
    return tuple(found)


def _step_at(row: tuple[Layer, ...], kinds: tuple[Kind, ...]) -> Step:
    first = row[0]
    if "chain" in kinds and (length := chain_length(row)):
        return Step(length, Chain(row[:length]))
    if "norm" in kinds and first == "norm":
        after = row[1] if len(row) > 1 else None
        activation = after if after in ("relu", "gelu") else "none"
        joined = activation != "none"
        return Step(1 + joined, functools.partial(_norm, activation))
    if "pool" in kinds and isinstance(first, Pool) and first.kind == "max":
        return Step(1, _max_pooling(first))
    if "gelu" in kinds and first == "gelu":
        return Step(
            1, lambda _, x: gelu(x) if is_ordinary(x) and serves_gelu(x) else None
        )
    if "conv" in kinds and isinstance(first, ConvGeometry) and _keeps_width(first):
        return Step(1, functools.partial(_conv, first))
    return Step(1, None)


def _is_channels_last(x: Tensor) -> bool:
    """Else a copy would be made that costs more than the kernel saves."""
    if x.ndim == 4:
        return x.is_contiguous(memory_format=torch.channels_last)
    if x.ndim == 5:
        return x.is_contiguous(memory_format=torch.channels_last_3d)
    return x.ndim == 2 and x.is_contiguous()


def _norm(activation: Any, modules: Sequence[nn.Module], x: Any) -> Any:
    norm: Any = modules[0]
    own = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    if not (
        is_ordinary(x)
        and serves_norm(x, norm.weight, norm.bias)
        and _is_channels_last(x)
        and all(
            p is None or (is_ordinary(p) and is_float32(p) and p.shape == x.shape[1:2])
            for p in own
        )
    ):
        return None
    norm._check_input_dim(x)
    weight, bias, mean, variance = own
    options: dict[str, Any] = {"epsilon": norm.eps, "activation": activation}
    if not norm.training and mean is not None and variance is not None:
        return frozen_norm(x, weight, bias, None, mean, variance, **options)
    if not norm.training and not (mean is None and variance is None):
        return None
    y, mean, variance = batch_norm(x, weight, bias, **options)
    if norm.training and norm.track_running_stats:
        _update_statistics(norm, mean, variance, x.numel() // x.shape[1])
    return y


@torch.no_grad()
def _update_statistics(norm: Any, mean: Tensor, variance: Tensor, count: int) -> None:
    """Moves the running statistics toward the batch's, with the unbiased variance."""
    momentum = norm.momentum
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
        if momentum is None:
            momentum = 1 / float(norm.num_batches_tracked)
    if norm.running_mean is not None and norm.running_var is not None:
        norm.running_mean.lerp_(mean, momentum or 0.0)
        norm.running_var.lerp_(variance * (count / (count - 1)), momentum or 0.0)


def _max_pooling(pool: Pool) -> Compute | None:
    window, padding = window_of(pool), per_two_axes(pool.padding)
    if window is None or padding is None or not pool.whole:
        return None
    kernel_size, stride = window
    if not isinstance(pool.ceil_mode, bool) or any(
        2 * p > k for p, k in zip(padding, kernel_size, strict=True)
    ):
        return None

    def compute(_: Sequence[nn.Module], x: Any) -> Any:
        if (
            not is_ordinary(x)
            or not serves_max_pool(x, kernel_size, stride)
            or not _is_channels_last(x)
            or x.shape[2] + 2 * padding[0] < kernel_size[0]
            or x.shape[3] + 2 * padding[1] < kernel_size[1]
        ):
            return None
        return max_pool(x, kernel_size, stride, padding, ceil_mode=pool.ceil_mode)

    return compute


def _keeps_width(conv: ConvGeometry) -> bool:
    """Whether it is wide in channels, and its rows come out as long as they went in."""
    padding = per_two_axes(conv.padding)
    return (
        padding is not None
        and len(conv.weight) == 4
        and 2 * padding[1] + 1 == conv.weight[3] > 1
        and per_two_axes(conv.stride) == per_two_axes(conv.dilation) == (1, 1)
        and conv.groups == 1
        and min(conv.weight[:2]) >= FEWEST_CHANNELS
    )


def _conv(conv: ConvGeometry, modules: Sequence[nn.Module], x: Any) -> Any:
    padding = per_two_axes(conv.padding)
    weight, bias = (modules[0]._parameters.get(name) for name in ("weight", "bias"))
    if (
        padding is None
        or weight is None
        or not (is_ordinary(x) and is_ordinary(weight))
    ):
        return None
    if x.ndim != 4 or x.shape[1] != weight.shape[1] or not _is_channels_last(x):
        return None
    if not serves_small_maps(x, weight, padding[1]):
        return None
    half = torch.bfloat16
    if torch.is_autocast_enabled("cpu"):
        if torch.get_autocast_dtype("cpu") != half:
            return None
    elif x.dtype != half or weight.dtype != half:
        return None
    half_bias = None if bias is None else bias.to(half)
    return conv_on_small_maps(x.to(half), weight.to(half), half_bias, padding)
