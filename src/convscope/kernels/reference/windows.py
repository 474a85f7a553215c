"""The one loop of convolution and pooling: every window, and every tap in it.

``each_window``             windows over the input, of convolution and pooling
``each_transposed_window``  what reaches each output of a transposed convolution

Both give ``place, window``: where the output is, and the taps that meet an element of
the input, in row order. Taps on the padding are left out: they add 0 to a sum and take
no part in a maximum.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import TypeAlias

import numpy as np

from convscope.arithmetic import (
    CeilMode,
    PaddingLike,
    Table,
    parse_padding,
    per_axis,
    resolve_paddings,
    transposed_output_shape,
    transposed_windows,
    windows,
)
from convscope.kernels.reference.arrays import Place

PerAxis: TypeAlias = int | Sequence[int]
Window: TypeAlias = list[tuple[Place, Place]]  # (tap, element of the input)


def each_window(
    sizes: Sequence[int],
    kernel_size: PerAxis,
    *,
    stride: PerAxis = 1,
    padding: PaddingLike = 0,
    dilation: PerAxis = 1,
    ceil_mode: CeilMode = False,
) -> Iterator[tuple[Place, Window]]:
    """Each place of the output, with the taps and elements that it is made of.

    >>> for place, window in each_window((3,), 2, padding=1, stride=2):
    ...     print(place, window)
    (0,) [((1,), (0,))]
    (1,) [((0,), (1,)), ((1,), (2,))]
    """
    axes = len(sizes)
    arguments = zip(
        sizes,
        per_axis(kernel_size, axes, name="kernel_size"),
        per_axis(stride, axes, name="stride"),
        resolve_paddings(padding, sizes, kernel_size, stride=stride, dilation=dilation),
        per_axis(dilation, axes, name="dilation"),
        strict=True,
    )
    tables = [
        windows(size, taps, stride=s, padding=p, dilation=d, ceil_mode=ceil_mode)
        for size, taps, s, p, d in arguments
    ]
    return _each(tables)


def each_transposed_window(
    sizes: Sequence[int],
    kernel_size: PerAxis,
    *,
    stride: PerAxis = 1,
    padding: PaddingLike = 0,
    dilation: PerAxis = 1,
    output_padding: PerAxis = 0,
) -> Iterator[tuple[Place, Window]]:
    """Each place of the output, with the taps through which elements reach it.

    >>> for place, window in each_transposed_window((2,), 2, stride=1):
    ...     print(place, window)
    (0,) [((0,), (0,))]
    (1,) [((0,), (1,)), ((1,), (0,))]
    (2,) [((1,), (1,))]
    """
    axes = len(sizes)
    transposed_output_shape(  # refuses what does not fit, and paddings by name
        sizes,
        kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        output_padding=output_padding,
    )
    arguments = zip(
        sizes,
        per_axis(kernel_size, axes, name="kernel_size"),
        per_axis(stride, axes, name="stride"),
        [pair for pair in parse_padding(padding, axes) if not isinstance(pair, str)],
        per_axis(dilation, axes, name="dilation"),
        per_axis(output_padding, axes, name="output_padding", minimum=0),
        strict=True,
    )
    tables = [
        transposed_windows(
            size, taps, stride=s, padding=p, dilation=d, output_padding=more
        )
        for size, taps, s, p, d, more in arguments
    ]
    return _each(tables)


def _each(tables: Sequence[Table]) -> Iterator[tuple[Place, Window]]:
    for place in np.ndindex(*map(len, tables)):
        rows = [table[index] for table, index in zip(tables, place, strict=True)]
        inside = [
            [(tap, element) for tap, element in enumerate(row) if element is not None]
            for row in rows
        ]
        yield (
            place,
            [
                (tuple(tap for tap, _ in pairs), tuple(element for _, element in pairs))
                for pairs in product(*inside)
            ],
        )
