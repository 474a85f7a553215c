"""Stages: parts in any combination, sizes and counts from arithmetic."""

from functools import partial

from contracts.layer_case import Case
from convscope import layers
from convscope.arithmetic import convolution_parameters, output_shape

INPUTS = {1: (2, 3, 12), 2: (2, 3, 10, 9), 3: (2, 3, 6, 7, 6)}


def through(shape, channels, pool, stride):
    """Shape after filters of 3 and pooling windows of ``pool``."""
    maps = output_shape(shape[2:], 3)
    return (shape[0], channels, *output_shape(maps, pool, stride=stride))


CASES = [
    Case(
        "Stage2d, filters, ReLU, max",
        partial(layers.Stage2d, 3, 4, 3, pooling="max"),
        INPUTS[2],
        through(INPUTS[2], 4, 2, 2),
        convolution_parameters(3, 4, (3, 3)),
        channels=3,
    )
]
for axes, shape in INPUTS.items():
    stage = getattr(layers, f"Stage{axes}d")
    notation = "F_CSG-R_abs-N-P_A"
    CASES.append(
        Case(
            f"{stage.__name__}, {notation}",
            partial(stage.of, notation, 3, 4, 3, pool_size=3, pool_stride=1),
            shape,
            through(shape, 4, 3, 1),
            convolution_parameters(3, 4, (3,) * axes) + 4,  # a gain for each map
            channels=3,
        )
    )
CASES.append(
    Case(
        "Stage2d, batch normalization and norm pooling",
        partial(
            layers.Stage2d, 3, 4, 3, normalization="batch", pooling="lp", pool_size=2
        ),
        INPUTS[2],
        through(INPUTS[2], 4, 2, 2),
        convolution_parameters(3, 4, (3, 3), bias=False) + 2 * 4,
        channels=3,
    )
)
