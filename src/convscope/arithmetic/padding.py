"""Paddings by name and by number, resolved to ``(before, after)``.

``parse_padding(padding, axes)  -> per axis a name or (before, after)``
``resolve_padding(padding, size, kernel_size, stride=, dilation=) -> (before, after)``
``resolve_paddings(padding, sizes, kernel_size, ...)`` for N axes.
``resolve_transposed_padding(padding, kernel_size, stride=, dilation=)`` what a
transposed convolution cuts off, and adds.

=============  ============================================================
``valid``      none
``same``       output is ``ceil(size / stride)``; the odd element at the end
``same_lower`` the same, with the odd element at the beginning
``full``       every window that touches the input: ``span - 1`` on each side
``causal``     no output sees a later input: ``span - 1`` before, one axis only
=============  ============================================================
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias, cast, get_args

from convscope.arithmetic.axis import kernel_span, per_axis, require
from convscope.errors import ArgumentError, UnknownNameError, explains_calls

PaddingName = Literal["valid", "same", "same_lower", "full", "causal"]
"""Paddings by name."""
PADDING_NAMES: tuple[PaddingName, ...] = get_args(PaddingName)
"""Every `PaddingName`."""

AxisPadding: TypeAlias = PaddingName | tuple[int, int]
"""The padding of one axis: a name, or (before, after)."""
PaddingLike: TypeAlias = (
    str | int | Sequence[int] | Sequence[tuple[int, int]] | tuple[AxisPadding, ...]
)
"""What `parse_padding` reads: a name or numbers, for all axes or for each."""


@explains_calls
def parse_padding(
    padding: PaddingLike, axes: int, *, where: str = "parse_padding"
) -> tuple[AxisPadding, ...]:
    """Per spatial axis a name or the elements ``(before, after)``.

    Args:
        padding: A name; one integer for every side; one integer per axis, for both
            of its sides; or one pair ``(before, after)`` per axis. What this function
            returned comes back as it is.
        axes: Number of spatial axes.
        where: What an error message begins with.

    Raises:
        UnknownNameError: A name that is not in the table of this module.
        ArgumentError: Numbers in no such form, a negative one, or ``"causal"`` with
            more than one axis.

    >>> parse_padding((1, 2), 2)
    ((1, 1), (2, 2))
    >>> parse_padding([(0, 1)], 1)
    ((0, 1),)
    """
    for name in PADDING_NAMES:
        if padding == (name,) * axes:  # as this function returned it
            padding = name
    if isinstance(padding, str):
        if padding not in PADDING_NAMES:
            raise UnknownNameError("padding", padding, PADDING_NAMES)
        if padding == "causal" and axes != 1:
            raise ArgumentError(
                f"{where}: padding='causal' needs one spatial axis in which time runs, "
                f"and there are {axes}. Use 'same', or pairs (before, after)."
            )
        return (padding,) * axes
    if isinstance(padding, Sequence) and any(isinstance(p, Sequence) for p in padding):
        return tuple(_pairs(padding, axes, where))
    numbers = cast("int | Sequence[int]", padding)
    each = per_axis(numbers, axes, name="padding", minimum=0, where=where)
    return tuple((amount, amount) for amount in each)


@explains_calls
def resolve_padding(
    padding: AxisPadding,
    size: int,
    kernel_size: int,
    *,
    stride: int = 1,
    dilation: int = 1,
) -> tuple[int, int]:
    """Elements to add ``(before, after)`` along one axis.

    Args:
        padding: A name, or a pair, which is returned as it is.
        size: Input length, in elements; only ``same`` with a stride depends on it.
        kernel_size: Window length, in taps.
        stride: Step from one window to the next, in input elements.
        dilation: Step from one tap to the next, in input elements.

    Raises:
        UnknownNameError: A name that is not in the table of this module.

    Source:
        ``same``: ONNX ``SAME_UPPER``, as in Keras; ``same_lower``: ``SAME_LOWER``.
        Unlike in torch, both may have a stride.

    >>> resolve_padding("same", 224, 7, stride=2)
    (2, 3)
    >>> resolve_padding("causal", 100, 3, dilation=4)
    (8, 0)
    """
    if not isinstance(padding, str):
        return padding
    reach = kernel_span(kernel_size, dilation) - 1
    if padding == "valid":
        return (0, 0)
    if padding == "full":
        return (reach, reach)
    if padding == "causal":
        return (reach, 0)
    if padding in ("same", "same_lower"):
        outputs = -(-size // stride)
        total = max(0, (outputs - 1) * stride + reach + 1 - size)
        less, more = total // 2, total - total // 2
        return (less, more) if padding == "same" else (more, less)
    raise UnknownNameError("padding", padding, PADDING_NAMES)


@explains_calls
def resolve_transposed_padding(
    padding: AxisPadding,
    kernel_size: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    where: str = "resolve_transposed_padding",
) -> tuple[tuple[int, int], int]:
    """Elements cut off ``(before, after)`` a transposed output, and added at its end.

    A name undoes the sizes of the convolution with that padding: ``same`` and
    ``same_lower`` give ``size * stride``, ``full`` takes the whole rim off again.

    Args:
        padding: A name, or a pair, which is returned as it is.
        kernel_size: Window length, in taps.
        stride: Step from one window to the next, in output elements.
        dilation: Step from one tap to the next, in output elements.
        where: What an error message begins with.

    Raises:
        ArgumentError: ``"causal"``, whose transpose looks ahead.

    Source:
        ``same``: as Keras' ``Conv2DTranspose``.

    >>> resolve_transposed_padding("same", 4, stride=2)
    ((1, 1), 0)
    >>> resolve_transposed_padding("same", 2, stride=3)
    ((0, 0), 1)
    """
    span = kernel_span(kernel_size, dilation)
    if padding == "causal":
        raise ArgumentError(
            f"{where}: padding='causal' would let a transposed convolution see only "
            "later inputs. To see none of them, cut the end: "
            f"padding=((0, {span - 1}),)."
        )
    size = stride if padding in ("same", "same_lower") else 1
    pair = resolve_padding(padding, size, kernel_size, stride=stride, dilation=dilation)
    return pair, max(0, size - span) if isinstance(padding, str) else 0


@explains_calls
def resolve_paddings(
    padding: PaddingLike,
    sizes: Sequence[int],
    kernel_size: int | Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    dilation: int | Sequence[int] = 1,
    where: str = "resolve_paddings",
) -> tuple[tuple[int, int], ...]:
    """Elements to add ``(before, after)``, one pair per spatial axis.

    Args:
        padding: A name or numbers, as `parse_padding` reads them.
        sizes: Input lengths, in elements.
        kernel_size: Window lengths, in taps; one integer serves all axes.
        stride: Steps between windows; one integer serves all axes.
        dilation: Steps between taps; one integer serves all axes.
        where: What an error message begins with.

    Raises:
        ArgumentError: See `parse_padding`; or a value is not one per axis.

    >>> resolve_paddings("same", (7, 8), 3, stride=2)
    ((1, 1), (0, 1))
    """
    axes = len(sizes)
    kernels = per_axis(kernel_size, axes, name="kernel_size", where=where)
    strides = per_axis(stride, axes, name="stride", where=where)
    dilations = per_axis(dilation, axes, name="dilation", where=where)
    return tuple(
        resolve_padding(one, size, kernel, stride=step, dilation=spread)
        for one, size, kernel, step, spread in zip(
            parse_padding(padding, axes, where=where),
            sizes,
            kernels,
            strides,
            dilations,
            strict=True,
        )
    )


def _pairs(padding: Sequence[object], axes: int, where: str) -> list[tuple[int, int]]:
    pairs = []
    for pair in padding:
        if not isinstance(pair, Sequence) or len(pair) != 2 or len(padding) != axes:
            raise ArgumentError(
                f"{where}: padding={padding!r} is not one pair (before, after) for "
                f"each of {axes} spatial {'axis' if axes == 1 else 'axes'}. Give a "
                "name, one integer, one integer per axis, or one pair per axis."
            )
        for amount in pair:
            require(where, "padding", amount, 0)
        pairs.append((pair[0], pair[1]))
    return pairs
