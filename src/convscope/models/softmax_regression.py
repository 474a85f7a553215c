"""Softmax regression: one weight for each pixel and class."""

import math

from torch import nn

from convscope.models.card import ModelCard, register


@register(
    ModelCard(
        name="softmax_regression",
        summary="linear classifier, the floor to beat",
        source="Bishop 2006, Pattern Recognition and Machine Learning, 4.3.4",
        differs=("fitted by gradient descent, not by Newton's method",),
        input_shape=(1, 28, 28),
        num_classes=10,
        parameters=7_850,
        multiply_adds=7_840,
        min_size=1,
        axes=(1, 2, 3),
    )
)
def softmax_regression(
    num_classes: int, in_channels: int, input_size: tuple[int, ...]
) -> nn.Sequential:
    """All pixels, flattened, to one score for each class.

    >>> softmax_regression(10, 1, (28, 28))[1]
    Linear(in_features=784, out_features=10, bias=True)
    """
    return nn.Sequential(
        nn.Flatten(), nn.Linear(in_channels * math.prod(input_size), num_classes)
    )
