"""Input sizes as callers write them, and tensors without values of those sizes.

``(3, 224, 224)``                 one input, without its batch axis
``[(3, 224, 224), (10,)]``        several, in the order of ``forward``
``{"image": (3, 224, 224)}``      by name
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from convscope.errors import ArgumentError

Shape: TypeAlias = tuple[int, ...]
InputSize: TypeAlias = Sequence[int] | Sequence[Sequence[int]] | Mapping[str, Shape]

BATCH = 2  # images in a trace: enough to see a layer that mixes images


@dataclass(frozen=True)
class Inputs:
    """Shapes without the batch axis, each with the name it is passed by, if any."""

    shapes: tuple[Shape, ...]
    names: tuple[str, ...] = ()

    def tensors(
        self, batch: int, device: str, dtype: torch.dtype
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Positional and named arguments for ``forward``."""
        made = [
            torch.zeros((batch, *shape), dtype=dtype, device=device)
            for shape in self.shapes
        ]
        if self.names:
            return [], dict(zip(self.names, made, strict=True))
        return made, {}

    def resized(self, change: Mapping[int, int]) -> "Inputs":
        """The same inputs with other lengths along spatial axes of the first."""
        first = tuple(change.get(i, size) for i, size in enumerate(self.shapes[0]))
        return Inputs((first, *self.shapes[1:]), self.names)

    def __str__(self) -> str:
        return ", ".join(str(shape) for shape in self.shapes)


def parse_inputs(input_size: InputSize, *, where: str) -> Inputs:
    """What the caller wrote, checked.

    Args:
        input_size: See the top of this file.
        where: What an error message begins with.

    Raises:
        ArgumentError: No size, or a size that is not an integer of at least 1.

    >>> parse_inputs((1, 32, 32), where="summary")
    Inputs(shapes=((1, 32, 32),), names=())
    """
    if isinstance(input_size, Mapping):
        shapes = tuple(_shape(s, input_size, where) for s in input_size.values())
        return Inputs(_some(shapes, input_size, where), tuple(input_size))
    if not isinstance(input_size, Sequence) or isinstance(input_size, str):
        raise _wrong(input_size, where)
    if all(isinstance(size, int) for size in input_size):
        return Inputs(
            _some((_shape(input_size, input_size, where),), input_size, where)
        )
    shapes = tuple(_shape(shape, input_size, where) for shape in input_size)
    return Inputs(_some(shapes, input_size, where))


def _shape(value: object, given: object, where: str) -> Shape:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise _wrong(given, where)
    for size in value:
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise _wrong(given, where)
    return tuple(value)


def _some(shapes: tuple[Shape, ...], given: object, where: str) -> tuple[Shape, ...]:
    if not shapes or not all(shapes):
        raise _wrong(given, where)
    return shapes


def _wrong(given: object, where: str) -> ArgumentError:
    return ArgumentError(
        f"{where}: input_size={given!r} is not a size. Give integers of at least 1 "
        "without the batch axis, such as (3, 224, 224), or a list of such sizes."
    )
