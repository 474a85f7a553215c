"""Convolution as a matrix: what it would be as a fully connected layer.

``conv_matrix(weight, input_size, ...)``   the (doubly block) Toeplitz matrix, sparse

Each row is an output, each column an input; an entry is the tap through which the one
sees the other. The same few weights stand on every diagonal of a block, and all else is
zero: sparsity and sharing, to be looked at.
"""

from collections.abc import Sequence
from math import prod
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from convscope.arithmetic import (
    PaddingLike,
    PerAxis,
    per_axis,
    transposed_output_shape,
    windows,
)
from convscope.errors import ArgumentError, ShapeError, UnknownNameError, explains_calls
from convscope.functional.geometry import Geometry, read_geometry, reversed_kernel
from convscope.functional.padding import filled

MatrixPadding = Literal[
    "zeros", "reflect", "symmetric", "replicate", "circular", "partial"
]
MATRIX_PADDINGS: tuple[MatrixPadding, ...] = get_args(MatrixPadding)
INDEX_BYTES = 16  # a row and a column, 8 bytes each


@explains_calls
def conv_matrix(
    weight: Tensor,
    input_size: PerAxis,
    *,
    stride: PerAxis = 1,
    padding: PaddingLike = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    padding_mode: MatrixPadding = "zeros",
    flip: bool = False,
    transposed: bool = False,
    output_padding: PerAxis = 0,
    max_bytes: int = 2**30,
    where: str = "conv_matrix",
) -> Tensor:
    """The matrix that, times a flattened input, gives the flattened convolution.

    In 1-D, with one channel, it is a Toeplitz matrix: constant along diagonals. In 2-D
    it is made of Toeplitz blocks that are themselves constant along diagonals, in 3-D
    once more. Its transpose is the matrix of the transposed convolution, which is
    what gives that operation its name.

    The result is sparse in the COO layout, coalesced, in row order: gradients of its
    entries reach ``weight``, its transpose is as cheap as itself, and ``to_dense`` and
    ``to_sparse_csr`` give the other forms. Where padding repeats the input, entries
    that meet are summed.

    Args:
        weight: As `conv` takes it; as `conv_transpose` takes it if ``transposed``.
        input_size: Spatial sizes of the input, in elements; one integer serves all
            axes.
        stride: Steps between windows, in input elements.
        padding: A name or numbers, as `arithmetic.parse_padding` reads them.
        dilation: Steps between taps, in input elements.
        groups: Blocks of channels that do not see each other.
        padding_mode: As in `conv`; all but ``constant``, which adds to the output what
            is not a product with the input.
        flip: Whether the kernel is reversed along every spatial axis.
        transposed: Whether it is the transposed convolution.
        output_padding: Elements added at the end of a transposed convolution's output.
        max_bytes: Largest matrix to build, indices included.
        where: What an error message begins with.

    Shape:
        weight: (C_out, C_in / groups, *kernel), or (C_in, C_out / groups, *kernel)
        return: (C_out * outputs, C_in * inputs)

    Raises:
        ShapeError: PerAxis, channels or groups do not fit together.
        UnknownNameError: Another name of a padding or of a padding mode.
        ArgumentError: The matrix is larger than ``max_bytes``; ``constant`` padding;
            a transposed convolution with a padding mode, or another with
            ``output_padding``; a value out of its range.

    Source:
        Goodfellow, Bengio & Courville, Deep Learning, section 9.1; Dumoulin & Visin,
        arXiv:1603.07285, section 4.1.

    >>> conv_matrix(torch.tensor([[[1.0, 2.0, 3.0]]]), 4, padding=1).to_dense()
    tensor([[2., 3., 0., 0.],
            [1., 2., 3., 0.],
            [0., 1., 2., 3.],
            [0., 0., 1., 2.]])
    """
    _require_linear(padding_mode, transposed, where)
    if output_padding != 0 and not transposed:
        raise ArgumentError(
            f"{where}: output_padding={output_padding!r} belongs to a transposed "
            "convolution. Set transposed=True, or leave it out."
        )
    axes = weight.ndim - 2
    if axes not in (1, 2, 3):
        raise ShapeError(
            f"{where}: weight has shape {tuple(weight.shape)}, which is {weight.ndim} "
            "axes. Give 3, 4 or 5: two of channels, the others of taps."
        )
    small = sizes = per_axis(input_size, axes, name="input_size", where=where)
    if transposed:
        sizes = transposed_output_shape(
            small,
            tuple(weight.shape[2:]),
            stride=stride,
            padding=padding,
            dilation=dilation,
            output_padding=output_padding,
            where=where,
        )
    channels = weight.shape[1] * groups if isinstance(groups, int) else 1
    image = torch.empty(channels, *sizes, device="meta")
    geometry = read_geometry(image, weight, stride, padding, dilation, groups, where)
    kernel = reversed_kernel(weight) if flip else weight
    links = [
        _axis_links(sizes[axis], weight.shape[2 + axis], geometry, axis, padding_mode)
        for axis in range(axes)
    ]
    if transposed:  # output padding may leave room for more windows than there are
        links = [link.up_to(places) for link, places in zip(links, small, strict=True)]
    entries = prod(len(link.tap) for link in links) * prod(weight.shape[:2])
    size_bytes = entries * (INDEX_BYTES + weight.element_size())
    if size_bytes > max_bytes:
        raise ArgumentError(
            f"{where}: weight={tuple(weight.shape)} on input_size={small} makes "
            f"{entries:,} non-zeros, {size_bytes:,} bytes, and max_bytes={max_bytes:,}."
            " Raise max_bytes, or use the convolution itself, which needs no matrix."
        )
    return _assembled(kernel, links, groups, sizes, transposed)


class _Links(NamedTuple):
    """Which output sees which input through which tap, each a vector of the links."""

    output: Tensor
    tap: Tensor
    input: Tensor
    factor: Tensor  # of the weight; 1 unless padding is partial
    outputs: int
    taps: int

    def up_to(self, outputs: int) -> "_Links":
        kept = self.output < outputs
        return _Links(
            self.output[kept],
            self.tap[kept],
            self.input[kept],
            self.factor[kept],
            outputs,
            self.taps,
        )


def _axis_links(
    size: int, taps: int, geometry: Geometry, axis: int, mode: MatrixPadding
) -> _Links:
    """The links along one axis."""
    pair = geometry.padding[axis]
    positions = torch.arange(size, dtype=torch.float64)[None, None]
    if mode == "zeros" or mode == "partial":  # nothing is there: -1 stands for it
        padded = filled(positions, [pair], "constant", -1, where="conv_matrix")
    else:
        padded = filled(positions, [pair], mode, 0, where="conv_matrix")
    table = windows(
        size + sum(pair),
        taps,
        stride=geometry.stride[axis],
        dilation=geometry.dilation[axis],
    )
    under = padded[0, 0].long()[torch.tensor(table)]  # (outputs, taps)
    hit = under >= 0
    output, tap = hit.nonzero(as_tuple=True)
    factor = torch.ones(len(tap), dtype=torch.float64)
    if mode == "partial":
        factor = taps / hit.sum(1)[output].double()
    return _Links(output, tap, under[hit], factor, len(table), taps)


def _assembled(
    weight: Tensor,
    links: Sequence[_Links],
    groups: int,
    sizes: Sequence[int],
    transposed: bool,
) -> Tensor:
    """The matrix, from the links along each axis."""
    output = tap = under = torch.zeros(1, dtype=torch.int64)
    factor = torch.ones(1, dtype=torch.float64)
    for link, size in zip(links, sizes, strict=True):
        output = (output[:, None] * link.outputs + link.output).flatten()
        tap = (tap[:, None] * link.taps + link.tap).flatten()
        under = (under[:, None] * size + link.input).flatten()
        factor = (factor[:, None] * link.factor).flatten()
    out_channels, of_group = weight.shape[:2]
    outputs, inputs = prod(link.outputs for link in links), prod(sizes)
    to = torch.arange(out_channels)[:, None, None]
    along = torch.arange(of_group)[:, None]
    came = to // (out_channels // groups) * of_group + along
    shape = (out_channels, of_group, len(tap))
    rows, columns = to * outputs + output, came * inputs + under
    height, width = out_channels * outputs, of_group * groups * inputs
    if transposed:
        rows, columns, height, width = columns, rows, width, height
    place, which = torch.unique(
        (rows * width + columns).expand(shape).flatten(), return_inverse=True
    )
    which = which.to(weight.device)
    index = ((to * of_group + along) * prod(weight.shape[2:]) + tap).flatten()
    values = weight.flatten()[index.to(weight.device)]
    values = values * factor.to(values).repeat(out_channels * of_group)
    summed = values.new_zeros(len(place)).index_add(0, which, values)
    return torch.sparse_coo_tensor(
        torch.stack([place // width, place % width]).to(weight.device),
        summed,
        (height, width),
        is_coalesced=True,
        check_invariants=False,
    )


def _require_linear(mode: str, transposed: bool, where: str) -> None:
    if mode == "constant":
        raise ArgumentError(
            f"{where}: padding_mode='constant' adds to the output what is not a "
            "product with the input, which no matrix does. Use 'zeros'."
        )
    if mode not in MATRIX_PADDINGS:
        raise UnknownNameError("padding_mode", str(mode), MATRIX_PADDINGS)
    if transposed and mode != "zeros":
        raise ArgumentError(
            f"{where}: padding_mode={mode!r} fills what padding adds, and in a "
            "transposed convolution it cuts. Use padding_mode='zeros'."
        )
