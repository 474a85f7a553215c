"""What a network is asked about: one batch of inputs, from sizes or from examples.

``(3, 224, 224)``                 one input, without its batch axis
``[(3, 224, 224), (10,)]``        several, in the order of ``forward``; ``()`` a number
``{"image": (3, 224, 224)}``      by name

Sizes become tensors on the meta device, which have no values. Examples keep theirs.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from convscope.errors import ArgumentError
from convscope.execution.outputs import map_tensors
from convscope.execution.sample_inputs import Inputs, floating_dtype, given_inputs

Shape: TypeAlias = tuple[int, ...]
InputSize: TypeAlias = Sequence[int] | Sequence[Sequence[int]] | Mapping[str, Shape]

BATCH = 2  # images in a trace: enough to see a layer that mixes images


def inputs_for(
    module: nn.Module,
    input_size: InputSize | None,
    example_inputs: Any = None,
    *,
    where: str,
    dtype: torch.dtype | None = None,
) -> Inputs:
    """The batch that a network is called with, from what the caller wrote.

    Args:
        module: Its weights say of which type inputs are.
        input_size: See the top of this file.
        example_inputs: Instead of sizes; see `given_inputs`.
        where: What an error message begins with.
        dtype: Of the inputs, instead.

    Raises:
        ArgumentError: Neither or both; or a size that is none.

    >>> shapes_of(inputs_for(nn.ReLU(), (1, 32, 32), where="summary"))
    ((1, 32, 32),)
    >>> inputs_for(nn.ReLU(), None, torch.ones(5, 3), where="summary").images
    5
    """
    if (input_size is None) == (example_inputs is None):
        given = "both input_size and" if input_size is not None else "neither"
        joint = "" if input_size is not None else "input_size nor "
        raise ArgumentError(
            f"{where}: there is {given} {joint}example_inputs. Give one of them, such "
            "as input_size=(C, H, W) of one image."
        )
    if input_size is None:
        inputs = given_inputs(example_inputs)
        if not inputs.tensors:
            raise ArgumentError(
                f"{where}: example_inputs={example_inputs!r} hold no tensor. Give what "
                "forward takes, with a batch of at least one image."
            )
        return inputs
    if dtype is None:
        dtype = floating_dtype(module, torch.float32)
    return sized_inputs(input_size, where=where, dtype=dtype)


def sized_inputs(
    input_size: InputSize, *, where: str, dtype: torch.dtype = torch.float32
) -> Inputs:
    """A batch of tensors without values.

    Raises:
        ArgumentError: No size, or a size that is not an integer of at least 1.

    >>> [x.shape for x in sized_inputs([(1, 8, 8), ()], where="check").tensors]
    [torch.Size([2, 1, 8, 8]), torch.Size([2])]
    """

    def tensor(shape: Sequence[int]) -> Tensor:
        return torch.empty((BATCH, *shape), dtype=dtype, device="meta")

    if not input_size or not isinstance(input_size, Mapping | Sequence):
        raise _wrong(input_size, where)
    if isinstance(input_size, Mapping):
        shapes = _shapes(input_size.values(), input_size, where)
        return Inputs((), dict(zip(input_size, map(tensor, shapes), strict=True)))
    several = not all(isinstance(size, int) for size in input_size)
    listed: Any = input_size if several else [input_size]
    return Inputs(tuple(map(tensor, _shapes(listed, input_size, where))), {})


def _shapes(values: Iterable[object], given: object, where: str) -> list[Shape]:
    shapes: list[Shape] = []
    for value in values:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise _wrong(given, where)
        for size in value:
            if not isinstance(size, int) or isinstance(size, bool) or size < 1:
                raise _wrong(given, where)
        shapes.append(tuple(value))
    return shapes


def _wrong(given: object, where: str) -> ArgumentError:
    return ArgumentError(
        f"{where}: input_size={given!r} is not a size. Give integers of at least 1 "
        "without the batch axis, such as (3, 224, 224), or a list of such sizes."
    )


def shapes_of(inputs: Inputs) -> tuple[Shape, ...]:
    """Of each tensor, without the batch axis."""
    return tuple(without_batch(x.shape, inputs.images) for x in inputs.tensors)


def without_batch(shape: Sequence[int], batch: int) -> Shape:
    """A shape without its first axis, if that is the batch.

    >>> without_batch((2, 3, 8), 2), without_batch((7, 3), 2)
    ((3, 8), (7, 3))
    """
    return tuple(shape[1:] if shape and shape[0] == batch else shape)


def is_sized(inputs: Inputs) -> bool:
    """Whether they come from sizes, so that they have no values."""
    tensors = inputs.tensors
    return bool(tensors) and all(x.is_meta for x in tensors)


def with_batch(inputs: Inputs, images: int) -> Inputs:
    """Inputs of sizes with another number of images."""
    return _mapped(inputs, lambda x, _: x.new_empty((images, *x.shape[1:])))


def with_first(inputs: Inputs, shape: Shape) -> Inputs:
    """The same inputs, the first of another shape (without batch), without values."""

    def changed(x: Tensor, number: int) -> Tensor:
        if number:
            return x
        batch = x.shape[: x.ndim - len(shapes_of(inputs)[0])]
        return torch.empty((*batch, *shape), dtype=x.dtype, device="meta")

    return _mapped(inputs, changed)


def with_integers(inputs: Inputs, numbers: Iterable[int]) -> Inputs:
    """The same inputs, some of them as integers."""
    chosen = set(numbers)
    return _mapped(inputs, lambda x, n: x.to(torch.long) if n in chosen else x)


def on_meta(inputs: Inputs) -> Inputs:
    """The same without values."""
    return _mapped(inputs, lambda x, _: x.detach().to("meta"))


def with_values(inputs: Inputs, device: torch.device) -> Inputs:
    """Copies of examples; zeros for sizes."""

    def filled(x: Tensor, _: int) -> Tensor:
        if x.is_meta:
            return torch.zeros(x.shape, dtype=x.dtype, device=device)
        return x.detach().clone()

    return _mapped(inputs, filled)


def _mapped(inputs: Inputs, change: Any) -> Inputs:
    """Each tensor changed by what it is and by its number."""
    numbers = iter(range(len(inputs.tensors)))
    return Inputs(*map_tensors(lambda x: change(x, next(numbers)), tuple(inputs)))
