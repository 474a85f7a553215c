"""Values put back where pooling took them from."""

import math
from collections.abc import Sequence

from torch import Tensor

from convscope.arithmetic import PaddingLike, PerAxis, per_axis, transposed_output_shape
from convscope.errors import ShapeError, explains_calls
from convscope.functional.pool_window import like_layout, spatial_sizes


@explains_calls
def max_unpool(
    x: Tensor,
    indices: Tensor,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: PaddingLike = 0,
    output_size: Sequence[int] | None = None,
    *,
    where: str = "max_unpool",
) -> Tensor:
    """Each value at its index, and 0 everywhere else.

    Args:
        x: What pooling gave, a batch with one to three spatial axes.
        indices: Where each value was, from `max_pool_with_indices`. Where several
            windows had one winner, its values are equal.
        kernel_size: Window lengths of the pooling, in elements.
        stride: Steps between windows, in elements; None for the kernel size.
        padding: Numbers, as `convscope.arithmetic.parse_padding` reads them.
        output_size: What the pooling had before it: spatial lengths, in elements,
            less than a stride beside those that its arguments give; or the whole
            shape. None takes the latter.
        where: What an error message begins with.

    Shape:
        x, indices: (N, C, L), (N, C, H, W) or (N, C, D, H, W)
        return:     the same rank

    Raises:
        ShapeError: Shapes differ, sizes do not fit, or an index lies outside.
        ArgumentError: A value is not in its range, or padding is a name.

    Source:
        ``torch.nn.functional.max_unpool2d``; Zeiler, Taylor & Fergus 2011.

    >>> import torch
    >>> x, indices = torch.tensor([[[3.0, 5.0]]]), torch.tensor([[[0, 3]]])
    >>> max_unpool(x, indices, 2)
    tensor([[[3., 0., 0., 5.]]])
    """
    sizes = spatial_sizes(x, where)
    if indices.shape != x.shape:
        raise ShapeError(
            f"{where}: indices have shape {tuple(indices.shape)}, x has "
            f"{tuple(x.shape)}. Give both as one pooling returned them."
        )
    strides = per_axis(
        kernel_size if stride is None else stride,
        len(sizes),
        name="stride",
        where=where,
    )
    outputs = transposed_output_shape(
        sizes, kernel_size, stride=strides, padding=padding, where=where
    )
    if output_size is not None:
        outputs = _chosen(output_size, x, outputs, strides, where)
    places = x.new_zeros(()).expand(*x.shape[:2], math.prod(outputs))
    try:
        flat = places.scatter(-1, indices.flatten(2), x.flatten(2))
    except (RuntimeError, IndexError) as error:
        if "out of bounds" not in str(error):
            raise
        raise ShapeError(
            f"{where}: an index of {int(indices.max())} lies outside an output of "
            f"{outputs}, which has {math.prod(outputs)} elements. Give output_size, "
            "the size before pooling."
        ) from None
    return like_layout(flat.view(*x.shape[:2], *outputs), x)


def _chosen(
    output_size: Sequence[int],
    x: Tensor,
    derived: tuple[int, ...],
    strides: tuple[int, ...],
    where: str,
) -> tuple[int, ...]:
    whole = len(output_size) == x.ndim
    sizes = per_axis(
        tuple(output_size)[2:] if whole else tuple(output_size),
        len(derived),
        name="output_size",
        where=where,
    )
    for size, usual, stride in zip(sizes, derived, strides, strict=True):
        if abs(size - usual) >= stride:
            raise ShapeError(
                f"{where}: output_size={sizes} is not less than stride={strides} "
                f"beside {derived}, which the arguments of the pooling give. Use the "
                "size before pooling."
            )
    return sizes
