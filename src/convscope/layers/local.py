"""``LocallyConnected1d``, ``2d``, ``3d``: convolution whose weights are not shared."""

import math
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from convscope.arithmetic import (
    BORDER_MODES,
    BorderMode,
    PaddingLike,
    PerAxis,
    output_shape,
    parse_padding,
    per_axis,
    require_groups,
    resolve_paddings,
)
from convscope.errors import ShapeError, UnknownNameError, explains_calls
from convscope.functional.local import locally_connected
from convscope.functional.operands import require_alike
from convscope.layers.conv import compact_padding
from convscope.layers.shape import require_input
from convscope.layers.window import Sliding

LocalBias = Literal[True, False, "channel"]


class _LocallyConnected(Sliding, nn.Module):
    """Locally connected along as many spatial axes as the subclass says."""

    axes: ClassVar[int]

    @explains_calls
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: PerAxis,
        input_size: PerAxis,
        stride: PerAxis = 1,
        padding: PaddingLike = 0,
        dilation: PerAxis = 1,
        groups: int = 1,
        bias: LocalBias = True,
        padding_mode: BorderMode = "zeros",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        where, axes = type(self).__name__, self.axes
        require_groups(where, in_channels, out_channels, groups)
        if padding_mode not in BORDER_MODES:
            raise UnknownNameError("padding_mode", str(padding_mode), BORDER_MODES)
        if bias not in (True, False, "channel"):
            raise UnknownNameError("bias", str(bias), ["True", "False", "channel"])
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = per_axis(kernel_size, axes, name="kernel_size", where=where)
        self.input_size = per_axis(input_size, axes, name="input_size", where=where)
        self.stride = per_axis(stride, axes, name="stride", where=where)
        self.padding = compact_padding(parse_padding(padding, axes, where=where))
        self.dilation = per_axis(dilation, axes, name="dilation", where=where)
        self.groups, self.padding_mode = groups, padding_mode
        self.pairs = resolve_paddings(
            padding,
            self.input_size,
            self.kernel_size,
            stride=self.stride,
            dilation=self.dilation,
            where=where,
        )
        self.output_size = output_shape(
            self.input_size,
            self.kernel_size,
            stride=self.stride,
            padding=self.pairs,
            dilation=self.dilation,
            where=where,
        )
        self.weight = nn.Parameter(
            torch.empty(
                *self.output_size,
                out_channels,
                in_channels // groups,
                *self.kernel_size,
                device=device,
                dtype=dtype,
            )
        )
        self.bias = None
        if bias:
            places = () if bias == "channel" else self.output_size
            self.bias = nn.Parameter(
                torch.empty(out_channels, *places, device=device, dtype=dtype)
            )
        self.reset_parameters()

    @property
    def constructor_arguments(self) -> dict[str, Any]:
        """Those that are not attributes of the same name."""
        if self.bias is None:
            return {"bias": False}
        return {"bias": "channel" if self.bias.ndim == 1 else True}

    def reset_parameters(self) -> None:
        """Draws weight and bias anew, uniform up to ``1 / sqrt(fan_in)``."""
        fan_in = self.in_channels // self.groups * math.prod(self.kernel_size)
        bound = 1 / math.sqrt(fan_in)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Each window times the kernel of its place."""
        require_input(self, x, self.axes, self.in_channels)
        if tuple(x.shape[-self.axes :]) != self.input_size:
            raise ShapeError(
                f"{type(self).__name__}: x has size {tuple(x.shape[-self.axes :])}; "
                f"the layer has weights for input_size={self.input_size} and "
                "shares none. Crop or pad x to that, or build the layer for the size "
                "of x."
            )
        parameters = {"weight": self.weight, "bias": self.bias}
        require_alike(x, parameters, type(self).__name__)
        return locally_connected(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.pairs,
            dilation=self.dilation,
            groups=self.groups,
            padding_mode=self.padding_mode,
            where=type(self).__name__,
        )

    def extra_repr(self) -> str:
        """Sizes, and all that is not the default."""
        one = (1,) * self.axes
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"input_size={self.input_size}, stride={self.stride}"
        )
        if any(map(any, self.pairs)):
            text += f", padding={self.padding!r}"
        if self.dilation != one:
            text += f", dilation={self.dilation}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        elif self.bias.ndim == 1:
            text += ", bias='channel'"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode!r}"
        return text


class LocallyConnected1d(_LocallyConnected):
    """Locally connected along length; arguments and the rest as in the 2-D layer.

    >>> layer = LocallyConnected1d(3, 8, 5, input_size=20, stride=2)
    >>> layer(torch.zeros(4, 3, 20)).shape
    torch.Size([4, 8, 8])
    """

    axes = 1


class LocallyConnected2d(_LocallyConnected):
    """Windows as in a convolution, each place of the output with its own kernel.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Taps along each spatial axis; one integer serves all.
        input_size: Spatial sizes of the input, in elements, which fix the number of
            weights; one integer serves all axes.
        stride: Steps between windows, in input elements.
        padding: A name or numbers, as `arithmetic.parse_padding` reads them.
        dilation: Steps between taps, in input elements.
        groups: Blocks of channels that do not see each other.
        bias: True: one scalar for each output; ``"channel"``: one for each output
            channel, as in a convolution; False: none.
        padding_mode: What the padding holds, as `functional.pad` shows it.
        device: Where the parameters are.
        dtype: What the parameters are.

    Shape:
        x:      (N, in_channels, *input_size) or (in_channels, *input_size)
        weight: (*output_size, out_channels, in_channels / groups, *kernel_size);
                ``weight[i, j]`` is that of the convolution at one place
        bias:   (out_channels, *output_size) or (out_channels,)
        return: (N, out_channels, *output_size) or (out_channels, *output_size)

    Raises:
        ShapeError: The kernel does not fit the input; ``groups`` does not divide the
            channels; what reaches the layer has another size.
        UnknownNameError: Another name of a bias, a padding or a padding mode.
        ArgumentError: A value is not in its range, or not one per axis.

    Source:
        LeCun 1989, Generalization and network design strategies, Net-3. There, in
        Torch7 and in Keras 2 each output has a bias of its own, as here; LeCun et al.
        1989 (Backpropagation applied to handwritten zip code recognition) keep that
        even where weights are shared. The start is torch's for convolutions: uniform
        up to ``1 / sqrt(fan_in)``.

    >>> layer = LocallyConnected2d(1, 4, 5, input_size=(28, 28))
    >>> layer(torch.zeros(2, 1, 28, 28)).shape, layer.weight.numel()
    (torch.Size([2, 4, 24, 24]), 57600)
    """

    axes = 2


class LocallyConnected3d(_LocallyConnected):
    """Locally connected along depth, height and width; the rest as in the 2-D layer.

    >>> layer = LocallyConnected3d(1, 2, 3, input_size=(5, 6, 7), padding="same")
    >>> layer(torch.zeros(1, 1, 5, 6, 7)).shape
    torch.Size([1, 2, 5, 6, 7])
    """

    axes = 3
