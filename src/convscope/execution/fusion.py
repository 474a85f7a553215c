"""Neighbouring layers that one native operation computes: which, and how.

What can be joined is read from the layers as they are, at each call: `describe` notes
all that their forward passes read besides numbers, and every plan is a function of that
note. So there is no plan that a changed layer could leave behind.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from convscope import kernels, layers, private_torch
from convscope.arithmetic import resolve_paddings
from convscope.errors import ConvscopeError
from convscope.execution.small_maps import (
    FEWEST_CHANNELS,
    conv_on_small_maps,
    serves_small_maps,
)
from convscope.kernels import StagePlan, apply_stages, numbers_of
from convscope.kernels.gelu import gelu, serves_gelu
from convscope.kernels.max_pool import max_pool, serves_max_pool
from convscope.kernels.norm import batch_norm, frozen_norm, serves_norm
from convscope.kernels.stage_plan import prepared
from convscope.layers.conv import ConvGeometry, plain_geometry

Kind = Literal["chain", "norm", "pool", "gelu", "conv"]
Compute = Callable[[Sequence[nn.Module], Any], Any]  # None: torch has to
_RISING = ("relu", "tanh", "sigmoid")  # these and a maximum may change places
_SIZES_KEPT = 64  # of a chain: image sizes that it is planned for


class Linear(NamedTuple):
    """A fully connected layer."""

    weight: tuple[int, ...]
    biased: bool


class Pool(NamedTuple):
    """A pooling; ``whole`` is False for one that no kernel of ours computes."""

    kind: Literal["max", "average"]
    kernel_size: Any
    stride: Any
    padding: Any
    ceil_mode: Any
    whole: bool


class Flatten(NamedTuple):
    """Maps to vectors."""

    start: int
    end: int


Layer = ConvGeometry | Linear | Pool | Flatten | str | None  # None: not known here


def is_watched(module: nn.Module) -> bool:
    """Whether hooks are to be called: then the module has to run by itself."""
    own = module.__dict__
    return bool(
        own["_forward_hooks"]
        or own["_forward_pre_hooks"]
        or own["_backward_hooks"]
        or own["_backward_pre_hooks"]
        or "forward" in own
        or own.get("_compiled_call_impl")
    )


def is_plain_call() -> bool:
    """Whether only numbers are wanted: nobody traces, transforms or records this call.

    Where somebody does, every layer is computed by itself with torch's own operations.
    """
    return (
        not torch.compiler.is_compiling()
        and not private_torch.is_traced()
        and not private_torch.is_transformed()
        and not private_torch.has_forward_gradients()
        and not private_torch.has_dispatch_mode()
        and not private_torch.has_function_mode()
        # Checkpointing computes layers again, and counts what they keep.
        and not private_torch.has_saved_tensor_hooks()
        and not private_torch.has_global_hooks()
    )


def describe(modules: Sequence[nn.Module | None]) -> tuple[Layer, ...]:
    """What the layers are to the kernels, as they are now.

    >>> describe([nn.Linear(2, 3), nn.Tanh(), nn.Dropout()])
    (Linear(weight=(3, 2), biased=True), 'tanh', None)
    """
    found: list[Layer] = []
    for module in modules:
        read = _READERS.get(type(module))
        unknown = module is None or read is None or is_watched(module)
        found.append(None if unknown or read is None else read(module))
    return tuple(found)


def _linear(module: nn.Module) -> Layer:
    own = module._parameters
    weight = own.get("weight")
    if weight is None:
        return None
    return Linear(tuple(weight.shape), own.get("bias") is not None)


def _max_pool(module: Any) -> Pool:
    whole = not module.return_indices and module.dilation in (1, (1, 1))
    window = module.kernel_size, module.stride, module.padding
    return Pool("max", *window, module.ceil_mode, whole)


def _average_pool(module: Any) -> Pool:
    whole = module.__dict__.get("divisor_override") is None
    window = module.kernel_size, module.stride, module.padding
    return Pool("average", *window, module.ceil_mode, whole)


def _gelu_name(module: Any) -> Layer:
    return "gelu" if module.approximate == "none" else None


_READERS: dict[type, Callable[[Any], Layer]] = {
    nn.Conv2d: plain_geometry,
    layers.Conv2d: plain_geometry,
    nn.Linear: _linear,
    nn.MaxPool2d: _max_pool,
    layers.MaxPool2d: _max_pool,
    nn.AvgPool2d: _average_pool,
    layers.AvgPool2d: _average_pool,
    nn.Flatten: lambda module: Flatten(module.start_dim, module.end_dim),
    nn.ReLU: lambda _: "relu",
    nn.Tanh: lambda _: "tanh",
    nn.Sigmoid: lambda _: "sigmoid",
    nn.GELU: _gelu_name,
    **dict.fromkeys(
        (
            nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d,
            layers.BatchNorm1d, layers.BatchNorm2d, layers.BatchNorm3d,
        ),
        lambda _: "norm",
    ),
}  # fmt: skip


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
        return Step(1, lambda _, x: gelu(x) if _is_ours(x) and serves_gelu(x) else None)
    if "conv" in kinds and isinstance(first, ConvGeometry) and _keeps_width(first):
        return Step(1, functools.partial(_conv, first))
    return Step(1, None)


def _is_ours(x: Any) -> bool:
    """Whether ``x`` is a tensor of numbers, not of a class with rules of its own."""
    return type(x) in (Tensor, nn.Parameter)


class Chain:
    """Convolutions, activations, poolings and linear layers in a row, as one operation.

    Args:
        row: The layers; as many of the first as fit are computed at once.
    """

    def __init__(self, row: tuple[Layer, ...]) -> None:
        self.row = row
        self._plans: dict[tuple[int, ...], ChainPlan | None] = {}

    def __call__(self, modules: Sequence[nn.Module], x: Any) -> Any:
        """What the layers give; None for what the kernels leave to torch."""
        if not (_is_ours(x) and x.ndim == 4 and len(x) and _is_float32(x)):
            return None
        if torch.is_autocast_enabled("cpu"):
            return None
        plan = self.plan(tuple(x.shape[1:]))
        if plan is None:
            return None
        parameters = plan.parameters(modules)
        if not all(_is_ours(p) and _is_float32(p) for p in parameters):
            return None
        x = apply_stages(x, parameters, plan.numbers)
        x = x.flatten(1) if plan.flat else x
        for module in modules[plan.length :]:
            x = module(x)
        return x

    def plan(self, shape: tuple[int, ...]) -> "ChainPlan | None":
        """The plan for images (C, H, W); None where not even the first layer fits."""
        if shape not in self._plans:
            if len(self._plans) >= _SIZES_KEPT:
                self._plans.clear()
            counts = range(len(self.row), 0, -1)
            plans = (plan_chain(self.row[:count], shape) for count in counts)
            self._plans[shape] = next(filter(None, plans), None)
        return self._plans[shape]


def _is_float32(x: Tensor) -> bool:
    return x.dtype == torch.float32 and x.device.type == "cpu"


class ChainPlan(NamedTuple):
    """A chain for images of one size, as the native side reads it."""

    stages: tuple[StagePlan, ...]
    numbers: list[int]
    holders: tuple[int, ...]  # places of the layers with weights
    length: int  # in layers
    flat: bool  # vectors come out, not maps

    def parameters(self, modules: Sequence[nn.Module]) -> list[Tensor]:
        """Weight and, where there is one, bias of each stage in turn."""
        own = [modules[place]._parameters for place in self.holders]
        both = (each.get(name) for each in own for name in ("weight", "bias"))
        return [parameter for parameter in both if parameter is not None]


def chain_length(row: Sequence[Layer]) -> int:
    """How many of the first layers one chain may take; 0 if no stage begins there.

    >>> row = [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(4)]
    >>> chain_length(describe(row)) if kernels.available() else 3
    3
    """
    first = next((each for each in row if not isinstance(each, Flatten)), None)
    begins = isinstance(first, ConvGeometry) or (
        isinstance(first, Linear) and isinstance(row[0], Flatten)
    )
    if not kernels.available() or not begins:
        return 0
    known = (each is not None and each != "norm" for each in row)
    return next((at for at, is_known in enumerate(known) if not is_known), len(row))


def plan_chain(row: Sequence[Layer], shape: tuple[int, ...]) -> ChainPlan | None:
    """The chain of all these layers for images (C, H, W); None where they are none."""
    try:
        stages = _stages(row, shape)
        if stages is None:
            return None
        numbers = numbers_of(stages)
        prepared(tuple(numbers))
    except ConvscopeError:
        return None  # torch says what is wrong, or does what we cannot
    weighty = ConvGeometry | Linear
    holders = [at for at, layer in enumerate(row) if isinstance(layer, weighty)]
    flat = any(isinstance(each, Flatten) for each in row)
    return ChainPlan(tuple(stages), numbers, tuple(holders), len(row), flat)


def _stages(row: Sequence[Layer], shape: tuple[int, ...]) -> list[StagePlan] | None:
    """One stage for each layer with weights; None where the row is no chain."""
    done: list[StagePlan] = []
    flat = False
    for layer in row:
        stage: StagePlan | None
        if isinstance(layer, Flatten):
            if layer != (1, -1):
                return None
            flat = True
            continue
        if isinstance(layer, ConvGeometry | Linear):
            if done:
                shape = (done[-1].out_channels, *done[-1].out_size)
            stage = _stage(layer, shape, flat)
        else:
            stage = _with(done.pop(), layer, flat) if done else None
        if stage is None:
            return None
        done.append(stage)
    return done or None


def _stage(
    layer: ConvGeometry | Linear, shape: tuple[int, ...], flat: bool
) -> StagePlan | None:
    channels, height, width = shape
    if isinstance(layer, Linear):
        if not flat or layer.weight[1:] != (channels * height * width,):
            return None
        return StagePlan(
            in_channels=channels,
            in_size=(height, width),
            out_channels=layer.weight[0],
            kernel_size=(height, width),
            bias=layer.biased,
        )
    stride, dilation = _two(layer.stride), _two(layer.dilation)
    if flat or stride is None or dilation != (1, 1) or layer.groups != 1:
        return None
    if len(layer.weight) != 4 or layer.weight[1] != channels:
        return None
    kernel = layer.weight[2], layer.weight[3]
    pads = resolve_paddings(layer.padding, (height, width), kernel, stride=stride)
    return StagePlan(
        in_channels=channels,
        in_size=(height, width),
        out_channels=layer.weight[0],
        kernel_size=kernel,
        stride=stride,
        padding=(pads[0], pads[1]),
        bias=layer.biased,
    )


def _with(stage: StagePlan, layer: Layer, flat: bool) -> StagePlan | None:
    """The stage with this activation or pooling too, if it still is one stage."""
    if isinstance(layer, str):
        late = stage.pooling != "none"
        if stage.activation != "none" or (
            late and (stage.pooling != "max" or layer not in _RISING)
        ):
            return None
        activation: Any = layer
        return replace(stage, activation=activation)
    if not isinstance(layer, Pool) or flat or stage.pooling != "none":
        return None
    window = _window(layer)
    plain = layer.whole and not layer.ceil_mode and _two(layer.padding) == (0, 0)
    if not plain or window is None or max(*window[0], *window[1]) > 15:
        return None
    return replace(
        stage, pooling=layer.kind, pool_size=window[0], pool_stride=window[1]
    )


def _window(pool: Pool) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Size and step."""
    size = _two(pool.kernel_size)
    step = size if pool.stride is None else _two(pool.stride)
    return None if size is None or step is None else (size, step)


def _two(value: Any) -> tuple[int, int] | None:
    """One integer for both axes, or one for each; None for other forms.

    >>> _two(2), _two((1, 3)), _two("same")
    ((2, 2), (1, 3), None)
    """
    if isinstance(value, int):
        return value, value
    if isinstance(value, tuple | list) and len(value) == 2:
        first, second = value
        if isinstance(first, int) and isinstance(second, int):
            return first, second
    return None


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
        _is_ours(x)
        and serves_norm(x, norm.weight, norm.bias)
        and _is_channels_last(x)
        and all(
            p is None or (_is_ours(p) and _is_float32(p) and p.shape == x.shape[1:2])
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
    window, padding = _window(pool), _two(pool.padding)
    if window is None or padding is None or not pool.whole:
        return None
    kernel_size, stride = window
    if not isinstance(pool.ceil_mode, bool) or any(
        2 * p > k for p, k in zip(padding, kernel_size, strict=True)
    ):
        return None

    def compute(_: Sequence[nn.Module], x: Any) -> Any:
        if (
            not _is_ours(x)
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
    padding = _two(conv.padding)
    return (
        padding is not None
        and len(conv.weight) == 4
        and 2 * padding[1] + 1 == conv.weight[3] > 1
        and _two(conv.stride) == _two(conv.dilation) == (1, 1)
        and conv.groups == 1
        and min(conv.weight[:2]) >= FEWEST_CHANNELS
    )


def _conv(conv: ConvGeometry, modules: Sequence[nn.Module], x: Any) -> Any:
    padding = _two(conv.padding)
    weight, bias = (modules[0]._parameters.get(name) for name in ("weight", "bias"))
    if padding is None or weight is None or not (_is_ours(x) and _is_ours(weight)):
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
