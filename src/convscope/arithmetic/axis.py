"""One axis of one layer: the span of a kernel, and values written per axis.

Everything else in this package is built on these functions:

``kernel_span(kernel_size, dilation)``      input elements from first to last tap
``per_axis(value, axes, name=, ...)``       ``3`` or ``(3, 5)`` -> one value per axis
``both_ends(padding)``                      ``3`` or ``(0, 1)`` -> ``(before, after)``
``require(where, name, value, minimum)``    refuse what is not an integer in range
"""

from collections.abc import Sequence
from typing import TypeAlias

from convscope.errors import ArgumentError

PerAxis: TypeAlias = int | Sequence[int]
"""One integer for all axes, or one for each."""
EndsLike: TypeAlias = int | tuple[int, int]
"""One integer for both ends of an axis, or one for each."""
OWN_FOR_EACH = ("input_size", "output_size")  # one value is for one axis only
TOO_MANY = 2**40  # torch counts in 64 bits, products of sizes too


def require(where: str, name: str, value: object, minimum: int) -> None:
    """Refuse a value that is not an integer of at least ``minimum``.

    Raises:
        ArgumentError: ``value`` is no integer, is below ``minimum``, or is larger than
            any size.

    >>> require("Conv2d", "stride", 1, 1)
    """
    whole = hasattr(value, "__index__") and not isinstance(value, bool)
    if whole and value >= TOO_MANY:  # type: ignore[operator]  # an integer by now
        raise ArgumentError(
            f"{where}: {name}={value!r} is more than any tensor has elements. Use "
            "less than 2 ** 40."
        )
    if not whole or value < minimum:  # type: ignore[operator]
        raise ArgumentError(
            f"{where}: {name}={value!r} is not an integer of at least {minimum}. "
            f"Use {name}={minimum} or more."
        )


def kernel_span(kernel_size: int, dilation: int = 1) -> int:
    """Input elements from the first tap to the last: ``dilation * (taps - 1) + 1``.

    Args:
        kernel_size: Window length, in taps, at least 1.
        dilation: Step from one tap to the next, in input elements, at least 1.

    >>> kernel_span(3, dilation=2)
    5
    """
    return dilation * (kernel_size - 1) + 1


def both_ends(padding: EndsLike, *, where: str = "both_ends") -> tuple[int, int]:
    """Elements added ``(before, after)`` one axis, from such a pair or one integer.

    Args:
        padding: Elements at each end, or a pair.
        where: What the error message begins with.

    Raises:
        ArgumentError: Neither an integer nor a pair of them, or a negative one.

    >>> both_ends(3)
    (3, 3)
    >>> both_ends((0, 1))
    (0, 1)
    """
    if isinstance(padding, Sequence) and not isinstance(padding, str):
        if len(padding) != 2:
            raise ArgumentError(
                f"{where}: padding={padding!r} has {len(padding)} "
                f"{'value' if len(padding) == 1 else 'values'} for one axis. Give one "
                "integer, or a pair (before, after)."
            )
        before, after = padding
    elif isinstance(padding, str):
        raise ArgumentError(
            f"{where}: padding={padding!r} is a name, which stands for a number where "
            "kernel and stride are known. Give what resolve_padding makes of it, or "
            "call output_shape."
        )
    else:
        before = after = padding
    require(where, "padding", before, 0)
    require(where, "padding", after, 0)
    return (before, after)


def per_axis(
    value: int | Sequence[int],
    axes: int,
    *,
    name: str,
    minimum: int = 1,
    where: str = "per_axis",
) -> tuple[int, ...]:
    """One integer per spatial axis, from one integer or from one for each axis.

    Args:
        value: One integer for all axes, by itself or in a sequence, or ``axes`` of
            them; sizes of inputs and outputs in a sequence are always ``axes``.
        axes: Number of spatial axes.
        name: What the value is called in an error message.
        minimum: Smallest allowed value.
        where: What the error message begins with.

    Raises:
        ArgumentError: A wrong number of values, or a value that is not an integer
            of at least ``minimum``.

    >>> per_axis(3, 2, name="kernel_size")
    (3, 3)
    """
    if isinstance(value, Sequence) and not isinstance(value, str):
        values = tuple(value)
        if len(values) == 1 and name not in OWN_FOR_EACH:
            values *= axes  # as torch takes it
        if len(values) != axes:
            raise ArgumentError(
                f"{where}: {name}={value!r} has {len(values)} values for {axes} "
                f"spatial {'axis' if axes == 1 else 'axes'}. "
                f"Give one integer, or {axes}."
            )
        for one in values:
            require(where, name, one, minimum)
        return values
    require(where, name, value, minimum)
    return (value,) * axes
