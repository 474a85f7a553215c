"""Rectification, gain, and the three families of normalization."""

from functools import partial

from contracts.layer_case import Case

from convscope import layers

SHAPES = {1: (2, 4, 9), 2: (2, 4, 7, 6), 3: (2, 4, 5, 4, 6)}

CASES = [
    Case("Rectification", layers.Rectification, SHAPES[2], SHAPES[2]),
    Case("Gain", partial(layers.Gain, 4), SHAPES[3], SHAPES[3], 4, channels=4),
    Case("Gain, axes known", lambda: layers.Gain(4, 1), SHAPES[1], SHAPES[1], 4, 4),
]
for axes, shape in SHAPES.items():
    contrast = getattr(layers, f"LocalContrastNorm{axes}d")
    response = getattr(layers, f"LocalResponseNorm{axes}d")
    batch = getattr(layers, f"BatchNorm{axes}d")
    CASES += [
        Case(contrast.__name__, partial(contrast, 3), shape, shape),
        Case(
            f"{contrast.__name__}, zeros, fixed threshold",
            partial(contrast, 4, threshold=0.5, padding_mode="zeros"),
            shape,
            shape,
        ),
        Case(
            f"{contrast.__name__}, subtractive, reflect",
            partial(contrast, 3, 1.0, divisive=False, padding_mode="reflect"),
            shape,
            shape,
        ),
        Case(
            f"{contrast.__name__}, divisive",
            partial(contrast, 3, subtractive=False),
            shape,
            shape,
        ),
        Case(response.__name__, partial(response, 3), shape, shape),
        Case(
            f"{response.__name__}, as published",
            partial(response, 5, k=2.0, average=False),
            shape,
            shape,
        ),
        # weight and bias: one of each per channel
        Case(batch.__name__, partial(batch, 4), shape, shape, 2 * 4, channels=4),
    ]
CASES.append(
    Case("LocalResponseNorm", partial(layers.LocalResponseNorm, 2), (2, 4), (2, 4))
)
