"""The layers of a network in one, two or three dimensions, by one word each."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from convscope.arithmetic import PaddingMode, Window, chain_sizes
from convscope.layers import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveAvgPool3d,
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
)

_CONV = (Conv1d, Conv2d, Conv3d)
_TRANSPOSED = (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)
_BATCH_NORM = (BatchNorm1d, BatchNorm2d, BatchNorm3d)
MAX_POOL = (MaxPool1d, MaxPool2d, MaxPool3d)
_AVERAGE_POOL = (AvgPool1d, AvgPool2d, AvgPool3d)
_TO_SIZE = (AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d)
_LINEAR = ("linear", "bilinear", "trilinear")


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
        padding: int | Literal["same"] = 0,
        *,
        groups: int = 1,
        bias: bool = True,
    ) -> nn.Module:
        """A convolution, the same along each axis."""
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
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        padding: int = 0,
        *,
        bias: bool = True,
    ) -> nn.Module:
        """A transposed convolution, the same along each axis."""
        kind = _TRANSPOSED[self.axes - 1]
        return kind(in_channels, out_channels, kernel_size, stride, padding, bias=bias)

    def batch_norm(
        self, channels: int, *, eps: float = 1e-5, momentum: float = 0.1
    ) -> nn.Module:
        """Batch norm with learnable scale and shift."""
        return _BATCH_NORM[self.axes - 1](channels, eps, momentum)

    def max_pool(
        self, size: int, stride: int, padding: int = 0, *, ceil_mode: bool = False
    ) -> nn.Module:
        """The largest of each window."""
        kind = MAX_POOL[self.axes - 1]
        return kind(size, stride, padding, ceil_mode=ceil_mode)

    def average_pool(
        self, size: int, stride: int, *, ceil_mode: bool = False
    ) -> nn.Module:
        """The mean of each window."""
        return _AVERAGE_POOL[self.axes - 1](size, stride, ceil_mode=ceil_mode)

    def average_to(self, size: int) -> nn.Module:
        """Means over ``size`` windows along each axis, however large the input is."""
        return _TO_SIZE[self.axes - 1](size)


def enlarged(x: Tensor, times: int) -> Tensor:
    """Linear interpolation to as many times the elements along each axis."""
    mode = _LINEAR[x.ndim - 3]
    return F.interpolate(x, scale_factor=float(times), mode=mode, align_corners=False)


def cropped(x: Tensor, like: Tensor) -> Tensor:
    """The first elements along each spatial axis, as many as ``like`` has."""
    first: list[Any] = [slice(0, size) for size in like.shape[2:]]
    return x[(..., *first)]


def elements_left(input_size: Sequence[int], windows: Iterable[Window]) -> int:
    """Places in one map after the windows have gone over an input, one after another.

    >>> elements_left((32, 28), [Window(5), Window(2, stride=2)])  # (14, 12)
    168
    """
    places, chain = 1, list(windows)
    for size in input_size:
        places *= chain_sizes(chain, size)[-1]
    return places
