"""First weights, as the papers draw them."""

import math
from typing import Literal

import torch
from torch import Tensor, nn


def convolutions_and_linears(net: nn.Module) -> tuple[list[nn.Module], list[nn.Module]]:
    """The layers of a network with kernels, and those with matrices."""
    kernels: list[nn.Module] = []
    matrices: list[nn.Module] = []
    for module in net.modules():
        weight = module._parameters.get("weight")
        if weight is not None and weight.ndim > 1:
            (kernels if weight.ndim > 2 else matrices).append(module)
    return kernels, matrices


def kaiming(kernel: nn.Module, mode: Literal["fan_in", "fan_out"] = "fan_out") -> None:
    """Normal with variance 2 / fan, which keeps the scale through ReLUs; bias 0.

    Source:
        He, Zhang, Ren and Sun 2015, Delving deep into rectifiers, equations 10 and 14.
    """
    nn.init.kaiming_normal_(_weight(kernel), mode=mode, nonlinearity="relu")
    _fill_bias(kernel, 0.0)


def normal(layer: nn.Module, std: float, bias: float = 0.0) -> None:
    """Normal about 0; every bias the same."""
    nn.init.normal_(_weight(layer), 0.0, std)
    _fill_bias(layer, bias)


@torch.no_grad()
def uniform(layer: nn.Module, reach: float) -> None:
    """Uniform within reach / fan_in, which counts connected maps only; bias 0."""
    weight = _weight(layer)
    taps = math.prod(weight.shape[2:])
    connections = layer._buffers.get("connections")
    if connections is None:
        fan_in = torch.full((len(weight), 1), weight.shape[1] * taps)
    else:  # one kernel for each pair, in row order
        taps = math.prod(weight.shape[1:])
        table = connections
        fan_in = (table.sum(1, keepdim=True) * taps).expand_as(table)[table]
    bound = reach / fan_in.to(weight).view(-1, *(1,) * (weight.ndim - 1))
    weight.uniform_(-1, 1).mul_(bound)
    _fill_bias(layer, 0.0)


def _weight(layer: nn.Module) -> Tensor:
    weight = layer.weight
    if not isinstance(weight, Tensor):
        raise TypeError(f"{type(layer).__name__} has no weight")
    return weight


def _fill_bias(layer: nn.Module, value: float) -> None:
    if isinstance(layer.bias, Tensor):
        nn.init.constant_(layer.bias, value)
