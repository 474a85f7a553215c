"""Maximum and average over windows that follow from the output size, or over all.

Of several equal maxima the first in row order wins, as in ``pool.py``.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

from torch import Tensor
from torch.nn import functional as F

from convscope.arithmetic import axis_name, require
from convscope.errors import ArgumentError, explains_calls
from convscope.functional.pool_window import spatial_sizes

OutputSize: TypeAlias = int | Sequence[int | None] | None

_MAX: dict[int, Any] = {
    1: F.adaptive_max_pool1d,
    2: F.adaptive_max_pool2d,
    3: F.adaptive_max_pool3d,
}
_AVG: dict[int, Any] = {
    1: F.adaptive_avg_pool1d,
    2: F.adaptive_avg_pool2d,
    3: F.adaptive_avg_pool3d,
}


@explains_calls
def adaptive_avg_pool(
    x: Tensor, output_size: OutputSize, *, where: str = "adaptive_avg_pool"
) -> Tensor:
    """Mean over windows chosen so that ``output_size`` of them cover the input.

    Window ``o`` of an axis runs from ``floor(o * size / outputs)`` up to, not
    including, ``ceil((o + 1) * size / outputs)``.

    Args:
        x: A batch, with one to three spatial axes.
        output_size: Output lengths, in elements; None keeps the input's.
        where: What an error message begins with.

    Shape:
        x:      (N, C, L), (N, C, H, W) or (N, C, D, H, W)
        return: (N, C, *output_size)

    Raises:
        ShapeError: Another rank.
        ArgumentError: Not one length per axis, or not an integer of at least 1.

    Source:
        ``torch.nn.functional.adaptive_avg_pool2d``.

    >>> import torch
    >>> adaptive_avg_pool(torch.tensor([[[1.0, 2.0, 3.0, 4.0, 5.0]]]), 2)
    tensor([[[2., 4.]]])
    """
    outputs = adaptive_sizes(spatial_sizes(x, where), output_size, where)
    if not (x.is_floating_point() or x.is_complex()):
        raise ArgumentError(
            f"{where}: x is of type {x.dtype}, which holds no means. Give x.float()."
        )
    pooled: Tensor = _AVG[len(outputs)](x, outputs)
    return pooled


@explains_calls
def adaptive_max_pool(
    x: Tensor, output_size: OutputSize, *, where: str = "adaptive_max_pool"
) -> Tensor:
    """Largest element over windows as in `adaptive_avg_pool`.

    Arguments, shapes and errors are those of `adaptive_avg_pool`.

    >>> import torch
    >>> adaptive_max_pool(torch.tensor([[[1.0, 2.0, 3.0, 4.0, 5.0]]]), 2)
    tensor([[[3., 5.]]])
    """
    return adaptive_max_pool_with_indices(x, output_size, where=where)[0]


@explains_calls
def adaptive_max_pool_with_indices(
    x: Tensor, output_size: OutputSize, *, where: str = "adaptive_max_pool"
) -> tuple[Tensor, Tensor]:
    """Largest element over windows as in `adaptive_avg_pool`, and where it was.

    Arguments and errors are those of `adaptive_avg_pool`.

    Shape:
        return: two tensors (N, C, *output_size); the second counts the elements of
            the winner's feature map in row order, from 0

    >>> import torch
    >>> adaptive_max_pool_with_indices(torch.tensor([[[5.0, 2.0, 5.0]]]), 1)
    (tensor([[[5.]]]), tensor([[[0]]]))
    """
    outputs = adaptive_sizes(spatial_sizes(x, where), output_size, where)
    pooled, index = _MAX[len(outputs)](x, outputs, return_indices=True)
    return pooled, index


@explains_calls
def global_avg_pool(
    x: Tensor, *, keepdim: bool = False, where: str = "global_avg_pool"
) -> Tensor:
    """Mean of each feature map.

    Args:
        x: A batch, with one to three spatial axes.
        keepdim: Whether the spatial axes stay, with one element each.
        where: What an error message begins with.

    Shape:
        x:      (N, C, L), (N, C, H, W) or (N, C, D, H, W)
        return: (N, C), or with ``keepdim`` (N, C, 1, ...)

    Raises:
        ShapeError: Another rank.
        ArgumentError: A spatial axis is empty.

    Source:
        Lin, Chen & Yan, Network in Network, arXiv:1312.4400, section 3.2.

    >>> import torch
    >>> global_avg_pool(torch.tensor([[[1.0, 2.0, 6.0]]]))
    tensor([[3.]])
    """
    pooled = adaptive_avg_pool(x, 1, where=where)
    return pooled if keepdim else pooled.flatten(1)


@explains_calls
def global_max_pool(
    x: Tensor, *, keepdim: bool = False, where: str = "global_max_pool"
) -> Tensor:
    """Largest element of each feature map; ties go to the first.

    Arguments, shapes and errors are those of `global_avg_pool`.

    >>> import torch
    >>> global_max_pool(torch.tensor([[[1.0, 6.0, 2.0]]]))
    tensor([[6.]])
    """
    pooled = adaptive_max_pool(x, 1, where=where)
    return pooled if keepdim else pooled.flatten(1)


def adaptive_sizes(
    sizes: Sequence[int], output_size: OutputSize, where: str
) -> list[int]:
    """Output lengths, None replaced by the input's.

    Raises:
        ArgumentError: Not one length per axis, one that is not an integer of at
            least 1, or an empty input.

    >>> adaptive_sizes((7, 9), (3, None), "AdaptiveAvgPool2d")
    [3, 9]
    """
    wanted = parse_output_size(output_size, len(sizes), where)
    for axis, size in enumerate(sizes):
        require(f"{where}, {axis_name(axis, len(sizes))}", "size", size, 1)
    return [
        size if want is None else want for want, size in zip(wanted, sizes, strict=True)
    ]


def parse_output_size(
    output_size: OutputSize, axes: int, where: str
) -> tuple[int | None, ...]:
    """One output length, or None, per axis.

    Raises:
        ArgumentError: Not one per axis, or not an integer of at least 1.

    >>> parse_output_size(3, 2, "AdaptiveAvgPool2d")
    (3, 3)
    """
    if output_size is None or not isinstance(output_size, Sequence):
        wanted: tuple[int | None, ...] = (output_size,) * axes
    else:
        wanted = tuple(output_size)
    if len(wanted) != axes:
        raise ArgumentError(
            f"{where}: output_size={output_size!r} has {len(wanted)} values for {axes} "
            f"spatial {'axis' if axes == 1 else 'axes'}. Give one integer, or {axes}."
        )
    for one in wanted:
        if one is not None:
            require(where, "output_size", one, 1)
    return wanted
