"""Rectification, gain, and the three families of normalization."""

from functools import partial

from contracts.layer_case import Case
from convscope import layers

SHAPES = {1: (2, 4, 9), 2: (2, 4, 7, 6), 3: (2, 4, 5, 4, 6)}

CASES = [
    Case("Rectification", layers.Rectification, SHAPES[2], SHAPES[2], any_rank=True),
    Case("Gain", partial(layers.Gain, 4), SHAPES[3], SHAPES[3], 4, channels=4),
    Case("Gain, axes known", lambda: layers.Gain(4, 1), SHAPES[1], SHAPES[1], 4, 4),
    Case("LocalResponseNorm", partial(layers.LocalResponseNorm, 2), *[SHAPES[1]] * 2),
]
for axes, shape in SHAPES.items():
    contrast = getattr(layers, f"LocalContrastNorm{axes}d")
    response = getattr(layers, f"LocalResponseNorm{axes}d")
    batch = getattr(layers, f"BatchNorm{axes}d")
    published = {"k": 2.0, "average": False}
    CASES += [
        Case(contrast.__name__, partial(contrast, 3), shape, shape),
        Case(response.__name__, partial(response, 5, **published), shape, shape),
        # weight and bias: one of each per channel
        Case(batch.__name__, partial(batch, 4), shape, shape, 2 * 4, channels=4),
    ]
for name, options in {
    "zeros, fixed threshold": {"threshold": 0.5, "padding_mode": "zeros"},
    "subtractive, reflect": {"divisive": False, "padding_mode": "reflect"},
    "divisive, even window": {"subtractive": False, "kernel_size": 4},
}.items():
    make = partial(layers.LocalContrastNorm2d, **{"kernel_size": 3, **options})
    traced = "reflect" in name  # the others are traced with the parts of the rest
    CASES.append(
        Case(
            f"LocalContrastNorm2d, {name}",
            make,
            SHAPES[2],
            SHAPES[2],
            onnx=traced,
            compile=traced,
        )
    )
