"""Convolutions, activations, poolings and linear layers in a row, as one operation."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from convscope import kernels
from convscope.arithmetic import resolve_paddings
from convscope.errors import ConvscopeError
from convscope.execution.description import (
    Flatten,
    Layer,
    Linear,
    Pool,
    is_float32,
    is_ordinary,
    per_two_axes,
    window_of,
)
from convscope.kernels import StagePlan, apply_stages, numbers_of
from convscope.kernels.stage_plan import prepared
from convscope.layers.conv import ConvGeometry

_RISING = ("relu", "tanh", "sigmoid")  # these and a maximum may change places
_SIZES_KEPT = 64  # of a chain: image sizes that it is planned for


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
        if not (is_ordinary(x) and x.ndim == 4 and len(x) and is_float32(x)):
            return None
        if torch.is_autocast_enabled("cpu"):
            return None
        plan = self.plan(tuple(x.shape[1:]))
        if plan is None:
            return None
        parameters = plan.parameters(modules)
        if not all(is_ordinary(p) and is_float32(p) for p in parameters):
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
    >>> from convscope.execution.description import describe
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
    stride, dilation = per_two_axes(layer.stride), per_two_axes(layer.dilation)
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
    window = window_of(layer)
    plain = (
        layer.whole and not layer.ceil_mode and per_two_axes(layer.padding) == (0, 0)
    )
    if not plain or window is None or max(*window[0], *window[1]) > 15:
        return None
    return replace(
        stage, pooling=layer.kind, pool_size=window[0], pool_stride=window[1]
    )
