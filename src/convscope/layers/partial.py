"""``PartialConv1d``, ``PartialConv2d``, ``PartialConv3d``: data with holes."""

from typing import Any

import torch
from torch import Tensor, nn

from convscope.arithmetic import PaddingLike, PerAxis
from convscope.errors import explains_calls
from convscope.functional.partial import partial_conv
from convscope.layers.conv import Convolution
from convscope.layers.shape import require_input


class _PartialConv(Convolution):
    """Partial convolution along as many axes as the subclass says."""

    @explains_calls
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: PerAxis,
        stride: PerAxis = 1,
        padding: PaddingLike = 0,
        dilation: PerAxis = 1,
        groups: int = 1,
        bias: bool = True,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        flip: bool = False,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            "partial",
            device,
            dtype,
            flip=flip,
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Any:
        """The convolution of ``x``; with a mask, also the mask of the output."""
        require_input(self, x, self.axes, self.in_channels)
        return partial_conv(
            x,
            self.weight,
            self.bias,
            mask,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            flip=self.flip,
            where=type(self).__name__,
        )

    def extra_repr(self) -> str:
        """Every argument that is not the default."""
        return super().extra_repr().replace(", padding_mode='partial'", "")


class PartialConv1d(_PartialConv, nn.Conv1d):
    """Convolution along length of data with holes; the rest as in `PartialConv2d`.

    >>> out, mask = PartialConv1d(1, 4, 3)(torch.zeros(1, 1, 9), torch.ones(1, 1, 9))
    >>> out.shape, mask.shape
    (torch.Size([1, 4, 7]), torch.Size([1, 1, 7]))
    """

    axes = 1


class PartialConv2d(_PartialConv, nn.Conv2d):
    """Convolution along height and width of data with holes, padding being one.

    Each output is scaled by taps over taps on data, and is 0 where there is no data
    under the window. Called with a mask, the layer returns the output and the mask
    for the next layer; without one, the output alone, which is then that of
    ``Conv2d(padding_mode="partial")``.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Taps along each spatial axis; one integer serves all.
        stride: Steps between windows, in input elements.
        padding: A name or numbers, as in `Conv2d`.
        dilation: Steps between taps, in input elements.
        groups: Blocks of channels that do not see each other.
        bias: Whether each output channel has one scalar more.
        device: Where the parameters are.
        dtype: What the parameters are.
        flip: Whether the kernel is reversed along every spatial axis.

    Shape:
        x:      (N, in_channels, *space) or (in_channels, *space)
        mask:   as x, with 1 or in_channels channels; elements other than 0 are data
        return: (N, out_channels, *space_out), and with a mask the mask of that, with 1
                or out_channels channels

    Raises:
        UnknownNameError: Another name of a padding.
        ArgumentError: A value is not in its range, or not one per axis.
        ShapeError: ``groups`` does not divide the channels, or what reaches the layer
            does not fit.

    Source:
        Liu et al., arXiv:1804.07723; see `functional.partial_conv`.

    >>> layer = PartialConv2d(1, 1, 3, padding=1)
    >>> image, hole = torch.ones(1, 1, 5, 5), torch.ones(1, 1, 5, 5)
    >>> hole[..., :4, :4] = 0
    >>> layer(image, hole)[1][0, 0]
    tensor([[0., 0., 0., 1., 1.],
            [0., 0., 0., 1., 1.],
            [0., 0., 0., 1., 1.],
            [1., 1., 1., 1., 1.],
            [1., 1., 1., 1., 1.]])
    """

    axes = 2


class PartialConv3d(_PartialConv, nn.Conv3d):
    """Convolution along three axes of data with holes; the rest as in `PartialConv2d`.

    >>> PartialConv3d(1, 4, 3, padding="same")(torch.zeros(1, 1, 5, 6, 7)).shape
    torch.Size([1, 4, 5, 6, 7])
    """

    axes = 3
