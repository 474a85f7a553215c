"""``MaxPool``, ``AvgPool`` and ``LPPool`` in one, two and three dimensions."""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.arithmetic import CeilMode, PaddingLike, PerAxis, require
from convscope.errors import explains_calls
from convscope.functional.lp_pool import lp_pool, require_norm_type
from convscope.functional.pool import avg_pool, max_pool, max_pool_with_indices
from convscope.functional.short_pool import SHORT_FORMATS
from convscope.layers.pool_layer import PoolLayer
from convscope.layers.window import Sliding

# What torch does as we do; in 3-D it loses layouts. It refuses every input that we
# refuse, so that the numbers need looking at only after it has.
_PLAIN_MAX: dict[int, Any] = {1: torch.max_pool1d, 2: torch.max_pool2d}
_PLAIN_AVG: dict[int, Any] = {1: F.avg_pool1d, 2: F.avg_pool2d}


class _MaxPool(Sliding, PoolLayer):
    shown = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")

    @explains_calls
    def __init__(
        self,
        kernel_size: PerAxis,
        stride: PerAxis | None = None,
        padding: PaddingLike = 0,
        dilation: PerAxis = 1,
        return_indices: bool = False,
        ceil_mode: CeilMode | bool = False,
    ) -> None:
        super().__init__()
        self.set_window(kernel_size, stride, padding, ceil_mode)
        self.dilation = self.per_axis(dilation, "dilation")
        self.return_indices = return_indices

    def forward(self, x: Tensor) -> Any:
        """Largest element of each window, with its index if asked for."""
        plain = _PLAIN_MAX.get(self.axes)
        if (
            plain is not None
            and type(self.padding) is int
            and self.dilation == 1
            and self.ceil_mode is False
            and not self.return_indices
            and getattr(x, "dtype", None) not in SHORT_FORMATS
            and not torch.compiler.is_compiling()
        ):
            try:
                return plain(x, self.kernel_size, self.stride, self.padding)
            except (RuntimeError, IndexError, TypeError):
                pass  # said again below, with a remedy
        return self.pooled(
            max_pool_with_indices if self.return_indices else max_pool,
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
        )

    def extra_repr(self) -> str:
        """The arguments, by name."""
        indices = ", return_indices=True" if self.return_indices else ""
        return super().extra_repr() + indices


class MaxPool2d(_MaxPool):
    """Largest element of each window; ties go to the first in row order.

    Args:
        kernel_size: Window lengths, in taps; one integer serves all axes.
        stride: Steps between windows, in elements; None for the kernel size.
        padding: A name or numbers, as `convscope.arithmetic.parse_padding` reads
            them; padding never wins.
        dilation: Steps between taps, in elements.
        return_indices: Whether to return the winners' indices too, for `MaxUnpool2d`.
        ceil_mode: Whether to round output sizes up: True or ``"torch"``; or
            ``"onnx"``, see `convscope.arithmetic.output_size`.

    Shape:
        x:      (N, C, H, W) or (C, H, W)
        return: the same rank; sizes from `convscope.arithmetic.output_shape`

    Raises:
        ShapeError: No window fits, a window holds padding only, or another rank.
        ArgumentError: A value is not in its range, or not one per axis.

    Source:
        ``torch.nn.MaxPool2d``; ours also takes a padding that is asymmetric, has a
        name, or exceeds half the kernel.

    >>> MaxPool2d(3, stride=2, padding="same")
    MaxPool2d(kernel_size=3, stride=2, padding='same', dilation=1, ceil_mode=False)
    """

    axes = 2


class MaxPool1d(_MaxPool):
    """`MaxPool2d` along one axis: (N, C, L) or (C, L).

    >>> MaxPool1d(2)
    MaxPool1d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
    """

    axes = 1


class MaxPool3d(_MaxPool):
    """`MaxPool2d` along three axes: (N, C, D, H, W) or (C, D, H, W).

    >>> MaxPool3d(2)
    MaxPool3d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
    """

    axes = 3


class _AvgPool(Sliding, PoolLayer):
    shown = (
        "kernel_size",
        "stride",
        "padding",
        "ceil_mode",
        "count_include_pad",
        "divisor_override",
    )

    @explains_calls
    def __init__(
        self,
        kernel_size: PerAxis,
        stride: PerAxis | None = None,
        padding: PaddingLike = 0,
        ceil_mode: CeilMode | bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.set_window(kernel_size, stride, padding, ceil_mode)
        if divisor_override is not None:
            require(self.where, "divisor_override", divisor_override, 1)
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, x: Tensor) -> Tensor:
        """Mean of each window."""
        plain = _PLAIN_AVG.get(self.axes)
        if (
            plain is not None
            and type(self.padding) is int
            and self.ceil_mode is False
            and self.divisor_override is None
            and not torch.compiler.is_compiling()
        ):
            try:
                mean: Tensor = plain(
                    x,
                    self.kernel_size,
                    self.stride,
                    self.padding,
                    False,
                    self.count_include_pad,
                )
                return mean
            except (RuntimeError, IndexError, TypeError):
                pass  # said again below, with a remedy
        out: Tensor = self.pooled(
            avg_pool,
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )
        return out


class AvgPool2d(_AvgPool):
    """Mean of each window; padding counts as zeros, or not at all.

    Args:
        kernel_size: Window lengths, in elements; one integer serves all axes.
        stride: Steps between windows, in elements; None for the kernel size.
        padding: A name or numbers, as `convscope.arithmetic.parse_padding` reads
            them.
        ceil_mode: Whether to round output sizes up: True or ``"torch"``; or
            ``"onnx"``, see `convscope.arithmetic.output_size`.
        count_include_pad: Whether the divisor counts padding with the elements.
        divisor_override: What to divide by instead; 1 gives the sum.

    Shape:
        x:      (N, C, H, W) or (C, H, W)
        return: the same rank; sizes from `convscope.arithmetic.output_shape`

    Raises:
        ShapeError: No window fits, there is nothing to divide by, or another rank.
        ArgumentError: A value is not in its range, or not one per axis.

    Source:
        ``torch.nn.AvgPool2d``; ours also takes a padding that is asymmetric, has a
        name, or exceeds half the kernel, and the divisor in 1-D.

    >>> import torch
    >>> AvgPool2d(2)(torch.ones(1, 2, 2))
    tensor([[[1.]]])
    """

    axes = 2


class AvgPool1d(_AvgPool):
    """`AvgPool2d` along one axis: (N, C, L) or (C, L).

    >>> import torch
    >>> AvgPool1d(2)(torch.ones(1, 4))
    tensor([[1., 1.]])
    """

    axes = 1


class AvgPool3d(_AvgPool):
    """`AvgPool2d` along three axes: (N, C, D, H, W) or (C, D, H, W).

    >>> import torch
    >>> AvgPool3d(2)(torch.ones(1, 2, 2, 2))
    tensor([[[[1.]]]])
    """

    axes = 3


class _LPPool(Sliding, PoolLayer):
    shown = ("norm_type", "kernel_size", "stride", "ceil_mode", "padding")

    @explains_calls
    def __init__(
        self,
        norm_type: float,
        kernel_size: PerAxis,
        stride: PerAxis | None = None,
        ceil_mode: CeilMode | bool = False,
        padding: PaddingLike = 0,
        *,
        signed: bool = True,
    ) -> None:
        super().__init__()
        require_norm_type(norm_type, self.where)
        self.norm_type, self.signed = norm_type, signed
        self.set_window(kernel_size, stride, padding, ceil_mode)

    def forward(self, x: Tensor) -> Tensor:
        """The p-norm of each window."""
        out: Tensor = self.pooled(
            partial(lp_pool, signed=self.signed),
            x,
            self.norm_type,
            self.kernel_size,
            self.stride,
            self.ceil_mode,
            self.padding,
        )
        return out

    def extra_repr(self) -> str:
        """The arguments, by name."""
        return super().extra_repr() + ("" if self.signed else ", signed=False")


class LPPool2d(_LPPool):
    """``(sum of x ** p) ** (1 / p)`` over each window; see `functional.lp_pool`.

    Args:
        norm_type: p, above 0 and finite: 1 is the sum, 2 the root of the energy.
        kernel_size: Window lengths, in elements; one integer serves all axes.
        stride: Steps between windows, in elements; None for the kernel size.
        ceil_mode: Whether to round output sizes up: True or ``"torch"``; or
            ``"onnx"``, see `convscope.arithmetic.output_size`.
        padding: Zeros around the input: a name or numbers, as
            `convscope.arithmetic.parse_padding` reads them.
        signed: Whether terms of an odd whole p keep the sign of the input, as in torch;
            without, they are ``|x| ** p``, as in ONNX.

    Shape:
        x:      (N, C, H, W) or (C, H, W)
        return: the same rank; sizes from `convscope.arithmetic.output_shape`

    Raises:
        ShapeError: No window fits, or another rank.
        ArgumentError: ``norm_type`` or another value is not in its range.

    Source:
        ``torch.nn.LPPool2d``, which overflows for large values, gives NaN for
        negative sums, and weighs a window that is cut off up to a full one.

    >>> import torch
    >>> LPPool2d(2, (1, 2))(torch.tensor([[[3.0, -4.0]]]))
    tensor([[[5.]]])
    """

    axes = 2


class LPPool1d(_LPPool):
    """`LPPool2d` along one axis: (N, C, L) or (C, L).

    >>> import torch
    >>> LPPool1d(2, 2)(torch.tensor([[3.0, -4.0]]))
    tensor([[5.]])
    """

    axes = 1


class LPPool3d(_LPPool):
    """`LPPool2d` along three axes: (N, C, D, H, W) or (C, D, H, W).

    >>> import torch
    >>> LPPool3d(2, 2)(torch.ones(1, 2, 2, 2)).shape
    torch.Size([1, 1, 1, 1])
    """

    axes = 3
