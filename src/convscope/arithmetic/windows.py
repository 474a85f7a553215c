"""Which input element lies under which tap: the one table of every feature.

Each function returns one row per output element and one column per tap; an entry is
the index of an input element, or None on padding (or where a tap meets nothing).
Partial padding, animations, the page, explanations and exact receptive fields all
read these tables.

``windows(size, kernel_size, stride=, padding=, dilation=, ceil_mode=)``
``transposed_windows(size, kernel_size, ..., output_padding=)``
``adaptive_windows(size, outputs)``      adaptive pooling
``resize_windows(size, outputs, mode=, align_corners=)``    interpolation
"""

from fractions import Fraction
from math import floor
from typing import Literal, TypeAlias

from convscope.arithmetic.axis import EndsLike, both_ends, require
from convscope.arithmetic.shapes import (
    CeilMode,
    output_size,
    transposed_output_size,
)
from convscope.errors import UnknownNameError, explains_calls

Table: TypeAlias = list[list[int | None]]
"""For each window, the input element under each tap; None for padding."""
ResizeMode = Literal["nearest", "linear", "cubic"]
"""How values between elements are found."""


@explains_calls
def windows(
    size: int,
    kernel_size: int,
    *,
    stride: int = 1,
    padding: EndsLike = 0,
    dilation: int = 1,
    ceil_mode: CeilMode = False,
) -> Table:
    """The input element under each tap, window by window; None on padding.

    Args:
        size: Input length, in elements.
        kernel_size: Window length, in taps.
        stride: Step from one window to the next, in input elements.
        padding: Elements added at each end of the input, or ``(before, after)`` it.
        dilation: Step from one tap to the next, in input elements.
        ceil_mode: Whether, and by whose rule, a last window may reach past the end.

    Raises:
        ShapeError: No window fits; see `output_size`.

    >>> windows(4, 3, stride=2, padding=(1, 0))
    [[None, 0, 1], [1, 2, 3]]
    """
    outputs = output_size(
        size,
        kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
        where="windows",
    )
    before, _ = both_ends(padding)
    starts = [stride * output - before for output in range(outputs)]
    return [
        [_inside(start + dilation * tap, size) for tap in range(kernel_size)]
        for start in starts
    ]


@explains_calls
def transposed_windows(
    size: int,
    kernel_size: int,
    *,
    stride: int = 1,
    padding: EndsLike = 0,
    dilation: int = 1,
    output_padding: int = 0,
) -> Table:
    """The input element that reaches each output through each tap; None for none.

    Column ``t`` belongs to tap ``t`` of the weight as it is stored: output ``o``
    receives input ``i`` through ``t`` where ``o = i * stride - before + t * dilation``.

    Args:
        size: Input length, in elements.
        kernel_size: Window length, in taps.
        stride: Step from one window to the next, in output elements.
        padding: Elements cut off each end of the output, or ``(before, after)``.
        dilation: Step from one tap to the next, in output elements.
        output_padding: Elements added at the end of the output.

    Raises:
        ShapeError: Nothing is left of the output; see `transposed_output_size`.

    >>> transposed_windows(2, 3, stride=2)
    [[0, None, None], [None, 0, None], [1, None, 0], [None, 1, None], [None, None, 1]]
    """
    outputs = transposed_output_size(
        size,
        kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        output_padding=output_padding,
        where="transposed_windows",
    )
    before, _ = both_ends(padding)
    table: Table = []
    for output in range(outputs):
        places = [output + before - dilation * tap for tap in range(kernel_size)]
        table.append(
            [
                _inside(place // stride, size) if place % stride == 0 else None
                for place in places
            ]
        )
    return table


@explains_calls
def adaptive_windows(size: int, outputs: int) -> list[list[int]]:
    """The input elements under each window of adaptive pooling.

    Window ``o`` runs from ``floor(o * size / outputs)`` up to, not including,
    ``ceil((o + 1) * size / outputs)``; the windows differ in length and may overlap.

    Args:
        size: Input length, in elements, at least 1.
        outputs: Output length, in elements, at least 1.

    Raises:
        ArgumentError: A value is not an integer of at least 1.

    >>> adaptive_windows(5, 2)
    [[0, 1, 2], [2, 3, 4]]
    """
    require("adaptive_windows", "size", size, 1)
    require("adaptive_windows", "outputs", outputs, 1)
    return [
        list(range(o * size // outputs, -(-(o + 1) * size // outputs)))
        for o in range(outputs)
    ]


@explains_calls
def resize_windows(
    size: int,
    outputs: int,
    *,
    mode: ResizeMode = "nearest",
    align_corners: bool = False,
) -> list[list[int]]:
    """The input elements that each output of an interpolation is made from.

    Elements whose weight is zero are left out; elements beyond the border are the
    border's own, as in torch.

    Args:
        size: Input length, in elements, at least 1.
        outputs: Output length, in elements, at least 1.
        mode: ``"nearest"`` takes 1 element, ``"linear"`` 2, ``"cubic"`` 4.
        align_corners: Whether the centers of the corner elements coincide, instead
            of their outer edges; ``"nearest"`` has no such choice.

    Raises:
        UnknownNameError: Another mode.
        ArgumentError: A length is not an integer of at least 1.

    Source:
        ``torch.nn.functional.interpolate`` with an output size.

    >>> resize_windows(2, 4, mode="linear")
    [[0], [0, 1], [0, 1], [1]]
    """
    require("resize_windows", "size", size, 1)
    require("resize_windows", "outputs", outputs, 1)
    if mode not in ("nearest", "linear", "cubic"):
        raise UnknownNameError("mode", mode, ["nearest", "linear", "cubic"])
    last = size - 1
    table = []
    for output in range(outputs):
        elements = interpolated_from(
            output, size, outputs, mode, align_corners=align_corners
        )
        if mode == "linear" and elements[0] < 0:
            elements = range(1)  # torch moves the place itself to 0, cubic does not
        table.append(sorted({min(max(element, 0), last) for element in elements}))
    return table


def interpolated_from(
    output: int,
    size: int,
    outputs: int,
    mode: ResizeMode = "nearest",
    *,
    align_corners: bool = False,
) -> range:
    """Elements with a weight other than zero in one interpolated value.

    Borders are not regarded: an index may lie outside the input.

    Args:
        output: Index of the value.
        size: Input length, in elements.
        outputs: Output length, in elements.
        mode: As in `resize_windows`.
        align_corners: As in `resize_windows`.

    >>> interpolated_from(0, 2, 4, "linear")
    range(-1, 1)
    """
    if mode == "nearest":
        place = Fraction(output * size // outputs)
    elif align_corners:
        place = Fraction(output * (size - 1), max(1, outputs - 1))
    else:
        place = Fraction((2 * output + 1) * size - outputs, 2 * outputs)
    left = floor(place)
    if place == left:
        return range(left, left + 1)
    return range(left, left + 2) if mode == "linear" else range(left - 1, left + 3)


def _inside(element: int, size: int) -> int | None:
    return element if 0 <= element < size else None
