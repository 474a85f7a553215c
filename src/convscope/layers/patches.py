"""``Unfold`` and ``Fold``: windows as columns of a matrix, and back.

The layers are torch's, with the same arguments and numbers; what does not fit is
refused in their names.
"""

from math import prod

from torch import Tensor, nn

from convscope.arithmetic import PerAxis, output_shape, per_axis
from convscope.errors import ShapeError, explains_calls
from convscope.layers.shape import require_input


def _spread(value: PerAxis, where: str, name: str, minimum: int = 1) -> PerAxis:
    """The value as it is, or from one in a sequence one for each axis."""
    each = per_axis(value, 2, name=name, minimum=minimum, where=where)
    return value if isinstance(value, int) else each


class Unfold(nn.Unfold):
    """Each window of an image as a column.

    Args:
        kernel_size: Window lengths, in taps; one integer serves both axes.
        dilation: Steps between taps, in elements.
        padding: Zeros at each end of an axis, in elements.
        stride: Steps between windows, in elements.

    Shape:
        x:      (N, C, H, W) or (C, H, W)
        return: (N, C * kH * kW, windows) or without N

    Raises:
        ArgumentError: A value is not in its range, or not one per axis.
        ShapeError: Another rank, or no window fits.

    Source:
        ``torch.nn.Unfold``, "im2col".

    >>> import torch
    >>> Unfold(2)(torch.zeros(1, 3, 4, 5)).shape
    torch.Size([1, 12, 12])
    """

    @explains_calls
    def __init__(
        self,
        kernel_size: PerAxis,
        dilation: PerAxis = 1,
        padding: PerAxis = 0,
        stride: PerAxis = 1,
    ) -> None:
        where = type(self).__name__
        kernel_size = _spread(kernel_size, where, name="kernel_size")
        dilation = _spread(dilation, where, name="dilation")
        padding = _spread(padding, where, name="padding", minimum=0)
        stride = _spread(stride, where, name="stride")
        super().__init__(kernel_size, dilation, padding, stride)  # type: ignore[arg-type]

    @explains_calls
    def forward(self, x: Tensor) -> Tensor:
        """Windows as columns."""
        require_input(self, x, 2, None)
        output_shape(
            x.shape[-2:],
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            where=type(self).__name__,
        )
        return super().forward(x)


class Fold(nn.Fold):
    """Columns back to the windows of an image; where they overlap, they are added.

    Args:
        output_size: Height and width of the image, in elements.
        kernel_size: Window lengths, in taps; one integer serves both axes.
        dilation: Steps between taps, in elements.
        padding: Zeros at each end of an axis that `Unfold` added, in elements.
        stride: Steps between windows, in elements.

    Shape:
        x:      (N, C * kH * kW, windows) or without N
        return: (N, C, *output_size) or (C, *output_size)

    Raises:
        ArgumentError: A value is not in its range, or not one per axis.
        ShapeError: Another rank, or columns that are not those of such windows.

    Source:
        ``torch.nn.Fold``, "col2im".

    >>> import torch
    >>> Fold((4, 5), 2)(torch.zeros(1, 12, 12)).shape
    torch.Size([1, 3, 4, 5])
    """

    @explains_calls
    def __init__(
        self,
        output_size: PerAxis,
        kernel_size: PerAxis,
        dilation: PerAxis = 1,
        padding: PerAxis = 0,
        stride: PerAxis = 1,
    ) -> None:
        where = type(self).__name__
        output_size = _spread(output_size, where, name="output_size")
        kernel_size = _spread(kernel_size, where, name="kernel_size")
        dilation = _spread(dilation, where, name="dilation")
        padding = _spread(padding, where, name="padding", minimum=0)
        stride = _spread(stride, where, name="stride")
        super().__init__(output_size, kernel_size, dilation, padding, stride)  # type: ignore[arg-type]
        self.taps = prod(per_axis(kernel_size, 2, name="kernel_size"))
        counts = output_shape(
            per_axis(output_size, 2, name="output_size"),
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            where=where,
        )
        self.windows = prod(counts)

    @explains_calls
    def forward(self, x: Tensor) -> Tensor:
        """Columns as windows, added up."""
        require_input(self, x, 1, None)
        taps = self.taps
        if x.shape[-1] != self.windows or not x.shape[-2] or x.shape[-2] % taps:
            raise ShapeError(
                f"{type(self).__name__}: x must have shape (N, C * {taps}, "
                f"{self.windows}), a column for each window of {self.output_size}; got "
                f"{tuple(x.shape)}. Give what Unfold makes with the same arguments."
            )
        return super().forward(x)
