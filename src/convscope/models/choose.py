"""Which model to take when nobody says: by the size and channels of the images."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Choice:
    """A model, its options, and the reason as a sentence.

    >>> choose((3, 8, 8)).options
    {'width': 12}
    """

    name: str
    why: str
    options: dict[str, Any] = field(default_factory=dict)


def choose(input_shape: tuple[int, ...]) -> Choice:
    """The model for images of that shape (C, H, W).

    >>> choose((1, 28, 28)).why
    'lenet5, because 28 x 28 gray images are what it was made for'
    """
    channels, height, width = input_shape
    small, large = min(height, width), max(height, width)
    what = f"{height} x {width} {'gray' if channels == 1 else 'color'} images"
    if small < 8:
        return Choice("mlp", f"mlp, because {what} are too small to pool")
    if small < 12:
        why = f"resnet9 of width 12, because its 3x3 kernels still fit {what}"
        return Choice("resnet9", why, {"width": 12})
    if channels == 1 and large <= 32:
        return Choice("lenet5", f"lenet5, because {what} are what it was made for")
    why = f"resnet9, because {what} show more than lenet5's small kernels can use"
    return Choice("resnet9", why)
