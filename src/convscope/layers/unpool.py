"""``MaxUnpool1d``, ``MaxUnpool2d``, ``MaxUnpool3d``."""

from collections.abc import Sequence

from torch import Tensor

from convscope.arithmetic import (
    AxisLayer,
    PaddingLike,
    PerAxis,
    Transposed,
    per_axis,
    resolve_paddings,
)
from convscope.errors import ShapeError, explains_calls
from convscope.functional.operands import require_plain
from convscope.functional.unpool import max_unpool
from convscope.layers.pool_layer import PoolLayer


class _MaxUnpool(PoolLayer):
    shown = ("kernel_size", "stride", "padding")

    @explains_calls
    def __init__(
        self,
        kernel_size: PerAxis,
        stride: PerAxis | None = None,
        padding: PaddingLike = 0,
    ) -> None:
        super().__init__()
        self.set_window(kernel_size, stride, padding, ceil_mode=False)

    def axis_layers(self, sizes: tuple[int, ...]) -> tuple[AxisLayer | None, ...]:
        """How it acts along each spatial axis: a value goes anywhere in its window."""
        kernels = per_axis(self.kernel_size, len(sizes), name="kernel_size")
        strides = per_axis(self.stride, len(sizes), name="stride")
        pairs = resolve_paddings(self.padding, sizes, kernels, stride=strides)
        windows = zip(kernels, strides, pairs, strict=True)
        return tuple(Transposed(*window) for window in windows)

    def forward(
        self, x: Tensor, indices: Tensor, output_size: Sequence[int] | None = None
    ) -> Tensor:
        """Each value at its index, and 0 everywhere else."""
        require_plain(x, self.where)
        require_plain(indices, self.where, "indices")
        if indices.shape != x.shape:
            raise ShapeError(
                f"{self.where}: indices have shape {tuple(indices.shape)}, x has "
                f"{tuple(x.shape)}. Give both as one pooling returned them."
            )
        if x.ndim == self.axes + 1:
            indices = indices.unsqueeze(0)
            if output_size is not None and len(output_size) == x.ndim:
                output_size = output_size[1:]
        window = (self.kernel_size, self.stride, self.padding)
        out: Tensor = self.pooled(max_unpool, x, indices, *window, output_size)
        return out


class MaxUnpool2d(_MaxUnpool):
    """Each value of a max pooling back at its index, and 0 everywhere else.

    Args:
        kernel_size: Window lengths of the pooling, in elements.
        stride: Steps between windows, in elements; None for the kernel size.
        padding: Numbers, as `convscope.arithmetic.parse_padding` reads them.

    Shape:
        x, indices: (N, C, H, W) or (C, H, W), as ``MaxPool2d(return_indices=True)``
            gives them; ``output_size``, where more than one fits, with the call
        return:     the same rank

    Raises:
        ShapeError: Shapes differ, sizes do not fit, or an index lies outside.
        ArgumentError: A value is not in its range, or padding is a name.

    Source:
        ``torch.nn.MaxUnpool2d``; Zeiler, Taylor & Fergus 2011.

    >>> MaxUnpool2d(2)
    MaxUnpool2d(kernel_size=2, stride=2, padding=0)
    """

    axes = 2


class MaxUnpool1d(_MaxUnpool):
    """`MaxUnpool2d` along one axis: (N, C, L) or (C, L).

    >>> MaxUnpool1d(2)
    MaxUnpool1d(kernel_size=2, stride=2, padding=0)
    """

    axes = 1


class MaxUnpool3d(_MaxUnpool):
    """`MaxUnpool2d` along three axes: (N, C, D, H, W) or (C, D, H, W).

    >>> MaxUnpool3d(2)
    MaxUnpool3d(kernel_size=2, stride=2, padding=0)
    """

    axes = 3
