"""Padding as layers: zeros, any constant, reflected, replicated or circular.

The layers are torch's, with the same arguments and numbers: ``(left, right)`` of the
last axis first, then ``(top, bottom)``, then ``(front, back)``. What does not fit is
refused in their names.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from convscope.arithmetic import axis_name
from convscope.errors import ArgumentError, ShapeError, explains_calls
from convscope.layers.shape import require_input


class _Pad(nn.Module):
    """Padding along as many axes as the subclass says."""

    axes: ClassVar[int]
    padding: Any
    farthest: ClassVar[int | None] = None  # how much less than the size it may add

    def check_padding(self, padding: Any) -> Any:
        """The padding, one integer or two for each axis, refused if it is neither."""
        values = padding if isinstance(padding, Sequence) else (padding,)
        whole = all(type(v) is int and abs(v) < 2**40 for v in values)
        if not whole or len(values) not in {1, 2 * self.axes}:
            order = ("left, right", "top, bottom", "front, back")[: self.axes]
            raise ArgumentError(
                f"{type(self).__name__}: padding={padding!r} is not one integer or "
                f"{2 * self.axes}. Give one for all sides, or ({', '.join(order)})."
            )
        return values[0] if len(values) == 1 else padding

    @explains_calls
    def forward(self, x: Tensor) -> Tensor:
        """The input with elements added, or cut off, around it."""
        require_input(self, x, self.axes, None)
        where = type(self).__name__
        for axis in range(self.axes):
            pair = tuple(self.padding[2 * axis : 2 * axis + 2])
            size, name = x.shape[-1 - axis], axis_name(self.axes - 1 - axis, self.axes)
            if not size:
                raise ShapeError(
                    f"{where}, {name}: x of shape {tuple(x.shape)} has no elements to "
                    "pad. Give it at least 1."
                )
            if size + sum(pair) < 1:
                raise ShapeError(
                    f"{where}, {name}: padding={pair} leaves {size + sum(pair)} of "
                    f"{size} elements. Cut off at most {size - 1}."
                )
            if self.farthest is not None and max(pair) > size - self.farthest:
                raise ShapeError(
                    f"{where}, {name}: padding={pair} needs "
                    f"{max(pair) + self.farthest} elements, the input has {size}. Use "
                    f"padding at most {max(0, size - self.farthest)}, or "
                    f"ReplicationPad{self.axes}d."
                )
        padded: Tensor = super().forward(x)
        return padded


class _PlainPad(_Pad):
    """Padding that has no argument but its amount."""

    @explains_calls
    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__(self.check_padding(padding))


class _ConstantPad(_Pad):
    """Padding with any one value."""

    @explains_calls
    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(self.check_padding(padding), value)


class ZeroPad2d(_PlainPad, nn.ZeroPad2d):
    """Zeros around the input.

    Args:
        padding: Elements to add: one integer for every side, or ``(left, right, top,
            bottom)``. A negative amount cuts off.

    Shape:
        x:      (N, C, H, W) or (C, H, W)
        return: the same rank, each axis longer by both of its amounts

    Raises:
        ArgumentError: ``padding`` is not one integer or four.
        ShapeError: Another rank; or the input is too small.

    Source:
        ``torch.nn.ZeroPad2d``.

    >>> import torch
    >>> ZeroPad2d(1)(torch.zeros(1, 2, 4, 4)).shape
    torch.Size([1, 2, 6, 6])
    """

    axes = 2


class ZeroPad1d(_PlainPad, nn.ZeroPad1d):
    """`ZeroPad2d` along one axis: (N, C, L) or (C, L).

    >>> import torch
    >>> ZeroPad1d(1)(torch.zeros(1, 2, 4)).shape
    torch.Size([1, 2, 6])
    """

    axes = 1


class ZeroPad3d(_PlainPad, nn.ZeroPad3d):
    """`ZeroPad2d` along three axes: (N, C, D, H, W) or (C, D, H, W).

    >>> import torch
    >>> ZeroPad3d(1)(torch.zeros(1, 2, 4, 4, 4)).shape
    torch.Size([1, 2, 6, 6, 6])
    """

    axes = 3


class ConstantPad2d(_ConstantPad, nn.ConstantPad2d):
    """One value around the input.

    Args:
        padding: Elements to add: one integer for every side, or ``(left, right, top,
            bottom)``. A negative amount cuts off.
        value: What the added elements hold.

    Shape:
        x:      (N, C, H, W) or (C, H, W)
        return: the same rank, each axis longer by both of its amounts

    Raises:
        ArgumentError: ``padding`` is not one integer or four.
        ShapeError: Another rank; or the input is too small.

    Source:
        ``torch.nn.ConstantPad2d``.

    >>> import torch
    >>> ConstantPad2d(1, 2.5)(torch.zeros(1, 2, 4, 4)).shape
    torch.Size([1, 2, 6, 6])
    """

    axes = 2


class ConstantPad1d(_ConstantPad, nn.ConstantPad1d):
    """`ConstantPad2d` along one axis: (N, C, L) or (C, L).

    >>> import torch
    >>> ConstantPad1d(1, 2.5)(torch.zeros(1, 2, 4)).shape
    torch.Size([1, 2, 6])
    """

    axes = 1


class ConstantPad3d(_ConstantPad, nn.ConstantPad3d):
    """`ConstantPad2d` along three axes: (N, C, D, H, W) or (C, D, H, W).

    >>> import torch
    >>> ConstantPad3d(1, 2.5)(torch.zeros(1, 2, 4, 4, 4)).shape
    torch.Size([1, 2, 6, 6, 6])
    """

    axes = 3


class ReflectionPad2d(_PlainPad, nn.ReflectionPad2d):
    """The input mirrored at its outermost elements.

    Args:
        padding: Elements to add: one integer for every side, or ``(left, right, top,
            bottom)``. At most one less than the size.

    Shape:
        x:      (N, C, H, W) or (C, H, W)
        return: the same rank, each axis longer by both of its amounts

    Raises:
        ArgumentError: ``padding`` is not one integer or four.
        ShapeError: Another rank; or the input is too small.

    Source:
        ``torch.nn.ReflectionPad2d``.

    >>> import torch
    >>> ReflectionPad2d(1)(torch.zeros(1, 2, 4, 4)).shape
    torch.Size([1, 2, 6, 6])
    """

    axes = 2
    farthest = 1


class ReflectionPad1d(_PlainPad, nn.ReflectionPad1d):
    """`ReflectionPad2d` along one axis: (N, C, L) or (C, L).

    >>> import torch
    >>> ReflectionPad1d(1)(torch.zeros(1, 2, 4)).shape
    torch.Size([1, 2, 6])
    """

    axes = 1
    farthest = 1


class ReflectionPad3d(_PlainPad, nn.ReflectionPad3d):
    """`ReflectionPad2d` along three axes: (N, C, D, H, W) or (C, D, H, W).

    >>> import torch
    >>> ReflectionPad3d(1)(torch.zeros(1, 2, 4, 4, 4)).shape
    torch.Size([1, 2, 6, 6, 6])
    """

    axes = 3
    farthest = 1


class ReplicationPad2d(_PlainPad, nn.ReplicationPad2d):
    """The outermost elements of the input, repeated.

    Args:
        padding: Elements to add: one integer for every side, or ``(left, right, top,
            bottom)``.

    Shape:
        x:      (N, C, H, W) or (C, H, W)
        return: the same rank, each axis longer by both of its amounts

    Raises:
        ArgumentError: ``padding`` is not one integer or four.
        ShapeError: Another rank; or the input is too small.

    Source:
        ``torch.nn.ReplicationPad2d``.

    >>> import torch
    >>> ReplicationPad2d(1)(torch.zeros(1, 2, 4, 4)).shape
    torch.Size([1, 2, 6, 6])
    """

    axes = 2


class ReplicationPad1d(_PlainPad, nn.ReplicationPad1d):
    """`ReplicationPad2d` along one axis: (N, C, L) or (C, L).

    >>> import torch
    >>> ReplicationPad1d(1)(torch.zeros(1, 2, 4)).shape
    torch.Size([1, 2, 6])
    """

    axes = 1


class ReplicationPad3d(_PlainPad, nn.ReplicationPad3d):
    """`ReplicationPad2d` along three axes: (N, C, D, H, W) or (C, D, H, W).

    >>> import torch
    >>> ReplicationPad3d(1)(torch.zeros(1, 2, 4, 4, 4)).shape
    torch.Size([1, 2, 6, 6, 6])
    """

    axes = 3


class CircularPad2d(_PlainPad, nn.CircularPad2d):
    """The input as if it went round.

    Args:
        padding: Elements to add: one integer for every side, or ``(left, right, top,
            bottom)``. At most the size.

    Shape:
        x:      (N, C, H, W) or (C, H, W)
        return: the same rank, each axis longer by both of its amounts

    Raises:
        ArgumentError: ``padding`` is not one integer or four.
        ShapeError: Another rank; or the input is too small.

    Source:
        ``torch.nn.CircularPad2d``.

    >>> import torch
    >>> CircularPad2d(1)(torch.zeros(1, 2, 4, 4)).shape
    torch.Size([1, 2, 6, 6])
    """

    axes = 2
    farthest = 0


class CircularPad1d(_PlainPad, nn.CircularPad1d):
    """`CircularPad2d` along one axis: (N, C, L) or (C, L).

    >>> import torch
    >>> CircularPad1d(1)(torch.zeros(1, 2, 4)).shape
    torch.Size([1, 2, 6])
    """

    axes = 1
    farthest = 0


class CircularPad3d(_PlainPad, nn.CircularPad3d):
    """`CircularPad2d` along three axes: (N, C, D, H, W) or (C, D, H, W).

    >>> import torch
    >>> CircularPad3d(1)(torch.zeros(1, 2, 4, 4, 4)).shape
    torch.Size([1, 2, 6, 6, 6])
    """

    axes = 3
    farthest = 0
