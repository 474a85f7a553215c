"""Maps from comparisons: what the network says of inputs that are changed."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.analysis.attribution.record import Array
from convscope.analysis.capturing.differentiating import require_gradients
from convscope.errors import MissingExtraError
from convscope.execution import images_together

STEPS = 32  # of integrated gradients
WINDOWS = 14  # of occlusion along each axis, at most
MASKS = 500  # of RISE
GRID = 7  # cells of a mask along each axis
SHOWN = 0.5  # of which are shown

Value = Callable[[Any], Tensor]


def integrated_gradients(net: nn.Module, inputs: Tensor, value: Value) -> Array:
    """The mean gradient on the way from 0 to the input, times the input; by captum.

    The sum over an input is what its value has more than that of 0, up to the error of
    32 steps (Gauss-Legendre).
    """
    captum = _captum()

    def forward(x: Tensor) -> Tensor:
        made = value(net(x.clone()))  # it may write into its input
        if made.requires_grad:
            require_gradients(made, "attribute")
        return made

    method = captum.IntegratedGradients(forward)
    together = max(len(inputs), images_together(inputs.shape[2:], inputs.device))
    slopes = method.attribute(inputs, n_steps=STEPS, internal_batch_size=together)
    return _summed(slopes)


def occlusion(net: nn.Module, inputs: Tensor, value: Value) -> Array:
    """What is lost when a window is covered with 0, at about 14 places of each axis."""
    captum = _captum()

    def forward(x: Tensor) -> Tensor:
        return value(net(x.clone()))

    space = inputs.shape[2:]
    strides = [max(1, math.ceil(size / WINDOWS)) for size in space]
    windows = [
        min(size, 2 * stride) for size, stride in zip(space, strides, strict=True)
    ]
    channels = inputs.shape[1]
    together = images_together(space, inputs.device)
    with torch.no_grad():
        lost = captum.Occlusion(forward).attribute(
            inputs,
            sliding_window_shapes=(channels, *windows),
            strides=(channels, *strides),
            perturbations_per_eval=max(1, together // len(inputs)),
        )
    return _summed(lost / channels)


def rise(net: nn.Module, inputs: Tensor, values: Sequence[Value], seed: int) -> Array:
    """The mean of random masks, each weighed by what the network says behind it.

    Source:
        Petsiuk, Das and Saenko 2018, section 3.2: masks of 7 cells along each axis,
        half of them shown, enlarged and moved by a random part of a cell; here 500,
        and centered on their mean, which takes away what is common to all places.
    """
    generator = torch.Generator().manual_seed(seed)
    space = tuple(inputs.shape[2:])
    cells = tuple(min(GRID, size) for size in space)
    size = [math.ceil(n / c) * (c + 1) for n, c in zip(space, cells, strict=True)]
    totals = torch.zeros(len(inputs), *space, dtype=torch.float64)
    shares, sums = torch.zeros(len(inputs), dtype=torch.float64), totals.clone()
    made, together = 0, images_together(space, inputs.device)
    while made < MASKS:
        count = min(together, MASKS - made)
        masks = torch.cat([_mask(cells, size, space, generator) for _ in range(count)])
        for place, image in enumerate(inputs):
            with torch.no_grad():
                copies = masks.to(image.dtype).to(image.device) * image
                said = values[place](net(copies))
            weights = said.double().cpu().view(-1, *([1] * len(space)))
            totals[place] += (weights * masks[:, 0]).sum(0)
            shares[place] += weights.sum()
            sums[place] += masks[:, 0].double().sum(0)
        made += count
    mean = shares.view(-1, *([1] * len(space))) / MASKS
    found: Array = ((totals - mean * sums) / MASKS).float().numpy()
    return found


def _mask(
    cells: tuple[int, ...],
    size: list[int],
    space: tuple[int, ...],
    generator: torch.Generator,
) -> Tensor:
    """One of RISE, (1, 1, *space)."""
    coarse = torch.rand(1, 1, *(c + 1 for c in cells), generator=generator) < SHOWN
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(space)]
    large = F.interpolate(coarse.float(), size, mode=mode, align_corners=False)
    part: tuple[Any, ...] = (slice(None), slice(None))
    for whole, wanted in zip(size, space, strict=True):
        most = max(1, min(whole - wanted, math.ceil(wanted / GRID)) + 1)
        start = int(torch.randint(most, (1,), generator=generator))
        part += (slice(start, start + wanted),)
    return large[part]


def _summed(values: Tensor) -> Array:
    made: Array = values.detach().sum(1).float().cpu().numpy()
    return np.ascontiguousarray(made)


def _captum() -> Any:
    try:
        import captum.attr
    except ImportError:
        raise MissingExtraError("captum", "viz") from None
    return captum.attr
