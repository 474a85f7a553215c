"""Values put back where pooling took them from."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from convscope.arithmetic import (
    PaddingLike,
    PerAxis,
    parse_padding,
    per_axis,
    transposed_output_shape,
)
from convscope.errors import ArgumentError, ShapeError, explains_calls
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
        ShapeError: Shapes differ, sizes do not fit, or an index lies outside the
            output or outside the window of its place: it is of another size, or of
            another pooling.
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
    if indices.is_floating_point() or indices.is_complex():
        raise ArgumentError(
            f"{where}: indices are of type {indices.dtype}. Give them as pooling "
            "returned them, whole numbers."
        )
    indices = indices.long()
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
    kernel = per_axis(kernel_size, len(sizes), name="kernel_size", where=where)
    _require_own_indices(
        indices,
        outputs,
        tuple(zip(kernel, strides, _befores(padding, len(sizes), where), strict=True)),
        where,
    )
    places = x.new_zeros(()).expand(*x.shape[:2], math.prod(outputs))
    flat = places.scatter(-1, indices.flatten(2), x.flatten(2))
    return like_layout(flat.view(*x.shape[:2], *outputs), x)


def _befores(padding: PaddingLike, axes: int, where: str) -> tuple[int, ...]:
    """Elements that the pooling added before each axis; names were refused before."""
    pairs = parse_padding(padding, axes, where=where)
    return tuple(pair[0] for pair in pairs if not isinstance(pair, str))


def _require_own_indices(
    indices: Tensor,
    outputs: tuple[int, ...],
    geometry: tuple[tuple[int, int, int], ...],
    where: str,
) -> None:
    """Refuse indices of another size or another pooling, where values can be read.

    Args:
        indices: (N, C, *sizes), in row order of a map of ``outputs``.
        outputs: Spatial sizes that values go to.
        geometry: Kernel, stride and padding before, for each axis.
        where: What an error message begins with.
    """
    if torch.compiler.is_compiling() or indices.is_meta:
        return
    inside = (indices >= 0) & (indices < math.prod(outputs))
    rest, own = indices, inside
    for axis in reversed(range(len(outputs))):
        kernel, stride, before = geometry[axis]
        place, rest = rest % outputs[axis], rest // outputs[axis]
        start = torch.arange(indices.shape[axis + 2], device=indices.device)
        start = (start * stride - before).view(-1, *(1,) * (len(outputs) - 1 - axis))
        own = own & (place >= start) & (place < start + kernel)
    try:
        if own.all():
            return
    except RuntimeError:  # inside vmap or on fake tensors there are no values to read
        return
    if not inside.all():
        first = int(indices[~inside][0])
        raise ShapeError(
            f"{where}: an index of {first} lies outside an output of {outputs}, which "
            f"has {math.prod(outputs)} elements. Give output_size, the size before "
            "pooling."
        )
    wrong: list[int] = (~own).nonzero()[0].tolist()
    raise ShapeError(
        f"{where}: indices{wrong}={int(indices[tuple(wrong)])} lies outside the window "
        f"of its place in an output of {outputs}, so it is of another size or another "
        "pooling. Give output_size, the size before pooling, and the arguments of that "
        "pooling."
    )


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
