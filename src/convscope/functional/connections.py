"""Which output channel sees which input channel, as a table of booleans.

``read_connections(table, out_channels, in_channels)``   the table as a tensor, checked
``pair_places(table)``                 where each connected pair is, in row order
``dense_weight(pairs, table)``         kernels of the pairs -> the whole weight
"""

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from convscope.errors import ShapeError, explains_calls

Connections: TypeAlias = Tensor | Sequence[Sequence[bool]]


@explains_calls
def read_connections(
    table: Connections,
    out_channels: int,
    in_channels: int,
    *,
    where: str = "read_connections",
) -> Tensor:
    """The table as a boolean tensor (out_channels, in_channels) on the CPU.

    Args:
        table: Booleans or 0 and 1, a row for each output channel, a column for each
            input channel.
        out_channels: Rows that it must have.
        in_channels: Columns that it must have.
        where: What an error message begins with.

    Raises:
        ShapeError: Another shape, a value besides 0 and 1, or an output that sees
            no input.

    >>> read_connections([[1, 0], [1, 1]], 2, 2)
    tensor([[ True, False],
            [ True,  True]])
    """
    try:
        given = torch.as_tensor(table, device="cpu")
    except (TypeError, ValueError):
        raise ShapeError(
            f"{where}: connections are not a table of booleans. Give {out_channels} "
            f"rows of {in_channels}."
        ) from None
    if given.shape != (out_channels, in_channels):
        raise ShapeError(
            f"{where}: connections have shape {tuple(given.shape)}. Give "
            f"{out_channels} rows, one for each output channel, of {in_channels}, one "
            "for each input channel."
        )
    found = given.bool()
    if not given.eq(found).all():
        raise ShapeError(
            f"{where}: connections hold a value besides 0 and 1. Give booleans."
        )
    if not found.any(1).all():
        row = int(found.any(1).logical_not().nonzero()[0])
        raise ShapeError(
            f"{where}: connections leave output channel {row} without an input. Give "
            f"row {row} at least one, or take the channel out."
        )
    return found


def pair_places(table: Tensor) -> Tensor:
    """Place of each connected pair in the flattened table, in row order: (pairs,)."""
    return table.flatten().nonzero().flatten()


@explains_calls
def dense_weight(weight: Tensor, table: Tensor) -> Tensor:
    """The whole weight, from the kernels of the connected pairs and zeros elsewhere.

    The way back is ``dense[table]``.

    Args:
        weight: One kernel for each connected pair, in row order of the table.
        table: Which output sees which input, boolean.

    Shape:
        weight: (pairs, *kernel)
        table:  (C_out, C_in)
        return: (C_out, C_in, *kernel)

    Raises:
        ShapeError: ``weight`` does not have a kernel for each pair.

    Source:
        LeCun et al. 1998, table I.

    >>> table = torch.tensor([[True, False], [True, True]])
    >>> dense_weight(torch.tensor([[1.0], [2.0], [3.0]]), table)[..., 0]
    tensor([[1., 0.],
            [2., 3.]])
    """
    places = pair_places(table)
    if weight.shape[0] != len(places):
        raise ShapeError(
            f"dense_weight: weight has {weight.shape[0]} kernels for {len(places)} "
            "connected pairs. Give one for each."
        )
    return placed(weight, places, table.shape[0], table.shape[1])


def placed(weight: Tensor, places: Tensor, rows: int, columns: int) -> Tensor:
    """`dense_weight` for places that are known: of one shape, whatever their values."""
    kernel = weight.shape[1:]
    flat = weight.new_zeros(rows * columns, *kernel).index_copy(0, places, weight)
    return flat.view(rows, columns, *kernel)
