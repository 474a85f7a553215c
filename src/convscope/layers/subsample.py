"""``Subsampling1d``, ``Subsampling2d``, ``Subsampling3d``: the pooling of LeNet-5."""

import math

import torch
from torch import Tensor, nn

from convscope.arithmetic import PerAxis, per_axis, require
from convscope.errors import explains_calls
from convscope.functional.subsample import subsample
from convscope.layers.pool_layer import PoolLayer
from convscope.layers.shape import require_input
from convscope.layers.window import Sliding


class _Subsampling(Sliding, PoolLayer):
    shown = ("channels", "kernel_size", "stride")

    @explains_calls
    def __init__(
        self, channels: int, kernel_size: PerAxis = 2, stride: PerAxis | None = None
    ) -> None:
        super().__init__()
        require(self.where, "channels", channels, 1)
        self.channels = channels
        self.set_window(kernel_size, stride, 0, ceil_mode=False)
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Coefficients of one over the taps, biases of 0: the average."""
        taps = per_axis(self.kernel_size, self.axes, name="kernel_size")
        nn.init.constant_(self.weight, 1 / math.prod(taps))
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Sum of each window, times the coefficient of its map, plus its bias."""
        require_input(self, x, self.axes, self.channels)
        parts = (self.weight, self.bias, self.kernel_size, self.stride)
        out: Tensor = self.pooled(subsample, x, *parts)
        return out


class Subsampling2d(_Subsampling):
    """Sum of each window, times a trainable coefficient, plus a trainable bias.

    Args:
        channels: Channels of the input; each has one coefficient and one bias.
        kernel_size: Window lengths, in elements; one integer serves all axes.
        stride: Steps between windows, in elements; None for the kernel size.

    Shape:
        x:      (N, channels, H, W) or (channels, H, W)
        return: the same rank; sizes from `convscope.arithmetic.output_shape`

    Raises:
        ShapeError: No window fits, or another rank or number of channels.
        ArgumentError: A value is not in its range, or not one per axis.

    Source:
        LeCun et al. 1998, section II.B, layers S2 and S4; the squashing behind it is
        a layer of its own. Ours begins as the average, theirs at random values.

    >>> sum(p.numel() for p in Subsampling2d(6).parameters())  # S2 of LeNet-5
    12
    """

    axes = 2


class Subsampling1d(_Subsampling):
    """`Subsampling2d` along one axis: (N, channels, L) or (channels, L).

    >>> Subsampling1d(4)
    Subsampling1d(channels=4, kernel_size=2, stride=2)
    """

    axes = 1


class Subsampling3d(_Subsampling):
    """`Subsampling2d` along three axes: (N, channels, D, H, W), or without N.

    >>> Subsampling3d(4)
    Subsampling3d(channels=4, kernel_size=2, stride=2)
    """

    axes = 3
