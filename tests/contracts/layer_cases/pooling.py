"""Pooling in one, two and three dimensions."""

from functools import partial
from math import prod

import torch

import convscope as cs
from contracts.layer_case import Case
from convscope.arithmetic import output_shape

SIZES = {1: (9,), 2: (8, 7), 3: (6, 5, 7)}


class Returning:
    """Takes what it unpools alone: the indices are those of a fixed pooling."""

    def forward(self, x):
        if x.ndim != self.axes + 2:
            return super().forward(x, x)
        sizes = [2 * size for size in x.shape[2:]]
        mixed = 7919 * torch.arange(prod(sizes)) % 101
        pooled = mixed.float().reshape(1, 1, *sizes)
        _, indices = cs.functional.max_pool_with_indices(pooled, 2)
        return super().forward(x, indices.expand(x.shape))


class Drawing:
    """Draws the same windows each time."""

    def forward(self, x):
        return super().forward(x, torch.Generator().manual_seed(0))


class MaxUnpool1d(Returning, cs.layers.MaxUnpool1d):
    pass


class MaxUnpool2d(Returning, cs.layers.MaxUnpool2d):
    pass


class MaxUnpool3d(Returning, cs.layers.MaxUnpool3d):
    pass


class FractionalMaxPool1d(Drawing, cs.layers.FractionalMaxPool1d):
    pass


class FractionalMaxPool2d(Drawing, cs.layers.FractionalMaxPool2d):
    pass


class FractionalMaxPool3d(Drawing, cs.layers.FractionalMaxPool3d):
    pass


FRACTIONAL = {1: FractionalMaxPool1d, 2: FractionalMaxPool2d, 3: FractionalMaxPool3d}
UNPOOL = {1: MaxUnpool1d, 2: MaxUnpool2d, 3: MaxUnpool3d}


def case(name, axes, *arguments, window=(), channels=None, **more):
    """A case of ``name`` with ``axes`` spatial axes; sizes from ``window``."""
    flags = {key: more.pop(key) for key in list(more) if key in Case.__annotations__}
    if "output" in flags:
        shape = flags.pop("output")
    else:
        kernel, *rest = window or arguments[:1]
        names = ("stride", "padding", "dilation")
        settings = {"stride": kernel, **dict(zip(names, rest, strict=False))}
        shape = output_shape(SIZES[axes], kernel, **settings)
    layer = f"{name}{axes}d"
    text = ", ".join([*map(repr, arguments), *(f"{k}={v!r}" for k, v in more.items())])
    return Case(
        f"{layer}({text})",
        lambda: getattr(cs.layers, layer)(*arguments, **more),
        input=(2, channels or 3, *SIZES[axes]),
        output=(2, channels or 3, *shape),
        channels=channels,
        **flags,
    )


CASES = [
    made
    for axes in (1, 2, 3)
    for made in (
        case("MaxPool", axes, 2),
        case("MaxPool", axes, 3, 2, 1, window=(3, 2, 1)),
        case("MaxPool", axes, 2, 1, 0, 2, window=(2, 1, 0, 2)),
        case("MaxPool", axes, 3, 2, "same", window=(3, 2, "same")),
        case("AvgPool", axes, 2),
        case("AvgPool", axes, 3, 2, 1, count_include_pad=False, window=(3, 2, 1)),
        case("AvgPool", axes, 3, 2, "same_lower", window=(3, 2, "same_lower")),
        case("LPPool", axes, 2, 2, window=(2,)),
        case("LPPool", axes, 3, 3, 1, window=(3, 1)),
        case("StochasticPool", axes, 2, double=False),
        case("AdaptiveMaxPool", axes, 3, output=(3,) * axes, onnx=False),
        case("AdaptiveAvgPool", axes, 3, output=(3,) * axes, onnx=False),
        case("GlobalMaxPool", axes, output=()),
        case("GlobalAvgPool", axes, output=()),
        case("Subsampling", axes, 3, window=(2,), channels=3, parameters=6),
    )
] + [
    made
    for axes in (1, 2, 3)
    for made in (
        Case(
            f"MaxUnpool{axes}d(2)",
            partial(UNPOOL[axes], 2),
            input=(2, 3, *SIZES[axes]),
            output=(2, 3, *(2 * size for size in SIZES[axes])),
        ),
        Case(
            f"FractionalMaxPool{axes}d(2, output_size=3)",
            partial(FRACTIONAL[axes], 2, output_size=3),
            input=(2, 3, *SIZES[axes]),
            output=(2, 3, *(3,) * axes),
            onnx=False,
            compile=False,
        ),
    )
]
