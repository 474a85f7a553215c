"""Convolutions, activations, poolings and linear layers in a row, as one operation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from convscope import kernels, layers
from convscope.arithmetic import resolve_paddings
from convscope.errors import ConvscopeError
from convscope.kernels import StagePlan, apply_stages, numbers_of
from convscope.kernels.stage_plan import prepared

_CONVOLUTIONS = (nn.Conv2d, layers.Conv2d)
_MAX_POOLS = (nn.MaxPool2d, layers.MaxPool2d)
_AVERAGE_POOLS = (nn.AvgPool2d, layers.AvgPool2d)
_RISING = ("relu", "tanh", "sigmoid")  # these and a maximum may change places
Sizes = tuple[int, ...]


@dataclass
class Chain:
    """What a row of layers is to the kernels, for images of one size.

    Attributes:
        numbers: The stages as the native side reads them.
        holders: The layers whose weights and biases the stages take, in order.
        flat: Whether the last layer gives vectors, not maps.
    """

    numbers: list[int]
    holders: list[nn.Module]
    flat: bool

    def __call__(self, x: Tensor) -> Tensor:
        """What the layers give."""
        parameters = [
            parameter
            for holder in self.holders
            for parameter in (holder.weight, holder.bias)
            if isinstance(parameter, Tensor)
        ]
        y = apply_stages(x, parameters, self.numbers)
        return y.flatten(1) if self.flat else y

    def serves(self, x: Tensor) -> bool:
        """Whether ``x`` and all weights are numbers that the kernels take."""
        own = (p for holder in self.holders for p in holder.parameters(recurse=False))
        return (
            x.device.type == "cpu"
            and len(x) > 0
            and x.dtype == torch.float32
            and not torch.is_autocast_enabled("cpu")
            and all(p.dtype == torch.float32 and p.device.type == "cpu" for p in own)
        )


def chain_length(modules: Sequence[nn.Module]) -> int:
    """How many of the first layers one chain may take; 0 if no stage begins there.

    >>> row = [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(4)]
    >>> chain_length(row) if kernels.available() else 3
    3
    """
    first = next((m for m in modules if type(m) is not nn.Flatten), None)
    begins = first is not None and (
        _is_plain_conv(first)
        or (type(first) is nn.Linear and type(modules[0]) is nn.Flatten)
    )
    if not kernels.available() or not begins:
        return 0
    length = 0
    for module in modules:
        if not (
            _is_plain_conv(module)
            or type(module) in (nn.Linear, nn.Flatten)
            or _activation(module) is not None
            or _pooling(module) is not None
        ):
            break
        length += 1
    return length


def longest_chain(
    modules: Sequence[nn.Module], shape: Sizes
) -> tuple[Chain, int] | None:
    """The chain of as many first layers as fit, and their number; None for none."""
    for count in range(len(modules), 0, -1):
        chain = plan_chain(modules[:count], shape)
        if chain is not None:
            return chain, count
    return None


def plan_chain(modules: Sequence[nn.Module], shape: Sizes) -> Chain | None:
    """The chain of these layers for images (C, H, W); None for what does not fit."""
    try:
        stages = plan_stages(modules, shape)
        if not stages:
            return None
        holders = [m for m in modules if _is_plain_conv(m) or type(m) is nn.Linear]
        numbers = numbers_of(stages)
        prepared(tuple(numbers))
    except ConvscopeError:
        return None  # torch says what is wrong, or does what we cannot
    return Chain(numbers, holders, any(type(m) is nn.Flatten for m in modules))


def plan_stages(modules: Sequence[nn.Module], shape: Sizes) -> list[StagePlan]:
    """One stage for each layer with weights; none where the row is no chain."""
    stages = list(_stages(modules, shape))
    known = [stage for stage in stages if stage is not None]
    return known if len(known) == len(stages) else []


def _stages(modules: Sequence[nn.Module], shape: Sizes) -> Iterator[StagePlan | None]:
    """One stage for each layer with weights; None where the row is no chain."""
    stage: StagePlan | None = None
    flat = False
    for module in modules:
        if type(module) in (nn.Linear, *_CONVOLUTIONS):
            if stage is not None:
                yield stage
                shape = (stage.out_channels, *stage.out_size)
            stage = _stage_of(module, shape, flat)
        elif type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (
            1,
            -1,
        ):
            flat = True
            continue
        else:
            stage = None if stage is None else _with(stage, module, flat)
        if stage is None:
            break
    yield stage


def _stage_of(module: nn.Module, shape: Sizes, flat: bool) -> StagePlan | None:
    channels, height, width = shape
    if isinstance(module, nn.Linear):
        if not flat or module.in_features != channels * height * width:
            return None
        return StagePlan(
            in_channels=channels,
            in_size=(height, width),
            out_channels=module.out_features,
            kernel_size=(height, width),
            bias=module.bias is not None,
        )
    conv: Any = module
    if flat or conv.in_channels != channels:
        return None
    pads = resolve_paddings(
        conv.padding, (height, width), conv.kernel_size, stride=conv.stride
    )
    return StagePlan(
        in_channels=channels,
        in_size=(height, width),
        out_channels=conv.out_channels,
        kernel_size=conv.kernel_size,
        stride=conv.stride,
        padding=(pads[0], pads[1]),
        bias=conv.bias is not None,
    )


def _with(stage: StagePlan, module: nn.Module, flat: bool) -> StagePlan | None:
    """The stage with this activation or pooling too, if it still is one stage."""
    activation = _activation(module)
    if activation is not None:
        late = stage.pooling != "none"
        if stage.activation != "none" or (
            late and (stage.pooling != "max" or activation not in _RISING)
        ):
            return None
        return replace(stage, activation=activation)
    pooling = _pooling(module)
    if pooling is None or flat or stage.pooling != "none":
        return None
    kind, size, step = pooling
    return replace(stage, pooling=kind, pool_size=size, pool_stride=step)


def _activation(module: nn.Module) -> Any:
    """What the kernels call it; None for what they do not know."""
    if type(module) is nn.GELU:
        return "gelu" if module.approximate == "none" else None
    return {nn.ReLU: "relu", nn.Tanh: "tanh", nn.Sigmoid: "sigmoid"}.get(type(module))


def _pooling(module: nn.Module) -> tuple[Any, Any, Any] | None:
    """Kind, size and step, if it is one that a stage has."""
    pool: Any = module
    if type(module) in _MAX_POOLS:
        kind, plain = "max", not pool.return_indices and pair(pool.dilation) == (1, 1)
    elif type(module) in _AVERAGE_POOLS:
        kind, plain = "average", getattr(pool, "divisor_override", None) is None
    else:
        return None
    size = pair(pool.kernel_size)
    step = pair(pool.kernel_size if pool.stride is None else pool.stride)
    plain = plain and not pool.ceil_mode and pair(pool.padding) == (0, 0)
    if not plain or size is None or step is None or max(*size, *step) > 15:
        return None
    return kind, size, step


def pair(value: Any) -> tuple[int, int] | None:
    """One integer for both axes, or one for each; None for other forms.

    >>> pair(2), pair((1, 3)), pair("same")
    ((2, 2), (1, 3), None)
    """
    if isinstance(value, int):
        return value, value
    if isinstance(value, tuple | list) and len(value) == 2:
        first, second = value
        if isinstance(first, int) and isinstance(second, int):
            return first, second
    return None


def _is_plain_conv(module: nn.Module) -> bool:
    conv: Any = module
    return (
        type(module) in _CONVOLUTIONS
        and conv.groups == 1
        and pair(conv.dilation) == (1, 1)
        and conv.padding_mode == "zeros"
        and not getattr(conv, "flip", False)
        and getattr(conv, "connections", None) is None
        and getattr(conv, "padding_value", 0.0) == 0.0
    )
