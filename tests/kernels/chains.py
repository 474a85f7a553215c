"""Chains of stages, drawn at random, and what they must equal: torch in float64."""

import dataclasses
import random
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.kernels import StagePlan
from convscope.kernels.activation import ACTIVATIONS

EPSILON = torch.finfo(torch.float32).eps
IN_TORCH = {
    "none": lambda z: z,
    "relu": torch.relu,
    "tanh": torch.tanh,
    "abs": torch.abs,
    "gelu": F.gelu,
    "sigmoid": torch.sigmoid,
}


def in_torch(
    x: Tensor, parameters: Sequence[Tensor], plan: Sequence[StagePlan]
) -> Tensor:
    """The chain, stage by stage, by torch's own functions, in the dtype of ``x``."""
    given = iter(parameters)
    for stage in plan:
        x = x.reshape(len(x), stage.in_channels, *stage.in_size)
        weight = next(given).reshape(stage.weight_shape)
        bias = next(given) if stage.bias else None
        (top, bottom), (left, right) = stage.padding
        x = F.pad(x, (left, right, top, bottom))
        x = IN_TORCH[stage.activation](F.conv2d(x, weight, bias, stage.stride))
        if stage.pooling == "max":
            x = F.max_pool2d(x, stage.pool_size, stage.pool_stride)
        if stage.pooling == "average":
            x = F.avg_pool2d(x, stage.pool_size, stage.pool_stride)
    return x


def draw_stage(
    draw: random.Random, channels: int, size: tuple[int, int], last: bool
) -> StagePlan:
    """One stage that fits what comes in; of every kind, but small."""
    flat = size[0] == 1
    cover = last and draw.random() < 0.5
    kernel = tuple(n if cover else draw.randint(1, min(n, 11)) for n in size)
    paddings = [(draw.randint(0, 2), draw.randint(0, 2)) for _ in size]
    if cover or draw.random() < 0.5:
        paddings = [(0, 0), (0, 0)]
    if flat:
        paddings[0] = (0, 0)
    plain = StagePlan(
        in_channels=channels,
        in_size=size,
        out_channels=draw.choice([1, 2, 3, 6, 7, 10, 16, 19]),
        kernel_size=(kernel[0], kernel[1]),
        stride=draw.choice([(1, 1), (1, 1), (2, 2), (1, 2), (3, 2)]),
        padding=(paddings[0], paddings[1]),
        bias=draw.random() < 0.7,
        activation=draw.choice(ACTIVATIONS),
    )
    if draw.random() < 0.3:
        return plain
    window = draw.choice([(2, 2), (2, 2), (3, 3), (1, 2), (2, 1), (1, 3), (2, 3)])
    height, width = plain.conv_size
    window = (min(window[0], height), min(window[1], width))
    return dataclasses.replace(
        plain,
        pooling=draw.choice(["max", "max", "average"]),
        pool_size=window,
        pool_stride=draw.choice([window, (2, 2), (3, 3), (1, 1)]),
    )


def draw_chain(seed: int) -> list[StagePlan]:
    """One to three stages, each of which takes what the one before gives."""
    draw = random.Random(seed)
    channels, size = draw.randint(1, 6), (draw.randint(1, 13), draw.randint(2, 13))
    if draw.random() < 0.2:
        size = (1, size[1])
    count = draw.randint(1, 3)
    plan: list[StagePlan] = []
    for n in range(count):
        plan.append(draw_stage(draw, channels, size, n + 1 == count))
        channels, size = plan[-1].out_channels, plan[-1].out_size
    return plan


def draw_tensors(
    plan: Sequence[StagePlan], batch: int, seed: int
) -> tuple[Tensor, list[Tensor]]:
    """Images, and parameters of the size that keeps activations of order 1."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    x = normal(batch, plan[0].in_channels, *plan[0].in_size)
    parameters = []
    for stage in plan:
        weight = normal(*stage.weight_shape)
        parameters.append(weight / weight[0].numel() ** 0.5)
        if stage.bias:
            parameters.append(0.3 * normal(stage.out_channels))
    return x, parameters


def terms_of(plan: Sequence[StagePlan], batch: int) -> int:
    """Terms of the longest sum behind a number of the output or of a gradient."""
    total = 0
    for stage in plan:
        taps = stage.in_channels * stage.kernel_size[0] * stage.kernel_size[1]
        places = stage.conv_size[0] * stage.conv_size[1]
        total += max(taps, batch * places, stage.out_channels * taps)
    return total


def check_close(
    actual: Tensor, expected: Tensor, terms: int, what: str, scale: float = 1.0
) -> None:
    """Differences within the rounding of sums of ``terms`` terms of order ``scale``.

    One rounding per term, errors of different signs: sqrt(terms) roundings of the
    largest partial sum, which is about sqrt(terms) terms large; 8 deviations.
    """
    size = max(scale, expected.abs().max().item() if expected.numel() else 0.0)
    bound = 8 * terms**0.5 * EPSILON * size
    difference = (actual.double() - expected.double()).abs()
    worst = difference.max().item() if difference.numel() else 0.0
    assert actual.shape == expected.shape, what
    assert worst <= bound, f"{what}: off by {worst}, more than {bound}"
