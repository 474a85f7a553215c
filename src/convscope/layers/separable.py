"""Convolution in two factors: over space within a channel, then over channels.

``DepthwiseConv1d``, ``2d``, ``3d``   each channel with kernels of its own, none mixed
``PointwiseConv1d``, ``2d``, ``3d``   channels mixed at each place, one tap
``SeparableConv1d``, ``2d``, ``3d``   the one, then the other, as one layer
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from convscope.arithmetic import PaddingLike, PaddingMode, PerAxis, require
from convscope.errors import explains_calls
from convscope.layers.conv import Conv1d, Conv2d, Conv3d
from convscope.layers.shape import require_input


class _Depthwise(nn.Module):
    """Before a convolution: its arguments, from those of a depthwise one."""

    weight: Tensor
    in_channels: int
    out_channels: int

    @explains_calls
    def __init__(
        self,
        in_channels: int,
        kernel_size: PerAxis,
        stride: PerAxis = 1,
        padding: PaddingLike = 0,
        dilation: PerAxis = 1,
        depth_multiplier: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        where = type(self).__name__
        require(where, "in_channels", in_channels, 1)
        require(where, "depth_multiplier", depth_multiplier, 1)
        super().__init__(
            in_channels,
            in_channels * depth_multiplier,
            kernel_size,
            stride,
            padding,
            dilation,
            in_channels,
            bias,
            padding_mode,
            device,
            dtype,
        )

    @property
    def constructor_arguments(self) -> dict[str, Any]:
        """Those that are not attributes of the same name."""
        return {"depth_multiplier": self.out_channels // self.in_channels}


class DepthwiseConv1d(_Depthwise, Conv1d):
    """Depthwise along length; arguments and the rest as in `DepthwiseConv2d`.

    >>> DepthwiseConv1d(4, 3, padding="causal")(torch.zeros(2, 4, 9)).shape
    torch.Size([2, 4, 9])
    """


class DepthwiseConv2d(_Depthwise, Conv2d):
    """Convolution that filters each channel alone: `Conv2d` with a group a channel.

    Args:
        in_channels: Channels of the input.
        kernel_size: Taps along each spatial axis; one integer serves all.
        stride: Steps between windows, in input elements.
        padding: A name or numbers, as in `Conv2d`.
        dilation: Steps between taps, in input elements.
        depth_multiplier: Kernels, and so outputs, for each channel. Those of channel
            ``c`` are outputs ``c * depth_multiplier`` and on.
        bias: Whether each output channel has one scalar more.
        padding_mode: What the padding holds, as in `Conv2d`.
        device: Where the parameters are.
        dtype: What the parameters are.

    Shape:
        x:      (N, in_channels, H, W) or (in_channels, H, W)
        weight: (in_channels * depth_multiplier, 1, kH, kW)
        bias:   (in_channels * depth_multiplier,)
        return: (N, in_channels * depth_multiplier, H_out, W_out), or without N

    Raises:
        ArgumentError, ShapeError, UnknownNameError: As in `Conv2d`.

    Source:
        Sifre 2014, Rigid-motion scattering for image classification, section 6.2.
        State dicts are those of ``torch.nn.Conv2d(groups=in_channels)``.

    >>> layer = DepthwiseConv2d(3, 5, depth_multiplier=2, padding="same")
    >>> layer(torch.zeros(1, 3, 8, 8)).shape
    torch.Size([1, 6, 8, 8])
    """


class DepthwiseConv3d(_Depthwise, Conv3d):
    """Depthwise along depth, height and width; the rest as in `DepthwiseConv2d`.

    >>> DepthwiseConv3d(2, (1, 3, 3))(torch.zeros(1, 2, 4, 5, 6)).shape
    torch.Size([1, 2, 4, 3, 4])
    """


class _Pointwise(nn.Module):
    """Before a convolution: its arguments, from those of a pointwise one."""

    weight: Tensor
    bias: Tensor | None

    @explains_calls
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        groups: int = 1,
        bias: bool = True,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            1,
            groups=groups,
            bias=bias,
            device=device,
            dtype=dtype,
        )


class PointwiseConv1d(_Pointwise, Conv1d):
    """Pointwise along length; arguments and the rest as in `PointwiseConv2d`.

    >>> PointwiseConv1d(4, 7)(torch.zeros(2, 4, 9)).shape
    torch.Size([2, 7, 9])
    """


class PointwiseConv2d(_Pointwise, Conv2d):
    """A fully connected layer over the channels at each place: `Conv2d` of one tap.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        groups: Blocks of channels that do not see each other.
        bias: Whether each output channel has one scalar more.
        device: Where the parameters are.
        dtype: What the parameters are.

    Shape:
        x:      (N, in_channels, H, W) or (in_channels, H, W)
        weight: (out_channels, in_channels / groups, 1, 1)
        bias:   (out_channels,)
        return: (N, out_channels, H, W) or (out_channels, H, W)

    Raises:
        ArgumentError, ShapeError: As in `Conv2d`.

    Source:
        Lin, Chen & Yan, Network in network, arXiv:1312.4400, section 3.1. State dicts
        are those of ``torch.nn.Conv2d(kernel_size=1)``.

    >>> PointwiseConv2d(3, 7)(torch.zeros(1, 3, 8, 8)).shape
    torch.Size([1, 7, 8, 8])
    """


class PointwiseConv3d(_Pointwise, Conv3d):
    """Pointwise along depth, height and width; the rest as in `PointwiseConv2d`.

    >>> PointwiseConv3d(2, 5)(torch.zeros(1, 2, 4, 5, 6)).shape
    torch.Size([1, 5, 4, 5, 6])
    """


class _SeparableConv(nn.Module):
    """Separable along as many spatial axes as the subclass says."""

    axes: ClassVar[int]
    factors: ClassVar[tuple[type[_Depthwise], type[_Pointwise]]]
    depthwise: _Depthwise
    pointwise: _Pointwise

    @explains_calls
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: PerAxis,
        stride: PerAxis = 1,
        padding: PaddingLike = 0,
        dilation: PerAxis = 1,
        depth_multiplier: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        depthwise_bias: bool = False,
    ) -> None:
        super().__init__()
        where = type(self).__name__
        require(where, "in_channels", in_channels, 1)
        require(where, "out_channels", out_channels, 1)
        require(where, "depth_multiplier", depth_multiplier, 1)
        self.in_channels, self.out_channels = in_channels, out_channels
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        depthwise, pointwise = self.factors
        self.depthwise = depthwise(
            in_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            depth_multiplier,
            depthwise_bias,
            padding_mode,
            **place,
        )
        between = in_channels * depth_multiplier
        self.pointwise = pointwise(between, out_channels, bias=bias, **place)

    @property
    def constructor_arguments(self) -> dict[str, Any]:
        """Those that are not attributes of the same name, but of the factors."""
        depthwise: Any = self.depthwise
        names = ("kernel_size", "stride", "padding", "dilation", "padding_mode")
        return {
            **{name: getattr(depthwise, name) for name in names},
            **depthwise.constructor_arguments,
            "bias": self.pointwise.bias is not None,
            "depthwise_bias": depthwise.bias is not None,
        }

    def dense_weight(self) -> Tensor:
        """The kernel (out_channels, in_channels, *kernel_size) of the one convolution
        that does the same, except for what a bias in between adds.
        """
        each = self.depthwise.weight.unflatten(0, (self.in_channels, -1))
        mixing = self.pointwise.weight.reshape(self.out_channels, *each.shape[:2])
        return torch.einsum("ocm,cm...->oc...", mixing, each[:, :, 0])

    def forward(self, x: Tensor) -> Tensor:
        """Each channel filtered, then the channels mixed."""
        require_input(self, x, self.axes, self.in_channels)
        out: Tensor = self.pointwise(self.depthwise(x))
        return out


class SeparableConv1d(_SeparableConv):
    """Separable along length; arguments and the rest as in `SeparableConv2d`.

    >>> SeparableConv1d(4, 8, 3, stride=2)(torch.zeros(2, 4, 9)).shape
    torch.Size([2, 8, 4])
    """

    axes = 1
    factors = (DepthwiseConv1d, PointwiseConv1d)


class SeparableConv2d(_SeparableConv):
    """Depthwise, then pointwise convolution: taps times channels plus channels squared.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Taps along each spatial axis; one integer serves all.
        stride: Steps between windows, in input elements.
        padding: A name or numbers, as in `Conv2d`.
        dilation: Steps between taps, in input elements.
        depth_multiplier: Kernels for each input channel.
        bias: Whether each output channel has one scalar more.
        padding_mode: What the padding holds, as in `Conv2d`.
        device: Where the parameters are.
        dtype: What the parameters are.
        depthwise_bias: Whether each channel in between has one too; without anything
            after it, it changes nothing that ``bias`` could not.

    Shape:
        x:      (N, in_channels, H, W) or (in_channels, H, W)
        return: (N, out_channels, H_out, W_out) or (out_channels, H_out, W_out)

        ``depthwise.weight`` and ``pointwise.weight`` are those of `DepthwiseConv2d` and
        `PointwiseConv2d`; ``dense_weight()`` is their product.

    Raises:
        ArgumentError, ShapeError, UnknownNameError: As in `Conv2d`.

    Source:
        Chollet, Xception, arXiv:1610.02357, section 2: nothing stands between the two,
        where MobileNet (arXiv:1704.04861) has batch norm and ReLU. Keras has one bias
        too, at the end.

    >>> layer = SeparableConv2d(16, 32, 3, padding="same")
    >>> layer(torch.zeros(1, 16, 8, 8)).shape
    torch.Size([1, 32, 8, 8])
    >>> sum(p.numel() for p in layer.parameters())  # Conv2d: 4,640
    688
    """

    axes = 2
    factors = (DepthwiseConv2d, PointwiseConv2d)


class SeparableConv3d(_SeparableConv):
    """Separable along depth, height and width; the rest as in `SeparableConv2d`.

    >>> SeparableConv3d(2, 5, 3)(torch.zeros(1, 2, 4, 5, 6)).shape
    torch.Size([1, 5, 2, 3, 4])
    """

    axes = 3
    factors = (DepthwiseConv3d, PointwiseConv3d)
