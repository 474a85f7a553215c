"""``StochasticPool`` and ``FractionalMaxPool`` in one, two and three dimensions."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from convscope.arithmetic import CeilMode, PaddingLike, PerAxis
from convscope.errors import explains_calls
from convscope.functional.fractional_pool import (
    Ratio,
    fractional_max_pool,
    fractional_max_pool_with_indices,
    require_one_target,
)
from convscope.functional.operands import require_plain
from convscope.functional.stochastic_pool import stochastic_pool
from convscope.layers.pool_layer import PoolLayer
from convscope.layers.window import Sliding


class _StochasticPool(Sliding, PoolLayer):
    shown = ("kernel_size", "stride", "padding", "ceil_mode")

    @explains_calls
    def __init__(
        self,
        kernel_size: PerAxis,
        stride: PerAxis | None = None,
        padding: PaddingLike = 0,
        ceil_mode: CeilMode | bool = False,
    ) -> None:
        super().__init__()
        self.set_window(kernel_size, stride, padding, ceil_mode)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """An element of each window in training, the weighted mean in evaluation."""
        function = partial(stochastic_pool, training=self.training, generator=generator)
        window = (self.kernel_size, self.stride, self.padding, self.ceil_mode)
        out: Tensor = self.pooled(function, x, *window)
        return out


class StochasticPool2d(_StochasticPool):
    """An element of each window, drawn with a chance in proportion to its activation.

    In evaluation it is the mean of the window, weighted by those chances. Negative
    elements count as 0.

    Args:
        kernel_size: Window lengths, in elements; one integer serves all axes.
        stride: Steps between windows, in elements; None for the kernel size.
        padding: Zeros around the input, never drawn: a name or numbers, as
            `convscope.arithmetic.parse_padding` reads them.
        ceil_mode: Whether to round output sizes up: True or ``"torch"``; or
            ``"onnx"``, see `convscope.arithmetic.output_size`.

    Shape:
        x:      (N, C, H, W) or (C, H, W)
        return: the same rank; sizes from `convscope.arithmetic.output_shape`

    Raises:
        ShapeError: No window fits, or another rank.
        ArgumentError: A value is not in its range, or not one per axis.

    Source:
        Zeiler & Fergus, arXiv:1301.3557; see `functional.stochastic_pool`.

    >>> StochasticPool2d((1, 2)).eval()(torch.tensor([[[1.0, 3.0]]]))
    tensor([[[2.5000]]])
    """

    axes = 2


class StochasticPool1d(_StochasticPool):
    """`StochasticPool2d` along one axis: (N, C, L) or (C, L).

    >>> StochasticPool1d(2).eval()(torch.tensor([[1.0, 3.0]]))
    tensor([[2.5000]])
    """

    axes = 1


class StochasticPool3d(_StochasticPool):
    """`StochasticPool2d` along three axes: (N, C, D, H, W) or (C, D, H, W).

    >>> StochasticPool3d(2)(torch.ones(1, 2, 2, 2))
    tensor([[[[1.]]]])
    """

    axes = 3


class _FractionalMaxPool(PoolLayer):
    _random_samples: Tensor | None
    shown = ("kernel_size", "output_size", "output_ratio", "return_indices")

    @explains_calls
    def __init__(
        self,
        kernel_size: PerAxis,
        output_size: PerAxis | None = None,
        output_ratio: Ratio | None = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = self.per_axis(kernel_size, "kernel_size")
        require_one_target(output_size, output_ratio, self.axes, self.where)
        self.output_size, self.output_ratio = output_size, output_ratio
        self.return_indices = return_indices
        if _random_samples is not None:
            require_plain(_random_samples, self.where, "_random_samples")
        self.register_buffer("_random_samples", _random_samples)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Any:
        """Largest element of windows that begin at random steps."""
        function = (
            fractional_max_pool_with_indices
            if self.return_indices
            else fractional_max_pool
        )
        samples = self._random_samples
        if samples is not None and samples.ndim == 2 and x.ndim == self.axes + 1:
            samples = samples.unsqueeze(0)  # of one image, without a batch
        drawn = partial(function, random_samples=samples, generator=generator)
        return self.pooled(
            drawn, x, self.kernel_size, self.output_size, self.output_ratio
        )


class FractionalMaxPool2d(_FractionalMaxPool):
    """Largest element of windows that begin at random, uneven steps.

    The windows are drawn anew each time, in evaluation too.

    Args:
        kernel_size: Window lengths, in elements; one integer serves all axes.
        output_size: Output lengths, in elements; or
        output_ratio: Output lengths as a share of the input's, above 0 and below 1.
        return_indices: Whether to return the winners' indices too, for `MaxUnpool2d`.
        _random_samples: Where windows begin, instead of draws; as torch.nn calls it.

    Shape:
        x:               (N, C, H, W) or (C, H, W)
        _random_samples: (N, C, 2), in [0, 1), width before height
        return:          the same rank, sizes as asked for

    Raises:
        ShapeError: Windows and outputs do not fit in the input, or another rank.
        ArgumentError: Neither or both of size and ratio, or a value not in its range.

    Source:
        Graham, arXiv:1412.6071; ``torch.nn.FractionalMaxPool2d``.

    >>> FractionalMaxPool2d(2, output_ratio=0.7)(torch.zeros(1, 10, 10)).shape
    torch.Size([1, 7, 7])
    """

    axes = 2


class FractionalMaxPool1d(_FractionalMaxPool):
    """`FractionalMaxPool2d` along one axis: (N, C, L) or (C, L).

    >>> FractionalMaxPool1d(2, output_size=7)(torch.zeros(1, 10)).shape
    torch.Size([1, 7])
    """

    axes = 1


class FractionalMaxPool3d(_FractionalMaxPool):
    """`FractionalMaxPool2d` along three axes: (N, C, D, H, W) or (C, D, H, W).

    >>> FractionalMaxPool3d(2, output_size=3)(torch.zeros(1, 5, 5, 5)).shape
    torch.Size([1, 3, 3, 3])
    """

    axes = 3
