"""Layers in a row that one native operation computes: which, and how."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from convscope import layers
from convscope.execution.chains import Chain, Sizes, chain_length, longest_chain, pair
from convscope.execution.strips import FEWEST_CHANNELS, conv_by_strips, serves_strips
from convscope.kernels.gelu import gelu, serves_gelu
from convscope.kernels.max_pool import max_pool, serves_max_pool
from convscope.kernels.norm import Activation, batch_norm, frozen_norm, serves_norm

Kind = Literal["chain", "norm", "pool", "gelu", "conv"]

_NORMS = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d,
    layers.BatchNorm1d, layers.BatchNorm2d, layers.BatchNorm3d,
)  # fmt: skip
_POOLS = (nn.MaxPool2d, layers.MaxPool2d)
_CONVS = (nn.Conv2d, layers.Conv2d)


@dataclass(frozen=True)
class Run:
    """Neighbors of an ``nn.Sequential`` that are computed as one."""

    kind: Kind
    modules: tuple[nn.Module, ...]
    plans: dict[Sizes, tuple[Chain, int] | None] = field(
        default_factory=dict, compare=False
    )

    def __call__(self, x: Tensor) -> Tensor:
        """What the modules would give one after the other."""
        if not any(map(is_watched, self.modules)):
            y = self.compute(x)
            if y is not None:
                return y
        for module in self.modules:
            x = module(x)
        return x

    def compute(self, x: Tensor) -> Tensor | None:
        """The same by our kernels; None for what they leave to torch."""
        return _COMPUTE[self.kind](self, x)


def find_runs(
    modules: Sequence[nn.Module], kinds: Sequence[Kind]
) -> list[Run | nn.Module]:
    """``modules`` with every run that a kernel serves joined.

    >>> row = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()]
    >>> [type(each).__name__ for each in find_runs(row, ["norm"])]
    ['Conv2d', 'Run']
    """
    found: list[Run | nn.Module] = []
    at = 0
    while at < len(modules):
        run = _run_at(modules, at, kinds)
        found.append(modules[at] if run is None else run)
        at += 1 if run is None else len(run.modules)
    return found


def _run_at(modules: Sequence[nn.Module], at: int, kinds: Sequence[Kind]) -> Run | None:
    first = modules[at]
    if "chain" in kinds and (length := chain_length(modules[at:])):
        return Run("chain", tuple(modules[at : at + length]))
    if "norm" in kinds and type(first) in _NORMS:
        after = modules[at + 1] if at + 1 < len(modules) else None
        joined = after is not None and activation_of(after) != "none"
        return Run("norm", tuple(modules[at : at + 1 + joined]))
    if "pool" in kinds and type(first) in _POOLS:
        return Run("pool", (first,))
    if "gelu" in kinds and activation_of(first) == "gelu":
        return Run("gelu", (first,))
    if "conv" in kinds and type(first) in _CONVS and _keeps_width(first):
        return Run("conv", (first,))
    return None


def _keeps_width(conv: nn.Module) -> bool:
    """Whether it is wide in channels, and its rows come out as long as they went in."""
    assert isinstance(conv, nn.Conv2d | layers.Conv2d)  # noqa: S101 - find_runs saw to it
    padding = pair(conv.padding)
    return (
        padding is not None
        and 2 * padding[1] + 1 == conv.kernel_size[1] > 1
        and tuple(conv.stride) == tuple(conv.dilation) == (1, 1)
        and conv.groups == 1
        and conv.padding_mode == "zeros"
        and min(conv.in_channels, conv.out_channels) >= FEWEST_CHANNELS
        and not getattr(conv, "flip", False)
        and getattr(conv, "connections", None) is None
    )


def activation_of(module: nn.Module) -> Activation:
    """What the kernels call this module; ``none`` for one that they do not know."""
    if type(module) is nn.ReLU:
        return "relu"
    if type(module) is nn.GELU and module.approximate == "none":
        return "gelu"
    return "none"


def is_watched(module: nn.Module) -> bool:
    """Whether hooks are to be called: then the module has to run by itself."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or "forward" in module.__dict__
        or torch.nn.modules.module._has_any_global_hook()
    )


def _is_channels_last(x: Tensor) -> bool:
    """Else a copy would be made that costs more than the kernel saves."""
    if x.ndim == 4:
        return x.is_contiguous(memory_format=torch.channels_last)
    if x.ndim == 5:
        return x.is_contiguous(memory_format=torch.channels_last_3d)
    return x.ndim == 2 and x.is_contiguous()


def _norm(run: Run, x: Tensor) -> Tensor | None:
    norm, *after = run.modules
    assert isinstance(norm, _BatchNorm)  # noqa: S101 - find_runs saw to it
    mean, variance = norm.running_mean, norm.running_var
    if not (
        serves_norm(x, norm.weight, norm.bias)
        and _is_channels_last(x)
        and x.shape[1] == norm.num_features
        and all(
            each is None or each.dtype == torch.float32 for each in (mean, variance)
        )
    ):
        return None
    norm._check_input_dim(x)
    options: dict[str, Any] = {
        "epsilon": norm.eps,
        "activation": activation_of(after[0]) if after else "none",
    }
    if mean is None or variance is None:
        return batch_norm(x, norm.weight, norm.bias, **options)[0]
    if not norm.training:
        return frozen_norm(x, norm.weight, norm.bias, None, mean, variance, **options)
    y, mean, variance = batch_norm(x, norm.weight, norm.bias, **options)
    _remember(norm, mean, variance, x.numel() // x.shape[1])
    return y


@torch.no_grad()
def _remember(norm: _BatchNorm, mean: Tensor, variance: Tensor, count: int) -> None:
    """Moves the running statistics toward the batch's, with the unbiased variance."""
    momentum = norm.momentum
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
        if momentum is None:
            momentum = 1 / float(norm.num_batches_tracked)
    if norm.running_mean is not None and norm.running_var is not None:
        norm.running_mean.lerp_(mean, momentum or 0.0)
        norm.running_var.lerp_(variance * (count / (count - 1)), momentum or 0.0)


def _pool(run: Run, x: Tensor) -> Tensor | None:
    (pool,) = run.modules
    assert isinstance(pool, nn.MaxPool2d | layers.MaxPool2d)  # noqa: S101 - as above
    kernel_size, padding = pair(pool.kernel_size), pair(pool.padding)
    stride = pair(pool.kernel_size if pool.stride is None else pool.stride)
    if (
        kernel_size is None
        or padding is None
        or stride is None
        or pool.return_indices
        or pair(pool.dilation) != (1, 1)
        or not isinstance(pool.ceil_mode, bool)
        or any(2 * p > k for p, k in zip(padding, kernel_size, strict=True))
        or not serves_max_pool(x, kernel_size, stride)
        or not _is_channels_last(x)
        or any(
            size + 2 * p < k
            for size, p, k in zip(x.shape[2:], padding, kernel_size, strict=True)
        )
    ):
        return None
    return max_pool(x, kernel_size, stride, padding, ceil_mode=pool.ceil_mode)


def _gelu(run: Run, x: Tensor) -> Tensor | None:
    return gelu(x) if serves_gelu(x) else None


def _conv(run: Run, x: Tensor) -> Tensor | None:
    (conv,) = run.modules
    assert isinstance(conv, nn.Conv2d | layers.Conv2d)  # noqa: S101 - as above
    if x.ndim != 4 or x.shape[1] != conv.in_channels or not _is_channels_last(x):
        return None
    padding = pair(conv.padding)
    if padding is None or not serves_strips(x, conv.weight, padding[1]):
        return None
    half, bias = torch.bfloat16, conv.bias
    if torch.is_autocast_enabled("cpu"):
        if torch.get_autocast_dtype("cpu") != half:
            return None
    elif x.dtype != half or conv.weight.dtype != half:
        return None
    bias = None if bias is None else bias.to(half)
    return conv_by_strips(x.to(half), conv.weight.to(half), bias, padding)


def _chain(run: Run, x: Tensor) -> Tensor | None:
    if x.ndim != 4:
        return None
    size = tuple(x.shape[1:])
    if size not in run.plans:
        run.plans[size] = longest_chain(run.modules, size)
    found = run.plans[size]
    if found is None or not found[0].serves(x):
        return None
    chain, count = found
    x = chain(x)
    for module in run.modules[count:]:
        x = module(x)
    return x


_COMPUTE = {"chain": _chain, "norm": _norm, "pool": _pool, "gelu": _gelu, "conv": _conv}
