"""Inputs to try a network with: drawn for shapes, or given by the user."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from convscope.errors import ArgumentError
from convscope.execution.outputs import map_tensors, tensors_in
from convscope.private_torch import AnyConv

Shape: TypeAlias = Sequence[int] | Sequence[Sequence[int]]


class Inputs(NamedTuple):
    """What a network is called with: ``net(*positional, **named)``.

    >>> Inputs((torch.ones(4, 1, 8, 8),), {"scale": 2.0}).images
    4
    """

    positional: tuple[Any, ...]
    named: Mapping[str, Any]

    @property
    def tensors(self) -> list[Tensor]:
        """All that are in it."""
        return list(tensors_in(tuple(self)))

    @property
    def images(self) -> int:
        """Size of the batch, by the first tensor that has one."""
        return next((len(x) for x in self.tensors if x.ndim), 1)

    def copied(self) -> "Inputs":
        """Tensors of its own, so that a network may write into them."""
        return Inputs(*map_tensors(Tensor.clone, tuple(self)))


def given_inputs(examples: Any) -> Inputs:
    """`Inputs` as they are, a tuple as positional inputs, all else as the one input.

    A named tuple, such as a packed sequence, is one input too.

    >>> given_inputs((1, 2)).positional, given_inputs({"a": 1}).positional
    ((1, 2), ({'a': 1},))
    """
    if isinstance(examples, Inputs):
        return examples
    return Inputs(examples if type(examples) is tuple else (examples,), {})


def random_inputs(net: nn.Module, shape: Shape, images: int) -> Inputs:
    """A batch of random numbers for each input, in the network's own number format."""
    dtype = floating_dtype(net, torch.get_default_dtype())
    random = torch.Generator().manual_seed(0)  # so that torch's own is left alone
    drawn = (
        torch.randn(images, *one, dtype=dtype, generator=random)
        for one in shapes_of(shape)
    )
    return Inputs(tuple(drawn), {})


def floating_dtype(net: nn.Module, default: torch.dtype) -> torch.dtype:
    """That of the network's first weights that are no integers.

    >>> floating_dtype(nn.Linear(2, 2).half(), torch.float32)
    torch.float16
    """
    tensors = itertools.chain(net.parameters(), net.buffers())
    floating = (x.dtype for x in tensors if x.is_floating_point() or x.is_complex())
    return next(floating, default)


def shapes_of(shape: Shape) -> list[tuple[int, ...]]:
    """One shape for each input.

    >>> shapes_of((3, 32, 32)), shapes_of([(1, 8), (2,)])
    ([(3, 32, 32)], [(1, 8), (2,)])
    """
    one: list[Any] = list(shape)
    if all(isinstance(size, int) for size in one):
        return [tuple(one)]
    return [tuple(each) for each in one]


def require_shape(net: nn.Module, shape: Shape, where: str) -> None:
    """Refuse what is not the shape of one image, or of one for each input.

    Raises:
        ArgumentError: A tensor, anything else that is no shape, or one number more than
            the first convolution takes: the batch.
    """
    if not isinstance(net, nn.Module):
        raise ArgumentError(
            f"{where}: net is of type {type(net).__name__}. Give a torch.nn.Module."
        )
    if isinstance(shape, Tensor):
        raise ArgumentError(
            f"{where}: input_shape is a tensor of shape {tuple(shape.shape)}, where "
            "the sizes of one image are expected, without the batch. Give "
            f"input_shape={tuple(shape.shape[1:])}, or the tensor as example_inputs."
        )
    if not _is_shape(shape):
        of = f" of type {type(shape).__name__}" if _is_long(shape) else f"={shape!r}"
        raise ArgumentError(
            f"{where}: input_shape{of} is no shape. Give integers of at least 1 "
            "without the batch, such as (3, 224, 224), or a list of such shapes, one "
            "for each input; tensors go into example_inputs."
        )
    sizes = shapes_of(shape)
    convs: Any = (AnyConv,)
    first: Any = next((m for m in net.modules() if isinstance(m, convs)), None)
    if first is None or len(sizes) != 1:
        return
    axes = len(first.kernel_size)
    if len(sizes[0]) == axes + 2:
        batch, *one = sizes[0]
        raise ArgumentError(
            f"{where}: input_shape={sizes[0]} has {axes + 2} numbers, but "
            f"{type(first).__name__} takes {axes + 1}: channels and space, without the "
            f"batch. Give input_shape={tuple(one)} and batch_size={batch}."
        )


def _is_shape(shape: Any) -> bool:
    """Whether it is integers of at least 1, or sequences of them."""
    if not isinstance(shape, Sequence) or isinstance(shape, str):
        return False
    return all(map(_is_size, shape)) or all(
        isinstance(one, Sequence) and all(map(_is_size, one)) for one in shape
    )


def _is_size(size: Any) -> bool:
    return isinstance(size, int) and not isinstance(size, bool) and size >= 1


def _is_long(shape: Any) -> bool:
    return len(repr(shape)) > 60
