"""Partial convolution: each output counts only the taps that hit the input."""

import math

import torch
from torch import Tensor

from convscope.arithmetic import windows
from convscope.functional.geometry import Geometry, correlate


def reweighted(
    x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry
) -> Tensor:
    """Convolution, each output times taps over taps that hit the input."""
    out = correlate(x, weight, None, geometry)
    hits = torch.ones((), dtype=out.dtype, device=out.device)
    for axis, size in enumerate(x.shape[-geometry.axes :]):
        table = windows(
            size,
            weight.shape[2 + axis],
            stride=geometry.stride[axis],
            padding=geometry.padding[axis],
            dilation=geometry.dilation[axis],
        )
        counts = [sum(i is not None for i in row) for row in table]
        hits = hits.unsqueeze(-1) * torch.tensor(
            counts, dtype=out.dtype, device=out.device
        )
    out = out * (math.prod(weight.shape[2:]) / hits.clamp(min=1))
    if bias is None:
        return out
    return out + bias.view(-1, *(1,) * geometry.axes) * (hits > 0)
