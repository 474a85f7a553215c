"""The layers of a network in one, two or three dimensions, by one word each."""

from collections.abc import Sequence

from torch import nn

from convscope.functional.conv import PaddingMode
from convscope.layers import Conv1d, Conv2d, Conv3d

_CONV = (Conv1d, Conv2d, Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_MAX_POOL = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_AVERAGE_POOL = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_TO_SIZE = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)


class Space:
    """Makes layers for inputs of as many axes as ``input_size`` has numbers.

    Args:
        input_size: Of one input, without channels.
        padding_mode: What every convolution pads with.

    >>> Space((64, 64)).conv(3, 8, 3, padding=1)
    Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    """

    def __init__(
        self, input_size: Sequence[int], padding_mode: PaddingMode = "zeros"
    ) -> None:
        self.axes = len(input_size)
        self.padding_mode = padding_mode

    def conv(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        *,
        groups: int = 1,
        bias: bool = True,
    ) -> nn.Module:
        """A convolution; in each direction the same."""
        return _CONV[self.axes - 1](
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            groups=groups,
            bias=bias,
            padding_mode=self.padding_mode,
        )

    def conv_transpose(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1
    ) -> nn.Module:
        """A transposed convolution without padding."""
        kind = _TRANSPOSED[self.axes - 1]
        return kind(in_channels, out_channels, kernel_size, stride)

    def batch_norm(self, channels: int) -> nn.Module:
        """Batch norm with learnable scale and shift."""
        return _BATCH_NORM[self.axes - 1](channels)

    def max_pool(
        self, size: int, stride: int, padding: int = 0, *, ceil_mode: bool = False
    ) -> nn.Module:
        """The largest of each window."""
        kind = _MAX_POOL[self.axes - 1]
        return kind(size, stride, padding, ceil_mode=ceil_mode)

    def average_pool(
        self, size: int, stride: int, *, ceil_mode: bool = False
    ) -> nn.Module:
        """The mean of each window."""
        return _AVERAGE_POOL[self.axes - 1](size, stride, ceil_mode=ceil_mode)

    def average_to(self, size: int) -> nn.Module:
        """Means over ``size`` windows along each axis, however large the input is."""
        return _TO_SIZE[self.axes - 1](size)
