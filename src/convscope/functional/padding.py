"""What padding holds: six ways to fill the elements that it adds.

=============  =========================  ====================================
``zeros``      ``00 1234 00``
``constant``   ``vv 1234 vv``             any one value
``reflect``    ``32 1234 32``             mirrored at the outermost element
``symmetric``  ``21 1234 43``             mirrored at the outer edge: it comes twice
``replicate``  ``11 1234 44``             the outermost element
``circular``   ``34 1234 12``             as if the input went round
=============  =========================  ====================================

SciPy calls the last four ``mirror``, ``reflect``, ``nearest`` and ``wrap``.
"""

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.arithmetic import (
    BORDER_MODES,
    BorderMode,
    PaddingLike,
    border_element,
    parse_padding,
)
from convscope.arithmetic.shapes import require_room
from convscope.errors import ArgumentError, ShapeError, UnknownNameError, explains_calls
from convscope.functional.operands import require_plain

Pairs: TypeAlias = Sequence[tuple[int, int]]


@explains_calls
def pad(
    x: Tensor,
    padding: PaddingLike,
    mode: BorderMode = "zeros",
    value: float = 0.0,
    *,
    axes: int | None = None,
    where: str = "pad",
) -> Tensor:
    """The input with elements added at both ends of its last axes.

    Args:
        x: The input.
        padding: Elements to add: one integer for every side; one integer per axis;
            or one pair ``(before, after)`` per axis. No name: those need a kernel.
        mode: What the added elements hold; see the table of this module.
        value: What they hold with ``mode="constant"``.
        axes: How many axes, counted from the last, are spatial; where None, as many
            as ``padding`` has entries, or all but batch and channels.
        where: What an error message begins with.

    Shape:
        x:      (..., *space)
        return: (..., *space), each longer by before + after

    Raises:
        UnknownNameError: Another mode.
        ArgumentError: Padding in no such form.
        ShapeError: The input is too small to be mirrored or to go round so far.

    >>> pad(torch.tensor([[[1, 2, 3, 4]]]), 2, "symmetric")
    tensor([[[2, 1, 1, 2, 3, 4, 4, 3]]])
    """
    require_plain(x, where)
    if mode not in BORDER_MODES:
        raise UnknownNameError("padding_mode", str(mode), BORDER_MODES)
    if axes is None:
        axes = len(padding) if isinstance(padding, list | tuple) else x.ndim - 2
    pairs: list[tuple[int, int]] = []
    for pair in parse_padding(padding, axes, where=where):
        if isinstance(pair, str):
            raise ArgumentError(
                f"{where}: padding={padding!r} is a name, which needs a kernel to mean "
                "a number. Give numbers, or the output of resolve_paddings."
            )
        pairs.append(pair)
    if x.ndim < axes:
        raise ShapeError(
            f"{where}: x has shape {tuple(x.shape)}, which is {x.ndim} axes, and "
            f"padding={padding!r} is for {axes}. Give padding for at most {x.ndim}."
        )
    return filled(x, pairs, mode, value, where=where)


def filled(
    x: Tensor, pairs: Pairs, mode: BorderMode, value: float, *, where: str
) -> Tensor:
    """`pad` after its arguments have been read."""
    if not any(map(any, pairs)):
        return x
    flat = [amount for pair in reversed(pairs) for amount in pair]
    if mode == "zeros":
        return F.pad(x, flat)
    if mode == "constant":
        return F.pad(x, flat, value=value)
    require_room(x.shape[x.ndim - len(pairs) :], pairs, mode, where=where)
    if mode in ("symmetric", "circular"):  # torch has the second, not channels-last
        for axis, pair in enumerate(pairs, start=x.ndim - len(pairs)):
            x = _joined(x, axis, *pair, mirrored=mode == "symmetric")
        return x
    lead = x.shape[: x.ndim - len(pairs)]
    if len(pairs) > 3 or not x.is_floating_point():  # torch has these for no such x
        for axis, pair in enumerate(pairs, start=x.ndim - len(pairs)):
            x = x.index_select(axis, _sources(x, axis, pair, mode))
        return x
    if len(lead) in (1, 2):  # the ranks that torch takes
        return F.pad(x, flat, mode)
    padded = F.pad(x.reshape(-1, *x.shape[len(lead) :]), flat, mode)
    return padded.reshape(*lead, *padded.shape[1:])


def _sources(x: Tensor, axis: int, pair: tuple[int, int], mode: BorderMode) -> Tensor:
    """The element of the axis that each element of the longer one is."""
    size = x.shape[axis]
    places = range(-pair[0], size + pair[1])
    found = [border_element(place, size, mode) for place in places]
    return torch.tensor(found, device=x.device)


def _joined(x: Tensor, axis: int, before: int, after: int, *, mirrored: bool) -> Tensor:
    first, last = x.shape[axis] - before, x.shape[axis] - after
    if mirrored:
        start, end = x.narrow(axis, 0, before), x.narrow(axis, last, after)
        return torch.cat([start.flip(axis), x, end.flip(axis)], axis)
    return torch.cat([x.narrow(axis, first, before), x, x.narrow(axis, 0, after)], axis)
